from functools import cache
from pathlib import Path

import numpy as np
import pytest

from genrec.data import Dataset, Sequences, Split, leave_one_out, load, make_catalogue
from genrec.metrics.ranking import evaluate
from genrec.recommender import Scorer, TopK


@pytest.fixture(scope="session")
def movielens_1m(data_dir: Path) -> Dataset:
    """MovieLens-1M as preprocessed for SASRec."""
    return load(data_dir / "ml-1m").dataset


def two_groups(noise: bool, num_users: int = 300, group: int = 20, length: int = 8) -> Split:
    """Users draw from one of two halves of the catalogue, in no order; with noise, from all of
    it."""
    rng = np.random.default_rng(11)
    own = np.argsort(rng.random((num_users, group)), axis=1)[:, :length] + 1
    items = own + group * (np.arange(num_users) % 2)[:, None]
    if noise:
        items = np.argsort(rng.random((num_users, 2 * group)), axis=1)[:, :length] + 1
    catalogue = make_catalogue([str(n) for n in range(2 * group)])
    users = np.array([str(n) for n in range(num_users)])
    return leave_one_out(
        Dataset(
            name="two groups",
            users=users,
            sequences=Sequences.from_lists(list(items)),
            timestamps=None,
            catalogue=catalogue,
        )
    )


@pytest.fixture(scope="session")
def groups() -> Split:
    """Two groups of 20 items. Of the 13 unseen items of the own group one is the target: recall@10
    is 10/13 at best."""
    return two_groups(noise=False)


@pytest.fixture(scope="session")
def noise() -> Split:
    """The same sizes without groups: recall@10 is 10/33 whatever is recommended."""
    return two_groups(noise=True)


@pytest.fixture(scope="session")
def recall():
    """recall@10 of a scorer on the test cases of a split."""

    def measure(scorer: Scorer, split: Split) -> float:
        return evaluate(TopK(scorer), split.test, split.catalogue).means["recall@10"]

    return measure


@pytest.fixture(scope="session")
def ndcg_of_movielens(movielens_1m: Dataset):
    """NDCG@10 on MovieLens-1M of what a function fits to its split."""

    @cache
    def split() -> Split:
        return leave_one_out(movielens_1m)

    def measure(fit) -> float:
        return evaluate(TopK(fit(split())), split().test, split().catalogue).means["ndcg@10"]

    return measure
