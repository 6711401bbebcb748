"""How it looks: in a terminal of 80 columns nothing wraps that is a table, nothing is wider than the window."""

from __future__ import annotations

import io
from datetime import timedelta

import msgspec
import pytest
from rich.console import Console, RenderableType

from services.cli import figures, show, show_admin, show_details, show_job, show_team
from services.cli.scene import Scene
from services.cli.screens import LiveScreen
from shared.contract.api.admin import AuditEntry, BatchAnswer, TeamOutcome, TeamsAnswer
from shared.contract.api.errors import ErrorBody
from shared.contract.api.jobs import Plan, StartingModels
from shared.contract.api.models import ModelEvent
from shared.contract.api.teams import Pause
from shared.contract.jobs import JobState
from shared.contract.views import AttemptView, QueuePlace, Reason
from tests.support.answers import (
    HISTORY,
    NOW,
    PLAN,
    STARTING_MODELS,
    TEAM,
    dataset_view,
    finished_job,
    held_job,
    job_view,
    place,
    point_at,
    progress_at,
    queue_row,
    team_row,
    trainer_row,
)

LONG = "W" * 30
LATER = NOW + timedelta(minutes=3)


def drawn(renderable: RenderableType, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None, highlight=False)
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    return lines


@pytest.mark.parametrize("width", [80, 120])
def test_tables_have_a_line_per_row(width: int) -> None:
    jobs = [
        job_view(
            f"{n:032x}",
            description=LONG,
            state=state,
            steps_requested=8000,
            steps_completed=7900,
            stepping_seconds_before=36_000.0,
        )
        for n, state in enumerate(JobState)
    ]
    lines = drawn(show.models_table(jobs, NOW, width), width)
    assert len(lines) == 1 + len(jobs)
    assert all(state.value.replace("_", " ") in line for state, line in zip(JobState, lines[1:], strict=True))
    datasets = [dataset_view(f"{n:032x}", name="A very long name of a dataset indeed " * 3) for n in range(3)]
    lines = drawn(show.datasets_table(datasets, width), width)
    assert len(lines) == 4
    assert all(line.count("120") == 1 for line in lines[1:])
    assert "ball" in lines[1]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_live_view_keeps_its_lines(width: int) -> None:
    running = job_view(
        description=LONG,
        state=JobState.RUNNING,
        trainer="trainer-1",
        attempt=1,
        running_since=NOW,
        notices=[Reason(code="n", message="Training starts from random weights.")],
    )
    scene = Scene(job=running, progress=progress_at(150), points={100: point_at(100)})
    lines = drawn(show_job.live_view(scene, LATER, None), width)
    joined = "\n".join(lines)
    assert "150/300   50%" in joined
    assert "2:32 of at most 10:00" in joined
    assert "1.50 steps/s · about 2 min left" in joined
    if width >= 80:
        assert len(lines) == 12  # the last one is empty: the cursor rests there
    waiting = Scene(job=job_view(attempt=1), progress=progress_at(150), place=QueuePlace(job_id="1", position=2))
    joined = "\n".join(drawn(show_job.live_view(waiting, NOW, "No connection"), width))
    assert "2nd in line" in joined
    assert "steps/s" not in joined


@pytest.mark.parametrize("width", [80, 120])
def test_details_and_summary(width: int) -> None:
    attempts = [
        AttemptView(number=1, trainer="t" * 60, assigned_at=NOW, ended_at=NOW, outcome="lost"),
        AttemptView(number=2, trainer="trainer-2", assigned_at=NOW, resumed_from=100),
    ]
    job = finished_job(attempts=attempts, notices=[Reason(code="n", message="Trained from random weights.")])
    scene = Scene(job=job, points={step: point_at(step) for step in (100, 200)})
    events = msgspec.convert(HISTORY, list[ModelEvent])
    joined = "\n".join(drawn(show_details.job_details(scene, events, NOW), width))
    assert all(words in joined for words in ("lost", "under way", "trainer-2", "200", "Given to trainer-1."))
    joined = "\n".join(drawn(show_job.summary(scene, NOW), width))
    assert "float32 200 kB · float16 200 kB" in joined
    drawn(show.plan_view(msgspec.convert(PLAN, Plan), None, NOW), width)
    drawn(show_team.team_view(TEAM, NOW, width), width)
    drawn(show.starting_models_table(msgspec.convert(STARTING_MODELS, StartingModels)), width)


def test_what_is_known_before_metrics_are() -> None:
    job = finished_job()
    assert show_job.checkpoint_line(Scene(job=job)) == "step 300 · mAP 0.410 · best: step 200 (0.430)"
    assert show_job.checkpoint_line(Scene(job=job_view())) == "none yet"
    assert show_job.checkpoint_line(Scene(job=job_view(state=JobState.CANCELED))) == "none"
    saved = Scene(job=finished_job(checkpoint=None), points={100: point_at(100)})
    assert show_job.checkpoint_line(saved) == "step 100 · mAP 0.400 · mAP@.50IOU 0.400"


def test_the_live_screen_leaves_nothing_behind() -> None:
    file = io.StringIO()
    console = Console(file=file, width=80, height=24, force_terminal=True, legacy_windows=False)
    with LiveScreen(console) as screen:
        screen.tick(NOW)
        screen.offline("it broke", 1.0)
        screen.show(None, Scene(job=job_view()), NOW)
        screen.offline("it broke", 1.0)
        screen.tick(NOW)
    written = file.getvalue()
    assert "No connection (it broke)" in written
    assert "\x1b[?25l" in written
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l")


@pytest.mark.parametrize("width", [80, 120])
def test_what_operators_see(width: int) -> None:
    far = NOW + timedelta(days=3)
    queue = [
        queue_row(n, f"{n:032x}", team=LONG, description=LONG, requires={LONG: LONG}, resumed=True, priority=-100)
        for n in range(1, 4)
    ]
    lines = drawn(show_admin.queue_table(queue, NOW, width), width)
    assert len(lines) == 4
    times = [figures.brief_span(row.place.start_from, row.place.start_to, NOW) for row in queue]
    assert all(span in line and "-100" in line for span, line in zip(times, lines[1:], strict=True))
    teams = [team_row(LONG, pause=Pause(by=LONG, at=NOW, until=far, message=LONG)) for _ in range(3)]
    assert len(drawn(show_admin.teams_table(TeamsAnswer(teams=teams), NOW, width), width)) == 4
    entry = AuditEntry(id="a", at=far, by=LONG, act="act", target=LONG, details={"note": LONG}, outcome="begun")
    assert len(drawn(show_admin.audit_table([entry] * 3, NOW, width), width)) == 4
    held = held_job(team=LONG, description=LONG, state=JobState.STOP_REQUESTED)
    row = trainer_row(LONG, device=LONG, labels={LONG: LONG}, jobs=[held, held], status="draining")
    lines = drawn(show_admin.trainers_table([row, row], NOW), width)
    assert len(lines) == 1 + 4 + 1 + 4
    assert "10.2/24.0 GB" in lines[2]
    assert "22222222 40%" in lines[1]
    outcomes = [
        TeamOutcome(team=LONG, balance_seconds=600),
        TeamOutcome(team=LONG, error=ErrorBody(code="no_team", message=f"{LONG} " * 5)),
    ]
    joined = " ".join(drawn(show_admin.batch_view(BatchAnswer(results=outcomes, failed=1), "granted"), width))
    # What went wrong is never cut.
    assert joined.count(LONG) == 2 + 5


@pytest.mark.parametrize("width", [60, 80, 120])
def test_what_teams_see_when_it_is_not_now(width: int) -> None:
    reason = Reason(code="team_limit", message=f"{LONG} has 5 jobs.", remedy="Wait until one ends.")
    refused = msgspec.structs.replace(msgspec.convert(PLAN, Plan), refusal=reason, retry_after_seconds=300)
    joined = " ".join(drawn(show.plan_view(refused, None, NOW, parent=finished_job()), width))
    assert "Wait until one ends." in " ".join(joined.split())
    planned = msgspec.structs.replace(msgspec.convert(PLAN, Plan), place=place(2))
    joined = " ".join(" ".join(drawn(show.plan_view(planned, None, NOW), width)).split())
    assert "2nd in line, starts between" in joined
    assert ", ends between" in joined
    job = job_view(state=JobState.TRY_AGAIN_LATER, reason=reason, retry_after=NOW, when_room=True)
    drawn(show_job.standing(job, NOW), width)
    busy = msgspec.structs.replace(TEAM, pause=Pause(by=LONG, at=NOW, message=LONG), ledger=TEAM.ledger * 9)
    drawn(show_team.team_view(busy, NOW, width), width)
