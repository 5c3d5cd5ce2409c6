#include "envs/kernels.h"
#include "envs/minatar/breakout_rows.h"

namespace metarl::METARL_ISA_NS {

METARL_DEFINE_ROWS_KERNELS(minatar_breakout, minatar::GameRows<Breakout>)

}  // namespace metarl::METARL_ISA_NS
