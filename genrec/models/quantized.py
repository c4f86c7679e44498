"""RecJPQ: item vectors put together from few shared pieces, for catalogues too large for a table.

An item is m codes of one byte. Code c in split j names the sub-item (j, c), whose vector of D/m numbers is trained; the
item's vector is the concatenation of its m sub-items' vectors. Codes stay as they are while training.
"""

import torch
from torch import nn
from torch.nn import functional

from genrec.recommender import top_k

CODES = 256
CHUNK = 2**15  # items scored at a time: their scores for one state stay in the processor's cache


class JointQuantized(nn.Module):
    """Item vectors made of shared sub-item vectors [Petrov & Macdonald 2024b]: a drop-in for ``Table``.

    PAD is the zero vector and MASK has a trainable vector of its own. The codes are random until ``assign`` is called.

    Args:
        num_items: V.
        hidden_size: D, a multiple of splits.
        splits: m, codes an item.

    Raises:
        ValueError: if D is no multiple of m.
    """

    codes: torch.Tensor
    excluded: torch.Tensor

    def __init__(self, num_items: int, hidden_size: int, splits: int) -> None:
        super().__init__()
        if hidden_size % splits:
            raise ValueError(f"hidden_size {hidden_size} is no multiple of splits {splits}; change one of them")
        self.num_items = num_items
        self.centroids = nn.Parameter(torch.empty(splits, CODES, hidden_size // splits).normal_(std=0.02))
        self.mask_vector = nn.Parameter(torch.empty(hidden_size).normal_(std=0.02))
        self.register_buffer("codes", torch.randint(0, CODES, (num_items + 1, splits), dtype=torch.uint8))
        never = torch.zeros(num_items + 1)
        never[0] = -torch.inf
        self.register_buffer("excluded", never, persistent=False)

    def assign(self, codes: torch.Tensor) -> None:
        """Give every item its codes.

        Args:
            codes: (V+1, m) uint8; row 0 (PAD) is not used.

        Raises:
            ValueError: for another shape or type.
        """
        if codes.shape != self.codes.shape or codes.dtype != torch.uint8:
            raise ValueError(
                f"codes are {codes.dtype} {tuple(codes.shape)}; this embedding takes uint8 {tuple(self.codes.shape)}"
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
        vectors = torch.where((ids == self.mask_id)[..., None], self.mask_vector.to(vectors.dtype), vectors)
        return vectors * (ids > 0)[..., None]

    def vectors(self) -> torch.Tensor:
        """(V+1, D) vectors of all items; row 0 is PAD."""
        vectors: torch.Tensor = self(torch.arange(self.num_items + 1, device=self.device))
        return vectors

    def tables(self, hidden: torch.Tensor) -> torch.Tensor:
        """Sub-item scores (m, 256, N): products of piece j of each state (N, D) with the centroids of split j."""
        pieces = hidden.reshape(len(hidden), *self.centroids.shape[::2]).permute(1, 2, 0)
        return torch.matmul(self.centroids, pieces)

    def score(self, hidden: torch.Tensor, ids: torch.Tensor | None = None) -> torch.Tensor:
        """Dot products of states with items.

        Without gradients the whole catalogue is scored from the sub-item tables: m additions an item in place of D
        products, whatever D is. With gradients one product with all vectors is faster, above all its backward pass.

        Args:
            hidden: (N, D).
            ids: None for the whole catalogue, (C,) for the same items in every row, (N, C) for items of each row.

        Returns:
            (N, V+1) with -inf at PAD, or (N, C).
        """
        if ids is None and torch.is_grad_enabled():
            return torch.addmm(self.excluded.to(hidden.dtype), hidden, self.vectors().T)
        if ids is None:
            return self._score_all(self.tables(hidden))
        if ids.dim() == 1:
            return torch.matmul(hidden, self(ids).T)
        if ids.shape[1] * 16 >= self.num_items:
            return self.score(hidden).gather(1, ids)  # cheaper than m look-ups for each of many items a row
        tables = self.tables(hidden).permute(2, 0, 1).flatten(1)
        return tables.gather(1, sub_items(self.codes[ids]).flatten(1)).view(*ids.shape, -1).sum(dim=2)

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
        """The k best items of each state without a score table: PQTopK [Petrov et al. 2024e].

        No more than N x (k + 32768) scores exist at a time. Ties go to the smaller item.

        Args:
            hidden: (N, D).
            k: how many.
            blocked: (N, S) items that may not be recommended, filled up with PAD.

        Returns:
            Scores and items, both (N, k), best first.

        Raises:
            ValueError: where fewer than k items are left.
        """
        tables = self.tables(hidden)
        best = tables.new_full((len(hidden), k), -torch.inf)
        items = torch.zeros(len(hidden), k, dtype=torch.long, device=self.device)
        for start in range(0, self.num_items + 1, CHUNK):
            scores = look_up(tables, self.codes[start : start + CHUNK])
            if start == 0:
                scores[:, 0] = -torch.inf
            if blocked is not None:
                rows, columns = ((blocked >= start) & (blocked < start + CHUNK)).nonzero(as_tuple=True)
                scores[rows, blocked[rows, columns] - start] = -torch.inf
            bar = torch.maximum(best[:, -1:], scores.topk(min(k, scores.shape[1])).values[:, -1:])
            promising = (scores >= bar).any(dim=0).nonzero()[:, 0]  # few, which makes the order of equal scores cheap
            candidates = torch.cat([items, (promising + start).expand(len(items), -1)], dim=1)
            best, columns = top_k(torch.cat([best, scores[:, promising]], dim=1), k)
            items = candidates.gather(1, columns)
        if (best == -torch.inf).any():
            raise ValueError(f"a list of {k} items was asked for, but fewer are left of {self.num_items}; ask for less")
        return best, items


def sub_items(codes: torch.Tensor) -> torch.Tensor:
    """Codes (..., m) as rows 256·j + code of all m splits' sub-items stacked, int64."""
    return codes.long() + CODES * torch.arange(codes.shape[-1], device=codes.device)


def look_up(tables: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    """Item scores from sub-item scores: s(n, i) = Σ_j tables[j, codes[i, j], n].

    Args:
        tables: (m, 256, N).
        codes: (C, m).

    Returns:
        (N, C).

    >>> tables = torch.zeros(2, 256, 1)
    >>> tables[0, 5], tables[1, 7] = 1.0, 10.0
    >>> look_up(tables, torch.tensor([[5, 7], [5, 0]], dtype=torch.uint8)).tolist()
    [[11.0, 1.0]]
    """
    if tables.shape[2] != 1:  # a row of N scores a sub-item: sums of m rows
        rows = tables.flatten(0, 1)
        return functional.embedding_bag(sub_items(codes), rows, mode="sum").T
    total = tables[0, :, 0].index_select(0, codes[:, 0].int())
    for split in range(1, len(tables)):
        total += tables[split, :, 0].index_select(0, codes[:, split].int())
    return total[None]
