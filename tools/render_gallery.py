"""Draw the pictures of the environments for the documentation: docs/images/envs/FAMILY.png.

Run it from the repository's root, with the package, Gymnasium and Pillow installed:

    python tools/render_gallery.py [FAMILY ...]

The same pictures come out each time: seeds and actions are fixed.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

import metarl_core as mc
from metarl_core.vector.render.canvas import Canvas

_FOLDER = Path("docs/images/envs")
_BOX = 264, 176  # width and height that a frame is scaled into
_LABEL = 24
_COLUMNS = 4
_LIMIT = 100_000  # bytes a file

_Frame = npt.NDArray[np.uint8]
_Sheet = list[tuple[str, _Frame]]
_Policy = Callable[[npt.NDArray[Any], int], Sequence[float]]


def _shot(
    env_id: str,
    steps: int = 0,
    policy: _Policy | None = None,
    *,
    state: Sequence[float] | None = None,
    task: dict[str, float] | None = None,
    seed: int = 0,
    **params: Any,
) -> _Frame:
    """Return the picture after so many steps; ``policy`` gives the action for an observation and the step's number."""
    envs = mc.make_vec(env_id, 1, seed=seed, autoreset_mode="disabled", render_mode="rgb_array", **params)
    if task is not None:
        envs.set_tasks(task)
    obs, _ = envs.reset()
    if state is not None:
        envs.set_state({"state": [state]})
        obs = envs.observe()
    rng = np.random.default_rng(seed)
    space = envs.single_action_space
    for step in range(steps):
        if policy is not None:
            action = np.array([policy(obs[0], step)]).reshape(envs.action_space.shape)
        else:
            action = rng.integers(space.n, size=1)
        obs, _, terminated, truncated, _ = envs.step(action)
        if terminated[0] or truncated[0]:
            break
    frames = envs.render()
    assert frames is not None
    return frames[0]


def _classic_control() -> _Sheet:
    def along(obs: npt.NDArray[Any], _step: int) -> Sequence[float]:
        return [2 if obs[1] >= 0 else 0]

    return [
        ("CARTPOLE-V1", _shot("CartPole-v1", 18, lambda _, step: [step % 2], seed=4)),
        ("CARTPOLE-V1, A HEAVIER CART", _shot("CartPole-v1", 6, lambda *_: [0], task={"length": 0.9, "masscart": 3})),
        ("MOUNTAINCAR-V0", _shot("MountainCar-v0", 75, along)),
        ("MOUNTAINCARCONTINUOUS-V0", _shot("MountainCarContinuous-v0", 60, lambda obs, _: [np.sign(obs[1])])),
        ("ACROBOT-V1", _shot("Acrobot-v1", 1, lambda *_: [2], state=[2.2, 0.9, 0.5, -1.0])),
        ("PENDULUM-V1", _shot("Pendulum-v1", 22, lambda obs, _: [2.0 * np.sign(obs[2])], seed=2)),
        ("PENDULUM-V1, L 0.6, M 3", _shot("Pendulum-v1", 5, lambda *_: [-1.4], task={"l": 0.6, "m": 3.0}, seed=3)),
    ]


def _toy_text() -> _Sheet:
    def taxi(row: int, column: int, passenger: int, destination: int) -> Sequence[float]:
        return [((row * 5 + column) * 5 + passenger) * 4 + destination, 0]

    return [
        ("FROZENLAKE-V1", _shot("FrozenLake-v1", state=[14])),
        ("FROZENLAKE-V1, IN A HOLE", _shot("FrozenLake-v1", state=[5])),
        ("FROZENLAKE-V1, 8X8", _shot("FrozenLake-v1", state=[20], map_name="8x8")),
        ("CLIFFWALKING-V1", _shot("CliffWalking-v1", state=[29])),
        ("TAXI-V4", _shot("Taxi-v4", state=taxi(2, 2, 0, 3))),
        ("TAXI-V4, ON THE WAY", _shot("Taxi-v4", state=taxi(3, 1, 4, 1))),
        ("BLACKJACK-V1", _shot("Blackjack-v1", state=[7, 1, 2, 12, 0, 2, 10])),
        ("BLACKJACK-V1, AT THE END", _shot("Blackjack-v1", 1, lambda *_: [0], state=[19, 0, 3, 14, 0, 2, 8], seed=5)),
    ]


def _bsuite() -> _Sheet:
    deep_sea = {"size": 10, "randomize_actions": False}
    return [
        ("DEEPSEA-V0", _shot("DeepSea-v0", 6, lambda _, step: [int(step != 3)], **deep_sea)),
        ("DEEPSEA-V0, SIZE 30", _shot("DeepSea-v0", 14, lambda _, step: [int(step < 9)], **{**deep_sea, "size": 30})),
        ("CATCH-V0", _shot("Catch-v0", 6, lambda *_: [0], seed=1)),
        ("BANDIT-V0", _shot("Bandit-v0", 1, lambda *_: [7])),
        ("MEMORYCHAIN-V0", _shot("MemoryChain-v0", 0, num_bits=5, seed=2)),
        ("MEMORYCHAIN-V0, ANSWERED", _shot("MemoryChain-v0", 11, lambda *_: [1], num_bits=5, seed=2)),
        ("DISCOUNTINGCHAIN-V0", _shot("DiscountingChain-v0", 14, lambda *_: [3])),
        ("CARTPOLESWINGUP-V0", _shot("CartPoleSwingup-v0", 25, lambda *_: [2], state=[-0.6, 0, 0.35, -1, 2] + [0] * 4)),
    ]


def _minatar() -> _Sheet:
    def breakout(obs: npt.NDArray[Any], _step: int) -> Sequence[float]:
        ball, paddle = (np.argwhere(obs[..., channel]) for channel in (1, 0))
        return [1 if ball[0, 1] < paddle[0, 1] else 2 if ball[0, 1] > paddle[0, 1] else 0]

    def shoot(_obs: npt.NDArray[Any], step: int) -> Sequence[float]:
        return [(3, 1, 1, 3, 2)[step % 5]]

    def dive(_obs: npt.NDArray[Any], step: int) -> Sequence[float]:
        return [4 if step < 5 else 5 if step > 85 else (1, 3)[step % 2]]

    return [
        ("MINATAR/ASTERIX-V1", _shot("MinAtar/Asterix-v1", 95, lambda *_: [0], seed=6)),
        ("MINATAR/BREAKOUT-V1", _shot("MinAtar/Breakout-v1", 120, breakout, seed=1)),
        ("MINATAR/FREEWAY-V1", _shot("MinAtar/Freeway-v1", 14, lambda *_: [1], seed=1)),
        ("MINATAR/SEAQUEST-V1", _shot("MinAtar/Seaquest-v1", 92, dive, seed=3)),
        ("MINATAR/SPACEINVADERS-V1", _shot("MinAtar/SpaceInvaders-v1", 42, shoot, seed=2)),
    ]


def _minigrid() -> _Sheet:
    def level(name: str, *actions: int, seed: int = 3) -> tuple[str, _Frame]:
        env_id = f"MiniGrid-{name}"
        return name.upper(), _shot(env_id, len(actions), lambda _, step: [actions[step]], seed=seed)

    left, right, forward = 0, 1, 2
    return [
        level("Empty-8x8-v0", right, forward, left),
        level("DoorKey-8x8-v0", right, forward),
        level("MultiRoom-N6-v0", right, forward),
        level("KeyCorridorS4R3-v0", right, forward),
        level("FourRooms-v0", forward),
        level("Unlock-v0", left, forward),
        level("LavaCrossingS9N2-v0", forward, forward, right),
        level("SimpleCrossingS9N2-v0", right),
    ]


def _meta() -> _Sheet:
    return [
        ("POINTROBOT-V0", _shot("PointRobot-v0", 4, lambda *_: [0.1, -0.04], seed=3)),
        ("SPARSEPOINTROBOT-V0", _shot("SparsePointRobot-v0", 6, lambda *_: [0.1, 0.1], seed=3)),
        ("MAZE-V0", _shot("Maze-v0", 7, lambda _, step: [step % 4], seed=3)),
        ("MAZE-V0, SIZE 25", _shot("Maze-v0", 30, lambda _, step: [(step * 7 + step // 5) % 4], seed=3, size=25)),
        ("BERNOULLIBANDIT-V0", _shot("BernoulliBandit-v0", 7, lambda _, step: [step], seed=3)),
        ("GAUSSIANBANDIT-V0", _shot("GaussianBandit-v0", 8, lambda _, step: [step], seed=3)),
        ("TABULARMDP-V0", _shot("TabularMDP-v0", 13, lambda _, step: [step % 5], seed=3, num_episodes=3)),
    ]


_FAMILIES: dict[str, Callable[[], _Sheet]] = {
    "classic_control": _classic_control,
    "toy_text": _toy_text,
    "bsuite": _bsuite,
    "minatar": _minatar,
    "minigrid": _minigrid,
    "meta": _meta,
}


# How ids of a family begin that a build may lack.
_FIRST = {"minigrid": "MiniGrid-", "meta": "PointRobot-"}


def _fitted(frame: _Frame) -> Image.Image:
    scale = min(_BOX[0] / frame.shape[1], _BOX[1] / frame.shape[0])
    size = round(frame.shape[1] * scale), round(frame.shape[0] * scale)
    return Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS)


def _draw(family: str) -> int:
    """Write a family's sheet and return its size in bytes."""
    cells = _FAMILIES[family]()
    rows = -(-len(cells) // _COLUMNS)
    columns = -(-len(cells) // rows)
    step_x, step_y = _BOX[0] + 12, _BOX[1] + _LABEL + 8
    canvas = Canvas(rows * step_y + 8, columns * step_x + 12)
    places = itertools.product(range(rows), range(columns))
    for (label, _), (row, column) in zip(cells, places, strict=False):
        x, y = 12 + column * step_x + _BOX[0] / 2, 8 + row * step_y + _BOX[1] + 8
        canvas.text(x, y, label, 8, (36, 40, 50), align="centre", weight=0.15)
    sheet = Image.fromarray(canvas.pixels)
    places = itertools.product(range(rows), range(columns))
    for (_, frame), (row, column) in zip(cells, places, strict=False):
        picture = _fitted(frame)
        x = 12 + column * step_x + (_BOX[0] - picture.width) // 2
        y = 8 + row * step_y + (_BOX[1] - picture.height) // 2
        sheet.paste(picture, (x, y))
    path = _FOLDER / f"{family}.png"
    sheet.save(path, optimize=True)
    return path.stat().st_size


def main() -> None:
    """Draw the families that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family", nargs="*", choices=[*_FAMILIES, []], help="those to draw; all by default")
    known = mc.list_envs()
    here = [family for family in _FAMILIES if any(name.startswith(_FIRST.get(family, "")) for name in known)]
    families = parser.parse_args().family or here
    _FOLDER.mkdir(parents=True, exist_ok=True)
    for family in families:
        size = _draw(family)
        print(f"{family}: {size} bytes")
        if size > _LIMIT:
            raise SystemExit(f"{family}.png has {size} bytes; must be at most {_LIMIT}")


if __name__ == "__main__":
    main()
