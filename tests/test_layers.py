"Who may import whom: a notebook imports only from lower numbers, and its module only what this table names."

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
GROUND = ("base",)
STORES = ("base", "store")
PARTS = "store plot records fetch layout pixels tars files data datasets augment models damage".split()
PARTS += "train sample features metrics copies extract probes classify layers similar".split()
LEDGER = "intervals words claims table said rules controls names judge network check distance people".split()
LEDGER = [f"ledger.{room}" for room in LEDGER]
BELOW_STAGES = ("base", "ctrl_c", *PARTS, "ledger", "typed", "config")
RUNS = ("stages.run", "stages.gan", "stages.grid", "stages.arms")
SCORES = (*RUNS, "stages.features", "stages.judges", "stages.score")
REPORT = ("base", "store", "plot", "ledger", "config")
BELOW_STUDIES = (*BELOW_STAGES, "stages", "report")
# room -> (number of its notebook, what its module may import). A name stands for all rooms inside it.
TABLE = {
    "base": (0, ()),
    "ctrl_c": (0, ()),
    "store": (1, GROUND),
    "plot": (2, STORES),
    "records": (2, STORES),
    "fetch": (3, STORES),
    "pixels": (3, GROUND),
    "tars": (3, STORES),
    "layout": (3, GROUND),
    "files": (3, (*GROUND, "layout", "pixels", "tars")),
    "data": (3, (*STORES, "plot", "layout")),
    "datasets": (
        4,
        (*STORES, "data", "files", "fetch", "pixels", "layout", "tars"),
    ),  # tars: what an archive may do
    "augment": (5, GROUND),
    "models": (6, GROUND),
    "damage": (7, GROUND),
    "train": (8, (*GROUND, "models")),
    "sample": (9, GROUND),
    "features": (10, (*GROUND, "damage")),
    "metrics": (11, (*GROUND, "features")),  # features: `one_thread`
    "copies": (12, (*GROUND, "metrics")),
    "extract": (12, GROUND),
    "probes": (12, GROUND),
    "classify": (12, (*GROUND, "data", "features", "probes")),
    "layers": (12, (*GROUND, "classify")),
    "similar": (12, GROUND),
    "ledger.intervals": (13, GROUND),
    "ledger.words": (13, (*GROUND, *LEDGER[:1])),
    "ledger.claims": (13, (*GROUND, *LEDGER[:2])),
    "ledger.table": (13, (*GROUND, *LEDGER[:3])),
    "ledger.said": (13, (*GROUND, *LEDGER[:4])),
    "ledger.rules": (13, (*GROUND, *LEDGER[:5])),
    "ledger.controls": (13, (*GROUND, *LEDGER[:6])),
    "ledger.names": (13, (*GROUND, *LEDGER[:7])),
    "ledger.people": (13, (*GROUND, *LEDGER[:4])),
    "ledger.judge": (13, (*GROUND, *LEDGER[:8], "ledger.people")),
    "ledger.network": (13, (*GROUND, *LEDGER[:9])),
    "ledger.check": (13, (*GROUND, *LEDGER[:10])),
    "ledger.distance": (13, (*GROUND, *LEDGER[:3])),
    "typed": (14, ()),
    "config": (14, (*STORES, "records", "datasets", "typed")),
    "stages.run": (15, BELOW_STAGES),
    "stages.live": (15, BELOW_STAGES),
    "stages.gan": (15, (*BELOW_STAGES, "stages.run", "stages.live")),
    "stages.given": (15, (*BELOW_STAGES, "stages.run")),
    "stages.grid": (15, (*BELOW_STAGES, "stages.run", "stages.gan")),
    "stages.cluster": (15, (*BELOW_STAGES, *RUNS[:3])),
    "stages.arms": (15, (*BELOW_STAGES, *RUNS[:3], "stages.cluster")),
    "stages.features": (15, (*BELOW_STAGES, *RUNS)),
    "stages.judges": (15, (*BELOW_STAGES, *RUNS, "stages.features")),
    "stages.score": (15, (*BELOW_STAGES, *RUNS, "stages.features", "stages.judges")),
    **{
        f"stages.{room}": (15, (*BELOW_STAGES, *SCORES))
        for room in "memory discriminator pictures classifier tables classes coarse conditional".split()
    },
    "stages.probes": (15, (*BELOW_STAGES, *SCORES)),
    "stages.controls": (15, (*BELOW_STAGES, *SCORES, "stages.classifier")),
    "stages.accuracy": (15, (*BELOW_STAGES, *SCORES, "stages.classifier")),
    "stages.reader": (15, (*BELOW_STAGES, *SCORES, "stages.classifier")),
    "stages.layers": (15, (*BELOW_STAGES, *SCORES, "stages.classifier")),
    "stages.ladder": (15, (*BELOW_STAGES, *SCORES, "stages.classifier", "stages.controls")),
    "stages.attacks": (15, (*BELOW_STAGES, *SCORES, "stages.classifier", "stages.controls")),
    "stages.course": (15, (*BELOW_STAGES, *SCORES, "stages.controls")),
    "stages.worth": (15, (*BELOW_STAGES, *SCORES, "stages.classes", "stages.classifier")),
    "stages.cards": (15, (*BELOW_STAGES, "stages")),
    "report.numbers": (16, REPORT),
    "report.blocks": (16, (*REPORT, "report.numbers")),
    "report.tracks": (16, (*REPORT, "report.numbers", "report.blocks")),
    "report.verdict": (16, (*REPORT, "report.numbers", "report.blocks", "report.tracks")),
    "report.page": (16, (*REPORT, "report")),
    "report.site": (16, (*REPORT, "report")),
    "studies.study": (17, BELOW_STUDIES),
    "studies.registry": (17, ("base", "config", "report.page", "studies.study")),
    "commands": (18, (*BELOW_STUDIES, "studies")),
    "widgets": (19, (*BELOW_STUDIES, "studies", "commands")),
    "start": (21, ("base", "ctrl_c", "cli")),
    "cli": (20, (*BELOW_STUDIES, "studies", "commands", "widgets")),
}
# The rooms of one paper: its plan knows no torch, its rows train and measure, its show shows what came out,
# its words say it.
PAPER_ROOMS = {
    "plan": ("base", "config"),
    "side": (*BELOW_STUDIES, "studies.study", "plan"),
    "rows": (*BELOW_STUDIES, "studies.study", "plan", "side"),
    "words": (*BELOW_STUDIES, "studies.study", "plan", "side", "rows"),
    "show": (*BELOW_STUDIES, "studies.study", "plan", "side", "rows", "words"),
}
PAPERS = sorted(p.stem for p in (ROOT / "papers").glob("*.yaml"))
for _paper in PAPERS:
    for _room, _rooms in PAPER_ROOMS.items():
        _own = [f"studies.{_paper}.{r}" if r in PAPER_ROOMS else r for r in _rooms]
        TABLE[f"studies.{_paper}.{_room}"] = (17, tuple(_own))
    _number, _rooms = TABLE["studies.registry"]
    TABLE["studies.registry"] = (_number, (*_rooms, f"studies.{_paper}.plan"))
NUMBER = {room: number for room, (number, _) in TABLE.items()}
MAY_IMPORT = {room: rooms for room, (_, rooms) in TABLE.items()}
WITHOUT_TORCH = {"base", "store", "plot", "records", "layout", "data", "files", "fetch", "datasets"}
WITHOUT_TORCH |= {"damage", "typed", "config"}
WITHOUT_TORCH |= {"studies.registry"}
WITHOUT_TORCH |= set(LEDGER) | {room for room in TABLE if room.endswith(".plan")}
NEEDS_TORCH = {"torch", "torchvision", "torchmetrics", "torch_fidelity", "timm", "safetensors.torch"}
ONLY_FOR_DEVELOPERS = {"nbdev", "fastcore", "execnb", "ghapi", "pytest"}


def room_of(module: str) -> str | None:
    """The room of a module (`gannb.` taken off): a room may have rooms of its own, `stages.gan`
    belongs to `stages`."""
    return next(
        (r for r in sorted(NUMBER, key=len, reverse=True) if module == r or module.startswith(r + ".")), None
    )


def imports(tree: ast.Module, package: str = "gannb", at_load: bool = False) -> set[str]:
    """Full names of all that a module imports, `from a import b` as `a.b`; relative names are
    resolved against `package`.
    `at_load`: only what runs when the module is imported (not what stands in functions or
    under TYPE_CHECKING)."""
    found, todo = set(), list(tree.body)
    while todo:
        node = todo.pop()
        if at_load and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if at_load and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            todo += node.orelse
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            found |= {f"{base}.{alias.name}" for alias in node.names}
        todo += ast.iter_child_nodes(node)
    return found


def rooms_used(names: set[str]) -> set[str]:
    "The rooms of gannb among imported names; an unknown one is given as `?name`."
    inside = {n.removeprefix("gannb.") for n in names if n.startswith("gannb.")} - {"__version__"}
    return {room_of(n) or f"?{n}" for n in inside}


def may_import(room: str, other: str) -> bool:
    "May `room` import `other`, by its own name or as a room inside one that is allowed?"
    return any(other == allowed or other.startswith(allowed + ".") for allowed in MAY_IMPORT[room_of(room)])


def uses(names: set[str], packages: set[str]) -> set[str]:
    return {n for n in names if any(n == p or n.startswith(p + ".") for p in packages)}


def faults(room: str, source: str, package: str = "gannb") -> list[str]:
    "What is wrong with the imports of one module."
    tree = ast.parse(source)
    everything = imports(tree, package)
    wrong = [
        f"imports {r}, which the table does not allow"
        for r in sorted(rooms_used(everything) - {room_of(room)})
        if not may_import(room, r)
    ]
    wrong += [
        f"imports {n}: users of the package do not have it"
        for n in sorted(uses(everything, ONLY_FOR_DEVELOPERS))
    ]
    if room_of(room) in WITHOUT_TORCH:
        wrong += [
            f"imports {n} when loaded; only functions may"
            for n in sorted(uses(imports(tree, package, at_load=True), NEEDS_TORCH))
        ]
    return wrong


MODULES = {
    p.relative_to(ROOT / "gannb").with_suffix("").as_posix().replace("/", "."): p
    for p in sorted((ROOT / "gannb").rglob("*.py"))
    if p.name not in ("__init__.py", "_modidx.py")
}
NOTEBOOKS = sorted(p for p in (ROOT / "nbs").glob("*.ipynb") if p.name != "index.ipynb")


def test_there_is_something_to_check():
    assert "base" in MODULES and NOTEBOOKS


@pytest.mark.parametrize("module", MODULES)
def test_module_keeps_to_the_table(module):
    room = room_of(module)
    assert room, f"gannb/{MODULES[module].name}: no room of the table in DESIGN; add it there and here"
    package = ".".join(["gannb", *module.split(".")[:-1]])
    assert not (wrong := faults(room, MODULES[module].read_text(encoding="utf-8"), package)), (
        f"gannb.{module}: " + "; ".join(wrong)
    )


def test_packages_are_empty():
    for init in (ROOT / "gannb").rglob("__init__.py"):
        assert not imports(ast.parse(init.read_text(encoding="utf-8"))), (
            f"{init.relative_to(ROOT)} must import nothing"
        )


def code_of(notebook: Path) -> str:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    return "\n".join(
        "pass" if re.match(r"\s*(%%?[A-Za-z]|![^=])", line) else line for line in code.splitlines()
    )


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda p: p.name)
def test_notebook_stands_where_its_number_says(notebook):
    """Number and name as in the table, one module of that name, and nothing from higher numbers
    even in its examples."""
    number, room = re.fullmatch(r"(\d\d)_(.+)", notebook.stem).groups()
    assert room_of(room), f"{notebook.name}: no room of the table"
    assert int(number) == NUMBER[room_of(room)], (
        f"{notebook.name}: the table gives number {NUMBER[room_of(room)]:02}"
    )
    code = code_of(notebook)
    assert re.findall(r"^#\|\s*default_exp\s+(\S+)", code, re.MULTILINE) == [room]
    used = rooms_used(imports(ast.parse(code)))
    higher = sorted(r for r in used if r not in NUMBER or NUMBER[r] > int(number))
    assert not higher, f"{notebook.name} imports {', '.join(higher)}"


def string_constants(source: str) -> set[str]:
    return {
        n.value
        for n in ast.walk(ast.parse(source))
        if isinstance(n, ast.Constant) and isinstance(n.value, str)
    }


@pytest.mark.parametrize(
    "module", [m for m in MODULES if NUMBER.get(room_of(m), 99) < NUMBER["studies.study"]]
)
def test_nothing_below_the_studies_names_a_paper(module):
    named = string_constants(MODULES[module].read_text(encoding="utf-8")) & set(PAPERS)
    assert not named, (
        f"gannb.{module} names {', '.join(sorted(named))}: what only one paper has lives in studies/"
    )


def test_no_cycles():
    graph = {
        m: {
            x
            for n in imports(
                ast.parse(p.read_text(encoding="utf-8")), ".".join(["gannb", *m.split(".")[:-1]])
            )
            for x in MODULES
            if x != m and (n == f"gannb.{x}" or n.startswith(f"gannb.{x}."))
        }
        for m, p in MODULES.items()
    }
    while ready := [m for m in graph if not graph[m]]:
        for m in ready:
            del graph[m]
        for m in graph:
            graph[m] -= set(ready)
    assert not graph, f"these modules import each other: {graph}"


def test_light_modules_load_without_torch():
    "Also through third parties: what the sources do not show."
    light = [m for m in MODULES if room_of(m) in WITHOUT_TORCH]
    code = (
        f"import sys\nfor m in {light!r}: __import__('gannb.' + m)\n"
        "assert 'torch' not in sys.modules, 'torch was loaded'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "room, source, word",
    [
        ("base", "from gannb.store import atomic_write", "store"),
        ("base", "from .store import atomic_write", "store"),
        ("base", "from . import store", "store"),
        ("base", "def f():\n    import gannb.cli", "cli"),
        ("report.page", "from gannb.train import train_gan", "train"),
        ("report.numbers", "from gannb.report.page import Report", "report.page"),
        ("report.tracks", "from gannb.report.verdict import claim_block", "report.verdict"),
        ("ledger.words", "from gannb.ledger.judge import judge", "ledger.judge"),
        ("stages.run", "from gannb.stages.score import score", "stages.score"),
        ("stages.score", "from gannb.report.page import Report", "report.page"),
        ("stages.cards", "from gannb.studies.fruits.rows import arms", "studies.fruits.rows"),
        ("studies.study", "from gannb.studies.registry import REPORTS", "studies.registry"),
        ("studies.registry", "from gannb.studies.fruits.rows import arms", "studies.fruits.rows"),
        ("studies.fruits.plan", "from gannb.stages.arms import Arm", "stages.arms"),
        (
            "studies.fruits.rows",
            "from gannb.studies.dataset_study.rows import arms",
            "studies.dataset_study.rows",
        ),
        ("stages.run", "from gannb.elsewhere import x", "?elsewhere"),
        ("base", "import torch", "torch"),
        ("data", "try:\n    from torch import nn\nexcept ImportError: pass", "torch.nn"),
        ("store", "class A:\n    import safetensors.torch", "safetensors.torch"),
        ("train", "def f():\n    from fastcore.basics import patch", "fastcore"),
    ],
)
def test_the_check_finds(room, source, word):
    assert any(f"imports {word}" in w for w in faults(room, source)), faults(room, source)


@pytest.mark.parametrize(
    "room, source",
    [
        (
            "base",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\n"
            "def f():\n    import torch",
        ),
        ("data", "from .store import sha256_file\nfrom gannb.plot import grid"),
        ("stages.score", "from .train import train_gan\nfrom gannb.stages.judges import Scorer"),
        ("commands", "from gannb.studies.fruits.rows import arms"),
        ("train", "import torch\nfrom torch import nn"),
    ],
)
def test_the_check_lets_pass(room, source):
    assert faults(room, source) == []


def test_the_check_resolves_relative_names_in_subpackages():
    assert faults("models.dcgan", "from ..base import check_size", "gannb.models") == []
    assert faults("models.dcgan", "from ..store import write_json", "gannb.models")
