"""A small Hyperliquid on this machine: it checks what the real one checks, and misbehaves when it is told to.

It takes orders over HTTP, knows who signed them, matches them against books, and answers what the real one answers.
Its clock runs with the real one and is put forward by `advance`, which tests hand out as `sleep`.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.account.signatures import signer_of

_DAY_MS = 86_400_000
ZERO = Decimal(0)
#: What a handler does instead of answering.
SILENCE, DRIP, DROP = object(), object(), object()


@dataclass(frozen=True)
class Fault:
    """One misbehaviour, used up by one request.

    To orders: reject, err, thin (value: how much the book has), late (value: after how many ms it is executed), and
    silence, drip (an answer without end), drop, garbage, odd, http (value: the status) with `_before` or `_after` the
    execution. To questions: stale, working (the order is), silence, drip, drop, garbage, odd, http. To both: outside
    (value: symbol and size set by somebody else, before the request is dealt with), none.
    """

    kind: str
    value: Any = None


@dataclass
class Market:
    """A perpetual with its book; levels are (price, size), the best first. listed, quoted: in `meta`, in `allMids`."""

    sz_decimals: int
    mid: Decimal
    depth: Decimal = Decimal(10**9)
    listed: bool = True
    quoted: bool = True

    def levels(self, is_buy: bool) -> list[tuple[Decimal, Decimal]]:
        """What a buyer (seller) meets: two levels, 0.1 % and 1 % from the mid."""
        half = self.depth / 2
        return [
            (self.mid * (1 + sign), half)
            for sign in (
                (Decimal("0.001"), Decimal("0.01"))
                if is_buy
                else (Decimal("-0.001"), Decimal("-0.01"))
            )
        ]


@dataclass
class Held:
    """A position: signed size and entry price."""

    szi: Decimal
    entry: Decimal
    leverage: int = 5


@dataclass
class Executed:
    """An order as it went: size before and after, signed."""

    coin: str
    before: Decimal
    after: Decimal


@dataclass
class Known:
    """An order that `orderStatus` knows."""

    coin: str
    orig: Decimal
    left: Decimal
    status: str
    at_ms: int


@dataclass
class FakeHyperliquid:
    """The exchange. account: the address (lower case) whose positions these are; agents: signer -> owner."""

    account: str
    oversized: str = "cut"
    agents: dict[str, str] = field(default_factory=dict)
    markets: dict[str, Market] = field(default_factory=dict)
    held: dict[str, Held] = field(default_factory=dict)
    cash: Decimal = Decimal("1000.123456")
    #: What waits in the books, as `frontendOpenOrders` has it.
    resting: list[dict[str, Any]] = field(default_factory=list)
    #: Misbehaviours by question ("order" for orders), used up in turn.
    faults: dict[str, deque[Fault]] = field(default_factory=lambda: defaultdict(deque))
    #: Every request's question, in order.
    asked: list[str] = field(default_factory=list)
    orders: list[dict[str, Any]] = field(default_factory=list)
    executed: list[Executed] = field(default_factory=list)
    #: Every size of a symbol since it was first held, with the time it came to be.
    sizes: dict[str, list[tuple[int, Decimal]]] = field(default_factory=lambda: defaultdict(list))
    #: What no careful client ever sends.
    violations: list[str] = field(default_factory=list)

    #: When the last order of a symbol came in.
    last_order_ms: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._lock = threading.RLock()
        self._offset_ms = 0
        self._last_ms = 0
        self._nonces: dict[str, set[int]] = defaultdict(set)
        self._known: dict[str, Known] = {}
        self._late: list[tuple[int, Callable[[], object]]] = []
        self._before_change: dict[str, Any] | None = None
        self._closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """Stop listening and let go of every client that waits."""
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def list_market(self, coin: str, sz_decimals: int, mid: str) -> None:
        """Let a perpetual trade."""
        self.markets[coin] = Market(sz_decimals, Decimal(mid))

    def hold(self, coin: str, szi: str | Decimal) -> None:
        """Let the account hold `szi` (signed) of `coin`, from outside."""
        self._set(coin, Decimal(szi))

    def size(self, coin: str) -> Decimal:
        """Signed size that is held."""
        return self.held[coin].szi if coin in self.held else ZERO

    def misbehave(self, question: str, *faults: Fault | str) -> None:
        """Queue misbehaviours for requests of `question` ("order": orders)."""
        for fault in faults:
            self.faults[question].append(fault if isinstance(fault, Fault) else Fault(fault))

    def now_ms(self) -> int:
        """The clock: never the same twice."""
        with self._lock:
            self._last_ms = max(self._last_ms + 1, time.time_ns() // 1_000_000 + self._offset_ms)
            return self._last_ms

    def advance(self, seconds: float) -> None:
        """Put the clock forward; what was late arrives."""
        with self._lock:
            self._offset_ms += round(seconds * 1000)
            now_ms = self.now_ms()
            due = [arrive for at_ms, arrive in self._late if at_ms <= now_ms]
            self._late = [one for one in self._late if one[0] > now_ms]
            for arrive in due:
                arrive()

    # -- requests ------------------------------------------------------------------------------------------------------

    def answer(self, path: str, body: dict[str, Any]) -> Any:
        """What a request gets: (status, text), SILENCE, DRIP or DROP."""
        with self._lock:
            question = "order" if path == "/exchange" else body["type"]
            self.asked.append(question)
            queue = self.faults[question]
            fault = queue.popleft() if queue else Fault("none")
            if fault.kind == "outside":
                self._set(fault.value[0], Decimal(fault.value[1]))
            if question == "order":
                return self._order_answer(body, fault)
            if fault.kind == "stale" and self._before_change is not None:
                return 200, json.dumps(self._before_change)
            if fault.kind == "working" and question == "orderStatus":
                return 200, json.dumps(self._status(body["oid"], "open"))
            broken = self._broken(fault, fault.kind)
            return broken or (200, json.dumps(self._info(body)))

    def _order_answer(self, body: dict[str, Any], fault: Fault) -> Any:
        self.orders.append(body)
        coin = list(self.markets)[body["action"]["orders"][0]["a"]]
        self.last_order_ms[coin] = self.now_ms()
        kind, _, when = fault.kind.partition("_")
        if kind == "late":
            self._late.append((self.now_ms() + fault.value, lambda: self._exchange(body)))
            return DROP
        if kind == "err":
            return 200, json.dumps({"status": "err", "response": "the exchange is in maintenance"})
        if kind == "reject":
            return 200, json.dumps(
                _statuses({"error": "Insufficient margin to place order. asset=0"})
            )
        if when == "before":
            return self._broken(fault, kind)
        if kind == "thin":
            market = self.markets[coin]
            full, market.depth = market.depth, Decimal(fault.value)
            said = self._exchange(body)
            market.depth = full
        else:
            said = self._exchange(body)
        return self._broken(fault, kind) or (200, json.dumps(said))

    def _broken(self, fault: Fault, kind: str) -> Any:
        if kind == "silence":
            return SILENCE
        if kind == "drip":
            return DRIP
        if kind == "drop":
            return DROP
        if kind == "garbage":
            return 200, "<html>bad gateway"
        if kind == "odd":
            return 200, json.dumps({"status": "ok", "response": {"type": "default"}})
        if kind == "http":
            return fault.value, json.dumps({"code": fault.value, "msg": "as told"})
        return None

    def _info(self, body: dict[str, Any]) -> Any:
        question = body["type"]
        if question == "meta":
            return {
                "universe": [
                    {"name": coin, "szDecimals": market.sz_decimals, "maxLeverage": 50}
                    for coin, market in self.markets.items()
                    if market.listed
                ]
            }
        if question == "allMids":
            return {
                coin: _plain(market.mid) for coin, market in self.markets.items() if market.quoted
            }
        if question == "userRole":
            owner = self.agents.get(body["user"].lower())
            return {"role": "agent", "data": {"user": owner}} if owner else {"role": "missing"}
        if body["user"].lower() != self.account:
            self.violations.append(f"{question} about {body['user']}")
        if question == "orderStatus":
            return self._status(body["oid"])
        if question == "frontendOpenOrders":
            return self.resting
        assert question == "clearinghouseState", question
        return self._state()

    def _state(self) -> dict[str, Any]:
        profit = sum(
            ((self.markets[coin].mid - one.entry) * one.szi for coin, one in self.held.items()),
            ZERO,
        )
        summary = {
            "accountValue": _plain(self.cash + profit),
            "totalNtlPos": "0.0",
            "totalRawUsd": "0.0",
            "totalMarginUsed": "0.0",
        }
        return {
            "marginSummary": summary,
            "crossMarginSummary": summary,
            "withdrawable": "0.0",
            "assetPositions": [
                {
                    "type": "oneWay",
                    "position": {
                        "coin": coin,
                        "szi": _plain(one.szi),
                        "entryPx": _plain(one.entry),
                        "leverage": {"type": "cross", "value": one.leverage},
                        "marginUsed": _plain(abs(one.szi) * one.entry / one.leverage),
                        "liquidationPx": None,
                    },
                }
                for coin, one in reversed(self.held.items())
            ],
            "time": self.now_ms(),
        }

    def _status(self, cloid: str, status: str | None = None) -> dict[str, Any]:
        known = self._known.get(cloid)
        if known is None:
            return {"status": "unknownOid"}
        order = {"coin": known.coin, "origSz": _plain(known.orig), "sz": _plain(known.left)}
        return {
            "status": "order",
            "order": {
                "order": order,
                "status": status or known.status,
                "statusTimestamp": known.at_ms,
            },
        }

    # -- orders --------------------------------------------------------------------------------------------------------

    def _exchange(self, body: dict[str, Any]) -> dict[str, Any]:
        refusal = self._refusal(body)
        if refusal:
            return {"status": "err", "response": refusal}
        action = body["action"]
        if set(body) != {"action", "nonce", "signature", "vaultAddress", "expiresAfter"}:
            self.violations.append(f"fields {sorted(body)}")
        (order,) = action["orders"]
        coin = list(self.markets)[order["a"]]
        wrong = self._malformed(self.markets[coin], order)
        if wrong:
            self.violations.append(f"{coin}: {wrong}: {order}")
            return _statuses({"error": f"{wrong} asset={order['a']}"})
        return _statuses(self._match(coin, order))

    def _refusal(self, body: dict[str, Any]) -> str:
        """Why a request is not even looked at."""
        try:
            signer = signer_of(body)
        except (KeyError, ValueError, TypeError) as error:
            self.violations.append(f"no signature: {error!r}")
            return "Unable to recover signer."
        if self.agents.get(signer, signer) != self.account:
            self.violations.append(f"signed by {signer}")
            return f"User or API Wallet {signer} does not exist."
        nonce, now_ms, used = body["nonce"], self.now_ms(), self._nonces[signer]
        is_old = len(used) >= 100 and nonce <= sorted(used)[-100]
        if nonce in used or is_old or not now_ms - 2 * _DAY_MS < nonce < now_ms + _DAY_MS:
            self.violations.append(f"nonce {nonce} at {now_ms}")
            return "Invalid nonce"
        used.add(nonce)
        if body["expiresAfter"] is None:
            self.violations.append("an order that never expires")
        elif body["expiresAfter"] < now_ms:
            return "Action expired"
        return ""

    def _malformed(self, market: Market, order: dict[str, Any]) -> str:
        """Why size, price or kind of an order is not taken."""
        price, size = Decimal(order["p"]), Decimal(order["s"])
        if order["p"] != _plain(price) or order["s"] != _plain(size):
            return "Order has trailing zeros."
        if size <= 0 or -_exponent(size) > market.sz_decimals:
            return "Order has invalid size."
        digits = len(price.normalize().as_tuple().digits)
        is_whole = price == price.to_integral_value()
        if (
            price <= 0
            or -_exponent(price) > 6 - market.sz_decimals
            or (digits > 5 and not is_whole)
        ):
            return "Price must be divisible by tick size."
        if order["t"] != {"limit": {"tif": "Ioc"}}:
            return "Not immediate or cancel."
        bound = abs(price / market.mid - 1)
        return "Too far from the mid." if bound > Decimal("0.0200001") else ""

    def _match(self, coin: str, order: dict[str, Any]) -> dict[str, Any]:
        before = self.size(coin)
        wanted, is_buy = Decimal(order["s"]), order["b"]
        if order["r"]:
            reduces = before < 0 if is_buy else before > 0
            if not reduces or (wanted > abs(before) and self.oversized == "refused"):
                self._remember(coin, order, wanted, "reduceOnlyRejected")
                return {"error": f"Reduce only order would increase position. asset={order['a']}"}
            wanted = min(wanted, abs(before))
        filled, paid, limit = ZERO, ZERO, Decimal(order["p"])
        for price, size in self.markets[coin].levels(is_buy):
            if price > limit if is_buy else price < limit:
                break
            taken = min(size, wanted - filled)
            filled, paid = filled + taken, paid + taken * price
        if filled == 0:
            self._remember(coin, order, wanted, "iocCancelRejected")
            return {
                "error": "Order could not immediately match against any resting orders. "
                f"asset={order['a']}"
            }
        self._set(coin, before + (filled if is_buy else -filled))
        self.executed.append(Executed(coin, before, self.size(coin)))
        left = Decimal(order["s"]) - filled
        self._remember(coin, order, left, "filled" if left == 0 else "canceled")
        return {"filled": {"totalSz": _plain(filled), "avgPx": _plain(paid / filled), "oid": 77}}

    def _remember(self, coin: str, order: dict[str, Any], left: Decimal, status: str) -> None:
        self._known[order["c"]] = Known(coin, Decimal(order["s"]), left, status, self.now_ms())

    def _set(self, coin: str, szi: Decimal) -> None:
        """Change a position. What a cache would show until now is kept: the state of the moment before."""
        with self._lock:
            self._before_change = self._state()
            if szi == 0:
                self.held.pop(coin, None)
            elif coin in self.held:
                self.held[coin].szi = szi
            else:
                self.held[coin] = Held(szi, self.markets[coin].mid)
            self.sizes[coin].append((self.now_ms(), szi))


def _statuses(said: dict[str, Any]) -> dict[str, Any]:
    return {"status": "ok", "response": {"type": "order", "data": {"statuses": [said]}}}


def _plain(number: Decimal) -> str:
    return format(number.normalize(), "f")


def _exponent(number: Decimal) -> int:
    exponent = number.normalize().as_tuple().exponent
    assert isinstance(exponent, int)
    return exponent


def _handler(fake: FakeHyperliquid) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16  # an answer in two packets takes 40 ms

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            said = fake.answer(self.path, body)
            if said is SILENCE:
                fake._closing.wait()
            if said is DRIP:
                self._drip()
            if said in (SILENCE, DRIP, DROP):
                self.close_connection = True
                return
            status, text = said
            content = text.encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _drip(self) -> None:
            """A blank every twentieth of a second, until the client or the test has had enough."""
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            with contextlib.suppress(OSError):
                while not fake._closing.wait(0.05):
                    self.wfile.write(b" ")
                    self.wfile.flush()

        def log_message(self, *_: Any) -> None:
            return None

    return Handler
