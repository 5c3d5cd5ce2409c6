"""Print the polynomial coefficients of csrc/include/metarl/detail/math.h.

Each polynomial interpolates its function at Chebyshev nodes, in 60-digit arithmetic, and is then rounded to the target
precision; the printed error is that of the polynomial before rounding, relative to the function it is used for.
Needs mpmath.
"""

from __future__ import annotations

import mpmath as mp

mp.mp.dps = 60


def sine_rest(z):
    """Return S(z) with sin(r) = r + r z S(z), z = r^2."""
    r = mp.sqrt(z)
    return (mp.sin(r) / r - 1) / z


def cosine_rest(z):
    """Return C(z) with cos(r) = 1 - z/2 + z^2 C(z), z = r^2."""
    return (mp.cos(mp.sqrt(z)) - 1 + z / 2) / z**2


def fit(function, upper, degree):
    """Interpolate at the Chebyshev nodes of [0, upper]; return the coefficients, lowest power first."""
    nodes = [upper / 2 * (1 + mp.cos(mp.pi * (2 * k + 1) / (2 * degree + 2))) for k in range(degree + 1)]
    rows = mp.matrix(degree + 1, degree + 1)
    values = mp.matrix(degree + 1, 1)
    for i, z in enumerate(nodes):
        values[i] = function(z)
        for j in range(degree + 1):
            rows[i, j] = z**j
    return list(mp.lu_solve(rows, values))


if __name__ == "__main__":
    upper = (mp.pi / 4) ** 2 * mp.mpf("1.0001")
    for name, function, scale in (("sin", sine_rest, lambda z: z), ("cos", cosine_rest, lambda z: z * z)):
        for precision, degree in (("double", 5), ("float", 2)):
            coefficients = fit(function, upper, degree)
            grid = [upper * mp.mpf(k) / 997 for k in range(1, 998)]
            error = max(abs((mp.polyval(coefficients[::-1], z) - function(z)) * scale(z)) for z in grid)
            print(f"{name} {precision}: error {mp.nstr(error, 3)}")
            for c in coefficients:
                print("   ", mp.nstr(c, 21 if precision == "double" else 12))
    half_pi = mp.pi / 2
    for bits in ((33, 33), (13, 13, 13)):
        rest, parts = half_pi, []
        exponent = 0
        for b in bits:
            step = mp.mpf(2) ** (exponent - b + 1)
            part = mp.floor(rest / step) * step
            parts.append(part)
            rest -= part
            exponent = int(mp.floor(mp.log(rest, 2)))
        print("pi/2 in parts:", [float(part).hex() for part in [*parts, rest]])
