"""One run of stable-baselines3's DQN, stock or with parts of ours: ``run_sb3.py TASK``; its result is the last line."""

from __future__ import annotations

import json
import sys
from typing import Any

import gymnasium
import stable_baselines3
import torch
from measure import Clock, define_environment, evaluate
from stable_baselines3 import DQN
from stable_baselines3.common.env_util import make_vec_env as stock_envs

# One gradient step for four environment steps, as in DQN (Mnih et al. 2015), whatever the number of environments.
ENVS, EVERY = 8, 4


def main() -> None:
    task = json.loads(sys.argv[1])
    torch.set_num_threads(1)
    options: dict[str, Any] = {}
    if {"replay", "uniform"} & set(task["ours"]):
        from metarl_core.integrations.stable_baselines3 import MetaRLReplayBuffer

        prioritized = "replay" in task["ours"]
        kwargs = {"alpha": 0.6, "beta": 0.4} if prioritized else {"prioritized": False}
        options = {"replay_buffer_class": MetaRLReplayBuffer, "replay_buffer_kwargs": kwargs}
    if "envs" in task["ours"]:
        from metarl_core.integrations.stable_baselines3 import make_vec_env

        envs = make_vec_env(task["env_id"], ENVS, seed=task["seed"])
    else:
        define_environment(task["env_id"])
        envs = stock_envs(task["env_id"], ENVS, seed=task["seed"])
    model = DQN(
        "MlpPolicy",
        envs,
        learning_rate=2.5e-4,
        buffer_size=100_000,
        learning_starts=2_000,
        batch_size=32,
        gamma=0.99,
        train_freq=(1, "step"),
        gradient_steps=ENVS // EVERY,
        target_update_interval=1_000,
        exploration_fraction=0.2,
        exploration_final_eps=0.05,
        policy_kwargs={"net_arch": [128]},
        seed=task["seed"],
        device="cpu",
        **options,
    )
    clock = Clock()
    model.learn(task["steps"])
    spent = clock.spent()
    result = evaluate(task["env_id"], lambda obs: model.predict(obs, deterministic=True)[0])
    versions = {
        "stable_baselines3": stable_baselines3.__version__,
        "torch": torch.__version__,
        "gymnasium": gymnasium.__version__,
    }
    print(json.dumps({"return": result, **spent, "versions": versions}))


if __name__ == "__main__":
    main()
