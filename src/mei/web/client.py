"""JSON client of the services: the same calls reach an app in process or one behind a socket."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from types import TracebackType
from typing import Any

import httpx
import orjson

from mei.model.errors import (
    ClaimBusyError,
    ConfigError,
    MeiError,
    RequestError,
    ServiceUnavailableError,
)

_RETRIED_STATUSES = frozenset({502, 503, 504})

#: Probes after 5 s of silence, every 2 s; unanswered data or probes end the connection after 5 s more.
_LINUX_TCP_OPTIONS = (
    ("TCP_KEEPIDLE", 5),
    ("TCP_KEEPINTVL", 2),
    ("TCP_KEEPCNT", 3),
    ("TCP_USER_TIMEOUT", 5_000),
)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Wait first_s, then twice as long each time up to cap_s; give up after limit_s."""

    first_s: float = 0.2
    cap_s: float = 10.0
    limit_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Reply:
    """A successful (2xx) answer as it came."""

    status: int
    body: bytes
    headers: httpx.Headers

    def json(self) -> Any:
        """The body, parsed."""
        return orjson.loads(self.body)


@dataclass(frozen=True, slots=True)
class _Failure:
    """Something worth another attempt."""

    what: str


def _quiet(_: str) -> None:
    return None


class ServiceClient:
    """Client of one service. `target`: its base URL (`http://host:port`), or its ASGI app.

    A connection that fails or times out, 502/503/504 and 409 `claim_busy` are tried again by
    `retry`; `on_wait` gets one line before each wait. When the limit is over:
    ServiceUnavailableError. Every other error of the service is raised here as the MeiError it was
    there, with the service's message. An embedded app (no sockets) is not timed out. One client
    belongs to one event loop.
    """

    def __init__(
        self,
        target: str | Any,
        *,
        name: str,
        timeout_s: float = 60.0,
        retry: RetryPolicy | None = None,
        on_wait: Callable[[str], None] = _quiet,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
        clock_s: Callable[[], float] = time.monotonic,
        token: str | None = None,
    ) -> None:
        self._name = name
        self._retry = retry if retry is not None else RetryPolicy()
        self._on_wait = on_wait
        self._sleep = sleep
        self._clock_s = clock_s
        self._timeout_s = timeout_s
        self._base, self._transport = _connect(target, name)
        self._headers = _headers(token)
        # Parsing a URL costs 40 µs; the runner asks the same few paths again and again.
        self._url = lru_cache(256)(lambda path: httpx.URL(self._base + path))

    @property
    def where(self) -> str:
        """The service's address, for messages."""
        return self._base

    async def get_json(self, path: str) -> Any:
        """GET `path` (query included) and parse the answer."""
        return orjson.loads((await self._request("GET", path, None)).body)

    async def post_bytes(self, path: str, body: bytes, *, timeout_s: float | None = None) -> Reply:
        """POST a JSON body that is serialised already. `timeout_s` overrides the client's."""
        return await self._request("POST", path, body, timeout_s)

    async def post_json(self, path: str, content: object, *, timeout_s: float | None = None) -> Any:
        """POST plain objects as JSON and parse the answer."""
        return (await self.post_bytes(path, orjson.dumps(content), timeout_s=timeout_s)).json()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    async def __aenter__(self) -> ServiceClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def _request(
        self, method: str, path: str, body: bytes | None, timeout_s: float | None = None
    ) -> Reply:
        outcome = await self._attempt(method, path, body, timeout_s)
        if isinstance(outcome, Reply):
            return outcome
        return await self._try_again(method, path, body, timeout_s, outcome)

    async def _try_again(
        self, method: str, path: str, body: bytes | None, timeout_s: float | None, failure: _Failure
    ) -> Reply:
        failed_at_s = self._clock_s()
        limit_s = self._retry.limit_s
        for attempt, delay_s in enumerate(_delays_s(self._retry), start=1):
            left_s = limit_s - (self._clock_s() - failed_at_s)
            if left_s <= 0:
                break
            self._on_wait(
                f"{self._name} at {self._base}{path}: attempt {attempt} failed ({failure.what}); "
                f"next in {min(delay_s, left_s):.1f} s, giving up in {left_s:.0f} s"
            )
            await self._sleep(min(delay_s, left_s))
            outcome = await self._attempt(method, path, body, timeout_s)
            if isinstance(outcome, Reply):
                return outcome
            failure = outcome
        raise ServiceUnavailableError(
            f"{self._name} at {self._base}{path} did not answer for {limit_s:.0f} s "
            f"({failure.what}); bring it back and give the same command again: the run is resumed"
        )

    async def _attempt(
        self, method: str, path: str, body: bytes | None, timeout_s: float | None
    ) -> Reply | _Failure:
        seconds = self._timeout_s if timeout_s is None else timeout_s
        timeout = {"connect": seconds, "read": seconds, "write": seconds, "pool": seconds}
        request = httpx.Request(
            method,
            self._url(path),
            headers=self._headers,
            content=body,
            extensions={"timeout": timeout},
        )
        try:
            response = await self._transport.handle_async_request(request)
            try:
                content = await response.aread()
            finally:
                await response.aclose()
        except httpx.UnsupportedProtocol as error:
            raise ConfigError(f"{self._name}: {self._base} is not a usable URL: {error}") from error
        except httpx.TransportError as error:
            return _Failure(f"{type(error).__name__}: {error}".rstrip(": "))
        if 200 <= response.status_code < 300:
            return Reply(response.status_code, content, response.headers)
        return self._failure(f"{method} {self._base}{path}", response.status_code, content)

    def _failure(self, request: str, status: int, content: bytes) -> _Failure:
        """What is worth another attempt; raises what is not."""
        code, message = _error_of(content)
        if status in _RETRIED_STATUSES or (status == 409 and code == ClaimBusyError.code):
            return _Failure(f"HTTP {status} {code}: {message}".rstrip(": "))
        default = RequestError if 400 <= status < 500 else MeiError
        kind = ConfigError if status == 401 else _error_classes().get(code, default)
        raise kind(f"{self._name} answered {request} with {status} {code}: {message}")


def _connect(target: str | Any, name: str) -> tuple[str, httpx.AsyncBaseTransport]:
    if not isinstance(target, str):
        return f"http://{name}", httpx.ASGITransport(target, raise_app_exceptions=False)
    base = target.rstrip("/")
    if not base.startswith(("http://", "https://")) or not httpx.URL(base).host:
        raise ConfigError(
            f"the URL of {name} must be http://host:port (or empty: embedded), found {target!r}"
        )
    limits = httpx.Limits(max_connections=16, max_keepalive_connections=16, keepalive_expiry=30.0)
    # Reading the system's certificates costs 20 ms and is of no use without TLS.
    verify = base.startswith("https://")
    transport = httpx.AsyncHTTPTransport(
        verify=verify, limits=limits, trust_env=False, socket_options=_dead_peer_options()
    )
    return base, transport


def _dead_peer_options() -> list[tuple[int, int, int]]:
    """Notice within seconds, not at the read timeout, a peer that vanished without a word (its network was cut)."""
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    for name, value in _LINUX_TCP_OPTIONS:
        if hasattr(socket, name):
            options.append((socket.IPPROTO_TCP, getattr(socket, name), value))
    return options


def _headers(token: str | None) -> list[tuple[bytes, bytes]]:
    headers = [(b"content-type", b"application/json")]
    if token is not None:
        headers.append((b"authorization", b"Bearer " + token.encode()))
    return headers


def _delays_s(retry: RetryPolicy) -> Iterator[float]:
    delay_s = retry.first_s
    while True:
        yield min(delay_s, retry.cap_s)
        delay_s = min(delay_s * 2, retry.cap_s)


def _error_of(content: bytes) -> tuple[str, str]:
    """(code, message) of an error body; a body of another shape is shown as it is, shortened."""
    try:
        parsed = orjson.loads(content)
        return str(parsed["code"]), str(parsed["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return "unknown", content[:200].decode(errors="replace")


def _error_classes() -> dict[str, type[MeiError]]:
    classes: dict[str, type[MeiError]] = {}
    pending: list[type[MeiError]] = [MeiError]
    while pending:
        kind = pending.pop()
        # A subclass without a code of its own must not take its parent's place.
        classes.setdefault(kind.code, kind)
        pending.extend(kind.__subclasses__())
    return classes
