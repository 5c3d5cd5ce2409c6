"""Environments in a GPU's memory against the CPU's, bit for bit."""

from __future__ import annotations

import os

import numpy as np
import pytest
from device_env_helpers import (
    MODES,
    actions_of,
    assert_same,
    assert_same_obs,
    assert_same_state,
    assert_same_step,
    pair,
    play,
)
from env_library_helpers import build_example

import metarl_core
from metarl_core import ResetNeededError

torch = pytest.importorskip("torch")

ROWS = 1024
STEPS = int(os.environ.get("METARL_CUDA_ENV_STEPS", "100000"))
CHUNK_BYTES = 256 << 20  # observations of a rollout
# Of observations that are larger than this, every eighth chunk is compared; of all else, every bit.
LARGE_OBS = 256


def to_gpu(array):
    return torch.from_numpy(np.ascontiguousarray(array)).cuda()


def kernel_cases():
    """Return one environment for each set of kernels, in both precisions where there are two."""
    cases = {}
    for env_id in metarl_core.list_envs():
        narrow = {"precision": "float32"} if "precision" in metarl_core.env_spec(env_id).parameters else {}
        for params in ({}, narrow):
            envs = metarl_core.make_vec(env_id, 1, **params)
            cases.setdefault(envs._core.describe()["kernels"], (env_id, params))
            envs.close()
    return list(cases.values())


@pytest.mark.parametrize("env_id", metarl_core.list_envs())
@pytest.mark.parametrize("mode", MODES)
def test_every_environment_and_mode(env_id, mode):
    device, cpu = pair(env_id, 300, mode, seed=4)
    play(device, cpu, to_gpu, 60)


@pytest.mark.parametrize(("env_id", "params"), kernel_cases())
def test_many_steps(env_id, params):
    gpu = metarl_core.make_vec(env_id, ROWS, autoreset_mode="same_step", device="cuda", **params)
    cpu = metarl_core.make_vec(env_id, ROWS, autoreset_mode="same_step", **params)
    gpu.reset(seed=7)
    obs = cpu.reset(seed=7)[0]
    row_bytes = sum(array.nbytes for array in (obs if isinstance(obs, tuple) else (obs,))) // ROWS
    steps = max(1, min(1000, CHUNK_BYTES // (2 * ROWS * row_bytes)))
    ours, theirs = gpu.make_rollout_buffers(steps), cpu.make_rollout_buffers(steps)
    names = ["actions", "reward", "terminated", "truncated", "valid"]
    for chunk in range(-(-STEPS // steps)):
        gpu.rollout("random", out=ours)
        cpu.rollout("random", out=theirs)
        for name in names + (["obs"] if row_bytes <= LARGE_OBS or chunk % 8 == 0 else []):
            assert_same(getattr(ours, name), getattr(theirs, name), f"{name}, chunk {chunk}")
        for name, array in theirs.info.items():
            assert_same(ours.info[name], array, f"{name}, chunk {chunk}")
        ended = theirs.terminated | theirs.truncated
        if chunk % 8 == 0:
            assert_same(ours.final_obs, theirs.final_obs, f"final_obs, chunk {chunk}", ended)
    assert_same_state(gpu, cpu)
    gpu.check()


@pytest.mark.parametrize("table", [False, True])
@pytest.mark.parametrize(
    ("env_id", "parameter", "values"),
    [("CartPole-v1", "length", np.linspace(0.3, 0.8, 64)), ("Maze-v0", "map_seed", np.arange(64))],
)
def test_tasks(env_id, parameter, values, table):
    device, cpu = pair(env_id, 640, "same_step", max_episode_steps=20)
    for envs in (device, cpu):
        if table:
            envs.sample_tasks_at_reset({parameter: values})
        else:
            envs.set_tasks({parameter: np.resize(values, 640)})
    play(device, cpu, to_gpu, 60)


def test_a_replayed_graph_does_what_eager_calls_do():
    graphed = metarl_core.make_vec("CartPole-v1", ROWS, device="cuda", autoreset_mode="same_step")
    eager = metarl_core.make_vec("CartPole-v1", ROWS, device="cuda", autoreset_mode="same_step")
    out, actions = graphed.make_buffers(), torch.zeros(ROWS, dtype=torch.int64, device="cuda")
    rollout = graphed.make_rollout_buffers(10)
    for envs in (graphed, eager):
        envs.reset(seed=1)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        graphed.step(actions, out=out)
        graphed.rollout("random", out=rollout)
        with pytest.raises(RuntimeError, match="pass out="):
            graphed.step(actions)
    for chosen in actions_of(graphed, 50):
        actions.copy_(to_gpu(chosen))
        graph.replay()
        expected = eager.step(actions)
        for ours, theirs in zip(out, expected, strict=False):
            assert torch.equal(torch.from_dlpack(ours), torch.from_dlpack(theirs))
        assert torch.equal(torch.from_dlpack(rollout.obs), torch.from_dlpack(eager.rollout("random", 10).obs))
    torch.cuda.synchronize()
    graphed.check()
    ours, theirs = graphed.get_state(), eager.get_state()
    for name in theirs:
        assert_same(ours[name], theirs[name], name)


@pytest.mark.parametrize("env_id", ["DeepSea-v0", "Catch-v0"])
def test_buffers_that_hold_the_last_observation(env_id):
    device, cpu = pair(env_id, ROWS)
    device.reset()
    cpu.reset()
    buffers = device.make_buffers()
    for t, actions in enumerate(actions_of(cpu, 100)):
        if t % 30 == 7:
            device.step(to_gpu(np.full(ROWS, 99)), out=buffers)
        assert_same_step(device.step(to_gpu(actions), out=buffers), cpu.step(actions), f"step {t}")
    with pytest.raises(ValueError, match=r"actions\[0\] is 99"):
        device.check()


def test_errors_are_found_on_the_device_and_leave_it_usable():
    device, cpu = pair("CartPole-v1", ROWS, "disabled", max_episode_steps=3)
    device.reset(seed=1)
    cpu.reset(seed=1)
    actions = np.zeros(ROWS, np.int64)
    bad = actions.copy()
    bad[[700, 900]] = 2
    device.step(to_gpu(bad))
    assert_same_state(device, cpu)
    with pytest.raises(ValueError, match=r"actions\[700\] is 2; must be in \[0, 2\)"):
        device.check()
    for _ in range(3):
        assert_same_step(device.step(to_gpu(actions)), cpu.step(actions))
    device.step(to_gpu(actions))
    with pytest.raises(ResetNeededError, match="the episode of environment 0 has ended"):
        device.check()
    assert_same_state(device, cpu)
    with pytest.raises(TypeError, match=r"actions is a \S*ndarray in host memory; must be on cuda:0"):
        device.step(actions)


def test_calls_on_two_streams_are_in_order():
    device, cpu = pair("CartPole-v1", ROWS)
    device.reset(seed=1)
    cpu.reset(seed=1)
    streams = [torch.cuda.Stream(), torch.cuda.Stream()]
    for t, actions in enumerate(actions_of(cpu, 200)):
        with torch.cuda.stream(streams[t % 2]):
            obs = device.step(to_gpu(actions))[0]
        expected = cpu.step(actions)[0]
    torch.cuda.synchronize()
    assert_same_obs(obs, expected)
    assert_same_state(device, cpu)
    device.check()


def test_memory_is_returned():
    import gc

    def free_bytes():
        gc.collect()
        torch.cuda.synchronize()
        return torch.cuda.mem_get_info()[0]

    def reset_and_drop():
        envs = metarl_core.make_vec("CartPole-v1", 1 << 16, device="cuda")
        obs = torch.from_dlpack(envs.reset()[0])
        del envs
        assert bool(torch.isfinite(obs).all())

    reset_and_drop()  # kernels, ours and torch's, are loaded and keep memory of their own
    before = free_bytes()
    for _ in range(30):
        reset_and_drop()
    assert free_bytes() >= before - (8 << 20)


# ---- an environment of one's own, whose kernels another copy of CUDA's runtime launches ------------------------------
@pytest.fixture(scope="module")
def windy_lander(tmp_path_factory):
    path, said = build_example(tmp_path_factory.mktemp("custom_env"))
    if "built without kernels for GPUs" in said:
        pytest.skip("no nvcc works here")
    (env_id,) = metarl_core.load_env_library(path)
    return env_id


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("mode", MODES)
def test_a_library(windy_lander, mode, precision):
    device, cpu = pair(windy_lander, 300, mode, seed=4, precision=precision, max_episode_steps=40)
    play(device, cpu, to_gpu, 200)


def test_tasks_of_a_library(windy_lander):
    device, cpu = pair(windy_lander, 640, "same_step", max_episode_steps=40)
    for envs in (device, cpu):
        envs.sample_tasks_at_reset({"gravity": np.linspace(1, 3, 64)})
    play(device, cpu, to_gpu, 100)


def test_many_steps_of_a_library(windy_lander):
    test_many_steps(windy_lander, {})


def test_a_graph_with_kernels_of_a_library(windy_lander):
    device, cpu = pair(windy_lander, ROWS, "same_step")
    out, actions = device.make_buffers(), torch.zeros(ROWS, dtype=torch.int64, device="cuda")
    device.reset(seed=1)
    cpu.reset(seed=1)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        device.step(actions, out=out)
    for chosen in actions_of(cpu, 200):
        actions.copy_(to_gpu(chosen))
        graph.replay()
        expected = cpu.step(chosen)
        for ours, theirs in zip(out, expected, strict=False):
            assert_same(torch.from_dlpack(ours), theirs)
    torch.cuda.synchronize()
    assert_same_state(device, cpu)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one GPU alone")
def test_a_library_on_two_gpus(windy_lander):
    """The runtime of the library has a current device of its own."""
    cpu = metarl_core.make_vec(windy_lander, 64)
    expected = [cpu.reset(seed=1)[0], *(cpu.step(actions)[0] for actions in actions_of(cpu, 20))]
    both = [metarl_core.make_vec(windy_lander, 64, device=f"cuda:{number}") for number in (0, 1)]
    for envs in both:
        assert_same_obs(envs.reset(seed=1)[0], expected[0])
    for t, actions in enumerate(actions_of(cpu, 20)):
        for number, envs in enumerate(both):
            assert_same_obs(envs.step(torch.from_numpy(actions).to(f"cuda:{number}"))[0], expected[t + 1])
