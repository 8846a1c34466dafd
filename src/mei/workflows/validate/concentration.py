"""Whether a profit hangs on one symbol, or on five."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mei.data.replay_report import read_replay_report
from mei.metrics.symbol_shares import concentration
from mei.report.json_text import pretty_json
from mei.workflows.files import check_apart, check_folder, write_result
from mei.workflows.strategy import Tell


@dataclass(frozen=True, slots=True)
class ConcentrationRequest:
    """What the command line asks for. Shares are fractions; a threshold of 0 or less asks nothing.

    output None = the summary is given as text.
    """

    replay_report: str
    max_top1_frac: float = 0.65
    max_top5_frac: float = 0.90
    min_symbols: int = 5
    output: str | None = None


def run_concentration_checks(request: ConcentrationRequest, tell: Tell) -> str | None:
    """The summary as JSON, or None where it went to a file. Raises MeiError."""
    check_folder(request.output)
    check_apart([("--output", request.output)], [("--replay-report", request.replay_report)])
    report = read_replay_report(request.replay_report)
    by_symbol = report.by_symbol(("trades", "net_pnl_usd"))
    net = {name: one["net_pnl_usd"] for name, one in by_symbol.items() if one["trades"] > 0}
    found = concentration(net)
    metrics = {
        "symbols_traded": found.n_symbols,
        "positive_pnl_usd": found.positive_usd,
        "top1_symbol": found.top1_symbol,
        "top1_pnl_pct": found.top1_frac,
        "top5_pnl_pct": found.top5_frac,
        "long_pnl_usd": report.pnl_of_side("LONG"),
        "short_pnl_usd": report.pnl_of_side("SHORT"),
    }
    reasons = _reasons(request, metrics)
    summary = {
        "replay_report_path": request.replay_report,
        "metrics": metrics,
        "thresholds": {
            "max_top1_pnl_pct": request.max_top1_frac,
            "max_top5_pnl_pct": request.max_top5_frac,
            "min_symbols_traded": request.min_symbols,
        },
        "reject": bool(reasons),
        "reject_reasons": reasons,
    }
    tell(f"[concentration] {'rejected: ' + '; '.join(reasons) if reasons else 'not rejected'}")
    if net and not found.positive_usd > 0.0:
        tell("[concentration] No symbol made a profit: shares of none are 0")
    text = pretty_json(summary)
    if request.output is None:
        return text
    write_result(request.output, text)
    tell(f"Written to {request.output}")
    return None


def _reasons(request: ConcentrationRequest, metrics: dict[str, Any]) -> list[str]:
    reasons = []
    limits = (
        ("top1_pnl_pct", "max_top1_pnl_pct", request.max_top1_frac),
        ("top5_pnl_pct", "max_top5_pnl_pct", request.max_top5_frac),
    )
    for name, limit_name, limit in limits:
        if limit > 0.0 and metrics[name] > limit:
            reasons.append(f"{name} {metrics[name]:.4f} > {limit_name} {limit:.4f}")
    if request.min_symbols > 0 and metrics["symbols_traded"] < request.min_symbols:
        traded = metrics["symbols_traded"]
        reasons.append(f"symbols_traded {traded} < min_symbols_traded {request.min_symbols}")
    return reasons
