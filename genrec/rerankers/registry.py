"""Finding re-rankers: by name, by entry point, by ``module:attr`` and by ``file.py:attr``."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from genrec.config.components import Component, Modules, Registry
from genrec.config.errors import GenrecError
from genrec.config.trust import name_code
from genrec.metrics.context import Slates, read_only, read_only_view
from genrec.recommender import errors_of
from genrec.rerankers.aspects import xquad
from genrec.rerankers.determinants import dpp
from genrec.rerankers.dispersion import msd
from genrec.rerankers.genre_calibration import calibrate
from genrec.rerankers.marginal_relevance import mmr
from genrec.rerankers.penalty import popularity_penalised
from genrec.rerankers.pool import Pool
from genrec.rerankers.serendipity import sog
from genrec.rerankers.spectrum import ssd


class Reranker(Protocol):
    """A function that chooses lists from pools of candidates.

    It trades the relevance in the pool against one other property of a list. At one end of the
    weights, 0 or 1, its lists are Top-K.
    """

    def __call__(self, pool: Pool, k: int, weight: float) -> NDArray[np.int64]:
        """(B, k) slates of distinct candidates that may be chosen, for a weight in [0, 1]."""
        ...


@dataclass(frozen=True)
class CheckedReranker:
    """A user's re-ranker whose lists are verified.

    Attributes:
        function: the re-ranker.
        name: what messages call it.
    """

    function: Reranker
    name: str

    def __call__(self, pool: Pool, k: int, weight: float) -> NDArray[np.int64]:
        """(B, k) slates.

        Raises:
            GenrecError: if the function raises, exits or writes into the pool or its context, or if
                they are not lists of k distinct candidates that may be chosen.
        """
        given = Pool(
            read_only_view(pool.items), read_only_view(pool.relevance), read_only(pool.context)
        )
        try:
            with errors_of(f"re-ranker {self.name!r}, weight {weight:g},"):
                slates = np.asarray(self.function(given, k, weight))
        except GenrecError as error:
            if isinstance(error.__cause__, ValueError) and "read-only" in str(error.__cause__):
                raise GenrecError(
                    f"{error}: it writes into the pool that it is given; copy its arrays"
                ) from error
            raise
        require_lists(slates, pool, k=k, name=self.name)
        return slates.astype(np.int64)


def require_lists(slates: Slates, pool: Pool, *, k: int, name: str) -> None:
    """Raise GenrecError where slates are not k distinct candidates of their pool each.

    Args:
        slates: what a re-ranker returned.
        pool: B pools that it chose from.
        k: length of the lists.
        name: the re-ranker, for the message.
    """
    expected = (len(pool.items), k)
    if slates.shape != expected or slates.dtype.kind not in "iu":
        raise GenrecError(
            f"re-ranker {name!r} returned {slates.dtype} values of shape {slates.shape}, not item"
            f" indices of shape {expected}"
        )
    # Every item must be an allowed candidate, and no two items of a list may be the same.
    is_candidate = (slates[:, :, None] == pool.items[:, None]) & pool.allowed[:, None]
    placed = np.sort(slates, axis=1)
    wrong = ~is_candidate.any(axis=2).all(axis=1) | (placed[:, 1:] == placed[:, :-1]).any(axis=1)
    if wrong.any():
        row = int(wrong.argmax())
        raise GenrecError(
            f"re-ranker {name!r} returned list {row}: {slates[row].tolist()}, which is not {k}"
            " different candidates that may be chosen"
        )


def as_reranker(found: object, name: str, place: str) -> Reranker:
    """A function of a user's own as a re-ranker whose lists are verified.

    Args:
        found: the object that was found.
        name: name of the re-ranker.
        place: where the object was found, for messages.

    Raises:
        GenrecError: if it is not a function.
    """
    if not callable(found) or isinstance(found, type):
        raise GenrecError(
            f"{place} is a {type(found).__name__}, not a function (pool, k, weight) -> slates"
        )
    return CheckedReranker(found, name)


BUILT_IN = (mmr, msd, sog, dpp, ssd, calibrate, xquad, popularity_penalised)
RERANKERS: Registry[Reranker] = Registry(
    "re-ranker",
    "genrec.rerankers",
    built_in={function.__name__: function for function in BUILT_IN},
    convert=as_reranker,
)
"""The re-rankers with a name."""


def resolve_reranker(target: str, modules: Modules | None = None) -> Reranker:
    """The re-ranker of that name or place; its file or module is named by the user.

    Args:
        target: a built-in name (``mmr``), the name of an entry point of group "genrec.rerankers",
            ``package.module:attribute``, or ``path/file.py:attribute``; the attribute is a function
            ``(pool, k, weight) -> slates``.
        modules: files that were executed before; see ``genrec.config.components.load_object``.

    Raises:
        GenrecError: if nothing is found there, or what is there is not a function.

    >>> resolve_reranker("mmr") is mmr
    True
    """
    name_code(target)
    return RERANKERS.resolve(target, modules)


def available_rerankers() -> list[Component[Reranker]]:
    """Every named re-ranker: the built-in ones, then those of plugins."""
    return RERANKERS.available()
