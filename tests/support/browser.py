"""Headless Chromium for tests of the page: which one, with which switches, and a page whose console must stay clean."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from deploy.local.machine import BROWSERS
from tests.support.fixtures import missing
from tests.support.stack import CHECKOUT

PICTURES = CHECKOUT / "test-artifacts"
_AXE = CHECKOUT / "services" / "web" / "node_modules" / "axe-core" / "axe.min.js"
_RULES = "{runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice']}"
# Counts from now on, and of a page that is being loaded from its beginning, what moved by itself, and notes what did: the
# share of the window that moved times how far, summed, as browsers measure it. Nothing has moved by itself within half a
# second of an input.
SHIFTS = """
window.shifts = {sum: 0, moved: []};
new PerformanceObserver(list => {
  for (const entry of list.getEntries()) {
    if (entry.hadRecentInput) continue;
    window.shifts.sum += entry.value;
    for (const {node, previousRect: was, currentRect: is} of entry.sources) {
      const element = node?.nodeType === Node.TEXT_NODE ? node.parentElement : node;
      const name = element === null ? '?' : `${element.localName}.${element.className}`;
      const [from, to] = [was, is].map(({x, y, width, height}) => `${x},${y} ${width}x${height}`);
      window.shifts.moved.push(`${name} ${from} -> ${to}`);
    }
  }
}).observe({type: 'layout-shift', buffered: document.readyState === 'loading'});
"""
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# While a service is away, the browser itself logs what it couldn't reach or was refused.
_BROWSERS_OWN = ("WebSocket", "Failed to load resource", "net::ERR_")


@contextmanager
def open_browser(*switches: str) -> Iterator[Browser]:
    """The one that CHROMIUM names, else Debian's Chromium or Google Chrome, else Playwright's own."""
    with sync_playwright() as playwright:
        usual = (path for name in BROWSERS if (path := shutil.which(name)))
        program = os.environ.get("CHROMIUM") or next(usual, None) or playwright.chromium.executable_path
        if shutil.which(program) is None:
            missing("no Chromium: `make test` installs one; without it set CHROMIUM to a browser's path")
        opened = playwright.chromium.launch(executable_path=program, args=[*_ARGUMENTS, *switches])
        yield opened
        opened.close()


@contextmanager
def open_page(context: BrowserContext, url: str) -> Iterator[Page]:
    """A page; an error on its console fails the test (so does what the content policy forbids), and so does a reload."""
    opened = context.new_page()
    problems: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        if message.type == "error":
            problems.append(message.text)

    opened.on("console", heard)
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.goto(url)
    opened.evaluate("window.sameDocument = true")
    yield opened
    assert opened.evaluate("window.sameDocument"), "the page was reloaded"
    opened.close()
    assert not [problem for problem in problems if not any(word in problem for word in _BROWSERS_OWN)]


def found_by_axe(page: Page) -> list[str]:
    """What axe finds serious or worse on the page as it is."""
    page.evaluate(_AXE.read_text())
    result: dict[str, Any] = page.evaluate(f"axe.run(document, {_RULES})")
    return [
        f"{one['impact']} {one['id']}: {[node['html'][:120] for node in one['nodes'][:3]]}"
        for one in result["violations"]
        if one["impact"] in {"serious", "critical"}
    ]
