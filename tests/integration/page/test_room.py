"""What concerns the whole room, as a team sees it: its queue, live and without who and what."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Page, ViewportSize, expect

from shared.contract.jobs import JobState
from tests.integration.page.conftest import SOON
from tests.support.room import Room
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
    page.get_by_role("link", name="The room’s queue").click()
    expect(page.get_by_test_id("room-summary")).to_contain_text("busy", timeout=SOON)
    runs, waits = page.get_by_test_id("room-running"), page.get_by_test_id("room-waiting")
    own = runs.locator("tr.own").filter(has_text="Runs")
    expect(own).to_contain_text("your team")
    expect(own.get_by_role("progressbar")).to_have_count(1)
    expect(runs).not_to_contain_text("Another team")

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
    expect(waits.get_by_text("Another team")).to_have_count(1, timeout=SOON)
    expect(runs.get_by_text("Another team")).to_have_count(1, timeout=SOON)
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
