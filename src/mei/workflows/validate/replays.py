"""The replays of a validation, each into files of its own."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mei.data.candle_db import load_candles
from mei.data.replay_report import ReplayReport, read_replay_report
from mei.model.errors import ConfigError, MeiError, StoppedError
from mei.workflows.files import write_result
from mei.workflows.market import LoadCandles
from mei.workflows.replay import ReplayRequest, run_replay
from mei.workflows.strategy import Tell

#: Exit code of a replay that took too long, as of the program `timeout`.
TOO_LONG: Final = 124
#: Fields of a report that a validation repeats.
_METRICS: Final = (
    "initial_balance",
    "final_balance",
    "total_pnl",
    "total_trades",
    "win_rate",
    "profit_factor",
    "sharpe_ratio",
    "max_drawdown_pct",
    "max_drawdown_usd",
    "total_fees",
)


@dataclass(frozen=True, slots=True)
class ReplayFiles:
    """Where a replay goes: its report, and what its command would print on both streams."""

    report: str
    stdout: str
    stderr: str

    @classmethod
    def in_folder(cls, folder: Path) -> ReplayFiles:
        """replay.json, replay.stdout.txt and replay.stderr.txt."""
        return cls(*(str(folder / f"replay.{end}") for end in ("json", "stdout.txt", "stderr.txt")))

    def all(self) -> tuple[str, str, str]:
        """The three paths."""
        return self.report, self.stdout, self.stderr


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a replay ended. exit_code: as its command's; report: None unless that is 0; error: one line, empty if 0."""

    exit_code: int
    report: ReplayReport | None = None
    error: str = ""


def metrics_of(report: ReplayReport) -> dict[str, Any]:
    """The numbers of a report that a validation repeats, by their names there."""
    return {name: report.fields[name] for name in _METRICS}


def replay_into(
    files: ReplayFiles, request: ReplayRequest, warn: Tell, load: LoadCandles = load_candles
) -> ReplayReport:
    """Replay and write; the report holds what --output of the same replay writes, byte for byte.

    `warn` hears of the run's lines only warnings. Raises MeiError; what was said until then is in the files.
    """
    said: list[str] = []

    def tell(line: str) -> None:
        said.append(line)
        if "Warning" in line or "compiles" in line or line.startswith("[config]"):
            warn(line)

    try:
        text = run_replay(request, tell, load)
        assert text is not None, "no --output was asked for"
        write_result(files.report, text)
    except MeiError as error:
        said.append(f"error: {error}")
        raise
    finally:
        write_result(files.stdout, "")
        write_result(files.stderr, "".join(f"{line}\n" for line in said))
    return read_replay_report(files.report)


def outcome_of(
    files: ReplayFiles, request: ReplayRequest, warn: Tell, load: LoadCandles, timeout_s: float
) -> Outcome:
    """As `replay_into`, with what goes wrong told by the outcome. timeout_s: 0 = none.

    A replay that may take too long runs in a process of its own, for only that can be stopped; no file of an earlier
    run is left where it has none.
    """
    if timeout_s > 0.0:
        return _in_time(files, request, timeout_s)
    try:
        return Outcome(0, replay_into(files, request, warn, load))
    except StoppedError:
        raise
    except MeiError as error:
        _remove(files.report)
        return Outcome(_code_of(error), None, str(error))


def _in_time(files: ReplayFiles, request: ReplayRequest, timeout_s: float) -> Outcome:
    for path in files.all():
        _remove(path)
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_child, args=(files, request), daemon=True)
    process.start()
    process.join(timeout_s)
    if process.is_alive():
        process.kill()
        process.join()
        _remove(files.report)
        error = f"a replay must end within --timeout-s {timeout_s:g}, did not"
        write_result(files.stdout, "")
        write_result(files.stderr, f"error: {error}\n")
        return Outcome(TOO_LONG, None, error)
    code = process.exitcode
    if code == 0:
        return Outcome(0, read_replay_report(files.report))
    said = Path(files.stderr).read_text().splitlines() if Path(files.stderr).exists() else []
    if said and said[-1].startswith("error: "):
        return Outcome(code or 1, None, said[-1].removeprefix("error: "))
    return Outcome(code or 1, None, f"the process of the replay ended with {code}")


def _child(files: ReplayFiles, request: ReplayRequest) -> None:
    """What the process does. Its end is the exit code; a defect leaves with 1."""
    code = 0
    try:
        replay_into(files, request, lambda line: None)
    except MeiError as error:
        code = _code_of(error)
    os._exit(code)


def _code_of(error: MeiError) -> int:
    """The exit code of the command `replay` for such an error."""
    return 2 if isinstance(error, ConfigError) else 1


def _remove(path: str) -> None:
    with suppress(OSError):
        Path(path).unlink()


def named(what: str, run: Callable[[], ReplayReport]) -> ReplayReport:
    """What `run` gives; an error's message starts with `what`."""
    try:
        return run()
    except StoppedError:
        raise
    except MeiError as error:
        raise type(error)(f"{what}: {error}") from error
