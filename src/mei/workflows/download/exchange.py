"""One exchange as the download sees it, over ccxt, which is imported when the first one is opened."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

from mei.data.funding_writer import FundingRate
from mei.model.errors import ConfigError, DataError, NotFoundError
from mei.model.market_names import listed, market_of, meant
from mei.workflows.download.patience import PassingFault

T = TypeVar("T")

#: Client errors that pass; any other 4xx will be the same tomorrow.
_PASSING_4XX = (408, 418, 425, 429)
#: Rows of a page where ccxt does not say how many an exchange gives.
_DEFAULT_PAGE_ROWS = 500
#: ccxt's features say 500 for some markets where a thousand come.
_PAGE_ROWS = {"binance": 1000, "binanceusdm": 1000, "binanceus": 1000}
_FUNDING_PAGE_ROWS = {"binance": 1000, "binanceusdm": 1000, "bybit": 200, "hyperliquid": 500}
_DEFAULT_FUNDING_ROWS = 100
_MOST_SAID = 200


@dataclass(frozen=True, slots=True)
class ExchangeTerms:
    """How to reach an exchange. base_url: instead of its own addresses, None = its own.

    pause_ms: between requests, None = what ccxt knows to be allowed. timeout_s: of one request.
    """

    name: str
    base_url: str | None = None
    pause_ms: float | None = None
    timeout_s: float = 20.0


class Exchange:
    """Public data of one exchange. Every method raises PassingFault for what may pass, and MeiError for the rest."""

    def __init__(self, client: Any, errors: Any, name: str) -> None:
        """client: a ccxt exchange, watched; errors: the module ccxt."""
        self.name = name
        self._client = client
        self._errors = errors

    def load_markets(self, symbols: Iterable[str], *, with_funding: bool) -> None:
        """Ask which markets there are, of the kinds the symbols need."""
        _narrow(self._client, list(symbols), with_funding=with_funding)
        self._call(self._client.load_markets)

    def market(self, symbol: str) -> str:
        """The exchange's market that `symbol` names, as ccxt writes it: BTC/USDT, BTC/USDT:USDT.

        NotFoundError, with what may be meant, when there is none.
        """
        markets: Mapping[str, Any] = self._client.markets
        if symbol in markets:
            return symbol
        names = sorted(markets)
        close = meant(symbol, names)
        hint = f"did you mean {close}?" if close else f"it has {listed(names)}"
        raise NotFoundError(
            f"{self.name} must have the market {symbol}, has not: {hint} (spot is BASE/QUOTE, a perpetual "
            "BASE/QUOTE:SETTLE)"
        )

    def perpetual(self, symbol: str) -> str:
        """The perpetual whose funding goes with `symbol`: itself, or that of the same base and quote.

        NotFoundError when there is none.
        """
        markets: Mapping[str, Any] = self._client.markets
        asked = markets.get(symbol, {})
        if asked.get("swap"):
            return symbol
        base, quote = asked.get("base"), asked.get("quote")
        found = sorted(
            name
            for name, market in markets.items()
            if market.get("swap")
            and market.get("linear")
            and market.get("base") == base
            and market_of(name) == market_of(symbol)
        )
        exact = [name for name in found if markets[name].get("quote") == quote]
        if not found:
            raise NotFoundError(
                f"{self.name} must have a perpetual of {symbol} to have its funding, has none: leave out --funding or "
                "name another exchange"
            )
        return (exact or found)[0]

    def require_timeframe(self, timeframe: str) -> None:
        """ConfigError, with those there are, unless the exchange has candles of `timeframe`."""
        known = list(self._client.timeframes or ())
        if timeframe not in known:
            raise ConfigError(
                f"--timeframe must be one that {self.name} has, was {timeframe!r}; it has {', '.join(known)} "
                "(import-candles --resample makes longer bars of shorter ones)"
            )

    def page_rows(self, market: str) -> int:
        """How many candles one answer holds at most."""
        told = self._call(lambda: self._client.feature_value(market, "fetchOHLCV", "limit"))
        return _PAGE_ROWS.get(self.name) or int(told or _DEFAULT_PAGE_ROWS)

    def funding_page_rows(self) -> int:
        """How many funding rates one answer holds at most."""
        return _FUNDING_PAGE_ROWS.get(self.name, _DEFAULT_FUNDING_ROWS)

    def server_time_ms(self) -> int:
        """The exchange's clock, epoch ms UTC: its own word, or the date of its answers (a second coarse)."""
        if self._client.has.get("fetchTime"):
            told = self._call(self._client.fetch_time)
            if isinstance(told, int) and told > 0:
                return told
            raise PassingFault(f"the time must be a number of ms, was {told!r}")
        self._call(lambda: self._client.load_markets(True))
        stamp = (self._client.last_response_headers or {}).get("Date", "")
        try:
            return round(parsedate_to_datetime(stamp).timestamp() * 1000)
        except (TypeError, ValueError):
            raise DataError(
                f"{self.name} must tell its time to know which candle is closed, does not"
            ) from None

    def candles(
        self, market: str, timeframe: str, from_ms: int, until_ms: int | None, at_most: int
    ) -> list[Any]:
        """Rows as they came, about those with from_ms <= open <= until_ms: what is in them is not looked at."""
        params = {} if until_ms is None else {"until": until_ms}
        rows = self._call(
            lambda: self._client.fetch_ohlcv(market, timeframe, from_ms, at_most, params)
        )
        return rows if isinstance(rows, list) else []

    def funding(self, market: str, from_ms: int, at_most: int) -> list[FundingRate]:
        """Rates from `from_ms` on, ascending and unique, as far as one answer goes."""
        if not self._client.has.get("fetchFundingRateHistory"):
            raise ConfigError(f"{self.name} gives no history of funding rates: leave out --funding")
        rows = self._call(
            lambda: self._client.fetch_funding_rate_history(market, from_ms, at_most, {})
        )
        found: dict[int, FundingRate] = {}
        for row in rows:
            time_ms, rate = row.get("timestamp"), row.get("fundingRate")
            if not isinstance(time_ms, int) or not isinstance(rate, (int, float)):
                raise PassingFault(f"a funding rate must have a time and a rate, was {row!r:.100}")
            found[time_ms] = FundingRate(
                time_ms, float(rate), _number((row.get("info") or {}).get("premium"))
            )
        return [found[time_ms] for time_ms in sorted(found)]

    def _call(self, request: Callable[[], T]) -> T:
        """The answer; faults of ccxt as PassingFault or DataError."""
        self._client.mei_status = None
        try:
            return request()
        except self._errors.BaseError as error:
            raise self._fault(error) from error
        except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
            # ccxt takes answers apart without looking: what is malformed ends in one of these.
            raise PassingFault(
                f"the answer must be readable, was not ({type(error).__name__}: {_one_line(error)})"
            ) from error

    def _fault(self, error: Exception) -> Exception:
        status = self._client.mei_status
        kind = type(error).__name__ if error.__cause__ is None else type(error.__cause__).__name__
        reason = (
            f"{kind}, {'no answer' if status is None else f'HTTP {status}'}: {_one_line(error)}"
        )
        is_passing = isinstance(error, self._errors.OperationFailed)
        # Connections that break in mid-answer come as an ExchangeError with the cause of the transport.
        is_passing |= isinstance(error.__cause__, OSError) and status is None
        if status is not None and status >= 400:
            # Gateways answer in words of their own, which ccxt may take for a refusal, or the other way round.
            is_passing = status >= 500 or status in _PASSING_4XX
        # Some exchanges say with a 403, or with a 200, that they were asked too often.
        is_passing |= isinstance(
            error, (self._errors.DDoSProtection, self._errors.RateLimitExceeded)
        )
        if is_passing:
            return PassingFault(reason, self._retry_after_s(status))
        return DataError(
            f"{self.name} refused: {reason}; check --exchange, --symbols and --base-url"
        )

    def _retry_after_s(self, status: int | None) -> float | None:
        if status not in (418, 429, 503):
            return None
        told = (self._client.last_response_headers or {}).get("Retry-After")
        if told is None:
            return None
        try:
            return max(0.0, float(told))
        except ValueError:
            pass
        try:
            at = parsedate_to_datetime(told)
        except (TypeError, ValueError):
            return None
        return max(0.0, (at - datetime.now(UTC)).total_seconds())


def open_exchange(terms: ExchangeTerms) -> Exchange:
    """The exchange, not asked yet. ConfigError for one that ccxt does not know, or without ccxt."""
    try:
        ccxt: Any = importlib.import_module("ccxt")
    except ImportError:
        raise ConfigError(
            "a download needs ccxt, which is not installed: pip install 'mei-backtester[live]'"
        ) from None
    if terms.name not in ccxt.exchanges:
        close = meant(terms.name, ccxt.exchanges)
        raise ConfigError(
            f"--exchange must be one that ccxt knows, such as binance, was {terms.name!r}"
            + (f": did you mean {close}?" if close else "")
        )
    client = getattr(ccxt, terms.name)(
        {"enableRateLimit": True, "timeout": round(terms.timeout_s * 1000)}
    )
    if terms.pause_ms is not None:
        client.rateLimit = terms.pause_ms
    if terms.base_url is not None:
        client.urls["api"] = _moved(client.urls["api"], checked_url(terms.base_url))
    _watch(client, ccxt)
    return Exchange(client, ccxt, terms.name)


def checked_url(text: str) -> str:
    """`text`, without its last slash, if it can be an address. Raises ConfigError."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ConfigError(
            f"--base-url must be an address such as http://127.0.0.1:9000, was {text!r}"
        )
    return text.rstrip("/")


def _watch(client: Any, ccxt: Any) -> None:
    """Have the client remember the status of its last answer, and refuse a good one that is no JSON.

    ccxt hands a body that it cannot parse on as text, of which some exchanges make an empty list: a torn answer would
    be taken for a market without candles.
    """
    client.mei_status = None
    of_rest, of_json = client.on_rest_response, client.parse_json

    def on_rest_response(code: int, *told: Any) -> Any:
        client.mei_status = code
        return of_rest(code, *told)

    def parse_json(text: str) -> Any:
        answer = of_json(text)
        if answer is None and client.mei_status is not None and 200 <= client.mei_status < 300:
            raise ccxt.BadResponse(f"the answer must be JSON, was {text[:60]!r}")
        return answer

    client.on_rest_response = on_rest_response
    client.parse_json = parse_json


def _moved(urls: Any, base_url: str) -> Any:
    """Addresses with another scheme, host and port; their paths stay."""
    if isinstance(urls, dict):
        return {name: _moved(url, base_url) for name, url in urls.items()}
    if not isinstance(urls, str):
        return urls
    base = urlsplit(base_url)
    return urlunsplit((base.scheme, base.netloc, base.path + urlsplit(urls).path, "", ""))


def _narrow(client: Any, symbols: list[str], *, with_funding: bool) -> None:
    """Ask for no more kinds of markets than the symbols have: lists of options and futures are long."""
    told = client.options.get("fetchMarkets")
    if not isinstance(told, dict) or "types" not in told:
        return
    settled = [symbol for symbol in symbols if ":" in symbol]
    wanted = {"spot"} if len(settled) < len(symbols) else set()
    if settled or with_funding:
        wanted |= {"linear", "swap"}
    if any(symbol.split(":")[1] == symbol.split("/")[0] for symbol in settled):
        wanted |= {"inverse"}
    kept = [kind for kind in told["types"] if kind in wanted]
    if kept:
        client.options["fetchMarkets"] = {**told, "types": kept}


def _number(told: Any) -> float | None:
    return None if told is None else float(told)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:_MOST_SAID]
