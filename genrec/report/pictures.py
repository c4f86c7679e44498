"""A comparison as a picture: accuracy against the rewarded metric."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from genrec.config.text import printable
from genrec.config.writing import replacing
from genrec.report.rows import Rows, axes_of, by_method, column, lower_is_better
from genrec.report.wording import family_of, name_of, title_of
from genrec.results import Comparison, ComparisonRow


@dataclass(frozen=True)
class Style:
    """How a method is drawn.

    Attributes:
        colour: of lines and markers.
        marker: of points, so that a reader who does not see the colour can tell methods too.
        line: of a curve.
    """

    colour: str
    marker: str
    line: str = "-"


# Okabe and Ito's colours, which colour-blind readers can distinguish. Their yellow has a contrast
# of 1.3 on white; DPP has Tol's wine red instead. The rest are as far from these as possible.
STYLES = {
    "mmr": Style("#0072B2", "o"),
    "sog": Style("#009E73", "s"),
    "dpp": Style("#882255", "h"),
    "msd": Style("#9832FF", "d"),
    "ssd": Style("#330099", "H"),
    "steck": Style("#513D14", "p"),
    "xquad": Style("#32003D", ">"),
    "greedy": Style("#E69F00", "^"),
    "aligned": Style("#D55E00", "*"),
    "teacher": Style("#000000", "D"),
    "student": Style("#CC79A7", "P"),
    "markov": Style("#7F7F7F", "X"),
    "popularity": Style("#7F7F7F", "v"),
}
SPARE_STYLES = (Style("#56B4E9", "p"), Style("#7F7F7F", "<"), Style("#56B4E9", ">"))
MOST_CURVES = 12  # that readers can distinguish; their legend fits beside the plot
LINES = {"": "-", "calibrated": "--", "raw": ":", "sorted": "-."}
BAND = 1.96  # standard errors; the middle 95 % of a normal distribution


class Curve(Protocol):
    """A calibration curve: predicted and observed probability for K = 1, 2, ..."""

    @property
    def precision(self) -> NDArray[Any]:
        """(L,) hits among the first K items / K."""
        ...

    @property
    def probability(self) -> NDArray[Any]:
        """(L,) mean predicted probability of the first K items."""
        ...


def plot(comparison: Comparison, path: Path, x: str | None = None) -> None:
    """Draw accuracy against the rewarded metric as a PNG of 1200 x 800 pixels.

    A method is one curve or one point. Of many curves only one per re-ranker is drawn: the variant
    of its relevance with the largest area. Bands and bars are 95 % intervals of NDCG over
    the users, of each point by itself: curves whose bands overlap may still differ in a paired
    test.

    Args:
        comparison: with at least one row.
        path: of the picture.
        x: metric of the horizontal axis, by default the rewarded one. Where less is better the axis
            is reversed, so that the best corner is always the upper right one.

    Raises:
        GenrecError: if not every row has that metric; the message lists those that there are.
    """
    x, y = axes_of(comparison, x)
    figure, axes = _new_figure()
    styles = _styles(comparison.rows)
    for method, rows in _shown(comparison.rows, _areas(comparison)).items():
        _draw(axes, rows, names=(x, y), style=styles[method], label=_label(rows))
    reverse = lower_is_better(comparison.rows, x)
    if reverse:
        axes.invert_xaxis()
    better = "less" if reverse else "more"
    axes.set_xlabel(f"{_plain(x)}   ({better} is better →)", fontsize=14)
    axes.set_ylabel(f"{y.replace('ndcg', 'NDCG')}   (more is better →)", fontsize=14)
    title = _plain(title_of(comparison, x.split("@")[0]))
    axes.set_title(title, fontsize=15, loc="left", pad=14)
    axes.set_axisbelow(True)
    axes.margins(0.06)
    _finish(axes, legend_size=10)
    _save(figure, path)


def plot_calibration(curves: Mapping[str, Curve], path: Path) -> None:
    """Draw observed precision@K against predicted probability of the first K items.

    One point per K = 1, 2, ...; both axes are logarithmic.

    Args:
        curves: name -> curve, as ``genrec.metrics.calibration_curve`` measures it.
        path: of the PNG.
    """
    figure, axes = _new_figure()
    styles = cycle((*STYLES.values(), *SPARE_STYLES))
    for (name, curve), style in zip(curves.items(), styles, strict=False):
        axes.loglog(
            curve.probability,
            curve.precision,
            color=style.colour,
            marker=style.marker,
            markersize=4,
            label=_plain(name),
        )
    ends = [min(*axes.get_xlim(), *axes.get_ylim()), 1.0]
    axes.plot(ends, ends, color="#7F7F7F", linestyle="--", label="perfect calibration")
    axes.set_xlabel("predicted: mean probability of the first K items", fontsize=14)
    axes.set_ylabel("observed: precision@K", fontsize=14)
    axes.set_title(
        "Calibration of the first K items, K = 1 at the right", fontsize=15, loc="left", pad=14
    )
    _finish(axes, legend_size=12)
    _save(figure, path)


def _new_figure() -> tuple[Figure, Axes]:
    layout = ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.15)
    figure = Figure(figsize=(12, 8), dpi=100, layout=layout)
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def _finish(axes: Axes, legend_size: int) -> None:
    """Ticks, grid, frame, and a legend beside the plot."""
    axes.tick_params(labelsize=12)
    axes.grid(color="#DDDDDD", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(
        fontsize=legend_size,
        frameon=False,
        labelspacing=0.9,
        loc="upper left",
        bbox_to_anchor=(1.01, 1),
    )


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        figure.savefig(temporary)


def _plain(text: str) -> str:
    """A text without control characters, in which dollars are no formulas of matplotlib."""
    return printable(text, kept="").replace("$", r"\$")


def _styles(rows: Rows) -> dict[str, Style]:
    """Style of each method: variants of a re-ranker differ in the line only."""
    families, spare = dict(STYLES), cycle(SPARE_STYLES)
    styles = {}
    for method in by_method(rows):
        family, variant = family_of(method)
        if family not in families:
            families[family] = next(spare)
        style = families[family]
        styles[method] = Style(style.colour, style.marker, LINES[variant])
    return styles


def _shown(rows: Rows, areas: Mapping[str, float]) -> dict[str, list[ComparisonRow]]:
    """Method -> its rows; of too many curves, each re-ranker's variant of the largest area."""
    every = by_method(rows)
    curves = [method for method in every if len(every[method]) > 1]
    if len(curves) <= MOST_CURVES:
        return every
    best: dict[str, str] = {}
    for method in sorted(curves, key=lambda name: areas.get(name, -math.inf)):
        best[family_of(method)[0]] = method
    kept = set(best.values()) | (every.keys() - set(curves))
    return {method: group for method, group in every.items() if method in kept}


def _areas(comparison: Comparison) -> dict[str, float]:
    """Method -> area under its hull minus that of the policy, where they have a common range."""
    tested = comparison.hull_areas.methods
    return {each.method: -each.difference for each in tested if each.difference is not None}


def _draw(axes: Axes, rows: Rows, *, names: tuple[str, str], style: Style, label: str) -> None:
    """Draw a curve with a band through the weights in order, or one larger marker with a bar."""
    xs, ys = column(rows, names[0]), column(rows, names[1])
    band = BAND * np.array([row.errors.get(names[1], 0.0) for row in rows])
    curve, star = len(rows) > 1, style.marker == "*"
    if curve:
        axes.fill_between(
            xs, ys - band, ys + band, color=style.colour, alpha=0.1, linewidth=0, zorder=1
        )
    else:
        axes.errorbar(xs, ys, yerr=band, color=style.colour, linewidth=1.2, zorder=2)
    axes.plot(
        xs,
        ys,
        color=style.colour,
        marker=style.marker,
        markersize=(6 if curve else 12) * (1.8 if star else 1),
        markeredgecolor="white",
        linewidth=2,
        linestyle=style.line if curve else "none",
        label=label,
        zorder=5 if star else (3 if curve else 4),
    )


def _label(rows: Rows) -> str:
    """Legend of a method: its name and weights."""
    weights = [f"{row.weight:g}" for row in rows if row.weight is not None]
    lines = [_plain(name_of(rows[0].method))]
    if len(rows) > 1:
        points = f"weights, {weights[0]} to {weights[-1]}" if weights else "points"
        lines.append(f"{len(rows)} {points}")
    elif weights:
        lines.append(f"weight {weights[0]}")
    return "\n".join(lines)
