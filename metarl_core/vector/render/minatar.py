"""Pictures of MinAtar's games: what the channels say is where, as figures of 8 x 8 squares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from metarl_core.vector.render.canvas import Canvas, Colour
from metarl_core.vector.render.registry import Drawing
from metarl_core.vector.render.scene import Scene

__all__ = ["DRAWINGS"]

_SIDE, _SQUARES, _SCALE = 10, 8, 5
_LETTERS: dict[str, Colour] = {
    "r": (226, 72, 66),
    "o": (240, 150, 52),
    "y": (250, 214, 72),
    "g": (92, 190, 98),
    "c": (86, 204, 214),
    "b": (72, 128, 224),
    "p": (176, 104, 208),
    "w": (244, 246, 248),
    "s": (240, 200, 160),
    "n": (140, 92, 56),
    "e": (132, 140, 156),
    "k": (22, 24, 34),
}
_Sprite = list[tuple[npt.NDArray[np.bool_], Colour]]


def _sprite(*lines: str) -> _Sprite:
    letters = np.array([list(line) for line in lines])
    return [(letters == letter, _LETTERS[letter]) for letter in sorted(set(letters.flat) - {"."})]


def _solid(colour: Colour, inset: int = 0) -> _Sprite:
    mask = np.zeros((_SQUARES, _SQUARES), np.bool_)
    mask[inset : _SQUARES - inset, inset : _SQUARES - inset] = True
    return [(mask, colour)]


_DOT = [(np.pad(np.ones((2, 2), np.bool_), 3), (110, 118, 140))]


@dataclass(frozen=True)
class _Game:
    """Colours of the ten rows behind, and the figures by channel, the lowest layer first."""

    rows: tuple[Colour, ...]
    figures: tuple[tuple[int, _Sprite], ...]
    # The channels that face as this field says (0: left), and are else drawn mirrored.
    facing: tuple[str, tuple[int, ...]] | None = None


_ASTERIX = _Game(
    ((30, 34, 52), *((38, 44, 66), (46, 52, 78)) * 4, (30, 34, 52)),
    (
        (2, _DOT),
        (
            3,
            _sprite("........", "..yyyy..", ".yywwyy.", ".yywyyy.", ".yywyyy.", ".yywwyy.", "..yyyy..", "........"),
        ),
        (
            1,
            _sprite("........", ".r....r.", ".rr..rr.", ".rrrrrr.", ".rkrrkr.", ".rrrrrr.", "..rkkr..", "...rr..."),
        ),
        (
            0,
            _sprite("w......w", ".wyyyyw.", "..yyyy..", "..sksk..", ".ysssyy.", "..gggg..", ".sggggs.", "..b..b.."),
        ),
    ),
)
_WALL: tuple[Colour, ...] = ((226, 72, 66), (240, 150, 52), (250, 214, 72))
_BREAKOUT = _Game(
    ((18, 20, 32),) * 10,
    (
        (3, [(np.pad(np.ones((7, 7), np.bool_), ((0, 1), (0, 1))), (226, 72, 66))]),
        (2, _DOT),
        (
            0,
            _sprite("........", "........", "cccccccc", "cccccccc", "cccccccc", "bbbbbbbb", "........", "........"),
        ),
        (
            1,
            _sprite("........", "..wwww..", ".wwwwww.", ".wwwwww.", ".wwwwww.", ".wwwwww.", "..wwww..", "........"),
        ),
    ),
)


def _wake(lines: int) -> _Sprite:
    """Return the stripes behind a car; more for a faster one."""
    mask = np.zeros((_SQUARES, _SQUARES), np.bool_)
    mask[[1, 6, 3, 4, 0][:lines]] = np.arange(_SQUARES) % 4 < 3
    return [(mask, (112, 116, 128))]


_FREEWAY = _Game(
    ((92, 140, 84), *((52, 54, 62),) * 8, (92, 140, 84)),
    (
        *((channel, _wake(7 - channel)) for channel in range(2, 7)),
        (
            1,
            _sprite("........", ".kk..kk.", "rrrrrrrr", "rwrccrwr", "rwrccrwr", "rrrrrrrr", ".kk..kk.", "........"),
        ),
        (
            0,
            _sprite("..rr....", "..www...", ".owkw...", "..www.w.", "..wwwww.", "..wwww..", "...oo...", "..oo.o.."),
        ),
    ),
)
_SEAQUEST = _Game(
    ((150, 200, 232), *((30, 78, 150), (28, 72, 142)) * 4, (20, 24, 38)),
    (
        (3, [(np.pad(np.ones((2, 3), np.bool_), ((3, 3), (2, 3))), (120, 164, 214))]),
        (
            9,
            _sprite("...ss...", "..ssss..", "...ss...", ".w.oo.w.", "..oooo..", "...oo...", "..o..o..", ".k....k."),
        ),
        (
            5,
            _sprite("........", "......gg", ".gggg.gg", "gkgggggg", "ggggggg.", ".gggg.gg", "......gg", "........"),
        ),
        (
            6,
            _sprite("...rr...", "...rr...", ".rrrrrr.", "rrwrwrwr", "rrrrrrrr", ".rrrrrr.", "........", "........"),
        ),
        (
            2,
            _sprite("........", "........", "........", ".yyyyyy.", ".yyyyyy.", "........", "........", "........"),
        ),
        (
            4,
            _sprite("........", "........", "........", ".rrrrrr.", ".rrrrrr.", "........", "........", "........"),
        ),
        (
            1,
            _sprite("........", ".....yyy", "e....yyy", "ee.yyyyy", "eeeyyyyy", "ee.yyyyy", "e...yyyy", "........"),
        ),
        (
            0,
            _sprite("........", "yy......", "yy......", "yyyyyy..", "yywwyyy.", "yywwyyyy", "yyyyyy..", "........"),
        ),
        (7, [(np.pad(np.ones((4, 8), np.bool_), ((2, 2), (0, 0))), (86, 204, 214))]),
        (
            8,
            _sprite("........", "...ss...", "..ssss..", "...ss...", "..oooo..", "..oooo..", "..oooo..", "........"),
        ),
    ),
    ("sub_faces_right", (0, 1)),
)
_SPACE_INVADERS = _Game(
    ((14, 16, 28),) * 10,
    (
        (
            1,
            _sprite("........", ".g...g..", "..ggg...", ".ggggg..", "gkgggkg.", "ggggggg.", ".g.g.g..", "g.....g."),
        ),
        (
            4,
            _sprite("........", "...yy...", "...yy...", "...yy...", "...yy...", "...yy...", "........", "........"),
        ),
        (
            5,
            _sprite("........", "...rr...", "..rr....", "...rr...", "....rr..", "...rr...", "........", "........"),
        ),
        (
            0,
            _sprite("........", "........", "...cc...", "...cc...", ".cccccc.", "cccccccc", "cccccccc", "........"),
        ),
    ),
)


def _board(game: _Game, scene: Scene) -> npt.NDArray[np.uint8]:
    board = np.empty((_SIDE * _SQUARES, _SIDE * _SQUARES, 3), np.uint8)
    board[:] = np.repeat(np.array(game.rows, np.uint8), _SQUARES, axis=0)[:, None]
    seen = np.asarray(scene.observation, np.bool_)
    mirrored: tuple[int, ...] = ()
    if game.facing is not None and scene.state[game.facing[0]] == 0:
        mirrored = game.facing[1]
    for channel, sprite in game.figures:
        there = seen[..., channel]
        if not there.any():
            continue
        cells = there.repeat(_SQUARES, axis=0).repeat(_SQUARES, axis=1)
        for mask, colour in sprite:
            turned = mask[:, ::-1] if channel in mirrored else mask
            board[cells & np.tile(turned, (_SIDE, _SIDE))] = colour
    return board


def _show(board: npt.NDArray[np.uint8], canvas: Canvas) -> None:
    canvas.pixels[:] = board.repeat(_SCALE, axis=0).repeat(_SCALE, axis=1)


def _drawing(game: _Game) -> Drawing:
    def draw(scene: Scene, canvas: Canvas) -> None:
        _show(_board(game, scene), canvas)

    return Drawing(draw, (_SIDE * _SQUARES * _SCALE,) * 2)


def _draw_breakout(scene: Scene, canvas: Canvas) -> None:
    board = _board(_BREAKOUT, scene)
    # Each row of the wall has a colour of its own.
    for row, colour in enumerate(_WALL):
        band = board[(row + 1) * _SQUARES : (row + 2) * _SQUARES]
        band[(band == _WALL[0]).all(axis=-1)] = colour
    _show(board, canvas)


def _draw_freeway(scene: Scene, canvas: Canvas) -> None:
    _show(_board(_FREEWAY, scene), canvas)
    cell = _SQUARES * _SCALE
    dashes = np.arange(canvas.width) % 20 // 4 % 4 > 0
    for lane in range(2, _SIDE - 1):
        canvas.pixels[lane * cell - 1 : lane * cell + 1, dashes] = (206, 196, 120)


DRAWINGS = {
    "MinAtar/Asterix-*": _drawing(_ASTERIX),
    "MinAtar/Breakout-*": Drawing(_draw_breakout, (_SIDE * _SQUARES * _SCALE,) * 2),
    "MinAtar/Freeway-*": Drawing(_draw_freeway, (_SIDE * _SQUARES * _SCALE,) * 2),
    "MinAtar/Seaquest-*": _drawing(_SEAQUEST),
    "MinAtar/SpaceInvaders-*": _drawing(_SPACE_INVADERS),
}
