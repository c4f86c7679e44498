"""Rows of a comparison: metrics, and groups by method."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from genrec.config.errors import GenrecError
from genrec.metrics.pareto import direction
from genrec.results import Comparison, ComparisonRow

Rows = Sequence[ComparisonRow]


def axes_of(comparison: Comparison, x: str | None) -> tuple[str, str]:
    """Names of the metrics of both axes: x, by default the rewarded one, and NDCG@K.

    Raises:
        GenrecError: if not every row has them; the message lists those that every row has.
    """
    k, rows = comparison.k, comparison.rows
    chosen = x or f"{comparison.reward}@{k}"
    for name in (chosen, f"ndcg@{k}"):
        if len(having(rows, name)) < len(rows):
            complete = [each for each in metrics_of(rows) if len(having(rows, each)) == len(rows)]
            raise GenrecError(
                f"not every row of the comparison has {name!r}; there are {', '.join(complete)}"
            )
    return chosen, f"ndcg@{k}"


def metrics_of(rows: Rows) -> list[str]:
    """Names of all metrics in the rows."""
    return list(dict.fromkeys(name for row in rows for name in row.metrics))


def column(rows: Rows, name: str) -> NDArray[np.float64]:
    """(n,) a metric of n rows."""
    return np.array([row.metrics[name] for row in rows], dtype=np.float64)


def having(rows: Rows, name: str) -> list[ComparisonRow]:
    """The rows that have a metric."""
    return [row for row in rows if name in row.metrics]


def by_method(rows: Rows) -> dict[str, list[ComparisonRow]]:
    """Method -> its rows by rising weight; methods in the order of the rows."""
    groups: dict[str, list[ComparisonRow]] = {row.method: [] for row in rows}
    for row in sorted(rows, key=lambda row: row.weight or 0.0):
        groups[row.method].append(row)
    return groups


def best_of(rows: Rows) -> ComparisonRow:
    """The row with the best objective; the first where none has one."""
    return max(rows, key=lambda row: row.metrics.get("objective", -np.inf))


def lower_is_better(rows: Rows, name: str) -> bool:
    """Whether less of a metric is better, as of popularity."""
    there = having(rows, name)
    return bool(there) and direction(name, column(there, name)) < 0


def best_value(rows: Rows, name: str) -> float | None:
    """Best value of a metric; None where no row has it."""
    there = having(rows, name)
    if not there:
        return None
    values = column(there, name)
    return float(values.min() if lower_is_better(rows, name) else values.max())
