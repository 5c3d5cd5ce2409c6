"""Sequences of tasks, and trees of subtasks followed through real environments."""

import numpy as np
import pytest

import metarl_core as mc
from metarl_core import stats
from metarl_core.errors import ResetNeededError
from metarl_core.tasks import Flat, Task, Tree, TreeRun

MODES = ("next_step", "same_step", "disabled")
A, B, C = (Task(name, "CartPole-v1", {"length": length}) for name, length in (("a", 0.3), ("b", 0.5), ("c", 0.9)))


# Flat


def test_phases_by_hand():
    flat = Flat([A, B, C], steps=100, cycles=2)
    assert [phase.task.name for phase in flat] == list("abcabc")
    assert [(phase.index, phase.task_index, phase.cycle) for phase in flat] == [
        (0, 0, 0),
        (1, 1, 0),
        (2, 2, 0),
        (3, 0, 1),
        (4, 1, 1),
        (5, 2, 1),
    ]
    assert [(phase.start, phase.stop) for phase in flat] == [(100 * i, 100 * i + 100) for i in range(6)]
    assert len(flat) == 6
    assert flat.total_steps == 600
    assert flat.switches.tolist() == [100, 200, 300, 400, 500]
    assert flat.task_ends().tolist() == [3, 4, 5]
    assert flat.task_ends(cycle=0).tolist() == [0, 1, 2]
    assert flat[-1].task == C


def test_every_step_is_in_its_phase():
    flat = Flat([A, B, A], steps=[3, 5, 2], cycles=3)
    expected = [phase for phase in flat for _ in range(phase.steps)]
    assert len(expected) == flat.total_steps == 30
    assert [flat.phase_at(step) for step in range(30)] == expected
    # From a to a, where a cycle ends, nothing switches.
    assert flat.switches.tolist() == [3, 8, 13, 18, 23, 28]
    assert [task.name for task in flat.tasks] == ["a", "b"]
    assert flat.task_ends(0).tolist() == [2, 1]
    assert flat.task_ends().tolist() == [8, 7]


def test_ends_fit_the_measures():
    flat = Flat([A, B], steps=10, cycles=2)
    p = np.array([[0.8, 0.1], [0.3, 0.7], [0.9, 0.5], [0.6, 0.8]])
    np.testing.assert_allclose(stats.forgetting(p, flat.task_ends()), [0.3, 0.0])
    np.testing.assert_allclose(stats.forgetting(p, flat.task_ends(0)), [0.2, -0.1])


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: Flat([], 10), ValueError, "tasks is empty"),
        (lambda: Flat(["a"], 10), TypeError, r"tasks\[0\] must be a Task, got str"),
        (lambda: Flat([A], 0), ValueError, "steps is 0; must be >= 1"),
        (lambda: Flat([A], 10.0), TypeError, "steps must be an integer, got float"),
        (lambda: Flat([A, B], [10]), ValueError, "steps has 1 numbers; must have 2, one for each task"),
        (lambda: Flat([A, B], [10, 0]), ValueError, r"steps\[1\] is 0; must be >= 1"),
        (lambda: Flat([A], 10, cycles=0), ValueError, "cycles is 0; must be >= 1"),
        (lambda: Flat([A, Task("a", "Acrobot-v1")], 10), ValueError, "two different tasks have the name 'a'"),
        (lambda: Flat([A], 10).phase_at(10), ValueError, "step is 10; must be < 10"),
        (lambda: Flat([A], 10).phase_at(-1), ValueError, "step is -1; must be >= 0"),
        (lambda: Flat([A], 10).task_ends(1), ValueError, "cycle is 1; must be < 1"),
    ],
)
def test_wrong_sequences(call, error, match):
    with pytest.raises(error, match=match):
        call()


# Tree: what environments play is compared with a row-by-row account in plain Python.


class Account:
    """One row's tree, by the words of the documentation."""

    def __init__(self, tree, cascade=True):
        self.tree, self.cascade = tree, cascade
        self.restart()

    def restart(self):
        self.done, self.returns, self.steps = (
            set(),
            dict.fromkeys(self.tree.nodes, 0.0),
            dict.fromkeys(self.tree.nodes, 0),
        )

    def path(self, node=None):
        """From the goal to the active stage; empty if all is done."""
        node = self.tree if node is None else node
        if node.name in self.done:
            return []
        for subtask in node.subtasks:
            below = self.path(subtask)
            if below:
                return [node, *below]
        if node.done is None:
            self.done.add(node.name)
            return []
        return [node]

    def earn(self, reward):
        for node in self.path() or [self.tree]:
            self.returns[node.name] += reward
            self.steps[node.name] += 1

    def see(self, holds):
        while path := self.path():
            held = [node for node in reversed(path) if node.done is not None and holds(node)]
            if held:
                self.done.add(held[0].name)
            if not held or not self.cascade:
                break
        self.path()

    @property
    def active(self):
        path = self.path()
        return self.tree.stages.index(path[-1].name) if path else -1


def check_against_accounts(tree, env_id, mode, *, steps, num_envs, act, cascade=True, **params):
    """Play with the tracker and with accounts that see the true last states of episodes; return what ended."""
    options = {"seed": 3, **params}
    envs = mc.make_vec(env_id, num_envs, autoreset_mode=mode, **options)
    twin = mc.make_vec(env_id, num_envs, autoreset_mode="disabled", **options)  # shows what same_step resets over
    run = TreeRun(tree, num_envs, envs.metadata["autoreset_mode"], cascade=cascade)
    accounts = [Account(tree, cascade) for _ in range(num_envs)]
    predicates = {node.name: node.done for node in tree._nodes if node.done is not None}

    def see(rows, obs, reward):
        held = {name: done(obs, reward, {}) for name, done in predicates.items()}
        for row in rows:
            accounts[row].see(lambda node, row=row: held[node.name][row])

    obs, info = envs.reset()
    twin.reset()
    active = run.reset(obs, info)
    see(range(num_envs), obs, np.zeros(num_envs))
    resets = np.zeros(num_envs, bool)
    rng = np.random.default_rng(0)
    finished = []
    for _ in range(steps):
        assert active.tolist() == [account.active for account in accounts]
        actions = act(envs, rng)
        obs, reward, terminated, truncated, info = envs.step(actions)
        active, episodes = run.step(obs, reward, terminated, truncated, info)
        ended = (terminated | truncated) & ~resets
        last = obs
        if mode == "same_step":
            last, twin_reward, *_ = twin.step(actions)
            np.testing.assert_array_equal(reward, twin_reward)
        for row in np.flatnonzero(~resets):
            accounts[row].earn(reward[row])
        for row in np.flatnonzero(resets):
            accounts[row].restart()
        see(range(num_envs), last, np.where(resets, 0.0, reward))
        assert episodes.rows.tolist() == np.flatnonzero(ended).tolist()
        for k, row in enumerate(episodes.rows):
            account = accounts[row]
            np.testing.assert_allclose(episodes.returns[k], [account.returns[name] for name in tree.nodes], atol=1e-9)
            assert episodes.steps[k].tolist() == [account.steps[name] for name in tree.nodes]
            assert episodes.done[k].tolist() == [name in account.done for name in tree.nodes]
            finished.append((episodes.returns[k], episodes.steps[k], episodes.done[k]))
        resets = ended if mode == "next_step" else np.zeros(num_envs, bool)
        if mode != "next_step" and ended.any():
            first = obs
            if mode == "same_step":
                twin.reset(options={"reset_mask": ended})
            else:
                first, _ = envs.reset(options={"reset_mask": ended})
                active = run.reset(first, {}, ended)
            for row in np.flatnonzero(ended):
                accounts[row].restart()
            see(np.flatnonzero(ended), first, np.zeros(num_envs))
    return finished


def has_key(obs, reward, info):
    return obs[:, 3, 6, 0] == 5  # the agent's own cell shows what it carries


def door_open(obs, reward, info):
    return ((obs[..., 0] == 4) & (obs[..., 2] == 0)).any(axis=(1, 2))


def at_goal(obs, reward, info):
    return reward > 0


def door_key():
    return Tree(
        "get to the goal",
        subtasks=[
            Tree("pass the door", [Tree("pick up the key", done=has_key), Tree("open the door", done=door_open)])
        ],
        done=at_goal,
    )


def random_actions(envs, rng):
    return rng.integers(envs.single_action_space.n, size=envs.num_envs)


@pytest.mark.parametrize("mode", MODES)
def test_door_key_at_random(mode):
    finished = check_against_accounts(
        door_key(), "MiniGrid-DoorKey-5x5-v0", mode, steps=600, num_envs=32, act=random_actions
    )
    done = np.array([done for _, _, done in finished])
    assert len(done) >= 60
    # Every episode finds the key; some get to each of the others, and some do not.
    assert done[:, 0].all()
    for column in range(1, 4):
        assert 0 < done[:, column].sum() < len(done)


def test_subtasks_of_door_key_are_what_the_states_say():
    """The tracker, which sees observations, against the key and the door in the environment's state."""
    envs = mc.make_vec("MiniGrid-DoorKey-5x5-v0", 64, autoreset_mode="next_step", seed=5)
    run = TreeRun(door_key(), 64)
    obs, info = envs.reset()
    stage = run.reset(obs, info)
    carrying = envs.field_names.index("carrying")
    cells = [i for i, name in enumerate(envs.field_names) if name.startswith("cell_")]
    rng = np.random.default_rng(1)
    expected, over = np.zeros(64, int), np.zeros(64, bool)
    seen = set()
    for _ in range(600):
        obs, reward, terminated, truncated, info = envs.step(rng.integers(7, size=64))
        stage, _ = run.step(obs, reward, terminated, truncated, info)
        state = envs.get_state()["state"].astype(int)
        expected[over] = 0
        key, opened = state[:, carrying] & 15 == 5, ((state[:, cells] & 0x8F) == 4).any(axis=1)
        expected = np.where((expected == 0) & key, 1, expected)
        expected = np.where((expected == 1) & opened, 2, expected)
        expected = np.where((expected == 2) & (reward > 0), -1, expected)
        np.testing.assert_array_equal(stage, expected)
        hot = run.one_hot()
        assert hot.dtype == np.float32
        np.testing.assert_array_equal(hot, np.where(expected[:, None] < 0, 0, np.eye(3)[expected]))
        over = terminated | truncated
        seen |= set(stage.tolist())
    assert seen == {0, 1, 2, -1}


TURN_LEFT, TURN_RIGHT, FORWARD, PICK_UP, TOGGLE = 0, 1, 2, 3, 5
DIRECTIONS = ((1, 0), (0, 1), (-1, 0), (0, -1))


def walk(start, direction, target, free, beside):
    """Actions that lead to the cell, or to face it, by breadth-first search over cells and directions."""
    queue, known = [(start, direction, ())], set()
    for place, looks, actions in queue:
        ahead = (place[0] + DIRECTIONS[looks][0], place[1] + DIRECTIONS[looks][1])
        if target == (ahead if beside else place):
            return list(actions)
        if (place, looks) in known:
            continue
        known.add((place, looks))
        queue.append((place, (looks - 1) % 4, (*actions, TURN_LEFT)))
        queue.append((place, (looks + 1) % 4, (*actions, TURN_RIGHT)))
        if ahead in free:
            queue.append((ahead, looks, (*actions, FORWARD)))
    raise AssertionError("no way")


def next_action(names, state, stage):
    fields = dict(zip(names, state.astype(int), strict=True))
    cells = {tuple(map(int, name[5:].split("_"))): value for name, value in fields.items() if name.startswith("cell_")}
    free = {cell for cell, value in cells.items() if value in (1, 24) or value & 0x8F == 4}
    wanted = (
        next((cell for cell, value in cells.items() if value & 0x8F == 5), None),
        next((cell for cell, value in cells.items() if value & 0x8F in (0x8B, 0x8C)), None),
        next(cell for cell, value in cells.items() if value == 24),
    )[stage]
    place = (fields["agent_x"], fields["agent_y"])
    return [*walk(place, fields["direction"], wanted, free, beside=stage < 2), (PICK_UP, TOGGLE, FORWARD)[stage]][0]


def test_a_policy_that_follows_the_active_subtask_solves_door_key():
    """Every episode: the stages in order, and the return is the goal's alone."""
    n = 8
    envs = mc.make_vec("MiniGrid-DoorKey-6x6-v0", n, autoreset_mode="same_step", seed=11)
    tree = door_key()
    run = TreeRun(tree, n, "same_step")
    obs, info = envs.reset()
    active = run.reset(obs, info)
    episodes, ways = [], [[] for _ in range(n)]
    while len(episodes) < 24:
        states = envs.get_state()["state"]
        for row in range(n):
            ways[row].append(int(active[row]))
        actions = [next_action(envs.field_names, states[row], active[row]) for row in range(n)]
        obs, reward, terminated, truncated, info = envs.step(np.array(actions))
        active, ended = run.step(obs, reward, terminated, truncated, info)
        for k, row in enumerate(ended.rows):
            episodes.append(ended.returns[k])
            assert ended.done[k].all()
            assert ended.steps[k].tolist() == [
                ways[row].count(0),
                ways[row].count(1),
                ways[row].count(0) + ways[row].count(1),
                len(ways[row]),
            ]
            assert ways[row] == sorted(ways[row])
            assert set(ways[row]) == {0, 1, 2}
            assert ended.returns[k].tolist() == [0, 0, 0, reward[row]]
            assert reward[row] > 0.8
            ways[row] = []
        assert (active[ended.rows] == 0).all()
    assert tree.nodes == ("pick up the key", "open the door", "pass the door", "get to the goal")
    assert tree.stages == ("pick up the key", "open the door", "get to the goal")


def random_tree(rng, depth, names):
    """A tree whose subtasks are places of a point robot to be at."""
    name = f"node {len(names)}"
    names.append(name)
    subtasks = [random_tree(rng, depth - 1, names) for _ in range(rng.integers(1, 4))] if depth else []
    axis, edge, sign = rng.integers(2), rng.normal(0, 0.15), rng.choice([-1, 1])

    def there(obs, reward, info):
        return sign * (obs[:, axis] - edge) > 0

    return Tree(name, subtasks, None if subtasks and rng.random() < 0.5 else there)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("cascade", [True, False])
def test_trees_of_any_form(mode, cascade):
    def push(envs, rng):
        return rng.uniform(-0.1, 0.1, (envs.num_envs, 2)).astype(np.float32)

    skipped = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        tree = random_tree(rng, int(rng.integers(1, 4)), [])
        finished = check_against_accounts(
            tree,
            "PointRobot-v0",
            mode,
            steps=60,
            num_envs=12,
            act=push,
            cascade=cascade,
            max_episode_steps=int(rng.integers(5, 25)),
        )
        assert finished
        skipped += sum(bool(done[-1] and not done.all()) for _, _, done in finished)
    assert skipped > 0  # goals that were done before their subtasks


def test_the_goal_ends_what_is_left():
    """MountainCar: a swing far to the left is not needed to get to the top."""

    def beyond(edge):
        return lambda obs, reward, info: obs[:, 0] * np.sign(edge) >= abs(edge)

    tree = Tree(
        "top", [Tree("swing", [Tree("left", done=beyond(-1.19)), Tree("right", done=beyond(0.1))])], beyond(0.5)
    )

    def pump(envs, rng):
        velocity = envs.get_state()["state"][:, 1]
        return np.where(velocity >= 0, 2, 0)

    finished = check_against_accounts(tree, "MountainCar-v0", "next_step", steps=450, num_envs=16, act=pump)
    done = np.array([done for _, _, done in finished])
    assert done[:, -1].all()
    assert not done[:, 0].all()
    for returns, steps, _ in finished:
        np.testing.assert_array_equal(returns, -steps)


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("env_id", ["Blackjack-v1", "gymnasium:Blackjack-v1", "minigrid:MiniGrid-DoorKey-5x5-v0"])
def test_last_observations_of_tuples_and_dicts(env_id, dense):
    """What is asked about the last step in same-step mode is what a twin that does not reset shows."""
    if ":" in env_id:
        pytest.importorskip(env_id.partition(":")[0])
    options = {"backend": "serial"} if ":" in env_id else {}
    if "MiniGrid" in env_id:
        options["max_steps"] = 7
    envs = mc.make_vec(env_id, 6, autoreset_mode="same_step", seed=2, dense_final_obs=dense, **options)
    twin = mc.make_vec(env_id, 6, autoreset_mode="disabled", seed=2, **options)
    asked = []

    def never(obs, reward, info):
        assert not any("final" in key for key in info)
        asked.append(obs)
        return np.zeros(6, bool)

    run = TreeRun(Tree("x", done=never), 6, "same_step")
    run.reset(*envs.reset())
    twin.reset()
    rng = np.random.default_rng(0)
    count = 0
    for _ in range(20):
        actions = rng.integers(envs.single_action_space.n, size=6)
        asked.clear()
        result = envs.step(actions)
        _, episodes = run.step(*result)
        last, *_ = twin.step(actions)
        parts, expected = (asked[0], last) if isinstance(last, tuple) else (asked[0].values(), last.values())
        assert len(parts) == len(expected)
        for mine, other in zip(parts, expected, strict=True):
            np.testing.assert_array_equal(mine, other)
        if len(episodes.rows):
            count += len(episodes.rows)
            ended = result[2] | result[3]
            first, _ = twin.reset(options={"reset_mask": ended})
            assert len(asked) == 2  # and once more about the first observation
            for mine, other in zip(asked[1], first, strict=True) if isinstance(first, tuple) else ():
                np.testing.assert_array_equal(mine, other)
    assert count > 5


def test_infos_of_the_last_step():
    """FrozenLake's info of a step that ends the episode is in final_info; ``done`` finds it in its place."""
    envs = mc.make_vec("FrozenLake-v1", 8, autoreset_mode="same_step", seed=0, is_slippery=True)
    probabilities = []

    def note(obs, reward, info):
        probabilities.append(info["prob"].copy())
        return np.zeros(8, bool)

    run = TreeRun(Tree("x", done=note), 8, "same_step")
    run.reset(*envs.reset())
    ended = 0
    for _ in range(40):
        probabilities.clear()
        result = envs.step(np.full(8, 2))
        _, episodes = run.step(*result)
        np.testing.assert_allclose(probabilities[0], 1 / 3)  # of a slip, not 1 of the reset
        ended += len(episodes.rows)
    assert ended > 5


def test_a_failed_step_changes_nothing():
    envs = mc.make_vec("CartPole-v1", 3, seed=0)
    broken = []

    def done(obs, reward, info):
        if broken:
            raise RuntimeError("broken")
        return obs[:, 0] > 10

    run = TreeRun(Tree("x", done=done), 3)
    run.reset(*envs.reset())
    for _ in range(4):
        run.step(*envs.step(np.ones(3, int)))
    broken.append(True)
    result = envs.step(np.ones(3, int))
    with pytest.raises(RuntimeError, match="broken"):
        run.step(*result)
    with pytest.raises(RuntimeError, match="broken"):
        run.reset(result[0])
    broken.clear()
    run.step(*result)
    while True:
        _, episodes = run.step(*envs.step(np.ones(3, int)))
        if len(episodes.rows):
            break
    state = envs.get_state()
    assert episodes.steps[:, 0].tolist() == state["elapsed"][episodes.rows].tolist()


def yes(obs, reward, info):
    return np.ones(2, bool)


def ready(tree=None, mode="next_step"):
    run = TreeRun(tree or Tree("x", done=lambda obs, reward, info: np.zeros(2, bool)), 2, mode)
    run.reset(np.zeros((2, 4)))
    return run


OK = (np.zeros((2, 4)), np.zeros(2), np.zeros(2, bool), np.zeros(2, bool), {})
OVER = (np.zeros((2, 4)), np.zeros(2), np.array([False, True]), np.zeros(2, bool), {})


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: Tree("x"), ValueError, "'x' has neither subtasks nor done; say when it is done"),
        (lambda: Tree("", done=yes), ValueError, "goal is empty"),
        (lambda: Tree(3, done=yes), TypeError, "goal must be a name or a Task, got int"),
        (lambda: Tree("x", done=True), TypeError, "done of 'x' must be a function of obs, reward and info, got True"),
        (
            lambda: Tree("x", ["y"]),
            TypeError,
            r"subtasks\[0\] of 'x' must be a Tree, got str; a single subtask",
        ),
        (
            lambda: Tree("x", [Tree("y", [Tree("z", done=yes)]), Tree("z", done=yes)]),
            ValueError,
            "'x' has two nodes 'z'; names must differ",
        ),
        (lambda: TreeRun("x", 2), TypeError, "tree must be a Tree, got str"),
        (lambda: TreeRun(Tree("x", done=yes), 0), ValueError, "num_envs is 0"),
        (lambda: TreeRun(Tree("x", done=yes), 2, "never"), ValueError, "autoreset_mode is 'never'"),
        (lambda: TreeRun(Tree("x", done=yes), 2).step(*OK), ResetNeededError, "call reset before step"),
        (
            lambda: TreeRun(Tree("x", done=yes), 2).reset(OK[0], {}, np.array([True, False])),
            ResetNeededError,
            "reset all rows first",
        ),
        (lambda: ready().step(OK[0], np.zeros(3), *OK[2:]), ValueError, r"reward has shape \(3,\); must be \(2,\)"),
        (lambda: ready().step(*OK[:2], np.zeros(2), *OK[3:]), TypeError, "terminated must be bools, got float64"),
        (lambda: ready().step(OK[0], np.array(["a", "b"]), *OK[2:]), TypeError, "reward must be real numbers"),
        (lambda: ready(mode="same_step").step(*OVER), ValueError, "info has no 'final_obs'"),
        (
            lambda: [run := ready(mode="disabled"), run.step(*OVER), run.step(*OK)],
            ResetNeededError,
            "the episode of row 1 has ended; reset it first",
        ),
        (lambda: ready(Tree("x", done=lambda *_: True)), ValueError, r"done of 'x' returned shape \(\)"),
        (lambda: ready(Tree("x", done=lambda *_: np.zeros(2))), TypeError, "done of 'x' returned float64; must return"),
        (lambda: ready().reset(OK[0], {}, [True, False]), TypeError, "must be a bool array"),
    ],
)
def test_wrong_trees(call, error, match):
    with pytest.raises(error, match=match):
        call()


def test_a_goal_may_be_a_task():
    tree = Tree(A, [Tree(B, done=yes)])
    assert tree.goal is A
    assert tree.nodes == ("b", "a")
    assert tree.stages == ("b",)
