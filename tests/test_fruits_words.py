"""What the fruits page says: its findings, ranks and evidence, and sentences that are true of any run."""

import re
from pathlib import Path

import pytest
import yaml

from gannb.base import GannbError
from gannb.stages.tables import Results
from gannb.studies.fruits import show, words
from gannb.studies.registry import open_study

YAML = Path(__file__).parent.parent / "papers/fruits.yaml"
DECIDED = ("reproduced", "not reproduced")


@pytest.fixture(scope="module")
def paper():
    return yaml.safe_load(YAML.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def study():
    study = open_study("fruits", {"preset": "smoke"})
    study.say, study.show_progress = lambda text: None, "quiet"
    return study.run()


@pytest.fixture(scope="module")
def shown(study):
    "Everything that the page shows on digits: tables, figures, films, sentences."
    rooms = (
        *(show.hero, show.data, show.counts, show.repeats, show.networks, show.more_convolutions),
        *(show.controls, show.ladder, show.table1, show.numbers_of_images, show.fid_curve, show.shares),
        *(show.with_and_without, show.less_data, show.memory, show.diversity_curve, show.films, show.strips),
        *(
            show.noise,
            show.copies,
            words.stand_ins,
            words.about_data,
            words.done_differently,
            words.about_less,
        ),
        *(words.held_out_words, words.other_scores, words.leaks, words.times),
    )
    made = [room(study) for room in rooms]
    flat = [x for m in made for x in (m if isinstance(m, (tuple, list)) else (m,))]
    return [x for x in flat if x is not None]


def test_what_is_ranked_has_a_finding_for_both_verdicts(paper):
    ranked = {c["id"]: c for c in paper["claims"] if "rank" in c}
    assert sorted(c["rank"] for c in ranked.values()) == list(range(1, 11))
    for name, claim in ranked.items():
        assert all(claim["findings"].get(verdict) for verdict in DECIDED), name
        assert claim.get("about") != "arithmetic", "no addition opens the page"
    assert ranked["d-memorises"]["findings"]["reproduced"].startswith("without DiffAugment")


def test_findings_are_clauses_that_can_stand_in_a_list(paper):
    for claim in paper["claims"]:
        found = claim.get("findings", {})
        for text in found.values():
            assert text == text.strip(" .") and text.startswith(("DiffAugment", text[0].lower())), text
        assert len(set(found.values())) == len(found), claim["id"]
        open_ = found.get("inconclusive")
        assert open_ is None or open_.endswith("stays open"), "what is open is never half a finding"


def test_groups_hold_each_claim_once(paper):
    held = [name for names in paper["groups"].values() for name in names]
    assert sorted(held) == sorted(c["id"] for c in paper["claims"])


def test_rows_of_the_forest_are_short(paper):
    assert all(len(c["short"]) <= 44 for c in paper["claims"])


def test_evidence_is_a_table_or_a_figure_of_the_page(paper, shown):
    names = {x.name for x in shown if hasattr(x, "name")} | {"near_duplicates"}  # digits have no film
    for claim in paper["claims"]:
        assert set(claim.get("evidence", ())) <= names, claim["id"]
    for claim in paper["claims"]:
        if "DiffAugment" in claim["sentence"]:
            assert "leaks" not in claim.get("evidence", ()), "zeros about cut-outs decide nothing"
    by_shares = {c["id"] for c in paper["claims"] if "shares" in c.get("evidence", ())}
    assert {"augment-few-images", "no-more-diversity", "no-more-diversity-bananas"} <= by_shares


def test_a_page_on_digits_says_digits(shown):
    "A fruit is named only as the role that a digit plays, or as the paper's."
    said = [x if isinstance(x, str) else x.caption for x in shown]
    said += [str(v) for x in shown if hasattr(x, "rows") for r in x.rows for v in r.values()]
    assert sum("igit" in text for text in said) > 20
    fruits = re.compile(r"(?<!as )(?<!for )\b(apple|banana|tomato)(e?s)?\b", re.I)
    assert [text for text in said if fruits.search(text)] == ["Tomato"] * 2, "rows of what the paper had"
    assert not [text for text in said if re.search(r"\b\w+_\w+\b", text)], "no name of the code"


def test_no_fruits_is_said_first_and_only_then(study):
    assert words.stand_ins(study).startswith("**No fruits here.** This run trained on digits")
    cfg, t = study.cfg, study.first
    apples = type(
        "T", (), {"config": type("C", (), {"classes": ["Apple"], "dataset": "fruits360"}), "role": "apple"}
    )
    assert (
        words.fruit(apples) == "Apple"
        and words.plural(apples) == "apples"
        and words.many("tomato") == "tomatoes"
    )
    assert words.stand_ins(type("S", (), {"main": {"apple": apples}, "cfg": cfg})) is None
    assert words.fruit(t) == "Digit 0 (as apple)" and words.plural(t) == "images of digit 0"


def test_open_choices_say_what_was_measured(study, paper):
    asked = [c["measure"] for c in paper["open_choices"] if "measure" in c]
    assert set(asked) <= set(words.MEASURED) and len(asked) == 7
    assert words.measured(study, None) == "not measured"
    said = words.measured(study, "policy")
    assert re.fullmatch(r"KID: [\d.]+ with all three, [\d.]+ without", said)
    with pytest.raises(GannbError, match="policies.*Did you mean|Nearest"):
        words.measured(study, "policies")


def test_tables_fit_the_page(shown):
    "At most four columns of numbers with intervals: a box of 960 pixels holds no more."
    for table in (x for x in shown if hasattr(x, "columns")):
        intervals = {
            k for r in table.rows for k, v in r.items() if isinstance(v, dict) and k in table.columns
        }
        assert len(intervals) <= 4, table.name


def test_what_passes_of_a_change_is_at_most_all_of_it_and_may_be_less_than_nothing():
    def cell(values):
        place = {"dataset": "apple", "arm": "augment", "metric": "passing_share", "step": "end"}
        return Results([place | {"value": v} for v in values]).cell("apple", "augment", "passing_share")

    low, high = cell([0.9, 1.0, 0.98])["interval"]
    assert high == 1 and low == pytest.approx(0.829, abs=0.01)
    low, high = cell([-0.9, -0.1, -0.4])["interval"]
    assert low < cell([-0.9, -0.1, -0.4])["mean"] < high, "not cut at nothing"
