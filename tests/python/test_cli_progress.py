"""What the user sees while training."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys

import pytest

from metarl_core.cli._progress import LiveProgress, PlainProgress, StopSignal, _duration, make_progress

ROW = {"return_mean": 0.25, "return_max": 0.99, "loss": 0.0123, "intrinsic_reward_mean": 0.5, "episodes": 1234}


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


def drive(progress, clock, seconds=60, rate=100):
    with progress:
        for tenth in range(1, seconds * 10 + 1):
            clock.now = tenth / 10
            progress.update(tenth * rate // 10, seconds * rate, {**ROW, "solved": tenth > 400})


def test_plain_lines_come_every_few_seconds_with_a_last_one():
    stream, clock = io.StringIO(), Clock()
    drive(PlainProgress(lambda: False, stream, clock), clock)
    lines = stream.getvalue().splitlines()
    assert 11 <= len(lines) <= 13
    assert "100 steps/s" in lines[5]
    assert "return 0.25  max 0.99  loss 0.0123  intrinsic 0.5  episodes 1,234" in lines[5]
    assert lines[0].endswith("solved no")
    assert lines[-1].startswith("100%  step 6,000/6,000")
    assert lines[-1].endswith("solved yes")
    assert all("\x1b" not in line for line in lines)


def test_the_last_step_of_all_instances_may_go_beyond_the_total():
    pytest.importorskip("rich")
    for kind, stream in ((PlainProgress, io.StringIO()), (LiveProgress, Terminal())):
        clock = Clock()
        with kind(lambda: False, stream, clock) as progress:
            for clock.now, step in ((0.0, 50), (10.0, 99), (20.0, 102)):
                progress.update(step, 100, {})
        text = stream.getvalue()
        assert "100%" in text
        assert "102/100" in text
        assert "102%" not in text
        assert "0:00" in text
        assert "-" not in text.replace("--:--", "")


def test_eta_counts_down():
    stream, clock = io.StringIO(), Clock()
    drive(PlainProgress(lambda: False, stream, clock), clock)
    left = [int(line.split("left ")[1].split()[0].split(":")[1]) for line in stream.getvalue().splitlines()]
    assert left[1:] == sorted(left[1:], reverse=True)
    assert left[-1] == 0
    assert [_duration(s) for s in (None, 0, 61, 3725)] == ["--:--", "0:00", "1:01", "1:02:05"]


def test_a_live_bar_in_a_terminal():
    pytest.importorskip("rich")
    stream, clock = Terminal(), Clock()
    progress = LiveProgress(lambda: False, stream, clock)
    drive(progress, clock, seconds=5)
    text = stream.getvalue()
    assert "100%" in text
    assert "500/500" in text
    assert "0.0123" in text
    assert "\x1b" in text


def test_the_bar_needs_a_terminal_and_rich(monkeypatch):
    assert type(make_progress(lambda: False, io.StringIO())) is PlainProgress
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert type(make_progress(lambda: False, Terminal())) is PlainProgress


def test_missing_values_are_left_out():
    stream, clock = io.StringIO(), Clock()
    with PlainProgress(lambda: False, stream, clock) as progress:
        progress.update(4, 100, {})
        clock.now = 6.0
        progress.update(10, 100, {"loss": None, "return_mean": float("nan"), "episodes": 3})
    (line,) = stream.getvalue().splitlines()
    assert line.endswith("episodes 3")
    assert "loss" not in line
    assert "return" not in line


def test_the_first_ctrl_c_asks_and_the_second_interrupts():
    before = signal.getsignal(signal.SIGINT)
    with StopSignal() as stop:
        assert stop.received is None
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.received == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_sigterm_asks_to_stop_too():
    script = """
import os, signal
from metarl_core.cli._progress import StopSignal
with StopSignal() as stop:
    os.kill(os.getpid(), signal.SIGTERM)
    print(stop.received == signal.SIGTERM)
"""
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert out.stdout == "True\n"


def test_stopping_is_announced_once():
    stream = io.StringIO()
    asked = [False, True, True]
    progress = PlainProgress(lambda: asked.pop(0), stream)
    assert [progress.should_stop() for _ in range(3)] == [False, True, True]
    assert stream.getvalue() == "stopping: writing a checkpoint (Ctrl-C again to stop without it)\n"
