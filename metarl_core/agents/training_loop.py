"""What every training loop of ours does around its steps: set up, log, save, resume, finish."""

from __future__ import annotations

import abc
import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metarl_core.agents.common.actions import actions_of
from metarl_core.agents.common.config import LearnerConfig
from metarl_core.agents.common.devices import check_device, flushed_denormals
from metarl_core.agents.common.learner import Agent, TrainingDivergedError
from metarl_core.agents.common.nstep import NStepAssembler
from metarl_core.agents.common.options import ConfigError
from metarl_core.agents.common.run_end import last_good_checkpoint, reached_end, result_of
from metarl_core.agents.common.schedules import linear
from metarl_core.agents.common.tracking import EpisodeTracker, VisitationCounter
from metarl_core.agents.config import RunConfig
from metarl_core.agents.evaluate import evaluate_agent
from metarl_core.agents.parts import make_agent, make_encoder, make_replay, replay_fields
from metarl_core.agents.registry import ALGORITHMS
from metarl_core.agents.task_context import TaskContext, make_envs
from metarl_core.runs import NullProgress, Progress, RunWriter

__all__ = ["TrainingLoop"]

_OBS_COLUMNS = ("obs", "next_obs", "n_obs", "path_obs")


class TrainingLoop(abc.ABC):
    """One training run in progress, wherever its environments and its replay live.

    Everything that later behaviour depends on is in :meth:`state_dict`, so that a run continued from a checkpoint makes
    the same steps, bit for bit on CPU, as one that was never interrupted. With environments that are not native, it
    starts new episodes instead.

    Args:
        config: the resolved run.
        run: where results go.
        progress: who watches; may ask to stop.
        core_device: where environments and replay live.
    """

    def __init__(
        self, config: RunConfig, run: RunWriter, progress: Progress | None = None, core_device: str = "cpu"
    ) -> None:
        check_device(config.device)
        self.config = config
        self.run = run
        self.progress = progress or NullProgress()
        assert isinstance(config.hyperparameters, LearnerConfig)
        self.hyper = config.hyperparameters
        torch.set_num_threads(self.hyper.torch_threads)
        n = config.num_envs
        self.envs = make_envs(config, n, config.seed, device=core_device)
        try:
            self.actions = actions_of(self.envs.single_action_space, config.env_id)
            self.context_of = TaskContext(config)
            self.encoder = make_encoder(config, self.envs.single_observation_space)
            self.agent: Agent = make_agent(config, self.encoder, self.actions, n)
        except ConfigError:
            self.envs.close()
            raise
        if config.compile:
            self.agent.compile()
        self.n_step = getattr(self.hyper, "n_step", 1)
        self.assembler = NStepAssembler(self.n_step, self.hyper.gamma, n, self.agent.path_columns())
        fields = replay_fields(self.agent, self.encoder, self.actions, self.n_step)
        self._columns = list(fields)
        self.replay = make_replay(config, fields, core_device)
        self._prioritized = ALGORITHMS[config.algorithm].prioritized
        self._taus = self.hyper.importance_exponents
        # Weights of sum 1 make the loss a mean already; the other scales are brought to one by this factor.
        sum_to_one = self._prioritized and self.hyper.weight_normalization == "sum"
        self._share = 1.0 if sum_to_one else 1.0 / self.hyper.batch_size
        has_bad = config.env_id.rpartition("/")[2] == "DeepSea-v0"
        self.tracker = EpisodeTracker(n, has_bad, config.solve_return)
        shape = self.envs.single_observation_space.shape
        self.visits = VisitationCounter((shape[0], shape[1]), config.total_steps) if has_bad else None
        self.step = 0
        self.debt = 0
        self.wall_time = 0.0
        self.beta = self._taus[0]
        self.saved_step: int | None = None
        self.last_row: dict[str, Any] = {}
        self.next_log, self.next_checkpoint = config.log_interval, config.checkpoint_interval
        self._sitting_start = time.perf_counter()
        self._row_start = (0, 0.0, 0)

    @abc.abstractmethod
    def advance(self) -> None:
        """Act and learn, for one environment step of every instance or more; what was seen is accounted for after."""

    @property
    @abc.abstractmethod
    def stored(self) -> int:
        """Transitions that can be sampled."""

    @abc.abstractmethod
    def learn_batch(self, collect: bool) -> None:
        """Draw a batch, take one gradient step, refresh the batch's priorities; ``collect`` figures for the log."""

    @abc.abstractmethod
    def last_observations(self) -> np.ndarray[Any, Any]:
        """Observations that the next actions are for, as the environments gave them, in host memory."""

    @abc.abstractmethod
    def see(self, obs: np.ndarray[Any, Any]) -> None:
        """Go on from observations in host memory."""

    def learn(self) -> None:
        """Steps 4 and 7: one learning phase of K prioritized batches for every ``train_every`` environment steps."""
        if self.step < self.hyper.learning_starts or not self.stored:
            return
        self.debt += self.config.num_envs
        while self.debt >= self.hyper.train_every:
            self.debt -= self.hyper.train_every
            self.beta = linear(*self._taus, self.step, self.config.total_steps)
            self.agent.begin_learning(self.beta, self.stored)
            for epoch in range(self.hyper.epochs):
                self.learn_batch(collect=epoch == self.hyper.epochs - 1)

    def _network_input(self, encoded: Tensor) -> Tensor:
        return encoded.long() if self.encoder.one_hot else encoded

    def _network_columns(self, columns: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Columns of a batch as the networks take them."""
        inputs = {name: self._network_input(columns[name]) for name in _OBS_COLUMNS if name in columns}
        return {**columns, **inputs, "terminated": columns["terminated"].float()}

    @contextlib.contextmanager
    def _telling_what_is_left(self) -> Iterator[None]:
        """Add to the message of a divergence which checkpoint is the last good one."""
        try:
            yield
        except TrainingDivergedError as error:
            good = last_good_checkpoint(self.saved_step)
            raise TrainingDivergedError(f"{error} ({good})") from error

    def finished(self) -> bool:
        """Whether the run has reached one of its ends."""
        return reached_end(self.config, self.step, self.tracker)

    def elapsed(self) -> float:
        """Seconds spent, over all sittings."""
        return self.wall_time + time.perf_counter() - self._sitting_start

    def log(self) -> None:
        """Write one row of metrics."""
        elapsed = self.elapsed()
        now = (self.step, elapsed, self.agent.updates)
        steps, seconds, updates = (new - old for new, old in zip(now, self._row_start, strict=True))
        self._row_start = now
        self.last_row = {
            "step": self.step,
            "episodes": self.tracker.episodes,
            "wall_time": elapsed,
            **self.tracker.take_interval(),
            "bad_episodes": self.tracker.bad_episodes if self.tracker.counts_bad else None,
            "beta": self.beta if self._prioritized else None,
            "updates": self.agent.updates,
            **self.agent.schedule(self.step),
            **self.agent.stats,
            "steps_per_second": steps / seconds if seconds > 0 else None,
            "updates_per_second": updates / seconds if seconds > 0 else None,
        }
        self.run.metrics(self.last_row)

    def train(self) -> dict[str, Any]:
        """Run to the end, or until the progress asks to stop; write the result.

        Returns:
            What result.json holds.
        """
        with flushed_denormals():
            interrupted = self._run()
        if not interrupted and self.step > self._row_start[0]:
            self.log()
        self._save_checkpoint()
        return self._finish(interrupted)

    def _run(self) -> bool:
        """Act and learn to the end; True if the progress asked to stop before."""
        while not self.finished():
            if self.progress.should_stop():
                return True
            with self._telling_what_is_left():
                self.advance()
            if self.step >= self.next_log:
                self.next_log += self.config.log_interval
                self.log()
            if self.step >= self.next_checkpoint:
                self.next_checkpoint += self.config.checkpoint_interval
                self._save_checkpoint()
            self.progress.update(self.step, self.config.total_steps, {**self.last_row, "solved": self.tracker.solved})
        return False

    def _save_checkpoint(self) -> None:
        """Save the run, unless a network is broken: the checkpoint before is then the last good one and stays."""
        with self._telling_what_is_left():
            self.agent.check_finite(self.step)
        self.run.save_checkpoint(self.state_dict())
        self.saved_step = self.step

    def _finish(self, interrupted: bool) -> dict[str, Any]:
        wall_time = self.elapsed()
        if self.visits is not None:
            self.run.save_array("visitation", **self.visits.arrays())
        self._save_priorities()
        evaluation: float | None = None
        if not interrupted and self.config.evaluation_episodes:
            evaluation = evaluate_agent(self.config, self.agent, self.encoder)["return_mean"]
        return self.run.finish(result_of(self.config, self.step, self.tracker, wall_time, evaluation, interrupted))

    def _save_priorities(self) -> None:
        """Histogram of the raw priorities, 40 bins equal in the logarithm."""
        if not hasattr(self.replay, "priorities") or not len(self.replay):
            return
        values = np.asarray(self.replay.priorities(), dtype=np.float64)
        low = max(float(values.min()), self.hyper.priority_eps)
        edges = np.geomspace(low, max(float(values.max()), low * 1.001), 41)
        counts, edges = np.histogram(np.clip(values, edges[0], edges[-1]), bins=edges)
        self.run.save_array("priorities", counts=counts, edges=edges)

    def state_dict(self) -> dict[str, Any]:
        """The whole run."""
        return {
            "step": self.step,
            "debt": self.debt,
            "wall_time": self.elapsed(),
            "beta": self.beta,
            "next_log": self.next_log,
            "next_checkpoint": self.next_checkpoint,
            "agent": self.agent.state_dict(),
            "stats": dict(self.agent.stats),
            "replay": self.replay.state_dict(),
            "assembler": self.assembler.state_dict(),
            "tracker": self.tracker.state_dict(),
            "visits": self.visits.arrays() if self.visits is not None else None,
            # Environments that are not native cannot be saved.
            "envs": self.envs.snapshot() if hasattr(self.envs, "snapshot") else None,
            "obs": self.last_observations(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        self.step, self.debt = int(state["step"]), int(state["debt"])
        self.wall_time, self.beta = float(state["wall_time"]), float(state["beta"])
        self.saved_step = self.step
        self.next_log, self.next_checkpoint = int(state["next_log"]), int(state["next_checkpoint"])
        self.agent.load_state_dict(state["agent"])
        self.agent.stats = {name: float(value) for name, value in state["stats"].items()}
        self.replay.load_state_dict(state["replay"])
        self.assembler.load_state_dict(state["assembler"])
        self.tracker.load_state_dict(state["tracker"])
        if self.visits is not None:
            self.visits.load(state["visits"])
        if state["envs"] is None:
            self._begin_anew()
        else:
            if "env_id" in state["envs"]:
                self.envs.restore(state["envs"])
            else:  # written before snapshots were: the arrays alone
                self.envs.set_state(state["envs"])
            self.see(np.array(state["obs"]))
        self._sitting_start = time.perf_counter()
        self._row_start = (self.step, self.wall_time, self.agent.updates)

    def _begin_anew(self) -> None:
        """Start new episodes in every environment; those under way are dropped, not counted as ended."""
        obs, _ = self.envs.reset(seed=(self.config.seed + self.step) % 2**64)
        self.see(obs)
        self.assembler = NStepAssembler(self.n_step, self.hyper.gamma, self.config.num_envs, self.agent.path_columns())
        self.tracker.drop_running()
        self.agent.drop_running()
