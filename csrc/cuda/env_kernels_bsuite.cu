#include "cuda/define_family_kernels.h"
#include "envs/bsuite/rows.h"

METARL_DEFINE_ENV_KERNELS(bsuite, METARL_BSUITE_ROWS)
