"""Create the cached virtual environments of the benchmark's peers, one per file in ``bench/peers``.

The peers do not fit one environment (they want different versions of gymnasium, numpy and torch), so each gets
``bench/.venvs/<peer>`` with the versions pinned in ``bench/peers/<peer>.txt``. What is already installed with the
same pins is kept. A peer that fails to install is reported with the reason and the others go on: the benchmark prints
a row for it.

    python bench/setup_peers.py [PEER ...] [--force]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

BENCH = Path(__file__).resolve().parent
PINS = BENCH / "peers"
VENVS = BENCH / ".venvs"
STATUS_FILE = "peer_status.json"
"""Written into each environment: {"pins": sha256, "ok": bool, "reason": str | null}."""


def peer_names() -> list[str]:
    """Return the peers that have a file of pins."""
    return sorted(path.stem for path in PINS.glob("*.txt"))


def read_status(peer: str) -> dict[str, object] | None:
    """Return what the last installation of a peer left, or None."""
    path = VENVS / peer / STATUS_FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _last_error(output: str) -> str:
    """Return the line of pip's output that says most about a failure."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines or ["no output"])[-1][:300]


def _run(command: list[str], log: Path, timeout: float, env: dict[str, str] | None = None) -> str | None:
    """Run a command at low priority, append its output to the log, return None or the reason of a failure."""
    with log.open("a", encoding="utf-8") as out:
        out.write(f"$ {' '.join(command)}\n")
        out.flush()
        start = out.tell()
        try:
            code = subprocess.run(
                command, stdout=out, stderr=subprocess.STDOUT, timeout=timeout, env=env, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            return f"{Path(command[0]).name} took longer than {timeout:.0f} s"
    if code == 0:
        return None
    with log.open(encoding="utf-8") as text:
        text.seek(start)
        return _last_error(text.read())


def install(peer: str, python: str, timeout: float) -> str | None:
    """Create one environment; return None, or why it could not be done."""
    folder = VENVS / peer
    folder.parent.mkdir(parents=True, exist_ok=True)
    log = VENVS / f"{peer}.log"
    log.write_text("", encoding="utf-8")
    reason = _run([python, "-m", "venv", "--clear", str(folder)], log, timeout)
    binary = folder / "bin" / "python"
    if reason is None:
        pip = [str(binary), "-m", "pip", "--disable-pip-version-check", "install", "--no-input"]
        reason = _run([*pip, "-r", str(PINS / f"{peer}.txt")], log, timeout)
    hook = PINS / f"{peer}_build.py"
    if reason is None and hook.is_file():
        reason = _run([str(binary), str(hook)], log, timeout)
    return reason


def pins_digest(peer: str) -> str:
    """Return a digest of everything that an environment depends on."""
    digest = hashlib.sha256(sys.version.encode())
    for name in (f"{peer}.txt", f"{peer}_build.py"):
        if (PINS / name).is_file():
            digest.update((PINS / name).read_bytes())
    return digest.hexdigest()


def main(argv: list[str] | None = None) -> int:
    """Install the peers that are missing; return 0 even when some fail, since the table then says so."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "peers", nargs="*", metavar="PEER", help=f"which ones (default: all): {', '.join(peer_names())}"
    )
    parser.add_argument("--force", action="store_true", help="install again, also what failed before")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the environments")
    parser.add_argument("--timeout", type=float, default=1200.0, help="seconds for one peer")
    args = parser.parse_args(argv)
    unknown = sorted(set(args.peers) - set(peer_names()))
    if unknown:
        parser.error(f"unknown peer {unknown[0]!r}; choose from {', '.join(peer_names())}")
    if hasattr(os, "nice"):
        os.nice(10)
    for peer in args.peers or peer_names():
        status, digest = read_status(peer), pins_digest(peer)
        if status and status["pins"] == digest and not args.force:
            print(f"{peer:18} kept" if status["ok"] else f"{peer:18} failed before: {status['reason']}", flush=True)
            continue
        start = time.perf_counter()
        reason = install(peer, args.python, args.timeout)
        (VENVS / peer).mkdir(parents=True, exist_ok=True)
        text = json.dumps({"pins": digest, "ok": reason is None, "reason": reason})
        (VENVS / peer / STATUS_FILE).write_text(text + "\n", encoding="utf-8")
        result = "installed" if reason is None else f"FAILED: {reason}"
        print(f"{peer:18} {result} ({time.perf_counter() - start:.0f} s)", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
