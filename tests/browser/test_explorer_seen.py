"The explorer in JupyterLab: the picture follows the slider, the click and the class."

import pytest

from conftest import until

CELL = """
from gannb.widgets.explorer import LatentExplorer
LatentExplorer()
"""


@pytest.fixture
def explorer(notebook):
    nb = notebook("explore.ipynb", CELL)
    nb.run_all()
    until(lambda: large(nb))
    return nb


def large(nb):
    "The large picture: what the browser shows of it."
    found = nb.tab.query_selector(".jp-OutputArea img.widget-image")
    return found and found.evaluate("""e => {
        const c = document.createElement('canvas');
        c.width = e.naturalWidth; c.height = e.naturalHeight;
        c.getContext('2d').drawImage(e, 0, 0);
        return c.width ? c.toDataURL() : '';
    }""")


def sheet(nb) -> str:
    "The address of the grid's picture: a new one each time it is painted."
    return nb.tab.locator(".gannb-grid img").get_attribute("src")


def test_the_picture_follows_the_slider_and_the_reset(explorer):
    before, grid = large(explorer), sheet(explorer)
    handle = explorer.tab.locator(".noUi-handle").first
    handle.focus()
    for _ in range(5):
        handle.press("ArrowRight")
    moved = until(lambda: large(explorer) != before and large(explorer))
    until(lambda: sheet(explorer) != grid)  # when the hand rests
    explorer.tab.wait_for_timeout(1000)
    explorer.watched.shot("explorer-slider")
    explorer.tab.click('button:has-text("Reset")')
    until(lambda: large(explorer) == before)
    assert moved != before


def test_the_picture_follows_a_click_and_the_class(explorer):
    before = large(explorer)
    explorer.tab.locator(".gannb-grid button").nth(5).click()
    until(lambda: large(explorer) != before)
    chooser = explorer.tab.locator(".widget-dropdown", has_text="Class").locator("select").first
    chooser.select_option(label="3")
    explorer.tab.wait_for_timeout(2000)  # the picked sample may be a three already
    three = large(explorer)
    chooser.select_option(label="8")
    until(lambda: large(explorer) != three)
    explorer.tab.wait_for_timeout(1000)
    explorer.watched.shot("explorer-class")


def test_every_control_has_a_name(explorer):
    words = explorer.text(".jp-OutputArea")
    for name in ("Seed", "Direction 1", "Class", "Mixed with", "From A to B", "Save the path as GIF"):
        assert name in words, name
