"""One run of ours: ``run_ours.py TASK``, TASK as :mod:`results` describes; prints its result as the last line."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium
import torch
from judge import Judge, fingerprint

import metarl_core
from metarl_core.agents.config import resolve_config
from metarl_core.agents.loop import Trainer
from metarl_core.runs import RunWriter


class Watcher:
    """Asks the judge after every step of the training loop."""

    judge: Judge

    def __init__(self) -> None:
        self.over = False

    def update(self, step: int, total_steps: int, row: Mapping[str, Any]) -> None:
        """Hear where the loop is."""
        del total_steps, row
        self.over = self.over or self.judge.over(step)

    def should_stop(self) -> bool:
        """Whether the run is decided."""
        return self.over


def main() -> None:
    task = json.loads(sys.argv[1])
    options = [*task["options"], f"seed={task['seed']}", "evaluation_episodes=0"]
    config = resolve_config(task["algorithm"], "CartPole-v1", overrides=options)
    watcher = Watcher()
    with tempfile.TemporaryDirectory() as folder, RunWriter(Path(folder) / "run", config.to_dict()) as run:
        trainer = Trainer(config, run, watcher)
        watcher.judge = Judge(
            lambda obs: trainer.agent.greedy(torch.from_numpy(trainer.encoder(obs))),
            task["every"],
            min(task["max_steps"], config.total_steps),
        )
        watcher.judge.start()
        trainer.train()
        trainer.envs.close()
    versions = {"metarl_core": metarl_core.__version__, "torch": torch.__version__, "gymnasium": gymnasium.__version__}
    print(json.dumps({**watcher.judge.result(), "environment": fingerprint(), "versions": versions}))


if __name__ == "__main__":
    main()
