"The scores of the dataset study: which snapshot, who judges, full protocols, and a verdict for every claim."

import dataclasses
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from gannb.base import GannbError, Missing
from gannb.data import set_contrast
from gannb.features import climb
from gannb.ledger.claims import load_claims
from gannb.ledger.judge import judge, judge_all
from gannb.ledger.words import NOT_TESTABLE, VERDICTS
from gannb.stages.discriminator import d_on, real_d
from gannb.stages.judges import judging_part
from gannb.stages.ladder import asks_network, judge_study, may_not_judge
from gannb.stages.run import epoch_near, kept
from gannb.stages.score import row
from gannb.stages.tables import Results
from gannb.studies.dataset_study import rows as rows_room, show
from gannb.studies.dataset_study.rows import (
    CHANGES,
    DECIDE,
    fall_rows,
    named_rows,
    same_g_updates,
    shuffle_tiles,
)
from gannb.studies.dataset_study.side import FACES, LETTERS, changed
from gannb.studies.registry import open_study, report_config

CLAIMS = load_claims(Path(__file__).resolve().parents[1] / "papers" / "dataset_study.yaml")
BY_ID = {c["id"]: c for c in CLAIMS}
SCORED = (
    "emnist-memorised",
    "best-data-set",
    "more-epochs",
    "more-data",
    "no-airplane",
    "loss-d-signal",
    "loss-g-signal",
    "contrast",
    "dimension",
    "more-g-updates",
    "contrast-over-shape",
    "emnist-d-overfits",
    "scenic-background",
    "colour",
    "much-more-g-updates",
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


def cut(image, k):
    return {
        image[i : i + k, j : j + k].tobytes()
        for i in range(0, len(image), k)
        for j in range(0, len(image), k)
    }


def test_shuffled_tiles_keep_every_pixel_and_lose_the_shape():
    x = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    for tiles in (2, 4, 8):
        y = shuffle_tiles(x, tiles)
        for a, b in zip(x, y):
            assert (np.sort(a.reshape(-1, 3), axis=0) == np.sort(b.reshape(-1, 3), axis=0)).all(), (
                "each colour's histogram stays"
            )
        assert all(cut(a, 32 // tiles) == cut(b, 32 // tiles) for a, b in zip(x, y)), "whole tiles move"
    many = (
        np.arange(16, dtype=np.uint8)
        .repeat(16)
        .reshape(4, 4, 4, 4)
        .transpose(0, 2, 1, 3)
        .reshape(1, 16, 16, 1)
        .repeat(200, 0)
    )  # tile k holds the value k
    places = shuffle_tiles(many)[:, ::4, ::4, 0].reshape(200, 16)
    assert len({p.tobytes() for p in places}) > 190, "each image has an order of its own"
    assert 0.02 < (places == np.arange(16)).mean() < 0.11, (
        "a tile stays in its place by chance only (1 in 16)"
    )
    assert (shuffle_tiles(x) == shuffle_tiles(x)).all() and (
        shuffle_tiles(x, seed=1) != shuffle_tiles(x)
    ).any()
    for tiles in (1, 5):
        with pytest.raises(GannbError, match="divide the side"):
            shuffle_tiles(x, tiles)


def test_the_two_changes_that_decide():
    x = np.random.default_rng(1).integers(0, 256, (4, 16, 16, 1), dtype=np.uint8)
    shape, contrast = (CHANGES[k](x) for k in DECIDE.values())
    assert shape.std() == x.std() and contrast.astype(float).std() == pytest.approx(
        x.astype(float).std() / 2, rel=0.02
    )
    assert (
        np.corrcoef(x.ravel(), contrast.ravel())[0, 1]
        > 0.999
        > 0.5
        > abs(np.corrcoef(x.ravel(), shape.ravel())[0, 1])
    )


def test_a_fall_is_what_d_says_less_what_it_said(monkeypatch):
    """A D that looks at contrast alone: the fall under shuffled tiles is 0, under half the
    contrast it is half."""
    from gannb.data import ImageSet

    letters = ImageSet("letters", np.tile(np.array([0, 255], np.uint8), (8, 16, 8))[..., None])
    monkeypatch.setattr(rows_room, "real_d", lambda run, reals: None)
    monkeypatch.setattr(rows_room, "d_on", lambda D, images: (float(np.ptp(images.astype(int)) / 255), 0.0))
    rows = fall_rows([a_run(1), a_run(1, diverged=1)], letters, letters, 8)
    fall = [r["value"] for r in rows if r["metric"] == "fall_of_D"]
    assert fall[:2] == [0, pytest.approx(0.5, abs=0.01)] and all(map(math.isnan, fall[2:]))

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


# ---- a whole study of a few steps --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def study():
    given = {
        "preset": "smoke",
        "datasets": "digits,digits-low-contrast,digits-textured@3",
        "epochs": 3,
        "limit": 32,
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
    hidden = [i for i in SCORED if judged[i]["verdict"] == NOT_TESTABLE]
    assert hidden == ["colour"], "digits have no colour; all others are judged"
    assert not [c["id"] for c in CLAIMS if "waits_for" in c]


def test_more_updates_are_compared_at_equal_updates(study):
    table = show.updates(study).rows
    assert [(r["arm"], r["control"]) for r in table] == [
        ("2 a batch", "equal D updates"),
        ("2 a batch", "equal G updates"),
        ("5 a batch", "equal D updates"),
        ("5 a batch", "equal G updates"),
    ]
    assert table[0]["d"] == "6 / 6"
    assert table[0]["g"] == "12 / 6" and table[1]["g"] == "4 / 4", "updates of D and of G, counted"


def test_the_classifier_knows_the_class(study):
    can = study.facts["named"]
    assert can["class"] == "3" and can["classes"] == 10
    assert can["accuracy"] > 0.6
    assert can["called"] > 0.5 > 0.2 > can["others called"]
    share = study.results.values("cifar", "dcgan", "called_airplane")
    assert len(share) == 1 and 0 <= share[0] <= 1
    assert "held-out images" in show.named_sentence(study)


def test_without_a_class_there_is_a_reason(study):
    other = dataclasses.replace(study, request=report_config("dataset_study", preset="smoke"), facts={})
    assert named_rows(other) == []
    why = other.facts["named"]
    assert isinstance(why, Missing) and str(why).startswith("n/a (digits-textured stands in")
    assert str(why) in show.named_sentence(other)


def test_tables_sentences_and_cards(study):
    quality, spread = show.score_tables(study)
    assert [r["set"] for r in quality.rows] == ["digits", "digits-low-contrast", "digits-textured (3)"]
    assert len(show.scored_arms(study, LETTERS + FACES)) == 9
    table = show.ladder(study)[1].rows
    rungs = [r["rung"] for r in table]
    assert rungs[0] == "real images"
    assert rungs[-4:] == ["untrained G", "the run: early", "the run: its end", "verdict"]
    assert table[-2]["celeba"] == study.ladders["celeba"].rows[-1]["score"]
    assert len(show.changed_table(study).rows) == 7
    assert len(show.knows(study).rows) == 3
    for measure in ("image size", "amount of data", "number of epochs", "common step"):
        assert any(ch.isdigit() for ch in show.measured(study, measure))
    with pytest.raises(GannbError, match="Allowed: image size"):
        show.measured(study, "image sise")
    cards = show.cards(study)
    assert len(cards) == 9 and all("seeds" in c for c in cards.values())
    assert "Called 3" in cards
    for text in (
        show.quality_curves(study).caption,
        show.copies(study).caption,
        show.changed_figure(study).caption,
        show.half_sentence(study),
        show.trend_sentence(study, ["contrast 1"]),
    ):
        assert "n/a" not in text and any(ch.isdigit() for ch in text)


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
    lost = ("quality", "fall_of_D", "nearer_to_training", "called_airplane", "D_acc_gap")
    assert all(math.isnan(r["value"]) for r in dead.results.rows if r["metric"] in lost)
    assert all(isinstance(found, Missing) for found in dead.ladders.values())
    assert show.ladder(dead)[1] is None
    assert may_not_judge(dead.ladders) == {}
    assert show.quality_curves(dead) is None and show.copies(dead) is None
    assert "diverged" in str(show.score_tables(dead)[0].rows[0]["quality"])
    assert "diverged" in str(show.updates(dead).rows[0]["difference"])
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
        row(arm, role, seed, at, m, v + 0.01 * seed, {"n_real": 200, "n_fake": 200})
        for seed in range(5)
        for role in ("emnist", "celeba", "cifar")
        for arm, v in (("dcgan", 0.9 if role == "emnist" else 0.2), ("quarter of the images", 0.9))
        for at in ("common", "end", "half")
        for m in ("quality", "kid", "loss_D")
    ]
    bad = may_not_judge(
        {
            "emnist": climb(GOOD, {"epoch 1": 4, "epoch 9": 1}),
            "celeba": climb(GOOD, {"epoch 1": 1, "epoch 9": 4}),
            "cifar": Missing("diverged"),
        }
    )
    assert list(bad) == ["celeba"] and "run epoch 9" in bad["celeba"]
    free, bound = ({c["id"]: c for c in judge_study(CLAIMS, rows, "desk", None, f)} for f in ({}, bad))
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
    shown = {c["id"]: c for c in judge_study(CLAIMS, rows, "quick", None, bad)}
    assert "Measured" in shown["more-data"]["reason"], "a setting that judges nothing shows its values"


def test_which_claims_ask_the_network():
    asks = {c["id"] for c in CLAIMS if asks_network(c["test"])}
    assert asks == set(SCORED) - {"no-airplane", "contrast-over-shape", "emnist-d-overfits"}


@pytest.mark.parametrize("claim", SCORED)
def test_each_claim_can_come_out_either_way(claim):
    "Rows made up so that the claim is true, then so that it is false."

    def rows(good):
        out = []

        def add(arm, role, at, metric, value):
            out.extend(
                row(
                    arm,
                    role,
                    seed,
                    at,
                    metric,
                    value + 1e-3 * seed,
                    {"n_real": 200, "n_fake": 1000, "held_out": True},
                )
                for seed in range(5)
            )

        for role in ("emnist", "celeba", "cifar"):
            for at in ("common", "end"):
                add(
                    "dcgan",
                    role,
                    at,
                    "quality",
                    0.9 if role == "emnist" and good else 0.8 if role != "emnist" else 0.6,
                )
            add("dcgan", role, "half", "kid", 1.5 if good else 0.5)
            add("dcgan", role, "end", "kid", 1.0)
            add("dcgan", role, "common", "kid", 1.0)
            for e in range(1, 6):
                for m in ("kid", "loss_D", "loss_G"):
                    out.extend(
                        row(
                            "dcgan", role, seed, 10 * e, m, (e if good or m == "kid" else -e) + 0.1 * seed, {}
                        )
                        for seed in range(5)
                    )
        add("dcgan", "emnist", "end", "nearer_to_training", 0.7 if good else 0.5)
        add("planted copies", "emnist", "end", "nearer_to_training", 0.8)
        add("dcgan", "emnist", "end", "D_acc_gap", 0.2 if good else 0.0)
        add("dcgan", "cifar", "end", "called_airplane", 0.2 if good else 0.8)
        for arm, v in (
            ("contrast 0.25", 0.2),
            ("contrast 0.5", 0.5),
            ("contrast 1", 0.9),
            ("natural background", 0.3),
            ("flat background", 0.9),
        ):
            add(arm, "emnist", "common", "quality", v if good else 1 - v)
        for arm, v in (("size 16", 0.9), ("size 32", 0.5), ("size 64", 0.1), ("size 32 grey", 0.9)):
            add(arm, "celeba", "common", "quality", v if good else 1 - v)
        add("quarter of the images", "celeba", "common", "kid", 2.0 if good else 0.5)
        add("g_steps 2", "cifar", "common", "kid", 0.5 if good else 2.0)
        for kind in ("D", "G"):
            add("g_steps 5", "cifar", f"equal {kind} updates", "kid", 0.5 if good else 2.0)
            add("dcgan", "cifar", f"{kind} updates of g_steps 5", "kid", 1.0)
        add("shape destroyed", "emnist", "end", "fall_of_D", 0.1 if good else 0.6)
        add("contrast changed", "emnist", "end", "fall_of_D", 0.6 if good else 0.1)
        return out

    assert judge(BY_ID[claim], rows(True), "desk")["verdict"] == "reproduced", claim
    assert judge(BY_ID[claim], rows(False), "desk")["verdict"] == "not reproduced", claim
