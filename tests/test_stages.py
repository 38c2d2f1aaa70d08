"""Training bound to the store: killed anywhere and started again it ends with the same bytes.

Faults lose nothing; what decides the bytes is in the key."""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import stagehash
import torch

from gannb import store
from gannb.models.dcgan import Discriminator, Generator
from gannb.train import COLUMNS, Diverged, Tick, make_optimizers
from gannb.datasets.registry import load
from gannb.base import GannbError
from gannb.config import gan_config
from gannb.stages import gan
from gannb.stages.run import GAN_VERSION, GanRun, fixed_noise, open_run

ROOT = Path(__file__).resolve().parents[1]
BASE = dict(dataset="digits", size=16, epochs=10, batch_size=32, nz=8, ngf=4, ndf=4, threads=1)
SCRIPT = """
import sys
from gannb.datasets.registry import load
from gannb.config import gan_config
from gannb.stages import gan
{before}
data = load("digits", size=16, progress=False).select(limit=320)
print("go", flush=True)
gan.train_run(gan_config(**{config}), data, 0, folder={folder!r}, show="quiet")
print("done", flush=True)
"""
KILLER = """
import json, os, sys
from gannb.config import gan_config
from gannb.datasets.registry import load
from gannb import store
from gannb.stages import gan

store.code_commit = lambda: "here"  # asking git, and waiting for the disk, is most of the time
os.fsync = lambda fd: None  # a process is killed, not the machine
job = json.loads(sys.argv[1])
data = load("digits", size=16, progress=False).select(limit=320)

def dying(real, calls, last):
    def f(*a, **k):
        calls.append(1)
        if len(calls) == last:
            os._exit(9)
        return real(*a, **k)
    return f

for last, folder in job["runs"]:
    pid = os.fork()
    if pid == 0:
        calls = []
        os.replace, os.rename = dying(os.replace, calls, last), dying(os.rename, calls, last)
        gan.train_run(gan_config(**job["config"]), data, 0, folder=folder, show="quiet")
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    print(last, code, flush=True)
    if code == 0:
        break
"""


def kill_at_renames(runs: list[tuple[int, Path]], **config) -> dict[int, int]:
    "Train in each folder in a process that dies at its n-th rename: n -> how it ended (9: killed)."
    job = {"runs": [(n, str(f)) for n, f in runs], "config": BASE | config}
    done = subprocess.run(
        [sys.executable, "-c", KILLER, json.dumps(job)], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return {int(a): int(b) for a, b in (line.split() for line in done.stdout.splitlines())}


def small():
    return load("digits", size=16, progress=False).select(limit=320)


def start(folder, before="", **config):
    code = SCRIPT.format(before=before, config=BASE | config, folder=str(folder))
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background shell ignores it
    )


def contents(folder: Path) -> dict[str, str]:
    "Every file that must be identical, by name; wall-clock and provenance stand apart."
    out = {}
    for p in sorted(folder.rglob("*")):
        name = p.relative_to(folder).as_posix()
        if p.is_file() and not name.startswith(".lock") and name not in ("timing.json", "provenance.json"):
            out[name] = hashlib.sha256(p.read_bytes()).hexdigest()
    return out


def check_one_more(folder: Path, untouched: Path, got: dict, want: dict, epoch: int) -> None:
    "A generator that was kept besides, and its hash; they leave what is compared."
    assert got.pop(f"snapshots/G-epoch-{epoch:04d}.safetensors")
    assert got.pop("snapshots/hashes.json") and want.pop("snapshots/hashes.json")
    more, kept = (store.read_json(f / "snapshots" / "hashes.json")["sha256"] for f in (folder, untouched))
    assert more.pop(str(epoch)) and more == kept


@pytest.fixture(scope="module")
def untouched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("untouched") / "run"
    run = gan.train_run(gan_config(**BASE), small(), 0, folder=folder, show="quiet")
    assert not run.reused and run.epochs == 10 and len(run.history()) == 100
    return folder


def test_what_a_run_leaves(untouched):
    names = set(contents(untouched))
    assert {
        "run.json",
        "done.json",
        "history.npy",
        "history.csv",
        "samples/epoch-0000.png",
        "samples/epoch-0010.png",
        "snapshots/G-epoch-0010.safetensors",
    } <= names
    assert len([n for n in names if n.startswith("checkpoints/")]) == 2 * 3, (
        "two checkpoints of three files are kept"
    )
    assert not list(untouched.rglob("*.tmp")) and (untouched / "timing.json").is_file()
    assert {f"snapshots/G-epoch-{e:04d}.safetensors" for e in (0, 1, 2, 3, 5, 7, 10)} <= names


def test_killed_at_random_moments(untouched, tmp_path):
    folder = tmp_path / "run"
    rng = random.Random(5)
    kills = 0
    for _ in range(40):
        p = start(folder)
        p.stdout.readline()
        try:
            p.wait(rng.uniform(0.02, 0.45))
            break
        except subprocess.TimeoutExpired:
            p.send_signal(signal.SIGKILL)
            p.wait()
            kills += 1
            if kills == 4:
                p = start(folder)
                out, err = p.communicate(timeout=120)
                assert p.returncode == 0, err
                break
    assert kills >= 3, "the run was too short to be killed"
    assert not list(folder.rglob("*.tmp")), "what killed processes were writing is cleared away"
    assert contents(folder) == contents(untouched)


RENAMES = [2, 5, 9, 14, 23]
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked to be killed")


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    "Folders of runs whose process died at the n-th rename."
    folders = {n: tmp_path_factory.mktemp("killed") / "run" for n in RENAMES}
    assert set(kill_at_renames(list(folders.items())).values()) == {9}
    return folders


@needs_fork
@pytest.mark.parametrize("rename", RENAMES)
def test_killed_while_saving(untouched, killed, rename):
    "The process died at the n-th rename: a checkpoint, a snapshot or a record was half-way to its place."
    folder = killed[rename]
    assert not (folder / "done.json").is_file()
    gan.train_run(gan_config(**BASE), small(), 0, folder=folder, show="quiet")
    assert not list(folder.rglob("*.tmp")), "what the killed process was writing is cleared away"
    assert contents(folder) == contents(untouched)


@needs_fork
def test_killed_between_every_two_writes(tmp_path, monkeypatch):
    "A whole run of two epochs, killed before each of its renames in turn; the last four are the record's."
    monkeypatch.setattr(store, "code_commit", lambda: "here")
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    two = {"epochs": 2}
    whole = gan.train_run(gan_config(**BASE | two), small(), 0, folder=tmp_path / "whole", show="quiet")
    ends = kill_at_renames([(n, tmp_path / f"{n}") for n in range(1, 60)], **two)
    assert list(ends.values()) == [9] * (len(ends) - 1) + [0] and len(ends) > 20
    for n in ends:
        folder = tmp_path / f"{n}"
        assert gan.is_done(folder, 2, 10) == (ends[n] == 0), f"killed at rename {n}"
        run = gan.train_run(gan_config(**BASE | two), small(), 0, folder=folder, show="quiet")
        assert contents(folder) == contents(whole.folder), f"killed at rename {n}"
        assert run.reused == (ends[n] == 0) and gan.is_done(folder, 2, 10)
        assert open_run(folder).epochs == 2


@needs_fork
def test_killed_on_the_way_from_three_epochs_to_five(tmp_path, monkeypatch):
    "Whatever was killed, what was finished before still answers, and what comes after has the same bytes."
    monkeypatch.setattr(store, "code_commit", lambda: "here")
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    three, five = ({"epochs": n} for n in (3, 5))
    first = gan.train_run(gan_config(**BASE | three), small(), 0, folder=tmp_path / "first", show="quiet")
    whole = gan.train_run(gan_config(**BASE | five), small(), 0, folder=tmp_path / "whole", show="quiet")
    folders = {n: Path(shutil.copytree(first.folder, tmp_path / f"{n}")) for n in range(1, 40)}
    ends = kill_at_renames(list(folders.items()), **five)
    assert list(ends.values()) == [9] * (len(ends) - 1) + [0] and len(ends) > 12
    for n in list(ends)[:-1]:
        again = gan.train_run(gan_config(**BASE | three), small(), 0, folder=folders[n], show="quiet")
        assert again.reused and again.folder == folders[n] and len(again.history()) == 30
        assert np.array_equal(again.history().rows, first.history().rows)
        assert not gan.is_done(folders[n], 5, 10), f"killed at rename {n}"
        gan.train_run(gan_config(**BASE | five), small(), 0, folder=folders[n], show="quiet")
        assert contents(folders[n]) == contents(whole.folder), f"killed at rename {n}"


def test_asked_for_less_after_a_kill(untouched, tmp_path):
    "Killed before the record of ten epochs was written; asked for seven, where G was kept, and then for ten."
    folder = Path(shutil.copytree(untouched, tmp_path / "run"))
    for name in ("done.json", "history.csv", "history.npy"):
        (folder / name).unlink()
    assert not gan.is_done(folder, 7, 10)
    run = gan.train_run(gan_config(**BASE | {"epochs": 7}), small(), 0, folder=folder, show="quiet")
    assert run.folder == folder and len(run.history()) == 70 and open_run(folder).epochs == 7
    assert not gan.is_done(folder, 10, 10)
    gan.train_run(gan_config(**BASE), small(), 0, folder=folder, show="quiet")
    assert contents(folder) == contents(untouched)


def test_of_a_diverged_run_what_came_before_answers(untouched, tmp_path):
    "It diverged in its tenth epoch: no `done.json`, but five epochs of it are whole."
    folder = Path(shutil.copytree(untouched, tmp_path / "run"))
    (folder / "done.json").unlink()
    store.write_json(folder / "diverged.json", {"step": 95, "message": ""})
    before = contents(folder)
    run = gan.train_run(gan_config(**BASE | {"epochs": 5}), small(), 0, folder=folder, show="quiet")
    assert run.reused and run.diverged is None and len(run.history()) == 50 and contents(folder) == before


def test_more_epochs_are_the_bytes_of_one_go(untouched, tmp_path):
    folder = tmp_path / "run"
    for epochs in (4, 10):
        run = gan.train_run(gan_config(**BASE | {"epochs": epochs}), small(), 0, folder=folder, show="quiet")
    got, want = contents(folder), contents(untouched)
    check_one_more(folder, untouched, got, want, 4)  # the first target was kept too
    assert got == want and run.epochs == 10


def test_fewer_epochs_than_trained(untouched, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(untouched, folder)
    kept = gan.train_run(
        gan_config(**BASE | {"epochs": 7}), small(), 0, folder=folder, show="quiet"
    )  # a listed epoch: found
    assert kept.reused and len(kept.history()) == 70 and kept.generator().training is False
    apart = gan.train_run(
        gan_config(**BASE | {"epochs": 6}), small(), 0, folder=folder, show="quiet"
    )  # not kept: trained apart
    assert (
        not apart.reused
        and apart.folder != folder
        and np.array_equal(apart.history().rows, kept.history().rows[:60])
    )
    assert contents(folder) == contents(untouched)


def test_second_run_is_found(untouched):
    run = gan.train_run(gan_config(**BASE), small(), 0, folder=untouched, show="quiet")
    assert run.reused
    assert (
        run.samples(0).shape == (64, 16, 16, 1)
        and run.samples().dtype == np.uint8
        and run.sample_epochs() == list(range(11))
    )
    with pytest.raises(GannbError, match="Kept: 0, 1, 2"):
        run.generator(4)


def test_samples_on_disk_are_those_of_G(untouched):
    from gannb.base import draw_z
    from gannb.sample import sample

    run = gan.train_run(gan_config(**BASE), small(), 0, folder=untouched, show="quiet")
    for epoch in (0, 10):
        assert (
            np.abs(
                run.samples(epoch).astype(int) - sample(run.generator(epoch), draw_z(64, 8, 0, "fixed"))
            ).max()
            <= 1
        )


@pytest.mark.parametrize("change", [{"ngf": 8}, {"lr_D": 1e-3}, {"z_dist": "uniform"}, {"threads": 2}])
def test_other_settings_are_refused(untouched, change):
    with pytest.raises(GannbError, match=f"Differing: .*{next(iter(change))}"):
        gan.train_run(gan_config(**BASE | change), small(), 0, folder=untouched, show="quiet")


def test_other_data_and_seed_are_refused(untouched):
    with pytest.raises(GannbError, match="data: "):
        gan.train_run(gan_config(**BASE), small().select(limit=300), 0, folder=untouched, show="quiet")
    with pytest.raises(GannbError, match="seed: 0 -> 1"):
        gan.train_run(gan_config(**BASE), small(), 1, folder=untouched, show="quiet")


def test_every_field_is_in_the_key_or_named_as_harmless(monkeypatch):
    fields = set(gan.gan_fields(gan_config(**BASE), small(), 0))
    from gannb.config import GanConfig
    from gannb.models.registry import MODELS

    monkeypatch.setitem(MODELS, "another", MODELS["dcgan"])
    cfg = gan_config(**BASE, augment="color", extra_convs=1).model_copy(
        update={"model": "another", "concat_at": 2}
    )
    everything = set(gan.gan_fields(cfg, small(), 0))
    assert everything - fields == {"augment", "extra_convs", "model", "concat_at"}, (
        "at their first values these change nothing and are left out, so that older trainings keep their keys"
    )
    assert set(GanConfig.model_fields) - everything <= {
        "dataset",
        "classes",
        "split",
        "limit",
        "fit",
        "epochs",
    }, "these decide only which pixels are trained on, and the pixels' fingerprint is in the key"
    assert {"data", "seed", "n"} <= fields


def test_augmentation_and_more_convolutions_resume_to_the_same_bytes(untouched, tmp_path):
    config = BASE | {"augment": "color,translation,cutout", "extra_convs": 1}
    whole = gan.train_run(
        gan_config(**config | {"epochs": 3}), small(), 0, folder=tmp_path / "whole", show="quiet"
    )
    for epochs in (1, 3):
        parts = gan.train_run(
            gan_config(**config | {"epochs": epochs}), small(), 0, folder=tmp_path / "parts", show="quiet"
        )
    same = [
        (whole.folder / f).read_bytes() == (parts.folder / f).read_bytes()
        for f in ("history.npy", "snapshots/G-epoch-0003.safetensors", "samples/epoch-0003.png")
    ]
    assert (
        all(same)
        and (whole.folder / "snapshots/G-epoch-0003.safetensors").read_bytes()
        != (untouched / "snapshots/G-epoch-0003.safetensors").read_bytes()
    )
    plain = gan.train_run(
        gan_config(**BASE | {"epochs": 3, "augment": ""}), small(), 0, folder=tmp_path / "plain", show="quiet"
    )
    assert (plain.folder / "snapshots/G-epoch-0003.safetensors").read_bytes() == (
        untouched / "snapshots/G-epoch-0003.safetensors"
    ).read_bytes(), "no policy: as if there were no augmentation"


def test_discriminator_of_a_finished_run(untouched):
    run = gan.train_run(gan_config(**BASE), small(), 0, folder=untouched, show="quiet")
    D = run.discriminator()
    before = torch.get_rng_state()
    assert (
        not D.training
        and torch.equal(
            D.main[0].weight, store.load_checkpoint(untouched / "checkpoints")[0]["D.main.0.weight"]
        )
        and run.kept_epochs() == [0, 1, 2, 3, 5, 7, 10]
    )
    run.generator()
    run.discriminator()
    assert torch.equal(before, torch.get_rng_state())
    with pytest.raises(GannbError, match="D was not kept"):
        GanRun(untouched, run.fields, 7, run.steps_per_epoch).discriminator()


def test_two_processes(untouched, tmp_path):
    with store.folder_lock(tmp_path / "run"):
        p = start(tmp_path / "run")
        out, err = p.communicate(timeout=120)
    assert p.returncode and f"process {os.getpid()}" in err and "in use" in err


def test_lock_dies_with_its_process(tmp_path):
    code = (
        "import os\nfrom gannb import store\n"
        f"with store.folder_lock({str(tmp_path)!r}):\n    os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT)
    with store.folder_lock(tmp_path):
        pass


# ---- faults ---------------------------------------------------------------------------------------------


def half_done(folder):
    "A run stopped after four of ten epochs."
    gan.train_run(gan_config(**BASE | {"epochs": 4}), small(), 0, folder=folder, show="quiet")
    return folder


def finish(folder):
    return gan.train_run(gan_config(**BASE), small(), 0, folder=folder, show="quiet")


def test_truncated_checkpoint_falls_back_to_the_one_before(untouched, tmp_path):
    folder = half_done(tmp_path / "run")
    newest = store.list_checkpoints(folder / "checkpoints")[-1] / "tensors.safetensors"
    newest.write_bytes(newest.read_bytes()[:1000])
    with pytest.warns(UserWarning, match="passed over"):
        finish(folder)
    got, want = contents(folder), contents(untouched)
    check_one_more(folder, untouched, got, want, 4)
    assert got == want


def test_damaged_checkpoint_is_replaced_when_its_step_comes_again(tmp_path):
    store.save_checkpoint(tmp_path, 5, {"w": torch.ones(3)}, {"step": 5})
    file = tmp_path / "step-00000005" / "tensors.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-3])
    store.save_checkpoint(tmp_path, 5, {"w": torch.ones(3)}, {"step": 5})
    assert file.read_bytes() == whole and store.load_checkpoint(tmp_path)[1] == {"step": 5}


def test_divergence_later_than_asked_for_is_no_divergence(untouched, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(untouched, folder)
    store.write_json(folder / "diverged.json", {"step": 150, "message": ""})
    assert finish(folder).diverged is None
    store.write_json(folder / "diverged.json", {"step": 95, "message": ""})
    assert finish(folder).diverged == 95


def test_all_checkpoints_damaged(tmp_path):
    folder = half_done(tmp_path / "run")
    for c in store.list_checkpoints(folder / "checkpoints"):
        (c / "tensors.safetensors").write_bytes(b"")
    with pytest.warns(UserWarning), pytest.raises(GannbError, match="No checkpoint .* is whole"):
        finish(folder)


def reseal(checkpoint: Path):
    files = {
        n: {"sha256": store.sha256_file(checkpoint / n), "bytes": (checkpoint / n).stat().st_size}
        for n in ("tensors.safetensors", "state.json")
    }
    store.write_json(checkpoint / "manifest.json", files)


def test_checkpoint_of_another_network(tmp_path):
    folder = half_done(tmp_path / "run")
    gan.train_run(
        gan_config(**BASE | {"epochs": 1, "ngf": 8}), small(), 0, folder=tmp_path / "other", show="quiet"
    )
    other = store.list_checkpoints(tmp_path / "other" / "checkpoints")[-1]
    for c in store.list_checkpoints(folder / "checkpoints"):
        shutil.copy(other / "tensors.safetensors", c)
        reseal(c)
    with pytest.raises(GannbError, match="another network"):
        finish(folder)


def test_pickle_as_checkpoint(tmp_path):
    folder = half_done(tmp_path / "run")
    for c in store.list_checkpoints(folder / "checkpoints"):
        torch.save({"x": torch.zeros(3)}, c / "tensors.safetensors")
        reseal(c)
    with pytest.warns(UserWarning, match="pickle"), pytest.raises(GannbError):
        finish(folder)


@pytest.mark.skipif(sys.platform == "win32", reason="RLIMIT_FSIZE is a POSIX limit")
def test_disk_limit_while_saving(untouched, tmp_path):
    """No file may grow beyond 20 kB: the checkpoint cannot be written.

    The run stops with words, leaves nothing half-made, and goes on later."""
    folder = tmp_path / "run"
    p = start(folder, "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))")
    out, err = p.communicate(timeout=120)
    assert p.returncode and "file-size limit" in err and "untouched" in err
    assert not list(folder.rglob("*.tmp")) and not store.list_checkpoints(folder / "checkpoints")
    finish(folder)
    assert contents(folder) == contents(untouched)


def test_full_disk_at_a_later_checkpoint(untouched, tmp_path, monkeypatch):
    import errno

    folder = tmp_path / "run"
    real = os.fsync
    calls = [0]

    def full(fd):
        calls[0] += 1
        if calls[0] > 60:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(GannbError, match="the disk is full"):
        finish(folder)
    assert not list(folder.rglob("*.tmp")) and store.list_checkpoints(folder / "checkpoints"), (
        "the checkpoints before are there"
    )
    for c in store.list_checkpoints(folder / "checkpoints"):
        store.verify_folder(c)
    monkeypatch.undo()
    finish(folder)
    assert contents(folder) == contents(untouched)


def test_ctrl_c_saves_and_says_how_to_go_on(untouched, tmp_path):
    folder = tmp_path / "run"
    p = start(folder)
    try:
        while not store.list_checkpoints(folder / "checkpoints"):
            assert p.poll() is None
            time.sleep(0.005)
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=120)
    finally:
        p.kill()
    assert p.returncode and "Run the same command again" in err and "Stopping after this step" in err
    assert store.list_checkpoints(folder / "checkpoints")
    finish(folder)
    assert contents(folder) == contents(untouched)


def test_divergence_is_kept_and_named(tmp_path, capsys, monkeypatch):
    real = gan.build_networks

    def explosive(fields):
        G, D = real(fields)
        with torch.no_grad():
            D.main[-1].weight.fill_(1e38)
        return G, D

    monkeypatch.setattr(gan, "build_networks", explosive)
    cfg = gan_config(**BASE)
    run = gan.train_run(cfg, small(), 0, folder=tmp_path / "run", show="quiet")
    assert run.diverged == 1 and "Try a smaller learning rate" in capsys.readouterr().err
    again = gan.train_run(cfg, small(), 0, folder=tmp_path / "run", show="quiet")
    assert again.reused and again.diverged == 1
    assert np.isnan(run.history().rows[-1]).all() and len(run.history()) == run.steps, (
        "a mean over the end must not look finite"
    )
    assert not store.list_checkpoints(tmp_path / "run" / "checkpoints"), (
        "a state that is not finite is never written"
    )


def test_batch_larger_than_data():
    with pytest.raises(GannbError, match="batch_size=5000"):
        gan.load_data(gan_config(**BASE | {"batch_size": 5000}))


def test_gpu_asked_for_and_absent():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(GannbError, match="no GPU"):
        gan.gan_fields(gan_config(**BASE | {"device": "cuda"}), small(), 0)


def test_estimate_is_of_the_right_size(untouched, tmp_path):
    cfg = gan_config(**BASE)
    seconds, disk = gan.estimate(cfg, small())
    real = store.tree_bytes(untouched)
    assert 0 < seconds < 5 and 0.3 < disk / real < 3


def test_classic_lines(tmp_path, capsys):
    gan.train_run(gan_config(**BASE | {"epochs": 2}), small(), 0, folder=tmp_path / "run", show="classic")
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("[")]
    assert (
        lines[0].startswith("[0/2][0/10] Loss_D: ")
        and lines[1].startswith("[1/2][0/10]")
        and "D(G(z)): " in lines[0]
    )


# ---- what a training leaves behind, without training ----------------------------------------------------


@pytest.fixture
def keeper(tmp_path):
    return gan.Keeper(tmp_path, fixed_noise({"nz": 4, "seed": 0, "z_dist": "normal"}), epochs=4)


def tick(step: int, batch: int = 0, epoch: int = 1) -> Tick:
    "A look at networks that learn nothing, ten steps after the one before."
    G, D = Generator(16, 1, nz=4, ngf=4), Discriminator(16, 1, ndf=4)
    rows = np.full((10, len(COLUMNS)), step, np.float32)
    return Tick(step, epoch, batch, rows, G, D, *make_optimizers(G, D))


def test_keeper_joins_the_record(keeper):
    for step in (10, 20, 30):
        keeper.see(tick(step, batch=3))
    assert (
        np.array_equal(keeper.rows()[:, 0], np.repeat([10, 20, 30], 10)) and keeper.rows().dtype == np.float32
    )
    assert not contents(keeper.folder), "in the middle of an epoch nothing is written"


def test_keeper_saves_in_the_middle_when_the_last_checkpoint_is_old(keeper):
    keeper.saved -= gan.CHECKPOINT_SECONDS
    keeper.see(tick(10, batch=3))
    keeper.see(tick(20, batch=4))
    assert [c.name for c in store.list_checkpoints(keeper.folder / "checkpoints")] == ["step-00000010"]


@pytest.mark.parametrize("pause, steps", [(0.0, [10, 20, 30, 40]), (10.0, [10, 30, 40])])
def test_keeper_pauses_between_checkpoints(keeper, monkeypatch, pause, steps):
    "On a GPU an epoch of a small set is over sooner than its checkpoint is written."
    now, written = [0.0], []

    def save(folder: Path, step: int, *content: object) -> None:
        now[0] += 0.5  # seconds that writing takes
        written.append(step)

    monkeypatch.setattr(gan, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(store, "save_checkpoint", save)
    keeper.looked, keeper.saved, keeper.pause = 0.0, 0.0, pause
    for epoch, when in ((1, 1), (2, 3), (3, 8), (4, 9)):
        now[0] = when
        keeper.see(tick(10 * epoch, epoch=epoch))
    assert written == steps, "the last epoch's end is always kept"


def test_keeper_at_the_end_of_an_epoch(keeper, monkeypatch):
    order = []
    for name in ("atomic_write", "save_tensors", "save_checkpoint"):
        real = getattr(store, name)
        monkeypatch.setattr(store, name, lambda *a, n=name, f=real, **k: (order.append(n), f(*a, **k))[1])
    keeper.see(tick(40, epoch=4))
    assert order[:3] == ["atomic_write", "atomic_write", "save_tensors"], "a picture, its hash, G"
    assert order.index("save_checkpoint") > 1, "G is there before the checkpoint that says so"
    names = set(contents(keeper.folder))
    assert {"samples/epoch-0004.png", "snapshots/G-epoch-0004.safetensors"} <= names, "its last epoch"
    keeper.see(tick(60, epoch=6))
    assert "snapshots/G-epoch-0006.safetensors" not in contents(keeper.folder), "no listed epoch"
    tensors, state, _ = store.load_checkpoint(keeper.folder / "checkpoints")
    assert state == {"step": 60, "epoch": 6} and len(tensors["history"]) == 20


def test_keeper_is_due_after_a_while(keeper):
    assert not keeper.due()
    keeper.looked -= 2 * gan.LOOK_SECONDS
    assert keeper.due()
    keeper.see(tick(10, batch=1))
    assert not keeper.due()


def test_keeper_finishes(keeper):
    keeper.see(tick(40, epoch=4))
    keeper.finish()
    done = store.read_json(keeper.folder / "done.json")
    assert (done["epochs"], done["steps"]) == (4, 10)
    assert done["G_sha256"] == store.sha256_file(keeper.folder / "snapshots" / "G-epoch-0004.safetensors")
    lines = (keeper.folder / "history.csv").read_text().splitlines()
    assert lines[0] == "step," + ",".join(COLUMNS) and lines[10] == "10" + ",40" * 7 and len(lines) == 11


def test_keeper_of_a_divergence(keeper):
    keeper.see(tick(10, batch=1))
    keeper.diverged(Diverged(13, np.full((3, 7), np.nan, np.float32)))
    rows = np.load(keeper.folder / "history.npy")
    assert len(rows) == 13 and np.isfinite(rows[:10]).all() and np.isnan(rows[10:]).all()
    assert store.read_json(keeper.folder / "diverged.json")["step"] == 13


@pytest.mark.parametrize("net", ["G", "D"])
def test_keeper_writes_no_weights_that_are_not_finite(keeper, net):
    bad = tick(40, epoch=4)
    with torch.no_grad():
        getattr(bad, net).main[0].weight[0] = float("nan")
    with pytest.raises(Diverged) as error:
        keeper.see(bad)
    keeper.diverged(error.value)
    assert not store.list_checkpoints(keeper.folder / "checkpoints")
    assert (keeper.folder / "snapshots").is_dir() == (net == "D")
    assert np.isnan(np.load(keeper.folder / "history.npy")[-1]).all()


# ---- the version of the stage --------------------------------------------------------------------------

# Whatever the training of a GAN uses of the package, found by name;
# `python tests/stagehash.py` says what changed.
KNOWN = {1: "1ff6f912f824b7b3"}
ENTRIES = (("stages.gan", "train_run"),)


def test_stage_version_names_this_code():
    stagehash.check("GAN_VERSION", GAN_VERSION, KNOWN, *ENTRIES)
