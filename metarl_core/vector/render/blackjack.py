"""The picture of Blackjack: a table with the dealer's cards above and the player's below."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from metarl_core.vector.render.canvas import Canvas, Colour
from metarl_core.vector.render.palette import BLUE, GOLD, INK, RED, WHITE, mixed
from metarl_core.vector.render.registry import Drawing
from metarl_core.vector.render.scene import Scene

__all__ = ["DRAWINGS"]

_FELT: Colour = (30, 106, 74)
_CARD_WIDTH, _CARD_HEIGHT = 80, 114


def _spade(canvas: Canvas, x: float, y: float, size: float, colour: Colour) -> None:
    u = size / 10
    leaf = [(x, y - 5 * u), (x + 4.2 * u, y + 0.9 * u), (x, y + 2.4 * u), (x - 4.2 * u, y + 0.9 * u)]
    lobes = [canvas.circle(x + side * 2.1 * u, y + 1.1 * u, 2.3 * u) for side in (-1, 1)]
    canvas.fill([leaf, *lobes, [(x, y), (x + 1.8 * u, y + 5 * u), (x - 1.8 * u, y + 5 * u)]], colour)


@lru_cache(maxsize=16)
def _card(rank: str | None, back: bool) -> Canvas:
    """Return a card on the table; without a rank, one of which only the hand's sum is known."""
    width, height = _CARD_WIDTH, _CARD_HEIGHT
    canvas = Canvas(height, width, _FELT)
    canvas.rounded(0, 0, width, height, 9, mixed(_FELT, INK, 0.6))
    canvas.rounded(1, 1, width - 2, height - 2, 8, WHITE)
    if back:
        canvas.rounded(6, 6, width - 12, height - 12, 5, BLUE)
        centres = [(16 + 16 * i, 17 + 16 * j) for i in range(4) for j in range(6)]
        diamond = np.array([(0, -6), (6, 0), (0, 6), (-6, 0)])
        canvas.fill([diamond + centre for centre in centres], mixed(BLUE, WHITE, 0.5))
    elif rank is None:
        _spade(canvas, width / 2, height / 2, 40, (206, 210, 216))
    else:
        canvas.text(9, 10, rank, 19, INK, weight=0.17)
        canvas.text(width - 9, height - 29, rank, 19, INK, align="right", weight=0.17)
        _spade(canvas, width / 2, height / 2, 48, INK)
    return canvas


@lru_cache(maxsize=1)
def _table() -> Canvas:
    canvas = Canvas(400, 600, _FELT)
    angle = np.linspace(0.32 * math.pi, 0.68 * math.pi, 40)
    arc = np.stack([canvas.width / 2 + 420 * np.cos(angle), -215 + 420 * np.sin(angle)], axis=1)
    canvas.line(arc, 2, mixed(_FELT, WHITE, 0.25))
    canvas.text(30, 22, "DEALER", 15, WHITE)
    canvas.text(30, 222, "PLAYER", 15, WHITE)
    return canvas


def _hand(canvas: Canvas, y: int, ranks: list[str | None], *, hidden: bool = False) -> None:
    cards = [_card(rank, False) for rank in ranks] + [_card(None, True)] * hidden
    step = min(_CARD_WIDTH + 12, (canvas.width - 190 - _CARD_WIDTH) // max(len(cards) - 1, 1))
    for k, card in enumerate(cards):
        canvas.paste(30 + k * step, y, card)


def _rank(value: int) -> str:
    return "A" if value == 1 else str(value)


def _total(total: int, ace: bool) -> int:
    return total + 10 if ace and total + 10 <= 21 else total


def _score(canvas: Canvas, y: float, number: int, note: str) -> None:
    x = canvas.width - 72.0
    canvas.disc(x, y, 43, mixed(_FELT, INK, 0.35))
    canvas.text(x, y - 17, str(number), 34, RED if number > 21 else WHITE, align="centre")
    canvas.text(x, y + 52, note, 11, GOLD, align="centre")


def _draw(scene: Scene, canvas: Canvas) -> None:
    state = {name: int(value) for name, value in scene.state.items()}
    canvas.paste(0, 0, _table())
    # Until the player sticks the dealer's second card lies face down. How the sums came about is no part of the state,
    # but for the dealer's first card and the aces.
    open_hand = (scene.done and scene.action != 1) or state["dealer_cards"] > 2
    showing = state["showing"]
    if open_hand:
        others = state["dealer_cards"] - 1
        second = _rank(state["dealer_sum"] - showing) if others == 1 else None
        rest: list[str | None] = [second] * others
        if others > 1 and state["dealer_ace"] and showing != 1:
            rest[0] = "A"
        _hand(canvas, 52, [_rank(showing), *rest])
        dealer = _total(state["dealer_sum"], bool(state["dealer_ace"]))
        _score(canvas, 100, dealer, "BUST" if dealer > 21 else "")
    else:
        _hand(canvas, 52, [_rank(showing)], hidden=True)
    ace = bool(state["player_ace"])
    player = _total(state["player_sum"], ace)
    ranks: list[str | None] = [None] * state["player_cards"]
    if ace:
        ranks[0] = "A"
        if state["player_cards"] == 2:
            ranks[1] = _rank(state["player_sum"] - 1)
    _hand(canvas, 252, ranks)
    soft = ace and state["player_sum"] + 10 <= 21
    _score(canvas, 300, player, "BUST" if player > 21 else "ACE AS 11" if soft else "")


DRAWINGS = {"Blackjack-v1": Drawing(_draw)}
