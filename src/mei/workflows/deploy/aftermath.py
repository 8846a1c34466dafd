"""What becomes of a deployment that failed, or that was killed and is found by the next one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mei.model import faults
from mei.model.errors import ConflictError, MeiError, NotFoundError
from mei.report.atomic import copy_atomically, fsync_folder, write_atomically
from mei.workflows.deploy.journal import (
    BACKUP,
    BEGUN,
    YAML,
    Journal,
    Record,
    journal_path,
    read_record,
    sha256_of_file,
)

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of an interrupted deployment: is_finished, else the old file stands; lines: what to tell."""

    is_finished: bool
    wants_restart: bool
    lines: tuple[str, ...]


def settle(yaml_path: Path, tell: Tell) -> Settled | None:
    """Finish or call off what an interrupted deployment left, and tell; None if there is nothing.

    Raises ConflictError, and keeps the journal, when the strategy file is neither the old nor the new one.
    """
    record = read_record(yaml_path)
    if record is None:
        return None
    found = verdict(yaml_path, record)
    if found.is_finished:
        for one in record.then:
            if one.is_at(one.before):
                write_atomically(Path(one.path), one.text.encode())
                faults.hit("deploy.settle.written")
    _remove(Journal(yaml_path, record.tool), record)
    for line in found.lines:
        tell(line)
    return found


def verdict(yaml_path: Path, record: Record) -> Settled:
    """What `settle` will do and say. ConflictError when it cannot know."""
    now = sha256_of_file(yaml_path)
    is_other = record.after_sha256 != record.before_sha256
    is_new = now == record.after_sha256 and (is_other or record.is_done(YAML))
    wants_restart = is_new and record.wants_restart and not record.is_done("restart")
    head = f"an earlier {record.tool} was interrupted"
    if is_new:
        lines = [
            f"{head} after it had replaced {yaml_path}: the new file stands, the deployment is finished"
        ]
        lines += _about_followups(record)
        if wants_restart:
            lines.append("its services were not restarted, or not all of them")
    elif record.after_sha256 is None or now == record.before_sha256:
        lines = [
            f"{head} before it had replaced {yaml_path}: the file is as it was, the deployment is called off"
        ]
    else:
        what = "is gone" if now is None else "is neither the file before it nor the new one"
        raise ConflictError(
            f"{head}, and {yaml_path} {what}: compare it with {record.backup or 'its newest .bak'}, put right what is "
            f"wrong, then remove {journal_path(yaml_path)}"
        )
    lines += [*record.notes, *_cut_short(record)]
    if record.is_done(BACKUP):
        lines.append(f"the file as it was before is kept in {record.backup}")
    return Settled(is_new, wants_restart, tuple(lines))


def undo(journal: Journal, tell: Tell) -> None:
    """After a failure: the old files back in their places, unless the deployment had been committed."""
    record = journal.record
    if journal.is_committed:
        _remove(journal, record)
        return
    try:
        _restore(journal, tell)
        _remove(journal, record)
    except (MeiError, OSError) as error:
        tell(
            f"{journal.yaml_path} could not be put back ({error}): the file as it was is {record.backup}, "
            f"{journal.path} is kept for the next run"
        )
    for line in (*record.notes, *_cut_short(record)):
        tell(line)


def _restore(journal: Journal, tell: Tell) -> None:
    record, yaml_path = journal.record, journal.yaml_path
    for one in record.then:
        if one.text != one.before and one.is_at(one.text):
            _put(Path(one.path), one.before)
    is_other = record.after_sha256 not in (None, record.before_sha256)
    if not is_other or sha256_of_file(yaml_path) != record.after_sha256:
        return
    if record.backup is None:
        _put(yaml_path, None)
    elif Path(record.backup).is_file():
        copy_atomically(Path(record.backup), yaml_path)
    else:
        raise NotFoundError(f"{record.backup} must be there to be restored, is not")
    tell(f"{yaml_path} was restored, it is as it was before")


def _put(path: Path, text: str | None) -> None:
    """A file with this content; None = no file."""
    if text is not None:
        write_atomically(path, text.encode())
        return
    path.unlink(missing_ok=True)
    fsync_folder(path.parent)


def _remove(journal: Journal, record: Record) -> None:
    """The journal, and what a killed copy to the backup may have left."""
    if record.backup is not None:
        backup = Path(record.backup)
        backup.with_name(f".{backup.name}.tmp").unlink(missing_ok=True)
    journal.remove()


def _cut_short(record: Record) -> list[str]:
    return [
        f"it was cut short while at {step}: check what is still open"
        for step, state in record.steps.items()
        if step.startswith("close_") and state == BEGUN
    ]


def _about_followups(record: Record) -> list[str]:
    lines = []
    for one in record.then:
        if one.is_at(one.text):
            continue
        if one.is_at(one.before):
            lines.append(f"{one.path}: what it had not written yet is written")
        else:
            lines.append(f"{one.path} was changed since and is left as it is: its entry is missing")
    return lines
