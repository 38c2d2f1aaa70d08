"""The report: nothing missing, nothing invented, one page that works from disk."""

import csv
import json
import re
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest

from gannb import plot
from gannb.ledger.check import check
from gannb.ledger.words import fmt, interval_words
from gannb.report.numbers import cell_text, table_csv
from gannb.report.blocks import MARKER, block, ledger_groups
from gannb.report.page import Report
from gannb.report.site import export_html, index_page
from gannb.report.tracks import track_sections
from gannb.report.verdict import claim_block, claim_details, control_rows
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
        "tables/claim_d-wins.csv",
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
            "evidence": [] if c["id"] == "later" else ["tables/claim_d-wins.csv"],
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


def recorded_evidence(tmp_path, evidence):
    "The evidence of the first claim in claims.json, with two tables and a figure before its verdict."
    rep = Report(tmp_path, META)
    claims = judged()
    rep.table([{"a": 1}], "first", ["a"])
    rep.figure(np.zeros((4, 4), np.uint8), "map", "A finding.", "black")
    rep.table([{"a": 2}], "second", ["a"])
    rep.verdict(claims[0], evidence)
    rep.verdict(claims[1] | {"evidence": ["first", "not in this run"]})
    rep.finish(claims, {}, {}, {}, ROWS)
    records = json.loads((tmp_path / "claims.json").read_text(encoding="utf-8"))
    assert records[1]["evidence"] == [], "what was not measured rests on nothing"
    return records[0]["evidence"]


OWN = "tables/claim_d-wins.csv"


@pytest.mark.parametrize(
    "evidence, files",
    [
        ([], [OWN]),
        (["first"], [OWN, "tables/first.csv"]),
        (["map", "first"], [OWN, "tables/first.csv", "figures/fig01_map.png"]),
    ],
)
def test_a_verdict_rests_on_its_own_numbers_and_on_what_is_named(tmp_path, evidence, files):
    assert recorded_evidence(tmp_path, evidence) == files


def test_the_numbers_that_decide_stand_in_the_file_of_the_claim(tmp_path):
    written(tmp_path)
    claim = json.loads((tmp_path / "claims.json").read_text(encoding="utf-8"))[0]
    line, *more = csv.DictReader((tmp_path / claim["evidence"][0]).read_text(encoding="utf-8").splitlines())
    assert not more and line["Line"] == "decides" and line["Mean n"] == "5"
    mean, ends = float(line["Mean"]), (float(line["Mean low"]), float(line["Mean high"]))
    assert mean == pytest.approx(claim["parts"][0]["value"], abs=5e-4)
    assert ends == pytest.approx(claim["interval"], abs=5e-4)
    seeds = [float(line[f"Seed {s}"]) for s in range(5)]
    assert seeds == pytest.approx([r["value"] for r in ROWS], abs=5e-4)


def test_evidence_that_was_not_shown_is_refused(tmp_path):
    rep = Report(tmp_path, META)
    rep.table([{"a": 1}], "numbers", ["a"])
    with pytest.raises(GannbError, match="Did you mean 'numbers'"):
        rep.verdict(judged()[0], evidence=["nubmers"])
    assert not rep.judged and not (tmp_path / OWN).exists(), "nothing was recorded"
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


@pytest.mark.parametrize(
    "name",
    [
        "<svg onload=alert(1)>",
        "![p](https://example.org/p.png)",
        "[c](javascript:alert(1))",
        "<https://example.org>",
        "https://example.org/x",
        "www.example.org",
        "`code` $x$ &lt;b&gt;",
        "__strong__ **so** *too*",
        "a\n\n# heading",
        "1. first",
    ],
)
def test_a_name_in_prose_is_shown_as_it_is_written(tmp_path, name):
    from html import unescape

    from nbconvert.filters.markdown_mistune import markdown2html_mistune

    rep = Report(tmp_path, META, [name])
    rep.text(f"**Here:** images of {name}, *all* of them.")
    rep.text(name)
    first, whole = (markdown2html_mistune(block).strip() for block in rep.blocks)
    plain = re.sub(r"\s", " ", name)
    assert set(re.findall(r"<(\w+)", first)) == {"p", "strong", "em"}
    assert unescape(re.sub("<[^>]+>", "", first)) == f"Here: images of {plain}, all of them."
    assert set(re.findall(r"<(\w+)", whole)) == {"p"} and unescape(whole) == f"<p>{plain}</p>"


def test_prose_of_our_own_stays_as_it_is(tmp_path):
    rep = Report(tmp_path, META, ["apples", "CIFAR-10", "celeba_small", "folder:/a b/c.d"])
    own = "**Here:** 12 images of apples (CIFAR-10, celeba_small), *all* of them; KID 0.02, n = 5."
    for text in (own, "## A heading"):
        rep.text(text)
    assert rep.blocks == [own, "## A heading"]


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
        re.findall(r'href="#claim-([\w-]+)"', block) == ["d-wins", "later"] * 2  # the forest, then the table
        and "0.983 [0." in block
        and "✓ reproduced" in block
        and "(desk setting)" not in block
    )
    assert "<b>1</b> ✓ reproduced" in block and "artefact</li>" not in block
    assert "Reproduction: A study" in block and "How to read this page" in block and "Setting desk" in block


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
        and a.count('<circle class="dot"') == 5
        and "lies above 0.9" in a
    )
    assert 'id="claim-later"' in b and "<svg" not in b and "metrics to come" in b
    assert 'href="#forest"' in a and 'href="tables/claim_d-wins.csv"' in a


def test_the_plot_shows_the_judged_number_its_bound_and_the_papers():
    (section,) = track_sections(judged()[0])
    (row,) = section["rows"]
    assert (
        row["mark"] == "✓"
        and len(row["dots"]) == 5
        and row["dots"] == sorted(row["dots"], key=row["dots"].index)
    )
    low, high = row["interval"]
    assert low < row["mean"] < high and row["bounds"][0] < low, "the whole strip lies beyond the bound"
    assert row["target"] == (row["bounds"][0], 100) and high < row["paper"] <= 100
    assert row["axis"]["quantity"] == "D(x)" and [t["text"] for t in row["axis"]["ticks"]][0] == "0.9"


def test_what_a_claim_compares_is_drawn_under_what_was_judged():
    (section,) = track_sections(various())
    labels = [(row["label"], row["key"], row["axis"] is not None) for row in section["rows"]]
    assert [key for _, key, _ in labels] == ["yes", "arm", "arm"] and labels[1][0] == "quarter"
    assert [axis for *_, axis in labels] == [True, False, True], "an axis under each quantity"
    assert section["rows"][0]["axis"]["quantity"] == "difference of recall"


def test_events_are_counts_with_their_exact_interval():
    rows = [*scored("with", "failed", (0, 0, 0, 0, 0)), *scored("without", "failed", (1, 1, 0, 1, 1))]
    test = {"kind": "events", "metric": "failed", "event": "a failure", "direction": "fewer"}
    test |= {"arms": ["with", "without"]}
    claim = judge_all([CLAIM | {"test": test | {"dataset": "letters", "reason": "made up"}}], rows, "desk")[0]
    first, second = track_sections(claim)[0]["rows"]
    assert (first["words"], second["words"]) == ("0 of 5", "4 of 5")
    assert first["interval"][1] - first["interval"][0] == pytest.approx(52.2 / 112 * 100, abs=6)


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
        re.sub(r"\s", "", body).startswith('<divclass="g-first"><headerclass="g-head"><h1>')
        and "<title>Reproduction: A study &lt;of&gt; letters</title>" in page
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
        "The claims at a glance",
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


def test_a_name_with_src_or_data_in_it_makes_no_page_refused(tmp_path):
    name = """run data=a.png src="b.js" <img src=x> url(https://example.org/c) @import 'd'"""
    rep = Report(tmp_path / "run", META | {"title": name, "data": name})
    rep.head(judged())
    rep.figure(np.zeros((4, 4), np.uint8), "map", name, name)
    rep.text(f"Images of {name}.")
    page = export_html(notebook(tmp_path, rep.blocks), tmp_path / "r.html").read_text(encoding="utf-8")
    assert page.count("data=a.png") >= 4 and "<img src=x" not in page


def cards_of(page):
    "The cards of an index page, each as its HTML."
    return re.split(r"<li>\s*<h2>", page.split("<section")[0])[1:]


def test_the_index_leads_to_the_newest_run_of_a_paper_without_a_reference(tmp_path):
    written(tmp_path / "study" / "old", date="2026-01-01")
    written(tmp_path / "study" / "new", date="2026-02-01")
    written(tmp_path / "other" / "run", judged(bound=0.999), title="Other study")
    unfinished = tmp_path / "study" / "half"
    unfinished.mkdir()
    (unfinished / "claims.json").write_text("[]")
    (tmp_path / "study" / "new" / "report.html").write_text("x")
    page = index_page(tmp_path).read_text(encoding="utf-8")
    other, study = cards_of(page)
    assert "Other study" in other and 'href="study/new/report.html"' in study and "study/half" not in page
    assert "your own run<" in study and "there is no reference result of this paper" in study
    assert "earlier: " in study and 'href="study/old"' in study and "earlier" not in other
    assert [page.count(f'<tr data-v="{key}">') for key in ("yes", "no", "untested")] == [1, 1, 2]
    assert 'src="study/new/figures/fig01_hero.png"' in study
    assert (tmp_path / "study/new/figures/fig01_hero.png").is_file()


def test_a_run_of_ones_own_never_takes_the_place_of_the_reference(tmp_path):
    written(tmp_path / "reference" / "study", date="2026-01-01", commit="thereference")
    written(tmp_path / "study" / "quick", judged(setting="quick"), date="2026-02-01", setting="quick")
    written(tmp_path / "study" / "try", judged(bound=0.999), date="2026-03-01", setting="custom")
    marker = tmp_path / "study" / "try" / MARKER
    marker.write_text(json.dumps(json.loads(marker.read_text()) | {"finished": "2999-01-01T00:00:00"}))
    page = index_page(tmp_path).read_text(encoding="utf-8")
    (card,) = cards_of(page)
    assert "Reference result, setting desk, 2026-01-01" in card and "thereference" in card
    assert 'src="reference/study/figures/fig01_hero.png"' in card
    before, beside = card.split("your own runs<")
    assert "study/quick" not in before and "no reference result" not in card
    assert re.findall(r'<a href="study/\w+">([^<]+)</a>', beside) == [
        "try (custom, 2026-03-01)",
        "quick (2026-02-01)",
    ]
    assert [page.count(f'<tr data-v="{key}">') for key in ("yes", "no", "untested")] == [1, 0, 1]
    assert page.count('href="reference/study#claim-d-wins"') == 2, "the forest and the table lead to its card"


def test_the_index_shows_heroes_whole_and_its_data_in_one_line(tmp_path):
    written(tmp_path / "study" / "run")
    page = index_page(tmp_path).read_text(encoding="utf-8")
    rule = re.search(r"\.papers img \{([^}]*)\}", page)[1]
    assert "height: auto" in rule and "cover" not in rule, "a hero is never cut"
    assert "Data: letters (and 1 more" in page and "stand-in: digits" not in page
    written(tmp_path / "study" / "run", data="complete")
    assert "Data: complete</p>" in index_page(tmp_path).read_text(encoding="utf-8")


def test_the_index_filters_the_forest_and_the_table_by_verdict(tmp_path):
    written(tmp_path / "study" / "run")
    page = index_page(tmp_path).read_text(encoding="utf-8")
    rows = re.findall(r'class="g-frow g-(\w+)" href="([^"]+)"', page)
    assert rows == [("yes", "study/run#claim-d-wins"), ("untested", "study/run#claim-later")]
    buttons = dict(re.findall(r'<button type="button" data-v="(\w+)"[^>]*>[^<]*\((\d+)\)', page))
    assert buttons == {"yes": "1", "untested": "1"}, "a button a verdict that is there"
    script = page.split("<script>")[1]
    assert '"g-" + key' in script and ".g-frow, tr[data-v]" in script and ".index [hidden]" in page


def test_the_index_says_here_and_a_dash_where_the_paper_gives_no_number(tmp_path):
    claims = judged()
    claims[0]["here"], claims[0]["ours"] = "D(x) 0.983 [0.974, 0.993]", "a long text"
    written(tmp_path / "study" / "run", claims)
    rows = re.findall(r"<tr data-v.*?</tr>", index_page(tmp_path).read_text(encoding="utf-8"), re.S)
    assert '<td data-h="here">D(x) 0.983 [0.974, 0.993]</td>' in rows[0] and "a long text" not in rows[0]
    assert '<td data-h="paper">–</td>' in rows[1] and "the paper gives no number" not in rows[1]


def test_the_index_of_nothing_says_what_to_run(tmp_path):
    assert "make reproduce" in index_page(tmp_path).read_text(encoding="utf-8")


@pytest.mark.parametrize("text", ["{", "[]x", "[7]", '{"a": 1}', '[{"id": "x"}]', "[" * 100_000])
@pytest.mark.parametrize("file", ["claims.json", MARKER])
def test_a_damaged_report_is_left_out_of_the_index_and_named(tmp_path, capsys, file, text):
    for run in ("bad", "good"):
        written(tmp_path / "study" / run, title=f"A {run} run")
    (tmp_path / "study" / "bad" / file).write_text(text)
    page = index_page(tmp_path).read_text(encoding="utf-8")
    said = capsys.readouterr().err
    assert "A good run" in page and "A bad run" not in page and page.count('class="papers"') == 1
    assert "leaves a report out" in said and str(tmp_path / "study" / "bad") in said and "Delete" in said


# ---- what a ruler had to show, and what is counted apart --------------------------------------------------
RULER = {"network": "effnet-lite0", "n_real": 400, "n_fake": 300}


def scored(arm, metric, values, dataset="letters"):
    place = {"arm": arm, "dataset": dataset, "step": "end", "metric": metric, "protocol": RULER}
    return [place | {"seed": s, "value": v} for s, v in enumerate(values)]


def control(arm, metric, value, dataset="letters", seed=None):
    return scored(arm, metric, [value], dataset)[0] | {"seed": seed, "step": "control"}


SCORED = [
    *scored("all", "recall", (0.41, 0.43, 0.42, 0.40, 0.44)),
    *scored("quarter", "recall", (0.30, 0.33, 0.31, 0.29, 0.32)),
    *scored("all", "coverage", (0.61, 0.63, 0.62, 0.60, 0.64)),
    *scored("quarter", "coverage", (0.50, 0.53, 0.51, 0.49, 0.52)),
    control("real images", "recall", 0.812),
    control("real images", "coverage", 0.9),
    control("20 images repeated", "recall", 0.0213),
    control("half of the classes", "coverage", 0.4),
    control("chimeras", "recall", 0.7),
]
REPEATED = {
    "must": "see",
    "what": "20 <letters> repeated",
    "arm": "20 images repeated",
    "against": "real images",
}
CHIMERAS = {"must": "ignore", "what": "chimeras", "arm": "chimeras", "against": "real images", "margin": 0.2}
HALF = {
    "must": "see",
    "what": "half gone",
    "arm": "half of the classes",
    "against": "real images",
    "margin": 0.1,
}
COVERAGE = {
    "kind": "difference",
    "metric": "coverage",
    "quantity": "coverage",
    "margin": 0,
    "controls": [HALF],
}


CLAIM = {
    "id": "various",
    "short": "various",
    "sentence": "Fewer are less various.",
    "where": "section 2",
    "supported_by_paper": None,
    "supported_reason": "made up",
    "published": None,
}


def various(setting="desk", rows=SCORED, said=None, **test):
    whole = {"kind": "difference", "metric": "recall", "quantity": "recall", "dataset": "letters"}
    whole |= {"arms": ["quarter", "all"], "direction": "below", "margin": 0.05, "reason": "made up"}
    return judge_all([CLAIM | (said or {}) | {"test": whole | test}], rows, setting)[0]


def test_controls_stand_in_the_verdict_block():
    claim = various(controls=[REPEATED, CHIMERAS], second=COVERAGE)
    assert [(r["sign"], r["came"], r["value"], r["margin"]) for r in control_rows(claim)] == [
        ("✓", "seen", "-0.791", "0.05"),
        ("✓", "ignored", "-0.112", "0.2"),
        ("✓", "seen", "-0.500", "0.1"),
    ]
    html = claim_block(claim)
    assert "✓ seen</span>" in html and "20 &lt;letters&gt; repeated" in html and "✓ ignored</span>" in html
    assert "✓ 3 controls on real images passed" in html
    assert "half gone (second ruler)" in html and "must not matter" in html and "must be seen" in html
    assert html.index("controls on real images") < html.index("<details"), "the marks are not folded"
    assert "(reproduced)" in claim_details(claim)["By a second ruler"]


def test_a_control_that_failed_stands_in_the_card():
    blind = various(controls=[REPEATED | {"margin": 0.9}, CHIMERAS | {"margin": 0.01}])
    assert [r["came"] for r in control_rows(blind)] == ["not seen", "mistaken for an effect"]
    html = claim_block(blind)
    card = html.split("<details")[0]
    assert "✗ 20 &lt;letters&gt; repeated: not seen" in card and "✗ chimeras: mistaken for an effect" in card
    missing = control_rows(various(controls=[REPEATED | {"arm": "no such rung"}]))[0]
    assert missing["value"] == "n/a (no such rows)" and missing["came"] == "not judged"


def test_a_setting_that_judges_nothing_shows_controls_without_a_verdict():
    rows = control_rows(various("quick", controls=[REPEATED]))
    assert (rows[0]["sign"], rows[0]["came"], rows[0]["value"]) == ("–", "not judged", "-0.791")


def test_what_a_margin_amounts_to_and_what_seeds_leave_open_are_said():
    eighth = {
        "what": "a tenth of what half the classes cost",
        "arm": "half of the classes",
        "metric": "coverage",
    }
    claim = various(margin_in=eighth | {"against": "real images", "share": 0.1})
    assert claim_details(claim)["The margin"].startswith("✓ A tenth of what half the classes cost is 0.05")
    assert claim_details(claim)["Left open"].startswith("no failure in 5 seeds")
    wrong = various(margin_in=eighth | {"against": "real images", "share": 0.5})
    assert claim_details(wrong)["The margin"].startswith("✗ ")


def test_a_test_of_the_resolution_is_told():
    shown = {"kind": "difference", "arms": ["quarter", "all"], "direction": "below", "margin": 0.3}
    claim = various(resolution=[shown | {"label": "half the steps are worse", "reason": "made up"}])
    told = claim_details(claim)["A difference would show"]
    assert told.startswith("half the steps are worse: -0.11") and told.endswith("(not reproduced)")


def test_every_reading_is_shown_and_the_one_that_decides_is_named():
    bound = {"kind": "bound", "arm": "all", "direction": "above", "bound": 0.5, "reason": "made up"}
    tests = [bound | {"metric": m, "label": f"as {m}"} for m in ("recall", "coverage")]
    facts = claim_details(readings(tests))
    assert facts["Reading 1"] == "as recall: 0.420 [0.400, 0.440] (not reproduced, which decides)"
    assert facts["Reading 2"] == "as coverage: 0.620 [0.600, 0.640] (reproduced)" and "Here" not in facts


def readings(tests):
    claim = various()
    kept = ("id", "short", "sentence", "where", "supported_by_paper", "supported_reason", "published")
    test = {"kind": "readings", "dataset": "letters", "tests": tests}
    return judge_all([{f: claim[f] for f in kept} | {"test": test}], SCORED, "desk")[0]


def test_history_and_what_a_claim_is_about_are_marked():
    changed = various(said={"amendment": "whole <arcs> now", "added": "seen later", "about": "beyond"})
    html = claim_block(changed)
    assert (
        "This claim was amended: whole &lt;arcs&gt; now; added after the first run that judged: seen later."
        in html
    )
    assert '<span class="g-about">beyond the paper</span>' in html
    plain = claim_block(various())
    assert "This claim was" not in plain and "g-about" not in plain


def test_the_papers_own_claims_are_counted_apart(tmp_path):
    about = ("beyond", "claim", "network", "claim", "arithmetic")
    claims = [{**various(said={"about": what}), "id": f"c{i}"} for i, what in enumerate(about)]
    assert [(heading, [c["id"] for c in group]) for heading, group in ledger_groups(claims)] == [
        ("The paper's own claims", ["c1", "c3"]),
        ("Arithmetic on the printed numbers", ["c4"]),
        ("The networks trained here", ["c2"]),
        ("Beyond the paper", ["c0"]),
    ]
    rep = Report(tmp_path, META)
    rep.head(claims)
    strip, apart = rep.blocks[0].split('<p class="g-counted">Counted apart.')
    assert "<b>2</b> ✓ reproduced" in strip and strip.split('<ul class="g-strip">')[1].count("<li") == 1
    assert "Beyond the paper: " in apart and "1 ✓ reproduced" in apart
    forest = strip.split('class="g-forest"')[1]
    assert forest.count('class="g-fhead"') == 3, "measured on GANs, counted, beyond the paper"
    assert re.findall(r'href="#claim-(c\d)"', forest) == ["c1", "c3", "c2", "c4", "c0"]
    assert re.findall(r'href="#claim-(c\d)"', apart) == [f"c{i}" for i in range(5)], "as the paper goes"
    alone = Report(tmp_path, META)
    alone.head(claims[1:2])
    assert "Counted apart" not in alone.blocks[0] and alone.blocks[0].count('class="g-fhead"') == 1


def test_one_table_holds_all_controls():
    from gannb.studies.study import controls_table

    rows = [
        *SCORED,
        control("real images", "kid", 0.04, "faces"),
        *(control("10 % copies", "copies", 0.1 + s / 100, "faces", s) for s in range(3)),
        control("exact copies", "copies_found", 1.0, "faces"),  # no ruler of this table: no row of dashes
        control("ladder", "ladder_passed", 1.0, "faces"),
    ]
    main = {"faces": SimpleNamespace(name="CelebA"), "letters": SimpleNamespace(name="EMNIST")}
    table = controls_table(SimpleNamespace(results=SimpleNamespace(rows=rows), main=main))
    assert list(table.columns) == ["data", "control", "kid", "recall", "coverage", "copies"]
    assert [(r["data"], r["control"]) for r in table.rows] == [
        ("CelebA", "real images"),
        ("CelebA", "10 % copies"),
        ("EMNIST", "real images"),
        ("EMNIST", "20 images repeated"),
        ("EMNIST", "half of the classes"),
        ("EMNIST", "chimeras"),
    ]
    assert table.rows[1]["copies"] == pytest.approx(0.11) and table.rows[1]["kid"] == "-"
    assert "n = 400 real images, n = 300 images in place of fakes, network effnet-lite0" in table.caption
    assert "0.5 is chance" not in table.caption, "only the rulers that were asked are explained"
    assert "0.0213" in table_csv(table.rows, table.columns, table.digits)
    nobody = SimpleNamespace(results=SimpleNamespace(rows=scored("all", "kid", [1.0])), main=main)
    assert controls_table(nobody) is None
