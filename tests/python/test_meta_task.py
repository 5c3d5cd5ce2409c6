"""Tasks by content, and sets of them: equal spaces, disjoint parts, one left out, with the data they have."""

import copy
import itertools
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest

import metarl_core as mc
from metarl_core.tasks import GridTasks, MetaTask, Task, TaskDataset, task_family
from metarl_core.tasks._spaces import space_difference
from metarl_core.vector import spaces as own_spaces

SPLITS = ("train", "val", "test")


def poles(count, **env_params):
    return [Task(f"pole {i}", "CartPole-v1", {"length": 0.1 * (i + 1)}, env_params) for i in range(count)]


def data(tasks, rows=10):
    return {task.name: np.arange(rows) + 100 * i for i, task in enumerate(tasks)}


# Task


def test_a_task_makes_its_environment():
    task = Task("heavy", "CartPole-v1", {"masspole": 0.7, "gravity": 3.7}, {"max_episode_steps": 50})
    envs = task.make_vec(4, seed=5, autoreset_mode="same_step", task_id=9)
    assert (envs.get_tasks()["masspole"] == 0.7).all()
    assert envs.max_episode_steps == 50
    obs, info = envs.reset()
    assert info["task_id"].tolist() == [9] * 4
    # Bit for bit the environment that is made with these constants.
    other = mc.make_vec(
        "CartPole-v1", 4, seed=5, masspole=0.7, gravity=3.7, max_episode_steps=50, autoreset_mode="same_step"
    )
    np.testing.assert_array_equal(obs, other.reset()[0])
    actions = np.random.default_rng(0).integers(2, size=(60, 4))
    for row in actions:
        for mine, its in zip(envs.step(row)[:4], other.step(row)[:4], strict=True):
            np.testing.assert_array_equal(mine, its)
    assert "task_id" not in Task("plain", "CartPole-v1").make_vec(2).reset()[1]


def test_options_count_before_what_the_task_says():
    task = Task("short", "CartPole-v1", env_params={"max_episode_steps": 50})
    assert task.make_vec(1, max_episode_steps=7).max_episode_steps == 7


def test_a_task_of_another_package():
    task = Task("small", "gymnasium:CartPole-v1", {"length": 0.25}, {"backend": "serial"})
    envs = task.make_vec(2)
    envs.reset(seed=0)
    assert envs.get_attr("length") == (0.25, 0.25)
    envs.close()


def on_ice(env, task):
    import gymnasium

    return gymnasium.make("FrozenLake-v1", success_rate=task["grip"])


def test_a_task_that_a_function_applies():
    wrapped = {"backend": "serial", "task_parameters": ["grip"]}
    tasks = [Task(f"grip {grip}", "gymnasium:FrozenLake-v1", {"grip": grip}, wrapped) for grip in (0.4, 0.6, 0.8)]
    meta = MetaTask(tasks, options={"apply_task": on_ice})
    assert meta.observation_space.n == 16
    envs = meta["grip 0.6"].make_vec(2, apply_task=on_ice)
    envs.reset(seed=0)
    assert envs.get_tasks()["grip"].tolist() == [0.6, 0.6]
    envs.close()


def test_equal_by_content():
    one = Task("a", "FrozenLake-v1", {"is_slippery": True, "map_seed": np.nan}, {"reward_schedule": [1, 0, 0]}, "words")
    same = Task("a", "FrozenLake-v1", {"map_seed": None, "is_slippery": 1}, {"reward_schedule": np.array([1, 0, 0])})
    assert one == same
    assert hash(one) == hash(same)
    assert len({one, same}) == 1
    for other in (
        Task("b", "FrozenLake-v1", one.params, one.env_params),
        Task("a", "CartPole-v1", one.params, one.env_params),
        Task("a", "FrozenLake-v1", {**one.params, "map_seed": 3}, one.env_params),
        Task("a", "FrozenLake-v1", one.params, {"reward_schedule": (1, 0, 1)}),
        Task("a", "FrozenLake-v1", one.params),
    ):
        assert one != other
        assert len({one, other}) == 2
    assert one != "a"


@pytest.mark.parametrize(
    "task",
    [
        Task("a", "CartPole-v1"),
        Task("é", "CartPole-v1", {"length": 1 / 3, "force_mag": np.float32(0.1)}, description="a pole"),
        Task("m", "FrozenLake-v1", {"map_seed": None}, {"desc": ["SF", "FG"], "reward_schedule": (1, 0, 0.5)}),
        Task("w", "module:Env-v0", {"x": 1}, {"backend": "thread", "nested": {"a": [1, {"b": None}], "c": "d"}}),
    ],
    ids=lambda task: task.name,
)
def test_round_trips(task):
    text = task.to_json()
    assert json.loads(text)["name"] == task.name
    for again in (
        Task.from_json(text),
        Task.from_dict(task.to_dict()),
        pickle.loads(pickle.dumps(task)),
        copy.deepcopy(task),
    ):
        assert again == task
        assert hash(again) == hash(task)
        assert again.description == task.description
        assert again.to_json() == text
    assert eval(repr(task)) == task


def test_equal_in_another_process():
    """The hash of a string differs there; equality does not."""
    task = poles(1)[0]
    code = f"from metarl_core.tasks import Task; print(Task.from_json({task.to_json()!r}).to_json())"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert Task.from_json(out) == task


def test_a_task_cannot_be_changed():
    given = {"length": 0.5}
    task = Task("a", "CartPole-v1", given, {"nested": {"x": [1]}})
    given["length"] = 9.0
    assert task.params["length"] == 0.5
    with pytest.raises(AttributeError):
        task.name = "b"
    with pytest.raises(TypeError):
        task.params["length"] = 1.0
    with pytest.raises(TypeError):
        task.env_params["nested"]["x"] = 2
    task.to_dict()["params"]["length"] = 9.0
    assert task.params["length"] == 0.5


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: Task("", "CartPole-v1"), ValueError, "name is empty"),
        (lambda: Task("a", print), TypeError, "env_id must be a string, got builtin_function_or_method"),
        (lambda: Task("a", "x", {"p": "1"}), TypeError, r"task 'a': params\['p'\] is '1'; must be a number or None"),
        (lambda: Task("a", "x", {"p": [1, 2]}), TypeError, "must be a number or None"),
        (lambda: Task("a", "x", {"p": np.inf}), ValueError, r"task 'a': params\['p'\] is inf; must be finite"),
        (lambda: Task("a", "x", [1]), TypeError, "task 'a': params must be a mapping of names"),
        (lambda: Task("a", "x", {1: 2}), TypeError, "task 'a': params must be a mapping of names"),
        (
            lambda: Task("a", "x", env_params={"f": [1, print]}),
            TypeError,
            r"task 'a': env_params\['f'\]\[1\] is <built-in function print>; must be",
        ),
        (
            lambda: Task("a", "x", env_params={"f": np.nan}),
            ValueError,
            r"task 'a': env_params\['f'\] is nan; must be f",
        ),
        (
            lambda: Task("a", "x", env_params={"seed": 1}),
            ValueError,
            "task 'a': env_params has 'seed'; give that",
        ),
        (lambda: Task("a", "x", {"p": 1}, {"p": 1}), ValueError, "task 'a': 'p' is in params and in env_params"),
        (lambda: Task.from_dict({"name": "a"}), ValueError, "the task has no 'env_id'"),
        (
            lambda: Task.from_dict({"name": "a", "env_id": "x", "z": 1}),
            ValueError,
            "a task has no 'z'; it has name, env",
        ),
        (lambda: Task.from_json("[]"), TypeError, "values must be a mapping, got list"),
        (lambda: Task.from_json("{"), ValueError, "Expecting"),
        (lambda: Task("a", "Pong").make_vec(), ValueError, "task 'a': unknown environment 'Pong'"),
        (
            lambda: Task("a", "CartPole-v1", {"z": 1}).make_vec(),
            TypeError,
            "task 'a': CartPole-v1 has no task parameter",
        ),
        (lambda: Task("a", "CartPole-v1", env_params={"z": 1}).make_vec(), TypeError, "task 'a': .*'z'"),
        (
            lambda: Task("a", "CartPole-v1", {"length": -1}).make_vec(),
            ValueError,
            r"task 'a': length\[0\] is -1.0; must be",
        ),
        (
            lambda: Task("a", "CartPole-v1", {"length": None}).make_vec(),
            TypeError,
            "task 'a': length must be real numbers",
        ),
    ],
)
def test_wrong_tasks(call, error, match):
    with pytest.raises(error, match=match):
        call()


# MetaTask


def test_a_set_of_tasks():
    tasks = poles(4)
    meta = MetaTask(tasks, data(tasks[:2]))
    assert meta.names == ("pole 0", "pole 1", "pole 2", "pole 3")
    assert len(meta) == 4
    assert list(meta) == tasks
    assert meta["pole 2"] is meta[2] is tasks[2]
    assert "pole 2" in meta
    assert tasks[1] in meta
    assert Task("pole 1", "Acrobot-v1") not in meta
    assert meta.observation_space.shape == (4,)
    assert meta.action_space.n == 2
    assert meta.parts is None
    some = meta.subset(["pole 3", tasks[0]])
    assert some.names == ("pole 3", "pole 0")
    assert list(some.datasets) == ["pole 0"]
    assert some.observation_space is meta.observation_space


def test_mixtures_have_names_and_data_in_order():
    tasks = poles(3)
    datasets = data(tasks)
    meta = MetaTask(tasks, datasets)
    mixture = meta.mixture()
    assert mixture.names == meta.names
    assert all(mine is datasets[name] for name, mine in zip(*mixture, strict=True))
    mixture = meta.mixture([tasks[2], "pole 0"])
    assert mixture.names == ("pole 2", "pole 0")
    assert mixture.datasets[1] is datasets["pole 0"]


def test_recorded_data_of_real_tasks():
    """What trains and what validates hold their own rows alone, whoever looks at them."""
    tasks = poles(4)
    record = TaskDataset.record
    meta = MetaTask(
        tasks, {t.name: record(t.env_id, steps=200 + i, task=t.params, seed=i) for i, t in enumerate(tasks)}
    )
    found = meta.leave_one_out("pole 2", leak_free=True, held_out=0.25, seed=1)
    for name in found.train.names:
        dataset, train, held = meta.datasets[name], found.train.datasets[name], found.validation.datasets[name]
        for part, rows in ((train, found.train_rows[name]), (held, found.validation_rows[name])):
            assert part[:].keys() == dataset[rows].keys()
            for column, values in dataset[rows].items():
                np.testing.assert_array_equal(part[:][column], values)
        assert len(train) + len(held) == len(dataset)
        first = found.validation_rows[name][0]
        if 0 < first < len(train):  # no episode goes on across the gap
            assert train.episode[first - 1] != train.episode[first]
    mixed = TaskDataset.concatenate(meta.leave_one_out("pole 2").train.mixture().datasets)
    assert len(mixed) == 200 + 201 + 203


def test_all_tasks_in_one_batch():
    meta = MetaTask.from_family("PointRobot-v0", 5, seed=3, env_params={"max_episode_steps": 9})
    columns = meta.columns()
    drawn = task_family("PointRobot-v0").sample_tasks(5, seed=3)
    assert set(columns) == set(drawn)
    for name in drawn:
        np.testing.assert_array_equal(columns[name], drawn[name])
    envs = mc.make_vec("PointRobot-v0", 5, seed=0, **meta[0].env_params)
    envs.set_tasks(columns)
    for i, task in enumerate(meta):
        alone = task.make_vec(5, seed=0)
        assert {name: envs.get_tasks()[name][i] for name in task.params} == dict(task.params)
        envs.reset(seed=0)
        alone.reset(seed=0)
        pushes = np.full((5, 2), 0.1, np.float32)
        assert envs.step(pushes)[1][i] == alone.step(pushes)[1][i]
    lakes = [Task("own", "FrozenLake-v1", {"map_seed": None}), Task("drawn", "FrozenLake-v1", {"map_seed": 3})]
    np.testing.assert_array_equal(MetaTask(lakes).columns()["map_seed"], [np.nan, 3.0])
    with pytest.raises(ValueError, match="tasks 'pole 0' and 'short' have different environments or env_params"):
        MetaTask([*poles(1), Task("short", "CartPole-v1", {"length": 1}, {"max_episode_steps": 9})]).columns()
    with pytest.raises(ValueError, match="only one of the tasks 'pole 0' and 'heavy' has the parameter 'length'"):
        MetaTask([*poles(1), Task("heavy", "CartPole-v1", {"masspole": 1})]).columns()


def test_spaces_that_differ_are_told():
    tasks = [*poles(2), Task("swing", "Acrobot-v1"), Task("deep", "DeepSea-v0")]
    with pytest.raises(
        ValueError, match=r"'pole 0' and 'swing' have different observation spaces: shape \(4,\) against"
    ):
        MetaTask(tasks)
    small, large = (Task(f"{n}", "DeepSea-v0", env_params={"size": n}) for n in (5, 6))
    with pytest.raises(ValueError, match=r"tasks '5' and '6' have different .* \(5, 5\) against \(6, 6\); one learner"):
        MetaTask([small, large])
    two, three = (Task(f"{n}", "BernoulliBandit-v0", env_params={"num_arms": n}) for n in (2, 3))
    with pytest.raises(ValueError, match="'2' and '3' have different observation spaces: shape"):
        MetaTask([two, three])
    games = [Task(n, f"MinAtar/{n}-v1") for n in ("Breakout", "Freeway")]
    with pytest.raises(ValueError, match="'Breakout' and 'Freeway' have different observation spaces: shape"):
        MetaTask(games)
    lake, lost = Task("lake", "FrozenLake-v1"), Task("taxi", "Taxi-v4")
    with pytest.raises(ValueError, match="'lake' and 'taxi' have different observation spaces: n 16 against 500"):
        MetaTask([lake, lost])
    fast = Task("fast", "MountainCar-v0", env_params={"max_speed": 0.2})
    with pytest.raises(ValueError, match=r"'car' and 'fast' have different observation spaces: low .* against"):
        MetaTask([Task("car", "MountainCar-v0"), fast])
    with pytest.raises(ValueError, match="'car' and 'pull' have different action spaces: Discrete against Box"):
        MetaTask([Task("car", "MountainCar-v0"), Task("pull", "MountainCarContinuous-v0")])


def test_environments_with_equal_spaces_go_together():
    levels = [f"MiniGrid-{level}-v0" for level in ("Empty-5x5", "DoorKey-5x5", "Unlock")]
    meta = MetaTask([Task(level, level) for level in levels])
    assert meta.observation_space.shape == (7, 7, 3)


def test_every_task_is_checked_when_the_set_is_made():
    with pytest.raises(ValueError, match=r"task 'bad': length\[0\] is -0.1; must be > 0"):
        MetaTask([*poles(3), Task("bad", "CartPole-v1", {"length": -0.1})])


@pytest.mark.parametrize("with_gymnasium", [True, False])
def test_how_spaces_differ(with_gymnasium):
    spaces = pytest.importorskip("gymnasium").spaces if with_gymnasium else own_spaces

    def box(low=0.0, high=1.0, shape=(2,), dtype=np.float32):
        return spaces.Box(low, high, shape, dtype)

    pairs = [
        (box(), box(shape=(3,)), r"shape (2,) against (3,)"),
        (box(), box(dtype=np.float64), "dtype float32 against float64"),
        (box(), box(low=-1.0), "low 0.0 everywhere against -1.0 everywhere"),
        (box(), box(high=np.array([1, 2], np.float32)), "high 1.0 everywhere against [1. 2.]"),
        (box(), spaces.Discrete(2), "Box against Discrete"),
        (spaces.Discrete(2), spaces.Discrete(3), "n 2 against 3"),
        (spaces.MultiDiscrete([2, 3]), spaces.MultiDiscrete([2, 4]), "nvec [2 3] against [2 4]"),
        (
            spaces.Tuple([spaces.Discrete(2), box()]),
            spaces.Tuple([spaces.Discrete(2), box(high=2.0)]),
            "part 1: high 1.0 everywhere against 2.0 everywhere",
        ),
        (spaces.Tuple([box()]), spaces.Tuple([box(), box()]), "parts [0] against [0, 1]"),
    ]
    if with_gymnasium:
        pairs += [
            (spaces.Discrete(2), spaces.Discrete(2, start=1), "start 0 against 1"),
            (spaces.Dict(a=box()), spaces.Dict(b=box()), "parts ['a'] against ['b']"),
            (spaces.Dict(a=box()), spaces.Dict(a=spaces.Discrete(2)), "part 'a': Box against Discrete"),
            (spaces.Text(3), spaces.Text(4), f"{spaces.Text(3)} against {spaces.Text(4)}"),
        ]
    for first, second, expected in pairs:
        assert space_difference(first, second) == expected
        assert space_difference(second, first) is not None
        for space in (first, second):
            assert space_difference(space, copy.deepcopy(space)) is None


def test_without_gymnasium(monkeypatch):
    """Spaces of our own have no equality."""
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "gymnasium" else find(name, *rest)
    )
    meta = MetaTask([*poles(2), Task("own", "CartPole-v1", env_params={"max_episode_steps": 9})])
    assert type(meta.observation_space).__module__ == "metarl_core.vector.spaces"
    with pytest.raises(ValueError, match="different observation spaces: shape"):
        MetaTask([*poles(2), Task("swing", "Acrobot-v1")])


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Maze-v0", "SparsePointRobot-v0"])
def test_a_family(env_id):
    meta = MetaTask.from_family(env_id, 6, split="val", seed=4)
    drawn = task_family(env_id).sample_tasks(6, "val", seed=4)
    assert meta.names == tuple(f"{env_id}/val-{i}" for i in range(6))
    for i, task in enumerate(meta):
        assert task.params == {name: values[i] for name, values in drawn.items()}
    assert meta.parts is None
    assert len(meta.splits().train) == 4


def test_a_family_in_its_own_parts():
    counts = {"train": 5, "val": 2, "test": 3}
    meta = MetaTask.from_family("CartPole-v1", counts, seed=1, env_params={"max_episode_steps": 20})
    assert {part: len(names) for part, names in meta.parts.items()} == counts
    split = meta.splits()
    for part, tasks in zip(SPLITS, split, strict=True):
        drawn = task_family("CartPole-v1").sample_tasks(counts[part], part, seed=1)
        assert [task.params["length"] for task in tasks] == drawn["length"].tolist()
        assert all(task.env_params == {"max_episode_steps": 20} for task in tasks)
        sampled = meta.sample_tasks(counts[part], part)
        assert {task.name for task in sampled} == set(tasks.names)
    # A new division would train on the family's test tasks.
    for call in (lambda: meta.splits(0.8, 0.1, 0.1), lambda: meta.leave_one_out(meta[0])):
        with pytest.raises(ValueError, match="these tasks have parts already, which this would mix; use splits"):
            call()
    assert len(split.train.leave_one_out(split.train[0]).train) == 4
    assert MetaTask.from_family("CartPole-v1", {"train": 2}).splits()[1:] == (None, None)


def test_a_distribution_of_ones_own():
    grid = GridTasks({"length": [0.2, 0.4, 0.6], "gravity": [5.0, 10.0]})
    meta = MetaTask.from_family("CartPole-v1", {"train": 4, "val": 1, "test": 1}, family=grid)
    assert {(task.params["length"], task.params["gravity"]) for task in meta} == set(
        itertools.product([0.2, 0.4, 0.6], [5.0, 10.0])
    )


@pytest.mark.parametrize("count", range(3, 24))
@pytest.mark.parametrize(
    "shares", [(0.6, 0.2, 0.2), (0.5, 0.5, 0.0), (1.0, 0.0, 0.0), (0.98, 0.01, 0.01), (0.1, 0.2, 0.7)]
)
def test_parts_are_disjoint_and_complete(count, shares):
    meta = MetaTask(poles(count))
    parts = meta.splits(*shares, seed=count)
    names = [part.names for part in parts if part is not None]
    assert sorted(itertools.chain(*names)) == sorted(meta.names)
    for part, share in zip(parts, shares, strict=True):
        assert (part is None) == (share == 0)
        if part is not None:
            # Rounded, but one at least, which the largest part gives.
            assert abs(len(part) - share * count) < 1 + (min(s for s in shares if s) * count < 1) * 2
            assert list(part.names) == [name for name in meta.names if name in part.names]


def test_the_division_follows_the_seed():
    meta = MetaTask(poles(20), data(poles(20)))
    first, again, other = meta.splits(seed=1), meta.splits(0.6, 0.2, 0.2, seed=1), meta.splits(seed=2)
    assert [part.names for part in first] == [part.names for part in again]
    assert first.train.names != other.train.names
    assert [len(part) for part in first] == [12, 4, 4]
    assert set(first.test.datasets) == set(first.test.names)
    # Each task is a test task in a fifth of the divisions.
    counts = dict.fromkeys(meta.names, 0)
    for seed in range(500):
        for name in meta.splits(seed=seed).test.names:
            counts[name] += 1
    assert min(counts.values()) > 60
    assert max(counts.values()) < 140


def test_drawn_tasks_are_different_ones_of_their_part():
    meta = MetaTask(poles(20))
    split = meta.splits()
    for part, tasks in zip(SPLITS, split, strict=True):
        drawn = meta.sample_tasks(3, part, seed=7)
        assert len(set(drawn)) == 3
        assert {task.name for task in drawn} <= set(tasks.names)
        assert drawn == meta.sample_tasks(3, part, seed=7)
    assert meta.sample_tasks(12, seed=0) != meta.sample_tasks(12, seed=1)
    assert {task.name for task in meta.sample_tasks(20, None)} == set(meta.names)


def test_one_left_out_as_the_article_says():
    tasks = poles(5)
    datasets = data(tasks)
    meta = MetaTask(tasks, datasets)
    for test in tasks:
        found = meta.leave_one_out(test)
        assert found.train.names == tuple(name for name in meta.names if name != test.name)
        assert found.validation.names == found.test.names == (test.name,)
        assert found.transductive
        assert found.train_rows is found.validation_rows is None
        assert found.validation.datasets[test.name] is datasets[test.name]
        assert test.name not in found.train.datasets


def test_one_left_out_without_a_leak():
    tasks = poles(5)
    meta = MetaTask(tasks, data(tasks))
    chosen = set()
    for test in meta.names:
        for seed in range(30):
            found = meta.leave_one_out(test, leak_free=True, seed=seed)
            assert found.test.names == (test,)
            assert len(found.validation) == 1
            assert len(found.train) == 3
            # The three together are all tasks, each once.
            assert sorted([*found.train.names, *found.validation.names, test]) == sorted(meta.names)
            assert not found.transductive
            assert test not in {**found.train.datasets, **found.validation.datasets}
            chosen.add((test, found.validation.names[0]))
    assert len(chosen) == 20
    found = meta.leave_one_out("pole 0", leak_free=True, validation_task=tasks[3])
    assert found.validation.names == ("pole 3",)
    assert found.train.names == ("pole 1", "pole 2", "pole 4")
    # Nobody asks for data of a task that is not trained on.
    few = MetaTask(tasks, data(tasks[1:]))
    assert len(few.leave_one_out("pole 0", leak_free=True).train) == 3


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.001, 0.999])
def test_one_left_out_with_a_part_of_the_data_held_out(share):
    tasks = poles(4)
    meta = MetaTask(tasks, {task.name: range(2 + 37 * i) for i, task in enumerate(tasks)})
    starts = set()
    for seed in range(40):
        found = meta.leave_one_out("pole 1", leak_free=True, held_out=share, seed=seed)
        assert found.train.names == found.validation.names == ("pole 0", "pole 2", "pole 3")
        assert not found.transductive
        assert set(found.train_rows) == set(found.validation_rows) == set(found.train.names)
        for name in found.train.names:
            rows, held = found.train_rows[name], found.validation_rows[name]
            count = len(meta.datasets[name])
            assert rows.dtype == held.dtype == np.int64
            np.testing.assert_array_equal(np.sort(np.concatenate([rows, held])), np.arange(count))
            assert len(held) == min(max(round(share * count), 1), count - 1)
            np.testing.assert_array_equal(held, np.arange(held[0], held[0] + len(held)))  # one block
            assert (np.diff(rows) > 0).all()
            starts.add(held[0])
    assert len(starts) > 1


def test_what_needs_more_tasks_says_so():
    meta = MetaTask(poles(2))
    meta.require(2, "this")
    with pytest.raises(
        ValueError, match=r"task embeddings needs at least 3 tasks, and there are 2 \(pole 0, pole 1\); add"
    ):
        meta.require(3, "task embeddings")
    with pytest.raises(ValueError, match="leaving one task out needs at least 2 tasks, and there is 1"):
        MetaTask(poles(1)).leave_one_out("pole 0")
    with pytest.raises(ValueError, match="another one for validation, needs at least 3 tasks, and there are 2"):
        meta.leave_one_out("pole 0", leak_free=True)
    with pytest.raises(ValueError, match="a division into train, val, test needs at least 3 tasks, and there are 2"):
        meta.splits()
    assert [len(part) for part in meta.splits(0.5, 0.5)[:2]] == [1, 1]


MANY = MetaTask(poles(5), data(poles(4)))


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: MetaTask([]), ValueError, "tasks is empty; must have at least one task"),
        (lambda: MetaTask(["a"]), TypeError, r"tasks\[0\] must be a Task, got str"),
        (lambda: MetaTask([*poles(2), *poles(1)]), ValueError, "tasks has 'pole 0' twice"),
        (
            lambda: MetaTask([*poles(2), Task("copy", "CartPole-v1", {"length": 0.2}, {}, "other words")]),
            ValueError,
            "tasks 'pole 1' and 'copy' are the same but for their names; leave one out",
        ),
        (lambda: MetaTask(poles(2), [1]), TypeError, "datasets must be a mapping of task name to data, got list"),
        (lambda: MetaTask(poles(2), {"x": [1]}), ValueError, "datasets has 'x', which is no task; there are 'pole 0'"),
        (lambda: MetaTask(poles(2), {"pole 0": 3}), TypeError, r"datasets\['pole 0'\] is a int, which has no len"),
        (lambda: MetaTask(poles(2), {"pole 0": []}), ValueError, r"datasets\['pole 0'\] has no rows; collect some, or"),
        (lambda: MetaTask(poles(2), parts={"dev": ["pole 0"]}), ValueError, "a key of parts is 'dev'; must be one of"),
        (lambda: MetaTask(poles(2), parts={"train": []}), ValueError, r"parts\['train'\] is empty"),
        (lambda: MetaTask(poles(2), parts={"test": ["pole 0"]}), ValueError, "parts has no 'train', only 'test'"),
        (
            lambda: MetaTask(poles(2), parts={"train": ["x"]}),
            ValueError,
            r"parts\['train'\]\[0\] is 'x'; must be one of",
        ),
        (
            lambda: MetaTask(poles(2), parts={"train": ["pole 0"], "test": ["pole 0"]}),
            ValueError,
            "parts has 'pole 0' twice",
        ),
        (lambda: MANY["x"], ValueError, "key is 'x'; must be one of 'pole 0', 'pole 1'"),
        (lambda: MANY.subset([]), ValueError, "tasks is empty; must name at least one"),
        (lambda: MANY.subset(["pole 0", "pole 0"]), ValueError, "tasks has 'pole 0' twice"),
        (lambda: MANY.subset([3]), TypeError, r"tasks\[0\] must be a Task or the name of one, got int"),
        (lambda: MANY.subset([Task("pole 0", "Acrobot-v1")]), ValueError, r"tasks\[0\] is 'pole 0'; must be one of"),
        (lambda: MANY.mixture(), ValueError, "task 'pole 4' has no data; give it in MetaTask"),
        (lambda: MANY.splits(0.5, 0.2, 0.2), ValueError, r"train, val and test are \[0.5, 0.2, 0.2\]; must have sum 1"),
        (lambda: MANY.splits(0.0, 0.5, 0.5), ValueError, "must have sum 1, and train must be > 0"),
        (lambda: MANY.splits(1.5, -0.5, 0.0), ValueError, "train is 1.5; must be a share"),
        (lambda: MANY.splits(seed=-1), ValueError, "seed is -1; must be >= 0"),
        (lambda: MANY.sample_tasks(4), ValueError, "k is 4; must be at most 3, the number of tasks in 'train'"),
        (lambda: MANY.sample_tasks(6, None), ValueError, "k is 6; must be at most 5, the number of tasks in all"),
        (lambda: MANY.sample_tasks(0), ValueError, "k is 0; must be >= 1"),
        (lambda: MANY.sample_tasks(1, "dev"), ValueError, "split is 'dev'; must be one of 'train', 'val', 'test'"),
        (
            lambda: MetaTask(poles(3), parts={"train": ["pole 0"]}).sample_tasks(1, "val"),
            ValueError,
            "split is 'val'; these tasks have no such part, only train",
        ),
        (lambda: MANY.leave_one_out("x"), ValueError, "test_task is 'x'; must be one of"),
        (lambda: MANY.leave_one_out("pole 4"), ValueError, "task 'pole 4' has no data"),
        (lambda: MANY.leave_one_out("pole 0"), ValueError, "task 'pole 4' has no data"),
        (
            lambda: MANY.leave_one_out("pole 0", validation_task="pole 1"),
            ValueError,
            "validation_task is 'pole 1', but without leak_free the test task is what validates",
        ),
        (lambda: MANY.leave_one_out("pole 0", held_out=0.2), ValueError, "held_out is 0.2, but without leak_free"),
        (
            lambda: MANY.leave_one_out("pole 0", leak_free=True, validation_task="pole 0"),
            ValueError,
            "validation_task is 'pole 0', the test task; must be another",
        ),
        (
            lambda: MANY.leave_one_out("pole 4", leak_free=True, validation_task="pole 1", held_out=0.1),
            ValueError,
            "validation_task and held_out are both given",
        ),
        (
            lambda: MANY.leave_one_out("pole 4", leak_free=True, held_out=1.0),
            ValueError,
            r"held_out is 1.0; must be in",
        ),
        (
            lambda: MetaTask(poles(3), {t.name: [1] for t in poles(3)}).leave_one_out(
                "pole 0", leak_free=True, held_out=0.5
            ),
            ValueError,
            "the dataset of task 'pole 1' has 1 row; must have 2",
        ),
        (
            lambda: MetaTask(poles(3)).leave_one_out("pole 0", leak_free=True, held_out=0.5),
            ValueError,
            "task 'pole 1' has no data",
        ),
        (lambda: MetaTask.from_family("Pong", 3), ValueError, "env_id is 'Pong'; must be one of 'Acrobot-v1'"),
        (lambda: MetaTask.from_family("CartPole-v1", 0), ValueError, "k is 0; must be >= 1"),
        (lambda: MetaTask.from_family("CartPole-v1", {}), ValueError, "k is empty"),
        (
            lambda: MetaTask.from_family("CartPole-v1", {"train": 3, "test": 0}),
            ValueError,
            r"k\['test'\] is 0; must be >= 1; leave 'test' out for no such part",
        ),
        (lambda: MetaTask.from_family("CartPole-v1", 3, "dev"), ValueError, "split is 'dev'"),
    ],
)
def test_wrong_sets(call, error, match):
    with pytest.raises(error, match=match):
        call()


def test_environments_are_closed(monkeypatch):
    """Those that are made to compare the spaces, also when the comparison fails."""
    made = []
    from metarl_core.tasks import task as module

    make = module.make_vec
    monkeypatch.setattr(module, "make_vec", lambda *args, **kwargs: made.append(make(*args, **kwargs)) or made[-1])
    MetaTask(poles(30))
    assert len(made) == 1  # one environment for all tasks that differ in params alone
    with pytest.raises(ValueError, match="different observation spaces"):
        MetaTask([Task("a", "CartPole-v1"), Task("b", "Acrobot-v1")])
    with pytest.raises(ValueError, match="must be > 0"):
        Task("a", "CartPole-v1", {"length": 0}).make_vec()
    assert len(made) == 4
    assert all(envs.closed for envs in made)


def test_the_tasks_need_no_torch():
    code = "import sys, metarl_core.tasks, metarl_core.stats; sys.exit(bool({'torch', 'gymnasium'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
