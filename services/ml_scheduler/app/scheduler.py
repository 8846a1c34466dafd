"""The thread that asks for a training at each moment of the cron line.

A training is as of its moment, and ml_service answers the same question with the same recorded answer. So the newest
moment is asked for at every start: one that was missed is made up for, one that was not costs nothing. Older ones are
not: the newest training has seen what they would have.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from mei.model.errors import MeiError, ServiceUnavailableError
from services.ml_scheduler.app.cron import Cron

_log = logging.getLogger("ml_scheduler")

#: A clock that is set is noticed after so long.
_LONGEST_WAIT_S = 30.0
#: Between rounds of asking a service that cannot be reached.
_UNREACHABLE_WAIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """What has been asked for. Moments are epoch ms; None = none yet. fault: why the newest moment has no answer."""

    asked_ms: int | None = None
    answer: dict[str, Any] | None = None
    fault: str | None = None
    n_answered: int = 0
    n_refused: int = 0


class Scheduler:
    """Asks `ask(as_of_ms)` at the moments of `cron`, by the clock `now_ms`."""

    def __init__(
        self, cron: Cron, ask: Callable[[int], dict[str, Any]], now_ms: Callable[[], int]
    ) -> None:
        self.cron = cron
        self.schedule = Schedule()
        self._ask = ask
        self._now_ms = now_ms
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ml_scheduler", daemon=True)

    def start(self) -> None:
        """Begin with the newest moment."""
        self._thread.start()

    def close(self) -> None:
        """Ask for nothing more; a training that is under way goes on in ml_service."""
        self._stop.set()

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def next_ms(self) -> int:
        """The next moment, epoch ms."""
        return self.cron.next_ms(self._now_ms())

    def step(self) -> float:
        """Ask for the newest moment unless that is done; seconds to wait until there may be more to do."""
        due_ms = self.cron.latest_ms(self._now_ms())
        if self.schedule.asked_ms is None or due_ms > self.schedule.asked_ms:
            try:
                answer = self._ask(due_ms)
            except ServiceUnavailableError as error:
                _log.warning("no answer", extra={"as_of_ms": due_ms, "error": str(error)})
                self.schedule = replace(self.schedule, fault=str(error))
                return _UNREACHABLE_WAIT_S
            except MeiError as error:
                # Asked again it would say the same; the next moment may find it repaired.
                _log.error("refused", extra={"as_of_ms": due_ms, "error": str(error)})
                n_refused = self.schedule.n_refused + 1
                self.schedule = replace(
                    self.schedule, asked_ms=due_ms, fault=str(error), n_refused=n_refused
                )
            else:
                _log.info("trained", extra={"as_of_ms": due_ms, "answer": answer})
                self.schedule = Schedule(
                    due_ms, answer, None, self.schedule.n_answered + 1, self.schedule.n_refused
                )
        left_s = (self.next_ms() - self._now_ms()) / 1000
        return min(max(left_s, 0.0), _LONGEST_WAIT_S)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._stop.wait(self.step())
        except Exception:
            _log.exception("the scheduler ended by an error")
