"""One run of Tianshou's DQN, stock or with parts of ours: ``run_tianshou.py TASK``; its result is the last line."""

from __future__ import annotations

import json
import sys
from typing import Any

import gymnasium
import numpy as np
import tianshou
import torch
from measure import Clock, evaluate
from tianshou.algorithm import DQN
from tianshou.algorithm.modelfree.dqn import DiscreteQLearningPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Batch, Collector, CollectStats, PrioritizedVectorReplayBuffer
from tianshou.env import DummyVectorEnv
from tianshou.trainer import OffPolicyTrainerParams
from tianshou.utils.net.common import Net

ENVS = 8
CAPACITY = 20_000
PRIORITIES = {"alpha": 0.6, "beta": 0.4}


def main() -> None:
    task = json.loads(sys.argv[1])
    seed, env_id = task["seed"], task["env_id"]
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002  # Tianshou draws from it
    envs: Any
    if "envs" in task["ours"]:
        from metarl_core.integrations.tianshou import make_vector_env

        envs, test_envs = make_vector_env(env_id, ENVS, seed=seed), make_vector_env(env_id, 1, seed=seed)
    else:
        envs, test_envs = (DummyVectorEnv([lambda: gymnasium.make(env_id)] * count) for count in (ENVS, 1))
        envs.seed(seed)
    if "replay" in task["ours"]:
        from metarl_core.integrations.tianshou import MetaRLPrioritizedVectorReplayBuffer

        replay = MetaRLPrioritizedVectorReplayBuffer(CAPACITY, ENVS, random_seed=seed, **PRIORITIES)
    else:
        replay = PrioritizedVectorReplayBuffer(CAPACITY, ENVS, **PRIORITIES)
    space, actions = envs.observation_space[0], envs.action_space[0]
    policy = DiscreteQLearningPolicy(
        model=Net(state_shape=space.shape, action_shape=(actions.n,), hidden_sizes=[64, 64]),
        action_space=actions,
        observation_space=space,
        eps_training=0.1,
        eps_inference=0.0,
    )
    dqn = DQN(
        policy=policy,
        optim=AdamOptimizerFactory(lr=1e-3),
        gamma=0.99,
        n_step_return_horizon=3,
        target_update_freq=100,
    )
    collector = Collector[CollectStats](dqn, envs, replay, exploration_noise=True)
    collector.reset()
    clock = Clock()
    collector.collect(n_step=1_000, random=True)
    dqn.run_training(
        OffPolicyTrainerParams(
            training_collector=collector,
            # One episode at the very end: the trainer asks for an evaluation.
            test_collector=Collector[CollectStats](dqn, test_envs),
            max_epochs=1,
            epoch_num_steps=task["steps"] - 1_000,
            collection_step_num_env_steps=64,
            test_step_num_episodes=1,
            update_step_num_gradient_steps_per_sample=0.25,
            batch_size=64,
            show_progress=False,
            verbose=False,
        )
    )
    spent = clock.spent()

    def greedy(obs: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return np.asarray(policy(Batch(obs=obs, info=Batch())).act)

    versions = {
        "tianshou": tianshou.__version__,
        "torch": torch.__version__,
        "gymnasium": gymnasium.__version__,
    }
    print(json.dumps({"return": evaluate(env_id, greedy), **spent, "versions": versions}))


if __name__ == "__main__":
    main()
