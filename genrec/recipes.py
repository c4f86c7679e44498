"""Named teachers: one choice on each axis of the training step."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

import torch
from safetensors.torch import load_file
from torch import nn

from genrec import runs
from genrec.baselines import ALS, BPR, FPMC, AssociationRules, ItemKNN, Markov, Popularity, UserKNN
from genrec.config import TeacherSettings
from genrec.data.splits import Split
from genrec.models import losses, negatives
from genrec.models.caser import Caser
from genrec.models.codes import svd_codes
from genrec.models.embeddings import Embedding, Table
from genrec.models.gru import GRU
from genrec.models.lambdarank import lambdarank
from genrec.models.nextitnet import NextItNet
from genrec.models.objectives import Masked, Objective, RecencySampled, Shifted
from genrec.models.quantized import JointQuantized
from genrec.models.scorer import NeuralScorer, Recipe
from genrec.models.trainer import fit
from genrec.models.transformer import Transformer
from genrec.recommender import Scorer


class Baseline(Scorer, Protocol):
    """A scorer that is fitted to a split in one go and keeps itself."""

    @classmethod
    def fit(cls, split: Split) -> "Baseline":
        """Learn from the training sequences; tune on the validation cases."""
        ...

    def save(self, folder: Path) -> None:
        """Write ``scorer.json`` and ``scorer.safetensors`` into the folder."""
        ...

    @classmethod
    def load(cls, folder: Path) -> "Baseline":
        """The scorer that ``save`` wrote."""
        ...


def sasrec(num_items: int, settings: TeacherSettings) -> Recipe:
    """Causal transformer, next item, one uniform negative, BCE [Kang & McAuley 2018]."""
    scorer = _transformer(num_items, settings, Shifted(), causal=True)
    return Recipe(scorer, _uniform(num_items, settings, default=1), losses.bce)


def sasrec_softmax(num_items: int, settings: TeacherSettings) -> Recipe:
    """SASRec with cross-entropy over the whole catalogue [Klenitskiy & Vasilev 2023]."""
    return Recipe(_transformer(num_items, settings, Shifted(), causal=True), negatives.catalogue, losses.softmax)


def gsasrec(num_items: int, settings: TeacherSettings) -> Recipe:
    """SASRec with 256 negatives and gBCE, which undoes their overconfidence [Petrov & Macdonald 2023]."""
    beta = losses.gbce_beta(num_items, settings.num_negatives or 256, settings.t)
    scorer = _transformer(num_items, settings, Shifted(), causal=True)
    return Recipe(scorer, _uniform(num_items, settings, default=256), partial(losses.gbce, beta=beta))


def bert4rec(num_items: int, settings: TeacherSettings) -> Recipe:
    """Bidirectional transformer, Cloze task, cross-entropy over the whole catalogue [Sun et al. 2019]."""
    scorer = _transformer(num_items, settings, Masked(settings.mask_share), causal=False)
    return Recipe(scorer, negatives.catalogue, losses.softmax)


def sasrec_rss(num_items: int, settings: TeacherSettings) -> Recipe:
    """SASRec whose last state ranks a set of recently seen items, LambdaRank [Petrov & Macdonald 2022b]."""
    objective = RecencySampled(settings.rss_share, settings.rss_decay)
    return Recipe(_transformer(num_items, settings, objective, causal=True), negatives.catalogue, lambdarank)


def gru4rec(num_items: int, settings: TeacherSettings) -> Recipe:
    """Recurrent network, next item, cross-entropy over the whole catalogue [Hidasi et al. 2016]."""
    backbone = GRU(settings.hidden_size, settings.blocks, settings.dropout)
    return Recipe(_scorer(num_items, settings, backbone, Shifted()), negatives.catalogue, losses.softmax)


def caser(num_items: int, settings: TeacherSettings) -> Recipe:
    """Convolutions over the last five items at every position, next item, cross-entropy [Tang & Wang 2018]."""
    backbone = Caser(settings.hidden_size, dropout=settings.dropout)
    return Recipe(_scorer(num_items, settings, backbone, Shifted()), negatives.catalogue, losses.softmax)


def nextitnet(num_items: int, settings: TeacherSettings) -> Recipe:
    """Dilated causal convolutions, next item, cross-entropy over the whole catalogue [Yuan et al. 2019]."""
    backbone = NextItNet(settings.hidden_size, settings.blocks, dropout=settings.dropout)
    return Recipe(_scorer(num_items, settings, backbone, Shifted()), negatives.catalogue, losses.softmax)


RECIPES: dict[str, Callable[[int, TeacherSettings], Recipe]] = {
    function.__name__: function
    for function in (sasrec, sasrec_softmax, gsasrec, bert4rec, sasrec_rss, gru4rec, caser, nextitnet)
}
SEEDED: dict[str, type[ALS] | type[BPR] | type[FPMC]] = {"als": ALS, "bpr": BPR, "fpmc": FPMC}
BASELINES: dict[str, type[Baseline]] = {
    "popularity": Popularity,
    "markov": Markov,
    "item_knn": ItemKNN,
    "user_knn": UserKNN,
    "association_rules": AssociationRules,
    **SEEDED,
}


def _transformer(num_items: int, settings: TeacherSettings, objective: Objective, causal: bool) -> NeuralScorer:
    s = settings
    backbone = Transformer(s.hidden_size, s.blocks, s.heads, s.max_length, s.dropout, causal, s.block)
    return _scorer(num_items, s, backbone, objective)


def _scorer(num_items: int, settings: TeacherSettings, backbone: nn.Module, objective: Objective) -> NeuralScorer:
    return NeuralScorer(_embedding(num_items, settings), backbone, objective, settings.max_length)


def _embedding(num_items: int, settings: TeacherSettings) -> Embedding:
    if settings.embedding == "table":
        return Table(num_items, settings.hidden_size)
    return JointQuantized(num_items, settings.hidden_size, settings.splits)


def _uniform(num_items: int, settings: TeacherSettings, default: int) -> negatives.Negatives:
    draw = negatives.shared_uniform if settings.shared_negatives else negatives.uniform
    return draw(num_items, settings.num_negatives or default)


def build(num_items: int, settings: TeacherSettings, seed: int) -> Recipe:
    """An untrained recipe by name, initialised from the seed.

    Raises:
        ValueError: listing the names there are.
    """
    if settings.recipe not in RECIPES:
        raise ValueError(f"unknown recipe {settings.recipe!r}; choose one of {', '.join([*RECIPES, *BASELINES])}")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return RECIPES[settings.recipe](num_items, settings)


def train_scorer(
    split: Split,
    settings: TeacherSettings,
    seed: int,
    device: torch.device,
    folder: Path,
    quiet: bool = False,
    k: int = 10,
) -> Scorer:
    """Train the teacher that the settings name and save it in ``folder``; goes on from a checkpoint found there."""
    if settings.recipe in BASELINES:
        name = settings.recipe
        baseline = SEEDED[name].fit(split, seed=seed) if name in SEEDED else BASELINES[name].fit(split)
        baseline.save(folder)
        return baseline
    recipe = build(split.catalogue.num_items, settings, seed)
    embedding = recipe.scorer.embedding
    if isinstance(embedding, JointQuantized) and settings.codes == "svd":
        embedding.assign(torch.from_numpy(svd_codes(split.train, embedding.num_items, settings.splits, seed)))
    recipe.scorer.to(device)
    fit(recipe, split, settings, seed, folder, quiet, k)
    runs.save_tensors(folder / "scorer.safetensors", recipe.scorer.state_dict())
    content = {"kind": "neural", "num_items": split.catalogue.num_items, "settings": settings.model_dump()}
    runs.write_json(folder / "scorer.json", content)
    runs.drop_checkpoint(folder)
    return recipe.scorer


def load_scorer(folder: Path, device: torch.device) -> Scorer:
    """Load the scorer that a run folder holds.

    Raises:
        RunError: if there is none.
    """
    content = runs.read_json(folder / "scorer.json")
    if content["kind"] in BASELINES:
        return BASELINES[content["kind"]].load(folder)
    settings = TeacherSettings.model_validate(content["settings"])
    scorer = build(content["num_items"], settings, seed=0).scorer
    scorer.load_state_dict(load_file(folder / "scorer.safetensors"))
    return scorer.to(device).eval()
