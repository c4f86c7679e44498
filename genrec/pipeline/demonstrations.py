"""What a student is taught: its teacher's lists, and the best lists known for its rewards."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from genrec.agents.distillation import Demonstrations, make_demonstrations
from genrec.config.errors import GenrecError, RunError
from genrec.data import Cases, Sequences
from genrec.data.cases import random_cases, whole_cases
from genrec.metrics.calibration import Calibrated
from genrec.metrics.context import Floats
from genrec.pipeline.provenance import model_digest
from genrec.pipeline.workspace import Workspace
from genrec.recommender import Scorer
from genrec.rerankers import (
    HasSurrogate,
    Pool,
    draw_pool,
    gain_deficits,
    greedy,
    greedy_choices,
    items_at,
    local_search,
    sort_by_relevance,
    swap_values,
    with_surrogates,
)
from genrec.rewards import (
    ACCURACY,
    Ranges,
    Relevance,
    Reward,
    RewardObjective,
    Terminal,
    WeightedSum,
    checked,
    locate_errors,
    weight_grid,
)

logger = logging.getLogger(__name__)

GRID_POINTS = 33  # ranges of weights are cut into so many points
CHOICES = 50  # candidates kept per position of a greedy list
# A candidate this many standard deviations of the gains below the best one is a target with 1/e of
# its probability.
TEMPERATURE = 0.3
HISTORIES_AT_ONCE = 512


def teacher_demonstrations(
    workspace: Workspace, scorer: Scorer, teacher: Path, pool: int
) -> Demonstrations:
    """The teacher's lists for random prefixes of training sequences.

    They are cached in the teacher's run directory, for every student that asks for the same ones.

    Args:
        workspace: settings and data.
        scorer: the teacher.
        teacher: its run directory.
        pool: the teacher's best items kept per history.
    """
    count, seed = workspace.settings.student.demonstrations, workspace.settings.seed
    name = f"demonstrations-{model_digest(teacher)[:8]}-{count}-{pool}-{seed}.safetensors"
    cache = teacher / name
    if cache.exists():
        try:
            demonstrations = Demonstrations.load(cache)
        except RunError as error:
            logger.warning("%s; they are written again", error)
        else:
            logger.info("the teacher's lists are read from %s", cache)
            return demonstrations
    logger.info("the teacher writes %d lists", count)
    cases = random_cases(workspace.split.train, count, np.random.default_rng(seed))
    histories = with_room(cases, pool, workspace).histories
    demonstrations = make_demonstrations(scorer, histories, pool)
    try:
        demonstrations.save(cache)
    except OSError as error:  # the teacher may belong to somebody else
        logger.warning("the teacher's lists are not kept for other students: %s", error)
    return demonstrations


def warmup_histories(
    workspace: Workspace, count: int, ranges: Ranges
) -> tuple[Sequences, NDArray[np.int64], int]:
    """Histories of the supervised warm-up, and how often each is used.

    The histories are whole training sequences: the teacher was never shown what came next. On
    prefixes it predicts what it has memorised, which leaves a greedy list little reason for
    anything but relevance. Where weights have ranges, a history comes again with other weights;
    where they are fixed, its list is learnt several times.

    Args:
        workspace: settings and data.
        count: lists to learn, repetitions included.
        ranges: ranges of weights, empty where all are fixed.

    Returns:
        The histories, the (N,) rows of them that lists are written for, and the passes over these
        lists.

    Raises:
        GenrecError: if no training user leaves enough items.
    """
    room, generator = num_candidates(workspace), np.random.default_rng(workspace.settings.seed)
    whole = with_room(whole_cases(workspace.split.train), room, workspace).histories
    if not len(whole):
        raise GenrecError(
            f"no training user leaves {room} unseen items to make lists of: lower k or"
            " align.candidates"
        )
    passes = -(-count // len(whole))
    rounds = [generator.permutation(len(whole)) for _ in range(passes if ranges else 1)]
    return whole, np.concatenate(rounds)[:count], 1 if ranges else passes


def greedy_demonstrations(
    workspace: Workspace,
    scorer: Calibrated,
    histories: Sequences,
    rows: NDArray[np.int64],
    objective: RewardObjective,
) -> Demonstrations:
    """The lists of the greedy re-ranker, from the teacher's best items and its probabilities.

    A demonstration is more than a list: for each position it keeps the best candidates and how much
    less each would have added, so that a student learns which other items would have done nearly as
    well. ``ndcg``, which reads the target, is replaced by its expectation under the probabilities.
    Where a reward is paid for whole lists or has a surrogate, which the greedy re-ranker then
    maximises, its lists are sorted and improved by local search, and the candidates of a position
    are the best exchanges. Where weights have ranges, demonstrations take the points of a grid of
    weights in turn, and keep the weights they were written for.

    Args:
        workspace: settings and data.
        scorer: the teacher.
        histories: H of them; the teacher scores each once.
        rows: (N,) the history of each demonstration.
        objective: what lists earn.

    Raises:
        RewardError: when a reward raises, or returns something else than finite gains.
    """
    k, candidates = workspace.settings.k, num_candidates(workspace)
    reward, ranges = objective.reward, objective.ranges
    width = min(CHOICES, candidates - k + 1)
    items = np.zeros((len(rows), k, width), np.int32)
    deficits = np.zeros(items.shape, np.float32)
    grid = weight_grid(ranges, GRID_POINTS) if ranges else np.zeros((1, 0))
    point = np.arange(len(rows)) % len(grid)
    for start in range(0, len(histories), HISTORIES_AT_ONCE):
        stop = min(start + HISTORIES_AT_ONCE, len(histories))
        pool = draw_pool(
            scorer,
            histories.take(np.arange(start, stop)),
            workspace.split.catalogue,
            k=k,
            candidates=candidates,
            probabilities=scorer.probabilities,
        )
        in_block = (start <= rows) & (rows < stop)
        for number in np.unique(point[in_block]):
            weights = dict(zip(ranges, grid[number].tolist(), strict=True))
            chosen = np.flatnonzero(in_block & (point == number))
            with locate_errors("supervised warm-up"):
                items[chosen], deficits[chosen] = _choices(
                    pool.take(rows[chosen] - start), k, _expected(reward, weights), width
                )
    written_for = grid[point].astype(np.float32) if ranges else None
    return Demonstrations(histories.take(rows), items, deficits / TEMPERATURE, written_for)


def greedy_lists(
    workspace: Workspace,
    scorer: Calibrated,
    histories: Sequences,
    *,
    reward: WeightedSum,
    points: Sequence[Mapping[str, float]],
) -> list[NDArray[np.int64]]:
    """The lists of the greedy re-ranker for a reward at some weights, as in a comparison.

    Args:
        workspace: settings and data.
        scorer: the teacher.
        histories: H of them.
        reward: what lists earn; ``ndcg`` is replaced by its expectation.
        points: weights of its terms, name -> weight; a term that is not named keeps its own.

    Returns:
        (H, K) lists for each of the points.
    """
    k = workspace.settings.k
    pool = draw_pool(
        scorer,
        histories,
        workspace.split.catalogue,
        k=k,
        candidates=num_candidates(workspace),
        probabilities=scorer.probabilities,
    )
    rewards = [checked(with_surrogates(_expected(reward, weights))) for weights in points]
    return [greedy(pool, k, each) for each in rewards]


def _expected(reward: WeightedSum, weights: Mapping[str, float]) -> WeightedSum:
    """The reward at given weights, with expected accuracy in place of what reads targets."""
    terms = [
        (Relevance() if term.name in ACCURACY else term, weights.get(term.name, weight))
        for term, weight in reward.terms
    ]
    return WeightedSum(tuple(terms))


def is_paid_for_lists(reward: WeightedSum) -> bool:
    """Whether a term is paid for whole lists or has a surrogate, so that search can improve greedy
    lists.
    """
    return any(isinstance(term, Terminal | HasSurrogate) for term, _ in reward.terms)


def _choices(
    pool: Pool, k: int, reward: WeightedSum, width: int
) -> tuple[NDArray[np.int64], Floats]:
    """The best candidates of each position of the best lists known, and how far they are below.

    Returns:
        Items (B, k, c), first the one in the list; and their deficits (B, k, c), see
        ``gain_deficits``.
    """
    safe = checked(reward)
    if not is_paid_for_lists(reward):
        return greedy_choices(pool, k, safe, width=width)
    slates = greedy(pool, k, checked(with_surrogates(reward)))
    slates = local_search(pool, sort_by_relevance(pool, slates, safe), safe)
    found = [
        _exchanges(pool, slates, position=position, reward=safe, width=width)
        for position in range(k)
    ]
    items, deficits = zip(*found, strict=True)
    return np.stack(items, axis=1), np.stack(deficits, axis=1)


def _exchanges(
    pool: Pool, slates: NDArray[np.int64], *, position: int, reward: Reward, width: int
) -> tuple[NDArray[np.int64], Floats]:
    """The item at a position and the best items to put there instead, and their deficits, (B, c).

    Items that are placed earlier in the list are no choice.
    """
    values = swap_values(pool, slates, place=position, reward=reward)
    placed = (pool.items[:, :, None] == slates[:, None, :position]).any(axis=2)
    free = (values > -np.inf) & ~placed
    own = (pool.items == slates[:, position, None]).argmax(axis=1)[:, None]
    ranked = np.where(free, values, -np.inf)
    np.put_along_axis(ranked, own, np.inf, axis=1)  # the item itself comes first
    best = np.argsort(-ranked, axis=1, kind="stable")[:, :width]
    return items_at(pool, best), gain_deficits(np.where(free, values, 0), free, best)


def pool_size(workspace: Workspace) -> int:
    """How many of the teacher's best items a demonstration keeps.

    Fewer than the setting where a validation user has seen most of the catalogue.
    """
    return _available(workspace, workspace.settings.student.pool)


def num_candidates(workspace: Workspace) -> int:
    """How many of the teacher's best items a greedy list is chosen from; see ``pool_size``."""
    return _available(workspace, workspace.settings.align.candidates)


def _available(workspace: Workspace, wanted: int) -> int:
    split = workspace.split
    unseen = split.catalogue.num_items - int(split.valid.histories.distinct().max())
    return max(workspace.settings.k, min(wanted, unseen))


def with_room(cases: Cases, room: int, workspace: Workspace) -> Cases:
    """The cases whose history leaves ``room`` unseen items to choose from."""
    unseen = workspace.split.catalogue.num_items - cases.histories.distinct()
    return cases.take(np.flatnonzero(unseen >= room))
