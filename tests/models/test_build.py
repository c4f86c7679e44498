"""From settings to scorer, negatives and loss: what recipes and their changes build."""

import re
from functools import partial
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import torch

from genrec.config import choices, components
from genrec.config.errors import ConfigError, GenrecError
from genrec.models import losses, negatives
from genrec.models.build import build, build_scorer
from genrec.models.caser import Caser
from genrec.models.config import NeuralConfig
from genrec.models.gru import GRU
from genrec.models.lambdarank_loss import lambdarank
from genrec.models.nextitnet import NextItNet
from genrec.models.objectives import Batch, Last, Masked, RecencySampled, Shifted
from genrec.models.scorer import Recipe
from genrec.models.transformer_blocks import LiGRBlock, PreNormBlock, SASRecBlock
from genrec.recipes import NeuralTeacher, recipe

# Two sequences; the first two targets are of the first one
BATCH = Batch(torch.tensor([[1, 2], [3, 4]]), torch.tensor([0, 1, 2]), torch.tensor([7, 8, 9]))


def built(name: str, *, num_items: int = 3416, **changes: Any) -> Recipe:
    """An untrained small model of a recipe; item i has i training events."""
    config = recipe(name, **{"hidden_size": 8, "max_length": 5, **changes})
    assert isinstance(config, NeuralTeacher)
    return build(config, num_items=num_items, seed=0, counts=torch.arange(num_items + 1))


def drawn(model: Recipe) -> torch.Tensor | None:
    return model.negatives(BATCH, torch.Generator().manual_seed(0))


# Recipes


def test_sasrec_is_causal_with_shifted_targets_one_negative_and_bce():
    model = built("sasrec")
    assert model.scorer.backbone.causal
    assert model.scorer.objective == Shifted()
    assert drawn(model).shape == (3, 1)
    assert model.loss is losses.bce


def test_sasrec_softmax_compares_with_the_whole_catalogue():
    model = built("sasrec_softmax")
    assert model.scorer.backbone.causal
    assert model.scorer.objective == Shifted()
    assert drawn(model) is None
    assert model.negatives is negatives.catalogue
    assert model.loss is losses.softmax


def test_bert4rec_is_bidirectional_and_masked():
    model = built("bert4rec", objective={"mask_share": 0.35})
    assert not model.scorer.backbone.causal
    assert model.scorer.objective == Masked(share=0.35)
    assert drawn(model) is None
    assert model.loss is losses.softmax


def test_sasrec_rss_ranks_sets_from_the_last_state():
    model = built("sasrec_rss", objective={"share": 0.3, "decay": 0.7})
    assert model.scorer.backbone.causal
    assert model.scorer.objective == RecencySampled(share=0.3, decay=0.7)
    assert drawn(model) is None
    assert model.loss.func is lambdarank


@pytest.mark.parametrize(
    ("name", "backbone"), [("gru4rec", GRU), ("caser", Caser), ("nextitnet", NextItNet)]
)
def test_other_backbones_are_shifted_and_compare_with_the_whole_catalogue(
    name: str, backbone: type
):
    model = built(name, dropout=0.25)
    assert type(model.scorer.backbone) is backbone
    assert model.scorer.backbone.dropout.p == 0.25
    assert model.scorer.objective == Shifted()
    assert drawn(model) is None
    assert model.loss is losses.softmax


def test_tisasrec_reads_times():
    assert built("tisasrec").scorer.reads_times
    assert not built("sasrec").scorer.reads_times
    assert built("sasrec", backbone={"intervals": True}).scorer.reads_times


@pytest.mark.parametrize(
    ("changes", "beta", "columns"),
    [
        ({}, 0.306, 256),
        ({"loss": {"t": 0.5}}, 0.537, 256),
        ({"loss": {"t": 0.0}}, 1.0, 256),
        ({"negatives": {"count": 100}, "loss": {"t": 1.0}}, 0.0293, 100),
    ],
)
def test_gsasrec_takes_beta_from_the_catalogue_and_the_negatives(
    changes: dict[str, Any], beta: float, columns: int
):
    model = built("gsasrec", **changes)
    assert drawn(model).shape == (3, columns)
    assert isinstance(model.loss, partial)
    assert model.loss.func is losses.gbce
    assert model.loss.keywords == {"beta": pytest.approx(beta, abs=5e-4)}


@pytest.mark.parametrize(
    ("name", "changes", "offset"),
    [
        ("sasrec", {}, 0),  # log(1 / 1)
        ("sasrec", {"negatives": {"count": 8}}, -2.0794),  # log(1 / 8)
        ("gsasrec", {}, -6.7280),  # log(.3062 / 256)
        ("gsasrec", {"loss": {"t": 1}}, -8.1359),  # log((256 / 3415) / 256)
        ("bert4rec", {"loss": "bce"}, -8.1359),  # log(1 / 3415)
        ("sasrec_softmax", {}, 0),
        ("sasrec", {"loss": "bpr"}, 0),
        ("sasrec_rss", {}, 0),
    ],
)
def test_scores_start_where_the_loss_is_content(name: str, changes: dict[str, Any], offset: float):
    assert built(name, **changes).scorer.score_offset == pytest.approx(offset, abs=1e-3)


# Changes


def test_sizes_come_from_the_settings():
    backbone = {"blocks": 3, "heads": 2}
    model = built(
        "sasrec", num_items=20, hidden_size=12, backbone=backbone, max_length=6, dropout=0.25
    )
    transformer = model.scorer.backbone
    assert model.scorer.embedding.weight.shape == (22, 12)
    assert transformer.position.shape == (6, 12)
    assert model.scorer.max_length == 6
    assert [block.heads for block in transformer.blocks] == [2, 2, 2]
    dropouts = [part for part in transformer.modules() if isinstance(part, torch.nn.Dropout)]
    assert {part.p for part in dropouts} == {0.25}


def test_layers_come_from_the_settings():
    assert built("gru4rec", backbone={"layers": 3}).scorer.backbone.layers.num_layers == 3
    assert len(built("nextitnet", backbone={"blocks": 3}).scorer.backbone.blocks) == 6


@pytest.mark.parametrize(
    ("block", "kind"), [("pre-norm", PreNormBlock), ("sasrec", SASRecBlock), ("ligr", LiGRBlock)]
)
@pytest.mark.parametrize("name", ["sasrec", "bert4rec"])
def test_the_block_of_a_transformer_can_be_chosen(name: str, block: str, kind: type):
    backbone = built(name, backbone={"blocks": 2, "block": block}).scorer.backbone
    assert [type(part) for part in backbone.blocks] == [kind, kind]


@pytest.mark.parametrize("name", ["sasrec", "gsasrec"])
def test_negatives_may_be_shared_and_their_number_chosen(name: str):
    assert drawn(built(name, negatives={"count": 7})).shape == (3, 7)
    assert drawn(built(name, negatives={"count": 7, "shared": "batch"})).shape == (7,)
    by_sequence = drawn(built(name, negatives={"count": 7, "shared": "sequence"}))
    first, second, other = by_sequence.tolist()
    assert first == second != other


def test_a_setting_changes_an_axis_and_leaves_the_others():
    model = built("sasrec", loss="softmax", negatives={"name": "uniform", "count": 256})
    assert (model.scorer.objective, model.loss) == (Shifted(), losses.softmax)
    assert drawn(model).shape == (3, 256)
    assert model.log_expected is None
    model = built("bert4rec", loss="bce", negatives={"name": "uniform", "count": 1})
    assert not model.scorer.backbone.causal
    assert (model.scorer.objective, model.loss) == (Masked(), losses.bce)
    assert drawn(model).shape == (3, 1)
    popular = {"name": "popular", "count": 4}
    model = built("gru4rec", objective="last", loss="bpr", negatives=popular)
    assert type(model.scorer.backbone) is GRU
    assert (model.scorer.objective, model.loss) == (Last(), losses.bpr)
    assert drawn(model).shape == (3, 4)
    model = built("sasrec", loss="lambdarank", negatives="catalogue")
    assert (model.scorer.objective, model.loss.func) == (Shifted(), lambdarank)
    assert model.loss.keywords == {"discounts": "all"}
    assert drawn(model) is None


def test_settings_of_an_objective_reach_it():
    masked = built("bert4rec", objective={"mask_share": 0.3, "last_mask_share": 0.4})
    assert masked.scorer.objective == Masked(share=0.3, last_share=0.4)
    by_power = built("sasrec_rss", objective={"power": 2.0})
    assert by_power.scorer.objective == RecencySampled(power=2.0)
    assert built("sasrec_rss").scorer.objective == RecencySampled(share=0.2, decay=0.8)


def test_negatives_come_from_the_targets_of_the_batch():
    in_batch = drawn(built("sasrec", negatives={"name": "in_batch", "count": 50}))
    assert set(in_batch.flatten().tolist()) == {7, 8, 9}


def test_popular_negatives_are_drawn_in_proportion_to_a_power_of_the_counts():
    popular = {"name": "popular", "count": 1, "power": 2.0}
    proposal = built("sasrec", num_items=2, negatives=popular).negatives.proposal
    # 1² and 2² of 5
    assert proposal.log_q.exp().tolist() == [0, pytest.approx(0.2), pytest.approx(0.8)]


def test_items_of_the_history_are_rejected():
    rejecting = {"count": 500, "reject_history": True}
    found = set(drawn(built("sasrec", num_items=9, negatives=rejecting))[0].tolist())
    # The target itself, 7, stands in for what was rejected.
    assert {1, 2, 7, 8} - found == {1, 2, 8}


def test_logq_is_the_logarithm_of_the_expected_number_of_draws():
    in_batch = {"name": "in_batch", "count": 3}
    model = built("sasrec", num_items=3, negatives=in_batch, loss={"name": "softmax", "logq": True})
    # Three draws from counts 1, 2 and 3 of 6 events
    expected = [0, pytest.approx(0.5), pytest.approx(1), pytest.approx(1.5)]
    assert model.log_expected.exp().tolist() == expected


def test_the_seed_determines_the_weights_and_the_global_generator_is_untouched():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    config = recipe("sasrec", hidden_size=8, max_length=5)
    first, again, other = (build_scorer(config, num_items=9, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.embedding.weight, again.embedding.weight)
    assert not torch.equal(first.embedding.weight, other.embedding.weight)


# Errors


@pytest.mark.parametrize("name", ["popular", "in_batch"])
def test_negatives_that_need_counts_ask_for_them(name: str):
    config = recipe("sasrec", negatives={"name": name, "count": 1})
    with pytest.raises(GenrecError, match=f"{name} negatives need the counts of training events"):
        build(config, num_items=9, seed=0)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("sasrec", {"objective": {"mask_share": 0.3}}, "mask_share is a setting of masked"),
        ("sasrec", {"loss": {"t": 0.5}}, "unknown setting teacher.loss.t of bce"),
        ("sasrec", {"loss": {"logq": True}}, "logq is a setting of softmax"),
        ("gsasrec", {"negatives": {"power": 0.5}}, "power is a setting of popular"),
        ("caser", {"backbone": {"blocks": 3}}, "unknown setting teacher.backbone.blocks of caser"),
        ("sasrec", {"embedding": {"splits": 4}}, "splits is a setting of recjpq"),
    ],
)
def test_a_setting_of_another_choice_is_refused(name: str, changes: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=re.escape(message)):
        built(name, **changes)


def test_all_problems_are_reported_at_once():
    with pytest.raises(ConfigError) as unknown:
        built("sasrec", objective="masked", loss={"t": 0.5, "logq": True})
    assert len(str(unknown.value).splitlines()) == 2
    with pytest.raises(ConfigError, match="the masked objective reads both sides") as misfits:
        built("sasrec", objective="masked", backbone={"heads": 3}, embedding="recjpq")
    assert len(str(misfits.value).splitlines()) == 2


def test_a_config_made_in_python_is_checked_as_well():
    with pytest.raises(
        ValueError, match=r"choose teacher\.loss=bce, or teacher\.negatives=uniform"
    ):
        NeuralConfig(loss="gbce")


# Components of the user's own

SOURCE = """
import torch
from torch import nn

from genrec.models.objectives import Last

NUMBER = 3


class Shift(nn.Module):
    def __init__(self, hidden_size, max_length, dropout, step=0):
        super().__init__()
        self.step = step
        self.sizes = hidden_size, max_length, dropout

    def forward(self, vectors, mask):
        return torch.roll(vectors, self.step, dims=1)


class Cut(Shift):
    def forward(self, vectors, mask):
        return vectors[:, :, :-1]


def no_module(hidden_size, max_length, dropout):
    return 3


def margin(scores, positive, width=1.0):
    return width * scores.mean()


def objective():
    return Last()
"""


@pytest.fixture
def source(tmp_path: Path) -> str:
    path = tmp_path / "mine.py"
    path.write_text(SOURCE)
    return str(path)


def test_own_backbone_objective_and_loss_are_built_with_their_settings(source: str):
    model = built(
        "sasrec",
        dropout=0.25,
        backbone={"name": f"{source}:Shift", "step": 0},
        objective=f"{source}:objective",
        loss={"name": f"{source}:margin", "width": 2.0},
    )
    assert model.scorer.backbone.sizes == (8, 5, 0.25)
    assert model.scorer.backbone.step == 0
    assert model.scorer.objective == Last()
    assert float(model.loss(torch.tensor([[1.0, 2.0]]), torch.tensor([0]))) == 3.0  # 2 · 1.5
    assert model.scorer.score_offset == 0


def test_an_own_component_by_the_name_of_its_entry_point(
    source: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.syspath_prepend(str(Path(source).parent))
    points = {
        "genrec.backbones": [EntryPoint("shift", "mine:Shift", "genrec.backbones")],
        "genrec.losses": [EntryPoint("margin", "mine:margin", "genrec.losses")],
    }
    for module in (choices, components):
        monkeypatch.setattr(module, "entry_points", lambda group: points.get(group, []))
    model = built("sasrec", backbone="shift", loss="margin")
    assert type(model.scorer.backbone).__name__ == "Shift"
    assert float(model.loss(torch.tensor([[1.0, 2.0]]), torch.tensor([0]))) == 1.5


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        ({"name": "Shift", "step": -1}, "this backbone is not causal: a later item changes"),
        ({"name": "Cut"}, "states of shape (1, 5, 7) for vectors of shape (1, 5, 8)"),
        ({"name": "no_module"}, "gave a int: it must be a torch.nn.Module"),
        ({"name": "Shift", "stride": 1}, "cannot be built: "),
        ({"name": "NUMBER"}, "is a int: give a class or a function"),
        ({"name": "Shifft"}, "has no backbone 'Shifft'; give one of Shift, Cut, no_module, margin"),
    ],
)
def test_a_backbone_that_cannot_be_used_is_refused(
    source: str, backbone: dict[str, Any], message: str
):
    chosen = {**backbone, "name": f"{source}:{backbone['name']}"}
    with pytest.raises(GenrecError, match=re.escape(message)):
        built("sasrec", backbone=chosen)


def test_a_masked_objective_takes_an_own_backbone_that_reads_both_sides(source: str):
    backbone = {"name": f"{source}:Shift", "step": -1}
    assert built("bert4rec", backbone=backbone).scorer.backbone.step == -1


def test_a_loss_that_is_no_function_is_refused(source: str):
    with pytest.raises(ConfigError, match="is a int, not a function"):
        built("sasrec", loss=f"{source}:NUMBER")
