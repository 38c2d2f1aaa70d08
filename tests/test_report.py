"""The report: nothing missing, nothing invented, one page that works from disk."""

import csv
import json
import re

import nbformat
import numpy as np
import pytest

from gannb import plot
from gannb.ledger.check import check
from gannb.ledger.words import fmt, interval_words
from gannb.report.numbers import cell_text, table_csv
from gannb.report.page import MARKER, Report, block, seed_rows
from gannb.report.site import export_html, index_page
from gannb.base import GannbError, Missing
from gannb.ledger.judge import judge_all

META = {
    "title": "A study <of> letters",
    "paper": "Nobody (2026)",
    "preset": "desk",
    "setting": "desk",
    "data": ["letters", "stand-in: digits"],
    "device": "CPU",
    "run_time": 75.0,
    "date": "2026-01-02",
    "commit": "abc",
    "command": "gannb reproduce x",
}


def measured(values=(0.97, 0.985, 0.99, 0.98, 0.992)):
    place = {"arm": "base", "dataset": "letters", "step": "end", "metric": "D_real", "protocol": {"w": 1}}
    return [place | {"seed": s, "value": v} for s, v in enumerate(values)]


ROWS = measured()


def judged(rows=ROWS, setting="desk", bound=0.9):
    base = {
        "where": "section 4",
        "supported_by_paper": True,
        "supported_reason": "its log",
        "sentence": "D(x) is close to 1 & stays.",
    }
    claims = [
        {
            **base,
            "id": "d-wins",
            "short": "D wins",
            "published": 0.9999,
            "findings": {"reproduced": "D wins on letters"},
            "test": {
                "kind": "bound",
                "metric": "D_real",
                "quantity": "D(x)",
                "arm": "base",
                "dataset": "letters",
                "direction": "above",
                "bound": bound,
                "reason": "close to 1",
            },
        },
        {
            **base,
            "id": "later",
            "short": "Memorised",
            "published": None,
            "supported_by_paper": None,
            "test": {"kind": "waits", "what": "metrics to come"},
        },
    ]
    return judge_all(claims, rows, setting)


def written(folder, claims=None, **meta):
    claims = claims or judged()
    rep = Report(folder, META | meta)
    rep.head(claims)
    rep.figure(
        plot.hero([np.zeros((8, 16, 16, 1), np.uint8)], [np.ones((8, 16, 16, 1), np.uint8)], ["letters"]),
        "hero",
        "A finding.",
        'What "is" seen',
    )
    rep.table(
        [
            {"a": "x", "b": 0.98, "c": {"mean": 0.983, "interval": (0.974, 0.993), "n": 5}},
            {"a": "y", "b": "n/a (not stated)", "c": 0.5},
        ],
        "numbers",
        {"a": "Set", "b": "D(x), paper (probability)", "c": "D(x) (probability)"},
        "Close.",
    )
    for c in claims:
        rep.verdict(c)
    rep.finish(claims, {"preset": "desk"}, {"commit": "abc"}, {"seconds": 75.0}, ROWS)
    return rep


def test_a_finished_run_has_every_file_and_the_marker_last(tmp_path):
    folder = tmp_path / "study" / "run"
    rep = written(folder)
    names = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert names == {
        "figures/fig01_hero.png",
        "figures/seeds_d-wins.png",
        "tables/numbers.csv",
        "claims.json",
        "results.csv",
        "protocols.json",
        "config.json",
        "provenance.json",
        "timing.json",
        "finished.json",
    }
    assert check(folder) == [], "the folder alone gives the same verdicts"
    assert json.loads((folder / "claims.json").read_text(encoding="utf-8")) == [
        {
            **c,
            "evidence": []
            if c["id"] == "later"
            else ["tables/numbers.csv", "figures/fig01_hero.png", "figures/seeds_d-wins.png"],
        }
        for c in judged()
    ]
    marker = json.loads((folder / "finished.json").read_text(encoding="utf-8"))
    assert (
        marker["sentence"] == "D wins on letters."
        and marker["hero"] == "figures/fig01_hero.png"
        and marker["counts"]["not testable here"] == 1
    )
    assert (
        max(p.stat().st_mtime_ns for p in folder.rglob("*.*"))
        == (folder / "finished.json").stat().st_mtime_ns
    )
    assert len(rep.figures) == len(rep.tables) == 1


def test_a_new_report_in_an_old_folder_is_unfinished_and_leaves_no_stale_figure(tmp_path):
    written(tmp_path)
    (tmp_path / "figures" / "fig09_old.png").write_bytes(b"x")
    Report(tmp_path, META)
    assert not (tmp_path / MARKER).exists()
    written(tmp_path)
    assert not (tmp_path / "figures" / "fig09_old.png").exists()


def recorded_evidence(tmp_path, evidence=None):
    "The evidence of the first claim in claims.json, with two tables and a figure before its verdict."
    rep = Report(tmp_path, META)
    claims = judged()
    rep.table([{"a": 1}], "first", ["a"])
    rep.figure(np.zeros((4, 4), np.uint8), "map", "A finding.", "black")
    rep.table([{"a": 2}], "second", ["a"])
    rep.verdict(claims[0], evidence=evidence)
    rep.verdict(claims[1], evidence=["first"])
    rep.finish(claims, {}, {}, {}, ROWS)
    records = json.loads((tmp_path / "claims.json").read_text(encoding="utf-8"))
    assert records[1]["evidence"] == [], "what was not measured rests on nothing"
    return records[0]["evidence"]


SEEDS = "figures/seeds_d-wins.png"


@pytest.mark.parametrize(
    "evidence, files",
    [
        (None, ["tables/second.csv", "figures/fig01_map.png", SEEDS]),
        (["first"], ["tables/first.csv", SEEDS]),
        (["map", "first"], ["tables/first.csv", "figures/fig01_map.png", SEEDS]),
        ([], [SEEDS]),
    ],
)
def test_a_verdict_rests_on_what_is_named_else_on_what_was_shown_last(tmp_path, evidence, files):
    assert recorded_evidence(tmp_path, evidence) == files


def test_evidence_that_was_not_shown_is_refused(tmp_path):
    rep = Report(tmp_path, META)
    rep.table([{"a": 1}], "numbers", ["a"])
    with pytest.raises(GannbError, match="Did you mean 'numbers'"):
        rep.verdict(judged()[0], evidence=["nubmers"])
    assert not rep.judged and not (tmp_path / SEEDS).exists(), "nothing was recorded"
    rep.verdict(judged()[0], evidence=["numbers"])


def test_no_text_can_leave_its_place_on_the_page(tmp_path):
    evil = "</p></dd><script>alert('&\"')</script>"
    rep = Report(tmp_path, META | {"title": evil, "paper": evil, "data": evil, "command": evil})
    claims = [{**c, "short": evil, "sentence": evil, "where": evil, "reason": evil} for c in judged()]
    claims = [{**c, "published": evil, "ours": evil, "finding": evil} for c in claims]
    rep.head(claims)
    rep.figure(np.zeros((4, 4), np.uint8), "map", evil, evil)
    rep.animation([np.zeros((4, 4, 1), np.uint8)] * 2, "film", evil, evil)
    rep.table([{"a": evil, "b": Missing(evil)}], "numbers", {"a": evil, "b": "b"}, evil)
    rep.verdict(claims[0])
    rep.logs([evil], [evil], evil, evil, evil)
    rep.cards({evil: {evil: evil, "deep": {evil: [evil]}}})
    rep.provenance({evil: evil}, {evil: {evil: evil}})
    assert len(rep.blocks) == 8 and all(type(b) is str and "&lt;script&gt;" in b for b in rep.blocks)
    assert not [b for b in rep.blocks if "<script" in b or evil in b]
    for tag in ("p", "dd", "td", "th", "figcaption", "summary", "pre"):
        for b in rep.blocks:
            assert len(re.findall(rf"<{tag}\b", b)) == b.count(f"</{tag}>"), tag


def test_blocks_are_plain_text_that_can_be_joined():
    "Text of the template engine would escape whatever is put before it."
    assert "<h2>" + block("note", "a < b", "na") == '<h2><p class="na">a &lt; b</p>'


def test_finish_refuses_a_ledger_row_that_leads_nowhere(tmp_path):
    rep = Report(tmp_path, META)
    claims = judged()
    rep.head(claims)
    rep.verdict(claims[0])
    with pytest.raises(GannbError, match="later"):
        rep.finish(claims, {}, {}, {}, ROWS)
    assert not (tmp_path / MARKER).exists()


def test_head_shows_sentence_counts_and_a_link_for_every_claim(tmp_path):
    rep = Report(tmp_path, META)
    rep.head(judged())
    block = rep.blocks[0]
    assert (
        "D wins on letters." in block
        and "A study &lt;of&gt; letters" in block
        and "75 s" in block
        and "stand-in: digits" in block
    )
    assert (
        re.findall(r'href="#claim-([\w-]+)"', block) == ["d-wins", "later"]
        and "0.983 [0." in block
        and "✓ reproduced (desk setting)" in block
    )
    assert "<b>1</b> ✓ reproduced" in block and "artefact</li>" not in block


def test_verdict_block_has_anchor_reason_rule_and_seeds(tmp_path):
    rep = Report(tmp_path, META)
    first, second = judged()
    rep.verdict(first)
    rep.verdict(second)
    a, b = rep.blocks
    assert (
        'id="claim-d-wins"' in a
        and "close to 1 &amp; stays" in a
        and "Rule" in a
        and "data:image/png" in a
        and "lies above 0.9" in a
    )
    assert 'id="claim-later"' in b and "data:image" not in b and "metrics to come" in b
    assert (
        seed_rows(first)[0]["values"] == [0.97, 0.985, 0.99, 0.98, 0.992]
        and seed_rows(first)[0]["paper"] == 0.9999
    )


@pytest.mark.parametrize(
    "name, caption, alt, word",
    [("a b", "c", "d", "name"), ("ok", " ", "d", "caption"), ("ok", "c", "", "alt")],
)
def test_a_figure_needs_name_caption_and_alternative_text(tmp_path, name, caption, alt, word):
    with pytest.raises(GannbError, match=word):
        Report(tmp_path, META).figure(np.zeros((4, 4), np.uint8), name, caption, alt)
    assert not list((tmp_path / "figures").iterdir())


def test_empty_cells_unfinished_descriptions_and_double_names_are_refused(tmp_path):
    rep = Report(tmp_path, META)
    for cell in (None, ""):
        with pytest.raises(GannbError, match="n/a"):
            rep.table([{"a": cell}], "t", ["a"])
    with pytest.raises(GannbError, match="no rows"):
        rep.table([], "t", ["a"])
    rep.table([{"a": 1}], "t", ["a"])
    with pytest.raises(GannbError, match="before"):
        rep.table([{"a": 1}], "t", ["a"])
    with pytest.raises(GannbError, match="commit"):
        Report(tmp_path, {k: v for k, v in META.items() if k != "commit"})


def test_table_and_csv_say_the_same(tmp_path):
    rep = written(tmp_path)
    block = next(b for b in rep.blocks if b.startswith('<div class="g-tablebox"'))
    head, first, second = csv.reader(
        (tmp_path / "tables" / "numbers.csv").read_text(encoding="utf-8").splitlines()
    )
    assert head == [
        "Set",
        "D(x), paper (probability)",
        "D(x) (probability)",
        "D(x) (probability) low",
        "D(x) (probability) high",
        "D(x) (probability) n",
    ]
    assert first == ["x", "0.980", "0.983", "0.974", "0.993", "5"] and second == [
        "y",
        "n/a (not stated)",
        "0.500",
        "n/a (no interval)",
        "n/a (no interval)",
        "n/a (one value)",
    ]
    assert "0.983 [0.974, 0.993] (n = 5)" in block and 'class="num na"' in block and "Table 1." in block


def test_a_missing_value_says_why_in_table_and_csv():
    gone = Missing("every seed diverged")
    assert cell_text(gone) == "n/a (every seed diverged)"
    rows = [{"a": {"mean": 0.5, "interval": (0.4, 0.6), "n": 5}}, {"a": gone}, {"a": 112800}]
    assert table_csv(rows, {"a": "x"}).splitlines() == [
        "x,x low,x high,x n",
        "0.500,0.400,0.600,5",
        "n/a (every seed diverged),n/a (no interval),n/a (no interval),n/a (one value)",
        "112800,n/a (no interval),n/a (no interval),n/a (one value)",
    ]


@pytest.mark.parametrize(
    "value, text",
    [
        (0.94312, "0.943"),
        (112800, "112,800"),
        (9.8182, "9.82"),
        (1e-6, "< 0.0001"),
        (-1e-6, "> -0.0001"),
        (0.0, "0"),
        (True, "yes"),
        (float("inf"), "n/a (not a finite number)"),
        (np.float32(2.5), "2.50"),
    ],
)
def test_numbers_in_words(value, text):
    assert fmt(value) == text


def test_intervals_never_collapse():
    assert (
        interval_words(0.99981, (0.99978, 0.99984), 3) == "0.99981 [0.99978, 0.99984]"
        and interval_words(78.12, (77.2, 79.04), 1) == "78.1 [77.2, 79.0]"
    )


def notebook(tmp_path, blocks):
    "An executed notebook: a log cell, then the blocks of a report as outputs."
    v4 = nbformat.v4
    html = [v4.new_output("display_data", data={"text/html": b}) for b in blocks]
    log = v4.new_code_cell(
        "import torch  # the work",
        metadata={"tags": ["log"]},
        outputs=[v4.new_output("stream", name="stdout", text="epoch 1 of 10 LOGLINE")],
    )
    late = v4.new_code_cell(
        "train()",
        metadata={"tags": ["log"]},
        outputs=[v4.new_output("stream", name="stdout", text="SECONDLOG")],
    )
    warn = v4.new_code_cell(
        "rep.head(claims)", outputs=[v4.new_output("stream", name="stderr", text="A WARNING"), *html]
    )
    nb = v4.new_notebook(
        cells=[
            v4.new_markdown_cell("# Raw title"),
            log,
            warn,
            late,
            v4.new_markdown_cell("## 4.1 EMNIST\n\nProse with `code`."),
            v4.new_code_cell("1 + 1", outputs=[v4.new_output("stream", name="stdout", text="kept output")]),
        ]
    )
    nbformat.write(nb, tmp_path / "r.ipynb")
    return tmp_path / "r.ipynb"


def test_the_page_opens_with_the_title_and_needs_no_network(tmp_path):
    rep = written(tmp_path / "run")
    page = export_html(notebook(tmp_path, rep.blocks), tmp_path / "r.html").read_text(encoding="utf-8")
    body = page.split("<main>")[1]
    assert (
        re.sub(r"\s", "", body).startswith('<headerclass="g-head"><h1>')
        and "<title>A study &lt;of&gt; letters</title>" in page
    )
    assert "LOGLINE" not in page and "SECONDLOG" not in page and "kept output" in page
    assert re.search(r'<details class="code">(?:(?!</details>).)*A WARNING', page, re.S), (
        "warnings are folded away with their code"
    )
    assert (
        "the work" in body.split('id="work"')[1]
        and "Raw title" in body.split('id="work"')[1]
        and body.count("<h1") == 1
    )
    toc = re.search(r'<nav [^>]*class="toc".*?</nav>', page, re.S).group()
    assert re.findall(r"<a [^>]*>(.*?)</a>", toc) == [
        "The ledger at a glance",
        "4.1 EMNIST",
        "The cells that did the work",
    ]
    assert (
        all(f'id="{a}"' in page for a in re.findall(r'href="#([^"]+)"', page))
        and 'style class="g-parts"' not in page
    )
    assert not re.search(r'(?:src|href)="(?!data:|#)[^"]*\.(?:js|css|png)', page)


def test_the_page_refuses_pictures_from_elsewhere(tmp_path):
    with pytest.raises(GannbError, match="example.org/a.png"):
        export_html(notebook(tmp_path, ['<img src="https://example.org/a.png">']), tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()
    with pytest.raises(GannbError, match="does not exist"):
        export_html(tmp_path / "none.ipynb", tmp_path / "r.html")


def test_the_index_leads_to_the_newest_run_of_each_paper(tmp_path):
    written(tmp_path / "study" / "old", date="2026-01-01")
    written(tmp_path / "study" / "new", date="2026-02-01")
    written(tmp_path / "other" / "run", judged(bound=0.999), title="Other study")
    written(tmp_path / "reference" / "study", date="2026-03-01")
    unfinished = tmp_path / "study" / "half"
    unfinished.mkdir()
    (unfinished / "claims.json").write_text("[]")
    (tmp_path / "study" / "new" / "report.html").write_text("x")
    page = index_page(tmp_path).read_text(encoding="utf-8")
    cards = re.findall(r"<li>(?:(?!</li>\s*<li>).)*?<h2>.*?<p class=\"facts\">", page, re.S)
    assert (
        len(cards) == 2
        and 'href="study/new/report.html"' in page
        and "study/old" in page
        and "reference/study" in page
        and "half" not in page
    )
    assert (
        page.count('<tr data-v="yes">') == 1
        and page.count('<tr data-v="no">') == 1
        and page.count('<tr data-v="untested">') == 2
    )
    assert (
        'src="study/new/figures/fig01_hero.png"' in page
        and (tmp_path / "study/new/figures/fig01_hero.png").is_file()
    )


def test_the_index_of_nothing_says_what_to_run(tmp_path):
    assert "make reproduce" in index_page(tmp_path).read_text(encoding="utf-8")
    written(tmp_path / "a" / "b")
    (tmp_path / "a" / "b" / "claims.json").write_text("{")
    with pytest.raises(GannbError, match="damaged"):
        index_page(tmp_path)
