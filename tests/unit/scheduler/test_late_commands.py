"""Which commands in a job's outbox come too late to be sent."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from services.scheduler import orders
from services.scheduler.domain import Job
from services.scheduler.store import is_over
from shared.contract.events import JobStop, Message
from shared.contract.wire import Envelope
from shared.runtime.mongo import to_document
from tests.unit.scheduler.samples import NOW, after, queued


def assigned(job: Job, seconds: float) -> Job:
    return orders.assign(job, "gpu-1", after(seconds)).job


def command(body: Message, attempt: int) -> Envelope:
    return Envelope(id="c", time=NOW, source="scheduler", team="demo", job_id="job-1", attempt=attempt, body=body)


FIRST = assigned(queued(), 1)
BACK = orders.lost(FIRST, 1, after(30)).job
SECOND = assigned(BACK, 31)
STOPPED = orders.stop(FIRST, after(2)).job
ENDED = orders.enforce(STOPPED, 1, after(60)).job


@pytest.mark.parametrize(
    ("job", "attempt", "late"),
    [(FIRST, 1, False), (STOPPED, 1, False), (BACK, 1, True), (SECOND, 1, True), (SECOND, 2, False), (ENDED, 1, True)],
)
def test_an_assignment_is_late_once_its_attempt_is_over(job: Job, attempt: int, late: bool) -> None:
    order = orders.assign(queued(), "gpu-1", NOW).command
    assert order is not None
    document = to_document(replace(job, ledger=[]))
    assert is_over(document, command(order, attempt)) is late
    # Whoever holds an attempt that is over is to be told so.
    assert not is_over(document, command(JobStop(reason="release"), attempt))
