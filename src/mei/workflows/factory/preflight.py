"""What is looked at before a run begins, so that wrong flags and files cost neither hours nor a folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from mei.data.symbol_list import read_symbols
from mei.model.errors import ConfigError, DataError
from mei.model.semantics import STRICT
from mei.workflows.deploy.deploy_validate import validate_deployable
from mei.workflows.deploy.yaml_deploy import real_path
from mei.workflows.factory.candle_set import candle_files
from mei.workflows.factory.deploying import restart_asked
from mei.workflows.factory.ground import check_splits, read_document
from mei.workflows.factory.mode_overlay import with_mode
from mei.workflows.factory.notify import check_webhook
from mei.workflows.factory.request import FactoryRequest
from mei.workflows.market import find_window
from mei.workflows.sweep.device import choose_device
from mei.workflows.sweep.request import SweepRequest, TpeTerms
from mei.workflows.sweep.run import check_packages
from mei.workflows.sweep_spec import read_spec
from mei.workflows.validate.cross_universe import parse_sets
from mei.workflows.validate.slippage import level_text
from mei.workflows.validate.terms import RunTerms, find_ground


def check_flags(request: FactoryRequest, environment: Mapping[str, str]) -> None:
    """ConfigError for flags that cannot be meant."""
    assert request.size
    if request.resume and request.run_id is None:
        raise ConfigError("--resume must come with --run-id, which was left out: say which run")
    if request.discord_target is not None:
        check_webhook(request.discord_target)
    if request.deploy is not None:
        restart_asked(request.deploy).check(environment)
        real_path(request.deploy.yaml_path)
    swept = SweepRequest(
        request.sweep_spec, device=request.device, tpe=TpeTerms() if request.tpe else None
    )
    check_packages(swept)
    choose_device(swept)
    checks = request.checks
    if checks.slippage_stress and checks.reject_bps not in checks.levels_bps:
        raise ConfigError(
            f"--reject-flip-bps must be one of --slippage-bps, {', '.join(map(level_text, checks.levels_bps))}, was "
            f"{level_text(checks.reject_bps)}"
        )
    for name in parse_sets(checks.symbol_sets) if checks.symbol_sets else ():
        if not re.fullmatch(r"[A-Za-z0-9._-]+", name):
            raise ConfigError(
                f"names of --symbol-set name files, they must be of letters, digits, . _ and -, was {name!r}"
            )


def check_files(request: FactoryRequest) -> None:
    """Raises MeiError unless settings, axes, lists and candles are there and go together. Nothing is written."""
    for flag, path in (("--config", request.config), ("--sweep-spec", request.sweep_spec)):
        if not Path(path).is_file():
            raise ConfigError(f"{flag} must name a file, {path} is none")
    document = read_document(request.config)
    if request.strategy_mode is not None:
        document = with_mode(document, request.strategy_mode, request.config)
    if request.deploy is not None and request.deploy.validate:
        faults = validate_deployable(document)
        if faults:
            more = f"; and {len(faults) - 5} more" if len(faults) > 5 else ""
            raise ConfigError(
                f"{request.config}: a file to deploy is faulty ({'; '.join(faults[:5])}{more}): complete it, or give "
                "--no-deploy"
            )
    read_spec(request.sweep_spec)
    for path in (
        parse_sets(request.checks.symbol_sets).values() if request.checks.symbol_sets else ()
    ):
        read_symbols(path)
    terms = RunTerms(
        config=request.config,
        interval=request.interval,
        candles_db=candle_files(request.candles_db),
        funding_db=request.funding_db,
    )
    ground = find_ground(terms, _silent)
    if request.funding_db is not None and not Path(request.funding_db).is_file():
        raise DataError(f"--funding-db must name a file, {request.funding_db} is none")
    if request.checks.walk_forward:
        scope = ground.sources.around() or [ground.sources.main]
        window = find_window(ground.market, scope, STRICT, "factory", _silent)
        check_splits(request, window)


def _silent(_line: str) -> None:
    """What the run will say itself."""
