"""Our vector environments as Tianshou's ``BaseVectorEnv``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tianshou.env import BaseVectorEnv

import metarl_core as mc

__all__ = ["MetaRLVectorEnv", "make_vector_env"]

_OF_ONE = {"action_space": "single_action_space", "observation_space": "single_observation_space"}


class MetaRLVectorEnv(BaseVectorEnv):
    """A vector environment of ``metarl_core.make_vec`` with ``autoreset_mode="same_step"``, for Tianshou's collectors.

    ``step`` gives the last observation of an episode that ended; ``reset`` of that row then hands out the one that its
    next episode has begun with. A step of some rows only (a collector that has enough episodes of the others) puts the
    others back, which native environments can. ``info`` of a step holds ``env_id``.

    Args:
        envs: the vector environment; it is this object's from now on, ``close`` closes it.

    Raises:
        ValueError: another autoreset mode.
        TypeError: observations are tuples, which Tianshou does not know.
    """

    def __init__(self, envs: Any) -> None:
        mode = envs.metadata["autoreset_mode"]
        if mode.name != "SAME_STEP":
            raise ValueError(f"envs has autoreset_mode={mode.name.lower()!r}; must be 'same_step'")
        if type(envs.single_observation_space).__name__ == "Tuple":
            raise TypeError("observations are tuples, which Tianshou does not know; choose an environment of arrays")
        # The parent's constructor would start a worker for every row.
        self.envs = envs
        self.env_num = self.wait_num = int(envs.num_envs)
        self.workers: list[Any] = []
        self.timeout = None
        self.is_async = False
        self.waiting_conn: list[Any] = []
        self.waiting_id: list[int] = []
        self.ready_id = list(range(self.env_num))
        self.is_closed = False
        self._seeds: list[int | None] = [None] * self.env_num
        self._begun: Any = None  # first observations of the rows in _ended
        self._ended = np.zeros(self.env_num, np.bool_)

    def get_env_attr(self, key: str, id: Any = None) -> list[Any]:  # noqa: A002 - the library's name
        """Value of an attribute for some rows: the same for all."""
        value = getattr(self.envs, _OF_ONE.get(key, key))
        return [value for _ in self._rows(id)]

    def set_env_attr(self, key: str, value: Any, id: Any = None) -> None:  # noqa: A002
        """Not there: the environments share one object."""
        raise NotImplementedError(f"set_env_attr({key!r}, ...): the environments share one object; see envs.set_tasks")

    def _rows(self, id: Any) -> NDArray[np.int64]:  # noqa: A002
        if id is None:
            return np.arange(self.env_num)
        rows = np.atleast_1d(np.asarray(id))
        if rows.ndim != 1 or rows.dtype.kind not in "iu" or len(np.unique(rows)) != len(rows):
            raise ValueError(f"id is {id!r}; must be one row, or a list of different rows")
        bad = rows[(rows < 0) | (rows >= self.env_num)]
        if bad.size:
            raise IndexError(f"id {bad[0]} is out of range for {self.env_num} environments")
        return rows.astype(np.int64)

    def reset(self, env_id: Any = None, *, seed: Any = None, **kwargs: Any) -> tuple[Any, NDArray[Any]]:
        """Start episodes.

        Args:
            env_id: the rows; by default all.
            seed: an int for the first of them, which the others count up from, or one of each.
            **kwargs: nothing.

        Returns:
            Observations [k, ...] and k infos, of the rows in their order.

        Raises:
            TypeError: another keyword.
            ValueError, IndexError: a seed or a row is wrong.
        """
        rows = self._rows(env_id)
        if kwargs:
            raise TypeError(f"reset() got an unexpected keyword argument {next(iter(kwargs))!r}")
        if seed is not None:
            self._take_seeds(rows, seed)
        fresh = np.zeros(self.env_num, np.bool_)
        fresh[rows] = True
        fresh &= ~self._ended | np.array([given is not None for given in self._seeds])
        if fresh.any():
            first = self._begun is None
            seeds = [given if chosen else None for given, chosen in zip(self._seeds, fresh, strict=True)]
            obs, _ = self.envs.reset(
                seed=seeds if any(given is not None for given in seeds) else None,
                options=None if first or fresh.all() else {"reset_mask": fresh},
            )
            self._keep(obs, fresh)
            if first:  # starts all rows: the others wait for their reset as those do whose episode has ended
                self._ended[:] = True
            self._seeds = [None if chosen else given for given, chosen in zip(self._seeds, fresh, strict=True)]
        self._ended[rows] = False
        return _taken(self._begun, rows), np.array([{} for _ in rows], dtype=object)

    def _take_seeds(self, rows: NDArray[np.int64], seed: Any) -> None:
        seeds = [seed + i for i in range(len(rows))] if isinstance(seed, (int, np.integer)) else list(seed)
        if len(seeds) != len(rows):
            raise ValueError(f"seed has length {len(seeds)}; must be {len(rows)}")
        for row, given in zip(rows, seeds, strict=True):
            self._seeds[row] = None if given is None else int(given)

    def _keep(self, obs: Any, where: NDArray[np.bool_]) -> None:
        """Remember the observations that episodes begin with."""
        if self._begun is None:
            self._begun = _mapped(np.copy, obs)
        for kept, new in zip(_arrays(self._begun), _arrays(obs), strict=True):
            kept[where] = new[where]

    def step(self, action: Any, id: Any = None) -> tuple[Any, Any, Any, Any, Any]:  # noqa: A002
        """Step some rows.

        Args:
            action: an action of every row asked for, array or tensor.
            id: the rows; by default all.

        Returns:
            Observations [k, ...], rewards, terminated, truncated (k each) and k infos, of the rows in their order.

        Raises:
            ResetNeededError: a row has ended, or was never reset.
            ValueError, TypeError, IndexError: an action or a row is wrong.
        """
        if action is None:
            raise ValueError("action is None; must be an action of every row")
        rows = self._rows(id)
        given = np.asarray(action.detach().cpu() if hasattr(action, "detach") else action)
        if len(given) != len(rows):
            raise ValueError(f"action has length {len(given)}; must be {len(rows)}, one of every row")
        if self._ended[rows].any():
            over = rows[self._ended[rows]].tolist()
            raise mc.ResetNeededError(f"the episodes of rows {over} have ended, or not begun; reset them first")
        others = np.setdiff1d(np.arange(self.env_num), rows)
        saved = self._state_of(others) if len(others) else None
        actions = np.empty((self.env_num, *given.shape[1:]), given.dtype)
        actions[others] = given[0]  # one that is legal
        actions[rows] = given
        obs, reward, terminated, truncated, _ = self.envs.step(actions)
        if saved is not None:
            self.envs.set_state(saved, rows=others)
        ended = terminated | truncated
        ended[others] = False
        if ended.any():
            self._keep(obs, ended)
            last, _ = self.envs.final_obs_dense()
            for shown, final in zip(_arrays(obs), _arrays(last), strict=True):
                shown[ended] = final[ended]
            self._ended |= ended
        infos = np.array([{"env_id": int(row)} for row in rows], dtype=object)
        return _taken(obs, rows), reward[rows], terminated[rows], truncated[rows], infos

    def _state_of(self, rows: NDArray[np.int64]) -> Any:
        if not hasattr(self.envs, "get_state"):
            raise TypeError(
                f"{len(rows)} rows are not to be stepped, which native environments only can; collect n_step, or use "
                "tianshou.env.SubprocVectorEnv"
            )
        return self.envs.get_state(rows)

    def seed(self, seed: int | Sequence[int | None] | None = None) -> list[list[int] | None]:
        """Seed the next reset: row i with ``seed`` + i, or with the i-th of a list; and samples of the action space."""
        if seed is None:
            self._seeds = [None] * self.env_num
            return [None] * self.env_num
        self._take_seeds(np.arange(self.env_num), seed)
        self.envs.single_action_space.seed(self._seeds[0])
        return [None if given is None else [given] for given in self._seeds]

    def render(self, **kwargs: Any) -> list[Any]:
        """Pictures of all environments, where ``render_mode`` is "rgb_array"."""
        pictures = self.envs.render(**kwargs)
        return [None] * self.env_num if pictures is None else list(pictures)

    def close(self) -> None:
        """Close the environments."""
        self.envs.close()
        self.is_closed = True


def _mapped(function: Any, obs: Any) -> Any:
    return {name: _mapped(function, part) for name, part in obs.items()} if isinstance(obs, dict) else function(obs)


def _arrays(obs: Any) -> list[NDArray[Any]]:
    """The arrays of nested dicts, in order."""
    return [array for part in obs.values() for array in _arrays(part)] if isinstance(obs, dict) else [obs]


def _taken(obs: Any, rows: NDArray[np.int64]) -> Any:
    """Rows of observations; of dicts a dict for every row, as the library's vector environments give them."""
    if not isinstance(obs, dict):
        return obs[rows]
    return np.array([_mapped(lambda part, row=row: part[row], obs) for row in rows], dtype=object)


def make_vector_env(env_id: str, num_envs: int, *, seed: int | None = None, **options: Any) -> MetaRLVectorEnv:
    """Make native environments for Tianshou.

    Args:
        env_id: as in ``metarl_core.make_vec``.
        num_envs: number of environments.
        seed: of the first reset: row i gets seed + i.
        **options: of ``metarl_core.make_vec``: parameters of the environment, ``num_threads`` ...

    Raises:
        ValueError: unknown environment, or a value is out of range.
        TypeError: the environment's observations are tuples.
    """
    env = MetaRLVectorEnv(mc.make_vec(env_id, num_envs, autoreset_mode="same_step", dense_final_obs=True, **options))
    if seed is not None:
        env.seed(seed)
    return env
