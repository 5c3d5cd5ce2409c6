"""Every ``metarl`` command that the README and the documentation show is one that the program accepts.

Commands run as far as they can without a run directory and without training: those that only print do so to their end;
of the others, algorithm, environment, families and every ``key=value`` are resolved.
"""

from __future__ import annotations

import contextlib
import importlib.util
import re
import shlex
from pathlib import Path

import pytest

from metarl_core.cli import main
from metarl_core.cli._arguments import CommandParser

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(metarl [^`]+)`")
PLACEHOLDER = re.compile(r"\b(NAME|ID|PATH)\b|my\.toml")


def commands_of(text: str) -> list[str]:
    """In fenced blocks, one a line, after a prompt or not; in backticks within the text; without comments."""
    found = []
    for language, block in FENCE.findall(text):
        if language in ("", "bash", "console", "sh"):
            lines = block.replace("\\\n", " ").splitlines()
            found += [m[1] for line in lines if (m := re.match(r"(?:\$ )?(metarl .*)", line))]
    found += INLINE.findall(FENCE.sub("", text))
    plain = [re.sub(r"\s+#.*", "", command).strip() for command in found]
    # "metarl eval RUN | adapt RUN | info" stands for three.
    return [f"metarl {part.removeprefix('metarl ')}" for command in plain for part in command.split(" | ")]


COMMANDS = sorted({command for page in PAGES for command in commands_of(page.read_text(encoding="utf-8"))})


# Where the work begins.
WORK = {
    "metarl_core.cli.train": ["_train"],
    "metarl_core.cli.reproduce": ["_run"],
    "metarl_core.cli.continual": ["_run"],
    "metarl_core.benchmarks.main": ["run_replay_benchmark", "run_env_benchmark"],
}


class Accepted(Exception):  # noqa: N818 - no error
    """The command has come as far as it can here."""


def stop(*_: object, **__: object) -> int:
    raise Accepted


def test_there_are_commands():
    assert {"metarl info", "metarl adapt RUN --task NAME=VALUE"} < set(COMMANDS)
    assert len(COMMANDS) > 40


@pytest.mark.parametrize("command", COMMANDS)
def test_the_program_accepts_it(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)  # whatever it writes
    for module, functions in WORK.items():
        for function in functions:
            monkeypatch.setattr(importlib.import_module(module), function, stop)
    if importlib.util.find_spec("torch") is not None:  # a machine without a GPU can check the rest of the command
        monkeypatch.setattr("metarl_core.agents.common.devices.check_device", lambda device: None)
    _, name, *words = shlex.split(command)
    if (not words and name in ("adapt", "continual", "eval", "train")) or words == ["--resume"]:
        words = ["--help"]  # the text names the command
    elif name in ("eval", "report", "adapt") or "--resume" in words or "--from-csv" in words:
        parse = CommandParser.parse

        def parsed(self, argv):
            parse(self, argv)
            raise Accepted

        monkeypatch.setattr(CommandParser, "parse", parsed)
    elif PLACEHOLDER.search(command):
        pytest.skip("a placeholder")
    needs_metaworld = any(word.startswith("Meta-World/") or word == "cder-metaworld" for word in words)
    if needs_metaworld and importlib.util.find_spec("metaworld") is None:
        pytest.skip("needs metaworld")
    with contextlib.suppress(Accepted):
        assert main([name, *words]) == 0, capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        "metarl train cder --env DeepSea-v0 sizes=20",
        "metarl reproduce cder-deepsee",
        "metarl adapt RUN",
        "metarl infos",
    ],
)
def test_a_wrong_one_would_be_found(command, tmp_path, monkeypatch, capsys):
    with pytest.raises(AssertionError):
        test_the_program_accepts_it(command, tmp_path, monkeypatch, capsys)
