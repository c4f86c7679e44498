import pytest
import torch

from genrec.models.negatives import catalogue, in_batch, popular, shared_uniform, uniform


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_catalogue_is_everything():
    assert catalogue(torch.tensor([1, 2]), generator()) is None


def test_shapes():
    targets = torch.tensor([3, 1, 2])
    assert uniform(10, 4)(targets, generator()).shape == (3, 4)
    assert shared_uniform(10, 4)(targets, generator()).shape == (4,)


def test_every_item_and_nothing_else_is_drawn_equally_often():
    for ids in (
        uniform(5, 100)(torch.ones(100, dtype=torch.long), generator()),
        shared_uniform(5, 10_000)(torch.tensor([1]), generator()),
    ):
        counts = torch.bincount(ids.flatten(), minlength=7)
        assert counts[[0, 6]].tolist() == [0, 0]  # neither PAD nor MASK
        assert (counts[1:6] - 2000).abs().max() < 160  # four standard deviations of a binomial(10 000, 1/5)


def test_the_generator_decides():
    targets = torch.ones(4, dtype=torch.long)
    counts = torch.arange(1001)
    for draw in (uniform(1000, 8), shared_uniform(1000, 8), popular(counts, 8)):
        assert torch.equal(draw(targets, generator(1)), draw(targets, generator(1)))
        assert not torch.equal(draw(targets, generator(1)), draw(targets, generator(2)))
        shared = generator(1)
        assert not torch.equal(draw(targets, shared), draw(targets, shared))


@pytest.mark.parametrize(("power", "shares"), [(1.0, [0.1, 0.9]), (0.5, [0.25, 0.75]), (0.0, [0.5, 0.5])])
def test_popular_items_are_drawn_by_a_power_of_their_counts(power, shares):
    ids = popular(torch.tensor([7, 1, 0, 9]), 100, power)(torch.ones(100, dtype=torch.long), generator())
    assert ids.shape == (100, 100)
    counts = torch.bincount(ids.flatten(), minlength=4) / 10_000
    assert counts[[0, 2]].tolist() == [0, 0]  # neither PAD nor an item that does not occur
    torch.testing.assert_close(counts[[1, 3]], torch.tensor(shares), atol=0.02, rtol=0)


def test_popular_without_counts_says_so():
    with pytest.raises(ValueError, match="no item has a count above 0"):
        popular(torch.tensor([3, 0, 0]), 5)


def test_in_batch_draws_the_targets_of_the_batch():
    ids = in_batch(9000)(torch.tensor([5, 5, 2]), generator())
    assert ids.shape == (9000,)
    assert set(ids.tolist()) == {2, 5}
    assert abs(int((ids == 5).sum()) - 6000) < 180  # four standard deviations
