#include "envs/bsuite/cartpole_swingup_rows.h"
#include "envs/kernels.h"

namespace metarl::METARL_ISA_NS {

METARL_DEFINE_ROWS_KERNELS(cartpole_swingup_f32, BlockRows<CartPoleSwingup<float>>)
METARL_DEFINE_ROWS_KERNELS(cartpole_swingup_f64, BlockRows<CartPoleSwingup<double>>)

}  // namespace metarl::METARL_ISA_NS
