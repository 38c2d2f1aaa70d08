"""Shared by all tests: nothing is written outside temporary folders, and the real image pack is
found where it lies."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
SESSION = Path(tempfile.mkdtemp(prefix="gannb-tests-"))

for _name in (
    "STORE",
    "CACHE",
    "OUTPUTS",
):  # in the environment, so that commands started by tests inherit it
    os.environ[f"GANNB_{_name}"] = str(SESSION / _name.lower())
if not os.environ.get("GANNB_DATA") and (ROOT.parent / "shared" / "data").is_dir():
    os.environ["GANNB_DATA"] = str(ROOT.parent / "shared" / "data")
PACK = Path(os.environ.get("GANNB_DATA") or SESSION / "none")


def pytest_unconfigure(config):
    shutil.rmtree(SESSION, ignore_errors=True)


# The files that take longest begin first: of two processes that share the tests, neither waits for the other.
# (`--no-loadscope-reorder` in the Makefile keeps this order.)
LONGEST = "cli tutorials attacks stages scene_study fire dataset_scores fruits rulers study grid".split()


def pytest_collection_modifyitems(items):
    names = [f"test_{name}.py" for name in LONGEST]
    items.sort(key=lambda item: names.index(item.path.name) if item.path.name in names else len(names))
    if (PACK / "catalogue.yaml").is_file():
        return
    skip = pytest.mark.skip(
        reason=(
            "the real image pack is not here: set GANNB_DATA to its folder (the one that "
            "holds catalogue.yaml)"
        )
    )
    for item in items:
        if item.get_closest_marker("pack"):
            item.add_marker(skip)


class Result(NamedTuple):
    "What a command did."

    rc: int
    stdout: str
    stderr: str


@pytest.fixture
def run_gannb():
    """A function that runs `gannb ARGS` as its own process, in the repository's root unless
    `cwd` says otherwise."""

    def run(args: list[str] | str, *, cwd: Path = ROOT, timeout: float = 120, **env: str | Path) -> Result:
        args = args.split() if isinstance(args, str) else [str(a) for a in args]
        # as the installed command does
        code = "import sys; from gannb.cli import main; sys.argv[0] = 'gannb'; sys.exit(main())"
        done = subprocess.run(
            [sys.executable, "-c", code, *args],
            cwd=cwd,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=timeout,
            env=os.environ | {"PYTHONIOENCODING": "utf-8"} | {k: str(v) for k, v in env.items()},
        )
        return Result(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def docs_site(tmp_path_factory) -> Path:
    "The documentation site, built once from the working tree; GANNB_SITE names one that was built before."
    if built := os.environ.get("GANNB_SITE"):
        return Path(built).resolve()
    folder = tmp_path_factory.mktemp("docs")
    command = [sys.executable, str(ROOT / "tools" / "docs" / "build.py"), str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return folder / "site"
