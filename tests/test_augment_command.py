"""`gannb augment`: bad input refused before work, a sentence as careful as the ledger, a page from disk,
and a second run that trains nothing."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from gannb.base import GannbError
from gannb.cli import main
from gannb.commands import augment as room
from gannb.commands.augment import augment, check_export
from gannb.commands.augment_page import table_rows
from gannb.commands.augment_plan import AugmentConfig, batch_for, check_counts, classifier_batch, steps_for
from gannb.commands.augment_words import (
    ALONE,
    BOTH,
    FAKES,
    FEW,
    HARMS,
    HELPS,
    OPEN,
    ORDINARY,
    SAME,
    Effect,
    Measured,
    answer_word,
    effects,
    further,
    sees,
    sentence,
)
from gannb.config import checked
from gannb.datasets.registry import load
from gannb.report.site import _check_offline

TINY = {
    "dataset": "digits",
    "classes": ["0", "1"],
    "limit": 200,
    "shares": [1, 0.2],
    "seeds": [0, 1],
    "steps": 4,
    "batch_size": 16,
    "nz": 8,
    "ngf": 4,
    "ndf": 4,
    "network": "softmax",
    "clf_epochs": 2,
    "jobs": 1,
}
SETTINGS = [
    w
    for k, v in TINY.items()
    if k != "dataset"
    for w in ("--set", f"{k}={','.join(map(str, v)) if isinstance(v, list) else v}")
]


def config(**changes):
    return checked(AugmentConfig, TINY | changes)


# ---- what cannot be, before anything is trained


def folder_of(path, counts, size=16):
    "Class folders with so many noisy images each; '' is the folder itself."
    draws = np.random.default_rng(0)
    for name, n in counts.items():
        (path / name).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            Image.fromarray(draws.integers(0, 256, (size, size), np.uint8)).save(path / name / f"{i}.png")
    return f"folder:{path}"


@pytest.fixture
def no_training(monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("something was trained")

    monkeypatch.setattr(room, "train_arms", never)


@pytest.mark.parametrize(
    "counts, words",
    [
        ({"": 30}, "has no labels.*folder of its own"),
        ({"cat": 30}, "one class.*cat.*two classes or more"),
        ({"cat": 80, "dog": 40}, r"'dog' is too small for shares=0.1.*smallest share that works is 0\.\d+"),
        ({"cat": 80, "dog": 8}, "'dog' has . images to train on, and 8 are needed"),
    ],
    ids=["no labels", "one class", "small share", "small class"],
)
def test_images_that_cannot_answer_are_refused(tmp_path, no_training, counts, words):
    source = folder_of(tmp_path / "mine", counts)
    cfg = checked(AugmentConfig, {"dataset": source, "size": 16, "shares": [1, 0.1]})
    with pytest.raises(GannbError, match=words):
        augment(cfg, lambda line: None)


def test_the_smallest_share_that_works_works():
    counts = {"cat": 500, "dog": 41}
    with pytest.raises(GannbError) as e:
        check_counts(counts, [1, 0.05])
    works = float(re.search(r"works is ([\d.]+)\.$", str(e.value))[1])
    check_counts(counts, [1, works])
    with pytest.raises(GannbError):
        check_counts(counts, [1, works - 0.01])


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"shares": [0.5, 0.1]}, "1 .all of the images."),
        ({"shares": [1]}, "a smaller share"),
        ({"shares": [1, 0]}, "0 does not"),
        ({"shares": [1, 2]}, "2 does not"),
        ({"shares": [1, 0.5, 0.5]}, "twice"),
        ({"size": 17}, "17"),
        ({"ordinary": "mirror"}, "'mirror' is neither"),
        ({"network": "resnet50"}, "network"),
        ({"augment": "flip"}, "augment"),
        ({"seeds": [1, 1]}, "twice"),
        ({"dataset": "digitz"}, "digits"),
        ({"sharse": [1]}, "Did you mean 'shares'"),
    ],
)
def test_a_config_that_cannot_be_is_refused(changes, words):
    with pytest.raises(GannbError, match=words):
        config(**changes)


@pytest.mark.parametrize(
    "command, words",
    [
        (["augment", "digits", "--set", "shares=0.5,0.1"], "shares"),
        (["augment", "digits", "--set", "dataset=mnist"], "first argument"),
        (["augment", "folder:/nowhere/at-all"], "nowhere"),
    ],
)
def test_the_command_refuses_in_words(no_training, capsys, command, words):
    assert main(command) == 2
    err = capsys.readouterr().err
    assert words in err and "Traceback" not in err


def test_places_that_hold_other_things_are_refused_first(tmp_path, no_training, capsys):
    (tmp_path / "thesis.tex").write_text("months of work")
    assert main(["augment", "digits", *SETTINGS, "--out", str(tmp_path)]) == 2
    assert "other things" in capsys.readouterr().err
    with pytest.raises(GannbError, match="holds no fakes"):
        check_export(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_what_depends_on_the_images():
    cfg = checked(AugmentConfig, {"dataset": "digits"})
    assert [steps_for(cfg, 32, n) for n in (1, 6, 500)] == [1500, 833, 100]
    assert steps_for(config(steps=7), 32, 6) == 7
    assert batch_for(cfg, {"a": 9, "b": 100}) == 9 and batch_for(config(), {"a": 9}) == 16
    assert all(2 * classifier_batch(n) <= n for n in range(4, 200))


# ---- the sentence, on planted numbers

SHARES = (1.0, 0.5, 0.1)
NOISE = np.array([-0.4, -0.2, 0.0, 0.2, 0.4])


def planted(gain, curve=(90, 86, 70), seeds=5, spread=1.0, ordinary=(1, 2, 5)):
    "gain, ordinary: what they add at each share, in points; spread: of the differences over seeds."
    alone = {s: [float(c)] * seeds for s, c in zip(SHARES, curve)}

    def more(by, noise):
        return {s: (c + g + spread * noise[:seeds]).tolist() for s, c, g in zip(SHARES, curve, by)}

    points = {ALONE: alone, FAKES: more(gain, NOISE), ORDINARY: more(ordinary, NOISE[::-1])}
    points[BOTH] = more(ordinary, NOISE[[2, 0, 4, 1, 3]])
    if len(set(curve)) > 1:  # real classifiers differ from seed to seed
        points[ALONE][1.0] = (curve[0] + NOISE[[1, 3, 0, 4, 2]][:seeds] / 10).tolist()
    return Measured(dict(zip(SHARES, (1000, 500, 100))), points, 1.0)


def test_fakes_that_help_where_images_are_few():
    m = planted((0, 0, 3))
    assert {s: e.word for s, e in m.adds(FAKES).items()} == {1.0: SAME, 0.5: SAME, 0.1: HELPS}
    said = sentence(m)
    assert said.startswith("With 10 % of your images, fakes add 3.0 [2.6, 3.4] points; ")
    assert "with all of them, they make no difference that matters" in said and "50 %" not in said
    assert answer_word(m) == ("yes", "✓ fakes help")
    worth = {0.1: Effect(0.4, (0.2, 0.6), 5, ""), 0.5: Effect(0.9, (0.7, 1.1), 5, "")}
    beside = " ".join(further(m, worth))
    assert "flips and crops add 5.0" in beside and "they do better than fakes (by 2.0" in beside
    assert "one fake is worth 0.4 [0.2, 0.6] real images" in beside and "0.9" not in beside


def test_fakes_that_do_harm():
    m = planted((-3, 0, 0))
    assert m.adds(FAKES)[1.0].word == HARMS
    assert "with all of them, they cost 3.0 [2.6, 3.4] points" in sentence(m)
    assert answer_word(m)[0] == "no"
    assert "worth" not in " ".join(further(m, {0.1: Effect(0.4, (0.2, 0.6), 5, "")}))


def test_fakes_that_do_nothing():
    m = planted((0, 0, 0))
    assert {e.word for e in m.adds(FAKES).values()} == {SAME}
    assert "add" not in sentence(m) and "cost" not in sentence(m)
    assert answer_word(m) == ("no", "✗ fakes do not help")


def test_what_is_open_is_no_half_finding():
    m = planted((2, 2, 2), spread=9)
    assert {e.word for e in m.adds(FAKES).values()} == {OPEN}
    said = sentence(m)
    assert said.count("it stays open") == 2 and not re.search(r"\b(add|cost|worth)\b", said)
    assert answer_word(m)[0] == "open"
    rows = table_rows(m, {0.5: Effect(0.3, (0.1, 0.5), 5, ""), 0.1: Effect(0.3, (0.1, 0.5), 5, "")})
    assert [str(r["worth"]) for r in rows] == ["n/a (the curve ends here)", "n/a (open)", "n/a (open)"]


@pytest.mark.parametrize("seeds", [1, 2, 4])
def test_too_few_seeds_decide_nothing(seeds):
    m = planted((0, 0, 9), seeds=seeds)
    assert sentence(m).startswith(f"Too few seeds to say whether fakes help: {seeds} here, 5")
    assert further(m) == [] and answer_word(m) == ("open", "~ too few seeds")
    assert {e.word for e in m.adds(FAKES).values()} == {FEW}
    assert (
        "interval"
        in table_rows(m, {0.5: Effect(0, None, seeds, ""), 0.1: Effect(0, None, seeds, "")})[0]["adds"]
    ) == (seeds >= 3)


def test_a_classifier_that_misses_no_images_cannot_be_helped():
    m = planted((0, 0, 0), curve=(90, 90, 90))
    assert sees(m) == SAME and "does not notice how many images it had" in sentence(m)
    assert "nor can more photos" in sentence(m)
    worse = planted((0, 0, 0), curve=(80, 85, 90))
    assert sees(worse) == HARMS and "worse with more real images" in sentence(worse)
    harm = planted((-5, 0, 0), curve=(90, 90, 90))  # harm is said all the same
    assert "cost" in sentence(harm) and "does not notice" in further(harm)[0]


def test_four_shares_are_not_four_chances_to_be_fooled():
    "A difference that is just clear of 0 by itself is a finding when asked alone, and none among four."
    d = [0.05, 0.5, 1.0, 1.5, 1.4]
    alone = effects({1.0: d}, {1.0: [0.0] * 5}, 0.1)
    assert alone[1.0].word == HELPS and alone[1.0].interval[0] > 0
    none = np.array([-1.0, -0.5, 0.0, 0.5, 1.0]).tolist()
    four = effects(
        {1.0: d, 0.5: none, 0.25: none, 0.1: none}, dict.fromkeys((1.0, 0.5, 0.25, 0.1), [0.0] * 5), 0.1
    )
    assert four[1.0].word == OPEN and four[1.0].interval == alone[1.0].interval


def test_equal_numbers_in_every_seed_are_no_finding():
    up = effects({1.0: [52.0] * 5}, {1.0: [50.0] * 5}, 1.0)
    assert up[1.0].word == OPEN
    assert effects({1.0: [50.0] * 5}, {1.0: [50.0] * 5}, 1.0)[1.0].word == SAME


def test_rounding_moves_no_end_onto_zero():
    assert Effect(0.31, (0.04, 0.58), 5, HELPS).said() == "0.31 [0.04, 0.58]"
    assert Effect(-0.31, (-0.58, -0.04), 5, HARMS).said(-1) == "0.31 [0.04, 0.58]"
    assert Effect(-0.01, (-0.5, 0.5), 5, SAME).said() == "0.0 [-0.5, 0.5]"


# ---- the whole command


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    "The command, run twice: folder, what was printed, its exit statuses."
    import contextlib
    import io
    import os

    place = tmp_path_factory.mktemp("augment")
    before = os.environ.get("GANNB_STORE")
    os.environ["GANNB_STORE"] = str(place / "store")
    command = ["augment", "digits", *SETTINGS, "--out", str(place / "out"), "--export", str(place / "fakes")]
    printed, records = [], []
    try:
        for more in (["--dry-run"], [], []):
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                assert main([*command, *more]) == 0
            printed.append(out.getvalue())
            record = place / "out" / "augment.json"
            records.append(json.loads(record.read_text()) if record.is_file() else None)
    finally:
        os.environ.pop("GANNB_STORE")
        if before is not None:
            os.environ["GANNB_STORE"] = before
    return place, printed, records


def test_a_dry_run_says_the_cost_and_trains_nothing(done):
    _, printed, records = done
    assert "8 trainings: 0 are already in the store, 8 to do" in printed[0] and "of disk" in printed[0]
    assert "16 classifiers" in printed[0] and "Page" not in printed[0] and records[0] is None
    assert "held out as test by a seeded split" in printed[0]


def test_a_second_run_trains_nothing_and_says_the_same(done):
    _, printed, records = done
    assert "8 are already in the store, 0 to do" in printed[2] and "steps done" not in printed[2]
    times = ("minutes",)
    first, second = ({k: v for k, v in r.items() if k not in times} for r in records[1:])
    assert first == second


def test_the_page_works_from_disk(done):
    place, printed, records = done
    page = (place / "out" / "augment.html").read_text(encoding="utf-8")
    _check_offline(page)
    assert records[1]["sentence"] in page and "Too few seeds" in page
    for words in ("Real images", "One fake is worth", "Minutes", "gannb augment digits", "near-copies"):
        assert words.lower() in page.lower(), words
    assert page.count("data:image/png;base64,") == 2
    assert f"Page: {place / 'out' / 'augment.html'}" in printed[1]


def test_points_are_accuracies_of_the_right_sets(done):
    _, _, records = done
    r = records[1]
    assert r["real"].keys() == {"1.0", "0.2"} and set(r["points"]) == {ALONE, FAKES, ORDINARY, BOTH}
    rows = {(x["arm"], x["seed"]): x["value"] for x in r["rows"] if x["metric"] == "accuracy"}
    assert r["points"][FAKES]["0.2"] == [100 * rows[f"20 % real + fake, {ALONE}", s] for s in (0, 1)]
    assert r["points"][ORDINARY]["1.0"] == [100 * rows[f"100 % real, {ORDINARY}", s] for s in (0, 1)]


def test_the_fakes_are_exported_with_labels(done):
    place, _, records = done
    back = load(f"folder:{place / 'fakes'}", split="all", progress=False)
    assert back.classes == ("0", "1") and len(back) == records[1]["real"]["1.0"]
    with pytest.raises(GannbError, match="holds no fakes"):
        check_export(place / "out")


def test_a_seed_with_a_diverged_gan_is_left_out_and_said(monkeypatch):
    "Its numbers are gone, never filled; what is left is too few to decide."
    real = room.train_arms

    def one_diverged(*args, **kwargs):
        runs = real(*args, **kwargs)
        next(iter(runs.values()))[1].diverged = 3
        return runs

    monkeypatch.setattr(room, "train_arms", one_diverged)
    found = augment(config(), lambda line: None)
    assert found.seeds == [0] and "A GAN diverged (0, seed 1, at step 3)" in found.further()[0]
    assert len(found.measured.points[FAKES][1.0]) == 1
