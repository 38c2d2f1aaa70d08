"""Notebooks as files: those in nbs/ are the documentation, executed and small; those in papers/ are
empty templates. `make test` runs them elsewhere."""

import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
LESSONS = sorted((ROOT / "nbs").glob("*.ipynb"))
PAPERS = sorted((ROOT / "papers").glob("*.ipynb"))
BOTH = pytest.mark.parametrize("path", LESSONS + PAPERS, ids=lambda p: f"{p.parent.name}/{p.name}")
# What ties an output to the machine it was made on: a home, a working folder, a temporary
# or an installed file.
MACHINE = re.compile(
    r"(?<![\w.~/])/(?:work|root|home|Users|private|var/folders|tmp|usr/lib/python\d)/[\w.-]+|site-packages/|[A-Z]:\\+Users\\+"
)


def text_of(output) -> str:
    "All text of an output; pictures left out."
    parts = [
        output.get("text", ""),
        *output.get("traceback", []),
        *(str(v) for k, v in output.get("data", {}).items() if not k.startswith("image/")),
    ]
    return re.sub(r"base64,[A-Za-z0-9+/=\s]+", "", "\n".join(parts))


@BOTH
def test_notebook_is_valid(path):
    raw = path.read_text(encoding="utf-8")
    assert len(raw.encode()) < 300 * 1024, f"{len(raw.encode()) // 1024} KB; show fewer or smaller pictures"
    nb = nbformat.reads(raw, as_version=nbformat.NO_CONVERT)
    nbformat.validate(nb)
    assert (nb.nbformat, nb.nbformat_minor) >= (4, 5)
    ids = [cell.id for cell in nb.cells]
    assert len(ids) == len(set(ids)), f"twice: {sorted({i for i in ids if ids.count(i) > 1})}"
    assert nb.metadata.kernelspec.name == "python3" and nb.metadata.kernelspec.language == "python"
    assert "papermill" not in nb.metadata and "widgets" not in nb.metadata


@BOTH
def test_outputs_are_sound_and_tied_to_no_machine(path):
    for cell in nbformat.read(path, as_version=4).cells:
        for output in cell.get("outputs", []):
            assert output.output_type != "error", (
                f"cell {cell.id}: {output.get('ename')}: {output.get('evalue')}"
            )
            assert not (found := MACHINE.search(text_of(output))), f"cell {cell.id} shows {found[0]}"
        assert not (found := MACHINE.search(cell.source)), f"cell {cell.id} names {found[0]}"


@pytest.mark.parametrize("path", [p for p in LESSONS if p.name != "index.ipynb"], ids=lambda p: p.name)
def test_lesson_is_executed(path):
    nb = nbformat.read(path, as_version=4)
    assert any(cell.get("outputs") for cell in nb.cells), "no outputs: run it from top to bottom and save"
    assert all(cell.get("execution_count") is None for cell in nb.cells), (
        "run `make prepare`: prompt numbers are left"
    )


@pytest.mark.parametrize("path", PAPERS, ids=lambda p: p.name)
def test_template_is_empty_and_has_parameters(path):
    "nbdev_clean and hand editing lose the tag; papermill then runs the defaults and says nothing."
    nb = nbformat.read(path, as_version=4)
    tagged = [cell for cell in nb.cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1 and tagged[0].cell_type == "code"
    for name in ("preset", "epochs", "seeds", "data_root"):
        assert re.search(rf"^{name}\b.*=", tagged[0].source, re.MULTILINE), f"no parameter {name}"
    for cell in nb.cells:
        assert not cell.get("outputs") and cell.get("execution_count") is None, (
            f"cell {cell.id} has outputs: run `make prepare`"
        )
        assert "papermill" not in cell.metadata
    assert path.with_suffix(".yaml").exists(), "the published numbers and claims stand beside the template"


@pytest.mark.parametrize(
    "text",
    [
        "File " + "/wo" + "rk/x/y.py",
        "'" + "/ro" + "ot/a'",
        "C:\\Users\\me",
        "(/tmp/ipykernel_1/2.py)",
        "lib/python3.11/site-packages/torch",
    ],
)
def test_machine_paths_are_seen(text):
    assert MACHINE.search(text)


@pytest.mark.parametrize(
    "text", ["network/work/a", "see https://example.org/home/page", "~/tmp/x", "outputs/tmp", "../home/x"]
)
def test_other_paths_pass(text):
    assert not MACHINE.search(text)
