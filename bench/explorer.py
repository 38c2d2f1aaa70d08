"""How long the latent explorer takes from a moved slider to the pictures, in Python (no browser).

    python bench/explorer.py

A 64 x 64 DCGAN of default widths and the shipped digits, 16 samples, threads as torch finds them. First: the
large picture is made and handed over, which is what the eye waits for. All: the grid and the path as well.
A browser adds the way there and back; the whole, from slider to picture, is to stay within 150 ms.
"""

import statistics
import time

import torch

from gannb.base import torch_rng
from gannb.models.dcgan import Generator
from gannb.widgets.explorer import LatentExplorer

MOVES = 30


def milliseconds(explorer: LatentExplorer) -> tuple[list[float], list[float]]:  # first picture, all pictures
    "What each of some moves of the first slider took."
    seen, first, everything = [], [], []
    explorer.large.observe(lambda _change: seen.append(time.perf_counter()), "value")
    slider = explorer.sliders.sliders[0]
    for i in range(MOVES):
        seen.clear()
        start = time.perf_counter()
        slider.value = 0.1 + 0.1 * i
        everything.append(1000 * (time.perf_counter() - start))
        first.append(1000 * (seen[0] - start))
    return first, everything


def row(name: str, explorer: LatentExplorer) -> str:
    "Median and worst of both."
    cells = [f"{statistics.median(x):6.0f} {max(x):6.0f}" for x in milliseconds(explorer)]
    return f"{name:<24} {cells[0]}    {cells[1]}"


def main() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_rng(0, "bench").initial_seed())
        fresh = Generator()  # how good the pictures are costs no time
    print(f"{MOVES} moves, {torch.get_num_threads()} threads, ms: median and worst")
    print(f"{'':24} {'first':>13}    {'all':>13}")
    print(row("DCGAN 64 x 64, ngf 64", LatentExplorer(fresh)))
    print(row("mnist-32px-w24", LatentExplorer("mnist")))


if __name__ == "__main__":
    main()
