"""Tasks of wrapped environments: attributes, functions, the same as in native ones."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from wrapped_envs import DictEnv, RoomEnv

from metarl_core import WorkerError, make_vec
from metarl_core.tasks import task_family

BACKENDS = ["serial", "thread", "process"]

# Of every native family: parameters and ranges, as of tests/conformance/test_tasks.py, and states to start from.
FAMILIES = {
    "CartPole-v1": (
        {
            "gravity": (1, 20),
            "masscart": (0.5, 2),
            "masspole": (0.05, 1),
            "length": (0.2, 1.5),
            "force_mag": (2, 20),
            "tau": (0.005, 0.03),
            "theta_threshold_radians": (0.05, 0.2),
            "x_threshold": (0.5, 2.4),
        },
        0.05,
    ),
    "MountainCar-v0": (
        {
            "max_speed": (0.03, 0.07),
            "goal_position": (0.2, 0.55),
            "goal_velocity": (0, 0.02),
            "force": (0.0008, 0.003),
            "gravity": (0.001, 0.004),
        },
        0.05,
    ),
    "Acrobot-v1": (
        {
            "link_length_1": (0.5, 1.5),
            "link_mass_1": (0.5, 1.5),
            "link_mass_2": (0.5, 1.5),
            "link_com_pos_1": (0.3, 0.7),
            "link_com_pos_2": (0.3, 0.7),
            "link_moi": (0.5, 1.5),
            "max_vel_1": (5, 12),
            "max_vel_2": (10, 28),
            "dt": (0.05, 0.25),
        },
        0.1,
    ),
    "Pendulum-v1": (
        {"g": (1, 20), "m": (0.3, 2), "l": (0.3, 2), "dt": (0.01, 0.08), "max_speed": (2, 8), "max_torque": (0.5, 2)},
        1.0,
    ),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("env_id", FAMILIES)
def test_rows_play_as_the_native_environments_rows(env_id, backend):
    rows = 12
    ranges, spread = FAMILIES[env_id]
    rng = np.random.default_rng(3)
    native = make_vec(env_id, rows, seed=1, autoreset_mode="disabled", max_episode_steps=None)
    wrapped = make_vec(env_id, rows, seed=1, backend=backend, num_threads=2, autoreset_mode="disabled")
    tasks = {name: rng.uniform(low, high, rows) for name, (low, high) in ranges.items()}
    assert set(tasks) <= set(native.task_parameters)
    assert set(tasks) <= set(wrapped.task_parameters)
    for envs in (native, wrapped):
        envs.reset()
        envs.set_tasks(tasks)
    for name, values in wrapped.get_tasks().items():
        np.testing.assert_array_equal(values, native.get_tasks()[name])
    # The reference's state goes into the native rows at every step, so that nothing can grow.
    width = native.get_state()["state"].shape[1]
    state = rng.uniform(-spread, spread, (rows, width))
    wrapped.set_attr("state", [row.copy() for row in state])
    worst, compared = 0.0, 0
    for _ in range(60):
        native.set_state({"state": state, "done": np.zeros(rows, bool)})
        if env_id == "Pendulum-v1":
            actions = rng.uniform(-2, 2, (rows, 1)).astype(np.float32)
        else:
            actions = rng.integers(native.single_action_space.n, size=rows)
        a, b = native.step(actions), wrapped.step(actions)
        state = np.array(wrapped.get_attr("state"), dtype=np.float64)
        worst = max(worst, float(np.abs(native.get_state()["state"] - state).max()))
        np.testing.assert_array_equal(a[2], b[2])
        np.testing.assert_allclose(a[1], b[1], rtol=1e-13, atol=1e-13)
        np.testing.assert_allclose(a[0], b[0], rtol=2e-7, atol=2e-7)
        compared += rows
        if b[2].any():
            wrapped.reset(options={"reset_mask": b[2]})
            state = np.array(wrapped.get_attr("state"), dtype=np.float64)
    print(f"{env_id} {backend}: {compared} steps, largest difference {worst:.1e}")
    assert worst < 1e-13
    native.close()
    wrapped.close()


@pytest.mark.parametrize("backend", BACKENDS)
def test_sampled_tasks_are_those_of_the_native_environment(backend):
    rows, count = 7, 1000
    family = task_family("CartPole-v1")
    tasks = family.sample_tasks(count, "train", seed=4)
    native = make_vec("CartPole-v1", rows, seed=9)
    wrapped = make_vec("CartPole-v1", rows, seed=9, backend=backend, num_threads=2)
    for envs in (native, wrapped):
        envs.sample_tasks_at_reset(tasks)
        assert envs.task_id.tolist() == [-1] * rows  # not before a reset
    seen = set()
    for seed in [None, None, 5, None, [1, 2, 3, 4, 5, 6, 7], None]:
        _, info_a = native.reset(seed=seed)
        _, info_b = wrapped.reset(seed=seed)
        assert info_a["task_id"].tolist() == info_b["task_id"].tolist()
        assert info_b["_task_id"].all()
        seen |= set(info_b["task_id"].tolist())
        for name, values in wrapped.get_tasks().items():
            np.testing.assert_array_equal(native.get_tasks()[name], values)
    assert len(seen) > 25
    wrapped.close()


def test_autoreset_draws_and_reports_tasks():
    for mode in ("next_step", "same_step"):
        envs = make_vec(RoomEnv, 4, backend="serial", autoreset_mode=mode, seed=2, task_parameters=["bonus"])
        envs.sample_tasks_at_reset({"bonus": np.arange(50)})
        _, info = envs.reset()
        ids = info["task_id"]
        changed = 0
        for _ in range(30):
            _, reward, terminated, _, info = envs.step([0] * 4)
            if mode == "same_step":
                assert reward.tolist() == ids.tolist()  # the reward says which task it was
                if terminated.any():
                    final = info["final_info"]
                    assert final["task_id"][terminated].tolist() == ids[terminated].tolist()
                    assert final["_task_id"].tolist() == terminated.tolist()
            else:
                began = info["task_id"] != ids
                assert (reward[~began] == ids[~began])[reward[~began] != 0].all()
            changed += int((info["task_id"] != ids).sum())
            ids = info["task_id"]
            assert envs.get_tasks()["bonus"].tolist() == ids.tolist()
        assert changed > 20


def test_attributes_keep_their_types():
    envs = make_vec(RoomEnv, 3, backend="process", num_threads=2, task_parameters=["size", "bonus"])
    assert envs.task_parameters == ("size", "bonus")
    assert envs.get_tasks() == {"size": pytest.approx([3, 3, 3]), "bonus": pytest.approx([1, 1, 1])}
    assert "task_id" not in envs.reset()[1]
    envs.set_tasks({"size": [2, 4, 6]}, task_id=[7, 8, -1])
    assert envs.get_attr("size") == (2, 4, 6)
    assert all(type(size) is int for size in envs.get_attr("size"))
    obs, info = envs.reset()
    assert obs[:, 0].tolist() == [2, 4, 6]
    assert info["task_id"].tolist() == [7, 8, -1]
    envs.set_tasks([{"bonus": 5}, {"bonus": 6}, {"bonus": 7}])
    assert envs.step([0] * 3)[1].tolist() == [5, 6, 7]  # from the next step on
    assert envs.get_attr("size") == (3, 3, 3)  # what is not named is the environment's own
    envs.set_tasks(None)
    assert envs.get_attr("bonus") == (1, 1, 1)
    assert "task_id" not in envs.step([0] * 3)[4]
    envs.close()


def bigger_room(env, task):
    assert isinstance(env, RoomEnv)
    return RoomEnv(size=int(task["size"]))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_function_may_make_the_environment_anew(backend):
    def run(backend, num_threads):
        envs = make_vec(
            RoomEnv,
            4,
            backend=backend,
            num_threads=num_threads,
            seed=1,
            task_parameters=["size"],
            apply_task=bigger_room,
        )
        assert np.isnan(envs.get_tasks()["size"]).all()
        out = [envs.reset()[0]]
        envs.set_tasks({"size": [2, 3, 4, 5]})
        out.append(envs.step([0] * 4)[0])  # still the old one
        assert envs.task_id.tolist() == [-1] * 4
        obs, info = envs.reset()
        assert info["task_id"].tolist() == [0, 1, 2, 3]
        assert envs.get_tasks()["size"].tolist() == [2, 3, 4, 5]
        out.append(obs)
        assert obs[:, 0].tolist() == [2, 3, 4, 5]
        assert len(np.unique(obs[:, 1])) == 4  # each by its own seed
        for _ in range(12):
            out.append(envs.step([0] * 4)[0])
        envs.sample_tasks_at_reset({"size": np.arange(1, 30)})
        for _ in range(20):
            out.append(envs.step([0] * 4)[0])
        envs.set_tasks(None)
        obs, _ = envs.reset()
        assert obs[:, 0].tolist() == [3] * 4
        out.append(obs)
        out.append(envs.reset(seed=3)[0])
        envs.close()
        return np.array(out)

    np.testing.assert_array_equal(run(backend, 3), run("serial", 1))


def test_rows_may_be_allowed_some_tasks_only():
    envs = make_vec(RoomEnv, 3, backend="process", num_threads=2, seed=1, task_parameters=["bonus"])
    allowed = np.zeros((3, 9), bool)
    allowed[0, :3] = allowed[1, 4] = allowed[2, 5:] = True
    envs.sample_tasks_at_reset({"bonus": np.arange(9)}, allowed)
    drawn = np.array([envs.reset()[1]["task_id"] for _ in range(60)])
    assert set(drawn[:, 0]) == {0, 1, 2}
    assert set(drawn[:, 1]) == {4}
    assert set(drawn[:, 2]) == {5, 6, 7, 8}
    for bad, error in [(allowed[:2], ValueError), (allowed.astype(int), TypeError), (allowed & False, ValueError)]:
        with pytest.raises(error, match="allowed"):
            envs.sample_tasks_at_reset({"bonus": np.arange(9)}, bad)
    envs.close()


def test_bad_tasks_change_nothing():
    envs = make_vec(RoomEnv, 2, backend="serial", task_parameters=["size", "bonus"])
    envs.set_tasks({"size": [4, 5]})
    for tasks, error, message in [
        ({"colour": 1}, TypeError, "no task parameter 'colour'; valid ones: size, bonus"),
        ({"size": [1, 2, 3]}, ValueError, "size has 3 numbers; must be num_envs, 2"),
        ({"size": 2.5}, ValueError, r"size\[0\] is 2.5; must be an integer"),
        ({"size": [1, np.nan]}, ValueError, r"size\[1\] is nan; must be finite"),
        ({"size": "big"}, TypeError, "size must be real numbers"),
        ([{"size": 1}, {"bonus": 1}], ValueError, r"tasks\[1\] has parameters"),
        (3, TypeError, "tasks must be a mapping"),
    ]:
        with pytest.raises(error, match=message):
            envs.set_tasks(tasks)
    with pytest.raises(ValueError, match="tasks is empty"):
        envs.sample_tasks_at_reset([])
    for ids, error in [([1], ValueError), ([0.5, 1], TypeError), ([-2, 0], ValueError)]:
        with pytest.raises(error, match="task_id"):
            envs.set_tasks({"size": 1}, task_id=ids)
    assert envs.get_attr("size") == (4, 5)
    with pytest.raises(TypeError, match="name them in make_vec"):
        make_vec(RoomEnv, 1, backend="serial").set_tasks({"size": 1})
    for name, message in [("door", "has no such attribute"), ("observation_space", "but it is Box")]:
        with pytest.raises(ValueError, match=f"task_parameters names '{name}'.*{message}.*apply_task"):
            make_vec(RoomEnv, 1, backend="serial", task_parameters=[name])
    with pytest.raises(ValueError, match="apply_task needs task_parameters"):
        make_vec(RoomEnv, 1, backend="serial", apply_task=bigger_room)
    functions = make_vec(RoomEnv, 1, backend="serial", apply_task=bigger_room, task_parameters=["size", "bonus"])
    with pytest.raises(ValueError, match="tasks has no 'bonus'"):
        functions.set_tasks({"size": 3})
    other = make_vec(RoomEnv, 1, backend="serial", apply_task=lambda env, task: DictEnv(), task_parameters=["size"])
    other.set_tasks({"size": 3})
    with pytest.raises(WorkerError, match="raised ValueError: apply_task made an environment whose observation_space"):
        other.reset()


def test_a_wrapper_is_not_closed_with_what_it_wraps():
    def wrap(env, task):
        return gymnasium.wrappers.TransformReward(env, lambda reward: reward * task["scale"])

    envs = make_vec(RoomEnv, 2, backend="serial", task_parameters=["scale"], apply_task=wrap)
    envs.set_tasks({"scale": [2, 3]})
    envs.reset()
    assert envs.step([0, 0])[1].tolist() == [2, 3]
    assert envs.get_attr("closed") == (False, False)


def test_native_environments_have_the_same_methods():
    names = [
        "set_tasks",
        "get_tasks",
        "sample_tasks_at_reset",
        "task_id",
        "task_parameters",
        "make_buffers",
        "final_obs_dense",
        "num_threads",
        "params",
        "reset",
        "step",
        "close",
    ]
    native = make_vec("CartPole-v1", 2)
    wrapped = make_vec("CartPole-v1", 2, backend="serial")
    for name in names:
        assert hasattr(native, name), name
        assert hasattr(wrapped, name), name
