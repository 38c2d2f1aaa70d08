"""A whole paper in one file: does a wider generator draw a better 3? It says where each part belongs."""

from gannb import plot
from gannb.base import Missing
from gannb.config import ReportConfig
from gannb.stages import cards as cards_room
from gannb.stages.arms import Arm
from gannb.stages.gan import load_data, load_held_out
from gannb.stages.score import row, score_rows
from gannb.stages.tables import number
from gannb.studies.study import Figure, Table


# ---- studies/toy/plan.py: parameters and presets; no torch in a real one ----------------------------------
class CONFIG(ReportConfig):
    digits: list[str] = ["3", "8"]

    @property
    def data_sets(self):
        return ["digits"]


SMOKE = {"epochs": 1, "seeds": [0], "size": 16, "nz": 16, "ngf": 8, "ndf": 8, "threads": 1}
PRESETS = {"smoke": SMOKE | {"network": "domain", "judge_images": 24}}

# ---- papers/toy.yaml: what was published, what is claimed, what the text leaves open ----------------------
YAML = """
paper: {name: toy, title: A Toy, authors: Nobody, short: the toy study}
open_choices:
  - {question: Batch size, text: Not stated., choice: "16", measure: images}
claims:
  - id: two-digits
    sentence: Threes and eights are two of ten digits.
    short: Two digits
    where: section 1
    supported_by_paper: null
    supported_reason: said once
    published: 2
    test: {kind: fact, metric: digits, arm: counts, expected: 2, quantity: digits, unit: digits, units: none}
  - id: wider-is-better
    sentence: A generator of twice the width draws better threes.
    short: Width helps
    where: section 2
    supported_by_paper: null
    supported_reason: no score is shown
    published: null
    test:
      kind: difference
      metric: kid
      quantity: KID
      dataset: three
      arms: [{arm: as published, label: width 8}, {arm: wider, label: width 16}]
      direction: above
      margin: 0.05
      paired: true
      seeds: 5
      reason: less would not be seen
"""


# ---- studies/toy/rows.py: the arms, and the numbers that only this paper has -------------------------------
def arms(cfg):
    made = {}
    for role, digit in zip(("three", "eight"), cfg.digits):
        gan = cfg.training(dataset="digits", classes=[digit], batch_size=16)
        made[role] = Arm(digit, gan, load_data(gan), role, load_held_out(gan), "as published")
    gan = cfg.training(dataset="digits", classes=[cfg.digits[0]], batch_size=16, ngf=2 * cfg.ngf)
    three = made["three"]
    return [*made.values(), Arm("3, wider", gan, three.data, "three", three.held, "wider")]


def rows(study):
    out = [row("counts", None, None, None, "digits", len(study.main), {})]
    for t in study:
        for run in t.runs:
            out += score_rows(t.ledger_arm, t.role, run, t.scorer, t.data)
    return out


# ---- studies/toy/show.py: tables, captions, sentences ------------------------------------------------------
def hero(study):
    main, kid = study.main.values(), number(study.results.cell("three", "as published", "kid"))
    real, fake = [t.data.take(range(8)) for t in main], [t.first.samples()[:8] for t in main]
    picture = plot.hero(real, fake, [t.name for t in main])
    return Figure("hero", picture, f"KID {kid} after one epoch.", "Real and generated digits.")


def scores(study):
    heads = {"arm": "Arm", "kid": "KID", "quality": "Normalised KID"}
    lines = [{"arm": t.name, **study.results.cells(t.role, t.ledger_arm, ("kid", "quality"))} for t in study]
    return Table("scores", lines, heads, f"Every arm, {study.seeds}.")


def notes(study):
    return ["digits of scikit-learn"]


def measured(study, measure):
    return f"measured on {len(study.first.data)} images" if measure == "images" else Missing("not measured")


def cards(study):
    return {f"Training: {t.name}": cards_room.training_card(t) for t in study}


def records(study):
    return {"G sha256": cards_room.generator_hashes(study)}


# ---- papers/toy.ipynb: its cells --------------------------------------------------------------------------
def notebook(study):
    page = study.run().page()
    page.show(scores(study))
    page.verdicts("two-digits", "wider-is-better")
    page.means()
    study.open_choices(page)
    study.close(page)
    return page
