// TD errors as an update of priorities takes them.
#pragma once

#include "bindings/arrays.h"
#include "bindings/replay_object.h"

namespace metarl {

// One error an item, float32: `object` has one each, or one for each step of a sequence, which are mixed by the mask of
// `batch` (null: no batch, all steps count). NaN and infinity are left to the core where nothing is mixed.
ArrayArgument<float> errors_argument(const PyReplay& self, PyObject* object, PyObject* batch);

}  // namespace metarl
