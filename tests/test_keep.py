"""gannb store: what it says is true, what it removes can be missed, and a kill in the middle leaves
nothing half that looks whole."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gannb import store
from gannb.datasets.registry import load
from gannb.base import GannbError
from gannb.cli import main
from gannb.config import gan_config
from gannb.stages import gan
from gannb.commands.keep import (
    TRASH,
    contents,
    du,
    find_item,
    gc,
    plan_gc,
    remove,
    rm,
    rm_plan,
    run_words,
    select,
)

ROOT = Path(__file__).resolve().parents[1]
BASE = dict(dataset="digits", size=16, epochs=2, batch_size=32, nz=4, ngf=4, ndf=4, threads=1)


def train(epochs=2, seed=0, folder=None, **config):
    data = load("digits", size=16, progress=False).select(limit=64)
    return gan.train_run(gan_config(**BASE | config | {"epochs": epochs}), data, seed, folder, show="quiet")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    "Two finished trainings in a store of their own."
    place = tmp_path_factory.mktemp("made")
    old = os.environ["GANNB_STORE"]
    os.environ["GANNB_STORE"] = str(place / "store")
    try:
        folders = [train(seed=s).folder for s in (0, 1)]
    finally:
        os.environ["GANNB_STORE"] = old
    return folders


@pytest.fixture(autouse=True)
def place(made, tmp_path, monkeypatch):
    "Each test has its own copy."
    for name in ("STORE", "OUTPUTS", "CACHE"):
        monkeypatch.setenv(f"GANNB_{name}", str(tmp_path / name.lower()))
    shutil.copytree(made[0].parent, tmp_path / "store" / "gan")
    return tmp_path


def home(made, i=0):
    return store.store_dir() / "gan" / made[i].name


def state(made, i=0):
    return next(x for x in contents() if x.key == made[i].name).word


def unfinish(folder):
    for name in ("done.json", "history.npy", "history.csv", "snapshots/G-epoch-0002.safetensors"):
        (folder / name).unlink()


def listing(root):
    return {
        p.relative_to(root).as_posix(): (p.stat().st_size, p.stat().st_mtime_ns)
        for p in root.rglob("*")
        if p.is_file()
    }


def age(path, days=1.0):
    for p in (path, *path.rglob("*")):
        os.utime(p, (time.time() - days * 86400,) * 2)


def sealed(folder, **files):
    with store.new_folder(folder) as f:
        for name, data in files.items():
            (f / name.replace("_", ".")).write_bytes(data)
    return folder


def refused(capsys, *args):
    assert main(["store", *args]) == 2
    err = capsys.readouterr().err
    assert err.startswith("gannb: ") and "Traceback" not in err
    return err


def hold(folder):
    "Another process that holds a folder until its stdin closes."
    code = (
        f"import sys\nfrom gannb import store\nwith store.folder_lock({str(folder)!r}): print('held', "
        "flush=True); sys.stdin.read()"
    )
    p = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert p.stdout.readline() == "held\n"
    return p


# --- du -----------------------------------------------------------------------------------------------------


def test_du_in_words(made, capsys, place):
    report = place / "outputs" / "dataset_study" / "quick"
    store.make_folder(report)
    store.write_json(
        report / "timing.json",
        {"report_s": 1, "trainings": {"emnist seed 0": store.read_json(made[0] / "timing.json")["parts"]}},
    )
    train(1, folder=place / "outputs" / "runs" / "digits-1234" / "seed-0")
    assert main(["store", "du"]) == 0
    out = capsys.readouterr().out
    lines = {ln.split()[0]: ln for ln in out.splitlines()}
    first, second = (lines[f.name[:8]] for f in made)
    assert (
        "digits seed 0, 64 images 16 px grey, width 4, batch 32, nz 4" in first
        and "2 epochs" in first
        and "finished" in first
        and "dataset_study/quick" in first
    )
    assert "digits seed 1" in second and "dataset_study" not in second
    assert (
        "Runs of gannb train" in out
        and "digits-1234/seed-0" in lines
        and "1 epoch " in lines["digits-1234/seed-0"]
    )
    from gannb.base import fmt_bytes

    total = sum(
        p.stat().st_size
        for p in (place / "store").rglob("*")
        if p.is_file() and not p.name.startswith(".lock")
    )
    assert (
        f"2 artefacts, {fmt_bytes(total)}" in out
        and "Decoded images in" in out
        and "gannb store gc would give back" in out
    )


def test_du_of_nothing(capsys, place):
    shutil.rmtree(place / "store")
    assert (
        main(["store", "du"]) == 0
        and "0 artefacts" in capsys.readouterr().out
        and not (place / "store").exists()
    )


def test_du_needs_no_torch():
    code = "import sys\nfrom gannb.cli import main\nmain(['store', 'du'])\nassert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_settings_that_matter_are_said():
    f = {
        "size": 32,
        "channels": 3,
        "ngf": 8,
        "ndf": 16,
        "batch_size": 64,
        "seed": 7,
        "data": "x",
        "n": 5000,
        "device": "cpu",
        "threads": 2,
        "nz": 100,
        "lr_G": 1e-3,
        "augment": "color",
        "beta1": 0.5,
    }
    assert (
        run_words({"fields": f, "data": {"name": "cifar10"}})
        == "cifar10 seed 7, 5,000 images 32 px RGB, width 8/16, batch 64, lr_G 0.001, augment color"
    )


@pytest.mark.parametrize(
    "harm, word",
    [
        (unfinish, "unfinished"),
        (
            lambda f: store.write_json(f / "diverged.json", {"step": 3, "message": "m"}),
            "diverged (at step 3)",
        ),
        (
            lambda f: (f / "snapshots" / "G-epoch-0002.safetensors").write_bytes(
                (f / "snapshots" / "G-epoch-0002.safetensors").read_bytes()[:-9]
            ),
            "damaged (G-epoch-0002.safetensors is cut off)",
        ),
        (
            lambda f: (f / "snapshots" / "G-epoch-0002.safetensors").unlink(),
            "damaged (G-epoch-0002.safetensors is missing)",
        ),
        (
            lambda f: (f / "history.npy").write_bytes((f / "history.npy").read_bytes()[:-9]),
            "damaged (history.npy cannot be read)",
        ),
        (lambda f: (f / "run.json").write_text("{"), "damaged (run.json cannot be read)"),
        (lambda f: (f / "run.json").unlink(), "damaged (run.json is missing)"),
        (
            lambda f: (f / "samples" / "epoch-0002.png").rename(f / "samples" / "epoch-0003.png"),
            "unfinished (2 epochs finished, more begun)",
        ),
        (
            lambda f: (f / "checkpoints" / "step-00000004").rename(f / "checkpoints" / "step-00000005"),
            "unfinished (2 epochs finished, more begun)",
        ),
    ],
)
def test_states(made, harm, word):
    assert state(made) == "finished"
    harm(home(made))
    assert state(made) == word and state(made, 1) == "finished"


# --- rm -----------------------------------------------------------------------------------------------------


def test_rm_by_prefix(made, capsys):
    assert main(["store", "rm", made[0].name[:6], "--yes"]) == 0
    out = capsys.readouterr().out
    assert "digits seed 0" in out and "To have the training back costs" in out and "given back" in out
    assert not home(made).exists() and home(made, 1).is_dir() and not list(store.store_dir().rglob(".*.tmp"))
    assert not train().reused, "what was removed is made again"


def test_rm_says_what_it_costs(made):
    parts = store.read_json(home(made) / "timing.json")
    parts["parts"][0]["wall_s"] = 7300.0
    store.write_json(home(made) / "timing.json", parts)
    plan = rm_plan([find_item(made[0].name, contents())])
    assert "2 h 02 min" in plan


def test_ambiguous_unknown_and_foreign_keys(made, capsys, place):
    twin = made[0].name[:10] + "x" * 10
    shutil.copytree(made[0], store.store_dir() / "gan" / twin)
    before = listing(place)
    assert "fits 2 artefacts" in refused(capsys, "rm", made[0].name[:10], "--yes")
    assert "fits 2 artefacts" in refused(capsys, "rm", made[1].name, made[0].name[:4], "--yes")
    wrong = made[1].name[:-1] + "z"
    assert f"Did you mean '{made[1].name}'" in refused(capsys, "rm", wrong, "--yes")
    for outside in (
        "../../etc",
        "/etc/passwd",
        str(home(made)),
        "runs/x/seed-0",
        "gan/..",
        "..",
        ".",
        "",
        "gan/",
        "nothing/" + made[0].name,
    ):
        assert "is no key" in refused(capsys, "rm", outside, "--yes")
    assert "'gan'" in refused(capsys, "rm", "--stage", "gna", "--yes")
    assert "Say what to remove" in refused(capsys, "rm", "--yes")
    assert "not unfinished" in refused(capsys, "rm", made[1].name, "--unfinished", "--yes")
    assert listing(place) == before
    assert (
        main(["store", "rm", "gan/" + twin[:11], "--yes"]) == 0
        and not (store.store_dir() / "gan" / twin).exists()
    )


def test_a_whole_key_is_not_ambiguous(made):
    apart = home(made).with_name(made[0].name + "-to4")
    shutil.copytree(made[0], apart)
    rm(select([made[0].name])[0])
    assert apart.is_dir() and not home(made).exists()


def test_rm_asks(made, capsys, monkeypatch):
    key = made[0].name
    assert "--yes" in refused(capsys, "rm", key) and home(made).is_dir()
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    for answer, gone in (("", False), ("n", False), ("y", True)):
        monkeypatch.setattr("builtins.input", lambda question, a=answer: a)
        assert main(["store", "rm", key]) == 0 and home(made).exists() is not gone


def test_rm_stage_and_unfinished(made):
    unfinish(home(made, 1))
    assert [i.key for i in select(unfinished=True)[0]] == [made[1].name]
    assert (
        main(["store", "rm", "--unfinished", "--yes"]) == 0
        and home(made).is_dir()
        and not home(made, 1).exists()
    )
    sealed(store.store_dir() / "features" / "abc", a_txt=b"1")
    assert (
        main(["store", "rm", "--stage", "gan", "--yes"]) == 0
        and not home(made).exists()
        and (store.store_dir() / "features" / "abc").is_dir()
    )


def test_in_use_is_refused(made, capsys):
    unfinish(home(made))
    p = hold(home(made))
    try:
        before = listing(home(made))
        message = refused(capsys, "rm", made[0].name, made[1].name, "--yes")
        assert f"process {p.pid}" in message and "Nothing was removed" in message and home(made, 1).is_dir()
        assert (
            main(["store", "rm", "--stage", "gan", "--yes"]) == 0
            and "left alone, in use" in capsys.readouterr().out
        )
        assert listing(home(made)) == before and not home(made, 1).exists()
        assert main(["store", "rm", "--unfinished", "--yes"]) == 0 and home(made).is_dir()
        left = rm(contents())
        assert left[0] == 0 and "in use" in left[1][0] and home(made).is_dir(), (
            "taken into use after it was chosen"
        )
    finally:
        p.communicate()
    assert main(["store", "rm", made[0].name, "--yes"]) == 0 and not home(made).exists()


def test_the_reference_is_never_touched(made, monkeypatch, place):
    reference = place / "outputs" / "reference" / "store"
    shutil.copytree(made[0].parent, reference / "gan")
    monkeypatch.setenv("GANNB_STORE", str(reference))
    before = listing(reference)
    with pytest.raises(GannbError, match="reference"):
        select(stage="gan")
    for path in (
        reference / "gan" / made[0].name,
        ROOT / "outputs" / "reference" / "dataset_study",
        place / "elsewhere",
        store.store_dir(),
        place / "cache" / "data" / "MNIST",
    ):
        with pytest.raises(GannbError):
            remove(path)
    assert listing(reference) == before


DYING = """
import os, shutil, sys
from gannb.commands import keep
{patch}
keep.rm(keep.contents())
"""


@pytest.mark.parametrize(
    "patch, renamed",
    [
        ("def die(*a, **k): os._exit(9)\nos.rename = die", False),  # killed before anything happened
        ("def die(*a, **k): os._exit(9)\nshutil.rmtree = die", True),  # killed between renaming and deleting
        (
            "real = os.unlink; n = [0]\ndef die(*a, **k):\n    n[0] += 1\n"
            "    if n[0] == 4: os._exit(9)\n    return real(*a, **k)\nos.unlink = die",
            True,
        ),  # killed while deleting
    ],
)
def test_killed_while_removing(made, patch, renamed):
    shutil.rmtree(home(made, 1))
    done = subprocess.run(
        [sys.executable, "-c", DYING.format(patch=patch)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 9, done.stderr
    if renamed:
        assert not contents() and not home(made).exists(), "nothing half-deleted is listed"
        waste = plan_gc()
        assert [w.why for w in waste] == ["half-deleted"]
        assert gc(waste)[0] > 0 and not plan_gc() and not [p for p in (store.store_dir() / "gan").iterdir()]
    else:
        assert state(made) == "finished" and train().reused


# --- gc -----------------------------------------------------------------------------------------------------


def test_gc_loses_no_result(made, capsys, place):
    whole = train(4, seed=0, folder=place / "in one go")
    before = {k: v for k, v in listing(home(made)).items() if not k.startswith("checkpoints/")}
    pictures, record, model = train().samples(), train().history().rows, train().sha256()
    assert (
        main(["store", "gc", "--yes"]) == 0 and "checkpoint that nothing needs: 2" in capsys.readouterr().out
    )
    assert [p.name for p in (home(made) / "checkpoints").iterdir()] == ["step-00000004"]
    assert {k: v for k, v in listing(home(made)).items() if not k.startswith("checkpoints/")} == before
    run = train()
    assert (
        run.reused
        and np.array_equal(run.samples(), pictures)
        and np.array_equal(run.history().rows, record)
        and run.sha256() == model
    )
    after = listing(place / "store")
    assert (
        main(["store", "gc", "--yes"]) == 0
        and "Nothing to do" in capsys.readouterr().out
        and listing(place / "store") == after
    )
    more = train(4)
    assert (
        not more.reused
        and more.sha256() == whole.sha256()
        and np.array_equal(more.history().rows, whole.history().rows)
    ), "goes on to the bytes of one go"


def test_gc_of_user_runs(capsys, place):
    folder = place / "outputs" / "runs" / "digits-1234" / "seed-0"
    train(2, folder=folder)
    assert (
        main(["store", "gc", "--yes"]) == 0
        and len(store.list_checkpoints(folder / "checkpoints")) == 1
        and train(2, folder=folder).reused
    )


def test_dry_run_touches_nothing(made, capsys, place):
    (home(made) / ".x.1234.tmp").write_text("left")
    (store.store_dir() / "gan" / f".old.1234{TRASH}").mkdir()
    before = listing(place)
    assert main(["store", "gc", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "left by a killed process: 1" in out and "In all" in out and listing(place) == before
    assert "--yes" in refused(capsys, "gc") and listing(place) == before


def test_gc_keeps_the_newest_checkpoint_that_is_whole(made):
    newest = home(made) / "checkpoints" / "step-00000004" / "tensors.safetensors"
    data = bytearray(newest.read_bytes())
    data[-1] ^= 1
    newest.write_bytes(data)
    for i in (0, 1):
        (home(made, 1) / "checkpoints" / f"step-0000000{2 * i + 2}" / "state.json").write_text("cut")
    gc(plan_gc())
    assert [p.name for p in (home(made) / "checkpoints").iterdir()] == ["step-00000002"], (
        "the newest is damaged: the one before is what goes on"
    )
    assert len(list((home(made, 1) / "checkpoints").iterdir())) == 2, "no whole one: nothing is decided here"
    assert train().reused and train(3).epochs == 3


def test_gc_leaves_unfinished_trainings_alone(made):
    unfinish(home(made))
    (home(made, 1) / "samples" / "epoch-0003.png").write_bytes(b"")
    before = listing(store.store_dir())
    assert plan_gc() == [] and gc(plan_gc()) == (0, []) and listing(store.store_dir()) == before
    half = home(made) / "checkpoints" / "step-00000001"
    half.mkdir()
    (half / "tensors.safetensors").write_bytes(b"half")
    gc(plan_gc())
    assert not half.exists() and len(store.list_checkpoints(home(made) / "checkpoints")) == 2, (
        "a half-deleted checkpoint is never read"
    )


def test_gc_leaves_alone_what_has_come_into_use(made):
    waste = plan_gc()
    p = hold(home(made))
    try:
        freed, left = gc(waste)
    finally:
        p.communicate()
    assert (
        len(left) == 1
        and "in use" in left[0]
        and freed
        and len(store.list_checkpoints(home(made) / "checkpoints")) == 2
        and len(store.list_checkpoints(home(made, 1) / "checkpoints")) == 1
    )
    shutil.rmtree(home(made, 1))
    waste = plan_gc()
    assert len(waste) == 1
    unfinish(home(made))  # the training has gone on since
    assert "gone on" in gc(waste)[1][0] and len(store.list_checkpoints(home(made) / "checkpoints")) == 2


def test_gc_leftovers(made, place):
    gc(plan_gc())
    young, old = (store.store_dir() / "features" / f".{n}.1234abcd.tmp" for n in ("young", "old"))
    cache = place / "cache" / "images" / ".k.1234abcd.tmp"
    data = place / "cache" / "data" / ".x.tmp"
    mine = place / "outputs" / "notes" / ".x.tmp"
    part = store.store_dir() / "weights" / "w.pth.part"
    reference = place / "outputs" / "reference" / ".x.tmp"
    for p in (young, old, cache, data, part, mine, reference):
        p.mkdir(parents=True)
        (p / "a").write_bytes(b"12345")
    for p in (old, cache, data, mine, reference):
        age(p)
    locked = home(made) / "checkpoints" / ".step.1234.tmp"
    locked.mkdir()
    (locked / "b").write_bytes(b"1")  # young, but its folder is free: nobody writes it
    waste = plan_gc()
    assert {w.path for w in waste} == {old, cache, locked}
    assert (
        gc(waste)[0] == 11
        and not any(p.exists() for p in (old, cache, locked))
        and all(p.exists() for p in (young, data, part, mine, reference))
    )


def test_gc_damaged_features(place, made):
    gc(plan_gc())
    root = store.store_dir() / "features"
    array = b"\x93NUMPY" + b"0" * 50
    good, cut, flipped, bare = (
        sealed(root / n, features_npy=array) for n in ("good", "cut", "flipped", "bare")
    )
    (cut / "features.npy").write_bytes(array[:-1])
    (flipped / "features.npy").write_bytes(array[:-1] + b"1")
    (bare / "manifest.json").write_text("{")
    names = {w.path.name for w in plan_gc()}
    assert names == {"cut", "flipped", "bare"}
    gc(plan_gc())
    assert (
        [p.name for p in root.iterdir()] == ["good"]
        and (good / "features.npy").read_bytes() == array
        and not plan_gc()
    )
    loose = store.store_dir() / "weights"
    loose.mkdir()
    np.save(loose / "a.npy", np.arange(5))
    (loose / "b.npy").write_bytes(b"no")
    (loose / "w.pth").write_bytes(b"whatever")
    gc(plan_gc())
    assert sorted(p.name for p in loose.iterdir()) == ["a.npy", "w.pth"], "what cannot be judged stays"


@pytest.mark.parametrize("kind", ["grid/{}.npy", "near/{}.npy", "eyes/{}.npz"])
def test_gc_takes_what_is_made_again_from_the_cache(place, kind):
    old, new = (store.cache_dir() / kind.format(name) for name in ("old", "new"))
    for path in (old, new):
        store.atomic_write(path, b"0" * 100)
    os.utime(old, (1, 1))
    waste = {w.path: w for w in plan_gc()}
    assert "made again" in waste[old].why and new not in waste
    gc(list(waste.values()))
    assert new.is_file() and not old.exists()


def test_gc_image_caches(place, capsys):
    images = place / "cache" / "images"
    before = load("digits", size=16, progress=False).fingerprint
    load("digits", size=32, progress=False)
    small, large = sorted(images.iterdir(), key=store.tree_bytes)
    gc(plan_gc())
    assert small.is_dir() and large.is_dir()
    (small / "labels.npy").unlink()
    assert any("not whole" in w.why for w in plan_gc())
    gc(plan_gc())
    assert not small.exists() and large.is_dir()
    assert load("digits", size=16, progress=False).fingerprint == before


def test_keep_days(made, capsys):
    assert plan_gc(keep_days=2) == []
    age(home(made), 3)
    assert {w.path.parent.parent.name for w in plan_gc(keep_days=2)} == {made[0].name}
    assert "--keep-days" in refused(capsys, "gc", "--keep-days", "-1", "--yes")


def test_folders_in_which_nothing_was_trained(made):
    for name in ("nothing", "only-a-lock"):
        (store.store_dir() / "gan" / name).mkdir()
    (store.store_dir() / "gan" / "only-a-lock" / ".lock").touch()
    gc(plan_gc())
    assert {i.key for i in contents()} == {f.name for f in made}


def test_other_artefacts_say_what_they_are():
    sealed(
        store.store_dir() / "features" / "abc",
        card_json=json.dumps(
            {
                "network": "effnet-lite0",
                "weights": "579344248a93e230",
                "shape": [10, 32, 32, 3],
                "trained on": {"name": "digits"},
                "held-out accuracy": 0.98765,
            }
        ).encode(),
    )
    assert "network effnet-lite0, shape 10x32x32x3, trained on digits, held-out accuracy 0.988" in du()
