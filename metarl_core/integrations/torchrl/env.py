"""Our vector environments as TorchRL's ``EnvBase``."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.data import Categorical, Composite, Unbounded
from torchrl.envs import EnvBase

import metarl_core as mc
from metarl_core.integrations.torchrl.specs import batched_spec

__all__ = ["MetaRLEnv", "make_env"]


class MetaRLEnv(EnvBase):
    """A vector environment of ``metarl_core.make_vec`` with ``autoreset_mode="disabled"``: TorchRL resets rows itself.

    Batch size ``[num_envs]``. Keys: ``observation`` (a nested TensorDict for Dict and Tuple spaces, the latter by
    position), ``action``, and of each step ``reward`` (float32), ``done``, ``terminated`` and ``truncated`` (bool), of
    shape [num_envs, 1]. A reset with ``_reset`` (bool [num_envs, 1] or [num_envs]) starts new episodes in some rows.

    Args:
        envs: the vector environment; it is this object's from now on, ``close`` closes it.
        device: where the tensors go; the CPU by default, where they share the memory of our arrays.
        one_hot_actions: discrete actions are one-hot vectors, as ``GymEnv`` has them, rather than numbers.

    Raises:
        ValueError: another autoreset mode.
        TypeError: a space has no spec.
    """

    def __init__(self, envs: Any, device: Any = "cpu", one_hot_actions: bool = False) -> None:
        mode = envs.metadata["autoreset_mode"]
        if mode.name != "DISABLED":
            raise ValueError(f"envs has autoreset_mode={mode.name.lower()!r}; must be 'disabled', as TorchRL resets")
        super().__init__(device=device, batch_size=[envs.num_envs])
        self.envs = envs
        self._one_hot = one_hot_actions and type(envs.single_action_space).__name__ == "Discrete"
        self._seed: int | None = None
        rows = envs.num_envs
        observation = batched_spec(envs.single_observation_space, rows, self.device)
        self.observation_spec = Composite(observation=observation, shape=(rows,), device=self.device)
        self.action_spec = batched_spec(envs.single_action_space, rows, self.device, self._one_hot)
        self.reward_spec = Unbounded(shape=(rows, 1), device=self.device)
        flag = Categorical(2, dtype=torch.bool, shape=(rows, 1), device=self.device)
        self.done_spec = Composite(
            done=flag, terminated=flag.clone(), truncated=flag.clone(), shape=(rows,), device=self.device
        )

    @property
    def num_envs(self) -> int:
        """Number of environments."""
        return int(self.envs.num_envs)

    def _reset(self, tensordict: TensorDictBase | None = None, **kwargs: Any) -> TensorDictBase:  # noqa: ARG002
        """Start episodes, everywhere or where ``_reset`` says; observations of all rows."""
        seed, self._seed = self._seed, None
        options = None
        wanted = None if tensordict is None else tensordict.get("_reset", None)
        if wanted is not None:
            mask = wanted.reshape(self.num_envs, -1).any(-1).cpu().numpy()
            if not mask.all():
                options = {"reset_mask": mask}
        obs, _ = self.envs.reset(seed=seed, options=options)
        ended = np.zeros(self.num_envs, np.bool_)
        return self._result({"observation": self._tensors(obs), **self._flags(ended, ended)})

    def _step(self, tensordict: TensorDictBase) -> TensorDictBase:
        actions = tensordict.get("action")
        if self._one_hot:
            actions = actions.long().argmax(-1)
        obs, reward, terminated, truncated, _ = self.envs.step(actions.cpu().numpy())
        rewards = torch.from_numpy(reward.astype(np.float32)).unsqueeze(-1)
        return self._result(
            {"observation": self._tensors(obs), "reward": rewards, **self._flags(terminated, truncated)}
        )

    def _result(self, entries: dict[str, Any]) -> TensorDictBase:
        return TensorDict(entries, batch_size=self.batch_size, device=self.device)

    def _flags(self, terminated: NDArray[np.bool_], truncated: NDArray[np.bool_]) -> dict[str, Tensor]:
        flags = {"done": terminated | truncated, "terminated": terminated.copy(), "truncated": truncated.copy()}
        return {name: torch.from_numpy(flag).unsqueeze(-1) for name, flag in flags.items()}

    def _tensors(self, obs: Any) -> Any:
        if isinstance(obs, tuple):
            obs = {str(position): part for position, part in enumerate(obs)}
        if isinstance(obs, dict):
            parts = {name: self._tensors(part) for name, part in obs.items()}
            return TensorDict(parts, batch_size=self.batch_size, device=self.device)
        return torch.from_numpy(np.ascontiguousarray(obs))

    def _set_seed(self, seed: int | None) -> None:
        """Seed the next reset."""
        self._seed = seed

    def close(self, *, raise_if_closed: bool = True) -> None:
        """Close the environments."""
        super().close(raise_if_closed=raise_if_closed)
        self.envs.close()


def make_env(
    env_id: str,
    num_envs: int,
    *,
    seed: int | None = None,
    device: Any = "cpu",
    one_hot_actions: bool = False,
    **options: Any,
) -> MetaRLEnv:
    """Make environments for TorchRL.

    Args:
        env_id: as in ``metarl_core.make_vec``.
        num_envs: number of environments.
        seed: of the first reset; by default that of ``make_vec``.
        device: where the tensors go.
        one_hot_actions: discrete actions are one-hot vectors.
        **options: of ``metarl_core.make_vec``: parameters of the environment, ``num_threads`` ...

    Raises:
        ValueError: unknown environment, or a value is out of range.
    """
    env = MetaRLEnv(mc.make_vec(env_id, num_envs, autoreset_mode="disabled", **options), device, one_hot_actions)
    if seed is not None:
        env.set_seed(seed)
    return env
