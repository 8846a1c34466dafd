"""The secrets file: read only where it is safe, refused in one line that shows nothing of it."""

from __future__ import annotations

import copy
import json
import os
import pickle
import traceback
from pathlib import Path

import pytest

from mei.model.errors import ConfigError
from mei.workflows.account.secrets import AccountSecrets, read_secrets, secrets_path

KEY = "0x" + "1f2e3d4c" * 8
ADDRESS = "0x" + "ab12" * 10


def write(path: Path, text: str, mode: int = 0o600) -> str:
    """A file with `mode`."""
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def content(**fields: object) -> str:
    """A file's text, with other fields than usual."""
    return json.dumps({"secret_key": KEY, "account_address": ADDRESS} | fields)


def refusal(path: str) -> str:
    """The line that refuses `path`; its whole traceback, contexts included, is free of the key."""
    with pytest.raises(ConfigError) as caught:
        read_secrets(path)
    shown = "".join(traceback.format_exception(caught.value))
    assert KEY[2:] not in shown
    seen: BaseException | None = caught.value
    while seen is not None:
        assert KEY[2:] not in repr(vars(seen)) + repr(seen.args)
        seen = seen.__context__
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_file_of_ones_own(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path / "s.json", content(note="mine"), mode)
    secrets = read_secrets(path)
    assert (secrets.reveal_key(), secrets.account_address, secrets.path) == (KEY, ADDRESS, path)


def test_a_key_without_its_prefix_and_in_capitals(tmp_path: Path) -> None:
    path = write(tmp_path / "s.json", content(secret_key=KEY[2:].upper()))
    assert read_secrets(path).reveal_key() == KEY


@pytest.mark.parametrize(
    "mode", [0o644, 0o640, 0o604, 0o620, 0o602, 0o660, 0o610, 0o700, 0o500, 0o200, 0o4600, 0o777]
)
def test_a_file_that_others_may_use(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path / "s.json", content(), mode)
    if mode == 0o200 and os.geteuid() != 0:
        assert "could not be opened (Permission denied)" in refusal(path)
    else:
        assert f"has mode {mode:04o}: chmod 600 {path}" in refusal(path)


def test_links_are_as_good_as_what_they_point_to(tmp_path: Path) -> None:
    good = write(tmp_path / "good.json", content())
    bad = write(tmp_path / "bad.json", content(), 0o644)
    (tmp_path / "to_good").symlink_to(good)
    (tmp_path / "to_bad").symlink_to(bad)
    (tmp_path / "to_nothing").symlink_to(tmp_path / "nothing")
    assert read_secrets(str(tmp_path / "to_good")).reveal_key() == KEY
    assert "has mode 0644" in refusal(str(tmp_path / "to_bad"))
    assert "No such file" in refusal(str(tmp_path / "to_nothing"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
def test_a_file_of_somebody_else(tmp_path: Path) -> None:
    path = write(tmp_path / "s.json", content())
    os.chown(path, 12345, 12345)
    assert "belongs to uid 12345: copy it" in refusal(path)


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert "must be a regular file" in refusal(str(tmp_path / "pipe"))  # and does not wait
    assert "must be a regular file" in refusal(str(tmp_path))
    assert "must be a regular file" in refusal("/dev/null")
    assert "could not be opened (No such file" in refusal(str(tmp_path / "nothing"))
    assert "(--secrets-path, AI_QUANT_SECRETS_PATH)" in refusal(str(tmp_path / "nothing"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must be a JSON object, is not (line 1, column 1)"),
        (KEY, "must be a JSON object, is not (line 1, column 2)"),
        (f'{{"secret_key": "{KEY}"', "must be a JSON object, is not (line 1, column"),
        (f'"{KEY}"', "must be a JSON object, is something else"),
        (f'["{KEY}"]', "must be a JSON object, is something else"),
        (f'{{"secret_key": "{KEY}", "secret_key": "{KEY}"}}', "(secret_key is there twice)"),
        (f'{{"{KEY}": 1, "{KEY}": 2}}', "(a field is there twice)"),
        ("[" * 20_000, "(a value is too large)"),
        ("[" + "9" * 5_000 + "]", "(a value is too large)"),
        (" " * 70_000, "is larger than 64 KiB"),
        ("{}", "secret_key must be a private key, 64 hex digits with or without 0x, was missing"),
        (content(secret_key=KEY[:-1]), "was something else (not shown)"),
        (content(secret_key=KEY + "0"), "was something else (not shown)"),
        (content(secret_key=KEY + "\n"), "was something else (not shown)"),
        (content(secret_key=f" {KEY}"), "was something else (not shown)"),
        (content(secret_key="0x" + "0" * 64), "was something else (not shown)"),
        (content(secret_key="0x" + "f" * 64), "was something else (not shown)"),
        (content(secret_key=int(KEY, 16)), "was something else (not shown)"),
        (content(secret_key=None), "was something else (not shown)"),
        (
            json.dumps({"secret_key": KEY}),
            "account_address must be 0x and 40 hex digits, was missing",
        ),
        (content(account_address=ADDRESS[2:]), "account_address must be 0x and 40 hex digits"),
        # Swapped: what stands where the address should be is the key.
        (content(account_address=KEY), "account_address must be 0x and 40 hex digits"),
        (content(account_address=[KEY]), "account_address must be 0x and 40 hex digits"),
    ],
)
def test_content_that_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    line = refusal(write(tmp_path / "s.json", text))
    assert said in line
    assert str(tmp_path / "s.json") in line


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.write_bytes(b"\xff\xfe" + KEY.encode("utf-16-le"))
    path.chmod(0o600)
    assert "(no UTF-8 text)" in refusal(str(path))


def test_the_key_is_nowhere_to_be_seen() -> None:
    secrets = AccountSecrets(KEY, ADDRESS, "s.json")
    assert KEY not in f"{secrets} {secrets!r}"
    assert ADDRESS in repr(secrets)
    for leak in (pickle.dumps, copy.copy, copy.deepcopy, json.dumps):
        with pytest.raises(TypeError):
            leak(secrets)
    assert not hasattr(secrets, "__dict__")


def test_which_file() -> None:
    variable = {"AI_QUANT_SECRETS_PATH": "/a"}
    assert secrets_path("/b", variable) == "/b"
    assert secrets_path(None, variable) == "/a"
    assert secrets_path(None, {"AI_QUANT_SECRETS_PATH": ""}) == "secrets.json"
    assert secrets_path(None, {}) == "secrets.json"
