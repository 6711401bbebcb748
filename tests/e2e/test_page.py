"""The page in headless Chromium, on the real stack: all that a student sees from the upload to a model that runs, without a
reload."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import UserStack
from tests.support.browser import PICTURES, open_browser, open_page

_SOON, _TRAINING = 10_000, 240_000

pytestmark = pytest.mark.timeout(480)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium."""
    with open_browser() as opened:
        yield opened


@pytest.fixture
def page(browser: Browser, stack: UserStack) -> Iterator[Page]:
    """A page at the gateway."""
    with browser.new_context(viewport={"width": 1280, "height": 860}) as context, open_page(context, stack.url) as page:
        yield page


def _section(page: Page, name: str) -> None:
    page.get_by_role("navigation").get_by_role("link", name=name).click()


def test_from_upload_to_a_stopped_training_without_a_reload(page: Page, stack: UserStack, tmp_path: Path) -> None:
    PICTURES.mkdir(exist_ok=True)
    archive = tmp_path / "field.zip"
    stack.cli("sample", str(archive), "--pictures", "120")
    expect(page.get_by_test_id("connection")).to_contain_text("Live", timeout=_SOON)

    _section(page, "Datasets")
    page.get_by_test_id("upload-file").set_input_files(archive)
    page.get_by_test_id("upload-name").fill("Field photos")
    page.get_by_test_id("upload-submit").click()
    row = page.get_by_test_id("dataset-row").filter(has_text="Field photos")
    expect(row).to_be_visible(timeout=60_000)
    expect(page.get_by_test_id("import-report")).to_contain_text("120")
    _look_into_the_dataset(page)

    _section(page, "Datasets")
    start = page.get_by_test_id("start-training")
    expect(start).to_be_disabled()
    row.get_by_role("checkbox").check()
    expect(start).to_be_enabled()
    start.click()
    expect(page.get_by_test_id("plan-sentences")).to_contain_text("training pictures", timeout=_SOON)
    page.get_by_test_id("description").fill("PageModel")
    page.get_by_test_id("steps").fill("9")
    page.get_by_test_id("start-submit").click()
    expect(page.get_by_text("The number of steps must be from 10")).to_be_visible(timeout=_SOON)
    page.get_by_test_id("steps").fill("600")
    page.get_by_test_id("max-minutes").fill("12")
    page.screenshot(path=PICTURES / "start-training.png")
    page.get_by_test_id("start-submit").click()

    model = page.get_by_test_id("model-row").filter(has_text="PageModel")
    state = model.get_by_test_id("job-state")
    expect(state).to_be_visible(timeout=_SOON)
    # Nothing stays grey: the rest of the page can be used at once.
    _section(page, "Datasets")
    expect(page.get_by_test_id("dataset-row").first).to_be_visible()
    _section(page, "Models")

    expect(state).to_have_attribute("data-state", "RUNNING", timeout=_TRAINING)
    before = model.get_by_test_id("training-time").inner_text()
    expect(model.get_by_test_id("training-time")).not_to_have_text(before, timeout=_SOON)
    expect(model.get_by_test_id("steps-completed")).not_to_have_text("0", timeout=_SOON)
    left = page.get_by_test_id("minutes-left")
    reserved = int(left.get_attribute("data-seconds") or 0)

    model.get_by_role("link", name="PageModel").click()
    detail = page.get_by_test_id("model-page")
    tabs = detail.get_by_role("navigation")
    tabs.get_by_role("link", name="Graphs").click()
    expect(detail.get_by_test_id("metrics")).to_contain_text("DetectionBoxes_Precision/mAP", timeout=_TRAINING)
    page.screenshot(path=PICTURES / "model-graphs.png", full_page=True)
    tabs.get_by_role("link", name="Images").click()
    _look_at_what_it_finds(page)
    tabs.get_by_role("link", name="Details").click()
    page.screenshot(path=PICTURES / "model-running.png", full_page=True)
    detail.get_by_test_id("stop-button").click()
    page.get_by_test_id("confirm-button").click()
    expect(detail.get_by_test_id("job-state")).to_have_attribute("data-state", "STOPPED", timeout=_TRAINING)
    # Every step that was made is kept, and charged to the second.
    stopped = next(model for model in stack.cli_json("models")["models"] if model["description"] == "PageModel")
    assert stopped["steps_completed"] == stopped["checkpoint"]["step"] >= 10
    assert stopped["used_seconds"] == int(stopped["checkpoint"]["stepping_seconds"])
    # What was not used came back: of 12 minutes at least ten.
    page.wait_for_function(
        "least => Number(document.querySelector('[data-testid=minutes-left]').dataset.seconds) >= least",
        arg=reserved + 600,
        timeout=_SOON,
    )
    _look_at_the_statement(page, stopped["used_seconds"])
    page.go_back()
    tabs.get_by_role("link", name="Export").click()
    with page.expect_download(timeout=_SOON) as download:
        detail.get_by_test_id("download-file").first.click()
    saved = tmp_path / download.value.suggested_filename
    download.value.save_as(saved)
    assert saved.name == "PageModel-float32.tflite"
    assert saved.read_bytes()[4:8] == b"TFL3"
    picture = _run_the_code_that_the_page_gives(page, archive, tmp_path)
    tabs.get_by_role("link", name="Try it").click()
    page.get_by_test_id("try-file").set_input_files(picture)
    expect(page.get_by_test_id("try-summary")).to_contain_text(re.compile(r"It took [\d,.]+ ms"), timeout=60_000)
    page.get_by_test_id("try-threshold").fill("0")
    expect(page.get_by_test_id("try-row").first).to_be_visible()
    page.screenshot(path=PICTURES / "model-try-trained.png", full_page=True)
    _section(page, "Models")
    page.screenshot(path=PICTURES / "models.png")


def _look_into_the_dataset(page: Page) -> None:
    """From the import's report to the pictures with their boxes, and the counts beside them."""
    page.get_by_test_id("import-report").get_by_role("link", name="Look at it").click()
    expect(page.get_by_test_id("found")).to_have_text("120 pictures", timeout=_SOON)
    expect(page.get_by_test_id("pictures").get_by_test_id("box").first).to_be_visible()
    expect(page.locator(".cell img.is-here").first).to_be_visible(timeout=_SOON)
    statistics = page.get_by_test_id("label-statistics")
    pictures = statistics.locator("tfoot tr").last.locator("td")
    expect(pictures).to_have_count(2)
    assert sum(int(pool) for pool in pictures.all_inner_texts()) == 120


def _look_at_what_it_finds(page: Page) -> None:
    """The evaluation pictures of a model that trains, with the truth and what it found at its first checkpoints."""
    pictures = page.get_by_test_id("picture")
    expect(pictures.first).to_be_visible(timeout=_SOON)
    expect(page.get_by_test_id("job-state").first).to_have_attribute("data-state", "RUNNING")
    sides = pictures.first.locator(".boxed")
    expect(sides).to_have_count(2)
    loaded = "image => image.complete && image.naturalWidth > 0"
    page.wait_for_function(loaded, arg=sides.first.locator("img").element_handle(), timeout=_SOON)
    # The worst comes first: something is there.
    expect(sides.first.get_by_test_id("box").first).to_be_attached()
    expect(page.get_by_test_id("matrix")).to_be_visible()
    page.screenshot(path=PICTURES / "model-images-training.png", full_page=True)


def _look_at_the_statement(page: Page, used_seconds: int) -> None:
    """The minutes of PageModel on the Team page: reserved, given back, and the seconds that were used."""
    _section(page, "Team")
    lines = page.get_by_test_id("ledger").locator("tbody tr").filter(has_text="PageModel")
    expect(lines).to_have_count(3, timeout=_SOON)
    # Newest first.
    used, back, reserved = (line.locator("td").nth(2).inner_text() for line in lines.all())
    assert (reserved, back) == ("\u221212:00", "+12:00")
    assert used == f"\u2212{used_seconds // 60}:{used_seconds % 60:02}"


def _run_the_code_that_the_page_gives(page: Page, archive: Path, folder: Path) -> Path:
    """The Python code beside the downloaded file, on a picture of the dataset; that picture."""
    with zipfile.ZipFile(archive) as pictures:
        name = next(name for name in pictures.namelist() if name.endswith(".jpg"))
        (folder / "picture.jpg").write_bytes(pictures.read(name))
    page.get_by_test_id("snippets").get_by_role("button", name="Python").click()
    (folder / "detect.py").write_text(page.get_by_test_id("snippets").locator("pre").text_content() or "")
    command = [sys.executable, "detect.py", "picture.jpg"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "picture.jpg"


def test_the_page_survives_the_death_of_the_service_that_feeds_it(
    page: Page, browser: Browser, stack: UserStack
) -> None:
    other = browser.new_page()
    other.goto(stack.url)
    ended = next(model for model in stack.cli_json("models")["models"] if model["description"] == "PageModel")
    for tab in (page, other):
        expect(tab.get_by_test_id("connection")).to_contain_text("Live", timeout=_SOON)
        expect(tab.locator(f"[data-model-id='{ended['id']}']")).to_be_visible()
    stack.service("status").kill()
    expect(page.get_by_test_id("connection")).not_to_contain_text("Live", timeout=_SOON)
    stack.cli("delete", ended["id"], "--yes")
    for tab in (page, other):
        expect(tab.get_by_test_id("connection")).to_contain_text("Live", timeout=30_000)
        expect(tab.locator(f"[data-model-id='{ended['id']}']")).to_have_count(0, timeout=_SOON)
    other.close()
