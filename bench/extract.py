"""How long a discriminator takes to describe 5,000 images of 64 x 64 pixels, at the width of the DCGAN paper
(64), and what memory that takes where the vectors go to a file. Bars: under a minute on two cores; memory no
more than the network, a batch and its maps need, whatever the number of images.

    python bench/extract.py [--images 5000] [--batch 256]
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from gannb.base import fmt_bytes
from gannb.extract import Extraction, extract, width
from gannb.models.dcgan import Discriminator, init_weights

WAYS = {"all layers": Extraction(), "last layer": Extraction((-1,), None, relu=True)}


def peak() -> int:  # bytes
    "The most memory that this process has had."
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--batch", type=int, default=256)
    asked = parser.parse_args()
    D = init_weights(Discriminator(64, 3, 64), 0, "D")
    with tempfile.TemporaryDirectory() as box:
        shape = (asked.images, 64, 64, 3)
        images = np.lib.format.open_memmap(Path(box) / "images.npy", "w+", np.uint8, shape)
        images[:] = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        extract(D, images[: asked.batch], WAYS["all layers"], batch=asked.batch)
        before = peak()
        for name, how in WAYS.items():
            start = time.monotonic()
            found = extract(D, images, how, Path(box) / "vectors.npy", asked.batch)
            took = time.monotonic() - start
            print(
                f"{name}: {len(found):,} images, {width(D, how):,} numbers each, {took:.0f} s "
                f"({len(found) / took:.0f} images/s); the vectors are {fmt_bytes(found.nbytes)}"
            )
        more = peak() - before
        print(f"memory beyond that of one batch: {fmt_bytes(more)}, mapped files included")


if __name__ == "__main__":
    main()
