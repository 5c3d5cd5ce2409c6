#include "envs/bsuite/catch_ball_rows.h"
#include "envs/kernels.h"

namespace metarl::METARL_ISA_NS {

METARL_DEFINE_ROWS_KERNELS(catch_ball, CatchRows)

}  // namespace metarl::METARL_ISA_NS
