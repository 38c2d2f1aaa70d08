"""The hash of all code that a stored number can depend on.

A stage names its entry functions; what they use of the package, and what that uses, is followed by name. So nobody
keeps a list by hand, and a private helper that computes is never forgotten. Docstrings, comments, annotations and
positions do not count; neither does what only stores, draws, words errors or checks settings (`WITHOUT`: what a
setting says is part of the key of what is stored, and so is the fingerprint of the images).

In a test:

    KNOWN = {1: "0123456789abcdef"}  # version -> hash

    ENTRIES = (("stages.gan", "train_run"),)

    def test_stage_version_names_this_code():
        stagehash.check("GAN_VERSION", GAN_VERSION, KNOWN, *ENTRIES)

(or SOME_KNOWN with SOME_ENTRIES, where a file has several).

`python tests/stagehash.py` prints which recorded hashes are out of date; with `--record` it writes the new ones into
the tests. Record only where the values stay the same; else raise the version first.
"""

import argparse
import ast
import hashlib
import importlib
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "gannb"
WITHOUT = (
    "store.",
    "plot.",
    "fetch.",
    "config.",
    "datasets.",
    "base.GannbError",
    "base.Missing",
    "base.check_choice",
    "base.nearest",
    "base.fmt_",
    "base.stable_hash",
)
ANNOTATIONS = ("annotation", "returns", "type_comment", "type_params")  # fields of nodes that compute nothing
Name = tuple[str, str]  # module, name in it


def shape(node) -> list | str:
    "A syntax tree as nested lists, without positions, comments, docstrings and annotations."
    if isinstance(node, list):
        return [shape(v) for v in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = [(k, v) for k, v in ast.iter_fields(node) if k not in ANNOTATIONS]
    fields = [(k, v) for k, v in fields if v not in (None, [])]  # what a newer Python adds is empty
    if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
        fields = [(k, v[1:] if k == "body" else v) for k, v in fields]
    return [type(node).__name__, *[[k, shape(v)] for k, v in fields]]


class Package:
    "Every top-level name of a package, and what each module calls it."

    def __init__(self, root: Path):
        self.package = "gannb"
        self.defs: dict[str, dict[str, ast.stmt]] = {}  # module -> name -> its definition
        self.imported: dict[str, dict[str, Name]] = {}  # module -> name -> where it comes from
        for path in sorted(root.rglob("*.py")):
            module = ".".join(path.relative_to(root).with_suffix("").parts)
            if path.name in ("__init__.py", "_modidx.py"):
                continue
            self.defs[module], self.imported[module] = {}, {}
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for node in tree.body:
                self._define(module, node)
            for node in ast.walk(tree):  # imports inside functions count too
                if isinstance(node, ast.ImportFrom):
                    self._import(module, node)

    def _define(self, module: str, node: ast.stmt) -> None:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            self.defs[module][node.name] = node
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        if isinstance(node, ast.Assign | ast.AnnAssign):
            names = [part for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)]
            self.defs[module] |= {part.id: node for part in names if part.id != "__all__"}

    def _import(self, module: str, node: ast.ImportFrom) -> None:
        if node.level:
            parts = module.split(".")[: -node.level] + (node.module or "").split(".")
        elif (node.module or "").split(".")[0] == self.package:
            parts = node.module.split(".")[1:]
        else:
            return
        base = ".".join(p for p in parts if p)
        for alias in node.names:
            self.imported[module][alias.asname or alias.name] = (base, alias.name)

    def find(self, module: str, name: str) -> tuple[str, str | None] | None:
        "Where a name is defined, followed through imports; (module, None) for a module; None for what is not ours."
        if name in self.defs.get(module, {}):
            return module, name
        if name not in self.imported.get(module, {}):
            return None
        base, original = self.imported[module][name]
        whole = f"{base}.{original}".strip(".")
        return (whole, None) if whole in self.defs else self.find(base, original)

    def _used(self, module: str, node: ast.AST) -> tuple[str, str | None] | None:
        "What a node of a syntax tree refers to."
        if isinstance(node, ast.Name):
            return self.find(module, node.id)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            home = self.find(module, node.value.id)
            if home and home[1] is None:
                return self.find(home[0], node.attr)
        return None

    def closure(self, entries) -> list[Name]:
        "Every (module, name) that the entries use, themselves included."
        seen: set[Name] = set()
        todo = list(entries)
        while todo:
            module, name = todo.pop()
            if (module, name) in seen:
                continue
            seen.add((module, name))
            for node in ast.walk(self.defs[module][name]):  # annotations too: `run: GanRun` uses G
                hit = self._used(module, node)
                if hit and hit[1] and not f"{hit[0]}.{hit[1]}".startswith(WITHOUT):
                    todo.append(hit)
        return sorted(seen)


def code_hash(*entries: Name, root: Path = PACKAGE) -> str:
    "The hash of everything that the entries use. Raises `KeyError` for an entry that is not there."
    package = Package(root)
    shapes = [[module, name, shape(package.defs[module][name])] for module, name in package.closure(entries)]
    return hashlib.sha256(json.dumps(shapes).encode()).hexdigest()[:16]


def check(what: str, version: int, known: dict[int, str], *entries: Name) -> None:
    "Fails when the code behind a stage is not the one that was recorded under its version."
    found = code_hash(*entries)
    assert known.get(version) == found, (
        f"The code behind {what} = {version} changed: its hash is {found}, recorded is {known.get(version)}. "
        f"If it computes something else, raise {what}, so that nothing stored before is taken for new; "
        "if every value stays the same, say so in CHANGELOG. "
        "Then `python tests/stagehash.py --record` writes the new hash."
    )


def recorded() -> list[tuple[Path, str, int, str, str]]:  # test file, name of the list, version, old, new
    "All lists `KNOWN` beside `ENTRIES` in the tests, with the hash of today's code."
    out = []
    for path in sorted(ROOT.glob("tests/test_*.py")):
        if "stagehash.check(" not in path.read_text(encoding="utf-8"):
            continue
        test = importlib.import_module(path.stem)
        for name in [n for n in vars(test) if n == "KNOWN" or n.endswith("_KNOWN")]:
            entries = getattr(test, name.replace("KNOWN", "ENTRIES"))
            version, old = max(getattr(test, name).items())
            out.append((path, name, version, old, code_hash(*entries)))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description="Are the recorded hashes of the stages up to date?")
    parser.add_argument(
        "--record", action="store_true", help="write the hashes of today's code into the tests"
    )
    record = parser.parse_args().record
    sys.path.insert(0, str(ROOT / "tests"))
    for path, name, version, old, new in recorded():
        print(f"{path.name} {name}[{version}]: {old} " + ("is right" if old == new else f"is now {new}"))
        if record and old != new:
            text = path.read_text(encoding="utf-8")
            entry = re.compile(rf'(\b{name} = \{{.*?\b{version}: ")[^"]*(")', re.DOTALL)
            path.write_text(entry.sub(rf"\g<1>{new}\g<2>", text, count=1), encoding="utf-8")


if __name__ == "__main__":
    main()
