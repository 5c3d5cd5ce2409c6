"""Environments in Python for the tests of wrapped ones; worker processes import them from here."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

import gymnasium
import numpy as np
from gymnasium import spaces


class DictEnv(gymnasium.Env):
    """A nested observation, infos in some steps only, random ends of both kinds."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012

    def __init__(self, render_mode=None, reuse=False):
        self.render_mode = render_mode
        self.observation_space = spaces.Dict(
            {
                "image": spaces.Box(0, 255, (3, 2), np.uint8),
                "place": spaces.Tuple([spaces.Discrete(5, start=-1), spaces.MultiDiscrete([3, 4])]),
                "flags": spaces.MultiBinary(3),
            }
        )
        self.action_space = spaces.Dict(
            {"turn": spaces.Discrete(3, start=1), "push": spaces.Box(-1, 1, (2,), np.float32)}
        )
        self._image = np.zeros((3, 2), np.uint8)
        self._reuse = reuse

    def _obs(self):
        image = self.np_random.integers(0, 256, (3, 2), dtype=np.uint8)
        if self._reuse:
            self._image[...] = image
            image = self._image
        place = (int(self.np_random.integers(-1, 4)), self.np_random.integers(0, [3, 4]))
        return {"image": image, "place": place, "flags": self.np_random.integers(0, 2, 3, dtype=np.int8)}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._obs(), {"start": float(self.np_random.random()), "options": options}

    def step(self, action):
        assert self.action_space.contains(action), action
        self.last = action
        u = self.np_random.random()
        info = {"u": u} if u < 0.5 else {}
        if u < 0.1:
            info["nested"] = {"text": "x" * int(100 * u), "array": np.full(2, u)}
        reward = float(action["push"].sum() * action["turn"])
        return self._obs(), reward, bool(u < 0.06), bool(0.05 < u < 0.12), info

    def render(self):
        return np.repeat(self._image[..., None], 3, axis=2)


class MissionEnv(gymnasium.Env):
    """Text and a sequence in the observation, as MiniGrid has: no fixed size."""

    def __init__(self):
        self.observation_space = spaces.Dict(
            {
                "mission": spaces.Text(20),
                "image": spaces.Box(0, 1, (2,), np.float32),
                "list": spaces.Sequence(spaces.Discrete(4)),
            }
        )
        self.action_space = spaces.Tuple([spaces.Discrete(2), spaces.Text(3)])

    def _obs(self):
        image = self.np_random.random(2).astype(np.float32)
        items = tuple(int(i) for i in self.np_random.integers(0, 4, self.np_random.integers(0, 3)))
        return {"mission": self.mission, "image": image, "list": items}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.mission = "go " + "abcdef"[int(self.np_random.integers(6))]
        return self._obs(), {}

    def step(self, action):
        number, word = action
        return self._obs(), float(number + len(word)), bool(self.np_random.random() < 0.1), False, {}


class FaultyEnv(gymnasium.Env):
    """Does as it is told: 0 a step, 1 raise, 2 leave, 3 sleep, 4 die, 5 raise what cannot be pickled, 6 bad shape."""

    def __init__(self, fail_at=None):
        if fail_at == "init":
            raise LookupError("there is no such level")
        if fail_at == "hang":
            time.sleep(300)
        if fail_at == "exit":
            sys.exit(7)
        self.fail_at = fail_at
        self.observation_space = spaces.Box(-1, 1, (2,), np.float32)
        self.action_space = spaces.Discrete(10)
        self.steps = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if self.fail_at == "reset" or (options or {}).get("fail"):
            raise LookupError("cannot start")
        self.steps = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.steps += 1
        if action == 1:
            raise LookupError("the floor is missing")
        if action == 2:
            sys.exit(3)
        if action == 3:
            time.sleep(300)
        if action == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        if action == 5:
            raise UnpicklableError(lambda: 1)
        if action == 6:
            return np.zeros(3, np.float32), 0.0, False, False, {}
        if action == 7:
            return np.zeros(2, np.float32), 0.0, False, False, {"unpicklable": threading.Lock()}
        if action == 8:
            time.sleep(0.4)
        return np.full(2, self.steps, np.float32), 1.0, False, False, {}


class UnpicklableError(Exception):
    """Holds a function."""


class RoomEnv(gymnasium.Env):
    """A task is its size, fixed when it is made."""

    def __init__(self, size=3, bonus=1):
        self.size, self.bonus, self.closed = size, bonus, False
        self.observation_space = spaces.Box(0, 100, (2,), np.float64)
        self.action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        self.key = self.np_random.random()
        return np.array([self.size, self.key]), {}

    def step(self, action):
        self.t += 1
        return np.array([self.size, self.key]), float(self.bonus), self.t >= self.size, False, {}

    def close(self):
        self.closed = True
