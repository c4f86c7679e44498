"""Names, numbers and short phrases that tables, pictures and pages share."""

from genrec.report.rows import Rows, lower_is_better
from genrec.results import Comparison, ComparisonRow

FAMILIES = {
    "mmr": "MMR",
    "msd": "MSD",
    "sog": "SOG",
    "dpp": "DPP",
    "ssd": "SSD",
    "steck": "Steck's calibration",
    "xquad": "xQuAD",
    "aligned": "aligned policy",
}
VARIANTS = {"raw": "raw scores", "calibrated": "calibrated", "sorted": "sorted"}
SIGNIFICANT = 0.05


def family_of(method: str) -> tuple[str, str]:
    """Method and its variant: the relevance that it takes, or that its lists are sorted.

    The variant is "" for relevance from scaled scores.

    >>> family_of("mmr-raw"), family_of("popularity-sort")
    (('mmr', 'raw'), ('popularity-sort', ''))
    """
    family, _, variant = method.rpartition("-")
    return (family, variant) if variant in VARIANTS else (method, "")


def name_of(method: str) -> str:
    """Name of a method in sentences and legends.

    >>> name_of("mmr-raw"), name_of("greedy")
    ('MMR (raw scores)', 'greedy')
    """
    family, variant = family_of(method)
    name = FAMILIES.get(family, family)
    return f"{name} ({VARIANTS[variant]})" if variant else name


def label_of(row: ComparisonRow) -> str:
    """Method and weight of a row."""
    return row.method if row.weight is None else f"{row.method} {row.weight:g}"


def heading_of(name: str, rows: Rows, k: int) -> str:
    """Heading of a metric: without @K, which the title has, and with an arrow if less is better."""
    return name.removesuffix(f"@{k}") + (" ↓" if lower_is_better(rows, name) else "")


def title_of(comparison: Comparison, goal: str) -> str:
    """Goal, dataset and number of users in one line."""
    return (
        f"Accuracy and {goal} of lists of {comparison.k} · {comparison.dataset} ·"
        f" {comparison.cases:,} users"
    )


def number(value: float | None) -> str:
    """Four digits, without a zero before the point.

    >>> number(0.12345), number(-0.5), number(2.5), number(None)
    ('.1235', '-.5000', '2.500', '–')
    """
    if value is None:
        return "–"
    return _without_zero(f"{value:.4f}" if abs(value) < 1 else f"{value:.3f}")


def signed(value: float | None, error: float | None = None) -> tuple[str, str]:
    """A difference with its sign, and its standard error.

    Both have four digits, or six where four would round the error to zero.

    >>> signed(0.5, 0.01), signed(-0.00012, 0.000021), signed(None)
    (('+.5000', '.0100'), ('-.000120', '.000021'), ('–', '–'))
    """
    if value is None:
        return "–", "–"
    if error is not None and 0 < error < 5e-5:
        return _without_zero(f"{value:+.6f}"), _without_zero(f"{error:.6f}")
    return ("+" if value >= 0 else "") + number(value), number(error)


def interval(low: float | None, high: float | None) -> str:
    """Both ends of an interval.

    >>> interval(0.1, 0.25), interval(None, None)
    ('.1000 to .2500', '–')
    """
    return "–" if low is None or high is None else f"{number(low)} to {number(high)}"


def p_value(p: float) -> str:
    """A p-value with two digits, with three below .01.

    >>> p_value(0.5), p_value(0.0042), p_value(3e-5)
    ('p = .50', 'p = .004', 'p < .001')
    """
    if p < 0.001:
        return "p < .001"
    return "p = " + _without_zero(f"{p:.3f}" if p < 0.01 else f"{p:.2f}")


def verdict(p: float) -> str:
    """Outcome of a test at the 5 % level.

    >>> verdict(0.5), verdict(0.0042)
    ('not significantly different (p = .50)', 'significantly different (p = .004)')
    """
    outcome = "significantly different" if p < SIGNIFICANT else "not significantly different"
    return f"{outcome} ({p_value(p)})"


def _without_zero(text: str) -> str:
    return text.replace("0.", ".", 1) if text.lstrip("+-").startswith("0.") else text
