"""Restarting the paper trader after its strategy file was replaced, and what the record says of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from mei.model.errors import ConfigError, MeiError
from mei.workflows.deploy.journal import Journal
from mei.workflows.deploy.restart import (
    DEFAULT_PAPER,
    PAPER_VARIABLE,
    PAUSE_MODES,
    IntervalChange,
    PauseMark,
    orchestrate,
    restart_command,
)
from mei.workflows.deployments.hands import Hands
from mei.workflows.deployments.records import Recorded, recorded, write_event

MODES: Final = ("auto", "always", "never")
STEP: Final = "restart"
#: What became of a restart. PENDING stands in the record until it is over.
NOT_REQUIRED, NOT_WANTED, DRY_RUN = "not_required", "not_wanted", "dry_run"
PENDING, DONE, FAILED, INTERRUPTED = "pending", "ok", "failed", "interrupted"


class NotRestartedError(MeiError):
    """The strategy file is deployed and recorded, but a service that runs it was not restarted."""

    code = "not_restarted"


@dataclass(frozen=True, slots=True)
class RestartAsked:
    """mode: auto (when the intervals changed), always, never. service: None = PAPER_SERVICE or its default.

    The others as of IntervalChange; leave_paused: the pause file stays.
    """

    mode: str = "auto"
    service: str | None = None
    ws_service: str | None = None
    pause_file: str | None = None
    pause_mode: str = PAUSE_MODES[0]
    leave_paused: bool = False
    verify_sleep_s: float = 2.0

    def check(self, environment: Mapping[str, str]) -> None:
        """ConfigError for what would fail only after the file was replaced."""
        if self.mode not in MODES:
            raise ConfigError(f"--restart must be {', '.join(MODES)}, was {self.mode!r}")
        if self.pause_mode not in PAUSE_MODES:
            raise ConfigError(
                f"--pause-mode must be {' or '.join(PAUSE_MODES)}, was {self.pause_mode!r}"
            )
        if not (math.isfinite(self.verify_sleep_s) and self.verify_sleep_s >= 0.0):
            raise ConfigError(f"--verify-sleep-s must be at least 0, was {self.verify_sleep_s:g}")
        if self.pause_file is None and self.leave_paused:
            raise ConfigError("--leave-paused must come with --pause-file, which was left out")
        if self.pause_file is not None and not Path(self.pause_file).parent.is_dir():
            raise ConfigError(
                f"--pause-file must be in a folder that exists, {self.pause_file} is not: create it"
            )
        restart_command(environment)

    def unit(self, environment: Mapping[str, str]) -> str:
        """The service of the trader."""
        return self.service or environment.get(PAPER_VARIABLE) or DEFAULT_PAPER

    def status(self, *, is_required: bool, dry_run: bool) -> str:
        """What the record says before anything is restarted."""
        if self.mode == "never":
            return NOT_WANTED
        if not is_required and self.mode != "always":
            return NOT_REQUIRED
        return DRY_RUN if dry_run else PENDING

    def part(self, status: str, environment: Mapping[str, str]) -> dict[str, Any]:
        """The part of an event about the restart."""
        result: dict[str, Any] = {"status": status, "services": []}
        pause = None if self.pause_file is None else str(Path(self.pause_file).absolute())
        return {
            "mode": self.mode,
            "service": self.unit(environment),
            "ws_service": self.ws_service,
            "pause_file": pause,
            "pause_mode": self.pause_mode,
            "leave_paused": self.leave_paused,
            "result": result,
        }

    def as_recorded(self, part: Mapping[str, Any]) -> RestartAsked:
        """For another try: what is not asked for now is as it was asked for then. part: that of the event."""
        again = replace(
            self,
            service=self.service or _text(part.get("service")),
            ws_service=self.ws_service or _text(part.get("ws_service")),
        )
        pause_file, mode = _text(part.get("pause_file")), part.get("pause_mode")
        if self.pause_file is not None or pause_file is None or mode not in PAUSE_MODES:
            return again
        is_left = part.get("leave_paused") is True
        return replace(again, pause_file=pause_file, pause_mode=mode, leave_paused=is_left)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def restart_and_record(
    asked: RestartAsked,
    folder: Path,
    event_name: str,
    event: dict[str, Any],
    hands: Hands,
    journal: Journal,
) -> None:
    """Restart if the event says that it is pending, and write into it what came of it.

    Raises NotRestartedError after that when a service is not up.
    """
    if event["restart"]["result"]["status"] != PENDING:
        return
    journal.begin(STEP)
    change = IntervalChange(
        trader_service=asked.unit(hands.environment),
        ws_service=asked.ws_service,
        pause_file=asked.pause_file,
        pause_mode=asked.pause_mode,
        resume_on_success=not asked.leave_paused,
        verify_sleep_s=asked.verify_sleep_s,
        own_pause=_mark_of(event["restart"].get("pause_mark")),
    )

    def paused(mark: PauseMark) -> None:
        # At once: whoever tries again after a kill must know that the pause is no operator's.
        event["restart"]["pause_mark"] = asdict(mark)
        write_event(folder, event_name, event)

    services: list[dict[str, Any]] = []
    fault = ""
    try:
        results = orchestrate(
            change,
            hands.environment,
            sleep=hands.sleep,
            tell=hands.tell,
            run=hands.run,
            paused=paused,
        )
    except MeiError as error:
        fault = str(error)
    else:
        for one in results:
            hands.tell(one.line())
        services = [
            {"service": one.service, "exit_code": one.exit_code, "ok": one.ok, "said": one.said}
            for one in results
        ]
        fault = "; ".join(one.line() for one in results if not one.ok)
    event["restart"]["result"] = {
        "status": FAILED if fault else DONE,
        "services": services,
        **({"error": fault} if fault else {}),
    }
    write_event(folder, event_name, event)
    journal.done(STEP)
    if fault:
        pause = (
            f" and {asked.pause_file} keeps it from opening anything" if asked.pause_file else ""
        )
        raise NotRestartedError(
            f"{folder} is deployed and recorded, but the trader must be restarted and was not ({fault}){pause}: "
            "restart it"
        )


def _mark_of(found: Any) -> PauseMark | None:
    """The pause of an earlier try, as the event has it."""
    try:
        return None if found is None else PauseMark(**found)
    except TypeError:
        return None


def close_interrupted(folder: Path, event_name: str, yaml_path: Path) -> None:
    """Say in records of earlier deployments of the file that their restart was cut short; its lock must be held."""
    for one in _pending(folder, event_name):
        if one.what.get("yaml_path") != str(yaml_path):
            continue
        event = dict(one.event)
        event["restart"] = {**event["restart"]}
        event["restart"]["result"] = {**event["restart"]["result"], "status": INTERRUPTED}
        write_event(one.folder, event_name, event)


def _pending(folder: Path, event_name: str) -> list[Recorded]:
    found = []
    for one in recorded(folder, event_name):
        restart = one.event.get("restart")
        result = restart.get("result") if isinstance(restart, Mapping) else None
        if isinstance(result, Mapping) and result.get("status") == PENDING:
            found.append(one)
    return found
