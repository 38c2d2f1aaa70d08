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
        "seeds": [0, 1],
        "compile": False,
        "limit": None,
        "dataset": "folder:a b",
    }
    for bad in (["x"], ["=1"], ["a=1", "a=2"], ["a-b=1"]):
        with pytest.raises(GannbError):
            config.parse_set(bad)


def test_texts_are_told_by_the_model():
    fruits = config.parse_set(["fruits=yes,001", "dataset=1e3", "limits=0,0", "jobs=2"], REPORTS["fruits"])
    assert fruits == {"fruits": ["yes", "001"], "dataset": "1e3", "limits": [0, 0], "jobs": 2}
    assert config.parse_set(["datasets=1,2,3"], REPORTS["dataset_study"]) == {"datasets": ["1", "2", "3"]}


def training(**given):
    return config.checked(config.TrainConfig, {"dataset": "digits"} | given)


@pytest.mark.parametrize(
    "typed, seeds",
    [
        ("0-4", [0, 1, 2, 3, 4]),
        ("0-2,7", [0, 1, 2, 7]),
        ("[0-1, 5]", [0, 1, 5]),
        (["0-1", 5], [0, 1, 5]),  # a list of YAML
        ("010", [10]),
        ("1_000", [1000]),
        ("1e3", [1000]),
        (1000.0, [1000]),  # papermill's 1e3
    ],
)
def test_seeds_mean_what_people_mean(typed, seeds):
    assert training(seeds=typed).seeds == seeds
    assert report_config("dataset_study", seeds=typed).config.seeds == seeds
    if isinstance(typed, str):
        assert config.parse_set([f"seeds={typed}"]) == {"seeds": seeds}


@pytest.mark.parametrize(
    "typed", ["-1", "0,-4", "True", "true", True, [True], "0x10", "1:30", "4-0", "0-", "1.5", "0..4"]
)
def test_seeds_that_mean_nothing_are_refused_in_words(typed):
    for ask in (lambda: training(seeds=typed), lambda: report_config("dataset_study", seeds=typed)):
        with pytest.raises(GannbError, match=r"seeds=.*(0-4|a list as 0,1,2|not True or False)"):
            ask()


@pytest.mark.parametrize("name", ["epochs", "limit", "batch_size", "nz", "size"])
def test_whole_numbers_are_read_in_one_way(name):
    for typed in ("020", " 20 ", "2e1", "20.", 20, 20.0):
        given = (
            {name: typed} if name != "size" else {name: str(typed).replace("20", "32").replace("2e1", "32")}
        )
        assert getattr(training(**given), name) in (20, 32)
    for wrong in (True, "True", "0x14", "1:30", "2.5", 2.5, "20 images", "1,000", "twenty", float("nan")):
        with pytest.raises(GannbError, match=f"{name}="):
            training(**{name: wrong})


def test_other_values_are_read_in_one_way():
    assert training(compile="yes").compile is True and training(compile=0).compile is False
    assert training(limit="none").limit is None and training(lr_G="2e-4").lr_G == 2e-4
    assert training(classes="[a,b]").classes == training(classes="a, b").classes == ["a", "b"]
    for wrong in (
        {"lr_G": "nan"},
        {"lr_G": "0,1"},
        {"compile": "perhaps"},
        {"classes": [True]},
        {"beta1": True},
    ):
        with pytest.raises(GannbError, match=next(iter(wrong))):
            training(**wrong)
    with pytest.raises(GannbError, match="fractions"):
        report_config("fruits", fractions="1,nan")


def test_an_existing_path_needs_no_prefix(tmp_path, monkeypatch):
    (tmp_path / "pics" / "a").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert training(dataset="pics").dataset == "folder:pics"
    assert training(dataset=str(tmp_path / "pics")).dataset == f"folder:{tmp_path}/pics"
    (tmp_path / "digits").mkdir()
    assert (
        training(dataset="digits").dataset == "digits"
        and training(dataset="./digits").dataset == "folder:./digits"
    )
    sets = report_config("dataset_study", datasets="pics,digits,pics@a").config.datasets
    assert sets == ["folder:pics", "digits", "folder:pics@a"]
    for missing in ("no/such", "~/no-such", "x.zip", "folder:no/such/x.zip"):
        if not missing.startswith("folder"):
            with pytest.raises(GannbError, match="there is no folder or file"):
                training(dataset=missing)
    with pytest.raises(GannbError, match="Did you mean 'pics'"):
        training(dataset="picz")


def test_threads_are_those_that_may_be_used(tmp_path, monkeypatch):
    from gannb import store

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(store.os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    groups, mine = tmp_path / "cgroup", tmp_path / "self"
    (groups / "a" / "b").mkdir(parents=True)
    mine.write_text("0::/a/b\n")
    assert store.processors(groups, mine) == 8, "no limit"
    (groups / "a" / "cpu.max").write_text("150000 100000\n")
    (groups / "a" / "b" / "cpu.max").write_text("max 100000\n")
    assert store.processors(groups, mine) == 2, "the quota of a group around it"
    old = tmp_path / "old"
    (old / "cpu" / "x").mkdir(parents=True)
    (old / "cpu" / "x" / "cpu.cfs_quota_us").write_text("300000")
    (old / "cpu" / "x" / "cpu.cfs_period_us").write_text("100000")
    mine.write_text("5:memory:/x\n4:cpu,cpuacct:/x\n")
    assert store.processors(old, mine) == 3, "version 1"
    assert store.processors(old, tmp_path / "none") == 8
    monkeypatch.setattr(config, "processors", lambda: 4)
    assert (config.resolve_threads(0), config.resolve_threads(3)) == (4, 3)
    for said, threads in (("1", 1), ("2,1", 2), ("0", 4), ("many", 4)):
        monkeypatch.setenv("OMP_NUM_THREADS", said)
        assert config.resolve_threads(0) == threads


def test_a_path_with_an_at_sign_that_exists_is_whole(tmp_path):
    (tmp_path / "me@home").mkdir()
    assert config.split_spec(f"folder:{tmp_path}/me@home") == (
        f"folder:{tmp_path}/me@home",
        [],
    ) and config.split_spec(f"folder:{tmp_path}/me@home@cats") == (f"folder:{tmp_path}/me@home", ["cats"])
