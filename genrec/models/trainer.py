"""Training of neural scorers: one loop for all recipes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from genrec.config.errors import DivergenceError
from genrec.data.sequences import Sequences, length_buckets
from genrec.data.splits import Split
from genrec.models.config import TrainingConfig
from genrec.models.contrastive import ContrastiveLoss
from genrec.models.embeddings import are_few
from genrec.models.negatives import Sampled
from genrec.models.scorer import Recipe
from genrec.models.validation import ScorerValidation
from genrec.training.checkpoint import Checkpointer, RandomState
from genrec.training.device import autocast, reproducible, with_precision
from genrec.training.interruption import interruptible
from genrec.training.logger import RunLogger
from genrec.training.schedule import linear_decay, set_learning_rate

MAX_GRADIENT_NORM = 1.0
# Scores at a time: on a CPU they stay in its cache, on a GPU they fit its memory.
SCORES_IN_CACHE, SCORES_IN_MEMORY = 2**21, 2**26
GATHERED = 2**26  # numbers in the item vectors that are gathered for scoring one by one


def fit(
    recipe: Recipe,
    split: Split,
    config: TrainingConfig,
    *,
    hidden_size: int,
    contrast: ContrastiveLoss | None = None,
    seed: int = 0,
    directory: Path | None = None,
    quiet: bool = False,
    k: int = 10,
    trackers: Sequence[str] = (),
) -> dict[str, float]:
    """Train the scorer of a recipe in place; it ends with the weights of its best validation.

    Args:
        recipe: scorer, negatives and loss.
        split: training sequences and validation cases.
        config: epochs, learning rate, batch size, patience.
        hidden_size: D, width of the scorer's states.
        contrast: a contrastive loss over ``training_sequences(split)`` that is added.
        seed: random seed of batches, negatives and dropout.
        directory: receives metrics and a checkpoint; a checkpoint found there is resumed.
        quiet: whether to show no progress.
        k: K, length of the lists that are validated.
        trackers: names of further trackers of the metrics.

    Returns:
        Metrics and epoch of the best validation, and the NDCG@K of popularity on the same cases.

    Raises:
        DivergenceError: if the loss is no longer finite.
        Interrupted: after Ctrl-C, SIGTERM or SIGHUP, once the checkpoint is saved.
    """
    scorer, device = recipe.scorer, recipe.scorer.device
    shape = product_shape(config, hidden_size, scorer.num_items)
    config = with_precision(config, device, shape)
    numbers = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)  # dropout draws from the global generator
    sequences = training_sequences(split)
    chunk = states_at_once(recipe, hidden_size)
    optimizer = torch.optim.AdamW(
        scorer.parameters(),
        lr=config.learning_rate,
        betas=(0.9, 0.98),
        weight_decay=config.weight_decay,
    )
    validation = ScorerValidation(split, k, config.patience)
    checkpointer = Checkpointer(
        directory,
        module=scorer,
        optimizer=optimizer,
        stopping=validation.stopping,
        random=RandomState(numbers, generator, device),
    )
    log = RunLogger(directory, "teacher", quiet=quiet, trackers=trackers)
    with log, interruptible() as interruption, reproducible(device):
        position = EpochPosition()
        if progress := checkpointer.restore():
            position = EpochPosition.of(progress)
            scorer.score_offset = progress["score_offset"]
            validation.load_state(progress)
        log.resume(position.epoch)

        def save() -> None:
            progress = {**position.state(), "score_offset": scorer.score_offset}
            checkpointer.save(progress | validation.state())

        with log.progress(config.epochs, position.epoch) as show:
            for epoch in range(position.epoch + 1, config.epochs + 1):
                if validation.stopping.should_stop:
                    log.info(
                        f"no better validation for {config.patience} validations: stopped after"
                        f" epoch {epoch - 1}"
                    )
                    break
                # A share of the training, not a number of epochs: dividing first or last rounds
                # differently, and trained weights are reproducible to the last bit.
                share = (epoch - 1) / max(1, config.epochs - 1)
                learning_rate = linear_decay(config.learning_rate, share, last=1)
                set_learning_rate(optimizer, learning_rate)
                scorer.train()
                read, batches = position.batches(sequences, config, scorer.max_length, numbers)
                for rows in batches[position.batch :]:
                    if config.warmup:
                        done = epoch - 1 + (position.batch + 1) / len(batches)
                        rise = min(1.0, done / config.warmup)
                        set_learning_rate(optimizer, rise * learning_rate)
                    batch = scorer.objective.batch(
                        read.take(rows),
                        max_length=scorer.max_length,
                        mask_id=scorer.embedding.mask_id,
                        generator=numbers,
                    )
                    batch = replace(batch, sequences=torch.from_numpy(rows))
                    with autocast(device, config.bf16):
                        # Both run forward and backward, part by part, and add up gradients.
                        loss = recipe.training_step(batch.to(device), generator, chunk)
                        if contrast is not None:
                            loss += contrast.training_step(scorer, rows, numbers)
                    if not math.isfinite(loss):
                        raise DivergenceError(
                            f"the loss is {loss} in epoch {epoch}: lower the learning rate"
                        )
                    torch.nn.utils.clip_grad_norm_(scorer.parameters(), MAX_GRADIENT_NORM)
                    optimizer.step()
                    optimizer.zero_grad(set_to_none=True)
                    position.step(loss)
                    # The last step of an epoch is followed by its validation.
                    if interruption.requested and position.batch < len(batches):
                        save()
                        interruption.stop_if_requested(f"in epoch {epoch}")
                metrics = {"loss": position.loss, "learning_rate": learning_rate}
                validates = epoch % config.evaluate_every == 0 or epoch == config.epochs
                if validates:
                    metrics |= validation.step(scorer, epoch)
                log.log_metrics(epoch, metrics)
                position.finish_epoch()
                best = validation.stopping.best_value
                show(epoch, f"loss {metrics['loss']:.3f}, best val/ndcg@{k} {best:.4f}")
                if validates or interruption.requested:
                    save()
                interruption.stop_if_requested(f"after epoch {epoch}")
        return validation.restore_best(scorer)


@dataclass(eq=False)
class EpochPosition:
    """How far a training is: within an epoch too, so that an interruption loses no step.

    Attributes:
        epoch: complete epochs.
        batch: batches of the next epoch that are done.
        losses: one per batch of that epoch.
        start: state of the generator of batches at the start of that epoch; None before it starts.
    """

    epoch: int = 0
    batch: int = 0
    losses: list[float] = field(default_factory=list)
    start: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, progress: Mapping[str, Any]) -> "EpochPosition":
        """The position that a checkpoint holds, see ``state``."""
        return cls(progress["epoch"], progress["batch"], progress["losses"], progress["start"])

    def state(self) -> dict[str, Any]:
        """The position as JSON."""
        start = self.start if self.batch else None
        names = {"epoch": self.epoch, "batch": self.batch, "losses": self.losses}
        return {**names, "start": start}

    @property
    def loss(self) -> float:
        """Mean loss of the batches of the epoch."""
        return float(np.mean(self.losses))

    def batches(
        self,
        sequences: Sequences,
        config: TrainingConfig,
        max_length: int,
        numbers: np.random.Generator,
    ) -> tuple[Sequences, list[NDArray[np.int64]]]:
        """The sequences of the epoch, and the rows of its batches.

        An epoch that is resumed draws them again from the state that it started with; the generator
        then has the state that the checkpoint restored.

        Args:
            sequences: training sequences.
            config: of the training.
            max_length: T of the scorer.
            numbers: generator of batches.
        """
        now = numbers.bit_generator.state
        if self.start is not None:
            numbers.bit_generator.state = self.start
        else:
            self.start = now
        if config.windows:
            sequences = windows(sequences, max_length + 1, config.windows, numbers)
        rows = length_buckets(
            sequences.lengths,
            max_length=max_length,
            tokens=config.tokens_per_step,
            generator=numbers,
        )
        if self.batch:
            numbers.bit_generator.state = now
        return sequences, rows

    def step(self, loss: float) -> None:
        """Count a batch."""
        self.batch += 1
        self.losses.append(loss)

    def finish_epoch(self) -> None:
        """Count the epoch."""
        self.epoch, self.batch, self.losses, self.start = self.epoch + 1, 0, [], None


def product_shape(config: TrainingConfig, hidden_size: int, num_items: int) -> tuple[int, int, int]:
    """Rows, inner width and columns of the largest products of a training step."""
    return config.tokens_per_step, hidden_size, num_items


def training_sequences(split: Split) -> Sequences:
    """The training sequences that have an item to predict: those of at least two items."""
    return split.train.take(split.train.lengths >= 2)


def states_at_once(recipe: Recipe, hidden_size: int) -> int:
    """Number of states that a training step scores at a time: as many as memory allows.

    Each chunk of states adds a gradient of the whole item table. With few negatives and many items
    that is nearly all of the work, so that states with few scores each are put together.

    Args:
        recipe: its negatives say with how many items a state is scored.
        hidden_size: D.
    """
    scorer, negatives = recipe.scorer, recipe.negatives
    scores = SCORES_IN_CACHE if scorer.device.type == "cpu" else SCORES_IN_MEMORY
    if not isinstance(negatives, Sampled):
        return max(64, scores // scorer.num_items)
    candidates = negatives.num_negatives + 1
    if negatives.shared == "batch":
        return max(64, scores // candidates)
    if are_few(candidates, scorer.num_items):
        return max(64, GATHERED // (candidates * hidden_size))
    # Not few: all items are scored, and those of the candidates are picked.
    return max(64, scores // scorer.num_items)


def windows(
    sequences: Sequences, length: int, share: float, numbers: np.random.Generator
) -> Sequences:
    """Long sequences truncated after a random event, so that in time all their events are read.

    Args:
        sequences: training sequences.
        length: events that are read; truncated sequences keep at least as many, and shorter ones
            stay whole.
        share: share of the long sequences that are truncated; the others keep their newest events.
        numbers: generator that chooses the sequences and their ends, uniformly over possible ends.
    """
    spare = np.maximum(sequences.lengths - length, 0)
    dropped = np.floor(numbers.random(len(sequences)) * (spare + 1)).astype(np.int64)
    return sequences.drop_last(dropped * (numbers.random(len(sequences)) < share))
