"""Labelled fakes, variety inside classes, labels by similarity, three protocols of accuracy, spectra."""

import stagehash
import numpy as np
import pytest

from gannb.base import GannbError, Missing
from gannb.classify import Curves
from gannb.config import gan_config
from gannb.datasets.registry import load
from gannb.datasets.shares import Parts, train_and_validation
from gannb.metrics import spectrum, spectrum_distance, vagueness
from gannb.similar import coverage_curve, label_by_similarity, nearest_class_share
from gannb.stages import accuracy as acc
from gannb.stages import conditional as con
from gannb.stages.classifier import ClassifierConfig
from gannb.stages.features import features, network
from gannb.stages.gan import train_run
from gannb.stages.judges import Scorer

KNOWN = {1: "acbc5e4816c533a4"}
ENTRIES = tuple(
    ("stages.conditional", name)
    for name in ("conditional_fakes", "within_row", "within_control_rows", "similarity_rows", "layer_fids")
)
SMALL = {"dataset": "digits", "size": 16, "nz": 12, "ngf": 4, "ndf": 4, "batch_size": 32, "threads": 1}
CLF = ClassifierConfig(network="softmax", finetune="all", pretrained=False, epochs=3, batch_size=32)


def test_stage_version_names_this_code():
    stagehash.check("CONDITIONAL_VERSION", con.CONDITIONAL_VERSION, KNOWN, *ENTRIES)


@pytest.fixture(scope="module")
def digits():
    return load("digits", size=16, progress=False)


@pytest.fixture(scope="module")
def real(digits):
    parts = train_and_validation(digits.select(limit=600), 0.85)
    test = load("digits", size=16, split="test", progress=False)
    return Parts(parts["train"], parts["validation"], test)


@pytest.fixture(scope="module")
def runs(digits, tmp_path_factory):
    place = tmp_path_factory.mktemp("runs")
    some = digits.select(limit=320)
    return {
        model: train_run(gan_config(**SMALL, model=model, epochs=1), some, 0, place / model, "quiet")
        for model in ("cdcgan", "dcgan")
    }


def test_labelled_fakes_are_class_by_class_and_other_draws_for_each_part(runs, digits):
    counts = {name: k + 1 for k, name in enumerate(digits.classes)}
    train, test = (con.conditional_fakes(runs["cdcgan"], counts, part) for part in ("train", "test"))
    assert train.counts() == counts and train.classes == digits.classes
    assert not set(train.pixel_hashes()) & set(test.pixel_hashes())
    again = con.conditional_fakes(runs["cdcgan"], counts)
    assert again.fingerprint == train.fingerprint
    plain = con.conditional_fakes(runs["dcgan"], counts)
    assert plain.counts() == counts and plain.settings["labels"] == "random"
    with pytest.raises(GannbError, match="knows 10 classes; counts names 3"):
        con.conditional_fakes(runs["cdcgan"], dict.fromkeys("abc", 1))


def test_a_diverged_run_has_no_fakes(runs, digits):
    from dataclasses import replace

    gone = replace(runs["cdcgan"], diverged=7)
    with pytest.raises(GannbError, match="seed 0 diverged at step 7"):
        con.conditional_fakes(gone, dict.fromkeys(digits.classes, 1))
    scorer = Scorer(network("effnet-lite0"), digits.rows(np.arange(60)), 60)
    assert np.isnan(con.within_row("cdcgan", "digits", gone, scorer)["value"])


def test_variety_inside_classes_sees_what_variety_of_all_does_not(digits):
    scorer = Scorer(network("effnet-lite0"), digits.rows(np.arange(300)), 300)
    rows = {
        r["arm"]: r["value"]
        for r in con.within_control_rows("digits", scorer, digits.rows(np.arange(300, 900)))
    }
    assert rows["real images"] == pytest.approx(1, abs=0.1)
    assert rows["brighter"] == pytest.approx(rows["real images"], abs=0.05)
    assert rows[con.FEW_A_CLASS] < 0.9
    few = con.few_of_each_class(digits, 200)
    assert len(few) == 200 and len(np.unique(few.pixel_hashes())) == con.FEW * len(digits.classes)
    with pytest.raises(GannbError, match="No class has two"):
        con.within_classes(np.zeros((2, 1)), np.array([0, 1]), np.zeros((2, 1)), np.array([0, 1]))


def test_real_images_label_real_images_and_shuffled_labels_do_not(digits):
    net = network("effnet-lite0")
    known, unknown = digits.rows(np.arange(400)), digits.rows(np.arange(400, 600))
    rows = con.similarity_rows(con.LABELLED_REALS, "digits", 0, known, known, unknown, net)
    found = {(r["metric"], r["step"]): r["value"] for r in rows}
    assert found["similarity_accuracy", "end"] > 0.6
    assert found["similarity_accuracy_sure", "end"] >= found["similarity_accuracy", "end"]
    coverages = [found["similarity_coverage_at", t] for t in con.THRESHOLDS]
    assert coverages == sorted(coverages, reverse=True) and coverages[0] == 1
    assert not any(m == "nearest_class" for m, _ in found), "real images were ordered by nobody"
    control = {r["arm"]: r["value"] for r in con.nearest_control_rows("digits", unknown, known, net)}
    assert control["real images"] > 0.6 and control["shuffled labels"] < 0.3
    right = (
        label_by_similarity(features(known, net), known.labels, features(unknown, net))[0] == unknown.labels
    )
    assert found["similarity_accuracy", "end"] == right.mean()


def test_a_tie_goes_to_the_smaller_class_and_ends_count():
    x = np.array([[0.0], [1.0], [2.0], [3.0]])
    given, sure = label_by_similarity(x, [4, 4, 2, 2], [[1.5]], 4)
    assert given.tolist() == [2] and sure.tolist() == [0.5]
    assert coverage_curve([2], [0.5], [2], [0.5]).coverage == [1.0]
    assert nearest_class_share(x, [4, 4, 2, 2], x, [4, 4, 2, 2]) == 1


def test_inception_is_not_here(runs, digits, monkeypatch):
    monkeypatch.setattr(con, "inception_file", lambda: None)
    assert con.layer_fids(runs["cdcgan"], digits, 50) == Missing("no Inception here")


def test_each_layer_of_inception_is_asked(runs, digits, monkeypatch):
    asked = []

    def stand_in(name, layer):
        asked.append((name, layer))
        return network("effnet-lite0")

    monkeypatch.setattr(con, "inception_file", lambda: "here")
    monkeypatch.setattr(con, "network", stand_in)
    found = con.layer_fids(runs["cdcgan"], digits.rows(np.arange(60)), 60)
    assert asked == [("inception", layer) for layer in con.LAYERS] and list(found) == list(con.LAYERS)


def test_every_accuracy_says_what_was_trained_and_tested(real):
    fit = acc.fit_of(CLF, real, 0)
    fake = acc.fake_parts(real, lambda counts, part: getattr(real, part))
    parts = {"real": real, "fake": fake, "mixed": acc.mixed_parts(real, fake)}
    rows, fits = acc.kind_rows("m", "digits", parts, fit, CLF)
    found = {r["metric"]: r for r in rows}
    assert set(found) == {acc.metric_of(*p) for p in acc.PAIRS} - {"real_on_real"} and set(fits) == set(parts)
    for (trained, tested), metric in {
        p: acc.metric_of(*p) for p in acc.PAIRS if p != ("real", "real")
    }.items():
        card = found[metric]["protocol"]
        assert (card["trained on"], card["tested on"], card["validated on"]) == (trained, tested, trained)
        assert (card["n_train"], card["n_test"]) == (len(parts[trained].train), len(parts[tested].test))
    right = fit.scores(real.test).accuracy
    assert found["fake_on_real"]["value"] == found["real_on_fake"]["value"] == right, (
        "they are the real images"
    )
    only, _ = acc.kind_rows("m", "digits", parts, fit, CLF, learn=False)
    assert {r["metric"] for r in only} == {"real_on_fake", "real_on_mixed"}


def test_fakes_come_in_the_numbers_of_the_real_images(real):
    asked = []

    def make(counts, part):
        asked.append((part, counts))
        return getattr(real, part)

    acc.fake_parts(real, make, mix=2.0)
    assert dict(asked)["test"] == {name: 2 * n for name, n in real.test.counts().items()}
    assert [part for part, _ in asked] == ["train", "validation", "test"]


def test_wrong_labels_are_seen_by_label_faithfulness(real):
    fit = acc.fit_of(CLF, real, 0)
    found = {r["arm"]: r["value"] for r in acc.faith_control_rows("digits", real, [fit])}
    assert found["real images"] - found["one label in ten wrong"] > 0.05
    assert found["invisible noise"] == pytest.approx(found["real images"], abs=0.02)
    assert found[acc.SHUFFLED_LABELS] < 0.25 < found["one label in ten wrong"]


def test_more_images_and_epochs_raise_the_accuracy(real):
    how = (real.train, real.validation, real.test, CLF, (40, 0), (1, 4), (0, 1))
    rows = acc.choice_rows("digits", *how)
    means = {}
    for r in rows:
        means.setdefault(r["arm"], []).append(r["value"])
    means = {arm: np.mean(v) for arm, v in means.items()}
    assert list(means) == [
        "40 images, 1 epoch",
        "40 images, 4 epochs",
        "all images, 1 epoch",
        "all images, 4 epochs",
    ]
    assert means["all images, 4 epochs"] == max(means.values())
    cards = [r["protocol"] for r in rows]
    differ = {k for k in cards[0] if len({str(card[k]) for card in cards}) > 1}
    assert differ <= {"epochs", "n_train", "batch_size"}, "what a claim over these choices names as varied"


def test_accuracies_are_noted_while_a_classifier_learns(real):
    curves = acc.fit_of(CLF, real, 1).curves
    assert len(curves.train_accuracy) == len(curves.validation_accuracy) == len(curves.steps) == 3
    assert curves.train_accuracy[-1] > curves.train_accuracy[0] and 0 <= min(curves.validation_accuracy) <= 1
    assert Curves([1], [0.1], [0.2], 0).train_accuracy is None, "records of older versions"


def test_the_power_spectrum_of_known_images():
    x = np.arange(32)
    wave = np.rint(128 + 60 * np.cos(2 * np.pi * 8 * x / 32)).astype(np.uint8)
    images = np.broadcast_to(wave[None, None, :, None], (3, 32, 32, 1)).copy()
    found = spectrum(images)
    assert found.argmax() == 7, "8 waves an image"
    assert found[7] - np.delete(found, 7).max() > 5 and found[7] - np.delete(found, (6, 7, 8)).max() > 35, (
        "the window puts a quarter of a wave to either side"
    )
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (200, 32, 32, 3), np.uint8)
    rolled = [np.roll(noise.astype(float), (a, b), (1, 2)) for a in (-1, 0, 1) for b in (-1, 0, 1)]
    soft = np.mean(rolled, 0).round().astype(np.uint8)
    assert vagueness(noise, soft) < -2 < 2 < vagueness(soft, noise)
    assert spectrum_distance(noise, soft) == pytest.approx(spectrum_distance(soft, noise))
    assert spectrum_distance(noise[:100], noise[100:]) < 0.5
    with pytest.raises(GannbError, match="uint8"):
        spectrum(images.astype(float))
    with pytest.raises(GannbError, match="one shape"):
        spectrum_distance(images, noise[:, :16, :16])
