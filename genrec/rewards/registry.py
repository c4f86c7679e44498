"""Finding rewards: by name, by entry point, by ``module:attr`` and by ``file.py:attr``."""

import difflib
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from dataclasses import MISSING, dataclass, fields, is_dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import overload

from genrec.config.errors import GenrecError
from genrec.metrics.context import Context, Floats, Slates
from genrec.rewards.accuracy import Ndcg
from genrec.rewards.contract import FunctionReward, Reward, WeightedSum
from genrec.rewards.diversity import Diversity
from genrec.rewards.novelty import Novelty
from genrec.rewards.popularity import Popularity
from genrec.rewards.ranges import middle_weight, read_weight, split_spec
from genrec.rewards.relevance import Relevance

GROUP = "genrec.rewards"
FACTS = frozenset({"targets", "probabilities", "times"})
BUILT_IN: dict[str, Reward] = {
    reward.name: reward for reward in (Ndcg(), Relevance(), Diversity(), Novelty(), Popularity())
}

GainFunction = Callable[[Slates, Context], Floats]


@dataclass(frozen=True)
class Entry:
    """One row of the list of rewards.

    Attributes:
        name: what ``resolve`` takes.
        origin: "built-in", or the distribution and the target of its entry point.
        needs: facts the context must carry.
        summary: first line of the docstring.
        error: why it cannot be used, None where it can.
    """

    name: str
    origin: str
    needs: frozenset[str] = frozenset()
    summary: str = ""
    error: str | None = None


@overload
def reward(function: GainFunction, /) -> FunctionReward: ...
@overload
def reward(
    *, name: str | None = None, needs: Iterable[str] = ()
) -> Callable[[GainFunction], FunctionReward]: ...
def reward(
    function: GainFunction | None = None, /, *, name: str | None = None, needs: Iterable[str] = ()
) -> FunctionReward | Callable[[GainFunction], FunctionReward]:
    """Turn a function ``(slates (n, j), context) -> gains (n, j)`` into a reward; a decorator, bare
    or with arguments.

    Args:
        function: the function, where used bare.
        name: of the reward; by default the function's name.
        needs: "targets", "probabilities" and "times" (of the events of histories), as far as the
            function reads them.

    Raises:
        GenrecError: for an unknown need.

    >>> @reward
    ... def even(slates, context):
    ...     return (slates % 2 == 0) / context.k
    >>> even.name, isinstance(even, Reward)
    ('even', True)
    """
    needed = frozenset({needs} if isinstance(needs, str) else needs)
    if not needed <= FACTS:
        raise GenrecError(
            f"unknown needs {sorted(needed - FACTS)}; a reward can need {sorted(FACTS)}"
        )

    def wrap(gains: GainFunction) -> FunctionReward:
        return FunctionReward(gains, name or _name_of(gains), needed)

    return wrap if function is None else wrap(function)


def resolve(target: str) -> Reward:
    """The reward of that name or place.

    Args:
        target: a built-in name (``diversity``), the name of an entry point of group
            "genrec.rewards", ``package.module:attribute``, or ``path/file.py:attribute``. The
            attribute is a Reward, a Reward class without required fields, or a plain function
            ``(slates, context) -> gains``.

    Raises:
        GenrecError: if nothing is found there, or what is there is not a reward.

    >>> resolve("diversity")
    Diversity()
    """
    if ":" in target or target.endswith(".py"):
        return _from_place(target)
    if target in BUILT_IN:
        return BUILT_IN[target]
    for point in _plugins():
        if point.name == target:
            return _from_plugin(point)
    names = sorted({*BUILT_IN, *(point.name for point in _plugins())})
    close = difflib.get_close_matches(target, names, n=1, cutoff=0.5)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise GenrecError(
        f"unknown reward {target!r}.{hint} Known: {', '.join(names)}; give a file of your own as"
        " ./file.py:attribute"
        + "".join(f". Left out: {entry.error}" for entry in available() if entry.error)
    )


def parse(spec: str) -> tuple[Reward, float]:
    """A reward and its weight from ``target``, ``target=weight`` or ``target=low:high``.

    The weight is 1 where none is given and the middle of a range (``middle_weight``); ``ranges_of``
    tells the ranges.

    Raises:
        GenrecError: for an unknown reward, a weight that is not a finite number, or a range that
            does not rise.

    >>> parse("diversity=0.5"), parse("diversity=0:2")
    ((Diversity(), 0.5), (Diversity(), 0.5))
    """
    target, text = split_spec(spec)
    low, high = read_weight(text, target) if target != spec else (1.0, 1.0)
    return resolve(target), middle_weight(low, high)


def ranges_of(specs: Iterable[str]) -> dict[str, tuple[float, float]]:
    """Name of the reward -> low and high end, for the specs whose weight is a range.

    >>> ranges_of(["relevance=1", "diversity=0:2"])
    {'diversity': (0.0, 2.0)}
    """
    found = {}
    for spec in specs:
        target, text = split_spec(spec)
        if ":" in text:
            found[parse(spec)[0].name] = read_weight(text, target)
    return found


def weighted(specs: Iterable[str]) -> WeightedSum:
    """The weighted sum of the rewards of several ``parse`` specs; a range counts with its middle.

    Raises:
        GenrecError: if there are none, or two have the same name (their terms could not be told
            apart).

    >>> weighted(["relevance", "diversity=0.5"]).name
    'relevance+0.5*diversity'
    """
    terms = tuple(parse(spec) for spec in specs)
    names = [term.name for term, _ in terms]
    if not terms:
        raise GenrecError("no reward given; write for instance ndcg or diversity=0.5")
    if len(set(names)) < len(names):
        raise GenrecError(f"rewards {names} share a name; give each once, with its whole weight")
    return WeightedSum(terms)


def available() -> list[Entry]:
    """Every reward with a name: the built-in ones, then plugins; one that cannot be loaded is
    reported, not raised."""
    rows = [
        Entry(name, "built-in", built_in.needs, _summary(built_in))
        for name, built_in in BUILT_IN.items()
    ]
    taken = dict.fromkeys(BUILT_IN, "built-in")
    for point in _plugins():
        origin = _origin(point)
        if point.name in taken:
            rows.append(
                Entry(point.name, origin, error=f"the name is taken by {taken[point.name]}")
            )
            continue
        taken[point.name] = origin
        try:
            found = _from_plugin(point)
            rows.append(Entry(point.name, origin, found.needs, _summary(found)))
        except Exception as error:  # whatever a plugin does wrong stays its own problem
            rows.append(Entry(point.name, origin, error=_one_line(str(error))))
    return rows


def _plugins() -> list[EntryPoint]:
    return sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value))


def _origin(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version} ({point.value})" if point.dist else point.value


def _from_plugin(point: EntryPoint) -> Reward:
    try:
        with redirect_stdout(
            sys.stderr
        ):  # what is printed on import is no part of a command's answer
            found = point.load()
    except (Exception, SystemExit) as error:
        raise GenrecError(
            f"reward {point.name!r} of {_origin(point)} cannot be loaded: {type(error).__name__}:"
            f" {error}"
        ) from error
    return _as_reward(found, point.name, _origin(point))


def _from_place(target: str) -> Reward:
    place, _, attribute = target.rpartition(":") if ":" in target else (target, "", "")
    module = _load_file(Path(place)) if place.endswith(".py") else _load_module(place, target)
    if attribute not in vars(module):
        found = [name for name, value in vars(module).items() if isinstance(value, Reward)]
        known = ", ".join(found) or "its functions"
        raise GenrecError(
            f"{place} has no reward {attribute!r}; give one of {known} as {place}:attribute"
        )
    return _as_reward(vars(module)[attribute], attribute, target)


def _load_module(name: str, target: str) -> ModuleType:
    try:
        with redirect_stdout(sys.stderr):
            return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise GenrecError(
            f"reward {target!r}: cannot import {name!r}: {type(error).__name__}: {error}"
        ) from error


def _load_file(path: Path) -> ModuleType:
    """Run the file as a module of a name of its own, anew each time."""
    if not path.is_file():
        raise GenrecError(f"reward file {path} does not exist (looked in {Path.cwd()})")
    name = (
        f"genrec_reward_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    )
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with redirect_stdout(sys.stderr):
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise GenrecError(
            f"reward file {path} cannot be run: {type(error).__name__}: {error}"
        ) from error
    return module


def _as_reward(found: object, name: str, place: str) -> Reward:
    if isinstance(found, Reward):
        return found
    if isinstance(found, type) and issubclass(found, Reward):
        required = _required_fields(found)
        if required:
            raise GenrecError(
                f"{place}: {found.__name__} needs {', '.join(required)}; give an instance of it"
                " instead"
            )
        return found()
    if callable(found) and not isinstance(found, type):
        return FunctionReward(found, name)
    raise GenrecError(
        f"{place} is a {type(found).__name__}, not a Reward, a Reward class or a function"
    )


def _required_fields(kind: type[Reward]) -> list[str]:
    if not is_dataclass(kind):
        return []
    return [
        field.name
        for field in fields(kind)
        if field.default is MISSING and field.default_factory is MISSING
    ]


def _name_of(function: GainFunction) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


def _summary(found: Reward) -> str:
    described = found.function if isinstance(found, FunctionReward) else found
    return _one_line((described.__doc__ or "").strip().partition("\n")[0])


def _one_line(text: str) -> str:
    return " ".join(text.split())
