"""A notebook as a page: what only the exporter or a live kernel understands is taken out."""

import ast
import re
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from links import Links
from reference import assigned

MARK = re.compile(r"^#\|[^\n]*\n?", re.MULTILINE)
HIDDEN = re.compile(r"^#\|\s*(?:hide|default_exp)\b(?!_)", re.MULTILINE)
EXPORTED = re.compile(r"^#\|\s*export\b", re.MULTILINE)
NO_INPUT = re.compile(r"^#\|\s*(?:echo:\s*false|hide_input)\b", re.MULTILINE)
LIVE = ("application/vnd.jupyter.widget-view+json", "application/vnd.jupyter.widget-state+json")
# Links of a shown report lead to files beside that report; on the page of a lesson there are none.
DEAD_HREF = re.compile(r"""\s(?:href|target)=(["'])(?!https?:)[^"']*\1""")


def without_marks(source: str) -> str:
    "Code without the lines that only nbdev reads (`#| export`); those inside the code stay."
    head, rest = [], source.splitlines(keepends=True)
    while rest and (rest[0].startswith("#|") or not rest[0].strip()):
        line = rest.pop(0)
        head += [] if line.startswith("#|") else [line]
    return "".join(rest).strip("\n")


def shown(output: NotebookNode) -> NotebookNode | None:
    "An output as a page can show it; None where only a live widget was."
    if "data" not in output:
        return output
    data = {kind: value for kind, value in output.data.items() if kind not in LIVE}
    if len(data) < len(output.data) and set(data) <= {"text/plain"}:
        return None  # the words that stand for a widget: `VBox(children=(...))`
    if "text/html" in data:
        data["text/html"] = DEAD_HREF.sub("", "".join(data["text/html"]))
    output.data = NotebookNode(data)
    return output


def code_cell(cell: NotebookNode) -> NotebookNode | None:
    "A cell of code without marks; None where nothing of it is for readers."
    if HIDDEN.search(cell.source):
        return None
    no_input = NO_INPUT.search(cell.source)
    cell.source = without_marks(cell.source)
    cell.outputs = [out for found in cell.outputs if (out := shown(found))]
    cell.metadata = NotebookNode(tags=["remove-input"] if no_input else [])
    return cell if cell.source.strip() or cell.outputs else None


def made_in(source: str) -> list[str]:
    "The names that the code of an exported cell makes."
    found = []
    for node in ast.parse(source).body:
        found += [node.name] if hasattr(node, "name") else []
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found += [name for target in targets for name in assigned(target)]
    return found


def places(cell: NotebookNode) -> list[NotebookNode]:
    "A cell that the reference's links to the code of these names lead to; none for what is not exported."
    if not EXPORTED.search(cell.source):
        return []
    marks = "".join(f'<span id="source-{name}"></span>' for name in made_in(without_marks(cell.source)))
    return [nbformat.v4.new_markdown_cell(marks, id=f"at-{cell.id}")] if marks else []


def page_of(
    notebook: Path,
    home: str,  # its folder in the repository
    page: str,  # the page it becomes
    links: Links,
    beside: str = "",  # a line in Markdown under the title and its quote
) -> NotebookNode:
    "The notebook as the site shows it."
    nb = nbformat.read(notebook, as_version=4)
    cells = []
    for cell in nb.cells:
        if cell.cell_type == "code":
            before = places(cell)
            cells += [*before, kept] if (kept := code_cell(cell)) else []
        elif cell.cell_type == "markdown":
            cell.source = links.rewrite(re.sub(r"<!--.*?-->", "", cell.source, flags=re.DOTALL), home, page)
            cell.metadata = NotebookNode()
            cells.append(cell)
    if beside:
        cells.insert(1, nbformat.v4.new_markdown_cell(beside, id="beside"))
    nb.cells = cells
    nb.metadata = NotebookNode(
        kernelspec={"name": "python3", "language": "python", "display_name": "Python 3"},
        language_info={"name": "python", "pygments_lexer": "ipython3"},
    )
    return nb


def title_and_quote(notebook: Path) -> tuple[str, str]:
    "The heading of a notebook and the quote under it, in one line."
    first = nbformat.read(notebook, as_version=4).cells[0].source
    title = re.search(r"^#\s+(.*)$", first, re.MULTILINE)
    quote = re.search(r"^>\s*(.*(?:\n>.*)*)", first, re.MULTILINE)
    words = re.sub(r"\n>\s*", " ", quote[1]) if quote else ""
    return (title[1].strip() if title else notebook.stem), words.strip()
