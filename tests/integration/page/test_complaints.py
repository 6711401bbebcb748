"""What users of the tool before this one suffered, complaint by complaint, as they would see it here: on the page."""

from __future__ import annotations

import io
import json
import re
import uuid
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, Route, ViewportSize, expect

from shared.contract.jobs import JobState
from tests.integration.page.conftest import SOON, expect_usable
from tests.support.browser import SHIFTS, found_by_axe, open_page
from tests.support.room import Gateway, Room
from tests.support.voc import annotation, frames, write_zip

_AT_ONCE = 5_000  # from the fact on the bus to what is seen; usually some tenths, but other tests run beside it
_TEAM_MINUTES = 60


@pytest.fixture(scope="module", autouse=True)
def unanswered(room: Room) -> str:
    """A job whose trainer has been told to stop and says nothing. It comes first, so that its lease passes meanwhile."""
    return room.do(room.scenes.stop_requested())


@pytest.fixture(scope="module")
def team(room: Room) -> str:
    """A team of this module's own, with an hour."""
    name = f"proof-{uuid.uuid4().hex[:8]}"
    made = {"teams": [name], "minutes": _TEAM_MINUTES}
    room.do(room.platform.api("POST", "/admin/teams", made, by=room.platform.caller("admin")))
    return name


@pytest.fixture(scope="module")
def door(room: Room, team: str) -> Gateway:
    """Its member's page."""
    return room.door("member", name="Mia", team=team)


def _section(page: Page, name: str) -> None:
    page.get_by_role("navigation").get_by_role("link", name=name).first.click()


def _row(page: Page, job_id: str) -> Locator:
    return page.locator(f"[data-model-id='{job_id}']")


def _expect_state(row: Locator, state: JobState, timeout: float = SOON) -> None:
    expect(row.get_by_test_id("job-state")).to_have_attribute("data-state", state, timeout=timeout)


def _stop(page: Page, job_id: str) -> None:
    """As a user does: select it, press Stop, confirm."""
    _row(page, job_id).get_by_role("checkbox", name=re.compile("^Select ")).check()
    page.get_by_test_id("stop-button").click()
    page.get_by_test_id("confirm-button").click()


def _statement(page: Page, description: str) -> list[tuple[str, str]]:
    """What the Team page's statement says of a model whose minutes are settled: (kind, minutes), oldest first."""
    _section(page, "Team")
    lines = page.get_by_test_id("ledger").locator("tbody tr").filter(has_text=description)
    expect(lines.filter(has_text="Used")).to_have_count(1, timeout=SOON)
    cells = [line.locator("td").all_inner_texts() for line in lines.all()]
    return [(what.split(" ·")[0], minutes) for _, what, minutes, _ in reversed(cells)]


def test_01_after_start_training_the_page_is_in_use_at_once(form: Page) -> None:
    """After Start Training the page stayed grey until it was reloaded."""
    form.get_by_test_id("description").fill("Never grey")
    form.get_by_test_id("start-submit").click()
    row = form.get_by_test_id("model-row").filter(has_text="Never grey")
    expect(row.get_by_test_id("job-state")).to_be_visible(timeout=SOON)
    _section(form, "Start Training")
    expect(form.get_by_test_id("description")).to_be_enabled()


def test_01_also_when_the_request_fails(form: Page) -> None:
    """A failure, too, left it grey."""
    form.route("**/api/jobs", lambda route: route.fulfill(status=500, body="no JSON at all"))
    form.get_by_test_id("description").fill("Fails")
    form.get_by_test_id("start-submit").click()
    expect(form.get_by_test_id("start-error")).to_contain_text("HTTP 500", timeout=SOON)
    assert found_by_axe(form) == []
    expect(form.get_by_test_id("start-submit")).to_be_enabled()
    expect_usable(form)


def test_01_also_when_the_connection_drops_and_pressing_again_starts_no_second_job(form: Page) -> None:
    """The answer is lost on its way, not the request: the job exists when the user presses again."""
    lost: list[str] = []

    def lose(route: Route) -> None:
        if not lost:
            lost.append(route.fetch().text())
            route.abort("connectionreset")
        else:
            route.continue_()

    form.route("**/api/jobs", lose)
    form.get_by_test_id("description").fill("Just one")
    form.get_by_test_id("start-submit").click()
    expect(form.get_by_test_id("start-error")).to_contain_text("can’t be reached", timeout=SOON)
    form.get_by_test_id("start-submit").click()
    row = form.get_by_test_id("model-row").filter(has_text="Just one")
    expect(row).to_have_count(1, timeout=SOON)
    assert row.get_attribute("data-model-id") == json.loads(lost[0])["job"]["id"]


def test_01_also_when_no_answer_comes(form: Page) -> None:
    """Nor does silence; the browser's twenty seconds pass here in two."""
    form.evaluate("const real = AbortSignal.timeout.bind(AbortSignal); AbortSignal.timeout = ms => real(ms / 10)")
    held: list[Route] = []
    form.route("**/api/jobs", lambda route: held.append(route))
    form.get_by_test_id("description").fill("No answer")
    form.get_by_test_id("start-submit").click()
    # Meanwhile all can be changed, and afterwards it can be sent again.
    form.get_by_test_id("max-minutes").fill("7")
    expect(form.get_by_test_id("start-error")).to_contain_text("No answer within 20 seconds", timeout=SOON)
    expect(form.get_by_test_id("start-submit")).to_be_enabled()
    held[0].abort()
    expect_usable(form)


@pytest.mark.parametrize("reason", ["user", "time_limit"])
def test_02_every_step_that_was_made_is_kept(
    page: Page, room: Room, tmp_path: Path, reason: Literal["user", "time_limit"]
) -> None:
    """What came after the last multiple of 100 steps was lost on stop and on time-out; a run of 1413 steps was useless."""
    file = tmp_path / "float32.tflite"
    file.write_bytes(b"the model at step 1413")
    job_id, trainer = room.do(room.scenes.run(f"Ended by {reason}", steps=1400, requested=3000))
    _section(page, "Models")
    row = _row(page, job_id)
    if reason == "user":
        _stop(page, job_id)
        room.do(trainer.told(job_id, 1, "user"))
    room.do(room.scenes.stop(job_id, trainer, 1413, reason, tmp_path))
    _expect_state(row, JobState.STOPPED)
    expect(row.get_by_test_id("steps-completed")).to_have_text("1,413")
    expect(row.locator(".steps")).to_have_attribute("title", "1,413 steps are saved in a checkpoint")
    row.get_by_role("link").first.click()
    card = page.get_by_test_id("minutes-card")
    expect(card).to_contain_text("Time spent on the 1,413 steps that are saved.")
    page.get_by_test_id("model-page").get_by_role("navigation").get_by_role("link", name="Export").click()
    expect(page.get_by_text("Made from the checkpoint at step 1,413.")).to_be_visible()
    with page.expect_download(timeout=SOON) as download:
        page.get_by_test_id("download-file").first.click()
    assert download.value.path().read_bytes() == file.read_bytes()
    expect(page.get_by_test_id("more-button")).to_have_attribute("aria-disabled", "false")


def test_03_a_job_without_steps_is_charged_nothing_and_a_stuck_one_what_is_saved(page: Page, room: Room) -> None:
    """A job that made no step for 20 minutes was charged 20 minutes; stuck and failed runs were charged in full."""
    job_id, trainer = room.do(room.scenes.held("Never made a step"))
    room.do(room.scenes.stall(job_id, trainer))
    room.do(room.scenes.failed("Failed after step 187"))
    reserved, back = ("Reserved", "\u221210:00"), ("Given back", "+10:00")
    assert _statement(page, "Never made a step") == [reserved, back, ("Used", "0:00")]
    # 100 steps were saved, of 2.4 a second.
    assert _statement(page, "Failed after step 187") == [reserved, back, ("Used", "\u22120:41")]
    page.get_by_test_id("ledger").get_by_role("link", name="Never made a step").first.click()
    expect(page.get_by_test_id("minutes-card")).to_contain_text("It has no saved step, so it cost nothing.")


def test_04_what_is_reserved_by_default_leaves_room_for_a_second_job(
    browser: Browser, door: Gateway, room: Room, team: str
) -> None:
    """By default a job reserved all that was left, and the team's second one was blocked."""
    room.do(room.platform.of_team(team).add_dataset("Gym", ("Ball", "Cube")))
    with browser.new_context() as context, open_page(context, f"{door.url}/#/models") as page:
        left = page.get_by_test_id("minutes-left")
        expect(left).to_have_attribute("data-seconds", str(60 * _TEAM_MINUTES), timeout=SOON)
        for name in ("First", "Second"):
            _section(page, "Start Training")
            page.get_by_test_id("dataset-choice").get_by_label("Gym").check()
            expect(page.get_by_test_id("max-minutes")).to_have_value(re.compile(r"^\d+$"), timeout=SOON)
            assert int(page.get_by_test_id("max-minutes").input_value()) <= _TEAM_MINUTES / 2
            page.get_by_test_id("description").fill(name)
            page.get_by_test_id("start-submit").click()
            row = page.get_by_test_id("model-row").filter(has_text=name)
            state = re.compile("^(QUEUED|PREPARING)$")
            expect(row.get_by_test_id("job-state")).to_have_attribute("data-state", state, timeout=SOON)
        expect(left).not_to_have_attribute("data-seconds", "0")


def test_05_try_again_later_names_the_limit_and_the_time_and_reserves_nothing(page: Page, room: Room) -> None:
    """TRY_AGAIN_LATER gave no reason and no time, and came after minutes had been reserved."""
    job = room.do(room.scenes.submitted("Too early", "late"))
    assert job["state"] == "TRY_AGAIN_LATER"
    _section(page, "Models")
    row = _row(page, job["id"])
    explanation = row.get_by_test_id("explanation")
    expect(explanation).to_contain_text("No trainer that takes jobs could hold this one", timeout=SOON)
    expect(explanation).to_contain_text(re.compile(r"Try again in 0:\d\d\."))
    told = explanation.inner_text()
    expect(explanation).not_to_have_text(told, timeout=SOON)
    # Neither the statement nor what is reserved just now knows of it; the sum itself moves with other jobs.
    _section(page, "Team")
    expect(page.get_by_test_id("ledger").locator("tbody tr").first).to_be_visible(timeout=SOON)
    expect(page.get_by_text("Too early")).to_have_count(0)

    _section(page, "Models")
    row.get_by_test_id("start-when-room").check()
    expect(explanation).to_contain_text("It starts by itself as soon as there is room", timeout=SOON)
    expect(row.get_by_test_id("start-when-room")).to_be_checked()
    room.do(room.scenes.trainer("late"))
    _expect_state(row, JobState.PREPARING, 30_000)


def test_06_states_and_times_are_those_of_this_very_second(page: Page, room: Room) -> None:
    """The state was asked for every 1 to 15 minutes: RUNNING for 48 minutes, it said, when 14:33 was the truth."""
    _section(page, "Models")
    job_id, trainer = room.do(room.scenes.held("Watched"))
    row = _row(page, job_id)
    _expect_state(row, JobState.PREPARING, _AT_ONCE)
    page.evaluate(SHIFTS)
    room.do(trainer.started(job_id, 1))
    _expect_state(row, JobState.RUNNING, _AT_ONCE)
    steps, time = row.get_by_test_id("steps-completed"), row.get_by_test_id("training-time")
    for step in (60, 72, 84):
        room.do(room.scenes.progress(trainer, job_id, step))
        expect(steps).to_have_text(str(step), timeout=_AT_ONCE)
    before = time.inner_text()
    expect(time).not_to_have_text(before, timeout=_AT_ONCE)
    room.do(trainer.stopping(job_id, 1, "time_limit", step=96))
    _expect_state(row, JobState.STOPPING, _AT_ONCE)
    room.do(room.scenes.stop(job_id, trainer, 96, "time_limit"))
    _expect_state(row, JobState.STOPPED, _AT_ONCE)
    # 96 steps, 2.4 a second: from now on the time stands still.
    expect(time).to_have_text("0:40", timeout=_AT_ONCE)
    # And all that while nothing jumped under anybody's pointer.
    assert page.evaluate("window.shifts.sum") < 0.001, page.evaluate("window.shifts.moved")


def test_07_a_stop_without_an_answer_ends_and_a_stopped_job_in_the_queue_never_runs(
    page: Page, room: Room, unanswered: str
) -> None:
    """A stop that failed left STOP REQUESTED for ever; elsewhere a job that was cancelled in the queue ran all the same."""
    label = uuid.uuid4().hex[:8]
    trainer = room.do(room.scenes.trainer(label))
    holder, doomed, other = (
        room.do(room.scenes.submitted(name, label))["id"] for name in ("In front", "Stopped in the queue", "Behind")
    )
    room.do(trainer.holds(holder))
    _section(page, "Models")
    _stop(page, doomed)
    _expect_state(_row(page, doomed), JobState.CANCELED)
    room.do(trainer.ended(holder, 1, "failed", 0, 0.0))
    room.do(trainer.holds(other))
    _expect_state(_row(page, other), JobState.PREPARING)
    assert (doomed, 1) not in trainer.held
    _expect_state(_row(page, doomed), JobState.CANCELED)

    _expect_state(_row(page, unanswered), JobState.STOPPED, 30_000)
    _row(page, unanswered).get_by_role("link").first.click()
    expect(page.get_by_test_id("model-page")).to_contain_text("ended by force")
    expect(page.get_by_test_id("steps-completed")).to_have_text("100")


def test_08_a_failure_tells_its_reason_its_remedy_and_its_log_in_one_click(page: Page, room: Room) -> None:
    """The reason of a failure was never shown; to find it took 13 steps in a cloud's console."""
    job_id = room.do(room.scenes.failed("Has a reason"))
    _section(page, "Models")
    row = _row(page, job_id)
    expect(row.get_by_test_id("explanation")).to_contain_text("A training picture has boxes outside", timeout=SOON)
    row.get_by_role("link").first.click()
    card = page.get_by_test_id("failure")
    expect(card).to_contain_text("A training picture has boxes outside of the picture", timeout=SOON)
    expect(card).to_contain_text("Look at the dataset's warnings")
    expect(card).to_contain_text("Its last checkpoint, at step 100, is kept")
    expect(card.locator("pre")).to_contain_text("the loss is not a number", timeout=SOON)
    expect(card.locator("pre")).to_be_visible()


def test_09_the_server_keeps_the_rules_whatever_the_browser_does(page: Page, room: Room) -> None:
    """Rules were kept in the browser alone: steps, times, what may be deleted. Here its session asks without the page."""
    other = room.do(room.scenes.dataset("Other labels", ("Ball", "Cone")))
    parent = room.do(room.scenes.succeeded("Has a child"))
    room.do(room.scenes.more(parent, "The child"))
    dataset = room.do(room.scenes.dataset("Field photos"))
    minutes = room.do(room.platform.api("GET", "/team"))["team"]["balance_seconds"]
    api = page.url.split("#")[0] + "api"
    wanted = {"dataset_ids": [dataset], "description": "By hand", "steps": 600, "max_minutes": 10}

    def refusal(method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, str | None, str]:
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        answer = page.request.fetch(f"{api}{path}", method=method, data=body, headers=headers)
        error = answer.json()["error"]
        return answer.status, error["field"], error["message"]

    for field, value, words in (
        ("steps", 19, "from 20 to 8,000; it is 19"),
        ("steps", 8001, "from 20 to 8,000; it is 8,001"),
        ("max_minutes", 0, "from 1 to 600 minutes; it is 0"),
        ("description", "x" * 31, "1 to 30 characters"),
        ("dataset_ids", [dataset, other], "Cone"),
    ):
        status, named, message = refusal("POST", "/jobs", {**wanted, field: value})
        assert (status, named) == (400, field), message
        assert words in message
    for path in (f"/datasets/{dataset}", f"/jobs/{parent}"):
        status, _, message = refusal("DELETE", path)
        assert status == 409, message
        assert "The child" in message
    _section(page, "Models")
    expect(_row(page, parent)).to_be_visible()
    expect(page.get_by_text("By hand")).to_have_count(0)
    assert room.do(room.platform.api("GET", "/team"))["team"]["balance_seconds"] == minutes


def test_10_a_label_that_is_spelled_in_two_ways_is_found_at_the_import(
    browser: Browser, door: Gateway, tmp_path: Path
) -> None:
    """“Ball” and “ball” are two labels; nobody was told until all had been made."""
    archive = write_zip(tmp_path / "typo.zip", frames(24, ("Ball", "Cube", "ball")))
    with browser.new_context() as context, open_page(context, f"{door.url}/#/datasets") as page:
        report = _imported(page, archive, "Typo")
        expect(report).to_contain_text("“Ball”")
        expect(report).to_contain_text("“ball”")
        report.get_by_role("link", name="Look at it").click()
        warnings = page.get_by_test_id("warnings")
        expect(warnings).to_contain_text(re.compile("“Ball”.*“ball”"))
        warnings.get_by_role("button", name="Show ball", exact=True).first.click()
        expect(page.get_by_test_id("found")).to_have_text("8 pictures", timeout=SOON)


def test_11_frames_that_are_neighbours_in_a_video_stay_in_one_pool(
    browser: Browser, door: Gateway, tmp_path: Path
) -> None:
    """Neighbouring frames landed in both pools, and the metrics flattered. Fifteen moments here, each in four frames."""
    files: dict[str, bytes | str] = {}
    for moment in range(15):
        for frame in range(4):
            name = f"moment{moment:02}_{frame}"
            files[f"{name}.jpg"] = _frame(moment, frame)
            files[f"{name}.xml"] = annotation(f"{name}.jpg", [("Ball", 10 + frame, 8, 40, 30)], (160, 120))
    tall: ViewportSize = {"width": 1280, "height": 4000}  # all pictures are in sight
    with (
        browser.new_context(viewport=tall) as context,
        open_page(context, f"{door.url}/#/datasets") as page,
    ):
        report = _imported(page, write_zip(tmp_path / "video.zip", files), "Video")
        expect(report).to_contain_text("15 groups of look-alike pictures: each stays in one pool")
        report.get_by_role("link", name="Look at it").click()
        moments: dict[str, set[str]] = {}
        pools = page.get_by_role("group", name="Pool")
        for pool, pictures in (("Training", 48), ("Evaluation", 12)):
            pools.get_by_role("button", name=pool).click()
            expect(page.get_by_test_id("found")).to_have_text(f"{pictures} pictures", timeout=SOON)
            expect(page.get_by_test_id("picture").first).to_be_visible()
            shown = page.get_by_test_id("picture").evaluate_all("all => all.map(one => one.title)")
            assert len(shown) == pictures
            moments[pool] = {name.rpartition("_")[0] for name in shown}
        assert (len(moments["Training"]), len(moments["Evaluation"])) == (12, 3)
        assert not moments["Training"] & moments["Evaluation"]


def test_12_the_place_in_the_queue_and_when_it_starts_and_ends_are_told(page: Page, room: Room) -> None:
    """Nobody could see the place in the queue, nor when a job would start or end."""
    label = uuid.uuid4().hex[:8]
    trainer = room.do(room.scenes.trainer(label))
    front, first, second = (
        room.do(room.scenes.submitted(name, label, steps=8000, max_minutes=120))["id"]
        for name in ("Goes first", "Is next", "Is after that")
    )
    room.do(trainer.holds(front))
    _section(page, "Models")
    span = r"(\d\d:\d\d|\d+ \w+, \d\d:\d\d)"  # a time of today, or with its day
    times = rf" · starts (about |by )?{span}( to {span})? · ends (about |by )?{span}( to {span})?"
    told = [_row(page, job_id).get_by_test_id("explanation") for job_id in (first, second)]
    for explanation in told:
        expect(explanation).to_have_text(re.compile(rf"^(Next|Place \d+) in the queue{times}$"), timeout=SOON)
    # Other tests' jobs may wait as well: behind each other these two are all the same.
    places = [explanation.inner_text().split(" ·")[0] for explanation in told]
    number = 1 if places[0].startswith("Next") else int(places[0].split()[1])
    assert places[1] == f"Place {number + 1} in the queue"
    _stop(page, first)
    expect(told[1]).to_contain_text(places[0], timeout=_AT_ONCE)


def _imported(page: Page, archive: Path, name: str) -> Locator:
    """Upload it as a student does; the report."""
    page.get_by_test_id("upload-file").set_input_files(archive)
    page.get_by_test_id("upload-name").fill(name)
    page.get_by_test_id("upload-submit").click()
    report = page.get_by_test_id("import-report")
    expect(report).to_contain_text(f"“{name}” is imported", timeout=60_000)
    return report


def _frame(moment: int, frame: int) -> bytes:
    """A JPEG of a moment; from frame to frame the camera moves by a pixel."""
    cells = np.random.default_rng(moment).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    still = Image.fromarray(cells).resize((160, 120), Image.Resampling.BICUBIC)
    out = io.BytesIO()
    still.transform(still.size, Image.Transform.AFFINE, (1, 0, frame, 0, 1, 0)).save(out, "JPEG")
    return out.getvalue()
