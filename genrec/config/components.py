"""Components found by name, by entry point, by ``module:attr`` or by ``file.py:attr``.

A component is anything that a user or a plugin may replace by one of their own: a reward, a
re-ranker, a backbone, a loss. A ``Registry`` knows one kind of them.
"""

import difflib
import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Generic, TypeVar

from genrec.config.errors import ConfigError
from genrec.config.trust import require_trusted
from genrec.config.writing import digest

FILE_MODULE = "genrec_file_"  # prefix of the names under which files are modules

T = TypeVar("T")
Modules = dict[Path, ModuleType]
"""Absolute path of a file -> the module that executing it made."""


@dataclass(frozen=True)
class SourceFile:
    """A user's file that defines a component.

    Attributes:
        path: absolute path.
        digest: SHA-256 hash of its content, as 64 hexadecimal digits.
    """

    path: Path
    digest: str


@dataclass(frozen=True)
class Component(Generic[T]):
    """One row of the list of named components.

    Attributes:
        name: what ``Registry.resolve`` takes.
        origin: "built-in", or the distribution and the target of its entry point.
        value: the component; None where it cannot be used.
        error: why it cannot be used; None where it can.
    """

    name: str
    origin: str
    value: T | None = None
    error: str | None = None


class Registry(Generic[T]):
    """All components of one kind.

    Args:
        kind: what messages call one of them, such as "reward".
        group: entry point group of plugins, such as "genrec.rewards".
        built_in: name -> component, or the ``module:attr`` to load it from when it is first used,
            so that names can be listed without importing anything.
        convert: (object, name, place) -> component; raises a GenrecError that names the place if
            the object is not one.
        proposes: which attributes of a module are named where a wrong one was asked for; by
            default the functions and classes that the module defines.
    """

    def __init__(
        self,
        kind: str,
        group: str,
        *,
        built_in: Mapping[str, T | str],
        convert: Callable[[object, str, str], T],
        proposes: Callable[[object], bool] | None = None,
    ) -> None:
        self.kind = kind
        self.group = group
        self.built_in = built_in
        self.convert = convert
        self.proposes = proposes

    def names(self) -> list[str]:
        """Names of the built-in components and of those of plugins, sorted; nothing is loaded."""
        return sorted({*self.built_in, *(point.name for point in plugins(self.group))})

    def resolve(self, target: str, modules: Modules | None = None) -> T:
        """The component of that name or place.

        Args:
            target: a built-in name, the name of an entry point, ``package.module:attribute`` or
                ``path/file.py:attribute``.
            modules: files that were executed before; see ``load_object``.

        Raises:
            ConfigError: if nothing is found there, with the closest name and all names.
            GenrecError: if what is found is not a component of this kind.
        """
        if is_place(target):
            found = load_object(target, self.kind, modules=modules, proposes=self.proposes)
            return self.convert(found, target.rpartition(":")[2], target)
        if target in self.built_in:
            return self._built_in(target)
        for point in plugins(self.group):
            if point.name == target:
                return self._from_plugin(point)
        raise ConfigError(self._unknown(target))

    def available(self) -> list[Component[T]]:
        """Every named component: the built-in ones, then those of plugins.

        A plugin that cannot be loaded is reported in its row, not raised: it harms nothing else.
        """
        rows = [Component(name, "built-in", self._built_in(name)) for name in self.built_in]
        taken = dict.fromkeys(self.built_in, "built-in")
        for point in plugins(self.group):
            origin = _origin(point)
            if point.name in taken:
                error = f"the name is taken by {taken[point.name]}"
                rows.append(Component(point.name, origin, error=error))
                continue
            taken[point.name] = origin
            try:
                rows.append(Component(point.name, origin, self._from_plugin(point)))
            except Exception as error:  # whatever a plugin does wrong stays its own problem
                message = " ".join(str(error).split())
                rows.append(Component(point.name, origin, error=message))
        return rows

    def _built_in(self, name: str) -> T:
        found = self.built_in[name]
        if isinstance(found, str):
            return self.convert(_load(found, self.kind), name, found)
        return found

    def _from_plugin(self, point: EntryPoint) -> T:
        return self.convert(_load_plugin(point, self.kind), point.name, _origin(point))

    def _unknown(self, target: str) -> str:
        names = self.names()
        close = difflib.get_close_matches(target, names, n=1, cutoff=0.5)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        left_out = [f". Left out: {row.error}" for row in self.available() if row.error]
        return (
            f"unknown {self.kind} {target!r}.{hint} Known: {', '.join(names)}; give a file of your"
            f" own as ./file.py:attribute{''.join(left_out)}"
        )


def plugins(group: str) -> list[EntryPoint]:
    """Entry points of a group, sorted by name; nothing is loaded."""
    return sorted(entry_points(group=group), key=lambda point: (point.name, point.value))


def is_place(target: str) -> bool:
    """Whether a target is ``module:attr`` or ``file.py:attr`` rather than a name.

    >>> is_place("diversity"), is_place("my_package.rewards:fresh"), is_place("./my_reward.py")
    (False, True, True)
    """
    return ":" in target or target.endswith(".py")


def absolute_target(target: str) -> str:
    """The target with the absolute path of its file, so that it is found from any directory.

    Targets that name no file stay as they are.
    """
    place, _, attribute = target.rpartition(":")
    return f"{Path(place).resolve()}:{attribute}" if place.endswith(".py") else target


def source_file(target: str) -> SourceFile | None:
    """The file of a target ``file.py:attr``; None for any other target."""
    place, _, _ = target.rpartition(":")
    if not place.endswith(".py"):
        return None
    path = Path(place).resolve()
    return SourceFile(path, digest(path))


def load_object(
    target: str,
    kind: str = "component",
    *,
    group: str | None = None,
    modules: Modules | None = None,
    proposes: Callable[[object], bool] | None = None,
) -> object:
    """The object at ``package.module:attribute``, at ``path/file.py:attribute`` or of a plugin.

    Nothing runs that the user has not named (``genrec.config.trust``). What is printed while the
    module is imported goes to standard error.

    Args:
        target: where the object is, or the name of an entry point.
        kind: what messages call it.
        group: group in which the name of an entry point is looked up.
        modules: files that were executed before; a file in it is not executed again, and one that
            is executed joins it. A command keeps one such dictionary. Without it the file is
            executed anew, so that an edit between two calls takes effect.
        proposes: which attributes of the module a message names where the attribute is missing.

    Raises:
        UntrustedCodeError: if the user has not named it.
        ConfigError: if the file, module or entry point does not exist, cannot be executed, or has
            no such attribute.
    """
    if group is not None and not is_place(target):
        return _load_plugin(_plugin(target, kind, group), kind)
    expected = require_trusted(target, kind)
    return _load(target, kind, expected=expected, modules=modules, proposes=proposes)


def _load(
    target: str,
    kind: str,
    *,
    expected: str | None = None,
    modules: Modules | None = None,
    proposes: Callable[[object], bool] | None = None,
) -> object:
    """The object at a place that may run; a file must have the hash, where there is one."""
    place, _, attribute = target.rpartition(":") if ":" in target else (target, "", "")
    if place.endswith(".py"):
        module = _load_file(Path(place), kind, {} if modules is None else modules, expected)
    else:
        module = _load_module(place, kind, target)
    try:
        return getattr(module, attribute)
    except AttributeError:
        fits = proposes or (lambda value: _is_defined_in(module, value))
        known = ", ".join(name for name, value in vars(module).items() if fits(value))
        raise ConfigError(
            f"{place} has no {kind} {attribute!r}; give one of {known or 'its functions'} as"
            f" {place}:attribute"
        ) from None


def _plugin(name: str, kind: str, group: str) -> EntryPoint:
    points = {point.name: point for point in plugins(group)}
    if name not in points:
        known = ", ".join(points) or "none"
        raise ConfigError(
            f"unknown {kind} {name!r}. Installed plugins: {known}; give a file of your own as"
            " ./file.py:attribute"
        )
    return points[name]


def _load_plugin(point: EntryPoint, kind: str) -> object:
    try:
        with redirect_stdout(sys.stderr):  # what an import prints is not a command's output
            return point.load()
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"{kind} {point.name!r} of {_origin(point)} cannot be loaded: {type(error).__name__}:"
            f" {error}"
        ) from error


def _load_module(name: str, kind: str, target: str) -> ModuleType:
    try:
        with redirect_stdout(sys.stderr):
            return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"{kind} {target!r}: cannot import {name!r}: {type(error).__name__}: {error}"
        ) from error


def _load_file(path: Path, kind: str, modules: Modules, expected: str | None) -> ModuleType:
    """The file as a module with a name of its own; executed unless it is in ``modules``."""
    if not path.is_file():
        raise ConfigError(f"{kind} file {path} does not exist (looked in {Path.cwd()})")
    place = path.resolve()
    if place in modules:
        return modules[place]
    source = path.read_bytes()
    if expected is not None and hashlib.sha256(source).hexdigest() != expected:
        raise ConfigError(f"{kind} file {path} is changing while it is read: start again")
    name = f"{FILE_MODULE}{path.stem}_{hashlib.sha256(str(place).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look their module up by name
    try:
        with redirect_stdout(sys.stderr):
            # Compiled from what was read: a stale or foreign .pyc beside the file is never run.
            exec(compile(source, str(path), "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise ConfigError(
            f"{kind} file {path} cannot be run: {type(error).__name__}: {error}"
        ) from error
    modules[place] = module
    return module


def _is_defined_in(module: ModuleType, value: object) -> bool:
    is_definition = inspect.isfunction(value) or inspect.isclass(value)
    return is_definition and getattr(value, "__module__", None) == module.__name__


def _origin(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version} ({point.value})" if point.dist else point.value
