"""Load the environment that was built here and fly 4096 crafts, each on a world of its own: demo.py LIBRARY."""

from __future__ import annotations

import sys

import numpy as np

import metarl_core as mc


def main(library: str) -> None:
    (env_id,) = mc.load_env_library(library)
    envs = mc.make_vec(env_id, num_envs=4096, autoreset_mode="same_step", dense_final_obs=True, seed=0)
    envs.set_tasks({"gravity": np.linspace(0.5, 3.0, 4096), "gust": 0.3})
    obs, _ = envs.reset()
    landed, ended = np.zeros(4096, np.int64), np.zeros(4096, np.int64)
    for _ in range(400):
        x, height, x_speed, climb, _ = obs.T
        drift = x + 2 * x_speed
        actions = np.where(drift < -0.3, 1, np.where(drift > 0.3, 3, 0))
        actions[climb < -(0.4 + 0.25 * height)] = 2
        obs, reward, terminated, truncated, _ = envs.step(actions)
        landed += terminated & (reward > 0)
        ended += terminated | truncated
    for name, part in (("weak", slice(0, 2048)), ("strong", slice(2048, 4096))):
        share = landed[part].sum() / ended[part].sum()
        print(f"{name:6} gravity: {share:.0%} of {ended[part].sum()} episodes landed")
    envs.close()


if __name__ == "__main__":
    main(sys.argv[1])
