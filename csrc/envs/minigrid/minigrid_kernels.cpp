#include "envs/kernels.h"
#include "envs/minigrid/minigrid_rows.h"

namespace metarl::METARL_ISA_NS {

METARL_DEFINE_ROWS_KERNELS(minigrid, MiniGridRows)

}  // namespace metarl::METARL_ISA_NS
