"""Kill a training at every file operation, at random moments, and look whether anything is lost.

    python tests/storm/storm.py                    every operation, then 1,000 random moments (hours)
    python tests/storm/storm.py --every 9 --random 20     a share of it (minutes)

Each killed training is started again. It must then hold the same bytes as one that ran through: weights,
record, samples, `done.json`; and no leftover. Exit status 1: something was lost. The last line counts."""

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# The child counts the operations that change files, and kills itself before the one that is asked for.
CHILD = """
import os, shutil, signal, sys
at, seen = int(os.environ["STORM_AT"]), 0

def struck(function):
    def before(*args, **kw):
        global seen
        seen += 1
        if seen == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kw)
    return before

import gannb.cli
for name in ("replace", "rename", "unlink", "rmdir", "fsync", "mkdir"):
    setattr(os, name, struck(getattr(os, name)))
status = gannb.cli.main(sys.argv[1:])
if os.environ.get("STORM_COUNT"):
    open(os.environ["STORM_COUNT"], "w").write(str(seen))
sys.exit(status)
"""
SETTINGS = "size=16 nz=8 ngf=8 ndf=8 threads=1 limit=64 batch_size=16 epochs=4".split()
COMPARED = ("done.json", "history.npy", "history.csv", "run.json")
COMPARED += ("samples/*", "snapshots/*", "checkpoints/*/*")


def train(place: Path, seeds: str, at: int = 0, count: Path | None = None) -> subprocess.Popen:
    "Start `gannb train` on digits in a place of its own."
    env = os.environ | {f"GANNB_{n}": str(place / n.lower()) for n in ("OUTPUTS", "STORE", "CACHE")}
    env |= {"STORM_AT": str(at), "STORM_COUNT": str(count or ""), "OMP_NUM_THREADS": "1"}
    words = [word for pair in (*SETTINGS, f"seeds={seeds}") for word in ("--set", pair)]
    command = [sys.executable, "-c", CHILD, "train", "digits", *words]
    command += ["--out", str(place / "run"), "--show", "quiet"]
    return subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def bytes_of(
    run: Path, folders: str = "seed-*", patterns: tuple[str, ...] = COMPARED
) -> dict[str, str]:  # file -> hash
    "What a finished run must hold."
    found = sorted(p for seed in run.glob(folders) for pattern in patterns for p in seed.glob(pattern))
    return {
        p.relative_to(run).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in found
        if p.is_file()
    }


def leftovers(place: Path) -> list[str]:
    "What a killed process left and nobody cleared."
    half = [p for p in place.rglob("checkpoints/step-*") if not (p / "manifest.json").is_file()]
    return [str(p) for p in (*place.rglob(".*.tmp"), *half)]


def restarted(place: Path, seeds: str) -> str:
    "Start again after a kill, to the end; what went wrong, or nothing."
    process = train(place, seeds)
    told = process.communicate(timeout=300)[1]
    if process.returncode:
        return f"exit status {process.returncode}: {told.strip().splitlines()[-1:]}"
    return "a traceback" if "Traceback" in told else ""


def fault(place: Path, seeds: str, whole: dict[str, str]) -> str:
    "What is wrong with a training that was killed and started again; nothing where it is whole."
    if wrong := restarted(place, seeds):
        return wrong
    found = bytes_of(place / "run")
    differ = sorted(k for k in whole.keys() | found.keys() if whole.get(k) != found.get(k))
    if differ:
        return f"not the same: {', '.join(differ[:4])}"
    left = leftovers(place)
    return f"left behind: {left[0]}" if left else ""


def killed_at_operation(place: Path, seeds: str, at: int) -> bool:
    process = train(place, seeds, at)
    process.communicate(timeout=300)
    return process.returncode == -signal.SIGKILL


def killed_at_moment(place: Path, seeds: str, seconds: float) -> bool:
    process = train(place, seeds)
    time.sleep(seconds)
    process.kill()
    process.communicate(timeout=300)
    return process.returncode == -signal.SIGKILL


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=int, default=1, help="kill before each N-th file operation (1: all)")
    parser.add_argument("--random", type=int, default=1000, help="kills at random moments (1000)")
    parser.add_argument("--seeds", default="0,1", help="trainings of a run, one after the other")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments")
    args = parser.parse_args()
    box = Path(tempfile.mkdtemp(prefix="gannb-storm-"))
    begun = time.monotonic()
    process = train(box / "whole", args.seeds, count=box / "count")
    assert process.wait() == 0, process.stderr.read()
    seconds, operations = time.monotonic() - begun, int((box / "count").read_text())
    whole = bytes_of(box / "whole" / "run")
    draw = random.Random(args.seed)
    moments = [("moment", draw.uniform(0.3, seconds)) for _ in range(args.random)]
    points = [("operation", at) for at in range(1, operations + 1, args.every)]
    print(f"{operations} file operations, {seconds:.1f} s a run, {len(whole)} files compared", flush=True)
    killed = lost = 0
    for kind, at in (*points, *moments):
        place = box / "struck"
        shutil.rmtree(place, ignore_errors=True)
        strike = killed_at_operation if kind == "operation" else killed_at_moment
        killed += strike(place, args.seeds, at)
        if wrong := fault(place, args.seeds, whole):
            lost += 1
            print(f"{kind} {at}: {wrong}", flush=True)
    shutil.rmtree(box, ignore_errors=True)
    print(f"{len(points)} of {operations} operations, {len(moments)} moments: {killed} kills, {lost} losses")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
