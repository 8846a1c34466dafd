"""The app factory of all services."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.responses import Response

from mei.model.http import MAX_BODY_BYTES, ErrorBody
from mei.web.auth import AuthSettings
from mei.web.bodies import json_reply
from mei.web.errors import install_error_handlers
from mei.web.gate import Gate
from mei.web.metrics import CONTENT_TYPE, RequestMetrics

_log = logging.getLogger("mei.web")

#: What a readiness check returns; its key `reasons` (list of str) is empty or absent when ready.
Readiness = Callable[[], dict[str, Any]]


def create_app(
    title: str,
    *,
    version: str,
    readiness: Readiness,
    routers: Sequence[APIRouter],
    auth: AuthSettings | None = None,
    on_startup: Callable[[], None] | None = None,
    on_shutdown: Callable[[], None] | None = None,
    max_body_bytes: int = MAX_BODY_BYTES,
) -> FastAPI:
    """A FastAPI app with `/health`, `/ready`, `/metrics`, one error shape, a body cap, maybe auth.

    It is complete when this returns: `on_startup` runs here, because an app mounted in process
    (httpx's ASGITransport) never sees a lifespan. `on_shutdown` runs at the end of a lifespan.
    `readiness()` returns facts; `/ready` is 503 while its `reasons` is a non-empty list, else 200.
    """
    app = FastAPI(
        title=title,
        version=version,
        lifespan=_closing(on_shutdown),
        redirect_slashes=False,
        responses={"4XX": {"model": ErrorBody}, "5XX": {"model": ErrorBody}},
    )
    metrics = RequestMetrics()
    app.state.metrics = metrics
    install_error_handlers(app)
    for router in (_operations(title, version, readiness, metrics), *routers):
        app.include_router(router)
    app.add_middleware(Gate, auth=auth, metrics=metrics, max_body_bytes=max_body_bytes)
    if on_startup is not None:
        on_startup()
    return app


def _closing(
    on_shutdown: Callable[[], None] | None,
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        if on_shutdown is not None:
            on_shutdown()

    return lifespan


def _operations(
    title: str, version: str, readiness: Readiness, metrics: RequestMetrics
) -> APIRouter:
    router = APIRouter(tags=["operations"])

    @router.get("/health", summary="The process answers")
    async def health() -> Response:
        return json_reply({"status": "ok", "service": title, "version": version})

    @router.get("/ready", summary="The service can do its work; 503 with reasons if not")
    async def ready() -> Response:
        return _readiness_reply(readiness)

    @router.get("/metrics", summary="Metrics in the text format of Prometheus")
    async def exposition() -> Response:
        return Response(metrics.exposition(), media_type=CONTENT_TYPE)

    return router


def _readiness_reply(readiness: Readiness) -> Response:
    try:
        facts = readiness()
    except Exception as error:
        _log.exception("the readiness check failed")
        facts = {"reasons": [f"the readiness check failed: {error}"]}
    reasons = facts.get("reasons") or []
    if not reasons:
        return json_reply({"ready": True, **facts})
    return json_reply({"code": "not_ready", "message": "; ".join(reasons), **facts}, 503)
