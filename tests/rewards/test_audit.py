"""The audit finds every violation of the contract, names a list, and passes what keeps it."""

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from genrec.data import Cases, Sequences, make_catalogue
from genrec.metrics.context import Context, read_only
from genrec.rewards import (
    FunctionReward,
    Reward,
    WeightedSum,
    audit_reward,
    available,
    resolve,
    sample_lists,
    telescoped,
    terminal,
)
from genrec.rewards.audit import MEANING
from genrec.rewards.check import RewardError

V, K = 20, 4
PROBABILITIES = np.arange(V + 1) / np.arange(V + 1).sum()


def cases(lists: list[list[int]], targets: list[int]) -> Cases:
    return Cases(Sequences.from_lists(lists), np.array(targets, np.int32), np.arange(len(lists)))


def world(count: int = 40) -> tuple[np.ndarray, Context]:
    names = [str(i) for i in range(1, V + 1)]
    features = {name: [f"genre {int(name) % 3}"] for name in names}
    catalogue = replace(make_catalogue(names, features=features), counts=np.arange(V + 1))
    found = cases([[1], [2, 3], [], [4, 5, 6, 7]], [8, 9, 10, 11])
    found = replace(found, histories=replace(found.histories, times=60 * np.arange(7)))
    return sample_lists(
        found,
        catalogue,
        k=K,
        count=count,
        probabilities=lambda histories: np.tile(PROBABILITIES, (len(histories), 1)),
    )


def function(gains: Callable[..., object]) -> FunctionReward:
    return FunctionReward(gains, "mine")  # type: ignore[arg-type]


GOOD: list[Reward] = [
    *(resolve(entry.name) for entry in available() if entry.origin == "built-in"),
    terminal(lambda slates, context: slates.max(axis=1), "terminal"),
    telescoped(lambda slates, context: slates.max(axis=1), "telescoped"),
    WeightedSum(((resolve("diversity"), 2.0), (resolve("ndcg"), -1.0))),
    function(lambda slates, context: slates % 2 == 0),
    function(lambda slates, context: slates * context.progress),
    function(lambda slates, context: [[float(item) for item in row] for row in slates]),
]


@pytest.mark.parametrize("reward", GOOD, ids=lambda reward: reward.name)
def test_what_keeps_the_contract_passes(reward):
    found = audit_reward(reward, *world())
    assert [
        (finding.check, finding.message) for finding in found.findings if not finding.passed
    ] == []
    assert [finding.check for finding in found.findings] == list(MEANING)
    assert found.totals.shape == (40,)
    assert found.milliseconds > 0


def raises_on_7(slates, context):
    if (slates == 7).any():
        raise KeyError("seven")
    return slates * 1.0


def writes_into_the_catalogue(slates, context):
    context.catalogue.counts[:] = 0
    return slates * 1.0


def writes_into_the_profiles(slates, context):
    profiles = context.of_profiles
    profiles += 1
    return slates * 1.0


def writes_through_torch(slates, context):
    torch.from_numpy(context.catalogue.counts)[1] += 1
    return slates * 1.0


def leaves(slates, context):
    raise SystemExit(3)


def writes_into_the_lists(slates, context):
    slates.sort(axis=1)
    return slates * 1.0


def writes_into_the_probabilities(slates, context):
    context.of_probabilities[:] = 0.5
    return slates * 1.0


def divides_the_popularity_in_place(slates, context):
    popularity = context.catalogue.popularity
    popularity /= popularity.max()
    return popularity[slates]


def forgets_that_there_may_be_one_list(slates, context):
    return slates[0] * 1.0 if len(slates) == 1 else slates * 1.0


def looks_back(slates, context):
    return np.full(slates.shape, context.histories.times.max() * 1.0)


class Mistaken(Reward):
    def __call__(self, slates, context):
        return slates * 1.0

    def marginal(self, slates, candidates, context):
        return candidates * (1.0 if slates.shape[1] < 2 else 2.0)


DICE = np.random.default_rng(0)
BAD = [
    (
        function(raises_on_7),
        "runs",
        r"'mine' raised KeyError: 'seven' \(test_audit.py, line \d+\) on list \d+: .*7",
    ),
    (
        function(lambda slates, context: slates.sum(axis=1)),
        "shape",
        r"returned shape \(40,\), not .*\(40, 4\)",
    ),
    (function(lambda slates, context: slates[:, :1] * 1.0), "shape", r"\(40, 1\)"),
    (function(lambda slates, context: slates.astype(str)), "dtype", "<U21 values, not numbers"),
    (
        function(lambda slates, context: np.where(slates == 7, np.nan, 1)),
        "finite",
        "'mine' is nan at position",
    ),
    (function(lambda slates, context: slates / max(context.progress, 1e-320)), "finite", "is inf"),
    (
        function(writes_into_the_lists),
        "inputs",
        r"writes into the lists or the context that it is given \(test_audit\.py, line \d+\): copy",
    ),
    (
        function(writes_into_the_catalogue),
        "inputs",
        r"writes into the lists or the context .* \(test_audit\.py, line \d+\): copy them",
    ),
    (function(writes_into_the_profiles), "inputs", r"writes into .* copy them first"),
    (function(writes_through_torch), "inputs", "modifies the catalogue"),
    (
        function(lambda slates, context: DICE.random(slates.shape)),
        "deterministic",
        "position 1 earns .* in one call and .* in the next",
    ),
    (
        function(lambda slates, context: slates / slates.sum(axis=1, keepdims=True)),
        "causal",
        "ends after position 1",
    ),
    (
        function(lambda slates, context: slates / slates.shape[1]),
        "causal",
        "if the list ends after position 1",
    ),
    (
        function(lambda slates, context: slates * (context.k == slates.shape[1])),
        "causal",
        "ends after position 1",
    ),
    (
        function(lambda slates, context: slates - slates.mean(axis=0)),
        "independent",
        "together with these lists and .* others",
    ),
    (
        function(writes_into_the_probabilities),
        "inputs",
        r"writes into .* \(test_audit\.py, line \d+\): copy them first",
    ),
    (function(divides_the_popularity_in_place), "inputs", "writes into .* copy them first"),
    (
        function(lambda slates, context: np.full(slates.shape, 0.05)),
        "varies",
        r"all \d+ lists earn 0\.\d+: nothing can be learnt from it. Does it know these items",
    ),
    (function(leaves), "runs", "raised SystemExit: 3"),
    (
        function(forgets_that_there_may_be_one_list),
        "shape",
        r"returned shape \(4,\), not .*\(1, 4\)",
    ),
    (
        function(lambda slates, context: slates * (1 + (1 - context.progress) * DICE.random())),
        "deterministic",
        "earns .* in one call",
    ),
    (
        function(
            lambda slates, context: (
                slates / slates.max(axis=1, keepdims=True) ** (1 - context.progress)
            )
        ),
        "causal",
        "ends after position 1, halfway through a training",
    ),
    (
        function(lambda slates, context: slates == context.targets[:, None]),
        "needs",
        r"earns 1, and 0 if targets are unknown: declare needs=\{'targets'\}",
    ),
    (
        function(looks_back),
        "needs",
        r"it reads times: declare needs=\{'times'\}; without them, reward 'mine' raised",
    ),
    (
        Mistaken(),
        "marginal",
        r"position 3 earns (\d+) as item 3 of the list, but marginal\(\) returns",
    ),
]


@pytest.mark.filterwarnings("ignore:overflow", "ignore:divide", "ignore:The given NumPy")
@pytest.mark.parametrize(("reward", "check", "message"), BAD)
def test_what_breaks_it_is_found_and_shown(reward, check, message):
    slates, context = world()
    found = audit_reward(reward, slates, context)
    assert not found.passed
    failed = {finding.check: finding for finding in found.findings if finding.passed is False}
    # A reward that is wrong in another way may also earn the same for all lists.
    assert failed.keys() - {"varies"} == {check} - {"varies"}
    wrong = failed[check]
    assert np.any(
        [finding.passed for finding in found.findings[: list(MEANING).index(check)]] or [True]
    )
    assert re.search(message, wrong.message)
    if (
        check not in ("shape", "dtype", "varies")
        and "copy" not in message
        and "catalogue" not in message
        and "without them" not in message
    ):
        assert list(wrong.slate) in slates.tolist()
        if "7" in message:
            assert 7 in wrong.slate


def test_what_was_not_tried_is_not_called_right():
    found = audit_reward(function(lambda slates, context: slates[:, 0]), *world())
    verdicts = {finding.check: finding.passed for finding in found.findings}
    assert (verdicts["runs"], verdicts["shape"], verdicts["finite"], verdicts["causal"]) == (
        True,
        False,
        None,
        None,
    )
    assert np.isnan(found.milliseconds)


def test_an_error_of_all_lists_together_blames_none():
    def together(slates, context):
        if len(slates) > 1:
            raise RuntimeError("one at a time")
        return slates * 1.0

    found = audit_reward(function(together), *world())
    assert found.findings[0].slate == ()
    assert "on 40 lists together, list 0: [" in found.findings[0].message


class TestSample:
    def test_lists_are_valid_and_half_of_them_may_hit(self):
        slates, context = world(80)
        assert slates.shape == (80, K)
        assert all(len(set(row)) == K for row in slates.tolist())
        assert slates.min() >= 1
        assert not any(
            set(row) & set(context.histories[i].tolist()) for i, row in enumerate(slates.tolist())
        )
        hits = (slates == context.targets[:, None]).any(axis=1)
        assert hits[::2].all()
        assert not hits[1::2].all()
        assert np.unique(np.argwhere(slates[::2] == context.targets[::2, None])[:, 1]).tolist() == [
            0,
            1,
            2,
            3,
        ]

    def test_a_seen_target_is_not_planted(self):
        slates, context = sample_lists(cases([[1, 2]], [2]), world()[1].catalogue, k=K, count=10)
        assert not (slates == 2).any()
        assert len(context) == 10

    def test_the_seed_decides(self):
        assert world()[0].tolist() == world()[0].tolist()

    def test_no_room(self):
        with pytest.raises(ValueError, match="no case leaves 4 of 20 items"):
            sample_lists(cases([list(range(1, 19))], [20]), world()[1].catalogue, k=K, count=10)


def test_what_a_reward_prints_is_no_part_of_the_answer(capsys):
    def loud(slates, context):
        print("debug")
        return (slates % 2 == 0) / context.k

    assert audit_reward(function(loud), *world()).passed
    assert capsys.readouterr().out == ""

    def broken(slates, context):
        print("debug")
        raise KeyError("oops")

    assert not audit_reward(function(broken), *world()).passed
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "gains",
    [
        lambda slates, context: (1 - context.progress) * (slates % 2),  # only early in a training
        lambda slates, context: (slates == 20) / context.k,  # for an item that no list has
        lambda slates, context: slates * 1e-12,
    ],
)
def test_a_reward_that_is_seldom_paid_or_small_varies(gains):
    slates, context = world()
    rows = np.flatnonzero((slates != 20).all(axis=1))
    assert audit_reward(function(gains), slates[rows], context.take(rows)).passed


def test_rounding_is_no_difference():
    def centred(slates, context):
        return np.tile([0.1, 0.2, -0.3, 1e-17], (len(slates), 1))[:, : slates.shape[1]] * slates**0

    wrong = audit_reward(function(centred), *world()).findings[-1]
    assert (wrong.check, wrong.passed) == ("varies", False)


@pytest.mark.parametrize("calls", range(0, 43, 6))
def test_a_reward_that_exits_in_any_call_is_named(calls: int):
    left = iter(range(calls))

    def leaves_later(slates, context):
        if next(left, None) is None:
            raise SystemExit(0)
        return slates * 1.0

    try:
        found = audit_reward(function(leaves_later), *world()).findings[0].message
    except RewardError as error:
        found = str(error)
    assert re.search("reward 'mine' raised SystemExit: 0", found)


def test_a_context_stays_writeable_for_its_owner_and_shares_its_numbers():
    _, context = world()
    given = read_only(context)
    assert not any(array.flags.writeable for array in given.shared)
    assert all(array.flags.writeable for array in context.shared)
    assert all(map(np.array_equal, given.shared, context.shared))
    assert given.catalogue is read_only(given).catalogue is read_only(context).catalogue
    assert given.derived is context.derived
