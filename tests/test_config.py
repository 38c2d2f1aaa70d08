"""Parameters: presets, overrides, settings; every wrong one is named before any work."""

import subprocess
import sys

import pytest

from gannb import config
from gannb.studies.registry import PRESETS, REPORTS, _assigned, check_injected, report_config
from gannb.base import GannbError


def test_importing_config_imports_no_torch():
    done = subprocess.run(
        [sys.executable, "-c", "import sys, gannb.config; sys.exit('torch' in sys.modules)"]
    )
    assert done.returncode == 0


@pytest.mark.parametrize("paper", list(PRESETS))
@pytest.mark.parametrize("preset", ["smoke", "quick", "desk", "paper"])
def test_every_preset_is_whole(paper, preset):
    r = report_config(paper, preset=preset)
    assert r.setting == preset and r.run_name == preset and not r.overrides and r.config.seeds
    if preset in ("desk", "paper"):
        assert len(r.config.seeds) >= 5


def test_original_dcgan_defaults():
    c = config.gan_config(dataset="digits")
    assert (c.lr_G, c.lr_D, c.beta1, c.beta2, c.batch_size, c.nz, c.size, c.ngf, c.ndf) == (
        2e-4,
        2e-4,
        0.5,
        0.999,
        128,
        100,
        64,
        64,
        64,
    )


def test_paper_preset_is_the_papers():
    c = report_config("dataset_study", preset="paper").config
    assert (
        c.epochs == 10
        and c.batch_sizes == [128, 64, 64]
        and c.ngf == c.ndf == 128
        and c.size == 32
        and c.limit is None
        and c.steps == 0
    )
    assert c.datasets == ["emnist-balanced", "celeba", "cifar10@airplane"]


@pytest.mark.parametrize(
    "given, setting",
    [
        ({}, "desk"),
        ({"data_root": "x"}, "desk"),
        ({"seeds": "0,1,2,3,4,5,6"}, "desk"),
        ({"seeds": "5,6,7,8,9"}, "custom"),
        ({"seeds": "0,1"}, "custom"),
        ({"epochs": 3}, "custom"),
        ({"ngf": 32}, "desk"),
        ({"ngf": 64}, "custom"),
        ({"limit": 100}, "custom"),
    ],
)
def test_setting(given, setting):
    assert report_config("dataset_study", preset="desk", **given).setting == setting


@pytest.mark.parametrize("paper", list(PRESETS))
def test_jobs_change_no_result_and_so_no_setting(paper):
    plain = report_config(paper, preset="desk")
    many = report_config(paper, preset="desk", jobs=4, data_root="x")
    assert many.config.jobs == 4 and plain.config.jobs == 0
    assert many.setting == "desk" and many.run_name == plain.run_name == "desk"
    both = report_config(paper, preset="desk", jobs=4, ngf=16)
    assert both.setting == "custom" and both.run_name == report_config(paper, preset="desk", ngf=16).run_name
    with pytest.raises(GannbError, match="jobs"):
        report_config(paper, jobs=-1)


def test_a_changed_copy_is_checked():
    c = config.gan_config(dataset="digits", size=16)
    longer = c.having(epochs="7", classes="3,8")
    assert (longer.epochs, longer.classes, longer.size) == (7, ["3", "8"], 16) and type(longer) is type(c)
    assert c.epochs == 20 and c.having() == c
    for wrong, words in (
        ({"epohcs": 1}, "Did you mean 'epochs'"),
        ({"size": 50}, "48 or 56"),
        ({"epochs": 0}, "epochs=0"),
    ):
        with pytest.raises(GannbError, match=words):
            c.having(**wrong)


def test_a_model_is_named_and_known():
    assert config.gan_config(dataset="digits").model == "dcgan"
    with pytest.raises(GannbError, match="model='dcgn'"):
        config.gan_config(dataset="digits", model="dcgn")


def test_epochs_given_alone_are_exact():
    assert report_config("dataset_study", preset="desk", epochs=3).config.steps == 0
    assert report_config("dataset_study", preset="desk", epochs=3, steps=500).config.steps == 500


def test_run_names_tell_runs_apart():
    names = {
        report_config("dataset_study", **g).run_name
        for g in ({}, {"epochs": 3}, {"epochs": 4}, {"seeds": "0,1,2"}, {"preset": "desk"})
    }
    assert len(names) == 5
    assert report_config("dataset_study", data_root="elsewhere").run_name == "quick"


@pytest.mark.parametrize("text, value", [("0,1,2", [0, 1, 2]), (7, [7]), ("3", [3]), ([4, 5], [4, 5])])
def test_lists(text, value):
    assert report_config("dataset_study", seeds=text).config.seeds == value


@pytest.mark.parametrize(
    "given, words",
    [
        ({"preset": "qick"}, "quick"),
        ({"epohcs": 1}, "Did you mean 'epochs'"),
        ({"epochs": "many"}, "epochs='many'"),
        ({"epochs": 0}, "greater than or equal to 1"),
        ({"epochs": True}, "not True or False"),
        ({"seeds": ""}, "at least one seed"),
        ({"seeds": "1,1"}, "twice"),
        ({"seeds": "a"}, "seeds"),
        ({"size": 50}, "48 or 56"),
        ({"size": 12}, "16"),
        ({"datasets": "mnist"}, "three are wanted"),
        ({"datasets": "mnist,cifar10,celebb"}, "celeba"),
        ({"batch_sizes": "1,64,64"}, "2 images or more"),
        ({"lr_G": "fast"}, "lr_G"),
        ({"device": "tpu"}, "device"),
        ({"z_dist": "gauss"}, "z_dist"),
        ({"precision": "fp8"}, "precision"),
        ({"limit": 1}, "limit"),
    ],
)
def test_wrong_report_parameters(given, words):
    with pytest.raises(GannbError, match=words):
        report_config("dataset_study", **given)


def test_unknown_paper():
    with pytest.raises(GannbError, match="dataset_study"):
        report_config("dataset-study")


def test_class_specs():
    assert config.split_spec("cifar10@airplane+ship") == ("cifar10", ["airplane", "ship"])
    assert config.split_spec("folder:my@home/pictures@") == ("folder:my@home/pictures", [])
    assert report_config("dataset_study", preset="desk").config.gan(2).classes == ["airplane"]


def test_injected_parameters_are_checked():
    check_injected(
        "dataset_study", ["preset = 'quick'", "# Parameters\nepochs = 3\nseeds = '0'\n", "anything = 1"]
    )
    for cell in ("# Parameters\nepohcs = 3\n", "preset = 'quick'\nepohcs = 3"):
        with pytest.raises(GannbError, match="epochs"):
            check_injected("dataset_study", [cell])


def test_template_has_every_parameter():
    import json
    from pathlib import Path

    for paper, model in REPORTS.items():
        nb = json.loads(
            (Path(__file__).resolve().parents[1] / "papers" / f"{paper}.ipynb").read_text(encoding="utf-8")
        )
        cell = next(c for c in nb["cells"] if "parameters" in c["metadata"].get("tags", []))
        assert _assigned("".join(cell["source"])) == set(model.model_fields)


def test_set_pairs():
    assert config.parse_set(["lr_G=2e-4", "seeds=0,1", "compile=false", "limit=", "dataset=folder:a b"]) == {
        "lr_G": 2e-4,
        "seeds": "0,1",
        "compile": False,
        "limit": "",
        "dataset": "folder:a b",
    }
    for bad in (["x"], ["=1"], ["a=1", "a=2"], ["a-b=1"]):
        with pytest.raises(GannbError):
            config.parse_set(bad)


def test_texts_are_told_by_the_model():
    fruits = config.parse_set(["fruits=yes,001", "dataset=1e3", "limits=0,0", "jobs=2"], REPORTS["fruits"])
    assert fruits == {"fruits": "yes,001", "dataset": "1e3", "limits": "0,0", "jobs": 2}
    assert config.parse_set(["datasets=1,2,3"], REPORTS["dataset_study"]) == {"datasets": "1,2,3"}
    numbers = {
        "seeds",
        "limits",
        "fractions",
        "epochs",
        "compile",
        "limit",
        "channels",
        "batch_sizes",
        "precision",
    }
    for model in (config.TrainConfig, *REPORTS.values()):
        texts = config.text_fields(model)
        assert {"data_root", "augment"} <= texts and not texts & numbers


def test_a_path_with_an_at_sign_that_exists_is_whole(tmp_path):
    (tmp_path / "me@home").mkdir()
    assert config.split_spec(f"folder:{tmp_path}/me@home") == (
        f"folder:{tmp_path}/me@home",
        [],
    ) and config.split_spec(f"folder:{tmp_path}/me@home@cats") == (f"folder:{tmp_path}/me@home", ["cats"])
