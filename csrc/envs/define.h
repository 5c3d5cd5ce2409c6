// Definitions by family, which make_env_definition asks in turn, and what they share.
#pragma once

#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "metarl/batch_env.h"

namespace metarl {

// Each fills `definition` and returns true if `id` is one of its family. They throw std::invalid_argument for a missing
// option.
bool define_classic_control(const std::string& id, const EnvOptions& options, EnvDefinition* definition);
bool define_toy_text(const std::string& id, const EnvOptions& options, EnvDefinition* definition);
bool define_bsuite(const std::string& id, const EnvOptions& options, EnvDefinition* definition);
bool define_minatar(const std::string& id, const EnvOptions& options, EnvDefinition* definition);
bool define_minigrid(const std::string& id, const EnvOptions& options, EnvDefinition* definition);
bool define_meta(const std::string& id, const EnvOptions& options, EnvDefinition* definition);
// An environment of a library that add_env_library has added.
bool define_loaded(const std::string& id, const EnvOptions& options, EnvDefinition* definition);

namespace define {

inline double number(const EnvOptions& options, const std::string& name) {
  const auto found = options.numbers.find(name);
  if (found == options.numbers.end()) throw std::invalid_argument("option '" + name + "' is missing");
  return found->second;
}

inline bool flag(const EnvOptions& options, const std::string& name) { return number(options, name) != 0; }

inline bool is_within(double x, double low, double high) { return x >= low && x <= high; }
inline bool is_integer_in(double x, double low, double high) { return is_within(x, low, high) && std::floor(x) == x; }

// Bounds hold as the kernels apply them, in the type of the fields.
template <class Real>
double rounded(double bound) {
  return static_cast<double>(static_cast<Real>(bound));
}

template <int kFields>
bool all_finite(const void*, const double* fields) {
  for (int f = 0; f < kFields; ++f) {
    if (!std::isfinite(fields[f])) return false;
  }
  return true;
}

// Parameters that may be None are NaN where they are not given.
inline EnvOptions with_none(EnvOptions options, std::initializer_list<const char*> names) {
  for (const char* name : names) options.numbers.try_emplace(name, std::numeric_limits<double>::quiet_NaN());
  return options;
}

// The parameters that may differ between rows, by their names as options, in the order of the model's row_params.
inline void allow_tasks(EnvDefinition* d, const EnvOptions& options, std::vector<std::string> names) {
  for (const std::string& name : names) d->task_defaults.push_back(number(options, name));
  d->task_parameters = std::move(names);
}

// An array that the member of the parameters points to.
template <class Params, class T>
struct ArrayOf {
  const T* Params::* member;
  std::vector<T> values;
};

// Keeps the parameters, and the arrays that they point to.
template <class Params, class... T>
void set_params(EnvDefinition* d, const Params& params, ArrayOf<Params, T>... arrays) {
  static_assert(std::is_trivially_copyable_v<Params>, "a GPU gets a copy of the bytes");
  struct Owner {
    Params params;
    std::tuple<ArrayOf<Params, T>...> arrays;
  };
  const auto owner = std::make_shared<Owner>(Owner{params, {std::move(arrays)...}});
  Params& own = owner->params;
  const auto start = reinterpret_cast<std::uintptr_t>(&own);
  const auto point = [&](const auto& array) {
    own.*array.member = array.values.data();
    d->params_arrays.push_back({reinterpret_cast<std::uintptr_t>(&(own.*array.member)) - start,
                                array.values.size() * sizeof(array.values[0])});
  };
  std::apply([&](const auto&... array) { (point(array), ...); }, owner->arrays);
  d->params = std::shared_ptr<const void>(owner, &own);
  d->params_bytes = sizeof(Params);
}

}  // namespace define
}  // namespace metarl
