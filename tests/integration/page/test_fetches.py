"""What the page asks beside the stream: while it isn't known or couldn't be fetched, nothing is said that isn't so."""

from __future__ import annotations

import re

from playwright.sync_api import Browser, Page, Route, expect

from shared.contract.jobs import JobState
from tests.integration.page.conftest import SOON
from tests.support.browser import open_page
from tests.support.room import Room


def _go(page: Page, place: str) -> None:
    page.goto(f"{page.url.split('#')[0]}#/{place}")


def test_metrics_that_are_on_their_way_or_cannot_be_had_are_not_said_to_be_none(
    page: Page, states: dict[JobState, str]
) -> None:
    model = states[JobState.SUCCEEDED]
    held: list[Route] = []
    page.route(f"**/api/models/{model}", lambda route: held.append(route))
    _go(page, f"models/{model}")
    detail = page.get_by_test_id("model-page")
    expect(detail.get_by_text("not known yet")).to_be_visible(timeout=SOON)
    expect(detail.get_by_text("It made no checkpoint.")).to_have_count(0)
    held[0].abort("connectionreset")
    problem = page.get_by_test_id("problem")
    expect(problem).to_contain_text("The metrics couldn’t be fetched", timeout=SOON)
    expect(detail.get_by_text("It made no checkpoint.")).to_have_count(0)
    detail.get_by_role("navigation").get_by_role("link", name="Graphs").click()
    expect(problem).to_contain_text("The metrics couldn’t be fetched")
    expect(page.locator(".waiting")).to_have_count(0)
    page.unroute(f"**/api/models/{model}")
    problem.get_by_role("button", name="Try again").click()
    expect(page.get_by_test_id("metrics")).to_contain_text("Step 600", timeout=SOON)
    expect(problem).to_have_count(0)
    _go(page, f"models/{states[JobState.CANCELED]}/graphs")
    expect(page.get_by_text("It made no checkpoint.")).to_be_visible(timeout=SOON)


def test_a_history_that_cannot_be_had_is_not_said_to_be_empty(page: Page, states: dict[JobState, str]) -> None:
    model = states[JobState.SUCCEEDED]
    held: list[Route] = []
    page.route(f"**/api/models/{model}/events*", lambda route: held.append(route))
    _go(page, f"models/{model}")
    history = page.get_by_test_id("history")
    expect(history.locator(".waiting")).to_be_visible(timeout=SOON)
    expect(history).not_to_contain_text("Nothing has happened yet.")
    held[0].abort("connectionreset")
    expect(history).to_contain_text("The history couldn’t be fetched", timeout=SOON)
    expect(history).not_to_contain_text("Nothing has happened yet.")
    page.unroute(f"**/api/models/{model}/events*")
    history.get_by_role("button", name="Try again").click()
    expect(history).to_contain_text("SUCCEEDED", timeout=SOON)
    expect(history.get_by_test_id("problem")).to_have_count(0)


def test_a_dataset_whose_users_cannot_be_had_is_not_offered_for_deletion(page: Page, room: Room) -> None:
    room.do(room.scenes.queued("Holds on to the photos"))
    dataset = room.do(room.scenes.dataset("Field photos"))
    for place, asked in (("datasets", "**/api/datasets"), (f"datasets/{dataset}", f"**/api/datasets/{dataset}")):
        page.route(asked, lambda route: route.abort("connectionreset"))
        _go(page, place)
        problem = page.get_by_test_id("problem")
        expect(problem).to_contain_text("couldn’t be fetched", timeout=SOON)
        row = page.get_by_test_id("dataset-row").filter(has_text="Field photos")
        delete = (row if place == "datasets" else page).get_by_role("button", name="Delete")
        expect(delete).to_have_accessible_description("It isn’t known yet whether a model uses it.")
        expect(page.locator(".waiting")).to_have_count(0, timeout=SOON)
        page.unroute(asked)
        problem.get_by_role("button", name="Try again").click()
        expect(delete).to_have_accessible_description(re.compile("^Used by “"), timeout=SOON)
        expect(problem).to_have_count(0)


def test_what_failed_while_the_network_was_away_is_asked_for_again_when_it_is_back(
    browser: Browser, room: Room, states: dict[JobState, str]
) -> None:
    door = room.door("mentor", name="Comes back")
    model, other = states[JobState.SUCCEEDED], states[JobState.STOPPED]
    with browser.new_context() as context, open_page(context, f"{door.url}/#/models/{other}") as page:
        expect(page.get_by_test_id("connection")).to_contain_text("Live", timeout=SOON)
        expect(page.get_by_test_id("history")).to_contain_text("STOPPED", timeout=SOON)
        door.end()  # whatever is asked for from here on fails
        expect(page.get_by_test_id("connection")).to_contain_text("Offline", timeout=SOON)
        _go(page, f"models/{model}")
        expect(page.get_by_test_id("problem")).to_have_count(2, timeout=SOON)
        door.start()
        expect(page.get_by_test_id("problem")).to_have_count(0, timeout=20_000)
        expect(page.get_by_test_id("history")).to_contain_text("SUCCEEDED")

        door.end()
        expect(page.get_by_test_id("connection")).to_contain_text("Offline", timeout=SOON)
        page.get_by_role("navigation").get_by_role("link", name="Start Training").click()
        expect(page.get_by_test_id("problem")).to_contain_text("The starting models couldn’t be fetched", timeout=SOON)
        door.start()
        expect(page.get_by_test_id("starting-model").get_by_role("radio").first).to_be_visible(timeout=20_000)
        expect(page.get_by_test_id("problem")).to_have_count(0)
