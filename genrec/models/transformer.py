"""A transformer over item vectors, causal (SASRec, gSASRec) or bidirectional (BERT4Rec), of one of
three blocks."""

from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from genrec.config.errors import GenrecError

BlockName = Literal["pre-norm", "sasrec", "ligr"]


class Transformer(nn.Module):
    """Learned positions, ``blocks`` blocks, a final layer norm.

    All that a MASK says is where it stands, so that a bidirectional model has to find its
    neighbours by their positions before it can learn anything else: it starts from sinusoids, under
    which neighbours are alike everywhere.

    Sequences are padded on the right, so a causal model needs no padding mask. Dropout acts on the
    input and on both residual branches, not on attention weights, so that the fused attention
    kernels can run.

    Args:
        hidden_size: D.
        blocks: number of blocks.
        heads: attention heads; D must be a multiple.
        max_length: longest sequence.
        dropout: share of dropped activations.
        causal: whether a position sees only itself and earlier ones.
        block: ``pre-norm``, ``sasrec`` (as first published) or ``ligr`` (gated).
    """

    def __init__(
        self,
        hidden_size: int,
        blocks: int,
        heads: int,
        max_length: int,
        dropout: float,
        causal: bool,
        block: BlockName = "pre-norm",
    ) -> None:
        super().__init__()
        if hidden_size % heads:
            raise GenrecError(f"hidden_size {hidden_size} is not a multiple of heads {heads}")
        self.scale = hidden_size**0.5
        self.causal = causal
        start = (
            torch.empty(max_length, hidden_size).normal_(std=0.02)
            if causal
            else sinusoids(max_length, hidden_size)
        )
        self.position = nn.Parameter(start)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            BLOCKS[block](hidden_size, heads, dropout) for _ in range(blocks)
        )
        self.norm = nn.LayerNorm(hidden_size)

    def forward(self, vectors: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """States of every position.

        Args:
            vectors: (B, T, D) item vectors, padded on the right.
            mask: (B, T) True at real items.

        Returns:
            (B, T, D).
        """
        length = vectors.shape[1]
        x = self.dropout(vectors * self.scale + self.position[:length])
        first = (
            torch.arange(length, device=mask.device) == 0
        )  # seen also in an empty sequence: of nothing comes NaN
        visible = None if self.causal else (mask | first)[:, None, None, :]
        for block in self.blocks:
            x = block(x, visible, self.causal)
        return self.norm(x)  # type: ignore[no-any-return]


AMPLITUDE = 0.6


def sinusoids(length: int, hidden_size: int) -> torch.Tensor:
    """(length, D) sines, then cosines, of t·10000^(−2i/D), i < D/2 [Vaswani et al. 2017, §3.5],
    scaled to 0.6.

    The scale lies between that of new item vectors, 0.02 √D, and the published 1; on MovieLens-1M a
    BERT4Rec left the level of popularity sooner with it than with either, one try each.
    """
    frequency = 10_000 ** (-torch.arange(0, hidden_size, 2) / hidden_size)
    angle = torch.arange(length)[:, None] * frequency
    return AMPLITUDE * torch.cat([angle.sin(), angle.cos()], dim=1)[:, :hidden_size]


class Block(nn.Module):
    """x + attention(norm(x)), then x + feed-forward(norm(x)), inner width 4 D, GELU."""

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

    def forward(self, x: torch.Tensor, visible: torch.Tensor | None, causal: bool) -> torch.Tensor:
        """(B, T, D) to (B, T, D); ``visible`` (B, 1, 1, T) says which keys exist."""
        q, k, v = self.qkv(self.attention_norm(x)).chunk(3, dim=-1)
        x = x + self.dropout(self.out(attention(q, k, v, self.heads, visible, causal)))
        return x + self.dropout(self.down(functional.gelu(self.up(self.forward_norm(x)))))  # type: ignore[no-any-return]


class SASRecBlock(nn.Module):
    """The block of SASRec's own code [Kang & McAuley 2018, §3.3]: q = norm(x), then y = q +
    attention(q, x, x) without an output projection, z = norm(y), and z + feed-forward(z), inner
    width D, ReLU.
    """

    def __init__(self, hidden_size: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(hidden_size)
        self.query = nn.Linear(hidden_size, hidden_size)
        self.key = nn.Linear(hidden_size, hidden_size)
        self.value = nn.Linear(hidden_size, hidden_size)
        self.forward_norm = nn.LayerNorm(hidden_size)
        self.up = nn.Linear(hidden_size, hidden_size)
        self.down = nn.Linear(hidden_size, hidden_size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, visible: torch.Tensor | None, causal: bool) -> torch.Tensor:
        """(B, T, D) to (B, T, D); ``visible`` (B, 1, 1, T) says which keys exist."""
        q = self.attention_norm(x)
        mixed = attention(self.query(q), self.key(x), self.value(x), self.heads, visible, causal)
        z = self.forward_norm(q + self.dropout(mixed))
        return z + self.dropout(self.down(self.dropout(functional.relu(self.up(z)))))  # type: ignore[no-any-return]


class LiGRBlock(nn.Module):
    """x + σ(gate(x)) ⊙ attention(norm(x)), then the same around a SwiGLU of inner width 4 D without
    biases [Borisyuk et al. 2025; Tikhonovich et al. 2025].
    """

    def __init__(self, hidden_size: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(hidden_size)
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size)
        self.out = nn.Linear(hidden_size, hidden_size)
        self.attention_gate = nn.Linear(hidden_size, hidden_size)
        self.forward_norm = nn.LayerNorm(hidden_size)
        self.up = nn.Linear(hidden_size, 2 * 4 * hidden_size, bias=False)
        self.down = nn.Linear(4 * hidden_size, hidden_size, bias=False)
        self.forward_gate = nn.Linear(hidden_size, hidden_size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, visible: torch.Tensor | None, causal: bool) -> torch.Tensor:
        """(B, T, D) to (B, T, D); ``visible`` (B, 1, 1, T) says which keys exist."""
        q, k, v = self.qkv(self.attention_norm(x)).chunk(3, dim=-1)
        mixed = self.out(attention(q, k, v, self.heads, visible, causal))
        x = x + torch.sigmoid(self.attention_gate(x)) * self.dropout(mixed)
        gate, value = self.up(self.forward_norm(x)).chunk(2, dim=-1)
        moved = self.down(functional.silu(gate) * value)
        return x + torch.sigmoid(self.forward_gate(x)) * self.dropout(moved)  # type: ignore[no-any-return]


BLOCKS: dict[BlockName, type[Block] | type[SASRecBlock] | type[LiGRBlock]] = {
    "pre-norm": Block,
    "sasrec": SASRecBlock,
    "ligr": LiGRBlock,
}


def attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    heads: int,
    visible: torch.Tensor | None,
    causal: bool,
) -> torch.Tensor:
    """Attention of q, k, v (B, T, D) in ``heads`` pieces, scaled by 1/√(D/heads), back in one piece
    (B, T, D).

    On a CPU it is written out: there the backward pass of the fused kernel takes two to four times
    as long.
    """
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    if q.device.type != "cpu":
        mixed = functional.scaled_dot_product_attention(
            q, k, v, attn_mask=visible, is_causal=causal
        )
        return mixed.transpose(1, 2).flatten(2)
    scores = q @ k.transpose(2, 3) * q.shape[-1] ** -0.5
    if causal:
        visible = torch.ones(q.shape[2], q.shape[2], dtype=torch.bool).tril()
    if visible is not None:
        scores = scores.masked_fill(~visible, -torch.inf)
    return (torch.softmax(scores, dim=-1, dtype=q.dtype) @ v).transpose(1, 2).flatten(2)
