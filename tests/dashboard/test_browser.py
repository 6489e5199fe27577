"""The page in a real headless Chromium: what is drawn, clicked, typed, and how it fits a desk and a phone."""

from __future__ import annotations

import pytest

from tests.dashboard.browser import Browser, is_there

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not is_there(), reason="chromium and chromedriver are not installed"),
]
_MODEL = "Bokeh.documents[0].get_model_by_name(arguments[0])"
_READY = (
    "window.Bokeh && Bokeh.documents.length > 0 && "
    "Bokeh.documents[0].get_model_by_name('downloads')?.text.includes('href') && "
    "Bokeh.documents[0].get_model_by_name('map_figure').renderers[0].data_source.data.image.length > 0"
)
#: Where a place of the map lies on the page.
_PLACE = """
const view = Bokeh.index.get_by_id(Bokeh.documents[0].get_model_by_name('map_figure').id);
const box = view.canvas_view.el.getBoundingClientRect();
const frame = view.frame;
return [box.left + frame.x_scale.compute(arguments[0]), box.top + frame.y_scale.compute(arguments[1])];
"""


@pytest.fixture(params=[(1400, 900, False), (420, 800, True)], ids=["desk", "phone"])
def browser(request, tmp_path, url):
    with Browser(tmp_path / "profile", *request.param) as browser:
        browser.go(url)
        browser.wait(_READY)
        yield browser
        assert browser.log() == []


def text(browser, name):
    return browser.run(f"return {_MODEL}.text;", name)


def test_a_click_on_the_map_opens_the_story_of_a_lake(browser, source, tmp_path):
    lakes = source.opened.lakes
    row = int(lakes["max_area"].argmax())
    x, y = browser.run(_PLACE, float(lakes["x"][row]), float(lakes["y"][row]))
    browser.click(x, y)
    browser.wait(f"{_MODEL}.text.includes(arguments[1])", 30, "about_lake", f"Lake {lakes['lake'][row]}<")
    browser.wait(f"{_MODEL}.text.includes(arguments[1])", 30, "about_day", "At the marked place")
    dates = browser.run(f"return {_MODEL}.renderers[3].data_source.data.date.length;", "series_figure")
    assert dates == len(source.opened.dates)
    browser.picture(tmp_path / "lake.png")
    assert (tmp_path / "lake.png").stat().st_size > 20_000


def test_the_page_fits_the_screen(browser):
    wide, inner = browser.run("return [document.documentElement.scrollWidth, innerWidth]")
    assert wide <= inner
    assert browser.run("return document.documentElement.lang") == "en"
    small = browser.run(
        "return Bokeh.documents[0].roots().filter(m => ['whole', 'closer', 'earlier'].includes(m.name))"
        ".map(m => Bokeh.index.get_by_id(m.id).el.getBoundingClientRect().height)"
    )
    assert min(small) >= 34


def test_keys_alone_choose_a_date_and_a_map(browser, source):
    tab, down = "\ue004", "\ue015"
    focused = "let e = document.activeElement; while (e.shadowRoot?.activeElement) e = e.shadowRoot.activeElement;"
    reached = []
    for _ in range(60):
        browser.press(tab)
        name = browser.run(
            focused + "return [e.tagName, e.type ?? '', e.labels?.[0]?.innerText ?? e.innerText ?? '', "
            "e.getRootNode().host?.model?.name ?? '']"
        )
        reached.append(name)
        if name[0] == "SELECT" and name[2].startswith("Map"):
            browser.press(down)
        if name[0] == "SELECT" and name[2].startswith("Date"):
            browser.press("\ue013")
            break
    words = " ".join(word for _, _, word, _ in reached)
    assert reached[0][2].startswith("to the choice"), reached
    assert "Map" in words and "Date" in words, reached
    browser.wait(f"{_MODEL}.text.includes('Water on')", 30, "status")
    browser.wait(f"{_MODEL}.text.includes(arguments[1])", 30, "status", str(source.opened.dates[-2]))


def test_the_map_is_read_anew_where_it_is_looked_at(browser):
    before = browser.run(f"return {_MODEL}.renderers[0].data_source.data.dw[0];", "map_figure")
    at = browser.run(
        "const e = Bokeh.index.get_by_id(Bokeh.documents[0].get_model_by_name('closer').id).el;"
        "e.scrollIntoView({block: 'center'}); const r = e.getBoundingClientRect();"
        "return [r.left + r.width / 2, r.top + r.height / 2]"
    )
    for _ in range(2):
        browser.click(*at)
    browser.wait(f"{_MODEL}.renderers[0].data_source.data.dw[0] < arguments[1] * 0.8", 30, "map_figure", before)


def test_keys_move_and_zoom_the_map(browser):
    right, up = "\ue014", "\ue013"
    view = "(({x_range, y_range}) => [x_range.start, y_range.start, x_range.end - x_range.start])" + f"({_MODEL})"
    browser.run("document.getElementById('keys').focus()")
    left, bottom, across = browser.run(f"return {view};", "map_figure")
    browser.press(right, up)
    moved = browser.wait(f"({view})[0] > arguments[1] && ({view})[1] > arguments[2]", 30, "map_figure", left, bottom)
    assert moved and browser.run(f"return {view};", "map_figure")[2] == pytest.approx(across)
    browser.press("+")
    browser.wait(f"({view})[2] < arguments[1] * 0.6", 30, "map_figure", across)
