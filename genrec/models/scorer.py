"""The neural scorer: an embedding, a backbone and an objective that agree on one way to read a history."""

from dataclasses import dataclass

import torch
from torch import nn

from genrec.data.sequences import Sequences
from genrec.models.embeddings import Embedding
from genrec.models.losses import Loss
from genrec.models.negatives import Negatives
from genrec.models.objectives import Batch, Masked, Objective, newest_times


class NeuralScorer(nn.Module):
    """P(next item | history) up to a constant: embed, run the backbone, score one state against all items.

    Args:
        embedding: a module, ids to vectors and vectors to scores.
        backbone: (B, T, D), mask (B, T) -> (B, T, D).
        objective: how histories become inputs.
        max_length: T, how much of a history is read.
        reads_times: whether the backbone also takes (B, T) times. MASK has none, so Cloze cannot be the objective.
    """

    def __init__(
        self,
        embedding: Embedding,
        backbone: nn.Module,
        objective: Objective,
        max_length: int,
        reads_times: bool = False,
    ) -> None:
        super().__init__()
        if reads_times and isinstance(objective, Masked):
            raise ValueError("it is not known when a MASK happened: train a backbone that reads times on shifted items")
        self.embedding = embedding
        self.backbone = backbone
        self.objective = objective
        self.max_length = max_length
        self.reads_times = reads_times

    @property
    def num_items(self) -> int:
        """V."""
        return self.embedding.num_items

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.embedding.device

    def states(self, inputs: torch.Tensor, rows: torch.Tensor, times: torch.Tensor | None = None) -> torch.Tensor:
        """(N, D) states of the flattened ``rows`` of inputs (B, T), which happened at times (B, T).

        Raises:
            ValueError: if the backbone reads times and there are none.
        """
        seen: tuple[torch.Tensor, ...] = (self.embedding(inputs), inputs > 0)
        if self.reads_times:
            if times is None:
                raise ValueError(
                    f"{type(self.backbone).__name__} reads when events happened, and these histories have no times:"
                    " take a log with timestamps, or a recipe that reads the order alone, such as sasrec_softmax"
                )
            seen = (*seen, times)
        hidden: torch.Tensor = self.backbone(*seen)
        return hidden.flatten(0, 1)[rows]

    @torch.no_grad()
    def score(self, histories: Sequences) -> torch.Tensor:
        """(B, V+1) float32 scores of the item that comes next; PAD is -inf, seen items are not filtered."""
        training = self.training
        self.eval()
        inputs, rows = self.objective.query(histories, self.max_length, self.embedding.mask_id)
        times = newest_times(histories, self.max_length) if self.reads_times else None
        times = None if times is None else times.to(self.device)
        scores = self.embedding.score(self.states(inputs.to(self.device), rows.to(self.device), times))
        self.train(training)
        return scores.float()


@dataclass(frozen=True)
class Recipe:
    """A scorer and how it is trained: one choice on each axis.

    Attributes:
        scorer: embedding, backbone and objective.
        negatives: what targets are compared with.
        loss: how.
    """

    scorer: NeuralScorer
    negatives: Negatives
    loss: Loss

    def step(self, batch: Batch, generator: torch.Generator, chunk: int) -> float:
        """One training step's loss, with gradients accumulated in the weights.

        The states of a batch answer in chunks, each scored, judged and differentiated before the next, so that no more
        than (chunk, C) scores exist at a time; the backbone is differentiated once, at the end.

        Args:
            batch: what to answer.
            generator: for the negatives.
            chunk: rows scored at a time.

        Returns:
            The mean loss over the batch's targets.
        """
        hidden = self.scorer.states(batch.inputs, batch.rows, batch.times)
        leaf = hidden.detach().requires_grad_()
        ids = self.negatives(batch.targets, generator)
        total = 0.0
        for start in range(0, len(leaf), chunk):
            rows = slice(start, start + chunk)
            targets = batch.targets[rows]
            scores, positive = self.compare(leaf[rows], targets, ids if ids is None or ids.dim() == 1 else ids[rows])
            loss = self.loss(scores, positive) * (len(targets) / len(batch.targets))
            torch.autograd.backward(loss)
            total += float(loss.detach())
        assert leaf.grad is not None
        torch.autograd.backward(hidden, leaf.grad)
        return total

    def compare(
        self, hidden: torch.Tensor, targets: torch.Tensor, ids: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores (N, C) of targets and negatives, and the positive's column (N,).

        A sampled negative that equals the row's target is no candidate: its score is -inf. Sets of targets (N, M) are
        their own columns of the whole catalogue, padded with 0.

        Raises:
            ValueError: for sets of targets and sampled negatives.
        """
        score = self.scorer.embedding.score
        if ids is None:
            return score(hidden), targets
        if targets.dim() == 2:
            raise ValueError("sets of targets need negatives.catalogue: there is no set among sampled negatives")
        if ids.dim() == 1:
            at_target = (hidden * self.scorer.embedding(targets)).sum(dim=1, keepdim=True)
            scores = score(hidden, ids).masked_fill(ids == targets[:, None], -torch.inf)
            scores = torch.cat([at_target.to(scores.dtype), scores], dim=1)
        else:
            scores = score(hidden, torch.cat([targets[:, None], ids], dim=1))
            same = torch.cat([torch.zeros_like(targets[:, None], dtype=torch.bool), ids == targets[:, None]], dim=1)
            scores = scores.masked_fill(same, -torch.inf)
        return scores, torch.zeros_like(targets)
