"""What any scorer of sequences must learn, and what it must not."""

import math
from collections.abc import Callable

import numpy as np

from genrec.data.splits import Split
from genrec.metrics.ranking import discount, evaluate
from genrec.recommender import Scorer, TopK
from genrec.testing.conditions import require
from genrec.testing.examples import chain_split

K = 10


def check_learns_chain(fit: Callable[[Split], Scorer]) -> None:
    """Check that a scorer learns a log in which the last item determines the next one.

    On the test users its NDCG@10 is at least three times that of random lists, and the first item
    of more than half of the lists is right. A scorer that treats a history as a set of items, such
    as matrix factorisation, cannot pass.

    Args:
        fit: trains a scorer on a split (``chain_split``).

    Raises:
        ContractError: with what it reached.
    """
    split = chain_split(0.05)
    ndcg, recall = _accuracy(fit(split), split)
    chance, _ = ndcg_at_chance(split)
    require(ndcg > 3 * chance, f"NDCG@{K} is {ndcg:.3f}; random lists have {chance:.3f}")
    require(recall > 0.5, f"the first item is right in {recall:.0%} of the lists")


def check_stays_at_chance(fit: Callable[[Split], Scorer]) -> None:
    """Check that a scorer finds nothing in a log that is pure noise.

    On the test users its NDCG@10 is less than four standard errors above that of random lists; a
    scorer that sees what it has to predict fails here.

    Args:
        fit: trains a scorer on a split (``chain_split(1.0)``).

    Raises:
        ContractError: with what it reached.
    """
    split = chain_split(1.0)
    ndcg, _ = _accuracy(fit(split), split)
    chance, error = ndcg_at_chance(split)
    require(
        ndcg < chance + 4 * error,
        f"NDCG@{K} is {ndcg:.3f} on noise, where random lists have {chance:.3f} +- {error:.3f}",
    )


def ndcg_at_chance(split: Split) -> tuple[float, float]:
    """NDCG@10 of random lists of unseen items on the test users: mean and standard error.

    All histories of the split are of the same length, without repeats.
    """
    length = len(split.test.histories[0])
    # The target is one of the unseen items, at every rank with the same probability.
    gains = np.zeros(split.catalogue.num_items - length)  # by the rank of the one relevant item
    gains[:K] = discount(K)
    return float(gains.mean()), float(gains.std() / math.sqrt(len(split.test)))


def _accuracy(scorer: Scorer, split: Split) -> tuple[float, float]:
    means = evaluate(TopK(scorer), split.test, split.catalogue, k=K).means
    return means[f"ndcg@{K}"], means["recall@1"]
