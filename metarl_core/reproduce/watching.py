"""What runs of cells of any kind have in common: their order, who follows them, what became of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

__all__ = ["NullWatcher", "Outcome", "RunnableCell", "Watcher", "first_seeds_first"]


class RunnableCell(Protocol):
    """A run of an experiment: one method, one problem, one seed."""

    @property
    def label(self) -> str:
        """A name for people and for files."""
        ...

    @property
    def key(self) -> tuple[Any, ...]:
        """What a row of the CSV belongs to; the seed is the last of it."""
        ...


class Watcher(Protocol):
    """Who follows the cells."""

    def started(self, cell: RunnableCell, resumed: bool) -> None:
        """A cell's process was started."""

    def finished(self, cell: RunnableCell) -> None:
        """A cell's row was written."""

    def failed(self, cell: RunnableCell, reason: str, log: Path) -> None:
        """A cell's process ended with an error."""

    def tick(self, running: Sequence[tuple[RunnableCell, float]]) -> None:
        """Called a few times a second with the running cells and the share of their budget that they have used."""

    def should_stop(self) -> bool:
        """Whether to end the running cells and start no more."""
        ...


class NullWatcher:
    """Nobody."""

    def started(self, cell: RunnableCell, resumed: bool) -> None:
        """Do nothing."""

    def finished(self, cell: RunnableCell) -> None:
        """Do nothing."""

    def failed(self, cell: RunnableCell, reason: str, log: Path) -> None:
        """Do nothing."""

    def tick(self, running: Sequence[tuple[RunnableCell, float]]) -> None:
        """Do nothing."""

    def should_stop(self) -> bool:
        """Return False."""
        return False


@dataclasses.dataclass
class Outcome:
    """What became of the cells."""

    finished: int = 0
    failed: list[tuple[RunnableCell, str]] = dataclasses.field(default_factory=list)
    interrupted: bool = False


CellT = TypeVar("CellT", bound=RunnableCell)


def first_seeds_first(cells: Sequence[CellT]) -> list[CellT]:
    """Cells with every combination's first seed before any second one: what an interruption leaves is balanced."""
    counts: dict[tuple[Any, ...], int] = {}
    order = []
    for number, cell in enumerate(cells):
        rank = counts[cell.key[:-1]] = counts.get(cell.key[:-1], -1) + 1
        order.append((rank, number))
    return [cells[number] for _, number in sorted(order)]
