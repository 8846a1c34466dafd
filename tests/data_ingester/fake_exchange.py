"""Exchanges over HTTP on loopback, in the shapes of their REST interfaces, that misbehave on demand."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.data_ingester.fake_market import DAY_MS, HOUR_MS, STEPS_MS, Market

Query = dict[str, Any]
#: Changes the rows of an answer with candles.
Twist = Callable[[list[Any]], list[Any]]


@dataclass
class Reply:
    """An answer as it goes over the wire. cut: bytes left out at its end, although the header counts them."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    wait_s: float = 0.0
    cut: int = 0


def busy(status: int = 429, retry_after: str | None = "0") -> Reply:
    """Too many requests, or the ban that follows."""
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return Reply(status, b'{"code":-1003,"msg":"Too many requests."}', headers)


def broken(status: int = 503) -> Reply:
    """A gateway's page, which is no JSON."""
    return Reply(status, b"<html>the gateway is unhappy</html>", {"Content-Type": "text/html"})


def torn() -> Reply:
    """JSON that ends in the middle, as if it were whole."""
    return Reply(200, b'[[1704067200000,"100.0","101')


def slow(wait_s: float) -> Reply:
    """Nothing for so long."""
    return Reply(200, b"[]", wait_s=wait_s)


def hung_up() -> Reply:
    """A connection that breaks in the middle of an answer."""
    return Reply(200, b"[" + b" " * 5000, cut=4000)


@dataclass
class FakeExchange:
    """A server, its market, and the plans of misbehaviour: each is used up by requests for candles or funding."""

    market: Market = field(default_factory=Market)
    #: Instead of an answer, one each.
    plan: deque[Reply | None] = field(default_factory=deque)
    #: On the rows of an answer, one each.
    twists: deque[Twist | None] = field(default_factory=deque)
    #: The share of requests for candles that fail, by their number.
    failing: Callable[[int], Reply | None] | None = None
    #: Symbols that exist, as the exchanges write them.
    symbols: tuple[str, ...] = ("BTCUSDT", "ETHUSDT")
    perpetuals: tuple[str, ...] = ("BTCUSDT", "ETHUSDT")
    coins: tuple[str, ...] = ("BTC", "ETH", "SOL", "kPEPE")
    #: Answers to POST /info instead of the true ones, one each; an exception of the plan of candles.
    info_plan: deque[Reply] = field(default_factory=deque)
    asked: Counter[str] = field(default_factory=Counter)
    queries: list[tuple[str, Query]] = field(default_factory=list)
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, path: str, query: Query) -> Reply:
        """The reply to one request."""
        with self.lock:
            self.asked[path] += 1
            self.queries.append((path, query))
            self.market.n_answers += 1
            if path == "/info":
                return self.info_plan.popleft() if self.info_plan else _json(self._info(query))
            if path not in _DATA:
                return _json(_FACTS[path](self, query)) if path in _FACTS else Reply(404, b"{}")
            if self.plan and (planned := self.plan.popleft()) is not None:
                return planned
            if self.failing is not None and (failed := self.failing(self.n_data)) is not None:
                return failed
            rows = _DATA[path](self, query)
            if self.twists and (twist := self.twists.popleft()) is not None:
                rows = twist(rows)
            return _json(_WRAPPED[path](query, rows) if path in _WRAPPED else rows)

    @property
    def n_data(self) -> int:
        """How many requests for candles and funding came so far."""
        return sum(self.asked[path] for path in _DATA)

    def _info(self, query: Query) -> Any:
        if query["type"] == "meta":
            return {"universe": [{"name": coin, "szDecimals": 3} for coin in self.coins]}
        if query["type"] == "fundingHistory":
            coin = query["coin"]
            if coin not in self.coins:
                return None
            to_ms = int(query.get("endTime", self.market.now_ms))
            rates = self.market.funding(coin, HOUR_MS, int(query["startTime"]) - 31, to_ms)
            return [
                {"coin": coin, "fundingRate": f"{rate:.8f}", "premium": "0.0001", "time": ms + 31}
                for ms, rate in rates[:500]
                if ms + 31 >= int(query["startTime"])
            ]
        if query["type"] == "candleSnapshot":
            return _snapshot(self.market, query["req"])
        facts: dict[str, Any] = {
            "exchangeStatus": {"specialStatuses": None, "time": self.market.now_ms},
            "spotMeta": {"universe": [], "tokens": [{"name": "USDC", "index": 0, "szDecimals": 8}]},
            "metaAndAssetCtxs": [
                {"universe": [{"name": coin, "szDecimals": 3} for coin in self.coins]},
                [{"markPx": "100.0", "midPx": "100.0"} for _ in self.coins],
            ],
        }
        return facts[query["type"]]


def _snapshot(market: Market, asked: Query) -> list[Any]:
    """Of a span, the newest candles only; and of all that ever were, the newest 5000."""
    step_ms = STEPS_MS[asked["interval"]]
    kept_from_ms = market.now_ms - 5000 * step_ms
    from_ms = max(int(asked["startTime"]), kept_from_ms)
    rows = market.candles(asked["coin"], step_ms, from_ms, int(asked["endTime"]))
    names = ("o", "h", "l", "c", "v")
    return [
        {"t": ms, "T": ms + step_ms - 1, "s": asked["coin"], "i": asked["interval"], "n": 3}
        | {name: str(price) for name, price in zip(names, prices, strict=True)}
        for ms, *prices in rows[-5000:]
    ]


def _json(body: Any) -> Reply:
    return Reply(200, json.dumps(body).encode(), {"Content-Type": "application/json"})


def _binance_info(exchange: FakeExchange, query: Query, *, swap: bool) -> Any:
    symbols = []
    for name in exchange.perpetuals if swap else exchange.symbols:
        base, quote = name.removesuffix("USDT"), "USDT"
        symbols.append(
            {
                "symbol": name,
                "status": "TRADING",
                "baseAsset": base,
                "quoteAsset": quote,
                "isSpotTradingAllowed": True,
                "permissions": ["SPOT"],
                "filters": [],
                "orderTypes": [],
                **(
                    {"pair": name, "contractType": "PERPETUAL", "marginAsset": quote}
                    | {"deliveryDate": 4133404800000, "onboardDate": 1569398400000}
                    if swap
                    else {}
                ),
            }
        )
    return {"serverTime": exchange.market.now_ms, "rateLimits": [], "symbols": symbols}


def _binance_klines(exchange: FakeExchange, query: Query) -> list[Any]:
    step_ms = STEPS_MS[query["interval"]]
    market = exchange.market
    limit = min(int(query.get("limit", 500)), 1000)
    to_ms = int(query.get("endTime", market.now_ms))
    # As the exchange does: from the first candle at or after the start on.
    rows = market.candles(query["symbol"], step_ms, int(query["startTime"]), to_ms)[:limit]
    return [
        [ms, *(f"{x:.8f}" for x in prices), ms + step_ms - 1, "0", 7, "0", "0", "0"]
        for ms, *prices in rows
    ]


def _binance_funding(exchange: FakeExchange, query: Query) -> list[Any]:
    market = exchange.market
    to_ms = int(query.get("endTime", market.now_ms))
    rates = market.funding(query["symbol"], 8 * HOUR_MS, int(query["startTime"]), to_ms)
    limit = min(int(query.get("limit", 100)), 1000)
    return [
        {
            "symbol": query["symbol"],
            "fundingTime": ms,
            "fundingRate": f"{rate:.8f}",
            "markPrice": "1",
        }
        for ms, rate in rates[:limit]
    ]


_BYBIT_STEPS_MS = {"1": 60_000, "5": 300_000, "60": HOUR_MS, "D": DAY_MS, "W": 7 * DAY_MS}


def _bybit_klines(exchange: FakeExchange, query: Query) -> list[Any]:
    step_ms = _BYBIT_STEPS_MS[query["interval"]]
    limit = min(int(query.get("limit", 200)), 1000)
    from_ms = int(query["start"])
    # A window, not the next candles there are; newest first.
    to_ms = min(int(query.get("end", 2**60)), from_ms + (limit - 1) * step_ms)
    rows = exchange.market.candles(query["symbol"], step_ms, from_ms, to_ms)
    return [[str(ms), *(str(x) for x in prices), "0"] for ms, *prices in reversed(rows)]


def _bybit_funding(exchange: FakeExchange, query: Query) -> list[Any]:
    rates = exchange.market.funding(
        query["symbol"], 8 * HOUR_MS, int(query["startTime"]), int(query["endTime"])
    )
    return [
        {"symbol": query["symbol"], "fundingRate": str(rate), "fundingRateTimestamp": str(ms)}
        for ms, rate in reversed(rates)
    ]


def _bybit(query: Query, rows: Any) -> Any:
    result = {"category": query.get("category"), "symbol": query.get("symbol"), "list": rows}
    return {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": 0}


def _bybit_instruments(exchange: FakeExchange, query: Query) -> Any:
    listed = [
        {
            "symbol": name,
            "baseCoin": name.removesuffix("USDT"),
            "quoteCoin": "USDT",
            "settleCoin": "USDT",
            "status": "Trading",
            "lotSizeFilter": {
                "basePrecision": "0.000001",
                "quotePrecision": "0.01",
                "qtyStep": "0.001",
            },
            "priceFilter": {"tickSize": "0.01"},
            "leverageFilter": {"maxLeverage": "100"},
            "contractType": "LinearPerpetual",
            "launchTime": "1584230400000",
            "deliveryTime": "0",
            "fundingInterval": 480,
        }
        for name in {"spot": exchange.symbols, "linear": exchange.perpetuals}[query["category"]]
    ]
    return _bybit(query, listed)


def _bybit_time(exchange: FakeExchange, query: Query) -> Any:
    now_ms = exchange.market.now_ms
    told = {"timeSecond": str(now_ms // 1000), "timeNano": str(now_ms * 1_000_000)}
    return {"retCode": 0, "retMsg": "OK", "result": told, "time": now_ms}


_DATA: dict[str, Callable[[FakeExchange, Query], list[Any]]] = {
    "/api/v3/klines": _binance_klines,
    "/fapi/v1/klines": _binance_klines,
    "/fapi/v1/fundingRate": _binance_funding,
    "/v5/market/kline": _bybit_klines,
    "/v5/market/funding/history": _bybit_funding,
}
_WRAPPED: dict[str, Callable[[Query, Any], Any]] = {
    "/v5/market/kline": _bybit,
    "/v5/market/funding/history": _bybit,
}
_FACTS: dict[str, Callable[[FakeExchange, Query], Any]] = {
    "/api/v3/exchangeInfo": lambda exchange, query: _binance_info(exchange, query, swap=False),
    "/fapi/v1/exchangeInfo": lambda exchange, query: _binance_info(exchange, query, swap=True),
    "/api/v3/time": lambda exchange, query: {"serverTime": exchange.market.now_ms},
    "/fapi/v1/time": lambda exchange, query: {"serverTime": exchange.market.now_ms},
    "/v5/market/instruments-info": _bybit_instruments,
    "/v5/market/time": _bybit_time,
}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed hangs up: no news."""


@contextmanager
def serving(exchange: FakeExchange, host: str = "127.0.0.1") -> Iterator[FakeExchange]:
    """The exchange on a port of its own, its `url` set, until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            self._send(exchange.answer(parts.path, dict(parse_qsl(parts.query))))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self._send(exchange.answer(urlsplit(self.path).path, json.loads(body)))

        def _send(self, reply: Reply) -> None:
            if reply.wait_s:
                time.sleep(reply.wait_s)
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body[: len(reply.body) - reply.cut])
            if reply.cut:
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = _Server((host, 0), Handler)
    exchange.url = f"http://{host}:{server.server_address[1]}"
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    )
    thread.start()
    try:
        yield exchange
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
