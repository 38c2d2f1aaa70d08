"""Answers to exercises: what is right, what is not yet, what is open."""

import numpy as np
import pytest

from gannb.base import GannbError
from gannb.widgets.exercise import NOT_YET, OPEN, RIGHT, Outcome, check, same_answer


@pytest.mark.parametrize(
    "given, right, within, same",
    [
        (3, 3, 0, True),
        (np.float32(0.5), 0.5, 0, True),
        (0.33, 1 / 3, 0.01, True),
        (0.31, 1 / 3, 0.01, False),
        (0.345, 1 / 3, 0.01, False),
        (1 / 3 + 0.01, 1 / 3, 0.01, True),
        (float("nan"), 1.0, 9, False),
        (float("inf"), 1.0, 9, False),
        ("3", 3, 0, False),
        (True, 1, 0, False),
        (1, True, 0, False),
        (np.bool_(True), True, 0, True),
        (" Not  Reproduced", "not reproduced", 0, True),
        ("reproduced", "not reproduced", 0, False),
        ([1, 2], [1, 2], 0, True),
        ((2, 1), [1, 2], 0, False),
        ([1, 2, 3], [1, 2], 0, False),
        ([1], [1, 2], 0, False),
        ([2, 1], {1, 2}, 0, True),
        ([1, 1], {1, 2}, 0, False),
        (["a"], {"a", "b"}, 0, False),
        (["a", "b", "c"], {"a", "b"}, 0, False),
        ({"A": "X"}, {"A": "x"}, 0, True),
        ({"A": "x", "B": "y"}, {"A": "x"}, 0, False),
        (np.array([0.1, 0.2]), [0.1, 0.2], 0, True),
        (None, 3, 0, False),
    ],
)
def test_same_answer(given, right, within, same):
    assert same_answer(given, right, within) is same


def test_three_outcomes():
    hint, why = "Count again.", "Because."
    assert check(4, 4, hint, because=why) == Outcome(RIGHT, why)
    assert check(5, 4, hint, because=why) == Outcome(NOT_YET, hint)
    assert check(None, 4, hint).state == OPEN and "None" in check(None, 4, hint).words
    assert [bool(check(a, 4, hint)) for a in (4, 5, None)] == [True, False, False]


def test_a_wrong_kind_is_said_and_the_answer_is_not_given_away():
    assert repr(check("four", 4, "Count.")) == "Not yet. The answer is a number; yours is a text. Count."
    assert "yours is True or False" in check(True, 4, "Count.").words
    said = check({"A": 1, "B": 2}, {"A": 1, "B": 3}, "Look again.").words
    assert said == "1 of 2 are right. Look again."
    assert "The names are A, B; yours are A." in check({"A": 1}, {"A": 1, "B": 3}, "x").words
    for wrong in (5, "five", [4, 5]):
        assert "31415" not in repr(check(wrong, 31415, "Count."))


def test_a_dictionary_with_a_gap_is_open():
    assert check({"A": "x", "B": None}, {"A": "x", "B": "y"}, "Look.").state == OPEN


def test_a_function_may_judge_and_what_it_cannot_take_is_not_right():
    big = {"right": lambda x: x["n"] > 3, "hint": "More."}
    assert check({"n": 4}, **big) and check({"n": 9}, **big)
    for wrong in ({"n": 2}, {"m": 4}, 4, "four", {"n": "many"}):
        assert check(wrong, **big) == Outcome(NOT_YET, "More.")

    def refuses(x):
        raise GannbError("no")

    assert check(1, refuses, "More.").state == NOT_YET


def test_a_function_that_is_broken_is_an_error():
    with pytest.raises(NameError):
        check(1, lambda x: nowhere, "More.")  # noqa: F821


@pytest.mark.parametrize(
    "right, hint, within, says",
    [
        (None, "x", 0, "needs an answer"),
        (float("nan"), "x", 0, "nan"),
        (float("inf"), "x", 0, "inf"),
        (4, "  ", 0, "needs a hint"),
        (4, "x", -1, "within"),
        (4, "x", float("nan"), "within"),
        (4, "x", True, "within"),
    ],
)
def test_an_exercise_that_nobody_could_solve_is_refused(right, hint, within, says):
    with pytest.raises(GannbError, match=says):
        check(4, right, hint, within=within)


def test_what_is_shown_is_plain_and_safe():
    said = check(1, 2, "It is <b>smaller</b> than 3.")._repr_html_()
    assert "&lt;b&gt;smaller" in said and said.count("<b") == 1
