#include "envs/kernels.h"
#include "envs/meta/point_robot_rows.h"

namespace metarl::METARL_ISA_NS {

METARL_DEFINE_ROWS_KERNELS(point_robot_f32, BlockRows<PointRobot<float>>)
METARL_DEFINE_ROWS_KERNELS(point_robot_f64, BlockRows<PointRobot<double>>)
METARL_DEFINE_ROWS_KERNELS(sparse_point_robot_f32, BlockRows<SparsePointRobot<float>>)
METARL_DEFINE_ROWS_KERNELS(sparse_point_robot_f64, BlockRows<SparsePointRobot<double>>)

}  // namespace metarl::METARL_ISA_NS
