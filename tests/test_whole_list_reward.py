"""The example of a reward for whole lists, by hand; no stepwise choice finds the best list."""

import runpy
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from genrec.data import leave_one_out
from genrec.data.synthetic import demo
from genrec.metrics.context import Context
from genrec.rerankers import HasSurrogate, greedy, greedy_lookahead, with_surrogates
from genrec.rewards import Relevance, Telescoped, Terminal, WeightedSum, resolve

FILE = Path(__file__).parents[1] / "examples" / "whole_list_reward.py"
HIT, WIDE, LEFT, RIGHT = 2, 3, 4, 5


@pytest.fixture(scope="module")
def example() -> dict:
    return runpy.run_path(str(FILE))


@pytest.fixture(scope="module")
def reward(example) -> Terminal:
    return example["paid_at_the_end"](example["Tour"](genres=6, budget=0.5), "tour")


@pytest.mark.parametrize(
    ("slate", "value"),
    [
        ([LEFT, RIGHT], 1),  # 1-6; counts 2 + 2 of the 10 + 3 of the most popular two
        ([WIDE, LEFT], 5 / 6),  # 1-5; 5 of 13
        ([WIDE, RIGHT], 5 / 6),  # 2-6
        ([HIT, RIGHT], 0),  # 1-6, but 12 of 13 is over half
    ],
)
def test_lists_by_hand(example, reward, slate, value):
    context = example["tiny_pool"]().context
    for order in permutations(slate):
        assert reward(np.array([order]), context).tolist() == [[0, pytest.approx(value)]]


def test_unfinished_lists_by_hand(example, reward):
    """The surrogate: as the first item, Wide shows 4 of 6 genres and Left 3.

    Hit alone would exceed the budget, and still does after Right.
    """
    context = example["tiny_pool"]().context
    assert reward.surrogate(np.array([[WIDE, LEFT]]), context).tolist() == [
        pytest.approx([4 / 6, 1 / 6])
    ]
    assert reward.surrogate(np.array([[LEFT, RIGHT]]), context).tolist() == [
        pytest.approx([3 / 6, 3 / 6])
    ]
    assert reward.surrogate(np.array([[RIGHT, HIT]]), context).tolist() == [
        pytest.approx([3 / 6, -3 / 6])
    ]


def test_fewer_genres_than_the_tour_has_are_enough_where_the_user_knows_no_more(example):
    pool = example["tiny_pool"]()
    value = example["Tour"](genres=50, budget=1.0)
    assert value(np.array([[LEFT, RIGHT]]), pool.context).tolist() == [1]
    assert example["Tour"](genres=2, budget=1.0)(np.array([[LEFT]]), pool.context).tolist() == [1]


def test_no_stepwise_choice_finds_the_best_list(example, reward):
    """Brute force over all lists of two: 1; greedy on the surrogate: 5/6; the others: 0."""
    pool = example["tiny_pool"]()
    earned = {
        name: float(reward(slates, pool.context).sum())
        for name, slates in (
            ("plain", greedy(pool, 2, reward)),
            ("lookahead", greedy_lookahead(pool, 2, reward)),
            ("surrogate", greedy(pool, 2, with_surrogates(reward))),
            ("best", example["best_list"](pool, 2, reward)),
        )
    }
    assert earned == {"plain": 0, "lookahead": 0, "surrogate": pytest.approx(5 / 6), "best": 1}
    assert greedy(pool, 2, with_surrogates(reward)).tolist() == [[WIDE, LEFT]]
    assert sorted(example["best_list"](pool, 2, reward)[0].tolist()) == [LEFT, RIGHT]


@pytest.mark.parametrize("weight", [1.0, 4.0])
def test_nor_together_with_relevance(example, reward, weight):
    """Wide, Left: .3 + .2 * .631 + w * 5/6 = .426 + .833 w; Left, Right: .2 + .1 * .631 + w = .263
    + w.

    So the second is better for w > .98, and greedy never takes it: Wide wins the first place by .1
    + w / 6.
    """
    pool = example["tiny_pool"]()
    whole = WeightedSum(((Relevance(), 1.0), (reward, weight)))
    best, chosen = example["best_list"](pool, 2, whole), greedy(pool, 2, with_surrogates(whole))
    assert (best.tolist(), chosen.tolist()) == ([[LEFT, RIGHT]], [[WIDE, LEFT]])
    assert whole(best, pool.context).sum() == pytest.approx(0.2 + 0.1 / np.log2(3) + weight)
    assert whole(chosen, pool.context).sum() == pytest.approx(
        0.3 + 0.2 / np.log2(3) + weight * 5 / 6
    )


def test_the_command_line_finds_both_rewards():
    late, grown = (resolve(f"{FILE}:{name}") for name in ("tour", "tour_as_it_grows"))
    assert isinstance(late, HasSurrogate)
    assert isinstance(with_surrogates(late), Telescoped)
    assert (late.name, grown.name) == ("tour", "tour_as_it_grows")


def test_both_rewards_keep_the_contract_on_lists_of_a_log(example):
    """Both are causal, between 0 and 1, and have the same sum; the lists differ in value."""
    split = leave_one_out(demo(num_users=60, num_items=80, seed=1))
    cases = split.test.take(np.arange(30))
    context = Context(cases.histories, np.zeros(30, np.int64), split.catalogue, 10)
    lists = np.stack([np.random.default_rng(i).permutation(80)[:10] + 1 for i in range(30)])
    late = example["paid_at_the_end"](example["Tour"](budget=0.6), "tour")
    for found in (late, late.surrogate):
        gains = found(lists, context)
        for j in range(1, 10):
            np.testing.assert_allclose(found(lists[:, :j], context), gains[:, :j])
        value = gains.sum(axis=1)
        assert value.min() == 0 < value.max() <= 1
    np.testing.assert_allclose(
        late(lists, context).sum(axis=1), late.surrogate(lists, context).sum(axis=1), atol=1e-12
    )


def test_the_script_prints_the_four_lists(example, capsys):
    example["main"]()
    assert capsys.readouterr().out.splitlines() == [
        "greedy: Hit, Wide: 0.000",
        "greedy with lookahead: Hit, Wide: 0.000",
        "greedy on the surrogate: Wide, Left: 0.833",
        "best of all lists: Left, Right: 1.000",
    ]
