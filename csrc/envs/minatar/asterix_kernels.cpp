#include "envs/kernels.h"
#include "envs/minatar/asterix_rows.h"

namespace metarl::METARL_ISA_NS {

METARL_DEFINE_ROWS_KERNELS(minatar_asterix, minatar::GameRows<Asterix>)

}  // namespace metarl::METARL_ISA_NS
