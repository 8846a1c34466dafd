"""The fast way of writing JSON writes what the plain one does, whatever the numbers and texts."""

from __future__ import annotations

import json
import math
import random
import struct
from typing import Any

import pytest

from mei.report import json_text
from mei.report.json_text import compact_json, pretty_json

_EDGES = (
    0.0,
    -0.0,
    1e-5,
    9.999e-6,
    1e16,
    9999999999999998.0,
    1e22,
    5e-324,
    1.7e308,
    1e-7,
    123456.0,
)
_TEXTS = ("", "é", "\u2028", '"\\\x7f\x01/', "a e+16", "sweep_0001", "🙂")


def drawn(rng: random.Random, depth: int) -> Any:
    kind = rng.randrange(8 if depth else 5)
    if kind == 0:
        return struct.unpack("<d", rng.getrandbits(64).to_bytes(8, "little"))[0]
    if kind == 1:
        return rng.choice(_EDGES) * rng.choice((1.0, -1.0))
    if kind == 2:
        return round(rng.uniform(-1e5, 1e5), rng.randrange(6))
    if kind == 3:
        return rng.choice((None, True, False, rng.randrange(-(10**9), 10**9), math.nan, math.inf))
    if kind == 4:
        return rng.choice(_TEXTS)
    size = rng.randrange(4)
    if kind == 5:
        return [drawn(rng, depth - 1) for _ in range(size)]
    return {rng.choice(_TEXTS) + str(n): drawn(rng, depth - 1) for n in range(size)}


def test_both_ways_write_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(9)
    values = [drawn(rng, 3) for _ in range(4000)]
    fast = [(compact_json(value), pretty_json(value)) for value in values]
    monkeypatch.setattr(json_text, "_by_library", lambda value, options: None)
    slow = [(compact_json(value), pretty_json(value)) for value in values]
    assert fast == slow
    assert sum("e1" in text for text, _ in fast) > 50


@pytest.mark.parametrize("write", [compact_json, pretty_json])
def test_numbers_read_back_as_they_were(write: Any) -> None:
    rng = random.Random(4)
    for _ in range(2000):
        value = struct.unpack("<d", rng.getrandbits(64).to_bytes(8, "little"))[0]
        if math.isfinite(value):
            assert json.loads(write(value)) == value
