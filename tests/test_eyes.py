"""The eye test without a browser: series, sittings, files, a page. Answers here are simulated."""

import csv
import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from gannb.base import GannbError, numpy_rng
from gannb.commands.eyes_page import RECORD, page_of_answers
from gannb.data import ImageSet
from gannb.ledger.people import (
    AGAIN,
    ASKED,
    NONE_OF_THESE,
    REAL,
    STAND_IN,
    UNTRAINED,
    answers_text,
    asked_hash,
    catches,
    file_name,
    left_out,
    parts_of,
    people_rows,
    read_answer_file,
    read_answers,
    shares,
)
from gannb.ledger.judge import judge
from gannb.ledger.claims import load_claims
from gannb.widgets import eyes
from gannb.widgets import series as rooms
from gannb.widgets.eyes import EyeTest, eye_test, keys_of, page_test, result_words
from gannb.widgets.series import PAIRS, SINGLE, Pool, Sitting, make_series, series_of_claim

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("apple", "banana", "tomato")


def pictures(n, value, channels=3):
    "n pictures, each unlike the others."
    out = np.full((n, 16, 16, channels), value, np.uint8)
    out[np.arange(n), 0, np.arange(n) % 16, 0] = np.arange(n) // 16 + 1
    return out


POOL = Pool(*({n: pictures(64, 60 * k + 5 * i) for i, n in enumerate(NAMES)} for k in range(3)))
SERIES = {
    "real": lambda seed=0: make_series("real", POOL, "apple", seed=seed),
    "two": lambda seed=0: make_series("real", POOL, ["apple", "banana"], seed=seed),
    "better": lambda seed=0: make_series("better", POOL, "banana", against=["apple", "tomato"], seed=seed),
    "pairs": lambda seed=0: make_series("better", POOL, "banana", against="real images", seed=seed),
    "what": lambda seed=0: make_series("what", POOL, ["apple", "banana"], also=["cat"], seed=seed),
}
EACH = pytest.mark.parametrize("name", SERIES)


def taken(series, says, rater=None):
    "A whole sitting."
    sitting = Sitting(series) if rater is None else Sitting(series, rater)
    for item in series.items:
        sitting.answer(says(item), 1.5)
    return sitting.answers()


def other(series, item):
    "A wrong answer."
    return next(c for c in series.choices if c != item.right)


# ---- series


@EACH
def test_a_series_is_seeded(name):
    a, b, c = SERIES[name](), SERIES[name](), SERIES[name](1)
    assert a.items == b.items and a.hash == b.hash and a.pictures.keys() == b.pictures.keys()
    assert a.hash != c.hash and {i.picture for i in a.items} != {i.picture for i in c.items}


@EACH
def test_a_series_is_balanced_and_takes_about_two_minutes(name):
    s = SERIES[name]()
    n = Counter(i.role for i in s.items)
    assert 36 <= len(s) <= 40 and n[UNTRAINED] == n[AGAIN] == 4
    assert [i.place for i in s.items] == list(range(1, len(s) + 1))
    if s.kind == "better":
        assert n[ASKED] == PAIRS[ASKED] and n[REAL] == PAIRS[REAL]
        sides = Counter((i.role, i.part, i.right) for i in s.items if i.role != AGAIN)
        assert all(sides[r, p, "left"] == sides[r, p, "right"] for r, p, _ in sides)
    else:
        assert n[ASKED] == n[REAL] + n[STAND_IN] == SINGLE[ASKED] and n[REAL] == n[STAND_IN]
        for part in parts_of(taken(s, lambda i: i.right)):
            own = Counter(i.role for i in s.items if i.part == part)
            assert own[ASKED] == own[REAL] + own[STAND_IN]


@EACH
def test_no_picture_is_seen_twice_but_the_repeats(name):
    s = SERIES[name]()
    seen = Counter(p for i in s.items if i.role != AGAIN for p in i.picture.split("|"))
    assert set(seen.values()) == {1} and set(seen) == set(s.pictures)
    for i in (i for i in s.items if i.role == AGAIN):
        first = s.items[i.earlier - 1]
        assert first.picture == i.picture and first.role in (REAL, STAND_IN)
        assert i.place - i.earlier >= 5, "what was just seen is remembered"


@EACH
def test_what_stands_where(name):
    s = SERIES[name]()
    value = {"fakes": 0, "reals": 60, "untrained": 120}
    for i in s.items:
        shown = s.shown(i.place)
        assert len(shown) == (2 if s.kind == "better" else 1)
        if s.kind == "better":
            first = s.pictures[i.picture.split("|")[0]]
            assert np.array_equal(shown[0 if i.right == "left" else 1], first)
        else:
            sort = {ASKED: "fakes", UNTRAINED: "untrained"}.get(i.role, "reals")
            assert abs(int(shown[0][8, 8, 0]) - value[sort]) <= 10, i


def test_what_is_it_has_an_answer_for_nothing():
    s = SERIES["what"]()
    assert s.choices == ("apple", "banana", "cat", NONE_OF_THESE)
    assert {i.right for i in s.items if i.role == UNTRAINED} == {NONE_OF_THESE}
    named = make_series("what", POOL, ["apple", "banana"], also=["cat"], names={"apple": "apples"})
    assert "apples" in named.choices and {i.right for i in named.items if i.part == "apple"} == {
        "apples",
        NONE_OF_THESE,
    }


def test_another_picture_is_another_series():
    changed = {n: v.copy() for n, v in POOL.fakes.items()}
    changed["apple"][:, 5, 5, 0] += 1
    assert make_series("real", POOL._replace(fakes=changed), "apple").hash != SERIES["real"]().hash


@pytest.mark.parametrize(
    "how, words",
    [
        ({"kind": "reel", "of": "apple"}, "Did you mean 'real'"),
        ({"kind": "real", "of": "cherry"}, "more fakes of 'cherry'; there are 0"),
        ({"kind": "better", "of": "apple"}, "against"),
        ({"kind": "real", "of": "apple", "against": "banana"}, "against"),
        ({"kind": "better", "of": ["apple", "banana"], "against": "tomato"}, "against"),
        ({"kind": "better", "of": "apple", "against": "cherry"}, "cherry"),
    ],
)
def test_impossible_series_are_refused(how, words):
    kind, of = how.pop("kind"), how.pop("of")
    with pytest.raises(GannbError, match=words):
        make_series(kind, POOL, of, **how)


# ---- sittings


@EACH
def test_right_and_wrong_and_guessing(name):
    s = SERIES[name]()
    right, wrong = taken(s, lambda i: i.right), taken(s, lambda i: other(s, i))
    assert set(shares(right).values()) == {1.0} and set(shares(wrong).values()) == {0.0}
    assert left_out(right) == "" and "obvious fakes" in left_out(wrong)
    assert catches(right)["shown twice"] == 1
    rng = numpy_rng(0, "guesses")
    told = [list(shares(taken(s, lambda i: rng.choice(s.choices))).values()) for _ in range(120)]
    guess = 1 / len(s.choices) if s.kind == "what" else 0.5
    assert abs(np.mean(told) - guess) < 0.03


def test_one_side_is_no_preference():
    s = SERIES["better"]()
    assert set(shares(taken(s, lambda i: "left")).values()) == {0.5}
    assert "repeats" in left_out(taken(s, lambda i: "left")), "a pair that comes back has its sides changed"


def test_a_sitting_is_whole_or_nothing():
    s = SERIES["real"]()
    sitting = Sitting(s)
    with pytest.raises(GannbError, match="Did you mean 'real'"):
        sitting.answer("reel")
    sitting.answer("real", -5)
    assert sitting.seconds == [0] and sitting.place == 2
    with pytest.raises(GannbError, match="1 of 40"):
        sitting.answers()
    for _ in range(39):
        sitting.answer("real", 1e9)
    with pytest.raises(GannbError, match="over"):
        sitting.answer("real")
    assert max(sitting.answers().seconds) == 3600 and sitting.rater != Sitting(s).rater


# ---- the widget without a browser


def press(test, answer):
    "What the browser sends."
    test.face.said = {"place": test.sitting.place, "answer": answer, "seconds": 0.8 + test.face.turn / 1000}


def test_the_widget_leads_through_a_sitting_and_leaves_a_file(tmp_path):
    s = SERIES["real"]()
    test = EyeTest(s, tmp_path / "answers")
    face = test.face
    assert face.state == "begin" and list(face.choices) == ["begin"] and not face.pictures
    assert not (tmp_path / "answers").exists(), "nobody has answered"
    press(test, "begin")
    for item in s.items:
        assert face.state == "asking" and face.place == item.place and len(face.pictures) == 1
        assert face.pictures[0] == eyes.picture_url(s.shown(item.place)[0])
        press(test, item.right)
    assert face.state == "end" and "You told 32 of 32 right" in " ".join(face.lines)
    a = read_answer_file(test.written[0])
    assert shares(a) == {"apple": 1.0} and a.rater in test.written[0].name
    press(test, "next person")
    assert face.state == "asking" and test.sitting.place == 1 and test.sitting.rater != a.rater


def test_the_widget_takes_nothing_late_or_foreign(tmp_path):
    test = EyeTest(SERIES["real"](), tmp_path)
    press(test, "begin")
    for said in ({}, {"place": 2, "answer": "real"}, {"place": 1, "answer": "<b>"}, {"place": 1}):
        test.face.said = said
    assert test.sitting.place == 1
    test.face.said = {"place": 1, "answer": "real", "seconds": 1}
    test.face.said = {"place": 1, "answer": "generated", "seconds": 2}
    assert test.sitting.given == ["real"], "a second press on the same picture does not count for the next"


def test_pairs_and_many_answers_have_their_keys(tmp_path):
    assert keys_of(("left", "right")) == ["ArrowLeft", "ArrowRight"]
    assert keys_of("abcd") == ["1", "2", "3", "4"]
    pairs = EyeTest(SERIES["pairs"](), tmp_path)
    press(pairs, "begin")
    assert len(pairs.face.pictures) == 2 and list(pairs.face.hotkeys) == ["ArrowLeft", "ArrowRight"]
    named = EyeTest(SERIES["what"](), tmp_path)
    press(named, "begin")
    assert list(named.face.hotkeys) == ["1", "2", "3", "4"] and NONE_OF_THESE in named.face.choices


def test_what_stands_in_its_place_tells_nothing(tmp_path):
    for name in SERIES:
        picture, sentence = EyeTest(SERIES[name](), tmp_path).still()
        assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3
        assert sentence.count(".") <= 2 and "generated picture" not in sentence
    bundle = EyeTest(SERIES["real"](), tmp_path)._repr_mimebundle_()
    assert {"image/png", "text/plain"} <= set(bundle)


@EACH
def test_a_rater_is_told_his_number_with_an_interval(name):
    s = SERIES[name]()
    said = result_words(s, taken(s, lambda i: i.right))
    assert "100 %" in said[0] and "so few answers allow anything from" in said[0]
    assert said[-1] == "Your answers count."
    assert "will not count" in result_words(s, taken(s, lambda i: other(s, i)))[-1]


def test_a_generator_is_asked_about_with_images_of_its_size(tmp_path):
    digits = ImageSet.of_images(pictures(64, 9, 1), "digits")
    with pytest.raises(GannbError, match="16x16x1 and the generator makes 32x32x1.*size=32, channels=1"):
        eye_test("mnist-32px-w24", digits, tmp_path)
    big = ImageSet.of_images(pictures(64, 9, 1).repeat(2, 1).repeat(2, 2), "digits")
    a, b = eye_test("mnist-32px-w24", big, tmp_path), eye_test("mnist-32px-w24", big, tmp_path)
    assert a.series.hash == b.series.hash and a.series.choices == ("real", "generated")
    untrained = [a.series.shown(i.place)[0] for i in a.series.items if i.role == UNTRAINED]
    assert max(float(u.std()) for u in untrained) < 40, "before its training G makes next to nothing"
    with pytest.raises(GannbError, match="mnist-32px"):
        eye_test("mnist-32px-w2", big, tmp_path)


def test_what_a_page_asks_about_is_checked(monkeypatch):
    monkeypatch.setenv(eyes.ASK_ABOUT, "emnist")
    with pytest.raises(GannbError, match="must be PAPER/CLAIM"):
        page_test()
    with pytest.raises(GannbError, match="Did you mean 'emnist-realistic'"):
        page_test("dataset_study/emnist-realstic")


@pytest.mark.pack
def test_a_claim_without_its_trainings_says_what_to_do():
    with pytest.raises(GannbError, match="is not trained yet: run the report first"):
        series_of_claim("dataset_study", "emnist-realistic")


@pytest.fixture
def made(monkeypatch, tmp_path):
    "A function that asks for the series of a claim, and counts what it said: nothing, where none was made."
    home, said = tmp_path / "training", []
    home.mkdir()
    monkeypatch.setenv("GANNB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(rooms, "_arms", lambda *args: ([], [0]))
    monkeypatch.setattr(rooms, "_pool_of", lambda *args: (POOL, [home]))

    def ask(claim="bananas-look-best", **how):
        said.clear()
        return series_of_claim("fruits", claim, say=said.append, **how), len(said)

    ask.home, ask.cache = home, tmp_path / "cache" / "eyes"
    return ask


def test_the_series_of_a_claim_is_made_once(made):
    (first, one), (again, none) = made(), made()
    assert (one, none) == (1, 0), "its pictures were made again"
    assert again.items == first.items and again.hash == first.hash and again.choices == first.choices
    assert again.ask == first.ask and (again.paper, again.claim) == ("fruits", "bananas-look-best")
    assert again.asked == first.asked != "" and again.setting == "desk"
    assert list(again.pictures) == list(first.pictures)
    assert all(np.array_equal(again.pictures[n], p) for n, p in first.pictures.items())
    assert file_name(taken(again, lambda i: i.right)).startswith("bananas-look-best-")


@pytest.mark.parametrize(
    "change",
    [
        lambda ask, patch: ask.home.rmdir(),
        lambda ask, patch: next(ask.cache.iterdir()).write_bytes(b"PK\x03\x04 torn"),
        lambda ask, patch: next(ask.cache.iterdir()).write_bytes(b""),
        lambda ask, patch: patch.setattr(rooms, "_code_hash", lambda paper: "changed"),
        lambda ask, patch: patch.setenv("GANNB_DATA", "/elsewhere"),
        lambda ask, patch: patch.setenv("GANNB_STORE", "/elsewhere"),
    ],
    ids=["training gone", "torn", "empty", "code", "data", "store"],
)
def test_a_series_is_made_anew_when_what_it_hangs_on_changes(made, monkeypatch, change):
    first, _ = made()
    change(made, monkeypatch)
    again, said = made()
    assert again.hash == first.hash and said == 1


def test_each_seed_and_setting_has_a_series_of_its_own(made):
    made()
    assert made(seed=1)[1] == made(setting="quick")[1] == 1
    assert made(seed=1)[1] == made()[1] == 0


def test_another_picture_in_the_file_of_a_series_is_noticed(made):
    made()
    (path,) = made.cache.iterdir()
    with np.load(path) as box:
        arrays = dict(box)
    arrays["picture-0"] = 255 - arrays["picture-0"]
    with path.open("wb") as f:
        np.savez_compressed(f, **arrays)
    assert made()[1] == 1


# ---- a class


def class_of(folder, series, n=8, guess=True, start=0):
    "n simulated raters who pass the catch pictures."
    folder.mkdir(exist_ok=True)
    for k in range(start, start + n):
        rng, sitting, said = numpy_rng(k, "class"), Sitting(series, f"{k:012x}"), {}
        for i in series.items:
            said[i.place] = i.right if not guess or i.role == UNTRAINED else str(rng.choice(series.choices))
            said[i.place] = said[i.earlier] if i.earlier and series.kind != "better" else said[i.place]
            sitting.answer(said[i.place], rng.random())
        (folder / file_name(sitting.answers())).write_text(answers_text(sitting.answers()), encoding="utf-8")
    return folder


def test_a_folder_becomes_a_page(tmp_path):
    folder = class_of(tmp_path / "class", SERIES["real"]())
    class_of(folder, SERIES["what"](), 3, start=20)
    (folder / "<img src=x>.csv").write_text("a,b\n", encoding="utf-8")
    page = page_of_answers(folder)
    text = page.read_text(encoding="utf-8")
    assert page == folder / "page" / "answers.html"
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", text), "it needs no network"
    assert "Share told right, by the 8 raters who count" in text
    assert "<img src=x>" not in text and "&lt;img src=x&gt;.csv" in text
    assert all(f"{k:012x}" in text for k in range(8))
    record = json.loads((folder / "page" / RECORD).read_text(encoding="utf-8"))
    assert [len(s["raters"]) for s in record["series"]] == [8, 3] and len(record["faults"]) == 1
    assert page_of_answers(folder) == page, "it may be written again"
    rows = list(csv.DictReader((folder / "page" / "tables" / "raters-1.csv").open(encoding="utf-8")))
    assert len(rows) == 8


def test_what_a_file_says_is_escaped(tmp_path):
    s = make_series("real", Pool(*({"<b>x</b>": v["apple"]} for v in POOL)), "<b>x</b>")
    text = page_of_answers(class_of(tmp_path / "c", s)).read_text(encoding="utf-8")
    assert "<b>x</b>" not in text and "&lt;b&gt;x" in text


def test_pages_that_cannot_be(tmp_path):
    with pytest.raises(GannbError, match="no folder"):
        page_of_answers(tmp_path / "nowhere")
    (tmp_path / "a.csv").write_text("x\n", encoding="utf-8")
    with pytest.raises(GannbError, match="holds answers. a.csv is no answer file"):
        page_of_answers(tmp_path)
    folder = class_of(tmp_path / "class", SERIES["real"]())
    with pytest.raises(GannbError, match="other things"):
        page_of_answers(folder, tmp_path)


def test_a_class_judges_a_claim_of_a_paper(tmp_path):
    "From the files of a class to the verdict in the page and in the ledger."
    [claim] = [
        c for c in load_claims(ROOT / "papers" / "dataset_study.yaml") if c["id"] == "emnist-realistic"
    ]
    pool = Pool(*({"emnist": v["apple"]} for v in POOL))
    told = {
        "paper": "dataset_study",
        "claim": claim["id"],
        "setting": "desk",
        "asked": asked_hash(claim["test"]),
    }
    s = make_series("real", pool, "emnist", **told)
    for guess, verdict in ((True, "reproduced"), (False, "not reproduced")):
        folder = class_of(tmp_path / verdict, s, 12, guess)
        answers, faults = read_answers(folder)
        rows, foreign = people_rows([claim], answers, "dataset_study", "desk")
        assert not faults and not foreign
        record = judge(claim, rows, "desk")
        assert record["verdict"] == verdict, record["reason"]
        text = page_of_answers(folder).read_text(encoding="utf-8")
        assert f" {verdict}</span>" in text and claim["sentence"] in text
    few = page_of_answers(class_of(tmp_path / "few", s, 4)).read_text(encoding="utf-8")
    assert "not testable here" in few and "four who count have answered" in few


def test_a_page_of_a_paper_that_is_not_here_has_numbers_and_no_verdict(tmp_path):
    s = make_series("real", POOL, "apple", paper="no_such_paper", claim="x", setting="desk", asked="0")
    text = page_of_answers(class_of(tmp_path / "c", s)).read_text(encoding="utf-8")
    assert "no claim" in text and "are not here" in text
