"""Request bodies parsed from raw bytes and replies written by orjson.

FastAPI's own body handling parses JSON to objects first and validates them again; on a batch of
1,000 bars that is most of the time. A hot route takes `Request` and calls these functions instead.
"""

from __future__ import annotations

from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from starlette.responses import Response

from mei.model.errors import RequestError

Model = TypeVar("Model", bound=BaseModel)

_PROBLEMS_SHOWN = 3


def parse_body(model: type[Model], raw: bytes, *, empty_is_default: bool = False) -> Model:
    """Parse a JSON body; RequestError names wrong fields. `empty_is_default`: no body = `{}`."""
    if not raw.strip() and empty_is_default:
        raw = b"{}"
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        problems = describe_problems(error.errors(include_url=False))
        raise RequestError(f"the body must be a {model.__name__} in JSON: {problems}") from None


def describe_problems(problems: Any) -> str:
    """One line out of pydantic's problems: where, what, what was found (at most three)."""
    lines = []
    for problem in problems[:_PROBLEMS_SHOWN]:
        where = ".".join(str(part) for part in problem["loc"]) or "body"
        found = "" if problem["type"] == "missing" else f" (found {_shortened(problem['input'])})"
        lines.append(f"{where}: {problem['msg']}{found}")
    rest = len(problems) - _PROBLEMS_SHOWN
    return "; ".join(lines) + (f"; and {rest} more" if rest > 0 else "")


def _shortened(value: object) -> str:
    if isinstance(value, str | bytes | bytearray | list | dict) and len(value) > 60:
        return f"{type(value).__name__} of length {len(value)}"
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def json_reply(content: object, status: int = 200) -> Response:
    """A JSON reply of plain objects: dicts, lists, numpy arrays; a pydantic model as its dump."""
    payload = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)
    return Response(payload, status, media_type="application/json")


def raw_body(model: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """`openapi_extra` of a route that parses its body itself, so that OpenAPI documents it."""
    schema = model.model_json_schema()
    inlined = _inlined(schema, schema.pop("$defs", {}))
    content = {"application/json": {"schema": inlined}}
    return {"requestBody": {"required": required, "content": content}}


def _inlined(node: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_inlined(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    reference = node.get("$ref")
    if reference is not None:
        return _inlined(definitions[reference.rsplit("/", 1)[-1]], definitions)
    return {key: _inlined(value, definitions) for key, value in node.items()}
