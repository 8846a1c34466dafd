"""Tables of the report as HTML. Every text that comes from a run is escaped here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from mei.report.labels import format_duration, format_frac, format_number, format_time

Cell = tuple[str, str]
_BREAKDOWNS = (
    ("preset", "By preset"),
    ("regime", "By regime at the entry"),
    ("strategy", "By strategy"),
    ("instrument", "By instrument"),
    ("direction", "By direction"),
    ("exit_reason", "By reason of the exit"),
    ("model_version", "By model that served at the entry"),
)
_DAYS = range(1, 32)


def text(value: object) -> Cell:
    """A cell with text, aligned left."""
    return ("", str(value))


def number(value: str, sign: float | None = None) -> Cell:
    """A cell with a number, aligned right; coloured if `sign` is given and not 0."""
    colour = "" if not sign else " gain" if sign > 0 else " loss"
    return (f"n{colour}", value)


def table(heads: Sequence[str], rows: Iterable[Sequence[Cell]], css_class: str = "") -> str:
    """An HTML table; a head aligns as the cells of the first row below it."""
    lines = [list(row) for row in rows]
    if not lines:
        return "<p>None.</p>"
    head = "".join(
        f'<th class="{"n" if kind.startswith("n") else ""}">{escape(name)}</th>'
        for name, (kind, _) in zip(heads, lines[0], strict=True)
    )
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>\n" for row in lines)
    return (
        f'<table class="{css_class}"><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table>'
    )


def breakdown_tables(breakdown: Mapping[str, Any], quote: str) -> str:
    """One table for each way of splitting the closed trades, trade counts and results beside it."""
    parts = []
    for key, title in _BREAKDOWNS:
        groups = breakdown.get(key)
        if groups:
            parts.append(
                f"<h3>{title}</h3>" + scroll(_breakdown(groups, quote), tall=len(groups) > 12)
            )
    return "".join(parts) or "<p>No closed trade.</p>"


def days_table(daily: Sequence[Mapping[str, Any]], monthly: Sequence[Mapping[str, Any]]) -> str:
    """Months down, days across, coloured by return; the month's return at the right."""
    by_month: dict[str, dict[int, float]] = {}
    for day in daily:
        by_month.setdefault(day["date"][:7], {})[int(day["date"][8:])] = day["return"]
    largest = max((abs(day["return"]) for day in daily), default=0.0)
    heads = "".join(f"<th>{day}</th>" for day in _DAYS)
    rows = "".join(_month_row(month, by_month, largest) for month in monthly)
    head = f'<tr><th class="month">UTC, %</th>{heads}<th>month</th></tr>'
    return scroll(f'<table class="days"><thead>{head}</thead><tbody>{rows}</tbody></table>')


def drawdowns_table(drawdowns: Sequence[Mapping[str, Any]], last_ms: int) -> str:
    """The worst drawdowns: from, to the lowest point, and back."""
    heads = ("Depth", "Peak", "Lowest", "Recovered", "Under water")
    return scroll(table(heads, (_drawdown(drawdown, last_ms) for drawdown in drawdowns)))


def trades_table(trades: Sequence[Mapping[str, Any]]) -> str:
    """Closed trades, newest first."""
    heads = (
        "Closed",
        "Opened",
        "Instrument",
        "Strategy",
        "Side",
        "Preset",
        "Model",
        "Exit",
        "Entry price",
        "Exit price",
        "Notional",
        "Fees",
        "Slippage",
        "Net",
        "Net bps",
    )
    return scroll(table(heads, map(_trade, reversed(trades))), tall=True)


def trainings_table(timeline: Sequence[Mapping[str, Any]]) -> str:
    """Trainings, newest first, with the reason of every decision."""
    heads = (
        "As of",
        "Instrument",
        "Status",
        "Decision",
        "Reason",
        "Model",
        "Champion",
        "Fitted",
        "Scored",
        "Difference, nats/bar",
    )
    return scroll(table(heads, map(_training, reversed(timeline))), tall=True)


def counts_table(title: str, counts: Mapping[str, int]) -> str:
    """How often each name occurred, most frequent first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rows = [(text(name.replace("_", " ")), number(f"{count:,}")) for name, count in ordered]
    return table((title, "Count"), rows)


def settings_table(settings: Mapping[str, Any], prefix: str = "") -> str:
    """Nested settings as one flat table, names joined by dots."""
    return table(("Setting", "Value"), [(text(k), text(v)) for k, v in _flat(settings, prefix)])


def scroll(inner: str, tall: bool = False) -> str:
    """A frame in which a wide (and `tall`) table scrolls by itself."""
    return f'<div class="scroll{" tall" if tall else ""}">{inner}</div>'


def _cell(cell: Cell) -> str:
    kind, content = cell
    attribute = f' class="{kind}"' if kind else ""
    return f"<td{attribute}>{escape(content)}</td>"


def _breakdown(groups: Mapping[str, Any], quote: str) -> str:
    heads = ("", "Trades", "Win rate", f"Net {quote}", "Net bps a trade", "Profit factor")
    rows = []
    for name in sorted(groups, key=_natural):
        numbers = groups[name]
        net, mean_bps = numbers["net_pnl"], numbers["expectancy_bps"]
        rows.append(
            (
                text(name or "–"),
                number(format_number(numbers["n_trades"])),
                number(format_number(numbers["win_rate"])),
                number(format_number(net), net["value"]),
                number(format_number(mean_bps), mean_bps["value"]),
                number(format_number(numbers["profit_factor"])),
                number(format_number(numbers["fees"])),
                number(format_number(numbers["slippage"])),
            )
        )
    return table((*heads, "Fees", "Slippage"), rows, "split")


def _natural(name: str) -> list[tuple[int, str]]:
    """Sorts `v2` before `v10`."""
    return [(int(part) if part.isdigit() else -1, part) for part in re.split(r"(\d+)", name)]


def _month_row(
    month: Mapping[str, Any], by_month: Mapping[str, Mapping[int, float]], largest: float
) -> str:
    days = by_month[month["month"]]
    cells = "".join(_day_cell(days.get(day), largest) for day in _DAYS)
    total = month["return"]
    css_class = "total gain" if total > 0 else "total loss" if total < 0 else "total"
    name = f'<td class="month">{escape(month["month"])}</td>'
    return f'<tr>{name}{cells}<td class="{css_class}">{total * 100:+.2f}</td></tr>\n'


def _day_cell(change: float | None, largest: float) -> str:
    if change is None:
        return "<td></td>"
    share = round(45 * abs(change) / largest) if largest > 0 else 0
    colour = "gain" if change > 0 else "loss"
    shade = f"color-mix(in srgb, var(--{colour}) {share}%, transparent)"
    return f'<td style="background:{shade}">{change * 100:+.2f}</td>'


def _drawdown(drawdown: Mapping[str, Any], last_ms: int) -> tuple[Cell, ...]:
    recovered_ms = drawdown["recovered_ms"]
    end_ms = last_ms if recovered_ms is None else recovered_ms
    return (
        number(format_frac(drawdown["depth_frac"]), -1.0),
        text(format_time(drawdown["peak_ms"])),
        text(format_time(drawdown["trough_ms"])),
        text("not yet" if recovered_ms is None else format_time(recovered_ms)),
        number(format_duration(end_ms - drawdown["peak_ms"])),
    )


def _trade(trade: Mapping[str, Any]) -> tuple[Cell, ...]:
    return (
        text(format_time(trade["closed_ms"])),
        text(format_time(trade["opened_ms"])),
        text(trade["instrument"]),
        text(trade["strategy"]),
        text("long" if trade["direction"] > 0 else "short"),
        text(trade["preset"]),
        text(f"v{trade['model_version']}" if trade["model_version"] else "–"),
        text(trade["exit_reason"].replace("_", " ")),
        number(f"{trade['entry_px']:,.8g}"),
        number(f"{trade['exit_px']:,.8g}"),
        number(f"{trade['entry_notional']:,.2f}"),
        number(f"{trade['fees']:,.4f}"),
        number(f"{trade['slippage']:,.4f}"),
        number(f"{trade['net_pnl']:+,.2f}", trade["net_pnl"]),
        number(f"{trade['net_bps']:+,.2f}", trade["net_bps"]),
    )


def _training(training: Mapping[str, Any]) -> tuple[Cell, ...]:
    delta, error = training["delta"], training["delta_standard_error"]
    difference = "–" if delta is None else f"{delta:+.4f}"
    if delta is not None and error is not None:
        difference += f" ± {error:.4f}"
    decision = training["decision"]
    colour = {"promoted": "gain", "rejected": "loss"}.get(decision or "", "")
    return (
        text(format_time(training["as_of_ms"])),
        text(training["symbol"]),
        text(training["status"].replace("_", " ")),
        (colour, decision or "–"),
        text(training["reason"].replace("_", " ")),
        text(_version(training["model_version"])),
        text(_version(training["champion_version"])),
        number(f"{training['n_fit'] or 0:,}"),
        number(f"{training['n_validation'] or 0:,}"),
        number(difference),
    )


def _version(version: int | None) -> str:
    return "–" if version is None else f"v{version}"


def _flat(settings: Mapping[str, Any], prefix: str) -> Iterable[tuple[str, str]]:
    for name in sorted(settings):
        value = settings[name]
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple):
            yield f"{prefix}{name}", ", ".join(map(str, value)) or "–"
        else:
            yield f"{prefix}{name}", "–" if value is None or value == {} else str(value)
