"""Features of 5,000 images of 64x64 from a discriminator of the DCGAN paper's width (64 maps), written to a
file: seconds and memory for each way of reading it. Bar: under a minute on two cores, and never more memory
than a batch needs.

    python bench/extract.py [--images 5000] [--batch 256]
"""

import argparse
import subprocess
import sys
import tempfile

BAR_SECONDS, BAR_MEGABYTES = 60, 1000
WAYS = ("all layers", "last layer", "authors")
ONE = """
import resource, sys, time
import numpy as np
import torch
from gannb.extract import PROCEDURES, extract
from gannb.models.dcgan import Discriminator, init_weights
way, images, batch, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
x = np.lib.format.open_memmap(folder + "/images.npy", "w+", np.uint8, (images, 64, 64, 3))
for i in range(0, images, 500):
    x[i : i + 500] = np.random.default_rng(i).integers(0, 256, x[i : i + 500].shape, np.uint8)
D = init_weights(Discriminator(64, 3, 64), 0, "D")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
begun = time.perf_counter()
found = extract(D, x, PROCEDURES[way], folder + "/features.npy", batch)
seconds = time.perf_counter() - begun
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
# pages of the file that the system keeps in memory count as well, though it may drop them at any time
pages = found.nbytes / 1e6
print(seconds, (after - before) / 1e3, pages, found.shape[1], torch.get_num_threads())
"""


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--images", type=int, default=5000)
    p.add_argument("--batch", type=int, default=256)
    a = p.parse_args()
    good = True
    for way in WAYS:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-c", ONE, way, str(a.images), str(a.batch), folder]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds, grown, pages, width, threads = map(float, done.stdout.split())
        print(
            f"{way}: {a.images:,} images of 64x64 to {width:,.0f} numbers each in {seconds:.0f} s on "
            f"{threads:.0f} threads (bar {BAR_SECONDS} s); memory grew by {grown:,.0f} MB at the most, "
            f"{pages:,.0f} MB of which may be pages of the file",
            flush=True,
        )
        good &= seconds < BAR_SECONDS and grown - pages < BAR_MEGABYTES
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
