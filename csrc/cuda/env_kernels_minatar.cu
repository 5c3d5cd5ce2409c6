#include "cuda/define_family_kernels.h"
#include "envs/minatar/rows.h"

METARL_DEFINE_ENV_KERNELS(minatar, METARL_MINATAR_ROWS)
