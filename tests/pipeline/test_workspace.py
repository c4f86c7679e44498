"""The data, settings and device that the stages of a run share."""

import re
from pathlib import Path

import pytest
import torch

from genrec.cli.options import open_workspace
from genrec.config.errors import DataError
from genrec.data import leave_one_out
from genrec.data.synthetic import demo
from genrec.pipeline.settings import Settings
from genrec.pipeline.workspace import Workspace, prepare_workspace

CPU = torch.device("cpu")


def test_settings_and_split_agree_on_what_is_held_back():
    log = demo(num_users=60, num_items=60, seed=1)
    with pytest.raises(
        ValueError, match=r"hold_back is 1 in the settings, but this split holds back 2 event\(s\)"
    ):
        Workspace(Settings(hold_back=1), leave_one_out(log, hold_back=2), CPU)
    with pytest.raises(ValueError, match=r"make it with split\(dataset, hold_back=2\)"):
        Workspace(Settings(hold_back=2), leave_one_out(log), CPU)


def test_the_setting_reaches_the_split():
    workspace = prepare_workspace(Settings(hold_back=2), quiet=True)
    assert workspace.split.hold_back == 2


def test_a_log_that_is_no_longer_there_is_asked_for(tmp_path: Path):
    log = tmp_path / "log.csv"
    settings = Settings(dataset=str(log))
    with pytest.raises(
        DataError,
        match=re.escape(f"{tmp_path} was made on {log}, which does not exist: give --dataset ("),
    ):
        open_workspace(settings, quiet=True, origin=tmp_path)
    log.write_text("user,thing\n1,2\n")
    with pytest.raises(DataError, match=r"log\.csv, line 1: no column for the item"):
        open_workspace(settings, quiet=True, origin=tmp_path)
