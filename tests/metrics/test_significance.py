"""Paired tests against published and independently computed values."""

import numpy as np
import pytest
from scipy import stats

from genrec.metrics.significance import (
    bootstrap_difference,
    bootstrap_p,
    holm,
    paired_t,
    percentiles,
    resampled_means,
)

# "Student"'s sleep data: hours of extra sleep of ten patients under two drugs [Student 1908].
DRUG_1 = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
DRUG_2 = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]


def test_paired_t_of_the_sleep_data() -> None:
    found = paired_t(DRUG_1, DRUG_2)
    assert found.difference == pytest.approx(-1.58)
    assert found.statistic == pytest.approx(-4.0621, abs=1e-4)
    assert found.p_value == pytest.approx(0.002833, abs=1e-6)
    assert found.num_cases == 10


def test_paired_t_agrees_with_scipy() -> None:
    generator = np.random.default_rng(0)
    a, b = generator.random(500), generator.random(500)
    expected = stats.ttest_rel(a, b)
    found = paired_t(a, b)
    assert (found.statistic, found.p_value) == pytest.approx((expected.statistic, expected.pvalue))


def test_no_spread() -> None:
    assert paired_t([1, 2], [1, 2]).p_value == 1
    assert paired_t([1, 2], [2, 3]).p_value == 0
    assert paired_t([1, 2], [2, 3]).statistic == -np.inf


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([1], [2], "two cases"),
        ([1, 2], [1, 2, 3], r"\(2,\) and \(3,\)"),
        ([1, np.nan], [1, 2], "finite"),
    ],
)
def test_bad_pairs(a: list[float], b: list[float], message: str) -> None:
    for test in (paired_t, lambda a, b: bootstrap_difference(a, b, seed=0)):
        with pytest.raises(ValueError, match=message):
            test(a, b)


def test_bootstrap_agrees_with_the_normal_interval_on_many_cases() -> None:
    generator = np.random.default_rng(1)
    a, b = generator.normal(0.3, 1, 2000), generator.normal(0, 1, 2000)
    found = bootstrap_difference(a, b, seed=2, resamples=2000, level=0.9)
    half = 1.6449 * np.std(a - b) / np.sqrt(2000)
    assert found.difference == pytest.approx((a - b).mean())
    assert found.low == pytest.approx((a - b).mean() - half, abs=0.004)
    assert found.high == pytest.approx((a - b).mean() + half, abs=0.004)
    assert found.level == 0.9


def test_bootstrap_keeps_the_pairing() -> None:
    values = np.random.default_rng(1).normal(0, 100, 50)
    found = bootstrap_difference(values + 1, values, seed=0, resamples=100)
    assert (found.low, found.high) == pytest.approx((1, 1))


def test_bootstrap_depends_on_the_seed_only() -> None:
    first, again = (bootstrap_difference(DRUG_1, DRUG_2, seed=4, resamples=300) for _ in range(2))
    assert first == again
    assert first != bootstrap_difference(DRUG_1, DRUG_2, seed=5, resamples=300)


def test_bootstrap_parameters() -> None:
    with pytest.raises(ValueError, match="level 1"):
        bootstrap_difference(DRUG_1, DRUG_2, seed=0, level=1)
    with pytest.raises(ValueError, match="resamples 0"):
        bootstrap_difference(DRUG_1, DRUG_2, seed=0, resamples=0)


def test_holm_by_hand() -> None:
    # sorted .005 .01 .03 .04 times 4 3 2 1 = .02 .03 .06 .04, then never falling
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.6, 0.7]), [1, 1])
    assert holm([]).tolist() == []


def test_holm_refuses_what_is_no_probability() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([0.5, 1.2])


def test_resampled_means_spread_as_the_standard_error() -> None:
    values = np.random.default_rng(0).normal(3, 2, (400, 2))
    means = resampled_means(values, seed=1, resamples=1500)
    assert means.shape == (1500, 2)
    np.testing.assert_allclose(means.mean(axis=0), values.mean(axis=0), atol=0.02)
    np.testing.assert_allclose(means.std(axis=0), values.std(axis=0) / 20, rtol=0.1)


def test_resampled_means_keep_the_columns_together() -> None:
    values = np.random.default_rng(0).normal(size=50)
    means = resampled_means(np.stack([values, values + 1], axis=1), seed=1, resamples=300)
    np.testing.assert_allclose(means[:, 1] - means[:, 0], 1)


def test_bootstrap_p_by_hand() -> None:
    assert bootstrap_p([-1.0] * 99) == pytest.approx(0.02)
    assert bootstrap_p([1.0] * 95 + [-1.0] * 4) == pytest.approx(0.1)
    assert bootstrap_p([0.0] * 9) == 1
    assert bootstrap_p([1.0, -1.0, 1.0]) == 1


def test_percentiles_by_hand() -> None:
    assert percentiles(np.arange(101), 0.9) == pytest.approx((5, 95))
    with pytest.raises(ValueError, match="level 0"):
        percentiles([1.0], 0)
