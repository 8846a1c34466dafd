"""The program `flat_now`: pause the traders and close everything they hold."""

from __future__ import annotations

import os
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from mei.cli.paper_db import PAPER_DB_VARIABLE, PaperDb
from mei.cli.paper_db import paper_db as paper_db_of
from mei.cli.tool_program import clock_ms, tell
from mei.model.errors import ConfigError

if TYPE_CHECKING:
    from mei.workflows.account.flat_now import FlatRequest
    from mei.workflows.account.open_account import AccountDoor

PAUSE_FILE_VARIABLE = "AI_QUANT_KILL_SWITCH_FILE"
#: Beyond this a fraction was probably meant as percent.
_MAX_SLIPPAGE_FRAC = 0.2


class _PauseMode(StrEnum):
    CLOSE_ONLY = "close_only"
    HALT_ALL = "halt_all"


def flat_now(
    kill_file: Annotated[
        str | None,
        typer.Option(
            "--kill-file", help=f"The traders' pause file.  [default: ${PAUSE_FILE_VARIABLE}]"
        ),
    ] = None,
    pause_mode: Annotated[
        _PauseMode, typer.Option("--pause-mode", help="What goes into it.")
    ] = _PauseMode.CLOSE_ONLY,
    no_pause: Annotated[
        bool, typer.Option("--no-pause", help="Close only; the traders may open again.")
    ] = False,
    reason: Annotated[str, typer.Option("--reason", help="For the rows of paper.")] = "flat_now",
    paper: Annotated[
        bool,
        typer.Option("--paper", help="Close paper positions.  [default: on without --live]"),
    ] = False,
    paper_db: Annotated[
        str | None,
        typer.Option("--paper-db", help=f"[default: ${PAPER_DB_VARIABLE}, else trading_engine.db]"),
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Close the account's positions; needs --yes.")
    ] = False,
    exchange: Annotated[
        str | None, typer.Option("--exchange", help="Of --live: mainnet, testnet or a URL.")
    ] = None,
    secrets_path: Annotated[
        str | None,
        typer.Option(
            "--secrets-path", help="Of --live.  [default: $AI_QUANT_SECRETS_PATH or secrets.json]"
        ),
    ] = None,
    max_retries: Annotated[
        int, typer.Option("--max-retries", min=1, max=20, help="Orders a live position.")
    ] = 3,
    slippage_pct: Annotated[
        float,
        typer.Option("--slippage-pct", help="From the mid price at most, a fraction: 0.02 = 2 %."),
    ] = 0.02,
    verify_sleep_s: Annotated[
        float, typer.Option("--verify-sleep-s", help="Wait before looking what an order did.")
    ] = 5.0,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Pause the traders, then close everything they hold, on paper or live. Exit code 0 when all of it is flat."""
    from mei.workflows.account.flat_now import FlatRequest, flat_now

    if live and not yes:
        raise ConfigError("--live closes real positions and must come with --yes, it did not")
    _check_numbers(slippage_pct, verify_sleep_s)
    meant = _paper_db(paper or not live, paper_db)
    request = FlatRequest(
        pause_file=_pause_file(kill_file, no_pause),
        pause_mode=pause_mode.value,
        reason=reason,
        paper_db=None if meant is None else meant.path,
        paper_db_is_named=meant is not None and meant.is_named,
        door=_door(live, exchange, secrets_path),
        max_attempts=max_retries,
        slippage_frac=slippage_pct,
        verify_after_s=verify_sleep_s,
    )
    if not yes and not _agreed(request):
        tell("nothing was done")
        raise typer.Exit(1)
    if not flat_now(request, now_ms=clock_ms, sleep=time.sleep, say=_say, tell=tell):
        raise typer.Exit(1)


def _check_numbers(slippage_frac: float, verify_after_s: float) -> None:
    if not 0 < slippage_frac <= _MAX_SLIPPAGE_FRAC:
        raise ConfigError(
            f"--slippage-pct must be a fraction above 0 and at most {_MAX_SLIPPAGE_FRAC:g} (0.02 is 2 %), was "
            f"{slippage_frac:g}"
        )
    if not 0 <= verify_after_s <= 600:
        raise ConfigError(f"--verify-sleep-s must be 0 to 600 seconds, was {verify_after_s:g}")


def _pause_file(given: str | None, no_pause: bool) -> str | None:
    if no_pause:
        if given is not None:
            raise ConfigError("--kill-file and --no-pause say opposite things, leave one out")
        return None
    path = given if given is not None else os.environ.get(PAUSE_FILE_VARIABLE)
    if not path:
        raise ConfigError(
            f"the traders' pause file must be named by --kill-file or {PAUSE_FILE_VARIABLE}, was not; --no-pause "
            "closes without one"
        )
    return path


def _paper_db(is_meant: bool, given: str | None) -> PaperDb | None:
    if is_meant:
        return paper_db_of(given)
    if given is not None:
        raise ConfigError("--paper-db says something of --paper, which was left out: add it")
    return None


def _door(live: bool, exchange: str | None, secrets_path: str | None) -> AccountDoor | None:
    if not live:
        for flag, given in (("--exchange", exchange), ("--secrets-path", secrets_path)):
            if given is not None:
                raise ConfigError(f"{flag} says something of --live, which was left out: add it")
        return None
    from mei.workflows.account.open_account import account_door

    return account_door(exchange, secrets_path, environment=os.environ)


def _agreed(request: FlatRequest) -> bool:
    pause = (
        "without a pause"
        if request.pause_file is None
        else f"{request.pause_mode} in {request.pause_file}"
    )
    tell(f"Close all paper positions in {request.paper_db} ({pause})? [y/N]")
    try:
        return input().strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _say(line: str) -> None:
    print(line, flush=True)
