"""Which candidate goes to the paper trader, written down with what it was chosen from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mei.model.errors import MeiError
from mei.report.atomic import write_atomically
from mei.report.json_text import pretty_json
from mei.workflows.deploy.demands import ENOUGH_TRADES
from mei.workflows.factory.run_folder import RunFolder
from mei.workflows.factory.scoring import ranking, selected_by
from mei.workflows.strategy import Tell

_VERSION = "factory_cycle_selection_v1"
#: Of an item, what the selection repeats.
_TOLD = (
    "config_id",
    "config_path",
    "places",
    "score_v1",
    "total_pnl",
    "total_trades",
    "max_drawdown_pct",
    "deflated_sharpe_ratio",
    "survives_trials",
    "losses",
)


class NothingSelectedError(MeiError):
    """Every candidate was rejected, or there was none. The run is complete."""

    exit_code = 2
    code = "nothing_selected"


def selection_object(
    run: RunFolder, report: Mapping[str, Any], n_candidates: int
) -> dict[str, Any]:
    """selection.json: the choice or None, the first `n_candidates` of the ranking, and who was rejected why."""
    items = report["items"]
    ranked = [{name: item[name] for name in _TOLD} for item in ranking(items)]
    return {
        "version": _VERSION,
        "run_id": run.run_id,
        "selected_at_ms": run.started_at_ms,
        "selected_by": selected_by(items) if ranked else None,
        "selected": ranked[0] if ranked else None,
        "n_candidates": len(items),
        "n_trials": report["sweep"]["n_trials"],
        "warnings": report["warnings"],
        "candidates": ranked[:n_candidates],
        "rejected": [
            {"config_id": item["config_id"], "reject_reasons": item["reject_reasons"]}
            for item in items
            if item["rejected"]
        ],
        "passed_over": report["passed_over"],
    }


def write_selection(run: RunFolder, selection: Mapping[str, Any]) -> dict[str, Any] | None:
    """reports/selection.json; the choice. OutputError."""
    write_atomically(run.file("reports/selection.json"), pretty_json(selection).encode())
    found: dict[str, Any] | None = selection["selected"]
    return found


def tell_selection(run: RunFolder, selection: Mapping[str, Any], tell: Tell) -> dict[str, Any]:
    """Say what was chosen, and loudly when luck alone could have made it; the choice.

    Raises NothingSelectedError, with the reasons, when there is none.
    """
    found: dict[str, Any] | None = selection["selected"]
    if found is None:
        reasons = [
            f"{one['config_id'][:12]}: {'; '.join(one['reject_reasons'])}"
            for one in selection["rejected"]
        ] + list(selection["passed_over"])
        for reason in reasons:
            tell(f"[factory] {reason}")
        raise NothingSelectedError(
            f"{run.run_id}: a candidate must be left to choose, none of {selection['n_candidates']} is "
            f"({reasons[0] if reasons else 'the sweep gave none'}): see {run.path / 'reports/report.md'}"
        )
    short, score = found["config_id"][:12], found["score_v1"]
    told = "no score_v1" if score is None else f"score_v1 {score:.6f}"
    tell(
        f"[factory] Selected {short} ({', '.join(found['places'])}) by "
        f"{selection['selected_by']}: {told}, PnL ${found['total_pnl']:.2f}, {found['total_trades']} trades"
    )
    warnings = selection["warnings"]
    if warnings:
        tell(
            f"[factory] WARNING: {len(warnings)} warnings about the data ({warnings[0]}): see "
            "reports/report.md"
        )
    if found["total_trades"] < ENOUGH_TRADES:
        tell(
            f"[factory] WARNING: {short}: {found['total_trades']} trades are few, below {ENOUGH_TRADES} a result is "
            "hardly told from luck: --min-trades passes such rows over"
        )
    for loss in found["losses"]:
        tell(f"[factory] WARNING: {short}: {loss.upper()}: --require-profit rejects such a choice")
    if not found["survives_trials"]:
        dsr = found["deflated_sharpe_ratio"]
        tell(
            f"[factory] WARNING: {short} DOES NOT SURVIVE {selection['n_trials']} TRIALS (DSR "
            f"{'n/a' if dsr is None else format(dsr, '.3f')}): luck alone could have made it; --require-dsr rejects "
            "such a choice"
        )
    return found
