#include "envs/random_actions.h"

#include <cstdint>

#include "envs/kernels.h"

namespace metarl::METARL_ISA_NS {

void random_actions(const EnvBatch& batch, int num_actions, int action_size, double low, double high, void* out,
                    std::int64_t begin, std::int64_t end) {
  draw_actions(batch, num_actions, action_size, low, high, out, begin, end);
}

}  // namespace metarl::METARL_ISA_NS
