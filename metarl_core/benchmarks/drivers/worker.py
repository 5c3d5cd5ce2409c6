"""The process that runs one driver: it reads commands as JSON lines and answers each with one line.

Commands: ``{"op": "hello"}``, ``{"op": "prepare", "workload", "params"}``, ``{"op": "release"}``, ``{"op": "exit"}``
and ``{"op": "measure", "contestant", "case", "params", "seconds"}``. Answers have ``"ok"`` and results or ``"error"``.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import platform
import sys
from typing import Any, TextIO

from .base import Contestant, Driver, UnsupportedError, WrongResultError


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:300] if text else type(error).__name__


class Worker:
    """Answers the commands for one driver; usable in the same process too."""

    def __init__(self, module: str) -> None:
        self.driver: Driver = importlib.import_module(f".{module}", __package__).DRIVER
        self._contestants: dict[str, Contestant] = {}

    def handle(self, command: dict[str, Any]) -> dict[str, Any]:
        """Carry out one command; errors become answers."""
        try:
            operation = {
                "hello": self._hello,
                "prepare": self._prepare,
                "measure": self._measure,
                "release": self._release,
                "exit": self._release,
            }[command["op"]]
            return {"ok": True, **operation(command)}
        except UnsupportedError as error:
            return {"ok": False, "kind": "unsupported", "error": str(error)}
        except WrongResultError as error:
            return {"ok": False, "kind": "wrong", "error": str(error)}
        except Exception as error:
            return {"ok": False, "kind": "failed", "error": _one_line(error)}

    def _hello(self, _command: dict[str, Any]) -> dict[str, Any]:
        return {"name": self.driver.name, "versions": self.driver.versions(), "python": platform.python_version()}

    def _prepare(self, command: dict[str, Any]) -> dict[str, Any]:
        self._release(command)
        answers: dict[str, Any] = {}
        for name, factory in self.driver.contestants(command["workload"], command["params"]).items():
            try:
                contestant = factory()
                answers[name] = {"ok": True, "checksum": contestant.check(), "notes": contestant.notes}
                self._contestants[name] = contestant
            except UnsupportedError as error:
                answers[name] = {"ok": False, "kind": "unsupported", "error": str(error)}
            except WrongResultError as error:
                answers[name] = {"ok": False, "kind": "wrong", "error": str(error)}
            except Exception as error:
                answers[name] = {"ok": False, "kind": "failed", "error": _one_line(error)}
        return {"contestants": answers}

    def _measure(self, command: dict[str, Any]) -> dict[str, Any]:
        contestant = self._contestants[command["contestant"]]
        return {"value": contestant.measure(command["case"], command["params"], command["seconds"])}

    def _release(self, _command: dict[str, Any]) -> dict[str, Any]:
        self._contestants.clear()
        gc.collect()
        return {}


def serve(module: str, commands: TextIO, answers: TextIO) -> None:
    """Answer commands until ``exit`` or the end of the input."""
    worker: Worker | None = None
    for line in commands:
        command = json.loads(line)
        if worker is None:
            try:
                worker = Worker(module)
            except Exception as error:
                answers.write(json.dumps({"ok": False, "kind": "failed", "error": _one_line(error)}) + "\n")
                answers.flush()
                return
        answers.write(json.dumps(worker.handle(command)) + "\n")
        answers.flush()
        if command["op"] == "exit":
            return


def main(module: str) -> None:
    """Serve on standard input and output; whatever a library prints goes to standard error instead."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    serve(module, sys.stdin, answers)
