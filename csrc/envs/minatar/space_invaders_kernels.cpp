#include "envs/kernels.h"
#include "envs/minatar/space_invaders_rows.h"

namespace metarl::METARL_ISA_NS {

METARL_DEFINE_ROWS_KERNELS(minatar_space_invaders, minatar::GameRows<SpaceInvaders>)

}  // namespace metarl::METARL_ISA_NS
