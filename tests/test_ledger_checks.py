"""Seeds that are alike, names that nobody makes, results that are none, counting apart, history of a claim:
for each rule where it fires and where it must not."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from gannb.base import GannbError, numpy_rng
from gannb.ledger.claims import load_claims
from gannb.ledger.intervals import cut_to, left_open, shown_interval, t_interval
from gannb.ledger.judge import check_amendments, judge, judge_all
from gannb.ledger.names import check_names
from gannb.ledger.words import counts, counts_words, headline, history_words, open_words
from ledger_tables import HIGH, LOW, bound, claim, control_row, difference, rows, same

ROOT = Path(__file__).resolve().parents[1]
NAN = float("nan")
FIVE, OTHER = [1.0, 1.2, 0.9, 1.1, 1.0], [2.0, 2.1, 1.9, 2.2, 2.0]


def two(a, b, **more):
    return rows(a, "a", **more) + rows(b, "b", **more)


# ---------------------------------------------------------------- rule 22: seeds that are alike


@pytest.mark.parametrize(
    "c, table",
    [
        (bound(), rows([0.95] * 5)),
        (difference(margin=0), two([0.1 + 0.2] * 5, [0.3] * 5)),
        (difference(margin=0), two([0.1 + 0.2, 0.3, 0.3, 0.3, 0.3], [0.2] * 5)),
        (difference(margin=0, paired=False), two([2.0] * 5, [1.0] * 5)),
        (same(), two([1.0] * 5, [1.0] * 5)),
        (difference(margin=0), two([x + 1 for x in FIVE], FIVE)),
        (
            claim({"kind": "range", "value": 1, "choices": ["a", "b"], "margin": 5}),
            two([1.0] * 5, FIVE),
        ),
    ],
)
def test_seeds_that_are_alike_decide_nothing(c, table):
    r = judge(c, table, "paper")
    assert r["verdict"] == "inconclusive" and "an error to look into" in r["reason"], r["reason"]
    assert "e-17" not in r["reason"] and "e-16" not in r["reason"], "no dust of rounding"


def test_a_claim_may_say_why_equal_seeds_are_no_error():
    said = judge(bound(alike="a count of none"), rows([0.95] * 5), "paper")
    assert said["verdict"] == "reproduced", said["reason"]
    assert "Every seed gave the same number: a count of none." in said["reason"]
    differ = judge(bound(alike="a count of none"), rows(FIVE), "paper")["reason"]
    assert "the same number" not in differ


@pytest.mark.parametrize(
    "c, table",
    [
        (bound(), rows([0.95, 0.95, 0.95, 0.95, 0.950001])),
        (difference(margin=0), two(OTHER, [1.0] * 5)),
        (difference(margin=0, paired=False), two(OTHER, [1.0] * 5)),
        (same(margin=0.5), two([1.0, 1.1, 1.0, 1.1, 1.0], [1.0] * 5)),
    ],
)
def test_seeds_that_differ_are_judged(c, table):
    r = judge(c, table, "paper")
    assert r["verdict"] == "reproduced" and "look into" not in r["reason"]


def test_an_arm_without_spread_is_named_and_judged():
    r = judge(difference(margin=0), two(OTHER, [1.0] * 5), "paper")
    assert "Every seed of b gave the same value." in r["reason"]
    assert "gave the same value" not in judge(difference(margin=0), two(OTHER, FIVE), "paper")["reason"]


def test_facts_may_be_equal():
    c = claim({"kind": "fact", "expected": 3})
    assert judge(c, rows([3] * 5), "paper")["verdict"] == "reproduced"
    exact = claim({"kind": "range", "value": 3, "choices": ["a", "b"], "margin": 0, "units": "none"})
    assert judge(exact, two([3] * 5, [3] * 5), "paper")["verdict"] == "reproduced"


# ---------------------------------------------------------------- rule 22: what clean seeds leave open


def test_what_clean_seeds_leave_open():
    assert left_open(0, 5) == pytest.approx(1 - 0.05 ** (1 / 5)) == pytest.approx(0.4507, abs=1e-4)
    for k, n in ((0, 1), (1, 5), (3, 8), (0, 59)):
        want = stats.binomtest(k, n).proportion_ci(0.90, "exact").high  # each end is one-sided 95 %
        assert left_open(k, n) == pytest.approx(want, abs=1e-10)
    assert left_open(5, 5) == 1.0 and left_open(0, 5, 0.5) < left_open(0, 5)
    for k, n in ((1, 0), (-1, 5), (6, 5), (0, 0)):
        with pytest.raises(GannbError, match="failures"):
            left_open(k, n)


def test_open_words():
    assert open_words(0, 5) == ("no failure in 5 seeds does not exclude failure in up to 45 % of trainings")
    assert open_words(1, 5, "split") == (
        "1 failure in 5 seeds does not exclude failure in up to 66 % of splits"
    )
    assert open_words(5, 5) is None


def test_each_record_says_what_its_seeds_leave_open():
    assert "up to 45 % of trainings" in judge(bound(), rows(HIGH), "paper")["open"]
    assert "up to 31 %" in judge(bound(), rows(HIGH + HIGH[:3]), "paper")["open"]
    assert judge(bound(), rows(HIGH[:4] + [NAN]), "paper")["open"].startswith("1 failure in 5 seeds")
    assert "of classifiers" in judge(bound(units="classifier"), rows(HIGH), "paper")["open"]
    assert judge(claim({"kind": "fact", "expected": 1}), rows([1]), "paper")["open"] is None
    assert judge(bound(if_diverged=0.0), rows(HIGH + [NAN]), "paper")["open"] is None
    assert "up to 45 %" in judge(bound(), rows(HIGH), "quick")["open"]
    events = claim({"kind": "events", "arms": ["a", "b"], "direction": "fewer", "event": "collapse"})
    r = judge(events, two([0] * 5, [1, 1, 1, 1, 0]), "paper")
    assert (
        r["verdict"] == "reproduced"
        and r["open"].startswith("a: no failure in 5 seeds")
        and "b:" not in r["open"]
    )
    assert judge(events, two([1] * 5, [1, 1, 1, 1, 0]), "paper")["open"] is None


# ---------------------------------------------------------------- L1: skewed seeds, printed and not bounded

SKEWED = {
    "one seed in ten collapses": lambda rng, n: (
        np.where(rng.random(n) < 0.1, -9.0, 1.0) + rng.normal(0, 0.01, n)
    ),
    "lognormal": lambda rng, n: math.exp(0.5) - rng.lognormal(0, 1, n),
}


@pytest.mark.parametrize("name", SKEWED)
@pytest.mark.parametrize("seeds", [5, 8])
def test_skewed_seeds_are_printed(name, seeds, capsys):
    "Rule 22: a true mean that lies on the bound. The rate is shown; that it is far above 5 % is the point."
    rng, tables = numpy_rng(0, f"skewed {name} {seeds}"), 300
    draws = SKEWED[name](rng, (tables, seeds)).tolist()
    c = bound(bound=0)
    hits = sum(judge(c, rows(x), "paper")["verdict"] == "reproduced" for x in draws) / tables
    with capsys.disabled():
        print(f"\n{name}, {seeds} seeds, true mean on the bound: reproduced in {hits:.0%} of {tables} tables")
    assert "does not exclude failure" in judge(c, rows(draws[0]), "paper")["open"]


# ---------------------------------------------------------------- L2 to L5: results that are no results


def test_steps_are_compared_as_numbers():
    for step in (1, 1.0, "1", "1.0", np.int64(1)):
        for at in (1, 1.0, "1"):
            assert judge(bound(at=at), rows(HIGH, step=step), "paper")["verdict"] == "reproduced", (step, at)
    assert judge(bound(at=2), rows(HIGH, step=1), "paper")["verdict"] == "not testable here"
    assert judge(bound(at="1e"), rows(HIGH, step=1), "paper")["verdict"] == "not testable here"
    assert judge(bound(at="True"), rows(HIGH, step=1), "paper")["verdict"] == "not testable here"


@pytest.mark.parametrize(
    "metric",
    [
        "fid",
        "FID",
        "FID*",
        "clean_fid",
        "cleanfid",
        "fid_5k",
        "fid2048",
        "mi-fid",
        "fid_a",
        "fd_dino",
        "frechet",
    ],
)
def test_fid_by_what_it_is(metric):
    c = bound(metric=metric, direction="below", bound=10)
    few, many = ({"n_real": n, "n_fake": n} for n in (50, 2048))
    r = judge(c, rows([9, 9.1, 9.2, 9, 9.1], metric=metric, protocol=few), "paper")
    assert r["verdict"] == "not testable here" and "FID says nothing below" in r["reason"]
    assert (
        judge(c, rows([9, 9.1, 9.2, 9, 9.1], metric=metric, protocol=many), "paper")["verdict"]
        == "reproduced"
    )


@pytest.mark.parametrize("metric", ["kid", "fidelity", "confidence", "hfdx", "precision"])
def test_what_is_no_fid(metric):
    c = bound(metric=metric, direction="below", bound=10)
    assert judge(c, rows([9, 9.1, 9.2, 9, 9.1], metric=metric), "paper")["verdict"] == "reproduced"


@pytest.mark.parametrize(
    "results, words",
    [
        (None, "must be a list of rows; this is None"),
        ("rows", "must be a list of rows"),
        ({"a": 1}, "must be a list of rows"),
        (3, "must be a list of rows"),
        ([{**rows([1])[0], "metric": ["m"]}], "metric must be a text"),
        ([{**rows([1])[0], "metric": None}], "metric must be a text"),
        ([{**rows([1])[0], "value": True}], "value must be a number; this is True"),
        ([{**rows([1])[0], "value": 10**400}], "value must be a number; this is 1000"),
    ],
)
def test_bad_results(results, words):
    with pytest.raises(GannbError, match=words):
        judge(bound(), results, "paper")
    with pytest.raises(GannbError, match=words):
        judge_all([bound()], results, "paper", known_missing={})


def test_counts_as_text():
    card = {"n_real": "5000", "n_fake": 5000}
    with pytest.raises(GannbError, match="n_real of a protocol must be a number; this is '5000'"):
        judge(bound(metric="fid"), rows(HIGH, metric="fid", protocol=card), "paper")


def test_two_claims_of_one_id():
    with pytest.raises(GannbError, match="'a-claim': the id is used twice"):
        judge_all([bound(), bound()], rows(HIGH), "paper")


def test_a_diverged_seed_without_a_partner_stays_in():
    eight = OTHER + [2.0, NAN, 2.1]
    r = judge(difference(margin=0), two(eight, FIVE), "paper")
    assert r["verdict"] == "inconclusive" and r["interval"] is None
    assert "seed 6 gave no finite number" in r["reason"] and "had no partner" in r["reason"]
    fine = judge(difference(margin=0), two(OTHER + [2.0, 2.2, 2.1], FIVE), "paper")
    assert fine["verdict"] == "reproduced" and "Seeds 5 to 7 stand in one arm only" in fine["reason"]
    assert judge(difference(margin=0, if_diverged=2.0), two(eight, FIVE), "paper")["verdict"] == "reproduced"


# ---------------------------------------------------------------- L3: a name that no stage makes

SEE = {"must": "see", "what": "x", "arm": "20 repeated", "against": "real images", "margin": 0.1}
WHOLE = two(OTHER, FIVE) + two(OTHER, FIVE, metric="recall") + rows(FIVE, "c", dataset="e")
WHOLE += control_row("real images", 0.5) + control_row("20 repeated", 0.9) + rows(FIVE, "a", "m", "d", 10)
APART = {"kind": "difference", "arms": ["a", "b"], "direction": "above", "margin": 0}


@pytest.mark.parametrize(
    "c, words",
    [
        (difference(arms=["a", "bb"]), ["test: arm='bb' occurs in no row", "Did you mean 'b'"]),
        (difference(metric="recal"), ["test: metric='recal' occurs in no row", "Did you mean 'recall'"]),
        (difference(dataset="f"), ["test: dataset='f' occurs in no row", "Rows have: d, e"]),
        (difference(at="edn"), ["test: at='edn' occurs in no row", "Did you mean 'end'"]),
        (difference(at=11), ["test: at=11 occurs in no row", "Did you mean '10'"]),
        (
            difference(controls=[{**SEE, "arm": "20 repeatd"}]),
            ["test.controls[0]: arm='20 repeatd'", "'20 repeated'"],
        ),
        (
            difference(margin_in={"what": "x", "arm": "blur", "against": "real images"}),
            ["test.margin_in: arm='blur'"],
        ),
        (
            difference(second={"kind": "difference", "metric": "recal", "margin": 0}),
            ["test.second: metric='recal'"],
        ),
        (same(resolution=[{**APART, "arms": ["a", "bb"]}]), ["test.resolution[0]: arm='bb'"]),
        (
            difference(requires=[{**APART, "metric": "m", "arms": ["a", "bb"]}]),
            ["test.requires[0]: arm='bb'"],
        ),
        (claim({"kind": "all", "tests": [APART, {**APART, "metric": "x"}]}), ["test.tests[1]: metric='x'"]),
        (
            claim({"kind": "correlation", "arm": "a", "with": "kidd", "direction": "above", "bound": 0}),
            ["'kidd'"],
        ),
    ],
)
def test_a_name_that_no_row_bears_is_an_error(c, words):
    with pytest.raises(GannbError) as e:
        check_names([c], WHOLE)
    assert all(w in str(e.value) for w in words) and str(e.value).startswith("claim 'a-claim': "), e.value
    with pytest.raises(GannbError, match="occurs in no row"):
        judge_all([c], WHOLE, "desk", known_missing={})
    assert judge_all([c], WHOLE, "desk")[0]["id"] == "a-claim", "only when asked"


@pytest.mark.parametrize(
    "c",
    [
        difference(),
        difference(at=10.0),
        difference(at="all"),
        difference(controls=[SEE], second={"kind": "difference", "metric": "recall", "margin": 0}),
        {**difference(arms=["a", "to come"]), "waits_for": "the arm"},
        claim({"kind": "fact", "expected": 1}),
        claim({"kind": "slope", "arm": "a", "over": "step", "direction": "above", "bound": 0}),
        {**bound(), "test": {"kind": "people", "question": "which looks best?"}},
    ],
)
def test_names_that_are_there(c):
    check_names([c], WHOLE)


def test_what_is_declared_missing_is_no_error():
    gone = [difference(metric="inception"), {**difference(dataset="grape"), "id": "b"}]
    gone.append({**difference(arms=["a", "wide"]), "id": "c"})
    known = {"inception": "its weights are not here", "grape": "the pack has none", "wide": "too slow"}
    check_names(gone, WHOLE, known)
    with pytest.raises(GannbError, match="grape"):
        check_names(gone, WHOLE, {k: v for k, v in known.items() if k != "grape"})
    judged = judge_all(gone, WHOLE, "desk", missing=known, known_missing={})
    assert [r["reason"] for r in judged] == [
        "Not here: inception (its weights are not here).",
        "The pack has none.",
        "Not here: wide (too slow).",
    ]
    with pytest.raises(GannbError, match="arm='bb'"):
        check_names([difference(arms=["a", "bb"], metric="recall")], WHOLE, known)


def test_all_faults_are_said_at_once():
    with pytest.raises(GannbError) as e:
        check_names([difference(arms=["x", "y"]), {**difference(metric="z"), "id": "b"}], WHOLE)
    assert len(str(e.value).splitlines()) == 3


def test_of_an_artefact_only_what_is_judged_is_looked_up():
    part = {"kind": "bound", "direction": "above", "bound": 0, "metric": "m"}
    c = claim({"kind": "artefact", "arm": "a", "number": {**part, "metric": "published"}})
    c["test"] |= {"counterpart": part, "mechanism": part, "removed": part}
    check_names([c], WHOLE, setting="desk")
    for setting in ("paper", None):
        with pytest.raises(GannbError, match="published"):
            check_names([c], WHOLE, setting=setting)


# ---------------------------------------------------------------- rule 21: counting apart


def told(about, verdict, finding=None, order=None):
    return {"about": about, "verdict": verdict, "setting": "paper", "finding": finding, "rank": order}


def test_what_is_no_claim_of_the_paper_is_counted_apart():
    records = [
        told("arithmetic", "reproduced"),
        told("claim", "reproduced"),
        told("claim", "inconclusive"),
        told("beyond", "not reproduced"),
        told("network", "reproduced"),
    ]
    assert counts(records) == counts(records[1:3]) and sum(counts(records, None).values()) == 5
    assert counts(records, "beyond")["not reproduced"] == 1
    assert counts_words(records) == (
        "Of 2 claims 1 is reproduced and 1 is left open. Apart from them: 1 of arithmetic (1 reproduced), "
        "1 on the networks trained here (1 reproduced) and 1 beyond the paper (1 not reproduced)."
    )
    assert counts_words(records[1:3]) == "Of 2 claims 1 is reproduced and 1 is left open."
    assert counts([{"verdict": "reproduced"}])["reproduced"] == 1, "an old record is a claim of the paper"


def test_the_headline_begins_with_what_matters():
    records = [
        told("arithmetic", "not reproduced", "the numbers do not add up", 1),
        told("beyond", "reproduced", "beyond", 1),
        told("claim", "inconclusive", "it is open", 1),
        told("claim", "reproduced", "apples win.", 3),
        told("claim", "reproduced", "nobody ranked this"),
        told("claim", "not reproduced", "the margin is chance", 2),
    ]
    assert headline(records) == "The margin is chance; apples win; beyond.", "the paper's own come first"
    assert headline(records[:2]) == "Beyond; the numbers do not add up."
    assert headline(records[2:3]) == "Of 1 claim 1 is left open.", "what is open is no finding"
    assert headline([records[2], records[4]]) == "Of 2 claims 1 is reproduced and 1 is left open."
    assert headline([records[4]]) == "Nobody ranked this.", "without any rank all are told"
    assert headline(records[:1]).startswith("No claim of the paper. Apart from them: 1 of arithmetic")
    assert headline(records, 1) == "The margin is chance."


def test_a_record_says_what_it_is_about():
    r = judge({**bound(), "about": "beyond", "rank": 2}, rows(HIGH), "paper")
    assert (r["about"], r["beyond_paper"], r["rank"]) == ("beyond", True, 2)
    r = judge(bound(), rows(HIGH), "paper")
    assert (r["about"], r["beyond_paper"], r["rank"]) == ("claim", False, None)


# ---------------------------------------------------------------- rule 2: the history of a claim


def test_an_amendment_is_kept_with_the_verdict_before():
    first = judge(bound(), rows(HIGH), "desk")
    assert (first["amended"], first["was"], first["amendment"]) == (False, None, None)
    changed = {**bound(bound=0.99), "amendment": "0.9 was a slip"}
    second = judge(changed, rows(HIGH), "desk", previous=first)
    assert (second["amended"], second["was"], second["amendment"]) == (True, "reproduced", "0.9 was a slip")
    third = judge(bound(bound=0.99), rows(LOW), "desk", previous=second)
    assert (third["amended"], third["was"], third["amendment"]) == (True, "reproduced", "0.9 was a slip")
    assert history_words(third) == "amended (was reproduced): 0.9 was a slip" and history_words(first) is None
    alone = judge(changed, rows(HIGH), "desk")
    assert alone["amended"] and alone["was"] is None, "the YAML says so itself"
    untestable = judge(bound(), [], "desk")
    after = judge(changed, rows(HIGH), "desk", previous=untestable)
    assert after["was"] == "not testable here" and after["amended"]
    quick = judge(bound(), rows(HIGH), "quick")
    assert judge(bound(bound=0.99), rows(HIGH), "desk", previous=quick)["was"] is None


def test_a_change_that_nobody_explains_is_an_error():
    old = judge_all([bound(), {**bound(), "id": "b"}], rows(HIGH), "desk")
    check_amendments([bound(), {**bound(), "id": "b"}, {**bound(), "id": "new"}], old)
    changed = [bound(bound=0.8), {**bound(bound=0.7), "id": "b"}]
    with pytest.raises(GannbError, match="a-claim and b was changed"):
        check_amendments(changed, old)
    check_amendments([{**c, "amendment": "why"} for c in changed], old)
    check_amendments(changed, judge_all([bound()], rows(HIGH), "quick"))
    with pytest.raises(GannbError, match="a-claim"):
        check_amendments(changed[:1], judge_all([bound()], [], "desk"))


def test_a_claim_added_later_is_marked_and_stays_marked():
    late = {**bound(), "id": "late"}
    assert not any(r["added"] for r in judge_all([bound(), late], rows(HIGH), "desk"))
    old = judge_all([bound()], rows(HIGH), "desk")
    new = judge_all([bound(), late], rows(HIGH), "desk", previous=old)
    assert [r["added"] for r in new] == [False, True] and new[1]["added_why"] is None
    again = judge_all([bound(), late], rows(HIGH), "desk", previous=new)
    assert [r["added"] for r in again] == [False, True]
    assert not judge_all([bound(), late], rows(HIGH), "desk", previous=judge_all([bound()], [], "quick"))[1][
        "added"
    ]
    said = judge_all([{**late, "added": "a reader asked"}], rows(HIGH), "desk")[0]
    assert said["added"] and history_words(said) == "added after the first run that judged: a reader asked"
    kept = judge_all([late], rows(HIGH), "desk", previous=[said])[0]
    assert kept["added"] and kept["added_why"] == "a reader asked"


@pytest.mark.parametrize("paper", ["dataset_study", "fruits"])
def test_every_change_since_the_committed_results_says_why(paper):
    folder = ROOT / "outputs" / "reference" / paper
    previous = json.loads((folder / "claims.json").read_text(encoding="utf-8"))
    check_amendments(load_claims(ROOT / "papers" / f"{paper}.yaml"), previous)


# ---------------------------------------------------------------- intervals of shares


def test_an_interval_is_said_no_further_than_its_measure_reaches():
    wide = [0.99, 0.6, 0.95, 0.7, 0.9]
    plain, cut = judge(bound(), rows(wide), "paper"), judge(bound(within=[0, 1]), rows(wide), "paper")
    assert plain["interval"] == cut["interval"] and plain["interval"][1] > 1, "what decides is not cut"
    assert plain["ours"] == "0.83 [0.62, 1.04]" and cut["ours"] == "0.828 [0.527, 0.986]"
    assert cut_to(-0.2, 1.3, [0, 1]) == (0, 1) and cut_to(0.2, 0.3, [0, 1]) == (0.2, 0.3)
    assert cut_to(-0.2, 1.3) == (-0.2, 1.3)
    parts = claim({"kind": "all", "within": [0, 1], "arm": "a", "direction": "above", "bound": 0.5})
    parts["test"]["tests"] = [{"kind": "bound"}, {"kind": "bound", "metric": "n"}]
    both = judge(parts, rows(wide) + rows(wide, metric="n"), "paper")
    assert both["ours"].count("[0.527, 0.986]") == 2, "parts take the range over"


def test_the_interval_for_the_eye_ends_where_its_measure_ends():
    shares = np.array([0.97, 0.99, 0.93, 0.999, 0.96])
    low, high = shown_interval(shares, 0.95, [0, 1])
    by_hand = t_interval(np.log(shares / (1 - shares)))
    ends = [1 / (1 + np.exp(-end)) for end in (by_hand.low, by_hand.high)]
    assert (low, high) == pytest.approx(ends) and low < shares.mean() < high < 1
    assert shown_interval(shares, 0.95) == t_interval(shares)[1:3]
    r = np.array([-0.5, -0.9, -0.7, -0.95])
    z = t_interval(np.arctanh(r), 0.9)
    assert shown_interval(r, 0.9, [-1, 1]) == pytest.approx(np.tanh([z.low, z.high])), "Fisher's z"
    assert shown_interval(100 * shares, 0.95, [0, 100]) == pytest.approx((100 * low, 100 * high))


@pytest.mark.parametrize("values", [[0.9, 0.95, 1.0], [-0.02, 0.3, 0.1], [1.0, 1.0, 1.0]])
def test_a_value_on_an_end_falls_back_on_the_cut_interval(values):
    plain = t_interval(values)
    assert shown_interval(values, within=[0, 1]) == cut_to(plain.low, plain.high, [0, 1])


def test_the_mean_lies_in_the_interval_for_the_eye():
    "On the scale of logits the middle of skewed values may lie far below their mean."
    skewed = [1e-9, 1.1e-9, 1e-9, 0.9e-9, 0.4]
    low, high = shown_interval(skewed, within=[0, 1])
    assert low <= np.mean(skewed) <= high


def test_a_cut_decides_nothing():
    "The uncut end decides: the interval reaches beyond the bound 1.02 although no share can."
    wide = [0.99, 0.6, 0.95, 0.7, 0.9]
    c = bound(direction="below", bound=1.02, within=[0, 1])
    assert judge(c, rows(wide), "paper")["verdict"] == "inconclusive"
