"""Transitions from several processes into one buffer, through shared memory."""

from __future__ import annotations

import contextlib
import operator
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from metarl_core import _core
from metarl_core.errors import ClosedError
from metarl_core.replay.streams import core_options

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from metarl_core.replay.buffers import PrioritizedReplayBuffer, ReplayBuffer

__all__ = ["SharedWriter", "SharedWriters", "WriterStats"]


class WriterStats(NamedTuple):
    """One writer as the learner sees it.

    Attributes:
        pid: Process that has the lane, 0 if none has.
        alive: Whether that process runs.
        rows: Rows published so far, by all processes that had the lane.
        drained: Rows of these that are in the buffer.
        dropped: Rows that were given up, as the lane was full (TimeoutError or Ctrl-C).
    """

    pid: int
    alive: bool
    rows: int
    drained: int
    dropped: int


class SharedWriter(_core.LaneWriter):
    """A writer's end of SharedWriters: pass it to the process that writes, by fork or pickled.

    The first ``add`` takes the lane for its process, ``close`` or the end of the process gives it back. One process and
    one handle at a time have a lane; after the death of a process another one goes on with it.
    """

    def __init__(
        self, path: str, lane: int, columns: list[Any], options: dict[str, Any], structure: Any, timeout: float | None
    ) -> None:
        super().__init__(path, lane, columns, options, structure)
        self.timeout = timeout
        self._arguments = (path, lane, columns, options, structure)

    @property
    def lane(self) -> int:
        """Number of the lane, in [0, num_writers)."""
        return self._arguments[1]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (*self._arguments, self.timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class SharedWriters:
    """Lanes in shared memory through which other processes write into a buffer.

    Every writer has a lane of its own: a ring of ``slots`` rows with one producer and one consumer, without locks. Rows
    of one ``add`` appear together or not at all, so that a writer that is killed loses at most the call it was in, and
    neither disturbs the others nor the learner. ``drain`` moves what was published into the buffer.

    With several environments (``num_envs``) every writer passes the ``env_ids`` that belong to it; no two writers may
    share one.

    The file is in /dev/shm, or in the temporary folder where that does not exist or is full, and private to this user.
    It is removed by ``close``, at exit, and, if this process is killed, by the next SharedWriters of the same user.

    Args:
        buffer: The replay buffer, of this process.
        num_writers: Number of lanes, >= 1.
        slots: Rows that a lane holds, >= 1; the largest ``add`` of a writer.
        folder: Folder of the file; chosen as above by default.

    Raises:
        ValueError: A number is too small, or the buffer follows episodes (n_step, frame_stack, ...) and has fewer
            environments than writers.
        OSError: The file cannot be made, for example as the file system is full.
        RuntimeError: The system has no POSIX shared memory.
    """

    def __init__(
        self,
        buffer: ReplayBuffer | PrioritizedReplayBuffer,
        num_writers: int,
        slots: int = 1024,
        folder: str | os.PathLike[str] | None = None,
    ) -> None:
        self._buffer = buffer
        self._columns = [(name, shape, dtype) for name, (shape, dtype) in buffer.columns.items()]
        self._options = core_options(buffer._options, self._columns)
        self._structure = buffer._structure
        self._pid = os.getpid()
        self._closed = False
        _remove_leftovers()
        self._lanes, self._path = _create(buffer, num_writers, slots, folder)
        self._num_writers = num_writers
        # With the object, or at exit, before multiprocessing waits for its processes: one that waits for room in its
        # lane would keep both waiting.
        from multiprocessing import util

        self._finalizer = util.Finalize(self, _remove, (self._lanes, self._path), exitpriority=100)

    @property
    def num_writers(self) -> int:
        """Number of lanes."""
        return self._num_writers

    @property
    def path(self) -> Path:
        """The shared file."""
        return self._path

    def writer(self, index: int, timeout: float | None = None) -> SharedWriter:
        """Return the handle of a lane, for the process that writes.

        Args:
            index: Number of the lane, in [0, num_writers).
            timeout: Seconds that ``add`` waits while the lane is full, before TimeoutError; None for no limit.

        Raises:
            IndexError: There is no such lane.
            ClosedError: The lanes are closed.
        """
        self._check_usable()
        index = self._lane_number(index)
        return SharedWriter(str(self._path), index, self._columns, self._options, self._structure, timeout)

    def drain(self, max_rows: int | None = None) -> int:
        """Move published rows into the buffer, lane after lane.

        Args:
            max_rows: Largest number of rows to move; the next call goes on with the lane after. All by default.

        Returns:
            Number of rows moved.

        Raises:
            ClosedError: The lanes are closed.
            RuntimeError: A lane holds what no writer of this package writes.
        """
        self._check_usable()
        return self._lanes.drain(max_rows)

    def stats(self) -> list[WriterStats]:
        """Return the counters of every lane."""
        self._check_usable()
        return [WriterStats(*self._lanes.stats(index)) for index in range(self._num_writers)]

    def alive(self) -> list[bool]:
        """Return for every lane whether a living process has it."""
        return [stats.alive for stats in self.stats()]

    def close(self) -> None:
        """Remove the file; writers get ClosedError, and rows that were not drained are lost. May be called twice."""
        self._closed = True
        self._finalizer()

    def __enter__(self) -> Self:
        self._check_usable()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> Any:
        raise TypeError("SharedWriters cannot be pickled or copied; pass writer(i) to the processes")

    def _check_usable(self) -> None:
        if self._closed:
            raise ClosedError("the SharedWriters are closed")
        if self._pid != os.getpid():
            raise RuntimeError(f"the SharedWriters belong to process {self._pid}; here only their writers may be used")

    def _lane_number(self, index: Any) -> int:
        if isinstance(index, bool) or not hasattr(index, "__index__"):
            raise TypeError(f"index must be an integer, got {type(index).__name__}")
        number = operator.index(index)
        if not 0 <= number < self._num_writers:
            raise IndexError(f"index {number} out of range for {self._num_writers} writers")
        return number


def _namespace() -> str:
    """Process ids mean something only within one of these."""
    try:
        return str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        return "0"


def _folders() -> list[Path]:
    import tempfile  # late: it brings compression and random numbers along

    shared = Path("/dev/shm")
    folders = [shared] if shared.is_dir() and os.access(shared, os.W_OK) else []
    return [*folders, Path(tempfile.gettempdir())]


def _create(
    buffer: Any, num_writers: int, slots: int, folder: str | os.PathLike[str] | None
) -> tuple[_core.SharedLanes, Path]:
    folders = _folders() if folder is None else [Path(folder)]
    name = f"metarl-lanes-{_namespace()}-{os.getpid()}-{os.urandom(8).hex()}"
    while True:
        path = folders.pop(0) / name
        try:
            return _core.SharedLanes(buffer, str(path), num_writers, slots), path
        except OSError:
            if not folders:
                raise


def _remove(lanes: _core.SharedLanes, path: Path) -> None:
    """Run by this process only: a Finalize does nothing in a forked child."""
    lanes.close()
    with contextlib.suppress(OSError):
        path.unlink()


def _remove_leftovers() -> None:
    """Remove files of processes that were killed; their names say which."""
    if not sys.platform.startswith("linux"):
        return
    pattern = re.compile(rf"metarl-lanes-{_namespace()}-(\d+)-[0-9a-f]+")
    for folder in _folders():
        for path in folder.glob("metarl-lanes-*"):
            match = pattern.fullmatch(path.name)
            if match and not Path("/proc", match[1]).exists():
                with contextlib.suppress(OSError):
                    path.unlink()
