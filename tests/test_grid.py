"""Trainings side by side: the same bytes, nothing lost when anything is killed, every failure named."""

import hashlib
import math
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from gannb import store
from gannb.base import GannbError
from gannb.config import gan_config
from gannb.data import ImageSet
from gannb.stages import grid as grid_room
from gannb.stages.arms import Arm, train_arms
from gannb.stages.grid import Grid, Task, Worker, run_grid

posix = pytest.mark.skipif(os.name != "posix", reason="sends signals")
IMAGES = np.random.default_rng(0).integers(0, 256, (2000, 16, 16, 3), dtype=np.uint8)  # more than MAPPED_FROM


@pytest.fixture(autouse=True)
def own_places(tmp_path, monkeypatch):
    for name in ("OUTPUTS", "STORE", "CACHE"):
        monkeypatch.setenv(f"GANNB_{name}", str(tmp_path / name.lower()))


def arms(epochs=2, n=2, images=32):
    "Tiny arms that differ in their learning rates."
    cfg = gan_config(dataset="digits", size=16, nz=4, ngf=4, ndf=4, batch_size=8, epochs=epochs, threads=1)
    data = ImageSet("noise", IMAGES).rows(np.arange(images))
    return {f"arm {i}": Arm(f"arm {i}", cfg.having(lr_G=1e-4 * (i + 1)), data) for i in range(n)}


def weights(folder: Path) -> dict[str, str]:
    "The last bytes of every finished training, by its key."
    kept = sorted(folder.glob("gan/*/snapshots/*.safetensors")) + sorted(folder.glob("gan/*/history.npy"))
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in kept}


def quiet(line: str) -> None:
    pass


# Work that a worker can import: this file's folder is on the path of the tests, and is handed on.


def add(a, b):
    return a + b


def what_came(data: ImageSet) -> tuple[str, str, str]:
    return type(data.images.base).__name__, data.fingerprint, str(data.take([1]).sum())


def die_once(marker: str) -> str:
    "Killed the first time, as by a system without memory."
    if not Path(marker).exists():
        Path(marker).write_text("was here")
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


def policy() -> str:
    return os.environ["OMP_WAIT_POLICY"]


def test_bytes_do_not_depend_on_jobs(tmp_path, monkeypatch):
    found = {}
    for jobs in (1, 2):
        monkeypatch.setenv("GANNB_STORE", str(tmp_path / f"s{jobs}"))
        runs = train_arms(arms(), [0, 1], quiet, "quiet", jobs)
        assert [[r.seed for r in row] for row in runs.values()] == [[0, 1], [0, 1]]
        found[jobs] = weights(tmp_path / f"s{jobs}")
    assert found[1] == found[2] and len(found[1]) >= 8


def test_what_is_said_and_when_a_run_is_handed_on():
    said, seen = [], []
    runs = train_arms(arms(), [0, 1], said.append, "quiet", 2, lambda key, run: seen.append((key, run.seed)))
    assert said[0].startswith("4 trainings: 0 are already in the store, 4 to do, about ")
    assert sum("8 steps done" in line for line in said) == 4 and "4 of 4 done" in said[-1]
    assert sorted(seen) == [("arm 0", 0), ("arm 0", 1), ("arm 1", 0), ("arm 1", 1)]
    said.clear(), seen.clear()
    again = train_arms(arms(), [0, 1], said.append, "quiet", 2, lambda key, run: seen.append((key, run.seed)))
    assert said == ["4 trainings: 4 are already in the store, 0 to do."] and len(seen) == 4
    assert all(r.reused for row in again.values() for r in row) and not any(r.reused for r in runs["arm 0"])


def test_two_arms_of_one_training_do_not_meet():
    one = arms(n=1)["arm 0"]
    longer = Arm("longer", one.config.having(epochs=3), one.data)
    runs = train_arms(
        {"a": one, "twin": Arm("twin", one.config, one.data), "longer": longer}, [0], quiet, "quiet", 3
    )
    assert runs["a"][0].sha256() == runs["twin"][0].sha256() and runs["longer"][0].epochs == 3


@pytest.mark.parametrize("jobs", [1, 2])
def test_one_that_fails_does_not_stop_the_others(jobs):
    found, said = {}, []
    tasks = [Task("good", add, (1, 2)), Task("bad one", math.factorial, (-1,)), Task("also", add, (3, 4))]
    with pytest.raises(GannbError, match="1 of 3 failed") as e:
        found = [found.setdefault(t.title, r) for t, r in run_grid(tasks, jobs, said.append)] or found
    assert "- bad one: ValueError: factorial" in str(e.value) and found == {"good": 3, "also": 7}
    assert any(line.startswith("bad one: FAILED") for line in said)


def test_what_cannot_be_sent_is_a_failure_with_a_name():
    with pytest.raises(GannbError, match="secret"):
        list(run_grid([Task("secret", lambda: 1), Task("good", add, (1, 2))], 2, quiet))


def test_a_failure_of_a_training_names_its_arm(monkeypatch):
    bad = arms()
    data = ImageSet("four", IMAGES[:4])
    bad["arm 1"] = Arm("the small arm", bad["arm 1"].config, data)
    monkeypatch.setattr("gannb.stages.arms.estimate", lambda cfg, data: (0.01, 1000))
    with pytest.raises(GannbError, match="the small arm seed 0: batch_size=8 is larger"):
        train_arms(bad, [0], quiet, "quiet", 2)
    assert len(weights(store.store_dir())) >= 2, "the other arm is whole"


@posix
def test_a_killed_worker_is_named_and_its_task_done_again(tmp_path):
    said = []
    tasks = [
        Task("victim", die_once, (str(tmp_path / "m"),)),
        *(Task(f"t{i}", add, (i, i)) for i in range(4)),
    ]
    found = {t.title: r for t, r in run_grid(tasks, 2, said.append)}
    assert found == {"victim": "done"} | {f"t{i}": 2 * i for i in range(4)}
    assert [line.split(":")[0] for line in said] == [
        "victim"
    ] and "killed, perhaps for want of memory" in said[0]


@posix
def test_a_worker_that_dies_while_it_is_idle():
    worker = Worker(quiet)
    assert worker.submit(add, 1, 2).result() == 3
    worker.kill()
    worker.process.wait()
    for _ in range(100):
        if worker.broken:
            break
        time.sleep(0.05)
    with pytest.raises(BrokenExecutor):
        worker.submit(add, 1, 2)


def test_images_are_mapped_in_a_worker(tmp_path):
    np.save(tmp_path / "images.npy", IMAGES)
    on_disk = ImageSet("disk", np.load(tmp_path / "images.npy", mmap_mode="r")[500:]).rows(
        np.arange(0, 1400, 3)
    )
    in_memory = ImageSet("memory", IMAGES.copy()).rows(np.arange(0, 1400, 3))
    tasks = [Task(s.name, what_came, (s,)) for s in (on_disk, in_memory)]
    assert all(len(grid_room.pack(t.args)) < 30_000 for t in tasks)
    found = {t.title: r for t, r in run_grid(tasks, 2, quiet)}
    for s in (on_disk, in_memory):
        assert found[s.name] == ("memmap", s.fingerprint, str(s.take([1]).sum()))
    assert len(list((tmp_path / "cache" / "grid").iterdir())) == 1, (
        "written once, and only what lay in memory"
    )


def test_small_or_changed_arrays_travel_as_they_are(tmp_path):
    assert type(pickle.loads(grid_room.pack(IMAGES[:3]))) is np.ndarray
    np.save(tmp_path / "a.npy", IMAGES)
    private = np.load(tmp_path / "a.npy", mmap_mode="c")
    private[0] = 7  # on no disk
    assert (pickle.loads(grid_room.pack(private))[0] == 7).all()


def test_threads_take_slots():
    "Never more threads at work than slots, whatever the sizes; all are done in the end."
    at_work, most, sizes = [0], [0], {}

    def look(title):
        at_work[0] += sizes[title]
        most[0] = max(most[0], at_work[0])
        time.sleep(0.01)
        at_work[0] -= sizes[title]

    tasks = [Task(str(i), look, (str(i),), threads=(1, 2, 3, 0)[i % 4]) for i in range(16)]
    sizes |= {t.title: min(t.threads or 3, 3) for t in tasks}
    assert len(list(run_grid(tasks, 3, quiet, lambda: ThreadPoolExecutor(1)))) == 16
    assert 1 < most[0] <= 3


def test_alone_means_in_this_process():
    for tasks, jobs in (([Task("a", os.getpid)], 4), ([Task("a", os.getpid, threads=2)] * 2, 3)):
        assert Grid(tasks, jobs).here
    assert not Grid([Task("a", os.getpid), Task("b", os.getpid)], 2).here


def test_waiting_threads_of_workers_sleep(monkeypatch):
    for chosen, expected in ((None, "PASSIVE"), ("ACTIVE", "ACTIVE")):
        monkeypatch.setenv("OMP_WAIT_POLICY", chosen) if chosen else monkeypatch.delenv(
            "OMP_WAIT_POLICY", False
        )
        tasks = [Task("a", policy), Task("b", policy)]
        assert {r for _, r in run_grid(tasks, 2, quiet)} == {expected}


STUDY = """
import sys
sys.path.insert(0, {tests!r})
import test_grid
from gannb.stages.arms import train_arms
if __name__ == "__main__":
    train_arms(test_grid.arms(epochs={epochs}, images=64), [0], show="lines", jobs=2)
    print("ALL DONE", flush=True)
"""


def study(epochs: int) -> subprocess.Popen:
    "A study of two arms in a process of its own, in its own group."
    return subprocess.Popen(
        [sys.executable, "-c", STUDY.format(tests=str(Path(__file__).parent), epochs=epochs)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background shell ignores it
    )


def both_at_work(p: subprocess.Popen) -> dict[int, Path]:
    "The processes that train, and where; as soon as each has written a checkpoint."
    while len(found := holders()) < 2 or len(steps_saved()) < 2:
        assert p.poll() is None, p.communicate()
        time.sleep(0.05)
    return found


def holders() -> dict[int, Path]:
    found = {}
    for path in store.store_dir().glob("gan/*/.lock.json"):
        try:
            found[store.read_json(path)["pid"]] = path.parent
        except GannbError:
            pass  # just gone
    return found


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    stat = Path(f"/proc/{pid}/stat")
    return stat.is_file() and stat.read_text().rpartition(")")[2].split()[0] == "Z"


def wait_until_gone(pids, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and not all(map(gone, pids)):
        time.sleep(0.05)
    assert all(map(gone, pids))


def end_group(p: subprocess.Popen, pids=()) -> None:
    for pid in (p.pid, *pids):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    p.communicate()


def steps_saved() -> dict[Path, int]:
    found = {}
    for c in store.store_dir().glob("gan/*/checkpoints/step-*"):
        found[c.parents[1]] = max(found.get(c.parents[1], 0), int(c.name.split("-")[1]))
    return found


@posix
def test_ctrl_c_saves_all_that_run():
    p = study(epochs=5000)
    pids = {}
    try:
        pids = both_at_work(p)
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=60)
        assert p.returncode and err.count("Stopping: all that run") == 1, err
        assert "Stopped: at work was arm " in err and "Run the same command again to go on" in err, err
        assert err.count("Stopping after this step") == 0 and "ALL DONE" not in out
        wait_until_gone(pids, 5)
        assert len(steps_saved()) == 2 and not list(store.store_dir().rglob("*.tmp"))
        parts = [store.read_json(f / "timing.json")["parts"][-1]["to_step"] for f in steps_saved()]
        assert sorted(parts) == sorted(steps_saved().values()), "the last step is the one that was saved"
    finally:
        end_group(p, pids)


@posix
def test_a_killed_study_leaves_no_worker_and_goes_on():
    p = study(epochs=24)
    pids = {}
    try:
        pids = both_at_work(p)
        p.kill()
        p.communicate()
        wait_until_gone(pids, 10)
    finally:
        end_group(p, pids)
    saved = steps_saved()
    assert len(saved) == 2
    said = []
    runs = train_arms(arms(epochs=24, images=64), [0], said.append, "quiet", 2)
    for run in (row[0] for row in runs.values()):
        parts = store.read_json(run.folder / "timing.json")["parts"]
        assert parts[-1]["to_step"] == 192 and parts[-1]["from_step"] >= saved[run.folder] > 0
        assert all(a["to_step"] == b["from_step"] for a, b in zip(parts, parts[1:])), "nothing trained twice"


@posix
def test_a_training_whose_worker_is_killed_goes_on():
    p = study(epochs=24)
    pids = {}
    try:
        pids = both_at_work(p)
        victim = next(iter(pids))
        os.kill(victim, signal.SIGKILL)
        out, err = p.communicate(timeout=60)
    finally:
        end_group(p, pids)
    assert p.returncode == 0 and "ALL DONE" in out, err
    assert out.count("its process was killed, perhaps for want of memory") == 1, out
    assert "goes on from step" in out, out
    assert len(list(store.store_dir().glob("gan/*/done.json"))) == 2


def task_that_imports(name):
    __import__(name)
    while True:
        pass


@posix
def test_a_worker_is_not_interrupted_inside_an_import(tmp_path, monkeypatch):
    words = "import signal\nsignal.raise_signal(signal.SIGINT)\nopen('whole', 'w').close()"
    (tmp_path / "struck_in_its_middle.py").write_text(words)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    frame = pickle.dumps((task_that_imports, ("struck_in_its_middle",)))
    old = signal.getsignal(signal.SIGINT)
    try:
        assert pickle.loads(grid_room._do(frame, threading.Event())) == ("stopped", "")
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN, "nothing interrupts what comes after a task"
    finally:
        signal.signal(signal.SIGINT, old)
    assert Path("whole").exists()
