"The small generators of the repository: by name, with cards that say what they are and how they were scored."

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from gannb import store
from gannb.base import GannbError
from gannb.commands.draw import draw, sources
from gannb.ledger.check import read_results
from gannb.sample import sample_seeded
from gannb.stages import given
from gannb.stages.run import load_generator
from gannb.studies.registry import PLANS

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "outputs" / "reference" / "generators"
CARDS = sorted(FOLDER.glob("*.json"))


@pytest.fixture(autouse=True)
def in_the_checkout(monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("GANNB_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setenv("GANNB_STORE", str(tmp_path / "store"))


def test_they_are_small_together():
    sizes = [p.stat().st_size for p in FOLDER.iterdir()]
    assert len(CARDS) >= 7 and sum(sizes) < 10_000_000


@pytest.mark.parametrize("path", CARDS, ids=lambda p: p.stem)
def test_a_card_says_what_it_is_and_how_it_was_scored(path):
    card = json.loads(path.read_text(encoding="utf-8"))
    assert card["data"]["licence"] and card["data"]["images"] > 0 and card["settings"]["z_dist"]
    assert card["sha256"] == store.sha256_file(path.with_suffix(".safetensors"))
    scores = card["scores"]
    rows = {
        r["metric"]: r
        for r in read_results(ROOT / "outputs" / "reference" / scores["report"])
        if (r["arm"], r["dataset"], r["seed"], r["step"])
        == (scores["arm"], scores["dataset"], card["settings"]["seed"], "end")
    }
    said = {m: (v, part["protocol"]) for part in scores["judged"] for m, v in part["values"].items()}
    assert set(said) == set(given.SCORES)
    assert said == {m: (rows[m]["value"], rows[m]["protocol"]) for m in given.SCORES}
    assert all(protocol["network"] and protocol["n_fake"] > 0 for _, protocol in said.values())


def test_every_report_gives_one_away():
    reports = {json.loads(p.read_text(encoding="utf-8"))["scores"]["report"] for p in CARDS}
    assert reports == set(PLANS)


def test_the_page_beside_them_is_made_from_the_cards(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    sys.modules.pop("summary", None)
    from summary import generators_text

    text = generators_text({p.stem: json.loads(p.read_text(encoding="utf-8")) for p in CARDS})
    assert (FOLDER / "README.md").read_text(encoding="utf-8") == text
    assert all(f"`{p.stem}`" in text for p in CARDS)


@pytest.mark.parametrize("path", CARDS, ids=lambda p: p.stem)
def test_each_loads_by_its_full_and_by_its_short_name(path):
    file = path.with_suffix(".safetensors")
    assert given.given_file(path.stem) == given.given_file(given.short_name(path.stem)) == file
    expected = sample_seeded(load_generator(file), 4, 1)
    assert np.array_equal(sample_seeded(given.load_given(given.short_name(path.stem)), 4, 1), expected)
    (source,) = sources(path.stem)
    card = given.given_card(path.stem)
    assert (source.name, source.z_dist, source.path) == (path.stem, card["settings"]["z_dist"], file)


def test_gannb_sample_draws_from_a_name(tmp_path):
    named = draw("mnist", n=8, out=tmp_path / "name.png")
    by_file = draw(str(FOLDER / "mnist-32px-w24.safetensors"), n=8, out=tmp_path / "file.png")
    assert named[0].read_bytes() == by_file[0].read_bytes()


def test_they_are_found_from_other_folders(monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT / "nbs")
    assert given.given_folder() == FOLDER
    monkeypatch.chdir(tmp_path)
    if (Path(given.__file__).parents[2] / "settings.ini").is_file():  # installed from the checkout
        assert given.given_names()


def test_the_checkout_one_works_in_goes_first(monkeypatch, tmp_path):
    (tmp_path / given.FOLDER).mkdir(parents=True)
    (tmp_path / "settings.ini").write_text("lib_name = gannb\n")
    (tmp_path / given.FOLDER / "toys-16px-w4.safetensors").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    assert given.given_names() == ["toys-16px-w4"] and given.is_given("toys")


def test_outside_a_checkout_it_says_where_they_are(monkeypatch):
    monkeypatch.setattr(store, "checkout", lambda start=None: None)
    with pytest.raises(GannbError, match="part of the repository"):
        given.load_given("mnist")
    assert not given.is_given("mnist") and given.given_words("mnist") == ""
    with pytest.raises(GannbError, match="no such run"):
        sources("mnist")


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(GannbError, match="Did you mean 'mountain'"):
        given.load_given("montain")
    with pytest.raises(GannbError, match="no such run.*Did you mean 'emnist'"):
        sources("emnst")


def test_a_short_name_that_two_have_is_refused(monkeypatch):
    monkeypatch.setattr(given, "given_names", lambda: ["mnist-16px-w8", "mnist-32px-w24"])
    with pytest.raises(GannbError, match="fits several.*full name"):
        given.given_file("mnist")
    assert given.given_file("mnist-16px-w8").name == "mnist-16px-w8.safetensors"


def test_a_run_of_that_name_goes_first(tmp_path):
    folder = tmp_path / "outputs" / "runs" / "mnist"
    folder.mkdir(parents=True)
    assert sources("mnist")[0].path, "an empty folder is no run"
    (folder / "run.json").write_text("{}")
    with pytest.raises(GannbError, match="damaged"):
        sources("mnist")


def rows(**changes):
    base = {"arm": "dcgan", "dataset": "a", "seed": 0, "step": "end", "protocol": {"n_fake": 9}}
    return [base | {"metric": m, "value": float(i)} | changes for i, m in enumerate(given.SCORES)]


def test_scores_are_taken_from_the_last_epoch_of_that_seed():
    others = rows(value=9.0, seed=1) + rows(value=9.0, step="half") + rows(value=9.0, arm="x")
    (part,) = given.scores_of(rows() + others, "a", "dcgan", 0)
    assert part == {"protocol": {"n_fake": 9}, "values": {m: float(i) for i, m in enumerate(given.SCORES)}}


def test_numbers_of_two_protocols_stand_apart():
    mixed = [r | {"protocol": {"n_fake": 5}} if r["metric"] == "quality" else r for r in rows()]
    parts = given.scores_of(mixed, "a", "dcgan", 0)
    assert [list(p["values"]) for p in parts] == [[m for m in given.SCORES if m != "quality"], ["quality"]]


def test_a_missing_score_is_named():
    with pytest.raises(GannbError, match="has no fid"):
        given.scores_of([r for r in rows() if r["metric"] != "fid"], "a", "dcgan", 0)
