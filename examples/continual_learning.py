"""Continual learning: five DeepSea tasks one after the other, one Q-network, one small replay buffer.

A first-in-first-out buffer forgets the tasks of the past, and so does the network. A reservoir of the same size that is
sampled evenly over its tasks keeps them, with the same steps. Needs torch; about half a minute on one core.
"""

import argparse

import numpy as np
import torch

import metarl_core as mc

SIZE, NUM_TASKS, NUM_ENVS, CAPACITY = 6, 5, 16, 2_000
WIDTH = SIZE * SIZE + NUM_TASKS
FIELDS = {"obs": ((WIDTH,), "f4"), "action": ((), "i8"), "reward": ((), "f4"), "next_obs": ((WIDTH,), "f4")}
FIELDS |= {"terminated": ((), "?"), "task_id": ((), "i4")}


def play(task, policy, steps, seed):
    """Yield the transitions of every step of NUM_ENVS environments; observations end with the task, one-hot."""
    env = mc.make_vec("DeepSea-v0", NUM_ENVS, seed=seed, size=SIZE, mapping_seed=task, autoreset_mode="same_step")
    name = np.tile(np.eye(NUM_TASKS, dtype="f4")[task], (NUM_ENVS, 1))
    obs = np.hstack([env.reset()[0].reshape(NUM_ENVS, -1), name])
    for _ in range(steps):
        action = policy(obs)
        raw, reward, terminated, _, _ = env.step(action)
        after = np.hstack([raw.reshape(NUM_ENVS, -1), name])
        yield dict(zip(FIELDS, (obs, action, reward, after, terminated, np.full(NUM_ENVS, task)), strict=True))
        obs = after


def train(buffer, task_weights, steps, seed):
    """Learn all tasks in sequence from random play; return the greedy return on each at the end."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    q, target = (torch.nn.Sequential(torch.nn.Linear(WIDTH, 64), torch.nn.ReLU(), torch.nn.Linear(64, 2)) for _ in "qt")
    optimizer = torch.optim.Adam(q.parameters(), lr=1e-3)
    for task in range(NUM_TASKS):
        for step, columns in enumerate(play(task, lambda obs: rng.integers(0, 2, len(obs)), steps, seed)):
            buffer.add(**columns)
            batch = buffer.sample(64, task_weights=task_weights).torch()
            if step % 50 == 0:
                target.load_state_dict(q.state_dict())
            with torch.no_grad():
                goal = batch["reward"] + 0.99 * ~batch["terminated"] * target(batch["next_obs"]).amax(1)
            loss = (q(batch["obs"]).gather(1, batch["action"][:, None])[:, 0] - goal).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    episodes = (
        play(task, lambda obs: q(torch.from_numpy(obs)).argmax(1).numpy(), SIZE, seed) for task in range(NUM_TASKS)
    )
    return [sum(step["reward"].mean() for step in episode) for episode in episodes]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1000, help="steps of every environment in each task")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    fifo = mc.ReplayBuffer(CAPACITY, FIELDS, args.seed)
    reservoir = mc.ReplayBuffer(CAPACITY, FIELDS, args.seed, task_field="task_id", eviction="reservoir")
    for name, buffer, weights in (("FIFO, uniform", fifo, None), ("reservoir, balanced tasks", reservoir, "balanced")):
        returns = train(buffer, weights, args.steps, args.seed)
        print(f"{name:26}", "  ".join(f"{r:5.2f}" for r in returns), f"  mean {np.mean(returns):.2f}")
