"""What the user sees while the cells of an experiment run: a live bar in a terminal, a line for each cell elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from metarl_core.cli._progress import _duration

if TYPE_CHECKING:
    from typing_extensions import Self

    from metarl_core.reproduce.watching import RunnableCell

__all__ = ["LiveCells", "PlainCells", "make_watcher"]


_CHECKPOINTS = "stopping: the running cells write a checkpoint (Ctrl-C again to stop without it)"


class PlainCells:
    """Prints a line when a cell ends.

    Args:
        total: cells to run.
        stop: whether the user asked to stop.
        stream: where to print.
        clock: seconds.

    Attributes:
        stopping: what is said when the user asks to stop.
    """

    stopping = _CHECKPOINTS

    def __init__(
        self, total: int, stop: Callable[[], bool], stream: TextIO, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.total, self.done, self.errors = total, 0, 0
        self._stop, self._stream, self._clock = stop, stream, clock
        self._start = clock()
        self._told = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def note(self, text: str) -> None:
        """Show a line of text."""
        print(text, file=self._stream, flush=True)

    def started(self, cell: RunnableCell, resumed: bool) -> None:
        """Tell of a cell that goes on where it was interrupted."""
        if resumed:
            self.note(f"resuming {cell.label}")

    def finished(self, cell: RunnableCell) -> None:
        """Tell of a cell that has its row."""
        self.done += 1
        self.note(f"[{self.done + self.errors}/{self.total}] {cell.label}  left {self._left(0.0)}")

    def failed(self, cell: RunnableCell, reason: str, log: Path) -> None:
        """Tell of a cell that failed."""
        self.errors += 1
        self.note(f"[{self.done + self.errors}/{self.total}] {cell.label} FAILED: {reason} (see {log})")

    def tick(self, running: Sequence[tuple[RunnableCell, float]]) -> None:
        """Do nothing."""

    def should_stop(self) -> bool:
        """Whether Ctrl-C was pressed; says so once."""
        stop = self._stop()
        if stop and not self._told:
            self._told = True
            self.note(self.stopping)
        return stop

    def _left(self, started: float) -> str:
        """Time left if the other cells take as long as those so far; ``started`` counts the running ones' shares."""
        ended = self.done + self.errors
        progress = ended + started
        if progress <= 0:
            return _duration(None)
        return _duration((self._clock() - self._start) * (self.total - progress) / progress)


class LiveCells(PlainCells):
    """A bar over the cells, with the running ones below it. Needs rich."""

    def __init__(
        self, total: int, stop: Callable[[], bool], stream: TextIO, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(total, stop, stream, clock)
        from rich.console import Console
        from rich.live import Live

        self._console = Console(file=stream)
        self._live = Live(console=self._console, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def note(self, text: str) -> None:
        """Show a line of text above the bar."""
        self._console.print(text, highlight=False, markup=False)

    def tick(self, running: Sequence[tuple[RunnableCell, float]]) -> None:
        """Redraw."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        ended = self.done + self.errors
        shares = sum(share for _, share in running)
        bar = Table.grid(padding=(0, 1), expand=True)
        bar.add_column()
        bar.add_column(ratio=1)
        bar.add_column(no_wrap=True, justify="right")
        bar.add_row(
            Text(f"{ended}/{self.total} cells", style="bold"),
            ProgressBar(total=max(self.total, 1), completed=ended + shares),
            Text(f"{self.errors} failed, {self._left(shares)} left" if self.errors else f"{self._left(shares)} left"),
        )
        lines = [Text(f"  {share:4.0%}  {cell.label}", style="dim") for cell, share in running]
        self._live.update(Group(bar, *lines), refresh=True)


def make_watcher(total: int, stop: Callable[[], bool], stream: TextIO | None = None) -> PlainCells:
    """Return the live bar if ``stream`` (default: stdout) is a terminal and rich is installed, else plain lines."""
    stream = sys.stdout if stream is None else stream
    if stream.isatty():
        try:
            return LiveCells(total, stop, stream)
        except ImportError:
            pass
    return PlainCells(total, stop, stream)
