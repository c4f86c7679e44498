from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np
import pytest
import torch
from torch.nn import functional

from genrec.data import Sequences
from genrec.models import losses, negatives
from genrec.models.embeddings import Table
from genrec.models.objectives import Batch, Masked, Objective, RecencySampled, Shifted
from genrec.models.scorer import NeuralScorer, Recipe
from genrec.models.transformer import Transformer

V, T, D = 30, 6, 8
UNIFORM = partial(negatives.Sampled, negatives.uniform(V))
BOTH = pytest.mark.parametrize("objective", [Shifted(), Masked()], ids=["causal", "bidirectional"])


def scorer(objective: Objective, dropout: float = 0.0) -> NeuralScorer:
    torch.manual_seed(0)
    backbone = Transformer(
        hidden_size=D,
        blocks=2,
        heads=2,
        max_length=T,
        dropout=dropout,
        causal=not isinstance(objective, Masked),
    )
    made = NeuralScorer(Table(V, D), backbone, objective, max_length=T)
    with torch.no_grad():
        made.embedding.weight[1:] *= 20  # far from the initial values near 0, so that errors show
    return made


def batch_of(objective: Objective):
    rng = np.random.default_rng(0)
    sequences = Sequences.from_lists([rng.permutation(V)[:n] + 1 for n in (2, 6, 5, 9)])
    return objective.batch(sequences, max_length=T, mask_id=V + 1, generator=rng)


def gradients(recipe: Recipe) -> dict[str, torch.Tensor]:
    out = {name: p.grad.clone() for name, p in recipe.scorer.named_parameters()}
    recipe.scorer.zero_grad()
    return out


def reference_scores(
    recipe: Recipe, batch, ids: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores and positives from the embedding rows themselves, one row per target."""
    model = recipe.scorer
    states = model.backbone(model.embedding(batch.inputs), batch.inputs > 0).reshape(-1, D)[
        batch.positions
    ]
    weight, rows = model.embedding.weight, []
    for n, (state, target) in enumerate(zip(states, batch.targets.tolist(), strict=True)):
        if ids is None:
            chosen = weight[1 : V + 1] @ state
            rows.append(torch.cat([torch.full((1,), -torch.inf), chosen]))
            continue
        of_row = ids[n] if ids.dim() == 2 else ids
        others = torch.stack(
            [
                weight[i] @ state if i != target else torch.tensor(-torch.inf)
                for i in of_row.tolist()
            ]
        )
        rows.append(torch.cat([(weight[target] @ state)[None], others]))
    positive = batch.targets if ids is None else torch.zeros_like(batch.targets)
    return torch.stack(rows), positive


def given_negatives(ids: torch.Tensor) -> negatives.Negatives:
    """Negatives given in advance: the next rows of ``ids`` at every call."""
    handed = 0

    def take(batch: Batch, generator: torch.Generator) -> torch.Tensor:
        nonlocal handed
        handed += len(batch.targets)
        return ids[handed - len(batch.targets) : handed]

    return take


LOSSES = {
    "softmax": (losses.softmax, functional.cross_entropy),
    "gbce": (partial(losses.gbce, beta=0.3),) * 2,
}


@BOTH
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("kind", ["catalogue", "uniform", "shared"])
@pytest.mark.parametrize("chunk", [1, 4, 10_000])
def test_chunks_give_the_gradients_of_one_pass(objective, loss, kind, chunk):
    batch = batch_of(objective)
    count = len(batch.targets)
    draw = torch.Generator().manual_seed(3)
    ids = {
        "catalogue": None,
        "uniform": torch.randint(1, V + 1, (count, 5), generator=draw),
        "shared": torch.randint(1, V + 1, (12,), generator=draw),
    }[kind]
    if kind == "uniform":
        ids[0, 1] = ids[3 % count, 0] = 0  # replaced below by the targets of those rows
        ids[0, 1], ids[3 % count, 0] = batch.targets[0], batch.targets[3 % count]
    if kind == "shared":
        ids[:2] = batch.targets[:2]
    draws = {
        "catalogue": negatives.catalogue,
        "uniform": given_negatives(ids),
        "shared": lambda batch, generator: ids,
    }[kind]
    ours, reference = LOSSES[loss]
    recipe = Recipe(scorer(objective), draws, ours)
    value = recipe.training_step(batch, torch.Generator(), chunk)
    chunked = gradients(recipe)
    expected = reference(*reference_scores(recipe, batch, ids))
    expected.backward()
    assert value == pytest.approx(float(expected.detach()), abs=1e-6)
    for name, gradient in gradients(recipe).items():
        torch.testing.assert_close(
            chunked[name], gradient, atol=1e-6, rtol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_a_negative_that_is_the_target_is_no_candidate():
    recipe = Recipe(scorer(Shifted()), negatives.catalogue, losses.softmax)
    hidden, targets = torch.randn(2, D), torch.tensor([4, 7])
    for ids in (torch.tensor([[4, 7, 1], [4, 7, 7]]), torch.tensor([4, 7, 7])):
        scores, positive = recipe.score_candidates(hidden, targets, ids)
        assert positive.tolist() == [0, 0]
        excluded = (scores == -torch.inf).tolist()
        first = [False, True, False, False]
        assert excluded == ([first, [False, False, True, True]])


def corrected(scores: list[float], log_expected: torch.Tensor | None) -> Recipe:
    """A recipe whose items have these scores for the state [1.0], item 1 first."""
    table = Table(len(scores), 1)
    with torch.no_grad():
        table.weight[1:-1, 0] = torch.tensor(scores)
    model = NeuralScorer(table, torch.nn.Identity(), Shifted(), max_length=T)
    return Recipe(model, negatives.catalogue, losses.softmax, log_expected)


def test_logq_by_hand():
    expected = torch.tensor(
        [-torch.inf, 0.693147, -0.693147, -0.693147]
    )  # item 1 twice, 2 and 3 every other time
    recipe = corrected([1.0, 2.0, 3.0], expected)
    hidden, targets = torch.ones(2, 1), torch.tensor([3, 1])
    half, double = 2 + 0.693147, 1 - 0.693147
    for ids in (torch.tensor([1, 2, 3]), torch.tensor([[1, 2, 3], [1, 2, 3]])):
        scores, positive = recipe.score_candidates(hidden, targets, ids)
        wanted = [[3, double, half, -torch.inf], [1, -torch.inf, half, 3 + 0.693147]]
        torch.testing.assert_close(scores, torch.tensor(wanted))
        assert positive.tolist() == [0, 0]
        # exp 3 / (exp 3 + exp 1 / 2 + 2 exp 2) and exp 1 / (exp 1 + 2 exp 2 + 2 exp 3)
        losses_by_hand = (-np.log(20.085537 / 36.222791) - np.log(2.718282 / 57.667469)) / 2
        assert float(losses.softmax(scores, positive).detach()) == pytest.approx(
            losses_by_hand, abs=1e-5
        )


@pytest.mark.parametrize("q", [[0.25, 0.25, 0.25, 0.25], [0.1, 0.5, 0.1, 0.3]])
@pytest.mark.parametrize("shared", [False, True])
def test_logq_sums_to_the_catalogue_on_average_over_all_draws(q, shared):
    s, k, target = [0.5, -1.0, 2.0, 0.1], 2, 3
    recipe = corrected(s, torch.tensor([-np.inf, *(np.log(k * p) for p in q)], dtype=torch.float32))
    total = 0.0
    for drawn in product(range(4), repeat=k):
        ids = torch.tensor(drawn) + 1
        scores, _ = recipe.score_candidates(
            torch.ones(1, 1), torch.tensor([target]), ids if shared else ids[None]
        )
        total += np.prod([q[i] for i in drawn]) * float(scores.detach().double().exp().sum())
    assert total == pytest.approx(np.exp(np.float64(s)).sum(), rel=1e-6)


def test_logq_of_uniform_negatives_is_the_same_constant_for_each():
    sampled = UNIFORM(3)
    plain = Recipe(scorer(Shifted()), sampled, losses.softmax)
    hidden, targets = torch.randn(2, D), torch.tensor([4, 7])
    for ids in (torch.tensor([[4, 9, 1], [4, 7, 5]]), torch.tensor([4, 9, 7])):
        before, _ = plain.score_candidates(hidden, targets, ids)
        after, _ = replace(plain, log_expected=sampled.log_expected).score_candidates(
            hidden, targets, ids
        )
        torch.testing.assert_close(after[:, 0], before[:, 0])
        torch.testing.assert_close(after[:, 1:], before[:, 1:] + 2.302585)  # log(30 / 3)


@pytest.mark.parametrize("shared", [False, "sequence", "batch"])
def test_logq_training_against_float64(shared):
    counts = torch.arange(V + 1)
    sampled = negatives.Sampled(negatives.popular(counts, 0.5), 7, shared=shared)
    batch = batch_of(Shifted())
    recipe = Recipe(scorer(Shifted()), sampled, losses.softmax, sampled.log_expected)
    value = recipe.training_step(batch, torch.Generator().manual_seed(3), 4)
    ids = sampled(batch, torch.Generator().manual_seed(3)).expand(len(batch.targets), -1).numpy()
    states = recipe.scorer.states(batch.inputs, batch.positions).detach().double().numpy()
    weight = recipe.scorer.embedding.weight.detach().double().numpy()
    roots, terms = np.sqrt(np.arange(V + 1)), []
    for state, target, drawn in zip(states, batch.targets.tolist(), ids, strict=True):
        others = sum(
            np.exp(weight[j] @ state) / (7 * roots[j] / roots.sum()) for j in drawn if j != target
        )
        positive = np.exp(weight[target] @ state)
        terms.append(-np.log(positive / (positive + others)))
    assert value == pytest.approx(np.mean(terms), rel=1e-5)


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_sets_of_targets_in_chunks_give_the_gradients_of_one_pass(chunk):
    objective = RecencySampled(share=0.5)
    batch = batch_of(objective)
    recipe = Recipe(scorer(objective), negatives.catalogue, losses.bce)
    value = recipe.training_step(batch, torch.Generator(), chunk)
    chunked = gradients(recipe)
    labels = torch.zeros(len(batch.targets), V + 1).scatter(1, batch.targets, 1.0)[:, 1:]
    states = recipe.scorer.states(batch.inputs, batch.positions)
    logits = states @ recipe.scorer.embedding.weight[1 : V + 1].T
    expected = functional.binary_cross_entropy_with_logits(logits, labels)
    expected.backward()
    assert value == pytest.approx(float(expected.detach()), abs=1e-6)
    for name, gradient in gradients(recipe).items():
        torch.testing.assert_close(chunked[name], gradient, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("shared", [False, "sequence", "batch"])
def test_sets_of_targets_have_no_sampled_negatives(shared):
    recipe = Recipe(scorer(RecencySampled()), UNIFORM(3, shared), losses.bce)
    with pytest.raises(ValueError, match=r"sets of targets need negatives\.catalogue"):
        recipe.training_step(batch_of(RecencySampled()), torch.Generator(), 4)


def test_gradients_accumulate_as_autograd_does():
    batch = batch_of(Shifted())
    recipe = Recipe(scorer(Shifted()), negatives.catalogue, losses.softmax)
    recipe.training_step(batch, torch.Generator(), 100)
    once = gradients(recipe)
    recipe.training_step(batch, torch.Generator(), 100)
    recipe.training_step(batch, torch.Generator(), 100)
    for name, gradient in gradients(recipe).items():
        torch.testing.assert_close(gradient, 2 * once[name])


def test_the_generator_decides_the_negatives():
    batch = batch_of(Shifted())
    recipe = Recipe(scorer(Shifted()), UNIFORM(3), losses.bce)
    values = [
        recipe.training_step(batch, torch.Generator().manual_seed(seed), 4) for seed in (1, 1, 2)
    ]
    assert values[0] == values[1] != values[2]


@BOTH
def test_scores_do_not_depend_on_the_batch(objective):
    model = scorer(objective)
    rows = [[3], [], [1, 2, 3, 4, 5], [9, 8, 7, 6, 5, 4, 3, 2, 1], [5, 6]]
    together = model.score(Sequences.from_lists(rows))
    for row, score in zip(rows, together, strict=True):
        torch.testing.assert_close(
            model.score(Sequences.from_lists([row]))[0], score, atol=1e-5, rtol=1e-5
        )


@BOTH
def test_only_the_newest_items_matter(objective):
    model = scorer(objective)
    read = T if isinstance(objective, Shifted) else T - 1
    newest = [7, 3, 9, 1, 2, 8][-read:]
    short, long, other = (
        model.score(Sequences.from_lists([row]))
        for row in (newest, [4, 5, 6, *newest], [4, 5, 6, newest[0] + 10, *newest[1:]])
    )
    torch.testing.assert_close(short, long, atol=1e-5, rtol=1e-5)
    assert (other[:, 1:] - long[:, 1:]).abs().max() > 1e-3


@BOTH
def test_scores_are_those_of_the_final_state(objective):
    """Against a plain forward pass of one history with the position given by hand."""
    model = scorer(objective).eval()
    inputs = torch.tensor([[5, 6, 7] if isinstance(objective, Shifted) else [5, 6, 7, V + 1]])
    states = model.backbone(model.embedding(inputs), inputs > 0)
    expected = states[0, -1] @ model.embedding.weight[1 : V + 1].T
    torch.testing.assert_close(
        model.score(Sequences.from_lists([[5, 6, 7]]))[0, 1:], expected, atol=1e-5, rtol=1e-5
    )


@BOTH
def test_scoring_has_no_dropout_and_keeps_the_mode(objective):
    model = scorer(objective, dropout=0.5).train()
    histories = Sequences.from_lists([[1, 2, 3]])
    assert torch.equal(model.score(histories), model.score(histories))
    assert model.training
    assert not model.eval().score(histories).requires_grad
    assert not model.training


def test_the_mask_token_is_never_recommended():
    model = scorer(Masked())
    assert model.score(Sequences.from_lists([[1, 2]])).shape == (1, V + 1)
    assert model.num_items == V


def test_recipes_are_values():
    recipe = Recipe(scorer(Shifted()), negatives.catalogue, losses.softmax)
    assert replace(recipe, loss=losses.bce).scorer is recipe.scorer


@pytest.mark.parametrize(
    "ids", [None, torch.tensor([4, 9]), torch.tensor([[4, 9], [8, 4]])], ids=["all", "one", "two"]
)
def test_the_score_offset_is_added_to_every_score(ids):
    plain = scorer(Shifted())
    raised = NeuralScorer(
        plain.embedding, plain.backbone, Shifted(), max_length=T, score_offset=-3.5
    )
    histories = Sequences.from_lists([[3, 5], [7]])
    assert torch.allclose(raised.score(histories), plain.score(histories) - 3.5)
    assert torch.allclose(raised.best(histories, 3)[0], plain.best(histories, 3)[0] - 3.5)
    assert torch.equal(raised.best(histories, 3)[1], plain.best(histories, 3)[1])
    hidden, targets = torch.randn(2, D), torch.tensor([4, 1])
    without, with_offset = (
        Recipe(each, negatives.catalogue, losses.bce).score_candidates(hidden, targets, ids)
        for each in (plain, raised)
    )
    assert torch.allclose(with_offset[0], without[0] - 3.5)  # excluded candidates stay -inf
    assert torch.equal(with_offset[1], without[1])
