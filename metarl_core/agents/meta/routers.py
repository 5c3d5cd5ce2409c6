"""Routers: how much each sub-agent counts on a new task, found out in a few episodes of it."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from metarl_core.agents.common.options import ConfigError, unknown
from metarl_core.agents.imt.aggregation import routing_weights
from metarl_core.agents.imt.embedding import TaskEmbedding
from metarl_core.agents.imt.mixture import NEAREST
from metarl_core.agents.imt.reference import purpose_seed
from metarl_core.agents.meta.playing import REFERENCE_ROWS, record, reference_policy
from metarl_core.agents.meta.sub_agents import SubAgent
from metarl_core.tasks import TaskDataset

__all__ = [
    "ROUTERS",
    "Adaptation",
    "BestSingleRouter",
    "EmbeddingRouter",
    "ReturnRouter",
    "Router",
    "UniformRouter",
    "make_router",
]

_LEAST_TASKS = 3
Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class Adaptation:
    """What a router found out about a new task.

    Attributes:
        weights: v, what each sub-agent counts, float64 [K], sum 1; only ``affine`` routing makes some negative.
        episodes: of the new task that were played for it.
        steps: environment steps of these.
        returns: mean return of each sub-agent in them, nan for one that was not played, float64 [K]; None: the router
            does not play the sub-agents.
    """

    weights: Array
    episodes: int
    steps: int
    returns: Array | None = None


class Router(abc.ABC):
    """Weighs sub-agents for a new task.

    Attributes:
        name: as the command line takes it.
    """

    name: ClassVar[str]

    def prepare(self, sub_agents: Sequence[SubAgent], seed: int) -> None:  # noqa: B027
        """Learn what there is to know of the sub-agents' own tasks; called once, before anything is routed.

        Raises:
            ConfigError: there are too few sub-agents to choose from.
        """

    @abc.abstractmethod
    def route(self, sub_agents: Sequence[SubAgent], task: Any, episodes: int, seed: int) -> Adaptation:
        """Play ``episodes`` episodes of a new task at most, and weigh the sub-agents.

        Args:
            sub_agents: those that :meth:`prepare` was called with.
            task: a Task, or a native vector environment of one task.
            episodes: >= 0. With none, the weights are equal: nothing is known.
            seed: of environments and of what is drawn.
        """

    def state_dict(self) -> dict[str, Any]:
        """Arguments and what :meth:`prepare` found, as plain values and arrays."""
        return {"name": self.name}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Router:  # noqa: ARG003
        """The router of :meth:`state_dict`, prepared."""
        return cls()


def equal_weights(count: int) -> Array:
    """1 / K each."""
    return np.full(count, 1 / count)


class UniformRouter(Router):
    """Every sub-agent counts the same; plays nothing."""

    name = "uniform"

    def route(self, sub_agents: Sequence[SubAgent], task: Any, episodes: int, seed: int) -> Adaptation:  # noqa: ARG002
        """Equal weights."""
        return Adaptation(equal_weights(len(sub_agents)), 0, 0)


class EmbeddingRouter(Router):
    """Weights of IMT: the new task is played by the reference policy, embedded, and compared with the known tasks.

    The embedding is fitted to the sub-agents' own tasks, which :meth:`prepare` plays by the reference policy.

    Args:
        routing: ``mixture``: the mixture of the known tasks that is nearest
            (:func:`metarl_core.agents.imt.mixture.mixture_weights`); ``affine``: the same with weights of either sign
            (:func:`metarl_core.agents.imt.mixture.affine_weights`); ``similarity``: v_i ∝ exp(cos / T) acc_i.
        temperature: T > 0, of ``similarity``.
        ridge: >= 0, of ``mixture`` and ``affine``: pull towards equal weights.
        steps: transitions of every sub-agent's task that an embedding is fitted to.
        num_features: of that embedding.
        whiten: whether it shrinks directions in which one task's own data differ.

    Attributes:
        embedding: None before :meth:`prepare`.
        known: vectors of the sub-agents' tasks before they are scaled to length 1, float64 [K, E].

    Raises:
        ConfigError: an argument is out of range.
    """

    name = "embedding"

    def __init__(
        self,
        *,
        routing: str = "mixture",
        temperature: float = 0.2,
        ridge: float = 1e-3,
        steps: int = 4096,
        num_features: int = 64,
        whiten: bool = True,
    ) -> None:
        if routing not in (*NEAREST, "similarity"):
            raise ConfigError(f"routing={routing!r}: choose one of {', '.join(NEAREST)}, similarity")
        if not temperature > 0:
            raise ConfigError(f"temperature={temperature}: must be > 0")
        if not ridge >= 0:
            raise ConfigError(f"ridge={ridge}: must be >= 0")
        if steps < 64:
            raise ConfigError(f"steps={steps}: must be >= 64")
        self.embedding: TaskEmbedding | None = None
        self.routing, self.temperature, self.ridge, self.steps = routing, float(temperature), float(ridge), int(steps)
        self.num_features, self.whiten = int(num_features), bool(whiten)
        self.known: Array = np.zeros((0, 0))

    @classmethod
    def of_data(cls, embedding: TaskEmbedding, datasets: Sequence[TaskDataset], **options: Any) -> EmbeddingRouter:
        """A router by an embedding that was fitted to ``datasets``, those of the sub-agents' tasks in their order."""
        made = cls(**options)
        made.embedding = embedding
        made.known = np.stack([embedding.vector(dataset) for dataset in datasets])
        return made

    def prepare(self, sub_agents: Sequence[SubAgent], seed: int) -> None:
        """Record the sub-agents' tasks under the reference policy, and embed them."""
        if self.embedding is None:
            if len(sub_agents) < _LEAST_TASKS:
                raise ConfigError(
                    f"router 'embedding' needs the tasks of at least {_LEAST_TASKS} sub-agents, and there "
                    f"{'is' if len(sub_agents) == 1 else 'are'} {len(sub_agents)}: of two centred tasks one is always "
                    "the opposite of the other; add sub-agents, or choose router 'return', 'best' or 'uniform'"
                )
            if len({dataclasses.replace(agent.task, name="any") for agent in sub_agents}) == 1:
                raise ConfigError(
                    f"router 'embedding' tells tasks apart, and all {len(sub_agents)} sub-agents have the same, "
                    f"{sub_agents[0].task}; choose router 'return', 'best' or 'uniform'"
                )
            datasets = [
                record(
                    agent.task,
                    reference_policy(agent.spaces, purpose_seed(seed, "actions", i)),
                    steps=self.steps,
                    seed=purpose_seed(seed, "reference", i),
                    num_envs=REFERENCE_ROWS,
                )
                for i, agent in enumerate(sub_agents)
            ]
            embedding = TaskEmbedding(self.num_features, whiten=self.whiten, seed=seed)
            try:
                self.embedding = embedding.fit(datasets)
            except ValueError as error:
                raise ConfigError(f"router 'embedding': the sub-agents' tasks cannot be embedded: {error}") from error
            self.known = np.stack([embedding.vector(dataset) for dataset in datasets])
        if len(self.known) != len(sub_agents):
            raise ConfigError(
                f"the router knows {len(self.known)} tasks, and there are {len(sub_agents)} sub-agents; must be one "
                "each, in the same order"
            )

    def weigh(self, dataset: TaskDataset, accuracy: Array) -> Array:
        """Weights for a task by transitions of it under the reference policy.

        Args:
            dataset: of the new task.
            accuracy: acc_i of the sub-agents, [K]; only ``similarity`` looks at it.

        Returns:
            float64 [K].
        """
        assert self.embedding is not None
        vector = self.embedding.vector(dataset)
        if self.routing in NEAREST:
            return NEAREST[self.routing](vector, self.known, self.ridge)
        return routing_weights(vector, self.known, accuracy, self.temperature)

    def route(self, sub_agents: Sequence[SubAgent], task: Any, episodes: int, seed: int) -> Adaptation:
        """Play by the reference policy, embed, weigh."""
        if episodes == 0:
            return Adaptation(equal_weights(len(sub_agents)), 0, 0)
        policy = reference_policy(sub_agents[0].spaces, purpose_seed(seed, "actions"))
        dataset = record(task, policy, episodes=episodes, seed=seed, num_envs=min(episodes, REFERENCE_ROWS))
        weights = self.weigh(dataset, np.array([agent.accuracy for agent in sub_agents]))
        return Adaptation(weights, episodes, len(dataset))

    def state_dict(self) -> dict[str, Any]:
        """The embedding, the known tasks' vectors, the arguments."""
        embedding = self.embedding
        names = ("routing", "temperature", "ridge", "steps", "num_features", "whiten")
        return {
            "name": self.name,
            "options": {name: getattr(self, name) for name in names},
            "embedding": None if embedding is None else embedding.state_dict(),
            "known": self.known.copy(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> EmbeddingRouter:
        """The router of :meth:`state_dict`, prepared."""
        made = cls(**state["options"])
        if state["embedding"] is not None:
            made.embedding = TaskEmbedding(**state["embedding"]["options"])
            made.embedding.load_state_dict(state["embedding"])
            made.known = np.array(state["known"])
        return made


class BestSingleRouter(Router):
    """All weight on the sub-agent that another router weighs most.

    Args:
        router: the other; None: an :class:`EmbeddingRouter`.
    """

    name = "best"

    def __init__(self, router: Router | None = None) -> None:
        self.router = EmbeddingRouter() if router is None else router

    def prepare(self, sub_agents: Sequence[SubAgent], seed: int) -> None:
        """Prepare the other router."""
        self.router.prepare(sub_agents, seed)

    def route(self, sub_agents: Sequence[SubAgent], task: Any, episodes: int, seed: int) -> Adaptation:
        """Route by the other router, and keep its largest weight; without episodes that is the first sub-agent."""
        found = self.router.route(sub_agents, task, episodes, seed)
        return dataclasses.replace(found, weights=np.eye(len(sub_agents))[int(found.weights.argmax())])

    def state_dict(self) -> dict[str, Any]:
        """The other router's state."""
        return {"name": self.name, "router": self.router.state_dict()}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> BestSingleRouter:
        """The router of :meth:`state_dict`, prepared."""
        return cls(router_from_state(state["router"]))


class ReturnRouter(Router):
    """All weight on the sub-agent with the best return, which needs no embedding but spends the episodes on them all.

    The episodes are dealt out evenly, those that are left over to sub-agents in a random order; with fewer episodes
    than sub-agents, only as many are tried. Equal returns: the first one.
    """

    name = "return"

    def prepare(self, sub_agents: Sequence[SubAgent], seed: int) -> None:  # noqa: ARG002
        """Refuse a single sub-agent."""
        if len(sub_agents) < 2:
            raise ConfigError("router 'return' chooses by returns, and there is one sub-agent; add sub-agents")

    def route(self, sub_agents: Sequence[SubAgent], task: Any, episodes: int, seed: int) -> Adaptation:
        """Play the sub-agents greedily."""
        count = len(sub_agents)
        if episodes == 0:
            return Adaptation(equal_weights(count), 0, 0, np.full(count, np.nan))
        share = np.full(count, episodes // count)
        share[np.random.default_rng([seed, 41]).permutation(count)[: episodes % count]] += 1
        returns, steps = np.full(count, np.nan), 0
        for i in np.flatnonzero(share).tolist():
            played = record(task, sub_agents[i].act, episodes=int(share[i]), seed=seed)
            returns[i], steps = played.returns.mean(), steps + len(played)
        return Adaptation(np.eye(count)[int(np.nanargmax(returns))], episodes, steps, returns)


ROUTERS: dict[str, type[Router]] = {
    router.name: router for router in (EmbeddingRouter, UniformRouter, BestSingleRouter, ReturnRouter)
}
"""By the names that the command line takes."""


def make_router(name: str) -> Router:
    """Make a router by its name.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in ROUTERS:
        raise ConfigError(unknown(name, list(ROUTERS), "router"))
    return ROUTERS[name]()


def router_from_state(state: Mapping[str, Any]) -> Router:
    """The router that a state is of.

    Raises:
        ConfigError: there is none of that name.
    """
    if state["name"] not in ROUTERS:
        raise ConfigError(unknown(str(state["name"]), list(ROUTERS), "router"))
    return ROUTERS[state["name"]].from_state(state)
