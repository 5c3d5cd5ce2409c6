"""One learner, three ways to learn: from a dataset, from single transitions, and by playing."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

import metarl_core
from metarl_core.agents.baselines.bootdqn import BootstrappedDQNConfig
from metarl_core.agents.baselines.dqn import DoubleDQNConfig
from metarl_core.agents.common.config import AgentConfig, NStepConfig
from metarl_core.agents.common.devices import flushed_denormals
from metarl_core.agents.common.learner import restore_rng, rng_state
from metarl_core.agents.common.options import ConfigError
from metarl_core.agents.imt.reference import purpose_seed
from metarl_core.agents.meta.playing import TaskSpaces, opened
from metarl_core.agents.meta.sub_agents import SubAgent
from metarl_core.tasks import Task, TaskDataset
from metarl_core.tasks._spaces import space_difference

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["LearningCurve", "QLearner"]

_TRANSITION = ("obs", "action", "reward", "next_obs", "terminated")
_DEFAULT = DoubleDQNConfig(optimizer="adam", lr=1e-3, batch_size=64, epochs=1)


@dataclasses.dataclass(frozen=True)
class LearningCurve:
    """Greedy returns while learning.

    Attributes:
        steps: environment steps before each point, int64 [P].
        returns: mean return of the episodes of each point, float64 [P].
    """

    steps: NDArray[np.int64]
    returns: NDArray[np.float64]


class QLearner(SubAgent):
    """Double DQN (with ``BootstrappedDQNConfig`` its bootstrapped ensemble) that learns from whatever it is given.

    :meth:`fit` (batch learning), :meth:`partial_fit` (online learning) and :meth:`train` (playing, with replay) make
    the same gradient step on different transitions: one pass of ``fit`` over a dataset in order, one transition at a
    time, is ``partial_fit`` of each of them, bit for bit. Every transition of a batch counts the same.

    Args:
        task: its task, of a native environment.
        config: options with ``n_step=1``; None: Double DQN with Adam, learning rate 0.001, batches of 64. With
            ``hidden=()`` the values are linear in the encoded observation; of a Discrete one they are a table.
        name: as of :class:`SubAgent`, and so are the others.
        seed: of everything random.
        levels: of continuous actions.
        num_envs: instances that :meth:`train` plays with.
        accuracy: as of :class:`SubAgent`.
        device: where the networks live.

    Attributes:
        steps: environment steps that :meth:`train` has played.

    Raises:
        ConfigError: ``config`` is of another learner, or asks for n-step returns.
    """

    def __init__(
        self,
        task: Task,
        config: NStepConfig | None = None,
        *,
        name: str | None = None,
        seed: int = 0,
        levels: int = 3,
        num_envs: int = 4,
        accuracy: float = 1.0,
        device: str = "cpu",
    ) -> None:
        config = _DEFAULT if config is None else config
        if type(config) not in (DoubleDQNConfig, BootstrappedDQNConfig):
            raise ConfigError(
                f"config is a {type(config).__name__}; a QLearner needs a DoubleDQNConfig or a BootstrappedDQNConfig"
            )
        if config.n_step != 1:
            raise ConfigError(f"n_step={config.n_step}: a QLearner learns from single transitions; set n_step=1")
        super().__init__(
            task,
            "bootdqn" if isinstance(config, BootstrappedDQNConfig) else "ddqn",
            config,
            name=name,
            seed=seed,
            levels=levels,
            num_envs=num_envs,
            accuracy=accuracy,
            device=device,
        )
        self.q_config = config
        self.rng = np.random.default_rng([seed, 31])
        self.steps = 0

    # Batch and online

    def fit(
        self, dataset: TaskDataset, epochs: int = 1, *, batch_size: int | None = None, shuffle: bool = True
    ) -> list[float]:
        """Learn from a dataset: ``epochs`` passes over all transitions, whose bootstrap masks are drawn once.

        Args:
            dataset: transitions of one task, of the learner's spaces.
            epochs: >= 1.
            batch_size: transitions in a gradient step, the last of an epoch may have fewer; None: the configuration's.
            shuffle: draw a new order in each epoch; False: the dataset's.

        Returns:
            Mean absolute TD error of each epoch, measured before each step.

        Raises:
            ConfigError: the dataset's spaces differ from the task's.
            ValueError: a number is out of range.
            TrainingDivergedError: the loss is no longer finite.
        """
        size = self.q_config.batch_size if batch_size is None else batch_size
        for key, value in (("epochs", epochs), ("batch_size", size)):
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
                raise ValueError(f"{key} is {value!r}; must be an integer >= 1")
        columns, count, errors = self.columns(dataset), len(dataset), []
        # A transition's bootstrap mask says which heads have it in their sample of the data: it is drawn once.
        columns |= self.agent.extra_columns(count)
        with flushed_denormals():
            for _ in range(epochs):
                order = self.rng.permutation(count) if shuffle else np.arange(count)
                total = 0.0
                for start in range(0, count, size):
                    rows = order[start : start + size]
                    found = self.update({name: column[rows] for name, column in columns.items()})
                    total += float(found.astype(np.float64).sum())
                errors.append(total / count)
        return errors

    def partial_fit(self, transition: Mapping[str, Any]) -> float:
        """Learn from one transition, at once.

        Args:
            transition: ``obs``, ``action``, ``reward``, ``next_obs`` and ``terminated`` of one step, without a leading
                axis, as the environment gives and takes them; what else there is is ignored. At an end ``next_obs`` is
                the final observation.

        Returns:
            The absolute TD error before the step.

        Raises:
            ValueError: a part is missing, has another shape than the task's, or is not finite.
            TrainingDivergedError: the loss is no longer finite.
        """
        with flushed_denormals():
            return float(self.update(self._encoded(self._checked(transition)))[0])

    def columns(self, dataset: TaskDataset) -> dict[str, NDArray[Any]]:
        """A dataset as the networks take it: encoded observations, numbers of actions; leading axis M.

        Raises:
            ConfigError: its spaces differ from the task's.
        """
        for kind in ("observation_space", "action_space"):
            difference = space_difference(getattr(dataset, kind), getattr(self.spaces, kind))
            if difference is not None:
                raise ConfigError(
                    f"the dataset and the task {self.task.name!r} differ in their {kind.replace('_', ' ')}: "
                    f"{difference}; record it from a task of the same spaces"
                )
        return self._encoded(dataset[:])

    def _checked(self, transition: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        missing = [name for name in _TRANSITION if name not in transition]
        if missing:
            raise ValueError(f"the transition has no {missing[0]!r}; must have {', '.join(_TRANSITION)}")
        shapes = {
            "obs": tuple(self.spaces.observation_space.shape),
            "next_obs": tuple(self.spaces.observation_space.shape),
            "action": tuple(self.spaces.action_space.shape),
        }
        rows = {}
        for name in _TRANSITION:
            value = np.asarray(transition[name])
            if value.shape != shapes.get(name, ()):
                raise ValueError(f"transition[{name!r}] has shape {value.shape}; must be {shapes.get(name, ())}")
            if not np.isfinite(value.astype(np.float64)).all():
                raise ValueError(f"transition[{name!r}] is {value}; must be finite")
            rows[name] = value[None]
        if self.spaces.table is None and not 0 <= self.spaces.numbers(rows["action"])[0] < self.spaces.num_actions:
            raise ValueError(f"transition['action'] is {rows['action'][0]}; must be in {self.spaces.action_space}")
        return rows

    def _encoded(self, rows: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        return {
            "obs": self.encoder(rows["obs"]),
            "action": self.spaces.numbers(rows["action"]),
            "reward": rows["reward"].astype(np.float32),
            "next_obs": self.encoder(rows["next_obs"]),
            "terminated": rows["terminated"].astype(np.float32),
        }

    def update(self, columns: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """One gradient step on the mean squared TD error of some transitions.

        Args:
            columns: as :meth:`columns` gives them, any number of rows; columns of the agent's own (a bootstrap mask)
                are drawn where they are missing.

        Returns:
            Absolute TD errors before the step, float32 [B].
        """
        count = len(columns["action"])
        own = {} if self.agent.extra_fields().keys() <= columns.keys() else self.agent.extra_columns(count)
        given = {**columns, **own}
        batch = {name: torch.from_numpy(np.ascontiguousarray(v)).to(self.agent.device) for name, v in given.items()}
        if self.encoder.one_hot:
            batch |= {name: batch[name].long() for name in ("obs", "next_obs")}
        batch["terminated"] = batch["terminated"].float()
        weights = torch.full((count,), 1 / count, device=self.agent.device)
        errors: NDArray[np.float32] = self.agent.learn(batch, weights, self.steps, collect=False)
        return errors

    # Playing

    def train(
        self,
        steps: int,
        task: Task | None = None,
        *,
        evaluate_every: int | None = None,
        episodes: int = 20,
        seed: int | None = None,
    ) -> LearningCurve:
        """Play a task and learn from a replay of it, which begins empty, as ``metarl train`` does.

        Args:
            steps: environment steps, over all instances.
            task: what to play; None: its own.
            evaluate_every: steps between two points of the curve; None: only before the first and after the last.
            episodes: greedy episodes of each point; they do not count as steps.
            seed: of environments, replay and evaluation episodes; None: the learner's.

        Returns:
            The curve, with a point at 0 and at ``steps``.

        Raises:
            ConfigError: the task's spaces differ from the learner's.
            ValueError: a number is out of range.
            TrainingDivergedError: the loss is no longer finite.
        """
        for key, value in (("steps", steps), ("episodes", episodes), ("evaluate_every", evaluate_every or 1)):
            if value < 1:
                raise ValueError(f"{key} is {value}; must be >= 1")
        task, seed = self.task if task is None else task, self.seed if seed is None else seed
        self.spaces.require_equal(TaskSpaces.of(task, self.levels), f"learner {self.name!r}", f"task {task.name!r}")
        places, heights = [], []

        def measure(step: int) -> None:
            places.append(step)
            heights.append(float(self.evaluate(task, episodes, seed=purpose_seed(seed, "curve")).mean()))

        measure(0)
        following = evaluate_every or steps
        with opened(task, self.num_envs, seed) as envs, flushed_denormals():
            for step, _ in self._play(envs, steps, seed, self.make_replay(steps, seed), 0):
                if step >= following and step < steps:
                    following += evaluate_every or steps
                    measure(step)
        measure(steps)
        return LearningCurve(np.array(places), np.array(heights))

    def play(self, steps: int, replay: metarl_core.ReplayBuffer, *, seed: int) -> float:
        """Go on playing its own task, into a replay that may hold transitions from before.

        Epsilon and ``learning_starts`` go by :attr:`steps`, which all calls add to.

        Args:
            steps: environment steps, over all instances.
            replay: of :meth:`make_replay`.
            seed: of the environments, which begin new episodes.

        Returns:
            Mean absolute TD error of the gradient steps, nan without one.
        """
        errors: list[float] = []
        with opened(self.task, self.num_envs, seed) as envs, flushed_denormals():
            for _, found in self._play(envs, steps, seed, replay, self.steps):
                errors += found
        return float(np.mean(errors)) if errors else float("nan")

    def make_replay(self, capacity: int, seed: int) -> metarl_core.ReplayBuffer:
        """An empty replay of at most ``capacity`` transitions (and the configuration's) of every step's instances."""
        width = self.encoder.shape
        fields: dict[str, tuple[tuple[int, ...], Any]] = {
            "obs": (width, self.encoder.dtype),
            "action": ((), np.int64),
            "reward": ((), np.float32),
            "next_obs": (width, self.encoder.dtype),
            "terminated": ((), np.bool_),
            **self.agent.extra_fields(),
        }
        return metarl_core.ReplayBuffer(min(self.q_config.replay_capacity, capacity + self.num_envs), fields, seed=seed)

    def _play(
        self, envs: Any, steps: int, seed: int, replay: metarl_core.ReplayBuffer, before: int
    ) -> Iterator[tuple[int, list[float]]]:
        """Act and learn; yields after each step their number and the TD errors of the gradient steps.

        Args:
            envs: the task's, in same-step mode.
            steps: how many, over all instances.
            seed: of the first reset.
            replay: of :meth:`make_replay`.
            before: steps that epsilon and ``learning_starts`` count besides.
        """
        config, agent, n = self.q_config, self.agent, self.num_envs
        names = (*_TRANSITION, *agent.extra_fields())
        obs, _ = envs.reset(seed=seed)
        debt, step = 0, 0
        while step < steps:
            actions = agent.act(self.network_input(obs), before + step)
            here = self.encoder(obs)
            obs, reward, terminated, truncated, _ = envs.step(self.spaces.native(actions))
            ended = terminated | truncated
            after = self.encoder(obs)
            if ended.any():
                final, mask = envs.final_obs_dense()
                after = np.where(mask.reshape(-1, *(1,) * (after.ndim - 1)), self.encoder(final), after)
            replay.add(
                obs=here,
                action=actions,
                reward=reward.astype(np.float32),
                next_obs=after,
                terminated=terminated.copy(),
                **agent.extra_columns(n),
            )
            agent.begin_episodes(ended, np.zeros(n))
            step += n
            self.steps += n
            debt += n if before + step >= config.learning_starts else 0
            errors = []
            while debt >= config.train_every:
                debt -= config.train_every
                for _ in range(config.epochs):
                    batch = replay.sample(config.batch_size)
                    errors.append(float(self.update({name: batch[name] for name in names}).mean()))
            yield step, errors

    @classmethod
    def _make(cls, task: Task, algorithm: str, config: AgentConfig, **options: Any) -> Self:  # noqa: ARG003
        assert isinstance(config, NStepConfig)
        return cls(task, config, **options)

    def state_dict(self) -> dict[str, Any]:
        """As of :class:`SubAgent`, and what the order of shuffled epochs comes from."""
        return {**super().state_dict(), "rng": rng_state(self.rng), "steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        super().load_state_dict(state)
        restore_rng(self.rng, state["rng"])
        self.steps = int(state["steps"])
