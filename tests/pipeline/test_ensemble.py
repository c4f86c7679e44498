"""An ensemble of finished runs and baselines is a teacher like any other."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from genrec.config.errors import ConfigError, RunError
from genrec.metrics.calibration import fit_temperature
from genrec.pipeline import loading, stages
from genrec.pipeline.provenance import verified
from genrec.pipeline.teachers import load_scorer
from genrec.recipes import recipe
from genrec.results import RunMetadata


def with_members(workspace, *members: object, **options: object):
    """The workspace whose teacher is an ensemble."""
    teacher = recipe("ensemble", members=[str(member) for member in members], **options)
    return replace(workspace, settings=workspace.settings.model_copy(update={"teacher": teacher}))


@pytest.fixture(scope="module")
def ensemble(workspace, run, tmp_path_factory) -> Path:
    """A neural teacher and a Markov chain; the original of the former is gone afterwards."""
    folder = tmp_path_factory.mktemp("ensemble")
    original = shutil.copytree(run / "teacher", folder / "original")
    out = stages.train_teacher(with_members(workspace, original, "markov"), folder / "out")
    shutil.rmtree(original)
    return out


def test_it_is_loaded_from_its_copies(workspace, run, ensemble):
    content = json.loads((ensemble / "scorer.json").read_text())
    neural, other = content["factors"]
    assert min(neural, other) >= 0
    histories = workspace.split.valid.histories
    own = load_scorer(run / "teacher", workspace.device).score(histories)
    chain = load_scorer(ensemble / "members" / "1", workspace.device).score(histories)
    found = load_scorer(ensemble, workspace.device).score(histories)
    expected = neural * own[:, 1:] + other * chain[:, 1:]
    torch.testing.assert_close(found[:, 1:], expected)


def test_its_targets_are_at_least_as_likely_as_those_of_its_members(workspace, ensemble):
    """Each member alone is one of the ensembles that the fit chooses from."""
    valid = workspace.split.valid
    found = fit_temperature(load_scorer(ensemble, workspace.device), valid).loss
    for member in ("0", "1"):
        scorer = load_scorer(ensemble / "members" / member, workspace.device)
        assert found <= fit_temperature(scorer, valid).loss + 1e-3


def test_it_is_the_temperature_that_is_fitted_too(ensemble):
    assert RunMetadata.read(ensemble).temperature == pytest.approx(1, abs=0.05)


def test_files_of_its_members_are_checked(ensemble, tmp_path):
    copy = shutil.copytree(ensemble, tmp_path / "copy")
    assert {"members/0/scorer.safetensors", "members/1/scorer.json"} <= set(verified(copy).files)
    (copy / "members" / "1" / "scorer.json").write_text("{}")
    with pytest.raises(RunError, match=r"members/1/scorer\.json was changed"):
        loading.open_recommender(copy, torch.device("cpu"))


def test_a_student_learns_from_it(workspace, ensemble, tmp_path):
    student = stages.train_student(workspace, ensemble, tmp_path / "student")
    assert RunMetadata.read(student).val["overlap"] > 0


def test_given_weights_are_of_calibrated_probabilities(workspace, tmp_path):
    asked = with_members(workspace, "markov", "popularity", weights=[0.75, 0.25])
    out = stages.train_teacher(asked, tmp_path / "out")
    factors = json.loads((out / "scorer.json").read_text())["factors"]
    members = [load_scorer(out / "members" / name, workspace.device) for name in ("0", "1")]
    calibrated = [fit_temperature(member, workspace.split.valid).value for member in members]
    np.testing.assert_allclose(factors, np.array([0.75, 0.25]) / calibrated)


def test_what_cannot_be_a_member(workspace, make_workspace, run, tmp_path):
    with pytest.raises(ConfigError, match="'absent', which is neither the run directory of a"):
        stages.train_teacher(with_members(workspace, "absent", "markov"), tmp_path / "a")
    with pytest.raises(RunError, match="is a student run; a member of an ensemble is a teacher"):
        stages.train_teacher(with_members(workspace, run / "student", "markov"), tmp_path / "b")
    other = stages.train_teacher(make_workspace(seed=2), tmp_path / "other")
    with pytest.raises(RunError, match="was trained on other events"):
        stages.train_teacher(with_members(workspace, other, "markov"), tmp_path / "c")
    asked = with_members(workspace, "markov", "popularity", weights=[1.0])
    with pytest.raises(ConfigError, match=r"has 1 numbers for 2 members"):
        stages.train_teacher(asked, tmp_path / "d")
