"""A replay buffer with streams as plain Python lists, written from the documentation: slow, obvious, and the oracle."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass
class Step:
    """One transition as it was added."""

    obs: np.ndarray
    action: int
    reward: float
    next_obs: np.ndarray
    terminated: bool
    truncated: bool
    number: int = -1  # slots written before it


@dataclass
class Chain:
    """Transitions of one environment that follow one another."""

    steps: list[Step] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)  # write numbers of all stored frames, history first
    closed: bool = False

    @property
    def history(self) -> int:
        return len(self.frames) - len(self.steps)


class ListModel:
    def __init__(
        self,
        capacity: int,
        num_envs: int = 1,
        n_step: int = 1,
        gamma: float = 0.99,
        stack: int = 1,
        share: bool = False,
        skip_reset: bool = False,
        sequence: tuple[int, int, int] | None = None,  # length, burn_in, stride
    ) -> None:
        self.capacity, self.n_step, self.gamma, self.stack = capacity, n_step, gamma, stack
        self.share, self.skip_reset, self.sequence = share, skip_reset, sequence
        self.written = 0
        self.chains: list[list[Chain]] = [[] for _ in range(num_envs)]
        self.ended = [False] * num_envs

    def alive(self, number: int) -> bool:
        return self.written - number <= self.capacity

    def _close(self, chain: Chain) -> None:
        chain.closed = True
        if self.share:
            self.written += 1  # the tail

    def add(self, env: int, step: Step) -> int:
        """Return the slot, or -1."""
        if self.skip_reset and self.ended[env]:
            self.ended[env] = False
            return -1
        chains = self.chains[env]
        chain = chains[-1] if chains and not chains[-1].closed else None
        if chain is not None and not self._reaches(chain, 0):
            chain.closed = True  # by what was written in between
            chain = None
        if chain is not None and not np.array_equal(chain.steps[-1].next_obs, step.obs):
            self._close(chain)
            chain = None
        if chain is not None and not self._reaches(chain, 1):
            chain.closed = True
            chain = None
            if self.stack > 1:
                self.written += 1  # the slot that was taken from its own history
        if chain is None:
            chain = Chain()
            chains.append(chain)
            for _ in range(self._missing(step.obs)):
                chain.frames.append(self.written)
                self.written += 1
        step.number = self.written
        chain.frames.append(self.written)
        chain.steps.append(step)
        self.written += 1
        self.ended[env] = step.terminated or step.truncated
        if self.ended[env]:
            self._close(chain)
        return step.number % self.capacity

    def _reaches(self, chain: Chain, more: int) -> bool:
        """Whether the frames that the next step's stack shares with the chain survive ``more`` further slots."""
        oldest = chain.frames[-max(self.stack - 1, 1) :][0]
        return self.written + more - oldest <= self.capacity

    def _missing(self, obs: np.ndarray) -> int:
        if self.stack == 1:
            return 0
        same = 0
        while same + 1 < self.stack and np.array_equal(obs[0], obs[same + 1]):
            same += 1
        return self.stack - 1 - same

    def items(self) -> dict[int, tuple[Chain, int]]:
        """Slot -> (chain, position) of everything that may be sampled."""
        found = {}
        for chain in (chain for chains in self.chains for chain in chains):
            for position, step in enumerate(chain.steps):
                at = chain.history + position
                needed = chain.frames[max(0, at - self.stack + 1) : at + 1]
                if all(self.alive(number) for number in needed) and self._is_item(chain, position):
                    found[step.number % self.capacity] = (chain, position)
        return found

    def _is_item(self, chain: Chain, position: int) -> bool:
        if self.sequence is None:
            return True
        length, burn_in, stride = self.sequence
        if position % stride != 0:
            return False
        rest = len(chain.steps) - position
        return rest >= length or (chain.closed and rest > burn_in)

    def expected(self, chain: Chain, position: int) -> dict[str, Any]:
        """What a sample of the item holds."""
        if self.sequence is not None:
            return self._expected_sequence(chain, position)
        first = chain.steps[position]
        total, factor, last = 0.0, 1.0, first
        for step in chain.steps[position : position + self.n_step]:
            total += factor * float(np.float32(step.reward))
            last = step
            factor = 0.0 if step.terminated else factor * self.gamma
        result = {
            "obs": first.obs,
            "action": first.action,
            "reward": np.float32(total),
            "next_obs": last.next_obs,
            "terminated": last.terminated,
            "truncated": last.truncated,
        }
        if self.n_step > 1:
            result["discount"] = np.float32(factor)
        return result

    def _expected_sequence(self, chain: Chain, position: int) -> dict[str, Any]:
        length = self.sequence[0]
        steps = chain.steps[position : position + length]
        result: dict[str, Any] = {"mask": np.arange(length) < len(steps)}
        for name in ("obs", "action", "reward", "next_obs", "terminated", "truncated"):
            values = [np.asarray(getattr(step, name)) for step in steps]
            values += [np.zeros_like(values[0])] * (length - len(steps))
            result[name] = np.stack(values)
        return result
