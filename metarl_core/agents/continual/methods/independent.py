"""Independent networks, and the router that makes them act together on a new task: the control of IMT."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from metarl_core.agents.continual.config import ContinualConfig
from metarl_core.agents.continual.environments import SequenceSpaces
from metarl_core.agents.continual.methods.scratch import Scratch
from metarl_core.agents.continual.qlearning import QLearner
from metarl_core.agents.continual.router import Router
from metarl_core.agents.imt.aggregation import aggregate_actions
from metarl_core.agents.imt.routing import Rule, choice_states, fixed_rule, leave_one_out_rule
from metarl_core.tasks import Task, TaskDataset

__all__ = ["Independent"]


class Independent(Scratch):
    """A network for each task from scratch, and IMT's router over them.

    A new task is played by uniform actions first; its embedding gives the weights of the networks.
    """

    embeds: ClassVar[bool] = True
    meets: ClassVar[bool] = True

    def __init__(self, config: ContinualConfig, spaces: SequenceSpaces, tasks: Sequence[Task], seed: int) -> None:
        super().__init__(config, spaces, tasks, seed)
        self.router = Router(config.embedding_features, config.mixture_ridge, config.held_out, seed)

    def begun(self, tasks: Sequence[int]) -> list[int]:
        """The tasks, and for those that are yet to come the newest one, as of all methods but ``scratch``."""
        return QLearner.begun(self, tasks)

    @property
    def aggregation(self) -> str:
        """How the networks act together."""
        return self.config.independent_aggregation

    def begin_task(self, task: int, reference: TaskDataset | None) -> None:
        """Let the router know the task."""
        assert reference is not None
        super().begin_task(task, reference)
        self.router.learn(task, reference)

    def meet(self, references: Sequence[TaskDataset]) -> NDArray[np.float64]:
        """Weights of the networks on new tasks, [known, T]."""
        rule = self._rule()
        return np.stack([self.router.weights(reference, rule) for reference in references], axis=1)

    @torch.no_grad()
    def _rule(self) -> Rule:
        """How the networks as they are now are weighed on a new task, by the router's own transitions."""
        rule, known = fixed_rule(self.config.routing, self.known, self.config.mixture_ridge), self.router.known
        if rule is not None:
            return rule
        assert known is not None
        columns = [self.spaces.columns(dataset)["obs"] for dataset in self.router.fitted]
        obs = np.stack([states[choice_states(min(map(len, columns)))] for states in columns])
        values = self.model(torch.from_numpy(obs), list(range(self.known)))
        return leave_one_out_rule(known, values, lambda weights: torch.from_numpy(self.greedy_new(obs, weights)))

    @torch.no_grad()
    def greedy_new(self, obs: NDArray[np.float32], met: Any) -> NDArray[np.int64]:
        """The networks' actions together; ``met`` is of :meth:`meet`."""
        tasks, rows, _ = obs.shape
        if self.aggregation == "soup":
            return self._soup_actions(obs, met)
        known = list(range(self.known))
        every = torch.from_numpy(obs).reshape(1, tasks * rows, -1).expand(self.known, -1, -1)
        chosen = aggregate_actions(self.model(every, known), np.repeat(met, rows, axis=1), self.aggregation)
        actions: NDArray[np.int64] = chosen.view(tasks, rows).numpy()
        return actions

    def _soup_actions(self, obs: NDArray[np.float32], met: NDArray[np.float64]) -> NDArray[np.int64]:
        """Of one network for each task, whose weights are the weighted averages (Wortsman et al. 2022)."""
        shares = torch.from_numpy(met.T.astype(np.float32))
        x = torch.from_numpy(obs)
        for net in (self.model.trunks, self.model.heads):
            last = len(net.weights) - 1
            for layer, (weight, bias) in enumerate(zip(net.weights, net.biases, strict=True)):
                mixed = [torch.tensordot(shares, p[: self.known], dims=1) for p in (bias, weight)]
                x = torch.baddbmm(mixed[0], x, mixed[1])
                if layer < last or net.relu_output:
                    x = torch.relu(x)
        actions: NDArray[np.int64] = x.argmax(dim=2).numpy()
        return actions

    def stored_bytes(self) -> int:
        """The reference transitions of the known tasks, from which embeddings are made anew with each task."""
        return self.router.nbytes
