import itertools

import numpy as np
import pytest
import torch

from genrec.agents.gptrec.decoding import NextK, beam, draw, sample
from genrec.agents.gptrec.model import GPTRec
from genrec.data import Sequences

HISTORIES = Sequences.from_lists(
    [[3, 7], [], [1, 2, 3, 4, 5], [9, 8, 7, 6, 5, 4, 3, 2, 1], [12, 11]]
)
K = 4


def tiny(num_items: int = 12, scale: float = 8.0, dropout: float = 0.0, seed: int = 0) -> GPTRec:
    torch.manual_seed(seed)
    policy = GPTRec(
        num_items, hidden_size=16, blocks=2, heads=2, max_length=5, max_slate=5, dropout=dropout
    )
    with torch.no_grad():
        for weight in policy.parameters():
            if weight.dim() > 1:
                weight.mul_(scale)
    return policy.eval()


@pytest.fixture(scope="module")
def policy() -> GPTRec:
    return tiny()


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def all_lists(items: list[int], k: int) -> torch.Tensor:
    return torch.tensor(list(itertools.permutations(items, k)))


def total(policy: GPTRec, histories: Sequences, slates: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return policy.logp(histories, slates).sum(dim=2)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_samples_hold_distinct_unseen_items(policy, temperature):
    slates, logp = sample(
        policy, HISTORIES, 3, generator=generator(), group_size=50, temperature=temperature
    )
    assert slates.shape == logp.shape == (5, 50, 3)
    for history, group in zip(HISTORIES, slates.tolist(), strict=True):
        for slate in group:
            assert len(set(slate)) == 3
            assert set(slate) <= set(range(1, 13)) - set(history.tolist())


@pytest.mark.parametrize("temperature", [1.0, 0.6, 2.5])
def test_frequencies_are_the_probabilities(temperature):
    """Lists of 2 of the 4 unseen items, 12 in all, drawn 8000 times."""
    policy = tiny(num_items=5, scale=4.0)
    histories = Sequences.from_lists([[5, 2, 5]] * 400)
    slates, logp = sample(
        policy, histories, 2, generator=generator(), group_size=20, temperature=temperature
    )
    lists = all_lists([1, 3, 4], 2)
    with torch.no_grad():
        steps = policy.log_distribution(histories.take([0]), lists[None])[0].double()
    powers = steps.exp() ** (1 / temperature)
    tempered = powers / powers.sum(dim=2, keepdim=True)
    expected = tempered.gather(2, lists[..., None]).squeeze(2).prod(dim=1) * 8000
    counts = (slates.view(-1, 1, 2) == lists).all(dim=2).sum(dim=0)
    assert counts.sum() == 8000
    assert expected.sum() == pytest.approx(8000, abs=1e-3)
    assert expected.min() > 5
    # chi-square with 5 degrees of freedom, p = .001
    assert float(((counts - expected) ** 2 / expected).sum()) < 20.5
    at_one = policy.logp(histories.take([0]), lists[None])[0]
    for slate, values in zip(slates.view(-1, 2)[:50], logp.view(-1, 2)[:50], strict=True):
        place = int((lists == slate).all(dim=1).nonzero())
        torch.testing.assert_close(values, at_one[place].detach(), atol=1e-5, rtol=0)


def test_lists_of_a_group_differ_and_the_generator_decides(policy):
    first, again, other = (
        sample(policy, HISTORIES, 3, generator=generator(seed), group_size=4)[0]
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first[:, 0], first[:, 1])


def test_sampling_leaves_the_global_generator_alone(policy):
    before = torch.get_rng_state()
    sample(policy, HISTORIES, 3, generator=generator())
    assert torch.equal(torch.get_rng_state(), before)


def test_greedy_takes_the_most_probable_item_each_time(policy):
    slates, _ = sample(policy, HISTORIES, 3, generator=None)
    steps = policy.log_distribution(HISTORIES, slates)
    assert torch.equal(steps.argmax(dim=3), slates)


def test_a_low_temperature_is_greedy(policy):
    slates, _ = sample(policy, HISTORIES, 3, generator=generator(), group_size=3, temperature=1e-3)
    greedy, _ = sample(policy, HISTORIES, 3, generator=None)
    assert torch.equal(slates, greedy.expand(-1, 3, -1))


def test_a_beam_of_one_is_greedy(policy):
    assert torch.equal(
        beam(policy, HISTORIES, 3, width=1), sample(policy, HISTORIES, 3, generator=None)[0][:, 0]
    )


def test_wider_beams_find_more_probable_lists(policy):
    values = [
        total(policy, HISTORIES, beam(policy, HISTORIES, 3, width=width)[:, None])
        for width in (1, 4, 40)
    ]
    assert (values[1] >= values[0] - 1e-5).all()
    assert (values[2] >= values[1] - 1e-5).all()
    assert (values[2] > values[0] + 1e-3).any(), (
        "greedy is best everywhere: these weights prove nothing"
    )


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("history", [[], [4], [2, 5, 2]])
def test_a_beam_that_drops_nothing_is_exact(seed, history):
    policy, histories = tiny(num_items=5, seed=seed), Sequences.from_lists([history])
    lists = all_lists([i for i in range(1, 6) if i not in history], 2)
    best = lists[total(policy, histories, lists[None])[0].argmax()]
    assert beam(policy, histories, 2, width=30)[0].tolist() == best.tolist()


def test_a_wide_beam_over_the_longest_list_is_exact():
    policy, histories = tiny(num_items=5), Sequences.from_lists([[], [1]])
    for row, items in enumerate(([1, 2, 3, 4, 5], [2, 3, 4, 5])):
        lists = all_lists(items, 4)
        best = lists[total(policy, histories.take([row]), lists[None])[0].argmax()]
        assert beam(policy, histories, 4, width=200)[row].tolist() == best.tolist()


@pytest.mark.parametrize(
    "write", [lambda p, h: sample(p, h, 4, generator=None), lambda p, h: beam(p, h, 4, width=3)]
)
def test_a_history_that_leaves_too_few_items_is_refused(policy, write):
    write(policy, Sequences.from_lists([[1], list(range(1, 9))]))
    with pytest.raises(
        ValueError, match="history 1 leaves 3 items for a list of 4: ask for a shorter list"
    ):
        write(policy, Sequences.from_lists([[1], list(range(1, 10))]))


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("batch_size", [1, 2, 256])
def test_next_k_recommends_in_the_order_of_the_histories(policy, beams, batch_size):
    slates = NextK(policy, beams, batch_size=batch_size).recommend(HISTORIES, 3)
    assert slates.dtype == np.int64
    assert slates.shape == (5, 3)
    for row, slate in enumerate(slates):
        alone = beam(policy, HISTORIES.take([row]), 3, width=beams)
        assert slate.tolist() == alone[0].tolist()


def test_next_k_has_no_dropout_and_restores_the_mode():
    policy = tiny(dropout=0.5).train()
    first, second = (NextK(policy).recommend(HISTORIES, 3) for _ in range(2))
    assert policy.training
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, NextK(policy.eval()).recommend(HISTORIES, 3))
    assert not policy.training


def test_decoding_keeps_no_graph(policy):
    slates, logp = sample(policy, HISTORIES, 3, generator=generator())
    assert not logp.requires_grad
    assert slates.dtype == torch.int64


def test_columns_are_drawn_with_their_probabilities() -> None:
    probabilities = torch.tensor([0.0, 0.1, 0.0, 0.6, 0.3, 0.0]).expand(20_000, -1)
    columns = draw(probabilities, torch.Generator().manual_seed(0)).flatten()
    found = torch.bincount(columns, minlength=6) / len(probabilities)
    assert found[[0, 2, 5]].tolist() == [0, 0, 0]
    # four standard errors
    assert found[[1, 3, 4]].tolist() == pytest.approx([0.1, 0.6, 0.3], abs=0.015)
