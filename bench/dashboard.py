"""What watching costs: a training without and with a dashboard, in pairs, and whether the weights agree.

python bench/dashboard.py [PAIRS]"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

from gannb.commands.session import Session, wait_for
from gannb.store import read_json, sha256_file
from gannb.widgets.dashboard import TrainingDashboard

SETTINGS = {"size": 32, "ngf": 32, "ndf": 32, "epochs": 4, "threads": 1}


def rate(folder: Path) -> float:
    "Images a second of a run's only sitting."
    return read_json(folder / "seed-0" / "timing.json")["parts"][-1]["images_per_s"]


def weights(folder: Path) -> dict[str, str]:
    return {p.name: sha256_file(p) for p in sorted((folder / "seed-0" / "snapshots").glob("*"))}


def one(place: Path, watched: bool) -> Path:
    "Train once; the run's folder."
    if watched:
        dashboard = TrainingDashboard("digits", out=place, **SETTINGS)
        dashboard.wait()
        dashboard.close_panel()
    else:
        wait_for(Session("digits", out=place, **SETTINGS))
    return place


def main(pairs: int) -> None:
    "Ratios of pairs that follow one another, so that other work on the machine touches both."
    ratios = []
    with tempfile.TemporaryDirectory() as tmp:
        for i in range(pairs):
            order = (False, True) if i % 2 == 0 else (True, False)
            runs = {watched: one(Path(tmp) / f"{i}-{watched}", watched) for watched in order}
            assert weights(runs[True]) == weights(runs[False]), "the weights differ"
            ratios.append(rate(runs[True]) / rate(runs[False]))
            print(
                f"pair {i + 1}: {rate(runs[False]):,.0f} images/s alone, {ratios[-1]:.2f} of it watched",
                flush=True,
            )
            time.sleep(0.5)
    print(
        f"watched over alone: {statistics.median(ratios):.2f}, median of {pairs}; weights equal in every pair"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 4)
