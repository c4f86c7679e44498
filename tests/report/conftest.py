"""A small comparison, written by hand."""

import pytest

from genrec.results import (
    Change,
    Comparison,
    ComparisonRow,
    Gap,
    GapAtWeight,
    HullArea,
    HullAreas,
    PolicyStatistics,
    SideEffects,
)


def row(method, weight, ndcg, diversity, objective=None, popularity=0.002):
    metrics = {"ndcg@10": ndcg, "diversity@10": diversity, "popularity@10": popularity}
    if objective is not None:
        metrics["objective"] = objective
    return ComparisonRow(method=method, weight=weight, metrics=metrics, errors={})


@pytest.fixture
def make_row():
    """A row from its method, weight, NDCG, diversity, objective and popularity."""
    return row


@pytest.fixture
def comparison() -> Comparison:
    """The teacher in one corner, MMR over 9 weights, and an aligned policy better than both.

    MMR has its best objective at 0.625.
    """
    curve = []
    for i in range(9):
        objective = 0.5 if i == 5 else 0.1 + 0.01 * i
        curve.append(row("mmr", i / 8, 0.10 - 0.005 * i, 0.30 + 0.02 * i, objective))
    points = [
        row("teacher", None, 0.11, 0.30, popularity=0.004),
        row("aligned", None, 0.10, 0.45, 0.4, 0.001),
    ]
    return Comparison(
        reward="diversity",
        weights={"relevance": 1, "diversity": 0.1},
        ranges={},
        k=10,
        dataset="demo",
        split="leave-one-out",
        fingerprint="ab" * 8,
        cases=1234,
        seed=1,
        candidates=100,
        resamples=200,
        temperature=1.5,
        versions={"genrec": "0.1.0"},
        rows=[*points, *curve],
        gaps=[],
        gaps_along=[],
        hull_areas=HullAreas(axes=("diversity@10", "ndcg@10"), points=1, methods=[]),
        side_effects=[],
        seeds=[],
        policy_weight=None,
        policies=[],
    )


@pytest.fixture
def full(comparison) -> Comparison:
    """The same comparison with everything that is measured beside the rows."""
    gap = Gap(method="mmr", difference=0.01234, error=0.0021, low=0.008, high=0.0165, p=0.00003)
    along = [
        GapAtWeight(weight=0.1, method="mmr", difference=-0.002, error=0.0013),
        GapAtWeight(weight=0.1, method="sog-raw"),
        GapAtWeight(weight=2.0, method="mmr"),
        GapAtWeight(weight=2.0, method="sog-raw", difference=0.5, error=0.01),
    ]
    mmr = HullArea(
        method="mmr",
        points=9,
        common_range=(0.3, 0.46),
        policy_area=0.5,
        area=0.25,
        difference=0.25,
        low=0.15,
        high=0.35,
        p=0.002,
    )
    methods = (mmr, HullArea(method="sog-raw", points=3))
    changes = {
        "novelty@10": Change(difference=-0.25, error=0.01, p=0.01),
        "distinct": Change(difference=0.125),
    }
    same = {
        "novelty@10": Change(difference=0.0, error=0.01, p=1.0),
        "distinct": Change(difference=0.0),
    }
    side_effects = (
        SideEffects(method="aligned", reference="student", changes=changes),
        SideEffects(method="mmr", weight=0.5, reference="teacher", changes=same),
    )
    policy = PolicyStatistics(method="aligned", kl=[0.5] * 10, entropy=[1.25] * 10)
    rows = [row.model_copy(update={"errors": {"ndcg@10": 0.01}}) for row in comparison.rows]
    changed = {
        "rows": tuple(rows),
        "gaps": (gap, Gap(method="sog-raw")),
        "gaps_along": tuple(along),
        "hull_areas": comparison.hull_areas.model_copy(update={"methods": methods}),
        "side_effects": side_effects,
        "policies": (policy,),
    }
    return comparison.model_copy(update=changed)
