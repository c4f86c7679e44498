"""Lists from a pool of candidates: MMR, SOG, popularity penalty, and greedy on any reward.

All are vectorised over the B pools and their C candidates and loop over the k positions only. The vectors of a pool
take B·C·D float32, so only so many pools are worked on at a time that they stay below VALUES_AT_ONCE. No similarity
matrix (B, C, C) is built.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from genrec.data.dataset import Catalogue
from genrec.data.sequences import Sequences
from genrec.metrics import Context, Floats, Slates
from genrec.recommender import Scorer, batches, mask_seen, require_choice, top_k
from genrec.rewards.reward import Reward

LISTS_AT_ONCE = 1024
VALUES_AT_ONCE = 2**26  # 256 MB of float32


@dataclass(frozen=True, eq=False)
class Pool:
    """What a re-ranker chooses from.

    Attributes:
        items: (B, C) distinct candidates, best first.
        relevance: (B, C) their scores or probabilities; -inf marks a candidate that may not be chosen.
        context: of the B lists.
    """

    items: Slates
    relevance: Floats
    context: Context

    def __post_init__(self) -> None:
        if self.items.shape != self.relevance.shape or len(self.items) != len(self.context):
            raise ValueError(
                f"items {self.items.shape}, relevance {self.relevance.shape} and context ({len(self.context)},)"
                " must describe the same lists"
            )

    @property
    def allowed(self) -> NDArray[np.bool_]:
        """(B, C) which candidates may be chosen."""
        flags: NDArray[np.bool_] = self.relevance > -np.inf
        return flags


def mmr(pool: Pool, k: int, weight: float, normalise: bool = True) -> NDArray[np.int64]:
    """Maximal marginal relevance [Carbonell & Goldstein 1998].

    next = argmax_c λ · relevance(c) − (1 − λ) · max_{g placed} cos(c, g);   the first item is the most relevant one.

    A candidate of which nothing is known counts as similar (1) to whatever was placed, as ``Diversity`` counts it as
    at distance 0: otherwise unlabelled items would look most diverse.

    Args:
        pool: candidates.
        k: length of the lists.
        weight: λ in [0, 1]: 1 is Top-K, 0 ignores relevance after the first item.
        normalise: scale the relevance of each pool to [0, 1], so that λ means the same for every scorer and user;
            False takes it raw, as [Petrov 2025, ch. 8].

    Returns:
        (B, k) slates.

    Raises:
        ValueError: if the weight is outside [0, 1] or a pool holds fewer than k candidates.

    >>> from genrec.data import make_catalogue
    >>> catalogue = make_catalogue(["a", "b", "c"], features={"a": ["x"], "b": ["x"], "c": ["y"]})
    >>> context = Context(Sequences.from_lists([[]]), np.array([0]), catalogue, k=2)
    >>> pool = Pool(np.array([[1, 2, 3]]), np.array([[3.0, 2.0, 1.0]]), context)
    >>> mmr(pool, 2, weight=0.5).tolist(), mmr(pool, 2, weight=0.8).tolist()
    ([[1, 3]], [[1, 2]])
    """
    _require_weight(weight)
    return _in_parts(pool, k, lambda part: _mmr(part, k, weight, normalise))


def _mmr(pool: Pool, k: int, weight: float, normalise: bool) -> NDArray[np.int64]:
    relevance = _relevance(pool, normalise)
    vectors = pool.context.catalogue.vectors[pool.items]
    rows = np.arange(len(pool.items))
    similarity = np.where(pool.context.catalogue.known[pool.items], 0.0, 1.0)
    chosen = np.empty((len(rows), k), np.int64)
    score = relevance
    free = pool.allowed
    for position in range(k):
        chosen[:, position] = best = np.where(free, score, -np.inf).argmax(axis=1)
        free[rows, best] = False
        similarity = np.maximum(similarity, (vectors @ vectors[rows, best][:, :, None])[:, :, 0])
        score = weight * relevance - (1 - weight) * similarity
    return _items(pool, chosen)


def sog(pool: Pool, k: int, weight: float, normalise: bool = True) -> NDArray[np.int64]:
    r"""Serendipity-oriented greedy [Kotkov, Veijalainen & Wang 2017; 2020].

    next = argmax_c (1 − w) · relevance(c) + w · mean(diversity(c), distance(c), unpopularity(c)),

    diversity = share of the features that the list does not cover yet which c adds, |F_c \ F_list| / |F \ F_list|;
    distance = share of the features that the user's history does not cover which c has, |F_c \ F_u| / |F \ F_u|;
    unpopularity = 1 − |training users of c| / |training users|. A share of nothing is 0.

    The paper weighs the four terms freely; here one knob trades relevance against the other three, equally weighted.
    A catalogue without features leaves only unpopularity, which is then the whole second term.

    Args:
        pool: candidates.
        k: length of the lists.
        weight: w in [0, 1]: 0 is Top-K.
        normalise: scale the relevance of each pool to [0, 1]; False takes it raw.

    Returns:
        (B, k) slates.

    Raises:
        ValueError: if the weight is outside [0, 1], a pool holds fewer than k candidates, or the catalogue has no
            training users.

    >>> from dataclasses import replace
    >>> from genrec.data import make_catalogue
    >>> catalogue = make_catalogue(["a", "b", "c"], features={"a": ["x"], "b": ["x"], "c": ["y"]})
    >>> catalogue = replace(catalogue, audience=np.array([0, 2, 2, 2]), num_users=4)
    >>> context = Context(Sequences.from_lists([[1]]), np.array([0]), catalogue, k=1)
    >>> pool = Pool(np.array([[2, 3]]), np.array([[2.0, 1.0]]), context)
    >>> sog(pool, 1, weight=0.1).tolist(), sog(pool, 1, weight=0.9).tolist()
    ([[2]], [[3]])
    """
    _require_weight(weight)
    if pool.context.catalogue.num_users == 0:
        raise ValueError("the catalogue has no training users: take the catalogue of a Split, not of the Dataset")
    return _in_parts(pool, k, lambda part: _sog(part, k, weight, normalise))


def _sog(pool: Pool, k: int, weight: float, normalise: bool) -> NDArray[np.int64]:
    relevance = (1 - weight) * _relevance(pool, normalise)
    catalogue, rows = pool.context.catalogue, np.arange(len(pool.items))
    constant = 1 - catalogue.audience[pool.items] / catalogue.num_users
    features = catalogue.features[pool.items].astype(np.float32)
    terms = 3 if catalogue.feature_names else 1
    constant = constant + _share(features, ~_profile_features(pool.context))
    missing = np.ones((len(rows), features.shape[2]), bool)
    chosen = np.empty((len(rows), k), np.int64)
    free = pool.allowed
    for position in range(k):
        score = relevance + weight * (constant + _share(features, missing)) / terms
        chosen[:, position] = best = np.where(free, score, -np.inf).argmax(axis=1)
        free[rows, best] = False
        missing &= features[rows, best] == 0
    return _items(pool, chosen)


def popularity_penalised(pool: Pool, k: int, weight: float, normalise: bool = True) -> NDArray[np.int64]:
    """One sort by relevance minus popularity.

    score(c) = (1 − w) · relevance(c) − w · p(c) / max p,   p = share of the training events that are of the item.

    Args:
        pool: candidates.
        k: length of the lists.
        weight: w in [0, 1]: 0 is Top-K, 1 the least popular candidates.
        normalise: scale the relevance of each pool to [0, 1]; False takes relevance and p raw, as the greedy baseline
            of [Petrov 2025, ch. 8].

    Returns:
        (B, k) slates.

    Raises:
        ValueError: if the weight is outside [0, 1] or a pool holds fewer than k candidates.

    >>> from dataclasses import replace
    >>> from genrec.data import make_catalogue
    >>> catalogue = replace(make_catalogue(["a", "b", "c"]), counts=np.array([0, 9, 3, 0]))
    >>> context = Context(Sequences.from_lists([[]]), np.array([0]), catalogue, k=2)
    >>> pool = Pool(np.array([[1, 2, 3]]), np.array([[3.0, 2.0, 1.0]]), context)
    >>> popularity_penalised(pool, 2, weight=0.6).tolist()
    [[2, 3]]
    """
    _require_weight(weight)
    _require_candidates(pool, k)
    relevance = _relevance(pool, normalise)
    shares = pool.context.catalogue.popularity
    cost = shares[pool.items] / (shares.max() or 1.0 if normalise else 1.0)
    score = np.where(pool.allowed, (1 - weight) * relevance - weight * cost, -np.inf)
    return _items(pool, np.argsort(-score, axis=1, kind="stable")[:, :k])


def greedy(pool: Pool, k: int, reward: Reward) -> NDArray[np.int64]:
    """Repeatedly the candidate with the largest marginal gain: expected-reward greedy.

    With ``Relevance`` among the terms and calibrated probabilities in the context this maximises, step by step, the
    expected return that reinforcement learning is after, without learning. Equal gains go to the candidate that comes
    first in the pool.

    Args:
        pool: candidates; their relevance only says which may be chosen, the context carries what the reward needs.
        k: length of the lists, also the K of the reward.
        reward: what lists should earn.

    Returns:
        (B, k) slates.

    Raises:
        ValueError: if a pool holds fewer than k candidates.

    >>> from genrec.data import make_catalogue
    >>> from genrec.rewards.reward import FunctionReward
    >>> context = Context(Sequences.from_lists([[]]), np.array([0]), make_catalogue(["a", "b", "c"]), k=2)
    >>> pool = Pool(np.array([[1, 2, 3]]), np.array([[3.0, 2.0, 1.0]]), context)
    >>> greedy(pool, 2, FunctionReward(lambda slates, context: slates % 3, "rest")).tolist()
    [[2, 1]]
    """
    return _in_parts(pool, k, lambda part: _greedy(part, k, reward))


def _greedy(pool: Pool, k: int, reward: Reward) -> NDArray[np.int64]:
    rows = np.arange(len(pool.items))
    slates = np.empty((len(rows), k), np.int64)
    free = pool.allowed
    for position in range(k):
        gains = reward.marginal(slates[:, :position], pool.items, pool.context)
        best = np.where(free, gains, -np.inf).argmax(axis=1)
        slates[:, position] = pool.items[rows, best]
        free[rows, best] = False
    return slates


def draw_pool(
    scorer: Scorer,
    histories: Sequences,
    catalogue: Catalogue,
    k: int,
    candidates: int = 100,
    probabilities: Callable[[Sequences], Floats] | None = None,
) -> Pool:
    """The best unseen items of a scorer, as a pool; one pool serves a whole grid of weights.

    Args:
        scorer: of the relevance.
        histories: B histories.
        catalogue: of the training events.
        k: length of the lists to come.
        candidates: C; fewer where the catalogue is smaller. A user with fewer unseen items has -inf in the rest.
        probabilities: histories -> (B, V+1) calibrated P(item | history), for rewards that need them.

    Raises:
        ValueError: where a history leaves fewer than k items, or there are fewer candidates than k.
    """
    scores = mask_seen(scorer.score(histories), histories)
    require_choice(scores, k)
    relevance, items = top_k(scores, min(candidates, catalogue.num_items))
    chances = probabilities(histories) if probabilities else None
    context = Context(histories, np.zeros(len(histories), np.int64), catalogue, k, chances)
    pool = Pool(items.cpu().numpy(), relevance.to("cpu", torch.float32).numpy(), context)
    _require_candidates(pool, k)
    return pool


@dataclass(frozen=True)
class Reranked:
    """The recommender that re-ranks a scorer's best items.

    Attributes:
        scorer: of the relevance.
        rerank: pool, k -> slates (B, k), for instance ``partial(mmr, weight=0.5)`` or ``partial(greedy, reward=...)``.
        catalogue: of the training events.
        candidates: C, how many items of each user are looked at.
        probabilities: histories -> (B, V+1) calibrated P(item | history), for rewards that need them.
        batch_size: histories at once.
    """

    scorer: Scorer
    rerank: Callable[[Pool, int], NDArray[np.int64]]
    catalogue: Catalogue
    candidates: int = 100
    probabilities: Callable[[Sequences], Floats] | None = None
    batch_size: int = 512

    def recommend(self, histories: Sequences, k: int) -> NDArray[np.int64]:
        """(B, k) re-ranked lists of unseen items."""
        slates = [np.empty((0, k), np.int64)]
        for batch in batches(histories, self.batch_size):
            pool = draw_pool(self.scorer, batch, self.catalogue, k, self.candidates, self.probabilities)
            slates.append(self.rerank(pool, k))
        return np.concatenate(slates)


def _require_candidates(pool: Pool, k: int) -> None:
    available = pool.allowed.sum(axis=1)
    if k < 1 or (len(available) and available.min() < k):
        fewest = available.min(initial=pool.items.shape[1])
        raise ValueError(f"lists of {k} items cannot be made of pools with as few as {fewest} candidates")


def _require_weight(weight: float) -> None:
    if not 0 <= weight <= 1:
        raise ValueError(f"weight {weight} is not between 0 and 1")


def _relevance(pool: Pool, normalise: bool) -> Floats:
    """Relevance, 0 where a candidate may not be chosen, on demand scaled to [0, 1] in each pool."""
    allowed = pool.allowed
    relevance: Floats = np.where(allowed, pool.relevance, 0).astype(np.float64)
    if not normalise:
        return relevance
    low = np.where(allowed, pool.relevance, np.inf).min(axis=1, keepdims=True)
    span = pool.relevance.max(axis=1, keepdims=True) - low
    scaled: Floats = np.where(allowed, (relevance - low) / np.where(span > 0, span, 1), 0)
    return scaled


def _items(pool: Pool, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.take_along_axis(pool.items, chosen, axis=1).astype(np.int64)


def _in_parts(pool: Pool, k: int, choose: Callable[[Pool], NDArray[np.int64]]) -> NDArray[np.int64]:
    """Slates (B, k) of a function that is given at most LISTS_AT_ONCE pools, and VALUES_AT_ONCE values, at a time."""
    _require_candidates(pool, k)
    values = pool.items.shape[1] * max(1, pool.context.catalogue.vectors.shape[1])
    size = max(1, min(LISTS_AT_ONCE, VALUES_AT_ONCE // values))
    if len(pool.items) <= size:
        return choose(Pool(pool.items, pool.relevance, replace(pool.context, k=k)))
    slates = np.empty((len(pool.items), k), np.int64)
    for start in range(0, len(slates), size):
        lists = np.arange(start, min(start + size, len(slates)))
        slates[lists] = choose(_part(pool, lists, k))
    return slates


def _part(pool: Pool, lists: NDArray[np.int64], k: int) -> Pool:
    """Some lists of a pool with a context of their own, so that facts of histories are worked out for them only."""
    context, rows = pool.context, pool.context.rows[lists]
    chances = None if context.of_probabilities is None else context.of_probabilities[rows]
    own = Context(context.of_histories.take(rows), context.of_targets[rows], context.catalogue, k, chances)
    return Pool(pool.items[lists], pool.relevance[lists], own)


def _share(features: Floats, wanted: NDArray[np.bool_]) -> Floats:
    """(B, C) how much of the wanted features (B, F) each candidate (B, C, F) has, 0 where none are wanted."""
    total = np.maximum(wanted.sum(axis=1), 1)[:, None]
    share: Floats = (features @ wanted[:, :, None].astype(np.float32))[:, :, 0] / total
    return share


def _profile_features(context: Context) -> NDArray[np.bool_]:
    """(n, F) which features the history of each list has."""
    events, features = context.of_histories, context.catalogue.features.astype(np.float32)
    shape = (len(events), len(features))
    once = sparse.csr_matrix((np.ones(len(events.items), np.float32), events.items, events.offsets), shape=shape)
    covered: NDArray[np.bool_] = np.asarray(once @ features) > 0
    return covered[context.rows]
