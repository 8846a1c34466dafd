"""Round trips: executed actions paired into closed trades, and what they amount to."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from mei.metrics.number import Number, defined, undefined


@dataclass(frozen=True, slots=True)
class TradeAction:
    """One row of trades.csv. Money in quote currency; `pnl` is realised, after slippage, before fees."""

    timestamp: int
    instrument: str
    strategy: str
    action: str
    side: str
    qty: float
    price: float
    notional: float
    fee: float
    slippage: float
    pnl: float
    config_id: str
    model_version: str
    reason: str


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """A closed trade: the actions of one book from open to close. `net_pnl` = gross − fees; slippage is in all prices.

    `direction` 1 long, -1 short; `entry_notional`, of open and adds together, is what `net_bps` refers to; prices are
    means by quantity where there were adds or partial exits.
    """

    instrument: str
    strategy: str
    preset: str
    model_version: str
    regime: str
    direction: int
    opened_ms: int
    closed_ms: int
    qty: float
    entry_px: float
    exit_px: float
    entry_notional: float
    gross_pnl: float
    fees: float
    slippage: float
    exit_reason: str

    @property
    def net_pnl(self) -> float:
        """Profit after fees and slippage, quote currency."""
        return self.gross_pnl - self.fees

    @property
    def net_bps(self) -> float:
        """Profit after fees and slippage in bps of the entry notional."""
        return self.net_pnl / self.entry_notional * 1e4


class PairingError(ValueError):
    """An action that cannot follow the one before it in its book."""


@dataclass(slots=True)
class _Held:
    """A position so far: what opened it, and sums over its actions."""

    entry: TradeAction
    qty: float
    notional: float
    fees: float
    slippage: float
    pnl: float = 0.0
    sold_qty: float = 0.0
    sold_notional: float = 0.0
    n_adds: int = 0
    n_reductions: int = 0

    def take(self, action: TradeAction) -> None:
        """Count an action that is not the first one."""
        self.fees += action.fee
        self.slippage += action.slippage
        if action.action == "add":
            self.n_adds += 1
            self.qty += action.qty
            self.notional += action.notional
            return
        self.n_reductions += action.action == "reduce"
        self.pnl += action.pnl
        self.sold_qty += action.qty
        self.sold_notional += action.notional

    @property
    def entry_px(self) -> float:
        """Price of the open, or the mean of open and adds."""
        return self.notional / self.qty if self.n_adds else self.entry.price

    def exit_px(self, last: TradeAction) -> float:
        """Price of the close, or the mean of partial exits and close."""
        return self.sold_notional / self.sold_qty if self.n_reductions else last.price


class Pairing:
    """Turns actions in time order into round trips; each book holds one position at most.

    `regime_of(strategy, instrument, opened_ms)` names the regime an entry was decided in.
    """

    def __init__(self, regime_of: Callable[[str, str, int], str] | None = None) -> None:
        self._regime_of = regime_of or (lambda strategy, instrument, opened_ms: "unknown")
        self._open: dict[tuple[str, str], _Held] = {}

    @property
    def n_open(self) -> int:
        """Positions that are not closed yet."""
        return len(self._open)

    def add(self, action: TradeAction) -> RoundTrip | None:
        """The round trip `action` completes, or None. Raises PairingError when it fits no position."""
        book = (action.strategy, action.instrument)
        held = self._open.get(book)
        if (action.action == "open") == (held is not None):
            state = "holds a position" if held is not None else "holds none"
            raise PairingError(
                f"{action.strategy} on {action.instrument} {state} and cannot {action.action}"
            )
        if held is None:
            self._open[book] = _Held(
                action, action.qty, action.notional, action.fee, action.slippage
            )
            return None
        held.take(action)
        if action.action != "close":
            return None
        del self._open[book]
        entry = held.entry
        return RoundTrip(
            instrument=entry.instrument,
            strategy=entry.strategy,
            preset=entry.config_id,
            model_version=entry.model_version,
            regime=self._regime_of(entry.strategy, entry.instrument, entry.timestamp),
            direction=1 if entry.side == "buy" else -1,
            opened_ms=entry.timestamp,
            closed_ms=action.timestamp,
            qty=held.qty,
            entry_px=held.entry_px,
            exit_px=held.exit_px(action),
            entry_notional=held.notional,
            gross_pnl=held.pnl,
            fees=held.fees,
            slippage=held.slippage,
            exit_reason=action.reason,
        )


def trade_numbers(trips: Sequence[RoundTrip]) -> dict[str, Number]:
    """What closed trades amount to, by name, in a fixed order. Sums are exact (fsum)."""
    net = [trip.net_pnl for trip in trips]
    wins = [trip for trip in trips if trip.net_pnl > 0.0]
    losses = [trip for trip in trips if trip.net_pnl <= 0.0]
    gain = math.fsum(value for value in net if value > 0.0)
    loss = -math.fsum(value for value in net if value <= 0.0)
    return {
        "n_trades": defined(len(trips), "count"),
        "win_rate": _mean(_ones(len(wins), len(trips)), "frac", "no closed trade"),
        "net_pnl": defined(math.fsum(net), "usd"),
        "gross_pnl": defined(math.fsum(trip.gross_pnl for trip in trips), "usd"),
        "fees": defined(math.fsum(trip.fees for trip in trips), "usd"),
        "slippage": defined(math.fsum(trip.slippage for trip in trips), "usd"),
        "expectancy": _mean(net, "usd", "no closed trade"),
        "expectancy_bps": _mean([trip.net_bps for trip in trips], "bps", "no closed trade"),
        "average_win_bps": _mean([trip.net_bps for trip in wins], "bps", "no winning trade"),
        "average_loss_bps": _mean([trip.net_bps for trip in losses], "bps", "no losing trade"),
        "profit_factor": (
            defined(gain / loss, "ratio") if loss > 0.0 else undefined("no loss", "ratio")
        ),
        "average_holding": _mean(
            [float(trip.closed_ms - trip.opened_ms) for trip in trips], "ms", "no closed trade"
        ),
    }


def breakdown(
    trips: Iterable[RoundTrip], key: Callable[[RoundTrip], str]
) -> dict[str, dict[str, Number]]:
    """`trade_numbers` of each group of `key`, groups in alphabetical order."""
    groups: dict[str, list[RoundTrip]] = {}
    for trip in trips:
        groups.setdefault(key(trip), []).append(trip)
    return {name: trade_numbers(groups[name]) for name in sorted(groups)}


def turnover(traded_notional: float, mean_equity: float) -> Number:
    """Notional of all actions, both sides, over the mean equity."""
    if mean_equity <= 0.0:
        return undefined("mean equity at or below zero", "ratio")
    return defined(traded_notional / mean_equity, "ratio")


def _ones(n_ones: int, n: int) -> list[float]:
    return [1.0] * n_ones + [0.0] * (n - n_ones)


def _mean(values: Sequence[float], unit: str, reason: str) -> Number:
    if not values:
        return undefined(reason, unit)
    return defined(math.fsum(values) / len(values), unit)
