"""Kill trainings that run side by side (`jobs` 2), again and again, and look whether anything is lost.

    python tests/storm/side_by_side.py                  the self-test, then 1,000 kills (hours)
    python tests/storm/side_by_side.py --random 40      fewer (minutes)
    python tests/storm/side_by_side.py --self-test      only this: are planted faults seen?

Four trainings run as `gannb reproduce` and `gannb augment` run theirs: two worker processes and one that
schedules. SIGKILL strikes the scheduler, one worker, or all, as drawn; the command is started again and
struck again, until it ends by itself. Moments are drawn over the whole life, decoding and the last record
included; some are drawn just after a certain file appeared. Each training must then hold the same bytes as
one that was left alone, and nothing may be left behind. A line of counts after every life; exit status 1:
something was lost. `--seed N` draws other moments, `--keep FOLDER` keeps what was lost."""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import side_by_side  # itself, under the name by which workers find `faulty_run`
from storm import bytes_of, leftovers

LONGEST = 180.0  # seconds; a life that does not end by itself in so long hangs
TARGETS = ("scheduler", "one worker", "all")
AIMS = (  # a file that appears: decoding, a checkpoint, the last record
    "cache/images/.*.tmp",
    "cache/images/*/meta.json",
    "store/gan/*/checkpoints/.*.tmp",
    "store/gan/*/history.npy",
    "store/gan/*/history.csv",
    "store/gan/*/done.json",
)
SETTINGS = {"size": 16, "nz": 8, "ndf": 8, "threads": 1, "limit": 64, "batch_size": 16, "device": "cpu"}


# ---- what is struck: runs in processes of its own


def life(place: str, epochs: int) -> None:
    "Train two kinds of GANs with two seeds each, side by side."
    from gannb.config import gan_config
    from gannb.stages import arms
    from gannb.stages.gan import load_data

    if os.environ.get("STORM_FAULT"):
        arms.train_run = side_by_side.faulty_run
    wanted = {}
    for ngf in (8, 12):
        pictures = f"folder:{Path(place).parent / 'pictures'}"
        cfg = gan_config(dataset=pictures, split="all", ngf=ngf, epochs=epochs, **SETTINGS)
        arm = arms.Arm(f"width {ngf}", cfg, load_data(cfg, progress=False))
        wanted[arm.key] = arm
    arms.train_arms(wanted, [0, 1], show="quiet", jobs=2)


def scheduler(place: str, epochs: int) -> int:
    "A mistake in words is status 2, as of `gannb`."
    from gannb.base import GannbError
    from gannb.stages import grid

    if os.environ["STORM_FORKS"]:
        grid.subprocess = Forking
    try:
        life(place, epochs)
    except GannbError as e:
        print(e, file=sys.stderr, flush=True)
        return 2
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


class Forked:
    """Stands for `subprocess.Popen`: the command runs in a fork of this process, where torch is imported
    already. That saves most of the time of a short life; every fourth life does without."""

    def __init__(self, run: Callable[[], int], told: Path | None = None):
        (task, self_out), (self_in, answer) = os.pipe(), os.pipe()
        self.returncode, self.lock = None, threading.Lock()
        self.pid = os.fork()
        if not self.pid:
            self.live(run, task, answer, told)
        os.close(task)
        os.close(answer)
        self.stdin, self.stdout = os.fdopen(self_out, "wb"), os.fdopen(self_in, "rb")

    def live(self, run: Callable[[], int], task: int, answer: int, told: Path | None) -> None:
        "The fork: a session of its own, and nothing open but stdin, stdout, stderr."
        status = 1
        try:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.dup2(task, 0)
            os.dup2(answer, 1)
            if told is not None:
                os.dup2(os.open(told, os.O_WRONLY | os.O_APPEND | os.O_CREAT), 2)
            os.closerange(3, 4096)
            sys.stdin, sys.stdout, sys.stderr = (open(n, mode, closefd=False) for n, mode in enumerate("rww"))
            status = run()
        finally:
            os._exit(status)

    def poll(self) -> int | None:
        return self._ended(os.WNOHANG)

    def wait(self, timeout: float | None = None) -> int:
        end = None if timeout is None else time.monotonic() + timeout
        while end is not None and self.poll() is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired("a fork", timeout)
            time.sleep(0.01)
        return self._ended(0)

    def _ended(self, how: int) -> int | None:
        with self.lock:
            if self.returncode is None:
                pid, status = os.waitpid(self.pid, how)
                self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


def _work() -> int:
    from gannb.stages.grid import work

    work()
    return 0


class Forking:
    "Stands for the module `subprocess` in `gannb.stages.grid`."

    PIPE = subprocess.PIPE

    @staticmethod
    def Popen(command, **kw):
        return Forked(_work)


# ---- faults that the storm must see; planted from here only


def faulty_run(*args, **kw):
    "`train_run` with the fault that the environment names."
    from gannb.stages import gan

    FAULTS[os.environ["STORM_FAULT"]]()
    return gan.train_run(*args, **kw)


def _plain_writes() -> None:
    "Files are written in place, in two halves; those that nobody writes anew take their time."
    from gannb import store

    def write(path, content):
        path, data = Path(path), content.encode() if isinstance(content, str) else bytes(content)
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as f:
            f.write(data[: len(data) // 2])
            f.flush()
            time.sleep(0.5 if path.name in ("run.json", "done.json") else 0.005)
            f.write(data[len(data) // 2 :])
        return path

    store.atomic_write = write


def _done_too_early() -> None:
    "`done.json` is written before the record is whole."
    from gannb import store
    from gannb.stages import gan

    whole = gan._finish_record

    def finish(folder, epochs, rows):
        whole(folder, epochs, rows)
        (folder / "history.csv").unlink()
        time.sleep(1)
        gan._write_history(folder, rows)

    gan._finish_record, _ = finish, store


def _forgotten_moments() -> None:
    "A training that goes on does so without what Adam remembers."
    from gannb.stages import gan
    from gannb.train import load_net

    def load_state(tensors, G, D, *opts):
        load_net(G, tensors, "G")
        load_net(D, tensors, "D")

    gan.load_state = load_state


FAULTS = {"plain writes": _plain_writes, "done too early": _done_too_early, "no Adam": _forgotten_moments}


# ---- who strikes


def start(place: Path, epochs: int, fault: str = "", forks: bool = True) -> Forked:
    "Start the four trainings in a place of their own."
    place.mkdir(parents=True, exist_ok=True)

    def run() -> int:
        os.environ |= {f"GANNB_{n}": str(place / n.lower()) for n in ("OUTPUTS", "STORE", "CACHE")}
        os.environ |= {"STORM_FAULT": fault, "STORM_FORKS": "1" if forks else ""}
        return side_by_side.scheduler(str(place), epochs)

    return Forked(run, place / "told.txt")


def ended(processes: list[psutil.Process]) -> list[psutil.Process]:
    "Those that live no more."
    return [p for p in processes if not p.is_running() or p.status() == psutil.STATUS_ZOMBIE]


class Strikes:
    "Kills one life after another in one place, until one ends by itself."

    def __init__(self, place: Path, epochs: int, seconds: float, draw: random.Random, fault: str = ""):
        self.place, self.epochs, self.seconds, self.draw, self.fault = place, epochs, seconds, draw, fault
        self.kills: Counter = Counter()
        self.lives = 0
        self.workers: list[psutil.Process] = []

    def start(self) -> tuple[Forked, float]:
        "Another life, and when it began."
        process = start(self.place, self.epochs, self.fault, self.draw.random() < 0.75)
        self.lives += 1
        self.workers.append(psutil.Process(process.pid))
        return process, time.monotonic()

    def look(self, process: Forked) -> None:
        "Remember the workers: who has lost its scheduler is nobody's child any more."
        try:
            found = psutil.Process(process.pid).children(recursive=True)
        except psutil.Error:
            return
        self.workers += [p for p in found if p not in self.workers]

    def alive(self) -> list[psutil.Process]:
        gone = ended(self.workers)
        self.workers = [p for p in self.workers if p not in gone]
        return self.workers

    def wait(self, process: Forked) -> bool:
        "Until the drawn moment. False: the life has ended by itself."
        begun, aim = time.monotonic(), self.draw.choice(AIMS) if self.draw.random() < 0.3 else ""
        last = self.draw.uniform(0.2, self.seconds)
        there = set(self.place.glob(aim)) if aim else set()
        while process.poll() is None and time.monotonic() - begun < last:
            time.sleep(0.003 if aim else 0.02)
            if aim and set(self.place.glob(aim)) - there:
                time.sleep(self.draw.choice((0, 0, 0.002, 0.01, 0.05)))
                break
        self.look(process)
        return process.poll() is None

    def strike(self, process: Forked) -> None:
        "SIGKILL for whom is drawn."
        target = self.draw.choice(TARGETS)
        mine = [p for p in self.alive() if p.pid != process.pid]
        target = "scheduler" if target == "one worker" and not mine else target
        struck = [self.draw.choice(mine)] if target == "one worker" else []
        if target == "all":
            struck = [*mine]
        if target != "one worker":
            process.kill()
        for p in struck:
            try:
                p.kill()
            except psutil.Error:
                continue
        self.kills[target] += 1
        if target != "one worker":
            process.wait()

    def until_it_ends(self, most: int) -> str:
        "Strike, start again, strike again, at most so often. What went wrong, or nothing."
        try:
            return self._until_it_ends(most)
        finally:  # nobody stays behind when the storm itself is stopped
            for p in self.alive():
                p.kill()

    def _until_it_ends(self, most: int) -> str:
        process, begun = self.start()
        while True:
            if self.kills.total() < most and self.wait(process):
                self.strike(process)
                if process.poll() is None:
                    continue  # a worker was struck: the same life goes on
            elif self.kills.total() >= most:
                try:
                    process.wait(max(0.0, LONGEST - (time.monotonic() - begun)))
                except subprocess.TimeoutExpired:
                    self.end(process)
                    return f"it did not end in {LONGEST:.0f} s"
            if process.returncode == 0:
                return self.end(process)
            if process.returncode != -signal.SIGKILL and not self.is_told(process.returncode):
                self.end(process)
                return f"exit status {process.returncode}: {self.told()[-300:]}"
            process, begun = self.start()

    def told(self) -> str:
        return (self.place / "told.txt").read_text(errors="replace").strip()

    def is_told(self, status: int) -> bool:
        "Did it end in words because a worker was struck twice? Then it is started again."
        return status == 2 and "its process was" in self.told()

    def end(self, process: Forked) -> str:
        "Nobody may be left; what was wrong with that, or nothing."
        if process.poll() is None:
            process.kill()
            process.wait()
        self.look(process)
        _, left = psutil.wait_procs(self.alive(), timeout=40)
        for p in left:
            p.kill()
        if "Traceback" in self.told():
            return f"a traceback: {self.told()[-300:]}"
        return f"{len(left)} worker(s) did not end" if left else ""


# ---- what must be there afterwards


def found_in(place: Path) -> dict[str, str]:
    """What the trainings and the decoded images hold: file -> hash. A worker that was left alone saved in the
    middle of an epoch, so of the checkpoints only the last ones count."""
    files = bytes_of(place / "store" / "gan", "*") | bytes_of(place / "cache" / "images", "*", ("*",))
    steps = sorted({name.split("/")[2] for name in files if "/checkpoints/" in name})
    return {k: v for k, v in files.items() if "/checkpoints/" not in k or k.split("/")[2] == steps[-1]}


def left_in(place: Path) -> list[str]:
    "What nobody cleared, and trainings that do not look done."
    from gannb import store
    from gannb.stages.live import look

    found = leftovers(place) + [str(p) for p in place.rglob("live")]
    found += [str(p) for p in (place / "store").rglob(".lock.json")]  # that of a decoding is written anew
    for run in (place / "store" / "gan").iterdir():
        if look(run).state != "done":
            found.append(f"{run}: {look(run).state}")
        for checkpoint in store.list_checkpoints(run / "checkpoints"):
            store.verify_folder(checkpoint)
    return found


def loss(place: Path, whole: dict[str, str]) -> str:
    "What is not as in trainings that were left alone; nothing where all is the same."
    found = found_in(place)
    differ = sorted(k for k in whole.keys() | found.keys() if whole.get(k) != found.get(k))
    if differ:
        return f"not the same: {', '.join(differ[:4])}"
    left = left_in(place)
    return f"left behind: {left[0]}" if left else ""


def pictures(folder: Path, n: int = 300, side: int = 96) -> None:
    "Small pictures that take some tenths of a second to decode."
    import numpy as np
    from PIL import Image

    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(n):
        small = Image.fromarray(rng.integers(0, 256, (5, 5, 3), np.uint8))
        small.resize((side, side), Image.Resampling.BICUBIC).save(folder / f"{i:03d}.png")


def undisturbed(box: Path, epochs: int) -> tuple[dict[str, str], float]:
    "The bytes of trainings that nobody strikes, and the seconds that they take."
    shutil.rmtree(box / "whole", ignore_errors=True)
    begun, process = time.monotonic(), start(box / "whole", epochs)
    assert process.wait() == 0, (box / "whole" / "told.txt").read_text()
    seconds, files = time.monotonic() - begun, found_in(box / "whole")
    assert sum(name.endswith("done.json") for name in files) == 4 and not left_in(box / "whole")
    return files, seconds


def self_test(box: Path, draw: random.Random, epochs: int = 8) -> int:
    "Plant each fault and strike until it is seen; how many were not."
    (whole, seconds), unseen = undisturbed(box, epochs), 0
    for fault in FAULTS:
        kills, wrong = 0, ""
        while kills < 30 and not wrong:
            shutil.rmtree(box / "struck", ignore_errors=True)
            strikes = Strikes(box / "struck", epochs, seconds, draw, fault)
            wrong = strikes.until_it_ends(6) or loss(box / "struck", whole)
            kills += strikes.kills.total()
        seen = f"seen after {kills} kills ({wrong[:90]})" if wrong else f"NOT seen in {kills} kills"
        print(f"planted fault {fault!r}: {seen}", flush=True)
        unseen += not wrong
    return unseen


def storm(box: Path, args: argparse.Namespace) -> int:
    "Strike so often as was asked; how many losses there were."
    whole, seconds = undisturbed(box, args.epochs)
    print(f"{seconds:.1f} s for four trainings, {len(whole)} files compared", flush=True)
    draw, kills, lives, losses = random.Random(args.seed), Counter(), 0, 0
    begun = time.monotonic()
    while kills.total() < args.random:
        place = box / "struck"
        shutil.rmtree(place, ignore_errors=True)
        strikes = Strikes(place, args.epochs, seconds, draw)
        wrong = strikes.until_it_ends(12) or loss(place, whole)
        kills += strikes.kills
        lives += 1
        if wrong:
            losses += 1
            print(f"life {lives}: {wrong}", flush=True)
            if args.keep:
                shutil.copytree(place, args.keep / f"life-{args.seed}-{lives}", dirs_exist_ok=True)
        who = ", ".join(f"{target} {kills[target]}" for target in TARGETS)
        rate = kills.total() / (time.monotonic() - begun) * 60
        print(
            f"{kills.total()} kills ({who}), {lives} times four trainings, {losses} losses, "
            f"{rate:.1f} kills a minute",
            flush=True,
        )
    return losses


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--random", type=int, default=1000, help="kills at random moments (1000)")
    parser.add_argument("--self-test", action="store_true", help="only look whether planted faults are seen")
    parser.add_argument("--no-self-test", action="store_true", help="leave it out")
    parser.add_argument("--epochs", type=int, default=24, help="of each training (24)")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments")
    parser.add_argument("--keep", type=Path, help="where places with a loss are copied to")
    args = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    import gannb.stages.arms  # noqa: F401  each life is a fork of this process; no tensor is touched here

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that nobody stays behind
    box = Path(tempfile.mkdtemp(prefix="gannb-storm-"))
    try:
        pictures(box / "pictures")
        unseen = losses = 0
        if not args.no_self_test:
            unseen = self_test(box, random.Random(f"self-test {args.seed}"))
        if not args.self_test:
            losses = storm(box, args)
    finally:
        shutil.rmtree(box, ignore_errors=True)
    return int(bool(unseen or losses))


if __name__ == "__main__":
    sys.exit(main())
