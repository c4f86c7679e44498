"""User-defined re-rankers are found by place, and their lists are verified."""

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

from genrec.config import components
from genrec.data import Sequences, make_catalogue
from genrec.metrics import Context
from genrec.rerankers import (
    Pool,
    available_rerankers,
    calibrate,
    dpp,
    mmr,
    msd,
    popularity_penalised,
    resolve_reranker,
    sog,
    ssd,
    xquad,
)

FILE = """
import json

import numpy as np


def reversed_pool(pool, k, weight):
    order = np.argsort(pool.relevance if weight < 0.5 else -pool.relevance, axis=1)
    return np.take_along_axis(pool.items, order, axis=1)[:, :k]


def too_short(pool, k, weight):
    return pool.items[:, : k - 1]


def twice(pool, k, weight):
    return pool.items[:, [0] * k]


def masked(pool, k, weight):
    return pool.items[:, -k:]


def foreign(pool, k, weight):
    return pool.items[:, :k] + 10


def shares(pool, k, weight):
    return pool.relevance[:, :k]


def writes(pool, k, weight):
    pool.relevance[:] = 0
    return pool.items[:, :k]


def recounts(pool, k, weight):
    pool.context.catalogue.counts[:] += 1
    return pool.items[:, :k]


def deep(pool, k, weight):
    return json.dumps(pool.items)


def leaves(pool, k, weight):
    print("loud")
    raise SystemExit(3)


def fails(pool, k, weight):
    return pool.items[:, :k] / 0 + pool.nothing


number = 3
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "mine.py").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "mine.py"
    sys.modules.pop("mine", None)


def make_pool() -> Pool:
    """Four candidates of two users; the last one of the second may not be chosen."""
    catalogue = make_catalogue(list("abcde"))
    context = Context(Sequences.from_lists([[], [5]]), np.zeros(2, int), catalogue, k=2)
    relevance = np.array([[4.0, 3.0, 2.0, 1.0], [4.0, 3.0, 2.0, -np.inf]])
    return Pool(np.array([[1, 2, 3, 4]] * 2), relevance, context)


def test_built_in_names() -> None:
    functions = [mmr, msd, sog, dpp, ssd, calibrate, xquad, popularity_penalised]
    assert [row.name for row in available_rerankers()][:8] == [
        "mmr",
        "msd",
        "sog",
        "dpp",
        "ssd",
        "calibrate",
        "xquad",
        "popularity_penalised",
    ]
    assert [row.value for row in available_rerankers()][:8] == functions


def test_a_function_of_a_file(file: Path) -> None:
    rerank = resolve_reranker("./mine.py:reversed_pool")
    assert rerank(make_pool(), 2, 1.0).tolist() == [[1, 2], [1, 2]]
    assert rerank(make_pool().take(np.array([0])), 2, 0.0).tolist() == [[4, 3]]


def test_a_plugin(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = [EntryPoint("backwards", "mine:reversed_pool", "genrec.rerankers")]
    monkeypatch.setattr(
        components, "entry_points", lambda group: [each for each in points if each.group == group]
    )
    assert available_rerankers()[-1].name == "backwards"
    assert resolve_reranker("backwards")(make_pool(), 1, 1.0).tolist() == [[1], [1]]


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ("too_short", r"'too_short' returned int64 values of shape \(2, 1\), not .* \(2, 2\)"),
        ("shares", "returned float64 values"),
        ("twice", r"'twice' returned list 0: \[1, 1\], which is not 2 different candidates"),
        ("masked", r"returned list 1: \[3, 4\], which is not 2 .* that may be chosen"),
        ("foreign", r"returned list 0: \[11, 12\]"),
        ("writes", r"'writes', weight 0\.5, raised .* line \d+\): it writes into the pool that it"),
        ("recounts", r"'recounts', .* it writes into the pool that it is given; copy its arrays"),
        ("leaves", r"re-ranker 'leaves', weight 0\.5, raised SystemExit: 3 \(mine\.py, line \d+\)"),
        (
            "fails",
            r"'fails', weight 0\.5, raised AttributeError: .*nothing.* \(mine\.py, line \d+\)",
        ),
        ("deep", r"'deep', weight 0\.5, raised TypeError: .* \(mine\.py, line \d+\)"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_lists_that_are_none_are_refused(file: Path, attribute: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        resolve_reranker(f"./mine.py:{attribute}")(make_pool(), 2, 0.5)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("./mine.py:number", "is a int, not a function"),
        (
            "./mine.py:other",
            "has no re-ranker 'other'; give one of reversed_pool, too_short, twice, masked,",
        ),
        ("mnr", r"unknown re-ranker 'mnr'\. Did you mean 'mmr'\? Known: calibrate, dpp, mmr, msd"),
    ],
)
def test_what_is_not_found_is_named(file: Path, target: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        resolve_reranker(target)
