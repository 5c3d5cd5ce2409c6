"""MiniGrid's environments, for the table in :mod:`metarl_core.vector.specs`."""

from __future__ import annotations

from metarl_core.vector.minigrid_levels import MINIGRID_LEVELS, MiniGridLevel
from metarl_core.vector.specs import EnvSpec, ParameterSpec, _table

__all__ = ["MINIGRID_SPECS"]

_SOURCE = "Chevalier-Boisvert et al., Minigrid & Miniworld (NeurIPS 2023); minigrid 3.2.0"
_STATE = (
    "agent_x, agent_y, direction (0 right, 1 down, 2 left, 3 up), carrying (the cell of what is in the hand, 1: "
    "nothing), target_x, target_y (where the target was when the episode began), target (its cell: the goal, "
    "KeyCorridor's ball, Unlock's locked door), and of {width} x {height} cells cell_0_0, cell_1_0, ... (column, row): "
    "1 empty, 210 wall, 24 goal, 9 lava, and with 16 times the colour (red, green, blue, purple, yellow, grey) added 5 "
    "key, 6 ball, 4 open, 139 closed, 140 locked door"
)
_OBSERVATION = (
    "uint8[7, 7, 3]: what the agent sees, as the package's image: column from its left to its right, row (6: its own, "
    "0: farthest), and MiniGrid's numbers of object, colour and state; zeros where it does not see. minigrid_info() "
    "has direction and mission, which the package puts beside it"
)
_REWARD = "1 - 0.9 * step / max_episode_steps for success (1 without a limit), else 0"
_ENDING = {
    "Empty": "the agent gets to the goal",
    "DoorKey": "the agent gets to the goal",
    "MultiRoom": "the agent gets to the goal",
    "KeyCorridor": "success: the agent picks up the ball",
    "FourRooms": "the agent gets to the goal",
    "Unlock": "success: the agent opens the door",
    "Crossing": "success: the agent gets to the goal; failure: it gets into lava",
}


def _spec(name: str, level: MiniGridLevel) -> EnvSpec:
    return EnvSpec(
        id=name,
        source=_SOURCE,
        state=_STATE.format(width=level.width, height=level.height),
        observation=_OBSERVATION,
        action="integer: turn left, turn right, forward, pick up, drop, toggle (open or close a door), done (nothing)",
        reward=_REWARD,
        ending=_ENDING[level.family],
        parameters=_table(
            level.max_steps,
            ParameterSpec(
                "map_seed",
                -1,
                "Level of every episode, the same in all environments; -1: a new one each episode, from the "
                "environment's random numbers.",
                kind="int",
                low=-1,
                high=2**31 - 1,
            ),
        ),
    )


MINIGRID_SPECS = tuple(_spec(name, level) for name, level in MINIGRID_LEVELS.items())
