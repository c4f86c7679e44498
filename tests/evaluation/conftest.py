"""Methods with values that are written by hand, and two small runs to compare."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from genrec.data.splits import leave_one_out
from genrec.data.synthetic import demo
from genrec.evaluation.methods import Method
from genrec.metrics.exposure import ItemCounts
from genrec.pipeline import stages
from genrec.pipeline.settings import settings_of
from genrec.pipeline.workspace import Workspace

Made = Callable[..., Method]
K = 5
TINY = {
    "k": K,
    "teacher": {"recipe": "markov"},
    "student": {
        "hidden_size": 16,
        "blocks": 1,
        "heads": 2,
        "max_length": 8,
        "demonstrations": 200,
        "pool": 12,
        "epochs": 2,
    },
    "align": {
        "warmup_lists": 0,
        "updates": 2,
        "histories": 4,
        "group_size": 2,
        "evaluate_every": 2,
    },
    "compare": {"weights": 3, "candidates": 60, "resamples": 100},
}
PEEK = """
import numpy as np
from genrec.rewards import reward

@reward(needs="targets")
def peek(slates, context):
    return (slates == context.targets[:, None]) * 1.0
"""


@pytest.fixture(scope="session")
def workspace() -> Workspace:
    split = leave_one_out(demo(num_users=120, num_items=80, seed=1))
    return Workspace(settings_of(TINY), split, torch.device("cpu"), quiet=True)


@pytest.fixture(scope="session")
def folder(workspace, tmp_path_factory) -> Path:
    """A teacher and a student, and two runs: one for popularity and diversity, one for a reward
    that reads targets."""
    root = tmp_path_factory.mktemp("comparison")
    (root / "peek.py").write_text(PEEK)
    teacher = stages.train_teacher(workspace, root / "teacher")
    student = stages.train_student(workspace, teacher, root / "student")
    for specs, name in (
        (["popularity=0.2", "diversity=0.3"], "both"),
        ([f"{root / 'peek.py'}:peek=5"], "peek"),
    ):
        stages.align(workspace, specs, teacher=teacher, student=student, out=root / name)
    return root


@pytest.fixture
def made() -> Made:
    """A measured method of a name and weight, from its goal and NDCG of each user."""

    def make(
        name: str,
        weight: float | None,
        goal: list[float],
        ndcg: list[float],
        **others: list[float],
    ) -> Method:
        method = Method(name=name, weight=weight, recommend=lambda pool: pool.items, num_items=1)
        columns = {"goal": goal, "ndcg": ndcg, **others}
        method.per_user = {f"{key}@5": [np.array(values)] for key, values in columns.items()}
        method.list_hashes = [np.arange(len(goal))]
        method.item_counts = [ItemCounts.of(np.array([[1]]))]
        return method

    return make
