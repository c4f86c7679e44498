"""The neural scorer: an embedding, a backbone and an objective that agree on one way to read a
history."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from genrec.config.errors import GenrecError
from genrec.data.sequences import Sequences
from genrec.models.embeddings import Embedding
from genrec.models.losses import Loss
from genrec.models.negatives import Negatives
from genrec.models.objectives import Batch, Masked, Objective, newest_times


class NeuralScorer(nn.Module):
    """P(next item | history) up to a constant: embed, run the backbone, score one state against all
    items.

    Args:
        embedding: a module, ids to vectors and vectors to scores.
        backbone: (B, T, D), mask (B, T) -> (B, T, D).
        objective: how histories become inputs.
        max_length: T, how much of a history is read.
        reads_times: whether the backbone also takes (B, T) times. MASK has none, so Cloze cannot be
            the objective.
        base: is added to every score, see ``losses.uninformed_score``.
    """

    def __init__(
        self,
        embedding: Embedding,
        backbone: nn.Module,
        objective: Objective,
        max_length: int,
        reads_times: bool = False,
        base: float = 0.0,
    ) -> None:
        super().__init__()
        if reads_times and isinstance(objective, Masked):
            raise GenrecError(
                "it is not known when a MASK happened: train a backbone that reads times on shifted"
                " items"
            )
        self.embedding = embedding
        self.backbone = backbone
        self.objective = objective
        self.max_length = max_length
        self.reads_times = reads_times
        self.base = base

    @property
    def num_items(self) -> int:
        """V."""
        return self.embedding.num_items

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.embedding.device

    def states(
        self, inputs: torch.Tensor, rows: torch.Tensor, times: torch.Tensor | None = None
    ) -> torch.Tensor:
        """(N, D) states of the flattened ``rows`` of inputs (B, T), which happened at times (B, T).

        Raises:
            GenrecError: if the backbone reads times and there are none.
        """
        seen: tuple[torch.Tensor, ...] = (self.embedding(inputs), inputs > 0)
        if self.reads_times:
            if times is None:
                raise GenrecError(
                    f"{type(self.backbone).__name__} reads when events happened, and these"
                    " histories have no times:"
                    " take a log with timestamps, or a recipe that reads the order alone, such as"
                    " sasrec_softmax"
                )
            seen = (*seen, times)
        hidden: torch.Tensor = self.backbone(*seen)
        return hidden.flatten(0, 1)[rows]

    @torch.no_grad()
    def score(self, histories: Sequences) -> torch.Tensor:
        """(B, V+1) float32 scores of the item that comes next; PAD is -inf, seen items are not
        filtered."""
        return self.embedding.score(self.answers(histories)).float() + self.base

    @torch.no_grad()
    def best(self, histories: Sequences, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores and items of the k best unseen items, both (B, k); equal scores keep the order of
        the items."""
        seen = torch.from_numpy(histories.padded()).to(self.device)
        scores, items = self.embedding.top_k(self.answers(histories), k, seen)
        return scores.float() + self.base, items

    @torch.no_grad()
    def answers(self, histories: Sequences) -> torch.Tensor:
        """(B, D) the state of each history that answers for the next item, without dropout."""
        training = self.training
        self.eval()
        states = self.read(histories)
        self.train(training)
        return states

    def read(self, histories: Sequences) -> torch.Tensor:
        """(B, D) the state of each history that answers for the next item."""
        inputs, rows = self.objective.query(histories, self.max_length, self.embedding.mask_id)
        times = newest_times(histories, self.max_length) if self.reads_times else None
        times = None if times is None else times.to(self.device)
        return self.states(inputs.to(self.device), rows.to(self.device), times)


@dataclass(frozen=True)
class Recipe:
    """A scorer and how it is trained: one choice on each axis.

    Attributes:
        scorer: embedding, backbone and objective.
        negatives: what targets are compared with.
        loss: how.
        log_expected: (V+1,) log(k·q_i) of the sampled negatives, for the logQ correction; None
            leaves scores alone.
    """

    scorer: NeuralScorer
    negatives: Negatives
    loss: Loss
    log_expected: torch.Tensor | None = None

    def step(self, batch: Batch, generator: torch.Generator, chunk: int) -> float:
        """One training step's loss, with gradients accumulated in the weights.

        The states of a batch answer in chunks, each scored, judged and differentiated before the
        next, so that no more than (chunk, C) scores exist at a time; the backbone is differentiated
        once, at the end.

        Args:
            batch: what to answer.
            generator: for the negatives.
            chunk: rows scored at a time.

        Returns:
            The mean loss over the batch's targets.
        """
        hidden = self.scorer.states(batch.inputs, batch.rows, batch.times)
        ids = self.negatives(batch, generator)
        gradients, total = [], 0.0
        for start in range(0, len(hidden), chunk):
            rows = slice(start, start + chunk)
            leaf, targets = hidden[rows].detach().requires_grad_(), batch.targets[rows]
            scores, positive = self.compare(
                leaf, targets, ids if ids is None or ids.dim() == 1 else ids[rows]
            )
            loss = self.loss(scores, positive) * (len(targets) / len(batch.targets))
            torch.autograd.backward(loss)
            assert leaf.grad is not None
            gradients.append(leaf.grad)
            total += float(loss.detach())
        torch.autograd.backward(hidden, torch.cat(gradients))
        return total

    def compare(
        self, hidden: torch.Tensor, targets: torch.Tensor, ids: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores (N, C) of targets and negatives, and the positive's column (N,).

        A sampled negative that equals the row's target is no candidate: its score is -inf. Sets of
        targets (N, M) are their own columns of the whole catalogue, padded with 0.

        With ``log_expected`` a negative's score becomes s_j − log(k·q_j): over the draws, exp s⁺ +
        Σ_j exp s_j is then on average the sum over the whole catalogue. The positive is always
        there, not drawn, and keeps its score, which makes 1 − p⁺ the weight of a target in the
        gradient [Khrylchenko et al. 2025]. Uniform negatives all gain the same log(V/k).

        Raises:
            GenrecError: for sets of targets and sampled negatives.
        """
        score, base = self.scorer.embedding.score, self.scorer.base
        if ids is None:
            scores = score(hidden)
            return scores.float().add_(base) if base else scores, targets
        if targets.dim() == 2:
            raise GenrecError(
                "sets of targets need negatives.catalogue: there is no set among sampled negatives"
            )
        if ids.dim() == 1:
            at_target = (hidden * self.scorer.embedding(targets)).sum(dim=1, keepdim=True)
            of_ids = score(hidden, ids)
            scores = torch.cat([at_target.to(of_ids.dtype), of_ids], dim=1)
        else:
            scores = score(hidden, torch.cat([targets[:, None], ids], dim=1))
        scores = scores.float() + base if base else scores
        if self.log_expected is not None:
            shift = self.log_expected.to(ids.device)[ids].expand(len(targets), -1)
            scores = scores.float() - functional.pad(shift, (1, 0))
        barred = functional.pad(ids == targets[:, None], (1, 0))
        return scores.masked_fill(barred, -torch.inf), torch.zeros_like(targets)
