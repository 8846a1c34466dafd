"""The summary that a replay prints (specification part 2, F.7), and the table of a sweep (G.5)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from mei.metrics.replay import ReplayNumbers

#: Counters that are printed, where they are not 0, and how they are labelled.
_GATE_LABELS = (
    ("blocked_by_ranging", "ranging:"),
    ("blocked_by_anomaly", "anomaly:"),
    ("blocked_by_adx_low", "ADX low:"),
    ("blocked_by_confidence", "confidence:"),
    ("blocked_by_max_positions", "max pos:"),
    ("blocked_by_pesc", "PESC:"),
    ("blocked_by_ssf", "SSF:"),
    ("blocked_by_reef", "REEF:"),
    ("blocked_by_margin", "margin:"),
)


def replay_summary(
    numbers: ReplayNumbers, took_s: float, peak_usd: float | None = None
) -> list[str]:
    """The lines of the summary; took_s: how long the run took.

    peak_usd: the highest equity of the run that this one goes on from, None = it starts from nothing.
    """
    return [
        "",
        "=== Backtest Summary ===",
        "",
        f"Initial Balance:   ${numbers.initial_balance_usd:.2f}",
        f"Final Balance:     ${numbers.final_balance_usd:.2f}",
        f"Total PnL:         ${numbers.total_pnl_usd:.2f} ({_percent_of_start(numbers)}%)",
        f"Total Trades:      {numbers.total_trades}",
        f"Win Rate:          {numbers.win_rate * 100.0:.1f}% ({numbers.total_wins}/{numbers.total_trades})",
        f"Profit Factor:     {numbers.profit_factor:.2f}",
        f"Sharpe Ratio:      {numbers.sharpe_ratio:.3f}",
        f"Max Drawdown:      ${numbers.max_drawdown_usd:.2f} ({numbers.max_drawdown_frac * 100.0:.2f}%)",
        f"Avg Win:           ${numbers.avg_win_usd:.2f}",
        f"Avg Loss:          ${numbers.avg_loss_usd:.2f}",
        f"Total Fees:        ${numbers.total_fees_usd:.2f}",
        f"Signals Generated: {numbers.total_signals}",
        *_continued(peak_usd),
        "",
        *_by_confidence(numbers),
        *_by_exit_reason(numbers),
        *_gate_stats(numbers),
        "",
        f"Completed in {took_s:.3f}s",
    ]


def _continued(peak_usd: float | None) -> list[str]:
    if peak_usd is None:
        return []
    return [
        f"Continued run:     drawdown from the highest equity so far, before the cut ${peak_usd:.2f}; "
        "all else, Sharpe too, of this part alone"
    ]


def sweep_table(
    rows: Sequence[tuple[str, ReplayNumbers, Mapping[str, float]]], top_n: int
) -> list[str]:
    """The best rows (config id, numbers, overrides in the order of the axes), `rows` being sorted already."""
    shown = rows[: max(top_n, 0)]
    lines = [
        "",
        f"--- Top {len(shown)} results (by total PnL) ---",
        "",
        f"{'Rank':>5}  {'Config':>10}  {'PnL':>12}  {'WR%':>8}  {'Trades':>8}  {'Sharpe':>8}"
        f"  {'MaxDD%':>10}  Overrides",
        "-" * 100,
    ]
    for rank, (config_id, numbers, overrides) in enumerate(shown, start=1):
        changed = ", ".join(f"{path}={value:.3f}" for path, value in overrides.items())
        lines.append(
            f"{rank:>5}  {config_id:>10}  {numbers.total_pnl_usd:>12.2f}  {numbers.win_rate * 100.0:>7.1f}%"
            f"  {numbers.total_trades:>8}  {numbers.sharpe_ratio:>8.3f}"
            f"  {numbers.max_drawdown_frac * 100.0:>9.2f}%  {changed}"
        )
    return [*lines, ""]


def _percent_of_start(numbers: ReplayNumbers) -> str:
    start = numbers.initial_balance_usd
    return f"{numbers.total_pnl_usd / start * 100.0 if start else math.nan:+.2f}"


def _by_confidence(numbers: ReplayNumbers) -> list[str]:
    if not numbers.by_confidence:
        return []
    lines = ["--- By Confidence ---"]
    for key, group in numbers.by_confidence.items():
        lines.append(
            f"  {key:>8}: {group.trades:>4} trades, PnL ${group.pnl_usd:>8.2f}, "
            f"WR {group.win_rate * 100.0:.1f}%, Avg ${group.avg_pnl_usd:.2f}"
        )
    return [*lines, ""]


def _by_exit_reason(numbers: ReplayNumbers) -> list[str]:
    if not numbers.by_exit_reason:
        return []
    lines = ["--- By Exit Reason ---"]
    for key, group in numbers.by_exit_reason.items():
        lines.append(
            f"  {key:>20}: {group.trades:>4} trades, PnL ${group.pnl_usd:>8.2f}, "
            f"WR {group.win_rate * 100.0:.1f}%"
        )
    return [*lines, ""]


def _gate_stats(numbers: ReplayNumbers) -> list[str]:
    gates = numbers.gates
    lines = [
        "--- Gate Stats ---",
        f"  Total checks:         {gates['total_checks']}",
        f"  Signals generated:    {gates['signals_generated']} ({numbers.signal_frac * 100.0:.1f}%)",
    ]
    for name, label in _GATE_LABELS:
        if gates[name]:
            lines.append(f"  Blocked by {label:<11}{gates[name]}")
    return lines
