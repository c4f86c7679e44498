"""Rewards are found by name, entry point, module and file; a broken plugin breaks nothing but
itself."""

import pickle
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

from genrec.config import components
from genrec.data import Sequences, make_catalogue
from genrec.metrics.context import Context
from genrec.rewards import (
    Diversity,
    FunctionReward,
    Ndcg,
    RewardError,
    WeightedSum,
    available,
    checked,
    locate_errors,
    parse_rewards,
    resolve,
    reward,
    weighted,
)

PLUGIN = '''
from dataclasses import dataclass

import numpy as np

from genrec.rewards import Reward, reward


@reward
def fresh(slates, context):
    """Even items are fresh.

    More words.
    """
    return (slates % 2 == 0) * 1.0


@reward(name="shown-as", needs={"probabilities"})
def other(slates, context):
    return context.probability(slates)


def plain(slates, context):
    return slates * 0.5


@dataclass(frozen=True)
class Scaled(Reward):
    """Scale times item."""

    scale: float = 2.0

    def __call__(self, slates, context):
        return slates * self.scale


@dataclass(frozen=True)
class Required(Reward):
    scale: float

    def __call__(self, slates, context):
        return slates * self.scale


half = Required(0.5)
number = 3
'''


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "my_rewards.py").write_text(PLUGIN)
    (tmp_path / "broken_rewards.py").write_text("import a_module_that_is_not_there\n")
    monkeypatch.delitem(sys.modules, "my_rewards", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return "./my_rewards.py"


@pytest.fixture
def plugged(plugin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    targets = [
        ("broken", "broken_rewards:anything"),
        ("diversity", "my_rewards:fresh"),
        ("fresh", "my_rewards:fresh"),
        ("fresh", "my_rewards:plain"),
        ("not-a-reward", "my_rewards:number"),
    ]
    points = [EntryPoint(name, target, "genrec.rewards") for name, target in targets]
    monkeypatch.setattr(
        components, "entry_points", lambda group: [p for p in points if p.group == group]
    )


def context(k: int = 2) -> Context:
    return Context(Sequences.from_lists([[]]), np.array([0]), make_catalogue(["a", "b", "c"]), k)


def test_built_in_names() -> None:
    assert [entry.name for entry in available()][:5] == [
        "ndcg",
        "relevance",
        "diversity",
        "novelty",
        "popularity",
    ]
    assert resolve("ndcg") == Ndcg()


def test_every_row_says_what_it_is() -> None:
    ndcg, relevance = available()[:2]
    assert (ndcg.origin, ndcg.needs, ndcg.error) == ("built-in", {"targets"}, None)
    assert relevance.needs == {"probabilities"}
    assert ndcg.summary.startswith("NDCG with one relevant item")


def test_unknown_name_lists_the_names_and_the_close_match() -> None:
    with pytest.raises(
        ValueError,
        match=r"Did you mean 'diversity'\? Known: diversity, genre_calibration, ndcg, novelty, pop",
    ):
        resolve("diversty")
    with pytest.raises(ValueError, match=r"unknown reward 'xyzzy'\. Known"):
        resolve("xyzzy")


@pytest.mark.parametrize(
    ("attribute", "name", "gains"),
    [
        ("fresh", "fresh", [0, 1]),
        ("plain", "plain", [0.5, 1]),
        ("Scaled", "scaled", [2, 4]),
        ("half", "required", [0.5, 1]),
    ],
)
@pytest.mark.parametrize("place", ["./my_rewards.py", "my_rewards"])
def test_attribute_of_a_file_or_module(
    plugin: str, place: str, attribute: str, name: str, gains: list[float]
) -> None:
    found = resolve(f"{place}:{attribute}")
    assert found.name == name
    assert found(np.array([[1, 2]]), context()).tolist() == [gains]


def test_decorator_with_arguments(plugin: str) -> None:
    found = resolve(f"{plugin}:other")
    assert (found.name, found.needs) == ("shown-as", {"probabilities"})


def test_decorator_refuses_an_unknown_need() -> None:
    with pytest.raises(
        ValueError, match=r"unknown needs \['teacher'\].*'probabilities', 'targets'"
    ):
        reward(needs={"teacher"})


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("./my_rewards.py:Required", "Required needs scale; give an instance"),
        ("./my_rewards.py:number", "is a int, not a Reward"),
        ("./my_rewards.py:np", "is a module, not a Reward"),
        ("./my_rewards.py:missing", "has no reward 'missing'; give one of fresh, other, half"),
        ("./my_rewards.py", "has no reward ''; give one of fresh"),
        ("./nowhere.py:x", "nowhere.py does not exist"),
        ("./broken_rewards.py:x", "cannot be run: ModuleNotFoundError"),
        ("no_such_module:x", "cannot import 'no_such_module'"),
    ],
)
def test_what_is_wrong_is_said(plugin: str, target: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        resolve(target)


def test_entry_points_are_found_and_broken_ones_are_isolated(plugged: None) -> None:
    rows = {(entry.name, entry.origin): entry for entry in available()}
    assert rows["fresh", "my_rewards:fresh"].summary == "Even items are fresh."
    assert rows["fresh", "my_rewards:fresh"].error is None
    assert "a_module_that_is_not_there" in str(rows["broken", "broken_rewards:anything"].error)
    assert rows["diversity", "my_rewards:fresh"].error == "the name is taken by built-in"
    assert rows["fresh", "my_rewards:plain"].error == "the name is taken by my_rewards:fresh"
    assert "not a Reward" in str(rows["not-a-reward", "my_rewards:number"].error)
    assert resolve("diversity") == Diversity()
    assert resolve("fresh")(np.array([[1, 2]]), context()).tolist() == [[0, 1]]
    with pytest.raises(
        ValueError, match="reward 'broken' of broken_rewards:anything cannot be loaded"
    ):
        resolve("broken")


def test_an_unknown_name_tells_which_plugins_are_left_out(plugged: None) -> None:
    with pytest.raises(
        ValueError, match=r"Left out: reward 'broken' of broken_rewards:anything cannot be loaded"
    ):
        resolve("frsh")


@pytest.mark.parametrize(
    ("spec", "name", "weight"),
    [
        ("diversity", "diversity", 1),
        ("diversity=0.5", "diversity", 0.5),
        ("ndcg=-2e-1", "ndcg", -0.2),
        ("./my_rewards.py:fresh=0.3", "fresh", 0.3),
        ("./my_rewards.py:fresh", "fresh", 1),
    ],
)
def test_parse(plugin: str, spec: str, name: str, weight: float) -> None:
    (term,) = parse_rewards(spec).terms
    assert (term.name, term.weight) == (name, weight)


def test_a_folder_may_have_an_equals_sign(plugin: str, tmp_path: Path) -> None:
    (tmp_path / "a=1").mkdir()
    (tmp_path / "a=1" / "r.py").write_text(PLUGIN)
    assert weighted(["a=1/r.py:fresh=2"]).name == "2*fresh"
    assert weighted(["a=1/r.py:fresh"]).name == "fresh"


@pytest.mark.parametrize("text", ["", "high", "nan", "inf"])
def test_a_weight_must_be_a_number(text: str) -> None:
    with pytest.raises(ValueError, match=rf"weight '{text}' of reward 'diversity' is not a number"):
        parse_rewards(f"diversity={text}")


def test_weighted() -> None:
    assert weighted(["ndcg", "diversity=0.5"]) == WeightedSum(((Ndcg(), 1.0), (Diversity(), 0.5)))
    with pytest.raises(ValueError, match="share a name"):
        weighted(["ndcg", "ndcg=2"])
    with pytest.raises(ValueError, match="no reward given"):
        weighted([])


def returning(function: Callable[..., object]) -> FunctionReward:
    return FunctionReward(function, "mine")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("gains", "message"),
    [
        ([[1.0, np.inf]], r"reward 'mine' is inf at position 2 of list 0: \[3, 1\]"),
        ([[np.inf, -np.inf]], r"reward 'mine' is inf at position 1"),
        ([1.0, 2.0], r"returned shape \(2,\), not one gain per item, \(1, 2\)"),
        ([["a", "b"]], "not numbers"),
    ],
)
def test_checked_names_the_reward_the_position_and_the_list(
    gains: list[object], message: str
) -> None:
    with pytest.raises(RewardError, match=message):
        checked(returning(lambda slates, context: np.array(gains)))(np.array([[3, 1]]), context())


def test_checked_marginal_names_the_candidate() -> None:
    wrong = returning(lambda slates, context: np.where(slates == 2, np.nan, 1.0))
    with pytest.raises(RewardError, match=r"is nan for item 2 at position 2 of list 0: \[3\]"):
        checked(wrong).marginal(np.array([[3]]), np.array([[1, 2]]), context())


@pytest.mark.parametrize(
    "gains", [lambda s, c: s.sum(axis=1), lambda s, c: s[:, -1:] * 1.0, lambda s, c: 1.0]
)
def test_checked_marginal_sees_a_wrong_shape(gains: Callable[..., object]) -> None:
    with pytest.raises(
        RewardError,
        match=r"'mine' returned shape .*\(2, 2\); it was given lists such as list 0: \[3, 1",
    ):
        checked(returning(gains)).marginal(np.array([[3]]), np.array([[1, 2]]), context())


def test_checked_leaves_right_answers_alone() -> None:
    right = checked(returning(lambda slates, context: slates % 2))
    assert right(np.array([[3, 2]]), context()).tolist() == [[1, 0]]
    assert right.marginal(np.array([[3]]), np.array([[1, 2]]), context()).tolist() == [[1, 0]]
    assert checked(right) is right
    assert right.name == "mine"


def test_checked_sum_blames_the_term() -> None:
    total = checked(
        WeightedSum(((Diversity(), 1.0), (returning(lambda slates, context: slates * np.nan), 2.0)))
    )
    with pytest.raises(RewardError, match="reward 'mine' is nan at position 1"):
        total(np.array([[3, 1]]), context())
    assert total.name == "diversity+2*mine"


def test_checked_finds_the_list_on_which_a_reward_raises() -> None:
    def picky(slates, context):  # type: ignore[no-untyped-def]
        if (slates == 3).any():
            raise ZeroDivisionError("three")
        return slates * 1.0

    lists = np.array([[1, 2], [2, 1], [1, 3], [2, 3], [1, 2]])
    of_five = Context(
        Sequences.from_lists([[]] * 5), np.zeros(5, int), make_catalogue(["a", "b", "c"]), 2
    )
    message = (
        r"reward 'mine' raised ZeroDivisionError: three \(test_registry.py, line \d+\)"
        r" on list 2: \[1, 3\]"
    )
    with pytest.raises(RewardError, match=message) as found:
        checked(returning(picky))(lists, of_five)
    assert (found.value.fault, found.value.row) == ("runs", 2)
    with pytest.raises(RewardError, match=r"on item 3 at position 2 of list 3: \[2\]"):
        checked(returning(picky)).marginal(
            lists[:, :1], np.array([[1], [2], [1], [3], [2]]), of_five
        )
    with pytest.raises(RewardError, match=r"\) on position 2 of list 0: \[1\]"):
        checked(returning(picky)).marginal(
            lists[:, :1], np.array([[1, 3], [2, 1], [1, 2], [3, 1], [2, 1]]), of_five
        )


def test_located_says_where_and_lets_other_errors_be() -> None:
    with (
        pytest.raises(RewardError, match=r"^update 3: reward 'mine' is nan"),
        locate_errors("update 3"),
    ):
        checked(returning(lambda slates, context: slates * np.nan))(np.array([[3, 1]]), context())
    with pytest.raises(KeyError, match=r"^'x'$"), locate_errors("update 3"):
        raise KeyError("x")


def test_an_error_comes_back_whole_from_another_process() -> None:
    with pytest.raises(RewardError) as found, locate_errors("update 3"):
        raise RewardError("reward 'mine' is nan", "finite", 4)
    again = pickle.loads(pickle.dumps(found.value))
    assert (str(again), again.fault, again.row) == ("update 3: reward 'mine' is nan", "finite", 4)


def test_what_a_reward_prints_is_no_part_of_an_answer(capsys) -> None:  # type: ignore[no-untyped-def]
    def loud(slates, context):  # type: ignore[no-untyped-def]
        print("debug")
        return slates * 0.5

    checked(FunctionReward(loud, "loud"))(np.array([[1, 2]]), context())
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "debug\n")


def test_held_out_items_are_shown_to_those_who_ask_for_them() -> None:
    facts = Context(
        Sequences.from_lists([[], []]), np.array([1, 3]), make_catalogue(["a", "b", "c"]), 2
    )

    def peek(slates, context):  # type: ignore[no-untyped-def]
        return (slates == context.targets[:, None]) * 1.0

    lists = np.array([[1, 2], [2, 3]])
    hits = [[1, 0], [0, 1]]
    assert (
        checked(FunctionReward(peek, "peek", frozenset({"targets"})))(lists, facts).tolist() == hits
    )
    assert checked(FunctionReward(peek, "peek"))(lists, facts).tolist() == [[0, 0], [0, 0]]
    assert checked(FunctionReward(peek, "peek")).marginal(
        lists[:, :1], lists[:, 1:], facts
    ).tolist() == [[0], [0]]
