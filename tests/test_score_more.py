"""Amounts of which only a sign was asked, and what a stored score must be told."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gannb import metrics
from gannb.base import Missing, numpy_rng
from gannb.damage import DAMAGES
from gannb.datasets.registry import load
from gannb.features import FeatureNet, Ladder, climb, domain, new_domain_net
from gannb.ledger import rules
from gannb.stages import memory, score
from gannb.stages.classifier import Namer, balanced
from gannb.stages.controls import control_rows
from gannb.stages.discriminator import d_features, real_d
from gannb.stages.features import fake_features, network
from gannb.stages.judges import Scorer, some_images
from gannb.stages.ladder import (
    LADDER_COLUMNS,
    Answer,
    Certificate,
    _unmoved,
    answer_rows,
    ladder_of,
    ladder_passed_rows,
    ladder_rows,
    ladder_sentence,
    may_not_judge,
)
from test_score import run, scorer, sets  # noqa: F401
from test_ledger import bound, difference, no_harm, rows, same, two
from test_ledger import verdict as verdict_on

# ---- amounts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "claim, table",
    [
        (difference(), two([1.0] * 5, [1.0] * 5)),
        (bound(bound=1.0), rows([1.0] * 5)),
        (same(margin=1.0), two([2.0] * 5, [1.0] * 5)),
        (no_harm(margin=1.0), two([0.0] * 5, [1.0] * 5)),
    ],
    ids=["difference", "bound", "same", "no_harm"],
)
def test_an_interval_that_ends_at_the_bound_is_not_beyond_it(claim, table):
    "The same value in every seed: no width, and exactly on the bound."
    assert verdict_on(claim, table) != "reproduced"


@pytest.mark.parametrize(
    "low, high, region", [(0.0, 1.0, (0.0, np.inf)), (-1.0, 0.0, (-np.inf, 0.0)), (1.0, 2.0, (1.0, np.inf))]
)
def test_an_interval_that_touches_the_bound_decides_nothing(low, high, region):
    assert rules.decide(low, high, region) == "inconclusive"


def test_the_interval_of_memorisation_is_the_95_percent_one():
    "Each image its own group: the resampled interval is the binomial one, 1.96 sqrt(p (1 - p) / n) a side."
    rng = numpy_rng(0, "memorisation width")
    wide = []
    for _ in range(8):
        train, held, fake = rng.normal(size=(3, 600, 8))
        m = metrics.memorisation(fake, train, held)
        binomial = 1.96 * (m.share * (1 - m.share) / m.n_groups) ** 0.5
        wide.append((m.high - m.low) / 2 / binomial)
    assert 1.02 < np.mean(wide) < 1.18, wide  # 1.10; a 90 % interval gives 0.92


@pytest.mark.parametrize(
    "metric, better",
    [
        ("kid", "lower"),
        ("fid", "lower"),
        ("memorisation", "lower"),
        ("quality", "higher"),
        ("inception_score", "higher"),
        ("precision", "higher"),
        ("recall", "higher"),
        ("coverage", "higher"),
        ("diversity", None),
        ("near_duplicates", None),
    ],
)
def test_which_side_is_better(metric, better):
    assert metrics.BETTER[metric] == better


def test_a_better_score_has_a_higher_normalised_one():
    "KID falls from the untrained G's to that of real images: the normalised score rises from 0 to 1."
    values = [metrics.normalised(kid, 5.0, 0.5) for kid in (5.0, 3.0, 1.0, 0.5, 0.2)]
    assert values == sorted(values) and values[0] == 0 and values[3] == 1 < values[4]


# ---- what a stored score must be told ----------------------------------------------------------------------


def test_memorisation_is_told_what_belongs_together(run, scorer, sets, monkeypatch):  # noqa: F811
    "Other digits in place of fakes; four images make a group."
    train = replace(sets[0], groups=np.arange(len(sets[0])) // 4)
    real = replace(scorer.real, groups=1000 + np.arange(len(scorer.real)) // 4)
    others = scorer.net(sets[1].take(np.arange(60)))
    monkeypatch.setattr(memory, "fake_features", lambda run, net, n: others)
    own, planted = memory.memorised(run, Scorer(scorer.net, real, 60), train)
    t, h = scorer.net(np.asarray(train.images)), scorer.net(np.asarray(real.images))
    assert own == metrics.memorisation(others, t, h, (train.groups, real.groups), 0)
    assert own != metrics.memorisation(others, t, h, None, 0)
    assert own.n_groups <= 20 and planted.n_groups <= 20


def test_quality_of_a_snapshot_is_its_own(run, scorer, sets):  # noqa: F811
    found = {}
    for epoch in (0, 1, 3):
        named = {
            r["metric"]: r["value"] for r in score.score_rows("a", "b", run, scorer, sets[0], epoch, "x")
        }
        found[epoch] = named["quality"]
        assert named["kid"] == score.score(run, scorer, epoch)["kid"]
    assert found[0] == 0 and found[1] != found[3]


def test_the_key_of_a_score_knows_seed_and_noise(run, scorer):  # noqa: F811
    "The same weights of G with other noise are other fakes, so another score."
    first = score.score(run, scorer)["kid"]
    other_seed = replace(run, fields=run.fields | {"seed": 9})
    uniform = replace(run, fields=run.fields | {"z_dist": "uniform"})
    assert len({first, score.score(other_seed, scorer)["kid"], score.score(uniform, scorer)["kid"]}) == 3


def test_fid_by_number_ends_at_the_score(run, scorer):  # noqa: F811
    by_number, _ = score.fid_by_number(run, scorer, (12, 24, 48))
    assert list(by_number) == [12, 24, 48]
    assert by_number[48] == pytest.approx(score.score(run, scorer)["fid"], rel=1e-9)


# ---- the ladder --------------------------------------------------------------------------------------------

GOOD = climb(
    {
        "held-out reals": {"": 0.0},
        "slightly": {"blur": 0.1, "noise": 0.2},
        "strongly": {"blur": 0.3, "noise": 0.4, "shuffle": 0.5},
        "untrained G": {"": 5.0},
    },
    {"epoch 1": 4.0, "epoch 2": 3.0, "epoch 5": 1.0},
)
BAD = Ladder(GOOD.rows, ["held-out reals (1) should score below slightly blur (0.1)"])
NAMES = {"apple": "Apples", "lemon": "Lemons (as lime)", "kiwi": "Kiwis"}
FOUND = {"apple": GOOD, "lemon": BAD, "kiwi": Missing("all 5 seeds diverged")}


def test_the_ladder_in_rows_of_rungs():
    table = ladder_rows(NAMES, FOUND)
    assert [r["rung"] for r in table] == [
        "real images",
        "slight blur",
        "slight noise",
        "strong blur",
        "strong noise",
        "strong shuffle",
        "untrained G",
        "the run: early",
        "the run: a fifth",
        "the run: its end",
        "verdict",
    ]
    assert table[1] == {"rung": "slight blur", "apple": 0.1, "lemon": 0.1, "kiwi": "n/a (no such rung)"}
    assert table[9]["apple"] == 1.0
    assert table[-1] == {
        "rung": "verdict",
        "apple": "passed",
        "lemon": "failed",
        "kiwi": "n/a (all 5 seeds diverged)",
    }
    assert ladder_rows(NAMES, {"kiwi": FOUND["kiwi"]}) == []


def test_the_ladder_in_rows_of_data_sets():
    apple, lemon, kiwi = ladder_rows(NAMES, FOUND, layout="data")
    assert all(list(r) == list(LADDER_COLUMNS) for r in (apple, lemon, kiwi))
    assert apple == {
        "fruit": "Apples",
        "real": 0.0,
        "brighter": "n/a (no such rung)",
        "blur": 0.1,
        "noise": 0.2,
        "blur2": 0.3,
        "noise2": 0.4,
        "shuffle": 0.5,
        "untrained": 5.0,
        "run": "4 (epoch 1), 3 (epoch 2), 1 (epoch 5)",
        "passed": "passed",
    }
    assert lemon["passed"].startswith("FAILED: held-out reals (1)")
    assert kiwi["real"] == kiwi["run"] == "n/a (all 5 seeds diverged)" and kiwi["passed"] == "n/a"


def test_who_may_not_judge(scorer):  # noqa: F811
    assert list(may_not_judge(FOUND)) == ["lemon"]
    said = ladder_sentence(scorer.net, NAMES, FOUND)
    assert said.startswith("**Warning.** On Lemons (as lime) the network may not judge here")
    assert said.endswith("no verdict there.")
    assert "it may judge" in ladder_sentence(scorer.net, NAMES, {"apple": GOOD})
    rows = ladder_passed_rows(FOUND, dict.fromkeys(FOUND, scorer.net))
    assert [(r["dataset"], r["value"], r["protocol"]["wrong"]) for r in rows] == [
        ("apple", 1.0, []),
        ("lemon", 0.0, BAD.wrong),
    ]
    assert {(r["arm"], r["seed"], r["step"], r["metric"]) for r in rows} == {
        ("ladder", None, "control", "ladder_passed")
    }


def test_the_ladder_of_an_arm_is_that_of_its_first_whole_seed(run, scorer, sets, monkeypatch):  # noqa: F811
    gone = replace(run, diverged=7)
    assert ladder_of([gone, gone], scorer, sets[0]) == Missing("all 2 seeds diverged")
    found = ladder_of([gone, run], scorer, sets[0])
    assert [r["what"] for r in found.rows if r["rung"] == "run"] == ["epoch 1", "epoch 3"]
    monkeypatch.setattr("gannb.stages.controls._looked", lambda *a: pytest.fail("climbed twice"))
    monkeypatch.setattr("gannb.metrics.two_sample", lambda *a: pytest.fail("asked twice"))
    again = ladder_of([run], scorer, sets[0])
    assert str(again) == str(found) and again == found


def test_the_rungs_are_the_controls(run, scorer, sets):  # noqa: F811
    "One computation: the ladder says of the damaged images what the table of controls says."
    found = ladder_of([run], scorer, sets[0])
    kids = {
        r["arm"]: r["value"]
        for r in control_rows("d", scorer, sets[0], told_apart=())
        if r["metric"] == "kid"
    }
    scores = {(r["rung"], r["what"]): r["score"] for r in found.rows}
    assert scores["held-out reals", ""] == kids["real images"] == found.reals[0]
    assert scores["strongly", "shuffle"] == kids["tiles shuffled"]
    assert scores["unnoticed", "brighter"] == kids["brighter"]
    assert scores["untrained G", ""] == score.score(run, scorer, 0)["kid"]
    asked = {(a.rung, a.ruler): a for a in found.answers}
    assert len(asked) == 3 * 6 and asked["chimeras", "kid"].value == kids["chimeras"]
    assert (
        asked["chimeras", "kid"].against == kids["slight blur"] and asked["chimeras", "c2st"].against == 0.75
    )
    assert asked["half of the classes", "classes_covered"].seen
    bare = replace(sets[0], labels=None, classes=())
    assert ladder_of([run], scorer, bare).rungs == ["20 images repeated", "chimeras"]
    assert ladder_of([run], scorer, bare, sets[0].labels).rungs == found.rungs


def test_a_network_that_minds_what_nobody_notices_fails(run, scorer, sets, monkeypatch):  # noqa: F811
    "Ten grey levels may cost less than half of what slight blur does, both counted from real images."

    def wrong(real, blur, brighter):
        return _unmoved({"real images": real, "slight blur": blur, "brighter": brighter})

    assert wrong(0.1, 0.5, 0.29) == []
    for kids in ((0.1, 0.5, 0.31), (0.1, 0.5, 0.9), (0.3, 0.2, 0.3)):
        assert "brighter" in wrong(*kids)[0]
    monkeypatch.setattr("gannb.stages.ladder._unmoved", lambda kids: [f"brighter ({kids['brighter']:.3g})"])
    found = ladder_of([run], scorer, sets[0])
    assert not found.passed and found.wrong[-1].startswith("brighter")


@pytest.mark.parametrize(
    "ruler, value, against, seen",
    [
        ("kid", 0.2, 0.1, True),
        ("kid", 0.1, 0.2, False),
        ("c2st", 0.8, 0.75, True),
        ("c2st", 0.7, 0.75, False),
        ("recall", 0.1, 0.2, True),
        ("coverage", 0.2, 0.1, False),
        ("classes_covered", 0.5, 0.9, True),
        ("kid", float("nan"), 0.1, False),
        ("recall", float("nan"), 0.1, False),
    ],
)
def test_a_rung_is_seen_where_it_is_worse_than_slight_blur(ruler, value, against, seen):
    assert Answer("chimeras", ruler, value, against).seen is seen


REPEATED, CHIMERAS = "20 images repeated", "chimeras"
BLIND = Certificate(
    GOOD.rows,
    [],
    [
        Answer(REPEATED, "kid", 0.1, 0.3),
        Answer(REPEATED, "recall", 0.0, 0.6),
        Answer(REPEATED, "coverage", 0.4, 0.9),
        Answer(CHIMERAS, "kid", 0.1, 0.3),
        Answer(CHIMERAS, "c2st", 0.6, 0.75),
        Answer(CHIMERAS, "recall", 0.7, 0.6),
    ],
    (0.64, 0.5, 0.7),
)


def test_what_kid_overlooks_is_said(scorer):  # noqa: F811
    assert BLIND.overlooked() == {REPEATED: ["kid"], CHIMERAS: ["kid", "c2st", "recall"]}
    assert BLIND.overlooked(asked=True) == {CHIMERAS: ["kid", "c2st"]}
    assert BLIND.seen_by(REPEATED) == ["recall", "coverage"] and BLIND.seen_by(CHIMERAS) == []
    said = ladder_sentence(scorer.net, NAMES, {"apple": BLIND})
    assert "it may judge" in said and not BLIND.near_zero
    assert (
        "On Apples KID overlooks twenty images repeated (seen by recall and coverage) and "
        "halves of two images glued together (no ruler of looks sees it)."
    ) in said
    assert "Even real images do not score 0: 0.64 on Apples." in said
    assert may_not_judge({"apple": BLIND}) == {}
    alone = replace(BLIND, answers=[Answer(REPEATED, "kid", 0.4, 0.3), Answer(REPEATED, "recall", 0.7, 0.6)])
    said = ladder_sentence(scorer.net, NAMES, {"apple": alone})
    assert "On Apples only KID sees twenty images repeated: no ruler of variety does." in said
    assert "overlooks" not in said
    near = replace(BLIND, answers=[Answer(CHIMERAS, "kid", 0.4, 0.3)], reals=(0.01, -0.01, 0.03))
    assert ladder_sentence(scorer.net, NAMES, {"apple": near}).endswith("it may judge.")


def test_the_hard_rungs_as_a_table():
    rows = answer_rows({"apple": BLIND, "lemon": GOOD, "kiwi": FOUND["kiwi"]})
    assert [(r["rung"], r["asked"]) for r in rows[:3]] == [
        (REPEATED, "no"),
        (REPEATED, "yes"),
        (REPEATED, "yes"),
    ]
    assert rows[0]["ruler"] == "KID" and rows[0]["apple"] == "0.1 (0.3): overlooked"
    assert rows[1]["apple"] == "0 (0.6): seen"
    assert rows[0]["lemon"] == "n/a (not asked)" and rows[0]["kiwi"] == "n/a (all 5 seeds diverged)"
    assert answer_rows({"kiwi": FOUND["kiwi"]}) == []


# ---- who must not pass -------------------------------------------------------------------------------------


class Pixels(torch.nn.Module):
    "The pixels themselves, from 0 to 1."

    def __init__(self):
        super().__init__()
        self.none = torch.nn.Parameter(torch.zeros(()))

    def forward(self, x):
        return x.flatten(1).float() / 255


def networks(channels: int) -> dict[str, FeatureNet]:
    "Who must not pass, and who must."
    pixels = FeatureNet("raw pixels", "pixels", 1024 * channels, "none", "none", Pixels())
    untrained = domain(new_domain_net(32, channels, 47, 0), "none")
    return {"raw pixels": pixels, "untrained": untrained, "effnet-lite0": network("effnet-lite0")}


@pytest.mark.pack
@pytest.mark.parametrize(
    "name, classes",
    [("emnist-balanced", None), ("celeba", None), ("cifar10", "airplane"), ("fruits360", "Apple")],
)
def test_raw_pixels_and_an_untrained_network_must_fail(name, classes):
    "They mind ten grey levels almost as much as blur, or more; a network that has learnt to see does not."
    images = load(name, size=32, classes=classes, progress=False).split(0.5)
    shown, real = (np.asarray(some_images(s, n).images) for s, n in zip(images, (300, 200)))
    passed = {}
    for who, net in networks(shown.shape[3]).items():
        x = net(real)
        rungs = {"real images": shown} | {n: DAMAGES[n](shown, 0) for n in ("slight blur", "brighter")}
        passed[who] = not _unmoved({n: metrics.kid(x, net(images)) for n, images in rungs.items()})
    assert passed == {"raw pixels": False, "untrained": False, "effnet-lite0": True}


# ---- what D has learnt to look at --------------------------------------------------------------------------


def test_features_of_d_are_its_pooled_maps(run, sets):  # noqa: F811
    train, held = sets[0], sets[1].rows(np.arange(20))
    x = d_features(run, train, held)
    widths = [4, 8]  # ndf 4, 16 px: maps of 8 and 4 pixels
    assert x.shape == (20, sum(widths) * 16) and x.dtype == np.float32 and np.isfinite(x).all()
    assert np.array_equal(x, d_features(run, train, np.asarray(held.images))), "the same, twice"
    assert np.allclose(x, d_features(run, train, held, batch=7), atol=1e-5), (
        "an image does not depend on others"
    )
    assert np.array_equal(d_features(run, train, held, layers=[-1]), x[:, 4 * 16 :])
    assert d_features(run, train, held, layers=[0], grid=1).shape == (20, 4)


def test_hidden_maps_lead_to_the_logit(run, sets):  # noqa: F811
    import torch

    D = real_d(run, sets[0])
    x = torch.rand(3, 1, 16, 16) * 2 - 1
    with torch.no_grad():
        maps = D.hidden(x)
        assert [tuple(m.shape) for m in maps] == [(3, 4, 8, 8), (3, 8, 4, 4)]
        assert torch.equal(D.main[-1](maps[-1]).flatten(), D(x))


@pytest.mark.parametrize("layers", [[2], [-3], []])
def test_blocks_that_d_has_not(run, sets, layers):  # noqa: F811
    with pytest.raises(ValueError, match="D's 2 blocks, 0 to 1"):
        d_features(run, sets[0], sets[1], layers)


# ---- names -------------------------------------------------------------------------------------------------


def test_a_namer_learns_late_and_names_right(scorer, sets, monkeypatch):  # noqa: F811
    namer = Namer(sets[0], scorer.net)
    assert "model" not in vars(namer), "nothing is fitted before it is asked"
    assert namer.card() == scorer.net.card() | {
        "classifier": "softmax regression, C 0.01",
        "train": sets[0].fingerprint,
    }
    assert "model" not in vars(namer)
    x = scorer.net(np.asarray(sets[1].images))
    says = namer.says(x)
    assert namer.accuracy(sets[1]) == (says == sets[1].labels).mean() > 0.7
    assert namer.share_called("3", x) == (says == 3).mean()
    with pytest.raises(ValueError, match="class='three'"):
        namer.share_called("three", x)


def test_a_namer_needs_two_classes(scorer, sets):  # noqa: F811
    for bare in (sets[0].select(["3"]), replace(sets[0], labels=None, classes=())):
        with pytest.raises(ValueError, match="two classes or more"):
            Namer(bare, scorer.net)


def test_balanced_has_as_many_of_each_class(sets):  # noqa: F811
    few = balanced(sets[1], 10)
    assert np.bincount(few.labels).tolist() == [10] * 10
    assert few.fingerprint == balanced(sets[1], 10).fingerprint != balanced(sets[1], 10, seed=1).fingerprint
    counts = np.bincount(balanced(sets[1], 35).labels)
    assert (counts == np.minimum(np.bincount(sets[1].labels), 35)).all()


def test_fakes_are_called_by_name(run, scorer, sets):  # noqa: F811
    namer = Namer(sets[0], scorer.net)
    x = fake_features(run, scorer.net, 48)
    assert sum(namer.share_called(name, x) for name in sets[0].classes) == pytest.approx(1)
