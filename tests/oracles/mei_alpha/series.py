"""The two generated candle sets of the specification (part 1, G.2 and G.4; part 2, J)."""

from __future__ import annotations

from functools import cache

from tests.oracles.mei_alpha.bank import Bar

HOUR = 3_600_000
QUARTER = 900_000


def integer_series(seed: int, price: int) -> list[tuple[int, int, int, int, int]]:
    """Cents: o, h, l, c and volume."""
    state, drift, bars = seed, 0, []

    def draw() -> int:
        nonlocal state
        state = (1103515245 * state + 12345) % 2**31
        return state // 65536

    for i in range(600):
        if i % 40 == 0:
            drift = draw() % 121 - 60
        o = price
        c = o + drift + draw() % 401 - 200
        h = max(o, c) + draw() % 101
        low = min(o, c) - draw() % 101
        v = draw() % 1000
        if draw() % 10 == 0:
            v = 5 * v
        bars.append((o, h, low, c, v))
        price = c
    return bars


@cache
def g2_cents() -> dict[str, list[tuple[int, int, int, int, int]]]:
    return {
        "BTC": integer_series(1, 50000),
        "ETH": integer_series(2, 30000),
        "SOL": integer_series(3, 20000),
    }


@cache
def g2_bars() -> dict[str, list[Bar]]:
    return {
        symbol: [
            (HOUR * i, o / 100.0, h / 100.0, low / 100.0, c / 100.0, float(v))
            for i, (o, h, low, c, v) in enumerate(rows)
        ]
        for symbol, rows in g2_cents().items()
    }


def g4_sub_bars() -> dict[str, list[Bar]]:
    bars: dict[str, list[Bar]] = {}
    for symbol, rows in g2_cents().items():
        bars[symbol] = []
        for i, (o, _, _, c, _) in enumerate(rows):
            a = o
            for j in range(4):
                b = o + (c - o) * (j + 1) // 4
                prices = (a / 100.0, max(a, b) / 100.0, min(a, b) / 100.0, b / 100.0)
                bars[symbol].append((HOUR * i + QUARTER * j, *prices, 1.0))
                a = b
    return bars


J_START = 1699999200000


@cache
def j_quarters() -> dict[str, list[Bar]]:
    bars: dict[str, list[Bar]] = {}
    for symbol, price, seed, offset in (
        ("AAA", 10.0, 1, 0),
        ("BTC", 50000.0, 2, 53),
        ("ZZZ", 0.5, 3, 107),
    ):
        state, c, rows = seed, price, []
        for n in range(3600):
            draws = []
            for _ in range(3):
                state = (1664525 * state + 1013904223) % 2**32
                draws.append(state / 4294967296.0)
            u1, u2, u3 = draws
            d = (0.0012, 0.0, -0.0012, 0.0)[((n + offset) // 160) % 4]
            o = c
            c = o * (1.0 + d + 0.008 * (u1 - 0.5))
            h = max(o, c) * (1.0 + 0.002 * u2)
            low = min(o, c) * (1.0 - 0.002 * u3)
            rows.append((J_START + n * QUARTER, o, h, low, c, 500.0 if u2 > 0.96 else 100.0))
        bars[symbol] = rows
    return bars


@cache
def j_hours() -> dict[str, list[Bar]]:
    hours: dict[str, list[Bar]] = {}
    for symbol, rows in j_quarters().items():
        hours[symbol] = []
        for i in range(0, len(rows), 4):
            group = rows[i : i + 4]
            volume = 0.0
            for row in group:
                volume += row[5]
            high, low = max(row[2] for row in group), min(row[3] for row in group)
            hours[symbol].append((group[0][0], group[0][1], high, low, group[-1][4], volume))
    return hours
