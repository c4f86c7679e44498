"""Teacher-student pretraining: GPTRec learns to write the lists that a teacher sorts."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from genrec.agents.gptrec.decoding import NextK
from genrec.agents.gptrec.model import GPTRec
from genrec.config.errors import DivergenceError
from genrec.config.reading import StudentSettings
from genrec.data.sequences import Sequences, length_buckets
from genrec.data.splits import Split
from genrec.metrics.ranking import evaluate
from genrec.recommender import Scorer, TopK
from genrec.training.checkpoint import Tensors, load_checkpoint, save_checkpoint, save_tensors
from genrec.training.device import autocast
from genrec.training.interruption import Interrupted, interruptible
from genrec.training.logger import Logbook


@dataclass(frozen=True, eq=False)
class Demonstrations:
    """What a teacher would list after N histories.

    Attributes:
        histories: N of them.
        items: (N, C) the teacher's best unseen items, best first, of which the first K are its
            list; or (N, K, C) the best for each position of the list, the one that it has there
            first.
        scores: of the items, in the same shape.
        weights: (N, R) the R weights that each list was written for, told to a conditioned policy;
            None for any other.
    """

    histories: Sequences
    items: NDArray[np.integer[Any]]
    scores: NDArray[np.float32]
    weights: NDArray[np.float32] | None = None

    def lists(self, k: int) -> NDArray[np.integer[Any]]:
        """(N, k) the lists themselves."""
        return self.items[:, :k] if self.items.ndim == 2 else self.items[:, :k, 0]

    def save(self, path: Path) -> None:
        """Write as safetensors."""
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
        """Read what ``save`` wrote."""
        stored = {name: tensor.numpy() for name, tensor in load_file(path).items()}
        histories = Sequences(stored["offsets"], stored["history_items"])
        return cls(histories, stored["items"].astype(np.int64), stored["scores"])


def make_demonstrations(
    teacher: Scorer, histories: Sequences, pool: int, batch_size: int = 512
) -> Demonstrations:
    """Ask the teacher for its ``pool`` best unseen items after each history."""
    order = np.argsort(histories.lengths, kind="stable")
    items, scores = TopK(teacher, batch_size).candidates(histories.take(order), pool)
    back = np.argsort(order, kind="stable")
    return Demonstrations(histories, items[back], scores[back])


def targets(scores: torch.Tensor, k: int, hard: float, temperature: float) -> torch.Tensor:
    """(N, k, C) what each list position should be: the teacher's choice among items it has not
    placed yet.

    Position t mixes, with weight ``hard``, the teacher's t-th item and its softmax over the pool
    without its first t - 1 items (Plackett-Luce): q_t(c) = hard·1[c = t] + (1 − hard)·exp(s_c/τ) /
    Σ_{c' ≥ t} exp(s_{c'}/τ). Where each position has scores of its own, they say what is left to
    choose from, and the t-th item is the first of its row.

    Args:
        scores: (N, C) the teacher's scores, best first, or (N, k, C) those of each position.
        k: list length.
        hard: 1 gives the cross-entropy on the teacher's list alone [Petrov 2025, eq. 8.9].
        temperature: τ.
    """
    width = scores.shape[-1]
    own = torch.zeros(k, width, device=scores.device)
    if scores.dim() == 3:
        own[:, 0] = 1
        soft = torch.softmax(scores[:, :k] / temperature, dim=2)
    else:
        own.fill_diagonal_(1)
        placed = torch.ones(k, width, dtype=torch.bool, device=scores.device).tril(-1)
        soft = torch.softmax((scores[:, None] / temperature).masked_fill(placed, -torch.inf), dim=2)
    return hard * own + (1 - hard) * soft


def demonstration_loss(
    policy: GPTRec,
    demonstrations: Demonstrations,
    rows: NDArray[np.integer[Any]],
    k: int,
    target: torch.Tensor,
) -> torch.Tensor:
    """Mean cross-entropy of the policy, teacher forced along the teacher's lists, with ``target``
    (N, k, C)."""
    items = torch.from_numpy(demonstrations.items[rows].astype(np.int64)).to(policy.device)[:, None]
    if items.dim() == 3:
        slates, pool = items[:, :, :k], items[:, :, None].expand(-1, 1, k, -1)
    else:
        slates, pool = items[:, :, :k, 0], items[:, :, :k]
    weights = (
        None
        if demonstrations.weights is None
        else torch.from_numpy(demonstrations.weights[rows]).to(policy.device)
    )
    prefix = policy.encode(demonstrations.histories.take(rows), weights)
    at_pool, _ = policy.evaluate_items(
        prefix, policy.slate_states(prefix, slates), slates, items=pool
    )
    return -(target * at_pool[:, 0]).sum(dim=2).mean()


def pretrain(
    policy: GPTRec,
    demonstrations: Demonstrations,
    split: Split,
    check: Demonstrations,
    settings: StudentSettings,
    k: int,
    seed: int = 0,
    folder: Path | None = None,
    quiet: bool = False,
) -> dict[str, float]:
    """Teach a policy the lessons and leave it with the weights that follow the teacher best.

    Args:
        policy: trained in place.
        lessons: the teacher's lists for training histories.
        split: its validation cases measure the lists that are written.
        check: the teacher's lists for those validation histories; the loss on them chooses the
            weights to keep.
        settings: epochs, learning rate, batch size, targets.
        k: list length.
        seed: of batches and dropout.
        folder: receives metrics and a checkpoint; training goes on from a checkpoint found there.
        quiet: no progress bar.

    Returns:
        Validation metrics of the kept weights, with the loss as ``check loss`` and the share of the
        teacher's items that the student lists as ``overlap``.

    Raises:
        DivergenceError: when the loss is no longer finite.
        Interrupted: after Ctrl-C, once the checkpoint is saved.
    """
    optimizer = torch.optim.AdamW(policy.parameters(), lr=settings.learning_rate, weight_decay=0.01)
    plan = _plan(demonstrations, settings, policy.max_length, policy.max_length + 1 + k, seed)
    best: Tensors = {}
    progress: dict[str, Any] = {"step": 0, "best": {}}
    if folder and (found := load_checkpoint(folder, policy, optimizer)):
        progress, best = found
    every = max(1, len(plan) // CHECKS)
    losses: list[float] = []

    with (
        Logbook(folder, "student", quiet) as log,
        log.progress(len(plan), progress["step"]) as bar,
        interruptible() as stop,
    ):
        for step in range(progress["step"] + 1, len(plan) + 1):
            rows = plan[step - 1]
            rate = settings.learning_rate * min(1.0, step / WARM_UP) * (1 - (step - 1) / len(plan))
            for group in optimizer.param_groups:
                group["lr"] = rate
            torch.manual_seed(seed + step)  # dropout
            policy.train()
            with autocast(policy.device, settings.bf16):
                target = targets(
                    _scores(demonstrations, rows, policy), k, settings.hard, settings.temperature
                )
                loss = demonstration_loss(policy, demonstrations, rows, k, target)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            losses.append(float(loss.detach()))
            if not math.isfinite(losses[-1]):
                raise DivergenceError(
                    f"the loss is {losses[-1]} in step {step}: lower the learning rate"
                )
            bar(
                step,
                f"loss {losses[-1]:.3f}  best valid NDCG@{k}"
                f" {progress['best'].get(f'ndcg@{k}', 0):.4f}",
            )
            if step % every == 0 or step == len(plan) or stop.requested:
                progress["step"] = step
                measured = _check(policy, check, split, settings, k)
                if measured["check loss"] < progress["best"].get("check loss", np.inf):
                    best = {name: value.clone() for name, value in policy.state_dict().items()}
                    progress["best"] = {"step": step, **measured}
                log.record(step, {"loss": float(np.mean(losses)), "learning_rate": rate} | measured)
                losses.clear()
                if folder:
                    save_checkpoint(folder, policy, best, optimizer, progress)
            if stop.requested:
                raise Interrupted(f"stopped after step {step}; the same command goes on from there")
    policy.load_state_dict(best)
    policy.eval()
    return dict(progress["best"])


WARM_UP = 100  # steps
CHECKS = 10  # validations in a training


def _plan(
    demonstrations: Demonstrations,
    settings: StudentSettings,
    max_length: int,
    width: int,
    seed: int,
) -> list[NDArray[np.int64]]:
    """The rows of every step: each epoch all lessons once, histories of like length together."""
    lengths = np.minimum(demonstrations.histories.lengths, max_length) + width - max_length
    tokens = settings.lists_per_step * width
    epochs = range(settings.epochs)
    return [
        b
        for e in epochs
        for b in length_buckets(
            lengths, max_length=width, tokens=tokens, generator=np.random.default_rng([seed, e])
        )
    ]


def _scores(
    demonstrations: Demonstrations, rows: NDArray[np.integer[Any]], policy: GPTRec
) -> torch.Tensor:
    return torch.from_numpy(demonstrations.scores[rows]).to(policy.device)


@torch.no_grad()
def _check(
    policy: GPTRec, check: Demonstrations, split: Split, settings: StudentSettings, k: int
) -> dict[str, float]:
    policy.eval()
    losses = []
    for rows in np.array_split(np.arange(len(check.items)), max(1, len(check.items) // 256)):
        target = targets(_scores(check, rows, policy), k, settings.hard, settings.temperature)
        losses += [float(demonstration_loss(policy, check, rows, k, target))] * len(rows)
    weights = None if check.weights is None else torch.from_numpy(check.weights)
    measured = evaluate(NextK(policy, weights=weights), split.valid, split.catalogue, k=k)
    same = (measured.slates[:, :, None] == check.lists(k)[:, None]).any(axis=2).mean()
    return {"check loss": float(np.mean(losses)), "overlap": float(same), **measured.means}
