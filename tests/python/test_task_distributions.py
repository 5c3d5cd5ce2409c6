"""Distributions of tasks: reproducible, inside their ranges, with parts that do not overlap."""

import itertools

import numpy as np
import pytest

from metarl_core.tasks import GridTasks, SeedTasks, UniformTasks, task_family

RANGES = {"a": (0.0, 1.0), "b": (-2.0, 2.0), "c": (1.0, 100.0)}
SPLITS = ("train", "val", "test")


def radius(tasks, ranges=RANGES, log=()):
    place = []
    for name, (low, high) in ranges.items():
        value = tasks[name]
        if name in log:
            low, high, value = np.log(low), np.log(high), np.log(value)
        place.append(np.abs(2 * (value - low) / (high - low) - 1))
    return np.max(place, axis=0)


@pytest.mark.parametrize("log", [(), ("c",)])
@pytest.mark.parametrize("split", ["interpolation", "extrapolation"])
def test_parts_are_shells_with_the_asked_shares(split, log):
    tasks = UniformTasks(RANGES, split=split, fractions=(0.5, 0.2, 0.3), log=log)
    reach = {part: radius(tasks.sample_tasks(20_000, part), log=log) for part in SPLITS}
    order = SPLITS if split == "extrapolation" else SPLITS[::-1]
    for inner, outer in itertools.pairwise(order):
        assert reach[inner].max() <= reach[outer].min() + 1e-9
    assert reach[order[-1]].max() <= 1
    shares = dict(zip(SPLITS, (0.5, 0.2, 0.3), strict=True))
    assert reach[order[0]].max() ** 3 == pytest.approx(shares[order[0]], abs=0.01)
    assert reach[order[-1]].min() ** 3 == pytest.approx(1 - shares[order[-1]], abs=0.01)


def test_uniform_within_a_part():
    # Of a shell, the share of a smaller one follows from the volumes, and every face and place is equally likely.
    tasks = UniformTasks(RANGES, split="extrapolation", fractions=(0.4, 0.3, 0.3))
    drawn = tasks.sample_tasks(200_000, "test", seed=1)
    r = radius(drawn)
    assert (r**3 < 0.85).mean() == pytest.approx(0.5, abs=0.005)
    for name, (low, high) in RANGES.items():
        x = 2 * (drawn[name] - low) / (high - low) - 1
        assert x.mean() == pytest.approx(0, abs=0.01)
        assert (np.abs(x) == r).mean() == pytest.approx(1 / 3, abs=0.35)
    everywhere = UniformTasks({"a": (0.0, 1.0)}, split="random").sample_tasks(50_000)["a"]
    counts = np.histogram(everywhere, 20, (0, 1))[0]
    assert ((counts - 2500) ** 2 / 2500).sum() < 19 + 6 * np.sqrt(38)


def test_equal_arguments_give_equal_tasks_and_others_others():
    tasks = UniformTasks(RANGES)
    first = tasks.sample_tasks(10, "val", seed=4)
    again = UniformTasks(RANGES).sample_tasks(10, "val", seed=4)
    for name in RANGES:
        np.testing.assert_array_equal(first[name], again[name])
    for other in (tasks.sample_tasks(10, "val", seed=5), tasks.sample_tasks(10, "train", seed=4)):
        assert (other["a"] != first["a"]).all()


@pytest.mark.parametrize("split", ["random", "interpolation", "extrapolation"])
def test_grid_parts_are_disjoint_and_complete(split):
    grid = GridTasks({"a": np.arange(10), "b": [1, 2, 5, 9, 10]}, split=split)
    parts = {part: set(zip(*grid.tasks(part).values(), strict=True)) for part in SPLITS}
    assert [len(parts[part]) for part in SPLITS] == [30, 10, 10]
    assert len(set.union(*parts.values())) == len(grid) == 50
    drawn = grid.sample_tasks(10, "test", seed=3)
    assert set(zip(*drawn.values(), strict=True)) == parts["test"]
    if split != "random":
        order = SPLITS if split == "extrapolation" else SPLITS[::-1]
        b_place = {1: 1.0, 2: 0.5, 5: 0.0, 9: 0.5, 10: 1.0}
        reach = [[max(abs(2 * a / 9 - 1), b_place[int(b)]) for a, b in parts[part]] for part in order]
        assert max(reach[0]) <= min(reach[1])
        assert max(reach[1]) <= min(reach[2])
    with pytest.raises(ValueError, match="k is 11; must be at most 10, the number of tasks in 'val'"):
        grid.sample_tasks(11, "val")


def test_seeds_are_disjoint():
    seeds = SeedTasks("map_seed", train=50, val=10, test=20)
    drawn = {part: seeds.sample_tasks(n, part)["map_seed"] for part, n in zip(SPLITS, (50, 10, 20), strict=True)}
    assert sorted(np.concatenate(list(drawn.values()))) == list(range(80))
    assert drawn["train"].max() == 49
    with pytest.raises(ValueError, match="k is 11; must be at most 10"):
        seeds.sample_tasks(11, "val")


@pytest.mark.parametrize("env_id", ["BernoulliBandit-v0", "GaussianBandit-v0", "TabularMDP-v0", "Maze-v0"])
def test_families_of_seeds_share_none(env_id):
    family = task_family(env_id, fractions=(0.5, 0.25, 0.25))
    (name,) = family.parameters
    drawn = {part: family.sample_tasks(25_000, part)[name] for part in SPLITS}
    assert len(np.unique(np.concatenate(list(drawn.values())))) == 75_000
    assert drawn["train"].min() >= 0


@pytest.mark.parametrize("split", ["interpolation", "extrapolation"])
def test_goals_on_the_half_circle_are_split_by_angle(split):
    family = task_family("SparsePointRobot-v0", split=split, fractions=(0.5, 0.25, 0.25))
    # How far from straight ahead, as a part of a quarter turn.
    aside = {part: np.abs(family.sample_tasks(5_000, part)["goal_angle"] * 2 / np.pi - 1) for part in SPLITS}
    order = SPLITS if split == "extrapolation" else SPLITS[::-1]
    edges = [0.0, 0.5, 0.75, 1.0] if split == "extrapolation" else [0.0, 0.25, 0.5, 1.0]
    for part, low, high in zip(order, edges, edges[1:], strict=False):
        assert low <= aside[part].min() < low + 0.01
        assert high - 0.01 < aside[part].max() <= high


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: UniformTasks({}), ValueError, "ranges is empty"),
        (lambda: UniformTasks({"a": (1, 1)}), ValueError, r"ranges\['a'\] is \(1, 1\); must be finite, low < high"),
        (lambda: UniformTasks({"a": (0, 1)}, log=["a"]), ValueError, "must be positive, as it is in log"),
        (lambda: UniformTasks({"a": (0, 1)}, log=["b"]), ValueError, "log names 'b'"),
        (lambda: UniformTasks({"a": (0, 1)}, split="middle"), ValueError, "split is 'middle'; must be one of 'random'"),
        (lambda: UniformTasks({"a": (0, 1)}, fractions=(0.5, 0.2, 0.2)), ValueError, "fractions is"),
        (lambda: UniformTasks({"a": (0, 1)}, fractions=(1, 0, 0)).sample_tasks(1, "val"), ValueError, "share .* is 0"),
        (lambda: UniformTasks({"a": (0, 1)}).sample_tasks(0), ValueError, "k is 0; must be >= 1"),
        (lambda: UniformTasks({"a": (0, 1)}).sample_tasks(1.5), TypeError, "k must be an integer, got float"),
        (lambda: UniformTasks({"a": (0, 1)}).sample_tasks(1, "dev"), ValueError, "split is 'dev'"),
        (lambda: UniformTasks({"a": (0, 1)}).sample_tasks(1, seed=-1), ValueError, "seed is -1; must be >= 0"),
        (lambda: GridTasks({"a": [1, 1]}), ValueError, "must be distinct finite numbers"),
        (lambda: GridTasks({}), ValueError, "values is empty"),
        (lambda: SeedTasks("s", train=0), ValueError, "train is 0; must be >= 1"),
        (
            lambda: task_family("Maze-v0", split="extrapolation"),
            ValueError,
            "must be None or 'random', as the tasks of",
        ),
        (lambda: task_family("Maze-v0", fractions=(1, 0, 0)), ValueError, "val is 0; must be >= 1"),
        (lambda: task_family("Pong"), ValueError, "env_id is 'Pong'; must be one of 'Acrobot-v1'"),
    ],
)
def test_wrong_uses(call, error, match):
    with pytest.raises(error, match=match):
        call()
