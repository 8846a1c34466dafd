"""The folder of a run, and the file in it that says which steps are done.

A step's result is written down, atomically, when its files are there; a run that goes on takes the results of steps
that are done from it and starts the first that is not. Doing a step twice leaves what doing it once does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mei.model import faults
from mei.model.errors import ConfigError, DataError, NotFoundError
from mei.report.atomic import ensure_folder, write_atomically
from mei.report.folder_lock import alone_in
from mei.report.json_text import pretty_json

STATE: Final = "state.json"
_VERSION: Final = "factory_state_v1"
_OF_STEP: Final = ("step", "at_ms", "result")
_RUN_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

NowMs = Callable[[], int]


def runs_folder(artifacts_dir: str) -> Path:
    """Where runs lie, a folder each."""
    return Path(artifacts_dir) / "runs"


@dataclass(slots=True)
class RunFolder:
    """One run. started_at_ms: epoch ms UTC, of its first start; core: what it was asked for."""

    path: Path
    run_id: str
    started_at_ms: int
    core: Mapping[str, Any]
    now_ms: NowMs
    _steps: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path, now_ms: NowMs) -> RunFolder:
        """A run as its state file has it. DataError for a file that is none."""
        file = path / STATE
        try:
            state = json.loads(file.read_bytes())
            if state["version"] != _VERSION:
                raise ValueError(f"its version is {state['version']!r}, must be {_VERSION}")
            steps = [{name: one[name] for name in _OF_STEP} for one in state["steps"]]
            core = dict(state["core"])
            return cls(path, str(state["run_id"]), int(state["started_at_ms"]), core, now_ms, steps)
        except OSError as error:
            raise DataError(f"{file} must be readable, was not ({error.strerror})") from None
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{file} must be the state of a run of the factory, is not ({error}): restore it, or begin "
                "a new run"
            ) from None

    def file(self, *parts: str) -> Path:
        """A path in the folder; the folders above it are made."""
        found = self.path.joinpath(*parts)
        ensure_folder(found.parent)
        return found

    def is_done(self, step: str) -> bool:
        """Whether the step is written down."""
        return any(one["step"] == step for one in self._steps)

    def steps(self) -> list[dict[str, Any]]:
        """Of each step done, in their order: step, at_ms, result."""
        return list(self._steps)

    def result(self, step: str) -> Any:
        """What a step that is done gave. KeyError for one that is not."""
        for one in self._steps:
            if one["step"] == step:
                return one["result"]
        raise KeyError(step)

    def once(self, step: str, work: Callable[[], Any]) -> Any:
        """The result of a step: what is written down, or what `work` gives now. It must be of JSON.

        Fault points: `factory.<kind>.before_state` and `.after_state`, the kind being what stands before a colon.
        """
        if not self.is_done(step):
            result = json.loads(pretty_json(work()))
            kind = step.partition(":")[0]
            faults.hit(f"factory.{kind}.before_state")
            self._steps.append({"step": step, "at_ms": self.now_ms(), "result": result})
            self.write()
            faults.hit(f"factory.{kind}.after_state")
        return self.result(step)

    def write(self) -> None:
        """Replace the state file."""
        state = {
            "version": _VERSION,
            "run_id": self.run_id,
            "started_at_ms": self.started_at_ms,
            "core": self.core,
            "steps": self._steps,
        }
        write_atomically(self.file(STATE), pretty_json(state).encode())


def check_run_id(run_id: str) -> None:
    """It names a folder. ConfigError."""
    if not _RUN_ID.fullmatch(run_id):
        raise ConfigError(
            f"--run-id names a folder, it must be of letters, digits, . _ and -, was {run_id!r:.60}"
        )


@contextmanager
def opened(
    artifacts_dir: str, run_id: str, core: Mapping[str, Any], *, resume: bool, now_ms: NowMs
) -> Iterator[RunFolder]:
    """The run's folder, new or as it was left, held as long as this lasts.

    Raises ConfigError for a run that is there and not resumed, or resumed with other core arguments; NotFoundError for
    one to resume that is not there; ConflictError while another process works on it.
    """
    check_run_id(run_id)
    path = runs_folder(artifacts_dir) / run_id
    if resume and not path.is_dir():
        raise NotFoundError(
            f"--resume needs a run that was begun, {path} is none: leave --resume out, or name one of "
            f"{known_runs(artifacts_dir)}"
        )
    if not resume and (path / STATE).exists():
        raise ConfigError(
            f"--run-id must be a new one, {path} is there: give --resume to go on with it"
        )
    ensure_folder(path)
    with held(path):
        if (path / STATE).exists():
            run = RunFolder.read(path, now_ms)
            _refuse_other(run, core)
        else:
            run = RunFolder(path, run_id, now_ms(), dict(core), now_ms)
            run.write()
        yield run


def all_runs(artifacts_dir: str, now_ms: NowMs, tell: Callable[[str], None]) -> list[RunFolder]:
    """Runs that were begun, by their first start. `tell` hears of those that cannot be read, which are left out."""
    found = []
    for state in sorted(runs_folder(artifacts_dir).glob(f"*/{STATE}")):
        try:
            found.append(RunFolder.read(state.parent, now_ms))
        except DataError as error:
            tell(f"[factory] {error}")
    return sorted(found, key=lambda run: (run.started_at_ms, run.run_id))


def known_runs(artifacts_dir: str) -> str:
    """The latest ones in a text, for messages."""
    runs = all_runs(artifacts_dir, lambda: 0, lambda line: None)
    return ", ".join(run.run_id for run in runs[-5:]) or "none so far"


def held(path: Path) -> AbstractContextManager[None]:
    """Be the only one who works on the run in `path`. ConflictError while another process does."""
    return alone_in(
        path, f"{path} must not be in use, another process works on the run: wait for it"
    )


def _refuse_other(run: RunFolder, core: Mapping[str, Any]) -> None:
    names = [
        name
        for name in sorted(run.core.keys() | core.keys())
        if run.core.get(name) != core.get(name)
    ]
    if names:
        told = "; ".join(
            f"{name} was {run.core.get(name)!r}, is {core.get(name)!r}" for name in names[:5]
        )
        raise ConfigError(
            f"--resume must come with the arguments that {run.run_id} was begun with ({told}): give those, or begin a "
            "new run"
        )
