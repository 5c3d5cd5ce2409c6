#include "envs/kernels.h"
#include "envs/toy_text/blackjack_rows.h"

namespace metarl::METARL_ISA_NS {

METARL_DEFINE_ROWS_KERNELS(blackjack, BlackjackRows)

}  // namespace metarl::METARL_ISA_NS
