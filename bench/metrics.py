"""The matrix step of FID at 2,048 features against scipy.linalg.sqrtm, and KID over all pairs against KID of
100 subsets of 1,000. Bar: the matrix step at least 4 times faster. Interleaved rounds in one run, median
of the ratios.

    python bench/metrics.py [--features 2048] [--rounds 3] [--images 10000]
"""

import argparse
import statistics
import sys
import time

import numpy as np
from scipy import linalg
from threadpoolctl import threadpool_info

from gannb.metrics import _factor, kid, kid_subsets, trace_root

BAR = 4


def covariance(d: int, seed: int) -> np.ndarray:
    "A covariance whose eigenvalues fall off as those of network features do (about 1/i), in any direction."
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.normal(size=(d, d)))[0]
    return (Q / np.arange(1, d + 1)) @ Q.T


def timed(call) -> tuple[float, float]:
    "Seconds, and what the call returned."
    t = time.perf_counter()
    out = call()
    return time.perf_counter() - t, out


def ours(A: np.ndarray, B: np.ndarray, quick: bool) -> float:
    """From two covariances to the trace term, factors included; `quick`: as `fid` asks for it, otherwise
    with the exact way that an FID near 0 takes."""
    return trace_root(_factor(A), _factor(B), float(np.trace(A) + np.trace(B)) if quick else 0.0)


def matrix_step(d: int, rounds: int) -> float:
    "The ratio scipy / gannb for the trace term."
    A, B = covariance(d, 0), covariance(d, 1)
    ratios = []
    for i in range(rounds):
        (a, reference), (b, value), (c, _) = (
            timed(lambda: np.trace(linalg.sqrtm(A @ B)).real),
            timed(lambda: ours(A, B, True)),
            timed(lambda: ours(A, B, False)),
        )
        ratios.append(a / b)
        print(
            f"round {i + 1}: scipy.linalg.sqrtm {a:.2f} s, gannb {b:.2f} s, ratio {a / b:.1f} "
            f"({c:.2f} s, {a / c:.1f} where FID is near 0), "
            f"relative difference {abs(value / reference - 1):.1e}",
            flush=True,
        )
    return statistics.median(ratios)


def kid_step(n: int, d: int = 1280) -> None:
    real, fake = (np.random.default_rng(s).normal(size=(n, d)).astype(np.float32) for s in (0, 1))
    (a, subsets), (b, full) = (
        timed(lambda: kid_subsets(real, fake, 100, min(1000, n))),
        timed(lambda: kid(real, fake)),
    )
    print(
        f"KID of {n:,} x {n:,} images, {d} features: all pairs {b:.1f} s ({full:.2e}), "
        f"100 subsets {a:.1f} s ({subsets.mean:.2e}, std {subsets.std:.1e})"
    )


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--features", type=int, default=2048)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--images", type=int, default=10_000)
    a = p.parse_args()
    print(
        "threads:", ", ".join(sorted({f"{t['internal_api']} {t['num_threads']}" for t in threadpool_info()}))
    )
    ratio = matrix_step(a.features, a.rounds)
    print(
        f"FID matrix step at {a.features:,} features: {ratio:.1f} times faster than "
        f"scipy.linalg.sqrtm (bar {BAR})",
        flush=True,
    )
    kid_step(a.images)
    return 0 if ratio >= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
