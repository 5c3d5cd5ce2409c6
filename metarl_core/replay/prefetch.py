"""Sampling ahead of the learner, in a thread of its own and still reproducible."""

from __future__ import annotations

import atexit
import contextlib
import operator
import os
import queue
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, overload

from metarl_core.errors import ClosedError

if TYPE_CHECKING:
    from types import TracebackType

    from numpy.typing import ArrayLike, NDArray
    from typing_extensions import Self

    from metarl_core.replay.batch import Batch
    from metarl_core.replay.buffers import PrioritizedReplayBuffer, ReplayBuffer

__all__ = ["PrefetchSampler"]

_T = TypeVar("_T")

# A worker that is stuck in somebody's transform may not keep the interpreter from exiting for longer.
_EXIT_SECONDS = 5.0


class _Draw(NamedTuple):
    """A posted draw, as the worker finds it in its queue."""

    shared: _Shared
    number: int
    attempt: int
    arguments: dict[str, Any]


class _Result(NamedTuple):
    batch: Any  # as sampled
    value: Any  # as transformed
    error: BaseException | None


class _Shared:
    """What the sampler and its worker both see.

    Every attribute has one writer, the worker, and changes by one assignment; the learner only waits for it to change.
    So there is no lock that an interrupt could leave locked.
    """

    def __init__(self, sample: Callable[..., Any], transform: Callable[[Any], Any] | None) -> None:
        self.sample = sample
        self.transform = transform
        self.num_drawn = 0
        self.results: dict[int, _Result] = {}
        self.failed_attempt = -1
        self.failure: BaseException | None = None
        # A binary semaphore: locked as long as there is no news.
        self.news = threading.Lock()
        self.news.acquire()

    def tell(self) -> None:
        with contextlib.suppress(RuntimeError):  # the last news was not seen yet
            self.news.release()


def _draw(job: _Draw) -> Any:
    """Sample, in the worker; None if there is nothing to transform."""
    shared = job.shared
    # After a failed draw the ones posted behind it are void, and a post that an interrupt cut short is repeated.
    if job.attempt <= shared.failed_attempt or job.number != shared.num_drawn:
        return None
    try:
        batch = shared.sample(**job.arguments)
    except BaseException as error:
        shared.failure = error
        shared.failed_attempt = job.attempt
        shared.tell()
        return None
    if shared.transform is None:
        shared.results[job.number] = _Result(batch, batch, None)
    shared.num_drawn = job.number + 1
    shared.tell()
    return None if shared.transform is None else batch


def _transform(job: _Draw, batch: Any) -> None:
    shared = job.shared
    assert shared.transform is not None
    try:
        result = _Result(batch, shared.transform(batch), None)
    except BaseException as error:
        result = _Result(batch, None, error)
    shared.results[job.number] = result
    shared.tell()


def _work(jobs: queue.SimpleQueue[_Draw | None]) -> None:
    """Life of the worker. While it is idle it holds nothing but its queue, so that a sampler can be collected."""
    waiting: deque[tuple[_Draw, Any]] = deque()
    while True:
        try:
            # Draws go before transforms: the learner's updates wait for them.
            job = jobs.get(block=not waiting)
        except queue.Empty:
            _transform(*waiting.popleft())
            continue
        if job is None:
            return
        batch = _draw(job)
        if batch is not None:
            waiting.append((job, batch))
        del job, batch


_workers: weakref.WeakKeyDictionary[threading.Thread, queue.SimpleQueue[_Draw | None]] = weakref.WeakKeyDictionary()


@atexit.register
def _stop_workers() -> None:
    """At exit: a daemon thread must not be inside the extension when the interpreter goes."""
    workers = list(_workers.items())
    for _, jobs in workers:
        jobs.put(None)
    for thread, _ in workers:
        thread.join(_EXIT_SECONDS)


class PrefetchSampler(Generic[_T]):
    """Iterator over batches that a thread draws ahead, while the learner works on the ones before.

    The result does not depend on timing: batch k is drawn after update k - ``depth``, and at a fixed place in the order
    of ``add`` calls. The first ``depth`` draws are posted by the first ``next()``; update k posts draw k + ``depth``; a
    learner that asks for the next batch without an update (uniform replay) posts it by ``next()``. ``add`` and
    ``update_priorities`` wait until all posted draws were made. This holds for changes through the sampler: what is
    written to the buffer directly takes effect on the draws that happen to come later (call ``wait`` before).

    To be used by one thread at a time. The worker starts with the first ``next()`` and ends with ``close``, with the
    sampler itself or with the interpreter. A forked child has no worker: there every method but ``close`` raises
    RuntimeError.

    Args:
        buffer: The replay buffer.
        batch_size: Number of transitions B of a batch, >= 1.
        depth: Number of batches drawn ahead, >= 1. Priorities lag behind by as many updates, less one.
        transform: Called by the worker with every Batch; what it returns is what ``next()`` returns. Its time is hidden
            behind the learner's as long as it releases the GIL (NumPy and torch do).
        **sample_kwargs: Further arguments of ``buffer.sample``, for example ``beta``; see ``sample_kwargs``.

    Raises:
        ValueError: ``batch_size`` or ``depth`` is below 1, or ``out`` is among the arguments: a batch drawn ahead would
            overwrite the one in use.
        TypeError: ``batch_size`` or ``depth`` is no integer or ``transform`` cannot be called.
    """

    @overload
    def __init__(
        self: PrefetchSampler[Batch],
        buffer: ReplayBuffer | PrioritizedReplayBuffer,
        batch_size: int,
        depth: int = 2,
        transform: None = None,
        **sample_kwargs: Any,
    ) -> None: ...
    @overload
    def __init__(
        self,
        buffer: ReplayBuffer | PrioritizedReplayBuffer,
        batch_size: int,
        depth: int,
        transform: Callable[[Batch], _T],
        **sample_kwargs: Any,
    ) -> None: ...
    @overload
    def __init__(
        self,
        buffer: ReplayBuffer | PrioritizedReplayBuffer,
        batch_size: int,
        depth: int = 2,
        *,
        transform: Callable[[Batch], _T],
        **sample_kwargs: Any,
    ) -> None: ...
    def __init__(
        self,
        buffer: ReplayBuffer | PrioritizedReplayBuffer,
        batch_size: int,
        depth: int = 2,
        transform: Callable[[Batch], Any] | None = None,
        **sample_kwargs: Any,
    ) -> None:
        if transform is not None and not callable(transform):
            raise TypeError(f"transform must be callable or None, got {type(transform).__name__}")
        _refuse_out(sample_kwargs)
        self._buffer = buffer
        self._batch_size = _count(batch_size, "batch_size")
        self._depth = _count(depth, "depth")
        self._kwargs = dict(sample_kwargs)
        self._shared = _Shared(buffer.sample, transform)
        self._num_posted = 0
        self._num_returned = 0
        self._attempt = 0
        self._last: _Result | None = None
        self._worker: tuple[threading.Thread, queue.SimpleQueue[_Draw | None]] | None = None
        self._closed = False
        self._pid = os.getpid()

    @property
    def buffer(self) -> ReplayBuffer | PrioritizedReplayBuffer:
        """The replay buffer."""
        return self._buffer

    @property
    def batch_size(self) -> int:
        """Number of transitions of a batch."""
        return self._batch_size

    @property
    def depth(self) -> int:
        """Number of batches drawn ahead."""
        return self._depth

    @property
    def sample_kwargs(self) -> dict[str, Any]:
        """Arguments of ``buffer.sample`` besides the batch size, but for ``out``; change them for the draws to come."""
        return self._kwargs

    @property
    def batch(self) -> Batch | None:
        """The Batch behind what ``next()`` returned last, as it was before ``transform``."""
        return None if self._last is None else self._last.batch

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> _T:
        """Return the next batch, transformed.

        Raises:
            BufferEmptyError: Nothing is stored; the draw is repeated by the next call. Likewise for any other error of
                ``buffer.sample``.
            Exception: What ``transform`` raised; the next call returns the batch after this one.
            ClosedError: The sampler is closed.
        """
        self._check_usable()
        shared, number = self._shared, self._num_returned
        self._post()
        while number not in shared.results:
            if shared.failed_attempt == self._attempt and shared.num_drawn == number:
                failure = shared.failure
                assert failure is not None
                self._num_posted = number
                self._attempt += 1
                try:
                    raise failure
                finally:
                    shared.failure = failure = None  # its traceback holds this frame
            self._await_news()
        result = shared.results[number]
        self._last = result
        # What an interrupt cuts off before this line is repeated by the next call.
        self._num_returned = number + 1
        shared.results.pop(number, None)
        if result.error is not None:
            self._last = None
            try:
                raise result.error
            finally:
                del result
        value: _T = result.value
        return value

    def update_priorities(self, indices: Batch | ArrayLike | _T, td_errors: ArrayLike, strict: bool = False) -> None:
        """Update the buffer's priorities, then post the next draw.

        Args:
            indices: What ``next()`` returned last (transformed or not), a Batch, or slots.
            td_errors: Signed TD errors, shape (B,).
            strict: As for the buffer's ``update_priorities``, which states the errors, too.

        Raises:
            ClosedError: The sampler is closed.
        """
        self.wait()
        _refuse_out(self._kwargs)
        last = self._last
        given: Any = last.batch if last is not None and indices is last.value else indices
        self._buffer.update_priorities(given, td_errors, strict)
        if self._num_returned > 0:
            self._post()

    def add(self, **columns: Any) -> int | NDArray[Any]:
        """Store transitions at a fixed place in the order of draws; arguments, result and errors are the buffer's.

        Raises:
            ClosedError: The sampler is closed.
        """
        self.wait()
        return self._buffer.add(**columns)

    def wait(self) -> None:
        """Wait until all posted draws were made: what changes in the buffer now affects the next posted draw first.

        Raises:
            ClosedError: The sampler is closed.
            RuntimeError: The caller is the sampler's own ``transform``, or a forked child.
        """
        self._check_usable()
        shared = self._shared
        while shared.num_drawn < self._num_posted and shared.failed_attempt != self._attempt:
            self._await_news()

    def close(self) -> None:
        """End the worker and drop the batches drawn ahead; a second call does nothing.

        Draws that were posted are made before: the buffer's random stream does not depend on timing here either.
        """
        self._closed = True
        if self._worker is not None and self._pid == os.getpid():
            thread, jobs = self._worker
            jobs.put(None)
            if thread is not threading.current_thread():
                thread.join()
        self._shared.results.clear()
        self._last = None

    def __enter__(self) -> Self:
        self._check_usable()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> Any:
        raise TypeError("a PrefetchSampler cannot be pickled or copied; make one for every process and buffer")

    def _check_usable(self) -> None:
        if self._closed:
            raise ClosedError("the PrefetchSampler is closed")
        if self._pid != os.getpid():
            raise RuntimeError(
                f"the PrefetchSampler belongs to process {self._pid}, its worker does not exist in this forked child; "
                "make a new one"
            )
        if self._worker is not None and self._worker[0] is threading.current_thread():
            raise RuntimeError("the PrefetchSampler was called by its own transform, which it would wait for")

    def _post(self) -> None:
        """Post draws up to `depth` ahead of what was returned."""
        _refuse_out(self._kwargs)
        while self._num_posted < self._num_returned + self._depth:
            if self._worker is None:
                self._start()
            assert self._worker is not None
            arguments = {"batch_size": self._batch_size, **self._kwargs}
            # An interrupt between these lines posts the draw again, and the worker skips the second one.
            self._worker[1].put(_Draw(self._shared, self._num_posted, self._attempt, arguments))
            self._num_posted += 1

    def _start(self) -> None:
        jobs: queue.SimpleQueue[_Draw | None] = queue.SimpleQueue()
        thread = threading.Thread(target=_work, args=(jobs,), name="metarl-prefetch", daemon=True)
        try:
            thread.start()
            _workers[thread] = jobs
            # Ends the worker when the sampler is dropped. At exit _stop_workers does more.
            weakref.finalize(self, jobs.put, None).atexit = False
        except BaseException as error:
            jobs.put(None)
            # An interrupt of Thread.start's wait can reach it between the two steps of a condition: CPython then raises
            # "release unlocked lock" in its place.
            if isinstance(error, RuntimeError) and error.__context__ is not None:
                raise error.__context__ from None
            raise
        self._worker = thread, jobs

    def _await_news(self) -> None:
        # The timeout is for what should not happen: a worker that is gone, or two learners of which one took the news.
        if not self._shared.news.acquire(timeout=1.0) and (self._worker is None or not self._worker[0].is_alive()):
            raise RuntimeError("the PrefetchSampler's worker has ended")


def _refuse_out(arguments: dict[str, Any]) -> None:
    if "out" in arguments:
        raise ValueError("out cannot be used with a PrefetchSampler; batches drawn ahead would overwrite it")


def _count(value: Any, name: str) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an integer, got {type(value).__name__}")
    count = operator.index(value)
    if count < 1:
        raise ValueError(f"{name} is {count}; must be >= 1")
    return count
