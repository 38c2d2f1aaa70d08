"""Classifiers that are kept: found again by what made them, features looked at once, sets compared."""

import dataclasses
import shutil
from functools import partial

import numpy as np
import pytest
import torch

import stagehash
from gannb import store
from gannb.base import GannbError
from gannb.classify import CALLED_FAKE, HALF, WHOLE, WRONG, control_sets, joined, share_of, with_wrong_labels
from gannb.config import checked
from gannb.copies import rendered
from gannb.data import ImageSet
from gannb.datasets.registry import load
from gannb.features import FeatureNet
from gannb.stages import classifier
from gannb.stages.classifier import (
    CLASSIFIER_VERSION,
    EPOCHS,
    STEPS,
    ClassifierConfig,
    FeaturePool,
    backbone_of,
    compare_training_sets,
    fitted,
    imagenet_weights,
    near_copies,
)
from gannb.stages.features import network

KNOWN = {1: "fdcefc760b5aa680"}  # version -> hash
ENTRIES = tuple(("stages.classifier", name) for name in ("fitted", "compare_training_sets", "near_copies"))
SMALL = ClassifierConfig(network="softmax", pretrained=False, epochs=3, batch_size=32)


def test_stage_version_names_this_code():
    stagehash.check("CLASSIFIER_VERSION", CLASSIFIER_VERSION, KNOWN, *ENTRIES)


@pytest.fixture(scope="module")
def digits():
    "Training, validation and test digits."
    pool, test = (load("digits", split=part, size=16, progress=False) for part in ("train", "test"))
    return *pool.split(0.85, seed=0), test


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch):
    "Each test has an empty store, with the converted weights of the judge in it."
    weights = store.store_dir() / "weights"
    network("effnet-lite0")
    shutil.copytree(weights, tmp_path / "store" / "weights")
    monkeypatch.setenv("GANNB_STORE", str(tmp_path / "store"))
    monkeypatch.delenv("GANNB_WEIGHTS", raising=False)


@pytest.fixture
def trainings(monkeypatch):
    "A list that grows with every training that really runs."
    done, real = [], classifier.train_classifier

    def counted(*args, **kwargs):
        done.append(args)
        return real(*args, **kwargs)

    monkeypatch.setattr(classifier, "train_classifier", counted)
    return done


class Means(torch.nn.Module):
    "A backbone of four numbers, which counts the images it is shown."

    def __init__(self):
        super().__init__()
        self.weight, self.shown = torch.nn.Parameter(torch.ones(1)), 0

    def forward(self, x):
        self.shown += len(x)
        x = x.float() / 255 * self.weight
        return torch.stack([x[..., :8, :8], x[..., :8, 8:], x[..., 8:, :8], x[..., 8:, 8:]], 1).mean(
            (2, 3, 4)
        )


@pytest.fixture
def means(monkeypatch):
    "Frozen backbones are four means, in place of a large network."
    net = FeatureNet("means", "quarters", 4, "0" * 64, "none", Means(), batch=50)
    monkeypatch.setattr(classifier, "backbone_of", lambda cfg: net)
    return net


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"network": "efnet-lite0"}, "Did you mean 'effnet-lite0'"),
        ({"network": "cnn"}, "no ImageNet weights for 'cnn'"),
        ({"pretrained": False}, "would stay random"),
        ({"finetune": "heads"}, "Did you mean 'head'"),
        ({"input_size": 65}, "input_size must be one of 64, 128, 224"),
        ({"optimiser": "rmsprob"}, "Did you mean 'rmsprop'"),
        ({"schedule": "steps"}, "Did you mean 'step'"),
        ({"augment": "crops"}, "Did you mean 'crop'"),
        ({"device": "cdua"}, "Did you mean 'cuda'"),
        ({"epochs": 0}, "epochs must be a whole number from 1"),
        ({"epochs": "many"}, "epochs='many'"),
        ({"lr": -1}, "lr must be"),
        ({"optimizer": "sgd"}, "parameter 'optimizer' is not known. Did you mean 'optimiser'"),
        ({"batch_size": True}, "batch_size=True: a number"),
    ],
)
def test_a_wrong_setting_is_refused(wrong, words):
    with pytest.raises(GannbError, match=words):
        checked(ClassifierConfig, wrong)


def test_the_recipe_is_what_the_settings_say():
    cfg = ClassifierConfig(
        optimiser="sgd", lr=0.02, weight_decay=1e-4, schedule="step", epochs=7, augment="crop,flip"
    )
    recipe = cfg.recipe()
    assert (recipe.optimiser, recipe.lr, recipe.weight_decay, recipe.schedule) == ("sgd", 0.02, 1e-4, "step")
    assert (recipe.epochs, recipe.batch_size, recipe.augment, recipe.threads) == (7, 64, ("flip", "crop"), 1)
    assert cfg.frozen and not cfg.having(finetune="all").frozen and not SMALL.frozen


def test_a_classifier_is_trained_once(digits, trainings):
    train, validation, test = digits
    first = fitted(SMALL, train, validation, 3)
    again = fitted(SMALL, train, validation, 3)
    assert len(trainings) == 1 and first.folder == again.folder and first.curves == again.curves
    assert np.array_equal(first.logits(test), again.logits(test))
    store.verify_folder(first.folder)
    assert store.read_json(first.folder / "card.json")["seed"] == 3
    fresh = classifier._untrained(SMALL, train, 3, None)
    classifier.train_classifier(fresh, train, validation, SMALL.recipe(), 3)
    assert all(torch.equal(t, first.net.state_dict()[k]) for k, t in fresh.state_dict().items())


def test_everything_that_matters_is_in_the_key_and_nothing_else(digits, trainings):
    train, validation, _ = digits
    others = (
        dict(seed=1),
        dict(steps=5),
        dict(train=with_wrong_labels(train, 0.1)),
        dict(validation=with_wrong_labels(validation, 0.1)),
        dict(cfg=SMALL.having(optimiser="sgd")),
        dict(cfg=SMALL.having(lr=0.1)),
        dict(cfg=SMALL.having(weight_decay=0.1)),
        dict(cfg=SMALL.having(schedule="none")),
        dict(cfg=SMALL.having(augment="flip")),
        dict(cfg=SMALL.having(batch_size=64)),
        dict(cfg=SMALL.having(epochs=4)),
        dict(cfg=SMALL.having(epochs=4), steps=117),
        dict(cfg=SMALL.having(input_size=64)),
        dict(cfg=SMALL.having(network="cnn", finetune="all")),
        dict(cfg=SMALL.having(finetune="all")),
        dict(cfg=SMALL.having(threads=2)),
    )
    same = dict(cfg=SMALL, train=train, validation=validation, seed=0)
    folders = [fitted(**same | other).folder for other in ({}, *others)]
    assert len(set(folders)) == len(folders) == len(trainings)
    assert fitted(**same | dict(cfg=SMALL.having(download=True))).folder == folders[0]
    assert fitted(**same | dict(cfg=SMALL.having(lr=1e-3))).folder == folders[0], "the rate itself"
    assert fitted(**same | dict(steps=3 * 39)).folder == folders[0], "as many steps as three epochs have"
    assert len(trainings) == len(folders)


def test_an_interrupted_training_leaves_nothing_and_starts_again(digits, monkeypatch, trainings):
    train, validation, _ = digits
    counted = classifier.train_classifier

    def stopped(*args):
        counted(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(classifier, "train_classifier", stopped)
    with pytest.raises(KeyboardInterrupt):
        fitted(SMALL, train, validation)
    assert not list((store.store_dir() / "classifier").iterdir())
    monkeypatch.setattr(classifier, "train_classifier", counted)
    assert fitted(SMALL, train, validation).folder.is_dir() and len(trainings) == 2


def test_sets_are_checked_before_the_network_is_fetched(digits):
    cfg = ClassifierConfig(network="resnet18")  # whose weights are not here
    with pytest.raises(GannbError, match="two classes or more"):
        fitted(cfg, digits[0].select(["3"]), digits[1])


def test_answers_are_kept_for_each_set(digits, monkeypatch):
    train, validation, test = digits
    fit = fitted(SMALL, train, validation)
    first, fewer = fit.logits(test), fit.logits(test.rows(np.arange(9)))
    assert np.allclose(first[:9], fewer, atol=1e-5)
    monkeypatch.setattr(classifier, "logits_of", None)
    assert np.array_equal(fit.logits(test), first)
    only = np.arange(len(test)) < 100
    assert fit.scores(test, only).n == 100
    assert fit.scores(test, only).accuracy == (first[:100].argmax(1) == test.labels[:100]).mean()
    with pytest.raises(GannbError, match="classes of the training images"):
        fit.scores(test.select(["1", "2"]))


def test_the_pool_looks_at_each_image_once(digits, means):
    train, validation, _ = digits
    pool, half = FeaturePool(means), share_of(train, 0.5)
    both = joined([train, validation], "both")
    rounded = lambda n: -(-n // 50) * 50  # noqa: E731
    pool.vectors(half)
    assert means.module.shown == rounded(len(half))
    pool.vectors(both)
    assert means.module.shown == rounded(len(half)) + rounded(len(np.unique(both.pixel_hashes())) - len(half))
    before = means.module.shown
    for s in (train, validation, half, train.rows(np.arange(len(train))[::-1])):
        found = pool.vectors(s)
        assert found.x.shape == (1, len(s), 4) and np.array_equal(found.labels, s.labels)
        assert np.allclose(found.x[0], means(np.asarray(s.images)), atol=1e-6)
        before += len(s)
    FeaturePool(means).vectors(half)
    assert means.module.shown == before, "features are in the store"


def test_augmented_features_are_those_of_the_views(digits, means):
    from gannb.classify import view

    train, validation, _ = digits
    pool, few = FeaturePool(means, ("flip", "crop")), share_of(train, 0.1)
    found = pool.vectors(few, training=True).x
    assert found.shape == (8, len(few), 4) and pool.vectors(validation).x.shape[0] == 1
    for k in range(8):
        assert np.allclose(found[k], means(view(np.asarray(few.images), ("flip", "crop"), k)), atol=1e-6)


def test_features_do_not_depend_on_company():
    "To the bit: else the same images would give another classifier after another comparison."
    images = np.random.default_rng(0).integers(0, 256, (80, 32, 32, 3), np.uint8)
    s = ImageSet.of_images(images, "noise", np.arange(80) % 2, ("a", "b"))
    whole = FeaturePool(backbone_of(ClassifierConfig())).vectors(s).x[0]
    pool = FeaturePool(backbone_of(ClassifierConfig()))
    for rows in (np.arange(79, 40, -1), np.arange(0, 80, 3)):
        pool.vectors(s.rows(rows))
    assert np.array_equal(pool.vectors(s).x[0], whole)


def test_a_frozen_backbone_gives_the_same_classifier_whatever_was_compared_before(digits, means):
    train, validation, test = digits
    cfg, half = ClassifierConfig(epochs=2), share_of(train, 0.5)
    alone = fitted(cfg, half, validation)
    weights, logits = alone.net.state_dict(), alone.logits(test)
    shutil.rmtree(alone.folder)
    pool = FeaturePool(means)
    fitted(cfg, train, validation, pool=pool)
    again = fitted(cfg, half, validation, pool=pool)
    assert again.folder == alone.folder and alone.net is not again.net
    assert all(torch.equal(t, again.net.state_dict()[k]) for k, t in weights.items())
    assert np.array_equal(logits, again.logits(test))


def test_the_whole_network_agrees_with_features_and_head():
    images = np.random.default_rng(0).integers(0, 256, (32, 32, 32, 3), np.uint8)
    s = ImageSet.of_images(images, "noise", np.arange(32) % 2, ("a", "b"))
    cfg = ClassifierConfig(epochs=2, batch_size=16)
    fit = fitted(cfg, s, s)
    net = classifier._untrained(cfg, s, 0, None)
    net.head.load_state_dict(fit.net.state_dict())
    assert np.allclose(classifier.logits_of(net, s), fit.logits(s), atol=1e-4)


def fine_tuned(finetune, s):
    cfg = ClassifierConfig(network="effnet-lite0", finetune=finetune, epochs=1, batch_size=16)
    return fitted(cfg, s, s)


def test_fine_tuning_starts_from_imagenet_weights_and_changes_them():
    images = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), np.uint8)
    s = ImageSet.of_images(images, "noise", np.arange(16) % 2, ("a", "b"))
    net, published = fine_tuned("all", s).net, imagenet_weights("effnet-lite0")[0]
    stem = net.state_dict()["backbone.net.conv_stem.weight"]
    moved = (stem - published["conv_stem.weight"]).abs().max()
    assert 0 < moved < 0.01, "one step away"
    assert set(fine_tuned("head", s).net.state_dict()) == {"weight", "bias"}


def test_resnet_without_its_weights_says_where_to_get_them(digits, monkeypatch):
    monkeypatch.setattr(classifier, "fetch", lambda *a, **k: pytest.fail("nobody allowed the download"))
    with pytest.raises(
        GannbError, match="https://download.pytorch.org/models/resnet18-f37072fd.pth.*pretrained=False"
    ):
        fitted(ClassifierConfig(network="resnet18"), *digits[:2])


def published(monkeypatch, folder):
    "A file as if it were ResNet-18's published one, and its tensors."
    from torchvision.models import resnet18

    torch.manual_seed(0)
    tensors = resnet18(weights=None).state_dict()
    torch.save(tensors, folder / classifier.RESNET18_FILE)
    monkeypatch.setattr(classifier, "RESNET18_SHA256", store.sha256_file(folder / classifier.RESNET18_FILE))
    return tensors


def test_resnet_weights_are_taken_from_a_folder_and_checked(tmp_path, monkeypatch):
    (tmp_path / "w").mkdir()
    monkeypatch.setenv("GANNB_WEIGHTS", str(tmp_path / "w"))
    tensors = published(monkeypatch, tmp_path / "w")
    found, sha256 = imagenet_weights("resnet18")
    assert sha256 == classifier.RESNET18_SHA256 and torch.equal(
        found["conv1.weight"], tensors["conv1.weight"]
    )
    images = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), np.uint8)
    s = ImageSet.of_images(images, "noise", np.arange(16) % 2, ("a", "b"))
    fit = fitted(ClassifierConfig(network="resnet18", epochs=1, batch_size=8), s, s)
    assert fit.net.in_features == 512 and fit.logits(s).shape == (16, 2)
    with open(tmp_path / "w" / classifier.RESNET18_FILE, "ab") as f:
        f.write(b"x")
    with pytest.raises(GannbError, match="is not the expected file"):
        imagenet_weights("resnet18")


def test_resnet_weights_are_fetched_where_that_is_allowed(tmp_path, monkeypatch):
    (tmp_path / "web").mkdir()
    tensors = published(monkeypatch, tmp_path / "web")
    asked = []

    def fetch(urls, checksum, target, algorithm):
        asked.append((urls, checksum, algorithm))
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tmp_path / "web" / classifier.RESNET18_FILE, target)

    monkeypatch.setattr(classifier, "fetch", fetch)
    found, _ = imagenet_weights("resnet18", download=True)
    assert torch.equal(found["fc.bias"], tensors["fc.bias"])
    imagenet_weights("resnet18", download=True)
    assert asked == [(classifier.RESNET18_URLS, classifier.RESNET18_SHA256, "sha256")]


def test_the_published_hash_begins_as_the_name_says():
    assert len(classifier.RESNET18_SHA256) == 64
    assert classifier.RESNET18_SHA256[:8] == classifier.RESNET18_FILE.split("-")[1].removesuffix(".pth")


def test_near_copies_are_found_and_others_are_not(digits):
    train, _, test = digits
    copies = rendered(train.take(np.arange(20)), "slightly noisy")
    planted = ImageSet.of_images(np.concatenate([test.take(np.arange(80)), copies]), "planted")
    found = near_copies(planted, train)
    assert found[80:].sum() >= 18 and found[:80].sum() <= 8
    assert np.array_equal(near_copies(planted, train), found)


def test_a_comparison_has_every_row(digits, trainings):
    train, validation, test = digits
    sets = {"real": train, "half": share_of(train, 0.5), "wrong": with_wrong_labels(train, 0.3)}
    lines = []
    found = compare_training_sets(sets, validation, test, SMALL, [4, 5], role="digits", say=lines.append)
    metrics = {"accuracy", "calibration_error", "test_loss", "train_loss", "validation_loss"}
    metrics |= {f"accuracy of {k}" for k in range(10)}
    keys = [(r["arm"], r["dataset"], r["seed"], r["step"], r["metric"]) for r in found.rows]
    want = {(a, "digits", s, p, m) for a in sets for s in (4, 5) for p in (EPOCHS, STEPS) for m in metrics}
    assert set(keys) == want and len(keys) == len(want) and len(lines) == 12
    assert len(trainings) == 8, "the largest sets have equal epochs and equal steps at once"
    for r in found.rows:
        fit = found.fits[r["arm"], r["seed"], r["step"]]
        if r["metric"] == "accuracy":
            assert r["value"] == fit.scores(test).accuracy
        if r["metric"] == "validation_loss":
            assert r["value"] == min(fit.curves.validation_loss)
    fits = found.fits
    assert {fits[a, 4, STEPS].curves.steps[-1] for a in sets} == {3 * 39}
    assert [fits[a, 4, EPOCHS].curves.steps[-1] for a in sets] == [117, 60, 117]
    assert {len(f.curves.steps) for f in fits.values()} == {3}, "all are looked at equally often"
    two = [
        r["value"] for r in found.rows if (r["arm"], r["metric"], r["step"]) == ("half", "accuracy", STEPS)
    ]
    assert found.mean("half", protocol=STEPS) == pytest.approx(np.mean(two)) and len(two) == 2


def test_arms_share_their_protocol_and_protocols_differ(digits):
    train, validation, test = digits
    sets = {"real": train, "half": share_of(train, 0.5)}
    rows = compare_training_sets(sets, validation, test, SMALL, [0, 1]).rows
    cards = {step: [r["protocol"] for r in rows if r["step"] == step] for step in (EPOCHS, STEPS)}
    for step, found in cards.items():
        assert all(card == found[0] for card in found) and found[0]["protocol"] == step
    card = cards[EPOCHS][0]
    assert card != cards[STEPS][0]
    assert (card["test"], card["n_test"], card["validation"]) == (
        test.fingerprint,
        359,
        validation.fingerprint,
    )
    assert card["classifier"] == "softmax" and card["weights"] == "from scratch" and card["lr"] == 1e-3


def test_near_copies_are_left_out_in_a_second_column(digits):
    train, validation, test = digits
    copies = np.arange(len(test)) < 50
    found = compare_training_sets({"real": train}, validation, test, SMALL, [0], (EPOCHS,), copies=copies)
    (row,) = [r for r in found.rows if r["metric"] == "accuracy_without_copies"]
    logits = found.fits["real", 0, EPOCHS].logits(test)
    assert row["value"] == (logits.argmax(1) == test.labels)[50:].mean()
    assert (row["protocol"]["n_test"], row["protocol"]["near-copies left out"]) == (309, 50)


def test_a_set_may_belong_to_a_seed_and_have_its_own_validation(digits):
    train, validation, test = digits
    asked = []

    def fakes(seed):
        asked.append(seed)
        return share_of(train, 0.5, seed)

    own = {"real": validation, "fake": with_wrong_labels(validation, 0.1)}
    found = compare_training_sets({"real": train, "fake": fakes}, own, test, SMALL, [0, 7], (STEPS,))
    assert asked == [0, 7]
    prints = {found.fits["fake", s, STEPS].train.fingerprint for s in (0, 7)}
    assert prints == {share_of(train, 0.5, s).fingerprint for s in (0, 7)}
    cards = [store.read_json(found.fits[a, 0, STEPS].folder / "card.json")["validation"] for a in own]
    assert cards == [s.fingerprint for s in own.values()]
    told = {r["arm"]: r["protocol"]["validation"] for r in found.rows}
    assert told == {name: s.fingerprint for name, s in own.items()}


@pytest.mark.parametrize(
    "wrong", ["one class", "no labels", "other classes", "test", "protocol", "small", "validation"]
)
def test_nothing_is_trained_where_a_set_cannot_be_compared(digits, trainings, wrong):
    train, validation, test = digits
    bad = {
        "one class": dataclasses.replace(train, labels=np.zeros(len(train), np.int64)),
        "no labels": dataclasses.replace(train, labels=None, classes=()),
        "other classes": train.select(["1", "2"]),
        "small": train.rows(np.arange(20)),
    }
    words = {
        "one class": "are of 1",
        "no labels": "'bad' must have labels",
        "other classes": "'bad' must have labels, and the same classes",
        "test": "The test images and 'real'",
        "protocol": "protocol='equal epoch' is not known. Did you mean 'equal epochs'",
        "small": "batch_size=32 is larger",
        "validation": "validation of='bad'",
    }
    sets = {"real": train, "bad": bad.get(wrong, train)}
    shown = dataclasses.replace(test, labels=None, classes=()) if wrong == "test" else test
    protocols = ("equal epoch",) if wrong == "protocol" else (EPOCHS,)
    chooses = {"real": validation} if wrong == "validation" else validation
    with pytest.raises(GannbError, match=words[wrong]):
        compare_training_sets(sets, chooses, shown, SMALL, [0], protocols)
    assert not trainings


def test_controls_through_the_harness(digits):
    "What it must see it sees, under equal steps; and nothing where nothing is."
    train, validation, test = digits
    few = share_of(train, 0.1)
    sets = {
        name: partial(lambda seed, name: control_sets(few, seed)[name], name=name)
        for name in (WHOLE, HALF, CALLED_FAKE, WRONG)
    }
    cfg = SMALL.having(epochs=40)
    found = compare_training_sets(sets, validation, test, cfg, range(5), (STEPS,))

    def values(name):
        return np.array([found.fits[name, s, STEPS].scores(test).accuracy for s in range(5)])

    for worse in (HALF, WRONG):
        loss = values(WHOLE) - values(worse)
        assert loss.mean() - 2.78 * loss.std(ddof=1) / 5**0.5 > 0, worse
    none = values(HALF) - values(CALLED_FAKE)
    assert abs(none.mean()) < 2.78 * none.std(ddof=1) / 5**0.5


@pytest.mark.pack
def test_real_scenes_are_told_apart_by_a_frozen_backbone():
    pool, test = (
        load("intel-scenes", split=p, size=64, limit=400, progress=False) for p in ("train", "test")
    )
    train, validation = pool.split(0.75, seed=0)
    fit = fitted(ClassifierConfig(epochs=10, batch_size=32), train, validation)
    assert fit.scores(test).accuracy > 0.7, "300 images of six classes; 86 % with all of them"
