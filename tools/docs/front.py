"""The front page: something to play with, what came out, the two commands, how fast it is."""

import re
from pathlib import Path

import generators
from dev import readme_text
from links import Links
from reports import as_script

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
TREE = ["guide/index", "lessons/index", "reference/index", "reports/index", "docs/index", "docs/house"]


def section(text: str, heading: str) -> str:
    "What stands under a heading of README."
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if not found:
        raise SystemExit(
            f"README.md has no heading {heading!r} any more: tools/docs/front.py takes it from there."
        )
    return found[1].strip()


def table_and_after(text: str) -> str:
    "The first table of a text and what follows it."
    return text[text.index("\n|") + 1 :]


def first_picture(text: str) -> str:
    "The first picture of README with the line under it."
    return re.search(r"^!\[.*?\)\n+\*.*?\*$", text, re.MULTILINE | re.DOTALL)[0]


def player() -> str:
    "The generator that draws, as HTML."
    shown = [
        generators.facts(name, card)
        for name, card in generators.cards().items()
        if generators.is_drawable(card)
    ]
    inside = (HERE / "player.html").read_text(encoding="utf-8").replace("{{cards}}", as_script(shown))
    return f"`````{{raw}} html\n{inside}\n`````"


def write_page(src: Path, links: Links) -> None:
    "The front page in Markdown."
    readme = readme_text()
    text = (HERE / "front.md").read_text(encoding="utf-8")
    parts = {
        "picture": first_picture(readme),
        "claims": table_and_after(section(readme, "What came out")),
        "commands": section(readme, "Two commands"),
        "ratios": section(readme, "How fast"),
    }
    for name, part in parts.items():
        text = text.replace("{{" + name + "}}", part)
    text = links.rewrite(text, ".", "index.html").replace("{{player}}", player())
    tree = "\n".join(["```{toctree}", ":hidden:", "", *TREE, "```"])
    (src / "index.md").write_text(f"{text}\n\n{tree}\n", encoding="utf-8")
