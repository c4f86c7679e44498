"""Properties of every causal backbone, and convolutions and blocks against plain references."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional

from genrec.config.errors import GenrecError
from genrec.models.caser import Caser
from genrec.models.gru import GRU
from genrec.models.nextitnet import NextItNet, ResidualBlock
from genrec.models.transformer import Transformer
from genrec.models.transformer_blocks import (
    AttentionMask,
    HSTUBlock,
    LiGRBlock,
    SASRecBlock,
    make_block,
)

T, D = 9, 8
CHANGE = torch.linspace(-2, 3, D) ** 2  # not a constant, which the layer norms would remove
transformer = partial(Transformer, hidden_size=D, blocks=2, heads=2, max_length=T, causal=True)
BACKBONES = {
    "gru": partial(GRU, hidden_size=D, layers=2),
    "caser": partial(Caser, hidden_size=D),
    "nextitnet": partial(NextItNet, hidden_size=D, blocks=1),
    "sasrec": partial(transformer, block="sasrec"),
    "ligr": partial(transformer, block="ligr"),
    "hstu": partial(transformer, block="hstu", relative=True),
}
every_backbone = pytest.mark.parametrize("name", BACKBONES)


def backbone(name: str, dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(0)
    return BACKBONES[name](dropout=dropout)


def vectors(rows: int = 3) -> torch.Tensor:
    return torch.randn(rows, T, D, generator=torch.Generator().manual_seed(1))


ALL = torch.ones(3, T, dtype=torch.bool)


@every_backbone
@pytest.mark.parametrize("length", [1, 2, T])
def test_shape(name, length):
    states = backbone(name)(vectors()[:, :length], ALL[:, :length])
    assert states.shape == (3, length, D)
    assert states.isfinite().all()
    assert backbone(name)(vectors(0), ALL[:0]).shape == (0, T, D)


@every_backbone
@pytest.mark.parametrize("j", [1, 4, T - 1])
def test_a_later_item_changes_no_earlier_state(name, j):
    model, before = backbone(name), vectors()
    after = before.clone()
    after[:, j] += CHANGE
    difference = (model(after, ALL) - model(before, ALL)).abs().amax(dim=(0, 2))
    assert difference[:j].max() < 1e-6
    assert difference[j] > 1e-4


@every_backbone
def test_neither_the_padding_nor_its_width_matters(name):
    model, x = backbone(name), vectors()
    mask = torch.arange(T) < torch.tensor([[4], [1], [T]])
    torch.testing.assert_close(
        model(x + CHANGE * ~mask[..., None], mask)[mask], model(x, mask)[mask], atol=1e-6, rtol=0
    )
    torch.testing.assert_close(
        model(x, mask)[:, :4], model(x[:, :4], ALL[:, :4]), atol=1e-6, rtol=1e-5
    )


@every_backbone
def test_dropout_acts_in_training_only(name):
    model, x = backbone(name, dropout=0.5), vectors()
    assert not torch.equal(model(x, ALL), model(x, ALL))
    model.eval()
    assert torch.equal(model(x, ALL), model(x, ALL))


@every_backbone
def test_every_weight_learns(name):
    model = backbone(name)
    (
        model(vectors(), ALL) * torch.randn(3, T, D, generator=torch.Generator().manual_seed(2))
    ).sum().backward()
    still = {part for part, weight in model.named_parameters() if not weight.grad.any()}
    assert {
        part for part in still if not part.endswith("key.bias")
    } == set()  # which shifts all scores of a query equally


def test_gru_by_its_equations():
    torch.manual_seed(0)
    model, x = GRU(hidden_size=D, layers=1, dropout=0.0), vectors(1)
    w, u, bw, bias_u = (p.detach() for p in model.layers.parameters())
    h = torch.zeros(D)
    for v in x[0] * D**0.5:
        (ri, zi, ni), (rh, zh, nh) = (w @ v + bw).split(D), (u @ h + bias_u).split(D)
        r, z = torch.sigmoid(ri + rh), torch.sigmoid(zi + zh)
        h = (1 - z) * torch.tanh(ni + r * nh) + z * h
    torch.testing.assert_close(
        model(x, ALL)[0, -1], model.out.weight @ h + model.out.bias, atol=1e-5, rtol=1e-5
    )


def test_caser_window_by_window():
    torch.manual_seed(0)
    model, x = Caser(hidden_size=D, window=3, horizontal=2, vertical=2), vectors(1)
    rows = torch.cat([torch.zeros(2, D), x[0] * D**0.5])
    expected = []
    for t in range(T):
        window, found = rows[t : t + 3], []
        for h in (1, 2, 3):
            filters, bias = model.horizontal[h - 1].weight, model.horizontal[h - 1].bias
            at = [
                [(f.T * window[i : i + h]).sum() + b for i in range(4 - h)]
                for f, b in zip(filters, bias, strict=True)
            ]
            found += [torch.stack(values).relu().max() for values in at]
        sums = torch.stack(
            [(weights[:, None] * window).sum(0) for weights in model.vertical.weight]
        )  # (vertical, D)
        z = model.features(torch.cat([torch.stack(found), sums.T.reshape(-1)])).relu()
        expected.append(model.out(z))
    torch.testing.assert_close(model(x, ALL)[0], torch.stack(expected), atol=1e-5, rtol=1e-5)


def test_a_caser_state_depends_on_its_window_only():
    torch.manual_seed(0)
    model, before = Caser(hidden_size=D, window=3), vectors()
    after = before.clone()
    after[:, 2] += CHANGE
    moved = (model(after, ALL) - model(before, ALL)).abs().amax(dim=(0, 2)) > 1e-6
    assert moved.nonzero().flatten().tolist() == [2, 3, 4]


def test_nextitnet_block_tap_by_tap():
    torch.manual_seed(0)
    block, x = ResidualBlock(D, kernel=3, dilation=2), vectors(1)

    def convolve(convolution: nn.Conv1d, rows: torch.Tensor, dilation: int) -> torch.Tensor:
        out = convolution.bias.repeat(T, 1)
        for t in range(T):
            for tap, back in ((2, 0), (1, dilation), (0, 2 * dilation)):
                if t >= back:
                    out[t] = out[t] + convolution.weight[:, :, tap] @ rows[t - back]
        return out

    inner = block.first_norm(convolve(block.first, x[0], 2)).relu()
    expected = x[0] + block.second_norm(convolve(block.second, inner, 4)).relu()
    torch.testing.assert_close(block(x)[0], expected, atol=1e-5, rtol=1e-5)


def test_nextitnet_repeats_its_dilations():
    blocks = NextItNet(hidden_size=D, blocks=2).blocks
    assert [(b.first.dilation[0], b.second.dilation[0]) for b in blocks] == [
        (1, 2),
        (4, 8),
        (1, 2),
        (4, 8),
    ]


@pytest.mark.parametrize("causal", [True, False])
def test_sasrec_block_agrees_with_torch_attention(causal):
    torch.manual_seed(0)
    block, x = SASRecBlock(D, heads=2, dropout=0.0), vectors()
    parts = (block.query, block.key, block.value)
    weight, bias = torch.cat([p.weight for p in parts]), torch.cat([p.bias for p in parts])
    q = functional.layer_norm(x, (D,))
    hidden = torch.ones(T, T, dtype=torch.bool).triu(1) if causal else None
    mixed, _ = functional.multi_head_attention_forward(
        q.transpose(0, 1),
        x.transpose(0, 1),
        x.transpose(0, 1),
        embed_dim_to_check=D,
        num_heads=2,
        in_proj_weight=weight,
        in_proj_bias=bias,
        bias_k=None,
        bias_v=None,
        add_zero_attn=False,
        dropout_p=0.0,
        out_proj_weight=torch.eye(D),
        out_proj_bias=None,
        attn_mask=hidden,
    )
    z = functional.layer_norm(q + mixed.transpose(0, 1), (D,))
    expected = z + block.down(block.up(z).relu())
    torch.testing.assert_close(block(x, AttentionMask(causal)), expected, atol=1e-5, rtol=1e-5)
    assert block.up.weight.shape == (D, D)


def test_ligr_block_with_open_and_with_closed_gates():
    torch.manual_seed(0)
    block, x = LiGRBlock(D, heads=2, dropout=0.0), vectors()
    for gate, bias in ((block.attention_gate, 50.0), (block.forward_gate, 50.0)):
        nn.init.zeros_(gate.weight), nn.init.constant_(gate.bias, bias)
    q = functional.layer_norm(x, (D,))
    later = torch.ones(T, T, dtype=torch.bool).triu(1)
    attend = nn.MultiheadAttention(D, 2, batch_first=True)
    attend.in_proj_weight, attend.in_proj_bias, attend.out_proj = (
        block.qkv.weight,
        block.qkv.bias,
        block.out,
    )
    y = x + attend(q, q, q, attn_mask=later, need_weights=False)[0]
    z = functional.layer_norm(y, (D,)) @ block.up.weight.T
    expected = (
        y + (z[..., : 4 * D] * z[..., : 4 * D].sigmoid() * z[..., 4 * D :]) @ block.down.weight.T
    )
    torch.testing.assert_close(block(x, AttentionMask(True)), expected, atol=1e-5, rtol=1e-5)
    (
        nn.init.constant_(block.attention_gate.bias, -50.0),
        nn.init.constant_(block.forward_gate.bias, -50.0),
    )
    torch.testing.assert_close(block(x, AttentionMask(True)), x)


@pytest.mark.parametrize("causal", [True, False])
def test_hstu_block_position_by_position(causal):
    torch.manual_seed(0)
    block, x = HSTUBlock(D, heads=2, dropout=0.0), vectors()
    bias = torch.randn(T, T)
    found = block(x, AttentionMask(causal, bias=bias))
    for row in range(len(x)):
        projected = functional.layer_norm(x[row], (D,)) @ block.uvqk.weight.T
        u, v, q, k = functional.silu(projected).split(D, dim=-1)
        for i in range(T):
            mixed = torch.zeros(D)
            for head in (slice(0, D // 2), slice(D // 2, D)):
                for j in range(i + 1 if causal else T):
                    weight = functional.silu(q[i, head] @ k[j, head] + bias[i, j])
                    mixed[head] += weight * v[j, head]
            expected = x[row, i] + block.out(u[i] * functional.layer_norm(mixed, (D,)))
            torch.testing.assert_close(found[row, i], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["pre-norm", "sasrec", "ligr"])
def test_normalised_queries_and_keys_bound_the_scores(name):
    """A large factor on queries and keys changes nothing."""
    torch.manual_seed(0)
    block, x = make_block(name, hidden_size=D, heads=2, dropout=0.0, qk_norm=True), vectors()
    before = block(x, AttentionMask(True))
    with torch.no_grad():
        if name == "sasrec":
            for layer in (block.query, block.key):
                layer.weight.mul_(100), layer.bias.mul_(100)
        else:
            block.qkv.weight[: 2 * D] *= 100
            block.qkv.bias[: 2 * D] *= 100
    torch.testing.assert_close(block(x, AttentionMask(True)), before, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["pre-norm", "ligr", "hstu"])
def test_branches_that_start_at_zero_are_the_identity(name):
    x = vectors()
    block = make_block(name, hidden_size=D, heads=2, dropout=0.0, zero_init=True)
    torch.testing.assert_close(block(x, AttentionMask(True)), x)
    assert not torch.allclose(
        make_block(name, hidden_size=D, heads=2, dropout=0.0)(x, AttentionMask(True)), x
    )


def test_hstu_has_no_softmax_to_protect():
    with pytest.raises(GenrecError, match="no softmax"):
        make_block("hstu", hidden_size=D, heads=2, dropout=0.0, qk_norm=True)
