"""What waiting threads cost and what arms side by side bring, as ratios in one run: idle, and beside others.

python bench/neighbour.py [--seconds 4] [--busy 2] [--steps 150] [--rounds 2]
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np

KINDS = {  # name -> threads, what a waiting thread does
    "one thread": (1, "PASSIVE"),
    "two threads, sleeping": (2, "PASSIVE"),
    "two threads, spinning": (2, "ACTIVE"),
}
TRAIN = """
import sys, time
import torch
from gannb.models.dcgan import Discriminator, Generator
from gannb.base import draw_z
from gannb.train import d_step, g_step, make_optimizers
threads, seconds = int(sys.argv[1]), float(sys.argv[2])
torch.set_num_threads(threads)
G, D = Generator(16, 1, 100, 16), Discriminator(16, 1, 16)
opts, x, steps = make_optimizers(G, D), torch.rand(64, 1, 16, 16) * 2 - 1, 0
begun = None
while begun is None or time.perf_counter() - begun < seconds:
    fake = G(draw_z(64, 100, 0, "z0", steps))
    d_step(D, opts[1], x, fake.detach())
    g_step(D, opts[0], fake)
    steps += 1
    if steps == 3:
        begun = time.perf_counter()
print((steps - 3) * 64 / (time.perf_counter() - begun))
"""


def images_per_second(kind: str, seconds: float) -> float:
    "Speed of a small net (16 x 16, 16 feature maps, batches of 64) in a process of its own."
    threads, policy = KINDS[kind]
    env = os.environ | {"OMP_WAIT_POLICY": policy, "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, "-c", TRAIN, str(threads), str(seconds)]
    return float(subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout)


@contextmanager
def busy(n: int):
    "`n` processes that compute all the time, as other users of the machine do."
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(n)]
    try:
        yield
    finally:
        for p in others:
            p.kill()
            p.wait()


def study_seconds(jobs: int, steps: int) -> float:
    "Wall time of four trainings of two arms from nothing, start of the workers included."
    from gannb.config import gan_config
    from gannb.data import ImageSet
    from gannb.stages.arms import Arm, train_arms

    images = np.random.default_rng(0).integers(0, 256, (64 * 10, 16, 16, 1), dtype=np.uint8)
    cfg = gan_config(
        dataset="digits", size=16, ngf=16, ndf=16, batch_size=64, epochs=max(1, steps // 10), threads=1
    )
    data = ImageSet("bench", images)
    arms = {name: Arm(name, cfg.having(lr_G=lr), data) for name, lr in (("a", 1e-4), ("b", 2e-4))}
    with tempfile.TemporaryDirectory() as tmp:
        os.environ["GANNB_STORE"] = os.environ["GANNB_CACHE"] = str(Path(tmp))
        begun = time.perf_counter()
        train_arms(arms, [0, 1], say=lambda line: None, show="quiet", jobs=jobs)
        return time.perf_counter() - begun


def main() -> None:
    p = argparse.ArgumentParser()
    p.add_argument("--seconds", type=float, default=4, help="of each measurement")
    p.add_argument("--busy", type=int, default=2, help="processes that compute beside it")
    p.add_argument("--steps", type=int, default=150, help="of each of the four trainings")
    p.add_argument("--rounds", type=int, default=2)
    a = p.parse_args()
    print(f"{os.cpu_count()} cores; small net, 16 x 16, ngf = ndf = 16, batches of 64")
    for where, n in (("idle", 0), (f"beside {a.busy} busy processes", a.busy)):
        with busy(n):
            speed = {
                kind: statistics.median(images_per_second(kind, a.seconds) for _ in range(a.rounds))
                for kind in KINDS
            }
            one, two = (
                statistics.median(study_seconds(jobs, a.steps) for _ in range(a.rounds)) for jobs in (1, 2)
            )
        base = speed["one thread"]
        ratios = ", ".join(f"{kind} {v / base:.2f}" for kind, v in speed.items() if kind != "one thread")
        print(f"{where}: images/s over one thread ({base:,.0f} images/s): {ratios}")
        print(
            f"{where}: two arms one after the other over side by side: {one / two:.2f} "
            f"({one:.1f} s, {two:.1f} s)"
        )


if __name__ == "__main__":
    main()
