// BatchEnv's state and tasks, of all rows or of some.
#include <algorithm>
#include <cmath>
#include <limits>

#include "core/batch_env_rows.h"

namespace metarl {
namespace {

// Element k of a caller's array is that of row rows[k].
template <class Row, class T>
void gather(const Row& row, std::int64_t count, const std::vector<T>& from, T* to) {
  for (std::int64_t k = 0; to != nullptr && k < count; ++k) to[k] = from[row(k)];
}
template <class Row, class T>
void scatter(const Row& row, std::int64_t count, const T* from, std::vector<T>& to) {
  for (std::int64_t k = 0; from != nullptr && k < count; ++k) to[row(k)] = from[k];
}

}  // namespace

// Rows and their number: those named, or all.
struct BatchEnv::Chosen {
  Chosen(const RowList& list, std::int64_t num_envs)
      : rows(list.rows), count(list.rows == nullptr ? num_envs : list.count) {
    for (std::int64_t k = 0; rows != nullptr && k < count; ++k) {
      if (rows[k] < 0 || rows[k] >= num_envs) {
        throw std::out_of_range("rows[" + std::to_string(k) + "] is " + std::to_string(rows[k]) + "; must be in [0, " +
                                std::to_string(num_envs) + ")");
      }
    }
  }
  std::size_t operator()(std::int64_t k) const { return static_cast<std::size_t>(rows == nullptr ? k : rows[k]); }
  void refuse_duplicates(std::int64_t num_envs) const {
    if (rows == nullptr) return;
    std::vector<std::int64_t> first(static_cast<std::size_t>(num_envs), -1);
    for (std::int64_t k = 0; k < count; ++k) {
      std::int64_t& seen = first[(*this)(k)];
      if (seen >= 0) {
        throw std::invalid_argument("rows[" + std::to_string(k) + "] is " + std::to_string(rows[k]) + ", as rows[" +
                                    std::to_string(seen) + "] is; each row can be set once");
      }
      seen = k;
    }
  }

  const std::int64_t* rows;
  std::int64_t count;
};

FieldType BatchEnv::task_type() const {
  if (definition_.wide_tasks) return FieldType::float64;
  return definition_.field_type == FieldType::uint8 ? FieldType::int32 : definition_.field_type;
}

// Row-major numbers of `count` tasks as columns of the type that the kernels take.
std::vector<std::byte> BatchEnv::task_columns(const double* values, std::int64_t count) const {
  const auto n = static_cast<std::size_t>(count);
  const std::size_t width = definition_.task_parameters.size();
  std::vector<std::byte> columns(n * width * field_bytes(task_type()));
  with_field_type(task_type(), columns.data(), [&](auto* data) {
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t k = 0; k < width; ++k) {
        data[k * n + i] = static_cast<std::remove_reference_t<decltype(*data)>>(values[i * width + k]);
      }
    }
  });
  return columns;
}

// What the definition makes of `count` tasks, row-major.
std::vector<std::uint8_t> BatchEnv::layouts_of(const double* values, std::int64_t count) const {
  const auto bytes = static_cast<std::size_t>(definition_.layout_bytes);
  const std::size_t width = definition_.task_parameters.size();
  std::vector<std::uint8_t> layouts(static_cast<std::size_t>(count) * bytes);
  for (std::size_t i = 0; bytes > 0 && i < static_cast<std::size_t>(count); ++i) {
    definition_.make_layout(definition_.params.get(), values + i * width, layouts.data() + i * bytes);
  }
  return layouts;
}

void BatchEnv::set_tasks(const double* values, const std::int32_t* ids) {
  const InUse guard(in_use_);
  if (definition_.task_parameters.empty()) {
    throw std::invalid_argument(definition_.name + " has no parameters that can differ between environments");
  }
  std::vector<std::byte> columns;
  std::vector<std::uint8_t> layouts;
  std::vector<std::int32_t> numbers;
  if (values != nullptr) {
    columns = task_columns(values, num_envs_);
    layouts = layouts_of(values, num_envs_);
    numbers.assign(ids, ids + num_envs_);
  }
  task_values_ = std::move(columns);
  layouts_ = std::move(layouts);
  task_id_ = std::move(numbers);
  task_table_.clear();
  table_layouts_.clear();
  task_table_size_ = 0;
}

void BatchEnv::set_task_table(const double* values, std::int64_t count) {
  const InUse guard(in_use_);
  if (definition_.task_parameters.empty()) {
    throw std::invalid_argument(definition_.name + " has no parameters that can differ between environments");
  }
  std::vector<std::byte> table = task_columns(values, count);
  std::vector<std::uint8_t> layouts = layouts_of(values, count);
  if (!has_tasks()) own_tasks();
  task_table_ = std::move(table);
  table_layouts_ = std::move(layouts);
  task_table_size_ = count;
}

void BatchEnv::get_tasks(double* values, std::int32_t* ids) {
  EnvStateOut out;
  out.tasks = values;
  out.task_id = ids;
  get_state(out);
}

void BatchEnv::get_task_table(double* values) {
  const InUse guard(in_use_);
  const auto n = static_cast<std::size_t>(task_table_size_);
  const std::size_t width = definition_.task_parameters.size();
  with_field_type(task_type(), task_table_.data(), [&](const auto* data) {
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t k = 0; k < width; ++k) values[i * width + k] = static_cast<double>(data[k * n + i]);
    }
  });
}

// Every row has the environment's own parameters, as columns of its own.
void BatchEnv::own_tasks() {
  std::vector<double> own;
  for (std::int64_t i = 0; i < num_envs_; ++i) {
    own.insert(own.end(), definition_.task_defaults.begin(), definition_.task_defaults.end());
  }
  std::vector<std::byte> columns = task_columns(own.data(), num_envs_);
  std::vector<std::uint8_t> layouts = layouts_of(own.data(), num_envs_);
  task_id_.assign(static_cast<std::size_t>(num_envs_), -1);
  task_values_ = std::move(columns);
  layouts_ = std::move(layouts);
}

void BatchEnv::get_field(std::size_t f, double* out) {
  const InUse guard(in_use_);
  const std::size_t width = definition_.field_names.size();
  if (f >= width) throw std::out_of_range("field " + std::to_string(f) + " does not exist");
  const auto n = static_cast<std::size_t>(num_envs_);
  with_field_type(definition_.field_type, state_.data(), [&](const auto* data) {
    for (std::size_t i = 0; i < n; ++i) {
      out[i] = static_cast<double>(data[definition_.row_major ? i * width + f : f * n + i]);
    }
  });
}

void BatchEnv::get_state(const EnvStateOut& out, const RowList& rows) {
  const InUse guard(in_use_);
  const Chosen row(rows, num_envs_);
  const auto n = static_cast<std::size_t>(num_envs_);
  const auto read = [&](FieldType type, bool row_major, std::vector<std::byte>& from, std::size_t width, double* to) {
    with_field_type(type, from.data(), [&](const auto* data) {
      for (std::int64_t k = 0; k < row.count; ++k) {
        double* const numbers = to + static_cast<std::size_t>(k) * width;
        for (std::size_t f = 0; f < width; ++f) {
          numbers[f] = static_cast<double>(data[row_major ? row(k) * width + f : f * n + row(k)]);
        }
      }
    });
  };
  if (out.fields != nullptr) {
    read(definition_.field_type, definition_.row_major, state_, definition_.field_names.size(), out.fields);
  }
  if (out.tasks != nullptr) read(task_type(), false, task_values_, definition_.task_parameters.size(), out.tasks);
  gather(row, row.count, elapsed_, out.elapsed);
  gather(row, row.count, episode_, out.episode);
  gather(row, row.count, seed_, out.seed);
  gather(row, row.count, stream_, out.stream);
  gather(row, row.count, done_, out.done);
  gather(row, row.count, task_id_, out.task_id);
}

void BatchEnv::check_state(const EnvStateIn& in, std::int64_t count) const {
  const auto n = static_cast<std::size_t>(count);
  const std::size_t fields = definition_.field_names.size();
  std::vector<double> rounded(fields);
  for (std::size_t i = 0; in.fields != nullptr && i < n; ++i) {
    const double* const row = in.fields + i * fields;
    // Before it is rounded: out of float's range, a conversion to float is undefined.
    bool valid = definition_.field_type != FieldType::float32 || std::all_of(row, row + fields, [](double x) {
                   return std::abs(x) <= static_cast<double>(std::numeric_limits<float>::max());
                 });
    if (valid) {
      const bool narrow = definition_.field_type == FieldType::float32;
      for (std::size_t f = 0; f < fields; ++f) {
        rounded[f] = narrow ? static_cast<double>(static_cast<float>(row[f])) : row[f];
      }
      valid = definition_.valid_state(definition_.params.get(), rounded.data());
    }
    if (!valid) {
      throw std::invalid_argument("state[" + std::to_string(i) + "] is not a state of " + definition_.name);
    }
  }
  for (std::size_t i = 0; in.elapsed != nullptr && i < n; ++i) {
    if (in.elapsed[i] < 0 || in.elapsed[i] == std::numeric_limits<std::int32_t>::max()) {
      throw std::invalid_argument("elapsed[" + std::to_string(i) + "] is " + std::to_string(in.elapsed[i]) +
                                  "; must be in [0, 2147483647)");
    }
  }
}

void BatchEnv::set_state(const EnvStateIn& in, const RowList& rows) {
  const InUse guard(in_use_);
  const Chosen row(rows, num_envs_);
  row.refuse_duplicates(num_envs_);
  check_state(in, row.count);
  std::vector<std::uint8_t> layouts;
  if (in.tasks != nullptr) layouts = layouts_of(in.tasks, row.count);
  if (in.tasks != nullptr && !has_tasks()) own_tasks();
  const auto n = static_cast<std::size_t>(num_envs_);
  const auto write = [&](FieldType type, bool row_major, const double* from, std::size_t width,
                         std::vector<std::byte>& to) {
    with_field_type(type, to.data(), [&](auto* data) {
      for (std::int64_t k = 0; k < row.count; ++k) {
        const double* const numbers = from + static_cast<std::size_t>(k) * width;
        for (std::size_t f = 0; f < width; ++f) {
          data[row_major ? row(k) * width + f : f * n + row(k)] =
              static_cast<std::remove_reference_t<decltype(*data)>>(numbers[f]);
        }
      }
    });
  };
  if (in.fields != nullptr) {
    write(definition_.field_type, definition_.row_major, in.fields, definition_.field_names.size(), state_);
    if (row.count == num_envs_) ready_ = true;
  }
  if (in.tasks != nullptr) write(task_type(), false, in.tasks, definition_.task_parameters.size(), task_values_);
  const auto bytes = static_cast<std::size_t>(definition_.layout_bytes);
  for (std::size_t k = 0; k < layouts.size() / std::max<std::size_t>(bytes, 1); ++k) {
    std::copy_n(layouts.data() + k * bytes, bytes, layouts_.data() + row(static_cast<std::int64_t>(k)) * bytes);
  }
  scatter(row, row.count, in.elapsed, elapsed_);
  scatter(row, row.count, in.episode, episode_);
  scatter(row, row.count, in.seed, seed_);
  scatter(row, row.count, in.stream, stream_);
  scatter(row, row.count, in.done, done_);
  scatter(row, row.count, in.task_id, task_id_);
}

}  // namespace metarl
