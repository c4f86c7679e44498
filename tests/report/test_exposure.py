"""Exposure by position on a page and in a terminal."""

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from genrec import report
from genrec.results import Comparison, PositionExposure, SideEffects


def exposed(share: float) -> tuple[PositionExposure, ...]:
    """Exposure of lists of ten whose last third has that share, and one item more."""
    middle = {"top_share": 0.15, "gini": 0.5, "entropy": 5.25, "distinct": 400}
    last = {"top_share": share, "gini": 0.75, "entropy": 2.5, "distinct": 87.5}
    return (
        PositionExposure(first=1, last=3, **middle),
        PositionExposure(first=4, last=7, **middle),
        PositionExposure(first=8, last=10, **last),
    )


@pytest.fixture
def content(comparison, make_row) -> Comparison:
    """A policy, its warm-up and student, and two variants of MMR near its goal."""
    rows = [
        make_row("teacher", None, 0.1, 0.3, 0.1),
        make_row("mmr", 0.25, 0.1, 0.4, 0.2),
        make_row("mmr", 0.5, 0.1, 0.5, 0.9),  # better, but far from the goal
        make_row("mmr-calibrated", 0.5, 0.1, 0.4, 0.3),
        make_row("popularity-sort-calibrated", 0.75, 0.1, 0.4, 0.3),
        make_row("student", None, 0.1, 0.3, 0.1),
        make_row("supervised warm-up", None, 0.1, 0.4, 0.3),
        make_row("aligned", None, 0.1, 0.4, 0.4),
    ]
    shares = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.882]
    exposure = [exposed(share) for share in shares]
    updated = [
        row.model_copy(update={"exposure": each}) for row, each in zip(rows, exposure, strict=True)
    ]
    near = [
        ("aligned", None, "student"),
        ("supervised warm-up", None, "student"),
        ("mmr", 0.25, "teacher"),
        ("mmr-calibrated", 0.5, "teacher"),
        ("popularity-sort-calibrated", 0.75, "teacher"),
    ]
    effects = [
        SideEffects(method=name, weight=weight, reference=reference, changes={})
        for name, weight, reference in near
    ]
    changes = {"rows": tuple(updated), "side_effects": tuple(effects)}
    return comparison.model_copy(update=changes)


SHOWN = [
    ("aligned", None),
    ("supervised warm-up", None),
    ("student", None),
    ("mmr-calibrated", 0.5),
    ("popularity-sort-calibrated", 0.75),
]


def test_policies_and_the_best_variant_of_each_reranker_are_shown(content):
    found = report.exposure_rows(content)
    assert [(row.method, row.weight) for row in found] == SHOWN


def test_the_student_is_shown_without_a_warmup(content):
    rows = [row for row in content.rows if row.method != "supervised warm-up"]
    found = report.exposure_rows(content.model_copy(update={"rows": tuple(rows)}))
    assert [row.method for row in found][:2] == ["aligned", "student"]


def test_the_terminal_shows_shares_and_different_items(content):
    console = Console(width=80, file=io.StringIO())
    console.print(report.exposure_table(content))
    text = console.file.getvalue()
    lines = [line.split() for line in text.splitlines()]
    assert ["1-3", "4-7", "8-10", "1-3", "4-7", "8-10"] in [line[-6:] for line in lines]
    assert ["aligned", ".1500", ".1500", ".8820", "400", "400", "88"] in lines
    assert ["mmr-calibrated", "0.5", ".1500", ".1500", ".4000", "400", "400", "88"] in lines
    assert "popularity-sort-calibrated 0.75" in text
    assert max(cell_len(line) for line in text.splitlines()) <= 80


def test_the_page_has_all_measures(content):
    text = report.page(content)
    section = text.partition("## Exposure by position")[2].partition("## All rows")[0]
    assert "| aligned |  | 8-10 | .8820 | .7500 | 2.500 | 87.5 |" in section
    assert "| mmr-calibrated | 0.5 | 4-7 | .1500 | .5000 | 5.250 | 400 |" in section
    assert "| mmr |" not in section


def test_nothing_is_shown_where_nothing_was_recorded(full):
    assert report.exposure_table(full) is None
    assert "Exposure" not in report.page(full)
