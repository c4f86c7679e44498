import math

import pytest
import torch

from genrec.config.errors import GenrecError
from genrec.models.transformer import Transformer, power_of_interval, sinusoidal_positions

T, D = 7, 8
CHANGE = torch.linspace(-2, 3, D) ** 2  # not a constant, which the layer norms would remove


def backbone(causal: bool, dropout: float = 0.0, *, head: bool = False) -> Transformer:
    torch.manual_seed(0)
    return Transformer(
        hidden_size=D,
        blocks=2,
        heads=2,
        max_length=T,
        dropout=dropout,
        causal=causal,
        head=head,
    )


def vectors(rows: int = 3) -> torch.Tensor:
    return torch.randn(rows, T, D, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("causal", [True, False])
def test_shape(causal):
    states = backbone(causal)(vectors(), torch.ones(3, T, dtype=torch.bool))
    assert states.shape == (3, T, D)
    assert states.isfinite().all()


@pytest.mark.parametrize("j", range(1, T))
def test_a_later_item_changes_no_earlier_state_of_a_causal_model(j):
    model, before, mask = backbone(causal=True), vectors(), torch.ones(3, T, dtype=torch.bool)
    after = before.clone()
    after[:, j] += CHANGE
    difference = (model(after, mask) - model(before, mask)).abs().amax(dim=(0, 2))
    assert difference[:j].max() < 1e-6
    assert difference[j:].min() > 1e-4


def test_a_later_item_changes_all_states_of_a_bidirectional_model():
    model, before, mask = backbone(causal=False), vectors(), torch.ones(3, T, dtype=torch.bool)
    after = before.clone()
    after[:, -1] += CHANGE
    assert (model(after, mask) - model(before, mask)).abs().amax(dim=2).min() > 1e-5


def test_an_empty_sequence_has_a_state():
    mask = torch.arange(T) < torch.tensor([[0], [1], [T]])
    model = backbone(causal=False)
    states = model(vectors(), mask)
    assert states.isfinite().all()
    mask[0, 0] = True  # the empty sequence reads its first position, which is padding
    assert torch.equal(states, model(vectors(), mask))


@pytest.mark.parametrize("causal", [True, False])
def test_vectors_at_padding_do_not_matter(causal):
    model, before = backbone(causal), vectors()
    mask = torch.arange(T) < torch.tensor([[4], [1], [T]])
    after = before + CHANGE * ~mask[..., None]
    torch.testing.assert_close(
        model(after, mask)[mask], model(before, mask)[mask], atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("causal", [True, False])
def test_more_padding_does_not_matter(causal):
    model, x = backbone(causal), vectors()
    mask = torch.arange(T) < 4
    wide = model(x, mask.expand(3, -1))[:, :4]
    torch.testing.assert_close(
        wide, model(x[:, :4], torch.ones(3, 4, dtype=torch.bool)), atol=1e-5, rtol=0
    )


def test_order_matters():
    model, x, mask = backbone(causal=False), vectors(), torch.ones(3, T, dtype=torch.bool)
    assert (model(x.flip(1), mask).flip(1) - model(x, mask)).abs().max() > 1e-3


def test_dropout_acts_in_training_only():
    model, x, mask = (
        backbone(causal=True, dropout=0.5),
        vectors(),
        torch.ones(3, T, dtype=torch.bool),
    )
    assert not torch.equal(model(x, mask), model(x, mask))
    model.eval()
    assert torch.equal(model(x, mask), model(x, mask))


def test_agrees_with_torch_encoder_layers():
    """The same weights in torch's own pre-norm encoder give the same states."""
    model, x = backbone(causal=True), vectors()
    layers = []
    for block in model.blocks:
        layer = torch.nn.TransformerEncoderLayer(
            D,
            nhead=2,
            dim_feedforward=4 * D,
            dropout=0.0,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        layer.self_attn.in_proj_weight, layer.self_attn.in_proj_bias = (
            block.qkv.weight,
            block.qkv.bias,
        )
        layer.self_attn.out_proj, layer.norm1, layer.norm2 = (
            block.out,
            block.attention_norm,
            block.forward_norm,
        )
        layer.linear1, layer.linear2 = block.up, block.down
        layers.append(layer)
    later = torch.ones(T, T, dtype=torch.bool).triu(1)
    states = x * 8**0.5 + model.position
    for layer in layers:
        states = layer(states, src_mask=later)
    ours = model(x, torch.ones(3, T, dtype=torch.bool))
    torch.testing.assert_close(ours, model.norm(states), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("block", ["pre-norm", "sasrec", "ligr", "hstu"])
@pytest.mark.parametrize("causal", [True, False])
def test_relative_positions_bias_the_scores_of_their_distance(block, causal):
    model = Transformer(
        hidden_size=D,
        blocks=2,
        heads=2,
        max_length=T,
        dropout=0.0,
        causal=causal,
        block=block,
        relative=True,
    )
    x, mask = vectors(), torch.ones(3, T, dtype=torch.bool)
    before = model(x, mask)
    with torch.no_grad():
        model.relative[0, T - 1 + 2] = 3.0  # key two positions before the query, first block
    changed = (model(x, mask) - before).abs().amax(dim=(0, 2)) > 1e-6
    assert not changed[:2].any() or not causal  # nothing is two positions before these
    assert changed[2:].all()
    bias = model._bias(0, T, None)
    assert bias.nonzero().tolist() == [[i, i - 2] for i in range(2, T)]
    assert not model._bias(1, T, None).any()


def test_a_head_is_a_dense_layer_with_gelu_and_a_norm():
    plain, headed = backbone(causal=False), backbone(causal=False, head=True)
    headed.load_state_dict(plain.state_dict(), strict=False)
    mask = torch.ones(3, T, dtype=torch.bool)
    dense = headed.head[0]
    states = plain(vectors(), mask) @ dense.weight.T + dense.bias
    states = 0.5 * states * (1 + torch.erf(states / 2**0.5))
    states = (states - states.mean(-1, keepdim=True)) / states.std(-1, correction=0, keepdim=True)
    torch.testing.assert_close(headed(vectors(), mask), states, atol=1e-3, rtol=1e-3)


def test_heads_that_do_not_divide_the_width_are_named():
    with pytest.raises(ValueError, match="hidden_size 8 is not a multiple of heads 3"):
        Transformer(hidden_size=D, blocks=1, heads=3, max_length=T, dropout=0.0, causal=True)


def test_an_unknown_block_is_named_with_the_known_ones():
    with pytest.raises(GenrecError, match="unknown block 'post-norm'; choose one of pre-norm, sas"):
        Transformer(
            hidden_size=D,
            blocks=1,
            heads=1,
            max_length=T,
            dropout=0.0,
            causal=True,
            block="post-norm",
        )


def test_sinusoids_by_hand():
    expected = [
        [0.6 * wave(t * rate) for wave in (math.sin, math.cos) for rate in (1, 0.01)]
        for t in range(3)
    ]
    assert torch.allclose(sinusoidal_positions(3, 4), torch.tensor(expected))
    assert sinusoidal_positions(3, 5).shape == (3, 5)


def test_initial_positions_of_a_bidirectional_model_depend_on_the_distance_only():
    """So that the neighbour of an item has the same dot product at every position."""
    positions = backbone(causal=False).position.detach()
    products = positions @ positions.T
    for distance in range(T):
        beside = products.diagonal(distance)
        assert beside.tolist() == pytest.approx([float(beside[0])] * len(beside), abs=1e-5)
    assert float(backbone(causal=True).position.detach().std()) == pytest.approx(0.02, rel=0.5)


TIMES = torch.tensor([[0, 0, 1, 5, 70, 900, 10**9]]).expand(3, -1)


def timed(block: str) -> Transformer:
    torch.manual_seed(0)
    model = Transformer(
        hidden_size=D,
        blocks=2,
        heads=2,
        max_length=T,
        dropout=0.0,
        causal=True,
        block=block,
        relative=True,
        intervals=True,
    )
    with torch.no_grad():
        model.intervals.normal_()
    return model


@pytest.mark.parametrize("block", ["pre-norm", "ligr", "hstu"])
def test_intervals_of_evenly_spaced_events_are_distances(block):
    """A bias for d seconds is one for a distance of d positions, where events are 1 s apart."""
    model, x, mask = timed(block), vectors(), torch.ones(3, T, dtype=torch.bool)
    seconds = torch.arange(T).expand(3, -1)
    expected = model(x, mask, seconds)
    # 0 seconds are power 0, 1 is 1, 2 and 3 are 2, 4 to 6 are 3.
    powers = torch.tensor([0, 1, 2, 2, 3, 3, 3])
    with torch.no_grad():
        model.relative[:, T - 1 :] = model.intervals[:, powers]
    assert (model(x, mask) - expected).abs().max() < 1e-5
    assert (model(x, mask, 2 * seconds) - expected).abs().max() > 1e-2


@pytest.mark.parametrize("block", ["pre-norm", "sasrec", "ligr", "hstu"])
def test_only_intervals_between_past_events_are_read(block):
    model, x, mask = timed(block), vectors(), torch.ones(3, T, dtype=torch.bool)
    states = model(x, mask, TIMES)
    torch.testing.assert_close(model(x, mask, TIMES + 10**9), states)
    later = TIMES.clone()
    later[:, 5:] += 10**7
    changed = model(x, mask, later)
    torch.testing.assert_close(changed[:, :5], states[:, :5], atol=1e-6, rtol=0)
    assert (changed[:, 5] - states[:, 5]).abs().max() > 1e-3


def test_centuries_are_clipped():
    powers = power_of_interval(torch.tensor([[0, 2**31, 2**32, 2**62]]))
    assert powers[0, 0].tolist() == [0, 32, 32, 32]
