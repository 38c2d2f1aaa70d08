"""The benchmark ratios that README and the site show: runs benchmarks, one after the other, and writes their
rows in docs/benchmarks.md, with the day and the cores.

    python tools/ratios.py [training data_speed ...]      files of bench/; none: all that the page has"""

import os
import re
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
SHORT = 4  # rows that README shows
TITLE = """[gannb](../README.md) / docs

# Benchmarks

Each ratio is of one run: what is compared took turns on the same machine. Other machines differ, and a busy
one (load: how many processes wanted its cores) is less sure. `python tools/ratios.py` measures again and
writes this page. [Speed](speed.md) has what was measured once, and a GPU."""
HEAD = ["| compared in one run | times as fast | measured |", "| --- | --- | --- |"]


class Ratio(NamedTuple):
    "A line that a benchmark prints, and how it is told."

    bench: str  # file of bench/, without its ending
    what: str
    printed: str  # a pattern
    told: str  # takes the groups of the pattern


RATIOS = (
    Ratio(
        "training",
        "training (64 x 64, batch 128) against a tutorial's loop",
        r"over the tutorial loop: ([\d.]+) \(median of (\d+) interleaved pairs; ([\d.]+) to ([\d.]+)\)",
        "{0} ({2} to {3} in {1} pairs)",
    ),
    Ratio(
        "data_speed",
        "batches against `ImageFolder` and `DataLoader`, 2 workers",
        r"batches from the cache: ([\d.]+) times",
        "{0}",
    ),
    Ratio(
        "metrics",
        "FID's matrix step against `scipy.linalg.sqrtm`",
        r"at 2,048 features: ([\d.]+) times faster",
        "{0}",
    ),
    Ratio(
        "probes",
        "six probes against scikit-learn's machines",
        r"six fits on .*?, ([\d.]+) times faster",
        "{0}",
    ),
    Ratio(
        "training",
        "a whole run against its bare network steps",
        r"a whole run over its bare steps [^:]*: ([\d.]+)",
        "takes {0} times as long",
    ),
)


def where() -> str:
    "The day, cores and how busy they were: `2026-11-28, 2 cores, load 3`."
    busy = f", load {os.getloadavg()[0]:.0f}" if hasattr(os, "getloadavg") else ""
    return f"{date.today()}, {os.cpu_count()} cores{busy}"


def printed_by(bench: str) -> str:
    "What a benchmark prints, shown meanwhile."
    print(f"== bench/{bench}.py", flush=True)
    command = [sys.executable, str(ROOT / "bench" / f"{bench}.py")]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    print(done.stdout, flush=True)
    return done.stdout


def row(ratio: Ratio, printed: str, measured: str) -> str:
    "A row of the table. Raises `SystemExit` where the benchmark did not print it."
    hit = re.search(ratio.printed, printed)
    if not hit:
        raise SystemExit(f"bench/{ratio.bench}.py printed nothing about: {ratio.what}")
    return f"| {ratio.what} | {ratio.told.format(*hit.groups())} | {measured} |"


def rows_there() -> dict[str, str]:  # what is compared -> its row
    "The rows of the page as it is."
    lines = PAGE.read_text(encoding="utf-8").splitlines() if PAGE.is_file() else []
    found = {line.split(" | ")[0].removeprefix("| "): line for line in lines}
    return {ratio.what: found[ratio.what] for ratio in RATIOS if ratio.what in found}


def page(rows: dict[str, str]) -> str:
    "docs/benchmarks.md, in the order of RATIOS."
    known = [rows[ratio.what] for ratio in RATIOS if ratio.what in rows]
    return "\n\n".join([TITLE, "\n".join([*HEAD, *known])]) + "\n"


def short_table() -> str:
    "The first ratios, and when they were measured, for README."
    rows = [row.strip("| ").split(" | ") for row in list(rows_there().values())[:SHORT]]
    days = sorted({measured.partition(",")[0] for _, _, measured in rows})
    cores = sorted({re.search(r"\d+ cores", measured)[0] for _, _, measured in rows})
    busy = ", partly beside other work" if any("load" in measured for _, _, measured in rows) else ""
    told = f"On {' and '.join(cores)}{busy}, {' and '.join(days)}; [more](docs/benchmarks.md)."
    table = [
        "| compared in one run | times as fast |",
        "| --- | --- |",
        *(f"| {what} | {ratio} |" for what, ratio, _ in rows),
    ]
    return "\n".join([*table, "", told])


def main(names: list[str]) -> None:
    benches = list(dict.fromkeys(ratio.bench for ratio in RATIOS))
    if wrong := set(names) - set(benches):
        raise SystemExit(f"no ratio of {', '.join(sorted(wrong))}; there are: {', '.join(benches)}")
    rows = rows_there()
    for bench in names or benches:
        measured, printed = where(), printed_by(bench)
        rows |= {r.what: row(r, printed, measured) for r in RATIOS if r.bench == bench}
        PAGE.write_text(page(rows), encoding="utf-8", newline="\n")
    print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main(sys.argv[1:])
