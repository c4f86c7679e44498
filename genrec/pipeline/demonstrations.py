"""What a student is taught: lists of its teacher, and the best lists known for its rewards."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from genrec.agents.distillation import Demonstrations, make_demonstrations
from genrec.config.errors import GenrecError
from genrec.data import Cases, Sequences
from genrec.data.cases import random_cases, whole_cases
from genrec.metrics.calibration import Calibrated
from genrec.metrics.context import Floats
from genrec.pipeline.workspace import Workspace
from genrec.recommender import Scorer
from genrec.rerankers import (
    HasSurrogate,
    Pool,
    draw_pool,
    greedy,
    greedy_choices,
    local_search,
    sort_by_relevance,
    swap_values,
    with_surrogates,
)
from genrec.rerankers.greedy_selection import gain_deficits
from genrec.rerankers.pool import items_at
from genrec.rewards import (
    ACCURACY,
    Ranges,
    Relevance,
    Reward,
    Terminal,
    WeightedSum,
    checked,
    locate_errors,
    weight_grid,
)
from genrec.training.run_directory import digest

WEIGHTS = 33  # points of the grid that ranges of weights are cut into
CHOICES = 50  # candidates for each position of a greedy list that a lesson keeps
# standard deviations of gains: a candidate so far below the best is wanted 1/e times as much
NEARNESS = 0.3
AT_ONCE = 512  # histories


def teacher_demonstrations(
    workspace: Workspace, scorer: Scorer, teacher: Path, pool: int
) -> Demonstrations:
    """The teacher's lists, cached in its folder for every student that asks for the same ones."""
    settings = workspace.settings
    count, seed = settings.student.demonstrations, settings.seed
    cached = (
        teacher
        / f"demonstrations-{digest(teacher / 'scorer.safetensors')}-{count}-{pool}-{seed}.safetensors"
    )
    if cached.exists():
        workspace.say(f"the teacher's lists are read from {cached}")
        return Demonstrations.load(cached)
    workspace.say(f"the teacher writes {count} lists")
    cases = random_cases(workspace.split.train, count, np.random.default_rng(seed))
    demonstrations = make_demonstrations(scorer, with_room(cases, pool, workspace).histories, pool)
    demonstrations.save(cached)
    return demonstrations


def warmup_histories(
    workspace: Workspace, count: int, ranges: Ranges
) -> tuple[Sequences, NDArray[np.int64], int]:
    """Histories, those of them that greedy lists are written for, and how often a list is learnt.

    Repeats counted, that is ``count`` lists; where weights are fixed, each as often as it takes to
    reach that.

    The histories are whole training sequences: what came next was never shown to the teacher. At
    beginnings of them it promises what it has memorised, which leaves a greedy list little reason
    for anything but relevance. Where weights have ranges, a history comes again for other weights;
    where they are fixed, its list is learnt again.

    Args:
        bench: settings and data.
        count: lists to learn, repeats counted.
        ranges: of the weights.

    Raises:
        GenrecError: if no training user leaves enough items.
    """
    room, generator = choices_of(workspace), np.random.default_rng(workspace.settings.seed)
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
    reward: WeightedSum,
    ranges: Ranges,
) -> Demonstrations:
    """The best lists known, those of the greedy re-ranker, from the teacher's best items and
    calibrated probabilities.

    A lesson is not the list alone: for each position it keeps the best candidates and how much less
    each would have added, so that a student learns which other items would have done nearly as
    well. ``ndcg``, which reads the target, is replaced by its expectation under the probabilities.
    Where a reward is paid for whole lists or has a guide, which greedy then follows, its lists are
    sorted and improved by local search, and what a lesson keeps for each place are the best
    exchanges. Where weights have ranges, lessons take the points of a grid of weights in turn, and
    say which.

    Args:
        bench: settings and data.
        scorer: the teacher.
        histories: H of them, each asked about once.
        rows: (N,) the history of each lesson.
        reward: what lists should earn.
        ranges: of the weights that are not those of the reward.

    Raises:
        RewardError: when a reward raises or gives something else than finite gains.
    """
    k, candidates = workspace.settings.k, choices_of(workspace)
    width = min(CHOICES, candidates - k + 1)
    items = np.zeros((len(rows), k, width), np.int32)
    below = np.zeros(items.shape, np.float32)
    grid = weight_grid(ranges, WEIGHTS) if ranges else np.zeros((1, 0))
    point = np.arange(len(rows)) % len(grid)
    for start in range(0, len(histories), AT_ONCE):
        block = histories.take(np.arange(start, min(start + AT_ONCE, len(histories))))
        pool = draw_pool(
            scorer,
            block,
            workspace.split.catalogue,
            k=k,
            candidates=candidates,
            probabilities=scorer.probabilities,
        )
        here = (start <= rows) & (rows < start + AT_ONCE)
        for number in np.unique(point[here]):
            chosen = dict(zip(ranges, grid[number].tolist(), strict=True))
            demonstrations = np.flatnonzero(here & (point == number))
            with locate_errors("supervised warm-up"):
                items[demonstrations], below[demonstrations] = _choices(
                    pool.take(rows[demonstrations] - start), k, _expected(reward, chosen), width
                )
    told = grid[point].astype(np.float32) if ranges else None
    return Demonstrations(histories.take(rows), items, below / NEARNESS, told)


def _expected(reward: WeightedSum, weights: Mapping[str, float]) -> WeightedSum:
    """The reward at those weights, with expected accuracy in the place of what reads targets."""
    terms = [
        (Relevance() if t.name in ACCURACY else t, weights.get(t.name, weight))
        for t, weight in reward.terms
    ]
    return WeightedSum(tuple(terms))


def is_paid_for_lists(reward: WeightedSum) -> bool:
    """Whether a term is paid for whole lists, or has a guide, so that greedy lists of it can be
    bettered."""
    return any(isinstance(term, Terminal | HasSurrogate) for term, _ in reward.terms)


def _choices(
    pool: Pool, k: int, reward: WeightedSum, width: int
) -> tuple[NDArray[np.int64], Floats]:
    """(B, k, c) what is best for each position of the best lists known, and how far behind the
    others are."""
    if not is_paid_for_lists(reward):
        return greedy_choices(pool, k, checked(reward), width=width)
    safe = checked(reward)
    slates = local_search(
        pool, sort_by_relevance(pool, greedy(pool, k, checked(with_surrogates(reward))), safe), safe
    )
    items, below = zip(
        *(_instead(pool, slates, place, safe, width) for place in range(k)), strict=True
    )
    return np.stack(items, axis=1), np.stack(below, axis=1)


def _instead(
    pool: Pool, slates: NDArray[np.int64], place: int, reward: Reward, width: int
) -> tuple[NDArray[np.int64], Floats]:
    """(B, c) the item in that place of the lists and the best to put there instead, and how far
    these are below it."""
    worth = swap_values(pool, slates, place=place, reward=reward)
    free = (worth > -np.inf) & ~(pool.items[:, :, None] == slates[:, None, :place]).any(axis=2)
    own = (pool.items == slates[:, place, None]).argmax(axis=1)[:, None]
    ranked = np.where(free, worth, -np.inf)
    np.put_along_axis(ranked, own, np.inf, axis=1)  # comes first
    best = np.argsort(-ranked, axis=1, kind="stable")[:, :width]
    return items_at(pool, best), gain_deficits(np.where(free, worth, 0), free, best)


def pool_size(workspace: Workspace) -> int:
    """How many of a teacher's best items are in a lesson: fewer than asked where a validation user
    saw most."""
    return _available(workspace, workspace.settings.student.pool)


def choices_of(workspace: Workspace) -> int:
    """How many of a teacher's best items a greedy list is chosen from, likewise."""
    return _available(workspace, workspace.settings.align.candidates)


def _available(workspace: Workspace, wanted: int) -> int:
    parts = workspace.split
    unseen = parts.catalogue.num_items - int(parts.valid.histories.distinct().max())
    return max(workspace.settings.k, min(wanted, unseen))


def with_room(cases: Cases, room: int, workspace: Workspace) -> Cases:
    """The cases whose history leaves ``room`` items; a user who had nearly everything leaves no
    list to write."""
    return cases.take(
        np.flatnonzero(workspace.split.catalogue.num_items - cases.histories.distinct() >= room)
    )
