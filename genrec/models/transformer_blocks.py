"""The blocks of the transformer: pre-norm, SASRec's own, LiGR with gates, and HSTU."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn
from torch.nn import functional

from genrec.config.errors import GenrecError

BlockName = Literal["pre-norm", "sasrec", "ligr", "hstu"]


@dataclass(frozen=True, eq=False)
class AttentionMask:
    """Which keys a query may read, and a bias of their scores.

    Attributes:
        causal: whether a position reads only itself and earlier ones.
        visible: (B, 1, 1, T), True at keys that may be read; None for all keys.
        bias: (T, T) or (B, 1, T, T) added to the scores of queries and keys; None for nothing.
    """

    causal: bool
    visible: torch.Tensor | None = None
    bias: torch.Tensor | None = None

    def allowed(self, length: int, device: torch.device) -> torch.Tensor:
        """(T, T) or (B, 1, 1, T): True at the keys that a query may read."""
        if self.causal:
            return torch.ones(length, length, dtype=torch.bool, device=device).tril()
        if self.visible is not None:
            return self.visible
        return torch.ones(length, length, dtype=torch.bool, device=device)


class PreNormBlock(nn.Module):
    """x + attention(norm(x)), then x + feed-forward(norm(x)), inner width 4 D, GELU.

    Args:
        hidden_size: D.
        heads: number of attention heads.
        dropout: probability of dropping an activation on either residual branch.
        qk_norm: whether queries and keys are normalised.
    """

    outputs: ClassVar[tuple[str, ...]] = ("out", "down")

    def __init__(
        self, hidden_size: int, heads: int, dropout: float, *, qk_norm: bool = False
    ) -> None:
        super().__init__()
        self.heads, self.qk_norm = heads, qk_norm
        self.attention_norm = nn.LayerNorm(hidden_size)
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size)
        self.out = nn.Linear(hidden_size, hidden_size)
        self.forward_norm = nn.LayerNorm(hidden_size)
        self.up = nn.Linear(hidden_size, 4 * hidden_size)
        self.down = nn.Linear(4 * hidden_size, hidden_size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, mask: AttentionMask) -> torch.Tensor:
        """(B, T, D) to (B, T, D)."""
        q, k, v = self.qkv(self.attention_norm(x)).chunk(3, dim=-1)
        attended = attention(q, k, v, heads=self.heads, mask=mask, qk_norm=self.qk_norm)
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
        qk_norm: whether queries and keys are normalised.
    """

    outputs: ClassVar[tuple[str, ...]] = ("down",)

    def __init__(
        self, hidden_size: int, heads: int, dropout: float, *, qk_norm: bool = False
    ) -> None:
        super().__init__()
        self.heads, self.qk_norm = heads, qk_norm
        self.attention_norm = nn.LayerNorm(hidden_size)
        self.query = nn.Linear(hidden_size, hidden_size)
        self.key = nn.Linear(hidden_size, hidden_size)
        self.value = nn.Linear(hidden_size, hidden_size)
        self.forward_norm = nn.LayerNorm(hidden_size)
        self.up = nn.Linear(hidden_size, hidden_size)
        self.down = nn.Linear(hidden_size, hidden_size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, mask: AttentionMask) -> torch.Tensor:
        """(B, T, D) to (B, T, D)."""
        q = self.attention_norm(x)
        query, key, value = self.query(q), self.key(x), self.value(x)
        attended = attention(query, key, value, heads=self.heads, mask=mask, qk_norm=self.qk_norm)
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
        qk_norm: whether queries and keys are normalised.
    """

    outputs: ClassVar[tuple[str, ...]] = ("out", "down")

    def __init__(
        self, hidden_size: int, heads: int, dropout: float, *, qk_norm: bool = False
    ) -> None:
        super().__init__()
        self.heads, self.qk_norm = heads, qk_norm
        self.attention_norm = nn.LayerNorm(hidden_size)
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size)
        self.out = nn.Linear(hidden_size, hidden_size)
        self.attention_gate = nn.Linear(hidden_size, hidden_size)
        self.forward_norm = nn.LayerNorm(hidden_size)
        self.up = nn.Linear(hidden_size, 2 * 4 * hidden_size, bias=False)
        self.down = nn.Linear(4 * hidden_size, hidden_size, bias=False)
        self.forward_gate = nn.Linear(hidden_size, hidden_size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, mask: AttentionMask) -> torch.Tensor:
        """(B, T, D) to (B, T, D)."""
        q, k, v = self.qkv(self.attention_norm(x)).chunk(3, dim=-1)
        mixed = attention(q, k, v, heads=self.heads, mask=mask, qk_norm=self.qk_norm)
        attended = self.out(mixed)
        x = x + torch.sigmoid(self.attention_gate(x)) * self.dropout(attended)
        gate, value = self.up(self.forward_norm(x)).chunk(2, dim=-1)
        transformed = self.down(functional.silu(gate) * value)
        gated: torch.Tensor = torch.sigmoid(self.forward_gate(x)) * self.dropout(transformed)
        return x + gated


class HSTUBlock(nn.Module):
    """The block of HSTU without time [Zhai et al. 2024, eq. 1 to 3].

    [U, V, Q, K] = SiLU(norm(x)·W), and x + W_o·(U ⊙ norm(A·V)) with A = SiLU(Q·Kᵀ + b) at the
    positions that may be read. There is no softmax, no feed-forward network and no scale: the
    paper's division of A by the length is cancelled by the norm that follows. Norms have no
    weights.

    Args:
        hidden_size: D.
        heads: number of attention heads.
        dropout: probability of dropping an activation before the output projection.
    """

    outputs: ClassVar[tuple[str, ...]] = ("out",)

    def __init__(self, hidden_size: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(hidden_size, elementwise_affine=False)
        self.uvqk = nn.Linear(hidden_size, 4 * hidden_size, bias=False)
        self.mixed_norm = nn.LayerNorm(hidden_size, elementwise_affine=False)
        self.out = nn.Linear(hidden_size, hidden_size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, mask: AttentionMask) -> torch.Tensor:
        """(B, T, D) to (B, T, D)."""
        u, *others = functional.silu(self.uvqk(self.norm(x))).chunk(4, dim=-1)
        v, q, k = (y.unflatten(-1, (self.heads, -1)).transpose(1, 2) for y in others)
        scores = q @ k.transpose(2, 3)
        if mask.bias is not None:
            scores = scores + mask.bias
        allowed = mask.allowed(x.shape[1], x.device)
        weights = functional.silu(scores).masked_fill(~allowed, 0)
        mixed = (weights @ v).transpose(1, 2).flatten(2)
        return x + self.out(self.dropout(u * self.mixed_norm(mixed)))  # type: ignore[no-any-return]


Block = PreNormBlock | SASRecBlock | LiGRBlock | HSTUBlock
BLOCKS: dict[str, type[PreNormBlock] | type[SASRecBlock] | type[LiGRBlock]] = {
    "pre-norm": PreNormBlock,
    "sasrec": SASRecBlock,
    "ligr": LiGRBlock,
}


def make_block(
    name: BlockName,
    *,
    hidden_size: int,
    heads: int,
    dropout: float,
    zero_init: bool = False,
    qk_norm: bool = False,
) -> Block:
    """An untrained block by name.

    Args:
        name: of the block.
        hidden_size: D.
        heads: number of attention heads.
        dropout: probability of dropping an activation.
        zero_init: whether the residual branches add nothing at first.
        qk_norm: whether queries and keys are normalised.

    Raises:
        GenrecError: for an unknown name, or ``qk_norm`` with HSTU, which has no softmax to protect.
    """
    if name not in (*BLOCKS, "hstu"):
        raise GenrecError(f"unknown block {name!r}; choose one of {', '.join([*BLOCKS, 'hstu'])}")
    if name == "hstu" and qk_norm:
        raise GenrecError("the hstu block takes no qk_norm: it has no softmax that may saturate")
    block: Block
    if name == "hstu":
        block = HSTUBlock(hidden_size, heads, dropout)
    else:
        block = BLOCKS[name](hidden_size, heads, dropout, qk_norm=qk_norm)
    if zero_init:
        for layer in block.outputs:
            for parameter in getattr(block, layer).parameters():
                nn.init.zeros_(parameter)
    return block


def attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *,
    heads: int,
    mask: AttentionMask,
    qk_norm: bool = False,
) -> torch.Tensor:
    """Multi-head attention, scaled by 1/√(D/heads), with the heads' outputs concatenated.

    With ``qk_norm`` each head's queries and keys are divided by their root mean square, so that no
    score is above √(D/heads) [Henry et al. 2020].

    Args:
        q: (B, T, D) queries.
        k: (B, T, D) keys.
        v: (B, T, D) values.
        heads: number of heads; D is a multiple of it.
        mask: what may be read, and how near it is.
        qk_norm: whether queries and keys are normalised.

    Returns:
        (B, T, D).
    """
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    if qk_norm:
        q, k = (functional.rms_norm(x, x.shape[-1:]) for x in (q, k))
    if q.device.type != "cpu" and mask.bias is None:
        attended = functional.scaled_dot_product_attention(
            q, k, v, attn_mask=mask.visible, is_causal=mask.causal
        )
        return attended.transpose(1, 2).flatten(2)
    # Written out on a CPU, where the backward pass of the fused kernel takes two to four times as
    # long.
    scores = q @ k.transpose(2, 3) * q.shape[-1] ** -0.5
    if mask.bias is not None:
        scores = scores + mask.bias.to(scores.dtype)
    scores = scores.masked_fill(~mask.allowed(q.shape[2], q.device), -torch.inf)
    return (torch.softmax(scores, dim=-1, dtype=q.dtype) @ v).transpose(1, 2).flatten(2)
