"""Finished runs opened from disk, found by name, drawn from: same seed, same bytes; mistakes are said."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gannb import store
from gannb.datasets.registry import load
from gannb.base import GannbError
from gannb.cli import main
from gannb.config import gan_config
from gannb.stages import gan
from gannb.commands.draw import Source, paths_of_noise, sheet
from gannb.sample import sample_seeded
from gannb.stages.run import GAN_VERSION, export_generator, find_folder, open_run, open_runs, seed_folders

SMALL = dict(dataset="digits", size=16, epochs=2, batch_size=16, nz=8, ngf=4, ndf=4, threads=1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    "A parent folder with two seeds, and the runs as training gave them."
    parent = tmp_path_factory.mktemp("runs") / "demo"
    data = load("digits", size=16, progress=False).select(limit=64)
    return (
        parent,
        [
            gan.train_run(gan_config(**SMALL), data, seed, parent / f"seed-{seed}", show="quiet")
            for seed in (0, 1)
        ],
        data,
    )


@pytest.fixture
def copy(trained, tmp_path):
    "Seed 0, to be damaged."
    return Path(shutil.copytree(trained[1][0].folder, tmp_path / "copy"))


def diverge(folder: Path, step: int = 6) -> None:
    "The run broke off in its second epoch."
    rows = np.load(folder / "history.npy")[:step]
    rows[-1] = np.nan
    np.save(folder / "history.npy", rows)
    (folder / "diverged.json").write_text(json.dumps({"step": step, "message": "planted"}))
    (folder / "done.json").unlink()
    for late in (folder / "snapshots" / "G-epoch-0002.safetensors", folder / "samples" / "epoch-0002.png"):
        late.unlink()


def test_opened_as_it_was_trained(trained):
    for made in trained[1]:
        run = open_run(made.folder)
        assert (run.fields, run.epochs, run.steps_per_epoch, run.diverged, run.notes, run.reused) == (
            made.fields,
            2,
            4,
            None,
            made.notes,
            True,
        )
        assert np.array_equal(run.history().rows, made.history().rows) and np.array_equal(
            run.samples(), made.samples()
        )


@pytest.mark.parametrize("drop_last, steps", [(False, 5), (True, 4)])
def test_steps_of_an_uneven_epoch(tmp_path, drop_last, steps):
    data = load("digits", size=16, progress=False).select(limit=70)
    gan.train_run(
        gan_config(**SMALL | {"epochs": 1, "drop_last": drop_last}), data, 0, tmp_path / "r", show="quiet"
    )
    assert open_run(tmp_path / "r").steps_per_epoch == steps == len(open_run(tmp_path / "r").history())


def test_a_diverged_run_stays_diverged(copy):
    diverge(copy)
    run = open_run(copy)
    assert (
        run.diverged == 6
        and run.epochs == 2
        and np.isnan(run.history().rows[-1]).all()
        and len(run.history()) == 8
    )
    with pytest.raises(GannbError, match="diverged at step 6.*kept: 0, 1"):
        Source("x", "normal", run).generator()
    assert Source("x", "normal", run).generator(1) is not None


@pytest.mark.parametrize(
    "harm, words",
    [
        (lambda f: (f / "run.json").unlink(), "run.json is missing: .* the same `gannb train` again"),
        (lambda f: (f / "run.json").write_text("{"), "run.json is damaged"),
        (lambda f: (f / "run.json").write_text('{"fields": {}}'), "lacks data"),
        (lambda f: (f / "done.json").unlink(), "not finished"),
        (lambda f: (f / "done.json").write_text('{"epochs": 2}'), "lacks G_sha256"),
        (lambda f: (f / "snapshots" / "G-epoch-0002.safetensors").unlink(), "is missing or not the file"),
        (
            lambda f: (f / "snapshots" / "G-epoch-0002.safetensors").write_bytes(b"short"),
            "was changed since it was written. Run the same `gannb train` command again",
        ),
    ],
)
def test_damage_is_found(copy, harm, words):
    harm(copy)
    with pytest.raises(GannbError, match=words):
        open_run(copy)


def test_names(trained, tmp_path, monkeypatch):
    parent, made, _ = trained
    assert [r.seed for r in open_runs(str(parent))] == [0, 1] and [
        r.seed for r in open_runs(str(parent / "seed-1"))
    ] == [1]
    monkeypatch.setenv("GANNB_OUTPUTS", str(tmp_path))
    monkeypatch.setenv("GANNB_STORE", str(tmp_path / "store"))
    shutil.copytree(parent, tmp_path / "runs" / "digits-12345678")
    home = store.artefact_folder("gan", GAN_VERSION, made[0].fields)
    shutil.copytree(made[0].folder, home)
    assert (
        len(open_runs("digits-12345678")) == 2
        and open_runs(home.name)[0].seed == 0
        and open_runs(home.name[:6])[0].folder == home
    )
    with pytest.raises(GannbError, match="digits-12345678"):
        find_folder("digits-1234567")
    with pytest.raises(GannbError, match="no such run"):
        find_folder(home.name[:3])
    shutil.copytree(made[0].folder, home.with_name(home.name[:6] + "f" * 14))
    with pytest.raises(GannbError, match="fits 2 keys"):
        find_folder(home.name[:6])
    (tmp_path / "empty").mkdir()
    with pytest.raises(GannbError, match="neither run.json nor"):
        open_runs(str(tmp_path / "empty"))


def test_seeds_in_the_order_of_their_numbers(trained, tmp_path):
    for seed in (10, 2):
        shutil.copytree(trained[1][0].folder, tmp_path / f"seed-{seed}")
    shutil.copytree(trained[1][0].folder, tmp_path / "seed-2-to1")
    assert [p.name for p in seed_folders(tmp_path)] == ["seed-2", "seed-10"]


def test_a_sheet_holds_its_pixels():
    images = np.random.default_rng(0).integers(0, 200, (5, 16, 16, 3), dtype=np.uint8)
    s = sheet(images, 3)
    assert (
        s.shape == (2 * 128 + 2, 3 * 128 + 4, 3)
        and (s[:, 128:130] == 255).all()
        and (s[130:, 260:] == 255).all()
    )
    assert np.array_equal(s[::8, :128:8][:16], images[0]) and np.array_equal(
        s[130:, 130:258][::8, ::8], images[4]
    )


def sampled(*args: str, code: int = 0) -> None:
    assert main(["sample", *map(str, args)]) == code


def test_same_seed_same_bytes(trained, tmp_path, capsys):
    seed_0 = trained[0] / "seed-0"
    for name, more in (("a", []), ("b", []), ("c", ["--seed", "1"]), ("d", ["--epoch", "1"])):
        sampled(seed_0, "--n", 9, "--out", tmp_path / f"{name}.png", *more)
    a, b, c, d = ((tmp_path / f"{n}.png").read_bytes() for n in "abcd")
    assert a == b and len({a, c, d}) == 3 and str(tmp_path / "a.png") in capsys.readouterr().out
    assert Image.open(tmp_path / "a.png").size == (8 * 130 - 2, 2 * 130 - 2)


def test_paths_single_pictures_and_animation(trained, tmp_path):
    seed_0 = trained[0] / "seed-0"
    sampled(seed_0, "--n", 3, "--interpolate", 5, "--out", tmp_path / "strip.png")
    assert Image.open(tmp_path / "strip.png").size == (5 * 130 - 2, 3 * 130 - 2)
    sampled(seed_0, "--n", 3, "--each", "--out", tmp_path / "single")
    found = sorted((tmp_path / "single").rglob("*.png"))
    assert len(found) == 3 and Image.open(found[0]).size == (16, 16)
    want = sample_seeded(open_run(seed_0).generator(), 3)
    assert all(np.array_equal(np.asarray(Image.open(f)), w[..., 0]) for f, w in zip(found, want))
    sampled(seed_0, "--gif", "--out", tmp_path / "g.gif")
    assert Image.open(tmp_path / "g.gif").n_frames == 3
    sampled(seed_0, "--gif", "--epoch", 1, "--out", tmp_path / "h.gif")
    assert Image.open(tmp_path / "h.gif").n_frames == 2
    sampled(trained[0], "--n", 2, "--out", tmp_path / "both")
    assert len(list((tmp_path / "both").glob("demo-seed-*.png"))) == 2


def test_a_path_runs_from_end_to_end(trained):
    G = open_run(trained[0] / "seed-0").generator()
    z = paths_of_noise(G, 2, 4, 0, "normal")
    assert (
        z.shape == (8, 8)
        and not np.allclose(z[3], z[4])
        and not np.allclose(paths_of_noise(G, 2, 4, 1, "normal"), z)
    )
    cube = paths_of_noise(G, 4, 5, 0, "uniform")
    assert float(cube.abs().max()) <= 1


def test_from_a_generator_file(trained, tmp_path):
    run = trained[1][0]
    path = export_generator(run, tmp_path / "g.safetensors", trained[2], "CC BY 4.0")
    sampled(path, "--n", 4, "--out", tmp_path / "a.png")
    sampled(run.folder, "--n", 4, "--out", tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def refused(capsys, *args) -> str:
    capsys.readouterr()
    sampled(*args, code=2)
    out = capsys.readouterr()
    assert out.err.startswith("gannb: ") and "Traceback" not in out.err and not out.out
    return out.err


@pytest.mark.parametrize(
    "args, words",
    [
        (["{run}", "--n", "0"], "n must be 1 or more"),
        (["{run}", "--interpolate", "1"], "2 points or more"),
        (["{run}", "--n", "2000"], "at most 1,024"),
        (["{run}", "--n", "1000000000", "--each"], "at most 100,000"),
        (["{run}", "--n", "20000", "--interpolate", "6", "--each"], "this would be 120,000"),
        (["{run}", "--epoch", "7"], "Kept: 0, 1, 2"),
        (["{run}", "--gif", "--each"], "does not go with"),
        (["{run}", "--each", "--out", "{tmp}/x.png"], "name a folder"),
        (["{parent}", "--out", "{tmp}/x.png"], "several seeds"),
        (["{run}", "--out", "{tmp}/x.jpg"], "pictures are .png"),
        (["{run}", "--gif", "--out", "{tmp}/x.png"], "a .gif"),
        (["{run}", "--out", "{tmp}/file/x.png"], "a file stands where a folder should be"),
        (["{run}", "--out", "{tmp}/file"], "a file stands where a folder should be"),
        (["{tmp}/nowhere"], "no such run"),
        (["{tmp}/none.safetensors"], "no such file"),
        ([""], "RUN is empty"),
    ],
)
def test_mistakes(trained, tmp_path, capsys, args, words, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("GANNB_OUTPUTS", str(tmp_path / "out"))
    assert words in refused(
        capsys, *[a.format(run=trained[0] / "seed-0", parent=trained[0], tmp=tmp_path) for a in args]
    )
    assert [p.name for p in tmp_path.iterdir()] == ["file"], "nothing half-made"


def test_diverged_and_damaged(trained, tmp_path, capsys, copy):
    (copy / "samples" / "hashes.json").unlink()  # a run from before they were kept
    Path(copy / "samples" / "epoch-0001.png").write_bytes(b"\x89PNG no more")
    assert "epoch-0001.png cannot be read" in refused(capsys, copy, "--gif", "--out", tmp_path / "o")
    diverge(copy)
    assert "diverged at step 6" in refused(capsys, copy, "--out", tmp_path / "o")
    sampled(copy, "--epoch", 1, "--n", 2, "--out", tmp_path / "o")
    path = export_generator(trained[1][0], tmp_path / "g.safetensors", trained[2], "CC BY 4.0")
    path.write_bytes(path.read_bytes()[:-3])
    assert "whole safetensors" in refused(capsys, path)
    path.with_suffix(".json").unlink()
    assert "g.json does not exist" in refused(capsys, path)
    export_generator(trained[1][0], path, trained[2], "CC BY 4.0")
    assert "no pictures of its training" in refused(capsys, path, "--gif")
    assert "holds one generator" in refused(capsys, path, "--epoch", 1)


def test_a_run_kept_apart_does_not_stop_training(tmp_path, capsys):
    "A shorter training made later lies in seed-0-to1; the command still knows its seeds."
    args = [
        "train",
        "digits",
        "--out",
        str(tmp_path / "r"),
        "--show",
        "quiet",
        *(
            w
            for p in ("size=16", "ngf=4", "ndf=4", "nz=4", "batch_size=8", "limit=16", "threads=1")
            for w in ("--set", p)
        ),
    ]
    for epochs in (6, 4, 6):
        assert main([*args, "--set", f"epochs={epochs}"]) == 0
    assert (tmp_path / "r" / "seed-0-to4").is_dir() and "already done" in capsys.readouterr().out
