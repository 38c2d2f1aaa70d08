"""The scene study: the split that comes first, fakes that never validate what they taught, what the harness
must see, an interrupted study that goes on, and rows that the ledger can judge."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest

from gannb.base import GannbError
from gannb.classify import Curves
from gannb.config import checked
from gannb.datasets.shares import filled
from gannb.ledger.names import check_names
from gannb.report.page import load_study
from gannb.stages.classes import PER_CLASS
from gannb.stages.classifier import EPOCHS, STEPS
from gannb.stages.course import known_courses, over_classes, rank_correlation, slope, turns, unrest
from gannb.stages.tables import Results
from gannb.stages.worth import share_arm, share_name, worth
from gannb.studies.registry import open_study
from gannb.ledger.intervals import proportion_difference
from gannb.studies.scene_augmentation import plan, rows, words

GIVEN = {"preset": "smoke", "classes": "3,5", "shares": "1,0.25", "clf_variants": "SGD"}


def quiet(given):
    "The study as the notebook opens it, without its words."
    study = open_study("scene_augmentation", given)
    study.say, study.show_progress = lambda text: None, "quiet"
    return study


@pytest.fixture(scope="module")
def study():
    return quiet(GIVEN).run()


@pytest.fixture(scope="module")
def bench(study):
    return study.facts["bench"]


def prints(images):
    return set(images.pixel_hashes().tolist())


# ---- the split and the shares
def test_no_part_shares_an_image_with_another(bench):
    train, validation, test = (prints(getattr(bench.sets, n)) for n in ("train", "validation", "test"))
    assert not train & validation and not train & test and not validation & test


def test_gans_see_training_images_alone_and_those_of_a_share_its_images_alone(study, bench):
    few = study.facts["parts"][0.25]
    for t in study:
        own = few if t.ledger_arm == share_arm(0.25) else bench.sets.train
        assert prints(t.data) == prints(own.select(classes=[t.role])), t.name
        assert len(t.data) == bench.sets.train.counts()[t.role], "an epoch is as long as one of all images"


def test_filled_refuses_other_classes(bench):
    with pytest.raises(GannbError, match="same classes"):
        filled(bench.sets.train.select(classes=["3"]), bench.sets.train)


# ---- fakes
def test_a_fake_that_teaches_does_not_validate(study, bench):
    fakes = study.facts["fakes"]
    taught, validating = fakes(0), fakes(0, part="validation")
    assert taught.counts() == bench.sets.train.counts()
    assert validating.counts() == bench.sets.validation.counts()
    every = fakes.all_of(0, "fresh")
    assert len(every) == len(taught) + len(validating)
    rows_of = {tuple(x.ravel()) for x in np.asarray(taught.images)}
    again = [tuple(x.ravel()) in rows_of for x in np.asarray(validating.images)]
    assert np.mean(again) < 0.05, "one training makes pictures that are almost, but not quite, equal"


def test_half_and_half_is_as_large_as_the_real_images(study, bench):
    made = rows.named_sets(bench.sets.train, study.facts["fakes"])["half and half"](0)
    assert abs(len(made) - len(bench.sets.train)) <= len(made.classes)


def test_literal_fakes_come_from_all_epochs():
    two = quiet(GIVEN | {"epochs": 6, "shares": "1,0.5"}).run()
    collected = two.facts["fakes"].all_of(0, "collected")
    (origin, *_) = collected.settings["origins"]
    assert origin["epochs"] == [1, 2, 3, 4, 5, 6]


# ---- measures of a course
def test_unrest_is_one_for_luck_alone_and_sees_a_swing():
    rng = np.random.default_rng(0)
    luck = np.mean([unrest(rng.normal(size=(60, 20))) for _ in range(40)])
    assert abs(luck - 1) < 0.03
    drift = rng.normal(size=(60, 20)) + np.linspace(0, 3, 60)[:, None]
    assert unrest(drift) < 1.1, "a drift of 3 over 60 epochs is no swing"
    known = known_courses(drift, 0)
    assert abs(unrest(known["swinging"]) - math.sqrt(3)) < 0.4
    assert 0.8 < unrest(known["epochs shuffled"]) < 1.25


def test_turns_slope_and_ranks():
    assert turns([0, 1, 0, 1, 0]) == 1 and turns([0, 1, 2, 3]) == 0
    assert abs(turns(np.random.default_rng(1).normal(size=4000)) - 2 / 3) < 0.03
    assert slope([1, 2, 3]) == pytest.approx(100) and math.isnan(slope([1, math.nan]))
    assert rank_correlation([1, 2, 3], [9, 5, 1]) == -1 and math.isnan(rank_correlation([1, 1, 1], [1, 2, 3]))


def test_the_unit_is_a_seed():
    made = [
        {"arm": "a", "dataset": c, "seed": s, "step": "end", "metric": "kid", "value": v, "protocol": p}
        for c, p in (("3", {"n_real": 5, "reference": "x"}), ("5", {"n_real": 4, "reference": "y"}))
        for s, v in ((0, 1.0), (1, 2.0))
    ]
    joint = over_classes(made, "all")
    assert [(r["seed"], r["value"]) for r in joint] == [(0, 1.0), (1, 2.0)]
    assert joint[0]["protocol"] == {"mean over": ["3", "5"], "n_real": 4, "reference": ["x", "y"]}


# ---- what a fake is worth
ALONE = {100: 0.6, 200: 0.7, 400: 0.8}


@pytest.mark.parametrize(
    ("accuracy", "value"),
    [(0.6, 0), (0.7, 1), (0.8, 3), (0.9, 3), (0.5, 0), (0.65, (math.sqrt(2) * 100 - 100) / 100)],
)
def test_worth(accuracy, value):
    assert worth(ALONE, 100, 100, accuracy) == pytest.approx(value)


def test_worth_is_below_zero_where_fakes_do_harm_and_needs_a_curve():
    assert worth(ALONE, 200, 50, 0.6) == -2
    with pytest.raises(GannbError, match="two numbers of real images"):
        worth({100: 0.6}, 100, 10, 0.7)


# ---- the paper's arithmetic
def test_printed_numbers():
    found = {r["metric"]: r["value"] for r in rows.printed_rows(load_study("scene_augmentation"))}
    assert (found["test_sum"], found["train_sum"], found["right_fake"], found["more_right"]) == (
        3001,
        14034,
        2041,
        9,
    )
    assert found["difference_low"] == pytest.approx(-1.80, abs=0.01)
    assert found["difference_high"] == pytest.approx(2.40, abs=0.01)


def test_newcombe_against_its_paper():
    # Newcombe (1998), table II, case (b): 9/10 - 3/10, method 10
    low, high = proportion_difference(9, 3, 10)
    assert (low, high) == pytest.approx((17.05, 80.90), abs=0.02)


def test_epochs_to_converge():
    assert rows.epochs_to_converge(Curves([1, 2, 3, 4], [0] * 4, [2.0, 1.04, 1.0, 1.2], 2)) == 2


# ---- rows and names
def test_every_claim_finds_its_rows_or_a_reason(study):
    check_names(study.published["claims"], study.results.rows, study.facts["known missing"], "desk")
    assert {c["verdict"] for c in study.judged} == {"not testable here"}, "smoke judges nothing"


def test_accuracies_are_percent_and_both_protocols_are_there(study):
    for arm in ("real", "fake", "real+fake", "half and half", "real, flips and crops"):
        for protocol in (EPOCHS, STEPS):
            (value,) = study.results.values("scenes", arm, "accuracy", protocol)
            assert 0 <= value <= 100 and value != 1
    (gap,) = study.results.values("scenes", "fake", "gap_to_real", EPOCHS)
    real, fake = (study.results.values("scenes", a, "accuracy", EPOCHS)[0] for a in ("real", "fake"))
    assert gap == pytest.approx(real - fake)


def test_wrong_labels_and_fewer_images_cost_accuracy_and_a_name_does_not():
    "The harness on known answers: real digits, one image in three blurred away in a hard test."
    given = GIVEN | {"classes": "3,5,8", "clf_epochs": 10, "shares": "1,0.5", "clf_variants": ""}
    found = rows.control_comparison(rows.bench_of(quiet(given | {"epochs": 1}).run()))
    accuracy = {r["arm"]: r["value"] for r in found}
    name = abs(accuracy["other real images, called fake"] - accuracy["half of the real images"])
    assert name < 0.06
    assert accuracy["real images, some labels wrong"] < accuracy["real images"] + 0.01


def test_words_name_digits_and_the_fallback(study):
    assert "No scenes here" in words.stand_ins(study) and "digits" in words.stand_ins(study)
    assert "Softmax regression classifies here" in words.fallback(study)
    assert words.names(study)["scenes"] == "digits"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"shares": "0.5,1"}, "fall from 1"),
        ({"shares": "1"}, "fall from 1"),
        ({"share_classes": "forest"}, "two different classes"),
        ({"classes": "3,5", "share_classes": "3,8"}, "not among the classes"),
        ({"clf_variants": "adagrad"}, "clf_variants='adagrad' is not known"),
        ({"clf_network": "vgg"}, "clf_network"),
        ({"train_share": 1.0}, "train_share"),
        ({"clf_epochs": 0}, "clf_epochs"),
    ],
)
def test_wrong_parameters_are_refused(wrong, told):
    with pytest.raises(GannbError, match=told):
        checked(plan.CONFIG, plan.PRESETS["smoke"] | wrong)


def test_unlabelled_images_are_refused(tmp_path):
    from PIL import Image

    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        (tmp_path / "plain" / part).mkdir(parents=True)
        for i in range(40):
            picture = rng.integers(0, 256, (16, 16, 3)).astype(np.uint8)
            Image.fromarray(picture).save(tmp_path / "plain" / part / f"{i}.png")
    cfg = checked(
        plan.CONFIG, plan.PRESETS["smoke"] | {"classes": "", "dataset": f"folder:{tmp_path / 'plain'}"}
    )
    with pytest.raises(GannbError, match="two classes or more"):
        rows.arms(cfg)


# ---- an interrupted study
DYING = """
import os, sys
from gannb.config import checked
from gannb.stages import gan
from gannb.stages.arms import train_arms
from gannb.studies.scene_augmentation import plan, rows
from gannb.studies.study import by_key

if sys.argv[1] == "die":
    seen, see = [], gan.Keeper.see

    def dying(self, tick):
        see(self, tick)
        if self.folder not in seen:
            seen.append(self.folder)
        if len(seen) == 3 and tick.epoch == 2:
            os._exit(9)

    gan.Keeper.see = dying
cfg = checked(plan.CONFIG, plan.PRESETS["smoke"] | {"classes": "1,3,5", "epochs": 4})
train_arms(by_key(rows.arms(cfg)[:3]), [0], show="quiet", jobs=1)
"""


def test_a_study_killed_in_class_three_goes_on_without_repeating_one_and_two(tmp_path):
    env = os.environ | {"GANNB_STORE": str(tmp_path / "store")}

    def run(how):
        return subprocess.run([sys.executable, "-c", DYING, how], env=env, capture_output=True, text=True)

    assert run("die").returncode == 9
    done = {p: p.stat().st_mtime_ns for p in (tmp_path / "store" / "gan").rglob("done.json")}
    assert len(done) == 2
    again = run("live")
    assert "3 trainings: 2 are already in the store, 1 to do" in again.stdout, again.stdout + again.stderr
    assert {p: p.stat().st_mtime_ns for p in done} == done
    assert len(list((tmp_path / "store" / "gan").rglob("done.json"))) == 3


def test_names_of_shares():
    assert (share_name(0.05), share_arm(1.0)) == ("5 %", PER_CLASS)


def test_an_accuracy_in_percent_has_its_interval_in_percent(study):
    "The name stands for a share from 0 to 1 elsewhere: cut at 1, every interval would be a point."
    assert study.results.ranges["accuracy"] == (0, 100)
    named = [
        {"arm": "real", "dataset": "scenes", "step": EPOCHS, "metric": "accuracy", "value": v, "seed": s}
        for s, v in enumerate((81.2, 81.6, 81.9))
    ]
    low, high = Results(named, rows.RANGES).cell("scenes", "real", "accuracy", EPOCHS)["interval"]
    assert 80 < low < 81.2 and 81.9 < high < 83
