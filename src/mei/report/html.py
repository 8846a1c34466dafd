"""report.html: one file that shows a run, opens without a network, and is the same bytes for the same run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from mei.report import charts, tables
from mei.report.atomic import write_atomically
from mei.report.labels import Headline, format_time, headlines, quote_currency
from mei.report.reading import round_trips

_SHOWN_TRAININGS = 400


def write_report(
    path: Path, summary: Mapping[str, Any], equity_csv: Path, trades_csv: Path
) -> None:
    """Write the report of a run to `path`, atomically.

    summary: what `build_summary` gave for the same two files. Raises OutputError when a file cannot
    be read or `path` cannot be written.
    """
    page = render(summary, _figures(summary, equity_csv, trades_csv))
    write_atomically(path, page)


def render(summary: Mapping[str, Any], figures: Mapping[str, charts.Figure]) -> bytes:
    """The page, UTF-8, with `figures` (div id -> Plotly figure) in the places of that name."""
    title = _title(summary)
    parts: list[str | bytes] = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title>",
        f"<style>\n{_asset('page.css')}</style></head><body><main>",
        _header(title, summary),
        _notes(summary["notes"]),
        _cards(headlines(summary)),
        *_sections(summary),
        '<footer>Times are UTC; a row is stamped with the close of its bar. "n/a" is a number that '
        "is not defined, with the reason beside it. The numbers are in summary.json.</footer>",
        "</main>",
        f'<script type="application/json" id="figures">{_script_json(figures)}</script>',
        "<script>",
        _plotly_js(),
        "</script>",
        f"<script>\n{_asset('page.js')}</script>",
        "</body></html>\n",
    ]
    return b"\n".join(part if isinstance(part, bytes) else part.encode() for part in parts if part)


def _figures(
    summary: Mapping[str, Any], equity_csv: Path, trades_csv: Path
) -> dict[str, charts.Figure]:
    settings = summary["settings"]
    quote = quote_currency(settings)
    trips = list(round_trips(trades_csv))
    market = (settings.get("symbols") or ("",))[0]
    training = settings.get("training_settings") or {}
    return {
        "equity-chart": charts.equity_figure(
            equity_csv,
            summary["period"]["n_rows"],
            float(settings["initial_cash"]),
            market,
            quote,
        ),
        "trades-chart": charts.trades_figure(trips),
        "costs-chart": charts.costs_figure(trips, quote),
        "models-chart": charts.models_figure(
            summary["trainings"]["timeline"], training.get("promotion_min_delta")
        ),
    }


def _sections(summary: Mapping[str, Any]) -> list[str]:
    quote = quote_currency(summary["settings"])
    trainings, period = summary["trainings"], summary["period"]
    return [
        _section(
            "Equity and drawdown",
            f"Marked to market at every bar close; thinned to {charts.MAX_POINTS:,} points that keep "
            "each stretch's lowest and highest.",
            _chart("equity-chart"),
        ),
        _section(
            "Trades and costs",
            "Net of fees and slippage. Slippage is in the fill prices, and reported apart from fees.",
            _chart("trades-chart") + _chart("costs-chart"),
        ),
        _section(
            "Models",
            "Every training: the candidate against the champion on the same validation bars, with the "
            "block standard error of the difference. Dashed: the gate. Instruments differ in shape.",
            _chart("models-chart")
            + tables.counts_table("Reason", trainings["by_reason"])
            + f"<h3>{_shown(len(trainings['timeline']))}</h3>"
            + tables.trainings_table(trainings["timeline"][-_SHOWN_TRAININGS:]),
        ),
        _section(
            "Closed trades, split",
            f"Net results in {quote}, after fees and slippage.",
            tables.breakdown_tables(summary["breakdown"], quote),
        ),
        _section(
            "Daily and monthly returns",
            "Simple returns of UTC days and months, from the last equity of each.",
            tables.days_table(summary["daily"], summary["monthly"]),
        ),
        _section(
            "Worst drawdowns",
            "Measured on every bar.",
            tables.drawdowns_table(summary["drawdowns"], period["last_ms"]),
        ),
        _section(
            f"Last {len(summary['last_trades'])} closed trades",
            "All of them are in trades.csv.",
            tables.trades_table(summary["last_trades"]),
        ),
        _details("Settings", tables.settings_table(summary["settings"])),
        _details("Run", tables.settings_table(summary["run"])),
    ]


def _shown(n_trainings: int) -> str:
    if n_trainings > _SHOWN_TRAININGS:
        return f"The last {_SHOWN_TRAININGS} of {n_trainings:,} trainings"
    return f"All {n_trainings:,} trainings"


def _title(summary: Mapping[str, Any]) -> str:
    settings = summary["settings"]
    strategies = ", ".join(settings.get("strategies") or ("Learning loop",))
    return f"{strategies} on {', '.join(settings.get('symbols') or ('–',))}"


def _header(title: str, summary: Mapping[str, Any]) -> str:
    run, settings, period = summary["run"], summary["settings"], summary["period"]
    status = str(run.get("status", "unknown"))
    facts = [
        f"run <code>{escape(str(run.get('run_id', '–')))}</code>",
        escape(str(settings.get("timeframe", ""))),
        f"{format_time(period['first_ms'])} to {format_time(period['last_ms'])} UTC",
        f"{period['n_rows']:,} bars",
        *(
            f"{key} {escape(str(settings[key]))}"
            for key in ("policy", "training")
            if key in settings
        ),
        *(f"{key} {escape(str(run[key]))}" for key in ("seed", "version") if key in run),
    ]
    badge = f'<span class="badge {escape(status)}">{escape(status)}</span>'
    line = " · ".join(fact for fact in facts if fact)
    return f"<header><h1>{escape(title)}</h1><p>{badge} {line}</p></header>"


def _notes(notes: Sequence[str]) -> str:
    if not notes:
        return ""
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f'<div class="notes"><ul>{items}</ul></div>'


def _cards(lines: Sequence[Headline]) -> str:
    cards = "".join(
        f'<div class="card"><div class="label">{escape(line.label)}</div>'
        f'<div class="value">{escape(line.value)}</div>'
        f'<div class="note">{escape(line.note)}</div></div>\n'
        for line in lines
    )
    return f'<div class="cards">{cards}</div>'


def _section(title: str, lead: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2><p>{escape(lead)}</p>{body}</section>"


def _details(title: str, body: str) -> str:
    return f"<section><details><summary>{escape(title)}</summary>{body}</details></section>"


def _chart(name: str) -> str:
    return f'<div class="chart" id="{name}"></div>'


def _script_json(figures: Mapping[str, charts.Figure]) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(figures, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _plotly_js() -> bytes:
    """Megabytes: never decoded, so that the page costs its size in memory and little more."""
    return files("plotly").joinpath("package_data/plotly.min.js").read_bytes()


def _asset(name: str) -> str:
    return files("mei.report").joinpath(name).read_text(encoding="utf-8")
