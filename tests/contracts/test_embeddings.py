"""What every recipe must keep with item vectors that are put together from shared pieces."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from genrec.baselines import BPR
from genrec.config.reading import TeacherSettings
from genrec.data import Sequences
from genrec.models.codes import factor_codes, feature_codes, svd_codes
from genrec.models.quantized import JointQuantized
from genrec.models.scorer import NeuralScorer
from genrec.recipes import RECIPES, build, load_scorer, train_scorer
from genrec.recommender import TopK
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


def settings(name: str = "sasrec_softmax", **changes: object) -> TeacherSettings:
    small = {
        "recipe": name,
        "embedding": "recjpq",
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
        del small["blocks"]  # it has none
    return TeacherSettings.model_validate(small | changes)


def embedding_of(scorer: object) -> JointQuantized:
    assert isinstance(scorer, NeuralScorer)
    assert isinstance(scorer.embedding, JointQuantized)
    return scorer.embedding


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_trains_saves_and_loads(name: str, tmp_path: Path) -> None:
    scorer = train_scorer(SPLIT, settings(name, epochs=1, splits=4), 0, CPU, tmp_path, quiet=True)
    made, loaded = embedding_of(scorer), load_scorer(tmp_path, CPU)
    assert made.codes.shape == (ITEMS + 1, 4)
    assert torch.equal(embedding_of(loaded).codes, made.codes)
    assert torch.equal(loaded.score(HISTORIES), scorer.score(HISTORIES))
    assert not torch.equal(made.centroids, build_centroids(name)), "the pieces were not trained"


def build_centroids(name: str) -> torch.Tensor:
    return embedding_of(build(ITEMS, settings(name, splits=4), seed=0).scorer).centroids


def test_a_predictable_chain_is_learnt(tmp_path: Path) -> None:
    check_learns_chain(lambda split: train_scorer(split, settings(), 0, CPU, tmp_path, quiet=True))


def test_the_contracts_of_scorers_rankers_and_saving(tmp_path: Path) -> None:
    scorer = train_scorer(SPLIT, settings(epochs=1), 0, CPU, tmp_path, quiet=True)
    check_scorer(scorer, HISTORIES)
    check_ranker(scorer, HISTORIES, k=20)
    check_saved_scorer(scorer, tmp_path, lambda directory: load_scorer(directory, CPU))


def test_codes_come_from_the_training_sequences_or_from_the_seed(tmp_path: Path) -> None:
    svd = train_scorer(SPLIT, settings(epochs=1), 5, CPU, tmp_path / "svd", quiet=True)
    assert (
        embedding_of(svd).codes.tolist() == svd_codes(SPLIT.train, ITEMS, splits=8, seed=5).tolist()
    )
    drawn = settings(epochs=1, codes="random")
    random = train_scorer(SPLIT, drawn, 5, CPU, tmp_path / "random", quiet=True)
    assert torch.equal(
        embedding_of(random).codes, embedding_of(build(ITEMS, drawn, seed=5).scorer).codes
    )


def test_codes_come_from_item_vectors_or_from_features(tmp_path: Path) -> None:
    bpr = train_scorer(SPLIT, settings(epochs=1, codes="bpr"), 5, CPU, tmp_path / "bpr", quiet=True)
    factors = BPR.fit(SPLIT, hidden_size=8, epochs=20, seed=5).factors[1:]
    assert (
        embedding_of(bpr).codes.tolist() == factor_codes(factors, np.random.default_rng(5)).tolist()
    )

    genres = np.zeros((ITEMS + 1, 6), bool)
    genres[np.arange(1, ITEMS + 1), np.arange(ITEMS) % 6] = True
    known = replace(SPLIT, catalogue=replace(SPLIT.catalogue, features=genres))
    featured = train_scorer(
        known, settings(epochs=1, codes="features"), 5, CPU, tmp_path / "features", quiet=True
    )
    assert embedding_of(featured).codes.tolist() == feature_codes(genres, splits=8, seed=5).tolist()
    with pytest.raises(ValueError, match="codes=features needs features of items"):
        train_scorer(SPLIT, settings(codes="features"), 5, CPU, tmp_path / "none", quiet=True)


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
    scorer = build(5000, settings(ranking=ranking), seed=0).scorer
    made, rng = embedding_of(scorer), np.random.default_rng(0)
    with torch.no_grad():
        made.centroids.normal_(generator=torch.Generator().manual_seed(0))
        if tied:  # 2 different sub-items in 2 splits: a handful of scores among 5,000 items
            made.codes %= 2
            made.centroids[2:] = 0
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
    trained = train_scorer(
        SPLIT, settings(epochs=1, ranking="pruned"), 0, CPU, tmp_path, quiet=True
    )
    assert embedding_of(trained).pruned
    assert embedding_of(load_scorer(tmp_path, CPU)).pruned
    assert not embedding_of(build(ITEMS, settings(), seed=0).scorer).pruned


def test_a_checkpoint_of_a_million_items_is_a_sixtieth_of_a_dense_one(tmp_path: Path) -> None:
    """Every item adds m = 8 bytes to the file, 4·D = 2,048 bytes to that of a table; the rest does
    not grow."""

    def file_size(num_items: int, embedding: str) -> int:
        large = settings(embedding=embedding, hidden_size=512, blocks=2, max_length=200)
        path = tmp_path / "scorer.safetensors"
        save_tensors(path, build(num_items, large, seed=0).scorer.state_dict())
        return path.stat().st_size

    def of_a_million(embedding: str) -> tuple[float, float]:
        small, large = file_size(1000, embedding), file_size(3000, embedding)
        an_item = (large - small) / 2000
        return an_item, large + (1_000_000 - 3000) * an_item

    dense, quantized = of_a_million("table"), of_a_million("recjpq")
    assert dense[0] == pytest.approx(2048, abs=0.1)  # the header is padded to 8 bytes
    assert quantized[0] == pytest.approx(8, abs=0.1)
    assert dense[1] / quantized[1] == pytest.approx(60.7, abs=0.5)  # 2.07 GB against 34 MB
