"""The Images tab of a model's page: pictures from the artifact store, boxes at each checkpoint, and how they compare."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Locator, Page, Request, expect

from shared.contract.jobs import JobState
from shared.runtime.auth import Role
from tests.integration.page.conftest import SOON
from tests.support.browser import found_by_axe, open_page
from tests.support.room import Gateway, Room
from tests.support.scheduling import ScriptedTrainer


@pytest.fixture(scope="module")
def learning(room: Room) -> tuple[str, ScriptedTrainer]:
    """A model that is RUNNING, with predictions of steps 100 and 200."""
    return room.do(room.scenes.run("Learns to see", steps=200, pictured=True))


@pytest.fixture
def images(page: Page, doors: dict[Role, Gateway], learning: tuple[str, ScriptedTrainer]) -> Page:
    """Its Images tab."""
    return _opened(page, doors, learning[0])


def _opened(page: Page, doors: dict[Role, Gateway], job_id: str) -> Page:
    page.goto(f"{doors['mentor'].url}/#/models/{job_id}/images")
    expect(page.get_by_test_id("picture")).to_have_count(12, timeout=SOON)
    return page


def _order(page: Page) -> list[int]:
    return [int(one.get_attribute("data-number") or "") for one in page.get_by_test_id("picture").all()]


def _step(page: Page, step: str) -> None:
    """The slider tells this step, and what is shown is of it."""
    expect(page.get_by_test_id("shown-step").first).to_have_text(step, timeout=SOON)
    expect(page.locator("[aria-busy=true]")).to_have_count(0, timeout=SOON)


def _errors(page: Page, number: int) -> Locator:
    return page.locator(f"[data-testid=picture][data-number='{number}']").get_by_test_id("picture-errors")


def _counts(page: Page) -> list[list[str]]:
    """The matrix row by row."""
    rows = page.get_by_test_id("matrix").locator("tbody tr").all()
    return [row.locator("td").all_inner_texts() for row in rows]


def test_pictures_have_their_boxes_and_the_worst_come_first(images: Page) -> None:
    _step(images, "200")
    assert _order(images)[:5] == [3, 11, 5, 7, 0]
    expect(_errors(images, 3)).to_have_text("1 missed · 1 wrong")
    expect(_errors(images, 11)).to_have_text("2 wrong")
    expect(_errors(images, 7)).to_have_text("1 missed")
    expect(_errors(images, 1)).to_have_text("all found")
    expect(_errors(images, 0)).to_have_text("nothing there")
    sides = images.locator("[data-testid=picture][data-number='3'] .boxed")
    expect(sides).to_have_count(2)
    expect(sides.nth(0).get_by_test_id("box")).to_have_count(2)
    expect(sides.nth(1).get_by_test_id("box")).to_have_count(2)
    expect(sides.nth(1).locator(".box-tag")).to_have_text(["0.73", "✕ 0.73"])
    loaded = "image => image.complete && image.naturalWidth"
    assert sides.nth(0).locator("img").evaluate(loaded) == 640
    images.get_by_role("button", name="As evaluated").click()
    assert _order(images) == list(range(12))
    images.get_by_role("button", name="Overlaid").click()
    expect(sides).to_have_count(1)
    expect(sides.first.get_by_test_id("box")).to_have_count(4)
    expect(sides.first.locator(".box-shape.is-truth")).to_have_count(2)


def test_boxes_lie_where_the_objects_are(images: Page) -> None:
    """Picture 2's ball has xmin 0.13, ymin 0.34, a width of 0.1875 and a height of 0.25."""
    boxed = images.locator("[data-testid=picture][data-number='2'] .boxed").first
    picture, box = boxed.bounding_box(), boxed.locator(".box-line").bounding_box()
    assert picture is not None
    assert box is not None
    assert picture["width"] / picture["height"] == pytest.approx(640 / 480, rel=0.02)
    places = (
        (box["x"] - picture["x"]) / picture["width"],
        (box["y"] - picture["y"]) / picture["height"],
        box["width"] / picture["width"],
        box["height"] / picture["height"],
    )
    assert places == pytest.approx((0.13, 0.34, 0.1875, 0.25), abs=0.02)  # of which 3 px are the line


def test_the_slider_and_the_graph_choose_the_same_checkpoint(images: Page) -> None:
    slider = images.get_by_test_id("checkpoint-slider")
    asked: list[str] = []

    def heard(request: Request) -> None:
        if re.search(r"/predictions/\d+$", request.url):
            asked.append(request.url.rpartition("/")[2])

    images.on("request", heard)
    slider.focus()
    images.keyboard.press("ArrowLeft")
    _step(images, "100")
    expect(_errors(images, 3)).to_have_text("2 missed")
    # At 200 of 600 steps the point is at a third of the plot, at 100 at a sixth.
    plot = images.locator(".image-figures .u-over")
    size = plot.bounding_box()
    assert size is not None
    plot.click(position={"x": size["width"] / 3, "y": size["height"] / 2})
    _step(images, "200")
    expect(slider).to_have_value("1")
    expect(_errors(images, 3)).to_have_text("1 missed · 1 wrong")
    plot.click(position={"x": size["width"] / 6, "y": size["height"] / 2})
    _step(images, "100")
    expect(slider).to_have_attribute("aria-valuetext", "Step 100, 1 of 2")
    assert asked == ["100"], "what is known is asked for again"


def test_the_threshold_decides_what_counts(images: Page) -> None:
    score = images.get_by_test_id("score-slider")
    score.fill("0.6")
    expect(_errors(images, 11)).to_have_text("all found")
    assert _order(images)[:4] == [3, 5, 7, 0]
    assert _counts(images) == [["7", "0", "1"], ["1", "5", "0"], ["1", "0", "–"]]
    score.fill("0.9")
    expect(images.locator(".tile .side:last-child .box-shape")).to_have_count(0)
    assert _counts(images) == [["0", "0", "8"], ["0", "0", "6"], ["0", "0", "–"]]
    row = images.get_by_test_id("label-figures").locator("tbody tr").first.locator("td")
    expect(row).to_have_text(["8", "–", "0 %", re.compile(r"0\.\d{3}")])


def test_the_matrix_counts_and_its_cells_choose_pictures(images: Page) -> None:
    _step(images, "200")
    assert _counts(images) == [["7", "0", "1"], ["1", "5", "0"], ["2", "1", "–"]]
    rows = images.get_by_test_id("label-figures").locator("tbody tr")
    # Of ten balls found seven are, of eight there are seven were found; its AP is a metric of the checkpoint.
    expect(rows.nth(0).locator("td")).to_have_text(["8", "70 %", "88 %", re.compile(r"0\.\d{3}")])
    expect(rows.nth(1).locator("td")).to_have_text(["6", "83 %", "83 %", re.compile(r"0\.\d{3}")])
    count = images.get_by_test_id("pictures-count")
    cell = images.get_by_role("button", name="Cube found as Ball: 1")
    cell.click()
    expect(count).to_have_text("Cube found as Ball: 1 of 12 pictures")
    assert _order(images) == [3]
    images.get_by_role("button", name="Ball found where nothing is: 2").click()
    expect(count).to_have_text("Ball found where nothing is: 2 of 12 pictures")
    assert _order(images) == [11, 5]
    images.get_by_test_id("score-slider").fill("0.65")
    expect(images.get_by_text("No picture shows that at this checkpoint and score.")).to_be_visible()
    images.get_by_role("button", name="Show all pictures").click()
    expect(images.get_by_test_id("picture")).to_have_count(12)


def test_a_new_checkpoint_appears_and_is_shown_to_who_looks_at_the_latest(
    page: Page, doors: dict[Role, Gateway], room: Room
) -> None:
    job_id, trainer = room.do(room.scenes.run("Goes on learning", steps=200, pictured=True))
    images = _opened(page, doors, job_id)
    _step(images, "200")
    room.do(room.scenes.pictured(trainer, job_id, 300))
    _step(images, "300")
    expect(_errors(images, 11)).to_have_text("all found")
    assert _order(images)[:2] == [3, 0]
    images.get_by_test_id("checkpoint-slider").press("Home")
    _step(images, "100")
    room.do(room.scenes.pictured(trainer, job_id, 400))
    expect(images.get_by_test_id("checkpoint-slider")).to_have_attribute("max", "3", timeout=SOON)
    _step(images, "100")
    images.get_by_role("button", name="Latest").click()
    _step(images, "400")


def test_a_picture_is_enlarged_and_arrows_lead_on(images: Page) -> None:
    first = images.get_by_test_id("picture").first
    first.focus()
    images.keyboard.press("ArrowRight")
    images.keyboard.press("ArrowLeft")
    expect(first).to_be_focused()
    images.keyboard.press("Enter")
    dialog, large = images.get_by_role("dialog"), images.get_by_test_id("large-picture")
    expect(large).to_have_attribute("data-number", "3")
    expect(dialog.get_by_role("list", name="Boxes")).to_contain_text("Cube taken for Ball, score 0.73")
    for key, number in (("ArrowRight", "11"), ("ArrowRight", "5"), ("ArrowLeft", "11")):
        images.keyboard.press(key)
        expect(large).to_have_attribute("data-number", number)
    expect(dialog).to_contain_text("2 of 12")
    # Arrows at a slider move that, and the picture stays though it is no longer among the worst.
    dialog.get_by_test_id("score-slider").fill("0.6")
    expect(dialog.get_by_test_id("picture-errors")).to_have_text("all found")
    assert found_by_axe(images) == []
    dialog.get_by_test_id("checkpoint-slider").press("ArrowLeft")
    expect(dialog.get_by_test_id("shown-step")).to_have_text("100")
    expect(large).to_have_attribute("data-number", "11")
    images.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(first).to_be_focused()


def test_while_there_are_none_it_says_when_the_first_is_due(page: Page, doors: dict[Role, Gateway], room: Room) -> None:
    job_id, trainer = room.do(room.scenes.run("Sees nothing yet"))
    page.goto(f"{doors['mentor'].url}/#/models/{job_id}/images")
    sentence = page.get_by_test_id("no-pictures")
    expect(sentence).to_have_text(
        "The first pictures come with the checkpoint at step 100, once it trains.", timeout=SOON
    )
    room.do(room.scenes.progress(trainer, job_id, 40))
    expect(sentence).to_have_text(
        "The first pictures come with the checkpoint at step 100, in under a minute.", timeout=SOON
    )
    room.do(room.scenes.checkpoint(trainer, job_id, 100))
    expect(sentence).to_contain_text("Its checkpoints so far have no pictures.", timeout=SOON)
    expect(sentence).to_contain_text("step 200")
    room.do(room.scenes.pictured(trainer, job_id, 200))
    expect(page.get_by_test_id("picture")).to_have_count(12, timeout=SOON)
    expect(page.get_by_test_id("checkpoint-slider")).to_be_disabled()


def test_a_model_without_pictures_says_why(page: Page, doors: dict[Role, Gateway], states: dict[JobState, str]) -> None:
    for state, words in ((JobState.STOPPED, "from before that was done"), (JobState.CANCELED, "made no checkpoint")):
        page.goto(f"{doors['mentor'].url}/#/models/{states[state]}/images")
        expect(page.get_by_test_id("no-pictures")).to_contain_text(words, timeout=SOON)


def test_what_cannot_be_fetched_is_said_and_asked_for_again(images: Page) -> None:
    images.route("**/predictions/100", lambda route: route.abort())
    slider = images.get_by_test_id("checkpoint-slider")
    slider.press("Home")
    alert = images.get_by_role("alert")
    expect(alert).to_contain_text("What it found couldn’t be fetched", timeout=SOON)
    assert found_by_axe(images) == []
    images.unroute("**/predictions/100")
    alert.get_by_role("button", name="Try again").click()
    _step(images, "100")
    expect(alert).to_have_count(0)


def test_each_label_has_a_graph_of_its_own(page: Page, doors: dict[Role, Gateway], states: dict[JobState, str]) -> None:
    page.goto(f"{doors['mentor'].url}/#/models/{states[JobState.SUCCEEDED]}/graphs")
    expect(page.get_by_test_id("graphs-label").locator(".chart h2")).to_have_text(["Ball", "Cube"], timeout=SOON)


@pytest.mark.parametrize("size", [(390, 844), (1280, 860), (1920, 1080)], ids=["phone", "laptop", "wall"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pictures_for_people(
    browser: Browser,
    doors: dict[Role, Gateway],
    learning: tuple[str, ScriptedTrainer],
    shots: Path,
    size: tuple[int, int],
    scheme: Literal["light", "dark"],
) -> None:
    width, height = size
    with (
        browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme) as context,
        open_page(context, f"{doors['mentor'].url}/#/models/{learning[0]}/images") as page,
    ):
        expect(page.get_by_test_id("picture")).to_have_count(12, timeout=SOON)
        page.wait_for_timeout(400)
        page.screenshot(path=shots / f"images-{width}-{scheme}.png")
        page.get_by_test_id("picture").nth(5).scroll_into_view_if_needed()
        page.wait_for_timeout(400)
        page.screenshot(path=shots / f"images-grid-{width}-{scheme}.png")
        assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
        page.get_by_test_id("picture").nth(1).click()
        expect(page.get_by_role("dialog")).to_be_visible()
        page.wait_for_timeout(400)
        page.screenshot(path=shots / f"images-large-{width}-{scheme}.png")
        if size == (390, 844):
            assert found_by_axe(page) == []
