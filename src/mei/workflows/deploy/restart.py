"""Restarting a trader: units of systemd, or the command that does it where there is none, such as in Compose."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mei.model import faults
from mei.model.errors import ConfigError, OutputError
from mei.report.atomic import write_atomically

#: A command that is used instead of systemd, such as `docker compose restart paper_trader`.
COMMAND_VARIABLE: Final = "RESTART_COMMAND"
PAPER_VARIABLE: Final = "PAPER_SERVICE"
LIVE_VARIABLE: Final = "LIVE_SERVICE"
DEFAULT_PAPER: Final = "mei-paper-trader"
DEFAULT_LIVE: Final = "mei-live-trader"
#: What the trader makes of the pause file: no new positions, or nothing at all; the stricter one last.
PAUSE_MODES: Final = ("close_only", "halt_all")

_TIMEOUT_S: Final = 120.0
_NO_COMMAND: Final = 127
_TOO_LONG: Final = 124
#: What `systemctl restart` answers for a unit that is not installed.
_NO_UNIT: Final = 5


@dataclass(frozen=True, slots=True)
class ServiceResult:
    """What became of one service. service: its unit, or the command; exit_code: 0 = well; said: its last line."""

    service: str
    exit_code: int
    said: str = ""

    @property
    def ok(self) -> bool:
        """Whether it went well."""
        return self.exit_code == 0

    def line(self) -> str:
        """`[OK] service (exit_code=0)`, and what it said when it did not go well."""
        said = f": {self.said}" if self.said and not self.ok else ""
        return f"[{'OK' if self.ok else 'FAIL'}] {self.service} (exit_code={self.exit_code}){said}"


Run = Callable[[Sequence[str]], ServiceResult]


def run_command(command: Sequence[str]) -> ServiceResult:
    """Run a command to its end, at most two minutes; its name is that of the command."""
    name = shlex.join(command)
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return ServiceResult(name, _TOO_LONG, f"not done after {_TIMEOUT_S:.0f} s")
    except OSError as error:
        return ServiceResult(
            name,
            _NO_COMMAND,
            f"{error.strerror}: install it, or set {COMMAND_VARIABLE} to what restarts the trader",
        )
    lines = [line.strip() for line in f"{done.stdout}\n{done.stderr}".splitlines() if line.strip()]
    return ServiceResult(name, done.returncode, lines[-1] if lines else "")


def restart_command(environment: Mapping[str, str]) -> list[str] | None:
    """The command of RESTART_COMMAND in words, None when it is not set. ConfigError when it cannot be read."""
    text = environment.get(COMMAND_VARIABLE, "").strip()
    try:
        return shlex.split(text) or None
    except ValueError as error:
        raise ConfigError(
            f"{COMMAND_VARIABLE} must be a command, was {text!r} ({error}): close its quotes"
        ) from None


def restart_traders(environment: Mapping[str, str], run: Run = run_command) -> list[ServiceResult]:
    """Restart the paper trader, then the live one; each is tried, whatever came of the other.

    By RESTART_COMMAND if it is set, else the user's units PAPER_SERVICE and LIVE_SERVICE. A live unit that is not
    installed is no failure.
    """
    command = restart_command(environment)
    if command is not None:
        return [run(command)]
    paper = environment.get(PAPER_VARIABLE) or DEFAULT_PAPER
    live = environment.get(LIVE_VARIABLE) or DEFAULT_LIVE
    results = [_restart(paper, run)]
    faults.hit("deploy.restart.between")
    second = _restart(live, run)
    is_installed = second.exit_code != _NO_UNIT or LIVE_VARIABLE in environment
    return [*results, second] if is_installed else results


@dataclass(frozen=True, slots=True)
class PauseMark:
    """A pause file that was written here, told apart from one that somebody else writes in its place.

    inode, mtime_ns: of the file; text: what is in it; before: what was in it before, None if it was not there.
    """

    inode: int
    mtime_ns: int
    text: str
    before: str | None

    def stands(self, path: Path) -> bool:
        """Whether the file is still the one that was written."""
        try:
            found = path.stat()
            return (found.st_ino, found.st_mtime_ns, path.read_text(encoding="utf-8")) == (
                self.inode,
                self.mtime_ns,
                self.text,
            )
        except (OSError, UnicodeDecodeError):
            return False


@dataclass(frozen=True, slots=True)
class IntervalChange:
    """A restart around which a trader opens nothing.

    ws_service: what feeds it, None = nothing; pause_file: None = it is not paused; resume_on_success: take the pause
    away when all went well; verify_sleep_s: time to come up; own_pause: that of an earlier try which failed.
    """

    trader_service: str
    ws_service: str | None = None
    pause_file: str | None = None
    pause_mode: str = PAUSE_MODES[0]
    resume_on_success: bool = False
    verify_sleep_s: float = 2.0
    own_pause: PauseMark | None = None


def orchestrate(
    change: IntervalChange,
    environment: Mapping[str, str],
    *,
    sleep: Callable[[float], None],
    tell: Callable[[str], None],
    run: Run = run_command,
    paused: Callable[[PauseMark], None] = lambda mark: None,
) -> list[ServiceResult]:
    """Pause, restart the feed, then the trader, and look whether they run; what came of each.

    After the first failure nothing more is restarted and the pause stays. A pause that somebody else had set before
    stays in any case, which is told, and is never weakened; so does one that is set meanwhile. With RESTART_COMMAND
    that command is run instead, and nothing is looked at. `paused` hears of the pause once it is written. Raises
    OutputError when the pause file cannot be written.
    """
    mark = _pause(change)
    if mark is not None:
        paused(mark)
    results = _restart_all(change, restart_command(environment), sleep, run)
    wants_resume = change.resume_on_success and all(one.ok for one in results)
    if change.pause_file is not None and mark is not None and wants_resume:
        _resume(Path(change.pause_file), mark, tell)
    return results


def _restart_all(
    change: IntervalChange, command: list[str] | None, sleep: Callable[[float], None], run: Run
) -> list[ServiceResult]:
    if command is not None:
        return [run(command)]
    services = [one for one in (change.ws_service, change.trader_service) if one is not None]
    results = []
    for service in services:
        results.append(_restart(service, run))
        if not results[-1].ok:
            return results
    sleep(change.verify_sleep_s)
    for service in services:
        found = run(["systemctl", "--user", "is-active", "--quiet", service])
        if not found.ok:
            results.append(
                ServiceResult(
                    service, found.exit_code, found.said or "is not active after its restart"
                )
            )
    return results


def _restart(service: str, run: Run) -> ServiceResult:
    found = run(["systemctl", "--user", "restart", service])
    return ServiceResult(service, found.exit_code, found.said)


def _pause(change: IntervalChange) -> PauseMark | None:
    """Write the pause file; None where there is none to write."""
    if change.pause_mode not in PAUSE_MODES:
        raise ConfigError(
            f"--pause-mode must be {' or '.join(PAUSE_MODES)}, was {change.pause_mode!r}"
        )
    if change.pause_file is None:
        return None
    path = Path(change.pause_file)
    try:
        before = path.read_text(encoding="utf-8") if path.exists() else None
    except (OSError, UnicodeDecodeError) as error:
        raise OutputError(f"{path} must be a pause file, could not be read ({error})") from None
    modes = {change.pause_mode, (before or "").strip().lower()}
    strictest = next(mode for mode in reversed(PAUSE_MODES) if mode in modes)
    if change.own_pause is not None and change.own_pause.stands(path):
        before = change.own_pause.before
    text = f"{strictest}\n"
    write_atomically(path, text.encode())
    try:
        found = path.stat()
    except OSError as error:
        raise OutputError(f"{path} must stay a pause file, did not ({error.strerror})") from None
    return PauseMark(found.st_ino, found.st_mtime_ns, text, before)


def _resume(path: Path, mark: PauseMark, tell: Callable[[str], None]) -> None:
    """Undo the pause, unless somebody else has set or taken away one meanwhile: the last word is his."""
    if not mark.stands(path):
        tell(
            f"{path} was written by somebody else during the restart and stays: remove it to resume"
            if path.exists()
            else f"{path} was removed by somebody else during the restart"
        )
        return
    if mark.before is not None:
        write_atomically(path, mark.before.encode())
        tell(f"{path} was there before and stays ({mark.before.strip()}): remove it to resume")
        return
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"{path} must be removable, was not ({error.strerror}): the trader stays paused until it is removed"
        ) from None
