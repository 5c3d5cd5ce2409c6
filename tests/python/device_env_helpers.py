"""Plays an environment on a device beside the CPU's, and compares every bit: for the emulator and for GPUs."""

from __future__ import annotations

import numpy as np

import metarl_core
from metarl_core.vector.base import AutoresetMode

MODES = ("next_step", "same_step", "disabled")


def host(array):
    """Return an array of a device as NumPy's."""
    if isinstance(array, np.ndarray):
        return array
    return array.cpu().numpy() if hasattr(array, "cpu") else array.numpy()


def assert_same(device, cpu, what="", where=None):
    ours, theirs = host(device), np.asarray(cpu)
    assert ours.dtype == theirs.dtype, what
    assert ours.shape == theirs.shape, what
    if where is not None:
        ours, theirs = ours[where], theirs[where]
    assert ours.tobytes() == theirs.tobytes(), what


def assert_same_obs(device, cpu, what="obs", where=None):
    assert_same(device, np.stack(cpu, axis=1) if isinstance(cpu, tuple) else cpu, what, where)


def assert_same_state(device, cpu):
    ours, theirs = device.get_state(), cpu.get_state()
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
        assert_same(ours[name], array, name)


def actions_of(envs, steps, seed=0):
    """Draw actions of some steps: ``(steps, num_envs, ...)``."""
    rng = np.random.default_rng(seed)
    space = envs.single_action_space
    if hasattr(space, "n"):
        return rng.integers(space.n, size=(steps, envs.num_envs))
    low, high = (np.clip(bound, -10, 10) for bound in (space.low, space.high))
    return rng.uniform(low, high, (steps, envs.num_envs, *space.shape)).astype(np.float32)


def pair(env_id, num_envs, mode="next_step", **arguments):
    """Return an environment on the device and the CPU's."""
    cpu = metarl_core.make_vec(env_id, num_envs, autoreset_mode=mode, dense_final_obs=True, num_threads=1, **arguments)
    return metarl_core.make_vec(env_id, num_envs, autoreset_mode=mode, device="cuda", **arguments), cpu


def assert_same_step(device, cpu, what=""):
    """Compare two results of step."""
    for name, ours, theirs in zip(("obs", "reward", "terminated", "truncated"), device, cpu, strict=False):
        assert_same_obs(ours, theirs, f"{what} {name}")
    ours, theirs = device[4], cpu[4]
    ended = host(device[2]) | host(device[3])
    for name in ("action_mask", "task_id"):
        assert (name in ours) == (name in theirs), name
        if name in ours:
            assert_same(ours[name], theirs[name], f"{what} {name}")
    if "prob" in theirs:
        finals = theirs.get("final_info", {}).get("prob", theirs["prob"])
        in_time = "_final_obs" in ours
        assert_same(ours["prob"], np.where(ended & in_time, finals, theirs["prob"]), f"{what} prob")
    if "_final_obs" in ours:
        assert_same(ours["_final_obs"], ended, f"{what} _final_obs")
        if "final_obs" in theirs:
            assert_same_obs(ours["final_obs"], theirs["final_obs"], f"{what} final_obs", ended)


def assert_same_rollout(device, cpu):
    for name in ("obs", "actions", "reward", "terminated", "truncated", "valid", "final_obs"):
        ours, theirs = getattr(device, name), getattr(cpu, name)
        if theirs is None:
            assert ours is None, name
        else:
            assert_same(ours, theirs, name)
    assert device.info.keys() == cpu.info.keys()
    for name, theirs in cpu.info.items():
        assert_same(device.info[name], theirs, name)


def play(device, cpu, to_device, steps):
    """Step both, reset some rows, roll out."""
    assert_same_obs(device.reset()[0], cpu.reset()[0])
    disabled = cpu.metadata["autoreset_mode"].value == AutoresetMode.DISABLED.value
    for t, actions in enumerate(actions_of(cpu, steps)):
        theirs = cpu.step(actions)
        assert_same_step(device.step(to_device(actions)), theirs, f"step {t}")
        ended = theirs[2] | theirs[3]
        if disabled and ended.any():
            ours = device.reset(options={"reset_mask": to_device(ended)})
            assert_same_obs(ours[0], cpu.reset(options={"reset_mask": ended})[0], "masked reset")
    assert_same_state(device, cpu)
    mask = np.arange(cpu.num_envs) % 3 == 1
    for options in (None, {"reset_mask": mask}):
        assert_same_obs(device.reset(seed=5, options=options)[0], cpu.reset(seed=5, options=options)[0], "seeded reset")
    assert_same_state(device, cpu)
    given = actions_of(cpu, steps, 1)
    if disabled:
        assert_same_obs(device.reset()[0], cpu.reset()[0])
    assert_same_rollout(device.rollout(to_device(given)), cpu.rollout(given))
    if disabled:
        assert_same_obs(device.reset()[0], cpu.reset()[0])
    assert_same_rollout(device.rollout("random", steps), cpu.rollout("random", steps))
    assert_same_state(device, cpu)
    device.check()
