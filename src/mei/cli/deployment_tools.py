"""Flags of the tools that bring strategy files to traders: registry, paper, live, and back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from mei.cli import deployment_options as options
from mei.cli.tool_program import clock_ms, print_json
from mei.model.errors import ConfigError, MeiError

_ReasonFlag = Annotated[str, typer.Option("--reason", help="Kept in the record.")]

registry_index = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    help="The registry of runs and strategy files: put a run in, look something up.",
)


@registry_index.callback()
def _registry(
    context: typer.Context,
    registry_db: options.RegistryFlag = None,
    artifacts_dir: options.ArtifactsFlag = "artifacts",
) -> None:
    from mei.workflows.deployments.run_ingest import registry_path

    context.obj = registry_path(artifacts_dir, registry_db)


@registry_index.command(
    "ingest-run-dir", short_help="Put a finished run in; again changes nothing."
)
def ingest_run_dir(
    context: typer.Context,
    run_dir: Annotated[Path, typer.Option("--run-dir", help="Folder of the run.")],
    now_ms: options.NowFlag = None,
) -> None:
    """Put a finished run of the factory into the registry."""
    from mei.workflows.deployments.run_ingest import ingest_run_dir as ingest

    done = ingest(run_dir, context.obj, clock_ms() if now_ms is None else now_ms)
    print_json(
        {
            "registry_db": str(context.obj),
            "run_id": done.run_id,
            "results": done.n_results,
            "new_configs": done.n_new_configs,
        }
    )


@registry_index.command("query", short_help="Results, newest run first.")
def query(
    context: typer.Context,
    run_id: Annotated[str | None, typer.Option("--run-id", help="Of this run.")] = None,
    config_id: Annotated[
        str | None, typer.Option("--config-id", help="Of this file; its first digits will do.")
    ] = None,
    date_utc: Annotated[
        str | None, typer.Option("--date-utc", help="Of runs of this day, YYYY-MM-DD.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 50,
) -> None:
    """List results of runs."""
    from mei.data.registry_db import query_results
    from mei.workflows.deployments.run_ingest import require_day

    if date_utc is not None:
        require_day(date_utc, "--date-utc")
    found = query_results(
        context.obj, run_id=run_id, config_id=config_id, date_utc=date_utc, limit=limit
    )
    print_json({"registry_db": str(context.obj), "count": len(found), "results": found})


def paper_deploy(
    config_id: Annotated[
        str, typer.Option("--config-id", help="Of the registry, at least 12 digits.")
    ],
    artifacts_dir: options.ArtifactsFlag = "artifacts",
    registry_db: options.RegistryFlag = None,
    yaml_path: options.YamlFlag = options.DEFAULT_YAML,
    out_dir: Annotated[
        str | None,
        typer.Option("--out-dir", help="[default: deployments/paper in --artifacts-dir]"),
    ] = None,
    reason: _ReasonFlag = "",
    restart: options.RestartFlag = "auto",
    service: options.ServiceFlag = None,
    ws_service: options.WsServiceFlag = None,
    pause_file: options.PauseFileFlag = None,
    pause_mode: options.PauseModeFlag = "close_only",
    leave_paused: options.LeavePausedFlag = False,
    verify_sleep_s: options.VerifySleepFlag = 2.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write the record, and nothing else.")
    ] = False,
    no_validate: options.NoValidateFlag = False,
    now_ms: options.NowFlag = None,
) -> None:
    """Put a strategy file of the registry into the paper trader's place, with a record."""
    import json

    from mei.workflows.deployments.hands import real_hands
    from mei.workflows.deployments.paper_deploy import PaperDeployRequest, deploy_to_paper
    from mei.workflows.deployments.records import DEPLOY_EVENT
    from mei.workflows.deployments.restarting import RestartAsked

    request = PaperDeployRequest(
        config_id=config_id,
        artifacts_dir=artifacts_dir,
        registry_db=registry_db,
        yaml_path=yaml_path,
        out_dir=out_dir,
        reason=reason,
        restart=RestartAsked(
            mode=restart,
            service=service,
            ws_service=ws_service,
            pause_file=pause_file,
            pause_mode=pause_mode,
            leave_paused=leave_paused,
            verify_sleep_s=verify_sleep_s,
        ),
        dry_run=dry_run,
        validate=not no_validate,
    )
    folder = deploy_to_paper(request, real_hands(None if now_ms is None else lambda: now_ms))
    print_json({"folder": str(folder), "event": json.loads((folder / DEPLOY_EVENT).read_bytes())})


def promote_to_live(
    artifacts_dir: options.ArtifactsFlag = "artifacts",
    paper_db: options.PaperDbFlag = "trading_engine.db",
    registry_db: options.RegistryFlag = None,
    live_yaml_path: options.LiveYamlFlag = None,
    allow_paper_yaml: Annotated[
        bool,
        typer.Option(
            "--allow-paper-yaml", help="The live file may be that of paper: paper trades live."
        ),
    ] = False,
    yaml_path: options.DeployedYamlFlag = None,
    config_id: Annotated[
        str | None, typer.Option("--config-id", help="Must be what is on paper.")
    ] = None,
    min_trades: options.MinTradesFlag = 20,
    min_hours: options.MinHoursFlag = 24.0,
    min_profit_factor: options.MinProfitFactorFlag = 1.2,
    max_drawdown_pct: options.MaxDrawdownFlag = 10.0,
    max_config_slippage_bps: options.MaxSlippageFlag = 20.0,
    max_kill_events: options.MaxKillsFlag = 0,
    allow_live_layer: options.AllowLiveLayerFlag = False,
    apply: Annotated[
        bool, typer.Option("--apply", help="Replace the live file when all gates are passed.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Not even then.")] = False,
    now_ms: options.NowFlag = None,
) -> None:
    """Judge what is on paper; exit code 0 passed, 1 not passed, 2 wrong input."""
    from mei.workflows.deployments.hands import real_hands
    from mei.workflows.deployments.promote import PromoteRequest, promote
    from mei.workflows.deployments.promotion_gates import Thresholds

    request = PromoteRequest(
        artifacts_dir=artifacts_dir,
        paper_db=paper_db,
        registry_db=registry_db,
        live_yaml_path=live_yaml_path,
        config_id=config_id,
        yaml_path=yaml_path,
        thresholds=Thresholds(
            min_trades=min_trades,
            min_hours=min_hours,
            min_profit_factor=min_profit_factor,
            max_drawdown_pct=max_drawdown_pct,
            max_config_slippage_bps=max_config_slippage_bps,
            max_kill_events=max_kill_events,
            allow_live_layer=allow_live_layer,
        ),
        allow_paper_yaml=allow_paper_yaml,
        apply=apply,
        dry_run=dry_run,
    )
    with _all_errors_are_2():
        result = promote(request, real_hands(None if now_ms is None else lambda: now_ms))
    print_json(result.report)
    raise typer.Exit(0 if result.passed else 1)


def rollback_to_last_good(
    artifacts_dir: options.ArtifactsFlag = "artifacts",
    yaml_path: options.YamlFlag = options.DEFAULT_YAML,
    steps: Annotated[
        int | None,
        typer.Option(
            "--steps",
            help="1 = before the newest deployment.  [default: 1, if that one is in use]",
        ),
    ] = None,
    reason: _ReasonFlag = "",
    restart: options.RestartFlag = "auto",
    service: options.ServiceFlag = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, write nothing.")
    ] = False,
    now_ms: options.NowFlag = None,
) -> None:
    """Put back the strategy file that stood before a deployment to paper."""
    from mei.workflows.deployments.hands import real_hands
    from mei.workflows.deployments.restarting import RestartAsked
    from mei.workflows.deployments.rollback import RollbackRequest, rollback

    request = RollbackRequest(
        artifacts_dir=artifacts_dir,
        yaml_path=yaml_path,
        steps=steps,
        reason=reason,
        restart=RestartAsked(mode=restart, service=service),
        dry_run=dry_run,
    )
    result = rollback(request, real_hands(None if now_ms is None else lambda: now_ms))
    print_json(
        {"folder": None if result.folder is None else str(result.folder), "event": result.event}
    )


@contextmanager
def _all_errors_are_2() -> Iterator[None]:
    """1 says that a gate was not passed, and nothing else."""
    try:
        yield
    except MeiError as error:
        error.exit_code = ConfigError.exit_code
        raise
