// WindyLander's kernels for a GPU: reset, step and rollout in both precisions, from the header alone.
#include "cuda/define_env_kernels.h"
#include "windy_lander.h"

#define WINDY_LANDER_ROWS(X)                                             \
  X(windy_lander_f32, EnvironmentRows<windy_lander::WindyLander, float>) \
  X(windy_lander_f64, EnvironmentRows<windy_lander::WindyLander, double>)

METARL_DEFINE_ENV_KERNELS(windy_lander, WINDY_LANDER_ROWS)
