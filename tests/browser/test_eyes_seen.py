"""The eye test as a person takes it, in JupyterLab and as a page of voila: every picture is answered with a
click or a key, the answer file appears, and no name is in it."""

import getpass
import shutil
import socket
import subprocess
from collections import Counter

import pytest

import eyes as make_eyes
from conftest import ROOT, Notebook, free_port, until

from gannb.ledger.people import AGAIN, COLUMNS, REAL, STAND_IN, UNTRAINED, left_out, read_answer_file
from gannb.widgets.eyes import digits_series, picture_url

NAME = "eye_test.ipynb"


@pytest.fixture
def place(tmp_path, monkeypatch):
    "Where outputs and trainings lie: the same for the page and for this test, which knows the answers."
    for name in ("OUTPUTS", "STORE", "CACHE"):
        monkeypatch.setenv(f"GANNB_{name}", str(tmp_path / "place" / name.lower()))
    monkeypatch.delenv("GANNB_EYE_TEST", raising=False)
    return tmp_path / "place"


@pytest.fixture
def page(place):
    "The address of the page that `make eyes` serves."
    port = free_port()
    args = [f"--port={port}", "--no-browser"]
    server = subprocess.Popen(make_eyes.command(args), cwd=ROOT, env=make_eyes.surroundings())
    until(lambda: answers(port) or server.poll() is not None, 60)
    assert server.poll() is None, "voila did not come up"
    yield f"http://127.0.0.1:{port}/"
    server.terminate()
    server.wait(20)


def answers(port: int) -> bool:
    "Whether somebody listens."
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


class Rater:
    "A person before the page, who sees what stands on the screen."

    def __init__(self, watched, series):
        self.watched, self.series = watched, series
        self.shown: list[list[str]] = []  # the pictures of each place

    @property
    def tab(self):
        return self.watched.tab

    def count(self) -> str:
        found = self.tab.query_selector(".gannb-count")
        return found.inner_text() if found else ""

    def press(self, words: str) -> None:
        self.tab.locator(".gannb-keys button").filter(
            has=self.tab.locator(f'span:text-is("{words}")')
        ).click()

    def begin(self) -> None:
        self.tab.wait_for_selector(".gannb-keys button", timeout=120_000)
        self.press("begin")
        until(lambda: self.count().startswith("1 of"))

    def look(self, place: int) -> None:
        "The picture of a place is on the screen, and it is the one that the series has there."
        until(lambda: self.count() == f"{place} of {len(self.series)}", 20)
        images = self.tab.query_selector_all(".gannb-pictures img")
        assert all(i.evaluate("e => e.complete && e.naturalWidth > 0 && e.clientWidth > 200") for i in images)
        found = [i.get_attribute("src") for i in images]
        assert found == [picture_url(p) for p in self.series.shown(place)]
        self.shown.append(found)

    def answer(self, first: int, last: int) -> None:
        "Looks well, and answers: most pictures with a click, every fourth with an arrow key."
        for place in range(first, last + 1):
            self.look(place)
            right = self.series.items[place - 1].right
            if place % 4:
                self.press(right)
            else:
                self.tab.keyboard.press("ArrowLeft" if right == "real" else "ArrowRight")


def check_file(rater: Rater, place, shot: str) -> None:
    "What is left after the last picture: words on the screen, and one file without a name."
    until(lambda: "Thank you" in rater.tab.inner_text(".gannb-eyes"), 20)
    rater.tab.locator(".gannb-eyes").scroll_into_view_if_needed()
    rater.watched.shot(shot)
    said = rater.tab.inner_text(".gannb-eyes")
    assert "Your answers count." in said and "4 of 4 obvious fakes caught" in said
    (path,) = (place / "outputs" / "answers" / "own").glob("*.csv")
    assert f"Kept as {path.name}, without a name." in said
    text, a = path.read_text(encoding="utf-8"), read_answer_file(path)
    assert tuple(text.splitlines()[0].split(",")) == COLUMNS
    assert a.items == rater.series.items and all(g == i.right for g, i in zip(a.given, a.items))
    assert max(a.seconds) > 0 and not left_out(a)
    assert getpass.getuser() not in text and socket.gethostname() not in text and "/" + "home" not in text


def check_catches(rater: Rater) -> None:
    "Obvious fakes, and real pictures shown a second time, were on the screen."
    roles = Counter(i.role for i in rater.series.items)
    assert roles[UNTRAINED] == 4 and roles[AGAIN] == 4 and len(rater.shown) == len(rater.series)
    for item in rater.series.items:
        if item.role == AGAIN:
            assert rater.series.items[item.earlier - 1].role in (REAL, STAND_IN)
            assert rater.shown[item.place - 1] == rater.shown[item.earlier - 1]


def test_a_person_answers_in_jupyterlab_leaves_and_goes_on(lab, watched, place):
    shutil.copy(ROOT / "nbs" / "tutorials" / NAME, lab.folder / NAME)
    nb = Notebook(lab, watched(), NAME)
    nb.run_all()
    rater = Rater(nb.watched, digits_series())
    rater.begin()
    rater.answer(1, 12)
    rater.look(13)
    nb.watched.shot("eyes-lab")
    assert not (place / "outputs" / "answers").exists(), "half a series is not written"

    nb.tab.locator('[data-command="docmanager:save"]').first.click()
    until(lambda: '"output_type"' in (lab.folder / NAME).read_text(encoding="utf-8"))
    nb.tab.close()
    nb.watched.open()
    nb.open()
    nb.tab.wait_for_selector(".gannb-eyes img", timeout=60_000)
    assert rater.shown.pop() and rater.count() == f"13 of {len(rater.series)}"
    rater.answer(13, len(rater.series))
    check_file(rater, place, "eyes-lab-end")
    check_catches(rater)
    rater.press("next person")
    until(lambda: rater.count().startswith("1 of"))


def test_a_person_answers_on_the_page_of_voila(page, watched, place):
    seen = watched()
    seen.tab.goto(page)
    seen.tab.wait_for_selector(".gannb-eyes", timeout=120_000)
    seen.shot("eyes-page-begin")
    rater = Rater(seen, digits_series())
    assert "import" not in seen.tab.inner_text("body"), "the page shows code"
    rater.begin()
    rater.answer(1, 1)
    rater.look(2)
    seen.shot("eyes-page")
    rater.shown.pop()
    rater.answer(2, len(rater.series))
    check_file(rater, place, "eyes-page-end")
    check_catches(rater)
