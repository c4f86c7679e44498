"""A reward in a package of its own: the share of all genres that a list covers."""

import numpy as np

from genrec.rewards import reward


@reward(name="genre-coverage")
def genre_coverage(slates, context):
    """Share of all genres that the list covers, paid to the first item of each genre.

    gain_i = |genres(g_i) − genres(g_1 … g_{i−1})| / number of genres

    Args:
        slates: (n, j) item indices, the first j positions of n lists.
        context: context of these lists; the features of its catalogue are read.

    Returns:
        (n, j) gains, which sum to the share of genres that the list covers.
    """
    genres = context.catalogue.features[slates]  # (n, j, number of genres)
    covered = np.logical_or.accumulate(genres, axis=1)
    return np.diff(covered.sum(axis=2), axis=1, prepend=0) / max(1, genres.shape[2])
