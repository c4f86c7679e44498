"""The contract of a re-ranker."""

import numpy as np

from genrec.config.errors import GenrecError
from genrec.rerankers.pool import Pool
from genrec.rerankers.registry import Reranker, require_lists
from genrec.testing.conditions import ContractError, require
from genrec.testing.examples import example_pool

WEIGHTS = (0.0, 0.3, 0.7, 1.0)


def check_reranker(rerank: Reranker, pool: Pool | None = None, *, k: int = 5) -> None:
    """Check that a re-ranker keeps its contract.

    For every weight in [0, 1] it returns lists of k distinct candidates that may be chosen; is
    deterministic and independent of the other lists; modifies nothing that it is given; and is not
    affected by candidates that may not be chosen. At one end of the weights its lists are Top-K.
    Pools with fewer than k candidates are a GenrecError.

    Args:
        rerank: function (pool, k, weight) -> slates.
        pool: at least 3 pools, most relevant first; ``example_pool`` by default.
        k: length of the lists.

    Raises:
        ContractError: naming the re-ranker and the part of the contract.

    >>> from genrec.rerankers import mmr
    >>> check_reranker(mmr)
    """
    pool = example_pool() if pool is None else pool
    name = str(getattr(rerank, "__name__", type(rerank).__name__))
    for weight in WEIGHTS:
        _check_lists(rerank, pool, k=k, weight=weight, name=f"{name}, weight {weight}")
    ends = [rerank(pool, k, weight) for weight in (0.0, 1.0)]
    require(
        any(np.array_equal(lists, pool.items[:, :k]) for lists in ends),
        f"re-ranker {name!r} is Top-K for neither weight 0 nor weight 1",
    )
    _check_too_few(rerank, pool, name)


def _check_lists(rerank: Reranker, pool: Pool, *, k: int, weight: float, name: str) -> None:
    items, relevance = pool.items.copy(), pool.relevance.copy()
    slates = np.asarray(rerank(pool, k, weight))
    try:
        require_lists(slates, pool, k=k, name=name)
    except GenrecError as error:
        raise ContractError(str(error)) from error
    subject = f"re-ranker {name!r}"
    untouched = np.array_equal(pool.items, items) and np.array_equal(pool.relevance, relevance)
    require(untouched, f"{subject} modifies the pool")
    require(np.array_equal(rerank(pool, k, weight), slates), f"{subject} is not deterministic")
    rows = np.array([2, 0, 2])  # other neighbours, another order, and one pool twice
    require(
        np.array_equal(rerank(pool.take(rows), k, weight), slates[rows]),
        f"{subject}: a list depends on the other lists",
    )
    # The same candidates, once masked and once left out.
    masked = np.where(np.arange(pool.items.shape[1]) < k + 2, pool.relevance, -np.inf)
    narrow = Pool(pool.items[:, : k + 2], pool.relevance[:, : k + 2], pool.context)
    require(
        np.array_equal(
            rerank(Pool(pool.items, masked, pool.context), k, weight), rerank(narrow, k, weight)
        ),
        f"{subject}: candidates that may not be chosen change the lists",
    )


def _check_too_few(rerank: Reranker, pool: Pool, name: str) -> None:
    k = pool.items.shape[1] + 1
    try:
        rerank(pool, k, 0.5)
    except GenrecError:
        return
    raise ContractError(
        f"re-ranker {name!r} raises no GenrecError for lists of {k} out of {k - 1} candidates"
    )
