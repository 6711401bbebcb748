"""What people do with models: more training, stop, delete, retry, approve; and why they can't, where they can't."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from shared.runtime.auth import Role
from tests.integration.page.conftest import SOON
from tests.support.browser import found_by_axe, open_page
from tests.support.room import Gateway, Room


def _row(page: Page, job_id: str) -> Locator:
    return page.locator(f"[data-model-id='{job_id}']")


def _models(page: Page) -> None:
    page.get_by_role("navigation").get_by_role("link", name="Models").click()


def _choose(page: Page, *job_ids: str) -> None:
    for job_id in job_ids:
        _row(page, job_id).get_by_role("checkbox", name=re.compile("^Select ")).check()


def test_more_training_goes_on_from_a_finished_model(page: Page, room: Room) -> None:
    parent = room.do(room.scenes.succeeded("Grandparent"))
    child = room.do(room.scenes.more(parent, "Parent"))
    _models(page)
    _choose(page, parent)
    delete = page.get_by_test_id("delete-button")
    expect(delete).to_have_attribute("aria-disabled", "true")
    expect(page.get_by_text("“Parent” was trained on from it")).to_be_attached()

    page.get_by_test_id("more-button").click()
    expect(page.locator("h1")).to_have_text("More Training")
    expect(page.get_by_test_id("plan-sentences")).to_contain_text("32 training pictures", timeout=SOON)
    page.get_by_test_id("description").fill("Other child")
    page.get_by_test_id("steps").fill("300")
    page.get_by_test_id("start-submit").click()
    other = page.get_by_test_id("model-row").filter(has_text="Other child")
    expect(other.get_by_test_id("job-state")).to_be_visible(timeout=SOON)

    _row(page, child).get_by_role("link").first.click()
    lineage = page.get_by_test_id("lineage")
    expect(lineage.get_by_role("link", name="Grandparent")).to_be_visible()
    lineage.get_by_role("link", name="Grandparent").click()
    expect(page.locator("h1")).to_have_text("Grandparent")
    expect(lineage.get_by_role("link", name="Parent", exact=True)).to_be_visible()
    expect(lineage.get_by_role("link", name="Other child")).to_be_visible()


def test_several_are_stopped_at_once_after_a_question(page: Page, room: Room) -> None:
    jobs = [room.do(room.scenes.queued(name)) for name in ("Left waiting", "Right waiting")]
    _models(page)
    _choose(page, *jobs)
    expect(page.get_by_test_id("more-button")).to_have_attribute("aria-disabled", "true")
    page.get_by_test_id("stop-button").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("it costs nothing")
    assert found_by_axe(page) == []
    page.get_by_test_id("confirm-button").click()
    for job_id in jobs:
        expect(_row(page, job_id).get_by_test_id("job-state")).to_have_attribute("data-state", "CANCELED", timeout=SOON)
    # Both are selected still: now they can be deleted.
    page.get_by_test_id("delete-button").click()
    page.get_by_test_id("confirm-button").click()
    for job_id in jobs:
        expect(_row(page, job_id)).to_have_count(0, timeout=SOON)


def test_a_reason_is_whole_in_the_window_at_every_width(page: Page, room: Room, shots: Path) -> None:
    job_id = room.do(room.scenes.queued("Explained"))
    _models(page)
    _choose(page, job_id)
    reasons = page.get_by_role("tooltip")
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 860})
        for button in page.get_by_role("toolbar").locator("[aria-disabled=true]").all():
            button.hover()
            expect(reasons).to_have_count(1)
            box = reasons.bounding_box()
            assert box is not None
            assert 0 <= box["x"] < box["x"] + box["width"] <= width, f"{reasons.inner_text()} at {width}: {box}"
            assert 0 <= box["y"] < box["y"] + box["height"] <= 860, f"{reasons.inner_text()} at {width}: {box}"
        page.get_by_test_id("more-button").focus()
        page.get_by_test_id("more-button").hover()
        expect(reasons).to_contain_text("It is still training.")
        page.screenshot(path=shots / f"reason-{width}.png")
        page.keyboard.press("Escape")
        expect(reasons).to_have_count(0)


def test_a_question_goes_with_what_it_is_about_and_is_not_asked_of_another(page: Page, room: Room) -> None:
    asked, other = (room.do(room.scenes.queued(name)) for name in ("Asked about", "Not asked about"))
    _models(page)
    page.get_by_role("group", name="Which models").get_by_role("button", name="Active").click()
    _choose(page, asked)
    page.get_by_test_id("stop-button").click()
    expect(page.get_by_role("dialog")).to_contain_text("“Asked about”")

    async def stop() -> None:
        await room.platform.api("POST", f"/jobs/{asked}/stop")

    room.do(stop())
    expect(_row(page, asked)).to_have_count(0, timeout=SOON)
    expect(page.get_by_role("dialog")).to_have_count(0)
    _choose(page, other)
    expect(page.get_by_text("1 model selected")).to_be_visible()
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_a_retry_that_still_finds_no_room_says_so(page: Page, room: Room) -> None:
    job_id = room.do(room.scenes.try_again_later("Still no room"))
    _models(page)
    _row(page, job_id).get_by_test_id("try-again").click()
    expect(page.get_by_test_id("messages")).to_contain_text("“Still no room” can’t be queued now", timeout=SOON)
    # The box says what the server has taken, whatever was pressed.
    box = _row(page, job_id).get_by_test_id("start-when-room")
    page.route("**/retry", lambda route: route.fulfill(status=502, body="no JSON at all"), times=1)
    box.click()
    expect(page.get_by_test_id("messages")).to_contain_text("HTTP 502", timeout=SOON)
    expect(box).not_to_be_checked()
    box.click()
    expect(page.get_by_test_id("messages")).to_contain_text("“Still no room” starts by itself", timeout=SOON)
    expect(box).to_be_checked()
    # Taking it away is no other try.
    with page.expect_response(lambda answer: answer.url.endswith(f"/jobs/{job_id}/stop") and answer.ok):
        box.click()
    expect(box).not_to_be_checked()
    page.wait_for_timeout(250)
    assert found_by_axe(page) == []


def _capped(room: Room, minutes: int | None) -> None:
    async def cap() -> Any:
        return await room.platform.api("PATCH", "/team", {"member_cap_minutes": minutes})

    room.do(cap())


def test_a_mentor_approves_what_a_member_can_only_ask_for(
    page: Page, browser: Browser, doors: dict[Role, Gateway], room: Room
) -> None:
    room.do(room.scenes.trainer("approval"))
    _capped(room, 1)
    try:
        member = room.platform.caller("member", "Member")
        job = room.do(room.scenes.submitted("Wants more", "approval", by=member))
        assert job["reason"]["code"] == "needs_approval"
        with browser.new_context() as context, open_page(context, doors["member"].url) as theirs:
            row = _row(theirs, job["id"])
            expect(row.get_by_test_id("explanation")).to_contain_text("without a mentor's approval", timeout=SOON)
            expect(row.get_by_test_id("approve")).to_have_count(0)
        _models(page)
        _row(page, job["id"]).get_by_test_id("approve").click()
        state = _row(page, job["id"]).get_by_test_id("job-state")
        expect(state).to_have_attribute("data-state", "PREPARING", timeout=SOON)
        expect(page.get_by_test_id("messages")).to_contain_text("“Wants more” is approved")
    finally:
        _capped(room, None)


@pytest.mark.parametrize("role", ["viewer"])
def test_a_viewer_sees_all_and_changes_nothing(page: Page, room: Room) -> None:
    job_id = room.do(room.scenes.queued("Only looked at"))
    _models(page)
    _choose(page, job_id)
    stop = page.get_by_test_id("stop-button")
    expect(stop).to_have_attribute("aria-disabled", "true")
    stop.hover()
    expect(page.get_by_role("tooltip").filter(has_text="Your role is viewer").first).to_be_visible()
    page.wait_for_timeout(250)  # until it isn't transparent any more
    assert found_by_axe(page) == []
    page.get_by_role("navigation").get_by_role("link", name="Start Training").click()
    expect(page.get_by_test_id("start-submit")).to_be_disabled()


def test_graphs_zoom_with_a_mouse_or_without_one_and_compare(page: Page, room: Room) -> None:
    first = room.do(room.scenes.succeeded("Graphed"))
    room.do(room.scenes.succeeded("Beside it"))
    page.goto(f"{page.url.split('#')[0]}#/models/{first}/graphs")
    losses = page.get_by_test_id("graphs-loss")
    expect(losses.locator("canvas")).to_have_count(4, timeout=SOON)
    page.get_by_test_id("compare").locator("summary").click()
    page.get_by_test_id("compare").get_by_label("Beside it").first.check()
    expect(losses.locator(".chart").first).to_contain_text("Beside it · Evaluation", timeout=SOON)
    assert found_by_axe(page) == []
    page.get_by_test_id("compare").locator("summary").click()

    plot = losses.locator(".u-over").first
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 60, steps=4)
    page.mouse.up()
    begin, end, everything = (
        page.get_by_label("From step"),
        page.get_by_label("To step"),
        page.get_by_role("button", name="All steps"),
    )
    expect(begin).to_have_value(re.compile(r"^1\d\d$"))
    expect(end).to_have_value(re.compile(r"^4\d\d$"))
    everything.click()
    expect(everything).to_have_attribute("aria-disabled", "true")
    expect(begin).to_have_value("0")
    expect(end).to_have_value("600")

    # The same by fingers or keys alone: a part of the steps, and its points one by one.
    begin.fill("250")
    begin.press("Enter")
    end.fill("450")
    end.press("Tab")
    expect(everything).to_have_attribute("aria-disabled", "false")
    graph, elsewhere = losses.get_by_role("slider").first, page.get_by_test_id("graphs-rate").locator(".legend-step")
    graph.focus()
    for key, step in (("Home", "300"), ("ArrowRight", "400"), ("ArrowRight", "400"), ("ArrowLeft", "300")):
        page.keyboard.press(key)
        expect(graph).to_have_attribute("aria-valuenow", step)
        expect(elsewhere.first).to_have_text(f"Step {step}")
    number = r"\d\.\d+"
    spoken = rf"^Step 300, Graphed · Training {number}, Graphed · Evaluation {number}, Beside it · Training {number}, "
    expect(graph).to_have_attribute("aria-valuetext", re.compile(spoken))
    page.keyboard.press("Tab")
    expect(elsewhere.first).to_have_text("Step 600")
    # Whatever is typed is a part of what there is.
    begin.fill("9000")
    begin.press("Enter")
    expect(begin).to_have_value("450")
    expect(end).to_have_value("600")


def test_graphs_follow_the_pointer_smooth_stretch_and_give_a_file(page: Page, room: Room) -> None:
    job_id = room.do(room.scenes.succeeded("Pointed at"))
    page.goto(f"{page.url.split('#')[0]}#/models/{job_id}/graphs")
    losses = page.get_by_test_id("graphs-loss")
    expect(losses.locator("canvas")).to_have_count(4, timeout=SOON)
    with page.expect_download(timeout=SOON) as download:
        page.get_by_test_id("download-csv").click()
    assert download.value.suggested_filename == "Pointed-at-metrics.csv"
    header, *rows = csv.reader(download.value.path().read_text().splitlines())
    assert header[:4] == ["model", "step", "saved_at", "stepping_seconds"]
    kinds = ("classification_loss", "localization_loss", "regularization_loss", "total_loss")
    trained = [*(f"Loss/{kind}" for kind in kinds), "learning_rate", "steps_per_sec"]
    assert header[4 : 4 + len(trained)] == [f"training {name}" for name in trained]
    assert all(name.startswith("evaluation ") for name in header[4 + len(trained) :])
    asked = page.request.get(f"{page.url.split('#')[0]}api/models/{job_id}/metrics").json()["metrics"]
    written = [dict(zip(header, row, strict=True)) for row in rows]
    assert [int(row["step"]) for row in written] == [100, 200, 300, 400, 500, 600]
    for row, point in zip(written, asked, strict=True):
        for pool in ("training", "evaluation"):
            assert {name: float(row[f"{pool} {name}"]) for name in point[pool]} == point[pool]

    chart = losses.locator(".chart").filter(has=page.get_by_role("heading", name="total_loss"))
    plot, others = chart.locator(".u-over"), page.get_by_test_id("graphs-rate").locator(".legend-step")
    plot.scroll_into_view_if_needed()
    total = {int(row["step"]): float(row["training Loss/total_loss"]) for row in written}

    def pointed(step: int) -> tuple[str, float]:
        """The loss that the legend tells of a step, and how far down its point is, in pixels."""
        box = plot.bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] * step / 600 - 1, box["y"] + box["height"] / 2)
        expect(chart.locator(".legend-step")).to_have_text(f"Step {step}")
        expect(others.first).to_have_text(f"Step {step}")
        down = chart.locator(".u-cursor-pt").first.evaluate("dot => new DOMMatrix(getComputedStyle(dot).transform).m42")
        return chart.get_by_role("button", name="Training").locator(".number").inner_text(), down

    def share(down: Callable[[int], float]) -> float:
        """Of the way that the loss has gone down until step 600, the part until step 300."""
        return (down(300) - down(100)) / (down(600) - down(100))

    assert [pointed(step)[0] for step in total] == [f"{loss:#.4g}" for loss in total.values()]
    assert share(lambda step: pointed(step)[1]) == pytest.approx(share(lambda step: -total[step]), abs=0.03)
    page.get_by_label("Smoothing").fill("0.5")
    smooth = (4 * total[300] + 2 * total[200] + total[100]) / 7  # each weighs half as much as the one after it
    assert pointed(300)[0] == f"{smooth:#.4g}"
    page.get_by_label("Smoothing").fill("0")
    page.get_by_label("Logarithmic").check()
    page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done, 50)))")  # it is drawn anew
    assert share(lambda step: pointed(step)[1]) == pytest.approx(share(lambda step: -math.log(total[step])), abs=0.05)


def test_export_gives_files_with_sizes_labels_and_code(page: Page, room: Room) -> None:
    job_id = room.do(room.scenes.succeeded("Exported"))
    page.goto(f"{page.url.split('#')[0]}#/models/{job_id}/export")
    files = page.get_by_test_id("download-file")
    expect(files).to_have_count(4, timeout=SOON)
    expect(page.get_by_text("18.4 MB")).to_be_visible()
    code = page.get_by_test_id("snippets")
    expect(code).to_contain_text('LABELS = {"Ball", "Cube"}')
    expect(code).to_contain_text(".setModelInputSize(300)")
    code.get_by_role("button", name="Python").click()
    expect(code).to_contain_text("Exported-float32.tflite")
