"""A pre-norm transformer over item vectors, causal (SASRec, gSASRec) or bidirectional (BERT4Rec)."""

import torch
from torch import nn
from torch.nn import functional


class Transformer(nn.Module):
    """Learned positions, ``blocks`` pre-norm blocks, a final layer norm.

    Sequences are padded on the right, so a causal model needs no padding mask. Dropout acts on the input and on both
    residual branches, not on attention weights, so that the fused attention kernels can run.

    Args:
        hidden_size: D.
        blocks: number of blocks.
        heads: attention heads; D must be a multiple.
        max_length: longest sequence.
        dropout: share of dropped activations.
        causal: whether a position sees only itself and earlier ones.
    """

    def __init__(
        self, hidden_size: int, blocks: int, heads: int, max_length: int, dropout: float, causal: bool
    ) -> None:
        super().__init__()
        if hidden_size % heads:
            raise ValueError(f"hidden_size {hidden_size} is not a multiple of heads {heads}")
        self.scale = hidden_size**0.5
        self.causal = causal
        self.position = nn.Parameter(torch.empty(max_length, hidden_size).normal_(std=0.02))
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(hidden_size, heads, dropout) for _ in range(blocks))
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
        visible = None if self.causal else mask[:, None, None, :]
        for block in self.blocks:
            x = block(x, visible, self.causal)
        return self.norm(x)  # type: ignore[no-any-return]


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
        batch, length, size = x.shape
        qkv = self.qkv(self.attention_norm(x)).view(batch, length, 3, self.heads, size // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=visible, is_causal=causal)
        x = x + self.dropout(self.out(mixed.transpose(1, 2).reshape(batch, length, size)))
        return x + self.dropout(self.down(functional.gelu(self.up(self.forward_norm(x)))))  # type: ignore[no-any-return]
