#include "metarl/async_env.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <exception>
#include <mutex>
#include <numeric>
#include <thread>
#include <utility>
#include <vector>

#include "core/own_threads.h"
#include "envs/kernels.h"
#include "metarl/errors.h"

namespace metarl {
namespace {

using Clock = std::chrono::steady_clock;

// Handing a job to a thread costs more than it gives below this much work.
constexpr double kNanosecondsPerJob = 20000;
constexpr auto kPoll = std::chrono::milliseconds(20);

enum class RowStatus : std::uint8_t { idle, in_flight, leaving };  // leaving: a receiver is copying it

struct Job {
  bool reset = false;
  std::vector<std::int64_t> rows;
};

}  // namespace

struct AsyncEnv::Shared {
  Shared(std::shared_ptr<BatchEnv> batch_env, std::int64_t size, int threads_wanted)
      : env(std::move(batch_env)), batch_size(size), num_threads(threads_wanted) {
    const auto n = static_cast<std::size_t>(env->num_envs_);
    status.resize(n, RowStatus::idle);
    obs.resize(n * env->obs_row_bytes());
    reward.resize(n);
    terminated.resize(n);
    truncated.resize(n);
    if (env->definition_.has_prob) prob.resize(n);
    if (!env->definition_.task_parameters.empty()) task_before.resize(n);
    named.resize(n);
    const double rows = kNanosecondsPerJob / env->definition_.nanoseconds_per_row;
    job_rows = std::max<std::int64_t>(std::min(static_cast<std::int64_t>(rows), batch_size), 1);
  }

  void take_env() {
    if (env->in_use_.exchange(true, std::memory_order_acquire)) {
      throw std::runtime_error("this environment is in use by another thread; one caller at a time");
    }
  }
  void leave_env() { env->in_use_.store(false, std::memory_order_release); }

  void check_process() const {
    if (process_id() == owner) return;
    throw std::runtime_error(
        "this environment's threads are those of the process that was forked; a child must make an environment of its "
        "own");
  }
  // With the lock held.
  void check_open() const {
    if (closed) throw ClosedError("this environment was closed");
    if (paused) throw std::runtime_error("this environment is in use by another thread; one caller at a time");
  }
  void check_going() const {
    check_open();
    if (failure) std::rethrow_exception(failure);
    if (!started) throw ResetNeeded("async_reset must be called before send and recv");
  }

  void check_not_resetting() const {
    if (resetting) throw std::runtime_error("this environment is being reset by another thread");
  }

  void start_threads() {
    if (!threads.empty()) return;
    const BlockSignals blocked;
    threads.reserve(static_cast<std::size_t>(num_threads));
    try {
      for (int k = 0; k < num_threads; ++k) threads.emplace_back([this] { work(); });
    } catch (...) {
      // Some threads are as good as all of them.
      if (threads.empty()) throw;
    }
  }

  void queue(bool reset, const std::int64_t* rows, std::int64_t count) {
    const std::size_t before = jobs.size();
    try {
      for (std::int64_t k = 0; k < count; k += job_rows) {
        jobs.push_back({reset, {rows + k, rows + std::min(k + job_rows, count)}});
      }
    } catch (...) {
      jobs.resize(before);
      throw;
    }
  }

  void work() {
    std::unique_lock lock(mutex);
    for (;;) {
      work_came.wait(lock, [this] { return closed || !jobs.empty(); });
      if (closed) return;
      const Job job = std::move(jobs.front());
      jobs.pop_front();
      ++running;
      lock.unlock();
      std::exception_ptr error;
      try {
        run(job);
      } catch (...) {
        error = std::current_exception();
      }
      lock.lock();
      --running;
      if (!error) {
        try {
          ready.insert(ready.end(), job.rows.begin(), job.rows.end());
        } catch (...) {
          error = std::current_exception();
        }
      }
      if (error && !failure) failure = error;
      changed.notify_all();
    }
  }

  // The job's rows are this thread's alone.
  void run(const Job& job) {
    EnvBatch b = env->batch();
    b.actions = env->actions_.data();
    b.obs = obs.data();
    b.reward = reward.data();
    b.terminated = terminated.data();
    b.truncated = truncated.data();
    b.prob = prob.empty() ? nullptr : prob.data();
    b.obs_holds_last = env->definition_.incremental_obs;
    const std::size_t count = job.rows.size();
    for (std::size_t k = 0; k < count;) {
      std::size_t next = k + 1;
      while (next < count && job.rows[next] == job.rows[next - 1] + 1) ++next;
      const std::int64_t begin = job.rows[k];
      const std::int64_t end = begin + static_cast<std::int64_t>(next - k);
      if (b.task_id != nullptr) std::copy(b.task_id + begin, b.task_id + end, task_before.begin() + begin);
      if (job.reset) {
        env->definition_.reset(b, nullptr, begin, end);
        std::fill(reward.begin() + begin, reward.begin() + end, 0.0);
        std::fill(terminated.begin() + begin, terminated.begin() + end, std::uint8_t{0});
        std::fill(truncated.begin() + begin, truncated.begin() + end, std::uint8_t{0});
        if (!prob.empty()) std::fill(prob.begin() + begin, prob.begin() + end, 1.0);
        if (b.mode == AutoresetMode::same_step) std::fill(b.ended + begin, b.ended + end, std::uint8_t{0});
        if (env->definition_.has_end_flag) std::fill(b.end_flag + begin, b.end_flag + end, std::uint8_t{0});
      } else {
        env->definition_.step(b, begin, end);
      }
      k = next;
    }
  }

  // Rows that nobody else touches while they are leaving.
  void copy_out(const std::vector<std::int64_t>& rows, const AsyncOutputs& out) const {
    const std::size_t bytes = env->obs_row_bytes();
    for (std::size_t k = 0; k < rows.size(); ++k) {
      const auto i = static_cast<std::size_t>(rows[k]);
      out.rows[k] = rows[k];
      std::memcpy(static_cast<std::byte*>(out.obs) + k * bytes, obs.data() + i * bytes, bytes);
      out.reward[k] = reward[i];
      out.terminated[k] = terminated[i];
      out.truncated[k] = truncated[i];
      if (out.prob != nullptr) out.prob[k] = prob[i];
      if (out.ended != nullptr) out.ended[k] = env->ended_[i];
      if (out.final_obs != nullptr && env->ended_[i]) {
        std::memcpy(static_cast<std::byte*>(out.final_obs) + k * bytes, env->final_obs_.data() + i * bytes, bytes);
      }
      if (out.task_id != nullptr) out.task_id[k] = env->task_id_[i];
      if (out.task_before != nullptr) out.task_before[k] = task_before[i];
    }
  }

  std::shared_ptr<BatchEnv> env;
  const std::int64_t batch_size;
  const int num_threads;
  const long owner = process_id();
  std::int64_t job_rows = 1;

  std::mutex mutex;
  std::condition_variable work_came;  // a job was queued, or closed
  std::condition_variable changed;    // a job was done, or anything else that a receiver or pause waits for
  std::vector<std::thread> threads;
  std::deque<Job> jobs;
  std::deque<std::int64_t> ready;
  std::vector<RowStatus> status;
  std::int64_t in_flight = 0;  // rows queued, being stepped or ready
  std::int64_t claimed = 0;    // of them, those that receivers are waiting for
  int running = 0;             // jobs
  int leaving = 0;             // receivers that are copying rows
  bool started = false;
  bool paused = false;
  bool resetting = false;
  bool closed = false;
  std::exception_ptr failure;
  std::vector<std::uint8_t> named;  // scratch of send

  // By row; those of a row are its job's, then its receiver's.
  std::vector<std::byte> obs;
  std::vector<double> reward;
  std::vector<std::uint8_t> terminated;
  std::vector<std::uint8_t> truncated;
  std::vector<double> prob;
  std::vector<std::int64_t> task_before;
};

AsyncEnv::AsyncEnv(std::shared_ptr<BatchEnv> env, std::int64_t batch_size, int num_threads) {
  auto shared = std::make_unique<Shared>(std::move(env), batch_size, num_threads);
  shared->take_env();
  shared_ = shared.release();
}

AsyncEnv::~AsyncEnv() {
  if (process_id() != shared_->owner) return;
  close();
  delete shared_;
}

std::int64_t AsyncEnv::num_envs() const { return shared_->env->num_envs(); }
std::int64_t AsyncEnv::batch_size() const { return shared_->batch_size; }
int AsyncEnv::num_threads() const { return shared_->num_threads; }

std::int64_t AsyncEnv::in_flight() const {
  Shared& s = *shared_;
  s.check_process();
  const std::lock_guard lock(s.mutex);
  return s.in_flight;
}

bool AsyncEnv::ready() const {
  Shared& s = *shared_;
  s.check_process();
  const std::lock_guard lock(s.mutex);
  return s.closed || s.failure || static_cast<std::int64_t>(s.ready.size()) >= s.batch_size;
}

void AsyncEnv::reset(const RowSeeds& seeds) {
  Shared& s = *shared_;
  s.check_process();
  std::unique_lock lock(s.mutex);
  s.check_open();
  s.check_not_resetting();
  std::vector<std::int64_t> rows(s.status.size());
  std::iota(rows.begin(), rows.end(), std::int64_t{0});
  s.start_threads();
  s.resetting = true;
  s.jobs.clear();
  s.changed.wait(lock, [&] { return s.running == 0 && s.leaving == 0; });
  s.resetting = false;
  if (s.closed) throw ClosedError("this environment was closed");
  s.ready.clear();
  for (std::int64_t k = 0; k < seeds.count; ++k) {
    const auto i = static_cast<std::size_t>(seeds.rows[k]);
    s.env->seed_[i] = seeds.seeds[k];
    s.env->stream_[i] = seeds.streams[k];
    s.env->episode_[i] = 0;
  }
  s.failure = nullptr;
  s.queue(true, rows.data(), static_cast<std::int64_t>(rows.size()));
  std::fill(s.status.begin(), s.status.end(), RowStatus::in_flight);
  s.in_flight = static_cast<std::int64_t>(rows.size());
  s.started = true;
  s.env->ready_ = true;
  s.work_came.notify_all();
  s.changed.notify_all();
}

void AsyncEnv::send(const void* actions, ActionType type, const std::int64_t* rows, std::int64_t count) {
  Shared& s = *shared_;
  s.check_process();
  BatchEnv& env = *s.env;
  const int num_actions = env.definition_.num_actions;
  const std::size_t width = env.definition_.action_bytes();
  std::vector<std::byte> converted(static_cast<std::size_t>(count) * width);
  const std::int64_t bad = METARL_SELECT_KERNEL(convert_actions)(actions, type, num_actions, converted.data(), 0,
                                                                 count * env.definition_.action_width());
  const std::lock_guard lock(s.mutex);
  s.check_going();
  s.check_not_resetting();
  if (bad >= 0) env.refuse_action(actions, type, bad, env.action_place(bad));
  std::int64_t checked = 0;
  std::string problem;
  bool out_of_range = false;
  bool twice = false;
  for (; checked < count && problem.empty(); ++checked) {
    const std::int64_t row = rows[checked];
    const std::string what = "env_id[" + std::to_string(checked) + "] is " + std::to_string(row);
    out_of_range = row < 0 || row >= env.num_envs_;
    if (out_of_range) {
      problem = what + "; must be in [0, " + std::to_string(env.num_envs_) + ")";
      break;
    }
    const auto i = static_cast<std::size_t>(row);
    twice = s.named[i] != 0;
    if (twice) {
      problem = what + " for the second time; each environment takes one action at a time";
      break;
    }
    if (s.status[i] != RowStatus::idle) {
      problem = what + ", which is in flight already; recv hands it out before it takes another action";
      break;
    }
    s.named[i] = 1;
  }
  for (std::int64_t k = 0; k < checked; ++k) s.named[static_cast<std::size_t>(rows[k])] = 0;
  if (out_of_range) throw std::out_of_range(problem);
  if (twice) throw std::invalid_argument(problem);
  if (!problem.empty()) throw std::runtime_error(problem);
  s.queue(false, rows, count);
  for (std::int64_t k = 0; k < count; ++k) {
    const auto i = static_cast<std::size_t>(rows[k]);
    s.status[i] = RowStatus::in_flight;
    std::memcpy(env.actions_.data() + i * width, converted.data() + static_cast<std::size_t>(k) * width, width);
  }
  s.in_flight += count;
  if (s.jobs.size() == 1) {
    s.work_came.notify_one();
  } else {
    s.work_came.notify_all();
  }
}

void AsyncEnv::recv(const AsyncOutputs& out, double seconds, void (*poll)()) {
  Shared& s = *shared_;
  s.check_process();
  std::vector<std::int64_t> taken(static_cast<std::size_t>(s.batch_size));
  const auto start = Clock::now();
  std::unique_lock lock(s.mutex);
  s.check_going();
  if (s.in_flight - s.claimed < s.batch_size) {
    throw std::runtime_error("recv needs " + std::to_string(s.batch_size) + " environments (batch_size), but only " +
                             std::to_string(s.in_flight - s.claimed) + " are in flight" +
                             (s.claimed > 0 ? " that no other thread is waiting for" : "") +
                             "; send actions to more of them first");
  }
  struct Claim {  // its changes are made with the lock held: it is declared after it
    Claim(Shared& shared) : s(shared) { s.claimed += s.batch_size; }
    ~Claim() { s.claimed -= s.batch_size; }
    Shared& s;
  };
  {
    const Claim claim(s);
    const auto come = [&] {
      return s.closed || s.failure || (!s.paused && static_cast<std::int64_t>(s.ready.size()) >= s.batch_size);
    };
    while (!come()) {
      auto wait = Clock::duration(kPoll);
      if (seconds >= 0) {
        // Not as a time to wait until: seconds may be too large for the clock.
        const double left = seconds - std::chrono::duration<double>(Clock::now() - start).count();
        if (left <= 0) {
          throw RecvTimeout(std::to_string(s.ready.size()) + " of " + std::to_string(s.batch_size) +
                            " environments (batch_size) were ready in time");
        }
        if (left < 1)
          wait = std::min(wait, std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(left)));
      }
      if (s.changed.wait_for(lock, wait, come) || poll == nullptr) continue;
      lock.unlock();
      try {
        poll();
      } catch (...) {
        lock.lock();
        throw;
      }
      lock.lock();
    }
  }
  s.check_going();
  for (std::int64_t& row : taken) {
    row = s.ready.front();
    s.ready.pop_front();
    s.status[static_cast<std::size_t>(row)] = RowStatus::leaving;
  }
  s.in_flight -= s.batch_size;
  ++s.leaving;
  lock.unlock();
  s.copy_out(taken, out);
  lock.lock();
  --s.leaving;
  for (const std::int64_t row : taken) s.status[static_cast<std::size_t>(row)] = RowStatus::idle;
  if (s.leaving == 0) s.changed.notify_all();
}

void AsyncEnv::pause() {
  Shared& s = *shared_;
  s.check_process();
  std::unique_lock lock(s.mutex);
  s.check_open();
  s.check_not_resetting();
  s.paused = true;
  s.changed.wait(lock, [&] { return s.closed || (s.jobs.empty() && s.running == 0 && s.leaving == 0); });
  if (s.closed) throw ClosedError("this environment was closed");
  s.leave_env();
}

void AsyncEnv::resume() {
  Shared& s = *shared_;
  s.check_process();
  const std::lock_guard lock(s.mutex);
  if (!s.paused) return;
  if (!s.closed) s.take_env();
  s.paused = false;
  s.changed.notify_all();
}

void AsyncEnv::close() {
  Shared& s = *shared_;
  if (process_id() != s.owner) return;
  std::vector<std::thread> threads;
  {
    const std::lock_guard lock(s.mutex);
    if (s.closed) return;
    s.closed = true;
    s.jobs.clear();
    threads.swap(s.threads);
    if (!s.paused) s.leave_env();
    s.work_came.notify_all();
    s.changed.notify_all();
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace metarl
