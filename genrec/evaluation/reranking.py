"""Re-rankers that take part in a comparison, each at a grid of weights."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from genrec.config.components import Modules
from genrec.config.errors import ConfigError
from genrec.evaluation.goals import Goals
from genrec.rerankers import (
    Pool,
    Reranker,
    calibrate,
    dpp,
    greedy,
    greedy_lookahead,
    mmr,
    msd,
    popularity_penalised,
    sog,
    sort_by_relevance,
    ssd,
    with_surrogates,
    xquad,
)
from genrec.rerankers.registry import RERANKERS

# Names of the other methods of a comparison
RESERVED = (
    *("popularity", "markov", "teacher", "student", "supervised warm-up", "aligned"),
    *("mmr", "msd", "sog", "dpp", "ssd", "steck", "xquad", "popularity-sort", "greedy"),
)


@dataclass(frozen=True, eq=False)
class RerankerGrid:
    """A re-ranker and its weights.

    Attributes:
        name: of the method.
        rerank: called with a pool, ``k`` and ``weight``.
        weights: from 0 to 1; one end gives Top-K, the other the goal alone.
    """

    name: str
    rerank: Reranker
    weights: list[float]


def own_rerankers(targets: Sequence[str]) -> dict[str, Reranker]:
    """Name of a method -> re-ranker of the user's own.

    Args:
        targets: names of plugins, ``module:attr`` or ``file.py:attr``; each file is executed once.

    Raises:
        UntrustedCodeError: if the user has not named a file or module.
        GenrecError: if one cannot be found, or two have the same name.
    """
    modules: Modules = {}
    found: dict[str, Reranker] = {}
    for target in targets:
        name = target.rpartition(":")[2]
        if name in found or name in RESERVED:
            raise ConfigError(
                f"compare.rerankers names {target!r}, but a method {name!r} takes part already:"
                " give the function another name"
            )
        found[name] = RERANKERS.resolve(target, modules)
    return found


def reranker_grids(
    goals: Goals,
    points: int,
    highest: float,
    *,
    features: bool = True,
    own: Mapping[str, Reranker] = MappingProxyType({}),
) -> Iterator[RerankerGrid]:
    """All re-rankers and their grids.

    Relevance in [0, 1] comes from the scores of the teacher, scaled in each pool, and once more
    from its calibrated probabilities, scaled alike ("-calibrated"). MMR, SOG and Steck's
    calibration also take raw scores ("-raw"), as published [Petrov 2025, ch. 8; Steck 2018]; these
    grids are dense where the goal has most weight, because scores are larger than similarities.

    Greedy selection maximises the reward of the run itself ("greedy"). Its lists also take part
    sorted by relevance wherever that does not reduce the reward ("greedy-sorted"), and, where a
    goal is paid at the end of a list, with one step of look-ahead ("greedy-ahead").

    Args:
        goals: of the run.
        points: number of weights of each grid.
        highest: see ``greedy_weights``.
        features: whether the items have any; without, Steck's calibration and xQuAD are left out.
        own: name -> re-ranker of the user's own, which chooses from the same two pools.
    """
    even = np.linspace(0, 1, points)
    rerankers: dict[str, Reranker] = {"mmr": mmr, "msd": msd, "sog": sog, "dpp": dpp, "ssd": ssd}
    if features:
        rerankers |= {"steck": calibrate, "xquad": xquad}
    if any(term.name == "popularity" for term, _ in goals.terms):
        rerankers["popularity-sort"] = popularity_penalised
    rerankers |= own
    # Weights of relevance near 0 and weights of the goal near 1, where raw scores matter least.
    near_0, near_1 = even**2, 1 - even[::-1] ** 2
    raw = {"mmr": (mmr, near_0), "sog": (sog, near_1), "steck": (calibrate, near_0)}
    for name, rerank in rerankers.items():
        yield RerankerGrid(name, rerank, _rounded(even))
        calibrated = partial(_rerank_probabilities, rerank=rerank)
        yield RerankerGrid(f"{name}-calibrated", calibrated, _rounded(even))
        if name in raw:
            published, weights = raw[name]
            unscaled = partial(published, normalise=False)
            yield RerankerGrid(f"{name}-raw", unscaled, _rounded(weights))
    if not goals.terms:
        return
    mixed = greedy_weights(points, highest)
    yield RerankerGrid("greedy", partial(_greedy, goals=goals), mixed)
    yield RerankerGrid("greedy-sorted", partial(_greedy_sorted, goals=goals), mixed)
    if goals.has_terminal:
        yield RerankerGrid("greedy-ahead", partial(_greedy_ahead, goals=goals), mixed)


def greedy_weights(points: int, highest: float) -> list[float]:
    """Grid of the greedy re-ranker: w of (1 − w) · accuracy + w · goals.

    It reaches from Top-K (0) to the goals alone (1). w = 1/2 is the reward of the run itself; at
    another w the goals weigh w / (1 − w) times as much as in the run. These three are always in the
    grid; the rest lies evenly between 0 and highest / (1 + highest).

    Args:
        points: number of weights, at least these three.
        highest: largest factor by which the goals weigh more than in the run, before 1.

    >>> greedy_weights(5, highest=4)
    [0.0, 0.4, 0.5, 0.8, 1.0]
    """
    even = np.linspace(0, highest / (1 + highest), max(1, points - 2))
    return sorted({0.0, 0.5, 1.0, *_rounded(even)})


def _greedy(pool: Pool, k: int, weight: float, goals: Goals) -> NDArray[np.int64]:
    """Lists that maximise the mixed reward step by step, surrogates in place of terminal goals."""
    surrogates = tuple((with_surrogates(term), factor) for term, factor in goals.terms)
    return greedy(pool, k, replace(goals, terms=surrogates).mixed_with_accuracy(weight))


def _greedy_sorted(pool: Pool, k: int, weight: float, goals: Goals) -> NDArray[np.int64]:
    slates = _greedy(pool, k=k, weight=weight, goals=goals)
    return sort_by_relevance(pool, slates, goals.mixed_with_accuracy(weight))


def _greedy_ahead(pool: Pool, k: int, weight: float, goals: Goals) -> NDArray[np.int64]:
    return greedy_lookahead(pool, k, goals.mixed_with_accuracy(weight))


def _rerank_probabilities(pool: Pool, k: int, weight: float, rerank: Reranker) -> NDArray[np.int64]:
    return rerank(pool.calibrated, k=k, weight=weight)


def _rounded(weights: NDArray[np.float64]) -> list[float]:
    """Weights with six digits, as the rows of a comparison name them."""
    found: list[float] = weights.round(6).tolist()
    return found
