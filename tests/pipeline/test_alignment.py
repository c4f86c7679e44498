"""Alignments: their parts, their warm-up, and what they refuse."""

from dataclasses import replace
from functools import partial

import pytest

from genrec.config.errors import GenrecError, RunError
from genrec.evaluation.comparison import compare
from genrec.pipeline import loading, provenance, stages, warmup
from genrec.rerankers import Reranked, greedy
from genrec.rewards import RewardError, parse_rewards, reward
from genrec.training.run_directory import read_json


@pytest.mark.parametrize(
    ("rewards", "changes", "differs"),
    [
        (["novelty"], {}, "rewards"),
        (["diversity=0.4"], {}, "rewards"),
        (["diversity"], {"align": {"kl": 0.3}}, "align"),
    ],
)
def test_other_settings_are_refused(make_workspace, run, rewards, changes, differs):
    with pytest.raises(
        RunError, match=f"holds a finished run that differs in {differs}: choose another directory"
    ):
        stages.align(
            make_workspace(**changes),
            rewards,
            teacher=run / "teacher",
            student=run / "student",
            out=run,
        )


def test_other_data_is_refused(make_workspace, run, tmp_path):
    other = make_workspace(seed=2)
    with pytest.raises(
        RunError, match=r"teacher was made on demo \(fingerprint .*give the dataset it was made"
    ):
        stages.train_student(other, run / "teacher", tmp_path / "student")
    with pytest.raises(RunError, match="fingerprint"):
        stages.align(
            other,
            ["diversity"],
            teacher=run / "teacher",
            student=run / "student",
            out=tmp_path / "aligned",
        )
    with pytest.raises(RunError, match="differs in fingerprint"):
        stages.train_teacher(other, run / "teacher")
    assert list(tmp_path.iterdir()) == []


def test_another_split_is_refused(workspace, run, tmp_path):
    other = replace(
        workspace, settings=workspace.settings.model_copy(update={"split": "global-time"})
    )
    with pytest.raises(RunError, match="was made on the leave-one-out split, not global-time"):
        stages.train_student(other, run / "teacher", tmp_path)


def test_the_wrong_kind_of_run_is_refused(workspace, run, tmp_path):
    with pytest.raises(RunError, match="student is a student run; a teacher run is needed here"):
        stages.train_student(workspace, run / "student", tmp_path)
    with pytest.raises(RunError, match="a student or aligned run is needed here"):
        stages.align(
            workspace,
            ["diversity"],
            teacher=run / "teacher",
            student=run / "teacher",
            out=tmp_path,
        )


def test_an_aligned_run_can_be_aligned_further(workspace, run, tmp_path):
    out = stages.align(workspace, ["novelty"], student=run, out=tmp_path / "more")
    content = read_json(out / "run.json")
    assert provenance.parent_run(out, "student") == run
    assert provenance.parent_run(out, "teacher") == run / "teacher"
    assert content["rewards"] == ["relevance=1", "novelty=0.3"]


def test_a_moved_run_still_finds_its_parts(workspace, run, tmp_path):
    """Folders name each other by relative paths."""
    moved = tmp_path / "elsewhere"
    run.rename(moved)
    try:
        assert provenance.parent_run(moved, "teacher") == moved / "teacher"
        assert loading.calibrated(moved / "teacher", workspace).temperature > 0
    finally:
        moved.rename(run)
    with pytest.raises(RunError, match="is a teacher run and names no student"):
        provenance.parent_run(run / "teacher", "student")


def test_a_whole_run_on_held_back_events_is_paid_by_both_signals(
    make_workspace, run, tmp_path, monkeypatch
):
    workspace, demonstrations = make_workspace(hold_back=1, align={"accuracy": "mixed"}), []
    real = warmup.greedy_demonstrations

    def spied(workspace, scorer, histories, rows, objective):
        demonstrations.append(histories)
        return real(workspace, scorer, histories, rows, objective)

    monkeypatch.setattr(warmup, "greedy_demonstrations", spied)
    out = stages.align(workspace, ["diversity"], out=tmp_path / "all")
    content = read_json(out / "run.json")
    assert content["rewards"] == ["relevance=0.5", "ndcg=0.5", "diversity=0.3"]
    parts = [
        read_json(run / "run.json")["train_fingerprint"]
        for run in (out, out / "teacher", out / "student", out / "supervised_warmup")
    ]
    assert (
        set(parts)
        == {workspace.split.train_fingerprint}
        != {make_workspace().split.train_fingerprint}
    )
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
        stages.align(
            make_workspace(),
            ["diversity"],
            teacher=run / "teacher",
            student=out,
            out=tmp_path / "more",
        )


def test_the_supervised_warmup_learns_the_greedy_lists(make_workspace, workspace, run, tmp_path):
    """More of the greedy re-ranker's items are in its lists than in those of the student it came
    from."""
    teacher = loading.calibrated(run / "teacher", workspace)
    objective = parse_rewards(["relevance", "diversity=5"])
    wide = replace(
        workspace, settings=make_workspace(align={"warmup_lists": 2000, "updates": 1}).settings
    )
    out = warmup.supervised_warmup(
        wide,
        objective,
        teacher=run / "teacher",
        student=run / "student",
        out=tmp_path,
        origin={},
    )
    histories = workspace.split.valid.histories
    wanted = Reranked(
        teacher,
        partial(greedy, reward=objective.reward),
        workspace.split.catalogue,
        candidates=12,
        probabilities=teacher.probabilities,
    )
    lists = wanted.recommend(histories, 4)

    def overlap(run):
        written = loading.open_recommender(run, workspace.device).recommend(histories, 4)
        return (written[:, :, None] == lists[:, None, :]).any(axis=2).mean()

    assert overlap(out) > overlap(run / "student") + 0.05
    assert provenance.parent_run(out, "student") == run / "student"


def test_a_reward_that_raises_in_the_supervised_warmup_is_named(workspace, run, tmp_path):
    """The greedy re-ranker is the first to ask it; the answer is an error of the reward, not of the
    library."""
    (tmp_path / "mine.py").write_text("def boom(slates, context):\n    return {}[0]\n")
    specs = [f"{tmp_path / 'mine.py'}:boom=1"]
    with pytest.raises(
        RewardError,
        match=r"^supervised warm-up: reward 'boom' raised KeyError: 0 \(mine.py, line 2\) on ",
    ):
        stages.align(
            workspace,
            specs,
            teacher=run / "teacher",
            student=run / "student",
            out=tmp_path / "out",
        )
    (tmp_path / "mine.py").write_text(
        "def boom(slates, context):\n    return slates * float('nan')\n"
    )
    with pytest.raises(
        RewardError,
        match=r"^supervised warm-up: reward 'boom' is nan for item \d+ at position 1 of list 0",
    ):
        stages.align(
            workspace,
            specs,
            teacher=run / "teacher",
            student=run / "student",
            out=tmp_path / "other",
        )


def test_a_run_keeps_the_settings_of_its_teacher_and_student(make_workspace, run, tmp_path, caplog):
    """Settings that come too late are ignored, reported, and not written down."""
    late = make_workspace(
        teacher={"hidden_size": 32},
        student={"blocks": 2, "learning_rate": 0.5},
        align={"updates": 1},
    )
    teacher, student = run / "teacher", run / "student"
    out = stages.align(late, ["diversity"], teacher=teacher, student=student, out=tmp_path / "out")
    ignored = "was made with other settings, which cannot be changed: ignored"
    assert caplog.messages == [
        f"{teacher} {ignored} teacher.hidden_size=32",
        f"{student} {ignored} student.blocks=2",
    ]
    settings = read_json(out / "run.json")["settings"]
    assert (settings["teacher"]["hidden_size"], settings["student"]["blocks"]) == (8, 1)
    assert settings["student"]["learning_rate"] == 0.5  # which the supervised warm-up reads
    caplog.clear()
    out = stages.align(late, ["diversity"], teacher=teacher, out=tmp_path / "own")
    # not reported again by the student that is made on the way
    assert caplog.messages == [f"{teacher} {ignored} teacher.hidden_size=32"]
    assert read_json(out / "student" / "run.json")["settings"]["teacher"]["hidden_size"] == 8


def test_a_reward_file_that_has_changed_is_noticed(make_workspace, workspace, run, tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text("def fresh(slates, context):\n    return slates * 0.5\n")
    quick = replace(
        workspace, settings=make_workspace(align={"warmup_lists": 0, "updates": 1}).settings
    )
    out = stages.align(
        quick,
        [f"{mine}:fresh=1"],
        teacher=run / "teacher",
        student=run / "student",
        out=tmp_path / "out",
    )
    stages.require_same_files(out, read_json(out / "run.json")["rewards"])
    mine.write_text("def fresh(slates, context):\n    return slates * -0.5\n")
    with pytest.raises(
        RunError, match=r"out was aligned for another version of .*mine\.py, which has changed"
    ):
        compare(quick, out)


def test_rewards_are_functions_too(workspace, run, make_workspace, tmp_path):
    settings = make_workspace(align={"warmup_lists": 0, "updates": 1}).settings
    quick, out = replace(workspace, settings=settings), tmp_path / "even"

    @reward
    def local(slates, context):
        """Items of an even number; a function inside a function cannot be found again."""
        return (slates % 2 == 0) / context.k

    stages.align(quick, [(local, 0.7), "diversity=0.2"], student=run / "student", out=out)
    content = read_json(out / "run.json")
    assert content["rewards"] == ["relevance=1", "local=0.7", "diversity=0.2"]
    assert 0 < content["val"]["local@4"] < 1
    with pytest.raises(GenrecError, match="give that object again"):
        compare(quick, out, users=10)
    assert compare(quick, out, users=10, rewards=[local]).weights == {
        "relevance": 1,
        "local": 0.7,
        "diversity": 0.2,
    }
