"""Two trainings over their seeds: the ledger's verdict in words, a scorer that saw nothing,
refusals that name the reason, and a page that needs no network."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from gannb import store
from gannb.commands.compare_page import comparison_page
from gannb.datasets.registry import load
from gannb.ledger.intervals import paired_interval, welch_interval
from gannb.report.site import _check_offline
from gannb.base import GannbError
from gannb.cli import main
from gannb.config import ReportConfig, TrainConfig, checked
from gannb.data import ImageSet
from gannb.features import FeatureNet
from gannb.commands import compare as compare_room
from gannb.metrics import kid
from gannb.sample import sample_seeded
from gannb.stages import features as stage_features
from gannb.stages import gan
from gannb.stages.judges import scorers_for, some_images
from gannb.stages.memory import memorised
from gannb.stages.score import score
from gannb.commands.compare import METRICS, compare, training_config, verdict
from gannb.stages.run import GanRun, open_runs

SMALL = dict(dataset="digits", size=16, limit=48, epochs=2, batch_size=16, nz=8, ngf=4, ndf=4, threads=1)


class Flat(torch.nn.Module):
    "Every fourth pixel as a number: a judge that costs nothing."

    def __init__(self):
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return x[:, :, ::4, ::4].flatten(1).float() / 255


def flat():
    return FeatureNet("flat", "pixels", 16, "0" * 64, "none", Flat())


def flat_network(name, device):
    return flat()


@pytest.fixture(autouse=True)
def cheap_judge(monkeypatch):
    monkeypatch.setattr(compare_room, "network", flat_network)


def train(folder: Path, seeds=range(5), **change) -> Path:
    cfg = checked(TrainConfig, SMALL | change)
    data = gan.load_data(cfg, progress=False)
    for seed in seeds:
        gan.train_run(cfg, data, seed, folder / f"seed-{seed}", show="quiet")
    store.write_json(folder / "config.json", cfg.model_dump())
    return folder


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    "The same networks with a small and with a large learning rate, five seeds each."
    place = tmp_path_factory.mktemp("sides")
    return train(place / "slow"), train(place / "fast", lr_G=0.01, lr_D=0.01)


def rows(a, b, metric="kid", **more):
    return [
        {"arm": arm, "dataset": "x", "seed": s, "step": "end", "metric": metric, "value": v, "protocol": {}}
        | more
        for arm, vs in (("A", a), ("B", b))
        for s, v in enumerate(vs)
    ]


LOW, HIGH = [0.31, 0.33, 0.30, 0.34, 0.32], [0.51, 0.52, 0.50, 0.53, 0.55]


@pytest.mark.parametrize(
    "a, b, metric, margin, word",
    [
        (LOW, HIGH, "kid", 0, "A better"),
        (HIGH, LOW, "kid", 0, "B better"),
        (LOW, HIGH, "coverage", 0, "B better"),
        (HIGH, LOW, "coverage", 0, "A better"),
        (LOW, HIGH, "loss_D", 0, "A lower"),
        (HIGH, LOW, "loss_D", 0, "A higher"),
        (LOW, LOW[::-1], "kid", 0, "open"),
        (LOW, LOW[::-1], "kid", 0.1, "same"),
        (LOW, HIGH, "kid", 0.1, "A better"),
        (LOW, HIGH, "kid", 0.2, "open"),
        (LOW, HIGH, "kid", 0.4, "same"),
        (LOW[:4], HIGH[:4], "kid", 0, "inconclusive"),
        (LOW[:1], HIGH[:1], "kid", 0, "inconclusive"),
        (LOW, [*HIGH[:4], None], "kid", 0, "inconclusive"),
        (LOW, [*HIGH, 0.5], "kid", 0, "A better"),
    ],
)
def test_verdicts(a, b, metric, margin, word):
    v = verdict(rows(a, b, metric), metric, "x", margin)
    assert v["verdict"] == word, v["sentence"]
    assert v["values"][0]["values"] == a and v["values"][1]["values"] == b, "values are shown all the same"


def test_intervals_are_the_ledgers():
    v = verdict(rows(LOW, HIGH), "kid", "x")
    want = paired_interval(LOW, HIGH)
    assert (
        v["paired"]
        and v["interval"] == pytest.approx([want.low, want.high])
        and v["value"] == pytest.approx(want.mean)
    )
    w = verdict(rows(LOW, [*HIGH, 0.5]), "kid", "x")
    want = welch_interval(LOW, [*HIGH, 0.5])
    assert not w["paired"] and w["interval"] == pytest.approx([want.low, want.high])


def test_four_seeds_show_their_interval_and_say_why():
    v = verdict(rows(LOW[:4], HIGH[:4]), "kid", "x")
    assert v["interval"] is not None and "Only 4" in v["sentence"] and "at least 5" in v["sentence"]


def test_unlike_protocols_get_no_verdict():
    found = rows(LOW, HIGH)
    for r in found:
        r["protocol"] = {"n_fake": 100 if r["arm"] == "A" else 200}
    v = verdict(found, "kid", "x")
    assert v["verdict"] == "inconclusive" and "the number of fakes differs" in v["sentence"]


@pytest.fixture(scope="module")
def found(sides):
    with pytest.MonkeyPatch.context() as m:
        m.setattr(compare_room, "network", flat_network)
        return compare(*map(str, sides), n=40)


def test_a_whole_comparison(sides, found):
    assert (
        found.names == ("slow", "fast")
        and found.main["metric"] == "kid"
        and found.main["paired"]
        and found.main["n"] == 5
    )
    assert {s["setting"] for s in found.settings} == {"lr_G", "lr_D"} and set(found.verdicts) == set(METRICS)
    assert found.pictures["A"].shape == found.pictures["B"].shape == (16, 16, 16, 1) and not np.array_equal(
        found.pictures["A"], found.pictures["B"]
    )
    assert (
        [len(r["loss_D"]) for r in found.histories().values()] == [5, 5]
        and found.protocol["kid"]["n_fake"] == 40
        and found.protocol["kid"]["held_out"] is True
    )
    value = {r["seed"]: r["value"] for r in found.rows if r["arm"] == "A" and r["metric"] == "loss_D"}
    run = GanRun(sides[0] / "seed-3", found.runs["A"][3].fields, 2, 3)
    assert value[3] == pytest.approx(run.history().mean("loss_D", 1))


def test_swapped_sides_swap_the_verdict(sides, found):
    back = compare(*map(str, sides[::-1]), n=40)
    assert back.main["value"] == -found.main["value"]
    word = {"A better": "B better", "B better": "A better"}
    assert back.main["verdict"] == word.get(found.main["verdict"], found.main["verdict"])


def test_kid_is_of_the_right_images(found):
    "The fakes are those that scores are made of, the reals those that reports choose."
    run = found.runs["B"][2]
    fakes = sample_seeded(run.generator(), 40, 2)
    held = some_images(load("digits", split="test", size=16, progress=False), 40)
    want = kid(flat()(np.asarray(held.images)), flat()(fakes))
    assert compares(found, "B", 2) == pytest.approx(want)


def compares(found, arm: str, seed: int, metric: str = "kid") -> float:
    "What a comparison shows for one seed."
    return next(r["value"] for r in found.rows if (r["arm"], r["seed"], r["metric"]) == (arm, seed, metric))


def test_a_report_and_compare_show_the_same_numbers(sides, monkeypatch):
    "Two stored trainings: every number of `gannb compare` is that of the report's scorer, to the last bit."
    monkeypatch.undo()  # the real network
    report = checked(ReportConfig, {"judge_images": 40})
    _, scorers, _ = scorers_for(report, {"digits": load("digits", split="test", size=16, progress=False)})
    found = compare(*map(str, sides), n=40)
    assert found.protocol["kid"]["network"] == "effnet-lite0"
    for arm, runs in found.runs.items():
        for run in runs[:2]:
            ours = score(run, scorers["digits"])
            shown = {m: compares(found, arm, run.seed, m) for m in compare_room.IMAGE_METRICS}
            assert shown == {m: ours[m] for m in shown}
    assert found.rows[-1]["protocol"] == scorers["digits"].protocol()


def test_fakes_are_looked_at_once(sides, monkeypatch, tmp_path):
    "A second comparison draws nothing, and neither does the memorisation test after it."
    monkeypatch.setenv("GANNB_STORE", str(tmp_path / "store"))
    first = compare(*map(str, sides), n=20)
    monkeypatch.setattr(stage_features, "fakes_of", lambda *a: pytest.fail("drawn again"))
    scorer, _ = compare_room.make_scorer(first.runs["A"][0], 20)
    data = gan.load_data(training_config(first.runs["A"][0]), progress=False)
    memorised(first.runs["A"][0], scorer, data)
    assert compare(*map(str, sides), n=20).rows == first.rows


def test_no_image_that_judges_was_trained_on(sides, tmp_path):
    "The reals named with --data are the training images themselves: every one is taken out."
    from PIL import Image

    data = gan.load_data(training_config(open_runs(str(sides[0]))[0]), progress=False)
    for i in range(12):
        (tmp_path / "own").mkdir(exist_ok=True)
        Image.fromarray(data.take([i])[0, ..., 0]).save(tmp_path / "own" / f"{i:02}.png")
    with pytest.raises(GannbError, match="has 0 images that training has not seen"):
        compare(*map(str, sides), n=20, data=f"folder:{tmp_path / 'own'}")
    test = load("digits", split="test", size=16, progress=False)
    for i in range(12):
        Image.fromarray(test.take([i])[0, ..., 0]).save(tmp_path / "own" / f"t{i:02}.png")
    held = compare(*map(str, sides), n=20, data=f"folder:{tmp_path / 'own'}").protocol["kid"]
    assert held["n_real"] == 12 and held["copies of training images taken out"] >= 12


def test_a_column_of_the_record_needs_no_judge(sides, monkeypatch):
    monkeypatch.setattr(compare_room, "make_scorer", lambda *a: pytest.fail("no images are needed"))
    c = compare(*map(str, sides), metric="D_real")
    assert c.main["metric"] == "D_real" and "kid" not in c.verdicts and "real" not in c.pictures


@pytest.mark.parametrize("kind", ["grey with labels", "grey without", "colour"])
def test_one_network_judges_whatever_the_images_are(kind, monkeypatch):
    "The one that climbs the ladder on grey images too; all unseen images judge, none is kept to teach it."
    monkeypatch.undo()
    grey = load("digits", split="test", size=16, progress=False)
    images = np.asarray(grey.images)
    held = {
        "grey with labels": grey,
        "grey without": ImageSet("bare", images),
        "colour": ImageSet("colour", np.repeat(images, 3, -1), grey.labels, grey.classes),
    }[kind]
    scorer, protocol = compare_room.scorer_of(held, held.pixel_hashes()[:5], len(held))
    assert protocol["network"] == "effnet-lite0" and protocol["copies of training images taken out"] >= 5
    assert len(scorer.real) == len(held) - protocol["copies of training images taken out"]


@pytest.mark.parametrize("n", [7, 0, -3, 1.5, True, "many", 100_001, 10**9])
def test_an_impossible_number_of_images_is_refused_before_a_judge_is_fetched(n, monkeypatch):
    monkeypatch.setattr(compare_room, "network", lambda *a, **k: pytest.fail("no judge is needed"))
    with pytest.raises(GannbError, match="8 to 100,000"):
        compare_room.scorer_of(load("digits", split="test", size=16, progress=False), None, n)


def test_a_diverged_seed_stays_in(sides, tmp_path):
    a = Path(shutil.copytree(sides[0], tmp_path / "a"))
    run = a / "seed-2"
    rows = np.load(run / "history.npy")[:4]
    rows[-1] = np.nan
    np.save(run / "history.npy", rows)
    (run / "diverged.json").write_text('{"step": 4, "message": "planted"}')
    (run / "done.json").unlink()
    (run / "snapshots" / "G-epoch-0002.safetensors").unlink()
    c = compare(str(a), str(sides[1]), n=40)
    assert (
        c.main["verdict"] == "inconclusive"
        and "seed 2" in c.main["sentence"]
        and str(c.table()[0]["A"]) == "n/a (1 of 5 seeds diverged)"
    )
    page = comparison_page(c, tmp_path / "page", "gannb compare a b", 1.0).read_text(encoding="utf-8")
    assert "1 of 5 seeds diverged" in page
    json.loads(
        (tmp_path / "page" / "compare.json").read_text(),
        parse_constant=lambda x: pytest.fail(f"{x} is no JSON"),
    )


def refused(capsys, *args) -> str:
    capsys.readouterr()
    status = main(["compare", *map(str, args)])
    out = capsys.readouterr()
    assert status == 2 and "gannb: " in out.err and "Traceback" not in out.err, out
    return out.err


def test_mistakes(sides, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("GANNB_OUTPUTS", str(tmp_path / "out"))
    a, b = sides
    (tmp_path / "file").write_text("x")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    other, sizes = train(tmp_path / "other", [0], limit=32), train(tmp_path / "sizes", [0], epochs=1)
    shutil.copytree(a / "seed-0", tmp_path / "mixed" / "seed-0")
    shutil.copytree(b / "seed-1", tmp_path / "mixed" / "seed-1")
    shutil.copytree(sizes / "seed-0", tmp_path / "lengths" / "seed-0")
    shutil.copytree(a / "seed-1", tmp_path / "lengths" / "seed-1")
    bare = Path(shutil.copytree(a / "seed-0", tmp_path / "bare" / "seed-0"))
    for args, words in (
        ((a, other), "trained on different data. slow: digits, 48 images"),
        ((a, a), "same run"),
        ((a, tmp_path / "none"), "no such run"),
        ((a, b, "--metric", "kidd"), "Did you mean 'kid'?"),
        ((a, b, "--n", 5), "10 or more"),
        ((a, b, "--margin", -1), "zero or more"),
        ((a, b, "--margin", "nan"), "a number is wanted"),
        ((a, b, "--data", "celebb"), "celeba"),
        ((a, b, "--data", "folder:/no/such"), "does not exist"),
        ((a, b, "--out", tmp_path / "file"), "a file stands"),
        ((a, b, "--out", tmp_path / "mine"), "holds other things"),
        ((tmp_path / "mixed", b), "differ in lr_D"),
        ((tmp_path / "lengths", b), "mixes lengths"),
        ((bare, b), "--data"),
    ):
        assert words in refused(capsys, *args), args
    assert not (tmp_path / "out").exists() and [p.name for p in (tmp_path / "mine").iterdir()] == [
        "thesis.tex"
    ]


def test_nothing_was_held_out(sides, tmp_path, capsys):
    whole = train(tmp_path / "whole", [0], split="all"), train(tmp_path / "more", [0], split="all", ngf=8)
    assert "no image of digits was held out" in refused(capsys, *whole)


def test_data_that_changed_since(sides, tmp_path, capsys):
    a = Path(shutil.copytree(sides[0], tmp_path / "a"))
    cfg = json.loads((a / "config.json").read_text())
    store.write_json(a / "config.json", cfg | {"limit": 40})
    assert "no longer what" in refused(capsys, a, sides[1])


def test_command_and_page(sides, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("GANNB_OUTPUTS", str(tmp_path))
    assert main(["compare", *map(str, sides), "--n", "40"]) == 0
    out = capsys.readouterr().out
    page = Path(out.split("Page: ")[1].strip())
    text = page.read_text(encoding="utf-8")
    assert page == tmp_path / "compare" / "slow-vs-fast-kid" / "compare.html" and "Verdict: " in out
    for words in (
        "slow against fast",
        'id="verdict"',
        'id="pictures"',
        'id="numbers"',
        'id="curves"',
        "lr_G",
        "n_real",
        "flat",
        "gannb compare",
    ):
        assert words in text, words
    _check_offline(text)
    assert len(text) < 3e6 and text.count("data:image/png") == 4
    record = json.loads((page.parent / "compare.json").read_text())
    assert record["verdicts"][0]["metric"] == "kid" and len(record["verdicts"][0]["values"][0]["values"]) == 5
    before = {p.name: p.read_bytes() for p in page.parent.rglob("*.png")}
    (page.parent / "figures" / "old.png").write_bytes(b"stale")
    assert main(["compare", *map(str, sides), "--n", "40"]) == 0
    assert {p.name: p.read_bytes() for p in page.parent.rglob("*.png")} == before


def test_one_seed_each_and_no_page_without_values(sides, tmp_path):
    c = compare(str(sides[0] / "seed-0"), str(sides[1] / "seed-0"), n=40)
    assert (
        c.names == ("slow/seed-0", "fast/seed-0")
        and c.main["verdict"] == "inconclusive"
        and math.isfinite(c.main["value"])
        and "Only 1" in c.sentence()
    )
    assert comparison_page(c, tmp_path / "p", "gannb compare a b", 1.0).is_file()
