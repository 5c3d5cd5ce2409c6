"""Use an installed metarl_core with nothing but NumPy beside it."""

from __future__ import annotations

import sys

import numpy as np

import metarl_core as mc


def main() -> None:
    """Fill, sample and update a prioritized buffer and step an environment."""
    for absent in ("torch", "gymnasium"):
        assert absent not in sys.modules, f"import metarl_core imported {absent}"

    fields = {"obs": ((4,), np.float32), "action": ((), np.int64), "reward": ((), np.float32)}
    buffer = mc.PrioritizedReplayBuffer(64, fields, seed=1)
    buffer.add(obs=np.ones((8, 4), np.float32), action=np.arange(8), reward=np.zeros(8, np.float32))
    batch = buffer.sample(4)
    buffer.update_priorities(batch, np.array([0.5, -1.0, 2.0, 0.1]))
    assert batch["obs"].shape == (4, 4)
    assert np.isfinite(batch.weights).all()

    envs = mc.make_vec("CartPole-v1", 3, seed=2)
    obs, _ = envs.reset()
    obs, reward, terminated, truncated, _ = envs.step(np.zeros(3, np.int64))
    assert obs.shape == (3, 4)
    assert (reward == 1.0).all()
    assert not (terminated | truncated).any()
    envs.close()
    print(f"metarl_core {mc.__version__} with NumPy {np.__version__} on Python {sys.version.split()[0]}: ok")


if __name__ == "__main__":
    main()
