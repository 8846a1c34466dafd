"""Before the services start: their settings must be right, and the folders they share writable for their user.

Runs as root in a container of its own. Volumes are handed to UID:GID. So is what belongs to root in the two folders of
the host (a clone made by root, or a folder the engine made because it was missing); the folders of any other user are
left alone, and named with the remedy. Exit code 2: a variable is wrong, 6: a folder is not writable.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

VOLUMES = (Path("/shared"), Path("/data"), Path("/models"), Path("/cache"))
RESEARCH, RESULTS = Path("/research"), Path("/results")
ROOT = 0
EXIT_CONFIG, EXIT_NOT_WRITABLE = 2, 6


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
        check_settings()
        for folder in VOLUMES:
            hand_over(folder, uid, gid)
        if not has_candles(RESEARCH):
            make_writable("RESEARCH_DIR", RESEARCH, uid, gid)
        make_writable("RESULTS_DIR", RESULTS, uid, gid)
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


def check_settings() -> None:
    """A service that refuses its settings would be restarted for ever; here they are refused once."""
    from mei.model.errors import MeiError
    from mei.policy.decide import Policy
    from services.backtest_runner.app.settings import Settings as RunnerSettings
    from services.ml_service.app.settings import Settings as MlSettings
    from services.param_controller.app.settings import Settings as PolicySettings

    try:
        RunnerSettings.load()
        MlSettings.load().check()
        controller = PolicySettings.load()
        controller.schemas()
        Policy.parse(controller.policy)
    except MeiError as error:
        raise Refusal(error.exit_code, str(error)) from error


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
        for path in (folder, *folder.rglob("*")):
            if path.lstat().st_uid == ROOT:
                try_chown(path, uid, gid)
    if not is_writable(folder, uid, gid):
        raise Refusal(
            EXIT_NOT_WRITABLE,
            f"{folder.name}/ ({variable}) must be writable for UID {uid}, belongs to UID {owner}: "
            f"give UID=$(id -u) GID=$(id -g), or sudo chown -R {uid}:{gid} the folder",
        )
    print(f"{folder.name}/ belonged to root: handed over to UID {uid}, GID {gid}", flush=True)


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
