"""Under fire: damaged and foreign files in runs and in the store, changed files, copies, times after a kill.
Each ends in a sentence that names the file and what to do, and harms nothing beside it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from gannb import records, store
from gannb.base import GannbError
from gannb.cli import main
from gannb.config import gan_config
from gannb.stages.cards import seconds_of
from gannb.stages.gan import load_data, train_run
from gannb.stages.live import look
from gannb.stages.run import open_run, open_so_far
from gannb.stages.score import kept_numbers

SMALL = "size=16 nz=8 ngf=8 ndf=8 threads=1 limit=64 batch_size=16".split()
SET = [word for pair in SMALL for word in ("--set", pair)]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    "Outputs with two finished runs of `gannb train`, and a store beside them."
    place = tmp_path_factory.mktemp("place")
    with pytest.MonkeyPatch.context() as patch:
        set_places(patch, place)
        for name in ("one", "two"):
            out = place / "outputs" / "runs" / name
            epochs = ["--set", "epochs=2", "--out", str(out), "--show", "quiet"]
            assert main(["train", "digits", *SET, *epochs]) == 0
    return place


def set_places(patch, place):
    for name in ("outputs", "store", "cache"):
        patch.setenv(f"GANNB_{name.upper()}", str(place / name))


@pytest.fixture
def place(made, tmp_path, monkeypatch):
    "A copy of it that may be damaged."
    shutil.copytree(made, tmp_path / "place")
    set_places(monkeypatch, tmp_path / "place")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "place"


def seed_of(place, name="one"):
    return place / "outputs" / "runs" / name / "seed-0"


def edited(path, *keys, value):
    "The JSON of a file with another value at one place."
    whole = json.loads(path.read_text())
    at = whole
    for key in keys[:-1]:
        at = at[key]
    at[keys[-1]] = value
    return json.dumps(whole)


FOREIGN = {
    "a list": lambda path: "[]",
    "nothing in it": lambda path: "{}",
    "a number": lambda path: "7",
    "100,000 brackets": lambda path: "[" * 100_000,
    "cut off": lambda path: path.read_text()[:-9],
    "no JSON": lambda path: "hello",
    "a digit too many": lambda path: '{"epochs": ' + "9" * 5000 + "}",
}
RUN = {
    "width": ("fields", "ngf", 100_000),
    "text for a number": ("fields", "n", "64"),
    "noise": ("fields", "nz", 10**9),
    "no size": ("fields", "size", None),
    "classes": ("fields", "n_classes", -1),
    "batch": ("fields", "batch_size", 0),
    "truth": ("fields", "seed", True),
    "data": ("data", "notes", "none"),
}
AGAIN = ["train", "digits", *SET, "--set", "epochs=2", "--show", "quiet", "--out", "RUN"]
COMMANDS = (
    ["train", "digits", *SET, "--set", "epochs=3", "--show", "quiet", "--out", "RUN"],
    ["sample", "RUN", "--out", "drawn"],
    ["compare", "RUN", "two", "--n", "16", "--metric", "loss_D", "--out", "compared"],
    ["score", "RUN", "--n", "16"],
    ["watch", "RUN"],
)


def said(capfd, command, place, name="one"):
    "Exit status and words of a command on a run. A traceback would end this test."
    status = main([str(place / "outputs" / "runs" / name) if word == "RUN" else word for word in command])
    told = capfd.readouterr()
    return status, told.out + told.err


CASES = [("run.json", kind) for kind in FOREIGN]
CASES += [(file, kind) for file in ("done.json", "../config.json") for kind in list(FOREIGN)[:4:3]]


@pytest.mark.parametrize("file, kind", CASES)
def test_foreign_run_files_end_in_a_sentence(place, capfd, file, kind):
    path = seed_of(place) / file
    foreign = FOREIGN[kind](path)
    for command in COMMANDS if kind == "a list" else COMMANDS[:2]:
        path.write_text(foreign)  # a command may have mended it
        status, told = said(capfd, command, place)
        assert "Traceback" not in told
        if status == 2:
            assert Path(file).name in told and ("damaged" in told or "is not" in told), (command[0], told)
    path.write_text(foreign)
    for command in (["store", "du"], ["store", "gc", "--yes"]):
        status, told = said(capfd, command, place)
        assert status == 0 and "Traceback" not in told
    assert open_run(seed_of(place, "two")).epochs == 2


@pytest.mark.parametrize("wrong", RUN)
def test_a_value_beyond_its_limits_is_named(place, capfd, wrong):
    *keys, value = RUN[wrong]
    path = seed_of(place) / "run.json"
    path.write_text(edited(path, *keys, value=value))
    for command in COMMANDS[:2]:
        status, told = said(capfd, command, place)
        assert status == 2 and "run.json" in told and keys[-1] in told and "delete the folder" in told.lower()
    status, told = said(capfd, ["store", "du"], place)
    assert status == 0 and "damaged" in told and keys[-1] in told


@pytest.mark.parametrize("steps", [10**11, 10**7])
def test_a_history_that_asks_for_more_than_there_is(place, capfd, steps):
    path = seed_of(place) / "history.npy"
    head = {"descr": "<f4", "fortran_order": False, "shape": (steps, 7)}
    with open(path, "wb") as f:
        np.lib.format.write_array_header_1_0(f, head)
    begun = time.monotonic()
    for command in (["train", "digits", *SET, "--set", "epochs=2", "--out", "RUN"], COMMANDS[2]):
        status, told = said(capfd, command, place)
        assert status == 2 and "history.npy cannot be read" in told and "Delete the folder" in told
        assert "are announced" in told, "seen by the header: no memory is asked for"
    for command in (["store", "du"], ["store", "gc", "--yes"]):
        assert said(capfd, command, place)[0] == 0
    assert time.monotonic() - begun < 30


@pytest.mark.parametrize("shape, kind", [((8,), "f4"), ((8, 6), "f4"), ((8, 7), "f8"), ((0, 7), "f4")])
def test_a_record_of_another_shape(tmp_path, shape, kind):
    np.save(tmp_path / "h.npy", np.zeros(shape, kind))
    if shape == (0, 7):
        assert records.read_rows(tmp_path / "h.npy", 7).shape == shape
        return
    with pytest.raises(GannbError, match="h.npy cannot be read"):
        records.read_rows(tmp_path / "h.npy", 7)


@pytest.mark.parametrize("kind", FOREIGN)
def test_damaged_times_cost_nothing_but_times(place, capfd, kind):
    path = seed_of(place) / "timing.json"
    path.write_text(FOREIGN[kind](path))
    status, told = said(capfd, COMMANDS[0], place)
    assert status == 0 and "timing.json" in told and "begins anew" in told
    assert len(records.sittings(seed_of(place))) == 1


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_damaged_manifest_is_no_checkpoint(place, capfd, kind):
    for path in (seed_of(place) / "checkpoints").glob("*/manifest.json"):
        path.write_text(FOREIGN[kind](path))
    with pytest.warns(UserWarning, match="passed over"):
        status, told = said(capfd, COMMANDS[0], place)
    assert status == 2 and "checkpoints" in told and "Delete that folder" in told
    assert said(capfd, ["store", "gc", "--yes"], place)[0] == 0


def test_a_copy_of_a_picture_is_passed_over(place, capfd):
    seed = seed_of(place)
    for copy in ("epoch-0001 (1).png", "epoch-0001 copy.png", "epoch-.png"):
        shutil.copy(seed / "samples" / "epoch-0001.png", seed / "samples" / copy)
    last = seed / "snapshots" / "G-epoch-0002.safetensors"
    shutil.copy(last, last.with_name("G-epoch-0002 (1).safetensors"))
    (seed / "checkpoints" / "step-copy").mkdir()
    assert open_run(seed).sample_epochs() == [0, 1, 2] and open_so_far(seed).epochs == 2
    from gannb.widgets.dashboard import picture_epochs

    assert picture_epochs(seed) == [0, 1, 2]
    for command in (["sample", "RUN", "--gif", "--out", "drawn"], COMMANDS[0], ["store", "du"]):
        assert said(capfd, command, place)[0] == 0


# ---- what was changed on disk


def test_a_score_that_was_changed_is_computed_anew(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("GANNB_STORE", str(tmp_path))
    fields, asked = {"what": "a test", "sizes": (1, 2)}, []

    def compute():
        asked.append(1)
        return {"kid": 0.5}

    assert kept_numbers(fields, compute) == kept_numbers(fields, compute) == {"kid": 0.5} and len(asked) == 1
    path = next(tmp_path.glob("score/*/score.json"))
    whole = path.read_text()
    for keys, value in ((("values", "kid"), 0.1), (("fields", "what"), "another"), (("values",), {})):
        path.write_text(edited(path, *keys, value=value))
        assert kept_numbers(fields, compute) == {"kid": 0.5} and path.read_text() == whole
        assert "was changed" in capfd.readouterr().err
    assert len(asked) == 4
    for foreign in ("[]", "{", '{"values": {"kid": "0.5"}, "fields": {}}'):
        path.write_text(foreign)
        assert kept_numbers(fields, compute) == {"kid": 0.5} and "computed anew" in capfd.readouterr().err


def test_a_score_from_before_there_were_hashes_is_taken(tmp_path, monkeypatch):
    monkeypatch.setenv("GANNB_STORE", str(tmp_path))
    path = store.artefact_folder("score", 1, {"what": "old"}) / "score.json"
    store.write_json(path, {"fields": {"what": "old"}, "values": {"kid": 0.25}})
    assert kept_numbers({"what": "old"}, lambda: {"kid": 9.0}) == {"kid": 0.25}


def test_a_file_where_a_score_should_be_is_put_aside(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("GANNB_STORE", str(tmp_path))
    folder = store.artefact_folder("score", 1, {"what": "blocked"})
    folder.parent.mkdir(parents=True)
    folder.write_text("not a folder")
    assert kept_numbers({"what": "blocked"}, lambda: {"kid": 0.25}) == {"kid": 0.25}
    assert "where a folder should be" in capfd.readouterr().err
    assert folder.with_name(f"{folder.name}.in-the-way").read_text() == "not a folder"


def test_a_picture_that_was_changed_is_drawn_anew(place, capfd):
    run = open_run(seed_of(place))
    path = run.folder / "samples" / "epoch-0002.png"
    whole, seen = path.read_bytes(), run.samples(2)
    shutil.copy(run.folder / "samples" / "epoch-0000.png", path)
    assert np.array_equal(run.samples(2), seen) and path.read_bytes() == whole
    assert "drawn anew" in capfd.readouterr().err
    shutil.copy(run.folder / "samples" / "epoch-0000.png", path)
    (run.folder / "samples" / "hashes.json").unlink()  # as in a run from before they were kept
    assert np.array_equal(run.samples(2), run.samples(0))


def test_a_changed_picture_without_its_generator_is_named(place):
    run = open_run(seed_of(place))
    (run.folder / "snapshots" / "G-epoch-0001.safetensors").unlink()
    shutil.copy(run.folder / "samples" / "epoch-0000.png", run.folder / "samples" / "epoch-0001.png")
    with pytest.raises(GannbError, match="epoch-0001.png was changed .* not kept"):
        run.samples(1)


def test_a_score_of_something_else_is_computed_anew(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("GANNB_STORE", str(tmp_path))
    kept_numbers({"what": "one"}, lambda: {"kid": 0.5})
    kept_numbers({"what": "two"}, lambda: {"kid": 0.7})
    one, two = (store.artefact_folder("score", 1, {"what": w}) / "score.json" for w in ("one", "two"))
    shutil.copy(two, one)
    assert kept_numbers({"what": "one"}, lambda: {"kid": 0.5}) == {"kid": 0.5}
    assert "of something else" in capfd.readouterr().err
    one.unlink()
    one.mkdir()
    assert kept_numbers({"what": "one"}, lambda: {"kid": 0.5}) == {"kid": 0.5}
    assert "a folder where a file should be" in capfd.readouterr().err and one.is_file()


@pytest.fixture
def labelled(tmp_path, monkeypatch):
    "Small labelled images, and a store of their own."
    from gannb.data import ImageSet

    set_places(monkeypatch, tmp_path)
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    pixels = rng.integers(0, 120, (60, 16, 16, 1)) + 100 * labels[:, None, None, None]
    whole = ImageSet("small", pixels.astype(np.uint8), labels, ("dark", "light"))
    return whole.split(0.5, 0)


def makers(labelled):
    "What each stage keeps of these images: stage -> (a call that reads or makes it, made of other settings)."
    from gannb.probes import Machine
    from gannb.stages.classifier import ClassifierConfig, fitted, near_copies
    from gannb.stages.features import features, network
    from gannb.stages.probes import Target, ask_all
    from gannb.stages.probes import pixels as looker

    train, test = labelled
    cfg = ClassifierConfig(network="softmax", finetune="all", pretrained=False, epochs=1, batch_size=16)
    net = network("domain", data=train, shown=64)

    def probe(k):
        machine = Machine("knn", k=k)
        return ask_all(looker(), Target("t", train), 0, {"m": machine})["m"].predictions

    return {
        "features": [lambda: features(test, net), lambda: features(train, net)[: len(test)]],
        "probe": [lambda: probe(1), lambda: probe(5)],
        "classifier": [
            lambda: np.array(fitted(cfg, train, test, 0).curves.train_loss),
            lambda: np.array(fitted(cfg, train, test, 1).curves.train_loss),
        ],
        "answers": [lambda: near_copies(test, train), lambda: near_copies(train, test)],
        "domain": [
            lambda: np.frombuffer(network("domain", data=train, shown=64).weights.encode(), np.uint8),
            lambda: np.frombuffer(network("domain", data=train, shown=128).weights.encode(), np.uint8),
        ],
    }


@pytest.mark.parametrize("stage", ["features", "probe", "classifier", "answers", "domain"])
def test_a_stored_artefact_that_belongs_elsewhere_is_made_anew(labelled, stage):
    this, other = makers(labelled)[stage]
    known = set(store.store_dir().glob(f"{stage}/*"))
    whole = this()
    mine = (set(store.store_dir().glob(f"{stage}/*")) - known) or known
    other()
    (theirs,) = set(store.store_dir().glob(f"{stage}/*")) - known - mine
    (mine,) = mine
    shutil.rmtree(mine)
    shutil.copytree(theirs, mine)  # sealed, and every hash is right
    with pytest.warns(UserWarning, match="of something else .* It is made again"):
        assert np.array_equal(this(), whole)
    assert np.array_equal(this(), whole)


def reseal(folder):
    (folder / "manifest.json").unlink()
    store._seal(folder)


@pytest.mark.parametrize("stage", ["probe", "answers"])
def test_artefacts_from_before_cards_said_where_they_belong_are_taken(labelled, stage, recwarn):
    this, _ = makers(labelled)[stage]
    whole = this()
    for card in store.store_dir().glob(f"{stage}/*/card.json"):
        kept = json.loads(card.read_text())
        kept.pop("belongs", None)
        card.write_text(json.dumps(kept)) if stage == "probe" else card.unlink()
        reseal(card.parent)
    before = {p: p.stat().st_mtime_ns for p in store.store_dir().rglob("*.npy")}
    assert np.array_equal(this(), whole) and not recwarn.list
    assert {p: p.stat().st_mtime_ns for p in store.store_dir().rglob("*.npy")} == before


def test_a_file_that_its_manifest_does_not_name_is_seen(tmp_path):
    with store.new_folder(tmp_path / "a") as made:
        (made / "features.npy").write_bytes(b"x")
    (tmp_path / "a" / "Thumbs.db").write_bytes(b"x")
    store.verify_folder(tmp_path / "a")
    (tmp_path / "a" / "card.json").write_text("{}")
    with pytest.raises(GannbError, match="card.json is not in the manifest"):
        store.verify_folder(tmp_path / "a")


def test_a_changed_generator_is_named_or_comes_back_from_the_checkpoint(place, capfd):
    seed = seed_of(place)
    early, last = (seed / "snapshots" / f"G-epoch-000{n}.safetensors" for n in (1, 2))
    whole = last.read_bytes()
    for path in (early, last):
        path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0?")
    for command in (["sample", "RUN", "--epoch", "1"], ["score", "RUN", "--n", "16"]):
        status, told = said(capfd, command, place)
        assert status == 2 and early.name in told or last.name in told
    status, told = said(capfd, AGAIN, place)
    assert status == 0 and last.name in told and "made anew" in told and last.read_bytes() == whole
    with pytest.raises(GannbError, match="G-epoch-0001.safetensors was changed"):
        open_run(seed).generator(1)
    (seed / "snapshots" / "hashes.json").unlink()  # as in a run from before they were kept
    assert open_run(seed).generator(1) is not None


@pytest.mark.parametrize("wrong", ["huge", "cut", "other size", "a folder"])
def test_a_damaged_sheet_of_pictures_is_named(place, wrong):
    from PIL import Image

    run = open_run(seed_of(place))
    path = run.folder / "samples" / "epoch-0001.png"
    data = path.read_bytes()
    (run.folder / "samples" / "hashes.json").unlink()
    if wrong == "a folder":
        path.unlink()
        path.mkdir()
    elif wrong == "other size":
        Image.new("L", (60, 60)).save(path)
    else:
        huge = data[:16] + (60_000).to_bytes(4, "big") * 2 + data[24:]
        path.write_bytes(huge if wrong == "huge" else data[:90])
    with pytest.raises(GannbError, match="epoch-0001.png cannot be read .* Delete it"):
        run.samples(1)


def test_a_storm_of_damaged_records():
    root = Path(__file__).resolve().parents[1]
    words = [sys.executable, str(root / "tests" / "storm" / "records.py"), "--files", "6"]
    env = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(words, capture_output=True, text=True, env=env)
    assert done.returncode == 0 and '"with harm": 0' in done.stdout, done.stdout + done.stderr[-2000:]


# ---- killed


def test_a_run_that_was_killed_after_its_last_word_looks_done(place, capfd):
    "Killed between `done.json` and the end of its heartbeat."
    seed = seed_of(place)
    from gannb.stages.live import LIVE

    (seed / LIVE).mkdir()
    status = {"state": "training", "step": 8, "at": time.time(), "message": "", "pid": 2**22 + 1}
    status |= {"begun": 0.0, "host": socket.gethostname()}
    status |= {"steps_per_epoch": 4, "images_per_s": 1.0}
    for epochs, state in ((2, "done"), (3, "lost")):  # lost: more was begun
        (seed / LIVE / "status.json").write_text(json.dumps(status | {"epochs": epochs}))
        assert look(seed).state == state
    note = {"pid": 2**22 + 1, "host": socket.gethostname(), "command": "gannb", "since": "then"}
    (seed / ".lock.json").write_text(json.dumps(note))
    assert said(capfd, AGAIN, place)[0] == 0 and not (seed / LIVE).exists()
    assert not (seed / ".lock.json").exists()
    (seed / ".lock.json").write_text(json.dumps(note | {"pid": os.getpid()}))
    assert said(capfd, AGAIN, place)[0] == 0 and (seed / ".lock.json").exists(), "of one that lives"
    assert look(seed).state == "done"


HEARD = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # also in the background

STRIKE = (
    HEARD
    + """
import os, signal, sys
from gannb.stages import features
whole, left = features.stored, [int(os.environ["STORED"])]
def stored(*args, **kw):
    left[0] -= 1
    if not left[0]:
        os.write(1, b"x")
    return whole(*args, **kw)
features.stored = stored
from gannb.start import main
sys.exit(main())
"""
)


def struck_while_scoring(command, place, stored, wait, gap):
    "Ctrl-C twice, soon after the so-manieth artefact was asked for. Exit status and words."
    env = os.environ | {"STORED": str(stored), "GANNB_STORE": str(place / "fresh")}
    process = subprocess.Popen(
        [sys.executable, "-c", STRIKE, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env
    )
    while process.stdout.read(1) not in (b"x", b""):
        pass
    for pause in (wait, gap):
        time.sleep(pause)
        process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=60)
    return process.returncode, b"".join(told).decode()


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
@pytest.mark.parametrize("which", ["score", "compare"])
def test_ctrl_c_twice_while_scoring_is_a_sentence(place, which):
    one, two = (str(place / "outputs" / "runs" / name) for name in ("one", "two"))
    out = place / "compared"
    command = {"score": ["score", one, "--n", "64"], "compare": ["compare", one, two, "--n", "64"]}[which]
    command += ["--out", str(out)] if which == "compare" else []
    moments = [(1, 0.0, 0.0), (1, 0.3, 0.01), (2, 0.0, 0.02), (3, 0.01, 0.0), (3, 0.05, 0.05)]
    for moment in moments:
        status, told = struck_while_scoring(command, place, *moment)
        assert status == 130 and "Traceback" not in told and "topped" in told, (moment, status, told)
        for manifest in (place / "fresh").glob("*/[!.]*/manifest.json"):
            store.verify_folder(manifest.parent)
        for path in [*(place / "fresh").rglob("score.json"), *Path(one).rglob("scores.json")]:
            json.loads(path.read_text())
        assert not list(out.glob("*.html"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANNB_STORE", str(place / "fresh"))
        assert main(command) == 0


def test_a_sitting_counts_as_far_as_it_is_kept(tmp_path):
    cfg = gan_config(dataset="digits", epochs=400, **dict(pair.split("=") for pair in SMALL))
    code = (
        "from gannb.config import gan_config; from gannb.stages.gan import load_data, train_run\n"
        f"cfg = gan_config(**{cfg.model_dump()!r})\n"
        f"train_run(cfg, load_data(cfg), 0, {str(tmp_path / 'run')!r}, show='quiet')"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    while not list((tmp_path / "run").glob("samples/epoch-0020.png")):
        assert process.poll() is None
        time.sleep(0.02)
    seen = time.monotonic()
    process.send_signal(signal.SIGKILL)
    process.wait()
    parts = records.sittings(tmp_path / "run")
    assert len(parts) == 1 and parts[0]["to_step"] >= 19 * 4 and parts[0]["wall_s"] > 0
    state = store.load_checkpoint(tmp_path / "run" / "checkpoints")[1]
    assert parts[0]["to_step"] == state["step"] or state["step"] - parts[0]["to_step"] == 4
    short = cfg.having(epochs=state["epoch"] + 1)
    run = train_run(short, load_data(short), 0, tmp_path / "run", show="quiet")
    assert len(records.sittings(run.folder)) == 2 and seconds_of(run) >= parts[0]["wall_s"]
    assert look(run.folder).state == "done" and seen and os.path.isdir(run.folder)


def test_ctrl_c_in_the_first_moments_is_a_sentence():
    code = "import sys; from gannb.start import main; sys.exit(main())"
    words = ["train", "digits", *SET, "--set", "epochs=1000", "--show", "quiet"]
    for wait in (0.15, 0.3, 0.5, 1.0, 2.0):
        process = subprocess.Popen(
            [sys.executable, "-c", f"{HEARD}import os; os.write(1, b'x'); {code}", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        process.stdout.read(1)  # Python itself is ready
        time.sleep(wait)
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        told = process.communicate(timeout=60)[1].decode()
        assert process.returncode == 130 and "Traceback" not in told, (wait, told)
        assert "Stopped" in told or "stopped" in told


COMPILED = (
    HEARD
    + """
import _imp, os, signal, sys
whole, struck = _imp.exec_dynamic, []
def start(module):
    "As C++ that knows no KeyboardInterrupt."
    try:
        if not struck:
            struck.append(module)
            signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        os._exit(6)
    return whole(module)
from gannb.start import main
_imp.exec_dynamic = start
sys.exit(main())
"""
)

TRITON = (
    HEARD
    + """
import enum, importlib.abc, os, signal, sys
whole, left = enum.EnumType.__setattr__, [0]
class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        left[0] += name == "triton._C.libtriton"
def put(cls, name, value):
    if left[0]:
        left[0] = 0
        os.write(2, b"struck")
        signal.raise_signal(signal.SIGINT)
    return whole(cls, name, value)
sys.meta_path.insert(0, Finder())
enum.EnumType.__setattr__ = put
from gannb.start import main
sys.exit(main())
"""
)


def stopped_inside(code, *words):
    "Exit status and words of a command whose imports are struck by Ctrl-C."
    process = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=120
    )
    return process.returncode, process.stdout + process.stderr


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_ctrl_c_waits_for_a_compiled_module():
    status, told = stopped_inside(COMPILED, "data", "list")
    assert status == 130 and "Stopped" in told and "Traceback" not in told, (status, told)


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["data", "list"], ["trian"], ["data", "check", "no-such"]]
)
def test_the_end_of_a_command_hears_no_ctrl_c(words):
    code = (
        HEARD
        + """
import signal, sys
from gannb.start import main
try:
    main()
finally:
    print(repr(signal.getsignal(signal.SIGINT)))
"""
    )
    _, told = stopped_inside(code, *words)
    assert "SIG_IGN" in told, told


SHOWERED = (
    HEARD
    + """
import os, signal, sys, types
from gannb import start
def run():
    os.write(1, b"x")
    while True:
        pass
cli = sys.modules["gannb.cli"] = types.ModuleType("gannb.cli")
cli.main = run
sys.exit(start.main())
"""
)


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_a_shower_of_ctrl_c_is_one_sentence():
    for _ in range(20):
        process = subprocess.Popen(
            [sys.executable, "-c", SHOWERED], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        process.stdout.read(1)
        late = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < late:
            process.send_signal(signal.SIGINT)
        process.kill()
        told = process.communicate()[1].decode()
        # Python itself may note that one was "ignored due to race condition"
        assert process.returncode == 130 and told.count("Stopped") == 1, told
        assert "KeyboardInterrupt" not in told, told


@pytest.mark.skipif(not find_spec("triton"), reason="needs triton, which torch brings on Linux with CUDA")
def test_ctrl_c_while_triton_starts_ends_no_process(place):
    "Its C++ ends the process ('terminate called') when an exception comes; torch's optimisers import it."
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANNB_STORE", str(place / "no-judge-yet"))
        status, told = stopped_inside(TRITON, "score", str(place / "outputs" / "runs" / "one"), "--n", "60")
    if status == 0 and "struck" not in told:
        pytest.skip("this torch imports no triton with its optimisers")
    assert status == 130 and "topped" in told and "terminate" not in told, (status, told)


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_ctrl_c_twice_while_a_report_scores(tmp_path, monkeypatch):
    "The report's kernel scores: what it kept is whole, and nobody works on."
    set_places(monkeypatch, tmp_path)
    code = f"{HEARD}import sys; from gannb.start import main; sys.exit(main())"
    words = ["reproduce", "dataset_study", "--preset", "smoke"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words],
        cwd=Path(__file__).resolve().parents[1],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        while not list((tmp_path / "store").glob("fakes/*/manifest.json")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        for pause in (0.0, 0.1):
            time.sleep(pause)
            process.send_signal(signal.SIGINT)
        told = b"".join(process.communicate(timeout=120)).decode()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130 and "Traceback" not in told and "topped" in told, told[-2000:]
    for manifest in (tmp_path / "store").glob("*/[!.]*/manifest.json"):
        store.verify_folder(manifest.parent)
    assert not list((tmp_path / "outputs").glob("*/*/finished.json"))


def test_leftovers_that_no_process_owns_are_cleared(tmp_path, monkeypatch, capfd):
    set_places(monkeypatch, tmp_path)
    images = tmp_path / "cache" / "images"
    left = [images / ".0123456789abcdef0123.12345678.tmp", images / ".fedcba98765432100123.12345678.tmp"]
    for folder in left:
        folder.mkdir(parents=True)
        (folder / "images.npy").write_bytes(b"x" * 1000)
    with store.folder_lock(tmp_path / "cache" / "locks" / "fedcba98765432100123"):
        assert main(["store", "gc", "--yes"]) == 0
    assert "killed process" in capfd.readouterr().out
    assert not left[0].exists() and left[1].exists(), "one that is being written stays"


def test_the_next_decoding_clears_what_a_killed_one_left(tmp_path, monkeypatch):
    from PIL import Image

    from gannb.datasets.registry import load

    set_places(monkeypatch, tmp_path)
    (tmp_path / "pictures").mkdir()
    for i in range(8):
        Image.new("RGB", (16, 16), (i, 9, 9)).save(tmp_path / "pictures" / f"{i}.png")
    load(f"folder:{tmp_path / 'pictures'}", size=16, split="all")
    made = next((tmp_path / "cache" / "images").iterdir())
    left = made.with_name(f".{made.name}.12345678.tmp")
    made.rename(left)
    load(f"folder:{tmp_path / 'pictures'}", size=16, split="all")
    assert made.is_dir() and not left.exists()


def test_a_checkpoint_that_was_half_removed_goes_at_the_next_start(place, capfd):
    half = seed_of(place) / "checkpoints" / "step-00000001"
    half.mkdir()
    (half / "tensors.safetensors").write_bytes(b"x")
    assert said(capfd, COMMANDS[0], place)[0] == 0 and not half.exists()


@pytest.mark.parametrize(
    "files",
    [
        {"config.json": '{"title": "my site"}'},
        {"config.json": "[]"},
        {"thesis.tex": "x"},
        {"config.json": "{"},
    ],
)
def test_out_never_overwrites_a_folder_of_other_things(tmp_path, monkeypatch, capfd, files):
    set_places(monkeypatch, tmp_path)
    folder = tmp_path / "mine"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    status = main(["train", "digits", *SET, "--set", "epochs=1", "--out", str(folder)])
    told = capfd.readouterr().err
    assert status == 2 and str(folder) in told and "--out" in told
    assert {p.name: p.read_text() for p in folder.iterdir() if not p.name.startswith(".")} == files


@pytest.mark.parametrize(
    "wrong",
    ["threads=100000", "ngf=100000", "ndf=100000", "nz=1000000000", "ngf=4096", "ndf=4096"],
)
def test_bounds_are_said_before_work(wrong, monkeypatch, capfd):
    import psutil

    memory = psutil.virtual_memory()._replace(total=8 * 2**30)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    assert main(["train", "digits", "--set", wrong, "--set", "size=64"]) == 2
    told = capfd.readouterr().err
    assert wrong.partition("=")[0] in told and "Traceback" not in told


@pytest.mark.parametrize("wrong", ["1,nan", "1,0.5,nan", "1,inf", "1,-0.5", "nan"])
def test_a_share_is_a_share(wrong):
    from gannb.studies.registry import report_config

    with pytest.raises(GannbError, match="fractions"):
        report_config("fruits", preset="smoke", fractions=wrong)


def test_a_catalogue_that_grows_without_end_is_an_error(tmp_path):
    from gannb.datasets.catalogue import catalogue

    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    for text in ("\n".join(lines), "\n".join(lines) + "\nset: {source: *a9}"):
        (tmp_path / "catalogue.yaml").write_text(text)
        begun = time.monotonic()
        with pytest.raises(GannbError, match="catalogue.yaml") as e:
            catalogue(tmp_path)
        assert time.monotonic() - begun < 2 and len(str(e.value)) < 500
    (tmp_path / "catalogue.yaml").write_text("set: {source: &s [[[[[x]]]], 2], note: *s}")
    with pytest.raises(GannbError, match="source must be of type str"):
        catalogue(tmp_path)


def test_waiting_for_another_process_is_said(tmp_path, monkeypatch):
    folder = tmp_path / "held"
    code = (
        "import sys, time; from gannb.store import folder_lock\n"
        f"with folder_lock({str(folder)!r}):\n    print('x', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        holder.stdout.read(1)
        monkeypatch.setattr(store, "SILENT_SECONDS", 0.2)
        told = []
        monkeypatch.setattr("builtins.print", lambda *a, **kw: told.append(a[0]))
        with pytest.raises(store.Held), store.folder_lock(folder, wait=1):
            raise AssertionError("held twice")
        assert str(holder.pid) in told[0] and "Waiting" in told[0] and str(folder) in told[0]
    finally:
        holder.kill()
        holder.wait()


def test_the_disk_of_three_checkpoints_is_asked_for(tmp_path):
    cfg = gan_config(dataset="digits", epochs=1, **dict(pair.split("=") for pair in SMALL))
    data = load_data(cfg)
    from gannb.stages.gan import estimate

    run = train_run(cfg, data, 0, tmp_path / "run", show="quiet")
    one = store.tree_bytes(max((run.folder / "checkpoints").iterdir()))
    kept = store.tree_bytes(run.folder / "snapshots")
    assert estimate(cfg, data, 1)[1] > 2.9 * one + kept
