"""Routes of sweep_worker."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import islice
from pathlib import Path as FilePath
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import FileResponse, Response, StreamingResponse

from mei.ledger.jobs import FINISHED, RUNNING
from mei.web.bodies import json_reply, parse_body, raw_body
from services.sweep_worker.app.bodies import SweepBody, SweepList, SweepView
from services.sweep_worker.app.service import SweepService

_JSON_LINES = "application/x-ndjson"
_Id = Annotated[str, Path(pattern=r"^[0-9a-f]{1,64}$", description="as POST /sweeps gave it")]
_Top = Annotated[int | None, Query(ge=1, lt=2**53, description="the best so many; default: all")]


def routers(service: SweepService) -> list[APIRouter]:
    """All routes over `service`."""
    router = APIRouter(tags=["sweeps"])

    @router.post(
        "/sweeps",
        summary="Ask for a sweep; the same body asks for the same one",
        description="200 when it is finished already. A failed or cancelled one goes on where it was.",
        status_code=202,
        responses={202: {"model": SweepView}, 200: {"model": SweepView}},
        openapi_extra=raw_body(SweepBody),
    )
    async def submit(request: Request) -> Response:
        asked = parse_body(SweepBody, await request.body())
        view = await asyncio.to_thread(service.submit, asked)
        reply = json_reply(view.model_dump(), 200 if view.state == FINISHED else 202)
        reply.headers["Location"] = f"/sweeps/{view.id}"
        return reply

    @router.get("/sweeps", summary="Every sweep, the newest first", response_model=SweepList)
    async def listed() -> Response:
        return json_reply(service.all().model_dump())

    @router.get("/sweeps/{id}", summary="How far a sweep is", response_model=SweepView)
    async def one(id: _Id) -> Response:
        return json_reply(service.one(id).model_dump())

    @router.get(
        "/sweeps/{id}/results",
        summary="The rows of a finished sweep as JSON Lines, best first; 409 before",
        response_class=FileResponse,
        responses={200: {"content": {_JSON_LINES: {}}}},
    )
    async def results(id: _Id, top: _Top = None) -> Response:
        path = service.results(id)
        if top is None:
            return FileResponse(path, media_type=_JSON_LINES)
        return StreamingResponse(_first_lines(path, top), media_type=_JSON_LINES)

    @router.delete(
        "/sweeps/{id}",
        summary="Cancel a sweep; posted again it goes on where it was",
        description="202 while its worker runs the chunk in work to its end, else 200. 409 when it ended otherwise.",
        responses={200: {"model": SweepView}, 202: {"model": SweepView}},
    )
    async def cancel(id: _Id) -> Response:
        view = await asyncio.to_thread(service.cancel, id)
        return json_reply(view.model_dump(), 202 if view.state == RUNNING else 200)

    return [router]


def _first_lines(path: FilePath, n: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from islice(file, n)
