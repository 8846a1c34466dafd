"""The one shape of every error: `{"code": ..., "message": ...}`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from mei.model.errors import MeiError, RequestError
from mei.web.bodies import describe_problems

_log = logging.getLogger("mei.web")

_CODE_OF_STATUS = {
    400: "request",
    401: "unauthorized",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
}


def error_reply(
    status: int, code: str, message: str, headers: Mapping[str, str] | None = None
) -> Response:
    """An error as a reply; the message is brought into one line."""
    content = orjson.dumps({"code": code, "message": " ".join(message.split())})
    return Response(content, status, headers, media_type="application/json")


def too_large_message(max_bytes: int) -> str:
    """What a caller of a too large body reads."""
    return f"a body may have at most {max_bytes} bytes; send fewer rows a request"


def install_error_handlers(app: FastAPI) -> None:
    """Give MeiError, validation errors, 404/405 and the rest of HTTP's errors their shape."""
    app.add_exception_handler(MeiError, _on_mei_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)


async def _on_mei_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, MeiError)
    if error.http_status >= 500:
        fields = {"path": request.url.path, "code": error.code}
        _log.error("%s", error, extra=fields, exc_info=error)
    return error_reply(error.http_status, error.code, str(error))


async def _on_validation_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return error_reply(422, RequestError.code, describe_problems(error.errors()))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message: Any = error.detail
    if error.status_code == 404 and message == "Not Found":
        message = f"no such path: {request.url.path}; GET /openapi.json lists what there is"
    elif error.status_code == 405:
        message = f"{request.method} is not for {request.url.path}; GET /openapi.json lists what is"
    code = _CODE_OF_STATUS.get(error.status_code, "http")
    return error_reply(error.status_code, code, str(message), error.headers)
