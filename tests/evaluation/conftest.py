"""Methods with values that are written by hand."""

from collections.abc import Callable

import numpy as np
import pytest

from genrec.evaluation.methods import Method

Made = Callable[..., Method]


@pytest.fixture
def made() -> Made:
    """A measured method of a name and weight, from its goal and NDCG of each user."""

    def make(
        name: str,
        weight: float | None,
        goal: list[float],
        ndcg: list[float],
        **others: list[float],
    ) -> Method:
        method = Method(name=name, weight=weight, recommend=lambda pool: pool.items, num_items=1)
        columns = {"goal": goal, "ndcg": ndcg, **others}
        method.per_user = {f"{key}@5": [np.array(values)] for key, values in columns.items()}
        method.list_hashes = [np.arange(len(goal))]
        method.listed = {1}
        return method

    return make
