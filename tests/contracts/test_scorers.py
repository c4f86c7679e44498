"""What every recipe and every baseline must keep."""

import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from genrec.config.reading import TeacherSettings
from genrec.data import Sequences, Split, leave_one_out, synthetic
from genrec.metrics.ranking import evaluate
from genrec.recipes import BASELINES, RECIPES, load_scorer, train_scorer
from genrec.recommender import Scorer, TopK

USERS, ITEMS, LENGTH = 240, 36, 12
CPU = torch.device("cpu")
NAMES = [*RECIPES, *BASELINES]
ORDER_FREE = {
    "popularity",
    "user_knn",
    "association_rules",
    "als",
    "bpr",
}  # sets of items are no chain
every_scorer = pytest.mark.parametrize("name", NAMES)
LISTS = [[5], [], [1, 2, 3], list(range(1, 31)), [7, 7, 9]]
HISTORIES = Sequences.from_lists(
    LISTS, times=[[60 * n * n for n in range(len(row))] for row in LISTS]
)
# One relevant item among those that a user has not seen: the mean NDCG@10 of random lists.
UNSEEN = ITEMS - (LENGTH - 1)
CHANCE = sum(1 / math.log2(rank + 1) for rank in range(1, 11)) / UNSEEN
GAINS = np.array([1 / math.log2(rank + 1) if rank <= 10 else 0.0 for rank in range(1, UNSEEN + 1)])
SPREAD = float(
    GAINS.std() / math.sqrt(USERS)
)  # standard deviation of that mean over the test users
# What a name needs to learn fast on 240 users; the number of negatives of the paper is for
# catalogues of thousands.
CHANGES = {
    "sasrec": {"epochs": 10},
    "gsasrec": {"num_negatives": 4, "epochs": 12},
    "bert4rec": {"epochs": 20},
    "sasrec_rss": {"epochs": 16},
}


@cache
def log(randomness: float) -> Split:
    return leave_one_out(
        synthetic.chain(
            num_users=USERS, num_items=ITEMS, length=LENGTH, randomness=randomness, seed=3
        )
    )


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


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory):
    """A scorer trained on the predictable chain and its folder, made once."""

    @cache
    def make(name: str) -> tuple[Scorer, Path]:
        folder = tmp_path_factory.mktemp(name)
        return train_scorer(
            log(0.05), settings(name), seed=0, device=CPU, folder=folder, quiet=True
        ), folder

    return make


def ndcg(scorer: Scorer, randomness: float) -> tuple[float, float]:
    split = log(randomness)
    means = evaluate(TopK(scorer), split.test, split.catalogue).means
    return means["ndcg@10"], means["recall@1"]


@every_scorer
def test_one_score_for_every_item_and_none_for_padding(name: str, trained) -> None:
    scorer, _ = trained(name)
    scores = scorer.score(HISTORIES)
    assert scorer.num_items == ITEMS
    assert scores.shape == (5, ITEMS + 1)
    assert scores.dtype == torch.float32
    assert not scores.requires_grad
    assert (scores[:, 0] == -torch.inf).all()
    assert scores[:, 1:].isfinite().all(), "seen items keep their scores too"


@every_scorer
def test_scoring_is_deterministic_and_its_result_is_the_callers_own(name: str, trained) -> None:
    scorer, _ = trained(name)
    first = scorer.score(HISTORIES)
    kept = first.clone()
    first.fill_(0)
    assert torch.equal(scorer.score(HISTORIES), kept)


@every_scorer
def test_scores_of_a_history_do_not_depend_on_its_batch(name: str, trained) -> None:
    scorer, _ = trained(name)
    together = scorer.score(HISTORIES)
    for n in range(len(HISTORIES)):
        torch.testing.assert_close(
            scorer.score(HISTORIES.take([n]))[0], together[n], atol=1e-4, rtol=1e-5
        )
    assert scorer.score(HISTORIES.take(np.arange(0))).shape == (0, ITEMS + 1)


@every_scorer
def test_saved_and_loaded_scores_are_the_same(name: str, trained) -> None:
    scorer, folder = trained(name)
    loaded = load_scorer(folder, CPU)
    assert type(loaded) is type(scorer)
    assert torch.equal(loaded.score(HISTORIES), scorer.score(HISTORIES))


@every_scorer
def test_a_folder_holds_no_pickle(name: str, trained) -> None:
    _, folder = trained(name)
    files = {path.name for path in folder.iterdir() if path.is_file()}
    assert (
        {"scorer.json", "scorer.safetensors"}
        <= files
        <= {"scorer.json", "scorer.safetensors", "metrics.jsonl"}
    )
    head = (folder / "scorer.safetensors").read_bytes()[:9]
    assert head[8:9] == b"{"  # 8 bytes of header length, then JSON


@every_scorer
def test_training_again_gives_the_same_scores(name: str, trained, tmp_path: Path) -> None:
    short = settings(name, epochs=2)
    pair = [
        train_scorer(
            log(0.05), short, seed=4, device=CPU, folder=tmp_path / part, quiet=True
        ).score(HISTORIES)
        for part in ("a", "b")
    ]
    assert torch.equal(*pair)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ORDER_FREE])
def test_a_predictable_chain_is_learnt(name: str, trained) -> None:
    gain, first = ndcg(trained(name)[0], 0.05)
    assert gain > 3 * CHANCE
    assert first > 0.5


@pytest.mark.parametrize("block", ["sasrec", "ligr"])
def test_other_transformer_blocks_learn_the_chain(block: str, tmp_path: Path) -> None:
    chosen = settings("sasrec_softmax", block=block)
    gain, first = ndcg(
        train_scorer(log(0.05), chosen, seed=0, device=CPU, folder=tmp_path, quiet=True), 0.05
    )
    assert gain > 3 * CHANCE
    assert first > 0.5


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
    for randomness in (0.05, 1.0):
        chosen = settings(**{"name": given["recipe"], **given})
        folder = tmp_path / str(randomness)
        scorer = train_scorer(
            log(randomness), chosen, seed=0, device=CPU, folder=folder, quiet=True
        )
        gain, first = ndcg(scorer, randomness)
        if randomness == 1:
            assert gain < CHANCE + 4 * SPREAD
        else:
            assert gain > 3 * CHANCE
            assert first > 0.5


@every_scorer
def test_noise_stays_noise(name: str, tmp_path: Path) -> None:
    scorer = train_scorer(log(1.0), settings(name), seed=0, device=CPU, folder=tmp_path, quiet=True)
    assert ndcg(scorer, 1.0)[0] < CHANCE + 4 * SPREAD
