"""Which lists a policy writes while it is aligned."""

from dataclasses import replace

import numpy as np
import pytest

from genrec.pipeline.list_tasks import list_task
from genrec.rewards import weighted


def test_histories_that_leave_no_room_are_not_asked_for_lists(workspace):
    """With k = 50 of 60 items, a user of more than 10 items cannot have a list."""
    wide = replace(workspace, settings=workspace.settings.model_copy(update={"k": 50}))
    task = list_task(
        wide, weighted(["diversity"]), probabilities=lambda histories: np.zeros(0), max_length=8
    )
    assert 0 < len(task) < 16
    assert task.histories.distinct().max() <= 10


def test_a_reward_without_targets_writes_lists_for_whole_training_sequences(workspace):
    train = workspace.split.train
    task = list_task(
        workspace,
        weighted(["diversity"]),
        probabilities=lambda histories: np.zeros(0),
        max_length=8,
    )
    assert task.histories.items.tolist() == train.items.tolist()
    assert not task.targets.any()


def test_a_reward_with_targets_writes_lists_for_beginnings_and_the_event_that_followed(workspace):
    task = list_task(
        workspace, weighted(["ndcg"]), probabilities=lambda histories: np.zeros(0), max_length=8
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
def test_lists_are_written_for_the_events_that_are_held_back(make_workspace, rewards):
    """Whatever the reward reads: the last two of each training sequence, once each, after all that
    came before."""
    whole, workspace = make_workspace().split.train, make_workspace(hold_back=2)
    task = list_task(
        workspace, weighted(rewards), probabilities=lambda histories: np.zeros(0), max_length=8
    )
    expected = [
        (sequence[:place], sequence[place])
        for sequence in (whole[n].tolist() for n in range(len(whole)))
        for place in (len(sequence) - 2, len(sequence) - 1)
        if len(sequence) >= 4
    ]
    histories = [history.tolist() for history in task.histories]
    assert list(zip(histories, task.targets.tolist(), strict=True)) == expected
