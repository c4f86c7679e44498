"""Codes of items for RecJPQ: items with similar users or features get the same sub-items."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import svds

from genrec.config.errors import GenrecError
from genrec.data.sequences import Sequences
from genrec.models.sub_items import NUM_CODES

NOISE = 1e-5  # of scaled factors: it orders equal items at random and hardly reorders others


def svd_codes(train: Sequences, num_items: int, *, splits: int, seed: int) -> NDArray[np.uint8]:
    """Codes from a truncated SVD of the user x item matrix [Petrov & Macdonald 2024b].

    Items without events get the codes of a zero factor. A matrix that is too small for m factors
    leaves the codes of the other splits to the noise, see ``factor_codes``.

    Args:
        train: training sequences of item indices.
        num_items: V.
        splits: m, the number of codes per item.
        seed: seed of the noise and of the SVD's initial vector.

    Returns:
        (V+1, m); row 0 (PAD) is zero.
    """
    generator = np.random.default_rng(seed)
    factors = _svd_factors(_user_item_matrix(train, num_items), splits, generator)
    return factor_codes(factors, generator)


def feature_codes(features: NDArray[np.bool_], *, splits: int, seed: int) -> NDArray[np.uint8]:
    """Codes from a truncated SVD of the item x feature matrix.

    Items with the same features get the same or neighbouring codes. There are at most F − 1 factors
    for F features; the noise decides the codes of the other splits, and the order of items with
    equal features.

    Args:
        features: (V+1, F) multi-hot, such as ``Catalogue.features``.
        splits: m, the number of codes per item.
        seed: seed of the noise and of the SVD's initial vector.

    Returns:
        (V+1, m); row 0 (PAD) is zero.

    Raises:
        GenrecError: if no item has a feature.
    """
    if not features.any():
        raise GenrecError(
            "codes=features needs features of items, and this log has none: name a file of items"
            " with genres or categories (read.items), or choose teacher.embedding.codes svd, bpr or"
            " random"
        )
    generator = np.random.default_rng(seed)
    matrix = sparse.csr_matrix(features[1:].T, dtype=np.float64)
    return factor_codes(_svd_factors(matrix, splits, generator), generator)


def factor_codes(
    factors: NDArray[np.floating], generator: np.random.Generator
) -> NDArray[np.uint8]:
    """Codes from m numbers per item, such as the item vectors of a matrix factorisation.

    [Petrov & Macdonald 2024b]. Factor j is scaled to [0, 1], disturbed by N(0, 1e-5) noise so that
    no two items are equal, and cut into 256 bins of the same size: code j.

    Args:
        factors: (V, m), without a row for PAD.
        generator: random numbers for the noise.

    Returns:
        (V+1, m); row 0 (PAD) is zero.

    # ranks 2, 0, 1 of 3
    >>> factor_codes(np.array([[3.0], [1.0], [2.0]]), np.random.default_rng(0)).T.tolist()
    [[0, 170, 0, 85]]
    """
    low, high = factors.min(axis=0), factors.max(axis=0)
    scaled = (factors - low) / (high - low + 1e-10)
    return _quantile_bins(scaled + generator.normal(0, NOISE, scaled.shape))


def _svd_factors(
    matrix: sparse.csr_matrix, splits: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """(V, m) right singular vectors of (N, V), largest value first, zero beyond the rank."""
    factors = np.zeros((matrix.shape[1], splits))
    rank = min(splits, min(matrix.shape) - 1)
    if rank > 0:
        # With a given initial vector the result does not depend on global random state.
        start = generator.standard_normal(min(matrix.shape))
        _, sizes, components = svds(matrix, k=rank, v0=start)
        factors[:, :rank] = components[np.argsort(-sizes)].T
    return factors


def _user_item_matrix(train: Sequences, num_items: int) -> sparse.csr_matrix:
    """(N, V) matrix with 1 where a user has an item."""
    rows = train.rows()
    matrix = sparse.csr_matrix(
        (np.ones(len(rows)), (rows, train.items - 1)), shape=(len(train), num_items)
    )
    matrix.data[:] = 1  # a repeated item counts once
    return matrix


def _quantile_bins(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Bins of equal size in each column of (V, m); (V+1, m) with a row of zeros for PAD."""
    num_items = len(values)
    ranks = values.argsort(axis=0).argsort(axis=0)
    codes = np.zeros((num_items + 1, values.shape[1]), np.uint8)
    codes[1:] = ranks * NUM_CODES // num_items
    return codes
