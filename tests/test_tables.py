"""Rows become cells: means, intervals, and how far a measure reaches."""

import pytest

from gannb.report.numbers import cell_text
from gannb.stages.tables import RANGE, SHARES, Results, cell_of, mean_cell


def rows(metric, values):
    return [{"dataset": "a", "arm": "b", "metric": metric, "step": "end", "value": v} for v in values]


@pytest.mark.parametrize("metric", SHARES)
@pytest.mark.parametrize("values, end", [([0.99, 1.0, 0.9], 1), ([0.01, 0.0, 0.1], 0)])
def test_no_interval_of_a_share_reaches_beyond_it(metric, values, end):
    low, high = Results(rows(metric, values)).cell("a", "b", metric)["interval"]
    assert 0 <= low < high <= 1 and end in (low, high)


def test_an_interval_inside_is_left_alone_and_so_are_measures_without_an_end():
    inside = [0.4, 0.5, 0.6]
    assert Results(rows("recall", inside)).cell("a", "b", "recall") == cell_of(inside)
    wide = [0.01, 0.0, 0.1]
    for metric in ("kid", "quality", "D_gap", "copies", "diversity"):
        assert metric not in RANGE and Results(rows(metric, wide)).cell("a", "b", metric)["interval"][0] < 0
    assert mean_cell(wide, (0, 1))["mean"] == mean_cell(wide)["mean"]


def test_a_share_of_nothing_has_no_interval_to_say():
    cell = Results(rows("recall", [0.0] * 5)).cell("a", "b", "recall")
    assert cell_text(cell, 4) == "0.0000 (the same in every seed)"
