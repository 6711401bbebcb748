"""What concerns the whole room, as a team sees it: its queue, live and without who and what; what operators announce."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect

from shared.contract.jobs import JobState
from shared.runtime.auth import Role
from tests.integration.page.conftest import SOON
from tests.support.browser import found_by_axe, open_page
from tests.support.room import Gateway, Room
from tests.support.scheduling import ScriptedTrainer

SIGHTS: tuple[tuple[Literal["light", "dark"], ViewportSize], ...] = (
    ("light", ViewportSize(width=1280, height=860)),
    ("dark", ViewportSize(width=390, height=844)),
)


@pytest.mark.parametrize("role", ["viewer"])
def test_the_whole_queue_is_seen_live_without_who_and_what_of_others(
    page: Page, room: Room, states: dict[JobState, str], shots: Path
) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if request.url.endswith("/api/queue") else None)
    page.get_by_role("navigation").get_by_role("link", name="Team").first.click()
    page.get_by_role("main").get_by_role("navigation").get_by_role("link", name="The room’s queue").click()
    expect(page.get_by_test_id("room-summary")).to_contain_text("busy", timeout=SOON)
    runs, waits = page.get_by_test_id("room-running"), page.get_by_test_id("room-waiting")
    own = runs.locator("tr.own").filter(has=page.get_by_role("link", name="Runs", exact=True))
    expect(own).to_contain_text("your team")
    expect(own.get_by_role("progressbar")).to_have_count(1)
    # Other tests' teams may be there as well.
    others = {part: part.get_by_text("Another team").count() for part in (runs, waits)}

    async def rivals() -> ScriptedTrainer:
        theirs = room.platform.of_team("rivals")
        dataset = await theirs.add_dataset("Secret field")
        trainer = await room.scenes.trainer("rivals")
        label = {"requires": {"row": "rivals"}}
        held = await theirs.queued(dataset, description="Secret robot", **label)
        await theirs.queued(dataset, description="Secret plan", **label)
        await trainer.holds(held)
        await trainer.started(held, 1)
        return trainer

    before = len(asked)
    trainer = room.do(rivals())
    for part, count in others.items():
        expect(part.get_by_text("Another team")).to_have_count(count + 1, timeout=SOON)
    assert "Secret" not in page.content()
    assert "rivals" not in page.content()
    assert len(asked) > before
    # A place of one's own leads to the model.
    link = waits.locator("tr.own").first.get_by_role("link")
    name = link.inner_text()
    for theme, size in SIGHTS:
        page.emulate_media(color_scheme=theme)
        page.set_viewport_size(size)
        page.screenshot(path=shots / f"room-queue-{theme}.png", full_page=True)
    link.click()
    expect(page.get_by_role("heading", name=name)).to_be_visible(timeout=SOON)
    room.do(trainer.silence())


@pytest.mark.parametrize("role", ["admin"])
def test_what_an_operator_announces_is_on_every_page_until_it_is_dismissed_over_or_removed(
    page: Page, browser: Browser, doors: dict[Role, Gateway], room: Room, states: dict[JobState, str], shots: Path
) -> None:
    page.goto(f"{page.url.split('#')[0]}#/operators/announcements")
    page.get_by_test_id("announce").click()
    expect(page.get_by_text("Write what the teams should know.")).to_be_visible()
    with browser.new_context(viewport=SIGHTS[0][1]) as context, open_page(context, doors["viewer"].url) as theirs:
        expect(theirs.get_by_test_id("connection")).to_contain_text("Live", timeout=SOON)
        theirs.goto(f"{theirs.url.split('#')[0]}#/models")
        page.get_by_test_id("announce-text").fill("The lab closes at 18:00 today. Jobs pause, and go on tomorrow.")
        page.get_by_test_id("announce-kind").select_option("warning")
        page.get_by_test_id("announce").click()
        banners = theirs.get_by_test_id("banners")
        expect(banners).to_contain_text("Warning: The lab closes at 18:00", timeout=SOON)
        page.get_by_test_id("announce-text").fill("Two more trainers are here: jobs start sooner.")
        page.get_by_test_id("announce").click()
        expect(banners.locator("p").first).to_have_text("Two more trainers are here: jobs start sooner.", timeout=SOON)
        for theme, size in SIGHTS:
            theirs.emulate_media(color_scheme=theme)
            theirs.set_viewport_size(size)
            theirs.wait_for_timeout(250)
            assert found_by_axe(theirs) == []
            theirs.screenshot(path=shots / f"announcements-{theme}.png")
        # Another tab of the same browser hears what was dismissed, and the Team page has them all.
        with open_page(context, theirs.url) as later:
            expect(later.get_by_test_id("banners").locator("p")).to_have_count(2, timeout=SOON)
            banners.get_by_role("button", name="Dismiss: The lab closes").click()
            left = ["Two more trainers are here: jobs start sooner."]
            expect(banners.locator("p")).to_have_text(left)
            expect(later.get_by_test_id("banners").locator("p")).to_have_text(left)
            later.get_by_role("navigation").get_by_role("link", name="Team").first.click()
            expect(later.get_by_test_id("announcements").get_by_role("listitem")).to_have_count(2, timeout=SOON)
            expect(later.get_by_test_id("banners").locator("p")).to_have_count(0)
            later.screenshot(path=shots / "announcements-team.png")
        with open_page(context, theirs.url) as later:
            expect(later.get_by_test_id("banners").locator("p")).to_have_text(left, timeout=SOON)

        async def for_a_moment() -> None:
            until = (datetime.now(UTC) + timedelta(seconds=6)).isoformat()
            body = {"text": "Lunch is here", "until": until}
            admin = room.platform.caller("admin")
            await room.platform.api("POST", "/admin/announcements", body, by=admin, expect=201)

        room.do(for_a_moment())
        expect(banners).to_contain_text("Lunch is here", timeout=SOON)
        expect(banners).not_to_contain_text("Lunch is here", timeout=SOON)
        page.screenshot(path=shots / "announcements-operators.png")
        for name in ("Remove: Two more", "Remove: The lab"):
            page.get_by_role("button", name=name).click()
        expect(page.get_by_test_id("announced")).to_contain_text("Nothing is announced", timeout=SOON)
        expect(banners.locator("p")).to_have_count(0, timeout=SOON)
