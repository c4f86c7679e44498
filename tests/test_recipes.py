import inspect
from functools import partial
from pathlib import Path

import pytest
import torch

from genrec import recipes, runs
from genrec.config import TeacherSettings
from genrec.data import Sequences, leave_one_out, synthetic
from genrec.models import losses
from genrec.models.caser import Caser
from genrec.models.gru import GRU
from genrec.models.lambdarank import lambdarank
from genrec.models.nextitnet import NextItNet
from genrec.models.objectives import Masked, RecencySampled, Shifted
from genrec.models.scorer import Recipe
from genrec.models.transformer import Block, LiGRBlock, SASRecBlock
from genrec.recipes import BASELINES, RECIPES, build, load_scorer, train_scorer

CPU = torch.device("cpu")
TARGETS = torch.tensor([1, 2, 3])


def made(name: str, num_items: int = 3416, **changes: object) -> Recipe:
    settings = {"hidden_size": 8, "blocks": 1, "max_length": 5, "recipe": name} | changes
    return build(num_items, TeacherSettings.model_validate(settings), seed=0)


def drawn(recipe: Recipe) -> torch.Tensor | None:
    return recipe.negatives(TARGETS, torch.Generator().manual_seed(0))


def test_names():
    transformers = ["sasrec", "sasrec_softmax", "gsasrec", "bert4rec", "sasrec_rss"]
    assert list(RECIPES) == [*transformers, "gru4rec", "caser", "nextitnet", "tisasrec"]
    assert list(BASELINES) == [
        *("popularity", "markov", "item_knn", "user_knn", "association_rules", "als", "bpr", "fpmc")
    ]


def test_sasrec_is_causal_shifted_one_negative_bce():
    recipe = made("sasrec")
    assert recipe.scorer.backbone.causal
    assert recipe.scorer.objective == Shifted()
    assert drawn(recipe).shape == (3, 1)
    assert recipe.loss is losses.bce


def test_sasrec_softmax_compares_with_the_whole_catalogue():
    recipe = made("sasrec_softmax")
    assert recipe.scorer.backbone.causal
    assert recipe.scorer.objective == Shifted()
    assert drawn(recipe) is None
    assert recipe.loss is losses.softmax


def test_bert4rec_is_bidirectional_and_masked():
    recipe = made("bert4rec", mask_share=0.35)
    assert not recipe.scorer.backbone.causal
    assert recipe.scorer.objective == Masked(share=0.35)
    assert drawn(recipe) is None
    assert recipe.loss is losses.softmax


def test_sasrec_rss_ranks_sets_from_the_last_state():
    recipe = made("sasrec_rss", rss_share=0.3, rss_decay=0.7)
    assert recipe.scorer.backbone.causal
    assert recipe.scorer.objective == RecencySampled(share=0.3, decay=0.7)
    assert drawn(recipe) is None
    assert recipe.loss is lambdarank


@pytest.mark.parametrize(("name", "backbone"), [("gru4rec", GRU), ("caser", Caser), ("nextitnet", NextItNet)])
def test_other_backbones_are_shifted_and_compare_with_the_whole_catalogue(name: str, backbone: type):
    recipe = made(name, dropout=0.25)
    assert type(recipe.scorer.backbone) is backbone
    assert recipe.scorer.backbone.dropout.p == 0.25
    assert recipe.scorer.objective == Shifted()
    assert drawn(recipe) is None
    assert recipe.loss is losses.softmax


def test_layers_come_from_the_settings():
    assert made("gru4rec", blocks=3).scorer.backbone.layers.num_layers == 3
    assert len(made("nextitnet", blocks=3).scorer.backbone.blocks) == 6


@pytest.mark.parametrize(("block", "kind"), [("pre-norm", Block), ("sasrec", SASRecBlock), ("ligr", LiGRBlock)])
def test_the_block_of_a_transformer_can_be_chosen(block: str, kind: type):
    for name in ("sasrec", "bert4rec"):
        assert {type(part) for part in made(name, blocks=2, block=block).scorer.backbone.blocks} == {kind}


@pytest.mark.parametrize(
    ("changes", "beta", "columns"),
    [
        ({}, 0.306, 256),
        ({"t": 0.5}, 0.537, 256),
        ({"t": 0.0}, 1.0, 256),
        ({"num_negatives": 100, "t": 1.0}, 0.0293, 100),
    ],
)
def test_gsasrec_takes_beta_from_the_catalogue_and_the_negatives(changes: dict, beta: float, columns: int):
    recipe = made("gsasrec", **changes)
    assert drawn(recipe).shape == (3, columns)
    assert isinstance(recipe.loss, partial)
    assert recipe.loss.func is losses.gbce
    assert recipe.loss.keywords == {"beta": pytest.approx(beta, abs=5e-4)}


@pytest.mark.parametrize("name", ["sasrec", "gsasrec"])
def test_negatives_may_be_shared_and_their_number_chosen(name: str):
    assert drawn(made(name, num_negatives=7)).shape == (3, 7)
    assert drawn(made(name, num_negatives=7, shared_negatives=True)).shape == (7,)


def test_sizes_come_from_the_settings():
    recipe = made("sasrec", num_items=20, hidden_size=12, blocks=3, heads=2, max_length=6, dropout=0.25)
    backbone = recipe.scorer.backbone
    assert recipe.scorer.embedding.weight.shape == (22, 12)
    assert backbone.position.shape == (6, 12)
    assert recipe.scorer.max_length == 6
    assert [block.heads for block in backbone.blocks] == [2, 2, 2]
    assert {m.p for m in backbone.modules() if isinstance(m, torch.nn.Dropout)} == {0.25}


def test_the_seed_decides_the_weights_and_leaves_torch_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first, second = made("sasrec", num_items=9), made("sasrec", num_items=9)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.scorer.embedding.weight, second.scorer.embedding.weight)
    other = build(9, TeacherSettings(recipe="sasrec", hidden_size=8, blocks=1), seed=1)
    assert not torch.equal(first.scorer.embedding.weight, other.scorer.embedding.weight)


def test_an_unknown_recipe_lists_all_names():
    with pytest.raises(
        ValueError, match=r"unknown recipe 'sasrek'; choose one of sasrec, .*bert4rec, .*tisasrec, popularity, markov"
    ):
        made("sasrek")


@pytest.mark.parametrize("name", ["als", "bpr", "fpmc"])
def test_the_seed_of_the_run_reaches_baselines_that_draw(name: str, tmp_path: Path):
    split = leave_one_out(synthetic.chain(40, 15, 6, 0.1, seed=0))
    history = Sequences.from_lists([[1, 2]])
    first, again, other = (
        train_scorer(split, TeacherSettings(recipe=name), seed, CPU, tmp_path, quiet=True).score(history)
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_folder_without_a_scorer(tmp_path: Path):
    with pytest.raises(runs.RunError, match=r"scorer\.json does not exist"):
        load_scorer(tmp_path, CPU)


def test_training_ends_without_a_checkpoint_and_goes_on_from_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    split = leave_one_out(synthetic.chain(40, 15, 6, 0.1, seed=0))
    settings = TeacherSettings(hidden_size=8, blocks=1, max_length=5, epochs=4, evaluate_every=1, bf16=False)
    histories = Sequences.from_lists([[1, 2], [3]])
    expected = train_scorer(split, settings, 0, CPU, tmp_path / "whole", quiet=True).score(histories)
    assert not list((tmp_path / "whole").glob("checkpoint*"))

    fit = recipes.fit

    def cut_off(recipe: Recipe, split, settings, seed, folder, quiet, k):
        fit(recipe, split, settings, seed, folder, quiet, k)
        raise KeyboardInterrupt

    monkeypatch.setattr(recipes, "fit", cut_off)
    with pytest.raises(KeyboardInterrupt):
        train_scorer(split, settings, 0, CPU, tmp_path / "cut", quiet=True)
    monkeypatch.setattr(recipes, "fit", fit)
    again = train_scorer(split, settings, 0, CPU, tmp_path / "cut", quiet=True)
    torch.testing.assert_close(again.score(histories), expected, rtol=0, atol=0)


def test_a_recipe_is_short():
    for function in RECIPES.values():
        assert len(inspect.getsource(function).splitlines()) <= 12
