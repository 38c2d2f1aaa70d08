"""From a link as it stands in the repository to the same thing on the documentation site."""

import html
import posixpath
import re
from collections.abc import Mapping
from pathlib import Path

# A fenced block, a link or picture (its words may hold code), a piece of code: the first that comes.
MARKDOWN = re.compile(
    r"(?P<fence>^```.*?^```)"
    r"|(?P<picture>!?)\[(?P<words>(?:`[^`]*`|\[[^\[\]]*\]|[^\[\]`])*)\]\((?P<to>[^()\s]+)\)"
    r"|(?P<code>`[^`\n]*`)",
    re.MULTILINE | re.DOTALL,
)
ELSEWHERE = re.compile(r"^(?:[a-z][a-z+.-]*:|#|//)")
SEEN_AS_TEXT = ("", ".py", ".yaml", ".cff", ".md", ".ini", ".toml", ".j2")


def between(page: str, target: str) -> str:
    "The address of `target` as a page of the site writes it; both counted from the site's root."
    return posixpath.relpath(target, posixpath.dirname(page) or ".")


class Links:
    "What each file of the repository is on the site; files that are linked and have no page are shipped."

    def __init__(
        self,
        root: Path,  # the repository
        pages: Mapping[str, str],  # a path in the repository -> the page of the site that shows it
    ):
        self.root, self.pages = root, dict(pages)
        self.shipped: dict[str, str] = {}  # a path in the repository -> where it lies on the site
        self.broken: list[str] = []

    def place(self, path: str) -> str | None:
        "Where a path of the repository is found on the site; None where there is nothing to show."
        if path in self.pages:
            return self.pages[path]
        if not (self.root / path).is_file():
            return None
        if not path.startswith("outputs/reference/"):  # those lie on the site as they are
            end = ".txt" if Path(path).suffix in SEEN_AS_TEXT else ""
            return self.shipped.setdefault(path, f"files/{path}{end}")
        return path

    def address(self, to: str, home: str, page: str) -> str | None:
        "A link `to` of a text in the folder `home`, as `page` writes it; None when it leads nowhere."
        if ELSEWHERE.match(to):
            return to
        path, _, anchor = to.partition("#")
        place = self.place(posixpath.normpath(posixpath.join(home, path)))
        if place is None:
            self.broken.append(f"{page}: {to}")
            return None
        return between(page, place) + ("#" + anchor if anchor else "")

    def rewrite(
        self,
        text: str,  # Markdown
        home: str,  # the folder that its links start from, in the repository
        page: str,  # the page that it becomes, counted from the site's root: guide/first.html
    ) -> str:
        "The text with links and pictures as HTML that leads to the right places of the site."

        def one(hit: re.Match) -> str:
            if hit["to"] is None:
                return hit[0]
            address = self.address(hit["to"], home, page)
            if address is None:
                return hit["words"]
            if hit["picture"]:
                return f'<img src="{address}" alt="{html.escape(hit["words"])}">'
            return f'<a href="{html.escape(address)}">{hit["words"]}</a>'

        return MARKDOWN.sub(one, text)


def pages_of_folder(root: Path, folder: str, on_site: str, pattern: str) -> dict[str, str]:
    "Every file of a folder that has a page of its own: its path -> that page."
    return {
        path.relative_to(root).as_posix(): f"{on_site}/{path.stem}.html"
        for path in sorted((root / folder).glob(pattern))
    }
