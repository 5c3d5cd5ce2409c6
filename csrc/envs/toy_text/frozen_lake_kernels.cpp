#include "envs/kernels.h"
#include "envs/toy_text/frozen_lake_rows.h"

namespace metarl::METARL_ISA_NS {

METARL_DEFINE_ROWS_KERNELS(frozen_lake, FrozenLakeRows)

}  // namespace metarl::METARL_ISA_NS
