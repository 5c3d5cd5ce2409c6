// Kernel bodies that read priorities as stored. A bad index reads 0 and sets the error.
#pragma once

#include "cuda/set_bodies.h"

namespace metarl::cuda {

struct GetCall {
  DeviceTree tree;
  const std::int64_t* indices;
  std::int64_t n;
  double* priorities;
};

template <typename Context>
METARL_KERNEL void get_items(Context& ctx, const GetCall& call) {
  const DeviceTree& tree = call.tree;
  const double unit = power_of_two(-ctx.load(&tree.state->scale_exponent));
  const double most = bits_double(0x7FEFFFFFFFFFFFFFull);  // the largest finite number
  for (std::int64_t i = grid_thread(ctx); i < call.n; i += grid_threads(ctx)) {
    const std::int64_t index = ctx.load(call.indices + i);
    const bool inside = index >= 0 && index < tree.capacity;
    const double priority = inside ? static_cast<double>(ctx.load(tree.leaves + index)) * unit : 0.0;
    ctx.store(call.priorities + i, priority < most ? priority : most);
    if (inside) continue;
    ctx.atomic_or(&tree.state->bad, kErrorIndex);
    ctx.atomic_max(&tree.state->first_bad, ~static_cast<std::uint64_t>(i));
  }
}

template <typename Context>
METARL_KERNEL void finish_get(Context& ctx, const GetCall& call) {
  if (grid_thread(ctx) != 0) return;
  TreeState* state = call.tree.state;
  const std::uint32_t bad = ctx.load(&state->bad);
  if (bad != 0) {
    const auto item = static_cast<std::int64_t>(~ctx.load(&state->first_bad));
    record_error(ctx, state, bad, static_cast<std::uint64_t>(item), ctx.load(call.indices + item), 0.0);
  }
  ctx.store(&state->calls, ctx.load(&state->calls) + 1);
  ctx.store(&state->first_bad, 0u);
  ctx.store(&state->bad, 0u);
}

}  // namespace metarl::cuda
