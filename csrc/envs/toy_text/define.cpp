// Gymnasium's toy text: environments of small discrete states.
#include "envs/define.h"

#include <algorithm>
#include <cmath>

#include "envs/kernels.h"
#include "envs/toy_text/blackjack.h"
#include "envs/toy_text/cliff_walking.h"
#include "envs/toy_text/frozen_lake.h"
#include "envs/toy_text/frozen_lake_map.h"
#include "envs/toy_text/tabular.h"
#include "envs/toy_text/taxi.h"

namespace metarl {
namespace {

using define::allow_tasks;
using define::flag;
using define::is_integer_in;
using define::is_within;
using define::number;
using define::with_none;

// A step of a grid: rows down, columns to the right.
struct Move {
  int rows, columns;
};

// Tables of environments whose steps draw among outcomes of these probabilities, in the reference's order.
template <class Table>
void set_chances(Table& table, const tabular::Chances& chances) {
  static_cast<tabular::Chances&>(table) = chances;
  table.random = true;
}

template <class Table>
void set_certain(Table& table) {
  table.random = false;
  std::fill_n(table.bound, 3, 1.0);
  std::fill_n(table.probability, 4, 1.0);
}

template <class Table>
tabular::Outcome* outcomes_of(Table& table, int state, int action) {
  return table.outcomes + (state * Table::kNumActions + action) * 3;
}

tabular::Outcome cliff_walking_outcome(int cell, int direction) {
  using namespace cliff_walking;
  constexpr Move kMoves[4] = {{-1, 0}, {0, 1}, {1, 0}, {0, -1}};
  const Move move = kMoves[direction];
  const int row = std::clamp(cell / kColumns + move.rows, 0, kRows - 1);
  const int column = std::clamp(cell % kColumns + move.columns, 0, kColumns - 1);
  const int next = row * kColumns + column;
  if (is_cliff(next)) return {static_cast<std::uint16_t>(kStart), 0, 0, -100.0f};
  return {static_cast<std::uint16_t>(next), next == kGoal, 0, -1.0f};
}

template <class Table>
void fill_cliff_walking(Table& table, bool slippery) {
  for (int cell = 0; cell < table.kNumStates; ++cell) {
    for (int action = 0; action < table.kNumActions; ++action) {
      for (int side = 0; side < 3; ++side) {
        tabular::Outcome& outcome = outcomes_of(table, cell, action)[side];
        outcome = cliff_walking_outcome(cell, slippery ? (action + side + 3) % 4 : action);
        outcome.probability = static_cast<std::uint8_t>(slippery ? side + 1 : 0);
      }
    }
  }
}

EnvDefinition cliff_walking_definition(const EnvOptions& o) {
  using cliff_walking::Params;
  Params p{};
  const bool slippery = flag(o, "is_slippery");
  set_chances(p.slippery, cliff_walking::slip_chances(true));
  fill_cliff_walking(p.slippery, true);
  if (slippery) {
    p.table = p.slippery;
  } else {
    set_certain(p.table);
    fill_cliff_walking(p.table, false);
  }
  EnvDefinition d;
  d.field_names = {"cell"};
  d.field_type = FieldType::int32;
  d.obs_type = ObsType::int64;
  d.num_actions = p.table.kNumActions;
  d.draws_per_row = slippery ? 1 : 0;
  d.has_prob = true;
  d.nanoseconds_per_row = slippery ? 8 : 4;
  d.valid_state = [](const void*, const double* f) {
    return is_integer_in(f[0], 0, cliff_walking::kGoal) && !cliff_walking::is_cliff(static_cast<std::int32_t>(f[0]));
  };
  allow_tasks(&d, o, {"is_slippery"});
  define::set_params(&d, p);
  METARL_ENV_KERNELS(d, cliff_walking);
  return d;
}

struct TaxiState {
  int row, column, passenger, destination;

  explicit TaxiState(int state)
      : row(taxi::cell_of(state) / taxi::kSide),
        column(taxi::cell_of(state) % taxi::kSide),
        passenger(taxi::passenger_of(state)),
        destination(taxi::destination_of(state)) {}
  int index() const { return ((row * taxi::kSide + column) * taxi::kPlaces + passenger) * taxi::kStands + destination; }
  // The stand that the taxi is at, or -1.
  int stand() const {
    constexpr int kRows[taxi::kStands] = {0, 0, 4, 4};
    constexpr int kColumns[taxi::kStands] = {0, 4, 0, 3};
    for (int stand = 0; stand < taxi::kStands; ++stand) {
      if (row == kRows[stand] && column == kColumns[stand]) return stand;
    }
    return -1;
  }
  // Whether nothing stands between the taxi and the neighbouring cell, which must exist.
  bool is_open(const Move& move) const {
    if (row + move.rows < 0 || row + move.rows >= taxi::kSide) return false;
    if (column + move.columns < 0 || column + move.columns >= taxi::kSide) return false;
    if (move.columns == 0) return true;
    const int wall = std::min(column, column + move.columns);  // the line right of this column
    // Walls right of column 1 in the two upper rows, of columns 0 and 2 in the two lower ones.
    return !(row <= 1 ? wall == 1 : row >= 3 && (wall == 0 || wall == 2));
  }
  TaxiState moved(const Move& move) const {
    TaxiState after = *this;
    if (is_open(move)) {
      after.row += move.rows;
      after.column += move.columns;
    }
    return after;
  }
};

constexpr Move kTaxiMoves[4] = {{1, 0}, {-1, 0}, {0, 1}, {0, -1}};

tabular::Outcome taxi_outcome_of(const TaxiState& after, float reward, bool ended = false) {
  return {static_cast<std::uint16_t>(after.index()), ended, 0, reward};
}

tabular::Outcome taxi_pick_up(TaxiState s) {
  if (s.passenger == taxi::kInTaxi || s.passenger != s.stand()) return taxi_outcome_of(s, -10.0f);
  s.passenger = taxi::kInTaxi;
  return taxi_outcome_of(s, -1.0f);
}

tabular::Outcome taxi_drop_off(TaxiState s) {
  if (s.passenger != taxi::kInTaxi || s.stand() < 0) return taxi_outcome_of(s, -10.0f);
  s.passenger = s.stand();
  const bool delivered = s.passenger == s.destination;
  return taxi_outcome_of(s, delivered ? 20.0f : -1.0f, delivered);
}

// A drive in the rain may go to the left or right of the way meant, seen from the driver, unless that way is blocked.
void set_taxi_drives(const TaxiState& s, int action, bool rainy, tabular::Outcome* outcomes) {
  constexpr int kLeft[4] = {2, 3, 1, 0};
  constexpr int kRight[4] = {3, 2, 0, 1};
  const bool drifts = rainy && s.is_open(kTaxiMoves[action]);
  const int ways[3] = {action, drifts ? kLeft[action] : action, drifts ? kRight[action] : action};
  for (int side = 0; side < 3; ++side) {
    outcomes[side] = taxi_outcome_of(s.moved(kTaxiMoves[ways[side]]), -1.0f);
    outcomes[side].probability = static_cast<std::uint8_t>(rainy ? side + 1 : 0);
  }
}

void append_taxi_mask(const TaxiState& s, std::vector<std::int8_t>& masks) {
  for (const Move& move : kTaxiMoves) masks.push_back(s.is_open(move));
  masks.push_back(s.passenger != taxi::kInTaxi && s.passenger == s.stand());
  masks.push_back(s.passenger == taxi::kInTaxi && s.stand() >= 0);
}

// Beside the states on the way, those right after a delivery.
bool taxi_state(const void* params, const double* f) {
  if (!is_integer_in(f[0], 0, taxi::kStates - 1)) return false;
  const TaxiState s(static_cast<int>(f[0]));
  if (s.passenger == s.destination && s.stand() != s.destination) return false;
  return is_integer_in(f[1], 0, static_cast<const taxi::Params*>(params)->fickle ? 1 : 0);
}

EnvDefinition taxi_definition(const EnvOptions& o) {
  taxi::Params p{};
  const bool rainy = flag(o, "is_rainy");
  if (rainy) {
    set_chances(p.table, taxi::rain_chances(number(o, "rainy_probability")));
  } else {
    set_certain(p.table);
  }
  p.fickle = flag(o, "fickle_passenger");
  p.fickle_probability = number(o, "fickle_probability");
  EnvDefinition d;
  for (int state = 0; state < taxi::kStates; ++state) {
    const TaxiState s(state);
    for (int action = 0; action < 4; ++action) {
      set_taxi_drives(s, action, rainy, outcomes_of(p.table, state, action));
    }
    std::fill_n(outcomes_of(p.table, state, 4), 3, taxi_pick_up(s));
    std::fill_n(outcomes_of(p.table, state, 5), 3, taxi_drop_off(s));
    append_taxi_mask(s, d.action_masks);
  }
  d.field_names = {"state", "fickle"};
  d.field_type = FieldType::int32;
  d.obs_type = ObsType::int64;
  d.num_actions = taxi::kActions;
  d.draws_per_row = rainy || p.fickle ? 2 : 0;
  d.has_prob = true;
  d.nanoseconds_per_row = rainy ? 10 : 6;
  d.valid_state = taxi_state;
  d.wide_tasks = true;
  allow_tasks(&d, o, {"rainy_probability", "fickle_probability"});
  define::set_params(&d, p);
  METARL_ENV_KERNELS(d, taxi);
  return d;
}

// Whether so many cards can have this sum, with or without an ace among them.
bool is_possible_hand(const double* f, double most_cards) {
  if (!is_integer_in(f[1], 0, 1) || !is_integer_in(f[2], 2, most_cards)) return false;
  const double least = f[1] != 0 ? f[2] : 2 * f[2];
  const double most = f[1] != 0 ? 10 * f[2] - 9 : 10 * f[2];
  return is_integer_in(f[0], least, most);
}

bool is_players_hand(const double* f) {
  // A card came only to sums up to 21: to 21 aces, or to ten twos.
  return is_possible_hand(f, f[1] != 0 ? 22 : 11) && f[0] <= blackjack::kBust - 1 + 10;
}

// The dealer has two cards until the player sticks, then at least 17.
bool is_dealers_hand(const double* f, double showing) {
  if (!is_integer_in(showing, 1, 10) || !is_possible_hand(f, 2 + blackjack::kMaxCards)) return false;
  if (showing == 1 && f[1] == 0) return false;
  if (f[2] == 2) {
    const double hidden = f[0] - showing;
    return is_integer_in(hidden, 1, 10) && f[1] == (showing == 1 || hidden == 1);
  }
  const bool soft = f[1] != 0 && f[0] + 10 < blackjack::kBust;
  return f[0] > showing && f[0] <= blackjack::kDealerStands - 1 + 10 &&
         f[0] + (soft ? 10 : 0) >= blackjack::kDealerStands;
}

EnvDefinition blackjack_definition(const EnvOptions& o) {
  using blackjack::Params;
  EnvDefinition d;
  d.field_names = {"player_sum", "player_ace", "player_cards", "dealer_sum", "dealer_ace", "dealer_cards", "showing"};
  d.field_type = FieldType::int32;
  d.obs_type = ObsType::int64;
  d.obs_size = 3;
  d.num_actions = 2;
  d.draws_per_row = blackjack::kMaxCards;
  d.nanoseconds_per_row = 25;
  d.valid_state = [](const void*, const double* f) { return is_players_hand(f) && is_dealers_hand(f + 3, f[6]); };
  allow_tasks(&d, o, {"natural", "sab"});
  define::set_params(&d, Params{.natural = flag(o, "natural"), .sutton_barto = flag(o, "sab")});
  METARL_ENV_KERNELS(d, blackjack);
  return d;
}

void make_lake_map(const void* params, const double* task, std::uint8_t* kind) {
  const auto& p = *static_cast<const frozen_lake::Params*>(params);
  const double seed = task[frozen_lake::kMapSeed];
  if (std::isnan(seed)) {
    std::copy_n(p.kind, p.cells, kind);
  } else {
    frozen_lake::random_map(static_cast<std::uint32_t>(seed), p.rows, kind);
  }
}

EnvDefinition frozen_lake_definition(const EnvOptions& given) {
  const EnvOptions o = with_none(given, {"goal_reward", "hole_reward", "frozen_reward", "map_seed"});
  using frozen_lake::Params;
  const std::int64_t rows = o.table_rows;
  const std::int64_t columns = o.table_columns;
  if (rows < 1 || columns < 1 || static_cast<std::int64_t>(o.table.size()) != rows * columns) {
    throw std::invalid_argument("the map must have rows and columns");
  }
  Params p{};
  p.own.slippery = flag(o, "is_slippery");
  p.own.success_rate = number(o, "success_rate");
  p.own.fail_rate = (1.0 - p.own.success_rate) / 2.0;
  p.own.reward[frozen_lake::kGoal] = number(o, "own_goal_reward");
  p.own.reward[frozen_lake::kHole] = number(o, "own_hole_reward");
  p.own.reward[frozen_lake::kFrozen] = number(o, "own_frozen_reward");
  p.rows = static_cast<std::int32_t>(rows);
  p.cells = static_cast<std::int32_t>(rows * columns);
  std::vector<std::int32_t> next_cells, starts;
  std::vector<std::uint8_t> kind;
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < columns; ++c) {
      const std::int64_t cell = r * columns + c;
      const char letter = static_cast<char>(o.table[static_cast<std::size_t>(cell)]);
      kind.push_back(letter == 'H' ? frozen_lake::kHole : letter == 'G' ? frozen_lake::kGoal : frozen_lake::kFrozen);
      if (letter == 'S') starts.push_back(static_cast<std::int32_t>(cell));
      const std::int64_t neighbours[4] = {c > 0 ? cell - 1 : cell, r + 1 < rows ? cell + columns : cell,
                                          c + 1 < columns ? cell + 1 : cell, r > 0 ? cell - columns : cell};
      for (const std::int64_t next : neighbours) next_cells.push_back(static_cast<std::int32_t>(next));
    }
  }
  if (starts.empty()) throw std::invalid_argument("the map has no start cell 'S'");
  p.num_starts = starts.size();
  EnvDefinition d;
  d.field_names = {"cell"};
  d.field_type = FieldType::int32;
  d.obs_type = ObsType::int64;
  d.num_actions = 4;
  d.draws_per_row = p.own.slippery ? 1 : 0;
  d.has_prob = true;
  d.nanoseconds_per_row = 10;
  d.valid_state = [](const void* params, const double* f) {
    return is_integer_in(f[0], 0, static_cast<double>(static_cast<const Params*>(params)->cells) - 1);
  };
  d.wide_tasks = true;
  allow_tasks(&d, o, {"is_slippery", "success_rate", "goal_reward", "hole_reward", "frozen_reward", "map_seed"});
  d.layout_bytes = rows * columns;
  d.make_layout = make_lake_map;
  define::set_params(&d, p, define::ArrayOf{&Params::next, std::move(next_cells)},
                     define::ArrayOf{&Params::kind, std::move(kind)},
                     define::ArrayOf{&Params::starts, std::move(starts)});
  METARL_ENV_KERNELS(d, frozen_lake);
  return d;
}

}  // namespace

bool define_toy_text(const std::string& id, const EnvOptions& options, EnvDefinition* definition) {
  if (id == "CliffWalking-v1") {
    *definition = cliff_walking_definition(options);
  } else if (id == "Taxi-v4") {
    *definition = taxi_definition(options);
  } else if (id == "FrozenLake-v1") {
    *definition = frozen_lake_definition(options);
  } else if (id == "Blackjack-v1") {
    *definition = blackjack_definition(options);
  } else {
    return false;
  }
  return true;
}

}  // namespace metarl
