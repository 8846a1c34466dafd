"""From flags and environment to an account: the local part first, which asks nobody, then the exchange."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mei.model.errors import ConfigError
from mei.workflows.account.hyperliquid import HyperliquidAccount
from mei.workflows.account.network import base_url
from mei.workflows.account.secrets import AccountSecrets, read_secrets, secrets_path

TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class AccountDoor:
    """Everything that opens an account, checked as far as that goes without asking the exchange."""

    secrets: AccountSecrets
    url: str
    timeout_s: float = TIMEOUT_S

    def open(self, *, now_ms: Callable[[], int]) -> HyperliquidAccount:
        """The account. Asks the exchange only when the key is not the account's own.

        ConfigError when the key may not trade for the account; ServiceUnavailableError without an answer.
        """
        return HyperliquidAccount(self.secrets, self.url, self.timeout_s, now_ms=now_ms)


def account_door(
    exchange: str | None,
    given_secrets_path: str | None,
    *,
    environment: Mapping[str, str],
    timeout_s: float = TIMEOUT_S,
) -> AccountDoor:
    """What flags say, checked. exchange: `mainnet`, `testnet` or a URL; None is refused, there is no default.

    given_secrets_path: of a flag; None = that of AI_QUANT_SECRETS_PATH, or secrets.json here. ConfigError.
    """
    url = base_url(exchange)
    if not (math.isfinite(timeout_s) and timeout_s > 0):
        raise ConfigError(f"the timeout of the exchange must be above 0 s, was {timeout_s:g}")
    secrets = read_secrets(secrets_path(given_secrets_path, environment))
    if importlib.util.find_spec("hyperliquid") is None:
        raise ConfigError(
            "a live account needs the package hyperliquid-python-sdk, which is not installed: "
            "pip install 'mei-backtester[live]'"
        )
    return AccountDoor(secrets, url, timeout_s)
