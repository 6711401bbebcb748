"""Try it: a model that was really exported runs in the browser and finds what LiteRT finds in Python."""

from __future__ import annotations

import io
import multiprocessing
import re
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from PIL import Image
from playwright.sync_api import Browser, FilePayload, Locator, Page, expect

from services.cli.detect import Detection, Detector
from shared.runtime.auth import Role
from tests.integration.page.conftest import SOON
from tests.support.browser import found_by_axe, open_browser, open_page
from tests.support.engine_checks import export_untrained
from tests.support.records import drawn_frames, write_records
from tests.support.room import Gateway, Room

pytestmark = pytest.mark.timeout(240)

LABELS = ["Ball", "Cube"]
LOADED = 60_000
"""For program and model, in milliseconds: a busy machine takes its time to compile them."""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a trainer publishes it, with more files that no trainer makes: what a browser must refuse."""
    folder = tmp_path_factory.mktemp("tried")
    records = write_records(drawn_frames(8, seed=3), folder, "drawn", ["ball", "cube"], shards=1)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as tensorflow:
        tensorflow.submit(export_untrained, folder / "model", LABELS, records).result(timeout=200)
    model = folder / "model"
    _without_shapes(model / "float16.tflite", model / "old.tflite")
    (model / "text.tflite").write_text("This is no model.")
    (model / "broken.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(64))
    return model


@pytest.fixture(scope="module")
def tried(room: Room, exported: Path) -> str:
    """A model with those files."""
    return room.do(room.scenes.succeeded("Tried", exported), 120)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One that has a webcam: Chromium's own test pattern."""
    with open_browser("--use-fake-device-for-media-stream") as opened:
        yield opened


@pytest.fixture
def tab(page: Page, tried: str) -> Page:
    """The model's tab."""
    page.goto(f"{page.url.split('#')[0]}#/models/{tried}/try")
    expect(page.get_by_test_id("try-hint")).to_contain_text("the picture isn’t uploaded", timeout=SOON)
    return page


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    """Neither square nor as large as the model takes it."""
    drawn = Image.open(io.BytesIO(next(drawn_frames(1, seed=5)).encoded))
    return drawn.resize((640, 480), Image.Resampling.BICUBIC)


def _without_shapes(path: Path, copy: Path) -> None:
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    for output in model.subgraphs[0].outputs:
        model.subgraphs[0].tensors[output].shape = []
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    copy.write_bytes(bytes(builder.Output()))


def _payload(picture: Image.Image, name: str = "field.png") -> FilePayload:
    encoded = io.BytesIO()
    picture.save(encoded, "PNG")
    return {"name": name, "mimeType": "image/png", "buffer": encoded.getvalue()}


def _show(page: Page, picture: Image.Image) -> None:
    page.get_by_test_id("try-file").set_input_files(_payload(picture))
    expect(page.get_by_test_id("try-summary")).to_contain_text(re.compile(r"It took [\d,.]+ ms"), timeout=LOADED)


def _least(page: Page, score: float) -> None:
    page.get_by_test_id("try-threshold").fill(str(score))


def _rows(page: Page, picture: Image.Image) -> list[Detection]:
    found = []
    for row in page.get_by_test_id("try-row").all():
        label, score, box = row.get_by_role("cell").all_inner_texts()
        left, top, right, bottom = (float(edge) for edge in box.split(", "))
        edges = (left / picture.width, top / picture.height, right / picture.width, bottom / picture.height)
        found.append(Detection(label.strip(), float(score), edges))
    return found


def _iou(one: Detection, other: Detection) -> float:
    left, top = np.maximum(one.box[:2], other.box[:2])
    right, bottom = np.minimum(one.box[2:], other.box[2:])
    shared = max(0.0, right - left) * max(0.0, bottom - top)
    areas = sum((each.box[2] - each.box[0]) * (each.box[3] - each.box[1]) for each in (one, other))
    return float(shared / (areas - shared))


def _same(one: Detection, other: Detection) -> bool:
    return one.label == other.label and _iou(one, other) > 0.9 and abs(one.score - other.score) < 0.05


def _hint(page: Page) -> Locator:
    return page.get_by_test_id("try-hint")


def test_the_browser_finds_what_litert_finds_in_python(tab: Page, exported: Path, picture: Image.Image) -> None:
    expected = Detector(exported / "float16.tflite").detect(picture, least_score=0.5)
    _show(tab, picture)
    _least(tab, 0.5)
    found = _rows(tab, picture)
    for some, others in ((expected, found), (found, expected)):
        # What is near the threshold may be on either side of it.
        sure = [each for each in some if each.score >= 0.55]
        assert len(sure) >= 3, "the picture shows too little to compare anything"
        assert not [each for each in sure if not any(_same(each, other) for other in others)]
    expect(tab.get_by_test_id("try-it").get_by_test_id("box")).to_have_count(len(found))
    expect(tab.get_by_test_id("try-summary")).to_contain_text(f"{len(found)} of ")


def test_the_threshold_is_moved_with_the_keyboard(tab: Page, picture: Image.Image) -> None:
    _show(tab, picture)
    slider = tab.get_by_test_id("try-threshold")
    _least(tab, 0)
    rows = tab.get_by_test_id("try-row")
    before = rows.count()
    slider.focus()
    slider.press("End")
    expect(slider).to_have_attribute("aria-valuetext", "100 %")
    expect(rows).to_have_count(0)
    slider.press("Home")
    expect(rows).to_have_count(before)
    assert before > 10


def test_program_and_model_are_fetched_with_the_first_picture_and_no_picture_is_sent(
    tab: Page, picture: Image.Image
) -> None:
    asked: list[tuple[str, str, bytes | None]] = []
    tab.context.on("request", lambda request: asked.append((request.method, request.url, request.post_data_buffer)))
    before = tab.evaluate("performance.getEntriesByType('resource').map((each) => each.name)")
    assert not [address for address in before if "litert" in address or "download" in address]
    _show(tab, picture)
    origin = tab.url.split("#")[0]
    assert any("download?format=float16" in address for _, address, _ in asked)
    for method, address, body in asked:
        assert (method, body) == ("GET", None), address
        assert address.startswith((origin, f"blob:{origin}")), address


def test_a_picture_is_dropped_or_pasted_as_well(tab: Page, picture: Image.Image) -> None:
    payload = _payload(picture, "dropped.png")
    given = """([kind, bytes]) => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], "dropped.png", { type: "image/png" }));
        const target = document.querySelector(".upload");
        target.dispatchEvent(
            kind === "drop"
                ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
                : new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }),
        );
    }"""
    for kind, name in (("drop", "dropped.png"), ("paste", "pasted picture")):
        tab.evaluate(given, [kind, list(payload["buffer"])])
        expect(tab.get_by_role("img", name=f"The picture “{name}”")).to_be_visible(timeout=SOON)
        expect(tab.get_by_test_id("try-summary")).to_contain_text("It took", timeout=LOADED)


def test_what_is_no_picture_or_too_large_is_refused_and_the_last_one_stays(
    tab: Page, picture: Image.Image, tmp_path: Path
) -> None:
    _show(tab, picture)
    file = tab.get_by_test_id("try-file")
    file.set_input_files({"name": "notes.txt", "mimeType": "text/plain", "buffer": b"hello"})
    expect(_hint(tab)).to_have_text("“notes.txt” isn’t a picture that this browser can read.", timeout=SOON)
    expect(_hint(tab)).to_have_attribute("role", "alert")
    large = tmp_path / "large.png"
    with large.open("wb") as opened:
        opened.truncate(50_000_001)
    file.set_input_files(large)
    expect(_hint(tab)).to_contain_text("“large.png” has 50", timeout=SOON)
    wide = tmp_path / "wide.png"
    Image.new("1", (10_000, 5_001)).save(wide)
    file.set_input_files(wide)
    expect(_hint(tab)).to_contain_text("“wide.png” has 10,000 × 5,001 pixels; at most 50 million", timeout=LOADED)
    expect(tab.get_by_role("img", name="field.png")).to_be_visible()
    _show(tab, picture)
    expect(_hint(tab)).to_contain_text("isn’t uploaded")


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("text", "The server’s file isn’t a TFLite model."),
        ("old", "This file was made before models could be tried here."),
        ("broken", "This browser can’t run the model"),
    ],
)
def test_a_file_that_cant_be_run_says_so_and_another_one_can_be_chosen(
    tab: Page, picture: Image.Image, file: str, said: str
) -> None:
    _show(tab, picture)
    files = tab.get_by_role("group", name="File")
    files.get_by_role("button", name=file).click()
    expect(_hint(tab)).to_contain_text(said, timeout=LOADED)
    files.get_by_role("button", name="float16").click()
    expect(tab.get_by_test_id("try-summary")).to_contain_text("It took", timeout=LOADED)
    expect(_hint(tab)).to_contain_text("isn’t uploaded")


def test_a_file_that_is_gone_from_the_server_is_told_in_its_words(page: Page, room: Room, picture: Image.Image) -> None:
    gone = room.do(room.scenes.succeeded("Its files are gone"))
    page.goto(f"{page.url.split('#')[0]}#/models/{gone}/try")
    page.get_by_test_id("try-file").set_input_files(_payload(picture))
    expect(_hint(page)).to_contain_text("is not in the artifact store any more", timeout=SOON)
    page.route("**/download?*", lambda route: route.abort())
    page.get_by_role("group", name="File").get_by_role("button", name="float32").click()
    expect(_hint(page)).to_contain_text("The server can’t be reached", timeout=SOON)
    # The next picture is also the next try.
    page.unroute("**/download?*")
    page.get_by_test_id("try-file").set_input_files(_payload(picture))
    expect(_hint(page)).to_contain_text("is not in the artifact store any more", timeout=SOON)


def test_a_model_without_a_file_says_when_there_is_one(page: Page, room: Room) -> None:
    job_id, _ = room.do(room.scenes.run("Still runs", steps=100))
    page.goto(f"{page.url.split('#')[0]}#/models/{job_id}/try")
    said = page.get_by_role("paragraph").filter(has_text="The file is made when training ends.")
    expect(said).to_be_visible(timeout=SOON)
    expect(page.get_by_test_id("try-file")).to_have_count(0)


def test_the_webcam_once_it_is_allowed(browser: Browser, doors: dict[Role, Gateway], tried: str) -> None:
    address = f"{doors['viewer'].url}/#/models/{tried}/try"
    with browser.new_context() as context, open_page(context, address) as page:
        camera = page.get_by_test_id("try-camera")
        camera.click(timeout=SOON)
        expect(_hint(page)).to_contain_text("The webcam wasn’t allowed", timeout=SOON)
        context.grant_permissions(["camera"])
        camera.click()
        summary = page.get_by_test_id("try-summary")
        expect(summary).to_contain_text("It took", timeout=LOADED)
        expect(_hint(page)).to_contain_text("isn’t uploaded")
        _least(page, 0)
        expect(page.get_by_test_id("try-it").get_by_test_id("box").first).to_be_attached()
        # It goes on looking: the time that it takes differs from one look to the next.
        before = summary.inner_text()
        expect(summary).not_to_have_text(before, timeout=SOON)
        tracks = "document.querySelector('video').srcObject.getVideoTracks()[0]"
        page.evaluate(f"window.track = {tracks}")
        camera.click()
        expect(page.locator("video")).to_have_count(0)
        assert page.evaluate("window.track.readyState") == "ended"


def test_it_is_for_everybody_and_there_are_pictures(tab: Page, picture: Image.Image, shots: Path) -> None:
    _show(tab, picture)
    _least(tab, 0.9)
    for scheme in ("light", "dark"):
        tab.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        tab.screenshot(path=shots / f"try-{scheme}.png", full_page=True)
        assert not found_by_axe(tab)
    tab.set_viewport_size({"width": 390, "height": 844})
    tab.screenshot(path=shots / "try-phone.png", full_page=True)
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
