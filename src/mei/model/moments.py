"""Points in time as people write them."""

from __future__ import annotations

from datetime import UTC, datetime

from mei.model.errors import ConfigError

#: Anything smaller than this many digits is a year or a mistake, not epoch milliseconds.
_MIN_EPOCH_MS = 1_000_000_000_000


def parse_moment_ms(name: str, text: str) -> int:
    """Epoch ms UTC of `2023-01-31`, `2023-01-31T12:00`, `2023-01-31T12:00:00Z` or `1675123200000`.

    `name` is the setting, for the message of the ConfigError.
    """
    if text.isdigit():
        if int(text) >= _MIN_EPOCH_MS:
            return int(text)
        raise ConfigError(_must(name, text))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(_must(name, text)) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1000)


def iso(moment_ms: int) -> str:
    """`2023-01-31T12:00:00Z` of epoch ms; milliseconds are dropped."""
    return datetime.fromtimestamp(moment_ms // 1000, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _must(name: str, text: str) -> str:
    return f"{name} must be a UTC date, a date and time, or epoch milliseconds (2023-01-31), was {text!r}"
