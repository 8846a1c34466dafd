"""One run of the factory, from candles to the paper trader, each step once."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from mei.metrics.overfitting import Trials
from mei.model.errors import MeiError
from mei.report.atomic import write_atomically
from mei.report.json_text import pretty_json
from mei.workflows.deployments.hands import Hands
from mei.workflows.deployments.records import compact_time
from mei.workflows.factory.deploying import deploy, ingest
from mei.workflows.factory.evidence import Bench, Subject, gather
from mei.workflows.factory.ground import Inputs, check_data, copy_inputs, find_terms
from mei.workflows.factory.notify import post
from mei.workflows.factory.preflight import check_files, check_flags
from mei.workflows.factory.report import item_of, report_object, write_reports
from mei.workflows.factory.request import FactoryRequest
from mei.workflows.factory.run_folder import RunFolder, opened
from mei.workflows.factory.selection import (
    NothingSelectedError,
    selection_object,
    tell_selection,
    write_selection,
)
from mei.workflows.factory.sweeping import candidates, sweep
from mei.workflows.strategy import Tell
from mei.workflows.sweep_spec import read_spec
from mei.workflows.validate.terms import Ground, LoadedOnce


def run_factory(request: FactoryRequest, hands: Hands) -> dict[str, Any]:
    """Do what is left of the run: sweep, validate, choose, deploy to paper; the choice, an item of selection.json.

    hands: clock, services and whom to tell. Raises MeiError; NothingSelectedError when no candidate may be chosen,
    after the reports are written.
    """
    check_flags(request, hands.environment)
    try:
        return _run(request, hands)
    except NothingSelectedError:
        raise
    except MeiError as error:
        if request.discord_target is not None:
            post(
                request.discord_target, f"{request.run_id or 'factory'} failed: {error}", hands.tell
            )
        raise


def _run(request: FactoryRequest, hands: Hands) -> dict[str, Any]:
    tell, now_ms = hands.tell, hands.now_ms
    if not request.resume:
        check_files(request)
    run_id = request.run_id or f"nightly_{compact_time(now_ms())}"
    with opened(
        request.artifacts_dir, run_id, request.core(), resume=request.resume, now_ms=now_ms
    ) as run:
        tell(f"[factory] Run {run_id} ({request.profile}) in {run.path}")
        about = run.once("metadata", lambda: _metadata(run, request))
        return _steps(run, replace(request, revision=about["git_head"]), hands)


def _steps(run: RunFolder, request: FactoryRequest, hands: Hands) -> dict[str, Any]:
    tell = hands.tell
    inputs = copy_inputs(run, request, tell)
    ground = find_terms(run, request, inputs, tell)
    checked = check_data(run, request, ground, tell)
    swept = sweep(run, request, inputs, ground, tell)
    found = candidates(run, request, inputs, tell)
    bench = _bench(run, request, inputs, ground, swept, tell)
    items = [_judged(bench, one, request) for one in found["candidates"]]
    warnings = [*checked.get("warnings", ()), *swept.get("warnings", ())]
    report = report_object(run, items, swept, found["passed_over"], warnings)
    run.once("report", lambda: write_reports(run, report))
    ingest(run, request, tell)
    selection = selection_object(run, report, request.size.n_candidates)
    run.once("selection", lambda: write_selection(run, selection))
    try:
        chosen = tell_selection(run, selection, tell)
    except NothingSelectedError as error:
        _notify(run, request, f"{error}", tell)
        raise
    deployed = deploy(run, request, chosen, hands)
    _notify(run, request, _outcome(run, chosen, deployed), tell)
    return chosen


def _outcome(run: RunFolder, chosen: dict[str, Any], deployed: dict[str, Any] | None) -> str:
    """What the webhook hears of a run that has chosen."""
    told = [
        f"{run.run_id}: {chosen['config_id'][:12]} chosen, PnL ${chosen['total_pnl']:.2f}",
        *chosen["losses"],
    ]
    if not chosen["survives_trials"]:
        told.append("does not survive its number of trials")
    if deployed is None:
        told.append("not deployed")
    elif deployed["dry_run"]:
        told.append("dry run, not deployed")
    else:
        told.append(f"deployed to paper, {deployed['yaml_path']}")
    return ", ".join(told)


def _metadata(run: RunFolder, request: FactoryRequest) -> dict[str, Any]:
    started = datetime.fromtimestamp(run.started_at_ms / 1000.0, UTC)
    about = {
        "version": "factory_run_v1",
        "run_id": run.run_id,
        "generated_at_ms": run.started_at_ms,
        "run_date_utc": f"{started:%Y-%m-%d}",
        "run_dir": str(run.path),
        "git_head": request.revision,
        "args": dict(run.core),
    }
    write_atomically(run.file("run_metadata.json"), pretty_json(about).encode())
    return {"git_head": request.revision}


def _bench(
    run: RunFolder,
    request: FactoryRequest,
    inputs: Inputs,
    ground: Ground,
    swept: dict[str, Any],
    tell: Tell,
) -> Bench:
    # Kept as null where it is not known.
    variance = swept["sharpe_variance"]
    return Bench(
        run=run,
        terms=ground.terms,
        checks=request.checks,
        symbol_sets=inputs.symbol_sets,
        lookback=read_spec(inputs.sweep_spec).lookback,
        seed=request.seed,
        trials=Trials(swept["n_trials"], math.nan if variance is None else variance),
        load=LoadedOnce(),
        tell=tell,
    )


def _judged(bench: Bench, candidate: dict[str, Any], request: FactoryRequest) -> dict[str, Any]:
    subject = Subject(candidate["config_id"], candidate["config"], candidate["row"])
    try:
        found = gather(bench, subject)
    except MeiError as error:
        error.args = (f"{bench.run.run_id}, candidate {subject.short}: {error}",)
        raise
    return item_of(
        candidate, found, require_dsr=request.require_dsr, require_profit=request.require_profit
    )


def _notify(run: RunFolder, request: FactoryRequest, text: str, tell: Tell) -> None:
    if request.discord_target is not None:
        target = request.discord_target
        step = "notify_deployed" if run.is_done("deploy") else "notify"
        run.once(step, lambda: {"is_told": post(target, text, tell)})
