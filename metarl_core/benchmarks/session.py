"""Sessions with the worker processes: send a command, wait for its answer."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import tempfile
from pathlib import Path
from typing import Any

DRIVERS = Path(__file__).resolve().parent / "drivers"
PREPARE_TIMEOUT = 240.0
MEASURE_TIMEOUT = 60.0

# The drivers are loaded from their files under a name of their own, as the peers' environments do not have metarl_core.
_BOOTSTRAP = """
import importlib.util, sys
folder, module = sys.argv[1:3]
spec = importlib.util.spec_from_file_location(
    "benchmark_drivers", folder + "/__init__.py", submodule_search_locations=[folder]
)
package = importlib.util.module_from_spec(spec)
sys.modules["benchmark_drivers"] = package
spec.loader.exec_module(package)
from benchmark_drivers.worker import main
main(module)
"""


class SessionError(RuntimeError):
    """The worker process ended, or did not answer in time."""


def worker_environment(threads: int) -> dict[str, str]:
    """Return a worker's environment: as many threads as cores, no accelerator, nothing of this Python's."""
    keep = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        keep[name] = str(threads)
    return {
        **keep,
        "JAX_PLATFORMS": "cpu",
        "CUDA_VISIBLE_DEVICES": "",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONUNBUFFERED": "1",
    }


class WorkerSession:
    """A worker process; it is started by the first command and again after it died."""

    def __init__(self, python: str, driver: str, threads: int = 1) -> None:
        """Remember how to start the worker.

        Args:
            python: The interpreter of the virtual environment that has the library.
            driver: Name of the driver's module.
            threads: How many threads the library may use.
        """
        self._command = [python, "-c", _BOOTSTRAP, str(DRIVERS), driver]
        self._threads = threads
        self._process: subprocess.Popen[bytes] | None = None
        self._selector = selectors.DefaultSelector()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the session
        self._buffer = b""

    def _start(self) -> subprocess.Popen[bytes]:
        self._buffer = b""
        process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=worker_environment(self._threads),
            cwd=tempfile.gettempdir(),
        )
        assert process.stdout is not None
        self._selector.register(process.stdout, selectors.EVENT_READ)
        self._process = process
        return process

    def _last_error(self) -> str:
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - 4000))
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else "no message"

    def call(self, command: dict[str, Any], timeout: float = MEASURE_TIMEOUT) -> dict[str, Any]:
        """Send a command and return the answer.

        Raises:
            SessionError: If the worker ended or did not answer within ``timeout`` seconds; it is ended then.
        """
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(command).encode() + b"\n")
            process.stdin.flush()
            while b"\n" not in self._buffer:
                if not self._selector.select(timeout):
                    self.close(force=True)
                    raise SessionError(f"no answer to {command['op']!r} within {timeout:.0f} s")
                chunk = os.read(process.stdout.fileno(), 1 << 16)
                if not chunk:
                    raise BrokenPipeError
                self._buffer += chunk
        except BrokenPipeError:
            code = process.wait(10)
            self.close(force=True)
            raise SessionError(f"its process ended with code {code}: {self._last_error()}") from None
        line, _, self._buffer = self._buffer.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self, force: bool = False) -> None:
        """End the worker."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        self._selector.unregister(process.stdout)
        try:
            if force:
                process.kill()
            process.stdin.close()
            process.wait(10)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            process.kill()
            process.wait()
        process.stdout.close()

    def __del__(self) -> None:
        self.close(force=True)
        self._errors.close()
        self._selector.close()


class InProcessSession:
    """The same commands answered in this process: for tests and profiles of our own driver."""

    def __init__(self, worker: Any) -> None:
        self._worker = worker

    def call(self, command: dict[str, Any], timeout: float = MEASURE_TIMEOUT) -> dict[str, Any]:
        """Answer a command through the same JSON; the timeout is not enforced."""
        del timeout
        answer: dict[str, Any] = json.loads(json.dumps(self._worker.handle(json.loads(json.dumps(command)))))
        return answer

    def close(self, force: bool = False) -> None:
        """Release what the worker holds."""
        del force
        self._worker.handle({"op": "release"})
