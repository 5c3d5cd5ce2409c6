"""IMT in the continual protocol: steps 1 to 3 and the alternation on what is stored of tasks 1 ... t."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from metarl_core.agents.common.learner import TrainingDivergedError
from metarl_core.agents.common.networks import copy_parameters
from metarl_core.agents.continual.config import ContinualConfig
from metarl_core.agents.continual.environments import SequenceSpaces
from metarl_core.agents.continual.memory import TaskMemory, replay_columns
from metarl_core.agents.continual.methods.independent import Independent
from metarl_core.agents.continual.qlearning import count_parameters
from metarl_core.agents.continual.router import LEAST_TASKS
from metarl_core.agents.imt.averaging import (
    average_trunks,
    averaging_weights,
    cosine_similarity,
    embedding_accuracy,
)
from metarl_core.agents.imt.batches import COLUMNS, TaskBatch, leave_one_out_rows, stack_tasks
from metarl_core.agents.imt.networks import Submodels
from metarl_core.agents.imt.reference import purpose_seed
from metarl_core.agents.imt.steps import head_td_errors, pretrain_common, submodel_losses
from metarl_core.tasks import Task, TaskDataset

__all__ = ["Imt", "td_rows"]


def td_rows(tasks: int, rows: int, batch_size: int, whose: str, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw whose transitions each trunk's TD error is of, as row numbers j * rows + r, int64 [tasks, batch_size].

    Args:
        tasks: t >= 2.
        rows: transitions of each task to draw from.
        batch_size: drawn for each submodel, with replacement.
        whose: ``others``: never i in row i; ``all``; ``own``: i alone.
        rng: source of the draws.
    """
    if whose == "others":
        return leave_one_out_rows(tasks, rows, batch_size, rng)[1]
    shape = (tasks, batch_size)
    drawn = rng.integers(tasks, size=shape) if whose == "all" else np.repeat(np.arange(tasks)[:, None], batch_size, 1)
    return drawn * rows + rng.integers(rows, size=shape)


class _Values:
    """Values of submodels as they are now, whatever becomes of them."""

    def __init__(self, models: Submodels) -> None:
        self._trunks = copy.deepcopy(models.target_trunks)
        self._heads = copy.deepcopy(models.target_heads)

    @torch.no_grad()
    def __call__(self, obs: Tensor) -> Tensor:
        """Q_i(s, .) of rows of its own for each submodel, float32 [K, B, D] -> [K, B, A]."""
        values: Tensor = self._heads(self._trunks(obs))
        return values


class Imt(Independent):
    """A submodel for each task beside a common trunk.

    A phase is played by a submodel that starts at the common trunk and at the router's average of the last layers, and
    learns by Double DQN. When it ends, M transitions are kept, and rounds of IMT go over tasks 1 ... t: every trunk
    starts at the common one (``imt_start``) and learns its own task from its own stored transitions, the embeddings
    from the *other* tasks' (step 2; ``imt_td_tasks``), every last layer from its own task's (alternation A), and the
    common trunk moves to the weighted average (step 3). The weights are from reference episodes that neither the
    embeddings nor the rounds have seen; the network that played the phase has. With fewer than three tasks there are no
    embeddings: submodels stay as they were trained, and the average is a plain one.
    """

    def __init__(self, config: ContinualConfig, spaces: SequenceSpaces, tasks: Sequence[Task], seed: int) -> None:
        super().__init__(config, spaces, tasks, seed)
        self.memory = TaskMemory(
            config.memory - config.reference_steps, spaces.in_features, purpose_seed(seed, "memory")
        )
        self.submodels = self._submodels(1)

    @property
    def aggregation(self) -> str:
        """How the submodels act together."""
        return self.config.imt_aggregation

    def _submodels(self, members: int) -> Submodels:
        c, s = self.config, self.spaces
        return Submodels(
            members,
            s.in_features,
            c.hidden,
            s.num_actions,
            2 * c.embedding_features,
            c.predictor_hidden,
            torch.Generator().manual_seed(purpose_seed(self.seed, "submodels") >> 1),
        )

    def begin_task(self, task: int, reference: TaskDataset | None) -> None:
        """Start the task's submodel; with the first task, step 1."""
        assert reference is not None
        before, new = self.known, task >= self.known
        if before == 0:
            self._pretrain(reference)
        if new:
            weights = self.router.weights(reference) if before else np.zeros(0)
            self._start(task, weights)
        super().begin_task(task, reference)

    def _pretrain(self, reference: TaskDataset) -> None:
        """Step 1: the common trunk learns to predict the dynamics of the first task."""
        batch = stack_tasks([self.spaces.columns(reference)])
        pretrain_common(
            self.submodels,
            batch,
            lambda _: torch.from_numpy(self.rng.integers(len(reference), size=4 * self.config.batch_size)),
            updates=self.config.pretrain_updates,
            lr=self.config.lr,
            hidden=self.config.hidden[-1],
            generator=torch.Generator().manual_seed(purpose_seed(self.seed, "dynamics") >> 1),
        )
        self.updates += self.config.pretrain_updates

    @torch.no_grad()
    def _start(self, task: int, weights: NDArray[np.float64]) -> None:
        """Put the common trunk, and the weighted average of the known last layers, into member ``task``."""
        for own, common in zip(self.model.trunks.parameters(), self.submodels.common.parameters(), strict=True):
            own[task] = common[0]
        shares = torch.from_numpy(weights.astype(np.float32))
        for p in self.model.heads.parameters():
            if len(weights):
                p[task] = torch.tensordot(shares, p[: len(weights)], dims=1)

    def end_task(self, task: int) -> None:
        """Keep M transitions and make the rounds."""
        self.memory.keep(task, self._played())
        self._grow()
        if self.known < LEAST_TASKS:
            average_trunks(self.submodels, np.full(self.known, 1 / self.known), self.config.eta)
            return
        for _ in range(self.config.rounds):
            self.round()
        self._copy_rows(self.submodels.trunks, self.model.trunks)
        self._copy_rows(self.submodels.heads, self.model.heads)
        self.copy_target()

    def _played(self) -> dict[str, NDArray[Any]]:
        """What the replay holds but the reference transitions, some of which are held out from the rounds."""
        columns = replay_columns(self.replay)
        # They came first; a replay that is full has overwritten as many of the first rows as came beyond its capacity.
        beyond = max(0, self.phase_steps - self.replay_size())
        rows = np.arange(len(columns["reward"]))
        own = (rows < beyond) | (rows >= self.config.reference_steps)
        return {name: column[own] for name, column in columns.items()}

    @torch.no_grad()
    def _grow(self) -> None:
        """Submodels of all known tasks, as the networks that played are now; predictors and common trunk go on."""
        grown, old = self._submodels(self.known), self.submodels
        copy_parameters(grown.common.parameters(), old.common.parameters())
        if old.members > 1:
            self._copy_rows(old.predictors, grown.predictors)
            for p in grown.predictors.parameters():  # a new predictor starts at the mean of the others
                p[old.members :] = p[: old.members].mean(dim=0)
        self._copy_rows(self.model.trunks, grown.trunks)
        self._copy_rows(self.model.heads, grown.heads)
        grown.update_targets()
        self.submodels = grown

    @staticmethod
    @torch.no_grad()
    def _copy_rows(source: nn.Module, target: nn.Module) -> None:
        for new, old in zip(target.parameters(), source.parameters(), strict=True):
            count = min(len(new), len(old))
            new[:count] = old[:count]

    def round(self) -> None:
        """Steps 2 and 3 once, with the last layers tuned in between."""
        assert self.router.embedding is not None
        embeddings = self.router.embedding.train_embeddings
        if self.config.imt_start == "common":
            self.submodels.begin_from_common()
        before = _Values(self.submodels)
        self._train_submodels(self._batch(self.router.fitted), embeddings, before)
        self._tune_last_layers(before)
        self._average(self._batch(self.router.held), embeddings)

    def _batch(self, datasets: Sequence[TaskDataset]) -> TaskBatch:
        """Reference transitions, [t, R]; cut to the shortest, so that all tasks count the same."""
        rows = min(map(len, datasets))
        columns = map(self.spaces.columns, datasets)
        return stack_tasks([{name: c[name][:rows] for name in COLUMNS} for c in columns])

    def _train_submodels(self, reference: TaskBatch, embeddings: NDArray[np.float64], before: _Values) -> None:
        c, count, models = self.config, self.known, self.submodels
        # The slow copies are what the submodels were before the round: values that were learned are handed on to the
        # trunks that begin anew, as a target that stays. With new trunks below old last layers nothing would be left.
        trained = (models.trunks, models.heads, models.predictors)
        optimizer = self._adam([p for net in trained for p in net.parameters()])
        targets = torch.from_numpy(embeddings.astype(np.float32))
        for _ in range(c.local_updates):
            tasks, rows = leave_one_out_rows(count, reference.shape[1], c.batch_size, self.rng)
            replay = None
            if c.lambda_rl > 0:
                drawn = td_rows(count, c.batch_size, c.batch_size, c.imt_td_tasks, self.rng)
                replay = self.memory.sample(c.batch_size).rows(torch.from_numpy(drawn))
            losses = submodel_losses(
                models,
                reference.rows(torch.from_numpy(rows)),
                targets[torch.from_numpy(tasks)],
                replay,
                lambda_rl=c.lambda_rl,
                mu=c.mu,
                gamma=c.gamma,
            )
            total = losses.total
            if c.imt_clone > 0:
                total = total + c.imt_clone * self._difference(before)
            self._step(optimizer, total.sum())

    def _difference(self, before: _Values, batch: TaskBatch | None = None) -> Tensor:
        """Mean squared difference of all values to those before the round, on each one's own task, [t]."""
        obs = (self.memory.sample(self.config.batch_size) if batch is None else batch).obs
        return (self.submodels.q(obs) - before(obs)).square().mean(dim=(1, 2))

    def _tune_last_layers(self, before: _Values) -> None:
        models = self.submodels
        models.update_targets()
        optimizer = self._adam(list(models.heads.parameters()))
        for update in range(self.config.head_updates):
            batch = self.memory.sample(self.config.batch_size)
            loss = head_td_errors(models, batch, self.config.gamma).square().mean(dim=1)
            if self.config.imt_clone > 0:
                loss = loss + self.config.imt_clone * self._difference(before, batch)
            self._step(optimizer, loss.sum())
            if (update + 1) % self.config.target_period == 0:
                models.update_targets()
        models.update_targets()

    def _adam(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, lr=self.config.lr, fused=True)

    def _step(self, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
        value = loss.item()
        if not np.isfinite(value):
            raise TrainingDivergedError(f"loss is {value} in a round after task {self.task}; try a smaller lr")
        self.submodels.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        self.updates += self.submodels.members

    def _average(self, held_out: TaskBatch, embeddings: NDArray[np.float64]) -> None:
        c, models = self.config, self.submodels
        with torch.no_grad():
            predicted = models.embeddings(held_out.obs, held_out.action, held_out.reward, held_out.next_obs)
        mean = predicted.double().mean(dim=1).numpy()
        weights = averaging_weights(
            cosine_similarity(mean, embeddings),
            embedding_accuracy(mean, embeddings),
            temperature=c.temperature,
            accuracy_eps=c.accuracy_eps,
            weighting=c.weighting,
            rng=self.rng,
        )
        average_trunks(models, weights, c.eta)

    def parameters(self) -> int:
        """Of the submodels that there are, their embedding predictors and the common trunk."""
        m = self.submodels
        return count_parameters(m.common, m.trunks, m.heads, m.predictors)

    def stored_bytes(self) -> int:
        """M transitions of each known task, the reference's among them."""
        return self.router.nbytes + self.memory.nbytes
