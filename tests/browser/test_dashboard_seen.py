"The dashboard as a person meets it: in JupyterLab, with clicks, a closed tab and a restarted kernel."

import json
import re

import psutil
import pytest

from conftest import until

CELL = """
from gannb.widgets.dashboard import TrainingDashboard
dashboard = TrainingDashboard("digits", size=16, ngf=16, ndf=16, epochs=4000, threads=1)
dashboard
"""


def status(lab):
    "What the training in the lab said last."
    found = list((lab.place / "outputs" / "runs").glob("*/seed-0/live/status.json"))
    return json.loads(found[0].read_text()) if found else {"state": "none", "step": -1, "pid": None}


def epoch(nb):
    "The epoch whose pictures are on the screen."
    hit = re.search(r"after epoch (\d+)", nb.text(".jp-Notebook"))
    return int(hit[1]) if hit else -1


@pytest.fixture
def trained(lab):
    yield
    for path in (lab.place / "outputs" / "runs").glob("*/seed-*/live/status.json"):
        pid = json.loads(path.read_text())["pid"]
        if psutil.pid_exists(pid):
            psutil.Process(pid).kill()


def test_watch_pause_close_restart_find_again_and_stop(lab, notebook, trained):
    nb = notebook("train.ipynb", CELL)
    nb.run_all()
    first = until(lambda: epoch(nb) if epoch(nb) > 0 else None, 60)
    until(lambda: epoch(nb) > first)
    second = epoch(nb)
    until(lambda: epoch(nb) > second)
    nb.watched.shot("dashboard-training")
    shown = nb.text(".jp-Notebook")
    for words in ("training", "images/s", "left", "heard from", "Losses", "What D thinks", "step"):
        assert words in shown, words

    nb.tab.click('button:text-is("Pause")')
    until(lambda: status(lab)["state"] == "paused")
    until(lambda: re.search(r"\bpaused\b", nb.text(".jp-Notebook")))
    held = status(lab)["step"]
    nb.tab.wait_for_timeout(1500)
    assert status(lab)["step"] == held
    nb.watched.shot("dashboard-paused")
    nb.tab.click('button:text-is("Go on")')
    until(lambda: status(lab)["step"] > held)

    trainer = status(lab)["pid"]
    nb.tab.close()
    before = status(lab)["step"]
    kernel = json.loads(lab.api("GET", "api/kernels"))[0]["id"]
    lab.api("POST", f"api/kernels/{kernel}/restart")
    until(lambda: status(lab)["step"] > before)  # nobody looks, and it goes on

    nb.watched.open()
    nb.open()
    nb.run_all()
    until(lambda: "heard from" in nb.text(".jp-Notebook"))
    found = epoch(nb)
    until(lambda: epoch(nb) > found)
    assert status(lab)["pid"] == trainer, "a second training was started"

    nb.tab.click('button:text-is("Stop and save")')
    until(lambda: status(lab)["state"] == "stopped")
    until(lambda: "everything is saved" in nb.text(".jp-Notebook"))
    nb.watched.shot("dashboard-stopped")
    until(lambda: not psutil.pid_exists(trainer) or psutil.Process(trainer).status() == "zombie")


def test_a_crash_shows_its_message(lab, notebook, trained):
    nb = notebook("crash.ipynb", CELL)
    nb.run_all()
    until(lambda: status(lab)["state"] == "training")
    psutil.Process(status(lab)["pid"]).kill()
    until(lambda: "gone without a word" in nb.text(".jp-Notebook"))
    nb.watched.shot("dashboard-killed")
