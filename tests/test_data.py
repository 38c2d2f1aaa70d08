"ImageSet: splits without leaks, batches that depend on (seed, epoch) alone, fingerprints, audit, the cache."

import numpy as np
import pytest

from gannb import data
from gannb.base import GannbError
from gannb.data import (
    ImageSet,
    Rows,
    audit,
    image_hashes,
    on_background,
    open_cache,
    seal_cache,
    set_contrast,
    split_rows,
)
from gannb.store import new_folder


def made(n=200, classes=4, size=8, channels=1, seed=0, **more):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n, size, size, channels), np.uint8)
    labels = np.arange(n) % classes if classes else None
    return ImageSet("made", images, labels, tuple(f"c{i}" for i in range(classes)), **more)


def keys(s):
    return {x.tobytes() for x in s.take(range(len(s)))}


def test_split_is_stratified_seeded_and_disjoint():
    s = made()
    a, b = s.split(0.75, seed=1)
    assert (
        len(a) == 152 and len(b) == 48 and a.counts() == {f"c{i}": 38 for i in range(4)}
    )  # 37.5 of 50: rounded the same way in each class
    assert not keys(a) & keys(b) and len(keys(a) | keys(b)) == 200
    again, other = s.split(0.75, seed=1)[0], s.split(0.75, seed=2)[0]
    assert again.fingerprint == a.fingerprint != other.fingerprint
    three = s.split({"train": 0.8, "val": 0.1, "test": 0.1}, seed=0)
    assert [len(p) for p in three.values()] == [160, 20, 20] and three["val"].part == "val"


def test_split_keeps_groups_and_copies_together():
    groups = np.repeat(np.arange(40), 5)
    s = made(200, classes=2, groups=groups)
    a, b = s.split(0.7, seed=3)
    assert not set(a.groups) & set(b.groups) and abs(len(a) - 140) <= 5
    images = np.concatenate([np.asarray(s.images), np.asarray(s.images)[:50]])  # 50 copies, 10 of the groups
    s = ImageSet("copies", images, np.r_[s.labels, s.labels[:50]], s.classes)
    a, b = s.split(0.7, seed=0)
    assert not keys(a) & keys(b) and audit({"a": a, "b": b})["n_across"] == 0 and audit(s)["n_groups"] == 50
    # a copy links two groups: both must then go together
    linked = ImageSet(
        "linked", np.asarray(made(20).images)[np.r_[0:20, 0]], None, (), np.r_[np.arange(20), 19]
    )
    for seed in range(5):
        parts = linked.split(0.5, seed=seed)
        assert sum(19 in p.groups for p in parts) == 1 and sum(0 in p.groups for p in parts) == 1
        assert [0 in p.groups for p in parts] == [19 in p.groups for p in parts]


def test_split_does_not_depend_on_pixels():
    a, b = made(seed=0), made(seed=1, size=12)
    mark = np.array([str(i).encode() for i in range(200)])
    a.files = b.files = mark
    assert a.split(0.8)[0].files.tolist() == b.split(0.8)[0].files.tolist()


def test_split_refuses_small_classes_and_odd_shares():
    s = ImageSet("x", np.asarray(made(5).images), np.array([0, 0, 0, 0, 1]), ("many", "one"))
    with pytest.raises(GannbError, match="'one' has 1 image"):
        s.split(0.5)
    assert split_rows(s.labels, np.arange(5), [0.5, 0.5], 0, s.classes, strict=[0])[4] == 0
    two = ImageSet(
        "x",
        np.asarray(made(6).images),
        np.array([0, 0, 0, 0, 1, 1]),
        ("many", "pair"),
        np.array([0, 1, 2, 3, 4, 4]),
    )
    with pytest.raises(GannbError, match="'pair' has 2 image.*1 unit"):
        two.split(0.5)
    for bad in (0, 1, 1.5, "0.8", True, {"a": 0.5}, {"a": 0.5, "b": 0.6}, {"a": 1.2, "b": -0.2}, None):
        with pytest.raises(GannbError, match="split takes"):
            made().split(bad)
    assert sorted(len(p) for p in ImageSet("x", np.asarray(made(2).images)).split(0.9)) == [1, 1]


def test_select_relabels_and_limits():
    s = made()
    t = s.select(classes=["c3", "c1"])
    assert (
        t.classes == ("c3", "c1")
        and t.counts() == {"c3": 50, "c1": 50}
        and (t.take([0])[0] == s.images[1]).all()
        and t.labels[0] == 1
    )
    assert s.select(classes=["c0", "c1", "c2", "c3"]) is s and s.select(limit=1000) is s
    small = s.select(limit=20, seed=5)
    assert (
        len(small) == 20
        and set(small.counts().values()) == {5}
        and small.fingerprint
        == s.select(limit=20, seed=5).fingerprint
        != s.select(limit=20, seed=6).fingerprint
    )
    for bad in (
        dict(classes=["c9"]),
        dict(classes=[]),
        dict(classes=["c1", "c1"]),
        dict(limit=0),
        dict(limit=2.5),
        dict(limit=True),
    ):
        with pytest.raises(GannbError):
            s.select(**bad)
    with pytest.raises(GannbError, match="no labels"):
        made(classes=0).select(classes=["c0"])
    with pytest.raises(GannbError, match="Did you mean 'c1'"):
        s.select(classes=["c1 "])


def test_parts_share_pixels():
    s = made()
    a = s.split(0.5)[0].select(classes=["c2"]).select(limit=10)
    assert isinstance(a.images, Rows) and a.images.base is s.images and a.images.shape == (10, 8, 8, 1)
    assert (
        (np.asarray(a.images) == a.take(range(10))).all()
        and (a.images[3] == a.take([3])[0]).all()
        and (a.images[2:4] == a.take([2, 3])).all()
    )


def test_fingerprint_is_content_alone():
    s = made()
    same = ImageSet(
        "another name", np.asarray(s.images).copy(), s.labels.copy(), s.classes, notes=("a note",)
    )
    assert same.fingerprint == s.fingerprint and len(s.fingerprint) == 16 and int(s.fingerprint, 16) >= 0
    changed = np.asarray(s.images).copy()
    changed[7, 3, 3, 0] ^= 1
    others = [
        ImageSet("made", changed, s.labels, s.classes),
        ImageSet("made", s.images, np.roll(s.labels, 1), s.classes),
        ImageSet("made", s.images, s.labels, ("a", "b", "c", "d")),
        ImageSet("made", s.images, s.labels, s.classes, settings={"fit": "crop"}),
        s.rows(np.arange(199)),
        s.rows(np.arange(200)[::-1]),
        ImageSet("made", np.asarray(s.images).reshape(200, 4, 4, 4)[..., :1].copy()),
    ]
    assert len({o.fingerprint for o in others} | {s.fingerprint}) == len(others) + 1


def test_batches_cover_the_set_in_an_order_of_seed_and_epoch():
    torch = pytest.importorskip("torch")
    s = made(130, channels=3)
    got = list(s.batches(32, seed=4, epoch=2))
    assert (
        [len(x) for x, _ in got] == [32, 32, 32, 32, 2]
        and s.n_batches(32) == 5
        and s.n_batches(32, drop_last=True) == 4 == len(list(s.batches(32, 4, 2, drop_last=True)))
    )
    x, y = torch.cat([x for x, _ in got]), torch.cat([y for _, y in got])
    back = ((x + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    assert (
        {b.tobytes() for b in back} == keys(s)
        and y.dtype == torch.int64
        and x.dtype == torch.float32
        and x.min() >= -1
        and x.max() <= 1
    )
    position = {im.tobytes(): i for i, im in enumerate(np.asarray(s.images))}
    assert all(s.labels[position[b.tobytes()]] == k for b, k in zip(back, y))

    def same(a, b):
        return len(a) == len(b) and all(
            torch.equal(p[0], q[0]) and torch.equal(p[1], q[1]) for p, q in zip(a, b)
        )

    torch.manual_seed(1)
    np.random.seed(1)
    assert (
        same(got, list(s.batches(32, 4, 2)))
        and same(got[3:], list(s.batches(32, 4, 2, start=3)))
        and same(got, list(s.batches(32, 4, 2, device="cpu:0")))
    )
    assert not same(got, list(s.batches(32, 4, 3))) and not same(got, list(s.batches(32, 5, 2)))
    plain = list(s.batches(32, 4, 2, memory_format="contiguous"))
    assert (
        same(got, plain)
        and plain[0][0].is_contiguous()
        and got[0][0].is_contiguous(memory_format=torch.channels_last)
        and not got[0][0].is_contiguous()
    )
    assert next(made(classes=0).batches(8, 0, 0))[1] is None


def test_start_reads_nothing_of_what_it_skips(monkeypatch):
    s, asked = made(100), []
    monkeypatch.setattr(
        ImageSet,
        "take",
        lambda self, rows: asked.append(len(rows)) or np.zeros((len(rows), 8, 8, 1), np.uint8),
    )
    list(s.batches(10, 0, 0, start=8))
    assert asked == [10, 10]


def test_bad_batches_are_refused_at_the_call():
    s = made(50)
    for size in (51, 0, -1, 2.5, True, "8"):
        with pytest.raises(GannbError, match="batch_size"):
            s.batches(size, 0, 0)
    with pytest.raises(GannbError, match="larger than the data.*Allowed: 1 to 50"):
        s.batches(64, 0, 0, drop_last=True)
    with pytest.raises(GannbError, match="memory_format"):
        s.batches(8, 0, 0, memory_format="nhwc")


def test_arrays_that_do_not_fit_are_refused():
    x, y = np.zeros((3, 8, 8, 1), np.uint8), np.array([0, 1, 1])
    for images, labels, classes, more in (
        (x.astype(float), None, (), {}),
        (x[..., 0], None, (), {}),
        (np.zeros((3, 8, 9, 1), np.uint8), None, (), {}),
        (np.zeros((3, 8, 8, 4), np.uint8), None, (), {}),
        (x[:0], None, (), {}),
        (x, y[:2], ("a", "b"), {}),
        (x, y, ("a",), {}),
        (x, y - 1, ("a", "b"), {}),
        (x, y, (), {}),
        (x, None, ("a",), {}),
        (x, None, (), {"groups": y[:2]}),
    ):
        with pytest.raises(GannbError):
            ImageSet("x", images, labels, classes, **more)


def test_faces_in_terminal_and_notebook():
    s = made(channels=3, notes=("2,000 of 202,599 <faces>",), part="train")
    line, page = repr(s), s._repr_html_()
    assert "\n" not in line and "made (train): 200 images 8x8x3, 4 classes" in line and s.fingerprint in line
    assert (
        all(t in page for t in ("c0 50", s.fingerprint, "data:image/png;base64,", "&lt;faces&gt;"))
        and len(page) < 100_000
    )
    assert (
        "no labels" in made(classes=0)._repr_html_()
        and "and 8 more classes" in made(classes=20)._repr_html_()
    )


def test_audit_finds_planted_copies():
    a, b = made(seed=0), made(seed=1)
    assert audit({"train": a, "test": b})["n_groups"] == 0
    planted = ImageSet(
        "p",
        np.concatenate([np.asarray(b.images), a.take([0, 4, 9, 9])]),
        np.r_[b.labels, 0, 1, 1, 1],
        b.classes,
    )
    found = audit({"train": a, "test": planted})
    assert (found["n_groups"], found["n_extra"], found["n_across"], found["n_labels_differ"]) == (3, 4, 3, 1)
    assert (
        found["images"] == {"train": 200, "test": 204}
        and found["counts"]["test"]["c1"] == 53
        and {m["part"] for m in found["copies"][0]["images"]} == {"train", "test"}
    )
    within = audit(a.rows(np.r_[np.arange(200), 3, 3]))
    assert (within["n_groups"], within["n_extra"], within["n_across"]) == (1, 2, 0)


def test_contrast_and_backgrounds():
    x = np.asarray(made(20, size=16).images).copy()
    x[:, :4] = 0
    x[:, -4:] = 255
    low = set_contrast(x, 0.25)
    assert (
        (low.min(), low.max()) == (96, 159)
        and abs((low.astype(float) - 127.5).std() / (x.astype(float) - 127.5).std() - 0.25) < 0.01
        and (set_contrast(x, 1) == x).all()
    )
    for kind in ("flat", "textured", np.full((3, 16, 16, 1), 200, np.uint8)):
        y = on_background(x, kind, seed=1)
        assert (
            (y[x == 255] == 255).all()
            and y[x == 0].max() <= 130
            and y.dtype == np.uint8
            and (y == on_background(x, kind, seed=1)).all()
        )
    assert (on_background(x, "textured", 1) != on_background(x, "textured", 2)).mean() > 0.3
    flat = on_background(x, "flat", 1)[:, :4]
    assert (flat.reshape(20, -1).std(1) == 0).all() and len(np.unique(flat)) > 5
    for bad in (0, -1, 1.01, "low", None, float("nan")):
        with pytest.raises(GannbError, match="contrast"):
            set_contrast(x, bad)
    with pytest.raises(GannbError, match="Did you mean 'textured'"):
        on_background(x, "texture")
    with pytest.raises(GannbError, match="crops"):
        on_background(x, np.zeros((3, 8, 8, 1), np.uint8))


def sealed(folder, n=60, groups=None):
    s = made(n, channels=3)
    with new_folder(folder) as tmp:
        np.save(tmp / "images.npy", np.asarray(s.images))
        seal_cache(
            tmp,
            {"train": (0, 40), "test": (40, n)},
            s.labels,
            s.classes,
            groups,
            [f"é {i}.png" for i in range(n)],
            {"fit": "crop"},
            ["a note"],
        )
    return s


def test_cache_opens_as_it_was_without_reading_pixels(tmp_path, monkeypatch):
    s = sealed(tmp_path / "c", groups=np.arange(60) // 2)
    monkeypatch.setattr(
        data, "image_hashes", lambda images: pytest.fail("a cached set must bring its fingerprint")
    )
    whole, test = open_cache(tmp_path / "c", "made"), open_cache(tmp_path / "c", "made", "test")
    assert (
        isinstance(whole.images, np.memmap)
        and not whole.images.flags.writeable
        and len(test) == 20
        and test.part == "test"
        and bytes(test.files[0]).decode() == "é 40.png"
    )
    assert (
        (whole.take(range(60)) == np.asarray(s.images)).all()
        and (test.labels == s.labels[40:]).all()
        and (test.groups == np.arange(40, 60) // 2).all()
        and test.notes == ("a note",)
    )
    part = ImageSet(
        "made",
        np.asarray(s.images)[40:],
        s.labels[40:],
        s.classes,
        settings={"fit": "crop"},
        hashes=image_hashes(np.asarray(s.images)[40:]),
    )
    assert test.fingerprint == part.fingerprint != whole.fingerprint and whole.split(0.5)[0].fingerprint


def test_damaged_cache_is_an_error(tmp_path):
    sealed(tmp_path / "c")
    pixels = tmp_path / "c" / "images.npy"
    pixels.write_bytes(pixels.read_bytes()[:-100])
    with pytest.raises(GannbError, match="images.npy is missing or damaged"):
        open_cache(tmp_path / "c", "made")
    (tmp_path / "c" / "meta.json").write_text('{"format": 99}')
    with pytest.raises(GannbError, match="another version"):
        open_cache(tmp_path / "c", "made")


def test_one_check_of_a_batch_serves_all():
    s = made(60)
    assert s.check_batch(60) is None and s.check_batch(np.int64(1)) is None
    for bad, words in (
        (61, "batch_size=61 is larger than the data: made has 60 images. Allowed: 1 to 60"),
        (0, "batch_size must be a whole number from 1"),
        (-1, "whole number"),
        (2.5, "whole number"),
        (True, "whole number"),
        ("8", "whole number"),
        (None, "whole number"),
    ):
        for refuses in (s.check_batch, s.whole_batches, lambda n: s.batches(n, 0, 0)):
            with pytest.raises(GannbError, match=words):
                refuses(bad)


def test_whole_batches_keep_the_proportions():
    s = made(70, classes=2)
    assert s.whole_batches(16).counts() == {"c0": 32, "c1": 32}
    assert s.whole_batches(35) is s and s.whole_batches(70) is s
    assert s.whole_batches(64).fingerprint == s.select(limit=64).fingerprint
    assert s.whole_batches(64, seed=1).fingerprint != s.whole_batches(64).fingerprint


def test_generated_images_are_a_set_like_any_other():
    pixels, labels = np.asarray(made(40).images), np.arange(40) % 4
    fakes = ImageSet.of_images(
        pixels, "fakes", labels.astype(np.int32), ["a", "b", "c", "d"], {"run": "x"}, ["a note"]
    )
    assert fakes.labels.dtype == np.int64 and fakes.classes == ("a", "b", "c", "d")
    assert fakes.settings == {"run": "x"} and fakes.notes == ("a note",)
    same = ImageSet.of_images(pixels.copy(), "other", labels, ["a", "b", "c", "d"], {"run": "x"})
    assert same.fingerprint == fakes.fingerprint, "content, not the name"
    others = [
        ImageSet.of_images(pixels, "fakes"),
        ImageSet.of_images(pixels, "fakes", labels, ["a", "b", "c", "d"]),
        ImageSet.of_images(pixels, "fakes", labels, ["a", "b", "c", "e"], {"run": "x"}),
        ImageSet.of_images(pixels[::-1], "fakes", labels, ["a", "b", "c", "d"], {"run": "x"}),
    ]
    assert len({s.fingerprint for s in [fakes, *others]}) == 5
    train, test = fakes.split(0.8)
    assert len(train) + len(test) == 40 and not audit({"train": train, "test": test})["n_across"]


@pytest.mark.parametrize(
    "images, more, words",
    [
        (np.zeros((4, 8, 8, 1), np.float32), {}, "must be uint8"),
        (np.zeros((4, 1, 8, 8), np.uint8), {}, "H = W"),
        (np.zeros((4, 8, 8), np.uint8), {}, "must be uint8 of shape"),
        (np.zeros((0, 8, 8, 1), np.uint8), {}, "holds no images"),
        (np.zeros((4, 8, 8, 2), np.uint8), {}, "channels must be 1"),
        (np.zeros((4, 8, 8, 1), np.uint8), {"labels": [0, 1, 0, 1]}, "give both or neither"),
        (np.zeros((4, 8, 8, 1), np.uint8), {"classes": ["a"]}, "give both or neither"),
        (
            np.zeros((4, 8, 8, 1), np.uint8),
            {"labels": [0, 1], "classes": ["a", "b"]},
            "labels must be of shape",
        ),
        (
            np.zeros((4, 8, 8, 1), np.uint8),
            {"labels": [0, 1, 2, 0], "classes": ["a", "b"]},
            "labels must lie in",
        ),
    ],
)
def test_images_that_are_no_set_are_refused(images, more, words):
    with pytest.raises(GannbError, match=words):
        ImageSet.of_images(images, "fakes", **more)
