"""Plotly figures as plain dictionaries. Colours are names of the page's palette, resolved there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mei.metrics.trades import RoundTrip
from mei.report.labels import format_time
from mei.report.reading import equity_blocks
from mei.report.thinning import Row, Thinning

MAX_POINTS = 3_000
#: Trainings of different instruments differ in the shape of their mark.
_SYMBOL_MARKS = ("circle", "square", "diamond", "triangle-up", "x", "cross")

Figure = dict[str, Any]


def equity_figure(
    equity_csv: Path, n_rows: int, initial_equity: float, market: str, quote: str
) -> Figure:
    """Equity and buy-and-hold above, drawdown below; at most MAX_POINTS points each."""
    rows = _equity_points(equity_csv, n_rows, initial_equity)
    times = [int(row[1]) for row in rows]
    held = [_known(row[3]) for row in rows]
    return {
        "data": [
            _line(times, [row[0] for row in rows], "Equity", "accent", width=2),
            _line(
                times, held, _plotly_text(f"Buy and hold {market}"), "muted", width=1, dash="dot"
            ),
            {
                **_line(times, [-row[2] * 100 for row in rows], "Drawdown", "loss", width=1),
                "yaxis": "y2",
                "fill": "tozeroy",
                "fillcolor": "lossSoft",
                "hovertemplate": "%{y:.2f} %",
            },
        ],
        "layout": {
            "height": 520,
            "xaxis": {"type": "date", "anchor": "y2"},
            "yaxis": {"title": {"text": quote}, "domain": [0.34, 1.0]},
            "yaxis2": {"title": {"text": "drawdown %"}, "domain": [0.0, 0.26]},
        },
    }


def trades_figure(trips: Sequence[RoundTrip]) -> Figure:
    """Net result of each closed trade, in bps of its notional, by time of closing."""
    thinning = Thinning(len(trips), MAX_POINTS)
    thinning.add(
        np.array([trip.net_bps for trip in trips]), np.arange(len(trips), dtype=np.float64)
    )
    shown = [trips[int(row[1])] for row in thinning.rows()]
    presets = sorted({trip.preset for trip in shown})
    return {
        "data": [
            _preset_dots([trip for trip in shown if trip.preset == preset], preset, number)
            for number, preset in enumerate(presets)
        ],
        "layout": {
            "height": 340,
            "xaxis": {"type": "date"},
            "yaxis": {"title": {"text": "net bps a trade"}, "zeroline": True},
            "hovermode": "closest",
        },
    }


def costs_figure(trips: Sequence[RoundTrip], quote: str) -> Figure:
    """Cumulative result of closed trades before costs and after them, with fees and slippage apart."""
    columns = _cumulative(trips)
    thinning = Thinning(len(trips), MAX_POINTS)
    thinning.add(*columns)
    rows = thinning.rows()
    times = [int(row[3]) for row in rows]
    curves = (
        ("Before costs", "muted", [row[0] + row[1] + row[2] for row in rows]),
        ("After costs", "accent", [row[0] for row in rows]),
        ("Fees paid", "series2", [row[1] for row in rows]),
        ("Slippage paid", "series3", [row[2] for row in rows]),
    )
    return {
        "data": [_line(times, values, name, colour, width=2) for name, colour, values in curves],
        "layout": {
            "height": 340,
            "xaxis": {"type": "date"},
            "yaxis": {"title": {"text": f"{quote}, cumulative"}},
        },
    }


def models_figure(timeline: Sequence[Mapping[str, Any]], min_delta: float | None) -> Figure:
    """Trainings by time: score differences with standard errors above, those without a score below."""
    scored = [training for training in timeline if training["delta"] is not None]
    unscored = [training for training in timeline if training["delta"] is None]
    symbols = sorted({training["symbol"] for training in timeline})
    decisions = (("promoted", "gain"), ("rejected", "loss"))
    data = [
        _scores([row for row in scored if row["decision"] == name], symbols, name, colour)
        for name, colour in decisions
    ]
    data += [_lane(unscored)]
    layout: Figure = {
        "height": 400,
        "xaxis": {"type": "date", "anchor": "y2"},
        "yaxis": {"title": {"text": "nats per bar against the champion"}, "domain": [0.36, 1.0]},
        "yaxis2": {"type": "category", "domain": [0.0, 0.24], "automargin": True},
        "hovermode": "closest",
    }
    if min_delta is not None:
        layout["shapes"] = [_level(min_delta)]
    return {"data": data, "layout": layout}


def _equity_points(equity_csv: Path, n_rows: int, initial_equity: float) -> list[Row]:
    thinning = Thinning(n_rows, MAX_POINTS)
    peak, first_px = initial_equity, math.nan
    for block in equity_blocks(equity_csv):
        peaks = np.maximum(np.maximum.accumulate(block.equity), peak)
        peak = float(peaks[-1])
        if math.isnan(first_px):
            known = block.close_px[~np.isnan(block.close_px)]
            first_px = float(known[0]) if len(known) else math.nan
        held = block.close_px / first_px * initial_equity
        close_ms = block.close_ms.astype(np.float64)
        thinning.add(block.equity, close_ms, 1.0 - block.equity / peaks, held)
    return thinning.rows()


def _cumulative(trips: Sequence[RoundTrip]) -> tuple[np.ndarray[Any, Any], ...]:
    net = np.cumsum([trip.net_pnl for trip in trips])
    fees = np.cumsum([trip.fees for trip in trips])
    slippage = np.cumsum([trip.slippage for trip in trips])
    closed_ms = np.array([trip.closed_ms for trip in trips], dtype=np.float64)
    return net, fees, slippage, closed_ms


def _preset_dots(trips: Sequence[RoundTrip], preset: str, number: int) -> Figure:
    return {
        "type": "scattergl" if len(trips) > MAX_POINTS else "scatter",
        "mode": "markers",
        "name": _plotly_text(preset),
        "x": [trip.closed_ms for trip in trips],
        "y": [trip.net_bps for trip in trips],
        "text": [_trip_text(trip) for trip in trips],
        "hovertemplate": "%{text}<br>%{x}<br>%{y:.2f} bps",
        "marker": {"size": 5, "opacity": 0.75, "color": f"series{number % 6 + 1}"},
    }


def _place(training: Mapping[str, Any], symbols: Sequence[str]) -> int:
    return symbols.index(training["symbol"]) % len(_SYMBOL_MARKS)


def _scores(
    trainings: Sequence[Mapping[str, Any]], symbols: Sequence[str], name: str, colour: str
) -> Figure:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [training["as_of_ms"] for training in trainings],
        "y": [training["delta"] for training in trainings],
        "error_y": {
            "type": "data",
            "array": [training["delta_standard_error"] or 0.0 for training in trainings],
            "thickness": 1,
            "width": 2,
            "color": colour,
        },
        "text": [_training_text(training) for training in trainings],
        "hovertemplate": "%{text}<br>%{x}<br>%{y:.4f} nats per bar",
        "marker": {
            "size": 7,
            "color": colour,
            "symbol": [_SYMBOL_MARKS[_place(training, symbols)] for training in trainings],
        },
    }


def _lane(trainings: Sequence[Mapping[str, Any]]) -> Figure:
    lanes = [training["decision"] or training["status"] for training in trainings]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "without a score",
        "x": [training["as_of_ms"] for training in trainings],
        "y": [lane.replace("_", " ") for lane in lanes],
        "yaxis": "y2",
        "text": [_training_text(training) for training in trainings],
        "hovertemplate": "%{text}<br>%{x}",
        "marker": {"size": 8, "symbol": "line-ns-open", "color": "muted"},
        "showlegend": False,
    }


def _training_text(training: Mapping[str, Any]) -> str:
    version = training["model_version"]
    model = f" v{version}" if version is not None else ""
    return _plotly_text(f"{training['symbol']}{model}: {training['reason']}")


def _plotly_text(text: str) -> str:
    """Plotly reads a little HTML in texts: what comes from a run must not be read as such."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _level(value: float) -> Figure:
    line = {"color": "muted", "width": 1, "dash": "dash"}
    return {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": value,
        "y1": value,
        "line": line,
    }


def _line(
    times: Sequence[int],
    values: Sequence[float | None],
    name: str,
    colour: str,
    *,
    width: int,
    dash: str = "solid",
) -> Figure:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": list(times),
        "y": list(values),
        "line": {"color": colour, "width": width, "dash": dash},
        "hovertemplate": "%{y:,.2f}",
    }


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _trip_text(trip: RoundTrip) -> str:
    side = "long" if trip.direction > 0 else "short"
    since = format_time(trip.opened_ms)
    return _plotly_text(f"{trip.instrument} {side} since {since}, {trip.exit_reason}")
