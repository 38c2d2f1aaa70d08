"What a claim may say of its ruler: each field refused in words, and old claims keep their hashes."

import copy
import json
from pathlib import Path

import pytest
import yaml

from gannb.base import GannbError
from gannb.ledger.claims import check_claim, load_claims, load_names
from gannb.ledger.judge import claim_hash
from ledger_tables import bound, claim, difference, same

ROOT = Path(__file__).resolve().parents[1]
SEE = {"must": "see", "what": "20 letters repeated", "arm": "20 repeated", "against": "real images"}
IGNORE = {"must": "ignore", "what": "the other background", "arm": "grey", "against": "real images"}
MARGIN_IN = {"what": "half of slight blur", "arm": "slight blur", "against": "real images", "share": 0.5}
SECOND = {"kind": "difference", "metric": "coverage", "margin": 0}
APART = {"kind": "difference", "arms": ["half", "all"], "direction": "below", "margin": 0.05}


def message(c):
    "What check_claim says to a malformed claim."
    with pytest.raises(GannbError) as e:
        check_claim(c)
    return str(e.value)


@pytest.mark.parametrize(
    "c",
    [
        difference(controls=[SEE, IGNORE]),
        difference(controls=[{**SEE, "direction": "below", "margin": 0, "reason": "r"}]),
        bound(controls=[{**SEE, "margin": 0.1}]),
        difference(controls=[{**SEE, "arm": {"arm": "x", "dataset": "e", "metric": "n", "at": "end"}}]),
        difference(margin_in=MARGIN_IN),
        bound(margin_in={**MARGIN_IN, "from": 0.5}),
        difference(second=SECOND),
        difference(second={**SECOND, "controls": [SEE]}),
        same(
            resolution=[
                APART,
                {"kind": "bound", "metric": "recall", "arm": "a", "direction": "above", "bound": 0},
            ]
        ),
        bound(within=[0, 1]),
        claim({"kind": "readings", "tests": [{**APART, "label": "as said"}, {**APART, "label": "as coded"}]}),
        {**bound(), "about": "beyond", "added": "asked by a reader", "amendment": "a typo", "rank": 1},
    ],
)
def test_the_new_fields_are_taken(c):
    before = copy.deepcopy(c)
    assert check_claim(c) is c and c == before


@pytest.mark.parametrize(
    "c, words",
    [
        (
            difference(controls=[{**SEE, "must": "sea"}]),
            "test.controls[0].must='sea' is not known. Did you mean 'see'",
        ),
        (
            difference(controls=[SEE, {**IGNORE, "agianst": "x"}]),
            "test.controls[1]: field='agianst' is not known. Did you mean 'against'",
        ),
        (
            difference(controls=[{"must": "see", "what": "x"}]),
            "test.controls[0].arm is missing. Needed here: must, what, arm",
        ),
        (difference(controls=[{**SEE, "margin": -1}]), "test.controls[0].margin must be a finite number"),
        (
            difference(controls=[{**SEE, "arm": {"arm": "x", "datset": "e"}}]),
            "test.controls[0].arm must be a name or",
        ),
        (difference(controls=SEE), "test.controls must be a list of {must"),
        (difference(controls=[]), "test.controls must be a list of {must"),
        (difference(controls=["x"]), "test.controls must be a list of {must"),
        (
            difference(controls=[{**IGNORE, "direction": "above"}]),
            "test.controls[0].direction goes with must: see",
        ),
        (
            difference(controls=[{**SEE, "direction": "up"}]),
            "test.controls[0].direction='up' is not known. Allowed: above, below",
        ),
        (bound(controls=[SEE]), "test.controls[0].margin is missing: the test has no margin"),
        (difference(margin=0, controls=[IGNORE]), "test.controls[0].margin must be above zero"),
        (difference(margin_in={**MARGIN_IN, "share": 0}), "test.margin_in.share must be a finite number"),
        (
            difference(margin_in={**MARGIN_IN, "shrae": 1}),
            "test.margin_in: field='shrae' is not known. Did you mean 'share'",
        ),
        (difference(margin_in="half of slight blur"), "test.margin_in must be {what, arm"),
        (difference(margin_in={"what": "x"}), "test.margin_in.arm is missing. Needed here: what, arm"),
        (bound(margin_in=MARGIN_IN), "test.margin_in says what a margin amounts to, and there is none"),
        (
            difference(margin_in={**MARGIN_IN, "from": 0.5}),
            "test.margin_in.from is the distance of one bound",
        ),
        (
            difference(second={"kind": "diference", "metric": "x", "margin": 0}),
            "test.second.kind='diference' is not known. Did you mean 'difference'",
        ),
        (difference(second={"kind": "difference", "metric": "x"}), "test.second.margin is missing"),
        (difference(second=[SECOND]), "test.second must be a mapping with a kind"),
        (difference(second={"kind": "people", "question": "q"}), "test.second must look at results"),
        (
            difference(second={**SECOND, "datasets": ["d", "e"]}),
            "test.second must make as many comparisons as the test: 1; it makes 2",
        ),
        (
            difference(second={**SECOND, "controls": [{**SEE, "must": "sea"}]}),
            "test.second.controls[0].must='sea'",
        ),
        (same(resolution=APART), "test.resolution must be a list of tests"),
        (same(resolution=[]), "test.resolution must be a list of tests"),
        (
            same(resolution=[{**APART, "magrin": 1}]),
            "test.resolution[0]: field='magrin' is not known. Did you mean 'margin'",
        ),
        (bound(within=[1, 0]), "test.within must be [low, high]"),
        (bound(within=1), "test.within must be [low, high]"),
        (
            claim({"kind": "readings", "tests": [APART, {**APART, "label": "x"}]}),
            "test.tests of kind readings need a label each",
        ),
        (
            claim({"kind": "readings", "tests": [{**APART, "label": "x"}] * 2}),
            "test.tests of kind readings need different labels",
        ),
        (claim({"kind": "readings", "tests": [{**APART, "label": "x"}]}), "a list of at least two tests"),
        ({**bound(), "about": "arithmetics"}, "about='arithmetics' is not known. Did you mean 'arithmetic'"),
        ({**bound(), "added": True}, "added must be a text"),
        ({**bound(), "amendment": ""}, "amendment must be a text"),
        ({**bound(), "rank": 0}, "rank must be a whole number"),
        ({**bound(), "rank": True}, "rank must be a whole number"),
        ({**bound(), "amendmnet": "x"}, "field='amendmnet' is not known. Did you mean 'amendment'"),
        (bound(metric="mean_kid_subsets"), "test.metric 'mean_kid_subsets' is shown and never decides"),
        (bound(metric="clean_fid_inf"), "test.metric 'clean_fid_inf' is shown and never decides"),
    ],
)
def test_a_wrong_field_is_named(c, words):
    said = message(c)
    assert words in said and said.startswith("claim 'a-claim': "), said


def test_a_control_needs_a_place():
    arms = [{"arm": "a", "dataset": "d"}, {"arm": "a", "dataset": "e"}]
    c = difference(arms=arms, normalised="between the ends", controls=[SEE])
    del c["test"]["dataset"]
    assert "test.controls[0].dataset is missing" in message(c)
    c["test"]["controls"] = [{**SEE, "dataset": "d"}]
    check_claim(c)
    c["test"]["controls"] = [
        {**SEE, "arm": {"arm": "x", "dataset": "d"}, "against": {"arm": "y", "dataset": "d"}}
    ]
    check_claim(c)
    c["test"]["margin_in"] = MARGIN_IN
    assert "test.margin_in.dataset is missing" in message(c)


def test_no_part_inherits_what_another_test_says_of_its_ruler():
    "An all with controls hands down margin and arms, not its controls (which would lack their metric here)."
    parts = [{"kind": "difference", "metric": "n"}, {"kind": "difference", "metric": "o"}]
    c = claim({"kind": "all", "arms": ["a", "b"], "direction": "above", "margin": 0.1, "tests": parts})
    c["test"]["controls"] = [{**SEE, "margin": 0.3}]
    check_claim(c)
    c["test"]["tests"][0] = {**parts[0], "margin": 0, "controls": [IGNORE]}
    assert "test.tests[0].controls[0].margin must be above zero" in message(c)


def test_a_second_ruler_takes_over_place_and_arms():
    "Neither the margin nor the measure: those belong to the ruler."
    check_claim(difference(second={"kind": "difference", "metric": "x", "margin": 0}))
    assert "test.second.metric is missing" in message(difference(second={"kind": "difference", "margin": 0}))
    order = {"kind": "order", "comparisons": [["a", "b"], ["a", "c"]], "direction": "above", "margin": 0}
    check_claim(claim({**order, "second": {"kind": "order", "metric": "x", "margin": 0}}))
    said = message(
        claim({**order, "second": {"kind": "difference", "metric": "x", "arms": ["a", "b"], "margin": 0}})
    )
    assert "as many comparisons as the test: 2; it makes 1" in said


def test_the_same_ruler_is_asked_for_its_resolution():
    check_claim(
        same(resolution=[{"kind": "difference", "arms": ["x", "y"], "direction": "above", "margin": 0}])
    )


def test_what_a_test_says_of_its_ruler_is_fixed_with_it():
    plain = claim_hash(difference())
    for more in ({"controls": [SEE]}, {"margin_in": MARGIN_IN}, {"second": SECOND}, {"resolution": [APART]}):
        assert claim_hash(difference(**more)) != plain
    dose = [{**SEE, "margin": 0.2}]
    assert claim_hash(difference(controls=dose)) != claim_hash(difference(controls=[SEE]))
    for more in ({"about": "beyond"}, {"added": "later"}, {"amendment": "why"}, {"rank": 2}):
        assert claim_hash({**difference(), **more}) == plain
    assert claim_hash(difference(within=[0, 1])) == plain, "how an interval is said decides nothing"


@pytest.mark.parametrize("paper", ["dataset_study", "fruits"])
def test_old_claims_keep_their_hashes(paper):
    "Every test of the committed results hashes today as it did when it was fixed."
    path = ROOT / "outputs" / "reference" / paper / "claims.json"
    for record in json.loads(path.read_text(encoding="utf-8")):
        written = {field: value for field, value in record["test"].items() if value is not None}
        assert claim_hash({"test": written}) == record["hash"], record["id"]


def test_a_hash_of_the_first_results():
    test = {
        "kind": "fact",
        "metric": "guidelines_met",
        "quantity": "guidelines met",
        "arm": "networks trained here",
        "expected": 5,
        "unit": "of 5 guidelines",
        "units": "none",
    }
    assert claim_hash({"test": test}) == "5c22e63669a36324"


def test_the_new_fields_are_read_from_yaml():
    claims = [difference(controls=[SEE], second=SECOND, margin_in=MARGIN_IN), {**same(), "id": "b"}]
    assert load_claims(yaml.safe_dump(claims)) == claims
    text = yaml.safe_dump(claims).replace("must: see", "must: sea")
    with pytest.raises(GannbError, match="controls.0..must='sea'"):
        load_claims(text)


# ---------------------------------------------------------------- names and groups of a page


def page(groups, **more):
    claims = [difference(), {**same(), "id": "b"}]
    return yaml.safe_dump({"claims": claims, "groups": groups, **more})


def test_each_claim_gets_its_group():
    groups = {"The data": ["b"], "Letters": ["a-claim"]}
    assert [c["group"] for c in load_claims(page(groups))] == ["Letters", "The data"]
    assert "group" not in load_claims(yaml.safe_dump({"claims": [bound()]}))[0], "groups may be left out"


@pytest.mark.parametrize(
    "groups, words",
    [
        ({"The data": ["b"]}, "claim 'a-claim' stands in no group"),
        ({"The data": ["b", "a-claim"], "More": ["b"]}, "claim 'b' stands twice"),
        ({"The data": ["b", "a-clam"]}, "Did you mean 'a-claim'"),
        (["b", "a-claim"], "must map headings"),
        ({"The data": "b"}, "must map headings"),
    ],
)
def test_groups_that_do_not_hold_every_claim_once(groups, words):
    with pytest.raises(GannbError) as e:
        load_claims(page(groups))
    assert words in str(e.value)


def test_names_are_read_beside_the_claims():
    groups = {"All": ["a-claim", "b"]}
    assert load_names(page(groups, names={"a": "with it"})) == {"a": "with it"}
    assert load_names(page(groups)) == {}
    with pytest.raises(GannbError, match="names must map keys to texts"):
        load_names(page(groups, names={"a": 3}))


def test_words_do_not_change_a_hash():
    "What is only said may change after the first run that judged."
    fact = {"kind": "fact", "metric": "m", "arm": "a", "expected": 5}
    assert claim_hash(claim(fact)) == claim_hash(claim({**fact, "says": "{value} of 5"}))
    ranked = {**bound(), "rank": 1, "group": "All"}
    assert claim_hash(ranked) == claim_hash(bound()) and check_claim(ranked) is ranked
