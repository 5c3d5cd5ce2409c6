"""What a worker process does."""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection
from typing import Any

import cloudpickle  # type: ignore[import-untyped]

from metarl_core.vector.wrapped.arrays import SharedMemory
from metarl_core.vector.wrapped.group import EnvGroup, Outcome
from metarl_core.vector.wrapped.workers import Failure, answer

__all__ = ["serve"]


def _end_with(parent: int) -> None:
    """End this process when its parent is gone, even in the midst of a step that never ends."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def serve(pipe: Connection, memory_descriptor: int) -> None:
    """Answer questions until told to close, or until the other end is gone."""
    sys.argv[1:] = []  # they were for the start of this process; packages that look find none
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    group: EnvGroup | None = None
    try:
        failure: Failure | None = None
        try:
            group = EnvGroup(cloudpickle.loads(pipe.recv_bytes()))
        except (EOFError, OSError):
            raise
        except Exception as error:
            failure = Failure(-1, error)
        memory = SharedMemory(memory_descriptor)
        while (question := pipe.recv_bytes()) != b"close":
            method, arguments = _parsed(question)
            if method == "attach_memory":
                arguments = (memory, *arguments)
            found = failure if group is None else answer(group, method, arguments)
            pipe.send_bytes(_encoded(found))
            if method == "attach_memory":
                memory.close()
    except (EOFError, OSError):
        pass  # the caller is gone
    finally:
        if group is not None:
            with contextlib.suppress(Exception):
                group.close()
        pipe.close()


def _parsed(question: bytes) -> tuple[str, tuple[Any, ...]]:
    if not question.startswith(b"\x80"):  # what a pickle begins with
        return question.decode(), ()
    method, arguments = cloudpickle.loads(question)
    return method, arguments


def _encoded(found: Any) -> bytes:
    if found is None or (isinstance(found, Outcome) and not found):
        return b""
    if isinstance(found, Failure):
        found = _portable(found)
    try:
        return pickle.dumps(found, protocol=5)
    except Exception:
        pass
    try:
        encoded: bytes = cloudpickle.dumps(found)
        return encoded
    except Exception as error:
        return pickle.dumps(_portable(Failure(-1, TypeError(f"what the environment gave cannot be pickled: {error}"))))


def _portable(failure: Failure) -> Failure:
    """Return the failure with its traceback as text, and with an exception that can be sent."""
    text = "".join(traceback.format_exception(failure.error))
    error = failure.error
    try:
        if type(pickle.loads(pickle.dumps(error))) is not type(error):
            raise TypeError
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    return Failure(failure.row, error, text)
