"""Components of the user's own, from training to comparison: a plugin of one file, and files."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

# A plugin as it is installed: one module and the entry points of its distribution.
BACKBONE = '''
"""A causal backbone: the mean of the item vectors so far."""

from torch import nn


class RunningMean(nn.Module):
    def __init__(self, hidden_size, max_length, dropout, gain=1.0):
        super().__init__()
        self.gain = gain
        self.linear = nn.Linear(hidden_size, hidden_size)

    def forward(self, vectors, mask):
        summed = (vectors * mask[..., None]).cumsum(dim=1)
        counts = mask.cumsum(dim=1).clamp(min=1)[..., None]
        return self.gain * self.linear(summed / counts)
'''
ENTRY_POINTS = "[genrec.backbones]\nrunning_mean = running_mean:RunningMean\n"
METADATA = "Metadata-Version: 2.1\nName: running-mean\nVersion: 1.0\n"
OWN = '''
from pathlib import Path

import numpy as np
from torch.nn import functional

from genrec.rewards import reward

with Path("executions.txt").open("a") as file:
    file.write("once\\n")


@reward
def odd(slates, context):
    """Items of an odd number."""
    return (slates % 2) / context.k


def hinge(scores, positive, margin=1.0):
    wanted = scores.gather(1, positive[:, None])
    losses = functional.relu(margin - wanted + scores).scatter(1, positive[:, None], 0.0)
    return losses.sum(dim=1).mean()


def odd_first(pool, k, weight):
    """At weight 0 Top-K, at weight 1 the odd items first."""
    bonus = np.where(pool.items % 2 == 1, weight * 1e6, 0.0)
    best = np.argsort(-(pool.relevance + bonus), axis=1, kind="stable")[:, :k]
    return np.take_along_axis(pool.items, best, axis=1)
'''


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A directory of installed packages with the plugin in it."""
    site = tmp_path_factory.mktemp("site")
    (site / "running_mean.py").write_text(BACKBONE)
    info = site / "running_mean-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(METADATA)
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    return site


@pytest.fixture(scope="module")
def genrec(command, site, write_log, tmp_path_factory) -> Callable[..., str]:
    """Runs a command as a process where the plugin is installed; gives its standard output."""
    folder = tmp_path_factory.mktemp("plugins")
    write_log(folder, 0)
    (folder / "own.py").write_text(OWN)
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])

    def genrec(*arguments: str) -> str:
        found = subprocess.run(
            [*command, *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert found.returncode == 0, found.stderr
        return found.stdout

    genrec.folder = folder
    return genrec


def test_a_plugin_is_trained_aligned_and_compared(genrec):
    trained = genrec(
        *("train-teacher", "-c", "tiny.yaml", "-o", "teacher", "--json", "-q"),
        *("-s", "teacher.backbone=running_mean", "-s", "teacher.backbone.gain=0.5"),
        *("-s", "teacher.loss=own.py:hinge", "-s", "teacher.loss.margin=2"),
    )
    settings = json.loads(trained)["settings"]["teacher"]
    assert settings["backbone"] == {"name": "running_mean", "gain": 0.5}
    assert settings["loss"]["margin"] == 2
    executions = genrec.folder / "executions.txt"
    executions.unlink()

    genrec("align", "-r", "./own.py:odd=2", "--teacher", "teacher", "-o", "aligned", "-q")
    assert (
        executions.read_text() == "once\n"
    )  # the file of the reward; the teacher is not built anew
    executions.unlink()

    compared = genrec("compare", "aligned", "--json", "-q")
    assert executions.read_text() == "once\n"
    teacher = next(row for row in json.loads(compared)["rows"] if row["method"] == "teacher")
    evaluated = json.loads(genrec("evaluate", "teacher", "aligned", "--json", "-q"))
    assert evaluated["runs"][0]["metrics"]["ndcg@10"] == pytest.approx(
        teacher["metrics"]["ndcg@10"], abs=1e-6
    )


def test_a_reranker_of_ones_own_is_a_method_of_the_comparison(genrec):
    compared = genrec(
        "compare", "aligned", "--json", "-q", "-s", "compare.rerankers=own.py:odd_first"
    )
    rows = json.loads(compared)["rows"]
    found = {row["method"]: {} for row in rows}
    for row in rows:
        found[row["method"]][row["weight"]] = row["metrics"]
    own, teacher = found["odd_first"], found["teacher"][None]
    assert own[0.0]["ndcg@10"] == pytest.approx(teacher["ndcg@10"], abs=1e-6)
    assert own[1.0]["odd@10"] > own[0.0]["odd@10"] + 0.2
    assert set(found["odd_first-calibrated"]) == {0.0, 1.0}
