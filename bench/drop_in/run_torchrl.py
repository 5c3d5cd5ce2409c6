"""One run of TorchRL's double DQN, stock or with parts of ours: ``run_torchrl.py TASK``; result in the last line."""

from __future__ import annotations

import json
import sys
from typing import Any

import gymnasium
import numpy as np
import torch
from measure import Clock, evaluate

from metarl_core.benchmarks.drivers.autograd_stand_in import load_stand_in

load_stand_in()

import torchrl
from tensordict.nn import TensorDictSequential
from torchrl.collectors import Collector
from torchrl.data import LazyTensorStorage, PrioritizedSampler, TensorDictReplayBuffer
from torchrl.envs import GymEnv, SerialEnv
from torchrl.modules import MLP, EGreedyModule, QValueActor
from torchrl.objectives import DQNLoss, SoftUpdate

ENVS, BATCH, UPDATES = 8, 64, 16
"""Environments, steps of all of them for each round of updates, updates."""

CAPACITY = 20_000
PRIORITIES = {"alpha": 0.6, "beta": 0.4}


def main() -> None:
    task = json.loads(sys.argv[1])
    seed, env_id = task["seed"], task["env_id"]
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002  # TorchRL's sampler draws from it
    env: Any
    sampler: Any
    if "envs" in task["ours"]:
        from metarl_core.integrations.torchrl import make_env

        env = make_env(env_id, ENVS, seed=seed)
    else:
        env = SerialEnv(ENVS, lambda: GymEnv(env_id, categorical_action_encoding=True))
        env.set_seed(seed)
    if "replay" in task["ours"]:
        from metarl_core.integrations.torchrl import MetaRLPrioritizedSampler

        sampler = MetaRLPrioritizedSampler(CAPACITY, **PRIORITIES)
    else:
        sampler = PrioritizedSampler(CAPACITY, **PRIORITIES)
    network = MLP(in_features=4, out_features=2, num_cells=[64, 64])
    actor = QValueActor(network, in_keys=["observation"], action_space="categorical")
    explore = EGreedyModule(env.action_spec, eps_init=1.0, eps_end=0.05, annealing_num_steps=task["steps"] // 2)
    loss = DQNLoss(actor, action_space="categorical", delay_value=True, double_dqn=True)
    loss.make_value_estimator(gamma=0.99)
    target = SoftUpdate(loss, eps=0.98)
    optimizer = torch.optim.Adam(loss.parameters(), lr=1e-3)
    replay = TensorDictReplayBuffer(
        storage=LazyTensorStorage(CAPACITY),
        sampler=sampler,
        priority_key="td_error",
        batch_size=64,
        generator=torch.Generator().manual_seed(seed),
    )
    collector = Collector(
        env,
        TensorDictSequential(actor, explore),
        frames_per_batch=BATCH,
        total_frames=task["steps"] // BATCH * BATCH,
        auto_register_policy_transforms=True,
    )
    clock = Clock()
    for data in collector:
        explore.step(data.numel())
        replay.extend(data.reshape(-1))
        if len(replay) < 1_000:
            continue
        for _ in range(UPDATES):
            batch = replay.sample()
            optimizer.zero_grad()
            loss(batch)["loss"].backward()
            optimizer.step()
            target.step()
            replay.update_tensordict_priority(batch)
    spent = clock.spent()
    collector.shutdown()

    def greedy(obs: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return network(torch.from_numpy(np.asarray(obs))).argmax(-1).numpy()

    versions = {"torchrl": torchrl.__version__, "torch": torch.__version__, "gymnasium": gymnasium.__version__}
    print(json.dumps({"return": evaluate(env_id, greedy), **spent, "versions": versions}))


if __name__ == "__main__":
    main()
