"""The blocks of the transformer: pre-norm, SASRec's own, and LiGR with gates."""

from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from genrec.config.errors import GenrecError

BlockName = Literal["pre-norm", "sasrec", "ligr"]


class PreNormBlock(nn.Module):
    """x + attention(norm(x)), then x + feed-forward(norm(x)), inner width 4 D, GELU.

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

    def forward(self, x: torch.Tensor, visible: torch.Tensor | None, causal: bool) -> torch.Tensor:
        """(B, T, D) to (B, T, D); ``visible`` (B, 1, 1, T) is True at keys that may be read."""
        q, k, v = self.qkv(self.attention_norm(x)).chunk(3, dim=-1)
        attended = attention(q, k, v, heads=self.heads, visible=visible, causal=causal)
        x = x + self.dropout(self.out(attended))
        transformed = self.down(functional.gelu(self.up(self.forward_norm(x))))
        return x + self.dropout(transformed)  # type: ignore[no-any-return]


class SASRecBlock(nn.Module):
    """The block of SASRec's published code [Kang & McAuley 2018, §3.3].

    q = norm(x), y = q + attention(q, x, x) without an output projection, z = norm(y), and
    z + feed-forward(z) of inner width D with ReLU.

    Args:
        hidden_size: D.
        heads: number of attention heads.
        dropout: probability of dropping an activation on either residual branch and inside the
            feed-forward network.
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
        """(B, T, D) to (B, T, D); ``visible`` (B, 1, 1, T) is True at keys that may be read."""
        q = self.attention_norm(x)
        query, key, value = self.query(q), self.key(x), self.value(x)
        attended = attention(query, key, value, heads=self.heads, visible=visible, causal=causal)
        z = self.forward_norm(q + self.dropout(attended))
        transformed = self.down(self.dropout(functional.relu(self.up(z))))
        return z + self.dropout(transformed)  # type: ignore[no-any-return]


class LiGRBlock(nn.Module):
    """x + σ(gate(x)) ⊙ attention(norm(x)), then the same form around a SwiGLU.

    The SwiGLU has inner width 4 D and no biases [Borisyuk et al. 2025; Tikhonovich et al. 2025].

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
        self.attention_gate = nn.Linear(hidden_size, hidden_size)
        self.forward_norm = nn.LayerNorm(hidden_size)
        self.up = nn.Linear(hidden_size, 2 * 4 * hidden_size, bias=False)
        self.down = nn.Linear(4 * hidden_size, hidden_size, bias=False)
        self.forward_gate = nn.Linear(hidden_size, hidden_size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, visible: torch.Tensor | None, causal: bool) -> torch.Tensor:
        """(B, T, D) to (B, T, D); ``visible`` (B, 1, 1, T) is True at keys that may be read."""
        q, k, v = self.qkv(self.attention_norm(x)).chunk(3, dim=-1)
        attended = self.out(attention(q, k, v, heads=self.heads, visible=visible, causal=causal))
        x = x + torch.sigmoid(self.attention_gate(x)) * self.dropout(attended)
        gate, value = self.up(self.forward_norm(x)).chunk(2, dim=-1)
        transformed = self.down(functional.silu(gate) * value)
        gated: torch.Tensor = torch.sigmoid(self.forward_gate(x)) * self.dropout(transformed)
        return x + gated


BLOCKS: dict[str, type[PreNormBlock] | type[SASRecBlock] | type[LiGRBlock]] = {
    "pre-norm": PreNormBlock,
    "sasrec": SASRecBlock,
    "ligr": LiGRBlock,
}


def make_block(name: BlockName, *, hidden_size: int, heads: int, dropout: float) -> nn.Module:
    """An untrained block by name.

    Raises:
        GenrecError: for an unknown name.
    """
    if name not in BLOCKS:
        raise GenrecError(f"unknown block {name!r}; choose one of {', '.join(BLOCKS)}")
    return BLOCKS[name](hidden_size, heads, dropout)


def attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *,
    heads: int,
    visible: torch.Tensor | None,
    causal: bool,
) -> torch.Tensor:
    """Multi-head attention, scaled by 1/√(D/heads), with the heads' outputs concatenated.

    Args:
        q: (B, T, D) queries.
        k: (B, T, D) keys.
        v: (B, T, D) values.
        heads: number of heads; D is a multiple of it.
        visible: (B, 1, 1, T), True at keys that may be read; None for all keys.
        causal: whether a position reads only itself and earlier ones.

    Returns:
        (B, T, D).
    """
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    if q.device.type != "cpu":
        attended = functional.scaled_dot_product_attention(
            q, k, v, attn_mask=visible, is_causal=causal
        )
        return attended.transpose(1, 2).flatten(2)
    # Written out on a CPU, where the backward pass of the fused kernel takes two to four times as
    # long.
    scores = q @ k.transpose(2, 3) * q.shape[-1] ** -0.5
    if causal:
        visible = torch.ones(q.shape[2], q.shape[2], dtype=torch.bool).tril()
    if visible is not None:
        scores = scores.masked_fill(~visible, -torch.inf)
    return (torch.softmax(scores, dim=-1, dtype=q.dtype) @ v).transpose(1, 2).flatten(2)
