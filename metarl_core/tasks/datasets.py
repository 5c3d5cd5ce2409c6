"""Offline transitions of one task."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from metarl_core.replay import PrioritizedReplayBuffer, ReplayBuffer
from metarl_core.tasks._dataset_checks import (
    COLUMNS,
    checked_columns,
    checked_metadata,
    same_space,
    space_size,
)
from metarl_core.tasks._dataset_record import record_columns
from metarl_core.tasks._dataset_replay import FIELDS, add_columns, draw_columns
from metarl_core.tasks._minari import read_minari, write_minari
from metarl_core.vector import make_vec
from metarl_core.vector.checks import checked_integer

__all__ = ["TaskDataset"]

_Array = npt.NDArray[Any]


class TaskDataset:
    """Transitions of one task, in memory, episode after episode and in time order inside each.

    The arrays are copies that cannot be written to. An episode whose last row is neither terminated nor truncated was
    cut: the recording ended there, or rows were left out.

    Args:
        obs: ``(M, ...)``, M >= 1: what the action was taken on; of a Discrete space integers ``(M,)``.
        actions: Integers ``(M,)``, kept as int64, or floats ``(M, A)``.
        rewards: ``(M,)``, kept as float64.
        next_obs: ``(M, ...)``: what followed; at an end the final observation, never that of a reset.
        terminated: bool ``(M,)``: the task itself ended the episode (there is nothing to bootstrap from).
        truncated: bool ``(M,)``: a time limit did.
        episode: Integers ``(M,)`` >= 0, kept as int64: the number of the row's episode. Rows of one are together, and
            only the last of them may be terminated or truncated.
        observation_space: ``Box`` or ``Discrete`` (Gymnasium's or any with their attributes), or the number of discrete
            observations; None: an unbounded Box of the array's shape and dtype. Arrays get the space's dtype.
        action_space: The same of actions; needed for integers.
        metadata: What is known of the origin, anything that JSON can hold; ``record`` writes ``task``, ``env_id``,
            ``params``, ``task_params``, ``policy`` and ``seed``.

    Raises:
        TypeError: A dtype does not fit or loses information, an array is a dict or tuple (flatten Dict and Tuple
            observations first), or ``metadata`` is not JSON.
        ValueError: There are no rows, shapes differ, a number is NaN, infinite or outside a Discrete space, rows of an
            episode are apart, or one ends before its last row. The message names array and position.
    """

    def __init__(
        self,
        obs: npt.ArrayLike,
        actions: npt.ArrayLike,
        rewards: npt.ArrayLike,
        next_obs: npt.ArrayLike,
        terminated: npt.ArrayLike,
        truncated: npt.ArrayLike,
        episode: npt.ArrayLike,
        *,
        observation_space: Any = None,
        action_space: Any = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        given = (obs, actions, rewards, next_obs, terminated, truncated, episode)
        columns, spaces = checked_columns(dict(zip(COLUMNS, given, strict=True)), (observation_space, action_space))
        self._set(columns, spaces, checked_metadata(metadata))

    def _set(self, columns: dict[str, _Array], spaces: tuple[Any, Any], metadata: dict[str, Any]) -> None:
        for array in columns.values():
            array.flags.writeable = False
        self._columns = columns
        self.observation_space, self.action_space = spaces
        self._metadata = metadata
        episode = columns["episode"]
        starts = np.flatnonzero(np.append(True, np.diff(episode) != 0))
        self._bounds = np.append(starts, len(episode)).astype(np.int64)

    def _part(self, rows: Any) -> TaskDataset:
        """A dataset of some rows that are known to be in order."""
        part = object.__new__(type(self))
        part._set(
            {name: array[rows].copy() for name, array in self._columns.items()},
            (self.observation_space, self.action_space),
            self.metadata,
        )
        return part

    @property
    def obs(self) -> _Array:
        """``(M, ...)``, dtype of the observation space."""
        return self._columns["obs"]

    @property
    def actions(self) -> _Array:
        """Int64 ``(M,)``, or floats ``(M, A)``."""
        return self._columns["actions"]

    @property
    def rewards(self) -> npt.NDArray[np.float64]:
        """Float64 ``(M,)``."""
        return self._columns["rewards"]

    @property
    def next_obs(self) -> _Array:
        """``(M, ...)``, dtype of the observation space."""
        return self._columns["next_obs"]

    @property
    def terminated(self) -> npt.NDArray[np.bool_]:
        """Bool ``(M,)``."""
        return self._columns["terminated"]

    @property
    def truncated(self) -> npt.NDArray[np.bool_]:
        """Bool ``(M,)``."""
        return self._columns["truncated"]

    @property
    def episode(self) -> npt.NDArray[np.int64]:
        """Int64 ``(M,)``: the number of the row's episode."""
        return self._columns["episode"]

    @property
    def metadata(self) -> dict[str, Any]:
        """Where the transitions are from, as a copy."""
        return checked_metadata(self._metadata)

    @property
    def num_actions(self) -> int:
        """Number of discrete actions; 0: they are continuous."""
        return space_size(self.action_space)

    @property
    def episodes(self) -> npt.NDArray[np.int64]:
        """Numbers of the episodes in order, int64 ``(E,)``."""
        return self.episode[self._bounds[:-1]]

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Number of transitions of every episode, int64 ``(E,)``."""
        return np.diff(self._bounds)

    @property
    def returns(self) -> npt.NDArray[np.float64]:
        """Undiscounted sum of the rewards of every episode, float64 ``(E,)``; of a cut one what is there of it."""
        return np.add.reduceat(self.rewards, self._bounds[:-1])

    @property
    def complete(self) -> npt.NDArray[np.bool_]:
        """Whether an episode has its end, bool ``(E,)``; False for a cut one."""
        last = self._bounds[1:] - 1
        return self.terminated[last] | self.truncated[last]

    def __len__(self) -> int:
        """Return the number of transitions M."""
        return len(self.rewards)

    def __getitem__(self, rows: Any) -> dict[str, _Array]:
        """Return copies of some transitions, as a batch for a learner.

        Args:
            rows: Integers ``(B,)`` in any order, a bool mask ``(M,)`` or a slice.

        Returns:
            ``obs``, ``action``, ``reward``, ``next_obs``, ``terminated``, ``truncated``: the names of a replay buffer's
            batch, ``(B, ...)`` each.

        Raises:
            TypeError: ``rows`` is a single number, or no index.
            IndexError: A row is out of range, or the mask has another length.
        """
        index = rows if isinstance(rows, slice) else np.asarray(rows)
        if isinstance(index, np.ndarray):
            if index.ndim != 1 or index.dtype.kind not in "biu":
                raise TypeError(f"rows is {rows!r}; must be integers (B,), a bool mask (M,) or a slice")
            if index.dtype.kind != "b":
                _check_rows(index, len(self))
        return {field: self._columns[name][index].copy() for field, name in FIELDS.items()}

    def take_rows(self, start: int, stop: int) -> TaskDataset:
        """Return the dataset of the rows ``start`` ... ``stop - 1``; the episodes at its edges may be cut.

        Raises:
            TypeError: A bound is no integer.
            ValueError: They are out of range, or not ``start < stop``.
        """
        start = checked_integer("start", start, 0, len(self) - 1)
        stop = checked_integer("stop", stop, start + 1, len(self))
        return self._part(slice(start, stop))

    def take_episodes(self, episodes: npt.ArrayLike) -> TaskDataset:
        """Return the dataset of some episodes, in the order asked for.

        Args:
            episodes: Numbers of episodes, integers ``(n,)``, each at most once.

        Raises:
            TypeError: They are no integers.
            ValueError: There are none, one is unknown, or one comes twice.
        """
        numbers = np.asarray(episodes)
        if numbers.ndim != 1 or numbers.dtype.kind not in "iu" or len(numbers) == 0:
            if numbers.ndim == 1 and len(numbers) == 0:
                raise ValueError("episodes is empty; a dataset must hold at least one transition")
            raise TypeError(f"episodes is {episodes!r}; must be integers (n,)")
        place = {int(number): i for i, number in enumerate(self.episodes)}
        if len(set(numbers.tolist())) != len(numbers):
            raise ValueError(f"episodes is {numbers.tolist()}; must name each episode at most once")
        unknown = [number for number in numbers.tolist() if number not in place]
        if unknown:
            raise ValueError(f"episodes has {unknown[0]}, which the dataset has not; see its attribute episodes")
        chosen = [place[number] for number in numbers.tolist()]
        return self._part(np.concatenate([np.arange(self._bounds[i], self._bounds[i + 1]) for i in chosen]))

    def split(self, fractions: Sequence[float], seed: int = 0) -> tuple[TaskDataset, ...]:
        """Deal the episodes out, so that no episode is in two parts.

        Args:
            fractions: Share of the episodes of every part, > 0, with a sum of at most 1; rounded.
            seed: Of the random order, >= 0. Equal arguments give equal parts.

        Returns:
            One dataset a fraction, with the episodes' own numbers.

        Raises:
            TypeError: ``seed`` is no integer.
            ValueError: A fraction is out of range, or a part gets no episode.
        """
        shares = [float(fraction) for fraction in fractions]
        if not shares or any(not share > 0 for share in shares) or not sum(shares) <= 1 + 1e-9:
            raise ValueError(f"fractions is {fractions!r}; must be numbers > 0 with a sum <= 1")
        count = len(self.episodes)
        edges = np.rint(np.append(0, np.cumsum(shares)) * count).astype(int)
        if (np.diff(edges) == 0).any():
            raise ValueError(f"fractions is {fractions!r}; a part gets none of the {count} episodes")
        order = self.episodes[np.random.default_rng(checked_integer("seed", seed, 0, None)).permutation(count)]
        return tuple(self.take_episodes(np.sort(order[a:b])) for a, b in itertools.pairwise(edges))

    @classmethod
    def concatenate(cls, datasets: Sequence[TaskDataset]) -> TaskDataset:
        """Put datasets of the same spaces one after the other; episodes are numbered anew, from 0.

        Of the metadata what all have in common is kept.

        Raises:
            TypeError: One is no dataset.
            ValueError: There are none, or their spaces differ.
        """
        if not datasets:
            raise ValueError("datasets is empty; must hold at least one")
        for i, other in enumerate(datasets):
            if not isinstance(other, TaskDataset):
                raise TypeError(f"datasets[{i}] is a {type(other).__name__}; must be a TaskDataset")
            for name in ("observation_space", "action_space"):
                own, its = getattr(datasets[0], name), getattr(other, name)
                if not same_space(own, its):
                    raise ValueError(f"datasets[{i}] has the {name} {its}; must be that of datasets[0], {own}")
        columns = {name: np.concatenate([d._columns[name] for d in datasets]) for name in COLUMNS}
        columns["episode"] = np.repeat(
            np.arange(sum(len(d.episodes) for d in datasets)), np.concatenate([d.lengths for d in datasets])
        ).astype(np.int64)
        first = datasets[0].metadata
        common = {key: value for key, value in first.items() if all(d.metadata.get(key) == value for d in datasets)}
        whole = object.__new__(cls)
        whole._set(columns, (datasets[0].observation_space, datasets[0].action_space), common)
        return whole

    @classmethod
    def record(
        cls,
        env: Any,
        policy: Callable[[Any], npt.ArrayLike] | str = "random",
        *,
        steps: int | None = None,
        episodes: int | None = None,
        seed: int = 0,
        task: Mapping[str, float] | None = None,
        params: Mapping[str, Any] | None = None,
        num_envs: int = 1,
        name: str | None = None,
        policy_name: str | None = None,
    ) -> TaskDataset:
        """Play a task and keep every transition; rows that only reset an environment are none.

        Args:
            env: Id of a native environment, or a native vector environment in any autoreset mode whose rows have one
                task and keep it; it is reset, and left in the midst of its episodes.
            policy: Function of observations ``(num_envs, ...)`` that returns actions, or ``"random"``: uniform, without
                a call into Python.
            steps: Number of transitions, the first ones in time over all rows; the last episodes may be cut.
            episodes: Or number of whole episodes, played by every row as often or once less.
            seed: Of the reset, in [0, 2^64). Equal arguments give equal transitions, if the policy does.
            task: Parameters that make the task, name -> number, as ``set_tasks`` takes them, such as one of a family's
                ``sample_tasks``. None: the environment's own, or those that were set.
            params: With an id: further parameters of ``make_vec``.
            num_envs: With an id: rows that play at once.
            name: The task's name in the metadata; None: id and task.
            policy_name: The policy's name in the metadata; None: ``"random"`` or the function's.

        Raises:
            TypeError: ``env`` is none of these, its spaces are not Box or Discrete, or neither or both of ``steps`` and
                ``episodes`` are given.
            ValueError: A number is out of range, a parameter is unknown, or rows have different tasks.
            RuntimeError: ``episodes`` were asked for and none ends.
        """
        if (steps is None) == (episodes is None):
            raise TypeError("record needs either steps or episodes")
        steps = None if steps is None else checked_integer("steps", steps, 1, None)
        episodes = None if episodes is None else checked_integer("episodes", episodes, 1, None)
        seed = checked_integer("seed", seed, 0, 2**64 - 1)
        own = isinstance(env, str)
        if own:
            envs = make_vec(env, num_envs, seed=seed, backend="native", autoreset_mode="same_step", **(params or {}))
        elif not hasattr(env, "rollout"):
            raise TypeError(f"env is a {type(env).__name__}; must be an id or a native vector environment of make_vec")
        elif params is not None or num_envs != 1:
            raise TypeError("params and num_envs are for an id; the environment that was given has its own")
        else:
            envs = env
        try:
            spaces = (envs.single_observation_space, envs.single_action_space)
            if not space_size(spaces[0]) and not hasattr(spaces[0], "low"):
                raise TypeError(f"the observation space is {spaces[0]}; must be Box or Discrete")
            if task is not None:
                envs.set_tasks({key: float(value) for key, value in task.items()})
            columns = record_columns(envs, policy, steps, episodes, seed)
            env_id, made = envs.env_spec.id, dict(envs.params)
            now = {key: float(values[0]) for key, values in envs.get_tasks().items()}
        finally:
            if own:
                envs.close()
        task_params = now if task is None else {key: now[key] for key in task}
        shown = ", ".join(f"{key}={value:g}" for key, value in task_params.items()) if task is not None else ""
        if policy_name is None:
            policy_name = policy if isinstance(policy, str) else getattr(policy, "__name__", type(policy).__name__)
        metadata = {
            "task": (f"{env_id}({shown})" if shown else env_id) if name is None else name,
            "env_id": env_id,
            "params": {key: value for key, value in made.items() if isinstance(value, str | int | float | None)},
            "task_params": {key: value if value == value else None for key, value in task_params.items()},
            "policy": policy_name,
            "seed": seed,
        }
        return cls(**columns, observation_space=spaces[0], action_space=spaces[1], metadata=metadata)

    @classmethod
    def from_buffer(
        cls,
        buffer: ReplayBuffer | PrioritizedReplayBuffer,
        task: int | None = None,
        transitions: int | None = None,
        *,
        observation_space: Any = None,
        action_space: Any = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> TaskDataset:
        """Draw different transitions of one task, every one equally likely, whatever its priority.

        Each is an episode of its own, as a buffer does not tell how its rows follow one another. The buffer's random
        numbers move on as with ``sample``.

        Args:
            buffer: With the fields ``obs``, ``action``, ``reward``, ``next_obs``, ``terminated`` and maybe
                ``truncated``; of single transitions (no n-step returns, sequences or frame stacks).
            task: Number of the task; None: the buffer has one task.
            transitions: Number of rows; None: all of the task.
            observation_space: As of the class.
            action_space: As of the class; needed for integer actions.
            metadata: As of the class.

        Raises:
            KeyError: The buffer has not these fields.
            ValueError: It links transitions, it or the task has fewer transitions, or as of the class.
            TypeError: As of the class.
        """
        columns = draw_columns(buffer, task, transitions)
        return cls(
            **columns,
            episode=np.arange(len(columns["obs"])),
            observation_space=observation_space,
            action_space=action_space,
            metadata=metadata,
        )

    def replay(
        self,
        buffer: ReplayBuffer | PrioritizedReplayBuffer | None = None,
        *,
        task_id: int | None = None,
    ) -> ReplayBuffer | PrioritizedReplayBuffer:
        """Add all transitions to a replay buffer, in order.

        Args:
            buffer: With fields named as ``fields_from_spaces`` names them (``truncated`` may be missing), and a
                ``task_field`` if the task has a number. None: a new :class:`metarl_core.PrioritizedReplayBuffer` that
                just holds them, with the task field ``"task_id"`` if ``task_id`` is given.
            task_id: Number of the task in [0, 65535], for the buffer's task field.

        Returns:
            The buffer.

        Raises:
            ValueError: The buffer has a task field and ``task_id`` is None, or the reverse; it waits for the reset rows
                of ``autoreset_mode="next_step"``, which a dataset has not; or it is of several environments.
            KeyError, TypeError: As of the buffer's ``add``.
        """
        return add_columns(self._columns, buffer, task_id)

    def save(self, path: str | os.PathLike[str], dataset_id: str | None = None) -> None:
        """Write the dataset in Minari's format (HDF5), as a new folder, whole or not at all.

        ``minari.load_dataset`` finds it where the folder's path below ``MINARI_DATASETS_PATH`` is the id;
        ``minari.MinariDataset(path / "data")`` reads it anywhere. Images are stored without loss.

        Args:
            path: Folder that does not exist.
            dataset_id: Minari's name, with a version at the end; None: the task's name, ``-v0``.

        Raises:
            ImportError: Minari is not installed: ``pip install 'metarl-core[minari]'`` (Python 3.11, NumPy 2).
            FileExistsError: There is something at ``path``.
            ValueError: Rows of an episode do not follow one another (``next_obs`` of one is ``obs`` of the next), or
                the id is malformed.
            OSError: It cannot be written.
        """
        write_minari(
            path,
            self._columns,
            self._bounds,
            (self.observation_space, self.action_space),
            self._metadata,
            dataset_id,
        )

    @classmethod
    def load(cls, source: Any) -> TaskDataset:
        """Read a dataset in Minari's format, from ``save`` or from anywhere else.

        Args:
            source: The folder, or a ``minari.MinariDataset``, such as ``minari.load_dataset(...)`` or what its
                ``filter_episodes`` returned.

        Raises:
            ImportError: Minari is not installed.
            FileNotFoundError: The folder holds no dataset.
            TypeError: Observations or actions are neither Box nor Discrete.
            ValueError: It is empty, or as of the class.
            OSError: A file cannot be read.
        """
        columns, spaces, metadata = read_minari(source)
        return cls(**columns, observation_space=spaces[0], action_space=spaces[1], metadata=metadata)

    def __repr__(self) -> str:
        name = self._metadata.get("task")
        return (
            f"TaskDataset({'' if name is None else f'{name!r}, '}{len(self)} transitions, {len(self.lengths)} episodes)"
        )


def _check_rows(rows: _Array, length: int) -> None:
    bad = (rows < 0) | (rows >= length)
    if bad.any():
        at = int(bad.argmax())
        raise IndexError(f"rows[{at}] is {int(rows[at])}; must be in [0, {length})")
