"""Controls, margins in controls, resolution, second rulers and readings: for each rule a table where it fires
and one where it must not."""

import json

import pytest

from gannb.ledger.judge import describe, judge
from gannb.ledger.words import SETTINGS, VERDICTS
from ledger_tables import HIGH, LOW, bound, claim, control_row, difference, rows, same

SEE = {"must": "see", "what": "20 letters repeated", "arm": "20 repeated", "against": "real images"}
IGNORE = {"must": "ignore", "what": "the same blur on grey", "arm": "grey", "against": "real images"}
UP = rows([2.0, 2.1, 1.9, 2.2, 2.0], "a") + rows([1.0, 1.2, 0.9, 1.1, 1.0], "b")  # a lies above b
REAL = control_row("real images", 0.5)


def out(c, table, setting="paper", **more):
    return judge(c, table, setting, **more)


def with_controls(see, ignore):
    return UP + REAL + control_row("20 repeated", 0.5 + see) + control_row("grey", 0.5 + ignore)


# ---------------------------------------------------------------- rule 16: controls


@pytest.mark.parametrize(
    "see, ignore, want, words",
    [
        (0.2, 0.04, "reproduced", "the claim needs more than 0.05."),
        (
            0.02,
            0.04,
            "not testable here",
            "it does not see what it must see. With 20 letters repeated, m changes by 0.020",
        ),
        (-0.2, 0.04, "not testable here", "a rise of more than 0.05 is needed"),
        (
            0.2,
            0.09,
            "not testable here",
            "it takes something else for an effect. With the same blur on grey, m changes by 0.09",
        ),
        (0.2, -0.09, "not testable here", "at most 0.05 is allowed"),
        (
            0.02,
            0.09,
            "not testable here",
            "It also takes something else for an effect. With the same blur on grey, m",
        ),
    ],
)
def test_a_failed_control_takes_the_verdict_away(see, ignore, want, words):
    r = out(difference(controls=[SEE, IGNORE]), with_controls(see, ignore))
    assert r["verdict"] == want and words in r["reason"], r["reason"]
    assert r["interval"] and r["n"] == 5, "what was measured stays shown"
    assert [c["value"] for c in r["controls"]] == pytest.approx([see, ignore])
    assert [c["must"] for c in r["controls"]] == ["see", "ignore"]
    if want != "reproduced":
        assert r["reason"].startswith("This ruler cannot tell: ") and r["ours"] in r["reason"]
        assert r["parts"][0]["p"] is None


def test_a_control_says_which_way_and_how_far():
    table = with_controls(-0.3, 0.0)
    assert out(difference(controls=[{**SEE, "direction": "below"}]), table)["verdict"] == "reproduced"
    too_far = difference(controls=[{**SEE, "direction": "below", "margin": 0.4}])
    assert "a fall of more than 0.4 is needed" in out(too_far, table)["reason"]
    either = same(controls=[SEE], margin=0.25)
    assert (
        out(either, table)["controls"][0]["passed"] and out(either, table)["controls"][0]["direction"] is None
    )


def test_the_edge_of_a_control():
    "Beyond the margin is needed to be seen; just at it is still ignored."
    table = UP + control_row("x", 0.0625) + control_row("real images", 0.0)
    see = difference(controls=[{**SEE, "arm": "x", "margin": 0.0625}])
    ignore = difference(controls=[{**IGNORE, "arm": "x", "margin": 0.0625}])
    assert out(see, table)["controls"][0]["passed"] is False
    assert out(ignore, table)["controls"][0]["passed"] is True


def test_a_control_that_stands_alone():
    alone = {k: v for k, v in SEE.items() if k != "against"}
    table = UP + control_row("20 repeated", 0.3)
    assert out(difference(controls=[alone]), table)["verdict"] == "reproduced"
    r = out(difference(controls=[{**alone, "margin": 0.4}]), table)
    assert "With 20 letters repeated, m is 0.300; more than 0.4 is needed." in r["reason"]


def test_controls_planted_into_runs_are_averaged_seed_by_seed():
    planted = [{**r, "step": "control"} for r in rows([0.6, 0.8], "20 repeated") * 3]
    extra = [{**planted[0], "value": 0.6}] * 10  # many rows of one seed count once
    r = out(difference(controls=[SEE]), UP + REAL + planted + extra)
    assert r["controls"][0]["value"] == pytest.approx(0.2)


def test_a_missing_control_is_named():
    r = out(difference(controls=[SEE, IGNORE]), UP + REAL + control_row("20 repeated", 0.9))
    assert r["verdict"] == "not testable here" and r["controls"][1]["passed"] is None
    assert "The ruler could not be tried. The control 'the same blur on grey' is missing." in r["reason"]
    assert "Nothing was measured here: m of grey on d." in r["reason"]
    whole = with_controls(0.2, 0.0)
    not_finite = [{**row, "value": None} if row["arm"] == "grey" else row for row in whole]
    assert "It gives no number for" in out(difference(controls=[SEE, IGNORE]), not_finite)["reason"]


def test_missing_data_come_first_and_controls_are_shown():
    r = out(difference(controls=[SEE]), REAL + control_row("20 repeated", 0.51))
    assert "Nothing was measured here: m of a on d." in r["reason"] and "ruler" not in r["reason"]
    assert r["controls"][0]["value"] == pytest.approx(0.01)


def test_a_control_is_taken_with_the_same_ruler():
    card, other = {"n_fake": 400, "network": "x"}, {"n_fake": 200, "network": "x"}

    def table(real, few):
        runs = [{**row, "protocol": card} for row in UP]
        return (
            runs
            + control_row("real images", 0.5, protocol=real)
            + control_row("20 repeated", 0.9, protocol=few)
        )

    c = difference(controls=[SEE])
    assert out(c, table(card, card))["verdict"] == "reproduced"
    assert out(c, table({**card, "role": "held-out"}, card))["verdict"] == "reproduced"
    for real, few in ((card, other), (other, other)):
        r = out(c, table(real, few))
        assert (
            r["verdict"] == "not testable here"
            and "was not taken with this ruler: the number of fakes differs" in r["reason"]
        )
    assert out(difference(controls=[SEE], factor="n_fake"), table(other, other))["verdict"] == "reproduced"


def test_a_control_reads_its_own_cell():
    arm = {"arm": "20 repeated", "dataset": "e", "metric": "recall", "at": "end"}
    real = {"arm": "real images", "dataset": "e", "metric": "recall", "at": "end"}
    there = rows([0.1] * 5, "20 repeated", "recall", "e") + rows([0.9] * 5, "real images", "recall", "e")
    c = difference(controls=[{**SEE, "arm": arm, "against": real, "direction": "below"}])
    kept = out(c, UP + there)["controls"][0]
    assert kept["value"] == pytest.approx(-0.8) and (kept["dataset"], kept["metric"]) == ("e", "recall")


def test_controls_are_no_steps_of_a_training():
    near = rows([0.5] * 5, "a", step="control")
    table = rows(HIGH) + near
    assert out(bound(at="all"), table)["verdict"] == out(bound(), table)["verdict"] == "reproduced"


def test_each_part_has_its_own_controls():
    parts = [
        {"kind": "difference", "metric": "m", "label": "first", "controls": [SEE]},
        {"kind": "difference", "metric": "n", "label": "second"},
    ]
    c = claim({"kind": "all", "arms": ["a", "b"], "direction": "above", "margin": 0.05, "tests": parts})
    table = with_controls(0.01, 0) + [{**row, "metric": "n"} for row in UP]
    r = out(c, table)
    assert r["verdict"] == "not testable here" and [p["verdict"] for p in r["parts"]] == [
        VERDICTS[4],
        VERDICTS[0],
    ]
    assert [(k["part"], k["passed"]) for k in r["controls"]] == [("first", False)]
    assert "First: This ruler cannot tell: it does not see what it must see." in r["reason"]
    c["test"]["kind"] = "any"
    assert out(c, table)["verdict"] == "reproduced", "one blind ruler of two does not hide the other"
    c["test"]["tests"][1]["controls"] = [SEE]
    assert out(c, table + control_row("real images", 0, "n") + control_row("20 repeated", 0, "n"))[
        "verdict"
    ] == ("not testable here"), "a blind ruler's p-value is no evidence for Holm"


def test_controls_on_each_data_set():
    c = difference(datasets=["d", "e"], controls=[SEE])
    del c["test"]["dataset"]
    there = [{**row, "dataset": "e"} for row in with_controls(0.01, 0)]
    r = out(c, with_controls(0.2, 0) + there)
    assert [(k["part"], k["passed"]) for k in r["controls"]] == [("d", True), ("e", False)]
    assert r["verdict"] == "not testable here" and "one holds and one cannot be tested here" in r["reason"]
    whole = claim(
        {"kind": "all", "datasets": ["d", "e"], "arms": ["a", "b"], "direction": "above", "margin": 0.05}
    )
    del whole["test"]["dataset"]
    whole["test"] |= {"tests": [{"kind": "difference"}, {"kind": "difference"}], "controls": [SEE]}
    assert [k["part"] for k in out(whole, with_controls(0.2, 0) + there)["controls"]] == ["d", "e"]


@pytest.mark.parametrize("setting", [s for s in SETTINGS if s not in ("desk", "paper")])
def test_settings_that_judge_nothing_show_controls_without_verdicts(setting):
    c = difference(
        controls=[SEE, IGNORE],
        margin_in={"what": "blur", "arm": "20 repeated", "against": "real images"},
        second={"kind": "difference", "metric": "n", "margin": 0, "controls": [SEE]},
        resolution=[{"kind": "difference", "arms": ["a", "b"], "direction": "below", "margin": 0}],
    )
    r = out(c, with_controls(0.01, 0.3) + [{**row, "metric": "n"} for row in with_controls(0, 0)], setting)
    assert [k["value"] for k in r["controls"][:2]] == pytest.approx([0.01, 0.3]) and len(r["controls"]) == 3
    assert r["margin_in"]["value"] == pytest.approx(0.01)
    said = (
        json.dumps(r["controls"]) + json.dumps([r["second"], r["resolution"], r["margin_in"]]) + r["reason"]
    )
    for word in ("cannot see", "needed", "allowed", '"passed": true', '"passed": false', "refuted"):
        assert word not in said, word
    assert not any(f'"verdict": "{v}"' in said for v in VERDICTS[:4])


# ---------------------------------------------------------------- rule 17: a margin in controls

HALF = {"what": "half of what slight blur costs", "arm": "blur", "against": "real images", "share": 0.5}


@pytest.mark.parametrize(
    "cost, true", [(0.2, True), (0.16, True), (0.24, True), (0.26, False), (0.14, False)]
)
@pytest.mark.parametrize("sign", [1, -1])
def test_the_words_of_a_margin_must_be_true(cost, true, sign):
    table = UP + REAL + control_row("blur", 0.5 + sign * cost)
    r = out(difference(margin=0.1, margin_in=HALF), table)
    assert r["margin_in"]["true"] is true and r["margin_in"]["value"] == pytest.approx(cost / 2)
    assert r["verdict"] == ("reproduced" if true else "not testable here")
    if not true:
        assert r["reason"].startswith("The margin is not what its reason says. Half of what")
        assert "and the margin is 0.1." in r["reason"]


def test_a_margin_as_the_distance_of_a_bound():
    c = bound(bound=0.9, margin_in={**HALF, "from": 1.0})
    assert out(c, rows(HIGH) + REAL + control_row("blur", 0.7))["margin_in"]["true"]
    assert not out(c, rows(HIGH) + REAL + control_row("blur", 0.9))["margin_in"]["true"]


def test_a_margin_whose_control_is_missing():
    r = out(difference(margin_in=HALF), UP)
    assert r["verdict"] == "not testable here" and "Its margin is unknown." in r["reason"]
    assert out(difference(margin_in=HALF), [])["reason"].startswith("Nothing was measured here")


def test_controls_come_before_the_margin():
    c = difference(controls=[SEE], margin_in=HALF)
    r = out(c, with_controls(0.0, 0) + control_row("blur", 3.0))
    assert "does not see what it must see" in r["reason"] and "margin is not" not in r["reason"]
    assert r["margin_in"]["true"] is False


# ---------------------------------------------------------------- rule 20: resolution

DIFFER = {
    "kind": "difference",
    "arms": ["half", "full"],
    "direction": "below",
    "margin": 0.5,
    "label": "half",
}
NEAR = rows([1.01, 1.21, 0.92, 1.09, 1.00], "a") + rows([1.0, 1.2, 0.9, 1.1, 1.0], "b")
FULL = rows([2.0, 2.1, 1.9, 2.2, 2.0], "full")
SHARP = rows([1.0, 1.2, 0.9, 1.1, 1.0], "half") + FULL
BLUNT = rows([1.9, 2.15, 1.92, 2.1, 2.05], "half") + FULL


def no_harm(**more):
    return claim({"kind": "no_harm", "arms": ["a", "b"], "margin": 0.1, "better": "higher", **more})


@pytest.mark.parametrize("make", [same, no_harm])
def test_no_difference_needs_a_difference_that_shows(make):
    c = make(resolution=[DIFFER])
    assert out(c, NEAR + SHARP)["verdict"] == "reproduced"
    r = out(c, NEAR + BLUNT)
    assert r["verdict"] == "not testable here" and r["resolution"][0]["verdict"] == "not reproduced"
    assert r["reason"].startswith("Trained too little to tell.") and "Half: On d, m" in r["reason"]
    assert out(c, NEAR)["verdict"] == "not testable here", "arms that were not trained show nothing"
    few = [row for row in SHARP if row["seed"] < 4]
    assert out(c, NEAR + few)["verdict"] == "not testable here"


@pytest.mark.parametrize(
    "a, margin, want",
    [
        (
            [1.1, 1.3, 1.0, 1.2, 1.09],
            0.5,
            "not testable here",
        ),  # short of the margin: "no difference that matters"
        ([0.1, 0.3, 0.0, 0.2, 0.09], 0.5, "not reproduced"),  # the opposite: no need of resolution
        ([3.1, 3.3, 3.0, 3.2, 3.09], 0.5, "reproduced"),
        ([1.0, 1.9, 0.3, 2.2, 0.4], 0.5, "inconclusive"),
    ],
)
def test_only_verdicts_that_say_no_difference_are_blocked(a, margin, want):
    table = rows(a, "a") + rows([1.0, 1.2, 0.9, 1.1, 1.0], "b")
    assert out(difference(margin=margin, resolution=[DIFFER]), table + BLUNT)["verdict"] == want
    swapped = difference(arms=["b", "a"], direction="below", margin=margin, resolution=[DIFFER])
    assert out(swapped, table + BLUNT)["verdict"] == want
    if want == "not testable here":
        assert (
            out(difference(margin=margin, resolution=[DIFFER]), table + SHARP)["verdict"] == "not reproduced"
        )


def test_a_bound_and_a_slope_know_their_zero():
    below = rows([0.70, 0.66, 0.74, 0.69, 0.72])
    lies_below = bound(resolution=[DIFFER])
    assert out(lies_below, below + BLUNT)["verdict"] == "not reproduced"
    short = bound(bound=0.6, margin=0.3, resolution=[DIFFER])
    assert out(short, below + BLUNT)["verdict"] == "not testable here"
    assert out(short, below + SHARP)["verdict"] == "not reproduced"


def test_the_resolution_of_several_comparisons():
    tests = [{"kind": "equivalence", "arms": ["a", "b"]}, {"kind": "equivalence", "arms": ["b", "a"]}]
    c = claim({"kind": "all", "margin": 0.1, "tests": tests, "resolution": [DIFFER]})
    assert out(c, NEAR + SHARP)["verdict"] == "reproduced"
    assert out(c, NEAR + BLUNT)["verdict"] == "not testable here"


# ---------------------------------------------------------------- rule 18: a second ruler


def second(values_a, values_b):
    return rows(values_a, "a", "n") + rows(values_b, "b", "n")


SECOND = {"kind": "difference", "metric": "n", "quantity": "coverage", "margin": 0}


@pytest.mark.parametrize(
    "a, b, want, words",
    [
        (
            [3, 3.1, 2.9, 3, 3.2],
            [1, 1.2, 1, 1, 1.1],
            "reproduced",
            "A second ruler agrees: coverage, 1.98 [",
        ),
        (
            [3, 0.1, 2.9, 0.5, 3.2],
            [1, 1.2, 1, 1, 1.1],
            "reproduced",
            "A second ruler does not contradict, and is not sure",
        ),
        (
            [1, 1.2, 1, 1, 1.1],
            [3, 3.1, 2.9, 3, 3.2],
            "inconclusive",
            "It depends on the ruler. On d, m (a minus b) is 1.00",
        ),
        ([1, 1.2, 1, None, 1.1], [3, 3.1, 2.9, 3, 3.2], "inconclusive", "Only one ruler could be asked"),
        ([], [3, 3.1, 2.9, 3, 3.2], "inconclusive", "Only one ruler could be asked"),
    ],
)
def test_two_rulers_must_point_the_same_way(a, b, want, words):
    r = out(difference(second=SECOND), UP + second(a, b))
    assert r["verdict"] == want and words in r["reason"], r["reason"]
    assert r["second"]["label"].startswith("coverage") and r["interval"]
    if want == "inconclusive":
        assert (
            "By the second" in r["reason"]
            and "overage" in r["reason"] + str(r["second"])
            and r["parts"][0]["p"] is None
        )


def test_a_refuted_claim_needs_both_rulers_too():
    table = UP + second([3, 3.1, 2.9, 3, 3.2], [1, 1.2, 1, 1, 1.1])
    c = difference(direction="below", second={**SECOND, "direction": "below"})
    assert out(c, table)["verdict"] == "not reproduced"
    c = difference(direction="below", second={**SECOND, "direction": "above"})
    assert out(c, table)["verdict"] == "inconclusive"


def test_an_open_verdict_stays_open_whatever_the_second_says():
    wide = rows([2, 0.1, 1.9, 0.2, 2], "a") + rows([1, 1.2, 0.9, 1.1, 1.0], "b")
    r = out(difference(second=SECOND), wide + second([3, 3.1, 2.9, 3, 3.2], [1, 1.2, 1, 1, 1.1]))
    assert r["verdict"] == "inconclusive" and "ruler" not in r["reason"]


def test_a_second_ruler_that_is_blind():
    good = second([3, 3.1, 2.9, 3, 3.2], [1, 1.2, 1, 1, 1.1])
    blind = control_row("real images", 0.5, "n") + control_row("20 repeated", 0.5, "n")
    seeing = control_row("real images", 0.5, "n") + control_row("20 repeated", 0.9, "n")
    c = difference(second={**SECOND, "controls": [{**SEE, "margin": 0.1}]})
    r = out(c, UP + good + blind)
    assert r["verdict"] == "inconclusive" and "Only one ruler could be asked" in r["reason"]
    assert r["controls"][0]["part"] == "second ruler" and "does not see" in r["second"]["text"]
    assert out(c, UP + good + seeing)["verdict"] == "reproduced"


def test_leaf_by_leaf():
    "The first of two comparisons points elsewhere, so the whole depends on the ruler."
    c = claim(
        {
            "kind": "order",
            "comparisons": [["a", "b"], ["a", "c"]],
            "direction": "above",
            "margin": 0,
            "second": {"kind": "order", "metric": "n", "margin": 0},
        }
    )
    first = UP + rows([1.0, 1.2, 0.9, 1.1, 1.0], "c")
    agree = second([3, 3.1, 2.9, 3, 3.2], [1, 1.2, 1, 1, 1.1]) + rows([1, 1.2, 1, 1, 1.1], "c", "n")
    differ = second([3, 3.1, 2.9, 3, 3.2], [4, 4.2, 4, 4, 4.1]) + rows([1, 1.2, 1, 1, 1.1], "c", "n")
    assert out(c, first + agree)["verdict"] == "reproduced"
    assert out(c, first + differ)["verdict"] == "inconclusive"


def test_a_second_ruler_on_each_data_set():
    c = difference(datasets=["d", "e"], second=SECOND)
    del c["test"]["dataset"]
    good = second([3, 3.1, 2.9, 3, 3.2], [1, 1.2, 1, 1, 1.1])
    bad = second([1, 1.2, 1, 1, 1.1], [3, 3.1, 2.9, 3, 3.2])
    both = [{**row, "dataset": "e"} for row in UP + good]
    assert out(c, UP + good + both)["verdict"] == "reproduced"
    other = [{**row, "dataset": "e"} for row in UP + bad]
    r = out(c, UP + good + other)
    assert (
        r["verdict"] == "inconclusive"
        and "Two things must hold: one holds and one stays open. It depends on the ruler. On e, m"
        in r["reason"]
    )
    assert [p["second"]["verdict"] for p in r["parts"]] == ["reproduced", "not reproduced"]


# ---------------------------------------------------------------- rule 21: readings


def readings(first="n", then="m"):
    tests = [
        {"kind": "bound", "metric": first, "label": "after the update, as the paper defines it"},
        {"kind": "bound", "metric": then, "label": "before it, as the usual code prints"},
    ]
    return claim({"kind": "readings", "arm": "a", "direction": "above", "bound": 0.9, "tests": tests})


def test_the_first_reading_decides_and_all_are_shown():
    table = rows(HIGH) + rows(LOW, metric="n")
    r = out(readings(), table)
    assert r["verdict"] == "not reproduced" and r["reading"] == "after the update, as the paper defines it"
    assert (
        'That is the reading "after the update, as the paper defines it"' in r["reason"]
        and 'by "before it, as the usual code prints" it is reproduced.' in r["reason"]
    )
    assert [p["verdict"] for p in r["parts"]] == ["not reproduced", "reproduced"]
    assert r["interval"] == r["parts"][0]["interval"] and r["n"] == 5
    assert out(readings("m", "n"), table)["verdict"] == "reproduced", "swapped, the other one decides"
    alike = out(readings("m", "m2"), table + rows(HIGH, metric="m2"))
    assert alike["verdict"] == "reproduced" and "The other reading agrees." in alike["reason"]
    assert out(bound(), table)["reading"] is None


def test_readings_that_differ_decide_nothing_where_the_paper_says_none():
    c, table = readings(), rows(HIGH) + rows(LOW, metric="n")
    c["test"]["unsaid"] = "the paper does not say which"
    r = out(c, table)
    assert r["verdict"] == "inconclusive", r["reason"]
    assert (
        "It depends on the reading, and the paper does not say which. After the update, as the paper defines"
        in r["reason"]
    )
    assert out(c, rows(HIGH) + rows(HIGH, metric="n"))["verdict"] == "reproduced", (
        "where they agree they decide"
    )
    assert "Each of these readings must agree" in describe(c["test"])


def test_readings_inside_a_test_are_one_comparison():
    inner = readings()["test"]
    c = claim({"kind": "all", "tests": [inner, {**inner, "tests": inner["tests"][::-1]}]})
    r = out(c, rows(HIGH) + rows(LOW, metric="n"))
    assert (
        r["verdict"] == "not reproduced" and "Two things must hold: one holds and one fails." in r["reason"]
    )


def test_readings_with_a_second_ruler():
    c = readings()
    c["test"]["second"] = {"kind": "bound", "metric": "o", "arm": "a", "direction": "above", "bound": 0.5}
    table = rows(HIGH) + rows(LOW, metric="n")
    assert out(c, table + rows(LOW, metric="o"))["verdict"] == "inconclusive"
    assert out(c, table + rows([0.1, 0.2, 0.15, 0.1, 0.2], metric="o"))["verdict"] == "not reproduced"


def test_the_rule_says_what_the_ruler_must_see():
    c = difference(controls=[SEE, IGNORE], margin_in=HALF, second=SECOND, resolution=[DIFFER])
    said = describe(c["test"])
    for words in (
        "The ruler must see 20 letters repeated.",
        "It must ignore the same blur on grey.",
        "The margin is half of what slight blur costs.",
        "A second ruler must point the same way: coverage.",
        "only where a difference would show",
    ):
        assert words in said, said
    assert "The first of these readings decides" in describe(readings()["test"])
    assert "ruler" not in describe(difference()["test"])


def test_json_holds_it():
    c = difference(controls=[SEE, IGNORE], margin_in=HALF, second=SECOND, resolution=[DIFFER])
    table = with_controls(0.2, 0) + control_row("blur", 0.6) + SHARP + second([3, 3, 2.9], [1, 1, 1.2])
    json.dumps(out(c, table), allow_nan=False)
