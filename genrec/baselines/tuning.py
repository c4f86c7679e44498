"""Choosing among candidates on validation cases."""

from collections.abc import Iterable
from typing import TypeVar

import numpy as np

from genrec.config.errors import GenrecError
from genrec.data.cases import Cases
from genrec.metrics.ranking import discount
from genrec.recommender import Scorer, batches, unseen_scores

S = TypeVar("S", bound=Scorer)


def best(candidates: Iterable[S], cases: Cases) -> S:
    """The candidate with the highest NDCG@10 on the cases; the first of equally good ones.

    Args:
        candidates: scorers, at least one.
        cases: validation cases, never test cases.

    Raises:
        GenrecError: without cases.
    """
    if not len(cases):
        raise GenrecError(
            "no validation case to tune the baseline on: split with some, or set the value"
            " (decay and smoothing, or neighbours)"
        )
    return max(candidates, key=lambda candidate: ndcg(candidate, cases))


def ndcg(scorer: Scorer, cases: Cases, k: int = 10) -> float:
    """Mean NDCG@k over the cases, seen items filtered, equal scores in the order of the items."""
    ranks = []
    for start, histories in zip(
        range(0, len(cases), 512), batches(cases.histories, 512), strict=True
    ):
        scores = unseen_scores(scorer, histories).numpy()
        target = cases.targets[start : start + 512, None].astype(np.int64)
        own = np.take_along_axis(scores, target, axis=1)
        ahead = (scores > own) | ((scores == own) & (np.arange(scores.shape[1]) < target))
        ranks.append(np.where(own[:, 0] > -np.inf, ahead.sum(axis=1), k))
    gain = np.append(discount(k), 0.0)
    return float(gain[np.minimum(np.concatenate(ranks), k)].mean())
