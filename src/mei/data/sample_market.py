"""A made-up market with three regimes, the same to the last bit on every machine.

Only + - * / and comparisons on doubles, in a fixed order, on uniforms made from the raw output of PCG64 (whose stream
numpy guarantees): no exp, log or library normals, which differ between processors in the last digit.

CALM   little noise around an anchor: who breaks the channel is pulled back (breakouts fade)
TREND  a drift that keeps its direction for hours, in moderate noise: breakouts follow through
WHIP   much noise and jumps around an anchor: breakouts are violent, and fade

Regimes last hours to a day (semi-Markov: uniform durations, never the same regime twice in a row) and are those of the
whole market; symbols share part of their noise. Volume grows with the regime and with the size of the move.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mei.model.bars import BarArray, FloatArray, empty_bars

CALM, TREND, WHIP = 0, 1, 2

MINUTE_MS = 60_000
MINUTES_PER_DAY = 1440
TICKS_PER_MINUTE = 5

_BPS = 1e-4
_UNIFORM = 1.0 / 9007199254740992.0  # 2**-53: a uniform from the upper 53 bits of a raw word
#: Spread of a sum of four uniforms about its mean, turned into a unit deviate.
_SQRT_3 = 1.7320508075688772
#: Shares of the market's and the symbol's own noise; their squares add up to 1.
_MARKET_SHARE, _OWN_SHARE = 0.6, 0.8


class Regime(NamedTuple):
    """How prices move. noise_bps, drift_bps: a minute; pull: share of the way to the anchor taken in a minute.

    jump_frac: minutes with a jump; jump_bps: its size, half to one and a half times; volume: typical a minute.
    """

    shortest_min: int
    longest_min: int
    noise_bps: float
    drift_bps: float
    pull: float
    jump_frac: float
    jump_bps: float
    volume: float


REGIMES = (
    Regime(240, 1200, 2.5, 0.0, 0.05, 0.0, 0.0, 6.0),
    Regime(240, 1440, 6.0, 0.6, 0.0, 0.0, 0.0, 18.0),
    Regime(180, 720, 13.0, 0.0, 0.05, 0.02, 60.0, 40.0),
)

#: A drift keeps its direction so long (minutes).
_SHORTEST_DRIFT, _LONGEST_DRIFT = 120, 480


@dataclass(frozen=True, slots=True)
class Listing:
    """Where a symbol starts and how its numbers are written."""

    first_px: float
    volume_scale: float


_LISTINGS = {"BTC/USDT": Listing(42_000.0, 1.0), "ETH/USDT": Listing(2_300.0, 12.0)}
_OTHER = Listing(100.0, 100.0)


def regimes_of_market(n_minutes: int, seed: int) -> npt.NDArray[np.int8]:
    """The regime of every minute, shape (n_minutes,), values CALM, TREND, WHIP."""
    regimes = np.empty(n_minutes, dtype=np.int8)
    draws = iter(_uniforms(seed, "regimes", 2 * (n_minutes // 180 + 2)).tolist())
    regime, begin = CALM, 0
    while begin < n_minutes:
        kind = REGIMES[regime]
        minutes = kind.shortest_min + int(next(draws) * (kind.longest_min - kind.shortest_min))
        regimes[begin : begin + minutes] = regime
        begin += minutes
        regime = (regime + (1 if next(draws) < 0.5 else 2)) % 3
    return regimes


def drifts_of_market(regimes: npt.NDArray[np.int8], seed: int) -> npt.NDArray[np.int8]:
    """Direction of the drift of every minute: -1 or 1 in TREND, 0 elsewhere."""
    n_minutes = len(regimes)
    draws = iter(_uniforms(seed, "drifts", 2 * n_minutes // _SHORTEST_DRIFT + 4).tolist())
    directions = np.empty(n_minutes, dtype=np.int8)
    begin = 0
    while begin < n_minutes:
        minutes = _SHORTEST_DRIFT + int(next(draws) * (_LONGEST_DRIFT - _SHORTEST_DRIFT))
        directions[begin : begin + minutes] = 1 if next(draws) < 0.5 else -1
        begin += minutes
    return np.where(regimes == TREND, directions, 0).astype(np.int8)


def market_bars(symbol: str, n_minutes: int, seed: int, start_ms: int) -> BarArray:
    """One-minute candles of `symbol`, shape (n_minutes,), without gaps; prices and volumes not yet rounded."""
    regimes = regimes_of_market(n_minutes, seed)
    drifts = drifts_of_market(regimes, seed)
    listing = _LISTINGS.get(symbol, _OTHER)
    ticks = _tick_prices(symbol, regimes, drifts, seed, listing.first_px)
    bars = empty_bars(n_minutes)
    bars["timestamp"] = start_ms + MINUTE_MS * np.arange(n_minutes)
    bars["open"], bars["close"] = ticks[:, 0], ticks[:, -1]
    bars["high"], bars["low"] = ticks.max(axis=1), ticks.min(axis=1)
    bars["volume"] = _volumes(symbol, regimes, ticks, seed) * listing.volume_scale
    return bars


def _uniforms(seed: int, purpose: str, count: int) -> FloatArray:
    """Uniforms in [0, 1), a stream of its own for every purpose."""
    words = np.frombuffer(hashlib.sha256(purpose.encode()).digest(), dtype="<u4")
    sequence = np.random.SeedSequence([seed, *words.tolist()])
    raw = np.random.PCG64(sequence).random_raw(count)
    uniforms: FloatArray = (raw >> np.uint64(11)).astype(np.float64) * _UNIFORM
    return uniforms


def _deviates(seed: int, purpose: str, count: int) -> FloatArray:
    """Unit deviates (mean 0, variance 1, bell-shaped, within ±3.5): sums of four uniforms."""
    draws = _uniforms(seed, purpose, 4 * count).reshape(4, count)
    deviates: FloatArray = (draws[0] + draws[1] + draws[2] + draws[3] - 2.0) * _SQRT_3
    return deviates


def _tick_prices(
    symbol: str,
    regimes: npt.NDArray[np.int8],
    drifts: npt.NDArray[np.int8],
    seed: int,
    first_px: float,
) -> FloatArray:
    """Prices at the open and after each tick, shape (n_minutes, 1 + TICKS_PER_MINUTE)."""
    n_minutes = len(regimes)
    steps_bps = _steps_bps(symbol, regimes, drifts, seed).tolist()
    pulls = np.array([kind.pull for kind in REGIMES])[regimes].tolist()
    kinds = regimes.tolist()
    prices: list[list[float]] = []
    price = anchor = first_px
    for minute in range(n_minutes):
        if minute and kinds[minute] != kinds[minute - 1]:
            anchor = price
        pull = pulls[minute] / TICKS_PER_MINUTE
        row = [price]
        for step in steps_bps[minute]:
            price = price + price * (step * _BPS) + (anchor - price) * pull
            row.append(price)
        # The anchor gives way slowly, so that a calm market is not nailed to one price.
        anchor = anchor + (price - anchor) * 0.003
        prices.append(row)
    return np.array(prices)


def _steps_bps(
    symbol: str, regimes: npt.NDArray[np.int8], drifts: npt.NDArray[np.int8], seed: int
) -> FloatArray:
    """Noise, drift and jumps of every tick in bps, shape (n_minutes, TICKS_PER_MINUTE)."""
    n_minutes = len(regimes)
    shape = (n_minutes, TICKS_PER_MINUTE)
    market = _deviates(seed, "market", n_minutes * TICKS_PER_MINUTE).reshape(shape)
    own = _deviates(seed, f"noise {symbol}", n_minutes * TICKS_PER_MINUTE).reshape(shape)
    noise = _by_regime("noise_bps", regimes) / np.sqrt(float(TICKS_PER_MINUTE))
    steps: FloatArray = (_MARKET_SHARE * market + _OWN_SHARE * own) * noise[:, None]
    steps += (_by_regime("drift_bps", regimes) * drifts / TICKS_PER_MINUTE)[:, None]
    happens, size, side = _uniforms(seed, f"jumps {symbol}", 3 * n_minutes).reshape(3, n_minutes)
    jumps = _by_regime("jump_bps", regimes) * (0.5 + size) * np.where(side < 0.5, -1.0, 1.0)
    jumps = np.where(happens < _by_regime("jump_frac", regimes), jumps, 0.0)
    steps[:, TICKS_PER_MINUTE // 2] += jumps
    return steps


def _volumes(
    symbol: str, regimes: npt.NDArray[np.int8], ticks: FloatArray, seed: int
) -> FloatArray:
    first, second = _uniforms(seed, f"volume {symbol}", 2 * len(regimes)).reshape(2, len(regimes))
    luck = (0.4 + first) * (0.4 + second) * 1.2
    move_bps = np.abs(ticks[:, -1] - ticks[:, 0]) / ticks[:, 0] / _BPS
    usual_bps = _by_regime("noise_bps", regimes)
    volumes: FloatArray = _by_regime("volume", regimes) * luck * (0.5 + 0.6 * move_bps / usual_bps)
    return volumes


def _by_regime(attribute: str, regimes: npt.NDArray[np.int8]) -> FloatArray:
    values: FloatArray = np.array([getattr(kind, attribute) for kind in REGIMES])[regimes]
    return values
