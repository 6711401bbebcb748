"""Prometheus metrics that every service has; a service adds its own to the same registry."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.exposition import generate_latest


class Metrics:
    """One registry a process, passed to whoever counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.messages = Counter(
            "trainyard_messages_total",
            "Messages handled, by queue, type and outcome (acked, stale, ignored, retried, dead).",
            ("queue", "type", "outcome"),
            registry=self.registry,
        )
        self.handling = Histogram(
            "trainyard_message_seconds", "Seconds to handle a message.", ("type",), registry=self.registry
        )
        self.published = Counter(
            "trainyard_published_total",
            "Messages published, by type and outcome (confirmed, unroutable, failed).",
            ("type", "outcome"),
            registry=self.registry,
        )
        self.outbox = Gauge(
            "trainyard_outbox_documents",
            "Documents seen with unpublished events, by collection.",
            ("collection",),
            registry=self.registry,
        )
        self.requests = Histogram(
            "trainyard_http_seconds",
            "Seconds to answer an HTTP request, by method, route and status.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.loops = Counter(
            "trainyard_loop_failures_total",
            "Rounds of a background duty that failed.",
            ("loop",),
            registry=self.registry,
        )

    def exposition(self) -> bytes:
        """The text format of Prometheus."""
        return generate_latest(self.registry)
