"""Rulers on real images with a known change: which images, which numbers, and what a ruler must see."""

import math
from dataclasses import replace

import numpy as np
import pytest

import stagehash
from gannb import metrics
from gannb.base import GannbError
from gannb.damage import DAMAGES
from gannb.data import ImageSet, image_hashes
from gannb.stages import controls
from gannb.stages.controls import (
    HALF,
    REAL,
    RULERS,
    SPLITS,
    classes_covered,
    control_images,
    control_rows,
    covered_rows,
    kind_namer,
    kinds_of,
    learning_part,
    other_split_rows,
    other_splits,
    pixel_rows,
    pixel_score,
    scores_of_images,
    two_parts,
    untrained_kids,
)
from gannb.stages.features import fakes_of
from gannb.stages.judges import Scorer, some_images
from gannb.stages.score import normalised_protocol, score, score_reals
from test_score import run, scorer, sets  # noqa: F401


@pytest.fixture(autouse=True)
def own_store(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("GANNB_STORE", str(tmp_path_factory.mktemp("store")))


# ---- which images ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_train, n, wanted", [(100, 30, 30), (100, 50, 50), (100, 80, 50), (7, 9, 3)])
def test_two_parts_share_no_image(n_train, n, wanted):
    shown, learnt = two_parts(n_train, n)
    assert len(shown) == len(learnt) == wanted == len({*shown, *learnt}) // 2
    assert (np.diff(shown) > 0).all() and (np.diff(learnt) > 0).all()


def test_the_classifier_learns_from_none_of_the_images_that_are_shown(sets, scorer):  # noqa: F811
    train = sets[0]
    learnt = set(learning_part(train, scorer.n_fake).pixel_hashes().tolist())
    shown = control_images(train, scorer.n_fake, [REAL])[REAL]
    assert len(learnt) == 48 and not learnt & set(image_hashes(shown).tolist())
    assert np.array_equal(shown, np.asarray(some_images(train, scorer.n_fake).images)), (
        "the images that score_reals shows"
    )


def test_controls_are_the_damages_of_the_shown_images(sets):  # noqa: F811
    train = sets[0]
    found = control_images(train, 48)
    assert list(found) == [
        REAL,
        *(n for n in DAMAGES if n not in ("colours swapped", "100 images repeated")),
        HALF,
    ]
    for name in ("slight blur", "chimeras", "strong noise"):
        assert np.array_equal(found[name], DAMAGES[name](found[REAL], 0)), name
    assert {len(images) for images in found.values()} == {48}
    with pytest.raises(GannbError, match="control='colours swaped'"):
        control_images(train, 48, ["colours swaped"])


def test_half_of_the_classes_are_gone(sets):  # noqa: F811
    train = sets[0]
    labels = dict(zip(train.pixel_hashes().tolist(), train.labels.tolist()))
    half = control_images(train, 48, [HALF])[HALF]
    assert len({labels[h] for h in image_hashes(half).tolist()}) == 5
    odd = train.labels % 2
    of_one_kind = control_images(train, 48, [HALF], odd)[HALF]
    assert len({labels[h] % 2 for h in image_hashes(of_one_kind).tolist()}) == 1
    alike = replace(train, labels=np.zeros(len(train), np.int64), classes=("digit",))
    assert kinds_of(alike) is None and HALF not in control_images(alike, 48)
    with pytest.raises(GannbError, match="one for each of the 160 images; these are 3"):
        kinds_of(train, [1, 2, 3])


# ---- what features say -------------------------------------------------------------------------------------


def test_a_run_and_damaged_images_go_the_same_way(sets, scorer, run):  # noqa: F811
    fakes = scores_of_images(fakes_of(run, run.epochs, scorer.n_fake), scorer)
    assert {m: fakes[m] for m in RULERS} == pytest.approx(
        {m: score(run, scorer)[m] for m in RULERS}, abs=1e-6
    )
    real = scores_of_images(control_images(sets[0], scorer.n_fake, [REAL])[REAL], scorer)
    ends = score_reals(sets[0], scorer)
    assert {m: real[m] for m in (*RULERS, "kid_low")} == pytest.approx(
        {m: ends[m] for m in (*RULERS, "kid_low")}, abs=1e-6
    )


def test_equal_images_are_looked_at_once_and_score_as_all(sets, scorer, monkeypatch):  # noqa: F811
    images = control_images(sets[0], scorer.n_fake, ["20 images repeated"])["20 images repeated"]
    looked = []

    class Counting(type(scorer.net)):
        def __call__(self, x):
            looked.append(len(x))
            return super().__call__(x)

    net = Counting(**vars(scorer.net))
    found = controls._looked(net, images)
    assert looked == [20] and np.allclose(found, scorer.net(images), atol=1e-5)


def test_computed_once(sets, scorer, monkeypatch):  # noqa: F811
    images = control_images(sets[0], scorer.n_fake, ["slight blur"])["slight blur"]
    first = scores_of_images(images, scorer)
    monkeypatch.setattr(controls, "_looked", lambda *a: pytest.fail("looked again"))
    assert scores_of_images(images.copy(), scorer) == first
    with pytest.raises(pytest.fail.Exception):
        scores_of_images(images[::-1], replace(scorer, n_fake=47))


def test_recall_sees_the_repeated_and_kid_the_blurred(sets, scorer):  # noqa: F811
    shown = control_images(sets[0], scorer.n_fake)
    found = {name: scores_of_images(images, scorer) for name, images in shown.items()}
    assert found["20 images repeated"]["recall"] < found["slight blur"]["recall"] - 0.2
    assert found["20 images repeated"]["coverage"] < found[REAL]["coverage"]
    assert found[REAL]["kid"] < found["strong noise"]["kid"] - 0.1


# ---- rows --------------------------------------------------------------------------------------------------


def test_rows_of_controls(sets, scorer, run):  # noqa: F811
    untrained = untrained_kids([run, run], scorer)
    assert untrained == [score(run, scorer, 0)["kid"]] * 2
    rows = control_rows("digits", scorer, sets[0], [1.0, 3.0], [REAL, "slight blur"], {"black": _black(48)})
    assert {(r["dataset"], r["seed"], r["step"]) for r in rows} == {("digits", None, "control")}
    assert [r["arm"] for r in rows if r["metric"] == "kid"] == [REAL, "slight blur", "black"]
    value = {(r["arm"], r["metric"]): r["value"] for r in rows}
    assert {m for arm, m in value if arm == "black"} == {*RULERS, "quality"}
    assert value[REAL, "quality"] == 1
    kid, real = value["slight blur", "kid"], value[REAL, "kid"]
    assert value["slight blur", "quality"] == pytest.approx((2 - kid) / (2 - real)), (
        "2 is the mean of the seeds"
    )
    no_end = control_rows("digits", scorer, sets[0], names=[REAL])
    assert "quality" not in {r["metric"] for r in no_end}


def _black(n: int) -> np.ndarray:
    return np.zeros((n, 16, 16, 1), np.uint8)


def test_controls_may_be_compared_with_a_run_of_as_many_fakes(sets, scorer):  # noqa: F811
    rows = control_rows("digits", scorer, sets[0], [1.0], [REAL], {"few": _black(12)})
    protocol = {(r["arm"], r["metric"]): r["protocol"] for r in rows}
    assert protocol[REAL, "kid"] == scorer.protocol()
    assert protocol[REAL, "quality"] == normalised_protocol(scorer)
    assert protocol["few", "kid"] == scorer.protocol() | {"n_fake": 12}, "fewer images are said"


# ---- rulers of pixels --------------------------------------------------------------------------------------


@pytest.fixture
def ruler(monkeypatch):
    "A ruler of pixels that keeps what it was shown."
    calls = []

    def mean_grey(images, learn, real):
        calls.append((images, learn, real))
        return float(images.mean() - np.asarray(learn.images).mean())

    monkeypatch.setitem(controls.PIXEL_RULERS, "grey", mean_grey)
    return calls


def test_no_ruler_learns_from_what_it_is_shown(sets, scorer, ruler):  # noqa: F811
    train = sets[0].rows(np.arange(60))  # too few for two whole parts
    rows = control_rows("digits", scorer, train, names=[REAL, HALF, "brighter"], told_apart=[REAL, HALF])
    asked = {(r["arm"], r["metric"]) for r in rows if r["metric"] in controls.PIXEL_RULERS}
    assert {arm for arm, metric in asked if metric == "grey"} == {REAL, HALF}
    assert len(ruler) == 2
    for images, learn, real in ruler:
        assert len(images) <= len(learn) == 30 and real is scorer.real
        assert not set(image_hashes(images).tolist()) & set(learn.pixel_hashes().tolist())
    kid = next(r for r in rows if (r["arm"], r["metric"]) == (REAL, "kid"))
    assert kid["protocol"]["n_fake"] == 48, "features are asked about as many as ever"


def test_a_run_goes_the_way_of_the_controls(sets, scorer, run, ruler):  # noqa: F811
    rows = pixel_rows("grey", "dcgan", "digits", run, scorer, sets[0])
    fakes, learn = fakes_of(run, run.epochs, 48), learning_part(sets[0], 48)
    assert rows[0]["value"] == pixel_score("grey", fakes, scorer, learn)
    assert (rows[0]["arm"], rows[0]["seed"], rows[0]["step"], rows[0]["metric"]) == (
        "dcgan",
        0,
        "end",
        "grey",
    )
    control = control_rows("digits", scorer, sets[0], names=[REAL], told_apart=[REAL])[-1]
    assert control["metric"] == "grey" and control["protocol"] == rows[0]["protocol"]
    n = len(ruler)
    assert pixel_rows("grey", "dcgan", "digits", run, scorer, sets[0]) == rows and len(ruler) == n, "once"
    early = pixel_rows("grey", "dcgan", "digits", run, scorer, sets[0], 1, "early")[0]
    assert early["step"] == "early" and early["value"] != rows[0]["value"]
    gone = pixel_rows("grey", "dcgan", "digits", replace(run, diverged=1), scorer, sets[0])[0]
    assert math.isnan(gone["value"]) and gone["protocol"] == rows[0]["protocol"]
    pixel_rows("grey", "dcgan", "digits", run, scorer, sets[0].rows(np.arange(60)))
    assert len(ruler[-1][0]) == len(ruler[-1][1]) == 30, "no more fakes than reals to learn from"
    with pytest.raises(GannbError, match="ruler='gray'"):
        pixel_rows("gray", "dcgan", "digits", run, scorer, sets[0])


def test_the_two_sample_test_is_asked_about_images_it_has_not_seen(sets, scorer, monkeypatch):  # noqa: F811
    shown = []
    monkeypatch.setattr(metrics, "two_sample", lambda *sets: shown.append(sets) or 0.625)
    images, learn = (
        control_images(sets[0], 48, ["20 images repeated"])["20 images repeated"],
        sets[0].rows(range(50)),
    )
    assert pixel_score("c2st", images, scorer, learn) == 0.625
    real_learn, fake_learn, real_asked, fake_asked = (sorted(image_hashes(x).tolist()) for x in shown[0])
    assert real_learn == sorted(learn.pixel_hashes().tolist())
    assert real_asked == sorted(scorer.real.pixel_hashes().tolist())
    assert sorted(fake_learn + fake_asked) == sorted(image_hashes(images).tolist())
    assert len(fake_learn) == len(fake_asked) == 24
    assert len(set(fake_learn) & set(fake_asked)) > 8, "repeated images are met again"


def test_the_two_sample_test_on_digits(sets, scorer):  # noqa: F811
    own, asked = replace(scorer, n_fake=170), [REAL, "strong noise"]
    rows = control_rows("digits", own, sets[1], names=asked, told_apart=asked)
    value = {r["arm"]: r["value"] for r in rows if r["metric"] == "c2st"}
    assert abs(value[REAL] - 0.5) < 0.2 and value["strong noise"] > 0.85
    far = {r["arm"]: r["value"] for r in rows if r["metric"] == "gist_kid"}
    assert far[REAL] < 0.2 < far["strong noise"]


# ---- classes -----------------------------------------------------------------------------------------------


class Says:
    "A namer that reads the class from the first feature."

    def __init__(self, kinds):
        self.train = ImageSet("none", _black(kinds), np.arange(kinds), [str(k) for k in range(kinds)])

    def says(self, x):
        return x[:, 0].astype(int)


def test_a_class_counts_from_half_an_equal_share():
    x = np.repeat([0, 1, 2, 3], [85, 12, 3, 0])[:, None]
    assert classes_covered(x, Says(4)) == 0.25, "12 of 100 are fewer than half of 25"
    assert classes_covered(x, Says(4), least=0.4) == 0.5
    assert classes_covered(x[:5], Says(10)) == 0.1, "one image at least"


def test_half_of_the_classes_is_half_of_them(sets, scorer, run):  # noqa: F811
    namer = kind_namer(sets[1], 100, scorer.net)
    shown = set(image_hashes(control_images(sets[1], 100, [REAL])[REAL]).tolist())
    assert not shown & set(namer.train.pixel_hashes().tolist())
    rows = control_rows("digits", replace(scorer, n_fake=100), sets[1], names=[REAL, HALF], namer=namer)
    value = {r["arm"]: r["value"] for r in rows if r["metric"] == "classes_covered"}
    assert value[REAL] >= 0.9 and 0.4 <= value[HALF] <= 0.6
    own = covered_rows("dcgan", "digits", run, scorer, namer)[0]
    assert 0 < own["value"] <= 1 and own["protocol"]["n_fake"] == 48
    assert math.isnan(covered_rows("dcgan", "digits", replace(run, diverged=1), scorer, namer)[0]["value"])


def test_varieties_are_named_without_labels(sets, scorer):  # noqa: F811
    bare = replace(sets[0], labels=None, classes=())
    with pytest.raises(GannbError, match="no two kinds"):
        kind_namer(bare, 48, scorer.net)
    namer = kind_namer(bare, 48, scorer.net, kinds=sets[0].labels % 3, per_kind=5)
    assert namer.train.classes == ("0", "1", "2") and np.bincount(namer.train.labels).tolist() == [5, 5, 5]
    assert kind_namer(sets[0], 48, scorer.net).train.classes == sets[0].classes


# ---- other splits ------------------------------------------------------------------------------------------


def test_other_splits_hold_out_whole_groups(sets, scorer, monkeypatch):  # noqa: F811
    "Groups of one digit each: leave two out and real images score far from 0."
    train, judging = (replace(s, groups=s.labels, labels=None, classes=()) for s in sets)
    own = Scorer(scorer.net, judging.rows(np.flatnonzero(sets[1].labels < 2)[:40]), 48)
    drawn = []
    real_kid = metrics.kid
    monkeypatch.setattr(metrics, "kid", lambda a, b: drawn.append((len(a), len(b))) or real_kid(a, b))
    found = other_splits(own, train, draws=4)
    assert drawn == [(min(40, a), 48) for a, _ in drawn] and len(found) == 4
    assert len(set(found)) == 4 and min(found) > 0.1, "no digit is on both sides"
    alone = replace(own, real=own.real.rows(np.arange(40)))
    single = replace(train, groups=np.arange(len(train)))
    alone.real.groups = np.arange(40)
    assert max(other_splits(alone, single, draws=4)) < min(found) / 2
    assert other_splits(alone, train, draws=4) and other_splits(scorer, sets[0]) == []


def test_other_splits_as_rows(sets, scorer):  # noqa: F811
    train = replace(sets[0], groups=np.arange(160) // 4)
    own = Scorer(scorer.net, replace(scorer.real, groups=np.arange(40) // 4), 48)
    rows = other_split_rows("digits", own, train, [2.0], draws=3)
    assert [(r["metric"], r["seed"]) for r in rows] == [(m, d) for d in range(3) for m in ("kid", "quality")]
    assert {(r["arm"], r["step"]) for r in rows} == {(SPLITS, "control")}
    assert rows[1]["protocol"] == normalised_protocol(own) and rows[0]["protocol"]["reference"].startswith(
        "other"
    )
    kid = score_reals(train, own)["kid"]
    assert rows[1]["value"] == pytest.approx((2 - rows[0]["value"]) / (2 - kid))
    assert other_split_rows("digits", scorer, sets[0]) == []


ENTRIES = (  # all that says what is stored of controls
    ("stages.controls", "control_rows"),
    ("stages.controls", "scores_of_images"),
    ("stages.controls", "pixel_rows"),
    ("stages.controls", "covered_rows"),
    ("stages.controls", "kind_namer"),
    ("stages.controls", "other_splits"),
    ("stages.ladder", "climbed"),
)
KNOWN = {1: "b61b3ff3408dad3b"}


def test_controls_version_names_this_code():
    stagehash.check("CONTROLS_VERSION", controls.CONTROLS_VERSION, KNOWN, *ENTRIES)
