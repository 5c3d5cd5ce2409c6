// A batch of environments whose rows step in the background, each when its action has come (EnvPool's mode).
#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>

#include "metarl/batch_env.h"

namespace metarl {

// Not enough rows were ready in the time given.
struct RecvTimeout : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Arrays of batch_size rows that recv writes; what may be null is skipped.
struct AsyncOutputs {
  std::int64_t* rows = nullptr;
  void* obs = nullptr;
  double* reward = nullptr;
  std::uint8_t* terminated = nullptr;
  std::uint8_t* truncated = nullptr;
  double* prob = nullptr;           // may be null; of the transition, also where the row was reset since
  std::uint8_t* ended = nullptr;    // may be null; same_step: the row's episode ended
  void* final_obs = nullptr;        // may be null; same_step: the last observation of those, others are not written
  std::int64_t* task_id = nullptr;  // may be null; also the task of the episode that ended:
  std::int64_t* task_before = nullptr;
};

// A row is idle (with the caller), or in flight: queued, being stepped, or ready and not yet received. Rows are queued
// in the order in which they were sent, and ready in the order in which they were done: with one thread the same order.
//
// What a row returns depends on its state and the actions sent to it, never on the others nor on timing. All methods
// may be called by several threads at once. Every one of them throws ClosedError after close, and std::runtime_error in
// a forked child, where the threads do not exist; an exception that a thread met is thrown by send and recv until the
// next reset.
class AsyncEnv {
 public:
  // From now on, except between pause and resume, `env` refuses other callers. batch_size is in [1, num_envs],
  // num_threads >= 1, the autoreset mode is not `disabled`. Threads start with the first reset.
  AsyncEnv(std::shared_ptr<BatchEnv> env, std::int64_t batch_size, int num_threads);
  // Ends the threads.
  ~AsyncEnv();
  AsyncEnv(const AsyncEnv&) = delete;
  AsyncEnv& operator=(const AsyncEnv&) = delete;

  std::int64_t num_envs() const;
  std::int64_t batch_size() const;
  int num_threads() const;
  std::int64_t in_flight() const;

  // Drops what is in flight, seeds the rows named and queues a reset of all of them.
  void reset(const RowSeeds& seeds);

  // Queues a step of rows[k] with action k. With nothing changed it throws: std::invalid_argument for an illegal action
  // or a row that is named twice, std::out_of_range for a row that is not there, std::runtime_error for one that is in
  // flight, ResetNeeded before the first reset.
  void send(const void* actions, ActionType type, const std::int64_t* rows, std::int64_t count);

  // Hands out the first batch_size rows that are ready, after waiting for them; they are idle then. poll is called
  // about every 20 ms of the wait, and when it throws no row was handed out. Throws std::runtime_error at once if fewer
  // rows are in flight than all receivers together wait for, RecvTimeout after `seconds` (negative: never), ResetNeeded
  // before the first reset.
  void recv(const AsyncOutputs& out, double seconds, void (*poll)());
  // Whether recv would not wait.
  bool ready() const;

  // Waits until everything that was sent is done, then lets other callers at the environment; until resume, reset, send
  // and recv throw std::runtime_error. Throws it too if another thread has paused.
  void pause();
  void resume();

  // Ends the threads, after the steps that are running, and wakes the receivers. In a forked child it does nothing.
  void close();

 private:
  struct Shared;
  Shared* shared_;  // leaked in a forked child: the parent's threads can never leave its locks there
};

}  // namespace metarl
