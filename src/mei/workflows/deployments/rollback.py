"""The paper trader back to a strategy file it had before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mei.data.trading_db import stamp_text
from mei.model.errors import ConfigError, MeiError, NotFoundError
from mei.workflows.deploy.yaml_deploy import (
    deploying,
    interrupted,
    real_path,
)
from mei.workflows.deployments.hands import Hands
from mei.workflows.deployments.live_file import is_live_file, is_same_file, tell_live
from mei.workflows.deployments.paper_deploy import DEFAULT_YAML, after_settling
from mei.workflows.deployments.records import (
    DEPLOY_EVENT,
    DEPLOYED,
    PREVIOUS,
    ROLLBACK_EVENT,
    Recorded,
    compact_time,
    new_folder,
    paper_folder,
    recorded,
    rollback_folder,
)
from mei.workflows.deployments.replacing import RecordNames, replace_and_record
from mei.workflows.deployments.restarting import RestartAsked, restart_and_record
from mei.workflows.deployments.strategy_text import (
    StrategyText,
    needs_restart,
    require_deployable,
    strategy_in_use,
    strategy_text,
)

TOOL: Final = "rollback_to_last_good"
RESTORED: Final = "restored_config.yaml"
REPLACED: Final = "replaced_config.yaml"


@dataclass(frozen=True, slots=True)
class RollbackRequest:
    """What the command line asks for. steps: 1 = before the newest deployment, 2 = before the one before it, …

    None = 1, if the strategy file is that of the newest deployment still.
    """

    artifacts_dir: str = "artifacts"
    yaml_path: str = DEFAULT_YAML
    steps: int | None = None
    reason: str = ""
    restart: RestartAsked = field(default_factory=RestartAsked)
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class RollbackResult:
    """folder: of the record, None for a dry run, which writes nothing; event: what is in it."""

    folder: Path | None
    event: dict[str, Any]


def rollback(request: RollbackRequest, hands: Hands) -> RollbackResult:
    """Put back what stood before the steps-th newest deployment; rollbacks and dry runs are no steps.

    Raises MeiError before anything is changed, or with what was changed put back; NotRestartedError when the file is
    back and recorded, but the trader was not restarted.
    """
    if request.steps is not None and request.steps < 1:
        raise ConfigError(f"--steps must be at least 1, was {request.steps}")
    request.restart.check(hands.environment)
    yaml_path = real_path(request.yaml_path)
    if request.dry_run:
        found = interrupted(yaml_path)
        for line in () if found is None else found.lines:
            hands.tell(f"the next deployment will settle this first: {line}")
        event, _, good = _plan(request, hands, yaml_path, is_due=False)
        hands.tell(f"dry run: nothing was changed, {good.source} would be put into {yaml_path}")
        return RollbackResult(None, event)
    parent = rollback_folder(request.artifacts_dir)
    with deploying(yaml_path, tool=TOOL, tell=hands.tell) as deployment:
        is_due = after_settling(deployment, parent, ROLLBACK_EVENT, hands)
        paper = paper_folder(request.artifacts_dir)
        is_due |= after_settling(deployment, paper, DEPLOY_EVENT, hands)
        event, before, good = _plan(request, hands, yaml_path, is_due=is_due)
        folder = new_folder(parent, event["ts_compact_utc"])
        names = RecordNames(RESTORED, REPLACED, ROLLBACK_EVENT)
        replace_and_record(deployment, (before, good), folder, names, event, hands.now_ms, hands)
        hands.tell(f"{yaml_path} is now as in {good.source}, recorded in {folder}")
        restart_and_record(
            request.restart, folder, ROLLBACK_EVENT, event, hands, deployment.journal
        )
    return RollbackResult(folder, event)


def _plan(
    request: RollbackRequest, hands: Hands, yaml_path: Path, *, is_due: bool
) -> tuple[dict[str, Any], StrategyText | None, StrategyText]:
    """The event, the file as it is, and the one to be put back."""
    deployments = recorded(paper_folder(request.artifacts_dir), DEPLOY_EVENT)
    steps = request.steps or 1
    good, undone = _last_good(request, steps, deployments)
    _require_paper(request, hands, yaml_path, undone)
    before = strategy_in_use(yaml_path)
    if before is not None and before.text == good.text:
        raise ConfigError(
            f"{yaml_path} is already as it was before {undone.folder.name}: --steps {steps + 1} goes one "
            "deployment further back"
        )
    if request.steps is None:
        _require_in_use(yaml_path, before, undone)
    _require_fit(good, deployments[steps:])
    is_required = needs_restart(before, good) or is_due
    at_ms = hands.now_ms()
    status = request.restart.status(is_required=is_required, dry_run=request.dry_run)
    event = {
        "version": "rollback_event_v1",
        "ts_utc": stamp_text(at_ms),
        "ts_compact_utc": compact_time(at_ms),
        "who": {"user": hands.user, "hostname": hands.hostname},
        "what": {
            "mode": "paper",
            "steps": steps,
            "undone_deployment": str(undone.folder),
            "restored_from": good.source,
            "config_id": good.config_id,
            "replaced_config_id": None if before is None else before.config_id,
            "yaml_path": str(yaml_path),
            "prev_yaml_sha256": None if before is None else before.sha256,
            "next_yaml_sha256": good.sha256,
            "prev_engine_interval": None if before is None else before.main_interval,
            "next_engine_interval": good.main_interval,
            "restart_required": is_required,
        },
        "why": {"reason": request.reason},
        "dry_run": request.dry_run,
        "restart": request.restart.part(status, hands.environment),
    }
    return event, before, good


def _require_paper(
    request: RollbackRequest, hands: Hands, yaml_path: Path, undone: Recorded
) -> None:
    """ConfigError when the file is the live trader's alone: a record of paper says nothing of what it was."""
    elsewhere = undone.what.get("yaml_path")
    is_elsewhere = elsewhere is not None and not is_same_file(elsewhere, yaml_path)
    is_live = is_live_file(yaml_path, request.artifacts_dir, hands)
    if is_live and is_elsewhere:
        raise ConfigError(
            f"--yaml-path must be the strategy file of the paper trader, {elsewhere} by {undone.folder.name}, was "
            f"{yaml_path}, that of the live trader: what that was before is prev_config.yaml of its promotion"
        )
    if is_live:
        tell_live(yaml_path, hands)
    if is_elsewhere:
        hands.tell(
            f"warning: {undone.folder} replaced {elsewhere}, now {yaml_path} is to be rolled back"
        )


def _require_in_use(yaml_path: Path, before: StrategyText | None, newest: Recorded) -> None:
    """ConfigError unless the file is that of the newest deployment: else what stood before that is another story."""
    used = None if before is None else before.config_id
    if used is not None and used == newest.config_id:
        return
    is_now = "is not there" if before is None else f"is {used[:12]}" if used else "is no YAML"
    raise ConfigError(
        f"{yaml_path} must be the file that was deployed last, {newest.config_id[:12]} ({newest.folder.name}), "
        f"{is_now}: it was replaced by other means; paper_deploy --config-id {newest.config_id[:12]} puts that one "
        "back, --steps 1 what stood before it"
    )


def _require_fit(good: StrategyText, older: Sequence[Recorded]) -> None:
    """ConfigError when the file cannot run, saying which earlier one can."""
    try:
        require_deployable(good)
    except ConfigError as error:
        fit = next((one for one in older if _is_fit(one)), None)
        way = (
            "no earlier deployment passes either, deploy another file"
            if fit is None
            else f"paper_deploy --config-id {fit.config_id[:12]} puts back the newest earlier one that passes "
            f"({fit.folder.name})"
        )
        raise ConfigError(f"{error}; {way}") from None


def _is_fit(one: Recorded) -> bool:
    try:
        text = one.text(DEPLOYED)
        if text is not None:
            require_deployable(strategy_text(text, str(one.folder)))
    except MeiError:
        return False
    return text is not None


def _last_good(
    request: RollbackRequest, steps: int, deployments: Sequence[Recorded]
) -> tuple[StrategyText, Recorded]:
    """What stood before the deployment, and the deployment."""
    if len(deployments) < steps:
        raise NotFoundError(
            f"{paper_folder(request.artifacts_dir)} must have as many deployments as --steps {steps}, "
            f"has {len(deployments)}: there is nothing to go back to"
        )
    undone = deployments[steps - 1]
    tried = [(undone, PREVIOUS)]
    if len(deployments) > steps:
        tried.append((deployments[steps], DEPLOYED))
    for one, name in tried:
        text = one.text(name)
        if text is not None:
            return strategy_text(text, str(one.folder / name)), undone
    places = " or ".join(str(one.folder / name) for one, name in tried)
    raise NotFoundError(f"what stood before {undone.folder.name} must be in {places}, is not")
