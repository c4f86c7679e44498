"""The contract of a recommender."""

import numpy as np

from genrec.config.errors import GenrecError
from genrec.data.sequences import Sequences
from genrec.recommender import Recommender
from genrec.testing.conditions import ContractError, require
from genrec.testing.examples import example_histories


def check_recommender(
    recommender: Recommender,
    num_items: int,
    histories: Sequences | None = None,
    *,
    k: int = 5,
) -> None:
    """Check that a recommender keeps its contract.

    It returns lists of k distinct items that are not in the history. The lists are deterministic
    and do not depend on the other histories of a batch. No histories at all give no lists, and a
    history that leaves fewer than k items is a GenrecError.

    Args:
        recommender: the recommender.
        num_items: V, the number of items.
        histories: what to recommend for; ``example_histories`` by default, for a recommender of at
            least 36 items. Each leaves k unseen items.
        k: length of the lists.

    Raises:
        ContractError: naming the part of the contract.
    """
    histories = example_histories() if histories is None else histories
    slates = np.asarray(recommender.recommend(histories, k))
    expected = (len(histories), k)
    require(slates.shape == expected, f"lists have shape {slates.shape}, not {expected}")
    require(slates.dtype.kind in "iu", f"lists hold {slates.dtype} values, not item indices")
    for n, slate in enumerate(slates.tolist()):
        subject = f"list {n}: {slate}"
        require(len(set(slate)) == k, f"{subject} holds an item twice")
        are_items = min(slate) >= 1 and max(slate) <= num_items
        require(are_items, f"{subject} holds indices outside 1..{num_items}")
        require(not set(slate) & set(histories[n].tolist()), f"{subject} holds a seen item")
        alone = recommender.recommend(histories.take([n]), k)
        require(np.array_equal(alone[0], slate), f"{subject} depends on its batch")
    again = recommender.recommend(histories, k)
    require(np.array_equal(again, slates), "recommending again gives other lists")
    empty = recommender.recommend(histories.take(np.arange(0)), k)
    require(empty.shape == (0, k), "no histories give no empty table")
    _check_too_few(recommender, num_items, k)


def _check_too_few(recommender: Recommender, num_items: int, k: int) -> None:
    nearly_all = np.arange(1, num_items - k + 2)  # leaves k - 1 items
    times = 60 * np.arange(len(nearly_all))
    try:
        recommender.recommend(Sequences.from_lists([nearly_all], times=[times]), k)
    except GenrecError:
        return
    raise ContractError(f"no GenrecError for a list of {k} where only {k - 1} items are unseen")
