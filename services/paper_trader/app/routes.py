"""Routes of paper_trader."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from mei.web.bodies import json_reply, parse_body, raw_body
from services.paper_trader.app.bodies import PauseBody, StateView, TradeList
from services.paper_trader.app.service import PaperService

_MOST_TRADES = 10_000
_Since = Annotated[
    str, Query(max_length=64, description="id of a trade, or an ISO time; default: all")
]
_Limit = Annotated[int, Query(ge=1, le=_MOST_TRADES)]


def routers(service: PaperService) -> list[APIRouter]:
    """All routes over `service`."""
    router = APIRouter(tags=["paper"])

    @router.get("/state", summary="How the trader stands", response_model=StateView)
    async def state() -> Response:
        return json_reply((await asyncio.to_thread(service.state)).model_dump())

    @router.get("/trades", summary="Trades, oldest first", response_model=TradeList)
    async def trades(since: _Since = "0", limit: _Limit = 1000) -> Response:
        found = await asyncio.to_thread(service.trades, since, limit)
        return json_reply(found.model_dump())

    @router.post(
        "/pause",
        summary="Open and add nothing, or take no step, until /resume",
        response_model=StateView,
        openapi_extra=raw_body(PauseBody, required=False),
    )
    async def pause(request: Request) -> Response:
        asked = parse_body(PauseBody, await request.body(), empty_is_default=True)
        return json_reply((await asyncio.to_thread(service.pause, asked.mode)).model_dump())

    @router.post(
        "/resume",
        summary="End a pause over HTTP and a kill switch; losses count anew",
        description="A pause file goes on to hold: delete it.",
        response_model=StateView,
    )
    async def resume() -> Response:
        return json_reply((await asyncio.to_thread(service.resume)).model_dump())

    return [router]
