"""The training loop: vectorised acting, storing, K epochs of learning, logging, checkpoints."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import metarl_core
from metarl_core.agents.common.devices import check_device
from metarl_core.agents.common.options import ConfigError
from metarl_core.agents.common.run_end import train_to_end
from metarl_core.agents.config import RunConfig
from metarl_core.agents.device.loop import DeviceTrainer
from metarl_core.agents.device.support import place_core, why_on_host
from metarl_core.agents.registry import ALGORITHMS
from metarl_core.agents.training_loop import TrainingLoop
from metarl_core.runs import Progress, RunWriter

__all__ = ["Trainer", "setting_up", "train"]

_log = logging.getLogger(__name__)


class Trainer(TrainingLoop):
    """A run whose environments and replay live in host memory, and its networks where ``config.device`` says.

    Args:
        config: the resolved run.
        run: where results go.
        progress: who watches; may ask to stop.
    """

    def __init__(self, config: RunConfig, run: RunWriter, progress: Progress | None = None) -> None:
        super().__init__(config, run, progress)
        self.see(self.envs.reset(seed=config.seed)[0])

    def see(self, obs: NDArray[Any]) -> None:
        """Go on from observations, with the context of the environments' present tasks."""
        self.obs = obs
        self.context = self.context_of(self.envs)
        self.encoded = self.encoder(self.obs, self.context)

    def last_observations(self) -> NDArray[Any]:
        """Observations that the next actions are for."""
        return np.array(self.obs)

    @property
    def stored(self) -> int:
        """Transitions that can be sampled."""
        return len(self.replay)

    def _tensor(self, array: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(array).to(self.agent.device)

    def advance(self) -> None:
        """One environment step of every instance, and what is learned after it."""
        self.act()
        self.learn()

    def act(self) -> None:
        """One environment step of every instance: act, store, account."""
        actions = self.agent.act(self._network_input(self._tensor(self.encoded)), self.step)
        if self.visits is not None:
            self.visits.update(self.obs, self.step + len(actions))
        self.obs, reward, terminated, truncated, _ = self.envs.step(actions)
        ended = terminated | truncated
        task, self.context = self.context, self.context_of(self.envs)
        encoded = self.encoder(self.obs, self.context)
        following = encoded
        if ended.any():
            # In same-step mode the observation of a finished episode is already the next one's first.
            final, mask = self.envs.final_obs_dense()
            following = np.where(mask.reshape(-1, *(1,) * (encoded.ndim - 1)), self.encoder(final, task), encoded)
        columns: dict[str, NDArray[Any]] = {
            "obs": self.encoded,
            "action": actions,
            "reward": reward.astype(np.float32),
            "next_obs": following,
            "terminated": terminated.copy(),
        }
        columns |= self.agent.transition_columns(columns, ended)
        self.agent.observe(columns, ended)
        ready = self.assembler.push(columns, ended) if self.n_step > 1 else columns
        if ready is not None:
            self.replay.add(**ready)
        self.encoded = encoded
        self.step += len(actions)
        returns = self.tracker.returns + reward
        bad = self.envs.bad_episode() if self.tracker.counts_bad else None
        for row in self.tracker.update(self.step, reward, ended, bad):
            self.run.episode(row)
        self.agent.begin_episodes(ended, returns)

    def learn_batch(self, collect: bool) -> None:
        """Draw a batch, take one gradient step, refresh the batch's priorities."""
        batch = self.replay.sample(self.hyper.batch_size, beta=self.beta)
        columns = self._network_columns({name: self._tensor(batch[name]) for name in self._columns})
        weights = self._tensor(batch.weights * np.float32(self._share))
        errors = self.agent.learn(columns, weights, self.step, collect)
        if isinstance(self.replay, metarl_core.PrioritizedReplayBuffer):
            self.replay.update_priorities(batch, errors)


@contextlib.contextmanager
def setting_up() -> Iterator[None]:
    """Make numbers that are too large for this machine mistakes of the configuration."""
    try:
        yield
    except ConfigError:
        raise
    except (MemoryError, OverflowError, ValueError) as error:
        raise ConfigError(f"this run cannot be set up: {_first_line(error)}") from error
    except RuntimeError as error:  # torch has no class of its own for memory that cannot be had on the CPU
        if not re.search(r"memory|overflow", str(error)):
            raise
        raise ConfigError(f"this run cannot be set up: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _make_loop(config: RunConfig, run: RunWriter, progress: Progress | None) -> TrainingLoop:
    """Choose where environments and replay live, and say so where they stay behind the networks."""
    check_device(config.device)
    if config.device != "cpu":
        place = place_core(config.device, why_on_host(config))
        if place != "cpu":
            return DeviceTrainer(config, run, progress, place)
    if config.cuda_graphs:  # no error, so that a run of a GPU can go on elsewhere
        _log.warning("cuda_graphs=true has no effect while environments and replay are in host memory")
    return Trainer(config, run, progress)


def train(config: RunConfig, run: RunWriter, progress: Progress | None = None) -> dict[str, Any]:
    """Train, or go on training if the run was opened with ``resume=True`` and has a checkpoint.

    On a GPU, environments and replay live there too where the run's options allow it; else the log says why not.

    Args:
        config: the resolved run.
        run: the run directory.
        progress: who watches.

    Returns:
        What result.json holds.

    Raises:
        ConfigError: the device cannot be used, the environment does not fit the algorithm, or a number is so large that
            the run does not fit in memory.
        TrainingDivergedError: the loss is no longer finite.
    """
    own = ALGORITHMS[config.algorithm].train
    if own is not None:
        return own(config, run, progress)
    with setting_up():
        trainer = _make_loop(config, run, progress)
    return train_to_end(trainer, run, trainer.envs.close)
