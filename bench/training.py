"""Training speed, as ratios in one run: our step against the tutorial's, the loop against its bare steps, the
step against the machine's convolution peak.

python bench/training.py [--size 64] [--batch 128] [--pairs 7]
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from gannb.base import draw_z
from gannb.config import gan_config, resolve_threads
from gannb.data import ImageSet
from gannb.models.dcgan import Discriminator, Generator, init_weights
from gannb.stages import gan
from gannb import train
from gannb.train import d_step, g_step, make_optimizers


def networks(size, layout):
    return [
        init_weights(n, 0, k).to(memory_format=layout)
        for k, n in (("G", Generator(size)), ("D", Discriminator(size)))
    ]


class Tutorial:
    """The well-known loop: real and fake passes, D's weight gradients computed in the G step, plain Adam,
    contiguous layout, three host reads a step."""

    def __init__(self, size):
        self.G, self.D = networks(size, torch.contiguous_format)
        self.opt_G, self.opt_D = (
            torch.optim.Adam(n.parameters(), lr=2e-4, betas=(0.5, 0.999)) for n in (self.G, self.D)
        )

    def step(self, x, i):
        bce, n = F.binary_cross_entropy_with_logits, len(x)
        self.D.zero_grad()
        out = self.D(x)
        l_real = bce(out, torch.ones(n))
        l_real.backward()
        D_x = out.sigmoid().mean().item()
        fake = self.G(torch.randn(n, 100))
        out = self.D(fake.detach())
        l_fake = bce(out, torch.zeros(n))
        l_fake.backward()
        before = out.sigmoid().mean().item()
        self.opt_D.step()
        self.G.zero_grad()
        out = self.D(fake)
        l_G = bce(out, torch.ones(n))
        l_G.backward()
        after = out.sigmoid().mean().item()
        self.opt_G.step()
        return D_x, before, after


class Ours:
    "The steps of gannb.train: D frozen in the G step, fused Adam, channels-last, no host reads."

    def __init__(self, size):
        self.G, self.D = networks(size, torch.channels_last)
        self.opt_G, self.opt_D = make_optimizers(self.G, self.D)

    def step(self, x, i):
        fake = self.G(draw_z(len(x), 100, 0, "z0", i))
        d_step(self.D, self.opt_D, x, fake.detach())
        g_step(self.D, self.opt_G, fake)


def timed(loop, x, steps):
    t = time.perf_counter()
    for i in range(steps):
        loop.step(x, i)
    return time.perf_counter() - t


def convolution_peak(seconds=3.0):
    "The best forward convolution rate of a few shapes, in FLOP/s."
    best = 0.0
    for c, s in ((64, 32), (128, 16), (256, 16), (256, 32)):
        conv = torch.nn.Conv2d(c, c, 3, 1, 1, bias=False).to(memory_format=torch.channels_last)
        x = torch.randn(64, c, s, s).to(memory_format=torch.channels_last)
        flop = 2 * 64 * s * s * c * c * 9
        with torch.no_grad():
            conv(x)
            end = time.perf_counter() + seconds / 4
            while time.perf_counter() < end:
                t = time.perf_counter()
                conv(x)
                best = max(best, flop / (time.perf_counter() - t))
    return best


def loop_cost(size, batch, steps):
    """Seconds of a whole run of one epoch (set-up, batches, records, samples, checkpoint, files) over the
    seconds spent in its own network steps: one run, one clock."""
    images = np.random.default_rng(0).integers(0, 256, (batch * steps, size, size, 3), dtype=np.uint8)
    data = ImageSet("bench", images)
    cfg = gan_config(dataset="digits", size=size, channels=3, batch_size=batch, epochs=1)
    inside = [0.0]

    def clocked(f, counts=lambda *a: True):
        def g(*a, **k):
            t = time.perf_counter()
            out = f(*a, **k)
            if counts(*a):
                inside[0] += time.perf_counter() - t
            return out

        return g

    with (
        tempfile.TemporaryDirectory() as tmp,
        mock.patch.object(train, "d_step", clocked(train.d_step)),
        mock.patch.object(train, "g_step", clocked(train.g_step)),
        mock.patch.object(Generator, "forward", clocked(Generator.forward, lambda G, *_: G.training)),
    ):  # G in evaluation mode draws samples: that is the loop's cost
        assert data.fingerprint
        t = time.perf_counter()
        gan.train_run(cfg, data, 0, folder=Path(tmp) / "run", show="quiet")
        return (time.perf_counter() - t) / inside[0]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--size", type=int, default=64)
    p.add_argument("--batch", type=int, default=128)
    p.add_argument("--pairs", type=int, default=7)
    p.add_argument("--steps", type=int, default=2)
    p.add_argument(
        "--epoch-steps",
        type=int,
        default=40,
        help="steps of the measured epoch; the shortest in the papers has 79",
    )
    a = p.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(resolve_threads(0))
    x = torch.rand(a.batch, 3, a.size, a.size) * 2 - 1
    x_last = x.to(memory_format=torch.channels_last)
    tutorial, ours = Tutorial(a.size), Ours(a.size)
    timed(tutorial, x, 1)
    timed(ours, x_last, 1)
    ratios, speed = [], []
    for i in range(a.pairs):
        order = [("t", tutorial, x), ("o", ours, x_last)][:: 1 if i % 2 else -1]
        took = {name: timed(loop, images, a.steps) for name, loop, images in order}
        ratios.append(took["t"] / took["o"])
        speed.append(a.batch * a.steps / took["o"])
    print(f"{a.size}x{a.size}, batch {a.batch}, fp32, {torch.get_num_threads()} threads")
    print(
        f"training images/s, ours over the tutorial loop: {statistics.median(ratios):.2f} "
        f"(median of {a.pairs} interleaved pairs; {min(ratios):.2f} to {max(ratios):.2f}); bar 1.15"
    )
    with FlopCounterMode(display=False) as counter:
        ours.step(x_last, 0)
    flop, peak = counter.get_total_flops(), convolution_peak()
    print(
        f"one step: {flop / 1e12:.3f} TFLOP; it reaches "
        f"{statistics.median(speed) / a.batch * flop / peak:.0%} of this machine's own convolution peak"
    )
    print(
        f"a whole run over its bare steps ({a.epoch_steps} steps an epoch, one checkpoint): "
        f"{loop_cost(a.size, a.batch, a.epoch_steps):.3f}; bar 1.03"
    )


if __name__ == "__main__":
    main()
