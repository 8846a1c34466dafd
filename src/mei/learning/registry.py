"""Models on disk: `model.npz` and `model.json` in a folder named by version and content; never pickled.

`<root>/<stream, / as ~>/<BTC_USDT>/<1m>/v000001-<12 hex digits>/`, and beside these folders the link `current`.
A folder appears whole (temporary folder, fsync, rename) and is never changed afterwards.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mei.learning.regime_model import RegimeModel
from mei.model import faults
from mei.model.bars import FloatArray, path_name
from mei.model.errors import LedgerError, OutputError

FORMAT_VERSION = 1
_ARRAYS = ("startprob", "transmat", "means", "variances")
_TEMPORARY = ".tmp-"
_CURRENT = "current"


@dataclass(frozen=True, slots=True)
class SavedModel:
    """Where a model lies (relative to the root) and the SHA-256 of its content."""

    path: str
    sha256: str


def series_path(stream: str, symbol: str, timeframe: str) -> str:
    """Folder of a series' models, relative to the root. `~` is in no stream's alphabet, so names cannot collide."""
    return f"{stream.replace('/', '~')}/{path_name(symbol)}/{timeframe}"


def save_model(root: Path, series: str, model: RegimeModel) -> SavedModel:
    """Write `model` below `root / series`; the same model again is left as it lies.

    Raises OutputError when the folder cannot be written.
    """
    arrays = _npz_bytes(model)
    description = _json_bytes(model, arrays)
    sha256 = hashlib.sha256(description).hexdigest()
    saved = SavedModel(f"{series}/v{model.version:06d}-{sha256[:12]}", sha256)
    try:
        _write_folder(root / saved.path, {"model.npz": arrays, "model.json": description})
    except OSError as error:
        raise OutputError(
            f"models must be writable, {root / saved.path} is not ({error}); "
            f"free the disk or set MODELS_DIR to a writable folder"
        ) from error
    return saved


def load_model(root: Path, saved: SavedModel) -> RegimeModel:
    """Read a model and verify its content. Raises LedgerError when it is missing or is not what was recorded."""
    folder = root / saved.path
    try:
        description = (folder / "model.json").read_bytes()
        arrays = (folder / "model.npz").read_bytes()
    except OSError as error:
        raise LedgerError(
            f"the ledger's model must lie in {folder}, it cannot be read ({error}); restore the folder"
        ) from error
    fields = _verified_fields(folder, saved.sha256, description, arrays)
    with np.load(io.BytesIO(arrays), allow_pickle=False) as stored:
        values: dict[str, FloatArray] = {name: stored[name] for name in _ARRAYS}
    return RegimeModel(
        **values,
        trained_through_ms=fields["trained_through_ms"],
        version=fields["version"],
        feature_names=tuple(fields["feature_names"]),
    )


def remove_model(root: Path, path: str) -> None:
    """Delete a model's folder; one that is gone already will do."""
    folder = root / path
    if folder.exists():
        faults.hit("learning.prune.before_remove")
        while folder.exists():
            # Another process may be at it, too: what it has taken away is not missed.
            with suppress(FileNotFoundError):
                shutil.rmtree(folder)
        faults.hit("learning.prune.after_remove")


def point_current(root: Path, path: str | None, series: str) -> None:
    """Make the series' `current` link name the folder `path` in one step, or remove it when path is None."""
    link = root / series / _CURRENT
    if path is None:
        link.unlink(missing_ok=True)
        return
    target = Path(path).name
    if link.is_symlink() and str(link.readlink()) == target:
        return
    link.parent.mkdir(parents=True, exist_ok=True)
    while True:
        fresh = Path(tempfile.mktemp(prefix=f"{_TEMPORARY}{_CURRENT}-", dir=link.parent))
        fresh.symlink_to(target)
        faults.hit("learning.current.before_rename")
        # A process that starts takes a link that has no name yet for a leftover: then once more.
        with suppress(FileNotFoundError):
            fresh.replace(link)
            break
    faults.hit("learning.current.after_rename")


def remove_leftovers(root: Path) -> int:
    """Delete what an interrupted process left unfinished below `root`; returns how many there were.

    What another process is writing right now is locked by it and stays.
    """
    removed = 0
    for path in root.glob(f"*/*/*/{_TEMPORARY}*"):
        if path.is_symlink():
            path.unlink(missing_ok=True)
            removed += 1
            continue
        with suppress(OSError), _locked(path):
            shutil.rmtree(path, ignore_errors=True)
            removed += 1
    return removed


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which falls with the process. Raises BlockingIOError when another holds it."""
    descriptor = _held(folder)
    try:
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _own_folder(folder: Path) -> Iterator[Path]:
    """A new folder beside `folder`, held: a process that starts takes one that nobody holds for a leftover."""
    while True:
        found = Path(tempfile.mkdtemp(prefix=f"{_TEMPORARY}{folder.name}-", dir=folder.parent))
        with suppress(FileNotFoundError, BlockingIOError):
            descriptor = _held(found)
            break
    try:
        yield found
    finally:
        os.close(descriptor)


def _held(folder: Path) -> int:
    """The folder, open and locked. FileNotFoundError, BlockingIOError when somebody takes it away."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # It may have gone between the two.
        folder.stat()
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _npz_bytes(model: RegimeModel) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **{name: getattr(model, name) for name in _ARRAYS})
    return buffer.getvalue()


def _json_bytes(model: RegimeModel, arrays: bytes) -> bytes:
    description = {
        "format": FORMAT_VERSION,
        "version": model.version,
        "trained_through_ms": model.trained_through_ms,
        "feature_names": list(model.feature_names),
        "arrays_sha256": hashlib.sha256(arrays).hexdigest(),
    }
    return json.dumps(description, indent=1).encode() + b"\n"


def _verified_fields(
    folder: Path, sha256: str, description: bytes, arrays: bytes
) -> dict[str, Any]:
    found = hashlib.sha256(description).hexdigest()
    if found != sha256:
        raise LedgerError(
            f"{folder}/model.json must have SHA-256 {sha256}, has {found}; restore the folder"
        )
    fields: dict[str, Any] = json.loads(description)
    if fields["format"] != FORMAT_VERSION:
        raise LedgerError(
            f"{folder}/model.json must be of format {FORMAT_VERSION}, is {fields['format']}; "
            "use the version that wrote it"
        )
    if hashlib.sha256(arrays).hexdigest() != fields["arrays_sha256"]:
        raise LedgerError(
            f"{folder}/model.npz must have SHA-256 {fields['arrays_sha256']}; restore the folder"
        )
    return fields


def _write_folder(folder: Path, contents: dict[str, bytes]) -> None:
    if folder.exists():
        if _is_intact(folder, contents):
            return
        shutil.rmtree(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _own_folder(folder) as temporary:
        temporary.chmod(0o755)
        for name, content in contents.items():
            _write_durably(temporary / name, content)
        _fsync_folder(temporary)
        faults.hit("learning.model.before_rename")
        try:
            temporary.rename(folder)
        except OSError:
            # Another trainer of the same bars may have been first: then the folder is what this one would be.
            if not _is_intact(folder, contents):
                raise
            shutil.rmtree(temporary)
        faults.hit("learning.model.after_rename")
    _fsync_folder(folder.parent)


def _write_durably(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _is_intact(folder: Path, contents: dict[str, bytes]) -> bool:
    return all(
        (folder / name).is_file() and (folder / name).read_bytes() == content
        for name, content in contents.items()
    )


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
