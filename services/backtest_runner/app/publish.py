"""From a run's folder to RESULTS_DIR: summary, report, hashes, copies. Everything is replaced atomically."""

from __future__ import annotations

import fcntl
import platform
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson

from mei.loop.outputs import DECISIONS_CSV, EQUITY_CSV, TRADES_CSV, TRAININGS_JSONL
from mei.model import faults
from mei.model.errors import VerificationError
from mei.report.atomic import copy_atomically
from mei.report.html import write_report
from mei.report.manifest import changed_outputs, output_hashes, read_json, write_json
from mei.report.summary import build_summary

RUN_JSON, SUMMARY_JSON, REPORT_HTML = "run.json", "summary.json", "report.html"
#: Copied to RESULTS_DIR at the end.
PUBLISHED = (EQUITY_CSV, TRADES_CSV, TRAININGS_JSONL, SUMMARY_JSON, REPORT_HTML, RUN_JSON)
_LIBRARIES = ("mei-backtester", "numpy", "numba", "hmmlearn", "scipy", "sqlalchemy")


def publish(
    folder: Path, results_dir: Path, run: Mapping[str, Any], *, n_refused_entries: int
) -> tuple[dict[str, Any], dict[str, str]]:
    """Write run.json, summary.json and report.html, copy all outputs; the summary, and name -> SHA-256."""
    versions = {"python": platform.python_version(), **{n: version(n) for n in _LIBRARIES}}
    write_json(folder / RUN_JSON, {**run, "versions": versions})
    settings = run["settings"]
    named = {"run_id": run["run_id"], "status": run["status"], "seed": settings["seed"]}
    summary = build_summary(
        folder / EQUITY_CSV,
        folder / TRADES_CSV,
        list(_trainings(folder)),
        settings,
        run=named,
        notes=_notes(run["data"], n_refused_entries),
    )
    write_json(folder / SUMMARY_JSON, summary)
    write_report(folder / REPORT_HTML, summary, folder / EQUITY_CSV, folder / TRADES_CSV)
    names = (*PUBLISHED, DECISIONS_CSV) if settings["decision_log"] else PUBLISHED
    hashes = output_hashes(folder, names)
    _copy(folder, results_dir, hashes)
    return summary, hashes


def verify_outputs(folder: Path, results_dir: Path, hashes: Mapping[str, str]) -> dict[str, Any]:
    """The summary of a finished run whose outputs are what they were; copies that went missing are put back.

    Raises VerificationError when a file of the run was changed or is gone.
    """
    changed = changed_outputs(folder, hashes)
    if changed:
        raise VerificationError(
            f"the outputs of a finished run must be what they were, {', '.join(changed)} in {folder} "
            "changed or went missing: restore them, or run again with RERUN=1"
        )
    if changed_outputs(results_dir, hashes):
        _copy(folder, results_dir, hashes)
    summary = read_json(folder / SUMMARY_JSON)
    assert summary is not None, "its hash was just verified"
    return summary


def _copy(folder: Path, results_dir: Path, names: Iterable[str]) -> None:
    """Copy `names`, run.json last, since it tells what the others belong to; what an earlier run left goes.

    One run at a time: two that finish together do not mix.
    """
    wanted = sorted(names, key=lambda name: (name == RUN_JSON, name))
    with (results_dir / "runs" / ".publish.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name in wanted:
            faults.hit(f"runner.publish_{name.partition('.')[0]}.before_rename")
            copy_atomically(folder / name, results_dir / name)
            faults.hit(f"runner.publish_{name.partition('.')[0]}.after_rename")
        for name in {*PUBLISHED, DECISIONS_CSV} - set(wanted):
            (results_dir / name).unlink(missing_ok=True)


def _trainings(folder: Path) -> Iterator[dict[str, Any]]:
    with (folder / TRAININGS_JSONL).open("rb") as lines:
        next(lines)
        for line in lines:
            yield orjson.loads(line)


def _notes(data: Mapping[str, Mapping[str, Any]], n_refused_entries: int) -> list[str]:
    notes = []
    if n_refused_entries:
        notes.append(f"{n_refused_entries} entries refused: the account's equity was not positive")
    for symbol, scan in data.items():
        if scan["n_gaps"]:
            notes.append(f"{symbol}: {scan['n_gaps']} gaps, {scan['n_missing']} bars missing")
        notes += [f"{symbol}: {n} rows dropped ({why})" for why, n in scan["dropped"].items()]
    return notes
