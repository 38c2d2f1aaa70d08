"""The words of the reference results: a summary in Markdown beside each of them, and what README says.
All of it is made from claims.json and finished.json of outputs/reference/PAPER; nothing is typed by hand."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from gannb.base import fmt_time
from gannb.ledger.words import MARKS, VERDICTS, counts, counts_words, headline, verdict_words
from gannb.report.blocks import about_mark, by_part, is_missing
from gannb.report.page import data_words, reading
from gannb.report.tracks import forest_groups

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "outputs" / "reference"
FOREST = "figures/forest.png"
TELLING = 2  # claims of each paper in README


def papers() -> list[str]:
    "The papers that have a reference result."
    return sorted(path.parent.name for path in REFERENCE.glob("*/claims.json"))


def record(paper: str, name: str):
    "A record of a reference result: `claims` or `finished`."
    return json.loads((REFERENCE / paper / f"{name}.json").read_text(encoding="utf-8"))


def cell(text) -> str:
    "Text in a cell of a table."
    return str(text).replace("|", "/").replace("\n", " ")


def published(claim: Mapping) -> str:
    "The number of the paper; a dash where it gives none."
    return "–" if is_missing(claim["published"]) else cell(claim["published"])


def here(claim: Mapping) -> str:
    return cell(claim.get("here") or claim["ours"])


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    "A table in Markdown."
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def claims_table(claims: Sequence[Mapping]) -> str:
    "All claims, under the headings of the paper's parts."
    rows = []
    for heading, group in by_part(claims):
        rows += [[f"**{cell(heading)}**", "", "", ""]] if heading else []
        for c in group:
            apart = f" ({mark})" if (mark := about_mark(c)) else ""
            rows.append([cell(c["short"]) + apart, published(c), here(c), verdict_words(c)])
    return table(["The claim", "The paper", "Here", "Verdict"], rows)


def forest_alt(claims: Sequence[Mapping]) -> str:
    "What is to be seen in the forest of a paper."
    return f"Forest of {len(claims)} claims: how far each estimate lies from its bound, with its interval."


def draw_forest(claims: Sequence[Mapping], path: Path) -> Path:
    "Save the forest of a paper's claims."
    from gannb.plot import forest, save_png

    return save_png(forest(forest_groups(claims)), path, alt=forest_alt(claims))


def hero(done: Mapping, folder: str = "") -> str:
    "The picture of a report in Markdown; `folder` leads to it."
    figure = next(f for f in done["figures"] if f["file"] == done["hero"])
    return f"![{figure['alt']}]({folder}{figure['file']})"


def made(paper: str, done: Mapping) -> str:
    "How a result was made, and how to check it."
    time = done["run_time"] if isinstance(done["run_time"], str) else fmt_time(done["run_time"])
    return (
        f"Made on {done['date']} in {time} ({done['device']}, commit {done['commit']}) by\n\n"
        f"```sh\n{done['command']}\n```\n\n"
        f"`gannb ledger check {paper}` judges every claim again from the numbers in this folder."
    )


FILES = """\
- `report.html`: the report, with every figure and each claim's seeds. [Download it](report.html) and open
  it in a browser; a repository page shows only its source.
- [`claims.json`](claims.json): each claim with its test, numbers, verdict and reason.
- [`results.csv`](results.csv), [`protocols.json`](protocols.json): every number behind a verdict, and
  how it was taken.
- [`figures/`](figures), [`tables/`](tables): the figures and tables of the report, one by one.
- [`papers/{paper}.yaml`](../../../papers/{paper}.yaml): the paper's numbers and claims, as they were
  written down."""


def summary_text(paper: str) -> str:
    "The summary of a reference result in Markdown."
    claims, done = record(paper, "claims"), record(paper, "finished")
    setting = " ".join(reading()["settings"].get(done["setting"], "").split())
    parts = (
        "<!-- Made by tools/dev.py summary from claims.json and finished.json. -->",
        f"# Reproduction: {done['title']}",
        f"**{headline(claims)}**",
        hero(done),
        "*Real images, and what the GANs of this reproduction make.*",
        f"{setting} Data: {data_words(done['data']).rstrip('.')}.",
        "## The claims at a glance",
        f"![{forest_alt(claims)}]({FOREST})",
        counts_words(claims),
        "## The claims, the paper's numbers and ours",
        claims_table(claims),
        "Numbers in brackets are 95 % intervals over trainings from different random starts. A dash: the "
        "paper gives no number.",
        "## How it was made",
        made(paper, done),
        FILES.format(paper=paper),
    )
    return "\n\n".join(parts) + "\n"


def write_summary(paper: str) -> None:
    "Write README.md and the forest beside a reference result."
    folder = REFERENCE / paper
    draw_forest(record(paper, "claims"), folder / FOREST)
    (folder / "README.md").write_text(summary_text(paper), encoding="utf-8", newline="\n")


# ---- what README says of them


def telling(paper: str, most: int = TELLING) -> list[dict]:
    "The most telling claims of a paper: by their rank, those that could be tested."
    claims = [c for c in record(paper, "claims") if c.get("finding") and c["verdict"] != VERDICTS[-1]]
    return sorted(claims, key=lambda c: c.get("rank") or c.get("headline") or math.inf)[:most]


def telling_table() -> str:
    "The most telling claim of every reference result."
    rows = [
        [f"[{cell(c['short'])}](outputs/reference/{paper}/README.md)", here(c), verdict_words(c)]
        for paper in papers()
        for c in telling(paper, 1)
    ]
    return table(["A claim", "Here", "Verdict"], rows)


def verdict_counts(paper: str) -> str:
    "`42 claims: ✓ 11, ✗ 14 ...` of the paper's own claims."
    found = counts(record(paper, "claims"))
    told = ", ".join(f"{MARKS[verdict]} {n}" for verdict, n in found.items() if n)
    return f"{sum(found.values())} claims: {told}"


def forest_picture(paper: str) -> str:
    n = len(record(paper, "claims"))
    return f"![{n} claims with their intervals.](outputs/reference/{paper}/{FOREST})"


def hero_picture(paper: str) -> str:
    return hero(record(paper, "finished"), f"outputs/reference/{paper}/")


def run_time(paper: str) -> str:
    return fmt_time(record(paper, "finished")["run_time"])


WORDS = {  # {{name:PAPER}} in nbs/index.ipynb -> what stands there in README
    "headline": lambda paper: headline(record(paper, "claims"), most=2),  # README has room for two findings
    "counts": verdict_counts,
    "forest": forest_picture,
    "hero": hero_picture,
    "time": run_time,
}


PLAY = """\
# Generators to play with

<!-- Made by tools/dev.py scores from the cards. -->

One small trained generator of each data set, all of {size} x {size} pixels, first seed of its report.
In a clone of this repository:

```python
from gannb.widgets.explorer import LatentExplorer
LatentExplorer("mnist")  # in JupyterLab: samples, sliders, paths, classes
```

`gannb sample mnist --n 64` writes a sheet of pictures. `gannb.stages.given.load_given("mnist")` is the
network itself.

{table}

KID and quality after the last epoch, as the report named last measured them: KID is a distance (0 is best),
quality puts it between an untrained generator (0) and real training images (1). Do not compare the KID of two
rows: each data set is measured against its own real images. The card beside each file (NAME.json) holds data,
licence, settings, sha256, and seven scores with the network that judged and the number of images.

**What the licence of the images allows holds for the pictures too.** Cars are for research only, faces for
non-commercial research only ([the licences](../../../docs/data.md)).
"""


def generator_row(name: str, card: Mapping) -> list[str]:
    "A generator in the table of those that are shipped."
    settings, data, scores = card["settings"], card["data"], card["scores"]
    values = {k: v for part in scores["judged"] for k, v in part["values"].items()}
    told = f", {settings['n_classes']} classes to choose from" if "n_classes" in settings else ""
    makes = f"{'grey' if settings['channels'] == 1 else 'colour'}{told}"
    images = ", ".join(data["classes"]) if len(data["classes"]) == 1 else "all classes"
    trained = f"{data['images']:,} images of {data['name']}" + (f" ({images})" if data["classes"] else "")
    report = f"[{scores['report']}](../{scores['report']}/README.md)"
    numbers = [f"{values['kid']:.2f}", f"{values['quality']:.2f}"]
    return [f"`{name}`", makes, cell(trained), cell(data["licence"]), *numbers, report]


def generators_text(cards: Mapping[str, Mapping]) -> str:  # name -> card
    "The page beside the shipped generators."
    heads = ["Name", "Makes", "Trained on", "Licence of the images", "KID", "Quality", "Report"]
    rows = [generator_row(name, card) for name, card in cards.items()]
    sizes = sorted({card["settings"]["size"] for card in cards.values()})
    return PLAY.format(size=" or ".join(map(str, sizes)), table=table(heads, rows))
