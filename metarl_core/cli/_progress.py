"""What the user sees while training: a live bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["LiveProgress", "PlainProgress", "StopSignal", "make_progress"]

_RATE_WINDOW_SECONDS = 20.0


class StopSignal:
    """Turns the first SIGINT or SIGTERM into a request to stop at the next step; a second SIGINT interrupts at once.

    Only the main thread can install handlers; elsewhere this does nothing. The handler itself prints nothing: it may
    run in the middle of another print.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _: FrameType | None) -> None:
        if self.received is not None:
            raise KeyboardInterrupt
        self.received = number


class _Meter:
    """Steps per second over the last seconds, and the time left."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, int]] = deque()

    def add(self, now: float, step: int) -> None:
        self._points.append((now, step))
        while len(self._points) > 2 and now - self._points[0][0] > _RATE_WINDOW_SECONDS:
            self._points.popleft()

    @property
    def rate(self) -> float | None:
        if len(self._points) < 2:
            return None
        (t0, s0), (t1, s1) = self._points[0], self._points[-1]
        return (s1 - s0) / (t1 - t0) if t1 > t0 else None

    def seconds_left(self, step: int, total_steps: int) -> float | None:
        rate = self.rate
        return max(0, total_steps - step) / rate if rate else None


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "--:--"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _share(step: int, total_steps: int) -> str:
    """Percentage done; the last step of all instances together may go beyond the total."""
    return f"{min(1.0, step / total_steps):4.0%}"


def _number(value: Any, form: str = ".3g") -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:{form}}"


def _facts(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    facts = [
        ("return", _number(row.get("return_mean"))),
        ("max", _number(row.get("return_max"))),
        ("loss", _number(row.get("loss"))),
        ("intrinsic", _number(row.get("intrinsic_reward_mean"))),
        ("episodes", _number(row.get("episodes"))),
    ]
    if row.get("round") is not None:
        facts.insert(0, ("round", _number(row["round"])))
    if row.get("solved") is not None:
        facts.append(("solved", "yes" if row["solved"] else "no"))
    return [fact for fact in facts if fact[1] != "-"]


class PlainProgress:
    """Prints a line every few seconds, and one at the end."""

    interval = 5.0

    def __init__(self, stop: Callable[[], bool], stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stop, self._stream, self._clock = stop, stream, clock
        self._meter = _Meter()
        self._next = -math.inf
        self._last: tuple[int, int, Mapping[str, Any]] | None = None
        self._printed = -1
        self._told = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._last is not None and self._last[0] != self._printed:
            self._print(*self._last)

    @property
    def started(self) -> bool:
        """Whether a step was made."""
        return self._last is not None

    def should_stop(self) -> bool:
        """Whether Ctrl-C was pressed; says so once."""
        stop = self._stop()
        if stop and not self._told:
            self._told = True
            self.note("stopping: writing a checkpoint (Ctrl-C again to stop without it)")
        return stop

    def note(self, text: str) -> None:
        """Show a line of text."""
        print(text, file=self._stream, flush=True)

    def update(self, step: int, total_steps: int, row: Mapping[str, Any]) -> None:
        """Take the state of the run; prints at most every ``interval`` seconds."""
        self._last = (step, total_steps, row)
        now = self._clock()
        if now < self._next:
            return
        first = self._next == -math.inf
        self._meter.add(now, step)
        self._next = now + self.interval
        # The first call comes within the first step: nothing to say yet, but the rate is counted from here.
        if not first:
            self._print(step, total_steps, row)

    def _print(self, step: int, total_steps: int, row: Mapping[str, Any]) -> None:
        self._printed = step
        rate = _number(self._meter.rate, ",.0f")
        left = _duration(self._meter.seconds_left(step, total_steps))
        parts = [_share(step, total_steps), f"step {step:,}/{total_steps:,}", f"{rate} steps/s", f"left {left}"]
        print("  ".join(parts + [f"{name} {value}" for name, value in _facts(row)]), file=self._stream, flush=True)


class LiveProgress(PlainProgress):
    """A bar with the latest figures below it, redrawn in place a few times a second. Needs rich."""

    interval = 0.2

    def __init__(self, stop: Callable[[], bool], stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(stop, stream, clock)
        from rich.console import Console
        from rich.live import Live

        self._console = Console(file=stream)
        # Redrawn from update(): a refresh thread would compete with training for the interpreter.
        self._live = Live(console=self._console, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self._live.stop()

    def note(self, text: str) -> None:
        """Show a line of text above the bar."""
        self._console.print(text, style="yellow", highlight=False)

    def _print(self, step: int, total_steps: int, row: Mapping[str, Any]) -> None:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        self._printed = step
        bar = Table.grid(padding=(0, 1), expand=True)
        bar.add_column()
        bar.add_column(ratio=1)
        for _ in range(3):
            bar.add_column(no_wrap=True, justify="right")
        rate = _number(self._meter.rate, ",.0f")
        bar.add_row(
            Text(_share(step, total_steps), style="bold"),
            ProgressBar(total=total_steps, completed=min(step, total_steps)),
            Text(f"{step:,}/{total_steps:,}"),
            Text(f"{rate} steps/s", style="cyan"),
            Text(f"{_duration(self._meter.seconds_left(step, total_steps))} left", style="dim"),
        )
        facts = Text()
        for name, value in _facts(row):
            facts.append(f"{name} ", style="dim")
            facts.append(value, style="bold green" if (name, value) == ("solved", "yes") else "bold")
            facts.append("  ")
        self._live.update(Group(bar, facts), refresh=True)


def make_progress(stop: Callable[[], bool], stream: TextIO | None = None) -> PlainProgress:
    """Return the live bar if ``stream`` (default: stdout) is a terminal and rich is installed, else plain lines."""
    stream = sys.stdout if stream is None else stream
    if stream.isatty():
        try:
            return LiveProgress(stop, stream)
        except ImportError:
            pass
    return PlainProgress(stop, stream)
