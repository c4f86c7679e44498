"""Structure of a checkout, measured with ``ast``: sizes, calls, comments, layers, private words.

    python benchmarks/structure.py BEFORE AFTER [--json structure.json]

prints one table with a column per checkout and the goals that the tests hold. Measured are the
Python files below ``genrec``, ``agents`` and ``envs``, links not followed. Percentiles are
nearest-rank, the median is the 50th. The docstring of the function of a row defines it.
"""

import argparse
import ast
import functools
import io
import json
import math
import os
import re
import tokenize
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

PACKAGE = ("genrec", "agents", "envs")
TEXTS = (*PACKAGE, "benchmarks", "configs", "docs", "examples", "tests")
WORDS = Path(__file__).with_name("private_words.toml")
LISTS = (WORDS.name, "test_structure.py", "test_words.py")  # They quote private words.
SKIPPED = re.compile(r"\..*|.*\.egg-info|__pycache__|build|dist|runs|_build")
GOALS = {  # The largest value that the tests accept.
    "longest file": 396,
    "calls with 5+ positional arguments per 1,000 calls": 5,
    "longest line": 100,
    "lines over 100 columns": 0,
    "deepest comprehension": 2,
    "modules and packages under genrec": 20,
    "layers in the import contract": 11,
    "private words": 0,
}
COMPREHENSION = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)

Function = ast.FunctionDef | ast.AsyncFunctionDef
Values = dict[str, float]


def main() -> None:
    """Print the table of one or more checkouts, and write it as JSON where asked."""
    parser = argparse.ArgumentParser(description="Measure the structure of checkouts.")
    parser.add_argument("checkouts", nargs="+", type=Path, help="directories, oldest first")
    parser.add_argument("--json", type=Path, help="write the values here, too")
    options = parser.parse_args()
    columns = {str(checkout): measure(checkout) for checkout in options.checkouts}
    print(table(columns))
    if options.json:
        options.json.write_text(json.dumps(columns, indent=2) + "\n")


def measure(root: Path) -> Values:
    """Every row of the table for one checkout."""
    sources = {path: path.read_text() for path in files_below(root, PACKAGE, {".py"})}
    trees = {path.relative_to(root): ast.parse(source) for path, source in sources.items()}
    return {
        **file_values(sources.values()),
        **line_values(sources.values()),
        **function_values(trees.values()),
        **call_values(trees.values()),
        **comprehension_values(trees.values()),
        "modules and packages under genrec": len(rooms(root)),
        "layers in the import contract": contract_layers(root),
        "longest chain of imports between rooms": len(longest_chain(room_imports(root, trees))),
        "private words": sum(map(len, private_words(root).values())),
    }


def table(columns: dict[str, Values]) -> str:
    """The values side by side, as Markdown that is also aligned for a terminal."""
    rows = [["", *columns, "goal"]]
    for name in next(iter(columns.values())):
        goal = f"<= {GOALS[name]:,}" if name in GOALS else ""
        rows.append([name, *(f"{values[name]:,.5g}" for values in columns.values()), goal])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(map(str.ljust, row, widths))} |" for row in rows)


def files_below(root: Path, folders: Iterable[str], suffixes: set[str]) -> list[Path]:
    """Files with these suffixes, sorted; symbolic links, caches and build folders are left out."""
    found = []
    for folder in folders:
        for directory, subfolders, names in os.walk(root / folder):
            subfolders[:] = [name for name in subfolders if not SKIPPED.fullmatch(name)]
            paths = (Path(directory, name) for name in names)
            found += [path for path in paths if path.suffix in suffixes and not path.is_symlink()]
    return sorted(found)


def file_values(sources: Iterable[str]) -> Values:
    """Number and length of files; a line is a line of text, blank lines included."""
    lengths = [len(source.splitlines()) for source in sources]
    return {
        "Python files": len(lengths),
        "lines": sum(lengths),
        "lines per file, median": percentile(lengths, 50),
        "lines per file, p90": percentile(lengths, 90),
        "longest file": max(lengths, default=0),
    }


def line_values(sources: Iterable[str]) -> Values:
    """Width of lines and share of lines with a comment (a ``#`` token), both of non-blank lines."""
    widths, comments = [], 0
    for source in sources:
        widths += [len(line) for line in source.splitlines() if line.strip()]
        tokens = tokenize.generate_tokens(io.StringIO(source).readline)
        comments += len([token for token in tokens if token.type == tokenize.COMMENT])
    return {
        "columns per line, p90": percentile(widths, 90),
        "longest line": max(widths, default=0),
        "lines over 100 columns": len([width for width in widths if width > 100]),
        "lines with a comment, percent": percent(comments, len(widths)),
    }


def function_values(trees: Iterable[ast.Module]) -> Values:
    """Functions, methods and nested functions: body after the docstring, parameters, types.

    Lines depend on the width to which they are wrapped, statements do not.
    """
    functions = [node for tree in trees for node in ast.walk(tree) if isinstance(node, FUNCTION)]
    bodies = [body_lines(function) for function in functions]
    sizes = [statements(function) for function in functions]
    counts = [len(parameters(function)) for function in functions]
    return {
        "functions": len(functions),
        "lines per body, median": percentile(bodies, 50),
        "lines per body, p90": percentile(bodies, 90),
        "longest body": max(bodies, default=0),
        "bodies over 40 lines, percent": percent(len([n for n in bodies if n > 40]), len(bodies)),
        "statements per body, median": percentile(sizes, 50),
        "statements per body, p90": percentile(sizes, 90),
        "most statements": max(sizes, default=0),
        "parameters, p90": percentile(counts, 90),
        "most parameters": max(counts, default=0),
        "fully typed signatures, percent": percent(sum(map(is_typed, functions)), len(functions)),
    }


def body_of(function: Function) -> list[ast.stmt]:
    """The statements after the docstring."""
    return function.body[ast.get_docstring(function) is not None :]


def statements(function: Function) -> int:
    """Statements after the docstring, those inside others included."""
    nodes = (node for statement in body_of(function) for node in ast.walk(statement))
    return len([node for node in nodes if isinstance(node, ast.stmt)])


def body_lines(function: Function) -> int:
    """Lines from the first statement after the docstring to the last; 0 if there is none."""
    body = body_of(function)
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def parameters(function: Function) -> list[ast.arg]:
    """Named parameters, ``*args`` and ``**kwargs``; without ``self`` and ``cls``."""
    names = function.args
    found = [*names.posonlyargs, *names.args, *names.kwonlyargs, names.vararg, names.kwarg]
    return [each for each in found if each and each.arg not in ("self", "cls")]


def is_typed(function: Function) -> bool:
    """Whether the result and every parameter have an annotation."""
    return bool(function.returns) and all(each.annotation for each in parameters(function))


def call_values(trees: Iterable[ast.Module]) -> Values:
    """Calls with five or more positional arguments, per 1,000 calls of any kind.

    A starred argument counts as one. Commit 473bc5e has 103 such calls of 6,499: 15.8.
    """
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    many = len([call for call in calls if len(call.args) >= 5])
    return {
        "calls": len(calls),
        "calls with 5+ positional arguments per 1,000 calls": 10 * percent(many, len(calls)),
    }


def comprehension_values(trees: Iterable[ast.Module]) -> Values:
    """Comprehensions and generator expressions, counted per statement.

    A statement is taken without the statements in its body. Depth 1 is a comprehension that lies
    in no other.
    """
    statements = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.stmt))
    depths = [list(comprehension_depths(statement)) for statement in statements]
    deepest = [max(found, default=0) for found in depths]
    return {
        "statements with several comprehensions": len([each for each in depths if len(each) > 1]),
        "deepest comprehension": max(deepest, default=0),
        "statements with comprehensions three deep": len([each for each in deepest if each >= 3]),
    }


def comprehension_depths(node: ast.AST, depth: int = 0) -> Iterator[int]:
    """The depth of each comprehension in the expressions of a statement."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
            continue  # A statement of its own, or a clause that holds some.
        inside = depth + isinstance(child, COMPREHENSION)
        if inside > depth:
            yield inside
        yield from comprehension_depths(child, inside)


def rooms(root: Path) -> set[str]:
    """Modules and packages directly under ``genrec``, linked ones included, dunder files not."""
    modules = {path.stem for path in (root / "genrec").glob("*.py")}
    packages = {path.parent.name for path in (root / "genrec").glob("*/__init__.py")}
    return {name for name in modules | packages if not name.startswith("__")}


def contract_layers(root: Path) -> int:
    """Lines of the first layers contract of import-linter in pyproject.toml."""
    tools = tomllib.loads((root / "pyproject.toml").read_text())["tool"]
    contracts = tools["importlinter"]["contracts"]
    return next(len(each["layers"]) for each in contracts if "layers" in each)


def room_imports(root: Path, trees: dict[Path, ast.Module]) -> dict[str, set[str]]:
    """Which room imports which, anywhere in its code: in functions and for types too."""
    known = rooms(root)
    found: dict[str, set[str]] = {room: set() for room in known}
    for path, tree in trees.items():
        room = path.with_suffix("").parts[path.parts[0] == "genrec"]
        if room in known:
            found[room] |= imported_rooms(tree) & known - {room}
    return found


def imported_rooms(tree: ast.Module) -> set[str]:
    """The second part of the dotted names below ``genrec`` that a module imports."""
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    parts = [name.split(".") for name in names]
    return {part[1] for part in parts if part[0] == "genrec" and len(part) > 1}


def longest_chain(imports: dict[str, set[str]]) -> list[str]:
    """The longest chain of rooms of which each imports the next; ValueError on a circle."""
    above: list[str] = []

    @functools.cache
    def chain(room: str) -> list[str]:
        if room in above:
            raise ValueError(f"rooms import each other in a circle: {' > '.join([*above, room])}")
        above.append(room)
        below = max(map(chain, sorted(imports[room])), key=len, default=[])
        above.pop()
        return [room, *below]

    return max(map(chain, sorted(imports)), key=len, default=[])


def private_words(root: Path) -> dict[str, list[str]]:
    """Where each term of private_words.toml stands in code, tests and documents: ``path:line``.

    A blank in a pattern stands for any white space, so that a phrase is found across two lines.
    """
    paths = files_below(root, TEXTS, {".py", ".pyi", ".md", ".rst", ".yaml", ".yml", ".toml"})
    paths += [*root.glob("*.md"), root / "pyproject.toml"]
    terms = tomllib.loads(WORDS.read_text())["term"]
    found: dict[str, list[str]] = {term["pattern"]: [] for term in terms}
    for path in paths:
        text = path.read_text() if path.name not in LISTS else ""
        if path.name == "CHANGELOG.md":  # It may quote what was renamed.
            text = re.sub("`[^`\n]+`", "``", text)
        for pattern, places in found.items():
            for match in re.finditer(pattern.replace(" ", r"\s+"), text):
                line = text.count("\n", 0, match.start()) + 1
                places.append(f"{path.relative_to(root)}:{line}")
    return found


def percentile(values: list[int], p: int) -> int:
    """The nearest-rank percentile, 0 of none."""
    return sorted(values)[math.ceil(p * len(values) / 100) - 1] if values else 0


def percent(part: int, whole: int) -> float:
    """A share in percent, 0 of nothing."""
    return 100 * part / whole if whole else 0.0


if __name__ == "__main__":
    main()
