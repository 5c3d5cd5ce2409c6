"""The common reference policy: what task embeddings and their predictors are computed from."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import metarl_core
from metarl_core.agents.common.images import image_features
from metarl_core.agents.common.observations import ObservationEncoder
from metarl_core.agents.imt.batches import TaskBatch, stack_tasks
from metarl_core.agents.imt.config import ImtConfig
from metarl_core.agents.imt.spaces import action_table, count_actions, dense_observations
from metarl_core.tasks import TaskDataset

__all__ = ["Reference", "purpose_seed"]

_ROWS = 8
_TABLE_POLICY = "uniform over the action table"


def purpose_seed(seed: int, purpose: str, index: int = 0) -> int:
    """A seed for one use of a run's seed, in [0, 2^64): no two uses of nearby seeds meet."""
    entropy = (seed, int.from_bytes(purpose.encode(), "big"), index)
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0])


class Reference:
    """Uniform actions, the same for every task: an embedding of what they lead to embeds the task, not a policy.

    Continuous actions are uniform over the table of actions that the submodels choose from.

    Args:
        env_id: a native environment.
        config: of the run.
        params: parameters that all tasks have in common.
    """

    def __init__(self, env_id: str, config: ImtConfig, params: Mapping[str, Any]) -> None:
        self.env_id, self.config, self.params = env_id, config, dict(params)
        self.image = image_features(config.image_encoding, env_id, config.conv_filters, config.conv_kernel, "own")
        envs = metarl_core.make_vec(env_id, 1, **self.params)
        try:
            self.observation_space, self.action_space = envs.single_observation_space, envs.single_action_space
            self.table = action_table(self.action_space, config.action_levels, env_id)
            self.encoder = ObservationEncoder(self.observation_space, config.normalize_obs, image=self.image)
            self.num_actions = count_actions(self.action_space, self.table)
        finally:
            envs.close()

    @property
    def name(self) -> str:
        """What the metadata of a dataset of it says."""
        return "random" if self.table is None else _TABLE_POLICY

    def record(
        self, task: Mapping[str, float], steps: int | None, seed: int, episodes: int | None = None
    ) -> TaskDataset:
        """Record transitions of one task.

        Args:
            task: its parameters.
            steps: number of transitions; None: whole episodes instead.
            seed: of environment and actions.
            episodes: number of whole episodes, where ``steps`` is None.
        """
        record = functools.partial(
            TaskDataset.record,
            steps=steps,
            episodes=episodes,
            seed=seed,
            task=task,
            params=self.params,
            num_envs=_ROWS,
        )
        if self.table is None:
            return record(self.env_id, "random")
        table, rng = self.table, np.random.default_rng([seed, 12])

        def uniform(obs: Any) -> NDArray[Any]:
            drawn: NDArray[Any] = table[rng.integers(len(table), size=len(obs))]
            return drawn

        return record(self.env_id, uniform, policy_name=_TABLE_POLICY)

    def record_all(
        self, tasks: Mapping[str, NDArray[np.float64]], steps: int | None, seed: int, episodes: int | None = None
    ) -> list[TaskDataset]:
        """Record transitions of several tasks, ``steps`` or ``episodes`` each; parameter name -> float64 [T]."""
        count = len(next(iter(tasks.values())))
        each = ({name: float(values[i]) for name, values in tasks.items()} for i in range(count))
        return [self.record(task, steps, purpose_seed(seed, "task", i), episodes) for i, task in enumerate(each)]

    def columns(self, dataset: TaskDataset) -> dict[str, NDArray[Any]]:
        """A dataset as the networks take it: encoded observations, numbers of actions."""
        rows = dataset[:]
        action = rows["action"]
        if self.table is not None:
            distance = ((action[:, None, :] - self.table[None]) ** 2).sum(axis=2)
            action = distance.argmin(axis=1)
        return {
            "obs": dense_observations(self.encoder, rows["obs"]),
            "action": action,
            "reward": rows["reward"],
            "next_obs": dense_observations(self.encoder, rows["next_obs"]),
            "terminated": rows["terminated"],
        }

    def batch(self, datasets: Sequence[TaskDataset], device: torch.device) -> TaskBatch:
        """Transitions of several tasks, [K, M]; cut to the shortest dataset, so that all tasks count the same."""
        rows = min(map(len, datasets))
        columns = (self.columns(dataset) for dataset in datasets)
        return stack_tasks([{name: value[:rows] for name, value in c.items()} for c in columns], device)
