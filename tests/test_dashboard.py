"A training in a process of its own: watched, paused, stopped, killed and found again, with the same bytes."

import time

import numpy as np
import psutil
import pytest

from gannb.base import GannbError
from gannb.commands.session import Session, wait_for
from gannb.commands.train import prepare, train_seeds
from gannb.commands.watch import ask_run, watch
from gannb.config import TrainConfig, checked
from gannb.stages.live import LIVE, look, record
from gannb.stages.run import open_run
from gannb.store import read_json, sha256_file, write_json
from gannb.widgets.dashboard import TrainingDashboard, record_chart

SMALL = {"size": 16, "ngf": 8, "ndf": 8, "threads": 1}


def until(question, seconds=60):
    end = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < end, f"it did not come true within {seconds} s"
        time.sleep(0.05)


@pytest.fixture
def running(tmp_path):
    "A dashboard over a long training that has begun; whatever happens, it is ended."
    made = []

    def begin(**settings):
        dashboard = TrainingDashboard("digits", out=tmp_path / "run", **SMALL | {"epochs": 4000} | settings)
        made.append(dashboard)
        until(lambda: dashboard.session.alive() and look(dashboard.seed.value).step > 20)
        return dashboard

    yield begin
    for dashboard in made:
        dashboard.close_panel()
        if dashboard.session.process is not None and dashboard.session.process.poll() is None:
            dashboard.session.process.kill()
            dashboard.session.process.wait()


def weights(folder):
    return {p.name: sha256_file(p) for p in sorted((folder / "snapshots").glob("*.safetensors"))}


def test_the_weights_are_those_of_a_run_without_dashboard_paused_and_stopped_on_the_way(tmp_path):
    plain = checked(TrainConfig, {"dataset": "digits"} | SMALL | {"epochs": 30})
    data, folder = prepare(plain, tmp_path / "plain")
    train_seeds(plain, data, folder, "quiet")
    dashboard = TrainingDashboard("digits", out=tmp_path / "seen", **SMALL | {"epochs": 30})
    until(lambda: dashboard.session.alive())
    dashboard.buttons.pause.click()
    until(lambda: dashboard.session.state(dashboard.seed.value) in ("paused", "done"))
    assert dashboard.session.state(dashboard.seed.value) == "paused"
    dashboard.buttons.go_on.click()
    dashboard.buttons.stop.click()
    until(lambda: not dashboard.session.on_its_way())
    assert dashboard.session.state(dashboard.seed.value) == "stopped"
    dashboard.refresh()
    dashboard.buttons.go_on.click()
    dashboard.wait(60)
    seen = tmp_path / "seen" / "seed-0"
    assert len(weights(seen)) > 5 and weights(seen) == weights(folder / "seed-0")
    assert sha256_file(seen / "history.npy") == sha256_file(folder / "seed-0" / "history.npy")
    assert not (seen / LIVE).exists()


def test_a_pause_holds_and_is_no_part_of_the_time(running):
    dashboard = running()
    place = dashboard.seed.value
    dashboard.session.ask("pause")
    until(lambda: look(place).state == "paused")
    step = look(place).step
    time.sleep(2)
    dashboard.refresh()
    assert look(place).step == step and look(place).age < 2
    assert "paused" in dashboard.status.head.value and not dashboard.buttons.go_on.disabled
    assert dashboard.buttons.pause.disabled and not dashboard.buttons.stop.disabled
    dashboard.session.ask("stop")  # a paused training hears it too
    until(lambda: not dashboard.session.on_its_way())
    parts = read_json(place / "timing.json")["parts"]
    assert parts[-1]["to_step"] == step and parts[-1]["wall_s"] < 30


def test_a_second_session_finds_the_first_and_starts_nothing(running):
    first = running()
    again = TrainingDashboard("digits", out=first.session.folder, **SMALL | {"epochs": 4000})
    by_run = TrainingDashboard(first.run)
    assert again.session.process is None and by_run.session.process is None
    assert "training" in again.status.head.value and "training" in by_run.status.head.value
    assert any("images/s" in line for line in watch(first.run))
    assert ask_run(first.run, "stop") == ["seed-0: asked to stop"]
    until(lambda: not first.session.on_its_way())
    until(lambda: again.session.state(again.seed.value) == "stopped")
    again.close_panel(), by_run.close_panel()


def test_a_killed_training_is_told_from_a_stopped_one_and_goes_on(running):
    dashboard = running(epochs=80)
    first = dashboard.session.process
    first.kill()
    until(lambda: dashboard.session.state(dashboard.seed.value) == "lost")
    with pytest.raises(GannbError, match="gone without a word"):
        dashboard.wait(10)
    dashboard.refresh()
    dashboard.buttons.go_on.click()
    until(lambda: dashboard.session.alive())
    assert dashboard.session.process is not first
    dashboard.wait(100)
    assert open_run(dashboard.seed.value).epochs == 80


def test_a_training_that_never_began_shows_why(tmp_path, monkeypatch):
    from gannb.commands import train

    real = train.command_of
    monkeypatch.setattr(train, "command_of", lambda cfg, out: [*real(cfg, out), "--set", "nz=0"])
    session = Session("digits", out=tmp_path / "run", **SMALL)
    with pytest.raises(GannbError, match="nz"):
        wait_for(session, 60)
    assert session.state(session.places()[0]) == "failed"


def test_seeds_are_shown_one_after_the_other(tmp_path):
    dashboard = TrainingDashboard("digits", out=tmp_path / "run", **SMALL | {"epochs": 20, "seeds": [0, 1]})
    dashboard.wait(90)
    assert [p.name for p in dashboard.session.places()] == ["seed-0", "seed-1"]
    assert {look(p).state for p in dashboard.session.places()} == {"done"}
    dashboard.close_panel()


def test_evaluation_beside_the_training(tmp_path):
    settings = SMALL | {"epochs": 2}
    dashboard = TrainingDashboard("digits", out=tmp_path / "run", evaluate=True, **settings)
    dashboard.wait(120)
    until(lambda: dashboard._scoring and not dashboard._still_scoring(), 120)
    dashboard.refresh()
    assert "KID" in dashboard.curves.score.value, (tmp_path / "run" / "score.log").read_text()
    dashboard.close_panel()


def test_a_replay_goes_back_through_the_epochs(tmp_path):
    cfg = checked(TrainConfig, {"dataset": "digits"} | SMALL | {"epochs": 5})
    data, folder = prepare(cfg, tmp_path / "run")
    train_seeds(cfg, data, folder, "quiet")
    dashboard = TrainingDashboard(str(folder))
    pictures, curves = dashboard.pictures, dashboard.curves
    last, whole = pictures.grid.value, curves.loss.value
    assert pictures.epoch == 5 and dashboard.still()[1] == "run, seed-0: done, epoch 5 of 5, step 60 of 60."
    pictures.slider.value = 1
    assert pictures.epoch == 1 and pictures.grid.value != last and curves.loss.value != whole
    pictures.slider.value = 5
    assert pictures.grid.value == last and curves.loss.value == whole
    dashboard.close_panel()


def test_a_diverged_run_is_shown_with_its_reason(tmp_path, monkeypatch):
    cfg = checked(TrainConfig, {"dataset": "digits"} | SMALL | {"epochs": 2})
    data, folder = prepare(cfg, tmp_path / "run")
    monkeypatch.setattr("gannb.train.loss_G", lambda fake: fake.float().mean() * float("nan"))
    assert train_seeds(cfg, data, folder, "quiet")[0].diverged == 1
    dashboard = TrainingDashboard(str(folder))
    assert "diverged" in dashboard.status.head.value and "learning rate" in dashboard.status.head.value
    assert not (folder / "seed-0" / LIVE).exists()
    dashboard.close_panel()


@pytest.mark.parametrize(
    "what, settings, words",
    [
        ("digts", {"epochs": 3}, "Did you mean 'digits'"),
        ("digits", {"epoks": 3}, "epoks"),
        ("digits", {"size": 17}, "size"),
        ("no-such-run", {}, "no such run"),
        ("folder:/nowhere/at/all", {}, "nowhere"),
    ],
)
def test_what_cannot_be_is_refused_before_a_process_is_started(what, settings, words, monkeypatch):
    monkeypatch.setattr("gannb.commands.session.start_process", lambda *a: pytest.fail("started"))
    with pytest.raises(GannbError, match=words):
        TrainingDashboard(what, **settings)


def test_a_full_disk_stops_no_training(tmp_path, monkeypatch):
    "Nothing about watching may reach the training."
    import gannb.stages.live as live

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(live, "_replace", full)
    monkeypatch.setattr(live.shutil, "rmtree", lambda *a, **k: None)
    cfg = checked(TrainConfig, {"dataset": "digits"} | SMALL | {"epochs": 2})
    data, folder = prepare(cfg, tmp_path / "run")
    assert train_seeds(cfg, data, folder, "quiet")[0].epochs == 2


def test_a_chart_of_half_a_record_is_whole():
    rows = np.full((10, 7), 0.5, np.float32)
    rows[4:] = np.nan
    assert "nan" not in record_chart(rows, ("loss_D",), "Losses", "nats").lower()
    assert "polyline" in record_chart(rows, ("loss_D",), "Losses", "nats")


def test_a_stranger_with_the_same_number_is_not_taken_for_the_training(tmp_path):
    from gannb.stages.live import Live, _replace, status_of

    shape = {"size": 16, "channels": 1, "nz": 8, "ngf": 8, "ndf": 8, "z_dist": "normal", "seed": 0}
    fields = shape | {"n": 8, "batch_size": 4, "drop_last": False}
    write_json(tmp_path / "run.json", {"fields": fields, "data": {"name": "x", "notes": []}})
    Live(tmp_path, 1, 2, 4, record(tmp_path))
    assert look(tmp_path).alive
    status = status_of(tmp_path) | {"begun": psutil.Process().create_time() - 100}
    _replace(tmp_path / LIVE / "status.json", status)
    assert look(tmp_path).state == "lost"
