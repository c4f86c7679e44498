"""Histories as sparse rows over the items, and sparse tables of item pairs."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from genrec.config.errors import GenrecError
from genrec.data.sequences import Sequences

DENSE_ENTRIES = 2**22
Floats = NDArray[np.float32]
Weight = Callable[[Floats, Floats, Floats], Floats]
"""Users of both items, users of the first, users of the second (one number a pair) -> the weight of
the pair."""


def require_known(histories: Sequences, num_items: int) -> None:
    """Raise where a history holds an item above V."""
    if int(histories.items.max(initial=0)) > num_items:
        raise GenrecError(
            f"a history holds item {histories.items.max()}, but this scorer knows items"
            f" 1..{num_items}"
        )


def profiles(histories: Sequences, num_items: int, decay: float = 1.0) -> sparse.csr_matrix:
    """(N, V+1) sparse float32: β^(d-1) where the item was last seen as the d-th newest of the
    history.

    With β = 1 that is the binary vector of a history. An item that comes several times counts once.

    Args:
        histories: N histories.
        num_items: V.
        decay: β, in (0, 1].

    Raises:
        GenrecError: if a history holds an item above V.

    >>> profiles(Sequences.from_lists([[1, 2, 1], [3]]), num_items=3, decay=0.5).toarray().tolist()
    [[0.0, 1.0, 0.5, 0.0], [0.0, 0.0, 0.0, 1.0]]
    """
    require_known(histories, num_items)
    size, rows = num_items + 1, histories.rows()
    key = rows * size + histories.items
    unique, last = np.unique(key[::-1], return_index=True)
    newest = len(key) - 1 - last
    gap = histories.offsets[1:][rows[newest]] - newest
    values = (float(decay) ** (gap - 1)).astype(np.float32)
    indptr = np.searchsorted(unique // size, np.arange(len(histories) + 1))
    return sparse.csr_matrix((values, unique % size, indptr), shape=(len(histories), size))


def pair_table(
    train: Sequences, num_items: int, weight: Weight, keep: int, block: int = 1024
) -> sparse.csr_matrix:
    """A weight for each pair of items that some training user has both of; the largest of each row
    are kept.

    Args:
        train: training sequences, one per user; order and repetitions play no part.
        num_items: V.
        weight: of a pair; pairs of weight 0 are left out.
        keep: pairs kept in each row.
        block: rows worked on at a time; bounds the memory.

    Returns:
        (V+1, V+1) sparse float32; the diagonal is empty.
    """
    once = profiles(train, num_items)
    by_item = once.T.tocsr()
    user_counts = np.diff(by_item.indptr).astype(np.float32)
    tables = []
    for start in range(0, num_items + 1, block):
        both = (by_item[start : start + block] @ once).tocsr()
        rows = start + np.repeat(np.arange(both.shape[0]), np.diff(both.indptr))
        both.data = np.where(
            rows == both.indices, 0, weight(both.data, user_counts[rows], user_counts[both.indices])
        )
        both.eliminate_zeros()
        tables.append(largest(both, keep))
    return sparse.csr_matrix(sparse.vstack(tables, format="csr"), dtype=np.float32)


def largest(table: sparse.csr_matrix, count: int) -> sparse.csr_matrix:
    """The table, of positive entries, with the ``count`` largest of each row; of equal ones the
    smaller columns stay.

    >>> table = sparse.csr_matrix([[3.0, 1.0, 2.0, 2.0], [0.0, 0.0, 5.0, 0.0]])
    >>> largest(table, count=2).toarray().tolist()
    [[3.0, 0.0, 2.0, 0.0], [0.0, 0.0, 5.0, 0.0]]
    """
    lengths = np.diff(table.indptr)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    near = np.flatnonzero(
        table.data >= _thresholds(table, count)[rows]
    )  # the count largest, and what equals the last
    sizes = np.bincount(rows[near], minlength=len(lengths))
    order = near[np.lexsort((table.indices[near], -table.data[near], rows[near]))]
    rank = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    kept = np.sort(order[rank < count])
    indptr = np.concatenate([[0], np.cumsum(np.minimum(sizes, count))])
    return sparse.csr_matrix((table.data[kept], table.indices[kept], indptr), shape=table.shape)


def _thresholds(table: sparse.csr_matrix, count: int) -> Floats:
    """(N,) the count-th largest entry of each row, 0 where there are fewer; made dense a few rows
    at a time.
    """
    size, columns = table.shape
    if columns <= count:
        return np.zeros(size, np.float32)
    step, place = max(1, DENSE_ENTRIES // columns), columns - count
    blocks = (table[start : start + step].toarray() for start in range(0, size, step))
    return np.concatenate(
        [np.zeros(0, np.float32), *(np.partition(rows, place)[:, place] for rows in blocks)]
    )
