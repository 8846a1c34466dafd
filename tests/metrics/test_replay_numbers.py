"""The numbers of a replay on small hand-made logs."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mei.metrics.reason_codes import REASON_CODES, exit_category, reason_code
from mei.metrics.replay import max_drawdown, replay_numbers, sharpe_ratio, symbol_numbers
from tests.metrics.trade_log import DAY_MS, result_of

ROWS = [
    (1, "BBB", "OPEN_LONG", 10.0, 2.0, 0.0, 0.5, 1, 2),
    (2, "AAA", "OPEN_SHORT", 5.0, 4.0, 0.0, 0.25, 2, 0),
    (3, "BBB", "ADD_LONG", 11.0, 1.0, 0.0, 0.125, 1, 1),
    (4, "BBB", "FUNDING", 11.0, 3.0, -0.75, 0.0, 1, 2),
    (5, "BBB", "REDUCE_LONG", 12.0, 1.0, 2.0, 0.1, 1, 2),
    (6, "BBB", "CLOSE_LONG", 9.0, 2.0, -3.0, 0.2, 1, 2),
    (7, "AAA", "CLOSE_SHORT", 5.0, 4.0, 0.0, 0.3, 2, 0),
]
REASONS = [
    "High entry",
    "Low entry (sub-bar)",
    "Pyramid #1",
    "Funding rate=0.000100",
    "Take Profit (Partial)",
    "Stop Loss",
    "RSI Oversold (20.0, Thr: 30)",
]


def test_closes_are_counted_before_fees() -> None:
    numbers = replay_numbers(result_of(ROWS, final_balance_usd=996.5, n_signals=4), REASONS)
    assert (numbers.total_trades, numbers.total_wins, numbers.total_losses) == (3, 1, 1)
    assert numbers.win_rate == 1 / 3
    assert numbers.total_pnl_usd == -3.5
    assert numbers.profit_factor == 2.0 / 3.0
    assert numbers.avg_trade_pnl_usd == -1.0 / 3
    assert (numbers.avg_win_usd, numbers.avg_loss_usd) == (2.0, -3.0)
    assert numbers.total_fees_usd == 0.5 + 0.25 + 0.125 + 0.0 + 0.1 + 0.2 + 0.3
    assert numbers.total_signals == 4


def test_groups_stand_in_the_order_of_reports() -> None:
    numbers = replay_numbers(result_of(ROWS), REASONS)
    assert list(numbers.by_confidence) == ["low", "high"]
    assert numbers.by_confidence["high"].pnl_usd == -1.0
    assert numbers.by_confidence["high"].avg_pnl_usd == -0.5
    assert numbers.by_confidence["high"].win_rate == 0.5
    assert list(numbers.by_exit_reason) == ["RSI Overextension", "Stop Loss", "Take Profit"]
    assert list(numbers.by_reason_code) == ["exit_stop_loss", "exit_take_profit", "exit_filter"]
    assert list(numbers.by_symbol) == ["AAA", "BBB"]
    assert [(side, group.trades) for side, group in numbers.by_side.items()] == [
        ("LONG", 2),
        ("SHORT", 1),
    ]


def test_nothing_happened() -> None:
    numbers = replay_numbers(result_of([]), [])
    assert math.copysign(1.0, numbers.total_fees_usd) == -1.0
    assert (numbers.profit_factor, numbers.win_rate, numbers.sharpe_ratio) == (0.0, 0.0, 0.0)
    assert numbers.by_side == {}
    assert numbers.signal_frac == 0.0


def test_profit_without_a_loss_is_an_infinite_factor() -> None:
    rows = [ROWS[0], ROWS[4]]
    assert replay_numbers(result_of(rows), ["High entry", "Take Profit"]).profit_factor == math.inf


def test_gates_count_both_kinds_of_signals() -> None:
    gates = {"total_checks": 8, "buy_count": 1, "sell_count": 3, "blocked_by_btc": 5}
    numbers = replay_numbers(result_of([], gates=gates), [])
    assert numbers.gates["signals_generated"] == 4
    assert numbers.signal_frac == 0.5
    assert numbers.gates["blocked_by_btc"] == 5
    assert numbers.gates["blocked_by_margin"] == 0
    assert "buy_count" not in numbers.gates


def test_numbers_of_a_symbol() -> None:
    numbers = symbol_numbers(result_of(ROWS), {"AAA": 4.0, "BBB": 10.0}, {"AAA": 0.5, "BBB": 0.5})
    assert list(numbers) == ["AAA", "BBB"]
    one = numbers["BBB"]
    assert (one.trades, one.wins, one.losses, one.fills, one.funding_events) == (2, 1, 1, 5, 1)
    assert one.realised_pnl_usd == -1.0
    assert one.funding_pnl_usd == -0.75
    assert one.fees_usd == 0.5 + 0.125 + 0.0 + 0.1 + 0.2
    assert one.net_pnl_usd == -1.0 + -0.75 - one.fees_usd
    slipped = (20.0 + 11.0) * (10.0 / 10000.0) + (12.0 + 18.0) * (0.5 / 10000.0)
    assert one.estimated_slippage_usd == pytest.approx(slipped, rel=1e-15)
    # Cumulative: -0.5, -0.625, -1.375, 0.525, -2.675; the peak starts at 0.
    assert one.max_drawdown_usd == pytest.approx(0.525 + 2.675, rel=1e-15)


def test_drawdowns_are_two_maxima_on_their_own() -> None:
    curve = np.array([10000.0, 10500.0, 9800.0, 10200.0, 10600.0, 10100.0])
    assert max_drawdown(curve) == (700.0, 700.0 / 10500.0)
    assert max_drawdown(np.array([100.0, 50.0, 1000.0, 900.0])) == (100.0, 0.5)
    assert max_drawdown(np.array([-5.0, -8.0])) == (3.0, 0.0)
    assert max_drawdown(np.array([0.0, -1.0])) == (1.0, 0.0)
    assert max_drawdown(np.array([])) == (0.0, 0.0)
    assert max_drawdown(np.array([math.inf, math.inf])) == (0.0, 0.0)


def test_drawdowns_of_a_part_fall_from_the_peak_before_it() -> None:
    curve = np.array([90.0, 80.0, 120.0, 100.0])
    assert max_drawdown(curve) == (20.0, 20.0 / 120.0)
    assert max_drawdown(curve, 110.0) == (30.0, 30.0 / 110.0)
    assert max_drawdown(curve, 50.0) == (20.0, 20.0 / 120.0)
    assert max_drawdown(np.array([]), 110.0) == (0.0, 0.0)
    result = result_of([], curve=[(1, 90.0), (2, 80.0)], peak_usd=100.0)
    assert replay_numbers(result, []).max_drawdown_usd == 20.0


def test_sharpe_takes_the_last_point_of_each_day() -> None:
    days = [0, DAY_MS - 1, DAY_MS, 2 * DAY_MS - 1, 2 * DAY_MS]
    values = [1.0, 100.0, 55.0, 150.0, 120.0]
    returns = [0.5, -0.2]
    mean = sum(returns) / 2
    deviation = math.sqrt(sum((r - mean) ** 2 for r in returns) / 2)
    found = sharpe_ratio(np.array(days), np.array(values))
    assert found == pytest.approx(mean / deviation * math.sqrt(365.0), rel=1e-13)


def test_sharpe_squares_by_multiplying() -> None:
    """As compiled sums of a sweep do; here a power of 2 ends in another last bit (glibc 2.36)."""
    found = sharpe_ratio(np.arange(4) * DAY_MS, np.array([119.39, 125.45, 100.19, 102.38]))
    assert found.hex() == "-0x1.d1c2d7c7ecbb5p+2"


@pytest.mark.parametrize(
    ("days", "values"),
    [([], []), ([5], [1.0]), ([5, 6], [1.0, 2.0]), ([0, DAY_MS, 2 * DAY_MS], [1.0, 2.0, 4.0])],
)
def test_sharpe_of_too_little_is_zero(days: list[int], values: list[float]) -> None:
    assert sharpe_ratio(np.array(days, dtype=np.int64), np.array(values)) == 0.0


@pytest.mark.parametrize(
    ("action", "reason", "code"),
    [
        ("FUNDING", "Stop Loss", "funding_payment"),
        ("OPEN_LONG", "Low entry", "entry_signal"),
        ("OPEN_SHORT", "High entry (sub-bar)", "entry_signal_sub_bar"),
        ("ADD_SHORT", "Pyramid #2", "entry_pyramid"),
        ("CLOSE_LONG", "Stop Loss Take Profit", "exit_stop_loss"),
        ("CLOSE_LONG", "Trailing Stop", "exit_trailing_stop"),
        ("REDUCE_LONG", "Take Profit (Partial)", "exit_take_profit"),
        ("CLOSE_SHORT", "Signal Flip", "exit_signal_flip"),
        ("CLOSE_SHORT", "Funding Headwind Exit", "exit_funding"),
        ("CLOSE_SHORT", "Force Close", "exit_force_close"),
        ("CLOSE_SHORT", "End of Backtest", "exit_end_of_backtest"),
        ("CLOSE_SHORT", "stop loss", "exit_filter"),
        ("CLOSE_SHORT", "stop", "exit_stop_loss"),
        ("CLOSE_SHORT", "reverse", "exit_signal_flip"),
        ("CLOSE_SHORT", "time", "exit_filter"),
        ("HOLD", "", "unknown"),
    ],
)
def test_reason_codes(action: str, reason: str, code: str) -> None:
    assert reason_code(action, reason) == code
    assert code in REASON_CODES


@pytest.mark.parametrize(
    ("reason", "category"),
    [
        ("Trend Breakdown (EMA Cross)", "Trend Breakdown"),
        ("Trend Exhaustion (ADX < 18)", "Trend Exhaustion"),
        ("EMA Macro Breakout", "EMA Macro Breakdown"),
        ("Stagnation Exit (Low Vol: 1.00 < 2.00)", "Stagnation Exit"),
        ("RSI Oversold (20.0, Thr: 30)", "RSI Overextension"),
        ("Trend Saturation Momentum Exhaustion (ADX: 51.0, ADX_slope: -1.00)", "TSME"),
        ("MACD Persistent Divergence (Profit: 1.60 ATR)", "MMDE"),
        ("Funding Headwind Exit", "Funding Headwind"),
        ("Force Close", "Force Close (EOD)"),
        ("End of Backtest", "End of Backtest"),
        ("time", "time"),
    ],
)
def test_exit_categories(reason: str, category: str) -> None:
    assert exit_category(reason) == category
