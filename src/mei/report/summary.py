"""summary.json: everything the report shows, from the files of a run."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from mei.metrics.equity import EquityScan, EquityScanner
from mei.metrics.number import Number, defined
from mei.metrics.performance import (
    PERIODS_PER_YEAR,
    daily_equity,
    daily_returns,
    monthly_returns,
    performance,
    worst_drawdowns,
)
from mei.metrics.trades import RoundTrip, TradeAction, breakdown, trade_numbers, turnover
from mei.report.reading import equity_blocks, round_trips, trade_actions

LAST_TRADES = 200
_WORST_DRAWDOWNS = 10
#: What the timeline keeps of a training, and of the gate's verdict in its metrics.
_TRAINING_FIELDS = (
    "as_of_ms",
    "symbol",
    "status",
    "decision",
    "reason",
    "model_version",
    "parent_version",
    "champion_version",
    "serves_from_ms",
    "trained_through_ms",
    "n_fit",
    "n_validation",
)
SCORE_FIELDS = ("candidate_score", "champion_score", "delta", "delta_standard_error")

RegimeOf = Callable[[str, str, int], str]


def build_summary(
    equity_csv: Path,
    trades_csv: Path,
    trainings: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
    *,
    run: Mapping[str, Any],
    regime_of: RegimeOf | None = None,
    notes: Sequence[str] = (),
    periods_per_year: int = PERIODS_PER_YEAR,
) -> dict[str, Any]:
    """Summarise a run. Every metric is `{value, unit[, periods_per_year][, reason]}`.

    trainings: TrainResults as dicts, in time order. settings: must hold `initial_cash`; given again.
    run: what names the run (`run_id`, `status`, `seed`, versions), given again; no wall-clock times,
    so that the summary of the same run is the same bytes.
    regime_of(strategy, instrument, opened_ms): the regime an entry was decided in; None leaves the
    breakdown by regime out. notes: what the reader must know (gaps, failures), one line each.
    Raises OutputError when a file is absent or broken.
    """
    scan, market_return = _scan(equity_csv, float(settings["initial_cash"]))
    trips = list(round_trips(trades_csv, regime_of))
    summary: dict[str, Any] = {
        "format": "mei.summary",
        "version": 1,
        "run": dict(run),
        "settings": dict(settings),
        "notes": list(notes),
        "period": _period(scan),
        "performance": _plain(performance(scan, periods_per_year)),
        "market": {"buy_and_hold_return": market_return.as_json()},
        "trades": _plain(trade_numbers(trips)),
        "costs": _costs(trades_csv, scan),
        "drawdowns": [asdict(drawdown) for drawdown in worst_drawdowns(scan, _WORST_DRAWDOWNS)],
        "daily": _daily(scan),
        "monthly": [{"month": name, "return": change} for name, change in monthly_returns(scan)],
        "breakdown": _breakdowns(trips, regime_of is not None),
        "trainings": _trainings(trainings),
        "last_trades": [_trade(trip) for trip in trips[-LAST_TRADES:]],
    }
    return summary


def _scan(equity_csv: Path, initial_equity: float) -> tuple[EquityScan, Number]:
    scanner = EquityScanner(initial_equity)
    first_px = last_px = math.nan
    for block in equity_blocks(equity_csv):
        scanner.add(block.close_ms, block.equity, block.in_market)
        known = block.close_px[~np.isnan(block.close_px)]
        if len(known):
            first_px = float(known[0]) if math.isnan(first_px) else first_px
            last_px = float(known[-1])
    if math.isnan(first_px):
        return scanner.finish(), Number(None, "frac", "no close price")
    return scanner.finish(), defined(last_px / first_px - 1.0, "frac")


def _period(scan: EquityScan) -> dict[str, Any]:
    return {"n_rows": scan.n_rows, "first_ms": scan.first_ms, "last_ms": scan.last_ms}


def _daily(scan: EquityScan) -> list[dict[str, Any]]:
    return [
        {"date": _date(day), "equity": equity, "return": change}
        for (day, equity), change in zip(daily_equity(scan), daily_returns(scan), strict=True)
    ]


def _date(day: int) -> str:
    return datetime.fromtimestamp(day * 86_400, UTC).strftime("%Y-%m-%d")


@dataclass(slots=True)
class _CostSums:
    """Sums over all actions, those of positions still open included."""

    n_actions: int = 0
    n_opens: int = 0
    n_closes: int = 0
    notional: float = 0.0
    fees: float = 0.0
    slippage: float = 0.0

    def add(self, action: TradeAction) -> None:
        self.n_actions += 1
        self.n_opens += action.action == "open"
        self.n_closes += action.action == "close"
        self.notional += action.notional
        self.fees += action.fee
        self.slippage += action.slippage


def _costs(trades_csv: Path, scan: EquityScan) -> dict[str, Any]:
    sums = _CostSums()
    for action in trade_actions(trades_csv):
        sums.add(action)
    mean_equity = scan.equity_sum / scan.n_rows if scan.n_rows else scan.first_equity
    return _plain(
        {
            "fees": defined(sums.fees, "usd"),
            "slippage": defined(sums.slippage, "usd"),
            "traded_notional": defined(sums.notional, "usd"),
            "turnover": turnover(sums.notional, mean_equity),
            "n_actions": defined(sums.n_actions, "count"),
            "n_open_positions": defined(sums.n_opens - sums.n_closes, "count"),
        }
    )


def _breakdowns(trips: Sequence[RoundTrip], has_regimes: bool) -> dict[str, Any]:
    keys: dict[str, Callable[[RoundTrip], str]] = {
        "strategy": lambda trip: trip.strategy,
        "instrument": lambda trip: trip.instrument,
        "preset": lambda trip: trip.preset,
        "direction": lambda trip: "long" if trip.direction > 0 else "short",
        "exit_reason": lambda trip: trip.exit_reason,
        "model_version": lambda trip: f"{trip.instrument} v{trip.model_version or '-'}",
    }
    if has_regimes:
        keys["regime"] = lambda trip: trip.regime
    return {
        name: {group: _plain(numbers) for group, numbers in breakdown(trips, key).items()}
        for name, key in keys.items()
    }


def _trainings(trainings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "n": len(trainings),
        "by_status": _counts(trainings, "status"),
        "by_decision": _counts(trainings, "decision"),
        "by_reason": _counts(trainings, "reason"),
        "timeline": [_training(training) for training in trainings],
    }


def _counts(trainings: Sequence[Mapping[str, Any]], key: str) -> dict[str, int]:
    """How often each value occurs; values that differ in a number only are one (`N of N points`)."""
    values = (training[key] for training in trainings if training.get(key) is not None)
    found = Counter(re.sub(r"\d+", "N", value) for value in values)
    return {name: found[name] for name in sorted(found)}


def _training(training: Mapping[str, Any]) -> dict[str, Any]:
    verdict = (training.get("metrics") or {}).get("gate") or {}
    kept = {name: training.get(name) for name in _TRAINING_FIELDS}
    return kept | {name: verdict.get(name) for name in SCORE_FIELDS}


def _trade(trip: RoundTrip) -> dict[str, Any]:
    return asdict(trip) | {"net_pnl": trip.net_pnl, "net_bps": trip.net_bps}


def _plain(numbers: Mapping[str, Number]) -> dict[str, Any]:
    return {name: number.as_json() for name, number in numbers.items()}
