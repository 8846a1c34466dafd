"""One process at a time in a folder. The system lets go of it when the process ends, however it does."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mei.model.errors import ConflictError
from mei.report.atomic import output_error


@contextmanager
def alone_in(folder: Path, in_use: str) -> Iterator[None]:
    """Hold a folder that exists. ConflictError, saying `in_use`, while another process does; OutputError otherwise."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise output_error(folder, error) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConflictError(in_use) from None
        except OSError as error:
            raise output_error(folder, error) from error
        yield
    finally:
        os.close(descriptor)
