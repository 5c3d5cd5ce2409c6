#include "cuda/define_family_kernels.h"
#include "envs/classic_control/rows.h"

METARL_DEFINE_ENV_KERNELS(classic_control, METARL_CLASSIC_CONTROL_ROWS)
