// WindyLander's kernels for GPUs: reset, step and rollout in both precisions, from the header alone.
#include <metarl/cuda/environments.h>

#include "windy_lander.h"

METARL_CUDA_ENVIRONMENTS(windy_lander::WindyLander)
