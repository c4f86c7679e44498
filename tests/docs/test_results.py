"""The published results can be read, and say what their pages say."""

import json
from pathlib import Path

import pytest

from genrec.results import Comparison, ComparisonRow

RESULTS = Path(__file__).parents[2] / "docs" / "results"
COMPARISONS = sorted(RESULTS.glob("ml-1m*.json"))


def rows_of(file: Path) -> list[ComparisonRow]:
    """Rows of a comparison; those of schema version 1 have no exposure."""
    return [ComparisonRow.model_validate(row) for row in json.loads(file.read_text())["rows"]]


@pytest.mark.parametrize("file", COMPARISONS, ids=lambda file: file.stem)
def test_comparisons_are_of_the_data_of_the_page(file: Path):
    content = json.loads(file.read_text())
    assert content["fingerprint"] == "014cc672f5be57f8"
    assert {row.method for row in rows_of(file)} >= {"aligned", "greedy", "mmr", "student"}
    if content["schema_version"] > 1:  # older ones have areas that are measured otherwise
        Comparison.parse(file.read_text(), file, "measure it again")


def test_the_table_of_the_page_is_in_the_file():
    """ml-1m.md: the aligned policy, .1624 NDCG@10 and .8337 diversity, objective .2458."""
    file = RESULTS / "ml-1m.json"
    rows = rows_of(file)
    assert len(rows) == 195
    (policy,) = (row for row in rows if row.method == "aligned")
    shown = [policy.metrics[name] for name in ("ndcg@10", "diversity@10", "objective")]
    assert shown == pytest.approx([0.1624, 0.8337, 0.2458], abs=5e-5)
