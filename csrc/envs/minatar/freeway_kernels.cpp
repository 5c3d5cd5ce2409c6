#include "envs/kernels.h"
#include "envs/minatar/freeway_rows.h"

namespace metarl::METARL_ISA_NS {

METARL_DEFINE_ROWS_KERNELS(minatar_freeway, minatar::GameRows<Freeway>)

}  // namespace metarl::METARL_ISA_NS
