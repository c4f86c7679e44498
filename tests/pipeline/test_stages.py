"""The stages of a run, called from Python: what they make, refuse, reuse and go on with."""

import json
import os
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from genrec.agents.gptrec.decoding import NextK
from genrec.config.errors import RunError
from genrec.config.reading import Settings
from genrec.data.splits import leave_one_out
from genrec.data.synthetic import demo
from genrec.evaluation.comparison import compare
from genrec.pipeline import loading, stages
from genrec.pipeline.recommend import recommend_titles
from genrec.pipeline.stages import complete_specs
from genrec.pipeline.workspace import Workspace
from genrec.rerankers import Reranked, greedy
from genrec.rewards import RewardError, weighted
from genrec.training.checkpoint import CHECKPOINT
from genrec.training.interruption import Interrupted
from genrec.training.run_directory import read_json

TINY = {
    "k": 4,
    "teacher": {"hidden_size": 8, "blocks": 1, "max_length": 8, "epochs": 2},
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


def bench_of(seed: int = 1, hold_back: int = 0, **changes: dict[str, object]) -> Workspace:
    content = {
        key: value | changes.get(key, {}) if isinstance(value, dict) else value
        for key, value in TINY.items()
    }
    settings = Settings.model_validate({**content, "hold_back": hold_back})
    split = leave_one_out(demo(num_users=100, num_items=60, seed=seed), hold_back=hold_back)
    return Workspace(settings, split, torch.device("cpu"), quiet=True)


@pytest.fixture(scope="module")
def workspace() -> Workspace:
    return bench_of()


@pytest.fixture(scope="module")
def folder(workspace, tmp_path_factory) -> Path:
    """Whatever is missing was made inside the run."""
    return stages.align(
        workspace, ["diversity"], None, None, tmp_path_factory.mktemp("runs") / "all"
    )


@pytest.mark.parametrize(
    ("specs", "accuracy", "complete"),
    [
        (["diversity"], "relevance", ["relevance=1", "diversity=0.25"]),
        (["diversity=2", "novelty"], "ndcg", ["ndcg=1", "diversity=2", "novelty=0.25"]),
        (["ndcg", "diversity"], "relevance", ["ndcg=1", "diversity=0.25"]),
        (["diversity", "relevance=3"], "relevance", ["diversity=0.25", "relevance=3"]),
        (["diversity=0.123456789"], "none", ["diversity=0.123456789"]),
        (["genrec.rewards:Novelty"], "none", ["genrec.rewards:Novelty=0.25"]),
        ([], "relevance", ["relevance=1"]),
        (["diversity"], "mixed", ["relevance=0.5", "ndcg=0.5", "diversity=0.25"]),
        (["ndcg=2", "diversity"], "mixed", ["ndcg=2", "diversity=0.25"]),
        ([], "mixed", ["relevance=0.5", "ndcg=0.5"]),
    ],
)
def test_complete_specs(specs, accuracy, complete):
    assert complete_specs(specs, accuracy, weight=0.25) == complete
    assert complete_specs(complete) == complete


def test_a_reward_file_is_found_from_anywhere(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("def fresh(slates, context):\n    return slates * 0.5\n")
    monkeypatch.chdir(tmp_path)
    complete = complete_specs(["./mine.py:fresh=0.3"])
    assert complete == [f"{tmp_path / 'mine.py'}:fresh=0.3"]
    monkeypatch.chdir("/")
    assert weighted(complete).name == "0.3*fresh"


def test_no_reward_at_all():
    with pytest.raises(ValueError, match="no reward is left: name one"):
        complete_specs([], "none")


def test_the_run_describes_itself(workspace, folder):
    content = read_json(folder / "run.json")
    assert content["kind"] == "aligned"
    assert Settings.model_validate(content["settings"]) == workspace.settings
    assert content["fingerprint"] == workspace.split.fingerprint
    assert set(content["versions"]) == {
        "genrec",
        "python",
        "torch",
        "transformers",
        "gymnasium",
        "numpy",
    }
    assert content["rewards"] == ["relevance=1", "diversity=0.3"]
    assert (content["teacher"], content["student"]) == ("teacher", "student")
    assert {"objective", "ndcg@4", "relevance@4", "diversity@4", "update"} <= set(content["val"])
    objective = content["val"]["relevance@4"] + 0.3 * content["val"]["diversity@4"]
    assert content["val"]["objective"] == pytest.approx(objective)
    assert read_json(folder / "student" / "run.json")["teacher"] == "../teacher"
    assert read_json(folder / "teacher" / "run.json")["temperature"] > 0


def test_no_checkpoint_and_no_pickle_is_left(folder):
    names = {path.name for path in folder.rglob("*") if path.is_file()}
    assert CHECKPOINT not in names
    assert {Path(name).suffix for name in names if "tfevents" not in name} == {
        ".json",
        ".jsonl",
        ".safetensors",
    }


def test_metrics_are_logged(folder):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "valid objective" in row] == [0, 2, 4]
    updates = [row for row in rows if "reward" in row]
    assert [row["step"] for row in updates] == [1, 2, 3, 4]
    for row in updates:
        assert {"entropy", "relevance", "diversity", "clip fraction", "kl from last policy"} <= set(
            row
        )
        assert row["reward"] == pytest.approx(row["relevance"] + 0.3 * row["diversity"], abs=1e-6)


def test_the_folder_recommends_what_was_validated(workspace, folder):
    valid = workspace.split.valid
    slates = loading.open_recommender(folder, workspace.device).recommend(valid.histories, 4)
    hits = (slates == valid.targets[:, None]).any(axis=1).mean()
    assert read_json(folder / "run.json")["val"]["recall@4"] == pytest.approx(hits)


def test_titles_for_raw_ids(workspace, folder):
    catalogue = workspace.split.catalogue
    history = [str(catalogue.item_ids[3]), str(catalogue.item_ids[9])]
    rows = recommend_titles(folder, history, 3, workspace.device)
    ids = {
        str(raw): str(title)
        for raw, title in zip(catalogue.item_ids, catalogue.titles, strict=True)
    }
    assert len(rows) == len({raw for raw, _ in rows}) == 3
    assert all(ids[raw] == title and raw not in history for raw, title in rows)
    with pytest.raises(
        ValueError, match=r"unknown item id\(s\) nope; this catalogue has ids such as item-"
    ):
        recommend_titles(folder, ["nope"], 3, workspace.device)


def test_the_same_again_does_nothing(workspace, folder, monkeypatch):
    said = []
    monkeypatch.setattr(Workspace, "say", lambda self, message: said.append(message))
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    stages.align(workspace, ["diversity"], None, None, folder)
    assert said == [
        f"teacher: {folder / 'teacher'} is finished, nothing to do",
        f"student: {folder / 'student'} is finished, nothing to do",
        f"aligned: {folder} is finished, nothing to do",
    ]
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.parametrize(
    ("rewards", "changes", "differs"),
    [
        (["novelty"], {}, "rewards"),
        (["diversity=0.4"], {}, "rewards"),
        (["diversity"], {"align": {"kl": 0.1}}, "align"),
    ],
)
def test_other_settings_are_refused(folder, rewards, changes, differs):
    with pytest.raises(
        RunError, match=f"holds a finished run that differs in {differs}: choose another folder"
    ):
        stages.align(bench_of(**changes), rewards, folder / "teacher", folder / "student", folder)


def test_other_data_is_refused(folder, tmp_path):
    other = bench_of(seed=2)
    with pytest.raises(
        RunError, match=r"teacher was made on demo \(fingerprint .*give the dataset it was made"
    ):
        stages.train_student(other, folder / "teacher", tmp_path / "student")
    with pytest.raises(RunError, match="fingerprint"):
        stages.align(
            other, ["diversity"], folder / "teacher", folder / "student", tmp_path / "aligned"
        )
    with pytest.raises(RunError, match="differs in fingerprint"):
        stages.train_teacher(other, folder / "teacher")
    assert list(tmp_path.iterdir()) == []


def test_another_split_is_refused(workspace, folder, tmp_path):
    other = replace(
        workspace, settings=workspace.settings.model_copy(update={"split": "global-time"})
    )
    with pytest.raises(RunError, match="was made on the leave-one-out split, not global-time"):
        stages.train_student(other, folder / "teacher", tmp_path)


def test_the_wrong_kind_of_run_is_refused(workspace, folder, tmp_path):
    with pytest.raises(RunError, match="student is a student run; a teacher run is needed here"):
        stages.train_student(workspace, folder / "student", tmp_path)
    with pytest.raises(RunError, match="a student or aligned run is needed here"):
        stages.align(workspace, ["diversity"], folder / "teacher", folder / "teacher", tmp_path)


def test_an_aligned_run_can_be_aligned_further(workspace, folder, tmp_path):
    out = stages.align(workspace, ["novelty"], None, folder, tmp_path / "more")
    content = read_json(out / "run.json")
    assert stages.folder_of(out, "student") == folder
    assert stages.folder_of(out, "teacher") == folder / "teacher"
    assert content["rewards"] == ["relevance=1", "novelty=0.3"]


def test_ctrl_c_and_the_same_again_gives_the_same_policy(workspace, folder, tmp_path, monkeypatch):
    teacher, student = folder / "teacher", folder / "student"
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
        with pytest.raises(Interrupted, match="stopped before update 3; the same command goes on"):
            stages.align(workspace, ["diversity"], teacher, student, tmp_path)
    assert not (tmp_path / "run.json").exists()
    with pytest.raises(RunError, match="holds a checkpoint of a run that differs in rewards"):
        stages.align(workspace, ["novelty"], teacher, student, tmp_path)
    stages.align(workspace, ["diversity"], teacher, student, tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == (
        folder / "model.safetensors"
    ).read_bytes()
    assert not (tmp_path / CHECKPOINT).exists()


def test_histories_that_leave_no_room_are_not_asked_for_lists(workspace):
    """With k = 50 of 60 items, a user of more than 10 items cannot have a list."""
    wide = replace(workspace, settings=workspace.settings.model_copy(update={"k": 50}))
    task = stages.list_task(
        wide, weighted(["diversity"]), lambda histories: np.zeros(0), max_length=8
    )
    assert 0 < len(task) < 16
    assert task.histories.distinct().max() <= 10


def test_a_moved_run_still_finds_its_parts(workspace, folder, tmp_path):
    """Folders name each other by relative paths."""
    moved = tmp_path / "moved"
    folder.rename(moved)
    try:
        assert stages.folder_of(moved, "teacher") == moved / "teacher"
        assert loading.calibrated(moved / "teacher", workspace).temperature > 0
    finally:
        moved.rename(folder)
    with pytest.raises(RunError, match="is a teacher run and names no student"):
        stages.folder_of(folder / "teacher", "student")


def test_a_reward_without_targets_writes_lists_for_whole_training_sequences(workspace):
    train = workspace.split.train
    task = stages.list_task(
        workspace, weighted(["diversity"]), lambda histories: np.zeros(0), max_length=8
    )
    assert task.histories.items.tolist() == train.items.tolist()
    assert not task.targets.any()


def test_a_reward_with_targets_writes_lists_for_beginnings_and_the_event_that_followed(workspace):
    task = stages.list_task(
        workspace, weighted(["ndcg"]), lambda histories: np.zeros(0), max_length=8
    )
    with_surrogates = {
        (tuple(sequence[:stop]), sequence[stop])
        for sequence in (
            workspace.split.train[n].tolist() for n in range(len(workspace.split.train))
        )
        for stop in range(1, len(sequence))
    }
    pairs = zip(task.histories, task.targets.tolist(), strict=True)
    known = [(tuple(history.tolist()), target) for history, target in pairs if target]
    assert len(known) > 5
    assert set(known) <= with_surrogates


@pytest.mark.parametrize("rewards", [["diversity"], ["ndcg"], ["relevance=0.5", "ndcg=0.5"]])
def test_lists_are_written_for_the_events_that_are_held_back(rewards):
    """Whatever the reward reads: the last two of each training sequence, once each, after all that
    came before."""
    whole, workspace = bench_of().split.train, bench_of(hold_back=2)
    task = stages.list_task(
        workspace, weighted(rewards), lambda histories: np.zeros(0), max_length=8
    )
    expected = [
        (sequence[:place], sequence[place])
        for sequence in (whole[n].tolist() for n in range(len(whole)))
        for place in (len(sequence) - 2, len(sequence) - 1)
        if len(sequence) >= 4
    ]
    histories = [history.tolist() for history in task.histories]
    assert list(zip(histories, task.targets.tolist(), strict=True)) == expected


def test_a_whole_run_on_held_back_events_is_paid_by_both_signals(folder, tmp_path, monkeypatch):
    workspace, demonstrations = bench_of(hold_back=1, align={"accuracy": "mixed"}), []
    real = stages.greedy_demonstrations

    def spied(workspace, scorer, histories, rows, reward, ranges):
        demonstrations.append(histories)
        return real(workspace, scorer, histories, rows, reward, ranges)

    monkeypatch.setattr(stages, "greedy_demonstrations", spied)
    out = stages.align(workspace, ["diversity"], None, None, tmp_path / "all")
    content = read_json(out / "run.json")
    assert content["rewards"] == ["relevance=0.5", "ndcg=0.5", "diversity=0.3"]
    parts = [
        read_json(run / "run.json")["train_fingerprint"]
        for run in (out, out / "teacher", out / "student", out / "supervised_warmup")
    ]
    assert set(parts) == {workspace.split.train_fingerprint} != {bench_of().split.train_fingerprint}
    train = workspace.split.train
    seen = {
        tuple(train[n][:stop].tolist())
        for n in range(len(train))
        for stop in range(1, len(train[n]) + 1)
    }
    assert {
        tuple(history.tolist()) for history in demonstrations[0]
    } <= seen  # the supervised warm-up keeps to what is trained on
    with pytest.raises(
        RunError, match="all was made with hold_back=1, not 0: it may have seen events"
    ):
        stages.align(bench_of(), ["diversity"], folder / "teacher", out, tmp_path / "more")


def test_the_warm_start_learns_the_greedy_lists(workspace, folder, tmp_path):
    """More of the greedy re-ranker's items are in its lists than in those of the student it came
    from."""
    teacher, reward = (
        loading.calibrated(folder / "teacher", workspace),
        weighted(["relevance", "diversity=5"]),
    )
    wide = replace(
        workspace, settings=bench_of(align={"warmup_lists": 2000, "updates": 1}).settings
    )
    out = stages.supervised_warmup(
        wide, reward, folder / "teacher", folder / "student", tmp_path, {}
    )
    histories = workspace.split.valid.histories
    wanted = Reranked(
        teacher,
        partial(greedy, reward=reward),
        workspace.split.catalogue,
        candidates=12,
        probabilities=teacher.probabilities,
    )
    lists = wanted.recommend(histories, 4)

    def overlap(run):
        written = loading.open_recommender(run, workspace.device).recommend(histories, 4)
        return (written[:, :, None] == lists[:, None, :]).any(axis=2).mean()

    assert overlap(out) > overlap(folder / "student") + 0.05
    assert stages.folder_of(out, "student") == folder / "student"


def test_a_reward_that_raises_in_the_warm_start_is_named(workspace, folder, tmp_path):
    """The greedy re-ranker is the first to ask it; the answer is an error of the reward, not of the
    library."""
    (tmp_path / "mine.py").write_text("def boom(slates, context):\n    return {}[0]\n")
    specs = [f"{tmp_path / 'mine.py'}:boom=1"]
    with pytest.raises(
        RewardError,
        match=r"^supervised warm-up: reward 'boom' raised KeyError: 0 \(mine.py, line 2\) on ",
    ):
        stages.align(workspace, specs, folder / "teacher", folder / "student", tmp_path / "out")
    (tmp_path / "mine.py").write_text(
        "def boom(slates, context):\n    return slates * float('nan')\n"
    )
    with pytest.raises(
        RewardError,
        match=r"^supervised warm-up: reward 'boom' is nan for item \d+ at position 1 of list 0",
    ):
        stages.align(workspace, specs, folder / "teacher", folder / "student", tmp_path / "other")


def test_a_run_says_what_its_teacher_and_student_were_made_with(folder, tmp_path, capsys):
    """Settings that came too late change nothing, and are not written down as if they had."""
    wide = bench_of(
        teacher={"hidden_size": 32},
        student={"blocks": 2, "learning_rate": 0.5},
        align={"updates": 1},
    )
    out = stages.align(
        wide, ["diversity"], folder / "teacher", folder / "student", tmp_path / "out"
    )
    said = capsys.readouterr().err
    assert (
        f"{folder / 'teacher'} was made with other settings, so these change nothing:"
        " teacher.hidden_size=32\n" in said
    )
    assert (
        f"{folder / 'student'} was made with other settings, so these change nothing:"
        " student.blocks=2\n" in said
    )
    settings = read_json(out / "run.json")["settings"]
    assert (settings["teacher"]["hidden_size"], settings["student"]["blocks"]) == (8, 1)
    assert settings["student"]["learning_rate"] == 0.5  # which the supervised warm-up reads
    out = stages.align(wide, ["diversity"], folder / "teacher", None, tmp_path / "own")
    assert (
        capsys.readouterr().err.count("change nothing") == 1
    )  # not by the student and the alignment both
    assert read_json(out / "student" / "run.json")["settings"]["teacher"]["hidden_size"] == 8


def test_a_reward_file_that_has_changed_is_noticed(workspace, folder, tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text("def fresh(slates, context):\n    return slates * 0.5\n")
    quick = replace(workspace, settings=bench_of(align={"warmup_lists": 0, "updates": 1}).settings)
    out = stages.align(
        quick, [f"{mine}:fresh=1"], folder / "teacher", folder / "student", tmp_path / "out"
    )
    stages.require_same_files(out, read_json(out / "run.json")["rewards"])
    mine.write_text("def fresh(slates, context):\n    return slates * -0.5\n")
    with pytest.raises(
        RunError, match=r"out was aligned for another version of .*mine\.py, which has changed"
    ):
        compare(quick, out)
