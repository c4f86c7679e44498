import math
import re

import pytest
import torch

from genrec.models.negatives import Sampled, catalogue, in_batch, popular, uniform
from genrec.models.objectives import Batch

# Three sequences of inputs 1 2 3 | 4 5 . | 6 . . ; the first has two targets, the others have one.
BATCH = Batch(
    torch.tensor([[1, 2, 3], [4, 5, 0], [6, 0, 0]]),
    torch.tensor([0, 2, 4, 6]),
    torch.tensor([2, 7, 8, 9]),
)
OWN = ({1, 2, 3, 7}, {1, 2, 3, 7}, {4, 5, 8}, {6, 9})
COUNTS = torch.tensor([7, 1, 0, 9])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch_of(targets: list[int]) -> Batch:
    """Each target in a sequence of its own."""
    return Batch(
        torch.ones(len(targets), 1, dtype=torch.long),
        torch.arange(len(targets)),
        torch.tensor(targets),
    )


def test_catalogue_draws_nothing():
    assert catalogue(BATCH, generator()) is None


@pytest.mark.parametrize(
    "proposal", [uniform(10), popular(torch.arange(11)), in_batch(torch.ones(11))]
)
def test_shapes(proposal):
    assert Sampled(proposal, 5)(BATCH, generator()).shape == (4, 5)
    assert Sampled(proposal, 5, shared="sequence")(BATCH, generator()).shape == (4, 5)
    assert Sampled(proposal, 5, shared="batch")(BATCH, generator()).shape == (5,)


def test_the_targets_of_a_sequence_share_a_draw_or_none_do():
    apart = Sampled(uniform(1000), 6)(BATCH, generator()).tolist()
    assert len({tuple(row) for row in apart}) == 4
    first, second, third, fourth = Sampled(uniform(1000), 6, shared="sequence")(
        BATCH, generator()
    ).tolist()
    assert first == second
    assert len({tuple(first), tuple(third), tuple(fourth)}) == 3


@pytest.mark.parametrize("shared", [False, "sequence"])
def test_a_rejected_item_becomes_the_target(shared):
    drawn = Sampled(uniform(12), 200, shared=shared)(BATCH, generator())
    kept = Sampled(uniform(12), 200, shared=shared, reject_history=True)(BATCH, generator())
    for own, target, before, after in zip(
        OWN, BATCH.targets.tolist(), drawn.tolist(), kept.tolist(), strict=True
    ):
        assert own < set(before), "all its own items were drawn"
        assert after == [target if item in own else item for item in before]


def test_negatives_of_a_whole_batch_cannot_reject_histories():
    remedy = "set teacher.negatives.shared=sequence, or teacher.negatives.reject_history=false"
    with pytest.raises(ValueError, match=re.escape(remedy)):
        Sampled(uniform(5), 2, shared="batch", reject_history=True)


def test_every_item_and_nothing_else_is_drawn_equally_often():
    for sampled in (Sampled(uniform(5), 2500), Sampled(uniform(5), 10_000, shared="batch")):
        counts = torch.bincount(sampled(BATCH, generator()).flatten(), minlength=7)
        assert counts[[0, 6]].tolist() == [0, 0]  # neither PAD nor MASK
        assert (
            counts[1:6] - 2000
        ).abs().max() < 160  # four standard deviations of a binomial(10 000, 1/5)


@pytest.mark.parametrize(
    "proposal", [uniform(1000), popular(torch.arange(1001)), in_batch(torch.ones(1001))]
)
@pytest.mark.parametrize("shared", [False, "sequence", "batch"])
def test_the_generator_decides(proposal, shared):
    draw, batch = Sampled(proposal, 8, shared=shared), batch_of(list(range(1, 200)))
    assert torch.equal(draw(batch, generator(1)), draw(batch, generator(1)))
    assert not torch.equal(draw(batch, generator(1)), draw(batch, generator(2)))
    continued = generator(1)
    assert not torch.equal(draw(batch, continued), draw(batch, continued))


@pytest.mark.parametrize(
    ("power", "shares"),
    [(1.0, [0.1, 0.9]), (0.5, [0.25, 0.75]), (0.0, [0.5, 0.5]), (400.0, [0.0, 1.0])],
)
def test_popular_items_are_drawn_by_a_power_of_their_counts(power, shares):
    proposal = popular(COUNTS, power)
    ids = Sampled(proposal, 2500)(BATCH, generator())
    counts = torch.bincount(ids.flatten(), minlength=4) / 10_000
    assert counts[[0, 2]].tolist() == [0, 0]  # neither PAD nor an item that does not occur
    torch.testing.assert_close(counts[[1, 3]], torch.tensor(shares), atol=0.02, rtol=0)
    torch.testing.assert_close(proposal.log_q.exp(), torch.tensor([0.0, shares[0], 0.0, shares[1]]))


def test_popular_needs_counts():
    with pytest.raises(ValueError, match="no item has a count above 0"):
        popular(torch.tensor([3, 0, 0]))


def test_in_batch_draws_the_targets_of_the_batch():
    ids = Sampled(in_batch(COUNTS), 9000, shared="batch")(batch_of([5, 5, 2]), generator())
    assert set(ids.tolist()) == {2, 5}
    assert abs(int((ids == 5).sum()) - 6000) < 180  # four standard deviations


def test_log_q_by_hand():
    assert uniform(4).log_q.tolist() == [-math.inf, *[pytest.approx(-math.log(4))] * 4]
    in_log = [-math.inf, pytest.approx(math.log(0.1)), -math.inf, pytest.approx(math.log(0.9))]
    assert (
        in_batch(COUNTS).log_q.tolist() == in_log
    )  # over many batches, a target is an event of training
    twice = [-math.inf, pytest.approx(math.log(0.2)), -math.inf, pytest.approx(math.log(1.8))]
    assert Sampled(in_batch(COUNTS), 2).log_expected.tolist() == twice
