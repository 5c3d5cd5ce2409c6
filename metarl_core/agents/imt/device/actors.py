"""Several tasks at once in an environment on the device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from metarl_core.agents.common.options import ConfigError
from metarl_core.agents.device.encoding import DeviceEncoder
from metarl_core.agents.device.stepping import DeviceSteps
from metarl_core.agents.imt.task_rows import Policy, TaskRows

__all__ = ["DeviceTaskActors"]


class DeviceTaskActors(TaskRows):
    """Tasks whose environments live on the device; arguments and attributes as of :class:`TaskRows`.

    Steps are not counted before the host looks: :meth:`seen` then tells what happened.

    Attributes:
        obs: encoded observations that the next actions are for, [K * n, D] or images [K * n, H, W, C].

    Raises:
        ConfigError: the networks are on another device.
    """

    def _begin(self, obs: Any) -> None:
        raw = from_dlpack(obs)
        if raw.device != self.device:
            raise ConfigError(
                f"core_device is {self.core_device!r}, which is {raw.device}, but the networks are on {self.device}; "
                'must be "cpu" or the GPU of device'
            )
        self._encode = DeviceEncoder(self.encoder, self.device)
        self._symbols = torch.arange(self.encoder.size, device=self.device) if self.encoder.one_hot else None
        self._table = None if self.table is None else torch.from_numpy(self.table).to(self.device)
        self._ids = torch.from_numpy(self._task_ids).to(self.device)
        self._stepping = DeviceSteps(self.envs, raw, self._encoded)
        self.longest = self._stepping.longest
        self._trace = self._stepping.trace()
        self.obs = self._encoded(raw)

    def _encoded(self, obs: Tensor, valid: Tensor | None = None) -> Tensor:
        encoded = self._encode(obs, valid)
        return encoded if self._symbols is None else (encoded.unsqueeze(1) == self._symbols).float()

    def last_observations(self) -> NDArray[Any]:
        """See :class:`TaskRows`; waits for the device."""
        return np.array(self.obs.cpu().numpy())

    def see(self, obs: NDArray[Any]) -> None:
        """See :class:`TaskRows`."""
        self.obs = torch.from_numpy(obs).to(self.device)

    def play(self, policy: Policy, at: int) -> tuple[dict[str, Tensor], Tensor]:
        """Step every instance once, as step number ``at`` since the last look, without waiting.

        Args:
            policy: what acts, without waiting.
            at: below ``longest``.

        Returns:
            The transitions as of ``TaskActors.step``, in memory that the next step may overwrite, and which
            instances' episodes ended, bool [K * n].
        """
        actions = policy(self.obs)
        made = self._stepping.step(actions if self._table is None else self._table[actions])
        columns = {
            "obs": self.obs,
            "action": actions,
            "reward": made.reward.float(),
            "next_obs": made.following,
            "terminated": made.terminated,
            "task_id": self._ids,
        }
        self._trace.note(at, reward=made.reward, ended=made.ended)
        self.obs = made.obs
        return columns, made.ended

    def seen(self, length: int) -> Iterator[NDArray[np.float32]]:
        """Wait for the device and count the steps since the last look, one after another.

        Args:
            length: how many there were.

        Yields:
            Rewards of a step that is now counted, as a replay has them, float32 [K * n].

        Raises:
            ConfigError: observations did not fit the options; nothing is counted then.
            ValueError: an action was out of range.
        """
        for reward, ended in self._read(length):
            self.account(reward, ended)
            yield reward.astype(np.float32)

    def _read(self, length: int) -> Iterator[tuple[NDArray[np.float64], NDArray[np.bool_]]]:
        self._encode.check()
        self.envs.check()
        seen = self._trace.read(length)
        return zip(seen["reward"], seen["ended"], strict=True)

    def _stretch(self, policy: Policy, length: int) -> Iterator[tuple[NDArray[np.float64], NDArray[np.bool_]]]:
        for at in range(length):
            self.play(policy, at)
        return self._read(length)
