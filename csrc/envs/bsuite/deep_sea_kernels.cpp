#include "envs/bsuite/deep_sea_rows.h"
#include "envs/kernels.h"

namespace metarl::METARL_ISA_NS {

METARL_DEFINE_ROWS_KERNELS(deep_sea, DeepSeaRows)

}  // namespace metarl::METARL_ISA_NS
