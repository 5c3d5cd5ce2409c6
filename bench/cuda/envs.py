"""Stepping environments on a GPU: ours, and gymnax where it is installed with a JAX that can use the GPU.

    make bench-cuda

A row is one kind of call with one number of environments: the median time over repeats of a loop that is long against
the clock, the GPU being waited for at its ends alone. ``graph`` rows replay a captured call; ``rollout`` rows take many
steps in a launch, with random actions. ``roofline`` is the time that the bytes which a step must touch take at the copy
bandwidth measured here, over the time it took: the state read and written, the action read, the results written.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from measuring import captured, run, seconds_of

from metarl_core import make_vec

ENVIRONMENTS: tuple[tuple[str, dict[str, Any], str | None], ...] = (
    ("CartPole-v1", {"precision": "float32"}, "CartPole-v1"),
    ("CartPole-v1", {}, None),
    ("Pendulum-v1", {"precision": "float32"}, "Pendulum-v1"),
    ("Acrobot-v1", {"precision": "float32"}, "Acrobot-v1"),
    ("FrozenLake-v1", {}, None),
    ("Catch-v0", {}, "Catch-bsuite"),
    ("MinAtar/Breakout-v1", {}, "Breakout-MinAtar"),
    ("MiniGrid-DoorKey-8x8-v0", {}, None),
    ("Maze-v0", {}, None),
)
SIZES = tuple(1 << power for power in range(10, 21, 2))
ROLLOUT_STEPS = 100
MOST_BYTES = 8 << 30  # a row with larger arrays is left out
ELAPSED, DONE, REWARD, FLAGS = 4, 1, 8, 2


def step_bytes(env_id: str, params: dict[str, Any], tasks: bool) -> int:
    """Bytes that a step of one environment must move: see the head of this file."""
    envs = make_vec(env_id, 1, **params)
    state = envs._core.read_arrays()["state"].size
    obs = envs.reset()[0]
    obs_bytes = sum(array.nbytes for array in (obs if isinstance(obs, tuple) else (obs,)))
    action = 8 if hasattr(envs.single_action_space, "n") else 4 * int(np.prod(envs.single_action_space.shape))
    task = 8 * len(envs.task_parameters) if tasks else 0
    return 2 * (state + ELAPSED + DONE) + action + obs_bytes + REWARD + FLAGS + task


def random_actions(envs: Any) -> Any:
    """Actions of one step, int64 or float32, on the GPU."""
    import torch

    space = envs.single_action_space
    if hasattr(space, "n"):
        return torch.randint(int(space.n), (envs.num_envs,), device="cuda")
    low, high = (torch.as_tensor(np.asarray(bound), device="cuda") for bound in (space.low, space.high))
    return low + (high - low) * torch.rand((envs.num_envs, *space.shape), device="cuda")


def our_calls(env_id: str, params: dict[str, Any], num_envs: int, tasks: bool, row_bytes: int) -> Any:
    """Return the environments and calls by name, each with the number of steps it takes."""
    envs = make_vec(env_id, num_envs, device="cuda", autoreset_mode="same_step", **params)
    if tasks:
        name = envs.task_parameters[0]
        envs.set_tasks({name: float(envs.get_tasks()[name][0])})
    envs.reset(seed=0)
    out, actions = envs.make_buffers(), random_actions(envs)
    calls: dict[str, tuple[Callable[[], Any], int]] = {"step": (lambda: envs.step(actions, out=out), 1)}
    if 2 * ROLLOUT_STEPS * num_envs * row_bytes <= MOST_BYTES:
        arrays = envs.make_rollout_buffers(ROLLOUT_STEPS)
        calls["rollout"] = (lambda: envs.rollout("random", out=arrays), ROLLOUT_STEPS)
    calls["step graph"] = (captured(lambda: envs.step(actions, out=out)), 1)
    return envs, calls


def gymnax_call(name: str, num_envs: int) -> tuple[Callable[[], Any], int]:
    """Return a call of gymnax's that takes ROLLOUT_STEPS steps in a compiled loop, with random actions."""
    import gymnax
    import jax

    if jax.default_backend() != "gpu":
        raise ImportError(f"JAX has no GPU here, its backend is {jax.default_backend()}")
    env, params = gymnax.make(name)
    keys = jax.random.split(jax.random.PRNGKey(0), num_envs)
    _, state = jax.vmap(env.reset, in_axes=(0, None))(keys, params)

    def one(carry: Any, key: Any) -> Any:
        state = carry
        chosen, stepped = jax.random.split(key)
        actions = jax.vmap(env.action_space(params).sample)(jax.random.split(chosen, num_envs))
        obs, state, reward, done, _ = jax.vmap(env.step, in_axes=(0, 0, 0, None))(
            jax.random.split(stepped, num_envs), state, actions, params
        )
        return state, (obs, reward, done)

    @jax.jit
    def many(state: Any, key: Any) -> Any:
        return jax.lax.scan(one, state, jax.random.split(key, ROLLOUT_STEPS))

    key = jax.random.PRNGKey(1)
    return lambda: jax.block_until_ready(many(state, key)), ROLLOUT_STEPS


def seconds_waiting(call: Callable[[], Any]) -> float:
    """Median time of a call that waits for the device itself."""
    call()
    times = []
    for _ in range(7):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return float(np.median(times))


def measure(
    env_id: str, params: dict[str, Any], peer: str | None, size: int, bandwidth: float, rows: list[dict[str, Any]]
) -> None:
    """Every library with one number of environments."""
    import torch

    def note(library: str, call: str, seconds: float, floor: int | None) -> None:
        row: dict[str, Any] = {"library": library, "environment": env_id, "params": params, "call": call}
        row |= {"num_envs": size, "microseconds": seconds * 1e6, "steps_per_second": size / seconds}
        if floor is not None:
            row["roofline"] = size * floor / bandwidth / seconds
        rows.append(row)
        share = f"{row['roofline']:9.1%}" if floor is not None else ""
        name = env_id + (" f32" if params.get("precision") == "float32" else "")
        print(
            f"  {library:13} {name:24} {call:18} {size:>9,} {seconds * 1e6:>11.1f} us "
            f"{size / seconds / 1e6:>10.1f} M/s {share}",
            flush=True,
        )

    for tasks in (False, True):
        if tasks and env_id != "CartPole-v1":
            continue
        floor = step_bytes(env_id, params, tasks)
        envs, calls = our_calls(env_id, params, size, tasks, floor)
        for name, (call, steps) in calls.items():
            note("metarl_core", name + (" tasks" if tasks else ""), seconds_of(call) / steps, floor)
        envs.check()
        envs.close()
        del envs, calls, call
        torch.cuda.empty_cache()
    if peer is not None:
        try:
            call, steps = gymnax_call(peer, size)
            note("gymnax", "scan", seconds_waiting(call) / steps, None)
        except (ImportError, ValueError, RuntimeError) as error:
            print(f"  gymnax: left out: {error}".splitlines()[0], flush=True)


def main() -> int:
    """Return the exit status: 2 without a GPU."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envs", nargs="+", metavar="ID", help="these alone")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))

    def measure_all(args: argparse.Namespace, bandwidth: float, rows: list[dict[str, Any]]) -> None:
        for env_id, params, peer in ENVIRONMENTS:
            if args.envs and env_id not in args.envs:
                continue
            for size in args.sizes:
                measure(env_id, params, peer, size, bandwidth, rows)

    return run(
        parser,
        f"  {'library':13} {'environment':24} {'call':18} {'envs':>9} {'time a step':>14} {'steps':>14} "
        f"{'roofline':>9}",
        measure_all,
    )


if __name__ == "__main__":
    sys.exit(main())
