"""What people answered: files, who counts, rows, verdicts. Raters here are simulated: they show what the
rules do, and never stand for people."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from gannb.base import GannbError, numpy_rng
from gannb.ledger import people
from gannb.ledger.check import CLAIMS, PROTOCOLS, RESULTS, check, read_results, results_text
from gannb.ledger.claims import check_claim, load_claims
from gannb.ledger.intervals import t_interval
from gannb.ledger.judge import check_amendments, claim_hash, describe, judge
from gannb.ledger.network import judge_study
from gannb.ledger.people import (
    AGAIN,
    ASKED,
    REAL,
    STAND_IN,
    UNTRAINED,
    Answers,
    Item,
    answers_text,
    asked_hash,
    catches,
    file_name,
    left_out,
    people_rows,
    read_answer_file,
    read_answers,
    shares,
)

ROOT = Path(__file__).resolve().parents[1]
PAPERS = sorted(p.stem for p in (ROOT / "papers").glob("*.yaml"))
ASK = {"series": "real", "of": "digits", "direction": "below", "bound": 0.7, "reason": "0.5 is guessing"}


def claim(name="look-real", **asked):
    test = {"kind": "people", "question": "Can people tell?", "asked": {**ASK, **asked}}
    said = {"sentence": "s", "short": "s", "where": "w", "supported_by_paper": None, "supported_reason": "r"}
    return {"id": name, **said, "published": None, "test": test}


def series(part="digits"):
    "16 fakes, 8 + 8 real images, 4 obvious fakes, 4 repeats."
    roles = [ASKED] * 16 + [REAL] * 8 + [STAND_IN] * 8 + [UNTRAINED] * 4
    real = (REAL, STAND_IN)
    items = [
        Item(n, role, part, f"p{n}", "real" if role in real else "generated", 0)
        for n, role in enumerate(roles, 1)
    ]
    again = [Item(36 + k, AGAIN, part, f"p{18 + k}", "real", 18 + k) for k in range(1, 5)]
    return (*items, *again)


OTHER = {"real": "generated", "generated": "real"}


def rater(seed, seen=0.0, of=None, careful=True, **more):
    "Sees through a share of the pictures and guesses the others; careful: passes the catch pictures."
    of, rng, said = of or claim(), numpy_rng(seed, "rater"), {}
    for i in series():
        right = rng.random() < 0.5 + seen / 2 or (careful and i.role == UNTRAINED)
        wrong_obvious = not careful and i.role == UNTRAINED
        said[i.place] = OTHER[i.right] if wrong_obvious or not right else i.right
        if careful and i.earlier:
            said[i.place] = said[i.earlier]
    fields = {"paper": "example", "claim": of["id"], "setting": "desk", "kind": "real"} | more
    head = {"rater": f"{seed:012x}", "asked": asked_hash(of["test"])} | fields
    return Answers(**head, items=series(), given=tuple(said.values()), seconds=tuple(rng.random(40)))


def judged(raters, of=None, setting="desk"):
    of = of or claim()
    rows, faults = people_rows([of], raters, "example", setting)
    assert not faults
    return judge(of, rows, setting)


# ---- one rater


def test_a_rater_who_guesses_is_near_one_half():
    told = [shares(rater(n))["digits"] for n in range(200)]
    assert abs(np.mean(told) - 0.5) < 0.02
    assert all(catches(rater(n))[people.CAUGHT] == 1 for n in range(5))
    everything = replace(rater(1), given=("generated",) * 40)
    assert shares(everything) == {"digits": 0.5}, "who calls everything generated has told nothing"
    assert catches(everything)[people.FLIP] == 0.5


def test_the_interval_over_raters_who_guess_holds_one_half():
    told = np.reshape([shares(rater(n))["digits"] for n in range(1600)], (200, 8))
    held = [t_interval(group).low < 0.5 < t_interval(group).high for group in told]
    assert 0.9 <= np.mean(held) <= 0.99


def test_what_is_right_and_wrong_is_counted_as_it_should_be():
    right = replace(rater(1), given=tuple(i.right for i in series()))
    wrong = replace(rater(1), given=tuple(OTHER[i.right] for i in series()))
    assert shares(right) == {"digits": 1.0} and shares(wrong) == {"digits": 0.0}
    assert catches(right) == {people.CAUGHT: 1, people.SAME: 1, people.FLIP: 0.5}
    assert catches(wrong)[people.CAUGHT] == 0 and catches(wrong)[people.SAME] == 1
    leak = [OTHER[i.right] if i.role == STAND_IN else i.right for i in series()]
    assert catches(replace(right, given=tuple(leak)))[people.FLIP] == 1


def test_the_catch_pictures_say_who_is_left_out():
    good = rater(1)
    assert left_out(good) == ""
    caught = [*good.given]
    for place in (33, 34):
        caught[place - 1] = "real"
    assert "caught 50%" in left_out(replace(good, given=tuple(caught)))
    caught[33] = "generated"
    assert left_out(replace(good, given=tuple(caught))) == "", "one slip in four is allowed"
    changed = [*good.given]
    for i in series()[-4:-1]:
        changed[i.place - 1] = OTHER[changed[i.earlier - 1]]
    assert "same to 25%" in left_out(replace(good, given=tuple(changed)))


def test_a_pair_that_comes_back_has_its_sides_changed():
    items = (
        Item(1, ASKED, "a against b", "a|b", "left", 0),
        Item(2, REAL, "a", "r|s", "left", 0),
        Item(3, UNTRAINED, "a", "r|u", "right", 0),
        Item(4, AGAIN, "a", "s|r", "right", 2),
    )
    head = ("0" * 12, "p", "c", "desk", "better", "x")
    same = Answers(*head, items, ("left", "left", "right", "right"), (1.0,) * 4)
    assert shares(same) == {"a against b": 1.0} and catches(same)[people.SAME] == 1
    assert catches(replace(same, given=("left", "left", "right", "left")))[people.SAME] == 0


# ---- files


def written(folder, raters):
    folder.mkdir(exist_ok=True)
    for a in raters:
        (folder / file_name(a)).write_text(answers_text(a), encoding="utf-8")
    return folder


def test_answers_come_back_as_they_were(tmp_path):
    raters = [rater(n) for n in range(3)]
    found, faults = read_answers(written(tmp_path, raters))
    assert not faults and [a.given for a in found] == [a.given for a in raters]
    assert [a.series for a in found] == [a.series for a in raters]
    assert read_answers(tmp_path / "nowhere") == ([], [])
    assert len({people.new_rater() for _ in range(50)}) == 50


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda t: t.replace("p3,generated", "p3,real"), "hash of its series differs"),
        (lambda t: t.replace("rater,", "name,", 1), "no answer file"),
        (lambda t: "\n".join(t.split("\n")[:20]) + "\n", "hash of its series|no catch pictures"),
        (lambda t: t.split("\n")[0] + "\n", "no answers"),
        (lambda t: t.replace(",asked,digits", ",askd,digits", 1), "no answer of a series"),
        (lambda t: t.replace("desk", "paper", 1), "mixes"),
        (lambda t: t.replace("000000000001", "Ada Lovelace"), "rater is none of ours"),
        (lambda t: t.replace("0,generated,0", "0,perhaps,0", 1), "is no answer to its question"),
        (lambda t: "", "no answer file"),
        (lambda t: t + "x,y\n", "columns"),
        (lambda t: t + '"', "cannot be read"),
    ],
)
def test_broken_files_are_named(tmp_path, change, words):
    text = answers_text(rater(1))
    assert change(text) != text
    path = tmp_path / "b.csv"
    path.write_text(change(text), encoding="utf-8")
    with pytest.raises(GannbError, match=f"b.csv.*({words})"):
        read_answer_file(path)
    found, faults = read_answers(tmp_path)
    assert not found and len(faults) == 1


def test_a_picture_and_a_huge_file_are_no_answers(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\x89PNG\r\n\xff\xfe\x00")
    (tmp_path / "b.csv").write_bytes(b"x" * (people.MOST_BYTES + 1))
    assert ["cannot be read" in f or "too large" in f for f in read_answers(tmp_path)[1]] == [True, True]


def test_files_that_are_there_twice_count_once(tmp_path):
    folder = written(tmp_path, [rater(n) for n in range(5)])
    text = answers_text(rater(2))
    (folder / "z-copy.csv").write_text(text, encoding="utf-8")
    renamed = text.replace(rater(2).rater, "abcdefabcdef")
    (folder / "z-renamed.csv").write_text(renamed, encoding="utf-8")
    again = answers_text(replace(rater(7), rater=rater(3).rater))
    (folder / "z-second-try.csv").write_text(again, encoding="utf-8")
    found, faults = read_answers(folder)
    assert len(found) == 5 and len(faults) == 3
    assert all(name in " ".join(faults) for name in ("z-copy", "z-renamed", "z-second-try"))


def test_foreign_answers_are_named_and_do_not_count():
    whole = [replace(rater(n), file=f"{n}.csv") for n in range(5)]
    strange = [
        replace(rater(10, paper="other"), file="paper.csv"),
        replace(rater(11, claim="none-such"), file="claim.csv"),
        replace(rater(12, setting="quick"), file="setting.csv"),
        replace(rater(13, asked="00000000"), file="asked.csv"),
        replace(rater(14), file="series.csv", items=series()[:3] + series("x")[3:4] + series()[4:]),
        replace(rater(15), file="part.csv", items=series("letters")),
    ]
    rows, faults = people_rows([claim()], [*whole, *strange], "example", "desk")
    assert [f.split(".csv")[0] for f in faults] == ["paper", "claim", "setting", "asked", "part", "series"]
    assert judge(claim(), rows, "desk")["n"] == 5


# ---- verdicts


def test_raters_who_guess_and_raters_who_see():
    cannot = judged([rater(n) for n in range(8)])
    assert cannot["verdict"] == "reproduced" and cannot["n"] == 8, cannot["reason"]
    assert "raters" not in cannot["ours"] and "share told right" in cannot["reason"]
    see = judged([rater(n, seen=0.9) for n in range(8)])
    assert see["verdict"] == "not reproduced", see["reason"]
    between = judged([rater(n, seen=s) for n, s in enumerate((0, 0.9, 0.1, 0.9, 0, 0.6))])
    assert between["verdict"] == "inconclusive" and "six raters cannot tell" in between["reason"]


def test_the_other_way_round_and_all_alike():
    above = claim(direction="above", bound=0.7)
    assert judged([rater(n, 0.9, above) for n in range(8)], above)["verdict"] == "reproduced"
    all_right = [replace(rater(n, 1, above)) for n in range(5)]
    r = judged(all_right, above)
    assert r["verdict"] == "reproduced" and "every rater" in r["ours"], r["ours"]
    assert "seed" not in r["reason"], r["reason"]


def test_four_raters_decide_nothing_and_say_so():
    r = judged([rater(n) for n in range(4)])
    assert r["verdict"] == "not testable here" and r["ours"] == "n/a (needs people: 4 of 5)"
    assert "four who count have answered; five are needed" in r["reason"] and r["interval"] is None
    nobody = judge(claim(), [], "desk")
    assert nobody["ours"] == "n/a (needs people)" and nobody["reason"].startswith(
        "Only people can judge this:"
    )


def test_who_fails_the_catch_pictures_is_left_out_and_counted():
    raters = [rater(n) for n in range(5)] + [rater(9, careful=False)]
    r = judged(raters)
    assert r["n"] == 5 and "1 more rater did not pass the catch pictures and is not counted" in r["reason"]
    few = judged(raters[1:])
    assert few["ours"] == "n/a (needs people: 4 of 5)" and "1 more rater did not pass" in few["reason"]


def test_a_claim_may_ask_for_more_raters():
    of = claim(raters=9)
    r = judged([rater(n, of=of) for n in range(8)], of)
    assert r["ours"] == "n/a (needs people: 8 of 9)" and "nine are needed" in r["reason"]
    assert judged([rater(n, of=of) for n in range(9)], of)["verdict"] == "reproduced"


def test_a_ruler_of_people_must_see_and_must_not_be_fooled():
    blind = [rater(n) for n in range(5)] + [rater(20 + n, careful=False) for n in range(5)]
    r = judged(blind)
    assert r["verdict"] == "not testable here" and "an untrained G" in r["reason"]
    leak = [OTHER[i.right] if i.role == STAND_IN else None for i in series()]
    told = [replace(a, given=tuple(b or g for b, g in zip(leak, a.given))) for a in map(rater, range(5))]
    told = [replace(a, given=_same_twice(a)) for a in told]
    r = judged(told)
    assert r["verdict"] == "not testable here" and "real images in place of the fakes" in r["reason"]
    assert {c["must"] for c in r["controls"]} == {"see", "ignore"}


def _same_twice(a):
    said = dict(zip((i.place for i in a.items), a.given))
    return tuple(said[i.earlier or i.place] for i in a.items)


def test_a_quick_run_judges_nothing():
    quick = [rater(n, setting="quick") for n in range(8)]
    r = judged(quick, setting="quick")
    assert r["verdict"] == "not testable here" and r["reason"].startswith("A quick run judges nothing.")


def test_every_part_must_hold():
    of = claim(of=["digits", "letters"])
    half = {"digits": series(), "letters": series("letters")}

    def both(n, seen):
        a, b = rater(n, of=of), rater(100 + n, seen, of)
        items = [
            i._replace(place=i.place + 40, earlier=i.earlier and i.earlier + 40) for i in half["letters"]
        ]
        given = a.given + b.given
        return replace(a, items=(*half["digits"], *items), given=given, seconds=(1.0 + n,) * 80)

    assert judged([both(n, 0) for n in range(8)], of)["verdict"] == "reproduced"
    r = judged([both(n, 0.95) for n in range(8)], of)
    assert r["verdict"] == "not reproduced" and len(r["parts"]) == 2
    assert [p["verdict"] for p in r["parts"]] == ["reproduced", "not reproduced"]


# ---- the same from the rows alone


def test_a_folder_with_answers_is_judged_again_from_its_rows(tmp_path):
    claims = [claim(), claim("second")]
    raters = [rater(n) for n in range(6)] + [rater(9, careful=False)]
    rows, _ = people_rows(claims, raters, "example", "desk")
    text, protocols = results_text(rows)
    (tmp_path / RESULTS).write_text(text, encoding="utf-8")
    (tmp_path / PROTOCOLS).write_text(json.dumps(protocols), encoding="utf-8")
    records = judge_study(claims, rows, "desk")
    (tmp_path / CLAIMS).write_text(json.dumps(records), encoding="utf-8")
    assert [r["verdict"] for r in records] == ["reproduced", "not testable here"]
    assert check(tmp_path) == [] and len(read_results(tmp_path)) == len(rows)
    lines = text.splitlines()
    moved = [x.replace(",end,", ",end,").rsplit(",", 2) if ",end," in x else None for x in lines]
    changed = [f"{m[0]},0.95,{m[2]}" if m else x for m, x in zip(moved, lines)]
    (tmp_path / RESULTS).write_text("\n".join(changed) + "\n", encoding="utf-8")
    assert any("look-real" in said and "verdict" in said for said in check(tmp_path))


@pytest.mark.parametrize("paper", PAPERS)
def test_committed_results_stay_as_they_are(paper):
    "How people are asked changes no verdict, no reason and no hash while nobody has answered."
    folder = ROOT / "outputs" / "reference" / paper
    before = {r["id"]: r for r in json.loads((folder / CLAIMS).read_text(encoding="utf-8"))}
    claims = [c for c in load_claims(ROOT / "papers" / f"{paper}.yaml") if c["test"]["kind"] == "people"]
    assert claims and all("asked" in c["test"] for c in claims)
    rows = read_results(folder)
    for c in claims:
        old, new = before[c["id"]], judge(c, rows, "desk")
        assert [new[f] for f in ("verdict", "ours", "reason", "hash", "here", "n")] == [
            old[f] for f in ("verdict", "ours", "reason", "hash", "here", "n")
        ]
        assert new["verdict"] == "not testable here" and new["ours"] == "n/a (needs people)"
        assert len(describe(c["test"])) < 900 and "people who pass the catch pictures" in describe(c["test"])
    check_amendments(claims, [before[c["id"]] for c in claims])
    assert check(folder) == []


def test_the_hash_of_a_claim_leaves_out_how_people_are_asked():
    bare = {**claim(), "test": {"kind": "people", "question": "Can people tell?"}}
    assert claim_hash(claim()) == claim_hash(bare)
    assert asked_hash(claim(bound=1)["test"]) == asked_hash(claim(bound=1.0)["test"])
    assert asked_hash(claim()["test"]) != asked_hash(claim(bound=0.71)["test"])
    assert asked_hash(claim()["test"]) != asked_hash({**claim()["test"], "question": "Can they?"})


@pytest.mark.parametrize(
    "asked, words",
    [
        ({"series": "guess"}, "Allowed: real, better, what"),
        ({"bound": 60}, "between 0 and 1"),
        ({"bound": "half"}, "finite number"),
        ({"bound": [0.4, 0.6]}, "one number otherwise"),
        ({"against": "real images"}, "goes with series: better"),
        ({"series": "better"}, "goes with series: better"),
        ({"series": "better", "of": ["a", "b"], "against": "c"}, "one data set"),
        ({"series": "what"}, "one data set alone"),
        ({"raters": 4}, "at least 5"),
        ({"margin": 1}, "Allowed: series, of"),
        ({"of": ["a", "a"]}, "different"),
    ],
)
def test_malformed_questions_are_refused(asked, words):
    with pytest.raises(GannbError, match=words) as e:
        check_claim(claim(**asked))
    assert "test.asked" in str(e.value)


def test_a_question_needs_its_parts():
    for field in ("of", "bound", "reason", "series", "direction"):
        c = claim()
        del c["test"]["asked"][field]
        with pytest.raises(GannbError, match=f"test.asked.{field} is missing"):
            check_claim(c)
    with pytest.raises(GannbError, match="must be {series, of"):
        check_claim({**claim(), "test": {"kind": "people", "question": "q", "asked": "yes"}})


# ---- in a report


def test_a_report_finds_the_answers_and_names_what_does_not_count(tmp_path, monkeypatch):
    from gannb.studies.study import Study, answers_folder

    monkeypatch.setenv("GANNB_OUTPUTS", str(tmp_path))
    folder = answers_folder("example")
    assert folder == tmp_path / "answers" / "example"
    said = []
    request = SimpleNamespace(paper="example", setting="desk")
    study = SimpleNamespace(request=request, published={"claims": [claim()]}, say=said.append)
    assert Study.answered(study) == [] and not said and not folder.exists()
    folder.mkdir(parents=True)
    written(folder, [rater(n) for n in range(8)])
    written(folder, [rater(20, setting="quick")])
    (folder / "note.csv").write_text("x\n", encoding="utf-8")
    rows = Study.answered(study)
    assert judge(claim(), rows, "desk")["verdict"] == "reproduced"
    assert len(said) == 2 and "note.csv" in said[0] and "setting 'quick'" in said[1]


def test_the_card_of_a_claim_shows_the_verdict_in_place_of_needs_people():
    from gannb.report.verdict import claim_block

    asked = claim_block(judged([rater(n) for n in range(8)]))
    assert "✓ reproduced" in asked and "Only people can judge this" not in asked
    assert "n = 8 raters, each with a random id" in asked and "Rater 8" in asked and "GAN" not in asked
    waiting = claim_block(judge(claim(), [], "desk"))
    assert "Only people can judge this: Can people tell?" in waiting and "Rater" not in waiting
