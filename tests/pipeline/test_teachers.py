"""Teachers of every kind: trained from settings into a directory, and loaded from it."""

import re
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from genrec.baselines.als import ALS
from genrec.baselines.bpr import BPR
from genrec.baselines.fpmc import FPMC
from genrec.baselines.item_knn import ItemKNN
from genrec.baselines.linear import EASE, SLIM
from genrec.config.errors import ConfigError, GenrecError, RunError
from genrec.data import Sequences, Split, leave_one_out, synthetic
from genrec.models.scorer import NeuralScorer, Recipe
from genrec.pipeline import teachers
from genrec.pipeline.teachers import BASELINES, RANDOM, load_scorer, train_scorer
from genrec.recipes import PRESETS, NeuralTeacher, Teacher, recipe
from genrec.recommender import Scorer
from genrec.training.checkpoint import CHECKPOINT
from genrec.training.run_directory import read_json

CPU = torch.device("cpu")
HISTORIES = Sequences.from_lists([[1, 2], [3]])


@pytest.fixture(scope="module")
def split() -> Split:
    return leave_one_out(
        synthetic.chain(num_users=40, num_items=15, length=6, randomness=0.1, seed=0)
    )


def trained(split: Split, config: Teacher, directory: Path, *, seed: int = 0) -> Scorer:
    return train_scorer(split, config, seed=seed, device=CPU, directory=directory, quiet=True)


# Names


def test_names():
    transformers = ["sasrec", "sasrec_softmax", "gsasrec", "bert4rec", "sasrec_rss"]
    others = ["gru4rec", "caser", "nextitnet", "tisasrec", "sasrec_counts"]
    assert list(PRESETS) == [*transformers, *others]
    assert list(BASELINES) == [
        *("popularity", "markov", "sequential_rules", "item_knn", "ease", "slim"),
        *("user_knn", "association_rules", "als", "bpr", "fpmc"),
    ]
    assert get_args(NeuralTeacher.model_fields["recipe"].annotation) == tuple(PRESETS)


def test_an_unknown_recipe_lists_all_names():
    names = ", ".join([*PRESETS, *BASELINES])
    with pytest.raises(ConfigError, match=f"'sasrek': unknown.* Choose one of {names}"):
        recipe("sasrek")


# Neural scorers


def test_a_neural_scorer_keeps_its_config_and_its_offset(split: Split, tmp_path: Path):
    config = recipe(
        "gsasrec", hidden_size=8, epochs=1, negatives={"count": 4}, loss={"t": 0.5}, max_length=10
    )
    scorer = trained(split, config, tmp_path)
    assert isinstance(scorer, NeuralScorer)
    content = read_json(tmp_path / "scorer.json")
    assert (content["kind"], content["num_items"]) == ("neural", 15)
    assert recipe(content["config"].pop("recipe"), **content["config"]) == config
    loaded = load_scorer(tmp_path, CPU)
    assert loaded.score_offset == content["score_offset"] == scorer.score_offset < 0
    assert not loaded.training
    assert torch.equal(loaded.score(HISTORIES), scorer.score(HISTORIES))


def test_a_training_that_was_cut_off_resumes_from_its_checkpoint(
    split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config = recipe(
        "sasrec_softmax",
        hidden_size=8,
        backbone={"blocks": 1},
        max_length=5,
        epochs=4,
        evaluate_every=1,
        bf16=False,
    )
    expected = trained(split, config, tmp_path / "whole").score(HISTORIES)

    fit = teachers.fit

    def cut_off(model: Recipe, *given: Any, **options: Any) -> None:
        fit(model, *given, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(teachers, "fit", cut_off)
    with pytest.raises(KeyboardInterrupt):
        trained(split, config, tmp_path / "cut")
    assert (tmp_path / "cut" / CHECKPOINT).exists()
    assert not (tmp_path / "cut" / "scorer.json").exists()
    monkeypatch.setattr(teachers, "fit", fit)
    again = trained(split, config, tmp_path / "cut")
    torch.testing.assert_close(again.score(HISTORIES), expected, rtol=0, atol=0)


def test_a_directory_without_a_scorer(tmp_path: Path):
    with pytest.raises(RunError, match=r"scorer\.json does not exist"):
        load_scorer(tmp_path, CPU)


# Baselines


@pytest.mark.parametrize("name", ["als", "bpr", "fpmc"])
def test_the_seed_of_the_run_reaches_baselines_that_draw(name: str, split: Split, tmp_path: Path):
    history = Sequences.from_lists([[1, 2]])
    first, again, other = (
        trained(split, recipe(name), tmp_path, seed=seed).score(history) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("als", {"factors": 5, "alpha": 2.0, "iterations": 3}, ALS),
        ("bpr", {"factors": 5, "epochs": 2, "learning_rate": 0.02}, BPR),
        ("fpmc", {"factors": 5, "epochs": 2, "negatives": 9}, FPMC),
        ("item_knn", {"neighbours": 3, "shrinkage": 2.0, "decay": 0.5}, ItemKNN),
        ("ease", {"regularisation": 7.0, "decay": 0.5}, EASE),
        ("slim", {"l1": 0.5, "l2": 2.0, "decay": 0.5}, SLIM),
    ],
)
def test_settings_of_a_baseline_reach_it_and_are_kept(
    name: str, changes: dict[str, Any], expected: Any, split: Split, tmp_path: Path
):
    """The scorer is the one that the same arguments give in Python, not that of the defaults."""
    scores = trained(split, recipe(name, **changes), tmp_path, seed=3).score(HISTORIES)
    seed = {"seed": 3} if name in RANDOM else {}
    assert torch.equal(scores, expected.fit(split, **changes, **seed).score(HISTORIES))
    assert not torch.equal(scores, expected.fit(split, **seed).score(HISTORIES))
    assert torch.equal(load_scorer(tmp_path, CPU).score(HISTORIES), scores)


@pytest.mark.parametrize("name", BASELINES)
def test_defaults_of_the_settings_are_those_of_the_baseline(
    name: str, split: Split, tmp_path: Path
):
    scores = trained(split, recipe(name), tmp_path).score(HISTORIES)
    assert torch.equal(scores, BASELINES[name].fit(split).score(HISTORIES))


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_refuses_settings_that_it_does_not_have(name: str):
    with pytest.raises(ConfigError, match=rf"unknown setting teacher\.hidden_size of {name}\b"):
        recipe(name, hidden_size=32)


# Scorers of the user's own

SOURCE = """
import json

import torch


class Constant:
    \"\"\"Scores every item by its number times a factor.\"\"\"

    def __init__(self, num_items, factor):
        self.num_items, self.factor = num_items, factor

    @classmethod
    def fit(cls, split, *, factor=1.0):
        return cls(split.catalogue.num_items, factor)

    def score(self, histories):
        scores = self.factor * torch.arange(self.num_items + 1).float().repeat(len(histories), 1)
        scores[:, 0] = -torch.inf
        return scores

    def save(self, directory):
        content = {"num_items": self.num_items, "factor": self.factor}
        (directory / "constant.json").write_text(json.dumps(content))

    @classmethod
    def load(cls, directory):
        return cls(**json.loads((directory / "constant.json").read_text()))


class NoLoad:
    @classmethod
    def fit(cls, split):
        raise AssertionError("this is never called")
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(SOURCE)
    return path


def test_an_own_scorer_is_trained_saved_and_loaded(source: Path, split: Split, tmp_path: Path):
    run = tmp_path / "run"
    run.mkdir()
    scorer = trained(split, recipe(f"{source}:Constant", factor=2.0), run)
    expected = [-float("inf"), *(2.0 * item for item in range(1, 16))]
    assert scorer.score(HISTORIES).tolist() == [expected, expected]
    loaded = load_scorer(run, CPU)
    assert type(loaded).__name__ == "Constant"
    assert torch.equal(loaded.score(HISTORIES), scorer.score(HISTORIES))
    assert read_json(run / "scorer.json")["kind"] == "external"


@pytest.mark.parametrize(
    ("place", "error"),
    [
        ("{source}:NoLoad", "has no score and no save and no load: give a class with fit(split,"),
        ("{source}:Konztant", "has no teacher 'Konztant'; give one of Constant, NoLoad as"),
        ("no_such_module:Scorer", "cannot import 'no_such_module'"),
        ("missing.py:Scorer", "missing.py does not exist (looked in "),
    ],
)
def test_an_own_scorer_that_cannot_be_used_is_refused(
    place: str, error: str, source: Path, split: Split, tmp_path: Path
):
    with pytest.raises(ConfigError, match=re.escape(error)):
        trained(split, recipe(place.format(source=source)), tmp_path)


LEAVES = """
import sys


class Leaves:
    num_items = 40

    @classmethod
    def fit(cls, split):
        sys.exit(0)

    def score(self, histories):
        return None

    def save(self, directory):
        pass

    @classmethod
    def load(cls, directory):
        return cls()


class Nothing(Leaves):
    @classmethod
    def fit(cls, split):
        return cls()
"""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Leaves", r"Leaves': fit raised SystemExit: 0 .*mine\.py.* line \d+"),
        ("Nothing", r"Nothing\.score returned a NoneType"),
    ],
)
def test_an_own_scorer_that_exits_or_scores_nothing_is_named(
    name: str, message: str, source: Path, split: Split, tmp_path: Path
):
    source.write_text(LEAVES)
    with pytest.raises(GenrecError, match=message):
        trained(split, recipe(f"{source}:{name}"), tmp_path)
    assert not (tmp_path / "scorer.json").exists()
