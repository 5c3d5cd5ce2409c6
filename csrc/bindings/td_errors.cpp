// TD errors as an update of priorities takes them.
#include "bindings/td_errors.h"

#include <cmath>

#include "metarl/sequence_priorities.h"

namespace metarl {
namespace {

// float32 values of TD errors; a finite one that overflows is an error, NaN and infinity are left to the core.
ArrayArgument<float> td_error_argument(PyObject* object) {
  const auto is_float32 = [](const py::array& array) {
    return array.dtype().kind() == 'f' && array.dtype().itemsize() <= 4;
  };
  const py::array array = as_array(object);
  if (is_float32(array)) return real_argument<float>(array.ptr(), "td_errors");
  const auto wide = real_argument<double>(array.ptr(), "td_errors");
  py::array_t<float> narrow(wide.size);
  float* out = narrow.mutable_data();
  bool overflow = false;
  in_parts_with_signals(wide.size, kConvertedAtOnce, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      out[i] = static_cast<float>(wide.data[i]);
      overflow |= std::isinf(out[i]);
    }
  });
  for (std::int64_t i = 0; overflow && i < wide.size; ++i) {
    if (std::isinf(out[i]) && std::isfinite(wide.data[i])) {
      throw py::value_error("td_errors[" + std::to_string(i) + "] is " + text_of(py::float_(wide.data[i])) +
                            "; overflows float32");
    }
  }
  ArrayArgument<float> result;
  result.data = out;
  result.size = wide.size;
  result.scalar = wide.scalar;
  result.owner = std::move(narrow);
  return result;
}

// `mask` may be null: all steps then.
ArrayArgument<float> mixed_errors(const py::array& errors, const StreamOptions& streams, const py::array* mask) {
  const std::int64_t n = errors.shape(0);
  const auto flat = td_error_argument(py::array(errors.attr("reshape")(-1)).ptr());
  py::array_t<float> mixed(n);
  ArrayArgument<float> result;
  const auto* steps = mask == nullptr ? nullptr : static_cast<const std::uint8_t*>(mask->data());
  const std::int64_t length = streams.sequence_length;
  in_parts_with_signals(n, kConvertedAtOnce / length + 1, [&](std::int64_t begin, std::int64_t end) {
    mix_sequence_errors(flat.data + begin * length, steps == nullptr ? nullptr : steps + begin * length, end - begin,
                        streams, mixed.mutable_data() + begin, begin);
  });
  result.data = mixed.data();
  result.size = n;
  result.owner = std::move(mixed);
  return result;
}

}  // namespace

ArrayArgument<float> errors_argument(const PyReplay& self, PyObject* object, PyObject* batch) {
  const StreamOptions& streams = self.core->options().streams;
  ArrayArgument<float> plain;
  if (take_as_it_is(object, &plain)) return plain;
  const py::array errors = as_array(object);
  if (streams.sequence_length == 0 || errors.ndim() != 2) return td_error_argument(errors.ptr());
  if (errors.shape(1) != streams.sequence_length) {
    throw py::value_error("td_errors has shape " + shape_text(errors) +
                          "; must be (B,) or (B, sequence_length = " + std::to_string(streams.sequence_length) + ")");
  }
  if (batch == nullptr) return mixed_errors(errors, streams, nullptr);
  const py::object mask_object = py::handle(batch)[self.mask_name];
  if (!is_array(mask_object.ptr())) {
    throw py::type_error("batch['mask'] must be a bool array, got " + type_name(mask_object));
  }
  const auto mask = py::reinterpret_borrow<py::array>(mask_object);
  if (!mask.dtype().equal(self.bool_dtype) || !is_c_contiguous(mask) || mask.ndim() != 2 ||
      mask.shape(0) != errors.shape(0) || mask.shape(1) != errors.shape(1)) {
    throw py::value_error("batch['mask'] has shape " + shape_text(mask) + ", td_errors has shape " +
                          shape_text(errors));
  }
  return mixed_errors(errors, streams, &mask);
}

}  // namespace metarl
