#include "envs/kernels.h"
#include "envs/meta/random_mdp_rows.h"

namespace metarl::METARL_ISA_NS {

METARL_DEFINE_ROWS_KERNELS(random_mdp, RandomMdpRows)

}  // namespace metarl::METARL_ISA_NS
