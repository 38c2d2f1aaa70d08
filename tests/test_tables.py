"""Rows become cells: means, intervals, and how far a measure reaches."""

import pytest

from gannb.ledger.intervals import shown_interval, t_interval
from gannb.report.numbers import cell_text
from gannb.stages.tables import RANGE, SHARES, Results, cell_of, mean_cell


def rows(metric, values):
    return [{"dataset": "a", "arm": "b", "metric": metric, "step": "end", "value": v} for v in values]


@pytest.mark.parametrize("metric", SHARES)
@pytest.mark.parametrize("values, end", [([0.99, 1.0, 0.9], 1), ([0.01, 0.0, 0.1], 0)])
def test_no_interval_of_a_share_reaches_beyond_it(metric, values, end):
    low, high = Results(rows(metric, values)).cell("a", "b", metric)["interval"]
    assert 0 <= low < high <= 1 and end in (low, high)


def test_a_share_has_the_interval_of_its_card_and_measures_without_an_end_the_plain_one():
    inside = [0.7, 0.8, 0.95]
    share, plain = Results(rows("recall", inside)).cell("a", "b", "recall"), cell_of(inside)
    assert share["interval"] == shown_interval(inside, within=(0, 1)) and share["mean"] == plain["mean"]
    assert plain["interval"][1] > 1 > share["interval"][1] > share["mean"]
    assert plain["interval"] == pytest.approx(tuple(t_interval(inside))[1:3])
    wide = [0.01, 0.0, 0.1]
    for metric in ("kid", "quality", "D_gap", "copies", "diversity"):
        assert metric not in RANGE and Results(rows(metric, wide)).cell("a", "b", metric)["interval"][0] < 0
    assert mean_cell(wide, (0, 1))["mean"] == mean_cell(wide)["mean"]


def test_a_share_of_nothing_has_no_interval_to_say():
    cell = Results(rows("recall", [0.0] * 5)).cell("a", "b", "recall")
    assert cell_text(cell, 4) == "0.0000 (the same in every seed)"
