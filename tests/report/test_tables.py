"""A comparison in a terminal: rows and columns that fit, and sentences."""

import io
from itertools import product

import pytest
from rich.cells import cell_len
from rich.console import Console

from genrec import report
from genrec.results import Comparison, ComparisonRow, Gap


def printed(view, width: int = 120) -> str:
    console = Console(width=width, file=io.StringIO())
    console.print(view)
    return console.file.getvalue()


def headings(view) -> list[str]:
    return [str(column.header).replace("\n", "") for column in view.columns]


def rows_of(text: str, method: str) -> list[list[str]]:
    return [line.split()[:2] for line in text.splitlines() if line.startswith(f" {method}")]


def test_table_shows_five_weights_and_the_best(comparison):
    text = printed(report.table(comparison))
    weights = ["0", "0.375", "0.625", "1"]
    assert rows_of(text, "mmr") == [["mmr", weight] for weight in weights]
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


def test_one_row_per_method(comparison):
    text = printed(report.table(comparison, rows_per_method=1))
    assert rows_of(text, "mmr") == [["mmr", "0.625"]]
    assert "each re-ranker at its weight with the best objective" in " ".join(text.split())


@pytest.fixture
def wide(comparison) -> Comparison:
    """As many columns as a real comparison has, and the longest name of a method."""
    names = ("ndcg", "recall@1", "recall", "mrr", "popularity", "diversity", "novelty")
    names += ("objective", "npcount", "coverage", "distinct")
    metrics = {
        name if name in ("recall@1", "objective") else f"{name}@10": 0.1234 for name in names
    }
    rows = [
        ComparisonRow(method="popularity-sort-calibrated", weight=0.25, metrics=metrics, errors={}),
        ComparisonRow(method="aligned", metrics=metrics, errors={}),
    ]
    return comparison.model_copy(update={"rows": tuple(rows)})


def test_important_columns_come_first_and_the_caption_names_the_others(wide):
    view = report.table(wide, width=80)
    kept = ["method", "ndcg", "recall@1", "diversity", "objective", "coverage"]
    assert headings(view) == kept
    assert "not shown, but in comparison.md: recall@10, mrr@10, popularity@10," in view.caption
    text = printed(view, 80)
    for row in ("popularity-sort-calibrated 0.25", "aligned"):
        (line,) = [line for line in text.splitlines() if line.startswith(f" {row} ")]
        assert line.split()[-5:] == [".1234"] * 5  # every cell whole


def test_all_columns_are_shown_where_they_fit(wide):
    assert headings(report.table(wide, width=160)) == headings(report.table(wide))
    assert len(headings(report.table(wide))) == 12
    assert "not shown" not in report.table(wide, width=160).caption


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 120])
def test_no_column_disappears_and_no_line_is_too_long(wide, width):
    view = report.table(wide, width=width)
    assert headings(view)[:2] == ["method", "ndcg"]
    left_out = view.caption.partition("not shown, but in comparison.md: ")[2]
    metrics = wide.rows[0].metrics
    assert len(headings(view)) - 1 + len(left_out.split(", ")) == len(metrics)
    if width >= 40:  # enough for the longest name and one column
        lines = printed(view, width).splitlines()
        assert max(cell_len(line) for line in lines) <= width
        for row, name in product(wide.rows, headings(view)[1:]):
            assert row.method in printed(view, width)
            assert name.removesuffix("@1")[:4] in printed(view, width)


def test_sentences_name_the_hardest_variant_and_the_strongest_hull(full):
    hard = full.gaps[0].model_copy(
        update={"method": "mmr-calibrated", "difference": -0.5, "p": 0.5}
    )
    content = full.model_copy(update={"gaps": (full.gaps[0], hard, full.gaps[1])})
    assert report.sentences(content) == [
        "aligned policy minus MMR (calibrated) at equal diversity: -.5000 ± .0021 NDCG@10, not"
        " significantly different (p = .50)",
        "SOG: no weight of its grid has the diversity of the aligned policy",
        "area under the mixing hull, mean NDCG@10 for diversity .3000 to .4600: aligned policy"
        " .5000 (1 point), MMR, the strongest re-ranker, .2500 (9 points); difference +.2500, 95 %"
        " interval +.1500 to +.3500, significantly different (p = .002)",
    ]


def test_a_policy_of_one_weight_is_compared_at_its_goal(full):
    """And the re-ranker against which it does worst is named, wherever it is in the table."""
    mmr, unreached = full.hull_areas.methods
    one = mmr.model_copy(update={"common_range": (0.45, 0.45)})
    better = one.model_copy(update={"method": "dpp", "difference": -0.1})
    areas = full.hull_areas.model_copy(update={"methods": (one, better, unreached)})
    line = report.sentences(full.model_copy(update={"hull_areas": areas}))[-1]
    assert "mean NDCG@10 at diversity .4500: aligned policy" in line
    assert "DPP, the strongest re-ranker" in line
    alone = full.hull_areas.model_copy(update={"methods": (unreached,)})
    assert report.sentences(full.model_copy(update={"hull_areas": alone}))[-1] == (
        "area under the mixing hull: no re-ranker reaches the diversity of the aligned policy"
    )


def test_sentences_are_about_what_was_measured(comparison):
    gaps = (
        Gap(method="mmr", difference=0.01234, error=0.0021, low=0, high=1, p=0.00003),
        Gap(method="sog"),
    )
    assert report.sentences(comparison.model_copy(update={"gaps": gaps})) == [
        "aligned policy minus MMR at equal diversity: +.0123 ± .0021 NDCG@10, significantly"
        " different (p < .001)",
        "SOG: no weight of its grid has the diversity of the aligned policy",
    ]
    assert report.sentences(comparison) == []
