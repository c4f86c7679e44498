"""Neural scorers and recipes: what a model is made of, and one step of its training."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from genrec.config.errors import GenrecError
from genrec.data.sequences import Sequences
from genrec.models.count_expert import CountExpert
from genrec.models.embeddings import Embedding, require_filled
from genrec.models.losses import Loss
from genrec.models.negatives import Negatives
from genrec.models.objectives import Batch, Masked, Objective, newest_times
from genrec.recommender import mask_seen, top_k


class NeuralScorer(nn.Module):
    """A scorer whose scores are dot products of one state per history with the item vectors.

    The embedding turns a history into vectors, the backbone turns the vectors into states, and the
    state of the position that the objective chooses is scored against all items.

    Args:
        embedding: a module that maps ids to vectors and states to scores.
        backbone: maps vectors (B, T, D) and a mask (B, T) to states (B, T, D).
        objective: how histories become inputs.
        max_length: T, the number of newest items of a history that are read.
        reads_times: whether the backbone also takes times (B, T). A MASK token has no time, so such
            a backbone cannot be trained with the Cloze objective.
        score_offset: a constant added to every score, see ``losses.uninformed_score``.
        expert: counts that are combined with the scores; None for the network alone.

    Raises:
        GenrecError: for a backbone that reads times with the ``Masked`` objective.
    """

    makes_new_scores = True  # which the caller of ``score`` may write into

    def __init__(
        self,
        embedding: Embedding,
        backbone: nn.Module,
        objective: Objective,
        *,
        max_length: int,
        reads_times: bool = False,
        score_offset: float = 0.0,
        expert: CountExpert | None = None,
    ) -> None:
        super().__init__()
        if reads_times and isinstance(objective, Masked):
            raise GenrecError(
                "a MASK token has no time: train a backbone that reads times with the shifted"
                " objective"
            )
        self.embedding = embedding
        self.backbone = backbone
        self.objective = objective
        self.max_length = max_length
        self.reads_times = reads_times
        self.score_offset = score_offset
        self.expert = expert

    @property
    def num_items(self) -> int:
        """V, the number of items."""
        return self.embedding.num_items

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.embedding.device

    def states(
        self, inputs: torch.Tensor, positions: torch.Tensor, times: torch.Tensor | None = None
    ) -> torch.Tensor:
        """States of some positions of a batch.

        Args:
            inputs: (B, T) item indices.
            positions: (N,) indices into the B·T flattened positions.
            times: (B, T) int64 seconds at which the inputs happened.

        Returns:
            (N, D) states.

        Raises:
            GenrecError: if the backbone reads times and there are none.
        """
        arguments: tuple[torch.Tensor, ...] = (self.embedding(inputs), inputs > 0)
        if self.reads_times:
            if times is None:
                raise GenrecError(
                    f"{type(self.backbone).__name__} reads the times of events, and these histories"
                    " have no times: use a log with timestamps, or a recipe that reads only the"
                    " order, such as sasrec_softmax"
                )
            arguments = (*arguments, times)
        hidden: torch.Tensor = self.backbone(*arguments)
        return hidden.flatten(0, 1)[positions]

    @torch.no_grad()
    def score(self, histories: Sequences) -> torch.Tensor:
        """Scores of the next item.

        Returns:
            (B, V+1) float32; PAD is -inf, seen items are not filtered.
        """
        states = self.final_states(histories)
        scores = self.embedding.score(states).float() + self.score_offset
        if self.expert is None:
            return scores
        combined: torch.Tensor = self.expert(scores, states, self.expert.newest(histories))
        return combined

    @torch.no_grad()
    def best(self, histories: Sequences, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores and items of the k best unseen items, both (B, k), best first.

        Ties go to the smaller item index.
        """
        if self.expert is not None:
            best, items = top_k(mask_seen(self.score(histories), histories), k)
            require_filled(best, k, self.num_items)
            return best, items
        # The offset is the same for all items and does not change their order.
        seen = torch.from_numpy(histories.padded()).to(self.device)
        scores, items = self.embedding.top_k(self.final_states(histories), k, seen)
        return scores.float() + self.score_offset, items

    @torch.no_grad()
    def final_states(self, histories: Sequences) -> torch.Tensor:
        """States that score the next item, in evaluation mode and without gradients, (B, D)."""
        training = self.training
        self.eval()
        states = self.encode_histories(histories)
        self.train(training)
        return states

    def encode_histories(self, histories: Sequences) -> torch.Tensor:
        """States that score the next item, in the current mode and with gradients, (B, D)."""
        inputs, positions = self.objective.query(histories, self.max_length, self.embedding.mask_id)
        times = newest_times(histories, self.max_length) if self.reads_times else None
        times = None if times is None else times.to(self.device)
        return self.states(inputs.to(self.device), positions.to(self.device), times)


@dataclass(frozen=True)
class Recipe:
    """A scorer and how it is trained: one choice on each axis.

    Attributes:
        scorer: embedding, backbone and objective.
        negatives: the items that each target is compared with.
        loss: the loss over the scores of target and negatives.
        log_expected: (V+1,) log(k·q_i) of the sampled negatives, for the logQ correction; None for
            no correction.
    """

    scorer: NeuralScorer
    negatives: Negatives
    loss: Loss
    log_expected: torch.Tensor | None = None

    def training_step(self, batch: Batch, generator: torch.Generator, chunk: int) -> float:
        """Loss of a batch, with its gradients added to those of the weights.

        The states are scored and differentiated in chunks, so that at most (chunk, C) scores exist
        at a time. The gradients with respect to the states are collected, and the backbone is
        differentiated once, at the end.

        Args:
            batch: inputs and targets.
            generator: random numbers for the negatives.
            chunk: number of states scored at a time.

        Returns:
            The mean loss over the targets of the batch: of the network, plus that of the combined
            scores where there is a count-based expert.
        """
        hidden = self.scorer.states(batch.inputs, batch.positions, batch.times)
        ids = self.negatives(batch, generator)
        expert = self.scorer.expert
        counted: tuple[torch.Tensor, ...] = ()
        if expert is not None:
            counted = expert.training_inputs(batch.inputs, batch.positions, batch.sequences)
        gradients, total = [], 0.0
        for start in range(0, len(hidden), chunk):
            rows = slice(start, start + chunk)
            # A detached leaf: its gradient is kept, and the backbone's graph is not walked yet.
            states, targets = hidden[rows].detach().requires_grad_(), batch.targets[rows]
            chunk_ids = ids if ids is None or ids.dim() == 1 else ids[rows]
            scores, positive = self.score_candidates(states, targets, chunk_ids)
            loss = self.loss(scores, positive)
            if expert is not None:
                combined = expert(scores, states, *(each[rows] for each in counted))
                loss = loss + self.loss(combined, positive)
            loss = loss * (len(targets) / len(batch.targets))
            torch.autograd.backward(loss)
            assert states.grad is not None
            gradients.append(states.grad)
            total += float(loss.detach())
        torch.autograd.backward(hidden, torch.cat(gradients))
        return total

    def score_candidates(
        self, states: torch.Tensor, targets: torch.Tensor, ids: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores (N, C) of targets and negatives, and the column of the positive.

        A sampled negative that equals the row's target is no candidate: its score is -inf.

        With ``log_expected`` a negative's score becomes s_j − log(k·q_j). Over the draws, exp s⁺ +
        Σ_j exp s_j is then on average the sum over the whole catalogue. The positive is always a
        candidate, is not drawn and keeps its score, so that 1 − p⁺ is the weight of a target in the
        gradient [Khrylchenko et al. 2025]. Uniform negatives all gain the same log(V/k).

        Args:
            states: (N, D).
            targets: (N,) items, or (N, M) sets of items padded with 0.
            ids: negatives, (N, C-1) per row or (C-1,) for all rows; None for the whole catalogue.

        Returns:
            Scores, and the positives' columns: (N,) for single targets. The columns of the whole
            catalogue are its items, so that targets are their own columns.

        Raises:
            GenrecError: for sets of targets and sampled negatives.
        """
        offset = self.scorer.score_offset
        if ids is None:
            # In place: this table is the largest tensor of a step.
            scores = self.scorer.embedding.score(states)
            return scores.float().add_(offset) if offset else scores, targets
        if targets.dim() == 2:
            raise GenrecError(
                "sets of targets need negatives.catalogue: sampled negatives take one target per"
                " row"
            )
        scores = self._sampled_scores(states, targets, ids)
        scores = scores.float() + offset if offset else scores
        if self.log_expected is not None:
            correction = self.log_expected.to(ids.device)[ids].expand(len(targets), -1)
            scores = scores.float() - functional.pad(correction, (1, 0))
        equals_target = functional.pad(ids == targets[:, None], (1, 0))
        return scores.masked_fill(equals_target, -torch.inf), torch.zeros_like(targets)

    def _sampled_scores(
        self, states: torch.Tensor, targets: torch.Tensor, ids: torch.Tensor
    ) -> torch.Tensor:
        """Scores of targets (column 0) and negatives, (N, C)."""
        embedding = self.scorer.embedding
        if ids.dim() == 2:
            return embedding.score(states, torch.cat([targets[:, None], ids], dim=1))
        # Shared negatives are one matrix product; each row's target is scored beside it.
        of_targets = embedding.score(states, targets[:, None])
        of_ids = embedding.score(states, ids)
        return torch.cat([of_targets.to(of_ids.dtype), of_ids], dim=1)
