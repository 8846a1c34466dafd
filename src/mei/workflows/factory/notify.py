"""Telling a chat what a run came to: one POST to a webhook, which never stops the run."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Final
from urllib.parse import urlsplit

from mei.model.errors import ConfigError
from mei.workflows.strategy import Tell

_TIMEOUT_S: Final = 10.0
#: More than this a message of Discord may not have.
_MOST_CHARACTERS: Final = 2000


def check_webhook(url: str) -> None:
    """ConfigError unless it is the address of a webhook. The address is a secret: it is not repeated."""
    found = urlsplit(url)
    if found.scheme not in ("http", "https") or not found.netloc:
        raise ConfigError(
            "--discord-target must be the address of a webhook (https://...), was none: copy it from the channel's "
            "integrations"
        )


def post(url: str, text: str, tell: Tell) -> bool:
    """Whether the webhook took the message. `tell` hears why not."""
    body = json.dumps({"content": text[:_MOST_CHARACTERS]}).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "mei-backtester"}
    request = urllib.request.Request(url, data=body, headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
            answer.read()
        return True
    except urllib.error.HTTPError as error:
        with error:
            tell(f"[factory] The webhook did not take the message: HTTP {error.code}")
    except (OSError, HTTPException, ValueError) as error:
        tell(
            f"[factory] The webhook did not take the message: {getattr(error, 'reason', None) or type(error).__name__}"
        )
    return False
