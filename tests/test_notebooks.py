"""Notebooks as files: those in nbs/ and nbs/tutorials/ are the documentation, executed and small; those in
papers/ are empty templates. `make test` runs them elsewhere."""

import ast
import base64
import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
NBS = ROOT / "nbs"
LESSONS = sorted(NBS.glob("*.ipynb"))
TUTORIALS = sorted((NBS / "tutorials").glob("*.ipynb"))
STAGES = [path for path in LESSONS if path.name.startswith("15_stages.")]
WORDED = ("GannbError", "ValueError")  # errors with a sentence for whoever called
PAPERS = sorted((ROOT / "papers").glob("*.ipynb"))
ALL = pytest.mark.parametrize("path", LESSONS + TUTORIALS + PAPERS, ids=lambda p: f"{p.parent.name}/{p.name}")
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


@ALL
def test_notebook_is_valid(path):
    raw = path.read_text(encoding="utf-8")
    most = 390 if path in TUTORIALS else 300
    assert len(raw.encode()) < most * 1024, f"{len(raw.encode()) // 1024} KB; show fewer or smaller pictures"
    nb = nbformat.reads(raw, as_version=nbformat.NO_CONVERT)
    nbformat.validate(nb)
    assert (nb.nbformat, nb.nbformat_minor) >= (4, 5)
    ids = [cell.id for cell in nb.cells]
    assert len(ids) == len(set(ids)), f"twice: {sorted({i for i in ids if ids.count(i) > 1})}"
    assert nb.metadata.kernelspec.name == "python3" and nb.metadata.kernelspec.language == "python"
    assert "papermill" not in nb.metadata and "widgets" not in nb.metadata


@ALL
def test_outputs_are_sound_and_tied_to_no_machine(path):
    for cell in nbformat.read(path, as_version=4).cells:
        for output in cell.get("outputs", []):
            assert output.output_type != "error", (
                f"cell {cell.id}: {output.get('ename')}: {output.get('evalue')}"
            )
            assert not (found := MACHINE.search(text_of(output))), f"cell {cell.id} shows {found[0]}"
        assert not (found := MACHINE.search(cell.source)), f"cell {cell.id} names {found[0]}"


@pytest.mark.parametrize(
    "path",
    [p for p in LESSONS + TUTORIALS if p.name not in ("index.ipynb", "eye_test.ipynb")],
    ids=lambda p: p.name,
)
def test_lesson_is_executed(path):
    "All but the start page and the quiz, which is a page for people to answer."
    nb = nbformat.read(path, as_version=4)
    assert any(cell.get("outputs") for cell in nb.cells), "no outputs: run it from top to bottom and save"
    assert all(cell.get("execution_count") is None for cell in nb.cells), (
        "run `make prepare`: prompt numbers are left"
    )


def pictures(cell) -> list[int]:
    "The bytes of each picture that a cell shows."
    return [
        len(base64.b64decode(data)) if kind != "image/svg+xml" else len(data)
        for output in cell.get("outputs", [])
        for kind, data in output.get("data", {}).items()
        if kind.startswith("image/")
    ]


@pytest.mark.parametrize("path", LESSONS + TUTORIALS, ids=lambda p: p.name)
def test_pictures_of_a_lesson_are_small(path):
    sizes = {c.id: pictures(c) for c in nbformat.read(path, as_version=4).cells}
    large = {cell: n for cell, found in sizes.items() if (n := max(found, default=0)) > 90_000}
    assert not large, f"over 90 kB: {large}; fewer images, or png(..., colors=16)"


@pytest.mark.parametrize("path", STAGES, ids=lambda p: p.name)
def test_a_stage_opens_with_its_picture(path):
    "What the room is for is seen before any code of it is read: among the first four cells, 40 kB at most."
    first = [n for cell in nbformat.read(path, as_version=4).cells[:4] for n in pictures(cell)]
    assert first, "no picture among the first four cells"
    assert max(first) <= 40_000, f"{max(first):,} bytes: fewer images, or png(..., colors=16)"


def test_the_ledger_opens_with_a_picture():
    assert any(
        pictures(cell) for cell in nbformat.read(NBS / "13_ledger.rules.ipynb", as_version=4).cells[:3]
    )


EXPORTED = re.compile(r"^#\|\s*export", re.MULTILINE)


def code_tree(cell) -> ast.Module:
    "The code of a cell, lines that only a notebook understands left out."
    magic = re.compile(r"\s*(%%?[A-Za-z]|![^=])")
    return ast.parse("\n".join("pass" if magic.match(x) else x for x in cell.source.splitlines()))


def refuses(nb) -> bool:
    "Whether a room raises an error that it words itself."
    exported = [c for c in nb.cells if c.cell_type == "code" and EXPORTED.search(c.source)]
    raised = [n.exc for c in exported for n in ast.walk(code_tree(c)) if isinstance(n, ast.Raise)]
    return any(isinstance(e, ast.Call) and getattr(e.func, "id", "") in WORDED for e in raised)


def shows_a_refusal(cell) -> bool:
    "Whether a cell catches an error and something that it printed is in its output."
    if cell.cell_type != "code" or EXPORTED.search(cell.source):
        return False
    caught = [n for n in ast.walk(code_tree(cell)) if isinstance(n, ast.ExceptHandler)]
    does = [h for h in caught if not all(isinstance(x, ast.Pass) for x in h.body)]
    printed = "".join(o.get("text", "") for o in cell.get("outputs", []) if o.output_type == "stream")
    return bool(does and printed.strip())


@pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.name)
def test_a_room_that_refuses_shows_how(path):
    nb = nbformat.read(path, as_version=4)
    assert not refuses(nb) or any(map(shows_a_refusal, nb.cells)), (
        "it raises errors and shows none: add a cell with a call that must fail, which prints the message"
    )


@pytest.mark.parametrize(
    "source, text, shown",
    [
        ("try:\n    f()\nexcept GannbError as e:\n    print(e)", "size must be 16", True),
        ("try:\n    f()\nexcept GannbError as e:\n    print(e)", "", False),
        ("try:\n    f()\nexcept GannbError:\n    pass", "something else", False),
        ("print(1)", "1", False),
        ("#| export\ntry:\n    f()\nexcept GannbError as e:\n    print(e)", "size must be 16", False),
    ],
)
def test_a_refusal_is_seen(source, text, shown):
    outputs = [nbformat.v4.new_output("stream", text=text)] if text else []
    assert shows_a_refusal(nbformat.v4.new_code_cell(source, outputs=outputs)) is shown


@pytest.mark.parametrize(
    "source, found",
    [
        ('#| export\nraise GannbError("no")', True),
        ("#| export\nraise", False),
        ('raise SystemExit("x")', False),
    ],
)
def test_rooms_that_refuse_are_found(source, found):
    assert refuses(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])) is found


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
        "(/t" + "mp/ipykernel_1/2.py)",
        "lib/python3.11/site-packages/torch",
    ],
)
def test_machine_paths_are_seen(text):
    assert MACHINE.search(text)


@pytest.mark.parametrize(
    "text",
    [
        "/".join(("network", "work", "a")),
        "see https://example.org/home/page",
        "~/tmp/x",
        "outputs/tmp",
        "../home/x",
    ],
)
def test_other_paths_pass(text):
    assert not MACHINE.search(text)


def page_of(notebook: Path, tmp_path: Path) -> str:
    from gannb.report.site import export_html

    return export_html(notebook, tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_rendered_lesson_shows_code_without_marks_and_cuts_no_line(tmp_path):
    page = page_of(NBS / "02_plot.ipynb", tmp_path)
    code = re.findall(r'<details class="code">.*?</details>', page, re.S)
    words = [re.sub(r"<[^>]+>", "", x) for x in code]
    assert not any(re.search(r"^#\|", x.removeprefix("code").lstrip(), re.MULTILINE) for x in words)
    assert any("def tile(" in x for x in words) and any("raise GannbError" in x for x in words)
    cells = nbformat.read(NBS / "02_plot.ipynb", as_version=4).cells
    kept = [re.sub(r"^#\|.*$", "", c.source, flags=re.MULTILINE) for c in cells if c.cell_type == "code"]
    assert len(code) == sum(bool(x.strip()) for x in kept), "a cell of marks alone leaves no empty fold"
    assert page.count("data:image/png") == sum(len(pictures(c)) for c in cells)
    style = page.split("<style>")[1].split("</style>")[0]
    assert re.search(r"(^|\})\s*\.highlight pre \{[^}]*white-space: pre-wrap", style, re.MULTILINE)
    assert re.search(r"main > \.g-scroll > img \{[^}]*max-width: 100%", style), "pictures fit their column"


def test_only_marks_are_hidden(tmp_path):
    source = "#| export\n# a remark\nx = 1  #| no mark\n    #| indented, in a text\n\ny = 2"
    cell = nbformat.v4.new_code_cell(f"text = '''\n{source}\n'''")
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "n.ipynb")
    shown = re.sub(r"<[^>]+>", "", page_of(tmp_path / "n.ipynb", tmp_path).split("<details")[2])
    assert "#| export" not in shown
    for line in ("# a remark", "x = 1  #| no mark", "    #| indented, in a text", "y = 2"):
        assert line in shown
