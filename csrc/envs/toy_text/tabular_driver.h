// The step kernel of environments by table. Included by kernel files only; see driver.h.
//
// A Model has, besides what driver.h names, Params with a member `table`; kDraws, the random numbers a step takes (the
// first of them chooses the outcome); and
//   std::int32_t after(const EnvBatch&, const Params&, int64 row, int32 state, int32 next);
// which may still change what the table says comes next. Its TaskParams have the Chances of a row, `chances`, for which
// it has the table
//   const Table& task_table(const Params&);
#pragma once

#include "envs/driver.h"
#include "envs/toy_text/tabular.h"

namespace metarl {

// kTasks: with the chances of each row.
template <class Model, bool kTasks>
METARL_HD void step_table_rows(const EnvBatch& batch, std::int64_t begin, std::int64_t end) {
  const EnvBatch b = batch;
  const auto& p = *static_cast<const typename Model::Params*>(b.params);
  const auto& table = kTasks ? Model::task_table(p) : p.table;
  [[maybe_unused]] const auto* const tasks = static_cast<const TaskReal<Model>*>(b.task_values);
  auto* const states = static_cast<std::int32_t*>(b.state);
  const auto* const actions = static_cast<const std::uint8_t*>(b.actions);
  auto* const obs = static_cast<std::int64_t*>(b.obs);
  alignas(64) double uniform[kBlockRows];
  std::int32_t which[kBlockRows];
  for (std::int64_t first = begin; first < end; first += kBlockRows) {
    const std::int64_t n = end - first < kBlockRows ? end - first : kBlockRows;
    if (!table.random) {
      for (std::int64_t k = 0; k < n; ++k) which[k] = 0;
    } else if constexpr (kTasks) {
      if (b.draws != nullptr) {
        for (std::int64_t k = 0; k < n; ++k) uniform[k] = b.draws[(first + k) * Model::kDraws];
      } else {
        step_uniforms(b, first, n, uniform);
      }
      for (std::int64_t k = 0; k < n; ++k) {
        which[k] = which_outcome(Model::row_params(p, tasks, b.stride, first + k).chances, uniform[k]);
      }
    } else if (b.draws != nullptr) {
      for (std::int64_t k = 0; k < n; ++k) which[k] = which_outcome(table, b.draws[(first + k) * Model::kDraws]);
    } else {
      step_uniforms(b, first, n, uniform);
      for (std::int64_t k = 0; k < n; ++k) which[k] = which_outcome(table, uniform[k]);
    }
    for (std::int64_t k = 0; k < n; ++k) {
      const std::int64_t i = first + k;
      const tabular::Outcome& o = tabular::outcome(table, states[i], actions[i], which[k]);
      const std::int32_t next = Model::after(b, p, i, states[i], o.next);
      states[i] = next;
      obs[i] = next;
      b.reward[i] = static_cast<double>(o.reward);
      b.terminated[i] = o.ended;
      if (b.prob == nullptr) continue;
      if constexpr (kTasks) {
        b.prob[i] = Model::row_params(p, tasks, b.stride, i).chances.probability[o.probability];
      } else {
        b.prob[i] = table.probability[o.probability];
      }
    }
    finish_rows<Model>(b, p, first, first + n);
  }
}

template <class Model>
METARL_HD void step_tabular_rows(const EnvBatch& b, std::int64_t begin, std::int64_t end) {
  if (b.task_values != nullptr) return step_table_rows<Model, true>(b, begin, end);
  step_table_rows<Model, false>(b, begin, end);
}

}  // namespace metarl
