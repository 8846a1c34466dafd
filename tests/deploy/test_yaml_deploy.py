"""Replacing a strategy file, as every tool does that deploys, promotes or rolls back."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from mei.model.errors import ConfigError, ConflictError, MeiError, OutputError
from mei.workflows.deploy.journal import FollowUp, journal_path
from mei.workflows.deploy.yaml_deploy import ConfigChange, Deployment, deploying, replace_yaml

NOW_MS = 1_700_000_000_999
OLD, NEW = "a: 1\n", "a: 2\n"


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    path = tmp_path / "s.yaml"
    path.write_text(OLD)
    return path


def replace(path: Path, text: str = NEW, **more: object) -> ConfigChange:
    """Replace the file at NOW_MS."""
    return replace_yaml(path, text, now_ms=lambda: NOW_MS, **more)  # type: ignore[arg-type]


def sha(text: str) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def names(path: Path) -> list[str]:
    """Of all files beside it."""
    return sorted(one.name for one in path.parent.iterdir())


def fail_inside(path: Path, act: Callable[[Deployment], None]) -> list[str]:
    """A deployment that does `act` and then fails; what it told."""
    said: list[str] = []

    def run() -> None:
        with deploying(path, tool="t", tell=said.append) as deployment:
            act(deployment)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        run()
    return said


def test_what_was_and_what_is(path: Path) -> None:
    backup = path.with_name("s.yaml.bak.1700000000")
    assert replace(path) == ConfigChange(path, backup, sha(OLD), sha(NEW))
    assert path.read_text() == NEW
    assert backup.read_text() == OLD
    assert names(path) == ["s.yaml", "s.yaml.bak.1700000000"]


def test_a_file_that_was_not_there(path: Path) -> None:
    path.unlink()
    assert replace(path) == ConfigChange(path, None, None, sha(NEW))
    assert names(path) == ["s.yaml"]


@pytest.mark.parametrize("text", ["", "[1]", "x", "a: [", "a: 1\na: 2\n"])
def test_a_text_that_is_no_mapping_is_refused(path: Path, text: str) -> None:
    with pytest.raises(ConfigError):
        replace(path, text)
    assert path.read_text() == OLD
    assert names(path) == ["s.yaml"]


def test_the_file_must_be_the_expected_one(path: Path) -> None:
    replace(path, expected_sha256=sha(OLD))
    with pytest.raises(ConflictError, match="was changed since"):
        replace(path, "a: 3\n", expected_sha256=sha(OLD))
    assert path.read_text() == NEW


def test_an_exception_puts_all_of_it_back(path: Path) -> None:
    first, second = path.with_name("first.json"), path.with_name("second.json")
    first.write_text("old")
    then = [FollowUp(str(first), "old", "new"), FollowUp(str(second), None, "new")]

    def act(deployment: Deployment) -> None:
        replace(path, journal=deployment.journal, then=then)
        assert (first.read_text(), second.read_text()) == ("new", "new")

    assert fail_inside(path, act) == [f"{path} was restored, it is as it was before"]
    assert (path.read_text(), first.read_text()) == (OLD, "old")
    assert names(path) == ["first.json", "s.yaml", "s.yaml.bak.1700000000"]


def test_a_new_file_is_taken_away_again(path: Path) -> None:
    path.unlink()

    def act(deployment: Deployment) -> None:
        replace(path, journal=deployment.journal)

    fail_inside(path, act)
    assert names(path) == []


def test_after_the_commit_it_stands(path: Path) -> None:
    def act(deployment: Deployment) -> None:
        replace(path, journal=deployment.journal)
        deployment.commit()

    assert fail_inside(path, act) == []
    assert path.read_text() == NEW
    assert names(path) == ["s.yaml", "s.yaml.bak.1700000000"]


def test_what_was_changed_by_hand_meanwhile_is_not_put_back(path: Path) -> None:
    def act(deployment: Deployment) -> None:
        replace(path, journal=deployment.journal)
        path.write_text("a: by hand\n")

    fail_inside(path, act)
    assert path.read_text() == "a: by hand\n"


def test_a_backup_that_is_gone_keeps_the_journal(path: Path) -> None:
    def act(deployment: Deployment) -> None:
        change = replace(path, journal=deployment.journal)
        assert change.backup is not None
        change.backup.unlink()

    assert "could not be put back" in fail_inside(path, act)[0]
    assert path.read_text() == NEW
    assert journal_path(path).exists()


def test_one_deployment_at_a_time(path: Path) -> None:
    with deploying(path, tool="t", tell=print), pytest.raises(ConflictError, match="under way"):
        replace(path)
    assert path.read_text() == OLD
    replace(path)


@pytest.mark.parametrize("name", ["no/s.yaml", "."])
def test_places_that_cannot_be(path: Path, name: str) -> None:
    with pytest.raises(MeiError) as caught:
        replace(path.parent / name)
    assert isinstance(caught.value, OutputError)
    assert names(path) == ["s.yaml"]


def test_text_with_other_line_ends_stays_as_it_is(path: Path) -> None:
    path.write_bytes(b"a: 1\r\n")
    change = replace(path, "a: 2\r\n")
    assert path.read_bytes() == b"a: 2\r\n"
    assert change.backup is not None
    assert change.backup.read_bytes() == b"a: 1\r\n"
