"""Settings of the components of a neural scorer: the choices on each axis of the training step."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from genrec.config.choices import Choice, ExternalComponent
from genrec.config.model import (
    Config,
    Count,
    Depth,
    Length,
    PositiveShare,
    Power,
    Sample,
    Share,
    Temperature,
)

BACKBONES = "genrec.backbones"
OBJECTIVES = "genrec.objectives"
LOSSES = "genrec.losses"


class TransformerConfig(Config):
    """A transformer over item vectors, causal (SASRec) or bidirectional (BERT4Rec)."""

    name: Literal["transformer"] = "transformer"
    causal: bool = True
    """Whether a position sees only itself and earlier ones."""
    blocks: Depth = 2
    """Number of transformer blocks."""
    heads: Count = 1
    """Attention heads; hidden_size must be a multiple."""
    block: Literal["pre-norm", "sasrec", "ligr", "hstu"] = "pre-norm"
    """Kind of block: pre-norm, SASRec's original one, LiGR's with gates, or HSTU's without
    softmax."""
    intervals: bool = False
    """Whether every block has a learned bias for the time between two events of the history; the
    log needs timestamps."""
    relative: bool = False
    """Whether every block has a learned bias for each distance between two positions."""
    zero_init: bool = False
    """Whether the residual branches of the blocks add nothing at first; of the sasrec block only
    the feed-forward one."""
    qk_norm: bool = False
    """Whether queries and keys are normalised."""
    head: bool = False
    """Whether a dense layer with GELU and a norm follow the last block, as in BERT4Rec."""


class GRUConfig(Config):
    """Gated recurrent layers (GRU4Rec)."""

    name: Literal["gru"] = "gru"
    layers: Depth = 2
    """Number of recurrent layers."""


class CaserConfig(Config):
    """Convolutions over windows of five items (Caser)."""

    name: Literal["caser"] = "caser"


class NextItNetConfig(Config):
    """Residual blocks of dilated causal convolutions (NextItNet)."""

    name: Literal["nextitnet"] = "nextitnet"
    blocks: Depth = 2
    """How often the dilations 1 and 4 are repeated, one residual block each."""


class TiSASRecConfig(Config):
    """A causal transformer whose attention reads the time between events (TiSASRec)."""

    name: Literal["tisasrec"] = "tisasrec"
    blocks: Depth = 2
    """Number of transformer blocks."""
    heads: Count = 1
    """Attention heads; hidden_size must be a multiple."""
    max_interval: Length = 256
    """Longer intervals are clipped to this many of the user's shortest interval."""


class ShiftedConfig(Config):
    """Every position predicts the next item."""

    name: Literal["shifted"] = "shifted"


class MaskedConfig(Config):
    """Masked items are predicted from both sides (Cloze task)."""

    name: Literal["masked"] = "masked"
    mask_share: PositiveShare = 0.2
    """Share of the items of a sequence that are masked."""
    last_mask_share: Share = 0.1
    """Share of the sequences in which only the last item is masked, as when scoring."""


class LastConfig(Config):
    """Only the last position predicts the next item (sequence continuation)."""

    name: Literal["last"] = "last"


class RecencyConfig(Config):
    """The last position predicts a set of sampled items of the sequence, recent ones first
    (RSS).
    """

    name: Literal["recency"] = "recency"
    share: Share = 0.2
    """Targets drawn per item of a sequence, at least one per sequence."""
    decay: PositiveShare | None = None
    """Exponential importance: an item is drawn this many times as often as the one after it; 0.8
    unless power is set."""
    power: Power | None = None
    """Power importance, in place of decay: item i of a sequence is drawn in proportion to i to this
    power."""

    @model_validator(mode="after")
    def _one_family(self) -> Self:
        if self.decay is not None and self.power is not None:
            raise ValueError("power replaces decay: leave one of them out")
        return self


class CatalogueNegatives(Config):
    """Targets are compared with every item of the catalogue."""

    name: Literal["catalogue"] = "catalogue"


class SampledNegatives(Config):
    """What all sampled negatives have in common."""

    count: Sample
    """Negatives drawn per target."""
    shared: Literal[False, "sequence", "batch"] = False
    """Which targets share a draw: none (false), those of a sequence, or those of the batch, which
    is fastest."""
    reject_history: bool = False
    """Whether items of the user's own sequence are excluded from the negatives."""

    @model_validator(mode="after")
    def _rejectable(self) -> Self:
        if self.shared == "batch" and self.reject_history:
            raise ValueError(
                "negatives that a whole batch shares cannot exclude each sequence's own items: set"
                " teacher.negatives.shared=sequence, or teacher.negatives.reject_history=false"
            )
        return self


class UniformNegatives(SampledNegatives):
    """Negatives are drawn uniformly."""

    name: Literal["uniform"] = "uniform"


class PopularNegatives(SampledNegatives):
    """Negatives are drawn by popularity."""

    name: Literal["popular"] = "popular"
    power: Power = 1.0
    """An item is drawn in proportion to its count of training events to this power."""


class InBatchNegatives(SampledNegatives):
    """Negatives are targets of the same batch."""

    name: Literal["in_batch"] = "in_batch"


class BCEConfig(Config):
    """Binary cross-entropy."""

    name: Literal["bce"] = "bce"


class GBCEConfig(Config):
    """Generalised binary cross-entropy (gSASRec)."""

    name: Literal["gbce"] = "gbce"
    t: Share = 0.75
    """Calibration: 0 is BCE, 1 with uniform negatives gives calibrated probabilities."""


class BPRLossConfig(Config):
    """Bayesian personalised ranking."""

    name: Literal["bpr"] = "bpr"


class SoftmaxConfig(Config):
    """Cross-entropy over the compared items."""

    name: Literal["softmax"] = "softmax"
    logq: bool = False
    """Whether scores of sampled negatives are corrected by the logarithm of their expected count
    (logQ correction), so that the sampled softmax estimates that of the whole catalogue."""


class LambdaRankConfig(Config):
    """LambdaRank: pairwise gradients weighted by the change in NDCG."""

    name: Literal["lambdarank"] = "lambdarank"
    discounts: Literal["all", "truncated"] = "all"
    """Discounts of ranks below 50: those of the formula (all), as the authors have them, or 0."""


class TableConfig(Config):
    """One trainable vector per item."""

    name: Literal["table"] = "table"
    bias: bool = False
    """Whether every item has a bias that is added to its scores, as in BERT4Rec."""


class RecJPQConfig(Config):
    """Item vectors concatenated from shared sub-item vectors (RecJPQ), for large catalogues."""

    name: Literal["recjpq"] = "recjpq"
    splits: Count = 8
    """Sub-items per item; hidden_size must be a multiple."""
    codes: Literal["svd", "bpr", "features", "random"] = "svd"
    """Which items share sub-items: those with the same users (svd, bpr), those with the same
    features, or random ones."""
    ranking: Literal["pqtopk", "pruned"] = "pqtopk"
    """How the best items are found: from all sub-item scores (PQTopK), or with dynamic pruning,
    which pays for few users at a time and a very large catalogue. The lists are the same."""


class NoContrast(Config):
    """No contrastive loss."""

    name: Literal["none"] = "none"


class ContrastConfig(Config):
    """What both contrastive losses have in common."""

    weight: Annotated[float, Field(gt=0, le=1_000)] = 0.1
    """Weight of the contrastive loss."""
    temperature: Temperature = 0.1
    """Temperature of InfoNCE; smaller values emphasise the most similar negatives."""


class CL4SRecConfig(ContrastConfig):
    """Two augmentations of a sequence (crop, mask, reorder) are a positive pair (CL4SRec)."""

    name: Literal["cl4srec"] = "cl4srec"


class DuoRecConfig(ContrastConfig):
    """Two dropout passes, and histories with the same target, are positive pairs (DuoRec)."""

    name: Literal["duorec"] = "duorec"


class NoExpert(Config):
    """The network alone."""

    name: Literal["none"] = "none"


class CountExpertConfig(Config):
    """Counts of what followed the newest items in other sequences, weighted by the network."""

    name: Literal["counts"] = "counts"
    order: Annotated[int, Field(ge=1, le=1_000)] = 20
    """How many of the newest items are looked up."""
    distance_decay: PositiveShare = 0.4
    """Weight of a pair of events relative to one that is nearer by one event."""
    smoothing: Annotated[float, Field(ge=1e-6, le=1_000_000)] = 0.1
    """Count of a pair at which it has log 2."""
    folds: Annotated[int, Field(ge=2, le=20)] = 4
    """Into how many parts the training sequences are divided; each reads counts of the others."""


Backbone = Annotated[
    TransformerConfig
    | GRUConfig
    | CaserConfig
    | NextItNetConfig
    | TiSASRecConfig
    | ExternalComponent,
    Choice(BACKBONES, default="transformer"),
]
Objective = Annotated[
    ShiftedConfig | MaskedConfig | LastConfig | RecencyConfig | ExternalComponent,
    Choice(OBJECTIVES),
]
Negatives = Annotated[
    CatalogueNegatives | UniformNegatives | PopularNegatives | InBatchNegatives, Choice()
]
Loss = Annotated[
    BCEConfig | GBCEConfig | BPRLossConfig | SoftmaxConfig | LambdaRankConfig | ExternalComponent,
    Choice(LOSSES),
]
Embedding = Annotated[TableConfig | RecJPQConfig, Choice(default="table")]
Expert = Annotated[NoExpert | CountExpertConfig, Choice(default="none")]
Contrast = Annotated[NoContrast | CL4SRecConfig | DuoRecConfig, Choice(default="none")]
