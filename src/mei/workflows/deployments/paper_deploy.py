"""A strategy file of the registry to the paper trader: checked, recorded, replaced as a whole, the trader restarted.

The new file is the point of no return. Killed before it, nothing was deployed; killed after it, the next deployment
completes the record and says that the restart is not certain.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mei.data.trading_db import stamp_text
from mei.model import faults
from mei.report.atomic import write_atomically
from mei.workflows.deploy.yaml_deploy import (
    Deployment,
    deploying,
    interrupted,
    real_path,
)
from mei.workflows.deployments.hands import Hands
from mei.workflows.deployments.live_file import is_live_file, tell_live
from mei.workflows.deployments.records import (
    DEPLOY_EVENT,
    DEPLOYED,
    PREVIOUS,
    compact_time,
    folder_name,
    new_folder,
    paper_folder,
    remove_empty,
    write_event,
)
from mei.workflows.deployments.replacing import RecordNames, replace_and_record
from mei.workflows.deployments.restarting import (
    RestartAsked,
    close_interrupted,
    restart_and_record,
)
from mei.workflows.deployments.run_ingest import registry_path
from mei.workflows.deployments.strategy_text import (
    StrategyText,
    needs_restart,
    registered,
    require_deployable,
    require_runnable,
    strategy_in_use,
)

TOOL: Final = "paper_deploy"
DEFAULT_YAML: Final = "config/strategy_overrides.yaml"


@dataclass(frozen=True, slots=True)
class PaperDeployRequest:
    """What the command line asks for.

    config_id: of the registry; registry_db None = under artifacts_dir; out_dir None = deployments/paper there.
    validate: refuse a file that `deploy_validate` refuses; what a strict run refuses is refused in any case.
    """

    config_id: str
    artifacts_dir: str = "artifacts"
    registry_db: str | None = None
    yaml_path: str = DEFAULT_YAML
    out_dir: str | None = None
    reason: str = ""
    restart: RestartAsked = field(default_factory=RestartAsked)
    dry_run: bool = False
    validate: bool = True


def deploy_to_paper(request: PaperDeployRequest, hands: Hands) -> Path:
    """Deploy; the folder with deployed_config.yaml, prev_config.yaml (if there was a file) and deploy_event.json.

    A dry run writes the folder alone. Raises MeiError before anything is changed, or with what was changed put back;
    NotRestartedError when all is deployed and recorded, but the trader was not restarted.
    """
    request.restart.check(hands.environment)
    registry = registry_path(request.artifacts_dir, request.registry_db)
    chosen = registered(registry, request.config_id)
    require_runnable(chosen)
    if request.validate:
        require_deployable(chosen)
    yaml_path = real_path(request.yaml_path)
    if is_live_file(yaml_path, request.artifacts_dir, hands):
        tell_live(yaml_path, hands)
    parent = Path(request.out_dir) if request.out_dir else paper_folder(request.artifacts_dir)
    if request.dry_run:
        return _dry_run(request, hands, chosen, yaml_path, parent)
    with deploying(yaml_path, tool=TOOL, tell=hands.tell) as deployment:
        is_due = after_settling(deployment, parent, DEPLOY_EVENT, hands)
        before = strategy_in_use(yaml_path)
        at_ms = hands.now_ms()
        event = _event(request, hands, (before, chosen), yaml_path, at_ms, is_due=is_due)
        folder = new_folder(parent, folder_name(at_ms, chosen.config_id or ""))
        faults.hit("deployments.folder.made")
        names = RecordNames(DEPLOYED, PREVIOUS, DEPLOY_EVENT)
        replace_and_record(deployment, (before, chosen), folder, names, event, lambda: at_ms, hands)
        hands.tell(f"{yaml_path} is now {request.config_id[:12]}, recorded in {folder}")
        restart_and_record(request.restart, folder, DEPLOY_EVENT, event, hands, deployment.journal)
    return folder


def after_settling(deployment: Deployment, parent: Path, event_name: str, hands: Hands) -> bool:
    """Put right what an interrupted deployment left under `parent`; whether the trader must be restarted for it."""
    settled = deployment.settled
    removed = remove_empty(parent)
    if settled is None:
        for name in removed:
            hands.tell(
                f"an earlier deployment was interrupted before it had begun ({name}): nothing was changed"
            )
    close_interrupted(parent, event_name, deployment.journal.yaml_path)
    return settled is not None and settled.wants_restart


def _dry_run(
    request: PaperDeployRequest, hands: Hands, chosen: StrategyText, yaml_path: Path, parent: Path
) -> Path:
    found = interrupted(yaml_path)
    for line in () if found is None else found.lines:
        hands.tell(f"the next deployment will settle this first: {line}")
    before = strategy_in_use(yaml_path)
    at_ms = hands.now_ms()
    event = _event(request, hands, (before, chosen), yaml_path, at_ms, is_due=False)
    folder = new_folder(parent, folder_name(at_ms, chosen.config_id or ""))
    write_atomically(folder / DEPLOYED, chosen.text.encode())
    if before is not None:
        write_atomically(folder / PREVIOUS, before.text.encode())
    write_event(folder, DEPLOY_EVENT, event)
    hands.tell(f"dry run: {yaml_path} stays as it is; what would be done is in {folder}")
    return folder


def _event(
    request: PaperDeployRequest,
    hands: Hands,
    files: tuple[StrategyText | None, StrategyText],
    yaml_path: Path,
    at_ms: int,
    *,
    is_due: bool,
) -> dict[str, Any]:
    before, chosen = files
    is_required = needs_restart(before, chosen) or is_due
    status = request.restart.status(is_required=is_required, dry_run=request.dry_run)
    return {
        "version": "deploy_event_v1",
        "ts_utc": stamp_text(at_ms),
        "ts_compact_utc": compact_time(at_ms),
        "who": {"user": hands.user, "hostname": hands.hostname},
        "what": {
            "mode": "paper",
            "config_id": chosen.config_id,
            "registry_db": str(registry_path(request.artifacts_dir, request.registry_db)),
            "yaml_path": str(yaml_path),
            "prev_yaml_sha256": None if before is None else before.sha256,
            "next_yaml_sha256": chosen.sha256,
            "prev_engine_interval": None if before is None else before.main_interval,
            "next_engine_interval": chosen.main_interval,
            "restart_required": is_required,
            "validated": request.validate,
        },
        "why": {"reason": request.reason},
        "dry_run": request.dry_run,
        "restart": request.restart.part(status, hands.environment),
    }
