"""Model files: whole or absent, verified, the same bytes again, and a link that always names one."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mei.learning.regime_model import RegimeModel
from mei.learning.registry import (
    load_model,
    point_current,
    remove_leftovers,
    remove_model,
    save_model,
    series_path,
)
from mei.model import faults
from mei.model.errors import LedgerError, OutputError

SERIES = series_path("backtest/abc", "BTC/USDT", "1m")


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture(autouse=True)
def _no_faults() -> Iterator[None]:
    yield
    faults.install(None)


def kill_at(point: str) -> None:
    def handler(name: str) -> None:
        if name == point:
            raise Killed

    faults.install(handler)


def a_model(version: int = 3, mean: float = 0.5) -> RegimeModel:
    return RegimeModel(
        np.array([0.4, 0.6]),
        np.array([[0.9, 0.1], [0.2, 0.8]]),
        np.full((2, 3), mean),
        np.ones((2, 3)),
        99,
        version,
    )


def test_model_comes_back_as_it_was(tmp_path: Path) -> None:
    loaded = load_model(tmp_path, save_model(tmp_path, SERIES, a_model()))

    for name in ("startprob", "transmat", "means", "variances"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(a_model(), name))
    assert (loaded.version, loaded.trained_through_ms) == (3, 99)
    assert loaded.feature_names == a_model().feature_names


def test_same_model_twice_is_one_folder_and_another_is_another(tmp_path: Path) -> None:
    first = save_model(tmp_path, SERIES, a_model())
    again = save_model(tmp_path, SERIES, a_model())
    other = save_model(tmp_path, SERIES, a_model(mean=0.6))

    assert first == again
    assert other.path != first.path
    assert load_model(tmp_path, first).means[0, 0] == 0.5


def test_streams_never_share_or_leave_their_folder() -> None:
    names = {
        series_path(s, "BTC/USDT", "1m") for s in ("a/b", "a~b".replace("~", "."), "a", "a/../b")
    }

    assert len(names) == 4
    assert all(".." not in Path(name).parts for name in names)


@pytest.mark.parametrize("name", ["model.npz", "model.json"])
def test_altered_or_missing_file_is_refused(tmp_path: Path, name: str) -> None:
    saved = save_model(tmp_path, SERIES, a_model())
    file = tmp_path / saved.path / name
    file.write_bytes(file.read_bytes() + b" ")

    with pytest.raises(LedgerError, match=f"{name} must have SHA-256"):
        load_model(tmp_path, saved)
    file.unlink()
    with pytest.raises(LedgerError, match="restore the folder"):
        load_model(tmp_path, saved)


def test_altered_folder_is_written_anew_by_the_same_training(tmp_path: Path) -> None:
    saved = save_model(tmp_path, SERIES, a_model())
    (tmp_path / saved.path / "model.npz").write_bytes(b"broken")

    assert save_model(tmp_path, SERIES, a_model()) == saved
    assert load_model(tmp_path, saved).version == 3


def test_kill_before_the_rename_leaves_only_what_is_swept(tmp_path: Path) -> None:
    kill_at("learning.model.before_rename")
    with pytest.raises(Killed):
        save_model(tmp_path, SERIES, a_model())
    faults.install(None)

    assert [p.name[:5] for p in (tmp_path / SERIES).iterdir()] == [".tmp-"]
    assert remove_leftovers(tmp_path) == 1
    assert list((tmp_path / SERIES).iterdir()) == []


def test_folder_another_process_is_writing_is_not_swept(tmp_path: Path) -> None:
    busy = tmp_path / SERIES / ".tmp-v000001-abc-1"
    busy.mkdir(parents=True)
    descriptor = os.open(busy, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        assert remove_leftovers(tmp_path) == 0
        assert busy.exists()
    finally:
        os.close(descriptor)


def test_current_names_the_old_or_the_new_model_at_every_moment(tmp_path: Path) -> None:
    old, new = (save_model(tmp_path, SERIES, a_model(version)) for version in (1, 2))
    link = tmp_path / SERIES / "current"
    point_current(tmp_path, old.path, SERIES)

    kill_at("learning.current.before_rename")
    with pytest.raises(Killed):
        point_current(tmp_path, new.path, SERIES)
    faults.install(None)

    assert (tmp_path / SERIES / link.readlink()) == tmp_path / old.path
    point_current(tmp_path, new.path, SERIES)
    assert (tmp_path / SERIES / link.readlink()) == tmp_path / new.path
    assert (link / "model.npz").is_file()
    point_current(tmp_path, None, SERIES)
    assert not link.is_symlink()


def test_a_link_that_a_starting_process_sweeps_away_is_made_again(tmp_path: Path) -> None:
    saved = save_model(tmp_path, SERIES, a_model())
    swept: list[int] = []

    def sweep(name: str) -> None:
        if name == "learning.current.before_rename" and not swept:
            swept.append(remove_leftovers(tmp_path))

    faults.install(sweep)
    point_current(tmp_path, saved.path, SERIES)

    assert swept == [1]
    assert (tmp_path / SERIES / "current" / "model.npz").is_file()
    assert remove_leftovers(tmp_path) == 0


@pytest.mark.parametrize("is_gone", [True, False])
def test_a_folder_that_a_starting_process_sweeps_away_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_gone: bool
) -> None:
    """Between its making and its lock: it is gone, or held by who is about to remove it."""
    mkdtemp, held = tempfile.mkdtemp, list[int]()

    def slow(**where: Any) -> str:
        made = mkdtemp(**where)
        if not held:
            held.append(os.open(made, os.O_RDONLY))
            fcntl.flock(held[0], fcntl.LOCK_EX)
            if is_gone:
                Path(made).rmdir()
        return made

    monkeypatch.setattr(tempfile, "mkdtemp", slow)
    saved = save_model(tmp_path, SERIES, a_model())
    os.close(held[0])

    assert load_model(tmp_path, saved).version == 3
    assert remove_leftovers(tmp_path) == int(not is_gone)


def test_two_that_remove_a_model_at_once_do_not_miss_what_the_other_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved, rmtree = save_model(tmp_path, SERIES, a_model()), shutil.rmtree

    def slow(folder: Path) -> None:
        (folder / "model.npz").unlink()
        monkeypatch.setattr(shutil, "rmtree", rmtree)
        raise FileNotFoundError(folder / "model.npz")

    monkeypatch.setattr(shutil, "rmtree", slow)
    remove_model(tmp_path, saved.path)

    assert list((tmp_path / SERIES).iterdir()) == []


def test_removing_is_idempotent(tmp_path: Path) -> None:
    saved = save_model(tmp_path, SERIES, a_model())

    remove_model(tmp_path, saved.path)
    remove_model(tmp_path, saved.path)

    assert not (tmp_path / saved.path).exists()


def test_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(OutputError, match="set MODELS_DIR to a writable folder"):
        save_model(tmp_path / "file", SERIES, a_model())
