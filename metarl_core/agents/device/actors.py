"""Behaviour on the device: actions and the agents' own columns, with the random numbers of a stretch drawn before it.

NumPy's generators are the agents' own ones, which are saved with them; what they give is copied to the device at the
beginning of a stretch of steps.
"""

from __future__ import annotations

import abc
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from metarl_core.agents.baselines.bootdqn import BootstrappedDQN
from metarl_core.agents.baselines.dqn import DoubleDQN
from metarl_core.agents.cder.learner import CderAgent
from metarl_core.agents.common.learner import Agent
from metarl_core.agents.device.heads import DeviceHeads
from metarl_core.agents.device.visits import DeviceVisits

__all__ = ["ACTORS", "Actor"]

_A = TypeVar("_A", bound=Agent)


class Actor(abc.ABC, Generic[_A]):
    """Plays for an agent without its looking.

    Args:
        agent: whose networks, options and generators these are.
    """

    draws_always = False
    """Whether uniform actions are drawn even where epsilon is 0, as the agent's ``act`` does."""

    def __init__(self, agent: _A) -> None:
        self.agent = agent
        self._uniform: Tensor | None = None
        self._drawn: Tensor | None = None
        self._extra: dict[str, Tensor] = {}

    @abc.abstractmethod
    def best(self, obs: Tensor) -> Tensor:
        """Actions of network inputs [num_envs, ...] before any uniform one takes their place, int64 [num_envs]."""

    def begin(self, step: int, length: int) -> None:
        """Draw what ``length`` steps of every instance need; ``step`` is the environment step of the first."""
        agent, n = self.agent, self.agent.num_envs
        epsilons = [agent.schedule(step + t * n).get("epsilon", 0.0) for t in range(length)]
        self._uniform = self._drawn = None
        if self.draws_always or any(epsilon > 0 for epsilon in epsilons):
            uniform, drawn = np.zeros((length, n), dtype=np.bool_), np.zeros((length, n), dtype=np.int64)
            for t, epsilon in enumerate(epsilons):
                if self.draws_always or epsilon > 0:
                    uniform[t] = agent.policy_rng.random(n) < epsilon
                    drawn[t] = agent.policy_rng.integers(agent.num_actions, size=n)
            self._uniform, self._drawn = self._upload(uniform), self._upload(drawn)
        extra = agent.extra_columns(length * n)
        self._extra = {name: self._upload(rows).view(length, n, *rows.shape[1:]) for name, rows in extra.items()}

    def _upload(self, array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> Tensor:
        return torch.from_numpy(array).to(self.agent.device)

    def act(self, obs: Tensor, at: int) -> Tensor:
        """Behaviour of step number ``at`` of the stretch: network inputs [num_envs, ...] -> int64 [num_envs]."""
        best = self.best(obs)
        if self._uniform is None or self._drawn is None:
            return best
        return torch.where(self._uniform[at], self._drawn[at], best)

    def columns(self, at: int, obs: Tensor, next_obs: Tensor, ended: Tensor) -> dict[str, Tensor]:  # noqa: ARG002
        """Values of the agent's ``extra_fields`` for the transitions of step number ``at``, [num_envs, ...].

        Args:
            at: number of the step in the stretch.
            obs: encoded s, as in the replay.
            next_obs: encoded s', the last one of an episode that ends.
            ended: terminated or truncated, bool [num_envs].
        """
        return {name: rows[at] for name, rows in self._extra.items()}

    def begin_episodes(self, ended: Tensor) -> None:
        """Tell which instances begin an episode with the next action, bool [num_envs]."""

    def load(self) -> None:
        """Take over the agent's state, which was loaded."""

    def store(self) -> None:
        """Give the agent what it does not follow step by step, before its state is saved."""


class EpsilonGreedyActor(Actor[DoubleDQN]):
    """Double DQN's epsilon-greedy actions, those of its ``act`` bit for bit."""

    draws_always = True

    def best(self, obs: Tensor) -> Tensor:
        """argmax_a Q(s, a)."""
        q: Tensor = self.agent.critic(obs)
        return q[0].argmax(dim=1)


class HeadActor(Actor[_A]):
    """An agent one of whose heads acts for an instance during an episode.

    Without epsilon, actions are those of the agent's ``act`` bit for bit. With it, both kinds of draws come from one
    generator, and on the device those of a whole stretch come before the heads', so that the run is another one, and
    depends on how long the stretches are.
    """

    def __init__(self, agent: _A, members: int) -> None:
        super().__init__(agent)
        self._heads = DeviceHeads(members, agent.num_envs, agent.device)

    @property
    def heads(self) -> Tensor:
        """Heads in use, int64 [num_envs]."""
        return self._heads.now

    @abc.abstractmethod
    def host_heads(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Heads in use as the agent has them, int64 [num_envs]."""

    def begin(self, step: int, length: int) -> None:
        """See :class:`Actor`."""
        super().begin(step, length)
        self._heads.begin(self.host_heads(), self.agent.policy_rng, length)

    def begin_episodes(self, ended: Tensor) -> None:
        """Give the instances that begin an episode the next heads, in their order."""
        self._heads.begin_episodes(ended)


class CderActor(HeadActor[CderAgent]):
    """CDER's behaviours ``thompson``, ``optimistic_thompson``, ``ucb`` and ``epsilon_greedy``."""

    def __init__(self, agent: CderAgent) -> None:
        super().__init__(agent, agent.config.members)
        self.visits = None if agent.visits is None else DeviceVisits(agent.visits, agent.device)

    def host_heads(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Those of its policy."""
        return self.agent.policy.heads

    def begin(self, step: int, length: int) -> None:
        """See :class:`Actor`."""
        super().begin(step, length)
        if self.visits is not None:
            self.visits.reserve(length)

    def columns(self, at: int, obs: Tensor, next_obs: Tensor, ended: Tensor) -> dict[str, Tensor]:
        """Bootstrap masks, and whether s' is visited for the first time in its episode."""
        columns = super().columns(at, obs, next_obs, ended)
        if self.visits is not None:
            columns["first_visit"] = self.visits.step(obs, next_obs, ended)
        return columns

    def load(self) -> None:
        """See :class:`Actor`."""
        if self.visits is not None:
            self.visits.load()

    def store(self) -> None:
        """See :class:`Actor`."""
        if self.visits is not None:
            self.visits.store()

    def best(self, obs: Tensor) -> Tensor:
        """Each instance's best by its head (and c std), mean + c std, or the mean."""
        return self.agent.policy.scores(self.agent.critic(obs), self.heads).argmax(dim=1)


class BootstrappedActor(HeadActor[BootstrappedDQN]):
    """Bootstrapped DQN's heads."""

    def __init__(self, agent: BootstrappedDQN) -> None:
        super().__init__(agent, agent.config.members)
        self._rows = torch.arange(agent.num_envs, device=agent.device)

    def host_heads(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """The agent's own."""
        return self.agent.heads

    def best(self, obs: Tensor) -> Tensor:
        """argmax_a Q_k(s, a) with the head k of each instance."""
        q: Tensor = self.agent.critic(obs)
        return q[self.heads, self._rows].argmax(dim=1)


ACTORS: dict[type[Agent], type[Actor[Any]]] = {
    CderAgent: CderActor,
    DoubleDQN: EpsilonGreedyActor,
    BootstrappedDQN: BootstrappedActor,
}
"""Agents that can act on the device; a subclass may behave otherwise, so it is not one of them."""
