"""Imitation: a policy cloned from demonstrations of several tasks, told apart by the task's embedding."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarl_core.agents.common.actions import BoxActions
from metarl_core.agents.common.devices import flushed_denormals
from metarl_core.agents.common.learner import TrainingDivergedError
from metarl_core.agents.common.networks import EnsembleMLP
from metarl_core.agents.common.observations import ObservationEncoder
from metarl_core.agents.common.options import ConfigError, option, validate
from metarl_core.agents.imt.embedding import TaskEmbedding
from metarl_core.agents.imt.reference import purpose_seed
from metarl_core.agents.imt.spaces import dense_observations
from metarl_core.agents.meta.playing import REFERENCE_ROWS, Policy, TaskSpaces, record, reference_policy
from metarl_core.errors import CheckpointFormatError
from metarl_core.runs import read_checkpoint, write_checkpoint
from metarl_core.tasks import MetaTask, Task, TaskDataset

__all__ = ["ClonedPolicy", "CloningConfig", "TaskContexts", "demonstrate"]

Array = NDArray[np.float64]
_FORMAT = "metarl_core.ClonedPolicy"
_VERSION = 1


def demonstrate(
    tasks: MetaTask, expert: Callable[[Task], Policy], *, episodes: int = 20, noise: float = 0.0, seed: int = 0
) -> MetaTask:
    """Record demonstrations of every task.

    A clone of flawless demonstrations has never seen how to come back from a mistake. With ``noise`` a share of the
    actions is replaced by random ones, which lead the expert off its way, while what is stored is what the expert would
    have done (as in DART, Laskey et al. 2017, CoRL): datasets for imitation, whose next observations and rewards belong
    to the actions that were executed.

    Args:
        tasks: which.
        expert: called with a task, returns the policy that shows it: a script, or ``learner.act`` of a trained agent.
        episodes: of each task.
        noise: share of uniform actions, in [0, 1]; the expert must be a function of the observation alone then.
        seed: of the environments and the noise.

    Returns:
        The tasks with these datasets, and with their parts if they have some.

    Raises:
        TypeError: as of ``TaskDataset.record``.
        ValueError: the same, or ``noise`` is out of range.
    """
    if not 0 <= noise <= 1:
        raise ValueError(f"noise is {noise}; must be in [0, 1]")
    datasets = {}
    for i, task in enumerate(tasks):
        policy, key = expert(task), purpose_seed(seed, "demonstrate", i)
        if noise == 0:
            datasets[task.name] = record(task, policy, episodes=episodes, seed=key)
            continue
        played = record(task, _disturbed(policy, TaskSpaces.of(task), noise, key), episodes=episodes, seed=key)
        datasets[task.name] = TaskDataset(
            played.obs,
            policy(played.obs),
            played.rewards,
            played.next_obs,
            played.terminated,
            played.truncated,
            played.episode,
            observation_space=played.observation_space,
            action_space=played.action_space,
            metadata={**played.metadata, "policy": f"the expert, {noise:g} of its actions replaced in execution"},
        )
    return MetaTask(tasks, datasets, parts=tasks.parts)


def _disturbed(policy: Policy, spaces: TaskSpaces, noise: float, seed: int) -> Policy:
    """The policy with a share of uniform actions."""
    rng = np.random.default_rng([seed, 53])

    def act(obs: Any) -> NDArray[Any]:
        actions = np.array(policy(obs))
        random = rng.random(len(actions)) < noise
        box = spaces.actions
        if isinstance(box, BoxActions):
            drawn = box.from_unit(rng.uniform(-1, 1, actions.shape).astype(np.float32))
            return np.where(random[:, None], drawn, actions)
        return np.where(random, spaces.native(rng.integers(spaces.num_actions, size=len(actions))), actions)

    return act


@dataclasses.dataclass(frozen=True)
class CloningConfig:
    """Options of behaviour cloning."""

    hidden: tuple[int, ...] = option((64, 64), "widths of the hidden layers", minimum=1)
    lr: float = option(1e-3, "learning rate of Adam", above=0.0)
    batch_size: int = option(128, "demonstrated actions in a gradient step", minimum=1)
    components: int = option(
        8, "numbers that the policy is told about the task, at most one fewer than tasks", minimum=1
    )
    reference_steps: int = option(4096, "transitions of each task under the reference policy", minimum=64)
    embedding_features: int = option(64, "random features of the task embedding", minimum=1)
    contexts: int = option(
        32, "embeddings of each task that the policy is trained with, each of some episodes alone", minimum=1
    )
    action_levels: int = option(3, "of continuous actions of the reference policy: values of each component", minimum=2)
    normalize_obs: bool = option(True, "map bounded observations to [-1, 1] by the space's own bounds")
    torch_threads: int = option(1, "threads of torch; small networks are fastest with one", minimum=1)

    def __post_init__(self) -> None:
        """Check every field."""
        validate(self)


class TaskContexts:
    """What a policy is told about a task: the first principal components of its centred embedding vector.

    The axes are those of the training tasks' vectors; all are divided by one number, so that the training tasks have a
    mean square of 1 in each on average, and directions in which tasks hardly differ stay small.

    Args:
        embedding: fitted to the training tasks.
        vectors: the training tasks' vectors, float64 [K, E].
        components: C, at most K - 1.
    """

    def __init__(self, embedding: TaskEmbedding, vectors: Array, components: int) -> None:
        self.embedding = embedding
        axes = np.linalg.svd(vectors, full_matrices=False)[2]
        self.axes: Array = axes[: min(components, len(vectors) - 1)]
        self.scale = float(np.sqrt(((vectors @ self.axes.T) ** 2).mean()))

    @property
    def size(self) -> int:
        """C."""
        return len(self.axes)

    def __call__(self, dataset: TaskDataset) -> Array:
        """Context of a task by transitions of it under the reference policy, float64 [C]."""
        context: Array = self.axes @ self.embedding.vector(dataset) / self.scale
        return context


class ClonedPolicy:
    """Behaviour cloning over the tasks of a MetaTask: supervised learning of demonstrated actions (Pomerleau 1989).

    The policy reads the observation and, if ``conditioned``, the task's context (:class:`TaskContexts`), which a few
    episodes of the reference policy reveal of a task that nobody demonstrated. It is trained with contexts of some of a
    task's episodes each, as a new task's come from few. Discrete actions: cross-entropy; continuous ones: squared error
    in units of half the bounds' distance.

    Args:
        tasks: each with demonstrations as its dataset (:func:`demonstrate`); at least 3 if ``conditioned``. Of tasks
            that have parts, those of ``"train"``.
        config: options.
        conditioned: False: the plain supervised baseline, which does not see the task.
        seed: of everything random.
        device: where the network lives.

    Attributes:
        context: what the policy is told now, float64 [C]; zeros (the mean training task) before :meth:`adapt`.
        contexts: how it is made; None: not ``conditioned``.

    Raises:
        ConfigError: there are too few tasks, one has no data, spaces differ, or the tasks cannot be told apart.
    """

    def __init__(
        self,
        tasks: MetaTask,
        config: CloningConfig | None = None,
        *,
        conditioned: bool = True,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        self.config = config or CloningConfig()
        torch.set_num_threads(self.config.torch_threads)
        self.conditioned, self.seed, self.device = conditioned, seed, torch.device(device)
        train = tasks.splits().train if tasks.parts else tasks
        try:
            if conditioned:
                train.require(3, "a policy conditioned on the task")
            names, datasets = train.mixture()
        except ValueError as error:
            raise ConfigError(str(error)) from error
        self._set_up(train[0])
        self.demonstrations = self._demonstrations(dict(zip(names, datasets, strict=True)))
        self.contexts: TaskContexts | None = None
        self.examples: list[Array] = [np.zeros((1, 0)) for _ in train]
        if conditioned:
            self.contexts, self.examples = self._make_contexts(train)
        self._make_network()
        self.rng = np.random.default_rng([seed, 51])

    def _set_up(self, task: Task) -> None:
        self.task = task
        self.spaces = TaskSpaces.of(task, self.config.action_levels)
        self.encoder = ObservationEncoder(self.spaces.observation_space, self.config.normalize_obs)

    def _make_network(self) -> None:
        size = 0 if self.contexts is None else self.contexts.size
        actions = self.spaces.actions
        outputs = actions.size if isinstance(actions, BoxActions) else actions
        generator = torch.Generator().manual_seed(self.seed)
        width = self.encoder.size + size
        self.network = EnsembleMLP(1, width, self.config.hidden, outputs, generator).to(self.device)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=self.config.lr, fused=True)
        self.context: Array = np.zeros(size)

    def _demonstrations(self, datasets: dict[str, Any]) -> list[tuple[NDArray[np.float32], NDArray[Any]]]:
        """Encoded observations and targets of every task."""
        found = []
        for name, dataset in datasets.items():
            if not isinstance(dataset, TaskDataset):
                raise ConfigError(f"the data of task {name!r} is a {type(dataset).__name__}; must be a TaskDataset")
            given = TaskSpaces(dataset.observation_space, dataset.action_space, self.spaces.actions, None)
            given.require_equal(self.spaces, f"the demonstrations of {name!r}", f"task {self.task.name!r}")
            found.append((dense_observations(self.encoder, dataset.obs), self._targets(dataset.actions)))
        return found

    def _targets(self, actions: NDArray[Any]) -> NDArray[Any]:
        box = self.spaces.actions
        if not isinstance(box, BoxActions):
            return self.spaces.numbers(actions)
        unit: NDArray[Any] = ((actions - box.middle) / box.half_width).astype(np.float32)
        return unit

    def _make_contexts(self, tasks: MetaTask) -> tuple[TaskContexts, list[Array]]:
        c = self.config
        recorded = [
            record(
                task,
                reference_policy(self.spaces, purpose_seed(self.seed, "actions", i)),
                steps=c.reference_steps,
                seed=purpose_seed(self.seed, "reference", i),
                num_envs=REFERENCE_ROWS,
            )
            for i, task in enumerate(tasks)
        ]
        try:
            embedding = TaskEmbedding(c.embedding_features, whiten=True, seed=self.seed).fit(recorded)
        except ValueError as error:
            raise ConfigError(f"the tasks cannot be told apart: {error}; set conditioned=False") from error
        vectors = np.stack([embedding.vector(dataset) for dataset in recorded])
        contexts = TaskContexts(embedding, vectors, c.components)
        rng = np.random.default_rng([self.seed, 52])
        return contexts, [self._some_contexts(contexts, dataset, rng) for dataset in recorded]

    def _some_contexts(self, contexts: TaskContexts, dataset: TaskDataset, rng: np.random.Generator) -> Array:
        """Contexts by random sets of the episodes, of sizes that are uniform in log size, [N, C]."""
        episodes = dataset.episodes
        sizes = np.rint(np.exp(rng.uniform(0, np.log(len(episodes)), self.config.contexts))).astype(int)
        chosen = (rng.choice(episodes, size, replace=False) for size in sizes)
        return np.stack([contexts(dataset.take_episodes(some)) for some in chosen])

    def inputs(self, obs: NDArray[np.float32], context: Array) -> Tensor:
        """What the network reads: encoded observations [B, D] beside contexts [B, C] or [C], float32 [B, D + C]."""
        told = np.broadcast_to(context, (len(obs), context.shape[-1])).astype(np.float32)
        return torch.from_numpy(np.concatenate((obs, told), axis=1)).to(self.device)

    def loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy of the demonstrated actions, or mean squared error of their unit coordinates, []."""
        found: Tensor = self.network(inputs)[0]
        if isinstance(self.spaces.actions, BoxActions):
            return torch.nn.functional.mse_loss(found, targets)
        return torch.nn.functional.cross_entropy(found, targets)

    def fit(self, updates: int = 2000) -> list[float]:
        """Learn from the demonstrations: in each step, transitions of tasks that are drawn with equal chances.

        Args:
            updates: gradient steps, >= 1; further calls go on.

        Returns:
            The loss of every step.

        Raises:
            ValueError: ``updates`` is below 1.
            ConfigError: the policy was loaded, and has no demonstrations.
            TrainingDivergedError: the loss is no longer finite.
        """
        if updates < 1:
            raise ValueError(f"updates is {updates}; must be >= 1")
        if not self.demonstrations:
            raise ConfigError(
                "a policy that was loaded has no demonstrations; make one with the tasks to go on learning"
            )
        losses: list[float] = []
        size = self.config.batch_size
        counts = np.array([len(obs) for obs, _ in self.demonstrations])
        starts = np.concatenate(([0], np.cumsum(counts)[:-1]))
        obs = np.concatenate([obs for obs, _ in self.demonstrations])
        targets = np.concatenate([targets for _, targets in self.demonstrations])
        examples = np.stack(self.examples)
        with flushed_denormals():
            for _ in range(updates):
                task = self.rng.integers(len(counts), size=size)
                row = starts[task] + (self.rng.random(size) * counts[task]).astype(np.int64)
                told = examples[task, self.rng.integers(examples.shape[1], size=size)]
                target = torch.from_numpy(targets[row]).to(self.device)
                loss = self.loss(self.inputs(obs[row], told), target)
                value = loss.item()
                if not np.isfinite(value):
                    raise TrainingDivergedError(f"loss is {value} in gradient step {len(losses)}; try a smaller lr")
                self.optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                self.optimizer.step()
                losses.append(value)
        return losses

    def adapt(self, task: Any, episodes: int = 10, *, seed: int | None = None) -> Array:
        """Meet a new task: play it by the reference policy, and take its context.

        Args:
            task: a Task, or a native vector environment of one task.
            episodes: to play; 0: the context is that of the mean training task, zeros.
            seed: of the environment and the actions; None: derived from the policy's.

        Returns:
            The context, float64 [C].

        Raises:
            ConfigError: the task's spaces differ.
            ValueError: ``episodes`` is negative.
        """
        if isinstance(episodes, bool) or not isinstance(episodes, (int, np.integer)) or episodes < 0:
            raise ValueError(f"episodes is {episodes!r}; must be an integer >= 0")
        self.spaces.require_equal(TaskSpaces.of(task, self.config.action_levels), "the policy", "the new task")
        seed = purpose_seed(self.seed, "adapt") if seed is None else seed
        if self.contexts is None or episodes == 0:
            self.context = np.zeros_like(self.context)
        else:
            policy = reference_policy(self.spaces, purpose_seed(seed, "actions"))
            rows = min(int(episodes), REFERENCE_ROWS)
            self.context = self.contexts(record(task, policy, episodes=int(episodes), seed=seed, num_envs=rows))
        context: Array = self.context.copy()
        return context

    @torch.no_grad()
    def act(self, obs: NDArray[Any]) -> NDArray[Any]:
        """Actions for observations [B, ...] as the environment gives them, as it takes them."""
        found: Tensor = self.network(self.inputs(dense_observations(self.encoder, np.asarray(obs)), self.context))[0]
        box = self.spaces.actions
        if isinstance(box, BoxActions):
            taken: NDArray[Any] = box.from_unit(found.clamp(-1, 1).cpu().numpy())
            return taken
        chosen: NDArray[np.int64] = found.argmax(dim=1).cpu().numpy()
        return self.spaces.native(chosen)

    def evaluate(self, task: Any, episodes: int = 20, seed: int = 0) -> Array:
        """Returns of episodes on a task with the present context, float64 [episodes]."""
        returns: Array = record(task, self.act, episodes=episodes, seed=seed).returns
        return returns

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the policy to a file in the library's checkpoint format; the demonstrations are not kept.

        Raises:
            OSError: it cannot be written; what is there is untouched.
        """
        contexts = self.contexts
        state = {
            "config": dataclasses.asdict(self.config),
            "seed": self.seed,
            "task": self.task.to_json(),
            "embedding": None if contexts is None else contexts.embedding.state_dict(),
            "axes": None if contexts is None else contexts.axes.copy(),
            "scale": None if contexts is None else contexts.scale,
            "network": dict(self.network.state_dict()),
            "context": self.context.copy(),
        }
        write_checkpoint(path, {"format": _FORMAT, "version": _VERSION, "state": state})

    @classmethod
    def load(cls, path: str | os.PathLike[str], device: str = "cpu") -> ClonedPolicy:
        """Read a policy that :meth:`save` wrote: it adapts and acts as that one, but has nothing to learn from.

        Raises:
            FileNotFoundError: no such file.
            CheckpointFormatError: it holds no cloned policy, or one of another version.
            CheckpointCorruptError: it is damaged.
        """
        whole = read_checkpoint(path)
        if not isinstance(whole, dict) or whole.get("format") != _FORMAT:
            raise CheckpointFormatError(f"{path} holds no ClonedPolicy")
        if whole["version"] != _VERSION:
            raise CheckpointFormatError(f"{path} has version {whole['version']} of a ClonedPolicy; known is {_VERSION}")
        state = whole["state"]
        made = object.__new__(cls)
        made.config, made.seed, made.device = CloningConfig(**state["config"]), state["seed"], torch.device(device)
        made.conditioned = state["embedding"] is not None
        made._set_up(Task.from_json(state["task"]))
        made.demonstrations, made.examples, made.contexts = [], [], None
        if made.conditioned:
            embedding = TaskEmbedding(**state["embedding"]["options"])
            embedding.load_state_dict(state["embedding"])
            made.contexts = object.__new__(TaskContexts)
            made.contexts.embedding, made.contexts.axes = embedding, np.array(state["axes"])
            made.contexts.scale = float(state["scale"])
        made._make_network()
        made.network.load_state_dict(state["network"])
        made.context = np.array(state["context"])
        made.rng = np.random.default_rng([made.seed, 51])
        return made
