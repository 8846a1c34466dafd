"""A strategy file replaced so that it is the old one or the new one at any moment, with a backup beside it.

The new strategy file is the point of no return: a deployment killed before it left the old file, and the next one says
so; one killed after it is finished by the next one. A failure that is no kill puts the old file back.
"""

from __future__ import annotations

import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from mei.data.strategy_faults import shown
from mei.model import faults
from mei.model.errors import ConfigError, ConflictError, OutputError
from mei.model.yaml12 import parse_yaml
from mei.report.atomic import copy_atomically, write_atomically
from mei.report.folder_lock import alone_in
from mei.workflows.deploy.aftermath import Settled, Tell, settle, undo, verdict
from mei.workflows.deploy.journal import (
    BACKUP,
    YAML,
    FollowUp,
    Journal,
    read_record,
    sha256_of_file,
    sha256_of_text,
)


def to_stderr(line: str) -> None:
    """Where a tool tells what it does: standard output is for results."""
    print(line, file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """A strategy file that was replaced. backup: a copy of what was there; None, as before_sha256, if nothing was."""

    path: Path
    backup: Path | None
    before_sha256: str | None
    after_sha256: str


class Deployment:
    """One deployment that holds the lock of its folder; settled: what became of one before it that was cut short."""

    def __init__(self, journal: Journal, settled: Settled | None) -> None:
        self.journal = journal
        self.settled = settled

    def commit(self) -> None:
        """From here on the new file stands, whatever fails."""
        self.journal.is_committed = True


@contextmanager
def deploying(path: str | Path, *, tool: str, tell: Tell) -> Iterator[Deployment]:
    """Hold the folder of strategy file `path` for one deployment; settle one that was cut short first.

    An exception inside puts the old strategy file back unless `commit` was called. Raises ConflictError while another
    deployment holds the folder, or when an interrupted one cannot be settled, OutputError when nothing can be written.
    """
    yaml_path = real_path(path)
    with _only_one(yaml_path.parent):
        settled = settle(yaml_path, tell)
        journal = Journal(yaml_path, tool)
        try:
            yield Deployment(journal, settled)
        except BaseException:
            undo(journal, tell)
            raise
        journal.remove()


def replace_yaml(
    path: str | Path,
    text: str,
    *,
    now_ms: Callable[[], int],
    journal: Journal | None = None,
    then: Sequence[FollowUp] = (),
    expected_sha256: str | None = None,
    tool: str = "replace_yaml",
    tell: Tell = to_stderr,
) -> ConfigChange:
    """Replace strategy file `path` by `text`, with a backup `<path>.bak.<unix seconds>`; then write the files `then`.

    journal: that of a `deploying` around this; without one the call is a deployment of its own. expected_sha256: of the
    file that `text` was made of. Raises ConfigError for a text that is no mapping in YAML, ConflictError for a file
    that is not the expected one, ConflictError and OutputError as of `deploying`. Nothing is lost, whatever fails.
    """
    if journal is None:
        with deploying(path, tool=tool, tell=tell) as own:
            return replace_yaml(
                path,
                text,
                now_ms=now_ms,
                journal=own.journal,
                then=then,
                expected_sha256=expected_sha256,
            )
    yaml_path = journal.yaml_path
    document = parse_yaml(text, f"the new {yaml_path.name}")
    if not isinstance(document, dict):
        raise ConfigError(
            f"the new {yaml_path}: the root must be a mapping, was {shown(document)}: nothing was changed"
        )
    record = journal.record
    before_sha256 = sha256_of_file(yaml_path)
    if expected_sha256 not in (None, before_sha256):
        raise ConflictError(
            f"{yaml_path} must be as it was when it was read, was changed since: look at it and start again"
        )
    record.before_sha256 = before_sha256
    record.after_sha256 = sha256_of_text(text)
    record.then = list(then)
    backup = _back_up(journal, now_ms)
    journal.begin(YAML)
    mode = yaml_path.stat().st_mode if backup is not None else None
    write_atomically(yaml_path, text.encode())
    if mode is not None:
        yaml_path.chmod(stat.S_IMODE(mode))
    journal.done(YAML)
    for number, one in enumerate(then, 1):
        write_atomically(Path(one.path), one.text.encode())
        faults.hit(f"deploy.then.{number}")
    return ConfigChange(yaml_path, backup, before_sha256, record.after_sha256)


def real_path(path: str | Path) -> Path:
    """Where a strategy file really is: links followed, so that a link stays one. OutputError without its folder."""
    try:
        found = Path(path).resolve()
    except (OSError, RuntimeError) as error:
        raise OutputError(f"{path} must be a path of a file, is not ({error})") from None
    if not found.parent.is_dir():
        raise OutputError(
            f"{path} must be in a folder that exists, {found.parent} does not: create it or name another path"
        )
    if found.is_dir():
        raise OutputError(f"{path} must be a file, is a directory: name a file in it")
    return found


def free_backup_path(yaml_path: Path, now_s: int) -> Path:
    """`<path>.bak.<unix seconds>`; with `.1`, `.2` behind it where such a backup is there already."""
    first = yaml_path.with_name(f"{yaml_path.name}.bak.{now_s}")
    candidate, number = first, 0
    while candidate.exists() or candidate.is_symlink():
        number += 1
        candidate = first.with_name(f"{first.name}.{number}")
    return candidate


def interrupted(path: str | Path) -> Settled | None:
    """What the next deployment will say of one that was cut short; writes nothing. None if there was none."""
    yaml_path = real_path(path)
    record = read_record(yaml_path)
    return None if record is None else verdict(yaml_path, record)


def _back_up(journal: Journal, now_ms: Callable[[], int]) -> Path | None:
    if journal.record.before_sha256 is None:
        return None
    backup = free_backup_path(journal.yaml_path, now_ms() // 1000)
    journal.record.backup = str(backup)
    journal.begin(BACKUP)
    copy_atomically(journal.yaml_path, backup)
    if sha256_of_file(backup) != journal.record.before_sha256:
        raise ConflictError(
            f"{journal.yaml_path} must not change while it is deployed, did: start again"
        )
    journal.done(BACKUP)
    return backup


def _only_one(folder: Path) -> AbstractContextManager[None]:
    return alone_in(
        folder,
        f"{folder} must not be in use, another deployment is under way there: wait for it, nothing was changed",
    )
