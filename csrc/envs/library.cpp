#include "envs/library.h"

#include <dlfcn.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <set>
#include <stdexcept>

#include "envs/define.h"
#include "metarl/batch_env.h"
#include "metarl/env_library.h"
#include "metarl/isa.h"

namespace metarl {
namespace {

// Two builds that disagree on these would misread each other: raise env::kAbiVersion with any change.
static_assert(env::kAbiVersion != 2 || sizeof(void*) != 8 || sizeof(EnvBatch) == 224,
              "EnvBatch has changed: raise kAbiVersion in envs/library.h, then this line");

constexpr std::uint32_t kMaxParts = 1024;  // of one kind; more is a damaged description
constexpr std::uint32_t kMaxObsSize = 1 << 20;

struct CloseLibrary {
  void operator()(void* handle) const { dlclose(handle); }
};
using LibraryHandle = std::unique_ptr<void, CloseLibrary>;

class Checker {
 public:
  explicit Checker(const std::string& path) : path_(path) {}

  [[noreturn]] void fail(const std::string& what) const { throw std::invalid_argument(path_ + ": " + what); }
  void require(bool holds, const std::string& what) const {
    if (!holds) fail(what);
  }
  std::string text(const char* value, const std::string& what) const {
    require(value != nullptr, what + " is null");
    return value;
  }

 private:
  const std::string& path_;
};

bool is_identifier(const std::string& name) {
  const auto starts = [](unsigned char c) { return c < 128 && (std::isalpha(c) || c == '_'); };
  return !name.empty() && starts(static_cast<unsigned char>(name[0])) &&
         std::all_of(name.begin(), name.end(),
                     [&](unsigned char c) { return starts(c) || (c < 128 && std::isdigit(c)); });
}

// Gymnasium's form without a namespace: letters, digits, _ and -, then -v and a number.
bool is_env_id(const std::string& id) {
  const std::size_t version = id.rfind("-v");
  if (version == std::string::npos || version == 0 || version + 2 == id.size()) return false;
  const auto digit = [](unsigned char c) { return c >= '0' && c <= '9'; };
  return std::all_of(id.begin() + static_cast<std::ptrdiff_t>(version) + 2, id.end(), digit) &&
         std::all_of(id.begin(), id.end(),
                     [](unsigned char c) { return c < 128 && (std::isalnum(c) || c == '_' || c == '-'); });
}

void check_kernels(const Checker& check, const env::KernelInfo& k, const std::string& where) {
  check.require(k.fill_params != nullptr && k.step != nullptr && k.reset != nullptr && k.valid_state != nullptr,
                where + " lacks a function");
  const bool power = k.params_alignment > 0 && (k.params_alignment & (k.params_alignment - 1)) == 0;
  check.require(k.params_size >= 1 && k.params_size <= (1 << 20) && power && k.params_alignment <= 4096,
                where + " has parameters of " + std::to_string(k.params_size) + " bytes aligned to " +
                    std::to_string(k.params_alignment) + "; must be at most 2^20, aligned to a power of two <= 4096");
}

LoadedParameter loaded_parameter(const Checker& check, const env::ParameterInfo& p, const std::string& id) {
  LoadedParameter result{check.text(p.name, id + ": a parameter's name"),
                         check.text(p.doc, id + ": a parameter's doc"),
                         p.default_value,
                         p.low,
                         p.high,
                         p.low_is_excluded != 0};
  const std::string where = id + ": parameter '" + result.name + "'";
  check.require(is_identifier(result.name), where + " is no identifier");
  check.require(!std::isnan(p.low) && !std::isnan(p.high) && p.low <= p.high, where + " needs low <= high");
  const bool above = p.low_is_excluded != 0 ? p.default_value > p.low : p.default_value >= p.low;
  check.require(std::isfinite(p.default_value) && above && p.default_value <= p.high,
                where + " has the default " + std::to_string(p.default_value) + ", which is not in its range");
  return result;
}

LoadedEnvironment loaded_environment(const Checker& check, const env::EnvironmentInfo& e) {
  LoadedEnvironment result;
  result.id = check.text(e.id, "an environment's id");
  const std::string& id = result.id;
  check.require(is_env_id(id), "the id '" + id + "' must be letters, digits, _ and -, then -v and a number");
  result.source = check.text(e.source, id + ": source");
  result.state = check.text(e.state, id + ": state");
  result.observation = check.text(e.observation, id + ": observation");
  result.action = check.text(e.action, id + ": action");
  result.reward = check.text(e.reward, id + ": reward");
  result.ending = check.text(e.ending, id + ": ending");
  check.require(e.max_episode_steps <= 2147483646u, id + ": max_episode_steps is " +
                                                        std::to_string(e.max_episode_steps) +
                                                        "; must be at most 2147483646, 0 for no limit");
  result.max_episode_steps = static_cast<std::int32_t>(e.max_episode_steps);

  check.require(e.num_fields >= 1 && e.num_fields <= kMaxParts && e.field_names != nullptr,
                id + ": has " + std::to_string(e.num_fields) + " fields; must be in [1, 1024]");
  std::set<std::string> names;
  for (std::uint32_t f = 0; f < e.num_fields; ++f) {
    const std::string name = check.text(e.field_names[f], id + ": a field's name");
    check.require(is_identifier(name), id + ": field '" + name + "' is no identifier");
    check.require(names.insert(name).second, id + ": two fields are called '" + name + "'");
    result.field_names.push_back(name);
  }
  check.require(e.num_parameters <= kMaxParts && (e.num_parameters == 0 || e.parameters != nullptr),
                id + ": has " + std::to_string(e.num_parameters) + " parameters; must be at most 1024");
  names.clear();
  for (std::uint32_t k = 0; k < e.num_parameters; ++k) {
    result.parameters.push_back(loaded_parameter(check, e.parameters[k], id));
    const std::string& name = result.parameters.back().name;
    check.require(names.insert(name).second, id + ": two parameters are called '" + name + "'");
  }

  check.require(e.num_actions <= 256,
                id + ": has " + std::to_string(e.num_actions) + " actions; must be at most 256, 0 for one float");
  check.require(e.num_actions > 0 ||
                    (std::isfinite(e.action_low) && std::isfinite(e.action_high) && e.action_low < e.action_high),
                id + ": needs finite action_low < action_high");
  result.num_actions = static_cast<int>(e.num_actions);
  result.action_low = e.action_low;
  result.action_high = e.action_high;

  check.require(e.obs_size >= 1 && e.obs_size <= kMaxObsSize,
                id + ": has observations of " + std::to_string(e.obs_size) + " numbers; must be in [1, 2^20]");
  check.require((e.obs_low == nullptr) == (e.obs_high == nullptr), id + ": needs both obs_low and obs_high, or none");
  const float infinity = std::numeric_limits<float>::infinity();
  result.obs_low.assign(e.obs_size, -infinity);
  result.obs_high.assign(e.obs_size, infinity);
  for (std::uint32_t j = 0; e.obs_low != nullptr && j < e.obs_size; ++j) {
    check.require(e.obs_low[j] <= e.obs_high[j], id + ": needs obs_low[" + std::to_string(j) + "] <= obs_high");
    result.obs_low[j] = e.obs_low[j];
    result.obs_high[j] = e.obs_high[j];
  }
  check.require(e.nanoseconds_per_row > 0 && e.nanoseconds_per_row <= 1e9,
                id + ": nanoseconds_per_row must be in (0, 1e9]");
  check_kernels(check, e.float64, id + ": float64");
  check_kernels(check, e.float32, id + ": float32");
  return result;
}

// The description for the highest level that the process uses and the library has.
const env::LibraryInfo* library_info(const Checker& check, void* handle) {
  using Entry = const env::LibraryInfo* (*)();
  for (const Isa level : {Isa::avx512, Isa::avx2, Isa::baseline}) {
    if (level > active_isa()) continue;
    const std::string name = std::string("metarl_env_library_") + isa_name(level);
    if (void* const symbol = dlsym(handle, name.c_str())) {
      const env::LibraryInfo* const info = reinterpret_cast<Entry>(symbol)();
      check.require(info != nullptr, name + "() returned null");
      return info;
    }
  }
  check.fail("has no function metarl_env_library_baseline; is METARL_ENVIRONMENTS(...) in its source?");
}

struct OpenLibrary {
  LibraryHandle handle;
  const env::LibraryInfo* info;
  std::vector<LoadedEnvironment> environments;
};

OpenLibrary open_library(const std::string& path) {
  const Checker check(path);
  // Through realpath: a bare name would be searched for in the system's folders.
  const std::unique_ptr<char, decltype(&std::free)> real(realpath(path.c_str(), nullptr), &std::free);
  check.require(real != nullptr, std::strerror(errno));
  LibraryHandle handle(dlopen(real.get(), RTLD_NOW | RTLD_LOCAL));
  if (handle == nullptr) {
    const char* const why = dlerror();
    check.fail(why != nullptr ? why : "cannot be loaded");
  }
  const env::LibraryInfo* const info = library_info(check, handle.get());
  check.require(info->abi_version == env::kAbiVersion,
                "was built for version " + std::to_string(info->abi_version) +
                    " of the environment interface; this metarl_core has version " + std::to_string(env::kAbiVersion) +
                    ": build it again");
  check.require(info->batch_size == sizeof(EnvBatch) && info->environment_size == sizeof(env::EnvironmentInfo) &&
                    info->parameter_size == sizeof(env::ParameterInfo),
                "lays out its structures otherwise than this metarl_core: build it again, with the installed headers");
  check.require(info->num_environments >= 1 && info->num_environments <= kMaxParts && info->environments != nullptr,
                "has " + std::to_string(info->num_environments) + " environments; must be in [1, 1024]");
  std::vector<LoadedEnvironment> environments;
  std::set<std::string> ids;
  for (std::uint32_t k = 0; k < info->num_environments; ++k) {
    environments.push_back(loaded_environment(check, info->environments[k]));
    check.require(ids.insert(environments.back().id).second, "has two environments '" + environments.back().id + "'");
  }
  return {std::move(handle), info, std::move(environments)};
}

struct Registry {
  std::mutex mutex;
  std::map<std::string, const env::EnvironmentInfo*> by_id;
};

// Never destroyed: environments may outlive static objects.
Registry& registry() {
  static Registry* const instance = new Registry;
  return *instance;
}

std::shared_ptr<const void> filled_params(const env::KernelInfo& kernels, const std::vector<double>& values) {
  const std::align_val_t alignment{std::max(kernels.params_alignment, alignof(std::max_align_t))};
  const std::shared_ptr<void> params(::operator new(kernels.params_size, alignment),
                                     [alignment](void* p) { ::operator delete(p, alignment); });
  std::memset(params.get(), 0, kernels.params_size);
  kernels.fill_params(values.data(), params.get());
  return params;
}

}  // namespace

std::vector<LoadedEnvironment> read_env_library(const std::string& path) { return open_library(path).environments; }

void add_env_library(const std::string& path) {
  OpenLibrary library = open_library(path);
  Registry& known = registry();
  const std::lock_guard lock(known.mutex);
  for (std::uint32_t k = 0; k < library.info->num_environments; ++k) {
    known.by_id[library.environments[k].id] = library.info->environments + k;
  }
  static_cast<void>(library.handle.release());  // kernels may run until the process ends
}

bool define_loaded(const std::string& id, const EnvOptions& options, EnvDefinition* definition) {
  const env::EnvironmentInfo* info = nullptr;
  {
    Registry& known = registry();
    const std::lock_guard lock(known.mutex);
    const auto found = known.by_id.find(id);
    if (found == known.by_id.end()) return false;
    info = found->second;
  }
  const bool narrow = define::flag(options, "float32");
  const env::KernelInfo& kernels = narrow ? info->float32 : info->float64;
  EnvDefinition& d = *definition;
  d.field_names.assign(info->field_names, info->field_names + info->num_fields);
  d.field_type = narrow ? FieldType::float32 : FieldType::float64;
  d.obs_size = info->obs_size;
  d.obs_type = ObsType::float32;
  d.num_actions = static_cast<int>(info->num_actions);
  d.nanoseconds_per_row = info->nanoseconds_per_row;
  std::vector<std::string> names;
  for (std::uint32_t k = 0; k < info->num_parameters; ++k) names.emplace_back(info->parameters[k].name);
  define::allow_tasks(&d, options, std::move(names));
  d.params = filled_params(kernels, d.task_defaults);
  d.params_bytes = kernels.params_size;
  d.step = kernels.step;
  d.reset = kernels.reset;
  d.valid_state = kernels.valid_state;
  return true;
}

}  // namespace metarl
