"""The text of each page as a script file, for the excerpts of the search (static/excerpts.js)."""

import json
from html.parser import HTMLParser
from pathlib import Path

SILENT = ("script", "style", "svg", "nav", "button")  # what they hold is not read
ASIDE = {"headerlink", "source"}  # classes: links beside the text
APART = ("br", "dd", "div", "li", "p", "td", "th")  # what comes after is another word
CALL = '<script src="_static/excerpts.js"></script>\n'


class Article(HTMLParser):
    "The words of a page's article, part by part; a part begins where a link can lead."

    def __init__(self, page: str):
        super().__init__()
        self.parts: list[tuple[str, list[str]]] = []
        self.inside = False
        self.silent, self.nested = "", 0  # the tag that is passed over, and how deep in others of its name
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if self.silent:
            self.nested += tag == self.silent
        elif tag in SILENT or ASIDE & set((given.get("class") or "").split()):
            self.silent, self.nested = tag, 1
        elif tag == "article":
            self.inside = True
            self.parts.append(("", []))
        elif self.inside and tag in ("section", "dt", "span") and (place := given.get("id")):
            self.parts.append((place, []))
            if tag == "dt" and "sig" in (given.get("class") or "").split():  # its name says enough
                self.parts[-1][1].append(f"{place.rpartition('.')[2]}: ")
                self.silent, self.nested = tag, 1
        elif self.inside and tag in APART:
            self.parts[-1][1].append(" ")

    def handle_endtag(self, tag: str) -> None:
        if self.silent:
            self.nested -= tag == self.silent
            self.silent = self.silent if self.nested else ""
        elif tag == "article":
            self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside and not self.silent:
            self.parts[-1][1].append(data)


def parts_of(page: str) -> list[tuple[str, str]]:  # anchor (of the first: none), text
    "The text of a page of the site, given as HTML."
    found = [(anchor, " ".join("".join(words).split())) for anchor, words in Article(page).parts]
    return [(anchor, text) for anchor, text in found if text]


def write_scripts(site: Path) -> None:
    "_static/text/PAGE.js of every page; the page of the search loads the script that reads them."
    for path in sorted(site.rglob("*.html")):
        name = path.relative_to(site).with_suffix("").as_posix()
        told = json.dumps([name, parts_of(path.read_text(encoding="utf-8"))], ensure_ascii=False)
        place = site / "_static" / "text" / f"{name}.js"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"gannbText({told[1:-1]});\n", encoding="utf-8", newline="\n")
    search = site / "search.html"
    page = search.read_text(encoding="utf-8")
    search.write_text(page.replace("</body>", f"{CALL}</body>"), encoding="utf-8")
