"`make lab` opens the start page, whose links lead somewhere; the first tutorial runs from top to bottom."

import re
import shutil
from pathlib import Path

import nbformat
import pytest

import lab as make_lab

from conftest import ROOT, Notebook, until


@pytest.fixture
def copied(lab, watched):
    "A function that opens a copy of a tutorial."

    def open_one(name: str) -> Notebook:
        shutil.copy(ROOT / "nbs" / "tutorials" / name, lab.folder / name)
        return Notebook(lab, watched(), name)

    return open_one


def test_the_start_page_is_the_one_that_make_lab_opens(copied):
    nb = copied(Path(make_lab.START).name)
    nb.run_all()
    until(lambda: scrolled_to(nb, "From A to B"))
    assert nb.tab.query_selector(".gannb-grid button") and "Start here" in nb.text(".jp-Notebook")
    nb.watched.shot("lab-start")


def test_links_of_the_start_page_lead_somewhere():
    page = ROOT / make_lab.START
    text = "".join(c.source for c in nbformat.read(page, as_version=4).cells if c.cell_type == "markdown")
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert len(links) > 15
    assert not [link for link in links if not (page.parent / link).is_file()]


def test_the_first_tutorial_runs_by_run_all(copied):
    nb = copied("1_first_gan.ipynb")
    nb.run_all(240)
    errors = nb.tab.query_selector_all('.jp-RenderedText[data-mime-type="application/vnd.jupyter.error"]')
    assert not errors, errors[0].inner_text()
    nb.watched.shot("tutorial-end")
    until(lambda: scrolled_to(nb, "seed-0"))
    until(lambda: re.search(r"\bdone\b", nb.text(".jp-Notebook")))
    nb.watched.shot("tutorial-dashboard")


def scrolled_to(nb, words: str) -> bool:
    "Go down the notebook, which draws only what is seen, until these words are on the screen."
    nb.tab.keyboard.press("Escape")
    nb.tab.keyboard.press("Control+Home")
    for _ in range(40):
        found = nb.tab.get_by_text(words).first
        if found.is_visible():
            found.scroll_into_view_if_needed()
            return True
        nb.tab.mouse.move(700, 400)
        nb.tab.mouse.wheel(0, 400)
        nb.tab.wait_for_timeout(150)
    return False
