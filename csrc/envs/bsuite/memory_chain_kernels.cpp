#include "envs/bsuite/memory_chain_rows.h"
#include "envs/kernels.h"

namespace metarl::METARL_ISA_NS {

METARL_DEFINE_ROWS_KERNELS(memory_chain, MemoryChainRows)

}  // namespace metarl::METARL_ISA_NS
