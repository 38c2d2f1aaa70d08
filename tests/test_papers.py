"""The papers' YAML against itself: published means are the means of the printed lines, and every
claim has its place in the notebook."""

import ast
import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from gannb.ledger.claims import load_claims
from gannb.report.numbers import cell_text
from gannb.studies.dataset_study.show import printed, published_means
from gannb.studies.dataset_study.side import FACES, LETTERS, QUARTER, UPDATES

PAPERS = Path(__file__).resolve().parents[1] / "papers"
STUDY = yaml.safe_load((PAPERS / "dataset_study.yaml").read_text(encoding="utf-8"))


NAMES = sorted(p.stem for p in PAPERS.glob("*.yaml"))
COLUMNS_SHOWN = 100  # about what JupyterLab shows of a line before it scrolls sideways


def code_cells(paper):
    cells = json.loads((PAPERS / f"{paper}.ipynb").read_text(encoding="utf-8"))["cells"]
    return ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]


ALL_CELLS = "\n".join(code_cells("dataset_study"))


@pytest.mark.parametrize("paper", NAMES)
def test_claims_are_well_formed_and_shown(paper):
    claims = load_claims(PAPERS / f"{paper}.yaml")
    calls = [
        node
        for cell in code_cells(paper)
        for node in ast.walk(ast.parse(cell))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "page.verdicts"
    ]
    shown = [ast.literal_eval(name) for call in calls for name in call.args]
    assert sorted(shown) == sorted(c["id"] for c in claims), "each claim is shown once, in its section"


@pytest.mark.parametrize("paper", NAMES)
def test_no_line_scrolls_sideways(paper):
    wide = [line for cell in code_cells(paper) for line in cell.splitlines() if len(line) > COLUMNS_SHOWN]
    assert not wide, wide


@pytest.mark.parametrize("paper", NAMES)
def test_cells_only_say_what_stands_where(paper):
    "Below the parameters: short cells, no tables or captions written out, no modules under two-letter names."
    for cell in code_cells(paper)[1:]:
        tree = ast.parse(cell)
        assert len(cell.splitlines()) <= 20, cell
        assert not any(
            isinstance(node, ast.Dict | ast.FunctionDef | ast.JoinedStr) for node in ast.walk(tree)
        ), cell
        assert not [
            n.asname for n in ast.walk(tree) if isinstance(n, ast.alias) and len(n.asname or "long") < 3
        ]


def test_no_six_lines_stand_in_two_studies():
    "Neither in the notebooks, but for the parameters, nor in the rooms, but for their imports."

    def runs_of_six(paper):
        texts = code_cells(paper)[1:]
        for path in (PAPERS.parent / "gannb" / "studies" / paper).glob("*.py"):
            body = ast.parse(path.read_text(encoding="utf-8")).body
            texts += [ast.unparse(node) for node in body if not isinstance(node, ast.Import | ast.ImportFrom)]
        for text in texts:
            lines = [line.strip() for line in text.splitlines() if line.strip()]
            yield from (tuple(lines[i : i + 6]) for i in range(len(lines) - 5))

    seen = {}
    for paper in NAMES:
        for six in set(runs_of_six(paper)):
            assert six not in seen, f"{paper} and {seen[six]}:\n" + "\n".join(six)
            seen[six] = paper


@pytest.mark.parametrize("role", ["emnist", "celeba", "cifar"])
def test_published_numbers_are_means_of_the_printed_lines(role):
    "And have the same digits in the ledger as in the table beside ours."
    means = published_means(STUDY["log_lines"][role])
    claims = {c["id"]: str(c["published"]) for c in STUDY["claims"]}
    said = [claims[f"{role}-{claim}"] for claim in ("loss-d", "loss-g", "dx")]
    said += claims[f"{role}-dgz"].split(" / ")
    shown = [cell_text(printed(mean)) for mean in means.values()]
    assert said == shown, (said, shown)
    for text, mean in zip(said, means.values()):
        assert float(text) == pytest.approx(mean, abs=0.5001 * 10 ** -len(text.partition(".")[2]))


def test_the_papers_lines_pass_the_bounds_that_name_its_words():
    """What the paper calls low, high or close to 1 must be so by the first reading of the claims, and the
    bound must be the paper's own: its largest low, its smallest high, give or take a rounding."""
    claims = {c["id"]: c["test"] for c in STUDY["claims"]}
    low_d, high_g = (claims[f"emnist-{k}"]["tests"][0]["bound"] for k in ("loss-d", "loss-g"))
    low_fake, close = claims["emnist-dgz"]["bound"], claims["emnist-dx"]["bound"]
    for role, lines in STUDY["log_lines"].items():
        for _, _, _, _, loss_d, loss_g, dx, first, second in lines:
            assert loss_d < low_d and loss_g > high_g and first < low_fake and second < low_fake
            assert dx < close if role == "cifar" else dx > close
    lines = np.array([line[4:] for of_role in STUDY["log_lines"].values() for line in of_role])
    assert low_d - lines[:, 0].max() < 0.005 and lines[:, 1].min() - high_g < 0.005
    assert low_fake - lines[:, 3:].max() < 0.015


def test_printed_lines_fit_the_code_that_prints_them():
    """loss_G is the mean of -log D(G(z)) and so at least -log of the mean: true of every line if
    the second D(G(z)) is the one inside Loss_G (rounding allowed)."""
    for lines in STUDY["log_lines"].values():
        for line in lines:
            if line[8] > 0:
                assert line[5] >= -np.log(line[8] + 5e-5) - 1e-3


def test_iteration_counts_are_arithmetic():
    for f in STUDY["full_sets"].values():
        assert -(-f["images"] // f["batch"]) == f["iterations"]


def test_figure_four_repeats_figure_ten():
    text = PAPERS.parent.parent / "shared" / "papers" / "dataset_study.md"
    if not text.is_file():
        pytest.skip("the paper's text is not beside the checkout")
    printed = re.findall(
        r"\[(\d+)/(\d+)\]\s*\[(\d+)/(\d+)\]\s*Loss_D: ([\d.]+)\s+Loss_G: ([\d.]+)\s+"
        r"D\(x\): ([\d.]+)\s+D\(G\(z\)\): ([\d.]+) / ([\d.]+)",
        text.read_text(encoding="utf-8"),
    )
    lines = [[float(v) for v in p] for p in printed]
    assert (
        lines
        == STUDY["log_lines"]["celeba"]
        + STUDY["log_lines"]["emnist"]
        + STUDY["log_lines"]["celeba"]
        + STUDY["log_lines"]["cifar"]
    )


@pytest.mark.parametrize("paper", NAMES)
def test_the_cell_that_opens_the_page_is_shown(paper):
    "What a cell tagged `log` prints stays out of the page: title and ledger must not stand there."
    cells = json.loads((PAPERS / f"{paper}.ipynb").read_text(encoding="utf-8"))["cells"]
    opening = next(c for c in cells if "study.page()" in "".join(c["source"]))
    assert "log" not in opening["metadata"].get("tags", [])


def test_every_caption_of_the_study_is_shown():
    "A text that no table, figure or cell asks for, or one asked for that is not there, is an error."
    rooms = (PAPERS.parent / "gannb" / "studies" / "dataset_study").glob("*.py")
    texts = [*(path.read_text(encoding="utf-8") for path in rooms), *code_cells("dataset_study")]
    asked = set(re.findall(r'words\(\s*study, "([^"]+)"', "\n".join(texts)))
    assert asked == set(STUDY["captions"])


def test_groups_hold_each_claim_once_as_the_page_shows_them():
    grouped = [name for names in STUDY["groups"].values() for name in names]
    shown = re.findall(r'"([a-z0-9-]+)"', "\n".join(re.findall(r"page\.verdicts\((.*)\)", ALL_CELLS)))
    assert grouped == shown
    assert sorted(grouped) == sorted(c["id"] for c in STUDY["claims"])


def test_a_ranked_claim_says_what_came_out_either_way():
    "And no two claims have the same rank; an open one is a whole sentence, not half a finding."
    ranked = {c["id"]: c for c in STUDY["claims"] if c.get("rank")}
    assert len(ranked) >= 8
    assert len({c["rank"] for c in ranked.values()}) == len(ranked)
    for c in STUDY["claims"]:
        found = c.get("findings", {})
        assert {"reproduced", "not reproduced"} <= set(found) or c["id"] not in ranked, c["id"]
        assert len(set(found.values())) == len(found), c["id"]
        for verdict, text in found.items():
            assert not re.search(r"[.;]$|_(?!D|G)|\bg_steps|dcgan\b", text) and len(text) <= 110, text
            assert (verdict == "inconclusive") == text.endswith("open"), text


def test_findings_of_both_verdicts_are_not_true_together():
    "A finding says no or not, or names the other side of the bound: read by hand where neither is there."
    by_hand = {"images-64", "emnist-memorised", "emnist-d-overfits", "no-airplane", "dominance-order"}
    by_hand |= {"emnist-dgz", "celeba-dgz", "cifar-dgz", "cifar-dx", "g-struggles-everywhere"}
    for c in STUDY["claims"]:
        found = c.get("findings")
        if found and c["id"] not in by_hand:
            assert re.search(r"\b(not|no)\b", found["not reproduced"]), c["id"]
            assert not re.search(r"\b(not|no)\b", found["reproduced"]), c["id"]


def test_names_of_rows_are_short_and_arms_have_names():
    assert not [c["short"] for c in STUDY["claims"] if len(c["short"]) > 44]
    assert {*LETTERS, *FACES, *UPDATES, QUARTER, "dcgan"} <= set(STUDY["names"])
    assert not [name for name in STUDY["names"].values() if "_" in name]


def test_what_lies_between_ends_says_so():
    "Shares, probabilities, correlations and their differences have `within`; an excess of copies has not."
    ranged = {"c2st", "coverage", "D_real", "D_acc_gap", "fall_of_D", "D_right_held"}

    def tests_in(x):
        if isinstance(x, list):
            return [t for v in x for t in tests_in(v)]
        if not isinstance(x, dict):
            return []
        return ([x] if x.get("kind") else []) + [t for v in x.values() for t in tests_in(v)]

    for c in STUDY["claims"]:
        for test in tests_in(c["test"]):
            if test.get("metric") in ranged or test["kind"] == "correlation":
                assert "within" in test or "within" in c["test"], (c["id"], test)


def test_evidence_is_on_the_page():
    show = (PAPERS.parent / "gannb" / "studies" / "dataset_study" / "show.py").read_text(encoding="utf-8")
    shared = (PAPERS.parent / "gannb" / "studies" / "study.py").read_text(encoding="utf-8")
    for c in STUDY["claims"]:
        for name in c.get("evidence", ()):
            plain = re.sub("^(emnist|celeba|cifar)(?=_(samples|numbers))", "{role}", name)
            assert f'"{plain}"' in show + shared, (c["id"], name)


@pytest.mark.parametrize("claim", ["scenic-background", "contrast", "dimension", "colour", "more-g-updates"])
def test_changed_tests_say_why(claim):
    found = next(c for c in STUDY["claims"] if c["id"] == claim)
    assert len(found["amendment"]) > 80 and "controls" in found["test"]


def test_what_the_reader_must_keep_in_mind_stands_with_the_claim():
    claims = {c["id"]: c for c in STUDY["claims"]}
    assert (
        "130" in claims["scenic-background"]["amendment"]
        and "airplane" in claims["scenic-background"]["short"]
    )
    assert (
        "600 steps" in claims["dimension"]["short"] and "600 steps" in claims["dimension"]["test"]["setting"]
    )
    assert "batches of" in claims["best-data-set"]["amendment"]
    assert claims["loss-d-signal"]["about"] == "beyond" and claims["iterations"]["about"] == "arithmetic"
