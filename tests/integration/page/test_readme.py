"""The README's pictures: a team at work, as its page shows it. To renew them, copy `test-artifacts/readme-*.png`."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Browser, expect

from tests.integration.page.conftest import SOON
from tests.support.browser import open_page
from tests.support.room import Room
from tests.support.scenes import Scenes
from tests.support.stack import CHECKOUT

_TEAM = "robo-owls"


async def _work(scenes: Scenes) -> str:
    """Models as a team has them in its second week; the id of one that is trained."""
    await scenes.stopped("First try")
    await scenes.failed("Night photos")
    trained = await scenes.succeeded("Balls and cubes")
    await scenes.more(trained, "With the gym lights")
    job_id, trainer = await scenes.run("Cubes in a dark gym", steps=400)
    scenes.keep_running(trainer, job_id, 431)
    await scenes.queued("Blue tape")
    return trained


def test_there_are_pictures_of_a_team_at_work(browser: Browser, room: Room, shots: Path) -> None:
    made = {"teams": [_TEAM], "minutes": 600}
    room.do(room.platform.api("POST", "/admin/teams", made, by=room.platform.caller("admin")))
    trained = room.do(_work(room.scenes_of(_TEAM)))
    door = room.door(team=_TEAM)
    with (
        browser.new_context(viewport={"width": 1280, "height": 800}, device_scale_factor=1.5) as context,
        open_page(context, f"{door.url}/#/models") as page,
    ):
        running = page.get_by_test_id("model-row").filter(has_text="Cubes in a dark gym")
        expect(running.get_by_test_id("steps-completed")).to_have_text(re.compile(r"^(4[4-9]|5\d)\d$"), timeout=SOON)
        expect(page.get_by_test_id("model-row").filter(has_text="Blue tape")).to_contain_text("in the queue")
        page.screenshot(path=shots / "readme-models.png")
        page.goto(f"{door.url}/#/models/{trained}/images")
        expect(page.get_by_test_id("model-page")).to_contain_text("What was taken for what", timeout=SOON)
        expect(page.locator(".waiting")).to_have_count(0, timeout=SOON)
        page.mouse.wheel(0, 372)
        page.wait_for_timeout(500)
        page.screenshot(path=shots / "readme-model.png")
    shown = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", (CHECKOUT / "README.md").read_text())
    assert [Path(name).name for name in shown] == ["model.png", "models.png"]
    assert all((CHECKOUT / name).is_file() for name in shown)
