"""Sweep, validate, choose, deploy to paper; then watch paper and promote or roll back."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from mei.cli import backtest_options as options
from mei.cli import deployment_options as deployment
from mei.cli.backtest_options import finite, one_exit_code, print_banner, tell

if TYPE_CHECKING:
    from mei.workflows.deployments.hands import Hands
    from mei.workflows.factory.request import ChecksAsked

app = typer.Typer(add_completion=False, rich_markup_mode=None, help=__doc__)


@app.command("run", short_help="Sweep, validate, choose and deploy to paper.")
def run(
    sweep_spec: Annotated[
        str, typer.Option("--sweep-spec", "--sweep-config", help="Axes and their values, YAML.")
    ],
    run_id: Annotated[
        str | None, typer.Option("--run-id", help="Name of the run.  [default: nightly_<time>]")
    ] = None,
    profile: Annotated[
        str, typer.Option("--profile", help="How much work: smoke, daily or deep.")
    ] = "daily",
    artifacts_dir: deployment.ArtifactsFlag = "artifacts",
    config: options.ConfigFlag = "strategy_overrides.yaml",
    strategy_mode: Annotated[
        str | None,
        typer.Option(
            "--strategy-mode", help="Overlay `modes.<mode>` of the file: primary, safe..."
        ),
    ] = None,
    interval: options.IntervalFlag = None,
    candles_db: Annotated[
        str,
        typer.Option(
            "--candles-db", help="Candle databases; a folder stands for its candles_*.db."
        ),
    ] = "candles_dbs",
    funding_db: options.FundingFlag = None,
    gpu: Annotated[bool, typer.Option("--gpu", help="Sweep on a GPU.")] = False,
    tpe: Annotated[
        bool, typer.Option("--tpe", help="Search (TPE) with as many trials as the profile has.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of everything random.")] = 42,
    min_trades: Annotated[
        int, typer.Option("--min-trades", min=0, help="Rows with fewer are passed over.")
    ] = 20,
    walk_forward: Annotated[bool, typer.Option("--walk-forward/--no-walk-forward")] = True,
    slippage_stress: Annotated[bool, typer.Option("--slippage-stress/--no-slippage-stress")] = True,
    concentration_checks: Annotated[
        bool, typer.Option("--concentration-checks/--no-concentration-checks")
    ] = True,
    sensitivity_checks: Annotated[
        bool, typer.Option("--sensitivity-checks/--no-sensitivity-checks")
    ] = True,
    monte_carlo: Annotated[bool, typer.Option("--monte-carlo/--no-monte-carlo")] = True,
    symbol_set: Annotated[
        list[str] | None,
        typer.Option("--symbol-set", metavar="NAME=PATH", help="Tell its share; may be repeated."),
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(
            "--split", metavar="[NAME:]TRAIN,TEST,OFFSET", help="As of validate walk-forward."
        ),
    ] = None,
    splits_json: Annotated[
        str | None, typer.Option("--splits-json", help="As of validate walk-forward.")
    ] = None,
    slippage_bps: Annotated[
        str, typer.Option("--slippage-bps", help="As of validate slippage-stress.")
    ] = "10,20,30",
    reject_flip_bps: Annotated[
        float, typer.Option("--reject-flip-bps", help="As of validate slippage-stress.")
    ] = 20.0,
    max_top1_pnl_pct: Annotated[
        float, typer.Option("--max-top1-pnl-pct", help="As of validate concentration.")
    ] = 0.65,
    max_top5_pnl_pct: Annotated[
        float, typer.Option("--max-top5-pnl-pct", help="As of validate concentration.")
    ] = 0.90,
    min_symbols_traded: Annotated[
        int, typer.Option("--min-symbols-traded", help="As of validate concentration.")
    ] = 5,
    data_checks: Annotated[
        bool,
        typer.Option("--data-checks/--no-data-checks", help="Candles and funding must be fresh."),
    ] = True,
    require_dsr: Annotated[
        bool,
        typer.Option("--require-dsr", help="Reject what does not survive the number of trials."),
    ] = False,
    require_profit: Annotated[
        bool,
        typer.Option("--require-profit", help="Reject what loses, in its replay or out of sample."),
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with --run-id; same arguments.")
    ] = False,
    no_deploy: Annotated[
        bool, typer.Option("--no-deploy", help="Choose, but leave the paper trader alone.")
    ] = False,
    yaml_path: deployment.YamlFlag = deployment.DEFAULT_YAML,
    deploy_reason: Annotated[
        str | None, typer.Option("--deploy-reason", help="Kept with the deployment.")
    ] = None,
    restart: deployment.RestartFlag = "auto",
    service: deployment.ServiceFlag = None,
    ws_service: deployment.WsServiceFlag = None,
    pause_file: deployment.PauseFileFlag = None,
    pause_mode: deployment.PauseModeFlag = "close_only",
    leave_paused: deployment.LeavePausedFlag = False,
    verify_sleep_s: deployment.VerifySleepFlag = 2.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write what a deployment would do, do nothing.")
    ] = False,
    no_validate: deployment.NoValidateFlag = False,
    registry_db: deployment.RegistryFlag = None,
    ledger: Annotated[
        str | None, typer.Option(help="Where trials are counted, as of sweep.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", min=0, help="[default: one per CPU]")
    ] = None,
    discord_target: Annotated[
        str | None,
        typer.Option("--discord-target", help="Address of a webhook that hears the outcome."),
    ] = None,
    now_ms: deployment.NowFlag = None,
) -> None:
    """Do all up to the paper trader; exit code 2 when no candidate may be chosen."""
    from mei.cli.versions import revision
    from mei.workflows.factory.cycle import run_factory
    from mei.workflows.factory.request import DeployAsked, FactoryRequest
    from mei.workflows.factory.selection import NothingSelectedError

    checks = _checks(
        walk_forward=walk_forward,
        slippage_stress=slippage_stress,
        concentration=concentration_checks,
        sensitivity=sensitivity_checks,
        monte_carlo=monte_carlo,
        symbol_sets=tuple(symbol_set or ()),
        split=split,
        splits_json=splits_json,
        slippage_bps=slippage_bps,
        reject_flip_bps=reject_flip_bps,
        max_top1_pnl_pct=max_top1_pnl_pct,
        max_top5_pnl_pct=max_top5_pnl_pct,
        min_symbols_traded=min_symbols_traded,
    )
    deploy = DeployAsked(
        yaml_path=yaml_path,
        reason=deploy_reason,
        restart=restart,
        service=service,
        ws_service=ws_service,
        pause_file=pause_file,
        pause_mode=pause_mode,
        leave_paused=leave_paused,
        verify_sleep_s=finite("--verify-sleep-s", verify_sleep_s),
        dry_run=dry_run,
        validate=not no_validate,
    )
    request = FactoryRequest(
        sweep_spec=sweep_spec,
        run_id=run_id,
        profile=profile,
        artifacts_dir=artifacts_dir,
        config=config,
        strategy_mode=strategy_mode,
        interval=interval,
        candles_db=candles_db,
        funding_db=funding_db,
        device="gpu" if gpu else "cpu",
        tpe=tpe,
        seed=seed,
        min_trades=min_trades,
        checks=checks,
        data_checks=data_checks,
        require_dsr=require_dsr,
        require_profit=require_profit,
        deploy=None if no_deploy else deploy,
        resume=resume,
        ledger=ledger,
        registry_db=registry_db,
        threads=threads,
        discord_target=discord_target,
        revision=revision(),
    )
    print_banner()
    try:
        with one_exit_code():
            run_factory(request, _hands(now_ms))
    except NothingSelectedError as error:
        error.exit_code = NothingSelectedError.exit_code
        raise


def _checks(
    *,
    split: list[str] | None,
    splits_json: str | None,
    slippage_bps: str,
    reject_flip_bps: float,
    max_top1_pnl_pct: float,
    max_top5_pnl_pct: float,
    min_symbols_traded: int,
    symbol_sets: tuple[str, ...],
    **asked: bool,
) -> ChecksAsked:
    from mei.cli.validate import levels_of
    from mei.workflows.factory.request import ChecksAsked
    from mei.workflows.validate.splits import parse_splits

    return ChecksAsked(
        **asked,
        symbol_sets=symbol_sets,
        splits=parse_splits(split or (), splits_json),
        levels_bps=levels_of(slippage_bps),
        reject_bps=finite("--reject-flip-bps", reject_flip_bps),
        max_top1_frac=finite("--max-top1-pnl-pct", max_top1_pnl_pct),
        max_top5_frac=finite("--max-top5-pnl-pct", max_top5_pnl_pct),
        min_symbols=min_symbols_traded,
    )


def _hands(fixed_ms: int | None) -> Hands:
    from mei.workflows.deployments.hands import real_hands

    return real_hands(None if fixed_ms is None else lambda: fixed_ms)


@app.command("watch", short_help="Promote or roll back what is on paper.")
def watch(
    artifacts_dir: deployment.ArtifactsFlag = "artifacts",
    paper_db: deployment.PaperDbFlag = "trading_engine.db",
    registry_db: deployment.RegistryFlag = None,
    yaml_path: deployment.DeployedYamlFlag = None,
    live_yaml_path: deployment.LiveYamlFlag = None,
    min_trades: deployment.MinTradesFlag = 20,
    min_hours: deployment.MinHoursFlag = 24.0,
    min_profit_factor: deployment.MinProfitFactorFlag = 1.2,
    max_drawdown_pct: deployment.MaxDrawdownFlag = 10.0,
    max_config_slippage_bps: deployment.MaxSlippageFlag = 20.0,
    max_kill_events: deployment.MaxKillsFlag = 0,
    allow_live_layer: deployment.AllowLiveLayerFlag = False,
    max_hours: Annotated[
        float,
        typer.Option(
            "--max-hours",
            min=0.0,
            help="After so many, too low a profit factor is rolled back however few trades there are.",
        ),
    ] = 168.0,
    every: Annotated[
        float | None,
        typer.Option("--every", min=1.0, help="Look again after so many seconds, until decided."),
    ] = None,
    restart: deployment.RestartFlag = "auto",
    service: deployment.ServiceFlag = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell.")] = False,
    now_ms: deployment.NowFlag = None,
) -> None:
    """Look at what paper made of the newest deployment: promote it, roll it back, or wait; the verdict as JSON."""
    from mei.report.json_text import pretty_json
    from mei.workflows.deployments.promotion_gates import Thresholds
    from mei.workflows.deployments.restarting import RestartAsked
    from mei.workflows.factory.watch import ROLLED_BACK, WatchRequest
    from mei.workflows.factory.watch import watch as look

    if every is not None and now_ms is not None:
        raise typer.BadParameter("--every and --now-ms must not both be given: the clock stands")
    request = WatchRequest(
        artifacts_dir=artifacts_dir,
        paper_db=paper_db,
        registry_db=registry_db,
        yaml_path=yaml_path,
        live_yaml_path=live_yaml_path,
        thresholds=Thresholds(
            min_trades=min_trades,
            min_hours=min_hours,
            min_profit_factor=min_profit_factor,
            max_drawdown_pct=max_drawdown_pct,
            max_config_slippage_bps=max_config_slippage_bps,
            max_kill_events=max_kill_events,
            allow_live_layer=allow_live_layer,
        ),
        max_hours=finite("--max-hours", max_hours),
        every_s=None if every is None else finite("--every", every),
        restart=RestartAsked(mode=restart, service=service),
        dry_run=dry_run,
    )
    with one_exit_code():
        found = look(request, _hands(now_ms))
    sys.stdout.write(pretty_json(found))
    if found["verdict"] == ROLLED_BACK:
        raise typer.Exit(1)


@app.command("status", short_help="How far runs have come.")
def status(
    run_id: Annotated[
        str | None, typer.Option("--run-id", help="Its steps.  [default: a line for each run]")
    ] = None,
    artifacts_dir: deployment.ArtifactsFlag = "artifacts",
) -> None:
    """Tell how far runs have come."""
    from mei.workflows.factory.status import status_lines

    with one_exit_code():
        lines = status_lines(artifacts_dir, run_id, tell)
    if not lines:
        tell(f"no run in {artifacts_dir}")
    for line in lines:
        sys.stdout.write(f"{line}\n")
