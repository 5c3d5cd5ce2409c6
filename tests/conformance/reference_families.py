"""The meta-learning environments once more, in plain Python and NumPy float64, from their descriptions.

Nothing is shared with the core: also the random numbers that tasks are generated from are made here.
"""

from __future__ import annotations

from math import cos, log, pi, sqrt

import numpy as np

MASK = 2**32 - 1
GENERATE = 21  # the purpose of the numbers that a task is generated from
TASK_STREAM = 2**32 - 1


def philox(key, counter):
    """Philox 4x32-10 of Salmon et al. (2011), in Python's integers."""
    c0, c1, c2, c3 = counter
    k0, k1 = key & MASK, key >> 32
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & MASK, (p0 >> 32) ^ c3 ^ k1, p0 & MASK
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return c0, c1, c2, c3


def task_words(seed):
    """Yield the words that a seeded task is generated from, block after block."""
    block = 0
    while True:
        yield from philox(seed, (TASK_STREAM, 0, 0, GENERATE + 256 * block))
        block += 1


def normal(first, second):
    """Box and Muller's standard normal number."""
    return sqrt(-2 * log((first + 0.5) / 2**32)) * cos(2 * pi * second / 2**32)


class Episodes:
    """What the references below have in common: their time limit, and a generator for resets and steps."""

    def __init__(self, row, limit):
        self.limit, self.elapsed = limit, 0
        self.rng = np.random.default_rng(row)
        self.reset()

    def truncated(self):
        self.elapsed += 1
        return self.limit is not None and self.elapsed >= self.limit

    def draws(self):
        return None

    def reset(self):
        raise NotImplementedError


class PointRobot(Episodes):
    def __init__(self, row, limit=100, max_step=0.1, goal_tolerance=0.01):
        self.max_step, self.goal_tolerance = max_step, goal_tolerance
        super().__init__(row, limit)

    def reset(self):
        self.place, self.goal = np.zeros(2), self.rng.uniform(-0.5, 0.5, 2)

    def get_fields(self):
        return [*self.place, *self.goal]

    def set_fields(self, fields):
        self.place, self.goal = fields[:2].copy(), fields[2:].copy()

    def step(self, action):
        bound = np.float32(self.max_step)
        self.place = self.place + np.clip(action, -bound, bound)
        to_goal = self.place - self.goal
        reward, terminated = self.judge(np.sqrt((to_goal**2).sum()), np.abs(to_goal).max())
        return self.observe(), reward, terminated, self.truncated(), {}

    def observe(self):
        return self.place.astype(np.float32)

    def judge(self, distance, largest):
        return -distance, bool(largest < self.goal_tolerance)


class SparsePointRobot(PointRobot):
    def __init__(self, row, limit=20, max_step=0.1, goal_radius=0.2, circle_radius=1.0, dense=False):
        self.goal_radius, self.circle_radius, self.dense = goal_radius, circle_radius, dense
        super().__init__(row, limit, max_step)

    def reset(self):
        angle = self.rng.uniform(0, np.pi)
        self.place, self.goal = np.zeros(2), self.circle_radius * np.array([np.cos(angle), np.sin(angle)])

    def judge(self, distance, largest):
        if self.dense:
            return -distance, False
        return (1 - distance if distance <= self.goal_radius else 0.0), False


def bandit_means(seed, arms, gaussian=False, low=0.0, high=1.0):
    """Means of a seeded bandit's arms; Gaussian: `low` is their mean, `high` their standard deviation."""
    words = task_words(seed)
    means = []
    for _ in range(arms):
        first, second = next(words), next(words)
        if gaussian:
            means.append(low + high * normal(first, second))
        else:
            means.append(low + (high - low) * (((first << 32 | second) >> 11) / 2**53))
    return np.array(means)


class Bandit(Episodes):
    def __init__(self, row, arms=10, horizon=100, limit=None, gaussian=False, reward_scale=1.0):
        self.arms, self.horizon, self.gaussian, self.reward_scale = arms, horizon, gaussian, reward_scale
        super().__init__(row, limit)

    def reset(self):
        self.means = self.rng.normal(size=self.arms) if self.gaussian else self.rng.random(self.arms)
        self.pulls, self.last_action, self.last_reward = 0, -1, 0.0

    def get_fields(self):
        return [self.pulls, self.last_action, self.last_reward, *self.means]

    def draws(self):
        return [self.drawn]

    def step(self, action):
        self.drawn = self.rng.normal() if self.gaussian else self.rng.random()
        if self.gaussian:
            reward = self.means[action] + self.reward_scale * self.drawn
        else:
            reward = float(self.drawn < self.means[action])
        self.pulls, self.last_action, self.last_reward = self.pulls + 1, int(action), reward
        return self.observe(), reward, self.pulls == self.horizon, self.truncated(), {}

    def observe(self):
        return np.array([*(np.arange(self.arms) == self.last_action), self.last_reward], np.float32)

    def set_fields(self, fields):
        self.pulls, self.last_action, self.last_reward = int(fields[0]), int(fields[1]), fields[2]
        self.means = fields[3:].copy()


class TabularMDP(Episodes):
    def __init__(self, row, states=10, actions=5, horizon=10, episodes=1, limit=None, history=False, **scales):
        self.states, self.actions, self.horizon, self.episodes = states, actions, horizon, episodes
        self.history, self.scales = history, {"loc": 1.0, "scale": 1.0, "noise": 1.0, **scales}
        super().__init__(row, limit)

    def reset(self):
        self.name = [int(word) for word in self.rng.integers(2**32, size=2)]
        self.set_fields([0, 0, -1, 0.0, *self.name])

    def set_fields(self, fields):
        self.state, self.steps, self.last_action = (int(field) for field in fields[:3])
        self.last_reward, self.name = float(fields[3]), [int(word) for word in fields[4:]]
        self.cuts, self.means = mdp_tables(self.name, self.states, self.actions)

    def get_fields(self):
        return [self.state, self.steps, self.last_action, self.last_reward, *self.name]

    def draws(self):
        return self.drawn

    def step(self, action):
        self.drawn = [self.rng.normal(), self.rng.random()]
        mean = self.scales["loc"] + self.scales["scale"] * self.means[self.state, action]
        reward = mean + self.scales["noise"] * self.drawn[0]
        following = int(np.searchsorted(self.cuts[self.state, action], self.drawn[1], side="right"))
        self.steps += 1
        over = self.steps % self.horizon == 0
        terminated = self.steps == self.horizon * self.episodes
        self.state = 0 if over and not terminated else following
        self.last_action, self.last_reward = int(action), reward
        return self.observe(), reward, terminated, self.truncated(), {}

    def observe(self):
        if not self.history:
            return self.state
        over = self.steps > 0 and self.steps % self.horizon == 0
        one_hots = [np.arange(self.states) == self.state, np.arange(self.actions) == self.last_action]
        return np.concatenate([*one_hots, [self.last_reward, over]]).astype(np.float32)


def mdp_name(seed):
    """The two words that a seeded process is generated from."""
    words = task_words(seed)
    return [next(words), next(words)]


def mdp_tables(name, states, actions):
    """Where the next states' intervals meet, sorted ``[states, actions, states - 1]``; standardised mean rewards."""
    key = name[0] | name[1] << 32
    cuts = np.empty((states, actions, states - 1))
    means = np.empty((states, actions))
    for state in range(states):
        for action in range(actions):
            pair = state * actions + action
            means[state, action] = normal(*philox(key, (pair, 0, 0, GENERATE))[:2])
            words = [w for block in range(1, states // 4 + 2) for w in philox(key, (pair, block, 0, GENERATE))]
            cuts[state, action] = np.sort(np.array(words[: states - 1]) / 2**32)
    return cuts, means


def transition_probabilities(cuts):
    """Probability of each next state, ``[..., states]``."""
    edge = np.zeros((*cuts.shape[:-1], 1))
    return np.diff(np.concatenate([edge, cuts, edge + 1], axis=-1), axis=-1)


def seeded_map(seed, size):
    """Return the map of a seed, ``[size, size]`` True at walls, and the goal that goes with it."""
    words = task_words(seed)
    rooms = (size - 1) // 2
    goal = 1 + (next(words) * (rooms**2 - 1) >> 32)
    for _ in range(3):
        next(words)
    walls = np.ones((size, size), bool)
    start = next(words) * rooms**2 >> 32
    way = [(start // rooms, start % rooms)]
    walls[2 * way[0][0] + 1, 2 * way[0][1] + 1] = False
    visited = {way[0]}
    while way:
        row, column = way[-1]
        free = [
            (row + down, column + right)
            for down, right in ((-1, 0), (0, 1), (1, 0), (0, -1))
            if 0 <= row + down < rooms and 0 <= column + right < rooms and (row + down, column + right) not in visited
        ]
        if not free:
            way.pop()
            continue
        chosen = free[next(words) * len(free) >> 32]
        walls[row + chosen[0] + 1, column + chosen[1] + 1] = False  # between the two
        walls[2 * chosen[0] + 1, 2 * chosen[1] + 1] = False
        visited.add(chosen)
        way.append(chosen)
    return walls, (2 * (goal // rooms) + 1, 2 * (goal % rooms) + 1)


MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))


class Maze(Episodes):
    def __init__(self, row, size=11, limit=200, goal=1.0, step=0.0, bump=0.0, shaping=0.0):
        self.size, self.goal_reward, self.step_reward, self.bump, self.shaping = size, goal, step, bump, shaping
        super().__init__(row, limit)

    def reset(self):
        self.walls, self.goal = seeded_map(int(self.rng.integers(2**53)), self.size)
        rooms = [(r, c) for r in range(1, self.size, 2) for c in range(1, self.size, 2) if (r, c) != self.goal]
        self.place = rooms[self.rng.integers(len(rooms))]
        self.last_action, self.time, self.last_reward = -1, 0, 0.0

    def view(self):
        row, column = self.place
        return self.walls[row - 1 : row + 2, column - 1 : column + 2].ravel()

    def get_fields(self):
        weights = 2.0 ** np.arange(self.size - 2)
        view = (self.view() * 2.0 ** np.arange(9)).sum()
        # Rewards are kept as float32 up to size 25, where the kernel's fields are.
        reward = np.float32(self.last_reward)
        return [
            *self.place, *self.goal, self.last_action, self.time, view, reward, *(self.walls[:, 1:-1] @ weights)
        ]  # fmt: skip

    def step(self, action):
        before, (down, right) = self.place, MOVES[action]
        bumped = self.walls[before[0] + down, before[1] + right]
        if not bumped:
            self.place = (before[0] + down, before[1] + right)
        reached = self.place == self.goal
        closer = sum(abs(a - g) - abs(b - g) for a, b, g in zip(before, self.place, self.goal, strict=True))
        reward = self.step_reward + self.bump * bumped + self.goal_reward * reached + self.shaping * closer
        self.time += 1
        self.last_action, self.last_reward = int(action), reward
        return self.observe(), float(reward), reached, self.truncated(), {}

    def observe(self):
        rest = [self.last_reward, self.time / self.limit]
        return np.concatenate([self.view(), np.arange(4) == self.last_action, rest]).astype(np.float32)

    def set_fields(self, fields):
        self.place, self.goal = tuple(fields[:2].astype(int).tolist()), tuple(fields[2:4].astype(int).tolist())
        self.last_action, self.time, self.last_reward = int(fields[4]), int(fields[5]), fields[7]
        self.walls = np.ones((self.size, self.size), bool)
        self.walls[:, 1:-1] = fields[8:].astype(np.int64)[:, None] >> np.arange(self.size - 2) & 1


def ways(walls):
    """Number of steps from each open cell to each other, by breadth-first search: cell -> {cell: steps}."""
    cells = [tuple(cell) for cell in np.argwhere(~walls).tolist()]
    steps = {}
    for start in cells:
        found, edge = {start: 0}, [start]
        while edge:
            following = []
            for cell in edge:
                for down, right in MOVES:
                    other = (cell[0] + down, cell[1] + right)
                    if not walls[other] and other not in found:
                        found[other] = found[cell] + 1
                        following.append(other)
            edge = following
        steps[start] = found
    return steps
