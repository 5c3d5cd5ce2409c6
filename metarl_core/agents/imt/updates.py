"""Gradient steps of a round: step 2, the control without sharing, and alternation A."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarl_core.agents.common.learner import TrainingDivergedError
from metarl_core.agents.device.loss_watch import LossWatch
from metarl_core.agents.imt.batches import leave_one_out_rows
from metarl_core.agents.imt.running_mean import RunningMean
from metarl_core.agents.imt.steps import head_td_errors, submodel_losses, td_errors
from metarl_core.agents.imt.stretches import Stretches
from metarl_core.replay.device_base import DeviceReplayBuffer

if TYPE_CHECKING:
    from metarl_core import ReplayBuffer
    from metarl_core.agents.imt.learner import ImtLearner

__all__ = ["AloneUpdates", "HeadUpdates", "SubmodelUpdates", "Updates", "longest_stretch", "uploaded"]

_LONGEST = 512  # gradient steps between two looks: Ctrl-C and the progress display wait for the next
_MOST_ROWS = 1 << 22  # row numbers that are drawn ahead, which bounds the memory for them


def longest_stretch(learner: ImtLearner) -> int:
    """Gradient steps between two looks of the host at most; in host memory it looks after each."""
    if learner.core_device == "cpu":
        return 1
    return min(_LONGEST, max(1, _MOST_ROWS // (learner.num_tasks * learner.config.batch_size)))


def uploaded(drawn: Sequence[NDArray[np.int64]], device: torch.device) -> Tensor:
    """Row numbers of several gradient steps as one tensor, a step after another."""
    return torch.from_numpy(np.stack(drawn)).to(device)


class Updates(Stretches):
    """Gradient steps of all submodels at once. Where the learner is on a device, stretches are many steps.

    Args:
        learner: whose submodels, replay and generator these are.
        parameters: what is trained.
        count: gradient steps that will be taken.
        replay: where batches are drawn from; None: the learner's.
    """

    def __init__(
        self,
        learner: ImtLearner,
        parameters: list[torch.nn.Parameter],
        count: int,
        replay: ReplayBuffer | DeviceReplayBuffer | None = None,
    ) -> None:
        self.learner, self.config = learner, learner.config
        self.replay = learner.replay if replay is None else replay
        self.longest = longest_stretch(learner)
        self._losses = None if learner.core_device == "cpu" else LossWatch(learner.device)
        self.count = count
        self.optimizer = torch.optim.Adam(parameters, lr=self.config.lr, fused=True)
        # On the device, as a GPU multiplies by the reciprocal of a number of the host's.
        self._count = torch.full((), count, dtype=torch.float64, device=learner.device)
        self._rows: list[Tensor] = []
        self._first_update = learner.updates

    def draw(self) -> tuple[NDArray[np.int64], ...]:
        """Row numbers of one gradient step, from the learner's generator."""
        return ()

    @abc.abstractmethod
    def loss(self, rows: tuple[Tensor, ...]) -> Tensor:
        """Sum of the submodels' losses on transitions of the replay and on the rows that :meth:`draw` found."""

    def after_step(self) -> None:
        """Called after each gradient step."""

    def zeros(self) -> Tensor:
        """Where a mean of every submodel is added up, float64 [K]."""
        return torch.zeros(self.learner.num_tasks, dtype=torch.float64, device=self.learner.device)

    def add(self, mean: Tensor, losses: Tensor) -> None:
        """Add the losses of one gradient step, float32 [K], to a mean over all of them."""
        mean.add_(losses.detach().double() / self._count)

    def begin(self, length: int) -> None:
        """See :class:`Stretches`."""
        self._first_update = self.learner.updates
        drawn = zip(*(self.draw() for _ in range(length)), strict=True)
        self._rows = [uploaded(rows, self.learner.device) for rows in drawn]

    def step(self, at: int) -> None:
        """See :class:`Stretches`."""
        self._descend(self.loss(tuple(rows[at] for rows in self._rows)))
        self.after_step()

    def _descend(self, loss: Tensor) -> None:
        learner, models = self.learner, self.learner.models
        if self._losses is not None:
            self._losses.note(loss)
        elif not np.isfinite(value := loss.item()):
            raise self._diverged(value, learner.updates)
        models.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        learner.updates += 1
        if self.config.target_update == "polyak":
            models.update_targets(self.config.target_polyak)
        elif learner.updates % self.config.target_period == 0:
            models.update_targets()

    def _diverged(self, loss: float, update: int) -> TrainingDivergedError:
        return TrainingDivergedError(
            f"loss is {loss} in round {len(self.learner.rounds) + 1}, gradient step {update}; try a smaller lr"
        )

    def look(self, length: int) -> None:  # noqa: ARG002
        """See :class:`Stretches`.

        Raises:
            TrainingDivergedError: a loss was not finite.
            BufferEmptyError: the replay had no transitions to draw.
        """
        bad = None if self._losses is None else self._losses.look()
        if bad is not None:
            raise self._diverged(bad[1], self._first_update + bad[0])
        if isinstance(self.replay, DeviceReplayBuffer):
            self.replay.check()
        self.learner.tick(None)

    def run_all(self) -> None:
        """Take all gradient steps."""
        self.run(self.count)


class SubmodelUpdates(Updates):
    """Step 2: every submodel learns the embeddings of the others' tasks, and values.

    Attributes:
        embedding: mean loss of the embeddings, float64 [K].
        td: mean squared TD error, float64 [K].
    """

    def __init__(self, learner: ImtLearner) -> None:
        models = learner.models
        # A trunk that begins anew under a last layer made for another has no values; those of before the round, which
        # the slow copies still hold, are what the TD target is made of.
        trained = (models.trunks, models.heads, models.predictors)
        super().__init__(learner, [p for net in trained for p in net.parameters()], learner.config.submodel_updates)
        self.embedding, self.td = self.zeros(), self.zeros()
        self._targets = torch.from_numpy(learner.task_embeddings.astype(np.float32)).to(learner.device)

    def draw(self) -> tuple[NDArray[np.int64], ...]:
        """Tasks and rows of the reference transitions; with ``td_tasks=others`` rows of the batch, too."""
        c, learner = self.config, self.learner
        count = learner.num_tasks
        drawn = leave_one_out_rows(count, learner.reference.shape[1], c.batch_size, learner.rng)
        if c.lambda_rl > 0 and c.td_tasks == "others":
            return *drawn, leave_one_out_rows(count, c.batch_size, c.batch_size, learner.rng)[1]
        return drawn

    def loss(self, rows: tuple[Tensor, ...]) -> Tensor:
        """See :class:`Updates`."""
        c, learner = self.config, self.learner
        replay, ensemble_td = None, None
        if c.lambda_rl > 0:
            replay = learner._sample(self.replay, learner.num_tasks)
            if learner.curiosity is not None:
                ensemble_td = learner.curiosity.td_losses(replay)
            if c.td_tasks == "others":
                replay = replay.rows(rows[2])
        losses = submodel_losses(
            learner.models,
            learner.reference.rows(rows[1]),
            self._targets[rows[0]],
            replay,
            td=ensemble_td,
            lambda_rl=c.lambda_rl,
            mu=c.mu,
            gamma=c.gamma,
        )
        self.add(self.embedding, losses.embedding)
        self.add(self.td, losses.td)
        return losses.total.sum()


class _Averaged(Updates):
    """Updates whose parameters are replaced by the mean of their last steps, unless ``target_update`` is hard."""

    def __init__(
        self,
        learner: ImtLearner,
        parameters: list[torch.nn.Parameter],
        count: int,
        replay: ReplayBuffer | DeviceReplayBuffer | None = None,
    ) -> None:
        learner.models.update_targets()
        super().__init__(learner, parameters, count, replay)
        self._mean = RunningMean(parameters, self.config.target_polyak)

    def after_step(self) -> None:
        """See :class:`Updates`."""
        self._mean.add()

    def run_all(self) -> None:
        """See :class:`Updates`."""
        super().run_all()
        if self.config.target_update == "polyak":
            self._mean.take()
            self.learner.models.update_targets()


class AloneUpdates(_Averaged):
    """The control ``sharing=none``: every network by TD on its own task.

    Attributes:
        td: mean squared TD error, float64 [K].
    """

    def __init__(self, learner: ImtLearner) -> None:
        models, c = learner.models, learner.config
        parameters = [*models.trunks.parameters(), *models.heads.parameters()]
        super().__init__(learner, parameters, c.submodel_updates + c.head_updates)
        self.td = self.zeros()

    def loss(self, rows: tuple[Tensor, ...]) -> Tensor:  # noqa: ARG002
        """See :class:`Updates`."""
        learner = self.learner
        batch = learner._sample(self.replay, learner.num_tasks)
        if learner.curiosity is not None:
            errors = learner.curiosity.td_losses(batch)
        else:
            errors = td_errors(learner.models, batch, self.config.gamma).square().mean(dim=1)
        self.add(self.td, errors)
        return errors.sum()


class HeadUpdates(_Averaged):
    """Alternation A: every last layer by TD with its trunk frozen, on its own task or (as written) held-out ones."""

    def __init__(self, learner: ImtLearner) -> None:
        parameters = list(learner.models.heads.parameters())
        super().__init__(learner, parameters, learner.config.head_updates, learner.tuning_replay)
        self._tasks = learner.tuning_actors.num_tasks

    def draw(self) -> tuple[NDArray[np.int64], ...]:
        """On held-out tasks, which have no submodel of their own: rows of the batch for each, [K, B]."""
        c, learner = self.config, self.learner
        if c.tune_on == "train":
            return ()
        return (learner.rng.integers(self._tasks * c.batch_size, size=(learner.num_tasks, c.batch_size)),)

    def loss(self, rows: tuple[Tensor, ...]) -> Tensor:
        """See :class:`Updates`."""
        learner = self.learner
        batch = learner._sample(self.replay, self._tasks)
        if rows:
            batch = batch.rows(rows[0])
        if learner.curiosity is not None:
            return learner.curiosity.td_losses(batch, frozen=True).sum()
        return head_td_errors(learner.models, batch, self.config.gamma).square().mean(dim=1).sum()
