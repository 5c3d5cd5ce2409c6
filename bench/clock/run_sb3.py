"""One run of Stable-Baselines3's DQN, also with our replay: ``run_sb3.py TASK``; prints its result as the last line."""

from __future__ import annotations

import json
import sys

import gymnasium
import stable_baselines3
import torch
from judge import Judge, fingerprint
from stable_baselines3 import DQN
from stable_baselines3.common.callbacks import BaseCallback


class Watcher(BaseCallback):
    """Asks the judge after every environment step."""

    def __init__(self, judge: Judge) -> None:
        super().__init__()
        self.judge = judge

    def _on_training_start(self) -> None:
        self.judge.start()

    def _on_step(self) -> bool:
        return not self.judge.over(self.num_timesteps)


def main() -> None:
    task = json.loads(sys.argv[1])
    torch.set_num_threads(1)
    options = dict(task["options"])
    if "replay" in options:
        from metarl_core.integrations.stable_baselines3 import MetaRLReplayBuffer

        options |= {"replay_buffer_class": MetaRLReplayBuffer, "replay_buffer_kwargs": options.pop("replay")}
    model = DQN("MlpPolicy", "CartPole-v1", seed=task["seed"], device="cpu", **options)
    judge = Judge(
        lambda obs: model.predict(obs, deterministic=True)[0],
        task["every"],
        min(task["max_steps"], task["total_steps"]),
    )
    model.learn(task["total_steps"], callback=Watcher(judge))
    versions = {
        "stable_baselines3": stable_baselines3.__version__,
        "torch": torch.__version__,
        "gymnasium": gymnasium.__version__,
    }
    print(json.dumps({**judge.result(), "environment": fingerprint(), "versions": versions}))


if __name__ == "__main__":
    main()
