from dataclasses import replace

import numpy as np
import pytest

from genrec.data import Catalogue, Sequences, make_catalogue
from genrec.envs import ListTask
from genrec.rewards import Diversity, Ndcg, Novelty, Popularity, Relevance, WeightedSum

GENRES = {
    "a": ["action"],
    "b": ["action"],
    "c": ["drama"],
    "d": ["drama"],
    "e": ["action", "drama"],
    "f": ["comedy"],
}


@pytest.fixture
def catalogue() -> Catalogue:
    """Items 1..6 = a..f; a and b share a genre, c and d another, e has both, f is alone."""
    items = make_catalogue(
        list(GENRES), titles={raw: f"Film {raw.upper()}" for raw in GENRES}, features=GENRES
    )
    return replace(items, counts=np.array([0, 6, 3, 1, 4, 5, 1]))


@pytest.fixture
def task(catalogue: Catalogue) -> ListTask:
    """Case 1 has a history longer than T, with a repeat, and leaves exactly K = 3 items."""
    histories = Sequences.from_lists([[1], [4, 6, 5, 6], []])
    reward = WeightedSum(((Ndcg(), 1.0), (Diversity(), 0.5)))
    return ListTask(histories, np.array([3, 1, 0]), catalogue, reward=reward, k=3, max_length=2)


def random_task(num_cases: int = 12, num_items: int = 40, k: int = 5) -> ListTask:
    """All built-in rewards, histories of 0 to 20 items, some longer than what is observed."""
    rng = np.random.default_rng(0)
    ids = [str(i) for i in range(num_items)]
    genres = {
        raw: [f"genre {g}" for g in rng.choice(6, size=rng.integers(1, 4), replace=False)]
        for raw in ids
    }
    catalogue = replace(
        make_catalogue(ids, features=genres), counts=np.append(0, rng.integers(1, 50, num_items))
    )
    lengths = rng.integers(0, 21, num_cases)
    histories = Sequences.from_lists([rng.integers(1, num_items + 1, n) for n in lengths])
    terms = (
        (Ndcg(), 1.0),
        (Relevance(), 2.0),
        (Diversity(), 0.7),
        (Novelty(), 0.3),
        (Popularity(), 0.4),
    )
    targets = rng.integers(1, num_items + 1, num_cases)
    return ListTask(
        histories,
        targets,
        catalogue,
        reward=WeightedSum(terms),
        k=k,
        max_length=8,
        probabilities=by_parity_of_length,
    )


def by_parity_of_length(histories: Sequences) -> np.ndarray:
    """(B, 41) probabilities that differ between histories: all on odd or on even items."""
    item = np.arange(41)
    likely = (item > 0) & (item % 2 == (histories.lengths % 2)[:, None])
    return likely / likely.sum(axis=1, keepdims=True)


@pytest.fixture(scope="session")
def wide_task() -> ListTask:
    return random_task()
