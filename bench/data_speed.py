"""Batches from gannb's cache against torchvision's ImageFolder + DataLoader with 2 workers, on the same 64x64
JPEGs: images per second and their ratio. Bar: at least 20 times. Interleaved rounds, median. Run: python
bench/data_speed.py"""

import io
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

N, SIZE, BATCH, ROUNDS = 4_000, 64, 128, 3


def make(folder: Path) -> None:
    "`N` JPEGs in two class folders, smooth noise: about as large as photographs of this size."
    from PIL import Image

    rng = np.random.default_rng(0)
    for i in range(N):
        small = Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8)).resize(
            (SIZE, SIZE), Image.Resampling.BICUBIC
        )
        f = io.BytesIO()
        Image.fromarray(np.asarray(small) // 2 + rng.integers(0, 64, (SIZE, SIZE, 3), np.uint8)).save(
            f, "JPEG", quality=90
        )
        path = folder / "ab"[i % 2] / f"{i:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f.getvalue())


def rate(batches, epochs: int = 1) -> float:
    "Images per second over some epochs, the first batch included."
    t, n = time.perf_counter(), 0
    for _ in range(epochs):
        for x, _y in batches():
            n += len(x)
    return n / (time.perf_counter() - t)


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="gannb-bench-") as tmp:
        os.environ["GANNB_CACHE"] = tmp + "/cache"
        make(Path(tmp) / "jpegs")
        import torch
        from torchvision import transforms
        from torchvision.datasets import ImageFolder
        from gannb.datasets.registry import load

        norm = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.5,) * 3)])
        loader = torch.utils.data.DataLoader(
            ImageFolder(tmp + "/jpegs", norm),
            batch_size=BATCH,
            shuffle=True,
            num_workers=2,
            persistent_workers=True,
        )
        s = load(f"folder:{tmp}/jpegs", split="all", size=SIZE)
        list(loader)
        list(s.batches(BATCH, 0, 0))  # workers started, pages read
        theirs, ours = [], []
        for r in range(ROUNDS):
            theirs.append(rate(lambda: loader))
            ours.append(rate(lambda r=r: s.batches(BATCH, 0, r), epochs=5))
            print(
                f"round {r + 1}: ImageFolder + DataLoader(2 workers) {theirs[-1]:,.0f} images/s, "
                f"gannb cache {ours[-1]:,.0f} images/s, ratio {ours[-1] / theirs[-1]:.1f}"
            )
        ratio = statistics.median(o / t for o, t in zip(ours, theirs))
        print(f"batches from the cache: {ratio:.1f} times ImageFolder + DataLoader (bar 20)")
        return 0


if __name__ == "__main__":
    sys.exit(main())
