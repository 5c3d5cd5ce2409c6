"""Our replay with the interface of the ReplayBuffer that CleanRL's off-policy scripts import."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from metarl_core.integrations.cleanrl.samples import ReplayBufferSamples, device_of, moved_on, tensors
from metarl_core.integrations.core_buffer import Beta, make_core
from metarl_core.integrations.draws import Draws
from metarl_core.integrations.weighted_loss import WeightedRewards

__all__ = ["ReplayBuffer"]


class ReplayBuffer:
    """Prioritized replay for dqn.py, c51.py, ddpg, td3 and sac: import this in place of CleanRL's ``ReplayBuffer``.

    Proportional prioritization (Schaul et al. 2016). Where the loss is torch's ``mse_loss``, ``smooth_l1_loss``,
    ``huber_loss`` or ``l1_loss``, nothing else has to change: the rewards of a batch carry its importance weights into
    it, where the TD errors are taken, too, and become the new priorities (the mean over critics). Other losses go
    through :meth:`ReplayBufferSamples.weighted_mean`; the second batch warns of it.

    Spaces are taken by their ``shape`` and ``dtype``: those of any version of Gymnasium or Gym will do.

    Args:
        buffer_size: number of transitions of all environments together, >= 1.
        observation_space: of one environment; of fixed shape and dtype.
        action_space: of one environment; of fixed shape and dtype.
        device: where the samples go; "auto": the GPU where there is one.
        n_envs: number of environments, >= 1.
        optimize_memory_usage: store every observation once.
        handle_timeout_termination: take ``infos`` for a sequence of dicts, and do not count an end as a termination
            where ``"TimeLimit.truncated"`` is true.
        prioritized: False: a uniform buffer without weights.
        alpha: exponent of the priorities, >= 0.
        beta: exponent of the weights, >= 0, or a function of the number of batches so far (``LinearSchedule``).
        eps: smallest priority, >= 0.
        weight_normalization: "max", "batch_max", "sum" or "none"; see ``PrioritizedReplayBuffer``.
        n_steps: steps of the returns, >= 1; the script's target has to use ``discounts`` then.
        gamma: discount factor of the returns, in [0, 1]; the script's.
        frame_stack: number of frames on the first axis of the observations, if they are stacks: each frame is then
            stored once.
        storage: "memory", or "mmap:FOLDER".
        seed: of the draws; by default NumPy's global generator, which the scripts seed, decides, and the file or
            folder of one that was stored.

    Raises:
        ValueError: a value is out of range.
        TypeError: a space has no fixed shape and dtype.
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: Any,
        action_space: Any,
        device: torch.device | str = "auto",
        n_envs: int = 1,
        optimize_memory_usage: bool = False,
        handle_timeout_termination: bool = True,
        *,
        prioritized: bool = True,
        alpha: float = 0.6,
        beta: Beta = 0.4,
        eps: float = 1e-6,
        weight_normalization: str = "max",
        n_steps: int = 1,
        gamma: float = 0.99,
        frame_stack: int | None = None,
        storage: str = "memory",
        seed: int | None = None,
    ) -> None:
        if buffer_size < 1:
            raise ValueError(f"buffer_size is {buffer_size}; must be >= 1")
        if n_envs < 1:
            raise ValueError(f"n_envs is {n_envs}; must be >= 1")
        self.device = device_of(device)
        self.n_envs = n_envs
        self.handle_timeout_termination = handle_timeout_termination
        self.prioritized = prioritized
        self.gamma = gamma
        self._obs_shape, obs_dtype = _spec("observation_space", observation_space)
        action_shape, action_dtype = _spec("action_space", action_space)
        self._action_dim = int(np.prod(action_shape))
        fields = {
            "obs": (self._obs_shape, obs_dtype),
            "next_obs": (self._obs_shape, obs_dtype),
            "action": ((self._action_dim,), np.float32 if action_dtype == np.float64 else action_dtype),
            "reward": ((), np.float32),
            "terminated": ((), np.bool_),
            "truncated": ((), np.bool_),
        }
        self._stacked = frame_stack is not None
        self.core: Any = make_core(
            max(buffer_size // n_envs, 1) * n_envs,
            fields,
            prioritized=prioritized,
            n_envs=n_envs,
            optimize_memory_usage=optimize_memory_usage,
            alpha=alpha,
            beta=beta,
            eps=eps,
            weight_normalization=weight_normalization,
            n_steps=n_steps,
            gamma=gamma,
            frame_stack=frame_stack,
            storage=storage,
            seed=seed,
        )
        self._draws = Draws(
            "ReplayBuffer", "Compute the loss by data.weighted_mean(losses) of the batch, or pass prioritized=False"
        )

    def size(self) -> int:
        """Transitions of each environment that can be sampled."""
        return len(self.core) // self.n_envs

    def reset(self) -> None:
        """Forget everything."""
        self.core.clear()
        self._draws.clear()

    def add(
        self,
        obs: ArrayLike,
        next_obs: ArrayLike,
        action: ArrayLike,
        reward: ArrayLike,
        done: ArrayLike,
        infos: Sequence[Mapping[str, Any]] | Mapping[str, Any],
    ) -> None:
        """Store one transition of every environment.

        Args:
            obs: [n_envs, ...].
            next_obs: likewise; where an episode has ended its last observation, not the first of the next one.
            action: [n_envs, ...].
            reward: [n_envs].
            done: bool [n_envs]; Gymnasium's ``terminated``, or Gym's ``done`` with ``handle_timeout_termination``.
            infos: a dict of each environment; not looked at without ``handle_timeout_termination``.

        Raises:
            ValueError: an array has the wrong shape.
            TypeError: ``infos`` is one dict and ``handle_timeout_termination`` is set.
        """
        done = np.asarray(done, np.bool_)
        timeout = np.zeros_like(done)
        if self.handle_timeout_termination:
            if isinstance(infos, Mapping):
                raise TypeError(
                    "infos is one dict, as Gymnasium's vector environments give it; with "
                    "handle_timeout_termination=True it must be a sequence of dicts. Pass False and, as done, what "
                    "step returned as terminated"
                )
            timeout |= [info.get("TimeLimit.truncated", False) for info in infos]
        obs = np.reshape(obs, (self.n_envs, *self._obs_shape))
        next_obs = np.reshape(next_obs, (self.n_envs, *self._obs_shape))
        if self._stacked:
            next_obs = moved_on(obs, next_obs, done & ~timeout)
        self.core.add(
            obs=obs,
            next_obs=next_obs,
            action=np.reshape(action, (self.n_envs, self._action_dim)),
            reward=np.asarray(reward, np.float32),
            terminated=done & ~timeout,
            truncated=done & timeout,
        )

    def sample(self, batch_size: int) -> ReplayBufferSamples:
        """Draw a batch.

        Raises:
            BufferEmptyError: nothing is stored.
        """
        batch = self.core.sample(batch_size)
        columns = tensors(batch, self.gamma, self.device)
        if not self.prioritized:
            return ReplayBufferSamples(**columns)
        draw = self._draws.start(self.core, batch, columns["weights"][:, 0])
        columns["rewards"] = WeightedRewards.of(columns["rewards"], draw)
        return ReplayBufferSamples(**columns, _draw=draw)


def _spec(name: str, space: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype of a space's columns; one element of discrete ones."""
    shape, dtype = getattr(space, "shape", None), getattr(space, "dtype", None)
    if shape is None or dtype is None:
        raise TypeError(f"{name} is {space!r}; must have a fixed shape and dtype (Box, Discrete, MultiDiscrete, ...)")
    return tuple(shape) or (1,), np.dtype(dtype)
