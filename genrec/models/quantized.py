"""RecJPQ: item vectors put together from few shared pieces, for catalogues too large for a table.

An item is m codes of one byte. Code c in split j names the sub-item (j, c), whose vector of D/m
numbers is trained; the item's vector is the concatenation of its m sub-items' vectors. Codes stay
as they are while training.
"""

import torch
from torch import nn
from torch.nn import functional

from genrec.config.errors import GenrecError
from genrec.models.embeddings import are_few, require_filled
from genrec.models.pruning import InvertedIndex, pruned_top_k
from genrec.models.sub_items import CODES, look_up, sub_items
from genrec.recommender import top_k

CHUNK = 2**15  # items scored at a time: their scores for one state stay in the processor's cache
FEW = 32  # items of a row that are scored from their own vectors


class JointQuantized(nn.Module):
    """Item vectors made of shared sub-item vectors [Petrov & Macdonald 2024b]: a drop-in for
    ``Table``.

    PAD is the zero vector and MASK has a trainable vector of its own. The codes are random until
    ``assign`` is called.

    Args:
        num_items: V.
        hidden_size: D, a multiple of splits.
        splits: m, codes an item.
        pruned: whether ``top_k`` prunes, see there.

    Raises:
        GenrecError: if D is no multiple of m.
    """

    codes: torch.Tensor
    excluded: torch.Tensor

    def __init__(self, num_items: int, hidden_size: int, splits: int, pruned: bool = False) -> None:
        super().__init__()
        if hidden_size % splits:
            raise GenrecError(
                f"hidden_size {hidden_size} is no multiple of splits {splits}; change one of them"
            )
        self.num_items = num_items
        self.pruned = pruned
        self._indexed: tuple[int, InvertedIndex] | None = None
        self.centroids = nn.Parameter(
            torch.empty(splits, CODES, hidden_size // splits).normal_(std=0.02)
        )
        self.mask_vector = nn.Parameter(torch.empty(hidden_size).normal_(std=0.02))
        self.register_buffer(
            "codes", torch.randint(0, CODES, (num_items + 1, splits), dtype=torch.uint8)
        )
        never = torch.zeros(num_items + 1)
        never[0] = -torch.inf
        self.register_buffer("excluded", never, persistent=False)

    def assign(self, codes: torch.Tensor) -> None:
        """Give every item its codes.

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
        """Where the weights are."""
        return self.centroids.device

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Vectors (..., D) of ids (...); PAD is the zero vector and gets no gradient."""
        codes = self.codes[ids.clamp(max=self.num_items)]
        vectors = functional.embedding(sub_items(codes), self.centroids.flatten(0, 1)).flatten(-2)
        vectors = torch.where(
            (ids == self.mask_id)[..., None], self.mask_vector.to(vectors.dtype), vectors
        )
        return vectors * (ids > 0)[..., None]

    def vectors(self) -> torch.Tensor:
        """(V+1, D) vectors of all items; row 0 is PAD."""
        vectors: torch.Tensor = self(torch.arange(self.num_items + 1, device=self.device))
        return vectors

    def tables(self, hidden: torch.Tensor) -> torch.Tensor:
        """Sub-item scores (m, 256, N): products of piece j of each state (N, D) with the centroids
        of split j."""
        pieces = hidden.reshape(len(hidden), *self.centroids.shape[::2]).permute(1, 2, 0)
        return torch.matmul(self.centroids, pieces)

    def score(self, hidden: torch.Tensor, ids: torch.Tensor | None = None) -> torch.Tensor:
        """Dot products of states with items.

        Without gradients the whole catalogue is scored from the sub-item tables: m additions an
        item in place of D products, whatever D is. With gradients one product with all vectors is
        faster, above all its backward pass.

        Args:
            hidden: (N, D).
            ids: None for the whole catalogue, (C,) for the same items in every row, (N, C) for
                items of each row.

        Returns:
            (N, V+1) with -inf at PAD, or (N, C).
        """
        if ids is None and torch.is_grad_enabled():
            return torch.addmm(self.excluded.to(hidden.dtype), hidden, self.vectors().T)
        if ids is None:
            return self._score_all(self.tables(hidden))
        if ids.dim() == 1:
            return torch.matmul(hidden, self(ids).T)
        if not are_few(ids.shape[1], self.num_items):
            return self.score(hidden).gather(
                1, ids
            )  # cheaper than m look-ups for each of many items a row
        if ids.shape[1] <= FEW:
            return torch.einsum(
                "nd,ncd->nc", hidden, self(ids)
            )  # a table of 256 sub-item scores a split costs more
        tables = self.tables(hidden).permute(2, 0, 1).flatten(1)
        return (
            tables.gather(1, sub_items(self.codes[ids]).flatten(1)).view(*ids.shape, -1).sum(dim=2)
        )

    def _score_all(self, tables: torch.Tensor) -> torch.Tensor:
        scores = tables.new_empty(tables.shape[2], self.num_items + 1)
        for start in range(0, self.num_items + 1, CHUNK):
            scores[:, start : start + CHUNK] = look_up(tables, self.codes[start : start + CHUNK])
        scores[:, 0] = -torch.inf
        return scores

    @torch.no_grad()
    def top_k(
        self, hidden: torch.Tensor, k: int, blocked: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The k best items of each state without a score table; equal to sorting ``score``, ties to
        the smaller item.

        PQTopK [Petrov et al. 2024e] adds up the sub-item scores of all items, of all states at
        once: m additions an item, and no more than N x (k + 32768) scores at a time. Where
            ``pruned`` is set, RecJPQPrune [Petrov et al.
        2025b] leaves out items that cannot enter the list, one state after the other: faster for
        few states of a trained model over a very large catalogue, slower for many states or where
        no sub-item stands out.

        Args:
            hidden: (N, D).
            k: how many.
            blocked: (N, S) items that may not be recommended, filled up with PAD.

        Returns:
            Scores and items, both (N, k), best first.

        Raises:
            GenrecError: where fewer than k items are left.
        """
        if self.pruned and len(hidden):
            return self._prune(self.tables(hidden), k, blocked)
        return self._add_up(self.tables(hidden), k, blocked)

    def index(self) -> InvertedIndex:
        """Which items have a sub-item; made when it is first asked for and again after the codes
        have changed."""
        if (
            self._indexed is None
            or self._indexed[0] != self.codes._version
            or self._indexed[1].codes is not self.codes
        ):
            self._indexed = self.codes._version, InvertedIndex.of(self.codes)
        return self._indexed[1]

    def _prune(
        self, tables: torch.Tensor, k: int, blocked: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        each = tables.permute(2, 0, 1).contiguous().unsqueeze(3)
        rows = [None] * len(each) if blocked is None else blocked.unbind()
        found = [
            pruned_top_k(table, self.index(), k, row) for table, row in zip(each, rows, strict=True)
        ]
        scores, items = zip(*found, strict=True)
        return torch.stack(scores), torch.stack(items)

    def _add_up(
        self, tables: torch.Tensor, k: int, blocked: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        best = tables.new_full((tables.shape[2], k), -torch.inf)
        items = torch.zeros(best.shape, dtype=torch.long, device=best.device)
        for start in range(0, self.num_items + 1, CHUNK):
            scores = look_up(tables, self.codes[start : start + CHUNK])
            if start == 0:
                scores[:, 0] = -torch.inf
            if blocked is not None:
                rows, columns = ((blocked >= start) & (blocked < start + CHUNK)).nonzero(
                    as_tuple=True
                )
                scores[rows, blocked[rows, columns] - start] = -torch.inf
            bar = torch.maximum(best[:, -1:], scores.topk(min(k, scores.shape[1])).values[:, -1:])
            promising = (
                (scores >= bar).any(dim=0).nonzero()[:, 0]
            )  # few, which makes the order of equal scores cheap
            candidates = torch.cat([items, (promising + start).expand(len(items), -1)], dim=1)
            best, columns = top_k(torch.cat([best, scores[:, promising]], dim=1), k)
            items = candidates.gather(1, columns)
        require_filled(best, k, self.num_items)
        return best, items
