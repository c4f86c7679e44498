"""Which re-rankers take part in a comparison, and on which relevance."""

import pytest

from genrec.evaluation.goals import Goals
from genrec.evaluation.reranking import RESERVED, reranker_grids
from genrec.report.wording import family_of
from genrec.rerankers.registry import BUILT_IN
from genrec.rewards import weighted

GOALS = Goals.of(weighted(["relevance", "popularity=0.2"]))


def variants(*, features: bool) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for grid in reranker_grids(GOALS, 3, 16, features=features):
        family, variant = family_of(grid.name)
        found.setdefault(family, set()).add(variant)
    return found


def test_every_built_in_reranker_takes_part_scaled_and_calibrated() -> None:
    families = variants(features=True)
    assert families.pop("greedy") == {"", "sorted"}
    assert len(families) == len(BUILT_IN)
    assert all({"", "calibrated"} <= found for found in families.values())
    assert {name for name, found in families.items() if "raw" in found} == {"mmr", "sog", "steck"}


def test_names_are_reserved() -> None:
    assert variants(features=True).keys() <= set(RESERVED)


def test_without_features_nothing_is_calibrated_to_them() -> None:
    left_out = variants(features=True).keys() - variants(features=False).keys()
    assert left_out == {"steck", "xquad"}


@pytest.mark.parametrize("features", [True, False])
def test_grids_reach_from_0_to_1(features: bool) -> None:
    for grid in reranker_grids(GOALS, 5, 16, features=features):
        assert (grid.weights[0], grid.weights[-1]) == (0, 1)
        assert grid.weights == sorted(grid.weights)
