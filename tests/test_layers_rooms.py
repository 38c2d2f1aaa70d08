"""What layers learnt: every measure on cases whose answer is known, and the rows of the ledger."""

import math
import shutil
from itertools import permutations

import numpy as np
import pytest
import torch
from torch import nn

import stagehash
from gannb import store
from gannb.base import GannbError, numpy_rng
from gannb.classify import new_classifier
from gannb.data import ImageSet
from gannb.datasets.registry import load
from gannb.layers import (
    GROUPS,
    PLACES,
    centred_gram,
    cka_chance,
    cka_of,
    combined,
    convolutions,
    effective_rank,
    equal_rank,
    first_filters,
    group_shares,
    layer_maps,
    linear_cka,
    mean_abs_r,
    orientation,
    pooled,
    random_filters,
    shuffled,
    smooth_random,
    smoothness,
    standardised,
    three_layers,
    unit_channels,
    untrained_like,
)
from gannb.stages import layers as stage
from gannb.stages.classifier import ClassifierConfig, fitted
from gannb.stages.features import network

KNOWN = {1: "10ebb41a54b39bcb"}  # version -> hash
ENTRIES = tuple(("stages.layers", name) for name in ("filter_rows", "map_rows"))
LINE = np.arange(7) - 3.0


def test_layers_version_names_this_code():
    stagehash.check("LAYERS_VERSION", stage.LAYERS_VERSION, KNOWN, *ENTRIES)


def drawn(name, *shape):
    return numpy_rng(0, name).normal(size=shape)


# ---- filters


def expected_abs_r(p):
    "The mean |r| of two vectors of p independent normal numbers."
    return math.gamma((p - 1) / 2) / (math.sqrt(math.pi) * math.gamma(p / 2))


@pytest.mark.parametrize("shape", [(3, 3), (7, 7), (3, 7, 7)])
def test_random_filters_have_the_r_and_the_smoothness_of_theory(shape):
    x = random_filters((1500, *shape))
    p = math.prod(shape)
    assert mean_abs_r(x) == pytest.approx(expected_abs_r(p), abs=0.003)
    if len(shape) == 2:
        assert smoothness(x) == pytest.approx(-1 / (p - 1), abs=0.01)
    assert expected_abs_r(9) == pytest.approx(0.291, abs=0.001)
    assert expected_abs_r(147) == pytest.approx(0.066, abs=0.001)


def test_r_of_filters_by_hand():
    a, b = drawn("a", 3, 3), drawn("b", 3, 3)
    r = abs(np.corrcoef(a.ravel(), b.ravel())[0, 1])
    assert mean_abs_r(np.stack([a, b, 5 - 2 * a])) == pytest.approx((2 * r + 1) / 3)
    assert mean_abs_r(np.stack([a, b, np.full((3, 3), 7.0)])) == pytest.approx(r), "a flat filter has no r"
    assert mean_abs_r(np.stack([a, b]) * 1e-6) == pytest.approx(r)


def test_r_and_smoothness_do_not_ask_for_sign_order_or_turn():
    x = drawn("filters", 40, 5, 5)
    for y in (-x, x[::-1], np.rot90(x, axes=(1, 2)), x * np.arange(1, 41)[:, None, None]):
        assert mean_abs_r(y) == pytest.approx(mean_abs_r(x)) and smoothness(y) == pytest.approx(smoothness(x))


def test_smoothness_by_hand():
    checks = np.outer((-1.0) ** np.arange(6), (-1.0) ** np.arange(6))
    edge = np.repeat([-1.0, 1.0], 3)[:, None] * np.ones(6)
    assert smoothness(np.stack([checks, -checks])) == pytest.approx(-1)
    # of 60 pairs of neighbours six are opposite, all others alike
    assert smoothness(np.stack([edge, edge.T])) == pytest.approx((54 - 6) / 60)


def test_shuffled_filters_keep_their_pixels_and_lose_their_structure():
    smooth = np.stack([np.sin(i + LINE)[:, None] + np.cos(i / 3 + LINE) for i in range(60)])
    w = smooth[:, None] * np.array([1.0, 0.5, -0.2]).reshape(1, 3, 1, 1)
    mixed = shuffled(w, 3)
    assert np.allclose(np.sort(mixed[5, 1].ravel()), np.sort(w[5, 1].ravel()))
    assert np.allclose(mixed[:, 0] * 0.5, mixed[:, 1]), "the colours of a pixel stay together"
    assert not np.array_equal(mixed, shuffled(w, 4)) and np.array_equal(mixed, shuffled(w, 3))
    assert smoothness(combined(w)) > 0.5 and abs(smoothness(combined(mixed)) + 1 / 48) < 0.03


def test_smooth_random_filters_go_together_as_the_given_ones():
    w = np.stack([np.sin(i * 0.7 + LINE * (0.4 + i / 90))[:, None] * np.ones(7) for i in range(64)])
    like = np.concatenate([smooth_random(w, s) for s in range(20)])
    assert smoothness(like) == pytest.approx(smoothness(w), abs=0.03)
    assert mean_abs_r(like) > 2 * expected_abs_r(49), "smooth filters have a larger |r| by chance"
    pairs = [np.corrcoef(x.reshape(49, -1)) for x in (w.T, like.T)]
    assert np.abs(np.nan_to_num(pairs[0]) - np.nan_to_num(pairs[1])).mean() < 0.15


def wave(cycles):
    return np.cos(LINE * cycles) * np.exp(-(LINE**2) / 6)


@pytest.mark.parametrize(
    "group, filters",
    [
        ("horizontal edges", [np.sign(LINE)[:, None] * np.ones(7), wave(1.4)[:, None] * np.ones(7)]),
        ("horizontal edges", [[[1.0] * 3, [1.0] * 3, [-2.0] * 3], [[0.0] * 3, [3.0, 3, 2.5], [0.0] * 3]]),
        ("vertical edges", [np.ones((7, 1)) * np.sign(LINE), np.ones((7, 1)) * wave(2)]),
        ("one colour", [np.full((7, 7), -0.3), 1 + 0.1 * drawn("colour", 7, 7)]),
        ("texture and other", [np.sign(LINE[:, None] + LINE), np.outer(wave(1), wave(1))]),
        ("texture and other", [np.outer((-1.0) ** np.arange(7), (-1.0) ** np.arange(7)), np.eye(7) - 1 / 7]),
    ],
)
def test_drawn_filters_fall_into_their_group(group, filters):
    filters = np.array(filters, float)
    noisy = filters + 0.02 * drawn("noise", *filters.shape)
    for x in (filters, -filters, 100 * filters, noisy):
        assert [GROUPS[i] for i in orientation(x)] == [group] * len(filters)
    turned = {"horizontal edges": "vertical edges", "vertical edges": "horizontal edges"}.get(group, group)
    assert group_shares(np.rot90(filters, axes=(1, 2)))[turned] == 1


@pytest.mark.parametrize("degrees, group", [(0.1, 0), (26, 0), (34, 3), (45, 3), (56, 3), (64, 1)])
def test_a_slope_of_thirty_degrees_is_where_a_horizontal_edge_ends(degrees, group):
    y, x = np.mgrid[-8:9, -8:9]
    across = np.sin(np.deg2rad(degrees)) * x + np.cos(np.deg2rad(degrees)) * y
    edge = np.tanh(across / 4)
    assert orientation(np.stack([edge, -edge])).tolist() == [group, group]


# ---- CKA


def hsic_by_tuples(k, m):
    "Song et al. 2012: the U-statistic, written out over every four different images."
    terms = [k[a, b] * (m[a, b] + m[c, d] - 2 * m[a, c]) for a, b, c, d in permutations(range(len(k)), 4)]
    return np.mean(terms)


def hsic_1(k, m):
    "Song et al. 2012, eq. 5, as it stands."
    n, one = len(k), np.ones(len(k))
    k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
    whole = np.trace(k @ m) + (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
    return (whole - 2 / (n - 2) * (one @ k @ m @ one)) / (n * (n - 3))


def test_debiased_cka_is_made_of_hsic_1():
    x, y = drawn("x", 7, 3), drawn("y", 7, 5) + drawn("x", 7, 3) @ np.ones((3, 5))
    k, m = x @ x.T, y @ y.T
    for a, b in ((k, m), (k, k), (m, m)):
        assert hsic_1(a, b) == pytest.approx(hsic_by_tuples(a, b))
    found = hsic_1(k, m) / math.sqrt(hsic_1(k, k) * hsic_1(m, m))
    assert linear_cka(x, y) == pytest.approx(found)


def test_biased_cka_is_that_of_the_paper():
    x, y = drawn("x", 30, 4), drawn("y", 30, 6) + drawn("x", 30, 4)[:, :1]
    a, b = x - x.mean(0), y - y.mean(0)
    norm = np.linalg.norm
    assert linear_cka(x, y, False) == pytest.approx(norm(b.T @ a) ** 2 / (norm(a.T @ a) * norm(b.T @ b)))


@pytest.mark.parametrize("debiased", [True, False])
def test_cka_does_not_ask_for_axes_unit_or_place(debiased):
    x = drawn("x", 60, 20)
    turn = np.linalg.qr(drawn("turn", 20, 20))[0]
    for y in (x, x @ turn, 7 * x + 3, -x, np.concatenate([x, x], 1)):
        assert linear_cka(x, y, debiased) == pytest.approx(1)
    assert linear_cka(x, x * 10.0 ** np.arange(20), debiased) < 0.5, "an uneven unit is another layer"
    assert linear_cka(x.reshape(60, 5, 2, 2), x, debiased) == pytest.approx(1), "maps are taken as they lie"


def test_independent_layers_have_none_even_with_many_numbers():
    pairs = [(drawn(f"x{i}", 40, 2000), drawn(f"y{i}", 40, 3000)) for i in range(12)]
    found = [linear_cka(x, y) for x, y in pairs]
    assert abs(np.mean(found)) < 0.03 and max(map(abs, found)) < 0.15
    assert min(linear_cka(x, y, False) for x, y in pairs) > 0.9, "with bias noise looks like the same layer"


def test_half_of_a_layer_is_half():
    x, other = drawn("x", 400, 30), drawn("other", 400, 30)
    assert linear_cka(x, x + other) == pytest.approx(0.5, abs=0.05)


def test_chance_is_what_shuffled_images_give():
    x = drawn("x", 80, 10)
    k = centred_gram(x)
    chance = cka_chance(k, k, 300)
    assert len(chance) == 300 and abs(chance.mean()) < 0.01 and 0.01 < np.quantile(chance, 0.95) < 0.2
    order = numpy_rng(0, "shuffled images").permutation(80)
    assert chance[0] == pytest.approx(linear_cka(x[order], x))


# ---- rank


def test_effective_rank_by_hand():
    basis = np.linalg.qr(drawn("basis", 50, 12))[0]
    assert effective_rank(basis, centre=False) == pytest.approx(12)
    assert effective_rank(basis * np.repeat([1.0, 0], [5, 7]), centre=False) == pytest.approx(5)
    values = np.array([3.0, 1.0]) / 4
    two = basis[:, :2] * [3.0, 1.0]
    assert effective_rank(two, centre=False) == pytest.approx(math.exp(-(values * np.log(values)).sum()))
    assert effective_rank(np.ones((5, 3))) == 0 and effective_rank(np.ones((5, 3)), centre=False) == 1
    assert effective_rank(drawn("n", 10, 400)) < 9.0001, "one image less than there are"


def test_equal_rank_compares_layers_of_unlike_width():
    wide = drawn("wide", 300, 200)
    narrow = wide[:, :20]
    assert effective_rank(wide) > 5 * effective_rank(narrow)
    assert equal_rank(wide, 20) == pytest.approx(equal_rank(narrow, 20), rel=0.02)
    assert equal_rank(narrow, 20) == effective_rank(narrow)
    assert equal_rank(np.repeat(narrow[:, :4], 50, 1), 20) < 4.0001


def test_the_unit_of_a_channel_is_not_heard():
    maps = drawn("maps", 40, 6, 5, 5)
    louder = maps * np.array([1, 1000, 0.001, 3, 1, 1]).reshape(1, 6, 1, 1) + 5
    assert np.allclose(standardised(maps), standardised(louder), atol=1e-4)
    assert np.allclose(pooled(maps), pooled(louder), atol=1e-4)
    still = np.concatenate([maps, np.full((40, 1, 5, 5), 0.3)], 1)
    assert not standardised(still)[:, 6].any() and np.isfinite(unit_channels(pooled(still))).all()
    by_hand = np.maximum((maps[:, 2] - maps[:, 2].mean()) / maps[:, 2].std(), 0).mean((1, 2))
    assert np.allclose(pooled(maps)[:, 2], by_hand, atol=1e-5)


# ---- networks


@pytest.fixture(scope="module")
def images():
    "120 small colour images: blobs of one colour on another."
    rng, at = numpy_rng(0, "blobs"), np.mgrid[:32, :32]
    centre, width = rng.uniform(6, 26, (120, 2, 1, 1)), rng.uniform(10, 80, (120, 1, 1))
    blob = np.exp(-((at[None] - centre) ** 2).sum(1) / width)[..., None]
    two = rng.uniform(0, 255, (2, 120, 1, 1, 3))
    x = two[0] * blob + two[1] * (1 - blob) + rng.normal(0, 6, (120, 32, 32, 3))
    return ImageSet.of_images(np.clip(x, 0, 255).astype(np.uint8), "blobs")


@pytest.mark.parametrize(
    "name, size, first, middle, last",
    [
        ("resnet18", 32, (64, 3, 7, 7), ("net.layer2.1.conv2", 128, 8), ("net.layer4.1.conv2", 512, 2)),
        ("effnet-lite0", 32, (32, 3, 3, 3), ("net.blocks.4.0.conv_pw", 480, 4), ("net.conv_head", 1280, 2)),
        ("cnn", 32, (32, 3, 5, 5), ("net.3", 64, 8), ("net.9", 128, 4)),
        ("cnn", 16, (32, 3, 5, 5), ("net.3", 64, 4), ("net.6", 128, 4)),
    ],
)
def test_three_layers_of_each_network(images, name, size, first, middle, last):
    net = new_classifier(name, 4, size)
    x = np.asarray(images.images)[:5, :size, :size]
    maps, names = layer_maps(net, x, batch=2), three_layers(net)
    assert first_filters(net).shape == first and list(maps) == list(PLACES)
    for place, (where, channels, side) in (("middle", middle), ("last", last)):
        assert names[place] == where and maps[place].shape == (5, channels, side, side)
    whole = net.backbone.get_submodule(names["first"])
    assert maps["first"].shape[1] == whole.out_channels and whole.in_channels == 3


def test_maps_are_what_the_convolution_answers(images):
    net = new_classifier("cnn", 3, 16, seed=4).train()
    x = np.asarray(images.images)[:7, :16, :16]
    maps = layer_maps(net, x, batch=3)
    y = torch.from_numpy(x.copy()).permute(0, 3, 1, 2).float() / 127.5 - 1
    net.eval()
    with torch.no_grad():
        by_hand = [net.backbone.net[:1](y), net.backbone.net[:4](y), net.backbone.net[:7](y)]
    for place, z in zip(PLACES, by_hand):
        assert np.allclose(maps[place], z.numpy(), atol=1e-5)
    net.train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    layer_maps(net, x)
    assert net.training and all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert not any(m._forward_hooks for m in net.modules()), "no hook is left"


def test_order_of_work_is_asked_of_the_network():
    "Not the order in which the parts were written down."

    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.c, self.b, self.a = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

        def forward(self, x):
            return self.c(self.b(self.a(x))).mean((2, 3))

    net = new_classifier("cnn", 2, 16)
    net.backbone = Backwards()
    assert list(convolutions(net)) == ["a", "b", "c"]
    assert three_layers(net) == {"first": "a", "middle": "b", "last": "c"}


def test_the_plain_mean_is_a_trap(images):
    "By it any first layer has as many directions as mean colours have; pooled it has more."
    net = untrained_like(new_classifier("effnet-lite0", 2, 32), np.asarray(images.images))
    first = layer_maps(net, np.asarray(images.images))["first"]
    assert (
        effective_rank(unit_channels(first.mean((2, 3)))) < 4 < effective_rank(unit_channels(pooled(first)))
    )


def test_an_untrained_network_has_other_weights_and_answers_that_do_not_fade(images):
    net = new_classifier("resnet18", 2, 32, seed=1)
    x = np.asarray(images.images)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    other = untrained_like(net, x, seed=2)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items()), "the given one stays as it is"
    assert (
        mean_abs_r(np.stack([first_filters(net).ravel(), first_filters(other).ravel()]).reshape(2, 8, -1))
        < 0.1
    )
    assert not other.training and np.array_equal(
        first_filters(other), first_filters(untrained_like(net, x, seed=2))
    )
    spread = [m.std() for m in layer_maps(other, x).values()]
    assert min(spread) > 0.1 and max(spread) < 30


# ---- rows


@pytest.fixture
def own_store(tmp_path, monkeypatch):
    "An empty store, with the converted weights of the judge in it."
    weights = store.store_dir() / "weights"
    network("effnet-lite0")
    shutil.copytree(weights, tmp_path / "store" / "weights")
    monkeypatch.setenv("GANNB_STORE", str(tmp_path / "store"))
    monkeypatch.delenv("GANNB_WEIGHTS", raising=False)


@pytest.fixture
def small():
    return new_classifier("cnn", 2, 32, seed=3).eval()


def by_arm(rows):
    return {(r["arm"], r["seed"], r["metric"]): r["value"] for r in rows}


def test_rows_are_complete_and_kept(own_store, small, images, monkeypatch):
    rows = stage.layer_rows("small", "blobs", small, images, before=small, n=60)
    found = by_arm(rows)
    assert len(found) == len(rows), "no row stands twice"
    assert all(np.isfinite(r["value"]) and r["step"] is None and r["dataset"] == "blobs" for r in rows)
    own = {metric for arm, _, metric in found if arm == "small"}
    places = [f"rank{kind}_{place}" for kind in ("", "_share", "_equal") for place in PLACES]
    shares = [f"share of {group}" for group in GROUPS]
    of_filters = ["filters_r", "filters_r_colours", "filters_smooth", "filters_moved", *shares]
    assert own == {*of_filters, "cka_first_middle", "cka_first_last", *places}
    assert {s for arm, s, _ in found if arm == stage.UNTRAINED} == set(range(5))
    for name in stage.NO_FILTERS:
        low, mean, high = (found[name, None, "filters_r" + end] for end in ("_low", "", "_high"))
        assert low < mean < high
    monkeypatch.setattr(stage, "map_numbers", lambda *a: pytest.fail("computed again"))
    monkeypatch.setattr(stage, "drawn_numbers", lambda *a: pytest.fail("computed again"))
    assert stage.layer_rows("small", "blobs", small, images, before=small, n=60) == rows
    fewer = stage.layer_rows("small", "blobs", small, images, before=small, n=60, controls=False)
    assert {r["arm"] for r in fewer} == {"small"}
    small.head.weight.data += 1
    stage.layer_rows("small", "blobs", small, images, n=60)
    next(small.backbone.parameters()).data += 1
    with pytest.raises(pytest.fail.Exception):
        stage.layer_rows("small", "blobs", small, images, n=60)


def test_rows_say_what_the_parts_say(own_store, small, images):
    found = by_arm(stage.layer_rows("small", None, small, images, n=60, controls=False))
    maps = layer_maps(small, np.asarray(stage.some_images(images, 60).images))
    first, last = (standardised(maps[p]) for p in ("first", "last"))
    assert found["small", None, "cka_first_last"] == pytest.approx(linear_cka(first, last))
    rank = effective_rank(unit_channels(pooled(maps["last"])))
    assert found["small", None, "rank_last"] == pytest.approx(rank)
    assert found["small", None, "rank_share_last"] == pytest.approx(rank / 128)
    assert found["small", None, "rank_equal_first"] == pytest.approx(found["small", None, "rank_first"])
    assert found["small", None, "filters_r"] == pytest.approx(mean_abs_r(combined(first_filters(small))))


def test_random_weights_are_no_more_than_the_controls(own_store, small, images):
    "A network that learnt nothing must not look as if it had."
    found = by_arm(stage.layer_rows("small", None, small, images, n=60))
    for metric in ("filters_r", "filters_smooth"):
        low, high = (found[stage.RANDOM, None, metric + end] for end in ("_low", "_high"))
        assert low - 0.02 < found["small", None, metric] < high + 0.02
    assert abs(found[stage.STRANGERS, None, "cka_first_middle"]) < 0.02


def test_imagenet_filters_have_structure_and_are_told_from_noise(own_store):
    net = stage.untouched(ClassifierConfig(), 6, 64)
    found = by_arm(stage.filter_rows("ImageNet", None, net))
    for arm in (stage.RANDOM, stage.SHUFFLED):
        assert found["ImageNet", None, "filters_smooth"] > found[arm, None, "filters_smooth_high"]
        assert found["ImageNet", None, "filters_r"] > found[arm, None, "filters_r_high"]
    like = [found[stage.SMOOTH, None, "filters_r" + end] for end in ("_low", "_high")]
    assert like[0] < found["ImageNet", None, "filters_r"] < like[1]


def test_moved_is_the_root_mean_square_of_the_change():
    w = drawn("w", 8, 3, 3, 3)
    assert stage.moved(w, w) == 0 and stage.moved(2 * w, w) == pytest.approx(1)
    assert stage.moved(w + 0.1 * np.sign(w), w) == pytest.approx(0.1 / np.sqrt((w**2).mean()))


@pytest.fixture(scope="module")
def two_digits():
    pool, test = (load("digits", split=part, size=16, progress=False) for part in ("train", "test"))
    pool = pool.select(["0", "1"])
    return *pool.split(0.85, seed=0), test.select(["0", "1"])


@pytest.mark.parametrize(
    "cfg, still",
    [
        (ClassifierConfig(epochs=2, batch_size=16), True),
        (ClassifierConfig(finetune="all", epochs=1, batch_size=16), False),
        (ClassifierConfig(network="cnn", finetune="all", pretrained=False, epochs=2, batch_size=16), False),
    ],
)
def test_a_whole_network_says_what_the_kept_classifier_says(own_store, two_digits, cfg, still):
    train, validation, test = two_digits
    train, validation, test = (s.rows(np.arange(32)) for s in (train, validation, test))
    fit = fitted(cfg, train, validation, seed=2)
    net = stage.network_of(fit)
    x = torch.from_numpy(np.array(test.images)).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        said = net(x).numpy()
    assert np.allclose(said, fit.logits(test), atol=2e-3) and not net.training
    before = stage.untouched(cfg, 2, train.size, train.channels, seed=2)
    change = stage.moved(first_filters(net), first_filters(before))
    assert change == 0 if still else change > 1e-4


def test_known_cases_come_out(images):
    net = untrained_like(new_classifier("effnet-lite0", 2, 32), np.asarray(images.images))
    first = layer_maps(net, np.asarray(images.images))["first"]
    cka, ranks = stage.known_cka(first), stage.known_ranks(first)
    for name in ("itself", "itself in rotated axes", "itself in other units"):
        assert cka[name] == pytest.approx((1, 1), abs=1e-3)
    assert abs(cka["noise"][0]) < 0.05 < cka["noise"][1]
    assert cka["itself, images shuffled"][0] == pytest.approx(0, abs=0.1)
    assert ranks["20 equal directions"] == pytest.approx(20) and ranks["one direction"] == pytest.approx(1)
    assert ranks["the layer, each channel twice"] == pytest.approx(ranks["the layer"])
    known = stage.known_filters(first_filters(net))
    shares = [group_shares(known[k]) for k in ("trained filters", "turned by 90 degrees")]
    assert shares[0]["horizontal edges"] == shares[1]["vertical edges"]
    assert mean_abs_r(known["shades of one filter"]) == pytest.approx(1)


@pytest.mark.parametrize(
    "wrong, word",
    [
        (lambda: combined(np.zeros((4, 3, 3))), "weights must be"),
        (lambda: mean_abs_r(np.zeros((1, 3, 3))), "two or more"),
        (lambda: mean_abs_r(np.ones((4, 3, 3))), "not flat"),
        (lambda: mean_abs_r(np.full((4, 3, 3), np.nan)), "finite"),
        (lambda: orientation(np.zeros((4, 3, 1))), "k from 2"),
        (lambda: orientation(np.zeros((4, 3, 3, 3))), "combined"),
        (lambda: smoothness(np.zeros((4, 3, 3, 3))), "combined"),
        (lambda: centred_gram(np.zeros((3, 9))), "four images"),
        (lambda: linear_cka(np.eye(5), np.eye(6)), "same images"),
        (lambda: cka_of(np.zeros((5, 5)), np.eye(5)), "differently"),
        (lambda: effective_rank(np.zeros(3)), "n from 2"),
        (lambda: equal_rank(np.eye(4), 5), "1 to 4"),
        (lambda: standardised(np.zeros((3, 4))), "maps must be"),
        (lambda: convolutions(new_classifier("softmax", 2, 16)), "three"),
        (lambda: layer_maps(new_classifier("cnn", 2, 16), np.zeros((2, 16, 16, 3))), "uint8"),
        (lambda: stage.moved(np.ones(3), np.ones(4)), "one shape"),
        (lambda: stage.moved(np.ones(3), np.zeros(3)), "not be 0"),
    ],
)
def test_wrong_input_is_refused_in_words(wrong, word):
    with pytest.raises(GannbError, match=word):
        wrong()


def test_missing_weights_are_said(own_store):
    with pytest.raises(GannbError, match="ResNet-18's ImageNet weights are not here"):
        stage.untouched(ClassifierConfig(network="resnet18"), 6, 64)
