"""Which function draws which environment, and how many frames a second a film of it should have."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from metarl_core.vector.render.canvas import Canvas
    from metarl_core.vector.render.scene import Scene

__all__ = ["Drawing", "Size", "drawing_of", "register_drawing", "render_fps"]

# (height, width) of a frame, or what it is for an environment's parameters.
Size: TypeAlias = "tuple[int, int] | Callable[[Mapping[str, Any]], tuple[int, int]]"


@dataclass(frozen=True)
class Drawing:
    """How an environment is drawn.

    Attributes:
        draw: Draws one row of a batch onto a white canvas.
        size: ``(height, width)`` in pixels, the same for all rows, or a function from the parameters to it.
    """

    draw: Callable[[Scene, Canvas], None]
    size: Size = (400, 600)

    def size_for(self, params: Mapping[str, Any]) -> tuple[int, int]:
        """Return ``(height, width)`` for an environment's parameters."""
        return self.size(params) if callable(self.size) else self.size


# Modules are imported when something of theirs is drawn. A `*` at the end stands for anything.
_MODULES = {
    "CartPole-v1": "classic_control",
    "MountainCar-v0": "classic_control",
    "MountainCarContinuous-v0": "classic_control",
    "Acrobot-v1": "classic_control",
    "Pendulum-v1": "classic_control",
    "FrozenLake-v1": "toy_text",
    "CliffWalking-v1": "toy_text",
    "Taxi-v4": "toy_text",
    "Blackjack-v1": "blackjack",
    "DeepSea-v0": "bsuite",
    "Catch-v0": "bsuite",
    "Bandit-v0": "bsuite",
    "MemoryChain-v0": "bsuite",
    "DiscountingChain-v0": "bsuite",
    "CartPoleSwingup-v0": "classic_control",
    "MinAtar/*": "minatar",
    "MiniGrid-*": "minigrid",
    "PointRobot-v0": "meta",
    "SparsePointRobot-v0": "meta",
    "BernoulliBandit-v0": "meta",
    "GaussianBandit-v0": "meta",
    "TabularMDP-v0": "meta",
    "Maze-v0": "meta",
}
# As the environments' own packages have it, else a speed that can be followed.
_FPS = {
    "CartPole-v1": 50,
    "MountainCar-v0": 30,
    "MountainCarContinuous-v0": 30,
    "Acrobot-v1": 15,
    "Pendulum-v1": 30,
    "CartPoleSwingup-v0": 50,
    "DiscountingChain-v0": 10,
    "Catch-v0": 8,
    "MinAtar/*": 15,
    "MiniGrid-*": 10,
    "PointRobot-v0": 10,
    "SparsePointRobot-v0": 10,
    "Maze-v0": 8,
}
_DEFAULT_FPS = 4
# What register_drawing was given, which goes before all else.
_DRAWINGS: dict[str, Drawing] = {}
_OWN_FPS: dict[str, int] = {}


def _find(table: Mapping[str, Any], id: str) -> Any:  # noqa: A002 - Gymnasium's name for it
    if id in table:
        return table[id]
    fitting = [name for name in table if name.endswith("*") and id.startswith(name[:-1])]
    return table[max(fitting, key=len)] if fitting else None


def register_drawing(
    id: str,  # noqa: A002 - Gymnasium's name for it
    draw: Callable[[Scene, Canvas], None],
    size: Size = (400, 600),
    *,
    fps: int | None = None,
) -> None:
    """Draw an environment by this function from now on, in place of any it had.

    Args:
        id: The environment's id, or the beginning of several ids with a ``*`` after it.
        draw: Called with a :class:`~metarl_core.vector.render.scene.Scene`, which it must not change, and a white
            :class:`~metarl_core.vector.render.canvas.Canvas`.
        size: ``(height, width)`` of the frames, or a function from the environment's parameters to it.
        fps: Frames a second for ``metadata["render_fps"]`` of environments made from now on; None: as it is.
    """
    _DRAWINGS[id] = Drawing(draw, size)
    if fps is not None:
        _OWN_FPS[id] = fps


def render_fps(id: str) -> int:  # noqa: A002 - Gymnasium's name for it
    """Return how many frames a second a film of the environment should have."""
    for table in (_OWN_FPS, _FPS):
        found: int | None = _find(table, id)
        if found is not None:
            return found
    return _DEFAULT_FPS


def drawing_of(id: str) -> Drawing:  # noqa: A002 - Gymnasium's name for it
    """Return how the environment is drawn; one that nobody has drawn gets its numbers shown as bars."""
    found: Drawing | None = _find(_DRAWINGS, id)
    module = _find(_MODULES, id)
    if found is None and module is not None:
        drawings = importlib.import_module(f"metarl_core.vector.render.{module}").DRAWINGS
        found = _find(drawings, id)
    if found is None:
        from metarl_core.vector.render import generic

        found = generic.DRAWING
    return found
