"Names, files, caches and downloads: what a stranger's folder, zip, idx file, catalogue or network can hold."

import gzip
import hashlib
import io
import itertools
import os
import pickle
import stat
import struct
import subprocess
import sys
import tarfile
import threading
import zipfile
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gannb.datasets import celeba, coco, decode, registry
from gannb.datasets.emnist import EMNIST_BALANCED
from gannb.datasets.fruits import OFFICIAL_TEST, fruit_arcs, fruit_counts
from gannb.datasets.page import format_check
from gannb.datasets.registry import (
    available,
    check,
    check_name,
    get,
    table,
)
from gannb.datasets.fruits import FAMILIES
from gannb.datasets.selection import new_labels
from gannb.store import data_root, verify_folder
from gannb import fetch as F
from gannb import files, pixels, store
from gannb.base import GannbError
from gannb.data import ImageSet, audit, save_folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch, request):
    monkeypatch.setenv("GANNB_CACHE", str(tmp_path / "cache"))
    if not request.node.get_closest_marker("pack"):
        (tmp_path / "root").mkdir()
        monkeypatch.setenv("GANNB_DATA", str(tmp_path / "root"))


def load(name, **kw):
    return registry.load(name, **{"progress": False, **kw})


def picture(i, w=20, h=20, mode="RGB"):
    return Image.fromarray(np.random.default_rng(i).integers(0, 256, (h, w, 3), np.uint8)).convert(mode)


def png(i, **kw):
    f = io.BytesIO()
    picture(i, **kw).save(f, "PNG")
    return f.getvalue()


def fill(folder, names, **kw):
    for i, n in enumerate(names):
        p = Path(folder) / n
        p.parent.mkdir(parents=True, exist_ok=True)
        p.write_bytes(png(i, **kw))
    return folder


def fill_zip(path, names, **kw):
    with zipfile.ZipFile(path, "w") as z:
        for i, n in enumerate(names):
            z.writestr(n, png(i, **kw))
    return path


CLASSED = [f"{p}/{c}/{i}.png" for p in ("train", "test") for c in ("cat", "dog") for i in range(3)]
FLAT = [f"{i}.png" for i in range(10)]


def cached(tmp_path):
    d = tmp_path / "cache" / "images"
    return sorted(p.name for p in d.iterdir()) if d.is_dir() else []


# names


def test_names_are_checked_without_reading_or_torch():
    code = (
        "import sys; from gannb.datasets.registry import check_name\n"
        "try: check_name('celebA')\nexcept ValueError as e: print(e)\n"
        "assert not {'torch', 'torchvision', 'sklearn', 'pooch'} & set(sys.modules), 'heavy import'"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(registry.__file__).parents[2]
    )
    assert done.returncode == 0 and "Did you mean 'celeba'" in done.stdout, done.stderr


@pytest.mark.parametrize("name", ["mnst", "", "folder:", "idx:", "idx:x?upright", "folders:x", None, 7])
def test_unknown_names(name, tmp_path):
    with pytest.raises(GannbError, match="dataset"):
        load(name)
    assert not cached(tmp_path)


@pytest.mark.parametrize(
    "kw, words",
    [
        (dict(size=50), "Nearest allowed: 48 or 56"),
        (dict(size=12), "Nearest allowed: 16"),
        (dict(size="32"), "whole number"),
        (dict(channels=2), "channels"),
        (dict(split="tset"), "Did you mean 'test'"),
        (dict(fit="cut"), "Allowed: crop, stretch"),
        (dict(on_error="ignore"), "on_error"),
        (dict(limit=0), "limit"),
        (dict(limit=1.5), "limit"),
        (dict(classes=["eleven"]), "classes"),
        (dict(split="val"), "no such part"),
        (dict(data_root="/nowhere"), "is not a folder"),
    ],
)
def test_wrong_arguments_before_any_work(kw, words, tmp_path, monkeypatch):
    monkeypatch.setattr(decode, "to_square", lambda *a: pytest.fail("decoded before checking"))
    with pytest.raises(GannbError, match=words):
        load("digits", **kw)
    assert not cached(tmp_path)


def test_digits_and_their_faces():
    whole = load("digits", split="all")
    assert (
        len(whole) == 1797
        and (whole.size, whole.channels) == (16, 1)
        and whole.counts()["0"] == 178
        and not audit(whole)["n_groups"]
    )
    train, test = load("digits"), load("digits", split="test")
    assert (
        len(train) + len(test) == 1797
        and abs(len(test) - 359) <= 5
        and "held out" in test.notes[0]
        and test.part == "test"
    )
    for name in ("digits-low-contrast", "digits-textured"):
        face = load(name, split="test", size=32, channels=3)
        assert (
            (face.files == test.files).all()
            and face.fingerprint != test.fingerprint
            and face.name == name
            and face.channels == 3
        )
    low = load("digits-low-contrast", split="all")
    assert low.images.min() == 96 and low.images.max() == 159
    assert load("digits", split="test", limit=30).counts() and len(load("digits", limit=30)) == 30


def test_held_out_images_do_not_move_with_the_class_filter():
    test, three = load("digits", split="test"), load("digits", split="test", classes=["3", "5"])
    assert set(three.files) == {
        f for f, k in zip(test.files, test.labels) if k in (3, 5)
    } and three.classes == ("3", "5")


# folders and zips


def test_folder_and_zip_of_the_same_files_are_the_same_set(tmp_path):
    a = load(f"folder:{fill(tmp_path / 'a', CLASSED)}", size=16)
    b = load(f"folder:{fill_zip(tmp_path / 'b.zip', CLASSED)}", size=16)
    c = load(
        f"folder:{fill_zip(tmp_path / 'c.zip', ['c/' + n for n in CLASSED])}", size=16
    )  # the usual wrapper folder
    assert (
        a.fingerprint == b.fingerprint == c.fingerprint
        and a.classes == ("cat", "dog")
        and len(a) == 6
        and a.part == "train"
        and a.counts() == {"cat": 3, "dog": 3}
    )
    assert [bytes(f).decode() for f in a.files][:2] == ["train/cat/0.png", "train/cat/1.png"]
    assert (
        len(load(f"folder:{tmp_path / 'a'}", size=16, split="all")) == 12
        and len(load(f"folder:{tmp_path / 'a'}", size=16, split="test", classes=["dog"])) == 3
    )
    with pytest.raises(GannbError, match="It has: train, test, all"):
        load(f"folder:{tmp_path / 'a'}", size=16, split="val")


def test_a_part_of_a_zip(tmp_path):
    z = fill_zip(tmp_path / "pack.zip", CLASSED)
    dogs = load(f"folder:{z}!train/dog", split="all", size=16)
    assert len(dogs) == 3 and not dogs.classes and dogs.name == "folder:pack.zip!train/dog"
    assert load(f"folder:{z}!train", split="all", size=16).counts() == {"cat": 3, "dog": 3}
    with pytest.raises(GannbError, match="Did you mean 'train/dog'"):
        load(f"folder:{z}!train/dogs")
    assert (
        load(f"folder:{fill(tmp_path / 'f', CLASSED)}!train/dog", split="all", size=16).fingerprint
        == dogs.fingerprint
    )


def test_flat_folders_spaces_letters_and_junk(tmp_path):
    names = [
        "a b.png",
        "é.png",
        "日本.PNG",
        "sub.dot/ignored.txt",
        ".hidden.png",
        "__MACOSX/x.png",
        "Thumbs.db",
        "notes.csv",
    ]
    box = fill(tmp_path / "my pictures", [n for n in names if n.lower().endswith("png")])
    for n in names[3:]:
        (box / n).parent.mkdir(exist_ok=True)
        (box / n).write_text("x")
    s = load(f"folder:{box}", split="all")
    assert (
        [bytes(f).decode() for f in s.files] == ["a b.png", "é.png", "日本.PNG"]
        and s.size == 20
        and not s.classes
    )
    assert "2 file(s) are not images by their names" in s.notes[0] and "notes.csv" in s.notes[0]
    assert "3 file(s) made by a system" in s.notes[1] and "__MACOSX 1" in s.notes[1]


def test_zip_names_in_unmarked_utf8(tmp_path):
    z = tmp_path / "z.zip"
    fill_zip(z, ["été/1.png", "été/2.png"])
    raw = (
        z.read_bytes()
        .replace(b"PK\x03\x04\x14\x00\x00\x08", b"PK\x03\x04\x14\x00\x00\x00")
        .replace(b"PK\x01\x02\x14\x03\x14\x00\x00\x08", b"PK\x01\x02\x14\x03\x14\x00\x00\x00")
    )
    assert raw != z.read_bytes()
    z.write_bytes(raw)
    assert load(f"folder:{z}", split="all", size=16).classes == ("été",)


def test_train_can_be_a_class(tmp_path):
    s = load(
        f"folder:{fill(tmp_path / 'a', ['car/1.png', 'plane/2.png', 'train/3.png', 'train/4.png'])}",
        split="all",
        size=16,
    )
    assert s.classes == ("car", "plane", "train")
    s = load(
        f"folder:{fill(tmp_path / 'b', ['extra/1.png', 'test/2.png', 'train/3.png'])}", split="all", size=16
    )
    assert not s.classes and len(s) == 2 and "1 image(s) in extra/ belong to no part" in s.notes[1]
    with pytest.raises(GannbError, match="both beside and inside"):
        load(f"folder:{fill(tmp_path / 'c', ['1.png', 'cat/2.png'])}", size=16)


def test_links_and_circles(tmp_path):
    fill(tmp_path / "real", ["1.png", "2.png"])
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "cat").symlink_to(tmp_path / "real")
    (tmp_path / "a" / "cat" / "again").symlink_to(tmp_path / "a")
    assert load(f"folder:{tmp_path / 'a'}", split="all", size=16).counts() == {"cat": 2}


def test_empty_missing_and_single(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(GannbError, match="holds no images"):
        load(f"folder:{tmp_path / 'empty'}")
    with pytest.raises(GannbError, match="Did you mean .*empty"):
        load(f"folder:{tmp_path / 'emptty'}")
    with zipfile.ZipFile(tmp_path / "e.zip", "w") as z:
        z.writestr("a.txt", "x")
    with pytest.raises(GannbError, match="holds no images"):
        load(f"folder:{tmp_path / 'e.zip'}")
    one = fill(tmp_path / "one", ["cat/1.png", "cat/2.png", "dog/3.png"])
    with pytest.raises(GannbError, match="'dog' .*has one image"):
        load(f"folder:{one}", size=16)
    assert (
        not cached(tmp_path)
        and len(load(f"folder:{one}", size=16, classes=["cat"])) == 1
        and len(load(f"folder:{one}", size=16, split="all")) == 3
    )
    with pytest.raises(GannbError, match="no class labels"):
        load(f"folder:{fill(tmp_path / 'flat', FLAT)}", size=16, classes=["cat"])


def test_made_test_part_keeps_copies_together(tmp_path):
    box = fill(tmp_path / "a", FLAT)
    for i in range(10):
        (box / f"copy{i}.png").write_bytes((box / f"{i}.png").read_bytes())
    train, test = (load(f"folder:{box}", size=16, split=p) for p in ("train", "test"))
    assert (
        len(train) + len(test) == 20
        and len(test) == 4
        and audit({"train": train, "test": test})["n_across"] == 0
        and "held out" in train.notes[-1]
    )


# awkward image files


def one(tmp_path, image, name="x.png", save=None, **kw):
    box = tmp_path / f"one{len(list(tmp_path.iterdir()))}"
    box.mkdir()
    image.save(box / name, **(save or {}))
    return load(f"folder:{box}", split="all", **{"size": 16, **kw})


def half(w=32, h=32, mode="RGB"):
    "Upper half bright, lower half dark."
    a = np.zeros((h, w, 3), np.uint8)
    a[: h // 2] = 220
    a[h // 2 :] = 30
    return Image.fromarray(a).quantize(8) if mode == "P" else Image.fromarray(a).convert(mode)


@pytest.mark.parametrize(
    "orientation, turn",
    [(3, Image.Transpose.ROTATE_180), (6, Image.Transpose.ROTATE_90), (8, Image.Transpose.ROTATE_270)],
)
def test_exif_orientation(tmp_path, orientation, turn):
    exif = Image.Exif()
    exif[0x0112] = orientation
    x = one(tmp_path, half().transpose(turn), "x.jpg", {"exif": exif, "quality": 95}).take([0])[0].astype(int)
    assert np.abs(x[:7] - 220).max() < 8 and np.abs(x[9:] - 30).max() < 8


@pytest.mark.parametrize(
    "mode, name",
    [
        ("P", "x.png"),
        ("P", "x.gif"),
        ("CMYK", "x.jpg"),
        ("CMYK", "x.tif"),
        ("1", "x.png"),
        ("YCbCr", "x.jpg"),
        ("L", "x.bmp"),
        ("RGB", "x.webp"),
        ("L", "x.pgm"),
    ],
)
def test_modes(tmp_path, mode, name):
    s = one(tmp_path, half(mode=mode), name)
    x = s.take([0])[0].astype(int)
    bright, dark = (255, 0) if mode == "1" else (220, 30)
    if mode == "1":
        return (
            None if abs(x[:6].mean() - 220) < 20 and s.channels == 1 else pytest.fail(f"{x[:6].mean()}")
        )  # dithered
    assert (
        np.abs(x[:6] - bright).max() < 10
        and np.abs(x[-6:] - dark).max() < 10
        and s.channels == (1 if mode == "L" else 3)
    )


@pytest.mark.parametrize("name", ["x.png", "x.tif"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path, name):
    ramp = np.linspace(0, 65535, 16).round().astype(np.uint16)[None].repeat(16, 0)
    s = one(tmp_path, Image.fromarray(ramp), name)
    assert (
        s.channels == 1 and np.abs(s.take([0])[0, 0, :, 0].astype(int) - np.linspace(0, 255, 16)).max() <= 1
    )


def test_transparency_is_laid_on_white(tmp_path):
    rgba = np.zeros((16, 16, 4), np.uint8)
    rgba[:8] = (200, 10, 10, 255)
    rgba[8:] = (0, 0, 0, 0)
    x = one(tmp_path, Image.fromarray(rgba)).take([0])[0]
    assert (x[:8] == (200, 10, 10)).all() and (x[8:] == 255).all()
    la = np.zeros((16, 16, 2), np.uint8)
    la[:8] = (100, 255)
    la[8:] = (0, 128)
    s = one(tmp_path, Image.merge("LA", [Image.fromarray(la[..., 0]), Image.fromarray(la[..., 1])]))
    assert (
        s.channels == 1
        and (s.take([0])[0, :8] == 100).all()
        and np.abs(s.take([0])[0, 8:].astype(int) - 127).max() <= 1
    )
    p = Image.fromarray(np.zeros((16, 16), np.uint8)).convert("P")
    box = tmp_path / "p"
    box.mkdir()
    p.save(box / "x.png", transparency=0)
    assert (load(f"folder:{box}", split="all", size=16, channels=3).take([0]) == 255).all()


def test_crop_and_stretch(tmp_path):
    a = np.zeros((20, 60, 3), np.uint8)
    a[:, :20] = (255, 0, 0)
    a[:, 20:40] = (0, 255, 0)
    a[:, 40:] = (0, 0, 255)
    crop, stretch = (one(tmp_path, Image.fromarray(a), size=20, fit=f) for f in ("crop", "stretch"))
    assert (
        (crop.take([0])[0] == (0, 255, 0)).all()
        and "centre square was kept" in crop.notes[0]
        and crop.settings["fit"] == "crop"
    )
    x = stretch.take([0])[0]
    assert (
        x[10, 1, 0] > 240
        and x[10, 10, 1] > 240
        and x[10, -2, 2] > 240
        and "stretched" in stretch.notes[0]
        and crop.fingerprint != stretch.fingerprint
    )


def test_channels_and_sizes(tmp_path):
    box = fill(tmp_path / "a", FLAT, mode="L")
    s = load(f"folder:{box}", split="all")
    assert (s.channels, s.size) == (1, 20)
    rgb = load(f"folder:{box}", split="all", channels=3, size=28).take([0])[0]
    assert rgb.shape == (28, 28, 3) and (rgb[..., 0] == rgb[..., 2]).all()
    fill(box, ["10.png"])  # one colour picture among grey ones: RGB
    assert load(f"folder:{box}", split="all").channels == 3
    (box / "wide.png").write_bytes(png(1, w=30))
    with pytest.raises(GannbError, match="size is needed: .*20 to 30 pixels wide"):
        load(f"folder:{box}", split="all")


def test_undecodable_files_stop_or_are_listed(tmp_path):
    box = fill(tmp_path / "a", CLASSED)
    whole = (box / "train/cat/0.png").read_bytes()
    (box / "train/cat/1.png").write_bytes(whole[: len(whole) // 2])
    (box / "test/dog/2.png").write_text("no image")
    with pytest.raises(GannbError, match=r"a/train/cat/1.png cannot be decoded.*; nor can 1 other file\."):
        load(f"folder:{box}", size=16)
    assert not cached(tmp_path)
    s, t = (load(f"folder:{box}", size=16, on_error="skip", split=p) for p in ("train", "test"))
    assert (
        len(s) == 5
        and s.counts() == {"cat": 2, "dog": 3}
        and len(t) == 5
        and t.counts() == {"cat": 3, "dog": 2}
        and "train/cat/1.png" in s.notes[-1]
        and "test/dog/2.png" in s.notes[-1]
    )
    good = load(f"folder:{fill(tmp_path / 'b', CLASSED)}", size=16)
    assert {x.tobytes() for x in s.take(range(5))} < {x.tobytes() for x in good.take(range(6))}
    with pytest.raises(GannbError, match="cannot be decoded"):
        load(f"folder:{box}", size=16)  # a cache made with skip does not hide them
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "x.png").write_text("x")
    with pytest.raises(GannbError, match="No file of this source can"):
        load(f"folder:{tmp_path / 'c'}", size=16, on_error="skip")


def header(w, h, depth=8, kind=2):
    "The start of a PNG that announces so many pixels."
    ihdr = b"IHDR" + struct.pack(">IIBBBBB", w, h, depth, kind, 0, 0, 0)
    size, crc = struct.pack(">I", 13), struct.pack(">I", zlib.crc32(ihdr))
    return b"\x89PNG\r\n\x1a\n" + size + ihdr + crc + b"\0\0\0\0IDAT"


def test_image_bombs_are_refused(tmp_path):
    box = fill(tmp_path / "a", FLAT)
    (box / "bomb.png").write_bytes(header(60_000, 60_000))
    with pytest.raises(GannbError, match="bomb.png cannot be decoded: refused as a decompression bomb"):
        load(f"folder:{box}", size=16)
    (box / "bomb.png").write_bytes(header(16_000, 16_000))
    with pytest.raises(GannbError, match="bomb.png .*takes 1.3 GB, more than the 1.1 GB allowed"):
        load(f"folder:{box}", size=16)


# zips that mean harm or are damaged


@pytest.mark.parametrize("name", ["../x.png", "a/../../x.png", "/etc/x.png", "C:/x.png", "..\\x.png"])
def test_zip_members_may_not_escape(tmp_path, name):
    z = fill_zip(tmp_path / "z.zip", ["ok.png", name])
    with pytest.raises(GannbError, match="would lie outside"):
        load(f"folder:{z}", size=16)


def test_zip_links_bombs_and_secrets(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as z:
        i = zipfile.ZipInfo("x.png")
        i.external_attr = (stat.S_IFLNK | 0o777) << 16
        z.writestr(i, "/etc/passwd")
    with pytest.raises(GannbError, match="is a link"):
        load(f"folder:{tmp_path / 'link.zip'}", size=16)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("x.png", b"\0" * 3_000_000)
    monkeypatch.setattr(files, "MAX_MEMBER", 2_000_000)
    with pytest.raises(GannbError, match="decompression bomb does; at most 2.0 MB"):
        load(f"folder:{tmp_path / 'bomb.zip'}", size=16)
    raw = bytearray(fill_zip(tmp_path / "secret.zip", ["x.png"]).read_bytes())
    raw[6] |= 1
    raw[raw.rindex(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "secret.zip").write_bytes(raw)
    with pytest.raises(GannbError, match="encrypted"):
        load(f"folder:{tmp_path / 'secret.zip'}", size=16)


def test_corrupt_zips(tmp_path):
    raw = fill_zip(tmp_path / "z.zip", CLASSED).read_bytes()
    (tmp_path / "cut.zip").write_bytes(raw[: len(raw) // 2])
    (tmp_path / "text.zip").write_text("hello")
    (tmp_path / "nothing.zip").write_bytes(b"")
    for n in ("cut", "text", "nothing"):
        with pytest.raises(GannbError, match="is not a whole zip file"):
            load(f"folder:{tmp_path / n}.zip", size=16)
    at = raw.index(b"IDAT") + 40
    (tmp_path / "bit.zip").write_bytes(raw[:at] + bytes([raw[at] ^ 255]) + raw[at + 1 :])
    with pytest.raises(GannbError, match="bit.zip!train/cat/0.png cannot be decoded: Bad CRC-32"):
        load(f"folder:{tmp_path / 'bit.zip'}", size=16)
    assert not cached(tmp_path)


# idx


def idx_bytes(a):
    return b"\0\0\x08" + bytes([a.ndim]) + struct.pack(f">{a.ndim}I", *a.shape) + a.astype(np.uint8).tobytes()


def write_idx(folder, n=(40, 20), prefix="", gz=True, transpose=False, seed=0, classes=4):
    folder.mkdir(parents=True, exist_ok=True)
    rng, made = np.random.default_rng(seed), {}
    for part, count in zip(("train", "t10k"), n):
        x, y = rng.integers(0, 256, (count, 28, 28), np.uint8), np.arange(count) % classes
        for what, a, d in (("images", x.transpose(0, 2, 1) if transpose else x, 3), ("labels", y, 1)):
            data = idx_bytes(a)
            (folder / f"{prefix}{part}-{what}-idx{d}-ubyte{'.gz' if gz else ''}").write_bytes(
                gzip.compress(data) if gz else data
            )
        made[part] = x
    return made


def test_idx_gzipped_plain_and_transposed(tmp_path):
    x = write_idx(tmp_path / "gz")
    write_idx(tmp_path / "plain", gz=False)
    write_idx(tmp_path / "turned", transpose=True)
    write_idx(tmp_path / "both")
    write_idx(tmp_path / "both", gz=False)
    sets = [load(f"idx:{tmp_path / n}") for n in ("gz", "plain", "turned?transpose", "both")]
    assert (
        all((np.asarray(s.images)[..., 0] == x["train"]).all() for s in sets)
        and sets[0].classes == tuple("0123")
        and sets[0].fingerprint == sets[1].fingerprint
    )
    test = load(f"idx:{tmp_path / 'gz'}", split="test")
    assert (
        len(test) == 20
        and (test.take(range(20))[..., 0] == x["t10k"]).all()
        and (load(f"idx:{tmp_path / 'turned'}").take([0])[0, ..., 0] == x["train"][0].T).all()
    )
    assert load(f"idx:{tmp_path / 'gz'}", size=32, channels=3).images.shape == (40, 32, 32, 3)
    (tmp_path / "gz" / "mapping.txt").write_text("0 65\n1 66\n2 97\n3 98\n")
    assert load(f"idx:{tmp_path / 'gz'}", classes=["b"]).classes == ("b",)


def test_idx_sets_side_by_side(tmp_path):
    write_idx(tmp_path / "m", prefix="emnist-a-")
    x = write_idx(tmp_path / "m", prefix="emnist-b-", seed=1)
    with pytest.raises(GannbError, match="several sets: emnist-a, emnist-b"):
        load(f"idx:{tmp_path / 'm'}")
    assert (load(f"idx:{tmp_path / 'm' / 'emnist-b'}").take([5])[0, ..., 0] == x["train"][5]).all()
    with pytest.raises(GannbError, match="holds no idx"):
        load(f"idx:{tmp_path / 'm' / 'emnist-c'}")


def test_damaged_idx(tmp_path):
    def damage(change, words, file="train-images-idx3-ubyte"):
        d = tmp_path / f"d{len(list(tmp_path.iterdir()))}"
        write_idx(d, gz=False)
        p = d / file
        change(p)
        with pytest.raises(GannbError, match=words):
            load(f"idx:{d}")

    damage(
        lambda p: p.write_bytes(p.read_bytes()[:-10]),
        "truncated: its header announces 31,360 bytes.*only 31,350",
    )
    damage(lambda p: p.write_bytes(p.read_bytes() + b"x"), "too long")
    damage(lambda p: p.write_bytes(p.read_bytes()[:9]), "damaged header")
    damage(lambda p: p.write_bytes(b""), "not an idx file")
    damage(lambda p: p.write_bytes(b"\x89PNG and so on"), "not an idx file")
    damage(lambda p: p.write_bytes(b"\0\0\x08\x03" + b"\xff" * 12), "damaged header")
    damage(lambda p: p.unlink(), "no images file beside train-labels")
    damage(
        lambda p: p.write_bytes(idx_bytes(np.zeros(39, np.uint8))),
        "40 images and 39 labels",
        "train-labels-idx1-ubyte",
    )
    damage(lambda p: p.rename(p.with_name(p.name + ".gz")), "cannot be read|damaged")
    damage(
        lambda p: (p.with_name(p.name + ".gz").write_bytes(gzip.compress(p.read_bytes())[:-200]), p.unlink()),
        "truncated or damaged",
    )
    (tmp_path / "none").mkdir()
    with pytest.raises(GannbError, match="holds no idx files"):
        load(f"idx:{tmp_path / 'none'}")
    with pytest.raises(GannbError, match="does not exist"):
        load(f"idx:{tmp_path / 'x' / 'y'}")
    assert not cached(tmp_path)


# where a name is found


def test_catalogue_comes_first_and_its_note_travels(tmp_path):
    root = tmp_path / "root"
    fill_zip(root / "some.zip", CLASSED)
    write_idx(root / "letters", transpose=True)
    x = write_idx(tmp_path / "upright")
    fill(root / "cifar10", ["train/x/1.png"])  # the catalogue wins over this
    (root / "catalogue.yaml").write_text(
        'cifar10: {source: "folder:some.zip!train", complete: false, note: "six of them"}\n'
        'mine: {source: "idx:letters", transpose: true, complete: true}\n'
    )
    s = load("cifar10", split="all", size=16)
    assert (
        len(s) == 6
        and s.name == "cifar10"
        and s.notes[0] == "cifar10 is not complete here: six of them"
        and available("cifar10").endswith("some.zip!train")
    )
    assert (load("mine").take([0])[0, ..., 0] == x["train"][0]).all() and not load("mine").notes
    check_name("mine", root)
    with pytest.raises(GannbError):
        check_name("mine")
    with pytest.raises(GannbError, match="Did you mean 'mine'"):
        load("mien")
    rows = {r["name"]: r for r in table()}
    assert (
        rows["mine"]["here"].endswith("letters")
        and rows["cifar10"]["note"] == "six of them"
        and rows["celeba"]["here"] == ""
        and rows["celeba"]["size"] == "1.4 GB"
    )


@pytest.mark.parametrize(
    "text",
    [
        "- a",
        "mnist: folder",
        "mnist: {note: x}",
        'mnist: {source: "x.zip"}',
        'mnist: {source: "folder:x", complete: maybe}',
        'mnist: {source: "folder:x", notes: y}',
        "a: [",
        'mnist: {source: "folder:gone.zip"}',
    ],
)
def test_bad_catalogues(tmp_path, text):
    (tmp_path / "root" / "catalogue.yaml").write_text(text)
    with pytest.raises(GannbError, match="catalogue.yaml|gone.zip does not exist"):
        load("mnist")


def test_name_folder_and_zip_and_official_emnist(tmp_path):
    root = tmp_path / "root"
    fill_zip(root / "celeba.zip", FLAT)
    x = write_idx(root / "emnist-balanced", prefix="emnist-balanced-", transpose=True, classes=47, n=(94, 47))
    write_idx(root / "fashion-mnist", classes=10)
    assert (
        len(load("celeba", split="all", size=16)) == 10 and load("fashion-mnist").classes[9] == "Ankle boot"
    )
    s = load("emnist-balanced")
    assert (
        (s.images[:, :, :, 0] == x["train"]).all()
        and s.classes[10] == "A"
        and s.classes[-1] == "t"
        and len(s.classes) == 47
    ), "the official files are transposed; here they stand upright"
    assert available("mnist") is None and available("folder:nowhere") is None


def test_missing_data_say_where_how_large_and_how(tmp_path):
    with pytest.raises(
        GannbError,
        match=r"mnist is not in .*70,000 images, 11.6 MB to download, "
        r"licence: CC BY-SA 3.0.*gannb data get mnist",
    ):
        load("mnist")
    with pytest.raises(GannbError, match="by hand from .*Kaggle .*fruits360.zip"):
        load("fruits360")
    with pytest.raises(GannbError, match="by hand"):
        get("stanford-cars")
    with pytest.raises(GannbError, match="Did you mean"):
        get("minst")
    assert get("digits") == "scikit-learn"


# torchvision's own layout


def test_torchvision_layout_of_mnist_and_emnist(tmp_path):
    root = tmp_path / "root"
    x = write_idx(root / "MNIST" / "raw", gz=False, classes=10)
    s = load("mnist", split="test")
    assert (
        (s.take(range(20))[..., 0] == x["t10k"]).all()
        and s.classes == tuple("0123456789")
        and available("mnist").endswith("raw")
    )
    z = write_idx(
        root / "EMNIST" / "raw", prefix="emnist-balanced-", gz=False, transpose=True, classes=47, n=(94, 47)
    )
    for p in (root / "EMNIST" / "raw").iterdir():
        p.rename(p.with_name(p.name.replace("t10k", "test")))
    e = load("emnist-balanced")
    assert (
        (np.asarray(e.images)[..., 0] == z["train"]).all()
        and e.classes[10] == "A"
        and e.settings["transposed"]
    )
    (root / "MNIST" / "raw" / "t10k-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03cut")
    with pytest.raises(GannbError, match="incomplete or damaged.*gannb data get mnist"):
        load("mnist")


def fake_cifar(root, monkeypatch, evil=None):
    from torchvision.datasets import CIFAR10

    folder = root / CIFAR10.base_folder
    folder.mkdir(parents=True)
    rng, sums = np.random.default_rng(0), {}
    names = [n for n, _ in CIFAR10.train_list + CIFAR10.test_list]
    for n in names:
        (folder / n).write_bytes(
            pickle.dumps({"data": rng.integers(0, 256, (10, 3072), np.uint8), "labels": list(range(10))})
        )
    words = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": words}))
    for n in [*names, "batches.meta"]:
        sums[n] = hashlib.md5((folder / n).read_bytes()).hexdigest()
    monkeypatch.setattr(CIFAR10, "train_list", [[n, sums[n]] for n, _ in CIFAR10.train_list])
    monkeypatch.setattr(CIFAR10, "test_list", [[n, sums[n]] for n, _ in CIFAR10.test_list])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": sums["batches.meta"]})
    return folder


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (Path(self.path),))


def test_cifar_pickles_only_after_their_hash(tmp_path, monkeypatch):
    folder = fake_cifar(tmp_path / "root", monkeypatch)
    planes = load("cifar10", classes=["airplane"])
    assert (
        len(planes) == 5
        and planes.images.shape == (5, 32, 32, 3)
        and planes.classes == ("airplane",)
        and len(load("cifar10", split="all")) == 60
    )
    (folder / "data_batch_2").write_bytes(pickle.dumps(Evil(tmp_path / "pwned")))
    with pytest.raises(GannbError, match="incomplete or damaged"):
        load("cifar10")
    assert not (tmp_path / "pwned").exists()


def fake_celeba(folder, monkeypatch, n=12):
    from torchvision.datasets import CelebA

    (folder / "img_align_celeba").mkdir(parents=True)
    names = [f"{i + 1:06d}.jpg" for i in range(n)]
    for i, f in enumerate(names):
        picture(i, 178, 218).save(folder / "img_align_celeba" / f, quality=95)
    part = [0, 1, 2] * (n // 3)
    text = {
        "list_eval_partition.txt": "".join(f"{f} {p}\n" for f, p in zip(names, part)),
        "identity_CelebA.txt": "".join(f"{f} {i // 4}\n" for i, f in enumerate(names)),
    }
    for t in ("list_bbox_celeba.txt", "list_landmarks_align_celeba.txt", "list_attr_celeba.txt"):
        text[t] = f"{n}\na b\n" + "".join(f"{f} 1 -1\n" for f in names)
    for t, s in text.items():
        (folder / t).write_text(s)

    def md5(f):
        return hashlib.md5(text[f].encode()).hexdigest() if f in text else "0" * 32

    monkeypatch.setattr(CelebA, "file_list", [(i, md5(f), f) for i, _, f in CelebA.file_list])
    return names, np.array(part)


def test_celeba_has_its_partition_and_identities(tmp_path, monkeypatch):
    names, part = fake_celeba(tmp_path / "root" / "celeba", monkeypatch)
    sets = {p: load("celeba", split=p, size=32) for p in ("train", "val", "test", "all")}
    assert [len(s) for s in sets.values()] == [4, 4, 4, 12] and [
        bytes(f).decode() for f in sets["test"].files
    ] == [n for n, p in zip(names, part) if p == 2]
    assert (
        sets["train"].groups.tolist() == [0, 0, 1, 2]
        and not sets["all"].classes
        and "1" in sets["all"].notes[0]
    )
    a, b = sets["all"].split(0.5)
    assert not set(a.groups) & set(b.groups)
    with pytest.raises(GannbError, match="size is needed"):
        load("celeba")
    (tmp_path / "root" / "celeba" / "list_eval_partition.txt").write_text("")
    with pytest.raises(GannbError, match="incomplete or damaged"):
        load("celeba", size=32)


# the cache


def test_cache_is_used_until_the_source_changes(tmp_path, monkeypatch):
    box = fill(tmp_path / "a", CLASSED)
    first = load(f"folder:{box}", size=16)
    with monkeypatch.context() as m:
        m.setattr(decode, "to_square", lambda *a: pytest.fail("decoded again"))
        again = load(f"folder:{box}", size=16)
    assert (
        again.fingerprint == first.fingerprint
        and isinstance(again.images, np.memmap)
        and len(cached(tmp_path)) == 1
    )
    (box / "train/cat/0.png").write_bytes(png(99))
    changed = load(f"folder:{box}", size=16)
    assert changed.fingerprint != first.fingerprint and len(cached(tmp_path)) == 2
    (box / "train/cat/0.png").unlink()
    assert len(load(f"folder:{box}", size=16)) == 5


def test_damaged_cache_is_made_again_with_a_warning(tmp_path):
    box = fill(tmp_path / "a", CLASSED)
    first = load(f"folder:{box}", size=16)
    before = first.take(range(6))
    print_before = first.fingerprint
    del first
    pixels = tmp_path / "cache" / "images" / cached(tmp_path)[0] / "images.npy"
    pixels.write_bytes(pixels.read_bytes()[:200])
    with pytest.warns(UserWarning, match="damaged and is made again"):
        again = load(f"folder:{box}", size=16)
    assert (
        again.fingerprint == print_before
        and (again.take(range(6)) == before).all()
        and len(cached(tmp_path)) == 1
    )


@pytest.mark.parametrize("file", ["images.npy", "labels.npy", "files.npy", "meta.json", "manifest.json"])
def test_a_byte_changed_in_the_cache_is_noticed(tmp_path, file):
    box = fill(tmp_path / "a", CLASSED)
    before = load(f"folder:{box}", size=16).take(range(6))
    damaged = tmp_path / "cache" / "images" / cached(tmp_path)[0] / file
    content = bytearray(damaged.read_bytes())
    content[-3] ^= 1
    damaged.write_bytes(content)
    with pytest.warns(UserWarning, match="damaged and is made again"):
        again = load(f"folder:{box}", size=16)
    assert (again.take(range(6)) == before).all() and again.classes == ("cat", "dog")


@pytest.mark.parametrize("text", ["[]", "{}", "null", "[" * 100_000])
def test_a_manifest_of_the_cache_that_is_none_is_made_again(tmp_path, text):
    box = fill(tmp_path / "a", CLASSED)
    load(f"folder:{box}", size=16)
    (tmp_path / "cache" / "images" / cached(tmp_path)[0] / "manifest.json").write_text(text)
    with pytest.warns(UserWarning, match="damaged and is made again"):
        assert len(load(f"folder:{box}", size=16)) == 6


def test_the_cache_is_read_whole_only_where_a_file_was_written_to(tmp_path, monkeypatch):
    box = fill(tmp_path / "a", CLASSED)
    load(f"folder:{box}", size=16)
    hashed = []
    sha256_file = store.sha256_file
    monkeypatch.setattr(store, "sha256_file", lambda p: hashed.append(p) or sha256_file(p))
    load(f"folder:{box}", size=16)
    assert not hashed, "what was just made, and not written to, is not read again"
    os.utime(tmp_path / "cache" / "images" / cached(tmp_path)[0] / "images.npy", (1, 1))
    load(f"folder:{box}", size=16)
    n = len(hashed)
    assert n, "a file with another time is read again"
    load(f"folder:{box}", size=16)
    assert len(hashed) == n, "and then it is known"


def test_two_processes_on_one_cache(tmp_path):
    z = fill_zip(tmp_path / "z.zip", [f"{i}.png" for i in range(300)], w=64, h=64)
    call = f"load('folder:{z}', split='all', size=32, progress=False)"
    code = f"from gannb.datasets.registry import load; print({call}.fingerprint)"
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(registry.__file__).parents[2],
        )
        for _ in range(3)
    ]
    out = [(*r.communicate(), r.returncode) for r in runs]
    assert all(rc == 0 for *_, rc in out), out
    assert len({o for o, _, _ in out}) == 1 and len(cached(tmp_path)) == 1


@pytest.mark.skipif(os.name != "posix", reason="resource limits are a POSIX thing")
def test_full_disk_while_decoding(tmp_path):
    z = fill_zip(tmp_path / "z.zip", [f"{i}.png" for i in range(100)])
    code = (
        "import resource; from gannb.datasets.registry import load, GannbError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        f"try: load('folder:{z}', split='all', size=64, progress=False)\n"
        "except GannbError as e: print('OK', e)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(registry.__file__).parents[2]
    )
    assert done.returncode == 0 and done.stdout.startswith("OK Cannot write") and not cached(tmp_path), done


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="space cannot be reserved here")
def test_space_is_reserved_before_decoding(tmp_path, monkeypatch):
    def full(fd, start, length):
        assert length > 12 * 16 * 16 * 3
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    monkeypatch.setattr(decode, "to_square", lambda *a: pytest.fail("decoded onto a full disk"))
    with pytest.raises(GannbError, match="the disk is full"):
        load(f"folder:{fill(tmp_path / 'a', CLASSED)}", size=16)
    assert not cached(tmp_path)


def test_unwritable_cache(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("GANNB_CACHE", str(tmp_path / "file"))
    with pytest.raises(GannbError, match="a file stands where a folder should be"):
        load("digits")


def test_progress_goes_to_stderr(tmp_path, capsys, monkeypatch):
    from gannb.datasets import decode

    monkeypatch.setitem(decode._BAR, "delay", 0)  # a bar comes after a second, and these are few
    load(f"folder:{fill(tmp_path / 'a', FLAT)}", size=16, split="all", progress=True)
    out, err = capsys.readouterr()
    assert out == "" and "decoding folder:a" in err


# downloads, from a server on this machine


class Server:
    "Serves `files`; `cut`: bytes after which each answer breaks off; `ranges`: whether it can resume."

    def __init__(self):
        self.files, self.cut, self.ranges, self.asked, self.kind, outer = (
            {},
            None,
            True,
            [],
            "application/octet-stream",
            self,
        )

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                name, wanted = self.path.rsplit("/", 1)[1], self.headers.get("Range")
                outer.asked.append((name, wanted))
                data = outer.files.get(name)
                if data is None:
                    self.send_error(404)
                    return
                start = int(wanted[6:-1]) if wanted and outer.ranges else 0
                if start >= len(data):
                    self.send_error(416)
                    return
                self.send_response(206 if start else 200)
                self.send_header("Content-Type", outer.kind)
                self.send_header("Content-Length", str(len(data) - start))
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
                self.end_headers()
                self.wfile.write(data[start:] if outer.cut is None else data[start : start + outer.cut])

            def log_message(self, *a):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(F, "PAUSE", 0)
    monkeypatch.setattr(F, "TRIES", 3)
    s = Server()
    yield s
    s.http.shutdown()
    s.http.server_close()


BIG = np.random.default_rng(0).integers(0, 256, 300_000, np.uint8).tobytes()
SUM = hashlib.md5(BIG).hexdigest()


def test_broken_transfers_go_on(server, tmp_path):
    server.files["x.bin"], server.cut = BIG, 70_000
    F.fetch([server.url + "x.bin"], SUM, tmp_path / "x.bin", progress=False)
    assert (tmp_path / "x.bin").read_bytes() == BIG and [r for _, r in server.asked] == [
        None,
        *(f"bytes={k * 70_000}-" for k in (1, 2, 3, 4)),
    ]
    server.asked.clear()
    F.fetch([server.url + "x.bin"], SUM, tmp_path / "x.bin", progress=False)
    assert not server.asked, "a file that is there and right is not fetched again"


def test_a_partial_file_goes_on_after_a_restart(server, tmp_path):
    server.files["x.bin"] = BIG
    (tmp_path / "x.bin.part").write_bytes(BIG[:123_456])
    F.fetch([server.url + "x.bin"], SUM, tmp_path / "x.bin", progress=False)
    assert (
        (tmp_path / "x.bin").read_bytes() == BIG
        and server.asked == [("x.bin", "bytes=123456-")]
        and [p.name for p in tmp_path.glob("x*")] == ["x.bin"]
    )
    (tmp_path / "x.bin").unlink()
    (tmp_path / "x.bin.part").write_bytes(BIG)  # whole already, only the last step is missing
    F.fetch([server.url + "x.bin"], SUM, tmp_path / "x.bin", progress=False)
    assert (tmp_path / "x.bin").read_bytes() == BIG


def test_a_server_that_cannot_resume_is_asked_for_all(server, tmp_path):
    server.files["x.bin"], server.ranges = BIG, False
    (tmp_path / "x.bin.part").write_bytes(b"old" * 1000)
    F.fetch([server.url + "x.bin"], SUM, tmp_path / "x.bin", progress=False)
    assert (tmp_path / "x.bin").read_bytes() == BIG


def test_wrong_hash_leaves_nothing(server, tmp_path):
    server.files["x.bin"] = BIG
    (tmp_path / "d").mkdir()
    for stale in (None, b"of another file"):
        if stale:
            (tmp_path / "d" / "x.bin.part").write_bytes(stale)
        with pytest.raises(GannbError, match="another hash and was removed"):
            F.fetch([server.url + "x.bin"], "0" * 32, tmp_path / "d" / "x.bin", progress=False)
        assert not list((tmp_path / "d").iterdir())


def test_dead_servers_pages_and_mirrors(server, tmp_path):
    d = tmp_path / "d"
    with pytest.raises(
        GannbError,
        match=r"no connection \(no network.*"
        r"By hand: fetch http://127.0.0.1:9/x.bin \(md5 .*put it at .*d/x.bin",
    ):
        F.fetch(["http://127.0.0.1:9/x.bin"], SUM, d / "x.bin", progress=False)
    assert not list(d.iterdir())
    with pytest.raises(GannbError, match="404"):
        F.fetch([server.url + "gone.bin"], SUM, d / "x.bin", progress=False)
    server.files["x.bin"] = BIG
    F.fetch(["http://127.0.0.1:9/x.bin", server.url + "x.bin"], SUM, d / "x.bin", progress=False)
    assert (d / "x.bin").read_bytes() == BIG
    server.kind = "text/html; charset=utf-8"
    with pytest.raises(GannbError, match="answered with a web page"):
        F.fetch([server.url + "x.bin"], SUM, d / "y.bin", progress=False)
    server.kind, server.files["s.bin"], server.cut = "application/octet-stream", BIG, 0
    with pytest.raises(GannbError, match="broke off"):
        F.fetch([server.url + "s.bin"], SUM, d / "s.bin", progress=False)
    server.cut = 100_000
    with pytest.MonkeyPatch.context() as m:
        m.setattr(F, "TRIES", 1)  # one attempt: what came is kept for the next call
        with pytest.raises(GannbError, match="100 kB are kept in s.bin.part"):
            F.fetch([server.url + "s.bin"], SUM, d / "s.bin", progress=False)
    assert (d / "s.bin.part").read_bytes() == BIG[:100_000]


def test_get_mnist_end_to_end(server, tmp_path, monkeypatch):
    from torchvision.datasets import MNIST

    x = write_idx(tmp_path / "src", classes=10)
    server.files = {p.name: p.read_bytes() for p in (tmp_path / "src").iterdir()}
    server.cut = 9_000
    monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/", server.url])
    monkeypatch.setattr(
        MNIST, "resources", [(n, hashlib.md5(b).hexdigest()) for n, b in server.files.items()]
    )
    s = load("mnist", download=True)
    assert (
        (np.asarray(s.images)[..., 0] == x["train"]).all()
        and available("mnist").endswith("raw")
        and get("mnist", progress=False) == available("mnist")
    )
    assert any(r for _, r in server.asked) and not list((tmp_path / "root").rglob("*.part"))


def test_get_cifar_and_celeba_and_coco(server, tmp_path, monkeypatch):
    from torchvision.datasets import CIFAR10, CelebA

    folder = fake_cifar(tmp_path / "made", monkeypatch)
    with tarfile.open(tmp_path / "c.tar.gz", "w:gz") as t:
        t.add(folder, CIFAR10.base_folder)
    server.files["c.tar.gz"] = (tmp_path / "c.tar.gz").read_bytes()
    monkeypatch.setattr(CIFAR10, "url", server.url + "c.tar.gz")
    monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5(server.files["c.tar.gz"]).hexdigest())
    assert (
        get("cifar10", progress=False).endswith(CIFAR10.base_folder)
        and len(load("cifar10", split="test")) == 10
    )

    made = tmp_path / "faces" / "celeba"
    fake_celeba(made, monkeypatch)
    with zipfile.ZipFile(tmp_path / "i.zip", "w") as z:
        for p in sorted((made / "img_align_celeba").iterdir()):
            z.write(p, f"img_align_celeba/{p.name}")
    content = {
        f: (tmp_path / "i.zip" if f.endswith(".zip") else made / f).read_bytes()
        for _, _, f in CelebA.file_list
    }
    server.files |= content
    monkeypatch.setattr(CelebA, "file_list", [(f, hashlib.md5(content[f]).hexdigest(), f) for f in content])
    monkeypatch.setattr(celeba, "DRIVE", server.url + "{}")
    get("celeba", progress=False)
    assert (
        len(load("celeba", split="test", size=16)) == 4
        and not (tmp_path / "root" / "celeba" / ".unpacking").exists()
    )

    server.files["val2017.zip"] = fill_zip(tmp_path / "v.zip", [f"val2017/{n}" for n in FLAT]).read_bytes()
    monkeypatch.setattr(
        coco, "COCO", (server.url + "val2017.zip", hashlib.md5(server.files["val2017.zip"]).hexdigest())
    )
    server.files["a.zip"] = fill_zip(tmp_path / "a.zip", ["annotations/x.png"]).read_bytes()
    monkeypatch.setattr(
        coco, "ANNOTATIONS", (server.url + "a.zip", hashlib.md5(server.files["a.zip"]).hexdigest())
    )
    assert len(load("coco-val2017", split="all", size=16, download=True)) == 10


def test_download_without_network_says_what_and_where(tmp_path, monkeypatch):
    from torchvision.datasets import FashionMNIST

    monkeypatch.setattr(FashionMNIST, "mirrors", ["http://127.0.0.1:9/"])
    monkeypatch.setattr(F, "PAUSE", 0)
    monkeypatch.setattr(F, "TRIES", 2)
    with pytest.raises(
        GannbError,
        match=r"train-images-idx3-ubyte.gz could not be fetched.*no network.*"
        r"put it at .*FashionMNIST/raw/train-images-idx3-ubyte.gz",
    ):
        load("fashion-mnist", download=True)
    assert not [p for p in (tmp_path / "root").rglob("*") if p.is_file()]


# checking


def test_check_counts_copies_and_damage(tmp_path):
    box = fill(tmp_path / "a", CLASSED)
    for new, old in (("test/dog/copy.png", "train/cat/0.png"), ("train/cat/copy.png", "train/cat/1.png")):
        (box / new).write_bytes((box / old).read_bytes())
    (box / "train/dog/bad.png").write_text("x")
    found = check(str(box), progress=False)
    assert (found["images"], found["n_groups"], found["n_across"], found["n_labels_differ"]) == (
        14,
        2,
        1,
        1,
    ) and found["counts"] == {"train": {"cat": 4, "dog": 3}, "test": {"cat": 3, "dog": 4}}
    assert (
        [f for f, _ in found["unreadable"]] == ["train/dog/bad.png"]
        and found["sizes"] == {"20x20": 14}
        and found["modes"] == {"RGB": 14}
    )
    text = format_check(found)
    assert (
        "train/cat/0.png = test/dog/copy.png" in text
        and "1 file cannot be read" in text
        and "all classes        7        7" in text
    )
    assert check("digits", progress=False)["images"] == 1797
    write_idx(tmp_path / "idx")
    assert check(str(tmp_path / "idx"), progress=False)["counts"]["test"] == {str(i): 5 for i in range(4)}
    for bad in ("mnist", "nowhere", "folder:nowhere"):
        with pytest.raises(GannbError):
            check(bad, progress=False)


def test_long_lists_are_cut(tmp_path):
    box = fill(tmp_path / "a", ["0.png"])
    for i in range(30):
        (box / f"bad{i}.png").write_text("x")
    assert "... and 27 more" in format_check(check(str(box), progress=False))


# the real pack


@pytest.mark.pack
def test_pack_counts():
    mnist, emnist = (
        load("mnist", split="all"),
        {p: load("emnist-balanced", split=p) for p in ("train", "test")},
    )
    assert (
        len(mnist) == 70_000
        and len(load("mnist")) == 60_000
        and len(load("mnist", split="test")) == 10_000
        and mnist.classes == tuple("0123456789")
    )
    assert (
        [len(s) for s in emnist.values()] == [11_750, 2_350]
        and set(emnist["train"].counts().values()) == {250}
        and len(emnist["train"].classes) == 47
        and "ByMerge" in emnist["train"].notes[0]
    )
    stroke = np.asarray(emnist["train"].select(classes=["T"]).images).astype(float).mean(0)[..., 0]
    assert stroke[4:9].mean() > 1.5 * max(
        stroke[19:24].mean(), stroke[:, 4:9].mean(), stroke[:, 19:24].mean()
    ), "T stands upright: its bar on top"
    planes = load("cifar10", classes=["airplane"])
    assert len(planes) == 5_000 and planes.size == 32 and len(load("cifar10", split="test")) == 2_000


@pytest.mark.pack
def test_pack_copies():
    scenes, faces = check("intel-scenes", progress=False), check("celeba", progress=False)
    assert (
        (scenes["n_groups"], scenes["n_across"], scenes["n_labels_differ"]) == (9, 2, 7)
        and scenes["images"] == 10_899
        and scenes["counts"]["train"]["buildings"] == 1448
        and not scenes["unreadable"]
    )
    assert [[m["file"] for m in g["images"]] for g in faces["copies"]] == [
        ["186574.jpg", "197961.jpg"]
    ] and faces["images"] == 2_000
    train, test = (load("celeba", size=32, split=p) for p in ("train", "test"))
    names = [{bytes(f).decode() for f in s.files} for s in (train, test)]
    assert (
        len(train) + len(test) == 2_000
        and any({"186574.jpg", "197961.jpg"} <= n for n in names)
        and "held out" in train.notes[-1]
    )
    assert pixels.RULE["resample"] == train.settings["resample"] and train.notes[0].startswith(
        "celeba is not complete here"
    )


# fruits: families and arcs

VARIETIES = (
    "Apple Braeburn",
    "Apple Red 1",
    "Banana",
    "Banana Lady Finger",
    "Grape Blue",
    "Grapefruit White",
    "Tomato 2",
    "Tomato Cherry Red",
)


def film(variety, axis="", step=6):
    return [f"{variety}/{axis}{k}_100.jpg" for k in range(0, 328, step)]


def official(root, varieties=VARIETIES, test=True):
    "Fruits-360 as it is published: parts, varieties, frames, and pictures of several fruits beside them."
    names = [f"Training/{f}" for v in varieties for f in film(v)] + [
        f"Test/{v}/{k}_100.jpg" for v in varieties for k in (3, 9)
    ] * test
    return fill_zip(
        root / "fruits360.zip",
        [
            f"fruits-360/{n}"
            for n in [*names, "test-multiple_fruits/apples_1.jpg", "test-multiple_fruits/pears.jpg"]
        ],
        w=16,
        h=16,
    )


def packed(root, varieties=VARIETIES, step=6):
    "The same as the pack has it: families, with the variety before a double underscore; no official parts."
    names = [
        f"{v.split()[0]}/{v.replace(' ', '_')}__{f.split('/')[1]}"
        for v in varieties
        for axis in ("", "r_")
        for f in film(v, axis, step)
    ]
    return fill_zip(root / "fruits360.zip", names, w=16, h=16)


def test_arcs_are_read_off_file_names():
    arcs = fruit_arcs(
        [
            "Training/Apple Red 1/0_100.jpg",
            "Training/Apple Red 1/40_100.jpg",
            "Apple/Apple_Red_1__0_100.jpg",
            "Training/Apple Red 1/41_100.jpg",
            "Training/Apple Red 1/r_0_100.jpg",
            "Training/Apple Red 1/r2_0_100.jpg",
            "Training/Apple Red 2/0_100.jpg",
            "Test/Apple Red 1/286_100.jpg",
            "Test/Apple Red 1/287_100.jpg",
            "Test/Apple Red 1/327_100.jpg",
            "x/a.jpg",
            "x/b.jpg",
        ]
    )
    assert arcs.dtype == np.int64 and arcs[0] == arcs[1] == arcs[8] == arcs[9], (
        "frames after a whole turn show its beginning again"
    )
    assert len({arcs[i] for i in (0, 2, 3, 4, 5, 6, 7, 10, 11)}) == 9
    whole = fruit_arcs(film("Kiwi", step=1))
    assert np.bincount(whole).tolist() == [82, 41, 41, 41, 41, 41, 41]


def test_whole_arcs_of_every_variety_are_held_out(tmp_path):
    packed(tmp_path / "root")
    sets = {p: load("fruits360", split=p, size=16) for p in ("train", "test", "all")}
    train, test, whole = sets.values()
    assert len(train) + len(test) == len(whole) == 8 * 2 * 55 and not set(train.files) & set(test.files)
    assert (
        not set(train.groups.tolist()) & set(test.groups.tolist())
        and len(set(whole.groups.tolist())) == 8 * 2 * 7
    )

    def varieties(s):
        return {bytes(f).decode().split("/")[1].split("__")[0]: 0 for f in s.files}

    assert varieties(train) == varieties(test) == varieties(whole) and 0.15 < len(test) / len(whole) < 0.25
    sizes = np.bincount(test.groups)[np.unique(test.groups)]
    assert sizes.max() == 14 and sizes.min() < 8, (
        "arcs of every size are held out, the long ones at the start of a film too"
    )
    assert "by variety, whole arcs of 41 frames" in train.notes[-1] and not any(
        "arcs" in n for n in whole.notes
    )
    bananas = load("fruits360", split="test", size=16, classes=["Banana"])
    assert bananas.classes == ("Banana",) and set(bananas.files) == {
        f for f, k in zip(test.files, test.labels) if test.classes[k] == "Banana"
    }
    assert (load("fruits360", split="test", size=32).files == test.files).all(), "the same at every size"
    a, b = train.split(0.8, seed=3)
    assert not set(a.groups.tolist()) & set(b.groups.tolist())


def test_arcs_need_no_new_decoding(tmp_path, monkeypatch):
    packed(tmp_path / "root", step=30)
    load("fruits360", split="all", size=16)
    (folder,) = cached(tmp_path)
    assert not (tmp_path / "cache" / "images" / folder / "groups.npy").exists(), (
        "a cache made without groups is as good"
    )
    monkeypatch.setattr(decode, "to_square", lambda *a: pytest.fail("decoded again"))
    assert len(set(load("fruits360", split="all", size=16).groups.tolist())) == 8 * 2 * 7 and cached(
        tmp_path
    ) == [folder]


def test_official_fruits_in_families(tmp_path):
    official(tmp_path / "root")
    train = load("fruits360", size=16)
    assert (
        train.part == "train"
        and train.classes == tuple(sorted(VARIETIES))
        and len(train) == 8 * 55
        and any("2 image(s) in test-multiple_fruits/" in n for n in train.notes)
    )
    assert train.notes[-1] == OFFICIAL_TEST and len(load("fruits360", split="test", size=16)) == 16
    assert fruit_counts(train) == {"Apple": 110, "Banana": 110, "Grape": 55, "Tomato": 110}
    four = load("fruits360", size=16, classes=["Tomato", "Grape", "Apple", "Banana"])
    assert (
        four.classes == ("Tomato", "Grape", "Apple", "Banana")
        and four.counts() == {"Tomato": 110, "Grape": 55, "Apple": 110, "Banana": 110}
        and fruit_counts(four) == fruit_counts(train)
    )
    assert all(
        bytes(f).decode().split("/")[2].split(" ")[0] == four.classes[k]
        for f, k in zip(four.files, four.labels)
    ), "no grapefruit among the grapes"
    apples = load("fruits360", size=16, classes="Apple")
    assert (
        apples.classes == ("Apple",)
        and {bytes(f).decode().split("/")[2] for f in apples.files} == {"Apple Braeburn", "Apple Red 1"}
        and apples.fingerprint == four.select("Apple").fingerprint
    )
    a, b = apples.split(0.8)
    assert (
        len(a) + len(b) == 110
        and not set(a.groups.tolist()) & set(b.groups.tolist())
        and 0.1 < len(b) / 110 < 0.3
    )
    mixed = load("fruits360", size=16, classes=["Grapefruit White", "Grape"])
    assert mixed.counts() == {"Grapefruit White": 55, "Grape": 55}
    assert load("fruits360", size=16, classes=["Apple Red 1"]).counts() == {"Apple Red 1": 55}
    for wrong in (["Apple", "Apple Red 1"], ["Kiwi"], ["grape"], ["Apple", "Apple"]):
        with pytest.raises(GannbError, match="classes"):
            load("fruits360", size=16, classes=wrong)
    assert load("fruits360", split="all", size=16, classes="Banana").counts() == {"Banana": 114}, (
        "with the official Test frames"
    )


def test_families_that_are_not_there_are_named_before_decoding(tmp_path, monkeypatch):
    packed(tmp_path / "root", ("Apple Red 1", "Banana", "Tomato 2"), step=30)
    monkeypatch.setattr(decode, "to_square", lambda *a: pytest.fail("decoded"))
    with pytest.raises(GannbError, match="classes='Grape'.*Allowed: Apple, Banana, Tomato"):
        load("fruits360", size=16, classes=["Apple", "Grape"])
    other = fill(tmp_path / "other", ["Apple Red/1.png", "Apple Green/2.png"])
    with pytest.raises(GannbError, match="Allowed: Apple Green, Apple Red"):
        load(f"folder:{other}", split="all", size=16, classes=["Apple"])  # families are a matter of fruits360


def test_folders_beside_parts(tmp_path):
    other = fill(tmp_path / "a", ["Training/x/1.png", "Test/x/2.png", "more/3.png"])
    s = load(f"folder:{other}", split="all", size=16)
    assert s.classes == ("x",) and "1 image(s) in more/ belong to no part" in s.notes[1]
    only = fill(tmp_path / "b", ["test-multiple_fruits/1.png", "test-multiple_fruits/2.png", "else/3.png"])
    assert load(f"folder:{only}", split="all", size=16).counts() == {"else": 1, "test-multiple_fruits": 2}


@pytest.mark.pack
def test_pack_fruits(monkeypatch):
    number = itertools.count()  # no two files are alike: a number for each stands for its pixels
    monkeypatch.setattr(
        decode,
        "to_square",
        lambda image, size, channels, *more: np.resize(
            np.frombuffer(next(number).to_bytes(4, "big"), np.uint8), (size, size, channels)
        ),
    )
    sets = {
        p: load("fruits360", split=p, size=16, classes=["Tomato", "Apple", "Banana"])
        for p in ("train", "test")
    }
    assert [fruit_counts(s) for s in sets.values()] == [
        {"Apple": 5133, "Banana": 391, "Grape": 0, "Tomato": 4102},
        {"Apple": 1271, "Banana": 99, "Grape": 0, "Tomato": 1001},
    ]
    arcs = [
        {c: len(set(s.groups[s.labels == k].tolist())) for k, c in enumerate(s.classes)}
        for s in sets.values()
    ]
    assert arcs == [{"Tomato": 122, "Apple": 139, "Banana": 11}, {"Tomato": 29, "Apple": 32, "Banana": 3}]
    assert not set(sets["train"].groups.tolist()) & set(sets["test"].groups.tolist())


# names that look like something else, and where a root is looked for


def test_exclamation_marks_in_real_names(tmp_path, monkeypatch):
    fill(tmp_path / "a!b", ["1.png", "2.png"])
    fill_zip(tmp_path / "new!.zip", ["x/1.png", "y/2.png", "y/3.png"])
    (tmp_path / "new!.zip").with_name("bad!.zip").write_bytes((tmp_path / "new!.zip").read_bytes())
    s = load(f"folder:{tmp_path / 'a!b'}", split="all", size=16)
    assert len(s) == 2 and s.name == "folder:a!b"
    assert load(f"folder:{tmp_path / 'new!.zip'}", split="all", size=16).counts() == {"x": 1, "y": 2}
    part = load(f"folder:{tmp_path / 'new!.zip'}!y", split="all", size=16)
    assert (
        len(part) == 2
        and part.name == "folder:new!.zip!y"
        and available(f"folder:{tmp_path / 'new!.zip'}!y").endswith("new!.zip!y")
    )
    monkeypatch.chdir(tmp_path)
    assert (
        len(load("folder:a!b", split="all", size=16)) == 2
        and check("a!b", progress=False)["images"] == 2
        and check("new!.zip!y", progress=False)["images"] == 2
    )
    write_idx(tmp_path / "c!d")
    assert len(load("idx:c!d")) == 40 and check("c!d", progress=False)["images"] == 60
    with pytest.raises(GannbError, match="c!d!y holds no idx files"):
        load("idx:c!d!y")
    with pytest.raises(GannbError, match="has no folder 'z'"):
        load("folder:new!.zip!z", size=16)
    (tmp_path / "root" / "catalogue.yaml").write_text('mine: {source: "folder:e!f.zip!y", complete: true}\n')
    fill_zip(tmp_path / "root" / "e!f.zip", ["x/1.png", "y/2.png", "y/3.png"])
    assert len(load("mine", split="all", size=16)) == 2
    data = bytearray((tmp_path / "bad!.zip").read_bytes())
    at = data.find(b"IDAT")
    data[at + 8] ^= 255
    (tmp_path / "bad!.zip").write_bytes(data)
    with pytest.raises(GannbError, match=r"bad!\.zip!x/1\.png cannot be decoded"):
        load("folder:bad!.zip", split="all", size=16)


def test_own_catalogue_names_are_listed_without_figures(tmp_path):
    fill_zip(tmp_path / "root" / "m.zip", FLAT)
    (tmp_path / "root" / "catalogue.yaml").write_text('mine: {source: "folder:m.zip", complete: true}\n')
    row = {r["name"]: r for r in table()}["mine"]
    assert (
        row["images"] == row["classes"] == row["size"] == "-"
        and row["here"].endswith("m.zip")
        and None not in row.values()
    )


def test_a_relative_data_root_is_found_from_the_checkout_too(tmp_path, monkeypatch):
    top = tmp_path / "top"
    (top / "nbs" / "deep").mkdir(parents=True)
    (top / "settings.ini").write_text("[DEFAULT]\nlib_name = gannb\n")
    (top / "pictures").mkdir()
    monkeypatch.chdir(top / "nbs")
    monkeypatch.setenv("GANNB_DATA", "pictures")
    assert data_root() == top / "pictures"
    (top / "nbs" / "pictures").mkdir()
    assert data_root() == top / "nbs" / "pictures", "the working folder comes first"
    monkeypatch.setenv("GANNB_DATA", "../gone")
    with pytest.raises(GannbError) as e:
        data_root()
    assert f"GANNB_DATA={str(top / 'gone')!r} or {str(tmp_path / 'gone')!r} is not a folder" in str(e.value)
    with pytest.raises(GannbError) as e:
        data_root("gone")
    assert f"data_root={str(top / 'nbs' / 'gone')!r} is not a folder" in str(e.value), (
        "an argument is meant from the working folder"
    )


@pytest.mark.parametrize("below", ["", "gzip"])
def test_nists_whole_emnist_pack(tmp_path, below):
    d = tmp_path / "root" / "emnist-balanced" / below
    x = write_idx(d, prefix="emnist-balanced-", transpose=True, classes=47, n=(94, 47))
    for prefix, classes in (("emnist-a-", 3), ("emnist-letters-", 26)):
        write_idx(d, prefix=prefix, transpose=True, seed=1, classes=classes)
    for split, codes in (
        ("a", "\n".join(f"{k} {k + 97}" for k in range(62))),
        ("balanced", "\n".join(f"{k} {ord(c)}" for k, c in enumerate(EMNIST_BALANCED))),
        ("letters", "\n".join(f"{k} {k + 65} {k + 97}" for k in range(26))),
    ):
        (d / f"emnist-{split}-mapping.txt").write_text(codes)
    s = load("emnist-balanced")
    assert (
        (s.images[..., 0] == x["train"]).all()
        and s.classes == EMNIST_BALANCED
        and available("emnist-balanced") == str(d)
    )
    assert load(f"idx:{d / 'emnist-letters'}").classes == tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ"), (
        "each set has its own mapping"
    )
    (d / "emnist-balanced-train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(GannbError, match="train part has no labels"):
        load("emnist-balanced")


# what changes a set before any part is taken, and what cuts it afterwards


def labelled(tmp_path, parts=("train", "test")):
    "A folder where cat 0 and dog 0 of each part are one picture, and cat 1 stands twice."
    names = [f"{p}/{c}/{i}.png" for p in parts for c in ("cat", "dog") for i in range(4)]
    box = fill(tmp_path / "box", names)
    for p in parts:
        (box / p / "dog" / "0.png").write_bytes((box / p / "cat" / "0.png").read_bytes())
        (box / p / "cat" / "9.png").write_bytes((box / p / "cat" / "1.png").read_bytes())
    return f"folder:{box}"


@pytest.mark.parametrize(
    "kw, words",
    [
        (dict(labels="family"), "has no named label rule"),
        (dict(labels=3), "has no named label rule"),
        (dict(labels=lambda files, names: names[1:]), "gives 1796 labels for 1797 images"),
        (dict(labels=lambda files, names: [0] * len(files)), "gives 0 for digit 0"),
        (dict(labels=lambda files, names: [""] * len(files)), "gives '' for digit 0"),
        (dict(labels=lambda files, names: [None] * len(files)), "leaves out every image"),
        (dict(labels=lambda files, names: ["x"] * len(files), classes=["3"]), "classes='3' is not known"),
        (dict(duplicates="remove"), "duplicates='remove'.*Allowed: keep, drop, drop-contradictory"),
        (dict(duplicates=None), "duplicates"),
        (dict(duplicates=True), "duplicates"),
        (dict(whole_batches=0), "whole_batches must be a whole number from 1"),
        (dict(whole_batches=-64), "whole_batches"),
        (dict(whole_batches=2.5), "whole_batches"),
        (dict(whole_batches=True), "whole_batches"),
        (dict(whole_batches="64"), "whole_batches"),
    ],
)
def test_wrong_choices_before_any_work(kw, words, tmp_path, monkeypatch):
    monkeypatch.setattr(decode, "to_square", lambda *a: pytest.fail("decoded before checking"))
    with pytest.raises(GannbError, match=words):
        load("digits", **kw)
    assert not cached(tmp_path)


def test_defaults_of_the_choices_change_nothing(tmp_path):
    name = labelled(tmp_path)
    for split in ("train", "test", "all"):
        plain = load(name, split=split, size=16)
        same = load(name, split=split, size=16, labels=None, duplicates="keep", whole_batches=None)
        assert same.fingerprint == plain.fingerprint
        assert same.notes == plain.notes
        own = load(name, split=split, size=16, labels=lambda files, names: names)
        assert own.fingerprint == plain.fingerprint, "a rule that says what the folders say"
    assert len(cached(tmp_path)) == 1, "one decoding serves every choice"


def test_a_label_rule_makes_classes_before_the_split(tmp_path):
    asked = []

    def kinds(files, names):
        asked.append((list(files), list(names)))
        return [
            None if f.endswith("3.png") else "pet" if n == "cat" else "guard" for f, n in zip(files, names)
        ]

    name = labelled(tmp_path)
    train, test = (load(name, split=p, size=16, labels=kinds) for p in ("train", "test"))
    assert train.classes == test.classes == ("guard", "pet")
    assert train.counts() == test.counts() == {"guard": 3, "pet": 4}
    assert (train.part, test.part) == ("train", "test")
    files, names = asked[0]
    assert len(files) == 18 and set(names) == {"cat", "dog"}, "a rule sees all parts at once"
    only = load(name, split="test", size=16, labels=kinds, classes=["pet"])
    assert only.counts() == {"pet": 4}


def test_a_label_rule_serves_the_held_out_part(tmp_path):
    box = fill(tmp_path / "flat", [f"{k}-{i}.png" for k in "ab" for i in range(20)])

    def first_letter(files, names):
        assert set(names) == {""}
        return [f[0] for f in files]

    test = load(f"folder:{box}", split="test", size=16, labels=first_letter)
    assert test.counts() == {"a": 4, "b": 4}
    assert "by class" in test.notes[-1]
    with pytest.raises(GannbError, match="'one' of folder:flat has one image"):
        load(f"folder:{box}", size=32, labels=lambda files, names: ["one", *["more"] * (len(files) - 1)])


def test_duplicates_go_before_the_split(tmp_path):
    name = labelled(tmp_path)
    whole, once, agreed = (
        load(name, split="all", size=16, duplicates=d) for d in ("keep", "drop", "drop-contradictory")
    )
    assert whole.counts() == {"cat": 10, "dog": 8}
    assert once.counts() == {"cat": 8, "dog": 6}
    assert agreed.counts() == {"cat": 8, "dog": 6}
    assert audit(once)["n_groups"] == 0
    assert audit(agreed)["n_groups"] == 2 and audit(agreed)["n_labels_differ"] == 0
    assert sum("exact copies" in n for n in whole.notes) == 0
    assert "4 exact copies were left out" in once.notes[-1]
    assert "4 exact copies with contradictory labels were left out" in agreed.notes[-1]
    kept = [bytes(f).decode() for f in load(name, size=16, duplicates="drop").files]
    assert kept == [f"train/cat/{i}.png" for i in range(4)] + [f"train/dog/{i}.png" for i in (1, 2, 3)]


def test_the_training_part_keeps_the_first_of_each_copy(tmp_path):
    box = fill(
        tmp_path / "box", [f"{p}/{c}/{i}.png" for p in ("test", "train") for c in "ab" for i in range(3)]
    )
    (box / "test" / "a" / "0.png").write_bytes((box / "train" / "a" / "2.png").read_bytes())
    train, test = (load(f"folder:{box}", split=p, size=16, duplicates="drop") for p in ("train", "test"))
    assert train.counts() == {"a": 3, "b": 3} and test.counts() == {"a": 2, "b": 3}
    assert not audit({"train": train, "test": test})["n_groups"]


def test_contradictions_need_labels(tmp_path):
    box = fill(tmp_path / "flat", FLAT)
    with pytest.raises(GannbError, match="compares labels, and these images have none"):
        load(f"folder:{box}", split="all", size=16, duplicates="drop-contradictory")
    ruled = load(
        f"folder:{box}", split="all", size=16, duplicates="drop-contradictory", labels=lambda f, n: list(f)
    )
    assert len(ruled) == 10


def test_limit_then_whole_batches(tmp_path):
    box = f"folder:{fill(tmp_path / 'box', [f'{c}/{i}.png' for c in 'ab' for i in range(25)])}"
    s = load(box, split="all", size=16, limit=40, whole_batches=16)
    assert len(s) == 32 and s.counts() == {"a": 16, "b": 16}
    assert len(load(box, split="all", size=16, whole_batches=16)) == 48
    assert len(load(box, split="all", size=16, limit=40, whole_batches=40)) == 40
    again = load(box, split="all", size=16, limit=40, whole_batches=16)
    assert again.fingerprint == s.fingerprint
    with pytest.raises(GannbError, match="batch_size=64 is larger than the data: .* has 40 images"):
        load(box, split="all", size=16, limit=40, whole_batches=64)


def test_a_set_registers_its_rules(tmp_path):
    official(tmp_path / "root")
    with pytest.raises(GannbError, match="labels='famly' is not known. Did you mean 'family'"):
        load("fruits360", size=16, labels="famly")
    for split in ("train", "test"):
        plain = load("fruits360", split=split, size=16)
        ruled = load("fruits360", split=split, size=16, labels="family")
        first_words = {}
        for variety, n in plain.counts().items():
            fruit = variety.split(" ")[0] if variety.split(" ")[0] in FAMILIES else variety
            first_words[fruit] = first_words.get(fruit, 0) + n
        assert ruled.counts() == dict(sorted(first_words.items())) and len(ruled.classes) < len(plain.classes)
        assert ruled.part == split and len(ruled) == len(plain)


def test_a_rule_and_duplicates_keep_the_official_parts_apart(tmp_path):
    def without_dog_2(files, names):
        return [None if f.endswith("dog/2.png") else n for f, n in zip(files, names)]

    name = labelled(tmp_path)
    train, test = (
        load(name, split=p, size=16, labels=without_dog_2, duplicates="drop") for p in ("train", "test")
    )
    assert all(bytes(f).startswith(b"train/") for f in train.files) and len(train) == 6
    assert all(bytes(f).startswith(b"test/") for f in test.files) and len(test) == 6
    for kw in (dict(labels=without_dog_2), dict(duplicates="drop")):
        with pytest.raises(GannbError, match="no such part. It has: train, test, all"):
            load(name, split="val", size=16, **kw)


def test_classes_of_a_rule_are_sorted():
    letters = "qwertzuiopasdfghjkl"
    labels, classes = new_labels(lambda files, names: names, letters, list(letters))
    assert classes == tuple(sorted(letters)) and [classes[k] for k in labels] == list(letters)


def test_shared_rooms_name_no_data_set():
    "What is special about a set stands in its entry: the rooms that all sets share do not ask for names."
    for room in ("catalogue", "decode", "info", "selection", "survey"):
        code = (Path(registry.__file__).parent / f"{room}.py").read_text(encoding="utf-8")
        named = [n for n in registry.DATASETS if f'"{n}"' in code]
        assert not named, f"{room} names {named}"


# generated images as a folder


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("classes", [(), ("cat", "dog"), ("A", "b c", "é")])
def test_a_saved_set_comes_back_pixel_by_pixel(tmp_path, channels, classes):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 16, 16, channels), np.uint8)
    labels = np.arange(30) % len(classes) if classes else None
    fakes = ImageSet.of_images(pixels, "fakes", labels, classes)
    folder = save_folder(fakes, tmp_path / "fakes")
    back = load(f"folder:{folder}", split="all")
    assert back.classes == fakes.classes and back.channels == channels and back.size == 16
    order = np.argsort([int(Path(bytes(f).decode()).stem) for f in back.files])
    assert np.array_equal(back.take(order), pixels)
    if classes:
        assert np.array_equal(np.asarray(back.labels)[order], labels)
    verify_folder(folder)
    train, test = (load(f"folder:{folder}", split=p, size=16) for p in ("train", "test"))
    assert len(train) + len(test) == 30


@pytest.mark.parametrize(
    "classes, words",
    [
        (("T-shirt/top", "x"), "cannot be the name of a folder"),
        ((".hidden", "x"), "cannot be the name of a folder"),
        (("a:b", "x"), "cannot be the name of a folder"),
        ((" a", "x"), "cannot be the name of a folder"),
        (("", "x"), "cannot be the name of a folder"),
        (("train", "Test"), "would be read as parts"),
        (("fakes",), "another name than that of the only class"),
    ],
)
def test_classes_that_would_not_come_back_are_refused(tmp_path, classes, words):
    pixels = np.zeros((4, 16, 16, 1), np.uint8)
    fakes = ImageSet.of_images(pixels, "fakes", np.arange(4) % len(classes), classes)
    with pytest.raises(GannbError, match=words):
        save_folder(fakes, tmp_path / "fakes")
    assert not list(tmp_path.glob("*fakes*")), "nothing half-written"


def test_a_saved_set_overwrites_nothing(tmp_path):
    (tmp_path / "fakes").mkdir()
    with pytest.raises(GannbError, match="exists already"):
        save_folder(ImageSet.of_images(np.zeros((4, 16, 16, 1), np.uint8), "fakes"), tmp_path / "fakes")


# what only one set needs


def test_grey_and_colour_are_decoded_apart(tmp_path):
    box = f"folder:{fill(tmp_path / 'a', FLAT)}"
    grey, colour = (load(box, split="all", size=16, channels=c) for c in (1, 3))
    assert (grey.channels, colour.channels) == (1, 3) and len(cached(tmp_path)) == 2


def test_celeba_without_its_pictures_is_not_here(tmp_path, monkeypatch):
    fake_celeba(tmp_path / "root" / "celeba", monkeypatch)
    pictures = tmp_path / "root" / "celeba" / "img_align_celeba"
    assert available("celeba")
    pictures.rename(tmp_path / "elsewhere")
    assert available("celeba") is None, "its unpacking was stopped: `get` must go on"


def test_cocos_zip_may_hold_more_than_its_pictures(tmp_path):
    names = [*(f"val2017/{n}" for n in FLAT), "samples/1.png", "samples/2.png"]
    fill_zip(tmp_path / "root" / "coco-val2017.zip", names)
    assert len(load("coco-val2017", split="all", size=16)) == len(FLAT)
