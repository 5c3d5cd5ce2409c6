#include "envs/kernels.h"
#include "envs/minatar/seaquest_rows.h"

namespace metarl::METARL_ISA_NS {

METARL_DEFINE_ROWS_KERNELS(minatar_seaquest, minatar::GameRows<Seaquest>)

}  // namespace metarl::METARL_ISA_NS
