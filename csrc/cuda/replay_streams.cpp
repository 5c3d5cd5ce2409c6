#include "cuda/replay_streams.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

#include "cuda/replay.h"
#include "metarl/streams.h"

namespace metarl::cuda {
namespace {

constexpr std::size_t kAlignment = 256;
constexpr std::int64_t kMostRows = 2048;          // of a part of an add
constexpr std::int64_t kMostHidden = 4 << 20;     // frames that a part may hide: rows, times slots of each, times stack
constexpr std::int64_t kMostReturns = 64 * 1024;  // of a part of a draw; or steps of sequences
constexpr std::int64_t kOne = 1;

}  // namespace

ReplayStreams::ReplayStreams(Device& device, const ReplayOptions& options, std::vector<int> column_of,
                             ReplayArrays arrays)
    : device_(device),
      options_(options),
      column_of_(std::move(column_of)),
      arrays_(std::move(arrays)),
      pair_of_(options.fields.size(), -1) {
  find_pairs();
  const StreamOptions& given = options_.streams;
  const int stack = Streams::largest_stack(options_);
  streams_.rules = chains::make_rules(options_.capacity, stack, given.share_next, given.skip_reset_rows,
                                      given.sequence_length, given.burn_in, given.stride);
  streams_.num_envs = given.num_envs;
  // No slot is written twice in a part: its copies have no order.
  const std::int64_t row_slots = chains::most_row_slots(stack);
  const std::int64_t most_rows = std::clamp<std::int64_t>(kMostHidden / (row_slots * stack), 1, kMostRows);
  streams_.max_rows = std::clamp<std::int64_t>(options_.capacity / row_slots, 1, most_rows);
  next_column_ = static_cast<int>(arrays_.columns.size()) - (stack > 1 ? 2 : 1);
  const ReplayArrays::Column& next = arrays_.columns[static_cast<std::size_t>(next_column_)];
  streams_.next_links = next.data;
  streams_.link_stride = static_cast<std::int64_t>(next.stride);
  streams_.previous_links = stack > 1 ? arrays_.columns.back().data : nullptr;
  streams_.table_columns = chains::state_columns(streams_.rules.max_candidates);
  streams_.pending_bytes = static_cast<std::int64_t>(pending_bytes_);
  place_memory();
  memory_ = static_cast<std::byte*>(
      device_.allocate(num_bytes_, "the order of transitions of " + std::to_string(given.num_envs) + " environments"));
  try {
    place_memory();
    device_.fill_with_zeros(memory_, num_bytes_);
    write(empty_tables(), kLegacyStream);
  } catch (...) {
    device_.release(memory_);
    throw;
  }
}

ReplayStreams::~ReplayStreams() { device_.release(memory_); }

void ReplayStreams::find_pairs() {
  for (std::size_t f = 0; f < options_.fields.size(); ++f) {
    if (options_.fields[f].next_of < 0) continue;
    const auto source = static_cast<std::size_t>(options_.fields[f].next_of);
    const FieldSpec& field = options_.fields[source];
    pair_of_[f] = pair_of_[source] = static_cast<int>(pairs_.size());
    pairs_.push_back(
        {source, f, field.bytes, field.bytes / static_cast<std::size_t>(field.stack), pending_bytes_, field.stack});
    pending_bytes_ += options_.streams.share_next ? field.bytes : 0;
  }
  if (pairs_.size() <= kMostPairs) return;
  throw std::invalid_argument("fields has " + std::to_string(pairs_.size()) + " fields next_X; on a GPU at most " +
                              std::to_string(kMostPairs) + " can link transitions");
}

// First sizes, as memory_ is null, then places.
void ReplayStreams::place_memory() {
  num_bytes_ = 0;
  const auto array = [this]<typename T>(T** to, std::int64_t count) {
    *to = memory_ == nullptr ? nullptr : reinterpret_cast<T*>(memory_ + num_bytes_);
    num_bytes_ += (static_cast<std::size_t>(count) * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
  };
  const chains::ChainRules& rules = streams_.rules;
  const std::int64_t most = chains::most_row_slots(rules.stack);
  const std::int64_t rows = streams_.max_rows;
  // What the windows of a part hold, one of which began before it; starts of sequences may all be shown at once.
  const std::int64_t slots = std::max<std::int64_t>(rules.window, 0) + (rows + 1) * most;
  const std::int64_t shown = slots + streams_.num_envs * rules.max_candidates;
  array(&streams_.table, streams_.num_envs * streams_.table_columns);
  array(&streams_.pending, streams_.num_envs * streams_.pending_bytes);
  array(&streams_.work, 1);
  array(&streams_.facts, rows);
  array(&streams_.row_slots, rows);
  array(&streams_.row_envs, rows);
  array(&streams_.frames, rows * most);
  array(&streams_.hidden, slots * rules.stack);
  array(&streams_.shown, shown);
  array(&streams_.shown_tasks, arrays_.tasks.entries != nullptr ? shown : 0);
  array(&streams_.windows, rows + shown + 1);
  const StreamOptions& given = options_.streams;
  const bool follows = given.n_step > 1 || given.sequence_length > 0;
  array(&last_, follows ? std::max<std::int64_t>(kMostReturns, given.sequence_length) : 1);
}

// ---- add ------------------------------------------------------------------------------------------------------------

StreamCall ReplayStreams::stream_call(const std::byte* const* fields, std::int64_t n) const {
  StreamCall call{};
  call.tree = arrays_.tree;
  call.replay = arrays_.replay;
  call.streams = streams_;
  call.n = n;
  call.num_pairs = static_cast<int>(pairs_.size());
  for (std::size_t p = 0; p < pairs_.size(); ++p) {
    const Pair& pair = pairs_[p];
    StreamPair& to = call.pairs[p];
    to.frames = column(pair.field).data;
    to.frame_stride = static_cast<std::int64_t>(column(pair.field).stride);
    if (column_of_[pair.next_field] >= 0) {
      to.next = column(pair.next_field).data;
      to.next_stride = static_cast<std::int64_t>(column(pair.next_field).stride);
    }
    to.bytes = static_cast<std::int64_t>(pair.bytes);
    to.frame = static_cast<std::int64_t>(pair.frame);
    to.pending = static_cast<std::int64_t>(pair.pending);
    to.stack = pair.stack;
    call.has_stacks = call.has_stacks || pair.stack > 1;
    call.now[p] = fields[pair.field];
    call.next[p] = fields[pair.next_field];
  }
  const auto flags = [&](int field) {
    return field < 0 ? nullptr : reinterpret_cast<const std::uint8_t*>(fields[field]);
  };
  call.terminated = flags(options_.streams.terminated);
  call.truncated = flags(options_.streams.truncated);
  call.tasks = arrays_.tasks;
  if (options_.tasks.field >= 0) call.task_rows = fields[options_.tasks.field];
  return call;
}

namespace {

CopyCall placing(const ReplayArrays& arrays, const StreamCall& part, const std::int64_t* indices) {
  CopyCall call{};
  call.kind = CopyKind::place;
  call.n = part.count;
  call.capacity = arrays.tree.capacity;
  call.replay = arrays.replay.state;
  call.tree = arrays.tree.state;
  call.indices = indices;
  return call;
}

void advance(std::vector<FieldCopy>* copies, std::int64_t rows) {
  for (FieldCopy& copy : *copies) copy.rows += static_cast<std::size_t>(rows) * copy.row_bytes;
}

// The kernels read these.
std::byte* rows_from(const std::byte* rows, std::int64_t first, std::size_t bytes) {
  return const_cast<std::byte*>(rows) + static_cast<std::size_t>(first) * bytes;
}

}  // namespace

void ReplayStreams::add(const std::byte* const* fields, std::int64_t n, Stream stream) {
  StreamCall call = stream_call(fields, n);
  // Memory of the host that the parts need is taken before the first of them starts: none is left half done.
  std::vector<FieldCopy> rows = copies_of_rows(fields);
  std::vector<FieldCopy> following = copies_of_next(fields);
  for (call.first = 0; call.first < n; call.first += call.count) {
    call.count = std::min(n - call.first, streams_.max_rows);
    device_.start(call, stream);
    start_copies(device_, placing(arrays_, call, streams_.row_slots), rows, stream);
    start_copies(device_, placing(arrays_, call, streams_.row_envs), following, stream);
    if (call.task_rows != nullptr) device_.start(TaskRefreshCall{arrays_.tree, arrays_.tasks, 0, nullptr}, stream);
    advance(&rows, call.count);
    advance(&following, call.count);
  }
}

std::vector<FieldCopy> ReplayStreams::copies_of_rows(const std::byte* const* fields) const {
  std::vector<FieldCopy> copies;
  for (std::size_t f = 0; f < options_.fields.size(); ++f) {
    if (column_of_[f] < 0) continue;
    const std::size_t bytes = options_.fields[f].bytes;
    const ReplayArrays::Column& to = column(f);  // of a stack: its newest frame
    copies.push_back({to.data, to.stride, rows_from(fields[f], 0, bytes), bytes, bytes - to.bytes, to.bytes});
  }
  return copies;
}

std::vector<FieldCopy> ReplayStreams::copies_of_next(const std::byte* const* fields) const {
  std::vector<FieldCopy> copies;
  if (!options_.streams.share_next) return copies;
  for (const Pair& pair : pairs_) {
    copies.push_back({streams_.pending + pair.pending, pending_bytes_,
                      rows_from(fields[pair.next_field], 0, pair.bytes), pair.bytes, 0, pair.bytes});
  }
  return copies;
}

void start_copies(Device& device, CopyCall call, const std::vector<FieldCopy>& fields, Stream stream) {
  for (std::size_t first = 0; first < fields.size(); first += kMostCopiedFields) {
    const std::size_t count = std::min<std::size_t>(fields.size() - first, kMostCopiedFields);
    call.num_fields = static_cast<int>(count);
    call.num_units = 0;
    for (std::size_t k = 0; k < count; ++k) {
      call.fields[k] = copied_field(fields[first + k], call.n, &call.num_units);
    }
    device.start(call, stream);
    call.mark = nullptr;  // once is enough
  }
}

// ---- sample ---------------------------------------------------------------------------------------------------------

void ReplayStreams::gather(const ReplayDraw& draw, Stream stream) {
  const bool returns = options_.streams.n_step > 1;
  const std::int64_t length = options_.streams.sequence_length;
  const std::int64_t most = returns ? kMostReturns : length > 0 ? std::max(kMostReturns / length, kOne) : draw.n;
  for (std::int64_t first = 0; first < draw.n; first += most) {
    const std::int64_t n = std::min(most, draw.n - first);
    if (returns) follow(draw, first, n, stream);
    if (length > 0) unroll(draw, first, n, stream);
    assemble(draw, first, n, stream);
  }
}

void ReplayStreams::follow(const ReplayDraw& draw, std::int64_t first, std::int64_t n, Stream stream) {
  const StreamOptions& given = options_.streams;
  const auto reward = static_cast<std::size_t>(given.reward);
  const auto terminated = static_cast<std::size_t>(given.terminated);
  ReturnCall call{};
  call.n = n;
  call.indices = draw.indices + first;
  call.tree = arrays_.tree.state;
  call.next_links = streams_.next_links;
  call.link_stride = streams_.link_stride;
  call.rewards = column(reward).data;
  call.reward_stride = static_cast<std::int64_t>(column(reward).stride);
  call.wide = given.reward_type == RewardType::float64;
  call.reward_items = static_cast<std::int64_t>(column(reward).bytes / (call.wide ? sizeof(double) : sizeof(float)));
  call.terminated = column(terminated).data;
  call.terminated_stride = static_cast<std::int64_t>(column(terminated).stride);
  call.n_step = given.n_step;
  call.gamma = given.gamma;
  call.last = last_;
  call.returns = rows_from(draw.fields[reward], first, column(reward).bytes);
  call.discounts = draw.discounts + first;
  device_.start(call, stream);
}

void ReplayStreams::unroll(const ReplayDraw& draw, std::int64_t first, std::int64_t n, Stream stream) {
  SequenceCall call{};
  call.n = n;
  call.length = options_.streams.sequence_length;
  call.indices = draw.indices + first;
  call.tree = arrays_.tree.state;
  call.next_links = streams_.next_links;
  call.link_stride = streams_.link_stride;
  call.steps = last_;
  call.mask = draw.steps_mask + first * call.length;
  device_.start(call, stream);
}

AssembledField ReplayStreams::assembled_field(const ReplayDraw& draw, std::size_t f, std::int64_t first, std::int64_t n,
                                              std::int64_t* num_units) const {
  const FieldSpec& spec = options_.fields[f];
  const bool is_next = column_of_[f] < 0;
  const auto field = static_cast<int>(f);
  const StreamOptions& given = options_.streams;
  AssembledField to{};
  to.stack = spec.stack;
  to.frame = static_cast<std::int64_t>(spec.bytes) / spec.stack;
  to.from = is_next ? AssembledFrom::next : spec.stack > 1 ? AssembledFrom::history : AssembledFrom::slot;
  const bool has_steps = given.sequence_length > 0 && !spec.recurrent;
  const bool ends = spec.next_of >= 0 || field == given.terminated || field == given.truncated;
  to.of_last = has_steps || (given.n_step > 1 && ends);
  const std::int64_t steps = has_steps ? given.sequence_length : 1;
  to.rows = n * steps;
  const ReplayArrays::Column& stored = column(is_next ? static_cast<std::size_t>(spec.next_of) : f);
  const FieldCopy copy{stored.data, stored.stride, rows_from(draw.fields[f], first * steps, spec.bytes), spec.bytes,
                       0,           spec.bytes};
  const auto frame = static_cast<std::size_t>(to.frame);
  if (is_next) {
    const Pair& pair = pairs_[static_cast<std::size_t>(pair_of_[f])];
    to.pending = static_cast<std::int64_t>(pair.pending);
    to.copied = copied_field(copy, to.rows, num_units, {frame, pair.pending, pending_bytes_});
  } else {
    to.copied = copied_field(copy, to.rows, num_units, {frame});
  }
  return to;
}

void ReplayStreams::assemble(const ReplayDraw& draw, std::int64_t first, std::int64_t n, Stream stream) {
  AssembleCall call{};
  call.n = n;
  call.replay = arrays_.replay.state;
  call.tree = arrays_.tree.state;
  call.indices = draw.indices + first;
  call.last = last_;
  call.mark = first == 0 ? draw.mark : nullptr;
  call.next_links = streams_.next_links;
  call.previous_links = streams_.previous_links;
  call.link_stride = streams_.link_stride;
  call.pending = streams_.pending;
  call.pending_bytes = streams_.pending_bytes;
  const auto flush = [&] {
    if (call.num_fields > 0) device_.start(call, stream);
    call.num_fields = 0;
    call.num_units = 0;
    call.mark = nullptr;
  };
  for (std::size_t f = 0; f < options_.fields.size(); ++f) {
    if (options_.streams.n_step > 1 && static_cast<int>(f) == options_.streams.reward) continue;
    if (call.num_fields == kMostAssembledFields) flush();
    call.fields[call.num_fields] = assembled_field(draw, f, first, n, &call.num_units);
    ++call.num_fields;
  }
  flush();
}

// ---- state ----------------------------------------------------------------------------------------------------------

StreamTables ReplayStreams::empty_tables() const {
  StreamTables tables;
  tables.num_envs = streams_.num_envs;
  tables.columns = streams_.table_columns;
  tables.pending_bytes = streams_.pending_bytes;
  tables.table.assign(static_cast<std::size_t>(tables.num_envs * tables.columns), 0);
  for (std::int64_t e = 0; e < tables.num_envs; ++e) tables.table[static_cast<std::size_t>(e * tables.columns)] = -1;
  tables.pending.resize(static_cast<std::size_t>(tables.num_envs * tables.pending_bytes));
  return tables;
}

StreamTables ReplayStreams::read(Stream stream) {
  StreamTables tables = empty_tables();
  device_.read(tables.table.data(), streams_.table, tables.table.size() * sizeof(std::int64_t), stream);
  if (!tables.pending.empty()) {
    device_.read(tables.pending.data(), streams_.pending, tables.pending.size(), stream);
  }
  // Behind the candidates there are those that were.
  for (std::int64_t e = 0; e < tables.num_envs; ++e) {
    std::int64_t* row = tables.table.data() + e * tables.columns;
    std::fill(row + chains::kStreamNumbers + chains::kPerCandidate * row[3], row + tables.columns, 0);
  }
  return tables;
}

void ReplayStreams::write(const StreamTables& tables, Stream stream) {
  device_.write(streams_.table, tables.table.data(), tables.table.size() * sizeof(std::int64_t), stream);
  if (!tables.pending.empty()) {
    device_.write(streams_.pending, tables.pending.data(), tables.pending.size(), stream);
  }
}

}  // namespace metarl::cuda
