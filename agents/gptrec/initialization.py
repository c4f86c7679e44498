"""Initialization of a student from the weights of its teacher."""

from typing import Any

import torch
from torch import nn

from genrec.agents.gptrec.model import GPTRec
from genrec.models.scorer import NeuralScorer
from genrec.models.transformer import Transformer
from genrec.models.transformer_blocks import PreNormBlock


@torch.no_grad()
def initialize_from_teacher(policy: GPTRec, teacher: NeuralScorer) -> bool:
    """Copy a neural teacher's item vectors into a policy, and its transformer if the shapes allow.

    A causal pre-norm transformer and a GPT-2 compute the same function of item vectors, so blocks
    are copied weight by weight. The teacher multiplies item vectors by √D on the way in and not on
    the way out; the policy, whose table serves both ways, holds the product, and its last norm is
    divided by √D. History positions take the teacher's newest ones, which is exact for full
    histories and a starting point for shorter ones. What is left to learn is the separator, the
    list positions and how choices depend on each other.

    Args:
        policy: untrained; further blocks of a deeper policy start as the identity.
        teacher: trained.

    Returns:
        Whether the transformer was copied too.
    """
    vectors, body = teacher.embedding.vectors(), teacher.backbone
    if not isinstance(body, Transformer) or not _fits(policy, body, vectors.shape[1]):
        policy.load_item_vectors(vectors)
        return False
    policy.load_item_vectors(vectors * body.scale)
    gpt: Any = policy.lm.transformer
    # The teacher's last position is the newest item, whose position id is 1 in the policy.
    known = min(policy.max_length, len(body.position))
    gpt.wpe.weight[1 : known + 1] = body.position[-known:].flip(0)
    for block, own in zip(body.blocks, gpt.h, strict=False):
        _copy_block(block, own)
    # Without the output projections a residual block adds nothing: it is the identity.
    for own in gpt.h[len(body.blocks) :]:
        own.attn.c_proj.weight.zero_()
        own.mlp.c_proj.weight.zero_()
    gpt.ln_f.weight.copy_(body.norm.weight / body.scale)
    gpt.ln_f.bias.copy_(body.norm.bias / body.scale)
    return True


def _fits(policy: GPTRec, body: Transformer, width: int) -> bool:
    """Whether the policy's transformer can hold the teacher's, whose item vectors are that wide."""
    config = policy.lm.config
    kinds = [block for block in body.blocks if isinstance(block, PreNormBlock)]
    blocks = [block for block in kinds if not block.qk_norm]
    if not body.causal or not isinstance(body.head, nn.Identity):
        return False
    if body.relative is not None or body.intervals is not None:
        return False
    if not 0 < len(blocks) == len(body.blocks) <= config.n_layer:
        return False
    return bool((width, blocks[0].heads) == (config.n_embd, config.n_head))


def _copy_block(block: Any, own: Any) -> None:
    """Copy a pre-norm block into a block of GPT-2, which stores its projections transposed."""
    pairs = (
        (block.attention_norm, own.ln_1, False),
        (block.qkv, own.attn.c_attn, True),
        (block.out, own.attn.c_proj, True),
        (block.forward_norm, own.ln_2, False),
        (block.up, own.mlp.c_fc, True),
        (block.down, own.mlp.c_proj, True),
    )
    for source, target, transposed in pairs:
        target.weight.copy_(source.weight.T if transposed else source.weight)
        target.bias.copy_(source.bias)
