// What threads of the core need to know of the process that they are in.
#pragma once

#if !defined(_WIN32)
#include <pthread.h>
#include <signal.h>
#include <unistd.h>
#endif

namespace metarl {

#if defined(_WIN32)
inline long process_id() { return 0; }
#else
inline long process_id() { return static_cast<long>(getpid()); }
#endif

// Threads inherit the signal mask of their creator; signals belong to the program's own threads.
class BlockSignals {
 public:
#if defined(_WIN32)
  BlockSignals() {}
#else
  BlockSignals() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &previous_);
  }
  ~BlockSignals() { pthread_sigmask(SIG_SETMASK, &previous_, nullptr); }

 private:
  sigset_t previous_;
#endif
};

}  // namespace metarl
