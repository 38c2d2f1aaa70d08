"""A cached set of 200,000 RGB images of 64x64: time to open it, and anonymous memory (RssAnon) on opening and
over an epoch. Bars: under 1 s, under 200 MB, under 1 GB. Makes 2.5 GB in a temporary folder and removes it.
Linux (RssAnon is read from /proc).
Run: python bench/data_cache.py [images]"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

N, SIZE, BATCH = 200_000, 64, 128

MEASURE = """
import re, sys, time
import torch
from gannb.base import to_float
from gannb.data import open_cache
def anon():
    with open("/proc/self/status") as f: return int(re.search(r"RssAnon:\\s+(\\d+)", f.read())[1]) * 1024
# torch's own threads and buffers are not what is measured
to_float(torch.zeros(128, 3, 64, 64, dtype=torch.uint8)).mean()
before = anon(); t = time.perf_counter()
s = open_cache(sys.argv[1], "synthetic", "train"); print_ = s.fingerprint
opened = time.perf_counter() - t; on_open = anon() - before
t = time.perf_counter(); most = seen = 0
for x, y in s.batches(128, seed=0, epoch=0):
    seen += len(x)
    if seen % 12800 < 128: most = max(most, anon() - before)
most = max(most, anon() - before)
print(f"opened in {opened:.4f} s (bar 1 s), RssAnon grew by {on_open / 1e6:.1f} MB (bar 200 MB)")
print(f"an epoch of {seen:,} images: RssAnon grew by at most {most / 1e6:.1f} MB (bar 1,000 MB), "
      f"{seen / (time.perf_counter() - t):,.0f} images/s")
sys.exit(0 if opened < 1 and on_open < 200e6 and most < 1000e6 and seen == len(s) else 1)
"""


def make(folder: Path, n: int) -> None:
    "A sealed cache of `n` noisy pictures, as loading a data set of that size would leave it."
    from gannb.data import seal_cache
    from gannb.store import new_folder

    block = np.random.default_rng(0).integers(0, 256, (1000, SIZE, SIZE, 3), np.uint8)
    with new_folder(folder) as tmp:
        out = np.lib.format.open_memmap(tmp / "images.npy", "w+", np.uint8, (n, SIZE, SIZE, 3))
        for a in range(0, n, 1000):
            out[a : a + 1000] = block[: n - a] + np.uint8(a // 1000)
        out.flush()
        del out
        seal_cache(
            tmp,
            {"train": (0, n)},
            np.arange(n) % 10,
            list("abcdefghij"),
            np.arange(n) // 20,
            [f"{i:06d}.jpg" for i in range(n)],
            {},
            [],
        )


if __name__ == "__main__":
    n = int(sys.argv[1]) if len(sys.argv) > 1 else N
    with tempfile.TemporaryDirectory(prefix="gannb-bench-") as tmp:
        t = time.perf_counter()
        make(Path(tmp) / "cache", n)
        print(f"made a cache of {n:,} images {SIZE}x{SIZE}x3 in {time.perf_counter() - t:.0f} s")
        sys.exit(
            subprocess.run(
                [sys.executable, "-c", MEASURE, str(Path(tmp) / "cache")],
                cwd=Path(__file__).resolve().parents[1],
            ).returncode
        )
