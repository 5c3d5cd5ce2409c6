"""Wrapped environments against Gymnasium's SyncVectorEnv, and at the boundary: inputs, outputs, seeds."""

from __future__ import annotations

import contextlib
import functools

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from wrapped_envs import DictEnv, FaultyEnv, MissionEnv

import metarl_core
from metarl_core import make_vec

ROWS = 5
MODES = ["next_step", "same_step", "disabled"]
# Some ends of each kind within 150 steps; Taxi has action_mask infos, Blackjack a Tuple observation.
ENVS = {
    "CartPole": lambda: gymnasium.make("CartPole-v1", max_episode_steps=25),
    "Taxi": lambda: gymnasium.make("Taxi-v4", max_episode_steps=20),
    "Blackjack": lambda: gymnasium.make("Blackjack-v1"),
    "FrozenLake": lambda: gymnasium.make("FrozenLake-v1"),
    "Pendulum": lambda: gymnasium.make("Pendulum-v1", max_episode_steps=30),
    "Dict": DictEnv,
    "Mission": MissionEnv,
}


@pytest.fixture(autouse=True)
def _quiet(recwarn):
    # Gymnasium warns of its own Taxi, of casts of bounds, and so on: not what is tested here.
    yield
    recwarn.clear()


def assert_same(ours, theirs, where=""):
    if isinstance(theirs, dict):
        assert isinstance(ours, dict), where
        assert ours.keys() == theirs.keys(), (where, ours.keys() ^ theirs.keys())
        for key in theirs:
            assert_same(ours[key], theirs[key], f"{where}[{key!r}]")
    elif isinstance(theirs, (tuple, list)):
        assert len(ours) == len(theirs), where
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            assert_same(a, b, f"{where}[{i}]")
    elif isinstance(theirs, np.ndarray) and theirs.dtype == object:
        assert ours.dtype == object, where
        assert_same(list(ours), list(theirs), where)
    elif isinstance(theirs, np.ndarray):
        assert ours.dtype == theirs.dtype, (where, ours.dtype, theirs.dtype)
        np.testing.assert_array_equal(ours, theirs, err_msg=where)
    else:
        assert type(ours) is type(theirs), where
        assert ours == theirs, where


def compare_with_sync(make, mode, steps=150, **options):
    with contextlib.closing(make_vec(make, ROWS, autoreset_mode=mode, **options)) as ours:
        theirs = SyncVectorEnv([make] * ROWS, autoreset_mode=AutoresetMode[mode.upper()])
        assert ours.observation_space == theirs.observation_space
        assert ours.action_space == theirs.action_space
        assert ours.metadata == theirs.metadata
        assert_same(ours.reset(seed=[3, 1, 4, 1, 5]), theirs.reset(seed=[3, 1, 4, 1, 5]))
        theirs.action_space.seed(0)
        ends = 0
        for step in range(steps):
            actions = theirs.action_space.sample()
            a, b = ours.step(actions), theirs.step(actions)
            assert_same(a, b, f"step {step}")
            ended = b[2] | b[3]
            ends += int(ended.sum())
            if mode == "disabled" and ended.any():
                assert_same(
                    ours.reset(options={"reset_mask": ended}),
                    theirs.reset(options={"reset_mask": ended.copy()}),
                    f"reset after step {step}",
                )
        theirs.close()
    return ends


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ENVS)
def test_as_gymnasiums_sync_vector_env(name, mode):
    ends = compare_with_sync(ENVS[name], mode, backend="serial")
    print(f"{name} {mode}: {ends} episodes ended")
    assert ends >= 5


@pytest.mark.parametrize("name", ENVS)
@pytest.mark.parametrize(("backend", "mode"), [("process", "same_step"), ("thread", "next_step")])
def test_as_gymnasiums_sync_vector_env_in_workers(name, backend, mode):
    assert compare_with_sync(ENVS[name], mode, backend=backend, num_threads=2) >= 5


def rollout(backend, num_threads, mode, steps=60):
    envs = make_vec(DictEnv, 7, backend=backend, num_threads=num_threads, autoreset_mode=mode, seed=11)
    envs.action_space.seed(1)
    out = [envs.reset()]
    out += [envs.step(envs.action_space.sample()) for _ in range(steps)]
    out.append(envs.reset(seed=4))
    envs.close()
    return out


@pytest.mark.parametrize("mode", ["next_step", "same_step"])
def test_results_do_not_depend_on_backend_or_workers(mode):
    expected = rollout("serial", 1, mode)
    for backend, workers in [("thread", 1), ("thread", 3), ("process", 1), ("process", 2), ("process", 7)]:
        assert_same(rollout(backend, workers, mode), expected, f"{backend} {workers}")


def test_seeds():
    envs = make_vec("CartPole-v1", 40, backend="serial", seed=5)
    first = envs.reset()[0]
    again = envs.reset(seed=5)[0]
    np.testing.assert_array_equal(first, again)  # the first reset is by the constructor's seed
    assert len(np.unique(first, axis=0)) == 40
    other = envs.reset(seed=6)[0]
    # Gymnasium's seed + i would make 39 of the 40 rows the same, one row down.
    assert len(np.unique(np.concatenate([first, other]), axis=0)) == 80
    wider = make_vec("CartPole-v1", 60, backend="serial", seed=5).reset()[0]
    np.testing.assert_array_equal(wider[:40], first)
    one = gymnasium.make("CartPole-v1").reset(seed=123)[0]
    listed = envs.reset(seed=[123] + [None] * 39)[0]
    np.testing.assert_array_equal(listed[0], one)
    assert (envs.reset()[0] != listed).any(axis=1).all()  # without a seed the random numbers go on
    # A first reset that leaves rows out seeds them by the constructor's.
    fresh = make_vec("CartPole-v1", 40, backend="serial", seed=5)
    np.testing.assert_array_equal(fresh.reset(seed=[123] + [None] * 39)[0][1:], first[1:])


def test_row_seeds_are_distinct_and_do_not_depend_on_the_number_of_rows():
    from metarl_core.vector.wrapped.seeding import row_seeds

    many = row_seeds(9, 200_000)  # about five collisions without the second look
    assert len(np.unique(many)) == 200_000
    assert many.max() < 2**32
    np.testing.assert_array_equal(row_seeds(9, 1000), many[:1000])
    assert not np.isin(row_seeds(10, 1000), many[:1000]).any()


def test_random_numbers_of_tasks_are_the_cores():
    from metarl_core.vector.wrapped.seeding import philox4x32

    # Known answers of Random123, as in the core's own test.
    assert philox4x32(0, 0, 0, 0, 0) == (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)
    ones = 0xFFFFFFFF
    assert philox4x32(2**64 - 1, ones, ones, ones, ones) == (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)


@pytest.mark.parametrize("backend", ["serial", "process"])
def test_out_buffers(backend):
    envs = make_vec("CartPole-v1", 4, backend=backend, num_threads=2, seed=1)
    same = make_vec("CartPole-v1", 4, backend="serial", seed=1)
    envs.reset()
    same.reset()
    out = envs.make_buffers()
    before = {name: id(array) for name, array in out._asdict().items()}
    for step in range(30):
        actions = np.full(4, step % 2)
        result = envs.step(actions, out=out)
        assert {name: id(array) for name, array in zip(out._fields, result[:4], strict=True)} == before
        assert_same(result, same.step(actions))
    for bad, error in [
        (out._replace(obs=np.zeros((4, 4))), TypeError),
        (out._replace(reward=np.zeros(3)), ValueError),
        ({"obs": out.obs}, KeyError),
    ]:
        steps = envs.call("steps_beyond_terminated")
        with pytest.raises(error):
            envs.step(actions, out=bad)
        assert envs.call("steps_beyond_terminated") == steps
    envs.close()
    with pytest.raises(ValueError, match="no fixed size"):
        make_vec(MissionEnv, 2, backend="serial").make_buffers()


def test_results_are_the_callers_own():
    envs = make_vec(lambda: DictEnv(reuse=True), 3, backend="serial", autoreset_mode="same_step", seed=2)
    kept = [envs.reset()]
    envs.action_space.seed(0)
    bytes_then = []
    finals = 0
    for _ in range(60):
        kept.append(envs.step(envs.action_space.sample()))
        obs, *_, info = kept[-1]
        bytes_then.append((obs["image"].tobytes(), repr(info)))
        if "final_obs" in info:
            for row in np.flatnonzero(info["_final_obs"]):
                finals += 1
                # The environment hands out one array again and again: its last state must not be the next episode's.
                assert (info["final_obs"][row]["image"] != obs["image"][row]).any()
    assert finals > 3
    assert bytes_then == [(obs["image"].tobytes(), repr(info)) for obs, *_, info in kept[1:]]


def test_actions_are_the_environments_own():
    envs = make_vec(DictEnv, 2, backend="serial", seed=0)
    envs.reset()
    push = np.array([[0.5, 0.25], [0.125, 1.0]], np.float32)
    envs.step({"turn": np.array([1, 3]), "push": push})
    push[:] = -1
    envs.step({"turn": np.array([1, 3]), "push": push})
    held = envs.call("last")
    push[:] = 0.0
    assert [h["push"].tolist() for h in held] == [[-1, -1], [-1, -1]]


def test_dense_final_obs():
    dense = make_vec("FrozenLake-v1", 8, backend="serial", autoreset_mode="same_step", dense_final_obs=True, seed=3)
    sparse = make_vec("FrozenLake-v1", 8, backend="serial", autoreset_mode="same_step", seed=3)
    dense.reset()
    sparse.reset()
    rng = np.random.default_rng(0)
    seen = 0
    for _ in range(60):
        actions = rng.integers(4, size=8)
        a, b = dense.step(actions)[4], sparse.step(actions)[4]
        array, mask = dense.final_obs_dense()
        assert ("final_obs" in a) == ("final_obs" in b) == bool(mask.any())
        if mask.any():
            assert a["final_obs"].dtype == np.int64
            assert [int(v) for v in a["final_obs"][mask]] == list(b["final_obs"][mask])
            assert all(v is None for v in b["final_obs"][~mask])
            np.testing.assert_array_equal(a["final_obs"], array)
            seen += int(mask.sum())
    assert seen > 10
    with pytest.raises(RuntimeError, match="same_step"):
        make_vec("FrozenLake-v1", 1, backend="serial").final_obs_dense()


@pytest.mark.parametrize(
    ("actions", "error", "message"),
    [
        ([0, 1], ValueError, r"expected shape \(3,\), got \(2,\)"),
        ([0, 1, 2], ValueError, r"actions\[2\] is 2; must be in \[0, 2\)"),
        ([0, -1, 0], ValueError, r"actions\[1\] is -1; must be in \[0, 2\)"),
        ([0.0, 1.0, 1.0], TypeError, "expected integers, got dtype float64"),
        (np.array([True, False, True]), TypeError, "expected integers, got dtype bool"),
    ],
)
def test_illegal_actions_change_nothing(actions, error, message):
    envs = make_vec("CartPole-v1", 3, backend="serial", seed=0)
    same = make_vec("CartPole-v1", 3, backend="serial", seed=0)
    envs.reset()
    same.reset()
    with pytest.raises(error, match=message):
        envs.step(actions)
    assert_same(envs.step(np.array([1, 1, 0], np.uint8)), same.step([1, 1, 0]))


def test_illegal_nested_actions():
    envs = make_vec(DictEnv, 2, backend="serial")
    envs.reset()
    good = {"turn": np.array([1, 3]), "push": np.zeros((2, 2), np.float32)}
    with pytest.raises(TypeError, match=r"structure of action_space.*'push'"):
        envs.step({"turn": good["turn"]})
    with pytest.raises(TypeError, match="structure of action_space"):
        envs.step(np.zeros(2, int))
    with pytest.raises(ValueError, match=r"actions\['turn'\]\[0\] is 0; must be in \[1, 4\)"):
        envs.step({**good, "turn": np.array([0, 1])})
    with pytest.raises(ValueError, match=r"actions\['push'\]: expected shape \(2, 2\)"):
        envs.step({**good, "push": np.zeros(2, np.float32)})
    with pytest.raises(ValueError, match=r"actions\['push'\]\[0\]\[1\] is nan; must be finite"):
        envs.step({**good, "push": np.array([[0, np.nan], [0, 0]])})
    with pytest.raises(TypeError, match=r"actions\['push'\]: expected real numbers"):
        envs.step({**good, "push": np.full((2, 2), "a")})
    envs.step(good)


def test_reset_needed_and_masks():
    envs = make_vec("CartPole-v1", 3, backend="serial", autoreset_mode="disabled", max_episode_steps=4)
    some = {"reset_mask": np.array([True, False, True])}
    for call in (lambda: envs.step([0, 0, 0]), lambda: envs.reset(options=some)):
        with pytest.raises(metarl_core.ResetNeededError):
            call()
        with pytest.raises(gymnasium.error.ResetNeeded):
            call()
    start = envs.reset(seed=1)[0]
    for _ in range(4):
        truncated = envs.step([0, 1, 0])[3]
    assert truncated.all()
    with pytest.raises(metarl_core.ResetNeededError, match="environment 0"):
        envs.step([0, 0, 0])
    options = {"reset_mask": np.array([True, True, False]), "low": -0.01, "high": 0.01}
    obs, _ = envs.reset(options=options)
    assert (np.abs(obs[:2]) <= 0.01).all()  # the rest of the options went to the environments
    assert np.abs(obs[2]).max() > 0.01
    assert options["reset_mask"].tolist() == [True, True, False]
    with pytest.raises(metarl_core.ResetNeededError, match="environment 2"):
        envs.step([0, 0, 0])
    envs.reset(options={"reset_mask": np.array([False, False, True])})
    envs.step([0, 0, 0])
    for mask, error in [([True] * 3, TypeError), (np.ones(2, bool), ValueError), (np.zeros(3, bool), ValueError)]:
        with pytest.raises(error, match="reset_mask"):
            envs.reset(options={"reset_mask": mask})
    np.testing.assert_array_equal(envs.reset(seed=1)[0], start)


def test_making():
    with pytest.raises(ValueError, match=r"unknown environment 'CartPole-v7'; valid ids: CartPole-v1, .*Gymnasium"):
        make_vec("CartPole-v7")
    with pytest.raises(ValueError, match=r"Nothing.*write 'package:Nothing-v0'"):
        make_vec("Nothing-v0")
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        make_vec("no_such_package:Nothing-v0")
    with pytest.raises(ValueError, match="backend is 'gpu'; must be one of 'auto', 'native', 'process'"):
        make_vec("CartPole-v1", backend="gpu")
    with pytest.raises(ValueError, match="unknown environment"):
        make_vec("LunarLander-v3", backend="native")
    with pytest.raises(TypeError, match="timeout is for environments that are not native"):
        make_vec("CartPole-v1", timeout=1.0)
    metarl_core.register_envs()
    with pytest.raises(ValueError, match="vector environment only"):
        make_vec("metarl_core/CartPole-v1", backend="serial")
    with pytest.raises(TypeError, match="'gravity' is a parameter of an id"):
        make_vec(DictEnv, gravity=3)
    with pytest.raises(TypeError, match="unexpected keyword"):
        make_vec("CartPole-v1", backend="serial", gravity=3)
    with pytest.raises(ValueError, match="num_envs is 3; must be the number of functions, 2"):
        make_vec([DictEnv, DictEnv], 3)
    with pytest.raises(ValueError, match="unknown environment 7"):
        make_vec(7)
    for bad in ([], [1]):
        with pytest.raises(TypeError, match="must be an id, a function"):
            make_vec(bad)
    for name, value, error in [
        ("num_envs", 0, ValueError),
        ("num_envs", 1.5, TypeError),
        ("num_threads", 0, ValueError),
        ("seed", -1, ValueError),
        ("timeout", 0, ValueError),
        ("timeout", "1", TypeError),
        ("autoreset_mode", "never", ValueError),
        ("task_parameters", "size", TypeError),
        ("apply_task", 3, TypeError),
    ]:
        with pytest.raises(error, match=name):
            make_vec(DictEnv, **{"backend": "serial", name: value})
    with pytest.raises(ValueError, match=r"one observation_space; that of environment 1 is Box.* 0 Discrete"):
        make_vec([lambda: gymnasium.make("FrozenLake-v1"), FaultyEnv], backend="serial")
    assert make_vec([DictEnv, DictEnv], backend="serial").num_envs == 2
    envs = make_vec("gymnasium:CartPole-v1", 2, backend="serial", max_episode_steps=3)
    assert isinstance(envs, gymnasium.vector.VectorEnv)
    assert envs.spec.id == "CartPole-v1"
    assert envs.params == {"max_episode_steps": 3}
    assert "CartPole-v1, num_envs=2" in repr(envs)


def test_an_id_registered_by_the_caller_reaches_the_workers():
    gymnasium.register("test_wrapped/Faulty-v0", entry_point=FaultyEnv, kwargs={"fail_at": None})
    try:
        envs = make_vec("test_wrapped/Faulty-v0", 2, backend="process", num_threads=2)
        envs.reset()
        assert envs.step([0, 0])[1].tolist() == [1, 1]
        envs.close()
    finally:
        del gymnasium.registry["test_wrapped/Faulty-v0"]


def test_missing_dependency_is_told(monkeypatch):
    # As LunarLander without Box2D: the environment's own error says what to install.
    def make():
        raise gymnasium.error.DependencyNotInstalled("Box2D is not installed, run `pip install ...`")

    for backend in ("serial", "thread", "process"):
        with pytest.raises(gymnasium.error.DependencyNotInstalled, match="Box2D is not installed"):
            make_vec(make, 2, backend=backend, num_threads=2)


@pytest.mark.parametrize("backend", ["serial", "thread", "process"])
def test_render_call_and_attributes(backend):
    envs = make_vec(lambda: DictEnv(render_mode="rgb_array"), 3, backend=backend, num_threads=2)
    envs.reset()
    pictures = envs.render()
    assert len(pictures) == 3
    assert all(p.shape == (3, 2, 3) and p.dtype == np.uint8 for p in pictures)
    assert envs.render_mode == "rgb_array"
    envs.set_attr("mark", [1, 2, 3])
    assert envs.get_attr("mark") == (1, 2, 3)
    envs.set_attr("mark", 7)
    assert envs.call("mark") == (7, 7, 7)
    with pytest.raises(ValueError, match="length 2"):
        envs.set_attr("mark", [1, 2])
    with pytest.raises(ValueError, match="use the method"):
        envs.call("step")
    with pytest.raises(metarl_core.WorkerError, match="environment 0 raised AttributeError"):
        envs.call("no_such_thing")
    envs.close()
    assert make_vec(FaultyEnv, 1, backend="serial").render() is None


@pytest.mark.parametrize("name", ["CartPole-v1", "Pendulum-v1"])
def test_the_promises_of_vector_environments(name):
    from metarl_core.testing import check_vector_env

    make = functools.partial(make_vec, name, backend="thread", max_episode_steps=25)
    check_vector_env(make, steps=30, threads=(1, 3))


def test_gymnasium_wrappers_work_on_top():
    from gymnasium.wrappers.vector import NormalizeObservation, RecordEpisodeStatistics

    envs = make_vec("CartPole-v1", 4, backend="process", num_threads=2, seed=0)
    wrapped = RecordEpisodeStatistics(NormalizeObservation(envs))
    wrapped.reset()
    lengths = []
    for _ in range(80):
        *_, info = wrapped.step(wrapped.action_space.sample())
        if "episode" in info:
            lengths += info["episode"]["l"][info["_episode"]].tolist()
    assert len(lengths) >= 4
    assert min(lengths) >= 8
    wrapped.close()
    assert envs.closed
