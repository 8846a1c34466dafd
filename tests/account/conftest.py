"""An exchange on this machine, and an account on it with a key made for the test."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from eth_account import Account

from mei.workflows.account.close import CloseReport, close_all
from mei.workflows.account.hyperliquid import HyperliquidAccount
from mei.workflows.account.secrets import AccountSecrets
from tests.account.fake_hyperliquid import FakeHyperliquid


@dataclass
class Bench:
    """An exchange, an account on it, and everything that was told and slept."""

    fake: FakeHyperliquid
    account: HyperliquidAccount
    key: str
    told: list[str] = field(default_factory=list)
    slept_s: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        """Let the exchange's time pass."""
        self.slept_s.append(seconds)
        self.fake.advance(seconds)

    def close_all(self, **options: object) -> CloseReport:
        """Close everything; the report. What the exchange saw must be free of violations."""
        report = close_all(
            self.account,
            sleep=self.sleep,
            tell=self.told.append,
            **options,  # type: ignore[arg-type]
        )
        assert self.fake.violations == []
        return report


def new_bench(timeout_s: float = 5.0) -> Bench:
    """An exchange with three markets and an account with a new key on it. To be closed with `close_bench`."""
    wallet = Account.create()
    fake = FakeHyperliquid(account=wallet.address.lower())
    fake.list_market("BTC", 5, "97123.5")
    fake.list_market("ETH", 4, "3201.55")
    fake.list_market("kPEPE", 0, "0.012345")
    key = "0x" + bytes(wallet.key).hex()
    secrets = AccountSecrets(key, wallet.address, "secrets.json")
    account = HyperliquidAccount(secrets, fake.url, timeout_s, now_ms=fake.now_ms)
    return Bench(fake, account, key)


def close_bench(bench: Bench) -> None:
    """Let go of the exchange."""
    bench.account.close()
    bench.fake.close()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library would ask a proxy of the environment for this machine, too."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(name="bench")
def _bench() -> Iterator[Bench]:
    bench = new_bench()
    yield bench
    close_bench(bench)


@pytest.fixture(name="hasty")
def _hasty() -> Iterator[Bench]:
    """As bench, with an account that does not wait long for an answer, but as long as a busy machine takes."""
    bench = new_bench(timeout_s=1.5)
    yield bench
    close_bench(bench)


@pytest.fixture(name="secrets_file")
def _secrets_file(bench: Bench, tmp_path: Path) -> Path:
    """A secrets file of the account."""
    path = tmp_path / "secrets.json"
    path.touch(mode=0o600)
    address = bench.fake.account
    path.write_text(json.dumps({"secret_key": bench.key, "account_address": address}))
    return path
