"""The published results can be read, and say what their pages say."""

from pathlib import Path

import pytest

from genrec.results import Comparison

RESULTS = Path(__file__).parents[2] / "docs" / "results"
COMPARISONS = sorted(RESULTS.glob("ml-1m*.json"))


@pytest.mark.parametrize("file", COMPARISONS, ids=lambda file: file.stem)
def test_comparisons_have_the_schema_of_this_version(file: Path):
    found = Comparison.parse(file.read_text(), file, "convert it")
    assert found.fingerprint == "014cc672f5be57f8"


def test_the_table_of_the_page_is_in_the_file():
    """ml-1m.md: the aligned policy, .1624 NDCG@10 and .8337 diversity, objective .2458."""
    file = RESULTS / "ml-1m.json"
    rows = Comparison.parse(file.read_text(), file, "convert it").rows
    assert len(rows) == 195
    (policy,) = (row for row in rows if row.method == "aligned")
    shown = [policy.metrics[name] for name in ("ndcg@10", "diversity@10", "objective")]
    assert shown == pytest.approx([0.1624, 0.8337, 0.2458], abs=5e-5)
