"""The best of a sweep run again as replays: the same numbers, and curve, trades and what luck alone would have made."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mei.metrics.number import Number
from mei.metrics.overfitting import (
    Trials,
    deflated_sharpe_ratio,
    moments,
    probabilistic_sharpe_ratio,
)
from mei.metrics.replay import daily_returns, replay_numbers
from mei.model.errors import VerificationError
from mei.model.replay import ReplayResult
from mei.report.atomic import ensure_folder
from mei.report.folder_lock import alone_in
from mei.report.json_text import compact_json, pretty_json
from mei.report.replay_json import curve_rows, numbers_object, trade_rows
from mei.workflows.files import write_result
from mei.workflows.strategy import BacktestStrategy, Tell, report_object
from mei.workflows.sweep.merge import Ranking, SweptRow
from mei.workflows.sweep.plan import SweepPlan

#: A deflated Sharpe ratio from here on is commonly taken to survive the number of trials.
_SURVIVES_FRAC = 0.95


@dataclass(frozen=True, slots=True)
class Best:
    """One of the best rows, run again. psr, dsr: probabilities that its true daily Sharpe ratio is above 0, and above
    the best that luck alone would have made of all trials."""

    row: SweptRow
    strategy: BacktestStrategy
    result: ReplayResult
    psr: Number
    dsr: Number


def rerun_best(plan: SweepPlan, ranking: Ranking, n_best: int, trials: Trials) -> list[Best]:
    """The first rows of the ranking as replays. Raises VerificationError when one is not what its row says."""
    return [
        _rerun(plan, ranking.row(rank), trials) for rank in range(min(max(n_best, 0), len(ranking)))
    ]


def write_best(best: Sequence[Best], output: str, tell: Tell) -> None:
    """A report with curve and trades each, in a folder beside the output."""
    folder = best_folder(output)
    for old in folder.glob("[0-9]*_*.json"):
        old.unlink()
    if not best:
        return
    for rank, one in enumerate(best, start=1):
        path = folder / f"{rank:02d}_{one.row.config_id}.json"
        write_result(str(path), pretty_json(_report(one)))
    tell(f"[sweep] Curves and trades of the best {len(best)} in {folder}")


def write_about(output: str, about: Mapping[str, Any]) -> None:
    """What the sweep was of, in the same folder: market, settings, semantics, device, trials."""
    folder = best_folder(output)
    write_result(str(folder / "sweep.json"), pretty_json(about))


def best_folder(output: str) -> Path:
    """`sweep.jsonl.best` beside `sweep.jsonl`."""
    path = Path(output)
    return path.with_name(f"{path.name}.best")


@contextmanager
def only_writer(output: str) -> Iterator[None]:
    """Make the folder of the best and hold it while a sweep runs. ConflictError while another sweep does."""
    folder = best_folder(output)
    ensure_folder(folder)
    in_use = f"{output} must not be in use, another sweep is writing it: wait for that one, or name another --output"
    with alone_in(folder, in_use):
        yield


def best_lines(best: Sequence[Best], n_trials: int, n_own: int, counted: bool) -> list[str]:
    """How the best stand against the number of trials, a line each."""
    if not best:
        return []
    others = "in this sweep (no ledger counts others)"
    where = f"counted on this market so far, {n_own} of them here" if counted else others
    lines = [f"--- Does it survive {n_trials} trials, {where}? ---"]
    for rank, one in enumerate(best, start=1):
        lines.append(
            f"{rank:>5}  {one.row.config_id:>10}  PSR {_shown(one.psr)}  DSR {_shown(one.dsr)}  {_verdict(one.dsr)}"
        )
    return lines


def _verdict(dsr: Number) -> str:
    if dsr.value is None:
        return f"cannot be told: {dsr.reason}"
    if dsr.value >= _SURVIVES_FRAC:
        return f"survives (at least {_SURVIVES_FRAC})"
    return f"does not survive (below {_SURVIVES_FRAC}): luck alone could have made it"


def _shown(number: Number) -> str:
    return "  n/a" if number.value is None else f"{number.value:.3f}"


def _rerun(plan: SweepPlan, row: SweptRow, trials: Trials) -> Best:
    strategy, _ = plan.strategy.with_swept(row.overrides)
    result = strategy.run(plan.inputs)
    found = numbers_object(row.config_id, replay_numbers(result, strategy.reasons(result)))
    swept = numbers_object(row.config_id, row.numbers)
    for name, value in swept.items():
        if not _is_same(found[name], value):
            raise VerificationError(
                f"{row.config_id}: {name} of a sweep's row must be that of its replay, was {compact_json(value):.80}, "
                f"the replay gives {compact_json(found[name]):.80}: do not trust this sweep, please report it"
            )
    daily = moments(daily_returns(result.equity_ms, result.equity_usd))
    psr, dsr = probabilistic_sharpe_ratio(daily), deflated_sharpe_ratio(daily, trials)
    return Best(row, strategy, result, psr, dsr)


def _is_same(one: object, other: object) -> bool:
    """Equal to the last bit; a NaN equals a NaN and nothing else."""
    if isinstance(one, float) and isinstance(other, float):
        return struct.pack("<d", one) == struct.pack("<d", other) or (one != one and other != other)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_is_same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_is_same, one, other))
    return one == other


def _report(one: Best) -> dict[str, object]:
    strategy, result = one.strategy, one.result
    reasons = strategy.reasons(result)
    return report_object(strategy, result, one.row.numbers) | {
        "config_id": one.row.config_id,
        "overrides": one.row.overrides,
        "probabilistic_sharpe_ratio": one.psr.value,
        "deflated_sharpe_ratio": one.dsr.value,
        "equity_curve": curve_rows(result),
        "trades": trade_rows(result, reasons),
    }
