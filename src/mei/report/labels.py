"""Metrics in words: one wording for the terminal's table and for the report's cards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

NOT_DEFINED = "n/a"
_MS_PER_MINUTE = 60_000


@dataclass(frozen=True, slots=True)
class Headline:
    """A key number: what it is called, its value with unit, and what to know beside it."""

    label: str
    value: str
    note: str


def headlines(summary: Mapping[str, Any]) -> list[Headline]:
    """The key numbers of a summary, in the order in which they are shown."""
    performance, trades, costs = summary["performance"], summary["trades"], summary["costs"]
    quote = quote_currency(summary["settings"])

    def line(label: str, number: Mapping[str, Any], note: str = "") -> Headline:
        value = format_number(number, quote)
        return Headline(label, value, number.get("reason") or annualised_note(number) or note)

    return [
        line("Total return", performance["total_return"], _final(performance, quote)),
        line("Buy and hold", summary["market"]["buy_and_hold_return"], _first_symbol(summary)),
        line("CAGR", performance.get("cagr", {})),
        line("Sharpe ratio", performance.get("sharpe_ratio", {})),
        line("Sortino ratio", performance.get("sortino_ratio", {})),
        line("Calmar ratio", performance.get("calmar_ratio", {})),
        line("Volatility", performance.get("volatility", {})),
        line("Max drawdown", performance.get("max_drawdown", {}), _deepest(summary)),
        line("Under water", performance.get("under_water", {}), _longest(performance)),
        line("Exposure", performance.get("exposure", {}), "of bars with a position"),
        line("Trades", trades["n_trades"], f"win rate {format_number(trades['win_rate'])}"),
        line("Expectancy", trades["expectancy_bps"], "a trade, after all costs"),
        line("Average win", trades["average_win_bps"], _average_loss(trades)),
        line("Profit factor", trades["profit_factor"], "gains over losses, net"),
        line("Fees", costs["fees"], "paid on both sides"),
        line("Slippage", costs["slippage"], "in the prices, beside the fees"),
        line("Turnover", costs["turnover"], "times the mean equity"),
        _trainings(summary["trainings"]),
    ]


def annualised_note(number: Mapping[str, Any]) -> str:
    """`365 periods/year` beside what is annualised, else nothing."""
    periods = number.get("periods_per_year")
    return "" if periods is None else f"daily, {periods} periods/year"


def format_number(number: Mapping[str, Any], quote: str = "") -> str:
    """A metric of summary.json as text with its unit; `n/a` where it is not defined."""
    value = number.get("value")
    if value is None:
        return NOT_DEFINED
    unit = number.get("unit")
    if unit == "frac":
        return format_frac(value)
    if unit == "usd":
        return f"{value:,.2f} {quote}".rstrip()
    if unit == "bps":
        return f"{value:+,.2f} bps"
    if unit == "ms":
        return format_duration(int(value))
    return f"{value:,}" if unit == "count" else f"{value:,.2f}"


def format_frac(value: float) -> str:
    """0.0503 as `5.03 %`."""
    return f"{value * 100:,.2f} %"


def format_duration(duration_ms: int) -> str:
    """The two largest of days, hours and minutes."""
    minutes = duration_ms // _MS_PER_MINUTE
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def format_time(time_ms: int | None) -> str:
    """Epoch ms as `2023-01-02 03:04` UTC; a dash for None."""
    if time_ms is None:
        return "–"
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def quote_currency(settings: Mapping[str, Any]) -> str:
    """What money is counted in: the quote of the symbols, `quote` if they differ or are absent."""
    symbols: Sequence[str] = settings.get("symbols") or ()
    quotes = {symbol.rpartition("/")[2].partition(":")[0] for symbol in symbols}
    return quotes.pop() if len(quotes) == 1 else "quote"


def _final(performance: Mapping[str, Any], quote: str) -> str:
    final, initial = performance.get("final_equity"), performance.get("initial_equity")
    if final is None or initial is None:
        return ""
    return f"{format_number(initial)} → {format_number(final, quote)}"


def _first_symbol(summary: Mapping[str, Any]) -> str:
    symbols = summary["settings"].get("symbols") or ("first symbol",)
    return f"{symbols[0]}, without costs"


def _deepest(summary: Mapping[str, Any]) -> str:
    drawdowns = summary["drawdowns"]
    return f"lowest on {format_time(drawdowns[0]['trough_ms'])}" if drawdowns else ""


def _longest(performance: Mapping[str, Any]) -> str:
    longest = performance.get("longest_under_water")
    return f"longest {format_number(longest)}" if longest else ""


def _average_loss(trades: Mapping[str, Any]) -> str:
    return f"average loss {format_number(trades['average_loss_bps'])}"


def _trainings(trainings: Mapping[str, Any]) -> Headline:
    counts = {**trainings["by_decision"], **trainings["by_status"]}
    counts.pop("completed", None)
    note = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())
    return Headline("Trainings", f"{trainings['n']:,}", note)
