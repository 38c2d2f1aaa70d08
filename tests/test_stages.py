"""Training bound to the store: killed anywhere and started again it ends with the same bytes; faults lose nothing; what decides the bytes is in the key."""

import ast
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

import numpy as np
import pytest
import torch

from gannb import store
from gannb.datasets.registry import load
from gannb.base import GannbError
from gannb.config import gan_config
from gannb.stages import gan
from gannb.stages.run import GAN_VERSION, GanRun

ROOT = Path(__file__).resolve().parents[1]
BASE = dict(dataset="digits", size=16, epochs=10, batch_size=32, nz=8, ngf=4, ndf=4, threads=1)
SCRIPT = """
import sys
from gannb import datasets
from gannb.config import gan_config
from gannb.stages import gan
{before}
data = datasets.load("digits", size=16, progress=False).select(limit=320)
print("go", flush=True)
gan.train_run(gan_config(**{config}), data, 0, folder={folder!r}, show="quiet")
print("done", flush=True)
"""


def small():
    return load("digits", size=16, progress=False).select(limit=320)


def start(folder, before="", **config):
    code = SCRIPT.format(before=before, config=BASE | config, folder=str(folder))
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def contents(folder: Path) -> dict[str, str]:
    "Every file that must be identical, by name; wall-clock and provenance stand apart."
    out = {}
    for p in sorted(folder.rglob("*")):
        name = p.relative_to(folder).as_posix()
        if p.is_file() and not name.startswith(".lock") and name not in ("timing.json", "provenance.json"):
            out[name] = hashlib.sha256(p.read_bytes()).hexdigest()
    return out


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


@pytest.mark.parametrize("rename", [2, 5, 9, 14, 23])
def test_killed_while_saving(untouched, tmp_path, rename):
    "The process dies at the n-th rename: a checkpoint, a snapshot or a record is half-way to its place."
    before = f"""
import os
calls = [0]
def dying(real):
    def f(*a, **k):
        calls[0] += 1
        if calls[0] == {rename}: os._exit(9)
        return real(*a, **k)
    return f
os.replace, os.rename = dying(os.replace), dying(os.rename)
"""
    folder = tmp_path / "run"
    p = start(folder, before)
    out, err = p.communicate(timeout=120)
    assert p.returncode == 9 and "done" not in out, err
    gan.train_run(gan_config(**BASE), small(), 0, folder=folder, show="quiet")
    assert not list(folder.rglob("*.tmp")), "what the killed process was writing is cleared away"
    assert contents(folder) == contents(untouched)


def test_more_epochs_are_the_bytes_of_one_go(untouched, tmp_path):
    folder = tmp_path / "run"
    for epochs in (4, 10):
        run = gan.train_run(gan_config(**BASE | {"epochs": epochs}), small(), 0, folder=folder, show="quiet")
    got, want = contents(folder), contents(untouched)
    assert got.pop("snapshots/G-epoch-0004.safetensors")  # the first target was kept too
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
    t = time.monotonic()
    run = gan.train_run(gan_config(**BASE), small(), 0, folder=untouched, show="quiet")
    assert run.reused and time.monotonic() - t < 5
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


def test_every_field_is_in_the_key_or_named_as_harmless():
    fields = set(gan.gan_fields(gan_config(**BASE), small(), 0))
    from gannb.config import GanConfig

    everything = set(gan.gan_fields(gan_config(**BASE, augment="color", extra_convs=1), small(), 0))
    assert everything - fields == {"augment", "extra_convs"}, (
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
    code = f"import os\nfrom gannb import store\nwith store.folder_lock({str(tmp_path)!r}): os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT)
    with store.folder_lock(tmp_path):
        pass


# ---- faults ----------------------------------------------------------------------------------------------------------------------------


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
    got = contents(folder)
    assert got.pop("snapshots/G-epoch-0004.safetensors")
    assert got == contents(untouched)


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
    "No file may grow beyond 20 kB: the checkpoint cannot be written. The run stops with words, leaves nothing half-made, and goes on later."
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
    while not store.list_checkpoints(folder / "checkpoints"):
        assert p.poll() is None
        time.sleep(0.005)
    p.send_signal(signal.SIGINT)
    out, err = p.communicate(timeout=120)
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


# ---- the version of the stage ----------------------------------------------------------------------------------------------------------


def shape_of(node) -> list:
    "A syntax tree without positions, comments and docstrings, the same for every Python version."
    if (
        isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module)
        and node.body
        and isinstance(node.body[0], ast.Expr)
        and isinstance(node.body[0].value, ast.Constant)
        and isinstance(node.body[0].value.value, str)
    ):
        node.body = node.body[1:]
    if isinstance(node, ast.AST):
        return [
            type(node).__name__,
            *[[k, shape_of(v)] for k, v in ast.iter_fields(node) if v not in (None, [])],
        ]
    return [shape_of(v) for v in node] if isinstance(node, list) else repr(node)


def code_hash() -> str:
    "What decides the bytes of a training: loss, steps, loop, networks, draws, batches, and how the stage joins them."
    whole = ["train.py", "models/dcgan.py"]
    parts = {
        "sample.py": {"sample"},
        "augment.py": {"diff_augment", "_color", "_whole", "_translate", "_cutout"},
        "base.py": {
            "parse_policy",
            "to_float",
            "to_uint8",
            "check_size",
            "stream_seed",
            "numpy_rng",
            "torch_rng",
            "draw_z",
        },
        "data.py": {"batches", "_batches", "n_batches"},
        "stages/gan.py": {
            "gan_fields",
            "new_generator",
            "new_discriminator",
            "build_networks",
            "augmentation",
            "_train",
            "_keep",
        },
    }
    found = []
    for f in [*whole, *parts]:
        tree = ast.parse((ROOT / "gannb" / f).read_text(encoding="utf-8"))
        wanted = parts.get(f)
        nodes = (
            [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name in wanted]
            if wanted
            else [tree]
        )
        assert not wanted or {n.name for n in nodes} == wanted, (
            f"{f}: a function that decides a training's bytes was renamed; mend this list"
        )
        found += [shape_of(n) for n in nodes]
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()[:16]


KNOWN = {1: "d0d08cb6013b01be"}


def test_stage_version_names_this_code():
    assert KNOWN.get(GAN_VERSION) == code_hash(), (
        f"The code that trains a GAN changed (now {code_hash()}). If it computes something else, raise GAN_VERSION in nbs/15_stages.gan.ipynb, so that no old artefact "
        "is taken for a new one; if the bytes stay the same, say so in CHANGELOG. Then put the hash into KNOWN."
    )
