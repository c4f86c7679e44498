"""The books of a run: what it was trained on, and who may not be paid or evaluated by it."""

from pathlib import Path

import pytest
import torch

from genrec.cli.training import open_workspace
from genrec.config.errors import DataError, RunError
from genrec.config.reading import Settings
from genrec.data import leave_one_out
from genrec.data.synthetic import demo
from genrec.pipeline import stages
from genrec.pipeline.workspace import (
    Workspace,
    finish,
    is_finished,
    prepare_workspace,
    require_run,
    start,
)
from genrec.training.checkpoint import CHECKPOINT
from genrec.training.run_directory import read_json, write_json

LOG = demo(num_users=60, num_items=60, seed=1)


def bench_of(hold_back: int = 0, num_validation: int = 512, **changes: object) -> Workspace:
    settings = Settings.model_validate({"hold_back": hold_back, **changes})
    parts = leave_one_out(LOG, num_validation=num_validation, hold_back=hold_back)
    return Workspace(settings, parts, torch.device("cpu"), quiet=True)


def made(kind: str, workspace: Workspace, folder: Path) -> Path:
    """A run folder as a finished stage leaves it, without weights: it is refused before they are
    read."""
    start(folder, kind, workspace)
    finish(folder, kind, workspace, {"temperature": 1.0, "val": {}})
    return folder


def doctor(run: Path, name: str, **changes: object) -> None:
    """Change the top of a JSON file of a run."""
    write_json(run / name, {**read_json(run / name), **changes})


@pytest.mark.parametrize(("theirs", "ours"), [(0, 1), (1, 0), (2, 1), (3, 1)])
def test_a_run_that_other_events_were_held_back_from_is_refused(tmp_path, theirs, ours):
    message = (
        f"was made with hold_back={theirs}, not {ours}: it may have seen events that this run is"
        " paid or evaluated on."
        f" Set hold_back={theirs}, or make teacher and student anew with hold_back={ours}"
    )
    teacher = made("teacher", bench_of(theirs), tmp_path / "teacher")
    with pytest.raises(RunError, match=f"teacher {message}"):
        stages.train_student(bench_of(ours), teacher, tmp_path / "student")
    with pytest.raises(RunError, match=f"teacher {message}"):
        stages.align(bench_of(ours), ["diversity"], teacher, teacher, tmp_path / "aligned")
    right, student = (
        made("teacher", bench_of(ours), tmp_path / "right"),
        made("student", bench_of(theirs), tmp_path / "s"),
    )
    with pytest.raises(RunError, match=f"s {message}"):
        stages.align(bench_of(ours), ["diversity"], right, student, tmp_path / "aligned")
    assert not (tmp_path / "student").exists()
    assert not (tmp_path / "aligned").exists()


@pytest.mark.parametrize("kind", ["teacher", "student", "supervised_warmup", "aligned"])
def test_a_run_that_was_trained_on_other_events_under_the_same_settings_is_refused(tmp_path, kind):
    """Here on the second newest events of validation users, which are validation targets in the
    bench."""
    run = made(kind, bench_of(num_validation=0), tmp_path)
    message = (
        rf"was trained on other events \(train_fingerprint [0-9a-f]{{16}}\) than this split has for"
        rf" training"
        rf" \({bench_of().split.train_fingerprint}\): it may have seen events that this run is paid or"
        r" evaluated on"
    )
    with pytest.raises(RunError, match=message):
        require_run(run, (kind,), bench_of())


def test_a_doctored_digest_is_refused(tmp_path):
    workspace = bench_of(1)
    run = made("teacher", workspace, tmp_path)
    found = require_run(run, ("teacher",), workspace)
    assert (found.kind, found.train_fingerprint) == ("teacher", workspace.split.train_fingerprint)
    doctor(run, "run.json", train_fingerprint="0123456789abcdef")
    with pytest.raises(
        RunError, match=r"trained on other events \(train_fingerprint 0123456789abcdef\)"
    ):
        stages.train_student(workspace, run, tmp_path / "student")


def test_a_run_of_another_schema_version_is_refused(tmp_path):
    run = made("teacher", bench_of(), tmp_path)
    assert is_finished(run, "teacher", bench_of())
    with pytest.raises(
        RunError, match="holds a finished run that differs in train_fingerprint, hold_back: choose"
    ):
        is_finished(run, "teacher", bench_of(1))
    for name in ("plan.json", "run.json"):
        doctor(run, name, schema_version=0)
    with pytest.raises(RunError, match=r"run\.json was written by another version of genrec"):
        require_run(run, ("teacher",), bench_of())
    with pytest.raises(RunError, match=r"plan\.json was written by another version of genrec"):
        is_finished(run, "teacher", bench_of())


def test_a_training_does_not_go_on_with_other_events(tmp_path):
    start(tmp_path, "teacher", bench_of())
    (tmp_path / CHECKPOINT).touch()
    start(tmp_path, "teacher", bench_of())
    with pytest.raises(
        RunError, match="holds a checkpoint of a run that differs in train_fingerprint:"
    ):
        start(tmp_path, "teacher", bench_of(num_validation=3))
    with pytest.raises(
        RunError, match="holds a checkpoint of a run that differs in train_fingerprint, hold_back:"
    ):
        start(tmp_path, "teacher", bench_of(1))


def test_settings_and_split_agree_on_what_is_held_back():
    workspace = bench_of(2)
    with pytest.raises(
        ValueError, match=r"hold_back is 1 in the settings, but this split holds back 2 event\(s\)"
    ):
        Workspace(Settings(hold_back=1), workspace.split, workspace.device, quiet=True)
    with pytest.raises(ValueError, match=r"make it with split\(dataset, hold_back=2\)"):
        Workspace(workspace.settings, bench_of().split, workspace.device, quiet=True)


def test_the_setting_reaches_the_split():
    workspace = prepare_workspace(Settings(hold_back=2), quiet=True)
    assert workspace.split.hold_back == 2


def test_a_log_that_has_gone_elsewhere_is_asked_for(tmp_path):
    log = tmp_path / "log.csv"
    made("teacher", bench_of(dataset=str(log)), tmp_path)
    with pytest.raises(
        DataError,
        match=rf"{tmp_path} was made on {log}, which is not there: give --dataset \(there is",
    ):
        open_workspace(None, [], None, None, None, True, origin=tmp_path)
    log.write_text("user,thing\n1,2\n")
    with pytest.raises(DataError, match=r"log\.csv, line 1: no column for the item"):
        open_workspace(None, [], None, None, None, True, origin=tmp_path)
