"""Distributions over item features, for instance genres: of an item and of a history."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from genrec.config.errors import GenrecError
from genrec.data.dataset import Catalogue
from genrec.metrics.context import Context, Floats, Slates, read_only_view


def item_shares(items: Slates, catalogue: Catalogue) -> NDArray[np.float64]:
    """p(f | item): 1 / (number of features of the item) for those that it has [Steck 2018].

    Args:
        items: (...) item indices.
        catalogue: with features.

    Returns:
        (..., F) rows that sum to 1; to 0 for an item without features.

    >>> from genrec.data import make_catalogue
    >>> catalogue = make_catalogue(["a", "b"], features={"a": ["x", "y"], "b": []})
    >>> item_shares(np.array([[1, 2]]), catalogue).tolist()
    [[[0.5, 0.5], [0.0, 0.0]]]
    """
    count = np.maximum(catalogue.feature_counts[items], 1)
    shares: NDArray[np.float64] = catalogue.features[items] / count[..., None]
    return shares


def history_shares(context: Context) -> Floats:
    """p(f | user): mean of p(f | item) over the items with features in each list's history.

    Args:
        context: of n lists.

    Returns:
        (n, F) rows that sum to 1; to 0 where no item of the history has features.

    >>> from genrec.data import Sequences, make_catalogue
    >>> catalogue = make_catalogue(["a", "b"], features={"a": ["x", "y"], "b": ["x"]})
    >>> context = Context(Sequences.from_lists([[1, 2]]), np.array([0]), catalogue, k=1)
    >>> history_shares(context).tolist()
    [[0.75, 0.25]]
    """
    derived: dict[str, NDArray[Any]] = context.derived
    if "feature_shares" not in derived:
        histories, features = context.of_histories, context.catalogue.features
        # Item i weighs 1 / (number of its features), so that one sparse product over all events is
        # the sum of p(f | item); a loop over users would be far slower.
        count = context.catalogue.feature_counts[histories.items]
        shape = (len(histories), len(features))
        weights = sparse.csr_matrix(
            (1 / np.maximum(count, 1), histories.items, histories.offsets), shape=shape
        )
        total = np.asarray(weights @ features.astype(np.float64))
        size = np.maximum(total.sum(axis=1, keepdims=True), 1)  # items with features
        derived["feature_shares"] = read_only_view(total / size)
    chosen: Floats = derived["feature_shares"][context.rows]
    return chosen


def require_features(catalogue: Catalogue) -> None:
    """Raise GenrecError if no item of the catalogue has features."""
    if not catalogue.feature_names:
        raise GenrecError(
            "the items of this log have no features, for instance genres, which this needs: take a"
            " log with an item file, or leave it out"
        )
