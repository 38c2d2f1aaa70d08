"""`gannb probe RUN DATASET`: a table, a sentence, a picture; and what it refuses."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from gannb.cli import main
from gannb.commands import probe as room
from gannb.config import gan_config
from gannb.stages.gan import load_data, train_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    cfg = gan_config(dataset="digits", size=16, epochs=1, batch_size=32, ngf=8, ndf=8, nz=8, threads=1)
    place = tmp_path_factory.mktemp("run")
    for seed in (0, 1):
        train_run(cfg, load_data(cfg), seed, place / f"seed-{seed}", show="quiet")
    return place


def test_a_run_is_probed_from_the_command_line(folder, tmp_path, capsys):
    out = tmp_path / "a" / "p.png"
    assert main(["probe", str(folder), "digits", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    for arm in ("the commonest class", "raw pixels", "D before training", "D, layer 1", "D, layer 2"):
        assert arm in said
    assert "names" in said and "test images rightly" in said and str(out) in said
    assert Image.open(out).width > 600


def test_one_dot_a_training_and_cut(folder):
    found = room.probe_run(str(folder), "digits")
    assert found.trainings == 2 and found.known
    assert {len(v) for v in found.errors.values()} == {2 * room.CUTS}
    assert found.mean(room.GUESS) > 0.85 and found.mean(room.PIXELS) < 0.3
    assert len(found.images) < 400, "the test part: the GAN learnt from the other"
    assert next(iter(found.errors)) == room.GUESS


@pytest.mark.parametrize(
    "pixels, d, said", [(0.5, 0.3, "more than"), (0.3, 0.5, "less than"), (0.4, 0.4, "as much as")]
)
def test_the_sentence_says_which_way_it_went(folder, pixels, d, said):
    found = room.probe_run(str(folder), "digits", limit=200)
    wobble = np.array([0.0, 0.01, -0.01, 0.005, -0.005, 0.0])
    errors = found.errors | {room.PIXELS: pixels + wobble, room.ALL: d - wobble}
    assert f"knows {said} raw pixels" in room.sentence(replace(found, errors=errors))


def test_another_set_is_asked_whole(folder, tmp_path):
    rng = np.random.default_rng(0)
    for name, high in (("dark", 60), ("bright", 255)):
        (tmp_path / name).mkdir()
        for i in range(20):
            pixels = rng.integers(0, high, (20, 20), np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{i}.png")
    found = room.probe_run(str(folder), f"folder:{tmp_path}")
    assert len(found.images) == 40 and not found.known
    assert found.mean(room.PIXELS) == 0 and found.mean(room.GUESS) == 0.5


@pytest.mark.parametrize(
    "words, said",
    [
        (["nothing", "digits"], "no such run"),
        (["RUN", "nothing"], "nothing"),
        (["RUN", "digits", "--out", "a.jpg"], ".png"),
        (["RUN", "digits", "--limit", "0"], "limit"),
        (["RUN", "FLAT"], "two classes"),
    ],
)
def test_bad_requests_are_refused_in_words(folder, tmp_path, words, said, capsys):
    for i in range(4):
        Image.new("L", (16, 16), 60 * i).save(tmp_path / f"{i}.png")
    named = {"RUN": str(folder), "FLAT": f"folder:{tmp_path}"}
    assert main(["probe", *(named.get(word, word) for word in words)]) == 2
    assert said in capsys.readouterr().err


def test_a_conditional_d_is_refused(tmp_path, capsys):
    cfg = gan_config(
        dataset="digits", size=16, epochs=1, batch_size=32, ngf=8, ndf=8, nz=8, threads=1, model="cdcgan"
    )
    train_run(cfg, load_data(cfg), 0, tmp_path / "c", show="quiet")
    assert main(["probe", str(tmp_path / "c"), "digits"]) == 2
    assert "wants a label" in capsys.readouterr().err
