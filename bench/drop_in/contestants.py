"""What is exchanged in which library, and the options that all contestants of a library share.

A task is what a worker gets: ``seed`` and the fields of :meth:`Contestant.task`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Library:
    """A library into which ours is put.

    Attributes:
        name: as on the command line.
        title: as in the table.
        worker: the program in this folder.
        venv: folder of its virtual environment in ``build``; None for the development environment.
        env_id: Gymnasium's environment.
        steps: environment steps of a run.
        contestants: name in the table -> what is exchanged: "replay" (prioritized), "uniform" and "envs".
    """

    name: str
    title: str
    worker: str
    venv: str | None
    env_id: str
    steps: int
    contestants: dict[str, tuple[str, ...]]

    def task(self, contestant: str, seed: int) -> dict[str, Any]:
        """What the worker needs to know."""
        return {"env_id": self.env_id, "steps": self.steps, "ours": list(self.contestants[contestant]), "seed": seed}


LIBRARIES = (
    Library(
        "sb3",
        "stable-baselines3, DQN on MinAtar/Breakout-v1",
        "run_sb3.py",
        None,
        "MinAtar/Breakout-v1",
        60_000,
        {
            "stock": (),
            "our replay, uniform, our environments": ("uniform", "envs"),
            "our replay, prioritized, our environments": ("replay", "envs"),
        },
    ),
    Library(
        "tianshou",
        "Tianshou, DQN with prioritized replay on CartPole-v1",
        "run_tianshou.py",
        "venv-tianshou",
        "CartPole-v1",
        20_000,
        {"stock": (), "our replay": ("replay",), "our replay, our environments": ("replay", "envs")},
    ),
    Library(
        "torchrl",
        "TorchRL, double DQN with prioritized replay on CartPole-v1",
        "run_torchrl.py",
        "venv-torchrl",
        "CartPole-v1",
        20_000,
        {"stock": (), "our sampler": ("replay",), "our sampler, our environments": ("replay", "envs")},
    ),
)
