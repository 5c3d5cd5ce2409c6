#include "bindings/columns.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <string_view>

namespace metarl {
namespace {

bool is_number(char kind) { return std::string_view("biufc").find(kind) != std::string_view::npos; }

bool is_integer(char kind) { return kind == 'i' || kind == 'u'; }

[[noreturn]] void refuse_dtype(const py::array& array, const Column& column) {
  throw py::type_error("'" + column.text() + "' expected " + py::cast<std::string>(py::str(column.dtype)) + ", got " +
                       py::cast<std::string>(py::str(array.dtype())) + ", which it cannot hold without loss");
}

// numpy.errstate for a scope: what a cast loses is checked afterwards, whatever the caller's settings.
class QuietCasts {
 public:
  QuietCasts() : state_(py::module_::import("numpy").attr("errstate")(py::arg("all") = "ignore")) {
    state_.attr("__enter__")();
  }
  ~QuietCasts() {
    try {
      state_.attr("__exit__")(py::none(), py::none(), py::none());
    } catch (py::error_already_set& e) {
      e.discard_as_unraisable("numpy.errstate");
    }
  }
  QuietCasts(const QuietCasts&) = delete;
  QuietCasts& operator=(const QuietCasts&) = delete;

 private:
  py::object state_;
};

// Position of the first integer that has more significant bits than `digits`, or -1.
template <typename T>
std::int64_t first_inexact(const py::array& array, int digits) {
  const auto values = dense_argument<T>(py::array(array.attr("ravel")()), "values");
  for (std::int64_t i = 0; i < values.size; ++i) {
    const auto bits = static_cast<std::uint64_t>(values.data[i]);
    std::uint64_t magnitude = bits;
    if constexpr (std::is_signed_v<T>) magnitude = values.data[i] < 0 ? 0 - bits : bits;
    if (magnitude != 0 && static_cast<int>(std::bit_width(magnitude)) - std::countr_zero(magnitude) > digits) return i;
  }
  return -1;
}

// Elements of this dtype can be copied to the column as they are.
bool same_type(const PyObject* descr, const Column& column) {
  if (descr == column.dtype.ptr()) return true;
  // A type number says all only about numbers: strings have lengths, dates units.
  if (!is_number(column.kind))
    return column.dtype.equal(py::reinterpret_borrow<py::dtype>(const_cast<PyObject*>(descr)));
  const auto* const proxy = py::detail::array_descriptor_proxy(descr);
  return proxy->type_num == column.type_num && (proxy->byteorder == '=' || proxy->byteorder == '|');
}

bool truth_of_all(const py::object& comparison) { return py::cast<bool>(py::bool_(comparison.attr("all")())); }

}  // namespace

std::vector<Column> parse_columns(const py::sequence& fields) {
  std::vector<Column> columns;
  for (const py::handle field : fields) {
    const auto tuple = py::reinterpret_borrow<py::tuple>(field);
    Column column;
    PyObject* name = tuple[0].ptr();
    if (!PyUnicode_Check(name)) throw py::type_error("field names must be str, got " + type_name(name));
    Py_INCREF(name);
    PyUnicode_InternInPlace(&name);
    column.name = py::reinterpret_steal<py::object>(name);
    utf8_text(name, "a field's name");
    column.dtype = py::reinterpret_borrow<py::dtype>(tuple[2]);
    column.scalar_type = column.dtype.attr("type");
    column.kind = column.dtype.kind();
    column.type_num = column.dtype.num();
    column.itemsize = static_cast<std::size_t>(column.dtype.itemsize());
    column.plain = is_number(column.kind) && column.itemsize <= (column.kind == 'c' ? 16 : 8);
    column.bytes = column.itemsize;
    for (const py::handle extent : py::reinterpret_borrow<py::tuple>(tuple[1])) {
      if (column.shape.size() + 1 == kMaxDimensions) {
        throw py::value_error("shape of '" + column.text() + "' has too many axes");
      }
      column.shape.push_back(positive_argument(extent.ptr(), ("shape of '" + column.text() + "'").c_str()));
      if (column.bytes > static_cast<std::size_t>(PY_SSIZE_T_MAX) / static_cast<std::size_t>(column.shape.back())) {
        throw OutOfMemoryError("field '" + column.text() + "' is too large");
      }
      column.bytes *= static_cast<std::size_t>(column.shape.back());
    }
    columns.push_back(std::move(column));
  }
  return columns;
}

std::vector<FieldSpec> field_specs(const std::vector<Column>& columns) {
  std::vector<FieldSpec> specs;
  for (const Column& column : columns) {
    specs.push_back({column.text(), column.bytes, std::min<std::size_t>(column.itemsize, 8)});
    specs.back().dtype = py::cast<std::string>(column.dtype.attr("str"));
    specs.back().shape.assign(column.shape.begin(), column.shape.end());
  }
  return specs;
}

namespace {

py::array convert_at_once(const py::array& array, const Column& column) {
  const py::dtype from = array.dtype();
  const char kind = from.kind();
  const auto cast = [&]() { return py::array(array.attr("astype")(column.dtype, py::arg("order") = "C")); };
  if (!is_number(column.kind)) {
    const bool longer =
        kind == column.kind && (kind == 'S' || kind == 'U') && from.itemsize() <= column.dtype.itemsize();
    if (!longer && !from.equal(column.dtype)) refuse_dtype(array, column);
    return cast();
  }
  if (!is_number(kind)) refuse_dtype(array, column);
  if (from.equal(column.dtype) || (is_integer(kind) && is_integer(column.kind))) {
    const py::array result = cast();
    // A uint64 above the range of int64 compares unequal too: the comparison is by value.
    if (is_integer(kind) && !truth_of_all(result.attr("__eq__")(array))) refuse_dtype(array, column);
    return result;
  }
  // Towards bool, or from a richer kind to a poorer one (float to int, complex to float).
  const std::string order = "biufc";
  const auto rank = [&order](char k) { return k == 'u' ? order.find('i') : order.find(k); };
  if (rank(kind) > rank(column.kind)) refuse_dtype(array, column);
  if (column.kind != 'f' && column.kind != 'c') return cast();
  const py::module_ numpy = py::module_::import("numpy");
  const QuietCasts quiet;
  if (is_integer(kind)) {
    const std::size_t part = column.kind == 'c' ? column.itemsize / 2 : column.itemsize;
    const int digits = part == 2 ? 11 : part == 4 ? 24 : part == 8 ? 53 : 64;
    const bool exact =
        (kind == 'u' ? first_inexact<std::uint64_t>(array, digits) : first_inexact<std::int64_t>(array, digits)) < 0;
    if (!exact) refuse_dtype(array, column);
  }
  const py::array result = cast();
  if (!truth_of_all(numpy.attr("isfinite")(result).attr("__eq__")(numpy.attr("isfinite")(array)))) {
    throw py::value_error("'" + column.text() + "' holds a value that overflows " +
                          py::cast<std::string>(py::str(column.dtype)));
  }
  return result;
}

// Arrays of more bytes than this are converted in parts of a few rows, which Ctrl-C can end and which need no more
// memory besides than one part.
constexpr std::int64_t kConvertedBytes = std::int64_t{8} << 20;

}  // namespace

py::array convert_dtype(const py::array& array, const Column& column) {
  const std::int64_t bytes = array.nbytes();
  if (bytes <= 4 * kConvertedBytes || array.ndim() == 0) return convert_at_once(array, column);
  const std::int64_t rows = array.shape(0);
  py::array converted(column.dtype, std::vector<py::ssize_t>(array.shape(), array.shape() + array.ndim()));
  in_parts_with_signals(rows, std::max<std::int64_t>(kConvertedBytes / (bytes / rows), 1),
                        [&](std::int64_t begin, std::int64_t end) {
                          const py::slice part(begin, end, 1);
                          converted[part] = convert_at_once(py::array(array[part]), column);
                        });
  return converted;
}

RowArguments::RowArguments(const std::vector<Column>& columns) : columns_(columns) {
  if (columns.size() > kInline) {
    more_sources_.resize(columns.size());
    more_scratch_.resize(columns.size());
    sources_ = more_sources_.data();
    scratch_ = more_scratch_.data();
  }
  for (std::size_t c = 0; c < columns.size(); ++c) sources_[c] = {nullptr, kNotGiven};
}

// The column of a name. Calls usually keep the order of the fields, and keywords are interned.
std::size_t RowArguments::find(PyObject* name, std::size_t expected) const {
  if (expected < columns_.size() && columns_[expected].name.ptr() == name) return expected;
  std::size_t c = 0;
  while (c < columns_.size() && columns_[c].name.ptr() != name) ++c;
  if (c < columns_.size()) return c;
  c = 0;
  while (c < columns_.size() && PyUnicode_Compare(columns_[c].name.ptr(), name) != 0) ++c;
  return c;
}

void RowArguments::parse(PyObject* const* values, PyObject* names) {
  const py::ssize_t given = names == nullptr ? 0 : PyTuple_GET_SIZE(names);
  for (py::ssize_t k = 0; k < given; ++k) {
    PyObject* name = PyTuple_GET_ITEM(names, k);
    const std::size_t c = find(name, static_cast<std::size_t>(k));
    if (c >= columns_.size()) {
      if (PyUnicode_CompareWithASCIIString(name, "env_ids") == 0) {
        env_ids_ = values[k];
        continue;
      }
      std::string known;
      for (const Column& column : columns_) known += (known.empty() ? "'" : ", '") + column.text() + "'";
      throw py::key_error("unknown field " + text_of(name) + "; the fields are " + known);
    }
    if (!parse_exact(c, values[k])) parse_value(c, values[k]);
  }
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    if (sources_[c].stride == kNotGiven) throw py::key_error("missing field '" + columns_[c].text() + "'");
  }
}

void RowArguments::set_rows(std::size_t c, bool single, std::int64_t rows, const py::array* array) {
  if (rows_ < 0) {
    single_ = single;
    rows_ = rows;
    first_ = c;
    return;
  }
  if (single == single_ && rows == rows_) return;
  const Column& column = columns_[c];
  const std::string got = array == nullptr ? "()" : shape_text(*array);
  std::vector<py::ssize_t> expected;
  if (!single_) expected.push_back(rows_);
  expected.insert(expected.end(), column.shape.begin(), column.shape.end());
  throw py::value_error("'" + column.text() + "' expected " +
                        shape_text(expected.data(), static_cast<py::ssize_t>(expected.size())) + " like '" +
                        columns_[first_].text() + "', got " + got);
}

// Python and NumPy scalars for a column of shape (): no array is made.
bool RowArguments::parse_scalar(std::size_t c, PyObject* value) {
  const Column& column = columns_[c];
  std::byte* out = scratch_[c].bytes;
  if (column.plain && reinterpret_cast<PyObject*>(Py_TYPE(value)) == column.scalar_type.ptr()) {
    // NumPy's scalars hold their value behind the object header (numpy/arrayscalars.h).
    std::memcpy(out, reinterpret_cast<const std::byte*>(value) + sizeof(PyObject), column.bytes);
    return true;
  }
  if (column.kind == 'f' && PyFloat_Check(value) && column.itemsize >= 4) {
    const double x = PyFloat_AS_DOUBLE(value);
    if (column.itemsize == 8) {
      std::memcpy(out, &x, sizeof x);
      return true;
    }
    const float y = static_cast<float>(x);
    if (column.itemsize != 4 || std::isinf(y) != std::isinf(x)) return false;
    std::memcpy(out, &y, sizeof y);
    return true;
  }
  if (column.kind == 'b' && PyBool_Check(value)) {
    out[0] = static_cast<std::byte>(value == Py_True ? 1 : 0);
    return true;
  }
  if (column.kind == 'i' && column.itemsize == 8 && PyLong_CheckExact(value)) {
    int overflow = 0;
    const long long x = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow != 0) return false;
    std::memcpy(out, &x, sizeof x);
    return true;
  }
  return false;
}

// An array that needs no conversion. False for anything else, bad values too.
bool RowArguments::parse_exact(std::size_t c, PyObject* value) {
  static const PyTypeObject* const array_type = py::detail::npy_api::get().PyArray_Type_;
  if (Py_TYPE(value) != array_type) return false;
  const Column& column = columns_[c];
  const auto* const array = py::detail::array_proxy(value);
  const auto dims = static_cast<int>(column.shape.size());
  const int extra = array->nd - dims;
  if (extra != 0 && extra != 1) return false;
  for (int d = 0; d < dims; ++d) {
    if (array->dimensions[extra + d] != column.shape[static_cast<std::size_t>(d)]) return false;
  }
  if ((array->flags & py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_) == 0 || !same_type(array->descr, column)) {
    return false;
  }
  const bool single = extra == 0;
  const std::int64_t rows = single ? 1 : array->dimensions[0];
  if (rows_ < 0) {
    set_rows(c, single, rows, nullptr);
  } else if (single != single_ || rows != rows_) {
    return false;
  }
  sources_[c] = {reinterpret_cast<const std::byte*>(array->data), static_cast<std::ptrdiff_t>(column.bytes)};
  return true;
}

void RowArguments::parse_value(std::size_t c, PyObject* value) {
  const Column& column = columns_[c];
  const auto dims = static_cast<py::ssize_t>(column.shape.size());
  // An array is never taken for a scalar: none of the types looked for is one.
  if (dims == 0 && column.bytes <= sizeof(Scratch) && parse_scalar(c, value)) {
    set_rows(c, true, 1, nullptr);
    sources_[c] = {scratch_[c].bytes, 0};
    return;
  }
  py::array array = as_array(value);
  bool matches = array.ndim() == dims || array.ndim() == dims + 1;
  const bool single = array.ndim() == dims;
  for (py::ssize_t d = 0; matches && d < dims; ++d) {
    matches = array.shape(array.ndim() - dims + d) == column.shape[static_cast<std::size_t>(d)];
  }
  if (!matches) {
    throw py::value_error("'" + column.text() + "' expected " + shape_text(column.shape.data(), dims) + ", got " +
                          shape_text(array));
  }
  set_rows(c, single, single ? 1 : array.shape(0), &array);
  if (!same_type(array.dtype().ptr(), column) || !is_c_contiguous(array)) array = convert_dtype(array, column);
  sources_[c] = {static_cast<const std::byte*>(array.data()), static_cast<std::ptrdiff_t>(column.bytes)};
  owners_.push_back(std::move(array));
}

FlatKeywords::FlatKeywords(const py::object& structure, PyObject* const* values, PyObject* names)
    : values_(values), names_(names) {
  if (structure.is_none()) return;
  py::dict nested;
  for (Py_ssize_t k = 0; names != nullptr && k < PyTuple_GET_SIZE(names); ++k) {
    nested[py::handle(PyTuple_GET_ITEM(names, k))] = py::handle(values[k]);
  }
  const py::dict flat = structure.attr("flatten")(nested);
  flat_ = flat;
  flat_names_ = py::tuple(flat.attr("keys")());
  for (const auto& item : flat) flat_values_.push_back(item.second.ptr());
  values_ = flat_values_.data();
  names_ = flat_names_.ptr();
}

std::optional<ArrayArgument<std::int64_t>> env_ids_argument(std::int64_t num_envs, const RowArguments& rows) {
  if (rows.env_ids() == nullptr || rows.env_ids() == Py_None) {
    if (num_envs > 1 && rows.rows() != num_envs) {
      throw py::value_error("add got " + std::to_string(rows.rows()) + " rows; with num_envs = " +
                            std::to_string(num_envs) + " it needs one for each environment, or env_ids");
    }
    return std::nullopt;
  }
  ArrayArgument<std::int64_t> ids;
  try {
    ids = index_argument(rows.env_ids(), "env_ids");
  } catch (const py::index_error& error) {
    throw py::value_error(std::string(error.what()) + "; must be in [0, num_envs = " + std::to_string(num_envs) + ")");
  }
  if (ids.size != rows.rows() || ids.scalar != rows.single()) {
    throw py::value_error("env_ids has shape " + ids.shape() + "; must be " +
                          (rows.single() ? "()" : "(" + std::to_string(rows.rows()) + ",)") + " like the rows");
  }
  for (std::int64_t i = 0; i < ids.size; ++i) {
    if (ids.data[i] >= 0 && ids.data[i] < num_envs) continue;
    throw py::value_error("env_ids[" + std::to_string(i) + "] is " + std::to_string(ids.data[i]) +
                          "; must be in [0, num_envs = " + std::to_string(num_envs) + ")");
  }
  return ids;
}

}  // namespace metarl
