"""genrec align with ranges of weights: one policy for all of them."""

import json
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from genrec.agents.distillation import Demonstrations
from genrec.agents.gptrec.decoding import NextK
from genrec.agents.gptrec.model import GPTRec
from genrec.config.errors import RunError
from genrec.data.splits import leave_one_out
from genrec.data.synthetic import demo
from genrec.evaluation.runs import applicable_weights, measure_run
from genrec.metrics.context import Context
from genrec.pipeline import loading, stages
from genrec.pipeline.demonstrations import greedy_demonstrations, warmup_histories
from genrec.pipeline.recommend import recommend_titles
from genrec.pipeline.settings import settings_of
from genrec.pipeline.workspace import Workspace
from genrec.rerankers import Reranked, greedy, with_surrogates
from genrec.rewards import (
    Diversity,
    Relevance,
    Reward,
    Terminal,
    WeightedSum,
    parse_rewards,
    telescoped,
    terminal,
    weighted,
)
from genrec.training.run_directory import read_json


@dataclass(frozen=True)
class TerminalWithSurrogate(Terminal):
    surrogate: Reward = field(kw_only=True)


TINY = {
    "k": 4,
    "teacher": {"recipe": "markov"},
    "student": {
        "hidden_size": 16,
        "blocks": 1,
        "heads": 2,
        "max_length": 8,
        "demonstrations": 300,
        "pool": 12,
        "epochs": 2,
        "lists_per_step": 8,
        "learning_rate": 0.01,
    },
    "align": {
        "warmup_lists": 1800,
        "candidates": 12,
        "updates": 2,
        "histories": 4,
        "group_size": 2,
        "evaluate_every": 1,
    },
}


@pytest.fixture(scope="module")
def workspace() -> Workspace:
    split = leave_one_out(demo(num_users=100, num_items=60, seed=1))
    return Workspace(settings_of(TINY), split, torch.device("cpu"), quiet=True)


@pytest.fixture(scope="module")
def run(workspace, tmp_path_factory) -> Path:
    return stages.align(workspace, ["diversity=0:4"], out=tmp_path_factory.mktemp("ranges") / "run")


def diversity_of(workspace: Workspace, slates: np.ndarray) -> float:
    valid = workspace.split.valid
    context = Context(valid.histories, valid.targets, workspace.split.catalogue, k=4)
    return float(weighted(["diversity"])(slates, context).sum(axis=1).mean())


def test_the_objective_is_the_mean_over_the_range(workspace, run):
    content = read_json(run / "run.json")
    assert content["rewards"] == ["relevance=1", "diversity=0:4"]
    policy, _, _ = GPTRec.from_pretrained(run)
    assert policy.ranges == {"diversity": (0, 4)}
    valid = workspace.split.valid
    teacher = loading.calibrated(run / "teacher", workspace)
    probabilities = teacher.probabilities(valid.histories)
    context = Context(
        valid.histories,
        valid.targets,
        workspace.split.catalogue,
        k=4,
        of_probabilities=probabilities,
    )
    found = []
    for weight in (0, 0.25, 1, 2.25, 4):
        slates = NextK(policy.at({"diversity": weight})).recommend(valid.histories, 4)
        relevance, diversity = (
            weighted([name])(slates, context).sum(axis=1).mean()
            for name in ("relevance", "diversity")
        )
        found.append(relevance + weight * diversity)
    assert content["val"]["objective"] == pytest.approx(np.mean(found), abs=1e-6)


def test_the_supervised_warmup_is_conditioned_on_the_weights(workspace, run):
    """Lists for the high end are more diverse than those for the low one; the student knows no
    weights."""
    for directory in (run / "supervised_warmup", run):
        low, middle, high = (
            loading.open_recommender(directory, workspace.device, weights=weights).recommend(
                workspace.split.valid.histories, 4
            )
            for weights in ({"diversity": 0}, None, {"diversity": 4})
        )
        assert diversity_of(workspace, low) + 0.02 < diversity_of(workspace, high)
        conditioned = loading.open_recommender(
            directory, workspace.device, weights={"diversity": 1}
        )
        np.testing.assert_array_equal(
            conditioned.recommend(workspace.split.valid.histories, 4), middle
        )
    assert GPTRec.from_pretrained(run / "student")[0].ranges == {}


def test_warmup_histories_are_whole_sequences(workspace):
    """What follows a whole sequence was never shown to the teacher."""
    train = workspace.split.train
    whole = [tuple(train[n].tolist()) for n in range(len(train))]
    histories, rows, passes = warmup_histories(
        workspace, 2 * len(train) + 1, {"diversity": (0.0, 1.0)}
    )
    assert [tuple(history.tolist()) for history in histories] == whole
    first, second, last = rows[: len(train)], rows[len(train) : -1], rows[-1]
    assert sorted(first) == sorted(second) == list(range(len(train)))
    assert first.tolist() != second.tolist()  # so that a history meets other weights
    assert 0 <= last < len(train)
    assert passes == 1
    _, rows, passes = warmup_histories(workspace, 2 * len(train) + 1, {})
    assert sorted(rows) == list(range(len(train)))
    assert passes == 3
    assert len(warmup_histories(workspace, 5, {})[1]) == 5


def test_demonstrations_for_a_grid_of_weights(workspace, run):
    teacher, histories = loading.calibrated(run / "teacher", workspace), workspace.split.train
    rows = np.arange(len(histories))[::-1].copy()
    objective = parse_rewards(["ndcg", "diversity=0:4"])
    demonstrations = greedy_demonstrations(
        workspace, teacher, histories, rows=rows, objective=objective
    )
    assert demonstrations.weights.shape == (len(histories), 1)
    assert demonstrations.weights[:34, 0].tolist() == pytest.approx([*(np.arange(33) / 16) ** 2, 0])
    for row in (0, 5, 32):
        reward = weighted(["relevance", f"diversity={float(demonstrations.weights[row, 0])}"])
        writer = Reranked(
            teacher,
            lambda pool, k, reward=reward: greedy(pool, k, reward),
            workspace.split.catalogue,
            candidates=12,
            probabilities=teacher.probabilities,
        )
        assert (
            writer.recommend(histories.take([rows[row]]), 4)[0].tolist()
            == demonstrations.lists(4)[row].tolist()
        )
    plain = greedy_demonstrations(
        workspace,
        teacher,
        histories,
        rows=rows,
        objective=parse_rewards(["relevance", "diversity=0.5"]),
    )
    assert plain.weights is None


def test_demonstrations_of_a_terminal_reward_are_the_best_lists_known(workspace, run):
    """The reward is the diversity of a list, paid at its end; its surrogate pays item by item. Both
    ignore the order."""
    teacher, histories = (
        loading.calibrated(run / "teacher", workspace),
        workspace.split.train.take(np.arange(40)),
    )
    pairs = telescoped(lambda slates, context: Diversity()(slates, context).sum(axis=1), "pairs")
    late = TerminalWithSurrogate(pairs.value, "late", surrogate=pairs)
    reward = WeightedSum(((Relevance(), 1.0), (late, 0.5)))

    def written_for(reward: WeightedSum) -> Demonstrations:
        rows, objective = np.arange(40), parse_rewards(reward)
        return greedy_demonstrations(workspace, teacher, histories, rows=rows, objective=objective)

    demonstrations = written_for(reward)
    plain = written_for(with_surrogates(reward))
    probabilities = teacher.probabilities(histories)
    context = Context(
        histories, np.zeros(40, int), workspace.split.catalogue, k=4, of_probabilities=probabilities
    )
    earned, before = (
        reward(each.lists(4), context).sum(axis=1) for each in (demonstrations, plain)
    )
    assert (earned >= before).all()
    assert earned.sum() > before.sum() + 1e-3
    without_surrogate = WeightedSum(((Relevance(), 1.0), (terminal(pairs.value, "late"), 0.5)))
    searched = written_for(without_surrogate).lists(4)
    writer = Reranked(
        teacher,
        partial(greedy, reward=without_surrogate),
        workspace.split.catalogue,
        candidates=12,
        probabilities=teacher.probabilities,
    )
    gained = (
        without_surrogate(searched, context)
        - without_surrogate(writer.recommend(histories, 4), context)
    ).sum(axis=1)
    assert (gained >= 0).all()
    assert gained.mean() > 0.02  # greedy sees the goal at the last position only
    lists = demonstrations.lists(4)
    assert (np.diff(np.take_along_axis(probabilities, lists, axis=1), axis=1) <= 0).all()
    assert (demonstrations.scores[:, :, 0] == 0).all()
    assert (demonstrations.scores <= 0).all()
    for row, place, choice in np.argwhere(demonstrations.scores[:, :, 1:4] > -np.inf):
        item, other = demonstrations.items[row, place, choice + 1], lists[row].tolist()
        assert item not in other[:place]
        if item not in other:
            other[place] = item
            cost = reward(np.array([other]), context.take(np.array([row]))).sum() - earned[row]
            assert cost < 1e-9
            assert (cost < -1e-9) == (demonstrations.scores[row, place, choice + 1] < -1e-6)


def test_evaluate_conditions_policies_for_ranges_only(workspace, run):
    test = workspace.split.test
    for directory, weight in ((run, 0.0), (run, 4.0), (run / "supervised_warmup", 4.0)):
        policy = GPTRec.from_pretrained(directory)[0]
        weights = applicable_weights(directory, {"diversity": weight, "novelty": 1.0})
        found = measure_run(workspace, directory, weights=weights)
        slates = NextK(policy.at({"diversity": weight})).recommend(test.histories, 4)
        context = Context(test.histories, test.targets, workspace.split.catalogue, k=4)
        assert found.means["diversity@4"] == pytest.approx(
            Diversity()(slates, context).sum(axis=1).mean()
        )
        assert (
            found.name
            == f"{'aligned' if directory == run else 'supervised_warmup'} diversity={weight:g}"
        )
    assert (
        applicable_weights(run / "student", {"diversity": 4.0})
        == applicable_weights(run / "teacher", {"diversity": 4.0})
        == {}
    )
    with pytest.raises(
        ValueError, match="weight 5 of diversity is outside the trained range, 0 to 4"
    ):
        applicable_weights(run, {"diversity": 5.0})


def test_titles_for_a_weight(workspace, run):
    ids = workspace.split.catalogue.item_ids[[3, 9]].tolist()
    rows = recommend_titles(run, ids, 3, device=workspace.device, weights={"diversity": 4})
    assert len({raw for raw, _ in rows}) == 3
    with pytest.raises(
        ValueError, match="weight 5 of diversity is outside the trained range, 0 to 4"
    ):
        recommend_titles(run, ids, 3, device=workspace.device, weights={"diversity": 5})
    for part in ("teacher", "student"):
        with pytest.raises(
            ValueError, match="the weight of 'diversity' cannot be chosen: all weights of this run"
        ):
            recommend_titles(run / part, ids, 3, device=workspace.device, weights={"diversity": 1})


def test_it_is_logged_and_finished_once(workspace, run):
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "val/objective" in row] == [0, 1, 2]
    before = (run / "model.safetensors").stat().st_mtime_ns
    stages.align(workspace, ["diversity=0:4"], out=run)
    assert (run / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(RunError, match="differs in rewards"):
        stages.align(workspace, ["diversity=0:3"], out=run)


@pytest.mark.parametrize("agent", ["sb3", "grpo"])
def test_other_trainers_refuse_a_range(workspace, run, agent, tmp_path):
    settings = settings_of({**TINY, "align": {**TINY["align"], "agent": agent}})
    other = replace(workspace, settings=settings)
    with pytest.raises(
        ValueError, match=f"--agent {agent} trains for fixed weights, but diversity=0:2 is a range"
    ):
        stages.align(other, ["diversity=0:2"], student=run / "student", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_conditioned_policy_is_no_student_for_other_ranges(workspace, run, tmp_path):
    with pytest.raises(ValueError, match=r"conditioned on weights .* already"):
        stages.align(workspace, ["diversity=0.5"], student=run, out=tmp_path / "out")
