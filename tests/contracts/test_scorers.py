"""What every recipe and every baseline must keep."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from genrec.data import Split
from genrec.pipeline.teachers import BASELINES, load_scorer, train_scorer
from genrec.recipes import PRESETS, Teacher, recipe
from genrec.recommender import Ranker, Scorer, TopK
from genrec.testing import (
    SCORER_CHECKS,
    chain_split,
    check_learns_chain,
    check_ranker,
    check_recommender,
    check_saved_scorer,
    check_stays_at_chance,
    example_histories,
)
from genrec.training.checkpoint import CHECKPOINT

ITEMS, LENGTH = 36, 12  # of chain_split
CPU = torch.device("cpu")
NAMES = [*PRESETS, *BASELINES]
# These treat a history as a set of items and cannot learn a chain.
ORDER_FREE = {"popularity", "user_knn", "association_rules", "als", "bpr"}
every_scorer = pytest.mark.parametrize("name", NAMES)
HISTORIES = example_histories()
# What a recipe needs to learn fast from 240 users; the 256 negatives of gSASRec's paper are for
# catalogues of thousands of items.
CHANGES: dict[str, dict[str, Any]] = {
    "sasrec": {"epochs": 10},
    "gsasrec": {"negatives": {"count": 4}, "epochs": 12},
    "bert4rec": {"epochs": 20},
    "sasrec_rss": {"epochs": 16},
}
ONE_LAYER = {"gru4rec": {"layers": 1}, "caser": {}}  # of a backbone without transformer blocks


def config_of(name: str, **changes: Any) -> Teacher:
    """A small model of that name; a baseline with its defaults."""
    if name in BASELINES:
        return recipe(name)
    small = {
        "hidden_size": 32,
        "backbone": ONE_LAYER.get(name, {"blocks": 1}),
        "max_length": LENGTH - 1,
        "dropout": 0.0,
        "epochs": 8,
        "learning_rate": 1e-2,
        "tokens_per_step": 256,
        "evaluate_every": 4,
    }
    return recipe(name, **{**small, **CHANGES.get(name, {}), **changes})


def fitted(config: Teacher, directory: Path) -> Callable[[Split], Scorer]:
    """A function that trains a scorer in a directory."""

    def fit(split: Split) -> Scorer:
        return train_scorer(split, config, seed=0, device=CPU, directory=directory, quiet=True)

    return fit


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory):
    """A scorer that was trained once on the predictable chain, and its directory."""

    @cache
    def make(name: str) -> tuple[Scorer, Path]:
        directory = tmp_path_factory.mktemp(name)
        return fitted(config_of(name), directory)(chain_split()), directory

    return make


@every_scorer
@pytest.mark.parametrize("check", SCORER_CHECKS)
def test_the_contract(name: str, check: str, trained) -> None:
    scorer, _ = trained(name)
    assert scorer.num_items == ITEMS
    SCORER_CHECKS[check](scorer, HISTORIES)


@every_scorer
def test_best_items_and_lists(name: str, trained) -> None:
    scorer, _ = trained(name)
    if isinstance(scorer, Ranker):
        check_ranker(scorer)
    check_recommender(TopK(scorer), ITEMS)


@every_scorer
def test_saved_and_loaded_scores_are_the_same(name: str, trained) -> None:
    scorer, directory = trained(name)
    check_saved_scorer(scorer, directory, lambda place: load_scorer(place, CPU))
    files = {path.name for path in directory.iterdir() if path.is_file()}
    assert files - {"metrics.jsonl", CHECKPOINT} == {"scorer.json", "scorer.safetensors"}
    head = (directory / "scorer.safetensors").read_bytes()[:9]
    assert head[8:9] == b"{"  # 8 bytes of header length, then JSON


@every_scorer
def test_training_again_gives_the_same_scores(name: str, trained, tmp_path: Path) -> None:
    short = config_of(name, epochs=2)
    first, again = (
        train_scorer(
            chain_split(), short, seed=4, device=CPU, directory=tmp_path / part, quiet=True
        )
        for part in ("a", "b")
    )
    assert torch.equal(first.score(HISTORIES), again.score(HISTORIES))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ORDER_FREE])
def test_a_predictable_chain_is_learnt(name: str, trained) -> None:
    check_learns_chain(lambda split: trained(name)[0])


@pytest.mark.parametrize("block", ["sasrec", "ligr"])
def test_other_transformer_blocks_learn_the_chain(block: str, tmp_path: Path) -> None:
    config = config_of("sasrec_softmax", backbone={"blocks": 1, "block": block})
    check_learns_chain(fitted(config, tmp_path))


COMBINATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "sampled softmax": ("sasrec", {"loss": "softmax", "negatives": {"count": 8}}),
    "logq, popular": (
        "sasrec",
        {
            "loss": {"name": "softmax", "logq": True},
            "negatives": {"name": "popular", "count": 8, "power": 0.5, "shared": "batch"},
        },
    ),
    "logq, in batch": (
        "sasrec",
        {
            "loss": {"name": "softmax", "logq": True},
            "negatives": {"name": "in_batch", "count": 8, "shared": "batch"},
        },
    ),
    "a sequence's negatives": (
        "gsasrec",
        {"negatives": {"count": 8, "shared": "sequence", "reject_history": True}},
    ),
    "bpr": ("gru4rec", {"loss": "bpr", "negatives": {"name": "uniform", "count": 8}}),
    "lambdarank": ("sasrec", {"loss": "lambdarank", "negatives": "catalogue"}),
    "encoder with sampling": (
        "bert4rec",
        {"negatives": {"name": "uniform", "count": 16}, "epochs": 24},
    ),
    "encoder, last": ("bert4rec", {"objective": "last", "epochs": 24}),
    "power of recency": (
        "gru4rec",
        {"objective": {"name": "recency", "power": 8.0}, "epochs": 16},
    ),
}


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_combinations_learn_the_chain_and_no_noise(combination: str, tmp_path: Path) -> None:
    name, changes = COMBINATIONS[combination]
    config = config_of(name, **changes)
    check_learns_chain(fitted(config, tmp_path / "chain"))
    check_stays_at_chance(fitted(config, tmp_path / "noise"))


@every_scorer
def test_noise_is_not_learnt(name: str, tmp_path: Path) -> None:
    check_stays_at_chance(fitted(config_of(name), tmp_path))
