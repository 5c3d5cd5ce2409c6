"""Environments in device memory without a GPU: their kernels on the emulator, bit for bit against the CPU's."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from device_env_helpers import (
    MODES,
    actions_of,
    assert_same,
    assert_same_obs,
    assert_same_rollout,
    assert_same_state,
    assert_same_step,
    host,
    pair,
    play,
)
from emulated_cuda import CAPTURING, emulated, needs_emulator

import metarl_core
from metarl_core import ClosedError, ResetNeededError, _cuda_module
from metarl_core.vector.base import StepBuffers

pytestmark = needs_emulator
ROWS = 11
FLOAT32 = {"precision": "float32"}
FAMILIES = [
    ("CartPole-v1", {}),
    ("CartPole-v1", FLOAT32),
    ("Acrobot-v1", FLOAT32),
    ("MountainCarContinuous-v0", {"max_episode_steps": 9}),
    ("Pendulum-v1", {"max_episode_steps": 7, **FLOAT32}),
    ("FrozenLake-v1", {}),
    ("Taxi-v4", {"max_episode_steps": 8}),
    ("Blackjack-v1", {}),
    ("DeepSea-v0", {"size": 4}),
    ("Catch-v0", {}),
    ("MemoryChain-v0", {}),
    ("CartPoleSwingup-v0", FLOAT32),
    ("MinAtar/Breakout-v1", {}),
    ("MiniGrid-DoorKey-5x5-v0", {"max_episode_steps": 9}),
    ("PointRobot-v0", {"max_episode_steps": 6}),
    ("TabularMDP-v0", {}),
    ("Maze-v0", {"size": 7}),
]


@pytest.fixture(autouse=True)
def _emulated_device(monkeypatch):
    monkeypatch.setattr(_cuda_module, "cuda_module", lambda device: emulated)


def to_device(array):
    return np.ascontiguousarray(array)


def new_cart_poles(num_envs=ROWS, **arguments):
    return metarl_core.make_vec("CartPole-v1", num_envs, device="cuda", **arguments)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("env_id", "params"), FAMILIES)
def test_same_bits_as_the_cpu(env_id, params, mode):
    device, cpu = pair(env_id, ROWS, mode, seed=4, **params)
    play(device, cpu, to_device, 20)


@pytest.mark.parametrize("env_id", metarl_core.list_envs())
def test_every_environment_has_kernels(env_id):
    device, cpu = pair(env_id, 3, "same_step")
    assert_same_obs(device.reset(seed=1)[0], cpu.reset(seed=1)[0])
    for actions in actions_of(cpu, 3):
        assert_same_step(device.step(actions), cpu.step(actions))
    assert_same_state(device, cpu)
    device.check()


# ---- tasks -----------------------------------------------------------------------------------------------------------
TASKS = [
    ("CartPole-v1", {"length": np.linspace(0.3, 0.8, ROWS)}, {}),
    ("CartPole-v1", {"length": np.linspace(0.3, 0.8, ROWS), "gravity": 9.0}, FLOAT32),
    ("FrozenLake-v1", {"map_seed": np.arange(ROWS), "hole_reward": -0.5}, {}),
    ("Maze-v0", {"map_seed": np.arange(ROWS)}, {"size": 7}),
    ("Taxi-v4", {"is_rainy": np.arange(ROWS) % 2}, {}),
]


@pytest.mark.parametrize(("env_id", "tasks", "params"), TASKS)
@pytest.mark.parametrize("table", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_tasks_of_rows_and_from_a_table(env_id, tasks, params, table, mode):
    device, cpu = pair(env_id, ROWS, mode, max_episode_steps=6, **params)
    tasks = {name: value for name, value in tasks.items() if name in cpu.task_parameters}
    for envs in (device, cpu):
        if table:
            envs.sample_tasks_at_reset({name: np.resize(value, 5) for name, value in tasks.items()})
        else:
            envs.set_tasks(tasks, task_id=100 + np.arange(ROWS))
    play(device, cpu, to_device, 14)
    for name, values in cpu.get_tasks().items():
        assert_same(device.get_tasks()[name], values, name)
    assert_same(device.task_id, cpu.task_id)
    for envs in (device, cpu):
        envs.set_tasks(None)
    assert_same_obs(device.reset()[0], cpu.reset()[0])
    assert "task_id" not in device.step(actions_of(cpu, 1)[0])[4]


def test_tasks_are_changed_in_place():
    device, _ = pair("CartPole-v1", ROWS)
    before = device.nbytes
    device.set_tasks({"length": 0.4})
    with_tasks = device.nbytes
    assert with_tasks > before
    device.set_tasks({"length": 0.6})
    assert device.nbytes == with_tasks
    device.sample_tasks_at_reset({"length": [0.4, 0.5, 0.6]})
    assert device.nbytes > with_tasks
    device.set_tasks(None)
    assert device.nbytes == before


# ---- the caller's arrays ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("env_id", "params"), [("DeepSea-v0", {"size": 5}), ("Catch-v0", {}), ("CartPole-v1", {})])
@pytest.mark.parametrize("mode", ["next_step", "same_step"])
def test_buffers_are_written_and_returned(env_id, params, mode):
    device, cpu = pair(env_id, ROWS, mode, **params)
    device.reset()
    cpu.reset()
    buffers = device.make_buffers()
    bad = np.full(ROWS, 99)
    for t, actions in enumerate(actions_of(cpu, 40)):
        if t in (0, 1, 9):  # refused: neither the first call nor a later one may count as a step
            device.step(bad, out=buffers)
            with pytest.raises(ValueError, match=r"actions\[0\] is 99"):
                device.check()
        if t in (5, 20):
            device.reset(options={"reset_mask": np.arange(ROWS) < 4})
            cpu.reset(options={"reset_mask": np.arange(ROWS) < 4})
            if t == 20:
                device.step(bad, out=buffers)
                with pytest.raises(ValueError, match=r"actions\[0\] is 99"):
                    device.check()
        result = device.step(actions, out=buffers)
        assert all(ours is given for ours, given in zip(result, buffers, strict=False))
        assert_same_step(result, cpu.step(actions), f"step {t}")
        if t == 30:
            device.step(actions)
            cpu.step(actions)
    device.check()


def test_arrays_of_other_libraries():
    torch = pytest.importorskip("torch")
    device, cpu = pair("CartPole-v1", ROWS, "same_step")
    device.reset()
    cpu.reset()
    out = {
        "obs": torch.zeros((ROWS, 4)),
        "reward": torch.zeros(ROWS, dtype=torch.float64),
        "terminated": torch.zeros(ROWS, dtype=torch.bool),
        "truncated": torch.zeros(ROWS, dtype=torch.bool),
        "final_obs": torch.zeros((ROWS, 4)),
        "_final_obs": torch.zeros(ROWS, dtype=torch.bool),
    }
    for actions in actions_of(cpu, 30):
        obs, reward, terminated, truncated, info = device.step(torch.from_numpy(actions), out=out)
        assert obs is out["obs"]
        assert info["final_obs"] is out["final_obs"]
        numpys = [array.numpy() for array in (obs, reward, terminated, truncated)]
        infos = {name: array.numpy() for name, array in info.items()}
        assert_same_step((*numpys, infos), cpu.step(actions))
    new = device.step(torch.from_numpy(actions))
    assert tuple(torch.from_dlpack(new[0]).shape) == (ROWS, 4)
    assert torch.from_dlpack(new[2]).dtype == torch.bool
    mask = torch.arange(ROWS) % 2 == 0
    cpu.step(actions)
    ours, theirs = (envs.reset(options={"reset_mask": m}) for envs, m in ((device, mask), (cpu, mask.numpy())))
    assert_same_obs(ours[0], theirs[0])


def test_info_in_the_callers_arrays():
    device, cpu = pair("Taxi-v4", ROWS)
    device.reset()
    cpu.reset()
    out = device.make_buffers()._asdict()
    assert set(device.step(actions_of(cpu, 1)[0], out=out)[4]) == set()
    cpu.step(actions_of(cpu, 1)[0])
    out |= {"action_mask": np.zeros((ROWS, 6), np.int8), "prob": np.zeros(ROWS)}
    actions = actions_of(cpu, 1, 3)[0]
    assert_same_step(device.step(actions, out=out), cpu.step(actions))
    assert out["action_mask"].any()


def test_reset_into_arrays():
    device, cpu = pair("Taxi-v4", ROWS)
    out = {"obs": np.zeros(ROWS, np.int64), "action_mask": np.zeros((ROWS, 6), np.int8)}
    obs, info = device.reset(seed=3, out=out)
    expected, theirs = cpu.reset(seed=3)
    assert obs is out["obs"]
    assert_same(obs, expected)
    assert_same(info["action_mask"], theirs["action_mask"])


# ---- rollouts --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("mode", MODES)
def test_rollouts_of_policies_and_into_arrays(mode):
    device, cpu = pair("CartPole-v1", ROWS, mode)
    device.reset()
    cpu.reset()

    def policy(obs):
        return (host(obs)[:, 2] > 0).astype(np.int64)

    assert_same_rollout(device.rollout(policy, 15), cpu.rollout(policy, 15))
    out, expected = device.make_rollout_buffers(7), cpu.make_rollout_buffers(7)
    for envs in (device, cpu):
        envs.reset(seed=2)
    assert device.rollout("random", out=out) is out
    cpu.rollout("random", out=expected)
    for name in ("obs", "actions", "reward", "valid"):
        assert_same(getattr(out, name), getattr(expected, name), name)
    if mode == "same_step":
        ended = expected.terminated | expected.truncated
        assert_same(out.final_obs, expected.final_obs, "final_obs", ended)
    device.check()


def test_rollout_arguments():
    device = new_cart_poles()
    good = np.zeros((4, ROWS), np.int64)
    with pytest.raises(ResetNeededError, match="reset must be called before step"):
        device.rollout(good)
    device.reset()
    for call, error, message in (
        (lambda: device.rollout("best", 3), ValueError, "policy is 'best'"),
        (lambda: device.rollout("random"), TypeError, "rollout needs steps"),
        (lambda: device.rollout(good, 5), ValueError, "steps is 5; actions have 4"),
        (
            lambda: device.rollout(good[:, 1:].copy()),
            ValueError,
            r"actions has shape \(4, 10\); must have shape \(4, 11\)",
        ),
        (lambda: device.rollout(good, out=3), TypeError, "out must be a Rollout"),
        (
            lambda: device.rollout(lambda obs: good, 2),
            ValueError,
            r"actions has shape \(4, 11\); must have shape \(1, 11\)",
        ),
    ):
        with pytest.raises(error, match=message):
            call()
    good[2, 7] = 2
    before = device.get_state()
    device.rollout(good)
    with pytest.raises(ValueError, match=r"call number 0 .*: actions\[2, 7\] is 2; must be in \[0, 2\)"):
        device.check()
    for name, array in device.get_state().items():
        assert_same(array, before[name], name)


# ---- what a graph can record -----------------------------------------------------------------------------------------
def test_recording_a_graph_allocates_and_reads_nothing():
    device, cpu = pair("DeepSea-v0", ROWS, "same_step", size=4)
    device.reset()
    cpu.reset()
    buffers, rollout = device.make_buffers(), device.make_rollout_buffers(5)
    actions = actions_of(cpu, 3)
    assert_same_step(device.step(actions[0], out=buffers, stream=CAPTURING), cpu.step(actions[0]))
    assert_same_step(device.step(actions[1], out=buffers, stream=CAPTURING), cpu.step(actions[1]))
    device.rollout("random", out=rollout, stream=CAPTURING)
    assert_same(rollout.obs, cpu.rollout("random", 5).obs)
    mask = emulated_mask(np.arange(ROWS) < 3)
    ours = device.reset(options={"reset_mask": mask}, out={"obs": buffers.obs}, stream=CAPTURING)
    assert_same_obs(ours[0], cpu.reset(options={"reset_mask": np.arange(ROWS) < 3})[0])
    for call, message in (
        (lambda: device.step(actions[2], stream=CAPTURING), "pass out="),
        (lambda: device.reset(stream=CAPTURING), "pass out="),
        (lambda: device.rollout("random", 3, stream=CAPTURING), "pass out="),
        (lambda: device.observe(stream=CAPTURING), "pass out="),
        (lambda: device.reset(seed=1, out={"obs": buffers.obs}, stream=CAPTURING), "seeds cannot be copied"),
        (
            lambda: device.reset(
                options={"reset_mask": np.arange(ROWS) < 3}, out={"obs": buffers.obs}, stream=CAPTURING
            ),
            "the mask cannot be copied",
        ),
    ):
        with pytest.raises(RuntimeError, match=rf"records a graph.*{message}"):
            call()
    assert_same_state(device, cpu)
    # Replays step without this object: the buffers are written anew in every step from now on.
    for _ in range(3):
        assert_same_step(device.step(actions[2], out=buffers), cpu.step(actions[2]))
    device.check()


def emulated_mask(mask):
    """A mask in device memory; NumPy's are copied."""
    torch = pytest.importorskip("torch")
    return torch.from_numpy(mask)


# ---- errors ----------------------------------------------------------------------------------------------------------
def test_check_raises_what_the_device_found():
    device, cpu = pair("CartPole-v1", ROWS)
    device.reset()
    cpu.reset()
    actions = np.zeros(ROWS, np.int32)
    actions[[4, 6]] = -1, 5
    device.step(actions)
    device.step(np.full(ROWS, 3))
    assert_same_state(device, cpu)
    with pytest.raises(ValueError, match=r"call number 0 .*: actions\[4\] is -1; must be in \[0, 2\)"):
        device.check()
    device.check()  # once
    robots = metarl_core.make_vec("PointRobot-v0", 5, device="cuda")
    robots.reset()
    actions = np.zeros((5, 2), np.float32)
    actions[3, 1] = np.inf
    robots.step(actions)
    with pytest.raises(ValueError, match=r"actions\[3, 1\] is inf; must be finite"):
        robots.check()


def test_rows_that_have_ended():
    device = new_cart_poles(autoreset_mode="disabled", max_episode_steps=1)
    device.reset()
    actions = np.zeros(ROWS, np.int64)
    device.step(actions)
    device.step(actions)
    with pytest.raises(ResetNeededError, match=r"call number 1 .*the episode of environment 0 has ended"):
        device.check()
    device.reset(options={"reset_mask": np.ones(ROWS, bool)})
    device.step(actions)
    device.check()


def test_bad_arguments_raise_at_once():
    device = new_cart_poles()
    good = np.zeros(ROWS, np.int64)
    with pytest.raises(ResetNeededError, match="reset must be called before step"):
        device.step(good)
    with pytest.raises(ResetNeededError, match="reset every environment once"):
        device.reset(options={"reset_mask": np.ones(ROWS, bool)})
    device.reset()
    out = device.make_buffers()._asdict()
    many = metarl_core.make_vec("Pendulum-v1", 4, device="cuda")
    many.reset()
    for call, error, message in (
        (lambda: device.step([0] * ROWS), TypeError, r"actions is a list; must be an array on emulated:0"),
        (lambda: device.step(good[1:]), ValueError, r"actions has shape \(10,\); must have shape \(11,\)"),
        (lambda: device.step(good.astype(float)), TypeError, "actions is of float64; must be of an integer dtype"),
        (lambda: many.step(np.zeros((4, 1), int)), TypeError, "actions is of int64; must be of float32 or float64"),
        (lambda: many.step(np.zeros(4)), ValueError, r"actions has shape \(4,\); must have shape \(4, 1\)"),
        (lambda: device.step(np.zeros(2 * ROWS, int)[::2]), ValueError, "actions has gaps or another order"),
        (lambda: device.step(good, out=(1, 2)), TypeError, "out must be StepBuffers or a dict"),
        (lambda: device.step(good, out={"obs": out["obs"]}), KeyError, "out: 'reward' is missing"),
        (
            lambda: device.step(good, out=out | {"obs": np.zeros((ROWS, 4))}),
            TypeError,
            r"out\['obs'\] is of float64; must be of float32",
        ),
        (
            lambda: device.step(good, out=out | {"obs": np.zeros((4, ROWS), np.float32)}),
            ValueError,
            r"out\['obs'\] has shape \(4, 11\); must have shape \(11, 4\)",
        ),
        (
            lambda: device.step(good, out=out | {"obs": np.zeros((4, ROWS), np.float32).T}),
            ValueError,
            r"out\['obs'\] has gaps or another order of axes; must be contiguous",
        ),
        (
            lambda: device.step(good, out=out | {"truncated": out["terminated"]}),
            ValueError,
            "'terminated' and 'truncated' must be different arrays",
        ),
        (lambda: device.step(good, stream=-3), ValueError, "stream is -3"),
        (lambda: device.reset(options={"reset_mask": [True] * ROWS}), TypeError, "must be a bool array"),
        (lambda: device.reset(options={"reset_mask": np.zeros(ROWS, bool)}), ValueError, "True somewhere"),
        (lambda: device.reset(options={"mask": None}), ValueError, "unknown key 'mask'"),
        (lambda: device.reset(seed=-1), ValueError, "seed is -1"),
        (lambda: device.final_obs_dense(), RuntimeError, "info of every step has 'final_obs'"),
        (lambda: device.bad_episode(), RuntimeError, "no such flag"),
        (lambda: device.make_rollout_buffers(0), ValueError, "steps is 0"),
    ):
        with pytest.raises(error, match=message):
            call()
    device.check()


def test_what_make_vec_refuses():
    for arguments, error, message in (
        ({"num_threads": 2}, ValueError, "num_threads is 2; must be None on a GPU"),
        ({"device": "gpu"}, ValueError, "device is 'gpu'; must be 'cpu', 'cuda' or 'cuda:N'"),
        ({"device": "cuda:7"}, RuntimeError, "there is no cuda:7"),
        ({"autoreset_mode": "never"}, ValueError, "autoreset_mode is 'never'"),
        ({"length": -1.0}, ValueError, "length"),
    ):
        with pytest.raises(error, match=message):
            metarl_core.make_vec("CartPole-v1", 4, **{"device": "cuda", **arguments})
    pytest.importorskip("gymnasium")
    with pytest.raises(ValueError, match=r"device is 'cuda', but .* is not native"):
        metarl_core.make_vec("CartPole-v1", 4, backend="serial", device="cuda")
    with pytest.raises(ValueError, match="make_async steps on the CPU"):
        metarl_core.make_async("CartPole-v1", 4, device="cuda")


def test_environments_without_kernels_are_refused():
    device, cpu = pair("CartPole-v1", 4)
    told = cpu._core.describe() | {"obs_shape": (4,), "action_shape": ()}
    with pytest.raises(ValueError, match="CartPole-v1 has no kernels for GPUs; use device='cpu'"):
        emulated.BatchEnv(told | {"kernels": ""}, cpu._core.read_arrays())
    with pytest.raises(ValueError, match="no kernels for GPUs"):
        emulated.BatchEnv(told | {"kernels": "windy_lander"}, cpu._core.read_arrays())
    arrays = cpu._core.read_arrays()
    for bad, message in (
        ({"state": np.zeros(3, np.uint8)}, "array 'state' has 3 bytes"),
        ({"task_id": np.zeros(16, np.uint8)}, "arrays of tasks do not fit"),
        ({"colour": np.zeros(3, np.uint8)}, "there is no array 'colour'"),
    ):
        with pytest.raises(ValueError, match=message):
            device._core.batch.write_arrays(arrays | bad, True)


def test_memory_that_does_not_fit_is_said():
    _, cpu = pair("CartPole-v1", 4)
    told = cpu._core.describe() | {"obs_shape": (4,), "action_shape": (), "num_envs": 2**31}
    # The emulator has 1 GiB.
    with pytest.raises(MemoryError, match=r"cannot allocate 2147483648 bytes on emulated:0 for actions of 2147483648"):
        emulated.BatchEnv(told, cpu._core.read_arrays())
    device = new_cart_poles(1000)
    assert 1000 * 40 < device.nbytes < 1000 * 100


# ---- states ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("env_id", ["CartPole-v1", "FrozenLake-v1", "MinAtar/Freeway-v1", "Maze-v0"])
def test_a_state_moves_between_devices(env_id):
    device, cpu = pair(env_id, ROWS, max_episode_steps=9)
    for envs in (device, cpu):
        envs.sample_tasks_at_reset({envs.task_parameters[0]: [envs.get_tasks()[envs.task_parameters[0]][0]] * 3})
    cpu.reset(seed=8)
    for actions in actions_of(cpu, 12):
        cpu.step(actions)
    device.restore(cpu.snapshot())
    assert_same_obs(device.observe(), cpu.observe())
    for actions in actions_of(cpu, 12, 1):
        assert_same_step(device.step(actions), cpu.step(actions))
    again = metarl_core.make_vec(env_id, ROWS, max_episode_steps=9)
    again.restore(device.snapshot())
    for actions in actions_of(cpu, 6, 2):
        for ours, theirs in zip(again.step(actions)[:4], cpu.step(actions)[:4], strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_states_of_rows():
    device, cpu = pair("CartPole-v1", ROWS)
    for envs in (device, cpu):
        envs.reset(seed=1)
        envs.set_state(envs.get_state([2] * 3), rows=[0, 5, 10])
    assert_same_state(device, cpu)
    with pytest.raises(ValueError, match=r"state\[0\] is not a state of CartPole-v1"):
        device.set_state({"state": np.full((1, len(device.field_names)), np.nan)}, rows=[3])
    assert_same_state(device, cpu)


def test_bookkeeping_of_some_environments():
    device, cpu = pair("DeepSea-v0", ROWS, size=4)
    device.reset()
    cpu.reset()
    for actions in actions_of(cpu, 12):
        device.step(actions)
        cpu.step(actions)
        assert_same(device.bad_episode(), cpu.bad_episode())
    for name, array in cpu.bsuite_info().items():
        assert_same(device.bsuite_info()[name], array, name)
    device, cpu = pair("MiniGrid-DoorKey-5x5-v0", 3)
    device.reset(seed=1)
    cpu.reset(seed=1)
    for name, array in cpu.minigrid_info().items():
        assert_same(device.minigrid_info()[name], array, name)


def test_pictures():
    device, cpu = pair("CartPole-v1", 2, render_mode="rgb_array")
    device.reset(seed=1)
    cpu.reset(seed=1)
    for ours, theirs in zip(device.render(), cpu.render(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


# ---- the object ------------------------------------------------------------------------------------------------------
def test_spaces_and_names_are_the_cpus():
    device, cpu = pair("CartPole-v1", ROWS, "same_step")
    assert device.single_observation_space == cpu.single_observation_space
    assert device.action_space == cpu.action_space
    assert device.metadata == cpu.metadata
    assert device.params == cpu.params
    assert device.task_parameters == cpu.task_parameters
    assert device.device == "emulated:0"
    assert repr(device) == "DeviceVectorEnv(CartPole-v1, num_envs=11, device='cuda')"


def test_the_second_device():
    envs = metarl_core.make_vec("CartPole-v1", 3, device="cuda:1")
    assert envs.device == "emulated:1"
    assert envs.reset()[0].device == "emulated:1"


def test_closing():
    device = new_cart_poles()
    obs, _ = device.reset()
    before = obs.numpy()
    device.close()
    device.close()
    np.testing.assert_array_equal(obs.numpy(), before)  # the result holds its memory
    for call in (
        device.reset,
        device.observe,
        device.check,
        device.get_state,
        lambda: device.step(np.zeros(ROWS, np.int64)),
        lambda: device.rollout("random", 2),
        lambda: device.set_tasks({"length": 0.4}),
    ):
        with pytest.raises(ClosedError, match="this environment was closed"):
            call()


def test_arrays_have_axes():
    device = new_cart_poles()
    obs, _ = device.reset()
    assert (obs.shape, obs.ndim, obs.size, len(obs)) == ((ROWS, 4), 2, 4 * ROWS, ROWS)
    assert repr(obs) == "DeviceArray(shape=(11, 4), dtype=float32, device='emulated:0')"
    values = np.from_dlpack(obs)
    assert values.shape == (ROWS, 4)
    np.testing.assert_array_equal(values, obs.numpy())
    np.testing.assert_array_equal(obs[3].numpy(), values[3])
    np.testing.assert_array_equal(obs[-1].numpy(), values[-1])
    with pytest.raises(IndexError, match="index 11 out of range for size 11"):
        obs[11]
    row = obs[2]
    del device, obs
    gc.collect()
    np.testing.assert_array_equal(row.numpy(), values[2])
    interface = row.__cuda_array_interface__
    assert (interface["shape"], interface["typestr"]) == ((4,), "<f4")
    flags = new_cart_poles()
    flags.reset()
    terminated = flags.step(np.zeros(ROWS, np.int64))[2]
    assert (terminated.dtype, terminated.__cuda_array_interface__["typestr"]) == (np.bool_, "|b1")
    assert isinstance(flags.make_buffers(), StepBuffers)
