// What a .cu file is for a GPU: the same macro, around the emulator.
#define METARL_ONE_ROW 1

#include "emulated_define_env_kernels.h"

// After what stands for the kernels' entry points.
#include "metarl/cuda/environments.h"
#include "two_landers.h"

METARL_CUDA_ENVIRONMENTS(two_landers::EmulatedLander, two_landers::Drifter)
