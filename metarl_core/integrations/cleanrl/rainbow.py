"""Our replay with the interface of the PrioritizedReplayBuffer inside CleanRL's rainbow_atari.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, DTypeLike

import metarl_core as mc
from metarl_core.integrations.cleanrl.samples import ReplayBufferSamples, device_of, moved_on, tensors
from metarl_core.replay.seeding import make_seeded

__all__ = ["PrioritizedReplayBuffer"]


class PrioritizedReplayBuffer:
    """Prioritized n-step replay for rainbow_atari.py: import this below the class of that name in the script.

    Differences from the script's own, all in what is sampled: the returns of the last n - 1 steps of an episode are
    there (shorter, as ``discounts`` tells); no return goes on beyond a time limit into the next episode; the
    sums of priorities are exact.

    Args:
        capacity: number of transitions, >= 1.
        obs_shape: of one observation.
        device: where the samples go; "auto": the GPU where there is one.
        n_step: steps of the returns, >= 1.
        gamma: discount factor, in [0, 1].
        alpha: exponent of the priorities, >= 0.
        beta: exponent of the weights, >= 0; the attribute may be set at any time.
        eps: added to the priorities, >= 0: p = abs(error) + eps.
        obs_dtype: of the observations.
        frame_stack: number of frames on the first axis of the observations, if they are stacks, such as 4 for Atari:
            each frame is then stored once (7.1 kB a transition instead of 56 kB).
        storage: "memory", or "mmap:FOLDER".
        seed: of the draws; by default NumPy's global generator, which the script seeds, decides, and the file or
            folder of one that was stored.

    Raises:
        ValueError: a value is out of range.
    """

    def __init__(
        self,
        capacity: int,
        obs_shape: tuple[int, ...],
        device: torch.device | str,
        n_step: int,
        gamma: float,
        alpha: float = 0.6,
        beta: float = 0.4,
        eps: float = 1e-6,
        *,
        obs_dtype: DTypeLike = np.uint8,
        frame_stack: int | None = None,
        storage: str = "memory",
        seed: int | None = None,
    ) -> None:
        self.device = device_of(device)
        self.gamma = gamma
        self.eps = eps
        self._obs_shape = tuple(obs_shape)
        self._stacked = frame_stack is not None
        self.core: Any = make_seeded(
            mc.PrioritizedReplayBuffer,
            capacity,
            {
                "obs": (self._obs_shape, obs_dtype),
                "next_obs": (self._obs_shape, obs_dtype),
                "action": ((1,), np.int64),
                "reward": ((), np.float32),
                "terminated": ((), np.bool_),
            },
            alpha=alpha,
            beta=beta,
            eps=eps,
            weight_normalization="batch_max",
            n_step=n_step,
            gamma=gamma,
            frame_stack=1 if frame_stack is None else frame_stack,
            storage=storage,
            seed=seed,
        )

    @property
    def beta(self) -> float:
        """Exponent of the weights, >= 0."""
        return float(self.core.beta)

    @beta.setter
    def beta(self, beta: float) -> None:
        self.core.beta = beta

    @property
    def size(self) -> int:
        """Transitions that can be sampled."""
        return len(self.core)

    def add(self, obs: ArrayLike, action: ArrayLike, reward: ArrayLike, next_obs: ArrayLike, done: ArrayLike) -> None:
        """Store a transition of the one environment.

        Args:
            obs: one of ``obs_shape``, or [1, ...].
            action: a scalar or [1].
            reward: likewise.
            next_obs: as ``obs``; where the episode has ended its last observation.
            done: as ``reward``; whether the episode has terminated.

        Raises:
            ValueError: an array has the wrong shape.
        """
        terminated = np.reshape(np.asarray(done, np.bool_), 1)
        obs, next_obs = np.reshape(obs, (1, *self._obs_shape)), np.reshape(next_obs, (1, *self._obs_shape))
        if self._stacked:
            next_obs = moved_on(obs, next_obs, terminated)
        self.core.add(
            obs=obs,
            action=np.reshape(action, (1, 1)),
            reward=np.reshape(reward, 1),
            next_obs=next_obs,
            terminated=terminated,
        )

    def sample(self, batch_size: int) -> ReplayBufferSamples:
        """Draw a stratified batch, with w = (n P)^-beta / max w of the batch.

        Raises:
            BufferEmptyError: nothing is stored.
        """
        return ReplayBufferSamples(**tensors(self.core.sample(batch_size), self.gamma, self.device))

    def update_priorities(self, indices: ArrayLike, priorities: ArrayLike) -> None:
        """Set the priorities abs(p) + eps of the transitions in these slots.

        Args:
            indices: of a batch, [B].
            priorities: losses or TD errors, real [B].

        Raises:
            ValueError: the lengths differ, or a priority is not finite.
            IndexError: an index is out of range.
        """
        self.core.update_priorities(indices, np.abs(priorities) + self.eps)
