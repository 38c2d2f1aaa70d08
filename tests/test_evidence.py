"What a verdict of the reference results cites holds the numbers that decide it."

import csv
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "outputs" / "reference"
FOLDERS = sorted(p.parent for p in REFERENCE.glob("*/claims.json"))
CLAIMS = [(folder, c) for folder in FOLDERS for c in json.loads((folder / "claims.json").read_text("utf-8"))]


def leaves(parts):
    for part in parts:
        inside = [p for p in part.get("parts") or () if not p.get("gate")]
        yield from leaves(inside) if inside else [part]


def numbers_of(part):
    "The numbers of one comparison: what was judged, its interval, its seeds, and the means of its arms."
    yield from filter(lambda v: v is not None, [part["value"], *(part.get("shown") or ())])
    for arm in (*part["effects"], *(part.get("values") or ())):
        values = [v for v in arm["values"] if v is not None]
        yield from values
        if values:
            yield sum(values) / len(values)


def cells(path):
    "Every number of a CSV file, with the decimals it is written with."
    for line in csv.reader(path.read_text("utf-8").splitlines()):
        for text in line:
            try:
                yield float(text.rstrip("%").replace(",", "")), len(text.rstrip("%").partition(".")[2])
            except ValueError:
                continue


def holds(found, number):
    "Whether a number stands in a file: to the decimals it is written with, as it is or in percent."
    return any(abs(v - n) <= 0.51 * 10**-d for v, d in found for n in (number, 100 * number))


def decided(claim):
    "The comparisons with numbers that decide; a single one keeps its arms beside it."
    own = {"values": claim["values"]}
    return [p for p in leaves([own | p for p in claim["parts"]]) if p["kind"] != "fact" and p["effects"]]


@pytest.mark.parametrize("folder, claim", CLAIMS, ids=lambda x: x["id"] if isinstance(x, dict) else x.name)
def test_each_cited_table_holds_numbers_that_decide(folder, claim):
    files = [folder / name for name in claim["evidence"]]
    assert all(f.is_file() for f in files), claim["evidence"]
    if not any(part["value"] is not None for part in decided(claim)):
        return  # nothing was measured, or counts alone
    own = folder / "tables" / f"claim_{claim['id']}.csv"
    assert files[0] == own
    found = list(cells(own))
    for part in decided(claim):
        assert part["value"] is None or holds(found, part["value"]), part["label"]
        for number in part["effects"][0]["values"] if len(part["effects"]) == 1 else ():
            assert number is None or holds(found, number), (part["label"], number)
    every = [n for part in decided(claim) for n in numbers_of(part)]
    for path in files[1:]:
        if path.suffix == ".csv" and every:
            assert any(holds(list(cells(path)), n) for n in every), f"{path.name} holds none of its numbers"
