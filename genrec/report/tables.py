"""A comparison as a table and as sentences, for a terminal."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from genrec.config.text import printable
from genrec.report.rows import Rows, best_of, best_value, by_method, metrics_of
from genrec.report.wording import (
    family_of,
    heading_of,
    interval,
    label_of,
    name_of,
    number,
    signed,
    title_of,
    verdict,
)
from genrec.results import Comparison, ComparisonRow, Gap, HullAreas

ALL_TABLES = "comparison.md"


def table(comparison: Comparison, *, rows_per_method: int = 5, width: int | None = None) -> Table:
    """All methods side by side, the best value of each column in bold.

    A method with many weights is shown at ``rows_per_method`` of them at most: evenly spaced, the
    one with the best objective included. Where not all columns fit into the width, those of
    accuracy, the rewards, the objective and coverage come first. The caption names the methods and
    columns that are shortened or left out.

    Args:
        comparison: with at least one row.
        rows_per_method: largest number of weights to show of a method.
        width: columns of the terminal; None for no limit.
    """
    rows = comparison.rows
    shown = [row for group in by_method(rows).values() for row in _spaced(group, rows_per_method)]
    metrics = _fitting(comparison, shown, width)
    view = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    view.title = Text(printable(title_of(comparison, comparison.reward), kept=""))
    view.caption = _caption(comparison, shown, metrics)
    view.add_column("method", no_wrap=True)
    for name in metrics:
        heading = "\n".join(_heading(comparison, name))
        view.add_column(Text(heading), justify="right", min_width=_width(comparison, shown, name))
    best = {name: best_value(shown, name) for name in metrics}
    ends = _ends_of_curves(shown)
    for row, end in zip(shown, ends, strict=True):
        cells = []
        for name in metrics:
            value = row.metrics.get(name)
            bold = value is not None and value == best[name]
            cells.append(f"[bold]{number(value)}[/bold]" if bold else number(value))
        view.add_row(Text(_label(row)), *cells, end_section=end)
    return view


def _fitting(comparison: Comparison, shown: Rows, width: int | None) -> list[str]:
    """The metrics to show, in the order of the rows; NDCG@K is always among them."""
    # rich would drop the columns on the right without a word.
    metrics = metrics_of(comparison.rows)
    if width is None:
        return metrics
    k = comparison.k
    rewarded = [f"{name}@{k}" for name in (comparison.reward, *comparison.weights)]
    important = [f"ndcg@{k}", *rewarded, "objective", f"coverage@{k}"]
    by_importance = dict.fromkeys([*(each for each in important if each in metrics), *metrics])
    left = width - max(len(_label(row)) for row in shown) - 2  # both edges of the box
    fitting: list[str] = []
    for name in by_importance:
        needed = _width(comparison, shown, name) + 1  # one blank between two columns
        if needed <= left or not fitting:
            fitting.append(name)
            left -= needed
    return [name for name in metrics if name in fitting]


def _width(comparison: Comparison, shown: Rows, name: str) -> int:
    """Characters of the longest line of a column."""
    cells = [number(row.metrics.get(name)) for row in shown]
    return max(len(line) for line in (*_heading(comparison, name), *cells))


def _heading(comparison: Comparison, name: str) -> list[str]:
    """Lines of the heading of a metric: a cut-off that is not K has a line of its own."""
    heading = printable(heading_of(name, comparison.rows, comparison.k), kept="")
    return heading.replace("@", "\n@").split("\n")


def _label(row: ComparisonRow) -> str:
    """Method and weight of a row, in one line."""
    return printable(label_of(row), kept="")


def _ends_of_curves(shown: Rows) -> list[bool]:
    """Which rows are followed by a blank line: the last of a curve, and those before a curve."""
    count = Counter(row.method for row in shown)
    following = [*(row.method for row in shown[1:]), shown[-1].method]
    return [
        row.method != other and max(count[row.method], count[other]) > 1
        for row, other in zip(shown, following, strict=True)
    ]


def _spaced(rows: list[ComparisonRow], count: int) -> list[ComparisonRow]:
    """At most ``count`` rows: both ends, some in between, and the one with the best objective."""
    if len(rows) <= count:
        return rows
    even = np.linspace(0, len(rows) - 1, count - 1).round().astype(int).tolist()
    kept = {*even, rows.index(best_of(rows))}
    return [rows[i] for i in sorted(kept)]


def _caption(comparison: Comparison, shown: Rows, metrics: Sequence[str]) -> str:
    """What bold means, and what is left out."""
    parts = ["bold: best of the rows shown"]
    every, some = by_method(comparison.rows), by_method(shown)
    shortened = [method for method in every if len(some[method]) < len(every[method])]
    # With one row per method a list of counts would only repeat itself.
    if shortened and all(len(some[method]) == 1 for method in shortened):
        parts.append("each re-ranker at its weight with the best objective")
    else:
        counts = [f"{name}: {len(some[name])} of {len(every[name])} weights" for name in shortened]
        parts += counts
    left_out = [name for name in metrics_of(comparison.rows) if name not in metrics]
    if left_out:
        parts.append(f"not shown, but in {ALL_TABLES}: {', '.join(left_out)}")
    return printable(" · ".join(parts), kept="")


def sentences(comparison: Comparison) -> list[str]:
    """Differences between the aligned policy and the curves: one line per kind of re-ranker, and
    one about the areas under their hulls.

    Of the variants of a re-ranker (scaled, calibrated, raw relevance) the line is about the one
    against which the policy does worst; ``page`` has them all.
    """
    kinds: dict[str, list[Gap]] = {}
    for gap in comparison.gaps:
        kinds.setdefault(family_of(gap.method)[0], []).append(gap)
    lines = [_gap_sentence(comparison, kind, gaps) for kind, gaps in kinds.items()]
    return [*lines, *_area_sentences(comparison.hull_areas, comparison.reward)]


def _gap_sentence(comparison: Comparison, kind: str, gaps: Sequence[Gap]) -> str:
    """The variant with the lowest difference."""
    goal, worst, lowest = comparison.reward, None, np.inf
    for gap in gaps:
        if gap.difference is not None and gap.difference < lowest:
            worst, lowest = gap, gap.difference
    if worst is None or worst.p is None:
        return f"{name_of(kind)}: no weight of its grid has the {goal} of the aligned policy"
    difference, error = signed(worst.difference, worst.error)
    return (
        f"aligned policy minus {name_of(worst.method)} at equal {goal}: {difference} ± {error}"
        f" NDCG@{comparison.k}, {verdict(worst.p)}"
    )


def _area_sentences(found: HullAreas, goal: str) -> list[str]:
    """One sentence, about the re-ranker against which the policy does worst."""
    compared = [each for each in found.methods if each.difference is not None]
    if not compared:
        none = f"area under the mixing hull: no re-ranker reaches the {goal} of the aligned policy"
        return [none] if found.methods else []
    worst = min(compared, key=lambda each: each.difference or 0.0)
    low, high = worst.common_range or (None, None)
    where = f"at {goal} {number(low)}" if low == high else f"for {goal} {interval(low, high)}"
    difference, start, end = (
        signed(value)[0] for value in (worst.difference, worst.low, worst.high)
    )
    outcome = "" if worst.p is None else f", {verdict(worst.p)}"
    return [
        f"area under the mixing hull, mean {found.axes[1].replace('ndcg', 'NDCG')} {where}: aligned"
        f" policy {number(worst.policy_area)} ({_points(found.points)}), {name_of(worst.method)},"
        f" the strongest re-ranker, {number(worst.area)} ({_points(worst.points)}); difference"
        f" {difference}, 95 % interval {start} to {end}{outcome}"
    ]


def _points(count: int) -> str:
    return "1 point" if count == 1 else f"{count} points"
