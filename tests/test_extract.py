"""D's hidden maps as vectors: what is in them, what stays as it was, what is refused."""

import numpy as np
import pytest
import torch
from torch import nn

import gannb.extract as room
from gannb.base import GannbError, to_float
from gannb.extract import Extraction, extract, width
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


@pytest.mark.parametrize("size, all_layers, last", [(64, 15_360, 8_192), (32, 7_168, 4_096)])
def test_lengths_at_the_papers_width(size, all_layers, last):
    D = Discriminator(size, 3, 64)
    assert width(D, Extraction()) == all_layers and width(D, Extraction((-1,), None, relu=True)) == last


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


def test_memory_is_bounded_by_the_batch(D, images, monkeypatch, tmp_path):
    seen, join = [], room._joined
    monkeypatch.setattr(room, "_joined", lambda maps, how: seen.append(len(maps[0])) or join(maps, how))
    found = extract(D, images, Extraction(batch_norm="target"), tmp_path / "a" / "x.npy", batch=6)
    assert isinstance(found, np.memmap) and max(seen) == 6
    assert found == pytest.approx(extract(D, images, Extraction(batch_norm="target"), batch=6))
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["x.npy"]


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
        (lambda D, x: Extraction(()), "one layer or more"),
        (lambda D, x: Extraction(pool="median"), "pool"),
        (lambda D, x: Extraction(grid=0), "grid"),
        (lambda D, x: Extraction(batch_norm="none"), "batch_norm"),
    ],
)
def test_bad_inputs_are_refused_in_words(D, images, make, words):
    with pytest.raises(GannbError, match=words):
        make(D, images)
