"""The training loop: vectorised acting, storing, K epochs of learning, logging, checkpoints."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

import metarl_core
from metarl_core.agents.common.actions import Actions, action_field, actions_of
from metarl_core.agents.common.config import LearnerConfig
from metarl_core.agents.common.devices import check_device, flushed_denormals
from metarl_core.agents.common.images import image_features
from metarl_core.agents.common.learner import Agent, TrainingDivergedError
from metarl_core.agents.common.nstep import NStepAssembler
from metarl_core.agents.common.observations import ObservationEncoder
from metarl_core.agents.common.options import ConfigError
from metarl_core.agents.common.run_end import last_good_checkpoint, reached_end, result_of, train_to_end
from metarl_core.agents.common.schedules import linear
from metarl_core.agents.common.tracking import EpisodeTracker, VisitationCounter
from metarl_core.agents.config import RunConfig
from metarl_core.agents.evaluate import evaluate_agent
from metarl_core.agents.registry import ALGORITHMS
from metarl_core.agents.task_context import TaskContext, make_envs
from metarl_core.runs import NullProgress, Progress, RunWriter

__all__ = ["Trainer", "make_agent", "setting_up", "train"]

_OBS_COLUMNS = ("obs", "next_obs", "n_obs", "path_obs")


class _Replay(Protocol):
    def add(self, **columns: Any) -> Any: ...
    def sample(self, batch_size: int, beta: float | None = None) -> Any: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: Any) -> None: ...
    def __len__(self) -> int: ...


def make_agent(config: RunConfig, encoder: ObservationEncoder, actions: Actions, num_envs: int) -> Any:
    """Build the agent of a configuration for ``num_envs`` instances.

    Returns:
        An :class:`Agent`; of an algorithm with a loop of its own, what :func:`evaluate_agent` needs of one.

    Raises:
        ConfigError: the algorithm has nothing for such actions, or the configuration is for another kind of them.
    """
    variant = ALGORITHMS[config.algorithm].variant(config.env_id, actions)
    hyper = config.hyperparameters
    if type(hyper) is not variant.config_class:
        raise ConfigError(
            f"{config.env_id}: hyperparameters are {type(hyper).__name__}; expected {variant.config_class.__name__}"
        )
    return variant.make_agent(hyper, encoder.features, actions, num_envs, config.seed, config.device, encoder.one_hot)


def make_encoder(config: RunConfig, space: Any) -> ObservationEncoder:
    """Build the observation encoder of a configuration."""
    hyper = config.hyperparameters
    if not isinstance(hyper, LearnerConfig):
        return ObservationEncoder(space, hyper.normalize_obs, context_size=TaskContext(config).size)
    image = image_features(hyper.image_encoding, config.env_id, hyper.conv_filters, hyper.conv_kernel, hyper.trunk)
    return ObservationEncoder(space, hyper.normalize_obs, hyper.one_hot_obs, image, TaskContext(config).size)


class Trainer:
    """One training run in progress.

    Everything that later behaviour depends on is in :meth:`state_dict`, so that a run continued from a checkpoint makes
    the same steps, bit for bit on CPU, as one that was never interrupted. With environments that are not native, it
    starts new episodes instead.

    Args:
        config: the resolved run.
        run: where results go.
        progress: who watches; may ask to stop.
    """

    def __init__(self, config: RunConfig, run: RunWriter, progress: Progress | None = None) -> None:
        check_device(config.device)
        self.config = config
        self.run = run
        self.progress = progress or NullProgress()
        assert isinstance(config.hyperparameters, LearnerConfig)
        self.hyper = config.hyperparameters
        torch.set_num_threads(self.hyper.torch_threads)
        n = config.num_envs
        self.envs = make_envs(config, n, config.seed)
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
        self.replay = self._make_replay()
        self._prioritized = ALGORITHMS[config.algorithm].prioritized
        self._taus = self.hyper.importance_exponents
        self._weights_sum_to_one = self._prioritized and self.hyper.weight_normalization == "sum"
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
        self.obs, _ = self.envs.reset(seed=config.seed)
        self.context = self.context_of(self.envs)
        self.encoded = self.encoder(self.obs, self.context)
        self._sitting_start = time.perf_counter()
        self._row_start = (0, 0.0, 0)

    def _make_replay(self) -> _Replay:
        hyper, spec = self.hyper, ALGORITHMS[self.config.algorithm]
        width = self.encoder.shape
        fields: dict[str, tuple[tuple[int, ...], Any]] = {
            "obs": (width, self.encoder.dtype),
            "action": action_field(self.actions),
            "reward": ((), np.float32),
            "next_obs": (width, self.encoder.dtype),
            "terminated": ((), np.bool_),
            **self.agent.extra_fields(),
        }
        if self.n_step > 1:
            fields |= {
                "n_obs": (width, self.encoder.dtype),
                "n_return": ((), np.float32),
                "n_discount": ((), np.float32),
            }
            path = self.agent.path_columns()
            fields |= {f"path_{name}": ((self.n_step - 1, *fields[name][0]), fields[name][1]) for name in path}
            fields |= {"path_length": ((), np.int64)} if path else {}
        self._columns = list(fields)
        capacity = min(hyper.replay_capacity, self.config.total_steps + self.config.num_envs)
        if not spec.prioritized:
            uniform: _Replay = metarl_core.ReplayBuffer(capacity, fields, seed=self.config.seed)
            return uniform
        prioritized: _Replay = metarl_core.PrioritizedReplayBuffer(
            capacity,
            fields,
            alpha=hyper.priority_exponent,
            beta=hyper.importance_exponents[0],
            eps=hyper.priority_eps,
            max_priority=hyper.priority_max,
            weight_normalization=hyper.weight_normalization,
            seed=self.config.seed,
        )
        return prioritized

    def _tensor(self, array: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(array).to(self.agent.device)

    def _network_input(self, encoded: torch.Tensor) -> torch.Tensor:
        return encoded.long() if self.encoder.one_hot else encoded

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

    def learn(self) -> None:
        """Steps 4 and 7: one learning phase of K prioritized batches for every ``train_every`` environment steps."""
        if self.step < self.hyper.learning_starts or not len(self.replay):
            return
        self.debt += self.config.num_envs
        while self.debt >= self.hyper.train_every:
            self.debt -= self.hyper.train_every
            self.beta = linear(*self._taus, self.step, self.config.total_steps)
            self.agent.begin_learning(self.beta, len(self.replay))
            for epoch in range(self.hyper.epochs):
                batch = self.replay.sample(self.hyper.batch_size, beta=self.beta)
                columns = {name: self._tensor(batch[name]) for name in self._columns}
                for name in _OBS_COLUMNS:
                    if name in columns:
                        columns[name] = self._network_input(columns[name])
                columns["terminated"] = columns["terminated"].float()
                # Weights of sum 1 make the loss a mean already; the other scales are brought to one here.
                share = 1.0 if self._weights_sum_to_one else 1.0 / self.hyper.batch_size
                weights = self._tensor(batch.weights * np.float32(share))
                errors = self.agent.learn(columns, weights, self.step, collect=epoch == self.hyper.epochs - 1)
                if isinstance(self.replay, metarl_core.PrioritizedReplayBuffer):
                    self.replay.update_priorities(batch, errors)

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
                self.act()
                self.learn()
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
        if not isinstance(self.replay, metarl_core.PrioritizedReplayBuffer) or not len(self.replay):
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
            "obs": np.array(self.obs),
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
            self.obs = np.array(state["obs"])
        self.context = self.context_of(self.envs)
        self.encoded = self.encoder(self.obs, self.context)
        self._sitting_start = time.perf_counter()
        self._row_start = (self.step, self.wall_time, self.agent.updates)

    def _begin_anew(self) -> None:
        """Start new episodes in every environment; those under way are dropped, not counted as ended."""
        self.obs, _ = self.envs.reset(seed=(self.config.seed + self.step) % 2**64)
        self.assembler = NStepAssembler(self.n_step, self.hyper.gamma, self.config.num_envs, self.agent.path_columns())
        self.tracker.drop_running()
        self.agent.drop_running()


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


def train(config: RunConfig, run: RunWriter, progress: Progress | None = None) -> dict[str, Any]:
    """Train, or go on training if the run was opened with ``resume=True`` and has a checkpoint.

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
        trainer = Trainer(config, run, progress)
    return train_to_end(trainer, run, trainer.envs.close)
