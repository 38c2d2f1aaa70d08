"Images made worse by a known amount: what a ruler is tried on must itself be right."

import numpy as np
import pytest

from gannb.base import GannbError
from gannb.damage import (
    DAMAGES,
    SLIGHT,
    STRONG,
    brighter,
    chimeras,
    colours_swapped,
    damages_for,
    distort,
    half_contrast,
    mirrored,
    repeated,
    tiles_shuffled,
    upside_down,
    with_classes,
    with_copies,
)
from gannb.data import set_contrast


def pictures(n=6, size=32, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, size, size, channels), dtype=np.uint8)


def kinds(x):
    "How many different images there are."
    return len({image.tobytes() for image in x})


@pytest.mark.parametrize("kind", list(SLIGHT))
def test_distortions_are_seeded_and_grow(kind):
    x = pictures(20)
    before = x.copy()

    def away(amount, seed=0):
        return np.abs(distort(x, kind, amount, seed).astype(float) - x).mean()

    assert 0 < away(SLIGHT[kind]) < away(STRONG[kind]) < 80 and np.array_equal(x, before)
    assert distort(x, kind, 0.1).dtype == np.uint8 and np.array_equal(
        distort(x, kind, 0.1), distort(x, kind, 0.1)
    )
    assert np.array_equal(distort(x, kind, 0.1, 1), distort(x, kind, 0.1)) == (kind == "blur")


def test_distortions_do_what_they_say():
    flat = np.full((1, 32, 32, 3), 128, np.uint8)
    edge = np.zeros((1, 64, 64, 1), np.uint8)
    edge[:, :, 32:] = 255
    assert (
        np.array_equal(distort(flat, "blur", 0.1), flat)
        and abs(distort(flat, "noise", 0.1).astype(float).std() - 25.5) < 1
    )
    slope = np.diff(distort(edge, "blur", 4 / 64)[0, 0, :, 0].astype(float)) / 255
    assert abs(np.sqrt((slope * (np.arange(63) - 31) ** 2).sum()) - 4) < 0.1
    x = pictures(5, 28)
    tiles = distort(x, "shuffle", 0.25)

    def cut(a):
        return [
            sorted(a[i, r : r + 7, c : c + 7].tobytes() for r in range(0, 28, 7) for c in range(0, 28, 7))
            for i in range(5)
        ]

    assert (
        cut(tiles) == cut(x)
        and not np.array_equal(tiles, x)
        and np.array_equal(tiles, distort(x, "shuffle", 0.25))
        and not np.array_equal(tiles, distort(x, "shuffle", 0.25, 1))
    )
    with pytest.raises(GannbError, match="3 x 3 tiles do not fill images of 28 px"):
        distort(x, "shuffle", 1 / 3)
    for kind, amount, word in (
        ("blurr", 0.1, "Did you mean 'blur'"),
        ("blur", 0, "above 0"),
        ("noise", True, "above 0"),
        ("noise", float("nan"), "above 0"),
    ):
        with pytest.raises(GannbError, match=word):
            distort(flat, kind, amount)


def test_repeated_are_so_many_kinds_and_as_many_images():
    x = pictures(50)
    y = repeated(x, 20)
    assert y.shape == x.shape and kinds(y) == 20 and kinds(np.concatenate([x, y])) == 50
    assert np.array_equal(y, repeated(x, 20)) and not np.array_equal(y, repeated(x, 20, 1))
    counts = np.unique(y.reshape(50, -1), axis=0, return_counts=True)[1]
    assert counts.min() == 2 and counts.max() == 3, "each as often as the others"
    for wrong in (0, 51, 2.0, True):
        with pytest.raises(GannbError, match="kinds must be a whole number from 1 to 50"):
            repeated(x, wrong)


def test_a_chimera_is_two_images():
    x = pictures(50)
    y = chimeras(x)
    assert np.array_equal(y[:, :, :16], x[:, :, :16]), "left halves stay"
    assert kinds(y) == kinds(np.concatenate([x, y])) - 50 == 50, "none is an image of the set"
    assert sorted(h.tobytes() for h in y[:, :, 16:]) == sorted(h.tobytes() for h in x[:, :, 16:])
    assert np.array_equal(y, chimeras(x)) and not np.array_equal(y, chimeras(x, 1))
    assert kinds(np.concatenate([pictures(2), chimeras(pictures(2))])) == 4
    with pytest.raises(GannbError, match="N from 2"):
        chimeras(x[:1])


def test_turned_and_recoloured():
    x = pictures()
    assert np.array_equal(upside_down(x), np.flip(x, 1)) and np.array_equal(mirrored(x), np.flip(x, 2))
    assert np.array_equal(colours_swapped(x), np.flip(x, 3))
    assert np.array_equal(half_contrast(x), set_contrast(x, 0.5)), "one contrast in the whole house"
    assert brighter(x).max() == 255 and np.array_equal(brighter(x)[x < 246], x[x < 246] + 10)
    with pytest.raises(GannbError, match="3 channels; these images have 1"):
        colours_swapped(x[..., :1])
    for wrong in (0, 256, 1.0):
        with pytest.raises(GannbError, match="levels"):
            brighter(x, wrong)
    with pytest.raises(GannbError, match="uint8"):
        mirrored(x / 255)


def test_every_damage_keeps_shape_and_input_and_follows_its_seed():
    x = pictures(120)
    before = x.copy()
    drawn = {name for name, damage in DAMAGES.items() if not np.array_equal(damage(x, 0), damage(x, 1))}
    assert np.array_equal(x, before)
    assert drawn == {
        *("invisible noise", "slight noise", "strong noise", "20 images repeated", "100 images repeated"),
        *("chimeras", "tiles shuffled"),
    }
    for name, damage in DAMAGES.items():
        y = damage(x, 0)
        assert y.shape == x.shape and y.dtype == np.uint8 and not np.array_equal(y, x), name
        assert np.array_equal(y, damage(x, 0)), name


def test_invisible_noise_is_two_grey_levels():
    flat = np.full((4, 64, 64, 1), 128, np.uint8)
    assert abs(DAMAGES["invisible noise"](flat, 0).astype(float).std() - 2) < 0.1


def test_only_damages_that_say_something():
    assert set(damages_for(pictures(101))) == set(DAMAGES)
    assert set(DAMAGES) - set(damages_for(pictures(100, channels=1))) == {
        "colours swapped",
        "100 images repeated",
    }
    assert set(DAMAGES) - set(damages_for(pictures(101, 30))) == {"tiles shuffled"}
    assert "20 images repeated" not in damages_for(pictures(20)) and "chimeras" not in damages_for(
        pictures(1)
    )


def test_classes_left_out():
    labels = np.repeat(np.arange(10), 20)
    rows = with_classes(labels, 0.5, 60)
    assert len(set(rows.tolist())) == 60 and len(np.unique(labels[rows])) == 5
    assert np.array_equal(rows, with_classes(labels, 0.5, 60))
    assert not np.array_equal(rows, with_classes(labels, 0.5, 60, seed=1))
    names = np.array(["a", "b", "c", "a"])
    assert with_classes(names, ["a"]).tolist() == [0, 3] and with_classes(names, ["b", "c"]).tolist() == [
        1,
        2,
    ]
    for keep, n, words in (
        (1.0, None, "some in"),
        (0.01, None, "some in"),
        (["x"], None, r"\['x'\]"),
        (["a"], 3, "between 1 and 2"),
    ):
        with pytest.raises(GannbError, match=words):
            with_classes(names, keep, n)


def test_copies_are_copies():
    fakes, train = pictures(50), pictures(30, seed=1)
    y = with_copies(fakes, train, 0.2)
    changed = (y != fakes).any((1, 2, 3))
    assert changed.sum() == 10 and kinds(y[changed]) == 10
    assert kinds(np.concatenate([train, y[changed]])) == 30, "each is an image of the training set"
    assert np.array_equal(with_copies(fakes, train, 0), fakes)
    assert kinds(np.concatenate([train, with_copies(fakes, train, 1)])) == 30, (
        "more copies than images: again"
    )
    for share in (-0.1, 1.1, True):
        with pytest.raises(GannbError, match="share"):
            with_copies(fakes, train, share)
    with pytest.raises(GannbError, match="one shape"):
        with_copies(fakes, train[:, :16], 0.2)


def test_tiles_take_the_generator_they_are_given():
    x = pictures(5)
    one, two = (tiles_shuffled(x, 4, np.random.default_rng(s)) for s in (0, 1))
    assert not np.array_equal(one, two) and np.array_equal(np.sort(one, axis=None), np.sort(x, axis=None))
