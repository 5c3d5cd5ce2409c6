#include "envs/kernels.h"
#include "envs/meta/maze_rows.h"

namespace metarl::METARL_ISA_NS {

METARL_DEFINE_ROWS_KERNELS(maze_f32, MazeRows<float>)
METARL_DEFINE_ROWS_KERNELS(maze_f64, MazeRows<double>)

}  // namespace metarl::METARL_ISA_NS
