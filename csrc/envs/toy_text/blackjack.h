// Blackjack from an endless deck: hit or stick, then the dealer draws up to 17 (Sutton and Barto, Reinforcement
// Learning, example 5.1; gymnasium Blackjack-v1).
#pragma once

#include <cstdint>

#include "metarl/detail/hd.h"
#include "metarl/detail/philox.h"

namespace metarl::blackjack {

// The dealer needs the most cards from two aces: four aces more (16), a six (12), five aces (17).
constexpr int kMaxCards = 10;
constexpr int kDealerStands = 17;
constexpr int kBust = 22;

struct Params {
  bool natural;       // a natural that wins pays 1.5; ignored with sutton_barto
  bool sutton_barto;  // a natural wins unless the dealer has one too
};

// What matters of a hand: its sum with aces as 1, whether there is an ace, and the number of cards.
struct Hand {
  std::int32_t sum, ace, cards;
};

struct State {
  Hand player;
  Hand dealer;
  std::int32_t showing;  // the dealer's first card
};

METARL_HD void add_card(Hand& hand, std::int32_t card) {
  hand.sum += card;
  hand.ace |= card == 1;
  ++hand.cards;
}

METARL_HD bool has_usable_ace(const Hand& hand) { return hand.ace && hand.sum + 10 < kBust; }
METARL_HD std::int32_t value_of(const Hand& hand) { return hand.sum + (has_usable_ace(hand) ? 10 : 0); }
METARL_HD bool is_natural(const Hand& hand) { return hand.cards == 2 && hand.ace && hand.sum == 11; }
METARL_HD std::int32_t score_of(const Hand& hand) { return value_of(hand) < kBust ? value_of(hand) : 0; }

// One of thirteen equally likely cards: ace to ten and three faces, which count ten.
METARL_HD std::int32_t card_of_rank(std::int32_t rank) { return rank < 9 ? rank + 1 : 10; }
METARL_HD std::int32_t card_from(std::uint32_t word) {
  return card_of_rank(static_cast<std::int32_t>((std::uint64_t{word} * 13) >> 32));
}

METARL_HD State reset(const PhiloxBlock& random) {
  State s{{0, 0, 0}, {0, 0, 0}, card_from(random.v[0])};
  add_card(s.dealer, s.showing);
  add_card(s.dealer, card_from(random.v[1]));
  add_card(s.player, card_from(random.v[2]));
  add_card(s.player, card_from(random.v[3]));
  return s;
}

METARL_HD double settle(const Params& p, const State& s) {
  const std::int32_t player = score_of(s.player);
  const std::int32_t dealer = score_of(s.dealer);
  const double reward = static_cast<double>(player > dealer) - static_cast<double>(player < dealer);
  if (!is_natural(s.player)) return reward;
  if (p.sutton_barto) return is_natural(s.dealer) ? reward : 1.0;
  return p.natural && reward == 1.0 ? 1.5 : reward;
}

// action: 0 sticks, 1 hits. next_card() gives one card after another. Returns whether the game is over.
template <class NextCard>
METARL_HD bool step(const Params& p, State& s, int action, NextCard& next_card, double& reward) {
  if (action != 0) {
    add_card(s.player, next_card());
    const bool bust = value_of(s.player) >= kBust;
    reward = bust ? -1.0 : 0.0;
    return bust;
  }
  while (value_of(s.dealer) < kDealerStands) add_card(s.dealer, next_card());
  reward = settle(p, s);
  return true;
}

}  // namespace metarl::blackjack
