"""Ports for servers that tests start."""

from __future__ import annotations

import random
import socket
from pathlib import Path

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
#: Where neither well-known services nor, as a rule, the system's own choices are.
_LOWEST, _HIGHEST = 15_000, 32_767
#: Given already: a server that was to have one may not be up yet.
_given: set[int] = set()
#: Not that of the tests, which some of them seed.
_random = random.SystemRandom()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, and that the system gives to nobody who asks for any port.

    A port of the system's choice may be a client's before the server that was to have it is up, and while it is down.
    """
    highest = _HIGHEST
    if _RANGE.exists():
        highest = min(highest, int(_RANGE.read_text().split()[0]) - 1)
    for _ in range(100 if highest > _LOWEST else 0):
        port = _random.randint(_LOWEST, highest)
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            _given.add(port)
            return port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
