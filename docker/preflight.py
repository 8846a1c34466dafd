"""Before the services start: their settings must be right, and the folders they share writable for their user.

Runs as root in a container of its own. Volumes are handed to UID:GID. So is what belongs to root in the folders of
the host (a clone made by root, or a folder the engine made because it was missing); the folders of any other user are
left alone, and named with the remedy. Exit code 2: a variable is wrong, 6: a folder is not writable.

candles_dbs/ must be writable for the services of profile `live` only. Compose tells of profiles in COMPOSE_PROFILES,
not of --profile or of services started by name; where nobody tells, data_ingester does at /ready.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

VOLUMES = (Path("/shared"), Path("/data"), Path("/models"), Path("/cache"))
RESEARCH, RESULTS = Path("/research"), Path("/results")
CANDLES = Path("/app/candles_dbs")
ROOT = 0
EXIT_CONFIG, EXIT_NOT_WRITABLE = 2, 6
#: A bar is there 2 s and two passes after it closed at the latest, and INGEST_SECONDS may lie between these, s.
PASSES_S = 30.0


class Refusal(Exception):
    """One line for the user, and the exit code."""

    def __init__(self, exit_code: int, line: str) -> None:
        super().__init__(line)
        self.exit_code = exit_code


def main() -> int:
    """Check and hand over; the exit code."""
    try:
        uid, gid = number("UID"), number("GID")
        check_ledger(os.environ.get("LEDGER_DB", ""))
        check_paper_db(os.environ.get("AI_QUANT_PAPER_DB_PATH", ""))
        check_settings()
        for folder in VOLUMES:
            hand_over(folder, uid, gid)
        if not has_candles(RESEARCH):
            make_writable("RESEARCH_DIR", RESEARCH, uid, gid)
        make_writable("RESULTS_DIR", RESULTS, uid, gid)
        if runs_live():
            make_writable("CANDLES_DIR", CANDLES, uid, gid)
        hand_over_roots(CANDLES, uid, gid)
    except Refusal as refusal:
        print(f"error: {refusal}", file=sys.stderr)
        return refusal.exit_code
    return 0


def number(variable: str) -> int:
    """The variable as a user or group id."""
    text = os.environ.get(variable, "")
    if not (text.isascii() and text.isdigit() and int(text) < 2**31):
        raise Refusal(
            EXIT_CONFIG,
            f"{variable} must be a number such as 1000, was {text!r}: give UID=$(id -u) GID=$(id -g)",
        )
    return int(text)


def check_ledger(text: str) -> None:
    """A relative path would end up in the read-only image."""
    if "://" not in text and not text.startswith("/shared/"):
        raise Refusal(
            EXIT_CONFIG,
            f"LEDGER_DB must be a file under /shared/ or a database URL in the containers, was {text!r}: unset it",
        )


def check_paper_db(text: str) -> None:
    """A relative path would end up in the read-only image."""
    if text and not text.startswith("/"):
        raise Refusal(
            EXIT_CONFIG,
            f"AI_QUANT_PAPER_DB_PATH must be a file under /results/ in the containers, was {text!r}: unset it",
        )


def check_settings() -> None:
    """A service that refuses its settings would be restarted for ever; here they are refused once."""
    from mei.model.errors import MeiError
    from mei.policy.decide import Policy
    from services.backtest_runner.app.settings import Settings as RunnerSettings
    from services.data_ingester.app.settings import Settings as IngesterSettings
    from services.ml_scheduler.app.settings import Settings as SchedulerSettings
    from services.ml_service.app.settings import Settings as MlSettings
    from services.paper_trader.app.settings import Settings as PaperSettings
    from services.param_controller.app.settings import Settings as PolicySettings
    from services.sweep_worker.app.settings import Settings as SweepSettings

    try:
        RunnerSettings.load()
        trainer = MlSettings.load()
        trainer.check()
        trainer.check_window()
        controller = PolicySettings.load()
        controller.schemas()
        Policy.parse(controller.policy)
        SweepSettings.load().check()
        ingester = IngesterSettings.load()
        ingester.check()
        SchedulerSettings.load().check()
        paper = PaperSettings.load()
        paper.check()
    except MeiError as error:
        raise Refusal(error.exit_code, str(error)) from error

    if paper.paper_clock == "wall":
        check_grace(paper.bar_grace_seconds, ingester.ingest_seconds)


def check_grace(grace_s: float, ingest_s: float) -> None:
    """The trader never takes a bar that comes after its grace; data_ingester must be able to bring it before."""
    if ingest_s > 0 and grace_s <= ingest_s + PASSES_S:
        raise Refusal(
            EXIT_CONFIG,
            f"BAR_GRACE_SECONDS must be more than INGEST_SECONDS ({ingest_s:g}) + {PASSES_S:g}, was {grace_s:g}: bars "
            "that come last would be lost to the trader; raise it (where all are there it is not waited)",
        )


def runs_live() -> bool:
    """Whether COMPOSE_PROFILES says so."""
    profiles = {part.strip() for part in os.environ.get("COMPOSE_PROFILES", "").split(",")}
    return bool(profiles & {"live", "*"})


def hand_over(folder: Path, uid: int, gid: int) -> None:
    """Give a volume to the user, with everything in it that is not theirs yet."""
    for path in (folder, *folder.rglob("*")):
        if path.lstat().st_uid != uid:
            os.chown(path, uid, gid, follow_symlinks=False)


def has_candles(research: Path) -> bool:
    """Candles are only read; an empty folder gets the sample."""
    return any(path.is_file() for path in research.glob("*/*/*"))


def make_writable(variable: str, folder: Path, uid: int, gid: int) -> None:
    """Hand over what root owns, if something must change; refuse where that does not help."""
    if is_writable(folder, uid, gid):
        return
    owner = folder.stat().st_uid
    if owner in (ROOT, uid):
        hand_over_roots(folder, uid, gid)
    if not is_writable(folder, uid, gid):
        raise Refusal(
            EXIT_NOT_WRITABLE,
            f"{folder.name}/ ({variable}) must be writable for UID {uid}, belongs to UID {owner}: "
            f"give UID=$(id -u) GID=$(id -g), or sudo chown -R {uid}:{gid} the folder",
        )
    print(f"{folder.name}/ belonged to root: handed over to UID {uid}, GID {gid}", flush=True)


def hand_over_roots(folder: Path, uid: int, gid: int) -> None:
    """Give the user what belongs to root; the folder itself may stay another's, who only lets it be read."""
    for path in (folder, *folder.rglob("*")):
        if path.lstat().st_uid == ROOT:
            try_chown(path, uid, gid)


def is_writable(folder: Path, uid: int, gid: int) -> bool:
    """Whether that user can make a file there and write to all that lies there, tried as that user."""
    child = os.fork()
    if child == 0:
        os._exit(0 if can_write_as(folder, uid, gid) else 1)
    return os.waitpid(child, 0)[1] == 0


def can_write_as(folder: Path, uid: int, gid: int) -> bool:
    """Become the user for good, and try."""
    try:
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        probe = folder / f".write-test-{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
        return all(os.access(path, os.W_OK) for path in folder.rglob("*"))
    except OSError:
        return False


def try_chown(path: Path, uid: int, gid: int) -> None:
    """Some file systems have no owners to change (read-only and network mounts); the next check tells."""
    try:
        os.chown(path, uid, gid, follow_symlinks=False)
    except OSError:
        return


if __name__ == "__main__":
    raise SystemExit(main())
