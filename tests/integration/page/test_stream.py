"""The page's live data: one websocket for all tabs, a quiet marker while there is none, and nothing lost by a break."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import APIResponse, Browser, BrowserContext, Page, Route, ViewportSize, expect

from shared.contract.stream import SILENCE_SECONDS
from shared.runtime.auth import Role
from tests.integration.page.conftest import SOON
from tests.support.browser import found_by_axe, open_page
from tests.support.room import Gateway, Room
from tests.support.running import token
from tests.support.scheduling import ScriptedTrainer
from tests.support.voc import frames, write_zip
from tests.support.waiting import until
from tests.support.wifi import Wifi

_CUT_SECONDS = 60
_CAME = 10  # jobs that come while the network is cut
_TALL: ViewportSize = {"width": 1280, "height": 10_000}  # what is out of sight doesn't tick

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


@pytest.fixture
def wifi(room: Room) -> Iterator[Wifi]:
    """A mentor's way to the gateway, which can die."""
    between = Wifi(room.door("mentor", name="Cut off").port)
    room.do(between.start())
    yield between
    room.do(between.end())


@pytest.mark.timeout(240)
def test_a_minute_without_network_under_load_leaves_the_page_as_if_loaded_afresh(
    browser: Browser, room: Room, wifi: Wifi
) -> None:
    """Nobody tells the page that its Wi-Fi has died. Meanwhile jobs come, move, end and are deleted, and so do datasets."""
    scenes = room.scenes
    doomed = room.do(scenes.try_again_later("Deleted meanwhile"))
    moving, trainer = room.do(scenes.run("Moves meanwhile", steps=100))
    with (
        browser.new_context(viewport=_TALL) as context,
        open_page(context, f"{wifi.url}/#/models") as page,
        open_page(context, f"{wifi.url}/#/models/{moving}/graphs") as graphs,
    ):
        for tab in (page, graphs):
            _live(tab)
        expect(page.locator(f"[data-model-id='{doomed}']")).to_be_visible()
        expect(graphs.get_by_test_id("metrics")).to_contain_text("Step 100", timeout=SOON)

        room.do(wifi.die())
        load = room.begin(_load(room, moving, trainer, doomed))
        for tab in (page, graphs):
            expect(tab.get_by_test_id("connection")).to_contain_text("Offline", timeout=1000 * SILENCE_SECONDS + SOON)
            expect(tab.get_by_text("what you see may be out of date")).to_be_visible(timeout=SOON)
            tab.set_viewport_size({"width": 1280, "height": 860})
            assert found_by_axe(tab) == []
            tab.set_viewport_size(_TALL)
        load.result(2 * _CUT_SECONDS)
        expect(page.get_by_text("Came meanwhile")).to_have_count(0)  # the cut was one
        expect(page.locator(f"[data-model-id='{doomed}']")).to_be_visible()

        room.do(wifi.come_back())
        with browser.new_context(viewport=_TALL) as other, open_page(other, f"{wifi.url}/#/models") as fresh:
            for tab in (page, graphs, fresh):
                _live(tab)
            expect(page.locator(f"[data-model-id='{doomed}']")).to_have_count(0)
            expect(page.get_by_text("Came meanwhile")).to_have_count(_CAME)
            _alike(page, fresh)
            fresh.goto(graphs.url)
            expect(graphs.get_by_test_id("metrics")).to_contain_text("Step 600", timeout=SOON)
            _alike(graphs, fresh)
            for section in ("Datasets", "Team"):
                for tab in (page, fresh):
                    tab.get_by_role("navigation").get_by_role("link", name=section).click()
                    expect(tab.locator(".waiting")).to_have_count(0, timeout=SOON)
                _alike(page, fresh)


async def _load(room: Room, moving: str, trainer: ScriptedTrainer, doomed: str) -> None:
    """All that can happen to a team, spread over a minute."""
    scenes, api = room.scenes, room.platform.api
    seconds = _CUT_SECONDS / _CAME
    dataset = await scenes.dataset("Gone meanwhile")
    for number in range(_CAME):
        began = asyncio.get_running_loop().time()
        if number == 1:
            await api("DELETE", f"/jobs/{doomed}", expect=204)
            url = f"{room.platform.dataset.url}/api/datasets/{dataset}"
            assert (await room.platform.call("DELETE", url))[0] == 204
            await scenes.dataset("Uploaded meanwhile")
        job_id = await scenes.queued(f"Came meanwhile {number}")
        if number % 2:
            await api("POST", f"/jobs/{job_id}/stop")
        if number == 3:
            await scenes.succeeded("Done meanwhile")
            await scenes.failed()
        for step in range(100 + 40 * number, 100 + 40 * number + 40, 4):
            await scenes.progress(trainer, moving, step)
            if step % 100 == 0:
                await scenes.checkpoint(trainer, moving, step)
            await asyncio.sleep(max(0.0, began + seconds - asyncio.get_running_loop().time()) / 10)
        await asyncio.sleep(max(0.0, began + seconds - asyncio.get_running_loop().time()))
    await scenes.checkpoint(trainer, moving, 600)
    await scenes.succeed(moving, trainer)


def _alike(page: Page, fresh: Page) -> None:
    """Both tell the same, to the letter, at some moment soon: what ticks by itself doesn't tick in both at once."""
    for _ in range(50):
        shown, loaded = (tab.locator("main").inner_text() for tab in (page, fresh))
        if shown == loaded:
            return
        page.wait_for_timeout(200)
    assert shown.splitlines() == loaded.splitlines()


def test_signing_out_and_in_reaches_every_tab_and_leaves_nothing_to_the_next_team(
    browser: Browser, doors: dict[Role, Gateway], room: Room, tmp_path: Path
) -> None:
    """The gateway of a machine's own signs its page in; here the cookie is a person's, put in by hand."""
    url = doors["admin"].url
    job_id = room.do(room.scenes.try_again_later("Left behind"))
    with browser.new_context() as context:
        first, second = _tab(context, url), _tab(context, url)
        second.goto(f"{url}/#/models/{job_id}")
        expect(second).to_have_title("Left behind · Trainyard")
        first.bring_to_front()  # behind another one, each click waits a second for a frame
        _import(first, write_zip(tmp_path / "Behind.zip", frames(12)))
        answers = _held(first, "**/api/jobs/*/retry")
        _section(first, "Models")
        first.locator(f"[data-model-id='{job_id}']").get_by_test_id("try-again").click()
        _section(first, "Team")
        while not answers:
            first.wait_for_timeout(50)
        first.get_by_test_id("sign-out").click()
        for tab in (first, second):
            expect(tab.get_by_role("heading", name="Sign in")).to_be_visible(timeout=SOON)
            expect(tab.locator("header.top")).not_to_contain_text(re.compile(r"demo|Admin|min left|Operators|\d"))
        expect(second).to_have_title("Trainyard")

        first.get_by_label("Access token").fill("nonsense")
        first.get_by_role("button", name="Sign in").click()
        expect(first.get_by_text("The token is not valid here")).to_be_visible(timeout=SOON)
        assert found_by_axe(first) == []
        first.get_by_label("Access token").fill(token("guests", "viewer", "Vera"))
        first.get_by_role("button", name="Sign in").click()
        for tab in (first, second):
            _live(tab)
            expect(tab.get_by_text("Team guests · Vera")).to_be_visible(timeout=SOON)
        cookie = next(one for one in context.cookies() if one["name"] == "trainyard_token")
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")

        # What the last one had begun is none of theirs.
        [(route, answer)] = answers
        assert answer.json()["job"]["description"] == "Left behind"
        with first.expect_response("**/api/jobs/*/retry"):
            route.fulfill(response=answer)
        _section(first, "Models")
        expect(first.get_by_role("heading", name="No models yet")).to_be_visible()
        expect(first.get_by_test_id("messages")).not_to_contain_text("Left behind")
        _section(first, "Datasets")
        expect(first.get_by_test_id("upload-file")).to_be_attached()
        expect(first.get_by_test_id("import-report")).to_have_count(0)


def _section(page: Page, name: str) -> None:
    page.get_by_role("navigation").get_by_role("link", name=name).first.click()


def _import(page: Page, archive: Path) -> None:
    _section(page, "Datasets")
    page.get_by_test_id("upload-file").set_input_files(archive)
    page.get_by_test_id("upload-submit").click()
    expect(page.get_by_test_id("import-report")).to_be_visible(timeout=60_000)


def _held(page: Page, address: str) -> list[tuple[Route, APIResponse]]:
    """The server's answers to requests there; each reaches the page when its route is fulfilled."""
    held: list[tuple[Route, APIResponse]] = []
    page.route(address, lambda route: held.append((route, route.fetch())))
    return held


def test_times_are_the_server_s_however_wrong_this_computer_s_clock_is(
    browser: Browser, doors: dict[Role, Gateway], room: Room
) -> None:
    # While its trainer says nothing, the clock alone tells how long it has trained.
    job_id, _ = room.do(room.scenes.run("Timed by the server", steps=100))
    for hours in (0, 3, -3):
        with browser.new_context() as context:
            context.add_init_script(
                f"{_NO_SHARED_WORKER}; const real = Date.now; Date.now = () => real() + {hours} * 3600e3"
            )
            with open_page(context, f"{doors['mentor'].url}/#/models/{job_id}") as page:
                told = page.request.get(f"{doors['mentor'].url}/api/models/{job_id}").json()["model"]
                saved, since = told["stepping_seconds_before"], datetime.fromisoformat(told["running_since"])
                time = page.get_by_test_id("model-page").get_by_test_id("training-time").first
                expect(time).to_have_text(re.compile(r"^\d+:\d\d$"), timeout=SOON)
                minutes, seconds = map(int, time.inner_text().split(":"))
                trained = saved + (datetime.now(UTC) - since).total_seconds()
                # It ticks each second, and whole seconds are shown.
                assert 0 <= trained - (60 * minutes + seconds) < 3, f"{hours} hours off"


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
