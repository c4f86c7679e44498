"""A random catalogue and a pool of candidates from it."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from genrec.data import Catalogue, Sequences, make_catalogue
from genrec.metrics.context import Context
from genrec.rerankers import Pool

V, B, C, K = 40, 12, 15, 5


@pytest.fixture
def catalogue() -> Catalogue:
    generator = np.random.default_rng(8)
    names = [str(i) for i in range(1, V + 1)]
    features = {
        name: [f"f{f}" for f in generator.choice(7, generator.integers(0, 4), replace=False)]
        for name in names
    }
    return replace(
        make_catalogue(names, features=features),
        counts=np.concatenate([[0], generator.integers(1, 60, V)]),
        user_counts=np.concatenate([[0], generator.integers(0, 20, V)]),
        num_users=20,
    )


@pytest.fixture
def make_pool(catalogue: Catalogue) -> Callable[[], Pool]:
    """Make a pool of 15 random candidates for each of 12 users, the same in every call."""

    def make() -> Pool:
        generator = np.random.default_rng(2)
        histories = Sequences.from_lists(
            [generator.integers(1, V + 1, n) for n in generator.integers(0, 9, B)]
        )
        items = np.stack([generator.permutation(V)[:C] + 1 for _ in range(B)])
        probabilities = np.concatenate(
            [np.zeros((B, 1)), generator.dirichlet(np.ones(V), B)], axis=1
        )
        relevance = -np.sort(-generator.normal(size=(B, C)), axis=1)
        return Pool(
            items,
            relevance,
            Context(histories, np.zeros(B, int), catalogue, K, of_probabilities=probabilities),
        )

    return make
