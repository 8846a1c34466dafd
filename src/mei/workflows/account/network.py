"""Which exchange: a network by its name, or an address. There is no default, for nobody trades by oversight."""

from __future__ import annotations

from urllib.parse import urlsplit

from mei.model.errors import ConfigError

#: Base URLs of Hyperliquid's API.
NETWORKS = {
    "mainnet": "https://api.hyperliquid.xyz",
    "testnet": "https://api.hyperliquid-testnet.xyz",
}
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def base_url(name: str | None) -> str:
    """The API's base URL of `mainnet`, `testnet` or a URL. ConfigError for anything else, None among it.

    Orders go over TLS; http is for this machine alone. Orders to the exact URL of mainnet are signed for mainnet, to
    any other for testnet.
    """
    if not name:
        raise ConfigError(
            "--exchange must be mainnet, testnet or a URL where a live account is meant, was left out: say which"
        )
    url = NETWORKS.get(name, name).rstrip("/")
    try:
        parts = urlsplit(url)
        is_right = parts.scheme == "https" or (
            parts.scheme == "http" and parts.hostname in _LOOPBACK
        )
        is_right = is_right and bool(parts.hostname) and not parts.query and not parts.username
        _ = parts.port
    except ValueError:
        is_right = False
    if not is_right:
        raise ConfigError(
            f"--exchange must be mainnet, testnet or a URL (https, or http on this machine), was {name!r}"
        )
    return url
