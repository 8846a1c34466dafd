"""What a candidate is worth, why one is rejected, and which one is chosen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mei.workflows.deploy.demands import ENOUGH_TRADES

_FEW_TRADES_PENALTY: Final = 0.05
_DRAWDOWN_WEIGHT: Final = 2.0
_FRAGILITY_WEIGHT: Final = 0.5
#: A deflated Sharpe ratio from here on survives the number of trials.
SURVIVES_FRAC: Final = 0.95


@dataclass(frozen=True, slots=True)
class Score:
    """score_v1 and what it is made of; fractions, a day, of the initial balance."""

    score_v1: float
    median_oos_daily_return: float
    max_oos_drawdown_frac: float
    slippage_fragility: float
    trade_penalty: float


def trade_penalty(n_trades: float) -> float:
    """For too few trades: 0.05 for none, 0 from 30 on, in proportion between."""
    return max(0.0, ENOUGH_TRADES - n_trades) / ENOUGH_TRADES * _FEW_TRADES_PENALTY


def score_v1(
    walk_forward: Mapping[str, Any] | None, stress: Mapping[str, Any] | None, n_trades: float
) -> Score | None:
    """Median return a day out of sample - 2 x deepest drawdown there - 0.5 x fragility - penalty for few trades.

    walk_forward, stress: the `aggregate` of both checks; None without either of them.
    """
    if walk_forward is None or stress is None:
        return None
    median = float(walk_forward["median_oos_daily_return"])
    drawdown = float(walk_forward["max_oos_drawdown_pct"])
    fragility = float(stress["slippage_fragility"])
    penalty = trade_penalty(n_trades)
    score = median - _DRAWDOWN_WEIGHT * drawdown - _FRAGILITY_WEIGHT * fragility - penalty
    return Score(score, median, drawdown, fragility, penalty)


def survives(dsr: float | None) -> bool:
    """Whether a deflated Sharpe ratio is one that luck alone would hardly have made."""
    return dsr is not None and dsr >= SURVIVES_FRAC


def losses(total_pnl: float, walk_forward: Mapping[str, Any] | None) -> list[str]:
    """In what a candidate made no profit, a sentence each. USD; walk_forward: its aggregate, None = not asked."""
    found = []
    if not total_pnl > 0.0:
        found.append(f"its replay makes no profit (PnL ${total_pnl:.2f})")
    if walk_forward is not None and not walk_forward["median_oos_daily_return"] > 0.0:
        daily_pct = walk_forward["median_oos_daily_return"] * 100.0
        found.append(f"it makes no profit out of sample ({daily_pct:+.4f}% a day)")
    return found


def reject_reasons(
    concentration: Mapping[str, Any] | None,
    stress: Mapping[str, Any] | None,
    dsr: float | None,
    *,
    require_dsr: bool,
    required_profits: Sequence[str] = (),
) -> list[str]:
    """Why a candidate may not be chosen; empty if it may. concentration: its summary, stress: its aggregate.

    required_profits: the losses of a candidate that must have none.
    """
    reasons = [f"profit: {one}" for one in required_profits]
    if concentration is not None and concentration["reject"]:
        reasons += [f"concentration: {one}" for one in concentration["reject_reasons"]]
    if stress is not None and stress["reject"]:
        reasons.append(
            f"slippage: the profit at {stress['baseline_bps']:g} bps is a loss at {stress['reject_bps']:g}"
        )
    if require_dsr and not survives(dsr):
        told = "cannot be told" if dsr is None else f"is {dsr:.3f}"
        reasons.append(f"trials: the deflated Sharpe ratio must be {SURVIVES_FRAC}, {told}")
    return reasons


def ranking(items: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Items of a report that are not rejected, the choice first.

    By score_v1 if any of them has one, those without last; else by total_pnl. Equal ones in the order of the report.
    """
    left = [item for item in items if not item["rejected"]]
    is_scored = any(item["score_v1"] is not None for item in left)

    def worth(item: Mapping[str, Any]) -> float:
        if not is_scored:
            return float(item["total_pnl"])
        score = item["score_v1"]
        return -math.inf if score is None else float(score)

    return sorted(left, key=lambda item: -worth(item))


def selected_by(items: Sequence[Mapping[str, Any]]) -> str:
    """By what `ranking` ranks them."""
    left = [item for item in items if not item["rejected"]]
    return "score_v1" if any(item["score_v1"] is not None for item in left) else "total_pnl"
