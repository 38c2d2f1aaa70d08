"What is inside an image file: grey ranges, pages, EXIF, transparency, size, names; and archives of them."

import io
import os
import socket
import struct
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gannb import files, pixels, tars
from gannb.base import GannbError
from gannb.datasets import catalogue, decode, registry
from gannb.datasets.catalogue import parse_name, split_options
from gannb.datasets.decode import Decode, attempt
from gannb.datasets.registry import check
from gannb.datasets.page import format_check
from gannb.pixels import Shared, Told, check_memory, memory_needed, open_image, plain_image, to_square

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GANNB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GANNB_DATA", raising=False)


def load(box, option="", **kw):
    return registry.load(f"folder:{box}{option}", **{"split": "all", "size": 16, "progress": False, **kw})


def folder(tmp_path, name="box", **images):
    "A folder of images; `a_png` becomes a.png. A value may be (image, save options) or bytes."
    box = tmp_path / name
    box.mkdir(exist_ok=True)
    for key, image in images.items():
        path = box / key.replace("_", ".")
        if isinstance(image, bytes):
            path.write_bytes(image)
        else:
            image, how = image if isinstance(image, tuple) else (image, {})
            image.save(path, **how)
    return box


def ramp(top, dtype=np.uint16, side=16, low=0):
    "Grey from `low` to `top`, left to right."
    return Image.fromarray(np.linspace(low, top, side).round().astype(dtype)[None].repeat(side, 0))


def noise(seed=0, w=20, h=20):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (h, w, 3), np.uint8))


WHOLE = np.linspace(0, 255, 16)  # what a ramp over the whole range comes out as


# grey of more than 8 bits


@pytest.mark.parametrize(
    "top, bits",
    [(255, 8), (1023, 10), (4095, 12), (16383, 14), (700, 10), (2928, 12)],
)
@pytest.mark.parametrize("name", ["a_png", "a_tif"])
def test_the_range_of_grey_is_decided_and_said(tmp_path, top, bits, name):
    box = folder(tmp_path, **{name: ramp(top)})
    s = load(box)
    assert np.abs(s.take([0])[0, 0, :, 0] - WHOLE * top / (2**bits - 1)).max() <= 1
    assert (
        s.settings["bits"] == bits
        and f"read as {bits} bits, because their largest value is {top:,}" in s.notes[0]
    )
    assert f"read as {bits} bits" in format_check(check(str(box), progress=False))


def test_eight_bits_in_thirty_two(tmp_path):
    s = load(folder(tmp_path, a_tif=ramp(255, np.int32)))
    assert np.abs(s.take([0])[0, 0, :, 0] - WHOLE).max() <= 1 and "read as 8 bits" in s.notes[0]


def test_the_whole_set_has_one_range(tmp_path):
    box = tmp_path / "box"
    for part, top in (("train", 500), ("test", 4000)):
        (box / part).mkdir(parents=True)
        ramp(top).save(box / part / "a.png")
    train = load(box, split="train")
    assert train.settings["bits"] == 12 and abs(int(train.take([0]).max()) - 500 / 4095 * 255) <= 1
    ramp(60_000).save(box / "test" / "b.png")
    assert load(box, split="train").take([0]).max() == round(500 / 257)


def test_sixteen_bits_that_are_used_are_as_before(tmp_path):
    box = folder(tmp_path, a_png=ramp(65535), b_png=ramp(300))
    s = load(box)
    assert "bits" not in s.settings and not s.notes
    assert np.array_equal(s.take([0])[0, 0, :, 0], np.rint(np.asarray(ramp(65535))[0] / 257).astype(np.uint8))
    same = load(box, bits=16)
    assert same.fingerprint == s.fingerprint and load(
        folder(tmp_path, "c", a_png=noise())
    ).settings.keys() == {
        "size",
        "channels",
        "fit",
        "resample",
        "transparency",
    }


def test_bits_overrules(tmp_path):
    box = folder(tmp_path, a_png=ramp(900))
    dark, said = load(box, "?bits=16"), load(box, bits=12)
    assert dark.take([0]).max() == round(900 / 257) and not dark.notes
    assert (
        abs(int(said.take([0]).max()) - 900 / 4095 * 255) <= 1
        and "read as 12 bits, as bits= says" in said.notes[0]
    )
    with pytest.raises(GannbError, match="bits=8 was given, values go up to 900"):
        load(box, bits=8)
    for wrong in (0, 7, 33, True, "12", 1.5):
        with pytest.raises(GannbError, match="bits must be a whole number from 8 to 32"):
            load(box, bits=wrong)


def test_larger_values_need_the_parameter(tmp_path):
    box = folder(tmp_path, a_tif=ramp(1_000_000, np.int32))
    with pytest.raises(GannbError, match=r"32-bit pixels: their range is not known.*1,000,000.*\?bits=20"):
        load(box)
    assert np.abs(load(box, "?bits=20").take([0])[0, 0, :, 0] - WHOLE * 1_000_000 / (2**20 - 1)).max() <= 1
    below = folder(tmp_path, "below", a_tif=ramp(100, np.int32, low=-5))
    with pytest.raises(GannbError, match="values from -5 to 100"):
        load(below, bits=16)
    with pytest.raises(GannbError, match="floating-point pixels: their range is not known"):
        load(folder(tmp_path, "f", a_tif=ramp(1, np.float32)))


@pytest.mark.parametrize("top", [65535, 4095])
def test_white_is_zero(tmp_path, top):
    s = load(folder(tmp_path, a_tif=(ramp(top), {"tiffinfo": {262: 0}})))
    assert np.abs(s.take([0])[0, 0, :, 0] - WHOLE[::-1]).max() <= 1 and "white is zero" in s.notes[-1]


def png(depth, kind, rows, clear, width=4):
    "A PNG with one transparent colour, in depths that Pillow does not write."

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, len(rows), depth, kind, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + r for r in rows))
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"tRNS", clear)
    return start + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_transparent_values_of_any_depth_are_white():
    def plain(*args):
        return np.asarray(plain_image(open_image(io.BytesIO(png(*args)))))

    row = struct.pack(">4H", 0, 20_000, 40_000, 65_535)
    assert plain(16, 0, [row] * 4, struct.pack(">H", 0))[0].tolist() == [255, 78, 156, 255]
    colour = struct.pack(">12H", 0x1234, 0x5678, 0x9ABC, *[0x2000] * 9)
    rgb = plain(16, 2, [colour] * 4, struct.pack(">3H", 0x1234, 0x5678, 0x9ABC))
    assert rgb[0].tolist() == [[255] * 3] + [[0x20] * 3] * 3
    assert plain(4, 0, [b"\x5a\x0f"] * 4, struct.pack(">H", 5))[0].tolist() == [255, 170, 0, 255]
    assert plain(2, 0, [b"\x1b"] * 4, struct.pack(">H", 1))[0].tolist() == [0, 255, 170, 255]


def test_dark_colours_of_sixteen_bits_are_told(tmp_path):
    row = struct.pack(">12H", *[4000] * 12)
    box = folder(tmp_path, a_png=png(16, 2, [row] * 4, struct.pack(">3H", 1, 1, 1)))
    assert "1 colour image(s) of 16 bits come out dark" in load(box).notes[0]


def test_pictures_are_told_apart_by_their_own_range(tmp_path):
    box = folder(tmp_path, a_tif=ramp(90, np.int32), b_tif=ramp(80, np.int32), c_tif=ramp(90, np.int32))
    found = check(str(box), progress=False)
    assert [[m["file"] for m in g["images"]] for g in found["copies"]] == [["a.tif", "c.tif"]]


# pages and frames


def stack(n=10, start=0, **how):
    first, *rest = [noise(start + i) for i in range(n)]
    return first, {"save_all": True, "append_images": rest, **how}


KINDS = [("a_tif", {}), ("a_gif", {}), ("a_png", {}), ("a_webp", {"lossless": True})]


@pytest.mark.parametrize("name, how", KINDS)
def test_pages_are_told_and_all_can_be_taken(tmp_path, name, how):
    box = folder(tmp_path, **{name: stack(5, **how), "z_png": noise(99)})
    one, every = load(box), load(box, "?frames=all")
    assert (
        len(one) == 2 and "1 file(s) have several pages or frames, 5 in all: only the first" in one.notes[0]
    )
    assert len(every) == 6 and every.groups.tolist() == [0] * 5 + [1] and every.settings["frames"] == "all"
    shown = name.replace("_", ".")
    assert [os.fsdecode(bytes(f)) for f in every.files] == [f"{shown}#{i}" for i in range(1, 6)] + ["z.png"]
    want = [
        to_square(i.quantize(256).convert("RGB") if "gif" in name else i, 16, 3, "crop")
        for i in map(noise, range(5))
    ]
    off = [np.abs(every.take([i])[0].astype(int) - want[i]).mean() for i in range(5)]
    assert max(off) < 12 and (every.take([0])[0] == one.take([0])[0]).all()
    assert np.abs(every.take([1])[0].astype(int) - want[0]).mean() > 30
    assert "5 in all" in " ".join(check(str(box), progress=False)["notes"])
    assert check(f"folder:{box}?frames=all", progress=False)["images"] == 6


def test_no_split_parts_the_pages_of_a_file(tmp_path):
    box = tmp_path / "box"
    for k in "ab":
        (box / k).mkdir(parents=True)
        for i in range(6):
            first, how = stack(4, start=100 * i + 1000 * (k == "b"))
            first.save(box / k / f"{i}.tif", **how)
    train, test = (load(box, "?frames=all", split=p) for p in ("train", "test"))
    assert len(train) + len(test) == 48 and not set(train.groups.tolist()) & set(test.groups.tolist())
    assert "whole groups and near-copies kept together" in train.notes[-1] and set(
        test.counts().values()
    ) != {0}
    assert load(box, "?frames=all").labels.tolist() == [0] * 24 + [1] * 24
    a, b = load(box, "?frames=all").split(0.5, seed=3)
    assert not set(a.groups.tolist()) & set(b.groups.tolist())


def test_pages_in_parts_and_damage(tmp_path):
    box = tmp_path / "box"
    for part, n in (("train", 3), ("test", 2)):
        (box / part).mkdir(parents=True)
        first, how = stack(n)
        first.save(box / part / "s.tif", **how)
    (box / "train" / "t.png").write_text("no picture")
    train, test = (load(box, frames="all", split=p, on_error="skip") for p in ("train", "test"))
    assert (len(train), len(test)) == (3, 2) and "t.png" in train.notes[-1]


def test_pages_are_read_in_order_whoever_asks():
    opened = []

    def read(k):
        opened.append(k)
        first, how = stack(6, start=10 * k)
        out = io.BytesIO()
        first.save(out, "TIFF", **how)
        return open_image(out)

    which, page = np.repeat([0, 1], 6), np.tile(np.arange(6), 2)
    reader = decode._PageReader(read, which, page)
    got = [np.asarray(reader(i).convert("RGB")) for i in range(12)]
    assert opened == [0, 1]
    for i in (7, 3, 3, 11, 0, 4):
        assert (np.asarray(reader(i).convert("RGB")) == got[i]).all(), i
    assert (got[7] == np.asarray(noise(11))).all()


def test_single_pages_change_nothing(tmp_path):
    box = folder(tmp_path, a_png=noise(0), b_tif=noise(1))
    assert (
        load(box, "?frames=all").fingerprint == load(box).fingerprint
        and load(box, frames="all").groups is None
    )


def test_previews_in_a_jpeg_are_no_pages(tmp_path):
    box = folder(tmp_path, a_jpg=(noise(0), {"format": "MPO", "save_all": True, "append_images": [noise(1)]}))
    assert Image.open(box / "a.jpg").n_frames == 2
    assert len(load(box, "?frames=all")) == 1 and not load(box).notes


def test_options_of_a_name(tmp_path):
    assert split_options("a?b/c.zip!d") == ("a?b/c.zip!d", {}) and parse_name("folder:a?b=c")[1] == "a?b=c"
    assert split_options("a?frames=all&bits=12") == ("a", {"frames": "all", "bits": "12"})
    for wrong in ("?frames=2", "?bits=40", "?frames=all&bit=3", "?bits="):
        with pytest.raises(GannbError, match="Allowed|allowed"):
            registry.check_name(f"folder:x{wrong}")
    first, how = stack(3)
    first.save(folder(tmp_path) / "a.tif", **how)
    (tmp_path / "catalogue.yaml").write_text('mine: {source: "folder:box?frames=all", complete: true}')
    s = registry.load("mine", data_root=tmp_path, size=16, split="all", progress=False)
    assert len(s) == 3 and catalogue.decode_options("mine", tmp_path) == {"frames": "all"}
    with pytest.raises(GannbError, match="frames"):
        Decode(frames="some").checked()


# broken metadata, unused alpha


@pytest.mark.parametrize("name", ["a_png", "a_webp", "a_jpg"])
@pytest.mark.parametrize(
    "exif", [b"This_is_no_exif", b"\0\x08\0\x02\x01\x12\0\x03", b"Exif\0\0MM\0*\xff\xff\xff\xff"]
)
def test_broken_exif_turns_nothing(tmp_path, name, exif):
    raw = exif if name != "a_jpg" else b"Exif\0\0" + exif
    box = folder(tmp_path, **{name: (noise(0, 40, 20), {"exif": raw})})
    s = load(box, fit="stretch")
    clean = folder(tmp_path, "clean", **{name: noise(0, 40, 20)})
    assert (s.take([0]) == load(clean, fit="stretch").take([0])).all()
    told = Told()
    plain_image(open_image(next(box.iterdir())), None, told)
    assert ("exif" in told.mended) == any("damaged EXIF" in n for n in s.notes)
    if exif[:4] != b"Exif":
        assert "1 file(s) have damaged EXIF data" in " ".join(s.notes)


@pytest.mark.parametrize("name", ["a_png", "a_webp", "a_jpg", "a_tif"])
def test_whole_exif_still_turns(tmp_path, name):
    exif = Image.Exif()
    exif[0x0112] = 6
    half = Image.new("RGB", (32, 32), (30, 30, 30))
    half.paste((220, 220, 220), (0, 0, 32, 16))
    how = {"exif": exif, **({"lossless": True} if "webp" in name else {})}
    x = (
        load(folder(tmp_path, **{name: (half.transpose(Image.Transpose.ROTATE_90), how)}))
        .take([0])[0]
        .astype(int)
    )
    assert np.abs(x[:6] - 220).max() < 12 and np.abs(x[10:] - 30).max() < 12


def bmp32(image):
    "A BMP that names a mask for alpha, as Pillow does not write it."
    rgba = np.asarray(image.convert("RGBA"))[::-1, :, [2, 1, 0, 3]]
    masks = struct.pack("<4I4s", 0xFF0000, 0xFF00, 0xFF, 0xFF000000, b"BGRs") + bytes(48)
    head = struct.pack("<IiiHHIIiiII", 108, *image.size, 1, 32, 3, rgba.nbytes, 2835, 2835, 0, 0) + masks
    return (
        b"BM"
        + struct.pack("<IHHI", 14 + len(head) + rgba.nbytes, 0, 0, 14 + len(head))
        + head
        + rgba.tobytes()
    )


def test_unused_alpha_of_a_bmp(tmp_path):
    clear = noise().convert("RGBA")
    clear.putalpha(0)
    box = folder(tmp_path, a_bmp=bmp32(clear))
    assert Image.open(box / "a.bmp").mode == "RGBA"
    s, plain = load(box), load(folder(tmp_path, "plain", a_png=noise()))
    assert (s.take([0]) == plain.take([0])).all() and "0 everywhere: it was taken as unused" in s.notes[0]
    assert load(folder(tmp_path, "png", a_png=clear)).take([0]).min() == 255  # a PNG means it
    clear.putpixel((3, 3), (1, 2, 3, 200))  # used: the rest is really transparent
    assert load(folder(tmp_path, "used", a_bmp=bmp32(clear))).take([0]).mean() > 250


# sizes, memory, hostile headers


def large(w, h, kind="JPEG", mode="RGB", **how):
    column = np.linspace(0, 255, h).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(column[:, None].repeat(w, 1)).convert(mode).save(out, kind, **how)
    return out


@pytest.mark.parametrize(
    "kind, how", [("JPEG", {"quality": 50}), ("PNG", {"compress_level": 1}), ("TIFF", {})]
)
def test_photos_larger_than_memory_allows_are_made_smaller(kind, how, monkeypatch):
    monkeypatch.setattr(pixels, "FULL_PIXELS", 1_000_000)
    out, told = large(1600, 1200, kind, **how), Told()
    image = open_image(out)
    x = to_square(image, 16, 3, "crop", None, told).astype(int)
    assert image.width == (200 if kind == "JPEG" else 1600)  # a JPEG's decoder gives fewer pixels
    assert told.size == (1600, 1200) and "large" in told.mended
    assert np.abs(x[:, 8, 0] - (np.arange(16) + 0.5) * 16).max() <= 3
    told = Told()
    assert min(plain_image(open_image(out), None, told, 300).size) >= 300


def test_a_telephones_108_megapixels(tmp_path):
    box = folder(tmp_path, a_jpg=large(12_000, 9_000, mode="L", quality=30).getvalue(), b_png=noise())
    s = load(box, on_error="raise")
    assert len(s) == 2 and "1 image(s) have more than 89 million pixels: made smaller on the way" in s.notes
    assert "12000x9000" in check(str(box), progress=False)["sizes"]


def test_limits_are_named(monkeypatch):
    def opened(w, h, mode="RGB", form="PNG", **info):
        image = Image.new(mode, (1, 1))
        image._size, image.format, image.info = (w, h), form, info
        return image

    for fine in (opened(12_000, 9_000), opened(16_320, 12_240), opened(16_320, 12_240, form="JPEG")):
        check_memory(fine)
    check_memory(
        opened(16_320, 12_240, "RGB", "JPEG", progressive=True) if False else opened(10_000, 8_900, "I;16")
    )
    with pytest.raises(GannbError, match="decompression bomb: 20000x20000 pixels, at most 268,435,456"):
        check_memory(opened(20_000, 20_000, form="JPEG"))
    with pytest.raises(GannbError, match="takes 1.2 GB, more than the 1.1 GB allowed"):
        check_memory(opened(15_500, 15_500))
    assert memory_needed(opened(9_400, 9_500)) <= pixels.MEMORY and memory_needed(opened(100, 100)) == 120_000


def test_two_hundred_megapixels_are_opened_without_a_warning(recwarn):
    ihdr = b"IHDR" + struct.pack(">IIBBBBB", 16_320, 12_240, 8, 0, 0, 0, 0)
    crc = struct.pack(">I", zlib.crc32(ihdr))
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + ihdr + crc
    limit = Image.MAX_IMAGE_PIXELS
    image = open_image(io.BytesIO(start + b"\0\0\0\0IDAT"))
    assert image.size == (16_320, 12_240) and not recwarn.list and Image.MAX_IMAGE_PIXELS == limit


def test_decoders_share_the_memory():
    shared, inside, most, lock = Shared(100), [0], [0], threading.Lock()

    def work(n):
        with shared.hold(n):
            with lock:
                inside[0] += min(n, 100)
                most[0] = max(most[0], inside[0])
            time.sleep(0.005)
            with lock:
                inside[0] -= min(n, 100)

    threads = [threading.Thread(target=work, args=(n,)) for n in [40, 40, 40, 10, 500, 90, 1] * 5]
    [t.start() for t in threads]
    [t.join(10) for t in threads]
    assert not any(t.is_alive() for t in threads) and 40 < most[0] <= 100 and shared.left == 100
    with pytest.raises(ValueError), shared.hold(7):
        raise ValueError
    assert shared.left == 100


def test_decoding_holds_memory(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(decode, "memory_needed", lambda image: asked.append(image.size) or 1)
    load(folder(tmp_path, a_png=noise(0), b_png=noise(1)))
    assert asked == [(20, 20)] * 2


@pytest.mark.parametrize(
    "error", [MemoryError(), OverflowError("too large"), RecursionError(), struct.error("x")]
)
def test_allocation_failures_are_undecodable_files(tmp_path, monkeypatch, error):
    def fails(*a):
        raise error

    assert attempt(fails)(0)[1]
    assert isinstance(error, MemoryError) == ("not enough memory" in attempt(fails)(0)[1])
    box = folder(tmp_path, a_png=noise())
    monkeypatch.setattr(decode, "to_square", fails)
    with pytest.raises(GannbError, match="a.png cannot be decoded: "):
        load(box)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK"])
def test_strips_lay_turn_and_crop_as_the_whole_image(monkeypatch, mode):
    "What was one step for all pixels is done strip by strip: the same bytes."
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
    white = Image.new("RGBA", (1, 1), "white")
    for w, h in ((31, 20), (20, 31), (25, 24), (20, 20)):
        values = np.random.default_rng(w).integers(0, 256, (h, w, 4), np.uint8)
        image = Image.fromarray(values)
        image = image.convert("RGB").quantize(16) if mode == "P" else image.convert(mode)
        plain = image.convert("L" if mode in ("1", "L") else "RGB")
        if mode in ("RGBA", "LA"):
            whole = Image.alpha_composite(white.resize(image.size), image.convert("RGBA"))
            plain = whole.convert("L" if mode == "LA" else "RGB")
        for turn in range(1, 9):
            exif, file = Image.Exif(), io.BytesIO()
            exif[0x0112] = turn
            image.save(file, "TIFF" if mode == "CMYK" else "PNG", exif=exif)
            turned = plain.transpose(Image.Transpose(turns[turn])) if turn in turns else plain
            side = min(w, h)
            x, y = (turned.width - side) // 2, (turned.height - side) // 2
            wanted = np.asarray(turned.crop((x, y, x + side, y + side)).convert("RGB"))
            for high in (2**20, 7 * w):
                monkeypatch.setattr(pixels, "STRIP", high)
                found = to_square(open_image(file), side, 3, "crop")
                assert np.array_equal(found, wanted), (mode, turn, w, h, high)
                upright = np.asarray(plain_image(open_image(file)).convert("RGB"))
                assert np.array_equal(upright, np.asarray(turned.convert("RGB")))


DECODES = """
import re, sys
from gannb.pixels import open_image, to_square

def peak():  # not `ru_maxrss`: that begins with what the parent took
    return int(re.search(r"VmHWM:\\s+([0-9]+)", open("/proc/self/status").read())[1]) * 1024

image = open_image(sys.argv[1])
before = peak()
to_square(image, 64, 3, "crop")
print((peak() - before) / (image.width * image.height))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of a process as Linux tells it")
@pytest.mark.parametrize("mode", ["RGBA", "RGB", "LA"])
def test_a_large_image_is_in_memory_twice_at_most(tmp_path, mode):
    "Turned, transparent, not square: 4 bytes a pixel as decoded, 4 as laid on white, never a third copy."
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new(mode, (5400, 5000)).save(tmp_path / "a.png", exif=exif, compress_level=1)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", DECODES, str(tmp_path / "a.png")]
    done = subprocess.run(words, capture_output=True, text=True, env=env)
    assert 4 <= float(done.stdout) < 10.5, done.stdout + done.stderr  # three copies: 12 and more


# other files: HEIC, no suffix, pipes, links, names


def test_heic_pictures_are_counted_and_the_remedy_named(tmp_path, monkeypatch):
    monkeypatch.setattr(pixels, "heif_ready", lambda: False)
    heic = b"\0\0\0\x18ftypheic" + bytes(30)
    box = folder(tmp_path, **{f"IMG{i}_HEIC": heic for i in range(12)})
    with pytest.raises(
        GannbError, match=r"12 file\(s\).*HEIC pictures among them: 12; install.*gannb\[heif\]"
    ):
        load(box)
    noise().save(box / "a.png")
    assert "HEIC pictures among them: 12" in load(box).notes[0]
    (box / "b.jpg").write_bytes(heic)
    with pytest.raises(GannbError, match=r"b.jpg .*it is a HEIC picture.*gannb\[heif\]"):
        load(box)


def test_raw_files_of_a_camera_are_told_apart_from_pictures_without_a_suffix(tmp_path):
    raw = b"II*\0\x10\0\0\0CR\x02\0" + bytes(60)  # a TIFF by its first bytes
    box = folder(tmp_path, a_png=noise(), IMG1_CR2=raw, IMG2_nef=raw)
    note = " ".join(load(box).notes)
    assert "raw files of a camera among them: 2; export them as JPEG or PNG" in note
    assert "add the suffix" not in note


def test_heic_pictures_are_read_where_the_extra_is(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    box = folder(tmp_path, a_heic=(noise(), {"quality": -1}), b_png=noise())
    s = load(box)
    assert len(s) == 2 and np.abs(s.take([0]).astype(int) - s.take([1])).mean() < 30


def test_pictures_without_a_suffix_are_counted(tmp_path):
    out = io.BytesIO()
    noise().save(out, "JPEG")
    box = folder(tmp_path, **{f"{i:06d}": out.getvalue() for i in range(12)}, labels=b"a text")
    with pytest.raises(
        GannbError, match=r"13 file\(s\).*pictures by their content among them: 12 \(000000 is a JPEG"
    ):
        load(box)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as z:
        z.writestr("a/000", out.getvalue())
        z.writestr("a/b.jpg", out.getvalue())
    assert "pictures by their content among them: 1 (a/000 is a JPEG picture)" in " ".join(
        load(tmp_path / "a.zip").notes
    )


@pytest.mark.parametrize(
    "start, what",
    [
        (b"<!DOCTYPE html>", "a web page"),
        (b"", "empty"),
        (b"version https://git-lfs.github", "Git LFS"),
        (b"%PDF-1", "a PDF"),
    ],
)
def test_other_files_that_are_called_pictures(tmp_path, start, what):
    with pytest.raises(GannbError, match=f"it is .*{what}"):
        load(folder(tmp_path, a_png=start))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_pipes_devices_and_dead_links_do_not_hang(tmp_path):
    box = folder(tmp_path, a_png=noise())
    os.mkfifo(box / "pipe.png")
    (box / "itself.png").symlink_to("itself.png")
    (box / "nowhere.png").symlink_to("gone.png")
    (box / "null.png").symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(os.path.relpath(box / "socket.png"))
        start = time.perf_counter()
        images, found = load(box), check(str(box), progress=False)
    assert len(images) == found["images"] == 1 and time.perf_counter() - start < 5
    assert "5 name(s) are pipes, sockets, devices or links to nothing" in images.notes[0]
    with pytest.raises(GannbError, match="neither a folder nor a file"):
        load(box / "pipe.png")


LATIN = os.fsdecode(b"caf\xe9")


@pytest.fixture
def latin(tmp_path):
    try:
        (tmp_path / "box" / LATIN).mkdir(parents=True)
    except (OSError, UnicodeError):
        pytest.skip("this file system takes UTF-8 names only")
    for i in range(4):
        noise(i).save(tmp_path / "box" / LATIN / f"{i}.png")
    (tmp_path / "box" / "tea").mkdir()
    for i in range(4):
        noise(10 + i).save(tmp_path / "box" / "tea" / f"{i}.png")
    (tmp_path / "box" / os.fsdecode(b"a\xf1o.txt")).write_text("x")
    return tmp_path / "box"


def test_names_that_are_not_utf8(latin, tmp_path):
    s = load(latin)
    assert (
        s.classes == ("caf\\xe9", "tea")
        and s.counts() == {"caf\\xe9": 4, "tea": 4}
        and "(a\\xf1o.txt)" in s.notes[0]
    )
    format_check(check(str(latin), progress=False)).encode()
    (latin / LATIN / "bad.png").write_text("x")
    with pytest.raises(GannbError, match=r"caf\\xe9/bad.png cannot be decoded"):
        load(latin)
    with pytest.raises(GannbError, match=r"caf\\xe9 is not UTF-8"):
        load(latin / LATIN)
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(latin, "box")
    assert load(tmp_path / "a.tar", on_error="skip").classes == s.classes


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_consoles_that_are_not_utf8(latin, encoding):
    (latin / "日本").mkdir()
    noise().save(latin / "日本" / "x.png")
    env = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": str(ROOT)}
    p = subprocess.run(
        [sys.executable, "-m", "gannb.cli", "data", "check", f"folder:{latin}"], capture_output=True, env=env
    )
    assert p.returncode == 0 and b"9 images, 3 classes" in p.stdout and b"Traceback" not in p.stderr


# archives


def test_zip_members_with_a_dot_and_drawings(tmp_path):
    out, text = io.BytesIO(), b"0,1\n" * 2_000_000
    Image.new("RGB", (1500, 1500), "white").save(out, "BMP")
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as z:
        for i in range(3):
            z.writestr(f"./cat/{i}.bmp", out.getvalue())
        z.writestr("./labels.csv", text)
        z.writestr("./.DS_Store", b"x")
    info = zipfile.ZipFile(tmp_path / "a.zip").infolist()
    assert min(i.file_size / i.compress_size for i in info[:4]) > 300
    s = load(tmp_path / "a.zip")
    assert len(s) == 3 and s.classes == ("cat",) and "labels.csv" in s.notes[0]
    assert check(f"folder:{tmp_path / 'a.zip'}!cat", progress=False)["images"] == 3


def test_members_that_are_no_images_are_not_judged(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_MEMBER", 100_000)
    out = io.BytesIO()
    noise().save(out, "PNG")
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("a.png", out.getvalue())
        z.writestr("a.csv", b"0" * 200_000)
        link = zipfile.ZipInfo("latest")
        link.external_attr = 0o120777 << 16
        z.writestr(link, "a.png")
    assert len(load(tmp_path / "a.zip")) == 1
    with zipfile.ZipFile(tmp_path / "a.zip", "a", zipfile.ZIP_DEFLATED) as z:
        z.writestr("../a.csv", b"0")
    with pytest.raises(GannbError, match="would lie outside"):
        load(tmp_path / "a.zip")


def test_large_members_go_through_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "IN_MEMORY", 100)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as z:
        for kind in ("PNG", "TIFF", "JPEG"):
            out = io.BytesIO()
            noise().save(out, kind)
            z.writestr(f"a.{kind.lower()}", out.getvalue())
    assert len(load(tmp_path / "a.zip")) == 3


def tarred(path, members, mode="w"):
    with tarfile.open(path, mode) as tar:
        for name, data in members:
            if isinstance(data, tarfile.TarInfo):
                tar.addfile(data)
                continue
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def some():
    found = []
    for i, part in enumerate(["train"] * 4 + ["test"] * 2):
        out = io.BytesIO()
        noise(i).save(out, "PNG")
        found.append((f"./pack/{part}/{'cat' if i % 2 else 'dog'}/{i}.png", out.getvalue()))
    return [*found, ("./pack/list.csv", b"0,1\n" * 1000), ("./._x", b"junk")]


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"])
def test_tars_are_read_like_folders(tmp_path, suffix):
    mode = {"gz": "w:gz", "tgz": "w:gz", "bz2": "w:bz2", "xz": "w:xz"}.get(suffix.rsplit(".")[-1], "w")
    path = tarred(tmp_path / f"pack{suffix}", some(), mode)
    for name, data in some()[:6]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    train, test = (load(path, split=p) for p in ("train", "test"))
    assert (len(train), len(test), train.classes) == (4, 2, ("cat", "dog")) and "pack/list.csv" in " ".join(
        train.notes
    )
    assert train.fingerprint == load(tmp_path / "pack", split="train").fingerprint
    assert len(load(f"{path}!pack/train")) == 4 and check(str(path), progress=False)["images"] == 6
    with pytest.raises(GannbError, match="has no folder 'pack/tran'. Did you mean 'pack/train'"):
        load(f"{path}!pack/tran")
    assert not list((tmp_path / "cache").glob("tmp*"))


@pytest.mark.parametrize(
    "name", ["../x.png", "a/../../x.png", "/etc/x.png", "C:/x.png", "..\\x.png", "../x.txt"]
)
def test_tar_members_may_not_escape(tmp_path, name):
    with pytest.raises(GannbError, match="would lie outside"):
        load(tarred(tmp_path / "a.tar.gz", [("a.png", b"x"), (name, b"x")], "w:gz"))


def test_tar_links_devices_bombs_and_damage(tmp_path, monkeypatch):
    def special(name, kind, to=""):
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, to
        return name, member

    odd = [
        special("l.png", tarfile.SYMTYPE, "/etc/passwd"),
        special("h.png", tarfile.LNKTYPE, "pack/x"),
        special("d.png", tarfile.CHRTYPE),
        special("f.png", tarfile.FIFOTYPE),
    ]
    path = tarred(tmp_path / "a.tar", [*some(), *odd])
    assert "4 name(s) are links or devices, and were not read" in load(path).notes[-1]
    raw = path.read_bytes()
    (tmp_path / "cut.tar").write_bytes(raw[: len(raw) // 2 + 100])
    (tmp_path / "text.tar.gz").write_text("hello")
    (tmp_path / "nothing.tar").write_bytes(b"")
    flipped = bytearray(raw)
    flipped[raw.index(b"./pack/train/dog/2.png") + 120] ^= 0xFF
    (tmp_path / "flipped.tar").write_bytes(flipped)
    packed = bytearray(tarred(tmp_path / "b.tar.gz", some(), "w:gz").read_bytes())
    (tmp_path / "half.tar.gz").write_bytes(packed[: len(packed) // 2])
    for name in ("cut.tar", "text.tar.gz", "nothing.tar", "flipped.tar", "half.tar.gz"):
        with pytest.raises(GannbError, match=f"{name} is not a whole tar archive|{name} cannot be read"):
            load(tmp_path / name)
    path = path.rename(tmp_path / "again.tar")  # not in the cache
    monkeypatch.setattr(tars, "MAX_MEMBER", 1000)
    with pytest.raises(GannbError, match="at most 1.0 kB are read"):
        load(path)
    monkeypatch.setattr(tars, "MAX_MEMBER", 10**9)
    monkeypatch.setattr(tars, "MAX_TOTAL", 5000)
    with pytest.raises(GannbError, match="it unpacks to more than 5.0 kB"):
        load(path)


def test_a_tar_header_takes_no_memory(tmp_path):
    member = tarfile.TarInfo("x")
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, 3 * 2**20
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        tar.fileobj.write(member.tobuf(tarfile.GNU_FORMAT) + b"x" * member.size)
        tar.offset = tar.fileobj.tell()
    with pytest.raises(GannbError, match="not a whole tar archive .a name of 3.1 MB"):
        load(tmp_path / "a.tar.gz")


def test_a_single_file_is_named_for_what_it_is(tmp_path):
    noise().save(tmp_path / "cat.jpg")
    np.save(tmp_path / "a.npy", np.zeros(3))
    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    for name, data in (
        ("a.7z", b"7z\xbc\xaf'\x1c"),
        ("a.rar", b"Rar!\x1a"),
        ("a.csv", b"a,b"),
        ("a.bin", b"hello"),
    ):
        (tmp_path / name).write_bytes(data)
    said = {
        "cat.jpg": f"is a JPEG picture.*folder:{tmp_path}",
        "a.npy": "is a NumPy array",
        "a.npz": "is a file of NumPy arrays",
        "a.7z": "is a 7z archive.*zip or tar",
        "a.rar": "is a RAR archive.*zip or tar",
        "a.csv": "is a table",
        "a.bin": "is no kind of file that gannb knows",
    }
    for name, words in said.items():
        with pytest.raises(GannbError, match=words):
            load(tmp_path / name)


def growing_gif(side):
    "A GIF of 8 x 8 pixels whose second frame lies at the far corner of a square of `side` pixels."
    out = io.BytesIO()
    Image.new("P", (8, 8), 1).save(out, "GIF")
    first = out.getvalue()
    frame = first[first.index(b"\x2c" + struct.pack("<HHHH", 0, 0, 8, 8)) : -1]
    moved = frame[:1] + struct.pack("<HH", side - 8, side - 8) + frame[5:]
    return first[:-1] + moved + first[-1:]


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    "side, why", [(40, ""), (15_000, "decoding its"), (20_000, "page 2 or one"), (60_000, "page 2 or one")]
)
def test_a_frame_that_is_larger_than_the_first_is_looked_at(side, why, tmp_path):
    "Pillow's limit is one for all threads, and was lifted whenever another thread opened a file."
    (tmp_path / "a.gif").write_bytes(growing_gif(side))
    opening = threading.Event()

    def open_slowly():
        with pixels._own_limit(None):
            opening.set()
            time.sleep(0.3)

    other = threading.Thread(target=open_slowly)
    other.start()
    opening.wait()
    image = Image.open(tmp_path / "a.gif")  # `open_image` would wait for the other
    try:
        if why:
            with pytest.raises(GannbError, match=why):
                pixels.to_page(image, 1)
        else:
            pixels.to_page(image, 1)
            assert image.size == (side, side)
    finally:
        other.join()
    assert Image.MAX_IMAGE_PIXELS, "Pillow's own limit is back"


def test_a_storm_of_damaged_files():
    storm = ROOT / "tests" / "storm" / "mutate.py"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    p = subprocess.run(
        [sys.executable, str(storm), "--files", "250"], capture_output=True, text=True, env=env
    )
    assert p.returncode == 0 and '"tracebacks": []' in p.stdout, p.stdout + p.stderr


def tiff(n, loop=False, big=False, order="<"):
    "A TIFF of `n` pages that share their pixels, as small as can be."
    start = struct.pack(order + "2sHHHQ", b"II" if order == "<" else b"MM", 43, 8, 0, 24)
    if not big:
        start = struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, 24) + bytes(8)
    out, size = io.BytesIO(start + b"\xff" * 8), 8 + 8 * 20 + 8 if big else 2 + 8 * 12 + 4
    out.seek(24)
    tags = [
        (256, 3, 2),
        (257, 3, 2),
        (258, 3, 8),
        (262, 3, 1),
        (273, 4, 16),
        (277, 3, 1),
        (278, 3, 2),
        (279, 4, 4),
    ]
    for k in range(n):
        out.write(struct.pack(order + ("Q" if big else "H"), len(tags)))
        for tag, kind, value in tags:
            value = struct.pack(order + ("I" if kind == 4 else "HH"), *([value] if kind == 4 else [value, 0]))
            out.write(
                struct.pack(order + ("HHQ" if big else "HHI"), tag, kind, 1)
                + value.ljust(8 if big else 4, b"\0")
            )
        after = 24 + size * (k + 1) if k < n - 1 else 24 if loop else 0
        out.write(struct.pack(order + ("Q" if big else "I"), after))
    return out


@pytest.mark.parametrize("big, order", [(False, "<"), (False, ">"), (True, "<")])
def test_pages_of_a_tiff_are_counted_in_one_walk(big, order):
    for n in (1, 2, 7):
        image = open_image(tiff(n, big=big, order=order))
        assert pixels.pages_of(image) == image.n_frames == n
    assert pixels.pages_of(open_image(tiff(5, loop=True, big=big, order=order))) == 5
    cut = tiff(9, big=big, order=order).getvalue()[:500]
    assert 1 <= pixels.pages_of(open_image(io.BytesIO(cut))) < 9
    image, start = open_image(tiff(30_000, big=big, order=order)), time.perf_counter()
    assert pixels.pages_of(image) == 30_000 and time.perf_counter() - start < 5
    assert to_square(image, 16, 3, "crop").min() == 255
