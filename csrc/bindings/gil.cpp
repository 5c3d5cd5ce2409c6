#include "bindings/gil.h"

#include "metarl/fork_mutex.h"

namespace metarl {
namespace {

thread_local GilScope* innermost = nullptr;

}  // namespace

GilScope::GilScope(bool release) : outer_(innermost) {
  if (release) released_.emplace();
  innermost = this;
}

GilScope::~GilScope() { innermost = outer_; }

void GilScope::before_wait() {
  if (innermost != nullptr && !innermost->released_ && PyGILState_Check() == 1) innermost->released_.emplace();
}

void watch_core_locks() { ForkMutex::set_before_wait(&GilScope::before_wait); }

}  // namespace metarl
