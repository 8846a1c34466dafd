"""Looking at what paper made of a deployment: promote it, roll it back, or wait."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from mei.data.trading_db import PAPER_DB
from mei.model.errors import ConfigError, ConflictError, DataError, NotFoundError
from mei.report.atomic import write_atomically
from mei.report.json_text import pretty_json
from mei.workflows.deploy.yaml_deploy import real_path
from mei.workflows.deployments.hands import Hands
from mei.workflows.deployments.live_file import require_own_file
from mei.workflows.deployments.promote import PromoteRequest, promote
from mei.workflows.deployments.promotion_gates import Thresholds
from mei.workflows.deployments.records import (
    DEPLOY_EVENT,
    PROMOTION_EVENT,
    ROLLBACK_EVENT,
    Recorded,
    live_folder,
    paper_folder,
    recorded,
    rollback_folder,
)
from mei.workflows.deployments.restarting import RestartAsked
from mei.workflows.deployments.rollback import RollbackRequest, rollback
from mei.workflows.deployments.strategy_text import strategy_in_use
from mei.workflows.factory.catching_up import settled_record
from mei.workflows.factory.run_folder import RunFolder, all_runs, held
from mei.workflows.factory.verdict import PROMOTE, ROLL_BACK, verdict_of

#: What a look came to. READY: all gates passed, and no live file was named.
PROMOTED, ROLLED_BACK, READY, WAITING = "promoted", "rolled_back", "ready", "waiting"
_FINAL: Final = (PROMOTED, ROLLED_BACK)
#: What a later look may not meet any more.
_PASSING: Final = (ConflictError, DataError, NotFoundError)


@dataclass(frozen=True, slots=True)
class WatchRequest:
    """What the command line asks for.

    live_yaml_path None = nothing is promoted, only said to be ready. yaml_path None = where the deployment says that
    paper's file is. max_hours: since the deployment, after which a profit factor that is too low is rolled back with
    however few trades. every_s: look again until there is a final verdict; None = look once. restart: of the paper
    trader after a rollback.
    """

    artifacts_dir: str = "artifacts"
    paper_db: str = PAPER_DB
    registry_db: str | None = None
    yaml_path: str | None = None
    live_yaml_path: str | None = None
    thresholds: Thresholds = field(default_factory=Thresholds)
    max_hours: float = 168.0
    every_s: float | None = None
    restart: RestartAsked = field(default_factory=RestartAsked)
    dry_run: bool = False


def watch(request: WatchRequest, hands: Hands) -> dict[str, Any]:
    """Look, act, look again if that is asked for; the last look as JSON, which its run keeps as watch.json.

    Raises MeiError; after a kill the next look settles what was begun. With `every_s` what may pass by itself (another
    deployment under way, a database that is not there yet) is told, and looked at again.
    """
    request.restart.check(hands.environment)
    request.thresholds.check()
    if not request.max_hours >= request.thresholds.min_hours:
        raise ConfigError(
            f"--max-hours must be at least --min-hours, {request.thresholds.min_hours:g}, was {request.max_hours:g}"
        )
    while True:
        try:
            found = _look(request, hands)
        except _PASSING as error:
            if request.every_s is None or request.dry_run:
                raise
            hands.tell(f"[factory] {error}: looking again in {request.every_s:g} s")
        else:
            if request.every_s is None or found["verdict"] != WAITING or request.dry_run:
                return found
        hands.sleep(request.every_s)


def _look(request: WatchRequest, hands: Hands) -> dict[str, Any]:
    deployment, yaml_path = _on_watch(request, hands)
    found: dict[str, Any] = {
        "version": "factory_watch_v1",
        "looked_at_ms": hands.now_ms(),
        "config_id": deployment.config_id,
        "deployment": str(deployment.folder),
        "dry_run": request.dry_run,
    }
    found |= _known(request, deployment, yaml_path, hands) or _judged(request, yaml_path, hands)
    hands.tell(
        f"[factory] {deployment.config_id[:12]}: {found['verdict']}: {'; '.join(found['why'])}"
    )
    if not request.dry_run:
        _keep(request, deployment, found, hands)
    return found


def _on_watch(request: WatchRequest, hands: Hands) -> tuple[Recorded, Path]:
    """The newest deployment to paper, settled, and paper's strategy file."""
    parent = paper_folder(request.artifacts_dir)
    yaml_path = None if request.yaml_path is None else real_path(request.yaml_path)
    newest = next(iter(recorded(parent, DEPLOY_EVENT)), None)
    if yaml_path is None and newest is not None:
        yaml_path = real_path(str(newest.what.get("yaml_path") or ""))
    if yaml_path is not None:
        newest = _record(request, parent, DEPLOY_EVENT, yaml_path, hands, lambda one: True)
    if newest is None or yaml_path is None:
        raise NotFoundError(
            f"{parent} must hold a deployment to paper, holds none: factory run makes one"
        )
    if request.live_yaml_path is not None:
        papers = (yaml_path, newest.what.get("yaml_path"))
        require_own_file(real_path(request.live_yaml_path), papers, "give live a file of its own")
    return newest, yaml_path


def _known(
    request: WatchRequest, deployment: Recorded, yaml_path: Path, hands: Hands
) -> dict[str, Any] | None:
    """The verdict that an earlier look came to, its leftovers settled; None when there is none."""
    name = deployment.folder.name
    if request.live_yaml_path is not None:
        promoted = _record(
            request,
            live_folder(request.artifacts_dir),
            PROMOTION_EVENT,
            real_path(request.live_yaml_path),
            hands,
            lambda one: _name(_of(one, "why", "paper_deployment")) == name,
        )
        if promoted is not None:
            return _said(PROMOTED, f"recorded in {promoted.folder}", str(promoted.folder))
    undone = _record(
        request,
        rollback_folder(request.artifacts_dir),
        ROLLBACK_EVENT,
        yaml_path,
        hands,
        lambda one: _name(_of(one, "what", "undone_deployment")) == name,
    )
    if undone is not None:
        return _said(ROLLED_BACK, f"recorded in {undone.folder}", str(undone.folder))
    current = strategy_in_use(yaml_path)
    if current is None or current.config_id != deployment.config_id:
        return _said(
            WAITING,
            f"{yaml_path} is not the file that was deployed: it was replaced by other means, nothing is judged",
        )
    return None


def _judged(request: WatchRequest, yaml_path: Path, hands: Hands) -> dict[str, Any]:
    """What the gates say, and what was done about it."""
    asked = PromoteRequest(
        artifacts_dir=request.artifacts_dir,
        paper_db=request.paper_db,
        registry_db=request.registry_db,
        live_yaml_path=request.live_yaml_path,
        yaml_path=str(yaml_path),
        thresholds=request.thresholds,
    )
    report = promote(asked, hands).report
    verdict = verdict_of(report, request.max_hours)
    found: dict[str, Any] = {"why": list(verdict.why), "record": None, "promotion": report}
    if verdict.what == PROMOTE:
        if request.live_yaml_path is None or request.dry_run:
            return found | {"verdict": READY}
        done = promote(replace(asked, apply=True), hands)
        if done.folder is None:
            return found | {"verdict": WAITING, "why": ["the gates are not passed any more"]}
        return found | {"verdict": PROMOTED, "record": str(done.folder), "promotion": done.report}
    if verdict.what != ROLL_BACK:
        return found | {"verdict": WAITING}
    undone = rollback(
        RollbackRequest(
            artifacts_dir=request.artifacts_dir,
            yaml_path=str(yaml_path),
            reason=f"factory watch: {'; '.join(verdict.why)}",
            restart=request.restart,
            dry_run=request.dry_run,
        ),
        hands,
    )
    record = None if undone.folder is None else str(undone.folder)
    return found | {"verdict": ROLLED_BACK, "record": record}


def _record(
    request: WatchRequest,
    parent: Path,
    event_name: str,
    yaml_path: Path,
    hands: Hands,
    is_ours: Callable[[Recorded], bool],
) -> Recorded | None:
    """The newest record that is `is_ours`; unless this is a dry run, after what was cut short is settled."""
    if request.dry_run:
        return next((one for one in recorded(parent, event_name) if is_ours(one)), None)
    restart = None if event_name == PROMOTION_EVENT else request.restart
    return settled_record(parent, event_name, yaml_path, restart, hands, is_ours)


def _said(verdict: str, why: str, record: str | None = None) -> dict[str, Any]:
    return {"verdict": verdict, "why": [why], "record": record, "promotion": None}


def _name(path: Any) -> str:
    """Of a folder, wherever it was written from."""
    return Path(str(path)).name


def _of(one: Recorded, part: str, name: str) -> Any:
    node = one.event.get(part)
    return node.get(name) if isinstance(node, Mapping) else None


def _keep(request: WatchRequest, deployment: Recorded, found: dict[str, Any], hands: Hands) -> None:
    """Write the look into the folder of the run that made the deployment, and a final verdict into its state."""
    path = _run_of(request.artifacts_dir, deployment, hands)
    if path is None:
        return
    with held(path):
        run = RunFolder.read(path, hands.now_ms)
        if run.is_done("watch"):
            return
        whole = {**found, "run_id": run.run_id}
        write_atomically(run.file("watch.json"), pretty_json(whole).encode())
        if found["verdict"] in _FINAL:
            run.once("watch", lambda: {name: found[name] for name in ("verdict", "why", "record")})


def _run_of(artifacts_dir: str, deployment: Recorded, hands: Hands) -> Path | None:
    """The folder of the run that made a deployment; None for one that was made by hand."""
    for run in all_runs(artifacts_dir, hands.now_ms, hands.tell)[::-1]:
        if (
            run.is_done("deploy")
            and _name(run.result("deploy")["folder"]) == deployment.folder.name
        ):
            return run.path
    return None
