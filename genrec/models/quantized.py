"""RecJPQ: item vectors composed of a few shared parts, for catalogues too large for a table.

An item is m codes of one byte. Code c in split j refers to sub-item (j, c), whose vector of D/m
numbers is trained. The item's vector is the concatenation of its m sub-items' vectors. Codes do not
change during training.
"""

import torch
from torch import nn
from torch.nn import functional

from genrec.config.errors import GenrecError
from genrec.models.embeddings import are_few, require_filled
from genrec.models.pruning import InvertedIndex, pruned_top_k
from genrec.models.sub_items import NUM_CODES, sub_item_rows, sum_sub_item_scores
from genrec.recommender import top_k

CHUNK = 2**15  # items scored at a time: their scores for one state stay in the processor's cache
FEW = 32  # up to so many items per row are scored from their own vectors


class JointQuantized(nn.Module):
    """Item vectors made of shared sub-item vectors [Petrov & Macdonald 2024b].

    It can be used in place of ``Table``. PAD is the zero vector, and MASK has a trainable vector of
    its own. The codes are random until ``assign`` is called.

    Args:
        num_items: V.
        hidden_size: D, a multiple of ``splits``.
        splits: m, the number of codes per item.
        pruned: whether ``top_k`` uses dynamic pruning.

    Raises:
        GenrecError: if D is no multiple of m.
    """

    codes: torch.Tensor
    excluded: torch.Tensor

    def __init__(
        self, num_items: int, hidden_size: int, *, splits: int, pruned: bool = False
    ) -> None:
        super().__init__()
        if hidden_size % splits:
            raise GenrecError(
                f"hidden_size {hidden_size} is no multiple of splits {splits}; change one of them"
            )
        self.num_items = num_items
        self.pruned = pruned
        self._indexed: tuple[int, InvertedIndex] | None = None
        self.centroids = nn.Parameter(
            torch.empty(splits, NUM_CODES, hidden_size // splits).normal_(std=0.02)
        )
        self.mask_vector = nn.Parameter(torch.empty(hidden_size).normal_(std=0.02))
        random_codes = torch.randint(0, NUM_CODES, (num_items + 1, splits), dtype=torch.uint8)
        self.register_buffer("codes", random_codes)
        excluded = torch.zeros(num_items + 1)
        excluded[0] = -torch.inf
        self.register_buffer("excluded", excluded, persistent=False)

    def assign(self, codes: torch.Tensor) -> None:
        """Set the codes of all items.

        Args:
            codes: (V+1, m) uint8; row 0 (PAD) is not used.

        Raises:
            GenrecError: for another shape or type.
        """
        if codes.shape != self.codes.shape or codes.dtype != torch.uint8:
            raise GenrecError(
                f"codes are {codes.dtype} {tuple(codes.shape)}; this embedding takes uint8"
                f" {tuple(self.codes.shape)}"
            )
        self.codes.copy_(codes)

    @property
    def mask_id(self) -> int:
        """Index of the MASK token, V+1."""
        return self.num_items + 1

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.centroids.device

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Vectors (..., D) of ids (...); PAD is the zero vector and gets no gradient."""
        codes = self.codes[ids.clamp(max=self.num_items)]
        parts = functional.embedding(sub_item_rows(codes), self.centroids.flatten(0, 1))
        vectors = parts.flatten(-2)
        is_mask = (ids == self.mask_id)[..., None]
        vectors = torch.where(is_mask, self.mask_vector.to(vectors.dtype), vectors)
        return vectors * (ids > 0)[..., None]

    def vectors(self) -> torch.Tensor:
        """(V+1, D) vectors of all items; row 0 is PAD."""
        vectors: torch.Tensor = self(torch.arange(self.num_items + 1, device=self.device))
        return vectors

    def sub_item_scores(self, hidden: torch.Tensor) -> torch.Tensor:
        """Dot products of part j of each state with the centroids of split j.

        Args:
            hidden: (N, D) states.

        Returns:
            (m, 256, N).
        """
        parts = hidden.reshape(len(hidden), *self.centroids.shape[::2]).permute(1, 2, 0)
        return torch.matmul(self.centroids, parts)

    def score(self, hidden: torch.Tensor, ids: torch.Tensor | None = None) -> torch.Tensor:
        """Dot products of states with item vectors.

        Without gradients the whole catalogue is scored from sub-item scores: m additions per item
        instead of D multiplications and additions, whatever D is.

        Args:
            hidden: (N, D) states.
            ids: None for the whole catalogue, (C,) for the same items in every row, (N, C) for
                different items per row.

        Returns:
            (N, V+1) with -inf at PAD, or (N, C).
        """
        if ids is None and torch.is_grad_enabled():
            # With gradients one product with all vectors is faster, above all its backward pass.
            return torch.addmm(self.excluded.to(hidden.dtype), hidden, self.vectors().T)
        if ids is None:
            return self._score_all(self.sub_item_scores(hidden))
        if ids.dim() == 1:
            return torch.matmul(hidden, self(ids).T)
        if not are_few(ids.shape[1], self.num_items):
            # For many items per row m look-ups for each of them cost more than the catalogue.
            return self.score(hidden).gather(1, ids)
        if ids.shape[1] <= FEW:
            # For very few items the 256 sub-item scores per split cost more than the vectors.
            return torch.einsum("nd,ncd->nc", hidden, self(ids))
        sub_scores = self.sub_item_scores(hidden).permute(2, 0, 1).flatten(1)
        terms = sub_scores.gather(1, sub_item_rows(self.codes[ids]).flatten(1))
        return terms.view(*ids.shape, -1).sum(dim=2)

    def _score_all(self, sub_scores: torch.Tensor) -> torch.Tensor:
        """Scores (N, V+1) of all items from sub-item scores (m, 256, N)."""
        scores = sub_scores.new_empty(sub_scores.shape[2], self.num_items + 1)
        for start in range(0, self.num_items + 1, CHUNK):
            codes = self.codes[start : start + CHUNK]
            scores[:, start : start + CHUNK] = sum_sub_item_scores(sub_scores, codes)
        scores[:, 0] = -torch.inf
        return scores

    @torch.no_grad()
    def top_k(
        self, hidden: torch.Tensor, k: int, blocked: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The k best items of each state without a table of scores.

        The result is that of sorting ``score``, ties going to the smaller item.

        PQTopK [Petrov et al. 2024e] adds up the sub-item scores of all items, for all states at
        once: m additions per item, and no more than N x (k + 32768) scores at a time. If ``pruned``
        is set, RecJPQPrune [Petrov et al. 2025b] skips items that cannot enter the list, one state
        after the other. It is faster for few states of a trained model over a very large catalogue,
        and slower for many states or if no sub-item scores far above the others.

        Args:
            hidden: (N, D) states.
            k: number of items.
            blocked: (N, S) items that may not be recommended, padded with PAD.

        Returns:
            Scores and items, both (N, k), best first.

        Raises:
            GenrecError: if fewer than k items are left for a state.
        """
        sub_scores = self.sub_item_scores(hidden)
        if self.pruned and len(hidden):
            return self._pruned_top_k(sub_scores, k, blocked)
        return self._full_top_k(sub_scores, k, blocked)

    def index(self) -> InvertedIndex:
        """The items of each sub-item; built at the first call and after the codes have changed."""
        if (
            self._indexed is None
            or self._indexed[0] != self.codes._version
            or self._indexed[1].codes is not self.codes
        ):
            self._indexed = self.codes._version, InvertedIndex.of(self.codes)
        return self._indexed[1]

    def _pruned_top_k(
        self, sub_scores: torch.Tensor, k: int, blocked: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """RecJPQPrune, one state after the other."""
        states = sub_scores.permute(2, 0, 1).contiguous().unsqueeze(3)
        rows = [None] * len(states) if blocked is None else blocked.unbind()
        found = [
            pruned_top_k(state, self.index(), k, blocked=row)
            for state, row in zip(states, rows, strict=True)
        ]
        scores, items = zip(*found, strict=True)
        return torch.stack(scores), torch.stack(items)

    def _full_top_k(
        self, sub_scores: torch.Tensor, k: int, blocked: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """PQTopK, in chunks of items whose best ones are merged with the best so far."""
        best = sub_scores.new_full((sub_scores.shape[2], k), -torch.inf)
        items = torch.zeros(best.shape, dtype=torch.long, device=best.device)
        for start in range(0, self.num_items + 1, CHUNK):
            scores = sum_sub_item_scores(sub_scores, self.codes[start : start + CHUNK])
            if start == 0:
                scores[:, 0] = -torch.inf
            if blocked is not None:
                in_chunk = (blocked >= start) & (blocked < start + CHUNK)
                rows, columns = in_chunk.nonzero(as_tuple=True)
                scores[rows, blocked[rows, columns] - start] = -torch.inf
            kth_best = scores.topk(min(k, scores.shape[1])).values[:, -1:]
            bar = torch.maximum(best[:, -1:], kth_best)
            # Few items reach the bar of any state, which makes ordering equal scores cheap.
            promising = (scores >= bar).any(dim=0).nonzero()[:, 0]
            candidates = torch.cat([items, (promising + start).expand(len(items), -1)], dim=1)
            best, columns = top_k(torch.cat([best, scores[:, promising]], dim=1), k)
            items = candidates.gather(1, columns)
        require_filled(best, k, self.num_items)
        return best, items
