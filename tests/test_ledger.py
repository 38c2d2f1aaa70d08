"""The ledger: for each rule a table where it fires and one where it must not, malformed claims one by one,
and 2,000 simulated tables."""

import copy
import json
import math

import numpy as np
import pytest
import ledger_tables
import yaml
from scipy import stats

from gannb.ledger.claims import KINDS, TESTS, check_claim, load_claims
from gannb.ledger.intervals import fisher_p, holm, paired_interval, sign_flip_p, t_interval, welch_interval
from gannb.ledger.judge import claim_hash, judge, judge_all
from gannb.ledger.rules import decide
from gannb.ledger.table import Table
from gannb.ledger.words import (
    MARKS,
    SETTINGS,
    VERDICTS,
    apart,
    counts,
    decimals_for,
    fmt,
    fmt_interval,
    headline,
    interval_words,
    verdict_words,
)
from gannb.base import GannbError, Missing, numpy_rng
from gannb.report import numbers

NAN = float("nan")
HIGH, LOW, WIDE = (
    [0.97, 0.98, 0.96, 0.99, 0.97],
    [0.70, 0.66, 0.74, 0.69, 0.72],
    [0.93, 0.87, 0.96, 0.85, 0.97],
)


def rows(values, arm="a", dataset="d", metric="m", step="end", protocol=None, first=0):
    return [
        {
            "arm": arm,
            "dataset": dataset,
            "seed": s,
            "step": step,
            "metric": metric,
            "value": v,
            "protocol": protocol,
        }
        for s, v in enumerate(values, first)
    ]


def claim(**test):
    return ledger_tables.claim(test)


def bound(**more):
    return claim(**{"kind": "bound", "arm": "a", "direction": "above", "bound": 0.9, **more})


def difference(**more):
    return claim(**{"kind": "difference", "arms": ["a", "b"], "direction": "above", "margin": 0, **more})


def same(**more):
    return claim(**{"kind": "equivalence", "arms": ["a", "b"], "margin": 0.1, **more})


def no_harm(**more):
    return claim(**{"kind": "no_harm", "arms": ["a", "b"], "margin": 0.1, "better": "higher", **more})


def events(**more):
    return claim(
        **{"kind": "events", "arms": ["a", "b"], "direction": "fewer", "event": "loss not finite", **more}
    )


def never(**test):
    return {**claim(), "test": test}


def two(a, b, **more):
    return rows(a, "a", **more) + rows(b, "b", **more)


def verdict(c, table, setting="paper", **more):
    return judge(c, table, setting, **more)["verdict"]


# ---------------------------------------------------------------- intervals and p-values


def test_intervals_agree_with_scipy():
    rng = np.random.default_rng(1)
    a, b = rng.normal(3, 2, 7), rng.normal(2, 1, 5)
    for level in (0.90, 0.95, 0.99):
        want = stats.ttest_1samp(a, 0).confidence_interval(level)
        got = t_interval(a, level)
        assert got.low == pytest.approx(want.low, abs=1e-10) and got.high == pytest.approx(
            want.high, abs=1e-10
        )
        want, got = stats.ttest_rel(a[:5], b).confidence_interval(level), paired_interval(a[:5], b, level)
        assert got.low == pytest.approx(want.low, abs=1e-10) and got.high == pytest.approx(
            want.high, abs=1e-10
        )
        want, got = (
            stats.ttest_ind(a, b, equal_var=False).confidence_interval(level),
            welch_interval(a, b, level),
        )
        assert got.low == pytest.approx(want.low, abs=1e-10) and got.high == pytest.approx(
            want.high, abs=1e-10
        )


def test_interval_limits():
    assert t_interval([2.0, 2.0, 2.0])[:3] == (2.0, 2.0, 2.0)
    assert welch_interval([1.0, 1.0], [0.5, 0.5, 0.5])[:3] == (0.5, 0.5, 0.5)
    for bad in ([1.0], [], [1.0, NAN], [1.0, math.inf]):
        with pytest.raises(GannbError):
            t_interval(bad)
    with pytest.raises(GannbError, match="equal numbers"):
        paired_interval([1, 2, 3], [1, 2])
    with pytest.raises(GannbError, match="level"):
        t_interval([1, 2], 95)


def test_p_values():
    assert fisher_p(0, 5, 4, 5, "fewer") == pytest.approx(5 / 210)
    assert fisher_p(4, 5, 0, 5, "more") == pytest.approx(5 / 210)
    assert fisher_p(3, 8, 5, 9) == pytest.approx(stats.fisher_exact([[3, 5], [5, 4]])[1])
    with pytest.raises(GannbError):
        fisher_p(6, 5, 0, 5)
    with pytest.raises(GannbError, match="fewer"):
        fisher_p(0, 5, 1, 5, "fewre")
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert sign_flip_p([1, 2, 3, 4, 5]) == 2 / 32 == 0.0625
    assert sign_flip_p([1, -1]) == 1.0
    with pytest.raises(GannbError):
        sign_flip_p(range(20))


@pytest.mark.parametrize(
    "args, text",
    [
        ((78.123, 77.2, 79.04), "78.1 [77.2, 79.0]"),
        ((0.99981, 0.99972, 0.9999), "0.9998 [0.9997, 0.9999]"),
        ((0.98, 0.98, 0.98), "0.980 (the same in every seed)"),
        ((0.0, 0.0, 0.0), "0 (the same in every seed)"),
        ((112800,), "112,800"),
        ((0.5,), "0.500"),
        ((-0.0004, -0.5, 0.5), "0.000 [-0.500, 0.500]"),
        ((1.234e-9, 1.1e-9, 1.3e-9), "1.23e-09 [1.1e-09, 1.3e-09]"),
    ],
)
def test_numbers_in_words(args, text):
    assert fmt_interval(*args) == text


def test_rounding_does_not_hide_the_comparison():
    assert fmt_interval(0.95, 0.90004, 0.99, against=[0.9]) == "0.95000 [0.90004, 0.99000]"
    assert "±" not in judge(bound(), rows(HIGH), "paper")["reason"]


@pytest.mark.parametrize(
    "value, text",
    [
        (0.94312, "0.943"),
        (112800, "112,800"),
        (0.0, "0"),
        (1.23e-5, "< 0.0001"),
        (-1.23e-5, "> -0.0001"),
        (1234.6, "1,235"),
        (np.float32(2.5), "2.50"),
        (np.int64(1234), "1,234"),
        (True, "yes"),
        ("digits", "digits"),
        (Missing("no test images"), "n/a (no test images)"),
        (NAN, "n/a (not a finite number)"),
    ],
)
def test_a_value_in_a_table(value, text):
    assert fmt(value) == text


def test_numbers_of_a_column_share_their_decimals():
    assert [decimals_for(v) for v in ([], [0], [0.5, NAN], [120.0, 0.5], [1e-9])] == [0, 0, 3, 0, 4]
    assert decimals_for([1e-9], most=20) == 11
    assert fmt(0.5, 1) == "0.5" and fmt(0.04, 1) == "< 0.1"
    with pytest.raises(GannbError, match="n/a"):
        fmt(None)


def test_the_ends_of_an_interval_look_different():
    assert apart(0.99978, 0.99984, 3) == 5 and apart(1.0, 2.0, 0) == 0 and apart(1.0, 1.0, 2) == 2
    assert apart(0.1, 0.1 + 1e-12, 2) == 6, "six decimals at most"
    assert interval_words(0.99981, (0.99978, 0.99984), 3) == "0.99981 [0.99978, 0.99984]"
    assert interval_words(1234.56, (1200, 1300), 1) == "1,234.6 [1,200.0, 1,300.0]"


def test_an_interval_without_width_is_not_written_as_one():
    assert interval_words(0.0, (0.0, 0.0), 4) == "0.0000 (the same in every seed)"
    assert interval_words(0.2, (0.2, 0.2 + 1e-12), 2) == "0.20 (the same in every seed)"
    assert interval_words(3e-8, (1e-8, 5e-8), 4) == "3e-08 [1e-08, 5e-08]"
    assert interval_words(-1e-9, (-0.2, 0.2), 2) == "0.00 [-0.20, 0.20]"


def test_reports_say_numbers_with_the_words_of_the_ledger():
    assert numbers.fmt is fmt


# ---------------------------------------------------------------- rule 1: the unit is a seed


def test_images_and_epochs_are_averaged_inside_the_seed():
    many = [
        r
        for s, v in enumerate(WIDE)
        for r in rows([v - 0.01, v + 0.01] * 50, first=0)
        for r in [{**r, "seed": s}]
    ]
    r, plain = judge(bound(), many, "paper"), judge(bound(), rows(WIDE), "paper")
    assert len(many) == 500 and r["n"] == 5 and r["verdict"] == plain["verdict"] == "inconclusive"
    assert (
        r["interval"] == pytest.approx(plain["interval"])
        and "100 rows of a seed were averaged" in r["reason"]
        and "averaged" not in plain["reason"]
    )


def test_the_step_is_the_one_the_claim_names():
    table = rows(HIGH) + rows(LOW, step="common") + rows(LOW, step=3)
    assert verdict(bound(), table) == "reproduced"
    assert verdict(bound(at="common"), table) == verdict(bound(at=3), table) == "not reproduced"
    assert judge(bound(at="all"), table, "paper")["values"][0]["values"][0] == pytest.approx(
        (0.97 + 0.70 + 0.70) / 3
    )
    gone = judge(bound(at="best"), table, "paper")
    assert gone["verdict"] == "not testable here" and "common" in gone["reason"]


@pytest.mark.parametrize("value", [NAN, math.inf, None])
def test_a_diverged_seed_stays_in(value):
    r = judge(bound(), rows(HIGH[:4] + [value]), "paper")
    assert (
        r["verdict"] == "inconclusive"
        and r["interval"] is None
        and "seed 4" in r["reason"]
        and r["seeds"] == [0, 1, 2, 3, 4]
    )
    assert r["values"][0]["values"] == [*HIGH[:4], None]
    assert verdict(bound(), rows(HIGH + [value])) == "inconclusive", (
        "five good seeds beside a diverged one: still not left out"
    )
    assert (
        verdict(bound(if_diverged=0.0), rows(HIGH + [value])) == "inconclusive"
        and verdict(bound(if_diverged=0.97), rows(HIGH + [value])) == "reproduced"
    )
    assert verdict(difference(), two([2, 3, 2, 3, value], [0, 1, 0, 1, 0])) == "inconclusive"
    json.dumps(r, allow_nan=False)


def test_facts_need_no_seed():
    fact = claim(kind="fact", expected=112800)
    row = {"arm": None, "dataset": "d", "seed": None, "step": None, "metric": "m", "value": 112800}
    assert (
        verdict(fact, [row]) == "reproduced" and verdict(fact, [{**row, "value": 112799}]) == "not reproduced"
    )
    assert (
        verdict(fact, [row, {**row, "value": 1}]) == "not reproduced"
        and verdict(fact, [{**row, "value": NAN}]) == "not reproduced"
    )
    assert (
        verdict(claim(kind="fact", expected=112800, tolerance=1), [{**row, "value": 112799}]) == "reproduced"
    )
    for way, want, good, bad in (("above", 3, 4, 3), ("below", 3, 2, 3), ("between", [3, 4], 4, 5)):
        c = claim(kind="fact", expected=want, direction=way)
        assert (
            verdict(c, [{**row, "value": good}]) == "reproduced"
            and verdict(c, [{**row, "value": bad}]) == "not reproduced"
        )
    assert "112,800" in judge(fact, [row], "paper")["ours"]


# ---------------------------------------------------------------- rule 2: fixed beforehand


def test_amendment():
    first = judge(bound(), rows(HIGH), "desk")
    assert not first["amended"] and not judge(bound(), rows(LOW), "paper", previous=first)["amended"]
    assert not judge({**bound(bound=0.9), "sentence": "Better worded."}, rows(HIGH), "paper", previous=first)[
        "amended"
    ]
    changed = judge(bound(bound=0.8), rows(HIGH), "paper", previous=first)
    assert changed["amended"] and judge(bound(bound=0.8), rows(HIGH), "paper", previous=changed)["amended"], (
        "the mark stays"
    )
    assert not judge(bound(bound=0.8), rows(HIGH), "paper", previous=judge(bound(), rows(HIGH), "quick"))[
        "amended"
    ], "quick fixes nothing"
    waiting = {**bound(), "waits_for": "metrics to come"}
    assert claim_hash(waiting) == claim_hash(bound()) and claim_hash(bound(bound=1)) == claim_hash(
        bound(bound=1.0)
    ) != claim_hash(bound(bound=1.1))


def test_a_judged_claim_cannot_vanish():
    other = {**bound(), "id": "other"}
    old = judge_all([bound(), other], rows(HIGH), "paper")
    new = judge_all([bound()], rows(HIGH), "paper", previous=old)
    assert (
        [c["id"] for c in new] == ["a-claim", "other"]
        and new[1]["amended"]
        and new[1]["verdict"] == "not testable here"
        and "taken out" in new[1]["reason"]
    )
    assert (
        len(
            judge_all(
                [bound()], rows(HIGH), "paper", previous=judge_all([bound(), other], rows(HIGH), "quick")
            )
        )
        == 1
    )
    assert judge_all([bound()], rows(HIGH), "paper", previous=new)[1]["amended"], (
        "a vanished claim is still listed in the next run"
    )


# ---------------------------------------------------------------- rules 3 and 4: intervals decide


def test_directional_bound():
    assert [verdict(bound(), rows(v)) for v in (HIGH, WIDE, LOW)] == [
        "reproduced",
        "inconclusive",
        "not reproduced",
    ]
    assert [verdict(bound(direction="below"), rows(v)) for v in (HIGH, WIDE, LOW)] == [
        "not reproduced",
        "inconclusive",
        "reproduced",
    ]
    assert [verdict(bound(direction="between", bound=[0.6, 0.8]), rows(v)) for v in (HIGH, LOW)] == [
        "not reproduced",
        "reproduced",
    ]
    assert verdict(bound(direction="between", bound=[0.6, 0.70]), rows(LOW)) == "inconclusive"
    assert (
        verdict(bound(margin=0.05), rows(HIGH)) == "reproduced"
        and verdict(bound(margin=0.07), rows(HIGH)) == "inconclusive"
        and verdict(bound(margin=0.09), rows(HIGH)) == "not reproduced"
    )


def test_an_interval_that_ends_at_the_bound_is_not_beyond_it():
    "The same value in every seed: no width, and exactly on the bound."
    one = [1.0] * 5
    assert verdict(difference(), two(one, one)) == "inconclusive"
    assert verdict(bound(bound=1.0), rows(one)) == "inconclusive"
    assert verdict(bound(bound=1.0, direction="below"), rows(one)) == "inconclusive"
    assert verdict(same(margin=1.0), two([2.0] * 5, one)) == "inconclusive"
    assert verdict(no_harm(margin=1.0), two([0.0] * 5, one)) == "inconclusive"


@pytest.mark.parametrize(
    "low, high, target",
    [
        (0.0, 1.0, (0.0, math.inf)),
        (-1.0, 0.0, (0.0, math.inf)),
        (-1.0, 0.0, (-math.inf, 0.0)),
        (0.0, 1.0, (-math.inf, 0.0)),
        (-1.0, 0.5, (-1.0, 1.0)),
        (-0.5, 1.0, (-1.0, 1.0)),
    ],
)
def test_touching_the_edge_settles_nothing(low, high, target):
    assert decide(low, high, target) == "inconclusive"


def test_the_interval_is_the_95_percent_one():
    x = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    reach = stats.t.ppf(0.975, 4) * x.std(ddof=1) / np.sqrt(5)
    just_inside, just_outside = rows(x + 0.9 + reach - 2 + 1e-6), rows(x + 0.9 + reach - 2 - 1e-6)
    assert verdict(bound(), just_inside) == "reproduced" and verdict(bound(), just_outside) == "inconclusive"
    r = judge(bound(), rows(x), "paper")
    assert (
        r["interval"] == pytest.approx([2 - reach, 2 + reach])
        and r["parts"][0]["level"] == 0.95
        and r["parts"][0]["target"] == [0.9, None]
    )


def test_swapping_the_arms_flips_the_verdict():
    up, base = [2.0, 2.1, 1.9, 2.2, 2.0], [1.0, 1.2, 0.9, 1.1, 1.0]
    assert (
        verdict(difference(), two(up, base)) == "reproduced"
        and verdict(difference(arms=["b", "a"]), two(up, base)) == "not reproduced"
    )
    assert (
        verdict(difference(direction="below"), two(up, base)) == "not reproduced"
        and verdict(difference(), two(base, up)) == "not reproduced"
    )
    assert (
        verdict(no_harm(), two(up, base)) == "reproduced"
        and verdict(no_harm(), two(base, up)) == "not reproduced"
        and verdict(no_harm(better="lower"), two(base, up)) == "reproduced"
    )
    assert (
        verdict(difference(margin=0.5), two(up, base)) == "reproduced"
        and verdict(difference(margin=2), two(up, base)) == "not reproduced"
    )


def test_paired_or_welch():
    luck = np.array([0.0, 5.0, 10.0, -5.0, -10.0])
    a, b = luck + 1 + np.array([0.1, -0.1, 0.0, 0.05, -0.05]), luck
    paired, welch = (
        judge(difference(), two(a, b), "paper"),
        judge(difference(paired=False), two(a, b), "paper"),
    )
    assert paired["verdict"] == "reproduced" and welch["verdict"] == "inconclusive"
    assert welch["interval"] == pytest.approx(welch_interval(a, b)[1:3]) and paired[
        "interval"
    ] == pytest.approx(paired_interval(a, b)[1:3])
    assert paired["parts"][0]["sign_flip_p"] == 0.0625 and welch["parts"][0]["sign_flip_p"] is None


def test_pairs_are_matched_by_seed_and_not_by_place():
    a = rows([1, 2, 3, 4, 5.1], "a")
    b = rows([0, 1, 2, 3, 4], "b")
    assert judge(difference(), a + b[::-1], "paper")["interval"] == pytest.approx(
        judge(difference(), a + b, "paper")["interval"]
    )
    extra = judge(difference(), a + b + rows([7], "a", first=9), "paper")
    assert extra["n"] == 5 and "Seed 9 stands in one arm only" in extra["reason"]
    apart = judge(difference(), a + rows([0, 1, 2, 3, 4], "b", first=20), "paper")
    assert apart["verdict"] == "inconclusive" and apart["interval"] is None


# ---------------------------------------------------------------- rule 5: the same, no harm


def test_equivalence_needs_a_narrow_interval():
    near, base = [1.01, 1.21, 0.92, 1.09, 1.00], [1.0, 1.2, 0.9, 1.1, 1.0]
    assert verdict(same(), two(near, base)) == "reproduced"
    wild = [1.5, 0.7, 1.4, 0.6, 1.1]  # p is far above 0.05, and yet nothing is shown
    assert (
        stats.ttest_rel(wild, base).pvalue > 0.5
        and verdict(same(), two(wild, base)) == "inconclusive"
        and verdict(no_harm(), two(wild, base)) == "inconclusive"
    )
    assert (
        verdict(same(), two(np.array(near) + 0.5, base)) == "not reproduced"
        and verdict(no_harm(), two(np.array(near) + 0.5, base)) == "reproduced"
    )
    assert verdict(no_harm(), two(np.array(near) - 0.5, base)) == "not reproduced"


def test_equivalence_uses_the_90_percent_interval():
    d = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    reach = stats.t.ppf(0.95, 4) * d.std(ddof=1) / np.sqrt(5)
    for make in (same, no_harm):
        assert (
            verdict(make(margin=float(reach + 1e-6)), two(d, 0 * d)) == "reproduced"
            and verdict(make(margin=float(reach - 1e-6)), two(d, 0 * d)) == "inconclusive"
        )
    assert judge(same(margin=9), two(d, 0 * d), "paper")["parts"][0]["level"] == 0.90


# ---------------------------------------------------------------- rule 6: best of, all, any


def order(**more):
    return claim(
        **{
            "kind": "order",
            "comparisons": [["a", "b"], ["a", "c"]],
            "direction": "above",
            "margin": 0,
            **more,
        }
    )


def test_best_of_needs_every_comparison():
    a, b, c = [3.0, 3.1, 2.9, 3.2, 3.0], [1.0, 1.2, 0.9, 1.1, 1.0], [3.0, 3.0, 3.0, 3.1, 3.05]
    assert verdict(order(), two(a, b) + rows(b, "c")) == "reproduced"
    assert verdict(order(), two(a, b) + rows(c, "c")) == "inconclusive"
    assert (
        verdict(order(), two(a, b) + rows(np.array(a) + 1 + np.array([0, 0.1, 0, 0.1, 0]), "c"))
        == "not reproduced"
    )
    r = judge(order(), two(a, b), "paper")
    assert (
        r["verdict"] == "not testable here"
        and "Nothing was measured here: m of c on d." in r["reason"]
        and len(r["parts"]) == 2
    )
    assert verdict(order(need="any"), two(a, b) + rows(c, "c")) == "reproduced"
    nobody_listed = judge(order(), two(a, b) + rows(b, "c") + rows(np.array(a) + 9, "d"), "paper")
    assert nobody_listed["verdict"] == "reproduced" and all(
        "d" not in p["label"].split() for p in nobody_listed["parts"]
    )


def test_any_uses_holm():
    lucky = np.array([0.4, 1.6, 0.9, 1.1, 0.3])  # alone: one-sided p about 0.009
    p = stats.ttest_1samp(lucky, 0, alternative="greater").pvalue
    assert 0.025 / 4 < p < 0.025 / 2
    flat = np.array([1.0, -1.0, 0.5, -0.5, 0.0])

    def table(k):
        return (
            rows(lucky, "a1")
            + [r for i in range(2, k + 1) for r in rows(flat, f"a{i}")]
            + rows(0 * flat, "b")
        )

    def test(k):
        return claim(
            kind="order",
            need="any",
            comparisons=[[f"a{i}", "b"] for i in range(1, k + 1)],
            direction="above",
            margin=0,
        )

    assert (
        verdict(difference(arms=["a1", "b"]), table(1)) == "reproduced"
        and verdict(test(2), table(2)) == "reproduced"
    )
    assert verdict(test(4), table(4)) == "inconclusive", "one of four by luck is not enough"
    assert verdict(test(2), [r for r in table(2) if r["seed"] < 4]) == "inconclusive"
    assert (
        verdict(
            claim(kind="order", need="any", comparisons=[["b", "a1"]], direction="above", margin=0), table(1)
        )
        == "not reproduced"
    )


def test_the_same_bound_on_three_data_sets():
    c = bound(datasets=["x", "y", "z"])
    del c["test"]["dataset"]

    def table(z):
        return rows(HIGH, dataset="x") + rows(HIGH, dataset="y") + rows(z, dataset="z")

    r = judge(c, table(HIGH), "paper")
    assert (
        r["verdict"] == "reproduced" and [p["label"] for p in r["parts"]] == ["x", "y", "z"] and r["n"] == 5
    )
    assert [verdict(c, table(z)) for z in (WIDE, LOW, HIGH[:3])] == [
        "inconclusive",
        "not reproduced",
        "inconclusive",
    ]
    missing = judge(c, table(HIGH), "desk", missing={"z": "the pack has no z"})
    assert (
        missing["verdict"] == "not testable here"
        and "The pack has no z." in missing["reason"]
        and missing["ours"].startswith("x 0.974 [")
        and "two hold and one cannot be tested here" in missing["reason"]
    )
    assert verdict(c, [r for r in table(LOW) if r["dataset"] != "y"]) == "not reproduced", (
        "one refuted part is enough, whatever is missing"
    )


def test_all_of_several_tests():
    c = claim(
        kind="all",
        arm="a",
        tests=[
            {"kind": "bound", "direction": "above", "bound": 0.9},
            {"kind": "bound", "metric": "fake", "direction": "below", "bound": 0.2, "label": "fakes"},
        ],
    )
    low = rows([0.1, 0.12, 0.09, 0.11, 0.1], metric="fake")
    assert (
        verdict(c, rows(HIGH) + low) == "reproduced"
        and verdict(c, rows(LOW) + low) == "not reproduced"
        and verdict(c, rows(WIDE) + low) == "inconclusive"
    )
    assert "reproduced" == verdict({**c, "test": {**c["test"], "kind": "any"}}, rows(LOW) + low)


# ---------------------------------------------------------------- rule 7: five units


@pytest.mark.parametrize(
    "make, table",
    [
        (bound, lambda n: rows(HIGH[:n])),
        (difference, lambda n: two([2, 2.1, 1.9, 2.2, 2][:n], [1, 1.1, 1, 1.2, 1][:n])),
        (
            lambda: difference(paired=False),
            lambda n: rows([2, 2.1, 1.9, 2.2, 2], "a") + rows([1, 1.1, 1, 1.2, 1][:n], "b"),
        ),
        (same, lambda n: two([1, 1.01, 1, 1, 1][:n], [1, 1, 1.01, 1, 1][:n])),
        (no_harm, lambda n: two([1, 1.01, 1, 1, 1][:n], [1, 1, 1.01, 1, 1][:n])),
        (events, lambda n: two([0] * 5, [1] * n)),
    ],
)
def test_fewer_than_five_units_is_inconclusive(make, table):
    assert verdict(make(), table(5)) == "reproduced"
    r = judge(make(), table(4), "paper")
    assert r["verdict"] == "inconclusive" and r["n"] == 4 and "at least 5" in r["reason"]
    if make is not events:
        assert r["interval"] and r["value" if "value" in r else "ours"]
    assert judge(make(), table(1), "paper")["verdict"] == "inconclusive"


def test_seeds_that_the_claim_fixed():
    assert (
        verdict(bound(seeds=6), rows(HIGH)) == "inconclusive"
        and verdict(bound(seeds=[0, 1, 2, 3, 4]), rows(HIGH + [0.97])) == "reproduced"
    )
    r = judge(bound(seeds=[0, 1, 2, 3, 7]), rows(HIGH), "paper")
    assert r["verdict"] == "inconclusive" and "seed 7 is missing" in r["reason"]
    assert "five classifiers cannot tell" in judge(bound(units="classifier"), rows(WIDE), "paper")["reason"]


# ---------------------------------------------------------------- rule 8: events


def test_events():
    assert (
        verdict(events(), two([0] * 5, [1, 1, 1, 1, 0])) == "reproduced"
        and verdict(events(), two([0] * 5, [1, 1, 1, 0, 0])) == "inconclusive"
    )
    assert verdict(events(), two([1] * 5, [0, 0, 0, 0, 1])) == "not reproduced"
    assert verdict(events(), two([0] * 6, [1, 1, 1, 1, 0, 0])) == "inconclusive", (
        "one-sided p = 0.030 is not below 0.025"
    )
    r = judge(events(), two([0] * 5, [0] * 5), "paper")
    assert (
        r["verdict"] == "inconclusive"
        and "never happened" in r["reason"]
        and r["ours"] == "0 of 5 (a), 0 of 5 (b)"
    )
    assert (
        verdict(events(), two([0] * 30, [0] * 30))
        == verdict(events(), two([1] * 5, [0] * 5))
        == "inconclusive"
    ), "a control that never fails compares nothing"
    assert (
        verdict(events(direction="more"), two([1] * 5, [0] * 5)) == "reproduced"
        and verdict(events(direction="more"), two([0] * 5, [1] * 5)) == "inconclusive"
    )
    assert verdict(events(), two([0] * 5, [NAN, None, 1, math.inf, 0])) == "reproduced", (
        "a diverged seed is an event"
    )
    with pytest.raises(GannbError, match="0 or 1"):
        judge(events(), two([0.5] * 5, [1] * 5), "paper")


# ---------------------------------------------------------------- rule 9: the setting decides who is judged


@pytest.mark.parametrize("setting", ["smoke", "quick", "custom"])
def test_settings_that_never_judge(setting):
    r = judge(bound(), rows(HIGH), setting)
    assert (
        r["verdict"] == "not testable here"
        and setting in r["reason"]
        and r["ours"].startswith("0.97")
        and r["interval"]
        and r["n"] == 5
    )
    assert all(
        p["verdict"] == "not testable here" and p["p"] is None and p["sign_flip_p"] is None
        for p in r["parts"]
    ) and "as the claim needs" not in json.dumps(r)
    nested = judge(order(), two(HIGH, LOW) + rows(LOW, "c"), setting)
    assert nested["verdict"] == "not testable here" and all(
        p["verdict"] == "not testable here" and p["interval"] for p in nested["parts"]
    )
    assert (
        verdict(
            claim(kind="fact", expected=1),
            [{"arm": None, "dataset": "d", "seed": None, "step": None, "metric": "m", "value": 1}],
            setting,
        )
        == "not testable here"
    )


def test_desk_and_paper_judge():
    desk, paper = judge(bound(), rows(HIGH), "desk"), judge(bound(), rows(HIGH), "paper")
    assert (
        desk["reason"]
        == paper["reason"]
        == "On d, m (a) is 0.974 [0.960, 0.988]; the claim needs more than 0.9."
    ), "the verdict stands beside its reason, not in it"
    assert verdict_words(desk) == verdict_words(paper) == "✓ reproduced"
    with pytest.raises(GannbError, match="Did you mean 'paper'"):
        judge(bound(), rows(HIGH), "papre")


@pytest.mark.parametrize(
    "test, words",
    [
        ({"kind": "people", "question": "Do bananas look best?"}, "bananas"),
        ({"kind": "waits", "what": "metrics to come"}, "metrics to come"),
        ({"kind": "proposal", "what": "SimCLR"}, "SimCLR"),
    ],
)
@pytest.mark.parametrize("setting", SETTINGS)
def test_what_is_never_testable(test, words, setting):
    r = judge(never(**test), [], setting)
    assert (
        r["verdict"] == "not testable here"
        and words in r["reason"]
        and r["ours"].startswith("n/a (")
        and r["interval"] is None
    )


def test_waiting_and_missing():
    r = judge({**bound(), "waits_for": "metrics to come"}, rows(HIGH), "paper")
    assert r["verdict"] == "not testable here" and "metrics to come" in r["reason"] and r["interval"] is None
    assert "Nothing was measured here: m of a on d." in judge(bound(), [], "paper")["reason"]
    gone = judge(bound(), rows(HIGH), "paper", missing={"d": "the pack has no Grape."})
    assert (
        gone["verdict"] == "not testable here"
        and gone["reason"] == "The pack has no Grape."
        and ".." not in gone["reason"]
    )


# ---------------------------------------------------------------- rule 10: comparable scores only


def test_unlike_protocols_are_not_compared():
    card = {"n_real": 5000, "n_fake": 5000, "network": "domain"}
    good, base = [2.0, 2.1, 1.9, 2.2, 2.0], [1.0, 1.2, 0.9, 1.1, 1.0]

    def table(other):
        return rows(good, "a", protocol=card) + rows(base, "b", protocol=other)

    assert (
        verdict(difference(), table(dict(card))) == "reproduced"
        and verdict(difference(), table({**card, "seeds": [1], "seed": 1})) == "reproduced"
    )
    for other in ({**card, "n_fake": 500}, {k: v for k, v in card.items() if k != "n_fake"}, None, "card"):
        r = judge(difference(), table(other), "paper")
        assert (
            r["verdict"] == "not testable here"
            and r["interval"] is None
            and "the number of fakes differs (5000 against" in r["reason"]
        )
    assert (
        verdict(difference(factor="n_fake"), table({**card, "n_fake": 500})) == "reproduced"
        and verdict(difference(factor="n_real"), table({**card, "n_fake": 500})) == "not testable here"
    )
    assert (
        verdict(difference(factor=["n_fake", "network"]), table({**card, "n_fake": 500, "network": "other"}))
        == "reproduced"
    )
    mixed = rows(HIGH[:3], protocol=card) + rows(HIGH[3:], protocol={**card, "network": "other"}, first=3)
    assert verdict(bound(), mixed) == "not testable here", "within one arm, too"


def test_fid_of_few_images_decides_nothing():
    def table(n, metric="fid"):
        return rows([9, 9.1, 9.2, 9, 9.1], metric=metric, protocol={"n_real": n, "n_fake": n})

    c = bound(metric="fid", direction="below", bound=10)
    assert verdict(c, table(2048)) == "reproduced"
    small = judge(c, table(2047), "paper")
    assert small["verdict"] == "not testable here" and "2,048" in small["reason"] and small["interval"]
    assert verdict(c, rows([9, 9.1, 9.2, 9, 9.1], metric="fid")) == "not testable here", (
        "unknown numbers do not help"
    )
    assert verdict(bound(metric="kid", direction="below", bound=10), table(500, "kid")) == "reproduced"
    study = difference(metric="fid", arms=["few", "many"], factor=["n_real", "n_fake"])
    assert (
        verdict(
            study,
            rows([30, 31, 32, 30, 31], "few", metric="fid", protocol={"n_real": 500, "n_fake": 500})
            + rows([9, 9.1, 9.2, 9, 9.1], "many", metric="fid", protocol={"n_real": 5000, "n_fake": 5000}),
        )
        == "reproduced"
    )


def test_data_sets_are_compared_only_when_normalised():
    arms = [{"arm": "dcgan", "dataset": "x"}, {"arm": "dcgan", "dataset": "y"}]
    c = difference(arms=arms, normalised="untrained G 0, held-out real 1")
    assert (
        verdict(c, rows(HIGH, "dcgan", "x") + rows(LOW, "dcgan", "y")) == "reproduced"
        and "dcgan on x" in judge(c, rows(HIGH, "dcgan", "x") + rows(LOW, "dcgan", "y"), "paper")["reason"]
    )
    with pytest.raises(GannbError, match="normalised"):
        check_claim(difference(arms=arms))


# ---------------------------------------------------------------- rule 11: a range over open choices


def test_published_number_against_the_range_of_choices():
    def table(x, y):
        return rows(x, "resize-a") + rows(y, "resize-b")

    low, high = [10, 10.1, 9.9, 10, 10.05], [20, 20.1, 19.9, 20, 20.05]

    def c(value, margin=0):
        return claim(kind="range", value=value, choices=["resize-a", "resize-b"], margin=margin)

    assert [verdict(c(v), table(low, high)) for v in (15, 5, 25, 10, 20.05)] == [
        "reproduced",
        "not reproduced",
        "not reproduced",
        "inconclusive",
        "inconclusive",
    ]
    assert (
        verdict(c(21, 2), table(low, high)) == "reproduced"
        and verdict(c(15), table(low, high[:4])) == "inconclusive"
    )
    assert judge(c(15), table(low, high), "paper")["parts"][0]["level"] == pytest.approx(0.95), (
        "widened for two choices"
    )
    cards = rows(low, "resize-a", protocol={"resize": "a"}) + rows(high, "resize-b", protocol={"resize": "b"})
    assert verdict(c(15), cards) == "not testable here"
    named = c(15)
    named["test"]["factor"] = "resize"
    assert verdict(named, cards) == "reproduced"
    exact = claim(kind="range", value=6405, choices=["first-word", "whole"], margin=0, units="none")
    assert (
        verdict(exact, rows([6404], "first-word") + rows([6405], "whole")) == "reproduced"
        and verdict(exact, rows([6404], "first-word") + rows([6403], "whole")) == "not reproduced"
    )


# ---------------------------------------------------------------- rule 12: artefact

ARTEFACT = {
    "kind": "artefact",
    "arm": "a",
    "dataset": "d",
    "reason": "r",
    "number": {"kind": "bound", "metric": "published", "direction": "above", "bound": 0.9},
    "counterpart": {"kind": "bound", "metric": "counterpart", "direction": "above", "bound": 0.9},
    "mechanism": {"kind": "bound", "metric": "mechanism", "direction": "above", "bound": 0.9},
    "removed": {"kind": "bound", "metric": "removed", "direction": "above", "bound": 0.9},
}


@pytest.mark.parametrize(
    "number, mechanism, removed, want",
    [
        (HIGH, HIGH, LOW, "artefact"),
        (LOW, HIGH, LOW, "not reproduced"),
        (HIGH, LOW, LOW, "inconclusive"),
        (HIGH, WIDE, LOW, "inconclusive"),
        (HIGH, HIGH, HIGH, "reproduced"),
        (HIGH, HIGH, WIDE, "inconclusive"),
        (WIDE, HIGH, LOW, "inconclusive"),
        (HIGH, HIGH, LOW[:4], "inconclusive"),
        (HIGH, HIGH, [], "not testable here"),
    ],
)
def test_artefact_needs_three_things(number, mechanism, removed, want):
    rest = rows(mechanism, metric="mechanism") + rows(removed, metric="removed")
    c = never(**ARTEFACT)
    assert (
        verdict(c, rows(number, metric="published") + rows(LOW, metric="counterpart") + rest, "paper") == want
    )
    assert (
        verdict(c, rows(LOW, metric="published") + rows(number, metric="counterpart") + rest, "desk") == want
    ), "at desk the counterpart must come out"


# ---------------------------------------------------------------- rules 13 and 14, and gates


def test_scores_on_seen_images_decide_nothing():
    assert verdict(bound(), rows(HIGH, protocol={"held_out": True})) == "reproduced"
    r = judge(bound(), rows(HIGH, protocol={"held_out": False}), "paper")
    assert r["verdict"] == "not testable here" and r["interval"] and "training has seen" in r["reason"]
    seen = rows([x + 0.2 for x in LOW], "a", protocol={"held_out": False}) + rows(
        [x - i / 100 for i, x in enumerate(LOW)], "b", protocol={"held_out": True}
    )
    assert verdict(difference(factor="held_out"), seen) == "reproduced", (
        "training against held-out reals, as the declared factor"
    )


def test_memorisation():
    c = claim(
        kind="memorisation",
        arm="a",
        margin=0.05,
        planted={"kind": "bound", "metric": "planted", "direction": "above", "bound": 0.55},
        quality={"kind": "bound", "metric": "quality", "direction": "above", "bound": 0.7},
    )
    half, much = [0.50, 0.51, 0.49, 0.50, 0.51], [0.7, 0.72, 0.69, 0.71, 0.7]

    def table(share, planted=much, quality=HIGH):
        return rows(share) + rows(planted, metric="planted") + rows(quality, metric="quality")

    assert verdict(c, table(much)) == "reproduced" and verdict(c, table(half)) == "not reproduced"
    assert (
        verdict(c, table(much, planted=half))
        == verdict(c, table(half, planted=half))
        == "inconclusive"
        == verdict(c, table(half, quality=[0.2, 0.3, 0.25, 0.2, 0.3]))
    )
    assert verdict(c, table(half, quality=[0.72, 0.721, 0.719, 0.72, 0.72])) == "not reproduced", (
        "a gate does not take over the margin"
    )
    assert verdict(c, rows(much) + rows(much, metric="planted")) == "not testable here"


def test_required_tests_come_first():
    c = bound(
        requires=[{"kind": "bound", "metric": "works", "direction": "above", "bound": 0.5, "reason": "r"}]
    )
    assert verdict(c, rows(HIGH) + rows(HIGH, metric="works")) == "reproduced"
    r = judge(c, rows(HIGH) + rows([0.1, 0.2, 0.1, 0.2, 0.1], metric="works"), "paper")
    assert r["verdict"] == "inconclusive" and "must pass first" in r["reason"]
    both = bound(datasets=["x", "y"], requires=c["test"]["requires"])
    del both["test"]["dataset"]
    table = [
        r
        for d in "xy"
        for r in rows(HIGH, dataset=d) + rows(HIGH if d == "x" else LOW[:4], metric="works", dataset=d)
    ]
    assert verdict(both, table) == "inconclusive"


# ---------------------------------------------------------------- slopes and correlations


def test_slope_per_seed():
    c = claim(
        kind="slope", over={"c25": 0.25, "c50": 0.5, "c100": 1.0}, direction="above", bound=0, margin=0.1
    )

    def table(k, n=5):
        return [
            r
            for arm, x in (("c25", 0.25), ("c50", 0.5), ("c100", 1.0))
            for r in rows([0.1 * s + k * x + 0.01 * ((s * 7) % 3) * x for s in range(n)], arm)
        ]

    r = judge(c, table(1), "paper")
    assert (
        r["verdict"] == "reproduced"
        and r["interval"][0] == pytest.approx(1.0, abs=0.02)
        and verdict(c, table(-1)) == verdict(c, table(0)) == "not reproduced"
        and verdict(c, table(1, 4)) == "inconclusive"
    )
    steps = claim(kind="slope", arm="a", over="step", direction="below", bound=0)
    curve = [r for t in (1, 2, 3, 4) for r in rows([5 - t + 0.1 * s * t for s in range(5)], step=t)] + rows(
        [99] * 5
    )
    assert verdict(steps, curve) == "reproduced", "the label 'end' is no point of the curve"
    assert verdict(steps, curve[:10]) == "not testable here"


def test_rank_correlation_of_two_metrics_inside_each_run():
    c = claim(kind="correlation", arm="a", metric="loss", **{"with": "kid"}, direction="above", bound=0.3)
    x = {1: 1.0, 2: 2.0, 3: 30.0, 4: 31.0, 5: 500.0}

    def table(f):
        return [
            r
            for t, v in x.items()
            for r in rows([v + 0.01 * s for s in range(5)], metric="loss", step=t)
            + rows([f(t, s) for s in range(5)], metric="kid", step=t, protocol={"net": "domain"})
        ]

    r = judge(c, table(lambda t, s: t**3), "paper")
    assert (
        r["verdict"] == "reproduced"
        and r["interval"] == pytest.approx([1, 1])
        and verdict(c, table(lambda t, s: -t)) == "not reproduced"
    )
    assert (
        judge({**c, "test": {**c["test"], "method": "pearson"}}, table(lambda t, s: t**3), "paper")[
            "interval"
        ][1]
        < 0.95
    )
    flat = judge(c, table(lambda t, s: 1.0), "paper")
    assert flat["verdict"] == "inconclusive" and "nothing varied" in flat["reason"]


# ---------------------------------------------------------------- claims.json


def test_claims_json_has_exactly_what_the_house_asks():
    must = {
        "id",
        "sentence",
        "where",
        "supported_by_paper",
        "test",
        "setting",
        "published",
        "ours",
        "interval",
        "seeds",
        "n",
        "verdict",
        "reason",
        "evidence",
        "amended",
    }
    tables = {
        "reproduced": rows(HIGH),
        "not reproduced": rows(LOW),
        "inconclusive": rows(WIDE),
        "not testable here": [],
    }
    for want, table in tables.items():
        r = json.loads(
            json.dumps(judge({**bound(), "evidence": ["tables/x.csv"]}, table, "desk"), allow_nan=False)
        )
        assert (
            must <= set(r)
            and r["verdict"] == want
            and len(r["reason"]) > 20
            and r["ours"]
            and r["published"] == "0.9"
            and r["evidence"] == ["tables/x.csv"]
        )
        assert (
            {"quantity", "arms", "direction", "margin", "reason"} <= set(r["test"])
            and r["rule"]
            and isinstance(r["amended"], bool)
        )
    assert judge({**bound(), "published": None}, [], "desk")["published"].startswith("n/a (")
    assert (
        judge({**bound(), "published": {"value": [1, 2.5], "unit": "%"}}, [], "desk")["published"]
        == "1, 2.5 %"
    )


def test_judging_changes_nothing_it_was_given():
    c, table = never(**ARTEFACT), rows(HIGH, metric="published")
    before = copy.deepcopy((c, table))
    judge(c, table, "quick")
    assert (c, table) == before


def test_counts_and_headline():
    found = {"reproduced": "D wins on letters.", "not reproduced": "d loses"}
    judged = [judge({**bound(), "findings": found}, rows(v), "paper") for v in (HIGH, LOW, WIDE)]
    assert counts(judged) == {
        "reproduced": 1,
        "not reproduced": 1,
        "artefact": 0,
        "inconclusive": 1,
        "not testable here": 0,
    } and list(counts([])) == list(VERDICTS) == list(MARKS)
    assert headline(judged) == "D wins on letters; d loses."
    plain = [judge(bound(), rows(v), "paper") for v in (HIGH, HIGH, LOW, WIDE)]
    assert headline(plain) == "Of 4 claims 2 are reproduced, 1 is not reproduced and 1 is left open."
    assert "quick run judges nothing" in headline(
        [judge(bound(), rows(HIGH), "quick")]
    ) and "None of the 1" in headline([judge(bound(), [], "desk")])
    assert MARKS == {
        "reproduced": "✓",
        "not reproduced": "✗",
        "artefact": "◆",
        "inconclusive": "~",
        "not testable here": "–",
    }


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    "row, words",
    [
        ({"arm": "a"}, "dataset"),
        ([1], "mapping"),
        ({**rows([1])[0], "value": "0.9"}, "number"),
        ({**rows([1])[0], "seed": "0"}, "seed"),
        ({**rows([1])[0], "seed": 1.5}, "seed"),
        ({("vaule" if k == "value" else k): v for k, v in rows([1])[0].items()}, "vaule"),
    ],
)
def test_malformed_rows(row, words):
    with pytest.raises(GannbError, match=words):
        judge(bound(), [*rows(HIGH), row], "paper")


def test_a_unit_without_a_seed():
    with pytest.raises(GannbError, match="no seed"):
        judge(bound(), [{**r, "seed": None} for r in rows(HIGH)], "paper")


GOOD = [bound(), difference(), same(), no_harm(), events(), order(), never(**ARTEFACT)]
MALFORMED = [
    ("claim", {"id": None}, "id must be"),
    ("claim", {"id": "Two Words"}, "id must be"),
    ("claim", {"id": False}, "id must be"),
    ("claim", {"sentence": ""}, "sentence"),
    ("claim", {"short": "x" * 61}, "60"),
    ("claim", {"where": 4.1}, "where"),
    ("claim", {"supported_by_paper": "yes"}, "true, false or null"),
    ("claim", {"supported_by_paper": 1}, "true, false or null"),
    ("claim", {"supported_reason": None}, "supported_reason"),
    ("claim", {"published": NAN}, "published"),
    ("claim", {"published": {"val": 1}}, "published"),
    ("claim", {"waits_for": True}, "waits_for"),
    ("claim", {"evidence": "x.csv"}, "evidence"),
    ("claim", {"sentense": "x"}, "sentence"),
    ("claim", {"findings": {"reproducd": "x"}}, "reproduced"),
    ("claim", {"findings": {"reproduced": 1}}, "findings"),
    ("claim", {"findings": "x"}, "findings"),
    ("claim", {"test": None}, "mapping with a kind"),
    ("claim", {"test": {}}, "kind is missing"),
    ("test", {"kind": "boudn"}, "Did you mean 'bound'"),
    ("test", {"kind": True}, "kind"),
    ("test", {"direction": "abvoe"}, "Did you mean 'above'"),
    ("test", {"bound": "9e-1"}, "bound must be"),
    ("test", {"bound": True}, "bound must be"),
    ("test", {"bound": math.inf}, "bound must be"),
    ("test", {"bound": [1, 2]}, "between"),
    ("test", {"direction": "between"}, "between"),
    ("test", {"direction": "between", "bound": [2, 1]}, "bound must be"),
    ("test", {"direction": "between", "bound": [1, 2], "margin": 0.1}, "margin"),
    ("test", {"margin": -1}, "zero or more"),
    ("test", {"magrin": 1}, "margin"),
    ("test", {"seeds": 4}, "seeds"),
    ("test", {"seeds": [1, 2, 3]}, "seeds"),
    ("test", {"seeds": [1, 1, 2, 3, 4]}, "seeds"),
    ("test", {"units": "image"}, "units"),
    ("test", {"units": "none"}, "units"),
    ("test", {"metric": "fd_infinity"}, "KID"),
    ("test", {"metric": "kid_std"}, "KID"),
    ("test", {"metric": 3}, "metric"),
    ("test", {"datasets": ["x"]}, "dataset"),
    ("test", {"arms": ["a", "b"]}, "arm"),
    ("test", {"factor": 1}, "factor"),
    ("test", {"at": None}, "at"),
    ("test", {"setting": {"desk": NAN}}, "setting"),
    ("test", {"if_diverged": NAN}, "if_diverged"),
    ("test", {"requires": []}, "requires"),
    ("test", {"requires": [{"kind": "bound"}]}, "requires"),
    ("test", {"arm": {"arm": "a", "datset": "x"}}, "arm"),
    ("gone", "reason", "reason is missing"),
    ("gone", "bound", "bound is missing"),
    ("gone", "direction", "direction is missing"),
    ("gone", "metric", "metric is missing"),
    ("gone", "arm", "arm is missing"),
    ("gone", "dataset", "dataset is missing"),
]


@pytest.mark.parametrize("how, what, words", MALFORMED)
def test_malformed_claims(how, what, words):
    c = bound()
    if how == "claim":
        c.update(what)
    elif how == "test":
        c["test"].update(what)
    else:
        del c["test"][what]
    with pytest.raises(GannbError, match=words) as e:
        check_claim(c)
    assert "claim" in str(e.value)
    with pytest.raises(GannbError):
        judge(c, rows(HIGH), "paper")


@pytest.mark.parametrize(
    "c, words",
    [
        (same(margin=0), "above zero"),
        (no_harm(margin=0), "above zero"),
        (no_harm(better="more"), "higher, lower"),
        (difference(arms=["a"]), "two different arms"),
        (difference(arms=["a", "a"]), "two different arms"),
        (difference(direction="between"), "above, below"),
        (difference(paired="yes"), "paired"),
        (order(comparisons=[]), "pairs"),
        (order(comparisons=["a", "b"]), "pairs"),
        (order(need="some"), "need"),
        (events(direction="above"), "fewer, more"),
        (claim(kind="events", arms=["a", "b"], direction="fewer"), "event is missing"),
        (claim(kind="fact", expected="many"), "expected"),
        (claim(kind="slope", direction="above", bound=0, over={"a": 1, "b": 2}), "over"),
        (claim(kind="slope", direction="above", bound=0, over="step"), "arm"),
        (claim(kind="correlation", direction="above", bound=0, arm="a"), "with"),
        (
            claim(kind="correlation", direction="above", bound=0, arm="a", over="step", **{"with": "kid"}),
            "with",
        ),
        (claim(kind="all", tests=[{"kind": "bound"}]), "at least two"),
        (
            claim(kind="any", arm="a", tests=[{"kind": "equivalence", "arms": ["a", "b"], "margin": 1}] * 2),
            "kind any",
        ),
        (claim(kind="all", arm="a", tests=["x", "y"]), "mapping"),
        (claim(kind="range", value=1, margin=0, choices=[]), "choices"),
        (claim(kind="artefact", number={}), "counterpart is missing"),
        (never(kind="people"), "question"),
        (never(kind="waits", what=""), "what"),
        (never(kind="proposal", what="x", margin=1), "not known"),
    ],
)
def test_malformed_tests_of_each_kind(c, words):
    with pytest.raises(GannbError, match=words):
        check_claim(c)


def message(c):
    "What check_claim says to a malformed claim."
    with pytest.raises(GannbError) as e:
        check_claim(c)
    return str(e.value)


def test_every_kind_has_its_schema():
    assert len(KINDS) == 18 and list(TESTS) == list(KINDS)
    for kind, schema in TESTS.items():
        assert f"a test of kind {kind} needs {', '.join(schema.needed())}." in message(never(kind=kind))


def test_all_that_is_wrong_is_said_at_once():
    c = bound(direction="abvoe", bonud=0.9, margin="x")
    del c["test"]["bound"]
    unknown, *others = message({**c, "short": ""}).splitlines()
    assert "test: field='bonud' is not known. Did you mean 'bound'?" in unknown, (
        "first what may be a misspelling"
    )
    for words in ("short must be", "direction='abvoe'", "margin must be", "bound is missing"):
        assert sum(words in line for line in others) == 1, words
    assert all(line.startswith("claim 'a-claim': ") for line in (unknown, *others))


def test_what_parts_took_over_is_refused_once():
    part = {"kind": "bound", "direction": "above", "bound": 0.9}
    text = message(claim(kind="all", arm="a", margin=-1, tests=[part, part]))
    assert "test.margin must be" in text and "tests[" not in text and "\n" not in text
    text = message(claim(kind="all", arm="a", tests=[part, {**part, "bound": "x", "magrin": 1}]))
    assert "test.tests[1].bound must be" in text and "test.tests[1]: field='magrin'" in text
    assert "tests[0]" not in text
    deep = claim(kind="all", arm="a", tests=[part, {"kind": "all", "tests": [part, {"kind": "boudn"}]}])
    assert "test.tests[1].tests[1].kind='boudn' is not known. Did you mean 'bound'?" in message(deep)


def test_parts_take_over_what_they_know():
    "Place and bound come from the test around; a part's own data set wins over the list around it."
    c = claim(kind="all", arm="a", direction="above", bound=0.9, tests=[{"kind": "bound"}, {"kind": "bound"}])
    del c["test"]["dataset"]
    c["test"]["datasets"] = ["x", "y"]
    c["test"]["tests"][1]["dataset"] = "z"
    table = rows(HIGH, dataset="x") + rows(HIGH, dataset="y") + rows(LOW, dataset="z")
    judged = judge(c, table, "paper")
    assert [p["verdict"] for p in judged["parts"]] == ["reproduced", "not reproduced"]
    assert [v["dataset"] for v in judged["values"]] == ["x", "y", "z"]
    part = {"kind": "bound", "datasets": ["x", "y"]}
    several = claim(kind="all", arm="a", dataset="z", direction="above", bound=0.9, tests=[part, part])
    assert [v["dataset"] for v in judge(several, table, "paper")["values"]] == ["x", "y"] * 2


@pytest.mark.parametrize(
    "test, words",
    [
        ({"kind": []}, "kind=[] is not known"),
        ({"kind": None}, "kind=None is not known"),
        ("bound", "must be a mapping with a kind"),
        ({**bound()["test"], "with_": "m"}, "field='with_' is not known."),
        ({**bound()["test"], "datasets": ("x", "y")}, "a list of different names"),
        ({**bound()["test"], 1: 2}, "field=1 is not known"),
    ],
)
def test_odd_forms_of_a_test(test, words):
    assert words in message({**bound(), "test": test})


def test_a_checked_claim_is_the_claim_that_was_given():
    for c in GOOD:
        before = copy.deepcopy(c)
        assert check_claim(c) is c and c == before


def test_a_long_table_of_steps_is_told_in_short():
    many = [r for step in range(30) for r in rows(HIGH, step=step)]
    said = judge(bound(), many, "paper")["reason"]
    assert "measured here: m of a on d (end); the steps are 0, 1, 10" in said and said.count(",") < 12
    assert judge(bound(at=3), Table(many), "paper")["verdict"] == "reproduced"


def test_tolerance_needs_a_reason():
    c = never(kind="fact", metric="m", expected=1, tolerance=1)
    with pytest.raises(GannbError, match="tolerance"):
        check_claim(c)


@pytest.mark.parametrize(
    "missing",
    ["id", "sentence", "short", "where", "supported_by_paper", "supported_reason", "published", "test"],
)
def test_each_field_of_a_claim_is_needed(missing):
    c = bound()
    del c[missing]
    with pytest.raises(GannbError, match=f"{missing} is missing"):
        check_claim(c)


def test_load_claims(tmp_path):
    import yaml

    claims = [{**c, "id": f"c-{i}"} for i, c in enumerate(GOOD)]
    text = yaml.safe_dump({"tables": {"x": 1}, "claims": claims}, allow_unicode=True)
    path = tmp_path / "paper.yaml"
    path.write_text(text, encoding="utf-8")
    assert (
        load_claims(text)
        == load_claims(path)
        == load_claims(str(path))
        == claims
        == load_claims(yaml.safe_dump(claims))
    )
    for bad, words in (
        (tmp_path / "none.yaml", "no claims file"),
        ("claims: [\n", "no valid YAML"),
        ("claims:\n", "list"),
        ("a: 1\n", "list"),
        (yaml.safe_dump([claims[0], claims[0]]), "used twice"),
        (text.replace("bound: 0.9", "bound: 0.9\n    bound: 0.8", 1), "stands twice"),
        ("claims:\n  - ? [a]\n    : 1\n", "key must be"),
        (
            text.replace("direction: above", "direction: abov", 1),
            "claim 'c-0', test.direction|claim 'c-0': test.direction",
        ),
    ):
        with pytest.raises(GannbError, match=words):
            load_claims(bad)


# ---------------------------------------------------------------- who checks the checker

TABLES = 2000


def rate(make, mean_a, mean_b, noise, luck=1.0, want="reproduced"):
    "The share of 2,000 simulated tables with this verdict, by `judge`; arms share the luck of their seed."
    rng = numpy_rng(0, f"ledger {make} {mean_a} {mean_b} {noise}")
    x = (
        np.array([[mean_a], [mean_b]]) * noise
        + noise * luck * 3 * rng.standard_normal((TABLES, 1, 5))
        + noise * rng.standard_normal((TABLES, 2, 5))
    )
    c = make(noise)
    return (
        sum(judge(c, rows(a, "a") + rows(b, "b"), "paper")["verdict"] == want for a, b in x.tolist()) / TABLES
    )


SE = math.sqrt(2 / 5)  # of a paired difference in units of the noise


@pytest.mark.parametrize("noise", [0.001, 1.0, 300.0])
def test_no_effect_is_rarely_reproduced(noise):
    assert 0.012 <= rate(lambda s: difference(), 0, 0, noise) <= 0.05  # theory 0.025


@pytest.mark.parametrize("noise", [0.001, 300.0])
def test_the_same_at_the_margin_is_rarely_reproduced(noise):
    assert 0.03 <= rate(lambda s: same(margin=4.0 * s), 4, 0, noise) <= 0.065  # theory 0.05
    assert 0.03 <= rate(lambda s: no_harm(margin=4.0 * s), 0, 4, noise) <= 0.065


@pytest.mark.parametrize("noise", [0.001, 300.0])
def test_a_planted_effect_is_found(noise):
    assert 0.80 <= rate(lambda s: difference(), 4 * SE, 0, noise) <= 0.88  # theory 0.84
    assert rate(lambda s: difference(arms=["b", "a"]), 4 * SE, 0, noise, want="not reproduced") >= 0.80


def test_one_arm_and_unpaired_arms_keep_their_error():
    assert 0.012 <= rate(lambda s: bound(bound=5.0 * s), 5, 0, 1.0, luck=0) <= 0.05
    assert rate(lambda s: difference(paired=False), 0, 0, 1.0, luck=0) <= 0.05
    assert rate(lambda s: order(need="any", comparisons=[["a", "b"], ["b", "a"]]), 0, 0, 1.0, luck=0) <= 0.05


def test_yaml_merge_keys():
    "One claim may take over another's test and override fields; the same key written twice is still refused."
    text = yaml.safe_dump([GOOD[0]], sort_keys=False)
    first = yaml.safe_load(text)[0]
    merged = (
        "claims:\n  - &a "
        + yaml.safe_dump(first, default_flow_style=True, width=10_000).strip()
        + "\n  - {<<: *a, id: other, short: changed}\n"
    )
    claims = load_claims(merged)
    assert claims[1] == first | {"id": "other", "short": "changed"} and claims[0] == first
    with pytest.raises(GannbError, match="stands twice"):
        load_claims(merged.replace("id: other", "id: other, id: another"))
