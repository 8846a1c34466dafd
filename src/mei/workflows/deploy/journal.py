"""What a deployment is about to do and has done, in a file beside the strategy file until it is over.

The file is replaced as a whole before and after each step, so that whoever comes after a kill knows how far it got.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from mei.model import faults
from mei.model.errors import ConflictError, OutputError
from mei.report.atomic import fsync_folder, output_error, write_atomically

SCHEMA: Final = "deploy_journal_v1"
_SUFFIX: Final = ".deploy.json"
#: Steps that every deployment has.
YAML: Final = "yaml"
BACKUP: Final = "backup"
#: States of a step.
BEGUN: Final = "begun"
DONE: Final = "done"


@dataclass(frozen=True, slots=True)
class FollowUp:
    """A text file that belongs to the new strategy file: written after it, or by the next run. before: None if new."""

    path: str
    before: str | None
    text: str

    def is_at(self, text: str | None) -> bool:
        """Whether the file has this content now, None for no file. OutputError when it cannot be read."""
        digest = None if text is None else sha256_of_text(text)
        return sha256_of_file(Path(self.path)) == digest


@dataclass(slots=True)
class Record:
    """The content of a journal.

    before_sha256, after_sha256: of the strategy file, None if absent or not planned yet; backup: its copy, once named;
    steps: name -> begun or done, in order; notes: what cannot be taken back, a line each.
    """

    tool: str
    before_sha256: str | None = None
    after_sha256: str | None = None
    backup: str | None = None
    then: list[FollowUp] = field(default_factory=list)
    steps: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    wants_restart: bool = False
    schema: str = SCHEMA

    def is_done(self, step: str) -> bool:
        """Whether a step is written down as done."""
        return self.steps.get(step) == DONE


class Journal:
    """The journal of one strategy file; whoever uses it holds the lock on its folder."""

    def __init__(self, yaml_path: Path, tool: str) -> None:
        """yaml_path: absolute, links followed; tool: who deploys."""
        self.yaml_path = yaml_path
        self.path = journal_path(yaml_path)
        self.record = Record(tool)
        self.is_committed = False

    def save(self) -> None:
        """Put the record on the disk. OutputError when that cannot be."""
        text = json.dumps(asdict(self.record), indent=2, ensure_ascii=False)
        write_atomically(self.path, f"{text}\n".encode())

    def begin(self, step: str) -> None:
        """A step is about to be taken. Fault points: `deploy.<step>.begun` and `deploy.<step>.done`."""
        self.record.steps[step] = BEGUN
        self.save()
        faults.hit(f"deploy.{step}.begun")

    def done(self, step: str, notes: Iterable[str] = ()) -> None:
        """A step is taken; notes: what of it cannot be taken back."""
        self.record.notes.extend(notes)
        self.record.steps[step] = DONE
        self.save()
        faults.hit(f"deploy.{step}.done")

    def remove(self) -> None:
        """The deployment is over, one way or the other. Nothing if it never began."""
        try:
            self.path.unlink()
            fsync_folder(self.path.parent)
        except FileNotFoundError:
            return
        except OSError as error:
            raise output_error(self.path, error) from error
        faults.hit("deploy.journal.removed")


def journal_path(yaml_path: Path) -> Path:
    """`strategy_overrides.yaml.deploy.json` beside `strategy_overrides.yaml`."""
    return yaml_path.with_name(f"{yaml_path.name}{_SUFFIX}")


def read_record(yaml_path: Path) -> Record | None:
    """The journal of an interrupted deployment, or None. ConflictError for one that cannot be understood."""
    path = journal_path(yaml_path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConflictError(f"{path} must be readable, was not ({error}): {_LOOK}") from None
    try:
        fields: dict[str, Any] = json.loads(text)
        if fields["schema"] != SCHEMA:
            raise ValueError(f"schema {fields['schema']!r}")
        then = [FollowUp(**one) for one in fields.pop("then")]
        return Record(**fields, then=then)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConflictError(
            f"{path} must be the journal of a deployment ({SCHEMA}), is not ({error}): {_LOOK}"
        ) from None


_LOOK: Final = "compare the strategy file with its newest .bak, then remove this journal"


def sha256_of_text(text: str) -> str:
    """SHA-256, in hex, of the text in UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_of_file(path: Path) -> str | None:
    """SHA-256, in hex, of a file, None if it is absent. OutputError when it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OutputError(f"{path} must be readable, was not ({error.strerror})") from None
