"""A study as data: a toy paper, brought in less than 120 lines, is run end to end."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import toy_paper
import yaml

from gannb.base import GannbError, Missing
from gannb.ledger.claims import load_claims
from gannb.studies import registry
from gannb.studies.registry import open_study, report_config
from gannb.studies.study import Figure, Study, Table, by_key, first_of_each_role, plain, scorers_of

PUBLISHED = yaml.safe_load(toy_paper.YAML) | {"claims": load_claims(toy_paper.YAML)}
SEEDS = {"preset": "smoke", "seeds": [0, 1]}


def toy(**given):
    "The toy paper, registered as a real one is, and opened."
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.REPORTS, "toy", toy_paper.CONFIG)
        patch.setitem(registry.PRESETS, "toy", toy_paper.PRESETS)
        request = report_config("toy", **given)
    quiet = {"say": lambda text: None, "show_progress": "quiet"}
    return Study(request, toy_paper, toy_paper, PUBLISHED, **quiet)


@pytest.fixture(scope="module")
def study():
    study = toy(**SEEDS)
    study.page_made = toy_paper.notebook(study)
    return study


@pytest.fixture(scope="module")
def folder(study):
    return study.page_made.report.folder


def read(folder, name):
    return json.loads((folder / name).read_text(encoding="utf-8"))


def test_a_paper_costs_less_than_120_lines():
    assert len(Path(toy_paper.__file__).read_text(encoding="utf-8").splitlines()) < 120


def test_a_report_lies_there_whole(folder):
    claims = read(folder, "claims.json")
    assert [c["id"] for c in claims] == ["two-digits", "wider-is-better"]
    assert claims[0]["ours"].startswith("2")
    own = [f"claim_{c['id']}.csv" for c in claims]
    assert claims[1]["evidence"] == [f"tables/{own[1]}"], "its own numbers, and nothing that is guessed"
    assert read(folder, "finished.json")["hero"] == "figures/fig01_hero.png"
    assert {p.name for p in (folder / "tables").iterdir()} == {*own, "scores.csv", "choices.csv"}
    assert "measured on" in (folder / "tables" / "choices.csv").read_text(encoding="utf-8")


def test_records_are_named_by_role_and_arm(folder):
    labels = ("three/as published", "eight/as published", "three/wider")
    wanted = {f"{label} seed {seed}" for label in labels for seed in (0, 1)}
    assert set(read(folder, "provenance.json")["G sha256"]) == wanted
    assert "three/wider seed 1" in read(folder, "timing.json")["trainings"]
    assert read(folder, "config.json")["paper"] == "toy"


def test_an_arm_comes_with_its_runs_and_its_scorer(study):
    t = study["three", "wider"]
    assert ("three", "wider") in study and ("eight", "wider") not in study
    assert t.key == ("three", "wider") and t.ledger_arm == "wider" and t.label == "three/wider"
    assert t.config.ngf == 16 and study.first.config.ngf == 8
    assert [run.seed for run in t.runs] == [0, 1] and t.whole == t.runs
    assert list(study.main) == ["three", "eight"] and study.main["three"] is study.first


def test_arms_of_one_role_share_their_scorer_and_all_have_equal_numbers(study):
    three, wider, eight = (
        study["three", "as published"],
        study["three", "wider"],
        study["eight", "as published"],
    )
    assert three.scorer is wider.scorer and three.scorer is not eight.scorer
    assert len({(len(t.scorer.real), t.scorer.n_fake, t.scorer.net.weights) for t in study}) == 1
    assert len(three.judging) >= len(three.scorer.real)
    for t in study:
        assert not np.isin(t.scorer.real.pixel_hashes(), t.data.pixel_hashes()).any()


def test_an_arm_with_judging_images_of_its_own_has_as_many_of_them(study):
    arms = toy_paper.arms(study.cfg)
    own = arms[2]
    own.held = own.held.rows(np.arange(len(own.held))[::-1])
    scorers = scorers_of(study.cfg, arms)
    scorer, judging = scorers["three", "wider"]
    assert scorer is not scorers["three", "as published"][0]
    assert len({len(s.real) for s, _ in scorers.values()}) == 1
    assert len({s.net.weights for s, _ in scorers.values()}) == 1
    assert len(judging) < len(own.held), "half of them taught the network `domain`"
    assert not np.isin(judging.pixel_hashes(), own.data.pixel_hashes()).any()


def test_a_claim_that_is_not_there_and_one_without_its_place(study):
    page = study.page_made
    with pytest.raises(GannbError, match="wider-is-bettr.*wider-is-better"):
        page.verdicts("wider-is-bettr")
    again = study.page()
    again.show(toy_paper.hero(study))
    assert again.leftover() == ["two-digits", "wider-is-better"]
    with pytest.raises(GannbError, match="two-digits, wider-is-better"):
        study.close(again)
    study.open_choices(again)  # shows what has no place
    assert again.leftover() == []
    study.close(again)
    third = study.page()
    third.verdicts("two-digits", "wider-is-better")
    assert third.leftover() == [], "each claim that is named is shown"
    third.show(toy_paper.hero(study))
    study.open_choices(third)
    study.close(third)


def test_a_second_run_trains_nothing(study):
    again = toy(**SEEDS).run()
    assert all(run.reused for t in again for run in t.runs)
    assert again.results.rows == study.results.rows


def test_the_rows_tell_where_the_network_may_judge(study):
    found = [r for r in study.results.rows if r["arm"] == "ladder"]
    assert [(r["dataset"], r["metric"], r["step"], r["seed"]) for r in found] == [
        (role, "ladder_passed", "control", None) for role in ("three", "eight")
    ]
    for r in found:
        assert r["value"] == study.ladders[r["dataset"]].passed
        assert r["protocol"]["wrong"] == study.ladders[r["dataset"]].wrong


class Room:
    "The toy's room of rows, with what a room may have besides."

    def __init__(self, **more):
        self.arms, self.rows = toy_paper.arms, toy_paper.rows
        vars(self).update(more)


def scored_again(study, setting, facts=None, **more):
    "The same trainings, scored by another room in another setting."
    request = study.request.model_copy(update={"setting": setting})
    other = dataclasses.replace(study, request=request, rows_room=Room(**more), facts=facts or {})
    other.score()
    return other


def test_a_room_may_say_of_which_kind_its_images_are(study):
    assert "half of the classes" not in study.ladders["three"].rungs, "threes are of one class"
    asked = []

    def kinds(which, role):
        asked.append(role)
        return np.arange(len(which.main[role].data)) % 4

    again = scored_again(study, "smoke", kinds=kinds)
    assert asked == ["three", "eight"]
    assert all("half of the classes" in climbs.rungs for climbs in again.ladders.values())


def test_a_name_that_no_row_bears_is_an_error_where_a_setting_judges(study):
    def fewer(which):
        return [r for r in toy_paper.rows(which) if r["arm"] != "wider"]

    assert scored_again(study, "smoke", rows=fewer).judged[1]["verdict"] == "not testable here"
    with pytest.raises(GannbError, match="wider"):
        scored_again(study, "desk", rows=fewer)
    facts = {"known missing": {"wider": "it was not trained"}}
    assert scored_again(study, "desk", facts, rows=fewer).judged[1]["verdict"] != "reproduced"
    assert scored_again(study, "desk").judged[0]["verdict"] == "reproduced"


def test_wrong_parameters_are_refused():
    with pytest.raises(GannbError, match="Did you mean 'digits'"):
        toy(preset="smoke", digts="3,8")
    with pytest.raises(GannbError, match="fruits"):
        open_study("friuts", {"preset": "smoke"})
    with pytest.raises(GannbError, match="Did you mean 'epochs'"):
        open_study("fruits", {"In": ["preset = 'smoke'\nepohcs = 3", "open_study(...)"], "preset": "smoke"})


def test_a_wrong_parameter_is_refused_before_torch_is_imported():
    import subprocess
    import sys

    code = (
        "import sys\n"
        "from gannb.studies.registry import open_study\n"
        "try:\n    open_study('fruits', {'preset': 'smoke', 'size': 50})\n"
        "except Exception as e:\n    print(e)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "48 or 56" in done.stdout and done.stdout.splitlines()[-1] == "False", done.stdout + done.stderr


def test_missing_values_become_words_on_the_page_only():
    cell = {"a": Missing("no labels"), "b": [Missing("one seed"), 2], "c": {"mean": 1.0}}
    assert plain(cell) == {"a": "n/a (no labels)", "b": ["n/a (one seed)", 2], "c": {"mean": 1.0}}
    assert isinstance(cell["a"], Missing)


def test_figures_and_tables_are_data(study):
    table = toy_paper.scores(study)
    assert isinstance(table, Table) and [r["arm"] for r in table.rows] == ["3", "8", "3, wider"]
    assert "n = 2 seeds" in table.caption
    assert "fewer than 3: no interval is shown" in table.caption, (
        "brackets that are not there are not promised"
    )
    assert isinstance(toy_paper.hero(study), Figure)
    with pytest.raises(dataclasses.FrozenInstanceError):
        table.caption = "another"


def test_the_first_arm_of_a_role_is_its_main_one(study):
    arms = toy_paper.arms(study.cfg)
    assert {role: arm.arm for role, arm in first_of_each_role(arms).items()} == {
        "three": "as published",
        "eight": "as published",
    }


def test_two_arms_of_one_key_and_an_arm_that_is_not_there(study):
    arms = toy_paper.arms(study.cfg)
    arms[2].arm = "as published"
    with pytest.raises(GannbError, match="two arms are called .*'3' and '3, wider'"):
        by_key(arms)
    with pytest.raises(GannbError, match="no arm of this study. Allowed: .*'wider'"):
        study["three", "wide"]
