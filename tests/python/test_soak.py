"""Resident memory, open files and threads stay flat for hours, whatever is done (``make soak``)."""

from __future__ import annotations

import gc
import mmap
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from soak_loads import LOADS

SECONDS = float(os.environ.get("METARL_SOAK_SECONDS", "3600")) / len(LOADS)
WARM_UP = 0.25  # share of the time in which pools fill, and malloc's heap takes its shape
MAX_GROWTH = 6e6
LEAK = 4_000_000

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")


@dataclass
class Usage:
    """Of this process and its children."""

    seconds: float
    resident: int
    files: int
    threads: int

    @classmethod
    def now(cls, begin: float) -> Usage:
        gc.collect()
        resident = files = threads = 0
        for process in family(os.getpid()):
            folder = Path(f"/proc/{process}")
            resident += int((folder / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            files += len(list((folder / "fd").iterdir()))
            threads += len(list((folder / "task").iterdir()))
        return cls(time.perf_counter() - begin, resident, files, threads)


def family(process: int) -> list[int]:
    """The process and all that it started."""
    children = []
    for task in Path(f"/proc/{process}/task").iterdir():
        children += [int(word) for word in (task / "children").read_text().split()]
    return [process, *(member for child in children for member in family(child))]


@dataclass
class Trend:
    """What became of a load's usage after its warm-up."""

    rounds: int
    minutes: float
    first: float
    last: float
    growth: float
    files: tuple[int, int]
    threads: tuple[int, int]

    def __str__(self) -> str:
        resident = f"{self.first / 1e6:>9.1f} {self.last / 1e6:>9.1f} {self.growth / 1e6:>+9.2f}"
        counts = f"{self.files[0]:>6} {self.files[1]:>6} {self.threads[0]:>8} {self.threads[1]:>8}"
        return f"{self.rounds:>7,} {self.minutes:>7.1f} {resident} {counts}"

    def check(self) -> None:
        """Fail unless everything stayed flat."""
        assert self.growth < MAX_GROWTH, f"resident memory grew by {self.growth / 1e6:.1f} MB"
        assert self.last - self.first < MAX_GROWTH, "resident memory rose"
        assert self.files[1] <= self.files[0], "open files rose"
        assert self.threads[1] <= self.threads[0], "threads rose"


HEADER = (
    f"\n{'':43} {'resident MB':^29} {'open files':^13} {'threads':^17}\n{'':28}{'rounds':>7} {'minutes':>7}"
    f" {'first':>9} {'last':>9} {'slope':>9} {'first':>6} {'last':>6} {'first':>8} {'last':>8}"
)


def watch(load: Iterator[None], seconds: float) -> Trend:
    """Run a load for some seconds, at least 24 looks at it, and say what its usage did after the warm-up."""
    begin, usages, rounds = time.perf_counter(), [], 0
    while (elapsed := time.perf_counter() - begin) < seconds or len(usages) < 24:
        next(load)
        rounds += 1
        if not usages or elapsed - usages[-1].seconds > seconds / 400:
            usages.append(Usage.now(begin))
    usages = usages[int(len(usages) * WARM_UP) :]
    third = max(len(usages) // 3, 1)
    first, last = usages[:third], usages[-third:]
    when = np.array([u.seconds for u in usages])
    slope = np.polyfit(when - when[0], [u.resident for u in usages], 1)[0]
    return Trend(
        rounds,
        elapsed / 60,
        float(np.median([u.resident for u in first])),
        float(np.median([u.resident for u in last])),
        slope * (when[-1] - when[0]),
        (max(u.files for u in first), max(u.files for u in last)),
        (max(u.threads for u in first), max(u.threads for u in last)),
    )


@pytest.fixture(scope="module")
def table():
    lines = [HEADER]
    yield lines
    print("\n".join(lines))


@pytest.mark.slow
@pytest.mark.parametrize("name", LOADS)
def test_flat(name: str, tmp_path: Path, table: list[str]) -> None:
    if name == "training":
        pytest.importorskip("torch")
    if name.startswith("async"):
        pytest.importorskip("gymnasium")
    trend = watch(LOADS[name](tmp_path), SECONDS)
    table.append(f"{name:28}{trend}")
    trend.check()


def leak_memory() -> Iterator[None]:
    kept = []  # mapped, because malloc would first hand out resident memory that earlier tests of the process freed
    while True:
        kept.append(mmap.mmap(-1, LEAK))
        kept[-1].write(b"x" * LEAK)
        yield


def leak_files() -> Iterator[None]:
    kept = []
    try:
        while True:
            kept.append(os.open("/proc/self/statm", os.O_RDONLY))
            yield
    finally:
        for descriptor in kept:
            os.close(descriptor)


@pytest.mark.parametrize(("leak", "found"), [(leak_memory, "resident memory grew"), (leak_files, "open files rose")])
def test_a_leak_is_found(leak, found: str) -> None:
    load = leak()
    trend = watch(load, 0.2)
    load.close()
    with pytest.raises(AssertionError, match=found):
        trend.check()
