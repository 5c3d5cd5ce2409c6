"""Which libraries are measured, and where each one is installed."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import dataclass
from pathlib import Path

STATUS_FILE = "peer_status.json"


@dataclass(frozen=True)
class Peer:
    """A library that is measured beside ours.

    Attributes:
        name: Name of the library, of its file in ``bench/peers`` and of its virtual environment.
        driver: Module in :mod:`metarl_core.benchmarks.drivers`.
        module: What it is imported as.
        suites: The benchmarks it takes part in.
    """

    name: str
    driver: str
    module: str
    suites: tuple[str, ...]


OURS = Peer("metarl_core", "ours", "metarl_core", ("replay", "env"))
PEERS = (
    Peer("numpy", "peer_numpy", "numpy", ("replay",)),
    Peer("cpprb", "peer_cpprb", "cpprb", ("replay",)),
    Peer("tianshou", "peer_tianshou", "tianshou", ("replay",)),
    Peer("stable_baselines3", "peer_stable_baselines3", "stable_baselines3", ("replay",)),
    Peer("flashbax", "peer_flashbax", "flashbax", ("replay",)),
    Peer("torchrl", "peer_torchrl", "torchrl", ("replay",)),
    Peer("rlox", "peer_rlox", "rlox", ("replay",)),
    Peer("gymnasium", "peer_gymnasium", "gymnasium", ("env",)),
    Peer("envpool", "peer_envpool", "envpool", ("env",)),
    Peer("gymnax", "peer_gymnax", "gymnax", ("env",)),
    Peer("bsuite", "peer_bsuite", "bsuite", ("env",)),
    Peer("minatar", "peer_minatar", "minatar", ("env",)),
    Peer("minigrid", "peer_minigrid", "minigrid", ("env",)),
    Peer("xminigrid", "peer_xminigrid", "xminigrid", ("env",)),
    Peer("pufferlib", "peer_pufferlib", "pufferlib", ("env",)),
)


def peers_of(suite: str) -> list[Peer]:
    """Return the peers of ``"replay"`` or ``"env"``."""
    return [peer for peer in PEERS if suite in peer.suites]


def default_venvs() -> Path:
    """Return the folder of the peers' virtual environments: ``bench/.venvs`` here or in the source tree."""
    here = Path.cwd() / "bench" / ".venvs"
    source = Path(__file__).resolve().parents[2] / "bench" / ".venvs"
    return here if here.is_dir() or not source.is_dir() else source


def find_interpreter(peer: Peer, venvs: Path) -> tuple[str | None, str]:
    """Find an interpreter that has a peer: its own virtual environment, else the current one.

    Args:
        peer: The peer.
        venvs: Folder of the peers' virtual environments, as made by ``bench/setup_peers.py``.

    Returns:
        The path of the interpreter, or None; and the reason if it is None.
    """
    folder = venvs / peer.name
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    reason = f"not installed: run python bench/setup_peers.py {peer.name}"
    status = folder / STATUS_FILE
    if status.is_file():
        found = json.loads(status.read_text(encoding="utf-8"))
        if found["ok"] and python.exists():
            return str(python), ""
        reason = f"its installation failed: {found['reason']}"
    if importlib.util.find_spec(peer.module) is not None:
        return sys.executable, ""
    return None, reason
