"""Augmentation: amounts as in the paper, gradients that pass, draws that repeat; marks are found."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from gannb.datasets.registry import load
from gannb.augment import diff_augment, leak
from gannb.base import GannbError, POLICIES, draw_z, parse_policy, to_float, to_uint8
from gannb.models.dcgan import Generator, init_weights
from gannb.sample import sample_seeded

EVERY = [tuple(p for i, p in enumerate(POLICIES) if k >> i & 1) for k in range(1, 8)]


def images(n=8, channels=3, size=16, seed=0):
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def augment(x, policy, step=0, seed=0, stream="augment"):
    return diff_augment(x, policy, seed, stream, step)


def is_uniform(values, low, high):
    "All inside, the mean right to a tenth of the range, and the whole distribution."
    values = np.asarray(values)
    assert low <= values.min() and values.max() <= high
    assert abs(values.mean() - (low + high) / 2) < 0.02 * (high - low) and abs(
        values.std() - (high - low) / math.sqrt(12)
    ) < 0.02 * (high - low)
    assert stats.kstest(values, "uniform", (low, high - low)).pvalue > 1e-3


def is_even(values, low, high):
    "Each whole number from low to high equally often."
    counts = np.bincount(np.asarray(values) - low, minlength=high - low + 1)
    assert len(counts) == high - low + 1 and stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize(
    "given, want",
    [
        ("", ()),
        (None, ()),
        ([], ()),
        ((), ()),
        ("  ", ()),
        ("cutout", ("cutout",)),
        ("cutout,color", ("color", "cutout")),
        (" cutout , translation", ("translation", "cutout")),
        (["translation", "color"], ("color", "translation")),
        (POLICIES, POLICIES),
    ],
)
def test_policy_is_read_in_canonical_order(given, want):
    assert parse_policy(given) == want


@pytest.mark.parametrize(
    "given, words",
    [
        ("colour", "augment='colour' .*Did you mean 'color'.*translation"),
        ("color,cutouts", "'cutouts'.*'cutout'"),
        (["translate"], "'translate'.*'translation'"),
        ("color,color", "color more than once"),
        (["cutout", "color", "cutout"], "cutout more than once"),
        ("color,,cutout", "augment=''"),
        ("color,", "augment=''"),
        ("color cutout", "'color cutout'"),
        ("flip", "'flip' is not known.*Allowed"),
        (3, "this is 3.*Allowed"),
        (True, "this is True"),
        ([1], "augment=1"),
    ],
)
def test_wrong_policy_is_refused_in_words(given, words):
    with pytest.raises(GannbError, match=words):
        parse_policy(given)


@pytest.mark.parametrize(
    "x, policy, words",
    [
        (images().to(torch.uint8), ("color",), "torch.uint8"),
        (images()[0], ("color",), r"\(3, 16, 16\)"),
        (images(), ("flip",), "flip"),
        (images()[0], (), r"\(3, 16, 16\)"),
    ],
)
def test_wrong_images_are_refused(x, policy, words):
    with pytest.raises(GannbError, match=words):
        augment(x, policy)


def test_empty_policy_is_the_identity():
    x = images()
    assert all(augment(x, p) is x for p in ((), "", None))


def test_color_is_brightness_then_saturation_then_contrast():
    "The three numbers of every image, measured from what comes out: with them the image comes again."
    x = images(4000, size=8).double()
    y = augment(x, ("color",))
    grey, mean = x.mean(1, keepdim=True), x.mean((1, 2, 3), keepdim=True)
    grey_y, mean_y = y.mean(1, keepdim=True), y.mean((1, 2, 3), keepdim=True)
    b = mean_y - mean
    c = ((grey_y - mean_y) * (grey - mean)).sum((1, 2, 3), keepdim=True) / (grey - mean).square().sum(
        (1, 2, 3), keepdim=True
    )
    s = (
        ((y - grey_y) * (x - grey)).sum((1, 2, 3), keepdim=True)
        / (x - grey).square().sum((1, 2, 3), keepdim=True)
        / c
    )
    want = x + b
    want = (want - want.mean(1, keepdim=True)) * s + want.mean(1, keepdim=True)
    want = (want - want.mean((1, 2, 3), keepdim=True)) * c + want.mean((1, 2, 3), keepdim=True)
    assert (want - y).abs().max() < 1e-6
    b, s, c = (v.flatten().numpy() for v in (b, s, c))
    is_uniform(b, -0.5, 0.5)
    is_uniform(s, 0, 2)
    is_uniform(c, 0.5, 1.5)
    assert np.abs(np.corrcoef([b, s, c]) - np.eye(3)).max() < 0.05


def test_grey_images_have_no_saturation():
    x = images(channels=1)
    y, y3 = augment(x, ("color",)), augment(x.expand(-1, 3, -1, -1), ("color",))
    assert (y3 - y).abs().max() < 1e-6
    low, high = x.amin((1, 2, 3)), x.amax((1, 2, 3))
    contrast = (y.amax((1, 2, 3)) - y.amin((1, 2, 3))) / (high - low)
    assert ((contrast > 0.49) & (contrast < 1.51)).all() and contrast.std() > 0.1
    assert torch.equal(y.flatten(1).argmax(1), x.flatten(1).argmax(1))


@pytest.mark.parametrize("height, width", [(16, 16), (32, 32), (20, 28)])
def test_translation_moves_and_pads_with_zero(height, width):
    "Every pixel holds its own number, so where an image went is read off it."
    n, p, q = 3000, height // 8, width // 8
    x = torch.arange(1.0, height * width + 1).view(1, 1, height, width).expand(n, 2, -1, -1)
    y = augment(x, ("translation",))
    assert torch.equal(y[:, 0], y[:, 1])
    middle = y[:, 0, height // 2, width // 2].long() - 1
    dy, dx = height // 2 - middle // width, width // 2 - middle % width
    is_even(dy, -p, p)
    is_even(dx, -q, q)
    assert abs(np.corrcoef(dy, dx)[0, 1]) < 0.06
    for i in range(0, n, 97):
        a, b = int(dy[i]), int(dx[i])
        want = torch.zeros(height, width)
        want[max(a, 0) : height + min(a, 0), max(b, 0) : width + min(b, 0)] = x[
            0, 0, max(-a, 0) : height + min(-a, 0), max(-b, 0) : width + min(-b, 0)
        ]
        assert torch.equal(y[i, 0], want)


@pytest.mark.parametrize("size", [16, 24, 32])
def test_cutout_is_a_square_of_half_the_side_cut_off_at_the_edge(size):
    n = 4000
    y = augment(torch.ones(n, 3, size, size), ("cutout",))
    assert torch.equal(y.amin(1), y.amax(1)) and set(y.unique().tolist()) == {0.0, 1.0}
    hole = y[:, 0] == 0
    spans = []
    for axis in (2, 1):
        line = hole.any(axis)
        first, last = line.int().argmax(1), size - 1 - line.flip(1).int().argmax(1)
        length = last - first + 1
        assert length.min() == size // 4 and length.max() == size // 2 and torch.equal(line.sum(1), length)
        cut = length < size // 2
        assert torch.equal(cut, cut & ((first == 0) | (last == size - 1)))
        is_even(torch.where(first == 0, last + 1 - size // 4, first + size // 4), 0, size)  # the centre
        spans.append(length)
    assert torch.equal(hole.sum((1, 2)), spans[0] * spans[1])
    mean = np.mean([min(c + size // 4, size) - max(c - size // 4, 0) for c in range(size + 1)])
    assert abs(hole.float().mean() * size**2 / mean**2 - 1) < 0.02


@pytest.mark.parametrize("policy", EVERY, ids="+".join)
@pytest.mark.parametrize("channels", [1, 3])
def test_together_they_are_one_after_the_other(policy, channels):
    "What one of them draws does not depend on the others."
    x = images(channels=channels, size=20)
    want = x
    for p in policy:
        want = augment(want, (p,))
    got = augment(x, policy[::-1])
    assert torch.equal(got, want) and got.shape == x.shape and not torch.equal(got, x)


@pytest.mark.parametrize("policy", EVERY, ids="+".join)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_type_and_layout_are_kept(policy, dtype, layout):
    x = images().to(dtype).contiguous(memory_format=layout)
    before = x.clone()
    with torch.autocast("cpu", torch.bfloat16):
        y = augment(x, policy)
    assert y.dtype == dtype and y.is_contiguous(memory_format=layout) and torch.equal(x, before)
    assert (y.float() - augment(images(), policy)).abs().max() < (0.05 if dtype == torch.bfloat16 else 1e-6)


def test_draws_repeat_and_streams_are_independent():
    x = images(64)
    p = POLICIES
    once = augment(x, p)
    assert torch.equal(once, augment(x, p))
    for other in (augment(x, p, step=1), augment(x, p, seed=1), augment(x, p, stream="augment.fake")):
        assert (other != once).flatten(1).any(1).all()
    a, b = (augment(torch.zeros(2000, 3, 16, 16), ("color",), stream=s)[:, 0, 0, 0] for s in ("real", "fake"))
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.08
    assert (
        torch.equal(augment(x[:1].expand(64, -1, -1, -1), p)[:1], once[:1])
        and len(augment(x[:1].expand(64, -1, -1, -1), p).unique(dim=0)) == 64
    )


def test_the_seven_numbers_of_an_image_are_independent():
    "Brightness, move and hole of the same draw, each measured by itself."
    n = 2000
    ones = torch.ones(n, 1, 16, 16)
    place = torch.arange(1.0, 257).view(1, 1, 16, 16).expand(n, -1, -1, -1)
    middle = augment(place, ("translation",))[:, 0, 8, 8] - 1
    hole = augment(ones, ("cutout",))[:, 0] == 0
    up, left = hole.any(2).int().argmax(1), hole.any(1).int().argmax(1)
    numbers = torch.stack((augment(0 * ones, ("color",))[:, 0, 0, 0], middle // 16, middle % 16, up, left))
    assert np.abs(np.corrcoef(numbers.numpy()) - np.eye(5)).max() < 0.08


def test_no_global_generator_is_touched():
    torch.manual_seed(3)
    np.random.seed(3)
    here, there = torch.get_rng_state(), np.random.get_state()[1].copy()
    augment(images(), POLICIES)
    leak(np.zeros((2, 16, 16, 1), np.uint8), np.zeros((2, 16, 16, 1), np.uint8))
    assert torch.equal(torch.get_rng_state(), here) and np.array_equal(np.random.get_state()[1], there)


@pytest.mark.parametrize("policy", EVERY, ids="+".join)
@pytest.mark.parametrize("channels", [1, 3])
def test_gradient_is_that_of_the_formula(policy, channels):
    x = images(2, channels, 16).double().requires_grad_()
    small = torch.autograd.gradcheck(lambda v: augment(v, policy)[:, :, ::3, ::3], x, fast_mode=True)
    assert small and torch.autograd.gradgradcheck(
        lambda v: augment(v, policy)[:, :, ::5, ::5].square(), x, fast_mode=True
    )


def test_gradient_of_a_hidden_pixel_is_zero_and_of_a_shown_one_is_one():
    x = torch.ones(32, 1, 16, 16, requires_grad=True)
    y = augment(x, ("cutout",))
    y.sum().backward()
    assert torch.equal(x.grad, y.detach()) and 0 < float(y.detach().mean()) < 1
    x = torch.ones(32, 1, 16, 16, requires_grad=True)
    y = augment(x, ("translation",))
    y.sum().backward()
    assert set(x.grad.unique().tolist()) == {0.0, 1.0} and x.grad.sum() == y.sum()


@pytest.mark.parametrize("policy", EVERY, ids="+".join)
def test_a_generator_learns_through_it(policy):
    G = init_weights(Generator(16, 3, nz=8, ngf=8), 0, "G")
    augment(G(draw_z(8, 8, 0)), policy).square().mean().backward()
    assert all(
        p.grad is not None and p.grad.isfinite().all() and p.grad.abs().max() > 0 for p in G.parameters()
    )


@pytest.fixture(scope="module")
def digits():
    return {
        name: load(name, size=16).take(range(600))
        for name in ("digits", "digits-textured", "digits-low-contrast")
    }


def changed(x, policy, every=1):
    "One image in `every` augmented, the others as they are."
    x = x.copy()
    part = to_float(torch.from_numpy(x[::every].copy())).permute(0, 3, 1, 2)
    x[::every] = to_uint8(augment(part, parse_policy(policy))).permute(0, 2, 3, 1).numpy()
    return x


@pytest.mark.parametrize(
    "policy, cutout, shift",
    [
        ("cutout", 1, 0),
        ("translation", 0, 24 / 25),
        ("translation,cutout", 1, 24 / 25),
        ("color,translation,cutout", 1, 24 / 25),
    ],
)
@pytest.mark.parametrize("every", [1, 4, 20])
def test_leak_finds_what_was_put_in(digits, policy, cutout, shift, every):
    "At 16 pixels one shift in 25 is by nothing."
    found = leak(changed(digits["digits"], policy, every), digits["digits"])
    assert (
        abs(found["cutout_fake"] - cutout / every) < 0.03 and abs(found["shift_fake"] - shift / every) < 0.03
    )
    assert (
        found["cutout_real"] <= 0.002
        and found["shift_real"] <= 0.002
        and found["n_fake"] == found["n_real"] == 600
    )


def test_leak_finds_imperfect_marks(digits):
    "A generator draws no exact grey: with noise of 8 levels nearly all are still found."
    noise = np.random.default_rng(0).normal(0, 8, digits["digits"].shape)
    fake = np.clip(changed(digits["digits"], "translation,cutout") + noise, 0, 255).astype(np.uint8)
    found = leak(fake, digits["digits"])
    assert found["cutout_fake"] > 0.95 and found["shift_fake"] > 0.85


def test_leak_says_nothing_about_clean_images(digits):
    for name, share in (("digits", 0.002), ("digits-textured", 0.03), ("digits-low-contrast", 0.1)):
        found = leak(digits[name], digits["digits"])
        assert found["cutout_fake"] <= share and found["shift_fake"] <= share, name


@pytest.mark.parametrize("value", [0, 127, 128, 255])
def test_leak_does_not_take_flat_images_for_marked_ones(value):
    flat = np.full((4, 32, 32, 3), value, np.uint8)
    assert leak(flat, flat) == {
        "cutout_fake": 0,
        "shift_fake": 0,
        "cutout_real": 0,
        "shift_real": 0,
        "n_fake": 4,
        "n_real": 4,
    }


def test_leak_is_silent_for_an_untrained_generator(digits):
    found = leak(sample_seeded(init_weights(Generator(16, 1, nz=8, ngf=8), 0, "G"), 64), digits["digits"])
    assert found["cutout_fake"] == found["shift_fake"] == 0


def test_leak_looks_at_every_channel_and_every_side():
    clean = np.zeros((1, 32, 32, 3), np.uint8)
    for turn in range(4):
        hole, band = clean.copy(), clean.copy()
        hole[:, 4:20, 9:25] = 128
        band[:, :2] = 128
        hole, band = (np.rot90(v, turn, (1, 2)) for v in (hole, band))
        assert leak(hole, clean)["cutout_fake"] == 1 and leak(hole, clean)["shift_fake"] == 0
        assert leak(band, clean)["shift_fake"] == 1 and leak(band, clean)["cutout_fake"] == 0
        for v in (hole, band):
            v[..., 1] = 90
        assert leak(hole, clean)["cutout_fake"] == leak(band, clean)["shift_fake"] == 0
    small, thick = clean.copy(), clean.copy()
    small[:, 4:14, 9:19] = 128
    thick[:, :12] = 128
    assert leak(small, clean)["cutout_fake"] == 0 and leak(thick, clean)["shift_fake"] == 0


@pytest.mark.parametrize(
    "fake, real, words",
    [
        (np.zeros((2, 16, 16, 1)), None, "fake must be uint8"),
        (None, np.zeros((2, 16, 16), np.uint8), "real must be uint8"),
        (np.zeros((2, 16, 20, 1), np.uint8), None, "fake must be"),
        (np.zeros((2, 8, 8, 1), np.uint8), None, "16 or more"),
        (None, np.zeros((0, 16, 16, 1), np.uint8), "real must be"),
    ],
)
def test_leak_refuses_other_arrays(fake, real, words):
    good = np.zeros((2, 16, 16, 1), np.uint8)
    with pytest.raises(GannbError, match=words):
        leak(good if fake is None else fake, good if real is None else real)
