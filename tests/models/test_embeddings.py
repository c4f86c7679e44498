import pytest
import torch

from genrec.models.embeddings import Table


@pytest.fixture
def table() -> Table:
    made = Table(num_items=3, hidden_size=2)
    with torch.no_grad():
        made.weight.copy_(
            torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0], [1.0, 1.0], [5.0, 5.0]])
        )
    return made


def test_vectors_of_ids(table):
    assert table(torch.tensor([[0, 2], [3, 4]])).tolist() == [[[0, 0], [0, 2]], [[1, 1], [5, 5]]]


def test_a_bias_is_added_to_every_score_of_its_item(table):
    biased = Table(num_items=3, hidden_size=2, bias=True)
    with torch.no_grad():
        biased.weight.copy_(table.weight)
        biased.bias.copy_(torch.tensor([0.0, 10, 20, 30]))
    hidden = torch.tensor([[1.0, 1.0], [2.0, -1.0]])
    assert biased.score(hidden).tolist() == [[-torch.inf, 11, 22, 32], [-torch.inf, 12, 18, 31]]
    assert biased.score(hidden, torch.tensor([2, 1])).tolist() == [[22, 11], [18, 12]]
    assert biased.score(hidden, torch.tensor([[2, 1], [3, 3]])).tolist() == [[22, 11], [31, 31]]
    many = Table(num_items=99, hidden_size=2, bias=True)  # so that few are scored one by one
    with torch.no_grad():
        many.bias.fill_(1.0)
        many.weight[3] = torch.tensor([1.0, 1.0])
    assert many.score(hidden, torch.tensor([[3], [3]])).tolist() == [[3], [2]]


def test_the_mask_token_follows_the_items(table):
    assert table.mask_id == 4
    assert table.weight.shape == (5, 2)


def test_scores_of_the_whole_catalogue_leave_out_pad_and_mask(table):
    hidden = torch.tensor([[1.0, 1.0], [2.0, -1.0]])
    assert table.score(hidden).tolist() == [[-torch.inf, 1, 2, 2], [-torch.inf, 2, -2, 1]]


def test_scores_of_the_same_items_in_every_row(table):
    hidden = torch.tensor([[1.0, 1.0], [2.0, -1.0]])
    assert table.score(hidden, torch.tensor([2, 1, 2])).tolist() == [[2, 1, 2], [-2, 2, -2]]


def test_scores_of_items_of_each_row(table):
    hidden = torch.tensor([[1.0, 1.0], [2.0, -1.0]])
    assert table.score(hidden, torch.tensor([[2, 1], [3, 3]])).tolist() == [[2, 1], [1, 1]]


@pytest.mark.parametrize("columns", [2, 5, 30])
def test_few_and_many_candidates_per_row_give_the_same_scores_and_gradients(columns):
    torch.manual_seed(0)
    table, hidden = Table(num_items=50, hidden_size=4), torch.randn(6, 4)
    ids = torch.randint(1, 51, (6, columns))
    scores = table.score(hidden, ids)
    expected = torch.stack(
        [table.weight[row] @ state for row, state in zip(ids, hidden, strict=True)]
    )
    torch.testing.assert_close(scores, expected)
    weights = torch.randn(6, columns)
    (gradient,) = torch.autograd.grad((scores * weights).sum(), table.weight)
    (reference,) = torch.autograd.grad((expected * weights).sum(), table.weight)
    torch.testing.assert_close(gradient, reference, atol=1e-6, rtol=1e-5)


def test_best_items_by_hand_with_ties_to_the_smaller_item(table):
    hidden = torch.tensor([[1.0, 1.0], [2.0, -1.0]])  # scores 1 2 2 and 2 -2 1
    scores, items = table.top_k(hidden, 2)
    assert items.tolist() == [[2, 3], [1, 3]]
    assert scores.tolist() == [[2, 2], [2, 1]]
    assert table.top_k(hidden, 1, blocked=torch.tensor([[2, 0], [1, 3]]))[1].tolist() == [[3], [2]]
    for k, blocked in ((3, torch.tensor([[2, 0], [0, 0]])), (5, None)):
        with pytest.raises(
            ValueError,
            match=f"a list of {k} items was requested, but fewer of the 3 items are left",
        ):
            table.top_k(hidden, k, blocked)


def test_pad_is_zero_and_gets_no_gradient():
    table = Table(num_items=4, hidden_size=3)
    assert table.weight[0].tolist() == [0, 0, 0]
    states = table(torch.tensor([[0, 1, 2]])).sum(dim=1)
    torch.log_softmax(table.score(states), dim=1)[0, 1].backward()
    assert table.weight.grad[0].tolist() == [0, 0, 0]
    assert (table.weight.grad[1:4] != 0).all()


def test_only_the_weights_are_saved():
    assert list(Table(4, 3).state_dict()) == ["weight"]
