"""A report on images whose folder, classes and files carry HTML, Markdown and script, opened in a browser:
no foreign element, no dialog, no request."""

import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import toy_paper  # noqa: E402
from test_study import PUBLISHED, toy  # noqa: E402

from gannb.report import page as page_room
from gannb.report.site import export_html, index_page
from gannb.stages.arms import Arm
from gannb.stages.gan import load_data
from gannb.stages.ladder import ladder_sentence
from gannb.studies.fruits import words
from gannb.studies.study import Figure, Logs, Table, ladder_table

FOLDER = "<img src=x onerror=alert(1)> *starred* [click](javascript:alert(2)) src=y.js data=z"
CLASSES = (
    "<svg onload=alert(3)>",
    "**strong** $\\no{$ `code` ![p](\\\\example.org\\p.png)",
    "<x-foreign id=x>",
)
FILES = ("<script>alert(4)<.png", "a\n# heading.png", "&lt;b&gt; 'q' \"r\".png")
ELSEWHERE = "see https://example.org/x and ![q](https://example.org/q.png) <iframe src=https://example.org>"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    "A folder of small images, hostile by its names."
    root = tmp_path_factory.mktemp("images") / FOLDER
    draw = np.random.default_rng(0)
    for name in CLASSES:
        (root / name).mkdir(parents=True)
        for i in range(40):
            pixels = draw.integers(0, 255, (16, 16), np.uint8)
            file = FILES[i] if i < len(FILES) else f"{i} <b>.png"
            Image.fromarray(pixels).save(root / name / file, "PNG")
    return f"folder:{root}"


def arms(cfg, source):
    made = []
    for role, name in zip(("three", "eight"), CLASSES):
        gan = cfg.training(dataset=source, classes=[name], batch_size=16, split="all")
        data = load_data(gan)
        made.append(Arm(name, gan, data, role, data, "as published"))
    gan = cfg.training(dataset=source, classes=[CLASSES[0]], batch_size=16, split="all", ngf=16)
    return [*made, Arm(f"{CLASSES[0]}, wider", gan, made[0].data, "three", made[0].data, "wider")]


class Config(toy_paper.CONFIG):
    dataset: str = "digits"


class Rooms:
    "The rooms of the toy paper, on other images."

    def __init__(self, source):
        self.arms, self.rows = (lambda cfg: arms(cfg, source)), toy_paper.rows
        for name in ("hero", "measured", "cards", "records"):
            setattr(self, name, getattr(toy_paper, name))

    def notes(self, study):
        return [*(t.name for t in study), *study.first.data.notes, ELSEWHERE]


def shown(study, source):
    "The page of the study, with each of its names in each place where names may stand."
    names = {role: t.name for role, t in study.main.items()}
    bad = [source, *CLASSES, *FILES, ELSEWHERE]
    page = study.page()
    page.show("## What was done differently", words.done_differently(study), words.stand_ins(study))
    page.show(ladder_sentence(study.net, names, study.ladders))
    page.show(ladder_table(names, study.ladders, f"The ladder of {source}"), *bad[1:3])
    page.show(*(f"**Here:** 12 images of {name}, *all* of them." for name in bad))
    page.show(Table("names", [{"a": b, "b": 1.0} for b in bad], {"a": bad[0], "b": bad[1]}, " ".join(bad)))
    page.show(Table("folded", [{"a": b} for b in bad], {"a": "x"}, f"{bad[1]}. {bad[2]}", folded=True))
    page.show(Figure("names", np.zeros((8, 8, 3), np.uint8), f"Of {bad[1]}.", " ".join(bad)))
    page.show(Logs(bad, bad, " ".join(bad)), toy_paper.scores(study))
    page.verdicts("two-digits", "wider-is-better")
    page.means()
    study.open_choices(page)
    study.close(page)
    return page.report.folder


@pytest.fixture(scope="module")
def pages(hostile, tmp_path_factory):
    "The page and the index of a report, from a notebook that shows what the report showed."
    with pytest.MonkeyPatch.context() as patch:
        blocks = []
        patch.setattr(page_room, "_show", lambda kind, text: blocks.append((kind, text)))
        outputs = tmp_path_factory.mktemp("outputs")
        patch.setenv("GANNB_OUTPUTS", str(outputs))
        patch.setattr(toy_paper, "CONFIG", Config)
        study = toy(preset="smoke", dataset=hostile)
        study.rows_room = study.show_room = Rooms(hostile)
        study.published = PUBLISHED | {"names": {"as published": CLASSES[1], "wider": CLASSES[2]}}
        folder = shown(study.run(), hostile)
    mime = {"HTML": "text/html", "Markdown": "text/markdown"}
    cells = []
    for kind, text in blocks:
        output = nbformat.v4.new_output("display_data", {mime[kind]: text, "text/plain": ""})
        cells.append(nbformat.v4.new_code_cell(f"print({hostile!r})", outputs=[output]))
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "report.ipynb")
    return export_html(folder / "report.ipynb", folder / "report.html"), index_page(outputs)


FOREIGN = """() => [...document.querySelectorAll(
    '[onload], [onerror], x-foreign, iframe, main svg[onload], main script, main a[href^="javascript"],' +
    'main a[href*="example.org"], main img:not([src^="data:"]):not([src^="toy/"])')].map(e => e.outerHTML)"""


def test_no_name_becomes_an_element_a_dialog_or_a_request(watched, pages):
    for page in pages:
        seen = watched()
        asked = []
        seen.tab.on("dialog", lambda d, asked=asked: (asked.append(d.message), d.dismiss()))
        seen.tab.on("request", lambda r, asked=asked: asked.append(r.url))
        seen.tab.goto(page.as_uri())
        seen.tab.wait_for_timeout(500)
        assert seen.tab.evaluate(FOREIGN) == []
        assert not [a for a in asked if not a.startswith(("data:", page.parent.as_uri()))]


def test_every_name_is_told_as_it_is_written(watched, pages):
    seen = watched()
    seen.tab.goto(pages[0].as_uri())
    told = seen.tab.inner_text("main")
    for name in (FOLDER, *CLASSES, ELSEWHERE, "a # heading.png"):
        assert f"12 images of {name}" in told or name in told, name
    own = seen.tab.evaluate(
        "[...document.querySelectorAll('.prose strong, .prose em')].map(e => e.innerText)"
    )
    assert {"Here:", "all", "The paper:"} <= set(own)
    assert not {"starred", "strong", "heading"} & set(own)
    heads = seen.tab.evaluate("[...document.querySelectorAll('main h1, main h2')].map(e => e.innerText)")
    assert not any("heading.png" in head for head in heads)


def test_the_records_keep_the_names(pages):
    kept = (pages[0].parent / "tables" / "names.csv").read_text(encoding="utf-8")
    assert all(name in kept for name in CLASSES)
