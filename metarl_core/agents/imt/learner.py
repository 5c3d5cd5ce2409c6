"""IMT from the first transition to the aggregated policy: each step of the article is one method."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import metarl_core
from metarl_core.agents.common.devices import flushed_denormals
from metarl_core.agents.common.images import ImageFeatures
from metarl_core.agents.common.options import ConfigError
from metarl_core.agents.common.schedules import linear
from metarl_core.agents.imt.actors import TaskActors
from metarl_core.agents.imt.aggregation import routing_weights
from metarl_core.agents.imt.averaging import (
    RoundWeights,
    average_trunks,
    averaging_weights,
    cosine_similarity,
    embedding_accuracy,
    return_accuracy,
)
from metarl_core.agents.imt.batches import COLUMNS, TaskBatch, replay_fields, stack_tasks, task_batch
from metarl_core.agents.imt.building import make_submodels
from metarl_core.agents.imt.collecting import Collection
from metarl_core.agents.imt.config import ImtConfig
from metarl_core.agents.imt.curiosity import Curiosity
from metarl_core.agents.imt.device.actors import DeviceTaskActors
from metarl_core.agents.imt.device.batches import DeviceBatches
from metarl_core.agents.imt.device.collecting import DeviceCollection
from metarl_core.agents.imt.embedding import TaskEmbedding
from metarl_core.agents.imt.outcomes import Adapted, Round
from metarl_core.agents.imt.playing import play_together
from metarl_core.agents.imt.recorded import hold_out, mean_return, reward_factor
from metarl_core.agents.imt.reference import Reference, purpose_seed
from metarl_core.agents.imt.routing import routing_rule
from metarl_core.agents.imt.state import kept_state, learner_state, restore_kept, restore_learner
from metarl_core.agents.imt.steps import pretrain_common
from metarl_core.agents.imt.stopping import StoppingRule
from metarl_core.agents.imt.task_rows import TaskRows
from metarl_core.agents.imt.task_sets import Tasks, check_datasets, resolve_tasks, task_table
from metarl_core.agents.imt.updates import AloneUpdates, HeadUpdates, SubmodelUpdates, longest_stretch, uploaded
from metarl_core.replay.device_base import DeviceReplayBuffer
from metarl_core.tasks import MetaTask, TaskDataset

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["ImtLearner"]


class ImtLearner:
    """K training tasks of one environment, a submodel for each, and a common trunk.

    Args:
        env_id: a native environment whose parameters make the tasks; or a :class:`MetaTask`, which says all about the
            tasks: its part "train" (all its tasks, where it has no parts) is trained on, "val" is for step 4, "test"
            for ``tune_on="test"``. Its datasets, if it has any, are what the reference policy would record.
        train_tasks: parameter name -> values, float64 [K], K >= 3; None: the MetaTask's.
        config: every switch.
        seed: of everything random.
        val_tasks: tasks that step 4 looks at, parameters or a MetaTask; None: it looks at the common trunk alone.
        test_tasks: the held-out tasks, only for ``tune_on="test"``, as the article has it.
        params: parameters of the environment that all tasks have in common.
        device: where the networks live.
        core_device: where the environments, but for the reference policy's, and the replay live: "cpu", or a GPU that
            the networks are on. There nothing is copied or waited for between two looks of the host, at the end of a
            stretch of steps or of gradient steps, when it accounts for them in the order of time. The bits are those of
            "cpu", as far as torch's kernels repeat; a loss that is not finite, or an episode that the atoms cannot
            hold, is noticed at the look.

    Attributes:
        tick: called after every environment step of training with the actors that were stepped; with None after every
            step of other episodes and after every gradient step. On a GPU at the looks: for every environment step of
            the stretch, and once for all gradient steps.
            What it raises ends the training, whose state is then undefined.

    Raises:
        ConfigError: fewer than three training tasks, no test task where the article needs one, tasks that one batch
            cannot hold, a task without data where others have some, spaces that do not fit, or a ``core_device`` that
            is not where the networks are.
    """

    def __init__(
        self,
        env_id: str | MetaTask,
        train_tasks: Tasks | None = None,
        config: ImtConfig | None = None,
        *,
        seed: int = 0,
        val_tasks: Tasks | MetaTask | None = None,
        test_tasks: Tasks | MetaTask | None = None,
        params: Mapping[str, Any] | None = None,
        device: str = "cpu",
        core_device: str = "cpu",
    ) -> None:
        self.config = config or ImtConfig()
        sets = resolve_tasks(env_id, train_tasks, val_tasks, test_tasks, params)
        self.env_id, self.seed, self.params = sets.env_id, seed, sets.params
        self.train_tasks, self.val_tasks, self.num_tasks = sets.train, sets.val, sets.num_tasks
        if self.config.tune_on == "test" and sets.test is None:
            raise ConfigError("tune_on='test': needs test_tasks, on which the last layers are tuned")
        torch.set_num_threads(self.config.torch_threads)
        self.device, self.core_device = torch.device(device), core_device
        self.tick: Callable[[TaskRows | None], None] = lambda _: None
        self.rng = np.random.default_rng([seed, 11])
        self.reference_policy = Reference(self.env_id, self.config, self.params)
        recorded = self._reference_data(sets.datasets, env_id if isinstance(env_id, MetaTask) else None)
        self.random_returns = np.array([mean_return(dataset) for dataset in recorded])
        self.datasets, self.held_out_datasets = hold_out(recorded, self.config.held_out, purpose_seed(seed, "split"))
        self.reference = self.reference_policy.batch(self.datasets, self.device)
        self.held_out = self.reference_policy.batch(self.held_out_datasets, self.device)
        features = TaskEmbedding(self.config.embedding_features, whiten=self.config.whiten, seed=seed)
        self.embedding = features.fit(self.datasets) if self.config.embedding == "random_features" else None
        self._device_batches = DeviceBatches()
        self.actors = self.make_actors(self.train_tasks, purpose_seed(seed, "train"))
        self.replay = self._make_replay(self.actors, purpose_seed(seed, "replay"))
        self.tuning_actors, self.tuning_replay = self.actors, self.replay
        if self.config.tune_on == "test":
            assert sets.test is not None
            self.tuning_actors = self.make_actors(sets.test, purpose_seed(seed, "tuning"))
            self.tuning_replay = self._make_replay(self.tuning_actors, purpose_seed(seed, "tuning replay"))
        self._check_curiosity()
        self.models = make_submodels(
            self.config,
            self.num_tasks,
            self.actors.features,
            self.actors.num_actions,
            self.config.one_hot_obs or self.reference_policy.encoder.one_hot,
            torch.Generator().manual_seed(purpose_seed(seed, "networks") >> 1),
        ).to(self.device)
        self.stopping = StoppingRule(self.config.tolerance, self.config.patience if self.val_tasks else None)
        self.task_embeddings = self.embed(self.datasets)
        self._known = (
            np.stack([self.embedding.vector(d) for d in self.datasets]) if self.embedding else np.zeros((0, 0))
        )
        self.accuracy = np.ones(self.num_tasks)
        self.pretrained = False
        self.reward_factor = np.float32(reward_factor(self.datasets) if self.config.scale_rewards else 1.0)
        self.curiosity = self._make_curiosity()
        self.updates = 0
        self.best: dict[str, Any] | None = None
        self.rounds: list[Round] = []

    def _check_curiosity(self) -> None:
        c = self.config
        if c.exploration != "curiosity":
            return
        if isinstance(self.actors.features, ImageFeatures):
            raise ConfigError(
                f"exploration='curiosity': reads images as vectors alone; set image_encoding='flat' (here "
                f"{c.image_encoding!r})"
            )
        obs = self.reference.obs
        if c.one_hot_obs and not (((obs == 0) | (obs == 1)).all() and (obs != 0).sum(dim=2).max() <= 1):
            raise ConfigError(f"one_hot_obs=True: an observation of {self.env_id} is neither one-hot nor all zero")

    def _make_curiosity(self) -> Curiosity | None:
        c = self.config
        if c.exploration != "curiosity":
            return None
        features = self.actors.features
        assert isinstance(features, int)
        seed, factor = purpose_seed(self.seed, "curiosity"), float(self.reward_factor)
        return Curiosity(c.cder(c.gamma, c.hidden), self.models, features, self.actors, factor, seed, self.device)

    def _reference_data(self, given: Sequence[TaskDataset] | None, meta: MetaTask | None) -> list[TaskDataset]:
        """Transitions of every training task under the reference policy: those that are given, or recorded now."""
        if given is None or meta is None:
            steps, seed = self.config.reference_steps, purpose_seed(self.seed, "reference")
            return self.reference_policy.record_all(self.train_tasks, steps, seed)
        names = meta.parts["train"] if meta.parts else meta.names
        check_datasets(given, names, self.reference_policy.name, (meta.observation_space, meta.action_space))
        return list(given)

    def _all_actors(self) -> list[TaskRows]:
        own = [self.actors]
        return own if self.tuning_actors is self.actors else [*own, self.tuning_actors]

    def close(self) -> None:
        """Close the training environments; what was learned can still be used."""
        for actors in self._all_actors():
            actors.close()

    def state_dict(self) -> dict[str, Any]:
        """The learner between two rounds, as values that a checkpoint holds (see ``state.py``)."""
        return learner_state(self)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict` of a learner that was made with the same arguments, bit for bit on the CPU.

        Raises:
            CheckpointMismatchError: its reference transitions are others. Nothing is changed then.
        """
        restore_learner(self, state)

    def __enter__(self) -> Self:
        """Close at the end of a ``with`` block."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close."""
        self.close()

    def make_actors(self, tasks: Tasks, seed: int, per_task: int | None = None) -> TaskRows:
        """Make environments of tasks on ``core_device``, ``per_task`` instances of each (None: ``envs_per_task``)."""
        kind = TaskActors if self.core_device == "cpu" else DeviceTaskActors
        return kind(
            self.env_id,
            tasks,
            per_task or self.config.envs_per_task,
            seed=seed,
            levels=self.config.action_levels,
            normalize_obs=self.config.normalize_obs,
            params=self.params,
            image=self.reference_policy.image,
            core_device=self.core_device,
            device=self.device,
        )

    def _make_replay(self, actors: TaskRows, seed: int) -> metarl_core.ReplayBuffer | DeviceReplayBuffer:
        return metarl_core.ReplayBuffer(
            self.config.replay_capacity,
            replay_fields(actors.features),
            task_field="task_id",
            seed=seed,
            device=self.core_device,
        )

    @property
    def environment_steps(self) -> int:
        """Steps of all tasks together, the reference policy's included, those on the validation tasks not."""
        recorded = sum(map(len, (*self.datasets, *self.held_out_datasets)))
        return recorded + sum(a.steps * a.num_tasks for a in self._all_actors())

    @property
    def selection_steps(self) -> int:
        """Steps on the validation tasks, after every round."""
        return self.rounds[-1].selection_steps if self.rounds else 0

    def embed(self, datasets: Sequence[TaskDataset]) -> NDArray[np.float64]:
        """Embeddings of tasks from transitions of the reference policy, [T, E]."""
        if self.embedding is not None:
            return self.embedding.embed_all(datasets)
        found = []
        for dataset in datasets:
            batch = stack_tasks([self.reference_policy.columns(dataset)], self.device)
            with torch.no_grad():
                x = self.models.transition_features(
                    self.models.common, batch.obs, batch.action, batch.reward, batch.next_obs
                )
            found.append(x.double().mean(dim=(0, 1)).cpu().numpy())
        return np.stack(found)

    # Step 1

    def pretrain(self) -> list[float]:
        """Pretrain the common trunk on the pooled reference transitions; the loss of every update."""
        tasks, rows = self.reference.shape
        c, longest, ahead = self.config, longest_stretch(self), torch.zeros(0)

        def draw(update: int) -> Tensor:
            nonlocal ahead
            at = update % longest
            if at == 0:
                self.tick(None)
                length = min(longest, c.pretrain_updates - update)
                drawn = [self.rng.integers(tasks * rows, size=4 * c.batch_size) for _ in range(length)]
                ahead = uploaded(drawn, self.device)
            return ahead[at]

        losses = pretrain_common(
            self.models,
            self.reference,
            draw,
            updates=c.pretrain_updates,
            lr=c.lr,
            hidden=c.hidden[-1],
            generator=torch.Generator().manual_seed(purpose_seed(self.seed, "dynamics") >> 1),
        )
        self.task_embeddings = self.embed(self.datasets)
        self.pretrained = True
        return losses

    # Step 2

    def collect(self, actors: TaskRows, replay: metarl_core.ReplayBuffer | DeviceReplayBuffer, epsilon: float) -> None:
        """Play every task for ``steps_per_round`` steps, as its own submodel explores, and store them."""
        steps = -(-self.config.steps_per_round // actors.per_task)
        if isinstance(actors, DeviceTaskActors):
            assert isinstance(replay, DeviceReplayBuffer)
            DeviceCollection(self, actors, replay, epsilon).run(steps)
        else:
            assert isinstance(actors, TaskActors)
            assert isinstance(replay, metarl_core.ReplayBuffer)
            Collection(self, actors, replay, epsilon).run(steps)

    def _own_actions(self, actors: TaskRows, obs: NDArray[Any]) -> NDArray[np.int64]:
        found: NDArray[np.int64] = self._own_best(actors, torch.from_numpy(obs).to(self.device)).cpu().numpy()
        return found

    @torch.no_grad()
    def _own_best(self, actors: TaskRows, obs: Tensor) -> Tensor:
        """Greedy actions of every task's own submodel, observations [K * n, ...] -> int64 [K * n].

        Args:
            actors: the training tasks', or the held-out tasks', which have no submodel of their own but all together.
            obs: their encoded observations.
        """
        if actors is self.actors:
            q = self.models.q(obs.view(self.num_tasks, actors.per_task, *obs.shape[1:])).flatten(0, 1)
        else:  # the article's tuning on held-out tasks
            q = self.models.q(self.models.rows_for_all(obs)).mean(dim=0)
        return q.argmax(dim=1)

    def _sample(self, replay: metarl_core.ReplayBuffer | DeviceReplayBuffer, tasks: int) -> TaskBatch:
        """The same number of transitions of every task, [T, B]; one call for all of them."""
        rows, size = (tasks, self.config.batch_size), tasks * self.config.batch_size
        if isinstance(replay, DeviceReplayBuffer):
            return self._device_batches.draw(replay, rows, float(self.reward_factor))
        batch = replay.sample(size, task_weights="balanced")
        columns = {n: batch[n].reshape(*rows, *batch[n].shape[1:]) for n in COLUMNS}
        columns["reward"] = columns["reward"] * self.reward_factor
        return task_batch(columns, self.device)

    def train_submodels(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Train every submodel on the other tasks; mean embedding loss and TD error of each, [K] twice."""
        if self.config.sharing == "none":
            alone = AloneUpdates(self)
            alone.run_all()
            return np.zeros(self.num_tasks), alone.td.cpu().numpy()
        updates = SubmodelUpdates(self)
        updates.run_all()
        return updates.embedding.cpu().numpy(), updates.td.cpu().numpy()

    # Alternation A

    def tune_last_layers(self) -> None:
        """Fit every h_i by TD with its trunk frozen: on its own task, or (as written) all on the held-out tasks."""
        if self.config.sharing != "none":
            HeadUpdates(self).run_all()

    # Step 3

    def measure_accuracy(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """sim_i and acc_i of every submodel on the held-out transitions of its own task, [K] twice."""
        batch = self.held_out
        with torch.no_grad():
            predicted = self.models.embeddings(batch.obs, batch.action, batch.reward, batch.next_obs)
        mean = predicted.double().mean(dim=1).cpu().numpy()
        similarity = cosine_similarity(mean, self.task_embeddings)
        if self.config.accuracy == "embedding":
            return similarity, embedding_accuracy(mean, self.task_embeddings)
        recent = self.recent_returns()
        returns = np.where(np.isnan(recent), self.random_returns, recent)
        # J_ref: the best episode that anybody has played on the task so far.
        best = np.array([max(r, default=-np.inf) for r in self.actors.returns])
        return similarity, return_accuracy(returns, self.random_returns, np.maximum(best, self.random_returns))

    def average(self) -> RoundWeights:
        """Move the common trunk to the weighted average of the submodels' trunks."""
        c = self.config
        if c.sharing == "none":
            equal = np.full(self.num_tasks, 1 / self.num_tasks)
            return RoundWeights(np.zeros(self.num_tasks), self.accuracy, equal, 0.0, 0.0)
        similarity, self.accuracy = self.measure_accuracy()
        weights = averaging_weights(
            similarity,
            self.accuracy,
            temperature=c.temperature,
            accuracy_eps=c.accuracy_eps,
            weighting=c.weighting,
            rng=self.rng,
        )
        change, relative = average_trunks(self.models, weights, c.eta)
        return RoundWeights(similarity, self.accuracy, weights, change, relative)

    def recent_returns(self, episodes: int = 10) -> NDArray[np.float64]:
        """Mean return of every training task's last episodes, nan for a task without one, [K]."""
        return np.array([np.mean(r[-episodes:]) if r else np.nan for r in self.actors.returns])

    # Step 4 and the whole

    def round(self) -> Round:
        """Steps 2 and 3 once, with the last layers tuned in between; tells whether step 4 says to stop."""
        number = len(self.rounds) + 1
        before = [len(r) for r in self.actors.returns]
        if number == 1:
            self._collect_all(0)
        elif self.config.sharing == "average" and self.config.start == "common":
            self.models.begin_from_common()
        embedding, td = self.train_submodels()
        self.tune_last_layers()
        if number < self.config.rounds:
            self._collect_all(number)  # now, while trunks and last layers belong together
        played = np.array(
            [np.mean(r[n:]) if len(r) > n else np.nan for r, n in zip(self.actors.returns, before, strict=True)]
        )
        weights = self.average()
        validation, selection_steps = None, self.selection_steps
        if self.val_tasks:
            seed = purpose_seed(self.seed, "validation")
            adapted = self.adapt(self.val_tasks, seed=seed)
            returns, lengths = self.play(adapted, seed=seed)
            validation = returns.mean(axis=1)
            selection_steps += int(adapted.steps.sum() + lengths.sum())
        change = weights.relative_change if self.config.sharing == "average" else np.inf
        stop = self.stopping.update(change, None if validation is None else float(np.mean(validation)))
        if stop is None and number >= self.config.rounds:
            stop = f"{number} rounds were made"
        if self.embedding is None:
            self.task_embeddings = self.embed(self.datasets)
        if validation is not None and self.config.keep == "best":
            if self.stopping.best_round == number:
                self.best = kept_state(self)
            elif stop is not None and self.best is not None:
                restore_kept(self, self.best)
        steps = self.environment_steps
        done = Round(number, steps, embedding, td, weights, played, validation, stop, selection_steps)
        self.rounds.append(done)
        return done

    def epsilon(self, number: int) -> float:
        """Share of uniform actions in what is played after ``number`` rounds."""
        c = self.config
        if c.exploration == "curiosity":
            return 0.0
        return linear(c.epsilon_start, c.epsilon_end, number, max(c.rounds - 1, 1))

    def _collect_all(self, number: int) -> None:
        epsilon = self.epsilon(number)
        self.collect(self.actors, self.replay, epsilon)
        if self.tuning_actors is not self.actors:
            self.collect(self.tuning_actors, self.tuning_replay, epsilon)

    def train(self, watch: Callable[[Round], bool | None] = lambda _: None) -> list[Round]:
        """Run all steps to the end.

        Args:
            watch: hears of every round; True stops training after it.

        Returns:
            The rounds.

        Raises:
            TrainingDivergedError: a loss is no longer finite.
        """
        with flushed_denormals():
            if not self.pretrained:
                self.pretrain()
            while not self.rounds or self.rounds[-1].stop is None:
                if watch(self.round()):
                    break
        return self.rounds

    # Test time

    def adapt(
        self,
        tasks: Tasks | MetaTask,
        steps: int | None = None,
        seed: int | None = None,
        *,
        episodes: int | None = None,
    ) -> Adapted:
        """Meet new tasks: record them under the reference policy, embed them, and weigh the submodels for each.

        Args:
            tasks: parameter name -> values, float64 [T], or a MetaTask of the same environment.
            steps: transitions of each; None: ``reference_steps``, or ``episodes``.
            seed: of environments and actions; None: derived from the run's.
            episodes: whole episodes of each, in place of ``steps``.

        Raises:
            ConfigError: there is no task, or one is of another environment.
        """
        seed = purpose_seed(self.seed, "adapt") if seed is None else seed
        table = task_table("tasks", tasks, self.env_id, self.params)
        if episodes is None:
            steps = steps or self.config.reference_steps
        datasets = self.reference_policy.record_all(table, steps, seed, episodes)
        embeddings = self.embed(datasets)
        vectors = np.stack([self.embedding.vector(d) for d in datasets]) if self.embedding else np.zeros((0, 0))
        unweighted = np.zeros((self.num_tasks, len(datasets)))
        played = np.array([len(dataset) for dataset in datasets])
        return self.reweigh(Adapted(table, embeddings, unweighted, played, vectors), self.config.routing)

    def reweigh(self, adapted: Adapted, routing: str) -> Adapted:
        """Weigh the submodels anew for tasks that were met before.

        Args:
            adapted: of :meth:`adapt`.
            routing: of ``ImtConfig``.

        Raises:
            ConfigError: unknown ``routing``, or one that the embeddings do not allow.
        """
        c = dataclasses.replace(self.config, routing=routing)  # checks it
        if routing == "similarity":
            known = self.task_embeddings, self.accuracy, c.temperature
            weights, words = [routing_weights(e, *known) for e in adapted.embeddings], routing
        else:
            rule = routing_rule(self, routing, c.aggregation)
            weights, words = [rule.weights(v, self._known) for v in adapted.vectors], str(rule)
        return dataclasses.replace(adapted, weights=np.stack(weights, axis=1), rule=words)

    def evaluate(
        self, adapted: Adapted, how: str | None = None, *, episodes: int = 20, seed: int | None = None
    ) -> NDArray[np.float64]:
        """Mean return of greedy episodes on new tasks, [T].

        Args:
            adapted: of :meth:`adapt`; its ``weights`` may be changed, for a control.
            how: of ``AGGREGATIONS``; None: the configuration's.
            episodes: of each task.
            seed: of the environments; None: derived from the run's.
        """
        means: NDArray[np.float64] = self.play(adapted, how, episodes=episodes, seed=seed)[0].mean(axis=1)
        return means

    def play(
        self, adapted: Adapted, how: str | None = None, *, episodes: int = 20, seed: int | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Play greedy episodes as :meth:`evaluate` does; returns float64 and lengths int64 of each, [T, episodes]."""
        how = self.config.aggregation if how is None else how
        seed = purpose_seed(self.seed, "evaluate") if seed is None else seed
        return play_together(self, adapted.tasks, adapted.weights, how, episodes, seed)
