"""Sphinx's settings. The pages come from build.py; nothing is executed and nothing is fetched."""

import re
import sys
from functools import cache
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import reference  # noqa: E402
from sphinx.search.en import SearchEnglish  # noqa: E402

project = "gannb"
author = "The gannb authors"
copyright = "the gannb authors"
extensions = ["myst_nb"]
root_doc = "index"
exclude_patterns = ["_static"]
nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
myst_links_external_new_tab = False
python_maximum_signature_line_length = 88
python_display_short_literal_types = True
add_module_names = False
smartquotes = False
toc_object_entries_show_parents = "hide"
suppress_warnings = ["myst.header", "misc.highlighting_failure"]

html_theme = "furo"
html_title = "gannb"
html_static_path = [str(HERE / "static")]
html_css_files = ["look.css"]
html_show_sourcelink = False
html_copy_source = False
html_show_search_summary = False  # it would be fetched, which a page opened from disk may not
html_theme_options = {
    "navigation_with_keys": False,
    "light_css_variables": {"sidebar-item-spacing-vertical": "0.3rem"},
}
html_math_renderer = "mathml"
pygments_style = "default"


# ---- formulas without a library that would have to be fetched: browsers draw MathML themselves


def mathml(text: str, block: bool) -> str:
    from docutils.utils.math.latex2mathml import tex2mathml

    sizes = re.compile(r"\\[bB]ig+[lr]?(?![A-Za-z])")  # brackets grow by themselves
    return tex2mathml(sizes.sub("", text).strip(), as_block=block)


def visit_inline(translator, node) -> None:
    from docutils import nodes

    translator.body.append(mathml(node.astext(), block=False))
    raise nodes.SkipNode


def visit_block(translator, node) -> None:
    from docutils import nodes

    translator.body.append(f'<div class="math">{mathml(node.astext(), block=True)}</div>')
    raise nodes.SkipNode


# ---- the sidebar: the branch that the page stands on is open, the others are closed


def closed_branches(app, pagename, templatename, context, doctree) -> None:
    "Runs before furo makes the sidebar of a page."
    if "toctree" in context:
        whole = context["toctree"]
        context["toctree"] = lambda **options: whole(**{**options, "collapse": True})


# ---- names in signatures lead to what their module imports, and not to a namesake elsewhere


@cache
def meant_by(module: str) -> dict[str, str]:
    "The names of the package as a module uses them: ImageSet -> gannb.data.ImageSet."
    package = HERE.parents[1] / "gannb"
    path = package.parent.joinpath(*module.split(".")).with_suffix(".py")
    return reference.meanings(reference.read_module(path, package))


def settle_names(app, doctree) -> None:
    "Gives each name in a signature its full name; one from outside the package stays text."
    from sphinx.addnodes import pending_xref

    for name in list(doctree.findall(pending_xref)):
        if name.get("refdomain") != "py":
            continue
        target = (name.get("reftarget") or "").split(".")[0]
        if full := meant_by(name.get("py:module") or "gannb.base").get(target):
            name["reftarget"] = full
            name.attributes.pop("refspecific", None)
        else:
            name.replace_self(name.children)


class English(SearchEnglish):
    "The search's own English, which remembers the stem of a word: half a million are looked up."

    stem = cache(SearchEnglish.stem)


def setup(app):
    app.add_search_language(English)
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    app.connect("html-page-context", closed_branches, priority=100)
    app.connect("doctree-read", settle_names)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
