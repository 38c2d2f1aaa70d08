"The count of copies: known shares come out, whatever the images; nothing real is called a copy; what it cannot see it says."

import math

import numpy as np
import pytest

from gannb.base import GannbError, numpy_rng
from gannb.copies import (
    COPIES,
    copy_share,
    low_passed,
    nearness,
    rendered,
    share_of_copies,
    with_copies,
)
from gannb.datasets.registry import load


def cloud(n, name, d=12):
    return numpy_rng(0, name).normal(size=(n, d))


@pytest.fixture(scope="module")
def near():
    "Nearness of 400 fakes, 500 held-out points and 800 copies with a little noise, among 2,000 points."
    train = cloud(2000, "train")
    made = train[:800] + 0.1 * cloud(800, "noise")
    return [nearness(x, train) for x in (cloud(400, "fake"), cloud(500, "held"), made)]


@pytest.mark.parametrize("share", [0, 0.05, 0.1, 0.2, 0.5, 1])
def test_a_planted_share_comes_out(near, share):
    fake, held, made = near
    found = share_of_copies(with_copies(fake, made[400:], share), held, made[:400])
    assert found.share == pytest.approx(share, abs=0.025) and found.low <= share <= found.high
    assert found.power > 0.94 and found.null == pytest.approx(0.02, abs=0.005)


def test_a_tenth_is_told_from_none(near):
    fake, held, made = near
    none = [share_of_copies(fake, held, made[:400], seed=s) for s in range(5)]
    tenth = [share_of_copies(with_copies(fake, made[400:], 0.1, s), held, made[:400], seed=s) for s in range(5)]
    assert all(f.high < 0.06 and "10% of copies and more are excluded" in f.words() for f in none)
    assert all(f.low > 0.05 and "excluded" not in f.words() for f in tenth)


def test_the_share_is_solved_for_the_power_and_the_null():
    "By hand: of the fakes 30 % lie below, of the held-out images 3 %, of the copies 95 %."
    held = np.arange(1, 101) / 100
    fake, made = np.repeat([0.0, 0.9], [30, 70]), np.repeat([0.0, 0.9], [96, 4])
    found = share_of_copies(fake, held, made)
    assert (found.null, found.power, found.threshold) == (0.03, 0.96, 0.03)
    assert found.share == pytest.approx((0.3 - 0.03) / (0.96 - 0.03))


def test_the_threshold_is_as_wide_as_copies_need():
    "Held-out images that are copies themselves, as twins in a data set are, do not narrow it."
    held = np.r_[np.zeros(5), np.linspace(0.7, 1, 95)]
    found = share_of_copies(np.repeat([0.4, 0.9], [80, 320]), held, np.linspace(0.3, 0.5, 100))
    assert 0.45 < found.threshold < 0.5 and found.null == 0.05
    assert found.share == pytest.approx((0.2 - 0.05) / (found.power - 0.05)) and found.low < 0.16 < 0.2 < found.high


def test_none_seen_among_few_does_not_exclude_a_tenth():
    "No copy among 20 fakes leaves room for a tenth, none among 400 does not."
    held, made = np.linspace(0.5, 1, 200), np.zeros(100)
    few, many = (share_of_copies(np.ones(n), held, made) for n in (20, 400))
    assert few.high > 0.1 and "could hide" in few.words() and many.high < 0.01


def test_copies_that_lie_among_held_out_images_are_not_counted():
    found = share_of_copies(np.full(100, 0.7), np.linspace(0.5, 1, 200), np.linspace(0.5, 1, 100))
    assert math.isnan(found.share) and found.low == 0 and "not testable" in found.words()
    assert found.high > 0.9 and "at most" in found.words()


def test_the_whole_training_set_is_searched():
    "A copy of any of the images is found, the last as the first."
    train = cloud(1500, "train")
    assert nearness(train, train).max() == 0


def test_copies_in_one_place_of_the_training_set_are_counted():
    train, held = cloud(1500, "train"), cloud(300, "held")
    fake = np.concatenate([cloud(160, "fake"), train[-40:]])
    assert copy_share(fake, train, held).share == pytest.approx(0.2, abs=0.02)


def test_a_group_is_no_neighbour_of_its_own():
    "Twenty frames of each thing: a copy of one is near to all, and still far nearer than to other things."
    things = cloud(60, "things")
    train = np.repeat(things, 20, 0) + 0.05 * cloud(1200, "frames")
    groups = np.repeat(np.arange(60), 20)
    copy = train[::20] + 0.03 * cloud(60, "noise")
    assert nearness(copy, train, groups).max() < 0.2 < np.median(nearness(copy, train))


def test_held_out_images_are_resampled_by_group():
    "The same nearness, in 500 groups or in ten of which one holds all that is near: less is known."
    held = np.sort(numpy_rng(0, "held").random(500))
    fake, made = np.r_[np.zeros(40), np.ones(360)], np.zeros(400)
    alone, grouped = (share_of_copies(fake, held, made, groups=g) for g in (None, np.arange(500) // 50))
    assert alone.share == grouped.share and grouped.low < alone.low - 0.005 and grouped.n_groups == 10
    few = share_of_copies(fake, held, made, groups=np.arange(500) // 200)
    assert few.low == 0 and few.high == alone.high


def test_exact_copies_among_exact_twins():
    "Every image stands there twelve times: a copy is nearest to twelve, and its nearness is 0."
    train = np.repeat(cloud(50, "train"), 12, 0)
    assert nearness(train, train).max() == 0


@pytest.mark.parametrize("channels", [1, 3])
def test_copies_of_each_kind_are_images_of_that_size(channels):
    images = numpy_rng(0, "images").integers(0, 256, (6, 16, 16, channels), dtype=np.uint8)
    for kind in COPIES:
        made = rendered(images, kind)
        assert made.shape == images.shape and made.dtype == np.uint8
        assert (made == images).all() == (kind == "exact")
        assert abs(made.astype(float).mean() - images.mean()) < 3
    assert low_passed(images).std() < 0.8 * (images / 255).std()


def test_what_does_not_fit_is_refused():
    train = cloud(40, "train")
    with pytest.raises(GannbError, match="in both train and held"):
        copy_share(train, train, train, groups=(np.arange(40), np.arange(40)))
    with pytest.raises(GannbError, match="outside each group"):
        nearness(train, train, np.zeros(40))
    with pytest.raises(GannbError, match="same network"):
        nearness(train, train[:, :5])
    with pytest.raises(GannbError, match="kind"):
        rendered(np.zeros((2, 8, 8, 1), np.uint8), "mirrored")
    with pytest.raises(GannbError, match="finite"):
        share_of_copies(np.array([np.nan]), train[:, 0], train[:, 0])
    with pytest.raises(GannbError, match="between 0 and 1"):
        with_copies(train[:, 0], train[:, 0], 1.5)


@pytest.mark.pack
def test_real_letters():
    """A part of the letters: a tenth of slightly blurred copies is told from none, none is made out of other
    real letters or blurred ones; the whole training part is searched."""
    train, held = (load("emnist-balanced", split=part, progress=False) for part in ("train", "test"))
    train = train.take(np.arange(len(train))[::6])
    reals = held.take(np.arange(len(held))[::3])
    eye = low_passed(train)
    made = nearness(low_passed(rendered(train[:600])), eye)
    near = nearness(low_passed(reals), eye)
    fake, null = near[::2], near[1::2]
    assert (made <= share_of_copies(fake, null, made).threshold).mean() > 0.9
    assert share_of_copies(fake, null, made[:300]).high < 0.1
    assert share_of_copies(with_copies(fake, made[300:], 0.1), null, made[:300]).low > 0.02
    blurred = nearness(low_passed(rendered(reals[::2])), eye)
    assert abs(share_of_copies(blurred, null, made[:300]).share) < 0.03
