#include "metarl/checkpoint_value.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <type_traits>
#include <unordered_set>

#include "core/little_endian.h"

namespace metarl {
namespace {

constexpr const char* kKinds[] = {"null",      "a boolean", "an int64", "a uint64",
                                  "a float64", "a string",  "a list",   "a map"};

template <typename T>
const T& get(const Value::Data& data, const char* wanted) {
  if (const T* value = std::get_if<T>(&data)) return *value;
  throw std::invalid_argument(std::string("is ") + kKinds[data.index()] + ", must be " + wanted);
}

class Encoder {
 public:
  void value(const Value& value, int depth) {
    if (depth > kMaxValueDepth) throw std::invalid_argument("header: nested too deeply");
    std::visit(
        [this, depth](const auto& v) {
          using T = std::decay_t<decltype(v)>;
          if constexpr (std::is_same_v<T, std::monostate>) {
            tag('0');
          } else if constexpr (std::is_same_v<T, bool>) {
            tag(v ? 'T' : 'F');
          } else if constexpr (std::is_same_v<T, std::int64_t>) {
            tag('i');
            append_little_endian(out, static_cast<std::uint64_t>(v));
          } else if constexpr (std::is_same_v<T, std::uint64_t>) {
            tag('u');
            append_little_endian(out, v);
          } else if constexpr (std::is_same_v<T, double>) {
            tag('d');
            append_little_endian(out, std::bit_cast<std::uint64_t>(v));
          } else if constexpr (std::is_same_v<T, std::string>) {
            tag('s');
            string(v);
          } else if constexpr (std::is_same_v<T, Value::List>) {
            tag('l');
            count(v.size());
            for (const Value& item : v) this->value(item, depth + 1);
          } else {
            tag('m');
            count(v.size());
            for (const Value::Member& member : v) {
              string(member.key);
              this->value(member.value, depth + 1);
            }
          }
        },
        value.data());
  }
  std::vector<std::byte> out;

 private:
  void tag(char c) { out.push_back(static_cast<std::byte>(c)); }
  void count(std::size_t n) {
    if (n > std::numeric_limits<std::uint32_t>::max()) throw std::invalid_argument("header: too long");
    append_little_endian(out, static_cast<std::uint32_t>(n));
  }
  void string(const std::string& s) {
    count(s.size());
    const std::size_t at = out.size();
    out.resize(at + s.size());
    if (!s.empty()) std::memcpy(out.data() + at, s.data(), s.size());
  }
};

class Decoder {
 public:
  Decoder(const std::byte* data, std::size_t bytes) : at_(data), end_(data + bytes) {}

  Value value(int depth) {
    if (depth > kMaxValueDepth) throw std::invalid_argument("nested too deeply");
    const char tag = static_cast<char>(*take(1));
    switch (tag) {
      case '0':
        return Value();
      case 'F':
        return Value(false);
      case 'T':
        return Value(true);
      case 'i':
        return Value(static_cast<std::int64_t>(load_little_endian<std::uint64_t>(take(8))));
      case 'u':
        return Value(load_little_endian<std::uint64_t>(take(8)));
      case 'd':
        return Value(std::bit_cast<double>(load_little_endian<std::uint64_t>(take(8))));
      case 's':
        return Value(string());
      case 'l':
        return list(depth);
      case 'm':
        return map(depth);
      default:
        throw std::invalid_argument("unknown kind of value");
    }
  }
  bool at_end() const { return at_ == end_; }

 private:
  const std::byte* take(std::size_t n) {
    if (n > static_cast<std::size_t>(end_ - at_)) throw std::invalid_argument("ends in the middle of a value");
    const std::byte* taken = at_;
    at_ += n;
    return taken;
  }
  std::string string() {
    const std::size_t n = load_little_endian<std::uint32_t>(take(4));
    const std::byte* text = take(n);
    return std::string(reinterpret_cast<const char*>(text), n);
  }
  // Every item takes at least `each` bytes: a count beyond that is wrong, and nothing is allocated for it.
  std::size_t count(std::size_t each) {
    const std::size_t n = load_little_endian<std::uint32_t>(take(4));
    if (n > static_cast<std::size_t>(end_ - at_) / each) throw std::invalid_argument("claims more items than it holds");
    return n;
  }
  Value list(int depth) {
    const std::size_t n = count(1);
    Value::List items;  // grows with what is there: nested counts may each claim all the rest
    for (std::size_t i = 0; i < n; ++i) items.push_back(value(depth + 1));
    return Value(std::move(items));
  }
  Value map(int depth) {
    const std::size_t n = count(5);
    Value::Map members;
    std::unordered_set<std::string> keys;
    for (std::size_t i = 0; i < n; ++i) {
      std::string key = string();
      if (!keys.insert(key).second) throw std::invalid_argument("has the key '" + key + "' twice");
      Value item = value(depth + 1);
      members.push_back({std::move(key), std::move(item)});
    }
    return Value(std::move(members));
  }

  const std::byte* at_;
  const std::byte* end_;
};

}  // namespace

bool Value::boolean() const { return get<bool>(data_, "a boolean"); }

std::int64_t Value::int64() const {
  if (const auto* value = std::get_if<std::uint64_t>(&data_)) {
    if (*value <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
      return static_cast<std::int64_t>(*value);
    }
    throw std::invalid_argument("is " + std::to_string(*value) + ", must be an int64");
  }
  return get<std::int64_t>(data_, "an int64");
}

std::uint64_t Value::uint64() const {
  if (const auto* value = std::get_if<std::int64_t>(&data_)) {
    if (*value >= 0) return static_cast<std::uint64_t>(*value);
    throw std::invalid_argument("is " + std::to_string(*value) + ", must be >= 0");
  }
  return get<std::uint64_t>(data_, "a uint64");
}

double Value::float64() const { return get<double>(data_, "a float64"); }
const std::string& Value::string() const { return get<std::string>(data_, "a string"); }
const Value::List& Value::list() const { return get<List>(data_, "a list"); }
const Value::Map& Value::map() const { return get<Map>(data_, "a map"); }

const Value* Value::find(std::string_view key) const {
  for (const Member& member : map()) {
    if (member.key == key) return &member.value;
  }
  return nullptr;
}

const Value& Value::at(std::string_view key) const {
  if (const Value* value = find(key)) return *value;
  throw std::invalid_argument("has no '" + std::string(key) + "'");
}

void Value::set(std::string key, Value value) {
  if (is_null()) data_ = Map();
  if (find(key) != nullptr) throw std::invalid_argument("has the key '" + key + "' already");
  std::get<Map>(data_).push_back({std::move(key), std::move(value)});
}

bool Value::operator==(const Value& other) const {
  const auto* a = std::get_if<double>(&data_);
  const auto* b = std::get_if<double>(&other.data_);
  if (a != nullptr && b != nullptr) return std::bit_cast<std::uint64_t>(*a) == std::bit_cast<std::uint64_t>(*b);
  return data_ == other.data_;
}

std::vector<std::byte> encode_value(const Value& value) {
  Encoder encoder;
  encoder.value(value, 0);
  return std::move(encoder.out);
}

Value decode_value(const std::byte* data, std::size_t bytes) {
  Decoder decoder(data, bytes);
  Value value = decoder.value(0);
  if (!decoder.at_end()) throw std::invalid_argument("has bytes behind its value");
  return value;
}

}  // namespace metarl
