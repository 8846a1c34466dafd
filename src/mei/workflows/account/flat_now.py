"""The red button: stop the traders, then close what they hold, on paper and at the exchange."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mei.model.errors import DataError, MeiError, OutputError
from mei.report.atomic import write_atomically
from mei.workflows.account.close import close_all
from mei.workflows.account.hyperliquid import HyperliquidAccount
from mei.workflows.account.open_account import AccountDoor
from mei.workflows.paper.flatten import close_paper, pause_file_warning

PauseMode = Literal["close_only", "halt_all"]
_HALT: PauseMode = "halt_all"
_META = {"flat_now": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatRequest:
    """What is to be done. pause_file, paper_db, door: None = not that.

    pause_file: where the traders look for their mode. paper_db: trading database; paper_db_is_named: it must be there.
    door: to the live account.
    max_attempts: orders a position at most. slippage_frac: how far from the mid price, 0.02 = 2 %. verify_after_s: wait
    after an order.
    """

    pause_file: str | None = None
    pause_mode: PauseMode = "close_only"
    reason: str = "flat_now"
    paper_db: str | None = None
    paper_db_is_named: bool = False
    door: AccountDoor | None = None
    max_attempts: int = 3
    slippage_frac: float = 0.02
    verify_after_s: float = 5.0


def flat_now(
    request: FlatRequest,
    *,
    now_ms: Callable[[], int],
    sleep: Callable[[float], object],
    say: Callable[[str], None],
    tell: Callable[[str], None],
) -> bool:
    """Do it: whether everything asked for is closed. `say` hears results, `tell` every step.

    The pause comes first: OutputError when it cannot be written, and nothing is closed then. After that each target is
    tried, whatever came of the other, and what could not be closed is said. A pause that is stricter already stays.
    """
    if request.pause_file is not None:
        say(_pause(request.pause_file, request.pause_mode))
    done = True
    if request.paper_db is not None:
        done &= _tried("paper", lambda: _close_paper(request, now_ms(), say, tell), say)
    if request.door is not None:
        done &= _tried("live", lambda: _close_live(request, now_ms, sleep, say, tell), say)
    say("flat" if done else "NOT FLAT: see the lines above")
    return done


def _tried(target: str, close: Callable[[], bool], say: Callable[[str], None]) -> bool:
    try:
        return close()
    except MeiError as error:
        say(f"{target}: FAILED: {error}")
    except Exception as error:
        # A defect here must not keep the other target open.
        say(f"{target}: FAILED: unexpected {type(error).__name__}: {error}")
    return False


def _pause(pause_file: str, mode: PauseMode) -> str:
    """Write the mode, unless a stricter one is there; the line that says so."""
    path = Path(pause_file)
    try:
        there = path.read_bytes()[:256].decode(errors="replace").strip().lower()
    except FileNotFoundError:
        there = ""
    except OSError as error:
        raise _cannot_pause(pause_file, error.strerror) from None
    if there == _HALT and mode != _HALT:
        return f"pause: {pause_file} says {_HALT} already, which is stricter than {mode}: left so"
    try:
        write_atomically(path.resolve() if path.is_symlink() else path, f"{mode}\n".encode())
    except OutputError as error:
        why = getattr(error.__cause__, "strerror", None) or error
        raise _cannot_pause(pause_file, why) from None
    before = f" (it said {there[:40]})" if there and there != mode else ""
    return f"pause: {mode} written to {pause_file}{before}"


def _cannot_pause(pause_file: str, why: object) -> OutputError:
    return OutputError(
        f"{pause_file} must be writable to pause the traders, was not ({why}): nothing was closed; name another "
        "--kill-file, or close without a pause by --no-pause"
    )


def _close_paper(
    request: FlatRequest, now_ms: int, say: Callable[[str], None], tell: Callable[[str], None]
) -> bool:
    path = str(request.paper_db)
    if request.paper_db_is_named and not Path(path).is_file():
        raise DataError(
            f"the trading database must be a file, {path!r} is none: what a trader holds is not known; name its "
            "--paper-db, or set AI_QUANT_PAPER_DB_PATH as the trader has it"
        )
    if not Path(path).exists():
        say(f"paper: there is no {Path(path).absolute()}: nothing to close")
        tell(
            f"WARNING: neither --paper-db nor AI_QUANT_PAPER_DB_PATH names a trading database, and {path} is not here: "
            "a paper trader with another database holds what it held"
        )
        return True
    closed = close_paper(path, reason=request.reason, now_ms=now_ms, meta=_META)
    for one in closed:
        if one.is_priced:
            say(
                f"paper: {one.symbol} {one.side} {one.qty:.10g}: closed at {one.px:.10g}, pnl {one.pnl_usd:+.2f} USD"
            )
        else:
            say(f"paper: {one.symbol}: closed, at no price: {path} tells none")
    if not closed:
        say(f"paper: nothing is open in {path}")
    if request.pause_file is not None:
        _warn_of_pause_file(path, request.pause_file, say)
    return True


def _warn_of_pause_file(path: str, pause_file: str, say: Callable[[str], None]) -> None:
    """Say that the trader may go on. Not before what it holds is closed: nothing may come between."""
    try:
        warning = pause_file_warning(path, pause_file)
    except (MeiError, TypeError, ValueError) as error:
        warning = f"which pause file the trader watches could not be read: {error}"
    if warning is not None:
        say(f"paper: WARNING: {warning}")


def _close_live(
    request: FlatRequest,
    now_ms: Callable[[], int],
    sleep: Callable[[float], object],
    say: Callable[[str], None],
    tell: Callable[[str], None],
) -> bool:
    assert request.door is not None
    with request.door.open(now_ms=now_ms) as account:
        report = close_all(
            account,
            max_attempts=request.max_attempts,
            slippage_frac=request.slippage_frac,
            verify_after_s=request.verify_after_s,
            sleep=sleep,
            tell=tell,
        )
        resting = _resting(account)
    for line in report.lines():
        say(f"live: {line}")
    if not report.symbols:
        say(f"live: nothing is open at {request.door.url}")
    if resting:
        say(f"live: WARNING: {resting}")
    return report.closed


def _resting(account: HyperliquidAccount) -> str:
    """What may open a position still without any trader; empty for nothing."""
    try:
        orders = account.resting_orders()
    except MeiError as error:
        return f"whether orders wait in the books could not be read: {error}"
    return f"orders wait in the books, cancel them: {'; '.join(orders)}" if orders else ""
