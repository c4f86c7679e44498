"""Exposure of items by position: which methods are shown, and the table for a terminal."""

from rich import box
from rich.table import Table
from rich.text import Text

from genrec.config.text import printable
from genrec.report.rows import best_of
from genrec.report.wording import family_of, label_of, number
from genrec.results import Comparison, ComparisonRow, PositionExposure


def exposure_rows(comparison: Comparison) -> list[ComparisonRow]:
    """The rows whose exposure is shown, as far as there are any.

    They are those of the side effects, where a re-ranker has the weight whose goal is nearest to
    that of the policy: the policy, its supervised warm-up, and the variant of each re-ranker with
    the best objective. The student joins them.
    """
    by_key = {(row.method, row.weight): row for row in comparison.rows if row.exposure}
    kinds: dict[str, list[ComparisonRow]] = {"aligned": [], "supervised warm-up": []}
    kinds["student"] = [by_key[key] for key in [("student", None)] if key in by_key]
    for each in comparison.side_effects:
        row = by_key.get((each.method, each.weight))
        if row is not None:
            kinds.setdefault(family_of(row.method)[0], []).append(row)
    return [best_of(rows) for rows in kinds.values() if rows]


def exposure_table(comparison: Comparison) -> Table | None:
    """Share of the ten most frequent items, and number of different items, by position.

    None where no exposure was recorded.

    Args:
        comparison: with at least one row.
    """
    rows = exposure_rows(comparison)
    if not rows:
        return None
    view = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    view.title = "Share of the ten most frequent items, and different items, by position"
    view.caption = (
        "each re-ranker at the goal nearest to the policy's · a high share at the end of the lists:"
        " they are not personal there"
    )
    view.add_column("method", no_wrap=True)
    for name in ("ten items", "different"):
        for group in rows[0].exposure:
            view.add_column(Text(f"{name}\n{positions(group)}"), justify="right")
    for row in rows:
        shares = [number(group.top_share) for group in row.exposure]
        different = [f"{group.distinct:.0f}" for group in row.exposure]
        view.add_row(Text(printable(label_of(row), kept="")), *shares, *different)
    return view


def positions(group: PositionExposure) -> str:
    """The positions of a group, such as "8-10"; one position is one number."""
    return str(group.first) if group.first == group.last else f"{group.first}-{group.last}"
