#include "cuda/define_family_kernels.h"
#include "envs/toy_text/rows.h"

METARL_DEFINE_ENV_KERNELS(toy_text, METARL_TOY_TEXT_ROWS)
