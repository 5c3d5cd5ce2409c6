"""What a soak test keeps doing: each load is an endless generator, of which a step is one round of work."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from test_replay_soak import FIELDS, work

from metarl_core import PrefetchSampler, PrioritizedReplayBuffer, make_async, make_vec


def replay(folder: Path) -> Iterator[None]:
    """Add, sample in every mode, update, clear, copy; save to a file and load it."""
    buffer = PrioritizedReplayBuffer(2048, FIELDS, num_envs=64, n_step=3, frame_stack=4, task_field="task_id")
    rng = np.random.default_rng(0)
    obs = np.repeat(rng.integers(0, 255, (64, 1, 42, 42), np.uint8), 4, axis=1)
    while True:
        for _ in range(20):
            obs = work(buffer, rng, obs)
        buffer.save(folder / "buffer.ckpt")
        loaded = PrioritizedReplayBuffer.load(folder / "buffer.ckpt")
        if len(loaded):  # the last thing that was done may have been clear()
            loaded.sample(4)
        buffer.load_state_dict(buffer.state_dict())
        yield


def prefetch(_folder: Path) -> Iterator[None]:
    """Batches from the worker thread, with updates and adds; a new sampler every round."""
    buffer = PrioritizedReplayBuffer(4096, {"x": ((64,), np.float32)})
    buffer.add(x=np.ones((4096, 64), np.float32))
    while True:
        with PrefetchSampler(buffer, 64, depth=3) as sampler:
            for _ in range(100):
                batch = next(sampler)
                sampler.update_priorities(batch, batch["x"][:, 0])
                sampler.add(x=np.zeros((8, 64), np.float32))
        yield


def vector(_folder: Path) -> Iterator[None]:
    """Steps, resets, rollouts and snapshots of native environments, made anew every round."""
    while True:
        for env_id in ("CartPole-v1", "DeepSea-v0", "Taxi-v4", "MinAtar/Breakout-v1"):
            envs = make_vec(env_id, 64, num_threads=2)
            envs.reset(seed=1)
            for _ in range(20):
                envs.step(np.zeros(64, np.int64))
            out = envs.rollout("random", 50)
            envs.restore(envs.snapshot())
            envs.set_state(envs.get_state())
            envs.rollout("random", out=envs.make_rollout_buffers(10))
            del out
            envs.close()
        yield


def asynchronous(_folder: Path) -> Iterator[None]:
    """Native environments in background threads, and Gymnasium's in worker processes, made anew every round."""
    workers = None
    while True:
        envs = make_async("CartPole-v1", 32, 8, num_threads=2)
        envs.async_reset()
        for _ in range(200):
            info = envs.recv()[4]
            envs.send(np.ones(8, np.int64), info["env_id"])
        envs.close()
        if workers is not None:
            workers.close()
        workers = make_vec("gymnasium:CartPole-v1", 4, backend="process", num_threads=2)
        workers.reset()
        for _ in range(50):
            workers.step(np.zeros(4, np.int64))
        yield


def training(folder: Path) -> Iterator[None]:
    """Training of CDER with checkpoints and evaluations, and of DQN with prioritized replay, a new run every round."""
    from metarl_core.agents import resolve_config, train
    from metarl_core.runs import RunWriter

    small = ["size=5", "total_steps=300", "batch_size=16", "hidden=16", "log_interval=100", "checkpoint_interval=100"]
    small += ["learning_starts=64", "evaluation_episodes=3"]
    while True:
        for algorithm, more in (("cder", ["members=3", "signal_hidden=16"]), ("ddqn-per", [])):
            config = resolve_config(algorithm, "DeepSea-v0", None, [*small, *more])
            with RunWriter(folder / "run", config.to_dict()) as run:
                train(config, run)
            shutil.rmtree(folder / "run")
        yield


LOADS = {
    "replay": replay,
    "prefetch": prefetch,
    "vector environments": vector,
    "async and worker processes": asynchronous,
    "training": training,
}
