"""Start Training: the figures follow what is typed, errors stand at their fields, and nothing ever stays grey."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from itertools import pairwise
from time import monotonic
from typing import Any

import pytest
from playwright.sync_api import Error, Page, Request, Route, expect

from tests.integration.page.conftest import SOON, expect_usable
from tests.support.room import Room


def test_the_figures_are_the_manual_s_and_follow_what_is_typed(form: Page) -> None:
    plan = form.locator(".plan")
    # 32 pictures, batch 8: 4 steps an epoch; 100 epochs are 400 steps.
    expect(form.get_by_test_id("steps")).to_have_value("400")
    expect(plan).to_contain_text("400 steps make 100 epochs")
    expect(form.get_by_test_id("use-recommended")).to_be_disabled()
    form.get_by_test_id("steps").fill("1000")
    expect(plan).to_contain_text("1,000 steps make 250 epochs", timeout=SOON)
    form.get_by_test_id("use-recommended").click()
    expect(plan).to_contain_text("400 steps make 100 epochs", timeout=SOON)
    form.get_by_label("Training steps, as a slider").fill("720")
    expect(form.get_by_test_id("steps")).to_have_value("720")
    expect(plan).to_contain_text("720 steps make 180 epochs", timeout=SOON)
    form.get_by_test_id("max-minutes").fill("1")
    expect(plan).to_contain_text(re.compile(r"In 1 minutes about \d+ of 720 steps fit"), timeout=SOON)


def test_only_the_last_of_many_keystrokes_is_asked_for(form: Page) -> None:
    asked: list[Any] = []

    def note(request: Request) -> None:
        if request.url.endswith("/api/plans"):
            asked.append(json.loads(request.post_data or "{}").get("steps"))

    form.on("request", note)
    form.get_by_test_id("steps").press_sequentially("0", delay=30)
    form.get_by_test_id("steps").fill("")
    form.get_by_test_id("steps").press_sequentially("1200", delay=30)
    expect(form.locator(".plan")).to_contain_text("1,200 steps make", timeout=SOON)
    assert asked[-1] == 1200
    assert 12 not in asked


def test_an_older_plan_that_comes_late_is_not_shown(form: Page) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        if json.loads(route.request.post_data or "{}").get("steps") == 500:
            held.append(route)
        else:
            route.continue_()

    form.route("**/api/plans", hold)
    with form.expect_request("**/api/plans"):
        form.get_by_test_id("steps").fill("500")
    form.get_by_test_id("steps").fill("800")
    expect(form.locator(".plan")).to_contain_text("800 steps make", timeout=SOON)
    with suppress(Error):  # the page itself has given it up
        held[0].continue_()
    form.wait_for_timeout(500)
    expect(form.locator(".plan")).to_contain_text("800 steps make")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("steps", "9", "The number of steps must be from 20"),
        ("max-minutes", "100000", "The maximum training time must be from 1 to 600 minutes"),
        ("description", " ", "The description must have 1 to 30 characters"),
    ],
)
def test_an_error_of_the_server_stands_at_its_field(form: Page, field: str, value: str, message: str) -> None:
    form.get_by_test_id("description").fill("Wrong")
    form.get_by_test_id(field).fill(value)
    form.get_by_test_id("start-submit").click()
    box = form.get_by_test_id(field)
    expect(box).to_have_attribute("aria-invalid", "true", timeout=SOON)
    expect(form.locator(f"[id='{box.get_attribute('aria-describedby')}']")).to_contain_text(message)
    expect(form.get_by_test_id("start-submit")).to_be_enabled()
    expect_usable(form)


def test_the_plan_follows_the_room_and_the_team_s_minutes_and_the_form_stays_as_it_is(form: Page, room: Room) -> None:
    left = form.get_by_text(re.compile(r"^Of [\d,]+ left"))
    with form.expect_response("**/api/plans"):
        form.get_by_test_id("max-minutes").fill("7")
    before = left.inner_text()
    asked: list[float] = []
    form.on("request", lambda request: asked.append(monotonic()) if request.url.endswith("/api/plans") else None)
    form.get_by_test_id("description").focus()
    form.get_by_test_id("description").press_sequentially("Wait", delay=20)
    for number in range(3):
        room.do(room.scenes.queued(f"Queued by a teammate {number}"))
    expect(left).not_to_have_text(before, timeout=SOON)
    minutes = form.get_by_test_id("minutes-left").inner_text().split(" ")[0]
    expect(left).to_contain_text(f"Of {minutes} left")
    form.wait_for_timeout(3_000)
    assert asked, "the plan wasn't asked for again"
    assert min((b - a for a, b in pairwise(asked)), default=2) > 1.9
    expect(form.get_by_test_id("description")).to_be_focused()
    assert (form.get_by_test_id("description").input_value(), form.get_by_test_id("max-minutes").input_value()) == (
        "Wait",
        "7",
    )


def test_an_emptied_field_says_what_it_means_and_that_is_what_is_started(form: Page) -> None:
    usual = form.get_by_test_id("max-minutes").input_value()
    for field in ("steps", "max-minutes"):
        form.get_by_test_id(field).fill("55")
        form.get_by_test_id(field).fill("")
        expect(form.get_by_test_id(field)).to_have_attribute("placeholder", {"steps": "400"}.get(field, usual))
    expect(form.get_by_test_id("steps")).to_have_accessible_description("Empty: 400.", timeout=SOON)
    expect(form.get_by_test_id("max-minutes")).to_have_accessible_description(
        re.compile(f"^Empty: {usual}. Of "), timeout=SOON
    )
    form.get_by_test_id("description").fill("Left empty")
    with form.expect_request("**/api/jobs") as sent:
        form.get_by_test_id("start-submit").click()
    wish = json.loads(sent.value.post_data or "{}")
    assert (wish["steps"], str(wish["max_minutes"])) == (400, usual)


def test_an_error_about_a_dataset_goes_with_the_dataset(form: Page, room: Room) -> None:
    room.do(room.scenes.dataset("More photos"))
    error = {"code": "invalid", "message": "That dataset is broken.", "field": "dataset_ids"}
    form.route("**/api/jobs", lambda route: route.fulfill(status=422, json={"error": error}))
    form.get_by_test_id("description").fill("Refused")
    form.get_by_test_id("dataset-choice").get_by_label("More photos").check()
    expect(form.get_by_test_id("start-submit")).to_be_enabled(timeout=SOON)
    form.get_by_test_id("start-submit").click()
    expect(form.get_by_text("That dataset is broken.")).to_be_visible(timeout=SOON)
    form.get_by_test_id("dataset-choice").get_by_label("More photos").uncheck()
    expect(form.get_by_text("That dataset is broken.")).to_have_count(0)


def test_what_fails_after_the_page_was_left_is_told_there(form: Page) -> None:
    held: list[Route] = []
    form.route("**/api/jobs", lambda route: held.append(route))
    form.get_by_test_id("description").fill("Left behind")
    form.get_by_test_id("start-submit").click()
    form.get_by_role("navigation").get_by_role("link", name="Datasets").click()
    expect(form.locator("h1")).to_have_text("Datasets")
    held[0].abort("connectionreset")
    expect(form.get_by_test_id("messages")).to_contain_text("“Left behind” wasn’t started", timeout=SOON)
