"""Objectives: rewards in every form they may be given in, executed once, found again later."""

import hashlib
import sys
from collections.abc import Iterator
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
    Relevance,
    Reward,
    RewardObjective,
    WeightedSum,
    as_weighted_sum,
    join_objectives,
    load_objectives,
    parse_rewards,
    reward,
    telescoped,
    weighted,
)

FILE = """
from dataclasses import dataclass

from genrec.rewards import Reward, reward

with open("executions.txt", "a") as log:
    log.write("x")


@reward
def fresh(slates, context):
    return slates * 1.0


@reward
def stale(slates, context):
    return slates * 2.0


@dataclass(frozen=True)
class Scaled(Reward):
    scale: float = 2.0

    def __call__(self, slates, context):
        return slates * self.scale


class Plain(Reward):
    def __call__(self, slates, context):
        return slates * 1.0


def tenth(slates, context):
    return slates / 10


triple = Scaled(3.0)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "mine.py").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("mine", None)


def executions(folder: Path) -> int:
    log = folder / "executions.txt"
    return len(log.read_text()) if log.exists() else 0


def gains_of(reward: Reward) -> list[list[float]]:
    catalogue = make_catalogue(["a", "b", "c"])
    context = Context(Sequences.from_lists([[]]), np.array([0]), catalogue, 2)
    return reward(np.array([[1, 3]]), context).tolist()  # type: ignore[no-any-return]


def at_module_level(slates, context):  # type: ignore[no-untyped-def]
    return slates * 0.5


@reward(name="named otherwise")
def decorated(slates, context):  # type: ignore[no-untyped-def]
    return slates * 0.25


@pytest.mark.parametrize(
    ("specs", "accuracy", "complete"),
    [
        (["diversity"], "relevance", ["relevance=1", "diversity=0.25"]),
        (["diversity=0:2"], "ndcg", ["ndcg=1", "diversity=0:2"]),
        (["diversity"], "mixed", ["relevance=0.5", "ndcg=0.5", "diversity=0.25"]),
        (["diversity"], "none", ["diversity=0.25"]),
        (["diversity", "ndcg"], "relevance", ["diversity=0.25", "ndcg=1"]),
        (["diversity=2", "novelty"], "ndcg", ["ndcg=1", "diversity=2", "novelty=0.25"]),
        (["ndcg=2", "diversity"], "mixed", ["ndcg=2", "diversity=0.25"]),
        (["diversity", "relevance=3"], "relevance", ["diversity=0.25", "relevance=3"]),
        (["diversity=0.123456789"], "none", ["diversity=0.123456789"]),
        (["genrec.rewards:Novelty"], "none", ["genrec.rewards:Novelty=0.25"]),
        ([], "relevance", ["relevance=1"]),
        ([], "mixed", ["relevance=0.5", "ndcg=0.5"]),
        ([("diversity", 2), ("ndcg", (0.5, 1))], "mixed", ["diversity=2", "ndcg=0.5:1"]),
        ("diversity=0.12345678901234", "none", ["diversity=0.123456789012"]),
    ],
)
def test_specs_are_completed(specs, accuracy: str, complete: list[str]) -> None:  # type: ignore[no-untyped-def]
    objective = parse_rewards(specs, accuracy=accuracy, weight=0.25)
    assert objective.specs == complete
    assert parse_rewards(complete) == objective
    assert load_objectives([complete]) == [objective]


def test_a_file_is_found_from_anywhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    complete = parse_rewards("./mine.py:fresh=0.3").specs
    assert complete == [f"{folder / 'mine.py'}:fresh=0.3"]
    monkeypatch.chdir("/")
    assert weighted(complete).name == "0.3*fresh"


def test_a_file_is_executed_once(folder: Path) -> None:
    objective = parse_rewards(
        ["./mine.py:fresh=0:2", "mine.py:stale=0.5", (f"{folder}/mine.py:triple", 1)], "relevance"
    )
    assert executions(folder) == 1
    assert objective.reward.name == "relevance+0.5*fresh+0.5*stale+scaled"
    assert [gains_of(term.reward) for term in objective.terms[1:]] == [
        [[1, 3]],
        [[2, 6]],
        [[3, 9]],
    ]
    assert objective.ranges == {"fresh": (0, 2)}
    assert objective.with_weight("stale", 3).specs[2] == f"{folder}/mine.py:stale=3"
    assert parse_rewards(objective) is objective
    assert executions(folder) == 1


def test_files_are_kept_with_the_hash_of_their_content(folder: Path) -> None:
    (folder / "empty.py").write_text("")
    objective = parse_rewards(["./mine.py:fresh", "diversity", "./mine.py:stale"])
    assert [file.path for file in objective.files] == [folder / "mine.py"] * 2
    assert len({file.digest for file in objective.files}) == 1
    # SHA-256 of nothing
    assert components.source_file("empty.py:x") == components.SourceFile(
        folder / "empty.py", hashlib.sha256(b"").hexdigest()
    )


def test_an_edit_between_two_calls_takes_effect(folder: Path) -> None:
    before = parse_rewards("./mine.py:fresh")
    (folder / "mine.py").write_text(FILE.replace("slates * 1.0", "slates * 10.0"))
    after = parse_rewards("./mine.py:fresh")
    assert (gains_of(before.reward), gains_of(after.reward)) == ([[1, 3]], [[10, 30]])
    assert before.files[0].digest != after.files[0].digest
    assert executions(folder) == 2


def test_runs_are_loaded_together_and_joined(folder: Path) -> None:
    runs = [
        parse_rewards(["./mine.py:fresh=0.1", "ndcg"]),
        parse_rewards(["./mine.py:fresh=0.5", "ndcg"]),
    ]
    loaded = load_objectives([run.specs for run in runs])
    assert executions(folder) == 3
    assert loaded[0].terms[0].reward is loaded[1].terms[0].reward
    assert [objective.terms[0].weight for objective in loaded] == [0.1, 0.5]
    joined = join_objectives(loaded)
    assert joined.specs == [f"{folder}/mine.py:fresh=0.1:0.5", "ndcg=1"]
    assert joined.ranges == {"fresh": (0.1, 0.5)}
    assert [file.digest for file in joined.files] == [file.digest for file in runs[0].files]
    with pytest.raises(ValueError, match="cannot be points of one curve"):
        join_objectives([*loaded, parse_rewards("ndcg")])


def test_ranges_are_joined() -> None:
    runs = [parse_rewards(specs) for specs in (["ndcg", "diversity=0:2"], ["ndcg", "diversity=3"])]
    assert join_objectives(runs).specs == ["ndcg=1", "diversity=0:3"]
    assert join_objectives(runs[1:]).specs == ["ndcg=1", "diversity=3"]


class TestObjects:
    def test_functions_rewards_pairs_and_specs_may_be_mixed(self) -> None:
        objective = parse_rewards(
            [at_module_level, (Diversity(), 0.3), ("novelty", (0, 2)), "popularity=0.1", Ndcg],
            accuracy="relevance",
            weight=0.5,
        )
        assert objective.reward.name == (
            "0.5*at_module_level+0.3*diversity+0.5*novelty+0.1*popularity+ndcg"
        )
        assert gains_of(objective.terms[0].reward) == [[0.5, 1.5]]
        assert [term.weight_given for term in objective.terms] == [False, True, True, True, False]

    def test_one_alone(self) -> None:
        assert parse_rewards(Diversity()).specs == ["diversity=1"]
        assert parse_rewards((Diversity(), 2)).specs == ["diversity=2"]
        both = WeightedSum(((Ndcg(), 1.0), (Diversity(), 0.5)))
        assert parse_rewards(both).specs == ["ndcg=1", "diversity=0.5"]
        assert parse_rewards(both).reward == both

    def test_an_object_of_a_module_is_found_again_there(self) -> None:
        objective = parse_rewards([at_module_level, decorated, Diversity()])
        place = at_module_level.__module__
        assert objective.specs == [
            f"{place}:at_module_level=1",
            f"{place}:decorated=1",
            "diversity=1",
        ]
        assert load_objectives([objective.specs])[0].reward == objective.reward

    def test_objects_of_an_imported_module(self, folder: Path) -> None:
        import mine  # type: ignore[import-not-found]

        given = [mine.fresh, mine.tenth, mine.Plain(), mine.triple, mine.Scaled]
        places = [parse_rewards([each]).terms[0].target for each in given]
        assert places == ["mine:fresh", "mine:tenth", "mine:Plain", "mine:triple", "mine:Scaled"]
        assert parse_rewards([mine.Scaled(7.0)]).specs == ["scaled=1"]
        assert executions(folder) == 1

    def test_an_object_of_a_file_is_found_again_in_the_file(self, folder: Path) -> None:
        found = parse_rewards("./mine.py:triple").terms[0].reward
        again = parse_rewards([(found, 2)])
        assert again.specs == [f"{folder}/mine.py:triple=2"]
        assert [file.path for file in again.files] == [folder / "mine.py"]

    def test_an_object_without_a_place_must_be_given_again(self) -> None:
        def inside(slates, context):  # type: ignore[no-untyped-def]
            return slates * 2.0

        objective = parse_rewards([inside, "diversity=0.3"])
        assert objective.specs == ["inside=1", "diversity=0.3"]
        with pytest.raises(
            ValueError, match=r"'inside' is neither built in .* give that object again"
        ):
            load_objectives([objective.specs])
        assert load_objectives([objective.specs], rewards=[inside]) == [objective]

    def test_an_object_is_not_mistaken_for_a_registered_reward_of_its_name(self) -> None:
        mine = FunctionReward(lambda slates, context: slates * 1.0, "diversity")
        with pytest.raises(ValueError, match="name of the registered reward 'diversity'"):
            parse_rewards([mine])
        assert weighted([mine]).terms == ((mine, 1.0),)

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ([("diversity", float("nan"))], "weight 'nan' of reward 'diversity' is not a number"),
            ([("diversity", (2, 1))], "range from 2 to 1: give two finite numbers"),
            ([("diversity=1", 2)], "unknown reward 'diversity=1'"),
            ([3], "3 is a int, not a Reward"),
            (["ndcg", Ndcg()], "share a name"),
            ([], "no reward is left: name one"),
        ],
    )
    def test_what_cannot_be_used_is_refused(self, given, message: str) -> None:  # type: ignore[no-untyped-def]
        with pytest.raises(ValueError, match=message):
            parse_rewards(given)

    def test_an_unknown_name_of_another_weight(self) -> None:
        with pytest.raises(ValueError, match=r"no reward is called 'fresh'; there are ndcg=1"):
            parse_rewards("ndcg").with_weight("fresh", 1)


class TestWeightedSum:
    def test_one_reward(self) -> None:
        for given in ("diversity=0.5", (Diversity(), 0.5), [("diversity", 0.5)]):
            assert as_weighted_sum(given) == WeightedSum(((Diversity(), 0.5),))  # type: ignore[arg-type]
        assert as_weighted_sum(Relevance()) == WeightedSum(((Relevance(), 1.0),))
        assert as_weighted_sum(at_module_level).name == "at_module_level"

    def test_a_sum_is_itself(self) -> None:
        total = WeightedSum(((Diversity(), 0.5),))
        assert as_weighted_sum(total) is total

    def test_several(self) -> None:
        mine = telescoped(lambda slates, context: slates.max(axis=1), "largest")
        total = as_weighted_sum(["relevance", at_module_level, (mine, 2), "diversity=0:2"])
        assert total.name == "relevance+at_module_level+2*largest+0.5*diversity"

    def test_the_weight_is_exact(self) -> None:
        assert weighted([("diversity", 0.12345678901234)]).terms[0][1] == 0.12345678901234
        assert weighted(["diversity=0.12345678901234"]).terms[0][1] == 0.12345678901234


def test_a_plugin_is_kept_by_its_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = [EntryPoint("fresh-from-plugin", "mine:fresh", "genrec.rewards")]
    monkeypatch.setattr(components, "entry_points", lambda group: points)
    assert parse_rewards("fresh-from-plugin").specs == ["fresh-from-plugin=1"]


def test_an_objective_needs_terms() -> None:
    with pytest.raises(ValueError, match="no reward is left"):
        RewardObjective(())
