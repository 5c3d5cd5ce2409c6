"""The rasteriser behind render(): areas against geometry, to a fraction of a pixel."""

from __future__ import annotations

import math

import numpy as np
import pytest

from metarl_core.vector.render.canvas import Canvas
from metarl_core.vector.render.lettering import _STROKES, width_of

BLACK, WHITE = (0, 0, 0), (255, 255, 255)


def painted(draw, height=200, width=300):
    """Return how much of a black canvas ``draw`` paints white, by pixel."""
    canvas = Canvas(height, width, BLACK)
    draw(canvas)
    assert (canvas.pixels == canvas.pixels[..., :1]).all()
    return canvas.pixels[..., 0] / 255.0


def shoelace(points):
    x, y = np.asarray(points, np.float64).T
    return abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


@pytest.mark.parametrize("radius", [0.8, 2.5, 7.3, 33.3, 90.0])
def test_disc_has_its_area_and_centre(radius):
    for x, y in ((150.0, 100.0), (150.37, 99.81)):
        cover = painted(lambda canvas, x=x, y=y: canvas.disc(x, y, radius, WHITE))
        # A pixel's grey is rounded: on the edge, by 1/510 at most and to either side.
        assert cover.sum() == pytest.approx(math.pi * radius**2, rel=1e-3, abs=0.05)
        columns, rows = np.arange(300) + 0.5, np.arange(200) + 0.5
        assert (cover.sum(axis=0) @ columns) / cover.sum() == pytest.approx(x, abs=0.02 + 0.02 / radius)
        assert (cover.sum(axis=1) @ rows) / cover.sum() == pytest.approx(y, abs=0.02 + 0.02 / radius)
        distance = np.hypot(columns[None] - x, rows[:, None] - y)
        assert (cover[distance < radius - 1.2] == 1).all()
        assert (cover[distance > radius + 1.2] == 0).all()


def test_polygons_have_their_areas():
    rng = np.random.default_rng(0)
    for _ in range(200):
        angle = np.sort(rng.uniform(0, 2 * math.pi, rng.integers(3, 9)))
        points = np.stack([150 + 80 * np.cos(angle), 100 + 80 * np.sin(angle)], axis=1) + rng.uniform(0, 1, 2)
        points = points[:: rng.choice([-1, 1])]
        cover = painted(lambda canvas, points=points: canvas.polygon(points, WHITE))
        assert cover.sum() == pytest.approx(shoelace(points), rel=2e-3, abs=0.3)


def test_a_pixel_is_as_grey_as_it_is_covered():
    # The half plane below a line of slope 1/4: the area of each pixel below it is known.
    cover = painted(lambda canvas: canvas.polygon([(0, 10), (300, 85), (300, 200), (0, 200)], WHITE))
    x = np.arange(299)
    line = 10 + (x + 0.5) / 4  # height at the pixel's middle
    for k in x:
        top = int(line[k] - 0.125)
        if line[k] + 0.125 < top + 1:  # within one pixel from edge to edge
            assert cover[top, k] == pytest.approx(top + 1 - line[k], abs=1 / 250)
        assert (cover[: top - 1, k] == 0).all()
        assert (cover[top + 2 :, k] == 1).all()


def test_concave_shapes_holes_and_overlaps():
    square, hole = Canvas.box(50, 50, 100, 80), Canvas.box(70, 60, 20, 30)
    cover = painted(lambda canvas: canvas.fill([square, hole[::-1]], WHITE))
    assert cover.sum() == pytest.approx(100 * 80 - 20 * 30)
    assert cover[75, 80] == 0
    assert painted(lambda canvas: canvas.fill([square, hole], WHITE)).sum() == pytest.approx(100 * 80)
    arrowhead = [(10.0, 10.0), (90.0, 50.0), (10.0, 90.0), (40.0, 50.0)]
    assert painted(lambda canvas: canvas.polygon(arrowhead, WHITE)).sum() == pytest.approx(
        shoelace(arrowhead), rel=1e-3
    )
    ring = painted(lambda canvas: canvas.ring(150, 100, 60, 45, WHITE)).sum()
    assert ring == pytest.approx(math.pi * (60**2 - 45**2), rel=1e-3)


def test_lines_boxes_and_arrows_have_their_areas():
    a, b, width = np.array([40.3, 30.1]), np.array([230.8, 140.2]), 9.0
    length = np.hypot(*(b - a))
    round_ends = painted(lambda canvas: canvas.line([a, b], width, WHITE)).sum()
    assert round_ends == pytest.approx(length * width + math.pi * width**2 / 4, rel=2e-3)
    flat = painted(lambda canvas: canvas.line([a, b], width, WHITE, round_ends=False)).sum()
    assert flat == pytest.approx(length * width, rel=2e-3)
    # A closed path whose bars and joints overlap is not painted twice nor cut.
    path = [(50, 50), (200, 50), (200, 150), (50, 150), (50, 50)]
    frame = painted(lambda canvas: canvas.line(path, 10, WHITE))
    assert frame.sum() == pytest.approx(160 * 110 - 140 * 90 - (4 - math.pi) * 25, rel=2e-3)
    rounded = painted(lambda canvas: canvas.rounded(20.5, 30.25, 120, 70, 20, WHITE)).sum()
    assert rounded == pytest.approx(120 * 70 - (4 - math.pi) * 400, rel=3e-3)
    assert painted(lambda canvas: canvas.rectangle(20.5, 30.25, 99.75, 70.5, WHITE)).sum() == pytest.approx(
        99.75 * 70.5, rel=1e-3
    )
    assert painted(lambda canvas: canvas.ellipse(150, 100, 80, 30, WHITE)).sum() == pytest.approx(
        math.pi * 80 * 30, rel=1e-3
    )
    arrow = painted(lambda canvas: canvas.arrow((50, 100), (150, 100), 10, WHITE))
    assert arrow.sum() == pytest.approx(70 * 10 + 36 * 30 / 2, rel=2e-3)
    assert arrow[100, 148] > 0.5
    assert arrow[:, 151:].sum() == 0


@pytest.mark.parametrize("fast", [True, False])
def test_what_lies_outside_is_cut_off(fast):
    def box(canvas, x, y, width, height):
        canvas.rectangle(x, y, width, height, WHITE) if fast else canvas.polygon(canvas.box(x, y, width, height), WHITE)

    for x, y, width, height, area in (
        (-50, -50, 100, 100, 50 * 50),
        (250, 150, 100, 100, 50 * 50),
        (-10, 20, 500, 10, 300 * 10),
        (-1000, -1000, 900, 900, 0),
        (300, 0, 10, 10, 0),
        (-10, -10, 1000, 1000, 300 * 200),
    ):
        assert painted(lambda canvas, at=(x, y, width, height): box(canvas, *at)).sum() == pytest.approx(area)


def test_discs_over_the_edge_and_far_coordinates():
    assert painted(lambda canvas: canvas.disc(0, 100, 50, WHITE)).sum() == pytest.approx(math.pi * 2500 / 2, rel=1e-3)
    assert painted(lambda canvas: canvas.disc(300, 200, 50, WHITE)).sum() == pytest.approx(math.pi * 2500 / 4, rel=1e-3)
    far = [(-1e300, 100.0), (1e300, 100.0), (1e300, 1e300), (-1e300, 1e300)]
    assert painted(lambda canvas: canvas.polygon(far, WHITE)).sum() == pytest.approx(300 * 100)
    for bad in (math.nan, math.inf):
        assert painted(lambda canvas, bad=bad: canvas.disc(bad, 5, 5, WHITE)).sum() == 0
        assert painted(lambda canvas, bad=bad: canvas.line([(0, 0), (bad, 5)], 3, WHITE, round_ends=False)).sum() == 0


def test_opacity_mixes_colours():
    canvas = Canvas(10, 10, (100, 0, 200))
    canvas.rectangle(0, 0, 10, 5, (200, 100, 0), 0.25)
    assert canvas.pixels[2, 2].tolist() == [125, 25, 150]
    assert canvas.pixels[7, 2].tolist() == [100, 0, 200]


def test_letters_differ_and_stay_in_their_place():
    pictures = {}
    for sign in _STROKES:
        cover = painted(lambda canvas, sign=sign: canvas.text(100, 80, sign, 18, WHITE))
        assert cover.sum() > 5, sign
        rows, columns = np.nonzero(cover)
        assert 97 <= columns.min() <= columns.max() <= 100 + width_of("A", 18) + 2, sign
        assert 77 <= rows.min() <= rows.max() <= 101, sign
        pictures[sign] = cover.tobytes()
    assert pictures.pop("0") == pictures["O"]
    assert len(set(pictures.values())) == len(pictures)
    small = painted(lambda canvas: canvas.text(10, 10, "abc 1", 12, WHITE))
    assert (small == painted(lambda canvas: canvas.text(10, 10, "ABC 1", 12, WHITE))).all()
    assert painted(lambda canvas: canvas.text(10, 10, "\u00e9\u4e2d", 12, WHITE)).sum() == 0
    middle = painted(lambda canvas: canvas.text(150, 90, "HHH", 20, WHITE, align="centre"))
    assert (middle.sum(axis=0) @ (np.arange(300) + 0.5)) / middle.sum() == pytest.approx(150, abs=0.3)


def test_text_and_pictures_over_the_edge():
    for x, y in ((-8, 20), (295, 20), (100, -9), (100, 195), (-400, -400), (900, 900)):
        cover = painted(lambda canvas, x=x, y=y: canvas.text(x, y, "WW", 14, WHITE))
        assert cover.shape == (200, 300)
        assert (cover.sum() > 0) == (-30 < x < 300 and -20 < y < 200)
    patch = Canvas(20, 30, WHITE)
    for x, y, area in ((10, 10, 600), (-10, -5, 20 * 15), (290, 190, 100), (-30, 0, 0), (300, 0, 0), (0, 200, 0)):
        assert painted(lambda canvas, x=x, y=y: canvas.paste(x, y, patch)).sum() == area
