"""One run of CleanRL's ``dqn.py`` as its release has it: ``run_cleanrl.py TASK``; prints its result as the last line.

The script is a program of its own, without a function to call or a place to stop, and it is run unchanged, with its own
defaults, logging included. The one thing exchanged is the class of its vector environment, for a subclass whose
``reset`` starts the clock and whose ``step`` asks the judge before it begins the next step, when the script has done
all that the last one asked for. The network is the global ``q_network`` of the script that calls ``step``.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import runpy
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

import gymnasium
import torch
from judge import Judge, fingerprint


class _Over(BaseException):
    """The run is decided."""


def watched(judge: Judge, networks: list[Any]) -> type:
    """Make a vector environment that asks the judge; the script's network goes into ``networks``."""

    class Watched(gymnasium.vector.SyncVectorEnv):
        done = 0

        def reset(self, **options: Any) -> Any:
            networks.append(sys._getframe(1).f_globals["q_network"])
            judge.start()
            return super().reset(**options)

        def step(self, actions: Any) -> Any:
            if self.done and judge.over(self.done):
                raise _Over
            self.done += self.num_envs
            return super().step(actions)

        def close(self, **options: Any) -> None:
            # The script is at its end: what its last step learnt has not been judged yet.
            judge.over(self.done)
            super().close(**options)

    return Watched


def main() -> None:
    task = json.loads(sys.argv[1])
    torch.set_num_threads(1)
    script = Path(sysconfig.get_path("purelib")) / "cleanrl" / "dqn.py"
    networks: list[Any] = []

    @torch.no_grad()
    def greedy(obs: Any) -> Any:
        return networks[0](torch.from_numpy(obs)).argmax(dim=1).numpy()

    judge = Judge(greedy, task["every"], min(task["max_steps"], task["total_steps"]))
    gymnasium.vector.SyncVectorEnv = watched(judge, networks)
    sys.argv = [str(script), "--seed", str(task["seed"]), "--total-timesteps", str(task["total_steps"])]
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere:  # noqa: PTH123
        os.chdir(folder)
        with contextlib.redirect_stdout(nowhere), contextlib.suppress(_Over):
            runpy.run_path(str(script), run_name="__main__")
        os.chdir("/")
    versions = {
        "cleanrl": importlib.metadata.version("cleanrl"),
        "torch": torch.__version__,
        "gymnasium": gymnasium.__version__,
    }
    print(json.dumps({**judge.result(), "environment": fingerprint(), "versions": versions}))


if __name__ == "__main__":
    main()
