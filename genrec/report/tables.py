"""A comparison as a table and as sentences, for a terminal."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from rich import box
from rich.table import Table

from genrec.metrics.pareto import direction
from genrec.report.rows import (
    Comparison,
    Row,
    best_of,
    by_method,
    column,
    family_of,
    having,
    heading_of,
    label_of,
    metrics_of,
    name_of,
    number,
    title_of,
)


def table(comparison: Comparison, rows_per_method: int = 5) -> Table:
    """All methods side by side, the best value of each column in bold.

    A method that was run over many weights is shown at ``rows_per_method`` of them at most: evenly
    spaced, the one with the best objective included. The caption says which methods were shortened.
    """
    rows = comparison["rows"]
    shown = [row for group in by_method(rows).values() for row in _spread(group, rows_per_method)]
    metrics = metrics_of(rows)
    view = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    view.title, view.caption = title_of(comparison, comparison["reward"]), _caption(rows, shown)
    view.add_column("method", no_wrap=True)
    for name in metrics:
        heading = heading_of(name, rows, comparison["k"]).replace("@", "\n@")
        width = max(len(_cell(row.get(name))) for row in shown)
        width = max([width, *(len(line) for line in heading.split("\n") if len(line) <= 6)])
        view.add_column(heading, justify="right", overflow="fold", min_width=width)
    best = {name: _best(shown, name) for name in metrics}
    rows_of = Counter(row["method"] for row in shown)
    for row, following in zip(shown, [*shown[1:], shown[-1]], strict=True):
        cells = [
            _cell(row.get(name), bold=row.get(name) is not None and row[name] == best[name])
            for name in metrics
        ]
        curve_ends = (
            row["method"] != following["method"]
            and max(rows_of[row["method"]], rows_of[following["method"]]) > 1
        )
        view.add_row(label_of(row), *cells, end_section=curve_ends)
    return view


def sentences(comparison: Comparison) -> list[str]:
    """How far the aligned policy lies above or below the curves: a line for each kind of re-ranker,
    one for areas.

    Of the variants of a re-ranker (scaled, calibrated, raw relevance) the one speaks against which
    the policy does worst; ``page`` has them all.
    """
    lines = []
    kinds: dict[str, list[Row]] = {}
    for gap in comparison.get("gaps", []):
        kinds.setdefault(family_of(gap["method"])[0], []).append(gap)
    for kind, variants in kinds.items():
        reached = [gap for gap in variants if gap["gap"] is not None]
        lines.append(
            _gap(
                comparison,
                kind,
                min(reached, key=lambda gap: float(gap["gap"])) if reached else None,
            )
        )
    return lines + ([_area(comparison)] if comparison.get("areas") else [])


def _gap(comparison: Comparison, kind: str, gap: Row | None) -> str:
    goal = comparison["reward"]
    if gap is None:
        return f"{name_of(kind)}: no weight of its grid has the {goal} of the aligned policy"
    return (
        f"aligned against {name_of(gap['method'])} at equal {goal}: {gap['gap']:+.4f} ±"
        f" {gap['error']:.4f}"
        f" NDCG@{comparison['k']}, corrected p = {gap['p']:.2g}"
    )


def _area(comparison: Comparison) -> str:
    methods = comparison["areas"]["methods"]
    own = next(each for each in methods if each["behind"] is None)
    best = max(
        (each for each in methods if each["behind"] is not None),
        key=lambda each: float(each["area"]),
    )
    return (
        f"hypervolume: aligned {own['area']:.3f} with {own['points']} point(s);"
        f" {name_of(best['method'])}, the best"
        f" re-ranker, {best['area']:.3f} with {best['points']}; difference {best['behind']:+.3f}"
        f" [{best['behind_low']:+.3f}, {best['behind_high']:+.3f}], corrected p = {best['p']:.2g}"
    )


def _spread(rows: list[Row], count: int) -> list[Row]:
    """At most ``count`` of the rows: the ends, some in between, and the one with the best
    objective."""
    if len(rows) <= count:
        return rows
    kept = {
        *np.linspace(0, len(rows) - 1, count - 1).round().astype(int).tolist(),
        rows.index(best_of(rows)),
    }
    return [rows[i] for i in sorted(kept)]


def _best(rows: Sequence[Row], name: str) -> float | None:
    there = having(rows, name)
    if not there:
        return None
    sign = direction(name, column(there, name))
    return float(sign * (sign * column(there, name)).max())


def _cell(value: float | None, bold: bool = False) -> str:
    return f"[bold]{number(value)}[/bold]" if bold else number(value)


def _caption(rows: Sequence[Row], shown: Sequence[Row]) -> str:
    every, some = by_method(rows), by_method(shown)
    shortened = [method for method in every if len(some[method]) < len(every[method])]
    if shortened and all(len(some[method]) == 1 for method in shortened):
        return "bold: best of the rows shown · of each re-ranker's weights the one with the best objective"
    short = [
        f"{method}: {len(some[method])} of {len(every[method])} weights" for method in shortened
    ]
    return "bold: best of the rows shown" + "".join(f" · {text}" for text in short)
