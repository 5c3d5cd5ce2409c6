"""The package minatar beside ours: its states as our fields, its random numbers as our draws, and who plays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from minatar.environment import Environment

import metarl_core
from metarl_core.testing import Comparison

ROWS = 64


class Recorder:
    """A RandomState that remembers what it handed out; copies, since the games change arrays in place."""

    def __init__(self, random: np.random.RandomState) -> None:
        self.random = random
        self.drawn: list[tuple[str, Any]] = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self.random, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            value = method(*args, **kwargs)
            self.drawn.append((name, np.copy(value) if isinstance(value, np.ndarray) else value))
            return value

        return call

    def take(self) -> list[tuple[str, Any]]:
        """Return what was drawn since the last call."""
        drawn, self.drawn = self.drawn, []
        return drawn


def no_draws(drawn: list[tuple[str, Any]]) -> list[float]:
    """Of games whose steps draw nothing but for sticking."""
    assert [name for name, _ in drawn] == ["rand"]
    return [drawn[0][1]]


@dataclass
class Game:
    """One game.

    Attributes:
        module: The game's name in the package.
        name: Its name in our ids.
        minimal: Our names of its minimal actions, as the package numbers them.
        fields: The state of a reference as our fields, without the last action.
        act: Which of all six actions a good player takes.
        draws: What a step of the reference drew as our draws.
        vary: Puts a reference into a start that leads to rare events.
        events: Names of what happened in a step, from the fields before and after, the reward and the end.
        expected: The events that a comparison must have seen.
        expected_ramping: Those that it must have seen with difficulty_ramping.
    """

    module: str
    name: str
    fields: Callable[[Any], list[float]]
    act: Callable[[Any, np.random.Generator], int]
    events: Callable[[dict[str, float], dict[str, float], float, bool], list[str]]
    expected: tuple[str, ...]
    expected_ramping: tuple[str, ...] = ()
    draws: Callable[[list[tuple[str, Any]]], list[float]] = no_draws
    vary: Callable[[Any, np.random.Generator], None] = lambda env, rng: None

    def make(self, seed: int, **kwargs: Any) -> Environment:
        """Make a reference whose random numbers are recorded."""
        reference = Environment(self.module, **kwargs)
        reference.random = reference.env.random = Recorder(np.random.RandomState(seed))
        reference.reset()
        reference.random.take()
        return reference

    def state(self, reference: Environment) -> list[float]:
        """Return all of our fields."""
        return [reference.last_action, *self.fields(reference.env)]


# --- Breakout ----------------------------------------------------------------------------------------------------


def breakout_fields(env: Any) -> list[float]:
    assert not env.brick_map[[0, *range(4, 10)]].any()
    bricks = int((env.brick_map[1:4].ravel().astype(np.int64) << np.arange(30)).sum())
    assert env.terminal == (env.ball_y == 9)
    return [env.ball_x, env.ball_y, env.ball_dir, env.last_x, env.last_y, env.pos, bricks, env.strike]


def breakout_player(env: Any, rng: np.random.Generator) -> int:
    # Below the ball, or now and then where it goes, which sends it back the other way.
    target = env.ball_x
    if rng.random() < 0.3:
        target += 1 if env.ball_dir in (1, 2) else -1
    return {0: 0, 1: 3, -1: 1}[int(np.sign(target - env.pos))]


def breakout_start(env: Any, rng: np.random.Generator) -> None:
    if rng.random() < 0.5:  # few bricks, so that walls are cleared
        env.brick_map[1:4] *= rng.random((3, 10)) < 0.1


def breakout_events(before: dict[str, float], after: dict[str, float], reward: float, ended: bool) -> list[str]:
    found = ["lost"] if ended else []
    if after["bricks"] > before["bricks"]:
        found.append("new wall")
    if reward:
        found.append("brick")
    if after["strike"] and before["strike"]:
        found.append("through bricks")
    turn = int(before["ball_direction"]) ^ int(after["ball_direction"])
    if before["ball_y"] == 8 and before["ball_direction"] >= 2 and not ended:
        at_wall = (before["ball_x"], before["ball_direction"]) in ((0, 3), (9, 2))
        found.append("paddle and wall" if at_wall else {2: "paddle, back", 3: "paddle"}[turn])
    elif before["ball_y"] == 0 and before["ball_direction"] < 2:
        found.append("corner" if turn == 2 else "ceiling")
    elif turn & 1:
        found.append("wall")
    return found


BREAKOUT = Game(
    "breakout",
    "Breakout",
    breakout_fields,
    breakout_player,
    breakout_events,
    (
        "lost",
        "new wall",
        "brick",
        "through bricks",
        "paddle",
        "paddle, back",
        "paddle and wall",
        "ceiling",
        "corner",
        "wall",
    ),
    vary=breakout_start,
)

# --- Freeway -----------------------------------------------------------------------------------------------------


def freeway_fields(env: Any) -> list[float]:
    assert [car[1] for car in env.cars] == list(range(1, 9))
    assert env.terminal == (env.terminate_timer < 0)
    cars = [[car[column] for car in env.cars] for column in (0, 2, 3)]
    return [env.pos, env.move_timer, env.terminate_timer, *cars[0], *cars[1], *cars[2]]


def freeway_draws(drawn: list[tuple[str, Any]]) -> list[float]:
    if len(drawn) == 1:
        return [drawn[0][1], *[0.0] * 16]  # nothing that a crossing could use
    (_, sticks), (speeds_by, speeds), (turns_by, turns) = drawn
    assert (speeds_by, turns_by) == ("randint", "rand")
    return [sticks, *speeds, *turns]


def freeway_player(env: Any, rng: np.random.Generator) -> int:
    return 2 if rng.random() < 0.9 else 4


def freeway_start(env: Any, rng: np.random.Generator) -> None:
    env.terminate_timer = int(rng.integers(0, 2501))  # so that some episodes end soon


def freeway_events(before: dict[str, float], after: dict[str, float], reward: float, ended: bool) -> list[str]:
    found = ["ended"] if ended else []
    if reward:
        found += ["crossed", *(f"speed {after[f'car_speed_{i}']:.0f}" for i in range(8))]
    elif after["position"] == 9 and before["position"] < 8:
        found.append(f"hit in row {before['position']:.0f}")
    turns = {after[f"car_x_{i}"] - before[f"car_x_{i}"] for i in range(8)}
    return found + ["around to the left"] * (9 in turns) + ["around to the right"] * (-9 in turns)


FREEWAY = Game(
    "freeway",
    "Freeway",
    freeway_fields,
    freeway_player,
    freeway_events,
    (
        "ended",
        "crossed",
        *(f"speed {sign * speed}" for sign in (-1, 1) for speed in range(1, 6)),
        *(f"hit in row {row}" for row in range(2, 8)),
        "around to the left",
        "around to the right",
    ),
    draws=freeway_draws,
    vary=freeway_start,
)

# --- Asterix -----------------------------------------------------------------------------------------------------


def asterix_fields(env: Any) -> list[float]:
    ramp = env.ramp_index
    assert (env.spawn_speed, env.move_speed) == (10 - ramp, 5 - ramp // 2)
    assert env.shot_timer == 0
    entities = []
    for row, entity in enumerate(env.entities, start=1):
        if entity is None:
            entities.append(0)
        else:
            x, y, right, gold = entity
            assert y == row
            entities.append(64 + 32 * gold + 16 * right + x)
    timers = [env.spawn_timer, env.move_timer, env.ramp_timer]
    return [env.player_x, env.player_y, *timers, ramp, env.terminal, *entities]


def asterix_draws(drawn: list[tuple[str, Any]]) -> list[float]:
    assert [name for name, _ in drawn] in (["rand"], ["rand"] * 3, ["rand"] * 3 + ["randint"])
    values = [float(value) for _, value in drawn]
    return values + [0.99] * (4 - len(values))  # what was not drawn must not matter


def asterix_player(env: Any, rng: np.random.Generator) -> int:
    # Away from enemies that come in the player's row; else to gold.
    rows = {entity[1]: entity for entity in env.entities if entity is not None}

    def risky(row: int) -> bool:
        entity = rows.get(row)
        return entity is not None and not entity[3] and abs(entity[0] - env.player_x) <= 3

    if risky(env.player_y):
        options = [row for row in (env.player_y - 1, env.player_y + 1) if 1 <= row <= 8 and not risky(row)]
        return (2 if options[0] < env.player_y else 4) if options else int(rng.integers(6))
    gold = rows.get(env.player_y)
    if gold is not None and gold[3]:
        return 3 if gold[0] > env.player_x else 1
    return int(rng.integers(6))


def asterix_start(env: Any, rng: np.random.Generator) -> None:
    if env.ramping and rng.random() < 0.7:
        env.ramp_index = ramp = int(rng.choice([*range(10), 9, 9]))
        env.spawn_speed, env.move_speed = 10 - ramp, 5 - ramp // 2
        env.ramp_timer = int(rng.integers(-1, 101))


def asterix_events(before: dict[str, float], after: dict[str, float], reward: float, ended: bool) -> list[str]:
    found = ["enemy"] if ended else []
    found += ["gold"] * (reward > 0) + ["gold and enemy"] * (reward > 0 and ended) + ["two at once"] * (reward > 1)
    if before["move_timer"] == 0:
        found.append("moved")
    if after["ramp_index"] > before["ramp_index"]:
        found.append(f"ramp {after['ramp_index']:.0f}")
    slots = [(int(before[f"entity_{i}"]), int(after[f"entity_{i}"])) for i in range(8)]
    if before["spawn_timer"] == 0:
        if all(old for old, _ in slots):
            found.append("no room")
        for old, new in slots:
            if not old and new:
                found.append(f"spawned {new & 48}")
    for i, (old, new) in enumerate(slots):
        if old and not new and (old & 15) == (9 if old & 16 else 0) and after["player_y"] != i + 1:
            found.append("left")
    return found


ASTERIX = Game(
    "asterix",
    "Asterix",
    asterix_fields,
    asterix_player,
    asterix_events,
    ("enemy", "gold", "moved", "left", "spawned 0", "spawned 16", "spawned 32", "spawned 48"),
    ("no room", *(f"ramp {ramp}" for ramp in range(1, 10))),
    draws=asterix_draws,
    vary=asterix_start,
)

# --- Space Invaders ----------------------------------------------------------------------------------------------


def board_words(board: np.ndarray) -> list[int]:
    """Return a 10 x 10 map as four words of three rows."""
    rows = (board.astype(np.int64) << np.arange(10)).sum(1)
    return [int(sum(int(row) << (10 * i) for i, row in enumerate(rows[first : first + 3]))) for first in (0, 3, 6, 9)]


def space_invaders_fields(env: Any) -> list[float]:
    assert env.enemy_move_interval == 12 - env.ramp_index
    maps = [board_words(board) for board in (env.alien_map, env.f_bullet_map, env.e_bullet_map)]
    timers = [env.alien_move_timer, env.alien_shot_timer, env.shot_timer]
    return [env.pos, env.alien_dir, *timers, env.ramp_index, env.terminal, *maps[0], *maps[1], *maps[2]]


def space_invaders_player(env: Any, rng: np.random.Generator) -> int:
    # Out of the way of bullets that are near, else towards aliens, shooting at those above.
    danger = env.e_bullet_map[5:9].any(0)
    if danger[env.pos]:
        safe = [column for column in (env.pos - 1, env.pos + 1) if 0 <= column <= 9 and not danger[column]]
        return (1 if safe[0] < env.pos else 3) if safe else 5
    if env.shot_timer == 0 and (env.alien_map[:, env.pos].any() or rng.random() < 0.3):
        return 5
    columns = np.flatnonzero(env.alien_map.any(0))
    nearest = columns[np.abs(columns - env.pos).argmin()]
    return {0: 0, 1: 3, -1: 1}[int(np.sign(nearest - env.pos))]


def space_invaders_start(env: Any, rng: np.random.Generator) -> None:
    kind = rng.random()
    if kind < 0.3:  # few aliens, so that waves are cleared
        env.alien_map *= rng.random((10, 10)) < 0.08
        env.alien_map[0, 4] = 1
        if env.ramping:
            env.ramp_index = int(rng.integers(0, 7))
            env.enemy_move_interval = 12 - env.ramp_index
    elif kind < 0.6:  # low, so that they reach the bottom
        env.alien_map = np.roll(env.alien_map, int(rng.integers(3, 7)), axis=0)
        if rng.random() < 0.5:  # beside the cannon
            env.alien_map[:, 4:7] = 0
    elif kind < 0.65:  # at the edge of the last row
        env.alien_map[:] = 0
        env.alien_map[int(rng.integers(5, 9)) :, :2] = 1
        env.alien_move_timer = int(rng.integers(0, 6))


def space_invaders_events(before: dict[str, float], after: dict[str, float], reward: float, ended: bool) -> list[str]:
    def rows(state: dict[str, float], name: str) -> list[int]:
        words = [int(state[f"{name}_{word}"]) for word in range(4)]
        return [words[row // 3] >> (10 * (row % 3)) & 1023 for row in range(10)]

    old, new = rows(before, "aliens"), rows(after, "aliens")
    found = ["alien"] * (reward == 1) + ["two aliens"] * (reward == 2)
    if reward and reward == sum(bin(row).count("1") for row in old):
        found += ["cleared", f"wave {after['ramp_index']:.0f}"]
    turned = before["alien_direction"] != after["alien_direction"]
    if turned:
        found.append("turned right" if after["alien_direction"] > 0 else "turned left")
    elif before["alien_move_timer"] == 0:
        found.append("moved right" if after["alien_direction"] > 0 else "moved left")
    if before["alien_shot_timer"] == 0:
        found.append("shot back")
    if before["shot_timer"] == 0 and after["shot_timer"] == 4:
        found.append("fired")
    if ended:
        position = int(after["position"])
        if rows(after, "enemy_bullets")[9] >> position & 1:
            found.append("hit by a bullet")
        if turned and old[9]:
            found.append("reached the bottom")
        if old[9] >> position & 1:
            found.append("ran into an alien")
        elif new[9] >> position & 1 and not turned:
            found.append("hit by an alien from the side")
        elif new[9] >> position & 1:
            found.append("hit by an alien from above")
    return found


SPACE_INVADERS = Game(
    "space_invaders",
    "SpaceInvaders",
    space_invaders_fields,
    space_invaders_player,
    space_invaders_events,
    (
        *("alien", "cleared", "turned left", "turned right", "moved left", "moved right", "shot back", "fired"),
        *("hit by a bullet", "reached the bottom", "ran into an alien"),
        *("hit by an alien from the side", "hit by an alien from above"),
    ),
    tuple(f"wave {ramp}" for ramp in range(1, 7)),
    vary=space_invaders_start,
)

# --- Seaquest ----------------------------------------------------------------------------------------------------

SEAQUEST_LISTS = (
    "num_f_bullet",
    "num_diver",
    "num_e_bullet",
    "num_e_fish",
    "num_e_sub",
)  # as our fields name their lengths
SEAQUEST_SLOTS = {"f_bullets": 2, "divers": 2, "e_bullets": 60, "e_fish": 60, "e_subs": 60}


def seaquest_fields(env: Any) -> list[float]:
    ramp = env.ramp_index
    assert (env.e_spawn_speed, env.move_speed) == (20 - ramp, max(2, 5 - ramp // 2))
    fields = [env.sub_x, env.sub_y, env.sub_or, env.oxygen, env.diver_count, env.e_spawn_timer, env.d_spawn_timer]
    fields += [env.shot_timer, ramp, env.surface, env.terminal]
    lists = [getattr(env, name) for name in SEAQUEST_SLOTS]
    fields += map(len, lists)
    for things, slots in zip(lists, SEAQUEST_SLOTS.values(), strict=True):
        assert len(things) <= slots
        for x, y, right, *timers in things:
            timer, reload = (*timers, 0, 0)[:2]
            fields.append(x + 2 + 16 * y + 256 * right + 512 * timer + 4096 * reload)
        fields += [0] * (slots - len(things))
    return fields


def seaquest_draws(drawn: list[tuple[str, Any]]) -> list[float]:
    names = [name for name, _ in drawn[1:]]
    values = [float(value) for _, value in drawn]
    enemy, diver = [0.99, 0.99, 8.0], [0.99, 8.0]  # what was not drawn must not matter
    if names[:3] == ["rand", "rand", "randint"]:
        enemy, names = values[1:4], names[3:]
    if names:
        assert names == ["rand", "randint"]
        diver = values[-2:]
    return [values[0], *enemy, *diver]


def seaquest_player(env: Any, rng: np.random.Generator) -> int:
    # Out of the way of what is near in the row; up for air; else after divers, shooting at what is ahead.
    threats = env.e_fish + env.e_subs + env.e_bullets

    def risky(y: int) -> bool:
        return any(thing[1] == y and abs(thing[0] - env.sub_x) <= 2 for thing in threats)

    ahead = [thing for thing in threats if thing[1] == env.sub_y and (thing[0] > env.sub_x) == env.sub_or]
    if ahead and env.shot_timer == 0 and rng.random() < 0.8:
        return 5
    if risky(env.sub_y):
        options = [y for y in (env.sub_y - 1, env.sub_y + 1) if 1 <= y <= 8 and not risky(y)]
        return (2 if options[0] < env.sub_y else 4) if options else 5
    if env.diver_count != 0 and env.sub_y > 0 and (env.oxygen < 60 or env.diver_count == 6 or env.diver_count < 0):
        return 2
    if env.sub_y == 0:
        return 4
    if env.divers and env.diver_count < 6:
        diver = env.divers[0]
        if diver[1] != env.sub_y:
            up = diver[1] < env.sub_y
            return (2 if env.sub_y > 1 else 5) if up else 4
        return 3 if diver[0] > env.sub_x else 1
    return int(rng.choice([0, 1, 3, 5]))


def seaquest_start(env: Any, rng: np.random.Generator) -> None:
    if rng.random() < 0.4:
        return
    if env.ramping:
        env.ramp_index = ramp = int(rng.choice([*range(20), 18, 19, 19, 19]))
        env.e_spawn_speed, env.move_speed = 20 - ramp, max(2, 5 - ramp // 2)
        env.e_spawn_timer = int(rng.integers(0, env.e_spawn_speed))
    env.d_spawn_timer = int(rng.integers(0, 31))
    env.diver_count = int(rng.choice([-3, -1, 0, 1, 5, 6, 6]))
    env.oxygen = int(rng.choice([3, 30, 100, 200]))
    env.sub_y = int(rng.integers(1, 9))
    env.surface = False


def seaquest_events(before: dict[str, float], after: dict[str, float], reward: float, ended: bool) -> list[str]:
    found = []
    surfaced = after["surface"] and not before["surface"]
    if surfaced:
        divers = before["diver_count"]
        found.append("up with six" if divers == 6 else "up with less than none" if divers < 0 else "up")
        if reward >= 5:
            found.append("points for six")
    elif reward:
        found += ["shot", *(["shot twice"] if reward > 1 else [])]
    if after["diver_count"] > before["diver_count"] and not surfaced:
        found.append("diver on board")
    if ended:
        if after["sub_y"] == 0 and not after["surface"]:
            found.append("up without diver")
        elif after["oxygen"] < 0:
            found.append("no oxygen")
        else:
            found.append("hit")
    if after["ramp_index"] > before["ramp_index"]:
        found.append(f"ramp {after['ramp_index']:.0f}")
    if before["e_spawn_timer"] == 0:
        found.append("enemy due")
    if before["d_spawn_timer"] == 0:
        found.append("diver due")
    for name in SEAQUEST_LISTS:
        if after[name] != before[name]:
            found.append(f"{name} {'more' if after[name] > before[name] else 'fewer'}")
    for name, is_so in (
        ("two shots", after["num_f_bullet"] == 2),
        ("two divers", after["num_diver"] == 2),
        ("full of divers", after["diver_count"] == 6),
        ("a dozen enemies", after["num_e_sub"] + after["num_e_fish"] >= 12),
    ):
        if is_so:
            found.append(name)
    return found


SEAQUEST = Game(
    "seaquest",
    "Seaquest",
    seaquest_fields,
    seaquest_player,
    seaquest_events,
    (
        *("up with six", "up with less than none", "up", "points for six", "shot", "diver on board", "hit"),
        *("up without diver", "no oxygen", "enemy due", "diver due", "two shots", "two divers", "full of divers"),
        *(f"{name} {way}" for name in SEAQUEST_LISTS for way in ("more", "fewer")),
    ),
    ("a dozen enemies", "ramp 1", "ramp 2", "ramp 3", "ramp 4", "ramp 6", "ramp 18", "ramp 19"),
    draws=seaquest_draws,
    vary=seaquest_start,
)

GAMES = {game.name: game for game in (BREAKOUT, FREEWAY, ASTERIX, SPACE_INVADERS, SEAQUEST)}


def compare(
    game: Game, states: int, *, ramping: bool, sticky: float, version: int, own_buffers: bool = True, seed: int = 0
) -> Counter[str]:
    """Play the reference and ours side by side, ours with the reference's random numbers; compare every step.

    Episodes run on by themselves: only their starts are copied over.
    """
    rng = np.random.default_rng(seed)
    kwargs = {"sticky_action_prob": sticky, "difficulty_ramping": ramping}
    references = [game.make(1000 * seed + i, **kwargs) for i in range(ROWS)]
    actions_of = references[0].minimal_action_set() if version == 1 else list(range(6))
    index = {action: i for i, action in enumerate(actions_of)}
    ours = metarl_core.make_vec(f"MinAtar/{game.name}-v{version}", ROWS, autoreset_mode="disabled", **kwargs)
    ours.reset(seed=0)
    out = ours.make_buffers() if own_buffers else None
    names = ours.field_names
    skill = np.linspace(0.0, 1.0, ROWS)  # some rows play well, some at random
    counts: Counter[str] = Counter()
    comparison = Comparison()
    for reference in references:
        game.vary(reference.env, rng)
    before = np.array([game.state(reference) for reference in references], np.float64)
    ours.set_state({"state": before})
    while counts["states"] < states:
        drawn, results, actions = [], [], np.empty(ROWS, np.int64)
        good = rng.random(ROWS) < skill
        for i, reference in enumerate(references):
            wanted = game.act(reference.env, rng) if good[i] else int(rng.integers(6))
            actions[i] = index.get(wanted, 0)
            results.append(reference.act(actions_of[actions[i]]))
            drawn.append(game.draws(reference.random.take()))
        ours._core.set_draws(np.array(drawn, np.float64))
        obs, reward, terminated, truncated, _ = ours.step(actions, out=out)
        after = np.array([game.state(reference) for reference in references], np.float64)
        comparison.add(
            (ours.get_state()["state"], obs, reward, terminated, truncated),
            (
                after,
                np.array([reference.state() for reference in references]),
                np.array([float(r) for r, _ in results]),
                np.array([ended for _, ended in results]),
                np.zeros(ROWS, np.bool_),
            ),
        )
        for i in range(ROWS):
            for event in game.events(
                dict(zip(names, before[i], strict=True)),
                dict(zip(names, after[i], strict=True)),
                float(reward[i]),
                bool(terminated[i]),
            ):
                counts[event] += 1
        counts["states"] += ROWS
        counts["stuck"] += int(sum(after[i, 0] != actions_of[actions[i]] for i in range(ROWS)))
        if terminated.any():
            for i in np.flatnonzero(terminated):
                references[i].reset()
                game.vary(references[i].env, rng)
                references[i].random.take()
            after = np.array([game.state(reference) for reference in references], np.float64)
            ours.set_state({"state": after, "done": np.zeros(ROWS, np.bool_)})
        before = after
    name = f"MinAtar/{game.name}-v{version} ramping {ramping}, sticky {sticky}"
    comparison.check(name, states, 0.0, ())
    assert comparison.worst_obs == 0.0
    print(f"{name}: {dict(counts)}")
    return counts
