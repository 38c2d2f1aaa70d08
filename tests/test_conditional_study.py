"""The conditional study: what is trained, what its rows say of known numbers, what is missing."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from gannb.base import GannbError
from gannb.config import checked
from gannb.features import Ladder
from gannb.studies.conditional_gans import rows as study
from gannb.studies.conditional_gans import words
from gannb.studies.conditional_gans.plan import CONFIG, MODELS, PRESETS


@pytest.fixture(scope="module")
def published():
    with open("papers/conditional_gans.yaml") as file:
        return yaml.safe_load(file)


@pytest.fixture(scope="module")
def cfg():
    return checked(CONFIG, {"preset": "smoke"} | PRESETS["smoke"] | {"sizes": [16, 28]})


def row(arm, role, seed, metric, value, step="end", **protocol):
    return study.row(arm, role, seed, step, metric, value, protocol)


def test_every_model_on_every_set_and_the_arms_on_labels_and_sizes(cfg):
    arms = study.arms(cfg)
    assert [a.key for a in arms] == [
        ("digits", "cdcgan"),
        ("digits", "cgan"),
        ("digits", "cdcgan2"),
        ("digits", study.SHUFFLED),
        ("digits", study.PLAIN),
        ("28 px", "cdcgan"),
        ("28 px", "cdcgan2"),
    ]
    plain, shuffled = arms[0].data, arms[3].data
    assert (plain.pixel_hashes() == shuffled.pixel_hashes()).all() and plain.counts() == shuffled.counts()
    assert (plain.labels != shuffled.labels).mean() > 0.5 and plain.fingerprint != shuffled.fingerprint
    assert [a.config.model for a in arms] == [
        "cdcgan",
        "cgan",
        "cdcgan2",
        "cdcgan",
        "dcgan",
        "cdcgan",
        "cdcgan2",
    ]
    assert not set(plain.pixel_hashes()) & set(arms[0].held.pixel_hashes())


def test_each_class_keeps_its_share_of_a_limit(cfg):
    sets = study.sets_of(cfg, "digits")
    assert set(sets.train.counts().values()) <= {13, 14} and len(sets.train) + len(sets.validation) == 160


def test_grey_images_train_as_long_as_the_paper_says():
    desk = checked(CONFIG, {"preset": "desk"} | PRESETS["desk"])
    assert desk.epochs_of(3) == 1 and checked(CONFIG, {}).epochs_of(3) == 100
    assert checked(CONFIG, {}).epochs_of(1) == 10


def test_data_sets_that_are_not_here_are_named(tmp_path):
    cfg = checked(
        CONFIG,
        {
            "data_root": str(tmp_path),
            "datasets": "digits,cifar100",
            "label_dataset": "digits",
            "size_dataset": "digits",
            "size": 16,
        },
    )
    assert (
        list(study.missing_sets(cfg)) == ["cifar100"]
        and "gannb data get cifar100" in study.missing_sets(cfg)["cifar100"]
    )
    assert list(study.data_here(cfg)) == ["digits"]
    none = cfg.having(datasets=["cifar100", "cifar10"], label_dataset="cifar10", size_dataset="cifar10")
    with pytest.raises(GannbError, match="cifar100 is not in"):
        study.data_here(none)


@pytest.mark.parametrize(
    "given, said",
    [
        ({"datasets": "mnist,mnist"}, "none of them twice"),
        ({"datasets": "mnits"}, "mnist"),
        ({"size": 96}, "at most 64 pixels"),
        ({"sizes": "16,17"}, "size=17 is not possible"),
        ({"label_dataset": "celeba"}, "label_dataset"),
        ({"mix": 0}, "mix"),
        ({"choice_epochs": "0"}, "numbers from 1"),
        ({"concat": 1}, "concat_at"),
    ],
)
def test_wrong_parameters_are_refused_in_words(given, said):
    with pytest.raises(GannbError, match=said):
        checked(CONFIG, given)


def test_what_table_2_says_is_counted(published):
    found = {r["metric"]: r["value"] for r in study.printed_rows(published)}
    assert found == {
        "rows_in_order": 9,
        "late_first_fake": 5,
        "late_first_mixed": 5,
        "best_fid": 3,
        "best_is": 3,
        "fid_gap_rank_intel": 1,
        "is_gap_rank_intel": 1,
        "mnist_beyond_train": 10_000,
        "fashion_beyond_train": 0,
        "intel_sum": 24_000,
    }
    swapped = published | {
        "table2": published["table2"] | {"mnist": published["table2"]["mnist"] | {"real": 0.999}}
    }
    assert study.printed_rows(swapped)[0]["value"] == 9, "MNIST was in no such order before"
    cifar = published["table2"]["cifar10"] | {"real": 0.9}
    swapped = published | {"table2": published["table2"] | {"cifar10": cifar}}
    assert {r["metric"]: r["value"] for r in study.printed_rows(swapped)}["rows_in_order"] == 8


def accuracies(seed=0, role="digits", fake=0.9, test=0.4):
    out = [row("real images", role, seed, "real_on_real", 0.7)]
    for k, model in enumerate(MODELS):
        values = {
            "fake_on_fake": fake + 0.01 * k,
            "mixed_on_mixed": 0.8,
            "fake_on_real": test,
            "mixed_on_real": 0.65,
        }
        values |= {"class_diversity": 1 - 0.1 * k, "coverage": 0.5}
        out += [row(model, role, seed, m, v, n_train=10) for m, v in values.items()]
    return out


def test_differences_are_taken_inside_a_seed():
    found = study.difference_rows(accuracies(0) + accuracies(1, fake=0.6), ["digits"])
    value = {(r["arm"], r["seed"], r["metric"]): r["value"] for r in found}
    assert value["cdcgan", 0, "fake_less_real_own"] == pytest.approx(0.2)
    assert value["cdcgan", 1, "fake_less_real_own"] == pytest.approx(-0.1)
    assert value["cgan", 0, "fake_less_mixed_own"] == pytest.approx(0.11)
    assert value["cdcgan2", 1, "fake_less_real_test"] == pytest.approx(-0.3)
    assert len(found) == 2 * 3 * len(study.LESS)


def test_cells_know_the_order_and_the_correlation():
    found = {r["metric"]: r["value"] for r in study.cell_rows(accuracies(0), ["digits"], [0])}
    assert found["cells_in_order"] == 1 and found["cells_in_order_real_test"] == 0
    assert found["diversity_accuracy_rank"] == pytest.approx(-1)
    assert np.isnan(found["coverage_accuracy_rank"]), "coverage does not vary"
    other = accuracies(0, "b", fake=0.75)
    assert {r["metric"]: r["value"] for r in study.cell_rows(accuracies(0) + other, ["digits", "b"], [0])}[
        "cells_in_order"
    ] == 0.5


def test_the_closest_choice_is_one_for_all_data_sets():
    table2 = {"a": {"real": 0.8}, "b": {"real": 0.7}}
    rows = [row("few", "a", s, "acc_real_by_choice", 0.8) for s in (0, 1)]
    rows += [row("few", "b", s, "acc_real_by_choice", 0.5) for s in (0, 1)]
    rows += [
        row("many", role, s, "acc_real_by_choice", v)
        for s in (0, 1)
        for role, v in (("a", 0.85), ("b", 0.72))
    ]
    found = study.closest_rows(rows, table2)
    assert [(r["arm"], r["dataset"], r["seed"]) for r in found] == [
        ("closest choice", "grey data sets", s) for s in (0, 1)
    ]
    assert found[0]["value"] == pytest.approx((0.05 + 0.02) / 2) and found[0]["protocol"]["choice"] == "many"
    assert study.closest_rows(rows, {}) == []


def test_the_second_ruler_lies_between_its_two_ends():
    rows = [row("cdcgan", "a", 0, "gist_kid", 10.0, study.UNTRAINED), row("cdcgan", "a", 0, "gist_kid", 4.0)]
    rows += [
        row("real images", "a", None, "gist_kid", 2.0, "control"),
        row("strong blur", "a", None, "gist_kid", 6.0, "control"),
    ]
    rows.append(row("real images", "16 px", None, "gist_kid", 2.0, "control"))  # no training there was asked
    found = {(r["arm"], r["step"]): r["value"] for r in study.gist_quality_rows(rows)}
    assert found == {
        ("cdcgan", "end"): 0.75,
        ("real images", "control"): 1.0,
        ("strong blur", "control"): 0.5,
    }


def test_images_are_shrunk_by_the_mean_over_areas():
    images = np.zeros((1, 32, 32, 3), np.uint8)
    images[:, ::2] = 200
    small = study.shrunk(images, 16)
    assert small.shape == (1, 16, 16, 3) and (small == 100).all()
    assert (study.shrunk(small, 16) == small).all()


def test_the_gap_of_early_and_late_has_no_sign():
    rows = [row("cdcgan", "16 px", 0, m, 3.0, "at 16 px") for m in ("kid", "coverage")]
    rows += [row("cdcgan2", "16 px", 0, m, 5.0, "at 16 px") for m in ("kid", "coverage")]
    found = study._late_gaps(rows, "16 px", "at 16 px")
    assert [(r["arm"], r["metric"], r["value"]) for r in found] == [
        ("early against late", "late_gap", 2.0),
        ("early against late", "late_gap_coverage", 2.0),
    ]


def test_a_mean_over_data_sets_is_of_models_that_have_all_of_them():
    class Own:
        def __init__(self, channels):
            self.train = type("images", (), {"channels": channels})

    sets = {"a": Own(1), "b": Own(3)}
    rows = [row("cdcgan", role, 0, "quality", v) for role, v in (("a", 0.2), ("b", 0.6))]
    rows += [
        row(study.SHUFFLED, "a", 0, "quality", 0.9),
        row("slight blur", "a", None, "quality", 0.5, "control"),
    ]
    found = {(r["arm"], r["dataset"]): r["value"] for r in study.over_data_sets(rows, sets)}
    assert found["cdcgan", "all data sets"] == pytest.approx(0.4)
    assert found["cdcgan", "grey data sets"] == 0.2 and found["cdcgan", "colour data sets"] == 0.6
    assert (study.SHUFFLED, "grey data sets") not in found and found["slight blur", "grey data sets"] == 0.5


def test_every_measure_of_an_open_choice_is_known(published):
    asked = {choice["measure"] for choice in published["open_choices"] if choice.get("measure")}
    assert asked == set(words.MEASURES)
    assert all(name in published["names"] for name in words.MODEL_NAMES)


class Fake(SimpleNamespace):
    "A study with one grey and one colour data set, one seed of which diverged."

    def __iter__(self):
        return iter(self.trained)


def test_a_network_of_grey_images_is_shown_beside_the_judge(monkeypatch):
    runs = [SimpleNamespace(seed=s, epochs=2, diverged=d) for s, d in ((0, None), (1, "D is NaN"))]
    one = {
        role: SimpleNamespace(role=role, ledger_arm="cdcgan", runs=runs, data=role)
        for role in ("mnist", "rgb")
    }
    sets = {
        role: SimpleNamespace(train=SimpleNamespace(channels=c), test=role)
        for role, c in (("mnist", 1), ("rgb", 3))
    }
    asked = []
    cfg = SimpleNamespace(having=lambda network: asked.append(network) or network)
    scorer = SimpleNamespace(net=SimpleNamespace(card=dict), protocol=lambda: {"network": "domain"})
    monkeypatch.setattr(study, "scorers_for", lambda cfg, held: (None, {role: scorer for role in held}, None))
    monkeypatch.setattr(study, "ladder_of", lambda runs, scorer, data: Ladder([], ["brighter costs"]))
    monkeypatch.setattr(study, "score", lambda run, scorer, epoch: {"kid": 7.0})
    own = Fake(cfg=cfg, facts={"sets": sets}, main=one, trained=list(one.values()))
    rows = study.own_network_rows(own)
    assert asked == ["domain"] and {r["dataset"] for r in rows} == {"mnist"}
    by_metric = {(r["metric"], r["seed"]): r["value"] for r in rows}
    assert by_metric[study.OWN_LADDER, None] == 0 and by_metric[study.OWN_KID, 0] == 7
    assert math.isnan(by_metric[study.OWN_KID, 1]), "a diverged seed stays in"
    assert own.facts["own ladders"]["mnist"].wrong == ["brighter costs"]
