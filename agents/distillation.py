"""Teacher-student distillation: GPTRec learns to write the lists of a teacher."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from genrec.agents.config import DistillationConfig
from genrec.agents.gptrec.decoding import NextK
from genrec.agents.gptrec.model import GPTRec
from genrec.config.errors import DivergenceError
from genrec.data.sequences import Sequences, length_buckets
from genrec.data.splits import Split
from genrec.metrics.ranking import evaluate
from genrec.recommender import Scorer, TopK
from genrec.training.checkpoint import Checkpointer, load_tensors, save_tensors
from genrec.training.device import autocast, reproducible, with_precision
from genrec.training.early_stopping import EarlyStopping
from genrec.training.interruption import interruptible
from genrec.training.logger import RunLogger
from genrec.training.schedule import set_learning_rate, warmup_linear_decay

WARMUP_STEPS = 100
VALIDATIONS = 10  # per training
MAX_GRADIENT_NORM = 1.0

Rows = NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class Demonstrations:
    """The lists that a teacher writes for N histories.

    Attributes:
        histories: N histories.
        items: (N, C) the teacher's best unseen items, best first, of which the first K are its
            list; or (N, K, C) the best items for each position of the list, first the item that the
            list has there.
        scores: the teacher's scores of the items, in the same shape.
        weights: (N, R) weights of R rewards that each list was written for, on which a conditioned
            policy is conditioned; None for any other policy.
    """

    histories: Sequences
    items: NDArray[np.integer[Any]]
    scores: NDArray[np.float32]
    weights: NDArray[np.float32] | None = None

    def lists(self, k: int) -> NDArray[np.integer[Any]]:
        """(N, k) the lists."""
        return self.items[:, :k] if self.items.ndim == 2 else self.items[:, :k, 0]

    def save(self, path: Path) -> None:
        """Write histories, items and scores as safetensors."""
        save_tensors(
            path,
            {
                "offsets": torch.from_numpy(self.histories.offsets),
                "history_items": torch.from_numpy(self.histories.items),
                "items": torch.from_numpy(self.items.astype(np.int32)),
                "scores": torch.from_numpy(self.scores),
            },
        )

    @classmethod
    def load(cls, path: Path) -> "Demonstrations":
        """Read what ``save`` wrote.

        Raises:
            RunError: if the file is missing or damaged.
        """
        stored = {name: tensor.numpy() for name, tensor in load_tensors(path).items()}
        histories = Sequences(stored["offsets"], stored["history_items"])
        return cls(histories, stored["items"].astype(np.int64), stored["scores"])


def make_demonstrations(
    teacher: Scorer, histories: Sequences, pool: int, batch_size: int = 512
) -> Demonstrations:
    """Demonstrations with the teacher's ``pool`` best unseen items after each history.

    Args:
        teacher: scorer whose order is demonstrated.
        histories: N histories.
        pool: C, items per history.
        batch_size: histories scored at a time.
    """
    # Scored in the order of their lengths, so that batches carry little padding.
    order = np.argsort(histories.lengths, kind="stable")
    items, scores = TopK(teacher, batch_size).candidates(histories.take(order), pool)
    inverse = np.argsort(order, kind="stable")
    return Demonstrations(histories, items[inverse], scores[inverse])


def target_distributions(
    scores: torch.Tensor, k: int, *, hard: float, temperature: float
) -> torch.Tensor:
    """(N, k, C) target distribution of each list position over the items not placed before it.

    Position t mixes the teacher's t-th item, with weight ``hard``, and the softmax of its scores
    over the pool without its first t - 1 items (Plackett-Luce):

    q_t(c) = hard·1[c = t] + (1 − hard)·exp(s_c/τ) / Σ_{c' ≥ t} exp(s_{c'}/τ)

    Where each position has scores of its own, its row holds the items not placed before it, and the
    teacher's item is the first of the row.

    Args:
        scores: (N, C) the teacher's scores, best first, or (N, k, C) those of each position.
        k: list length.
        hard: weight of the teacher's list; 1 gives the cross-entropy on the list alone [Petrov
            2025, eq. 8.9].
        temperature: τ.
    """
    width = scores.shape[-1]
    one_hot = torch.zeros(k, width, device=scores.device)
    if scores.dim() == 3:
        one_hot[:, 0] = 1
        soft = torch.softmax(scores[:, :k] / temperature, dim=2)
    else:
        one_hot.fill_diagonal_(1)
        placed = torch.ones(k, width, dtype=torch.bool, device=scores.device).tril(-1)
        logits = (scores[:, None] / temperature).masked_fill(placed, -torch.inf)
        soft = torch.softmax(logits, dim=2)
    return hard * one_hot + (1 - hard) * soft


def demonstration_loss(
    policy: GPTRec,
    demonstrations: Demonstrations,
    rows: Rows,
    *,
    k: int,
    target: torch.Tensor,
) -> torch.Tensor:
    """Mean cross-entropy per position of a policy that is teacher forced along demonstrated lists.

    Args:
        policy: policy that is trained.
        demonstrations: lists and their pools.
        rows: (n,) the demonstrations of the batch.
        k: list length.
        target: (n, k, C) distributions over the pool.
    """
    items = torch.from_numpy(demonstrations.items[rows].astype(np.int64)).to(policy.device)[:, None]
    if items.dim() == 3:
        slates, pool = items[:, :, :k], items[:, :, None].expand(-1, 1, k, -1)
    else:
        slates, pool = items[:, :, :k, 0], items[:, :, :k]
    weights = None
    if demonstrations.weights is not None:
        weights = torch.from_numpy(demonstrations.weights[rows]).to(policy.device)
    prefix = policy.encode(demonstrations.histories.take(rows), weights)
    states = policy.slate_states(prefix, slates)
    found = policy.evaluate_items(prefix, states, slates, items=pool)
    return -(target * found.logp[:, 0]).sum(dim=2).mean()


def pretrain(
    policy: GPTRec,
    demonstrations: Demonstrations,
    *,
    split: Split,
    val_demonstrations: Demonstrations,
    config: DistillationConfig,
    k: int,
    seed: int = 0,
    directory: Path | None = None,
    quiet: bool = False,
    trackers: Sequence[str] = (),
) -> dict[str, float]:
    """Train a policy on demonstrations; it ends with the weights of the lowest validation loss.

    Args:
        policy: trained in place.
        demonstrations: the teacher's lists for training histories.
        split: its validation cases measure the lists of the policy.
        val_demonstrations: the teacher's lists for those validation histories, for the validation
            loss.
        config: epochs, learning rate, batch size, targets.
        k: list length.
        seed: random seed of batches and dropout.
        directory: receives metrics and a checkpoint; a checkpoint found there is resumed.
        quiet: whether to show no progress.
        trackers: names of further trackers of the metrics.

    Returns:
        Validation metrics of the best weights: ``loss``, ``overlap``, the share of the teacher's
        items that the policy lists too, and the metrics of its lists.

    Raises:
        DivergenceError: if the loss is no longer finite.
        Interrupted: after Ctrl-C, SIGTERM or SIGHUP, once the checkpoint is saved.
    """
    config = with_precision(config, policy.device, policy.product_shape(config.lists_per_step))
    optimizer = torch.optim.AdamW(policy.parameters(), lr=config.learning_rate, weight_decay=0.01)
    stopping = EarlyStopping("loss", "min")
    checkpointer = Checkpointer(directory, policy, optimizer, stopping)
    batches = _batches(demonstrations, config=config, max_length=policy.max_length, k=k, seed=seed)
    steps, interval = len(batches), max(1, len(batches) // VALIDATIONS)
    log = RunLogger(directory, "student", quiet=quiet, trackers=trackers)
    with log, interruptible() as interruption, reproducible(policy.device):
        progress = checkpointer.restore()
        done = progress.get("step", 0)
        losses = progress.get("losses", [])  # since the last validation
        log.resume(done)
        with log.progress(steps, done) as show:
            for step in range(done + 1, steps + 1):
                learning_rate = warmup_linear_decay(
                    config.learning_rate, step, steps=steps, warmup_steps=WARMUP_STEPS
                )
                set_learning_rate(optimizer, learning_rate)
                torch.manual_seed(seed + step)  # dropout draws from the global generator
                policy.train()
                rows = batches[step - 1]
                with autocast(policy.device, config.bf16):
                    target = _targets(demonstrations, rows, policy.device, k=k, config=config)
                    loss = demonstration_loss(policy, demonstrations, rows, k=k, target=target)
                losses.append(float(loss.detach()))
                if not math.isfinite(losses[-1]):
                    raise DivergenceError(
                        f"the loss is {losses[-1]} in step {step}: lower the learning rate"
                    )
                loss.backward()
                torch.nn.utils.clip_grad_norm_(policy.parameters(), MAX_GRADIENT_NORM)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                best = stopping.best.get(f"ndcg@{k}", 0.0)
                show(step, f"loss {losses[-1]:.3f}, best val/ndcg@{k} {best:.4f}")
                # No other validation before a stop: it must not change which weights are the best.
                validates = step % interval == 0 or step == steps
                if validates:
                    measured = _validate(policy, val_demonstrations, split, k=k, config=config)
                    stopping.step({"step": step, **measured}, policy)
                    metrics = {"loss": float(np.mean(losses)), "learning_rate": learning_rate}
                    metrics |= {f"val/{name}": value for name, value in measured.items()}
                    log.log_metrics(step, metrics)
                    losses.clear()
                if validates or interruption.requested:
                    checkpointer.save({"step": step, "losses": losses})
                interruption.stop_if_requested(f"after step {step}")
    return stopping.restore_best(policy)


def _batches(
    demonstrations: Demonstrations,
    *,
    config: DistillationConfig,
    max_length: int,
    k: int,
    seed: int,
) -> list[Rows]:
    """Rows of every step: all demonstrations once per epoch, those of similar length together.

    A training that is resumed makes the same batches again: each epoch has a seed of its own.
    """
    list_tokens = 1 + k  # SEP and the items
    width = max_length + list_tokens
    lengths = np.minimum(demonstrations.histories.lengths, max_length) + list_tokens
    batches: list[Rows] = []
    for epoch in range(config.epochs):
        generator = np.random.default_rng([seed, epoch])
        batches += length_buckets(
            lengths, max_length=width, tokens=config.lists_per_step * width, generator=generator
        )
    return batches


def _targets(
    demonstrations: Demonstrations,
    rows: Rows,
    device: torch.device,
    *,
    k: int,
    config: DistillationConfig,
) -> torch.Tensor:
    scores = torch.from_numpy(demonstrations.scores[rows]).to(device)
    return target_distributions(scores, k, hard=config.hard, temperature=config.temperature)


@torch.no_grad()
def _validate(
    policy: GPTRec,
    demonstrations: Demonstrations,
    split: Split,
    *,
    k: int,
    config: DistillationConfig,
) -> dict[str, float]:
    """Loss on the validation demonstrations, and overlap and metrics of the policy's lists."""
    policy.eval()
    losses = []
    count = len(demonstrations.items)
    for rows in np.array_split(np.arange(count), max(1, count // 256)):
        target = _targets(demonstrations, rows, policy.device, k=k, config=config)
        loss = demonstration_loss(policy, demonstrations, rows, k=k, target=target)
        losses += [float(loss)] * len(rows)
    weights = None if demonstrations.weights is None else torch.from_numpy(demonstrations.weights)
    measured = evaluate(NextK(policy, weights=weights), split.valid, split.catalogue, k=k)
    listed = (measured.slates[:, :, None] == demonstrations.lists(k)[:, None]).any(axis=2)
    return {"loss": float(np.mean(losses)), "overlap": float(listed.mean()), **measured.means}
