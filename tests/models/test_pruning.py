import pytest
import torch

from genrec.models import pruning
from genrec.models.pruning import InvertedIndex, pruned_top_k
from genrec.models.quantized import JointQuantized
from genrec.recommender import top_k

V, D, M = 2000, 16, 4


def embedding_of(kind: str) -> JointQuantized:
    torch.manual_seed(3)
    made = JointQuantized(V, D, splits=M)
    with torch.no_grad():
        made.centroids.normal_()
        if kind == "skewed":  # few strong sub-items per split
            made.centroids *= torch.linspace(-4, 1, 256).exp()[:, None]
        if kind == "tied":
            made.centroids.copy_(made.centroids.round().clamp(-1, 1))
        if kind == "flat":
            made.centroids.zero_()
    return made


def dense(made: JointQuantized, state: torch.Tensor, k: int, blocked: torch.Tensor) -> list[int]:
    """The k best of products with all vectors, in float64, where only equal scores tie."""
    with torch.no_grad():
        scores = made.vectors().double() @ state.double()
    scores[0] = scores[blocked] = -torch.inf
    return top_k(scores[None], k)[1][0].tolist()


@pytest.mark.parametrize("kind", ["random", "skewed", "tied", "flat"])
@pytest.mark.parametrize("batch", [1, 8, 100])
def test_the_list_is_that_of_a_full_sort(kind, batch):
    made = embedding_of(kind)
    index = InvertedIndex.of(made.codes)
    for seed in range(4):
        state = torch.randn(1, D, generator=torch.Generator().manual_seed(seed))
        state = state.round() if kind == "tied" else state
        nothing = torch.zeros(0, dtype=torch.long)
        favourites = torch.tensor(dense(made, state[0], 30, nothing)[::2])
        for blocked in (nothing, favourites):
            scores, items = pruned_top_k(
                made.sub_item_scores(state), index, 10, blocked=blocked, batch=batch
            )
            assert items.tolist() == dense(made, state[0], 10, blocked)
            torch.testing.assert_close(
                scores, made.vectors()[items] @ state[0], atol=1e-4, rtol=1e-5
            )


def test_most_items_are_not_scored_where_few_sub_items_are_strong(monkeypatch):
    made, scored = embedding_of("skewed"), []
    sum_scores = pruning.sum_sub_item_scores

    def counting(tables: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        scored.append(len(codes))
        return sum_scores(tables, codes)

    monkeypatch.setattr(pruning, "sum_sub_item_scores", counting)
    index, state = (
        InvertedIndex.of(made.codes),
        torch.randn(1, D, generator=torch.Generator().manual_seed(0)),
    )
    pruned_top_k(made.sub_item_scores(state), index, 10)
    assert sum(scored) < V / 2


def test_an_index_by_hand():
    codes = torch.tensor([[0, 0], [3, 1], [0, 1], [3, 255]], dtype=torch.uint8)
    index = InvertedIndex.of(codes)
    assert index.items.tolist() == [[2, 1, 3], [1, 2, 3]]
    assert index.items_with(0, torch.tensor([3])).tolist() == [1, 3]
    assert index.items_with(1, torch.tensor([255, 0, 1])).tolist() == [3, 1, 2]
    assert index.items_with(0, torch.tensor([1, 2])).tolist() == []


def test_two_items_by_hand():
    codes = torch.tensor([[0, 0], [3, 1], [0, 1], [3, 255]], dtype=torch.uint8)
    tables = torch.zeros(2, 256, 1)
    tables[0, 3], tables[1, 1], tables[1, 255] = 5.0, 1.0, 3.0
    scores, items = pruned_top_k(tables, InvertedIndex.of(codes), 2)
    assert items.tolist() == [3, 1]
    assert scores.tolist() == [8, 6]


def test_too_few_items_left():
    codes = torch.tensor([[0, 0], [3, 1], [0, 1], [3, 255]], dtype=torch.uint8)
    with pytest.raises(ValueError, match="a list of 3 items was requested, but only 2 are left"):
        pruned_top_k(torch.zeros(2, 256, 1), InvertedIndex.of(codes), 3, blocked=torch.tensor([2]))
