"""Commands as people type them: numbers, paths, options; and what a training says when it is over."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gannb import config
from gannb.base import GannbError
from gannb.cli import main
from gannb.stages import gan

SMALL = "--size 16 --epochs 1 --ngf 4 --ndf 4 --nz 4 --batch-size 8".split()
SETTINGS = {"size": 16, "epochs": 1, "ngf": 4, "ndf": 4, "nz": 4, "batch_size": 8, "limit": 24}


@pytest.fixture(autouse=True)
def own_outputs(tmp_path, monkeypatch):
    monkeypatch.setenv("GANNB_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setenv("GANNB_STORE", str(tmp_path / "outputs" / "store"))
    monkeypatch.setenv("GANNB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def images(folder: Path, n: int = 12, first: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(first)
    for i in range(n):
        Image.fromarray(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(folder / f"im{first + i}.png")
    return folder


def said(capsys, *args: str, status: int = 0) -> str:
    "What a command says, errors too; its exit status is looked at."
    capsys.readouterr()
    got = main(list(args))
    out = capsys.readouterr()
    assert got == status, out
    assert "Traceback" not in out.err + out.out
    return out.out + out.err


def threads_of(run: Path) -> int:
    return json.loads((run / "seed-0" / "run.json").read_text())["fields"]["threads"]


def test_a_training_that_was_begun_keeps_its_threads(capsys, tmp_path, monkeypatch):
    "The number is part of the bytes: what is paid for goes on, whatever this process may use now."
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(config, "processors", lambda: 2)
    words = ["train", "digits", *(w for k, v in SETTINGS.items() for w in ("--set", f"{k}={v}"))]
    said(capsys, *words)
    (run,) = (tmp_path / "outputs" / "runs").iterdir()
    assert threads_of(run) == 2
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert "already done" in said(capsys, *words)
    said(capsys, *words, "--set", "seeds=0,1", "--out", str(run))
    assert json.loads((run / "seed-1" / "run.json").read_text())["fields"]["threads"] == 2
    assert len(list(run.parent.iterdir())) == 1, "no second run folder"
    assert json.loads((run / "config.json").read_text())["threads"] == 0, "as it was asked for"
    said(capsys, *words, "--out", str(tmp_path / "new"))
    assert threads_of(tmp_path / "new") == 1
    refused = said(capsys, *words, "--set", "threads=1", "--out", str(run), status=2)
    assert "threads: 2 -> 1" in refused


def test_a_stored_training_is_found_with_the_threads_it_was_begun_with(monkeypatch):
    from gannb.datasets.registry import load

    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(config, "processors", lambda: 3)
    data = load("digits", size=16, limit=24, progress=False)
    cfg = config.gan_config(dataset="digits", **SETTINGS)
    first = gan.train_run(cfg, data, 0, show="quiet")
    monkeypatch.setattr(config, "processors", lambda: 1)
    again = gan.train_run(cfg, data, 0, show="quiet")
    assert first.fields["threads"] == 3 and again.reused and again.folder == first.folder
    assert gan.settled(cfg, data, 1).threads == 1, "another seed was not begun"
    assert gan.settled(cfg.having(threads=2), data, 0).threads == 2, "what was given is taken"


def test_options_and_set_say_the_same(capsys, tmp_path):
    images(tmp_path / "pics")
    plan = ["train", "pics", *SMALL, "--seeds", "0-2,7", "--dry-run"]
    assert "4 training(s) of 1 epochs" in said(capsys, *plan)
    assert "4 training(s)" in said(capsys, *plan, "--set", "seeds=[0, 1, 2, 7]", "--set", "epochs=01")
    assert "--epochs 1 and --set epochs=2 say two things" in said(
        capsys, *plan, "--set", "epochs=2", status=2
    )
    assert "--batch-size is given twice: 8 and 4" in said(capsys, *plan, "--batch_size", "4", status=2)
    assert "Did you mean --epochs?" in said(capsys, "train", "pics", "--epohcs", "3", status=2)
    assert "Did you mean --seeds?" in said(capsys, "train", "pics", "--seed", "3", status=2)
    for wrong in ("--seeds=-1", "--seeds=True", "--limit=0x10", "--epochs=1:30", "--set=seeds=-1"):
        assert wrong.split("=")[-2].strip("-") in said(capsys, "train", "pics", wrong, status=2)
    for wrong in ("--set preset=quick", "--set preset=desk"):
        assert "say two things" in said(
            capsys, "reproduce", "fruits", "--preset", "smoke", *wrong.split(), status=2
        )
    assert "a whole number is wanted" in said(capsys, "sample", "x", "--n", "1:30", status=2)


def test_every_parameter_is_an_option_with_help():
    from gannb.cli import parser
    from gannb.commands.augment_plan import AugmentConfig
    from gannb.commands.options import GROUPS, comments
    from gannb.studies.registry import REPORTS

    kinds = {"train": [config.TrainConfig], "augment": [AugmentConfig], "reproduce": list(REPORTS.values())}
    for name, models in kinds.items():
        command = parser().command(name)
        for model in models:
            for field in model.model_fields:
                if field == "dataset" and name != "reproduce":
                    continue
                option = command._option_string_actions[f"--{field.replace('_', '-')}"]
                assert (
                    comments(model)[field]
                    and comments(model)[field] in option.help.replace("%%", "%")
                    or (name == "reproduce" and len(option.help) > 20)
                ), (name, field)
                assert "(default: " in option.help
        assert command.format_help().startswith(f"usage: gannb {name} ")
    assert not set(GROUPS) - {f for models in kinds.values() for m in models for f in m.model_fields}


def test_a_path_is_a_path_in_every_command(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for label in "ab":
        images(tmp_path / "pics" / label, 20, ord(label) * 100)
    said(capsys, "train", "~/pics/", *SMALL, "--out", "~/run")
    assert (tmp_path / "run" / "seed-0" / "done.json").is_file() and not Path("~").exists()
    assert json.loads((tmp_path / "run" / "config.json").read_text())["dataset"] == "folder:~/pics/"
    assert "40 images" in said(capsys, "data", "check", "pics")
    said(capsys, *"augment pics --shares 1,0.9 --dry-run --size 16 --network softmax --ordinary crop".split())
    said(capsys, "sample", "~/run", "--out=~/sheet.png")
    assert (tmp_path / "sheet.png").is_file() and not Path("~").exists()
    for command in (
        ["train", "no/such"],
        ["data", "check", "no/such"],
        ["augment", "~/none"],
        ["train", "x.zip"],
    ):
        assert "there is no folder or file" in said(capsys, *command, status=2)
    assert "is not known, and there is no folder" in said(capsys, "train", "picz", status=2)


def test_a_batch_that_fits(capsys, tmp_path):
    images(tmp_path / "pics", 30)
    small = [w for w in SMALL if w not in ("--batch-size", "8")]
    text = said(capsys, "train", "pics", *small, "--out", "run")
    assert "note: batch_size=8: the usual 128 is more than the 24 images" in text
    assert json.loads((tmp_path / "run" / "config.json").read_text())["batch_size"] == 8
    assert "already done" in said(capsys, "train", "pics", *small, "--out", "run")
    for way in (["--batch-size", "128"], ["--set", "batch_size=128"]):
        assert "batch_size=128 is larger than the data" in said(
            capsys, "train", "pics", *small, *way, status=2
        )


def test_after_a_training_the_next_lines_can_be_typed(capsys, tmp_path):
    images(tmp_path / "my pics", 30)
    text = said(capsys, "train", "my pics", *SMALL, "--seeds", "0-1")
    lines = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
    import shlex

    assert Path(lines["Pictures of its course"], "epoch-0001.png").is_file()
    for title in ("Look at more (a sheet of 64)", "More epochs (goes on from here)"):
        words = shlex.split(lines[title])
        assert words[0] == "gannb"
        said(capsys, *words[1:])
    made: dict = {}
    exec(lines["In Python"], made)
    assert made["G"].size == 16
    assert shlex.split(lines["How good, epoch by epoch"])[:2] == ["gannb", "score"]


def test_a_sheet_that_was_drawn_is_not_overwritten(capsys, tmp_path):
    images(tmp_path / "pics", 30)
    train = ["train", "pics", *SMALL, "--out", "run"]
    said(capsys, *train)
    first = said(capsys, "sample", "run", "--n", "4").split("Pictures: ")[1].strip()
    content = Path(first).read_bytes()
    assert said(capsys, "sample", "run", "--n", "4").split("Pictures: ")[1].strip() == first, "the same again"
    singles = said(capsys, "sample", "run", "--n", "4", "--each").split("Pictures: ")[1].strip()
    said(capsys, *[w if w != "1" else "2" for w in train])
    second = said(capsys, "sample", "run", "--n", "4").split("Pictures: ")[1].strip()
    assert second != first and Path(first).read_bytes() == content and Path(second).is_file()
    assert said(capsys, "sample", "run", "--n", "4", "--each").split("Pictures: ")[1].strip() != singles


def sides(capsys, pics: str, tmp_path: Path) -> None:
    common = [*SMALL, "--threads", "1", "--seeds", "0-1"]
    said(capsys, "train", pics, *common, "--out", "a")
    said(capsys, "train", pics, *common, "--g-steps", "2", "--out", "b")


@pytest.fixture
def no_scoring(monkeypatch):
    "Which images would judge, without the network that judges."
    from gannb.commands import compare

    def held(name: str, given: str | None = None):
        return compare.held_out_images(compare.open_runs(name)[0], given)

    return held


def test_the_val_part_judges_where_there_is_no_test_part(capsys, tmp_path, no_scoring):
    for part, n in (("train", 12), ("val", 6)):
        for label in "ab":
            images(tmp_path / "pics" / part / label, n, ord(label) * 1000 + ord(part[0]) * 10)
    sides(capsys, "pics", tmp_path)
    held, trained = no_scoring("a")
    assert (len(held), len(trained)) == (12, 24) and any("val part judges" in note for note in held.notes)
    assert not set(held.pixel_hashes()) & set(trained.pixel_hashes())


def test_a_part_is_held_out_where_there_is_only_a_train_part(capsys, tmp_path, no_scoring):
    for label in "ab":
        images(tmp_path / "pics" / "train" / label, 20, ord(label) * 1000)
    plan = said(capsys, "train", "pics", *SMALL, "--dry-run")
    assert "32 images" in plan and "20% were held out" in plan
    whole = said(capsys, "train", "pics", *SMALL, "--no-hold-out", "--out", "whole")
    assert "40 images" in whole
    with pytest.raises(GannbError, match="--data"):
        no_scoring("whole")
    # a training that was begun before this was so is not voided
    record = json.loads((tmp_path / "whole" / "config.json").read_text())
    record.pop("hold_out")
    (tmp_path / "whole" / "config.json").write_text(json.dumps(record))
    again = said(capsys, "train", "pics", *SMALL, "--out", "whole")
    assert "already done" in again and "begun with all images" in again
    said(capsys, "train", "pics", *SMALL, "--out", "run")
    assert json.loads((tmp_path / "run" / "config.json").read_text())["hold_out"] is True
    held, trained = no_scoring("run")
    assert (len(held), len(trained)) == (8, 32)
    assert not set(held.pixel_hashes()) & set(trained.pixel_hashes())


def test_near_copies_are_held_out_together_before_training(tmp_path):
    box = tmp_path / "pics" / "train"
    box.mkdir(parents=True)
    for i in range(30):
        image = Image.fromarray(np.random.default_rng(i).integers(0, 256, (6, 6, 3), np.uint8))
        image.resize((48, 48)).save(box / f"{i}.png")
        image.resize((48, 48)).resize((24, 24)).save(box / f"small_{i}.png")

    def parted(option: str) -> int:
        cfg = config.TrainConfig(dataset=f"folder:{box.parent}{option}", size=16)
        sides = [load(cfg, progress=False) for load in (gan.load_images, gan.load_held_out)]
        assert [len(s) for s in sides] == [48, 12]
        mine, judging = ({bytes(f).decode().replace("small_", "") for f in s.files} for s in sides)
        return len(mine & judging)

    assert parted("") == 0 < parted("?near=apart")


def test_moved_pictures_void_nothing(capsys, tmp_path, no_scoring):
    for part, n in (("train", 12), ("val", 6)):
        for label in "ab":
            images(tmp_path / "pics" / part / label, n, ord(label) * 1000 + ord(part[0]) * 10)
    sides(capsys, "pics", tmp_path)
    os.rename("pics", "elsewhere")
    with pytest.raises(GannbError, match="with --data, the folder as it is now"):
        no_scoring("a")
    held, trained = no_scoring("a", "elsewhere/val")
    assert len(held) == 12 and trained is None
    held, trained = no_scoring("a", "elsewhere")
    assert len(held) == 36 and len(trained) == 24, "the same folder in another place is known again"
    text = said(capsys, "compare", "a", "b", "--metric", "loss_D", "--data", "elsewhere/val")
    assert "Verdict: " in text


@pytest.mark.parametrize("harm", ["none", "damaged", "gone"])
def test_images_that_were_trained_on_never_judge_whatever_became_of_the_folder(capsys, tmp_path, harm):
    from gannb.commands.compare import make_scorer, open_runs

    images(tmp_path / "pics" / "train", 40, 1000)
    said(capsys, "train", "pics", *SMALL, "--out", "run")
    images(tmp_path / "pics" / "train", 12, 2000)  # added later
    os.rename("pics", "elsewhere")
    kept = tmp_path / "run" / "trained_on.npy"
    if harm == "damaged":
        kept.write_bytes(kept.read_bytes()[:90])
    if harm == "gone":
        kept.unlink()
    (run,) = open_runs("run")
    with pytest.raises(GannbError, match="those that were trained on are left out"):
        make_scorer(run, 50)
    protocol = make_scorer(run, 50, "elsewhere")[1]
    told = protocol["copies of training images taken out"]
    assert told == 32 if harm == "none" else told.startswith("not known")
    assert (protocol["n_real"] == 20) == (harm == "none")


def test_figures_do_not_depend_on_the_users_settings(tmp_path):
    import matplotlib

    from gannb import plot

    def picture() -> bytes:
        rows = [{"label": "a_b $x", "values": [1.0, 2.0]}, {"label": "c", "values": [2.0, 3.0]}]
        return plot.png(plot.seed_dots(rows, xlabel="loss_D"))

    plain = picture()
    with matplotlib.rc_context(
        {"text.usetex": True, "font.size": 30, "axes.facecolor": "red", "savefig.dpi": 30}
    ):
        assert picture() == plain
        assert matplotlib.rcParams["font.size"] == 30, "the user's own figures stay as they are"


def test_compile_without_a_compiler_is_refused_before_work(capsys, tmp_path, monkeypatch):

    images(tmp_path / "pics", 30)
    monkeypatch.setattr("shutil.which", lambda name, *a, **k: None)
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.delenv("CC", raising=False)
    assert "compile=true needs a C++ compiler" in said(capsys, "train", "pics", *SMALL, "--compile", status=2)
    assert not list(tmp_path.glob("outputs/runs/*/seed-*"))
    said(capsys, "train", "pics", *SMALL, "--dry-run")


def test_impossible_classes_stop_a_report_before_any_work(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(Path(__file__).resolve().parents[1])  # where the reports are
    for words in ("scene_augmentation --classes 3,eleven", "fruits --fruits 3,eleven --limits 0,0"):
        text = said(capsys, "reproduce", *words.split(), "--preset", "smoke", status=2)
        assert "'eleven' is not known" in text
    sets = "digits@eleven,digits,digits"
    assert "'eleven'" in said(
        capsys, "reproduce", "dataset_study", "--preset", "smoke", "--datasets", sets, status=2
    )
    assert not (tmp_path / "cache" / "images").exists()


@pytest.mark.skipif(os.name != "posix", reason="a pseudo-terminal")
def test_a_terminal_of_no_columns_is_told_in_lines(monkeypatch):
    import fcntl
    import pty
    import struct
    import sys
    import termios

    ours, theirs = pty.openpty()
    with open(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        for columns, shown in ((0, False), (80, True)):
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 0, columns, 0, 0))
            assert gan._has_terminal() is shown
            bar = gan._bar("a", 10, 0)
            assert bar.disable is not shown
            bar.close()
    os.close(ours)
