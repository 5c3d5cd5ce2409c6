"""A disk that is really full: every file that we write stays whole, and work goes on when there is room again.

The disk is a tmpfs of a few megabytes, in a mount namespace that ends with the test's process.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest


def may_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    words = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(not may_mount(), reason="may not mount a tmpfs")

_HELPERS = """
    import errno, os, sys
    from pathlib import Path
    import numpy as np
    disk, elsewhere = Path(sys.argv[1]), Path(sys.argv[2])
    def fill(leave=0):
        with (disk / "filler").open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError as error:
                assert error.errno == errno.ENOSPC, error
            file.truncate(file.tell() - leave)
    def make_room():
        (disk / "filler").unlink()
    def names(folder=disk):
        return sorted(path.name for path in folder.iterdir() if path.name != "filler")
    def refused(call):
        try:
            call()
        except OSError as error:
            assert error.errno == errno.ENOSPC, error
            return str(error)
        raise SystemExit("nothing was raised")
"""


def on_a_small_disk(tmp_path: Path, script: str, megabytes: int = 1) -> str:
    """Run a script with a new disk of so many megabytes; return what it printed."""
    disk = tmp_path / "disk"
    disk.mkdir()
    (tmp_path / "script.py").write_text(textwrap.dedent(_HELPERS) + textwrap.dedent(script))
    mount = f'mount -t tmpfs -o size={megabytes}m tmpfs "$1" && exec "$0" "$2" "$1" "$3"'
    words = ["unshare", "-rm", "sh", "-c", mount, sys.executable, disk, tmp_path / "script.py", tmp_path]
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    assert list(disk.iterdir()) == []
    return done.stdout


def test_a_buffer_is_not_saved_and_the_old_file_stays(tmp_path: Path) -> None:
    on_a_small_disk(
        tmp_path,
        """
        from metarl_core import ReplayBuffer
        buffer = ReplayBuffer(1000, {"x": ((50,), np.float64)})
        buffer.add(x=np.ones((1000, 50)))
        buffer.save(disk / "a")
        before = (disk / "a").read_bytes()
        buffer.add(x=np.zeros((10, 50)))
        fill(leave=100_000)
        assert "a" in refused(lambda: buffer.save(disk / "a"))
        assert (disk / "a").read_bytes() == before
        assert names() == ["a"]
        make_room()
        buffer.save(disk / "a")
        assert ReplayBuffer.load(disk / "a").to_bytes() == buffer.to_bytes()
        """,
    )


def test_mapped_files_that_do_not_fit_are_refused_before_a_row_is_written(tmp_path: Path) -> None:
    on_a_small_disk(
        tmp_path,
        """
        from metarl_core import ReplayBuffer
        fields = {"x": ((50,), np.float64)}
        refused(lambda: ReplayBuffer(100_000, fields, storage=f"mmap:{disk / 'replay'}"))
        assert names(disk / "replay") == ["metarl.lock"]
        buffer = ReplayBuffer(1500, fields, storage=f"mmap:{disk / 'replay'}")
        fill()
        buffer.add(x=np.ones((1500, 50)))  # room was taken when the buffer was made
        assert "metarl-state.ckpt" in refused(buffer.flush)
        assert (buffer.sample(64)["x"] == 1).all()
        make_room()
        buffer.flush()
        buffer.close()
        assert len(ReplayBuffer(1500, fields, storage=f"mmap:{disk / 'replay'}")) == 1500
        """,
    )


def test_a_run_keeps_its_checkpoint_and_goes_on(tmp_path: Path) -> None:
    on_a_small_disk(
        tmp_path,
        """
        from metarl_core.runs import RunReader, RunWriter
        def state(k):
            return {"k": k, "data": np.full(20_000, k)}
        run = RunWriter(disk / "run", {"algorithm": "none", "seed": 0})
        run.metrics({"step": 1, "loss": 0.5})
        run.save_checkpoint(state(1))
        fill(leave=50_000)
        refused(lambda: run.save_checkpoint(state(2)))
        refused(lambda: run.save_array("visitation", visits=np.random.default_rng(0).random(100_000)))
        assert names(disk / "run" / "checkpoints") == ["latest.ckpt"]
        assert RunReader(disk / "run").load_checkpoint()["k"] == 1
        fill()
        def log():
            for step in range(2, 2000):
                run.metrics({"step": step, "loss": 0.5})
        refused(log)
        refused(run.close)  # it had rows that no longer fit
        run.close()  # has nothing to do: files and lock were let go
        make_room()
        with RunWriter(disk / "run", resume=True) as run:
            assert run.load_checkpoint()["k"] == 1
            run.metrics({"step": 2, "loss": 0.25})
            run.save_checkpoint(state(2))
        assert RunReader(disk / "run").metrics["step"].tolist() == [1, 2]
        assert RunReader(disk / "run").metrics["loss"].tolist() == [0.5, 0.25]
        """,
    )


def test_a_training_run_says_so_in_one_line_and_resumes_bit_for_bit(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    sys_path = str(Path(__file__).parent)
    out = on_a_small_disk(
        tmp_path,
        f"""
        sys.path.insert(0, {sys_path!r})
        """
        """
        from cli_helpers import metarl
        from killed_runs import assert_same_run
        words = ["train", "cder", "--env", "DeepSea-v0", "--steps", "600", "size=5", "num_envs=2", "members=3"]
        words += ["checkpoint_interval=100", "log_interval=50", "evaluation_episodes=2", "epochs=1", "batch_size=32"]
        whole = metarl(*words, "--out", elsewhere / "whole")
        assert whole.returncode == 0, whole.stderr
        # Room for the first checkpoint, but not for the second beside it.
        fill(leave=(elsewhere / "whole/checkpoints/latest.ckpt").stat().st_size * 3 // 2)
        full = metarl(*words, "--out", disk / "run")
        assert full.returncode == 1, full.stderr
        assert full.stderr.startswith("metarl train: error: [Errno 28] No space left on device"), full.stderr
        assert full.stderr.count("\\n") == 1, full.stderr
        assert names(disk / "run" / "checkpoints") == ["latest.ckpt"]
        make_room()
        resumed = metarl("train", "--resume", disk / "run")
        assert resumed.returncode == 0, resumed.stderr
        assert_same_run(disk / "run", elsewhere / "whole")
        print(full.stderr)
        """,
        megabytes=4,
    )
    assert "No space left on device" in out
