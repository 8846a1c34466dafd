"""Which exchange, and whether the key may trade for the account: asked before anything is believed."""

from __future__ import annotations

from pathlib import Path

import pytest
from eth_account import Account

from mei.model.errors import ConfigError, DataError, MeiError, ServiceUnavailableError
from mei.workflows.account.hyperliquid import HyperliquidAccount
from mei.workflows.account.network import base_url
from mei.workflows.account.open_account import account_door
from mei.workflows.account.secrets import AccountSecrets
from tests.account.conftest import Bench
from tests.account.fake_hyperliquid import Fault


def agent_secrets(bench: Bench, address: str | None = None) -> tuple[AccountSecrets, str]:
    """Secrets with a key of an API wallet, and the wallet's address in lower case."""
    wallet = Account.create()
    key = "0x" + bytes(wallet.key).hex()
    account = bench.fake.account if address is None else address
    return AccountSecrets(key, account, "s.json"), wallet.address.lower()


def opened(bench: Bench, secrets: AccountSecrets) -> HyperliquidAccount:
    """The account of `secrets`."""
    return HyperliquidAccount(secrets, bench.fake.url, 5.0, now_ms=bench.fake.now_ms)


def test_an_api_wallet_of_the_account_closes_it(bench: Bench) -> None:
    secrets, agent = agent_secrets(bench)
    bench.fake.agents[agent] = bench.fake.account
    bench.fake.hold("BTC", "0.5")
    bench.account.close()
    with opened(bench, secrets) as bench.account:
        assert bench.fake.asked == ["userRole"]
        assert bench.close_all().closed


def test_a_key_that_is_not_the_accounts(bench: Bench) -> None:
    secrets, agent = agent_secrets(bench)
    with pytest.raises(ConfigError, match="which is no API wallet of anybody at http://127"):
        opened(bench, secrets)
    other = "0x" + "5" * 40
    bench.fake.agents[agent] = other
    with pytest.raises(ConfigError, match=f"which is an API wallet of {other}") as caught:
        opened(bench, secrets)
    assert secrets.reveal_key()[2:] not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "error"),
    [("http", ServiceUnavailableError), ("drop", ServiceUnavailableError), ("odd", DataError)],
)
def test_a_key_that_cannot_be_looked_up(bench: Bench, kind: str, error: type[MeiError]) -> None:
    secrets, agent = agent_secrets(bench)
    bench.fake.agents[agent] = bench.fake.account
    bench.fake.misbehave("userRole", Fault(kind, 500), Fault(kind, 500))
    with pytest.raises(error):
        opened(bench, secrets)


def test_an_address_with_a_typing_error(bench: Bench) -> None:
    wallet = Account.create()
    letters = [at for at, letter in enumerate(wallet.address[2:], 2) if letter.isalpha()]
    swapped = wallet.address[: letters[0]] + wallet.address[letters[0]].swapcase()
    wrong = swapped + wallet.address[letters[0] + 1 :]
    secrets = AccountSecrets("0x" + bytes(wallet.key).hex(), wrong, "s.json")
    with pytest.raises(ConfigError, match="must have the checksum its letters tell"):
        opened(bench, secrets)
    assert bench.fake.asked == []


def test_networks() -> None:
    assert base_url("mainnet") == "https://api.hyperliquid.xyz"
    assert base_url("testnet") == "https://api.hyperliquid-testnet.xyz"
    # The library takes the exact text for mainnet: with a slash it would sign for the other one.
    assert base_url("https://api.hyperliquid.xyz/") == base_url("mainnet")
    assert base_url("http://127.0.0.1:3001") == "http://127.0.0.1:3001"
    assert base_url("http://[::1]:3001") == "http://[::1]:3001"


@pytest.mark.parametrize(
    "name",
    [
        None,
        "",
        "main",
        "Mainnet",
        "api.hyperliquid.xyz",
        "http://api.hyperliquid.xyz",
        "http://127.0.0.1.example.org",
        "https://",
        "https://u:p@api.hyperliquid.xyz",
        "https://api.hyperliquid.xyz?x=1",
        "http://127.0.0.1:99999",
        "file:///etc/passwd",
        "http://[::1",
    ],
)
def test_names_that_are_no_exchange(name: str | None) -> None:
    with pytest.raises(ConfigError, match="--exchange must be mainnet, testnet or a URL"):
        base_url(name)


def test_a_door_asks_nobody(bench: Bench, secrets_file: Path) -> None:
    door = account_door(bench.fake.url, str(secrets_file), environment={})
    assert bench.fake.asked == []
    with door.open(now_ms=bench.fake.now_ms) as account:
        assert account.state().balance_usd == 1000.123456
    with pytest.raises(ConfigError, match="was left out: say which"):
        account_door(None, str(secrets_file), environment={})
    with pytest.raises(ConfigError, match="the timeout of the exchange must be above 0 s, was nan"):
        account_door("testnet", str(secrets_file), environment={}, timeout_s=float("nan"))
    with pytest.raises(ConfigError, match=r"nothing\.json must be the file with secret_key"):
        account_door(
            "testnet",
            None,
            environment={"AI_QUANT_SECRETS_PATH": str(secrets_file.parent / "nothing.json")},
        )
