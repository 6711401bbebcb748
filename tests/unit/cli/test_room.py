"""`trainyard queue`, `admin announce` and `admin announcements`: the whole room, and what everybody is told."""

from __future__ import annotations

import io
import json
from datetime import timedelta

from msgspec.structs import replace
from rich.console import Console

from services.cli.show_room import room_view
from shared.contract.api.room import RoomAnswer, RoomRunning, RoomWaiting
from shared.contract.jobs import JobState
from shared.contract.views import Announcement
from tests.support.answers import NOW
from tests.unit.cli.conftest import Run, in_json
from tests.unit.cli.operated import OperatedPlatform

OURS = "5f0c2a7be1d14c55a9f0d6b1c2e3f4a5"
LATER = NOW + timedelta(minutes=40)
FULL = RoomAnswer(
    slots=2,
    busy=2,
    running=[
        RoomRunning(state=JobState.RUNNING, steps_completed=100, steps_requested=600, end_from=NOW, end_to=LATER),
        RoomRunning(
            state=JobState.STOPPING, steps_completed=20, steps_requested=40, job_id=OURS, description="Our balls"
        ),
    ],
    waiting=[RoomWaiting(position=1, priority=3, queued_at=NOW, start_from=NOW, start_to=LATER, end_from=LATER)],
    start_from=LATER,
    start_to=LATER + timedelta(minutes=20),
)


def test_the_queue_of_the_whole_room(operated: OperatedPlatform, run: Run) -> None:
    empty = run("queue").stdout
    assert empty.strip() == "No trainer takes jobs just now, nobody waits."
    operated.room = FULL
    shown = run("queue").stdout
    assert "2 of 2 slots are busy, 1 job waits. A job submitted now would start" in shown
    assert "100/600" in shown
    assert f"{OURS[:8]}  Our balls     STOPPING" in shown
    assert shown.count("another team") == 2
    assert in_json(run, "queue")["waiting"][0]["priority"] == 3


def test_what_a_new_job_could_expect() -> None:
    def told(**fields: object) -> str:
        console = Console(width=120, file=io.StringIO())
        with console.capture() as captured:
            console.print(room_view(replace(FULL, **fields), NOW, 120))
        return captured.get()

    assert "would start at once" in told(start_to=NOW + timedelta(seconds=30))
    assert "would start" not in told(start_from=None)
    assert "1 of 1 slot is busy, nobody waits." in told(slots=1, busy=1, waiting=[])


def test_announce(operated: OperatedPlatform, operate: Run) -> None:
    plain = operate("announce", "Two more trainers are here.")
    assert plain.stdout.startswith("Announced until it is removed, as ")
    asked = operated.asked[-1]
    assert json.loads(asked.body) == {"text": "Two more trainers are here.", "kind": "info", "until": None}
    assert asked.headers["Idempotency-Key"]
    assert "Announced until " in operate("announce", "The lab closes", "--warning", "--until", "2h").stdout
    sent = json.loads(operated.asked[-1].body)
    assert (sent["kind"], sent["until"] is not None) == ("warning", True)
    refused = operate("announce", "Late", "--until", "2020-01-01")
    assert refused.exit_code == 2
    assert "is over already" in refused.stderr


def test_announcements(operated: OperatedPlatform, operate: Run) -> None:
    assert "Nothing is announced." in operate("announcements").stdout
    operated.announced = [
        Announcement(id="1" * 32, text="The lab closes", kind="warning", at=NOW, by="ops", until=LATER),
        Announcement(id="2" * 32, text="Snow", kind="info", at=NOW, by="ops"),
    ]
    shown = operate("announcements").stdout
    assert "The lab closes" in shown
    assert "Snow" in shown
    assert [one["text"] for one in in_json(operate, "announcements")["announcements"]] == ["The lab closes", "Snow"]
    assert operate("announcements", "--remove", "22").stdout == "Removed: Snow\n"
    assert operated.asked[-1].path == f"/api/admin/announcements/{'2' * 32}"
    assert operated.asked[-1].method == "DELETE"
    unknown = operate("announcements", "--remove", "9")
    assert (unknown.exit_code, "announcement" in unknown.stderr) == (1, True)
