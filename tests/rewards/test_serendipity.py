"""Serendipity by hand: relevant times unexpected."""

from dataclasses import replace

import numpy as np
import pytest

from genrec.config.errors import GenrecError
from genrec.data import Sequences, make_catalogue
from genrec.metrics import Context
from genrec.rewards import Serendipity
from genrec.testing import example_lists

FEATURES = {"a": ["action"], "b": ["action", "comedy"], "c": ["comedy"], "d": ["drama"]}
HALF = 0.70710678  # cos(action, action+comedy)
PROBABILITIES = np.array([[0, 0.1, 0.4, 0.3, 0.15, 0.05]])


def context(history: list[int]) -> Context:
    catalogue = make_catalogue(list("abcde"), features=FEATURES)
    return Context(
        Sequences.from_lists([history]),
        np.array([0]),
        catalogue,
        3,
        of_probabilities=PROBABILITIES,
    )


def test_gains_are_probability_times_distance_times_discount() -> None:
    gains = Serendipity()(np.array([[2, 4, 3]]), context([1, 1, 3, 5]))
    # Mean similarity with a, a and c (e is unknown): b .7071, d 0, c 1/3.
    expected = [[0.4 * (1 - HALF), 0.15 * 0.6309298, 0.3 * 2 / 3 * 0.5]]
    np.testing.assert_allclose(gains, expected, atol=1e-6)


def test_neither_a_sure_hit_nor_a_distant_item_alone_earns() -> None:
    facts = context([1])
    expected_hit, distant, both = ([1], [5], [3])
    values = [Serendipity()(np.array([each]), facts).sum() for each in (expected_hit, distant)]
    assert values == pytest.approx([0, 0])
    assert Serendipity()(np.array([both]), facts).sum() == pytest.approx(0.3)


@pytest.mark.parametrize("history", [[], [5]])
def test_without_a_known_history_nothing_is_unexpected(history: list[int]) -> None:
    assert Serendipity()(np.array([[1, 4]]), context(history)).tolist() == [[0, 0]]


def test_it_needs_a_teacher() -> None:
    bare = Context(Sequences.from_lists([[]]), np.array([0]), make_catalogue(["a"]), 1)
    with pytest.raises(GenrecError, match="give a teacher"):
        Serendipity()(np.array([[1]]), bare)


def test_it_does_not_depend_on_the_length_of_the_list() -> None:
    """Unlike novelty, no gain is divided by K: the first item of a long list earns as much."""
    slates, lists = example_lists()
    whole = Serendipity()(slates, lists)
    np.testing.assert_allclose(Serendipity()(slates, replace(lists, k=20)), whole)
