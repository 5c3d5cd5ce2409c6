"""Every kernel of tree, replay buffer and some environments, on little data: what compute-sanitizer watches.

``--quick``: one environment in place of six, and no large buffer.
"""

from __future__ import annotations

import sys
from typing import Any

import torch

from metarl_core import PrioritizedReplayBuffer, ReplayBuffer, SumTree, importance_weights, make_vec

ENVIRONMENTS = ("CartPole-v1", "Taxi-v4", "DeepSea-v0", "MinAtar/Breakout-v1", "MiniGrid-DoorKey-5x5-v0", "Maze-v0")


def replay(capacity: int, rows: int, batch: int) -> None:
    """A buffer that goes round, with fields of all widths."""
    fields = {
        "image": ((3, 20, 20), "u1"),
        "obs": ((5,), "f4"),
        "wide": ((3,), "f8"),
        "done": ((), "?"),
        "a": ((), "i2"),
    }
    buffer = PrioritizedReplayBuffer(capacity, fields, device="cuda")
    given = {
        "image": torch.randint(255, (rows, 3, 20, 20), dtype=torch.uint8, device="cuda"),
        "obs": torch.rand(rows, 5, device="cuda"),
        "wide": torch.rand(rows, 3, device="cuda", dtype=torch.float64),
        "done": torch.rand(rows, device="cuda") < 0.5,
        "a": torch.randint(100, (rows,), dtype=torch.int16, device="cuda"),
    }
    for step in range(4):
        buffer.add(**given)
        sampled = buffer.sample(batch, beta=0.5)
        buffer.update_priorities(sampled, torch.rand(batch, device="cuda") * 10.0 ** (3 * step))
        buffer.sample(batch, out=sampled)
        buffer.add(**given)
        buffer.update_priorities(sampled, torch.rand(batch, device="cuda", dtype=torch.float64))
    buffer.check()
    buffer.load_state_dict(buffer.state_dict())
    buffer.clear()
    buffer.sample(batch)


def linked(rows: int, **options: Any) -> None:
    """A buffer that links transitions and goes round."""
    stack = options.get("frame_stack", 1)
    shape = (rows, stack, 5) if stack != 1 else (rows, 5)
    fields = {
        "obs": (shape[1:], "f4"),
        "next_obs": (shape[1:], "f4"),
        "reward": ((), "f4"),
        "terminated": ((), "?"),
    }
    kind = ReplayBuffer if options.pop("uniform", False) else PrioritizedReplayBuffer
    buffer = kind(3 * rows, fields, device="cuda", **options)
    for step in range(8):
        frames = torch.rand(shape, device="cuda")
        following = torch.rand(shape, device="cuda")
        if stack != 1:
            following[:, :-1] = frames[:, 1:]
        ended = torch.rand(rows, device="cuda") < 0.2
        buffer.add(obs=frames, next_obs=following, reward=torch.rand(rows, device="cuda"), terminated=ended)
        sampled = buffer.sample(50, beta=0.5)
        buffer.update_priorities(sampled, torch.rand(50, device="cuda") * 10.0**step)
    buffer.check()
    buffer.load_state_dict(buffer.state_dict())


def tasks(capacity: int, rows: int, batch: int, uniform: bool) -> None:
    """A buffer that goes round and draws by task."""
    fields = {"obs": ((5,), "f4"), "task_id": ((), "i4")}
    kind = ReplayBuffer if uniform else PrioritizedReplayBuffer
    buffer = kind(capacity, fields, task_field="task_id", device="cuda")
    weights = torch.zeros(50, device="cuda")
    for step in range(6):
        ids = torch.randint(3 * step + 1, (rows,), dtype=torch.int32, device="cuda")
        buffer.add(obs=torch.rand(rows, 5, device="cuda"), task_id=ids)
        weights.zero_()
        weights[ids.long()] = 1.0
        for mixture in ("balanced", weights, {int(ids[0]): 1.0}):
            sampled = buffer.sample(batch, beta=0.5, task_weights=mixture)
        buffer.update_priorities(sampled, torch.rand(batch, device="cuda") * 10.0 ** (3 * step))
    buffer.check()
    buffer.clear_task(int(ids[0]))
    buffer.load_state_dict(buffer.state_dict())
    buffer.task_masses()


def weights(n: int) -> None:
    """Importance weights of every kind."""
    for dtype in (torch.float32, torch.float64):
        probabilities = torch.rand(n, device="cuda", dtype=dtype) * 0.9 + 0.05
        for normalization in ("max", "batch_max", "sum", "none"):
            importance_weights(probabilities, n, 0.5, normalization)
            importance_weights(probabilities, n, 0.5, normalization, dtype="float32")


def step_environments(env_ids: tuple[str, ...]) -> None:
    """Reset, seeded and masked, steps, rollouts and tasks."""
    for env_id in env_ids:
        envs = make_vec(env_id, 300, device="cuda", autoreset_mode="same_step", max_episode_steps=9)
        envs.reset(seed=1)
        buffers = envs.make_buffers()
        for step in range(20):
            if step == 10 and envs.task_parameters:
                name = envs.task_parameters[0]
                envs.sample_tasks_at_reset({name: [float(envs.get_tasks()[name][0])] * 3})
            envs.step(torch.zeros(300, dtype=torch.int64, device="cuda"), out=buffers if step % 2 else None)
        envs.reset(options={"reset_mask": torch.arange(300, device="cuda") % 2 == 0})
        envs.rollout("random", 20)
        envs.check()


def main(quick: bool) -> None:
    step_environments(ENVIRONMENTS[:1] if quick else ENVIRONMENTS)
    replay(100, 70, 40)
    replay(6000, 4000, 3000)
    linked(100, n_step=3)
    linked(60, next_obs="next", n_step=2, num_envs=60)
    linked(60, frame_stack=3, autoreset_mode="next_step")
    linked(60, sequence_length=5, burn_in=1, stride=2)
    linked(60, n_step=2, uniform=True)
    for uniform in (False, True):
        tasks(100, 70, 40, uniform)
        tasks(6000, 4000, 3000, uniform)
        if not quick:
            tasks(300_000, 5000, 100, uniform)
    weights(5000)
    for capacity, batch in ((5000, 300), (70_000, 5000)):  # one block, and several
        tree = SumTree(capacity, device="cuda")
        for step in range(2 if quick else 3):
            indices = torch.randint(capacity, (batch,), device="cuda")
            priorities = torch.rand(batch, device="cuda") * 10.0 ** (4 * step - 4)
            tree.set(indices, priorities if step else priorities.double())
            for mode in ("stratified", "iid", "uniform"):
                for normalization in ("max", "batch_max", "sum", "none"):
                    tree.sample(batch, mode=mode, beta=0.5, normalization=normalization)
            tree.find(torch.rand(batch, device="cuda", dtype=torch.float64) * tree.total)
            tree.get(indices)
            tree.invalidate(indices[::2].contiguous())
        tree.check()
    torch.cuda.synchronize()


if __name__ == "__main__":
    main(sys.argv[1:] == ["--quick"])
