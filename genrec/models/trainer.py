"""Training a recipe: one loop for every teacher."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from genrec.config.errors import DivergenceError
from genrec.config.reading import TeacherSettings
from genrec.data.sequences import Sequences, length_buckets
from genrec.data.splits import Split
from genrec.models.config import CL4SRecConfig, Contrast, DuoRecConfig, NoContrast
from genrec.models.contrastive import make_contrastive_loss
from genrec.models.embeddings import are_few
from genrec.models.negatives import Sampled
from genrec.models.objectives import Batch
from genrec.models.scorer import Recipe
from genrec.models.validation import Watch
from genrec.training.checkpoint import load_checkpoint, save_checkpoint
from genrec.training.device import autocast
from genrec.training.interruption import Interrupted, interruptible
from genrec.training.logger import Logbook


def fit(
    recipe: Recipe,
    split: Split,
    settings: TeacherSettings,
    seed: int = 0,
    folder: Path | None = None,
    quiet: bool = False,
    k: int = 10,
) -> dict[str, float]:
    """Train a recipe's scorer in place and leave it with the weights of its best validation.

    Args:
        recipe: scorer, negatives and loss.
        split: training sequences and validation cases.
        settings: epochs, learning rate, batch size, patience.
        seed: of batches, negatives and dropout.
        folder: receives metrics and a checkpoint; training goes on from a checkpoint found there.
        quiet: no progress bar.
        k: length of the lists that are validated.

    Returns:
        Best validation metrics and its epoch, and the NDCG@K of popularity on the same cases.

    Raises:
        DivergenceError: when the loss is no longer finite.
        Interrupted: after Ctrl-C, once the checkpoint is saved.
    """
    scorer, device = recipe.scorer, recipe.scorer.device
    numbers = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)  # dropout
    sequences = split.train.take(split.train.lengths >= 2)
    contrast = make_contrastive_loss(
        _contrast(settings),
        sequences,
        max_length=settings.max_length,
        mask_id=scorer.embedding.mask_id,
    )
    optimizer = torch.optim.AdamW(
        scorer.parameters(),
        lr=settings.learning_rate,
        betas=(0.9, 0.98),
        weight_decay=settings.weight_decay,
    )
    chunk = states_at_once(recipe, settings.hidden_size)

    def step(rows: NDArray[np.int64], batch: Batch) -> float:
        with autocast(device, settings.bf16):
            loss = recipe.training_step(batch.to(device), generator, chunk)
            loss += contrast.training_step(scorer, rows, numbers) if contrast else 0.0
        if not math.isfinite(loss):
            raise DivergenceError(f"the loss is {loss} in epoch {epoch}: lower the learning rate")
        torch.nn.utils.clip_grad_norm_(scorer.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss

    with Logbook(folder, "teacher", quiet) as log, interruptible() as stop:
        watch, done = Watch(split, k, settings.patience, log), 0
        if folder and (found := load_checkpoint(folder, scorer, optimizer)):
            progress, watch.best = found
            done, scorer.score_offset = (
                progress.pop("epoch"),
                progress.pop("base", 0.0),
            )  # older trainings had none
            _restore_generators(progress, numbers, generator, device)
            watch.progress |= progress
        with log.progress(settings.epochs, done) as bar:
            for epoch in range(done + 1, settings.epochs + 1):
                if watch.is_over:
                    log.say(
                        f"no better validation for {settings.patience} evaluations: stopped at"
                        f" epoch {epoch - 1}"
                    )
                    break
                _set_learning_rate(optimizer, settings, epoch)
                scorer.train()
                losses = [
                    step(rows, batch)
                    for rows, batch in _batches(recipe, sequences, settings, numbers)
                ]
                values = {
                    "loss": float(np.mean(losses)),
                    "learning_rate": optimizer.param_groups[0]["lr"],
                }
                validated = epoch % settings.evaluate_every == 0 or epoch == settings.epochs
                if validated:
                    values |= watch.look(scorer, epoch)
                log.record(epoch, values)
                bar(epoch, f"loss {values['loss']:.3f}  best valid NDCG@{k} {watch.best_ndcg:.4f}")
                if folder and (validated or stop.requested):
                    state = watch.progress | {"epoch": epoch, "base": scorer.score_offset}
                    state |= _generator_states(numbers, generator, device)
                    save_checkpoint(folder, scorer, watch.best, optimizer, state)
                if stop.requested:
                    raise Interrupted(
                        f"stopped after epoch {epoch}; the same command goes on from there"
                    )
        return watch.finish(scorer)


def _contrast(settings: TeacherSettings) -> Contrast:
    """The settings of the contrastive loss."""
    weight, temperature = settings.contrastive_weight, settings.contrastive_temperature
    match settings.contrastive:
        case "cl4srec":
            return CL4SRecConfig(weight=weight, temperature=temperature)
        case "duorec":
            return DuoRecConfig(weight=weight, temperature=temperature)
    return NoContrast()


IN_CACHE, IN_MEMORY = 2**21, 2**26  # scores at a time: on a CPU they stay in its cache
GATHERED = 2**26  # numbers in the vectors of items that are scored one by one


def states_at_once(recipe: Recipe, hidden_size: int) -> int:
    """How many states a step scores at a time: as many as the memory for it allows.

    Every time, the gradient of the whole item table is added up. With few negatives and many items
    that is nearly all the work, so that states of few columns go together.

    Args:
        recipe: its negatives say how many items a state is scored with.
        hidden_size: D.
    """
    scorer, drawn = recipe.scorer, recipe.negatives
    scores, columns = IN_CACHE if scorer.device.type == "cpu" else IN_MEMORY, scorer.num_items
    if isinstance(drawn, Sampled):
        columns = drawn.num_negatives + 1
        if drawn.shared != "batch":
            few = are_few(columns, scorer.num_items)
            scores, columns = (
                (GATHERED, columns * hidden_size) if few else (scores, scorer.num_items)
            )
    return max(64, scores // columns)


def _batches(
    recipe: Recipe, sequences: Sequences, settings: TeacherSettings, numbers: np.random.Generator
) -> Iterator[tuple[NDArray[np.int64], Batch]]:
    scorer = recipe.scorer
    if settings.windows:
        sequences = windows(sequences, scorer.max_length + 1, settings.windows, numbers)
    for rows in length_buckets(
        sequences.lengths,
        max_length=scorer.max_length,
        tokens=settings.tokens_per_step,
        generator=numbers,
    ):
        yield (
            rows,
            scorer.objective.batch(
                sequences.take(rows),
                max_length=scorer.max_length,
                mask_id=scorer.embedding.mask_id,
                generator=numbers,
            ),
        )


def windows(
    sequences: Sequences, length: int, share: float, numbers: np.random.Generator
) -> Sequences:
    """Long sequences cut off after a random event, so that one that reads ``length`` events sees
    all of them in time.

    Args:
        sequences: training sequences.
        length: a cut sequence still has this many events or more; shorter sequences stay whole.
        share: of the long sequences that are cut; the others keep their newest events.
        numbers: draws which are cut and where, each possible end with the same probability.
    """
    spare = np.maximum(sequences.lengths - length, 0)
    dropped = np.floor(numbers.random(len(sequences)) * (spare + 1)).astype(np.int64)
    return sequences.drop_last(dropped * (numbers.random(len(sequences)) < share))


def _set_learning_rate(
    optimizer: torch.optim.Optimizer, settings: TeacherSettings, epoch: int
) -> None:
    done = (epoch - 1) / max(1, settings.epochs - 1)
    for group in optimizer.param_groups:
        group["lr"] = settings.learning_rate * (1 - 0.95 * done)


def _generator_states(
    numbers: np.random.Generator, generator: torch.Generator, device: torch.device
) -> dict[str, Any]:
    states = {
        "numpy": numbers.bit_generator.state,
        "torch": generator.get_state().tolist(),
        "dropout": torch.get_rng_state().tolist(),
    }
    return states | (
        {"cuda": torch.cuda.get_rng_state(device).tolist()} if device.type == "cuda" else {}
    )


def _restore_generators(
    progress: dict[str, Any],
    numbers: np.random.Generator,
    generator: torch.Generator,
    device: torch.device,
) -> None:
    numbers.bit_generator.state = progress.pop("numpy")
    generator.set_state(torch.tensor(progress.pop("torch"), dtype=torch.uint8))
    torch.set_rng_state(torch.tensor(progress.pop("dropout"), dtype=torch.uint8))
    if (state := progress.pop("cuda", None)) and device.type == "cuda":
        torch.cuda.set_rng_state(torch.tensor(state, dtype=torch.uint8), device)
