"""Adapting trained runs to a new task: which runs make a meta-agent, which task it is, and the k-shot curve."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metarl_core import stats
from metarl_core.agents.common.options import ConfigError, unknown
from metarl_core.agents.common.restoring import restoring
from metarl_core.agents.config import stored_config
from metarl_core.agents.imt import ImtLearner
from metarl_core.agents.imt.reference import purpose_seed
from metarl_core.agents.imt.run import _make_learner
from metarl_core.agents.meta.agent import MetaAgent, tuning_options
from metarl_core.agents.meta.networks import learner_from
from metarl_core.agents.meta.playing import opened, record, reference_policy
from metarl_core.agents.meta.q_learner import LearningCurve, QLearner
from metarl_core.agents.meta.routers import Router
from metarl_core.agents.meta.sub_agents import SubAgent
from metarl_core.agents.meta.transfer import half_way
from metarl_core.runs import RunReader
from metarl_core.tasks import Task

__all__ = [
    "FineTuning",
    "KShot",
    "chance",
    "fine_tuning",
    "from_scratch",
    "k_shot",
    "load_imt",
    "load_meta_agent",
    "new_task",
    "sub_agent_labels",
]


@dataclasses.dataclass(frozen=True, eq=False)
class KShot:
    """Performance on a new task after so many episodes of adaptation.

    Attributes:
        shots: numbers of episodes, int64 [P].
        returns: mean greedy return, float64 [R, P]: of each repetition with episodes of its own.
        steps: environment steps that the router played, mean over the repetitions, float64 [P].
        curve: mean over the repetitions with its bootstrap interval.
    """

    shots: NDArray[np.int64]
    returns: NDArray[np.float64]
    steps: NDArray[np.float64]
    curve: stats.AdaptationCurve


@dataclasses.dataclass(frozen=True, eq=False)
class FineTuning:
    """Learning on after the adaptation, one seed.

    Attributes:
        adaptation_steps: environment steps that the adaptation took, beyond those of the curves.
        tuned: of the adapted agent.
        scratch: of a learner that was given nothing; None: there was none.
        threshold: return whose time is asked for; None without scratch.
        measures: Taylor and Stone's (2009), numbers without an axis; None without scratch.
    """

    adaptation_steps: int
    tuned: LearningCurve
    scratch: LearningCurve | None = None
    threshold: float | None = None
    measures: stats.TransferReport | None = None


def load_imt(run_dir: str | os.PathLike[str]) -> ImtLearner:
    """The learner of an IMT run, as its last checkpoint has it; to be closed.

    Raises:
        ConfigError: it is a run of another algorithm.
        FileNotFoundError: it has no checkpoint.
        RunError, CheckpointMismatchError: the folder is no run, its checkpoint holds something else, or its tasks' data
            cannot be made again.
    """
    reader = RunReader(run_dir)
    config = stored_config(reader)
    if config.algorithm != "imt":
        raise ConfigError(f"{run_dir} is a run of {config.algorithm}; expected imt")
    state = reader.load_checkpoint()
    if state is None:
        raise FileNotFoundError(f"{run_dir} holds no checkpoint")
    learner, _ = _make_learner(config)
    try:
        with restoring(run_dir):
            learner.load_state_dict(state["learner"])
    except BaseException:
        learner.close()
        raise
    return learner


def load_meta_agent(
    run_dirs: Sequence[str | os.PathLike[str]],
    router: Router | None = None,
    *,
    aggregation: str | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> MetaAgent:
    """A meta-agent of the submodels of one IMT run, or of several runs with one task each.

    Args:
        run_dirs: one run of imt, or runs of other algorithms.
        router: None: IMT's own, or :class:`EmbeddingRouter`.
        aggregation: None: as the IMT run is configured; for other runs ``weighted``, or ``best`` where one of them has
            no action values.
        seed: of everything random.
        device: where networks of runs live.

    Raises:
        ConfigError: runs of IMT and others together, spaces or environments that differ, too few for the router.
        FileNotFoundError: a run has no checkpoint.
    """
    if not run_dirs:
        raise ConfigError("run_dirs is empty; must name at least one run")
    kinds = [str(RunReader(run_dir).config.get("algorithm")) for run_dir in run_dirs]
    if "imt" not in kinds:
        agents = [SubAgent.from_run(run_dir, device=device) for run_dir in run_dirs]
        how = "weighted" if all(agent.valued for agent in agents) else "best"
        return MetaAgent(agents, router, aggregation=aggregation or how, seed=seed)
    if len(run_dirs) > 1:
        number = kinds.index("imt")
        raise ConfigError(
            f"{Path(run_dirs[number])} is a run of imt, whose submodels are a meta-agent by themselves; give it alone"
        )
    learner = load_imt(run_dirs[0])
    try:
        return MetaAgent.from_imt(learner, router=router, aggregation=aggregation, seed=seed)
    finally:
        learner.close()


def new_task(agent: MetaAgent, params: Mapping[str, float | None], name: str = "new task") -> Task:
    """A task of the environment of a meta-agent's sub-agents.

    Args:
        agent: its sub-agents' tasks have one environment; what they have in common the new task has too.
        params: parameter -> value: at least all those in which the sub-agents' tasks differ.
        name: of the task.

    Raises:
        ConfigError: the sub-agents have several environments, there is no such parameter, one is missing, or a value is
            out of range.
    """
    tasks = [sub_agent.task for sub_agent in agent.sub_agents]
    first = tasks[0]
    for other in tasks[1:]:
        if other.env_id != first.env_id or other.env_params != first.env_params:
            raise ConfigError(
                f"sub-agents {first.name!r} and {other.name!r} have different environments ({_shown(first)} and "
                f"{_shown(other)}); a new task needs runs of one environment"
            )
    with opened(Task(name, first.env_id, {}, first.env_params)) as envs:
        known = sorted(envs.get_tasks())
    for given in params:
        if given not in known:
            raise ConfigError(unknown(given, known, f"parameter of {first.env_id}"))
    every = sorted({key for task in tasks for key in task.params})
    differing = [key for key in every if len({task.params.get(key, _missing) for task in tasks}) > 1]
    absent = [key for key in differing if key not in params]
    if absent:
        raise ConfigError(f"the task has no {', '.join(absent)}, in which the sub-agents' tasks differ; give it too")
    common = {key: first.params[key] for key in every if key not in differing}
    made = Task(name, first.env_id, {**common, **params}, first.env_params)
    try:
        with opened(made):
            return made
    except (TypeError, ValueError) as error:
        raise ConfigError(str(error)) from error


def sub_agent_labels(agent: MetaAgent) -> list[str]:
    """Names of the sub-agents with the parameters of their tasks, in their order; some may be equal."""
    found = []
    for sub_agent in agent.sub_agents:
        told = ", ".join(f"{name}={value:.4g}" for name, value in sub_agent.task.params.items() if value is not None)
        found.append(f"{sub_agent.name} ({told})" if told else sub_agent.name)
    return found


_missing = object()


def _shown(task: Task) -> str:
    params = ", ".join(f"{key}={value}" for key, value in task.env_params.items())
    return f"{task.env_id}({params})" if params else task.env_id


def k_shot(
    agent: MetaAgent,
    task: Task,
    shots: Sequence[int] = (0, 1, 2, 5, 10),
    *,
    repeats: int = 5,
    episodes: int = 20,
    seed: int = 0,
) -> KShot:
    """Adapt to a task with more and more episodes, and play it after each.

    Args:
        agent: it is left adapted with the last number of episodes of the first repetition.
        task: the new one.
        shots: numbers of episodes, rising.
        repeats: adaptations with other episodes each; the interval is over these.
        episodes: greedy episodes after each adaptation, the same for all.
        seed: of environments.

    Raises:
        ValueError: ``shots`` do not rise or one is negative, or ``repeats`` is below 1.
    """
    numbers = np.asarray(shots, dtype=np.int64)
    if len(numbers) == 0 or (numbers < 0).any() or (np.diff(numbers) <= 0).any():
        raise ValueError(f"shots is {list(shots)}; must be numbers >= 0 that rise")
    if repeats < 1:
        raise ValueError(f"repeats is {repeats}; must be >= 1")
    returns, steps = np.zeros((repeats, len(numbers))), np.zeros((repeats, len(numbers)))
    play = purpose_seed(seed, "k-shot evaluation")
    for repeat in reversed(range(repeats)):
        for point, number in enumerate(numbers):
            found = agent.adapt(task, int(number), seed=purpose_seed(seed, "k-shot", repeat))
            steps[repeat, point] = found.steps
            returns[repeat, point] = agent.evaluate(episodes=episodes, seed=play).mean()
    curve = stats.adaptation_curve(returns[:, None, :])
    return KShot(numbers, returns, steps.mean(axis=0), curve)


def chance(agent: MetaAgent, task: Task, episodes: int = 100, seed: int = 0) -> float:
    """Mean return of uniform actions, the reference policy of task embeddings."""
    policy = reference_policy(agent.spaces, purpose_seed(seed, "chance"))
    return float(record(task, policy, episodes=episodes, seed=purpose_seed(seed, "chance")).returns.mean())


def from_scratch(
    agent: MetaAgent, task: Task, steps: int, *, evaluate_every: int | None = None, seed: int | None = None
) -> LearningCurve:
    """Learn a task without the sub-agents' weights, as ``MetaAgent.fine_tune`` does with them.

    The learner has the architecture and options of the heaviest sub-agent; epsilon begins at 1, as nothing is known.
    With one seed both are evaluated on the same episodes, and their training environments begin alike. The steps that
    the agent played to adapt are beyond ``steps``: ``agent.adaptation.steps``.

    Args:
        agent: what it is compared with.
        task: the new one.
        steps: environment steps.
        evaluate_every: as of :meth:`QLearner.train`.
        seed: of the new weights and of what is drawn; None: the agent's.
    """
    start = agent.sub_agents[int(agent.weights.argmax())]
    config = learner_from(start, task, **tuning_options(steps, 1.0, {})).q_config
    seed = agent.seed if seed is None else seed
    learner = QLearner(task, config, seed=seed, levels=start.levels, device=start.device)
    return learner.train(steps, evaluate_every=evaluate_every, seed=purpose_seed(seed, "fine_tune"))


def fine_tuning(
    agent: MetaAgent, task: Task, steps: int, *, scratch: bool = False, seed: int | None = None
) -> FineTuning:
    """Fine-tune an adapted agent, and compare it with a start from scratch.

    Both are evaluated after every tenth of the steps. The threshold is that of
    :func:`metarl_core.agents.meta.transfer`: half way from scratch's first point to the best point of both.

    Args:
        agent: adapted to the task; it is left fine-tuned.
        task: the new one.
        steps: environment steps of each.
        scratch: whether to learn from scratch beside it.
        seed: of :func:`from_scratch`.
    """
    every = max(steps // 10, 1)
    before = 0 if agent.adaptation is None else agent.adaptation.steps
    tuned = agent.fine_tune(steps, evaluate_every=every)
    if not scratch:
        return FineTuning(before, tuned)
    alone = from_scratch(agent, task, steps, evaluate_every=every, seed=seed)
    threshold = half_way(tuned.returns[None], alone.returns[None])
    measures = stats.transfer_report(tuned.returns, alone.returns, tuned.steps, threshold=threshold)
    return FineTuning(before, tuned, alone, threshold, measures)
