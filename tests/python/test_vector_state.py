"""State of some rows, and snapshots."""

from __future__ import annotations

import json

import numpy as np
import pytest
from vector_helpers import IDS, rollout

from metarl_core import CheckpointMismatchError, CheckpointVersionError, ResetNeededError, env_spec, make_vec
from metarl_core.runs.checkpoint import read_checkpoint, write_checkpoint
from metarl_core.tasks import task_family

MODES = ["next_step", "same_step", "disabled"]


def make(env_id, mode="next_step", rows=9, **kwargs):
    params = {"DeepSea-v0": {"deterministic": False}, "Taxi-v4": {"is_rainy": True}}.get(env_id, {})
    return make_vec(env_id, rows, autoreset_mode=mode, **{"max_episode_steps": 12, "seed": 7, **params, **kwargs})


def check_same_state(envs, state):
    for key, value in envs.get_state().items():
        np.testing.assert_array_equal(value, state[key], err_msg=key)


@pytest.mark.parametrize("env_id", IDS)
def test_rows_are_those_of_the_whole(env_id):
    envs = make(env_id)
    envs.reset()
    rollout(envs, 17)
    whole = envs.get_state()
    rows = [4, 0, 8, 4]
    some = envs.get_state(rows)
    assert some.keys() == whole.keys()
    for key, value in some.items():
        np.testing.assert_array_equal(value, whole[key][rows])
        assert value.dtype == whole[key].dtype
    assert all(len(value) == 0 for value in envs.get_state([]).values())
    envs.set_state(envs.get_state([]), rows=[])
    check_same_state(envs, whole)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("env_id", IDS)
def test_planning_from_copies_of_a_row(env_id, mode):
    envs = make(env_id, mode)
    envs.reset()
    envs.rollout("random", 5)
    if mode == "disabled":
        ended = envs.get_state()["done"]
        if ended.any():
            envs.reset(options={"reset_mask": ended})
    before = envs.get_state()
    others = np.array([1, 2, 4, 6])
    envs.set_state(envs.get_state([3] * 4), rows=others)
    copied = envs.get_state()
    untouched = np.setdiff1d(np.arange(9), others)
    for key, value in copied.items():
        np.testing.assert_array_equal(value[untouched], before[key][untouched])
    future = envs.rollout("random", 30)  # whose actions are the row's own too
    for row in others:
        for name in ("obs", "actions", "reward", "terminated", "truncated"):
            np.testing.assert_array_equal(getattr(future, name)[:, row], getattr(future, name)[:, 3])
    # The future that was tried out is forgotten, in these rows and the others.
    envs.set_state(before)
    envs.set_state(envs.get_state([3] * 4), rows=others)
    again = envs.rollout("random", 30)
    np.testing.assert_array_equal(again.obs, future.obs)
    # Other streams have other futures.
    if mode != "disabled" and env_id in ("CartPole-v1", "FrozenLake-v1", "Taxi-v4"):
        envs.set_state({**envs.get_state([3] * 4), "stream": [100, 101, 102, 103]}, rows=others)
        assert len({envs.rollout("random", 40).actions[:, row].tobytes() for row in others}) == 4


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
def test_tasks_travel_with_rows(env_id, mode):
    def fresh():
        envs = make(env_id, mode)
        envs.sample_tasks_at_reset(task_family(env_id).sample_tasks(50, seed=2))
        envs.reset()
        return envs

    envs, other = fresh(), fresh()
    other.rollout("random", 4)
    rows = [8, 1, 5]
    other.set_state(envs.get_state(rows), rows=rows)
    name = envs.task_parameters[0]
    np.testing.assert_array_equal(other.get_tasks()[name][rows], envs.get_tasks()[name][rows])
    np.testing.assert_array_equal(other.task_id[rows], envs.task_id[rows])
    # And the tasks of later episodes too, for which resets draw.
    mine, theirs = envs.rollout("random", 40), other.rollout("random", 40)
    for key in ("obs", "reward"):
        np.testing.assert_array_equal(getattr(mine, key)[:, rows], getattr(theirs, key)[:, rows])
    np.testing.assert_array_equal(mine.info["task_id"][:, rows], theirs.info["task_id"][:, rows])
    if mode != "disabled":
        assert len(np.unique(theirs.info["task_id"][:, rows])) > 4
    # Into an environment without tasks: the others keep its own parameters.
    plain = make(env_id, mode)
    plain.reset()
    plain.set_state(envs.get_state(rows), rows=rows)
    assert plain.task_id.tolist() == [envs.task_id[i] if i in rows else -1 for i in range(9)]
    others = [i for i in range(9) if i not in rows]
    assert (plain.get_tasks()[name][others] == plain.params[name]).all()


@pytest.mark.parametrize(
    ("rows", "error", "match"),
    [
        ([0, 9], IndexError, r"rows\[1\] is 9; must be in \[0, 9\)"),
        ([-1, 2], IndexError, r"rows\[0\] is -1"),
        (np.array([2**63 + 1, 2], np.uint64), IndexError, r"rows\[0\] is 9223372036854775809"),
        ([3, 3], ValueError, r"rows\[1\] is 3, as rows\[0\] is; each row can be set once"),
        ([[0, 1]], ValueError, r"rows has shape \(1, 2\); must have one dimension"),
        (3, ValueError, r"rows has shape \(\); must have one dimension"),
        ([0.0, 1.0], TypeError, "rows must be integers, got float64"),
        ([True, False], TypeError, r"rows must be integers, got bool; of a mask, numpy.flatnonzero\(mask\)"),
        ([0, 1, 2], ValueError, r"state\['state'\]: expected shape \(3, 4\), got \(2, 4\)"),
    ],
)
def test_bad_rows_change_nothing(rows, error, match):
    envs = make("CartPole-v1")
    envs.reset()
    rollout(envs, 5)
    before = envs.get_state()
    state = envs.get_state([7, 8])
    with pytest.raises(error, match=match):
        envs.set_state(state, rows=rows)
    check_same_state(envs, before)
    if error is not ValueError or rows == [[0, 1]]:
        with pytest.raises(error, match=match):
            envs.get_state(rows)


def test_bad_states_of_rows_change_nothing():
    envs = make("CartPole-v1")
    envs.set_tasks({"length": np.linspace(0.2, 1, 9)})
    envs.reset()
    before = envs.get_state()
    good = envs.get_state([4, 2])
    for change, error, match in (
        ({"state": [[0, 0, 0, 0], [0, 0, 0, np.nan]]}, ValueError, r"state\[1\] is not a state of CartPole-v1"),
        ({"elapsed": [0, -1]}, ValueError, r"elapsed\[1\] is -1"),
        ({"task_id": [0, -2]}, ValueError, r"state\['task_id'\]\[1\] is -2"),
        ({"tasks": -good["tasks"]}, ValueError, r"\[0\] is -"),
        ({"tasks": good["tasks"][:, :2]}, ValueError, r"state\['tasks'\]: expected shape \(2, 8\)|got \(2, 2\)"),
        ({"speed": [1, 2]}, KeyError, "unknown state key 'speed'"),
    ):
        with pytest.raises(error, match=match):
            envs.set_state({**good, **change}, rows=[0, 1])
        check_same_state(envs, before)
    board = make("Catch-v0")
    with pytest.raises(ValueError, match="no parameters of Catch-v0 can differ"):
        board.set_state({"tasks": np.zeros((9, 0)), "task_id": np.zeros(9, int)})


def test_states_of_some_rows_do_not_replace_the_first_reset():
    envs = make("CartPole-v1", rows=2)
    envs.set_state({"state": np.zeros((1, 4))}, rows=[1])
    with pytest.raises(ResetNeededError):
        envs.step([0, 0])
    envs.set_state({"state": np.zeros((2, 4))}, rows=[1, 0])
    envs.step([0, 0])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("env_id", IDS)
def test_snapshots_go_on_bit_for_bit(env_id, mode, tmp_path):
    envs = make(env_id, mode)
    envs.reset()
    envs.rollout("random", 8 if mode == "disabled" else 29)
    write_checkpoint(tmp_path / "envs", {"envs": envs.snapshot()})
    ended = envs.get_state()["done"]

    def future(each):
        if mode == "disabled" and ended.any():
            each.reset(options={"reset_mask": ended})
        return each.rollout("random", 30).obs.tobytes()

    expected = future(envs)
    other = make(env_id, mode, seed=1, num_threads=1)
    other.restore(read_checkpoint(tmp_path / "envs")["envs"])
    assert future(other) == expected


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1", "SparsePointRobot-v0", "BernoulliBandit-v0"])
def test_snapshots_hold_tasks_and_what_resets_draw(env_id):
    precision = {"precision": "float32"} if "precision" in env_spec(env_id).parameters else {}

    def fresh():
        return make(env_id, **precision)

    family = task_family(env_id)
    envs = fresh()
    envs.sample_tasks_at_reset(family.sample_tasks(60, seed=2))
    envs.reset()
    envs.rollout("random", 5)
    drawn = envs.snapshot()
    envs.set_tasks(family.sample_tasks(9, seed=3))
    fixed = envs.snapshot()
    envs.set_tasks(None)
    without = envs.snapshot()
    for snapshot in (drawn, fixed, without):
        envs.restore(snapshot)
        expected = envs.rollout("random", 40)
        for each in (drawn, fixed, without):  # whatever was set before
            other = fresh()
            other.restore(each)
            other.restore(snapshot)
            got = other.rollout("random", 40)
            np.testing.assert_array_equal(got.obs, expected.obs)
            assert got.info.keys() == expected.info.keys()
            for key, value in expected.info.items():
                np.testing.assert_array_equal(got.info[key], value)
        assert (
            len(np.unique(expected.info.get("task_id", [-1])))
            == {id(drawn): len(np.unique(expected.info.get("task_id", [-1]))), id(fixed): 9, id(without): 1}[
                id(snapshot)
            ]
        )
    envs.restore(drawn)
    assert len(np.unique(envs.rollout("random", 60).info["task_id"])) > 20


def test_a_snapshot_is_plain():
    envs = make("FrozenLake-v1", desc=["SFH", "FHG"])
    envs.reset()

    def plain(value):
        if isinstance(value, dict):
            assert all(type(key) is str for key in value)
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, np.ndarray):
            assert value.dtype.kind in "biuf"
            return value.tolist()
        assert value is None or type(value) in (int, float, str)
        return value

    # So plain that it goes through JSON, whose lists become arrays again.
    restored = make("FrozenLake-v1", desc=["SFH", "FHG"], seed=0)
    restored.restore(json.loads(json.dumps(plain(envs.snapshot()))))
    np.testing.assert_array_equal(restored.rollout("random", 20).obs, envs.rollout("random", 20).obs)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"num_envs": 8}, "num_envs is 9 in the snapshot and 8 here"),
        ({"autoreset_mode": "same_step"}, "autoreset_mode is 'NextStep' in the snapshot and 'SameStep' here"),
        ({"max_episode_steps": None}, "max_episode_steps is 12 in the snapshot and None here"),
        ({"gravity": 3.0, "length": 0.4}, "gravity is 9.8 .* and 3.0 here; length is 0.5 .* and 0.4 here"),
        ({"precision": "float32"}, "float32 is 0.0 in the snapshot and 1.0 here"),
        ({"id": "Acrobot-v1"}, "^env_id is 'CartPole-v1' in the snapshot and 'Acrobot-v1' here$"),
    ],
)
def test_snapshots_of_another_environment_are_refused(change, match):
    envs = make("CartPole-v1")
    envs.reset()
    kwargs = {"id": "CartPole-v1", "num_envs": 9, "max_episode_steps": 12, **change}
    other = make_vec(**kwargs)
    other.reset()
    before = other.get_state()
    with pytest.raises(CheckpointMismatchError, match=match):
        other.restore(envs.snapshot())
    check_same_state(other, before)


def test_snapshots_of_another_map_are_refused():
    for env_id, one, two in (
        ("FrozenLake-v1", {"desc": ["SF", "FG"]}, {"desc": ["SF", "HG"]}),
        ("DeepSea-v0", {"mapping_seed": 1}, {"mapping_seed": 2}),
    ):
        envs, other = make_vec(env_id, 2, **one), make_vec(env_id, 2, **two)
        envs.reset()
        with pytest.raises(CheckpointMismatchError, match="the map or action mapping differs"):
            other.restore(envs.snapshot())
        make_vec(env_id, 2, **one).restore(envs.snapshot())


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"format": 2}, CheckpointVersionError, "format 2; this version reads up to 1"),
        ({"format": "1"}, TypeError, "format is '1'; must be an integer"),
        ({"format": 0}, ValueError, "format is 0; must be >= 1"),
        ({"state": None}, ValueError, "state must be a mapping, got NoneType"),
        ({"state": {}}, KeyError, "state lacks 'state', 'elapsed', 'episode', 'seed', 'stream', 'done'"),
        ({"parameters": 3}, ValueError, "parameters must be a mapping, got int"),
        ({"task_table": np.zeros((3, 8))}, ValueError, r"task_table has shape \(3, 8\)"),
    ],
)
def test_malformed_snapshots_change_nothing(change, error, match):
    envs = make("CartPole-v1")
    envs.reset()
    before = envs.get_state()
    snapshot = envs.snapshot()
    envs.rollout("random", 2)
    before = envs.get_state()
    with pytest.raises(error, match=match):
        envs.restore({**snapshot, **change})
    for key in snapshot:
        with pytest.raises(KeyError, match=f"the snapshot lacks '{key}'"):
            envs.restore({name: value for name, value in snapshot.items() if name != key})
    state = {**snapshot["state"], "elapsed": np.full(9, -1)}
    with pytest.raises(ValueError, match="elapsed"):
        envs.restore({**snapshot, "state": state})
    with pytest.raises(TypeError, match="snapshot must be a mapping, got list"):
        envs.restore([])
    check_same_state(envs, before)


def test_no_snapshot_before_the_first_reset():
    envs = make("CartPole-v1")
    with pytest.raises(ResetNeededError, match="reset must be called"):
        envs.snapshot()
    envs.reset()
    snapshot = envs.snapshot()
    fresh = make("CartPole-v1", seed=3)
    fresh.restore(snapshot)  # needs no reset of its own
    fresh.step(np.zeros(9, int))


def test_snapshots_of_every_environment_name_every_parameter():
    for env_id in IDS:
        envs = make_vec(env_id, 1)
        envs.reset()
        named = envs.snapshot()["parameters"]
        for name, parameter in env_spec(env_id).parameters.items():
            own = name == "max_episode_steps"  # which snapshots name beside the others
            if not own and parameter.kind in ("float", "int", "bool") and envs.params[name] is not None:
                assert name in named
