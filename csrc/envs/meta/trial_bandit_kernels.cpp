#include "envs/kernels.h"
#include "envs/meta/trial_bandit_rows.h"

namespace metarl::METARL_ISA_NS {

METARL_DEFINE_ROWS_KERNELS(bernoulli_bandit, TrialBanditRows<false>)
METARL_DEFINE_ROWS_KERNELS(gaussian_bandit, TrialBanditRows<true>)

}  // namespace metarl::METARL_ISA_NS
