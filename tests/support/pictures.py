"""Makes the pictures that the README shows, from a room with a team at work: `python -m tests.support.pictures`."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.support.browser import open_browser
from tests.support.room import open_room
from tests.support.scenes import Scenes
from tests.support.stack import CHECKOUT

TARGET = CHECKOUT / "services" / "web" / "pictures"


async def _at_work(scenes: Scenes) -> str:
    """A team in the middle of an afternoon; the id of the model that runs."""
    await scenes.stopped("First try")
    done = await scenes.succeeded("BallsModel")
    await scenes.try_again_later("Balls, large batch")
    await scenes.more(done, "BallsModel, more")
    running, trainer = await scenes.run("Cubes in a dark gym", steps=400)
    scenes.keep_running(trainer, running, 417)
    await scenes.queued("Balls and cubes")
    return running


def _live(page: Page, address: str) -> None:
    page.goto(address)
    expect(page.get_by_test_id("connection")).to_contain_text("Live")
    page.wait_for_timeout(2500)


def main() -> None:
    """Make them."""
    with open_room() as room:
        url = room.door("mentor", name="Ada").url
        running = room.do(_at_work(room.scenes), 120)
        with open_browser() as browser:
            page = browser.new_page(viewport={"width": 1280, "height": 800}, device_scale_factor=1.5)
            _live(page, f"{url}/#/models")
            page.screenshot(path=TARGET / "models.png")
            _live(page, f"{url}/#/models/{running}")
            page.screenshot(path=TARGET / "model.png")


if __name__ == "__main__":
    main()
