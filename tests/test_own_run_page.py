"""The page of a training of one's own (`gannb show RUN`), what it says and what it must leave alone; the plan
of a training that goes on."""

import errno
import hashlib
import json
import math
import os
import re
import shlex
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gannb import store
from gannb.base import GannbError
from gannb.cli import main
from gannb.commands import run_page as page_room
from gannb.commands import run_words as words_room
from gannb.commands import train as train_room
from gannb.commands.keep import du, plan_gc, user_runs
from gannb.commands.recent import recent
from gannb.commands.run_page import page_of, run_page, shown_epochs, try_page
from gannb.commands.run_words import diagnosis, open_training, sentence, tips, trend, typed
from gannb.commands.score import scores_of
from gannb.commands.train import config_of, prepare, recorded_speed, say_plan, train_seeds
from gannb.commands.watch import watch
from gannb.config import TrainConfig, checked
from gannb.report.site import _check_offline
from gannb.stages.run import open_run
from gannb.train import COLUMNS, History

SMALL = {"size": 16, "ngf": 8, "ndf": 8, "batch_size": 8, "threads": 1}
WORDS = "--size 16 --ngf 8 --ndf 8 --batch-size 8 --threads 1".split()
BROKEN = {"lr_G": 0.9, "lr_D": 0.9, "beta1": 0.99, "beta2": 0.5}


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    for name in ("OUTPUTS", "STORE"):
        monkeypatch.setenv(f"GANNB_{name}", str(tmp_path / name.lower()))
    monkeypatch.chdir(tmp_path)


def images(folder: Path, n: int = 30, seed: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(seed)
    for i in range(n):
        small = Image.fromarray(draw.integers(0, 256, (4, 4, 3), np.uint8))
        small.resize((16, 16), Image.Resampling.BICUBIC).save(folder / f"{i:02}.png", "PNG")
    return folder


def trained(out: Path, source: str, **settings) -> Path:
    "A training by the parts of the command, without a page."
    cfg = checked(TrainConfig, {"dataset": source, "epochs": 2} | SMALL | settings)
    data, folder = prepare(cfg, out)
    train_seeds(cfg, data, folder, "quiet")
    return folder


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    "Three seeds on images of two classes, scored."
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("three")
        for name in ("OUTPUTS", "STORE"):
            patch.setenv(f"GANNB_{name}", str(root / name.lower()))
        for i, label in enumerate(("cats", "dogs")):
            images(root / "pics" / label, 40, i)
        words = ["train", str(root / "pics"), *WORDS, "--epochs", "3", "--seeds", "0-2", "--show", "quiet"]
        assert main([*words, "--out", str(root / "run")]) == 0
        assert main(["score", str(root / "run"), "--n", "20"]) == 0
    return root / "run"


def hashes(folder: Path, without: str = "page.html") -> dict[str, str]:
    "Every file of a folder with its hash."
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != without)
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


class Words(HTMLParser):
    "The text of a page, and its elements."

    def __init__(self, page: str):
        super().__init__()
        self.text, self.tags, self.inside = "", [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.inside = tag
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, text):
        if self.inside not in ("style", "script"):
            self.text += f" {text}"


def seen(page: str) -> str:
    "What a reader sees of a page, on one line."
    return " ".join(Words(page).text.split())


def test_a_page_says_what_came_out(three):
    page = (three / "page.html").read_text(encoding="utf-8")
    text = seen(page)
    for part in ("Real and made", "Over time", "Curves", "Scores", "What to try next", "What it rests on"):
        assert "<h2 id=" in page and part in text, part
    assert "3 seeds, 3 epochs (24 steps) each, on 64 images of pics at 16 x 16." in text
    assert "before training" in text and "epoch 1, step 8" in text and "epoch 3, step 24" in text
    assert "training images" in text and all(f"made, seed {seed}" in text for seed in (0, 1, 2))
    assert "Mean with its 95 % interval" in text and "Real images" in text
    assert re.search(r"20 made images an epoch against \d+ that no training has seen, by the network", text)
    assert re.search(r"differences up to [\d.]+ would also come from other images", text)
    assert "real against real.kid" in text, "the whole protocol, folded"
    _check_offline(page)


def test_pictures_of_a_page_are_there_and_described(three):
    shown = [a for tag, a in Words((three / "page.html").read_text(encoding="utf-8")).tags if tag == "img"]
    assert len(shown) == 4 + 3 * 4 + 3, "real, three sheets, four epochs a seed, three charts"
    for picture in shown:
        assert (
            picture["src"].startswith("data:image/png;base64,")
            and picture["alt"]
            and int(picture["width"]) > 60
        )


def test_making_a_page_leaves_a_training_alone(three, monkeypatch):
    monkeypatch.setenv("GANNB_OUTPUTS", str(three.parent / "outputs"))
    monkeypatch.setenv("GANNB_STORE", str(three.parent / "store"))
    before, waste, stored = hashes(three), plan_gc(), du()
    sizes = {i.key: i.bytes for i in user_runs()}
    page = (three / "page.html").read_bytes()
    (three / "page.html").unlink()
    assert main(["show", str(three)]) == 0
    assert hashes(three) == before and (three / "page.html").read_bytes() == page
    assert {i.key: i.bytes for i in user_runs()} == sizes and plan_gc() == waste and du() == stored
    assert not list(three.glob(".*")), "nothing is left over"


def test_a_run_in_the_outputs_is_as_large_as_before(tmp_path):
    folder = trained(store.outputs_dir() / "runs" / "digits-x", "digits", batch_size=128)
    before, text, waste = hashes(folder), du(), plan_gc()
    page = run_page("digits-x")
    assert page == folder / "page.html" and hashes(folder) == before and du() == text and plan_gc() == waste
    assert recent()[0].page == page
    assert f"Page: {page}" in list(watch("digits-x"))
    assert main(["train", "digits", *[w if w != "8" else w for w in WORDS], "--dry-run"]) == 0


def test_the_page_is_made_at_the_end_of_a_training_and_again_by_score(capsys, tmp_path):
    images(tmp_path / "pics", 60)
    train = ["train", "pics", *WORDS, "--epochs", "1", "--out", "run", "--show", "quiet"]
    assert main(train) == 0
    out, err = capsys.readouterr()
    assert f"Page (pictures over time, curves, what to try next): {tmp_path / 'run' / 'page.html'}" in out
    assert err == ""
    first = seen((tmp_path / "run" / "page.html").read_text(encoding="utf-8"))
    assert "was not scored" in first and f"gannb score {tmp_path / 'run'}" in first
    assert main(["score", "run", "--n", "12"]) == 0
    out = capsys.readouterr().out
    assert f"Page: {tmp_path / 'run' / 'page.html'}" in out and "real images in their place: kid" in out
    again = seen((tmp_path / "run" / "page.html").read_text(encoding="utf-8"))
    assert "was not scored" not in again and "KID (0: like real) after epoch 1" in again
    assert f"gannb score {tmp_path / 'run'}" not in again, "it was done"


def full_disk(path, content, write=store.atomic_write):
    "A disk that has no room for a page."
    if Path(path).name == "page.html":
        raise store._say_oserror("write", Path(path), OSError(errno.ENOSPC, "No space left on device"))
    return write(path, content)


def failing(error):
    def fail(*_, **__):
        raise error

    return fail


@pytest.mark.parametrize(
    "room, name, how",
    [
        (store, "atomic_write", full_disk),
        (page_room, "losses", failing(ValueError("Failed to find font DejaVu Sans"))),
        (page_room, "open_training", failing(MemoryError())),
        (page_room, "page_of", failing(RuntimeError("anything"))),
    ],
    ids=["full disk", "no font", "no memory", "a mistake of ours"],
)
def test_a_page_that_fails_never_makes_a_training_look_failed(capsys, tmp_path, monkeypatch, room, name, how):
    images(tmp_path / "pics")
    monkeypatch.setattr(room, name, how)
    assert main(["train", "pics", *WORDS, "--epochs", "1", "--out", "run"]) == 0
    out, err = capsys.readouterr()
    assert "seed 0: done" in out and "Run folder: run" in out and "Page (" not in out
    said = [line for line in err.splitlines() if "No page was made" in line]
    assert len(said) == 1 and "nothing of the training is lost" in said[0] and "Traceback" not in err
    assert shlex.split(said[0].split("lost, and ")[1])[:3] == ["gannb", "show", "run"]
    assert open_run("run/seed-0").epochs == 1 and not list(Path("run").glob("*page*"))
    assert main(["score", "run", "--n", "12"]) == 2 or "No page was made" in capsys.readouterr().err


def test_a_file_where_the_page_should_be_is_kept(capsys, tmp_path):
    folder = trained(tmp_path / "run", f"folder:{images(tmp_path / 'pics')}", epochs=1)
    (folder / "page.html").write_text("<p>mine</p>")
    assert main(["show", "run"]) == 2
    assert "no page of ours" in capsys.readouterr().err
    assert (folder / "page.html").read_text() == "<p>mine</p>"
    assert main(["show", "run", "--out", "other.html"]) == 0 and Path("other.html").is_file()
    assert main(["show", "run", "--out", "other.html"]) == 0, "a page of ours may be written again"
    for out in ("other.pdf", "run"):
        assert main(["show", "run", "--out", out]) == 2
        assert "a page is a file" in capsys.readouterr().err
    assert main(["show", "rum"]) == 2 and "no such run" in capsys.readouterr().err


def test_names_that_are_html_are_shown_as_they_are_written(tmp_path):
    evil = "<svg onload=alert(1)> src=x.js & *b*"
    classes = ("<script>alert(2)</script>".replace("/", "_"), '"><img src=x onerror=alert(3)>')
    for i, name in enumerate(classes):
        images(tmp_path / evil / name, 30, i)
    folder = trained(tmp_path / "<b>run", f"folder:{tmp_path / evil}", seeds=[0, 1])
    page = run_page(folder).read_text(encoding="utf-8")
    found = Words(page)
    assert f"images of {evil} at 16 x 16" in seen(page), "told as it is written"
    assert [tag for tag, _ in found.tags].count("script") == 1 and not {"svg", "b "} & {
        t for t, _ in found.tags
    }
    assert not [a for _, a in found.tags if "onload" in a or "onerror" in a]
    assert all(a["src"].startswith("data:") for tag, a in found.tags if tag == "img")


def stopped(tmp_path, monkeypatch, **settings) -> Path:
    "A training that was stopped in its second epoch of four, of two seeds that were asked for."
    from gannb.stages import gan

    cfg = checked(
        TrainConfig, {"dataset": "digits", "epochs": 4, "seeds": [0, 1]} | SMALL | {"batch_size": 128}
    )
    data, folder = prepare(cfg.having(**settings), tmp_path / "run")
    attend = gan._attend
    monkeypatch.setattr(gan, "_attend", lambda tick, *rest: attend(tick, *rest) or tick.step >= 24)
    with pytest.raises(gan.Interrupted):
        train_seeds(cfg, data, folder, "quiet")
    monkeypatch.setattr(gan, "_attend", attend)
    return folder


def test_a_half_finished_training_has_a_page(capsys, tmp_path, monkeypatch):
    folder = stopped(tmp_path, monkeypatch)
    text = seen(run_page(folder).read_text(encoding="utf-8"))
    assert (
        "2 epochs (24 steps), on 1,438 images of digits" in text and "The training is not finished." in text
    )
    assert "seed 1 was not begun." in text and "epoch 2, step 24" in text
    first = tips(open_training(folder))[0]
    assert "the same command goes on" in first.text
    assert main(shlex.split(first.command)[1:]) == 0
    assert open_run(folder / "seed-0").epochs == open_run(folder / "seed-1").epochs == 4
    assert "not finished" not in seen((folder / "page.html").read_text(encoding="utf-8"))


def diverge(seed: Path, step: int = 9) -> None:
    "What a training leaves that broke off at a step."
    rows = np.load(seed / "history.npy")[:step]
    rows[-1] = np.nan
    np.save(seed / "history.npy", rows)
    (seed / "done.json").unlink()
    store.write_json(seed / "diverged.json", {"step": step, "message": f"a loss is none at step {step}"})


def test_a_diverged_training_has_a_page_and_another_seed_is_proposed(tmp_path):
    folder = trained(tmp_path / "run", "digits", seeds=[0, 3], batch_size=128)
    diverge(folder / "seed-3")
    t = open_training(folder)
    assert [s.reading for s in t.seeds] == ["too short", "diverged"]
    text = seen(run_page(folder).read_text(encoding="utf-8"))
    assert "1 diverged" in text and "no number" in text and "numbers grew until they were none" in text
    tip = next(tip for tip in tips(t) if "broke off" in tip.text)
    words = shlex.split(tip.command)
    assert words[words.index("--seeds") + 1] == "0,4" and words[words.index("--out") + 1] == str(folder)
    diverge(folder / "seed-0")
    slower = next(tip for tip in tips(open_training(folder)) if "smaller steps" in tip.text)
    assert "--lr-G 0.0001 --lr-D 0.0001" in slower.command and "--out" not in slower.command
    assert "numbers grew until they were none" in sentence(open_training(folder))
    (folder / "seed-3" / "history.npy").unlink()
    assert [s.reading for s in open_training(folder).seeds] == ["diverged"] * 2, "diverged.json says it too"
    assert main(["show", str(folder)]) == 0


def test_what_cannot_be_read_is_said_and_the_rest_is_shown(tmp_path):
    source = images(tmp_path / "pics", 40)
    folder = trained(tmp_path / "run", f"folder:{source}", seeds=[0, 1, 2])
    (folder / "seed-1" / "run.json").write_text("[]")
    (folder / "seed-0" / "samples" / "epoch-0001.png").write_bytes(b"no picture")
    (folder / "seed-0" / "timing.json").write_text("{")
    (folder / "seed-0" / "provenance.json").write_text("7")
    (folder / "seed-2" / "scores.json").write_text("{}")
    for path in source.glob("0*.png"):
        path.unlink()
    text = seen(run_page(folder).read_text(encoding="utf-8"))
    assert "seed-1 is left out" in text and "made, seed 0" in text and "made, seed 2" in text
    assert "Training images are not shown" in text and "timing.json is damaged" in text
    (folder / "config.json").write_text("[]")
    assert "How this was trained cannot be read" in seen(run_page(folder).read_text(encoding="utf-8"))
    (folder / "config.json").unlink()
    assert "2 seeds, 2 epochs" in seen(run_page(folder).read_text(encoding="utf-8"))
    for seed in (0, 2):
        (folder / f"seed-{seed}" / "run.json").write_text("[]")
    with pytest.raises(GannbError, match="seed-0 is left out"):
        run_page(folder)


def test_a_seed_that_lost_what_it_is_is_named_and_written_again(tmp_path, capsys):
    folder = trained(tmp_path / "run", "digits", seeds=[0, 1], batch_size=128)
    lost = folder / "seed-1" / "run.json"
    whole = lost.read_bytes()
    lost.unlink()
    assert "seed-1 is left out" in seen(run_page(folder).read_text(encoding="utf-8"))
    for command in ("sample", "score", "watch"):
        for named in (folder, folder / "seed-1"):
            assert main([command, str(named)]) == 2
            assert f"{lost} is missing" in capsys.readouterr().err
    trained(folder, "digits", seeds=[0, 1], batch_size=128)
    assert lost.read_bytes() == whole, "the same training again writes it"
    assert "left out" not in seen(run_page(folder).read_text(encoding="utf-8"))


def test_a_changed_picture_is_never_shown(tmp_path, capsys):
    folder = trained(tmp_path / "run", "digits", batch_size=128)
    path = folder / "seed-0" / "samples" / "epoch-0002.png"
    good = path.read_bytes()
    path.write_bytes((folder / "seed-0" / "samples" / "epoch-0001.png").read_bytes())
    run_page(folder)
    assert path.read_bytes() == good and "drawn anew" in capsys.readouterr().err


def test_one_seed_and_a_run_of_the_store(tmp_path):
    from gannb.stages.gan import load_data, train_run

    cfg = checked(TrainConfig, {"dataset": "digits", "epochs": 1} | SMALL | {"batch_size": 128})
    run = train_run(cfg, load_data(cfg, progress=False), 0, show="quiet")
    before = hashes(run.folder)
    page = run_page(run.folder.name)
    assert page == store.outputs_dir() / "pages" / f"{run.folder.name}.html"
    text = seen(page.read_text(encoding="utf-8"))
    assert "1 epoch (12 steps), on 1,438 images" in text and "the folder does not say where they lie" in text
    assert hashes(run.folder) == before


def record(real, fake, loss_D, loss_G=1.0, steps=100):
    rows = np.zeros((steps, len(COLUMNS)), np.float32)
    rows[:, [COLUMNS.index(c) for c in ("D_real", "D_fake_before", "loss_D", "loss_G")]] = (
        real,
        fake,
        loss_D,
        loss_G,
    )
    return History(rows, 10)


@pytest.mark.parametrize(
    "numbers, word",
    [
        ((0.7, 0.3, 0.7), "healthy"),
        ((0.4, 0.6, 1.8), "collapsed"),
        ((0.99, 0.01, 0.02, 6.0), "dominated"),
        ((0.7, 0.3, math.nan), "diverged"),
        ((0.7, 0.3, 0.7, math.inf), "diverged"),
        ((1.0, 0.0, 0.0, 1e9), "runaway"),
        ((0.7, 0.3, 0.7, 1.0, 20), "too short"),
        ((0.7, 0.3, math.nan, 1.0, 3), "diverged"),
        ((0.7, 0.3, 0.7, 1.0, 0), "too short"),
    ],
)
def test_curves_are_read_by_a_rule(numbers, word):
    assert diagnosis(record(*numbers)) == word


def test_only_the_last_fifth_counts():
    both = np.concatenate([record(0.99, 0.01, 0.0).rows, record(0.7, 0.3, 0.7, steps=25).rows])
    assert diagnosis(History(both, 10)) == "healthy"


def test_tutorial_and_page_read_curves_by_one_rule():
    source = (Path(__file__).parents[1] / "nbs" / "tutorials" / "4_reading_curves.ipynb").read_text(
        encoding="utf-8"
    )
    assert "from gannb.commands.run_words import diagnosis" in source and "def diagnosis(run)" not in source


def scores(*kids, half=0.02):
    return [
        {"epoch": 2**i, "step": 2**i, "kid": k, "kid_low": k - half, "kid_high": k + half}
        for i, k in enumerate(kids)
    ]


@pytest.mark.parametrize(
    "kids, half, word",
    [
        ((0.5, 0.3, 0.2), 0.02, "falls"),
        ((0.5, 0.3, 0.2), 0.2, "level"),
        ((0.5, 0.21, 0.2), 0.02, "level"),
        ((0.5, 0.2, 0.3), 0.02, "better before"),
        ((0.5, 0.29, 0.3), 0.02, "level"),
    ],
)
def test_more_epochs_only_while_the_score_falls_beyond_its_resolution(kids, half, word):
    assert trend(scores(*kids, half=half)).word == word


def with_scores(folder: Path, *kids, half=0.02, seed=0, **protocol) -> None:
    rows = [
        dict(r, epoch=e, precision=0.5, recall=0.5, coverage=0.5, diversity=1.0)
        for e, r in zip((1, 2), scores(*kids, half=half))
    ]
    told = {"n_fake": 10, "n_real": 10, "network": "x"} | protocol
    store.write_json(folder / f"seed-{seed}" / "scores.json", {"protocol": told, "scores": rows})


def test_tips_are_computed_from_the_run(tmp_path, monkeypatch):
    source = f"folder:{images(tmp_path / 'pics', 40)}"
    folder = trained(tmp_path / "run", source, seeds=[0, 1])

    def found(word: str):
        return next((tip for tip in tips(open_training(folder)) if word in tip.text), None)

    assert found("Nothing says yet").command == f"gannb score {folder}"
    for seed in (0, 1):
        with_scores(folder, 0.5, 0.3, seed=seed)
    assert found("Nothing says yet") is None
    longer = found("still falls in 2 of 2 seeds")
    assert main(shlex.split(longer.command)[1:]) == 0
    assert open_run(folder / "seed-1").epochs == 4, "the command is the right one"
    assert found("Not every seed says yet"), "scored up to epoch 2 of 4"
    few = found("images are few")
    assert "--augment color,translation,cutout" in few.command and "--out" not in few.command
    monkeypatch.setattr(words_room, "FEW", 10)
    assert found("images are few") is None
    assert found("three show what is luck") is None, "two seeds too short to be healthy"


def test_tips_of_scores(tmp_path):
    folder = trained(tmp_path / "run", f"folder:{images(tmp_path / 'pics', 40)}")
    with_scores(folder, 0.3, 0.3)
    assert not [tip for tip in tips(open_training(folder)) if "score" in tip.text.lower()], (
        "level: nothing to say"
    )
    with_scores(folder, 0.2, 0.5)
    worse = next(tip for tip in tips(open_training(folder)) if "earlier generator" in tip.text)
    assert worse.command.endswith("--epoch 1") and main(shlex.split(worse.command)[1:]) == 0
    with_scores(folder, 0.3, 0.3, **{"copies of training images taken out": 7})
    copies = next(tip for tip in tips(open_training(folder)) if "copies of training" in tip.text)
    assert (
        copies.text.startswith("7 of the images kept for judging")
        and main(shlex.split(copies.command)[1:]) == 0
    )
    store.write_json(
        folder / "seed-0" / "scores.json", {"protocol": {}, "scores": [{"epoch": 2, "step": 2, "kid": 0.1}]}
    )
    text = seen(run_page(folder).read_text(encoding="utf-8"))
    assert "score again" in text, "scores from before intervals were kept"


def test_a_failed_balance_goes_back_to_the_usual_one(tmp_path, monkeypatch):
    folder = trained(tmp_path / "run", "digits", batch_size=128, g_steps=3, lr_D=2e-5)
    monkeypatch.setattr(words_room, "diagnosis", lambda history: "collapsed")
    first = tips(open_training(folder))[0]
    assert (
        "usual balance" in first.text and "--g-steps" not in first.command and "--lr-D" not in first.command
    )
    plain = trained(tmp_path / "plain", "digits", batch_size=128)
    assert "--augment" in tips(open_training(plain))[0].command
    text = seen(run_page(plain).read_text(encoding="utf-8"))
    assert "look collapsed" in text and "hardly differ" in text


def test_commands_are_as_typed(tmp_path):
    cfg = checked(
        TrainConfig,
        {"dataset": "digits", "hold_out": False, "classes": ["1", "2"], "augment": "color"} | SMALL,
    )
    words = shlex.split(typed(cfg, tmp_path / "a b", epochs=5))
    assert (
        words[:3] == ["gannb", "train", "digits"]
        and "--no-hold-out" in words
        and words[-2:] == ["--out", str(tmp_path / "a b")]
    )
    from gannb.cli import _asked_for, parser

    args = parser().parse_args(words[1:])
    assert _asked_for(TrainConfig, args.dataset, args, "train") == cfg.having(epochs=5)


def test_epochs_that_are_shown():
    assert shown_epochs([]) == [] and shown_epochs([0]) == [0] and shown_epochs(range(8)) == list(range(8))
    many = shown_epochs(range(501))
    assert many[0] == 0 and many[-1] == 500 and len(many) == 8 and many[1] == 1
    assert shown_epochs([5, 20, 40, 60, 80, 100, 120, 140, 160])[0] == 5


def test_the_plan_says_what_is_left(capsys, tmp_path, monkeypatch):
    folder = stopped(tmp_path, monkeypatch)
    cfg = config_of(folder)
    data, _ = prepare(cfg, folder)
    timing = folder / "seed-0" / "timing.json"
    store.write_json(timing, {"parts": [{"from_step": 0, "to_step": 24, "wall_s": 240.0}]})
    assert recorded_speed(folder) == 10.0
    capsys.readouterr()
    half = say_plan(cfg, data, folder)
    out = capsys.readouterr().out
    assert "2 training(s) of 4 epochs (48 steps each), from nothing about" in out
    assert "24 of 96 steps are done; 72 are left, about 12 min at 13 images/s, the speed so far." in out
    timing.write_text("{")
    assert recorded_speed(folder) is None
    say_plan(cfg, data, folder)
    assert "72 are left, about" in (out := capsys.readouterr().out) and "the speed here and now." in out
    train_seeds(cfg, data, folder, "quiet")
    assert say_plan(cfg, data, folder) == 0 and "All of it is trained already." in capsys.readouterr().out
    more = cfg.having(epochs=6)
    assert say_plan(more, data, folder) > half > 0
    assert "96 of 144 steps are done; 48 are left" in capsys.readouterr().out
    fresh, _ = prepare(cfg, tmp_path / "new")
    say_plan(cfg, fresh, tmp_path / "new")
    assert "steps are done" not in (out := capsys.readouterr().out) and "from nothing" in out


def test_a_training_that_went_further_is_no_head_start(capsys, tmp_path):
    folder = trained(tmp_path / "run", "digits", batch_size=128, epochs=6)
    cfg = config_of(folder)
    data, _ = prepare(cfg, folder)
    say_plan(cfg.having(epochs=4), data, folder)
    assert "steps are done" not in capsys.readouterr().out, "G of epoch 4 was not kept: it is trained apart"
    say_plan(cfg.having(epochs=3), data, folder)
    assert "All of it is trained already." in capsys.readouterr().out


def test_scores_hold_their_ruler_and_their_resolution(three):
    found = scores_of(three / "seed-0")
    assert all(row["kid_low"] < row["kid"] < row["kid_high"] for row in found["scores"])
    real = found["protocol"]["real against real"]
    assert real["kid"] < found["scores"][0]["kid"] and real["kid_low"] < real["kid_high"]


def test_every_seed_stands_on_the_page_once(three):
    t = open_training(three / "seed-1")
    assert t.folder == three.resolve() and [s.run.seed for s in t.seeds] == [0, 1, 2]
    assert "3 seeds" in seen(page_of(t)) and json.loads((three / "config.json").read_text())["seeds"] == [
        0,
        1,
        2,
    ]
    assert try_page(three.parent / "pics") is None and os.path.isdir(three)
    assert train_room.PAGE == "page.html"


@pytest.mark.parametrize(
    "protocol, row",
    [
        ({}, {}),
        (
            {"n_fake": "many", "n_real": None, "network": ["<b>"], "real against real": 7},
            {"precision": "high"},
        ),
        ({"real against real": {"kid": "0", "precision": math.nan}}, {"kid_low": "x", "kid_high": None}),
        ({"copies of training images taken out": "some"}, {"recall": True, "coverage": [1]}),
    ],
)
def test_scores_that_were_changed_by_hand_break_no_page(tmp_path, protocol, row):
    folder = trained(tmp_path / "run", "digits", batch_size=128, epochs=1, seeds=[0, 1, 2])
    for seed in range(3):
        rows = [{"epoch": e, "step": e, "kid": 1.0 / (e + 1)} | row for e in (0, 1)]
        text = json.dumps({"protocol": protocol, "scores": rows})
        (folder / f"seed-{seed}" / "scores.json").write_text(text)
    text = seen(run_page(folder).read_text(encoding="utf-8"))
    assert "KID (0: like real) after epoch 1: 0.5" in text and "not taken" in text
