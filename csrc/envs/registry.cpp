// From an id and its options to a definition that a BatchEnv runs.
#include <stdexcept>

#include "envs/define.h"
#include "metarl/batch_env.h"

namespace metarl {

EnvDefinition make_env_definition(const std::string& id, const EnvOptions& options) {
  EnvDefinition definition;
  const bool known = define_classic_control(id, options, &definition) || define_toy_text(id, options, &definition) ||
                     define_bsuite(id, options, &definition) || define_minatar(id, options, &definition) ||
                     define_minigrid(id, options, &definition) || define_meta(id, options, &definition) ||
                     define_loaded(id, options, &definition);
  if (!known) throw std::invalid_argument("unknown environment '" + id + "'");
  definition.name = id;
  return definition;
}

}  // namespace metarl
