"""Score, rejections and choice, by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mei.workflows.factory.run_folder import RunFolder
from mei.workflows.factory.scoring import (
    losses,
    ranking,
    reject_reasons,
    score_v1,
    selected_by,
    survives,
    trade_penalty,
)
from mei.workflows.factory.selection import tell_selection


def forward(median: float = 0.002, drawdown: float = 0.05) -> dict[str, float]:
    return {"median_oos_daily_return": median, "max_oos_drawdown_pct": drawdown}


def stress(fragility: float = 0.1, *, reject: bool = False) -> dict[str, Any]:
    return {
        "slippage_fragility": fragility,
        "reject": reject,
        "baseline_bps": 10.0,
        "reject_bps": 20.0,
    }


@pytest.mark.parametrize(
    ("trades", "penalty"), [(0, 0.05), (15, 0.025), (24, 0.01), (30, 0.0), (31, 0.0), (900, 0.0)]
)
def test_penalty_for_few_trades(trades: int, penalty: float) -> None:
    assert trade_penalty(trades) == pytest.approx(penalty, abs=1e-15)


def test_score_by_hand() -> None:
    found = score_v1(forward(), stress(), 15)
    assert found is not None
    # 0.002 - 2 x 0.05 - 0.5 x 0.1 - 15 / 30 x 0.05
    assert found.score_v1 == pytest.approx(0.002 - 0.1 - 0.05 - 0.025, abs=1e-15)
    assert found.trade_penalty == pytest.approx(0.025)
    enough = score_v1(forward(0.01, 0.002), stress(-0.02), 30)
    assert enough is not None
    # 0.01 - 0.004 + 0.01: a strategy that gains by slippage is no fragile one
    assert enough.score_v1 == pytest.approx(0.016, abs=1e-15)


def test_a_score_takes_both_checks() -> None:
    assert score_v1(None, stress(), 50) is None
    assert score_v1(forward(), None, 50) is None


@pytest.mark.parametrize(
    ("dsr", "is_said"), [(None, False), (0.0, False), (0.9499, False), (0.95, True), (1.0, True)]
)
def test_surviving_the_trials(dsr: float | None, is_said: bool) -> None:
    assert survives(dsr) is is_said


def test_reasons_to_reject() -> None:
    hung = {"reject": True, "reject_reasons": ["top1_pnl_pct 0.9 > 0.65", "symbols_traded 2 < 5"]}
    fine = {"reject": False, "reject_reasons": []}
    assert reject_reasons(None, None, None, require_dsr=False) == []
    assert reject_reasons(fine, stress(), 0.1, require_dsr=False) == []
    assert reject_reasons(hung, stress(reject=True), 0.1, require_dsr=True) == [
        "concentration: top1_pnl_pct 0.9 > 0.65",
        "concentration: symbols_traded 2 < 5",
        "slippage: the profit at 10 bps is a loss at 20",
        "trials: the deflated Sharpe ratio must be 0.95, is 0.100",
    ]
    assert reject_reasons(fine, None, None, require_dsr=True) == [
        "trials: the deflated Sharpe ratio must be 0.95, cannot be told"
    ]
    assert reject_reasons(fine, None, 0.95, require_dsr=True) == []


def test_losses() -> None:
    assert losses(0.01, forward(0.0001)) == []
    assert losses(0.01, None) == []
    assert losses(0.0, forward(0.0)) == [
        "its replay makes no profit (PnL $0.00)",
        "it makes no profit out of sample (+0.0000% a day)",
    ]
    lost = losses(-1.5, forward(-0.0025))
    assert lost[1] == "it makes no profit out of sample (-0.2500% a day)"
    assert reject_reasons(None, None, 1.0, require_dsr=False, required_profits=lost[:1]) == [
        "profit: its replay makes no profit (PnL $-1.50)"
    ]


def item(name: str, score: float | None, pnl: float, *, rejected: bool = False) -> dict[str, Any]:
    return {"name": name, "score_v1": score, "total_pnl": pnl, "rejected": rejected}


def names(items: list[dict[str, Any]]) -> str:
    return "".join(one["name"] for one in ranking(items))


def test_the_highest_score_is_chosen_whatever_the_profit() -> None:
    items = [
        item("a", -0.5, 900.0),
        item("b", None, 9999.0),
        item("c", -0.1, 1.0),
        item("d", 0.7, 5000.0, rejected=True),
    ]
    assert names(items) == "cab"
    assert selected_by(items) == "score_v1"


def test_without_scores_the_highest_profit_is_chosen() -> None:
    items = [
        item("a", None, 10.0),
        item("b", None, 30.0),
        item("c", None, 30.0),
        item("d", 0.9, 99.0, rejected=True),
    ]
    assert names(items) == "bca"
    assert selected_by(items) == "total_pnl"


def test_equal_ones_stay_in_the_order_of_the_report() -> None:
    assert names([item("a", 0.0, 1.0), item("b", 0.0, 2.0), item("c", 0.1, 0.0)]) == "cab"
    assert ranking([item("a", 1.0, 1.0, rejected=True)]) == []


@pytest.mark.parametrize(("n_trades", "is_told"), [(29, True), (30, False)])
def test_a_choice_of_few_trades_is_told(n_trades: int, is_told: bool) -> None:
    chosen = {
        "config_id": "0123456789abcdef",
        "places": ["dd #1"],
        "score_v1": None,
        "total_pnl": 5.0,
        "total_trades": n_trades,
        "losses": [],
        "survives_trials": True,
    }
    selection = {"selected": chosen, "selected_by": "total_pnl", "warnings": []}
    told: list[str] = []
    run = RunFolder(Path("r"), "r", 0, {}, lambda: 0)
    assert tell_selection(run, selection, told.append) is chosen
    words = f"[factory] WARNING: 0123456789ab: {n_trades} trades are few, below 30"
    assert [line.startswith(words) for line in told[1:]] == [True] * is_told
