"""Double DQN on a model of trunks and last layers: what the methods have in common."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import metarl_core
from metarl_core.agents.common.critic import double_q_target
from metarl_core.agents.common.learner import TrainingDivergedError
from metarl_core.agents.common.networks import copy_parameters
from metarl_core.agents.continual.config import ContinualConfig
from metarl_core.agents.continual.environments import SequenceSpaces
from metarl_core.agents.continual.learner import ContinualLearner
from metarl_core.agents.continual.memory import transition_fields
from metarl_core.agents.imt.batches import COLUMNS, TaskBatch, task_batch
from metarl_core.agents.imt.networks import BatchedMLP
from metarl_core.agents.imt.reference import purpose_seed
from metarl_core.tasks import Task, TaskDataset

__all__ = ["QLearner", "QModel", "count_parameters", "forward_members", "layers_of", "q_values", "td_errors"]


Layers: TypeAlias = Sequence[tuple[Tensor, Tensor]]
"""Weights [members, in, out] and biases [members, 1, out] of a perceptron, from the input on."""


def layers_of(net: BatchedMLP) -> Layers:
    """The layers of a net, as plain tuples: walking a ParameterList costs more than the small products do."""
    return tuple(zip(net.weights, net.biases, strict=True))


def forward_members(layers: Layers, members: Sequence[int], x: Tensor, relu_output: bool = False) -> Tensor:
    """Member ``members[t]`` on rows t; float32 [T, B, D] -> [T, B, O]. A net of one member serves all rows."""
    count, shape = len(layers[0][0]), x.shape
    index = None
    if count == 1:
        x = x.reshape(1, -1, shape[2])
    elif len(members) != count or list(members) != list(range(count)):
        index = torch.tensor(list(members))
    last = len(layers) - 1
    for layer, (weight, bias) in enumerate(layers):
        x = torch.baddbmm(bias, x, weight) if index is None else torch.baddbmm(bias[index], x, weight[index])
        if layer < last or relu_output:
            x = torch.relu(x)
    return x.reshape(*shape[:2], -1)


def q_values(trunks: Layers, heads: Layers, x: Tensor, tasks: Sequence[int]) -> Tensor:
    """Q(s, .) through each task's trunk and last layer, float32 [T, B, D] -> [T, B, A]."""
    return forward_members(heads, tasks, forward_members(trunks, tasks, x, relu_output=True))


class QModel(nn.Module):
    """Q(s, .) of several tasks: a trunk for all or one each, and a last layer for all or one each.

    Args:
        trunks: 1, or the number of tasks.
        heads: 1, or the number of tasks.
        in_features: D.
        hidden: Widths of the trunk.
        num_actions: A.
        generator: Source of the initial weights.
    """

    def __init__(
        self,
        trunks: int,
        heads: int,
        in_features: int,
        hidden: Sequence[int],
        num_actions: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.trunks = BatchedMLP(trunks, (in_features, *hidden), generator, relu_output=True)
        self.heads = BatchedMLP(heads, (hidden[-1], num_actions), generator)
        self._layers = layers_of(self.trunks), layers_of(self.heads)

    def forward(self, x: Tensor, tasks: Sequence[int]) -> Tensor:
        """Rows t are of task ``tasks[t]``; float32 [T, B, D] -> [T, B, A]."""
        return q_values(*self._layers, x, tasks)


def count_parameters(*nets: nn.Module) -> int:
    """Number of weights."""
    return sum(p.numel() for net in nets for p in net.parameters())


def td_errors(q: Tensor, next_online: Tensor, next_target: Tensor, batch: TaskBatch, gamma: float) -> Tensor:
    """Q(s, a) - (r + gamma (1 - d) Q'(s', argmax_a Q(s', a))), float32 [T, B]; no gradient through the target.

    Args:
        q: Q(s, .), float32 [T, B, A].
        next_online: Q(s', .).
        next_target: Q'(s', .), of the slow copy.
        batch: The transitions.
        gamma: Discount.
    """
    target = double_q_target(batch.reward, gamma * (1 - batch.terminated), next_online.detach(), next_target.detach())
    return q.gather(2, batch.action.unsqueeze(2)).squeeze(2) - target


class QLearner(ContinualLearner):
    """Double DQN (van Hasselt, Guez & Silver 2016), epsilon-greedy, with a replay of the task in training alone.

    A method says what its model is (``make_model``), and may add to the loss (``loss``), change gradients
    (``adjust_gradients``), and do something when a task begins or ends.
    """

    def __init__(self, config: ContinualConfig, spaces: SequenceSpaces, tasks: Sequence[Task], seed: int) -> None:
        super().__init__(config, spaces, tasks, seed)
        self.generator = torch.Generator().manual_seed(purpose_seed(seed, "weights") >> 1)
        self.model = self.make_model()
        self.target = copy.deepcopy(self.model).requires_grad_(False)
        self.task = -1
        self.own_updates = 0  # of this network alone, which its slow copy follows
        self.trained: tuple[int, ...] = ()
        self.replay: metarl_core.ReplayBuffer = self.make_replay(0)

    def make_model(self) -> QModel:
        """One network, or one trunk with a last layer for every task where ``identity`` is used."""
        return self._q_model(1, self.num_tasks if self.identity else 1)

    def _q_model(self, trunks: int, heads: int) -> QModel:
        s = self.spaces
        return QModel(trunks, heads, s.in_features, self.config.hidden, s.num_actions, self.generator)

    def replay_size(self) -> int:
        """Transitions that the replay holds."""
        return self.config.replay_capacity

    def make_replay(self, phase: int) -> metarl_core.ReplayBuffer:
        """The replay of a phase."""
        return metarl_core.ReplayBuffer(
            self.replay_size(),
            transition_fields(self.spaces.in_features),
            task_field="task_id",
            seed=purpose_seed(self.seed, "replay", phase),
        )

    @property
    def identity(self) -> bool:
        """Not told: one last layer."""
        return False

    def begin_task(self, task: int, reference: TaskDataset | None) -> None:
        """Begin with an empty replay, new moments, and the target equal to the network."""
        self.task, self.known = task, max(self.known, task + 1)
        self._phase = getattr(self, "_phase", -1) + 1
        self.replay = self.make_replay(self._phase)
        self.optimizer = torch.optim.Adam(
            [p for p in self.model.parameters() if p.requires_grad], self.config.lr, fused=True
        )
        self.phase_steps = self.phase_updates = 0
        self.copy_target()
        if reference is not None:
            rows = self.spaces.columns(reference)
            self.store({name: column[None] for name, column in rows.items()}, (task,))

    def copy_target(self) -> None:
        """Make the slow copy equal to the network."""
        copy_parameters(self.target.parameters(), self.model.parameters())

    @torch.no_grad()
    def act(self, obs: NDArray[np.float32], tasks: Sequence[int], epsilon: float) -> NDArray[np.int64]:
        """Epsilon-greedy."""
        uniform = self.rng.random(obs.shape[:2]) < epsilon
        drawn = self.rng.integers(self.spaces.num_actions, size=obs.shape[:2])
        if uniform.all():
            return drawn
        greedy = self.model(torch.from_numpy(obs), tasks).argmax(dim=2).numpy()
        return np.where(uniform, drawn, greedy)

    def store(self, columns: Mapping[str, NDArray[Any]], tasks: Sequence[int]) -> None:
        """Put the transitions of a step into the replay."""
        count, rows = columns["reward"].shape
        flat = {name: columns[name].reshape(count * rows, *columns[name].shape[2:]) for name in COLUMNS}
        self.replay.add(**flat, task_id=np.repeat(np.asarray(tasks, np.int32), rows))
        self.phase_steps += count * rows
        self.trained = tuple(tasks)

    def learn(self) -> None:
        """One gradient step for every ``train_every`` environment steps."""
        if self.phase_steps < self.config.learning_starts:
            return
        while (self.phase_updates + 1) * self.config.train_every <= self.phase_steps:
            self.update()
            self.phase_updates += 1

    def sample(self) -> TaskBatch:
        """A batch of the tasks in training, [T, ceil(batch_size / T)]."""
        count = len(self.trained)
        rows = -(-self.config.batch_size // count)
        batch = self.replay.sample(count * rows, task_weights="balanced" if count > 1 else None)
        return task_batch({n: batch[n].reshape(count, rows, *batch[n].shape[1:]) for n in COLUMNS})

    def update(self) -> None:
        """One gradient step on :meth:`loss`."""
        self.descend(self.loss(self.sample(), self.trained))

    def descend(self, loss: Tensor) -> None:
        """Step down the gradient of a loss.

        Raises:
            TrainingDivergedError: it is not finite.
        """
        value = loss.item()
        if not np.isfinite(value):
            raise TrainingDivergedError(f"loss is {value} at gradient step {self.updates}; try a smaller lr")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.adjust_gradients()
        self.optimizer.step()
        self.updates += 1
        self.own_updates += 1
        if self.own_updates % self.config.target_period == 0:
            self.copy_target()

    def td_loss(self, batch: TaskBatch, tasks: Sequence[int]) -> Tensor:
        """Mean squared TD error."""
        with torch.no_grad():
            following = self.model(batch.next_obs, tasks), self.target(batch.next_obs, tasks)
        q = self.model(batch.obs, tasks)
        return td_errors(q, *following, batch, self.config.gamma).square().mean()

    def loss(self, batch: TaskBatch, tasks: Sequence[int]) -> Tensor:
        """What is minimised: the TD error, and what a method adds."""
        return self.td_loss(batch, tasks)

    def adjust_gradients(self) -> None:
        """Between backward pass and step."""

    def end_task(self, task: int) -> None:
        """Nothing."""

    def begun(self, tasks: Sequence[int]) -> list[int]:
        """The tasks, and for those that are yet to come the newest one: whose last layer or network acts on each."""
        return [task if task < self.known else max(self.task, 0) for task in tasks]

    @torch.no_grad()
    def greedy(self, obs: NDArray[np.float32], tasks: Sequence[int]) -> NDArray[np.int64]:
        """argmax_a Q(s, a)."""
        actions: NDArray[np.int64] = self.model(torch.from_numpy(obs), self.begun(tasks)).argmax(dim=2).numpy()
        return actions

    @torch.no_grad()
    def greedy_new(self, obs: NDArray[np.float32], met: Any) -> NDArray[np.int64]:  # noqa: ARG002
        """Argmax of Q, of the mean over the last layers of the known tasks where there is one for each."""
        known = list(range(self.known)) if self.model.heads.members > 1 else [0]
        rows = torch.from_numpy(obs).reshape(1, -1, obs.shape[2]).expand(len(known), -1, -1)
        q = self.model(rows, known).mean(dim=0)
        actions: NDArray[np.int64] = q.argmax(dim=1).numpy().reshape(obs.shape[:2])
        return actions

    def parameters(self) -> int:
        """Of the model."""
        return count_parameters(self.model)

    def stored_bytes(self) -> int:
        """Nothing."""
        return 0
