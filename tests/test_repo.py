"""The repository as a newcomer gets it: what it must not hold, what README promises, and how the
Makefile sets itself up."""

import ast
import configparser
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

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


def test_no_two_test_files_share_a_name():
    "pytest imports a test file by its bare name: where both are collected, the second of two is an error."
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert not [name for name, times in names.items() if times > 1]


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


PAGES = ["README.md", *sorted(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))]
PAGES += sorted(p.relative_to(ROOT).as_posix() for p in (ROOT / "outputs" / "reference").glob("**/README.md"))


def test_the_pages_of_the_repository_are_there():
    papers = sorted(p.parent.name for p in (ROOT / "outputs" / "reference").glob("*/claims.json"))
    assert papers and all(f"outputs/reference/{paper}/README.md" in PAGES for paper in papers)
    assert {"docs/ledger.md", "docs/commands.md", "docs/data.md", "docs/speed.md"} <= set(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_links_of_a_page_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    links = [t for t in re.findall(r"\]\(([^)\s]+)\)", text) if not t.startswith(("http", "#"))]
    assert links, "a page without a way on or back"
    places = {t: os.path.relpath((ROOT / page).parent / t, ROOT) for t in links}
    tracked = {p.relative_to(ROOT).as_posix() for p in repository_files()}
    assert not (
        lost := [
            t
            for t, n in places.items()
            if n not in tracked and not any(x.startswith(f"{n}/") for x in tracked)
        ]
    ), f"not in the repository: {lost}"


def words(text: str) -> list[str]:
    "The words of a Markdown page: what has a letter or a digit, without addresses."
    return [w for w in re.sub(r"\]\([^)]*\)", "] ", text).split() if re.search(r"\w", w)]


def test_readme_is_short():
    text = readme()
    assert words("a [link](b/c.md) to | `x` | ---") == ["a", "[link]", "to", "`x`"]
    assert len(words(text)) <= 900, f"{len(words(text))} words: move something to docs/"
    tables = re.findall(r"^\|\s*-{3}", text, re.MULTILINE)
    assert len(tables) <= 2 and "<details" not in text, "all claims stand in the summaries of the references"
    assert "{{" not in text and "—" not in text
    assert text.index("![") < text.index("## What came out") < text.index("## Two commands")


def test_readme_tells_six_to_eight_claims_and_links_their_summaries():
    rows = re.findall(r"^\| \[([^\]]+)\]\(outputs/reference/(\w+)/README\.md\) \|", readme(), re.MULTILINE)
    assert 4 <= len(rows) <= 8
    for short, paper in rows:
        path = ROOT / "outputs" / "reference" / paper / "claims.json"
        claims = {c["short"]: c for c in json.loads(path.read_text(encoding="utf-8"))}
        assert claims[short]["finding"] and claims[short]["verdict"] != "not testable here"


def test_readme_shows_the_pictures_of_the_reference_results():
    pictures = re.findall(r"!\[([^\]]*)\]\(([^)\s]+)\)", readme())
    papers = sorted(p.parent.name for p in (ROOT / "outputs" / "reference").glob("*/claims.json"))
    assert "hero" in pictures[0][1]
    assert sorted(file for _, file in pictures[1:]) == [
        f"outputs/reference/{paper}/figures/forest.png" for paper in papers
    ]
    assert all(len(alt) > 20 for alt, _ in pictures), "a picture needs alternative text"


def test_the_benchmark_page_is_the_one_that_its_command_writes():
    spec = importlib.util.spec_from_file_location("ratios", ROOT / "tools" / "ratios.py")
    ratios = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(ratios)
    rows = ratios.rows_there()
    assert len(rows) == len(ratios.RATIOS) and ratios.PAGE.read_text(encoding="utf-8") == ratios.page(rows)
    assert all(re.search(r"\| 20\d\d-\d\d-\d\d, \d+ cores[^|]*\|$", row) for row in rows.values())
    printed = "batches from the cache: 45.2 times ImageFolder + DataLoader (bar 20)\n"
    ratio = next(r for r in ratios.RATIOS if r.bench == "data_speed")
    assert ratios.row(ratio, printed, "today") == f"| {ratio.what} | 45.2 | today |"
    with pytest.raises(SystemExit, match="printed nothing"):
        ratios.row(ratio, "", "today")
    names = {r.bench for r in ratios.RATIOS}
    assert all((ROOT / "bench" / f"{name}.py").is_file() for name in names)


# ---- commands that a page names

COMMAND = re.compile(r"(?:\.venv[/\\](?:bin|Scripts)[/\\])?(gannb [a-z].*)")


def named_commands(text: str) -> list[str]:
    "What a page tells a reader to type: lines of code blocks, and code inside sentences."
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))
    return [line.strip() for found in (*blocks, *inline) for line in found.splitlines() if line.strip()]


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_exists(page, capsys):
    from gannb.cli import parser

    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for command in named_commands((ROOT / page).read_text(encoding="utf-8")):
        command = re.sub(r"^(?:[A-Z_]+=\S+ )+", "", command)
        if command.startswith("make "):
            asked = [w for w in command.split()[1:] if "=" not in w]
            assert asked and set(asked) <= set(targets), command
        if hit := COMMAND.match(command):
            given = shlex.split(hit[1])[1:]
            if "--help" in given:
                continue
            try:
                parser().parse_args(given)
            except SystemExit:
                raise AssertionError(f"{page}: {command}\n{capsys.readouterr().err}") from None


def test_commands_are_found_on_a_page():
    text = "Do `gannb data list`, or:\n\n```sh\nmake test\nGANNB_DATA=x gannb train y\n```\n"
    assert named_commands(text) == ["make test", "GANNB_DATA=x gannb train y", "gannb data list"]


# ---- the summaries of the reference results


@pytest.fixture(scope="module")
def summary():
    spec = importlib.util.spec_from_file_location("summary", ROOT / "tools" / "summary.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


REFERENCES = sorted(p.parent.name for p in (ROOT / "outputs" / "reference").glob("*/claims.json"))


@pytest.mark.parametrize("paper", REFERENCES)
def test_a_committed_summary_is_what_its_claims_make(summary, paper):
    folder = ROOT / "outputs" / "reference" / paper
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert text == summary.summary_text(paper), f"run: python tools/dev.py summary {paper}"
    claims = json.loads((folder / "claims.json").read_text(encoding="utf-8"))
    rows = [line for line in text.splitlines() if line.startswith("| ") and line.count("|") == 5]
    assert all(sum(r.startswith(f"| {summary.cell(c['short'])}") for r in rows) >= 1 for c in claims)
    assert f"gannb ledger check {paper}" in text and summary.headline(claims) in text


@pytest.mark.parametrize("paper", REFERENCES)
def test_a_committed_forest_is_what_its_claims_draw(summary, paper, tmp_path):
    committed = Image.open(ROOT / "outputs" / "reference" / paper / summary.FOREST)
    drawn = Image.open(summary.draw_forest(summary.record(paper, "claims"), tmp_path / "f.png"))
    assert drawn.size == committed.size and drawn.text == committed.text
    ours, theirs = (np.asarray(x.convert("RGB"), int) for x in (drawn, committed))
    other = (np.abs(ours - theirs).max(2) > 48).mean()  # a single name in another colour is 0.0005
    assert other < 0.0002, f"{other:.5f} of it differs: run python tools/dev.py summary {paper}"


def test_a_summary_follows_its_claims(summary, tmp_path, monkeypatch):
    paper = REFERENCES[0]
    shutil.copytree(ROOT / "outputs" / "reference" / paper, tmp_path / paper)
    monkeypatch.setattr(summary, "REFERENCE", tmp_path)
    path = tmp_path / paper / "claims.json"
    claims = json.loads(path.read_text(encoding="utf-8"))
    claims[0] |= {
        "short": "A claim | of two parts",
        "group": "A part of its own",
        "here": "KID 0.5 [0.4, 0.6]",
    }
    claims[0] |= {"verdict": "inconclusive", "published": "n/a (the paper gives no number)", "about": "claim"}
    path.write_text(json.dumps(claims), encoding="utf-8")
    text = summary.summary_text(paper)
    assert "| **A part of its own** |" in text
    assert "| A claim / of two parts | – | KID 0.5 [0.4, 0.6] | ~ inconclusive |" in text
    asked = [{**c, "finding": None, "rank": None} for c in claims]
    asked[3] |= {"finding": "the fourth", "rank": 2, "verdict": "reproduced"}
    asked[4] |= {"finding": "the fifth", "rank": 1, "verdict": "inconclusive"}
    asked[5] |= {"finding": "the sixth", "rank": 3, "verdict": "not testable here"}
    path.write_text(json.dumps(asked), encoding="utf-8")
    assert [c["finding"] for c in summary.telling(paper)] == ["the fifth", "the fourth"]


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
@pytest.mark.parametrize("free, warned", [(2, True), (40, False)])
def test_a_nearly_full_disk_is_said_before_the_installation(setup, tmp_path, free, warned):
    df = tmp_path / "bin" / "df"
    df.parent.mkdir()
    df.write_text(f"#!/bin/sh\nprintf 'Filesystem 1024-blocks Used Available\\n/dev/x 0 0 {free << 20}\\n'\n")
    df.chmod(0o755)
    done = setup.make("install", PATH=f"{df.parent}{os.pathsep}{os.environ['PATH']}")
    assert done.returncode == 0, done.stderr
    assert (f"Only {free} GB are free" in done.stderr) == warned


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
    "target",
    [
        "install",
        "reproduce",
        "test",
        "test-browser",
        "test-storm",
        "docs",
        "lab",
        "eyes",
        "bench",
        "prepare",
        "clean",
        "help",
    ],
)
def test_make_knows(setup, target):
    assert setup.make("-n", target).returncode == 0
