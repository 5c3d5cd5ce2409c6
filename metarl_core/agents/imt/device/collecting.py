"""Playing the training tasks on the device, a stretch of steps between two looks of the host."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from metarl_core.agents.device.heads import DeviceHeads
from metarl_core.agents.imt.device.actors import DeviceTaskActors
from metarl_core.agents.imt.stretches import Stretches
from metarl_core.replay.device_base import DeviceReplayBuffer

if TYPE_CHECKING:
    from metarl_core.agents.imt.learner import ImtLearner

__all__ = ["DeviceCollection"]


class DeviceCollection(Stretches):
    """What ``Collection`` does, bit for bit, without a copy or a wait within a stretch.

    Random numbers are the learner's: those of a stretch are drawn before it. Returns, heads and the check of the atoms
    follow at the look, in the order of time.

    Args:
        learner: whose submodels explore.
        actors: of the training tasks, or of those that last layers are tuned on.
        replay: where transitions go.
        epsilon: share of uniform actions, without curiosity.
    """

    def __init__(
        self, learner: ImtLearner, actors: DeviceTaskActors, replay: DeviceReplayBuffer, epsilon: float
    ) -> None:
        self.learner, self.actors, self.replay, self.epsilon = learner, actors, replay, epsilon
        self.longest = actors.longest
        self._heads: DeviceHeads | None = None
        if learner.curiosity is not None:
            members = learner.curiosity.config.members
            self._heads = DeviceHeads(members, actors.num_tasks * actors.per_task, actors.device)
        self._uniform = self._drawn = torch.zeros(0, device=actors.device)
        self._at = 0

    def begin(self, length: int) -> None:
        """Draw the random numbers of a stretch."""
        learner, actors = self.learner, self.actors
        if learner.curiosity is not None:
            assert self._heads is not None
            policy = learner.curiosity.policy
            self._heads.begin(policy.heads, policy.rng, length)
            return
        shape = (length, actors.num_tasks * actors.per_task)
        uniform, drawn = np.zeros(shape, dtype=np.bool_), np.zeros(shape, dtype=np.int64)
        for t in range(length):
            uniform[t] = learner.rng.random(shape[1]) < self.epsilon
            drawn[t] = learner.rng.integers(actors.num_actions, size=shape[1])
        self._uniform = torch.from_numpy(uniform).to(actors.device)
        self._drawn = torch.from_numpy(drawn).to(actors.device)

    def step(self, at: int) -> None:
        """Step every instance once, and store."""
        self._at = at
        columns, ended = self.actors.play(self._act, at)
        self.replay.add(stream=None, **columns)
        if self._heads is not None:
            self._heads.begin_episodes(ended)

    def look(self, length: int) -> None:
        """Count the steps, and tell who watches."""
        self.replay.check()
        for reward in self.actors.seen(length):
            if self.learner.curiosity is not None:
                self.learner.curiosity.observe(self.actors, reward)
            self.learner.tick(self.actors)

    @torch.no_grad()
    def _act(self, obs: Tensor) -> Tensor:
        learner, actors = self.learner, self.actors
        if learner.curiosity is not None:
            assert self._heads is not None
            q = learner.curiosity.values(obs.view(learner.num_tasks, actors.per_task, *obs.shape[1:]))
            return learner.curiosity.policy.scores(q, self._heads.now).argmax(dim=1)
        return torch.where(self._uniform[self._at], self._drawn[self._at], learner._own_best(actors, obs))
