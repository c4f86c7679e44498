"""Attention over time intervals against a float64 reference, and a log that depends on gaps."""

import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from genrec.data import Dataset, Sequences, Split, leave_one_out, make_catalogue
from genrec.models.build import build_scorer
from genrec.models.embeddings import Table
from genrec.models.objectives import Last, Masked, RecencySampled, Shifted
from genrec.models.scorer import NeuralScorer
from genrec.models.tisasrec import (
    TimeIntervalBlock,
    TiSASRec,
    clipped_intervals,
    interval_attention,
)
from genrec.pipeline.teachers import load_scorer, train_scorer
from genrec.recipes import Teacher, recipe

B, T, D, LONGEST = 3, 9, 8, 6
CPU = torch.device("cpu")
TIMES = torch.tensor(
    [
        [0, 3, 3, 10, 11, 50, 51, 51, 99],
        [7, 7, 7, 7, 9, 13, 13, 14, 30],
        [1_000_000_000, 1_000_000_600, 1_000_000_601, *[1_000_700_000] * 6],
    ]
)
ALL = torch.ones(B, T, dtype=torch.bool)


def backbone(dropout: float = 0.0, heads: int = 2) -> TiSASRec:
    torch.manual_seed(0)
    model = TiSASRec(
        hidden_size=D, blocks=2, heads=heads, max_length=T, dropout=dropout, max_interval=LONGEST
    )
    with torch.no_grad():  # tables large enough that a wrong row shows
        for table in (
            model.key_position,
            model.value_position,
            model.key_interval,
            model.value_interval,
        ):
            table.normal_()
    return model


def vectors(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(B, T, D, generator=torch.Generator().manual_seed(1), dtype=dtype)


def naive_intervals(times: list[int], longest: int) -> list[list[int]]:
    rows = []
    for i in range(len(times)):
        known = times[: i + 1]
        unit = min((abs(a - b) for a in known for b in known if a != b), default=None)
        rows.append(
            [
                min(longest, abs(times[i] - t) // unit) if unit and j <= i else 0
                for j, t in enumerate(times)
            ]
        )
    return rows


def test_intervals_pair_by_pair():
    expected = [naive_intervals(row, LONGEST) for row in TIMES.tolist()]
    assert clipped_intervals(TIMES, LONGEST).tolist() == expected
    assert clipped_intervals(TIMES + 10**9, LONGEST).tolist() == expected, "only differences count"
    assert clipped_intervals(TIMES * 60, LONGEST).tolist() == expected, (
        "the unit of time is that of each user"
    )


def test_padding_does_not_change_intervals():
    mask = torch.arange(T) < torch.tensor([[4], [1], [0]])
    found = clipped_intervals(TIMES * mask, LONGEST)
    assert found[0, :4, :4].tolist() == naive_intervals(TIMES[0, :4].tolist(), LONGEST)
    assert found.min() >= 0
    assert found.max() <= LONGEST


def naive_attention(q, k, v, key_rows, value_rows, apart, heads):
    """With tables of the rows of all pairs, (B, T, T, D)."""
    keys, values = k[:, None] + key_rows[apart], v[:, None] + value_rows[apart]
    mixed = torch.zeros_like(q)
    width = q.shape[2] // heads
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        for i in range(q.shape[1]):
            scores = (
                torch.einsum("bd,bjd->bj", q[:, i, part], keys[:, i, : i + 1, part]) / width**0.5
            )
            mixed[:, i, part] = torch.einsum(
                "bj,bjd->bd", scores.softmax(1), values[:, i, : i + 1, part]
            )
    return mixed


@pytest.mark.parametrize("heads", [1, 2])
def test_attention_agrees_with_the_reference_in_value_and_gradient(heads):
    generator = torch.Generator().manual_seed(2)
    inputs = [torch.randn(B, T, D, generator=generator, dtype=torch.float64) for _ in range(3)]
    inputs += [
        torch.randn(LONGEST + 1, D, generator=generator, dtype=torch.float64) for _ in range(2)
    ]
    apart = torch.tensor([naive_intervals(row, LONGEST) for row in TIMES.tolist()])
    out = torch.randn(B, T, D, generator=generator, dtype=torch.float64)
    found = []
    for attention in (
        naive_attention,
        lambda q, k, v, a, b, r, h: interval_attention(
            q, k, v, tables=(a, b), intervals=r, heads=h
        ),
    ):
        leaves = [x.clone().requires_grad_() for x in inputs]
        mixed = attention(*leaves, apart, heads)
        found.append((mixed.detach(), *torch.autograd.grad((mixed * out).sum(), leaves)))
    for expected, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-12)


def test_states_agree_with_the_reference():
    model = backbone().double()
    x = vectors(torch.float64) * D**0.5
    apart = torch.tensor([naive_intervals(row, LONGEST) for row in TIMES.tolist()])
    for block in model.blocks:
        assert isinstance(block, TimeIntervalBlock)
        q, k, v = functional.linear(
            block.attention_norm(x), block.qkv.weight, block.qkv.bias
        ).split(D, dim=2)
        k, v = k + model.key_position, v + model.value_position
        x = x + block.out(
            naive_attention(q, k, v, model.key_interval, model.value_interval, apart, 2)
        )
        x = x + block.down(functional.gelu(block.up(block.forward_norm(x))))
    torch.testing.assert_close(
        model(vectors(torch.float64), ALL, TIMES), model.norm(x), rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize("j", [1, 4, T - 1])
def test_neither_a_later_item_nor_its_time_changes_an_earlier_state(j):
    model, x, later = backbone(), vectors(), TIMES.clone()
    x[:, j] += torch.linspace(-2, 3, D) ** 2
    later[:, j:] = (
        TIMES[:, j - 1 : j] + 1 + torch.arange(T - j)
    )  # gaps of 1, the smallest there are
    before = model(vectors(), ALL, TIMES)
    for after in (model(x, ALL, TIMES), model(vectors(), ALL, later)):
        difference = (after - before).abs().amax(dim=(0, 2))
        assert difference[:j].max() < 1e-5
        assert difference[j:].max() > 1e-3


def test_neither_the_padding_nor_its_width_matters():
    model, x = backbone(), vectors()
    mask = torch.arange(T) < torch.tensor([[4], [1], [T]])
    states = model(x, mask, TIMES * mask)
    torch.testing.assert_close(
        model(x + 5.0 * ~mask[..., None], mask, TIMES)[mask], states[mask], atol=1e-5, rtol=0
    )
    torch.testing.assert_close(
        states[:, :4], model(x[:, :4], mask[:, :4], TIMES[:, :4] * mask[:, :4])
    )
    assert model(x[:0], ALL[:0], TIMES[:0]).shape == (0, T, D)


def test_every_weight_has_a_gradient_and_dropout_acts_in_training_only():
    model = backbone(dropout=0.5)
    assert not torch.equal(model(vectors(), ALL, TIMES), model(vectors(), ALL, TIMES))
    model.eval()
    assert torch.equal(model(vectors(), ALL, TIMES), model(vectors(), ALL, TIMES))
    (model(vectors(), ALL, TIMES) * vectors()).sum().backward()
    assert [name for name, weight in model.named_parameters() if not weight.grad.any()] == []


def test_impossible_sizes():
    with pytest.raises(ValueError, match="hidden_size 8 is not a multiple of heads 3"):
        backbone(heads=3)
    with pytest.raises(ValueError, match="max_interval is 0"):
        TiSASRec(hidden_size=D, blocks=1, heads=1, max_length=T, dropout=0.0, max_interval=0)


@pytest.mark.parametrize("objective", [Shifted(), Last(), RecencySampled()])
def test_batches_have_the_times_of_their_inputs(objective):
    rows = [[3, 1, 4, 1, 5], [2, 6], [5, 3, 5]]
    ragged = Sequences.from_lists(
        rows, times=[[10 * n + 1 for n in range(len(row))] for row in rows]
    )
    batch = objective.batch(ragged, max_length=3, mask_id=9, generator=np.random.default_rng(0))
    without = objective.batch(
        replace(ragged, times=None), max_length=3, mask_id=9, generator=np.random.default_rng(0)
    )
    assert without.times is None
    assert torch.equal(batch.inputs, without.inputs)
    for row, (items, times) in enumerate(
        zip(batch.inputs.tolist(), batch.times.tolist(), strict=True)
    ):
        found = [(item, time) for item, time in zip(items, times, strict=True) if item]
        assert found
        assert all(rows[row][time // 10] == item for item, time in found)
    assert torch.equal(batch.to(CPU).times, batch.times)


# A log in which the gap before an item determines the next one: the neighbour in the cycle, or the
# first item after a long gap.
USERS, ITEMS, LENGTH = 200, 20, 9
SIZES = {
    "hidden_size": 32,
    "max_length": LENGTH,
    "dropout": 0.0,
    "learning_rate": 1e-2,
    "tokens_per_step": 256,
    "evaluate_every": 24,  # the seen filter hides the first item, so no validation may choose
}
CONFIG = recipe("tisasrec", backbone={"blocks": 1, "max_interval": 8}, epochs=24, **SIZES)


@cache
def log(shuffled: bool = False) -> Split:
    rng = np.random.default_rng(4)
    slow = rng.random((USERS, LENGTH)) < 0.5
    items = np.empty((USERS, LENGTH), np.int32)
    items[:, 0] = rng.integers(1, ITEMS + 1, USERS)
    for step in range(1, LENGTH):
        items[:, step] = np.where(slow[:, step - 1], 1, items[:, step - 1] % ITEMS + 1)
    gaps = np.where(slow, 600, 60) + rng.integers(0, 20, size=slow.shape)
    if shuffled:
        gaps = rng.permuted(gaps, axis=1)
    times = 10**9 + np.cumsum(gaps, axis=1)
    names = [str(n) for n in range(1, ITEMS + 1)]
    users = np.array([f"u{n}" for n in range(USERS)])
    sequences = Sequences.from_lists(items)
    return leave_one_out(
        Dataset(
            name="gaps",
            users=users,
            sequences=sequences,
            timestamps=times.reshape(-1),
            catalogue=make_catalogue(names),
        ),
        num_validation=30,
    )


def hits(scorer: NeuralScorer, split: Split) -> float:
    best = scorer.score(split.test.histories).argmax(dim=1).numpy()
    return float((best == split.test.targets).mean())


def trained(split: Split, config: Teacher, directory: Path) -> NeuralScorer:
    scorer = train_scorer(split, config, seed=0, device=CPU, directory=directory, quiet=True)
    assert isinstance(scorer, NeuralScorer)
    return scorer


def test_settings_reach_the_backbone():
    scorer = build_scorer(CONFIG, num_items=ITEMS, seed=0)
    assert scorer.backbone.key_interval.shape == (8 + 1, 32)


def test_what_depends_on_the_gap_is_learnt_and_saved(tmp_path):
    scorer = trained(log(), CONFIG, tmp_path)
    assert hits(scorer, log()) > 0.85
    loaded = load_scorer(tmp_path, CPU)
    histories = log().test.histories
    assert torch.equal(loaded.score(histories), scorer.score(histories))
    slowed = replace(histories, times=histories.times * 60)
    assert torch.equal(loaded.score(slowed), loaded.score(histories)), (
        "the unit of time is the user's own"
    )
    for n in (0, 7):
        torch.testing.assert_close(loaded.score(histories.take([n]))[0], loaded.score(histories)[n])


def test_shuffled_gaps_and_the_order_alone_predict_nothing(tmp_path):
    # Two items may come next; four standard deviations above one half.
    bound = 0.5 + 4 * 0.5 / USERS**0.5
    shuffled = trained(log(shuffled=True), CONFIG, tmp_path / "noise")
    assert hits(shuffled, log(shuffled=True)) < bound
    order_alone = recipe("sasrec_softmax", backbone={"blocks": 1}, epochs=10, **SIZES)
    assert hits(trained(log(), order_alone, tmp_path / "order"), log()) < bound


def test_a_log_without_times_is_refused(tmp_path):
    split = replace(log(), train=replace(log().train, times=None))
    with pytest.raises(
        ValueError, match="TiSASRec reads the times of events, and these histories have no times"
    ):
        trained(split, CONFIG, tmp_path)
    with pytest.raises(ValueError, match=re.escape("such as sasrec_softmax")):
        build_scorer(CONFIG, num_items=ITEMS, seed=0).score(Sequences.from_lists([[1, 2]]))


def test_a_mask_has_no_time():
    with pytest.raises(ValueError, match="a MASK token has no time"):
        NeuralScorer(Table(ITEMS, D), backbone(), Masked(), max_length=T, reads_times=True)
