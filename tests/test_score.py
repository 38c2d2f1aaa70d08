"""Scores of stored generators: computed once, with their protocol, and never moving a training."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import stagehash
from gannb import metrics
from gannb import store
from gannb.datasets.registry import load
from gannb.base import GannbError, Missing
from gannb.config import gan_config
from gannb.studies.registry import report_config
from gannb.copies import low_passed
from gannb.data import ImageSet, image_hashes
from gannb.stages import gan
from gannb.stages import memory, score
from gannb.stages.discriminator import d_on, d_rows, real_d
from gannb.stages.judges import Scorer, judging_network, pooled, some_images
from gannb.stages.memory import copies_found, copy_control_rows, copy_rows, memorisation_rows, memorised
from gannb.stages.run import GanRun
from gannb.stages.features import fakes_of, network

CFG = dict(dataset="digits", size=16, batch_size=32, nz=8, ngf=4, ndf=4, threads=1)


@pytest.fixture(scope="module")
def sets():
    return load("digits", split="train", size=16, progress=False).select(limit=160), load(
        "digits", split="test", size=16, progress=False
    )


@pytest.fixture(scope="module")
def scorer(sets):
    net, held = judging_network(report_config("fruits", preset="smoke").config, {"apple": sets[1]})
    return Scorer(net, some_images(held["apple"], 40), 48)


@pytest.fixture(scope="module")
def run(sets, tmp_path_factory):
    return gan.train_run(
        gan_config(**CFG, epochs=3), sets[0], 0, tmp_path_factory.mktemp("gan") / "run", "quiet"
    )


def test_domain_learns_from_one_half_and_the_other_judges(sets):
    net, held = judging_network(report_config("fruits", preset="smoke").config, {"apple": sets[1]})
    mine, seen = set(held["apple"].pixel_hashes().tolist()), set(np.asarray(net.seen).tolist())
    assert seen and not mine & seen and len(held["apple"]) + len(seen) == len(sets[1])
    assert (
        judging_network(report_config("fruits", preset="smoke").config, {"apple": sets[1]})[1][
            "apple"
        ].fingerprint
        == held["apple"].fingerprint
    )


def test_domain_needs_labels(sets):
    bare = ImageSet("bare", np.asarray(sets[1].images))
    with pytest.raises(GannbError, match="bare has none. Use network=effnet-lite0"):
        judging_network(report_config("fruits", preset="smoke").config, {"apple": bare})


def test_a_pool_keeps_classes_apart(sets):
    both = pooled([sets[1], sets[1]])
    assert (
        len(both.classes) == 20
        and np.bincount(both.labels).sum() == 2 * len(sets[1])
        and both.labels.max() == 19
    )
    with pytest.raises(GannbError, match="one shape"):
        pooled([sets[1], load("digits", split="test", size=32, progress=False)])


def test_protocol_names_everything(scorer):
    p = scorer.protocol()
    assert (
        set(p)
        == {
            "network",
            "layer",
            "weights",
            "resize",
            "rounding",
            "n_real",
            "n_fake",
            "split",
            "reference",
            "held_out",
        }
        and p["n_real"] == 40
        and p["n_fake"] == 48
        and p["held_out"] is True
    )
    assert (
        "reference" not in score.normalised_protocol(scorer)
        and Scorer(scorer.net, scorer.real, 48, False).protocol()["split"] == "the training images themselves"
    )


def test_computed_once_and_again_when_damaged(run, scorer, monkeypatch, tmp_path):
    monkeypatch.setenv("GANNB_STORE", str(tmp_path))
    calls = []
    real = score.compare_features
    monkeypatch.setattr(score, "compare_features", lambda *a: calls.append(1) or real(*a))
    first = score.score(run, scorer)
    assert score.score(run, scorer) == first and len(calls) == 1 and set(first) == set(score.MEASURES)
    for f in (tmp_path / "score").rglob("score.json"):
        f.write_text("{")
    assert score.score(run, scorer) == first and len(calls) == 2
    score.score(run, scorer, 1)
    score.score(run, Scorer(scorer.net, scorer.real, 47))
    assert len(calls) == 4, "another epoch or another protocol is another score"


def test_values_are_those_of_the_metrics(run, scorer, sets):
    found = score.score(run, scorer)
    real = scorer.net(np.asarray(scorer.real.images))
    fake = scorer.net(fakes_of(run, 3, 48))
    assert (
        found["kid"] == pytest.approx(metrics.kid(real, fake), abs=1e-9)
        and found["fid"] == pytest.approx(metrics.fid(real, fake), abs=1e-6)
        and found["kid_low"] < found["kid"] < found["kid_high"]
    )
    assert found["diversity"] == pytest.approx(metrics.diversity_ratio(fake, real), abs=1e-9)
    zero, top = score.score(run, scorer, 0)["kid"], score.score_reals(sets[0], scorer)["kid"]
    assert score.quality(run, scorer, sets[0], 0) == 0 and score.quality(
        run, scorer, sets[0]
    ) == pytest.approx((zero - found["kid"]) / (zero - top))
    assert abs(top) < 0.1 * zero, "real training images are near to held-out ones"


def test_an_epoch_that_was_not_kept_and_a_diverged_run(run, scorer, sets):
    with pytest.raises(GannbError, match="not kept. Kept: 0, 1, 2, 3"):
        score.score(run, scorer, 9)
    gone = GanRun(run.folder, run.fields, 3, run.steps_per_epoch, diverged=7)
    assert (
        math.isnan(score.score(gone, scorer)["kid"])
        and math.isnan(score.quality(gone, scorer, sets[0]))
        and not math.isnan(score.score(gone, scorer, 1)["kid"])
    )
    assert all(math.isnan(r["value"]) for r in memorisation_rows("augment", "apple", gone, scorer, sets[0]))


@pytest.mark.parametrize("often", [True, False])
def test_scoring_never_moves_a_training(run, scorer, sets, tmp_path, often):
    """Trained in one go, or epoch by epoch with scores in between: the same bytes;
    torch's own generator is not touched."""
    folder = tmp_path / "run"
    for epochs in (1, 2, 3) if often else (3,):
        r = gan.train_run(gan_config(**CFG, epochs=epochs), sets[0], 0, folder, "quiet")
        before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].tolist()
        if often:
            score.score(r, scorer, epochs)
            d_on(real_d(r, sets[0]), sets[0])
            memorised(r, scorer, sets[0])
        assert (
            torch.equal(before, torch.get_rng_state()) and np.random.get_state()[1].tolist() == numpy_before
        ), "whoever scores in a loop of their own must not find it moved"
    for f in ("snapshots/G-epoch-0003.safetensors", "history.npy"):
        assert (folder / f).read_bytes() == (run.folder / f).read_bytes()


def test_rows_as_the_ledger_reads_them(run, scorer, sets):
    rows = (
        score.score_rows("augment", "apple", run, scorer, sets[0])
        + score.curve_rows("augment", "apple", run, scorer)
        + memorisation_rows("augment", "apple", run, scorer, sets[0])
        + d_rows("augment", "apple", run, sets[0], sets[1])
    )
    assert all(
        set(r) == {"arm", "dataset", "seed", "step", "metric", "value", "protocol"} and r["seed"] == 0
        for r in rows
    )
    assert {r["step"] for r in rows if r["metric"] == "loss_D"} == {
        e * run.steps_per_epoch for e in (1, 2, 3)
    }
    assert {r["arm"] for r in rows if r["metric"] == "nearer_to_training"} == {"augment", "planted copies"}
    gap = {r["metric"]: r["value"] for r in rows if r["metric"].startswith("D_")}
    assert gap["D_acc_gap"] == pytest.approx(gap["D_acc_train"] - gap["D_acc_held"])


def test_planted_copies_are_found_among_honest_fakes(run, scorer, sets, monkeypatch):
    """Other real digits in place of fakes: no nearer to the training set than to the judges,
    until copies are planted."""
    seen = set(scorer.real.pixel_hashes().tolist())
    others = np.asarray(sets[1].images)[[h not in seen for h in sets[1].pixel_hashes().tolist()]]
    monkeypatch.setattr(memory, "fake_features", lambda run, net, n: net(others))
    own, planted = memorised(run, scorer, sets[0])
    assert (
        own.n_train == own.n_held == len(scorer.real)
        and 0.35 < own.share < 0.65
        and planted.share > own.share
    )


def test_copies_are_counted_among_honest_fakes(run, scorer, sets, monkeypatch):
    "Other real digits in place of fakes are no copies; a generator that gives back training images is found."
    others, own = (np.asarray(s.images)[:100] for s in (sets[1], sets[0]))
    monkeypatch.setattr(memory, "fakes_of", lambda run, epoch, n: others)
    all_held = Scorer(scorer.net, sets[1], 100)
    honest, planted, kinds = copies_found(run, all_held, sets[0])
    assert honest.share < 0.06 and planted["20 % copies"].share - honest.share == pytest.approx(0.2, abs=0.06)
    assert kinds["exact"] == 1 and min(kinds.values()) > 0.8
    monkeypatch.setattr(memory, "fakes_of", lambda run, epoch, n: own)
    assert copies_found(run, all_held, sets[0])[0].share == pytest.approx(1, abs=0.03)


def test_what_the_count_of_copies_is_told(run, scorer, sets, monkeypatch, tmp_path):
    """The whole training set is searched, what belongs together is said, the copies to plant are others than
    those that find the power, and no held-out image is counted against itself."""
    monkeypatch.setenv("GANNB_STORE", str(tmp_path))
    train = replace(sets[0], groups=np.arange(len(sets[0])) // 4)
    own = Scorer(scorer.net, replace(sets[1], groups=1000 + np.arange(len(sets[1])) // 4), 48)
    searched, counted = [], []
    near, share = memory.nearness, memory.share_of_copies

    def searching(x, eye, groups=None):
        searched.append((len(eye), groups))
        return near(x, eye, groups)

    def counting(fake, held, made, groups=None, *seed):
        counted.append((fake, held, groups))
        return share(fake, held, made, groups, *seed)

    monkeypatch.setattr(memory, "nearness", searching)
    monkeypatch.setattr(memory, "share_of_copies", counting)
    copies_found(run, own, train)
    assert len(searched) == 7 and all(n == len(train) and g is train.groups for n, g in searched)
    assert len(counted) == 3 and all(g is own.real.groups for *_, g in counted)
    power, to_plant = (set(image_hashes(x).tolist()) for x in memory._made_copies(train, 0, "exact"))
    assert len(power) == len(to_plant) == 80 and not power & to_plant

    counted.clear()
    copy_control_rows("apple", own, train)
    reals = near(low_passed(np.asarray(own.real.images)), low_passed(np.asarray(train.images)), train.groups)
    sizes = dict(zip(*np.unique(own.real.groups, return_counts=True)))
    assert len(counted) == 3 * memory.SPLITS
    for fake, held, groups in counted[: memory.SPLITS]:
        assert np.allclose(sorted([*fake, *held]), sorted(reals)), "each image on one side"
        assert all(sizes[name] == n for name, n in zip(*np.unique(groups, return_counts=True)))


def test_rows_of_copies(run, scorer, sets, monkeypatch, tmp_path):
    "The run's, its controls', and once a data set those of held-out images; a diverged run has NaN."
    monkeypatch.setenv("GANNB_STORE", str(tmp_path))
    rows = copy_rows("augment", "apple", run, scorer, sets[0])
    of = {(r["arm"], r["step"], r["metric"]): r["value"] for r in rows}
    assert {r["seed"] for r in rows} == {0} and ("augment", "end", "copies") in of
    assert of["20 % copies", "control", "copies"] > of["10 % copies", "control", "copies"] + 0.05
    assert of["exact copies", "control", "copies_found"] == 1
    controls = copy_control_rows("apple", Scorer(scorer.net, sets[1], 48), sets[0])
    assert [(r["arm"], r["seed"], r["step"], r["metric"]) for r in controls] == [
        (name, None, "control", "copies") for name in ("real images", "slight blur", "half contrast")
    ]
    assert abs(controls[0]["value"]) < 0.05 and controls[0]["protocol"]["n_train"] == len(sets[0])
    monkeypatch.setattr(memory, "nearness", None)  # kept: nothing is computed again
    assert copy_rows("augment", "apple", run, scorer, sets[0]) == rows
    gone = GanRun(run.folder, run.fields, 3, run.steps_per_epoch, diverged=7)
    missing = copy_rows("augment", "apple", gone, scorer, sets[0])
    assert len(missing) == len(rows) and all(math.isnan(r["value"]) for r in missing)


def test_d_is_asked_with_the_statistics_of_real_images(run, sets):
    """Batch norm of the stored D mixes reals and fakes; its statistics are taken anew from real training
    images, and D answers in evaluation mode."""
    D = real_d(run, sets[0])
    x = torch.from_numpy(np.asarray(sets[1].images).astype(np.float32) / 127.5 - 1).permute(0, 3, 1, 2)
    with torch.no_grad():
        logits = D(x)
    p, a = d_on(D, sets[1], batch=50)
    assert (
        not D.training
        and p == pytest.approx(float(logits.sigmoid().mean()), abs=1e-5)
        and a == pytest.approx(float((logits > 0).float().mean()), abs=1e-9)
    )
    norm = next(m for m in D.modules() if isinstance(m, torch.nn.BatchNorm2d))
    stored = next(m for m in run.discriminator().modules() if isinstance(m, torch.nn.BatchNorm2d))
    assert torch.equal(norm.weight, stored.weight) and not torch.equal(norm.running_mean, stored.running_mean)


def test_without_inception_the_reason_stands_there(run, sets, monkeypatch, tmp_path):
    monkeypatch.setenv("GANNB_STORE", str(tmp_path))
    monkeypatch.delenv("GANNB_WEIGHTS", raising=False)
    assert score.inception_scores(run, sets[0], 16) == Missing("no Inception here")
    with pytest.raises(GannbError):
        score.inception_reals(sets[0])


def test_scorers_that_differ_differ_in_their_protocol(scorer):
    "The ledger compares rows of one protocol only; the fields that differ are named."
    other = Scorer(scorer.net, some_images(scorer.real, 30), 48)
    mine, theirs = scorer.protocol(), other.protocol()
    assert {k for k in mine if mine[k] != theirs[k]} == {"n_real", "reference"}


def test_network_by_name_is_what_judges(scorer):
    assert (
        scorer.net.card()["network"] == "domain"
        and network("effnet-lite0").card()["network"] == "effnet-lite0"
    )


ENTRIES = (  # what is stored under "score"; all that they use belongs to what a score means
    ("stages.score", "score"),
    ("stages.score", "score_reals"),
    ("stages.score", "quality"),
    ("stages.score", "fid_by_number"),
    ("stages.score", "inception_scores"),
    ("stages.score", "inception_reals"),
    ("stages.memory", "memorisation_rows"),
    ("stages.memory", "copy_rows"),
    ("stages.memory", "copy_control_rows"),
    ("stages.judges", "scorers_for"),
    ("stages.judges", "judging_part"),
    ("stages.classifier", "Namer"),
    ("stages.classifier", "balanced"),
    ("stages.discriminator", "place_rows"),
    ("stages.reader", "bits_of"),
    ("stages.reader", "bits_of_run"),
    ("studies.dataset_study.rows", "named_rows"),
    ("stages.coarse", "coarse_numbers"),
    ("stages.conditional", "within_row"),
    ("stages.conditional", "similarity_rows"),
    ("stages.conditional", "layer_fids"),
    ("studies.conditional_gans.rows", "run_spectrum"),
    ("studies.conditional_gans.rows", "shrunk_rows"),
    ("studies.conditional_gans.rows", "shrunk_control_rows"),
)
KNOWN = {1: "e5461dfbab1cea1e"}


def test_score_version_names_this_code():
    stagehash.check("SCORE_VERSION", score.SCORE_VERSION, KNOWN, *ENTRIES)


def test_store_is_where_scores_live(run, scorer):
    score.score(run, scorer)
    assert list((store.store_dir() / "score").glob("*/score.json"))
