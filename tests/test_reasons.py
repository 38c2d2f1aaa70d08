"""The words of the ledger, read as a reader does: both references are judged again from their rows, and no
reason, cell or text may hold what only a machine would write."""

import re
from pathlib import Path

import pytest
from ledger_tables import HIGH, LOW, WIDE, bound, claim, control_row, difference, rows

from gannb.ledger.check import claim_again, read_claims, read_results
from gannb.ledger.claims import load_names
from gannb.ledger.judge import describe, judge, names_used
from gannb.ledger.network import absent_row, judge_study
from gannb.ledger.said import HERE
from gannb.ledger.words import VERDICTS

ROOT = Path(__file__).resolve().parents[1]
PAPERS = ("dataset_study", "fruits")
DATA = {"emnist": "EMNIST", "celeba": "CelebA", "cifar": "airplanes"}
DATA |= {"apple": "apples", "banana": "bananas", "grape": "grapes", "tomato": "tomatoes"}
MACHINE = {"augment", "dcgan", "c2st", "kid", "fid"}  # keys that no reader reads as words
LEFT = {
    "snake_case": r"(?<![\w.])[a-z]\w*_\w+",
    "a raw data set": r"\b(emnist|celeba|cifar)\b",
    "a word twice": r"\b([A-Za-z]{2,}) \1\b",
    "no results": r"no results",
    "a rule": r"each over at least|as the claim needs|on the other side|Every one of",
    "a setting": r"desk setting",
    "a verdict in front": rf"^({'|'.join(VERDICTS)})\b[^.]*: ",
    "a small letter at the start": r"^[a-z](?![(\d])|[.?!] [a-z]",
    "two stops": r"\.\.|[?!]\.",
    "an open bracket": r"\([^()]*$",
    "python": r"\b(None|True|False|nan)\b|\{|\}",
}


def figures(number):
    "Significant digits of a number as it is written."
    return len(number.replace(".", "").lstrip("0"))


def leftovers(text, keys=()):
    "What a text holds that no reader should meet."
    found = [name for name, pattern in LEFT.items() if re.search(pattern, text)]
    found += [f"key {k}" for k in keys if re.search(rf"(?<![\w%-]){re.escape(k)}(?![\w%])", text)]
    long = [n for n in re.findall(r"(?<![\d,])\d+\.\d+", text) if figures(n) > 4]
    return found + [f"the number {n}" for n in long]


def texts_of(outcome):
    "Every text of a record or of a part of it."
    yield from (outcome[f] for f in ("reason", "text") if f in outcome)
    yield from (control["text"] for control in outcome.get("controls") or ())
    beside = [outcome.get("second"), outcome.get("margin_in"), *(outcome.get("resolution") or ())]
    for inside in (*(outcome.get("parts") or ()), *filter(None, beside)):
        yield from texts_of(inside)


@pytest.fixture(scope="module", params=PAPERS)
def judged(request):
    folder = ROOT / "outputs" / "reference" / request.param
    records, measured = read_claims(folder), read_results(folder)
    names = DATA | load_names(ROOT / "papers" / f"{request.param}.yaml")
    alive = [claim_again(r) for r in records if "claim removed" not in r["ours"]]
    again = judge_study(alive, measured, records[0]["setting"], names=names)
    keys = [k for k in names if k not in names[k] and (k in MACHINE or re.search(r"[_\d%]", k))]
    return again, keys


def test_nothing_of_the_machine_is_left(judged):
    again, keys = judged
    found = {(r["id"], text): left for r in again for text in texts_of(r) if (left := leftovers(text, keys))}
    assert not found, "\n".join(f"{name}: {left}: {text}" for (name, text), left in found.items())


def test_reasons_are_short(judged):
    sizes = {r["id"]: len(r["reason"]) for r in judged[0]}
    assert sum(n <= 350 for n in sizes.values()) >= 0.9 * len(sizes), sizes
    assert max(sizes.values()) <= 500, sizes


def test_the_cell_of_the_table(judged):
    again, keys = judged
    cells = {r["id"]: r["here"] for r in again}
    assert not {name: here for name, here in cells.items() if not here or len(here) > HERE}
    ignored = "a small letter at the start"
    found = {name: [x for x in leftovers(here, keys) if x != ignored] for name, here in cells.items()}
    assert not {name: (cells[name], left) for name, left in found.items() if left}
    numbers = [r for r in again if r["interval"] and not r["here"].startswith("n/a")]
    assert all(re.search(r"\d", r["here"]) for r in numbers) and numbers


def test_the_rule_knows_the_names_too(judged):
    found = {r["id"]: r["rule"] for r in judged[0] if re.search(LEFT["a raw data set"], r["rule"])}
    assert not found


@pytest.mark.parametrize(
    "text, left",
    [
        ("The recall_coarse is 1.", "snake_case"),
        ("On emnist, D(x) is 1.", "a raw data set"),
        ("The rank rank correlation.", "a word twice"),
        ("It is 0.735702.", "the number 0.735702"),
        ("It fails. and more.", "a small letter at the start"),
        ("Reproduced. It is 1.", None),
        ("With g_steps 2 it is 1.", "key g_steps 2"),
        ("On EMNIST, Loss_D is 0.457 [0.364, 0.550]; the claim needs less than 0.46.", None),
    ],
)
def test_the_reader_of_this_test_reads(text, left):
    found = leftovers(text, ["g_steps 2"])
    assert (left in found) if left else not found, found


# ---------------------------------------------------------------- single sentences


def reason(c, table, **more):
    return judge(c, table, "desk", **more)["reason"]


def test_three_verdicts_in_three_sentences():
    start = "On letters, D(x) (the main training) is "
    names = {"d": "letters", "a": "the main training"}
    c = bound(quantity="D(x)")
    assert (
        reason(c, rows(HIGH), names=names) == start + "0.974 [0.960, 0.988]; the claim needs more than 0.9."
    )
    assert reason(c, rows(LOW), names=names).endswith("; the claim needs more than 0.9.")
    assert reason(c, rows(WIDE), names=names).endswith("more than 0.9, and five seeds cannot tell.")
    assert reason(c, rows(HIGH[:3]), names=names).endswith(
        "Only 3 GANs in an arm; a verdict needs at least 5."
    )


def test_a_label_wins_over_a_name_and_a_name_over_a_key():
    two = rows(HIGH) + rows(LOW, "b")
    labelled = difference(arms=[{"arm": "a", "label": "mine"}, "b"])
    assert "(mine minus the other)" in reason(labelled, two, names={"a": "no", "b": "the other"})
    assert "(a minus b)" in reason(difference(), two)


def test_only_the_names_that_are_used_are_kept():
    r = judge(difference(), rows(HIGH) + rows(LOW, "b"), "desk", names={"a": "A", "d": "D", "z": "Z"})
    assert r["names"] == {"a": "A", "d": "D"} and "On D, m (A minus b)" in r["reason"]
    nested = {"kind": "all", "tests": [{"controls": [{"arm": {"arm": "x"}}]}], "over": {"y": 1}}
    assert names_used(nested, {"x": "X", "y": "Y", "w": "W"}) == {"x": "X", "y": "Y"}
    assert "On D, " not in describe(difference()["test"])


def test_a_correlation_is_said_once():
    steps = [
        r for t in range(5) for m, s in (("m", 1), ("n", -1)) for r in rows([s * t] * 5, metric=m, step=t)
    ]
    line = {"kind": "correlation", "arm": "a", "with": "n", "direction": "above", "bound": 0.5}
    said = reason(claim({**line, "quantity": "rank correlation of KID and m"}), steps)
    assert said.startswith("On d, the rank correlation of KID and m is") and said.count("orrelation") == 1
    assert reason(claim(line), steps).startswith("On d, the correlation of m with n is -1")
    assert judge(claim(line), steps, "desk")["parts"][0]["within"] == [-1, 1], "its range is known"


def test_comparisons_that_measure_the_same_share_a_sentence():
    c = bound(datasets=["d", "e", "f"])
    del c["test"]["dataset"]
    table = rows(LOW) + rows(LOW, dataset="e") + rows(WIDE, dataset="f")
    r = judge(c, table, "desk", names={"d": "letters", "e": "faces"})
    assert r["reason"].startswith("Three things must hold: two fail and one stays open. M (a) is 0.702 [")
    assert "] on letters and 0.702 [" in r["reason"] and r["reason"].count("the claim needs") == 1
    numbers = "letters 0.702 [0.664, 0.740]; faces 0.702 [0.664, 0.740]; f 0.916 [0.849, 0.983]"
    assert r["here"] == f"m: {numbers}"


def test_what_is_missing_says_why():
    c = bound(quantity="D(x)")
    table = [absent_row("d", "there are no grape images here")]
    (r,) = judge_study([c], table, "desk")
    assert r["reason"] == "There are no grape images here."
    assert r["ours"] == r["here"] == "n/a (there are no grape images here)"
    (r,) = judge_study(
        [c], [*rows(HIGH, dataset="e"), absent_row("m on d", "490 of 1,430 are here")], "quick"
    )
    assert r["ours"] == "n/a (490 of 1,430 are here)"


def test_a_failed_control_names_the_quantity_and_not_its_key():
    control = {"must": "ignore", "what": "slight noise", "arm": "x", "margin": 0.1, "metric": "kid"}
    said = reason(bound(controls=[control]), rows(HIGH) + control_row("x", 0.437, "kid"))
    assert said.startswith(
        "This ruler cannot tell: it takes something else for an effect. With slight noise, KID"
    )


@pytest.mark.parametrize(
    "ends, decides, differs",
    [([0.70, 0.99, 0.99, 0.99, 0.99], 0.8, True), (HIGH, 0.9, False)],
)
def test_two_scales_with_two_verdicts_are_both_told(ends, decides, differs):
    r = judge(bound(bound=decides, within=[0, 1]), rows(ends), "desk")
    assert ("on a scale that ends at 0 and 1 it would be" in r["reason"]) == differs, r["reason"]
    low, high = r["parts"][0]["shown"]
    assert 0 <= low <= r["parts"][0]["value"] <= high <= 1 and r["shown"] == [low, high]


def test_readings_say_whether_the_other_agrees():
    tests = [{"kind": "bound", "label": "as printed"}, {"kind": "bound", "label": "as coded", "bound": 0.5}]
    c = claim({"kind": "readings", "arm": "a", "direction": "above", "bound": 0.9, "tests": tests})
    assert reason(c, rows(HIGH)).endswith("The other reading agrees.")
    assert reason(c, rows(LOW)).endswith('That is the reading "as printed"; by "as coded" it is reproduced.')
    assert judge(c, rows(HIGH), "desk")["here"] == "m 0.974 [0.960, 0.988]", "of the reading that decides"


def test_an_artefact_says_three_things():
    order = {"kind": "difference", "arms": ["a", "b"]}
    test = {"kind": "artefact", "direction": "above", "margin": 0, "number": order, "counterpart": order}
    test |= {"mechanism": order, "removed": {"kind": "difference", "arms": ["b", "a"]}}
    said = reason(claim(test), rows(HIGH) + rows(LOW, "b"))
    assert said.startswith("If the supposed cause alone made the result, three things would show.")
    assert "The result comes out here: yes. The cause has its effect: yes." in said
    assert "Without the cause the result is gone: yes." in said


def test_a_fact_has_a_sentence_of_its_own_where_the_claim_gives_one():
    fact = {"kind": "fact", "arm": "a", "expected": 5, "says": "{value} of the 5 guidelines are met"}
    assert reason(claim(fact), rows([5])) == "5 of the 5 guidelines are met."
    assert reason(claim(fact), rows([4])) == "4 of the 5 guidelines are met; the claim says 5."
    above = {"kind": "fact", "arm": "a", "expected": 1, "direction": "above", "quantity": "its ratio"}
    assert reason(claim(above), rows([0.735702])) == "Its ratio (d): 0.736; the claim says more than 1."
