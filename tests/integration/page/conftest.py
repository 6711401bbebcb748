"""One room for all tests of the page: real services behind a gateway for each role, a job in each state."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from shared.contract.jobs import JobState
from shared.runtime.auth import Role
from tests.support.broker import Broker
from tests.support.browser import PICTURES, open_browser, open_page
from tests.support.fixtures import missing
from tests.support.room import DIST, Gateway, Room
from tests.support.stack import require_stack
from tests.support.store import Store

SOON = 10_000


@pytest.fixture(scope="package")
def room(broker: Broker, store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    """Running while the page is tested: its trainers' heartbeats keep a machine busy."""
    require_stack()
    if not (DIST / "index.html").exists():
        missing("the web client is not built: `make setup`")
    prefix = f"room{uuid.uuid4().hex[:8]}_"
    # A lease so long that a trainer that says nothing of a stop is still waited for while somebody looks.
    settings = {"LEASE_SECONDS": "20", "TEAM_MINUTES": "6000", "MAX_TEAM_JOBS": "100"}
    opened = Room(broker.fresh_url(), store.url, prefix, tmp_path_factory.mktemp("room"), **settings)
    try:
        opened.start()
        # For jobs that a form starts, which need no label: they would be given a trainer that a scene waits for.
        opened.do(opened.scenes.trainer("spare", slots=50))
        yield opened
    finally:
        opened.end()


@pytest.fixture(scope="package")
def states(room: Room) -> dict[JobState, str]:
    """A job in each state."""
    return room.do(room.scenes.every_state(), 120)


@pytest.fixture(scope="package")
def doors(room: Room) -> dict[Role, Gateway]:
    """A gateway for each role."""
    roles: tuple[Role, ...] = ("viewer", "member", "mentor", "admin")
    return {role: room.door(role, name=role.capitalize()) for role in roles}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium. Not for the session: Playwright holds this thread's event loop, which other tests need."""
    with open_browser() as opened:
        yield opened


@pytest.fixture
def role() -> Role:
    """Whose page it is; a test may say otherwise by `parametrize`."""
    return "mentor"


@pytest.fixture
def page(browser: Browser, doors: dict[Role, Gateway], role: Role) -> Iterator[Page]:
    """That person's page, live."""
    with (
        browser.new_context(viewport={"width": 1280, "height": 860}) as context,
        open_page(context, doors[role].url) as opened,
    ):
        expect(opened.get_by_test_id("connection")).to_contain_text("Live", timeout=SOON)
        yield opened


@pytest.fixture
def form(page: Page, room: Room) -> Page:
    """The form of Start Training with a dataset chosen and its plan there."""
    room.do(room.scenes.dataset("Field photos"))
    page.get_by_role("navigation").get_by_role("link", name="Start Training").click()
    expect(page.get_by_test_id("start-submit")).to_be_disabled()
    page.get_by_test_id("dataset-choice").get_by_label("Field photos").check()
    expect(page.get_by_test_id("plan-sentences")).to_contain_text("32 training pictures", timeout=SOON)
    return page


def expect_usable(form: Page) -> None:
    """Nothing is grey: every field takes input, the rest of the page can be reached."""
    for name in ("description", "steps", "max-minutes", "when-room"):
        expect(form.get_by_test_id(name)).to_be_enabled()
    form.get_by_role("navigation").get_by_role("link", name="Models").click()
    expect(form.locator("h1")).to_have_text("Models")


@pytest.fixture
def shots() -> Path:
    """Where pictures for people go."""
    PICTURES.mkdir(exist_ok=True)
    return PICTURES
