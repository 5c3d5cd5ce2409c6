// Sum tree over exact integer masses.
//
// A priority p is stored as the integer mass round(p * 2^scale_exponent), a uint32; sums are uint64 and exact, so there
// is no drift, and a draw is an integer in [0, total): an empty or masked leaf cannot be reached. Policies:
//  - a positive priority has mass >= 1;
//  - when all masses are 0, the next positive priorities choose the scale (the largest gets a mass in [2^27, 2^28));
//  - a priority that would not fit 32 bits lowers the scale: all masses are shifted right, rounded, kept >= 1;
//  - when the largest mass has fallen below 2^20 and at least capacity / 4 leaves were set since the last change of
//    scale, all masses are shifted left, which is exact. Both cost O(capacity), rarely;
//  - when all masses are 0, sampling is uniform over the valid leaves: those that were set and not cleared since.
// Results are the same bits at every instruction-set level.
//
// Not synchronised: one thread at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "metarl/mass_tree.h"
#include "metarl/sampling_mode.h"
#include "metarl/slot_set.h"

namespace metarl {

class SumTree {
 public:
  // Throws std::invalid_argument if capacity < 1, OutOfMemoryError if it is above 2^31 - 1 or does not fit.
  SumTree(std::int64_t capacity, std::uint64_t seed);

  std::int64_t capacity() const { return masses_.capacity(); }
  std::int64_t num_valid() const { return valid_.size(); }
  const SlotSet& valid() const { return valid_; }
  std::uint64_t seed() const { return seed_; }
  // The stream of the random numbers (fork_mutex.h), 0 at first.
  void set_random_stream(std::uint64_t stream);

  // Preconditions of the following: indices in [0, capacity), priorities finite and >= 0.
  // set: the last of equal indices wins. `poll`, here and below, is called every few milliseconds; when it throws, the
  // leaves of the first indices are set, those of the others are as before. fetched: of the first ones, so many were
  // prefetched.
  void set(const std::int64_t* indices, const double* priorities, std::int64_t n, std::int64_t fetched = 0,
           const std::function<void()>& poll = {});
  void set(const std::int64_t* indices, const float* priorities, std::int64_t n, std::int64_t fetched = 0,
           const std::function<void()>& poll = {});
  void fill(std::int64_t begin, std::int64_t end, double priority);
  void fill_at(const std::int64_t* indices, std::int64_t n, double priority);
  // As set for leaves that are valid already; `top` bounds the priorities from above (at most 2^-20 too large).
  void update(const std::int64_t* indices, const double* priorities, std::int64_t n, double top,
              std::int64_t fetched = 0);
  // Afterwards fill_at of at most n leaves with this priority, and invalidate, allocate nothing.
  void prepare(std::int64_t n, double priority);
  // Fetches what an update of a leaf will need.
  void prefetch(std::int64_t index) const { masses_.prefetch(index); }
  // The leaves get mass 0 and are not valid any more.
  void invalidate(const std::int64_t* indices, std::int64_t n);
  void get(const std::int64_t* indices, std::int64_t n, double* priorities) const;
  void clear();

  // Priorities as stored. min is the smallest positive one; both are 0 if there is none.
  double total() const;
  double min();
  double max();
  std::uint64_t total_mass() const { return masses_.total(); }
  std::uint32_t min_mass() { return masses_.smallest(); }

  // The leaves that contain prefix masses. Precondition: 0 <= at < total().
  void find(const double* at, std::int64_t n, std::int64_t* indices) const;

  // Draws n leaves. Returns whether they were drawn in proportion to mass: masses[i] / total_mass() is then the exact
  // probability of indices[i], that of the first draw if it is without replacement. Otherwise (mode uniform, or
  // total_mass() is 0) every valid leaf had the probability 1 / num_valid(), and all masses[i] are 0.
  // Stratified: draw i comes from the i-th of n equal slices of the total, so indices ascend.
  // Throws BufferEmptyError if no leaf is valid, std::invalid_argument if n leaves cannot be drawn without replacement:
  // those of positive mass, or all valid ones if there are none.
  // When poll throws, the tree is as before.
  bool sample(std::int64_t n, SamplingMode mode, std::int64_t* indices, std::uint32_t* masses,
              const std::function<void()>& poll = {});
  // The same, with probabilities.
  void sample(std::int64_t n, SamplingMode mode, std::int64_t* indices, double* probabilities,
              const std::function<void()>& poll = {});

  // What a checkpoint needs besides the leaves.
  struct State {
    std::int32_t scale_exponent = 0;
    std::uint64_t changes = 0;  // leaves set since the last change of scale
    std::uint64_t draws = 0;    // sample calls so far
  };
  State state() const { return state_; }
  const std::uint32_t* leaves() const { return masses_.leaves(); }
  // One unit of mass.
  double unit() const;
  // A draw was made elsewhere with number state().draws.
  void count_draw() { ++state_.draws; }
  void set_num_draws(std::uint64_t draws) { state_.draws = draws; }
  // Changes of scale so far in this object: whoever copies masses must copy all of them again after one.
  std::uint64_t rescales() const { return rescales_; }
  // As restore, of leaves that were written to leaves() of an empty tree already.
  void adopt_leaves(const State& state, SlotSet valid);
  // Replaces everything: leaves [0, n) get `masses`. Valid are those, or those of the SlotSet words `valid`.
  void restore(const State& state, const std::uint32_t* masses, std::int64_t n, const std::uint64_t* valid = nullptr);

 private:
  template <typename T>
  void assign(const std::int64_t* indices, const T* priorities, std::int64_t n, double top, bool valid,
              std::int64_t fetched, const std::function<void()>& poll);
  template <typename T>
  void set_any(const std::int64_t* indices, const T* priorities, std::int64_t n, std::int64_t fetched,
               const std::function<void()>& poll);
  bool draw(std::int64_t n, SamplingMode mode, std::int64_t* indices, std::uint32_t* masses,
            const std::function<void()>& poll);
  void insert_valid(const std::int64_t* indices, std::int64_t n);
  void fit_scale(double top);
  void raise_scale();
  void shift(int by);
  void sample_valid(std::int64_t n, SamplingMode mode, std::int64_t* indices, const std::function<void()>& poll);
  double factor() const;

  std::uint64_t seed_;
  std::uint64_t stream_ = 0;
  std::uint64_t key_;  // of the random numbers, from both
  MassTree masses_;
  SlotSet valid_;
  State state_;
  std::uint64_t rescales_ = 0;
  std::vector<std::uint32_t> new_masses_;  // scratch
  std::vector<std::uint64_t> scratch_;     // scratch
};

}  // namespace metarl
