// What memory alone allows, for the benchmarks (metarl_core/benchmarks/drivers/floor.py).
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <tuple>
#include <vector>

#include "bindings/arrays.h"
#include "bindings/built.h"
#include "bindings/register.h"
#include "metarl/detail/prefetch.h"

namespace py = pybind11;

namespace metarl {
namespace {

constexpr std::size_t kLine = 64;
constexpr std::int64_t kAhead = 64;  // elements whose lines are fetched together

// Reads, or reads and writes, the cache lines of elements at places known in advance, so that all misses overlap.
class LineToucher {
 public:
  // Of each part: memory, bytes of an element, and the shift from an index to its element.
  explicit LineToucher(const std::vector<std::tuple<py::array, std::size_t, int>>& parts) {
    for (const auto& [array, bytes, shift] : parts) {
      if (!is_c_contiguous(array) || array.itemsize() != 1 || !array.writeable() || bytes == 0 || shift < 0) {
        throw py::value_error("parts must be (writeable contiguous bytes, bytes of an element >= 1, shift >= 0)");
      }
      kept_.push_back(array);
      parts_.push_back({static_cast<std::uint8_t*>(const_cast<void*>(array.data())), bytes, shift});
      const std::int64_t elements = static_cast<std::int64_t>(static_cast<std::size_t>(array.size()) / bytes);
      limit_ = std::min(limit_, elements << shift);
    }
  }

  // Returns the sum of the first bytes of all lines. Raises IndexError.
  std::uint64_t touch(const py::array_t<std::int64_t, py::array::c_style>& indices, bool write) const {
    const std::int64_t* at = indices.data();
    const auto n = static_cast<std::int64_t>(indices.size());
    for (std::int64_t i = 0; i < n; ++i) {
      if (at[i] < 0 || at[i] >= limit_) throw py::index_error("index " + std::to_string(at[i]) + " is out of range");
    }
    std::uint64_t sum = 0;
    for (std::int64_t first = 0; first < n; first += kAhead) {
      const std::int64_t count = std::min(kAhead, n - first);
      for (const Part& part : parts_) {
        for (std::int64_t i = 0; i < count; ++i) {
          for_lines(part, at[first + i],
                    [write](std::uint8_t* line) { write ? prefetch_to_write(line) : prefetch(line); });
        }
      }
      for (const Part& part : parts_) {
        for (std::int64_t i = 0; i < count; ++i) {
          for_lines(part, at[first + i], [&sum, write](std::uint8_t* line) { sum += write ? ++*line : *line; });
        }
      }
    }
    return sum;
  }

 private:
  struct Part {
    std::uint8_t* data;
    std::size_t bytes;
    int shift;
  };
  template <typename F>
  static void for_lines(const Part& part, std::int64_t index, F&& f) {
    std::uint8_t* element = part.data + static_cast<std::size_t>(index >> part.shift) * part.bytes;
    for (std::size_t offset = 0; offset < part.bytes; offset += kLine) f(element + offset);
  }
  std::vector<py::array> kept_;
  std::vector<Part> parts_;
  std::int64_t limit_ = std::numeric_limits<std::int64_t>::max();
};

// Reads, and writes, whole arrays from end to end.
class ArrayToucher {
 public:
  ArrayToucher(const std::vector<py::array>& reads, const std::vector<py::array>& writes) {
    const auto add = [this](const py::array& array, std::vector<Span>* spans) {
      if (!is_c_contiguous(array) || array.itemsize() != 8 || !array.writeable()) {
        throw py::value_error("arrays must be writeable, contiguous, of 8-byte elements");
      }
      kept_.push_back(array);
      spans->push_back({static_cast<std::uint64_t*>(const_cast<void*>(array.data())), array.size()});
    };
    for (const py::array& array : reads) add(array, &reads_);
    for (const py::array& array : writes) add(array, &writes_);
  }

  // Returns the sum of what was read.
  std::uint64_t touch() const {
    std::uint64_t sum = 0;
    for (const Span& span : reads_) {
      for (std::int64_t i = 0; i < span.size; ++i) sum += span.data[i];
    }
    for (const Span& span : writes_) std::fill_n(span.data, span.size, sum);
    return sum;
  }

 private:
  struct Span {
    std::uint64_t* data;
    std::int64_t size;
  };
  std::vector<py::array> kept_;
  std::vector<Span> reads_, writes_;
};

}  // namespace

void register_floor(py::module_& m) {
  py::class_<LineToucher>(m, "LineToucher")
      .def(py::init<const std::vector<std::tuple<py::array, std::size_t, int>>&>(), py::arg("parts"))
      .def(
          "touch",
          [](Built<LineToucher> self, const py::array_t<std::int64_t, py::array::c_style>& indices, bool write) {
            return self->touch(indices, write);
          },
          py::arg("indices"), py::arg("write"));
  py::class_<ArrayToucher>(m, "ArrayToucher")
      .def(py::init<const std::vector<py::array>&, const std::vector<py::array>&>(), py::arg("reads"),
           py::arg("writes"))
      .def("touch", [](Built<ArrayToucher> self) { return self->touch(); });
}

}  // namespace metarl
