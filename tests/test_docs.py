"""The documentation site: built once, then every page is read. What needs a browser is in tests/browser/."""

import ast
import base64
import json
import posixpath
import re
import sys
from functools import cache
from hashlib import sha256
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tools" / "docs"), str(ROOT / "tools")]

import excerpts as site_excerpts  # noqa: E402
import links as site_links  # noqa: E402
import notebooks as site_notebooks  # noqa: E402
import reference as site_reference  # noqa: E402
import summary  # noqa: E402

LESSONS = sorted((ROOT / "nbs").glob("[0-9]*.ipynb"))
PAPERS = sorted(p.parent.name for p in (ROOT / "outputs" / "reference").glob("*/claims.json"))
MACHINE = re.compile(
    r"(?<![\w.~/-])/(?:work|root|home|Users|private|tmp)/[\w.-]+|site-packages/|[A-Z]:\\+Users\\+"
)


class Page(HTMLParser):
    "What a test asks of a page: addresses, places that links can lead to, words outside of code."

    def __init__(self, text: str):
        super().__init__()
        self.links, self.sources, self.ids, self.words, self.inside = [], [], set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids |= {given[name] for name in ("id", "name") if given.get(name)}
        if tag in ("a", "area") and "href" in given:
            self.links.append(given["href"])
        if tag == "link" and given.get("rel") in ("stylesheet", "icon", "preload"):
            self.sources.append(given["href"])
        if tag in ("img", "script", "source", "iframe", "video") and given.get("src"):
            self.sources.append(given["src"])
        if tag in ("pre", "code", "script", "style"):
            self.inside.append(tag)

    def handle_endtag(self, tag):
        if self.inside and self.inside[-1] == tag:
            self.inside.pop()

    def handle_data(self, data):
        if not self.inside:
            self.words.append(data)


@pytest.fixture(scope="session")
def read(docs_site):
    "A function that reads a page of the site, each once."

    @cache
    def one(name: str) -> Page:
        text = (docs_site / name).read_text(encoding="utf-8")
        return Page(re.sub(r"base64,[A-Za-z0-9+/=\s]{100,}", "base64,", text))

    return one


def pages(site: Path) -> list[str]:
    "Every page, the committed reports too."
    return sorted(p.relative_to(site).as_posix() for p in site.rglob("*.html"))


def text_of(site: Path, name: str) -> str:
    "What a page says, without marks of HTML."
    return unescape(re.sub(r"<[^>]+>", "", (site / name).read_text(encoding="utf-8")))


# ---- nothing is broken, nothing is fetched


def trouble(site: Path, read, name: str, address: str) -> str | None:
    "What is wrong with an address on a page."
    path, _, anchor = unquote(address).partition("#")
    path = path.partition("?")[0]
    target = posixpath.normpath(posixpath.join(posixpath.dirname(name), path)) if path else name
    if not (site / target).is_file():
        return f"{name}: {address} is not there"
    places = {anchor, address.partition("#")[2]}  # a browser takes the anchor as it is, then decoded
    if anchor and target.endswith(".html") and not places & read(target).ids:
        generator = target == "index.html" and (site / "_static" / "generators" / f"{anchor}.js").is_file()
        return None if generator else f"{name}: {address} has no such place"
    return None


def test_every_link_leads_somewhere_and_every_picture_is_there(docs_site, read):
    wrong, followed = [], 0
    for name in pages(docs_site):
        page = read(name)
        for address in {*page.links, *page.sources}:
            if re.match(r"https?:|mailto:|data:", address):
                continue
            followed += 1
            wrong += [found] if (found := trouble(docs_site, read, name, address)) else []
    assert not wrong, "\n".join(wrong[:30])
    assert followed > 20 * len(LESSONS)


def test_no_page_fetches_anything(docs_site, read):
    for name in pages(docs_site):
        outside = [a for a in read(name).sources if re.match(r"https?:|//", a)]
        assert not outside, f"{name} fetches {outside[0]}"
    for path in [*docs_site.rglob("*.css"), *docs_site.rglob("*.js")]:
        found = re.search(r"(?:@import|url\()\s*['\"]?https?:", path.read_text(encoding="utf-8"))
        assert not found, f"{path.name} fetches from elsewhere"


def test_no_page_names_a_machine_path(docs_site):
    for path in [*docs_site.rglob("*.html"), *docs_site.rglob("*.txt"), docs_site / "searchindex.js"]:
        text = re.sub(r"base64,[A-Za-z0-9+/=\s]+", "", path.read_text(encoding="utf-8"))
        found = MACHINE.search(text)
        assert not found, f"{path.relative_to(docs_site)} names {found[0]}"


RESIDUE = re.compile(
    r"^#\|\s*\w|\]\([\w./#-]+\)|\$\$|```|\{\{\w|default_exp|AUTOGENERATED|VBox\(children|HBox\(children"
    r"|vnd\.jupyter\.widget|^:::|\{py:\w+\}",
    re.MULTILINE,
)


def test_no_residue_of_notebooks_or_markdown(docs_site, read):
    for name in pages(docs_site):
        found = RESIDUE.search("".join(read(name).words))
        assert not found, f"{name} shows {found[0]!r}"
        code = "\n".join(re.findall(r"<pre.*?</pre>", (docs_site / name).read_text("utf-8"), re.DOTALL))
        mark = re.search(
            r"^#\|\s*(?:export|hide|eval|default_exp).*", re.sub(r"<[^>]+>", "", code), re.MULTILINE
        )
        assert not mark, f"{name} shows {mark[0]!r}"


# ---- guide, lessons, reference


def shown_pictures(notebook: Path) -> int:
    "Pictures that a notebook's page must show: those of cells that are not hidden."
    cells = [c for c in nbformat.read(notebook, as_version=4).cells if c.cell_type == "code"]
    seen = [c for c in cells if not re.search(r"^#\|\s*hide\b", c.source, re.MULTILINE)]
    return sum(any(k.startswith("image/") for k in o.get("data", {})) for c in seen for o in c.outputs)


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda p: p.stem)
def test_a_lesson_has_its_page_with_its_pictures(docs_site, read, lesson):
    page = read(f"lessons/{lesson.stem}.html")
    assert sum("_images/" in source for source in page.sources) == shown_pictures(lesson)


def test_every_tutorial_is_in_the_guide(docs_site, read):
    for tutorial in sorted((ROOT / "nbs" / "tutorials").glob("*.ipynb")):
        assert f"{tutorial.stem}.html" in read("guide/index.html").links
        assert (docs_site / "guide" / f"{tutorial.stem}.html").is_file()


def public_names() -> dict[str, list[str]]:
    "`__all__` of every module that a notebook exports."
    found = {}
    for path in sorted((ROOT / "gannb").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
                found[name] = ast.literal_eval(node.value)
    return found


def test_every_public_name_is_in_the_reference(docs_site, read):
    known = public_names()
    assert len(known) > 100
    for module, names in known.items():
        ids = read(f"reference/{module}.html").ids
        lacking = [name for name in names if f"{module}.{name}" not in ids]
        assert not lacking, f"{module}: {lacking}"


def test_an_entry_says_shapes_units_errors_and_leads_to_its_code(docs_site, read):
    text = (docs_site / "reference" / "gannb.sample.html").read_text(encoding="utf-8")
    entry = text.split('id="gannb.sample.sample_seeded"')[1].split('id="gannb.sample.interpolate"')[0]
    said = " ".join(unescape(re.sub(r"<[^>]+>", " ", entry)).split())
    for words in (
        "n : int",
        "of the draw; not the training's seed",
        "(n, size, size, C) uint8",
        "Raises GannbError",
    ):
        assert words in said
    assert 'href="../lessons/09_sample.html#source-sample_seeded"' in entry


SOURCE = '''
def f(
    x: int,  # pixels
    y: float = 0.5,  # a share, 0 to 1
    *,
    name: str = "a",
) -> str:  # one word
    """What it does. Raises `GannbError` for a y below 0."""


def g(x: int) -> int:  # of what
    "On one line."


class C:
    "A class."

    a: int = 3  # how many

    def __init__(self, z: int):
        "Not for readers."

    def use(self, q: int) -> None:
        "A method."


LIMIT = 7  # at most
ENDS = LOW, HIGH = 16, 256

__all__ = ["f", "g", "C", "LIMIT", "ENDS", "LOW", "HIGH"]
'''


def test_the_reference_is_read_from_the_source(tmp_path):
    (tmp_path / "gannb").mkdir()
    (tmp_path / "gannb" / "m.py").write_text(SOURCE)
    (tmp_path / "gannb" / "n.py").write_text('from .m import f\n\n__all__ = ["f"]\n')
    module, other = site_reference.modules(tmp_path / "gannb")
    assert '<a href="gannb.m.html#gannb.m.f">' in site_reference.page(other, "n.html")
    page = site_reference.page(module, "m.html")
    assert "{py:function} f(x: int, y: float = 0.5, *, name: str = 'a') -> str" in page
    assert (
        "| `x` | pixels |" in page
        and "| `y` | a share, 0 to 1 |" in page
        and "| `returns` | one word |" in page
    )
    assert "**Raises** `GannbError` for a y below 0." in page
    assert "*Of what.*" in page
    assert "{py:class} C(z: int)" in page and "| `a: int = 3` | how many |" in page
    assert "{py:method} use(q: int) -> None" in page and "Not for readers" not in page
    assert "{py:data} LIMIT" in page and "at most" in page
    assert "```python\n256\n```" in page.split("{py:data} HIGH")[1]
    assert "```python\n(16, 256)\n```" in page.split("{py:data} ENDS")[1]


# ---- what a page is made of


def test_links_become_addresses_of_the_site():
    pages = {"docs/data.md": "docs/data.html", "nbs/01_a.ipynb": "lessons/01_a.html"}
    links = site_links.Links(ROOT, pages)
    text = "See [`data`](../docs/data.md#own), ![a](x.png) `[no](link)` and [out](https://a.org/b).\n```\n[no](x.md)\n```"
    made = links.rewrite(text, "nbs", "lessons/01_a.html")
    assert '<a href="../docs/data.html#own">`data`</a>' in made
    assert "`[no](link)`" in made and "[no](x.md)" in made and 'href="https://a.org/b"' in made
    assert links.broken == ["lessons/01_a.html: x.png"], "a picture that is not there is told"
    assert '<a href="../files/LICENSE.txt">' in links.rewrite("[l](../LICENSE)", "nbs", "lessons/01_a.html")
    assert links.shipped == {"LICENSE": "files/LICENSE.txt"}


def cell(source: str, **data) -> nbformat.NotebookNode:
    outputs = [nbformat.v4.new_output("display_data", data=data)] if data else []
    return nbformat.v4.new_code_cell(source, outputs=outputs)


def test_a_cell_is_shown_without_marks_and_without_a_dead_widget():
    live = "application/vnd.jupyter.widget-view+json"
    made = site_notebooks.code_cell(
        cell("#| export\n#| eval: false\ntext = '''\n#| stays\n'''", **{"text/plain": "x"})
    )
    assert made.source == "text = '''\n#| stays\n'''" and len(made.outputs) == 1
    assert site_notebooks.code_cell(cell("#| hide\nassert 1")) is None
    assert site_notebooks.code_cell(cell("#| default_exp a")) is None
    blank = site_notebooks.code_cell(cell("w", **{live: {}, "text/plain": "VBox(children=())"}))
    assert blank.outputs == []
    still = site_notebooks.code_cell(cell("w", **{live: {}, "text/plain": "A grid.", "image/png": "aGk="}))
    assert set(still.outputs[0].data) == {"text/plain", "image/png"}
    assert site_notebooks.made_in("a = 1\ndef f(): ...\nclass C: ...\nb: int = 2\nc, d = 1, 2") == list(
        "afCbcd"
    )


# ---- front page, reports, ledger


def test_the_front_page_says_what_came_out_how_to_begin_and_how_fast(docs_site):
    said = " ".join(text_of(docs_site, "index.html").split())
    for paper in PAPERS:
        [claim] = summary.telling(paper, 1)
        for words in (claim["short"], summary.here(claim), summary.verdict_words(claim)):
            assert " ".join(words.split()) in said, words
    assert "make reproduce make test" in said
    ratios = [
        x for x in (ROOT / "docs" / "benchmarks.md").read_text("utf-8").splitlines() if x.startswith("|")
    ]
    first = ratios[2].split("|")[2].strip()
    assert first in said


def test_the_weights_on_the_site_are_those_of_the_repository(docs_site):
    shipped = sorted((docs_site / "_static" / "generators").glob("*.js"))
    assert len(shipped) >= 5
    for path in shipped:
        name, _, weights = json.loads("[" + re.search(r"receive\((.*)\);", path.read_text())[1] + "]")
        card = json.loads((ROOT / "outputs" / "reference" / "generators" / f"{name}.json").read_text())
        assert sha256(base64.b64decode(weights)).hexdigest() == card["sha256"]


def test_the_ledger_shows_every_claim_of_every_paper(docs_site, read):
    links = set(read("reports/ledger.html").links)
    for paper in PAPERS:
        claims = summary.record(paper, "claims")
        home = f"../outputs/reference/{paper}/report.html"
        lacking = [c["id"] for c in claims if f"{home}#claim-{c['id']}" not in links]
        assert not lacking, f"{paper}: {lacking[:5]}"


@pytest.mark.parametrize("paper", PAPERS)
def test_a_report_lies_on_the_site_and_leads_back(docs_site, read, paper):
    assert f"../outputs/reference/{paper}/report.html" in read(f"reports/{paper}.html").links
    assert "../../../reports/index.html" in read(f"outputs/reference/{paper}/report.html").links
    committed = (ROOT / "outputs" / "reference" / paper / "report.html").read_text(encoding="utf-8")
    assert "reports/index.html" not in committed, "the build wrote into the repository"


# ---- excerpts of the search


def test_the_words_of_a_page_are_its_articles_without_signatures_and_links_aside():
    page = """<nav>no</nav><article><h1>A<a class="headerlink" href="#a">no</a></h1><p>one<br>two</p>
    <dl><dt class="sig" id="m.f">f(<em>x: int</em>)</dt>
    <dd><a class="source" href="x">no</a>Does &lt;b&gt;.</dd></dl>
    <section id="b"><h2>B</h2><script>no()</script><p>three</p></section></article><p>no</p>"""
    assert site_excerpts.parts_of(page) == [("", "A one two"), ("m.f", "f: Does <b>."), ("b", "B three")]


def test_every_page_that_the_search_can_find_has_its_words(docs_site):
    index = json.loads((docs_site / "searchindex.js").read_text("utf-8").partition("(")[2].rpartition(")")[0])
    texts = {name: docs_site / "_static" / "text" / f"{name}.js" for name in index["docnames"]}
    assert len(texts) > 100 and not [name for name, path in texts.items() if not path.is_file()]
    for name, path in texts.items():
        told = path.read_text("utf-8")
        called, parts = json.loads(f"[{told.removeprefix('gannbText(').rstrip().removesuffix(');')}]")
        assert called == name and parts and not MACHINE.search(told), name
