"""The reward for lists whose genres are distributed as those of the history."""

from dataclasses import dataclass

import numpy as np

from genrec.data.dataset import Catalogue
from genrec.metrics.context import Context, Floats, Slates
from genrec.metrics.features import history_shares, item_shares, require_features
from genrec.rewards.contract import Reward

SMOOTHING = 0.01  # α


@dataclass(frozen=True)
class GenreCalibration(Reward):
    """Minus the divergence of a list's features from the history's [Steck 2018].

    f(list) = −KL(p ‖ q̃) = −Σ_f p_f log(p_f / q̃_f),   q̃ = (1 − α) q + α p,   α = .01,

    where p is the distribution of features in the history, the mean of p(f | item) over its items,
    and q that in the list; p(f | item) is 1 / (number of the item's features) for each that it has.
    The features are those of the catalogue, usually genres. This is another concept than the
    calibration of scores.

    gain_i = f(g_1 … g_i) − f(g_1 … g_{i−1}), where f of no items is 0. The gains sum to f of the
    list: 0 where it has exactly the history's distribution, log α = −4.61 where it shares no
    feature with the history. The first gain is usually the lowest, since one item seldom has all
    features of a history; later ones are positive where they complete the distribution.

    An item without features in the list counts as an item with none of the history's features:
    otherwise unlabelled items would fill lists for free. Unlabelled items of the history do not
    count; where it has no others, every list earns 0.

    >>> from genrec.data import Sequences, make_catalogue
    >>> catalogue = make_catalogue(["a", "b", "c"], features={"a": ["x"], "b": ["x"], "c": ["y"]})
    >>> context = Context(Sequences.from_lists([[1, 3]]), np.array([0]), catalogue, k=2)

    p = (.5, .5). After b, q̃ = (.995, .005) and KL = −.5 log(.995 · .005 / .25) = 1.9585; after c
    as well, q̃ = p.

    >>> GenreCalibration()(np.array([[2, 3]]), context).round(4).tolist()
    [[-1.9585, 1.9585]]
    """

    @property
    def name(self) -> str:
        """``genre_calibration``."""
        return "genre_calibration"

    def __call__(self, slates: Slates, context: Context) -> Floats:
        """Gains (n, j); see the class.

        Raises:
            GenrecError: if the catalogue has no features.
        """
        require_features(context.catalogue)
        total = item_shares(slates, context.catalogue).cumsum(axis=1)
        length = np.arange(1, slates.shape[1] + 1)[:, None]
        value = -_divergence(history_shares(context), total / length)
        gains: Floats = np.diff(value, axis=1, prepend=0)
        return gains

    def marginal(self, slates: Slates, candidates: Slates, context: Context) -> Floats:
        """(n, C) gains in O(n·C·F·M), M being how many different numbers of features there are."""
        require_features(context.catalogue)
        own, placed = history_shares(context), slates.shape[1]
        listed = item_shares(slates, context.catalogue).sum(axis=1)
        before = _divergence(own, listed[:, None] / placed) if placed else 0
        without = _divergence(own, listed[:, None] / (placed + 1))
        added = CandidateFeatures(candidates, context.catalogue).gains(own, listed, placed)
        gains: Floats = before - without + added
        return gains


class CandidateFeatures:
    """The features of candidates, for computing what each of them takes off the divergence.

    The logarithms of q̃ with one item more differ from those without it for the item's own features
    only, and by an amount that depends on their number. They are computed once per list, feature
    and number of features, not once per candidate.
    """

    def __init__(self, candidates: Slates, catalogue: Catalogue) -> None:
        """Look up the features.

        Args:
            candidates: (n, C) item indices.
            catalogue: with features.
        """
        self._has = catalogue.features[candidates].astype(np.float64)
        number = catalogue.feature_counts[candidates]
        self._numbers = np.flatnonzero(np.bincount(number.ravel()))
        self._column = np.searchsorted(self._numbers, number)[:, :, None]

    def gains(self, own: Floats, listed: Floats, placed: int) -> Floats:
        """(n, C) KL(p ‖ q̃) with an item without features as the next one, minus that with each.

        Args:
            own: (n, F) p(f | user).
            listed: (n, F) sum of p(f | item) over the placed items.
            placed: number of placed items.
        """
        smoothed = (1 - SMOOTHING) * listed + SMOOTHING * own * (placed + 1)
        ratio = (1 - SMOOTHING) / np.where(own > 0, smoothed, 1)
        # A candidate without features has no row of ones: what it is divided by does not matter.
        share = 1 / np.maximum(self._numbers, 1)
        each = self._has @ (own[:, :, None] * np.log1p(ratio[:, :, None] * share))
        gains: Floats = np.take_along_axis(each, self._column, axis=2)[:, :, 0]
        return gains


def _divergence(own: Floats, listed: Floats) -> Floats:
    """(n, m) KL(p ‖ q̃) of p (n, F) from q (n, m, F)."""
    smoothed = (1 - SMOOTHING) * listed + SMOOTHING * own[:, None]
    # A share of 0 in both adds nothing: 0 · log(0 / 0) = 0.
    negative_entropy = (own * np.log(np.where(own > 0, own, 1))).sum(axis=1)
    logarithms = np.log(np.where(smoothed > 0, smoothed, 1))
    divergence: Floats = negative_entropy[:, None] - (logarithms @ own[:, :, None])[:, :, 0]
    return divergence
