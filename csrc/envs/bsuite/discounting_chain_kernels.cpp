#include "envs/bsuite/discounting_chain_rows.h"
#include "envs/kernels.h"

namespace metarl::METARL_ISA_NS {

METARL_DEFINE_ROWS_KERNELS(discounting_chain, DiscountingChainRows)

}  // namespace metarl::METARL_ISA_NS
