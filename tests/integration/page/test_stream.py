"""The page's live data: one websocket for all tabs, a quiet marker while there is none, and nothing lost by a break."""

from __future__ import annotations

import asyncio
import re

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from shared.runtime.auth import Role
from tests.integration.page.conftest import SOON
from tests.support.browser import open_page
from tests.support.room import Gateway, Room
from tests.support.running import token
from tests.support.scheduling import until

_NO_SHARED_WORKER = "delete window.SharedWorker"
# As where a setting or a policy forbids it: it is there, and its script doesn't run.
_BROKEN_SHARED_WORKER = """
window.SharedWorker = class {
  port = {postMessage() {}};
  set onerror(told) { setTimeout(told, 50); }
};
"""


async def _ask_clients(room: Room) -> int:
    """Websockets that the status service holds."""
    async with room.platform.session.get(f"{room.status.url}/metrics") as response:
        found = re.search(r"^trainyard_stream_clients (\d+)", await response.text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


def _clients(room: Room) -> int:
    return room.do(_ask_clients(room))


def _shown(page: Page) -> list[str]:
    """All that the Models page tells, row by row."""
    return page.get_by_test_id("model-row").all_inner_texts()


def _live(page: Page) -> None:
    expect(page.get_by_test_id("connection")).to_contain_text("Live", timeout=30_000)


def test_all_tabs_share_one_websocket(browser: Browser, doors: dict[Role, Gateway], room: Room) -> None:
    job_id = room.do(room.scenes.queued("Seen in all tabs"))
    _nobody_is_connected(room)
    with browser.new_context() as context:
        tabs = [_tab(context, doors["mentor"].url) for _ in range(3)]
        assert _clients(room) == 1
        room.do(_stopped(room, job_id))
        for tab in tabs:
            state = tab.locator(f"[data-model-id='{job_id}']").get_by_test_id("job-state")
            expect(state).to_have_attribute("data-state", "CANCELED", timeout=SOON)
        tabs[0].close()
        expect(tabs[1].get_by_test_id("connection")).to_contain_text("Live")
        assert _clients(room) == 1
    _nobody_is_connected(room)


@pytest.mark.parametrize("script", [_NO_SHARED_WORKER, _BROKEN_SHARED_WORKER], ids=["missing", "broken"])
def test_without_a_shared_worker_each_tab_has_its_own(
    browser: Browser, doors: dict[Role, Gateway], room: Room, script: str
) -> None:
    room.do(room.scenes.queued("To be seen"))
    _nobody_is_connected(room)
    with browser.new_context() as context:
        context.add_init_script(script)
        for _ in range(2):
            expect(_tab(context, doors["mentor"].url).get_by_test_id("model-row").first).to_be_visible()
        assert _clients(room) == 2


def test_a_break_under_load_leaves_the_page_as_if_loaded_afresh(browser: Browser, room: Room) -> None:
    """Its own door, so that only this page is cut off; meanwhile jobs come, move, end and are deleted."""
    door = room.door("mentor", name="Cut off")
    scenes = room.scenes
    doomed = room.do(scenes.try_again_later("Deleted meanwhile"))
    moving, trainer = room.do(scenes.run("Moves meanwhile", steps=100))
    with browser.new_context() as context, open_page(context, f"{door.url}/#/models") as page:
        _live(page)
        expect(page.locator(f"[data-model-id='{doomed}']")).to_be_visible()
        door.end()
        marker = page.get_by_test_id("connection")
        expect(marker).to_contain_text("Offline", timeout=SOON)
        expect(page.get_by_text("what you see may be out of date")).to_be_visible(timeout=SOON)

        async def load() -> None:
            await room.platform.api("DELETE", f"/jobs/{doomed}", expect=204)
            for step in range(110, 400, 10):
                await scenes.progress(trainer, moving, step)
                if step % 100 == 0:
                    await scenes.checkpoint(trainer, moving, step)
                await asyncio.sleep(0.02)
            for number in range(5):
                await scenes.queued(f"Came meanwhile {number}")
            await scenes.checkpoint(trainer, moving, 600)
            await scenes.succeed(moving, trainer)

        room.do(load())
        room.do(asyncio.to_thread(door.start))
        _live(page)
        expect(page.get_by_text("Came meanwhile 4")).to_be_visible(timeout=SOON)
        expect(page.locator(f"[data-model-id='{doomed}']")).to_have_count(0)
        with browser.new_context() as other, open_page(other, f"{door.url}/#/models") as fresh:
            _live(fresh)
            expect(fresh.get_by_text("Came meanwhile 4")).to_be_visible(timeout=SOON)
            expect(page.get_by_test_id("model-row")).to_have_count(len(_shown(fresh)), timeout=SOON)
            assert _still(_shown(page)) == _still(_shown(fresh))


def test_signing_out_and_in_reaches_every_tab(browser: Browser, doors: dict[Role, Gateway], room: Room) -> None:
    """The gateway of a machine's own signs its page in; here the cookie is a person's, put in by hand."""
    url = doors["mentor"].url
    with browser.new_context() as context:
        first, second = _tab(context, url), _tab(context, url)
        first.get_by_role("navigation").get_by_role("link", name="Team").click()
        first.get_by_test_id("sign-out").click()
        for tab in (first, second):
            expect(tab.get_by_role("heading", name="Sign in")).to_be_visible(timeout=SOON)
        first.get_by_label("Access token").fill("nonsense")
        first.get_by_role("button", name="Sign in").click()
        expect(first.get_by_text("The token is not valid here")).to_be_visible(timeout=SOON)
        first.get_by_label("Access token").fill(token("demo", "viewer", "Vera"))
        first.get_by_role("button", name="Sign in").click()
        for tab in (first, second):
            _live(tab)
            expect(tab.get_by_text("Team demo · Vera")).to_be_visible(timeout=SOON)
        cookie = next(one for one in context.cookies() if one["name"] == "trainyard_token")
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")


def test_times_are_the_server_s_however_wrong_this_computer_s_clock_is(
    browser: Browser, doors: dict[Role, Gateway], room: Room
) -> None:
    job_id, trainer = room.do(room.scenes.run("Timed by the server", steps=100))
    room.do(room.scenes.progress(trainer, job_id, 120))
    shown = []
    for script in ("", "const real = Date.now; Date.now = () => real() + 3 * 3600e3;"):
        with browser.new_context() as context:
            context.add_init_script(f"{_NO_SHARED_WORKER}; {script}")
            with open_page(context, f"{doors['mentor'].url}/#/models/{job_id}") as page:
                time = page.get_by_test_id("model-page").get_by_test_id("training-time").first
                expect(time).to_have_text(re.compile(r"^0:5\d$"), timeout=SOON)
                shown.append(time.inner_text())
    assert len(shown) == 2


def _tab(context: BrowserContext, url: str) -> Page:
    page = context.new_page()
    page.goto(f"{url}/#/models")
    _live(page)
    return page


async def _stopped(room: Room, job_id: str) -> None:
    await room.platform.api("POST", f"/jobs/{job_id}/stop")


def _nobody_is_connected(room: Room) -> None:
    """Once the pages of earlier tests are gone."""

    async def nobody() -> bool:
        return await _ask_clients(room) == 0

    room.do(until(nobody))


def _still(rows: list[str]) -> list[str]:
    """Rows without what moves by itself: jobs that run, and forecasts that count down."""
    return [
        row for row in rows if not re.search(r"RUNNING|STOP REQUESTED|STOPPING|Try again|any moment|starts|ends", row)
    ]
