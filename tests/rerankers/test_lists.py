"""Re-rankers against lists worked by hand and slow implementations of their papers."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from genrec.data import Catalogue, Sequences, make_catalogue
from genrec.metrics.calibration import Calibrated
from genrec.metrics.context import Context
from genrec.recommender import TopK
from genrec.rerankers import (
    Pool,
    Reranked,
    calibrate,
    dpp,
    draw_pool,
    greedy,
    greedy_lookahead,
    local_search,
    mmr,
    msd,
    popularity_penalised,
    sog,
    ssd,
    xquad,
)
from genrec.rerankers import pool as pools
from genrec.rewards import Relevance, weighted

V, B, C, K = 40, 12, 15, 5
Pools = Callable[[], Pool]


@dataclass(frozen=True)
class Rows:
    """Scores that depend on the first item of the history."""

    rows: NDArray[np.float32]

    @property
    def num_items(self) -> int:
        return self.rows.shape[1] - 1

    def score(self, histories: Sequences) -> torch.Tensor:
        scores = torch.from_numpy(self.rows[histories.padded(1)[:, 0]])
        scores[:, 0] = -torch.inf
        return scores


def scorer() -> Rows:
    return Rows(np.random.default_rng(4).normal(size=(V + 1, V + 1)).astype(np.float32))


Function = Callable[[Pool, int], NDArray[np.int64]]
AT_TOP_K = {
    "mmr": partial(mmr, weight=1.0),
    "sog": partial(sog, weight=0.0),
    "dpp": partial(dpp, weight=1.0),
    "msd": partial(msd, weight=1.0),
    "ssd": partial(ssd, weight=1.0),
    "calibrate": partial(calibrate, weight=1.0),
    "xquad": partial(xquad, weight=1.0),
    "popularity_penalised": partial(popularity_penalised, weight=0.0),
}
MIXED = {
    "mmr": partial(mmr, weight=0.4),
    "sog": partial(sog, weight=0.4),
    "dpp": partial(dpp, weight=0.4),
    "msd": partial(msd, weight=0.4),
    "ssd": partial(ssd, weight=0.4),
    "ssd of three": partial(ssd, weight=0.4, window=3),
    "calibrate": partial(calibrate, weight=0.4),
    "xquad": partial(xquad, weight=0.4),
    "popularity_penalised": partial(popularity_penalised, weight=0.4),
    "greedy": partial(greedy, reward=weighted(["relevance", "diversity"])),
    "greedy_lookahead": partial(greedy_lookahead, reward=weighted(["relevance", "diversity"])),
}


@pytest.mark.parametrize("function", AT_TOP_K.values(), ids=AT_TOP_K)
def test_all_weight_on_relevance_is_top_k(function: Function, catalogue: Catalogue) -> None:
    histories = Sequences.from_lists([[1], [2, 3], [4], []])
    reranked = Reranked(scorer(), function, catalogue, candidates=20, batch_size=3)
    np.testing.assert_array_equal(
        reranked.recommend(histories, K), TopK(scorer()).recommend(histories, K)
    )


def test_greedy_on_relevance_alone_is_top_k(catalogue: Catalogue) -> None:
    calibrated = Calibrated(scorer(), 0.7)
    histories = Sequences.from_lists([[1], [2, 3], [4], []])
    reranked = Reranked(
        calibrated,
        partial(greedy, reward=Relevance()),
        catalogue,
        candidates=20,
        probabilities=calibrated.probabilities,
    )
    np.testing.assert_array_equal(
        reranked.recommend(histories, K), TopK(scorer()).recommend(histories, K)
    )


@pytest.mark.parametrize("function", MIXED.values(), ids=MIXED)
def test_lists_are_distinct_candidates_and_differ_from_top_k(
    function: Function, make_pool: Pools
) -> None:
    pool = make_pool()
    slates = function(pool, K)
    assert slates.dtype == np.int64
    assert slates.shape == (B, K)
    assert all(
        len(set(slate)) == K and set(slate) <= set(items)
        for slate, items in zip(slates, pool.items, strict=True)
    )
    assert (slates != pool.items[:, :K]).any()
    assert (np.sort(function(pool, C)) == np.sort(pool.items)).all()


def searched(pool: Pool, k: int) -> NDArray[np.int64]:
    return local_search(pool, pool.items[:, :k], weighted(["relevance", "diversity"]))


@pytest.mark.parametrize("function", [*MIXED.values(), searched], ids=[*MIXED, "local_search"])
def test_parts_make_the_whole(
    function: Function, monkeypatch: pytest.MonkeyPatch, make_pool: Pools
) -> None:
    whole = function(make_pool(), K)
    monkeypatch.setattr(pools, "LISTS_AT_ONCE", 5)
    np.testing.assert_array_equal(function(make_pool(), K), whole)


@pytest.mark.parametrize("function", MIXED.values(), ids=MIXED)
def test_a_candidate_of_relevance_minus_infinity_changes_nothing(
    function: Function, make_pool: Pools
) -> None:
    pool = make_pool()
    masked = pool.relevance.copy()
    masked[:, C - 4 :] = -np.inf
    shorter = Pool(pool.items[:, : C - 4], pool.relevance[:, : C - 4], pool.context)
    np.testing.assert_array_equal(
        function(Pool(pool.items, masked, pool.context), K), function(shorter, K)
    )


@pytest.mark.parametrize("function", MIXED.values(), ids=MIXED)
def test_too_few_candidates_is_an_error(function: Function, make_pool: Pools) -> None:
    with pytest.raises(
        ValueError, match=f"lists of {C + 1} items cannot be made of pools with as few as {C}"
    ):
        function(make_pool(), C + 1)


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan")])
@pytest.mark.parametrize(
    "function", [mmr, msd, sog, dpp, ssd, calibrate, xquad, popularity_penalised]
)
def test_weights_lie_between_0_and_1(
    function: Callable[..., object], weight: float, make_pool: Pools
) -> None:
    with pytest.raises(ValueError, match="is not between 0 and 1"):
        function(make_pool(), K, weight)


def slow_mmr(pool: Pool, row: int, weight: float, normalise: bool) -> list[int]:
    relevance = {
        int(i): float(r) for i, r in zip(pool.items[row], pool.relevance[row], strict=True)
    }
    if normalise:
        low, high = min(relevance.values()), max(relevance.values())
        relevance = {i: (r - low) / (high - low) for i, r in relevance.items()}
    genres = pool.context.catalogue.features

    def cosine(a: int, b: int) -> float:
        if not genres[a].any():
            return 1.0
        return float(
            (genres[a] & genres[b]).sum() / np.sqrt(genres[a].sum() * max(1, genres[b].sum()))
        )

    chosen = [max(relevance, key=lambda i: relevance[i])]
    while len(chosen) < K:
        rest = [i for i in relevance if i not in chosen]
        scores = [
            weight * relevance[i] - (1 - weight) * max(cosine(i, g) for g in chosen) for i in rest
        ]
        chosen.append(rest[int(np.argmax(np.round(scores, 6)))])
    return chosen


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("weight", [0.0, 0.3, 0.7])
def test_mmr_agrees_with_a_slow_implementation(
    weight: float, normalise: bool, make_pool: Pools
) -> None:
    pool = make_pool()
    slates = mmr(pool, K, weight, normalise=normalise)
    expected = [slow_mmr(pool, row, weight, normalise) for row in range(B)]
    if weight == 0:  # ties to the last bit are broken by rounding: compare what the lists are worth
        slates, expected = slates[:, :2], [row[:2] for row in expected]
    assert slates.tolist() == expected


def slow_sog(pool: Pool, row: int, weight: float) -> list[int]:
    catalogue = pool.context.catalogue
    relevance = dict(zip(pool.items[row].tolist(), pool.relevance[row].tolist(), strict=True))
    low, high = min(relevance.values()), max(relevance.values())
    has = {i: set(np.flatnonzero(catalogue.features[i])) for i in range(V + 1)}
    everything = set(range(len(catalogue.feature_names)))
    user = set().union(*[has[int(i)] for i in pool.context.histories[row]])

    def share(item: int, covered: set[int]) -> float:
        return len(has[item] - covered) / max(1, len(everything - covered))

    chosen: list[int] = []
    while len(chosen) < K:
        covered = set().union(*[has[i] for i in chosen])
        rest = [i for i in relevance if i not in chosen]
        scores = [
            (1 - weight) * (relevance[i] - low) / (high - low)
            + weight * (share(i, covered) + share(i, user) + 1 - catalogue.user_counts[i] / 20) / 3
            for i in rest
        ]
        chosen.append(rest[int(np.argmax(scores))])
    return chosen


@pytest.mark.parametrize("weight", [0.2, 0.6, 1.0])
def test_sog_agrees_with_a_slow_implementation(weight: float, make_pool: Pools) -> None:
    pool = make_pool()
    assert sog(pool, K, weight).tolist() == [slow_sog(pool, row, weight) for row in range(B)]


def kernel(catalogue: Catalogue) -> NDArray[np.float64]:
    """(V+1, V+1) the similarities of ``dpp``: .99 cosine + .01 on the diagonal."""
    genres = catalogue.features.astype(float)
    lengths = np.maximum(np.sqrt(genres.sum(axis=1)), 1)
    return 0.99 * (genres @ genres.T) / np.outer(lengths, lengths) + 0.01 * np.eye(len(genres))


@pytest.mark.parametrize("weight", [0.1, 0.5, 0.9])
def test_dpp_takes_the_largest_determinant_at_every_step(
    weight: float, catalogue: Catalogue, make_pool: Pools
) -> None:
    """Determinants of the whole kernel from numpy, nothing carried over from step to step."""
    pool, similarity = make_pool(), kernel(catalogue)
    slates = dpp(pool, K, weight)
    scaled = (pool.relevance - pool.relevance.min(axis=1, keepdims=True)) / np.ptp(
        pool.relevance, axis=1
    )[:, None]
    for row in range(B):
        relevance = dict(zip(pool.items[row].tolist(), scaled[row].tolist(), strict=True))

        def worth(items: list[int], relevance: dict[int, float] = relevance) -> float:
            logdet = np.log(np.linalg.det(similarity[np.ix_(items, items)]))
            return weight * sum(relevance[i] for i in items) + (1 - weight) * float(logdet)

        for j in range(K):
            placed = slates[row, :j].tolist()
            best = max(worth([*placed, i]) for i in relevance if i not in placed)
            assert worth([*placed, int(slates[row, j])]) == pytest.approx(best, abs=1e-5)


def test_sog_without_features_has_unpopularity_only() -> None:
    bare = replace(make_catalogue(list("abc")), user_counts=np.array([0, 9, 1, 5]), num_users=10)
    pool = Pool(
        np.array([[1, 2, 3]]),
        np.array([[3.0, 2.0, 1.0]]),
        Context(Sequences.from_lists([[]]), np.array([0]), bare, 3),
    )
    assert sog(pool, 3, weight=1.0).tolist() == [[2, 3, 1]]
    # .5 * (1, .5, 0) + .5 * (.1, .9, .5) = .55 .7 .25
    assert sog(pool, 3, weight=0.5).tolist() == [[2, 1, 3]]


def test_sog_wants_training_users(make_pool: Pools) -> None:
    pool = make_pool()
    bare = replace(pool.context, catalogue=make_catalogue([str(i) for i in range(V)]))
    with pytest.raises(ValueError, match="no training users"):
        sog(Pool(pool.items, pool.relevance, bare), K, 0.5)


def test_popularity_penalised_by_hand() -> None:
    counted = replace(make_catalogue(list("abc")), counts=np.array([0, 6, 3, 1]))
    context = Context(Sequences.from_lists([[]]), np.array([0]), counted, 3)
    pool = Pool(np.array([[1, 2, 3]]), np.array([[2.0, 1.9, 0.0]]), context)
    # scaled relevance 1 .95 0, popularity 1 .5 .1667
    assert popularity_penalised(pool, 3, 0.05).tolist() == [[1, 2, 3]]  # .9 .8775 -.008
    assert popularity_penalised(pool, 3, 0.2).tolist() == [[2, 1, 3]]  # .6 .66 -.033
    assert popularity_penalised(pool, 3, 0.7).tolist() == [[2, 3, 1]]  # -.4 -.065 -.117
    # raw: shares .6 .3 .1; 0.2: 1.48 1.46 -.02
    assert popularity_penalised(pool, 3, 0.2, normalise=False).tolist() == [[1, 2, 3]]
    assert popularity_penalised(pool, 3, 1.0, normalise=False).tolist() == [[3, 2, 1]]


def test_a_pool_holds_unseen_items_best_first_and_masks_the_rest(catalogue: Catalogue) -> None:
    histories = Sequences.from_lists([[1, 2, 3], list(range(1, 34)) * 2])
    pool = draw_pool(scorer(), histories, catalogue, k=2, candidates=10)
    assert (np.diff(pool.relevance[0]) <= 0).all()
    assert not set(pool.items[0]) & {0, 1, 2, 3}
    assert pool.allowed.sum(axis=1).tolist() == [10, 7]
    assert set(pool.items[1][pool.allowed[1]]) == set(range(34, 41))
    assert pool.context.of_probabilities is None


def test_a_list_does_not_depend_on_the_others_in_its_batch(catalogue: Catalogue) -> None:
    histories = Sequences.from_lists([[1, 2, 3], list(range(1, 34)), [5]])
    for function in MIXED.values():
        calibrated = Calibrated(scorer(), 1.0)
        together = Reranked(
            calibrated, function, catalogue, candidates=10, probabilities=calibrated.probabilities
        )
        apart = replace(together, batch_size=1)
        np.testing.assert_array_equal(
            together.recommend(histories, 4), apart.recommend(histories, 4)
        )


def test_users_and_candidates_that_are_too_few_are_errors(catalogue: Catalogue) -> None:
    with pytest.raises(ValueError, match="only 7 of 40 items are new"):
        Reranked(scorer(), MIXED["mmr"], catalogue).recommend(
            Sequences.from_lists([range(1, 34)]), 8
        )
    with pytest.raises(ValueError, match="as few as 3 candidates"):
        Reranked(scorer(), MIXED["mmr"], catalogue, candidates=3).recommend(
            Sequences.from_lists([[1]]), 4
        )
    assert Reranked(scorer(), MIXED["mmr"], catalogue).recommend(
        Sequences.from_lists([]), 4
    ).shape == (0, 4)


def test_pool_arrays_must_match(make_pool: Pools) -> None:
    pool = make_pool()
    with pytest.raises(ValueError, match="must describe the same lists"):
        Pool(pool.items, pool.relevance[:, 1:], pool.context)
