import numpy as np
import pytest
import torch

from genrec.models import quantized
from genrec.models.embeddings import Table
from genrec.models.quantized import JointQuantized
from genrec.recommender import top_k

CODES = [[0, 0], [0, 1], [1, 0], [1, 1], [0, 2]]  # of PAD (not used) and of items 1..4
INF = torch.inf


def by_hand() -> JointQuantized:
    """Items 1..4 are (1 0 | 0 2), (0 3 | 1 1), (0 3 | 0 2) and (1 0 | -1 4); MASK is (9 9 9 9)."""
    made = JointQuantized(num_items=4, hidden_size=4, splits=2)
    made.assign(torch.tensor(CODES, dtype=torch.uint8))
    with torch.no_grad():
        made.centroids.zero_()
        made.centroids[0, :2] = torch.tensor([[1.0, 0.0], [0.0, 3.0]])
        made.centroids[1, :3] = torch.tensor([[1.0, 1.0], [0.0, 2.0], [-1.0, 4.0]])
        made.mask_vector.fill_(9.0)
    return made


STATES = torch.tensor([[1.0, 2.0, 3.0, 4.0], [1.0, 0.0, 0.0, 0.0]])
# first state: sub-items (0, 0) = 1, (0, 1) = 6; (1, 0) = 7, (1, 1) = 8, (1, 2) = 13
SCORES = [[-INF, 9.0, 13.0, 14.0, 14.0], [-INF, 1.0, 0.0, 0.0, 1.0]]


def random(num_items: int, hidden_size: int = 12, splits: int = 4, seed: int = 0) -> JointQuantized:
    torch.manual_seed(seed)
    made = JointQuantized(num_items, hidden_size, splits=splits)
    with torch.no_grad():
        made.centroids.normal_()
    return made


def test_vectors_by_hand():
    embedding = by_hand()
    assert embedding.mask_id == 5
    assert embedding(torch.tensor([[0, 1], [4, 5]])).tolist() == [
        [[0, 0, 0, 0], [1, 0, 0, 2]],
        [[1, 0, -1, 4], [9, 9, 9, 9]],
    ]
    assert embedding.vectors().tolist() == [
        [0] * 4,
        [1, 0, 0, 2],
        [0, 3, 1, 1],
        [0, 3, 0, 2],
        [1, 0, -1, 4],
    ]


@pytest.mark.parametrize("gradients", [True, False])
def test_scores_of_the_whole_catalogue_by_hand(gradients):
    with torch.set_grad_enabled(gradients):
        assert by_hand().score(STATES).tolist() == SCORES
        assert by_hand().score(STATES[:1]).tolist() == SCORES[:1]
        assert by_hand().score(STATES[:0]).shape == (0, 5)


def test_scores_of_given_items_by_hand():
    assert by_hand().score(STATES, torch.tensor([4, 1, 4])).tolist() == [[14, 9, 14], [1, 1, 1]]
    assert by_hand().score(STATES, torch.tensor([[3, 2], [1, 2]])).tolist() == [[14, 13], [1, 0]]


def test_sub_item_scores_by_hand():
    tables = by_hand().sub_item_scores(STATES)
    assert tables.shape == (2, 256, 2)
    assert tables[0, :3, 0].tolist() == [1, 6, 0]
    assert tables[1, :3, 0].tolist() == [7, 8, 13]


def test_look_ups_agree_with_products_of_vectors(monkeypatch):
    embedding, hidden = random(num_items=700), torch.randn(5, 12)
    products = hidden @ embedding.vectors().T
    products[:, 0] = -INF
    with torch.no_grad():
        torch.testing.assert_close(embedding.score(hidden), products)
        monkeypatch.setattr(quantized, "CHUNK", 64)
        torch.testing.assert_close(embedding.score(hidden), products)
        torch.testing.assert_close(embedding.score(hidden[:1]), products[:1])


@pytest.mark.parametrize(("num_items", "columns"), [(300, 3), (1000, 40), (300, 60)])
def test_few_and_many_candidates_per_row_give_the_same_scores_and_gradients(num_items, columns):
    embedding, hidden = random(num_items=num_items), torch.randn(6, 12)
    ids = torch.randint(1, num_items + 1, (6, columns))
    scores = embedding.score(hidden, ids)
    expected = torch.einsum("nd,ncd->nc", hidden, embedding(ids))
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=1e-5)
    weights = torch.randn(6, columns)
    (gradient,) = torch.autograd.grad((scores * weights).sum(), embedding.centroids)
    (reference,) = torch.autograd.grad((expected * weights).sum(), embedding.centroids)
    torch.testing.assert_close(gradient, reference, atol=1e-4, rtol=1e-4)


def test_only_used_sub_items_get_gradients():
    embedding = by_hand()
    embedding(torch.tensor([[0, 2, 0]])).sum().backward()
    used = embedding.centroids.grad.abs().sum(dim=2).nonzero().tolist()
    assert used == [[0, 1], [1, 0]]  # those of item 2; PAD's codes (0, 0) get none
    assert embedding.mask_vector.grad.tolist() == [0] * 4
    embedding(torch.tensor([5])).sum().backward()
    assert embedding.mask_vector.grad.tolist() == [1] * 4
    assert embedding.centroids.grad[0, 0].tolist() == [0, 0]


def test_items_with_the_same_codes_share_gradients():
    embedding = by_hand()
    torch.log_softmax(embedding.score(STATES), dim=1)[0, 1].backward()
    assert (embedding.centroids.grad[0, :2] != 0).all()
    assert (embedding.centroids.grad[0, 2:] == 0).all()


def test_best_items_by_hand_with_ties_to_the_smaller_item():
    scores, items = by_hand().top_k(STATES, 3)
    assert items.tolist() == [[3, 4, 2], [1, 4, 2]]
    assert scores.tolist() == [[14, 14, 13], [1, 1, 0]]
    assert by_hand().top_k(STATES, 2, blocked=torch.tensor([[3, 0], [1, 4]]))[1].tolist() == [
        [4, 2],
        [2, 3],
    ]


@pytest.mark.parametrize("states", [1, 4])
@pytest.mark.parametrize("chunk", [7, 100, 1000])
def test_best_items_are_those_of_the_score_table(states, chunk, monkeypatch):
    embedding = random(num_items=400)
    with torch.no_grad():
        embedding.centroids.copy_(embedding.centroids.round())  # many equal scores
    hidden = torch.randn(states, 12).round()
    blocked = torch.randint(0, 401, (states, 90))
    with torch.no_grad():
        table = embedding.score(hidden)
    table.scatter_(1, blocked, -INF)
    expected = top_k(table, 20)
    monkeypatch.setattr(quantized, "CHUNK", chunk)
    scores, items = embedding.top_k(hidden, 20, blocked)
    assert torch.equal(items, expected[1])
    assert torch.equal(scores, expected[0])


@pytest.mark.parametrize("states", [0, 1, 4])
@pytest.mark.parametrize("skewed", [False, True])
def test_pruning_gives_the_same_items_and_scores(states, skewed):
    embedding = random(num_items=400)
    with torch.no_grad():
        embedding.centroids.copy_(embedding.centroids.round())
        if skewed:
            embedding.centroids *= torch.linspace(-4, 1, 256).exp()[:, None]
    hidden, blocked = torch.randn(states, 12).round(), torch.randint(0, 401, (states, 90))
    expected = embedding.top_k(hidden, 20, blocked), embedding.top_k(hidden, 3)
    embedding.pruned = True
    if states:
        found = embedding.top_k(hidden, 20, blocked), embedding.top_k(hidden, 3)
        for ours, theirs in zip(found, expected, strict=True):
            assert torch.equal(ours[0], theirs[0])
            assert torch.equal(ours[1], theirs[1])
    else:
        assert embedding.top_k(hidden, 20, blocked)[1].shape == (0, 20)


def test_the_index_follows_the_codes():
    embedding = by_hand()
    embedding.pruned = True
    assert embedding.top_k(STATES, 2)[1].tolist() == [[3, 4], [1, 4]]
    assert embedding.index() is embedding.index()
    embedding.assign(
        torch.tensor([CODES[n] for n in (0, 4, 3, 2, 1)], dtype=torch.uint8)
    )  # the items in reverse
    assert embedding.top_k(STATES, 2)[1].tolist() == [[1, 2], [1, 4]]
    assert embedding.index().items_with(1, torch.tensor([2])).tolist() == [1]
    embedding.load_state_dict(by_hand().state_dict())
    assert embedding.top_k(STATES, 2)[1].tolist() == [[3, 4], [1, 4]]
    assert embedding.index().items_with(1, torch.tensor([2])).tolist() == [4]
    assert sorted(embedding.state_dict()) == ["centroids", "codes", "mask_vector"]


def test_too_few_items_left():
    with pytest.raises(
        ValueError, match="a list of 3 items was requested, but fewer of the 4 items are left"
    ):
        by_hand().top_k(STATES, 3, blocked=torch.tensor([[1, 2], [0, 0]]))


def test_width_and_codes_must_fit():
    with pytest.raises(ValueError, match="hidden_size 10 is no multiple of splits 4"):
        JointQuantized(5, 10, splits=4)
    with pytest.raises(
        ValueError, match=r"codes are torch\.int64 \(5, 2\); this embedding takes uint8 \(5, 2\)"
    ):
        by_hand().assign(torch.tensor(CODES))
    with pytest.raises(ValueError, match=r"\(4, 2\)"):
        by_hand().assign(torch.tensor(CODES[:4], dtype=torch.uint8))


def test_a_large_catalogue_takes_a_fraction_of_a_tables_bytes():
    def size(module: torch.nn.Module) -> int:
        return sum(value.numel() * value.element_size() for value in module.state_dict().values())

    assert size(Table(100_000, 64)) == 100_002 * 64 * 4
    assert (
        size(JointQuantized(100_000, 64, splits=8)) == 256 * 64 * 4 + 64 * 4 + 100_001 * 8
    )  # 26 times smaller


def test_codes_are_random_until_assigned():
    codes = random(num_items=20_000).codes[1:].numpy()
    counts = np.stack([np.bincount(column, minlength=256) for column in codes.T])
    assert counts.min() > 30  # 78 expected, standard deviation 9
    assert counts.max() < 130
    assert torch.equal(random(300).codes, random(300).codes)
    assert not torch.equal(random(300).codes, random(300, seed=1).codes)
