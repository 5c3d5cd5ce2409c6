"""MinAtar's games against the package: every step's state, observation, reward and ending, by its random numbers."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from minatar.environment import Environment

import metarl_core

from .minatar_games import GAMES, compare
from .test_distributions import chi_square

games = pytest.mark.parametrize("game", GAMES.values(), ids=GAMES)


@games
@pytest.mark.parametrize("sticky", [0.0, 0.1])
@pytest.mark.parametrize("ramping", [True, False])
def test_every_step_is_the_packages(game, ramping, sticky):
    states = 24_000 if game.name == "SpaceInvaders" else 10_000  # an alien seldom comes from the side
    counts = compare(game, states, ramping=ramping, sticky=sticky, version=1, seed=int(10 * sticky) + ramping)
    assert (counts["stuck"] > 0) == (sticky > 0)
    for event in game.expected + game.expected_ramping * ramping:
        assert counts[event] > 0, f"{game.name}: no step with '{event}' was compared"


@games
def test_all_six_actions_and_other_buffers(game):
    counts = compare(game, 5_000, ramping=True, sticky=0.3, version=0, own_buffers=False, seed=5)
    assert counts["stuck"] > 500


@pytest.mark.slow
@pytest.mark.timeout(3600)
@games
def test_a_million_steps_are_the_packages(game):
    states = 0
    for ramping in (True, False):
        for sticky in (0.0, 0.1):
            counts = compare(game, 260_000, ramping=ramping, sticky=sticky, version=1, seed=20 + 2 * ramping + 1)
            states += counts["states"]
    print(f"{game.name}: {states} states")
    assert states >= 1_000_000


@games
@pytest.mark.parametrize("version", [0, 1])
def test_spaces_are_the_packages(game, version):
    from minatar.gym import BaseEnv

    reference = BaseEnv(game.module, use_minimal_action_set=version == 1)
    ours = metarl_core.make_vec(f"MinAtar/{game.name}-v{version}", 3)
    assert ours.single_observation_space == reference.observation_space
    assert ours.single_action_space == reference.action_space
    obs, _ = ours.reset()
    assert obs.dtype == reference.reset()[0].dtype == np.bool_
    assert obs in ours.observation_space
    defaults = Environment(game.module)
    assert ours.params["sticky_action_prob"] == defaults.sticky_action_prob
    assert ours.max_episode_steps is None


# Bytes of everything that every game hands out, at 1, 2 and 8 threads; prints one hash for each id.
GOLDEN_SCRIPT = """
import hashlib
import sys
import numpy as np
from metarl_core import make_vec

for env_id in sys.argv[1:]:
    hashes = []
    for threads in (1, 2, 8):
        digest = hashlib.sha256()
        rows = 3_001
        envs = make_vec(env_id, rows, num_threads=threads, seed=2024, max_episode_steps=300)
        digest.update(envs.reset()[0].tobytes())
        rng = np.random.Generator(np.random.Philox(5))
        for step in range(320):
            result = envs.step(rng.integers(0, envs.single_action_space.n, rows))
            for array in result[: 4 if step % 8 == 0 else 0] + result[1:3]:
                digest.update(array.tobytes())
        digest.update(envs.get_state()["state"].tobytes())
        hashes.append(digest.hexdigest()[:16])
    assert len(set(hashes)) == 1, (env_id, hashes)
    print(hashes[0])
"""
GOLDEN = {
    "Breakout": "e1a2b2ad71e3fc10",
    "Asterix": "f93c2c2eb2ad44e3",
    "SpaceInvaders": "15abe6fcec913890",
    "Seaquest": "a33f4cd7df5a642c",
    "Freeway": "ede5e0d99f6d2f7a",
}


@pytest.mark.parametrize("isa", ["baseline", "avx2", "avx512"])
def test_golden_hashes_at_every_instruction_set_and_thread_count(isa):
    if isa not in metarl_core.build_info()["isa_levels"]:
        pytest.skip(f"{isa} is not compiled in")
    environ = {**os.environ, "METARL_ISA": isa}
    active = "import metarl_core; print(metarl_core.build_info()['isa_active'])"
    if run_python(environ, active) != [isa]:
        pytest.skip(f"this CPU lacks {isa}")
    hashes = run_python(environ, GOLDEN_SCRIPT, *(f"MinAtar/{name}-v1" for name in GOLDEN))
    assert dict(zip(GOLDEN, hashes, strict=True)) == GOLDEN


def run_python(environ, code, *args):
    done = subprocess.run(
        [sys.executable, "-c", code, *args], env=environ, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@games
def test_frequency_of_stuck_actions(game):
    rows, probability = 20_000, 0.1
    envs = metarl_core.make_vec(f"MinAtar/{game.name}-v0", rows, sticky_action_prob=probability)
    envs.reset(seed=3)
    last, stuck, steps, going = np.zeros(rows), [], 8, np.ones(rows, np.bool_)
    for step in range(1, steps + 1):
        action = 1 + step % 2  # never the last one, unless that was stuck too
        ended = envs.step(np.full(rows, action))[2]
        taken = envs.get_state()["state"][:, 0]
        assert ((taken == action) | (taken == last)).all()
        chosen = (last != action) & going
        stuck.append((taken != action)[chosen])
        last, going = taken, ~ended
    count, total = sum(s.sum() for s in stuck), sum(map(len, stuck))
    z = (count - total * probability) / np.sqrt(total * probability * (1 - probability))
    print(f"{game.name}: {count} of {total} steps stuck, z = {z:.2f}")
    assert abs(z) < 3.3


@games
@pytest.mark.parametrize("mode", ["next_step", "same_step"])
def test_the_last_action_outlives_an_episode_but_not_a_seed(game, mode):
    envs = metarl_core.make_vec(
        f"MinAtar/{game.name}-v0", 4, autoreset_mode=mode, max_episode_steps=2, sticky_action_prob=0.0
    )
    envs.reset(seed=1)
    for action in (2, 1, 3):
        envs.step(np.full(4, action))
    # A step that resets takes no action.
    expected = 1.0 if mode == "next_step" else 3.0
    assert (envs.get_state()["state"][:, 0] == expected).all()
    envs.reset()
    assert (envs.get_state()["state"][:, 0] == expected).all()
    envs.reset(seed=1)
    assert (envs.get_state()["state"][:, 0] == 0).all()


@games
def test_ramping_and_sticky_actions_are_checked(game):
    for bad in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match="sticky_action_prob"):
            metarl_core.make_vec(f"MinAtar/{game.name}-v1", 1, sticky_action_prob=bad)
    with pytest.raises(TypeError, match="difficulty_ramping"):
        metarl_core.make_vec(f"MinAtar/{game.name}-v1", 1, difficulty_ramping=2)
    always = metarl_core.make_vec(f"MinAtar/{game.name}-v1", 8, sticky_action_prob=1.0)
    always.reset()
    for _ in range(20):
        always.step(np.ones(8, np.int64))
    assert (always.get_state()["state"][:, 0] == 0).all()


@games
def test_states_that_occur_go_back_in_and_others_do_not(game):
    envs = metarl_core.make_vec(f"MinAtar/{game.name}-v1", 500, seed=4)
    envs.reset()
    rng = np.random.default_rng(0)
    for _ in range(60):
        envs.step(rng.integers(0, envs.single_action_space.n, 500))
        envs.set_state(envs.get_state())
    state = envs.get_state()["state"]
    for column, name in enumerate(envs.field_names):
        for bad in (-100.0, 0.5, 2.0**31 - 1, np.nan):
            if name == "diver_count" and bad == -100.0:
                continue  # the package's own: it counts on below 0
            changed = state.copy()
            changed[7, column] = bad
            print(f"{name} = {bad}")
            with pytest.raises(ValueError, match=rf"state\[7\] is not a state of MinAtar/{game.name}-v1"):
                envs.set_state({"state": changed})


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("Breakout", {"last_action": 2}),  # not one of its actions
        ("Breakout", {"ball_y": 5, "last_y": 3}),
        ("Breakout", {"ball_x": 2, "last_x": 0}),
        ("Breakout", {"bricks": 2**30}),
        ("Freeway", {"car_speed_3": 0}),
        ("Freeway", {"car_speed_3": 2, "car_timer_3": 3}),
        ("Freeway", {"position": 0}),
        ("Asterix", {"entity_2": 64 + 10}),
        ("Asterix", {"entity_2": 3}),
        ("Asterix", {"player_y": 0}),
        ("Asterix", {"ramp_index": 10}),
        ("SpaceInvaders", {"alien_direction": 0}),
        ("SpaceInvaders", {"aliens_0": 0, "aliens_1": 0}),
        ("SpaceInvaders", {"aliens_3": 1024}),
        ("SpaceInvaders", {"shot_timer": 5}),
        ("Seaquest", {"sub_x": 9}),  # facing left, its back off the board
        ("Seaquest", {"sub_y": 3}),  # at the surface
        ("Seaquest", {"oxygen": -1}),
        ("Seaquest", {"num_e_fish": 1}),
        ("Seaquest", {"e_fish_0": 2 + 16}),  # beyond the list's end
        ("Seaquest", {"num_e_fish": 1, "e_fish_0": 2 + 16 * 9 + 256, "e_spawn_timer": 15}),  # no such row
        ("Seaquest", {"num_e_fish": 2, "e_fish_0": 2 + 16 + 256, "e_fish_1": 2 + 16 + 256}),  # sooner than they spawn
        ("Seaquest", {"num_f_bullet": 1, "f_bullet_0": 3 + 256}),  # shot four steps ago and moved once
    ],
)
def test_impossible_states_are_refused(name, changes):
    envs = metarl_core.make_vec(f"MinAtar/{name}-v1", 1)
    envs.reset()
    state = envs.get_state()["state"]
    for field, value in changes.items():
        state[0, envs.field_names.index(field)] = value
    with pytest.raises(ValueError, match=r"state\[0\] is not a state of"):
        envs.set_state({"state": state})


@games
def test_a_state_of_a_finished_episode_stays_as_it_is(game):
    envs = metarl_core.make_vec(f"MinAtar/{game.name}-v1", 64, autoreset_mode="same_step", seed=1)
    envs.reset()
    rng, found = np.random.default_rng(0), None
    reference = game.make(0)
    while found is None:  # an end in the reference
        if reference.act(int(rng.integers(6)))[1]:
            found = game.state(reference)
            found[0] = 0
    ended = metarl_core.make_vec(f"MinAtar/{game.name}-v1", 2, autoreset_mode="disabled", sticky_action_prob=0.0)
    ended.set_state({"state": [found, found]})
    obs, reward, terminated, _, _ = ended.step([0, 1])
    np.testing.assert_array_equal(obs, [reference.state()] * 2)
    assert (reward == 0).all()
    assert terminated.all()
    np.testing.assert_array_equal(ended.get_state()["state"][:, 1:], [found[1:]] * 2)


def test_breakout_starts_on_either_side():
    envs = metarl_core.make_vec("MinAtar/Breakout-v1", 100_000)
    envs.reset(seed=11)
    starts, counts = np.unique(envs.get_state()["state"], axis=0, return_counts=True)
    names = envs.field_names
    reference = GAMES["Breakout"].make(0)
    expected = set()
    for _ in range(20):
        reference.reset()
        expected.add(tuple(map(float, GAMES["Breakout"].state(reference))))
    assert {tuple(start) for start in starts} == expected
    z = (counts[0] - 50_000) / np.sqrt(25_000)
    print(f"Breakout starts {starts[:, names.index('ball_x')]}: {counts}, z = {z:.2f}")
    assert abs(z) < 3.3


def speeds_score(speeds):
    """Chi-square over all pairs of neighbouring cars' speeds, as a z-score; uniform over the ten speeds each."""
    assert set(np.unique(speeds)) == {*range(-5, 0), *range(1, 6)}
    digits = (np.abs(speeds) - 1 + 5 * (speeds > 0)).astype(np.int64)
    pairs = digits * 10 + np.roll(digits, 1, axis=1)
    worst = 0.0
    for column in pairs.T:
        counts = np.bincount(column, minlength=100)
        worst = max(worst, abs(chi_square(counts, np.full(100, len(column) / 100))))
    return worst


def test_freeway_speeds_are_uniform_at_starts_and_after_crossings():
    rows = 100_000
    envs = metarl_core.make_vec("MinAtar/Freeway-v1", rows, sticky_action_prob=0.0)
    envs.reset(seed=12)
    names = envs.field_names
    state = envs.get_state()["state"]
    speeds = slice(names.index("car_speed_0"), names.index("car_speed_7") + 1)
    timers = slice(names.index("car_timer_0"), names.index("car_timer_7") + 1)
    starts = state[:, speeds].copy()
    np.testing.assert_array_equal(state[:, timers], np.abs(starts))
    assert (state[:, names.index("car_x_0") : names.index("car_x_7") + 1] == 0).all()
    state[:, names.index("position")], state[:, names.index("move_timer")] = 1, 0
    state[:, names.index("car_x_0")] = 6
    envs.set_state({"state": state})
    assert (envs.step(np.ones(rows, np.int64))[1] == 1).all()
    crossed = envs.get_state()["state"][:, speeds]
    scores = speeds_score(starts), speeds_score(crossed)
    print(f"Freeway speeds: largest |z| of 8 neighbours at starts {scores[0]:.2f}, after crossings {scores[1]:.2f}")
    assert max(scores) < 4.0
    same = (starts == crossed).mean()
    assert abs(same - 0.1) < 4 * np.sqrt(0.09 / (8 * rows))


@pytest.mark.parametrize("occupied", [(), (0, 3, 4, 7), (0, 1, 2, 3, 5, 6, 7)])
def test_asterix_spawns_as_often_as_the_package_draws(occupied):
    rows = 100_000
    envs = metarl_core.make_vec("MinAtar/Asterix-v1", rows)
    envs.reset(seed=13)
    names = envs.field_names
    first = names.index("entity_0")
    state = envs.get_state()["state"]
    state[:, names.index("spawn_timer")] = 0
    for slot in occupied:
        state[:, first + slot] = 64
    envs.set_state({"state": state})
    envs.step(np.zeros(rows, np.int64))
    entities = envs.get_state()["state"][:, first:].astype(np.int64)
    free = [slot for slot in range(8) if slot not in occupied]
    assert ((entities[:, free] != 0).sum(1) == 1).all()
    slot, kind = np.array(free)[entities[:, free].argmax(1)], (entities[:, free].max(1) >> 4) & 3
    assert (entities[:, free].max(1) & 15 == np.where(kind & 1, 0, 9)).all()  # in from the side it comes from
    counts = np.array([((slot == s) & (kind == k)).sum() for s in free for k in range(4)])
    expected = np.array([rows / len(free) / 2 * (1 / 3 if k & 2 else 2 / 3) for s in free for k in range(4)])
    z = chi_square(counts, expected)
    print(f"Asterix spawns into {len(free)} free rows: z = {z:.2f}")
    assert abs(z) < 3.5


def test_seaquest_spawns_as_often_as_the_package_draws():
    rows = 200_000
    envs = metarl_core.make_vec("MinAtar/Seaquest-v1", rows)
    envs.reset(seed=14)
    names = envs.field_names
    state = envs.get_state()["state"]
    state[:, [names.index("e_spawn_timer"), names.index("d_spawn_timer")]] = 0
    envs.set_state({"state": state})
    envs.step(np.zeros(rows, np.int64))
    after = envs.get_state()["state"].astype(np.int64)
    fish, sub, diver = (after[:, names.index(f"{name}_0")] for name in ("e_fish", "e_sub", "diver"))
    assert ((fish == 0) != (sub == 0)).all()
    assert (diver != 0).all()
    enemy = fish + sub
    for thing in (enemy, diver):
        assert ((thing & 15) - 2 == np.where(thing & 256, 0, 9)).all()

    # Side, row and kind of the enemy and side and row of the diver: independent, 1 in 16, 1 in 3, 1 in 16.
    def place(thing):
        return ((thing >> 4) & 15) - 1 + 8 * ((thing >> 8) & 1)

    counts = np.bincount((place(enemy) * 2 + (sub != 0)) * 16 + place(diver), minlength=512)
    expected = rows / 256 * np.where(np.arange(512) // 16 % 2, 1 / 3, 2 / 3)
    z = chi_square(counts, expected)
    print(f"Seaquest spawns, 512 outcomes: z = {z:.2f}")
    assert abs(z) < 3.5
