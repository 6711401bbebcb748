"""The page for everybody: axe finds nothing serious, keyboard alone suffices, nothing shifts, and pictures to look at."""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path
from typing import Literal
from urllib.parse import urljoin

import pytest
from playwright.sync_api import Browser, Page, expect

from shared.contract.jobs import JobState
from shared.runtime.auth import Role
from tests.integration.page.conftest import SOON
from tests.support.browser import SHIFTS, found_by_axe, open_page
from tests.support.room import Gateway, Room

Theme = Literal["light", "dark"]
_SIZES = {"phone": (390, 844), "laptop": (1280, 860), "wall": (1920, 1080)}
_PAGES = (
    "datasets",
    "dataset",
    "start",
    "models",
    "model-details",
    "model-graphs",
    "model-images",
    "model-export",
    "model-try",
    "model-failed",
    "team",
    "team/queue",
    "operators",
    "operators/queue",
    "operators/teams",
    "operators/announcements",
    "operators/audit",
)
# What may move while a page is loaded, as browsers measure it (0.1 is where they begin to call it bad): about a line of text
# that wraps on a phone once its figures are there. Below a list on a phone it is more, until the list's length is known.
_LARGEST_SHIFT = 0.01
_LARGEST_SHIFT_BELOW_A_LIST = {("phone", "operators/teams"): 0.1}
_THEMES: tuple[Theme, ...] = ("light", "dark")
# Notes which scripts SharedWorkers are made from.
_WORKERS = """
window.workers = [];
const Real = window.SharedWorker;
window.SharedWorker = function (url, options) {
  window.workers.push(String(url));
  return new Real(url, options);
};
"""


def _hash(name: str, states: dict[JobState, str], dataset: str) -> str:
    if name == "start":
        return f"#/start?datasets={dataset}"
    if name == "dataset":
        return f"#/datasets/{dataset}"
    if name == "model-failed":
        return f"#/models/{states[JobState.FAILED]}"
    if name.startswith("model-"):
        return f"#/models/{states[JobState.SUCCEEDED]}/{name.removeprefix('model-')}".removesuffix("/details")
    return f"#/{name}"


def _settled(page: Page) -> None:
    expect(page.get_by_test_id("connection")).to_contain_text("Live", timeout=SOON)
    expect(page.locator(".waiting")).to_have_count(0, timeout=SOON)
    page.wait_for_timeout(400)


def _put_on(page: Page, theme: Theme) -> None:
    # Otherwise colours fade into each other, and axe measures what it sees.
    page.emulate_media(color_scheme=theme, reduced_motion="reduce")


@pytest.mark.parametrize("size", _SIZES)
def test_on_every_page_nothing_shifts_or_overflows_axe_finds_nothing_serious_and_there_are_pictures(
    browser: Browser, doors: dict[Role, Gateway], room: Room, states: dict[JobState, str], shots: Path, size: str
) -> None:
    dataset = room.do(room.scenes.dataset("Field photos"))
    width, height = _SIZES[size]
    found: list[str] = []
    for name in _PAGES:
        with browser.new_context(viewport={"width": width, "height": height}) as context:
            context.add_init_script(SHIFTS)
            with open_page(context, f"{doors['admin'].url}/{_hash(name, states, dataset)}") as page:
                _settled(page)
                for theme in _THEMES:
                    _put_on(page, theme)
                    page.screenshot(path=shots / f"{name.replace('/', '-')}-{size}-{theme}.png")
                    wider = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
                    if wider > 0:
                        found.append(f"{name}, {theme}: {wider} pixels wider than a {size}")
                    if size == "laptop" or (size == "phone" and theme == "light"):
                        found += [f"{name}, {theme}: {problem}" for problem in found_by_axe(page)]
                if (shifts := page.evaluate("window.shifts"))["sum"] > _LARGEST_SHIFT_BELOW_A_LIST.get(
                    (size, name), _LARGEST_SHIFT
                ):
                    found.append(f"{name}: layout shifts of {shifts['sum']:.4f}: {shifts['moved']}")
    assert not found, "\n".join(found)


@pytest.mark.parametrize("role", ["admin"])
def test_the_header_fits_whatever_the_width(page: Page, states: dict[JobState, str]) -> None:
    for width in range(880, 1281, 40):
        page.set_viewport_size({"width": width, "height": 860})
        assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0, width


def test_keyboard_alone_chooses_a_model_asks_to_stop_it_and_keeps_it(page: Page, room: Room) -> None:
    job_id = room.do(room.scenes.queued("By keyboard"))
    page.get_by_role("navigation").get_by_role("link", name="Models").press("Enter")
    box = page.locator(f"[data-model-id='{job_id}']").get_by_role("checkbox").first
    box.focus()
    page.keyboard.press("Space")
    expect(box).to_be_checked()
    stop = page.get_by_test_id("stop-button")
    stop.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    assert page.evaluate("document.querySelector('dialog').contains(document.activeElement)")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(stop).to_be_focused()


def test_the_first_tab_stop_skips_to_the_content(page: Page) -> None:
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()


def test_a_change_of_state_is_spoken(page: Page, room: Room) -> None:
    job_id = room.do(room.scenes.queued("Spoken of"))
    expect(page.locator(f"[data-model-id='{job_id}']")).to_be_attached(timeout=SOON)

    async def stop() -> None:
        await room.platform.api("POST", f"/jobs/{job_id}/stop")

    room.do(stop())
    expect(page.locator(".sr[aria-live=polite]").last).to_contain_text("Spoken of: CANCELED", timeout=SOON)


def test_the_first_load_is_light(browser: Browser, doors: dict[Role, Gateway]) -> None:
    """Everything until the page is live, as it is sent: under 150 kB."""
    with browser.new_context() as context:
        context.add_init_script(_WORKERS)
        page = context.new_page()
        sizes: dict[str, int] = {}
        page.on("requestfinished", lambda request: sizes.update({request.url: request.sizes()["responseBodySize"]}))
        page.goto(doors["viewer"].url)
        expect(page.get_by_test_id("connection")).to_contain_text("Live", timeout=SOON)
        # Nobody tells a test what a SharedWorker loads: its script is asked for once more, as a browser does.
        (worker,) = page.evaluate("window.workers")
        request = urllib.request.Request(urljoin(page.url, worker), headers={"Accept-Encoding": "gzip"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.headers["Content-Encoding"] == "gzip"
            sizes[request.full_url] = len(answer.read())
        loaded = {url.rpartition("/")[2]: size for url, size in sizes.items() if "/api/" not in url}
        kinds = {re.sub(r"-[^.]*", "", name) for name in loaded}
        assert kinds >= {"", "index.css", "index.js", "inter.woff2", "theme.js", "worker.js"}, loaded
        assert sum(loaded.values()) < 150_000, loaded


def test_a_part_of_the_page_that_cannot_be_fetched_says_so(browser: Browser, doors: dict[Role, Gateway]) -> None:
    with browser.new_context() as context:
        context.route("**/assets/team-*.js", lambda route: route.abort())
        with open_page(context, f"{doors['viewer'].url}/#/team") as page:
            expect(page.get_by_role("alert")).to_contain_text("couldn’t be fetched", timeout=SOON)
            expect(page.get_by_role("button", name="Reload")).to_be_visible()
            assert found_by_axe(page) == []
            page.get_by_role("navigation").get_by_role("link", name="Datasets").click()
            expect(page.locator("h1")).to_have_text("Datasets")


@pytest.mark.parametrize("allowed", [True, False])
def test_code_is_copied_or_it_is_said_that_it_could_not_be(
    browser: Browser, doors: dict[Role, Gateway], states: dict[JobState, str], allowed: bool
) -> None:
    with browser.new_context(permissions=["clipboard-read", "clipboard-write"] if allowed else []) as context:
        if not allowed:  # as on a plain-HTTP address of a school's network
            context.add_init_script("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
        with open_page(context, f"{doors['viewer'].url}/#/models/{states[JobState.SUCCEEDED]}/export") as page:
            code = page.get_by_test_id("snippets")
            code.get_by_role("button", name="Copy").click()
            expect(code.locator(".copy")).to_have_text("Copied" if allowed else "Select and copy by hand")
            if allowed:
                assert "TfodProcessor" in page.evaluate("navigator.clipboard.readText()")
