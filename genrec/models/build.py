"""From the settings of a neural scorer to its parts: one function per axis of the training step."""

from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from genrec.config.choices import ExternalComponent
from genrec.config.components import load_object
from genrec.config.errors import ConfigError, GenrecError
from genrec.models import choices as settings
from genrec.models import losses, negatives
from genrec.models.caser import Caser
from genrec.models.config import NeuralConfig
from genrec.models.count_expert import CountExpert
from genrec.models.embeddings import Embedding, Table
from genrec.models.gru import GRU
from genrec.models.lambdarank_loss import lambdarank
from genrec.models.nextitnet import NextItNet
from genrec.models.objectives import Last, Masked, Objective, RecencySampled, Shifted
from genrec.models.quantized import JointQuantized
from genrec.models.scorer import NeuralScorer, Recipe
from genrec.models.tisasrec import TiSASRec
from genrec.models.transformer import Transformer

RECENCY_DECAY = 0.8  # of the exponential family, where neither decay nor power is set


def build(
    config: NeuralConfig, *, num_items: int, seed: int, counts: torch.Tensor | None = None
) -> Recipe:
    """An untrained scorer and how it is trained.

    Args:
        config: one choice per axis.
        num_items: V.
        seed: random seed of the initial weights.
        counts: (V+1,) training events of each item, which negatives by popularity and from the
            batch need.

    Raises:
        GenrecError: for negatives that need counts where none are given, or a component of the
            user's own that cannot be found or used.
    """
    scorer = build_scorer(config, num_items=num_items, seed=seed)
    sampled = build_negatives(config.negatives, num_items=num_items, counts=counts)
    corrects = isinstance(config.loss, settings.SoftmaxConfig) and config.loss.logq
    return Recipe(
        scorer=scorer,
        negatives=sampled or negatives.catalogue,
        loss=build_loss(config, num_items),
        log_expected=sampled.log_expected if sampled and corrects else None,
    )


def build_scorer(
    config: NeuralConfig, *, num_items: int, seed: int, score_offset: float | None = None
) -> NeuralScorer:
    """The untrained scorer, initialised from the seed.

    Args:
        config: one choice per axis.
        num_items: V.
        seed: random seed of the initial weights.
        score_offset: constant added to every score; by default the score at which the loss is
            content with an item of which nothing is known.
    """
    offset = initial_score(config, num_items) if score_offset is None else score_offset
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        embedding = build_embedding(config, num_items)
        backbone = build_backbone(config)
        objective = build_objective(config.objective)
        expert = build_expert(config, num_items)
    if isinstance(config.backbone, ExternalComponent) and not isinstance(objective, Masked):
        require_causal(backbone, config)
    return NeuralScorer(
        embedding,
        backbone,
        objective,
        max_length=config.max_length,
        reads_times=reads_times(config),
        score_offset=offset,
        expert=expert,
    )


def reads_times(config: NeuralConfig) -> bool:
    """Whether the backbone reads the times of events."""
    backbone = config.backbone
    if isinstance(backbone, settings.TransformerConfig):
        return backbone.intervals
    return isinstance(backbone, settings.TiSASRecConfig)


def build_expert(config: NeuralConfig, num_items: int) -> CountExpert | None:
    """The count-based expert, without counts; None where there is none."""
    chosen = config.expert
    if isinstance(chosen, settings.NoExpert):
        return None
    return CountExpert(
        num_items, config.hidden_size, order=chosen.order, smoothing=chosen.smoothing
    )


def build_embedding(config: NeuralConfig, num_items: int) -> Embedding:
    """The item embedding: a vector per item, or vectors of shared sub-items."""
    chosen = config.embedding
    if isinstance(chosen, settings.TableConfig):
        return Table(num_items, config.hidden_size, bias=chosen.bias)
    return JointQuantized(
        num_items, config.hidden_size, splits=chosen.splits, pruned=chosen.ranking == "pruned"
    )


def build_backbone(config: NeuralConfig) -> nn.Module:
    """The network from item vectors (B, T, D) and mask (B, T) to states (B, T, D).

    A backbone of the user's own is called with hidden_size, max_length, dropout and its own
    settings, all by keyword.
    """
    chosen = config.backbone
    shared: dict[str, Any] = {"hidden_size": config.hidden_size, "dropout": config.dropout}
    sized: dict[str, Any] = {**shared, "max_length": config.max_length}
    match chosen:
        case settings.GRUConfig():
            return GRU(**shared, layers=chosen.layers)
        case settings.CaserConfig():
            return Caser(**shared)
        case settings.NextItNetConfig():
            return NextItNet(**shared, blocks=chosen.blocks)
        case settings.TiSASRecConfig():
            return TiSASRec(
                **sized,
                blocks=chosen.blocks,
                heads=chosen.heads,
                max_interval=chosen.max_interval,
            )
        case settings.TransformerConfig():
            return Transformer(
                **sized,
                blocks=chosen.blocks,
                heads=chosen.heads,
                causal=chosen.causal,
                block=chosen.block,
                relative=chosen.relative,
                intervals=chosen.intervals,
                zero_init=chosen.zero_init,
                qk_norm=chosen.qk_norm,
                head=chosen.head,
            )
    backbone = _made(chosen, "backbone", settings.BACKBONES, **sized)
    if not isinstance(backbone, nn.Module):
        raise GenrecError(
            f"backbone {chosen.name!r} gave a {type(backbone).__name__}: it must be a"
            " torch.nn.Module"
            " or a function that returns one"
        )
    return backbone


def build_objective(chosen: settings.Objective) -> Objective:
    """Which positions of a sequence predict which items."""
    match chosen:
        case settings.ShiftedConfig():
            return Shifted()
        case settings.MaskedConfig():
            return Masked(chosen.mask_share, chosen.last_mask_share)
        case settings.LastConfig():
            return Last()
        case settings.RecencyConfig():
            decay = RECENCY_DECAY if chosen.decay is None else chosen.decay
            return RecencySampled(chosen.share, decay, chosen.power)
    return cast(Objective, _made(chosen, "objective", settings.OBJECTIVES))


def build_negatives(
    chosen: settings.Negatives, *, num_items: int, counts: torch.Tensor | None
) -> negatives.Sampled | None:
    """The sampled negatives; None where targets are compared with the whole catalogue."""
    if isinstance(chosen, settings.CatalogueNegatives):
        return None
    if isinstance(chosen, settings.UniformNegatives):
        proposal = negatives.uniform(num_items)
    elif counts is None:
        raise GenrecError(
            f"{chosen.name} negatives need the counts of training events: give build counts"
        )
    elif isinstance(chosen, settings.PopularNegatives):
        proposal = negatives.popular(counts, chosen.power)
    else:
        proposal = negatives.in_batch(counts)
    return negatives.Sampled(
        proposal, chosen.count, shared=chosen.shared, reject_history=chosen.reject_history
    )


def build_loss(config: NeuralConfig, num_items: int) -> losses.Loss:
    """The loss of scores (N, C) and the positives' columns."""
    chosen = config.loss
    match chosen:
        case settings.BCEConfig():
            return losses.bce
        case settings.GBCEConfig():
            return partial(losses.gbce, beta=positive_power(config, num_items))
        case settings.BPRLossConfig():
            return losses.bpr
        case settings.SoftmaxConfig():
            return losses.softmax
        case settings.LambdaRankConfig():
            return partial(lambdarank, discounts=chosen.discounts)
    function = load_object(chosen.name, "loss", group=settings.LOSSES)
    if not callable(function):
        raise ConfigError(f"loss {chosen.name!r} is a {type(function).__name__}, not a function")
    return partial(function, **chosen.options) if chosen.options else function


def positive_power(config: NeuralConfig, num_items: int) -> float:
    """β of gBCE, the power of the positive's probability; 1 in BCE."""
    if not isinstance(config.loss, settings.GBCEConfig):
        return 1.0
    assert isinstance(config.negatives, settings.SampledNegatives)
    return losses.gbce_beta(num_items, config.negatives.count, config.loss.t)


def initial_score(config: NeuralConfig, num_items: int) -> float:
    """The score that training starts from: only losses that judge each item by itself are not
    indifferent to it.
    """
    if not isinstance(config.loss, settings.BCEConfig | settings.GBCEConfig):
        return 0.0
    sampled = config.negatives
    count = sampled.count if isinstance(sampled, settings.SampledNegatives) else None
    return losses.uninformed_score(num_items, count, positive_power(config, num_items))


def require_causal(backbone: nn.Module, config: NeuralConfig) -> None:
    """Raise GenrecError where a later item changes an earlier state of a backbone.

    Such a backbone would see the items that it has to predict, and its loss would be meaningless.
    """
    length = min(8, config.max_length)
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(1, length, config.hidden_size, generator=generator)
    changed = vectors.clone()
    changed[:, -1] += 1
    mask = torch.ones(1, length, dtype=torch.bool)
    training = backbone.training
    backbone.eval()
    with torch.no_grad():
        first, second = backbone(vectors, mask), backbone(changed, mask)
    backbone.train(training)
    if first.shape != vectors.shape:
        raise GenrecError(
            f"a backbone returned states of shape {tuple(first.shape)} for vectors of shape"
            f" {tuple(vectors.shape)}: both must be equal"
        )
    if not np.allclose(first[:, :-1], second[:, :-1], atol=1e-5):
        raise GenrecError(
            "this backbone is not causal: a later item changes earlier states, so that training"
            " would see what it has to predict. Mask later positions, or choose"
            " teacher.objective=masked"
        )


def _made(chosen: ExternalComponent, kind: str, group: str, **given: Any) -> object:
    """A component of the user's own, called with its settings."""
    factory = load_object(chosen.name, kind, group=group)
    if not callable(factory):
        raise ConfigError(
            f"{kind} {chosen.name!r} is a {type(factory).__name__}: give a class or a function"
        )
    try:
        return factory(**given, **chosen.options)
    except TypeError as error:
        raise ConfigError(f"{kind} {chosen.name!r} cannot be built: {error}") from error
