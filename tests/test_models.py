"""Networks: shapes at every allowed size, parameter counts, and one real training step each."""

import pytest
import torch

from gannb.base import GannbError, SIZES, draw_z
from gannb.models.dcgan import Discriminator, Generator, count_parameters, init_weights, layer_table
from gannb.train import d_step, g_step, make_optimizers


def test_reference_parameter_counts():
    assert count_parameters(Generator(64, 3, 100, 64)) == 3_576_704
    assert count_parameters(Discriminator(64, 3, 64)) == 2_765_568


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_size_trains_one_step(size, channels):
    G, D = (
        init_weights(Generator(size, channels, nz=8, ngf=4), 0, "G"),
        init_weights(Discriminator(size, channels, ndf=4), 0, "D"),
    )
    opt_G, opt_D = make_optimizers(G, D)
    before = [p.clone() for p in (*G.parameters(), *D.parameters())]
    fake = G(draw_z(4, 8, 0))
    assert fake.shape == (4, channels, size, size) and fake.min() >= -1 and fake.max() <= 1
    loss, real, logits = d_step(D, opt_D, torch.rand(4, channels, size, size) * 2 - 1, fake.detach())
    assert loss.ndim == 0 and real.shape == logits.shape == (4,)
    g_step(D, opt_G, fake)
    after = [*G.parameters(), *D.parameters()]
    assert all(not torch.equal(a, b) for a, b in zip(before, after)), "a parameter got no gradient"


def test_paper_layers_are_the_32_pixel_case():
    assert [(r["in_channels"], r["out_channels"]) for r in layer_table(Generator(32, 3, ngf=128))] == [
        (100, 512),
        (512, 256),
        (256, 128),
        (128, 3),
    ]
    assert [(r["in_channels"], r["out_channels"]) for r in layer_table(Discriminator(32, 3, ndf=128))] == [
        (3, 128),
        (128, 256),
        (256, 512),
        (512, 1),
    ]


def test_architecture_guidelines():
    kinds = [type(m).__name__ for net in (Generator(64), Discriminator(64)) for m in net.modules()]
    assert not {"MaxPool2d", "AvgPool2d", "Linear", "Sigmoid"} & set(kinds)
    D = layer_table(Discriminator(64))
    assert (
        D[0]["norm"] is None
        and all(r["norm"] == "batch norm" for r in D[1:-1])
        and all(r["activation"] == "LeakyReLU" for r in D[:-1])
    )
    G = layer_table(Generator(64))
    assert (
        all(r["norm"] == "batch norm" and r["activation"] == "ReLU" for r in G[:-1])
        and G[-1]["activation"] == "Tanh"
    )


def test_initial_weights_have_the_published_spread():
    D = init_weights(Discriminator(64), 1, "D")
    for m in D.main:
        if isinstance(m, torch.nn.Conv2d) and m.weight.numel() > 10_000:
            assert abs(m.weight.std().item() - 0.02) < 0.001 and abs(m.weight.mean().item()) < 0.001
        if isinstance(m, torch.nn.BatchNorm2d):
            assert (
                abs(m.weight.mean().item() - 1) < 0.01
                and 0.012 < m.weight.std().item() < 0.028
                and not m.bias.any()
            )


@pytest.mark.parametrize("size", [50, 12, 0, 257, 64.0, "64", True])
def test_impossible_sizes(size):
    for make in (Generator, Discriminator):
        with pytest.raises(GannbError, match="size"):
            make(size)


def test_nearest_sizes_are_named():
    with pytest.raises(GannbError, match="48 or 56"):
        Generator(50)
    with pytest.raises(GannbError, match="Nearest allowed: 16"):
        Generator(12)


@pytest.mark.parametrize("kwargs", [{"channels": 2}, {"nz": 0}, {"ngf": -1}, {"ngf": 1.5}])
def test_impossible_widths(kwargs):
    with pytest.raises(GannbError):
        Generator(32, **kwargs)
