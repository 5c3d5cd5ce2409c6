"""Mapped buffers when the disk fails at the worst moment: system calls are made to fail by a library loaded before."""

import os
import shutil
import subprocess
import sys
import textwrap

import pytest

_SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
static int left[2] = {-1, -1};  /* fsync, fdatasync: calls until one fails with EIO */
void fail_after(int which, int calls) { left[which] = calls; }
static int due(int which) { return left[which] >= 0 && left[which]-- == 0; }
int fsync(int fd) {
  if (due(0)) { errno = EIO; return -1; }
  return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd);
}
int fdatasync(int fd) {
  if (due(1)) { errno = EIO; return -1; }
  return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd);
}
"""

_PRELUDE = """
import ctypes, shutil, sys
from pathlib import Path
import numpy as np
import metarl_core as mc
shim = ctypes.CDLL(sys.argv[1])
FSYNC, FDATASYNC = 0, 1
folder = Path(sys.argv[2])
FIELDS = {"n": ((), np.int64), "x": ((300,), np.uint8)}
def make(at=folder, capacity=1000):
    return mc.ReplayBuffer(capacity, FIELDS, storage=f"mmap:{at}")
def add(buffer, first, n):
    k = np.arange(first, first + n)
    buffer.add(n=k, x=np.repeat(k[:, None] % 251, 300, 1).astype(np.uint8))
def crashed(name):
    copied = shutil.copytree(folder, folder.parent / name)
    return make(copied)
def held(buffer):
    if len(buffer) == 0:
        return set()
    batch = buffer.sample(20_000)
    assert (batch["x"] == (batch["n"] % 251)[:, None]).all()
    return set(batch["n"].tolist())
def fails(call):
    try:
        call()
    except OSError as error:
        assert error.errno == 5, error
        return True
    return False
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    compiler = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc") or shutil.which("clang")
    assert compiler, "a C compiler is needed, as for the package itself"
    folder = tmp_path_factory.mktemp("shim")
    (folder / "shim.c").write_text(_SHIM)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / "shim.so", folder / "shim.c", "-ldl"], check=True)
    return folder / "shim.so"


def run(shim, folder, script):
    ran = subprocess.run(
        [sys.executable, "-c", _PRELUDE + textwrap.dedent(script), str(shim), str(folder)],
        env={**os.environ, "LD_PRELOAD": str(shim)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.endswith("done\n")


def test_a_flush_that_fails_before_its_last_step_leaves_the_one_before(shim, tmp_path):
    run(
        shim,
        tmp_path / "replay",
        """
        buffer = make()
        add(buffer, 0, 1000)
        buffer.flush()
        shim.fail_after(FSYNC, 0)  # of the temporary state
        assert fails(buffer.flush)
        add(buffer, 1000, 10)
        lost = set(range(1000)) - held(crashed("crashed"))
        assert lost == set(range(len(lost))) and 10 <= len(lost) <= 125 + 10, len(lost)
        buffer.flush()
        assert held(crashed("flushed")) == set(range(10, 1010))
        print("done")
        """,
    )


def test_a_flush_that_fails_in_its_last_step_may_lose_but_never_tears(shim, tmp_path):
    run(
        shim,
        tmp_path / "replay",
        """
        buffer = make()
        add(buffer, 0, 1000)
        buffer.flush()
        add(buffer, 1000, 100)
        shim.fail_after(FSYNC, 1)  # of the folder, after the rename
        assert fails(buffer.flush)
        assert held(crashed("now")) == set(range(100, 1100))
        add(buffer, 1100, 10)
        assert held(crashed("later")) == set()
        buffer.flush()
        assert held(crashed("flushed")) == set(range(110, 1110))
        print("done")
        """,
    )


def test_columns_that_could_not_be_written_are_never_called_flushed(shim, tmp_path):
    run(
        shim,
        tmp_path / "replay",
        """
        buffer = make()
        add(buffer, 0, 100)
        buffer.flush()
        add(buffer, 100, 100)
        shim.fail_after(FDATASYNC, 0)
        assert fails(buffer.flush)
        assert fails(buffer.flush)  # the system has forgotten what it could not write
        assert held(crashed("crashed")) == set(range(100))
        print("done")
        """,
    )


def test_an_announcement_that_fails_stops_the_add(shim, tmp_path):
    run(
        shim,
        tmp_path / "replay",
        """
        buffer = make()
        add(buffer, 0, 1000)
        buffer.flush()
        shim.fail_after(FDATASYNC, 0)
        assert fails(lambda: add(buffer, 1000, 10))
        assert held(buffer) == set(range(1000))
        add(buffer, 1000, 10)
        assert held(buffer) == set(range(10, 1010))
        assert held(crashed("crashed")) <= set(range(10, 1000))
        print("done")
        """,
    )


def test_a_trimmed_announcement_that_fails_is_made_again(shim, tmp_path):
    run(
        shim,
        tmp_path / "replay",
        """
        FIELDS = {"obs": ((2, 40), np.int64), "next_obs": ((2, 40), np.int64), "terminated": ((), bool)}
        def make(at=folder):
            return mc.ReplayBuffer(1000, FIELDS, frame_stack=2, storage=f"mmap:{at}")
        def add(buffer, first, n, every):
            k = np.arange(first, first + n)
            stack = lambda k: np.repeat(np.stack([k - 1, k], 1)[:, :, None], 40, 2)
            buffer.add(obs=stack(k), next_obs=stack(k + 1), terminated=k % every == every - 1)
        buffer = make()
        add(buffer, 0, 990, 10**6)
        buffer.flush()
        flushed = set(buffer.sample(20_000)["obs"][:, 1, 0].tolist())
        shim.fail_after(FDATASYNC, 1)  # of the trim, after that of the announcement
        add(buffer, 2000, 130, 10**6)
        for first in range(3000, 3150, 3):
            add(buffer, first, 3, 3)
        again = make(shutil.copytree(folder, folder.parent / "crashed"))
        found = set(again.sample(20_000)["obs"][:, 1, 0].tolist()) if len(again) else set()
        assert found <= flushed, sorted(found - flushed)[:5]
        print("done")
        """,
    )


def test_a_restore_that_fails_leaves_buffer_and_files(shim, tmp_path):
    run(
        shim,
        tmp_path / "replay",
        """
        other = mc.ReplayBuffer(1000, FIELDS)
        add(other, 5000, 50)
        other.save(folder.parent / "other.ckpt")
        buffer = make()
        add(buffer, 0, 100)
        buffer.flush()
        names = {path.name for path in folder.iterdir()}
        # fsync of the new set: intent, rows and folder, column and folder; then the state.
        for calls in range(6):
            shim.fail_after(FSYNC, calls)
            assert fails(lambda: buffer.restore(folder.parent / "other.ckpt")), calls
            assert held(buffer) == set(range(100))
            assert {path.name for path in folder.iterdir()} == names, calls
        shim.fail_after(FSYNC, -1)
        buffer.restore(folder.parent / "other.ckpt")
        assert held(crashed("crashed")) == set(range(5000, 5050))
        print("done")
        """,
    )
