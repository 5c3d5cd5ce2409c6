// The state of a replay buffer: numbers and named arrays, which lie in the buffer itself. One mechanism for checkpoint
// files, pickles, state dicts and copies.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "metarl/checkpoint_file.h"
#include "metarl/checkpoint_value.h"

namespace metarl {

// The largest number of writes or draws that a state may hold: leaves room to count on.
constexpr std::uint64_t kLargestCount = std::uint64_t{1} << 62;

// An array of the state: shape[0] elements of element_bytes each, `stride` bytes apart. What is written to `data` of a
// buffer that is being loaded becomes its state.
struct StateArray {
  SectionSpec spec;
  std::byte* data;
  std::size_t element_bytes;
  std::ptrdiff_t stride;

  std::int64_t size() const { return static_cast<std::int64_t>(spec.shape[0]); }
};

struct BufferState {
  Value numbers;
  std::vector<StateArray> arrays;
};

// Where a state is loaded from. Entries that are missing, malformed or out of range are refused, with an exception that
// names the entry.
class StateSource {
 public:
  virtual ~StateSource() = default;
  virtual bool has(const std::string& name) const = 0;
  // Numbers in [0, kLargestCount], in [least, most], and of any value.
  virtual std::uint64_t count(const std::string& name) const = 0;
  virtual std::int64_t integer(const std::string& name, std::int64_t least, std::int64_t most) const = 0;
  virtual double real(const std::string& name) const = 0;
  // Reads into the array's own memory; dtype and shape must be the array's.
  virtual void read(const StateArray& array) const = 0;
  // Called every few milliseconds of a long load; may throw.
  virtual void poll() const {}
  [[noreturn]] virtual void refuse(const std::string& name, const std::string& problem) const = 0;
};

// What a checkpoint of a replay buffer holds.
enum class Saved {
  all,
  all_but_columns,  // they lie in files beside it, see mapped_files.h
};

// The state in a checkpoint, which must outlive this object.
class CheckpointState : public StateSource {
 public:
  explicit CheckpointState(const CheckpointReader& checkpoint, Saved saved = Saved::all);
  bool has(const std::string& name) const override;
  std::uint64_t count(const std::string& name) const override;
  std::int64_t integer(const std::string& name, std::int64_t least, std::int64_t most) const override;
  double real(const std::string& name) const override;
  void read(const StateArray& array) const override;
  void poll() const override { checkpoint_.poll(); }
  [[noreturn]] void refuse(const std::string& name, const std::string& problem) const override;

 private:
  [[noreturn]] void fail(const std::string& name, const std::string& problem) const;
  const Value& number(const std::string& name) const;
  const CheckpointReader& checkpoint_;
  const Value* numbers_;
};

class ReplayBuffer;

void write_state(const BufferState& state, const Value& config, Saved saved, ByteSink& sink, const Poll& poll);
// Writes the buffer as a checkpoint, straight from its memory, while it is locked. `config` is stored beside it.
// Throws what the sink and poll throw.
void save_buffer(const ReplayBuffer& buffer, const Value& config, ByteSink& sink, const Poll& poll = {});
std::uint64_t saved_bytes(const ReplayBuffer& buffer, const Value& config);
// The configuration in a checkpoint of a replay buffer. Throws CheckpointFormatError if it holds another object,
// CheckpointVersionError if it needs a feature that this version lacks.
const Value& saved_config(const CheckpointReader& checkpoint, Saved saved = Saved::all);

}  // namespace metarl
