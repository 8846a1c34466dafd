"""The trades of a replay drawn again and in other orders: how much of the balance and the drawdown was luck."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from random import Random
from typing import Any

from mei.data.closed_trades import read_closed_trades
from mei.metrics.bootstrap import METHODS, path_of, resample
from mei.model.errors import ConfigError, DataError
from mei.report.json_text import pretty_json
from mei.workflows.files import check_apart, check_folder, write_result
from mei.workflows.strategy import Tell


@dataclass(frozen=True, slots=True)
class MonteCarloRequest:
    """What the command line asks for. output None = the summary is given as text."""

    trades_csv: str
    initial_balance_usd: float
    n_paths: int = 2000
    seed: int = 42
    methods: Sequence[str] = METHODS[:1]
    output: str | None = None


def run_monte_carlo(request: MonteCarloRequest, tell: Tell) -> str | None:
    """The summary as JSON, or None where it went to a file. Raises MeiError."""
    check_folder(request.output)
    check_apart([("--output", request.output)], [("--trades-csv", request.trades_csv)])
    _refuse_nonsense(request)
    trades = read_closed_trades(request.trades_csv)
    if not trades:
        raise DataError(f"{request.trades_csv} must have a trade to draw, has none")
    exits = [trade.net_usd for trade in trades]
    both = [trade.net_usd - trade.entry_fee_usd for trade in trades]
    summary = {
        "version": "mc_bootstrap_v1",
        "trades_csv": request.trades_csv,
        "initial_balance": request.initial_balance_usd,
        "iters": request.n_paths,
        "seed": request.seed,
        "n_trades": len(trades),
        **_resampled(request, exits),
        "with_entry_fees": _resampled(request, both),
    }
    for name, part in (
        ("exit fees only", summary),
        ("entry fees, too", summary["with_entry_fees"]),
    ):
        for line in _told(part):
            tell(f"[monte-carlo] {name}: {line}")
    text = pretty_json(summary)
    if request.output is None:
        return text
    write_result(request.output, text)
    tell(f"Written to {request.output}")
    return None


def _refuse_nonsense(request: MonteCarloRequest) -> None:
    if not request.initial_balance_usd > 0.0:
        raise ConfigError(f"--initial-balance must be above 0, was {request.initial_balance_usd}")
    unknown = [name for name in request.methods if name not in METHODS]
    if unknown or not request.methods:
        told = repr(unknown[0]) if unknown else "empty"
        raise ConfigError(f"--methods must be of {', '.join(METHODS)}, was {told}")


def _resampled(request: MonteCarloRequest, results_usd: Sequence[float]) -> dict[str, Any]:
    """The same draws for every list of results: the seed starts anew."""
    initial = request.initial_balance_usd
    methods = tuple(dict.fromkeys(request.methods))
    found = resample(results_usd, initial, request.n_paths, methods, Random(request.seed))
    path = path_of(results_usd, initial)
    return {
        "observed": {
            "net_pnl_usd": path.final_balance_usd - initial,
            "final_balance": path.final_balance_usd,
            "total_return_pct": path.total_return_frac,
            "max_drawdown_pct": path.max_drawdown_frac,
        },
        "methods": {
            method: {name: asdict(one) for name, one in statistics.items()}
            for method, statistics in found.items()
        },
    }


def _told(part: dict[str, Any]) -> list[str]:
    lines = []
    for method, of in part["methods"].items():
        final, drawdown = of["final_balance"], of["max_drawdown_pct"]
        lines.append(
            f"{method}: final balance ${final['p02_5']:.2f} to ${final['p97_5']:.2f} (95 of 100 paths), median "
            f"${final['p50']:.2f}; drawdown median {drawdown['p50'] * 100.0:.2f}%, 97.5% of paths below "
            f"{drawdown['p97_5'] * 100.0:.2f}%"
        )
    return lines
