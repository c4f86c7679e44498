"""A reward that reads when events happened: as metric, in both environments and for a re-ranker."""

from dataclasses import replace

import numpy as np
import pytest

from genrec.data import Catalogue, Sequences, make_catalogue
from genrec.envs import ListGenerationEnv, ListGenerationVectorEnv, ListTask
from genrec.metrics.context import Context, Floats, Slates
from genrec.metrics.ranking import measure
from genrec.rerankers import Pool, greedy, greedy_lookahead
from genrec.rewards import FunctionReward, WeightedSum, audit_reward, checked, require_times, reward

HOUR = 3600
GENRES = {
    "a": ["action"],
    "b": ["drama"],
    "c": ["action"],
    "d": ["drama"],
    "e": ["action"],
    "f": ["drama"],
}
# The first user went from action (1) to drama (2) long ago, the second from drama to action an hour
# and a second ago.
HISTORIES = Sequences.from_lists(
    [[1, 2], [2, 1], []], times=[[0, 9 * HOUR], [5 * HOUR, 6 * HOUR + 1], []]
)


@reward(needs={"times"})
def current(slates: Slates, context: Context) -> Floats:
    """Mean cosine with what the user took in the hour that ended with the newest event; weight 2 ^
    -(age in hours)."""
    histories, times = context.of_histories, context.of_times
    newest = np.zeros(len(histories), np.int64)
    np.maximum.at(newest, histories.rows(), times)
    age = (newest[histories.rows()] - times) / HOUR
    weight = np.where(age <= 1, 0.5**age, 0)[:, None] * context.catalogue.vectors[histories.items]
    taste = np.zeros((len(histories), context.catalogue.vectors.shape[1]))
    np.add.at(taste, histories.rows(), weight)
    return np.einsum("njd,nd->nj", context.catalogue.vectors[slates], taste[context.rows])


@reward
def last_gap(slates: Slates, context: Context) -> Floats:
    """Hours between the two newest events of each list's own history, for every item."""
    times = context.histories.padded_times(2, side="left")
    return np.repeat((times[:, 1:] - times[:, :1]) / HOUR, slates.shape[1], axis=1)


@pytest.fixture
def catalogue() -> Catalogue:
    return make_catalogue(list(GENRES), features=GENRES)


def task(catalogue: Catalogue, histories: Sequences = HISTORIES) -> ListTask:
    return ListTask(
        histories, np.zeros(3, int), catalogue, reward=WeightedSum(((current, 1.0),)), k=2
    )


def test_each_list_is_evaluated_with_the_times_of_its_own_history(catalogue):
    context = Context(HISTORIES, np.zeros(3, int), catalogue, 2)
    slates = np.array([[3, 4], [3, 4], [3, 4]])
    assert current(slates, context).tolist() == [[0, 1], [1, 0], [0, 0]]
    assert current(slates, context.take(np.array([1, 1, 0]))).tolist() == [[1, 0], [1, 0], [0, 1]]
    np.testing.assert_allclose(
        last_gap(slates, context.take(np.array([1, 0, 1])))[:, 0], [1 + 1 / HOUR, 9, 1 + 1 / HOUR]
    )
    assert measure(slates, context, {"current": checked(current)}).per_user[
        "current@2"
    ].tolist() == [1, 1, 0]
    assert audit_reward(
        current,
        np.array([[3, 5], [3, 4]]),
        Context(HISTORIES.take([0, 1]), np.zeros(2, int), catalogue, 2),
    ).passed


def test_in_both_environments(catalogue):
    envs = ListGenerationVectorEnv(task(catalogue), num_envs=4, group_size=2)
    _, infos = envs.reset(options={"cases": [1, 0]})
    assert infos["histories"].times.tolist() == [5 * HOUR, 6 * HOUR + 1, 0, 9 * HOUR]
    assert envs.step(np.array([3, 4, 3, 4]))[1].tolist() == [1, 0, 0, 1]
    assert envs.step(np.array([4, 3, 4, 3]))[1].tolist() == [0, 1, 1, 0]
    env = ListGenerationEnv(task(catalogue))
    env.reset(options={"case": 0})
    assert [env.step(item)[1] for item in (3, 4)] == [0, 1]


@pytest.mark.parametrize(
    ("rerank", "lists"),
    [
        (greedy, [[4, 6], [3, 5], [3, 4]]),
        (greedy_lookahead, [[3, 4], [5, 3], [3, 4]]),
    ],  # the second completes with Top-K
)
def test_in_a_reranker(catalogue, rerank, lists):
    context = Context(HISTORIES, np.zeros(3, int), catalogue, 2)
    pool = Pool(np.tile([3, 4, 5, 6], (3, 1)), np.tile([4.0, 3.0, 2.0, 1.0], (3, 1)), context)
    assert rerank(pool, 2, current).tolist() == lists
    unknown = replace(pool, context=replace(context, of_histories=replace(HISTORIES, times=None)))
    with pytest.raises(ValueError, match="reward current needs to know when events happened"):
        rerank(unknown, 2, current)


def test_a_log_without_times_is_refused_before_anything_runs(catalogue):
    untimed = replace(HISTORIES, times=None)
    with pytest.raises(
        ValueError,
        match="reward current needs to know when events happened, and this log has no time",
    ):
        task(catalogue, untimed)
    with pytest.raises(ValueError, match=r"reward even\+0.5\*current needs to know"):
        require_times(
            WeightedSum(((FunctionReward(lambda s, c: s % 2, "even"), 1.0), (current, 0.5))),
            untimed,
        )
    require_times(FunctionReward(lambda s, c: s % 2, "even"), untimed)
    with pytest.raises(ValueError, match="times of these histories' events are unknown"):
        Context(untimed, np.zeros(3, int), catalogue, 2).of_times  # noqa: B018
