"""Time, metrics and trace context."""

from __future__ import annotations

import re
from datetime import UTC

from shared.runtime.clock import SystemClock
from shared.runtime.metrics import Metrics
from shared.runtime.trace import Tracing, current_traceparent, trace_id

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_the_wall_clock_keeps_what_the_store_keeps() -> None:
    moments = [SystemClock().now() for _ in range(50)]
    assert all(moment.tzinfo is UTC and moment.microsecond % 1000 == 0 for moment in moments)


def test_the_monotonic_clock_never_goes_back() -> None:
    clock = SystemClock()
    readings = [clock.monotonic() for _ in range(50)]
    assert readings == sorted(readings)


def test_each_process_has_a_registry_of_its_own() -> None:
    first, second = Metrics(), Metrics()
    first.loops.labels("sweep").inc()
    assert b'trainyard_loop_failures_total{loop="sweep"} 1.0' in first.exposition()
    assert b'loop="sweep"' not in second.exposition()
    assert b"process_resident_memory_bytes" in first.exposition()


def test_outside_of_any_span_there_is_no_trace() -> None:
    assert current_traceparent() is None
    assert trace_id() is None


def test_a_span_goes_on_with_the_trace_that_it_is_given() -> None:
    tracing = Tracing("scheduler")
    with tracing.span("POST /api/jobs", {"traceparent": PARENT}):
        assert trace_id() == "4bf92f3577b34da6a3ce929d0e0e4736"
        given = current_traceparent()
        assert given is not None
        assert re.fullmatch(r"00-4bf92f3577b34da6a3ce929d0e0e4736-[0-9a-f]{16}-01", given)
        assert given != PARENT
        with tracing.span("message"):
            assert trace_id() == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert current_traceparent() is None


def test_a_span_that_is_given_nothing_readable_begins_a_trace() -> None:
    for carrier in (None, {}, {"traceparent": "nonsense"}):
        with Tracing("scheduler").span("sweep", carrier):
            assert re.fullmatch(r"[0-9a-f]{32}", trace_id() or "")


def test_a_span_lets_failures_through() -> None:
    try:
        with Tracing("scheduler").span("sweep"):
            raise ZeroDivisionError
    except ZeroDivisionError:
        assert trace_id() is None
    else:
        raise AssertionError("the failure was swallowed")
