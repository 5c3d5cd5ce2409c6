"""Tasks of vector environments: parameters by row, tasks drawn at resets, what info and state say, wrong uses."""

import os
import subprocess
import sys

import gymnasium
import numpy as np
import pytest

import metarl_core as mc
from metarl_core.tasks import task_families, task_family

SAME, NEXT = "same_step", "next_step"


def lengths(n):
    return np.linspace(0.2, 1.0, n)


def test_what_is_set_is_what_is_got():
    envs = mc.make_vec("CartPole-v1", 5)
    assert envs.get_tasks()["length"].tolist() == [0.5] * 5
    assert envs.task_id.tolist() == [-1] * 5
    envs.set_tasks({"length": lengths(5), "gravity": 3})
    tasks = envs.get_tasks()
    np.testing.assert_array_equal(tasks["length"], lengths(5))
    assert tasks["gravity"].tolist() == [3.0] * 5
    assert tasks["masscart"].tolist() == [1.0] * 5
    assert envs.task_id.tolist() == [0, 1, 2, 3, 4]
    envs.set_tasks([{"gravity": 1.0 + i} for i in range(5)], task_id=[7, -1, 7, 2, 3])
    assert envs.get_tasks()["gravity"].tolist() == [1, 2, 3, 4, 5]
    assert envs.get_tasks()["length"].tolist() == [0.5] * 5  # what is not named is the environment's own
    assert envs.task_id.tolist() == [7, -1, 7, 2, 3]
    envs.set_tasks(None)
    assert envs.get_tasks()["gravity"].tolist() == [9.8] * 5
    assert envs.task_id.tolist() == [-1] * 5
    narrow = mc.make_vec("CartPole-v1", 2, precision="float32")
    narrow.set_tasks({"length": 0.3})
    assert narrow.get_tasks()["length"].tolist() == [float(np.float32(0.3))] * 2


def test_a_row_plays_as_an_environment_of_its_task_alone():
    n = 7
    envs = mc.make_vec("Pendulum-v1", n)
    envs.set_tasks({"l": lengths(n), "g": np.arange(1.0, n + 1)})
    obs, _ = envs.reset(seed=list(range(n)))
    actions = np.random.default_rng(0).uniform(-2, 2, (300, n, 1)).astype(np.float32)
    alone = [mc.make_vec("Pendulum-v1", 1, l=float(lengths(n)[i]), g=1.0 + i) for i in range(n)]
    for i, env in enumerate(alone):
        np.testing.assert_array_equal(env.reset(seed=[i])[0][0], obs[i])
    for step in actions:
        obs, reward, _, truncated, _ = envs.step(step)
        for i, env in enumerate(alone):
            mine = env.step(step[i : i + 1])
            np.testing.assert_array_equal(mine[0][0], obs[i])
            assert mine[1][0] == reward[i]
            assert mine[3][0] == truncated[i]


@pytest.mark.parametrize("mode", [NEXT, SAME, "disabled"])
def test_tasks_are_drawn_at_every_reset(mode):
    n, k = 64, 10
    envs = mc.make_vec("CartPole-v1", n, autoreset_mode=mode, seed=1)
    table = {"length": np.linspace(0.1, 1, k), "force_mag": np.linspace(5, 15, k)}
    envs.sample_tasks_at_reset(table)
    assert envs.task_id.tolist() == [-1] * n
    assert envs.get_tasks()["length"].tolist() == [0.5] * n
    _, info = envs.reset()
    ids = info["task_id"]
    assert ids.dtype == np.int64
    assert info["_task_id"].all()
    counts = np.bincount(ids, minlength=k)
    changes = 0
    rng = np.random.default_rng(0)
    ended = np.zeros(n, bool)
    for _ in range(400):
        tasks = envs.get_tasks()
        for name, column in table.items():
            np.testing.assert_array_equal(tasks[name], column[ids])
        if mode == "disabled" and ended.any():
            _, info = envs.reset(options={"reset_mask": ended})
            np.testing.assert_array_equal(info["_task_id"], ended)
            np.testing.assert_array_equal(info["task_id"][~ended], ids[~ended])
            counts += np.bincount(info["task_id"][ended], minlength=k)
            changes += int((info["task_id"] != ids).sum())
            ids = info["task_id"]
        _, _, terminated, truncated, info = envs.step(rng.integers(2, size=n))
        was_reset = {NEXT: ended, SAME: terminated | truncated, "disabled": np.zeros(n, bool)}[mode]
        np.testing.assert_array_equal(info["task_id"][~was_reset], ids[~was_reset])
        if mode == SAME and was_reset.any():
            np.testing.assert_array_equal(info["final_info"]["task_id"][was_reset], ids[was_reset])
            np.testing.assert_array_equal(info["final_info"]["_task_id"], was_reset)
        counts += np.bincount(info["task_id"][was_reset], minlength=k)
        changes += int((info["task_id"] != ids).sum())
        ids, ended = info["task_id"], terminated | truncated
    assert changes > 500
    expected = counts.sum() / k
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    print(f"{mode}: {counts.sum()} tasks drawn, chi-square {chi_square:.1f} of {k - 1}")
    assert chi_square < k - 1 + 6 * np.sqrt(2 * (k - 1))


def test_drawn_tasks_follow_the_seed_alone():
    def play(num_threads, seed):
        envs = mc.make_vec("Acrobot-v1", 500, num_threads=num_threads, max_episode_steps=20)
        envs.sample_tasks_at_reset(task_family("Acrobot-v1").sample_tasks(100, seed=3))
        envs.reset(seed=seed)
        rng = np.random.default_rng(0)
        return [envs.step(rng.integers(3, size=500)) for _ in range(50)]

    one, eight, other = play(1, 5), play(8, 5), play(1, 6)
    for a, b in zip(one, eight, strict=True):
        np.testing.assert_array_equal(a[0], b[0])
        np.testing.assert_array_equal(a[4]["task_id"], b[4]["task_id"])
    assert any((a[4]["task_id"] != b[4]["task_id"]).any() for a, b in zip(one, other, strict=True))


_HASH = """
import hashlib, numpy as np, metarl_core as mc
from metarl_core.tasks import task_families, task_family
digest = hashlib.sha256()
for env_id in task_families():
    precisions = [{}]
    if "precision" in mc.env_spec(env_id).parameters:
        precisions = [{"precision": "float64"}, {"precision": "float32"}]
    for params in precisions:
        envs = mc.make_vec(env_id, 333, max_episode_steps=30, **params)
        envs.sample_tasks_at_reset(task_family(env_id).sample_tasks(50))
        digest.update(envs.reset(seed=1)[0].tobytes())
        rng = np.random.default_rng(0)
        for _ in range(80):
            if mc.env_spec(env_id).action.startswith("float32"):
                actions = rng.uniform(-2, 2, (333, *envs.single_action_space.shape)).astype(np.float32)
            else:
                actions = rng.integers(envs.single_action_space.n, size=333)
            for part in envs.step(actions)[:4]:
                digest.update(part.tobytes())
print(digest.hexdigest())
"""


def test_the_same_bits_at_every_instruction_set():
    found = {}
    for level in mc.build_info()["isa_levels"]:
        environ = {**os.environ, "METARL_ISA": level}
        ran = subprocess.run([sys.executable, "-c", _HASH], env=environ, capture_output=True, text=True, check=True)
        found[level] = ran.stdout
    assert len(set(found.values())) == 1, found


def test_state_holds_tasks():
    envs = mc.make_vec("CartPole-v1", 6)
    assert "tasks" not in envs.get_state()
    envs.sample_tasks_at_reset({"length": lengths(9)})
    envs.reset(seed=2)
    state = envs.get_state()
    assert state["tasks"].shape == (6, len(envs.task_parameters))
    other = mc.make_vec("CartPole-v1", 6)
    other.set_state(state)
    np.testing.assert_array_equal(other.task_id, envs.task_id)
    actions = np.array([0, 1, 0, 1, 1, 0])
    for mine, theirs in zip(other.step(actions)[:4], envs.step(actions)[:4], strict=True):
        np.testing.assert_array_equal(mine, theirs)
    with pytest.raises(KeyError, match="only one of 'tasks' and 'task_id'"):
        other.set_state({"tasks": state["tasks"]})
    bad = state["tasks"].copy()
    bad[3, list(envs.task_parameters).index("length")] = -1
    before = other.get_state()
    with pytest.raises(ValueError, match=r"length\[3\] is -1.0; must be > 0"):
        other.set_state({**state, "tasks": bad})
    for key, value in other.get_state().items():
        np.testing.assert_array_equal(value, before[key])


@pytest.mark.parametrize(
    ("env_id", "tasks", "error", "match"),
    [
        ("CartPole-v1", {"weight": 1}, TypeError, "no task parameter 'weight'; valid ones: gravity, masscart"),
        ("CartPole-v1", {"kinematics_integrator": 1}, TypeError, "no task parameter 'kinematics_integrator'"),
        (
            "CartPole-v1",
            {"sutton_barto_reward": [0, 1, 2]},
            ValueError,
            r"sutton_barto_reward\[2\] is 2.0; must be 0 or 1",
        ),
        ("Catch-v0", {"rows": 5}, TypeError, "none of its parameters can differ"),
        ("CartPole-v1", {"length": [1, 2]}, ValueError, "length has 2 numbers; must be num_envs, 3"),
        ("CartPole-v1", {"length": [[1.0]]}, ValueError, r"length has shape \(1, 1\)"),
        ("CartPole-v1", {"length": [1, 0, 1]}, ValueError, r"length\[1\] is 0.0; must be > 0"),
        ("CartPole-v1", {"length": [1, 1, np.nan]}, ValueError, r"length\[2\] is nan; must be finite"),
        ("CartPole-v1", {"length": "long"}, TypeError, "length must be real numbers, got 'long'"),
        ("CartPole-v1", {"length": True}, TypeError, "length must be real numbers, got True"),
        ("CartPole-v1", {"x_threshold": [1, 3, 1]}, ValueError, r"x_threshold\[1\] is 3.0; must be <= 2.4, the env"),
        ("Pendulum-v1", {"max_torque": 3}, ValueError, r"max_torque\[0\] is 3.0; must be <= 2.0"),
        ("MountainCar-v0", {"min_position": -2}, ValueError, r"min_position\[0\] is -2.0; must be >= -1.2"),
        ("MountainCar-v0", {"reset_low": [-0.5, -0.1, -0.5]}, ValueError, r"reset_low\[1\] is -0.1; must be in"),
        ("CartPole-v1", [{"length": 1.0}], ValueError, "length has 1 numbers; must be num_envs, 3"),
        ("CartPole-v1", [{"length": 1.0}, {}, {}], ValueError, r"tasks\[1\] has parameters \[\]"),
        ("CartPole-v1", [1, 2, 3], TypeError, r"tasks\[0\] must be a mapping"),
        ("CartPole-v1", [], ValueError, "tasks is empty"),
        ("CartPole-v1", 3, TypeError, "tasks must be a mapping or a sequence of mappings, got int"),
    ],
)
def test_wrong_tasks(env_id, tasks, error, match):
    envs = mc.make_vec(env_id, 3)
    if envs.task_parameters:
        envs.set_tasks({envs.task_parameters[0]: envs.params[envs.task_parameters[0]]})
    before = envs.get_tasks()
    with pytest.raises(error, match=match):
        envs.set_tasks(tasks)
    after = envs.get_tasks()
    assert before.keys() == after.keys()
    for name in before:
        np.testing.assert_array_equal(before[name], after[name])


def test_wrong_task_ids_and_tables():
    envs = mc.make_vec("CartPole-v1", 3)
    for ids, error, match in (
        ([0, 1], ValueError, r"task_id has shape \(2,\); must be \(3,\)"),
        ([0, 1, -2], ValueError, r"task_id\[2\] is -2; must be in \[-1, 2\*\*31\)"),
        ([0.0, 1, 2], TypeError, "task_id must be integers"),
    ):
        with pytest.raises(error, match=match):
            envs.set_tasks({"length": 1.0}, task_id=ids)
    with pytest.raises(ValueError, match="length has 3 numbers; must be as many as of the others, 4"):
        envs.sample_tasks_at_reset({"length": np.ones(3), "gravity": np.ones(4)})
    with pytest.raises(ValueError, match="tasks is empty"):
        envs.sample_tasks_at_reset({"length": []})
    assert envs.task_id.tolist() == [-1, -1, -1]


def test_wrappers_of_gymnasium_work_on_top():
    envs = gymnasium.make_vec("metarl_core/CartPole-v1", num_envs=4)
    envs = gymnasium.wrappers.vector.RecordEpisodeStatistics(envs)
    envs.unwrapped.sample_tasks_at_reset(task_family("CartPole-v1").sample_tasks(20))
    envs.reset(seed=0)
    episodes = 0
    for _ in range(200):
        info = envs.step(envs.action_space.sample())[4]
        assert info["task_id"].shape == (4,)
        episodes += int(info.get("_episode", np.zeros(4)).sum())
    assert episodes > 5


@pytest.mark.parametrize("env_id", task_families())
def test_every_family_can_be_played(env_id):
    for split in ("train", "val", "test"):
        tasks = task_family(env_id).sample_tasks(64, split)
        envs = mc.make_vec(env_id, 64)
        envs.set_tasks(tasks)
        envs.action_space.seed(0)
        obs, _ = envs.reset(seed=0)
        for _ in range(100):
            obs, reward, terminated, *_ = envs.step(envs.action_space.sample())
            assert np.isfinite(obs).all()
            assert np.isfinite(reward).all()
        # With other constants than the defaults an end may lie beyond the bounds, which are twice CartPole's limits.
        for one, ended in zip(obs, terminated, strict=True):
            assert ended or envs.single_observation_space.contains(one)
