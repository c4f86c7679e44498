"""Tables, pictures, fronts and hypervolumes of a comparison."""

import io
import json

import matplotlib.image
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from genrec import report


def row(method, weight, ndcg, diversity, objective=None, popularity=0.002):
    return {
        "method": method, "weight": weight, "ndcg@10": ndcg, "diversity@10": diversity,
        "popularity@10": popularity, "objective": objective,
    }  # fmt: skip


@pytest.fixture
def comparison():
    """The teacher in one corner, MMR over 9 weights (best objective at 0.625), an aligned policy better than both."""
    curve = [
        row("mmr", i / 8, 0.10 - 0.005 * i, 0.30 + 0.02 * i, objective=0.5 if i == 5 else 0.1 + 0.01 * i)
        for i in range(9)
    ]
    points = [row("teacher", None, 0.11, 0.30, popularity=0.004), row("aligned", None, 0.10, 0.45, 0.4, 0.001)]
    return {
        "rows": points + curve, "reward": "diversity", "k": 10, "dataset": "demo", "fingerprint": "ab" * 8,
        "cases": 1234, "seed": 1,
    }  # fmt: skip


def printed(view):
    console = Console(width=120, file=io.StringIO())
    console.print(view)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([[0, 0]], [True]),
        ([[1, 1], [1, 1]], [True, True]),
        ([[2, 1], [1, 1], [1, 2], [0, 3], [2, 0]], [True, False, True, True, False]),
        ([[1, 1, 5], [1, 2, 4], [1, 1, 4]], [True, True, False]),
    ],
)
def test_pareto(points, expected):
    assert report.pareto(points).tolist() == expected


@pytest.mark.parametrize(
    ("points", "reference", "expected"),
    [
        ([[2, 3]], [0, 0], 6.0),
        ([[2, 3]], [1, 1], 2.0),
        ([[2, 3], [1, 2]], [0, 0], 6.0),  # dominated: adds nothing
        ([[1, 4], [3, 2]], [0, 0], 8.0),  # 1 x 4 and 3 x 2 overlap in 1 x 2
        ([[1, 4], [3, 2], [2, 3]], [0, 0], 9.0),
        ([[-1, 9], [9, -1]], [0, 0], 0.0),
        ([[5, 5], [-1, 9]], [0, 0], 25.0),
        (np.empty((0, 2)), [0, 0], 0.0),
    ],
)
def test_hypervolume(points, reference, expected):
    assert report.hypervolume(points, reference) == expected


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=8))
def test_hypervolume_counts_the_dominated_unit_squares(points):
    squares = {(a, b) for x, y in points for a in range(x) for b in range(y)}
    assert report.hypervolume(points, [0, 0]) == len(squares)
    front = [point for point, kept in zip(points, report.pareto(points), strict=True) if kept]
    assert report.hypervolume(front, [0, 0]) == len(squares)


def test_hypervolumes_are_shares_of_the_box(comparison):
    comparison["rows"] = [row("a", None, 0.1, 0.0), row("b", None, 0.0, 0.2), row("c", None, 0.05, 0.1)]
    assert report.hypervolumes(comparison) == pytest.approx({"a": 0.0, "b": 0.0, "c": 0.25})


def test_less_popularity_is_better(comparison):
    rows = [row("low", None, 0.1, 0, popularity=0.1), row("high", None, 0.1, 0, popularity=0.3)]
    comparison["rows"] = [*rows, row("bad", None, 0.0, 0, popularity=0.3)]
    assert report.hypervolumes(comparison, "popularity@10") == pytest.approx({"low": 1.0, "high": 0.0, "bad": 0.0})
    assert report.direction([{"popularity@10": -0.5}], "popularity@10") == 1  # a reward, not a share


def test_table_shows_five_weights_and_the_best(comparison):
    text = printed(report.table(comparison))
    assert [line.split()[:2] for line in text.splitlines() if line.startswith(" mmr")] == [
        ["mmr", "0"], ["mmr", "0.375"], ["mmr", "0.625"], ["mmr", "1"],
    ]  # fmt: skip
    assert "mmr: 4 of 9 weights" in text
    assert "lists of 10 · demo · 1,234 users" in " ".join(text.split())
    assert ".1100" in text


def test_table_marks_the_best_value(comparison):
    view = report.table(comparison)
    cells = {str(column.header).split("\n")[0]: list(column.cells) for column in view.columns}
    assert cells["ndcg"][:2] == ["[bold].1100[/bold]", ".1000"]
    assert cells["diversity"][1] == ".4500"
    assert cells["popularity ↓"][:2] == [".0040", "[bold].0010[/bold]"]
    assert cells["objective"][0] == "–"


def test_picture_is_drawn_at_its_size(comparison, tmp_path):
    report.plot(comparison, tmp_path / "new" / "tradeoff.png")
    assert matplotlib.image.imread(tmp_path / "new" / "tradeoff.png").shape[:2] == (800, 1200)


def test_picture_of_an_unknown_metric_is_refused(comparison, tmp_path):
    with pytest.raises(ValueError, match=r"'serendipity@10'; there are ndcg@10, diversity@10, popularity@10$"):
        report.plot(comparison, tmp_path / "x.png", x="serendipity@10")


def test_reading_a_run(comparison, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no comparison\.json"):
        report.read(tmp_path)
    (tmp_path / "comparison.json").write_text(json.dumps(comparison))
    assert report.read(tmp_path) == comparison
    (tmp_path / "comparison.json").write_text('{"rows": [], "reward": "x", "k": 10}')
    with pytest.raises(ValueError, match="has no rows"):
        report.read(tmp_path)


def test_sentences_say_how_far_the_policy_is_from_each_curve():
    gap = {"method": "mmr", "gap": 0.01234, "error": 0.0021, "p": 0.00003}
    far = {"method": "sog", "gap": None, "error": None, "p": None}
    assert report.sentences({"reward": "diversity", "k": 10, "gaps": [gap, far]}) == [
        "aligned against MMR at equal diversity: +0.0123 ± 0.0021 NDCG@10, corrected p = 3e-05",
        "SOG: no weight of its grid reaches the diversity of the aligned policy",
    ]
    assert report.sentences({"reward": "diversity", "k": 10}) == []
