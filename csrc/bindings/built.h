// Objects of our classes as arguments: with a constructor that has run.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

namespace metarl {

// A parameter of bound functions. pybind11 hands out a reference to memory that nobody has constructed if __init__ was
// not called, or failed; this raises TypeError.
template <typename T>
struct Built {
  T* object = nullptr;
  T* operator->() const { return object; }
  T& operator*() const { return *object; }
};

// The T of an instance of its class.
template <typename T>
T& built(PyObject* instance) {
  void* value = reinterpret_cast<pybind11::detail::instance*>(instance)->get_value_and_holder().value_ptr();
  if (value == nullptr)
    throw pybind11::type_error(std::string(Py_TYPE(instance)->tp_name) + ".__init__ was not called");
  return *static_cast<T*>(value);
}

}  // namespace metarl

namespace pybind11::detail {

template <typename T>
struct type_caster<metarl::Built<T>> {
  PYBIND11_TYPE_CASTER(metarl::Built<T>, make_caster<T>::name);

  bool load(handle source, bool) {
    if (!isinstance<T>(source)) return false;
    value.object = &metarl::built<T>(source.ptr());
    return true;
  }
};

}  // namespace pybind11::detail
