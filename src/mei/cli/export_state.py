"""The program `export_state`: the state of a trader as the file a replay starts with."""

from __future__ import annotations

import os
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from mei.cli.paper_db import PAPER_DB_VARIABLE, paper_db
from mei.cli.tool_program import tell

if TYPE_CHECKING:
    from mei.model.replay import InitState


class _Source(StrEnum):
    PAPER = "paper"
    LIVE = "live"


class _Format(StrEnum):
    V1 = "v1"
    V2 = "v2"


def export_state(
    source: Annotated[_Source, typer.Option("--source", help="Whose state.")],
    output: Annotated[str, typer.Option("--output", help="Where the JSON goes.")],
    version: Annotated[
        _Format,
        typer.Option(
            "--format",
            help="v1: balance and positions; v2: everything, to go on bit for bit (paper only).",
        ),
    ] = _Format.V1,
    db: Annotated[
        str | None,
        typer.Option(
            "--db",
            help=f"Trading database.  [default: ${PAPER_DB_VARIABLE}, else trading_engine.db; of live "
            "trading_engine_live.db]",
        ),
    ] = None,
    exchange: Annotated[
        str | None, typer.Option("--exchange", help="Of live: mainnet, testnet or a URL.")
    ] = None,
    secrets_path: Annotated[
        str | None,
        typer.Option(
            "--secrets-path", help="Of live.  [default: $AI_QUANT_SECRETS_PATH or secrets.json]"
        ),
    ] = None,
) -> None:
    """Write the state of a paper or live trader as init-state, for `replay --init-state`."""
    from mei.data.init_state import init_state_text
    from mei.data.trading_db import LIVE_DB
    from mei.model.errors import ConfigError
    from mei.workflows.files import check_apart, check_folder, write_result
    from mei.workflows.paper.export import paper_state_v1, paper_state_v2, position_line

    is_live = source is _Source.LIVE
    for flag, given in (("--exchange", exchange), ("--secrets-path", secrets_path)):
        if given is not None and not is_live:
            raise ConfigError(f"{flag} says something of --source live alone, leave it out")
    if is_live and version is _Format.V2:
        raise ConfigError(
            "--format v2 must come with --source paper: an exchange tells no more than v1"
        )
    check_folder(output)
    path, is_named = (db or LIVE_DB, False) if is_live else paper_db(db)
    check_apart([("--output", output)], [("--db", path), ("--secrets-path", secrets_path)])
    if is_live:
        state = _live_state(exchange, secrets_path, path)
    elif version is _Format.V2:
        state = paper_state_v2(path)
    else:
        _require_named(path, is_named)
        state = paper_state_v1(path, _now_ms(), tell)
    text = init_state_text(state)
    for position in state.positions:
        tell(position_line(position))
    write_result(output, text)
    tell(f"balance=${state.balance_usd:.2f}, {len(state.positions)} positions, written to {output}")


def _require_named(path: str, is_named: bool) -> None:
    """A database that somebody named must be there; one that nobody named is told of loudly."""
    from mei.model.errors import DataError

    if os.path.isfile(path):  # noqa: PTH113 — also for names no path can have
        return
    if is_named:
        raise DataError(
            f"the trading database must be a file, {path!r} is none: correct --db or {PAPER_DB_VARIABLE}"
        )
    tell(
        f"WARNING: neither --db nor {PAPER_DB_VARIABLE} names a trading database, and {path} is not here: the state "
        "of a trader that was never started is written"
    )


def _live_state(exchange: str | None, secrets_path: str | None, path: str) -> InitState:
    from mei.model.errors import ConfigError
    from mei.workflows.account.export import live_init_state
    from mei.workflows.account.network import base_url
    from mei.workflows.account.open_account import account_door

    base_url(exchange)
    try:
        door = account_door(exchange, secrets_path, environment=os.environ)
    except ConfigError as error:
        # Without an account there is nothing to export: that is no usage.
        error.exit_code = 1
        raise
    return live_init_state(door.open(now_ms=_now_ms), path, _now_ms(), tell=tell)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
