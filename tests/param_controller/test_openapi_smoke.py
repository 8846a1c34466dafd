"""Requests generated from the OpenAPI document: none may end in an unexpected error or in another error shape."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings

from tests.param_controller.conftest import Controller, open_controller

pytestmark = pytest.mark.slow

OPERATIONS = [
    ("/params", "get"),
    ("/params/{strategy}/{instrument}", "get"),
    ("/params/{strategy}/{instrument}/batch", "post"),
    ("/preset/register/{strategy}/{instrument}", "post"),
    ("/learn/outcome/{strategy}/{instrument}/{preset_id}", "post"),
    ("/health", "get"),
    ("/ready", "get"),
    ("/metrics", "get"),
]
EXISTING = {"strategy": "momentum_breakout", "instrument": "BTC_USDT", "preset_id": "fast"}


@contextmanager
def _warnings_of_others_shown_only() -> Iterator[None]:
    """schemathesis and what it imports warn about each other's versions."""
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        yield


def test_every_operation_of_the_service_is_listed(controller: Controller) -> None:
    paths = controller.get("/openapi.json")["paths"]
    assert {(path, method) for path, of in paths.items() for method in of} == set(OPERATIONS)


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_generated_requests_get_an_answer_or_an_error_of_the_one_shape(
    tmp_path: Path, path: str, method: str
) -> None:
    with _warnings_of_others_shown_only():
        import schemathesis

        controller = open_controller(tmp_path / "manifest.sqlite")
        operation = schemathesis.openapi.from_dict(controller.get("/openapi.json"))[path][method]

        @settings(
            max_examples=60,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def check(case: Any) -> None:
            existing = {name: EXISTING[name] for name in case.path_parameters or {}}
            for path_parameters in (case.path_parameters, existing):
                case.path_parameters = path_parameters
                _check_reply(asyncio.run(_send(controller, case)))

        check()


async def _send(controller: Controller, case: Any) -> httpx.Response:
    arguments = case.as_transport_kwargs(base_url="http://test")
    transport = httpx.ASGITransport(controller.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport) as client:
        sent = {key: arguments.get(key) for key in ("params", "json", "headers")}
        if "data" in arguments:
            sent["content"] = arguments["data"]
        return await client.request(arguments["method"], arguments["url"], **sent)


def _check_reply(reply: httpx.Response) -> None:
    assert reply.status_code < 500, reply.text
    if reply.status_code >= 400:
        assert set(reply.json()) == {"code", "message"}, reply.text
