"""The theme: as the system says or as somebody chose, in every tab, curves and all, and before anything is painted."""

from __future__ import annotations

from playwright.sync_api import Browser, ViewportSize, expect

from shared.contract.jobs import JobState
from shared.runtime.auth import Role
from tests.integration.page.conftest import SOON
from tests.support.browser import found_by_axe, open_page
from tests.support.room import Gateway

_GROUND = "getComputedStyle(document.documentElement).backgroundColor"
_LIGHT, _DARK = "rgb(244, 246, 248)", "rgb(14, 17, 22)"
# As it is painted: where the first curve is, the canvas has a pixel of its colour.
_CURVES = """
() => {
  const canvas = document.querySelector('canvas');
  const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  const seen = new Set();
  for (let at = 0; at < data.length; at += 4) seen.add(`${data[at]},${data[at + 1]},${data[at + 2]}`);
  return ['0,114,178', '86,180,233'].filter(each => seen.has(each));
}
"""


def test_a_theme_is_chosen_and_kept(browser: Browser, doors: dict[Role, Gateway], states: dict[JobState, str]) -> None:
    graphs = f"{doors['viewer'].url}/#/models/{states[JobState.SUCCEEDED]}/graphs"
    size: ViewportSize = {"width": 1280, "height": 860}
    with browser.new_context(viewport=size, color_scheme="light", reduced_motion="reduce") as context:
        with open_page(context, graphs) as page, open_page(context, doors["viewer"].url) as other:
            theme = page.get_by_label("Theme")
            expect(page.locator("canvas").first).to_be_visible(timeout=SOON)
            expect(theme).to_have_value("system")
            assert (page.evaluate(_GROUND), page.evaluate(_CURVES)) == (_LIGHT, ["0,114,178"])
            page.emulate_media(color_scheme="dark")
            page.wait_for_function(f"{_GROUND} === '{_DARK}'")
            page.emulate_media(color_scheme="light")
            theme.select_option("Dark")
            page.wait_for_function(f"{_GROUND} === '{_DARK}'")
            page.wait_for_function(f"() => ({_CURVES})()[0] === '86,180,233'")
            assert not found_by_axe(page)
            expect(other.get_by_label("Theme")).to_have_value("dark")
            assert other.evaluate(_GROUND) == _DARK
        # What comes before the page's own program is all that there is: it is dark already, so nothing flashes.
        with context.new_page() as early:
            early.route("**/assets/*.js", lambda route: route.abort())
            early.goto(doors["viewer"].url)
            expect(early.locator("#app")).to_be_empty()
            assert early.evaluate(_GROUND) == _DARK
        with open_page(context, doors["viewer"].url) as again:
            again.get_by_label("Theme").select_option("As the system")
            again.wait_for_function(f"{_GROUND} === '{_LIGHT}'")
            assert again.evaluate("localStorage.getItem('theme')") is None
