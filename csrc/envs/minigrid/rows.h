// The Rows of this family, X(name, Rows), with the names that EnvDefinition::kernels has.
#pragma once

#include "envs/minigrid/minigrid_rows.h"

#define METARL_MINIGRID_ROWS(X) X(minigrid, MiniGridRows)
