#include "envs/classic_control/cartpole_rows.h"
#include "envs/kernels.h"

namespace metarl::METARL_ISA_NS {

METARL_DEFINE_ROWS_KERNELS(cartpole_euler_f32, BlockRows<EulerCartPole<float>>)
METARL_DEFINE_ROWS_KERNELS(cartpole_euler_f64, BlockRows<EulerCartPole<double>>)
METARL_DEFINE_ROWS_KERNELS(cartpole_semi_implicit_f32, BlockRows<SemiImplicitCartPole<float>>)
METARL_DEFINE_ROWS_KERNELS(cartpole_semi_implicit_f64, BlockRows<SemiImplicitCartPole<double>>)

}  // namespace metarl::METARL_ISA_NS
