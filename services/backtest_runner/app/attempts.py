"""Attempts at a run: which one to start, resume or leave alone, one runner at a time, and how it ended."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mei.ledger.database import Ledger
from mei.ledger.runs import RunRow, fail_run, find_run, finish_run, start_run
from mei.loop.checkpoint import LedgerCheckpoints
from mei.loop.identity import canonical_json, settings_dict
from mei.model.errors import OutputError
from services.backtest_runner.app.prepare import Plan


@dataclass(frozen=True, slots=True)
class Attempt:
    """A row of the ledger and the folder of its outputs. `saved`: its newest checkpoint, None before the first."""

    row: RunRow
    folder: Path
    saved: dict[str, Any] | None
    is_new: bool

    @property
    def is_finished(self) -> bool:
        """Whether it ended with its outputs published."""
        return self.row.status == "finished"


@contextmanager
def only_runner(results_dir: Path, run_id: str) -> Iterator[None]:
    """One runner a run: the lock falls with its process, however that ends."""
    folder = results_dir / "runs"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f".{run_id}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise OutputError(
                f"a run must have one runner, another process works on run {run_id} in {folder}: "
                "wait for it or stop it"
            ) from error
        yield


def choose_attempt(
    ledger: Ledger, plan: Plan, results_dir: Path, *, rerun: bool, now_ms: int
) -> Attempt:
    """The attempt to work on (to be called under `only_runner`).

    The newest one is resumed if it is not finished. With `rerun`, one that is finished, or whose files are gone, is
    followed by another. Raises OutputError when it can be neither resumed nor followed.
    """
    with ledger.reader() as connection:
        row = find_run(connection, plan.run_id)
    if row is None:
        return _start(ledger, plan, results_dir, 1, now_ms)
    known = Attempt(
        row, _folder(results_dir, row), LedgerCheckpoints(ledger, row.stream).load(), False
    )
    if known.is_finished:
        return _start(ledger, plan, results_dir, row.attempt + 1, now_ms) if rerun else known
    lost = _lost_outputs(known)
    if lost is None:
        known.folder.mkdir(parents=True, exist_ok=True)
        return known
    if not rerun:
        raise OutputError(
            f"an unfinished run must find its files as its checkpoint left them, {lost}: put them back, or give up "
            "this attempt and start another with RERUN=1"
        )
    end_in_failure(ledger, known, lost, now_ms)
    return _start(ledger, plan, results_dir, row.attempt + 1, now_ms)


def end_in_failure(ledger: Ledger, attempt: Attempt, reason: str, now_ms: int) -> None:
    """Record why the attempt ended. It stays resumable: the same command takes it up at its checkpoint."""
    with ledger.unit_of_work() as unit:
        fail_run(unit.connection, attempt.row.stream, canonical_json({"reason": reason}), now_ms)
        unit.commit("fail_run")


def end_in_success(
    ledger: Ledger, attempt: Attempt, output_sha256: dict[str, str], now_ms: int
) -> None:
    """Record that the attempt is complete, and the hashes of its outputs."""
    with ledger.unit_of_work() as unit:
        finish_run(unit.connection, attempt.row.stream, canonical_json(output_sha256), now_ms)
        unit.commit("finish_run")


def _start(ledger: Ledger, plan: Plan, results_dir: Path, number: int, now_ms: int) -> Attempt:
    suffix = "" if number == 1 else f"/{number}"
    scans = plan.candles.scans
    row = RunRow(
        run_id=plan.run_id,
        attempt=number,
        stream=f"backtest/{plan.run_id}{suffix}",
        status="running",
        settings_json=canonical_json(settings_dict(plan.candles.loop)),
        data_json=canonical_json({symbol: scan.sha256 for symbol, scan in scans.items()}),
        outputs_json="{}",
        created_at_ms=now_ms,
        finished_at_ms=None,
    )
    folder = _folder(results_dir, row)
    folder.mkdir(parents=True, exist_ok=True)
    with ledger.unit_of_work() as unit:
        start_run(unit.connection, row)
        unit.commit("start_run")
    return Attempt(row, folder, None, True)


def _folder(results_dir: Path, row: RunRow) -> Path:
    name = row.run_id if row.attempt == 1 else f"{row.run_id}.{row.attempt}"
    return results_dir / "runs" / name


def _lost_outputs(attempt: Attempt) -> str | None:
    """What is missing of the outputs the checkpoint counts on, None if nothing is."""
    if attempt.saved is None:
        return None
    for name, size in attempt.saved["offsets"].items():
        path = attempt.folder / name
        found = path.stat().st_size if path.is_file() else None
        if found is None or found < size:
            return f"{path} holds {'nothing' if found is None else found} of {size} bytes"
    return None
