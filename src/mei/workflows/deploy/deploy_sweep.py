"""The winner of a sweep into the strategy file of a trader: checked and shown first, then all of it or nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mei.data.strategy_faults import shown
from mei.model.errors import ConfigError, ConflictError, MeiError, OutputError
from mei.model.yaml12 import dump_yaml, parse_yaml
from mei.workflows.deploy.aftermath import Tell
from mei.workflows.deploy.base_file import other_base
from mei.workflows.deploy.changelog import next_version, read_changelog
from mei.workflows.deploy.choice import Choice, Survival, choose, survival
from mei.workflows.deploy.closing import Closer
from mei.workflows.deploy.demands import Demands, require
from mei.workflows.deploy.deploy_validate import deployable_faults
from mei.workflows.deploy.journal import FollowUp, Journal, sha256_of_file, sha256_of_text
from mei.workflows.deploy.restart import Run, restart_command, restart_traders, run_command
from mei.workflows.deploy.yaml_deploy import deploying, interrupted, real_path, replace_yaml
from mei.workflows.deploy.yaml_edit import with_values
from mei.workflows.swept_config import SweptConfig, swept_config

TOOL: Final = "deploy_sweep"
#: The deployment stands, but a service that runs it was not restarted.
EXIT_NOT_RESTARTED: Final = 3
_METRICS: Final = (
    "total_pnl",
    "total_trades",
    "win_rate",
    "profit_factor",
    "sharpe_ratio",
    "max_drawdown_pct",
    "final_balance",
)
_FRACTIONS: Final = ("win_rate", "max_drawdown_pct")


@dataclass(frozen=True, slots=True)
class DeployRequest:
    """What is asked for. rank: 1 is the best by profit; ledger: path or URL of the count of trials, None = none."""

    sweep_results: str
    rank: int
    config: str
    changelog: str
    version: str | None = None
    dry_run: bool = False
    is_confirmed: bool = False
    restart: bool = False
    ledger: str | None = None
    demands: Demands = field(default_factory=Demands)


@dataclass(frozen=True, slots=True)
class Hands:
    """What a deployment reaches out with.

    tell: a line to the user; ask: a question, to his answer; now_ms: epoch ms UTC; close_live, close_paper: None where
    not asked for.
    """

    tell: Tell
    ask: Callable[[str], str]
    now_ms: Callable[[], int]
    environment: Mapping[str, str]
    close_live: Closer | None = None
    close_paper: Closer | None = None
    run: Run = run_command


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is to be done: the file as it was read, and as it will be."""

    choice: Choice
    made: SweptConfig
    before: str
    text: str
    keeps_comments: bool
    warnings: list[str]


def deploy_sweep(request: DeployRequest, hands: Hands) -> int:
    """Deploy a row; the exit code: 0 done, shown or not wanted, 3 if it stands but a service was not restarted.

    Raises MeiError before anything is changed, or after what was changed has been put back; what cannot be put back,
    closed positions, has been told then.
    """
    _look_back(request, hands)
    plan = _plan(request)
    verdict = survival(plan.choice, request.ledger)
    _check_ahead(request, hands)
    _show(request, plan, verdict, hands.tell)
    if request.dry_run:
        hands.tell("dry run: nothing was changed")
        return 0
    if not request.is_confirmed:
        answer = hands.ask("Apply these changes? [y/N] ")
        if answer.strip().lower() not in ("y", "yes"):
            hands.tell("not confirmed: nothing was changed")
            return 0
    with deploying(request.config, tool=TOOL, tell=hands.tell) as deployment:
        return _carry_out(request, plan, hands, deployment.journal)


def _look_back(request: DeployRequest, hands: Hands) -> None:
    """Settle a deployment that was cut short; a dry run only tells what the next one will do about it."""
    if request.dry_run:
        found = interrupted(request.config)
        for line in () if found is None else found.lines:
            hands.tell(f"the next deployment will settle this first: {line}")
        return
    with deploying(request.config, tool=TOOL, tell=hands.tell) as deployment:
        if deployment.settled is not None and deployment.settled.wants_restart:
            _restart(hands)


def _plan(request: DeployRequest) -> _Plan:
    """Everything that can be wrong is found here, before anything is touched."""
    choice = choose(request.sweep_results, request.rank)
    warnings = require(choice.standing.row, request.demands)
    path = real_path(request.config)
    before = _read(path, request.config)
    document = parse_yaml(before.removeprefix("\ufeff"), request.config)
    if not isinstance(document, dict):
        raise ConfigError(f"{request.config}: the root must be a mapping, was {shown(document)}")
    row = choice.standing.row
    made = swept_config(document, row, f"{request.config} with the row at {row.where}")
    kept = with_values(before.removeprefix("\ufeff"), document, made.document)
    text = dump_yaml(made.document) if kept is None else kept
    return _Plan(choice, made, before, text, kept is not None or "#" not in before, warnings)


def _read(path: Path, given: str) -> str:
    """The text with its line ends as they are."""
    if not path.is_file():
        raise ConfigError(
            f"{given} must be the strategy file that was swept, there is none: name it with --config"
        )
    try:
        return path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{given} must be a readable file in UTF-8: {error}") from None


def _check_ahead(request: DeployRequest, hands: Hands) -> None:
    """What would otherwise fail half-way: rights, changelog, restart command, trading database, account."""
    yaml_path, changelog = real_path(request.config), real_path(request.changelog)
    if yaml_path == changelog:
        raise ConfigError(
            f"--changelog must be a file of its own, {request.changelog} is that of --config, too"
        )
    read_changelog(request.changelog)
    restart_command(hands.environment)
    if request.dry_run:
        return
    for path in (yaml_path, changelog):
        for one in (path.parent, path):
            if one.exists() and not os.access(one, os.W_OK):
                raise OutputError(
                    f"{path} must be writable, {one} is not: check its rights and mount"
                )
    for closer in (hands.close_live, hands.close_paper):
        if closer is not None:
            closer.check()


def _show(request: DeployRequest, plan: _Plan, verdict: Survival, tell: Tell) -> None:
    choice = plan.choice
    row = choice.standing.row
    tell(
        f"{choice.name}, rank #{choice.rank} of {choice.n_rows} by total_pnl in {choice.path}, into {request.config}:"
    )
    for path, before, value in sorted(plan.made.changes, key=lambda one: one[0]):
        mark = "(same)" if _is_same(before, value) else "✓"
        tell(f"  {path}: {'???' if before is None else _said(before)} → {_said(value)} {mark}")
    for path in plan.made.left_out:
        tell(f"  {path}: left out, no sweep can set it")
    for note in plan.made.notes:
        tell(f"  {note}")
    for name in _METRICS:
        tell(f"  {name}: {_metric(name, row.fields)}")
    for line in plan.warnings:
        tell(f"warning: {line}")
    other = other_base(choice, request.config, plan.before, plan.made)
    if other is not None:
        tell(f"warning: {other}")
    tell(f"{'' if verdict.survives else 'warning: '}{verdict.line}")
    absent = [fault.path for fault in deployable_faults(plan.made.document) if fault.is_absent]
    if absent:
        tell(
            f"warning: deploy_validate asks for settings that the file leaves to their defaults: {', '.join(absent)}"
        )
    if not plan.keeps_comments:
        tell("the file must be written anew: its comments are lost, the backup has them")


def _carry_out(request: DeployRequest, plan: _Plan, hands: Hands, journal: Journal) -> int:
    expected_sha256 = sha256_of_text(plan.before)
    if sha256_of_file(journal.yaml_path) != expected_sha256:
        raise ConflictError(
            f"{journal.yaml_path} must be as it was when it was read, was changed since: look at it and start again; "
            "nothing was closed"
        )
    read_changelog(request.changelog)
    journal.record.wants_restart = request.restart
    closers = (("close_live", hands.close_live), ("close_paper", hands.close_paper))
    for step, closer in closers:
        if closer is not None:
            _close(step, closer, journal)
    now_ms = hands.now_ms()
    changelog = read_changelog(request.changelog)
    version = request.version or next_version(changelog.version)
    entry = changelog.with_entry(version, now_ms, _changes(plan, request))
    change = replace_yaml(
        request.config,
        plan.text,
        now_ms=lambda: now_ms,
        journal=journal,
        then=[FollowUp(str(changelog.path), changelog.text, entry)],
        expected_sha256=expected_sha256,
    )
    journal.is_committed = True
    hands.tell(
        f"{change.path} is now {version}, config_id {plan.made.id[:12]}; what it was: {change.backup}"
    )
    if not request.restart:
        return 0
    journal.begin("restart")
    is_restarted = _restart(hands)
    journal.done("restart")
    return 0 if is_restarted else EXIT_NOT_RESTARTED


def _close(step: str, closer: Closer, journal: Journal) -> None:
    """Close; what is closed is noted, for it stays so whatever fails later."""
    journal.begin(step)
    closed = closer.close()
    notes = [f"{line} (this cannot be taken back)" for line in closed.lines]
    if closed.failure is not None:
        journal.record.notes.extend(notes)
        journal.record.steps[step] = "failed"
        raise closed.failure
    journal.done(step, notes)


def _restart(hands: Hands) -> bool:
    """Restart the traders, telling what came of it; whether all of them were."""
    try:
        results = restart_traders(hands.environment, hands.run)
    except MeiError as error:
        hands.tell(f"warning: nothing was restarted: {error}")
        return False
    for one in results:
        hands.tell(one.line())
    is_well = all(one.ok for one in results)
    if not is_well:
        hands.tell(
            "warning: the deployment stands, but a trader may run on with the old file: restart it"
        )
    return is_well


def _changes(plan: _Plan, request: DeployRequest) -> list[str]:
    """The lines of the changelog."""
    one = plan.choice.standing
    values = sorted((path, value) for path, _, value in plan.made.changes)
    trades, profit_factor = one.trades, one.profit_factor
    return [
        f"DEPLOY: Applied sweep-optimised config (rank #{request.rank}).",
        *(f"  {path}: → {_said(value)}" for path, value in values),
        f"Backtest verification: ${one.pnl:.2f} PnL / {trades:.0f} trades / {one.win_rate * 100:.1f}% WR / "
        f"PF {profit_factor:.2f} / Sharpe {one.sharpe:.3f}",
    ]


def _metric(name: str, fields: Mapping[str, Any]) -> str:
    if name not in fields:
        return "N/A"
    value = fields[name]
    if not isinstance(value, float):
        return "inf (no loss)" if value is None and name == "profit_factor" else _said(value)
    return f"{value * 100:.1f}%" if name in _FRACTIONS else f"{value:.2f}"


def _said(value: Any) -> str:
    """A value as the file writes it."""
    return shown(value) if value is None or isinstance(value, (bool, dict, list)) else str(value)


def _is_same(before: Any, value: Any) -> bool:
    is_switch = isinstance(before, bool), isinstance(value, bool)
    return bool(before == value and is_switch[0] == is_switch[1])
