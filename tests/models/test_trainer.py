import json
import math
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from genrec.config.reading import TeacherSettings
from genrec.data import Split, leave_one_out, synthetic
from genrec.data.sequences import Sequences, length_buckets
from genrec.metrics.ranking import evaluate
from genrec.models.objectives import Batch
from genrec.models.scorer import Recipe
from genrec.models.trainer import (
    _generator_states,
    _restore_generators,
    fit,
    states_at_once,
    windows,
)
from genrec.recipes import build
from genrec.recommender import TopK
from genrec.training.checkpoint import CHECKPOINT
from genrec.training.interruption import Interrupted

SETTINGS = TeacherSettings(
    recipe="sasrec",
    hidden_size=8,
    blocks=1,
    max_length=9,
    dropout=0.2,
    epochs=6,
    learning_rate=5e-3,
    tokens_per_step=128,
    evaluate_every=1,
    bf16=False,
)


@pytest.fixture(scope="module")
def split() -> Split:
    return leave_one_out(
        synthetic.chain(num_users=60, num_items=20, length=10, randomness=0.1, seed=0)
    )


def weights(recipe: Recipe) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in recipe.scorer.state_dict().items()}


def fresh(settings: TeacherSettings = SETTINGS) -> Recipe:
    return build(20, settings, seed=1)


def stopping_in(epoch: int, steps_per_epoch: int) -> Recipe:
    """A recipe whose user presses Ctrl-C in the middle of an epoch."""
    recipe, steps = fresh(), 0

    def loss(scores: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
        nonlocal steps
        steps += 1
        if steps == (epoch - 1) * steps_per_epoch + 2:
            os.kill(os.getpid(), signal.SIGINT)
        return recipe.loss(scores, positive)

    return replace(recipe, loss=loss)


def steps_per_epoch(split: Split) -> int:
    recipe, steps = fresh(), 0

    def loss(scores: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
        nonlocal steps
        steps += 1
        return recipe.loss(scores, positive)

    fit(replace(recipe, loss=loss), split, SETTINGS.model_copy(update={"epochs": 1}), quiet=True)
    return steps


def test_going_on_after_ctrl_c_gives_the_weights_of_an_uninterrupted_run(
    split: Split, tmp_path: Path
):
    whole = fresh()
    expected = fit(whole, split, SETTINGS, seed=5, quiet=True)
    stopped = stopping_in(3, steps_per_epoch(split))
    with pytest.raises(Interrupted, match="stopped after epoch 3"):
        fit(stopped, split, SETTINGS, seed=5, folder=tmp_path, quiet=True)
    assert (tmp_path / CHECKPOINT).exists()
    again = build(20, SETTINGS, seed=77)  # other initial weights: all must come from the checkpoint
    measured = fit(
        again, split, SETTINGS, seed=6, folder=tmp_path, quiet=True
    )  # another seed: so must the generators
    assert measured == expected
    for name, value in weights(again).items():
        assert torch.equal(value, weights(whole)[name]), name


def test_a_finished_run_is_not_trained_further(split: Split, tmp_path: Path):
    recipe = fresh()
    expected = fit(recipe, split, SETTINGS, folder=tmp_path, quiet=True)
    again = build(20, SETTINGS, seed=77)
    assert fit(again, split, SETTINGS, folder=tmp_path, quiet=True) == expected
    assert all(torch.equal(value, weights(recipe)[name]) for name, value in weights(again).items())


def test_the_weights_of_the_best_validation_are_kept(split: Split, monkeypatch: pytest.MonkeyPatch):
    kept, order = [], iter([0.05, 0.1, 0.5, 0.2, 0.4])  # popularity's first
    recipe, settings = fresh(), SETTINGS.model_copy(update={"epochs": 4})

    def measure(*arguments: object) -> object:
        kept.append(weights(recipe))
        evaluation = evaluate(TopK(recipe.scorer), split.valid, split.catalogue)
        return replace(evaluation, per_user={"ndcg@10": np.array([next(order)])}, overall={})

    monkeypatch.setattr(
        "genrec.models.validation.popularity_ndcg", lambda split, k: np.array([next(order)])
    )
    monkeypatch.setattr("genrec.models.validation.evaluate", measure)
    best = fit(recipe, split, settings, quiet=True)
    assert best == {"epoch": 2, "ndcg@10": 0.5, "popularity ndcg@10": 0.05}
    assert len(kept) == 4
    final = weights(recipe)
    assert all(torch.equal(value, kept[1][name]) for name, value in final.items())
    assert not torch.equal(kept[2]["embedding.weight"], final["embedding.weight"])
    assert not recipe.scorer.training


def scripted(monkeypatch: pytest.MonkeyPatch, values: list[float], popular: float) -> list[float]:
    """Validations of one user each that return the values in turn, the last one for ever; those
    made so far."""
    made: list[float] = []

    def measure(*arguments: object) -> object:
        made.append(values[min(len(made), len(values) - 1)])
        return replace(evaluate(*arguments), per_user={"ndcg@10": np.array([made[-1]])}, overall={})

    monkeypatch.setattr("genrec.models.validation.evaluate", measure)
    monkeypatch.setattr(
        "genrec.models.validation.popularity_ndcg", lambda split, k: np.array([popular])
    )
    return made


def test_training_stops_when_validation_no_longer_improves(
    split: Split, monkeypatch: pytest.MonkeyPatch
):
    made = scripted(monkeypatch, [0.5, 0.4, 0.3, 0.2], popular=0.1)
    fit(fresh(), split, SETTINGS.model_copy(update={"epochs": 50, "patience": 3}), quiet=True)
    assert len(made) == 4


def test_patience_does_not_count_at_the_level_of_popularity(
    split: Split, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    flat = [0.02, 0.02, 0.019, 0.018, 0.02, 0.017]
    made = scripted(monkeypatch, [*flat, 0.3, 0.2], popular=0.02)
    best = fit(
        fresh(), split, SETTINGS.model_copy(update={"epochs": 50, "patience": 2}), quiet=True
    )
    assert len(made) == len(flat) + 3  # it took off, and two validations later nothing was better
    assert best == {"epoch": 7, "ndcg@10": 0.3, "popularity ndcg@10": 0.02}
    said = capsys.readouterr().err
    assert said.count("warning") == 1
    assert "warning: validation ndcg@10 0.0200 after 2 epochs, popularity has 0.0200" in said


def test_a_teacher_that_never_rises_is_said(
    split: Split, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    made = scripted(monkeypatch, [0.02, 0.03], popular=0.031)
    fit(fresh(), split, SETTINGS.model_copy(update={"epochs": 4}), quiet=True)
    assert len(made) == 4
    said = capsys.readouterr().err
    assert said.count("warning") == 1
    assert (
        "is not clearly better than popularity on the 1 validation users: best ndcg@10 0.0300"
        " against 0.0310." in said
    )


def test_noise_is_said_and_a_chain_is_not(
    split: Split, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    settings = SETTINGS.model_copy(update={"epochs": 8, "learning_rate": 2e-2})
    fit(fresh(), split, settings, quiet=True)
    assert "warning" not in capsys.readouterr().err
    noise = leave_one_out(
        synthetic.chain(num_users=60, num_items=20, length=10, randomness=1.0, seed=0)
    )
    best = fit(fresh(), noise, settings, folder=tmp_path, quiet=True)
    said = capsys.readouterr().err
    assert "warning: this teacher is not clearly better than popularity" in said
    assert f"against {best['popularity ndcg@10']:.4f}" in said
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert {line["popularity ndcg@10"] for line in lines} == {best["popularity ndcg@10"]}


def test_what_was_learnt_about_popularity_survives_a_checkpoint(
    split: Split, tmp_path: Path, monkeypatch
):
    made = scripted(monkeypatch, [0.5, 0.05], popular=0.1)  # it rose before the checkpoint alone
    fit(fresh(), split, SETTINGS.model_copy(update={"epochs": 2}), folder=tmp_path, quiet=True)
    fit(
        fresh(),
        split,
        SETTINGS.model_copy(update={"epochs": 50, "patience": 3}),
        folder=tmp_path,
        quiet=True,
    )
    assert len(made) == 4


def test_patience_that_had_run_out_at_a_checkpoint_stays_so(
    split: Split, tmp_path: Path, monkeypatch
):
    made = scripted(monkeypatch, [0.5, 0.4, 0.3, 0.9], popular=0.1)
    settings = SETTINGS.model_copy(update={"epochs": 50, "patience": 2})
    best = fit(fresh(), split, settings, folder=tmp_path, quiet=True)
    assert len(made) == 3
    again = fit(
        fresh(), split, settings, folder=tmp_path, quiet=True
    )  # as after a run that was killed at its end
    assert again == best
    assert len(made) == 3


def test_dropout_on_a_gpu_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch):
    there = {"state": torch.tensor([1, 2, 3], dtype=torch.uint8)}
    monkeypatch.setattr("torch.cuda.get_rng_state", lambda device: there["state"])
    monkeypatch.setattr("torch.cuda.set_rng_state", lambda state, device: there.update(state=state))
    numbers, generator = np.random.default_rng(0), torch.Generator()
    saved = _generator_states(numbers, generator, torch.device("cuda"))
    there["state"] = torch.zeros(3, dtype=torch.uint8)
    _restore_generators(
        dict(saved), numbers, generator, torch.device("cpu")
    )  # another machine, without one
    assert there["state"].tolist() == [0, 0, 0]
    _restore_generators(dict(saved), numbers, generator, torch.device("cuda"))
    assert there["state"].tolist() == [1, 2, 3]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_the_run(split: Split, value: float):
    broken = replace(fresh(), loss=lambda scores, positive: scores[:, 0].sum() * value)
    with pytest.raises(
        FloatingPointError, match=r"the loss is -?(nan|inf) in epoch 1: lower the learning rate"
    ):
        fit(broken, split, SETTINGS, quiet=True)


def test_the_log_has_a_line_an_epoch(split: Split, tmp_path: Path):
    settings = SETTINGS.model_copy(update={"epochs": 3, "evaluate_every": 2})
    best = fit(fresh(), split, settings, folder=tmp_path, quiet=True)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert {line["stage"] for line in lines} == {"teacher"}
    assert ["valid ndcg@10" in line for line in lines] == [False, True, True]
    assert max(line.get("valid ndcg@10", 0) for line in lines) == best["ndcg@10"]
    assert [round(line["learning_rate"], 6) for line in lines] == [
        0.005,
        0.002625,
        0.00025,
    ]  # down to 5 %
    assert lines[-1]["loss"] < lines[0]["loss"]


def test_the_seed_decides_the_run(split: Split):
    settings = SETTINGS.model_copy(update={"epochs": 2})
    tables = []
    for seed in (3, 3, 4):
        recipe = fresh(settings)
        fit(recipe, split, settings, seed, quiet=True)
        tables.append(recipe.scorer.embedding.weight.detach())
    assert torch.equal(tables[0], tables[1])
    assert not torch.equal(tables[0], tables[2])


def test_pad_stays_zero(split: Split):
    recipe = fresh()
    fit(recipe, split, SETTINGS.model_copy(update={"weight_decay": 0.1}), quiet=True)
    assert recipe.scorer.embedding.weight[0].tolist() == [0.0] * 8


@pytest.mark.parametrize("tokens", [64, 1000, 10**6])
def test_buckets_hold_every_row_once_within_the_budget(tokens: int):
    lengths = np.random.default_rng(0).integers(1, 90, 700)
    batches = length_buckets(
        lengths, max_length=50, tokens=tokens, generator=np.random.default_rng(1)
    )
    assert sorted(np.concatenate(batches).tolist()) == list(range(700))
    padded = [len(rows) * min(50, int(lengths[rows].max())) for rows in batches]
    assert max(padded) <= tokens
    if tokens == 1000:  # hardly any padding, and full batches
        assert np.minimum(lengths, 50).sum() / sum(padded) > 0.8
        assert np.median(padded) > 800


def test_a_row_longer_than_the_budget_is_a_batch_of_its_own():
    batches = length_buckets(
        np.array([30, 40, 30]), max_length=50, tokens=10, generator=np.random.default_rng(0)
    )
    assert sorted(rows.tolist() for rows in batches) == [[0], [1], [2]]


def test_buckets_change_from_epoch_to_epoch_by_the_generator_alone():
    lengths = np.random.default_rng(0).integers(1, 90, 300)
    first, same, other = (
        length_buckets(lengths, max_length=50, tokens=500, generator=np.random.default_rng(seed))
        for seed in (1, 1, 2)
    )
    assert [rows.tolist() for rows in first] == [rows.tolist() for rows in same]
    assert [rows.tolist() for rows in first] != [rows.tolist() for rows in other]


def test_users_with_a_single_training_event_change_nothing(split: Split):
    settings, recipes = SETTINGS.model_copy(update={"epochs": 2}), (fresh(), fresh())
    even = split.train.take(np.arange(0, len(split.train), 2))
    mixed = split.train.drop_last(
        np.where(np.arange(len(split.train)) % 2, split.train.lengths - 1, 0)
    )
    for recipe, train in zip(recipes, (even, mixed), strict=True):
        fit(recipe, replace(split, train=train), settings, quiet=True)
    assert all(
        torch.equal(value, weights(recipes[0])[name]) for name, value in weights(recipes[1]).items()
    )


def test_windows_end_at_every_event_and_keep_their_length():
    sequences = Sequences.from_lists([list(range(1, 9)), [1, 2, 3]])
    numbers = np.random.default_rng(0)
    ends = []
    for _ in range(200):
        cut = windows(sequences, length=5, share=1.0, numbers=numbers)
        assert cut.take(np.array([1])).items.tolist() == [1, 2, 3]
        whole = cut.take(np.array([0])).items.tolist()
        assert whole == list(range(1, len(whole) + 1))
        ends.append(len(whole))
    assert set(ends) == {5, 6, 7, 8}
    assert all(30 < ends.count(end) < 75 for end in (5, 6, 7, 8))  # 50 each, 5 standard deviations


def test_windows_leave_their_share_alone():
    sequences = Sequences.from_lists([list(range(1, 1002))] * 400)
    cut = windows(sequences, length=2, share=0.25, numbers=np.random.default_rng(1))
    assert 0.15 < (cut.lengths < 1001).mean() < 0.35
    assert (windows(sequences, 2, 0.0, np.random.default_rng(1)).lengths == 1001).all()


@pytest.mark.parametrize(("share", "first"), [(0.0, 18), (1.0, 2)])
def test_training_reads_windows(split: Split, share: float, first: int):
    """Of sequences of twenty events, four at a time: the newest alone, or each of them."""
    settings = SETTINGS.model_copy(update={"max_length": 3, "windows": share, "epochs": 12})
    recipe, targets = fresh(settings), set()

    def draw(batch: Batch, generator: torch.Generator) -> torch.Tensor | None:
        assert (batch.inputs > 0).all(), "a window is as long as what is read"
        targets.update(batch.targets.tolist())
        return recipe.negatives(batch, generator)

    train = Sequences.from_lists([range(1, 21)] * 10)
    fit(replace(recipe, negatives=draw), replace(split, train=train), settings, quiet=True)
    assert targets == set(range(first, 21))


# 2²¹ scores at a time on a CPU, and 2²⁶ numbers in vectors of items that are scored one by one.
@pytest.mark.parametrize(
    ("changes", "rows"),
    [
        ({"recipe": "sasrec_softmax"}, 64),  # a million columns
        ({"recipe": "gsasrec", "shared_negatives": "batch"}, 8160),  # 257 columns: 2²¹ / 257
        ({"recipe": "gsasrec", "hidden_size": 64}, 4080),  # 257 vectors of 64 numbers: 2²⁶ / 16448
        (
            {"recipe": "gsasrec", "num_negatives": 70_000},
            64,
        ),  # not few of a million: one product with all
    ],
)
def test_states_of_few_columns_are_scored_together_whatever_the_catalogue(
    changes: dict[str, object], rows: int
):
    settings = TeacherSettings.model_validate({"embedding": "recjpq", "splits": 8, **changes})
    assert states_at_once(build(10**6, settings, seed=0), settings.hidden_size) == rows
