"""MiniGrid's registered environments: sizes and missions by id, for their specs and builders."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["COLOURS", "FAMILIES", "MINIGRID_LEVELS", "MiniGridLevel"]

# In the core's order.
FAMILIES = ("Empty", "DoorKey", "MultiRoom", "KeyCorridor", "FourRooms", "Unlock", "Crossing")
# MiniGrid's numbers of the colours are positions here.
COLOURS = ("red", "green", "blue", "purple", "yellow", "grey")


@dataclass(frozen=True)
class MiniGridLevel:
    """What an id stands for.

    Attributes:
        family: One of :data:`FAMILIES`.
        width: Columns of the grid, walls included.
        height: Rows of the grid.
        max_steps: The package's limit of an episode.
        mission: What the agent is to do; ``{color}`` stands for the target's.
        count: Rooms of MultiRoom, rows of rooms of KeyCorridor, rivers of Crossing.
        room_size: Size of a room with its walls, of MultiRoom the largest.
        random_start: Empty: whether the agent starts anywhere.
        lava: Crossing: whether the rivers are of lava, else walls.
    """

    family: str
    width: int
    height: int
    max_steps: int
    mission: str
    count: int = 0
    room_size: int = 0
    random_start: bool = False
    lava: bool = False

    @property
    def missions(self) -> tuple[str, ...]:
        """The mission for each colour of the target."""
        return tuple(self.mission.format(color=colour) for colour in COLOURS)


def _empty(size: int, random_start: bool) -> MiniGridLevel:
    mission = "get to the green goal square"
    return MiniGridLevel("Empty", size, size, 4 * size**2, mission, random_start=random_start)


def _door_key(size: int) -> MiniGridLevel:
    mission = "use the key to open the door and then get to the goal"
    return MiniGridLevel("DoorKey", size, size, 10 * size**2, mission)


def _multi_room(rooms: int, largest: int) -> MiniGridLevel:
    mission = "traverse the rooms to get to the goal"
    return MiniGridLevel("MultiRoom", 25, 25, 20 * rooms, mission, count=rooms, room_size=largest)


def _key_corridor(room_size: int, rows: int) -> MiniGridLevel:
    step = room_size - 1
    return MiniGridLevel(
        "KeyCorridor",
        3 * step + 1,
        rows * step + 1,
        30 * room_size**2,
        "pick up the {color} ball",
        count=rows,
        room_size=room_size,
    )


def _crossing(size: int, rivers: int, lava: bool) -> MiniGridLevel:
    mission = (
        "avoid the lava and get to the green goal square"
        if lava
        else "find the opening and get to the green goal square"
    )
    return MiniGridLevel("Crossing", size, size, 4 * size**2, mission, count=rivers, lava=lava)


_ROOM_SIZE = 6  # of Unlock
_CROSSINGS = ((9, 1), (9, 2), (9, 3), (11, 5))

MINIGRID_LEVELS = {
    **{f"MiniGrid-Empty-{size}x{size}-v0": _empty(size, False) for size in (5, 6, 8, 16)},
    **{f"MiniGrid-Empty-Random-{size}x{size}-v0": _empty(size, True) for size in (5, 6)},
    **{f"MiniGrid-DoorKey-{size}x{size}-v0": _door_key(size) for size in (5, 6, 8, 16)},
    "MiniGrid-MultiRoom-N2-S4-v0": _multi_room(2, 4),
    # As the package registers it, under a name that promises four.
    "MiniGrid-MultiRoom-N4-S5-v0": _multi_room(6, 5),
    "MiniGrid-MultiRoom-N4-S5-v1": _multi_room(4, 5),
    "MiniGrid-MultiRoom-N6-v0": _multi_room(6, 10),
    **{
        f"MiniGrid-KeyCorridorS{size}R{rows}-v0": _key_corridor(size, rows)
        for size, rows in ((3, 1), (3, 2), (3, 3), (4, 3), (5, 3), (6, 3))
    },
    "MiniGrid-FourRooms-v0": MiniGridLevel("FourRooms", 19, 19, 100, "reach the goal"),
    "MiniGrid-Unlock-v0": MiniGridLevel(
        "Unlock", 2 * _ROOM_SIZE - 1, _ROOM_SIZE, 8 * _ROOM_SIZE**2, "open the door", room_size=_ROOM_SIZE
    ),
    **{f"MiniGrid-LavaCrossingS{size}N{n}-v0": _crossing(size, n, True) for size, n in _CROSSINGS},
    **{f"MiniGrid-SimpleCrossingS{size}N{n}-v0": _crossing(size, n, False) for size, n in _CROSSINGS},
}
