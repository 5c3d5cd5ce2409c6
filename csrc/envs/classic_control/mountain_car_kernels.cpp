#include "envs/classic_control/mountain_car_rows.h"
#include "envs/kernels.h"

namespace metarl::METARL_ISA_NS {

METARL_DEFINE_ROWS_KERNELS(mountain_car_f32, BlockRows<MountainCar<float>>)
METARL_DEFINE_ROWS_KERNELS(mountain_car_f64, BlockRows<MountainCar<double>>)

}  // namespace metarl::METARL_ISA_NS
