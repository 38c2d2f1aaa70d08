"""The fruits study: who stands for which fruit, which arcs judge, what is measured of pictures, and
rows that the ledger can judge."""

import itertools
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
from gannb.ledger.names import check_names
from gannb.ledger.network import absent_row, asks_network, judge_study
from gannb.data import ImageSet
from gannb.damage import STRONG, distort
from gannb.metrics import diversity_ratio
from gannb.stages.features import fakes_of
from gannb.stages.pictures import corner_noise, corners_plain, epoch_change, film, flat_noise, passing_share
from gannb.studies.fruits import show
from gannb.studies.fruits.rows import arms as fruit_arms, early_epochs, failed, few_varieties, fruit_sets
from gannb.studies.fruits.rows import FEWEST, PUBLISHED, early_rows, gains, gap_rows, roles, whole_groups
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
        ({"more_convs": -1}, "more_convs"),
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
        "apple/none",
        "banana/none",
        "apple/augment 50%",
        "apple/none 50%",
        "apple/augment 25%",
        "apple/none 25%",
        "apple/more convolutions",
    ]
    main, without = arms["apple", "augment"], arms["apple", "none"]
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


def a_film_of(varieties, arcs, frames):
    "Images of some varieties, each in some arcs of some frames."
    names = [
        f"Apple {v}/{41 * a + f}_100.jpg"
        for v in range(varieties)
        for a in range(arcs)
        for f in range(frames)
    ]
    pixels = np.arange(len(names), dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)
    files = np.array([name.encode() for name in names])
    labels = np.zeros(len(names), np.int64)
    return ImageSet("apples", pixels, labels, ("Apple",), groups=fruit_arcs(names), files=files)


def test_a_quarter_is_whole_arcs_and_few_varieties_are_few():
    images = a_film_of(varieties=4, arcs=4, frames=6)
    part = whole_groups(images, 0.25)
    kept = np.unique(part.groups)
    assert len(kept) == 4 and len(part) == 24, "of 16 arcs 4 stay, with all their frames"
    few = few_varieties(images, 2)
    assert len(few) == 48 and len({f.decode().split("/")[0] for f in few.files.tolist()}) == 2
    assert few_varieties(images, 4) is None and few_varieties(images, 0) is None


def a_fruit(n=6, size=32):
    "Round fruits with a slope of colour on white."
    inside = np.hypot(*(np.indices((size, size)) - (size - 1) / 2)) < 0.44 * size
    slope = 100 + 3 * np.arange(size)[None, None, :, None] + np.arange(n)[:, None, None, None]
    return np.where(inside[None, :, :, None], np.broadcast_to(slope, (n, size, size, 3)), 255).astype(
        np.uint8
    )


def test_noise_is_found_in_blurred_fruits_and_blur_is_no_noise():
    fruits = a_fruit()
    blurred, noisy = distort(fruits, "blur", 0.08), distort(fruits, "noise", 6 / 255)
    both = distort(blurred, "noise", 6 / 255)
    assert corners_plain(fruits) and corner_noise(fruits) == 0 and flat_noise(fruits) == 0
    assert corner_noise(blurred) < 2 and flat_noise(blurred) < 0.5
    assert min(corner_noise(noisy), corner_noise(both)) > 2 and min(flat_noise(noisy), flat_noise(both)) > 4
    grey = np.full((9, 32, 32, 3), 128, np.uint8)
    assert flat_noise(distort(grey, "noise", 10 / 255)) == pytest.approx(10, abs=2), "in grey levels"
    photos = np.random.default_rng(0).integers(0, 256, (50, 32, 32, 3), dtype=np.uint8)
    assert not corners_plain(photos)


def test_which_part_of_a_change_passes():
    rng = np.random.default_rng(0)
    grain = rng.normal(0, 8, (12, 4, 16, 16, 1)) + 128
    assert passing_share(grain) == pytest.approx(1, abs=0.1), "the same picture with fresh noise"
    assert passing_share(grain.cumsum(axis=0)) < 0, "what goes on in one direction does not pass"
    piled = (grain - 128).cumsum(axis=0)
    assert passing_share(piled) == pytest.approx(0, abs=0.15), "what piles up at random does not pass"
    assert math.isnan(passing_share(grain[:2])) and math.isnan(passing_share([]))


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
        "images_left": 103,
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
    parts = (test[k] for k in ("number", "mechanism", "removed", "second", "margin_in") if k in test)
    lists = (test.get(k) or [] for k in ("tests", "requires", "controls", "resolution"))
    for part in [*itertools.chain(*lists), *parts]:
        yield from leaves({"kind": "x", **part}, metric, dataset)  # a control says neither metric nor data


NOT_OF_DIGITS = {  # no film, no varieties, no Inception
    name: "digits have no such thing"
    for name in (
        *("is_quality", "images", "near_duplicates", "classes_covered", "split_move"),
        *("full set", "training images", "other arcs held out"),
        *("none few varieties", "few varieties, real", "20 images repeated"),
    )
}


def at_desk(study, paper, **kw):
    "The claims judged as if at desk, where a name that no row bears is an error: digits say what they lack."
    lacking = [absent_row(name, why) for name, why in NOT_OF_DIGITS.items()]
    return judge_study(paper["claims"], [*study.results.rows, *lacking], "desk", **kw)


def test_every_name_in_a_claim_is_borne_by_a_row(study, paper):
    check_names(paper["claims"], study.results.rows, NOT_OF_DIGITS, "desk")


def test_rows_of_every_metric_the_claims_ask_for(study, paper):
    here = {r["metric"] for r in study.results.rows}
    asked = {m for c in paper["claims"] for m in leaves(c["test"])}
    asked -= set(NOT_OF_DIGITS)
    assert asked <= here, f"no rows for {asked - here}"


def test_no_protocol_clash_hides_behind_the_setting(study, paper):
    "Judged as if at desk: nothing may be refused for unlike protocols, whatever else is missing."
    judged = at_desk(study, paper)
    assert len(judged) == len(paper["claims"])
    clashes = ("cannot be compared", "not comparable")
    assert not [c["reason"] for c in judged if any(word in c["reason"] for word in clashes)]


def test_only_rulers_that_passed_their_controls_decide(study, paper):
    "On digits nearly every control fails; a claim on images must then have no verdict but that."
    judged = {c["id"]: c for c in at_desk(study, paper)}
    for claim in ("fewer-images-worse", "no-more-diversity", "augment-bananas"):
        failed = [c for c in judged[claim]["controls"] if not c["passed"]]
        if failed:
            assert judged[claim]["verdict"] == "not testable here", claim
    assert sum(bool(c["controls"]) for c in judged.values()) >= 12


def test_gain_is_what_diffaugment_makes_better():
    def end(arm, metric, value):
        return {
            "arm": arm,
            "dataset": "apple",
            "seed": 0,
            "step": "end",
            "metric": metric,
            "value": value,
            "protocol": {},
        }

    rows = [end("augment", "kid", 1.0), end("none", "kid", 3.0), end("none few varieties", "kid", 9.0)]
    rows += [end("augment 25%", "recall_coarse", 0.5), end("none 25%", "recall_coarse", 0.2)]
    found = {(r["arm"], r["metric"]): r["value"] for r in gains(rows)}
    assert found == {("gain", "kid_gain"): 2.0, ("gain 25%", "recall_coarse_gain"): pytest.approx(0.3)}


def test_the_share_of_the_gap_that_few_images_explain():
    def fid(arm, role, value):
        return {
            "arm": arm,
            "dataset": role,
            "seed": 3,
            "step": "end",
            "metric": "fid",
            "value": value,
            "protocol": {},
        }

    rows = [fid(PUBLISHED, "banana", 300.0), fid(PUBLISHED, "apple", 100.0)]
    rows += [fid(FEWEST, "banana", 300.0), fid(FEWEST, "apple", 250.0)]
    (found,) = gap_rows(rows)
    assert found["value"] == pytest.approx(0.75) and found["seed"] == 3 and found["dataset"] == "banana"
    assert math.isnan(gap_rows([*rows[:1], fid(PUBLISHED, "apple", 300.0), *rows[2:]])[0]["value"])


def test_a_network_that_failed_the_ladder_judges_nothing(study, paper):
    failed = {"apple": "it failed the ladder"}
    claims = at_desk(study, paper, failed=failed)
    judged = {c["id"]: c for c in claims}
    for claim in ("fewer-convolutions", "fewer-images-worse", "augment-few-images", "no-more-diversity"):
        assert judged[claim]["verdict"] == "not testable here", claim
    assert "ladder" in judged["early-collapse"]["reason"]
    assert "ladder" not in judged["noise-present"]["reason"]
    assert judged["orders-contradict"]["verdict"] == "reproduced"
    assert not asks_network({"kind": "bound", "metric": "background_noise"})


def test_published_protocol_uses_all_images_of_each_fruit(study):
    rows = study.results.rows
    published = [r for r in rows if r["arm"] == "augment, published protocol"]
    n = {r["dataset"]: r["protocol"]["n_real"] for r in published if r["metric"] == "fid"}
    assert n == {role: len(t.data) for role, t in study.main.items()}
    assert all(r["protocol"]["held_out"] is False for r in published)
    equal = [r for r in rows if r["arm"] == "augment, equal numbers" and r["metric"] == "kid"]
    assert {r["dataset"] for r in equal} == set(study.main)
    assert len({(r["protocol"]["n_real"], r["protocol"]["n_fake"]) for r in equal}) == 1, (
        "equal for all fruits"
    )
    for role, t in study.main.items():
        own = {
            r["protocol"]["n_real"]
            for r in rows
            if (r["arm"], r["dataset"], r["metric"]) == ("augment", role, "kid")
        }
        assert own == {min(study.cfg.judge_images, len(t.judging))}, "within a fruit all that it has"


def test_tables(study):
    table = show.table1(study)
    assert [r["paper_fid"] for r in table.rows] == [129, 270, 250, 236]
    assert "is" not in table.columns and "Inception itself is not here" in table.caption
    assert table.rows[0]["fruit"] == "Digit 3 (as apple)"
    shares = show.shares(study).rows
    assert [(r["arm"], r["policy"]) for r in shares[-4:-2]] == [
        ("Digit 3 (as apple), 16 images (25 % of the images)", "with"),
        ("Digit 3 (as apple), 16 images (25 % of the images)", "without"),
    ]
    assert len(shares) == 8 and "classes_covered" not in show.shares(study).columns, "no column all n/a"
    assert show.memory(study).rows[0]["failed"].endswith(" of 2")
    frames = film(study["apple", "augment"].first)
    assert {f.shape for f in frames} == {frames[0].shape}
    assert frames[0].dtype == np.uint8 and len(frames) == 3
    assert any("as apple" in note for note in show.notes(study))
    assert show.ladder(study)[0].rows[0]["fruit"] == "Digit 3 (as apple)"


def test_early_diversity_is_diversity_also_when_it_comes_from_the_store(study):
    "The store gives numbers back in another order than they were computed in."
    t, run = study.first, study.first.first
    blurred = [distort(np.asarray(x), "blur", STRONG["blur"]) for x in (t.scorer.real.images,)]
    real = t.scorer.net(blurred[0])
    values = [
        diversity_ratio(
            t.scorer.net(distort(fakes_of(run, e, t.scorer.n_fake), "blur", STRONG["blur"])), real
        )
        for e in early_epochs(run)
    ]
    for _ in range(2):  # at least the second time from the store
        found = {(r["metric"], r["step"]): r["value"] for r in early_rows(t, run)}
        assert found["diversity_coarse", "early"] == pytest.approx(np.mean(values), abs=1e-4)
        rise = found["diversity_coarse_rise", "end"]
        assert rise == pytest.approx(found_end(study, run.seed) - np.mean(values), abs=1e-4)


def found_end(study, seed):
    "Diversity with both sides blurred at the end, as the ledger has it."
    rows = study.results.rows
    key = ("augment", "apple", seed, "end", "diversity_coarse")
    return next(
        r["value"] for r in rows if (r["arm"], r["dataset"], r["seed"], r["step"], r["metric"]) == key
    )


def test_records_name_generators_as_they_did(study):
    hashes = show.records(study)["G sha256"]
    assert list(hashes)[:2] == ["apple/augment seed 0", "apple/augment seed 1"]
    assert len(hashes) == 2 * len(study.main)


def test_a_missing_fruit_is_said():
    study = quiet({"preset": "smoke"})
    study.trained = {arm.key: Trained(arm, [], None, arm.held) for arm in fruit_arms(study.cfg)}
    assert show.notes(study) == ["digits in place of fruits: 0 as apple, 1 as banana"]
    fruits = SimpleNamespace(
        cfg=SimpleNamespace(dataset="fruits360"), published=study.published, main=study.main
    )
    few, lost = show.notes(fruits)
    assert few.startswith("reduced: Digit 0 (as apple) ") and " of 6,405, " in few
    assert lost == "no grapes and no tomatoes"


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
