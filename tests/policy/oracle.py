"""The draws and the bandit in plain Python integers and floats, written without a look at the kernels."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

WORD = 2**64
GOLDEN = 0x9E3779B97F4A7C15
DAY_MS = 86_400_000

# Coefficients of AS241, highest power first.
CENTRAL = (
    [2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457,
     13731.693765509461125, 1971.5909503065514427, 133.14166789178437745, 3.387132872796366608],
    [5226.495278852854561, 28729.085735721942674, 39307.89580009271061, 21213.794301586595867,
     5394.1960214247511077, 687.1870074920579083, 42.313330701600911252, 1.0],
)  # fmt: skip
TAIL = (
    [7.7454501427834140764e-4, 0.0227238449892691845833, 0.24178072517745061177, 1.27045825245236838258,
     3.64784832476320460504, 5.7694972214606914055, 4.6303378461565452959, 1.42343711074968357734],
    [1.05075007164441684324e-9, 5.475938084995344946e-4, 0.0151986665636164571966,
     0.14810397642748007459, 0.68976733498510000455, 1.6763848301838038494, 2.05319162663775882187, 1.0],
)  # fmt: skip
FAR = (
    [2.01033439929228813265e-7, 2.71155556874348757815e-5, 0.0012426609473880784386,
     0.026532189526576123093, 0.29656057182850489123, 1.7848265399172913358, 5.4637849111641143699,
     6.6579046435011037772],
    [2.04426310338993978564e-15, 1.4215117583164458887e-7, 1.8463183175100546818e-5,
     7.868691311456132591e-4, 0.0148753612908506148525, 0.13692988092273580531, 0.59983220655588793769,
     1.0],
)  # fmt: skip


def key(kind: str, *parts: object) -> int:
    text = "\0".join([kind, *map(str, parts)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def splitmix(h: int) -> int:
    h = ((h ^ (h >> 30)) * 0xBF58476D1CE4E5B9) % WORD
    h = ((h ^ (h >> 27)) * 0x94D049BB133111EB) % WORD
    return h ^ (h >> 31)


def uniform(series: int, close_ms: int, preset: int, component: int) -> float:
    h = splitmix((series + close_ms * GOLDEN) % WORD)
    h = splitmix(h ^ preset)
    h = splitmix((h + (component + 1) * GOLDEN) % WORD)
    return ((h >> 12) + 0.5) / 2**52


def log(x: float) -> float:
    m, e = math.frexp(x)
    if m < math.sqrt(0.5):
        m, e = m * 2, e - 1
    s = (m - 1) / (m + 1)
    series = 0.0
    for k in range(11, -1, -1):
        series = series * (s * s) + 1 / (2 * k + 1)
    return e * math.log(2) + 2 * s * series


def ratio(table: tuple[list[float], list[float]], r: float, factor: float = 1.0) -> float:
    top, low = table
    value = []
    for coefficients in (top, low):
        total = coefficients[0]
        for coefficient in coefficients[1:]:
            total = total * r + coefficient
        value.append(total)
    return value[0] * factor / value[1]


def quantile(u: float) -> float:
    q = u - 0.5
    if abs(q) <= 0.425:
        return ratio(CENTRAL, 0.180625 - q * q, q)
    r = math.sqrt(-log(min(u, 1 - u)))
    x = ratio(TAIL, r - 1.6) if r <= 5 else ratio(FAR, r - 5)
    return math.copysign(x, q)


@dataclass
class Event:
    known_at_ms: int
    trade_id: str
    preset: str
    x: list[float]
    net_pnl_bps: float


@dataclass
class Bandit:
    """Everything from scratch at every bar: fit, draw, choose."""

    strategy: str
    instrument: str
    seed: int
    presets: Sequence[str]
    events: Sequence[Event]
    state: tuple[str | None, int | None, int] = (None, None, 0)
    rows: list[tuple[str, int | None, int]] = field(default_factory=list)

    def step(self, now_ms: int, x: list[float]) -> None:
        scores = {name: self._score(name, now_ms, x) for name in self.presets}
        best = max(self.presets, key=lambda name: scores[name])
        current, changed_at, changes = self.state
        if changed_at is None or changed_at // DAY_MS != now_ms // DAY_MS:
            changes = 0
        if current is None:
            current = best
        elif scores[best] - scores[current] >= 0.1 and changes < 4:
            current, changed_at, changes = best, now_ms, changes + 1
        self.state = (current, changed_at, changes)
        self.rows.append(self.state)

    def _score(self, preset: str, now_ms: int, x: list[float]) -> float:
        d = len(x)
        a = [[float(i == j) for j in range(d)] for i in range(d)]
        b = [0.0] * d
        known = [one for one in self.events if one.known_at_ms <= now_ms and one.preset == preset]
        for one in sorted(known, key=lambda one: (one.known_at_ms, one.trade_id)):
            for i in range(d):
                b[i] += one.x[i] * (one.net_pnl_bps / 20)
                for j in range(d):
                    a[i][j] += one.x[i] * one.x[j]
        lower = cholesky(a)
        mean = back(lower, forward(lower, b))
        series, preset_key = (
            key("series", self.seed, self.strategy, self.instrument),
            key("preset", preset),
        )
        z = [quantile(uniform(series, now_ms, preset_key, i)) for i in range(d)]
        noise = back(lower, z)
        score = 0.0
        for i in range(d):
            score += x[i] * (mean[i] + noise[i])
        return score


def cholesky(a: list[list[float]]) -> list[list[float]]:
    d = len(a)
    lower = [[0.0] * d for _ in range(d)]
    for i in range(d):
        for j in range(i + 1):
            total = a[i][j]
            for k in range(j):
                total -= lower[i][k] * lower[j][k]
            lower[i][j] = math.sqrt(total) if i == j else total / lower[j][j]
    return lower


def forward(lower: list[list[float]], b: list[float]) -> list[float]:
    y: list[float] = []
    for i, total in enumerate(b):
        for k in range(i):
            total -= lower[i][k] * y[k]
        y.append(total / lower[i][i])
    return y


def back(lower: list[list[float]], b: list[float]) -> list[float]:
    d = len(b)
    x = [0.0] * d
    for i in range(d - 1, -1, -1):
        total = b[i]
        for k in range(i + 1, d):
            total -= lower[k][i] * x[k]
        x[i] = total / lower[i][i]
    return x
