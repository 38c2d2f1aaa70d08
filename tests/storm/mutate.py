"""A storm of damaged image files: how many tracebacks, hangs and crashes, and how much memory?

    python tests/storm/mutate.py [--files 10000] [--seconds 600] [--seed 0] [--keep FOLDER]

Small pictures of every format, and archives of them, are damaged at random (bytes flipped, numbers set to
extremes, cut, doubled, spliced) and loaded, checked, and loaded page by page, some hundreds in a process of
its own. A file may be decoded or refused; anything but a `GannbError` that reaches the caller is a traceback.
Batches that do harm are kept. The last line is the result as JSON. Exit status 1 if there is any harm.
"""

import argparse
import io
import json
import os
import random
import resource
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import warnings
import zipfile
from pathlib import Path

SLOW = 5.0  # seconds: more is a hang
BATCH = 250  # files a process
MEMORY_MB = 1300  # pixels.MEMORY, and what Python takes


def drawing(mode="RGB", side=40, seed=0):
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (5, 5, 4), np.uint8))
    small = small.resize((side, side), Image.Resampling.BICUBIC)
    if mode in ("I;16", "I"):
        grey = np.asarray(small.convert("L"))
        return Image.fromarray(grey.astype(np.uint16) * 200 if mode == "I;16" else grey.astype(np.int32))
    return small.convert("RGB").quantize(16) if mode == "P" else small.convert(mode)


def seeds() -> dict[str, bytes]:
    "name -> the bytes of a whole file: each format in the shapes that it has."
    from PIL import Image, features

    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a picture"
    more = [drawing(seed=i) for i in (1, 2, 3)]
    stack = {"save_all": True, "append_images": more}
    wanted = [
        ("a.jpg", "RGB", {"exif": exif}),
        ("b.jpg", "RGB", {"progressive": True}),
        ("c.jpg", "CMYK", {}),
        ("d.jpg", "L", {}),
        ("a.png", "RGB", {"exif": exif}),
        ("b.png", "P", {"transparency": 3}),
        ("c.png", "I;16", {}),
        ("d.png", "LA", {}),
        ("e.png", "RGBA", {}),
        ("f.png", "RGB", stack),
        ("g.png", "1", {}),
        ("a.bmp", "RGB", {}),
        ("b.bmp", "RGBA", {}),
        ("c.bmp", "P", {}),
        ("a.gif", "P", {}),
        ("b.gif", "RGB", stack),
        ("a.tif", "RGB", {}),
        ("b.tif", "RGB", {"compression": "tiff_lzw"}),
        ("c.tif", "RGB", {"compression": "jpeg"}),
        ("d.tif", "I;16", {"tiffinfo": {262: 0}}),
        ("e.tif", "I", {}),
        ("f.tif", "RGB", {"compression": "tiff_adobe_deflate", **stack}),
        ("g.tif", "1", {"compression": "group4"}),
        ("a.ppm", "RGB", {}),
        ("b.pgm", "L", {}),
        ("c.pbm", "1", {}),
    ]
    wanted += [
        ("a.webp", "RGB", {"exif": exif}),
        ("b.webp", "RGBA", {"lossless": True}),
        ("c.webp", "RGB", stack),
    ]
    if features.check("avif"):
        wanted += [("a.avif", "RGB", {}), ("b.avif", "RGBA", {})]
    found = {}
    for name, mode, how in wanted:
        kind = {".jpg": "JPEG", ".tif": "TIFF"}.get(name[1:], name[2:].upper())
        out = io.BytesIO()
        drawing(mode).save(out, "PPM" if kind in ("PGM", "PBM") else kind, **how)
        found[name] = out.getvalue()
    return found


def archives(files: dict[str, bytes]) -> dict[str, bytes]:
    "A zip and tars of some of the files."
    found = {}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
        for name in ("a.jpg", "a.png", "b.gif"):
            z.writestr(f"./cats/{name}", files[name])
    found["a.zip"] = out.getvalue()
    for suffix in ("", ".gz", ".bz2", ".xz"):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode=f"w:{suffix[1:]}") as tar:
            for name in ("a.jpg", "a.png", "b.gif"):
                member = tarfile.TarInfo(f"cats/{name}" + "x" * (120 if name == "a.png" else 0) + name)
                member.size = len(files[name])
                tar.addfile(member, io.BytesIO(files[name]))
        found[f"a.tar{suffix}"] = out.getvalue()
    return found


EXTREMES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000, 20_000, 60_000)


def damage(data: bytes, rng: random.Random, other: bytes) -> bytes:
    "One to four damages; headers are hit more often than the rest."
    b = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        end = len(b) if rng.random() < 0.5 else min(len(b), 200)
        at, kind = rng.randrange(max(1, end)), rng.randrange(7)
        if kind == 0 and b:
            b[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            b[at : at + 1] = bytes([rng.randrange(256)])
        elif kind == 2:
            form = rng.choice((">I", "<I", ">H", "<H"))
            value = rng.choice(EXTREMES) & (0xFFFFFFFF if form[1] == "I" else 0xFFFF)
            packed = struct.pack(form, value)
            b[at : at + len(packed)] = packed
        elif kind == 3:
            del b[at : len(b) if rng.random() < 0.3 else at + rng.randint(1, 16)]
        elif kind == 4:
            b[at:at] = b[at : at + rng.randint(1, 64)]
        elif kind == 5:
            n = rng.randint(1, 32)
            b[at : at + n] = bytes(n)
        else:
            start = rng.randrange(len(other))
            b[at : at + 32] = other[start : start + rng.randint(1, 64)]
    return bytes(b)


def work(folder: Path) -> dict:
    "What happens to the files of a folder; runs in a process of its own."
    warnings.simplefilter("ignore")
    from gannb.base import GannbError
    from gannb.datasets.decode import attempt
    from gannb.datasets.registry import check, load
    from gannb.files import folder_source
    from gannb.pixels import pages_of, to_square

    found = {"decoded": 0, "refused": 0, "tracebacks": [], "slow": []}

    def timed(what: str, do, *args, **kw) -> None:
        start = time.perf_counter()
        try:
            do(*args, **kw)
        except GannbError:
            pass
        except Exception as e:
            found["tracebacks"].append([what, f"{type(e).__name__}: {e}"])
        if time.perf_counter() - start > SLOW and not what.startswith("all"):
            found["slow"].append([what, round(time.perf_counter() - start, 1)])

    how = {"split": "all", "size": 32, "on_error": "skip", "progress": False}
    for packed in sorted((folder / "archives").iterdir()):
        timed(packed.name, load, f"folder:{packed}", **how)
    box = folder / "pictures"
    c = folder_source("x", box).scan()

    def one(i: int) -> int:
        to_square(c.read(i), 32, 3, "crop")
        return pages_of(c.read(i))

    for i, name in enumerate(c.files):
        start = time.perf_counter()
        good = not attempt(one)(i)[1]
        found["decoded" if good else "refused"] += 1
        if time.perf_counter() - start > SLOW:
            found["slow"].append([name, round(time.perf_counter() - start, 1)])
    timed("all: load", load, f"folder:{box}", **how)
    timed("all: frames", load, f"folder:{box}?frames=all", **how)
    timed("all: check", check, f"folder:{box}", progress=False)
    found["peak_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return found


def batch(folder: Path, n: int, whole: dict, packs: dict, rng: random.Random) -> None:
    "A folder with damaged files: pictures, and beside them some archives."
    (folder / "pictures").mkdir(parents=True)
    (folder / "archives").mkdir()
    for i in range(n):
        kind, place = (packs, "archives") if i % 25 == 0 else (whole, "pictures")
        name = rng.choice(sorted(kind))
        data = damage(kind[name], rng, whole[rng.choice(sorted(whole))])
        (folder / place / f"{i:05d}{name[1:]}").write_bytes(data)


def run(folder: Path) -> dict:
    "The figures of one batch; a process that dies or does not end is harm too."
    env = {**os.environ, "GANNB_CACHE": str(folder / "cache")}
    none = {"decoded": 0, "refused": 0, "tracebacks": [], "slow": [], "peak_mb": 0}
    command = [sys.executable, __file__, "--work", str(folder)]
    try:
        p = subprocess.run(command, capture_output=True, text=True, timeout=300, env=env)
    except subprocess.TimeoutExpired:
        return none | {"slow": [["the whole batch", 300]]}
    if p.returncode:
        why = p.stderr.strip().splitlines()[-1:] or [""]
        return none | {"tracebacks": [[f"died ({p.returncode})", *why]]}
    return json.loads(p.stdout.splitlines()[-1])


def main() -> int:
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--files", type=int, default=10_000)
    a.add_argument("--seconds", type=float, default=600)
    a.add_argument("--seed", type=int, default=0)
    a.add_argument("--keep", type=Path, help="where batches that did harm are copied to")
    a.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    args = a.parse_args()
    if args.work:
        print(json.dumps(work(args.work)))
        return 0
    whole, start, done = seeds(), time.perf_counter(), 0
    packs = archives(whole)
    total = {"decoded": 0, "refused": 0, "tracebacks": [], "slow": [], "peak_mb": 0}
    for number in range(-(-args.files // BATCH)):
        if time.perf_counter() - start > args.seconds:
            break
        rng = random.Random(f"{args.seed} {number}")
        with tempfile.TemporaryDirectory() as tmp:
            folder, n = Path(tmp) / "batch", min(BATCH, args.files - done)
            batch(folder, n, whole, packs, rng)
            found = run(folder)
            done += n
            if (found["tracebacks"] or found["slow"] or found["peak_mb"] > MEMORY_MB) and args.keep:
                shutil.copytree(folder, args.keep / f"batch-{args.seed}-{number}", dirs_exist_ok=True)
        for k, v in found.items():
            total[k] = max(total[k], v) if k == "peak_mb" else total[k] + v
        print(f"{done} files: {found}", file=sys.stderr)
    total = {"files": done, "seconds": round(time.perf_counter() - start), **total}
    print(json.dumps(total))
    return int(bool(total["tracebacks"] or total["slow"]) or total["peak_mb"] > MEMORY_MB)


if __name__ == "__main__":
    sys.exit(main())
