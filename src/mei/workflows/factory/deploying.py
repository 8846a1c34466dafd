"""The choice of a run on its way to the registry and to the paper trader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mei.data.registry_db import mark_deployed
from mei.workflows.deploy.yaml_deploy import real_path
from mei.workflows.deployments.hands import Hands
from mei.workflows.deployments.paper_deploy import PaperDeployRequest, deploy_to_paper
from mei.workflows.deployments.records import DEPLOY_EVENT, Recorded, paper_folder
from mei.workflows.deployments.restarting import RestartAsked
from mei.workflows.deployments.run_ingest import ingest_run_dir, registry_path
from mei.workflows.factory.catching_up import settled_record
from mei.workflows.factory.request import DeployAsked, FactoryRequest
from mei.workflows.factory.run_folder import RunFolder
from mei.workflows.strategy import Tell


def ingest(run: RunFolder, request: FactoryRequest, tell: Tell) -> None:
    """Put the run and its candidates' files into the registry. Raises MeiError."""

    def work() -> dict[str, Any]:
        registry = registry_path(request.artifacts_dir, request.registry_db)
        found = ingest_run_dir(run.path, registry, run.now_ms())
        tell(f"[factory] {found.n_results} results of {found.run_id} are in {registry}")
        return {"registry_db": str(registry), "n_results": found.n_results}

    run.once("ingest", work)


def restart_asked(asked: DeployAsked) -> RestartAsked:
    """The part of the flags about restarting."""
    return RestartAsked(
        mode=asked.restart,
        service=asked.service,
        ws_service=asked.ws_service,
        pause_file=asked.pause_file,
        pause_mode=asked.pause_mode,
        leave_paused=asked.leave_paused,
        verify_sleep_s=asked.verify_sleep_s,
    )


def deploy(
    run: RunFolder, request: FactoryRequest, chosen: dict[str, Any], hands: Hands
) -> dict[str, Any] | None:
    """Give the choice to the paper trader, once, however often the run was cut short; where that is recorded.

    None when it is not asked for. Raises MeiError; NotRestartedError when the file is deployed but the trader was not
    restarted: the run goes on with that when it is resumed.
    """
    asked = request.deploy
    if asked is None:
        hands.tell("[factory] The paper trader is left alone (--no-deploy)")
        return None
    if asked.dry_run:
        # A step of its own: the run can still go on to the deployment itself.
        tried: dict[str, Any] = run.once(
            "deploy_dry_run",
            lambda: _deployed(run, request, asked, chosen["config_id"], hands, False),
        )
        return tried
    is_second_try = run.is_done("deploy_begun")
    run.once("deploy_begun", lambda: {"config_id": chosen["config_id"]})
    found: dict[str, Any] = run.once(
        "deploy", lambda: _deployed(run, request, asked, chosen["config_id"], hands, is_second_try)
    )
    return found


def _deployed(
    run: RunFolder,
    request: FactoryRequest,
    asked: DeployAsked,
    config_id: str,
    hands: Hands,
    is_second_try: bool,
) -> dict[str, Any]:
    registry = registry_path(request.artifacts_dir, request.registry_db)
    reason = f"{asked.reason or 'chosen by the factory'} (run {run.run_id})"
    folder = None
    if is_second_try:
        folder = _completed(request.artifacts_dir, asked, config_id, reason, hands)
    if folder is None:
        folder = deploy_to_paper(
            PaperDeployRequest(
                config_id=config_id,
                artifacts_dir=request.artifacts_dir,
                registry_db=str(registry),
                yaml_path=asked.yaml_path,
                reason=reason,
                restart=restart_asked(asked),
                dry_run=asked.dry_run,
                validate=asked.validate,
            ),
            hands,
        )
    if not asked.dry_run:
        mark_deployed(registry, run.run_id, config_id)
    return {
        "config_id": config_id,
        "folder": str(folder),
        "yaml_path": asked.yaml_path,
        "reason": reason,
        "dry_run": asked.dry_run,
    }


def _completed(
    artifacts_dir: str, asked: DeployAsked, config_id: str, reason: str, hands: Hands
) -> Path | None:
    """The record of the deployment that an earlier life of the run made, its restart caught up on; None for none."""

    def is_ours(one: Recorded) -> bool:
        return one.config_id == config_id and reason_of(one) == reason

    found = settled_record(
        paper_folder(artifacts_dir),
        DEPLOY_EVENT,
        real_path(asked.yaml_path),
        restart_asked(asked),
        hands,
        is_ours,
    )
    if found is None:
        return None
    hands.tell(f"[factory] {config_id[:12]} was deployed already, recorded in {found.folder}")
    return found.folder


def reason_of(one: Recorded) -> str:
    """Why it was deployed; empty where the record does not say."""
    why = one.event.get("why")
    return str(why.get("reason") or "") if isinstance(why, dict) else ""
