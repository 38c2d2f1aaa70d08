"""What a user of the package gets: a wheel with gannb alone, light to import, needing neither nbdev nor the notebooks."""

import configparser
import os
import shutil
import statistics
import subprocess
import sys
import time
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


def metadata() -> configparser.SectionProxy:
    parser = configparser.ConfigParser(delimiters=["="], interpolation=None)
    parser.read(ROOT / "settings.ini", encoding="utf-8")
    return parser["DEFAULT"]


def python(code: str, **kwargs) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, **kwargs)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    "The wheel, built from a copy: a build writes into its source folder."
    source, out = tmp_path_factory.mktemp("source") / "gannb", tmp_path_factory.mktemp("wheel")
    shutil.copytree(
        ROOT,
        source,
        ignore=shutil.ignore_patterns(
            ".venv", ".git", "outputs", "build", "dist", "*.egg-info", "__pycache__"
        ),
    )
    done = subprocess.run(
        [
            *PIP,
            "wheel",
            "--no-index",
            "--no-deps",
            "--no-build-isolation",
            "--wheel-dir",
            str(out),
            str(source),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    "The wheel installed into a folder of its own."
    target = tmp_path_factory.mktemp("installed")
    subprocess.run(
        [*PIP, "install", "--no-index", "--no-deps", "--target", str(target), str(wheel)],
        check=True,
        capture_output=True,
    )
    return target


def test_wheel_holds_gannb_alone(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {n.split("/")[0] for n in names}
    version = metadata()["version"]
    assert tops == {"gannb", f"gannb-{version}.dist-info"}
    assert wheel.name == f"gannb-{version}-py3-none-any.whl"
    inside = {n for n in names if n.startswith("gannb/")}
    here = {
        p.relative_to(ROOT).as_posix()
        for p in (ROOT / "gannb").rglob("*")
        if p.is_file() and "__pycache__" not in p.parts
    }
    assert inside == here, f"not in the wheel: {sorted(here - inside)}; too much: {sorted(inside - here)}"


def test_metadata_comes_from_settings(wheel):
    cfg, archive = metadata(), zipfile.ZipFile(wheel)
    info = f"gannb-{cfg['version']}.dist-info"
    meta = Parser().parsestr(archive.read(f"{info}/METADATA").decode())
    assert (meta["Name"], meta["Version"], meta["Summary"]) == ("gannb", cfg["version"], cfg["description"])
    assert meta["Requires-Python"] == ">=" + cfg["min_python"] and meta["License-Expression"] == "Apache-2.0"
    required = [r for r in meta.get_all("Requires-Dist") if "extra ==" not in r]
    assert sorted(map(str, map(Requirement, required))) == sorted(
        map(str, map(Requirement, cfg["requirements"].split()))
    )
    assert not any(r.startswith(("nbdev", "fastcore")) for r in required)
    assert set(meta.get_all("Provides-Extra")) == {"dev", "kaggle", "cluster"}
    assert "gannb = gannb.cli:main" in archive.read(f"{info}/entry_points.txt").decode()
    assert "Apache License" in archive.read(f"{info}/licenses/LICENSE").decode()


def test_imports_from_an_empty_folder_without_nbdev(installed, tmp_path):
    "Every module of the installed wheel loads with the developers' packages out of reach."
    modules = sorted(
        p.relative_to(installed).with_suffix("").as_posix().replace("/", ".")
        for p in (installed / "gannb").rglob("*.py")
        if p.name != "__init__.py"
    )
    code = f"""
import importlib, sys
from pathlib import Path
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("nbdev", "fastcore", "execnb", "ghapi", "pytest"): raise ImportError(name + " is for developers")
sys.meta_path.insert(0, Refuse())
for name in {modules!r}:
    module = importlib.import_module(name)
    assert Path(module.__file__).is_relative_to({str(installed)!r}), module.__file__
"""
    python(code, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(installed)})
    assert not list(tmp_path.iterdir())


def test_importing_gannb_is_light():
    heavy = python(
        "import sys, gannb; print(*[m for m in ('torch', 'matplotlib', 'numpy', 'nbdev', 'fastcore') if m in sys.modules])"
    )
    assert heavy.split() == []
    assert python("import gannb; print(gannb.__version__)").strip() == metadata()["version"]


def test_importing_gannb_takes_under_a_fifth_of_a_second():
    def seconds(code: str) -> float:
        start = time.perf_counter()
        python(code)
        return time.perf_counter() - start

    assert statistics.median(seconds("import gannb") - seconds("pass") for _ in range(7)) < 0.2
