"""Compare an interpreter's metarl_core with the hashes that the tests keep: golden_hashes.py PYTHON [LEVEL ...].

The scripts and the hashes are read from the tests' files, so NumPy is all that PYTHON needs. Prints a digest a level.
"""

from __future__ import annotations

import ast
import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1] / "tests" / "python"


def _constant(file: str, name: str) -> str:
    for node in ast.parse((TESTS / file).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name:
            # Strings, or a method called on one (GOLDEN = "...".strip()).
            value = node.value
            text = ast.literal_eval(value.func.value if isinstance(value, ast.Call) else value)
            return text.strip()
    raise LookupError(f"tests/python/{file} has no constant {name}")


def _run(command: list[str], script: str, level: str | None) -> str:
    env = {name: value for name, value in os.environ.items() if name not in ("METARL_ISA", "PYTHONPATH")}
    if level is not None:
        env["METARL_ISA"] = level
    done = subprocess.run(
        [*command, "-c", script], env=env, capture_output=True, text=True, cwd=tempfile.gettempdir(), check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} at {level or 'the highest level'}: {done.stderr.strip()[-2000:]}")
    return done.stdout.strip()


def active_level(command: list[str], level: str | None = None) -> str:
    """Return the instruction-set level that runs when METARL_ISA is `level` (None: unset)."""
    return _run(command, "import metarl_core; print(metarl_core.build_info()['isa_active'])", level)


def digest(command: list[str], level: str | None = None) -> str:
    """Run the replay buffer's and the environments' scripts and compare every line with the tests' hashes.

    Args:
        command: The interpreter, with what runs it (an emulator) before it.
        level: What METARL_ISA is set to; None leaves it unset.

    Returns:
        16 hexadecimal digits over all that the two scripts printed.

    Raises:
        RuntimeError: A script failed, or a line is not the expected one.
    """
    replay = _run(command, _constant("test_replay_buffer.py", "GOLDEN"), level).split()[-1]
    envs = _run(command, _constant("test_vector_golden.py", "SCRIPT"), level)
    expected = [
        _constant("test_replay_buffer.py", "GOLDEN_HASH"),
        *_constant("test_vector_golden.py", "GOLDEN").splitlines(),
    ]
    found = [replay, *envs.splitlines()]
    wrong = [f"{a} in place of {b}" for a, b in zip(found, expected, strict=True) if a != b]
    if wrong:
        raise RuntimeError(f"{' '.join(command)} at {level or 'the highest level'}: {'; '.join(wrong)}")
    return hashlib.sha256("\n".join(found).encode()).hexdigest()[:16]


def main() -> None:
    """Print a line for every level asked for (all that this processor has)."""
    command, levels = [str(Path.cwd() / sys.argv[1])], sys.argv[2:] or ["baseline", "avx2", "avx512"]
    for level in levels:
        if active_level(command, level) == level:
            print(f"{level:8} {digest(command, level)}")
        else:
            print(f"{level:8} not on this processor")


if __name__ == "__main__":
    main()
