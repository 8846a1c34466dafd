"""The app factory: operations, error shape, caps, auth, logs."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from fastapi import APIRouter, FastAPI, Request

from mei.model.errors import ClaimBusyError, ConfigError, LedgerError, NotFoundError
from mei.model.http import PolicyState, TrainRequest
from mei.web.app import create_app
from mei.web.auth import AuthSettings, auth_from
from mei.web.bodies import json_reply, parse_body, raw_body
from mei.web.logs import configure_logs

SECRET = "a secret of at least thirty-two bytes, for HS256"


def _router() -> APIRouter:
    router = APIRouter()

    @router.post("/train", openapi_extra=raw_body(TrainRequest, required=False))
    async def train(request: Request) -> Any:
        body = parse_body(TrainRequest, await request.body(), empty_is_default=True)
        return json_reply(body.model_dump())

    @router.post("/typed")
    async def typed(state: PolicyState) -> PolicyState:
        return state

    @router.get("/busy")
    async def busy() -> None:
        raise ClaimBusyError("the files are held\n  by another owner")

    @router.get("/ledger")
    async def ledger() -> None:
        raise LedgerError("the manifest is damaged")

    @router.get("/missing/{name}")
    async def missing(name: str) -> None:
        raise NotFoundError(f"no {name}")

    @router.get("/bug")
    async def bug() -> None:
        raise ZeroDivisionError("a secret detail")

    return router


def _app(**options: Any) -> FastAPI:
    options = {"readiness": dict, "routers": [_router()], **options}
    return create_app("test", version="1.2", **options)


def _ask(app: FastAPI, *requests: tuple[Any, ...], **options: Any) -> list[httpx.Response]:
    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return [await client.request(method, path, **kw) for method, path, kw in requests]

    return asyncio.run(ask())


def _get(app: FastAPI, path: str, **kw: Any) -> httpx.Response:
    return _ask(app, ("GET", path, kw))[0]


def _post(app: FastAPI, path: str, **kw: Any) -> httpx.Response:
    return _ask(app, ("POST", path, kw))[0]


def test_health_answers_without_lifespan_and_startup_has_run() -> None:
    started: list[str] = []
    app = _app(on_startup=lambda: started.append("yes"))
    assert started == ["yes"]
    assert _get(app, "/health").json() == {"status": "ok", "service": "test", "version": "1.2"}


def test_ready_tells_facts_or_503_with_reasons() -> None:
    facts: dict[str, Any] = {"models": 3}
    app = _app(readiness=lambda: facts)
    assert (_get(app, "/ready").status_code, _get(app, "/ready").json()) == (
        200,
        {"ready": True, "models": 3},
    )
    facts["reasons"] = ["no ledger", "no disk"]
    reply = _get(app, "/ready")
    assert reply.status_code == 503
    assert reply.json()["code"] == "not_ready"
    assert reply.json()["message"] == "no ledger; no disk"


def test_a_failing_readiness_check_is_not_ready() -> None:
    def broken() -> dict[str, Any]:
        raise LedgerError("cannot be read")

    reply = _get(_app(readiness=broken), "/ready")
    assert reply.status_code == 503
    assert "cannot be read" in reply.json()["message"]


def test_metrics_count_by_route_template_and_per_app() -> None:
    app, other = _app(), _app()
    _get(app, "/missing/a")
    _get(app, "/missing/b")
    _get(app, "/nowhere/at/all")
    text = _get(app, "/metrics").text
    assert 'mei_requests_total{method="GET",route="/missing/{name}",status="404"} 2.0' in text
    assert 'route="unmatched",status="404"} 1.0' in text
    assert 'mei_request_seconds_count{method="GET",route="/missing/{name}"} 2.0' in text
    assert "missing" not in _get(other, "/metrics").text


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code", "said"),
    [
        ("GET", "/busy", None, 409, "claim_busy", "the files are held by another owner"),
        ("GET", "/ledger", None, 500, "ledger", "the manifest is damaged"),
        ("GET", "/missing/x", None, 404, "not_found", "no x"),
        ("GET", "/nope", None, 404, "not_found", "/openapi.json"),
        ("DELETE", "/busy", None, 405, "method_not_allowed", "DELETE is not for /busy"),
        ("POST", "/train", b"{", 422, "request", "TrainRequest in JSON"),
        ("POST", "/train", b'{"strem": 1}', 422, "request", "strem: Extra inputs"),
        ("POST", "/train", b'{"as_of_ms": "soon"}', 422, "request", "as_of_ms"),
        ("POST", "/typed", b'{"changes_today": "x"}', 422, "request", "changes_today"),
        ("GET", "/bug", None, 500, "internal", "failed unexpectedly"),
    ],
)
def test_every_error_has_the_one_shape(
    method: str, path: str, body: bytes | None, status: int, code: str, said: str
) -> None:
    reply = _ask(_app(), (method, path, {"content": body}))[0]
    assert reply.status_code == status
    assert set(reply.json()) == {"code", "message"}
    assert reply.json()["code"] == code
    assert said in reply.json()["message"]
    assert "\n" not in reply.json()["message"]
    assert "secret detail" not in reply.text


def test_an_unexpected_exception_is_logged_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    _get(_app(), "/bug")
    record = next(one for one in caplog.records if one.message == "unexpected error")
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


def test_an_empty_body_is_the_defaults() -> None:
    assert _post(_app(), "/train").json()["stream"] == "live"


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_over_the_cap_is_413(is_chunked: bool) -> None:
    async def chunks() -> Any:
        for _ in range(20):
            yield b" " * 10

    app = _app(max_body_bytes=100)
    reply = _post(app, "/train", content=chunks() if is_chunked else b" " * 200)
    assert (reply.status_code, reply.json()["code"]) == (413, "too_large")
    assert _post(app, "/train", content=b" " * 100).status_code == 200


def test_a_declared_length_over_the_cap_is_refused_before_the_route_runs() -> None:
    # /health reads no body: only the declared length can tell.
    reply = _ask(_app(max_body_bytes=100), ("GET", "/health", {"content": b" " * 101}))[0]
    assert (reply.status_code, reply.json()["code"]) == (413, "too_large")


def _bearer(token: str) -> dict[str, dict[str, str]]:
    return {"headers": {"Authorization": f"Bearer {token}"}}


def test_auth_opens_for_the_token_and_a_valid_jwt_only() -> None:
    app = _app(auth=AuthSettings("tok", SECRET))
    now = int(time.time())
    good = jwt.encode({"exp": now + 60}, SECRET, "HS256")
    stale = jwt.encode({"exp": now - 60}, SECRET, "HS256")
    foreign = jwt.encode({"exp": now + 60}, SECRET[::-1], "HS256")
    unsigned = jwt.encode({"exp": now + 60}, None, "none")
    assert _get(app, "/health").status_code == 200
    assert _get(app, "/metrics").status_code == 401
    for token, status in [
        ("tok", 200), (good, 200), ("", 401), ("toc", 401), (stale, 401), (foreign, 401), (unsigned, 401)
    ]:  # fmt: skip
        assert _get(app, "/ready", **_bearer(token)).status_code == status, token
    refused = _get(app, "/ready")
    assert refused.json()["code"] == "unauthorized"
    assert refused.headers["www-authenticate"] == "Bearer"


def test_auth_settings_come_from_files_and_never_start_open(tmp_path: Path) -> None:
    def auth(required: bool, token: Path | None, secret: Path | None) -> AuthSettings | None:
        return auth_from(require_auth=required, token_file=token, secret_file=secret)

    token = tmp_path / "token"
    token.write_text("tok\n")
    empty = tmp_path / "empty"
    empty.write_text("\n")
    assert auth(False, None, None) is None
    assert auth(False, token, None) == AuthSettings("tok", None)
    cases: list[tuple[Callable[[], Any], str]] = [
        (lambda: auth(True, None, None), "REQUIRE_AUTH"),
        (lambda: auth(False, empty, None), "empty"),
        (lambda: auth(False, tmp_path / "absent", None), "AUTH_TOKEN_FILE"),
        (lambda: auth(False, None, token), "32 bytes"),
    ]
    for case, said in cases:
        with pytest.raises(ConfigError, match=said):
            case()


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    root.handlers[:], root.level = handlers, level


def test_logs_are_one_json_object_a_line(root_logger: logging.Logger) -> None:
    out = io.StringIO()
    configure_logs("ml_service", "info", out)
    log = logging.getLogger("mei.test")
    log.info("trained %d", 3, extra={"stream": "live", "run_id": "ab", "n_bars": 7})
    try:
        raise ValueError("two\nlines")
    except ValueError:
        log.exception("failed")
    first, second = [json.loads(line) for line in out.getvalue().splitlines()]
    assert (first["message"], first["stream"], first["run_id"]) == ("trained 3", "live", "ab")
    assert (first["service"], first["n_bars"], first["level"]) == ("ml_service", 7, "info")
    assert "ValueError: two\nlines" in second["traceback"]


def test_openapi_documents_a_raw_body() -> None:
    paths = _get(_app(), "/openapi.json").json()["paths"]
    body = paths["/train"]["post"]["requestBody"]
    assert body["required"] is False
    assert "$ref" not in json.dumps(body)
    assert "as_of_ms" in body["content"]["application/json"]["schema"]["properties"]
