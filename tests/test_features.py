"""Networks that judge: preprocessing, cards, the domain network's training, and the ladder
that each has to climb."""

import hashlib
import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from gannb.datasets.registry import load
from gannb import features as F
from gannb.base import GannbError, torch_rng
from gannb.models.dcgan import Discriminator, Generator, init_weights
from gannb.sample import sample_seeded
from gannb.train import make_optimizers, train_gan


def pictures(n=6, size=32, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, size, size, channels), dtype=np.uint8)


def pixels(s):
    return s.take(np.arange(len(s)))


def kid(a, b):
    "Unbiased MMD with the cubic kernel, written out."

    def k(x, y):
        return (x.astype(np.float64) @ y.T.astype(np.float64) / a.shape[1] + 1) ** 3

    n, m, A, B = len(a), len(b), k(a, a), k(b, b)
    return (
        (A.sum() - np.trace(A)) / (n * (n - 1)) + (B.sum() - np.trace(B)) / (m * (m - 1)) - 2 * k(a, b).mean()
    )


class Mean(nn.Module):
    "A judge that sees only brightness and contrast of the whole."

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x):
        x = x.float().flatten(1)
        return torch.stack([x.mean(1), x.std(1)], 1) * self.weight


def small_net(**kw):
    return F.FeatureNet("domain", "mean", 2, "ab" * 32, "none", Mean(), **kw)


# ---- vectors, cards, images --------------------------------------------------------------------------------


def test_scaled_vectors_have_one_length_and_keep_their_direction():
    x = torch.tensor([[3.0, 4.0, 0, 0], [-0.3, -0.4, 0, 0], [0, 0, 0, 0]])
    assert torch.allclose(
        F.scale(x), torch.tensor([[1.2, 1.6, 0, 0], [-1.2, -1.6, 0, 0], [0, 0, 0, 0]]), atol=1e-6
    )


def test_the_card_tells_networks_apart():
    card = small_net().card()
    assert card == {
        "network": "domain",
        "layer": "mean",
        "weights": "ab" * 8,
        "resize": "none",
        "rounding": "uint8",
    }
    assert small_net(scaled=True).card() != card


@pytest.mark.parametrize(
    "images, word",
    [
        (pictures() / 255, "float64"),
        (pictures()[0], r"\(32, 32, 3\)"),
        (pictures()[:0], r"\(0, 32"),
        (pictures(channels=4), "32, 4"),
    ],
)
def test_images_that_a_network_cannot_take(images, word):
    with pytest.raises(GannbError, match=f"takes uint8 images.*{word}"):
        small_net()(images)


def test_colour_is_refused_by_a_grey_network():
    with pytest.raises(GannbError, match="C 1; these are"):
        small_net(channels=(1,))(pictures())


def test_damaged_weights_are_noticed():
    net = small_net()
    net.module.weight.data.fill_(float("nan"))
    with pytest.raises(GannbError, match="not finite"):
        net(pictures())


def test_features_are_those_of_each_image_in_order():
    net, x = small_net(batch=4), pictures(11)
    found = net(x)
    assert found.shape == (11, 2) and found.dtype == np.float32
    assert np.allclose(found[:, 0], x.reshape(11, -1).mean(1), atol=1e-3) and np.allclose(
        found[:, 1], x.reshape(11, -1).astype(float).std(1, ddof=1), atol=1e-3
    )


@pytest.mark.parametrize("side, size", [(100, 64), (32, 64), (64, 64), (28, 16)])
def test_resizing_is_pillows_antialiased_bicubic(side, size):
    x = (64 + pictures(1, 8) // 2)[:, np.arange(side) // 16][
        :, :, np.arange(side) // 16
    ]  # no extremes: Pillow clips between its two passes
    ours = (F.resized(torch.from_numpy(x).permute(0, 3, 1, 2), size)[0].permute(1, 2, 0).numpy() + 1) * 127.5
    theirs = np.asarray(Image.fromarray(x[0]).resize((size, size), Image.Resampling.BICUBIC), float)
    assert np.abs(ours - theirs).max() < 1.5


def test_resizing_stays_within_the_range_of_pixels():
    edge = torch.zeros(1, 1, 32, 32, dtype=torch.uint8)
    edge[..., 16:] = 255
    assert F.resized(edge, 64).abs().max() <= 1


# ---- effnet-lite0 ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def random_effnet():
    """timm's network with weights of our own, and its tensors in the package's manner:
    other names, same order."""
    net = F._timm_net()
    for i, p in enumerate(net.parameters()):
        with torch.no_grad():
            p.copy_(
                torch.rand(p.shape, generator=torch_rng(0, "p", i)) * 0.2
                if p.ndim == 1
                else torch.randn(p.shape, generator=torch_rng(0, "p", i)) * (2 / max(1, p[0].numel())) ** 0.5
            )
    return net.eval(), {f"foreign.{i}": t for i, t in enumerate(net.state_dict().values())}


def test_effnet_is_timms_network_with_scaled_vectors(random_effnet):
    theirs, foreign = random_effnet
    x = pictures(5, 64)
    net = F.effnet_lite0(F.effnet_names(foreign), "0" * 64)
    with torch.no_grad():
        want = theirs.forward_head(
            theirs.forward_features(torch.from_numpy(x).permute(0, 3, 1, 2) / 127.5 - 1), pre_logits=True
        )
    raw = F.effnet_lite0(F.effnet_names(foreign), "0" * 64, scaled=False)(x)
    assert raw.shape == (5, 1280) and np.abs(raw - want.numpy()).max() <= 1e-4 * np.abs(raw).max()
    assert np.allclose(np.linalg.norm(net(x), axis=1), 1280**0.5, rtol=1e-5) and np.allclose(
        net(x), F.scale(want).numpy(), atol=1e-3
    )


def test_effnet_does_not_depend_on_neighbours_mode_or_layout(random_effnet):
    net = F.effnet_lite0(F.effnet_names(random_effnet[1]), "0" * 64)
    x = pictures(7, 32)
    whole = net(x)
    net.batch = 3
    net.module.train()
    assert np.abs(net(x) - whole).max() < 1e-5 * np.abs(whole).max() + 1e-5
    grey = x[..., :1]
    assert np.array_equal(net(grey), net(np.repeat(grey, 3, -1)))
    assert np.array_equal(net(np.asfortranarray(x)), net(x))


def test_effnet_refuses_other_tensors_and_sizes(random_effnet):
    foreign = random_effnet[1]
    with pytest.raises(GannbError, match="are not those of EfficientNet-Lite0"):
        F.effnet_names(dict(reversed(foreign.items())))
    with pytest.raises(GannbError, match="295 tensors"):
        F.effnet_names(dict(list(foreign.items())[1:]))
    for size in (16, 64.0, True, 400):
        with pytest.raises(GannbError, match="from 32 to 320"):
            F.effnet_lite0({}, "0", size)


# ---- inception ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def random_inception():
    "torch-fidelity's network with random weights."
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3 as Net

    empty = io.BytesIO()
    torch.save({}, empty)
    empty.seek(0)
    with pytest.MonkeyPatch.context() as m, torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        m.setattr(Net, "load_state_dict", lambda self, state: None)
        return Net("theirs", list(F.INCEPTION_LAYERS), feature_extractor_weights_path=empty)


def test_inception_is_torch_fidelitys(random_inception):
    x = pictures(2, 16)
    state = random_inception.state_dict()
    theirs = dict(zip(F.INCEPTION_LAYERS, random_inception(torch.from_numpy(x).permute(0, 3, 1, 2))))
    for layer, dim in (("64", 64), ("2048", 2048), ("logits_unbiased", 1008)):
        net = F.inception(state, "cd" * 32, layer)
        ours = net(x)
        assert ours.shape == (2, dim) == (2, net.dim) and np.allclose(
            ours, theirs[layer].numpy(), rtol=1e-4, atol=1e-5 * float(theirs[layer].abs().max())
        )
    assert net.card() == {
        "network": "inception",
        "layer": "logits_unbiased",
        "weights": "cd" * 8,
        "resize": "bilinear to 299 px (TensorFlow 1), no antialias",
        "rounding": "uint8",
    }
    assert np.array_equal(net(x[:1, ..., :1]), net(np.repeat(x[:1, ..., :1], 3, -1)))


def test_inception_refuses(random_inception):
    with pytest.raises(GannbError, match="Did you mean '2048'"):
        F.inception({}, "0", "204")
    with pytest.raises(GannbError, match="not the weights of torch-fidelity's Inception-v3"):
        F.inception({"conv1": torch.zeros(1)}, "0")


# ---- domain ------------------------------------------------------------------------------------------------


def digits():
    return load("digits", split="all").split({"judge": 0.4, "train": 0.4, "held": 0.2}, 0)


def bits(net):
    return hashlib.sha256(b"".join(t.numpy().tobytes() for t in net.state_dict().values())).hexdigest()


@pytest.fixture(scope="module")
def domain_net():
    s = digits()["judge"]
    return F.train_domain(pixels(s), s.labels, shown=10_000)


def test_the_domain_network_learns(domain_net):
    held = digits()["held"]
    assert F.domain_accuracy(domain_net, pixels(held), held.labels) > 0.95
    assert F.domain_accuracy(domain_net, pixels(held), (held.labels + 1) % 10) < 0.05


def test_same_images_same_weights():
    s = digits()["held"]
    x, before = pixels(s), torch.get_num_threads()
    a = F.train_domain(x, s.labels, shown=1)
    torch.set_num_threads(2)
    try:
        state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
        b = F.train_domain(x, s.labels, shown=1)
        assert (
            torch.get_num_threads() == 2
            and torch.equal(state, torch.get_rng_state())
            and np.array_equal(numpy_state, np.random.get_state()[1])
        )
    finally:
        torch.set_num_threads(before)
    assert bits(a) == bits(b) != bits(F.train_domain(x, s.labels, seed=1, shown=1))
    assert not a.training


def test_domain_features(domain_net):
    net = F.domain(domain_net, "ef" * 32, about={"n": 1})
    x = pixels(digits()["held"])
    found = net(x)
    assert (
        found.shape == (len(x), 128)
        and net.about == {"n": 1}
        and net.card()["network"] == "domain"
        and net.channels == (1,)
    )
    assert np.allclose(np.linalg.norm(found, axis=1), 128**0.5, rtol=1e-5)
    assert net(np.kron(x[:3], np.ones((1, 2, 2, 1), np.uint8))).shape == (3, 128)  # another size is resized


@pytest.mark.parametrize("size, channels", [(16, 1), (28, 1), (32, 3), (64, 3), (112, 1)])
def test_domain_net_ends_at_a_small_map(size, channels):
    net = F.new_domain_net(size, channels, 3, 0).eval()
    assert net(torch.zeros(2, channels, size, size, dtype=torch.uint8)).shape == (2, 128)
    assert net.features(torch.zeros(1, channels, size, size)).shape[-1] in (4, 5, 6, 7)


def test_domain_needs_classes():
    with pytest.raises(GannbError, match="at least two classes"):
        F.train_domain(pictures(4, 16, 1), np.zeros(4, np.int64))
    with pytest.raises(GannbError, match="4 images, 3 labels"):
        F.train_domain(pictures(4, 16, 1), np.arange(3))


# ---- the ladder --------------------------------------------------------------------------------------------


GOOD = {
    "held-out reals": {"": 0.0},
    "slightly": {"blur": 0.1, "noise": 0.4},
    "strongly": {"blur": 0.3, "noise": 1.0, "shuffle": 0.5},
    "untrained G": {"": 5.0},
}
RUN = {"0": 5.0, "5": 3.0, "20": 1.0}


def test_a_good_ladder_passes():
    found = F.climb(GOOD, RUN)
    assert found.passed and len(found.rows) == 10 and str(found).endswith("passed")


@pytest.mark.parametrize(
    "rung, what, value, words",
    [
        ("held-out reals", "", 0.2, "held-out reals .* below slightly blur"),
        ("slightly", "noise", 1.0, "slightly noise .* below strongly noise"),
        ("strongly", "shuffle", 0.35, "slightly noise .* below strongly shuffle"),
        ("strongly", "blur", 6.0, "strongly blur .* below untrained G"),
        ("slightly", "blur", float("nan"), "slightly blur"),
        ("run", "20", 3.0, "run 20 .* below run 5"),
    ],
)
def test_each_step_can_fail(rung, what, value, words):
    import re

    rungs, run = {k: dict(v) for k, v in GOOD.items()}, dict(RUN)
    (run if rung == "run" else rungs[rung])[what] = value
    found = F.climb(rungs, run)
    assert not found.passed and any(re.search(words, w) for w in found.wrong) and "FAILED" in str(found)


@pytest.fixture(scope="module")
def digits_run():
    "A small GAN on digits at epochs 0 to 20, which anyone can see getting better."
    data = digits()["train"]
    G, D = init_weights(Generator(16, 1, 16, 16), 0, "G"), init_weights(Discriminator(16, 1, 16), 0, "D")
    run = {"0": sample_seeded(G, 300)}

    def batches(epoch, start):
        return data.batches(32, 0, epoch, drop_last=True, start=start)

    for tick in train_gan(
        G,
        D,
        batches,
        steps_per_epoch=data.n_batches(32, True),
        epochs=20,
        opts=make_optimizers(G, D, 5e-4, 5e-4),
        seed=0,
    ):
        if tick.epoch in (5, 10, 20):
            run[str(tick.epoch)] = sample_seeded(G, 300)
    return run


def test_the_domain_network_climbs_the_ladder_on_digits(domain_net, digits_run):
    s = digits()
    found = F.ladder(
        F.domain(domain_net, "0" * 64),
        kid,
        pixels(s["train"]),
        pixels(s["held"]),
        digits_run["0"],
        digits_run,
    )
    assert found.passed, str(found)
    by = {(r["rung"], r["what"]): r["score"] for r in found.rows}
    assert (
        abs(by["held-out reals", ""]) < 0.1
        and by["untrained G", ""] > 2
        and by["run", "20"] < 0.5 * by["run", "0"]
    )


def test_a_judge_that_sees_little_falls_off(digits_run):
    s = digits()
    found = F.ladder(
        small_net(scaled=True), kid, pixels(s["train"]), pixels(s["held"]), digits_run["0"], digits_run
    )
    assert not found.passed and all("strongly shuffle" in w for w in found.wrong), (
        f"brightness and contrast alone must fall at the shuffled tiles\n{found}"
    )
