"""Gradient steps recorded as CUDA graphs: a replay launches all of its kernels at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from metarl_core.agents.common.learner import Agent

__all__ = ["GradientStepGraphs"]

_EAGER_STEPS = 3  # before a recording, so that what is allocated or chosen once has been


@contextlib.contextmanager
def _capturable(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Let a graph record the step of Adam; a step outside of a recording would warn of it. A fused one is the same."""
    groups = [group for group in optimizer.param_groups if "capturable" in group]
    for group in groups:
        group["capturable"] = True
    try:
        yield
    finally:
        for group in groups:
            group["capturable"] = False


class GradientStepGraphs:
    """Calls a gradient step, at first as it is, then by replaying a recording of it.

    There are two recordings, with and without the figures for the log. What the step reads and writes must stay where
    it is: no state may be loaded after the first call.

    Args:
        agent: the agent that learns.
        step: the gradient step, called with ``collect``; it neither allocates outside torch nor waits.
    """

    def __init__(self, agent: Agent, step: Any) -> None:
        self._agent = agent
        self._step = step
        self._stream = torch.cuda.Stream(agent.device)  # type: ignore[no-untyped-call]
        self._eager = {False: 0, True: 0}
        self._graphs: dict[bool, torch.cuda.CUDAGraph] = {}
        self._stats: Mapping[str, Any] = {}  # where the recording with figures writes them

    def __call__(self, collect: bool) -> None:
        """Take one gradient step."""
        if self._eager[collect] < _EAGER_STEPS:
            self._eager[collect] += 1
            self._call_eagerly(collect)
            return
        if collect not in self._graphs:
            self._record(collect)
        self._graphs[collect].replay()
        if collect:
            self._agent.stats = self._stats

    def _call_eagerly(self, collect: bool) -> None:
        # On the stream of the recordings, as gradients are accumulated on that where a parameter was first used.
        current = torch.cuda.current_stream(self._agent.device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            self._step(collect)
        current.wait_stream(self._stream)

    def _record(self, collect: bool) -> None:
        graph = torch.cuda.CUDAGraph()
        with _capturable(self._agent.optimizer), torch.cuda.graph(graph, stream=self._stream):
            self._step(collect)
        self._graphs[collect] = graph
        if collect:
            self._stats = self._agent.unread_stats()
