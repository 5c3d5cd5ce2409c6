#include "cuda/define_family_kernels.h"
#include "envs/meta/rows.h"

METARL_DEFINE_ENV_KERNELS(meta, METARL_META_ROWS)
