"""The papers' YAML against itself: published means are the means of the printed lines, and every claim has its place in the notebook."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from gannb.ledger.claims import load_claims
from gannb.studies.dataset_study.show import published_means

PAPERS = Path(__file__).resolve().parents[1] / "papers"
STUDY = yaml.safe_load((PAPERS / "dataset_study.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", sorted(PAPERS.glob("*.yaml")), ids=lambda p: p.stem)
def test_claims_are_well_formed_and_shown(path):
    claims = load_claims(path)
    cells = json.loads(path.with_suffix(".ipynb").read_text(encoding="utf-8"))["cells"]
    code = "\n".join(
        line
        for c in cells
        if c["cell_type"] == "code"
        for line in "".join(c["source"]).splitlines()
        if "page.verdict(" in line
    )
    shown = re.findall(r'"([a-z0-9-]+)"', code)
    assert not [c["id"] for c in claims if shown.count(c["id"]) != 1], (
        "each claim is shown once, in its section"
    )


@pytest.mark.parametrize("role", ["emnist", "celeba", "cifar"])
def test_published_numbers_are_means_of_the_printed_lines(role):
    means = published_means(STUDY["log_lines"][role])
    claims = {c["id"]: c for c in STUDY["claims"]}
    for claim, column in (("loss-d", "loss_D"), ("loss-g", "loss_G"), ("dx", "D_real")):
        assert claims[f"{role}-{claim}"]["published"] == pytest.approx(means[column], rel=6e-3)
    first, second = (float(v) for v in claims[f"{role}-dgz"]["published"].split(" / "))
    assert first == pytest.approx(means["D_fake_before"], abs=5e-3) and second == pytest.approx(
        means["D_fake_after"], abs=6e-3
    )


def test_the_papers_lines_pass_the_bounds_that_name_its_words():
    "What the paper calls low, high or close to 1 must be so by the bounds of the claims; otherwise a bound does not mean the paper's word."
    for role, lines in STUDY["log_lines"].items():
        for _, _, _, _, loss_d, loss_g, dx, first, second in lines:
            assert loss_d < 0.69 and loss_g > 1.39 and first < 0.2 and second < 0.2
            assert dx < 0.9 if role == "cifar" else dx > 0.9


def test_printed_lines_fit_the_code_that_prints_them():
    "loss_G is the mean of -log D(G(z)) and so at least -log of the mean: true of every line if the second D(G(z)) is the one inside Loss_G (rounding allowed)."
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
        r"\[(\d+)/(\d+)\]\s*\[(\d+)/(\d+)\]\s*Loss_D: ([\d.]+)\s+Loss_G: ([\d.]+)\s+D\(x\): ([\d.]+)\s+D\(G\(z\)\): ([\d.]+) / ([\d.]+)",
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
