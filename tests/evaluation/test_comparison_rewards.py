"""Comparisons of runs for other rewards: for accuracy alone, of targets, paid at the end."""

import pytest

from genrec.config.trust import name_code
from genrec.evaluation.comparison import compare
from genrec.pipeline import stages
from genrec.results import Comparison

K = 5


def row(content: Comparison, method: str, weight: float | None = None) -> dict[str, float]:
    """Metrics of a method at a weight."""
    (found,) = [
        each.metrics for each in content.rows if (each.method, each.weight) == (method, weight)
    ]
    return found


def test_a_reward_that_reads_targets_is_measured_with_them(workspace, folder):
    name_code(str(folder / "peek.py"))
    content = compare(workspace, folder / "peek")
    teacher = row(content, "teacher")
    assert teacher["peek@5"] == pytest.approx(teacher["recall@5"])
    assert teacher["objective"] == pytest.approx(teacher["ndcg@5"] + 5 * teacher["recall@5"])
    for share in (0.5, 1):
        assert row(content, "greedy", share)["peek@5"] == pytest.approx(teacher["peek@5"])


def test_a_run_for_accuracy_alone_is_compared_too(workspace, folder):
    stages.align(workspace, [], student=folder / "student", out=folder / "accurate")
    content = compare(workspace, folder / "accurate")
    assert content.reward == "ndcg"
    assert {each.method for each in content.rows} >= {"teacher", "mmr", "aligned"}
    assert not [each for each in content.rows if each.method == "greedy"]
    for each in content.rows:
        assert each.metrics["objective"] == pytest.approx(each.metrics["ndcg@5"], abs=1e-6)


LATE = """
import numpy as np

from genrec.rewards import Terminal, telescoped


def value(slates, context):
    counts = context.catalogue.counts
    return (counts[slates] <= np.median(counts[1:])).all(axis=1) * slates.shape[1] / context.k


class Late(Terminal):
    @property
    def surrogate(self):
        return telescoped(self.value, self.label)


late = Late(value, "late")
"""


def test_greedy_is_a_fair_competitor_where_a_reward_is_paid_at_the_end(workspace, folder):
    """It follows the surrogate of the reward, and greedy with look-ahead takes part."""
    (folder / "late.py").write_text(LATE)
    stages.align(
        workspace,
        [f"{folder / 'late.py'}:late=1"],
        student=folder / "student",
        out=folder / "late",
    )
    content = compare(workspace, folder / "late", users=40)
    assert row(content, "teacher")["late@5"] < 0.2
    assert row(content, "greedy", 1)["late@5"] == 1
    assert row(content, "greedy-ahead", 0)["ndcg@5"] == pytest.approx(
        row(content, "teacher")["ndcg@5"]
    )
    assert row(content, "greedy-ahead", 1)["late@5"] >= row(content, "teacher")["late@5"]
