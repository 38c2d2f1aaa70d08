"The scores of the dataset study: which snapshot, who judges, full protocols, and a verdict for every claim."

import dataclasses
import math
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from gannb.base import GannbError, Missing
from gannb.data import set_contrast
from gannb.features import climb
from gannb.ledger.claims import load_claims
from gannb.ledger.judge import judge, judge_all
from gannb.ledger.network import asks_network, judge_study
from gannb.ledger.words import NOT_TESTABLE, VERDICTS
from gannb.report.numbers import cell_text
from gannb.stages.discriminator import PLACES, d_on, real_d
from gannb.stages.judges import judging_part
from gannb.stages.ladder import may_not_judge
from gannb.stages.run import epoch_near, kept
from gannb.stages.score import row
from gannb.stages.tables import Results, middle
from gannb.studies.dataset_study import rows as rows_room, show, words
from gannb.studies.dataset_study.rows import (
    AS_THEY_ARE,
    CHANGES,
    LETTER_DAMAGES,
    NO_LETTER,
    ONE_LETTER,
    SIGNALS,
    VIEWS,
    calibrated,
    contrast_of,
    fall_rows,
    letter_controls,
    named_rows,
    same_g_updates,
    shrunk,
    signal_rows,
)
from gannb.studies.dataset_study.side import FACES, LETTERS, changed
from gannb.studies.registry import open_study, report_config

CLAIMS = load_claims(Path(__file__).resolve().parents[1] / "papers" / "dataset_study.yaml")
BY_ID = {c["id"]: c for c in CLAIMS}
SCORED = (  # what images, D or both decide over seeds
    "emnist-memorised",
    "best-data-set",
    "more-epochs",
    "more-data",
    "no-airplane",
    "loss-d-signal",
    "loss-g-signal",
    "dx-signal",
    "dgz-signal",
    "contrast",
    "dimension",
    "more-g-updates",
    "contrast-over-shape",
    "emnist-d-overfits",
    "scenic-background",
    "colour",
    "much-more-g-updates",
    "d-well-everywhere",
    "g-struggles-everywhere",
)


def pixels(s):
    return np.asarray(s.images)


def a_run(epochs, g=1, spe=10, diverged=None):
    return SimpleNamespace(
        epochs=epochs,
        steps_per_epoch=spe,
        steps=epochs * spe,
        fields={"g_steps": g},
        diverged=diverged,
        seed=0,
    )


# ---- which snapshot ----------------------------------------------------------------------------------------


def test_places_are_the_nearest_kept_epochs():
    assert kept(a_run(26)) == [1, 2, 3, 5, 7, 10, 15, 20, 26] and kept(a_run(26, diverged=3)) == kept(
        a_run(26)
    )
    assert [epoch_near(a_run(80), s) for s in (1, 390, 400, 401, 9999)] == [1, 30, 50, 50, 80], (
        "of two equally near ones the later"
    )


@pytest.mark.parametrize(
    "more, control, pair",
    [
        ((26, 2), 26, (10, 20)),
        ((5, 5), 26, (5, 26)),
        ((15, 2), 15, (5, 10)),
        ((3, 5), 15, (3, 15)),
        ((1, 2), 1, (1, 1)),
    ],
)
def test_equal_generator_updates(more, control, pair):
    assert same_g_updates(a_run(*more), a_run(control)) == pair


# ---- what D sees -------------------------------------------------------------------------------------------


def test_the_doses_are_those_of_the_claim():
    "An arm of the claim is a dose by name, and does what its name says."
    x = np.random.default_rng(1).integers(0, 256, (4, 16, 16, 1), dtype=np.uint8)
    arms = [a["arm"] for t in BY_ID["contrast-over-shape"]["test"]["tests"] for a in t["arms"]]
    assert set(arms) == set(CHANGES) - {AS_THEY_ARE} and (CHANGES[AS_THEY_ARE](x) == x).all()
    for arm in arms:
        y, amount = CHANGES[arm](x), float(arm.split()[-1 if "contrast" in arm else 0])
        if "contrast" in arm:
            assert y.astype(float).std() == pytest.approx(amount * x.astype(float).std(), rel=0.02)
            assert np.corrcoef(x.ravel(), y.ravel())[0, 1] > 0.999
        else:
            k = int(16 / amount)
            tiles = [
                {i[r : r + k, c : c + k].tobytes() for r in range(0, 16, k) for c in range(0, 16, k)}
                for i in x
            ]
            moved = [
                {i[r : r + k, c : c + k].tobytes() for r in range(0, 16, k) for c in range(0, 16, k)}
                for i in y
            ]
            assert moved == tiles and not (y == x).all()


def test_a_fall_is_what_d_says_less_what_it_said(monkeypatch):
    """A D that looks at contrast alone: the fall under shuffled tiles is 0, under half the
    contrast it is half."""
    from gannb.data import ImageSet

    letters = ImageSet("letters", np.tile(np.array([0, 255], np.uint8), (8, 16, 8))[..., None])
    monkeypatch.setattr(rows_room, "real_d", lambda run, reals: None)
    monkeypatch.setattr(rows_room, "d_on", lambda D, images: (float(np.ptp(images.astype(int)) / 255), 0.0))
    rows = fall_rows([a_run(1), a_run(1, diverged=1)], letters, letters, 8)
    fall = {(r["arm"], i // 13): r["value"] for i, r in enumerate(rows) if r["metric"] == "fall_of_D"}
    assert fall["4 x 4 tiles shuffled", 0] == 0
    assert fall["contrast 0.5", 0] == pytest.approx(0.5, abs=0.01)
    assert math.isnan(fall["contrast 0.5", 1])

    def gone(run, reals):
        raise GannbError("D was not kept")

    monkeypatch.setattr(rows_room, "real_d", gone)
    assert fall_rows([a_run(1)], letters, letters, 8) == []


def test_d_judges_by_the_statistics_of_real_images(study):
    """As in training, where it met pure batches: the mean answer on a batch of reals is that of
    training mode, and half the contrast of all images is not wholly normalised away."""
    import torch

    letters = study["emnist", "dcgan"]
    run, data = letters.first, letters.data
    D = real_d(run, data)
    x = torch.from_numpy(pixels(data) / 127.5 - 1).float().permute(0, 3, 1, 2)
    seen = D.main[3].running_mean.clone()
    D.train()
    with torch.no_grad():
        as_trained = D(x).sigmoid().mean().item()
    assert d_on(real_d(run, data), data)[0] == pytest.approx(as_trained, abs=0.01)
    assert not torch.equal(seen, run.discriminator().main[3].running_mean)
    whole, half = (d_on(real_d(run, data), c)[0] for c in (pixels(data), set_contrast(pixels(data), 0.5)))
    assert abs(whole - half) > 1e-6


# ---- rulers of this study ----------------------------------------------------------------------------------


def test_letters_are_damaged_before_they_get_a_background():
    letters = np.zeros((30, 16, 16, 1), np.uint8)
    letters[:, 4:12, 6:10] = 255
    found = letter_controls(letters, lambda x: np.maximum(x, 100))
    assert set(found) == {"real images", NO_LETTER, ONE_LETTER, *LETTER_DAMAGES}
    assert all(x.min() == 100 and x.shape == letters.shape for x in found.values())
    assert (found[NO_LETTER] == 100).all() and (found["real images"] == np.maximum(letters, 100)).all()
    assert (found[ONE_LETTER] == found["real images"][0]).all()


def test_shrunk_faces_are_means_of_squares():
    x = np.zeros((2, 32, 32, 3), np.uint8)
    x[:, :2, :2] = [10, 20, 30]
    small = shrunk(x)
    assert (
        small.shape == (2, 16, 16, 3) and small[0, 0, 0].tolist() == [10, 20, 30] and not small[:, 1:].any()
    )
    assert shrunk(x, 32).tolist() == x.tolist()
    assert [names[-1] for names, _ in VIEWS.values()] == ["size 16", "size 32 grey"], "they judge"


def test_a_calibrated_share_lies_between_others_and_the_class():
    can = {"called calibrated": 0.7, "others called calibrated": 0.1}
    assert [calibrated(v, can) for v in (0.1, 0.4, 0.7)] == pytest.approx([0, 0.5, 1])
    assert math.isnan(calibrated(0.5, {"called calibrated": 0.1, "others called calibrated": 0.1}))


def test_contrast_of_images():
    half = np.zeros((3, 16, 16, 1), np.uint8)
    half[:, :, 8:] = 255
    assert contrast_of(half) == pytest.approx({"contrast": 0.5, "contrast_range": 1.0})
    assert contrast_of(half // 5)["contrast"] == pytest.approx(0.1)
    assert contrast_of(half * 0)["contrast_range"] == 0


def test_changes_of_signals_have_no_trend(study):
    t = study.main["emnist"]
    rows = signal_rows(t, t.first)
    got = {(r["metric"], r["step"]): r["value"] for r in rows}
    steps = [e * t.first.steps_per_epoch for e in kept(t.first)]
    assert len(steps) > 2
    for metric in ("kid", "loss_D", "accuracy"):
        assert ("change of " + metric, steps[0]) not in got
        for before, now in zip(steps, steps[1:]):
            change = got[metric, now] - got[metric, before]
            assert got["change of " + metric, now] == pytest.approx(change)


# ---- a whole study of a few steps --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def study():
    given = {
        "preset": "smoke",
        "datasets": "digits,digits-low-contrast,digits-textured@3",
        "epochs": 3,
        "limit": 48,
    }
    study = open_study("dataset_study", given)
    study.say, study.show_progress = lambda text: None, "quiet"
    return study.run()


def scored(study):
    "The rows but for the printed numbers, which D itself gives."
    printed = {"D_real", "D_fake_before", "D_fake_after", "acc_real", "acc_fake", "accuracy"}
    return [r for r in study.results.rows if r["protocol"] and r["metric"] not in printed]


def test_one_network_and_equal_numbers_for_all(study):
    assert len({(t.scorer.net.weights, len(t.scorer.real), t.scorer.n_fake) for t in study}) == 1
    smallest = min(len(judging_part(study.cfg, t.held)) for t in study.main.values())
    assert len(study.first.scorer.real) == min(24, smallest)
    without_reference = {
        "quality",
        "D_right_fakes",
        "D_right_held",
        "D_right_fakes_alone",
        "D_right_alone",
        "airplanes",
        "ladder_passed",
        "classes_covered",
        "letters_read",
        "letters_named",
        *(f"D_fake {place}" for place in PLACES),
        *(f"{change}{m}" for m in SIGNALS for change in ("", "change of ")),
        "D_acc_train",
        "D_acc_held",
        "D_acc_gap",
        "D_gap",
        "loss_D",
        "loss_G",
        "called_airplane",
    }
    for r in scored(study):
        if r["metric"] in ("kid", "quality", "fid", "nearer_to_training"):
            wanted = "network layer weights resize rounding n_real n_fake split held_out".split()
            assert set(wanted) <= set(r["protocol"]), r
        assert ("reference" in r["protocol"]) == (r["metric"] not in without_reference), r["metric"]


def test_no_judging_image_was_learnt_from(study):
    seen = study.net.seen
    assert len(seen)
    for t in study:
        judges = t.scorer.real.pixel_hashes()
        assert not np.isin(judges, seen).any(), t.key
        assert not np.isin(judges, t.data.pixel_hashes()).any(), t.key
    held = study["emnist", "dcgan"].held
    plain = changed(held, lambda x: x, "contrast 1")
    parts = [judging_part(study.cfg, images).pixel_hashes() for images in (plain, held)]
    assert (parts[0] == parts[1]).all(), "changed images are cut as the unchanged ones"


def test_no_protocol_clash_and_every_claim_gets_a_verdict(study):
    """Judged as desk would, with the one seed copied to five: what could hide behind 'not
    testable here' shows."""
    five = [
        {**r, "seed": k, "value": r["value"] + 1e-3 * k * (k - 3)}
        for r in study.results.rows
        for k in range(5)
    ]
    judged = {c["id"]: c for c in judge_all(CLAIMS, five, "desk")}
    assert not [c["id"] for c in judged.values() if "cannot be compared" in c["reason"]]
    missing = [i for i in SCORED if "Nothing was measured here" in judged[i]["reason"]]
    assert missing == ["colour"], "digits have no colour; every other claim finds its rows"
    assert not [c["id"] for c in CLAIMS if "waits_for" in c]


def test_more_updates_are_compared_at_equal_updates(study):
    table = show.updates(study)[1].rows
    assert [(r["arm"], r["control"]) for r in table] == [
        ("2 a batch", "equal D updates"),
        ("2 a batch", "equal G updates"),
        ("5 a batch", "equal D updates"),
        ("5 a batch", "equal G updates"),
    ]
    assert table[0]["d"] == "9 / 9"
    assert table[0]["g"] == "18 / 9" and table[1]["g"] == "6 / 6", "updates of D and of G, counted"


def test_the_classifier_knows_the_class(study):
    can = study.facts["named"]
    assert can["class"] == "3" and can["classes"] == 10
    assert can["accuracy"] > 0.6
    assert can["called calibrated"] > 0.5 > 0.2 > can["others called calibrated"]
    share, placed = (study.results.values("cifar", "dcgan", m) for m in ("called_airplane", "airplanes"))
    assert len(share) == 1 and 0 <= share[0] <= 1 and placed == [calibrated(share[0], can)]
    asked = [
        study.results.values("cifar", arm, "airplanes", "control")[0]
        for arm in ("real images", "other classes")
    ]
    assert asked == [calibrated(can["called asked"], can), calibrated(can["others called asked"], can)]
    assert "held-out images" in words.named_sentence(study)


def test_without_a_class_there_is_a_reason(study):
    other = dataclasses.replace(study, request=report_config("dataset_study", preset="smoke"), facts={})
    assert named_rows(other) == []
    why = other.facts["named"]
    assert isinstance(why, Missing) and str(why).startswith("n/a (digits-textured stands in")
    assert str(why) in words.named_sentence(other)


def test_tables_sentences_and_cards(study):
    assert [r["set"] for r in show.scores(study).rows] == [
        "digits",
        "digits-low-contrast",
        "digits-textured (3)",
    ]
    assert len(show.scored_arms(study, LETTERS + FACES)) == 9
    table = show.ladder(study)[1].rows
    rungs = [r["rung"] for r in table]
    assert rungs[0] == "real images"
    assert rungs[-4:] == ["untrained G", "the run: early", "the run: its end", "verdict"]
    assert table[-2]["celeba"] == study.ladders["celeba"].rows[-1]["score"]
    assert len(show.changed_table(study).rows) == 7
    assert len(show.knows(study).rows) == 3
    said = show.measured(study, "more-data, contrast")
    assert said.count("not testable here") == 2 and said.startswith("Four times the faces")
    with pytest.raises(GannbError, match="Nearest: 'contrast'"):
        show.measured(study, "contrasd")
    cards = show.cards(study)
    assert len(cards) == 9 and all("seeds" in c for c in cards.values())
    assert "Called 3" in cards
    for text in (
        show.quality_curves(study).caption,
        show.copies(study).caption,
        show.changed_figure(study).caption,
        show.more_faces(study).caption,
        words.second_answer(study),
        show.sizes(study).caption,
    ):
        assert "n/a" not in text and any(ch.isdigit() for ch in text)


def everything_shown(study):
    "All texts, captions, heads and cells that the notebook shows, claims aside."
    yield from show.notes(study)
    yield from (show.words(study, name) for name in ("one change", "reader", "views", "shape"))
    yield from (words.named_sentence(study), words.second_answer(study), words.fooled_sentence(study))
    things = [show.hero(study), show.data_sets(study), *show.networks(study), *show.ladder(study)]
    for role in study.main:
        things += show.section(study, role, "Figures 1 and 2", "Figure 3")
    things += [show.copies(study), show.knows(study), show.more_faces(study), show.losses(study)]
    things += [show.dominance(study), show.quality_curves(study), show.scores(study)]
    things += [*show.contrast(study), show.sizes(study), show.changed_figure(study)]
    things += [show.changed_table(study), *show.updates(study), show.controls(study)]
    for thing in things:
        yield thing if isinstance(thing, str) else thing.caption
        yield getattr(thing, "alt", "")
        if hasattr(thing, "rows"):
            yield from thing.columns.values()
            yield from (cell_text(row[key]) for row in thing.rows for key in thing.columns)


def test_the_page_names_what_was_trained_on(study):
    "With digits no text of ours speaks of letters, faces or airplanes, but as the paper's."
    theirs = r"\(in the paper: [^)]*\)|in place of [^,.;]*|112,800 \(.*|202,599 \(.*|5,000 \(.*"
    for text in everything_shown(study):
        ours = re.sub(theirs, "", text)
        assert not re.search(r"letter|face|airplane|EMNIST|Celeb|CIFAR", ours), text


def test_no_number_of_the_ledger_stands_under_the_name_of_data_that_was_not_there(study):
    "With digits the claims say digits where they give numbers; their own words stay the paper's."
    assert show.names(study)["EMNIST"] == show.names(study)["emnist"] == "digits"
    judged = {c["id"]: c for c in study.judged}
    assert "EMNIST 882" in judged["iterations"]["here"], "arithmetic on the paper's own data keeps its names"
    for c in study.judged:
        if c["id"] not in ("no-airplane", "iterations"):  # its very quantity asks of other classes
            labels = [value["label"] for part in [c, *c["parts"]] for value in part.get("values", ())]
            for text in labels if c["here"].startswith("n/a") else [c["here"], *labels]:
                assert not re.search(r"EMNIST|Celeb|CIFAR|\bairplanes\b", text), (c["id"], text)


def test_the_page_has_no_column_of_nothing_and_no_word_of_code(study):
    for text in everything_shown(study):
        assert not re.search(r"g_steps|dcgan|nan\b|\{|\bMissing\b", text), text
    for table in (show.contrast(study)[1], show.scores(study), show.knows(study)):
        for key in table.columns:
            assert not all(isinstance(row[key], Missing) for row in table.rows), key


def test_captions_turn_with_the_numbers(study):
    "The words that depend on what was found are not written in stone."
    read = {
        t.name: study.results.cell("emnist", t.name, "letters_read", "common")
        for t in study
        if t.ledger_arm in LETTERS
    }
    best = max(middle(cell) for cell in read.values())
    assert ("no arm draws" in show.contrast(study)[0].caption) == (best < 0.5)
    assert show.share({"mean": -0.02}) == "none" and show.share({"mean": 0.184}) == "18.4%"
    assert show.say({"mean": 0.85}) == "0.850" and show.say({"mean": 2.8}) == "2.80"
    assert show.printed(0.99993) == "0.9999" and show.printed(0.955) == 0.955
    fits = show.words(study, "second fits")
    rows = [
        {
            **r,
            "value": {"before D's update": 0.3, "after D's update": 0.1, "after G's update": 0.2}[
                r["metric"][7:]
            ],
        }
        for r in study.results.rows
        if r["metric"].startswith("D_fake ")
    ]
    clear = dataclasses.replace(study, results=Results(rows))
    assert words.second_answer(clear).endswith(fits)
    muddled = dataclasses.replace(study, results=Results([{**r, "value": 0.3} for r in rows]))
    assert fits not in words.second_answer(muddled)


def test_notes_say_how_much_of_the_data_is_here(study):
    assert show.notes(study)[0].startswith("stand-ins: digits in place of EMNIST, ")
    sets = zip(study.main.values(), rows_room.ROLES.values(), (11750, 1600, 5000))
    own = {
        t.role: SimpleNamespace(name=name, data=range(n), role=t.role, ledger_arm="dcgan")
        for t, name, n in sets
    }
    here = SimpleNamespace(main=own, published=study.published)
    said = "EMNIST 11,750 of 112,800, CelebA 1,600 of 202,599, all 5,000 CIFAR-10 airplanes"
    assert show.notes(here) == [f"reduced data, images: {said}"]


def test_records_name_data_and_generators_as_they_did(study):
    records = show.records(study)
    assert list(records["data"])[:4] == ["emnist", "celeba", "cifar", "contrast 0.25"]
    assert {"emnist seed 0", "g_steps 5 seed 0", "quarter of the images seed 0"} <= set(records["G sha256"])


def test_a_second_look_computes_nothing(study, monkeypatch):
    import gannb.stages.controls
    import gannb.stages.memory
    import gannb.stages.score

    def never(*a, **kw):
        raise AssertionError("computed again")

    monkeypatch.setattr(gannb.stages.score, "compare_features", never)
    monkeypatch.setattr(gannb.stages.memory, "memorised", never)
    monkeypatch.setattr(gannb.stages.controls, "_looked", never)
    again = dataclasses.replace(study, facts={})
    again.score()
    wanted = ("kid", "quality")
    found, first = ([r for r in s.results.rows if r["metric"] in wanted] for s in (again, study))
    assert found == first and found


RUN_FIELDS = (
    "epochs steps_per_epoch steps fields seed folder history kept_epochs sha256 samples sample_epochs".split()
)


def test_diverged_seeds_stay_in(study):
    def died(run):
        return SimpleNamespace(**{name: getattr(run, name) for name in RUN_FIELDS}, diverged=1)

    trained = {
        key: dataclasses.replace(t, runs=[died(r) for r in t.runs]) for key, t in study.trained.items()
    }
    dead = dataclasses.replace(study, trained=trained, facts={})
    dead.score()
    lost = "quality fall_of_D nearer_to_training called_airplane D_acc_gap letters_read copies".split()
    own = [r for r in dead.results.rows if r["seed"] is not None]
    assert all(math.isnan(r["value"]) for r in own if r["metric"] in lost)
    assert {r["metric"] for r in own} >= set(lost)
    assert all(isinstance(found, Missing) for found in dead.ladders.values())
    assert show.ladder(dead)[1] is None
    assert may_not_judge(dead.ladders) == {}
    assert show.quality_curves(dead) is None and show.copies(dead) is None
    assert "diverged" in str(show.scores(dead).rows[0]["quality"])
    assert "diverged" in str(show.updates(dead)[1].rows[0]["difference"])
    assert {c["verdict"] for c in judge_all(CLAIMS, dead.results.rows, "desk")} <= set(VERDICTS)


def test_results_find_what_they_are_asked_for():
    found = Results([row("dcgan", "emnist", s, "end", "kid", s + 1.0, {}) for s in range(3)])
    assert found.values("emnist", "dcgan", "kid") == [1, 2, 3]
    assert found.cell("emnist", "dcgan", "kid")["mean"] == 2
    assert found.cell("emnist", "dcgan", "kid", "common") == Missing("not measured")
    assert found.cells("emnist", "dcgan", ("kid", "fid"))["fid"] == Missing("not measured")


# ---- the ladder and the claims -----------------------------------------------------------------------------

GOOD = {
    "held-out reals": {"": 0.0},
    "slightly": {"blur": 0.1, "noise": 0.2},
    "strongly": {"blur": 1.0, "noise": 2.0},
    "untrained G": {"": 5.0},
}


def test_a_network_that_failed_the_ladder_judges_nothing():
    rows = [
        row(
            arm,
            role,
            seed,
            at,
            m,
            (1 - v if m == "c2st" else v) + 0.01 * seed,
            {"n_real": 200, "n_fake": 200},
        )
        for seed in range(5)
        for role in ("emnist", "celeba", "cifar")
        for arm, v in (("dcgan", 0.9 if role == "emnist" else 0.2), ("quarter of the images", 0.9))
        for at in ("common", "end", "half")
        for m in ("quality", "kid", "loss_D", "c2st", "coverage")
    ] + [row(arm, role, None, "control", m, v, {}) for arm, role, m, v in control_cells()]
    bad = may_not_judge(
        {
            "emnist": climb(GOOD, {"epoch 1": 4, "epoch 9": 1}),
            "celeba": climb(GOOD, {"epoch 1": 1, "epoch 9": 4}),
            "cifar": Missing("diverged"),
        }
    )
    assert list(bad) == ["celeba"] and "run epoch 9" in bad["celeba"]
    claims = [BY_ID[claim] for claim in ("more-data", "best-data-set", "celeba-loss-d")]
    free, bound = ({c["id"]: c for c in judge_study(claims, rows, "desk", None, f)} for f in ({}, bad))
    assert (
        free["more-data"]["verdict"] != NOT_TESTABLE
        and bound["more-data"]["verdict"] == NOT_TESTABLE
        and "failed the ladder" in bound["more-data"]["reason"]
    )
    assert (
        free["best-data-set"]["verdict"] == "reproduced" and bound["best-data-set"]["verdict"] == NOT_TESTABLE
    )
    assert bound["celeba-loss-d"]["verdict"] == free["celeba-loss-d"]["verdict"] != NOT_TESTABLE, (
        "D's own numbers need no network"
    )
    shown = {c["id"]: c for c in judge_study(claims, rows, "quick", None, bad)}
    assert "Measured" in shown["more-data"]["reason"], "a setting that judges nothing shows its values"


def test_which_claims_ask_the_network():
    asks = {c["id"] for c in CLAIMS if asks_network(c["test"])}
    own = "no-airplane contrast-over-shape emnist-d-overfits contrast scenic-background dx-signal".split()
    assert asks == set(SCORED) - {*own, "d-well-everywhere", "g-struggles-everywhere"}


ASKED_CONTROLS = {  # of each data set: name -> metric -> value, as rulers that see would have it
    "real images": {"kid": 0, "quality": 1, "coverage": 0.95, "c2st": 0.5, "copies": 0, "airplanes": 0.95},
    "slight blur": {"kid": 0.4, "quality": 0.95, "c2st": 0.9, "copies": 0},
    "slight noise": {"quality": 0.9},
    "mirrored": {"kid": 0, "coverage": 0.95},
    "20 images repeated": {"coverage": 0.1},
    "other classes": {"airplanes": 0.02},
}
SEEN_LETTERS = {
    "real images": 1,
    NO_LETTER: 0,
    ONE_LETTER: 0,
    "slight blur": 0.9,
    "strong blur": 0.2,
    "tiles shuffled": 0.3,
}
SEEN_FACES = {"real images": 0.02, "slight blur": 0.16, "strong blur": 1.6}


def control_cells():
    "(arm, data set, metric, value) of every control that a claim asks."
    for role in ("emnist", "celeba", "cifar"):
        for arm, values in ASKED_CONTROLS.items():
            yield from ((arm, role, metric, value) for metric, value in values.items())
    for arm in LETTERS:
        for name, value in SEEN_LETTERS.items():
            yield from (
                (f"{arm}: {name}", "emnist", metric, value) for metric in ("letters_read", "letters_named")
            )
    for at, (arms, _) in VIEWS.items():
        for arm in arms:
            yield from ((f"{arm} {at}: {name}", "celeba", "kid", value) for name, value in SEEN_FACES.items())


def rows_of_a_table(good, controls=True):
    "Rows made up so that every claim is true, or false."
    out = []

    def add(arm, role, at, metric, value):
        order = np.random.default_rng(len(out)).permutation(5)  # seeds of an arm differ, in no order
        cells = ((s, value + 1e-3 * float(k)) for s, k in enumerate(order))
        out.extend(row(arm, role, s, at, metric, v, {"held_out": True}) for s, v in cells)

    def better(a, b):
        return a if good else b

    for arm, role, metric, value in control_cells() if controls else ():
        out.append(row(arm, role, None, "control", metric, value, {}))
    for role in ("emnist", "celeba", "cifar"):
        for at in ("common", "end"):
            best = role == "emnist"
            add("dcgan", role, at, "quality", better(0.9, 0.6) if best else 0.8)
            add("dcgan", role, at, "c2st", better(0.6, 0.9) if best else 0.8)
        add("dcgan", role, "half", "kid", better(1.5, 0.5))
        add("dcgan", role, "half", "c2st", better(0.9, 0.6))
        for at in ("end", "common"):
            add("dcgan", role, at, "kid", 1.0)
        add("dcgan", role, "end", "D_right_held", better(0.9, 0.6))
        add("dcgan", role, "end", "D_right_alone", better(0.9, 0.6))
        add("dcgan", role, "end", "D_fake after G's update", better(0.1, 0.4))
        add("dcgan", role, "common", "D_fake_after", better(0.1, 0.4))
        for e in range(1, 6):
            for prefix in ("", "change of "):
                way = {m: better(e, -e) for m in ("loss_D", "loss_G", "accuracy")} | {"kid": e, "D_real": e}
                way["D_fake_after"] = better(-e, e)
                for m, v in way.items():
                    out.extend(row("dcgan", role, s, 10 * e, prefix + m, v + 0.1 * s, {}) for s in range(5))
    add("dcgan", "celeba", "common", "coverage", better(0.5, 0.2))
    add("dcgan", "emnist", "end", "copies", better(0.3, 0.0))
    for arm, value in (("10 % copies", better(0.37, 0.1)), ("20 % copies", better(0.44, 0.2))):
        if controls:
            add(arm, "emnist", "control", "copies", value)
    add("dcgan", "emnist", "end", "D_acc_gap", better(0.2, 0.0))
    add("dcgan", "cifar", "end", "airplanes", better(0.2, 0.8))
    for metric in ("letters_read", "letters_named"):
        for arm, true, false in (
            ("contrast 0.25", 0.2, 0.9),
            ("contrast 0.5", 0.5, 0.6),
            ("contrast 1", 0.9, 0.4),
        ):
            add(arm, "emnist", "common", metric, better(true, false))
        add("natural background", "emnist", "common", metric, better(0.3, 0.9))
        add("flat background", "emnist", "common", metric, better(0.9, 0.3))
    for arm, true, false in (("size 16", 1.0, 3.0), ("size 32", 2.0, 2.0), ("size 64", 3.0, 1.0)):
        add(arm, "celeba", "at 16 px", "kid", better(true, false))
    for arm, true, false in (("size 32", 2.0, 1.0), ("size 32 grey", 1.0, 2.0)):
        add(arm, "celeba", "in grey", "kid", better(true, false))
    for arm in ("size 16", "size 32", "size 64", "size 32 grey"):
        add(arm, "celeba", "common", "quality", 0.8)
    add("quarter of the images", "celeba", "common", "kid", better(2.0, 0.5))
    add("quarter of the images", "celeba", "common", "coverage", better(0.2, 0.5))
    for g in (2, 5):
        for kind in ("D", "G"):
            for metric in ("kid", "c2st"):
                add(f"g_steps {g}", "cifar", f"equal {kind} updates", metric, better(0.5, 0.9))
                add("dcgan", "cifar", f"{kind} updates of g_steps {g}", metric, 0.7)
    for arm in CHANGES:
        add(arm, "emnist", "end", "fall_of_D", better(0.1, 0.6) if "tiles" in arm else better(0.6, 0.1))
    return out


@pytest.mark.parametrize("claim", SCORED)
def test_each_claim_can_come_out_either_way(claim):
    "Rows made up so that the claim is true, then so that it is false."
    found = [judge(BY_ID[claim], rows_of_a_table(good), "desk") for good in (True, False)]
    assert [f["verdict"] for f in found] == ["reproduced", "not reproduced"], [f["reason"] for f in found]


OF_IMAGES = (
    "emnist-memorised",
    "best-data-set",
    "more-epochs",
    "more-data",
    "no-airplane",
    "contrast",
    "scenic-background",
    "dimension",
    "colour",
    "more-g-updates",
    "much-more-g-updates",
)


@pytest.mark.parametrize("claim", OF_IMAGES)
def test_a_claim_about_images_needs_its_controls(claim):
    found = judge(BY_ID[claim], rows_of_a_table(True, controls=False), "desk")
    assert found["verdict"] == NOT_TESTABLE and "control" in found["reason"]
    moved = [r | {"value": 0.5} if r["step"] == "control" else r for r in rows_of_a_table(True)]
    blind = judge(BY_ID[claim], moved, "desk")
    assert blind["verdict"] not in ("reproduced", "not reproduced"), "one value for all controls is blind"
    assert "This ruler cannot tell" in blind["reason"]


def test_letters_are_judged_by_who_reads_them_not_by_kid():
    for claim in ("contrast", "scenic-background"):
        test = BY_ID[claim]["test"]
        assert test["metric"] == "letters_read" and test["second"]["metric"] == "letters_named"


def test_where_readings_differ_both_are_shown():
    rows_ = rows_of_a_table(True)
    for r in rows_:
        if r["metric"] == "D_fake after G's update":
            r["value"] += 0.3
    found = judge(BY_ID["g-struggles-everywhere"], rows_, "desk")
    assert found["verdict"] == "not reproduced" and "reading" in found["reason"]
    assert found["reading"] == "after the generator's update, as the paper defines it"


def test_more_generator_updates_must_win_both_comparisons():
    rows_ = rows_of_a_table(True)
    for r in rows_:
        if r["arm"] == "g_steps 2" and r["step"] == "equal G updates":
            r["value"] += 1
    assert judge(BY_ID["more-g-updates"], rows_, "desk")["verdict"] == "not reproduced"
    assert judge(BY_ID["much-more-g-updates"], rows_, "desk")["verdict"] == "reproduced"
