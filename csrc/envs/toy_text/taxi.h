// Taxi: fetch a passenger at one of four stands of a 5 x 5 city and bring them to another (Dietterich, "Hierarchical
// reinforcement learning with the MAXQ value function decomposition", 2000; gymnasium Taxi-v4).
#pragma once

#include <cstdint>

#include "envs/toy_text/tabular.h"
#include "metarl/detail/hd.h"
#include "metarl/detail/philox.h"

namespace metarl::taxi {

constexpr int kSide = 5;
constexpr int kStands = 4;
constexpr int kInTaxi = 4;  // the passenger's place when it is none of the stands
constexpr int kPlaces = kStands + 1;
constexpr int kStates = kSide * kSide * kPlaces * kStands;
constexpr int kActions = 6;  // south, north, east, west, pick up, drop off

struct Params {
  tabular::Table<kStates, kActions> table;
  bool fickle;
  double fickle_probability;  // that the passenger of an episode changes their mind
};

// Of one row; the chances only matter in the rain.
struct Task {
  tabular::Chances chances;
  bool fickle;
  double fickle_probability;
};

// Of a drive in the rain: the way meant, to its left, to its right.
METARL_HD tabular::Chances rain_chances(double intended) {
  const double lateral = (1.0 - intended) / 2.0;
  return {{intended, intended + lateral, intended + lateral + lateral}, {1.0, intended, lateral, lateral}};
}

// state = (cell * kPlaces + passenger) * kStands + destination
METARL_HD std::int32_t cell_of(std::int32_t state) { return state / (kPlaces * kStands); }
METARL_HD std::int32_t passenger_of(std::int32_t state) { return state / kStands % kPlaces; }
METARL_HD std::int32_t destination_of(std::int32_t state) { return state % kStands; }

struct State {
  std::int32_t state;
  std::int32_t fickle;  // the passenger will change their mind when the taxi first moves with them
};

// Uniform over the cells, the stands and the other stands. Word 0 makes the state, words 1 and 2 the passenger's mood.
template <class P>
METARL_HD State reset(const P& p, const PhiloxBlock& random) {
  const auto start = static_cast<std::int32_t>((std::uint64_t{random.v[0]} * (kSide * kSide * kStands * 3)) >> 32);
  const std::int32_t passenger = start / 3 % kStands;
  const std::int32_t other = start % 3;
  const std::int32_t destination = other + (other >= passenger);
  const std::int32_t cell = start / (3 * kStands);
  const bool fickle = p.fickle && uniform53(random.v[1], random.v[2]) < p.fickle_probability;
  return {(cell * kPlaces + passenger) * kStands + destination, fickle};
}

// The state with another destination; rank in {0, 1, 2} counts the destinations that it has not.
METARL_HD std::int32_t with_other_destination(std::int32_t state, std::int32_t rank) {
  const std::int32_t old = destination_of(state);
  return state - old + rank + (rank >= old);
}

}  // namespace metarl::taxi
