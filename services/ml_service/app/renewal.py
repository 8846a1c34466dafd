"""Keeping a claim while a fit takes longer than its lease."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mei.ledger.claims import Claim, renew_claim
from mei.ledger.database import Ledger
from mei.model.errors import FencedOffError, LedgerError

#: How long a claim lasts without a sign of life: a stalled or lost service blocks a series no longer than this.
LEASE_MS = 60_000
RENEW_EVERY_S = LEASE_MS / 4000

_log = logging.getLogger("ml_service")


@contextmanager
def renewing(ledger: Ledger, claim: Claim, clock_ms: Callable[[], int]) -> Iterator[None]:
    """Renew `claim` from a thread of its own until the block ends. A claim that was lost is publishing's to report."""
    is_over = threading.Event()

    def keep() -> None:
        while not is_over.wait(RENEW_EVERY_S):
            try:
                with ledger.unit_of_work() as unit:
                    renew_claim(unit.connection, claim, now_ms=clock_ms(), lease_ms=LEASE_MS)
                    unit.commit("renew")
            except FencedOffError:
                return
            except LedgerError as error:
                _log.warning("claim not renewed: %s", error)

    keeper = threading.Thread(target=keep, name="claim-renewal", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        is_over.set()
        keeper.join()
