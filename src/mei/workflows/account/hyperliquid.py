"""A Hyperliquid account, by the exchange's own library, which is imported when the first account is opened."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from mei.model.errors import ConfigError, DataError, ServiceUnavailableError
from mei.workflows.account import answers
from mei.workflows.account.deadline import within
from mei.workflows.account.live_account import AccountState, LivePosition, OrderAnswer, OrderFate
from mei.workflows.account.order_numbers import limit_price, lots
from mei.workflows.account.secrets import AccountSecrets

#: An order that is still on its way after this time is refused by the exchange, whenever it arrives.
_EXPIRY_MS = 60_000
#: Positions older than this, by our clock, come from a cache or from an exchange that stands still.
_MAX_AGE_MS = 30_000
#: When our clock is behind by more, orders expire before they arrive.
_MIN_AGE_MS = -45_000
#: How often a question of what is there is asked before it counts as unanswered.
_READ_TRIES = 2


class HyperliquidAccount:
    """The perpetual positions of one account (those of the exchange itself, not of builders' exchanges).

    Parameters
    ----------
    secrets
        Key and account. The key may be the account's own or that of an API wallet it has approved.
    base_url
        Of the API; see `mei.workflows.account.network.base_url`.
    timeout_s
        How long the exchange may be silent; an answer may take twice as long in all.
    now_ms
        Epoch ms UTC. Orders expire a minute after it, and what the account holds is refused when it looks half a
        minute old: a clock that is wrong by more makes every question fail.
    """

    def __init__(
        self, secrets: AccountSecrets, base_url: str, timeout_s: float, *, now_ms: Callable[[], int]
    ) -> None:
        self._account = secrets.account_address
        self._base_url = base_url
        self._now_ms = now_ms
        # To connect, and to get the answer.
        self._limit_s = 2 * timeout_s
        self._exchange = _exchange(secrets, base_url, timeout_s)
        self._sz_decimals: dict[str, int] | None = None
        try:
            self._check_address(secrets)
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"HyperliquidAccount({self._account} at {self._base_url})"

    def __enter__(self) -> HyperliquidAccount:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections to the exchange."""
        self._exchange.session.close()
        self._exchange.info.session.close()

    def state(self) -> AccountState:
        """Implements `LiveAccount.state`.

        ServiceUnavailableError also for an answer that is half a minute old, or from a future in which every order of
        ours has expired, by this machine's clock.
        """
        info = self._exchange.info
        state = answers.account_state(
            self._ask("clearinghouseState", lambda: info.user_state(self._account))
        )
        age_ms = self._now_ms() - state.as_of_ms
        if not _MIN_AGE_MS <= age_ms <= _MAX_AGE_MS:
            when = f"{abs(age_ms) / 1000:.0f} s {'ago' if age_ms > 0 else 'ahead'}"
            raise ServiceUnavailableError(
                f"{self._base_url} must tell what the account holds now, told what it holds {when} by this machine's "
                "clock: set the clock, or wait until the exchange goes on"
            )
        return state

    def resting_orders(self) -> list[str]:
        """Orders that wait in a book and can open a position, in words. ServiceUnavailableError, DataError."""
        info = self._exchange.info
        return answers.resting_orders(
            self._ask("frontendOpenOrders", lambda: info.frontend_open_orders(self._account))
        )

    def fate(self, order_id: str) -> OrderFate:
        """Implements `LiveAccount.fate`."""
        info, cloid = self._exchange.info, _cloid(order_id)
        return answers.order_fate(
            self._ask("orderStatus", lambda: info.query_order_by_cloid(self._account, cloid))
        )

    def reduce(self, position: LivePosition, slippage_frac: float, order_id: str) -> OrderAnswer:
        """Implements `LiveAccount.reduce`: a reduce-only limit order, immediate or cancel."""
        is_buy = position.side == "SHORT"
        try:
            decimals = self._lot_decimals().get(position.symbol)
            if decimals is None:
                return OrderAnswer("rejected", reason="the exchange does not list the symbol")
            mids = self._ask("allMids", self._exchange.info.all_mids)
            mid_px = answers.mid_price(mids, position.symbol)
        except (ServiceUnavailableError, DataError) as error:
            return OrderAnswer("rejected", reason=f"no order was sent: {error}")
        if mid_px is None:
            return OrderAnswer("rejected", reason="the exchange has no mid price of it")
        limit_px = limit_price(mid_px, is_buy, Decimal(repr(slippage_frac)), decimals)
        qty = lots(position.qty, decimals)
        if limit_px <= 0 or qty <= 0:
            return OrderAnswer(
                "rejected",
                reason=f"no order can be made of size {qty} and limit {limit_px} (mid {mid_px}, {decimals} decimals)",
            )
        return self._send(position.symbol, is_buy, float(qty), float(limit_px), order_id)

    def _send(
        self, symbol: str, is_buy: bool, qty: float, limit_px: float, order_id: str
    ) -> OrderAnswer:
        """One request, never repeated here: a request without an answer may have been executed."""
        self._exchange.set_expires_after(self._now_ms() + _EXPIRY_MS)
        try:
            answer = within(
                self._limit_s,
                lambda: self._exchange.order(
                    symbol,
                    is_buy,
                    qty,
                    limit_px,
                    {"limit": {"tif": "Ioc"}},
                    reduce_only=True,
                    cloid=_cloid(order_id),
                ),
            )
        except Exception as error:
            # Also what the library makes of an answer that is not as it expects: the order went out all the same.
            status = getattr(error, "status_code", None)
            if isinstance(status, int) and 400 <= status < 500 and status != 408:
                return OrderAnswer("rejected", reason=_what(error))
            return OrderAnswer("unknown", reason=_what(error))
        return answers.order_answer(answer)

    def _lot_decimals(self) -> dict[str, int]:
        if self._sz_decimals is None:
            meta = self._ask("meta", self._exchange.info.meta)
            self._sz_decimals = answers.size_decimals(meta)
            self._exchange.info.set_perp_meta(meta, 0)
        return self._sz_decimals

    def _ask(self, question: str, ask: Callable[[], Any]) -> Any:
        """The answer to a question that changes nothing, so it may be asked again. ServiceUnavailableError."""
        what = ""
        for _ in range(_READ_TRIES):
            try:
                answer = within(self._limit_s, ask)
            except Exception as error:
                what = _what(error)
                continue
            if isinstance(answer, dict) and set(answer) == {"error"}:
                what = "no JSON"  # how the library tells a body that it cannot parse
                continue
            return answer
        raise ServiceUnavailableError(
            f"{self._base_url} must answer {question}, did not in {_READ_TRIES} tries ({what}): check the network, "
            "then give the same command again"
        )

    def _check_address(self, secrets: AccountSecrets) -> None:
        """Else an account that is not the key's would look flat, or show positions that the key cannot close."""
        signer = str(self._exchange.wallet.address)
        _check_checksum(secrets)
        if signer.lower() == self._account.lower():
            return
        info = self._exchange.info
        owner = answers.owner_of_signer(self._ask("userRole", lambda: info.user_role(signer)))
        if owner != self._account.lower():
            found = "no API wallet of anybody" if owner is None else f"an API wallet of {owner}"
            raise ConfigError(
                f"{secrets.path}: secret_key must be that of account_address {self._account} or of an API wallet it "
                f"approved, is that of {signer}, which is {found} at {self._base_url}: correct the file, or approve it"
            )


def _exchange(secrets: AccountSecrets, base_url: str, timeout_s: float) -> Any:
    try:
        from eth_account import Account
        from hyperliquid.exchange import Exchange  # type: ignore[import-untyped]
    except ImportError as error:
        raise ConfigError(
            f"a live account needs the package hyperliquid-python-sdk, which is not installed ({error}): "
            "pip install 'mei-backtester[live]'"
        ) from None
    # Symbols are asked for when the first order needs them; the library would ask for spot markets, too.
    nothing: Any = {"universe": [], "tokens": []}
    return Exchange(
        Account.from_key(secrets.reveal_key()),
        base_url,
        meta=nothing,
        spot_meta=nothing,
        account_address=secrets.account_address,
        timeout=timeout_s,
    )


def _check_checksum(secrets: AccountSecrets) -> None:
    """An address in mixed case carries a checksum: a typing error shows. ConfigError."""
    from eth_utils.address import is_checksum_formatted_address, to_checksum_address

    address = secrets.account_address
    if is_checksum_formatted_address(address) and address != to_checksum_address(address.lower()):
        raise ConfigError(
            f"{secrets.path}: account_address {address} must have the checksum its letters tell, has not: a digit or "
            "a letter is wrong"
        )


def _cloid(order_id: str) -> Any:
    from hyperliquid.utils.types import Cloid  # type: ignore[import-untyped]

    return Cloid(order_id)


def _what(error: Exception) -> str:
    """An exception of the library in one line: what kind, and what the exchange said."""
    status = getattr(error, "status_code", None)
    said = getattr(error, "error_message", None) or getattr(error, "message", None)
    text = f"HTTP {status}: {said}" if status is not None else f"{type(error).__name__}: {error}"
    text = " ".join(text.split())
    return text if len(text) <= 200 else text[:200] + " …"
