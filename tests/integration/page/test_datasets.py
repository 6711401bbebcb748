"""Datasets: from a zip to its pictures, uploads that break and go on, and datasets that don't go together."""

from __future__ import annotations

import asyncio
import os
import re
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, Route, expect

from tests.integration.page.conftest import SOON
from tests.support.browser import found_by_axe, open_page
from tests.support.room import Gateway, Room
from tests.support.voc import annotation, frames, picture, write_zip

_IMPORT = 60_000
_SLOW = 500_000  # bytes a second: a file takes so long that there is a middle to break in, however busy the machine


@pytest.fixture
def door(room: Room) -> Gateway:
    """A member's page, of a team of the test's own."""
    return room.door("member", name="Mia", team=uuid.uuid4().hex[:8])


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser's own memory of uploads."""
    with browser.new_context(viewport={"width": 1280, "height": 860}) as opened:
        yield opened


def _live(page: Page) -> None:
    expect(page.get_by_test_id("connection")).to_contain_text("Live", timeout=30_000)


def _zip(folder: Path, *, filling: int = 0) -> Path:
    """24 pictures: 20 with a Ball or a Cube by turns, 4 without any; two files that are skipped; some incompressible rest."""
    files = frames(20, ("Ball", "Cube"))
    for number in range(4):
        files[f"images/nothing{number}.jpg"] = picture(100 + number)
        files[f"annotations/nothing{number}.xml"] = annotation(f"nothing{number}.jpg")
    files["images/lonely.jpg"] = picture(200)
    files["annotations/broken.xml"] = "<annotation"
    if filling:
        files["rest.bin"] = os.urandom(filling)
    return write_zip(folder / "Field photos.zip", files)


def _begin(page: Page, archive: Path, name: str) -> None:
    page.get_by_test_id("upload-file").set_input_files(archive)
    page.get_by_test_id("upload-name").fill(name)
    page.get_by_test_id("upload-submit").click()


def _drop(page: Page, *names: str) -> None:
    dropped = page.evaluate_handle(
        """names => {
          const data = new DataTransfer();
          for (const name of names) data.items.add(new File(['x'], name));
          return data;
        }""",
        list(names),
    )
    page.dispatch_event("h1", "dragover", {"dataTransfer": dropped})
    expect(page.locator(".upload.is-over")).to_be_visible()
    page.dispatch_event("h1", "drop", {"dataTransfer": dropped})
    expect(page.locator(".upload.is-over")).to_have_count(0)


def _slowly(context: BrowserContext, page: Page) -> Callable[[], None]:
    """Slow the page's network down; returns what ends that."""
    session = context.new_cdp_session(page)

    def send_at(speed: int) -> None:
        network = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": speed}
        session.send("Network.emulateNetworkConditions", network)

    send_at(_SLOW)
    return partial(send_at, -1)


def _percent(page: Page) -> int:
    return int(page.get_by_role("progressbar", name="Upload dataset").get_attribute("aria-valuenow") or 0)


def _partly_sent(page: Page) -> None:
    page.wait_for_function(
        "() => Number(document.querySelector('[data-testid=upload-progress] [role=progressbar]')?.ariaValueNow) >= 12",
        timeout=30_000,
    )
    assert _percent(page) < 90


def _cut(page: Page, door: Gateway) -> None:
    """Nothing more gets through, until the door starts again. A page that is closed is no longer slowed down and could send the
    rest in its last moment: the connection is cut before."""
    door.end()
    expect(page.get_by_test_id("upload-progress")).to_contain_text("The connection is broken", timeout=SOON)


class _Offsets:
    """Where each piece of an upload began, in bytes, and how many uploads there were."""

    def __init__(self, page: Page) -> None:
        self.pieces: list[int] = []
        self.begun = 0
        page.on("request", self._note)

    def _note(self, request: Request) -> None:
        if "/api/datasets/uploads" not in request.url:
            return
        if request.method == "PATCH":
            self.pieces.append(int(request.headers["upload-offset"]))
        self.begun += request.method == "POST"


def _imported(page: Page, name: str) -> None:
    expect(page.get_by_test_id("import-report")).to_contain_text(f"“{name}” is imported", timeout=_IMPORT)
    expect(page.get_by_test_id("dataset-row").filter(has_text=name)).to_have_count(1, timeout=SOON)


def _places(page: Page) -> list[int]:
    """Which pictures of the dataset the grid shows."""
    cells = page.get_by_test_id("picture").all()
    return [int(cell.get_attribute("data-index") or -1) for cell in cells]


def test_from_a_zip_to_one_picture_s_boxes(context: BrowserContext, door: Gateway, tmp_path: Path) -> None:
    with open_page(context, f"{door.url}/#/datasets") as page:
        _live(page)
        _begin(page, _zip(tmp_path), "Hall")
        _imported(page, "Hall")
        report = page.get_by_test_id("import-report")
        expect(report).to_contain_text("24 pictures with 20 boxes read")
        report.get_by_text("2 files skipped").click()
        assert found_by_axe(page) == []
        expect(report).to_contain_text("the XML can't be parsed")
        expect(report).to_contain_text("no XML describes the picture")
        row = page.get_by_test_id("dataset-row")
        expect(row).to_contain_text(re.compile(r"Ball\s*\d+ / \d+"))

        report.get_by_role("link", name="Look at it").click()
        expect(page.locator("h1")).to_have_text("Hall")
        found = page.get_by_test_id("found")
        expect(found).to_have_text("24 pictures", timeout=SOON)
        expect(page.get_by_test_id("picture")).to_have_count(24)
        expect(page.get_by_test_id("pictures").get_by_test_id("box")).to_have_count(20)
        # Every thumbnail is there, whatever its turn was.
        expect(page.locator(".cell img.is-here")).to_have_count(24, timeout=SOON)

        statistics = page.get_by_test_id("label-statistics")
        statistics.get_by_role("button", name="Ball").click()
        expect(found).to_have_text("10 pictures", timeout=SOON)
        for cell in page.get_by_test_id("picture").all():
            expect(cell).to_have_accessible_name(re.compile(r"Ball$"))
        pools = page.get_by_role("group", name="Pool")
        pools.get_by_role("button", name="Evaluation").click()
        expect(found).not_to_have_text("10 pictures", timeout=SOON)
        in_evaluation = int(found.inner_text().split()[0])
        assert "label=Ball&pool=eval" in page.url
        pools.get_by_role("button", name="Training").click()
        expect(found).to_have_text(f"{10 - in_evaluation} pictures", timeout=SOON)
        pools.get_by_role("button", name="All").click()
        page.get_by_test_id("label-filter").select_option("Without objects")
        expect(found).to_have_text("4 pictures", timeout=SOON)
        expect(page.get_by_test_id("pictures").get_by_test_id("box")).to_have_count(0)
        page.get_by_test_id("label-filter").select_option("All pictures")
        expect(found).to_have_text("24 pictures", timeout=SOON)
        assert _places(page) == list(range(24))


def test_one_picture_large_by_keyboard_alone(context: BrowserContext, door: Gateway, tmp_path: Path) -> None:
    with open_page(context, f"{door.url}/#/datasets") as page:
        _live(page)
        _begin(page, _zip(tmp_path), "Hall")
        _imported(page, "Hall")
        page.get_by_test_id("dataset-row").get_by_role("link", name="Hall").click()
        page.get_by_test_id("picture").nth(1).focus()
        page.keyboard.press("Enter")
        large, place = page.get_by_test_id("large-picture"), page.get_by_test_id("picture-place")
        expect(place).to_have_text("2 of 24")
        expect(page.locator(".picture-stage img").last).to_have_js_property("complete", True)
        assert page.locator(".picture-stage img").last.evaluate("image => image.naturalWidth") == 64
        expect(large.get_by_role("button", pressed=True)).to_have_count(0)
        page.keyboard.press("ArrowDown")
        expect(large.get_by_role("button", pressed=True)).to_contain_text("30 × 22 px")
        assert found_by_axe(page) == []
        page.keyboard.press("ArrowDown")
        expect(large.get_by_role("button", pressed=True)).to_have_count(0)
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("ArrowLeft")
        expect(place).to_have_text("1 of 24")
        page.keyboard.press("End")
        expect(place).to_have_text("24 of 24")
        expect(large.get_by_role("heading")).to_have_text("No objects")
        page.keyboard.press("Escape")
        expect(large).to_have_count(0)
        expect(page.get_by_test_id("picture").nth(23)).to_be_focused()


def test_an_upload_goes_on_by_itself_after_the_connection_broke(
    context: BrowserContext, door: Gateway, room: Room, tmp_path: Path
) -> None:
    with open_page(context, f"{door.url}/#/datasets") as page:
        _live(page)
        offsets = _Offsets(page)
        at_full_speed = _slowly(context, page)
        _begin(page, _zip(tmp_path, filling=8_000_000), "Through a tunnel")
        _partly_sent(page)
        assert found_by_axe(page) == []
        _cut(page, door)
        assert found_by_axe(page) == []
        # Meanwhile the rest of the page can be used; the upload outlives that, too.
        page.get_by_role("navigation").get_by_role("link", name="Models").click()
        at_full_speed()
        room.do(asyncio.to_thread(door.start))
        expect(page.get_by_test_id("messages")).to_contain_text("“Through a tunnel” is imported", timeout=_IMPORT)
        page.get_by_role("navigation").get_by_role("link", name="Datasets").click()
        _imported(page, "Through a tunnel")
        assert offsets.begun == 1
        assert offsets.pieces[0] == 0
        assert offsets.pieces[-1] > 300_000, "it began anew"
        # Nothing is left of it, here or there.
        page.get_by_role("button", name="Dismiss").first.click()
        expect(page.get_by_test_id("upload-file")).to_be_attached()
        assert page.evaluate("Object.keys(localStorage).filter(key => key.startsWith('tus::'))") == []


def test_after_a_reload_the_same_file_goes_on_and_another_does_not(
    context: BrowserContext, door: Gateway, room: Room, tmp_path: Path
) -> None:
    archive = _zip(tmp_path, filling=8_000_000)
    with open_page(context, f"{door.url}/#/datasets") as page:
        _live(page)
        _slowly(context, page)
        _begin(page, archive, "In two goes")
        _partly_sent(page)
        _cut(page, door)
    room.do(asyncio.to_thread(door.start))
    with open_page(context, f"{door.url}/#/datasets") as page:
        left = page.get_by_test_id("leftover")
        expect(left).to_contain_text("In two goes", timeout=SOON)
        expect(left).to_contain_text(re.compile(r"\d % of it is here"))
        assert found_by_axe(page) == []
        other = write_zip(tmp_path / "other.zip", frames(12))
        left.get_by_test_id("leftover-file").set_input_files(other)
        expect(page.get_by_test_id("messages")).to_contain_text("isn’t the file", timeout=SOON)
        offsets = _Offsets(page)
        left.get_by_test_id("leftover-file").set_input_files(archive)
        _imported(page, "In two goes")
        assert offsets.begun == 0
        assert len(offsets.pieces) == 1
        assert offsets.pieces[0] > 300_000


def test_what_was_sent_whole_is_imported_without_the_file(
    context: BrowserContext, door: Gateway, tmp_path: Path
) -> None:
    with open_page(context, f"{door.url}/#/datasets") as page:
        _live(page)
        # The page is closed just when all has been sent.
        held: list[Route] = []
        page.route(re.compile(r"/api/datasets\?upload="), lambda route: held.append(route))
        with page.expect_request(re.compile(r"/api/datasets\?upload=")):
            _begin(page, _zip(tmp_path), "All of it")
        progress, messages = page.get_by_test_id("upload-progress"), page.get_by_test_id("messages")
        expect(progress).to_contain_text("Reading and checking “All of it”")
        _drop(page, "Too early.zip")
        expect(messages).to_contain_text("“Too early.zip” wasn’t taken: “All of it” is still under way.")
        held[0].abort()
        expect(progress).to_contain_text("the server doesn’t answer", timeout=SOON)
        expect(progress.get_by_role("button", name="Cancel upload")).to_be_visible()
    with open_page(context, f"{door.url}/#/datasets") as page:
        left = page.get_by_test_id("leftover")
        expect(left).to_contain_text("All of it is here", timeout=SOON)
        left.get_by_role("button", name="Import now").click()
        _imported(page, "All of it")


def test_giving_up_leaves_nothing_while_it_is_sent_or_later(
    context: BrowserContext, door: Gateway, room: Room, tmp_path: Path
) -> None:
    archive = _zip(tmp_path, filling=8_000_000)
    with open_page(context, f"{door.url}/#/datasets") as page:
        _live(page)
        _slowly(context, page)
        _begin(page, archive, "Never mind")
        _partly_sent(page)
        with page.expect_response(lambda answer: answer.request.method == "DELETE" and answer.ok):
            page.get_by_test_id("upload-cancel").click()
        expect(page.get_by_text("Drop a zip here")).to_be_visible()
        _begin(page, archive, "Never mind")
        _partly_sent(page)
        _cut(page, door)
    room.do(asyncio.to_thread(door.start))
    with open_page(context, f"{door.url}/#/datasets") as page:
        expect(page.get_by_test_id("leftover")).to_have_count(1, timeout=SOON)
        page.get_by_role("button", name="Give up “Never mind”").click()
        expect(page.get_by_test_id("leftover")).to_have_count(0, timeout=SOON)
        assert page.evaluate("Object.keys(localStorage).filter(key => key.startsWith('tus::'))") == []
        expect(page.get_by_test_id("dataset-row")).to_have_count(0)


def test_a_refusal_stands_in_the_form_which_keeps_what_was_typed(
    context: BrowserContext, door: Gateway, tmp_path: Path
) -> None:
    no_zip = tmp_path / "photos.zip"
    no_zip.write_bytes(b"not a zip at all" * 100)
    with open_page(context, f"{door.url}/#/datasets") as page:
        _live(page)
        _begin(page, no_zip, "Broken")
        expect(page.get_by_test_id("upload-error")).to_contain_text("“photos.zip” wasn’t imported", timeout=SOON)
        assert found_by_axe(page) == []
        expect(page.get_by_test_id("upload-name")).to_have_value("Broken")
        page.get_by_role("button", name="Cancel").click()
        _begin(page, _zip(tmp_path), "N" * 200)
        wrong = page.get_by_test_id("upload-name")
        expect(wrong).to_have_attribute("aria-invalid", "true", timeout=SOON)
        assert found_by_axe(page) == []
        # The bytes are there already: only the name is sent again.
        offsets = _Offsets(page)
        wrong.fill("Right")
        page.get_by_test_id("upload-submit").click()
        _imported(page, "Right")
        assert (offsets.begun, offsets.pieces) == (0, [])


def test_an_import_that_fails_keeps_the_bytes_and_goes_on(
    context: BrowserContext, door: Gateway, tmp_path: Path
) -> None:
    importing = re.compile(r"/api/datasets\?upload=")
    with open_page(context, f"{door.url}/#/datasets") as page:
        _live(page)
        page.route(importing, lambda route: route.fulfill(status=500, body="no JSON at all"), times=1)
        _begin(page, _zip(tmp_path), "Second try")
        broken = page.get_by_test_id("upload-broken")
        expect(broken).to_contain_text("100 % of it has been sent", timeout=SOON)
        expect(broken).to_contain_text("HTTP 500")
        assert found_by_axe(page) == []
        offsets = _Offsets(page)
        page.get_by_test_id("upload-again").click()
        _imported(page, "Second try")
        assert (offsets.begun, offsets.pieces) == (0, [])


def test_a_team_with_too_many_uploads_is_told_at_once(context: BrowserContext, door: Gateway, tmp_path: Path) -> None:
    begin = """async () => {
      const headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "10"};
      for (let count = 0; count < 4; count++) await fetch("/api/datasets/uploads", {method: "POST", headers});
    }"""
    with open_page(context, f"{door.url}/#/datasets") as page:
        _live(page)
        page.evaluate(begin)
        _begin(page, _zip(tmp_path), "One too many")
        expect(page.get_by_test_id("upload-error")).to_contain_text("4 uploads under way", timeout=SOON)


def test_a_dropped_file_is_taken_wherever_it_falls(context: BrowserContext, door: Gateway) -> None:
    with open_page(context, f"{door.url}/#/datasets") as page:
        _live(page)
        _drop(page, "Gym.zip")
        expect(page.get_by_test_id("upload-name")).to_have_value("Gym")
        _drop(page, "notes.txt", "Hall.zip", "Yard.zip")
        expect(page.get_by_test_id("upload-name")).to_have_value("Hall")
        expect(page.get_by_test_id("messages")).to_contain_text("Only “Hall.zip” was taken: it is one zip at a time.")
        assert found_by_axe(page) == []


def test_the_button_says_which_labels_differ_in_which_dataset(
    context: BrowserContext, door: Gateway, tmp_path: Path
) -> None:
    with open_page(context, f"{door.url}/#/datasets") as page:
        _live(page)
        for name, labels in (
            ("First", ("Ball", "Cube")),
            ("Second", ("Ball", "Cube")),
            ("Third", ("ball", "Cube", "Cone")),
        ):
            _begin(page, write_zip(tmp_path / f"{name}.zip", frames(24, labels)), name)
            _imported(page, name)
            page.get_by_role("button", name="Dismiss").first.click()
        start, reason = page.get_by_test_id("start-training"), page.get_by_test_id("start-reason")
        page.get_by_label("Select First", exact=True).check()
        page.get_by_label("Select Second", exact=True).check()
        expect(start).to_be_enabled(timeout=SOON)
        expect(reason).to_contain_text("2 datasets selected")
        page.get_by_label("Select Third", exact=True).check()
        expect(reason).to_contain_text("“Third” lacks “Ball” and has in addition “Cone”, “ball”.", timeout=SOON)
        expect(reason).not_to_contain_text("“First”")
        assert found_by_axe(page) == []
        expect(start).to_be_disabled()
        page.get_by_label("Select Third", exact=True).uncheck()
        expect(start).to_be_enabled(timeout=SOON)


def test_a_dataset_in_use_says_by_what_and_one_that_is_gone_says_so(page: Page, room: Room) -> None:
    room.do(room.scenes.queued("Uses the photos"))
    page.goto(page.url.split("#")[0] + "#/datasets")
    row = page.get_by_test_id("dataset-row").filter(has_text="Field photos")
    expect(row.locator(".used-by")).to_contain_text(re.compile("Uses the photos|and \\d+ more"), timeout=SOON)
    delete = row.get_by_role("button", name="Delete dataset Field photos")
    expect(delete).to_have_attribute("aria-disabled", "true")
    expect(delete).to_have_accessible_description(re.compile("^Used by “"))
    page.goto(page.url.split("#")[0] + "#/datasets/nobody-knows")
    expect(page.locator("h1")).to_have_text("There is no such dataset", timeout=SOON)


def test_of_thousands_of_pictures_only_those_in_sight_are_fetched(
    context: BrowserContext, door: Gateway, tmp_path: Path
) -> None:
    files = frames(1500, ("Ball",))
    with open_page(context, f"{door.url}/#/datasets") as page:
        _live(page)
        _begin(page, write_zip(tmp_path / "many.zip", files), "Season")
        _imported(page, "Season")
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url) if "/pictures" in request.url else None)
        page.get_by_test_id("dataset-row").get_by_role("link", name="Season").click()
        expect(page.get_by_test_id("found")).to_have_text("1,500 pictures", timeout=SOON)
        expect(page.locator(".cell img.is-here").first).to_be_visible(timeout=SOON)
        height = page.evaluate("document.documentElement.scrollHeight")
        page.evaluate("window.scrollTo(0, document.documentElement.scrollHeight)")
        expect(page.locator("[data-place='1499'] img")).to_have_class("is-here", timeout=SOON)
        assert page.get_by_test_id("picture").count() < 100
        assert page.evaluate("document.documentElement.scrollHeight") == height, "the page has jumped"
        ranges = [url for url in asked if "pictures?" in url]
        assert len(ranges) <= 4
        assert len(asked) < 200
