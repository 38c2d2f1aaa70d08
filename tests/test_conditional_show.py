"""What the conditional page shows, on invented numbers: every cell stands where its head says, the classes
are the rows of the samples, curves belong to their model, and captions say what so many seeds can show."""

from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from gannb import plot
from gannb.base import Missing
from gannb.data import ImageSet
from gannb.stages.tables import Results
from gannb.studies.conditional_gans import show, words
from gannb.datasets.shares import Parts
from gannb.studies.conditional_gans.rows import REALS

SEEDS = range(5)
MODELS = ("cgan", "cdcgan", "cdcgan2")  # in the order of the page
ROLES = ("mnist", "cifar10")
PAIRS = ("fake_on_fake", "mixed_on_mixed", "fake_on_real", "mixed_on_real", "real_on_fake", "real_on_mixed")


def place(role, arm, metric):
    "A number that no other cell has."
    roles, arms = (*ROLES, "all data sets"), (*MODELS, REALS, show.LABELLED_REALS, show.ALL)
    metrics = (*PAIRS, "real_on_real", *show.LESS_HEADS, "cells_in_order", "cells_in_order_real_test")
    return roles.index(role) / 10 + arms.index(arm) / 100 + metrics.index(metric) / 1000


def rows_of(role, arm, metric, mean, step="end", spread=0.01):
    return [
        dict(arm=arm, dataset=role, seed=s, step=step, metric=metric, value=mean + spread * (s - 2))
        for s in SEEDS
    ]


def images(channels, n=12, classes=("a", "b", "c")):
    pixels = np.zeros((n, 4, 4, channels), np.uint8)
    return ImageSet.of_images(pixels, "invented", np.arange(n) % len(classes), classes, {})


class Invented(SimpleNamespace):
    "As much of a study as tables need."

    def __getitem__(self, key):
        return self.trained[key]

    def __contains__(self, key):
        return key in self.trained


@pytest.fixture(scope="module")
def published():
    with open("papers/conditional_gans.yaml", encoding="utf-8") as file:
        return yaml.safe_load(file)


@pytest.fixture
def study(published):
    sets = {role: Parts(images(c), images(c, 6), images(c, 6)) for role, c in zip(ROLES, (1, 3), strict=True)}
    found = []
    for role in (*ROLES, "all data sets"):
        found += rows_of(role, REALS, "real_on_real", place(role, REALS, "real_on_real"))
        for arm in MODELS:
            for metric in (*PAIRS, *list(show.LESS_HEADS)[1:]):
                found += rows_of(role, arm, metric, place(role, arm, metric))
    for metric in ("cells_in_order", "cells_in_order_real_test"):
        found += rows_of("all data sets", show.ALL, metric, place("all data sets", show.ALL, metric))
    return Invented(
        facts={
            "sets": sets,
            "check": {role: {"images": 18} for role in ROLES},
            "thresholds": (0.0, 0.5, 1.0),
            "clf": {},
        },
        results=Results(found),
        published=published,
        seeds="n = 5 seeds",
        trained={},
    )


def test_each_accuracy_stands_where_its_head_says(study):
    table, folded = show.protocols(study)
    assert folded.folded and not table.folded and len(folded.rows) == len(ROLES) * len(table.rows)
    said = {
        f"{show.KINDS[a]}; {show.KINDS[b]}": f"{a}_on_{b}"
        for a in show.KINDS
        for b in show.KINDS
        if f"{a}_on_{b}" in (*PAIRS, "real_on_real")
    }
    assert [r["what"] for r in table.rows][-1] == "real images; real images" and len(said) == 7
    for role, rows in (("all data sets", table.rows), ("cifar10", folded.rows[7:])):
        for r in rows:
            metric = said[r["what"].removeprefix("CIFAR-10: ")]
            for arm in MODELS:
                own = place(role, REALS if metric == "real_on_real" else arm, metric)
                assert r[arm]["mean"] == pytest.approx(own), (role, metric, arm)


def test_one_data_set_has_one_table_of_protocols(study):
    study.facts["sets"] = {"mnist": study.facts["sets"]["mnist"]}
    table, folded = show.protocols(study)
    assert folded is None and "mean of the data sets" not in table.caption


def test_the_caption_says_what_so_many_seeds_can_show(study):
    caption = show.accuracy_differences(study).caption
    half = 0.01 * np.std([-2, -1, 0, 1, 2], ddof=1) / np.sqrt(5) * 2.776
    assert f"{half:.2g} in the middle case" in caption


def test_the_widest_and_the_middle_interval_are_told():
    cells = [
        {"x": {"mean": 0, "interval": (-h, h)}, "model": "m", "y": Missing("no")} for h in (0.1, 0.9, 0.2)
    ]
    told = words.least_words(cells)
    assert "0.2 in the middle" in told and "0.9 in the widest" in told
    assert words.least_words([{"x": {"mean": 1.0}, "y": "-"}]) == ""  # fewer than three seeds


def test_table_one_counts_what_is_here_and_names_what_is_not(study):
    rows = {r["data"]: r for r in show.table1(study).rows}
    assert rows["MNIST"] == {"data": "MNIST", "paper": 70000, "here": 18, "kind": "1; 3"}
    assert rows["CIFAR-100"]["kind"] == "3; 100" and isinstance(rows["CIFAR-100"]["here"], Missing)
    study.facts |= {"sets": {"digits": study.facts["sets"]["mnist"]}, "check": {"digits": {"images": 7}}}
    rows = {r["data"]: r for r in show.table1(study).rows}
    assert rows["digits"]["here"] == 7 and rows["digits"]["paper"] == "-"


def test_printed_scores_stand_beside_ours(study, published):
    rows = {r["model"]: r for r in show.looks(study).rows}
    assert rows["CIFAR-10, cDCGAN2"]["paper"] == "0.0960; 2.7535"
    assert rows["MNIST, cGAN"]["paper"] == rows["all data sets, cGAN"]["paper"] == "-"
    for r in show.table2(study).rows:
        role, model = r["model"].split(", ")
        printed = published["table2"][{"MNIST": "mnist", "CIFAR-10": "cifar10"}[role]]
        arm = {"cGAN": "cgan", "cDCGAN": "cdcgan", "cDCGAN2": "cdcgan2"}[model]
        assert (r["paper_fake"], r["paper_mixed"]) == (printed[arm]["fake"], printed[arm]["mixed"])
        assert r["paper_real"] == printed["real"]


def test_samples_have_a_class_a_row_and_the_models_side_by_side(monkeypatch):
    "Each image carries its model, class and number in its pixels."

    def fakes(run, counts, part):
        values = [(run, k, i) for k, n in enumerate(counts.values()) for i in range(n)]
        pixels = np.array(values, np.uint8).reshape(-1, 1, 1, 3)
        return ImageSet.of_images(pixels, "f", np.zeros(len(values), int), tuple(counts), {})

    monkeypatch.setattr(show, "conditional_fakes", fakes)
    data = SimpleNamespace(classes=("a", "b", "c", "d"))
    trained = [SimpleNamespace(whole=[m], data=data) for m in range(3)]
    sheet = show._class_rows(trained, 2, 3).reshape(3, 6, 3)
    for k in range(3):
        assert sheet[k].tolist() == [[m, k, i] for m in range(3) for i in range(2)]


def test_curves_belong_to_their_model():
    def own(v):
        return {"train": np.full((5, 2), v), "validation": np.full((5, 2), v / 2)}

    found = {("mnist", "cgan", "fake"): own(0.2), ("mnist", "cdcgan", "mixed"): own(0.4)}
    found[("mnist", REALS, "real")] = own(0.8)
    fake_train, fake, real_train, real = show._accuracy_series(found, "mnist", "cgan")
    assert (fake["label"], real["label"]) == ("fakes", "real") and fake_train["style"] == "--"
    assert fake["y"][0, 0] == 0.1 and real["y"][0, 0] == 0.4 and real_train["y"][0, 0] == 0.8
    assert show._accuracy_series(found, "mnist", "cdcgan2") == []  # real images alone are no panel


def test_confidence_curves_keep_seeds_and_thresholds(study):
    name, roles = "similarity_accuracy_at", ("mnist", "cifar10")
    study.facts["sets"] = {role: study.facts["sets"]["mnist"] for role in roles}
    found = [r for role in roles for t in (0.0, 0.5) for r in rows_of(role, "cdcgan", name, t, t)]
    few = rows_of("mnist", "cdcgan", name, 1, 1.0)[:2]  # not all are so sure
    high = [{**r, "value": r["value"] + 0.2} for r in found if r["dataset"] == "cifar10" and r["step"] == 0.5]
    study.results = Results([*found[:-5], *high, *few])
    (line,) = show._by_threshold(study, name)
    assert line["label"] == "cDCGAN" and line["y"].shape == (5, 3)
    assert line["y"][:, 1].mean() == pytest.approx(0.6), "the mean of 0.5 and 0.7"
    assert np.isnan(line["y"][:, 2]).all()
    assert show.similarity_curve(study) is not None
    study.results = Results([])
    assert show.similarity_curve(study) is None


def test_a_line_without_a_name_moves_no_name_away():
    def height(others):
        series = [{"label": "real", "y": np.array([0.4, 0.5])}]
        series += [{"label": other, "y": np.array([0.5, 0.5])} for other in others]
        (ax,) = plot.curves([{"series": series}], height=140).axes[:1]
        return next(t.xy[1] for t in ax.texts if t.get_text() == "real")

    assert height(["", ""]) == height([]) != height(["a", "b"])
