"""MinAtar's games, for the table in :mod:`metarl_core.vector.specs`."""

from __future__ import annotations

from metarl_core.vector.specs import EnvSpec, ParameterSpec, _table

__all__ = ["MINATAR_SPECS"]

_SOURCE = "Young and Tian, MinAtar: an Atari-inspired testbed (2019); minatar 1.0.15"
_NAMES = ("nothing", "left", "up", "right", "down", "fire")


def _game(
    name: str, *, state: str, channels: str, minimal: tuple[str, ...], reward: str, ending: str, ramps: bool
) -> tuple[EnvSpec, ...]:
    """Return the specs of one game, ``-v0`` with all six actions and ``-v1`` with those that the game uses."""
    hardening = "Whether the game gets harder" if ramps else "As the package has it; this game does not get harder"
    all_actions, few_actions = (", ".join(names) for names in (_NAMES, minimal))
    return tuple(
        EnvSpec(
            id=f"MinAtar/{name}-v{version}",
            source=_SOURCE,
            state=state,
            observation=f"bool[10, 10, {len(channels.split(', '))}]: row, column, channel ({channels})",
            action=f"integer: {few_actions if version else all_actions}; see use_minimal_action_set",
            reward=reward,
            ending=ending,
            parameters=_table(
                None,
                ParameterSpec(
                    "use_minimal_action_set",
                    bool(version),
                    f"True: the actions {few_actions}; False: {all_actions}.",
                    kind="bool",
                ),
                ParameterSpec(
                    "sticky_action_prob",
                    0.1,
                    "Probability that a step takes the last action again, also that of the episode before.",
                    low=0.0,
                    high=1.0,
                ),
                ParameterSpec("difficulty_ramping", True, f"{hardening}.", kind="bool"),
            ),
        )
        for version in (1, 0)
    )


MINATAR_SPECS = (
    *_game(
        "Asterix",
        state="last_action, player_x, player_y, spawn_timer, move_timer, ramp_timer, ramp_index (which spawn_speed and "
        "move_speed follow), terminal, entity_0 to entity_7 in rows 1 to 8 (0: none; else 64 + 32 if gold + 16 if it "
        "moves right + column)",
        channels="player, enemy, trail, gold",
        minimal=("nothing", "left", "up", "right", "down"),
        reward="1 a piece of gold",
        ending="an enemy touches the player",
        ramps=True,
    ),
    *_game(
        "Breakout",
        state="last_action, ball_x, ball_y, ball_direction (0 up left, 1 up right, 2 down right, 3 down left), last_x, "
        "last_y, position, bricks (bit 10 * (row - 1) + column), strike",
        channels="paddle, ball, trail, brick",
        minimal=("nothing", "left", "right"),
        reward="1 a brick",
        ending="the ball gets past the paddle",
        ramps=False,
    ),
    *_game(
        "Freeway",
        state="last_action, position (row of the chicken), move_timer, time_left, and of the cars in rows 1 to 8 "
        "car_x_0 to car_x_7, car_timer_0 ..., car_speed_0 ... (steps between two moves, negative to the left)",
        channels="chicken, car, speed1, speed2, speed3, speed4, speed5",
        minimal=("nothing", "up", "down"),
        reward="1 a crossing",
        ending="after 2501 steps",
        ramps=False,
    ),
    *_game(
        "Seaquest",
        state="last_action, sub_x, sub_y, sub_faces_right, oxygen, diver_count, e_spawn_timer, d_spawn_timer, "
        "shot_timer, ramp_index (which e_spawn_speed and move_speed follow), surface, terminal; the lengths "
        "num_f_bullet, num_diver, num_e_bullet, num_e_fish, num_e_sub of five lists and their slots f_bullet_0, "
        "f_bullet_1, diver_0, diver_1, e_bullet_0 to e_bullet_59, e_fish_0 ..., e_sub_0 ... (0: nothing; else column + "
        "2 + 16 * row + 256 if it moves right + 512 * steps to its move + 4096 * steps to its shot)",
        channels="sub_front, sub_back, friendly_bullet, trail, enemy_bullet, enemy_fish, enemy_sub, oxygen_guage, "
        "diver_guage, diver",
        minimal=_NAMES,
        reward="1 an enemy shot; up to 10, by the oxygen left, for bringing up six divers",
        ending="an enemy or its bullet hits the submarine, it has no oxygen, or it comes up with diver_count 0",
        ramps=True,
    ),
    *_game(
        "SpaceInvaders",
        state="last_action, position, alien_direction (-1 or 1), alien_move_timer, alien_shot_timer, shot_timer, "
        "ramp_index (which enemy_move_interval follows), terminal, and three maps of four words each: aliens_0 to "
        "aliens_3, friendly_bullets_0 ..., enemy_bullets_0 ... (bit 10 * (row % 3) + column of word row // 3)",
        channels="cannon, alien, alien_left, alien_right, friendly_bullet, enemy_bullet",
        minimal=("nothing", "left", "right", "fire"),
        reward="1 an alien",
        ending="an alien or a bullet hits the cannon, or the aliens reach the bottom",
        ramps=True,
    ),
)
