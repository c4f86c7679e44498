"""What the training events say about items: counts, and co-occurrence vectors."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from genrec.data.dataset import Catalogue, unit_rows
from genrec.data.sequences import Sequences

NUM_ANCHORS = 256  # the items whose co-occurrences are the entries of an item's vector
ITEMS_AT_ONCE = 2**14  # rows of dense vectors that are computed at a time, to bound the memory


def with_training_counts(catalogue: Catalogue, train: Sequences) -> Catalogue:
    """The catalogue with counts, user counts and, if it has no features, vectors from training.

    Args:
        catalogue: the items.
        train: training sequences.
    """
    size = catalogue.num_items + 1
    rows = train.rows()
    user_items = sparse.csr_matrix(
        (np.ones(len(rows), np.float32), (rows, train.items)), shape=(len(train), size)
    )
    user_items.data[:] = 1  # a repeated item counts once per user
    user_counts = np.asarray(user_items.sum(axis=0)).ravel().astype(np.int64)
    vectors = catalogue.vectors
    if not catalogue.feature_names:
        vectors = _co_occurrence_vectors(user_items, user_counts)
    counts = np.bincount(train.items, minlength=size)
    return replace(
        catalogue, counts=counts, user_counts=user_counts, num_users=len(train), vectors=vectors
    )


def _co_occurrence_vectors(
    user_items: sparse.csr_matrix, user_counts: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Positive pointwise mutual information of each item with the most popular items.

    PPMI(i, a) = max(0, log(n_ia · U / (n_i · n_a))), where n counts users, with 0 for an item and
    itself.

    Args:
        user_items: (U, V+1) with 1 where a user has an item.
        user_counts: (V+1,) number of users per item.

    Returns:
        (V+1, at most 256) unit rows.
    """
    anchors = np.argsort(-user_counts, kind="stable")[: min(NUM_ANCHORS, len(user_counts) - 1)]
    pairs = (user_items.T @ user_items[:, anchors]).tocsr()
    items = np.arange(len(user_counts))[:, None]
    vectors = np.zeros(pairs.shape, np.float32)
    for start in range(0, len(user_counts), ITEMS_AT_ONCE):
        rows = slice(start, start + ITEMS_AT_ONCE)
        together = np.where(items[rows] == anchors, 0.0, pairs[rows].toarray())
        products = user_counts[rows, None] * user_counts[anchors][None, :]
        expected = products / max(1, user_items.shape[0])
        with np.errstate(divide="ignore", invalid="ignore"):  # log 0 and 0/0 are replaced by 0
            information = np.log(together / expected)
        positive = np.where(together > 0, np.maximum(information, 0), 0)
        vectors[rows] = unit_rows(positive.astype(np.float32))
    return vectors
