"How clearly a claim was decided, and by which of its comparisons: `ledger.distance`."

import math

import pytest
from ledger_tables import HIGH, LOW, WIDE, bound, claim, difference, rows

from gannb.ledger.distance import deciding, distance
from gannb.ledger.judge import judge

PAPER = "paper"


def both(**more):
    tests = [{"kind": "bound", "arm": a, "label": a, "direction": "above", "bound": 0.9} for a in ("a", "b")]
    return claim({"kind": "all", "tests": tests, **more})


@pytest.mark.parametrize("direction", ["above", "below"])
@pytest.mark.parametrize("values", [HIGH, LOW, WIDE])
def test_a_distance_beyond_one_is_a_decided_claim(values, direction):
    record = judge(bound(direction=direction), rows(values), PAPER)
    [leaf] = deciding(record)
    d = distance(leaf)
    verdict = "reproduced" if d > 1 else "not reproduced" if d < -1 else "inconclusive"
    assert verdict == record["verdict"] and leaf["decides"]
    other = judge(bound(direction={"above": "below", "below": "above"}[direction]), rows(values), PAPER)
    assert distance(deciding(other)[0]) == pytest.approx(-d)


def test_the_amount():
    leaf = {"value": 1.5, "interval": [1.0, 2.0], "target": [0.0, 3.0]}
    assert distance(leaf) == pytest.approx(3.0)
    assert distance({**leaf, "target": [0.0, 1.75]}) == pytest.approx(0.5), "the nearest of two ends"
    assert distance({**leaf, "target": [2.5, 3.0]}) == pytest.approx(-2.0)


def test_no_interval_and_no_width():
    fact = {"kind": "fact", "expected": 3, "arm": "a"}
    assert distance(deciding(judge(claim(fact), rows([3]), PAPER))[0]) is None
    assert distance(deciding(judge(bound(), [], PAPER))[0]) is None
    same = {"value": 0.5, "interval": [0.5, 0.5], "target": [0.9, None]}
    assert distance(same) == -math.inf and distance({**same, "target": [None, 0.9]}) == math.inf


def test_of_all_the_worst_decides_and_of_any_the_best():
    table = rows(HIGH) + rows(LOW, "b")
    assert [leaf["decides"] for leaf in deciding(judge(both(), table, PAPER))] == [False, True]
    one = judge(both(kind="any"), table, PAPER)
    assert one["verdict"] == "reproduced" and [leaf["decides"] for leaf in deciding(one)] == [True, False]


def test_what_is_missing_decides_where_it_made_the_verdict():
    record = judge(both(), rows(HIGH), PAPER)
    assert record["verdict"] == "not testable here"
    assert [(leaf["label"], leaf["decides"]) for leaf in deciding(record)] == [("a", False), ("b", True)]


def test_of_readings_the_first_is_told():
    record = judge(both(kind="readings"), rows(HIGH) + rows(LOW, "b"), PAPER)
    assert [(leaf["label"], leaf["decides"]) for leaf in deciding(record)] == [("a", True)]


def test_checks_that_had_to_pass_first_are_no_comparisons():
    gate = {
        "kind": "bound",
        "label": "good enough",
        "metric": "m",
        "reason": "r",
        "arm": "b",
        "direction": "above",
        "bound": 0.5,
    }
    table = rows(HIGH) + rows(LOW, "b")
    record = judge(bound(requires=[gate]), table, PAPER)
    assert [p["gate"] for p in record["parts"]] == [False, True]
    [leaf] = deciding(record)
    assert leaf["target"] == [0.9, None] and leaf["interval"] == record["interval"]
    inside = judge(both(requires=[gate]), table, PAPER)
    assert [leaf["label"] for leaf in deciding(inside)] == ["a", "b"]


def test_an_artefact_has_three():
    order = {"kind": "difference", "arms": ["a", "b"]}
    test = {"kind": "artefact", "direction": "above", "margin": 0}
    test |= {"number": order, "counterpart": order, "mechanism": order}
    for last, at in (("c", 2), ("d", 2)):
        removed = {"kind": "difference", "arms": ["a", last]}
        table = rows(HIGH) + rows(LOW, "b") + rows([v + 0.2 for v in HIGH], "c") + rows(LOW, "d")
        told = deciding(judge(claim({**test, "removed": removed}), table, PAPER))
        assert [leaf["decides"] for leaf in told] == [i == at for i in range(3)]
    table = rows(LOW) + rows(HIGH, "b") + rows(LOW, "c")
    told = deciding(judge(claim({**test, "removed": removed}), table + rows(LOW, "d"), PAPER))
    assert [leaf["decides"] for leaf in told] == [True, False, False]
    assert told[0]["label"] == "the number" and distance(told[0]) < -1


def test_a_difference_is_its_own_comparison():
    [leaf] = deciding(judge(difference(), rows(HIGH) + rows(LOW, "b"), PAPER))
    assert leaf["decides"] and distance(leaf) > 1


@pytest.mark.parametrize("first, at", [(HIGH, 0), ([v + 0.02 for v in HIGH], 1)])
def test_among_comparisons_of_one_verdict_the_nearest_to_its_bound_decides(first, at):
    record = judge(both(), rows(first) + rows([v + 0.01 for v in HIGH], "b"), PAPER)
    far = [distance(leaf) for leaf in deciding(record)]
    assert record["verdict"] == "reproduced" and min(far) > 1 and far.index(min(far)) == at
    assert [leaf["decides"] for leaf in deciding(record)] == [i == at for i in range(2)]
