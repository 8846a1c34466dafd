"""What the gates between paper and live say: promote, wait or roll back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

PROMOTE, WAIT, ROLL_BACK = "promote", "wait", "roll_back"
#: Gates that no later trade can pass again: a drawdown and a kill stay in the record, slippage in the file.
_FOR_GOOD: Final = ("max_drawdown_pct", "kill_events", "config_slippage_bps")


@dataclass(frozen=True, slots=True)
class Verdict:
    """what: PROMOTE, WAIT or ROLL_BACK. why: a sentence each."""

    what: str
    why: tuple[str, ...]


def verdict_of(report: Mapping[str, Any], max_hours: float) -> Verdict:
    """Of the report of a promotion that was not applied.

    All gates passed: promote. A trader that runs another file: wait, what it did says nothing. A gate failed for good:
    roll back at once. A profit factor below its gate: roll back once there are as many closed trades as the gate asks
    for, or `max_hours` since the deployment; hours alone promote, they do not condemn.
    """
    failed = {gate["name"]: gate["said"] for gate in report["gates"] if not gate["passed"]}
    if not failed:
        return Verdict(PROMOTE, ("all gates are passed",))
    if "trader_runs_it" in failed:
        return Verdict(WAIT, (failed["trader_runs_it"],))
    for_good = tuple(failed[name] for name in _FOR_GOOD if name in failed)
    if for_good:
        return Verdict(ROLL_BACK, for_good)
    metrics = report["metrics"]
    is_tried = metrics["closes"] >= report["thresholds"]["min_trades"]
    is_late = metrics["hours"] >= max_hours
    if "profit_factor" in failed and (is_tried or is_late):
        late = (f"{metrics['hours']:.2f} hours are over (at most {max_hours:g})",)
        return Verdict(ROLL_BACK, (failed["profit_factor"], *(() if is_tried else late)))
    return Verdict(WAIT, tuple(failed.values()))
