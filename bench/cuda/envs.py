"""Stepping environments on a GPU: ours, and gymnax where it is installed with a JAX that can use the GPU.

    make bench-cuda

A row is one kind of call with one number of environments: the median time over repeats of a loop that is long against
the clock, the GPU being waited for at its ends alone. ``graph`` rows replay a captured call; ``rollout`` rows take many
steps in a launch, with random actions. ``roofline`` is the time that the bytes which a step must touch take at the copy
bandwidth measured here, over the time it took: the state read and written, the action read, the results written. Few
environments, which fit into the GPU's cache, can be above 100 % of that. What has no room is left out, and said to be.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from measuring import captured, left_out, run, seconds_of, seconds_waiting

from metarl_core import env_spec, list_envs, make_vec

# gymnax's environments are not always the same ones: sizes and observations of some differ from ours.
PEERS = {
    "Acrobot-v1": "Acrobot-v1",
    "CartPole-v1": "CartPole-v1",
    "Catch-v0": "Catch-bsuite",
    "DeepSea-v0": "DeepSea-bsuite",
    "MinAtar/Asterix-v1": "Asterix-MinAtar",
    "MinAtar/Breakout-v1": "Breakout-MinAtar",
    "MinAtar/Freeway-v1": "Freeway-MinAtar",
    "MinAtar/SpaceInvaders-v1": "SpaceInvaders-MinAtar",
    "MountainCar-v0": "MountainCar-v0",
    "MountainCarContinuous-v0": "MountainCarContinuous-v0",
    "Pendulum-v1": "Pendulum-v1",
}
# One of each family.
QUICK_ENVIRONMENTS = (
    "CartPole-v1",
    "FrozenLake-v1",
    "Catch-v0",
    "MinAtar/Breakout-v1",
    "MiniGrid-DoorKey-8x8-v0",
    "Maze-v0",
)
# Where there are many ids, the one that stands for their kernels; else the first.
STAND_INS = {"MiniGrid-DoorKey-8x8-v0"}
SIZES = tuple(1 << power for power in range(10, 21, 2))
QUICK_SIZES = (1 << 12, 1 << 20)
ROLLOUT_STEPS = 100
MOST_OF_FREE = 0.9  # of the GPU's memory, for the arrays of a rollout
ELAPSED, DONE, REWARD, FLAGS = 4, 1, 8, 2


def chosen_cases(ids: list[str] | None, quick: bool) -> list[tuple[str, dict[str, Any]]]:
    """Return environments and their parameters, of those with two precisions the narrow one; CartPole in both.

    Args:
        ids: Which; ["all"]: all native ones; None: one for each set of kernels.
        quick: Without ids, one of each family.
    """
    known = list_envs()
    if ids == ["all"]:
        chosen = known
    elif ids is not None:
        unknown = [env_id for env_id in ids if env_id not in known]
        if unknown:
            raise SystemExit(f"--envs {' '.join(unknown)}: no native environment; 'all', or some of {', '.join(known)}")
        chosen = ids
    elif quick:
        chosen = list(QUICK_ENVIRONMENTS)
    else:
        by_kernels: dict[str, str] = {}
        for env_id in known:
            envs = make_vec(env_id, 1)
            kernels = envs._core.describe()["kernels"]
            envs.close()
            if env_id in STAND_INS or kernels not in by_kernels:
                by_kernels[kernels] = env_id
        chosen = list(by_kernels.values())
    cases: list[tuple[str, dict[str, Any]]] = []
    for env_id in chosen:
        cases.append((env_id, {"precision": "float32"} if "precision" in env_spec(env_id).parameters else {}))
        if env_id == "CartPole-v1":
            cases.append((env_id, {}))
    return cases


def step_bytes(env_id: str, params: dict[str, Any], tasks: bool) -> int:
    """Bytes that a step of one environment must move: see the head of this file."""
    envs = make_vec(env_id, 1, **params)
    state = envs._core.read_arrays()["state"].size
    obs = envs.reset()[0]
    obs_bytes = sum(array.nbytes for array in (obs if isinstance(obs, tuple) else (obs,)))
    action = 8 if hasattr(envs.single_action_space, "n") else 4 * int(np.prod(envs.single_action_space.shape))
    task = (4 if params.get("precision") == "float32" else 8) * len(envs.task_parameters) if tasks else 0
    return 2 * (state + ELAPSED + DONE) + action + obs_bytes + REWARD + FLAGS + task


def random_actions(envs: Any) -> Any:
    """Actions of one step, int64 or float32, on the GPU."""
    import torch

    space = envs.single_action_space
    if hasattr(space, "n"):
        return torch.randint(int(space.n), (envs.num_envs,), device="cuda")
    low, high = (torch.as_tensor(np.asarray(bound), device="cuda") for bound in (space.low, space.high))
    return low + (high - low) * torch.rand((envs.num_envs, *space.shape), device="cuda")


def rollout_bytes(envs: Any, steps: int) -> int:
    """Device memory for the arrays of a rollout; each is taken in a power of two."""

    def sizes(count: int) -> list[int]:
        rollout = envs.make_rollout_buffers(count)
        arrays = [array for array in vars(rollout).values() if hasattr(array, "__dlpack__")]
        arrays += rollout.info.values()
        return [array.size * array.dtype.itemsize for array in arrays]

    one, two = sizes(1), sizes(2)
    exact = [first + (steps - 1) * (second - first) for first, second in zip(one, two, strict=True)]
    return sum(1 << (size - 1).bit_length() for size in exact if size > 0)


def our_calls(env_id: str, params: dict[str, Any], num_envs: int, tasks: bool) -> Any:
    """Return the environments and calls by name, each with the number of steps it takes."""
    import torch

    envs = make_vec(env_id, num_envs, device="cuda", autoreset_mode="same_step", **params)
    if tasks:
        name = envs.task_parameters[0]
        envs.set_tasks({name: float(envs.get_tasks()[name][0])})
    envs.reset(seed=0)
    out, actions = envs.make_buffers(), random_actions(envs)
    calls: dict[str, tuple[Callable[[], Any], int]] = {"step": (lambda: envs.step(actions, out=out), 1)}
    needed, free = rollout_bytes(envs, ROLLOUT_STEPS), torch.cuda.mem_get_info()[0]
    if needed <= MOST_OF_FREE * free:
        arrays = envs.make_rollout_buffers(ROLLOUT_STEPS)
        calls["rollout"] = (lambda: envs.rollout("random", out=arrays), ROLLOUT_STEPS)
    else:
        left_out(
            f"metarl_core rollout {env_id} {num_envs:,}",
            f"its arrays take {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free",
        )
    calls["step graph"] = (captured(lambda: envs.step(actions, out=out)), 1)
    return envs, calls


def gymnax_call(name: str, num_envs: int) -> tuple[Callable[[], Any], int]:
    """Return a call of gymnax's that takes ROLLOUT_STEPS steps in a compiled loop, with random actions."""
    # JAX would take most of the GPU's memory for itself, and leave none for the rows that follow.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
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
        try:
            envs, calls = our_calls(env_id, params, size, tasks)
        except MemoryError as error:
            left_out(f"metarl_core {env_id} {size:,}", error)
            continue
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
        except Exception as error:  # whatever fails in a peer must not end the benchmark
            left_out(f"gymnax {peer} {size:,}", error)


def main() -> int:
    """Return the exit status: 2 without a GPU."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--envs", nargs="+", metavar="ID", help="these, or 'all' native ones; by default one for each set of kernels"
    )
    parser.add_argument("--sizes", type=int, nargs="+")

    def measure_all(args: argparse.Namespace, bandwidth: float, rows: list[dict[str, Any]]) -> None:
        for env_id, params in chosen_cases(args.envs, args.quick):
            # Its steps are in float32; of a quick run, CartPole stands for all.
            has_peer = (params or env_id != "CartPole-v1") and (not args.quick or env_id == "CartPole-v1")
            peer = PEERS.get(env_id) if has_peer else None
            for size in args.sizes or (QUICK_SIZES if args.quick else SIZES):
                measure(env_id, params, peer, size, bandwidth, rows)

    return run(
        parser,
        f"  {'library':13} {'environment':24} {'call':18} {'envs':>9} {'time a step':>14} {'steps':>14} "
        f"{'roofline':>9}",
        measure_all,
    )


if __name__ == "__main__":
    sys.exit(main())
