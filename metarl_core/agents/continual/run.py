"""The loop: one learner through a sequence of tasks, all of which are evaluated again and again."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from metarl_core.agents.common.devices import flushed_denormals
from metarl_core.agents.common.schedules import linear
from metarl_core.agents.continual.config import ContinualConfig
from metarl_core.agents.continual.environments import Policy, SequenceSpaces, TaskRows, record_reference
from metarl_core.agents.continual.learner import ContinualLearner
from metarl_core.agents.continual.registry import method_class
from metarl_core.agents.continual.sequence import TaskSequence
from metarl_core.agents.imt.reference import purpose_seed
from metarl_core.errors import ConfigError
from metarl_core.tasks import Phase, Task

__all__ = ["ContinualResult", "Watch", "check_method", "random_returns", "run_method"]

_RANDOM_EPISODES = 100
_AT_THE_END = 2**20  # more evaluations than any run has


class Watch(Protocol):
    """What hears of the run's progress."""

    def should_stop(self) -> bool:
        """Whether to give up."""

    def update(self, step: int, total_steps: int, row: Mapping[str, Any]) -> None:
        """Take the state of the run."""


class _Silent:
    def should_stop(self) -> bool:
        return False

    def update(self, step: int, total_steps: int, row: Mapping[str, Any]) -> None:
        pass


@dataclasses.dataclass(frozen=True)
class ContinualResult:
    """What one method came to, for one seed.

    Attributes:
        method: Its name.
        seed: Of everything random.
        task_names: Of the K tasks.
        identity: Whether the task's number is given at test.
        simultaneous: Whether all tasks were trained on at once.
        steps: Environment steps at each evaluation, int64 [points], from 0.
        phase_ends: Which evaluations are those at the ends of the phases, int64 [phases].
        returns: Mean return of every task at every evaluation, float64 [points, K].
        learned: The same at the ends of the phases, before the method does what it does when a task ends, on the same
            episodes as the evaluation after it; float64 [phases, K].
        random_returns: Of uniform actions, float64 [K].
        held_out_names: Of the H unseen tasks.
        held_out_returns: Mean return on them at the end, float64 [H].
        held_out_random: Of uniform actions, float64 [H].
        unnamed_returns: Mean return on the K tasks at the end when each is met as a new one, without its number;
            float64 [K].
        adaptation_steps: Environment steps that meeting a new task takes, not counted among ``steps``; of a learner
            that adapts in a trial's first episodes their mean length, when the K tasks were met as new ones.
        parameters: Number of weights.
        stored_bytes: Bytes of all else that is kept from task to task.
        updates: Gradient steps of networks: one batched step of T networks counts T.
        environment_steps: Of all phases.
        seconds: Wall time of training, evaluations left out.
    """

    method: str
    seed: int
    task_names: tuple[str, ...]
    identity: bool
    simultaneous: bool
    steps: NDArray[np.int64]
    phase_ends: NDArray[np.int64]
    returns: NDArray[np.float64]
    learned: NDArray[np.float64]
    random_returns: NDArray[np.float64]
    held_out_names: tuple[str, ...]
    held_out_returns: NDArray[np.float64]
    held_out_random: NDArray[np.float64]
    unnamed_returns: NDArray[np.float64]
    adaptation_steps: int
    parameters: int
    stored_bytes: int
    updates: int
    environment_steps: int
    seconds: float

    @property
    def performance(self) -> NDArray[np.float64]:
        """Returns at the ends of the phases, float64 [phases, K]."""
        return self.returns[self.phase_ends]


def random_returns(tasks: Sequence[Task], spaces: SequenceSpaces, seed: int) -> NDArray[np.float64]:
    """Mean return of uniform actions on each task, float64 [T]."""
    if not tasks:
        return np.zeros(0)
    rng = np.random.default_rng([seed, 23])

    def uniform(obs: NDArray[np.float32]) -> NDArray[np.int64]:
        return rng.integers(spaces.num_actions, size=obs.shape[:2])

    rows = TaskRows(tasks, _RANDOM_EPISODES, spaces, purpose_seed(seed, "random"))
    return np.asarray(rows.play(uniform).mean(axis=(1, 2)))


def check_method(sequence: TaskSequence, method: str, config: ContinualConfig) -> type[ContinualLearner]:
    """The class of a method that can learn a sequence.

    Raises:
        ConfigError: an unknown method, or one that cannot; the message says what to change.
    """
    found = method_class(method)
    if len(sequence.flat) > len(sequence.tasks) and not found.revisits:
        raise ConfigError(
            f"{method}: cannot learn a task a second time; give cycles=1 and every task once, or leave it out"
        )
    if not found.embeds:
        return found
    steps, reference = min(phase.steps for phase in sequence.flat), config.reference_steps
    if steps <= reference:
        raise ConfigError(
            f"{method}: a phase has {steps} environment steps; expected more than reference_steps={reference}, which "
            "are played by uniform actions"
        )
    # Evaluations below reference_steps would come after all gradient steps that are due there, and FT would gain.
    first = steps // config.evaluations
    if config.evaluations > 1 and first < reference:
        raise ConfigError(
            f"{method}: the first of evaluations={config.evaluations} in a phase of {steps} steps is due at step "
            f"{first}; expected at least reference_steps={reference}, before which it cannot be evaluated. Give more "
            "steps, fewer evaluations, or fewer reference_steps (to all methods)"
        )
    return found


class _Run:
    """One method's way through a sequence."""

    def __init__(self, sequence: TaskSequence, method: str, config: ContinualConfig, seed: int, watch: Watch) -> None:
        self.sequence, self.config, self.seed, self.watch = sequence, config, seed, watch
        found = check_method(sequence, method, config)
        self.spaces = SequenceSpaces(
            (*sequence.tasks, *sequence.held_out), config.action_levels, config.normalize_obs, sequence.pad_channels
        )
        self.learner: ContinualLearner = found(config, self.spaces, sequence.tasks, seed)
        self.points: list[int] = []
        self.returns: list[NDArray[np.float64]] = []
        self.learned: list[NDArray[np.float64]] = []
        self.seconds = 0.0

    def evaluate(self, step: int) -> None:
        """Mean return of every task now."""
        self.returns.append(self._returns_now())
        self.points.append(step)

    def _returns_now(self) -> NDArray[np.float64]:
        every = range(len(self.sequence.tasks))
        rows = self._rows(self.sequence.tasks, len(self.points))
        return self._score(rows, self.learner.policy(every))

    def _rows(self, tasks: Sequence[Task], point: int) -> TaskRows:
        seed = purpose_seed(self.seed, "evaluation", point)
        return TaskRows(tasks, self.config.evaluation_episodes, self.spaces, seed)

    def as_new(self, tasks: Sequence[Task], purpose: str) -> NDArray[np.float64]:
        """Mean return on tasks that are met without their number."""
        if not tasks:
            return np.zeros(0)
        learner, references = self.learner, []
        if learner.meets:
            seeds = (purpose_seed(self.seed, f"meet {purpose}", i) for i in range(len(tasks)))
            steps = self.config.reference_steps
            references = [record_reference(t, steps, s, self.spaces) for t, s in zip(tasks, seeds, strict=True)]
        return self._score(self._rows(tasks, _AT_THE_END), learner.new_policy(references))

    def _score(self, rows: TaskRows, policy: Policy) -> NDArray[np.float64]:
        """Mean return of every task, of the last episode where an evaluation has several; [T]."""
        returns = rows.play(policy, self.learner.trial_episodes)
        self.unscored_steps = float(rows.lengths[..., :-1].sum(axis=2).mean())
        return np.asarray(returns[..., -1].mean(axis=1))

    unscored_steps = 0.0
    """Mean steps of an instance's episodes before the last one, in the last evaluation."""

    def phase(self, phase: Phase) -> int:
        """Train on a task; the number of the evaluation at its end."""
        learner, c, total = self.learner, self.config, self.sequence.flat.total_steps
        started = time.perf_counter()
        every = tuple(range(len(self.sequence.tasks)))
        training = every if learner.simultaneous else (phase.task_index,)
        reference, done = None, 0
        if learner.embeds:
            done = c.reference_steps
            reference = record_reference(
                phase.task, done, purpose_seed(self.seed, "reference", phase.index), self.spaces
            )
        learner.begin_task(phase.task_index, reference)
        rows = TaskRows(
            [self.sequence.tasks[i] for i in training],
            max(1, c.num_envs // len(training)),
            self.spaces,
            purpose_seed(self.seed, "training", phase.index),
        )
        marks = [phase.steps * (i + 1) // c.evaluations for i in range(c.evaluations - 1)]
        try:
            learner.learn()
            while done < phase.steps:
                whole = phase.start + done
                step, length = (whole, total) if learner.simultaneous else (done, phase.steps)
                epsilon = linear(c.epsilon_start, c.epsilon_end, step, c.exploration_share * length)
                learner.store(rows.step(learner.act(rows.obs, training, epsilon)), training)
                done += len(training) * rows.per_task
                learner.learn()
                while marks and done >= marks[0]:
                    # Told as the step that was meant, which a step of all instances may pass: equal for all methods.
                    self.seconds += time.perf_counter() - started
                    self.evaluate(phase.start + marks.pop(0))
                    started = time.perf_counter()
                self._tell(phase.start + done, epsilon)
        finally:
            rows.close()
        self.seconds += time.perf_counter() - started
        # What the method then does may cost the task what it had learned: that is forgetting too.
        self.learned.append(self._returns_now())
        started = time.perf_counter()
        learner.end_task(phase.task_index)
        self.seconds += time.perf_counter() - started
        self.evaluate(phase.stop)
        return len(self.points) - 1

    def _tell(self, step: int, epsilon: float) -> None:
        if self.watch.should_stop():
            raise KeyboardInterrupt
        mean = float(self.returns[-1].mean()) if self.returns else None
        self.watch.update(step, self.sequence.flat.total_steps, {"return_mean": mean, "epsilon": epsilon})


def run_method(
    sequence: TaskSequence,
    method: str,
    config: ContinualConfig | None = None,
    *,
    seed: int = 0,
    watch: Watch | None = None,
) -> ContinualResult:
    """Train one method on a sequence of tasks.

    Every phase has the same environment steps for every method, those under the reference policy included. All tasks
    are evaluated before the first step, ``evaluations`` times in each phase, and unseen ones at the end, greedily and
    in environments of their own, whose steps are not counted.

    Args:
        sequence: Tasks, phases, and unseen tasks.
        method: Of ``METHODS``.
        config: Every option; None: the defaults.
        seed: Of everything random.
        watch: Hears of the progress.

    Raises:
        ConfigError: an unknown method, or one that cannot learn this sequence.
        TrainingDivergedError: a loss is no longer finite.
        KeyboardInterrupt: ``watch`` says to stop.
    """
    config = config or ContinualConfig()
    torch.set_num_threads(config.torch_threads)
    run = _Run(sequence, method, config, seed, watch or _Silent())
    learner = run.learner
    with flushed_denormals():
        run.evaluate(0)
        ends = [run.phase(phase) for phase in sequence.flat]
        held_out = run.as_new(sequence.held_out, "held out")
        unnamed = run.as_new(sequence.tasks, "known")
    return ContinualResult(
        method=method,
        seed=seed,
        task_names=tuple(task.name for task in sequence.tasks),
        identity=learner.identity,
        simultaneous=learner.simultaneous,
        steps=np.array(run.points),
        phase_ends=np.array(ends),
        returns=np.stack(run.returns),
        learned=np.stack(run.learned),
        random_returns=random_returns(sequence.tasks, run.spaces, seed),
        held_out_names=tuple(task.name for task in sequence.held_out),
        held_out_returns=held_out,
        held_out_random=random_returns(sequence.held_out, run.spaces, seed),
        unnamed_returns=unnamed,
        adaptation_steps=round((config.reference_steps if learner.meets else 0) + run.unscored_steps),
        parameters=learner.parameters(),
        stored_bytes=learner.stored_bytes(),
        updates=learner.updates,
        environment_steps=sequence.flat.total_steps,
        seconds=run.seconds,
    )
