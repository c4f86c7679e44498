"""TiSASRec: a causal transformer whose attention reads the time between two events."""

import torch
from torch import nn
from torch.nn import functional

from genrec.config.errors import GenrecError

NO_INTERVAL = torch.iinfo(torch.int64).max  # the unit before any two events differ in time


class TiSASRec(nn.Module):
    """Self-attention with absolute positions and personalised time intervals [Li et al. 2020, §3].

    With r_ij = min(L, ⌊|t_i − t_j| / g_i⌋), the interval between two events in units of the user's
    smallest one,

        e_ij = q_i · (k_j + p^K_j + R^K[r_ij]) / √d,
        z_i = Σ_j softmax_j(e_ij) (v_j + p^V_j + R^V[r_ij]),   j ≤ i,

    without positions at the input. The tables p and R are shared by all blocks.

    There is one difference to the paper: the unit g_i is the smallest non-zero interval between
    neighbouring events *up to i*, where the paper takes that of the whole sequence. In the paper a
    state contains information about later events; here it does not, and training at position i sees
    the same input as scoring a history that ends at i.

    No tensor (B, T, T, D) is built: q_i · R[r] is computed once for each of the L + 1 intervals and
    looked up, and attention weights of equal intervals are summed before they are multiplied by
    R^V. That takes (B, heads, T, L + 1) values.

    Args:
        hidden_size: D.
        blocks: number of blocks.
        heads: number of attention heads; D must be a multiple of it.
        max_length: length of the longest sequence.
        dropout: probability of dropping an activation, at the input and on both residual branches.
        max_interval: L, at which intervals are clipped.

    Raises:
        GenrecError: if D is no multiple of ``heads``, or ``max_interval`` is below 1.
    """

    def __init__(
        self,
        *,
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
                f"max_interval is {max_interval}; it must be at least 1 to distinguish intervals"
            )
        self.scale = hidden_size**0.5
        self.max_interval = max_interval
        self.key_position = _table(max_length, hidden_size)
        self.value_position = _table(max_length, hidden_size)
        self.key_interval = _table(max_interval + 1, hidden_size)
        self.value_interval = _table(max_interval + 1, hidden_size)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            TimeIntervalBlock(hidden_size, heads, dropout) for _ in range(blocks)
        )
        self.norm = nn.LayerNorm(hidden_size)

    def forward(
        self, vectors: torch.Tensor, mask: torch.Tensor, times: torch.Tensor
    ) -> torch.Tensor:
        """States of every position.

        Args:
            vectors: (B, T, D) item vectors, padded on the right.
            mask: (B, T) True at real items; not needed, since padding comes after every real item.
            times: (B, T) int64 seconds of the events, oldest first.

        Returns:
            (B, T, D).
        """
        length = vectors.shape[1]
        intervals = clipped_intervals(times, self.max_interval)
        positions = self.key_position[:length], self.value_position[:length]
        tables = self.key_interval, self.value_interval
        x = self.dropout(vectors * self.scale)
        for block in self.blocks:
            x = block(x, positions=positions, tables=tables, intervals=intervals)
        return self.norm(x)  # type: ignore[no-any-return]


class TimeIntervalBlock(nn.Module):
    """A pre-norm block whose attention adds tables to keys and values.

    x + attention(norm(x)), then x + feed-forward(norm(x)), inner width 4 D, GELU.

    Args:
        hidden_size: D.
        heads: number of attention heads.
        dropout: probability of dropping an activation on either residual branch.
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
        *,
        positions: tuple[torch.Tensor, torch.Tensor],
        tables: tuple[torch.Tensor, torch.Tensor],
        intervals: torch.Tensor,
    ) -> torch.Tensor:
        """Output of the block.

        Args:
            x: (B, T, D).
            positions: p^K and p^V, both (T, D).
            tables: R^K and R^V, both (L+1, D).
            intervals: (B, T, T) r_ij.

        Returns:
            (B, T, D).
        """
        q, k, v = self.qkv(self.attention_norm(x)).chunk(3, dim=-1)
        k, v = k + positions[0], v + positions[1]
        attended = interval_attention(q, k, v, tables=tables, intervals=intervals, heads=self.heads)
        x = x + self.dropout(self.out(attended))
        transformed = self.down(functional.gelu(self.up(self.forward_norm(x))))
        return x + self.dropout(transformed)  # type: ignore[no-any-return]


def clipped_intervals(times: torch.Tensor, max_interval: int) -> torch.Tensor:
    """Intervals r_ij between events, in units of the smallest one up to i and clipped at L.

    r_ij = min(L, ⌊|t_i − t_j| / g_i⌋), g_i the smallest non-zero |t_j − t_{j−1}| with j ≤ i [Li et
    al. 2020, §3].

    Args:
        times: (B, T) int64 seconds of the events, oldest first; padding on the right changes
            nothing before it.
        max_interval: L.

    Returns:
        (B, T, T) int64; 0 where j > i.

    >>> times = torch.tensor([[100, 100, 130, 150, 290]])
    >>> clipped_intervals(times, max_interval=7)[0].tolist()  # units -, -, 30, 20, 20 seconds
    [[0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [1, 1, 0, 0, 0], [2, 2, 1, 0, 0], [7, 7, 7, 7, 0]]
    """
    gap = functional.pad((times[:, 1:] - times[:, :-1]).abs(), (1, 0))
    unit = gap.masked_fill(gap == 0, NO_INTERVAL).cummin(dim=1).values
    # In place: a table (B, T, T) of 64-bit integers is large.
    elapsed = (times[:, :, None] - times[:, None, :]).abs().tril_()
    return elapsed.div_(unit[:, :, None], rounding_mode="floor").clamp_(max=max_interval)


def interval_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *,
    tables: tuple[torch.Tensor, torch.Tensor],
    intervals: torch.Tensor,
    heads: int,
) -> torch.Tensor:
    """Causal multi-head attention with an interval's row added to each key and value.

    z_i = Σ_{j≤i} softmax_j(q_i · (k_j + R^K[r_ij]) / √(D/heads)) (v_j + R^V[r_ij]) [Li et al. 2020,
    §3].

    Args:
        q: (B, T, D) queries.
        k: (B, T, D) keys.
        v: (B, T, D) values.
        tables: R^K and R^V, both (L+1, D).
        intervals: (B, T, T) int64 rows of the tables, r_ij.
        heads: number of heads; D is a multiple of it.

    Returns:
        (B, T, D).
    """
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    key_rows, value_rows = (table.unflatten(-1, (heads, -1)).transpose(0, 1) for table in tables)
    intervals = intervals[:, None].expand(-1, heads, -1, -1)
    by_interval = q @ key_rows.transpose(1, 2)  # (B, heads, T, L+1)
    scores = (q @ k.transpose(2, 3) + by_interval.gather(3, intervals)) * q.shape[-1] ** -0.5
    past = torch.ones(q.shape[2], q.shape[2], dtype=torch.bool, device=q.device).tril()
    # Sums of many small weights lose too much in bfloat16, so they are kept in float32.
    precise = torch.promote_types(scores.dtype, torch.float32)
    weights = torch.softmax(scores.masked_fill(~past, -torch.inf), dim=-1, dtype=precise)
    # Summing the weights per interval replaces a look-up of (B, T, T, D) rows of R^V.
    interval_weights = weights.new_zeros(by_interval.shape).scatter_add_(3, intervals, weights)
    attended: torch.Tensor = weights.to(v.dtype) @ v + interval_weights.to(v.dtype) @ value_rows
    return attended.transpose(1, 2).flatten(2)


def _table(rows: int, hidden_size: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(rows, hidden_size).normal_(std=0.02))
