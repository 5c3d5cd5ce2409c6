// The Rows of this family, X(name, Rows), with the names that EnvDefinition::kernels has.
#pragma once

#include "envs/bsuite/bandit_rows.h"
#include "envs/bsuite/cartpole_swingup_rows.h"
#include "envs/bsuite/catch_ball_rows.h"
#include "envs/bsuite/deep_sea_rows.h"
#include "envs/bsuite/discounting_chain_rows.h"
#include "envs/bsuite/memory_chain_rows.h"

#define METARL_BSUITE_ROWS(X)                                 \
  X(bandit, BanditRows)                                       \
  X(cartpole_swingup_f32, BlockRows<CartPoleSwingup<float>>)  \
  X(cartpole_swingup_f64, BlockRows<CartPoleSwingup<double>>) \
  X(catch_ball, CatchRows)                                    \
  X(deep_sea, DeepSeaRows)                                    \
  X(discounting_chain, DiscountingChainRows)                  \
  X(memory_chain, MemoryChainRows)
