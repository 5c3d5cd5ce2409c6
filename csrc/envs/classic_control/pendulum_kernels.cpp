#include "envs/classic_control/pendulum_rows.h"
#include "envs/kernels.h"

namespace metarl::METARL_ISA_NS {

METARL_DEFINE_ROWS_KERNELS(pendulum_f32, BlockRows<Pendulum<float>>)
METARL_DEFINE_ROWS_KERNELS(pendulum_f64, BlockRows<Pendulum<double>>)

}  // namespace metarl::METARL_ISA_NS
