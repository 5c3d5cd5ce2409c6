#include <cstring>
#include <thread>

#include "check.h"
#include "metarl/errors.h"
#include "metarl/replay_buffer.h"
#include "metarl/replay_state.h"
#include "metarl/shared_lane.h"

#if !defined(_WIN32)
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace metarl;

namespace {

struct Folder {
  Folder() { CHECK(mkdtemp(name) != nullptr); }
  ~Folder() {
    unlink(lanes().c_str());
    rmdir(name);
  }
  std::string lanes() const { return std::string(name) + "/lanes"; }
  char name[32] = "/tmp/metarl_lanes_XXXXXX";
};

// Eight equal numbers and one apart: a torn row would show.
struct Row {
  std::uint64_t copies[8];
  std::uint32_t number;
};

ReplayOptions row_options(std::int64_t capacity) {
  ReplayOptions options;
  options.capacity = capacity;
  options.fields = {{"copies", sizeof(Row::copies), 8}, {"number", sizeof(Row::number), 4}};
  return options;
}

bool write_rows(SharedLanes* lanes, std::int64_t lane, std::uint64_t first, std::int64_t n) {
  std::vector<Row> rows(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (std::uint64_t& copy : rows[i].copies) copy = first + i;
    rows[i].number = static_cast<std::uint32_t>(first + i);
  }
  const auto* data = reinterpret_cast<const std::byte*>(rows.data());
  const ColumnSource columns[2] = {{data, sizeof(Row)}, {data + offsetof(Row, number), sizeof(Row)}};
  return lanes->try_write(lane, columns, nullptr, n);
}

// The buffer's rows in the order of the slots; checks that none is torn.
std::vector<std::uint64_t> content(const ReplayBuffer& buffer) {
  std::vector<std::uint64_t> all;
  buffer.visit_state([&](const BufferState& state) {
    const StateArray *copies = nullptr, *numbers = nullptr;
    for (const StateArray& array : state.arrays) {
      if (array.spec.name == "columns/copies") copies = &array;
      if (array.spec.name == "columns/number") numbers = &array;
    }
    CHECK(copies != nullptr && numbers != nullptr);
    for (std::int64_t i = 0; i < numbers->size(); ++i) {
      Row row;
      std::memcpy(row.copies, copies->data + i * copies->stride, sizeof row.copies);
      std::memcpy(&row.number, numbers->data + i * numbers->stride, sizeof row.number);
      for (const std::uint64_t copy : row.copies) CHECK(copy == row.number);
      all.push_back(row.number);
    }
  });
  return all;
}

constexpr std::int64_t kAll = std::int64_t{1} << 40;

}  // namespace

// With one mapping for both ends ThreadSanitizer sees that they touch the same memory.
void run_both_ends(bool one_mapping) {
  const Folder folder;
  constexpr std::int64_t kRows = 40000;
  ReplayBuffer buffer(row_options(2 * kRows));
  const RowLayout layout(buffer.fields(), false);
  const auto learner = SharedLanes::create(folder.lanes(), 2, 37, layout);
  std::vector<std::thread> writers;
  for (std::int64_t lane = 0; lane < 2; ++lane) {
    writers.emplace_back([&, lane] {
      const auto own = one_mapping ? nullptr : SharedLanes::open(folder.lanes(), layout);
      SharedLanes* lanes = one_mapping ? learner.get() : own.get();
      lanes->attach(lane);
      std::int64_t next = 0;
      while (next < kRows) {
        const std::int64_t n = std::min<std::int64_t>(1 + next % 11, kRows - next);
        if (write_rows(lanes, lane, static_cast<std::uint64_t>(lane * 1000000 + next), n)) {
          next += n;
        } else {
          std::this_thread::yield();
        }
      }
      lanes->detach(lane);
    });
  }
  std::int64_t moved = 0;
  while (moved < 2 * kRows) {
    const std::int64_t more = learner->drain(&buffer, moved % 2 == 0 ? kAll : 13);
    moved += more;
    if (more == 0) std::this_thread::yield();
  }
  for (std::thread& writer : writers) writer.join();
  CHECK(learner->drain(&buffer, kAll) == 0);
  std::uint64_t next[2] = {0, 0};
  for (const std::uint64_t number : content(buffer)) {
    const std::uint64_t lane = number / 1000000;
    CHECK(lane < 2 && number % 1000000 == next[lane]);
    ++next[lane];
  }
  CHECK(next[0] == kRows && next[1] == kRows);
  CHECK(learner->stats(0).written == kRows && learner->stats(1).drained == kRows);
}

TEST(rows_arrive_in_order_while_both_ends_run) { run_both_ends(false); }

TEST(rows_arrive_in_order_through_one_mapping) { run_both_ends(true); }

TEST(a_full_lane_takes_all_or_nothing) {
  const Folder folder;
  ReplayBuffer buffer(row_options(100));
  const auto lanes = SharedLanes::create(folder.lanes(), 1, 8, RowLayout(buffer.fields(), false));
  lanes->attach(0);
  CHECK(write_rows(lanes.get(), 0, 0, 5));
  CHECK(!write_rows(lanes.get(), 0, 5, 4));
  CHECK(write_rows(lanes.get(), 0, 5, 3));
  CHECK(lanes->drain(&buffer, 3) == 3);
  CHECK(!write_rows(lanes.get(), 0, 8, 4));
  CHECK(write_rows(lanes.get(), 0, 8, 3));
  CHECK(lanes->drain(&buffer, kAll) == 8);
  CHECK((content(buffer) == std::vector<std::uint64_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}));
}

TEST(small_drains_serve_every_lane) {
  const Folder folder;
  ReplayBuffer buffer(row_options(100));
  const RowLayout layout(buffer.fields(), false);
  const auto lanes = SharedLanes::create(folder.lanes(), 3, 8, layout);
  for (std::int64_t lane = 0; lane < 3; ++lane) {
    CHECK(write_rows(lanes.get(), lane, static_cast<std::uint64_t>(100 * lane), 4));
  }
  for (int k = 0; k < 6; ++k) CHECK(lanes->drain(&buffer, 2) == 2);
  CHECK((content(buffer) == std::vector<std::uint64_t>{0, 1, 100, 101, 200, 201, 2, 3, 102, 103, 202, 203}));
}

TEST(a_lane_belongs_to_one_living_process) {
  const Folder folder;
  const RowLayout layout(row_options(1).fields, false);
  const auto lanes = SharedLanes::create(folder.lanes(), 1, 8, layout);
  ReplayBuffer buffer(row_options(100));
  int ends[2];
  CHECK(pipe(ends) == 0);
  const pid_t child = fork();
  if (child == 0) {
    const auto own = SharedLanes::open(folder.lanes(), layout);
    own->attach(0);
    const bool written = write_rows(own.get(), 0, 7, 2) && write(ends[1], "x", 1) == 1;
    if (written) pause();
    _exit(1);
  }
  char byte = 0;
  CHECK(read(ends[0], &byte, 1) == 1);
  CHECK(lanes->stats(0).pid == child && lanes->stats(0).alive);
  CHECK_THROWS(lanes->attach(0), std::runtime_error);
  kill(child, SIGKILL);
  // Dead at once, even before somebody waits for it.
  for (int k = 0; k < 5000 && lanes->stats(0).alive; ++k) usleep(1000);
  CHECK(!lanes->stats(0).alive);
  lanes->attach(0);
  CHECK_THROWS(lanes->attach(0), std::runtime_error);  // another handle here
  CHECK(write_rows(lanes.get(), 0, 9, 1));
  CHECK(lanes->drain(&buffer, kAll) == 3);
  CHECK((content(buffer) == std::vector<std::uint64_t>{7, 8, 9}));
  lanes->detach(0);
  lanes->attach(0);
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child);
  close(ends[0]);
  close(ends[1]);
}

TEST(files_that_do_not_fit_are_refused) {
  const Folder folder;
  const RowLayout layout(row_options(1).fields, false);
  CHECK_THROWS(SharedLanes::open(folder.lanes(), layout), FileError);
  CHECK_THROWS(SharedLanes::create(folder.lanes(), 0, 8, layout), std::invalid_argument);
  CHECK_THROWS(SharedLanes::create(folder.lanes(), 1, 0, layout), std::invalid_argument);
  CHECK_THROWS(SharedLanes::create(folder.lanes(), 1, std::int64_t{1} << 60, layout), OutOfMemoryError);
  const auto lanes = SharedLanes::create(folder.lanes(), 1, 8, layout);
  CHECK_THROWS(SharedLanes::create(folder.lanes(), 1, 8, layout), FileError);
  CHECK_THROWS(SharedLanes::open(folder.lanes(), RowLayout(row_options(1).fields, true)), std::runtime_error);
  CHECK(!lanes->closed() && lanes->learner_alive());
  lanes->close();
  CHECK(SharedLanes::open(folder.lanes(), layout)->closed());
}

#endif

METARL_TEST_MAIN()
