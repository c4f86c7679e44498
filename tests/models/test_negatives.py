import torch

from genrec.models.negatives import catalogue, shared_uniform, uniform


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
    for draw in (uniform(1000, 8), shared_uniform(1000, 8)):
        assert torch.equal(draw(targets, generator(1)), draw(targets, generator(1)))
        assert not torch.equal(draw(targets, generator(1)), draw(targets, generator(2)))
        shared = generator(1)
        assert not torch.equal(draw(targets, shared), draw(targets, shared))
