"""The package minigrid as a reference: its states as rows of numbers, a policy that gets to every ending, and steps."""

from __future__ import annotations

from collections import deque

import gymnasium
import minigrid  # noqa: F401 - registers its environments
import numpy as np
from gymnasium.envs.registration import load_env_creator
from minigrid.core.world_object import Door, WorldObj

import metarl_core
from metarl_core.testing import Comparison

HEADER = 7
EMPTY, WALL, GOAL, LAVA = 1, 210, 24, 9
KEY, BALL, OPEN_DOOR, CLOSED_DOOR, LOCKED_DOOR = 5, 6, 4, 11, 12  # what the low four bits say
LEFT, RIGHT, FORWARD, PICKUP, DROP, TOGGLE, DONE = range(7)
AHEAD = ((1, 0), (0, 1), (-1, 0), (0, -1))
COLOURS = {"red": 0, "green": 1, "blue": 2, "purple": 3, "yellow": 4, "grey": 5}

FAMILIES = {
    "Empty": [f"MiniGrid-Empty-{name}-v0" for name in ("5x5", "6x6", "8x8", "16x16", "Random-5x5", "Random-6x6")],
    "DoorKey": [f"MiniGrid-DoorKey-{n}x{n}-v0" for n in (5, 6, 8, 16)],
    "MultiRoom": [f"MiniGrid-MultiRoom-{name}" for name in ("N2-S4-v0", "N4-S5-v0", "N4-S5-v1", "N6-v0")],
    "KeyCorridor": [f"MiniGrid-KeyCorridor{name}-v0" for name in ("S3R1", "S3R2", "S3R3", "S4R3", "S5R3", "S6R3")],
    "FourRooms": ["MiniGrid-FourRooms-v0"],
    "Unlock": ["MiniGrid-Unlock-v0"],
    "LavaCrossing": [f"MiniGrid-LavaCrossing{name}-v0" for name in ("S9N1", "S9N2", "S9N3", "S11N5")],
    "SimpleCrossing": [f"MiniGrid-SimpleCrossing{name}-v0" for name in ("S9N1", "S9N2", "S9N3", "S11N5")],
}
IDS = [env_id for ids in FAMILIES.values() for env_id in ids]


def package_env(env_id, **kwargs):
    """The package's environment, without wrappers."""
    spec = gymnasium.registry[env_id]  # make would warn that some ids are out of date
    return load_env_creator(spec.entry_point)(**spec.kwargs, **kwargs)


def cell_number(thing):
    """The number that stands for a WorldObj, or None, in our state."""
    if thing is None:
        return EMPTY
    kind, colour, state = thing.encode()
    if kind == 4:
        return (OPEN_DOOR, CLOSED_DOOR + 128, LOCKED_DOOR + 128)[state] + 16 * colour
    return kind + 16 * colour + 128 * (kind == 2)


def thing_of(number):
    """The WorldObj, or None, that a number stands for."""
    kind, colour = int(number) & 15, list(COLOURS)[int(number) >> 4 & 7]
    if kind in (OPEN_DOOR, CLOSED_DOOR, LOCKED_DOOR):
        return Door(colour, is_open=kind == OPEN_DOOR, is_locked=kind == LOCKED_DOOR)
    return WorldObj.decode(kind, COLOURS[colour], 0)


class ToldMiniGrid(gymnasium.Wrapper):
    """The package's environment with its image; its resets put in the level of `states[row]`."""

    def __init__(self, env_id, row, states, limit):
        super().__init__(package_env(env_id, max_steps=limit))
        self.observation_space = self.env.observation_space["image"]
        self.row, self.states = row, states

    def reset(self, *, seed=None, options=None):
        env, state = self.env, self.states[self.row]
        env.reset()
        env.agent_pos, env.agent_dir = (int(state[0]), int(state[1])), int(state[2])
        env.grid.grid = [thing_of(number) for number in state[HEADER:]]
        target = env.grid.get(int(state[4]), int(state[5]))
        for name in ("obj", "door"):
            if hasattr(env, name):
                setattr(env, name, target)
        return env.gen_obs()["image"], {}

    def step(self, action):
        obs, *rest = self.env.step(action)
        return obs["image"], *rest


class Reference:
    """One environment of the package, with what our state has beyond its own."""

    def __init__(self, env_id, seed):
        self.env = package_env(env_id)
        self.env.reset(seed=seed)
        self.target = self._target()

    def reset(self):
        obs, _ = self.env.reset()
        self.target = self._target()
        return obs

    def _target(self):
        """Position and number of what ends the episode, at its start."""
        env = self.env
        if hasattr(env, "obj"):
            thing, place = env.obj, env.obj.init_pos
        elif hasattr(env, "door"):
            thing, place = env.door, env.door.cur_pos
        else:
            index = next(k for k, thing in enumerate(env.grid.grid) if thing is not None and thing.type == "goal")
            thing, place = env.grid.grid[index], (index % env.width, index // env.width)
        return [int(place[0]), int(place[1]), cell_number(thing)]

    def row(self):
        """Our state of it."""
        env = self.env
        x, y = env.agent_pos
        cells = [EMPTY if thing is None else cell_number(thing) for thing in env.grid.grid]
        return [int(x), int(y), int(env.agent_dir), cell_number(env.carrying), *self.target, *cells]


class Level:
    """A row of our state, to plan on."""

    def __init__(self, row, width):
        self.x, self.y, self.direction, self.carrying = (int(v) for v in row[:4])
        self.target = (int(row[4]), int(row[5]))
        self.width = width
        self.cells = [int(c) for c in row[HEADER:]]

    def at(self, x, y):
        return self.cells[y * self.width + x]

    def find(self, kind):
        """Places of the cells of a kind."""
        return [(k % self.width, k // self.width) for k, c in enumerate(self.cells) if c & 15 == kind]

    def path(self, is_goal):
        """Actions after which ``is_goal`` holds of the place ahead, opening doors on the way; None: there are none."""
        start = (self.x, self.y, self.direction)
        before = {start: None}
        queue = deque([start])
        while queue:
            x, y, direction = here = queue.popleft()
            dx, dy = AHEAD[direction]
            if is_goal((x + dx, y + dy)):
                actions = []
                while before[here] is not None:
                    here, step = before[here]
                    actions[:0] = step
                return actions
            steps = [((x, y, (direction + 3) % 4), [LEFT]), ((x, y, (direction + 1) % 4), [RIGHT])]
            front = self.at(x + dx, y + dy)
            if front == EMPTY or front & 15 in (OPEN_DOOR, CLOSED_DOOR):
                shut = front & 15 == CLOSED_DOOR
                steps.append(((x + dx, y + dy, direction), [TOGGLE, FORWARD] if shut else [FORWARD]))
            for there, actions in steps:
                if there not in before:
                    before[there] = (here, actions)
                    queue.append(there)
        return None

    def plan(self):
        """Actions to the next thing to do: fetch the key, open the locked door, put the key down, get to the end."""
        locked, goals, balls = self.find(LOCKED_DOOR), self.find(GOAL & 15), self.find(BALL)
        held = self.carrying & 15
        if locked and held == KEY:
            return self.to(locked[0], TOGGLE)
        if locked:
            return self.to(self.find(KEY)[0], PICKUP)
        if balls and self.carrying != EMPTY:
            return [*self.path(lambda place: self.at(*place) == EMPTY), DROP]
        if balls:
            return self.to(balls[0], PICKUP)
        return self.to(goals[0], FORWARD)

    def to(self, place, action):
        actions = self.path(lambda there: there == place)
        return None if actions is None else [*actions, action]


class Policy:
    """Plans with random actions in between; some episodes are random altogether."""

    def __init__(self, rng, width):
        self.rng, self.width = rng, width
        self.start()

    def start(self):
        self.actions = []
        self.noise = self.rng.choice([0.02, 0.2, 1.0])

    def __call__(self, row):
        if self.rng.random() < self.noise:
            self.actions = []
            return int(self.rng.choice(7, p=(0.14, 0.14, 0.3, 0.12, 0.08, 0.17, 0.05)))
        if not self.actions:
            self.actions = Level(row, self.width).plan() or [int(self.rng.integers(7))]
        return self.actions.pop(0)


def compare_batch(comparison, env_id, before, elapsed, actions, after, images, results):
    """Take one step from every state at once and compare all that comes out."""
    count = len(actions)
    envs = metarl_core.make_vec(env_id, count, autoreset_mode="disabled")
    before, after = np.array(before, np.float64), np.array(after, np.float64)
    envs.set_state({"state": before, "elapsed": np.array(elapsed, np.int32)})
    np.testing.assert_array_equal(envs.get_state()["state"], before)
    np.testing.assert_array_equal(envs.observe(), images[:, 0])
    obs, reward, terminated, truncated, _ = envs.step(np.array(actions))
    state, (rewards, ends, cuts) = envs.get_state()["state"], np.array(results).T
    wrong = np.flatnonzero((state != after).any(1) | (obs != images[:, 1]).any((1, 2, 3)))
    assert not len(wrong), f"from {before[wrong[0]]} action {actions[wrong[0]]} leads to {state[wrong[0]]}"
    comparison.add(
        (state, obs, reward, terminated, truncated),
        (after, images[:, 1], rewards, ends.astype(bool), cuts.astype(bool)),
    )
    envs.close()


def compare_episodes(env_id, states, seed):
    """Play the package for ``states`` steps; compare each with ours from the same state. Returns what was seen."""
    rng = np.random.default_rng(seed)
    reference = Reference(env_id, seed)
    policy = Policy(rng, reference.env.width)
    comparison, successes = Comparison(), 0
    obs, row = reference.reset(), None
    while states > 0:
        chunk = min(states, 20_000)
        states -= chunk
        before, elapsed, actions, after, images, results = [], [], [], [], np.empty((chunk, 2, 7, 7, 3), np.uint8), []
        for k in range(chunk):
            row = reference.row() if row is None else row
            action = policy(row)
            before.append(row)
            elapsed.append(reference.env.step_count)
            actions.append(action)
            images[k, 0] = obs["image"]
            obs, reward, terminated, truncated, _ = reference.env.step(action)
            row = reference.row()
            after.append(row)
            images[k, 1] = obs["image"]
            results.append((reward, terminated, truncated))
            if terminated or truncated:
                successes += reward > 0
                obs, row = reference.reset(), None
                policy.start()
                if rng.random() < 0.3:  # most of the way to the limit at once
                    reference.env.step_count = reference.env.max_steps - int(rng.integers(1, 40))
        compare_batch(comparison, env_id, before, elapsed, actions, after, images, results)
    return comparison, successes
