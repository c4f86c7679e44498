"""MSD, SSD, xQuAD and calibration against their papers' formulas, one list and item at a time."""

from collections.abc import Callable
from math import log

import numpy as np
import pytest
from numpy.typing import NDArray

from genrec.config.errors import GenrecError
from genrec.data import Catalogue, Sequences, make_catalogue
from genrec.metrics import Context
from genrec.rerankers import Pool, calibrate, msd, ssd, xquad
from genrec.rewards import Diversity, GenreCalibration

B, C, K = 12, 15, 5
Pools = Callable[[], Pool]
Value = Callable[[Pool, int, list[int], int], float]


def cosine(catalogue: Catalogue, a: int, b: int) -> float:
    one, other = catalogue.features[a], catalogue.features[b]
    return float((one & other).sum() / np.sqrt(one.sum() * other.sum()))


def dispersion(pool: Pool, row: int, placed: list[int], item: int) -> float:
    catalogue = pool.context.catalogue
    known = catalogue.features.any(axis=1)
    return sum(1 - cosine(catalogue, item, g) for g in placed if known[item] and known[g])


def residual(newest: int) -> Value:
    """Distance of the vector from the span of the newest placed ones, by least squares."""

    def value(pool: Pool, row: int, placed: list[int], item: int) -> float:
        features = pool.context.catalogue.features.astype(float)
        unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1)
        window = unit[placed[max(0, len(placed) - newest) :]]
        found = np.linalg.lstsq(window.T, unit[item], rcond=1e-9)[0]
        return float(np.linalg.norm(unit[item] - window.T @ found))

    return value


def shares(catalogue: Catalogue, item: int) -> NDArray[np.float64]:
    return catalogue.features[item] / max(1, catalogue.features[item].sum())


def user_shares(pool: Pool, row: int) -> NDArray[np.float64]:
    catalogue = pool.context.catalogue
    each = [shares(catalogue, int(item)) for item in pool.context.histories[row]]
    known = [share for share in each if share.any()]
    return np.mean(known, axis=0) if known else np.zeros(len(catalogue.feature_names))


def aspects(pool: Pool, row: int, placed: list[int], item: int) -> float:
    catalogue, wanted, total = pool.context.catalogue, user_shares(pool, row), 0.0
    for feature, interest in enumerate(wanted):
        uncovered = 1.0
        for other in placed:
            uncovered *= 1 - shares(catalogue, other)[feature]
        total += interest * shares(catalogue, item)[feature] * uncovered
    return total


def minus_divergence(pool: Pool, row: int, placed: list[int], item: int) -> float:
    own = user_shares(pool, row)
    listed = np.mean([shares(pool.context.catalogue, each) for each in [*placed, item]], axis=0)
    mixed = 0.99 * listed + 0.01 * own
    return -sum(p * log(p / q) for p, q in zip(own, mixed, strict=True) if p > 0)


CASES = {
    "msd": (msd, dispersion),
    "ssd": (ssd, residual(K)),
    "ssd, window 3": (lambda *given, **how: ssd(*given, **how, window=3), residual(2)),
    "ssd, window 1": (lambda *given, **how: ssd(*given, **how, window=1), residual(0)),
    "xquad": (xquad, aspects),
    "calibrate": (calibrate, minus_divergence),
}


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("weight", [0.0, 0.2, 0.5, 0.8])
@pytest.mark.parametrize(("rerank", "value"), CASES.values(), ids=CASES)
def test_every_item_is_the_best_next_one(
    rerank: Callable[..., NDArray[np.int64]],
    value: Value,
    weight: float,
    normalise: bool,
    make_pool: Pools,
) -> None:
    pool = make_pool()
    relevance = pool.relevance
    if normalise:
        low, high = relevance.min(axis=1), relevance.max(axis=1)
        relevance = (relevance - low[:, None]) / (high - low)[:, None]
    slates = rerank(pool, K, weight, normalise=normalise)
    for row in range(B):
        of = dict(zip(pool.items[row].tolist(), relevance[row].tolist(), strict=True))
        for j in range(K):
            placed = slates[row, :j].tolist()
            worth = {
                item: weight * of[item] + (1 - weight) * value(pool, row, placed, item)
                for item in of
                if item not in placed
            }
            assert worth[int(slates[row, j])] == pytest.approx(max(worth.values()), abs=1e-6)


def mean_of(reward: object, slates: NDArray[np.int64], pool: Pool) -> float:
    return float(reward(slates, pool.context).sum(axis=1).mean())  # type: ignore[operator]


def test_less_weight_on_relevance_gives_more_of_the_goal(make_pool: Pools) -> None:
    for rerank, reward in ((msd, Diversity()), (calibrate, GenreCalibration())):
        pool = make_pool()
        values = [mean_of(reward, rerank(pool, K, weight), pool) for weight in (1, 0.5, 0)]
        assert values[0] < values[1] < values[2]


def test_ssd_forgets_items_that_left_the_window() -> None:
    """After a, b and c are new; then a's copy is new again where the window holds two items."""
    features = {"a": ["x"], "b": ["y"], "c": ["x"], "d": ["y"]}
    catalogue = make_catalogue(list("abcd"), features=features)
    context = Context(Sequences.from_lists([[]]), np.array([0]), catalogue, 4)
    pool = Pool(np.array([[1, 3, 2, 4]]), np.array([[4.0, 3.0, 2.0, 1.0]]), context)
    assert ssd(pool, 4, 0.2, window=2).tolist() == [[1, 2, 3, 4]]
    assert ssd(pool, 4, 0.2, window=1).tolist() == [[1, 3, 2, 4]]
    with pytest.raises(GenrecError, match="window 0 of ssd is below 1"):
        ssd(pool, 2, 0.5, window=0)


def test_xquad_covers_what_the_user_likes_most_first() -> None:
    """Two thirds x, one third y; z, which the user does not know, is worth nothing."""
    features = {"a": ["z"], "b": ["y"], "c": ["x"], "d": ["x"], "e": []}
    catalogue = make_catalogue(list("abcde"), features=features)
    context = Context(Sequences.from_lists([[4, 4, 2]]), np.array([0]), catalogue, 3)
    pool = Pool(np.array([[5, 1, 2, 3]]), np.array([[4.0, 3.0, 2.0, 1.0]]), context)
    assert xquad(pool, 3, 0.0).tolist() == [[3, 2, 5]]


@pytest.mark.parametrize("rerank", [calibrate, xquad])
def test_genres_are_needed(rerank: Callable[..., object]) -> None:
    context = Context(Sequences.from_lists([[]]), np.array([0]), make_catalogue(["a", "b"]), 1)
    pool = Pool(np.array([[1, 2]]), np.array([[2.0, 1.0]]), context)
    with pytest.raises(GenrecError, match="have no features"):
        rerank(pool, 1, 0.5)


@pytest.mark.parametrize("rerank", [calibrate, xquad])
def test_a_user_without_known_genres_gets_top_k(
    rerank: Callable[..., NDArray[np.int64]], make_pool: Pools
) -> None:
    pool = make_pool()
    unknown = Context(Sequences.from_lists([[]] * B), np.zeros(B, int), pool.context.catalogue, K)
    slates = rerank(Pool(pool.items, pool.relevance, unknown), K, 0.0)
    np.testing.assert_array_equal(slates, pool.items[:, :K])
