"""Finding rewards: by name, by entry point, by ``module:attr`` and by ``file.py:attr``."""

from collections.abc import Callable, Iterable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import overload

from genrec.config.components import Component, Modules, Registry
from genrec.config.errors import GenrecError
from genrec.config.trust import name_code
from genrec.data.dataset import Catalogue
from genrec.metrics.context import Context, Floats, Slates
from genrec.rewards.accuracy import Ndcg
from genrec.rewards.contract import FunctionReward, Reward
from genrec.rewards.diversity import Diversity
from genrec.rewards.genre_calibration import GenreCalibration
from genrec.rewards.novelty import Novelty
from genrec.rewards.popularity import Popularity
from genrec.rewards.relevance import Relevance
from genrec.rewards.serendipity import Serendipity

FACTS = frozenset({"targets", "probabilities", "times"})

GainFunction = Callable[[Slates, Context], Floats]
"""Slates (n, j) and their context -> gains (n, j)."""


@dataclass(frozen=True)
class Entry:
    """One row of the list of rewards.

    Attributes:
        name: what ``resolve`` takes.
        origin: "built-in", or the distribution and the target of its entry point.
        needs: facts that the context must carry.
        summary: first line of the docstring.
        error: why the reward cannot be used; None where it can.
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
    """Turn a function ``(slates (n, j), context) -> gains (n, j)`` into a reward.

    A decorator, used bare or with arguments.

    Args:
        function: the function, where the decorator is used bare.
        name: name of the reward; by default that of the function.
        needs: those of "targets", "probabilities" and "times" (of the events of histories) that
            the function reads.

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


def as_reward(found: object, name: str | None = None, place: str | None = None) -> Reward:
    """An object as a reward: a Reward itself, a Reward class without parameters, or a function.

    Args:
        found: the object.
        name: name of a reward made of a plain function; by default that of the function.
        place: where the object was found, for messages.

    Raises:
        GenrecError: if it is none of these.
    """
    if isinstance(found, Reward):
        return found
    place = place or repr(found)
    if isinstance(found, type) and issubclass(found, Reward):
        required = _required_fields(found)
        if required:
            raise GenrecError(
                f"{place}: {found.__name__} needs {', '.join(required)}; give an instance of it"
                " instead"
            )
        return found()
    if callable(found) and not isinstance(found, type):
        return FunctionReward(found, name or _name_of(found))
    raise GenrecError(
        f"{place} is a {type(found).__name__}, not a Reward, a Reward class or a function"
    )


REWARDS: Registry[Reward] = Registry(
    "reward",
    "genrec.rewards",
    built_in={
        built_in.name: built_in
        for built_in in (
            Ndcg(),
            Relevance(),
            Diversity(),
            Novelty(),
            Popularity(),
            GenreCalibration(),
            Serendipity(),
        )
    },
    convert=as_reward,
    proposes=lambda value: isinstance(value, Reward),
)
"""The rewards with a name."""


def resolve(target: str, modules: Modules | None = None) -> Reward:
    """The reward of that name or place; the file or module that it is in is named by the user.

    Args:
        target: a built-in name (``diversity``), the name of an entry point of group
            "genrec.rewards", ``package.module:attribute``, or ``path/file.py:attribute``. The
            attribute is a Reward, a Reward class without required fields, or a plain function
            ``(slates, context) -> gains``.
        modules: files that were executed before; see ``genrec.config.components.load_object``.

    Raises:
        GenrecError: if nothing is found there, or what is there is not a reward.

    >>> resolve("diversity")
    Diversity()
    """
    name_code(target)
    return REWARDS.resolve(target, modules)


def available() -> list[Entry]:
    """Every named reward: the built-in ones, then those of plugins.

    A plugin that cannot be loaded is reported in its row, not raised.
    """
    return [_entry(row) for row in REWARDS.available()]


def list_metrics(catalogue: Catalogue) -> list[Reward]:
    """The rewards that every evaluation measures, whatever was rewarded.

    Diversity, novelty and, where the items have features, the calibration of genres. The popularity
    of lists is measured anyway (``genrec.metrics.measure``).

    >>> from genrec.data import make_catalogue
    >>> [metric.name for metric in list_metrics(make_catalogue(["a"], features={"a": ["x"]}))]
    ['diversity', 'novelty', 'genre_calibration']
    """
    metrics: list[Reward] = [Diversity(), Novelty()]
    return [*metrics, GenreCalibration()] if catalogue.feature_names else metrics


def _entry(row: Component[Reward]) -> Entry:
    if row.value is None:
        return Entry(row.name, row.origin, error=row.error)
    try:
        return Entry(row.name, row.origin, row.value.needs, _summary(row.value))
    except Exception as error:  # raised by a plugin's own property
        return Entry(row.name, row.origin, error=" ".join(str(error).split()))


def _required_fields(kind: type[Reward]) -> list[str]:
    if not is_dataclass(kind):
        return []
    return [
        field.name
        for field in fields(kind)
        if field.default is MISSING and field.default_factory is MISSING
    ]


def _name_of(function: object) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


def _summary(found: Reward) -> str:
    # The class FunctionReward has a docstring too, which says nothing about the reward.
    described = found.function if isinstance(found, FunctionReward) else found
    first_line, _, _ = (described.__doc__ or "").strip().partition("\n")
    return " ".join(first_line.split())
