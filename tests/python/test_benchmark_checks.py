"""The checks inside the benchmark let right results pass and stop wrong ones."""

import dataclasses

import numpy as np
import pytest

from metarl_core.benchmarks.drivers import check_env, check_replay, data
from metarl_core.benchmarks.drivers.base import WrongResultError
from metarl_core.benchmarks.drivers.check_env import Trace, check_trace
from metarl_core.benchmarks.drivers.env_base import EnvContestant, draw_actions
from metarl_core.benchmarks.drivers.floor import contestants
from metarl_core.benchmarks.drivers.ours_env import OurEnvs
from metarl_core.benchmarks.drivers.reference_env import catch, catch_boards, frozen_lake_moves
from metarl_core.benchmarks.drivers.replay_base import BufferContestant, TreeContestant, WeightsContestant

CAPACITY = 2048


class PlainTree(TreeContestant):
    """An array of masses; ``fault`` spoils it."""

    def __init__(self, fault=None):
        super().__init__({"capacity": CAPACITY})
        self.mass, self.fault, self.rng = np.zeros(CAPACITY), fault, np.random.default_rng(0)

    def sampler(self, batch):
        mass = {"uniform": np.ones(CAPACITY), "alpha twice": self.mass**0.6}.get(self.fault, self.mass)
        total = np.cumsum(mass)

        def sample():
            found = np.searchsorted(total, self.rng.random(batch) * total[-1], side="right")
            return found + (CAPACITY if self.fault == "out of range" else 0)

        return sample

    def set(self, indices, values):
        if self.fault != "updates are lost" or not self.mass[indices].any():
            self.mass[indices] = values


def test_a_right_tree_passes_and_is_timed():
    tree = PlainTree()
    assert len(tree.check()) == 8
    assert tree.measure("sample", {"batch": 32}, 0.001) > 0
    assert tree.measure("update", {"batch": 32}, 0.001) > 0


@pytest.mark.parametrize("fault", ["uniform", "alpha twice", "out of range", "updates are lost"])
def test_a_wrong_tree_is_stopped(fault):
    with pytest.raises(WrongResultError, match=r"frequency|outside"):
        PlainTree(fault).check()


class PlainBuffer(BufferContestant):
    """Columns and masses in arrays; ``fault`` spoils what it returns."""

    def __init__(self, workload="small", fault=None):
        super().__init__(workload, {"capacity": CAPACITY if workload == "small" else 256})
        self.fault, self.rng = fault, np.random.default_rng(0)

    def create(self):
        self.mass, self.parts = np.ones(self.capacity), []

    def fill(self, given):
        self.parts.append(given)

    def sampler(self, batch):
        columns = {key: np.concatenate([part[key] for part in self.parts]) for key in self.parts[0]}
        if self.fault == "columns of different rows":
            columns["reward"] = np.roll(columns["reward"], 1)

        def sample():
            total = np.cumsum(self.mass)
            indices = np.searchsorted(total, self.rng.random(batch) * total[-1], side="right")
            weights = (self.mass[indices] / total[-1]) ** (-0.5 if self.fault == "wrong beta" else -data.BETA)
            if self.fault != "not normalised":
                weights = weights / weights.max()
            drawn = {key: value[indices] for key, value in columns.items()}
            return indices + (self.fault == "wrong indices"), weights, drawn

        return sample

    def unpack(self, result):
        return result

    def update(self, indices, errors):
        exponent = 1.0 if self.fault == "wrong alpha" else data.ALPHA
        self.mass[indices] = errors.astype(float) ** exponent

    def looper(self, batch, errors):
        sample = self.sampler(batch)

        def loop():
            drawn = sample()
            self.update(drawn[0], errors())
            return drawn

        return loop


@pytest.mark.parametrize("workload", ["small", "images"])
def test_a_right_buffer_passes_and_is_timed(workload):
    buffer = PlainBuffer(workload)
    assert len(buffer.check()) == 8
    for case in ("sample", "update", "loop"):
        assert buffer.measure(case, {"batch": 16}, 0.001) > 0


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("wrong alpha", "frequency|not proportional"),
        ("wrong beta", "not proportional"),
        ("not normalised", "above 1"),
        ("wrong indices", "does not belong to its index"),
        ("columns of different rows", "'reward' does not belong"),
    ],
)
def test_a_wrong_buffer_is_stopped(fault, message):
    with pytest.raises(WrongResultError, match=message):
        PlainBuffer(fault=fault).check()


def test_a_batch_that_turns_wrong_while_it_is_timed_is_stopped():
    buffer = PlainBuffer()
    buffer.check()
    buffer.fault = "columns of different rows"
    with pytest.raises(WrongResultError, match="the last batch"):
        buffer.measure("sample", {"batch": 64}, 0.001)


class PlainWeights(WeightsContestant):
    """The formula with an offset to spoil it."""

    def __init__(self, offset=0.0, dtype="float64"):
        super().__init__({"capacity": CAPACITY, "dtype": dtype})
        self.offset = offset

    def compute(self, probabilities):
        weights = (self.size * probabilities) ** -data.BETA
        return weights / weights.max() + self.offset


def test_weights_are_compared_with_the_formula():
    assert PlainWeights().measure("weights", {"batch": 100}, 0.001) > 0
    assert PlainWeights(dtype="float32").measure("weights", {"batch": 100}, 0.001) > 0
    with pytest.raises(WrongResultError, match="off by"):
        PlainWeights(1e-3).check()
    spoiled = PlainWeights(dtype="float32")
    spoiled.dtype = np.dtype("float64")
    spoiled.inputs = lambda probabilities: probabilities.astype(np.float32)
    with pytest.raises(WrongResultError, match="weights of float32, not float64"):
        spoiled.check()


def test_rows_carry_their_numbers():
    numbers = np.array([0, 7, 300, 65_536, 1_048_575])
    for workload in ("small", "images"):
        columns = data.columns(workload, numbers)
        assert data.numbers_of(workload, columns["obs"]).tolist() == numbers.tolist()
        check_replay.check_rows(workload, columns, numbers, "these")


# --- environments ------------------------------------------------------------------------------------------------


class PlainEnvs(EnvContestant):
    """The equations in NumPy with NEXT_STEP or SAME_STEP autoreset; ``fault`` spoils them."""

    def __init__(self, env_id, num_envs=64, fault=None, autoreset="next_step", size=0):
        super().__init__({"env_id": env_id, "num_envs": num_envs, "threads": 1, "size": size})
        self.fault, self.autoreset, self.draws = fault, autoreset, np.random.default_rng(3)
        self.right = self.draws.integers(0, 2, (size, size)) if size else None
        self.limit = check_env.LIMITS.get(env_id, 500)
        if fault == "limit":
            self.limit -= 1

    def first(self):
        n = self.num_envs
        if self.size:
            return np.zeros(n, int)
        if self.env_id == "FrozenLake-v1":
            return np.zeros(n, int)
        if self.env_id == "CliffWalking-v1":
            return np.full(n, 36)
        if self.env_id == "Taxi-v4":
            return self.draws.integers(0, 25, n) * 20 + self.draws.choice([1, 6, 11, 12], n)
        if self.env_id == "Catch-v0":
            return np.stack([np.zeros(n, int), self.draws.integers(0, 5, n), np.full(n, 2)], 1)
        if self.env_id == "MountainCar-v0":
            return np.stack([self.draws.uniform(-0.6, -0.4, n), np.zeros(n)], 1)
        if self.env_id == "CartPole-v1":
            return self.draws.uniform(-0.05, 0.05, (n, 4))
        angles = self.draws.uniform(-1, 1, (n, 2))
        rates = self.draws.uniform(-1, 1, (n, 2))
        one, two = angles.T
        if self.env_id == "Pendulum-v1":
            return np.stack([np.cos(one), np.sin(one), rates[:, 0]], 1)
        return np.stack([np.cos(one), np.sin(one), np.cos(two), np.sin(two), rates[:, 0], rates[:, 1]], 1)

    def shown(self):
        if self.env_id == "Catch-v0":
            return catch_boards(self.state) * (1.001 if self.fault == "state" else 1)
        if not self.size:
            discrete = self.env_id == "FrozenLake-v1" or self.env_id in check_env.TABLES
            return self.state.astype(np.int64 if discrete else np.float32)
        cells = np.zeros((self.num_envs, self.size**2), np.float32)
        inside = np.flatnonzero(self.state < self.size**2)
        cells[inside, self.state[inside]] = 1
        return cells.reshape(-1, self.size, self.size)

    def reset(self):
        self.state, self.elapsed = self.first(), np.zeros(self.num_envs, int)
        self.ended = np.zeros(self.num_envs, bool)
        return self.shown()

    def advance(self, actions):
        if self.env_id in check_env.REFERENCES:
            return check_env.REFERENCES[self.env_id](self.state, actions)
        if self.env_id == "FrozenLake-v1":
            turns = (0.2, 0.6, 0.2) if self.fault == "less slippery" else (1 / 3, 1 / 3, 1 / 3)
            slip = self.draws.choice([-1, 0, 1], self.num_envs, p=turns)
            after = frozen_lake_moves(self.state, (actions + slip) % 4)
            return after, (after == 15).astype(float), check_env.FROZEN_LAKE[after]
        if self.env_id in check_env.TABLES:
            return check_env.TABLES[self.env_id](self.state, actions)
        if self.env_id == "Catch-v0":
            return catch(self.state, actions)
        inside = np.minimum(self.state, self.size**2 - 1)
        row, column = inside // self.size, inside % self.size
        right = actions == self.right[row, column]
        if self.fault == "mapping":
            right = self.draws.random(self.num_envs) < 0.5
        column = np.clip(column + np.where(right, 1, -1), 0, self.size - 1)
        return (row + 1) * self.size + column, np.where(right, -0.01 / self.size, 0.0), row == self.size - 1

    def step(self, actions):
        after, reward, terminated = self.advance(actions)
        if self.fault == "state" and self.env_id in check_env.TABLES:
            after = np.where(self.draws.random(self.num_envs) < 0.01, self.state, after)
        elif self.fault == "state" and self.env_id != "Catch-v0":
            after = after * 1.001
        if self.fault == "reward":
            reward = reward + 0.5
        if self.fault == "ends":
            terminated = terminated | (self.draws.random(self.num_envs) < 0.05)
        self.elapsed += 1
        truncated = (self.elapsed >= self.limit) & ~terminated
        if self.autoreset == "next_step":
            fresh = self.ended
            terminated, truncated, reward = terminated & ~fresh, truncated & ~fresh, np.where(fresh, 0.0, reward)
            self.ended = terminated | truncated
        else:
            fresh = terminated | truncated
        pick = fresh.reshape(-1, *[1] * (after.ndim - 1))
        self.state = np.where(pick, self.first(), after)
        self.elapsed = np.where(fresh, 0, self.elapsed)
        return self.shown(), reward, terminated, truncated


ENVIRONMENTS = ["CartPole-v1", "MountainCar-v0", "Acrobot-v1", "Pendulum-v1", "CliffWalking-v1", "Taxi-v4", "Catch-v0"]
ENVIRONMENTS += ["FrozenLake-v1", "DeepSea-v0"]


@pytest.mark.parametrize("autoreset", ["next_step", "same_step"])
@pytest.mark.parametrize("env_id", ENVIRONMENTS)
def test_right_environments_pass(env_id, autoreset):
    envs = PlainEnvs(env_id, autoreset=autoreset, size=6 if env_id == "DeepSea-v0" else 0)
    assert len(envs.check()) == 8
    assert envs.measure("step", {}, 0.001) > 0


@pytest.mark.parametrize(
    ("env_id", "fault", "message"),
    [
        *((env_id, "state", "an observation is off") for env_id in ENVIRONMENTS[:7]),
        *((env_id, "reward", "reward") for env_id in ENVIRONMENTS),
        *((env_id, "ends", "'terminated'|does not end") for env_id in ENVIRONMENTS),
        ("MountainCar-v0", "limit", "truncated before 200"),
        ("Pendulum-v1", "limit", "truncated before 200"),
        ("FrozenLake-v1", "less slippery", "not 1/3"),
        ("DeepSea-v0", "mapping", "cost of its move|both ways"),
    ],
)
def test_wrong_environments_are_stopped(env_id, fault, message):
    with pytest.raises(WrongResultError, match=message):
        PlainEnvs(env_id, fault=fault, size=6 if env_id == "DeepSea-v0" else 0).check()


def test_a_wrong_autoreset_is_stopped():
    envs = PlainEnvs("CartPole-v1", autoreset="same_step")
    trace = envs.trace(draw_actions("CartPole-v1", 200, 64, np.random.default_rng(0)))
    check_trace("CartPole-v1", trace)
    claimed = Trace(trace.obs, trace.actions, trace.reward, trace.terminated, trace.truncated, "next_step")
    with pytest.raises(WrongResultError, match="CartPole-v1"):
        check_trace("CartPole-v1", claimed)


def test_actions_are_fresh():
    rng = np.random.default_rng(0)
    first, second = (draw_actions("CartPole-v1", 50, 8, rng) for _ in range(2))
    assert first.shape == (50, 8)
    assert (first != second).any()
    assert draw_actions("Pendulum-v1", 5, 3, rng).shape == (5, 3, 1)


def recorded(env_id, **params):
    envs = OurEnvs({"env_id": env_id, "num_envs": 64, "threads": 1, **params})
    return envs.trace(draw_actions(env_id, 300, 64, np.random.default_rng(2)))


def test_tasks_are_checked_row_by_row():
    trace = recorded("CartPole-v1", tasks=True)
    check_trace("CartPole-v1", trace)
    shifted = {name: np.roll(values, 1) for name, values in trace.tasks.items()}
    for tasks in (None, shifted):
        with pytest.raises(WrongResultError, match="an observation is off"):
            check_trace("CartPole-v1", dataclasses.replace(trace, tasks=tasks))


BREAKOUT = "MinAtar/Breakout-v1"


@pytest.mark.parametrize("autoreset", ["next_step", "same_step"])
def test_right_breakouts_pass(autoreset):
    check_trace(BREAKOUT, recorded(BREAKOUT, autoreset=autoreset))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"obs": lambda t: np.where(np.arange(301)[:, None, None, None, None] % 2, t.obs, t.obs[::-1])},
            "trail|further|moves",
        ),
        ({"obs": lambda t: t.obs | (np.arange(4) == 1)}, "exactly one ball"),
        ({"obs": lambda t: t.obs[..., [0, 2, 1, 3]]}, "trail"),
        ({"reward": lambda t: t.reward + (t.reward == 1)}, "a reward is not"),
        ({"terminated": lambda t: np.zeros_like(t.terminated)}, "missed ball|trail|further"),
        ({"actions": lambda t: 2 - t.actions}, "of the paddle's moves"),
    ],
)
def test_wrong_breakouts_are_stopped(change, message):
    trace = recorded(BREAKOUT)
    wrong = dataclasses.replace(trace, **{name: make(trace) for name, make in change.items()})
    with pytest.raises(WrongResultError, match=message):
        check_trace(BREAKOUT, wrong)


@pytest.mark.parametrize(
    "params",
    [
        {"env_id": "CartPole-v1", "tasks": True},
        {"env_id": "Pendulum-v1"},
        {"env_id": "DeepSea-v0", "size": 20},
        {"env_id": "Taxi-v4", "autoreset": "same_step"},
    ],
    ids=lambda params: params["env_id"],
)
def test_the_floor_of_environments_moves_their_bytes(params):
    (floor,) = (make() for make in contestants("env", {"num_envs": 100, "threads": 1, **params}).values())
    assert len(floor.check()) == 8
    assert 0 < floor.measure("step", {}, 0.001) < 1e-5


WORLDS = ["MiniGrid-Empty-8x8-v0", "MiniGrid-DoorKey-8x8-v0", "PointRobot-v0", "Maze-v0"]


@pytest.mark.parametrize("autoreset", ["next_step", "same_step"])
@pytest.mark.parametrize("env_id", WORLDS)
def test_right_worlds_pass(env_id, autoreset):
    check_trace(env_id, recorded(env_id, autoreset=autoreset))


@pytest.mark.parametrize(
    ("env_id", "change", "message"),
    [
        *((i, {"reward": lambda t: t.reward + 0.5 * t.done}, "a reward") for i in WORLDS[:2]),
        *((i, {"obs": lambda t: t.obs + np.uint8(1)}, "an object the level has not") for i in WORLDS[:2]),
        *((i, {"actions": lambda t: 6 - t.actions}, "'done' changed the image") for i in WORLDS[:2]),
        ("MiniGrid-Empty-8x8-v0", {"truncated": lambda t: np.zeros_like(t.truncated)}, "'done' changed|not truncated"),
        ("PointRobot-v0", {"obs": lambda t: t.obs * np.float32(1.01)}, "an observation is off"),
        ("PointRobot-v0", {"reward": lambda t: np.roll(t.reward, 1, axis=1)}, "no distance|limit"),
        ("PointRobot-v0", {"truncated": lambda t: np.zeros_like(t.truncated)}, "not truncated|an observation is off"),
        ("Maze-v0", {"actions": lambda t: (t.actions + 1) % 4}, "the last action"),
        ("Maze-v0", {"obs": lambda t: np.where(np.arange(15) < 9, 1 - t.obs, t.obs)}, "through a wall"),
        ("Maze-v0", {"terminated": lambda t: np.zeros_like(t.terminated)}, "last action|does not end"),
    ],
)
def test_wrong_worlds_are_stopped(env_id, change, message):
    trace = recorded(env_id)
    wrong = dataclasses.replace(trace, **{name: make(trace) for name, make in change.items()})
    with pytest.raises(WrongResultError, match=message):
        check_trace(env_id, wrong)


def as_xminigrids(trace):
    """A run of ours as xminigrid shows it: rows and columns exchanged, its numbers of objects, no states."""
    numbers = np.zeros(9, np.uint8)
    numbers[[1, 2, 4, 5, 8]] = [1, 2, 8, 7, 6]
    images = trace.obs.swapaxes(2, 3)[..., :2].copy()
    images[..., 0] = numbers[images[..., 0]]
    return dataclasses.replace(trace, obs=images)


@pytest.mark.parametrize("env_id", WORLDS[:2])
def test_xminigrids_images_are_checked_too(env_id):
    trace = as_xminigrids(recorded(env_id, autoreset="same_step"))
    check_trace(env_id, trace, own_rules=True)
    wall = trace.obs.copy()
    wall[3, 1, 6, 3] = 2
    for change, message in (
        ({"reward": trace.reward + 0.5 * trace.done}, "a reward"),
        ({"obs": trace.obs + np.uint8(3)}, "an object the level has not"),
        ({"obs": wall}, "stands in a wall"),
        ({"obs": np.zeros_like(trace.obs)}, "no action changes the image"),
        ({"obs": trace.obs[..., :1]}, "observations of shape"),
    ):
        with pytest.raises(WrongResultError, match=message):
            check_trace(env_id, dataclasses.replace(trace, **change), own_rules=True)
