"""What a cell of the grid costs besides its training: many tiny cells, 1 and 2 workers, own and Dask's.

A cell sleeps for a moment, so that two cost as much as one where cores are busy. Ratios of one run: wall time
over the time that the cells alone take, the overhead of a cell, and what a start of the workers costs.
python bench/grid.py [--cells 20 100] [--moment 0.05] [--rounds 3]
"""

import argparse
import os
import statistics
import tempfile
import time
from contextlib import contextmanager, nullcontext


@contextmanager
def dask(workers: int):
    "The address of a scheduler with so many worker processes of one thread."
    from distributed import LocalCluster

    how = {"dashboard_address": ":0", "silence_logs": 60, "host": "127.0.0.1"}
    with LocalCluster(n_workers=workers, threads_per_worker=1, **how) as cluster:
        yield cluster.scheduler_address.replace("tcp://", "dask://")


def seconds_of(cells: int, moment: float, workers: int, address: str) -> tuple[float, float]:
    "Until the first result, the start of own workers included; and from there to the last."
    from gannb.stages.cluster import executors
    from gannb.stages.grid import Task, run_grid

    begun, ends = time.perf_counter(), []
    with executors(address, say=lambda line: None) as (pool, slots):
        tasks = [Task(str(i), time.sleep, (moment,)) for i in range(cells + workers)]
        for _ in run_grid(tasks, slots or workers, lambda line: None, pool):
            ends.append(time.perf_counter())
    # the first result of each worker holds its start
    return ends[workers - 1] - begun - moment, ends[-1] - ends[workers - 1]


def main() -> None:
    p = argparse.ArgumentParser()
    p.add_argument("--cells", type=int, nargs="+", default=[20, 100])
    p.add_argument("--moment", type=float, default=0.05, help="seconds that a cell takes by itself")
    p.add_argument("--rounds", type=int, default=3)
    a = p.parse_args()
    print(f"{os.cpu_count()} cores; cells of {1000 * a.moment:.0f} ms; ratio: wall time over the cells' own")
    for kind in ("own workers", "Dask"):
        for workers in (1, 2):  # one own worker: the cells stay in the process of the command
            with dask(workers) if kind == "Dask" else nullcontext("process") as address:
                for cells in a.cells:
                    found = [seconds_of(cells, a.moment, workers, address) for _ in range(a.rounds)]
                    start, wall = (statistics.median(column) for column in zip(*found))
                    alone = cells * a.moment / workers
                    each = (wall - alone) / cells * workers
                    print(
                        f"{kind}, {workers} at work, {cells} cells: ratio {wall / alone:.2f}; "
                        f"{1000 * each:.1f} ms a cell besides its own; {start:.1f} s until all are at work"
                    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as tmp:
        os.environ["GANNB_STORE"] = os.environ["GANNB_CACHE"] = tmp
        main()
