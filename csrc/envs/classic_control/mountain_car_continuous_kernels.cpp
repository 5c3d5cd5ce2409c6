#include "envs/classic_control/mountain_car_continuous_rows.h"
#include "envs/kernels.h"

namespace metarl::METARL_ISA_NS {

METARL_DEFINE_ROWS_KERNELS(mountain_car_continuous_f32, BlockRows<MountainCarContinuous<float>>)
METARL_DEFINE_ROWS_KERNELS(mountain_car_continuous_f64, BlockRows<MountainCarContinuous<double>>)

}  // namespace metarl::METARL_ISA_NS
