"""What a student is taught: lists of its teacher, and of the greedy re-ranker for its rewards."""

from functools import partial
from pathlib import Path

import numpy as np

from genrec.agents.distillation import Lessons, make_lessons
from genrec.bench import Bench, digest
from genrec.calibration import Calibrated
from genrec.data import Cases, Sequences
from genrec.data.splits import random_cases, whole_cases
from genrec.recommender import Scorer
from genrec.rerankers import Reranked, greedy
from genrec.rewards import ACCURACY, Ranges, Relevance, WeightedSum, checked, located, weight_grid

WEIGHTS = 33  # points of the grid that ranges of weights are cut into


def teacher_lessons(bench: Bench, scorer: Scorer, teacher: Path, pool: int) -> Lessons:
    """The teacher's lists, cached in its folder for every student that asks for the same ones."""
    settings = bench.settings
    count, seed = settings.student.lessons, settings.seed
    cached = teacher / f"lessons-{digest(teacher / 'scorer.safetensors')}-{count}-{pool}-{seed}.safetensors"
    if cached.exists():
        bench.say(f"the teacher's lists are read from {cached}")
        return Lessons.load(cached)
    bench.say(f"the teacher writes {count} lists")
    cases = random_cases(bench.split.train, count, np.random.default_rng(seed))
    lessons = make_lessons(scorer, with_room(cases, pool, bench).histories, pool)
    lessons.save(cached)
    return lessons


def practice(bench: Bench, count: int, ranges: Ranges) -> tuple[Sequences, int]:
    """Histories that greedy lists are written for, and how often each list is learnt: ``count`` lists in all.

    The histories are whole training sequences: what came next was never shown to the teacher. At beginnings of them it
    promises what it has memorised, which leaves a greedy list little reason for anything but relevance. Where weights
    have ranges, a history comes again for other weights; where they are fixed, its list is learnt again.

    Args:
        bench: settings and data.
        count: lists to learn.
        ranges: of the weights.

    Raises:
        ValueError: if no training user leaves enough items.
    """
    room, generator = pool_size(bench), np.random.default_rng(bench.settings.seed)
    whole = with_room(whole_cases(bench.split.train), room, bench).histories
    if not len(whole):
        raise ValueError(f"no training user leaves {room} unseen items to make lists of: lower k or student.pool")
    passes = -(-count // len(whole))
    if not ranges:
        return whole.take(generator.permutation(len(whole))[:count]), passes
    rows = np.concatenate([generator.permutation(len(whole)) for _ in range(passes)])
    return whole.take(rows[:count]), 1


def greedy_lessons(
    bench: Bench, scorer: Calibrated, histories: Sequences, reward: WeightedSum, ranges: Ranges
) -> Lessons:
    """The greedy re-ranker's lists, from the teacher's best items and with its calibrated probabilities.

    ``ndcg``, which reads the target, is replaced by its expectation under them. Where weights have ranges, histories
    take the points of a grid of weights in turn, and the lessons say which.

    Args:
        bench: settings and data.
        scorer: the teacher.
        histories: N of them.
        reward: what lists should earn.
        ranges: of the weights that are not those of the reward.

    Raises:
        RewardError: when a reward raises or gives something else than finite gains.
    """
    k = bench.settings.k
    lists = np.zeros((len(histories), k), np.int64)
    grid = weight_grid(ranges, WEIGHTS) if ranges else np.zeros((1, 0))
    point = np.arange(len(histories)) % len(grid)
    for number, weights in enumerate(grid.tolist()):
        chosen = dict(zip(ranges, weights, strict=True))
        terms = [(Relevance() if t.name in ACCURACY else t, chosen.get(t.name, weight)) for t, weight in reward.terms]
        rerank = partial(greedy, reward=checked(WeightedSum(tuple(terms))))
        writer = Reranked(scorer, rerank, bench.split.catalogue, pool_size(bench), scorer.probabilities)
        rows = np.flatnonzero(point == number)
        with located("warm start"):
            lists[rows] = writer.recommend(histories.take(rows), k)
    told = grid[point].astype(np.float32) if ranges else None
    return Lessons(histories, lists, np.zeros(lists.shape, np.float32), told)


def pool_size(bench: Bench) -> int:
    """How many of a teacher's best items a list is chosen from: fewer than asked where a validation user saw most."""
    parts, settings = bench.split, bench.settings
    unseen = parts.catalogue.num_items - int(parts.valid.histories.distinct().max())
    return max(settings.k, min(settings.student.pool, unseen))


def with_room(cases: Cases, room: int, bench: Bench) -> Cases:
    """The cases whose history leaves ``room`` items; a user who had nearly everything leaves no list to write."""
    return cases.take(np.flatnonzero(bench.split.catalogue.num_items - cases.histories.distinct() >= room))
