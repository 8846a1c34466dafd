"""Structured logs: one JSON object a line, with the fields given as `extra=` (stream, run_id)."""

from __future__ import annotations

import logging
import sys
from typing import IO, Any

import orjson

#: What every LogRecord has; anything else came in by `extra=`.
#: `color_message` is uvicorn's, its message again with escape codes.
_BUILT_IN = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
    "color_message",
}
_LEADING = ("stream", "run_id")


class JsonLines(logging.Formatter):
    """One line a record: time, level, logger, service, message, stream, run_id, other fields."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its line end; an exception's traceback is a field of it."""
        line: dict[str, Any] = {
            "time_ms": int(record.created * 1000),
            "level": record.levelname.lower(),
            "logger": record.name,
            "service": self._service,
            "message": record.getMessage(),
        }
        extra = {key: value for key, value in vars(record).items() if key not in _BUILT_IN}
        line.update({key: extra.pop(key) for key in _LEADING if key in extra})
        line.update(extra)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def stream_fields(stream: str) -> dict[str, str]:
    """`extra=` of a record about a stream: its name and, if it is that of a run, the run's id."""
    kind, _, rest = stream.partition("/")
    if kind != "backtest" or not rest:
        return {"stream": stream}
    return {"stream": stream, "run_id": rest.partition("/")[0]}


def configure_logs(service: str, level: str = "INFO", stream: IO[str] | None = None) -> None:
    """Send all logs of the process to `stream` (default stderr) as JSON lines, and nowhere else."""
    handler = logging.StreamHandler(stream if stream is not None else sys.stderr)
    handler.setFormatter(JsonLines(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    logging.getLogger("uvicorn.access").setLevel(logging.WARNING)
