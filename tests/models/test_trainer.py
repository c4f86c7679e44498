import json
import math
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from genrec.data import Split, leave_one_out, synthetic
from genrec.data.sequences import Sequences
from genrec.metrics.ranking import evaluate
from genrec.models import trainer
from genrec.models.build import build
from genrec.models.config import NeuralConfig
from genrec.models.contrastive import ContrastiveLoss
from genrec.models.objectives import Batch
from genrec.models.scorer import Recipe
from genrec.models.trainer import fit, states_at_once, training_sequences
from genrec.recommender import TopK
from genrec.training.checkpoint import CHECKPOINT
from genrec.training.interruption import Interrupted

# SASRec: one negative per target, binary cross-entropy
CONFIG = NeuralConfig.model_validate(
    {
        "hidden_size": 8,
        "backbone": {"name": "transformer", "blocks": 1},
        "negatives": {"name": "uniform", "count": 1},
        "loss": "bce",
        "max_length": 9,
        "dropout": 0.2,
        "epochs": 6,
        "learning_rate": 5e-3,
        "tokens_per_step": 128,
        "evaluate_every": 1,
        "bf16": False,
    }
)


@pytest.fixture(scope="module")
def split() -> Split:
    return leave_one_out(
        synthetic.chain(num_users=60, num_items=20, length=10, randomness=0.1, seed=0)
    )


def weights(recipe: Recipe) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in recipe.scorer.state_dict().items()}


def fresh(config: NeuralConfig = CONFIG) -> Recipe:
    return build(config, num_items=20, seed=1)


def trained(
    recipe: Recipe, split: Split, config: NeuralConfig = CONFIG, **options: object
) -> dict[str, float]:
    """What ``fit`` returns, without progress."""
    return fit(recipe, split, config, hidden_size=config.hidden_size, quiet=True, **options)


def stopping_at(step: int) -> Recipe:
    """A recipe whose user presses Ctrl-C in a step, counted from 1."""
    recipe, steps = fresh(), 0

    def loss(scores: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
        nonlocal steps
        steps += 1
        if steps == step:
            os.kill(os.getpid(), signal.SIGINT)
        return recipe.loss(scores, positive)

    return replace(recipe, loss=loss)


def steps_per_epoch(split: Split) -> int:
    recipe, steps = fresh(), 0

    def loss(scores: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
        nonlocal steps
        steps += 1
        return recipe.loss(scores, positive)

    trained(replace(recipe, loss=loss), split, CONFIG.model_copy(update={"epochs": 1}))
    return steps


@pytest.mark.parametrize("place", ["in epoch 3", "after epoch 3"])
def test_going_on_after_ctrl_c_gives_the_weights_of_an_uninterrupted_run(
    split: Split, tmp_path: Path, place: str
):
    whole = fresh()
    expected = trained(whole, split, CONFIG, seed=5)
    steps = steps_per_epoch(split)
    stopped = stopping_at(2 * steps + (steps if place.startswith("after") else 2))
    with pytest.raises(Interrupted, match=f"stopped {place}; the same command resumes"):
        trained(stopped, split, CONFIG, seed=5, directory=tmp_path)
    assert (tmp_path / CHECKPOINT).exists()
    again = build(
        CONFIG, num_items=20, seed=77
    )  # other initial weights: all must come from the checkpoint
    measured = trained(
        again, split, CONFIG, seed=6, directory=tmp_path
    )  # another seed: so must the generators
    assert measured == expected
    for name, value in weights(again).items():
        assert torch.equal(value, weights(whole)[name]), name


def test_a_finished_run_is_not_trained_further(split: Split, tmp_path: Path):
    recipe = fresh()
    expected = trained(recipe, split, CONFIG, directory=tmp_path)
    again = build(CONFIG, num_items=20, seed=77)
    assert trained(again, split, CONFIG, directory=tmp_path) == expected
    assert all(torch.equal(value, weights(recipe)[name]) for name, value in weights(again).items())


def test_the_weights_of_the_best_validation_are_kept(split: Split, monkeypatch: pytest.MonkeyPatch):
    kept, order = [], iter([0.05, 0.1, 0.5, 0.2, 0.4])  # popularity's first
    recipe, config = fresh(), CONFIG.model_copy(update={"epochs": 4})

    def measure(*arguments: object, **options: object) -> object:
        kept.append(weights(recipe))
        evaluation = evaluate(TopK(recipe.scorer), split.valid, split.catalogue)
        return replace(evaluation, per_user={"ndcg@10": np.array([next(order)])}, overall={})

    monkeypatch.setattr(
        "genrec.models.validation.popularity_ndcg", lambda split, k: np.array([next(order)])
    )
    monkeypatch.setattr("genrec.models.validation.evaluate", measure)
    best = trained(recipe, split, config)
    assert best == {"epoch": 2, "ndcg@10": 0.5, "popularity_ndcg@10": 0.05}
    assert len(kept) == 4
    final = weights(recipe)
    assert all(torch.equal(value, kept[1][name]) for name, value in final.items())
    assert not torch.equal(kept[2]["embedding.weight"], final["embedding.weight"])
    assert not recipe.scorer.training


def scripted(monkeypatch: pytest.MonkeyPatch, values: list[float], popular: float) -> list[float]:
    """Replace validation by one user's values in turn, the last one forever.

    Returns:
        The values so far; the list grows.
    """
    made: list[float] = []

    def measure(*arguments: object, **options: object) -> object:
        made.append(values[min(len(made), len(values) - 1)])
        per_user = {"ndcg@10": np.array([made[-1]])}
        return replace(evaluate(*arguments, **options), per_user=per_user, overall={})

    monkeypatch.setattr("genrec.models.validation.evaluate", measure)
    monkeypatch.setattr(
        "genrec.models.validation.popularity_ndcg", lambda split, k: np.array([popular])
    )
    return made


def test_training_stops_when_validation_no_longer_improves(
    split: Split, monkeypatch: pytest.MonkeyPatch
):
    made = scripted(monkeypatch, [0.5, 0.4, 0.3, 0.2], popular=0.1)
    trained(fresh(), split, CONFIG.model_copy(update={"epochs": 50, "patience": 3}))
    assert len(made) == 4


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelname == "WARNING"]


def test_patience_does_not_count_at_the_level_of_popularity(
    split: Split, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    flat = [0.02, 0.02, 0.019, 0.018, 0.02, 0.017]
    made = scripted(monkeypatch, [*flat, 0.3, 0.2], popular=0.02)
    best = trained(fresh(), split, CONFIG.model_copy(update={"epochs": 50, "patience": 2}))
    assert len(made) == len(flat) + 3  # it improved, and two validations later nothing was better
    assert best == {"epoch": 7, "ndcg@10": 0.3, "popularity_ndcg@10": 0.02}
    (warning,) = warnings_of(caplog)
    assert warning.startswith(
        "validation ndcg@10 is 0.0200 after 2 epochs, that of popularity 0.0200."
    )


def test_a_scorer_that_never_exceeds_popularity_is_reported(
    split: Split, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    made = scripted(monkeypatch, [0.02, 0.03], popular=0.031)
    trained(fresh(), split, CONFIG.model_copy(update={"epochs": 4}))
    assert len(made) == 4
    (warning,) = warnings_of(caplog)
    assert (
        "is not significantly better than popularity on the 1 validation users: best ndcg@10"
        " 0.0300 against 0.0310." in warning
    )


def test_noise_is_reported_and_a_chain_is_not(
    split: Split, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    config = CONFIG.model_copy(update={"epochs": 8, "learning_rate": 2e-2})
    trained(fresh(), split, config)
    assert warnings_of(caplog) == []
    noise = leave_one_out(
        synthetic.chain(num_users=60, num_items=20, length=10, randomness=1.0, seed=0)
    )
    best = trained(fresh(), noise, config, directory=tmp_path)
    (warning,) = warnings_of(caplog)
    assert warning.startswith("this scorer is not significantly better than popularity")
    assert f"against {best['popularity_ndcg@10']:.4f}" in warning
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert {line["val/popularity_ndcg@10"] for line in lines} == {best["popularity_ndcg@10"]}


def test_a_stop_before_the_last_epoch_is_reported(
    split: Split, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    scripted(monkeypatch, [0.5, 0.4], popular=0.1)
    caplog.set_level("INFO", "genrec")
    config = CONFIG.model_copy(update={"epochs": 50, "patience": 3})
    fit(fresh(), split, config, hidden_size=config.hidden_size)
    assert "no better validation for 3 validations: stopped after epoch 4" in caplog.messages


def test_what_was_learnt_about_popularity_survives_a_checkpoint(
    split: Split, tmp_path: Path, monkeypatch
):
    # above popularity before the checkpoint, and never again
    made = scripted(monkeypatch, [0.5, 0.05], popular=0.1)
    trained(fresh(), split, CONFIG.model_copy(update={"epochs": 2}), directory=tmp_path)
    trained(
        fresh(), split, CONFIG.model_copy(update={"epochs": 50, "patience": 3}), directory=tmp_path
    )
    assert len(made) == 4


def test_patience_that_had_run_out_at_a_checkpoint_stays_so(
    split: Split, tmp_path: Path, monkeypatch
):
    made = scripted(monkeypatch, [0.5, 0.4, 0.3, 0.9], popular=0.1)
    config = CONFIG.model_copy(update={"epochs": 50, "patience": 2})
    best = trained(fresh(), split, config, directory=tmp_path)
    assert len(made) == 3
    # as after a process that was killed at the end
    again = trained(fresh(), split, config, directory=tmp_path)
    assert again == best
    assert len(made) == 3


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_the_run(split: Split, value: float):
    broken = replace(fresh(), loss=lambda scores, positive: scores[:, 0].sum() * value)
    with pytest.raises(
        FloatingPointError, match=r"the loss is -?(nan|inf) in epoch 1: lower the learning rate"
    ):
        trained(broken, split, CONFIG)


def test_the_log_has_a_line_an_epoch(split: Split, tmp_path: Path):
    config = CONFIG.model_copy(update={"epochs": 3, "evaluate_every": 2})
    best = trained(fresh(), split, config, directory=tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert {line["stage"] for line in lines} == {"teacher"}
    assert ["val/ndcg@10" in line for line in lines] == [False, True, True]
    assert max(line.get("val/ndcg@10", 0) for line in lines) == best["ndcg@10"]
    rates = [round(line["learning_rate"], 6) for line in lines]
    assert rates == [0.005, 0.002625, 0.00025]  # down to 5 %
    assert lines[-1]["loss"] < lines[0]["loss"]


def test_warmup_rises_step_by_step(split: Split, monkeypatch):
    rates = []
    monkeypatch.setattr(trainer, "set_learning_rate", lambda _, rate: rates.append(rate))
    config = CONFIG.model_copy(update={"epochs": 2, "warmup": 0.5})
    trained(fresh(), split, config)
    # One for the epoch, then one for each of its n steps: in half an epoch the rate is reached.
    n = len(rates) // 2 - 1
    epoch, rise = rates[: n + 1], np.minimum(1, np.arange(1, n + 1) / (n / 2))
    assert n > 2
    np.testing.assert_allclose(epoch, [0.005, *(0.005 * rise)])
    assert rates[n + 1 :] == pytest.approx([0.00025] * (n + 1))


def test_the_seed_decides_the_run(split: Split):
    config = CONFIG.model_copy(update={"epochs": 2})
    tables = []
    for seed in (3, 3, 4):
        recipe = fresh(config)
        trained(recipe, split, config, seed=seed)
        tables.append(recipe.scorer.embedding.weight.detach())
    assert torch.equal(tables[0], tables[1])
    assert not torch.equal(tables[0], tables[2])


def test_pad_stays_zero(split: Split):
    recipe = fresh()
    trained(recipe, split, CONFIG.model_copy(update={"weight_decay": 0.1}))
    assert recipe.scorer.embedding.weight[0].tolist() == [0.0] * 8


def test_users_with_a_single_training_event_change_nothing(split: Split):
    config, recipes = CONFIG.model_copy(update={"epochs": 2}), (fresh(), fresh())
    even = split.train.take(np.arange(0, len(split.train), 2))
    mixed = split.train.drop_last(
        np.where(np.arange(len(split.train)) % 2, split.train.lengths - 1, 0)
    )
    for recipe, train in zip(recipes, (even, mixed), strict=True):
        trained(recipe, replace(split, train=train), config)
    assert all(
        torch.equal(value, weights(recipes[0])[name]) for name, value in weights(recipes[1]).items()
    )


@pytest.mark.parametrize(("share", "first"), [(0.0, 18), (1.0, 2)])
def test_training_reads_windows(split: Split, share: float, first: int):
    """Of sequences of twenty events, four at a time: the newest alone, or each of them."""
    config = CONFIG.model_copy(update={"max_length": 3, "windows": share, "epochs": 12})
    recipe, targets = fresh(config), set()

    def draw(batch: Batch, generator: torch.Generator) -> torch.Tensor | None:
        assert (batch.inputs > 0).all(), "a window is as long as what is read"
        targets.update(batch.targets.tolist())
        return recipe.negatives(batch, generator)

    train = Sequences.from_lists([range(1, 21)] * 10)
    trained(replace(recipe, negatives=draw), replace(split, train=train), config)
    assert targets == set(range(first, 21))


# 2²¹ scores at a time on a CPU, and 2²⁶ numbers in item vectors that are gathered one by one.
@pytest.mark.parametrize(
    ("changes", "rows"),
    [
        ({}, 64),  # a million columns
        ({"negatives": {"count": 256, "shared": "batch"}}, 8160),  # 257 columns: 2²¹ / 257
        ({"negatives": {"count": 256}}, 4080),  # 257 vectors of 64 numbers: 2²⁶ / 16448
        ({"negatives": {"count": 70_000}}, 64),  # not few of a million: one product with all
    ],
)
def test_states_of_few_columns_are_scored_together_whatever_the_catalogue(
    changes: dict[str, dict[str, object]], rows: int
):
    content: dict[str, object] = {"embedding": {"name": "recjpq", "splits": 8}}
    for key, value in changes.items():
        content[key] = {"name": "uniform", **value}
    config = NeuralConfig.model_validate(content)
    recipe = build(config, num_items=10**6, seed=0)
    assert states_at_once(recipe, config.hidden_size) == rows


def test_a_contrastive_loss_is_added_to_that_of_the_recipe(split: Split, tmp_path: Path):
    """Of weight 0 it changes nothing but the random numbers drawn; its rows are the batches'."""
    seen: list[int] = []

    class Constant(ContrastiveLoss):
        def training_step(self, scorer, rows, generator):
            assert scorer.training
            seen.extend(rows.tolist())
            return 100.0

    config, tables = CONFIG.model_copy(update={"epochs": 2}), []
    for contrast in (None, Constant(None, weight=1.0, temperature=1.0)):
        recipe = fresh(config)
        trained(recipe, split, config, contrast=contrast, directory=tmp_path / str(len(tables)))
        tables.append(recipe.scorer.embedding.weight.detach())
    assert torch.equal(tables[0], tables[1])
    assert sorted(seen) == sorted([*range(len(training_sequences(split)))] * 2)
    without, added = (losses_of(tmp_path / name) for name in ("0", "1"))
    np.testing.assert_allclose(np.add(without, 100), added)


def losses_of(directory: Path) -> list[float]:
    lines = (directory / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]
