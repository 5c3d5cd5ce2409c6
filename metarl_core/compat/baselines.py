"""The replay buffers of OpenAI Baselines (``baselines.deepq.replay_buffer``) by their signatures, over ours.

Many projects carry a copy of that file; this module takes its place. Beyond speed, these differ from the original:

- the newest transition can be drawn (the original leaves it out: it sums up to ``len - 1``);
- draws of a batch are stratified, unless ``stratified=False`` is given;
- weights are float32, indices an int64 array in place of a list;
- one dtype and shape for each argument: that of the first transition, of rewards float64;
- bad input raises ValueError or IndexError in place of AssertionError, and changes nothing.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metarl_core.replay import Batch
from metarl_core.replay import PrioritizedReplayBuffer as _Prioritized
from metarl_core.replay import ReplayBuffer as _Uniform
from metarl_core.replay.seeding import make_seeded

__all__ = ["PrioritizedReplayBuffer", "ReplayBuffer"]

_Transitions = tuple[NDArray[Any], NDArray[Any], NDArray[np.float64], NDArray[Any], NDArray[Any]]
_Weighted = tuple[
    NDArray[Any],
    NDArray[Any],
    NDArray[np.float64],
    NDArray[Any],
    NDArray[Any],
    NDArray[np.float32],
    NDArray[np.int64],
]


class ReplayBuffer:
    """Uniform replay.

    Args:
        size: number of transitions that are kept, >= 1.
        **options: of ``metarl_core.ReplayBuffer``: ``n_step``, ``next_obs="next"``, ``storage``, ``seed`` ... By
            default Python's ``random``, which the original draws from, decides what is drawn, and the file after
            ``core.restore``. A folder of ``storage`` is opened by the first ``add``.

    Raises:
        ValueError: a value is out of range; some of them only when the first transition comes.
    """

    _core: type[Any] = _Uniform

    def __init__(self, size: int, **options: Any) -> None:
        if size < 1:
            raise ValueError(f"size is {size}; must be >= 1")
        self._size = size
        self._options = {"seed": None, **options}
        self._drawn = random.randrange(1, 2**62)
        self._done_dtype: np.dtype[Any] = np.dtype(np.bool_)
        self.core: Any = None
        """The buffer itself, once the first transition has told the shapes."""

    def __len__(self) -> int:
        """Transitions that are stored."""
        return 0 if self.core is None else len(self.core)

    def add(self, obs_t: Any, action: Any, reward: Any, obs_tp1: Any, done: Any) -> None:
        """Store a transition.

        Args:
            obs_t: observation, of any shape and dtype; the first one's are those of all.
            action: likewise.
            reward: a number.
            obs_tp1: the observation after it; as ``obs_t``.
            done: whether the episode has terminated, a bool or a number.

        Raises:
            ValueError: another shape than the first transition had.
            TypeError: a dtype that does not fit the first one's.
        """
        if self.core is None:
            obs, act = np.asarray(obs_t), np.asarray(action)
            fields = {
                "obs": (obs.shape, obs.dtype),
                "action": (act.shape, act.dtype),
                "reward": ((), np.float64),
                "next_obs": (obs.shape, obs.dtype),
                "terminated": ((), np.bool_),
            }
            self.core = make_seeded(self._core, self._size, fields, drawn=self._drawn, **self._options)
            self._done_dtype = np.asarray(done).dtype
        self.core.add(obs=obs_t, action=action, reward=np.float64(reward), next_obs=obs_tp1, terminated=np.bool_(done))

    def sample(self, batch_size: int) -> _Transitions:
        """Draw a batch.

        Returns:
            ``(obs_t, action, reward, obs_tp1, done)``: arrays of shape [batch_size, ...].

        Raises:
            BufferEmptyError: nothing is stored.
        """
        return self._transitions(self._draw(batch_size))

    def _draw(self, batch_size: int, **options: Any) -> Batch:
        if self.core is None:
            # The error of an empty buffer is the core's.
            self._core(1, {"reward": ((), np.float64)}).sample(batch_size)
        batch: Batch = self.core.sample(batch_size, **options)
        return batch

    def _transitions(self, batch: Batch) -> _Transitions:
        done = batch["terminated"].astype(self._done_dtype)
        return batch["obs"], batch["action"], batch["reward"], batch["next_obs"], done


class PrioritizedReplayBuffer(ReplayBuffer):
    """Proportional prioritized replay (Schaul et al., ICLR 2016) with weights divided by the buffer's largest.

    Args:
        size: number of transitions that are kept, >= 1.
        alpha: exponent of the priorities, >= 0.
        **options: of ``metarl_core.PrioritizedReplayBuffer``, as of :class:`ReplayBuffer`.

    Raises:
        ValueError: a value is out of range; some of them only when the first transition comes.
    """

    _core = _Prioritized

    def __init__(self, size: int, alpha: float, **options: Any) -> None:
        if not alpha >= 0:
            raise ValueError(f"alpha is {alpha}; must be >= 0")
        # No smallest priority: update_priorities takes positive ones alone.
        super().__init__(size, **{"alpha": alpha, "eps": 0.0} | options)

    def sample(self, batch_size: int, beta: float) -> _Weighted:  # type: ignore[override]  # as the original
        """Draw a batch with its weights w = (n P)^-beta / max w.

        Args:
            batch_size: number of transitions.
            beta: exponent of the weights, >= 0.

        Returns:
            ``(obs_t, action, reward, obs_tp1, done, weights, idxes)``: arrays of shape [batch_size, ...]; ``weights``
            float32, ``idxes`` int64.

        Raises:
            BufferEmptyError: nothing is stored.
            ValueError: ``beta`` is negative or not finite.
        """
        batch = self._draw(batch_size, beta=beta)
        return *self._transitions(batch), batch.weights, batch.indices

    def update_priorities(self, idxes: ArrayLike, priorities: ArrayLike) -> None:
        """Set the priorities of the transitions in these slots; of equal ones the last wins.

        Args:
            idxes: of a batch, [B].
            priorities: float [B], > 0.

        Raises:
            ValueError: the lengths differ, or a priority is not positive and finite.
            IndexError: an index is out of range.
            BufferEmptyError: nothing is stored.
        """
        if self.core is None:
            self._draw(1)
        priorities = np.asarray(priorities, np.float64)
        wrong = np.flatnonzero(~(priorities > 0))
        if len(wrong):
            raise ValueError(f"priorities[{wrong[0]}] is {priorities.flat[wrong[0]]}; must be > 0")
        self.core.update_priorities(np.asarray(idxes, np.int64), priorities)
