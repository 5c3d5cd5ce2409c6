"""Which subtask of a tree is active in each row of a vector environment, and what each node has earned."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from metarl_core.errors import ResetNeededError
from metarl_core.tasks.structure import Tree
from metarl_core.vector.base import AutoresetMode, parse_autoreset_mode
from metarl_core.vector.checks import checked_integer, checked_reset_mask

__all__ = ["TreeEpisodes", "TreeRun"]

_Rows = NDArray[np.bool_]


class TreeEpisodes(NamedTuple):
    """Episodes that ended in one step, k of them; columns are :attr:`Tree.nodes`.

    Attributes:
        rows: int64 ``(k,)``: the rows of the vector environment, rising.
        returns: float64 ``(k, nodes)``: sum of the rewards while the node or one below it was active. The goal's own,
            the last column, is the return of the episode: what comes after it is done counts there too.
        steps: int64 ``(k, nodes)``: number of steps, likewise.
        done: bool ``(k, nodes)``: whether the node was done; of what its goal's own ``done`` left out, False.
    """

    rows: NDArray[np.int64]
    returns: NDArray[np.float64]
    steps: NDArray[np.int64]
    done: NDArray[np.bool_]


class TreeRun:
    """Follows a tree through the steps of a vector environment, all rows together.

    It is told what ``reset`` and ``step`` of the environment return. The reward of a step counts for the stage that was
    active when the action was chosen. ``done`` is asked about the observation after the step, also the last one of an
    episode and, with rewards of 0, the first one.

    Args:
        tree: The tree.
        num_envs: Rows of the environment.
        autoreset_mode: That of the environment, as :func:`metarl_core.make_vec` takes it or ``envs.metadata`` has it.
        cascade: Whether the next stage is asked about the same observation when one is done, so that what is already
            the case is passed over at once. False: one stage a step, for a ``done`` that means an event (such as a
            reward), which should not count twice.

    Attributes:
        tree: The tree.
        num_envs: Rows.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: An argument is out of range.
    """

    def __init__(self, tree: Tree, num_envs: int, autoreset_mode: Any = "next_step", *, cascade: bool = True) -> None:
        if not isinstance(tree, Tree):
            raise TypeError(f"tree must be a Tree, got {type(tree).__name__}")
        self.tree = tree
        self.num_envs = checked_integer("num_envs", num_envs, 1, None)
        self._mode = parse_autoreset_mode(autoreset_mode)
        self._cascade = bool(cascade)
        self._plan(tree)
        stages = len(tree.stages)
        self._stage = np.zeros(self.num_envs, np.int64)  # as many as there are: all are done
        self._returns = np.zeros((self.num_envs, stages + 1))
        self._steps = np.zeros((self.num_envs, stages + 1), np.int64)
        self._done = np.zeros((self.num_envs, len(tree.nodes)), np.bool_)
        self._ended = np.zeros(self.num_envs, np.bool_)
        self._started = False

    def _plan(self, tree: Tree) -> None:
        nodes = tree._nodes
        place = {node.name: i for i, node in enumerate(nodes)}
        begin: list[int] = []
        end: list[int] = []
        count = 0
        for node in nodes:  # subtasks come before their goal
            begin.append(begin[place[node.subtasks[0].name]] if node.subtasks else count)
            count += node.done is not None
            end.append(count)
        parent = {place[child.name]: i for i, node in enumerate(nodes) for child in node.subtasks}
        self._predicates = [node.done for node in nodes]
        # What a stage's rewards count for: its node and those above; after the last stage, the goal alone.
        self._counts_for = np.zeros((count + 1, len(nodes)), np.bool_)
        for i in range(len(nodes)):
            self._counts_for[begin[i] : end[i], i] = True
        self._counts_for[count, -1] = True
        # Of each stage the nodes with a predicate that it is part of, innermost first.
        self._asked = [
            [i for i, done in enumerate(self._predicates) if done is not None and begin[i] <= stage < end[i]]
            for stage in range(count)
        ]
        self._after = end
        # What is done when a node is: itself, and those above it that have no predicate and end with it.
        self._done_with = np.eye(len(nodes), dtype=np.bool_)
        for i in range(len(nodes)):
            above = parent.get(i)
            while above is not None and self._predicates[above] is None and end[above] == end[i]:
                self._done_with[i, above] = True
                above = parent.get(above)

    @property
    def active(self) -> NDArray[np.int64]:
        """The active stage of every row, its position in :attr:`Tree.stages`, int64 ``(num_envs,)``; -1: all done."""
        return np.where(self._stage < len(self.tree.stages), self._stage, -1)

    def one_hot(self, dtype: DTypeLike = np.float32) -> NDArray[Any]:
        """The active stage as a context for an agent, ``(num_envs, stages)``: one 1 a row; all 0: all done."""
        rows: NDArray[Any] = np.eye(len(self.tree.stages) + 1, len(self.tree.stages), dtype=dtype)[self._stage]
        return rows

    def reset(
        self, obs: Any, info: dict[str, Any] | None = None, reset_mask: ArrayLike | None = None
    ) -> NDArray[np.int64]:
        """Start new episodes; those that have not ended are forgotten.

        Args:
            obs: What the environment's ``reset`` returned.
            info: The same.
            reset_mask: The rows that were reset, bool ``(num_envs,)``; None: all.

        Returns:
            :attr:`active`.

        Raises:
            TypeError, ValueError: The mask has the wrong type or shape, or a ``done`` returned what it should not.
            ResetNeededError: A mask before the first reset of all rows.
        """
        if reset_mask is None:
            rows = np.ones(self.num_envs, np.bool_)
        else:
            rows = checked_reset_mask(reset_mask, self.num_envs)
            if not self._started:
                raise ResetNeededError("reset all rows first; a reset_mask is for later")
        stage, done = _restarted(rows, self._stage, self._done)
        stage, done = self._advanced(rows, obs, np.zeros(self.num_envs), info or {}, stage, done)
        self._begin(rows)
        self._stage, self._done = stage, done
        self._ended[rows] = False
        self._started = True
        return self.active

    def step(
        self,
        obs: Any,
        reward: ArrayLike,
        terminated: ArrayLike,
        truncated: ArrayLike,
        info: dict[str, Any] | None = None,
    ) -> tuple[NDArray[np.int64], TreeEpisodes]:
        """Take in a step of the environment.

        Args:
            obs: What the environment's ``step`` returned, and so on.
            reward: Numbers ``(num_envs,)``.
            terminated: Bools ``(num_envs,)``.
            truncated: The same.
            info: With ``autoreset_mode="same_step"`` it must have ``final_obs`` where episodes ended.

        Returns:
            :attr:`active`, for the next action, and the episodes that ended in this step.

        Raises:
            TypeError, ValueError: An array has the wrong type or shape, ``final_obs`` is missing, or a ``done``
                returned what it should not.
            ResetNeededError: Before the first reset; or, with ``autoreset_mode="disabled"``, a row's episode has ended.

        Nothing is changed when it raises.
        """
        if not self._started:
            raise ResetNeededError("call reset before step")
        rewards = self._checked("reward", reward, "fiub").astype(np.float64)
        ends = self._checked("terminated", terminated, "b") | self._checked("truncated", truncated, "b")
        info = info or {}
        # In next-step mode the step after an episode's end resets and is no transition.
        resets = self._ended if self._mode is AutoresetMode.NEXT_STEP else np.zeros(self.num_envs, np.bool_)
        if self._mode is AutoresetMode.DISABLED and self._ended.any():
            raise ResetNeededError(f"the episode of row {int(self._ended.argmax())} has ended; reset it first")
        ended = ends & ~resets
        restarts = self._mode is AutoresetMode.SAME_STEP and bool(ended.any())
        now = {key: value for key, value in info.items() if key.removeprefix("_") not in ("final_obs", "final_info")}
        seen = _last_seen(obs, now, info, ended) if restarts else (obs, now)
        everywhere = np.ones(self.num_envs, np.bool_)
        stage, done = _restarted(resets, self._stage, self._done)
        stage, done = self._advanced(everywhere, seen[0], rewards, seen[1], stage, done)
        done_then = done
        if restarts:
            stage, done = _restarted(ended, stage, done)
            stage, done = self._advanced(ended, obs, np.where(ended, 0.0, rewards), now, stage, done)
        # Nothing raises from here on.
        self._begin(resets)
        played = np.flatnonzero(~resets)
        self._returns[played, self._stage[played]] += rewards[played]
        self._steps[played, self._stage[played]] += 1
        episodes = self._episodes(np.flatnonzero(ended), done_then)
        if self._mode is AutoresetMode.SAME_STEP:
            self._begin(ended)
        else:
            self._ended = ended
        self._stage, self._done = stage, done
        return self.active, episodes

    def _begin(self, rows: _Rows) -> None:
        self._returns[rows] = 0.0
        self._steps[rows] = 0

    def _episodes(self, rows: NDArray[np.int64], done: _Rows) -> TreeEpisodes:
        returns = self._returns[rows] @ self._counts_for.astype(np.float64)
        steps = self._steps[rows] @ self._counts_for.astype(np.int64)
        return TreeEpisodes(rows, returns, steps, done[rows])

    def _advanced(
        self,
        rows: _Rows,
        obs: Any,
        reward: NDArray[np.float64],
        info: dict[str, Any],
        stage: NDArray[np.int64],
        done: _Rows,
    ) -> tuple[NDArray[np.int64], _Rows]:
        """Return stages and what is done, with ``rows`` moved past what is done now."""
        before, stage, done = stage, stage.copy(), done.copy()
        held: dict[int, _Rows] = {}
        for number, nodes in enumerate(self._asked):
            for node in nodes:
                here = rows & (stage == number)
                if not self._cascade:
                    here &= before == number
                if not here.any():
                    break
                if node not in held:
                    held[node] = self._holds(node, obs, reward, info)
                passed = here & held[node]
                stage[passed] = self._after[node]
                done[passed] |= self._done_with[node]
        return stage, done

    def _holds(self, node: int, obs: Any, reward: NDArray[np.float64], info: dict[str, Any]) -> _Rows:
        predicate = self._predicates[node]
        assert predicate is not None
        found = np.asarray(predicate(obs, reward, info))
        name = f"done of {self.tree.nodes[node]!r}"
        if found.dtype != np.bool_:
            raise TypeError(f"{name} returned {found.dtype}; must return bools")
        if found.shape != (self.num_envs,):
            raise ValueError(f"{name} returned shape {found.shape}; must be ({self.num_envs},), one for each row")
        return found

    def _checked(self, name: str, values: ArrayLike, kinds: str) -> NDArray[Any]:
        array: NDArray[Any] = np.asarray(values)
        if array.shape != (self.num_envs,):
            raise ValueError(f"{name} has shape {array.shape}; must be ({self.num_envs},), one for each row")
        if array.dtype.kind not in kinds:
            raise TypeError(f"{name} must be {'bools' if kinds == 'b' else 'real numbers'}, got {array.dtype}")
        return array


def _restarted(rows: _Rows, stage: NDArray[np.int64], done: _Rows) -> tuple[NDArray[np.int64], _Rows]:
    return np.where(rows, 0, stage), done & ~rows[:, None]


def _last_seen(obs: Any, now: dict[str, Any], info: dict[str, Any], ended: _Rows) -> tuple[Any, dict[str, Any]]:
    """Return observations and infos of the step itself, where the rows that ended show the next episode's start."""
    if "final_obs" not in info:
        raise ValueError("info has no 'final_obs', but episodes ended with autoreset_mode='same_step'")
    return _with_final(obs, info["final_obs"], ended), _with_final(now, info.get("final_info", {}), ended)


def _with_final(now: Any, final: Any, ended: _Rows) -> Any:
    """Put what is final in the rows that ended in place of what is there: arrays, and dicts and tuples of them."""
    if isinstance(now, dict):
        if isinstance(final, np.ndarray):  # of objects, one dict a row
            final = {key: _objects([None if row is None else row[key] for row in final]) for key in now}
        return {**now, **{key: _with_final(now.get(key), value, ended) for key, value in final.items()}}
    if isinstance(now, tuple):
        if not all(isinstance(part, (np.ndarray, dict)) for part in now):  # without a fixed size: one element a row
            return tuple(final[row] if over else now[row] for row, over in enumerate(ended))
        if isinstance(final, np.ndarray):  # of objects, one tuple a row
            final = [_objects([None if row is None else row[i] for row in final]) for i in range(len(now))]
        return tuple(_with_final(mine, its, ended) for mine, its in zip(now, final, strict=True))
    if not isinstance(now, np.ndarray):
        return final
    merged = now.copy()
    for row in np.flatnonzero(ended):
        merged[row] = final[row]
    return merged


def _objects(values: list[Any]) -> NDArray[Any]:
    array = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):  # a slice would unpack arrays
        array[i] = value
    return array
