"""The fruits study: who stands for which fruit, which arcs judge, what is measured of pictures, and
rows that the ledger can judge."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from gannb.base import GannbError
from gannb.datasets.fruits import fruit_arcs
from gannb.ledger.claims import check_claim
from gannb.report.page import load_study
from gannb.stages.arms import Trained
from gannb.stages.ladder import asks_network, judge_study
from gannb.stages.pictures import background, border_spread, epoch_change, film, fine_texture
from gannb.studies.fruits import show
from gannb.studies.fruits.rows import arms as fruit_arms, early_epochs, failed, fruit_sets, roles
from gannb.studies.registry import open_study, report_config
from gannb.train import COLUMNS, History

GIVEN = {
    "preset": "smoke",
    "seeds": [0, 1],
    "fruits": "3,1,8,0",
    "limits": "64,24,48,32",
    "fractions": "1,0.5,0.25",
    "epochs": 2,
    "batch_size": 16,
}


def quiet(given):
    "The study as the notebook opens it, without its words."
    study = open_study("fruits", given)
    study.say, study.show_progress = lambda text: None, "quiet"
    return study


@pytest.fixture(scope="module")
def paper():
    return load_study("fruits")


@pytest.fixture(scope="module")
def study():
    return quiet(GIVEN).run()


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


def test_arms():
    cfg = report_config("fruits", **GIVEN).config
    arms = {a.key: a for a in fruit_arms(cfg)}
    assert [a.label for a in arms.values()] == [
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
    main, without = arms["apple", "augment"], arms["apple", "none"]
    assert {len(a.data) for (_, name), a in arms.items() if "equal" in name} == {24}
    assert [len(arms["apple", f"none{t}"].data) for t in ("", " 50%", " 25%")] == [64, 32, 16]
    assert without.config.augment == "" and main.config.augment == "color,translation,cutout"
    assert arms["apple", "more convolutions"].config.extra_convs == cfg.more_convs
    assert main.data.fingerprint == without.data.fingerprint
    assert main.config.z_dist == "uniform"
    for arm in arms.values():
        assert not set(arm.data.pixel_hashes().tolist()) & set(arm.held.pixel_hashes().tolist()), arm.key


def a_film(folder, variety, frames, shade):
    folder = folder / variety
    folder.mkdir(parents=True, exist_ok=True)
    for i in frames:
        x = np.full((20, 20, 3), 255, np.uint8)
        x[5:15, 5:15] = (shade, 40 + i % 200, 80)
        Image.fromarray(x).save(folder / f"{i}_100.jpg")


def test_official_test_frames_judge_nothing(tmp_path):
    """Frames 3, 7, 11 ... between the training frames are the official test part: whole arcs of the
    training part judge instead."""
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
    train, held = fruit_sets(cfg, "Apple")
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


def test_facts_of_the_printed_numbers(study):
    facts = ("printed numbers", "networks trained here")
    value = {r["metric"]: r["value"] for r in study.results.rows if r["arm"] in facts}
    assert value == {
        "images_sum": 90_380,
        "rank_fid": 4,
        "rank_is": 2,
        "rank_correlation": pytest.approx(-1),
        "guidelines_met": 5,
    }


def leaves(test, metric=None, dataset=None):
    "Metrics that a claim's test asks for."
    metric, dataset = test.get("metric", metric), test.get("dataset", dataset)
    if test["kind"] in ("people", "waits", "proposal"):
        return
    if metric:
        yield metric
    parts = (test[k] for k in ("number", "mechanism", "removed", "planted", "quality") if k in test)
    for part in [*(test.get("tests") or []), *parts]:
        yield from leaves({"kind": "x", **part}, metric, dataset)


def test_rows_of_every_metric_the_claims_ask_for(study, paper):
    here = {r["metric"] for r in study.results.rows}
    asked = {m for c in paper["claims"] for m in leaves(c["test"])}
    asked -= {"is_quality", "images", "near_duplicates"}
    assert asked <= here, f"no rows for {asked - here}"


def test_no_protocol_clash_hides_behind_the_setting(study, paper):
    "Judged as if at desk: nothing may be refused for unlike protocols, whatever else is missing."
    judged = judge_study(paper["claims"], study.results.rows, "desk")
    assert len(judged) == len(paper["claims"])
    clashes = ("cannot be compared", "not comparable")
    assert not [c["reason"] for c in judged if any(word in c["reason"] for word in clashes)]
    untested = {c["id"] for c in judged if c["verdict"] == "not testable here"}
    allowed = {"fruit-counts", "near-duplicates", "is-order", "bananas-look-best", "run-times"}
    assert untested <= allowed, untested


def test_gain_is_with_less_without(study):
    rows = study.results.rows
    apple = [r for r in rows if r["metric"] == "quality" and r["dataset"] == "apple"]
    q = {(r["arm"], r["seed"]): r["value"] for r in apple}
    gains = [r for r in rows if r["metric"] == "gain"]
    for r in gains:
        tail = r["arm"].removeprefix("gain")
        assert r["value"] == pytest.approx(q[f"augment{tail}", r["seed"]] - q[f"none{tail}", r["seed"]])
    assert {r["arm"] for r in gains} == {"gain", "gain 50%", "gain 25%"}


def test_a_network_that_failed_the_ladder_judges_nothing(study, paper):
    failed = {"apple": "it failed the ladder"}
    claims = judge_study(paper["claims"], study.results.rows, "desk", failed=failed)
    judged = {c["id"]: c for c in claims}
    for claim in ("fewer-convolutions", "gan-copies", "few-samples"):
        assert judged[claim]["verdict"] == "not testable here", claim
    assert "ladder" in judged["early-collapse"]["reason"]
    assert judged["noise-present"]["verdict"] != "not testable here"
    assert judged["orders-contradict"]["verdict"] == "reproduced"
    assert not asks_network({"kind": "bound", "metric": "border_excess"})


def test_published_protocol_uses_all_images_of_each_fruit(study):
    rows = study.results.rows
    published = [r for r in rows if r["arm"] == "augment, published protocol"]
    n = {r["dataset"]: r["protocol"]["n_real"] for r in published if r["metric"] == "fid"}
    assert n == {role: len(t.data) for role, t in study.main.items()}
    assert all(r["protocol"]["held_out"] is False for r in published)
    held_out = [r for r in rows if r["metric"] == "kid" and r["protocol"]["held_out"]]
    assert len({r["protocol"]["n_real"] for r in held_out}) == 1, "held-out scores take equal numbers"


def test_tables(study):
    table = show.table1(study)
    assert [r["paper_fid"] for r in table.rows] == [129, 270, 250, 236]
    assert all(str(r["fid"]) == "n/a (no Inception here)" for r in table.rows)
    assert "its weights are not here" in table.caption
    assert table.rows[0]["fruit"] == "3 (as apple)"
    shares = show.shares(study).rows
    assert len(shares) == 6 and shares[0]["failed"].endswith(" of 2")
    frames = film(study["apple", "augment"].first)
    assert {f.shape for f in frames} == {frames[0].shape}
    assert frames[0].dtype == np.uint8 and len(frames) == 3
    assert show.measured(study, None) == "not measured"
    assert "normalised KID" in show.measured(study, "more convolutions")
    assert any("as apple" in note for note in show.notes(study))
    assert show.ladder(study).rows[0]["fruit"] == "3 (as apple)"


def test_records_name_generators_as_they_did(study):
    hashes = show.records(study)["G sha256"]
    assert list(hashes)[:2] == ["apple/augment seed 0", "apple/augment seed 1"]
    assert len(hashes) == 2 * len(study.main)


def test_a_missing_fruit_is_said():
    study = quiet({"preset": "smoke"})
    study.trained = {arm.key: Trained(arm, [], None, arm.held) for arm in fruit_arms(study.cfg)}
    assert "no grape and no tomato" in show.notes(study)


def test_a_missing_data_set_stops_before_work(tmp_path):
    with pytest.raises(GannbError, match="fruits360 is not in .*by hand"):
        fruit_arms(report_config("fruits", preset="desk", data_root=str(tmp_path)).config)


@pytest.mark.pack
def test_the_pack_has_no_grapes():
    with pytest.raises(GannbError, match="Grape.*Allowed: Apple, Banana, Tomato"):
        fruit_arms(report_config("fruits", preset="desk", fruits="Apple,Grape", limits="0,0").config)


def test_published_table_is_the_papers(paper):
    assert {r: (v["images"], v["is"], v["is_std"], v["fid"]) for r, v in paper["table1"].items()} == {
        "apple": (6405, 2.475, 0.112, 129),
        "banana": (1430, 2.556, 0.291, 270),
        "grape": (3419, 3.001, 0.078, 250),
        "tomato": (5103, 1.382, 0.036, 236),
    }
    assert all(check_claim({k: v for k, v in c.items()}) for c in paper["claims"])
