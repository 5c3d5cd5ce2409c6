"""The meta-agent: sub-agents behind a router, adapted to a new task in a few episodes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from metarl_core.agents.common.options import ConfigError
from metarl_core.agents.imt import AGGREGATIONS, ImtLearner
from metarl_core.agents.imt.aggregation import aggregate_actions
from metarl_core.agents.imt.reference import purpose_seed
from metarl_core.agents.imt.routing import routing_rule
from metarl_core.agents.meta.networks import imt_sub_agents, learner_from, soup
from metarl_core.agents.meta.playing import TaskSpaces, record
from metarl_core.agents.meta.q_learner import LearningCurve, QLearner
from metarl_core.agents.meta.routers import Adaptation, EmbeddingRouter, Router, equal_weights, router_from_state
from metarl_core.agents.meta.sub_agents import SubAgent, check_sub_agents
from metarl_core.errors import CheckpointFormatError
from metarl_core.runs import read_checkpoint, write_checkpoint
from metarl_core.tasks import Task

__all__ = ["MetaAgent"]

_FORMAT = "metarl_core.MetaAgent"
_VERSION = 1


def _checked(aggregation: str) -> str:
    if aggregation not in AGGREGATIONS:
        raise ConfigError(f"aggregation={aggregation!r}: choose one of {', '.join(AGGREGATIONS)}")
    return aggregation


class MetaAgent:
    """Several trained agents that act together on tasks that none of them was trained for.

    Args:
        sub_agents: of equal spaces; see :class:`SubAgent`, :class:`QLearner`, and :meth:`from_imt`.
        router: weighs them on a new task; None: :class:`EmbeddingRouter`.
        aggregation: how they act together, one of ``AGGREGATIONS`` of IMT. ``weighted`` sums standardised values;
            ``soup`` averages the networks, which need a common start, as IMT's submodels have.
        seed: of everything random.

    Attributes:
        adaptation: what the router found in the last :meth:`adapt`; None before.
        tuned: the learner of the last :meth:`fine_tune`, which then acts alone; None before.

    Raises:
        ConfigError: spaces differ, there are too few sub-agents for the router, or the sub-agents cannot be aggregated
            in this way.
    """

    def __init__(
        self,
        sub_agents: Sequence[SubAgent],
        router: Router | None = None,
        *,
        aggregation: str = "weighted",
        seed: int = 0,
    ) -> None:
        self.sub_agents = list(sub_agents)
        check_sub_agents(self.sub_agents)
        self.aggregation, self.seed = _checked(aggregation), seed
        for agent in self.sub_agents:
            if not agent.valued and aggregation != "best":
                raise ConfigError(
                    f"aggregation={aggregation!r}: sub-agent {agent.name!r} ({agent.algorithm}) has no action values; "
                    "set aggregation=best"
                )
        self.adaptation: Adaptation | None = None
        self.tuned: QLearner | None = None
        self.task: Any = None
        self._soup: QLearner | None = None
        if aggregation == "soup":
            soup(self.sub_agents, equal_weights(len(self.sub_agents)))  # refuses networks that cannot be averaged
        self.router = EmbeddingRouter() if router is None else router
        self.router.prepare(self.sub_agents, purpose_seed(seed, "router"))

    @classmethod
    def from_imt(
        cls, learner: ImtLearner, *, router: Router | None = None, aggregation: str | None = None, seed: int = 0
    ) -> MetaAgent:
        """The submodels of IMT, aggregated and routed as its configuration says.

        Args:
            learner: of any number of rounds.
            router: in place of IMT's own.
            aggregation: in place of IMT's own.
            seed: of everything random here.

        Raises:
            ConfigError: its embedding is of the common trunk, which the router cannot keep, and no router is given.
        """
        c = learner.config
        if router is None:
            if learner.embedding is None:
                raise ConfigError(
                    f"embedding={c.embedding!r}: vectors of the common trunk cannot be routed by; train with "
                    "embedding=random_features, or give a router"
                )
            how = _checked(aggregation or c.aggregation)
            rule = None if c.routing == "similarity" else routing_rule(learner, c.routing, how)
            router = EmbeddingRouter.of_data(
                learner.embedding,
                learner.datasets,
                routing="similarity" if rule is None else rule.name,
                temperature=c.temperature,
                ridge=c.mixture_ridge if rule is None else rule.ridge,
                steps=c.reference_steps,
                num_features=c.embedding_features,
                whiten=c.whiten,
            )
        return cls(imt_sub_agents(learner), router, aggregation=aggregation or c.aggregation, seed=seed)

    @property
    def spaces(self) -> TaskSpaces:
        """Of all tasks."""
        return self.sub_agents[0].spaces

    @property
    def weights(self) -> NDArray[np.float64]:
        """What each sub-agent counts now, float64 [K]; equal before :meth:`adapt`."""
        return equal_weights(len(self.sub_agents)) if self.adaptation is None else self.adaptation.weights

    def adapt(self, task: Any, episodes: int = 10, *, seed: int | None = None) -> Adaptation:
        """Meet a new task: the router plays it and weighs the sub-agents. What was fine-tuned before is forgotten.

        Args:
            task: a :class:`metarl_core.tasks.Task`, or a native vector environment whose rows have one task.
            episodes: to play at most; 0: none, the weights are equal (zero-shot).
            seed: of environments and of what is drawn; None: derived from the agent's.

        Returns:
            Weights, and what was played for them.

        Raises:
            ConfigError: its spaces differ from the sub-agents'.
            ValueError: ``episodes`` is negative, or the task has a parameter that cannot be set.
            TypeError: it is neither a task nor an environment.
        """
        if isinstance(episodes, bool) or not isinstance(episodes, (int, np.integer)) or episodes < 0:
            raise ValueError(f"episodes is {episodes!r}; must be an integer >= 0")
        name = repr(task.name) if isinstance(task, Task) else "the environment"
        self.spaces.require_equal(
            TaskSpaces.of(task, self.sub_agents[0].levels), "the sub-agents", f"the new task {name}"
        )
        seed = purpose_seed(self.seed, "adapt") if seed is None else seed
        self._take(self.router.route(self.sub_agents, task, int(episodes), seed), task)
        assert self.adaptation is not None
        return self.adaptation

    def _take(self, adaptation: Adaptation | None, task: Any) -> None:
        self.adaptation, self.tuned, self.task = adaptation, None, task
        self._soup = soup(self.sub_agents, self.weights) if self.aggregation == "soup" else None

    def fine_tune(
        self,
        steps: int,
        *,
        epsilon: float = 0.1,
        evaluate_every: int | None = None,
        episodes: int = 20,
        seed: int | None = None,
        **options: Any,
    ) -> LearningCurve:
        """Go on learning on the adapted task by TD, from one network: the soup, or else the heaviest sub-agent.

        Args:
            steps: environment steps.
            epsilon: share of uniform actions at first; it falls to 0.05 in the first half of the steps.
            evaluate_every: as of :meth:`QLearner.train`.
            episodes: as there.
            seed: as there; None: derived from the agent's.
            options: of ``DoubleDQNConfig`` (of an ensemble ``BootstrappedDQNConfig``), in place of the sub-agent's.

        Returns:
            The learning curve; its first point is the network before.

        Raises:
            ConfigError: there was no :meth:`adapt` to a :class:`Task`, or an option does not fit.
        """
        if not isinstance(self.task, Task):
            what = "an environment, which fine_tune cannot make again" if self.task is not None else "nothing yet"
            raise ConfigError(f"the agent is adapted to {what}; call adapt with a Task first")
        start = self._soup if self._soup is not None else self.sub_agents[int(self.weights.argmax())]
        learner = learner_from(start, self.task, **tuning_options(steps, epsilon, options))
        learner.name = f"{start.name}, tuned"
        seed = purpose_seed(self.seed, "fine_tune") if seed is None else seed
        curve = learner.train(steps, evaluate_every=evaluate_every, episodes=episodes, seed=seed)
        self.tuned = learner
        return curve

    def act(self, obs: NDArray[Any]) -> NDArray[Any]:
        """Greedy actions for observations [B, ...] as the environment gives them, as it takes them."""
        alone = self.tuned if self.tuned is not None else self._acting_alone()
        if alone is not None:
            return alone.act(obs)
        q = torch.stack([agent.values(obs) for agent in self.sub_agents])
        return self.spaces.native(aggregate_actions(q, self.weights, self.aggregation).cpu().numpy())

    def _acting_alone(self) -> SubAgent | None:
        """The network that acts for all, where there is one."""
        if self.aggregation == "soup":
            if self._soup is None:
                self._soup = soup(self.sub_agents, self.weights)
            return self._soup
        if self.aggregation == "best":
            return self.sub_agents[int(self.weights.argmax())]
        return None

    def evaluate(self, task: Any = None, episodes: int = 20, seed: int | None = None) -> NDArray[np.float64]:
        """Returns of greedy episodes, float64 [episodes].

        Args:
            task: a Task or an environment; None: the adapted one.
            episodes: how many.
            seed: of the environments; None: derived from the agent's.

        Raises:
            ConfigError: there is no task.
        """
        place = self.task if task is None else task
        if place is None:
            raise ConfigError("the agent is adapted to no task; give one, or call adapt first")
        seed = purpose_seed(self.seed, "evaluate") if seed is None else seed
        returns: NDArray[np.float64] = record(place, self.act, episodes=episodes, seed=seed).returns
        return returns

    # Saving

    def state_dict(self) -> dict[str, Any]:
        """Sub-agents, router, weights and the tuned learner, as plain values and arrays."""
        found = self.adaptation
        return {
            "aggregation": self.aggregation,
            "seed": self.seed,
            "sub_agents": [_with_kind(agent) for agent in self.sub_agents],
            "router": self.router.state_dict(),
            "adaptation": None if found is None else {**vars(found)},
            "task": self.task.to_json() if isinstance(self.task, Task) else None,
            "tuned": None if self.tuned is None else self.tuned.state_dict(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], device: str = "cpu") -> MetaAgent:
        """The agent of :meth:`state_dict`; it acts as that one, bit for bit."""
        kinds: dict[str, type[SubAgent]] = {"learner": QLearner, "agent": SubAgent}
        sub_agents = [kinds[each["kind"]].from_state(each, device) for each in state["sub_agents"]]
        made = cls(
            sub_agents, router_from_state(state["router"]), aggregation=state["aggregation"], seed=int(state["seed"])
        )
        found = state["adaptation"]
        task = None if state["task"] is None else Task.from_json(state["task"])
        made._take(None if found is None else Adaptation(**found), task)
        if state["tuned"] is not None:
            made.tuned = QLearner.from_state(state["tuned"], device)
        return made

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the agent to a file in the library's checkpoint format (docs/checkpoint-format.md).

        An environment that it was adapted to is not kept, the weights are.

        Raises:
            OSError: it cannot be written; what is there is untouched.
        """
        write_checkpoint(path, {"format": _FORMAT, "version": _VERSION, "state": self.state_dict()})

    @classmethod
    def load(cls, path: str | os.PathLike[str], device: str = "cpu") -> MetaAgent:
        """Read an agent that :meth:`save` wrote; runs no code of the file.

        Raises:
            FileNotFoundError: no such file.
            CheckpointFormatError: it holds no meta-agent, or one of a newer version.
            CheckpointCorruptError: it is damaged.
        """
        whole = read_checkpoint(path)
        if not isinstance(whole, dict) or whole.get("format") != _FORMAT:
            raise CheckpointFormatError(f"{path} holds no MetaAgent")
        if whole["version"] != _VERSION:
            raise CheckpointFormatError(f"{path} has version {whole['version']} of a MetaAgent; known is {_VERSION}")
        return cls.from_state(whole["state"], device)


def tuning_options(steps: int, epsilon: float, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a learner on one new task: Adam, and epsilon that falls in the first half of its steps."""
    schedule = {"epsilon_start": epsilon, "epsilon_end": min(0.05, epsilon), "epsilon_steps": max(steps // 2, 1)}
    return {"optimizer": "adam", "lr": 1e-3, "epochs": 1, **schedule, **options}


def _with_kind(agent: SubAgent) -> dict[str, Any]:
    return {"kind": "learner" if isinstance(agent, QLearner) else "agent", **agent.state_dict()}
