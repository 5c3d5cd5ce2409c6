// The header of a checkpoint: nested maps and lists of numbers and strings, and their exact binary form.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace metarl {

class Value {
 public:
  struct Member;
  using List = std::vector<Value>;
  // In order of insertion, keys unique. A class of its own because libstdc++ takes a variant of nothing but strings and
  // vectors for one that always holds something, which a copy that runs out of memory does not.
  struct Map : std::vector<Member> {
    // Defined below, where Member is complete.
    Map();
    Map(std::initializer_list<Member> members);
    Map(const Map& other);
    Map(Map&& other) noexcept;
    Map& operator=(const Map& other);
    Map& operator=(Map&& other) noexcept;
    ~Map();
  };

  Value() = default;  // null
  Value(bool value) : data_(value) {}
  Value(std::int64_t value) : data_(value) {}
  Value(std::uint64_t value) : data_(value) {}
  Value(double value) : data_(value) {}
  Value(std::string value) : data_(std::move(value)) {}
  Value(const char* value) : data_(std::string(value)) {}
  Value(List value) : data_(std::move(value)) {}
  Value(Map value) : data_(std::move(value)) {}

  bool is_null() const { return std::holds_alternative<std::monostate>(data_); }

  // Throw std::invalid_argument if the value has another kind, or is an integer out of range.
  bool boolean() const;
  std::int64_t int64() const;
  std::uint64_t uint64() const;
  double float64() const;
  const std::string& string() const;
  const List& list() const;
  const Map& map() const;

  // Members of a map. find returns nullptr, at throws std::invalid_argument if there is none of that name.
  const Value* find(std::string_view key) const;
  const Value& at(std::string_view key) const;
  // Appends to a map; the key must be new.
  void set(std::string key, Value value);

  // Bit for bit: NaNs compare by their bits, 0.0 differs from -0.0, and an int64 differs from a uint64.
  bool operator==(const Value& other) const;

  using Data = std::variant<std::monostate, bool, std::int64_t, std::uint64_t, double, std::string, List, Map>;
  const Data& data() const { return data_; }

 private:
  Data data_;
};

struct Value::Member {
  std::string key;
  Value value;
  bool operator==(const Member& other) const = default;
};

inline Value::Map::Map() = default;
inline Value::Map::Map(std::initializer_list<Member> members) : std::vector<Member>(members) {}
inline Value::Map::Map(const Map& other) = default;
inline Value::Map::Map(Map&& other) noexcept = default;
inline Value::Map& Value::Map::operator=(const Map& other) = default;
inline Value::Map& Value::Map::operator=(Map&& other) noexcept = default;
inline Value::Map::~Map() = default;

// One tag byte a value, then: '0' null, 'F' false, 'T' true, 'i' int64, 'u' uint64, 'd' float64, 's' string (uint32
// length and UTF-8 bytes), 'l' list (uint32 count and values), 'm' map (uint32 count, then strings without their tag
// and values in turn). Numbers are little endian.
std::vector<std::byte> encode_value(const Value& value);

// Throws std::invalid_argument unless the bytes are exactly one value: at most kMaxValueDepth levels deep, keys unique.
// Allocates at most 128 bytes for every byte given.
constexpr int kMaxValueDepth = 32;
Value decode_value(const std::byte* data, std::size_t bytes);

}  // namespace metarl
