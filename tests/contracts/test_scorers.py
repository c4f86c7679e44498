"""What every recipe and every baseline must keep."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch

from genrec.config.reading import TeacherSettings
from genrec.data import Split
from genrec.recipes import BASELINES, RECIPES, load_scorer, train_scorer
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

ITEMS, LENGTH = 36, 12  # of chain_split
CPU = torch.device("cpu")
NAMES = [*RECIPES, *BASELINES]
# These treat a history as a set of items and cannot learn a chain.
ORDER_FREE = {"popularity", "user_knn", "association_rules", "als", "bpr"}
every_scorer = pytest.mark.parametrize("name", NAMES)
HISTORIES = example_histories()
# What a name needs to learn fast on 240 users; the number of negatives of the paper is for
# catalogues of thousands.
CHANGES = {
    "sasrec": {"epochs": 10},
    "gsasrec": {"num_negatives": 4, "epochs": 12},
    "bert4rec": {"epochs": 20},
    "sasrec_rss": {"epochs": 16},
}


def settings(name: str, **changes: object) -> TeacherSettings:
    if name in BASELINES:
        return TeacherSettings(recipe=name)
    small = {
        "recipe": name,
        "hidden_size": 32,
        "blocks": 1,
        "max_length": LENGTH - 1,
        "dropout": 0.0,
        "epochs": 8,
        "learning_rate": 1e-2,
        "tokens_per_step": 256,
        "evaluate_every": 4,
    }
    if name == "caser":
        del small["blocks"]
    return TeacherSettings.model_validate(small | CHANGES.get(name, {}) | changes)


def fitted(chosen: TeacherSettings, folder: Path) -> Callable[[Split], Scorer]:
    """A function that trains a scorer in ``folder``."""

    def fit(split: Split) -> Scorer:
        return train_scorer(split, chosen, seed=0, device=CPU, folder=folder, quiet=True)

    return fit


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory):
    """A scorer trained on the predictable chain and its folder, made once."""

    @cache
    def make(name: str) -> tuple[Scorer, Path]:
        folder = tmp_path_factory.mktemp(name)
        return fitted(settings(name), folder)(chain_split()), folder

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
    scorer, folder = trained(name)
    check_saved_scorer(scorer, folder, lambda directory: load_scorer(directory, CPU))
    files = {path.name for path in folder.iterdir() if path.is_file()}
    assert files - {"metrics.jsonl"} == {"scorer.json", "scorer.safetensors"}
    head = (folder / "scorer.safetensors").read_bytes()[:9]
    assert head[8:9] == b"{"  # 8 bytes of header length, then JSON


@every_scorer
def test_training_again_gives_the_same_scores(name: str, trained, tmp_path: Path) -> None:
    short = settings(name, epochs=2)
    pair = [
        train_scorer(
            chain_split(), short, seed=4, device=CPU, folder=tmp_path / part, quiet=True
        ).score(HISTORIES)
        for part in ("a", "b")
    ]
    assert torch.equal(*pair)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ORDER_FREE])
def test_a_predictable_chain_is_learnt(name: str, trained) -> None:
    check_learns_chain(lambda split: trained(name)[0])


@pytest.mark.parametrize("block", ["sasrec", "ligr"])
def test_other_transformer_blocks_learn_the_chain(block: str, tmp_path: Path) -> None:
    check_learns_chain(fitted(settings("sasrec_softmax", block=block), tmp_path))


COMBINATIONS = {
    "sampled softmax": {"recipe": "sasrec", "loss": "softmax", "num_negatives": 8},
    "logq, popular": {
        **{
            "recipe": "sasrec",
            "loss": "softmax",
            "negatives": "popular",
            "num_negatives": 8,
            "logq": True,
        },
        **{"popularity_power": 0.5, "shared_negatives": "batch"},
    },
    "logq, in batch": {
        **{
            "recipe": "sasrec",
            "loss": "softmax",
            "negatives": "in_batch",
            "num_negatives": 8,
            "logq": True,
        },
        **{"shared_negatives": "batch"},
    },
    "a sequence's negatives": {
        **{
            "recipe": "gsasrec",
            "num_negatives": 8,
            "shared_negatives": "sequence",
            "reject_history": True,
        }
    },
    "bpr": {"recipe": "gru4rec", "negatives": "uniform", "num_negatives": 8, "loss": "bpr"},
    "lambdarank": {"recipe": "sasrec", "negatives": "catalogue", "loss": "lambdarank"},
    "encoder with sampling": {
        **{"recipe": "bert4rec", "negatives": "uniform", "num_negatives": 16, "epochs": 24}
    },
    "encoder, last": {"recipe": "bert4rec", "objective": "last", "epochs": 24},
    "power of recency": {
        "recipe": "gru4rec",
        "objective": "recency",
        "rss_power": 8.0,
        "epochs": 16,
    },
}


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_combinations_learn_the_chain_and_no_noise(combination: str, tmp_path: Path) -> None:
    given = COMBINATIONS[combination]
    chosen = settings(**{"name": given["recipe"], **given})
    check_learns_chain(fitted(chosen, tmp_path / "chain"))
    check_stays_at_chance(fitted(chosen, tmp_path / "noise"))


@every_scorer
def test_noise_is_not_learnt(name: str, tmp_path: Path) -> None:
    check_stays_at_chance(fitted(settings(name), tmp_path))
