"""How far runs have come, in lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mei.model.errors import NotFoundError
from mei.workflows.factory.run_folder import (
    STATE,
    RunFolder,
    all_runs,
    check_run_id,
    known_runs,
    runs_folder,
)
from mei.workflows.strategy import Tell
from mei.workflows.window import iso_ms


def find_run(artifacts_dir: str, run_id: str) -> Path:
    """Its folder. NotFoundError for a run that was never begun."""
    check_run_id(run_id)
    path = runs_folder(artifacts_dir) / run_id
    if not (path / STATE).is_file():
        raise NotFoundError(
            f"--run-id must be a run that was begun, {path} is none; there are {known_runs(artifacts_dir)}"
        )
    return path


def status_lines(artifacts_dir: str, run_id: str | None, tell: Tell) -> list[str]:
    """Of one run its steps, one a line; without a run_id one line for each run, the oldest first.

    `tell` hears of runs that cannot be read; DataError where the one that was asked for cannot.
    """
    if run_id is not None:
        run = RunFolder.read(find_run(artifacts_dir, run_id), _no_clock)
        return [_head(run), *(f"  {iso_ms(one['at_ms'])}  {one['step']}" for one in run.steps())]
    return [_head(run) for run in all_runs(artifacts_dir, _no_clock, tell)]


def _head(run: RunFolder) -> str:
    return f"{run.run_id}  {iso_ms(run.started_at_ms)}  {run.core.get('profile')}  {_outcome(run)}"


def _outcome(run: RunFolder) -> str:
    """What became of the run so far."""
    if run.is_done("watch"):
        return str(run.result("watch")["verdict"])
    if run.is_done("deploy"):
        return f"deployed {_short(run.result('deploy'))}"
    if run.is_done("selection"):
        selected = run.result("selection")
        return "nothing selected" if selected is None else f"selected {_short(selected)}"
    steps = run.steps()
    return f"unfinished after {steps[-1]['step'] if steps else 'its start'}, go on with --resume"


def _short(found: dict[str, Any]) -> str:
    return str(found["config_id"])[:12]


def _no_clock() -> int:
    """Reading stamps nothing."""
    return 0
