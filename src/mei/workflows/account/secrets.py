"""The file with the key of a live account: read only where nobody else can read it, and the key never shown."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping
from typing import Any, NoReturn

from mei.model.errors import ConfigError

#: Names the file; without it `secrets.json` of the current directory is meant.
PATH_VARIABLE = "AI_QUANT_SECRETS_PATH"
DEFAULT_PATH = "secrets.json"
_MODES = (0o600, 0o400)
_MAX_BYTES = 1 << 16
_KEY = re.compile(r"(0x)?[0-9a-fA-F]{64}")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
#: Order of the curve of the keys: a key is a number from 1 to one less.
_CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


class AccountSecrets:
    """The key that signs orders, and the account they are for. Only `reveal_key` gives the key away.

    account_address: `0x` and 40 hex digits, as it stands in the file. path: where both were read, for messages.
    """

    __slots__ = ("_key", "account_address", "path")

    def __init__(self, secret_key: str, account_address: str, path: str) -> None:
        self._key = secret_key
        self.account_address = account_address
        self.path = path

    def reveal_key(self) -> str:
        """The key, `0x` and 64 hex digits. For the one place that makes the signing wallet of it."""
        return self._key

    def __repr__(self) -> str:
        return f"AccountSecrets(account_address={self.account_address!r}, path={self.path!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("secrets are not copied or stored")


def secrets_path(given: str | None, environment: Mapping[str, str]) -> str:
    """The file to read: `given`, else that of AI_QUANT_SECRETS_PATH, else secrets.json here."""
    return given or environment.get(PATH_VARIABLE, "") or DEFAULT_PATH


def read_secrets(path: str) -> AccountSecrets:
    """The secrets in the JSON file `path`: an object with `secret_key` and `account_address`, other fields ignored.

    ConfigError, which never quotes the content, unless it is a regular file (or a link to one) that belongs to this
    user, with mode 0600 or 0400, and both fields are what they must be.
    """
    content = _parsed(_read(path), path)
    key, address = content.get("secret_key"), content.get("account_address")
    if not isinstance(key, str) or not _is_key(key):
        found = "missing" if "secret_key" not in content else "something else (not shown)"
        raise ConfigError(
            f"{path}: secret_key must be a private key, 64 hex digits with or without 0x, was {found}; correct it"
        )
    if not isinstance(address, str) or not _ADDRESS.fullmatch(address):
        # Somebody may have swapped the two: what stands here could be the key.
        found = "missing" if "account_address" not in content else "something else (not shown)"
        raise ConfigError(
            f"{path}: account_address must be 0x and 40 hex digits, was {found}; correct it"
        )
    return AccountSecrets("0x" + key[-64:].lower(), address, path)


def _is_key(text: str) -> bool:
    return bool(_KEY.fullmatch(text)) and 0 < int(text[-64:], 16) < _CURVE_ORDER


def _read(path: str) -> bytes:
    """The bytes of the file; what is checked is what is read, also when the name is moved to another file meanwhile."""
    try:
        # Without O_NONBLOCK a pipe would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(
            f"{path} must be the file with secret_key and account_address, could not be opened ({error.strerror}): "
            f"check the path (--secrets-path, {PATH_VARIABLE})"
        ) from None
    try:
        _check(path, os.fstat(descriptor))
        content = os.read(descriptor, _MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"{path} must be readable, was not ({error.strerror}): check disk and rights"
        ) from None
    finally:
        os.close(descriptor)
    if len(content) > _MAX_BYTES:
        raise ConfigError(
            f"{path} must be a small JSON file, is larger than 64 KiB: check the path"
        )
    return content


def _check(path: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"{path} must be a regular file, is none: check the path")
    if status.st_uid != os.geteuid():
        raise ConfigError(
            f"{path} must belong to the user who runs this (uid {os.geteuid()}), belongs to uid {status.st_uid}: "
            "copy it to a file of your own"
        )
    mode = stat.S_IMODE(status.st_mode)
    if mode not in _MODES:
        raise ConfigError(
            f"{path} must be readable by its owner alone (mode 0600 or 0400), has mode {mode:04o}: "
            f"chmod 600 {path}, and take a new key if others could read it"
        )


def _parsed(content: bytes, path: str) -> dict[str, Any]:
    # The errors of the parser carry the whole text: none of them may become the context of ours.
    where = ""
    parsed: Any = None
    try:
        parsed = json.loads(content.decode("utf-8-sig"), object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        where = f" (line {error.lineno}, column {error.colno})"
    except UnicodeDecodeError:
        where = " (no UTF-8 text)"
    except _TwiceError as error:
        where = f" ({error.args[0]} is there twice)"
    except (ValueError, RecursionError):
        where = " (a value is too large)"
    if where:
        raise ConfigError(f"{path} must be a JSON object, is not{where}: correct it")
    if not isinstance(parsed, dict):
        raise ConfigError(f"{path} must be a JSON object, is something else: correct it")
    return parsed


class _TwiceError(Exception):
    """A field stands twice in an object; the argument names it."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        known = twice in ("secret_key", "account_address")
        raise _TwiceError(twice if known else "a field")
    return content
