"""Who runs the environments: the caller, a thread, or a process. All answer one question at a time."""

from __future__ import annotations

import contextlib
import pickle
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from multiprocessing.connection import Pipe
from typing import Any, NamedTuple

from metarl_core.errors import WorkerError, WorkerTimeoutError
from metarl_core.vector.wrapped.arrays import RowArrays, SharedMemory
from metarl_core.vector.wrapped.group import EnvGroup, GroupPlan, RowError
from metarl_core.vector.wrapped.layout import SpaceLayout

__all__ = ["GRACE", "Failure", "ProcessWorker", "SerialWorker", "ThreadWorker", "Worker", "answer"]

GRACE = 5.0  # seconds that workers have to close their environments

# Nothing but what is needed to find this package; the caller's sys.path comes through the pipe. Ctrl-C is for the
# caller, who then ends its workers.
_BOOTSTRAP = (
    "import signal;signal.signal(signal.SIGINT,signal.SIG_IGN);"
    "import sys;sys.path[:]=[p for p in sys.path if p];"
    "from multiprocessing.connection import Connection;c=Connection(int(sys.argv[1]));sys.path[:]=c.recv();"
    "from metarl_core.vector.wrapped.process import serve;serve(c,int(sys.argv[2]))"
)


class Failure(NamedTuple):
    """An environment raised.

    Attributes:
        row: Which; -1: it is not known, or it happened while they were made.
        error: Its exception.
        traceback: The traceback, as text, where the exception has lost it on its way.
    """

    row: int
    error: BaseException
    traceback: str | None = None


def answer(group: EnvGroup, method: str, arguments: tuple[Any, ...]) -> Any:
    """Call a method of a group; an exception is returned as a :class:`Failure`."""
    try:
        return getattr(group, method)(*arguments)
    except RowError as error:
        return Failure(error.row, error.__cause__ or error)
    except Exception as error:
        return Failure(-1, error)


class Worker(ABC):
    """Runs the environments of some rows.

    Attributes:
        plan: What they are made from.
        waiting: Whether a question was asked that is not answered yet.
    """

    waiting = False

    def __init__(self, plan: GroupPlan) -> None:
        self.plan = plan

    @property
    def rows(self) -> slice:
        """Its rows."""
        return slice(self.plan.first, self.plan.first + len(self.plan.makers))

    def _named(self, busy: int) -> str:
        """Say which environment it works on, or which it has."""
        if busy > 0:
            return f"environment {busy - 1}"
        last = self.plan.first + len(self.plan.makers) - 1
        return f"environment {last}" if last == self.plan.first else f"environments {self.plan.first} to {last}"

    @abstractmethod
    def attach(self, arrays: RowArrays, obs: SpaceLayout, actions: SpaceLayout, num_envs: int) -> None:
        """Ask it to use these arrays."""

    @abstractmethod
    def ask(self, method: str, *arguments: Any) -> None:
        """Start a method of its group."""

    @abstractmethod
    def answered(self, deadline: float | None) -> Any:
        """Wait for the answer, until ``time.monotonic()`` is ``deadline``; a :class:`Failure` is an answer, too.

        Raises:
            WorkerTimeoutError: There is none in time. The worker is of no use any more.
            WorkerError: The worker ended.
        """

    @abstractmethod
    def dismiss(self) -> None:
        """Ask it to close the environments and end."""

    @abstractmethod
    def stop(self, deadline: float) -> None:
        """See to it that it has ended, by force where it has not by ``deadline``. It does not raise."""


class SerialWorker(Worker):
    """The caller runs the environments itself; there is no way to stop waiting for one."""

    _group: EnvGroup | None = None
    _question: tuple[str, tuple[Any, ...]]

    def ask(self, method: str, *arguments: Any) -> None:
        """Remember what to do."""
        self._question = method, arguments
        self.waiting = True

    def attach(self, arrays: RowArrays, obs: SpaceLayout, actions: SpaceLayout, num_envs: int) -> None:  # noqa: ARG002
        """Use these arrays."""
        self.ask("attach", arrays, obs, actions)

    def answered(self, deadline: float | None) -> Any:  # noqa: ARG002
        """Do it now."""
        self.waiting = False
        method, arguments = self._question
        try:
            if self._group is None:
                self._group = EnvGroup(self.plan)
        except Exception as error:
            return Failure(-1, error)
        return answer(self._group, method, arguments)

    def dismiss(self) -> None:
        """Nothing to do before :meth:`stop`."""

    def stop(self, deadline: float) -> None:  # noqa: ARG002
        """Close the environments."""
        if self._group is not None:
            with contextlib.suppress(Exception):
                self._group.close()
            self._group = None


class ThreadWorker(Worker):
    """A thread runs the environments. One that hangs cannot be ended: it is left behind and dies with the process."""

    def __init__(self, plan: GroupPlan) -> None:
        super().__init__(plan)
        self._questions: queue.SimpleQueue[tuple[str, tuple[Any, ...]] | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._arrays: RowArrays | None = None
        name = f"metarl_core environments from {plan.first}"
        self._thread = threading.Thread(
            target=_serve_thread, args=(plan, self._questions, self._answers), name=name, daemon=True
        )
        self._thread.start()

    def ask(self, method: str, *arguments: Any) -> None:
        """Hand the question to the thread."""
        self._questions.put((method, arguments))
        self.waiting = True

    def attach(self, arrays: RowArrays, obs: SpaceLayout, actions: SpaceLayout, num_envs: int) -> None:  # noqa: ARG002
        """Use these arrays."""
        self._arrays = arrays
        self.ask("attach", arrays, obs, actions)

    def answered(self, deadline: float | None) -> Any:
        """Wait for the thread."""
        try:
            found = self._answers.get(timeout=None if deadline is None else max(deadline - time.monotonic(), 0.0))
        except queue.Empty:
            busy = 0 if self._arrays is None else int(self._arrays.busy[self.plan.first])
            raise WorkerTimeoutError(f"{self._named(busy)} did not answer in time", env_id=busy - 1) from None
        self.waiting = False
        return found

    def dismiss(self) -> None:
        """Ask the thread to end."""
        self._questions.put(None)

    def stop(self, deadline: float) -> None:
        """Wait for the thread."""
        self._questions.put(None)
        self._thread.join(max(deadline - time.monotonic(), 0.0))


def _serve_thread(
    plan: GroupPlan,
    questions: queue.SimpleQueue[tuple[str, tuple[Any, ...]] | None],
    answers: queue.SimpleQueue[Any],
) -> None:
    group, failure = None, None
    while (question := questions.get()) is not None:
        if group is None and failure is None:
            try:
                group = EnvGroup(plan)
            except BaseException as error:
                failure = Failure(-1, error)
        try:
            answers.put(failure if group is None else answer(group, *question))
        except BaseException as error:  # SystemExit, too: whoever waits must be told
            answers.put(Failure(-1, error))
    if group is not None:
        with contextlib.suppress(Exception):
            group.close()


class ProcessWorker(Worker):
    """A process runs the environments: a new interpreter, so that neither threads nor locks nor files are inherited.

    Observations, rewards, ends and actions are in shared memory; the pipe wakes the worker up and carries infos.
    """

    def __init__(self, plan: GroupPlan, memory: SharedMemory) -> None:
        import cloudpickle  # type: ignore[import-untyped]  # comes with Gymnasium

        super().__init__(plan)
        if not sys.executable:
            raise RuntimeError("backend='process' needs sys.executable, which is not set; use 'thread' or 'serial'")
        # Before anything is started: a plan that cannot be sent is the caller's mistake.
        try:
            message = cloudpickle.dumps(plan)
        except Exception as error:
            raise TypeError(
                f"what makes the environments cannot be sent to a process ({error}); use backend='thread' or 'serial'"
            ) from error
        self._arrays: RowArrays | None = None
        self._pipe, theirs = Pipe()
        try:
            # -c and not -m: the caller's own main module is not run again.
            self._process = subprocess.Popen(
                [sys.executable, "-c", _BOOTSTRAP, str(theirs.fileno()), str(memory.descriptor)],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), memory.descriptor),
            )
        except BaseException:
            self._pipe.close()
            raise
        finally:
            theirs.close()
        self._poll = select.poll()
        self._poll.register(self._pipe, select.POLLIN)
        self._send(pickle.dumps(sys.path))
        self._send(message)

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def _send(self, message: bytes) -> None:
        try:
            self._pipe.send_bytes(message)
        except OSError:
            raise self._ended() from None

    def ask(self, method: str, *arguments: Any) -> None:
        """Wake the process up."""
        import cloudpickle

        if arguments:
            self._send(cloudpickle.dumps((method, arguments)))
        else:
            self._send(method.encode())
        self.waiting = True

    def attach(self, arrays: RowArrays, obs: SpaceLayout, actions: SpaceLayout, num_envs: int) -> None:
        """Tell the process how many rows there are, and of what; it finds the arrays by itself."""
        self._arrays = arrays
        self.ask("attach_memory", num_envs, obs.space, actions.space)

    def answered(self, deadline: float | None) -> Any:
        """Wait for the process."""
        if self._pipe.closed:
            raise self._ended()
        while True:
            left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
            if self._poll.poll(None if left is None else int(left * 1000) + 1):
                break
            if left == 0.0:
                busy = self._busy()
                raise WorkerTimeoutError(
                    f"{self._named(busy)} did not answer in time (process {self.pid})", env_id=busy - 1
                )
        try:
            message = self._pipe.recv_bytes()
        except (EOFError, OSError):
            raise self._ended() from None
        except BaseException:
            self._pipe.close()  # interrupted in the midst of a message: what follows could not be understood
            raise
        self.waiting = False
        return pickle.loads(message) if message else None

    def _busy(self) -> int:
        return 0 if self._arrays is None else int(self._arrays.busy[self.plan.first])

    def _ended(self) -> WorkerError:
        """Describe how the process ended; where only its pipe did, end it."""
        try:
            code = self._process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        how = f"exit code {code}"
        if code < 0:
            with contextlib.suppress(ValueError):
                how = f"signal {signal.Signals(-code).name}"
        busy = self._busy()
        what = f"while {self._named(busy)} was in a call" if busy else f"which has {self._named(0)}"
        return WorkerError(
            f"the worker process {self.pid}, {what}, ended with {how}",
            env_id=busy - 1,
            exit_code=code,
        )

    def dismiss(self) -> None:
        """Ask the process to end."""
        with contextlib.suppress(OSError):
            self._pipe.send_bytes(b"close")

    def stop(self, deadline: float) -> None:
        """Wait for the process to close its end; if it does not in time, kill it."""
        with contextlib.suppress(OSError, EOFError):
            # There may be answers that nobody waited for.
            while self._poll.poll(max(int((deadline - time.monotonic()) * 1000), 0)):
                self._pipe.recv_bytes()
            self._process.kill()
        self._pipe.close()
        try:
            self._process.wait(max(deadline - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
