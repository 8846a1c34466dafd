"""A made-up run: a random walk traded by three presets, with trainings of every outcome."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mei.model.orders import Fill
from mei.report.rows import TRADES_HEADER, equity_header, equity_row, trade_row

START_MS = 1_672_531_200_000  # 2023-01-01
BAR_MS = 60_000
PRESETS = ("fast", "medium", "slow")


@dataclass(frozen=True)
class MadeUpRun:
    """Files and facts of a run."""

    equity_csv: Path
    trades_csv: Path
    trainings: list[dict[str, Any]]
    settings: dict[str, Any]
    run: dict[str, Any]


def write_run(folder: Path, n_bars: int = 3_000, hold_bars: int = 25) -> MadeUpRun:
    """Write equity.csv and trades.csv of `n_bars` 1m bars; a trade of `hold_bars` every 60 bars."""
    rng = np.random.default_rng(7)
    closes = (16_500.0 * np.exp(np.cumsum(rng.normal(0.0, 6e-4, n_bars)))).tolist()
    cash, entry = 10_000.0, None
    equity_lines, trade_lines = [equity_header(["BTC/USDT"])], [TRADES_HEADER]
    for bar, close in enumerate(closes):
        close_ms = START_MS + (bar + 1) * BAR_MS
        if bar % 60 == 30:
            entry = _fill("open", close, close_ms, bar // 60, None)
            cash -= entry.fee
            trade_lines.append(trade_row(entry))
        elif entry is not None and bar % 60 == 30 + hold_bars:
            exit_fill = _fill("close", close, close_ms, bar // 60, entry)
            cash += exit_fill.pnl - exit_fill.fee
            trade_lines.append(trade_row(exit_fill))
            entry = None
        unrealised = 0.0 if entry is None else _gain(entry, close)
        equity_lines.append(equity_row(close_ms, cash + unrealised, cash, unrealised, [close], []))
    (folder / "equity.csv").write_text("\n".join(equity_lines) + "\n")
    (folder / "trades.csv").write_text("\n".join(trade_lines) + "\n")
    return MadeUpRun(
        folder / "equity.csv",
        folder / "trades.csv",
        _trainings(n_bars),
        {
            "symbols": ["BTC/USDT"],
            "timeframe": "1m",
            "initial_cash": 10_000.0,
            "policy": "thompson",
        },
        {"run_id": "0123456789ab", "status": "finished", "seed": 42, "version": "0.1.0"},
    )


def _gain(entry: Fill, price: float) -> float:
    direction = 1.0 if entry.side == "buy" else -1.0
    return direction * (price - entry.price) * entry.qty


def _fill(action: Any, close: float, close_ms: int, number: int, entry: Fill | None) -> Fill:
    opens_long = number % 2 == 0
    buys = opens_long == (action == "open")
    price = close * (1.0002 if buys else 0.9998)
    qty = 1_000.0 / close if entry is None else entry.qty
    return Fill(
        timestamp=close_ms,
        instrument="BTC/USDT",
        strategy="momentum_breakout",
        action=action,
        side="buy" if buys else "sell",
        qty=qty,
        reference_px=close,
        price=price,
        notional=qty * price,
        fee=qty * price * 1e-4,
        slippage=abs(price - close) * qty,
        pnl=0.0 if entry is None else _gain(entry, price),
        config_id=PRESETS[number % 3],
        model_version=number // 10 + 1,
        reason="breakout" if action == "open" else ("stop", "take_profit", "time")[number % 3],
    )


def _trainings(n_bars: int) -> list[dict[str, Any]]:
    trainings = []
    for number in range(n_bars // 360):
        as_of_ms = START_MS + (number + 1) * 360 * BAR_MS
        status = ("completed", "completed", "skipped", "completed", "failed")[number % 5]
        decision = None if status != "completed" else ("promoted", "rejected")[number % 2]
        delta = 0.02 * math.cos(number) + 0.02
        trainings.append(
            {
                "as_of_ms": as_of_ms,
                "symbol": "BTC/USDT",
                "status": status,
                "decision": decision,
                "reason": {
                    "promoted": "better_than_champion",
                    "rejected": "not_better_than_champion",
                }.get(
                    decision or "", "no_new_bars" if status == "skipped" else "fit <failed> & why"
                ),
                "model_version": number + 1 if decision else None,
                "parent_version": None,
                "champion_version": 1,
                "serves_from_ms": as_of_ms if decision == "promoted" else None,
                "trained_through_ms": as_of_ms if decision else None,
                "n_fit": 1_600 if decision else 0,
                "n_validation": 400 if decision else 0,
                "metrics": {"gate": _verdict(delta)} if decision else {},
            }
        )
    return trainings


def _verdict(delta: float) -> dict[str, float]:
    """As the gate stores it beside its decision."""
    scores = {"candidate_score": 12.0 + delta, "champion_score": 12.0}
    return {**scores, "delta": delta, "delta_standard_error": 0.008}


@pytest.fixture
def made_up_run(tmp_path: Path) -> MadeUpRun:
    """A small run on disk."""
    return write_run(tmp_path)
