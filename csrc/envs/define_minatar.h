// MinAtar's games for the registry.
#pragma once

#include <string>

#include "metarl/batch_env.h"

namespace metarl {

// id: "MinAtar/<Game>-v0" or "-v1"; options: use_minimal_action_set, sticky_action_prob, difficulty_ramping.
// Throws std::invalid_argument for an unknown id or a missing option.
EnvDefinition minatar_definition(const std::string& id, const EnvOptions& options);

}  // namespace metarl
