"""EWC: fine-tuning with a pull on each weight by how much earlier tasks' values depend on it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from metarl_core.agents.continual.methods.l2 import L2
from metarl_core.agents.continual.qlearning import QModel, q_values
from metarl_core.agents.imt.batches import TaskBatch

__all__ = ["Ewc", "fisher_diagonal"]

_CHUNK = 128


def fisher_diagonal(model: QModel, obs: Tensor, task: int) -> dict[str, Tensor]:
    """F_k = E_s sum_a (dQ(s, a) / dtheta_k)^2, by parameter.

    The diagonal of the Fisher information of y ~ N(Q(s, .), I), whose negative log-likelihood is half the squared error
    that Q-learning minimises: E_y (d log p / dtheta_k)^2 = sum_a (dQ(s, a) / dtheta_k)^2. Targets are not needed.

    Args:
        model: Q.
        obs: States, float32 [M, D].
        task: Whose last layer.
    """
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def layers(weights: dict[str, Tensor], part: str) -> list[tuple[Tensor, Tensor]]:
        count = len(getattr(model, part).weights)
        return [(weights[f"{part}.weights.{i}"], weights[f"{part}.biases.{i}"]) for i in range(count)]

    def values(weights: dict[str, Tensor], state: Tensor) -> Tensor:
        return q_values(layers(weights, "trunks"), layers(weights, "heads"), state.view(1, 1, -1), (task,))[0, 0]

    jacobian = torch.func.vmap(torch.func.jacrev(values), in_dims=(None, 0))
    total = {name: torch.zeros_like(p) for name, p in parameters.items()}
    for part in torch.split(obs, _CHUNK):
        for name, slopes in jacobian(parameters, part).items():
            total[name] += slopes.square().sum(dim=(0, 1))
    return {name: value / len(obs) for name, value in total.items()}


class Ewc(L2):
    """L = TD + lambda / 2 sum_i sum_k F_ik (theta_k - theta*_ik)^2 over the phases i that have ended.

    Kirkpatrick et al. 2017, eq. 3, one penalty for each earlier task. Their sum is a square in theta, of which two
    numbers a weight are kept however many tasks there were: A = sum_i F_i and B = sum_i F_i theta*_i. F is that of
    :func:`fisher_diagonal`, on states of the task's replay.
    """

    precision: list[Tensor] | None = None
    pulled: list[Tensor] | None = None
    constant: float = 0.0

    def loss(self, batch: TaskBatch, tasks: Sequence[int]) -> Tensor:
        """The TD error and the penalty."""
        td = self.td_loss(batch, tasks)
        return td if self.precision is None else td + self.config.ewc_weight * self.penalty()

    def penalty(self) -> Tensor:
        """1/2 sum_i sum_k F_ik (theta_k - theta*_ik)^2."""
        assert self.precision is not None
        assert self.pulled is not None
        terms = zip(self.protected(), self.precision, self.pulled, strict=True)
        return 0.5 * (torch.stack([(a * p * p - 2 * b * p).sum() for p, a, b in terms]).sum() + self.constant)

    def end_task(self, task: int) -> None:
        """Add the task's penalty."""
        rows = self.replay.sample(min(self.config.fisher_samples, len(self.replay)), mode="without_replacement")
        fisher = fisher_diagonal(self.model, torch.from_numpy(rows["obs"]), task)
        names = {id(p): name for name, p in self.model.named_parameters()}
        weights = self.protected()
        new = [fisher[names[id(p)]] for p in weights]
        if self.precision is None or self.pulled is None:
            self.precision = [torch.zeros_like(f) for f in new]
            self.pulled = [torch.zeros_like(f) for f in new]
        for p, f, a, b in zip(weights, new, self.precision, self.pulled, strict=True):
            a += f
            b += f * p.detach()
            self.constant += float((f * p.detach().square()).double().sum())

    def stored_bytes(self) -> int:
        """A and B."""
        if self.precision is None or self.pulled is None:
            return 0
        return sum(t.nbytes for t in (*self.precision, *self.pulled))
