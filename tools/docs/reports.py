"""The pages of the five reports, the ledger over all papers, the generators, and reports of one's own."""

import html
import json
import re
import tempfile
from pathlib import Path

import generators
import summary
from links import Links

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
REFERENCE = ROOT / "outputs" / "reference"


def papers() -> list[str]:
    "The papers that have a reference result."
    return summary.papers()


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")


# ---- one paper

ON_A_REPOSITORY_PAGE = re.compile(r"^- (?:`report\.html`|\[`figures/`\]).*\n(?:  .*\n)*", re.MULTILINE)


def paper_page(paper: str, links: Links) -> str:
    "The summary of a reference result as a page, led by the way to the whole report."
    text = (REFERENCE / paper / "README.md").read_text(encoding="utf-8")
    text = ON_A_REPOSITORY_PAGE.sub("", re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL))
    title, rest = text.split("\n", 1)
    whole = "**[Open the whole report](report.html)**: every figure, each claim with its seeds and controls."
    return links.rewrite(
        f"{title}\n\n{whole}\n\n{rest}", f"outputs/reference/{paper}", f"reports/{paper}.html"
    )


BAR = (
    '<p style="margin:0;padding:.4rem 1rem;font-size:.85rem;border-bottom:1px solid #d9dde3">'
    '<a href="../../../index.html">gannb</a> / <a href="../../../reports/index.html">reports</a> / '
    '<a href="../../../reports/{paper}.html">summary</a></p>'
)


ALL_REPORTS = 'href="../../index.html"'  # in a run's folder: outputs/index.html


def lead_back(site: Path, paper: str) -> None:
    "A line at the head of a report that leads back to the site."
    path = site / "outputs" / "reference" / paper / "report.html"
    page = path.read_text(encoding="utf-8").replace(ALL_REPORTS, 'href="../../../reports/index.html"')
    led = re.sub(r"(<body[^>]*>)", r"\1" + BAR.format(paper=paper), page, count=1)
    path.write_text(led, encoding="utf-8")


# ---- all papers


def reports_page(links: Links) -> str:
    "Every paper with its question answered in a sentence, its picture and its counts."
    parts = [
        "# Reports",
        "Five student papers, run again. The committed results are at setting `desk`: the papers' data as "
        "far as they could be had, fewer and smaller images, shorter trainings.",
        '<a href="ledger.html">All claims on one page</a> · '
        '<a href="own.html">make a report of your own</a> · '
        '<a href="../docs/ledger.html">why a verdict can be believed</a>',
    ]
    for paper in papers():
        done = summary.record(paper, "finished")
        home = f"outputs/reference/{paper}/"
        parts += [
            f"## {done['title']}",
            summary.WORDS["headline"](paper),
            summary.hero(done, home),
            f"{summary.verdict_counts(paper)}. [Summary]({home}README.md) · "
            f"[whole report]({home}report.html)",
        ]
    own = [
        f"{paper.replace('_', ' ').capitalize().replace(' gans', ' GANs')} <{paper}>" for paper in papers()
    ]
    names = [*own, "ledger", "generators", "own", "/docs/ledger"]
    text = links.rewrite("\n\n".join(parts), ".", "reports/index.html")
    return text + "\n\n```{toctree}\n:hidden:\n\n" + "\n".join(names) + "\n```\n"


def whole_ledger() -> tuple[str, str]:
    "The ledger over all papers and the script of its buttons, as `gannb` writes them for its own index."
    from gannb.report.site import index_page

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "reference").symlink_to(REFERENCE, target_is_directory=True)
        page = index_page(folder).read_text(encoding="utf-8")
    section = re.search(r'<section class="g-glance"><h2 id="ledger">.*?</h2>(.*?)</section>', page, re.DOTALL)
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)
    if not section or not script:
        raise SystemExit("gannb/templates/index.j2 has no section with id=ledger, or no script, any more.")
    return section[1].replace('href="reference/', 'href="../outputs/reference/'), script[1]


def ledger_page() -> str:
    "All claims of all papers on one page."
    from gannb.report.blocks import template_text

    section, script = whole_ledger()
    lines = [line.strip() for line in section.splitlines() if line.strip()]
    inside = [
        f"<style>{template_text('parts.css')}</style>",
        "<div class='g-glance ledger'>",
        *lines,
        "</div>",
    ]
    head = "---\nhide-toc: true\n---\n\n# The claims of all papers\n\n"
    return head + "\n".join(["`````{raw} html", *inside, f"<script>{script}</script>", "`````\n"])


# ---- generators


def generators_page(links: Links) -> str:
    "The cards of the generators that come with the repository."
    text = (REFERENCE / "generators" / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    parts = [links.rewrite(text, "outputs/reference/generators", "reports/generators.html")]
    for name, card in generators.cards().items():
        fact = generators.facts(name, card)
        classes = f", {len(fact['classes'])} classes to choose from" if fact["classes"] else ""
        draw = f'<a href="../index.html#{name}">Draw from it on the front page.</a>'
        rows = [
            ("draws", f"{fact['called']}, {fact['size']} x {fact['size']}{classes}"),
            ("data", f"{fact['data']}, {fact['images']:,} images"),
            ("licence of the data", fact["licence"]),
            ("trained for", f"{fact['steps']:,} steps"),
            (
                "what is to be known of them",
                "; ".join(html.escape(note) for note in fact["notes"]) or "nothing",
            ),
        ]
        parts.append(
            f"## {name}\n\n{summary.table(['', ''], rows)}\n\n{draw if generators.is_drawable(card) else ''}"
        )
    return "\n\n".join(parts) + "\n"


def write_pages(src: Path, links: Links) -> None:
    "All pages of the section on reports."
    folder = src / "reports"
    write(folder / "index.md", reports_page(links))
    for paper in papers():
        write(folder / f"{paper}.md", paper_page(paper, links))
    write(folder / "ledger.md", ledger_page())
    write(folder / "generators.md", generators_page(links))
    own = (HERE / "own.md").read_text(encoding="utf-8")
    write(folder / "own.md", links.rewrite(own, "tools/docs", "reports/own.html"))


def as_script(value) -> str:
    "A value inside a script element."
    return json.dumps(value).replace("</", "<\\/")
