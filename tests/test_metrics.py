"Each metric at its known limits, against other implementations, on awkward numbers, and broken on purpose."

import math
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import linalg

from gannb import metrics
from gannb.base import GannbError, numpy_rng
from gannb.metrics import (
    BETTER,
    Curve,
    class_diversity,
    closest_pairs,
    coverage,
    diversity,
    diversity_ratio,
    fd_infinity,
    fid,
    fid_curve,
    group_gap,
    inception_score,
    kid,
    kid_interval,
    kid_subsets,
    memorisation,
    near_duplicate_share,
    near_duplicates,
    normalised,
    pixels,
    plant_copies,
    planted_memorisation,
    precision_recall,
    same_size,
    self_test,
    statistics,
    statistics_from,
    trace_root,
)


def cloud(n, d, seed=0, scale=1.0, shift=0.0):
    "Correlated features of falling variance."
    rng = numpy_rng(seed, "test cloud")
    return rng.normal(size=(n, d)) @ (rng.normal(size=(d, d)) / np.sqrt(np.arange(1, d + 1))) * scale + shift


def sqrtm_fid(x, y):
    "The textbook formula in float64."
    A, B, gap = np.cov(x.T), np.cov(y.T), x.mean(0) - y.mean(0)
    return gap @ gap + np.trace(A) + np.trace(B) - 2 * np.trace(linalg.sqrtm(A @ B)).real


# --- FID

PROMISE = 1e-8  # relative error of FID that `trace_root` allows its quick way; another BLAS rounds otherwise


@pytest.mark.parametrize("n,m,d", [(50, 60, 3), (200, 150, 20), (400, 300, 48)])
def test_fid_agrees_with_scipy_matrix_square_root(n, m, d):
    x, y = cloud(n, d, 1), cloud(m, d, 2, 1.3, 0.2)
    assert abs(fid(x, y) / sqrtm_fid(x, y) - 1) < 1e-6


def test_fid_agrees_with_torchmetrics():
    from torchmetrics.image.fid import _compute_fid

    x, y = cloud(300, 16, 1), cloud(200, 16, 2, 0.7, 0.3)
    theirs = _compute_fid(*(torch.from_numpy(v) for v in (x.mean(0), np.cov(x.T), y.mean(0), np.cov(y.T))))
    assert abs(fid(x, y) / float(theirs) - 1) < PROMISE


@pytest.mark.parametrize("n,d", [(2, 5), (10, 50), (50, 50), (51, 50), (300, 20), (30, 200)])
def test_fid_of_a_set_with_itself_is_zero(n, d):
    x = cloud(n, d) * 10
    value = fid(x, x)
    assert isinstance(value, float) and 0 <= value < 1e-6
    assert fid(x, x[::-1].copy()) < 1e-6 and abs(fid(x, x + 1) - d) < 1e-6 * d


@pytest.mark.parametrize("n,m", [(10, 12), (12, 90), (90, 12)])
def test_fid_with_fewer_images_than_features_equals_the_definition(n, m):
    """Embedding both sets in more features by an isometry changes no distance: the answer is known
    from the small space, where n > d."""
    x, y = cloud(n, 5, 1), cloud(m, 5, 2, 2.0)
    up = np.linalg.qr(cloud(40, 40, 3))[0][:5]
    assert abs(fid(x @ up, y @ up) / sqrtm_fid(x, y) - 1) < 1e-6


def test_fid_is_symmetric_and_does_not_see_a_rotation():
    for n, m in ((8, 11), (80, 60)):
        x, y = cloud(n, 20, 1), cloud(m, 20, 2, 1.5, 0.5)
        Q = np.linalg.qr(cloud(20, 20, 3))[0]
        once = fid(x, y)
        assert abs(fid(y, x) / once - 1) < 2 * PROMISE
        assert abs(fid(x @ Q, y @ Q) / once - 1) < 2 * PROMISE
        assert abs(fid(3 * x, 3 * y) / (9 * once) - 1) < 2 * PROMISE


def test_fid_awkward_numbers_one_by_one():
    x, y = cloud(60, 6, 1), cloud(70, 6, 2, 1.5)
    true = sqrtm_fid(x, y)
    wide = lambda v, c: np.concatenate([v, np.full((len(v), 4), c)], 1)  # noqa: E731
    assert abs(fid(wide(x, 1.0), wide(y, 1.0)) / true - 1) < 1e-6, "constant features in both sets"
    assert abs(fid(wide(x, 1.0), wide(y, 3.0)) / (true + 16) - 1) < 1e-6, (
        "constant features, another constant"
    )
    noisy = wide(y, 0.0)
    noisy[:, 6:] = np.random.default_rng(0).normal(size=(70, 4))
    extra = (noisy[:, 6:].mean(0) ** 2).sum() + noisy[:, 6:].var(0, ddof=1).sum()
    assert abs(fid(wide(x, 0.0), noisy) / (true + extra) - 1) < 1e-6, "constant in one set only"
    assert abs(fid(np.tile(x, (1, 2)), np.tile(y, (1, 2))) / (2 * true) - 1) < 1e-6, "every feature twice"
    same = np.ones((50, 6)) * 0.3
    assert fid(same, same) < 1e-12 and abs(fid(same, same + 2) - 24) < 1e-6, "one image fifty times"
    assert abs(fid(same, x) / (((0.3 - x.mean(0)) ** 2).sum() + np.trace(np.cov(x.T))) - 1) < PROMISE, (
        "one image against many"
    )
    assert (
        abs(fid(x * 1e8, y * 1e8) / (true * 1e16) - 1) < 1e-6
        and abs(fid(x * 1e-8, y * 1e-8) / (true * 1e-16) - 1) < 1e-6
    ), "large and small scales"
    assert abs(fid(x.astype(np.float32), y.astype(np.float32)) / true - 1) < 1e-4, (
        "single precision in, double inside"
    )
    assert (
        abs(fid(x.astype(np.float32) + np.float32(1000), y.astype(np.float32) + np.float32(1000)) / true - 1)
        < 1e-3
    ), "a large mean"


def test_worse_images_score_worse():
    real, fake = cloud(1000, 12).reshape(2, 500, 12)
    noise = np.random.default_rng(0).normal(size=fake.shape)
    for metric in (fid, kid):
        values = [metric(real, fake + s * noise) for s in (0, 1, 2, 4)]
        assert values == sorted(values) and values[3] > 10 * max(values[1], 1e-9)


def test_the_quick_way_and_the_exact_way_agree():
    F, G = statistics(cloud(90, 30, 1)).factor, statistics(cloud(80, 30, 2)).factor
    exact = linalg.svdvals(F @ G.T).sum()
    few = linalg.svdvals(F @ G[:20].T).sum()
    assert abs(trace_root(F, G) / exact - 1) < 1e-12 and abs(trace_root(G[:20], F) / few - 1) < 1e-12
    for A, B, root in ((F, G, exact), (G[:20], F, few)):
        rest = 3 * root  # FID is rest - 2 root: as large as the root itself, so the quick way is taken
        assert 2 * abs(trace_root(A, B, rest) - root) < PROMISE * (rest - 2 * root)
    steep = np.diag(
        10.0 ** -np.arange(12)
    )  # singular values down to 1e-22: their squares are lost in rounding
    assert abs(trace_root(steep, steep[::-1].copy()) - linalg.svdvals(steep @ steep[::-1].T).sum()) < 1e-12


def test_stored_statistics_give_the_same_fid():
    x, y = cloud(100, 10, 1), cloud(9, 10, 2)
    s = statistics(x)
    assert s.n == 100 and s.factor.shape == (10, 10) and statistics(y).factor.shape == (9, 10)
    assert fid(s, y) == fid(x, y) == fid(s, statistics(y))
    assert abs(fid(statistics_from(x.mean(0), np.cov(x.T), 100), y) / fid(x, y) - 1) < 2 * PROMISE
    assert abs(trace_root(s.factor, s.factor) / np.trace(np.cov(x.T)) - 1) < 1e-12
    for mean, cov, n in (
        (np.ones(3), np.ones((2, 2)), 5),
        (np.ones(2), np.diag([1.0, -1.0]), 5),
        (np.ones(2), np.array([[1, 0.5], [0, 1]]), 5),
        (np.ones(2), np.eye(2) * np.nan, 5),
        (np.ones(2), np.eye(2), 1),
    ):
        with pytest.raises(GannbError):
            statistics_from(mean, cov, n)


def test_fid_falls_with_the_number_of_images_and_the_line_finds_the_end():
    a, b = numpy_rng(0, "test").normal(size=(2, 3000, 8))
    curve = fid_curve(a, b, [60, 100, 200, 500, 1000, 3000], both=True)
    assert curve.values[0] > 10 * curve.values[-1] and abs(fd_infinity(curve).value) < 0.15 * curve.values[0]
    assert fid_curve(a, b, [100, 60], both=True).values == curve.values[1::-1], (
        "a size draws the same images whatever the other sizes"
    )
    assert (
        fid_curve(a, b, [100], seed=1).values != fid_curve(a, b, [100]).values
        and abs(fid_curve(a, b, [3000]).values[0] / fid(a, b) - 1) < 2 * PROMISE
    )
    line = fd_infinity(Curve((10, 20, 50), (2 + 7 / 10, 2 + 7 / 20, 2 + 7 / 50)))
    assert abs(line.value - 2) < 1e-9 and abs(line.slope - 7) < 1e-9
    for bad in ([], [1], [4000], [50, 50], [2.5]):
        with pytest.raises(GannbError, match="sizes"):
            fid_curve(a, b, bad)
    with pytest.raises(GannbError, match="3 sizes"):
        fd_infinity(Curve((10, 20), (1.0, 2.0)))


# --- KID


def test_kid_agrees_with_torch_fidelity_and_torchmetrics():
    from torch_fidelity.metric_kid import kid_features_to_metric
    from torchmetrics.image.kid import poly_mmd

    x, y = cloud(80, 12, 1), cloud(80, 12, 2, 1.2, 0.1)
    theirs = kid_features_to_metric(
        torch.from_numpy(x), torch.from_numpy(y), kid_subsets=1, kid_subset_size=80, verbose=False
    )
    assert abs(kid(x, y) / theirs["kernel_inception_distance_mean"] - 1) < 1e-9
    assert abs(kid(x, y) / float(poly_mmd(torch.from_numpy(x), torch.from_numpy(y))) - 1) < 1e-9
    many = kid_features_to_metric(
        torch.from_numpy(x), torch.from_numpy(y), kid_subsets=300, kid_subset_size=30, verbose=False
    )
    ours = kid_subsets(x, y, subsets=300, size=30)
    error = math.hypot(many["kernel_inception_distance_std"], ours.std) / 300**0.5
    assert (
        abs(many["kernel_inception_distance_mean"] - ours.mean) < 4 * error
        and abs(ours.std / many["kernel_inception_distance_std"] - 1) < 0.2
    )
    assert abs(ours.mean - kid(x, y)) < 4 * ours.std / 300**0.5


def test_kid_blocks_and_unequal_sizes_equal_the_definition():
    x, y = cloud(1100, 3, 1), cloud(37, 3, 2)
    k = lambda a, b: (a @ b.T / 3 + 1) ** 3  # noqa: E731
    xx, yy = k(x, x), k(y, y)
    true = (
        (xx.sum() - np.trace(xx)) / (1100 * 1099) + (yy.sum() - np.trace(yy)) / (37 * 36) - 2 * k(x, y).mean()
    )
    assert abs(kid(x, y) / true - 1) < 1e-9 and abs(kid(y, x) / true - 1) < 1e-9


def test_kid_is_unbiased_where_fid_is_not():
    values = np.array([(kid(*pair), fid(*pair)) for pair in numpy_rng(0, "kid").normal(size=(400, 2, 12, 6))])
    error = values.std(0) / 20
    assert (
        abs(values[:, 0].mean()) < 3 * error[0]
        and (values[:, 0] < 0).any()
        and values[:, 1].mean() > 20 * error[1]
    )


def test_kid_interval_covers_the_truth_about_as_often_as_it_says():
    rng = numpy_rng(0, "coverage")
    for shift, truth in ((0.0, 0.0), (1.0, None)):
        if truth is None:
            truth = kid(rng.normal(size=(2000, 2)), rng.normal(size=(2000, 2)) + shift)
        hits = [
            e.low <= truth <= e.high
            for e in (
                kid_interval(rng.normal(size=(60, 2)), rng.normal(size=(60, 2)) + shift) for _ in range(200)
            )
        ]
        assert 0.86 <= np.mean(hits) <= 1
    x, y = rng.normal(size=(2, 50, 4))
    assert abs(kid_interval(x, y).value - kid(x, y)) < 1e-12
    jack = (
        np.array([kid(np.delete(x, i, 0), y) for i in range(50)]),
        np.array([kid(x, np.delete(y, i, 0)) for i in range(50)]),
    )
    error = math.sqrt(sum(49 / 50 * ((w - w.mean()) ** 2).sum() for w in jack))
    assert abs(kid_interval(x, y).high - (kid(x, y) + 1.96 * error)) < 1e-9, (
        "the fast jackknife is the slow one"
    )


# --- Inception Score


def test_inception_score_agrees_with_torch_fidelity():
    from torch_fidelity.metric_isc import isc_features_to_metric

    logits = cloud(203, 11) * 2
    order = numpy_rng(3, "inception score").permutation(203)
    for splits in (1, 10):
        theirs = isc_features_to_metric(torch.from_numpy(logits[order]), splits=splits, shuffle=False)
        ours = inception_score(logits, splits, seed=3)
        assert (
            abs(ours.mean - theirs["inception_score_mean"]) < 1e-9
            and abs(ours.std - theirs["inception_score_std"]) < 1e-9
        )


def test_inception_score_limits():
    assert abs(inception_score(np.full((100, 7), 3.0)).mean - 1) < 1e-12
    for K in (2, 10):
        assert abs(inception_score(np.eye(K).repeat(30, 0) * 1e3, 1).mean - K) < 1e-9
    assert abs(inception_score(np.tile([[900.0, 0, 0]], (50, 1))).mean - 1) < 1e-12, (
        "always the same class, and probabilities of exactly 0"
    )
    sorted_by_class = np.eye(10).repeat(100, 0) * 1e3
    assert inception_score(sorted_by_class).mean > 9, (
        "dealt out at random: sorted images do not make every split one class"
    )
    assert (
        inception_score(sorted_by_class, seed=1)
        == inception_score(sorted_by_class, seed=1)
        != inception_score(sorted_by_class, seed=2)
    )
    for splits in (0, 1001, 2.0, True):
        with pytest.raises(GannbError, match="splits"):
            inception_score(sorted_by_class, splits)


# --- precision, recall, coverage


def brute(real, fake, k):
    "The definitions, one distance at a time."
    dist = lambda a, b: np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1))  # noqa: E731
    r, f = np.sort(dist(real, real), 1)[:, k], np.sort(dist(fake, fake), 1)[:, k]
    return (
        (dist(fake, real) <= r).any(1).mean(),
        (dist(real, fake) <= f).any(1).mean(),
        (dist(real, fake) <= r[:, None]).any(1).mean(),
    )


@pytest.mark.parametrize("k", [1, 3, 5])
def test_precision_recall_coverage_agree_with_torch_fidelity_and_the_definition(k):
    from torch_fidelity.metric_prc import prc_features_to_metric

    real, fake = cloud(150, 6, 1), cloud(120, 6, 2, 0.8, 0.4)
    theirs = prc_features_to_metric(
        torch.from_numpy(fake), torch.from_numpy(real), prc_neighborhood=k, verbose=False
    )
    ours, (p, r, c) = precision_recall(real, fake, k), brute(real, fake, k)
    assert 0.02 < ours.precision < 1 and 0.1 < ours.recall < 1, "a case that can tell"
    assert abs(ours.precision - theirs["precision"]) < 1e-6 and abs(ours.recall - theirs["recall"]) < 1e-6
    assert (ours.precision, ours.recall, coverage(real, fake, k)) == (p, r, c)


def test_precision_recall_coverage_limits():
    x = cloud(100, 5)
    assert precision_recall(x, x) == (1, 1) and coverage(x, x) == 1
    assert precision_recall(x, x + 1e3) == (0, 0) and coverage(x, x + 1e3) == 0
    collapsed = np.repeat(x[:1], 50, 0)
    assert precision_recall(x, collapsed) == (1, 0.01), "right, but only one thing"
    same = np.ones((20, 4)) / 3
    assert precision_recall(same, same[:9]) == (1, 1) and coverage(same, same[:9]) == 1, "duplicates only"
    rng = numpy_rng(0, "coverage limit")
    expected = 1 - math.prod(
        (200 - i) / (400 - i) for i in range(1, 6)
    )  # Naeem et al. 2020, eq. 11: the same distribution, N = M = 200
    found = np.mean([coverage(*rng.normal(size=(2, 200, 8))) for _ in range(15)])
    assert abs(found - expected) < 0.02
    for k in (0, 100, 1.5):
        with pytest.raises(GannbError, match="k must"):
            precision_recall(x, x, k)
        with pytest.raises(GannbError, match="k must"):
            coverage(x, x, k)


# --- diversity


def test_diversity():
    x = cloud(1500, 3)
    true = sum(np.sqrt(((x[i] - x) ** 2).sum(1)).sum() for i in range(len(x))) / (1500 * 1499)
    assert abs(diversity(x) / true - 1) < 1e-9 and diversity(np.ones((5, 2)) / 3) < 1e-12
    assert abs(diversity(x + 1e4) / true - 1) < 1e-6 and abs(diversity_ratio(x * 0.25, x) - 0.25) < 1e-9
    halves = [diversity(x[i::30]) for i in range(30)]
    assert abs(np.mean(halves) / true - 1) < 0.03, "the number of images does not move it"
    assert class_diversity(np.array([[0.0], [2.0], [7.0], [7.0]]), ["b", "b", "a", "a"]) == {
        "a": 0.0,
        "b": 2.0,
    }
    with pytest.raises(GannbError, match="class 'c' has 1"):
        class_diversity(x[:3], ["a", "a", "c"])
    with pytest.raises(GannbError, match="labels"):
        class_diversity(x[:3], ["a", "a"])
    with pytest.raises(GannbError, match="all reals"):
        diversity_ratio(x, np.ones((4, 3)) / 3)


# --- memorisation


def test_memorisation_knows_copies_from_learning():
    rng = numpy_rng(0, "memorisation test")
    train, held, fake = rng.normal(size=(3, 400, 6))
    honest = memorisation(fake, train, held)
    assert honest.low < 0.5 < honest.high and (honest.n_fake, honest.n_train, honest.n_held) == (
        400,
        400,
        400,
    )
    assert memorisation(train, train, held)[:3] == (1, 1, 1) and memorisation(held, train, held).share == 0
    planted = planted_memorisation(fake, train, held, share=0.25)
    assert abs(planted.share - (0.25 + 0.75 * honest.share)) < 0.03 and planted.low > 0.5
    assert memorisation(fake, train, train).share == 0.5, "a tie counts half"
    both = np.concatenate([held, train[:50]])
    more = np.concatenate([train, rng.normal(size=(50, 6))])
    assert memorisation(train[:50], more, both).share == 0.5, (
        "an image in both sets is a tie, whatever else stands there"
    )


def test_memorisation_cuts_to_equal_sizes():
    rng = numpy_rng(0, "sizes")
    train, held, fake = rng.normal(size=(900, 4)), rng.normal(size=(300, 4)), rng.normal(size=(600, 4))
    m = memorisation(fake, train, held)
    assert m.n_train == m.n_held == 300 and 0.4 < m.share < 0.6, (
        "three times as many training images would give 0.75"
    )
    assert memorisation(fake, held, train).n_train == 300 and memorisation(
        fake, train, held, seed=1
    ) != m == memorisation(fake, train, held, seed=0)
    assert abs(planted_memorisation(fake, train, held, share=0.5).share - (0.5 + 0.5 * m.share)) < 0.06, (
        "copies of the images that are looked at"
    )
    t, h = same_size(np.repeat(np.arange(30), 30), np.repeat(np.arange(100, 110), 30))
    assert len(t) == len(h) == 300 and len(set(t)) == 300 and len(set(t // 30)) == 10, "whole groups"


def test_memorisation_counts_groups_not_images():
    rng = numpy_rng(0, "groups")
    centres = rng.normal(size=(24, 8))
    g = np.repeat(np.arange(24), 25)
    frames = centres[g] + 0.05 * rng.normal(size=(600, 8))
    fake = rng.normal(size=(300, 8))
    alone, grouped = (
        memorisation(fake, frames[:300], frames[300:]),
        memorisation(fake, frames[:300], frames[300:], (g[:300], g[300:])),
    )
    assert (
        alone.share == grouped.share
        and grouped.n_groups <= 24
        and grouped.high - grouped.low > 1.5 * (alone.high - alone.low)
    )
    one = memorisation(
        np.repeat(frames[:1], 200, 0) + 0.001 * rng.normal(size=(200, 8)), frames[:300], frames[300:]
    )
    assert one.share == 1 and (one.low, one.high) == (0, 1) and one.n_groups == 1, (
        "two hundred copies of one image are one event"
    )
    with pytest.raises(GannbError, match="both sets.*1 do.*'a'"):
        memorisation(fake[:4], frames[:2], frames[2:4], (["a", "b"], ["a", "c"]))
    for bad in (("a",), "ab", (["a"], ["b", "c"])):
        with pytest.raises(GannbError, match="groups"):
            memorisation(fake[:4], frames[:2], frames[2:4], bad)


def test_memorisation_interval_holds_one_half_when_nothing_was_memorised():
    rng = numpy_rng(0, "null")
    held_half = []
    g = np.repeat(np.arange(40), 5)
    for seed in range(100):
        frames = rng.normal(size=(40, 6))[g] + 0.1 * rng.normal(size=(200, 6))
        m = memorisation(rng.normal(size=(100, 6)), frames[:100], frames[100:], (g[:100], g[100:]), seed)
        held_half.append(m.low <= 0.5 <= m.high)
    assert np.mean(held_half) >= 0.85


def test_plant_copies():
    rng = numpy_rng(0, "plant")
    fake, train = rng.normal(size=(50, 3)), rng.normal(size=(20, 3))
    before = fake.copy()
    out = plant_copies(fake, train, 0.3)
    copies = (out[:, None] == train[None]).all(-1).any(1)
    assert copies.sum() == 15 and (out[~copies] == fake[~copies]).all() and (fake == before).all()
    assert (plant_copies(fake, train, 0) == fake).all()
    for bad in (-0.1, 1.1, math.nan):
        with pytest.raises(GannbError, match="share"):
            plant_copies(fake, train, bad)


def test_closest_pairs():
    train = cloud(300, 5, 1)
    fake = cloud(100, 5, 2)
    fake[17] = train[200]
    fake[40] = train[3] + 1e-9
    p = closest_pairs(fake, train, 3)
    assert (
        p.fake[:2].tolist() == [17, 40]
        and p.train[:2].tolist() == [200, 3]
        and p.distance[0] == 0
        and abs(p.distance[1] - 1e-9 * 5**0.5) < 1e-12
    )
    d = np.sqrt(((fake[:, None] - train[None]) ** 2).sum(-1))
    assert np.allclose(np.sort(d.min(1))[:3], p.distance, atol=1e-12) and (np.diff(p.distance) >= 0).all()
    assert (
        len(closest_pairs(fake, train, 1000).fake) == 100
        and len(closest_pairs(fake[:1], train[:1]).fake) == 1
    )
    with pytest.raises(GannbError, match="n must"):
        closest_pairs(fake, train, 0)


# --- near-duplicates


def test_near_duplicates_of_a_turning_fruit():
    rng = numpy_rng(0, "fruit")
    g = np.repeat(np.arange(12), 8)
    frames = rng.normal(size=(12, 30))[g] + 0.05 * rng.normal(size=(96, 30))
    found = near_duplicates(frames, g)
    assert (
        found.share == 1
        and found.pairs == 12 * 28
        and abs(found.pair_share - 336 / (96 * 95 / 2)) < 1e-12
        and found.n == 96
        and "0.5 of the median" in found.rule
    )
    lonely = np.concatenate([frames, 20 + 20 * rng.normal(size=(32, 30))])
    assert abs(near_duplicates(lonely, threshold=found.threshold).share - 0.75) < 1e-12
    order = rng.permutation(96)
    assert (
        near_duplicate_share(frames[:64], frames[64:], found.threshold) == 0
        and near_duplicate_share(frames[order[:64]], frames[order[64:]], found.threshold) == 1
    )
    assert near_duplicates(frames, g, fraction=1e-3).share == 0


def test_near_duplicate_thresholds_are_root_mean_square_per_feature():
    x = np.zeros((2, 100))
    x[1] = 0.1
    assert near_duplicates(x, threshold=0.1001).share == 1 and near_duplicates(x, threshold=0.0999).share == 0
    assert (
        near_duplicate_share(x[:1], x[1:], 0.1001) == 1
        and near_duplicate_share(x[:1], x[1:], 0.0999) == 0
        and abs(group_gap(x, [0, 1]) - 0.1) < 1e-12
    )
    images = np.zeros((3, 4, 4, 3), np.uint8)
    images[1] = 5
    images[2] = 255
    assert (
        near_duplicates(pixels(images), threshold=5.1 / 255)[:3] == (2 / 3, 1 / 3, 1)
        and pixels(images)[2].max() == 1
    )
    big = np.zeros((1100, 2))
    big[:, 0] = np.arange(1100)
    big[1099] = big[0] + 0.01
    assert near_duplicates(big, threshold=0.1).pairs == 1, "a pair in two different blocks"
    for call in (
        lambda: near_duplicates(x),
        lambda: near_duplicates(x, threshold=0.0),
        lambda: near_duplicates(x, threshold=math.nan),
        lambda: near_duplicates(x, [0, 1], fraction=-1),
        lambda: near_duplicates(x, [0, 0]),
        lambda: near_duplicates(x, [0]),
        lambda: near_duplicate_share(x, x, -1),
        lambda: pixels(images[0]),
        lambda: pixels(images.astype(float)),
    ):
        with pytest.raises(GannbError):
            call()


# --- bad input

TWO = {
    "fid": fid,
    "kid": kid,
    "kid_subsets": kid_subsets,
    "kid_interval": kid_interval,
    "precision_recall": precision_recall,
    "coverage": coverage,
    "diversity_ratio": diversity_ratio,
    "plant_copies": plant_copies,
    "closest_pairs": closest_pairs,
    "memorisation": lambda a, b: memorisation(a, b, b),
    "near_duplicate_share": lambda a, b: near_duplicate_share(a, b, 1.0),
    "fid_curve": lambda a, b: fid_curve(a, b, [5]),
}
ONE = {
    "inception_score": inception_score,
    "diversity": diversity,
    "statistics": statistics,
    "near_duplicates": lambda x: near_duplicates(x, threshold=1.0),
}
GOOD = np.random.default_rng(0).normal(size=(12, 4))


def spoilt(value):
    x = GOOD.copy()
    x[3, 1] = value
    return x


BAD = {
    "NaN": (spoilt(np.nan), "NaN or infinity in 1 of 12"),
    "infinity": (spoilt(-np.inf), "NaN or infinity"),
    "1-D": (GOOD[0], r"shape \(4,\)"),
    "3-D": (GOOD[None], r"shape \(1, 12, 4\)"),
    "whole numbers": (GOOD.astype(int), "floats"),
    "uint8": (GOOD.astype(np.uint8), "floats"),
    "complex": (GOOD.astype(complex), "floats"),
    "texts": (np.array([["a", "b"]] * 12), "floats"),
    "empty": (GOOD[:0], "at least"),
    "no columns": (GOOD[:, :0], "at least"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_features_are_refused(what):
    x, words = BAD[what]
    for call in ONE.values():
        with pytest.raises(GannbError, match=words):
            call(x)
    for call in TWO.values():
        for pair in ((x, GOOD), (GOOD, x)):
            with pytest.raises(GannbError, match=words):
                call(*pair)


@pytest.mark.parametrize("name", TWO)
def test_different_networks_are_refused(name):
    TWO[name](GOOD, GOOD)
    with pytest.raises(GannbError, match="same network.*4.*3|same network.*3.*4"):
        TWO[name](GOOD, GOOD[:, :3].copy())


@pytest.mark.parametrize(
    "name", ["fid", "kid", "kid_subsets", "kid_interval", "diversity_ratio", "precision_recall", "coverage"]
)
def test_one_image_is_refused(name):
    for pair in ((GOOD[:1], GOOD), (GOOD, GOOD[:1])):
        with pytest.raises(GannbError):
            TWO[name](*pair)


def test_metrics_leave_the_global_generators_and_their_input_alone():
    np.random.seed(5)
    torch.manual_seed(5)
    before = np.random.get_state()[1].copy(), torch.get_rng_state().clone()
    x, y = cloud(60, 4, 1), cloud(60, 4, 2)
    kept = x.copy(), y.copy()
    for call in TWO.values():
        call(x, y)
    for call in ONE.values():
        call(x)
    self_test()
    assert (
        (np.random.get_state()[1] == before[0]).all()
        and torch.equal(torch.get_rng_state(), before[1])
        and (x == kept[0]).all()
        and (y == kept[1]).all()
    )


# --- records


def test_each_better_side_is_the_measured_one():
    "Fakes from the reals' own distribution score better than shifted ones, and the table says so."
    real, good = cloud(300, 6, 1), cloud(300, 6, 2)
    bad = good + 3
    values = {
        "fid": fid,
        "kid": kid,
        "precision": lambda r, f: precision_recall(r, f).precision,
        "recall": lambda r, f: precision_recall(r, f).recall,
        "coverage": coverage,
    }
    for name, measure in values.items():
        difference = measure(real, bad) - measure(real, good)
        assert abs(difference) > 0.1, name
        assert BETTER[name] == ("lower" if difference > 0 else "higher"), name
    assert BETTER["quality"] == "higher" and normalised(1.0, 5.0, 0.5) > normalised(4.0, 5.0, 0.5)
    assert BETTER["diversity"] is None


def test_normalised():
    assert (
        normalised(5, 5, 1) == 0
        and normalised(1, 5, 1) == 1
        and normalised(4, 5, 1) == 0.25
        and normalised(9, 5, 1) == -1
        and normalised(3.0, 1.0, 5.0) == 0.5
    )
    for u, h in ((1, 1), (math.nan, 1), (1, math.inf)):
        with pytest.raises(GannbError, match="ends"):
            normalised(1, u, h)


# --- the self-test catches a broken metric


def test_self_test_is_green_and_quick():
    checks = self_test()
    assert len(checks) > 30 and all(c.ok for c in checks), [c for c in checks if not c.ok]


MUTATIONS = {  # what is broken: (token of gannb/metrics.py, what it becomes)
    "kernel of power 2": ("degree=3", "degree=2"),
    "kernel without 1/d": ("gamma=1 / a.shape[1]", "gamma=1.0"),
    "kernel without + 1": ("coef0=1", "coef0=0"),
    "diagonal left in": ("np.fill_diagonal(K, 0)", "pass"),
    "biased divisor": ("_within(real).sum() / (n * (n - 1))", "_within(real).sum() / (n * n)"),
    "KID without the 2": ("- 2 * _across(real, fake)[0]", "- _across(real, fake)[0]"),
    "FID without the 2": ("- 2 * trace_root", "- trace_root"),
    "FID without the means": ("gap @ gap + (r.factor", "(r.factor"),
    "no way back from rounding": ("linalg.svdvals(M, overwrite_a=True, check_finite=False).sum()", "s.sum()"),
    "FID with 1/n": ("math.sqrt(n - 1)", "math.sqrt(n)"),
    "trace instead of singular values": ("float(s.sum())", "float(np.trace(M))"),
    "one factor twice": ("M = F @ G.T", "M = F @ F.T"),
    "clipped at 1": ("max(0.0, rest", "max(1.0, rest"),
    "Cholesky of the wrong side": (
        "linalg.cholesky(cov, check_finite=False)",
        "linalg.cholesky(cov, lower=True, check_finite=False)",
    ),
    "score without exp": ("return math.exp((p", "return float((p"),
    "score of log 2": ("p = np.exp(log_p)", "p = 2 ** log_p"),
    "score without the mean": ("q = p.mean(0)", "q = p[0]"),
    "precision for recall": (
        "_inside(fake, real, _radii(real, k))[0]",
        "_inside(real, fake, _radii(fake, k))[0]",
    ),
    "one neighbour more": ("n_neighbors=k,", "n_neighbors=k + 1,"),
    "radius not squared": ("return ((x - x[far]) ** 2).sum(1)", "return np.abs(x - x[far]).sum(1)"),
    "coverage of fakes": ("_radii(real, k))[1].mean()", "_radii(real, k))[0].mean()"),
    "diversity with self-pairs": ("float(total / (n * (n - 1)))", "float(total / (n * n))"),
    "fakes' own ratio": ("diversity(fake) / diversity(real)", "diversity(real) / diversity(fake)"),
    "memorisation turned round": ("np.where(d_t < d_h, 1.0", "np.where(d_t > d_h, 1.0"),
    "a tie counts": ("0.0, 0.5))", "0.0, 1.0))"),
    "farthest pair": ("np.argsort(d, kind", "np.argsort(-d, kind"),
    "nothing planted": ("train[rng.integers", "fake[rng.integers"),
    "pairs with themselves": ("np.arange(s.start, s.stop)] = False", "np.arange(s.start, s.stop)] = True"),
    "threshold not per feature": ("limit**2 * x.shape[1]", "limit**2"),
    "mean of all distances": ("np.median(np.sqrt(least / x.shape[1]))", "np.median(np.sqrt(least))"),
    "ends swapped": ("(untrained - value) / (", "(value - held_out) / ("),
    "line through n": (
        "np.polyfit(1 / np.array(curve.sizes, float)",
        "np.polyfit(np.array(curve.sizes, float)",
    ),
    "intervals lose the 2": ("- 2 * rf / (n * m)", "- rf / (n * m)"),
    "two samples, nothing learnt": ("opt.step()", "pass"),
    "two samples, labels swapped": ("np.repeat([0.0, 1.0], [len(real)", "np.repeat([1.0, 0.0], [len(real)"),
    "two samples, asked about what was learnt": (
        "1 - _called_fake(net, real_asked) + _called_fake(net, fake_asked)",
        "1 - _called_fake(net, real_learn) + _called_fake(net, fake_learn)",
    ),
    "gist without its root": ("return np.sqrt(np.concatenate(found) +", "return (np.concatenate(found) +"),
    "gist of sums": ("(sums / np.outer(counts, counts))", "sums"),
    "KID of gist, not standardised": ("((x - mean) / spread for x in", "(x for x in"),
}


@pytest.mark.parametrize("what", MUTATIONS)
def test_a_broken_metric_is_caught(what, monkeypatch):
    source = Path(metrics.__file__).read_text()
    token, broken = MUTATIONS[what]
    assert token in source, f"gannb/metrics.py no longer holds {token!r}"
    module = types.ModuleType("gannb.broken_metrics")
    module.__package__ = "gannb"
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(source.replace(token, broken), "broken_metrics.py", "exec"), module.__dict__)
    assert not all(c.ok for c in module.self_test())
