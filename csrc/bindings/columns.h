// The columns of a replay buffer as Python gives them: names, shapes and dtypes, and the conversion of rows to be
// added.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>
#include <vector>

#include "bindings/arrays.h"
#include "metarl/transition_store.h"

namespace metarl {

// NumPy's limit of dimensions, the batch axis included.
constexpr int kMaxDimensions = 64;

struct Column {
  py::object name;  // interned
  py::dtype dtype;
  py::object scalar_type;  // dtype.type
  std::vector<py::ssize_t> shape;
  std::size_t bytes;  // of one element
  char kind;
  int type_num;
  std::size_t itemsize;
  bool plain;  // a number whose value NumPy's scalar holds as the column does

  std::string text() const { return py::cast<std::string>(name); }
};

// From (name, shape, dtype) tuples. Raises TypeError (dtype), ValueError (shape, names).
std::vector<Column> parse_columns(const py::sequence& fields);

std::vector<FieldSpec> field_specs(const std::vector<Column>& columns);

// The values of one `add`, checked: every column present once, of the right shape and a dtype that loses nothing. The
// arguments must stay alive as long as the object.
class RowArguments {
 public:
  explicit RowArguments(const std::vector<Column>& columns);
  RowArguments(const RowArguments&) = delete;
  RowArguments& operator=(const RowArguments&) = delete;

  // keywords: names and values in the order of the call.
  void parse(PyObject* const* values, PyObject* names);
  // The value of the keyword env_ids, which is no column, or null.
  PyObject* env_ids() const { return env_ids_; }

  const ColumnSource* sources() const { return sources_; }
  bool single() const { return single_; }
  std::int64_t rows() const { return rows_; }

 private:
  // Calls with this many columns allocate nothing.
  static constexpr std::size_t kInline = 16;
  static constexpr std::ptrdiff_t kNotGiven = -1;  // as stride
  struct Scratch {
    alignas(16) std::byte bytes[16];
  };

  std::size_t find(PyObject* name, std::size_t expected) const;
  void parse_value(std::size_t c, PyObject* value);
  bool parse_scalar(std::size_t c, PyObject* value);
  bool parse_exact(std::size_t c, PyObject* value);
  void set_rows(std::size_t c, bool single, std::int64_t rows, const py::array* array);

  const std::vector<Column>& columns_;
  std::vector<ColumnSource> more_sources_;
  std::vector<Scratch> more_scratch_;
  ColumnSource inline_sources_[kInline];
  Scratch inline_scratch_[kInline];
  ColumnSource* sources_ = inline_sources_;
  Scratch* scratch_ = inline_scratch_;
  std::vector<py::array> owners_;  // of converted values
  PyObject* env_ids_ = nullptr;
  bool single_ = false;
  std::int64_t rows_ = -1;
  std::size_t first_ = 0;  // the column that decided on rows_
};

// Keyword arguments for RowArguments: those of a call, or, if fields are nested, the same by the columns' flat names.
class FlatKeywords {
 public:
  // structure: see metarl_core/replay/structure.py; or None.
  FlatKeywords(const py::object& structure, PyObject* const* values, PyObject* names);
  PyObject* const* values() const { return values_; }
  PyObject* names() const { return names_; }

 private:
  PyObject* const* values_;
  PyObject* names_;
  py::object flat_;
  py::object flat_names_;
  std::vector<PyObject*> flat_values_;
};

// The environments of the rows, if given. Raises ValueError.
std::optional<ArrayArgument<std::int64_t>> env_ids_argument(std::int64_t num_envs, const RowArguments& rows);

// `array` in the column's dtype, C-contiguous. Integers must keep their value; float64 to float32 is rounding and
// allowed, unless a finite value becomes infinite. Raises TypeError or ValueError.
py::array convert_dtype(const py::array& array, const Column& column);

}  // namespace metarl
