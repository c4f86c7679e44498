"""Settings of the baselines: what each of them may be told beside the log."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from genrec.config.model import (
    Config,
    Count,
    LearningRate,
    Length,
    PositiveShare,
    Sample,
    Weight,
    Width,
    listed,
)

Regularisation = Annotated[float, Field(ge=0.001, le=1_000_000)]
"""What is added to sums over events, so that equations have one solution."""


class PopularityConfig(Config):
    """The most frequent items for everybody."""

    recipe: Literal["popularity"] = "popularity"


class MarkovConfig(Config):
    """Markov chain of order k, in log space."""

    recipe: Literal["markov"] = "markov"
    order: Length | None = None
    """How many of the newest items are read; by default 30, and fewer on logs of more than a
    million events, so that the counts fit into memory."""
    decay: PositiveShare | None = None
    """Weight of each item relative to the next newer one; by default tuned on validation users."""
    smoothing: Annotated[float, Field(ge=1e-6, le=1_000_000)] | None = None
    """Added to every transition count; by default tuned on validation users."""


class SequentialRulesConfig(Config):
    """Rules between an item and those that came after it, near or far."""

    recipe: Literal["sequential_rules"] = "sequential_rules"
    order: Length | None = None
    """How many of the newest items are read, and the largest distance of a rule; by default 30, and
    fewer on logs of more than a million events, so that the counts fit into memory."""
    distance_decay: PositiveShare | None = None
    """Weight of a pair of training events relative to one that is nearer by one event; by default
    tuned on validation users."""
    decay: PositiveShare | None = None
    """Weight of each history item relative to the next newer one; by default tuned on validation
    users."""
    smoothing: Annotated[float, Field(ge=1e-6, le=1_000_000)] | None = None
    """Count of a pair at which a rule has log 2; by default tuned on validation users."""


class ItemKNNConfig(Config):
    """Item-based nearest neighbours."""

    recipe: Literal["item_knn"] = "item_knn"
    neighbours: Count = 100
    """Most similar items kept per item."""
    shrinkage: Annotated[float, Field(ge=0, le=1_000_000)] = 0.0
    """Shrinks similarities with few common users towards 0, in users."""
    decay: PositiveShare | None = None
    """Weight of each history item relative to the next newer one; by default tuned on validation
    users."""


class EASEConfig(Config):
    """Linear item model of least squares, in closed form."""

    recipe: Literal["ease"] = "ease"
    regularisation: Regularisation | None = None
    """Weight of the squared weights, in users; by default tuned on validation users."""
    decay: PositiveShare | None = None
    """Weight of each history item relative to the next newer one, 1 as published; by default tuned
    on validation users."""


class SLIMConfig(Config):
    """Sparse linear item model of an elastic net."""

    recipe: Literal["slim"] = "slim"
    l1: Annotated[float, Field(ge=0, le=1_000_000)] = 3.0
    """Weight of the absolute weights, in users; more makes more of them 0."""
    l2: Regularisation = 100.0
    """Weight of the squared weights, in users."""
    decay: PositiveShare | None = None
    """Weight of each history item relative to the next newer one, 1 as published; by default tuned
    on validation users."""


class UserKNNConfig(Config):
    """User-based nearest neighbours."""

    recipe: Literal["user_knn"] = "user_knn"
    neighbours: Count | None = None
    """Most similar training users that vote; by default tuned on validation users."""


class AssociationRulesConfig(Config):
    """Association rules between pairs of items."""

    recipe: Literal["association_rules"] = "association_rules"
    measure: Literal["support", "confidence", "lift"] = "confidence"
    """Strength of a rule."""
    min_users: Count = 2
    """Fewest training users behind a rule."""
    rules: Count = 500
    """Strongest rules kept per item."""


class ALSConfig(Config):
    """Matrix factorisation by alternating least squares."""

    recipe: Literal["als"] = "als"
    factors: Width = 64
    """Length of user and item vectors."""
    alpha: Annotated[float, Field(gt=0, le=1_000)] = 1.0
    """How much more an interaction counts than its absence."""
    regularisation: Regularisation = 10.0
    """Weight of the squared vectors."""
    iterations: Count = 10
    """How often users and items are solved for in turn."""


class BPRConfig(Config):
    """Matrix factorisation by Bayesian personalised ranking."""

    recipe: Literal["bpr"] = "bpr"
    factors: Width = 64
    """Length of user and item vectors."""
    epochs: Count = 10
    """Passes over the training events, one negative each."""
    learning_rate: LearningRate = 0.01
    """Initial learning rate of Adam; decays linearly to 0."""
    regularisation: Weight = 0.001
    """Weight of the squared vectors in a batch."""


class FPMCConfig(Config):
    """Factorised personalised Markov chain."""

    recipe: Literal["fpmc"] = "fpmc"
    factors: Width = 64
    """Length of the vectors."""
    epochs: Count = 6
    """Passes over the training sequences."""
    learning_rate: LearningRate = 0.005
    """Initial learning rate of Adam; decays linearly to 0."""
    negatives: Sample = 256
    """Negatives per batch."""


class EnsembleConfig(Config):
    """Several teachers together, by the weighted mean of their calibrated log-probabilities."""

    recipe: Literal["ensemble"] = "ensemble"
    members: Annotated[tuple[str, ...], BeforeValidator(listed), Field(min_length=2)]
    """Run directories of finished teachers, which are copied, and names of baselines, which are
    fitted with their defaults; separated by commas."""
    weights: Annotated[tuple[Weight, ...], BeforeValidator(listed)] | None = None
    """Weight of each member, separated by commas; by default those under which the targets of the
    validation users are most likely."""


BaselineConfig = (
    PopularityConfig
    | MarkovConfig
    | SequentialRulesConfig
    | ItemKNNConfig
    | EASEConfig
    | SLIMConfig
    | UserKNNConfig
    | AssociationRulesConfig
    | ALSConfig
    | BPRConfig
    | FPMCConfig
    | EnsembleConfig
)
