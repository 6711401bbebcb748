"""Tokens on the Team page: made with a secret that is shown once, used, revoked; and a page whose own token goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.integration.page.conftest import SOON
from tests.support.browser import found_by_axe
from tests.support.room import Room
from tests.support.running import Caller
from tests.support.waiting import until


def _open(page: Page) -> Any:
    page.get_by_role("navigation").get_by_role("link", name="Team").first.click()
    section = page.get_by_test_id("tokens")
    expect(section).to_contain_text("of 20", timeout=SOON)
    return section


def _status(room: Room, secret: str) -> int:
    """What dataset answers to that token."""
    caller = Caller(room.platform.session, secret)
    return room.do(caller("GET", f"{room.platform.dataset.url}/api/datasets"))[0]


def _make(room: Room, name: str, by: str) -> tuple[str, str]:
    """The id and the secret of a token that somebody made elsewhere."""
    caller = room.platform.caller("member", by)
    made = room.do(caller("POST", f"{room.platform.scheduler.url}/api/team/tokens", {"name": name, "days": 5}))[1]
    return made["token"]["id"], made["secret"]


def test_a_token_is_made_shown_once_used_and_revoked(page: Page, room: Room, shots: Path) -> None:
    section = _open(page)
    # What somebody else does shows without a look.
    _make(room, "bench camera", "Linus")
    theirs = section.get_by_test_id("token-row").filter(has_text="bench camera")
    expect(theirs).to_contain_text("made by Linus")
    expect(theirs).to_contain_text("Not known")
    expect(theirs).to_contain_text("in 5 days")

    # What is wrong is said at its field, by the page or by the server.
    section.get_by_test_id("token-make").click()
    expect(section.get_by_role("alert")).to_have_text("Give a name.")
    section.get_by_label("New token").fill("practice robot")
    section.get_by_label("Days").fill("400")
    section.get_by_test_id("token-make").click()
    expect(section.get_by_role("alert")).to_contain_text("1 to 365 days; this would be for 400", timeout=SOON)
    section.get_by_label("Days").fill("30")
    section.get_by_label("Role").select_option("viewer")
    section.get_by_test_id("token-make").click()

    # The secret has the focus, is good, and says how to use it.
    box = section.get_by_test_id("token-secret")
    expect(box).to_be_focused(timeout=SOON)
    secret = box.locator("pre").inner_text()
    expect(box).to_contain_text("TRAINYARD_TOKEN=")
    expect(section.get_by_role("alert")).to_have_count(0)
    assert _status(room, secret) == 200
    row = section.get_by_test_id("token-row").filter(has_text="practice robot")
    expect(row).to_contain_text("Viewer · made by Mentor", timeout=SOON)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    box.get_by_role("button", name="Copy").click()
    expect(box.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == secret
    assert found_by_axe(page) == []
    _pictures(page, section, shots)

    # It is gone for good once it is put away; the day of use comes with the next look.
    box.get_by_test_id("token-done").click()
    expect(section).not_to_contain_text(secret)
    page.get_by_role("navigation").get_by_role("link", name="Models").first.click()
    row = _open(page).get_by_test_id("token-row").filter(has_text="practice robot")
    expect(row).not_to_contain_text("Not known", timeout=SOON)

    row.get_by_role("button", name="Revoke practice robot").click()
    page.get_by_test_id("confirm-button").click()
    expect(row).to_have_count(0, timeout=SOON)
    expect(section.get_by_role("heading")).to_be_focused()
    room.do(_refused(room, secret))


async def _refused(room: Room, secret: str) -> None:
    caller = Caller(room.platform.session, secret)

    async def look() -> bool:
        return (await caller("GET", f"{room.platform.dataset.url}/api/datasets"))[0] == 401

    await until(look, 10)


def _pictures(page: Page, section: Any, shots: Path) -> None:
    """The section with a secret just made, for people to look at: both themes, wide and on a phone."""
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        for width, height in ((1280, 860), (390, 844)):
            page.set_viewport_size({"width": width, "height": height})
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
            section.screenshot(path=shots / f"team-tokens-{theme}-{width}.png")
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1280, "height": 860})


@pytest.mark.parametrize("role", ["member"])
def test_a_page_whose_token_is_revoked_says_so(page: Page, room: Room) -> None:
    identifier, secret = _make(room, "shared laptop", "Hedy")
    page.get_by_role("navigation").get_by_role("link", name="Team").first.click()
    page.get_by_test_id("sign-out").click()
    page.get_by_label("Access token").fill(secret)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_test_id("connection")).to_contain_text("Live", timeout=SOON)
    section = _open(page)
    # A member sees their own alone, and a script's token makes no other.
    expect(section.get_by_test_id("token-row")).to_have_count(1)
    expect(section.get_by_label("Role").locator("option")).to_have_text(["Viewer", "Member"])
    section.get_by_label("New token").fill("another")
    section.get_by_test_id("token-make").click()
    expect(section.get_by_role("alert")).to_contain_text("can't make another", timeout=SOON)

    mentor = room.platform.caller("mentor", "Ada")
    room.do(mentor("DELETE", f"{room.platform.scheduler.url}/api/team/tokens/{identifier}"))
    expect(page.get_by_test_id("connection")).to_contain_text("Token revoked", timeout=SOON)
    expect(page.get_by_role("main")).to_contain_text("The token that this page used was revoked.")
