"""W3C trace context: taken from a request or a message, given on to what it causes.

OpenTelemetry's SDK makes the ids, which log lines and messages carry from a click to the last fact that it caused. Spans are
exported nowhere: one that wants to see them adds a span processor to the provider here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import context, propagate, trace
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider

_HEADER = "traceparent"


class Tracing:
    """One a process."""

    def __init__(self, service: str) -> None:
        self._tracer = TracerProvider(resource=Resource.create({SERVICE_NAME: service})).get_tracer(service)

    @contextmanager
    def span(self, name: str, carrier: Mapping[str, str] | None = None) -> Iterator[None]:
        """A span for the work inside, child of the one that `carrier` (headers) names, else of the one under way, if any."""
        parent = propagate.extract(dict(carrier or {}), context=context.get_current())
        with self._tracer.start_as_current_span(name, context=parent):
            yield


def current_traceparent() -> str | None:
    """The `traceparent` header of the span under way, None outside of any."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier, context=context.get_current())
    return carrier.get(_HEADER)


def trace_id() -> str | None:
    """The id of the trace under way, as 32 hexadecimal digits."""
    identifier = trace.get_current_span().get_span_context().trace_id
    return f"{identifier:032x}" if identifier else None
