"""The grid over every kind of executor: own workers, a pool of the standard library, a Dask scheduler; and
two commands on one store."""

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from executor_work import held_at_first, refuse
from test_grid import STUDY, arms, end_group, holders, posix, quiet, steps_saved, weights

from gannb import store
from gannb.base import GannbError
from gannb.cli import _requests, parser
from gannb.config import CHANGES_NO_RESULT, resolve_threads
from gannb.data import ImageSet
from gannb.stages import cluster as cluster_room
from gannb.stages import grid as grid_room
from gannb.stages.arms import Arm, train_arms
from gannb.stages.cluster import Home, Remote, do, executors, mark_of, reach
from gannb.stages.gan import Interrupted
from gannb.stages.grid import Grid, Task, pack, run_grid
from gannb.studies.registry import report_config
from gannb.studies.study import Study

EPOCHS, STEPS = 16, 128  # of 64 images in batches of 8


@pytest.fixture(autouse=True)
def own_places(tmp_path, monkeypatch):
    for name in ("OUTPUTS", "STORE", "CACHE"):
        monkeypatch.setenv(f"GANNB_{name}", str(tmp_path / name.lower()))
    monkeypatch.setattr(grid_room, "HELD_SECONDS", 0.2)


@pytest.fixture(scope="module")
def dask():
    "A scheduler with two worker processes; their environment names other places than the tests'."
    from distributed import LocalCluster

    how = {"processes": True, "dashboard_address": ":0", "silence_logs": 60}
    with LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", **how) as made:
        yield made.scheduler_address.replace("tcp://", "dask://")


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    "The bytes of three arms, each trained in one go in this process."
    with pytest.MonkeyPatch.context() as patch:
        for name in ("STORE", "CACHE"):
            patch.setenv(f"GANNB_{name}", str(tmp_path_factory.mktemp("straight")))
        train_arms(arms(EPOCHS, n=3, images=64), [0], quiet, "quiet", 1)
        return weights(store.store_dir())


@pytest.fixture
def nobody():
    "An address where nobody listens."
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return f"dask://127.0.0.1:{s.getsockname()[1]}"


def parts(folder: Path) -> list[tuple[int, int]]:
    "The steps that were trained in one go, first and last, of a training that ended."
    found = [(p["from_step"], p["to_step"]) for p in store.read_json(folder / "timing.json")["parts"]]
    return [(first, last) for first, last in found if last > first]


@contextmanager
def pool_of(kind: str, request):
    "`pool` and `jobs` of a Grid for a kind of executor."
    if kind == "one by one":
        yield None, 1
    elif kind == "own workers":
        yield None, 2
    elif kind == "process pool":
        spawn, home = multiprocessing.get_context("spawn"), Home.here()
        yield lambda: Remote(ProcessPoolExecutor(1, spawn), home), 2
    else:
        with executors(request.getfixturevalue("dask"), quiet) as found:
            yield found


@pytest.mark.parametrize("kind", ["one by one", "own workers", "process pool", "dask"])
def test_failing_and_held_cells_stop_nobody(kind, tmp_path, request):
    "One that fails is named with its reason; one that another process holds comes last, and is said once."
    tasks = [
        Task("held", held_at_first, (str(tmp_path / "tries"),)),
        Task("bad", refuse, ("no such thing",)),
        Task("good", pow, (2, 5)),
        Task("wrong", np.load, ("no-file.npy",)),
    ]
    said, found = [], []
    with pool_of(kind, request) as (pool, jobs), pytest.raises(GannbError) as e:
        for task, result in run_grid(tasks, jobs, said.append, pool):
            found.append((task.title, result))
    assert found == [("good", 32), ("held", "xxx")]
    lines = str(e.value).splitlines()
    assert lines[0].startswith("2 of 4 failed") and len(lines) == 4
    assert "- bad: KeyError: 'no such thing'" in lines and any(
        line.startswith("- wrong: FileNotFoundError") for line in lines
    )
    waiting = [line for line in said if line.startswith("held: ")]
    assert len(waiting) == 1 and "process 1 on some machine is at work on it" in waiting[0]


def test_a_slot_does_not_wait_for_others(tmp_path):
    "One slot, and the first task held: the others are done before it is tried again."
    held = Task("held", held_at_first, (str(tmp_path / "tries"),))
    tasks = [held, *(Task(str(i), pow, (i, 2)) for i in range(3))]
    done = [t.title for t, _ in run_grid(tasks, 1, quiet, lambda: ThreadPoolExecutor(1))]
    assert done == ["0", "1", "2", "held"]


def test_a_grid_that_only_waits_can_be_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(grid_room, "HELD_SECONDS", 30.0)
    (tmp_path / "tries").write_text("")
    task = Task("held", held_at_first, (str(tmp_path / "tries"),))
    begun = time.monotonic()
    with pytest.raises(Interrupted, match="1 of 1 were not begun"):
        with Grid([task], 1, quiet, lambda: ThreadPoolExecutor(1)) as grid:
            threading.Timer(0.5, grid.slots.stop).start()
            list(grid)
    assert time.monotonic() - begun < 15


# ---- a Dask scheduler


def kill_one_in_the_middle(killed: dict) -> None:
    "SIGKILL the first process that has left a checkpoint and still trains."
    while not killed:
        at_work = {folder: pid for pid, folder in holders().items()}
        saved = {folder: steps for folder, steps in steps_saved().items() if folder in at_work}
        for folder, steps in list(saved.items())[:1]:
            pid = at_work[folder]
            os.kill(pid, signal.SIGSTOP)  # so that it is still there when it is looked at again
            if holders().get(pid) == folder and steps < STEPS:
                killed[folder] = steps
            os.kill(pid, signal.SIGKILL if killed else signal.SIGCONT)
        time.sleep(0.02)


@posix
def test_a_worker_killed_in_the_middle_loses_nothing(dask, straight):
    killed, said = {}, []
    killer = threading.Thread(target=kill_one_in_the_middle, args=(killed,), daemon=True)
    killer.start()
    runs = train_arms(arms(EPOCHS, n=3, images=64), [0], said.append, "quiet", executor=dask)
    killer.join(1)
    assert len(killed) == 1 and said[1].startswith(f"2 worker threads at {dask}"), said
    assert weights(store.store_dir()) == straight and len(straight) >= 6
    for run in (r for row in runs.values() for r in row):
        assert run.folder.is_relative_to(store.store_dir()) and not run.reused
        *before, trained = parts(run.folder)  # a killed process leaves its part up to a checkpoint
        assert trained[1] == STEPS and trained[0] >= killed.get(run.folder, 0)
        assert (trained[0] > 0) == (run.folder in killed)
        assert all(part[1] <= trained[0] for part in before) and (not before or run.folder in killed)
        assert len(store.read_json(run.folder / "provenance.json")) == 1
    again = train_arms(arms(EPOCHS, n=3, images=64), [0], quiet, "quiet", executor="dask://127.0.0.1:1")
    assert all(r.reused for row in again.values() for r in row), "nothing to do: nobody is asked"


def test_a_training_that_fails_on_a_worker_is_named(dask, monkeypatch):
    given = arms()
    given["arm 1"] = Arm(
        "the small arm", given["arm 1"].config, ImageSet("four", np.zeros((4, 16, 16, 3), "u1"))
    )
    monkeypatch.setattr("gannb.stages.arms.estimate", lambda cfg, data: (0.01, 1000))
    with pytest.raises(GannbError, match="(?s)1 of 2 failed.*the small arm seed 0: batch_size=8 is larger"):
        train_arms(given, [0], quiet, "quiet", executor=dask)
    assert len(list(store.store_dir().glob("gan/*/done.json"))) == 1, "the other arm is whole"


def test_threads_and_device_are_settled_where_the_command_is_given(monkeypatch):
    "A worker has other cores; the key must not depend on who trains."
    from gannb.stages import arms as arms_room

    arm = arms(n=1)["arm 0"]
    cell = arms_room._Cell(("", "arm 0"), Arm("a", arm.config.having(threads=0), arm.data), 0)
    cfg, _, _, folder, *_ = cell.task("quiet", 2, 1.0).args
    assert cfg.threads == resolve_threads(0) and cfg.device in ("cpu", "cuda") and folder == cell.home()


def test_a_ctrl_c_lets_go_of_what_runs_elsewhere():
    "What has begun there is finished there; the command does not wait for it."
    began, go_on, done = threading.Event(), threading.Event(), []

    def long():
        began.set()
        go_on.wait(30)
        done.append(1)

    inner = ThreadPoolExecutor(1)
    inner.submit, send = (lambda run, home, frame: send(lambda: (True, long()))), inner.submit
    try:
        with pytest.raises(Interrupted, match="at work was long"):
            with Grid([Task("long", pow, (1, 1))], 1, quiet, lambda: Remote(inner, Home.here())) as grid:
                assert began.wait(10)
                grid.slots.stop()
                list(grid)
        assert not done
    finally:
        go_on.set()


# ---- places and addresses


def test_a_store_has_one_mark(tmp_path):
    first = store.make_folder(tmp_path / "a")
    assert mark_of(first) == mark_of(first) != mark_of(store.make_folder(tmp_path / "b"))
    assert [p.name for p in first.iterdir()] == [".shared"]


@pytest.mark.parametrize(
    "change, words",
    [
        ({"mark": "other"}, "does not see the store"),
        ({"folder": "nowhere"}, "does not see the store nowhere. GANNB_STORE and GANNB_CACHE must lie"),
        ({"code": "other"}, "runs other code of gannb"),
    ],
)
def test_a_worker_that_sees_another_place_trains_nothing(change, words):
    home = Home.here()
    good, error = do(Home(**vars(home) | change), pack((pow, (2, 2))))
    assert not good and words in str(error) and do(home, pack((pow, (2, 2)))) == (True, 4)


def test_images_that_are_not_seen():
    frame = pack((np.sum, (np.zeros((2**20, 2), np.uint8),)))
    for path in (store.cache_dir() / "grid").iterdir():
        path.unlink()
    good, error = do(Home.here(), frame)
    assert (
        not good
        and "cannot map the images" in str(error)
        and "GANNB_CACHE must lie on a folder" in str(error)
    )


WRONG = (
    "slurm",
    "dask",
    "dask://",
    "dask://host",
    "dask://host:x",
    "tcp://host:1",
    "dask://host:1/x",
    "Process",
)


@pytest.mark.parametrize("address", WRONG)
def test_wrong_addresses_are_refused_with_the_config(address):
    with pytest.raises(GannbError, match=r"executor=.*process is wanted.*dask://127.0.0.1:8786"):
        report_config("fruits", executor=address)


@pytest.mark.parametrize(
    "address", ["", "process", "dask://127.0.0.1:8786", "dask://node-1.lab:9", "dask://[::1]:9"]
)
def test_where_it_runs_changes_no_result(address):
    plain, there = (report_config("fruits", preset="desk", executor=a) for a in (None, address))
    assert there.config.executor == address and "executor" in CHANGES_NO_RESULT
    assert there.setting == "desk" and there.run_name == plain.run_name
    training = there.config.training(dataset="digits")
    assert training == plain.config.training(dataset="digits") and "executor" not in training.model_dump()


@pytest.mark.parametrize("given", ["process", "dask://127.0.0.1:8786"])
def test_executor_on_the_command_line(given):
    line = ["reproduce", "fruits", "--executor", given, "--set", f"executor={given}"]
    (request, parameters), *_ = _requests(parser().parse_args(line))
    assert request.config.executor == parameters["executor"] == given
    (request, parameters), *_ = _requests(parser().parse_args(["reproduce", "fruits"]))
    assert request.config.executor == "" and "executor" not in parameters
    with pytest.raises(GannbError, match="process is wanted"):
        _requests(parser().parse_args(["reproduce", "fruits", "--executor", "nonsense"]))


def test_nobody_at_the_address_is_said_before_any_work(nobody, monkeypatch):
    monkeypatch.setattr(cluster_room, "CONNECT_SECONDS", 1.0)
    rooms = SimpleNamespace(arms=lambda cfg: pytest.fail("data were loaded"))
    study = Study(report_config("fruits", executor=nobody), rooms, None, {})
    with pytest.raises(GannbError, match="No Dask scheduler answers at dask://.*`dask scheduler`"):
        study.run()
    reach("process"), reach("")


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)  # as if it were not there
    with pytest.raises(GannbError, match=r"pip install 'gannb\[cluster\]'"):
        reach("dask://127.0.0.1:8786")


def test_a_scheduler_without_workers():
    from distributed import LocalCluster

    how = {"processes": False, "dashboard_address": ":0", "silence_logs": 60, "protocol": "tcp://"}
    with LocalCluster(n_workers=0, host="127.0.0.1", **how) as made:
        address = made.scheduler_address.replace("tcp://", "dask://")
        with pytest.raises(GannbError, match=r"has no worker yet.*`dask worker 127.0.0.1:\d+ --nthreads 1`"):
            reach(address)


# ---- two commands on one store


@contextmanager
def other_command(n: int, epochs: int):
    "The same study in a process of its own, stopped when it has trained for a while at its first cell."
    code = STUDY.format(tests=str(Path(__file__).parent), epochs=epochs).replace("jobs=2", "jobs=1")
    code = code.replace("images=64", f"images=64, n={n}")
    p = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        while not (holders() and steps_saved()):
            assert p.poll() is None, p.communicate()
            time.sleep(0.02)
        p.send_signal(signal.SIGSTOP)
        yield p
    finally:
        end_group(p)


@posix
def test_two_commands_do_not_train_a_cell_twice(straight):
    said = []

    def say(line: str) -> None:
        said.append(line)
        if "at work on it" in line:
            other.send_signal(signal.SIGCONT)

    with other_command(2, EPOCHS) as other:
        runs = train_arms(arms(EPOCHS, images=64), [0], say, "quiet", 1)
        out, err = other.communicate(timeout=60)
        assert other.returncode == 0 and "ALL DONE" in out, err
    assert sum(f"process {other.pid} on " in line and "at work on it" in line for line in said) == 1, said
    assert [r.reused for row in runs.values() for r in row] == [True, False]
    assert any(line.startswith("arm 0 seed 0: 128 steps done by another process") for line in said)
    for run in (row[0] for row in runs.values()):
        assert parts(run.folder) == [(0, STEPS)]
    assert weights(store.store_dir()).items() <= straight.items()


@posix
def test_a_command_that_dies_is_taken_over(straight):
    said, saved = [], {}

    def say(line: str) -> None:
        said.append(line)
        if "at work on it" in line:
            saved.update(steps_saved())
            other.kill()

    with other_command(1, EPOCHS) as other:
        runs = train_arms(arms(EPOCHS, n=1, images=64), [0], say, "quiet", 1)
    (run,) = runs["arm 0"]
    *before, trained = parts(run.folder)
    assert sum("at work on it" in line for line in said) == 1 and not run.reused
    assert trained[1] == STEPS and trained[0] >= saved[run.folder] > 0
    assert all(part[1] <= trained[0] for part in before)
    assert weights(store.store_dir()).items() <= straight.items()
