"""What a replay amounts to (specification part 2, F.1 to F.3), in sums of log order.

Words: a *close* is a record that closes or reduces a position. Wins and losses are counted before fees. Ratios are
fractions; `profit_factor` is inf without a loss.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mei.metrics.reason_codes import REASON_CODES, exit_category, reason_code
from mei.model.bars import DAY_MS, FloatArray, IntArray
from mei.model.replay import (
    ACTIONS,
    CLOSE_LONG,
    CONFIDENCES,
    FUNDING,
    REDUCE_SHORT,
    ReplayResult,
)

_TINY = 1e-12
_DAYS_A_YEAR = 365.0
SIDES = ("LONG", "SHORT")
#: Counters of the gates, as the report names them.
GATES = (
    "blocked_by_ranging",
    "blocked_by_anomaly",
    "blocked_by_extension",
    "blocked_by_adx_low",
    "blocked_by_adx_not_rising",
    "blocked_by_volume",
    "blocked_by_btc",
    "blocked_by_confidence",
    "blocked_by_max_positions",
    "blocked_by_pesc",
    "blocked_by_ssf",
    "blocked_by_reef",
    "blocked_by_margin",
)


@dataclass(slots=True)
class Group:
    """Closes that have something in common. pnl_usd: before fees."""

    trades: int = 0
    wins: int = 0
    pnl_usd: float = 0.0

    def add(self, pnl_usd: float) -> None:
        """Count one close."""
        self.trades += 1
        self.wins += pnl_usd > 0.0
        self.pnl_usd += pnl_usd

    @property
    def win_rate(self) -> float:
        """Wins per close, 0 without one."""
        return _ratio(self.wins, self.trades)

    @property
    def avg_pnl_usd(self) -> float:
        """Profit per close, 0 without one."""
        return _ratio(self.pnl_usd, self.trades)


@dataclass(frozen=True, slots=True)
class ReplayNumbers:
    """The numbers of one run. Money in USD; `gates` are the counters of F.4 in the report's names."""

    initial_balance_usd: float
    final_balance_usd: float
    total_trades: int
    total_wins: int
    total_losses: int
    profit_factor: float
    avg_trade_pnl_usd: float
    avg_win_usd: float
    avg_loss_usd: float
    total_fees_usd: float
    total_signals: int
    sharpe_ratio: float
    max_drawdown_usd: float
    max_drawdown_frac: float
    gates: Mapping[str, int]
    by_confidence: Mapping[str, Group] = field(default_factory=dict)
    by_exit_reason: Mapping[str, Group] = field(default_factory=dict)
    by_reason_code: Mapping[str, Group] = field(default_factory=dict)
    by_symbol: Mapping[str, Group] = field(default_factory=dict)
    by_side: Mapping[str, Group] = field(default_factory=dict)

    @property
    def total_pnl_usd(self) -> float:
        """Final less initial balance: net of fees and funding."""
        return self.final_balance_usd - self.initial_balance_usd

    @property
    def win_rate(self) -> float:
        """Wins per close, 0 without one."""
        return _ratio(self.total_wins, self.total_trades)

    @property
    def signal_frac(self) -> float:
        """Evaluations that gave a signal, 0 without one."""
        return _ratio(self.gates["signals_generated"], self.gates["total_checks"])


@dataclass(slots=True)
class SymbolNumbers:
    """What one symbol contributed. Money in USD; a drawdown of cumulative profit net of fees, from a peak of 0 on."""

    trades: int = 0
    wins: int = 0
    losses: int = 0
    realised_pnl_usd: float = 0.0
    funding_pnl_usd: float = 0.0
    fees_usd: float = 0.0
    max_drawdown_usd: float = 0.0
    estimated_slippage_usd: float = 0.0
    fills: int = 0
    funding_events: int = 0

    @property
    def win_rate(self) -> float:
        """Wins per close, 0 without one."""
        return _ratio(self.wins, self.trades)

    @property
    def net_pnl_usd(self) -> float:
        """Realised profit and funding less fees."""
        return self.realised_pnl_usd + self.funding_pnl_usd - self.fees_usd


def is_close(action: int) -> bool:
    """Whether an action closes or reduces a position."""
    return CLOSE_LONG <= action <= REDUCE_SHORT


def replay_numbers(result: ReplayResult, reasons: Sequence[str]) -> ReplayNumbers:
    """The numbers of a run; `reasons` words the reason of each trade record.

    Of a run that goes on from another, falls are measured from the highest point of both; all else is of it alone.
    """
    trades = result.trades
    everything, wins, losses = Group(), Group(), Group()
    groups: tuple[dict[str, Group], ...] = ({}, {}, {}, {}, {})
    columns = (trades[name].tolist() for name in ("action", "symbol", "confidence", "pnl_usd"))
    for action, symbol, confidence, pnl, reason in zip(*columns, reasons, strict=True):
        if not is_close(action):
            continue
        everything.add(pnl)
        if pnl > 0.0:
            wins.add(pnl)
        elif pnl < 0.0:
            losses.add(pnl)
        keys = (
            CONFIDENCES[confidence],
            exit_category(reason),
            reason_code(ACTIONS[action], reason),
            result.symbols[symbol],
            SIDES[action % 2],
        )
        for group, key in zip(groups, keys, strict=True):
            if key not in group:
                group[key] = Group()
            group[key].add(pnl)
    return assembled(
        RunSums(
            initial_balance_usd=float(result.initial_balance_usd),
            final_balance_usd=float(result.final_balance_usd),
            closes=everything,
            wins=wins,
            losses=losses,
            fees_usd=_sum_of_fees(trades["fee_usd"].tolist()),
            n_signals=int(result.n_signals),
            sharpe_ratio=sharpe_ratio(result.equity_ms, result.equity_usd),
            drawdown=max_drawdown(result.equity_usd, result.peak_usd),
            gates=result.gates,
            by_confidence=groups[0],
            by_exit_reason=groups[1],
            by_reason_code=groups[2],
            by_symbol=groups[3],
            by_side=groups[4],
        )
    )


@dataclass(frozen=True, slots=True)
class RunSums:
    """What is added up over a run, wherever that was done. Money in USD; drawdown: money, and fraction of its peak."""

    initial_balance_usd: float
    final_balance_usd: float
    closes: Group
    wins: Group
    losses: Group
    fees_usd: float
    n_signals: int
    sharpe_ratio: float
    drawdown: tuple[float, float]
    gates: Mapping[str, int]
    by_confidence: Mapping[str, Group]
    by_exit_reason: Mapping[str, Group]
    by_reason_code: Mapping[str, Group]
    by_symbol: Mapping[str, Group]
    by_side: Mapping[str, Group]


def assembled(sums: RunSums) -> ReplayNumbers:
    """The numbers of a run from its sums; groups in the order of the report."""
    return ReplayNumbers(
        initial_balance_usd=sums.initial_balance_usd,
        final_balance_usd=sums.final_balance_usd,
        total_trades=sums.closes.trades,
        total_wins=sums.wins.trades,
        total_losses=sums.losses.trades,
        profit_factor=_profit_factor(sums.wins.pnl_usd, sums.losses.pnl_usd),
        avg_trade_pnl_usd=sums.closes.avg_pnl_usd,
        avg_win_usd=sums.wins.avg_pnl_usd,
        avg_loss_usd=sums.losses.avg_pnl_usd,
        total_fees_usd=sums.fees_usd,
        total_signals=sums.n_signals,
        sharpe_ratio=sums.sharpe_ratio,
        max_drawdown_usd=sums.drawdown[0],
        max_drawdown_frac=sums.drawdown[1],
        gates=_gates(sums.gates),
        by_confidence=_in_order(sums.by_confidence, CONFIDENCES),
        by_exit_reason=_in_order(sums.by_exit_reason, sorted(sums.by_exit_reason, key=str.encode)),
        by_reason_code=_in_order(sums.by_reason_code, REASON_CODES),
        by_symbol=_in_order(sums.by_symbol, sorted(sums.by_symbol, key=str.encode)),
        by_side=_in_order(sums.by_side, SIDES),
    )


def symbol_numbers(
    result: ReplayResult, entry_bps: Mapping[str, float], exit_bps: Mapping[str, float]
) -> dict[str, SymbolNumbers]:
    """The numbers of every symbol that has a record, ascending by name.

    entry_bps, exit_bps: slippage of each symbol in basis points, as it is estimated.
    """
    numbers: dict[str, SymbolNumbers] = {}
    sums: dict[str, float] = {}
    peaks: dict[str, float] = {}
    names = ("symbol", "action", "notional_usd", "pnl_usd", "fee_usd")
    columns = (result.trades[name].tolist() for name in names)
    for number, action, notional, pnl, fee in zip(*columns, strict=True):
        symbol = result.symbols[number]
        if symbol not in numbers:
            numbers[symbol], sums[symbol], peaks[symbol] = SymbolNumbers(), 0.0, 0.0
        one = numbers[symbol]
        one.fills += 1
        one.fees_usd += fee
        if action == FUNDING:
            one.funding_events += 1
            one.funding_pnl_usd += pnl
        else:
            bps = exit_bps[symbol] if is_close(action) else entry_bps[symbol]
            one.estimated_slippage_usd += notional * (bps / 10000.0)
        if is_close(action):
            one.trades += 1
            one.wins += pnl > 0.0
            one.losses += pnl < 0.0
            one.realised_pnl_usd += pnl
        sums[symbol] += pnl - fee
        peaks[symbol] = max(peaks[symbol], sums[symbol])
        one.max_drawdown_usd = max(one.max_drawdown_usd, peaks[symbol] - sums[symbol])
    return {symbol: numbers[symbol] for symbol in sorted(numbers, key=str.encode)}


def max_drawdown(equity_usd: FloatArray, peak_usd: float | None = None) -> tuple[float, float]:
    """The largest fall from a peak in USD, and the largest as a fraction of its peak: two maxima on their own.

    peak_usd: the highest point before the curve, None = none.
    """
    if len(equity_usd) == 0:
        return 0.0, 0.0
    peaks = np.fmax.accumulate(equity_usd)
    with np.errstate(invalid="ignore", over="ignore"):
        if peak_usd is not None:
            peaks = np.fmax(peaks, peak_usd)
        falls = peaks - equity_usd
        fractions = np.divide(falls, peaks, out=np.zeros(len(falls)), where=peaks > _TINY)
    return float(np.fmax.reduce(falls, initial=0.0)), float(np.fmax.reduce(fractions, initial=0.0))


def daily_returns(equity_ms: IntArray, equity_usd: FloatArray) -> list[float]:
    """Simple return from each UTC day with a point to the next, by their last points; empty when there are too few."""
    days = np.asarray(equity_ms) // DAY_MS
    if len(days) < 2:
        return []
    last_of_day = np.flatnonzero(np.append(days[1:] != days[:-1], True))
    values = np.asarray(equity_usd)[last_of_day].tolist()
    return [
        (now - before) / before if abs(before) > _TINY else 0.0
        for before, now in itertools.pairwise(values)
    ]


def sharpe_ratio(equity_ms: IntArray, equity_usd: FloatArray) -> float:
    """Mean over standard deviation of the returns of UTC days, annualised with 365; 0 when there are too few."""
    returns = daily_returns(equity_ms, equity_usd)
    if not returns:
        return 0.0
    mean = _sum(returns) / len(returns)
    # A product, not a power: `pow` of the C library may round a square the other way.
    variance = _sum((value - mean) * (value - mean) for value in returns) / len(returns)
    deviation = math.sqrt(variance)
    return 0.0 if deviation < _TINY else (mean / deviation) * math.sqrt(_DAYS_A_YEAR)


def _sum(values: Iterable[float]) -> float:
    """Plain addition in order (`sum` compensates from Python 3.12 on)."""
    total = 0.0
    for value in values:
        total += value
    return total


def _sum_of_fees(fees: list[float]) -> float:
    """As a sum that starts at -0.0, which is what it is without a record."""
    total = -0.0
    for fee in fees:
        total += fee
    return total


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _profit_factor(gross_profit_usd: float, gross_loss_usd: float) -> float:
    if abs(gross_loss_usd) > _TINY:
        return gross_profit_usd / abs(gross_loss_usd)
    return math.inf if gross_profit_usd > 0.0 else 0.0


def _gates(counters: Mapping[str, int]) -> dict[str, int]:
    n_signals = counters.get("buy_count", 0) + counters.get("sell_count", 0)
    counted = {"total_checks": int(counters.get("total_checks", 0)), "signals_generated": n_signals}
    return counted | {name: int(counters.get(name, 0)) for name in GATES}


def _in_order(groups: Mapping[str, Group], order: Iterable[str]) -> dict[str, Group]:
    return {key: groups[key] for key in order if key in groups}
