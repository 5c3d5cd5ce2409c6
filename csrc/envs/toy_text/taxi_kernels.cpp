#include "envs/kernels.h"
#include "envs/toy_text/taxi_rows.h"

namespace metarl::METARL_ISA_NS {

METARL_DEFINE_ROWS_KERNELS(taxi, TaxiRows)

}  // namespace metarl::METARL_ISA_NS
