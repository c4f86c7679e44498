"""Tables and pictures of a comparison. Reads what a run left in its folder; never loads a model."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import ArrayLike, NDArray
from rich import box
from rich.table import Table

Comparison = Mapping[str, Any]
Row = Mapping[str, Any]

LOWER_IS_BETTER = ("popularity", "npcount")

# Okabe and Ito's colours, which stay apart for colour-blind readers; the marker says the same again.
STYLES = {
    "mmr": ("#0072B2", "o"),
    "sog": ("#009E73", "s"),
    "greedy": ("#E69F00", "^"),
    "aligned": ("#D55E00", "*"),
    "teacher": ("#000000", "D"),
    "student": ("#CC79A7", "P"),
    "markov": ("#7F7F7F", "X"),
    "popularity": ("#7F7F7F", "v"),
}
SPARE_STYLES = (("#56B4E9", "h"), ("#F0E442", "p"), ("#7F7F7F", "<"), ("#56B4E9", ">"))
NAMES = {"mmr": "MMR", "sog": "SOG", "aligned": "aligned policy"}


def read(run: Path) -> Comparison:
    """The comparison that lies in a run folder.

    Raises:
        FileNotFoundError: if the folder holds none.
        ValueError: if it is not one, or has no rows.
    """
    path = run / "comparison.json"
    if not path.is_file():
        raise FileNotFoundError(f"no comparison.json in {run}: give the folder of a finished comparison")
    found: Comparison = json.loads(path.read_text(encoding="utf-8"))
    missing = [key for key in ("rows", "reward", "k") if key not in found]
    if missing or not found["rows"]:
        raise ValueError(f"{path} has no {', '.join(missing) or 'rows'}: run the comparison again")
    return found


def pareto(points: ArrayLike) -> NDArray[np.bool_]:
    """Which points no other point dominates; larger is better on every axis.

    A point dominates another if it is at least as large on every axis and larger on one. Equal points do not dominate
    each other.

    Args:
        points: (n, d).

    Returns:
        (n,) True where the point is on the front.

    >>> pareto([[1, 3], [2, 2], [1, 2], [3, 1]]).tolist()
    [True, True, False, True]
    """
    array = np.asarray(points, dtype=np.float64)
    as_large = (array[:, None, :] >= array[None, :, :]).all(axis=2)
    larger = (array[:, None, :] > array[None, :, :]).any(axis=2)
    return np.logical_not((as_large & larger).any(axis=0))


def hypervolume(points: ArrayLike, reference: ArrayLike) -> float:
    """Area that 2-D points dominate above a reference point; larger is better on both axes.

    Args:
        points: (n, 2).
        reference: (2,) the corner that the area is measured from; points below it on an axis add nothing.

    >>> hypervolume([[1, 3], [2, 2], [3, 1]], reference=[0, 0])
    6.0
    """
    corner = np.asarray(reference, dtype=np.float64)
    above = np.maximum(np.asarray(points, dtype=np.float64).reshape(-1, 2) - corner, 0)
    widest_first = above[np.argsort(-above[:, 0], kind="stable")]
    height = np.maximum.accumulate(widest_first[:, 1])
    return float((widest_first[:, 0] * np.diff(height, prepend=0)).sum())


def hypervolumes(comparison: Comparison, x: str | None = None) -> dict[str, float]:
    """Method -> share of the trade-off box that its rows dominate, 0 to 1.

    The box reaches from the worst to the best value of any row on both axes, x and NDCG@K; an axis on which all rows
    are equal gives 0.
    """
    x, y = _axes_of(comparison, x)
    rows = comparison["rows"]
    points = np.stack([_column(rows, x) * direction(rows, x), _column(rows, y)], axis=1)
    low, extent = points.min(axis=0), np.ptp(points, axis=0)
    scaled = (points - low) / np.where(extent > 0, extent, 1)
    methods = np.array([row["method"] for row in rows])
    return {str(method): hypervolume(scaled[methods == method], [0, 0]) for method in dict.fromkeys(methods.tolist())}


def direction(rows: Sequence[Row], metric: str) -> int:
    """+1 where more of the metric is better, -1 for shares of popularity; negative popularity is already a reward."""
    lower = metric.split("@")[0] in LOWER_IS_BETTER and bool((_column(rows, metric) >= 0).all())
    return -1 if lower else 1


def table(comparison: Comparison, rows_per_method: int = 5) -> Table:
    """All methods side by side, the best value of each column in bold.

    A method that was run over many weights is shown at ``rows_per_method`` of them at most: evenly spaced, the one with
    the best objective included. The caption says which methods were shortened.
    """
    rows = comparison["rows"]
    shown = [row for group in _by_method(rows).values() for row in _spread(group, rows_per_method)]
    metrics = list(dict.fromkeys(name for row in rows for name in row if name not in ("method", "weight")))
    view = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    view.title, view.caption = _title(comparison, comparison["reward"]), _caption(rows, shown)
    view.add_column("method", no_wrap=True)
    for name in metrics:
        heading = _heading(name, rows, comparison["k"])
        width = max(len(_cell(row.get(name))) for row in shown)
        width = max([width, *(len(line) for line in heading.split("\n") if len(line) <= 6)])
        view.add_column(heading, justify="right", overflow="fold", min_width=width)
    best = {name: _best(shown, name) for name in metrics}
    for row, following in zip(shown, [*shown[1:], shown[-1]], strict=True):
        cells = [_cell(row.get(name), bold=row.get(name) is not None and row[name] == best[name]) for name in metrics]
        curve_ends = row["method"] != following["method"] and not (_single(row) and _single(following))
        view.add_row(_label(row), *cells, end_section=curve_ends)
    return view


def sentences(comparison: Comparison) -> list[str]:
    """One line a re-ranker: how far the aligned policy lies above or below its curve."""
    goal, k = comparison["reward"], comparison["k"]
    lines = []
    for gap in comparison.get("gaps", []):
        name = NAMES.get(gap["method"], gap["method"])
        if gap["gap"] is None:
            lines.append(f"{name}: no weight of its grid reaches the {goal} of the aligned policy")
            continue
        lines.append(
            f"aligned against {name} at equal {goal}: {gap['gap']:+.4f} ± {gap['error']:.4f} NDCG@{k},"
            f" corrected p = {gap['p']:.2g}"
        )
    return lines


def plot(comparison: Comparison, path: Path, x: str | None = None) -> None:
    """Draw accuracy against what was rewarded, one curve or point a method, as a PNG of 1200 x 800 pixels.

    Args:
        comparison: as ``read`` gives it.
        path: where the picture goes.
        x: metric of the horizontal axis, by default the rewarded one. Where less is better the axis runs backwards, so
            that the best corner is always the upper right one.

    Raises:
        ValueError: if no row has that metric; the message lists those there are.
    """
    x, y = _axes_of(comparison, x)
    figure = Figure(figsize=(12, 8), dpi=100, layout=ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.15))
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    shares = hypervolumes(comparison, x)
    spare = iter(SPARE_STYLES * len(shares))
    for method, rows in _by_method(comparison["rows"]).items():
        style = STYLES.get(method.split("(")[0].strip().lower()) or next(spare)
        _draw(axes, rows, (x, y), style, _name(rows, shares[method]))
    _furnish(axes, comparison, (x, y))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _draw(axes: Axes, rows: Sequence[Row], names: tuple[str, str], style: tuple[str, str], label: str) -> None:
    """One method: a line through its weights in order, or a single larger marker."""
    xs, ys = _column(rows, names[0]), _column(rows, names[1])
    colour, marker = style
    curve, star = len(rows) > 1, marker == "*"
    axes.plot(
        xs,
        ys,
        color=colour,
        marker=marker,
        markersize=(7 if curve else 12) * (1.8 if star else 1),
        markeredgecolor="white",
        linewidth=2,
        linestyle="-" if curve else "none",
        label=label,
        zorder=5 if star else (3 if curve else 4),
    )


def _furnish(axes: Axes, comparison: Comparison, names: tuple[str, str]) -> None:
    """Title, axis labels that say where better is, legend, grid."""
    x, y = names
    lower = direction(comparison["rows"], x) < 0
    if lower:
        axes.invert_xaxis()
    axes.set_xlabel(f"{x}   ({'less' if lower else 'more'} is better →)", fontsize=14)
    axes.set_ylabel(f"{y.replace('ndcg', 'NDCG')}   (more is better →)", fontsize=14)
    axes.set_title(_title(comparison, x.split("@")[0]), fontsize=15, loc="left", pad=14)
    axes.tick_params(labelsize=12)
    axes.grid(color="#DDDDDD", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(0.06)
    axes.legend(fontsize=12, frameon=False, labelspacing=1.1, loc="upper left", bbox_to_anchor=(1.01, 1))


def _axes_of(comparison: Comparison, x: str | None) -> tuple[str, str]:
    k, rows = comparison["k"], comparison["rows"]
    chosen = x or f"{comparison['reward']}@{k}"
    for name in (chosen, f"ndcg@{k}"):
        if len(_having(rows, name)) < len(rows):
            full = [metric for metric in rows[0] if metric != "weight" and len(_having(rows, metric)) == len(rows)]
            raise ValueError(f"not every row of the comparison has {name!r}; there are {', '.join(full[1:])}")
    return chosen, f"ndcg@{k}"


def _column(rows: Sequence[Row], name: str) -> NDArray[np.float64]:
    return np.array([row[name] for row in rows], dtype=np.float64)


def _having(rows: Sequence[Row], name: str) -> list[Row]:
    return [row for row in rows if row.get(name) is not None]


def _by_method(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Method -> its rows by rising weight."""
    groups: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row.get("weight") or 0.0):
        groups.setdefault(row["method"], []).append(row)
    return {method: groups[method] for method in dict.fromkeys(row["method"] for row in rows)}


def _spread(rows: list[Row], count: int) -> list[Row]:
    """At most ``count`` of the rows: the ends, some in between, and the one with the best objective."""
    if len(rows) <= count:
        return rows
    scores = [-np.inf if row.get("objective") is None else row["objective"] for row in rows]
    kept = {*np.linspace(0, len(rows) - 1, count - 1).round().astype(int).tolist(), int(np.argmax(scores))}
    return [rows[i] for i in sorted(kept)]


def _single(row: Row) -> bool:
    return row.get("weight") is None


def _heading(name: str, rows: Sequence[Row], k: int) -> str:
    """The metric without @K, which the title says, and an arrow where less is better."""
    there = _having(rows, name)
    return name.removesuffix(f"@{k}").replace("@", "\n@") + (" ↓" if there and direction(there, name) < 0 else "")


def _best(rows: Sequence[Row], name: str) -> float | None:
    there = _having(rows, name)
    if not there:
        return None
    sign = direction(there, name)
    return float(sign * (sign * _column(there, name)).max())


def _cell(value: float | None, bold: bool = False) -> str:
    """Four digits, without the zero in front of the point."""
    if value is None:
        return "–"
    text = f"{value:.4f}" if abs(value) < 1 else f"{value:.3f}"
    text = text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text
    return f"[bold]{text}[/bold]" if bold else text


def _name(rows: Sequence[Row], share: float) -> str:
    method = str(rows[0]["method"])
    weights = [f"{row['weight']:g}" for row in rows if not _single(row)]
    lines = [NAMES.get(method.lower(), method)]
    if len(rows) > 1:
        span = f"weights {weights[0]} to {weights[-1]}" if weights else "points"
        lines.append(f"{len(rows)} {span}, hypervolume {share:.2f}")
    elif weights:
        lines.append(f"weight {weights[0]}")
    return "\n".join(lines)


def _label(row: Row) -> str:
    return str(row["method"]) if _single(row) else f"{row['method']} {row['weight']:g}"


def _title(comparison: Comparison, goal: str) -> str:
    facts = [str(comparison["dataset"])] if comparison.get("dataset") else []
    facts += [f"{comparison['cases']:,} users"] if comparison.get("cases") else []
    return f"Accuracy and {goal} of lists of {comparison['k']}" + "".join(f" · {fact}" for fact in facts)


def _caption(rows: Sequence[Row], shown: Sequence[Row]) -> str:
    every, some = _by_method(rows), _by_method(shown)
    short = [f"{m}: {len(some[m])} of {len(every[m])} weights" for m in every if len(some[m]) < len(every[m])]
    return "bold: best of the rows shown" + "".join(f" · {text}" for text in short)
