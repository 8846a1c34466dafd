"""Asking again: what passes is waited out, with a bound, and what does not is told at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from mei.model.errors import ServiceUnavailableError

T = TypeVar("T")

#: Between two requests the wait doubles up to this, s.
LONGEST_WAIT_S = 60.0
#: An exchange that wants to be left alone for longer ends the download, s.
LONGEST_BAN_S = 600.0


class PassingFault(Exception):
    """A request failed in a way that may pass. retry_after_s: what the server asked for, None if it did not."""

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and how long to ask. attempts: in all; first_wait_s doubles from one to the next."""

    sleep: Callable[[float], None]
    tell: Callable[[str], None]
    attempts: int = 8
    first_wait_s: float = 1.0

    def ask(self, what: str, request: Callable[[], T]) -> T:
        """The answer of `request`; `what` names exchange, symbol and time for people.

        ServiceUnavailableError when it failed `attempts` times, or when the server asks for a longer wait than ten
        minutes. Any other error of `request` goes through.
        """
        wait_s = self.first_wait_s
        for attempt in range(1, self.attempts + 1):
            try:
                return request()
            except PassingFault as fault:
                pause_s = wait_s if fault.retry_after_s is None else fault.retry_after_s
                if pause_s > LONGEST_BAN_S:
                    raise ServiceUnavailableError(
                        f"{what} must be answered, but wants to be asked again only in {pause_s:.0f} s "
                        f"({fault.reason}); what was downloaded is kept: give the same command again then, it goes on"
                    ) from None
                if attempt == self.attempts:
                    raise ServiceUnavailableError(
                        f"{what} must be answered, was not in {attempt} attempts, the last: {fault.reason}; what was "
                        "downloaded is kept: give the same command again, it goes on from there"
                    ) from None
                self.tell(f"{what}: {fault.reason}; asking again in {pause_s:g} s")
                self.sleep(pause_s)
                wait_s = min(2.0 * wait_s, LONGEST_WAIT_S)
        raise AssertionError("attempts must be at least 1")
