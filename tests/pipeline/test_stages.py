"""The stages of a run, called from Python: what they leave, reuse and resume."""

import json
import os
import signal
from pathlib import Path

import pytest

from genrec.agents.gptrec.decoding import NextK
from genrec.config.errors import RunError
from genrec.pipeline import loading, stages
from genrec.pipeline.recommend import recommend_titles
from genrec.pipeline.settings import settings_of
from genrec.training.checkpoint import CHECKPOINT
from genrec.training.interruption import Interrupted
from genrec.training.run_directory import LOCK, read_json, versions


def test_the_run_describes_itself(workspace, run):
    content = read_json(run / "run.json")
    assert content["kind"] == "aligned"
    assert settings_of(content["settings"]) == workspace.settings
    assert content["fingerprint"] == workspace.split.fingerprint
    assert set(content["versions"]) == set(versions())
    assert set(content["machine"]) == {
        "device",
        "processor",
        "instructions",
        "threads",
        "precision",
    }
    assert content["rewards"] == ["relevance=1", "diversity=0.3"]
    assert (content["teacher"], content["student"]) == ("teacher", "student")
    assert {"objective", "ndcg@4", "relevance@4", "diversity@4", "update"} <= set(content["val"])
    objective = content["val"]["relevance@4"] + 0.3 * content["val"]["diversity@4"]
    assert content["val"]["objective"] == pytest.approx(objective)
    assert read_json(run / "student" / "run.json")["teacher"] == "../teacher"
    assert read_json(run / "teacher" / "run.json")["temperature"] > 0


def test_no_checkpoint_and_no_pickle_is_left(run):
    names = {path.name for path in run.rglob("*") if path.is_file() and path.name != LOCK}
    assert CHECKPOINT not in names
    assert {Path(name).suffix for name in names if "tfevents" not in name} == {
        ".json",
        ".jsonl",
        ".safetensors",
    }


def test_metrics_are_logged(run):
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "val/objective" in row] == [0, 2, 4]
    updates = [row for row in rows if "reward" in row]
    assert [row["step"] for row in updates] == [1, 2, 3, 4]
    for row in updates:
        assert {"entropy", "relevance", "diversity", "clip_fraction", "approx_kl"} <= set(row)
        assert row["reward"] == pytest.approx(row["relevance"] + 0.3 * row["diversity"], abs=1e-6)


def test_the_folder_recommends_what_was_validated(workspace, run):
    valid = workspace.split.valid
    slates = loading.open_recommender(run, workspace.device).recommend(valid.histories, 4)
    hits = (slates == valid.targets[:, None]).any(axis=1).mean()
    assert read_json(run / "run.json")["val"]["recall@4"] == pytest.approx(hits)


def test_titles_for_raw_ids(workspace, run):
    catalogue = workspace.split.catalogue
    history = [str(catalogue.item_ids[3]), str(catalogue.item_ids[9])]
    rows = recommend_titles(run, history, 3, device=workspace.device)
    ids = {
        str(raw): str(title)
        for raw, title in zip(catalogue.item_ids, catalogue.titles, strict=True)
    }
    assert len(rows) == len({raw for raw, _ in rows}) == 3
    assert all(ids[raw] == title and raw not in history for raw, title in rows)
    with pytest.raises(
        ValueError, match=r"unknown item id\(s\) nope; this catalogue has ids such as item-"
    ):
        recommend_titles(run, ["nope"], 3, device=workspace.device)


def test_the_same_again_does_nothing(workspace, run, caplog):
    caplog.set_level("INFO", logger="genrec")
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    stages.align(workspace, ["diversity"], out=run)
    assert caplog.messages == [
        f"teacher: {run / 'teacher'} is finished, nothing to do",
        f"student: {run / 'student'} is finished, nothing to do",
        f"aligned: {run} is finished, nothing to do",
    ]
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_ctrl_c_and_the_same_again_gives_the_same_policy(workspace, run, tmp_path, monkeypatch):
    teacher, student = run / "teacher", run / "student"
    real, calls = NextK.recommend, []

    def recommend(self, histories, k):
        calls.extend(
            [k] if (tmp_path / "supervised_warmup" / "run.json").exists() else []
        )  # PPO's validations
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return real(self, histories, k)

    with monkeypatch.context() as patch:
        patch.setattr(NextK, "recommend", recommend)
        with pytest.raises(Interrupted, match="stopped before update 3; the same command resumes"):
            stages.align(workspace, ["diversity"], teacher=teacher, student=student, out=tmp_path)
    assert not (tmp_path / "run.json").exists()
    with pytest.raises(RunError, match="holds a checkpoint of a run that differs in rewards"):
        stages.align(workspace, ["novelty"], teacher=teacher, student=student, out=tmp_path)
    stages.align(workspace, ["diversity"], teacher=teacher, student=student, out=tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()
    assert not (tmp_path / CHECKPOINT).exists()
