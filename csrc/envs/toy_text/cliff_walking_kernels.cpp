#include "envs/kernels.h"
#include "envs/toy_text/cliff_walking_rows.h"

namespace metarl::METARL_ISA_NS {

METARL_DEFINE_ROWS_KERNELS(cliff_walking, CliffWalkingRows)

}  // namespace metarl::METARL_ISA_NS
