"""Commands as people type them: numbers, paths, options; and what a training says when it is over."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gannb import config, store
from gannb.base import GannbError
from gannb.cli import main
from gannb.stages import gan

SMALL = "--size 16 --epochs 1 --ngf 4 --ndf 4 --nz 4 --batch-size 8".split()
SETTINGS = {"size": 16, "epochs": 1, "ngf": 4, "ndf": 4, "nz": 4, "batch_size": 8, "limit": 24}


@pytest.fixture(autouse=True)
def own_outputs(tmp_path, monkeypatch):
    monkeypatch.setenv("GANNB_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setenv("GANNB_STORE", str(tmp_path / "outputs" / "store"))
    monkeypatch.setenv("GANNB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def images(folder: Path, n: int = 12, first: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(first)
    for i in range(n):
        Image.fromarray(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(folder / f"im{first + i}.png")
    return folder


def said(capsys, *args: str, status: int = 0) -> str:
    "What a command says, errors too; its exit status is looked at."
    capsys.readouterr()
    got = main(list(args))
    out = capsys.readouterr()
    assert got == status, out
    assert "Traceback" not in out.err + out.out
    return out.out + out.err


def threads_of(run: Path) -> int:
    return json.loads((run / "seed-0" / "run.json").read_text())["fields"]["threads"]


def test_a_training_that_was_begun_keeps_its_threads(capsys, tmp_path, monkeypatch):
    "The number is part of the bytes: what is paid for goes on, whatever this process may use now."
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(config, "processors", lambda: 2)
    words = ["train", "digits", *(w for k, v in SETTINGS.items() for w in ("--set", f"{k}={v}"))]
    said(capsys, *words)
    (run,) = (tmp_path / "outputs" / "runs").iterdir()
    assert threads_of(run) == 2
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert "already done" in said(capsys, *words)
    said(capsys, *words, "--set", "seeds=0,1", "--out", str(run))
    assert json.loads((run / "seed-1" / "run.json").read_text())["fields"]["threads"] == 2
    assert len(list(run.parent.iterdir())) == 1, "no second run folder"
    assert json.loads((run / "config.json").read_text())["threads"] == 0, "as it was asked for"
    said(capsys, *words, "--out", str(tmp_path / "new"))
    assert threads_of(tmp_path / "new") == 1
    refused = said(capsys, *words, "--set", "threads=1", "--out", str(run), status=2)
    assert "threads: 2 -> 1" in refused


def test_a_stored_training_is_found_with_the_threads_it_was_begun_with(monkeypatch):
    from gannb.datasets.registry import load

    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(config, "processors", lambda: 3)
    data = load("digits", size=16, limit=24, progress=False)
    cfg = config.gan_config(dataset="digits", **SETTINGS)
    first = gan.train_run(cfg, data, 0, show="quiet")
    monkeypatch.setattr(config, "processors", lambda: 1)
    again = gan.train_run(cfg, data, 0, show="quiet")
    assert first.fields["threads"] == 3 and again.reused and again.folder == first.folder
    assert gan.settled(cfg, data, 1).threads == 1, "another seed was not begun"
    assert gan.settled(cfg.having(threads=2), data, 0).threads == 2, "what was given is taken"
