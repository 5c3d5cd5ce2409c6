"""CliffWalking, Taxi and Blackjack against Gymnasium: whole tables, steps with the reference's draws, distributions."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

import metarl_core
from metarl_core.testing import compare_steps

from .reference import ROWS, Comparison, RecordingGenerator, gymnasium_references
from .test_distributions import SAMPLES, chi_square

TABULAR = [
    ("CliffWalking-v1", {}),
    ("CliffWalking-v1", {"is_slippery": True}),
    ("Taxi-v4", {}),
    ("Taxi-v4", {"is_rainy": True}),
    ("Taxi-v4", {"is_rainy": True, "rainy_probability": 0.55, "fickle_passenger": True, "fickle_probability": 0.6}),
    ("Taxi-v4", {"fickle_passenger": True}),
]
IDS = ["-".join([env_id, *params]) for env_id, params in TABULAR]
tabular = pytest.mark.parametrize(("env_id", "params"), TABULAR, ids=IDS)


def fields_of(env_id, state, fickle=0):
    return [float(state)] if env_id == "CliffWalking-v1" else [float(state), float(fickle)]


def possible_states(env_id):
    """Every state an episode can be in: not the cliff; a delivered passenger only with the taxi beside them."""
    if env_id == "CliffWalking-v1":
        return [s for s in range(48) if not 36 < s < 47]
    stands = [(0, 0), (0, 4), (4, 0), (4, 3)]
    taxi = gymnasium.make(env_id).unwrapped
    decoded = [(s, *taxi.decode(s)) for s in range(500)]
    return [s for s, row, column, place, goal in decoded if place != goal or (row, column) == stands[goal]]


@tabular
def test_every_outcome_of_the_table(env_id, params):
    reference = gymnasium.make(env_id, **params).unwrapped
    states = possible_states(env_id)
    expected, fields, actions, draws = [], [], [], []
    for state in states:
        for action in range(reference.action_space.n):
            low = 0.0
            for probability, following, reward, terminated in reference.P[state][action]:
                expected.append((following, reward, terminated, probability))
                fields.append(fields_of(env_id, state))
                actions.append(action)
                draws.append([low + probability / 2, 0.0])
                low += probability
    envs = metarl_core.make_vec(env_id, len(expected), autoreset_mode="disabled", **params)
    envs.set_state({"state": fields})
    width = envs._core.field_names
    if params:
        envs._core.set_draws(np.array(draws)[:, : len(width)])
    obs, reward, terminated, truncated, info = envs.step(np.array(actions))
    following, rewards, ends, probabilities = (np.array(column) for column in zip(*expected, strict=True))
    np.testing.assert_array_equal(obs, following)
    np.testing.assert_array_equal(reward, rewards)
    np.testing.assert_array_equal(terminated, ends)
    np.testing.assert_array_equal(info["prob"], probabilities)
    assert not truncated.any()
    if env_id == "Taxi-v4":
        np.testing.assert_array_equal(info["action_mask"], [reference.action_mask(s) for s in following])
        assert info["action_mask"].dtype == np.int8
        assert info["_action_mask"].all()
    # And no other state is one.
    for state in set(range(reference.observation_space.n)) - set(states):
        with pytest.raises(ValueError, match="is not a state"):
            metarl_core.make_vec(env_id, 1, **params).set_state({"state": [fields_of(env_id, state)]})
    print(f"{env_id} {params}: {len(expected)} outcomes of {len(states)} states")


def walk(env_id, params, states):
    limit = 60
    width = 1 if env_id == "CliffWalking-v1" else 2

    def draws(before, drawn):
        ranks = [float(drawn[0][1]), 0.0]
        if len(drawn) == 2:  # the new destination, as its rank among those that are not the old one
            chosen, old = int(drawn[1][1]), int(before[0]) % 4
            ranks[1] = (chosen - (chosen > old) + 0.5) / 3
        return ranks[:width]

    references = gymnasium_references(
        env_id,
        {"max_episode_steps": limit, **params},
        get_fields=lambda env: fields_of(env_id, env.s, getattr(env, "fickle_step", False)),
        draws=draws if params else None,
    )
    best = best_actions(references[0].env.unwrapped)
    ours = metarl_core.make_vec(env_id, ROWS, autoreset_mode="disabled", max_episode_steps=limit, **params)

    def policy(before, rng):
        follow = rng.random(ROWS) < np.linspace(0.0, 1.0, ROWS)
        random = rng.integers(0, ours.single_action_space.n, ROWS)
        return np.where(follow, best[before[:, 0].astype(int)], random)

    same_info = ["prob", "action_mask"] if env_id == "Taxi-v4" else ["prob"]
    comparison = compare_steps(ours, references, policy, states=states, same_info=same_info)
    comparison.check(f"{env_id} {params}", states, 0.0, ("terminated", "truncated"))


def best_actions(unwrapped):
    """Value iteration on the reference's table."""
    states, actions = len(unwrapped.P), len(unwrapped.P[0])
    value = np.zeros(states)

    def gain_of(outcomes):
        return sum(p * (r + (not t) * 0.97 * value[s]) for p, s, r, t in outcomes)

    for _ in range(80):
        gain = np.array([[gain_of(unwrapped.P[s][a]) for a in range(actions)] for s in range(states)])
        value = gain.max(1)
    return gain.argmax(1)


@tabular
def test_steps_with_the_references_draws(env_id, params):
    walk(env_id, params, 20_000)


@pytest.mark.slow
@tabular
def test_a_million_steps_with_the_references_draws(env_id, params):
    walk(env_id, params, 1_000_000)


@pytest.mark.parametrize(("env_id", "params"), [TABULAR[1], TABULAR[3]], ids=[IDS[1], IDS[3]])
def test_outcomes_are_as_likely_as_the_table_says(env_id, params):
    reference = gymnasium.make(env_id, **params).unwrapped
    rows = 3_000
    envs = metarl_core.make_vec(env_id, rows, autoreset_mode="disabled", **params)
    envs.reset(seed=2)
    scores = []
    for state in possible_states(env_id):
        for action in range(4):
            envs.set_state({"state": [fields_of(env_id, state)] * rows, "done": np.zeros(rows, bool)})
            obs = envs.step(np.full(rows, action))[0]
            expected: dict[int, float] = {}
            for probability, following, _, _ in reference.P[state][action]:
                expected[int(following)] = expected.get(int(following), 0.0) + probability
            assert set(np.unique(obs)) <= set(expected)
            if len(expected) > 1:
                counts = np.array([(obs == s).sum() for s in expected])
                scores.append(chi_square(counts, np.array(list(expected.values())) * rows))
    print(f"{env_id}, {len(scores)} (s, a) pairs: largest z = {max(scores):.2f}, mean {np.mean(scores):.2f}")
    assert max(scores) < 5.0
    assert abs(np.mean(scores)) < 5 / np.sqrt(len(scores))


def test_starts_of_cliff_walking():
    envs = metarl_core.make_vec("CliffWalking-v1", 50)
    assert (envs.reset(seed=1)[0] == 36).all()


def test_starts_of_taxis_and_moods_of_passengers():
    rows = 300_000
    envs = metarl_core.make_vec("Taxi-v4", rows, fickle_passenger=True, fickle_probability=0.3)
    obs, info = envs.reset(seed=5)
    taxi = gymnasium.make("Taxi-v4").unwrapped
    starts = np.flatnonzero(taxi.initial_state_distrib)
    states, counts = np.unique(obs, return_counts=True)
    np.testing.assert_array_equal(states, starts)
    z = chi_square(counts, np.full(300, rows / 300))
    fickle = envs.get_state()["state"][:, 1]
    mood = (fickle.mean() - 0.3) / np.sqrt(0.3 * 0.7 / rows)
    print(f"Taxi starts: z = {z:.2f}; fickle passengers: {fickle.mean():.4f}, z = {mood:.2f}")
    assert abs(z) < 3.3
    assert abs(mood) < 3.3
    np.testing.assert_array_equal(info["action_mask"][:500], [taxi.action_mask(s) for s in obs[:500]])


def test_a_fickle_passenger_changes_once_to_any_other_destination():
    rows = SAMPLES
    envs = metarl_core.make_vec("Taxi-v4", rows, fickle_passenger=True, autoreset_mode="disabled")
    start = ((2 * 5 + 2) * 5 + 4) * 4 + 1  # in the middle, in the taxi, to stand 1
    envs.set_state({"state": [[start, 1]] * rows})
    obs = envs.step(np.full(rows, 1))[0]
    destinations, counts = np.unique(obs % 4, return_counts=True)
    assert destinations.tolist() == [0, 2, 3]
    z = chi_square(counts, np.full(3, rows / 3))
    print(f"Taxi, new destinations: z = {z:.2f}")
    assert abs(z) < 3.3
    assert not envs.get_state()["state"][:, 1].any()
    np.testing.assert_array_equal(envs.step(np.full(rows, 0))[0] % 4, obs % 4)
    calm = metarl_core.make_vec("Taxi-v4", 1)
    with pytest.raises(ValueError, match="is not a state"):
        calm.set_state({"state": [[start, 1]]})


# --- Blackjack -------------------------------------------------------------------------------------------------------


def hand_fields(hand):
    return [sum(hand), int(1 in hand), len(hand)]


def blackjack_fields(unwrapped):
    return [*hand_fields(unwrapped.player), *hand_fields(unwrapped.dealer), unwrapped.dealer[0]]


def play(params, states):
    rng = np.random.default_rng(2)
    references = [
        gymnasium.make("Blackjack-v1", disable_env_checker=True, max_episode_steps=3, **params) for _ in range(ROWS)
    ]
    recorders = []
    for i, reference in enumerate(references):
        reference.reset(seed=i)
        recorders.append(RecordingGenerator(reference.unwrapped.np_random))
        reference.unwrapped.np_random = recorders[-1]
    ours = metarl_core.make_vec("Blackjack-v1", ROWS, autoreset_mode="disabled", max_episode_steps=3, **params)
    ours.reset(seed=0)
    comparison, elapsed = Comparison(), np.zeros(ROWS, np.int32)
    most, rewards = 0, set()
    while comparison.states < states:
        before = np.array([blackjack_fields(r.unwrapped) for r in references], np.float64)
        actions = (rng.random(ROWS) < 0.55).astype(np.int64)
        for recorder in recorders:
            recorder.drawn.clear()
        results = [r.step(int(a)) for r, a in zip(references, actions, strict=True)]
        draws = np.zeros((ROWS, 10))
        for row, recorder in enumerate(recorders):
            cards = np.array([card for _, card in recorder.drawn], np.float64)
            draws[row, : len(cards)] = (cards - 0.5) / 13
            most = max(most, len(cards))
        ours.set_state({"state": before, "elapsed": elapsed, "done": np.zeros(ROWS, np.bool_)})
        ours._core.set_draws(draws)
        obs, reward, terminated, truncated, info = ours.step(actions)
        assert info == {}
        comparison.add(
            (ours.get_state()["state"], np.stack(obs, 1), reward, terminated, truncated),
            (
                np.array([blackjack_fields(r.unwrapped) for r in references], np.float64),
                *(np.array([r[k] for r in results]) for k in range(4)),
            ),
        )
        rewards |= set(reward.tolist())
        elapsed += 1
        for row in np.flatnonzero(terminated | truncated):
            references[row].unwrapped.player = rng.choice(13, 2).clip(0, 9).__add__(1).tolist()
            references[row].unwrapped.dealer = rng.choice(13, 2).clip(0, 9).__add__(1).tolist()
            references[row]._elapsed_steps = 0
            elapsed[row] = 0
    comparison.check(f"Blackjack-v1 {params}", states, 0.0, ("terminated", "truncated"))
    print(f"up to {most} cards in a step, rewards {sorted(rewards)}")
    assert rewards >= {-1.0, 0.0, 1.0}
    assert (1.5 in rewards) == (params == {"natural": True, "sab": False})


BLACKJACK = [{}, {"natural": True, "sab": False}, {"natural": False, "sab": False}, {"natural": True, "sab": True}]


@pytest.mark.parametrize("params", BLACKJACK, ids=str)
def test_blackjack_with_the_references_cards(params):
    play(params, 15_000)


@pytest.mark.slow
@pytest.mark.parametrize("params", BLACKJACK, ids=str)
def test_a_million_steps_of_blackjack(params):
    play(params, 1_000_000)


def test_blackjack_with_the_most_cards():
    reference = gymnasium.make("Blackjack-v1").unwrapped
    reference.reset(seed=0)
    cards = [1, 1, 1, 1, 6, 1, 1, 1, 1, 1]
    reference.dealer, reference.player = [1, 1], [10, 9]
    script = iter(cards)
    reference.np_random = type("Script", (), {"choice": lambda self, deck: next(script)})()
    reference.step(0)
    envs = metarl_core.make_vec("Blackjack-v1", 1)
    envs.set_state({"state": [[19, 0, 2, 2, 1, 2, 1]]})
    envs._core.set_draws((np.array(cards) - 0.5) / 13)
    envs.step([0])
    assert next(script, None) is None
    np.testing.assert_array_equal(envs.get_state()["state"][0], blackjack_fields(reference))


CARDS = np.array([1, 1, 1, 1, 1, 1, 1, 1, 1, 4]) / 13  # of 1, ..., 10


def test_starts_of_blackjack():
    envs = metarl_core.make_vec("Blackjack-v1", SAMPLES)
    envs.reset(seed=3)
    fields = envs.get_state()["state"].astype(int)
    pairs = (CARDS[:, None] * CARDS).ravel() * SAMPLES
    dealt = np.bincount((fields[:, 6] - 1) * 10 + fields[:, 3] - fields[:, 6] - 1, minlength=100)
    dealer = chi_square(dealt, pairs)
    expected: dict[tuple[int, int], float] = {}
    for a in range(1, 11):
        for b in range(1, 11):
            key = (a + b, int(1 in (a, b)))
            expected[key] = expected.get(key, 0.0) + CARDS[a - 1] * CARDS[b - 1] * SAMPLES
    counts = np.array([((fields[:, 0] == s) & (fields[:, 1] == ace)).sum() for s, ace in expected])
    player = chi_square(counts, np.array(list(expected.values())))
    together = np.corrcoef(fields[:, 0], fields[:, 3])[0, 1] * np.sqrt(SAMPLES)
    print(f"Blackjack starts: dealer z = {dealer:.2f}, player z = {player:.2f}, correlation z = {together:.2f}")
    assert counts.sum() == SAMPLES
    assert max(abs(dealer), abs(player), abs(together)) < 3.3


def dealer_totals(hand, probability=1.0, totals=None):
    """Probability of the dealer's final value (22: bust), by recursion over cards."""
    totals = {} if totals is None else totals
    value = sum(hand) + (10 if 1 in hand and sum(hand) + 10 <= 21 else 0)
    if value >= 17:
        value = min(value, 22)
        totals[value] = totals.get(value, 0.0) + probability
    else:
        for card in range(1, 11):
            dealer_totals([*hand, card], probability * CARDS[card - 1], totals)
    return totals


@pytest.mark.parametrize("hand", [[1, 1], [2, 2], [10, 2], [5, 1]])
def test_the_dealers_totals(hand):
    envs = metarl_core.make_vec("Blackjack-v1", SAMPLES, autoreset_mode="disabled", seed=7)
    envs.reset()
    envs.set_state({"state": [[20, 0, 2, *hand_fields(hand), hand[0]]] * SAMPLES})
    envs.step(np.zeros(SAMPLES, np.int64))
    fields = envs.get_state()["state"].astype(int)
    value = fields[:, 3] + 10 * ((fields[:, 4] == 1) & (fields[:, 3] + 10 <= 21))
    expected = dealer_totals(hand)
    counts = np.array([(np.minimum(value, 22) == total).sum() for total in expected])
    z = chi_square(counts, np.array(list(expected.values())) * SAMPLES)
    print(f"Blackjack, dealer from {hand}: z = {z:.2f}, up to {fields[:, 5].max() - 2} cards")
    assert counts.sum() == SAMPLES
    assert abs(z) < 3.3


def test_the_cards_of_hits():
    envs = metarl_core.make_vec("Blackjack-v1", SAMPLES, autoreset_mode="disabled", seed=8)
    envs.reset()
    envs.set_state({"state": [[4, 0, 2, 10, 0, 2, 5]] * SAMPLES})
    envs.step(np.ones(SAMPLES, np.int64))
    first = envs.get_state()["state"][:, 0].astype(int) - 4
    envs.step(np.ones(SAMPLES, np.int64))
    second = envs.get_state()["state"][:, 0].astype(int) - 4 - first
    counts = np.bincount((first - 1) * 10 + second - 1, minlength=100)
    z = chi_square(counts, (CARDS[:, None] * CARDS).ravel() * SAMPLES)
    print(f"Blackjack, two hits: z = {z:.2f}")
    assert abs(z) < 3.3


@pytest.mark.parametrize(
    "row",
    [
        [3, 0, 2, 20, 0, 2, 10],  # two cards without an ace make 4 at least
        [12, 1, 2, 20, 0, 2, 10],  # an ace and one card make 11 at most
        [32, 0, 4, 20, 0, 2, 10],
        [20, 0, 1, 20, 0, 2, 10],
        [20, 0, 2, 20, 0, 2, 9],  # the hidden card would be 11
        [20, 0, 2, 11, 0, 2, 1],  # an ace is showing
        [20, 0, 2, 16, 0, 3, 10],  # the dealer would go on
        [20, 0, 2, 27, 0, 3, 10],
        [20, 2, 2, 20, 0, 2, 10],
        [20, 0, 2, 20, 0, 2, 11],
        [20.5, 0, 2, 20, 0, 2, 10],
    ],
)
def test_impossible_hands_are_refused(row):
    envs = metarl_core.make_vec("Blackjack-v1", 1)
    with pytest.raises(ValueError, match=r"state\[0\] is not a state of Blackjack-v1"):
        envs.set_state({"state": [row]})


def test_states_of_blackjack_that_occur_go_back_in():
    envs = metarl_core.make_vec("Blackjack-v1", 5_000, autoreset_mode="next_step", seed=1)
    envs.reset()
    rng = np.random.default_rng(0)
    for _ in range(60):
        envs.step((rng.random(5_000) < 0.8).astype(np.int64))
        envs.set_state(envs.get_state())
