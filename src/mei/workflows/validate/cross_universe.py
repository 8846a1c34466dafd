"""What lists of symbols contributed to a replay, and what the others did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mei.data.replay_report import read_replay_report
from mei.data.symbol_list import read_symbols
from mei.metrics.symbol_shares import SUMMED, shares_of, sums_of
from mei.model.errors import ConfigError
from mei.report.json_text import pretty_json
from mei.workflows.files import check_apart, check_folder, write_result
from mei.workflows.strategy import Tell


@dataclass(frozen=True, slots=True)
class CrossUniverseRequest:
    """What the command line asks for. symbol_sets: texts `NAME=PATH`; output None = the summary is given as text."""

    replay_report: str
    symbol_sets: Sequence[str]
    output: str | None = None


def run_cross_universe(request: CrossUniverseRequest, tell: Tell) -> str | None:
    """The summary as JSON, or None where it went to a file. Raises MeiError."""
    check_folder(request.output)
    paths = parse_sets(request.symbol_sets)
    inputs = [("--replay-report", request.replay_report)]
    inputs += [("--symbol-set", path) for path in paths.values()]
    check_apart([("--output", request.output)], inputs)
    by_symbol = read_replay_report(request.replay_report).by_symbol(SUMMED)
    symbols = sorted(by_symbol)
    total = sums_of(by_symbol, symbols)
    sets = []
    for name, path in paths.items():
        sets.append(_set_object(name, path, by_symbol, symbols, total))
        tell(f"[cross-universe] {_told(sets[-1])}")
    summary = {
        "version": "cross_universe_v1",
        "replay_report_path": request.replay_report,
        "total": total,
        "symbol_sets": sets,
    }
    text = pretty_json(summary)
    if request.output is None:
        return text
    write_result(request.output, text)
    tell(f"Written to {request.output}")
    return None


def parse_sets(texts: Sequence[str]) -> dict[str, str]:
    """Name -> path of texts `NAME=PATH`, in their order. ConfigError."""
    paths: dict[str, str] = {}
    for text in texts:
        name, equals, path = (part.strip() for part in text.partition("="))
        if not (name and equals and path):
            raise ConfigError(f"--symbol-set must be NAME=PATH, was {text!r}")
        if name in paths:
            raise ConfigError(f"names of --symbol-set must differ, {name} is there twice")
        paths[name] = path
    if not paths:
        raise ConfigError("--symbol-set must be given, NAME=PATH, was left out")
    return paths


def _set_object(
    name: str,
    path: str,
    by_symbol: Mapping[str, Mapping[str, float]],
    symbols: Sequence[str],
    total: Mapping[str, float],
) -> dict[str, Any]:
    provided = read_symbols(path)
    present = [symbol for symbol in symbols if symbol in provided]
    subset = sums_of(by_symbol, present)
    return {
        "name": name,
        "path": path,
        "provided_symbols": sorted(provided),
        "present_symbols": present,
        "missing_symbols": sorted(symbol for symbol in provided if symbol not in by_symbol),
        "subset": subset,
        "outside": sums_of(by_symbol, [symbol for symbol in symbols if symbol not in provided]),
        "shares": shares_of(subset, total),
    }


def _told(one: Mapping[str, Any]) -> str:
    none = "" if one["present_symbols"] else "; none of them was traded: are they written alike?"
    return (
        f"{one['name']}: {len(one['present_symbols'])} of {len(one['provided_symbols'])} symbols, net PnL "
        f"${one['subset']['net_pnl_usd']:.2f} ({one['shares']['net_pnl_usd'] * 100.0:.1f}% of all), outside "
        f"${one['outside']['net_pnl_usd']:.2f}{none}"
    )
