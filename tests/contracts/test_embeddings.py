"""What every recipe must keep with item vectors that are put together from shared pieces."""

from pathlib import Path

import numpy as np
import pytest
import torch

from genrec.config import TeacherSettings
from genrec.data import Sequences, leave_one_out, synthetic
from genrec.metrics import evaluate
from genrec.models.codes import svd_codes
from genrec.models.quantized import JointQuantized
from genrec.models.scorer import NeuralScorer
from genrec.recipes import RECIPES, build, load_scorer, train_scorer
from genrec.recommender import TopK

CPU = torch.device("cpu")
ITEMS, LENGTH = 36, 12
SPLIT = leave_one_out(synthetic.chain(240, ITEMS, LENGTH, 0.05, seed=3))
HISTORIES = Sequences.from_lists([[5], [], [1, 2, 3], [7, 7, 9]])


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
    scorer = train_scorer(SPLIT, settings(), 0, CPU, tmp_path, quiet=True)
    assert evaluate(TopK(scorer), SPLIT.test, SPLIT.catalogue).means["recall@1"] > 0.5


def test_scores_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    scorer = train_scorer(SPLIT, settings(epochs=1), 0, CPU, tmp_path, quiet=True)
    together = scorer.score(HISTORIES)
    assert (together[:, 0] == -torch.inf).all()
    for n in range(len(HISTORIES)):
        torch.testing.assert_close(scorer.score(HISTORIES.take([n]))[0], together[n], atol=1e-4, rtol=1e-5)
    assert scorer.score(HISTORIES.take(np.arange(0))).shape == (0, ITEMS + 1)


def test_codes_come_from_the_training_sequences_or_from_the_seed(tmp_path: Path) -> None:
    svd = train_scorer(SPLIT, settings(epochs=1), 5, CPU, tmp_path / "svd", quiet=True)
    assert embedding_of(svd).codes.tolist() == svd_codes(SPLIT.train, ITEMS, 8, seed=5).tolist()
    drawn = settings(epochs=1, codes="random")
    random = train_scorer(SPLIT, drawn, 5, CPU, tmp_path / "random", quiet=True)
    assert torch.equal(embedding_of(random).codes, embedding_of(build(ITEMS, drawn, seed=5).scorer).codes)
