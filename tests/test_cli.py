"""The command line: every bad input is a sentence, exit status 2, nothing half-made; the good says where."""

import gzip
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gannb.cli import main

TINY = [
    "--set",
    "size=16",
    "--set",
    "epochs=1",
    "--set",
    "ngf=4",
    "--set",
    "ndf=4",
    "--set",
    "nz=4",
    "--set",
    "batch_size=8",
    "--set",
    "limit=24",
]


@pytest.fixture(autouse=True)
def own_outputs(tmp_path, monkeypatch):
    monkeypatch.setenv("GANNB_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setenv("GANNB_STORE", str(tmp_path / "outputs" / "store"))
    monkeypatch.setenv("GANNB_CACHE", str(tmp_path / "cache"))


def images(folder: Path, n: int = 12, suffix: str = "png") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for i in range(n):
        Image.fromarray(rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(
            folder / f"bild {i} ä.{suffix}"
        )
    return folder


def refused(capsys, *args: str) -> str:
    "Run a command that must be refused; its message."
    status = main(list(args))
    out = capsys.readouterr()
    assert status == 2, out
    assert "gannb: " in out.err and "Traceback" not in out.err + out.out
    return out.err[out.err.index("gannb: ") :]  # a progress bar of reading may stand before it


def nothing_left(tmp_path: Path) -> None:
    left = (
        [p.relative_to(tmp_path).as_posix() for p in (tmp_path / "outputs").rglob("*") if p.is_file()]
        if (tmp_path / "outputs").is_dir()
        else []
    )
    assert not left, left
    assert not [p for p in tmp_path.rglob("*.tmp")]


@pytest.mark.parametrize(
    "args, words",
    [
        (["train", "celebb"], "celeba"),
        (["train", "digits", "--set", "epohcs=3"], "epochs"),
        (["train", "digits", "--set", "epochs=many"], "epochs='many'"),
        (["train", "digits", "--set", "epochs=0"], "epochs"),
        (["train", "digits", "--set", "lr_G=fast"], "lr_G"),
        (["train", "digits", "--set", "size=50"], "48 or 56"),
        (["train", "digits", "--set", "size=12"], "16"),
        (["train", "digits", "--set", "channels=2"], "1 (grey) or 3 (RGB)"),
        (["train", "digits", "--set", "seeds=0,0"], "twice"),
        (["train", "digits", "--set", "epochs"], "name=value"),
        (["train", "digits", "--set", "size=16", "--set", "classes=eleven"], "eleven"),
        (["train", "digits", "--set", "size=16", "--set", "batch_size=5000"], "batch_size=5000"),
        (["train", "digits", "--set", "data_root=/no/such/folder"], "is not a folder"),
        (["reproduce", "datset_study"], "dataset_study"),
        (["reproduce", "dataset_study", "--preset", "qick"], "quick"),
        (["reproduce", "dataset_study", "--set", "epohcs=3"], "epochs"),
        (["reproduce", "dataset_study", "--set", "size=50"], "48 or 56"),
        (["reproduce", "dataset_study", "--set", "datasets=mnist,celebb,cifar10"], "celeba"),
        (["reproduce", "dataset_study", "--set", "data_root=/no/such/folder"], "is not a folder"),
        (["data", "get", "celebb"], "celeba"),
        (["data", "check", "celebb"], "celeba"),
    ],
)
def test_a_wrong_word_is_answered(args, words, capsys, tmp_path):
    assert words in refused(capsys, *args)
    nothing_left(tmp_path)


def test_wrong_names_are_refused_before_torch_is_imported(run_gannb):
    import subprocess
    import sys

    code = (
        "import sys; from gannb.cli import main; s = main(['train', 'digits', '--set', 'epohcs=3']); "
        "assert s == 2; assert 'torch' not in sys.modules, 'torch was imported'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_exit_status_of_the_process(run_gannb):
    done = run_gannb("train digits --set epohcs=3")
    assert done.rc == 2 and "Did you mean 'epochs'?" in done.stderr and not done.stdout


def test_waiting_threads_sleep_unless_the_user_chose(monkeypatch):
    "What torch's OpenMP itself says it read, in a child that imports as the command and the reports do."
    import subprocess
    import sys

    for first in ("gannb.cli", "gannb.studies.registry", "gannb.config"):
        for chosen, expected in ((None, "PASSIVE"), ("ACTIVE", "ACTIVE")):
            env = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"} | {
                "OMP_DISPLAY_ENV": "TRUE"
            }
            env |= {"OMP_WAIT_POLICY": chosen} if chosen else {}
            code = (
                f"import {first}, os, sys; assert 'torch' not in sys.modules; "
                "import torch; print(os.environ['OMP_WAIT_POLICY'])"
            )
            done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
            assert done.returncode == 0 and done.stdout.strip() == expected, (first, done.stderr)
            said = [line for line in done.stderr.splitlines() if "OMP_WAIT_POLICY" in line]
            assert not said or all(expected in line for line in said), said


def test_outside_a_checkout(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "Clone the repository" in refused(capsys, "reproduce", "dataset_study")


def test_empty_folder(capsys, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "empty" in refused(capsys, "train", f"folder:{tmp_path / 'empty'}", *TINY)
    nothing_left(tmp_path)


def test_missing_folder(capsys, tmp_path):
    assert "does not exist" in refused(capsys, "train", f"folder:{tmp_path / 'nowhere'}", *TINY)
    nothing_left(tmp_path)


def test_corrupt_image(capsys, tmp_path):
    folder = images(tmp_path / "pictures")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nthis is no picture")
    assert "broken.png" in refused(capsys, "train", f"folder:{folder}", *TINY)
    nothing_left(tmp_path)


def test_corrupt_image_skipped_on_request(capsys, tmp_path):
    folder = images(tmp_path / "pictures")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nthis is no picture")
    assert main(["train", f"folder:{folder}", *TINY, "--set", "on_error=skip", "--dry-run"]) == 0
    assert "broken.png" in capsys.readouterr().out


def test_corrupt_zip(capsys, tmp_path):
    folder = images(tmp_path / "pictures")
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as z:
        for f in folder.iterdir():
            z.write(f, f.name)
    data = (tmp_path / "p.zip").read_bytes()
    (tmp_path / "p.zip").write_bytes(data[: len(data) // 2])
    assert "p.zip" in refused(capsys, "train", f"folder:{tmp_path / 'p.zip'}", *TINY)
    nothing_left(tmp_path)


def test_truncated_idx(capsys, tmp_path):
    folder = tmp_path / "idx"
    folder.mkdir()
    for part, n in (("train", 40), ("t10k", 20)):
        with gzip.open(folder / f"{part}-images-idx3-ubyte.gz", "wb") as f:
            f.write(struct.pack(">IIII", 2051, n, 28, 28) + bytes(28 * 28 * (n // 2)))
        with gzip.open(folder / f"{part}-labels-idx1-ubyte.gz", "wb") as f:
            f.write(struct.pack(">II", 2049, n) + bytes(n))
    assert "images-idx3-ubyte.gz" in refused(capsys, "train", f"idx:{folder}", *TINY)
    nothing_left(tmp_path)


def test_data_that_are_not_here(capsys, tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("GANNB_DATA", str(tmp_path / "data"))
    message = refused(capsys, "train", "cifar10", *TINY)
    assert "gannb data get cifar10" in message and "170" in message
    nothing_left(tmp_path)


@pytest.mark.parametrize(
    "command", [["train", "digits", *TINY], ["reproduce", "dataset_study", "--preset", "smoke"]]
)
def test_a_file_where_the_outputs_should_be(capsys, tmp_path, monkeypatch, command):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("GANNB_OUTPUTS", str(tmp_path / "file"))
    monkeypatch.delenv("GANNB_STORE")
    assert "a file stands where a folder should be" in refused(capsys, *command)
    assert (tmp_path / "file").read_text() == "in the way"


def test_training_ones_own_images(capsys, tmp_path):
    folder = images(tmp_path / "my pictures ü")
    assert main(["train", f"folder:{folder}", *TINY, "--set", "seeds=0,1", "--show", "classic"]) == 0
    out = capsys.readouterr().out
    assert "[0/1][0/2] Loss_D: " in out and "Run folder: " in out and "--epochs 2" in out
    run = Path(out.split("Run folder: ")[1].splitlines()[0])
    assert {p.name for p in run.iterdir()} >= {"config.json", "seed-0", "seed-1"} and (
        run / "seed-1" / "samples" / "epoch-0001.png"
    ).is_file()
    assert main(["train", f"folder:{folder}", *TINY, "--set", "seeds=0,1"]) == 0
    assert "already done" in capsys.readouterr().out
    assert "Differing" in refused(
        capsys, "train", f"folder:{folder}", *TINY, "--set", "lr_G=0.001", "--out", str(run)
    )


def test_dry_run_makes_nothing(capsys, tmp_path):
    assert main(["train", "digits", *TINY, "--dry-run"]) == 0
    assert "of disk" in capsys.readouterr().out
    nothing_left(tmp_path)


def test_data_list(capsys):
    assert main(["data", "list"]) == 0
    out = capsys.readouterr().out
    for name in ("digits", "mnist", "fashion-mnist", "emnist-balanced", "cifar10", "cifar100", "celeba"):
        assert name in out


def test_data_check(capsys, tmp_path):
    folder = images(tmp_path / "pictures", 4)
    copy = next(folder.iterdir())
    (folder / "copy.png").write_bytes(copy.read_bytes())
    assert main(["data", "check", f"folder:{folder}"]) == 0
    assert "copy.png" in capsys.readouterr().out
    (folder / "broken.png").write_bytes(b"no")
    assert main(["data", "check", f"folder:{folder}"]) == 1
    assert "broken.png" in capsys.readouterr().out


def test_smallest_report_from_the_command_line(run_gannb, tmp_path):
    "The whole path on a few dozen digits: papermill, figures, tables, claims, page; then all is found."
    env = {
        "GANNB_OUTPUTS": tmp_path / "o",
        "GANNB_STORE": tmp_path / "s",
        "GANNB_CACHE": tmp_path / "c",
        "GANNB_DATA": "",
    }  # as on a new machine: no data anywhere
    first = run_gannb("reproduce dataset_study --preset smoke", timeout=300, **env)
    assert first.rc == 0, first.stderr + first.stdout
    run = tmp_path / "o" / "dataset_study" / "smoke"
    for name in ("report.ipynb", "report.html", "claims.json", "config.json", "provenance.json"):
        assert (run / name).is_file(), name
    assert (
        len(list((run / "figures").glob("fig*.png"))) >= 8 and len(list((run / "tables").glob("*.csv"))) >= 5
    )
    assert (tmp_path / "o" / "index.html").is_file() and str(run / "report.html") in first.stdout
    html = (run / "report.html").read_text(encoding="utf-8")
    title, hero = html.find('<header class="g-head">'), html.find('<figure class="g-figure"')
    assert 0 < title < hero, "the page opens with its title and the ledger"
    import json

    claims = json.loads((run / "claims.json").read_text())
    fields = {
        "id",
        "sentence",
        "where",
        "supported_by_paper",
        "test",
        "setting",
        "published",
        "ours",
        "interval",
        "seeds",
        "n",
        "verdict",
        "reason",
        "evidence",
        "amended",
    }
    assert len(claims) >= 30 and all(fields <= set(c) for c in claims)
    assert {c["verdict"] for c in claims} == {"not testable here"}, "smoke judges nothing"
    figures = {p.name: p.read_bytes() for p in (run / "figures").iterdir()}
    second = run_gannb("reproduce dataset_study --preset smoke", timeout=300, **env)
    assert second.rc == 0 and "15 trainings: 15 are already in the store, 0 to do" in second.stdout, (
        second.stdout
    )
    assert figures == {p.name: p.read_bytes() for p in (run / "figures").iterdir()}, (
        "the same results draw the same pictures"
    )
    assert not list(run.glob("*.unfinished.ipynb"))

    # A seed that diverged stays in: the report is written, and no mean hides it.
    for home in (tmp_path / "s" / "gan").iterdir():
        rows = np.load(home / "history.npy")
        rows[1:] = np.nan
        np.save(home / "history.npy", rows[:2])
        (home / "diverged.json").write_text('{"step": 2, "message": "planted"}')
        for late in [*(home / "snapshots").glob("*0001*"), *(home / "samples").glob("*0001*")]:
            late.unlink()
    third = run_gannb("reproduce dataset_study --preset smoke", timeout=300, **env)
    assert third.rc == 0, third.stderr + third.stdout
    assert "n/a (1 of 1 seeds diverged)" in (run / "report.html").read_text(encoding="utf-8")


def trainers(stores: Path, seconds: int) -> list[int]:
    "The processes that hold a training in a store, and still do after so many seconds."
    import json
    import time

    alive = []
    for _ in range(10 * seconds + 1):
        try:
            alive = [json.loads(p.read_text())["pid"] for p in stores.glob("gan/*/.lock.json")]
        except OSError:
            continue  # one was given back just now
        if not alive:
            break
        time.sleep(0.1)
    return alive


def end_family(p, stores: Path) -> None:
    "End a command and all it started: kernels and workers lead sessions of their own: no group holds all."
    import psutil

    try:
        family = [psutil.Process(p.pid), *psutil.Process(p.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        family = []
    family += [psutil.Process(pid) for pid in trainers(stores, 0) if psutil.pid_exists(pid)]
    for member in family:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            pass
    p.communicate()


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
@pytest.mark.parametrize("threads", [0, 1], ids=["in the kernel", "in workers of the kernel"])
def test_ctrl_c_during_a_report(tmp_path, threads):
    import signal
    import subprocess
    import sys
    import time

    env = os.environ | {"GANNB_OUTPUTS": str(tmp_path / "o"), "GANNB_STORE": str(tmp_path / "s")}
    p = subprocess.Popen(
        [sys.executable, "-m", "gannb.cli", "reproduce", "dataset_study"]
        + ["--set", "epochs=5000", "--set", f"threads={threads}"],
        cwd=Path(__file__).resolve().parents[1],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background shell ignores it
    )
    try:
        while not list((tmp_path / "s").glob("gan/*/checkpoints/step-*")):
            assert p.poll() is None
            time.sleep(0.1)
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=120)
        assert trainers(tmp_path / "s", 10) == [], "nothing trains on"
    finally:
        end_family(p, tmp_path / "s")
    assert p.returncode == 130 and "run the same command again" in err and "Traceback" not in err, (
        p.returncode,
        err[-2000:],
    )
    assert not (tmp_path / "o" / "dataset_study").exists() or not list(
        (tmp_path / "o").glob("*/*/finished.json")
    )


def test_a_new_machine_has_no_data_folder_yet(capsys, tmp_path, monkeypatch):
    monkeypatch.delenv("GANNB_DATA", raising=False)
    assert main(["train", "digits", *TINY, "--dry-run"]) == 0 and main(["data", "list"]) == 0
    assert "gannb data get" in refused(capsys, "reproduce", "dataset_study", "--preset", "desk")
    assert "gannb data get" in refused(capsys, "train", "mnist", *TINY)
    nothing_left(tmp_path)


def test_missing_data_stop_a_report_before_any_work(capsys, tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("GANNB_DATA", str(tmp_path / "data"))
    assert "gannb data get" in refused(capsys, "reproduce", "dataset_study", "--preset", "desk")
    nothing_left(tmp_path)


@pytest.mark.parametrize(
    "args, words",
    [
        (["reproduce", "dataset_study", "--set", "datasets=folder:nope,digits,digits"], "does not exist"),
        (["reproduce", "dataset_study", "--set", "paper=x"], "paper"),
        (["train", "digits", "--set", "dataset=mnist"], "first argument"),
        (["train", "digits", "--set", "seeds=1,01"], "twice"),
    ],
)
def test_plausible_slips(args, words, capsys, tmp_path):
    assert words in refused(capsys, *args)
    nothing_left(tmp_path)


def test_one_folder_holds_one_set_of_settings(capsys, tmp_path):
    out = str(tmp_path / "mine")
    assert main(["train", "digits", *TINY, "--out", out]) == 0
    capsys.readouterr()
    assert "Differing" in refused(
        capsys, "train", "digits", *TINY, "--set", "seeds=1", "--set", "lr_G=0.001", "--out", out
    )


@pytest.mark.skipif(
    os.name != "posix" or os.uname().sysname == "Darwin",
    reason="file names that are not UTF-8 exist on Linux",
)
def test_file_names_that_are_not_utf8(capsys, tmp_path):
    folder = images(tmp_path / "old names")
    first = next(folder.iterdir())
    os.rename(first, os.fsencode(folder) + b"/gr\xfc\xdfe.png")
    (folder / "link.png").symlink_to(folder / "nowhere.png")
    assert (
        main(["train", f"folder:{folder}", *TINY, "--dry-run"]) == 0
        and "10 images" in capsys.readouterr().out
    )


def test_names_of_ones_own_catalogue(capsys, tmp_path, monkeypatch):
    images(tmp_path / "data" / "my pictures")
    (tmp_path / "data" / "catalogue.yaml").write_text('mine: {source: "folder:my pictures"}\n')
    monkeypatch.setenv("GANNB_DATA", str(tmp_path / "data"))
    assert main(["train", "mine", *TINY, "--dry-run"]) == 0 and "mine" in capsys.readouterr().out
    assert "mine" in refused(capsys, "train", "mime", *TINY)


def test_papermill_by_hand_knows_its_parameters(tmp_path):
    import papermill
    from papermill.exceptions import PapermillExecutionError

    root = Path(__file__).resolve().parents[1]
    with pytest.raises(PapermillExecutionError, match="Did you mean 'epochs'"):
        papermill.execute_notebook(
            str(root / "papers" / "dataset_study.ipynb"),
            str(tmp_path / "out.ipynb"),
            parameters={"epohcs": 3},
            progress_bar=False,
            cwd=str(root),
        )


def test_outputs_given_to_others_are_not_touched(monkeypatch, tmp_path):
    assert os.environ["GANNB_OUTPUTS"] == str(tmp_path / "outputs")


def test_ledger_check_needs_a_folder(capsys, tmp_path):
    text = refused(capsys, "ledger", "check", str(tmp_path / "nowhere"))
    assert "nowhere" in text and "fruits" in text
    assert "invalid choice: 'chekc'" in refused(capsys, "ledger", "chekc", "fruits")


def test_ledger_check_of_an_empty_folder_is_told(capsys, tmp_path):
    assert main(["ledger", "check", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "claims.json does not exist" in out and "could not be confirmed" in out
