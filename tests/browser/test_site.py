"""The documentation site in a real browser, opened from disk: it draws as torch does, is found and read."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from gannb.sample import sample
from gannb.stages.run import load_generator

ROOT = Path(__file__).resolve().parents[2]
GENERATORS = sorted((ROOT / "outputs" / "reference" / "generators").glob("*.safetensors"))
PICTURES = ROOT / "outputs" / "screenshots"
WIDE, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


@pytest.fixture
def visit(chromium, docs_site):
    """A function that opens a page of the site from disk. At the end of the test there must have been no
    error on the console, and no request to another machine."""
    wrong, contexts = [], []

    def told(message) -> None:
        if message.type == "error":
            wrong.append(message.text)

    def asked(request) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            wrong.append(f"asked for {request.url}")

    def one(address: str, size: dict = WIDE):
        contexts.append(chromium.new_context(viewport=size))
        page = contexts[-1].new_page()
        page.on("console", told)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", asked)
        page.on("requestfailed", lambda request: wrong.append(f"failed: {request.url}"))
        page.goto((docs_site / address.partition("#")[0].partition("?")[0]).as_uri() + "".join(tail(address)))
        return page

    yield one
    for context in contexts:
        context.close()
    assert not wrong, "\n".join(wrong)


def tail(address: str) -> str:
    "The question and the place of an address."
    cut = min((address.index(sign) for sign in "?#" if sign in address), default=len(address))
    return address[cut:]


def drawn(page) -> list[str]:
    "Waits until the player has painted all of its pictures; gives the large one, then the twelve."
    page.wait_for_function("document.querySelector('#play').dataset.drawn === String(window.gannb.turn())")
    return page.evaluate("[...document.querySelectorAll('#play canvas')].map(c => c.toDataURL())")


def keep(page, name: str) -> None:
    "A screenshot to look at."
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"site-{name}.png")


# ---- the generator that draws


def by_script(page, name: str, z: list[float], label: int) -> np.ndarray:
    "The picture that the site's script makes of z."
    made = page.evaluate(
        """async ([name, z, label]) => {
            await window.gannb.load(name);
            const {size, channels, pixels} = window.gannb.draw(z, label);
            return {size, channels, pixels: Array.from(pixels)};
        }""",
        [name, z, label],
    )
    return np.array(made["pixels"]).reshape(made["size"], made["size"], made["channels"])


@pytest.mark.parametrize("path", GENERATORS, ids=lambda p: p.stem)
def test_the_scripts_pictures_are_those_of_torch(visit, path):
    G = load_generator(path)
    z = torch.randn(4, G.nz, generator=torch.Generator().manual_seed(14))
    y = torch.tensor([0, 3, 7, G.n_classes - 1]) if G.n_classes else None
    ours = sample(G, z, y).astype(int)
    page = visit("index.html")
    for i in range(len(z)):
        theirs = by_script(page, path.stem, z[i].tolist(), int(y[i]) if y is not None else 0)
        assert theirs.shape == ours[i].shape
        assert np.abs(theirs - ours[i]).max() <= 2
    assert ours.std() > 20, "grey pictures would agree with any others"


def test_seed_slider_click_and_class_change_the_pictures(visit):
    page = visit("index.html#mnist-32px-w24")
    first = drawn(page)
    page.fill("#play-seed", "5")
    seeded = drawn(page)
    assert seeded != first
    page.fill("#play-seed", "1")
    assert drawn(page) == first, "a seed says what is drawn"
    page.locator(".play-sliders input").first.press("End")
    assert drawn(page) != first
    page.get_by_role("button", name="sliders to the middle").click()
    assert drawn(page) == first
    page.locator(".play-grid button").nth(4).click()
    clicked = drawn(page)
    assert clicked[1:] == first[1:] and clicked[0] == first[5] != first[0]
    page.locator(".play-classes").get_by_role("button", name="7").click()
    sevens = drawn(page)
    assert sevens[8] == first[8] and sevens[1] != first[1], "picture 7 was a 7 before, picture 0 was a 0"


@pytest.mark.parametrize("path", GENERATORS, ids=lambda p: p.stem)
def test_every_generator_shows_pictures_and_its_licence(visit, path):
    page = visit(f"index.html#{path.stem}")
    pictures = drawn(page)
    assert len(pictures) == 13 and len(set(pictures)) == 12, "the large picture is one of the twelve"
    assert "Licence of the data" in page.locator(".play-card").inner_text()


# ---- search, and what a reader sees


def looked_for(visit, words: str):
    "The page of the search, with its hits there."
    page = visit("index.html")
    page.fill("input[name=q]", words)
    page.press("input[name=q]", "Enter")
    page.wait_for_function("document.querySelector('#search-results h2')?.innerText === 'Search Results'")
    return page


def test_the_search_finds_train_gan_from_disk(visit):
    page = looked_for(visit, "train_gan")
    hit = page.locator("#search-results li").first
    assert hit.locator("a").inner_text() == "gannb.train.train_gan"
    told = hit.locator(".excerpt")
    told.wait_for()
    assert "train_gan" in told.locator("mark").all_inner_texts()
    assert "Train G and D in place" in told.inner_text() and len(told.inner_text()) < 300
    keep(page, "search-train_gan")
    hit.locator("a").click()
    page.locator("[id='gannb.train.train_gan']").wait_for()  # until it can be seen, or the test fails


def test_the_search_finds_a_word_of_a_guide_page_and_shows_where_it_stands(visit):
    page = looked_for(visit, "chimeras")
    hit = page.locator("#search-results li", has=page.locator('a[href^="guide/"]')).first
    hit.scroll_into_view_if_needed()
    hit.locator(".excerpt").wait_for()
    marked = {word.lower() for word in hit.locator("mark").all_inner_texts()}
    assert marked & {"chimera", "chimeras"}
    keep(page, "search-chimeras")
    shown = page.locator("#search-results li").evaluate_all("""all => all
        .filter(e => e.getBoundingClientRect().bottom < innerHeight && !e.querySelector('.excerpt'))
        .map(e => e.innerText)""")
    assert not shown, "every hit that is seen has its excerpt"


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_the_page_of_the_search_fits_its_window(visit, size):
    page = visit("search.html?q=diversity", size)
    page.locator("#search-results .excerpt").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    keep(page, f"search-{size['width']}")


HOSTILE = "<img src=x onerror=alert(1)> </script><script>alert(2)</script> train_gan"


def test_a_search_with_html_in_it_does_nothing(visit):
    page = visit("index.html")
    asked = []
    page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    page.fill("input[name=q]", HOSTILE)
    page.press("input[name=q]", "Enter")
    page.wait_for_function("document.querySelector('#search-results h2')?.innerText === 'Search Results'")
    page.wait_for_timeout(500)
    assert not asked and not page.locator("#search-results :is(img, script, iframe)").count()


def test_text_of_a_page_that_looks_like_html_is_shown_as_text(visit):
    page = visit("index.html")
    bad = "<img src=x onerror=alert(1)> chimeras <script>alert(2)</script>"

    def hostile(route) -> None:
        name = route.request.url.partition("_static/text/")[2].removesuffix(".js")
        route.fulfill(body=f"gannbText({json.dumps(name)}, [['', {json.dumps(bad)}]]);")

    page.route("**/_static/text/**", hostile)
    page.fill("input[name=q]", "chimeras")
    page.press("input[name=q]", "Enter")
    told = page.locator("#search-results .excerpt").first
    told.wait_for()
    assert told.inner_text() == bad and told.locator("mark").all_inner_texts() == ["chimeras"]
    assert not page.locator("#search-results :is(img, script, iframe)").count()


def test_a_search_without_a_hit_says_so(visit):
    page = looked_for(visit, "zzyzx")
    assert "did not match any documents" in page.locator("#search-results").inner_text()
    assert not page.locator("#search-results li").count()
    keep(page, "search-nothing")


READABLE = ["index.html", "reports/index.html", "reports/ledger.html", "reports/fruits.html"]
READABLE += ["reference/gannb.train.html", "lessons/11_metrics.html", "docs/design.html", "guide/index.html"]


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
@pytest.mark.parametrize("name", READABLE)
def test_a_page_fits_its_window_and_its_pictures_are_seen(visit, name, size):
    page = visit(name, size)
    page.wait_for_load_state("load")
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], "the page scrolls sideways"
    hidden = page.evaluate("[...document.images].filter(i => !i.naturalWidth).map(i => i.src)")
    assert not hidden
    keep(page, f"{name.replace('/', '-').removesuffix('.html')}-{size['width']}")


def test_the_figures_of_a_report_are_seen(visit):
    page = visit("outputs/reference/fruits/report.html")
    widths = page.evaluate("[...document.images].map(i => i.naturalWidth)")
    assert len(widths) > 5 and min(widths) > 0


def test_the_ledger_is_filtered_by_verdict(visit):
    page = visit("reports/ledger.html")
    rows = page.locator(".g-frow:visible")
    everything = rows.count()
    page.get_by_role("button", name="artefact").click()
    assert 0 < rows.count() < everything
