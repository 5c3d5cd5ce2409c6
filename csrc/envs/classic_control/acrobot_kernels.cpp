#include "envs/classic_control/acrobot_rows.h"
#include "envs/kernels.h"

namespace metarl::METARL_ISA_NS {

METARL_DEFINE_ROWS_KERNELS(acrobot_f32, BlockRows<Acrobot<float>>)
METARL_DEFINE_ROWS_KERNELS(acrobot_f64, BlockRows<Acrobot<double>>)

}  // namespace metarl::METARL_ISA_NS
