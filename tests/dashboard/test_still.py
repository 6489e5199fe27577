"""Maps to move and to ask without a server, for notebooks."""

import re

import pytest

import lakecube
from lakecube.errors import InvalidInputError, StoreError


@pytest.fixture(scope="module")
def store(made):
    return lakecube.open_store(made)


def test_a_map_shows_itself_and_is_a_page(store, tmp_path):
    made = store.water.plot(engine="bokeh", path=tmp_path / "map.html")
    page = (tmp_path / "map.html").read_text()
    assert "<title>Water frequency</title>" in page and "of clear dates wet" in page
    assert not re.search(r'<(script|link)[^>]+(src|href)="', page)  # it needs no network
    shown = made._repr_html_()
    assert shown.startswith('<iframe srcdoc="') and 'sandbox="allow-scripts' in shown
    assert "<" not in shown[len("<iframe") : -len("></iframe>")].replace("&lt;", "")


def test_a_lake_comes_with_its_series_and_a_date_with_its_mask(store):
    number = int(store.lake.values[store.max_area.values.argmax()])
    lake = store.water.plot(engine="bokeh", lake=number)
    names = [part.name for part in lake.layout.children]
    assert "map_figure" in names and "series_figure" in names
    assert f"Lake {number}" in "".join(part.text for part in lake.layout.children if part.name is None)
    day = str(store.time.values[3])[:10]
    assert store.water.plot(engine="bokeh", date=day).title == f"Water on {day}"
    assert (
        store.water.plot(engine="bokeh", title="<b>Mine</b>").layout.children[0].text
        == "<h3>&lt;b&gt;Mine&lt;/b&gt;</h3>"
    )


def test_a_page_is_never_written_into_a_store(store, made, tmp_path):
    with pytest.raises(InvalidInputError, match="lies in the store"):
        store.water.plot(engine="bokeh", path=made / "page.html")
    with pytest.raises(StoreError, match=r"page\.html stopped: .*No such file"):
        store.water.plot(engine="bokeh", path=tmp_path / "none" / "page.html")


def test_what_cannot_be_drawn(store):
    with pytest.raises(InvalidInputError, match="use 'matplotlib' or 'bokeh'"):
        store.water.plot(engine="plotly")
    with pytest.raises(InvalidInputError, match="engine='bokeh' draws a store"):
        store[["lake_area"]].water.plot(engine="bokeh")
    with pytest.raises(InvalidInputError, match="none of the"):
        store.water.plot(engine="bokeh", lake=10**6)
