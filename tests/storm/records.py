"""A storm of damaged files in runs, scores, reports and the store: tracebacks, hangs, memory, silent wrongs?

    python tests/storm/records.py [--files 200] [--seed 0] [--only TEXT]

Two small trainings, their scores, answers of probes and classifiers, and two reports are made once. Then one
file after the other is damaged (cut, bits flipped, other JSON, brackets, headers that ask for terabytes, a
folder in its place ...), and every command that may meet it is run. It may heal what it finds and say so, or
end with status 2 and a sentence that names the file and a remedy. Harm is: any other exception, 5 s or 250 MB
more than on whole files, a sentence without the file or without a remedy, and other numbers or pictures
without a word. The last line counts. Exit status 1 if there is any harm."""

import argparse
import contextlib
import hashlib
import io
import json
import os
import random
import re
import resource
import shutil
import struct
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

SLOW, MORE_MB = 5.0, 250  # seconds of work, memory: beyond what the same commands take on whole files
WAITS = 30.0  # seconds on the clock: beyond that it hangs, however busy the machine is
ROOT = Path(__file__).resolve().parents[2]
SETTINGS = "size=16 nz=8 ngf=8 ndf=8 batch_size=16 limit=64".split()
REMEDY = re.compile(r"delete|remove|move |put it back|choose|give |take |run .*again|name |anew|again", re.I)


def words(*pairs: str) -> list[str]:
    return [word for pair in (*SETTINGS, *pairs) for word in ("--set", pair)]


# ---- the place that is damaged


def set_places(place: Path) -> None:
    for name in ("outputs", "store", "cache"):
        os.environ[f"GANNB_{name.upper()}"] = str(place / name)
    place.mkdir(parents=True, exist_ok=True)
    os.chdir(place)


def pictures(folder: Path) -> None:
    "Two classes of small pictures; they have no test part, so that one is held out."
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for k, name in enumerate(("dark", "light")):
        (folder / "train" / name).mkdir(parents=True)
        for i in range(60):
            small = rng.integers(100 * k, 100 * k + 150, (5, 5, 3)).astype(np.uint8)
            big = Image.fromarray(small).resize((20, 20), Image.Resampling.BICUBIC)
            big.save(folder / "train" / name / f"{i:02d}.png")


def _labelled(place: Path):
    from gannb.datasets.registry import load

    return load(f"folder:{place / 'pictures'}", split="train", size=16, progress=False).split(0.6, 0)


def answers(place: Path) -> str:
    "What probes, a classifier and a trained judge say of the pictures: each from the store."
    from gannb.probes import Machine
    from gannb.stages.classifier import ClassifierConfig, fitted, near_copies
    from gannb.stages.features import features, network
    from gannb.stages.probes import Target, ask_all, judge

    train, test = _labelled(place)
    net = network("effnet-lite0")
    said = ask_all(judge("eyes", net), Target("t", train), 0, {"knn": Machine("knn")})
    fit = fitted(
        ClassifierConfig(network="softmax", finetune="all", pretrained=False, epochs=2, batch_size=16),
        train,
        test,
    )
    own = network("domain", data=train, shown=400)
    arrays = [said["knn"].predictions, fit.logits(test), near_copies(test, train), features(test, own)]
    told = [str(said["knn"].card), str(fit.curves), str(own.card()), str(len(own.seen))]
    return hashlib.sha256(b"".join(a.tobytes() for a in arrays) + "".join(told).encode()).hexdigest()


def make(place: Path) -> None:
    "Runs, scores, store entries and reports."
    from gannb.cli import main
    from gannb.stages.gan import load_data, train_run
    from gannb.config import gan_config

    set_places(place)
    pictures(place / "pictures")
    for name in ("one", "two"):
        out = str(place / "outputs" / "runs" / name)
        command = ["train", str(place / "pictures"), *words("epochs=2", "seeds=0,1"), "--out", out]
        assert main([*command, "--show", "quiet"]) == 0
        assert main(["score", name, "--n", "16"]) == 0
    cfg = gan_config(dataset="digits", epochs=1, size=16, nz=8, ngf=8, ndf=8, limit=64, batch_size=16)
    train_run(cfg, load_data(cfg), 0, show="quiet")
    reference = ROOT / "outputs" / "reference"
    for source, target in (("fruits", "fruits/mine"), ("fruits", "reference/fruits")):
        for path in (reference / source).glob("*"):
            if path.is_file() and path.suffix in (".json", ".csv"):
                (place / "outputs" / target).mkdir(parents=True, exist_ok=True)
                shutil.copy(path, place / "outputs" / target / path.name)
    answers(place)


# ---- who reads it


def command(*line: str) -> Callable[[Path], str]:
    "A command of `gannb`; what came of it is its status."

    def run(place: Path) -> str:
        from gannb.cli import main

        status = main([word.replace("PLACE", str(place)) for word in line])
        return f"status {status}"

    return run


def hash_of(*paths: Path) -> str:
    return hashlib.sha256(b"".join(p.read_bytes() for p in paths if p.is_file())).hexdigest()


def drawn(place: Path) -> str:
    "A sheet and an animation; their bytes."
    shutil.rmtree(place / "drawn", ignore_errors=True)
    status = command("sample", "one", "--out", str(place / "drawn"))(place)
    status += command("sample", "one", "--gif", "--out", str(place / "drawn"))(place)
    status += command("sample", "one", "--epoch", "1", "--out", str(place / "drawn"))(place)
    return status + hash_of(*sorted((place / "drawn").glob("*")))


def compared(place: Path) -> str:
    shutil.rmtree(place / "compared", ignore_errors=True)
    line = ["compare", "one", "two", "--n", "16", "--metric", "loss_D", "--out", str(place / "compared")]
    return command(*line)(place) + hash_of(place / "compared" / "compare.json")


def compared_by_images(place: Path) -> str:
    "The numbers without their page."
    from gannb.commands.compare import compare

    found = json.dumps(compare("one", "two", n=16).record(), sort_keys=True)
    return hashlib.sha256(found.encode()).hexdigest()


def scored(place: Path) -> str:
    status = command("score", "one", "--n", "16")(place)
    return status + hash_of(*sorted((place / "outputs" / "runs" / "one").glob("seed-*/scores.json")))


def indexed(place: Path) -> str:
    from gannb.report.site import index_page

    index_page(place / "outputs")
    return ""


def looked(place: Path) -> str:
    "What the dashboard and the list of recent work see."
    from gannb.commands.recent import recent
    from gannb.commands.session import Session
    from gannb.stages.live import look, record

    session = Session("one")
    for seed in session.places():
        session.state(seed, look(seed))
        record(seed)
    recent()._repr_html_()
    return ""


def trained(epochs: int) -> Callable[[Path], str]:
    line = ["train", "PLACE/pictures", *words(f"epochs={epochs}", "seeds=0,1")]

    def run(place: Path) -> str:
        status = command(*line, "--out", "PLACE/outputs/runs/one", "--show", "quiet")(place)
        seeds = sorted((place / "outputs" / "runs" / "one").glob("seed-*"))
        last = [seed / "snapshots" / f"G-epoch-{epochs:04d}.safetensors" for seed in seeds]
        return status + hash_of(*last, *(seed / "history.csv" for seed in seeds))

    return run


READERS: dict[str, Callable[[Path], str]] = {
    "watch": command("watch", "one"),
    "look": looked,
    "sample": drawn,
    "compare": compared,
    "compare kid": compared_by_images,
    "score": scored,
    "answers": answers,
    "index": indexed,
    "ledger check": command("ledger", "check", "PLACE/outputs/fruits/mine"),
    "store du": command("store", "du"),
    "train again": trained(2),
    "train on": trained(3),
    "store gc": command("store", "gc", "--yes"),
}
SAME = {"sample", "compare", "compare kid", "score", "answers", "train again", "train on"}
FOR = {  # what the readers of a kind of file are; every reader for the others
    "outputs/fruits": ("index", "ledger check", "store du", "store gc"),
    "outputs/reference": ("index", "store du", "store gc"),
    "outputs/runs": (
        *("watch", "look", "sample", "compare", "compare kid", "score"),
        *("store du", "train again", "train on", "store gc"),
    ),
    "store/gan": ("store du", "store gc"),
    "store": ("score", "compare kid", "answers", "store du", "store gc"),
    "cache": ("score", "train again", "answers", "store gc"),
}


# ---- damages


def _flipped(data: bytes, draw: random.Random) -> bytes:
    b = bytearray(data or b"\0")
    for _ in range(draw.randint(1, 3)):
        b[draw.randrange(len(b))] ^= 1 << draw.randrange(8)
    return bytes(b)


def _edited(data: bytes, draw: random.Random) -> bytes:
    "Another value at one place of a JSON file, or none."
    whole = json.loads(data)
    places, todo = [], [whole]
    while todo:
        at = todo.pop()
        keys = list(at) if isinstance(at, dict) else range(len(at))
        places += [(at, k) for k in keys]
        todo += [at[k] for k in keys if isinstance(at[k], (dict, list))]
    if not places:
        return b"[[]]"
    at, key = draw.choice(places)
    if draw.random() < 0.2:
        del at[key]
    else:
        at[key] = draw.choice([None, -1, 0, 10**12, 1e308, 0.5, "x", "", [], {}, True, [1], {"a": 1}])
    return json.dumps(whole).encode()


def _huge(path: Path, data: bytes, draw: random.Random) -> bytes:
    "A header that asks for far more than there is."
    if path.suffix == ".npy":
        head = io.BytesIO()
        import numpy as np

        kind = draw.choice(["<f4", "|u1", "<i8"])
        shape = draw.choice([(10**11, 7), (2**62, 2**62), (10**9,)])
        about = {"descr": kind, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(head, about)
        return head.getvalue()
    if path.suffix == ".safetensors":
        length = draw.choice([2**60, len(data) * 2, len(data) - 8])
        return struct.pack("<Q", length) + data[8:]
    if path.suffix == ".png":
        return data[:16] + struct.pack(">II", *draw.choice([(60_000, 60_000), (20_000, 8_000)])) + data[24:]
    if path.suffix == ".json":
        return draw.choice(
            [b'{"epochs": ' + b"9" * 5000 + b"}", b"[" + b"0," * 500_000 + b"0]", b'{"a": NaN}']
        )
    return data + b"," * 2_000_000


DAMAGES: dict[str, Callable[[Path, bytes, random.Random], bytes]] = {
    "cut": lambda path, data, draw: data[: draw.randrange(max(1, len(data)))],
    "empty": lambda path, data, draw: b"",
    "flipped": lambda path, data, draw: _flipped(data, draw),
    "a list": lambda path, data, draw: b"[]",
    "nothing in it": lambda path, data, draw: b"{}",
    "text": lambda path, data, draw: b"hello",
    "a number": lambda path, data, draw: b"7",
    "brackets": lambda path, data, draw: b'{"a":' * 50_000 if draw.random() < 0.5 else b"[" * 100_000,
    "not UTF-8": lambda path, data, draw: b'{"a": "\xff\xfe"}' + data,
    "huge": _huge,
    "zeros": lambda path, data, draw: bytes(len(data)),
    "edited": lambda path, data, draw: (
        _edited(data, draw) if path.suffix == ".json" else _flipped(data, draw)
    ),
}


def harm(path: Path, place: Path, draw: random.Random) -> str:
    "Damage a file; what was done to it."
    if draw.random() < 0.08:
        path.unlink()
        path.mkdir()
        return "a folder in its place"
    if draw.random() < 0.08:
        others = [p for p in place.rglob(f"*{path.suffix}") if p != path and p.is_file()]
        other = draw.choice(sorted(others))
        shutil.copy(other, path)
        return f"a copy of {other.relative_to(place)}"
    kinds = [*DAMAGES, *["edited"] * 6] if path.suffix == ".json" else list(DAMAGES)
    kind, data = draw.choice(kinds), path.read_bytes()
    path.write_bytes(DAMAGES[kind](path, data, draw))
    return kind


def damageable(place: Path) -> list[list[Path]]:
    "The files that are damaged, kind by kind: each kind is hit as often as any other."
    every = [p for top in ("outputs", "store", "cache/images") for p in (place / top).rglob("*")]
    every = [p for p in every if p.is_file() and not p.name.startswith(".")]
    kinds: dict[str, list[Path]] = {}
    for p in sorted(every):
        parts = p.relative_to(place).parts
        name = re.sub(r"[0-9]+", "0", p.name)
        kinds.setdefault(f"{parts[0]}/{parts[1]}/{p.parent.name if 'checkpoints' in parts else ''}{name}", [])
        kinds[f"{parts[0]}/{parts[1]}/{p.parent.name if 'checkpoints' in parts else ''}{name}"].append(p)
    return list(kinds.values())


# ---- what comes of it


class Met:
    "What one reader did: words, status, time, what was thrown."

    def __init__(self, reader: str, place: Path):
        out = io.StringIO()
        begun, worked = time.perf_counter(), time.process_time()
        self.thrown, self.result = "", ""
        with warnings.catch_warnings(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            warnings.simplefilter("always")
            warnings.showwarning = lambda message, *a, **kw: print(message, file=out)
            self.run(reader, place)
        self.seconds = max(time.process_time() - worked, (time.perf_counter() - begun) * SLOW / WAITS)
        self.told = out.getvalue()

    def run(self, reader: str, place: Path) -> None:
        from gannb.base import GannbError

        try:
            self.result = READERS[reader](place)
        except GannbError as e:
            print(f"gannb: {e}")
            self.result = "status 2"
        except (Exception, SystemExit):
            self.thrown = traceback.format_exc()

    def harms(self, reader: str, path: Path, whole: str, usual: float) -> list[str]:  # usual: seconds
        "What it should not have done."
        found = []
        if self.thrown:
            found.append(f"traceback: {self.thrown.strip().splitlines()[-1]}")
        if self.seconds > usual + SLOW:
            found.append(f"slow: {self.seconds:.1f} s")
        near = {path.name, path.parent.name} if path.parent.name != "outputs" else {path.name}
        named = any(name in self.told for name in near)
        if "status 2" in self.result:
            last = self.told.strip().splitlines()[-1:] or ["nothing"]
            if not named:
                found.append(f"does not name the file: {last[0][:200]}")
            elif not REMEDY.search(self.told):
                found.append(f"names no remedy: {last[0][:200]}")
        elif reader in SAME and self.result != whole and not named and not self.thrown:
            found.append(f"believed: {self.result[:20]} instead of {whole[:20]}, and not a word")
        return found


def one(template: Path, place: Path, draw: random.Random, whole: dict[str, tuple], only: str) -> dict:
    "Damage one file and have it read."
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(template, place)
    set_places(place)
    kinds = [[p for p in kind if only in str(p)] for kind in damageable(place)]
    path = draw.choice(draw.choice([kind for kind in kinds if kind]))
    name = path.relative_to(place).as_posix()
    done = harm(path, place, draw)
    readers = next((names for top, names in FOR.items() if name.startswith(top)), tuple(READERS))
    found = {"file": name, "damage": done, "harms": [], "slowest": 0.0}
    for reader in readers:
        met = Met(reader, place)
        found["harms"] += [f"{reader}: {words}" for words in met.harms(reader, path, *whole[reader])]
        found["slowest"] = max(found["slowest"], met.seconds)
        if met.thrown:
            found["traceback"] = met.thrown
    return found


def peak_mb() -> int:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="the number of the first damage")
    parser.add_argument("--only", default="", help="only files with this in their path")
    parser.add_argument("--tracebacks", action="store_true", help="print them whole")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    box, begun = Path(tempfile.mkdtemp(prefix="gannb-storm-")), time.perf_counter()
    place, whole, kinds = box / "place", {}, Counter()
    with contextlib.redirect_stdout(sys.stderr):
        make(place)  # at the place where it is damaged: absolute paths stay true
    shutil.copytree(place, box / "template")
    for reader in READERS:
        met = Met(reader, place)
        assert not met.thrown and "status 2" not in met.result, (reader, met.told, met.thrown)
        whole[reader] = met.result, met.seconds
        shutil.rmtree(place)
        shutil.copytree(box / "template", place)
        os.chdir(place)
    before = peak_mb()  # torch, a judging network and the plots alone take most of it
    harmed, slowest = 0, 0.0
    for number in range(args.first, args.first + args.files):
        found = one(box / "template", place, random.Random(f"{args.seed} {number}"), whole, args.only)
        slowest = max(slowest, found["slowest"])
        kinds.update(words.split(": ")[1].split(" ")[0] for words in found["harms"])
        harmed += bool(found["harms"])
        for words_ in found["harms"]:
            print(f"{number}: {found['file']} ({found['damage']}): {words_}", flush=True)
        if args.tracebacks and "traceback" in found:
            print(found["traceback"], flush=True)
    os.chdir("/")
    shutil.rmtree(box, ignore_errors=True)
    total = {"files": args.files, "with harm": harmed, "harms": dict(kinds), "slowest_s": round(slowest, 1)}
    total |= {"peak_mb": peak_mb(), "of it without damage": before}
    print(json.dumps(total | {"seconds": round(time.perf_counter() - begun)}))
    return int(bool(harmed) or peak_mb() - before > MORE_MB)


if __name__ == "__main__":
    sys.exit(main())
