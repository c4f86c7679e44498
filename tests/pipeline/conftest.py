"""A tiny workspace and a finished run that the tests of the stages share."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from genrec.data.splits import leave_one_out
from genrec.data.synthetic import demo
from genrec.pipeline import stages
from genrec.pipeline.settings import settings_of
from genrec.pipeline.workspace import Workspace

TINY = {
    "k": 4,
    "teacher": {"hidden_size": 8, "backbone": {"blocks": 1}, "max_length": 8, "epochs": 2},
    "student": {
        "hidden_size": 16,
        "blocks": 1,
        "heads": 2,
        "max_length": 8,
        "demonstrations": 100,
        "pool": 12,
        "epochs": 1,
    },
    "align": {
        "warmup_lists": 60,
        "updates": 4,
        "histories": 4,
        "group_size": 2,
        "evaluate_every": 2,
    },
}


def _make_workspace(seed: int = 1, hold_back: int = 0, **changes: dict[str, object]) -> Workspace:
    content = {
        key: value | changes.get(key, {}) if isinstance(value, dict) else value
        for key, value in TINY.items()
    }
    settings = settings_of({**content, "hold_back": hold_back})
    split = leave_one_out(demo(num_users=100, num_items=60, seed=seed), hold_back=hold_back)
    return Workspace(settings, split, torch.device("cpu"), quiet=True)


@pytest.fixture(scope="session")
def make_workspace() -> Callable[..., Workspace]:
    """A workspace with changed settings of a section, another log or held-back events."""
    return _make_workspace


@pytest.fixture(scope="session")
def workspace() -> Workspace:
    """Settings of a few seconds of training on 100 users and 60 items."""
    return _make_workspace()


@pytest.fixture(scope="session")
def run(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An alignment for diversity; its teacher and student were made inside it."""
    return stages.align(workspace, ["diversity"], out=tmp_path_factory.mktemp("runs") / "all")
