"The data browser in JupyterLab: counts, the pictures of a class, copies side by side, unreadable files."

import base64
import io

import numpy as np
import pytest
from PIL import Image

from conftest import until

CELL = """
from gannb.widgets.browser import DataBrowser
DataBrowser("folder:pictures")
"""
RED, BLUE = (200, 60, 40), (40, 70, 200)
CATS, DOGS = 40, 11


def picture(colour, k: int) -> Image.Image:
    "One of many unlike pictures of a colour."
    pixels = np.full((32, 32, 3), colour, np.uint8)
    pixels[k % 32, k // 32 : k // 32 + 4] = 255
    return Image.fromarray(pixels)


@pytest.fixture
def browser(lab, notebook):
    "The widget on a folder with two classes, a copy, a contradiction and two files that are no pictures."
    for name, colour, n in (("cat", RED, CATS), ("dog", BLUE, DOGS)):
        (lab.folder / "pictures" / name).mkdir(parents=True)
        for k in range(n):
            picture(colour, k).save(lab.folder / "pictures" / name / f"{name}{k:02d}.png")
    picture(RED, 3).save(lab.folder / "pictures" / "cat" / "cat03-again.png")
    picture(RED, 5).save(lab.folder / "pictures" / "dog" / "cat05-called-dog.png")
    (lab.folder / "pictures" / "cat" / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\nthat is all")
    (lab.folder / "pictures" / "dog" / "empty.jpg").write_bytes(b"")
    nb = notebook("look.ipynb", CELL)
    nb.run_all()
    nb.tab.wait_for_selector(".jp-OutputArea .lm-TabBar-tabLabel", timeout=60_000)
    return nb


def turn_to(nb, title: str) -> None:
    nb.tab.click(f'.jp-OutputArea .lm-TabBar-tabLabel:text-is("{title}")')
    nb.tab.wait_for_timeout(300)


def seen(nb) -> np.ndarray:
    "The picture that is on the screen, as the browser holds it."
    for image in nb.tab.query_selector_all(".jp-OutputArea img.widget-image"):
        if image.is_visible() and image.evaluate("e => e.complete && e.naturalWidth > 0"):
            url = image.evaluate("""e => {
                const c = document.createElement('canvas');
                c.width = e.naturalWidth; c.height = e.naturalHeight;
                c.getContext('2d').drawImage(e, 0, 0);
                return c.toDataURL();
            }""")
            return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB"))
    raise AssertionError("no picture is on the screen")


def colours(picture: np.ndarray) -> set[str]:
    "Which of the two colours are in a picture."
    found = picture.reshape(-1, 3).astype(int)
    return {n for n, c in (("red", RED), ("blue", BLUE)) if (np.abs(found - c).max(1) < 4).sum() > 500}


def test_counts_and_the_pictures_of_a_class(browser):
    words = browser.text(".jp-OutputArea")
    assert f"{CATS + DOGS + 2} images" in words and "2 unreadable files" in words
    bars = browser.tab.locator(".jp-OutputArea svg[role=img] text").all_text_contents()
    assert bars[1:] == ["cat", str(CATS + 1), "dog", str(DOGS + 1)]
    browser.watched.shot("data-counts")

    turn_to(browser, "Samples")
    assert "1 to 32 of 53" in browser.text(".jp-OutputArea")
    before = seen(browser)
    browser.tab.click('button:has-text("next")')
    until(lambda: "33 to 53 of 53" in browser.text(".jp-OutputArea"))
    assert not np.array_equal(seen(browser), before)
    choose = browser.tab.locator(".jp-OutputArea .widget-dropdown select").first
    choose.select_option(label=f"cat ({CATS + 1})")
    until(lambda: colours(seen(browser)) == {"red"})
    assert f"1 to 32 of {CATS + 1}" in browser.text(".jp-OutputArea")
    browser.watched.shot("data-cats")
    choose.select_option(label=f"dog ({DOGS + 1})")
    until(lambda: "blue" in colours(seen(browser)))
    assert f"1 to 12 of {DOGS + 1}" in browser.text(".jp-OutputArea")
    browser.watched.shot("data-dogs")


def test_copies_stand_side_by_side_and_unreadable_files_are_named(browser):
    turn_to(browser, "Copies")
    words = browser.text(".jp-OutputArea")
    assert "2 pictures there more than once" in words and "1 under different labels" in words
    picture, step = seen(browser), 158
    rows = [picture[y : y + 150] for y in range(0, picture.shape[0] - 149, picture.shape[0] // 2)]
    for row in rows:
        assert np.array_equal(row[:, :150], row[:, step : step + 150]), "the two stand side by side"
        assert row[:, :150].std() > 5
    browser.watched.shot("data-copies")

    turn_to(browser, "Unreadable files")
    words = browser.text(".jp-OutputArea")
    assert "2 files cannot be read" in words and "torn.png" in words and "empty.jpg" in words
    browser.watched.shot("data-unreadable")
