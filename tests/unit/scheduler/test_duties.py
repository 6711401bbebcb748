"""The background duties where something goes otherwise than planned: others act in between, the broker is away."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

import pytest
from msgspec.structs import replace

from services.scheduler.admission import lacking
from services.scheduler.board import needs_of
from services.scheduler.cleaner import Auditor, Cleaner
from services.scheduler.domain import Job
from services.scheduler.nudge import Nudger
from services.scheduler.planner import Usher
from services.scheduler.refit import Refitter
from services.scheduler.settings import SchedulerSettings
from services.scheduler.snapshot import Snapshot
from services.scheduler.submit import Submissions
from shared.contract.errors import IllegalTransition, NotFound, Retry, Stale, TrainyardError, UserError
from shared.contract.jobs import JobState
from shared.contract.wire import Envelope
from shared.runtime.settings import load
from tests.unit.scheduler.rig import BoardOf, Clock, Jobs, assigned, waiting_job
from tests.unit.scheduler.samples import NOW, about, in_state, queued


class Bus:
    """Takes what it is given once the broker is there."""

    def __init__(self) -> None:
        self.away = True
        self.sent: list[Envelope] = []

    async def publish(self, envelope: Envelope) -> None:
        if self.away:
            raise Retry("the broker is away")
        self.sent.append(envelope)


async def test_a_nudge_that_finds_no_broker_is_left_to_the_planners_own_look() -> None:
    bus, woken = Bus(), []
    nudger = Nudger(cast(Any, bus), about)
    nudger.wake = lambda: woken.append(1)
    nudger.nudge(queued("a"))
    await nudger.round()
    assert not bus.sent
    bus.away = False
    for job in (queued("b"), queued("b"), queued("c")):
        nudger.nudge(job)
    await nudger.round()
    assert [envelope.job_id for envelope in bus.sent] == ["c", "b"]  # each once
    await nudger.round()
    assert len(bus.sent) == 2
    assert len(woken) == 4


@pytest.mark.parametrize("why", [Stale("it was admitted"), UserError("not_found", "The dataset is gone.")])
async def test_a_job_that_cannot_be_tried_does_not_keep_the_next_from_it(why: Exception) -> None:
    tried = []

    class Tries:
        async def when_room(self, job: Job) -> Job | None:
            tried.append(job.view.id)
            if job.view.id == "a":
                raise why
            return None

    jobs = Jobs(queued("a"), queued("b"))
    term: list[int | None] = [None]
    usher = Usher(jobs=cast(Any, jobs), submissions=cast(Any, Tries()), term=lambda: term[0])
    await usher.round()
    assert not tried
    term[0] = 1
    await usher.round()
    assert tried == ["a", "b"]


async def test_a_waiting_job_that_moved_on_keeps_no_other_from_being_looked_at() -> None:
    why = lacking(needs_of(queued().view.starting_model, "cpu", 8))
    waiting = [queued("a"), queued("b")]
    jobs, changed, term = Jobs(*waiting), list[str](), [None, 1]
    jobs.refusals["a"] = Stale("it was assigned")
    board = BoardOf(*waiting)
    board.listening_since = NOW - timedelta(hours=1)
    board.seen = Snapshot(
        waiting=[waiting_job(name) for name in ("gone", "a", "b")],
        active=[],
        trainers=[],
        listening_since=NOW,
        lease=timedelta(seconds=25),
    )

    class NoCapacity:
        def has_capacity(self, _: object) -> bool:
            return False

        def closed(self, _: object) -> None:
            return None

    refitter = Refitter(
        settings=SchedulerSettings(**cast(Any, {"trainyard_secret": "x" * 40})),
        jobs=cast(Any, jobs),
        board=cast(Any, board),
        figures=cast(Any, NoCapacity()),
        reservations=cast(Any, None),
        clock=Clock(),
        term=lambda: term[0],
        changed=lambda job: changed.append(job.view.id),
    )
    await refitter.round()
    assert not changed
    term.pop(0)
    await refitter.round()
    assert changed == ["b"]
    assert (jobs.kept["a"].view.reason, jobs.kept["b"].view.reason) == (None, why)


async def test_only_a_job_that_contradicts_itself_in_the_store_too_is_taken_out() -> None:
    broken = replace(assigned("a"), assigned_at=None)
    board, sound = BoardOf(broken, replace(assigned("b"), ledger=[])), assigned("a")
    jobs = Jobs(sound, replace(assigned("b"), ledger=[]))
    changed: list[Job] = []
    auditor = Auditor(jobs=cast(Any, jobs), board=cast(Any, board), term=lambda: 3, changed=changed.append)
    await auditor.round()
    assert jobs.kept["a"].view.state is JobState.RUNNING
    assert [(job.view.id, job.view.state, job.term) for job in changed] == [("b", JobState.STATE_UNSPECIFIED, 3)]
    assert changed[0].view.reason is not None
    assert "ledger holds 0 s, but 600 s are reserved" in changed[0].view.reason.message
    Auditor(jobs=cast(Any, jobs), board=cast(Any, board), term=lambda: None, changed=changed.append)


@pytest.mark.parametrize("why", [Stale("it holds nothing"), NotFound("job", "parent")])
async def test_a_parent_that_is_free_or_gone_keeps_nobody_from_being_deleted(why: TrainyardError) -> None:
    jobs = Jobs()
    jobs.refusals["parent"] = why
    nothing = cast(Any, None)
    cleaner = Cleaner(
        jobs=cast(Any, jobs),
        trainers=nothing,
        teams=nothing,
        datasets=nothing,
        artifacts=nothing,
        clock=Clock(),
        term=lambda: 1,
    )
    child = queued("child")
    await cleaner.release_parent(replace(child, view=replace(child.view, parent_id="parent")))
    await cleaner.release_parent(child)


@pytest.mark.parametrize("state", [JobState.PREPARING, JobState.CANCELED])
async def test_a_job_that_another_scheduler_admitted_is_what_was_asked_for(state: JobState) -> None:
    found = in_state(queued("a"), state)
    jobs, arrived = Jobs(found), []
    jobs.refusals["a"] = Stale("admit does not apply")

    class Teams:
        async def withdraw(self, team: str, job_id: str) -> None:
            arrived.append((team, job_id))

    nothing = cast(Any, None)
    submissions = Submissions(
        settings=nothing,
        jobs=cast(Any, jobs),
        teams=cast(Any, Teams()),
        board=nothing,
        figures=nothing,
        reservations=nothing,
        datasets=nothing,
        clock=Clock(),
        changed=lambda _: None,
    )
    if state is JobState.PREPARING:
        assert await submissions._admit(found, by="Ada", approved_by=None) is found
    else:
        with pytest.raises(IllegalTransition):
            await submissions._admit(found, by="Ada", approved_by=None)
    assert arrived == [("demo", "a")]


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"LAB_HOURS": "whenever"}, "LAB_HOURS 'whenever' in LAB_TIMEZONE 'UTC'"),
        ({"LAB_HOURS": "Mo-Fr 08:00-18:00", "LAB_TIMEZONE": "Mars/Olympus"}, "Mars/Olympus"),
        ({"MIN_STEPS": "300", "MAX_STEPS": "200"}, "MIN_STEPS (300) must not be above MAX_STEPS (200)"),
    ],
)
def test_bad_settings_name_the_variable_and_the_value(
    environment: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"TRAINYARD_SECRET": "x" * 40, **environment}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit):
        load(SchedulerSettings)
    assert words in capsys.readouterr().err
