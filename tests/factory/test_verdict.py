"""Promote, wait or roll back: what each failed gate means."""

from __future__ import annotations

from typing import Any

import pytest

from mei.workflows.deployments.promotion_gates import PaperRecord, Thresholds, gates
from mei.workflows.factory.verdict import PROMOTE, ROLL_BACK, WAIT, Verdict, verdict_of

CONFIG = "ab" * 32


def judged(slippage_bps: float = 5.0, live_layer: Any = None, **more: Any) -> Verdict:
    """With the real gates: 20 closes or 24 h, profit factor 1.2, drawdown 10 %, slippage 20 bps, no kill."""
    record: dict[str, Any] = {
        "hours": 30.0,
        "n_closes": 25,
        "n_realised": 25,
        "net_usd": 10.0,
        "profit_factor": 1.5,
        "drawdown_pct": 2.0,
        "equity_drawdown_pct": None,
        "n_kills": 0,
        "n_without_fee": 0,
        "trader_config_id": CONFIG,
    }
    found = PaperRecord(**record | more)
    limits = Thresholds()
    report = {
        "gates": [
            {"name": gate.name, "passed": gate.passed, "said": gate.said}
            for gate in gates(found, CONFIG, slippage_bps, live_layer or {}, limits)
        ],
        "metrics": found.plain(),
        "thresholds": {"min_trades": limits.min_trades},
    }
    return verdict_of(report, max_hours=168.0)


@pytest.mark.parametrize(
    ("more", "what", "says"),
    [
        ({}, PROMOTE, "all gates"),
        ({"n_closes": 0, "hours": 24.0, "profit_factor": 1.2}, PROMOTE, "all gates"),
        ({"n_closes": 20, "hours": 0.5, "drawdown_pct": 10.0}, PROMOTE, "all gates"),
        ({"n_closes": 19, "hours": 23.9}, WAIT, "19 closed trades"),
        ({"n_closes": 19, "hours": 30.0, "profit_factor": 1.19}, WAIT, "profit factor 1.19"),
        ({"n_closes": 0, "hours": 167.9, "profit_factor": 0.0}, WAIT, "profit factor 0.0"),
        ({"n_closes": 0, "hours": 168.0, "profit_factor": 0.0}, ROLL_BACK, "168.00 hours are over"),
        ({"n_closes": 20, "hours": 1.0, "profit_factor": 1.19}, ROLL_BACK, "profit factor 1.19"),
        ({"n_closes": 1, "hours": 1.0, "drawdown_pct": 10.01}, ROLL_BACK, "drawdown 10.01"),
        ({"n_closes": 0, "hours": 1.0, "n_kills": 1}, ROLL_BACK, "1 kill events"),
        ({"slippage_bps": 20.1}, ROLL_BACK, "slippage 20.1 bps"),
        ({"live_layer": {"trade.leverage": 9.0}}, WAIT, "trade.leverage 9.0"),
        ({"trader_config_id": None}, PROMOTE, "all gates"),
        ({"trader_config_id": "cd" * 32, "drawdown_pct": 90.0}, WAIT, "the trader runs cdcd"),
    ],
)
def test_what_gates_mean(more: dict[str, Any], what: str, says: str) -> None:
    found = judged(**more)
    assert found.what == what
    assert says in "; ".join(found.why)
