import re
from functools import partial
from pathlib import Path

import pytest
import torch

from genrec import recipes
from genrec.config.errors import RunError
from genrec.config.reading import TeacherSettings
from genrec.data import Sequences, leave_one_out, synthetic
from genrec.models import losses
from genrec.models.axes import READERS
from genrec.models.caser import Caser
from genrec.models.gru import GRU
from genrec.models.lambdarank_loss import lambdarank
from genrec.models.nextitnet import NextItNet
from genrec.models.objectives import Batch, Last, Masked, RecencySampled, Shifted
from genrec.models.scorer import Recipe
from genrec.models.transformer import Block, LiGRBlock, SASRecBlock
from genrec.recipes import BASELINES, RECIPES, build, load_scorer, train_scorer
from genrec.training.run_directory import read_json, write_json

CPU = torch.device("cpu")
BATCH = Batch(torch.tensor([[1, 2], [3, 4]]), torch.tensor([0, 1, 2]), torch.tensor([7, 8, 9]))


def made(name: str, num_items: int = 3416, **changes: object) -> Recipe:
    small = {"hidden_size": 8, "max_length": 5, "recipe": name} | (
        {"blocks": 1} if name != "caser" else {}
    )
    return build(
        num_items, TeacherSettings.model_validate(small | changes), 0, torch.arange(num_items + 1)
    )


def drawn(recipe: Recipe) -> torch.Tensor | None:
    return recipe.negatives(BATCH, torch.Generator().manual_seed(0))


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


@pytest.mark.parametrize(
    ("name", "backbone"), [("gru4rec", GRU), ("caser", Caser), ("nextitnet", NextItNet)]
)
def test_other_backbones_are_shifted_and_compare_with_the_whole_catalogue(
    name: str, backbone: type
):
    recipe = made(name, dropout=0.25)
    assert type(recipe.scorer.backbone) is backbone
    assert recipe.scorer.backbone.dropout.p == 0.25
    assert recipe.scorer.objective == Shifted()
    assert drawn(recipe) is None
    assert recipe.loss is losses.softmax


def test_layers_come_from_the_settings():
    assert made("gru4rec", blocks=3).scorer.backbone.layers.num_layers == 3
    assert len(made("nextitnet", blocks=3).scorer.backbone.blocks) == 6


@pytest.mark.parametrize(
    ("block", "kind"), [("pre-norm", Block), ("sasrec", SASRecBlock), ("ligr", LiGRBlock)]
)
def test_the_block_of_a_transformer_can_be_chosen(block: str, kind: type):
    for name in ("sasrec", "bert4rec"):
        assert {
            type(part) for part in made(name, blocks=2, block=block).scorer.backbone.blocks
        } == {kind}


@pytest.mark.parametrize(
    ("changes", "beta", "columns"),
    [
        ({}, 0.306, 256),
        ({"t": 0.5}, 0.537, 256),
        ({"t": 0.0}, 1.0, 256),
        ({"num_negatives": 100, "t": 1.0}, 0.0293, 100),
    ],
)
def test_gsasrec_takes_beta_from_the_catalogue_and_the_negatives(
    changes: dict, beta: float, columns: int
):
    recipe = made("gsasrec", **changes)
    assert drawn(recipe).shape == (3, columns)
    assert isinstance(recipe.loss, partial)
    assert recipe.loss.func is losses.gbce
    assert recipe.loss.keywords == {"beta": pytest.approx(beta, abs=5e-4)}


@pytest.mark.parametrize(
    ("name", "changes", "base"),
    [
        ("sasrec", {}, 0),  # log(1 / 1)
        ("sasrec", {"num_negatives": 8}, -2.0794),  # log(1 / 8)
        ("gsasrec", {}, -6.7280),  # log(.3062 / 256)
        ("gsasrec", {"t": 1}, -8.1359),  # log((256 / 3415) / 256)
        ("bert4rec", {"loss": "bce"}, -8.1359),  # log(1 / 3415)
        ("sasrec_softmax", {}, 0),
        ("sasrec", {"loss": "bpr"}, 0),
        ("sasrec_rss", {}, 0),
    ],
)
def test_scores_start_where_the_loss_is_content(name: str, changes: dict, base: float):
    assert made(name, **changes).scorer.score_offset == pytest.approx(base, abs=1e-3)


def test_a_scorer_keeps_its_base_and_an_older_one_had_none(tmp_path: Path):
    parts = leave_one_out(
        synthetic.chain(num_users=30, num_items=20, length=6, randomness=0.1, seed=0)
    )
    settings = TeacherSettings(
        recipe="gsasrec", hidden_size=8, epochs=1, num_negatives=4, max_length=10
    )
    scorer = train_scorer(parts, settings, 0, CPU, tmp_path, quiet=True)
    assert load_scorer(tmp_path, CPU).score_offset == scorer.score_offset < 0
    content = read_json(tmp_path / "scorer.json")
    del content["base"]
    write_json(tmp_path / "scorer.json", content)
    assert load_scorer(tmp_path, CPU).score_offset == 0


@pytest.mark.parametrize("name", ["sasrec", "gsasrec"])
def test_negatives_may_be_shared_and_their_number_chosen(name: str):
    assert drawn(made(name, num_negatives=7)).shape == (3, 7)
    assert drawn(made(name, num_negatives=7, shared_negatives="batch")).shape == (7,)
    first, second, other = drawn(made(name, num_negatives=7, shared_negatives="sequence")).tolist()
    assert first == second != other


def test_a_setting_changes_an_axis_and_leaves_the_others():
    recipe = made("sasrec", loss="softmax", negatives="uniform", num_negatives=256)
    assert (recipe.scorer.objective, recipe.loss, drawn(recipe).shape) == (
        Shifted(),
        losses.softmax,
        (3, 256),
    )
    assert recipe.log_expected is None
    recipe = made("bert4rec", negatives="uniform", loss="bce", num_negatives=1)
    assert not recipe.scorer.backbone.causal
    assert (recipe.scorer.objective, recipe.loss, drawn(recipe).shape) == (
        Masked(),
        losses.bce,
        (3, 1),
    )
    recipe = made("gru4rec", objective="last", loss="bpr", negatives="popular", num_negatives=4)
    assert type(recipe.scorer.backbone) is GRU
    assert (recipe.scorer.objective, recipe.loss, drawn(recipe).shape) == (
        Last(),
        losses.bpr,
        (3, 4),
    )
    recipe = made("sasrec", loss="lambdarank", negatives="catalogue")
    assert (recipe.scorer.objective, recipe.loss, drawn(recipe)) == (Shifted(), lambdarank, None)


def test_settings_of_an_axis_reach_it():
    recipe = made("bert4rec", mask_share=0.3, last_mask_share=0.4)
    assert recipe.scorer.objective == Masked(share=0.3, last_share=0.4)
    assert made("sasrec_rss", rss_power=2.0).scorer.objective == RecencySampled(power=2.0)
    in_batch = drawn(made("sasrec", negatives="in_batch", num_negatives=50))
    assert set(in_batch.flatten().tolist()) == {7, 8, 9}
    by_square = made(
        "sasrec", negatives="popular", popularity_power=2.0, num_items=2
    ).negatives.proposal
    assert by_square.log_q.exp().tolist() == [0, pytest.approx(0.2), pytest.approx(0.8)]
    kept = drawn(made("sasrec", num_negatives=500, reject_history=True, num_items=9))
    assert {1, 2, 7, 8} - set(kept[0].tolist()) == {
        1,
        2,
        8,
    }  # its own target stands for what was rejected


def test_logq_is_how_often_each_item_is_expected():
    recipe = made(
        "sasrec", loss="softmax", negatives="in_batch", num_negatives=3, logq=True, num_items=3
    )
    assert recipe.log_expected.exp().tolist() == [
        0,
        pytest.approx(0.5),
        pytest.approx(1),
        pytest.approx(1.5),
    ]


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        (
            "sasrec",
            {"objective": "masked"},
            "choose teacher.recipe=bert4rec, or teacher.objective=shifted",
        ),
        ("gru4rec", {"objective": "masked"}, "this backbone sees only what came before"),
        (
            "bert4rec",
            {"objective": "shifted"},
            "choose teacher.objective=masked, last or recency, or teacher.recipe=",
        ),
        (
            "sasrec",
            {"objective": "recency"},
            "choose teacher.negatives=catalogue, or teacher.objective=last",
        ),
        ("sasrec_rss", {"negatives": "popular"}, "and popular negatives are drawn for one item"),
        (
            "sasrec_softmax",
            {"loss": "gbce"},
            "choose teacher.loss=bce, or teacher.negatives=uniform",
        ),
        (
            "sasrec_softmax",
            {"negatives": "in_batch"},
            "how many in_batch negatives? Set teacher.num_negatives",
        ),
        (
            "sasrec",
            {"shared_negatives": "batch", "reject_history": True},
            "set teacher.shared_negatives=sequence",
        ),
    ],
)
def test_choices_that_do_not_fit_are_refused_with_a_way_out(name: str, changes: dict, message: str):
    with pytest.raises(ValueError, match=re.escape(message)):
        made(name, **changes)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        (
            "sasrec",
            {"mask_share": 0.3},
            "teacher.mask_share=0.3 counts only with objective masked, and here it is shift",
        ),
        (
            "sasrec",
            {"t": 0.5},
            "teacher.t=0.5 counts only with loss gbce, and here it is bce: choose"
            " teacher.loss=gbce",
        ),
        (
            "gru4rec",
            {"heads": 2},
            "backbone causal or bidirectional or tisasrec, and here it is gru: choose another",
        ),
        ("caser", {"blocks": 3}, "teacher.blocks=3 counts only with backbone"),
        (
            "sasrec_softmax",
            {"num_negatives": 9},
            "counts only with negatives uniform or popular or in_batch, and here",
        ),
        (
            "sasrec",
            {"logq": True},
            "teacher.logq=True counts only with loss softmax, and here it is bce",
        ),
        (
            "gsasrec",
            {"popularity_power": 0.5},
            "choose teacher.negatives=popular, or leave teacher.popularity_power out",
        ),
        ("sasrec", {"splits": 4}, "choose teacher.embedding=recjpq"),
        (
            "sasrec_rss",
            {"rss_power": 1.0, "rss_decay": 0.5},
            "teacher.rss_power replaces teacher.rss_decay",
        ),
    ],
)
def test_a_setting_that_nothing_reads_is_refused(name: str, changes: dict, message: str):
    with pytest.raises(ValueError, match=re.escape(message)):
        made(name, **changes)


def test_all_problems_are_told_at_once():
    with pytest.raises(ValueError, match="sasrec: the masked objective") as caught:
        made("sasrec", objective="masked", t=0.5, logq=True)
    assert len(str(caught.value).splitlines()) == 3


def test_every_setting_of_an_axis_is_a_setting():
    assert set(READERS) < set(TeacherSettings.model_fields)


def test_a_baseline_says_which_settings_change_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    split = leave_one_out(
        synthetic.chain(num_users=40, num_items=15, length=6, randomness=0.1, seed=0)
    )
    settings = TeacherSettings(recipe="popularity", epochs=3)
    train_scorer(split, settings, 0, CPU, tmp_path, quiet=True)
    assert (
        "warning: popularity has no settings of its own, so these change nothing: teacher.epochs=3"
        in (capsys.readouterr().err)
    )
    train_scorer(split, TeacherSettings(recipe="popularity"), 0, CPU, tmp_path, quiet=True)
    assert not capsys.readouterr().err


def test_negatives_that_need_counts_ask_for_them():
    settings = TeacherSettings(recipe="sasrec", negatives="popular")
    with pytest.raises(ValueError, match="popular negatives need the counts of training events"):
        build(9, settings, seed=0)


def test_sizes_come_from_the_settings():
    recipe = made(
        "sasrec", num_items=20, hidden_size=12, blocks=3, heads=2, max_length=6, dropout=0.25
    )
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
        ValueError,
        match=r"unknown recipe 'sasrek'; choose one of sasrec, .*bert4rec, .*tisasrec, popularity, markov",
    ):
        made("sasrek")


@pytest.mark.parametrize("name", ["als", "bpr", "fpmc"])
def test_the_seed_of_the_run_reaches_baselines_that_draw(name: str, tmp_path: Path):
    split = leave_one_out(
        synthetic.chain(num_users=40, num_items=15, length=6, randomness=0.1, seed=0)
    )
    history = Sequences.from_lists([[1, 2]])
    first, again, other = (
        train_scorer(split, TeacherSettings(recipe=name), seed, CPU, tmp_path, quiet=True).score(
            history
        )
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_folder_without_a_scorer(tmp_path: Path):
    with pytest.raises(RunError, match=r"scorer\.json does not exist"):
        load_scorer(tmp_path, CPU)


def test_training_ends_without_a_checkpoint_and_goes_on_from_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    split = leave_one_out(
        synthetic.chain(num_users=40, num_items=15, length=6, randomness=0.1, seed=0)
    )
    settings = TeacherSettings(
        hidden_size=8, blocks=1, max_length=5, epochs=4, evaluate_every=1, bf16=False
    )
    histories = Sequences.from_lists([[1, 2], [3]])
    expected = train_scorer(split, settings, 0, CPU, tmp_path / "whole", quiet=True).score(
        histories
    )
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
