"""The fruits study: who stands for which fruit, which arcs judge, what is measured of pictures, and rows that the ledger can judge."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from gannb.datasets.registry import fruit_arcs
from gannb.ledger.claims import check_claim
from gannb.report.page import load_study
from gannb.base import GannbError
from gannb.studies.registry import report_config
from gannb.stages.judges import panel
from gannb.stages.pictures import background, border_spread, epoch_change, fine_texture
from gannb.studies.fruits.rows import (
    arms as fruit_arms,
    early_epochs,
    fact_rows,
    failed,
    fruit_sets,
    gan_rows,
    inception_table,
    roles,
)
from gannb.stages.pictures import film
from gannb.studies.fruits.show import data_notes, measured_effect, shares, table1
from gannb.stages.arms import train_arms
from gannb.stages.ladder import asks_network, judge_study
from gannb.train import COLUMNS, History

SMOKE = dict(preset="smoke", seeds=[0, 1])


@pytest.fixture(scope="module")
def study():
    return load_study("fruits")


@pytest.fixture(scope="module")
def cfg():
    return report_config(
        "fruits",
        **SMOKE,
        fruits="3,1,8,0",
        limits="64,24,48,32",
        fractions="1,0.5,0.25",
        epochs=2,
        batch_size=16,
    ).config


@pytest.fixture(scope="module")
def done(cfg, study):
    arms = fruit_arms(cfg)
    runs = train_arms(arms, cfg.seeds, say=lambda s: None, show="quiet")
    p = panel(cfg, arms)
    return arms, runs, p, fact_rows(cfg, study, arms, p) + gan_rows(arms, runs, p)


def test_roles():
    assert roles(["Apple", "Banana", "Grape", "Tomato"]) == {
        "apple": "Apple",
        "banana": "Banana",
        "tomato": "Tomato",
        "grape": "Grape",
    }
    assert roles(["3", "1", "8"]) == {"apple": "3", "banana": "1", "tomato": "8"} and roles(
        ["Tomato", "x"]
    ) == {"apple": "x", "tomato": "Tomato"}


@pytest.mark.parametrize(
    "given, word",
    [
        ({"fruits": "3"}, "two different"),
        ({"fruits": "3,3", "limits": "0,0"}, "two different"),
        ({"limits": "0"}, "one number for each"),
        ({"limits": "8,8"}, "at least one batch"),
        ({"fractions": "0.5,1"}, "fall from 1"),
        ({"fractions": "1"}, "fall from 1"),
        ({"augment": ""}, "at least one policy"),
        ({"augment": "colour"}, "Did you mean 'color'"),
        ({"dataset": "fruit360"}, "fruits360"),
        ({"more_convs": 0}, "more_convs"),
        ({"network": "resnet"}, "network"),
        ({"size": 50}, "Nearest allowed: 48 or 56"),
        ({"z_dist": "gauss"}, "z_dist"),
    ],
)
def test_wrong_parameters_are_named(given, word):
    with pytest.raises(GannbError, match=word):
        report_config("fruits", preset="smoke", **given)


def test_arms(cfg):
    arms = fruit_arms(cfg)
    assert list(arms) == [
        "apple/augment",
        "banana/augment",
        "tomato/augment",
        "grape/augment",
        "apple/augment, equal images",
        "tomato/augment, equal images",
        "grape/augment, equal images",
        "apple/none",
        "apple/augment 50%",
        "apple/none 50%",
        "apple/augment 25%",
        "apple/none 25%",
        "apple/more convolutions",
    ]
    assert {len(a.data) for k, a in arms.items() if "equal" in k} == {24} and [
        len(arms[f"apple/none{t}"].data) for t in ("", " 50%", " 25%")
    ] == [64, 32, 16]
    assert (
        arms["apple/none"].config.augment == ""
        and arms["apple/more convolutions"].config.extra_convs == cfg.more_convs
        and arms["apple/augment"].config.augment == "color,translation,cutout"
    )
    assert (
        arms["apple/augment"].data.fingerprint == arms["apple/none"].data.fingerprint
        and arms["apple/augment"].config.z_dist == "uniform"
    )
    assert all(
        not set(a.data.pixel_hashes().tolist()) & set(a.held.pixel_hashes().tolist()) for a in arms.values()
    )


def a_film(folder, variety, frames, shade):
    folder = folder / variety
    folder.mkdir(parents=True, exist_ok=True)
    for i in frames:
        x = np.full((20, 20, 3), 255, np.uint8)
        x[5:15, 5:15] = (shade, 40 + i % 200, 80)
        Image.fromarray(x).save(folder / f"{i}_100.jpg")


def test_official_test_frames_judge_nothing(tmp_path):
    "Frames 3, 7, 11 ... between the training frames are the official test part: whole arcs of the training part judge instead."
    for variety, shade in (("Apple Red 1", 200), ("Banana", 120)):
        a_film(tmp_path / "fruits360" / "Training", variety, [i for i in range(280) if i % 4 != 3], shade)
        a_film(tmp_path / "fruits360" / "Test", variety, range(3, 280, 4), shade)
    cfg = report_config(
        "fruits",
        preset="smoke",
        dataset="fruits360",
        fruits="Apple,Banana",
        limits="0,0",
        data_root=str(tmp_path),
    ).config
    train, held = fruit_sets(cfg, cfg.training(dataset="fruits360", classes=["Apple"], batch_size=2))
    arcs = [set(fruit_arcs([f.decode() for f in np.asarray(s.files).tolist()])) for s in (train, held)]
    names = [f.decode() for s in (train, held) for f in np.asarray(s.files).tolist()]
    number = fruit_arcs(names)
    assert (
        all("Training" in n for n in names) and len(train) + len(held) == 210 and len(held) > 20 and all(arcs)
    )
    assert not set(number[: len(train)].tolist()) & set(number[len(train) :].tolist()) and any(
        "official test frames" in n for n in held.notes
    )


def test_noise_and_texture_in_grey_levels():
    white = np.full((3, 32, 32, 3), 255, np.uint8)
    rng = np.random.default_rng(0)
    noise = np.clip(rng.normal(128, 10, (3, 32, 32, 3)), 0, 255).astype(np.uint8)
    where = background(white)
    assert where.sum() == 32 * 32 - 28 * 28 and border_spread(white, where) == fine_texture(white) == 0
    assert border_spread(noise, where) == pytest.approx(10, abs=0.8) and fine_texture(noise) == pytest.approx(
        10 * math.sqrt(8 / 9), abs=0.7
    )
    middle = white.copy()
    middle[:, 8:24, 8:24] = 0
    assert border_spread(middle, background(middle)) == 0, "what lies inside is no background"
    wide = white.copy()
    wide[:, 8:24, :] = 0
    where = background(wide)
    assert not where[8:24].any() and where[:8, :2].all() and border_spread(wide, where) == 0, (
        "where the fruit touches the border it is no background"
    )
    photos = rng.integers(0, 256, (50, 32, 32, 3), dtype=np.uint8)
    assert not background(photos).any() and math.isnan(border_spread(photos, background(photos)))


def test_change_from_epoch_to_epoch():
    a = np.zeros((2, 8, 8, 1), np.uint8)
    b = a.copy()
    b[0] = 200
    assert (
        epoch_change([b, b, b]) == 0
        and epoch_change([a, b]) == pytest.approx(0.5)
        and math.isnan(epoch_change([a, a]))
    )


def a_run(tmp_path, acc=0.7, fooled=0.3, diverged=None, epochs=10):
    rows = np.zeros((epochs * 4, len(COLUMNS)), np.float32)
    rows[:, COLUMNS.index("acc_real")] = rows[:, COLUMNS.index("acc_fake")] = acc
    rows[:, COLUMNS.index("D_fake_before")] = fooled
    return SimpleNamespace(
        diverged=diverged,
        steps=len(rows),
        epochs=epochs,
        steps_per_epoch=4,
        history=lambda: History(rows, 4),
        kept_epochs=lambda: [0, 1, 2, 3, 5, 7, 10],
    )


@pytest.mark.parametrize(
    "given, diversity, wanted",
    [
        ({}, 0.9, False),
        ({"diverged": 5}, 0.9, True),
        ({"acc": 1.0, "fooled": 0.001}, 0.9, True),
        ({"acc": 1.0, "fooled": 0.2}, 0.9, False),
        ({"acc": 0.99, "fooled": 0.001}, 0.9, False),
        ({}, 0.2, True),
    ],
)
def test_failures_as_defined(tmp_path, given, diversity, wanted):
    assert failed(a_run(tmp_path, **given), diversity) is wanted


def test_early_is_the_first_two_fifths(tmp_path):
    assert early_epochs(a_run(tmp_path)) == [1, 2, 3]
    one = a_run(tmp_path)
    one.kept_epochs = lambda: [0, 10]
    assert early_epochs(one) == [10]


def test_facts_of_the_printed_numbers(done):
    value = {
        r["metric"]: r["value"] for r in done[3] if r["arm"] in ("printed numbers", "networks trained here")
    }
    assert value == {
        "images_sum": 90_380,
        "rank_fid": 4,
        "rank_is": 2,
        "rank_correlation": pytest.approx(-1),
        "guidelines_met": 5,
    }


def test_rows_of_every_metric_the_claims_ask_for(done, study):
    def leaves(test, metric=None, dataset=None):
        metric, dataset = test.get("metric", metric), test.get("dataset", dataset)
        if test["kind"] in ("people", "waits", "proposal"):
            return
        if metric:
            yield metric
        for part in (test.get("tests") or []) + [
            test[k] for k in ("number", "mechanism", "removed", "planted", "quality") if k in test
        ]:
            yield from leaves({"kind": "x", **part}, metric, dataset)

    here = {r["metric"] for r in done[3]}
    asked = {m for c in study["claims"] for m in leaves(c["test"])} - {
        "is_quality",
        "images",
        "near_duplicates",
    }
    assert asked <= here, f"no rows for {asked - here}"


def test_no_protocol_clash_hides_behind_the_setting(done, study):
    "Judged as if at desk: with two seeds nothing may be refused for unlike protocols, whatever else is missing."
    judged = judge_study(study["claims"], done[3], "desk")
    assert len(judged) == len(study["claims"]) and not [
        c["reason"] for c in judged if "cannot be compared" in c["reason"] or "not comparable" in c["reason"]
    ]
    untested = {c["id"] for c in judged if c["verdict"] == "not testable here"}
    assert untested <= {"fruit-counts", "near-duplicates", "is-order", "bananas-look-best", "run-times"}, (
        untested
    )


def test_gain_is_with_less_without(done):
    rows = done[3]
    q = {
        (r["arm"], r["seed"]): r["value"]
        for r in rows
        if r["metric"] == "quality" and r["dataset"] == "apple"
    }
    for r in (r for r in rows if r["metric"] == "gain"):
        tail = r["arm"].removeprefix("gain")
        assert r["value"] == pytest.approx(q[f"augment{tail}", r["seed"]] - q[f"none{tail}", r["seed"]])
    assert {r["arm"] for r in rows if r["metric"] == "gain"} == {"gain", "gain 50%", "gain 25%"}


def test_a_network_that_failed_the_ladder_judges_nothing(done, study):
    judged = {
        c["id"]: c
        for c in judge_study(study["claims"], done[3], "desk", failed={"apple": "it failed the ladder"})
    }
    assert (
        judged["fewer-convolutions"]["verdict"]
        == judged["gan-copies"]["verdict"]
        == judged["few-samples"]["verdict"]
        == "not testable here"
        and "ladder" in judged["early-collapse"]["reason"]
    )
    assert (
        judged["noise-present"]["verdict"] != "not testable here"
        and judged["orders-contradict"]["verdict"] == "reproduced"
    )
    assert not asks_network({"kind": "bound", "metric": "border_excess"})


def test_published_protocol_uses_all_images_of_each_fruit(done):
    arms, rows = done[0], done[3]
    n = {
        r["dataset"]: r["protocol"]["n_real"]
        for r in rows
        if r["arm"] == "augment, published protocol" and r["metric"] == "fid"
    }
    assert n == {a.role: len(a.data) for k, a in arms.items() if k.endswith("/augment")} and all(
        r["protocol"]["held_out"] is False for r in rows if r["arm"] == "augment, published protocol"
    )
    assert (
        len({r["protocol"]["n_real"] for r in rows if r["metric"] == "kid" and r["protocol"]["held_out"]})
        == 1
    ), "held-out scores take equal numbers"


def test_tables(done, study, cfg):
    arms, runs, p, rows = done
    table = table1(study["table1"], arms, rows, inception_table(arms, runs))
    assert (
        [r["paper_fid"] for r in table] == [129, 270, 250, 236]
        and all(r["fid"] == "n/a (no Inception here)" for r in table)
        and table[0]["fruit"] == "3 (as apple)"
    )
    assert len(shares(cfg, arms, rows)) == 6 and shares(cfg, arms, rows)[0]["failed"].endswith(" of 2")
    frames = film(runs["apple/augment"][0])
    assert {f.shape for f in frames} == {frames[0].shape} and frames[0].dtype == np.uint8 and len(frames) == 3
    assert measured_effect(None, rows, "apple") == "not measured" and "normalised KID" in measured_effect(
        "more convolutions", rows, "apple"
    )
    assert any("as apple" in n for n in data_notes(cfg, arms))


def test_a_missing_fruit_is_said(study):
    cfg = report_config("fruits", preset="smoke").config
    arms = fruit_arms(cfg)
    notes = data_notes(cfg, arms)
    assert "no grape and no tomato" in notes


def test_a_missing_data_set_stops_before_work(tmp_path):
    with pytest.raises(GannbError, match="fruits360 is not in .*by hand"):
        fruit_arms(report_config("fruits", preset="desk", data_root=str(tmp_path)).config)


@pytest.mark.pack
def test_the_pack_has_no_grapes():
    with pytest.raises(GannbError, match="Grape.*Allowed: Apple, Banana, Tomato"):
        fruit_arms(report_config("fruits", preset="desk", fruits="Apple,Grape", limits="0,0").config)


def test_published_table_is_the_papers(study):
    assert {r: (v["images"], v["is"], v["is_std"], v["fid"]) for r, v in study["table1"].items()} == {
        "apple": (6405, 2.475, 0.112, 129),
        "banana": (1430, 2.556, 0.291, 270),
        "grape": (3419, 3.001, 0.078, 250),
        "tomato": (5103, 1.382, 0.036, 236),
    }
    assert all(check_claim({k: v for k, v in c.items()}) for c in study["claims"])
