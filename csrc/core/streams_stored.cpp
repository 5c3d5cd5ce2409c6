// What a buffer with links stores, and how large it may be: also what the CUDA backend asks.
#include <algorithm>
#include <stdexcept>
#include <string>

#include "metarl/streams.h"

namespace metarl {

bool Streams::needed(const ReplayOptions& options) {
  const StreamOptions& streams = options.streams;
  return streams.n_step > 1 || streams.share_next || streams.skip_reset_rows || streams.sequence_length > 0;
}

std::vector<FieldSpec> Streams::stored_fields(const ReplayOptions& options, std::vector<int>* column_of) {
  std::vector<FieldSpec> stored;
  column_of->assign(options.fields.size(), -1);
  bool stacked = false;
  for (std::size_t f = 0; f < options.fields.size(); ++f) {
    const FieldSpec& field = options.fields[f];
    if (options.streams.share_next && field.next_of >= 0) continue;
    (*column_of)[f] = static_cast<int>(stored.size());
    stored.push_back(field);
    stored.back().bytes /= static_cast<std::size_t>(field.stack);
    if (field.stack > 1 && !stored.back().shape.empty()) {
      stored.back().shape[0] /= static_cast<std::uint64_t>(field.stack);
    }
    stacked |= field.stack > 1;
  }
  if (!needed(options)) return stored;
  stored.push_back({"_next", sizeof(std::uint32_t), alignof(std::uint32_t)});
  stored.back().dtype = "<u4";
  if (stacked) stored.push_back({"_previous", sizeof(std::uint32_t), alignof(std::uint32_t)});
  stored.back().dtype = "<u4";
  return stored;
}

int Streams::largest_stack(const ReplayOptions& options) {
  int stack = 1;
  for (const FieldSpec& field : options.fields) {
    if (field.next_of >= 0) stack = std::max(stack, field.stack);
  }
  return stack;
}

void Streams::check_size(const ReplayOptions& options) {
  const StreamOptions& streams = options.streams;
  const int stack = largest_stack(options);
  const std::int64_t least = 2 * chains::row_slots(stack);
  if (options.capacity < least || options.capacity > kMaxCapacity) {
    throw std::invalid_argument("capacity is " + std::to_string(options.capacity) +
                                "; with these options it must be in [" + std::to_string(least) + ", " +
                                std::to_string(kMaxCapacity) + "]");
  }
  // With fewer slots, environments that take turns overwrite each other's transitions before the next ones come.
  const std::int64_t each = stack + (streams.share_next ? 1 : 0);  // the frames of a transition and the next one
  if (streams.num_envs < 1 || streams.num_envs > options.capacity / each) {
    throw std::invalid_argument("num_envs is " + std::to_string(streams.num_envs) + "; must be in [1, " +
                                std::to_string(options.capacity / each) + "], so that the capacity, " +
                                std::to_string(options.capacity) + ", has room for a transition of each (" +
                                std::to_string(each) + (each == 1 ? " slot)" : " slots)"));
  }
}

}  // namespace metarl
