"""What every recipe must keep with item vectors that are composed of shared sub-items."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from genrec.baselines import BPR
from genrec.data import Sequences, Split
from genrec.models.build import build_scorer
from genrec.models.codes import factor_codes, feature_codes, svd_codes
from genrec.models.quantized import JointQuantized
from genrec.models.scorer import NeuralScorer
from genrec.pipeline.teachers import load_scorer, train_scorer
from genrec.recipes import PRESETS, NeuralTeacher, recipe
from genrec.recommender import Scorer, TopK
from genrec.testing import (
    chain_split,
    check_learns_chain,
    check_ranker,
    check_saved_scorer,
    check_scorer,
)
from genrec.training.checkpoint import save_tensors

CPU = torch.device("cpu")
ITEMS, LENGTH = 36, 12
SPLIT = chain_split()
HISTORIES = Sequences.from_lists(
    [[5], [], [1, 2, 3], [7, 7, 9]], times=[[9], [], [60, 240, 240], [0, 60, 540]]
)
ONE_LAYER = {"gru4rec": {"layers": 1}, "caser": {}}  # of a backbone without transformer blocks


def config_of(
    name: str = "sasrec_softmax", *, embedding: dict[str, Any] | None = None, **changes: Any
) -> NeuralTeacher:
    """A small model of that name with RecJPQ, whose settings are in ``embedding``."""
    small = {
        "embedding": {"name": "recjpq", **(embedding or {})},
        "hidden_size": 32,
        "backbone": ONE_LAYER.get(name, {"blocks": 1}),
        "max_length": LENGTH - 1,
        "dropout": 0.0,
        "epochs": 8,
        "learning_rate": 1e-2,
        "tokens_per_step": 256,
        "evaluate_every": 4,
    }
    config = recipe(name, **{**small, **changes})
    assert isinstance(config, NeuralTeacher)
    return config


def trained(
    config: NeuralTeacher, directory: Path, *, split: Split = SPLIT, seed: int = 0
) -> Scorer:
    return train_scorer(split, config, seed=seed, device=CPU, directory=directory, quiet=True)


def untrained(config: NeuralTeacher, *, num_items: int = ITEMS, seed: int = 0) -> NeuralScorer:
    return build_scorer(config, num_items=num_items, seed=seed)


def embedding_of(scorer: Scorer) -> JointQuantized:
    assert isinstance(scorer, NeuralScorer)
    assert isinstance(scorer.embedding, JointQuantized)
    return scorer.embedding


@pytest.mark.parametrize("name", PRESETS)
def test_every_recipe_trains_saves_and_loads(name: str, tmp_path: Path) -> None:
    config = config_of(name, epochs=1, embedding={"splits": 4})
    scorer = trained(config, tmp_path)
    embedding, loaded = embedding_of(scorer), load_scorer(tmp_path, CPU)
    assert embedding.codes.shape == (ITEMS + 1, 4)
    assert torch.equal(embedding_of(loaded).codes, embedding.codes)
    assert torch.equal(loaded.score(HISTORIES), scorer.score(HISTORIES))
    initial = embedding_of(untrained(config)).centroids
    assert not torch.equal(embedding.centroids, initial), "the sub-items were not trained"


def test_a_predictable_chain_is_learnt(tmp_path: Path) -> None:
    check_learns_chain(lambda split: trained(config_of(), tmp_path, split=split))


def test_the_contracts_of_scorers_rankers_and_saving(tmp_path: Path) -> None:
    scorer = trained(config_of(epochs=1), tmp_path)
    check_scorer(scorer, HISTORIES)
    check_ranker(scorer, HISTORIES, k=20)
    check_saved_scorer(scorer, tmp_path, lambda directory: load_scorer(directory, CPU))


def test_codes_come_from_the_training_sequences_or_from_the_seed(tmp_path: Path) -> None:
    svd = embedding_of(trained(config_of(epochs=1), tmp_path / "svd", seed=5))
    assert svd.codes.tolist() == svd_codes(SPLIT.train, ITEMS, splits=8, seed=5).tolist()
    config = config_of(epochs=1, embedding={"codes": "random"})
    random = embedding_of(trained(config, tmp_path / "random", seed=5))
    assert torch.equal(random.codes, embedding_of(untrained(config, seed=5)).codes)


def test_codes_come_from_item_vectors_or_from_features(tmp_path: Path) -> None:
    config = config_of(epochs=1, embedding={"codes": "bpr"})
    bpr = embedding_of(trained(config, tmp_path / "bpr", seed=5))
    vectors = BPR.fit(SPLIT, factors=8, epochs=20, seed=5).item_vectors[1:]
    assert bpr.codes.tolist() == factor_codes(vectors, np.random.default_rng(5)).tolist()

    genres = np.zeros((ITEMS + 1, 6), bool)
    genres[np.arange(1, ITEMS + 1), np.arange(ITEMS) % 6] = True
    known = replace(SPLIT, catalogue=replace(SPLIT.catalogue, features=genres))
    config = config_of(epochs=1, embedding={"codes": "features"})
    featured = embedding_of(trained(config, tmp_path / "features", split=known, seed=5))
    assert featured.codes.tolist() == feature_codes(genres, splits=8, seed=5).tolist()
    with pytest.raises(ValueError, match="codes=features needs features of items"):
        trained(config, tmp_path / "none", seed=5)


@dataclass(frozen=True)
class Scores:
    """A scorer that shows its scores only: lists come from a table of all of them."""

    scorer: NeuralScorer

    @property
    def num_items(self) -> int:
        return self.scorer.num_items

    def score(self, histories: Sequences) -> torch.Tensor:
        return self.scorer.score(histories)


@pytest.mark.parametrize("ranking", ["pqtopk", "pruned"])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("batch_size", [1, 7, 512])
def test_lists_are_those_of_a_table_of_scores(ranking: str, tied: bool, batch_size: int) -> None:
    scorer = untrained(config_of(embedding={"ranking": ranking}), num_items=5000)
    embedding, rng = embedding_of(scorer), np.random.default_rng(0)
    with torch.no_grad():
        embedding.centroids.normal_(generator=torch.Generator().manual_seed(0))
        if tied:  # 2 different sub-items in 2 splits: a handful of scores among 5,000 items
            embedding.codes %= 2
            embedding.centroids[2:] = 0
    favourites = TopK(Scores(scorer)).recommend(
        Sequences.from_lists([[n] for n in range(1, 20)]), 40
    )
    seen = [
        [*rng.permutation(row[: rng.integers(40)]), n] for n, row in enumerate(favourites, start=1)
    ]
    histories = Sequences.from_lists([*seen, [], rng.integers(1, 5001, 3000)])
    slates, scores = TopK(scorer, batch_size).candidates(histories, 20)
    expected = TopK(Scores(scorer), batch_size).candidates(histories, 20)
    np.testing.assert_array_equal(slates, expected[0])
    np.testing.assert_array_equal(scores, expected[1])
    assert all(not set(slate) & set(histories[n].tolist()) for n, slate in enumerate(slates))
    if tied:
        assert (scores[:, 1:] == scores[:, :-1]).mean() > 0.9


def test_the_ranking_of_a_run_is_kept(tmp_path: Path) -> None:
    config = config_of(epochs=1, embedding={"ranking": "pruned"})
    assert embedding_of(trained(config, tmp_path)).pruned
    assert embedding_of(load_scorer(tmp_path, CPU)).pruned
    assert not embedding_of(untrained(config_of())).pruned


def test_a_checkpoint_of_a_million_items_is_a_sixtieth_of_a_dense_one(tmp_path: Path) -> None:
    """Each item adds m = 8 bytes to the file, and 4·D = 2,048 bytes to that of a table.

    The rest does not grow.
    """

    def file_size(num_items: int, name: str) -> int:
        config = config_of(
            embedding={"name": name}, hidden_size=512, backbone={"blocks": 2}, max_length=200
        )
        path = tmp_path / "scorer.safetensors"
        save_tensors(path, untrained(config, num_items=num_items).state_dict())
        return path.stat().st_size

    def of_a_million(name: str) -> tuple[float, float]:
        small, large = file_size(1000, name), file_size(3000, name)
        per_item = (large - small) / 2000
        return per_item, large + (1_000_000 - 3000) * per_item

    dense, quantized = of_a_million("table"), of_a_million("recjpq")
    assert dense[0] == pytest.approx(2048, abs=0.1)  # the header is padded to 8 bytes
    assert quantized[0] == pytest.approx(8, abs=0.1)
    assert dense[1] / quantized[1] == pytest.approx(60.7, abs=0.5)  # 2.07 GB against 34 MB
