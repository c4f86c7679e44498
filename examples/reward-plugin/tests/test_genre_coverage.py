"""The gains of the reward, worked out by hand, and its contract."""

import numpy as np
import pytest
from genre_coverage import genre_coverage

from genrec.data import Sequences, leave_one_out, load, make_catalogue
from genrec.metrics.context import Context
from genrec.rewards import audit_reward, resolve, sample_lists
from genrec.testing import check_reward


def test_by_hand():
    """Of three genres, the first film has one, the second adds one, the third adds none."""
    films = {
        "heist": ["crime"],
        "alibi": ["crime", "drama"],
        "verdict": ["drama"],
        "orbit": ["sci-fi"],
    }
    context = Context(
        Sequences.from_lists([[]]), np.array([0]), make_catalogue(list(films), features=films), k=3
    )
    assert genre_coverage(np.array([[1, 2, 3]]), context)[0] == pytest.approx([1 / 3, 1 / 3, 0])
    assert genre_coverage(np.array([[4, 2, 1]]), context).sum() == pytest.approx(1)


def test_a_catalogue_without_genres_earns_nothing():
    """There is no division by zero."""
    context = Context(Sequences.from_lists([[]]), np.array([0]), make_catalogue(["a", "b"]), k=2)
    assert genre_coverage(np.array([[1, 2]]), context).tolist() == [[0, 0]]


def test_the_contract():
    """Everything that genrec requires of a reward, on small lists."""
    check_reward(genre_coverage)


def test_the_contract_on_lists_of_a_log():
    """The same as `genrec rewards check genre-coverage`."""
    split = leave_one_out(load("demo").dataset)
    slates, context = sample_lists(split.valid, split.catalogue, k=10, count=200)
    found = audit_reward(genre_coverage, slates, context)
    assert found.passed, [finding for finding in found.findings if not finding.passed]


def test_genrec_finds_it_by_name():
    """This holds only where the package is installed."""
    try:
        found = resolve("genre-coverage")
    except ValueError:
        pytest.skip("genrec-genre-coverage is not installed: pip install .")
    assert found is genre_coverage
