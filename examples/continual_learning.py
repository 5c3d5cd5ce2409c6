"""Five DeepSea tasks in sequence, one Q-network: FIFO replay forgets the first ones, a balanced reservoir does not."""

import numpy as np
import torch

import metarl_core as mc

SIZE, NUM_TASKS, NUM_ENVS, STEPS = 6, 5, 16, 500
OBS = ((SIZE * SIZE + NUM_TASKS,), "f4")
FIELDS = {"obs": OBS, "action": ((), "i8"), "reward": ((), "f4"), "next_obs": OBS, "terminated": ((), "?")}


def play(task, q, steps):  # greedily, or without q at random; observations end with the task, one-hot
    env = mc.make_vec("DeepSea-v0", NUM_ENVS, seed=0, size=SIZE, mapping_seed=task, autoreset_mode="same_step")
    name = np.tile(np.eye(NUM_TASKS, dtype="f4")[task], (NUM_ENVS, 1))
    obs = np.hstack([env.reset()[0].reshape(NUM_ENVS, -1), name])
    for _ in range(steps):
        before, action = obs, (q(torch.from_numpy(obs)).argmax(1) if q else torch.randint(2, (NUM_ENVS,))).numpy()
        raw, reward, terminated, _, _ = env.step(action)
        obs = np.hstack([raw.reshape(NUM_ENVS, -1), name])
        yield dict(zip(FIELDS, (before, action, reward, obs, terminated), strict=True))


for eviction, weights in (("fifo", None), ("reservoir", "balanced")):
    torch.manual_seed(0)
    torch.set_num_threads(1)  # more would be slower
    buffer = mc.ReplayBuffer(2_000, FIELDS | {"task": ((), "i4")}, task_field="task", eviction=eviction)
    q = torch.nn.Sequential(torch.nn.Linear(*OBS[0], 64), torch.nn.ReLU(), torch.nn.Linear(64, 2))
    optimizer = torch.optim.Adam(q.parameters(), lr=1e-3)
    for task in range(NUM_TASKS):
        for columns in play(task, None, STEPS):
            buffer.add(**columns, task=np.full(NUM_ENVS, task))
            batch = buffer.sample(64, task_weights=weights).torch()
            goal = batch["reward"] + 0.99 * ~batch["terminated"] * q(batch["next_obs"]).amax(1).detach()
            loss = (q(batch["obs"]).gather(1, batch["action"][:, None])[:, 0] - goal).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    returns = [sum(step["reward"].mean() for step in play(task, q, SIZE)) for task in range(NUM_TASKS)]
    print(f"{eviction:9} {weights or 'uniform':8}", *(f"{r:5.2f}" for r in returns), f"mean {np.mean(returns):.2f}")
