"""The tutorials in nbs/tutorials: each says what it gives and how long it takes, ends with three exercises,
and runs from top to bottom; there right answers are accepted and wrong ones refused."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
TUTORIALS = sorted((ROOT / "nbs" / "tutorials").glob("[0-9]_*.ipynb"))  # the six that are read in order
EACH = pytest.mark.parametrize("path", TUTORIALS, ids=lambda p: p.stem)

# name -> for each exercise a right answer and wrong ones, as a reader would write them. What depends on
# the training is worked out another way than the notebook does.
ANSWERS = {
    "1_first_gan": (
        ("1438 * 30", "1438", "1797 * 30"),
        (
            "[0, 1, 5][int(np.argmax([np.std(run.samples(b) / 1.0 - run.samples(a))"
            " for a, b in ((0, 1), (1, 5), (5, 30))]))]",
            "0",
            "30",
        ),
        ("True", "False", "'yes'"),
    ),
    "2_own_images": (
        ("302", "300", "301"),
        ("round(1 - (np.mean(kid) - real) / (untrained - real), 2)", "round(np.mean(kid), 2)", "1"),
        ("round(np.mean(kid) - sorted(kid)[0], 2)", "round(np.mean(kid), 2)", "0"),
    ),
    "3_add_a_paper": (
        ("'not testable here'", "'reproduced'", "'not reproduced'"),
        (
            "{'kind': 'equivalence', 'metric': 'coverage', 'margin': 0.1}",
            "{'kind': 'difference', 'metric': 'coverage', 'margin': 0.1}",
            "{'kind': 'equivalence', 'metric': 'coverage'}",
        ),
        (
            "round(abs(max(judged['harder-to-tell']['interval'])), 2)",
            "round(abs(min(judged['harder-to-tell']['interval'])), 2)",
            "0.02",
        ),
    ),
    "4_reading_curves": (
        ("'dominated'", "'healthy'", "'collapsed'"),
        ("0.58", "0.693", "1.20"),
        (
            "next(i for i, v in enumerate(diverged.history()['loss_D'], 1) if v > 10)",
            "diverged.diverged",
            "0",
        ),
    ),
    "5_a_verdict_by_hand": (
        ("'inconclusive'", "'not reproduced'", "'reproduced'"),
        ("0.262", "0.213", "0.494"),
        ("28", "5", "27"),
    ),
    "6_what_a_score_cannot_see": (
        ("'copies'", "'twenty'", "'fresh'"),
        (
            "['share of copies', 'coverage']",
            "['share of copies', 'KID of gist']",
            "['KID of the network', 'coverage']",
        ),
        (
            "next(n for n in (20, 50, 100, 200, 400)"
            " if m.coverage(eyes(real), eyes(damage.repeated(fresh, n))) > 0.8)",
            "20",
            "447",
        ),
    ),
}


def exercises(nb) -> list[tuple[int, int, str]]:
    "Where the answers and their checks are: (cell of the answer, cell of the check, name)."
    found = []
    for i, cell in enumerate(nb.cells):
        hit = re.search(r"^(answer_\d+) = None  # your answer", cell.source, re.MULTILINE)
        if cell.cell_type == "code" and hit:
            found.append((i, i + 1, hit[1]))
    return found


@EACH
def test_it_says_what_it_gives_and_how_long_it_takes(path):
    first = nbformat.read(path, as_version=4).cells[0]
    assert first.cell_type == "markdown" and first.source.startswith("# ")
    for part in ("\n> ", "**Afterwards you know**", "**Time.**"):
        assert part in first.source, f"{part!r} is missing in the opening"


@EACH
def test_it_ends_with_three_exercises_and_their_checks(path):
    nb = nbformat.read(path, as_version=4)
    found = exercises(nb)
    assert [name for _, _, name in found] == ["answer_1", "answer_2", "answer_3"]
    for _, check, name in found:
        assert re.search(rf"check\(\s*{name},", nb.cells[check].source), f"{name} has no check below it"
        shown = "".join(str(o.get("data", {})) for o in nb.cells[check].outputs)
        assert "Open." in shown, "stored unanswered"
    heading = max(i for i, c in enumerate(nb.cells) if "## Exercises" in c.source)
    assert heading < found[0][0] and "**Limits.**" in nb.cells[-1].source


@EACH
def test_cells_are_short_and_export_nothing(path):
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            most = 55 if "YAML =" in cell.source else 32
            assert len(cell.source.splitlines()) <= most, f"cell {cell.id} is long"
            assert not re.search(r"^#\|\s*(export|default_exp)", cell.source, re.MULTILINE)
        else:
            assert not re.search(r"(?<!\$)\u2014", cell.source), f"cell {cell.id}: a dash between sentences"


def with_answers(nb, answers):
    "The notebook, and below each check the same check for a right answer and for wrong ones."
    new = nbformat.v4.new_code_cell
    places = exercises(nb)
    below = {check: (name, check, given) for (_, check, name), given in zip(places, answers)}
    cells, tried = [], []
    for i, cell in enumerate(nb.cells):
        cells.append(cell)
        name, check, given = below.get(i, (None, None, ()))
        for j, answer in enumerate(given):
            cells.append(new(f"{name} = {answer}\n{nb.cells[check].source}"))
            tried.append((name, answer, "Right." if j == 0 else "Not yet.", cells[-1]))
        if i in below:
            cells.append(new(f"{name} = None"))
    return nbformat.v4.new_notebook(cells=cells, metadata=nb.metadata), tried


@EACH
def test_right_answers_are_accepted_and_wrong_ones_refused(path, tmp_path, monkeypatch):
    monkeypatch.delenv("GANNB_DATA", raising=False)
    for name in ("OUTPUTS", "STORE"):
        monkeypatch.setenv(f"GANNB_{name}", str(tmp_path / name.lower()))
    nb, tried = with_answers(nbformat.read(path, as_version=4), ANSWERS[path.stem])
    where = {"metadata": {"path": str(path.parent)}}
    NotebookClient(nb, timeout=300, kernel_name="python3", resources=where).execute()
    assert len(tried) == 9
    for name, answer, wanted, cell in tried:
        said = cell.outputs[-1]["data"]["text/plain"]
        assert said.startswith(wanted), f"{name} = {answer}: {said}"


def test_every_tutorial_is_answered():
    assert set(ANSWERS) == {path.stem for path in TUTORIALS}


def test_unanswered_notebooks_are_noticed():
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("answer_1 = None  # your answer")])
    assert exercises(nb) == [(0, 1, "answer_1")]
    nb.cells[0].source = "answer_1 = 3  # your answer"
    assert exercises(nb) == []
