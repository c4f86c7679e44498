"""Codes of items for RecJPQ: items that the same users know get the same sub-items."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import svds

from genrec.data.sequences import Sequences

CODES = 256
NOISE = 1e-5  # of scaled factors; tells equal items apart and changes the order of no others


def svd_codes(train: Sequences, num_items: int, splits: int, seed: int) -> NDArray[np.uint8]:
    """Codes from a truncated SVD of the user x item matrix [Petrov & Macdonald 2024b].

    Factor j of the items is scaled to [0, 1], moved by N(0, 1e-5) noise so that no two are equal, and cut into 256 bins
    of the same size: code j. Items that nobody has get the codes of a zero factor. A matrix too small for m factors
    leaves the other codes to the noise.

    Args:
        train: training sequences of item indices.
        num_items: V.
        splits: m.
        seed: of the noise and of the SVD's start.

    Returns:
        (V+1, m); row 0 (PAD) is zero.
    """
    generator = np.random.default_rng(seed)
    factors = np.zeros((num_items, splits))
    matrix = _user_item_matrix(train, num_items)
    rank = min(splits, min(matrix.shape) - 1)
    if rank > 0:
        _, sizes, components = svds(matrix, k=rank, v0=generator.standard_normal(min(matrix.shape)))
        factors[:, :rank] = components[np.argsort(-sizes)].T
    low, high = factors.min(axis=0), factors.max(axis=0)
    scaled = (factors - low) / (high - low + 1e-10)
    return _quantile_bins(scaled + generator.normal(0, NOISE, scaled.shape))


def _user_item_matrix(train: Sequences, num_items: int) -> sparse.csr_matrix:
    """1 where a user has an item, (N, V)."""
    rows = train.rows()
    matrix = sparse.csr_matrix((np.ones(len(rows)), (rows, train.items - 1)), shape=(len(train), num_items))
    matrix.data[:] = 1  # a repeated item counts once
    return matrix


def _quantile_bins(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """(V+1, m) bins of the same number of values in each column of (V, m), after a row of zeros for PAD."""
    num_items = len(values)
    ranks = values.argsort(axis=0).argsort(axis=0)
    codes = np.zeros((num_items + 1, values.shape[1]), np.uint8)
    codes[1:] = ranks * CODES // num_items
    return codes
