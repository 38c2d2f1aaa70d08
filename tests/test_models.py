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


@pytest.mark.parametrize("extra_convs", [0, 1])
def test_slope_of_the_original_paper(extra_convs):
    leaky = [m for m in Discriminator(64, 3, 4, extra_convs).modules() if isinstance(m, torch.nn.LeakyReLU)]
    assert len(leaky) == 4 + extra_convs and {m.negative_slope for m in leaky} == {0.2}


@pytest.mark.parametrize("extra_convs, shapes", [(0, [8, 16, 32]), (1, [8, 8, 16, 32])])
def test_hidden_maps_are_those_on_the_way_to_the_logit(extra_convs, shapes):
    D = init_weights(Discriminator(32, 3, ndf=8, extra_convs=extra_convs), 0, "D").eval()
    x = torch.rand(5, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        maps, logits = D.hidden(x), D(x)
        assert [m.shape[1] for m in maps] == shapes and maps[-1].shape == (5, 32, 4, 4)
        assert torch.equal(D.main[-1](maps[-1]).flatten(), logits)
        first = torch.nn.functional.leaky_relu(D.main[0](x), 0.2)
        assert torch.equal(maps[0], first), "what came later did not write into it"
    with pytest.raises(GannbError, match=r"images must have shape \(N, 3, 32, 32\)"):
        D.hidden(x[:, :1])


def test_networks_without_labels_take_none():
    G, D = Generator(16, 1, nz=4, ngf=4).eval(), Discriminator(16, 1, ndf=4).eval()
    z, y = draw_z(3, 4, 0), torch.arange(3)
    assert torch.equal(G(z), G(z, None)) and torch.equal(G(z), G(z, y))
    assert torch.equal(D(G(z)), D(G(z), None)) and torch.equal(D(G(z)), D(G(z), y))
    assert G.n_classes == D.n_classes == 0


class Branched(Discriminator):
    "Labels enter beside the image, through a path of their own."

    n_classes = 10

    def __init__(self):
        super().__init__(16, 1, ndf=4)
        path = torch.nn.Sequential(
            torch.nn.Embedding(10, 6),
            torch.nn.Linear(6, 256),
            torch.nn.BatchNorm1d(256),
            torch.nn.ReLU(),
            torch.nn.Unflatten(1, (1, 16, 16)),
        )
        self.branches = torch.nn.ModuleDict({"label": path})
        self.joins = {"label": "added to the image"}

    def forward(self, x, y=None):
        return super().forward(x + self.branches["label"](y))


def test_layers_of_a_network_with_branches():
    net = Branched()
    rows = layer_table(net)
    assert [(r["branch"], r["joins"]) for r in rows[:2]] == [("label", "added to the image")] * 2
    assert [r["name"] for r in rows[:2]] == ["embedding", "dense"]
    assert (rows[1]["out_shape"], rows[1]["params"], rows[1]["activation"]) == (
        (256, 1, 1),
        6 * 256 + 256 + 2 * 256,
        "ReLU",
    )
    assert all(r["branch"] == r["joins"] == "" for r in rows[2:]), "the main path comes last"
    assert sum(r["params"] for r in rows) == count_parameters(net)
    main = [{k: v for k, v in r.items() if k not in ("branch", "joins")} for r in rows[2:]]
    assert main == layer_table(Discriminator(16, 1, ndf=4))


def test_first_weights_are_the_seeds_alone():
    "Every weight of a network with branches comes from a named stream, whatever torch's own numbers are."
    states = []
    for torchs_own in (1, 2):
        torch.manual_seed(torchs_own)
        states.append(init_weights(Branched(), 0, "D").state_dict())
    assert all(torch.equal(a, b) for a, b in zip(*(s.values() for s in states), strict=True))
    with pytest.raises(GannbError, match="No first weights are known for PReLU"):
        init_weights(torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1), torch.nn.PReLU()), 0, "D")


def test_layers_of_a_dcgan_know_no_branch():
    keys = "name kernel stride padding in_channels out_channels out_shape params norm activation"
    for net in (Generator(32, 3, nz=8, ngf=4, extra_convs=1), Discriminator(32, 3, ndf=4, extra_convs=1)):
        net.train()
        rows = layer_table(net)
        assert all(list(r) == keys.split() for r in rows) and net.training
        assert sum(r["params"] for r in rows) == count_parameters(net)
