"""Counts and durations of requests by route, in the app's own registry (apps share a process)."""

from __future__ import annotations

from functools import lru_cache

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0, 30.0)


class RequestMetrics:
    """`mei_requests_total{method,route,status}` and `mei_request_seconds{method,route}`."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._count = Counter(
            "mei_requests",
            "Requests answered",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "mei_request_seconds",
            "Time to answer",
            ["method", "route"],
            buckets=_BUCKETS_S,
            registry=self.registry,
        )
        # Looking a child up by labels costs more than counting; there are few routes.
        self._child_count = lru_cache(512)(self._count.labels)
        self._child_seconds = lru_cache(512)(self._seconds.labels)

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        self._child_count(method, route, str(status)).inc()
        self._child_seconds(method, route).observe(seconds)

    def exposition(self) -> bytes:
        """All metrics in the text format of Prometheus."""
        return generate_latest(self.registry)
