"""Several tasks stepped together, with observations and actions as the networks take them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_core.agents.common.observations import ObservationEncoder
from metarl_core.agents.imt.reference import purpose_seed
from metarl_core.agents.imt.spaces import action_table, count_actions, dense_observations
from metarl_core.tasks import Task, TaskDataset

__all__ = ["Policy", "SequenceSpaces", "TaskRows", "record_reference"]

Policy = Callable[[NDArray[np.float32]], NDArray[np.int64]]
_LONGEST = 100_000  # steps of one episode
_RECORDING_ROWS = 8


class SequenceSpaces:
    """How observations and actions of all tasks of a sequence look to a network.

    Args:
        tasks: Tasks of equal spaces, but for the channels of images with ``pad_channels``.
        levels: Of continuous actions, values of each component.
        normalize: Whether bounded observations are mapped to [-1, 1].
        pad_channels: Fill up images with empty channels.

    Attributes:
        in_features: D, width of an encoded observation.
        num_actions: A.
    """

    def __init__(self, tasks: Sequence[Task], levels: int, normalize: bool, pad_channels: bool = False) -> None:
        self.channels: int | None = None
        spaces = []
        for task in {(task.env_id, str(task.env_params)): task for task in tasks}.values():
            envs = task.make_vec(1)
            try:
                spaces.append((envs.single_observation_space, envs.single_action_space, task.env_id))
            finally:
                envs.close()
        # All are equal, but for the channels of images that are filled up: then the one with most has room for all.
        observation, actions, env_id = max(spaces, key=lambda found: found[0].shape[-1:])
        if pad_channels:
            self.channels = int(observation.shape[-1])
        self._encoder = ObservationEncoder(observation, normalize)
        self.table = action_table(actions, levels, env_id)
        self.num_actions = count_actions(actions, self.table)
        self.in_features = self._encoder.size

    def encode(self, obs: NDArray[Any]) -> NDArray[np.float32]:
        """Observations as vectors, float32 [B, D]."""
        return dense_observations(self._encoder, self.padded(obs))

    def padded(self, obs: NDArray[Any]) -> NDArray[Any]:
        """Observations [B, ..., C] with as many channels as any task has."""
        if self.channels is None or obs.shape[-1] == self.channels:
            return obs
        return np.pad(obs, [(0, 0)] * (obs.ndim - 1) + [(0, self.channels - obs.shape[-1])])

    def native(self, actions: NDArray[np.int64]) -> NDArray[Any]:
        """Numbers of actions -> what an environment takes."""
        return actions if self.table is None else self.table[actions]

    def columns(self, dataset: TaskDataset) -> dict[str, NDArray[Any]]:
        """Transitions of a dataset as the networks take them: float32 observations [M, D], int64 actions [M]."""
        rows = dataset[:]
        action = rows["action"]
        if self.table is not None:
            action = ((action[:, None, :] - self.table[None]) ** 2).sum(axis=2).argmin(axis=1)
        return {
            "obs": self.encode(rows["obs"]),
            "action": action.astype(np.int64),
            "reward": rows["reward"].astype(np.float32),
            "next_obs": self.encode(rows["next_obs"]),
            "terminated": rows["terminated"],
        }


def record_reference(task: Task, steps: int, seed: int, spaces: SequenceSpaces) -> TaskDataset:
    """Transitions of a task under uniform actions (continuous ones: uniform over the action table).

    Args:
        task: A task of a native environment.
        steps: Number of transitions.
        seed: Of environment and actions.
        spaces: Of the sequence.
    """
    record = functools.partial(
        TaskDataset.record,
        task.env_id,
        steps=steps,
        seed=seed,
        task={name: float("nan") if value is None else value for name, value in task.params.items()} or None,
        params=dict(task.env_params),
        num_envs=_RECORDING_ROWS,
        name=task.name,
    )
    if spaces.table is None:
        dataset = record("random")
    else:
        rng = np.random.default_rng([seed, 12])
        table = spaces.table
        dataset = record(
            lambda obs: table[rng.integers(len(table), size=len(obs))], policy_name="uniform over the action table"
        )
    if spaces.channels is None or dataset.obs.shape[-1] == spaces.channels:
        return dataset
    return TaskDataset(
        spaces.padded(dataset.obs),
        dataset.actions,
        dataset.rewards,
        spaces.padded(dataset.next_obs),
        dataset.terminated,
        dataset.truncated,
        dataset.episode,
        action_space=dataset.action_space,
        metadata=dataset.metadata,
    )


@dataclasses.dataclass
class _Group:
    """Tasks that one batched environment can hold: they differ in ``params`` alone."""

    task: Task
    members: list[int]
    envs: Any = None


class TaskRows:
    """T tasks with n instances each; tasks of one environment share a batch.

    Args:
        tasks: T tasks.
        per_task: n.
        spaces: Of the sequence.
        seed: Of the first reset.

    Attributes:
        obs: Encoded observations, float32 [T, n, D].
        steps: Environment steps of all tasks together so far.
        lengths: Of the episodes of :meth:`play`, int64 [T, n, episodes].
    """

    def __init__(self, tasks: Sequence[Task], per_task: int, spaces: SequenceSpaces, seed: int) -> None:
        self.per_task, self.spaces = per_task, spaces
        self.num_tasks = len(tasks)
        groups: dict[str, _Group] = {}
        for i, task in enumerate(tasks):
            key = f"{task.env_id} {task.to_dict()['env_params']} {sorted(task.params)}"
            groups.setdefault(key, _Group(task, [])).members.append(i)
        self._groups = list(groups.values())
        self.obs = np.zeros((len(tasks), per_task, spaces.in_features), dtype=np.float32)
        self.steps = 0
        self.lengths = np.zeros((len(tasks), per_task, 0), dtype=np.int64)
        try:
            for number, group in enumerate(self._groups):
                rows = len(group.members) * per_task
                own = seed if number == 0 else purpose_seed(seed, "group", number)
                plain = Task(group.task.name, group.task.env_id, {}, group.task.env_params)
                group.envs = plain.make_vec(rows, seed=own, autoreset_mode="same_step")
                if group.task.params:
                    each = [dict(tasks[i].params) for i in group.members]
                    group.envs.set_tasks([task for task in each for _ in range(per_task)])
                obs, _ = group.envs.reset(seed=own)
                self.obs[group.members] = self._encode(group, obs)
        except BaseException:
            self.close()
            raise

    def _encode(self, group: _Group, obs: NDArray[Any]) -> NDArray[np.float32]:
        return self.spaces.encode(obs).reshape(len(group.members), self.per_task, -1)

    def close(self) -> None:
        """Close the environments."""
        for group in self._groups:
            if group.envs is not None:
                group.envs.close()

    def step(self, actions: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Step every instance once.

        Args:
            actions: Their numbers, int64 [T, n].

        Returns:
            ``obs``, ``action``, ``reward``, ``next_obs`` (the last observation of an episode that ended, not the first
            of the next), ``terminated`` and ``ended`` (terminated or truncated), each [T, n, ...].
        """
        shape = (self.num_tasks, self.per_task)
        following, now = np.empty_like(self.obs), np.empty_like(self.obs)
        reward, terminated, ended = np.empty(shape, np.float32), np.empty(shape, bool), np.empty(shape, bool)
        for group in self._groups:
            native = self.spaces.native(actions[group.members].reshape(-1))
            obs, rewards, term, trunc, _ = group.envs.step(native)
            members, part = group.members, (len(group.members), self.per_task)
            now[members] = self._encode(group, obs)
            reward[members], terminated[members] = rewards.reshape(part), term.reshape(part)
            ended[members] = (term | trunc).reshape(part)
            following[members] = now[members]
            if ended[members].any():
                final, mask = group.envs.final_obs_dense()
                last = self._encode(group, final)
                following[members] = np.where(mask.reshape(*part, 1), last, now[members])
        columns: dict[str, NDArray[Any]] = {
            "obs": self.obs,
            "action": actions,
            "reward": reward,
            "next_obs": following,
            "terminated": terminated,
            "ended": ended,
        }
        self.obs = now
        self.steps += shape[0] * shape[1]
        return columns

    def play(self, policy: Policy, episodes: int = 1) -> NDArray[np.float64]:
        """Play until every instance has ended some episodes, and close.

        Args:
            policy: Encoded observations float32 [T, n, D] -> actions int64 [T, n]; with an attribute ``observe`` it
                is also told of every step (:meth:`step`'s columns).
            episodes: Of every instance.

        Returns:
            Returns, float64 [T, n, episodes].

        Raises:
            RuntimeError: Episodes do not end.
        """
        shape = (self.num_tasks, self.per_task)
        returns, count, totals = np.full((*shape, episodes), np.nan), np.zeros(shape, np.int64), np.zeros(shape)
        observe = getattr(policy, "observe", None)
        steps, begun = 0, np.zeros(shape, np.int64)
        self.lengths = np.zeros((*shape, episodes), np.int64)
        try:
            while count.min() < episodes:
                columns = self.step(policy(self.obs))
                totals += columns["reward"]
                steps += 1
                at = np.nonzero(columns["ended"] & (count < episodes))
                returns[at[0], at[1], count[at]] = totals[at]
                self.lengths[at[0], at[1], count[at]] = steps - begun[at]
                begun[at] = steps
                count[at] += 1
                totals[columns["ended"]] = 0.0
                if observe is not None:
                    observe(columns)
                if steps > _LONGEST * episodes:
                    raise RuntimeError(f"{self._groups[0].task.env_id}: an episode did not end in {_LONGEST} steps")
        finally:
            self.close()
        return returns
