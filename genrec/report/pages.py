"""A comparison as a page of Markdown, with every table that is too long for a terminal."""

from collections.abc import Iterable, Sequence

from genrec.config.text import printable
from genrec.report.exposure import exposure_rows, positions
from genrec.report.rows import Rows, best_of, by_method, metrics_of
from genrec.report.wording import (
    SIGNIFICANT,
    heading_of,
    interval,
    name_of,
    number,
    signed,
    title_of,
)
from genrec.results import Change, Comparison, GapAtWeight


def page(comparison: Comparison) -> str:
    """Every table of a comparison as Markdown.

    Sections: each method at its best weight, differences at equal goal, areas under the
    hull, side effects, exposure, policies, seeds, all rows. A section without content is left out.
    """
    best = [best_of(rows) for rows in by_method(comparison.rows).values()]
    parts = [
        f"# {title_of(comparison, comparison.reward)}",
        _facts(comparison),
        *_section("Every method at its weight with the best objective", _rows(comparison, best)),
        *_section("Difference from each re-ranker at an equal goal", _gaps(comparison)),
        *_section("Difference along the curve of the policy", _gaps_along(comparison)),
        *_section("Area under the mixing hull", _hull_areas(comparison)),
        *_section("Side effects", _side_effects(comparison)),
        *_section("Exposure by position", _exposure(comparison)),
        *_section("Policies by position", _policies(comparison)),
        *_section("Single seeds", _seeds(comparison)),
        *_section("All rows", _rows(comparison, comparison.rows)),
    ]
    return printable("\n\n".join(parts)) + "\n"


def _section(heading: str, content: str) -> list[str]:
    return [f"## {heading}", content] if content else []


def _facts(comparison: Comparison) -> str:
    weights = [f"{weight:g} · {name}" for name, weight in comparison.weights.items()]
    ranges = [f"{name} {low:g} to {high:g}" for name, (low, high) in comparison.ranges.items()]
    facts = {
        "dataset": comparison.dataset,
        "fingerprint": comparison.fingerprint,
        "split": comparison.split,
        "test users": comparison.cases,
        "seed": comparison.seed,
        "candidates": comparison.candidates,
        "bootstrap samples": comparison.resamples,
        "temperature": comparison.temperature,
    }
    paragraphs = [
        f"Reward: {' + '.join(weights)}. The objective has NDCG in place of expected NDCG.",
        f"Ranges of the weights of the aligned policy: {', '.join(ranges)}. The reward above has"
        " the middle weights."
        if ranges
        else "",
        ", ".join(f"{name} {value}" for name, value in facts.items()),
        ", ".join(f"{name} {version}" for name, version in comparison.versions.items()),
    ]
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def _rows(comparison: Comparison, rows: Rows) -> str:
    names = metrics_of(comparison.rows)
    headings = [heading_of(name, comparison.rows, comparison.k) for name in names]
    cells = []
    for row in rows:
        values = [number(row.metrics.get(name)) for name in names]
        cells.append([row.method, _weight(row.weight), *values])
    return _table(["method", "weight", *headings], cells)


def _seeds(comparison: Comparison) -> str:
    if not comparison.seeds:
        return ""
    first = comparison.seeds[0].metrics
    names = [name for name in metrics_of(comparison.rows) if name in first]
    cells = []
    for row in comparison.seeds:
        values = [number(row.metrics[name]) for name in names]
        cells.append([_weight(row.weight), str(row.seed), *values])
    text = (
        "The rows of the aligned policy are means over these runs. Their standard errors include"
        " the variance between seeds as well as between users."
    )
    return f"{text}\n\n{_table(['weight', 'seed', *names], cells)}"


def _gaps(comparison: Comparison) -> str:
    if not comparison.gaps:
        return ""
    cells = []
    for gap in comparison.gaps:
        difference, error = signed(gap.difference, gap.error)
        between = interval(gap.low, gap.high)
        cells.append([name_of(gap.method), difference, error, between, _p(gap.p)])
    weight = comparison.policy_weight
    at = "" if weight is None else f" at weight {weight:g}"
    text = (
        f"NDCG@{comparison.k} of the aligned policy{at} minus NDCG@{comparison.k} of the re-ranker."
        " The re-ranker is mixed from two neighbouring weights so that its mean"
        f" {comparison.reward} equals that of the policy; – means that no two weights enclose it."
        " ± is the standard error of the paired difference, the interval covers 95 % of resampled"
        " users, and p is that of a paired t-test with Holm's correction."
    )
    headings = ["re-ranker", "difference", "±", "95 % interval", "p"]
    return f"{text}\n\n{_table(headings, cells)}"


def _gaps_along(comparison: Comparison) -> str:
    gaps = comparison.gaps_along
    if not gaps:
        return ""
    by_place = {(gap.weight, gap.method): gap for gap in gaps}
    weights = dict.fromkeys(gap.weight for gap in gaps)
    methods = dict.fromkeys(gap.method for gap in gaps)
    cells = []
    for weight in weights:
        values = [_gap_at_weight(by_place[weight, method]) for method in methods]
        cells.append([_weight(weight), *values])
    text = (
        "The same difference at every weight of the policy ± its standard error, which includes the"
        " variance between seeds where there are several. These differences are not tested."
    )
    return f"{text}\n\n{_table(['weight', *map(name_of, methods)], cells)}"


def _gap_at_weight(gap: GapAtWeight) -> str:
    return "–" if gap.difference is None else " ± ".join(signed(gap.difference, gap.error))


def _hull_areas(comparison: Comparison) -> str:
    found = comparison.hull_areas
    if not found.methods:
        return ""
    cells = [
        [
            name_of(each.method),
            str(each.points),
            interval(*(each.common_range or (None, None))),
            number(each.policy_area),
            number(each.area),
            signed(each.difference)[0],
            interval(each.low, each.high),
            _p(each.p),
        ]
        for each in found.methods
    ]
    goal, accuracy = found.axes
    text = (
        f"Area under the upper concave hull of the {found.points} points of the policy and of the"
        f" points of a re-ranker: mixing users between two weights reaches every point of it. Both"
        f" are measured over the range of {goal} that both reach, and divided by its length, which"
        f" makes them mean {accuracy} at an equal goal; – means that they reach no goal in common."
        " Intervals cover 95 % of resampled users and, where a point is a mean over seeds,"
        " resampled seeds; p is that of a bootstrap test with Holm's correction."
    )
    headings = ["re-ranker", "points", "common range", "policy", "re-ranker"]
    headings += ["policy minus re-ranker", "95 % interval", "p"]
    return f"{text}\n\n{_table(headings, cells)}"


def _side_effects(comparison: Comparison) -> str:
    found = comparison.side_effects
    if not found:
        return ""
    names = list(dict.fromkeys(name for each in found for name in each.changes))
    cells = []
    for each in found:
        changes = [_change(each.changes.get(name)) for name in names]
        cells.append([each.method, _weight(each.weight), each.reference, *changes])
    headings = [name.removesuffix(f"@{comparison.k}") for name in names]
    text = (
        "Every metric that was not rewarded, minus the same metric of the reference. The reference"
        " of a policy is its student, that of a re-ranker the teacher. Re-rankers have the weight"
        " whose goal is nearest to that of the policy. ± is the standard error of the paired"
        " difference; \\* marks p < .05 in a paired t-test with Holm's correction over the table."
        " distinct is the number of different lists divided by the number of lists."
    )
    return f"{text}\n\n{_table(['method', 'weight', 'reference', *headings], cells)}"


def _change(change: Change | None) -> str:
    if change is None:
        return "–"
    difference, error = signed(change.difference, change.error)
    if change.p is None:
        return difference
    return f"{difference} ± {error}" + ("\\*" if change.p < SIGNIFICANT else "")


def _exposure(comparison: Comparison) -> str:
    cells = []
    for row in exposure_rows(comparison):
        for group in row.exposure:
            values = [number(value) for value in (group.top_share, group.gini, group.entropy)]
            different = f"{group.distinct:g}"
            cells.append([row.method, _weight(row.weight), positions(group), *values, different])
    if not cells:
        return ""
    text = (
        "How the slots at the first, middle and last third of the positions are distributed over"
        " the items: share of the ten most frequent items, Gini coefficient over the catalogue,"
        " entropy in nats, number of different items. A policy whose lists end with the same items"
        " for everybody has a high share at its last positions. Re-rankers have the weight whose"
        " goal is nearest to that of the policy, and of their variants the one with the best"
        " objective is shown; comparison.json has every row."
    )
    headings = ["method", "weight", "positions", "ten items", "Gini", "entropy", "different"]
    return f"{text}\n\n{_table(headings, cells)}"


def _policies(comparison: Comparison) -> str:
    if not comparison.policies:
        return ""
    cells = []
    for each in comparison.policies:
        for quantity, values in (("KL from student", each.kl), ("entropy", each.entropy)):
            cells.append([each.method, quantity, *(f"{value:.2f}" for value in values)])
    positions = [str(i + 1) for i in range(comparison.k)]
    text = (
        "KL divergence of a policy from the student, and entropy of the policy, in nats at each"
        " position of its own lists."
    )
    return f"{text}\n\n{_table(['policy', 'quantity', *positions], cells)}"


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [map(_cell, headings), ["---"] * len(headings), *(map(_cell, row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    """A text that stays in its cell."""
    return " ".join(text.split()).replace("|", "\\|")


def _weight(weight: float | None) -> str:
    return "" if weight is None else f"{weight:g}"


def _p(value: float | None) -> str:
    return "–" if value is None else f"{value:.2g}"
