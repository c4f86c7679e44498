"""A reward that a package brings along: the share of all genres that a list touches."""

import numpy as np

from genrec.rewards import reward


@reward(name="genre-coverage")
def genre_coverage(slates, context):
    """Share of all genres that the list touches, paid to the item that brings a genre first.

    gain_i = |genres(g_i) − genres(g_1 … g_{i−1})| / number of genres

    Args:
        slates: (n, j) item indices, the first j positions of n lists.
        context: of those lists; read here: the features in its catalogue.

    Returns:
        (n, j) gains; they sum to the share of genres that the list covers.
    """
    genres = context.catalogue.features[slates]  # (n, j, number of genres)
    covered = np.logical_or.accumulate(genres, axis=1)
    return np.diff(covered.sum(axis=2), axis=1, prepend=0) / max(1, genres.shape[2])
