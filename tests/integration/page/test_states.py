"""Each of the eleven states as the user sees it: its name, its word of explanation, and what can be done."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, ViewportSize, expect

from shared.contract.jobs import MEANINGS, JobState
from tests.integration.page.conftest import SOON
from tests.support.room import Room

# The explanation (a part of it), and the actions that are possible.
_PHONE: ViewportSize = {"width": 390, "height": 844}
_SEEN: dict[JobState, tuple[str, set[str]]] = {
    JobState.QUEUED: ("in the queue", {"stop"}),
    JobState.PREPARING: (MEANINGS[JobState.PREPARING], {"stop"}),
    JobState.RUNNING: ("left.", {"stop"}),
    JobState.STOP_REQUESTED: (MEANINGS[JobState.STOP_REQUESTED], set()),
    JobState.STOPPING: ("The maximum training time of 10 minutes was reached", set()),
    JobState.SUCCEEDED: ("Check the metrics", {"more", "download", "delete"}),
    JobState.STOPPED: ("Ended early with a checkpoint", {"more", "delete"}),
    JobState.CANCELED: ("", {"delete"}),
    JobState.FAILED: ("A training picture has boxes outside of the picture", {"more", "delete"}),
    JobState.TRY_AGAIN_LATER: ("No trainer that takes jobs could hold this one", {"retry", "delete"}),
    JobState.STATE_UNSPECIFIED: ("found an inconsistency", set()),
}


def _possible(page: Page) -> set[str]:
    """What the toolbar offers."""
    buttons = {name: page.get_by_test_id(f"{name}-button") for name in ("more", "stop", "retry", "delete")}
    found = {name for name, button in buttons.items() if button.get_attribute("aria-disabled") == "false"}
    return found | ({"download"} if page.get_by_test_id("download-link").count() else set())


def _choose(row: Locator) -> None:
    row.get_by_role("checkbox", name=re.compile("^Select ")).check()


@pytest.mark.parametrize("state", list(JobState))
def test_a_state_says_what_it_means_and_what_can_be_done(
    page: Page, room: Room, states: dict[JobState, str], state: JobState
) -> None:
    explanation, actions = _SEEN[state]
    # A stop without an answer is enforced after a lease: that one has to be fresh.
    job_id = room.do(room.scenes.stop_requested()) if state is JobState.STOP_REQUESTED else states[state]
    page.get_by_role("navigation").get_by_role("link", name="Models").click()
    row = page.locator(f"[data-model-id='{job_id}']")
    badge = row.get_by_test_id("job-state")
    expect(badge).to_have_attribute("data-state", state, timeout=SOON)
    expect(badge).to_have_text(state.replace("_", " "))
    expect(row.get_by_test_id("explanation")).to_contain_text(explanation, timeout=SOON)
    _choose(row)
    assert _possible(page) == actions
    for name in {"more", "stop", "retry", "delete"} - actions:
        button = page.get_by_test_id(f"{name}-button")
        reason = button.get_attribute("aria-describedby")
        assert reason
        expect(page.locator(f"[id='{reason}']")).not_to_be_empty()

    # On a phone the row is a card, which says the same.
    page.set_viewport_size(_PHONE)
    for part in (badge, row.get_by_test_id("steps-completed"), row.get_by_test_id("explanation")):
        box = part.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= _PHONE["width"]
    expect(row.get_by_test_id("explanation")).to_contain_text(explanation)
    assert _possible(page) == actions

    row.get_by_role("link").first.click()
    detail = page.get_by_test_id("model-page")
    expect(detail.get_by_test_id("job-state").first).to_have_attribute("data-state", state)
    expect(detail.get_by_test_id("minutes-card")).to_be_visible()


def test_news_stand_out_while_a_job_trains_and_among_the_details_afterwards(
    page: Page, states: dict[JobState, str]
) -> None:
    news = "Training starts from ImageNet weights."
    address = page.url.split("#")[0]
    page.goto(f"{address}#/models/{states[JobState.RUNNING]}")
    expect(page.get_by_test_id("notices")).to_contain_text(news, timeout=SOON)
    for state in (JobState.SUCCEEDED, JobState.FAILED):
        page.goto(f"{address}#/models/{states[state]}")
        expect(page.locator(".pairs").get_by_text(news)).to_be_visible(timeout=SOON)
        expect(page.locator(".reason").filter(has_text=news)).to_have_count(0)


def test_minutes_add_up_and_say_why(page: Page, states: dict[JobState, str]) -> None:
    page.goto(f"{page.url.split('#')[0]}#/models/{states[JobState.STOPPED]}")
    card = page.get_by_test_id("minutes-card")
    expect(card).to_contain_text("Time spent on the 213 steps that are saved.", timeout=SOON)
    reserved, used, back = (
        int(minutes) * 60 + int(seconds)
        for minutes, seconds in (text.split(":") for text in card.locator("dd").all_inner_texts())
    )
    assert (reserved, used + back) == (600, 600)
