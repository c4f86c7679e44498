"""Small data sets that components are tried on."""

from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from genrec.data.dataset import Catalogue, make_catalogue
from genrec.data.sequences import Sequences
from genrec.data.splits import Split, leave_one_out
from genrec.data.synthetic import chain
from genrec.metrics.context import Context
from genrec.rerankers.pool import Pool

NUM_USERS, NUM_ITEMS, LENGTH = 240, 36, 12  # of the split for learning
HISTORIES = [[5], [], [1, 2, 3], list(range(1, 31)), [7, 7, 9]]


def example_lists() -> tuple[NDArray[np.int64], Context]:
    """Eight lists of 6 out of 30 items, and their context with everything that a reward may read.

    Two lists belong to each of four histories of 0, 1, 4 and 9 items. Items have 0 to 2 of 6
    features; the first target is unknown.

    Returns:
        Slates (8, 6) and their context.
    """
    generator = np.random.default_rng(5)
    num_items, k = 30, 6
    catalogue = _catalogue(generator, num_items)
    lists = [generator.integers(1, num_items + 1, length) for length in (0, 1, 4, 9)]
    histories = Sequences.from_lists(lists, times=[_times(len(each)) for each in lists])
    probabilities = generator.dirichlet(np.ones(num_items), 4)
    context = Context(
        histories,
        np.array([0, 3, 9, 12]),
        catalogue,
        k,
        of_probabilities=np.concatenate([np.zeros((4, 1)), probabilities], axis=1),
        rows=np.repeat(np.arange(4), 2),
    )
    slates = [generator.permutation(num_items)[:k] + 1 for _ in range(8)]
    return np.stack(slates), context


def example_pool() -> Pool:
    """Pools of 15 out of 40 items for 12 users, of which some items may not be chosen.

    The relevance is the calibrated probability, which the context carries as well.
    """
    generator = np.random.default_rng(2)
    num_lists, num_items, width = 12, 40, 15
    catalogue = _catalogue(generator, num_items)
    catalogue = replace(catalogue, user_counts=catalogue.counts // 2, num_users=60)
    lengths = generator.integers(0, 8, num_lists)
    histories = Sequences.from_lists(
        [generator.integers(1, num_items + 1, length) for length in lengths]
    )
    drawn = generator.dirichlet(np.ones(num_items), num_lists)
    probabilities = np.concatenate([np.zeros((num_lists, 1)), drawn], axis=1)
    items = np.argsort(-probabilities, axis=1)[:, :width]
    relevance = np.take_along_axis(probabilities, items, axis=1)
    relevance[::3, -4:] = -np.inf
    unknown = np.zeros(num_lists, np.int64)
    context = Context(histories, unknown, catalogue, 5, of_probabilities=probabilities)
    return Pool(items, relevance, context)


def example_histories() -> Sequences:
    """Five histories out of 36 items, with times: short, empty, long, and one with a repeat."""
    return Sequences.from_lists(HISTORIES, times=[_times(len(each)) for each in HISTORIES])


def chain_split(randomness: float = 0.05) -> Split:
    """A log of 240 users and 36 items in which the next item follows from the last one.

    Args:
        randomness: share of the events that are drawn at random instead; 1 makes the log pure
            noise. See ``genrec.data.synthetic.chain``.
    """
    return _chain_split(randomness)


@cache
def _chain_split(randomness: float) -> Split:
    dataset = chain(
        num_users=NUM_USERS, num_items=NUM_ITEMS, length=LENGTH, randomness=randomness, seed=3
    )
    return leave_one_out(dataset)


def _catalogue(generator: np.random.Generator, num_items: int) -> Catalogue:
    """Items with 0 to 2 of six features and 0 to 49 training events."""
    names = [str(item) for item in range(1, num_items + 1)]
    features = {}
    for name in names:
        chosen = generator.choice(6, generator.integers(0, 3), replace=False)
        features[name] = [f"f{feature}" for feature in chosen]
    counts = np.concatenate([[0], generator.integers(0, 50, num_items)])
    return replace(make_catalogue(names, features=features), counts=counts)


def _times(length: int) -> list[int]:
    """Times of a history in seconds, at growing intervals."""
    return [60 * n * n for n in range(length)]
