// Memory of large output arrays, reused once the last reference to an array is gone: a page fault costs several times
// what it costs to fill the page.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <memory>
#include <mutex>
#include <vector>

#include "bindings/arrays.h"
#include "metarl/aligned_memory.h"

namespace metarl {

class OutputPool : public std::enable_shared_from_this<OutputPool> {
 public:
  // Arrays from this size on come from the pool; smaller ones stay in the allocator's caches anyway.
  static constexpr std::size_t kMinBytes = 64 * 1024;
  // Free blocks kept; the oldest is given back first.
  static constexpr std::size_t kMaxFree = 8;

  // A new reference to a C-contiguous array with undefined content.
  PyObject* array(const py::dtype& dtype, int ndim, const py::ssize_t* shape, std::size_t bytes) {
    if (bytes < kMinBytes) return new_array(dtype, ndim, shape);
    auto lease = std::make_unique<Lease>(Lease{take(bytes), shared_from_this()});
    auto& api = py::detail::npy_api::get();
    void* data = lease->memory.data();
    const py::capsule owner(lease.release(), [](void* p) {
      const std::unique_ptr<Lease> ended(static_cast<Lease*>(p));
      ended->pool->give_back(std::move(ended->memory));
    });
    PyObject* descr = dtype.ptr();
    Py_INCREF(descr);
    constexpr int flags = py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_ | py::detail::npy_api::NPY_ARRAY_ALIGNED_ |
                          py::detail::npy_api::NPY_ARRAY_WRITEABLE_;
    PyObject* array = api.PyArray_NewFromDescr_(api.PyArray_Type_, descr, ndim, shape, nullptr, data, flags, nullptr);
    if (array == nullptr) throw py::error_already_set();
    if (api.PyArray_SetBaseObject_(array, owner.inc_ref().ptr()) < 0) {
      Py_DECREF(array);
      throw py::error_already_set();
    }
    return array;
  }

 private:
  struct Lease {
    AlignedMemory memory;
    std::shared_ptr<OutputPool> pool;
  };

  AlignedMemory take(std::size_t bytes) {
    {
      const std::lock_guard lock(mutex_);
      for (auto block = free_.rbegin(); block != free_.rend(); ++block) {
        if (block->size() == bytes) {
          AlignedMemory found = std::move(*block);
          free_.erase(std::next(block).base());
          return found;
        }
      }
    }
    return AlignedMemory(bytes);
  }

  void give_back(AlignedMemory memory) {
    const std::lock_guard lock(mutex_);
    free_.push_back(std::move(memory));
    if (free_.size() > kMaxFree) free_.erase(free_.begin());
  }

  std::mutex mutex_;
  std::vector<AlignedMemory> free_;
};

}  // namespace metarl
