"""Settings of neural scorers: one choice per axis of the training step, and the training itself."""

from collections.abc import Iterator
from typing import Annotated, Self

from pydantic import Field, model_validator

from genrec.config.choices import ExternalComponent
from genrec.config.model import (
    Count,
    Dropout,
    LearningRate,
    PrecisionConfig,
    Share,
    WeightDecay,
    Width,
)
from genrec.models.choices import (
    Backbone,
    CatalogueNegatives,
    Contrast,
    CountExpertConfig,
    DuoRecConfig,
    Embedding,
    Expert,
    GBCEConfig,
    Loss,
    MaskedConfig,
    Negatives,
    NoContrast,
    NoExpert,
    Objective,
    RecencyConfig,
    RecJPQConfig,
    SampledNegatives,
    ShiftedConfig,
    SoftmaxConfig,
    TableConfig,
    TiSASRecConfig,
    TransformerConfig,
)


class TrainingConfig(PrecisionConfig):
    """How a neural scorer is trained."""

    epochs: Count = 40
    """Passes over the training sequences."""
    learning_rate: LearningRate = 1e-3
    """Initial learning rate of AdamW; decays linearly to 5 % of it."""
    warmup: Annotated[float, Field(ge=0, le=1_000)] = 0.0
    """Epochs, or a part of one, in which the learning rate rises linearly to that of its decay."""
    tokens_per_step: Count = 8192
    """Padded positions per batch."""
    windows: Share = 0.5
    """Share of the sequences longer than max_length that end at a random event instead of the last
    one, drawn anew in every epoch, so that old events are learnt too."""
    evaluate_every: Count = 2
    """Epochs between validations."""
    patience: Count = 10
    """Validations without a better NDCG@K before training stops; counted from the first validation
    that is significantly above popularity."""
    weight_decay: WeightDecay = 0.0
    """Decoupled weight decay."""


class NeuralConfig(TrainingConfig):
    """A neural scorer: one choice per axis of the training step, and its training."""

    hidden_size: Width = 64
    """Width of item vectors and states."""
    max_length: Annotated[int, Field(ge=2, le=10_000)] = 200
    """How many of the newest items of a history are read."""
    dropout: Dropout = 0.1
    """Share of activations dropped in training."""
    embedding: Embedding = TableConfig()
    """Item embedding: a vector per item, or vectors of shared sub-items."""
    backbone: Backbone = TransformerConfig()
    """Network from item vectors to states."""
    objective: Objective = ShiftedConfig()
    """Which positions predict which items."""
    negatives: Negatives = CatalogueNegatives()
    """Which items a target is compared with."""
    loss: Loss = SoftmaxConfig()
    """How a target is compared with its negatives."""
    contrastive: Contrast = NoContrast()
    """A second, contrastive loss."""
    expert: Expert = NoExpert()
    """A count-based expert whose scores are combined with those of the network."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if problems := misfits(self):
            raise ValueError("\n".join(problems))
        return self


def misfits(config: NeuralConfig) -> list[str]:
    """Why the choices of a scorer do not fit each other, and what to choose instead."""
    checks = (*_objective_misfits(config), *_loss_misfits(config), *_size_misfits(config))
    return [problem for wrong, problem in checks if wrong]


def _objective_misfits(config: NeuralConfig) -> Iterator[tuple[bool, str]]:
    """Whether the objective and the backbone, or the negatives, exclude each other; and why."""
    backbone, objective, negatives = config.backbone, config.objective, config.negatives
    built_in = not isinstance(backbone, ExternalComponent)
    bidirectional = isinstance(backbone, TransformerConfig) and not backbone.causal
    yield (
        isinstance(objective, MaskedConfig) and built_in and not bidirectional,
        "the masked objective reads both sides of an item, but this backbone sees only what"
        " came before it: choose teacher.recipe=bert4rec, or teacher.objective=shifted",
    )
    yield (
        isinstance(objective, MaskedConfig)
        and isinstance(backbone, TransformerConfig)
        and backbone.intervals,
        "a masked item has no time that teacher.backbone.intervals could read: leave it out, or"
        " choose teacher.objective=shifted",
    )
    yield (
        isinstance(objective, ShiftedConfig) and bidirectional,
        "with the shifted objective a bidirectional backbone would see the items that it has to"
        " predict: choose teacher.objective=masked, last or recency, or teacher.recipe=sasrec",
    )
    yield (
        isinstance(objective, RecencyConfig) and isinstance(negatives, SampledNegatives),
        f"the recency objective predicts a set of items, and {negatives.name} negatives are drawn"
        " for one item: choose teacher.negatives=catalogue, or teacher.objective=last",
    )
    yield (
        isinstance(config.expert, CountExpertConfig)
        and not (
            isinstance(objective, ShiftedConfig) and isinstance(negatives, CatalogueNegatives)
        ),
        "the count expert scores all items after each one of a sequence: choose"
        " teacher.objective=shifted and teacher.negatives=catalogue, or teacher.expert=none",
    )


def _loss_misfits(config: NeuralConfig) -> Iterator[tuple[bool, str]]:
    """Whether a loss and the negatives, or dropout, exclude each other; and why."""
    loss, sampled = config.loss, isinstance(config.negatives, SampledNegatives)
    yield (
        isinstance(loss, GBCEConfig) and not sampled,
        "gbce corrects the overconfidence that sampling causes, and the whole catalogue is no"
        " sample: choose teacher.loss=bce, or teacher.negatives=uniform",
    )
    yield (
        isinstance(loss, SoftmaxConfig) and loss.logq and not sampled,
        "teacher.loss.logq corrects for sampled negatives, and the whole catalogue is no"
        " sample: leave it out, or choose teacher.negatives=uniform, popular or in_batch",
    )
    yield (
        isinstance(config.contrastive, DuoRecConfig) and not config.dropout,
        "the two views of teacher.contrastive=duorec differ by dropout alone, and"
        " teacher.dropout is 0: set it to 0.1, or choose cl4srec",
    )


def _size_misfits(config: NeuralConfig) -> Iterator[tuple[bool, str]]:
    """Whether the parts of the network exclude each other; and why."""
    backbone, embedding, size = config.backbone, config.embedding, config.hidden_size
    yield (
        isinstance(embedding, RecJPQConfig) and size % embedding.splits != 0,
        f"teacher.hidden_size {size} is not a multiple of teacher.embedding.splits: change one of"
        " them",
    )
    yield (
        isinstance(backbone, TransformerConfig) and backbone.block == "hstu" and backbone.qk_norm,
        "the hstu block has no softmax that teacher.backbone.qk_norm protects: leave it out, or"
        " choose teacher.backbone.block=ligr",
    )
    yield (
        isinstance(backbone, TransformerConfig | TiSASRecConfig) and size % backbone.heads != 0,
        f"teacher.hidden_size {size} is not a multiple of teacher.backbone.heads: change one of"
        " them",
    )
