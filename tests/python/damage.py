"""Damaged versions of a file, seeded: what a failing disk, a killed process or an attacker makes of it."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

WORDS = [
    b"null",
    b"NaN",
    b"-1",
    b"1e999",
    b"[]",
    b"{}",
    b'""',
    b"true",
    b"[" * 3000,
    b'{"a":' * 3000,
    b"\0",
    b"\xff\xfe",
]
WORDS += [
    b"99999999999999999999",
    b"9" * 5000,
    b"0.5",
    b'"',
    b",",
    b"\n",
    b"\r\n",
    b"\xed\xa0\x80",
    b"-9223372036854775809",
]


def damaged(good: bytes, count: int, seed: int = 0) -> Iterator[bytes]:
    """Yield ``count`` versions of ``good``: truncated, flipped, cut, doubled, with numbers replaced or words put in."""
    rng = random.Random(seed)
    numbers = [match.span() for match in re.finditer(rb"-?\d+(?:\.\d+)?", good)]
    values = [match.span() for match in re.finditer(rb'"[^"]*"|\w+', good)]
    yield b""
    for _ in range(count - 1):
        data = bytearray(good)
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            begin = rng.randrange(len(data) + 1)
            end = min(len(data), begin + rng.choice((1, 2, 8, 64)))
            kind = rng.randrange(7)
            if kind == 0:
                del data[begin:]
            elif kind == 1 and begin < len(data):
                data[begin] ^= 1 << rng.randrange(8)
            elif kind == 2:
                del data[begin:end]
            elif kind == 3:
                data[begin:begin] = data[begin:end]
            elif kind == 4 and numbers:
                first, last = rng.choice(numbers)
                data[first:last] = rng.choice(WORDS)
            elif kind == 5 and values:
                first, last = rng.choice(values)
                data[first:last] = rng.choice(WORDS)
            else:
                data[begin:begin] = rng.choice(WORDS)
        yield bytes(data)
