"""Lists of a finished run for raw ids: who and what is known, and that a log gives what single
histories do."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from genrec.data import Dataset, Sequences, make_catalogue
from genrec.data.splits import leave_one_out
from genrec.data.synthetic import demo
from genrec.pipeline import stages
from genrec.pipeline.loading import open_recommender
from genrec.pipeline.recommend import ItemIndex, recommend_titles, recommend_users, user_histories
from genrec.pipeline.settings import settings_of
from genrec.pipeline.workspace import Workspace

CPU = torch.device("cpu")


def teacher(directory: Path, **settings: object) -> Path:
    """A teacher of a log of 60 items, item-0001 to item-0060."""
    chosen = settings_of({"k": 4, "teacher": settings})
    split = leave_one_out(demo(num_users=100, num_items=60, seed=1))
    stages.train_teacher(Workspace(chosen, split, CPU, quiet=True), directory)
    return directory


@pytest.fixture(scope="module")
def chain(tmp_path_factory) -> Path:
    return teacher(tmp_path_factory.mktemp("chain"), recipe="markov")


def a_log(*histories: str, times: list[list[int]] | None = None) -> Dataset:
    """Users a, b, ... with histories such as "item-0003 item-0009"; its catalogue has an order of
    its own."""
    ids = sorted({raw for history in histories for raw in history.split()}, reverse=True)
    index = {raw: i for i, raw in enumerate(ids, start=1)}
    sequences = Sequences.from_lists(
        [[index[raw] for raw in history.split()] for history in histories]
    )
    moments = None if times is None else np.concatenate(times).astype(np.int64)
    return Dataset(
        name="today.csv",
        users=np.array(list("abcd"[: len(histories)])),
        sequences=sequences,
        timestamps=moments,
        catalogue=make_catalogue(ids),
    )


def test_what_a_run_does_not_know_is_left_out_and_counted(chain):
    log = a_log(
        "item-0003 new item-0009", "new newer", "item-0001", times=[[10, 20, 30], [1, 2], [7]]
    )
    asked = user_histories(chain, log)
    assert asked.users.tolist() == ["a", "c"]
    index = ItemIndex.of(chain).indices()
    wanted = [[index["item-0003"], index["item-0009"]], [index["item-0001"]]]
    assert [row.tolist() for row in (asked.histories[0], asked.histories[1])] == wanted
    assert asked.histories.times.tolist() == [10, 30, 7]
    assert (asked.unknown_events, asked.unknown_users) == (3, 1)


def test_a_log_of_strangers_is_refused(chain):
    with pytest.raises(
        ValueError,
        match=r"no user of today.csv has an item that .* knows: the run has ids such as item-",
    ):
        user_histories(chain, a_log("new newer", "newest"))


def test_every_user_gets_the_list_of_the_single_history(chain, monkeypatch):
    histories = ["item-0003 item-0009", "item-0001", "item-0044 item-0001 item-0009"]
    monkeypatch.setattr("genrec.pipeline.recommend.USERS_AT_ONCE", 2)  # the last one comes alone
    lists = dict(recommend_users(chain, user_histories(chain, a_log(*histories)), 4, device=CPU))
    assert list(lists) == ["a", "b", "c"]
    for user, history in zip("abc", histories, strict=True):
        assert lists[user] == recommend_titles(chain, history.split(), 4, device=CPU)
        assert len({raw for raw, _ in lists[user]} | set(history.split())) == 4 + len(
            history.split()
        )
    assert lists["a"] != lists["b"]


def test_times_of_a_log_reach_a_scorer_that_reads_them(tmp_path):
    run = teacher(
        tmp_path / "timed",
        recipe="tisasrec",
        hidden_size=8,
        backbone={"blocks": 1},
        max_length=8,
        epochs=1,
        evaluate_every=1,
    )
    log = a_log("item-0003 item-0009 item-0044", times=[[0, 50, 1_000_000]])
    asked = user_histories(run, log)
    (found,) = recommend_users(run, asked, 4, device=CPU)
    slate = open_recommender(run, CPU).recommend(asked.histories, 4)[0]
    assert found == ("a", ItemIndex.of(run).titled(slate))
    untimed = replace(asked, histories=replace(asked.histories, times=None))
    with pytest.raises(ValueError, match="time"):
        list(recommend_users(run, untimed, 4, device=CPU))
