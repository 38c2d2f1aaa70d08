"""The documentation site: `make docs`, or python tools/docs/build.py [FOLDER] [--jobs 1].

Sources go to FOLDER/src, the site to FOLDER/site (FOLDER: _docs). Needs no network, and neither does the
site: open FOLDER/site/index.html."""

import argparse
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import nbformat

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(ROOT / "tools")]

import excerpts  # noqa: E402
import front  # noqa: E402
import generators  # noqa: E402
import notebooks  # noqa: E402
import reference  # noqa: E402
import reports  # noqa: E402
from links import Links, between, pages_of_folder  # noqa: E402


class Wing(NamedTuple):
    "A part of the house: its notebooks are numbered from `first` on."

    first: int
    key: str
    title: str
    words: str


WINGS = (
    Wing(0, "ground", "Ground", "Conventions, files that are whole or absent, pictures, images in memory."),
    Wing(4, "data", "Data", "From a name to images: data sets, DiffAugment."),
    Wing(
        6, "networks", "Networks and training", "Generators, discriminators, known faults, the loop, samples."
    ),
    Wing(
        10, "measures", "Features and measures", "Networks that judge, FID, KID, copies, classifiers, probes."
    ),
    Wing(13, "ledger", "The ledger", "Intervals, claims, controls, verdicts."),
    Wing(14, "stages", "Stages", "Parameters, and one question each, asked of stored trainings."),
    Wing(16, "report", "Reports", "Numbers, blocks and pages."),
    Wing(17, "studies", "The five studies", "Each paper as data: plan, rows, tables, words."),
    Wing(18, "use", "In use", "What `gannb` does beside reports, widgets, the command line."),
)
GUIDE_IS = """# Guide

Tutorials to read here, or to run: `make lab`, folder `nbs/tutorials`. Each ends with exercises whose answers
a cell checks."""
LESSONS_ARE = """# The package as lessons

Every module is written in a notebook: the question, the smallest example by hand, the code, the call that
must fail, a picture, limits. They were executed; what they show was computed."""
REFERENCE_IS = """# Reference

Every public function with its parameters, shapes, units and errors; *source* leads to its code. The search
finds each by its name."""
DOCS = {  # docs/NAME.md -> the section it stands in
    "commands": "using",
    "data": "using",
    "cluster": "using",
    "speed": "using",
    "ledger": "reports",
    "design": "design",
}


class Paths(NamedTuple):
    "Where the site is made."

    src: Path
    site: Path


def wing_of(number: int) -> Wing:
    "The wing of a notebook's number."
    return [wing for wing in WINGS if wing.first <= number][-1]


def lessons() -> list[Path]:
    "The numbered notebooks in order."
    return [p for p in sorted((ROOT / "nbs").glob("*.ipynb")) if re.match(r"\d", p.name)]


def tutorials() -> list[Path]:
    return sorted((ROOT / "nbs" / "tutorials").glob("*.ipynb"))


def known_pages() -> dict[str, str]:
    "Every path of the repository that has a page: what links in texts lead to."
    pages = pages_of_folder(ROOT, "nbs", "lessons", "[0-9]*.ipynb")
    pages |= pages_of_folder(ROOT, "nbs/tutorials", "guide", "*.ipynb")
    pages |= {f"docs/{p.stem}.md": f"docs/{p.stem}.html" for p in (ROOT / "docs").glob("*.md")}
    pages |= {"README.md": "index.html", "nbs/index.ipynb": "index.html", ".": "index.html"}
    pages |= {"nbs": "lessons/index.html", "nbs/tutorials": "guide/index.html", "docs": "docs/index.html"}
    pages |= {"papers": "reports/own.html", "gannb": "reference/index.html"}
    pages |= {"CONTRIBUTING.md": "docs/contributing.html", "CHANGELOG.md": "docs/changelog.html"}
    pages |= {f"outputs/reference/{end}".rstrip("/"): "reports/index.html" for end in ("", "README.md")}
    pages |= {f"outputs/reference/generators{end}": "reports/generators.html" for end in ("", "/README.md")}
    for paper in reports.papers():
        home, page = f"outputs/reference/{paper}", f"reports/{paper}.html"
        pages |= {home: page, f"{home}/README.md": page}
        pages |= {f"{home}/figures": page, f"{home}/tables": page}
    for path in (ROOT / "gannb").rglob("*.py"):
        name = path.relative_to(ROOT).with_suffix("").as_posix()
        if not path.name.startswith("_"):
            pages[f"{name}.py"] = f"reference/{name.replace('/', '.')}.html"
    return pages


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")


def toctree(names: list[str], *options: str) -> str:
    return "\n".join(["```{toctree}", *(f":{option}:" for option in options), "", *names, "```"])


# ---- notebooks


def module_of(lesson: Path) -> str:
    "The module that a lesson is the source of: 04_datasets.coco -> gannb.datasets.coco."
    return "gannb." + lesson.stem.partition("_")[2]


def write_lessons(src: Path, links: Links, modules: set[str]) -> None:
    "A page for every numbered notebook, and one for each wing."
    for lesson in lessons():
        page, name = f"lessons/{lesson.stem}.html", module_of(lesson)
        to = between(page, f"reference/{name}.html")
        beside = f'*In the reference: <a href="{to}">{name}</a>*' if name in modules else ""
        nb = notebooks.page_of(lesson, "nbs", page, links, beside)
        write(src / "lessons" / lesson.name, nbformat.writes(nb))
    for wing in WINGS:
        write(src / "lessons" / f"{wing.key}.md", lessons_of(wing, links))
    write(src / "lessons" / "index.md", f"{LESSONS_ARE}\n\n{wing_table()}\n\n{wing_tree()}\n")


def wing_table() -> str:
    rows = [f'| <a href="{wing.key}.html">{wing.title}</a> | {wing.words} |' for wing in WINGS]
    return "\n".join(["| | |", "| --- | --- |", *rows])


def wing_tree() -> str:
    return toctree([wing.key for wing in WINGS], "hidden")


def lessons_of(wing: Wing, links: Links) -> str:
    "The page of a wing: each lesson with its one line."
    own = [p for p in lessons() if wing_of(int(p.name[:2])) == wing]
    rows = []
    for lesson in own:
        title, quote = notebooks.title_and_quote(lesson)
        rows.append(f'| <a href="{lesson.stem}.html">{title}</a> | {quote.replace("|", "/")} |')
    listed = "\n".join(["| | |", "| --- | --- |", *rows])
    return f"# {wing.title}\n\n{wing.words}\n\n{listed}\n\n{toctree([p.stem for p in own], 'hidden')}\n"


def write_guide(src: Path, links: Links) -> None:
    "The tutorials."
    rows = []
    for tutorial in tutorials():
        page = f"guide/{tutorial.stem}.html"
        write(
            src / "guide" / tutorial.name,
            nbformat.writes(notebooks.page_of(tutorial, "nbs/tutorials", page, links)),
        )
        title, quote = notebooks.title_and_quote(tutorial)
        rows.append(f'| <a href="{tutorial.stem}.html">{title}</a> | {quote.replace("|", "/")} |')
    listed = "\n".join(["| | |", "| --- | --- |", *rows]) if rows else ""
    write(
        src / "guide" / "index.md",
        f"{GUIDE_IS}\n\n{listed}\n\n{toctree([p.stem for p in tutorials()], 'hidden')}\n",
    )


# ---- reference


def write_reference(src: Path, links: Links) -> set[str]:
    "A page for every module; gives their names."
    found = {module.name: module for module in reference.modules(ROOT / "gannb")}
    own = {wing: [] for wing in WINGS}
    for lesson in lessons():
        if (name := module_of(lesson)) in found:
            own[wing_of(int(lesson.name[:2]))].append(name)
            page = f"reference/{name}.html"
            to = between(page, f"lessons/{lesson.stem}.html")
            write(src / "reference" / f"{name}.md", reference.page(found[name], to))
    for wing, names in own.items():
        write(src / "reference" / f"{wing.key}.md", reference_of(wing, [found[name] for name in names]))
    write(src / "reference" / "index.md", f"{REFERENCE_IS}\n\n{wing_table()}\n\n{wing_tree()}\n")
    return {name for names in own.values() for name in names}


def reference_of(wing: Wing, modules: list[reference.Module]) -> str:
    "The page of a wing: its modules with what each offers."
    rows = []
    for module in modules:
        names = ", ".join(
            f'<a href="{module.name}.html#{module.name}.{name}"><code>{name}</code></a>'
            for name, _ in reference.definitions(module)
        )
        words = module.words.replace("\n", " ").replace("|", "/")
        rows.append(f'| <a href="{module.name}.html">{module.name}</a> | {words}<br>{names} |')
    listed = "\n".join(["| module | |", "| --- | --- |", *rows])
    tree = toctree([module.name for module in modules], "hidden")
    return f"# {wing.title}\n\n{wing.words}\n\n{listed}\n\n{tree}\n"


# ---- texts


BREADCRUMB = re.compile(r"\A\[gannb\]\([^)]*\)[^\n]*\n+")


def texts() -> Iterator[tuple[Path, str]]:
    "The Markdown pages of the repository and the names of their pages."
    for path in sorted((ROOT / "docs").glob("*.md")):
        yield path, f"docs/{path.stem}"
    yield ROOT / "CONTRIBUTING.md", "docs/contributing"
    yield ROOT / "CHANGELOG.md", "docs/changelog"


def write_texts(src: Path, links: Links) -> None:
    "docs/*.md, CONTRIBUTING.md and CHANGELOG.md as they are, without the line that leads back."
    for path, name in texts():
        home = path.parent.relative_to(ROOT).as_posix()
        text = BREADCRUMB.sub("", path.read_text(encoding="utf-8"))
        write(src / f"{name}.md", links.rewrite(text, home, f"{name}.html"))


def names_of(section: str) -> list[str]:
    "The pages of docs/ in a section; one that no section names stands with those for users."
    here = {path.stem for path in (ROOT / "docs").glob("*.md")}
    return [n for n in [*DOCS, *sorted(here - set(DOCS))] if n in here and DOCS.get(n, "using") == section]


def write_sections(src: Path) -> None:
    "The pages that only lead on."
    using = [f"/docs/{name}" for name in names_of("using")]
    write(src / "docs" / "index.md", f"# Using gannb\n\n{toctree(using)}\n")
    design = [*(f"/docs/{n}" for n in names_of("design")), "/docs/contributing", "/docs/changelog"]
    write(src / "docs" / "house.md", f"# Design\n\n{toctree(design)}\n")


# ---- all of it


def sphinx(paths: Paths, jobs: str) -> int:
    "Sphinx over the sources; a warning is an error."
    from sphinx.cmd.build import build_main

    options = ["-b", "html", "-q", "-W", "--keep-going", "-j", jobs, "-c", str(HERE)]
    return build_main([*options, "-d", str(paths.src.parent / "doctrees"), str(paths.src), str(paths.site)])


LIGHT = 'document.body.dataset.theme = localStorage.getItem("theme") || "auto";'


def only_light(site: Path) -> None:
    "Figures and reports are drawn on white: the site does not follow a dark desktop."
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        if LIGHT in text:
            page.write_text(text.replace(LIGHT, 'document.body.dataset.theme = "light";'), encoding="utf-8")


def ship(links: Links, site: Path) -> None:
    "Files that are linked and have no page, and the reference results as they are."
    for path, place in links.shipped.items():
        (site / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, site / place)
    for paper in reports.papers():
        shutil.copytree(ROOT / "outputs" / "reference" / paper, site / "outputs" / "reference" / paper)
        reports.lead_back(site, paper)


def build(folder: Path, jobs: str = "auto") -> int:
    "The site in FOLDER/site, made anew. Gives an exit code."
    paths = Paths(folder / "src", folder / "site")
    for old in (*paths, folder / "doctrees"):
        shutil.rmtree(old, ignore_errors=True)
    links = Links(ROOT, known_pages())
    write_lessons(paths.src, links, write_reference(paths.src, links))
    write_guide(paths.src, links)
    write_texts(paths.src, links)
    reports.write_pages(paths.src, links)
    write_sections(paths.src)
    front.write_page(paths.src, links)
    if links.broken:
        print("links that lead nowhere:", *links.broken, sep="\n", file=sys.stderr)
        return 1
    if code := sphinx(paths, jobs):
        return code
    generators.write_scripts(paths.site)
    excerpts.write_scripts(paths.site)
    ship(links, paths.site)
    only_light(paths.site)
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "_docs")
    parser.add_argument("--jobs", default="auto", help="processes side by side; auto: one a core")
    given = parser.parse_args()
    code = build(given.folder.resolve(), given.jobs)
    if code == 0:
        print(f"Open {given.folder / 'site' / 'index.html'}")
    sys.exit(code)
