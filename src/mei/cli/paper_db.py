"""Which trading database a program means when it speaks of the paper trader's."""

from __future__ import annotations

import os
from typing import NamedTuple

PAPER_DB_VARIABLE = "AI_QUANT_PAPER_DB_PATH"


class PaperDb(NamedTuple):
    """A trading database. is_named: somebody said so; otherwise it is the usual name, and may be absent."""

    path: str
    is_named: bool


def paper_db(given: str | None) -> PaperDb:
    """The flag, else AI_QUANT_PAPER_DB_PATH, which the trader goes by, too, else trading_engine.db in this folder."""
    from mei.data.trading_db import PAPER_DB

    if given is not None:
        return PaperDb(given, True)
    path = os.environ.get(PAPER_DB_VARIABLE)
    return PaperDb(path, True) if path else PaperDb(PAPER_DB, False)
