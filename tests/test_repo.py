"""The repository as a newcomer gets it: what it must not hold, what README promises, and how the
Makefile sets itself up."""

import ast
import configparser
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
MB = 1_000_000
# Split so that this file does not hold what it looks for.
HOSTS = re.compile(
    "|".join(
        [
            "pypi" + r"\.org",
            "python" + r"hosted\.org",
            "download\\.py" + r"torch\.org/whl",
            "conda" + r"\.anaconda",
            "npm" + r"js\.org",
        ]
    )
)
MACHINE = re.compile(
    r"(?<![\w.~/-])/(?:"
    + "|".join(["wo" + "rk", "ro" + "ot", "ho" + "me", "Us" + "ers"])
    + r")/[A-Za-z0-9_.-]+"
)


def repository_files() -> list[Path]:
    "What is committed or would be: git's own list."
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("not a git checkout")
    done = subprocess.run(
        [
            "git",
            "-c",
            f"safe.directory={ROOT}",
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    return [p for n in done.stdout.decode().split("\0") if n and (p := ROOT / n).is_file()]


def texts() -> list[tuple[str, str]]:
    "Name and content of every text file; embedded pictures left out."
    found = []
    for path in repository_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        if path.suffix in (".ipynb", ".html"):
            text = re.sub(r"[A-Za-z0-9+/=]{200,}", "", text)
        found.append((path.relative_to(ROOT).as_posix(), text))
    assert found
    return found


def settings() -> configparser.SectionProxy:
    parser = configparser.ConfigParser(delimiters=["="], interpolation=None)
    parser.read(ROOT / "settings.ini", encoding="utf-8")
    return parser["DEFAULT"]


# ---- what the repository must not hold


def test_no_registry_host_and_no_machine_path():
    wrong = [
        f"{name}: {hit[0]}"
        for name, text in texts()
        for pattern in (HOSTS, MACHINE)
        if (hit := pattern.search(text))
    ]
    assert not wrong, "; ".join(wrong)


def test_the_patterns_see_what_they_should():
    assert (
        HOSTS.search("https://pypi" + ".org/simple")
        and MACHINE.search('open("/ho' + 'me/me/x")')
        and MACHINE.search("/wo" + "rk/main")
    )
    assert not HOSTS.search("https://pytorch.org/vision") and not MACHINE.search(
        "~/home/x https://a.org/home/x"
    )


def test_no_star_imports():
    for path in repository_files():
        if path.suffix == ".py":
            sources = [path.read_text(encoding="utf-8")]
        elif path.suffix == ".ipynb":
            cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
            sources = [
                "\n".join(
                    "pass" if re.match(r"\s*(%%?[A-Za-z]|![^=])", x) else x
                    for x in "".join(c["source"]).splitlines()
                )
                for c in cells
                if c["cell_type"] == "code"
            ]
        else:
            continue
        stars = [
            n
            for s in sources
            for n in ast.walk(ast.parse(s))
            if isinstance(n, ast.ImportFrom) and n.names[0].name == "*"
        ]
        assert not stars, f"{path.relative_to(ROOT)}: from {stars[0].module} import *"


def test_nothing_is_large():
    """Files under 1.5 MB; in outputs/reference/ a generator under 2 MB and each report's
    folder under 3 MB in all."""
    folders = {}
    for path in repository_files():
        parts, size = path.relative_to(ROOT).parts, path.stat().st_size
        if parts[:2] != ("outputs", "reference"):
            assert size < 1.5 * MB, f"{path.relative_to(ROOT)}: {size / MB:.1f} MB"
        elif parts[2] == "generators":
            assert size < 2 * MB, f"{path.relative_to(ROOT)}: {size / MB:.1f} MB"
        else:
            folders[parts[2]] = folders.get(parts[2], 0) + size
    for name, size in folders.items():
        assert size < 3 * MB, f"outputs/reference/{name}: {size / MB:.1f} MB"


def test_outputs_are_ignored_but_for_the_reference():
    for path in repository_files():
        parts = path.relative_to(ROOT).parts
        assert parts[0] != "outputs" or parts[1] == "reference", (
            f"{path.relative_to(ROOT)} does not belong into the repository"
        )


# ---- README and its companions


def readme() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


def test_readme_is_made_from_the_index_notebook():
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "dev.py"), "readme", "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert readme().startswith(f"# {settings()['title']}\n\n> {settings()['description']}\n")


def test_readme_shows_two_commands_first():
    assert re.findall(r"```\w*\n(.*?)```", readme(), re.DOTALL)[0].splitlines() == [
        "make reproduce",
        "make test",
    ]


def test_readme_links_lead_somewhere():
    links = [t for t in re.findall(r"\]\(([^)\s]+)\)", readme()) if not t.startswith(("http", "#"))]
    assert links
    assert not (dead := [t for t in links if not (ROOT / t).exists()]), dead
    tracked = {p.relative_to(ROOT).as_posix() for p in repository_files()}
    assert not (
        lost := [t for t in links if not any(n == t or n.startswith(t.rstrip("/") + "/") for n in tracked)]
    ), f"not in the repository: {lost}"


def test_readme_shows_the_reference_result_once_there_is_one():
    pictures = re.findall(r"!\[([^\]]*)\]\(([^)\s]+)\)", readme())
    assert len(pictures) == (1 if (ROOT / "outputs" / "reference" / "dataset_study").exists() else 0)
    assert all(len(words) > 20 for words, _ in pictures), "the picture needs alternative text"


def test_companions_exist():
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "make prepare" in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    cite = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= cite.keys() and str(
        cite["version"]
    ) == settings()["version"]
    assert (
        sum("report" in r["notes"].lower() or "reproduced" in r["notes"].lower() for r in cite["references"])
        == 5
    )
    assert all({"type", "title", "authors"} <= r.keys() for r in cite["references"])


def test_ci_calls_make_test():
    script = ROOT / ".ci" / "run"
    assert "make test" in script.read_text(encoding="utf-8").splitlines()
    if os.name == "posix":
        assert os.access(script, os.X_OK)


# ---- the Makefile's set-up, with a stand-in for Python: real installing takes minutes

FAKE_PYTHON = """#!/bin/sh
echo "$*" >> "$LOG"
case "$*" in
  "-c "*) exit ${TOO_OLD:-0} ;;
  "-m venv .venv") mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
  "-m pip"*) exit ${PIP_FAILS:-0} ;;
esac
"""
needs_make = pytest.mark.skipif(
    not shutil.which("make") or os.name != "posix", reason="needs make and a POSIX shell"
)


class Setup:
    "A bare copy of what `make install` needs."

    def __init__(self, folder: Path):
        self.folder, self.log, self.fake = folder / "a clone", folder / "log", folder / "fakepython"
        self.folder.mkdir()
        for name in ("Makefile", "settings.ini", "setup.py", "pyproject.toml"):
            shutil.copy(ROOT / name, self.folder)
        self.fake.write_text(FAKE_PYTHON)
        self.fake.chmod(0o755)
        self.stamp = self.folder / ".venv" / ".installed"

    def make(self, *args: str, **env: str) -> subprocess.CompletedProcess:
        self.log.write_text("")
        clean = {
            k: v
            for k, v in os.environ.items()
            if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PYTHON", "PAPERS", "PRESET")
        }
        return subprocess.run(
            ["make", f"PYTHON={self.fake}", *args],
            cwd=self.folder,
            capture_output=True,
            text=True,
            env=clean | {"LOG": str(self.log)} | env,
        )

    def installs(self) -> int:
        return self.log.read_text().count("-m pip")


@pytest.fixture
def setup(tmp_path) -> Setup:
    return Setup(tmp_path)


@needs_make
def test_install_runs_once(setup):
    assert setup.make("install").returncode == 0 and setup.installs() == 1 and setup.stamp.exists()
    assert setup.make("install").returncode == 0 and setup.log.read_text() == "", "a second call does nothing"
    later = setup.stamp.stat().st_mtime + 10
    os.utime(setup.folder / "settings.ini", (later, later))
    assert setup.make("install").returncode == 0 and setup.installs() == 1, "changed metadata installs again"


@needs_make
def test_failed_install_leaves_no_stamp(setup):
    done = setup.make("install", PIP_FAILS="1")
    assert done.returncode != 0 and "did not finish" in done.stderr and not setup.stamp.exists()
    assert setup.make("install").returncode == 0 and setup.stamp.exists()
    os.utime(setup.stamp, (0, 0))
    assert setup.make("install", PIP_FAILS="1").returncode != 0 and not setup.stamp.exists(), (
        "nor does a failed second one"
    )


@needs_make
def test_old_python_is_refused(setup):
    done = setup.make("install", TOO_OLD="1")
    assert done.returncode != 0 and "needs Python " + settings()["min_python"] in done.stderr
    assert not (setup.folder / ".venv").exists() and setup.installs() == 0


@needs_make
def test_a_newer_python_is_found_where_python3_is_old(setup, tmp_path):
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, code in (
        ("python3", "exit 1"),
        ("python3.13", "exit 127"),
        ("python3.12", FAKE_PYTHON.removeprefix("#!/bin/sh\n")),
    ):
        (tools / name).write_text(f"#!/bin/sh\n{code}\n")
        (tools / name).chmod(0o755)
    done = setup.make("install", "PYTHON=", PATH=f"{tools}{os.pathsep}{os.environ['PATH']}")
    assert done.returncode == 0 and setup.stamp.exists(), done.stderr
    assert "-m venv .venv" in setup.log.read_text()


@needs_make
def test_moved_folder_installs_anew(setup):
    assert setup.make("install").returncode == 0
    setup.folder = setup.folder.rename(setup.folder.with_name("moved"))
    done = setup.make("install")
    assert (
        done.returncode == 0
        and "another folder" in done.stdout
        and setup.installs() == 1
        and "-m venv" in setup.log.read_text()
    )


@needs_make
def test_reproduce_without_reports_says_so(setup):
    done = setup.make("reproduce")
    assert done.returncode != 0 and "no report in papers/" in done.stderr


@needs_make
@pytest.mark.parametrize(
    "target", ["install", "reproduce", "test", "lab", "bench", "prepare", "clean", "help"]
)
def test_make_knows(setup, target):
    assert setup.make("-n", target).returncode == 0
