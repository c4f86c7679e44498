"""A comparison as a page of Markdown: all that is too long for a terminal."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from genrec.report.rows import (
    Comparison,
    best_of,
    by_method,
    heading_of,
    metrics_of,
    name_of,
    number,
    title_of,
)


def page(comparison: Comparison) -> str:
    """Every table of a comparison, to be read or pasted: best weights, gaps, areas, what else
    moved, policies, rows."""
    parts = [
        f"# {title_of(comparison, comparison['reward'])}",
        _facts(comparison),
        *_section("Every method at its weight with the best objective", _best(comparison)),
        *_section("Against each re-ranker at equal goal", _gaps(comparison)),
        *_section("Along the curve of the policy", _gaps_along(comparison)),
        *_section("Hypervolume", _areas(comparison)),
        *_section("What else moved", _moved(comparison)),
        *_section("Policies, position by position", _policies(comparison)),
        *_section("Seed by seed", _seeds(comparison)),
        *_section("All rows", _rows(comparison, comparison["rows"])),
    ]
    return "\n\n".join(parts) + "\n"


def _section(heading: str, content: str) -> list[str]:
    return [f"## {heading}", content] if content else []


def _facts(comparison: Comparison) -> str:
    named = (
        "dataset",
        "fingerprint",
        "split",
        "cases",
        "seed",
        "candidates",
        "resamples",
        "temperature",
    )
    facts = [f"{name} {comparison[name]}" for name in named if comparison.get(name) is not None]
    weights = [f"{weight:g} · {name}" for name, weight in comparison.get("weights", {}).items()]
    ranges = [
        f"{name} from {low:g} to {high:g}"
        for name, (low, high) in comparison.get("ranges", {}).items()
    ]
    versions = [f"{name} {version}" for name, version in comparison.get("versions", {}).items()]
    return "\n\n".join(
        line
        for line in (
            f"Reward: {' + '.join(weights)}. The objective has NDCG in the place of expected NDCG."
            if weights
            else "",
            f"The weights of the aligned policy: {', '.join(ranges)}; the reward above has the"
            " middle."
            if ranges
            else "",
            ", ".join(facts),
            ", ".join(versions),
        )
        if line
    )


def _best(comparison: Comparison) -> str:
    return _rows(comparison, [best_of(rows) for rows in by_method(comparison["rows"]).values()])


def _rows(comparison: Comparison, rows: Sequence[Mapping[str, Any]]) -> str:
    names = metrics_of(comparison["rows"])
    headings = [heading_of(name, comparison["rows"], comparison["k"]) for name in names]
    cells = [
        [row["method"], _weight(row), *(number(row.get(name)) for name in names)] for row in rows
    ]
    return _table(["method", "weight", *headings], cells)


def _seeds(comparison: Comparison) -> str:
    seeds = comparison.get("seeds")
    if not seeds:
        return ""
    names = [name for name in metrics_of(comparison["rows"]) if name in seeds[0]]
    cells = [
        [_weight(row), str(row["seed"]), *(number(row[name]) for name in names)] for row in seeds
    ]
    told = "The rows of the aligned policy are means over these; their errors count seeds as well as users."
    return f"{told}\n\n{_table(['weight', 'seed', *names], cells)}"


def _gaps(comparison: Comparison) -> str:
    gaps = comparison.get("gaps")
    if not gaps:
        return ""
    cells = [
        [
            name_of(gap["method"]),
            *_signed(gap["gap"], gap["error"]),
            _interval(gap, "low", "high"),
            _p(gap["p"]),
        ]
        for gap in gaps
    ]
    k = comparison["k"]
    told = (
        f"NDCG@{k} of the aligned policy{_at(comparison)} minus that of the re-ranker, mixed from"
        " two neighbouring"
        f" weights so that its {comparison['reward']} is the policy's; – where none reaches that"
        " far. ±"
        " is the standard error of the paired difference, the interval holds 95 % of resampled"
        " users, p is a paired"
        " t-test with Holm's correction."
    )
    return f"{told}\n\n{_table(['against', 'difference', '±', '95 %', 'p'], cells)}"


def _gaps_along(comparison: Comparison) -> str:
    along = comparison.get("gaps_along")
    if not along:
        return ""
    found = {(gap["weight"], gap["method"]): gap for gap in along}
    weights, methods = (
        list(dict.fromkeys(gap[name] for gap in along)) for name in ("weight", "method")
    )
    cells = [[f"{w:g}", *(_with_error(found[w, method]) for method in methods)] for w in weights]
    told = "The same difference ± its standard error, which counts seeds too where there are several; not corrected."
    return f"{told}\n\n{_table(['weight', *map(name_of, methods)], cells)}"


def _with_error(gap: Mapping[str, Any]) -> str:
    return "–" if gap["gap"] is None else " ± ".join(_signed(gap["gap"], gap["error"]))


def _at(comparison: Comparison) -> str:
    weight = comparison.get("policy_weight")
    return "" if weight is None else f" at weight {weight:g}"


def _areas(comparison: Comparison) -> str:
    areas = comparison.get("areas")
    if not areas:
        return ""
    cells = [
        [
            *(
                name_of(each["method"]),
                str(each["points"]),
                number(each["area"]),
                _interval(each, "low", "high"),
            ),
            *(
                _signed(each["behind"])[0],
                _interval(each, "behind_low", "behind_high"),
                _p(each["p"]),
            ),
        ]
        for each in areas["methods"]
    ]
    ends = [f"{name} {number(low)} to {number(high)}" for name, low, high in _sides(areas)]
    told = (
        f"Share of the box {' and '.join(ends)} that the points of a method dominate; the corners"
        " are the worst and the"
        " best of all rows here. A method of one point dominates a rectangle, a curve is favoured"
        " by its many points."
        " Intervals hold 95 % of resampled users; p is the bootstrap's, with Holm's correction."
    )
    return f"{told}\n\n{_table(['method', 'points', 'area', '95 %', 'policy minus it', '95 %', 'p'], cells)}"


def _sides(areas: Mapping[str, Any]) -> Iterable[tuple[str, float, float]]:
    return zip(areas["axes"], areas["worst"], areas["best"], strict=True)


def _moved(comparison: Comparison) -> str:
    moved = comparison.get("moved")
    if not moved:
        return ""
    names = list(dict.fromkeys(name for row in moved for name in row["changes"]))
    cells = [
        [
            row["method"],
            _weight(row),
            row["with"],
            *(_change(row["changes"].get(name)) for name in names),
        ]
        for row in moved
    ]
    headings = [name.removesuffix(f"@{comparison['k']}") for name in names]
    told = (
        "Every metric that was not rewarded, minus that of the lists it was made from; re-rankers"
        " at the weight that"
        " comes nearest to the goal of the policy. ± is the standard error of the paired"
        " difference; \\* marks p < .05"
        " of a paired t-test with Holm's correction over the table. distinct is the share of"
        " different lists."
    )
    return f"{told}\n\n{_table(['method', 'weight', 'against', *headings], cells)}"


def _change(change: Mapping[str, Any] | None) -> str:
    if change is None:
        return "–"
    if "error" not in change:
        return _signed(change["difference"])[0]
    difference, error = _signed(change["difference"], change["error"])
    return f"{difference} ± {error}" + ("\\*" if change["p"] < 0.05 else "")


def _policies(comparison: Comparison) -> str:
    policies = comparison.get("policies")
    if not policies:
        return ""
    cells = [
        [each["method"], what, *(f"{value:.2f}" for value in each[key])]
        for each in policies
        for what, key in (("KL from the student", "kl"), ("entropy", "entropy"))
    ]
    positions = [str(i + 1) for i in range(comparison["k"])]
    return f"In nats, along the policy's own lists.\n\n{_table(['policy', '', *positions], cells)}"


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _weight(row: Mapping[str, Any]) -> str:
    return "" if row.get("weight") is None else f"{row['weight']:g}"


def _signed(value: float | None, error: float | None = None) -> tuple[str, str]:
    """A difference with its sign, and its standard error: four digits, six where four would make
    the error nothing."""
    if value is None:
        return "–", "–"
    if error is not None and 0 < error < 5e-5:
        return f"{value:+.6f}".replace("0.", ".", 1), f"{error:.6f}".replace("0.", ".", 1)
    return ("+" if value >= 0 else "") + number(value), number(error)


def _interval(row: Mapping[str, Any], low: str, high: str) -> str:
    return "–" if row[low] is None else f"{number(row[low])} to {number(row[high])}"


def _p(value: float | None) -> str:
    return "–" if value is None else f"{value:.2g}"
