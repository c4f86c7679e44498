"""TiSASRec: a causal transformer whose attention knows how much time lies between two events."""

import torch
from torch import nn
from torch.nn import functional

from genrec.config.errors import GenrecError

NEVER = torch.iinfo(torch.int64).max


class TiSASRec(nn.Module):
    """Self-attention with absolute positions and relative, personalised time intervals in keys and
    values.

    With r_ij = min(L, ⌊|t_i − t_j| / g_i⌋), the interval between two events in units of the user's
    smallest one:

        e_ij = q_i · (k_j + p^K_j + R^K[r_ij]) / √d,    z_i = Σ_j softmax_j(e_ij) (v_j + p^V_j +
        R^V[r_ij]),   j ≤ i

    [Li et al. 2020, §3], without positions at the input. The tables p and R are shared by all
    blocks. One thing differs: the unit g_i is the smallest non-zero interval between neighbouring
    events *up to i*, where the paper takes that of the whole sequence. There, a state says
    something about events that are still to come; here it does not, and what is learnt at i is what
    is met when a history ends at i.

    No (B, T, T, D) is built: q_i · R[r] is worked out once for each of the L + 1 intervals and
    looked up, and attention weights of equal intervals are summed before they meet R^V. That takes
    (B, heads, T, L + 1) values.

    Args:
        hidden_size: D.
        blocks: number of blocks.
        heads: attention heads; D must be a multiple.
        max_length: longest sequence.
        dropout: share of dropped activations, at the input and on both residual branches.
        max_interval: L, where intervals are clipped.
    """

    def __init__(
        self,
        hidden_size: int,
        blocks: int,
        heads: int,
        max_length: int,
        dropout: float,
        max_interval: int = 256,
    ) -> None:
        super().__init__()
        if hidden_size % heads:
            raise GenrecError(f"hidden_size {hidden_size} is not a multiple of heads {heads}")
        if max_interval < 1:
            raise GenrecError(
                f"max_interval is {max_interval}; it must be at least 1 to tell intervals apart"
            )
        self.scale = hidden_size**0.5
        self.max_interval = max_interval
        self.key_position, self.value_position = (_table(max_length, hidden_size) for _ in range(2))
        self.key_interval, self.value_interval = (
            _table(max_interval + 1, hidden_size) for _ in range(2)
        )
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(TimedBlock(hidden_size, heads, dropout) for _ in range(blocks))
        self.norm = nn.LayerNorm(hidden_size)

    def forward(
        self, vectors: torch.Tensor, mask: torch.Tensor, times: torch.Tensor
    ) -> torch.Tensor:
        """States of every position.

        Args:
            vectors: (B, T, D) item vectors, padded on the right, which a causal model never looks
                at.
            mask: (B, T) True at real items; not read.
            times: (B, T) int64, when they happened, oldest first.

        Returns:
            (B, T, D).
        """
        length = vectors.shape[1]
        apart = intervals(times, self.max_interval)
        positions = self.key_position[:length], self.value_position[:length]
        x = self.dropout(vectors * self.scale)
        for block in self.blocks:
            x = block(x, positions, (self.key_interval, self.value_interval), apart)
        return self.norm(x)  # type: ignore[no-any-return]


class TimedBlock(nn.Module):
    """x + attention(norm(x)), then x + feed-forward(norm(x)), inner width 4 D, GELU, with tables
    added to keys and values.
    """

    def __init__(self, hidden_size: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(hidden_size)
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size)
        self.out = nn.Linear(hidden_size, hidden_size)
        self.forward_norm = nn.LayerNorm(hidden_size)
        self.up = nn.Linear(hidden_size, 4 * hidden_size)
        self.down = nn.Linear(4 * hidden_size, hidden_size)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: torch.Tensor,
        positions: tuple[torch.Tensor, torch.Tensor],
        tables: tuple[torch.Tensor, torch.Tensor],
        apart: torch.Tensor,
    ) -> torch.Tensor:
        """(B, T, D) to (B, T, D), given p^K and p^V (T, D), R^K and R^V (L+1, D) and intervals (B,
        T, T)."""
        q, k, v = self.qkv(self.attention_norm(x)).chunk(3, dim=-1)
        mixed = interval_attention(q, k + positions[0], v + positions[1], tables, apart, self.heads)
        x = x + self.dropout(self.out(mixed))
        return x + self.dropout(self.down(functional.gelu(self.up(self.forward_norm(x)))))  # type: ignore[no-any-return]


def intervals(times: torch.Tensor, max_interval: int) -> torch.Tensor:
    """(B, T, T) int64 clipped intervals r_ij in units of the smallest one up to i; 0 where j > i.

    r_ij = min(L, ⌊|t_i − t_j| / g_i⌋), g_i the smallest non-zero |t_j − t_{j−1}| with j ≤ i [Li et
    al. 2020, §3].

    Args:
        times: (B, T) int64, when events happened, oldest first; padding on the right changes
            nothing before it.
        max_interval: L.

    >>> times = torch.tensor([[100, 100, 130, 150, 290]])
    >>> intervals(times, max_interval=7)[0].tolist()  # units: none, none, 30, 20, 20 seconds
    [[0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [1, 1, 0, 0, 0], [2, 2, 1, 0, 0], [7, 7, 7, 7, 0]]
    """
    gap = functional.pad((times[:, 1:] - times[:, :-1]).abs(), (1, 0))
    unit = gap.masked_fill(gap == 0, NEVER).cummin(dim=1).values
    apart = (times[:, :, None] - times[:, None, :]).abs().tril_()
    return apart.div_(unit[:, :, None], rounding_mode="floor").clamp_(max=max_interval)


def interval_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    tables: tuple[torch.Tensor, torch.Tensor],
    apart: torch.Tensor,
    heads: int,
) -> torch.Tensor:
    """Causal attention in ``heads`` pieces with an interval's row added to each key and value.

    z_i = Σ_{j≤i} softmax_j(q_i · (k_j + R^K[r_ij]) / √(D/heads)) (v_j + R^V[r_ij]) [Li et al. 2020,
    §3].

    Args:
        q: (B, T, D) queries.
        k: (B, T, D) keys.
        v: (B, T, D) values.
        tables: R^K and R^V, both (L+1, D).
        apart: (B, T, T) int64 rows of the tables, r_ij.
        heads: D is a multiple of it.

    Returns:
        (B, T, D).
    """
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    key_rows, value_rows = (table.unflatten(-1, (heads, -1)).transpose(0, 1) for table in tables)
    apart = apart[:, None].expand(-1, heads, -1, -1)
    by_interval = q @ key_rows.transpose(1, 2)  # (B, heads, T, L+1)
    scores = (q @ k.transpose(2, 3) + by_interval.gather(3, apart)) * q.shape[-1] ** -0.5
    past = torch.ones(q.shape[2], q.shape[2], dtype=torch.bool, device=q.device).tril()
    precise = torch.promote_types(scores.dtype, torch.float32)
    weights = torch.softmax(scores.masked_fill(~past, -torch.inf), dim=-1, dtype=precise)
    summed = weights.new_zeros(by_interval.shape).scatter_add_(3, apart, weights)
    mixed: torch.Tensor = weights.to(v.dtype) @ v + summed.to(v.dtype) @ value_rows
    return mixed.transpose(1, 2).flatten(2)


def _table(rows: int, hidden_size: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(rows, hidden_size).normal_(std=0.02))
