"""The Team page and the Operators page, by the people they are for."""

from __future__ import annotations

import csv
import io
import re
import uuid
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from shared.runtime.auth import Role
from tests.integration.page.conftest import SOON
from tests.support.browser import found_by_axe, open_page
from tests.support.room import Gateway, Room

_THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


def _section(page: Page, name: str) -> None:
    page.get_by_role("navigation").get_by_role("link", name=name).first.click()


def _tab(page: Page, name: str) -> Locator:
    """A tab of the page's, not a model of that name on the page that is being left."""
    return page.get_by_role("main").get_by_role("navigation").get_by_role("link", name=name, exact=True)


def _expect_within(part: Locator, width: int) -> None:
    """The part is on a window of that width, without scrolling it or anything in it sideways."""
    expect(part).to_be_visible(timeout=SOON)
    box = part.bounding_box()
    assert box is not None
    assert 0 <= box["x"] <= box["x"] + box["width"] <= width, box


def test_the_statement_tells_where_the_minutes_went(page: Page, room: Room) -> None:
    job_id, trainer = room.do(room.scenes.run("Paid for", steps=600))
    room.do(room.scenes.succeed(job_id, trainer))
    _section(page, "Team")
    ledger = page.get_by_test_id("ledger")
    expect(ledger.locator("tr").filter(has_text="Paid for").filter(has_text="Used")).to_contain_text(
        "\u22124:10", timeout=SOON
    )
    with page.expect_download(timeout=SOON) as download:
        page.get_by_test_id("ledger-csv").click()
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text())))
    used = next(row for row in rows if row["job_id"] == job_id and row["kind"] == "use")
    assert used["seconds"] == "-250"
    # The first line of the page is the last of the file, with the same balance.
    balance = int(rows[-1]["balance_seconds"])
    assert ledger.locator("tbody tr").first.locator("td").last.inner_text() == f"{balance // 60:,}:{balance % 60:02}"


def test_a_mentor_adds_somebody_changes_the_role_and_removes_them(page: Page, room: Room) -> None:
    _section(page, "Team")
    members = page.get_by_test_id("members")
    page.get_by_test_id("member-add").click()
    expect(members).to_contain_text("Give a name.")
    # Another mentor sets the cap meanwhile: with the next answer the field has it, and saving wouldn't undo it.
    other = room.platform.caller("mentor", "Another")
    room.do(room.platform.api("PATCH", "/team", {"member_cap_minutes": 2400}, by=other))
    cap = members.get_by_label("A member’s minutes without approval")
    page.get_by_test_id("member-name").fill("Grace")
    page.get_by_test_id("member-add").click()
    expect(cap).to_have_value("2400", timeout=SOON)
    cap.fill("")
    cap.press("-")
    members.get_by_role("button", name="Save").click()
    expect(members.get_by_role("alert")).to_have_text("Give a number of minutes, or leave it empty.")
    room.do(room.platform.api("PATCH", "/team", {"member_cap_minutes": None}, by=other))
    token = page.get_by_test_id("member-token").locator("pre")
    expect(token).not_to_be_empty(timeout=SOON)
    with page.expect_response(lambda answer: answer.request.method == "PUT" and answer.ok, timeout=SOON):
        members.get_by_label("Role of Grace").select_option("viewer")

    async def role() -> str:
        answer = await room.platform.api("GET", "/team")
        return next((str(one["role"]) for one in answer["members"] if one["name"] == "Grace"), "gone")

    assert room.do(role()) == "viewer"
    members.get_by_role("button", name="Remove Grace").click()
    page.get_by_test_id("confirm-button").click()
    expect(members.get_by_text("Grace", exact=True)).to_have_count(0, timeout=SOON)
    assert room.do(role()) == "gone"


@pytest.mark.parametrize("role", ["member"])
def test_a_member_reads_and_neither_changes_the_list_nor_operates(page: Page) -> None:
    _section(page, "Team")
    members = page.get_by_test_id("members")
    expect(members).to_contain_text("A mentor can change this list", timeout=SOON)
    expect(page.get_by_test_id("member-name")).to_have_count(0)
    expect(page.get_by_role("navigation").get_by_role("link", name="Operators")).to_have_count(0)
    page.goto(f"{page.url.split('#')[0]}#/operators")
    expect(page.get_by_text("This page is for operators.")).to_be_visible()


@pytest.mark.parametrize("role", ["admin"])
class TestOperators:
    """What whoever runs the room does."""

    def test_ends_a_job_in_the_queue_with_a_reason_that_the_team_sees(
        self, page: Page, browser: Browser, doors: dict[Role, Gateway], room: Room
    ) -> None:
        job_id = room.do(room.scenes.queued("In the way"))
        _section(page, "Operators")
        _tab(page, "Queue").click()
        row = page.get_by_test_id("queue-row").filter(has_text="In the way")
        page.set_viewport_size({"width": 390, "height": 844})
        audit = _tab(page, "Audit")
        for part in (row.get_by_role("spinbutton"), row.get_by_test_id("end-job"), audit):
            _expect_within(part, 390)
        page.set_viewport_size({"width": 1280, "height": 860})
        priority, save = row.get_by_label("Priority of In the way"), row.get_by_role("button", name="Save")
        # It follows what somebody else sets, and nothing is no priority.
        somebody = room.platform.caller("admin", "Olga")
        path = f"/admin/jobs/{job_id}/priority"
        room.do(room.platform.api("POST", path, {"priority": 3}, by=somebody))
        expect(priority).to_have_value("3", timeout=SOON)
        expect(save).to_have_attribute("aria-disabled", "true")
        priority.fill("")
        save.click()
        expect(row.get_by_role("alert")).to_have_text("Give a whole number; 0 is everybody’s.")
        room.do(room.platform.api("POST", path, {"priority": 4}, by=somebody))
        priority.fill("700")
        save.click()
        expect(row.get_by_role("alert")).to_contain_text("priority", timeout=SOON)
        priority.fill("7")
        save.click()
        first = page.get_by_test_id("queue-row").first
        expect(first).to_contain_text("In the way", timeout=SOON)
        first.get_by_test_id("end-job").click()
        page.get_by_test_id("end-confirm").click()
        expect(page.get_by_role("dialog")).to_contain_text("Give the team a reason.")
        assert found_by_axe(page) == []
        page.get_by_test_id("end-reason").fill("The lab closes")
        page.get_by_test_id("end-confirm").click()
        expect(row).to_have_count(0, timeout=SOON)
        later = room.do(room.scenes.try_again_later("Whenever there is room"))
        room.do(room.platform.api("POST", f"/jobs/{later}/retry", {"when_room": True}))
        waits = page.get_by_test_id("for-room").get_by_role("listitem").filter(has_text="Whenever there is room")
        waits.get_by_role("button", name="End").click(timeout=2 * SOON)
        page.get_by_test_id("end-reason").fill("Not today")
        page.get_by_test_id("end-confirm").click()
        expect(waits).to_have_count(0, timeout=SOON)
        with browser.new_context() as context, open_page(context, doors["viewer"].url) as theirs:
            theirs.goto(f"{theirs.url.split('#')[0]}#/models/{job_id}")
            expect(theirs.get_by_test_id("notices")).to_contain_text(
                "Ended by an operator: The lab closes", timeout=SOON
            )
        _tab(page, "Audit").click()
        expect(page.get_by_test_id("audit")).to_contain_text("reason: The lab closes", timeout=SOON)

    def test_makes_teams_grants_minutes_closes_and_opens_training(self, page: Page) -> None:
        _section(page, "Operators")
        _tab(page, "Teams").click()
        page.get_by_test_id("team-names").fill("red-1, red-2")
        page.get_by_test_id("create-teams").click()
        expect(page.get_by_test_id("team-token")).to_have_count(2, timeout=SOON)
        row = page.get_by_test_id("team-row").filter(has_text="red-1")
        expect(row).to_contain_text("6,000", timeout=SOON)
        row.get_by_role("checkbox").check()
        page.get_by_test_id("grant-minutes").fill("30")
        page.get_by_test_id("grant").click()
        expect(row).to_contain_text("6,030", timeout=SOON)
        page.get_by_role("button", name="Close training").click()
        dialog, confirm = page.get_by_role("dialog"), page.get_by_test_id("confirm-button")
        expect(dialog).to_contain_text("Close training for red-1?")
        page.get_by_test_id("pause-message").fill("The floor is wet")
        page.get_by_test_id("pause-until").fill("2020-01-01T08:00")
        confirm.click()
        expect(dialog.get_by_role("alert")).to_contain_text("until must be a time to come", timeout=SOON)
        page.get_by_test_id("pause-until").fill("2099-01-01T08:00")
        confirm.click()
        closed = row.get_by_text("Closed")
        expect(closed).to_have_attribute("title", re.compile("until .*2099.*: The floor is wet. Jobs"), timeout=SOON)
        page.get_by_role("button", name="Open training").click()
        expect(row).not_to_contain_text("Closed", timeout=SOON)

    def test_is_asked_before_training_is_closed_for_everybody(self, page: Page, shots: Path) -> None:
        _section(page, "Operators")
        _tab(page, "Teams").click()
        everybody, pause = page.get_by_role("button", name="Close for everybody"), page.get_by_test_id("pause")
        everybody.click()
        expect(page.get_by_role("dialog")).to_contain_text("Close training for everybody?")
        for theme in _THEMES:
            page.emulate_media(color_scheme=theme)
            page.wait_for_timeout(250)  # colours and dialogs fade in
            page.screenshot(path=shots / f"close-training-{theme}.png")
        page.get_by_role("button", name="Cancel").click()
        expect(everybody).to_have_attribute("aria-disabled", "false")
        expect(pause).to_have_count(0)
        everybody.click()
        page.get_by_test_id("pause-message").fill("The final is on")
        page.get_by_test_id("confirm-button").click()
        expect(pause).to_contain_text("Admin has closed training: The final is on. Jobs", timeout=SOON)
        page.get_by_role("button", name="Open for everybody").click()
        expect(pause).to_have_count(0, timeout=SOON)

    def test_is_asked_before_a_job_that_contradicts_itself_is_ended(self, page: Page, room: Room) -> None:
        team = f"odd-{uuid.uuid4().hex[:6]}"
        room.do(room.scenes_of(team).unspecified())
        _section(page, "Operators")
        _tab(page, "Queue").click()
        held = page.get_by_test_id("unspecified").get_by_role("listitem").filter(has_text=team)
        end = held.get_by_role("button", name="End as failed")
        end.click(timeout=SOON)
        expect(page.get_by_role("dialog")).to_contain_text(f"of {team} as failed?")
        page.get_by_role("button", name="Cancel").click()
        expect(held).to_have_count(1)
        end.click()
        page.get_by_test_id("confirm-button").click()
        expect(held).to_have_count(0, timeout=SOON)

    def test_slow_answers_are_shown_and_missing_ones_are_told_beside_what_was_known(
        self, page: Page, room: Room
    ) -> None:
        trainer = room.do(room.scenes.trainer("slow-link"))
        held: list[Route] = []
        page.route("**/api/trainers", lambda route: held.append(route))
        _section(page, "Operators")
        page.wait_for_timeout(6_000)
        assert len(held) == 1
        held[0].continue_()
        row = page.get_by_test_id("trainer-row").filter(has_text=trainer.id)
        expect(row).to_contain_text("Live", timeout=SOON)
        page.unroute("**/api/trainers")
        page.route("**/api/trainers", lambda route: route.abort("connectionreset"))
        problem = page.get_by_test_id("problem")
        expect(problem).to_contain_text("What you see is as of", timeout=SOON)
        expect(row).to_contain_text("Live")
        page.unroute("**/api/trainers")
        problem.get_by_role("button", name="Try again").click()
        expect(problem).to_have_count(0, timeout=SOON)

    def test_drains_a_trainer(self, page: Page, room: Room) -> None:
        trainer = room.do(room.scenes.trainer("to-drain"))
        _section(page, "Operators")
        row = page.get_by_test_id("trainer-row").filter(has_text=trainer.id)
        expect(row).to_contain_text("Live", timeout=SOON)
        row.get_by_test_id("drain").click()
        expect(page.get_by_role("dialog")).to_contain_text("It gets no more jobs, and ends.")
        page.get_by_test_id("confirm-button").click()
        expect(row).to_contain_text("Draining", timeout=SOON)
        # It is asked with each heartbeat that doesn't say yet that it drains.
        assert trainer.drains >= 1
