"""Significance of a difference between two systems that were measured on the same cases."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from genrec.config.errors import GenrecError

RESAMPLES_AT_ONCE = 256  # bounds the memory of a bootstrap


@dataclass(frozen=True)
class PairedTest:
    """Result of a paired t-test.

    Attributes:
        difference: mean of a − b over the cases.
        statistic: t; infinite where every case differs by the same amount.
        p_value: two-sided p-value.
        num_cases: number of pairs.
    """

    difference: float
    statistic: float
    p_value: float
    num_cases: int


@dataclass(frozen=True)
class Interval:
    """A mean difference and its confidence interval.

    Attributes:
        difference: mean of a − b over the cases.
        low: lower end.
        high: upper end.
        level: probability that such an interval covers the true difference, for instance 0.95.
    """

    difference: float
    low: float
    high: float
    level: float


def paired_t(a: ArrayLike, b: ArrayLike) -> PairedTest:
    """Two-sided paired t-test of the hypothesis mean(a) = mean(b) [Student 1908].

    t = d̄ / (s_d / √n),   where d = a − b and s_d is its standard deviation with n − 1 degrees of
    freedom.

    Args:
        a: (n,) metric of each case for one system.
        b: (n,) the same metric of the same cases for the other system.

    Raises:
        GenrecError: if the shapes differ, there are fewer than two cases, or a value is not finite.

    >>> test = paired_t([1, 2, 3], [0, 2, 1])
    >>> test.difference, round(test.statistic, 4), round(test.p_value, 4)
    (1.0, 1.7321, 0.2254)
    """
    difference = _differences(a, b)
    mean, size = float(difference.mean()), len(difference)
    error = float(difference.std(ddof=1)) / np.sqrt(size)
    limit = 0.0 if mean == 0 else float(np.copysign(np.inf, mean))  # as the deviation goes to 0
    statistic = mean / float(error) if error > 0 else limit
    p_value = float(2 * stats.t.sf(abs(statistic), df=size - 1))
    return PairedTest(mean, statistic, p_value, size)


def bootstrap_difference(
    a: ArrayLike, b: ArrayLike, *, seed: int, resamples: int = 10_000, level: float = 0.95
) -> Interval:
    """Percentile bootstrap interval of mean(a) − mean(b) [Efron & Tibshirani 1993, ch. 13].

    Cases are resampled, so that the pairing is kept; nothing is assumed about the distribution of
    the values.

    Args:
        a: (n,) metric of each case for one system.
        b: (n,) the same metric of the same cases for the other system.
        seed: random seed of the resampling.
        resamples: number of resamples of n cases with replacement.
        level: coverage probability of the interval, between 0 and 1.

    Raises:
        GenrecError: as ``paired_t``, and for a level outside (0, 1) or no resamples.

    >>> bootstrap_difference([1, 1, 1], [0, 0, 0], seed=0)
    Interval(difference=1.0, low=1.0, high=1.0, level=0.95)
    """
    difference = _differences(a, b)
    means = resampled_means(difference[:, None], seed, resamples)[:, 0]
    low, high = percentiles(means, level)
    return Interval(float(difference.mean()), low, high, level)


def resampled_means(values: ArrayLike, seed: int, resamples: int) -> NDArray[np.float64]:
    """Means over resampled cases, all columns together [Efron & Tibshirani 1993, ch. 6].

    Args:
        values: (n, m) m metrics of n cases.
        seed: random seed of the resampling.
        resamples: R, number of resamples of n cases with replacement.

    Returns:
        (R, m) means.

    Raises:
        GenrecError: if there are no resamples.

    >>> means = resampled_means([[0, 1], [1, 0]], seed=0, resamples=4)
    >>> means.sum(axis=1).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    if resamples < 1:
        raise GenrecError(f"resamples {resamples} must be at least 1")
    table, generator = np.asarray(values, dtype=np.float64), np.random.default_rng(seed)
    size, parts = len(table), []
    for start in range(0, resamples, RESAMPLES_AT_ONCE):
        draws = min(RESAMPLES_AT_ONCE, resamples - start)
        # Counting how often each case is drawn turns R means into one matrix product.
        drawn = generator.integers(0, size, (draws, size)) + size * np.arange(draws)[:, None]
        times = np.bincount(drawn.ravel(), minlength=draws * size).reshape(draws, size)
        parts.append(times @ table / size)
    return np.concatenate(parts)


def percentiles(resampled: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Both ends of a percentile interval [Efron & Tibshirani 1993, ch. 13].

    Args:
        resampled: (R,) a statistic of R resamples.
        level: coverage probability of the interval, between 0 and 1.

    Raises:
        GenrecError: for a level outside (0, 1).

    >>> percentiles([1, 2, 3, 4, 5], level=0.5)
    (2.0, 4.0)
    """
    if not 0 < level < 1:
        raise GenrecError(f"level {level} must lie between 0 and 1")
    ends = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(np.asarray(resampled, dtype=np.float64), ends)
    return float(low), float(high)


def bootstrap_p(resampled: ArrayLike) -> float:
    """Two-sided bootstrap p-value of the hypothesis of no difference.

    p = min(1, 2 · min(#{d ≤ 0} + 1, #{d ≥ 0} + 1) / (R + 1)): approximately the largest 1 − level
    at which the percentile interval contains 0. The 1 counts the sample itself, so that p is never
    0 [Efron & Tibshirani 1993, ch. 15].

    Args:
        resampled: (R,) differences of R resamples.

    >>> bootstrap_p([0.1, 0.2, 0.3, -0.1]), bootstrap_p([0.1] * 39)
    (0.8, 0.05)
    """
    differences = np.asarray(resampled, dtype=np.float64)
    tail = min(int((differences <= 0).sum()), int((differences >= 0).sum()))
    return min(1.0, 2 * (tail + 1) / (len(differences) + 1))


def holm(p_values: Sequence[float]) -> NDArray[np.float64]:
    """p-values corrected for the number of tests [Holm 1979].

    With p_(1) ≤ … ≤ p_(m):   corrected_(i) = min(1, max_{j ≤ i} (m − j + 1) · p_(j)). If only
    those below α are called significant, the probability of any false positive is at most α,
    however the tests depend on each other.

    Args:
        p_values: (m,) uncorrected p-values.

    Returns:
        (m,) corrected p-values, in the order given.

    Raises:
        GenrecError: for a p-value outside [0, 1].

    >>> holm([0.04, 0.01, 0.03]).round(4).tolist()
    [0.06, 0.03, 0.06]
    """
    raw = np.asarray(p_values, dtype=np.float64)
    if not ((raw >= 0) & (raw <= 1)).all():
        raise GenrecError(f"p-values lie between 0 and 1, got {raw.tolist()}")
    order = np.argsort(raw, kind="stable")
    stepped = np.maximum.accumulate(raw[order] * np.arange(len(raw), 0, -1))
    corrected = np.empty_like(raw)
    corrected[order] = np.minimum(stepped, 1)
    return corrected


def _differences(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape:
        raise GenrecError(
            f"paired values must be two vectors of the same cases, got {first.shape} and"
            f" {second.shape}"
        )
    if len(first) < 2:
        raise GenrecError(f"a paired test needs at least two cases, got {len(first)}")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise GenrecError(
            "paired values must be finite; leave out cases that one of the systems has no value for"
        )
    return first - second
