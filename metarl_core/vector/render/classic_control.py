"""Pictures of the classic control tasks: carts with poles, the car in the valley, acrobot, pendulum."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from metarl_core.vector.render.canvas import Canvas, Colour
from metarl_core.vector.render.palette import (
    BLUE,
    CREAM,
    DARK,
    GOLD,
    GREEN,
    GREY,
    INK,
    LIGHT,
    ORANGE,
    RED,
    WHITE,
    mixed,
)
from metarl_core.vector.render.registry import Drawing
from metarl_core.vector.render.scene import Scene

__all__ = ["DRAWINGS"]

_SKY: Colour = (236, 243, 250)
_WOOD: Colour = (196, 136, 78)
# Of the valley: where height 0 is, and pixels of height 1.
_BASE, _TALL = 380.0, 260.0


def _cart_pole(
    scene: Scene,
    canvas: Canvas,
    *,
    track: float,
    reach: float,
    masses: tuple[float, float],
    push: float,
) -> None:
    """Draw a cart on a track of 2 x ``reach`` metres with its pole; masses of cart and pole, ``push`` in newtons."""
    # Common lengths give one scale for all rows, so that tasks can be compared; a pole too long for it shrinks all.
    length = 2.0 * scene.params["length"]
    scale = min(canvas.width / (2.0 * reach), (track - 50.0) / length)
    middle = canvas.width / 2
    x, theta = middle + scene.state["x"] * scale, scene.state["theta"]
    canvas.rectangle(0, track, canvas.width, 4, DARK)
    canvas.rectangle(0, track + 4, canvas.width, canvas.height - track - 4, LIGHT)
    for metre in range(-math.floor(reach), math.floor(reach) + 1) if reach < 50 else ():
        canvas.rectangle(middle + metre * scale - 1, track + 4, 2, 8 if metre else 16, GREY)
    for side in (-1, 1):
        canvas.rectangle(middle + side * scene.params["x_threshold"] * scale - 3, track - 26, 6, 30, RED)
    # A mass shows as the cube root, as of a solid of its weight.
    half, tall = 32.0 * min(masses[0], 8.0) ** (1 / 3), 34.0 * min(masses[0], 8.0) ** (1 / 3)
    top = track - 12 - tall
    for wheel in (x - 0.55 * half, x + 0.55 * half):
        canvas.disc(wheel, track - 9, 9, INK)
        canvas.disc(wheel, track - 9, 3.5, LIGHT)
    canvas.rounded(x - half, top, 2 * half, tall, 6, BLUE)
    canvas.rounded(x - half, top, 2 * half, 8, 4, mixed(BLUE, WHITE, 0.35))
    if push != 0:
        start, end = (x + math.copysign(half + apart, push) for apart in (4, 44))
        canvas.arrow((start, top + tall / 2), (end, top + tall / 2), 8, ORANGE)
    tip = (x + math.sin(theta) * length * scale, top + 6 - math.cos(theta) * length * scale)
    width = min(max(12.0 * (masses[1] / 0.1) ** (1 / 3), 4.0), 30.0)
    canvas.line([(x, top + 6), tip], width, _WOOD)
    canvas.disc(*tip, width / 2 + 3, RED)
    canvas.disc(x, top + 6, 6, GOLD)


def _draw_cartpole(scene: Scene, canvas: Canvas) -> None:
    canvas.rectangle(0, 0, canvas.width, 320, _SKY)
    action = scene.action
    push = 0.0 if action is None else scene.params["force_mag"] * (1.0 if action else -1.0)
    masses = scene.params["masscart"], scene.params["masspole"]
    _cart_pole(scene, canvas, track=320.0, reach=scene.common["x_threshold"], masses=masses, push=push)


def _draw_swingup(scene: Scene, canvas: Canvas) -> None:
    canvas.rectangle(0, 0, canvas.width, 270, _SKY)
    params = scene.params
    reach = params["x_threshold"]
    scale = min(canvas.width / (2.0 * reach), 220.0 / (2.0 * params["length"]))
    near = params["x_reward_threshold"] * scale
    canvas.rectangle(round(canvas.width / 2 - near), 0, round(2 * near), 270, mixed(_SKY, GREEN, 0.16))
    push = 0.0 if scene.action is None else params["force_mag"] * (scene.action - 1.0)
    _cart_pole(scene, canvas, track=270.0, reach=reach, masses=(params["mass_cart"], params["mass_pole"]), push=push)
    left = min(max(1.0 - scene.state["time"] / params["max_time"], 0.0), 1.0)
    canvas.rectangle(20, 374, canvas.width - 40, 10, WHITE)
    canvas.rectangle(20, 374, round((canvas.width - 40) * left), 10, GREEN)


def _hill(position: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return 0.45 * np.sin(3 * position) + 0.55


@lru_cache(maxsize=8)
def _valley(height: int, width: int, left: float, scale: float) -> Canvas:
    """Return sky and hills, which take longer to draw than all that moves; ``left``: position at the left edge."""
    canvas = Canvas(height, width, _SKY)
    canvas.disc(90, 70, 32, GOLD)
    across = np.linspace(-9.0, width + 9.0, 121)
    ridge = np.stack([across, _BASE - _hill(left + across / scale) * _TALL], axis=1)
    canvas.polygon([*ridge, (width + 9.0, height + 9.0), (-9.0, height + 9.0)], (150, 192, 112))
    canvas.line(ridge, 5, (86, 134, 66))
    return canvas


def _draw_mountain_car(scene: Scene, canvas: Canvas) -> None:
    low, high = scene.common["min_position"], scene.common["max_position"]
    # Room for the walls.
    scale = canvas.width / (1.1 * (high - low))
    left = low - 0.05 * (high - low)

    def place(position: float) -> tuple[float, float]:
        return (position - left) * scale, _BASE - float(_hill(np.float64(position))) * _TALL

    canvas.pixels[:] = _valley(canvas.height, canvas.width, left, scale).pixels
    for wall in (scene.params["min_position"], scene.params["max_position"]):
        x, y = place(wall)
        canvas.rectangle(x - 4, y - 24, 8, 28, DARK)
    x, y = place(scene.params["goal_position"])
    canvas.rectangle(x - 2, y - 66, 4, 66, INK)
    canvas.polygon([(x + 2, y - 66), (x + 40, y - 54), (x + 2, y - 42)], RED)
    position = scene.state["position"]
    x, y = place(position)
    slope = 0.45 * 3 * math.cos(3 * position) * _TALL / scale
    along = np.array([1.0, -slope]) / math.hypot(1.0, slope)
    above = np.array([along[1], -along[0]])

    def car(points: Sequence[tuple[float, float]]) -> npt.NDArray[np.float64]:
        turned: npt.NDArray[np.float64] = np.array(points) @ np.stack([along, above]) + (x, y)
        return turned

    body = [(-32, 9), (32, 9), (32, 19), (24, 24), (16, 26), (9, 38), (-13, 38), (-21, 26), (-32, 24)]
    canvas.polygon(car([(-14, 26), (-9, 34), (6, 34), (11, 26)]), WHITE)
    canvas.polygon(car(body), RED)
    canvas.fill([car([(-15, 26), (-10, 34), (-3, 34), (-3, 26)]), car([(1, 26), (1, 34), (7, 34), (11, 26)])], _SKY)
    for wheel_x, wheel_y in car([(-18, 9), (18, 9)]):
        canvas.disc(wheel_x, wheel_y, 9, INK)
        canvas.disc(wheel_x, wheel_y, 3.5, LIGHT)
    force = _car_force(scene)
    if force != 0:
        side = math.copysign(1.0, force)
        start, end = car([(side * 38, 18), (side * (60 + 20 * min(abs(force), 1.0)), 18)])
        canvas.arrow(start, end, 7, ORANGE)


def _car_force(scene: Scene) -> float:
    """Return the last action as a share of the largest."""
    if scene.action is None:
        return 0.0
    if "power" not in scene.params:
        return scene.action - 1.0
    low, high = float(scene.params["min_action"]), float(scene.params["max_action"])
    return min(max(scene.action, low), high) / max(abs(low), abs(high), 1e-9)


def _torque(canvas: Canvas, x: float, y: float, radius: float, share: float) -> None:
    """Draw a bent arrow around ``(x, y)``, the longer the larger ``share`` in [-1, 1]; > 0 is anticlockwise."""
    if abs(share) < 0.02:
        return
    # From straight up on; y points down.
    sweep = -share * 0.8 * math.pi
    angle = -math.pi / 2 - sweep / 2 + np.linspace(0, sweep, 24)
    arc = np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], axis=1)
    canvas.line(arc, 6, ORANGE)
    ahead = np.array([-math.sin(angle[-1]), math.cos(angle[-1])]) * math.copysign(1.0, sweep)
    out = np.array([math.cos(angle[-1]), math.sin(angle[-1])])
    canvas.polygon([arc[-1] - out * 11, arc[-1] + ahead * 19, arc[-1] + out * 11], ORANGE)


def _draw_acrobot(scene: Scene, canvas: Canvas) -> None:
    first = scene.params["link_length_1"]
    # The ending knows links of 1 m only, whatever the first one's length is.
    scale = min(100.0, 230.0 / (first + 1.0))
    middle = np.array([canvas.width / 2, canvas.height / 2])
    theta1 = scene.state["theta1"]
    theta2 = theta1 + scene.state["theta2"]
    elbow = middle + np.array([math.sin(theta1), math.cos(theta1)]) * first * scale
    tip = elbow + np.array([math.sin(theta2), math.cos(theta2)]) * scale
    canvas.rectangle(0, 0, canvas.width, canvas.height, CREAM)
    line = middle[1] - scale
    for x in range(0, canvas.width, 24):
        canvas.rectangle(x, round(line) - 2, 14, 4, GREEN)
    canvas.lines([[middle, elbow]], 22, BLUE)
    canvas.lines([[elbow, tip]], 22, (88, 176, 196))
    for (x, y), radius, colour in ((tip, 8, RED), (middle, 12, INK), (middle, 5, GREY), (elbow, 9, GOLD)):
        canvas.disc(x, y, radius, colour)
    if scene.action is not None:
        torque = (scene.action - 1.0) * math.copysign(1.0, scene.params["torque"])
        _torque(canvas, elbow[0], elbow[1], 30.0, 0.75 * torque)


def _draw_pendulum(scene: Scene, canvas: Canvas) -> None:
    middle = canvas.height / 2
    canvas.rectangle(0, 0, canvas.width, canvas.height, CREAM)
    length = scene.params["l"]
    reach = min(150.0 * length, 0.5 * canvas.height - 40)
    canvas.ring(middle, middle, reach + 1, reach - 1, LIGHT)
    # theta grows anticlockwise from upright.
    theta = scene.state["theta"]
    tip = middle - math.sin(theta) * reach, middle - math.cos(theta) * reach
    canvas.line([(middle, middle), tip], 26, RED)
    canvas.disc(*tip, min(max(19.0 * scene.params["m"] ** (1 / 3), 15.0), 36.0), mixed(RED, INK, 0.25))
    canvas.disc(middle, middle, 9, INK)
    canvas.disc(middle, middle, 3.5, LIGHT)
    if scene.action is not None:
        most = scene.params["max_torque"]
        _torque(canvas, middle, middle, 54.0, min(max(scene.action / most, -1.0), 1.0))


DRAWINGS = {
    "CartPole-v1": Drawing(_draw_cartpole),
    "CartPoleSwingup-v0": Drawing(_draw_swingup),
    "MountainCar-v0": Drawing(_draw_mountain_car),
    "MountainCarContinuous-v0": Drawing(_draw_mountain_car),
    "Acrobot-v1": Drawing(_draw_acrobot, (500, 500)),
    "Pendulum-v1": Drawing(_draw_pendulum, (500, 500)),
}
