"""Routes of param_controller. The batch route parses its raw body itself: it is asked for every bar."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import ValidationError
from starlette.datastructures import QueryParams
from starlette.responses import Response

from mei.model import faults
from mei.model.errors import RequestError
from mei.model.http import (
    Outcome,
    OutcomeResponse,
    ParamsRequest,
    ParamsResponse,
    PresetRegistration,
    Stream,
)
from mei.policy.schemas import refuse_unknown
from mei.web.bodies import describe_problems, json_reply, parse_body, raw_body
from services.param_controller.app.service import ParamService

_NESTED = re.compile(r"(features|policy_state)\[([A-Za-z0-9_]+)\]")
_PLAIN = ("as_of_ms", "stream", "policy", "seed")
_QUERY = (
    "One row. Query: features[name]=x (empty = not defined), as_of_ms (default: now), stream, "
    "policy_state[preset], policy_state[changed_at_ms], policy_state[changes_today], policy, seed."
)


def routers(service: ParamService) -> list[APIRouter]:
    """All routes; `/param/...` is an alias of `/params/...`."""
    aliases = [
        _params_routes(service, prefix, prefix == "/params") for prefix in ("/params", "/param")
    ]
    return [*aliases, _learning_routes(service)]


def _params_routes(service: ParamService, prefix: str, in_schema: bool) -> APIRouter:
    router = APIRouter(prefix=prefix, tags=["params"], include_in_schema=in_schema)
    answer: Any = {200: {"model": ParamsResponse}}

    @router.get("", summary="Strategies, instruments, presets and their bounds")
    async def catalogue() -> Response:
        return json_reply(service.catalogue())

    @router.get(
        "/{strategy}/{instrument}",
        summary="Parameters at one bar",
        description=_QUERY,
        responses=answer,
    )
    async def one(strategy: str, instrument: str, request: Request) -> Response:
        asked = _request_of_query(request.query_params, service.now_ms())
        content = service.params(strategy, instrument, asked)
        faults.hit("params.query.before_reply")
        return json_reply(content)

    @router.post(
        "/{strategy}/{instrument}/batch",
        summary="Parameters at each of many bars",
        openapi_extra=raw_body(ParamsRequest),
        responses=answer,
    )
    async def batch(strategy: str, instrument: str, request: Request) -> Response:
        asked = parse_body(ParamsRequest, await request.body())
        content = service.params(strategy, instrument, asked)
        faults.hit("params.query.before_reply")
        return json_reply(content)

    return router


def _learning_routes(service: ParamService) -> APIRouter:
    router = APIRouter(tags=["learning"])

    @router.post(
        "/preset/register/{strategy}/{instrument}",
        summary="Add a preset within the schema's bounds",
        openapi_extra=raw_body(PresetRegistration),
    )
    async def register(
        strategy: str,
        instrument: str,
        request: Request,
        stream: Stream = "live",
        known_at_ms: Annotated[
            int | None, Query(ge=0, lt=2**62, description="default: now")
        ] = None,
    ) -> Response:
        registration = parse_body(PresetRegistration, await request.body())
        return json_reply(service.register(strategy, instrument, registration, stream, known_at_ms))

    @router.post(
        "/learn/outcome/{strategy}/{instrument}/{preset_id}",
        summary="Tell how a trade ended; idempotent by (stream, trade_id)",
        openapi_extra=raw_body(Outcome),
        responses={200: {"model": OutcomeResponse}},
    )
    async def learn(strategy: str, instrument: str, preset_id: str, request: Request) -> Response:
        outcome = parse_body(Outcome, await request.body())
        return json_reply(service.learn(strategy, instrument, preset_id, outcome).model_dump())

    return router


def _request_of_query(query: QueryParams, now_ms: int) -> ParamsRequest:
    body: dict[str, Any] = {"as_of_ms": [now_ms], "features": {}, "policy_state": {}}
    for name, text in query.multi_items():
        value = None if text in ("", "null") else text
        nested = _NESTED.fullmatch(name)
        if nested is None:
            refuse_unknown(
                [name],
                [*_PLAIN, "features[...]", "policy_state[...]"],
                "no query parameter",
                RequestError,
            )
            if value is not None:
                body[name] = [value] if name == "as_of_ms" else value
        elif nested[1] == "features":
            body["features"][nested[2]] = [value]
        elif value is not None:
            body["policy_state"][nested[2]] = value
    try:
        return ParamsRequest.model_validate(body)
    except ValidationError as error:
        raise RequestError(describe_problems(error.errors(include_url=False))) from None
