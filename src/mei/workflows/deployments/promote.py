"""What proved itself on paper to the live trader."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from mei.data.trading_db import PAPER_DB, stamp_text
from mei.model.errors import ConfigError, NotFoundError
from mei.report.json_text import pretty_json
from mei.workflows.deploy.journal import FollowUp
from mei.workflows.deploy.yaml_deploy import deploying, interrupted, real_path, replace_yaml
from mei.workflows.deployments.hands import Hands
from mei.workflows.deployments.live_file import require_own_file
from mei.workflows.deployments.paper_deploy import after_settling
from mei.workflows.deployments.promotion_gates import Thresholds, gates, paper_record
from mei.workflows.deployments.records import (
    DEPLOY_EVENT,
    PREVIOUS,
    PROMOTION_EVENT,
    ROLLBACK_EVENT,
    Recorded,
    compact_time,
    folder_name,
    live_folder,
    new_folder,
    paper_folder,
    recorded,
    rollback_folder,
)
from mei.workflows.deployments.replacing import absolute
from mei.workflows.deployments.run_ingest import registry_path
from mei.workflows.deployments.strategy_text import (
    StrategyText,
    needs_restart,
    registered,
    require_deployable,
    strategy_in_use,
)

TOOL: Final = "promote_to_live"
PROMOTED: Final = "promoted_config.yaml"
#: Of the judgement, what the record keeps as the reason.
_WHY: Final = (
    "paper_deployment",
    "paper_db",
    "since_utc",
    "metrics",
    "thresholds",
    "gates",
    "live_layer",
)


@dataclass(frozen=True, slots=True)
class PromoteRequest:
    """What the command line asks for. config_id: must be what is on paper, None = whatever is.

    yaml_path: paper's strategy file, None = where its deployment says. live_yaml_path None = only judge.
    allow_paper_yaml: the live file may be that of paper.

    apply: replace the live file when all gates are passed; dry_run: not even then.
    """

    artifacts_dir: str = "artifacts"
    paper_db: str = PAPER_DB
    registry_db: str | None = None
    live_yaml_path: str | None = None
    config_id: str | None = None
    yaml_path: str | None = None
    thresholds: Thresholds = field(default_factory=Thresholds)
    allow_paper_yaml: bool = False
    apply: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class PromotionResult:
    """passed: all gates; folder: of the record, None when nothing was applied; report: goes out as JSON."""

    passed: bool
    folder: Path | None
    report: dict[str, Any]


def promote(request: PromoteRequest, hands: Hands) -> PromotionResult:
    """Judge the newest deployment to paper, and put it into the live file if that is asked for and it passed.

    Nothing is restarted. Raises MeiError for input that is wrong, before anything is changed, or with what was changed
    put back.
    """
    request.thresholds.check()
    live_path = _live_path(request, hands)
    chosen, deployment = _on_paper(request)
    if live_path is not None and not request.allow_paper_yaml:
        papers = (request.yaml_path, deployment.what.get("yaml_path"))
        require_own_file(live_path, papers, "--allow-paper-yaml passes it")
    now_ms = hands.now_ms()
    if now_ms < deployment.at_ms:
        raise ConfigError(
            f"{deployment.folder} must not be of the future, is of {stamp_text(deployment.at_ms)}: set the clock right"
        )
    report = _judged(request, chosen, deployment, live_path, now_ms)
    for path, value in chosen.live_layer.items():
        hands.tell(f"WARNING: live.{path} is {value!r} for the live trader; paper did not trade it")
    for gate in report["gates"]:
        hands.tell(f"[{'PASS' if gate['passed'] else 'FAIL'}] {gate['said']}")
    if live_path is None or not (report["passed"] and request.apply) or request.dry_run:
        return PromotionResult(report["passed"], None, report)
    folder = _apply(request, chosen, report, hands, live_path)
    return PromotionResult(True, folder, report)


def _live_path(request: PromoteRequest, hands: Hands) -> Path | None:
    """Where the live file really is, None when none was named; tells what was cut short there. ConfigError."""
    if request.live_yaml_path is None:
        if request.apply:
            raise ConfigError(
                "--apply must be given with --live-yaml-path, the strategy file of the live trader: there is no default"
            )
        return None
    live_path = real_path(request.live_yaml_path)
    found = None if request.apply and not request.dry_run else interrupted(live_path)
    for line in () if found is None else found.lines:
        hands.tell(f"the next deployment will settle this first: {line}")
    return live_path


def _on_paper(request: PromoteRequest) -> tuple[StrategyText, Recorded]:
    """The strategy file that is on paper, and its deployment."""
    parent = paper_folder(request.artifacts_dir)
    deployments = recorded(parent, DEPLOY_EVENT)
    if not deployments:
        raise NotFoundError(
            f"{parent} must hold a deployment to paper, holds none: deploy one first"
        )
    newest = deployments[0]
    if not newest.config_id:
        raise ConfigError(f"{newest.folder / DEPLOY_EVENT} must name a config_id, does not")
    if request.config_id is not None and (
        len(request.config_id) < 12 or not newest.config_id.startswith(request.config_id.lower())
    ):
        raise ConfigError(
            f"--config-id must be that of the newest deployment to paper, {newest.config_id[:12]} "
            f"({newest.folder.name}), was {request.config_id}: only what is on paper now can be judged"
        )
    undone = recorded(rollback_folder(request.artifacts_dir), ROLLBACK_EVENT)
    if undone and undone[0].at_ms >= newest.at_ms:
        raise ConfigError(
            f"{newest.folder.name} must still be on paper, was rolled back ({undone[0].folder}): deploy what is to be "
            "promoted to paper first"
        )
    _require_in_use(request.yaml_path, newest)
    chosen = registered(registry_path(request.artifacts_dir, request.registry_db), newest.config_id)
    require_deployable(chosen)
    return chosen, newest


def _require_in_use(yaml_path: str | None, newest: Recorded) -> None:
    """ConfigError when paper's strategy file is not that of its newest deployment."""
    place = yaml_path or newest.what.get("yaml_path")
    if not place:
        return
    current = strategy_in_use(Path(str(place)))
    if current is None or current.config_id != newest.config_id:
        is_there = "there is none" if current is None else _short(current)
        raise ConfigError(
            f"{place} must be the file that was deployed to paper last, {newest.config_id[:12]} "
            f"({newest.folder.name}), {is_there}: it was replaced by other means; deploy what is to be promoted to "
            "paper first, or name paper's file with --yaml-path"
        )


def _short(current: StrategyText) -> str:
    return "is no YAML" if current.config_id is None else f"is {current.config_id[:12]}"


def _judged(
    request: PromoteRequest,
    chosen: StrategyText,
    deployment: Recorded,
    live_path: Path | None,
    now_ms: int,
) -> dict[str, Any]:
    config_id = deployment.config_id
    record = paper_record(request.paper_db, deployment.at_ms, now_ms)
    found = gates(record, config_id, chosen.slippage_bps, chosen.live_layer, request.thresholds)
    before = None if live_path is None else strategy_in_use(live_path)
    return {
        "version": "promotion_v1",
        "config_id": config_id,
        "paper_deployment": str(deployment.folder),
        "paper_db": request.paper_db,
        "since_utc": stamp_text(deployment.at_ms),
        "now_utc": stamp_text(now_ms),
        "metrics": record.plain() | {"config_slippage_bps": chosen.slippage_bps},
        "thresholds": asdict(request.thresholds),
        "gates": [asdict(gate) for gate in found],
        "live_layer": chosen.live_layer,
        "passed": all(gate.passed for gate in found),
        "live_yaml_path": None if live_path is None else str(live_path),
        "prev_engine_interval": None if before is None else before.main_interval,
        "next_engine_interval": chosen.main_interval,
        "restart_required": None if live_path is None else needs_restart(before, chosen),
        "applied": False,
        "dry_run": request.dry_run,
        "promotion_dir": None,
    }


def _apply(
    request: PromoteRequest,
    chosen: StrategyText,
    report: dict[str, Any],
    hands: Hands,
    live_path: Path,
) -> Path:
    parent = live_folder(request.artifacts_dir)
    with deploying(live_path, tool=TOOL, tell=hands.tell) as deployment:
        after_settling(deployment, parent, PROMOTION_EVENT, hands)
        # One file may be that of both traders.
        after_settling(deployment, paper_folder(request.artifacts_dir), DEPLOY_EVENT, hands)
        before = strategy_in_use(live_path)
        at_ms = hands.now_ms()
        folder = new_folder(parent, folder_name(at_ms, report["config_id"]))
        report |= {"applied": True, "promotion_dir": str(folder)}
        event: dict[str, Any] = {
            "version": "promotion_event_v1",
            "ts_utc": stamp_text(at_ms),
            "ts_compact_utc": compact_time(at_ms),
            "who": {"user": hands.user, "hostname": hands.hostname},
            "what": {
                "mode": "live",
                "config_id": report["config_id"],
                "registry_db": str(registry_path(request.artifacts_dir, request.registry_db)),
                "yaml_path": str(live_path),
                "prev_yaml_sha256": None if before is None else before.sha256,
                "next_yaml_sha256": chosen.sha256,
                "prev_engine_interval": None if before is None else before.main_interval,
                "next_engine_interval": chosen.main_interval,
                "restart_required": needs_restart(before, chosen),
            },
            "why": {name: report[name] for name in _WHY},
            "dry_run": False,
        }
        record = [FollowUp(str(folder / PROMOTED), None, chosen.text)]
        if before is not None:
            record.append(FollowUp(str(folder / PREVIOUS), None, before.text))
        record.append(FollowUp(str(folder / PROMOTION_EVENT), None, pretty_json(event)))
        try:
            replace_yaml(
                live_path,
                chosen.text,
                now_ms=lambda: at_ms,
                journal=deployment.journal,
                then=[absolute(one) for one in record],
                expected_sha256=None if before is None else before.sha256,
                tell=hands.tell,
            )
        except BaseException:
            with suppress(OSError):
                folder.rmdir()
            raise
        deployment.commit()
    restart = "; the live trader must be restarted" if event["what"]["restart_required"] else ""
    hands.tell(f"{live_path} is now {report['config_id'][:12]}, recorded in {folder}{restart}")
    return folder
