"""Steps 1 and 2 of IMT and the tuning of the last layers, each a loss of all submodels together.

Losses are sums over the submodels: they share no weights, so each gets the gradient of its own loss alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor, nn

from metarl_core.agents.common.critic import double_q_target
from metarl_core.agents.imt.batches import TaskBatch
from metarl_core.agents.imt.networks import BatchedMLP, Submodels, flat_observations, one_hot_actions

__all__ = [
    "DynamicsModel",
    "SubmodelLosses",
    "dynamics_loss",
    "head_td_errors",
    "pretrain_common",
    "proximal_penalty",
    "submodel_losses",
    "td_errors",
]


class DynamicsModel(nn.Module):
    """What step 1 trains the common trunk for: f(s), a -> change of the observation and reward, [1, B, D + 1]."""

    def __init__(
        self, features: int, num_actions: int, in_features: int, hidden: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.num_actions = num_actions
        self.net = BatchedMLP(1, (features + num_actions, hidden, in_features + 1), generator)

    def forward(self, features: Tensor, action: Tensor) -> Tensor:
        """Predict from features [1, B, F] and actions int64 [1, B]."""
        chosen = one_hot_actions(action, self.num_actions)
        predicted: Tensor = self.net(torch.cat((features, chosen), dim=2))
        return predicted


def _changes(batch: TaskBatch) -> Tensor:
    """(s' - s, r), float32 [K, B, D + 1]."""
    change = flat_observations(batch.next_obs) - flat_observations(batch.obs)
    return torch.cat((change, batch.reward.unsqueeze(2)), dim=2)


def dynamics_loss(models: Submodels, dynamics: DynamicsModel, batch: TaskBatch, scale: Tensor) -> Tensor:
    """Mean squared error of (s' - s, r) predicted from f_phi(s) and a, each component in units of ``scale``.

    Args:
        models: whose common trunk is trained.
        dynamics: the model on top of it.
        batch: pooled transitions, [1, B].
        scale: standard deviations of the D + 1 components over all tasks, float32 [D + 1].
    """
    target = _changes(batch) / scale
    predicted: Tensor = dynamics(models.common(batch.obs), batch.action)
    return (predicted - target).square().mean()


def pretrain_common(
    models: Submodels,
    pooled: TaskBatch,
    draw: Callable[[int], Tensor],
    *,
    updates: int,
    lr: float,
    hidden: int,
    generator: torch.Generator,
) -> list[float]:
    """Step 1: pretrain the common trunk on the pooled tasks and start every submodel from it.

    Args:
        models: the submodels.
        pooled: transitions of all tasks, [K, M].
        draw: called with the number of an update; row numbers of its batch, int64 [B].
        updates: gradient steps (0: phi stays at its fixed initialisation).
        lr: of Adam.
        hidden: width of the dynamics model's hidden layer.
        generator: source of its weights.

    Returns:
        The loss of every update.
    """
    changes = _changes(pooled)
    scale = changes.flatten(0, 1).std(dim=0, correction=0).clamp_min(1e-6)
    dynamics = DynamicsModel(models.num_features, models.num_actions, changes.shape[2] - 1, hidden, generator)
    dynamics.to(pooled.obs.device)
    optimizer = torch.optim.Adam([*models.common.parameters(), *dynamics.parameters()], lr=lr, fused=True)
    losses = []
    for update in range(updates):
        loss = dynamics_loss(models, dynamics, pooled.rows(draw(update).unsqueeze(0)), scale)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.detach())
    models.begin_from_common()
    models.update_targets()
    found: list[float] = torch.stack(losses).tolist() if losses else []
    return found


def proximal_penalty(models: Submodels) -> Tensor:
    """|phi_i - phi|^2 of every submodel, float32 [K]; no gradient reaches phi (FedProx, Li et al. 2020)."""
    pairs = zip(models.trunks.parameters(), models.common.parameters(), strict=True)
    return torch.stack([(own - common.detach()).square().flatten(1).sum(dim=1) for own, common in pairs]).sum(dim=0)


def _td_target(batch: TaskBatch, next_online: Tensor, next_target: Tensor, gamma: float) -> Tensor:
    return double_q_target(batch.reward, gamma * (1 - batch.terminated), next_online, next_target)


def _taken(q: Tensor, batch: TaskBatch) -> Tensor:
    return q.gather(2, batch.action.unsqueeze(2)).squeeze(2)


def td_errors(models: Submodels, batch: TaskBatch, gamma: float) -> Tensor:
    """Q_i(s, a) - (r + gamma (1 - d) Q'_i(s', argmax_a Q_i(s', a))), rows of its own for each submodel, [K, B]."""
    with torch.no_grad():
        target = _td_target(batch, models.q(batch.next_obs), models.target_q(batch.next_obs), gamma)
    return _taken(models.q(batch.obs), batch) - target


def head_td_errors(models: Submodels, batch: TaskBatch, gamma: float) -> Tensor:
    """The same with the trunks frozen (alternation A): a gradient reaches the last layers alone, [K, B]."""
    with torch.no_grad():
        features, following = models.trunks(batch.obs), models.trunks(batch.next_obs)
        target = _td_target(batch, models.heads(following), models.target_heads(following), gamma)
    return _taken(models.heads(features), batch) - target


@dataclasses.dataclass(frozen=True)
class SubmodelLosses:
    """L_i of step 2 and its three parts, each float32 [K]; ``total`` carries the gradient.

    Attributes:
        total: embedding + lambda_rl td + mu / 2 proximal.
        embedding: E |g_i(x) - e_j|^2.
        td: E delta^2; 0 where lambda_rl = 0.
        proximal: |phi_i - phi|^2; 0 where mu = 0.
    """

    total: Tensor
    embedding: Tensor
    td: Tensor
    proximal: Tensor


def submodel_losses(
    models: Submodels,
    reference: TaskBatch,
    targets: Tensor,
    replay: TaskBatch | None,
    *,
    td: Tensor | None = None,
    lambda_rl: float,
    mu: float,
    gamma: float,
) -> SubmodelLosses:
    """Step 2: L_i = E |g_i(f_phi_i(x)) - e_j|^2 + lambda_rl TD + mu / 2 |phi_i - phi|^2 over tasks j != i.

    Args:
        models: the submodels.
        reference: transitions of the reference policy, of tasks j != i in row i, [K, B].
        targets: e_j of each of them, float32 [K, B, E].
        replay: transitions that Q_i learns from, of tasks j != i in row i, [K, B]; None if lambda_rl is 0.
        td: E delta^2 of each submodel where it is not that of :func:`td_errors`, float32 [K].
        lambda_rl: weight of the TD error; 0 in ``as_written``.
        mu: weight of the pull towards the common trunk; 0 in ``as_written``.
        gamma: discount.

    Raises:
        ValueError: ``lambda_rl`` > 0 without ``replay``.
    """
    if lambda_rl > 0 and replay is None and td is None:
        raise ValueError(f"replay is None; lambda_rl={lambda_rl} needs transitions to learn Q from")
    predicted = models.embeddings(reference.obs, reference.action, reference.reward, reference.next_obs)
    embedding = (predicted - targets).square().sum(dim=2).mean(dim=1)
    zero = torch.zeros_like(embedding)
    if td is None:
        td = td_errors(models, replay, gamma).square().mean(dim=1) if lambda_rl > 0 and replay is not None else zero
    proximal = proximal_penalty(models) if mu > 0 else zero
    return SubmodelLosses(
        embedding + lambda_rl * td + 0.5 * mu * proximal, embedding.detach(), td.detach(), proximal.detach()
    )
