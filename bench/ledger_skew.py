"""How often a claim comes out *reproduced* while its true mean lies exactly on the bound, for seeds that are
not bell-shaped: the rates are printed, not bounded. Five clean seeds do not know of the sixth that collapses.

python bench/ledger_skew.py [--tables 2000] [--seeds 5 8]
"""

import argparse
import math

import numpy as np

from gannb.base import numpy_rng
from gannb.ledger.intervals import left_open
from gannb.ledger.judge import judge

SAID = {f: "simulated" for f in ("id", "sentence", "short", "where", "supported_reason")}
SAID |= {"supported_by_paper": None, "published": None}
SHAPES = {  # name -> draws of mean 0; the rare or long side lies below
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "heavy tails (t, 2 degrees)": lambda rng, shape: rng.standard_t(2, shape),
    "lognormal, turned round": lambda rng, shape: math.exp(0.5) - rng.lognormal(0, 1, shape),
    "one seed in ten collapses": lambda rng, shape: _collapses(rng, shape, 0.1),
    "one seed in four collapses": lambda rng, shape: _collapses(rng, shape, 0.25),
}
KINDS = {  # what is claimed of a minus b, whose true mean lies on the edge of the claim
    "above a bound": ({"kind": "bound", "arm": "a", "direction": "above", "bound": 0}, 0.0),
    "a above b": ({"kind": "difference", "direction": "above", "margin": 0}, 0.0),
    "no harm": ({"kind": "no_harm", "better": "higher", "margin": 30}, -30.0),
    "the same": ({"kind": "equivalence", "margin": 30}, -30.0),
}


def _collapses(rng: np.random.Generator, shape: tuple[int, int], share: float) -> np.ndarray:
    "Small noise, and a share of seeds far below; mean 0."
    collapsed = rng.random(shape) < share
    return np.where(collapsed, -10 * (1 - share), 10 * share) + 0.1 * rng.standard_normal(shape)


def rows(values: list[float], arm: str) -> list[dict]:
    "One row a seed."
    where = {"arm": arm, "dataset": "d", "step": "end", "metric": "m", "protocol": None}
    return [{**where, "seed": seed, "value": value} for seed, value in enumerate(values)]


def rate(kind: str, shape: str, seeds: int, tables: int) -> float:
    "The share of tables that come out reproduced, by the judge of the reports; arm b scatters a little."
    test, edge = KINDS[kind]
    rng = numpy_rng(0, f"ledger skew {kind} {shape} {seeds}")
    a = edge + SHAPES[shape](rng, (tables, seeds))
    b = 0.01 * rng.standard_normal((tables, seeds))
    around = {"metric": "m", "dataset": "d", "reason": "simulated"}
    around |= {} if kind == "above a bound" else {"arms": ["a", "b"]}
    claim = {**SAID, "id": "simulated", "test": {**around, **test}}
    judged = (judge(claim, rows(x, "a") + rows(y, "b"), "paper") for x, y in zip(a.tolist(), b.tolist()))
    return sum(record["verdict"] == "reproduced" for record in judged) / tables


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=int, default=2000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[5, 8])
    args = parser.parse_args()
    for seeds in args.seeds:
        print(f"\n{seeds} seeds, {args.tables} tables, true mean on the edge: reproduced in")
        print(f"{'':<28}" + "".join(f"{kind:>15}" for kind in KINDS))
        for shape in SHAPES:
            rates = [rate(kind, shape, seeds, args.tables) for kind in KINDS]
            print(f"{shape:<28}" + "".join(f"{r:>15.1%}" for r in rates))
        print(f"no failure in {seeds} seeds does not exclude failure in up to {left_open(0, seeds):.0%}")


if __name__ == "__main__":
    main()
