"""Ranges of weights, for a policy that is conditioned on the weights of its rewards."""

from collections.abc import Iterable, Mapping
from itertools import product

import numpy as np
from numpy.typing import NDArray

from genrec.config.errors import GenrecError

Ranges = Mapping[str, tuple[float, float]]
"""Name of a reward -> low and high end of its weight."""

LARGEST_WEIGHT = 1_000_000
AT_AN_END = 0.1  # share of the drawn weights that are exactly the low end; as many are the high end


def split_spec(spec: str) -> tuple[str, str]:
    """The target of a spec and the text of its weight, "" where none is given.

    >>> split_spec("diversity=0:2"), split_spec("./a=b.py:fresh")
    (('diversity', '0:2'), ('./a=b.py:fresh', ''))
    """
    # A path may contain "=" itself: what follows the last one is a weight unless it names a file.
    target, equals, text = spec.rpartition("=")
    if not equals or text.endswith(".py") or ".py:" in text:
        return spec, ""
    return target, text


def read_weight(text: str, target: str) -> tuple[float, float]:
    """Both ends of a weight: ``0.5`` is (0.5, 0.5), ``0:2`` is (0.0, 2.0).

    Args:
        text: a number, or LOW:HIGH.
        target: the reward, for the message.

    Raises:
        GenrecError: if it is neither, or LOW is not below HIGH.
    """
    low, colon, high = text.partition(":")
    try:
        ends = (float(low), float(high if colon else low))
    except ValueError:
        ends = (np.nan, np.nan)
    if not np.isfinite(ends).all():
        raise GenrecError(
            f"weight {text!r} of reward {target!r} is not a number; write for instance"
            f" {target}=0.5, or a range {target}=0:2"
        )
    if np.abs(ends).max() > LARGEST_WEIGHT:
        raise GenrecError(
            f"weight {text!r} of reward {target!r} is beyond ±{LARGEST_WEIGHT:,}: nothing else"
            " would count; scale the reward"
        )
    if colon and ends[0] >= ends[1]:
        raise GenrecError(
            f"weight {text!r} of reward {target!r} is a range that does not rise; write LOW:HIGH"
        )
    return ends


def read_weights(texts: Iterable[str]) -> dict[str, float]:
    """Name -> weight, from texts such as ``diversity=0.7``.

    Raises:
        GenrecError: if a text is not a name and a number.

    >>> read_weights(["diversity=0.7"])
    {'diversity': 0.7}
    """
    weights = {}
    for text in texts:
        name, equals, number = text.partition("=")
        if not equals:
            raise GenrecError(f"weight {text!r}: write NAME=WEIGHT, for instance diversity=0.5")
        if ":" in number:
            raise GenrecError(f"weight {text!r}: give one number, for instance {name}=0.5")
        weights[name.strip()], _ = read_weight(number, name.strip())
    return weights


def weight_at(low: float, high: float, share: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """The weight at a share of the way through a range: low + share² · (high − low).

    Lists change most at small weights, where the first gains of a goal cost little accuracy, and
    hardly at large ones. Equal steps of the share are therefore smaller steps where the weight is
    small.

    Args:
        low: low end of the range.
        high: high end of the range.
        share: (...) share of the way from low to high, 0 to 1.

    >>> weight_at(0, 2, np.array([0, 0.25, 0.5, 1])).tolist()
    [0.0, 0.125, 0.5, 2.0]
    """
    return np.asarray(low + np.square(share) * (high - low), dtype=np.float64)


def share_of(low: float, high: float, weight: float) -> float:
    """The share of the way through a range at which a weight lies: the inverse of ``weight_at``.

    >>> share_of(0, 2, 0.5)
    0.5
    """
    return float(np.sqrt((weight - low) / (high - low)))


def middle_weight(low: float, high: float) -> float:
    """The weight halfway through a range; the weight itself where both ends are equal.

    >>> middle_weight(0, 2), middle_weight(0.3, 0.3)
    (0.5, 0.3)
    """
    return float(weight_at(low, high, 0.5))


def require_ranges(ranges: Ranges) -> None:
    """Raise GenrecError for a range whose ends are not finite or do not rise."""
    for name, (low, high) in ranges.items():
        if not (np.isfinite([low, high]).all() and low < high):
            raise GenrecError(
                f"the weights of {name} range from {low:g} to {high:g}: give two finite numbers,"
                " the smaller one first"
            )


def draw_weights(ranges: Ranges, count: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Random weights for a policy that is conditioned on them.

    The share of the way through a range (``weight_at``) is uniform, except that one weight in ten
    is the low end and one in ten the high end: users ask for the ends more often than for weights
    near them, and a uniform draw would never be exactly an end.

    Args:
        ranges: C ranges, which are drawn independently.
        count: number of draws.
        generator: source of randomness.

    Returns:
        (count, C) weights, one column per range in their order.
    """
    uniform = generator.random((count, len(ranges)))
    shares = np.clip((uniform - AT_AN_END) / (1 - 2 * AT_AN_END), 0, 1)
    columns = [weight_at(*ends, shares[:, i]) for i, ends in enumerate(ranges.values())]
    return np.stack(columns, axis=1)


def weight_grid(ranges: Ranges, points: int) -> NDArray[np.float64]:
    """(n, C) a grid of weights at equally spaced shares of the way through each range.

    The ends are included. There are about ``points`` combinations, and at least two weights per
    range.

    >>> weight_grid({"diversity": (0, 2)}, 5)[:, 0].tolist()
    [0.0, 0.125, 0.5, 1.125, 2.0]
    >>> weight_grid({"diversity": (0, 2), "novelty": (1, 2)}, 5).tolist()
    [[0.0, 1.0], [0.0, 2.0], [2.0, 1.0], [2.0, 2.0]]
    """
    # 1e-9: the root of a perfect power may be rounded to just below an integer.
    each = max(2, int(points ** (1 / len(ranges)) + 1e-9))
    axes = [weight_at(low, high, np.linspace(0, 1, each)) for low, high in ranges.values()]
    return np.array(list(product(*axes)), dtype=np.float64)


def weights_along(ranges: Ranges, share: float) -> dict[str, float]:
    """Name -> weight, at one share of the way through every range.

    >>> weights_along({"diversity": (0, 2), "novelty": (1, 2)}, 0.5)
    {'diversity': 0.5, 'novelty': 1.25}
    """
    return {name: float(weight_at(low, high, share)) for name, (low, high) in ranges.items()}


def require_inside(weights: Mapping[str, float], ranges: Ranges) -> None:
    """Raise GenrecError for a weight of a reward without a range, or outside its range."""
    for name, weight in weights.items():
        if name not in ranges:
            known = ", ".join(f"{each}={low:g}:{high:g}" for each, (low, high) in ranges.items())
            hint = f"the ranges are {known}" if known else "all weights of this run are fixed"
            raise GenrecError(f"the weight of {name!r} cannot be chosen: {hint}")
        low, high = ranges[name]
        if not low <= weight <= high:
            raise GenrecError(
                f"weight {weight:g} of {name} is outside the trained range, {low:g} to {high:g}"
            )
