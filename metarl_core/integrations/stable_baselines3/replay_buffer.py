"""Our replay as stable-baselines3's replay buffer, its importance weights in the loss of the unchanged algorithms."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.buffers import BaseBuffer, ReplayBuffer
from stable_baselines3.common.type_aliases import DictReplayBufferSamples, ReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor

from metarl_core.integrations.core_buffer import Beta, make_core
from metarl_core.integrations.draws import Draws
from metarl_core.integrations.weighted_loss import WeightedRewards

__all__ = ["MetaRLReplayBuffer"]


class _Ends:
    """What ``dones`` is in place of an array: a second ``learn`` marks the last row there."""

    def __setitem__(self, row: Any, end: Any) -> None:
        """Nothing to do: the core sees that the next observation is not the one that was announced."""

    def __getitem__(self, row: Any) -> Any:
        raise TypeError(_NO_ARRAY.format("dones"))


_NO_ARRAY = "MetaRLReplayBuffer has no array {!r}; buffer.core.state_dict()['columns'] has copies of what is stored"


class MetaRLReplayBuffer(ReplayBuffer):
    """Prioritized replay for DQN, DDPG, TD3 and SAC: ``DQN(..., replay_buffer_class=MetaRLReplayBuffer)``.

    Proportional prioritization (Schaul et al. 2016). The algorithms stay as they are: the rewards of a batch carry its
    importance weights into ``mse_loss`` or ``smooth_l1_loss``, where the TD errors are taken, too, and become the new
    priorities (the mean over critics). Other losses, such as QR-DQN's, are not weighted: the second batch warns of it.

    The samples are those of the library's buffers; with ``n_steps`` > 1 ``discounts`` holds gamma^k. Of a
    ``VecNormalize`` n-step returns are clipped as a whole, where the library clips each reward: at ``clip_reward``
    times 1 + gamma + ... + gamma^(n-1). Options come by ``replay_buffer_kwargs``.

    Args:
        buffer_size: number of transitions of all environments together.
        observation_space: of one environment, also a Dict space of one level.
        action_space: of one environment.
        device: where the samples go.
        n_envs: number of environments.
        optimize_memory_usage: store every observation once (unlike the library's, with ``handle_timeout_termination``
            as well, and with n-step returns).
        handle_timeout_termination: bootstrap from the last observation of an episode that a time limit has ended.
        prioritized: False: a uniform buffer without weights.
        alpha: exponent of the priorities, >= 0.
        beta: exponent of the weights, >= 0, or a function of the number of batches so far (``LinearSchedule``).
        eps: smallest priority, >= 0.
        weight_normalization: "max", "batch_max", "sum" or "none"; see ``PrioritizedReplayBuffer``. The loss is a mean:
            "sum" makes it smaller by the batch size.
        n_steps: steps of the returns, >= 1.
        gamma: discount factor of the returns, in [0, 1]; the algorithm's own.
        frame_stack: number of frames on the first axis of the observations, if they are stacks: each frame is then
            stored once.
        storage: "memory", or "mmap:FOLDER".
        seed: of the draws; by default NumPy's global generator, which the algorithm's ``seed`` sets, decides, and the
            file or folder of one that was stored.

    Raises:
        ValueError: a value is out of range. What is of priorities alone is not looked at without ``prioritized``.
        TypeError: a space of observations has no fixed size.
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
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
        # The parent's constructor would allocate its arrays.
        BaseBuffer.__init__(self, buffer_size, observation_space, action_space, device, n_envs=n_envs)
        self.buffer_size = max(buffer_size // n_envs, 1)
        self.optimize_memory_usage = optimize_memory_usage
        self.handle_timeout_termination = handle_timeout_termination
        self.n_steps = n_steps
        self.prioritized = prioritized
        self.dones: Any = _Ends()
        self.core: Any = make_core(
            self.buffer_size * n_envs,
            self._fields(),
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
        self._longest_return = sum(gamma**k for k in range(n_steps))  # of rewards of 1
        self._draws = Draws(
            "MetaRLReplayBuffer",
            "Call buffer.core.sample() and buffer.core.update_priorities() in a loss of your own, or pass "
            "replay_buffer_kwargs={'prioritized': False}",
        )

    def __getattr__(self, name: str) -> Any:
        if name in {"observations", "next_observations", "actions", "rewards", "timeouts"}:
            raise AttributeError(_NO_ARRAY.format(name))
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _fields(self) -> dict[str, Any]:
        space, shape = self.observation_space, self.obs_shape
        if isinstance(space, spaces.Dict):
            assert isinstance(shape, dict)
            obs: Any = {name: (shape[name], space[name].dtype) for name in space}
        else:
            obs = (shape, space.dtype)
        return {
            "obs": obs,
            "next_obs": obs,
            "action": ((self.action_dim,), self._maybe_cast_dtype(self.action_space.dtype)),
            "reward": ((), np.float32),
            "terminated": ((), np.bool_),
            "truncated": ((), np.bool_),
        }

    def size(self) -> int:
        """Transitions of each environment that can be sampled."""
        return len(self.core) // self.n_envs

    def reset(self) -> None:
        """Forget everything."""
        super().reset()
        self.core.clear()
        self._draws.clear()

    def add(
        self,
        obs: Any,
        next_obs: Any,
        action: NDArray[Any],
        reward: NDArray[Any],
        done: NDArray[Any],
        infos: list[dict[str, Any]],
    ) -> None:
        """Store one transition of every environment."""
        done = np.asarray(done, np.bool_)
        timeout = np.zeros_like(done)
        if self.handle_timeout_termination:
            timeout |= [info.get("TimeLimit.truncated", False) for info in infos]
        self.core.add(
            obs=self._shaped(obs),
            next_obs=self._shaped(next_obs),
            action=np.reshape(action, (self.n_envs, self.action_dim)),
            reward=np.asarray(reward, np.float32),
            terminated=done & ~timeout,
            truncated=done & timeout,
        )
        self.pos += 1
        if self.pos == self.buffer_size:
            self.full, self.pos = True, 0

    def _shaped(self, obs: Any) -> Any:
        """Discrete observations come without the axis that the samples have."""
        if isinstance(self.obs_shape, dict):
            return {name: np.reshape(obs[name], (self.n_envs, *shape)) for name, shape in self.obs_shape.items()}
        return np.reshape(obs, (self.n_envs, *self.obs_shape))

    def sample(  # type: ignore[override]  # as the library's DictReplayBuffer
        self, batch_size: int, env: VecNormalize | None = None
    ) -> ReplayBufferSamples | DictReplayBufferSamples:
        """Draw a batch.

        Args:
            batch_size: number of transitions.
            env: normalizes observations and rewards as its statistics have them now.

        Raises:
            BufferEmptyError: nothing is stored.
        """
        batch = self.core.sample(batch_size)
        column = (batch_size, 1)
        rewards = self._tensor(self._normalized(batch["reward"].reshape(column), env))
        if self.prioritized:
            rewards = WeightedRewards.of(rewards, self._draws.start(self.core, batch, self._tensor(batch.weights)))
        samples = DictReplayBufferSamples if isinstance(self.observation_space, spaces.Dict) else ReplayBufferSamples
        return samples(
            self._observations(batch["obs"], env),
            self._tensor(batch["action"]),
            self._observations(batch["next_obs"], env),
            self._tensor(batch["terminated"].astype(np.float32).reshape(column)),
            rewards,
            self._tensor(batch["discount"].reshape(column)) if self.n_steps > 1 else None,
        )

    def _normalized(self, rewards: NDArray[np.float32], env: VecNormalize | None) -> NDArray[np.float32]:
        if self.n_steps == 1 or env is None or not env.norm_reward:
            normalized: NDArray[np.float32] = self._normalize_reward(rewards, env)
            return normalized
        most = env.clip_reward * self._longest_return
        return np.clip(rewards / np.sqrt(env.ret_rms.var + env.epsilon), -most, most).astype(np.float32)

    def _observations(self, obs: Any, env: VecNormalize | None) -> Any:
        obs = self._normalize_obs(obs, env)
        return {name: self._tensor(part) for name, part in obs.items()} if isinstance(obs, dict) else self._tensor(obs)

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        """Without a copy on the CPU: a batch's arrays are nobody else's."""
        tensor: Tensor = self.to_torch(array, copy=False)
        return tensor
