"""Is fine detail there? The power spectrum on noise whose blur is known, then on real images with a known
fault: it must see blur, more of it as more, and mistake neither brightness nor contrast for it."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from gannb import metrics
from gannb.base import GannbError, numpy_rng
from gannb.damage import DAMAGES, brighter, distort, half_contrast
from gannb.datasets.registry import load
from gannb.metrics import SPECTRUM_FAINT, spectrum, spectrum_distance, vagueness

SETS = {"mnist": 1, "fashion-mnist": 1, "cifar10": 3, "intel-scenes": 3}


def clouds(n, seed=0, side=32, channels=1, slope=True):
    "Grey clouds over a ramp from left to right: like photographs, their borders do not meet."
    rng = np.random.default_rng(seed)
    x = gaussian_filter(rng.normal(size=(n, side, side, channels)), (0, 0.7, 0.7, 0))
    x = 25 * x / x.std() + (
        rng.uniform(-60, 60, (n, 1, 1, 1)) * np.linspace(-1, 1, side)[:, None] if slope else 0
    )
    return np.clip(np.rint(128 + x), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def sides():
    "Two halves of one source."
    return clouds(200, 1), clouds(200, 2)


def test_one_source_is_near_nothing(sides):
    assert spectrum_distance(*sides) < 0.3 and abs(vagueness(*sides)) < 0.2
    assert spectrum_distance(sides[0], sides[0]) == 0 == vagueness(sides[0], sides[0])


def test_more_blur_is_vaguer(sides):
    real, x = sides
    found = [vagueness(real, distort(x, "blur", sigma / 32)) for sigma in (0.5, 1, 2.5)]
    assert -6 < found[0] < -2 and found[1] < found[0] - 6 and found[2] < found[1] - 3, found


def test_without_its_window_it_would_be_blind_to_a_strong_blur(sides, monkeypatch):
    "What the window is for: the border of a photograph is an edge that no blur removes."
    real, x = sides
    slight, strong = (vagueness(real, distort(x, "blur", s)) for s in (0.03, 0.08))
    assert strong < slight - 3
    monkeypatch.setattr(
        metrics, "_faded", lambda x: x.astype(np.float32) / 255 - x.mean((1, 2), keepdims=True) / 255
    )
    blind = [vagueness(real, distort(x, "blur", s)) for s in (0.03, 0.08)]
    assert blind[1] > blind[0] - 3 and blind[1] > strong + 8, blind


def test_every_second_image_blurred_is_half_as_vague(sides):
    real, x = sides
    blurred = distort(x, "blur", 0.08)
    half = np.where(np.arange(len(x))[:, None, None, None] % 2, x, blurred)
    assert vagueness(real, half) == pytest.approx(vagueness(real, blurred) / 2, abs=0.5)


@pytest.mark.parametrize(
    "what",
    [
        brighter,
        half_contrast,
        lambda x: DAMAGES["invisible noise"](x, 0),
        lambda x: x[:, ::-1].copy(),
        lambda x: 255 - x,
    ],
    ids=["brighter", "half contrast", "invisible noise", "upside down", "negative"],
)
def test_what_it_must_not_mistake(sides, what):
    real, x = sides
    least = -vagueness(real, distort(x, "blur", 0.5 / 32))
    assert abs(vagueness(real, what(x)) - vagueness(real, x)) < 0.2 * least
    assert spectrum_distance(x, what(x)) < 0.2 * least


def test_blurred_images_stay_vague_under_noise_that_no_one_sees(sides):
    real, x = sides
    blurred = distort(x, "blur", 0.03)
    assert vagueness(real, distort(blurred, "noise", 2 / 255)) < 0.4 * vagueness(real, blurred)


def test_noise_is_no_detail_but_a_distance(sides):
    real, x = sides
    noisy = distort(x, "noise", 0.1)
    assert vagueness(real, noisy) > 2 and spectrum_distance(real, noisy) > 2


def test_colours_are_counted_one_by_one():
    x = clouds(60, channels=3)
    assert np.allclose(spectrum(x), spectrum(x[..., ::-1]), atol=1e-4)
    blurred = x.copy()
    blurred[..., :2] = distort(x[..., :2], "blur", 0.08)
    assert vagueness(x, blurred) < -1


@pytest.mark.parametrize("side", [16, 28, 45])
def test_any_side(side):
    x = clouds(30, side=side)
    assert spectrum(x).shape == (side // 2,) and np.isfinite(spectrum(x)).all()


def test_even_images_have_the_floor_and_are_no_error():
    "A generator that fails makes them; they are as vague as can be."
    even = np.full((4, 16, 16, 3), 77, np.uint8)
    assert np.allclose(spectrum(even), 10 * np.log10(SPECTRUM_FAINT), atol=0.1)
    assert vagueness(clouds(30, side=16, channels=3), even) < -10
    assert spectrum_distance(even, even) == 0


def test_the_number_of_images_in_a_slice_changes_nothing(monkeypatch):
    x = clouds(50)
    whole = spectrum(x)
    monkeypatch.setattr(metrics, "_slices", lambda n, size: (slice(i, i + 7) for i in range(0, n, 7)))
    assert np.allclose(spectrum(x), whole, atol=1e-4)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: spectrum(x.astype(float)),
        lambda x: spectrum(x[:, :8]),
        lambda x: spectrum(x[:1]),
        lambda x: spectrum_distance(x, x[:, :16, :16]),
        lambda x: vagueness(x, np.repeat(x, 3, 3)),
    ],
    ids=["floats", "not square", "one image", "two sizes", "grey and colour"],
)
def test_what_is_refused(wrong):
    with pytest.raises(GannbError, match="uint8 images"):
        wrong(clouds(4))


@pytest.mark.pack
@pytest.mark.parametrize("name", SETS)
def test_on_real_images(name):
    "Measured with 500 a side, decibel: other reals 0.1, half a pixel of blur 3.5, slight blur 16, strong 22."
    s = load(name, split="train", size=32, channels=SETS[name], progress=False)
    rows = numpy_rng(0, "spectrum").permutation(len(s))[:800]
    real, x = s.take(rows[:400]), s.take(rows[400:])
    seen = {k: vagueness(real, DAMAGES[k](x, 0)) for k in DAMAGES if "blur" in k}
    seen |= {k: vagueness(x, DAMAGES[k](x, 0)) for k in ("invisible noise", "brighter", "half contrast")}
    seen |= {"half a pixel": vagueness(real, distort(x, "blur", 0.5 / 32)), "other reals": vagueness(real, x)}
    assert seen["strong blur"] < seen["slight blur"] - 3, seen
    assert seen["slight blur"] < -12 and -5 < seen["half a pixel"] < -2.5, seen
    for what in ("other reals", "invisible noise", "brighter", "half contrast"):
        assert abs(seen[what]) < 0.5, (what, seen)
