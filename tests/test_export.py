"""gannb/ is exactly what nbs/ exports: nothing edited by hand, nothing left over, nothing missing."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def export(notebooks: Path, to: Path) -> Path:
    "Exports a folder of notebooks afresh in `to`, away from the repository; gives the new package folder."
    shutil.copytree(notebooks, to / "nbs", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    shutil.copy(ROOT / "settings.ini", to)
    done = subprocess.run(
        [str(Path(sys.executable).parent / "nbdev_export")],
        cwd=to,
        capture_output=True,
        text=True,
        env=os.environ | {"XDG_CONFIG_HOME": str(to / "none")},
    )
    assert done.returncode == 0, done.stderr
    return to / "gannb"


def differences(package: Path, fresh: Path) -> list[str]:
    "What tells the Python files of a package from a fresh export."
    here, new = (
        {p.relative_to(d).as_posix(): p.read_bytes() for p in d.rglob("*.py")} for d in (package, fresh)
    )
    return (
        [f"{n}: no notebook exports it" for n in sorted(here.keys() - new.keys())]
        + [f"{n}: missing" for n in sorted(new.keys() - here.keys())]
        + [f"{n}: differs from its notebook" for n in sorted(here.keys() & new.keys()) if here[n] != new[n]]
    )


@pytest.fixture(scope="module")
def fresh(tmp_path_factory) -> Path:
    return export(ROOT / "nbs", tmp_path_factory.mktemp("export"))


def test_package_is_the_export(fresh):
    assert (fresh / "base.py").exists()
    assert not (wrong := differences(ROOT / "gannb", fresh)), "run `make prepare`: " + "; ".join(wrong)


def test_one_notebook_per_module():
    """nbdev lets a second notebook overwrite a module in silence, and exports notebooks with merge
    conflicts as if nothing were wrong."""
    owner = {}
    for path in sorted((ROOT / "nbs").glob("*.ipynb")):
        text = "\n".join("".join(c["source"]) for c in json.loads(path.read_text(encoding="utf-8"))["cells"])
        assert not re.search(r"^(<{7}|>{7}) ", text, re.MULTILINE), f"{path.name} holds a merge conflict"
        for module in re.findall(r"^#\|\s*default_exp\s+(\S+)", text, re.MULTILINE):
            assert module not in owner, f"{path.name} and {owner[module]} both export {module}"
            owner[module] = path.name


def test_the_check_sees_every_kind_of_difference(fresh, tmp_path):
    package = tmp_path / "gannb"
    shutil.copytree(fresh, package)
    assert differences(package, fresh) == []
    (package / "base.py").write_text(
        (package / "base.py").read_text(encoding="utf-8") + "\n# by hand\n", encoding="utf-8"
    )
    (package / "gone.py").write_text("x = 1\n", encoding="utf-8")
    (package / "_modidx.py").unlink()
    assert differences(package, fresh) == [
        "gone.py: no notebook exports it",
        "_modidx.py: missing",
        "base.py: differs from its notebook",
    ]
