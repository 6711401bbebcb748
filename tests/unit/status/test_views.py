"""How one fact changes the views: every rule of `fold`, by table."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from services.status.views import Folded, Record, Verdict, fold, key, newest_first
from shared.contract.errors import Reject
from shared.contract.events import TrainingAccepted
from shared.contract.jobs import JobState
from shared.contract.stream import ModelPut
from shared.contract.wire import Envelope
from tests.support.status_facts import (
    EVALUATION,
    changed,
    checkpointed,
    dataset_created,
    dataset_deleted,
    deleted,
    envelope,
    job,
    minutes,
    progressed,
    queue_moved,
)

APPLIED, REPEATED, TIED, OLD = Verdict.APPLIED, Verdict.REPEATED, Verdict.TIED, Verdict.OLD


def after(*facts: Envelope) -> tuple[dict[str, Record], Folded]:
    known: dict[str, Record] = {}
    for fact in facts:
        outcome = fold(known, fact)
        if outcome.verdict is APPLIED:
            known[outcome.record.key] = outcome.record
    return known, outcome


V1, V2 = changed(job(version=1)), changed(job(version=2, state=JobState.PREPARING, attempt=2))
GONE = deleted()
DATASET = dataset_created()
NO_DATASET = dataset_deleted()
QUEUE = queue_moved("m1", seconds=5)
MINUTES = minutes(version=5)
POINT = checkpointed(attempt=1)


@pytest.mark.parametrize(
    ("facts", "verdict"),
    [
        ([V1], APPLIED),
        ([V1, V2], APPLIED),
        ([V1, V1], REPEATED),
        ([V2, V1], OLD),
        ([V1, changed(job(version=1, state=JobState.RUNNING))], OLD),
        ([V1, GONE], APPLIED),
        ([GONE], APPLIED),
        ([GONE, GONE], REPEATED),
        ([GONE, V2], OLD),
        ([V2, GONE, deleted()], OLD),
        ([DATASET], APPLIED),
        ([DATASET, dataset_created()], OLD),
        ([DATASET, NO_DATASET], APPLIED),
        ([NO_DATASET, DATASET], OLD),
        ([NO_DATASET, NO_DATASET], REPEATED),
        ([QUEUE, queue_moved(seconds=6)], APPLIED),
        ([QUEUE, queue_moved(seconds=5)], TIED),
        ([QUEUE, queue_moved(seconds=4)], OLD),
        ([QUEUE, QUEUE], REPEATED),
        ([MINUTES, minutes(version=6)], APPLIED),
        ([MINUTES, minutes(version=5, balance=1)], TIED),
        ([MINUTES, minutes(version=4)], OLD),
        ([POINT], APPLIED),
        ([POINT, POINT], REPEATED),
        ([POINT, checkpointed(attempt=1)], OLD),  # told again under another id: nothing new
        ([POINT, checkpointed(attempt=1, best=True)], TIED),
        ([POINT, checkpointed(attempt=2)], APPLIED),
        ([checkpointed(attempt=2), POINT], OLD),
        ([POINT, checkpointed(step=200, attempt=1)], APPLIED),
        ([V1, POINT], APPLIED),
        ([V2, POINT], OLD),  # the model is in its second attempt
        ([V2, checkpointed(attempt=2)], APPLIED),
        ([GONE, POINT], OLD),
    ],
)
def test_verdicts(facts: Sequence[Envelope], verdict: Verdict) -> None:
    assert after(*facts)[1].verdict is verdict


def test_what_is_kept_is_what_was_told() -> None:
    known, outcome = after(V1, V2)
    record = known[key("model", "demo", "m1")]
    assert (record.state, record.attempt, record.order, record.event) == (JobState.PREPARING, 2, 2, V2.id)
    assert outcome.event == ModelPut(seq=0, model=V2.body.job)  # type: ignore[union-attr]
    assert outcome.history is not None


def test_names_with_dots_and_slashes_survive() -> None:
    known, _ = after(POINT)
    (record,) = known.values()
    assert record.data is not None
    assert all(name.encode() in record.data for name in EVALUATION)


def test_a_late_change_belongs_to_the_story_unless_the_model_is_deleted() -> None:
    assert after(V2, V1)[1].history is not None
    assert after(GONE, V1)[1].history is None


@pytest.mark.parametrize(
    ("fact", "words"),
    [
        (changed(job(), team="other"), "team 'other'"),
        (envelope(DATASET.body, team="other"), "team 'other'"),
        (envelope(MINUTES.body, team="other"), "team 'other'"),
        (envelope(POINT.body, job_id="m1"), "no job and attempt"),
        (envelope(POINT.body, attempt=1), "no job and attempt"),
        (envelope(TrainingAccepted(trainer="t"), job_id="m1"), "TrainingAccepted"),
        (progressed(), "TrainingProgressed"),
    ],
)
def test_a_fact_that_can_never_be_folded(fact: Envelope, words: str) -> None:
    with pytest.raises(Reject, match=words):
        fold({}, fact)


def test_newest_first_leaves_out_the_deleted() -> None:
    early = changed(job("early"))
    late = changed(job("late", created_at=early.time.replace(year=2027)))
    known, _ = after(early, late, changed(job("gone")), deleted("gone"), DATASET)
    assert [data.partition(b",")[0] for data in newest_first(known.values(), "model")] == [
        b'{"id":"late"',
        b'{"id":"early"',
    ]
