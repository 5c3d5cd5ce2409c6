"""Meta-World 3.1.1: the traps of its own entry points, each shown there, and that ours has none of them.

Where a trap is no more, its test fails: then the release that mended it can be required, and the test goes.
"""

from __future__ import annotations

import pickle

import gymnasium
import numpy as np
import pytest

metaworld = pytest.importorskip("metaworld", reason="needs metaworld: make test-metaworld", exc_type=ImportError)

from metarl_core import make_vec  # noqa: E402
from metarl_core.tasks.metaworld import metaworld_vec  # noqa: E402

SEED = 3
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


def goals(tasks):
    return {pickle.loads(task.data)["rand_vec"].tobytes() for task in tasks}


@pytest.fixture(scope="module")
def reach():
    return metaworld.ML1("reach-v3", seed=SEED)


@pytest.fixture(scope="module")
def ml10():
    return metaworld.ML10(seed=SEED)


def goals_played(envs, resets):
    """Return the goals that the rows have after each reset, read from the environments themselves."""
    played = []
    for _ in range(resets):
        envs.reset()
        played += [vector.tobytes() for vector in envs.get_attr("_last_rand_vec")]
    return played


def test_trap_ml1_train_serves_test_tasks(reach):
    theirs = gymnasium.make_vec("Meta-World/ML1-train", env_name="reach-v3", seed=SEED, meta_batch_size=10)
    served = {pickle.loads(t.data)["rand_vec"].tobytes() for env in theirs.envs for t in env.get_wrapper_attr("tasks")}
    assert served == goals(reach.test_tasks)
    assert not served & goals(reach.train_tasks)
    # And it ends episodes at success, as the test does.
    assert all(env.get_wrapper_attr("terminate_on_success") for env in theirs.envs)
    theirs.close()


@pytest.mark.parametrize("split", ["train", "test"])
def test_ours_serves_the_tasks_of_the_split(reach, split):
    wanted = goals(reach.train_tasks if split == "train" else reach.test_tasks)
    other = goals(reach.test_tasks if split == "train" else reach.train_tasks)
    for make in (
        lambda: metaworld_vec("ML1", "reach-v3", split=split, num_envs=8, seed=SEED, backend="serial"),
        lambda: make_vec(f"Meta-World/ML1-{split}", 8, env_name="reach-v3", seed=SEED, backend="serial"),
    ):
        envs = make()
        played = set(goals_played(envs, 20))
        assert played <= wanted
        assert not played & other
        assert len(played) > 40  # 160 draws of 50 tasks
        assert envs.get_attr("terminate_on_success") == (False,) * 8
        envs.close()


def test_trap_the_first_reset_is_refused():
    theirs = gymnasium.make_vec("Meta-World/ML1-test", env_name="reach-v3", seed=SEED, meta_batch_size=10)
    with pytest.raises(AssertionError):
        theirs.reset()
    theirs.call("sample_tasks")
    theirs.reset()
    theirs.close()


def test_trap_most_batch_sizes_are_refused(ml10):
    # 20 is the default; 10 is the only larger one that ML1 and ML10-test share with it.
    with pytest.raises(AssertionError, match="Invalid division of subtasks"):
        gymnasium.make_vec("Meta-World/ML1-test", env_name="reach-v3", seed=SEED)
    with pytest.raises(AssertionError, match="Invalid division of subtasks"):
        metaworld._make_ml_envs_inner(ml10, meta_batch_size=20, split="test", seed=SEED)


@pytest.mark.parametrize("num_envs", [1, 3, 20])
def test_ours_takes_any_number_of_rows_and_the_first_reset(num_envs):
    envs = metaworld_vec("ML1", "reach-v3", num_envs=num_envs, seed=SEED, backend="serial")
    obs, info = envs.reset()
    assert obs.shape == (num_envs, 39)
    assert envs.observation_space.contains(obs)
    assert (obs[:, -3:] == 0).all()  # the goal is hidden
    assert ((info["task_id"] >= 0) & (info["task_id"] < 50)).all()
    envs.close()


def test_trap_mt1_is_not_reproducible():
    theirs = gymnasium.make("Meta-World/MT1", env_name="reach-v3")
    first, second = theirs.reset(seed=0)[0], theirs.reset(seed=0)[0]
    assert (first[-3:] != second[-3:]).all()  # another goal with the same seed
    theirs.close()
    # And what it observes is outside of the space that it declares.
    assert not theirs.observation_space.contains(first)


@pytest.mark.parametrize("name", ["MT1", "ML1"])
def test_ours_plays_the_same_again(name):
    def play(envs, seed):
        rng = np.random.default_rng(0)
        obs, info = envs.reset(seed=seed)
        assert envs.observation_space.contains(obs)
        out, tasks = [obs], [info["task_id"]]
        for _ in range(25):
            obs, reward, *_, info = envs.step(rng.uniform(-1, 1, (4, 4)).astype(np.float32))
            assert envs.observation_space.contains(obs)
            out += [obs, reward]
            tasks.append(info["task_id"])
        return b"".join(a.tobytes() for a in out), np.array(tasks)

    options = {"num_envs": 4, "seed": SEED, "max_episode_steps": 10, "autoreset_mode": "same_step"}
    serial = metaworld_vec(name, "push-v3", backend="serial", **options)
    bytes_a, tasks_a = play(serial, 0)
    bytes_b, tasks_b = play(serial, 0)
    assert bytes_a == bytes_b
    assert (tasks_a == tasks_b).all()
    assert (tasks_a[0] != tasks_a[-1]).any()  # two resets were in between
    assert play(serial, 1)[0] != bytes_a
    serial.close()
    processes = metaworld_vec(name, "push-v3", backend="process", num_threads=2, **options)
    bytes_c, tasks_c = play(processes, 0)
    assert bytes_c == bytes_a
    assert (tasks_c == tasks_a).all()
    processes.close()
    # Another benchmark's seed has other tasks.
    other = metaworld_vec(name, "push-v3", backend="serial", **{**options, "seed": SEED + 2})
    assert play(other, 0)[0] != bytes_a
    other.close()


def test_the_reward_version_is_recorded_and_used():
    rewards = {}
    for version in ("v1", "v2"):
        envs = metaworld_vec("ML1", "reach-v3", reward_function_version=version, seed=SEED, backend="serial")
        assert envs.params["reward_function_version"] == version
        assert envs.metadata["reward_function_version"] == version
        assert envs.get_attr("reward_function_version") == (version,)
        envs.reset()
        rewards[version] = envs.step(np.zeros((1, 4), np.float32))[1][0]
        envs.close()
    print(rewards)
    assert rewards["v1"] != rewards["v2"]


def test_a_row_steps_as_metaworlds_own_environment(reach):
    envs = metaworld_vec("ML1", "reach-v3", num_envs=2, seed=SEED, backend="serial")
    _, info = envs.reset()
    own = reach.train_classes["reach-v3"]()
    own.set_task(reach.train_tasks[int(info["task_id"][1])])
    obs, _ = own.reset()
    envs.set_tasks({"task": info["task_id"]})
    start, _ = envs.reset()
    np.testing.assert_array_equal(start[1], obs)
    rng = np.random.default_rng(1)
    for _ in range(60):
        actions = rng.uniform(-1, 1, (2, 4)).astype(np.float32)
        a, b = envs.step(actions), own.step(actions[1])
        np.testing.assert_array_equal(a[0][1], b[0])
        assert a[1][1] == b[1]
        assert a[4]["success"][1] == b[4]["success"]
    envs.close()
    own.close()


def test_ml10_has_every_class_and_keeps_rows_to_theirs(ml10):
    for split, classes, tasks in (
        ("train", ml10.train_classes, ml10.train_tasks),
        ("test", ml10.test_classes, ml10.test_tasks),
    ):
        envs = make_vec(f"metaworld:Meta-World/ML10-{split}", 7, seed=SEED, backend="serial")
        names = list(classes)
        drawn = np.array([envs.reset()[1]["task_id"] for _ in range(4)])
        for row in range(7):
            assert {tasks[i].env_name for i in drawn[:, row]} == {names[row % len(names)]}
        assert envs.observation_space.contains(envs.reset()[0])
        envs.close()


def test_bad_arguments():
    for arguments, error, message in [
        ({"benchmark": "ML2"}, ValueError, "benchmark is 'ML2'; must be one of 'ML1'"),
        ({"env_name": "fly-v3"}, ValueError, "env_name is 'fly-v3'; must be one of"),
        ({"env_name": None}, ValueError, "env_name is None"),
        ({"benchmark": "ML10"}, ValueError, "env_name is 'reach-v3'; must be None"),
        ({"split": "val"}, ValueError, "split is 'val'; must be 'train' or 'test'"),
        ({"benchmark": "MT1", "split": "test"}, ValueError, "has no test tasks"),
        ({"num_envs": 0}, ValueError, "num_envs is 0"),
        ({"seed": -1}, ValueError, "seed is -1"),
        ({"seed": 2**32}, ValueError, "seed is 4294967296"),
        ({"reward_function_version": "v3"}, ValueError, "reward_function_version is 'v3'; must be 'v1' or 'v2'"),
        ({"max_episode_steps": 501}, ValueError, "max_episode_steps is 501"),
    ]:
        with pytest.raises(error, match=message):
            metaworld_vec(**{"benchmark": "ML1", "env_name": "reach-v3", "backend": "serial", **arguments})
    for name in ("ML1", "MT10-train", "goal_hidden", "ML10-val"):
        with pytest.raises(ValueError, match=r"unknown environment 'Meta-World/.*'; valid ids: Meta-World/ML1-train"):
            make_vec(f"Meta-World/{name}")
    with pytest.raises(TypeError, match="Meta-World's own"):
        make_vec("Meta-World/ML10-train", task_parameters=["gravity"])
