"""One GAN a class: each its own artefact, nothing lost when it is killed; three ways to fakes with labels;
files that others read."""

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gannb import store
from gannb.base import GannbError
from gannb.config import gan_config
from gannb.data import ImageSet
from gannb.datasets.registry import load
from gannb.datasets.shares import nested_shares, train_and_validation
from gannb.features import FeatureNet
from gannb.stages import classes
from gannb.stages.arms import train_arms
from gannb.stages.classes import (
    by_class,
    class_arms,
    class_scorers,
    best_epoch,
    even_picks,
    export_fakes,
    labelled_fakes,
)
from gannb.stages.features import fakes_of, network
from gannb.stages.gan import gan_fields
from gannb.stages.run import GanRun
from gannb.stages.score import score

ROOT = Path(__file__).resolve().parents[1]
CFG = dict(dataset="digits", size=16, epochs=3, batch_size=16, nz=8, ngf=4, ndf=4, threads=1)
DIGITS = ["0", "1", "2"]


def quiet(words: str) -> None:
    pass


def digits(split: str = "train") -> ImageSet:
    return load("digits", split=split, size=16, classes=DIGITS, progress=False)


@pytest.fixture(scope="module")
def parts():
    return train_and_validation(digits())


@pytest.fixture(scope="module")
def trained(parts):
    return train_arms(class_arms(parts["train"], gan_config(**CFG)), [0, 1], say=quiet, show="quiet")


@pytest.fixture(scope="module")
def runs(trained):
    return by_class(trained, seed=0)


# arms


def test_an_arm_a_class(parts):
    arms = class_arms(parts["train"], gan_config(**CFG), parts["validation"])
    assert [role for role, _ in arms] == DIGITS and {a for _, a in arms} == {"one GAN a class"}
    for (role, _), arm in arms.items():
        assert arm.data.classes == arm.held.classes == (role,) and arm.key[0] == arm.name == role
        assert len(arm.data) == parts["train"].counts()[role]
        assert not set(arm.data.pixel_hashes().tolist()) & set(parts["validation"].pixel_hashes().tolist())
    keys = {json.dumps(gan_fields(a.config, a.data, 0), sort_keys=True) for a in arms.values()}
    assert len(keys) == 3, "each class is a training of its own"


def test_what_a_class_knows_is_its_share_alone(parts):
    few = nested_shares(parts["train"], (0.25,))[0.25]
    cfg = gan_config(**CFG)
    arms = class_arms(few, cfg, arm="a quarter")
    assert all(len(arms[c, "a quarter"].data) == few.counts()[c] for c in DIGITS)
    full = class_arms(parts["train"], cfg)
    assert not set(arms) & set(full), "two shares can be arms of one study"
    assert arms["0", "a quarter"].name == "0, a quarter"


def test_the_store_finds_every_class_again(parts, trained):
    said = []
    again = train_arms(class_arms(parts["train"], gan_config(**CFG)), [0, 1], say=said.append, show="quiet")
    assert said[0].startswith("6 trainings: 6 are already in the store, 0 to do")
    assert all(run.reused for some in again.values() for run in some)
    assert len({run.folder for some in trained.values() for run in some}) == 6


def test_images_without_labels(parts):
    plain = ImageSet.of_images(np.asarray(parts["train"].images), "plain")
    with pytest.raises(GannbError, match="needs labelled images; plain has no labels"):
        class_arms(plain, gan_config(**CFG))


def test_one_class_smaller_than_a_batch(parts):
    labels = np.asarray(parts["train"].labels)
    rows = np.r_[np.flatnonzero(labels == 0)[:12], np.flatnonzero(labels > 0)]
    with pytest.raises(GannbError, match=r"batch_size=16 is larger than 1 of the 3 classes \(0 12 images\)"):
        class_arms(parts["train"].rows(rows), gan_config(**CFG))


def test_a_class_that_nothing_judges(parts):
    with pytest.raises(GannbError, match="classes='0' is not known"):
        class_arms(parts["train"], gan_config(**CFG), parts["validation"].select(classes=["1", "2"]))


def test_every_small_class_is_named(parts):
    with pytest.raises(GannbError, match="larger than 3 of the 3 classes .*0 121, 1 124, 2 121 images"):
        class_arms(parts["train"], gan_config(**CFG | {"batch_size": 200}))


def test_runs_of_a_seed(trained):
    assert list(by_class(trained, 1)) == DIGITS and {r.seed for r in by_class(trained, 1).values()} == {1}
    with pytest.raises(GannbError, match="seed 7 of class '0' was not trained. Trained: 0, 1"):
        by_class(trained, 7)
    with pytest.raises(GannbError, match="arm='one GAN a clas' is not known. Did you mean"):
        by_class(trained, 0, "one GAN a clas")


# killed in the middle of class three

KILLED = """
import os, sys
from gannb import store
from gannb.config import gan_config
from gannb.datasets.registry import load
from gannb.datasets.shares import train_and_validation
from gannb.stages.arms import train_arms
from gannb.stages.classes import class_arms

calls, real = [], store.save_checkpoint

def dying(*a, **k):
    calls.append(1)
    if len(calls) == 8:  # three epochs of two classes, one of the third
        os._exit(9)
    return real(*a, **k)

store.save_checkpoint = dying
data = load("digits", size=16, classes=["0", "1", "2"], progress=False)
train_arms(class_arms(train_and_validation(data)["train"], gan_config(**{config})), [0], show="quiet", jobs=1)
"""


def contents(folder: Path) -> dict[str, str]:
    "Hashes of all that must be the same; the clock and who trained stand apart."
    apart = ("timing.json", "provenance.json", ".lock", ".lock.json")
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.name not in apart]
    return {p.relative_to(folder).as_posix(): store.sha256_file(p) for p in files}


def test_killed_in_class_three_goes_on_there(parts, runs, tmp_path, monkeypatch):
    env = os.environ | {"GANNB_STORE": str(tmp_path / "store")}
    code = KILLED.replace("{config}", repr(CFG))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 9, done.stderr
    monkeypatch.setenv("GANNB_STORE", str(tmp_path / "store"))
    said = []
    after = train_arms(class_arms(parts["train"], gan_config(**CFG)), [0], say=said.append, show="quiet")
    assert said[0].startswith("3 trainings: 2 are already in the store, 1 to do")
    found = by_class(after, 0)
    assert [found[c].reused for c in DIGITS] == [True, True, False]
    parts_of_three = store.read_json(found["2"].folder / "timing.json")["parts"]
    assert parts_of_three[-1]["from_step"] == found["2"].steps_per_epoch, "its first epoch was not repeated"
    for c in DIGITS:
        assert contents(found[c].folder) == contents(runs[c].folder), "as if nothing had happened"


# fakes


def test_fresh_fakes_are_those_that_scores_see(runs):
    fakes = labelled_fakes(runs, 20)
    assert fakes.images.counts() == dict.fromkeys(DIGITS, 20) and fakes.images.classes == tuple(DIGITS)
    for k, c in enumerate(DIGITS):
        mine = fakes.images.take(np.flatnonzero(fakes.images.labels == k))
        assert (mine == fakes_of(runs[c], 3, 20)).all()
    assert [o["G_sha256"] for o in fakes.origins] == [runs[c].sha256() for c in DIGITS]
    assert [(o["class"], o["seed"], o["epochs"]) for o in fakes.origins] == [(c, 0, [3]) for c in DIGITS]
    assert "last generator" in fakes.images.notes[0]
    assert fakes.images.settings == {"fakes": "fresh", "origins": fakes.origins}, "part of the fingerprint"


def test_as_many_fakes_as_reals(runs, parts):
    wanted = parts["train"].counts()
    fakes = labelled_fakes(runs, wanted)
    assert fakes.images.counts() == wanted and fakes.images.size == parts["train"].size
    assert labelled_fakes(runs, wanted).images.fingerprint == fakes.images.fingerprint
    assert labelled_fakes(runs, 20).images.fingerprint != fakes.images.fingerprint


def test_seeds_and_ways_are_told_apart(trained, runs):
    prints = {
        labelled_fakes(by_class(trained, s), 8, w).images.fingerprint
        for s in (0, 1)
        for w in ("fresh", "collected")
    }
    assert len(prints) == 4


def test_collected_fakes_come_from_all_epochs(runs):
    fakes = labelled_fakes(runs, 60, "collected")
    sheets = [runs["1"].samples(e) for e in (1, 2, 3)]
    mine = fakes.images.take(np.flatnonzero(fakes.images.labels == 1))
    where = [[(picture == sheet).all((1, 2, 3)).any() for sheet in sheets] for picture in mine]
    assert np.array(where).any(1).all(), "every picture is on a sheet"
    assert np.array(where).sum(0).tolist() == [20, 20, 20]
    assert fakes.origins[1]["epochs"] == [1, 2, 3] and "not after every iteration" in fakes.images.notes[0]
    assert not any((picture == runs["1"].samples(0)).all((1, 2, 3)).any() for picture in mine), (
        "none before training"
    )


@pytest.mark.parametrize(
    "n, epochs", [(1, 1), (7, 20), (64, 1), (192, 3), (100, 60), (3_840, 60), (1_999, 50)]
)
def test_picks_are_even_and_none_comes_twice(n, epochs):
    sheets, codes = even_picks(n, epochs)
    assert len(set(zip(sheets.tolist(), codes.tolist()))) == n
    assert 0 <= sheets.min() and sheets.max() < epochs and codes.max() < 64
    per_code = np.bincount(codes, minlength=64)
    assert per_code.max() - per_code.min() <= 1
    if n >= epochs:
        per_sheet = np.bincount(sheets, minlength=epochs)
        assert per_sheet.max() - per_sheet.min() <= 1


def test_more_than_was_kept_cannot_be_collected(runs):
    assert len(labelled_fakes(runs, 192, "collected").images) == 576
    with pytest.raises(GannbError, match="193 fakes are wanted, and 3 epochs of 64 .* hold 192"):
        labelled_fakes(runs, 193, "collected")


@pytest.fixture(scope="module")
def scorers(parts):
    net = network("domain", data=digits("test"), shown=2_000)
    return class_scorers(net, parts["validation"], 30)


def test_the_best_state_is_chosen_on_validation_images(runs, parts, scorers):
    for c in DIGITS:
        assert scorers[c].real.classes == (c,) and len(scorers[c].real) == parts["validation"].counts()[c]
    fakes = labelled_fakes(runs, 12, "best", scorers)
    for k, c in enumerate(DIGITS):
        kids = {e: score(runs[c], scorers[c], e)["kid"] for e in (1, 2, 3)}
        best = min(kids, key=kids.get)
        assert best_epoch(runs[c], scorers[c]) == best == fakes.origins[k]["epochs"][0]
        assert fakes.origins[k]["G_sha256"] == runs[c].sha256(best)
        assert (fakes.images.take(range(12 * k, 12 * k + 12)) == fakes_of(runs[c], best, 12)).all()
        assert f"{c} epoch {best}" in fakes.images.notes[0]


def test_an_earlier_state_can_be_the_best(runs, scorers, monkeypatch):
    planted = {1: 0.3, 2: 0.1, 3: 0.1}
    monkeypatch.setattr(classes, "score", lambda run, scorer, epoch: {"kid": planted[epoch]})
    assert best_epoch(runs["0"], scorers["0"]) == 2, "of two equal ones the earlier"
    monkeypatch.setattr(classes, "score", lambda run, scorer, epoch: {"kid": math.nan if epoch > 1 else 5.0})
    assert best_epoch(runs["0"], scorers["0"]) == 1
    monkeypatch.setattr(classes, "score", lambda run, scorer, epoch: {"kid": math.nan})
    with pytest.raises(GannbError, match="no kept state can be scored"):
        best_epoch(runs["0"], scorers["0"])


def test_a_diverged_run_has_no_last_fakes(runs):
    gone = GanRun(runs["1"].folder, runs["1"].fields, 3, runs["1"].steps_per_epoch, diverged=7)
    for way in ("fresh", "collected"):
        with pytest.raises(GannbError, match="class '1' seed 0 diverged at step 7.*Leave this seed out"):
            labelled_fakes(runs | {"1": gone}, 4, way)


@pytest.mark.parametrize(
    "n, words",
    [
        (0, "for 0 it is 0"),
        (-1, "for 0 it is -1"),
        (2.5, "for 0 it is 2.5"),
        (True, "for 0 it is True"),
        ("5", "for 0 it is '5'"),
        (None, "for 0 it is None"),
        ({"0": 5, "1": 5}, "must name each of the classes 0, 1, 2; it names 0, 1"),
        ({"0": 5, "1": 5, "2": 5, "3": 5}, "it names 0, 1, 2, 3"),
        ({"0": 5, "1": 0, "2": 5}, "for 1 it is 0"),
    ],
)
def test_numbers_that_cannot_be(runs, n, words):
    with pytest.raises(GannbError, match=words):
        labelled_fakes(runs, n)


def test_other_things_that_cannot_be(runs, scorers):
    with pytest.raises(GannbError, match="way='frehs' is not known. Did you mean 'fresh'"):
        labelled_fakes(runs, 4, "frehs")
    with pytest.raises(GannbError, match="it lacks 0, 1, 2"):
        labelled_fakes(runs, 4, "best")
    with pytest.raises(GannbError, match="it lacks 2"):
        labelled_fakes(runs, 4, "best", {c: scorers[c] for c in "01"})
    with pytest.raises(GannbError, match="no trainings to take fakes from"):
        labelled_fakes({}, 4)
    large = replace(runs["1"], fields=runs["1"].fields | {"size": 32})
    with pytest.raises(GannbError, match="several sizes"):
        labelled_fakes(runs | {"1": large}, 4)
    conditional = replace(runs["1"], fields=runs["1"].fields | {"n_classes": 3})
    with pytest.raises(GannbError, match="run of '1' makes several classes by itself"):
        labelled_fakes(runs | {"1": conditional}, 4)


# files


def test_exported_fakes_are_read_by_folder_and_by_torchvision(runs, parts, tmp_path):
    from torchvision.datasets import ImageFolder

    fakes = labelled_fakes(runs, {"0": 5, "1": 7, "2": 6})
    folder = export_fakes(fakes, tmp_path / "out")
    back = load(f"folder:{folder}", split="all", progress=False)
    assert back.classes == fakes.images.classes and back.counts() == fakes.images.counts()
    assert (back.take(range(18)) == fakes.images.take(range(18))).all(), "in the same order"
    theirs = ImageFolder(folder)
    assert theirs.classes == DIGITS and theirs.targets == fakes.images.labels.tolist()
    pixels = np.stack([np.asarray(picture) for picture, _ in theirs])
    assert (pixels == fakes.images.take(range(18)).repeat(3, -1)).all(), "grey as three equal channels"


def test_the_manifest_says_where_every_file_comes_from(runs, tmp_path):
    fakes = labelled_fakes(runs, {"0": 5, "1": 7, "2": 6})
    folder = export_fakes(fakes, tmp_path / "out")
    about, sealed = store.read_json(folder / "fakes.json"), store.verify_folder(folder)
    assert about["fingerprint"] == fakes.images.fingerprint and about["notes"] == list(fakes.images.notes)
    named = {f for row in about["classes"] for f in row["files"]}
    assert named <= set(sealed) and "fakes.json" in sealed
    assert [row["files"] for row in about["classes"]] == [
        ["0/000000.png", "0/000004.png"],
        ["1/000005.png", "1/000011.png"],
        ["2/000012.png", "2/000017.png"],
    ]
    for row, c in zip(about["classes"], DIGITS):
        assert (row["class"], row["seed"], row["images"]) == (c, 0, len(list((folder / c).iterdir())))
        assert row["G_sha256"] == runs[c].sha256() and row["data"] == runs[c].fields["data"]
    (folder / "1" / "000005.png").write_bytes(b"other")
    with pytest.raises(GannbError, match="does not match its manifest"):
        store.verify_folder(folder)


def test_nothing_is_overwritten(runs, tmp_path):
    fakes = labelled_fakes(runs, 2)
    export_fakes(fakes, tmp_path / "out")
    with pytest.raises(GannbError, match="exists already"):
        export_fakes(fakes, tmp_path / "out")


def test_a_scorer_is_what_the_house_scores_with(scorers):
    assert all(isinstance(s.net, FeatureNet) and s.n_fake == 30 and s.held_out for s in scorers.values())
