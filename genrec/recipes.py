"""Named teachers: one choice on each axis of the training step."""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import nn

from genrec.baselines import ALS, BPR, FPMC, AssociationRules, ItemKNN, Markov, Popularity, UserKNN
from genrec.config.errors import GenrecError
from genrec.config.reading import TeacherSettings
from genrec.data.splits import Split
from genrec.models import losses, negatives
from genrec.models.axes import Axes, BackboneName, changed, choose, require_fit
from genrec.models.caser import Caser
from genrec.models.codes import factor_codes, feature_codes, svd_codes
from genrec.models.config import CL4SRecConfig, Contrast, DuoRecConfig, NoContrast
from genrec.models.contrastive import make_contrastive_loss
from genrec.models.embeddings import Embedding, Table
from genrec.models.gru import GRU
from genrec.models.lambdarank_loss import lambdarank
from genrec.models.nextitnet import NextItNet
from genrec.models.objectives import Last, Masked, Objective, RecencySampled, Shifted
from genrec.models.quantized import JointQuantized
from genrec.models.scorer import NeuralScorer, Recipe
from genrec.models.tisasrec import TiSASRec
from genrec.models.trainer import fit, training_sequences
from genrec.models.transformer import Transformer
from genrec.recommender import Scorer
from genrec.training.checkpoint import drop_checkpoint, save_tensors
from genrec.training.run_directory import read_json, write_json


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


def sasrec() -> Axes:
    """Causal transformer, next item, one uniform negative, BCE [Kang & McAuley 2018]."""
    return Axes("causal", "shifted", "uniform", "bce", num_negatives=1)


def sasrec_softmax() -> Axes:
    """SASRec with cross-entropy over the whole catalogue [Klenitskiy & Vasilev 2023]."""
    return Axes("causal", "shifted", "catalogue", "softmax")


def gsasrec() -> Axes:
    """SASRec with 256 negatives and gBCE, which undoes their overconfidence [Petrov & Macdonald
    2023]."""
    return Axes("causal", "shifted", "uniform", "gbce", num_negatives=256)


def bert4rec() -> Axes:
    """Bidirectional transformer, Cloze task, cross-entropy over the whole catalogue [Sun et al.
    2019]."""
    return Axes("bidirectional", "masked", "catalogue", "softmax")


def sasrec_rss() -> Axes:
    """SASRec whose last state ranks a set of recently seen items, LambdaRank [Petrov & Macdonald
    2022b]."""
    return Axes("causal", "recency", "catalogue", "lambdarank")


def gru4rec() -> Axes:
    """Recurrent network, next item, cross-entropy over the whole catalogue [Hidasi et al. 2016]."""
    return Axes("gru", "shifted", "catalogue", "softmax")


def caser() -> Axes:
    """Convolutions over the last five items at every position, next item, cross-entropy [Tang &
    Wang 2018]."""
    return Axes("caser", "shifted", "catalogue", "softmax")


def nextitnet() -> Axes:
    """Dilated causal convolutions, next item, cross-entropy over the whole catalogue [Yuan et al.
    2019]."""
    return Axes("nextitnet", "shifted", "catalogue", "softmax")


def tisasrec() -> Axes:
    """SASRec, softmax, whose attention reads the time between events [Li et al. 2020]; the log
    needs timestamps."""
    return Axes("tisasrec", "shifted", "catalogue", "softmax")


RECIPES: dict[str, Callable[[], Axes]] = {
    function.__name__: function
    for function in (
        sasrec,
        sasrec_softmax,
        gsasrec,
        bert4rec,
        sasrec_rss,
        gru4rec,
        caser,
        nextitnet,
        tisasrec,
    )
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


def axes_of(settings: TeacherSettings) -> Axes:
    """The choices of the recipe that the settings name, with those that they change.

    Raises:
        GenrecError: listing the recipes there are.
    """
    if settings.recipe not in RECIPES:
        raise GenrecError(
            f"unknown recipe {settings.recipe!r}; choose one of {', '.join([*RECIPES, *BASELINES])}"
        )
    return choose(settings, RECIPES[settings.recipe]())


def build(
    num_items: int, settings: TeacherSettings, seed: int, counts: torch.Tensor | None = None
) -> Recipe:
    """An untrained recipe by name, initialised from the seed.

    Args:
        num_items: V.
        settings: of the teacher.
        seed: of the weights.
        counts: (V+1,) training events of each item, which negatives by popularity and from the
            batch need.

    Raises:
        GenrecError: for an unknown recipe, or choices and settings that do not fit.
    """
    axes = axes_of(settings)
    require_fit(settings, axes)
    sampled = _sampled(axes, settings, num_items, counts)
    return Recipe(
        build_scorer(num_items, settings, seed),
        sampled or negatives.catalogue,
        _loss(axes, settings, num_items),
        sampled.log_expected if sampled and settings.logq else None,
    )


def build_scorer(
    num_items: int, settings: TeacherSettings, seed: int, base: float | None = None
) -> NeuralScorer:
    """The untrained scorer of a recipe, initialised from the seed; ``base`` replaces what its loss
    would start from."""
    axes = axes_of(settings)
    if base is None:
        base = _base(axes, settings, num_items)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        embedding = _embedding(num_items, settings)
        backbone, objective = _backbone(axes, settings), _objective(axes, settings)
        return NeuralScorer(
            embedding,
            backbone,
            objective,
            max_length=settings.max_length,
            reads_times=axes.backbone == "tisasrec",
            score_offset=base,
        )


def _embedding(num_items: int, settings: TeacherSettings) -> Embedding:
    if settings.embedding == "table":
        return Table(num_items, settings.hidden_size)
    return JointQuantized(
        num_items,
        settings.hidden_size,
        splits=settings.splits,
        pruned=settings.ranking == "pruned",
    )


def _backbone(axes: Axes, settings: TeacherSettings) -> nn.Module:
    width, dropout = settings.hidden_size, settings.dropout
    match axes.backbone:
        case "gru":
            return GRU(hidden_size=width, layers=settings.blocks, dropout=dropout)
        case "caser":
            return Caser(hidden_size=width, dropout=dropout)
        case "nextitnet":
            return NextItNet(hidden_size=width, blocks=settings.blocks, dropout=dropout)
        case "tisasrec":
            return TiSASRec(
                hidden_size=width,
                blocks=settings.blocks,
                heads=settings.heads,
                max_length=settings.max_length,
                dropout=dropout,
                max_interval=settings.max_interval,
            )
        case "causal" | "bidirectional":
            return Transformer(
                hidden_size=width,
                blocks=settings.blocks,
                heads=settings.heads,
                max_length=settings.max_length,
                dropout=dropout,
                causal=axes.backbone == "causal",
                block=settings.block,
            )
    raise GenrecError(
        f"unknown backbone {axes.backbone!r}; choose one of {', '.join(get_args(BackboneName))}"
    )


def _objective(axes: Axes, settings: TeacherSettings) -> Objective:
    match axes.objective:
        case "shifted":
            return Shifted()
        case "masked":
            return Masked(settings.mask_share, settings.last_mask_share)
        case "last":
            return Last()
    return RecencySampled(settings.rss_share, settings.rss_decay, settings.rss_power)


def _sampled(
    axes: Axes, settings: TeacherSettings, num_items: int, counts: torch.Tensor | None
) -> negatives.Sampled | None:
    if axes.negatives == "catalogue" or axes.num_negatives is None:
        return None
    if axes.negatives == "uniform":
        proposal = negatives.uniform(num_items)
    elif counts is None:
        raise GenrecError(
            f"{axes.negatives} negatives need the counts of training events: give build counts"
        )
    elif axes.negatives == "popular":
        proposal = negatives.popular(counts, settings.popularity_power)
    else:
        proposal = negatives.in_batch(counts)
    return negatives.Sampled(
        proposal, axes.num_negatives, settings.shared_negatives, settings.reject_history
    )


def _beta(axes: Axes, settings: TeacherSettings, num_items: int) -> float:
    """Power of the positive's probability: 1 in BCE."""
    if axes.loss == "gbce" and axes.num_negatives:
        return losses.gbce_beta(num_items, axes.num_negatives, settings.t)
    return 1.0


def _base(axes: Axes, settings: TeacherSettings, num_items: int) -> float:
    """What scores start from: only losses that judge each item by itself are not content with 0."""
    if axes.loss not in losses.SIGMOID_LOSSES:
        return 0.0
    sampled = axes.num_negatives if axes.negatives != "catalogue" else None
    return losses.uninformed_score(num_items, sampled, _beta(axes, settings, num_items))


def _loss(axes: Axes, settings: TeacherSettings, num_items: int) -> losses.Loss:
    if axes.loss == "gbce":
        return partial(losses.gbce, beta=_beta(axes, settings, num_items))
    plain = {
        "bce": losses.bce,
        "bpr": losses.bpr,
        "softmax": losses.softmax,
        "lambdarank": lambdarank,
    }
    return plain[axes.loss]


def train_scorer(
    split: Split,
    settings: TeacherSettings,
    seed: int,
    device: torch.device,
    folder: Path,
    quiet: bool = False,
    k: int = 10,
) -> Scorer:
    """Train the teacher that the settings name and save it in ``folder``; goes on from a checkpoint
    found there."""
    if settings.recipe in BASELINES:
        name = settings.recipe
        if unread := changed(settings):
            given = ", ".join(f"teacher.{key}={value}" for key, value in unread.items())
            logging.getLogger("genrec").warning(
                "%s has no settings of its own, so these change nothing: %s", name, given
            )
        baseline = (
            SEEDED[name].fit(split, seed=seed) if name in SEEDED else BASELINES[name].fit(split)
        )
        baseline.save(folder)
        return baseline
    recipe = build(
        split.catalogue.num_items, settings, seed, torch.from_numpy(split.catalogue.counts)
    )
    embedding = recipe.scorer.embedding
    if isinstance(embedding, JointQuantized) and settings.codes != "random":
        embedding.assign(torch.from_numpy(_codes(split, settings, seed)))
    recipe.scorer.to(device)
    contrast = make_contrastive_loss(
        _contrast(settings),
        training_sequences(split),
        max_length=settings.max_length,
        mask_id=embedding.mask_id,
    )
    fit(
        recipe,
        split,
        settings,
        hidden_size=settings.hidden_size,
        contrast=contrast,
        seed=seed,
        directory=folder,
        quiet=quiet,
        k=k,
    )
    save_tensors(folder / "scorer.safetensors", recipe.scorer.state_dict())
    scorer, size = recipe.scorer, split.catalogue.num_items
    content = {
        "kind": "neural",
        "num_items": size,
        "base": scorer.score_offset,
        "settings": settings.model_dump(),
    }
    write_json(folder / "scorer.json", content)
    drop_checkpoint(folder)
    return recipe.scorer


def _contrast(settings: TeacherSettings) -> Contrast:
    weight, temperature = settings.contrastive_weight, settings.contrastive_temperature
    match settings.contrastive:
        case "cl4srec":
            return CL4SRecConfig(weight=weight, temperature=temperature)
        case "duorec":
            return DuoRecConfig(weight=weight, temperature=temperature)
    return NoContrast()


def _codes(split: Split, settings: TeacherSettings, seed: int) -> NDArray[np.uint8]:
    """(V+1, m) codes of the items, from what the settings name."""
    if settings.codes == "features":
        return feature_codes(split.catalogue.features, splits=settings.splits, seed=seed)
    if settings.codes == "bpr":
        fitted = BPR.fit(split, hidden_size=settings.splits, epochs=BPR_EPOCHS, seed=seed)
        return factor_codes(fitted.factors[1:], np.random.default_rng(seed))
    return svd_codes(split.train, split.catalogue.num_items, splits=settings.splits, seed=seed)


BPR_EPOCHS = 20  # for codes, as in [Petrov & Macdonald 2024b]


def load_scorer(folder: Path, device: torch.device) -> Scorer:
    """Load the scorer that a run folder holds.

    Raises:
        RunError: if there is none.
    """
    content = read_json(folder / "scorer.json")
    if content["kind"] in BASELINES:
        return BASELINES[content["kind"]].load(folder)
    settings = TeacherSettings.model_validate(content["settings"])
    scorer = build_scorer(
        content["num_items"], settings, seed=0, base=content.get("base", 0.0)
    )  # older ones had none
    scorer.load_state_dict(load_file(folder / "scorer.safetensors"))
    return scorer.to(device).eval()
