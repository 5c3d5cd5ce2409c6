"""Set-up that all tests share."""

from __future__ import annotations

import importlib.metadata
import os
import signal
import threading
from typing import Any

import pytest

# Jobs in the background of a shell are started with SIGINT ignored, and hand that on to the processes they start: tests
# of Ctrl-C would wait for ever.
if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What must be there: METARL_REQUIRE=torchrl,torch makes every skip a failure, and prints the versions.
REQUIRED = [name for name in os.environ.get("METARL_REQUIRE", "").split(",") if name]


def pytest_report_header() -> list[str]:
    return [f"required: {name} {_version(name)}" for name in REQUIRED]


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "(no distribution of this name)"


def _unskipped(report: Any) -> Any:
    if REQUIRED and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"a skip, where METARL_REQUIRE={','.join(REQUIRED)} allows none: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Any:
    return _unskipped((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Any:
    return _unskipped((yield))
