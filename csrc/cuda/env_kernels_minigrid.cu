#include "cuda/define_family_kernels.h"
#include "envs/minigrid/rows.h"

METARL_DEFINE_ENV_KERNELS(minigrid, METARL_MINIGRID_ROWS)
