"""D's hidden maps as vectors: what is in them, what stays as it was, what is refused."""

import numpy as np
import pytest
import torch
from torch import nn

import gannb.extract as room
from gannb.base import GannbError, to_float
from gannb.extract import PROCEDURES, Extraction, extract, width
from gannb.models.dcgan import Discriminator, init_weights


@pytest.fixture(scope="module")
def D():
    net = init_weights(Discriminator(32, 3, 8), 0, "D")
    net(torch.randn(16, 3, 32, 32, generator=torch.Generator().manual_seed(1)))  # statistics of its own
    return net.eval()


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), np.uint8)


def hidden(D, images):
    x = torch.from_numpy(to_float(images)).permute(0, 3, 1, 2)
    with torch.no_grad():
        return D.hidden(x)


@pytest.mark.parametrize(
    "size, all_layers, last", [(64, 15_360, 8_192), (32, 7_168, 4_096), (28, 3_072, 6_272)]
)
def test_lengths_at_the_papers_width(size, all_layers, last):
    D = Discriminator(size, 3, 64)
    assert width(D, PROCEDURES["all layers"]) == width(D, PROCEDURES["authors"]) == all_layers
    assert width(D, PROCEDURES["last layer"]) == last


def test_the_numbers_are_those_of_the_maps(D, images):
    maps = hidden(D, images)
    found = extract(D, images, Extraction((1,)))
    fields = maps[1].reshape(20, 16, 4, 2, 4, 2)
    assert found == pytest.approx(fields.amax((3, 5)).flatten(1).numpy())
    assert extract(D, images, Extraction((1,), "avg")) == pytest.approx(
        fields.mean((3, 5)).flatten(1).numpy(), abs=1e-6
    )
    assert extract(D, images, Extraction((-1,), None)) == pytest.approx(maps[2].flatten(1).numpy())
    whole = extract(D, images, Extraction())
    assert whole.shape == (20, width(D, Extraction())) and whole.dtype == np.float32
    assert whole[:, -maps[2].shape[1] * 16 :] == pytest.approx(extract(D, images, Extraction((2,))))


def test_relu_is_in_every_layer(D, images):
    leaky, rectified = (extract(D, images, Extraction((-1,), None, relu=r)) for r in (False, True))
    assert leaky.min() < 0 and rectified.min() == 0
    assert not np.allclose(np.maximum(leaky, 0), rectified), "earlier layers have ReLU, too"


def test_batch_norm_takes_the_statistics_of_the_images(D, images):
    pale = images // 4 + 96  # little contrast
    stored, target = (extract(D, pale, Extraction(batch_norm=b)) for b in ("stored", "target"))
    assert target[:, -512:].std() > 2 * stored[:, -512:].std()
    again = extract(D, pale, Extraction(batch_norm="target"))
    assert (target == again).all()


@pytest.mark.parametrize(
    "how", [Extraction(), Extraction((-1,), None, relu=True), Extraction(batch_norm="target")]
)
def test_d_stays_as_it_is(D, images, how):
    D.train()
    before = {k: v.clone() for k, v in D.state_dict().items()}
    extract(D, images, how)
    with pytest.raises(GannbError):
        extract(D, images, Extraction((9,)))
    assert D.training and all((v == before[k]).all() for k, v in D.state_dict().items())
    assert sum(type(m) is nn.LeakyReLU for m in D.modules()) == 3
    D.eval()


def test_statistics_do_not_rest_on_the_order_of_the_images(D):
    "Sets come sorted by class: batches of one class each would see the classes alone, not their difference."
    rng = np.random.default_rng(0)
    dark, bright = (rng.integers(a, a + 40, (64, 32, 32, 3), np.uint8) for a in (0, 200))
    both, how = np.concatenate([dark, bright]), Extraction(batch_norm="target")
    at_once, sorted_ = extract(D, both, how, batch=128), extract(D, both, how, batch=32)
    turns = np.arange(128).reshape(2, 64).T.ravel()  # one dark, one bright, ...
    in_turn = extract(D, both[turns], how, batch=32)[turns.argsort()]
    spread = at_once.std()
    assert np.abs(sorted_ - at_once).mean() < 0.15 * spread
    assert np.abs(sorted_ - in_turn).mean() < 0.15 * spread


@pytest.mark.parametrize("how", PROCEDURES.values(), ids=list(PROCEDURES))
@pytest.mark.parametrize("kept", [True, False], ids=["file", "memory"])
def test_memory_is_bounded_by_the_batch(D, images, monkeypatch, tmp_path, how, kept):
    seen, look = [], nn.Conv2d.forward
    monkeypatch.setattr(nn.Conv2d, "forward", lambda self, x: seen.append(len(x)) or look(self, x))
    found = extract(D, images, how, tmp_path / "a" / "x.npy" if kept else None, batch=6)
    assert max(seen) == 6, "no layer of D, in no pass, may look at more images at a time"
    assert isinstance(found, np.memmap) is kept and found.dtype == np.float32
    assert found == pytest.approx(extract(D, images, how, batch=6), abs=1e-6)
    assert not kept or [p.name for p in (tmp_path / "a").iterdir()] == ["x.npy"]
    assert how.batch_norm == "target" or found == pytest.approx(extract(D, images, how), abs=1e-5)


def test_images_may_lie_in_a_file(D, images, tmp_path):
    np.save(tmp_path / "i.npy", images)
    mapped = np.load(tmp_path / "i.npy", mmap_mode="r")
    for how in PROCEDURES.values():
        assert (extract(D, mapped, how, batch=6) == extract(D, images, how, batch=6)).all()


@pytest.mark.parametrize("how", PROCEDURES.values(), ids=list(PROCEDURES))
def test_d_stays_as_it_is_where_the_work_breaks_off(D, images, monkeypatch, tmp_path, how):
    def broken(maps, how):
        if len(maps[0]) > 1:  # `width` may look at its one image
            raise MemoryError
        return look(maps, how)

    look = room._joined
    before = {k: v.clone() for k, v in D.train().state_dict().items()}
    monkeypatch.setattr(room, "_joined", broken)
    with pytest.raises(MemoryError):
        extract(D, images, how, tmp_path / "x.npy")
    assert D.training and all((v == before[k]).all() for k, v in D.state_dict().items())
    assert not list(tmp_path.iterdir())
    D.eval()


def test_a_file_that_was_there_stays_until_the_new_one_is_whole(D, images, monkeypatch, tmp_path):
    first = np.array(extract(D, images, Extraction(), tmp_path / "x.npy"))
    second = extract(D, 255 - images, Extraction(), tmp_path / "x.npy")
    assert not np.allclose(first, second) and (np.load(tmp_path / "x.npy") == second).all()
    monkeypatch.setattr(room.os, "replace", lambda a, b: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        extract(D, images, Extraction(), tmp_path / "x.npy")
    assert (np.load(tmp_path / "x.npy") == second).all() and len(list(tmp_path.iterdir())) == 1


def test_a_file_appears_whole_or_not_at_all(D, images, monkeypatch, tmp_path):
    def stopped(images, batch):
        yield torch.zeros(6, 3, 32, 32)
        raise KeyboardInterrupt

    monkeypatch.setattr(room, "_batches", stopped)
    with pytest.raises(KeyboardInterrupt):
        extract(D, images, Extraction(), tmp_path / "x.npy", batch=6)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda D, x: extract(D, x[:, :16, :16], Extraction()), "32, 32, 3"),
        (lambda D, x: extract(D, x[..., :1], Extraction()), "32, 32, 3"),
        (lambda D, x: extract(D, x[:0], Extraction()), "one or more"),
        (lambda D, x: extract(D, x.astype(np.float32), Extraction()), "uint8"),
        (lambda D, x: extract(D, x, Extraction((3,))), "0 to 2"),
        (lambda D, x: extract(D, x, Extraction((-4,))), "0 to 2"),
        (lambda D, x: width(D, Extraction((3,))), "0 to 2"),
        (lambda D, x: extract(D, x, Extraction(grid=5)), "4 x 4"),
        (lambda D, x: extract(D, x, Extraction(), batch=0), "batch"),
        (lambda D, x: extract(D, list(x), Extraction()), "uint8"),
        (lambda D, x: extract(nn.Conv2d(3, 1, 4), x, Extraction()), "model=dcgan"),
        (lambda D, x: Extraction((0.5,)), "whole numbers"),
        (lambda D, x: Extraction(()), "one layer or more"),
        (lambda D, x: Extraction(pool="median"), "pool"),
        (lambda D, x: Extraction(grid=0), "grid"),
        (lambda D, x: Extraction(batch_norm="none"), "batch_norm"),
    ],
)
def test_bad_inputs_are_refused_in_words(D, images, make, words):
    with pytest.raises(GannbError, match=words):
        make(D, images)
