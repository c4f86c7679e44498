"""One API page per room, from the names that its ``__init__.pyi`` exports.

The pages are written to ``docs/api`` when a build starts. A public symbol without a docstring of
its own is a warning, which fails the build.
"""

import ast
import dataclasses
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from docstrings import escape
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer
from sphinx.util import logging

logger = logging.getLogger(__name__)
ROOT = "genrec"


@dataclass(frozen=True)
class Symbol:
    """A public name.

    Attributes:
        room: package that exports it.
        name: name under which it is exported.
        module: module that defines it, or the module itself where a module is exported.
        original: name in the defining module; empty for a module.
    """

    room: str
    name: str
    module: str
    original: str

    @property
    def value(self) -> Any:
        """The exported object."""
        return getattr(importlib.import_module(self.room), self.name)

    @property
    def path(self) -> str:
        """Name to import, such as ``genrec.rewards.terminal``."""
        return f"{self.room}.{self.name}"


def stub_of(room: str) -> Path:
    """Path of the stub that lists the public names of a package."""
    return Path(str(importlib.import_module(room).__file__)).with_suffix(".pyi")


def loose_modules() -> tuple[str, ...]:
    """Modules directly under the root, which no stub describes; all their names are public."""
    found = pkgutil.iter_modules(importlib.import_module(ROOT).__path__, f"{ROOT}.")
    names = (module.name for module in found if not module.ispkg)
    return tuple(sorted(name for name in names if not name.endswith("__")))


@cache
def rooms() -> tuple[str, ...]:
    """Packages that export names and modules of the root, the root first, in alphabetical order."""
    found = pkgutil.walk_packages(importlib.import_module(ROOT).__path__, f"{ROOT}.")
    packages = [ROOT, *(module.name for module in found if module.ispkg)]
    stubbed = (package for package in packages if stub_of(package).exists())
    return tuple(sorted({*stubbed, *loose_modules()}))


def exports(room: str) -> Iterator[Symbol]:
    """The public names of a room, in the order of its stub or of its definitions."""
    if not stub_of(room).exists():
        yield from (Symbol(room, name, room, name) for name in _defined(room))
        return
    for node in ast.parse(stub_of(room).read_text()).body:
        if not isinstance(node, ast.ImportFrom):
            continue
        source = f"{room}.{node.module}" if node.module else room
        for alias in node.names:
            yield _symbol(room, alias.asname or alias.name, source, alias.name)


def _defined(module: str) -> Iterator[str]:
    """The names without underscore that a module defines, except its type variables."""
    path = Path(str(importlib.import_module(module).__file__))
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            yield node.name


def _symbol(room: str, name: str, source: str, original: str) -> Symbol:
    """Follow a name to the module that defines it, through the stubs of other rooms."""
    if source == room:
        return Symbol(room, name, f"{source}.{original}", "")
    if source in rooms():
        for symbol in exports(source):
            if symbol.name == original:
                return Symbol(room, name, symbol.module, symbol.original)
    return Symbol(room, name, source, original)


@cache
def homes() -> dict[tuple[str, str], Symbol]:
    """Where each object is documented: in the room that is nearest to its definition."""
    chosen: dict[tuple[str, str], Symbol] = {}
    for room in rooms():
        for symbol in exports(room):
            key = (symbol.module, symbol.original)
            known = chosen.get(key)
            if known is None or _shared(symbol) > _shared(known):
                chosen[key] = symbol
    return chosen


def _shared(symbol: Symbol) -> int:
    return len(symbol.room) if f"{symbol.module}.".startswith(f"{symbol.room}.") else 0


def home(symbol: Symbol) -> Symbol:
    """The symbol under which the same object is documented."""
    return homes()[symbol.module, symbol.original]


def undocumented() -> Iterator[str]:
    """Public names, and public members of public classes, that have no docstring."""
    for symbol in homes().values():
        if not docstring(symbol):
            yield symbol.path
        if inspect.isclass(symbol.value):
            yield from (f"{symbol.path}.{name}" for name in _bare_members(symbol.value))


def _bare_members(kind: type) -> Iterator[str]:
    functions = (property, classmethod, staticmethod)
    for name, member in vars(kind).items():
        if name.startswith("_") or not (
            inspect.isfunction(member) or isinstance(member, functions)
        ):
            continue
        if not inspect.getdoc(getattr(kind, name)):
            yield name


def docstring(symbol: Symbol) -> str:
    """The object's own docstring; that of a constant is the string or ``#:`` comment beside it."""
    value = symbol.value
    if isinstance(value, ModuleType):
        return value.__doc__ or ""
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        comments = ModuleAnalyzer.for_module(symbol.module).find_attr_docs()
        return "\n".join(comments.get(("", symbol.original), []))
    own = vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__
    generated = dataclasses.is_dataclass(value) and str(own).startswith(f"{value.__name__}(")
    return "" if generated else inspect.cleandoc(own or "")


def first_sentence(text: str) -> str:
    """The first sentence of a docstring, on one line; "et al." and "eq." do not end it."""
    paragraph = " ".join(text.partition("\n\n")[0].split())
    found = re.search(r"(?<!\bal)(?<!\beq)(?<!\bsec)\. ", paragraph)
    return paragraph[: found.start() + 1] if found else paragraph


def page(room: str) -> str:
    """The API page of a room in reStructuredText."""
    module = importlib.import_module(room)
    lines = [room, "=" * len(room), "", f".. py:module:: {room}", ""]
    lines += [inspect.cleandoc(module.__doc__ or ""), ""]
    symbols = list(exports(room))
    lines += [*_overview(symbols), ""]
    # A stub may name a module twice: its names still make one section.
    own = [symbol for symbol in symbols if home(symbol) == symbol]
    for source in dict.fromkeys(symbol.module for symbol in own):
        lines += _section(source, [symbol for symbol in own if symbol.module == source])
    return "\n".join(lines) + "\n"


def _overview(symbols: list[Symbol]) -> Iterator[str]:
    """A table of names and first sentences."""
    yield from (".. list-table::", "   :widths: 26 74", "   :class: overview", "")
    for symbol in symbols:
        target = home(symbol)
        role = "py:mod" if target.module in rooms() and not target.original else "py:obj"
        yield f"   * - :{role}:`{symbol.name} <{target.path}>`"
        (sentence,) = escape([first_sentence(docstring(target))])
        yield f"     - {sentence}"


def _section(source: str, symbols: list[Symbol]) -> Iterator[str]:
    """The symbols that one module defines, under its name and docstring."""
    if source in rooms():
        for symbol in symbols:
            yield from _directive(symbol)
        return
    title = source.rpartition(".")[2].replace("_", " ").capitalize()
    described = inspect.cleandoc(importlib.import_module(source).__doc__ or "")
    yield from (title, "-" * len(title), "", described, "")
    for symbol in symbols:
        yield from _directive(symbol)


def _directive(symbol: Symbol) -> tuple[str, ...]:
    value = symbol.value
    if symbol.module in rooms() and not symbol.original:
        return ()
    if isinstance(value, ModuleType):
        return (f".. automodule:: {symbol.path}", "   :members:", "")
    if inspect.isclass(value):
        # Fields of settings and results are described in the docstring of their class.
        fields = ", ".join(getattr(value, "model_fields", ()))
        excluded = (f"   :exclude-members: {fields}, model_config",) if fields else ()
        return (f".. autoclass:: {symbol.path}", *excluded, "")
    if inspect.isfunction(value):
        return (f".. autofunction:: {symbol.path}", "")
    described = (f"   {line}" for line in escape(docstring(symbol).splitlines()))
    return (f".. py:data:: {symbol.name}", f"   :module: {symbol.room}", "", *described, "")


def index() -> str:
    """The page that lists the rooms."""
    lines = ["API reference", "=============", ""]
    lines += ["Public names by room. Whatever is not listed here may change without notice.", ""]
    lines += [".. toctree::", "   :maxdepth: 1", ""]
    return "\n".join([*lines, *(f"   {room}" for room in rooms())]) + "\n"


def write_pages(app: Sphinx) -> None:
    """Write the pages, only those that changed, and remove those of rooms that are gone."""
    folder = Path(app.srcdir) / "api"
    folder.mkdir(exist_ok=True)
    pages = {"index.rst": index()} | {f"{room}.rst": page(room) for room in rooms()}
    for stale in folder.glob("*.rst"):
        if stale.name not in pages:
            stale.unlink()
    for name, text in pages.items():
        path = folder / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
    for name in undocumented():
        logger.warning("public symbol without a docstring: %s", name)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.connect("builder-inited", write_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
