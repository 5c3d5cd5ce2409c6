#include "envs/bsuite/bandit_rows.h"
#include "envs/kernels.h"

namespace metarl::METARL_ISA_NS {

METARL_DEFINE_ROWS_KERNELS(bandit, BanditRows)

}  // namespace metarl::METARL_ISA_NS
