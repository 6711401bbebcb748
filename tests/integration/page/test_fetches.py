"""What the page asks beside the stream: while it isn't known or couldn't be fetched, nothing is said that isn't so."""

from __future__ import annotations

from playwright.sync_api import Page, Route, expect

from shared.contract.jobs import JobState
from tests.integration.page.conftest import SOON
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
    page.get_by_role("link", name="Graphs").click()
    expect(problem).to_contain_text("The metrics couldn’t be fetched")
    expect(page.locator(".waiting")).to_have_count(0)
    page.unroute(f"**/api/models/{model}")
    problem.get_by_role("button", name="Try again").click()
    expect(page.get_by_test_id("metrics")).to_contain_text("Step 600", timeout=SOON)
    expect(problem).to_have_count(0)
    _go(page, f"models/{states[JobState.CANCELED]}/graphs")
    expect(page.get_by_text("It made no checkpoint.")).to_be_visible(timeout=SOON)
