"""The serendipity-oriented greedy algorithm (SOG)."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from genrec.config.errors import GenrecError
from genrec.metrics.context import Context, Floats
from genrec.rerankers.pool import Pool, in_parts, items_at, relevance_of, require_weight


def sog(pool: Pool, k: int, weight: float, *, normalise: bool = True) -> NDArray[np.int64]:
    r"""Serendipity-oriented greedy [Kotkov, Veijalainen & Wang 2017; 2020].

    next = argmax_c (1 − w) · relevance(c) + w · mean(diversity(c), distance(c), unpopularity(c)),

    - diversity: of the features that the list does not cover yet, the share that c adds,
      |F_c \ F_list| / |F \ F_list|;
    - distance: of the features that the user's history does not cover, the share that c has,
      |F_c \ F_u| / |F \ F_u|;
    - unpopularity: 1 − |training users of c| / |training users|.

    A share of an empty set is 0. The paper has a weight for each of the four terms; here one weight
    trades relevance against the mean of the other three. Without item features, unpopularity alone
    is the second term.

    Args:
        pool: candidates.
        k: length of the lists.
        weight: w in [0, 1]: 0 is Top-K.
        normalise: scale the relevance of each pool to [0, 1]; False uses it unscaled.

    Returns:
        (B, k) slates.

    Raises:
        GenrecError: if the weight is outside [0, 1], a pool holds fewer than k candidates, or the
            catalogue has no training users.

    >>> from dataclasses import replace
    >>> from genrec.data import Sequences, make_catalogue
    >>> from genrec.metrics import Context
    >>> catalogue = make_catalogue(["a", "b", "c"], features={"a": ["x"], "b": ["x"], "c": ["y"]})
    >>> catalogue = replace(catalogue, user_counts=np.array([0, 2, 2, 2]), num_users=4)
    >>> context = Context(Sequences.from_lists([[1]]), np.array([0]), catalogue, k=1)
    >>> pool = Pool(np.array([[2, 3]]), np.array([[2.0, 1.0]]), context)
    >>> sog(pool, 1, weight=0.1).tolist(), sog(pool, 1, weight=0.9).tolist()
    ([[2]], [[3]])
    """
    require_weight(weight)
    if pool.context.catalogue.num_users == 0:
        raise GenrecError(
            "the catalogue has no training users: take the catalogue of a Split, not of the Dataset"
        )
    return in_parts(pool, k, lambda part: _sog(part, k, weight, normalise))


def _sog(pool: Pool, k: int, weight: float, normalise: bool) -> NDArray[np.int64]:
    relevance = (1 - weight) * relevance_of(pool, normalise)
    catalogue, rows = pool.context.catalogue, np.arange(len(pool.items))
    constant = 1 - catalogue.user_counts[pool.items] / catalogue.num_users
    features = catalogue.features[pool.items].astype(np.float32)
    terms = 3 if catalogue.feature_names else 1
    # Unpopularity and distance from the history do not change while the list grows.
    constant = constant + _share(features, ~_profile_features(pool.context))
    missing = np.ones((len(rows), features.shape[2]), bool)
    chosen = np.empty((len(rows), k), np.int64)
    free = pool.allowed
    for position in range(k):
        score = relevance + weight * (constant + _share(features, missing)) / terms
        chosen[:, position] = best = np.where(free, score, -np.inf).argmax(axis=1)
        free[rows, best] = False
        missing &= features[rows, best] == 0
    return items_at(pool, chosen)


def _share(features: Floats, wanted: NDArray[np.bool_]) -> Floats:
    """(B, C) share of the wanted features (B, F) that each candidate (B, C, F) has.

    The share is 0 where no features are wanted.
    """
    total = np.maximum(wanted.sum(axis=1), 1)[:, None]
    share: Floats = (features @ wanted[:, :, None].astype(np.float32))[:, :, 0] / total
    return share


def _profile_features(context: Context) -> NDArray[np.bool_]:
    """(n, F) which features occur in the history of each list."""
    events, features = context.of_histories, context.catalogue.features.astype(np.float32)
    shape = (len(events), len(features))
    # One sparse product over all events; a loop over users would be far slower.
    occurrences = sparse.csr_matrix(
        (np.ones(len(events.items), np.float32), events.items, events.offsets), shape=shape
    )
    covered: NDArray[np.bool_] = np.asarray(occurrences @ features) > 0
    return covered[context.rows]
