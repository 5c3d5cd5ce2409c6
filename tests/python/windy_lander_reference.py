"""examples/custom_env in plain Python: the dynamics, the random numbers and the autoreset, row by row."""

from __future__ import annotations

import numpy as np

_RESET, _STEP = 16, 17  # purposes of random numbers, as docs/custom-environments.md states them
DEFAULTS = {
    "gravity": 1.62,
    "thrust": 4.0,
    "side_thrust": 1.0,
    "drag": 0.1,
    "gust": 0.6,
    "calming": 0.95,
    "pad": 1.0,
    "safe_speed": 1.0,
    "fuel_cost": 0.005,
    "start_height": 8.0,
    "dt": 0.1,
}


def philox(key: int, counter: tuple[int, int, int, int]) -> list[int]:
    """Philox 4x32-10 (Salmon et al., SC 2011)."""
    mask = 0xFFFFFFFF
    k0, k1 = key & mask, key >> 32
    c0, c1, c2, c3 = counter
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & mask, (p0 >> 32) ^ c3 ^ k1, p0 & mask
        k0, k1 = (k0 + 0x9E3779B9) & mask, (k1 + 0xBB67AE85) & mask
    return [c0, c1, c2, c3]


class Row:
    """One environment."""

    def __init__(self, seed: int, stream: int, limit: int = 400, **params: float) -> None:
        self.seed, self.stream, self.limit = seed, stream, limit
        self.params = {**DEFAULTS, **params}
        self.episode = self.elapsed = 0
        self.done = False

    def reset(self) -> np.ndarray:
        u = [word / 2**32 for word in philox(self.seed, (self.stream, self.episode, 0, _RESET))]
        self.state = [6 * u[0] - 3, self.params["start_height"], 2 * u[1] - 1, 0.0, 4 * u[2] - 2]
        self.episode += 1
        self.elapsed = 0
        self.done = False
        return self.observe()

    def observe(self) -> np.ndarray:
        return np.array(self.state, np.float32)

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool]:
        p = self.params
        u = philox(self.seed, (self.stream, self.elapsed, self.episode, _STEP))[0] / 2**32
        x, height, x_speed, climb, wind = self.state
        push = {1: 1.0, 3: -1.0}.get(action, 0.0)
        lift = 1.0 if action == 2 else 0.0
        wind = p["calming"] * wind + p["gust"] * (2 * u - 1)
        x_speed += p["dt"] * (p["side_thrust"] * push + p["drag"] * (wind - x_speed))
        climb += p["dt"] * (p["thrust"] * lift - p["gravity"] - p["drag"] * climb)
        x += p["dt"] * x_speed
        height += p["dt"] * climb
        self.state = [x, height, x_speed, climb, wind]
        down = height <= 0
        terminated = down or abs(x) > 10
        soft = abs(x_speed) <= p["safe_speed"] and abs(climb) <= p["safe_speed"]
        landed = down and soft and abs(x) <= p["pad"]
        reward = (1.0 if landed else -1.0) if terminated else (-p["fuel_cost"] if action else 0.0)
        self.elapsed += 1
        truncated = self.elapsed >= self.limit
        self.done = terminated or truncated
        return self.observe(), reward, terminated, truncated


def pilot(obs: np.ndarray) -> np.ndarray:
    """Actions that land most crafts: brake the fall, else push towards the pad."""
    x, height, x_speed, climb, _ = obs.T.astype(np.float64)
    actions = np.zeros(len(obs), np.int64)
    drift = x + 2 * x_speed
    actions[drift < -0.3] = 1
    actions[drift > 0.3] = 3
    actions[climb < -(0.4 + 0.25 * height)] = 2
    return actions
