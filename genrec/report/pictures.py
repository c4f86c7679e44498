"""A comparison as a picture: accuracy against what was rewarded."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, Protocol

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from genrec.metrics.pareto import direction
from genrec.report.rows import (
    Comparison,
    Row,
    axes_of,
    by_method,
    column,
    family_of,
    hypervolumes,
    is_single,
    name_of,
    title_of,
)

# Okabe and Ito's colours, which stay apart for colour-blind readers; the marker says the same
# again.
STYLES = {
    "mmr": ("#0072B2", "o"),
    "sog": ("#009E73", "s"),
    "dpp": ("#F0E442", "h"),
    "greedy": ("#E69F00", "^"),
    "aligned": ("#D55E00", "*"),
    "teacher": ("#000000", "D"),
    "student": ("#CC79A7", "P"),
    "markov": ("#7F7F7F", "X"),
    "popularity": ("#7F7F7F", "v"),
}
SPARE_STYLES = (("#56B4E9", "p"), ("#7F7F7F", "<"), ("#56B4E9", ">"))
LINES = {"": "-", "calibrated": "--", "raw": ":", "sorted": "-."}
BAND = 1.96  # standard errors: the middle 95 % of a normal distribution


class Curve(Protocol):
    """What a reliability curve has: promised and kept, for K = 1, 2, ..."""

    @property
    def precision(self) -> NDArray[Any]:
        """(L,) hits among the first K items / K."""
        ...

    @property
    def probability(self) -> NDArray[Any]:
        """(L,) mean predicted probability of the first K items."""
        ...


def plot(comparison: Comparison, path: Path, x: str | None = None) -> None:
    """Draw accuracy against what was rewarded, one curve or point a method, as a PNG of 1200 x 800
    pixels.

    The bands and bars are 95 % intervals of NDCG, user by user: of each point by itself, so that
    curves whose bands overlap may still differ in pairs.

    Args:
        comparison: as ``read`` gives it.
        path: where the picture goes.
        x: metric of the horizontal axis, by default the rewarded one. Where less is better the axis
            runs backwards, so that the best corner is always the upper right one.

    Raises:
        GenrecError: if no row has that metric; the message lists those there are.
    """
    x, y = axes_of(comparison, x)
    figure = Figure(
        figsize=(12, 8), dpi=100, layout=ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.15)
    )
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    shares, spare = _shares(comparison, x), cycle(SPARE_STYLES)
    styles: dict[str, tuple[str, str]] = dict(STYLES)
    for method, rows in by_method(_with_errors(comparison, y)).items():
        family, variant = family_of(method.split("(")[0].strip().lower())
        if family not in styles:
            styles[family] = next(spare)
        _draw(
            axes, rows, (x, y), (*styles[family], LINES[variant]), _name(rows, shares.get(method))
        )
    _furnish(axes, comparison, (x, y))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def plot_reliability(curves: Mapping[str, Curve], path: Path) -> None:
    """Draw precision@K against the promised probability of the first K items, K = 1, 2, ..., both
    axes logarithmic.

    Args:
        curves: name -> its ``precision`` and ``probability``, as ``genrec.metrics.calibration``
            measures them.
        path: where the PNG goes.
    """
    figure = Figure(
        figsize=(12, 8), dpi=100, layout=ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.15)
    )
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for (name, curve), (colour, marker) in zip(
        curves.items(), cycle((*STYLES.values(), *SPARE_STYLES)), strict=False
    ):
        axes.loglog(
            curve.probability,
            curve.precision,
            color=colour,
            marker=marker,
            markersize=4,
            label=name,
        )
    ends = [min(*axes.get_xlim(), *axes.get_ylim()), 1.0]
    axes.plot(ends, ends, color="#7F7F7F", linestyle="--", label="kept as promised")
    axes.set_xlabel("promised: mean probability of the first K items", fontsize=14)
    axes.set_ylabel("kept: precision@K", fontsize=14)
    axes.set_title("Promised and kept, K = 1 at the right", fontsize=15, loc="left", pad=14)
    axes.tick_params(labelsize=12)
    axes.grid(color="#DDDDDD", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=12, frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _shares(comparison: Comparison, x: str) -> dict[str, float]:
    """Method -> hypervolume: as the comparison tested it, where it did so for this metric."""
    tested = comparison.get("areas")
    if tested and tested["axes"][0] == x:
        return {each["method"]: each["area"] for each in tested["methods"]}
    return hypervolumes(comparison, x)


def _with_errors(comparison: Comparison, y: str) -> list[Row]:
    """The rows with half of the 95 % interval of y, 0 where it is not known."""
    rows = comparison["rows"]
    errors = comparison.get("errors") or [{}] * len(rows)
    return [
        {**row, "band": BAND * error.get(y, 0.0)} for row, error in zip(rows, errors, strict=True)
    ]


def _draw(
    axes: Axes, rows: Sequence[Row], names: tuple[str, str], style: tuple[str, str, str], label: str
) -> None:
    """One method: a line through its weights in order and a band around it, or a single larger
    marker with a bar."""
    xs, ys, band = column(rows, names[0]), column(rows, names[1]), column(rows, "band")
    colour, marker, line = style
    curve, star = len(rows) > 1, marker == "*"
    if curve:
        axes.fill_between(xs, ys - band, ys + band, color=colour, alpha=0.1, linewidth=0, zorder=1)
    else:
        axes.errorbar(xs, ys, yerr=band, color=colour, linewidth=1.2, zorder=2)
    axes.plot(
        xs,
        ys,
        color=colour,
        marker=marker,
        markersize=(6 if curve else 12) * (1.8 if star else 1),
        markeredgecolor="white",
        linewidth=2,
        linestyle=line if curve else "none",
        label=label,
        zorder=5 if star else (3 if curve else 4),
    )


def _furnish(axes: Axes, comparison: Comparison, names: tuple[str, str]) -> None:
    """Title, axis labels that say where better is, legend, grid."""
    x, y = names
    lower = direction(x, column(comparison["rows"], x)) < 0
    if lower:
        axes.invert_xaxis()
    axes.set_xlabel(f"{x}   ({'less' if lower else 'more'} is better →)", fontsize=14)
    axes.set_ylabel(f"{y.replace('ndcg', 'NDCG')}   (more is better →)", fontsize=14)
    axes.set_title(title_of(comparison, x.split("@")[0]), fontsize=15, loc="left", pad=14)
    axes.tick_params(labelsize=12)
    axes.grid(color="#DDDDDD", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(0.06)
    axes.legend(
        fontsize=10, frameon=False, labelspacing=0.9, loc="upper left", bbox_to_anchor=(1.01, 1)
    )


def _name(rows: Sequence[Row], share: float | None) -> str:
    weights = [f"{row['weight']:g}" for row in rows if not is_single(row)]
    lines = [name_of(str(rows[0]["method"]))]
    if len(rows) > 1:
        span = f"weights {weights[0]} to {weights[-1]}" if weights else "points"
        lines.append(
            f"{len(rows)} {span}" + ("" if share is None else f", hypervolume {share:.2f}")
        )
    elif weights:
        lines.append(f"weight {weights[0]}")
    return "\n".join(lines)
