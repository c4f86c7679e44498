"""The metadata of a run directory: what a run was trained on, and who may use it."""

from pathlib import Path

import pytest
import torch

from genrec.config.errors import RunError
from genrec.data import leave_one_out
from genrec.data.synthetic import demo
from genrec.pipeline import stages
from genrec.pipeline.provenance import begin_run, finish_run, is_finished, require_run
from genrec.pipeline.settings import settings_of
from genrec.pipeline.workspace import Workspace
from genrec.results import Kind, RunMetadata
from genrec.training.checkpoint import CHECKPOINT
from genrec.training.run_directory import read_json, write_json

LOG = demo(num_users=60, num_items=60, seed=1)


def workspace_of(hold_back: int = 0, num_validation: int = 512, **changes: object) -> Workspace:
    settings = settings_of({"hold_back": hold_back, **changes})
    split = leave_one_out(LOG, num_validation=num_validation, hold_back=hold_back)
    return Workspace(settings, split, torch.device("cpu"), quiet=True)


def made(kind: Kind, workspace: Workspace, directory: Path) -> Path:
    """A run directory as a finished stage leaves it, without weights: it is refused before they
    are read."""
    begin_run(directory, kind, workspace)
    finish_run(directory, kind, workspace, val={}, temperature=1.0)
    return directory


@pytest.mark.parametrize(("theirs", "ours"), [(0, 1), (1, 0), (2, 1), (3, 1)])
def test_a_run_that_other_events_were_held_back_from_is_refused(tmp_path, theirs, ours):
    message = (
        f"was made with hold_back={theirs}, not {ours}: it may have seen events that this run is"
        f" rewarded or evaluated on. Set hold_back={theirs}, or make teacher and student anew with"
        f" hold_back={ours}"
    )
    workspace = workspace_of(ours)
    teacher = made("teacher", workspace_of(theirs), tmp_path / "teacher")
    with pytest.raises(RunError, match=f"teacher {message}"):
        stages.train_student(workspace, teacher, tmp_path / "student")
    out = tmp_path / "aligned"
    with pytest.raises(RunError, match=f"teacher {message}"):
        stages.align(workspace, ["diversity"], teacher=teacher, student=teacher, out=out)
    right = made("teacher", workspace, tmp_path / "right")
    student = made("student", workspace_of(theirs), tmp_path / "s")
    with pytest.raises(RunError, match=f"s {message}"):
        stages.align(workspace, ["diversity"], teacher=right, student=student, out=out)
    assert not (tmp_path / "student").exists()
    assert not out.exists()


@pytest.mark.parametrize("kind", ["teacher", "student", "supervised_warmup", "aligned"])
def test_a_run_that_was_trained_on_other_events_under_the_same_settings_is_refused(tmp_path, kind):
    """Here on the second newest events of validation users, which are validation targets here."""
    run = made(kind, workspace_of(num_validation=0), tmp_path)
    workspace = workspace_of()
    message = (
        r"was trained on other events \(train_fingerprint [0-9a-f]{16}\) than this split has for"
        rf" training \({workspace.split.train_fingerprint}\): it may have seen events that this run"
        r" is rewarded or evaluated on"
    )
    with pytest.raises(RunError, match=message):
        require_run(run, (kind,), workspace)


def test_a_changed_fingerprint_is_refused(tmp_path):
    workspace = workspace_of(1)
    run = made("teacher", workspace, tmp_path)
    content = read_json(run / "run.json")
    assert content["train_fingerprint"] == workspace.split.train_fingerprint
    assert require_run(run, ("teacher",), workspace).kind == "teacher"
    metadata = RunMetadata.read(run)
    metadata.model_copy(update={"train_fingerprint": "0123456789abcdef"}).write(run)
    with pytest.raises(
        RunError, match=r"trained on other events \(train_fingerprint 0123456789abcdef\)"
    ):
        stages.train_student(workspace, run, tmp_path / "student")


def test_a_finished_run_with_other_held_back_events_is_not_the_same_run(tmp_path):
    made("teacher", workspace_of(), tmp_path)
    assert is_finished(tmp_path, "teacher", workspace_of())
    with pytest.raises(
        RunError,
        match="holds a finished run that differs in train_fingerprint, hold_back: choose another"
        " directory",
    ):
        is_finished(tmp_path, "teacher", workspace_of(1))


def test_a_run_of_another_schema_version_is_refused(tmp_path):
    workspace = workspace_of()
    run = made("teacher", workspace, tmp_path)
    for name in ("plan.json", "run.json"):
        write_json(run / name, {**read_json(run / name), "schema_version": 0})
    with pytest.raises(RunError, match=r"run\.json was written by another version of genrec"):
        require_run(run, ("teacher",), workspace)
    with pytest.raises(RunError, match=r"plan\.json was written by another version of genrec"):
        is_finished(run, "teacher", workspace)


def test_a_training_is_not_resumed_with_other_events(tmp_path):
    begin_run(tmp_path, "teacher", workspace_of())
    (tmp_path / CHECKPOINT).touch()
    begin_run(tmp_path, "teacher", workspace_of())
    with pytest.raises(
        RunError, match="holds a checkpoint of a run that differs in train_fingerprint:"
    ):
        begin_run(tmp_path, "teacher", workspace_of(num_validation=3))
    with pytest.raises(
        RunError, match="holds a checkpoint of a run that differs in train_fingerprint, hold_back:"
    ):
        begin_run(tmp_path, "teacher", workspace_of(1))
