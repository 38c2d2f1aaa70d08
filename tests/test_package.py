"""What a user of the package gets: a wheel with gannb alone, light to import, needing neither
nbdev nor the notebooks."""

import ast
import configparser
import json
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
from packaging.utils import canonicalize_name

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
    assert set(meta.get_all("Provides-Extra")) == {"dev", "kaggle", "cluster", "classroom", "heif"}
    assert "gannb = gannb.start:main" in archive.read(f"{info}/entry_points.txt").decode()
    assert "Apache License" in archive.read(f"{info}/licenses/LICENSE").decode()


OF_EXTRAS = {"pillow_heif": "heif"}  # imported where it is installed, and declared in that extra alone


def test_what_an_extra_brings_is_declared_in_it():
    for module, extra in OF_EXTRAS.items():
        wanted = [canonicalize_name(Requirement(r).name) for r in metadata()[f"{extra}_requirements"].split()]
        assert canonicalize_name(module) in wanted


def third_party_imports() -> dict[str, str]:
    "Distribution -> a module of gannb that imports it."
    from importlib.metadata import packages_distributions

    owner = packages_distributions()
    found = {}
    for path in sorted((ROOT / "gannb").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            for name in {n.split(".")[0] for n in names} - sys.stdlib_module_names - {"gannb", *OF_EXTRAS}:
                assert name in owner, f"{path.name} imports {name}, which is not installed"
                found[canonicalize_name(owner[name][0])] = path.name
    return found


RUNS_BESIDE = {"jupyterlab": "the first door", "ipykernel": "runs the reports, in a process of its own"}


def test_what_is_imported_is_declared_and_nothing_else():
    declared = {canonicalize_name(Requirement(r).name) for r in metadata()["requirements"].split()}
    used = third_party_imports()
    lacking = {f"{name} ({where})" for name, where in used.items() if name not in declared}
    assert not lacking, f"imported and not declared in settings.ini: {sorted(lacking)}"
    idle = declared - set(used) - set(RUNS_BESIDE)
    assert not idle, f"declared in settings.ini and imported nowhere: {sorted(idle)}"


def test_the_judging_network_is_pinned_exactly():
    judge = next(r for r in metadata()["requirements"].split() if r.startswith("efficientnet-lite0"))
    assert "==" in judge, "another version of the weights would judge otherwise"


def test_the_constraints_are_those_of_the_reference_results():
    pinned = dict(x.split("==") for x in (ROOT / "constraints.txt").read_text().splitlines() if "==" in x)
    for path in sorted((ROOT / "outputs" / "reference").glob("*/provenance.json")):
        for name, version in json.loads(path.read_text(encoding="utf-8"))["versions"].items():
            assert pinned.get(name) == version, f"{path.parent.name} was made with {name} {version}"


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
        if name.split(".")[0] in ("nbdev", "fastcore", "execnb", "ghapi", "pytest"):
            raise ImportError(name + " is for developers")
sys.meta_path.insert(0, Refuse())
for name in {modules!r}:
    module = importlib.import_module(name)
    assert Path(module.__file__).is_relative_to({str(installed)!r}), module.__file__
"""
    python(code, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(installed)})
    assert not list(tmp_path.iterdir())


def test_importing_gannb_is_light():
    heavy = python(
        "import sys, gannb; print(*[m for m in ('torch', 'matplotlib', 'numpy', 'nbdev', 'fastcore') if "
        "m in sys.modules])"
    )
    assert heavy.split() == []
    assert python("import gannb; print(gannb.__version__)").strip() == metadata()["version"]


def test_importing_gannb_takes_under_a_fifth_of_a_second():
    def seconds(code: str) -> float:
        start = time.perf_counter()
        python(code)
        return time.perf_counter() - start

    assert statistics.median(seconds("import gannb") - seconds("pass") for _ in range(7)) < 0.2
