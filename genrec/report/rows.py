"""The rows of a comparison: read from a run folder, grouped by method, named."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genrec.config.errors import GenrecError
from genrec.metrics.pareto import box, direction, hypervolume

Comparison = Mapping[str, Any]
Row = Mapping[str, Any]

FAMILIES = {"mmr": "MMR", "sog": "SOG", "dpp": "DPP", "aligned": "aligned policy"}
VARIANTS = {"raw": "raw scores", "calibrated": "calibrated", "sorted": "sorted"}


def read(run: Path) -> Comparison:
    """The comparison that lies in a run folder.

    Raises:
        FileNotFoundError: if the folder holds none.
        GenrecError: if it is not one, or has no rows.
    """
    path = run / "comparison.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"no comparison.json in {run}: give the folder of a finished comparison"
        )
    found: Comparison = json.loads(path.read_text(encoding="utf-8"))
    missing = [key for key in ("rows", "reward", "k") if key not in found]
    if missing or not found["rows"]:
        raise GenrecError(f"{path} has no {', '.join(missing) or 'rows'}: run the comparison again")
    return found


def hypervolumes(comparison: Comparison, x: str | None = None) -> dict[str, float]:
    """Method -> share of the trade-off box that its rows dominate, 0 to 1.

    The box reaches from the worst to the best value of any row on both axes, x and NDCG@K; an axis
    on which all rows are equal gives 0.
    """
    x, y = axes_of(comparison, x)
    rows = comparison["rows"]
    points = np.stack([column(rows, x) * direction(x, column(rows, x)), column(rows, y)], axis=1)
    low, extent = box(points)
    scaled = (points - low) / extent
    methods = np.array([row["method"] for row in rows])
    return {
        str(method): hypervolume(scaled[methods == method], [0, 0])
        for method in dict.fromkeys(methods.tolist())
    }


def axes_of(comparison: Comparison, x: str | None) -> tuple[str, str]:
    """Names of the metrics on both axes: x, by default the rewarded one, and NDCG@K.

    Raises:
        GenrecError: if not every row has them; the message lists those that all have.
    """
    k, rows = comparison["k"], comparison["rows"]
    chosen = x or f"{comparison['reward']}@{k}"
    for name in (chosen, f"ndcg@{k}"):
        if len(having(rows, name)) < len(rows):
            full = [
                metric
                for metric in rows[0]
                if metric != "weight" and len(having(rows, metric)) == len(rows)
            ]
            raise GenrecError(
                f"not every row of the comparison has {name!r}; there are {', '.join(full[1:])}"
            )
    return chosen, f"ndcg@{k}"


def metrics_of(rows: Sequence[Row]) -> list[str]:
    """The names of all metrics in the rows."""
    return list(
        dict.fromkeys(name for row in rows for name in row if name not in ("method", "weight"))
    )


def column(rows: Sequence[Row], name: str) -> NDArray[np.float64]:
    """(n,) a metric of n rows."""
    return np.array([row[name] for row in rows], dtype=np.float64)


def having(rows: Sequence[Row], name: str) -> list[Row]:
    """The rows that have a metric."""
    return [row for row in rows if row.get(name) is not None]


def by_method(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Method -> its rows by rising weight."""
    groups: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row.get("weight") or 0.0):
        groups.setdefault(row["method"], []).append(row)
    return {method: groups[method] for method in dict.fromkeys(row["method"] for row in rows)}


def best_of(rows: Sequence[Row]) -> Row:
    """The row with the best objective; the first where none has one."""
    return rows[
        int(
            np.argmax(
                [-np.inf if row.get("objective") is None else row["objective"] for row in rows]
            )
        )
    ]


def is_single(row: Row) -> bool:
    """Whether the method has no weight."""
    return row.get("weight") is None


def family_of(method: str) -> tuple[str, str]:
    """The method and its variant: what it is told of relevance, "" for scaled scores, or that its
    lists are sorted.

    >>> family_of("mmr-raw"), family_of("popularity-sort")
    (('mmr', 'raw'), ('popularity-sort', ''))
    """
    family, _, variant = method.rpartition("-")
    return (family, variant) if variant in VARIANTS else (method, "")


def name_of(method: str) -> str:
    """How a method is called in sentences and legends.

    >>> name_of("mmr-raw"), name_of("greedy")
    ('MMR (raw scores)', 'greedy')
    """
    family, variant = family_of(method)
    name = FAMILIES.get(family.lower(), family)
    return f"{name} ({VARIANTS[variant]})" if variant else name


def label_of(row: Row) -> str:
    """Method and weight of a row."""
    return str(row["method"]) if is_single(row) else f"{row['method']} {row['weight']:g}"


def heading_of(name: str, rows: Sequence[Row], k: int) -> str:
    """The metric without @K, which the title says, and an arrow where less is better."""
    there = having(rows, name)
    return name.removesuffix(f"@{k}") + (
        " ↓" if there and direction(name, column(there, name)) < 0 else ""
    )


def number(value: float | None) -> str:
    """Four digits, without the zero in front of the point.

    >>> number(0.12345), number(-0.5), number(2.5), number(None)
    ('.1235', '-.5000', '2.500', '–')
    """
    if value is None:
        return "–"
    text = f"{value:.4f}" if abs(value) < 1 else f"{value:.3f}"
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text


def title_of(comparison: Comparison, goal: str) -> str:
    """Goal, dataset and number of users in one line."""
    facts = [str(comparison["dataset"])] if comparison.get("dataset") else []
    facts += [f"{comparison['cases']:,} users"] if comparison.get("cases") else []
    return f"Accuracy and {goal} of lists of {comparison['k']}" + "".join(
        f" · {fact}" for fact in facts
    )
