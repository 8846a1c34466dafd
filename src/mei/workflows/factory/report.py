"""What a run found, for programs (report.json) and for people (report.md, validation_report.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from mei.report.atomic import write_atomically
from mei.report.json_text import pretty_json
from mei.workflows.factory.checks import CHECKS, in_words
from mei.workflows.factory.evidence import NUMBERS
from mei.workflows.factory.run_folder import RunFolder
from mei.workflows.factory.scoring import SURVIVES_FRAC, losses, reject_reasons, score_v1, survives


def item_of(
    candidate: Mapping[str, Any],
    found: Mapping[str, Any],
    *,
    require_dsr: bool,
    require_profit: bool,
) -> dict[str, Any]:
    """One candidate of report.json. found: of `gather`; fractions and USD as in the reports they come from."""
    replay = found["replay"]
    forward = _aggregate(found["walk_forward"])
    stress = _aggregate(found["slippage_stress"])
    dsr = replay["deflated_sharpe_ratio"]
    score = score_v1(forward, stress, replay["total_trades"])
    lost = losses(replay["total_pnl"], forward)
    reasons = reject_reasons(
        found["concentration"],
        stress,
        dsr,
        require_dsr=require_dsr,
        required_profits=lost if require_profit else (),
    )
    return {
        "config_id": candidate["config_id"],
        "config_path": candidate["config"],
        "places": candidate["places"],
        "sweep_config_id": candidate["sweep_config_id"],
        **{name: replay[name] for name in NUMBERS},
        "probabilistic_sharpe_ratio": replay["probabilistic_sharpe_ratio"],
        "deflated_sharpe_ratio": dsr,
        "deflated_sharpe_reason": replay["deflated_sharpe_reason"],
        "survives_trials": survives(dsr),
        "losses": lost,
        "score_v1": None if score is None else score.score_v1,
        "score_parts": None if score is None else asdict(score),
        "rejected": bool(reasons),
        "reject_reasons": reasons,
        **{name: found[name] for name in CHECKS},
    }


def _aggregate(check: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    return None if check is None else check["aggregate"]


def report_object(
    run: RunFolder,
    items: Sequence[Mapping[str, Any]],
    sweep: Mapping[str, Any],
    passed_over: Sequence[str],
    warnings: Sequence[str],
) -> dict[str, Any]:
    """report.json. sweep: the result of that step; warnings: about the data that all of it rests on."""
    return {
        "version": "factory_report_v1",
        "run_id": run.run_id,
        "generated_at_ms": run.started_at_ms,
        "sweep": dict(sweep),
        "warnings": list(warnings),
        "passed_over": list(passed_over),
        "items": list(items),
    }


def write_reports(run: RunFolder, report: Mapping[str, Any]) -> None:
    """The three files in reports/. OutputError."""
    texts = (
        ("report.json", pretty_json(report)),
        ("report.md", _overview(report)),
        ("validation_report.md", _validation(report)),
    )
    for name, text in texts:
        write_atomically(run.file("reports", name), text.encode())


def _overview(report: Mapping[str, Any]) -> str:
    sweep, items = report["sweep"], report["items"]
    lines = [
        f"# Run {report['run_id']}",
        "",
        f"{sweep['n_rows']} rows swept, {sweep['n_trials']} trials ever counted on this market. "
        f"{len(items)} candidates, {sum(not item['rejected'] for item in items)} not rejected.",
        "",
        "| config_id | from | score_v1 | PnL USD | trades | win rate | profit factor | drawdown | DSR | verdict |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    lines += [_row(item) for item in items]
    lines += [
        "",
        "score_v1 = median daily return out of sample - 2 x deepest drawdown there - 0.5 x slippage fragility - a "
        "penalty for fewer than 30 trades. DSR: the probability that the Sharpe ratio is above what luck makes of "
        f"{sweep['n_trials']} trials; below {SURVIVES_FRAC} the result does not survive.",
    ]
    if report["passed_over"]:
        lines += ["", "Passed over:", "", *(f"- {line}" for line in report["passed_over"])]
    if report["warnings"]:
        lines += ["", "Warnings:", "", *(f"- {line}" for line in report["warnings"])]
    return "\n".join([*lines, ""])


def _row(item: Mapping[str, Any]) -> str:
    verdict = "; ".join(item["reject_reasons"])
    cells = (
        f"`{item['config_id'][:12]}`",
        ", ".join(item["places"]),
        _shown(item["score_v1"], ".6f"),
        f"{item['total_pnl']:.2f}",
        str(item["total_trades"]),
        f"{item['win_rate'] * 100.0:.1f}%",
        _shown(item["profit_factor"], ".2f"),
        f"{item['max_drawdown_pct'] * 100.0:.2f}%",
        _shown(item["deflated_sharpe_ratio"], ".3f")
        + ("" if item["survives_trials"] else " (does not survive)"),
        f"rejected: {verdict}" if verdict else "kept",
    )
    return f"| {' | '.join(cells)} |"


def _shown(value: float | None, form: str) -> str:
    return "n/a" if value is None else format(value, form)


def _validation(report: Mapping[str, Any]) -> str:
    lines = [f"# Validation of run {report['run_id']}"]
    for item in report["items"]:
        lines += ["", f"## {item['config_id'][:12]}", "", *(f"- {line}" for line in _told(item))]
    if not report["items"]:
        lines += ["", "There was no candidate."]
    return "\n".join([*lines, ""])


def _told(item: Mapping[str, Any]) -> list[str]:
    lines = [
        f"replay: {item['total_trades']} trades, PnL ${item['total_pnl']:.2f}, drawdown "
        f"{item['max_drawdown_pct'] * 100.0:.2f}%, fees ${item['total_fees']:.2f}"
    ]
    parts = item["score_parts"]
    if parts is None:
        lines.append("score_v1: none, it takes walk-forward and slippage stress")
    else:
        lines.append(
            f"score_v1 {parts['score_v1']:.6f} = {parts['median_oos_daily_return']:.6f} - 2 x "
            f"{parts['max_oos_drawdown_frac']:.6f} - 0.5 x {parts['slippage_fragility']:.6f} - "
            f"{parts['trade_penalty']:.6f}"
        )
    dsr = item["deflated_sharpe_ratio"]
    told = f"cannot be told ({item['deflated_sharpe_reason']})" if dsr is None else f"{dsr:.3f}"
    lines.append(
        f"number of trials: DSR {told}, PSR {_shown(item['probabilistic_sharpe_ratio'], '.3f')}; "
        f"{'survives' if item['survives_trials'] else 'does not survive'}"
    )
    lines += [
        f"{name.replace('_', ' ')}: {in_words(name, item[name])}"
        for name in CHECKS
        if item[name] is not None
    ]
    lines += [f"loss: {one}" for one in item["losses"]]
    lines += [f"rejected: {reason}" for reason in item["reject_reasons"]]
    return lines
