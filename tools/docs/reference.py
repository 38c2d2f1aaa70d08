"""The reference, read from the package's source: nothing is imported, so what stands there is what is shown.

Parameters are commented in nbdev's way, each on a line of its own:
    x: Tensor,  # (N, C, size, size) in [-1, 1]"""

import ast
import io
import re
import textwrap
import tokenize
from pathlib import Path
from typing import NamedTuple

LONGEST = 260  # letters of a constant's value that are shown
FENCE = "`````"
Function = ast.FunctionDef | ast.AsyncFunctionDef


class Module(NamedTuple):
    "A module of the package as its file says it."

    name: str  # gannb.sample
    source: str
    tree: ast.Module
    comments: dict[int, str]  # line -> the words behind its last #
    public: list[str]  # __all__

    @property
    def words(self) -> str:
        return ast.get_docstring(self.tree) or ""


def comments_of(source: str) -> dict[int, str]:
    "The comment at the end of each line of code."
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    lines = source.splitlines()
    return {
        token.start[0]: token.string.lstrip("# ").strip()
        for token in tokens
        if token.type == tokenize.COMMENT and lines[token.start[0] - 1].split("#")[0].strip()
    }


def public_names(tree: ast.Module) -> list[str]:
    "What `__all__` names; nothing where a module has none."
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    return []


def read_module(path: Path, package: Path) -> Module:
    "The module of a file of the package."
    name = ".".join(path.relative_to(package.parent).with_suffix("").parts)
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    return Module(name, source, tree, comments_of(source), public_names(tree))


def modules(package: Path) -> list[Module]:
    "Every module of the package that was exported from a notebook and has something public."
    paths = [p for p in sorted(package.rglob("*.py")) if not p.name.startswith("_")]
    return [module for path in paths if (module := read_module(path, package)).public]


def assigned(target: ast.expr) -> list[str]:
    "The names that an assignment makes: one, or those of `a, b = 1, 2`."
    parts = target.elts if isinstance(target, ast.Tuple) else [target]
    return [part.id for part in parts if isinstance(part, ast.Name)]


def value_of(name: str, node: ast.Assign | ast.AnnAssign) -> str:
    "What a name is assigned, as it is written."
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    target = next(t for t in targets if name in assigned(t))
    if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
        return ast.unparse(node.value.elts[assigned(target).index(name)])
    return ast.unparse(node.value) if node.value else ""


def definitions(module: Module) -> list[tuple[str, ast.stmt]]:
    "The public names of a module and where they are made, in the order of the file."
    found = []
    for node in module.tree.body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                names = [node.name]
            case ast.Assign():
                names = [name for target in node.targets for name in assigned(target)]
            case ast.AnnAssign():
                names = assigned(node.target)
            case ast.ImportFrom():
                names = [alias.asname or alias.name for alias in node.names]
            case _:
                names = []
        found += [(name, node) for name in names if name in module.public]
    return found


# ---- one function


def parameters(node: Function) -> list[ast.arg]:
    "The parameters of a function in order, without `self`."
    args = node.args
    found = [*args.posonlyargs, *args.args, args.vararg, *args.kwonlyargs, args.kwarg]
    return [a for a in found if a and a.arg not in ("self", "cls")]


def signature(node: Function) -> str:
    "`(z: Tensor, batch: int = 256) -> ndarray`, without `self`."
    args = ast.unparse(node.args)
    args = re.sub(r"^(?:self|cls)(?:,\s*|$)", "", args)
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"({spaced(args)}){returns}"


def spaced(args: str) -> str:
    "`a: int=3` as it is written by hand: `a: int = 3`."
    return re.sub(r"(:\s*[^=,()]+(?:\[[^=]*\])?[^=,()]*)=(?!=)", r"\1 = ", args)


def told(node: Function, comments: dict[int, str]) -> tuple[list[tuple[str, str]], str, str]:
    """What the comments say: of each parameter (name, words), of what comes back, of a function on one line.

    On one line it cannot be told which of them is meant."""
    args = parameters(node)
    back = node.returns.end_lineno if node.returns else node.lineno
    if back == node.lineno:
        return [], "", comments.get(node.lineno, "")
    lines = [a.lineno for a in args]
    rows = [(a.arg, comments.get(a.end_lineno, "") if lines.count(a.lineno) == 1 else "") for a in args]
    returns = comments.get(back, "") if node.returns and back not in lines else ""
    return rows, returns, ""


def paragraphs(words: str) -> str:
    "A docstring as Markdown: what is raised stands in a paragraph of its own."
    words = textwrap.dedent(words).strip()
    return re.sub(r"(?:(?<=^)|(?<=[.\n;] )|(?<=\n))Raises(?= )", "\n\n**Raises**", words)


def table(rows: list[tuple[str, str]], heads: tuple[str, str]) -> str:
    "Rows in Markdown, the first cell as code; nothing for no rows."
    if not rows:
        return ""
    cells = [(f"`{name}`", words.replace("|", "\\|")) for name, words in rows]
    lines = [heads, ("---", "---"), *cells]
    return "\n".join(f"| {a} | {b} |" for a, b in lines)


def directive(kind: str, head: str, module: str, parts: list[str]) -> str:
    "A named thing of the Python domain with what stands under it."
    inside = "\n\n".join(part for part in parts if part)
    fence = FENCE + ("``" if kind == "class" else "")
    return f"{fence}{{py:{kind}}} {head}\n:module: {module}\n\n{inside}\n{fence}"


def source(name: str, lesson: str) -> str:
    "The way to the code of a public name, in the lesson where it is written."
    return f'<a class="source" href="{lesson}#source-{name}">source</a>'


def function(module: Module, node: Function, kind: str = "function", code: str = "") -> str:
    "A function or method: signature, words, parameters with shapes and units, what comes back."
    rows, returns, line = told(node, module.comments)
    rows = [row for row in rows if row[1]]
    rows += [("returns", returns)] if returns else []
    words = paragraphs(ast.get_docstring(node) or "")
    beside = f"*{line[0].upper() + line[1:]}.*" if line else ""
    parts = [code, words, beside, table(rows, ("parameter", "what it is"))]
    head = node.name if kind == "property" else node.name + signature(node)
    return directive(kind, head, module.name, parts)


# ---- one class, one constant


def fields(module: Module, node: ast.ClassDef) -> list[tuple[str, str]]:
    "The fields that a class lists, each with its type, its first value and its comment."
    rows = []
    for item in node.body:
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            name, kind = item.target.id, ast.unparse(item.annotation)
            if name.startswith("_") or kind.startswith("ClassVar"):
                continue
            value = f" = {ast.unparse(item.value)}" if item.value else ""
            comment = module.comments.get(item.end_lineno, "")
            rows.append((f"{name}: {kind}{value}", comment))
    return rows


def methods(node: ast.ClassDef) -> list[Function]:
    "The methods of a class that are for its users."
    return [m for m in node.body if isinstance(m, Function) and not m.name.startswith("_")]


def is_property(node: Function) -> bool:
    return any("property" in ast.unparse(d) for d in node.decorator_list)


def class_(module: Module, node: ast.ClassDef, code: str) -> str:
    "A class: how it is made, its fields, its methods."
    first = next((m for m in node.body if isinstance(m, Function) and m.name == "__init__"), None)
    rows = [r for r in told(first, module.comments)[0] if r[1]] if first else []
    head = node.name + (signature(first).removesuffix(" -> None") if first else "")
    parts = [
        code,
        paragraphs(ast.get_docstring(node) or ""),
        table(rows, ("parameter", "what it is")),
        table(fields(module, node), ("field", "what it is")),
        *(function(module, m, "property" if is_property(m) else "method") for m in methods(node)),
    ]
    return directive("class", head, module.name, parts)


def constant(module: Module, name: str, node: ast.Assign | ast.AnnAssign, code: str) -> str:
    "A constant: its value, cut where it is long, and its comment."
    value = value_of(name, node)
    value = value if len(value) <= LONGEST else value[:LONGEST].rsplit(" ", 1)[0] + " ..."
    above = module.source.splitlines()[node.lineno - 2].strip() if node.lineno > 1 else ""
    above = above.lstrip("# ") if above.startswith("#") and not above.startswith("# %%") else ""
    words = module.comments.get(node.lineno, "") or above
    shown = f"```python\n{value}\n```" if value else ""
    return directive("data", name, module.name, [code, words, shown])


def handed_on(module: Module, name: str) -> str:
    "A public name that a module has from another one: where it is explained."
    full = meanings(module)[name]
    home = full.rpartition(".")[0]
    words = f'The same as <a href="{home}.html#{full}"><code>{full}</code></a>.'
    return directive("data", name, module.name, [words])


def entry(module: Module, name: str, node: ast.stmt, lesson: str) -> str:
    "What the reference says of one public name."
    code = source(name, lesson)
    match node:
        case ast.ClassDef():
            return class_(module, node, code)
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return function(module, node, code=code)
        case ast.ImportFrom():
            return handed_on(module, name)
        case _:
            return constant(module, name, node, code)


def page(module: Module, lesson: str) -> str:
    "The reference page of a module in Markdown; `lesson`: the address of its notebook's page."
    entries = [entry(module, name, node, lesson) for name, node in definitions(module)]
    where = (
        f'*<a href="{lesson}">The lesson</a> that this module is written in: why it is so, with examples.*'
    )
    return "\n\n".join([f"# {module.name}", module.words, where, *entries]) + "\n"


# ---- what a name in a signature means


def meanings(module: Module) -> dict[str, str]:
    "Names of the package as a module uses them -> their full names."
    found = {name: f"{module.name}.{name}" for name, _ in definitions(module)}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom):
            above = module.name.split(".")[: -node.level] if node.level else []
            home = ".".join([*above, *([node.module] if node.module else [])])
            if home.split(".")[0] == "gannb":
                found |= {alias.asname or alias.name: f"{home}.{alias.name}" for alias in node.names}
    return found
