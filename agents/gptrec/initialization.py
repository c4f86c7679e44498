"""What a student can take over from its teacher before the first lesson."""

from typing import Any

import torch

from genrec.agents.gptrec.model import GPTRec
from genrec.models.scorer import NeuralScorer
from genrec.models.transformer import Block, Transformer


@torch.no_grad()
def initialize_from_teacher(policy: GPTRec, teacher: NeuralScorer) -> bool:
    """Start a policy from a neural teacher: its item vectors always, its transformer where the
    shapes allow.

    A causal pre-norm transformer and a GPT-2 compute the same function of item vectors, so blocks
    are copied weight by weight. The teacher multiplies item vectors by √D on the way in and not on
    the way out; the policy, whose table serves both ways, holds the product, and its last norm is
    divided by √D. History positions take the teacher's newest ones, which is exact for full
    histories and a place to start from for shorter ones. What is left to learn is the separator,
    the list positions and how choices depend on each other.

    Args:
        policy: untrained; further blocks of a deeper policy start as the identity.
        teacher: trained.

    Returns:
        Whether the transformer was taken over too.
    """
    vectors, body, config = teacher.embedding.vectors(), teacher.backbone, policy.lm.config
    blocks = (
        [block for block in body.blocks if isinstance(block, Block)]
        if isinstance(body, Transformer)
        else []
    )
    if (
        not isinstance(body, Transformer)
        or not body.causal
        or not len(blocks) == len(body.blocks) <= config.n_layer
        or (config.n_embd, config.n_head) != (vectors.shape[1], blocks[0].heads)
    ):
        policy.load_item_vectors(vectors)
        return False
    policy.load_item_vectors(vectors * body.scale)
    gpt: Any = policy.lm.transformer
    known = min(policy.max_length, len(body.position))
    gpt.wpe.weight[1 : known + 1] = body.position[-known:].flip(0)
    for block, own in zip(blocks, gpt.h, strict=False):
        _copy_block(block, own)
    for own in gpt.h[len(blocks) :]:
        own.attn.c_proj.weight.zero_()
        own.mlp.c_proj.weight.zero_()
    gpt.ln_f.weight.copy_(body.norm.weight / body.scale)
    gpt.ln_f.bias.copy_(body.norm.bias / body.scale)
    return True


def _copy_block(block: Block, own: Any) -> None:
    """One of our blocks into one of GPT-2's, whose projections are stored transposed."""
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
