"""Recipes of teachers: a name stands for one choice per axis of the training step.

A recipe is a preset over the settings of a neural scorer (``genrec.models.config``); every choice
can be changed by a setting. Baselines are chosen in the same place and have settings of their own
(``genrec.baselines.config``). Nothing here imports torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import TypeAdapter

from genrec.baselines.config import (
    ALSConfig,
    AssociationRulesConfig,
    BPRConfig,
    EASEConfig,
    EnsembleConfig,
    FPMCConfig,
    ItemKNNConfig,
    MarkovConfig,
    PopularityConfig,
    SequentialRulesConfig,
    SLIMConfig,
    UserKNNConfig,
)
from genrec.config.choices import Choice, External, Target, choice_of
from genrec.models.config import NeuralConfig

TEACHERS = "genrec.teachers"


@dataclass(frozen=True)
class Preset:
    """What a recipe chooses.

    Attributes:
        summary: the model in a line, with its source.
        choices: values of settings of ``NeuralConfig``.
    """

    summary: str
    choices: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


CAUSAL = {"name": "transformer", "causal": True}
BIDIRECTIONAL = {"name": "transformer", "causal": False}
NEXT_ITEM = {"name": "shifted"}
CATALOGUE = {"name": "catalogue"}
SOFTMAX = {"name": "softmax"}


def _next_item(backbone: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Next-item prediction with cross-entropy over the whole catalogue."""
    return {
        "backbone": backbone,
        "objective": NEXT_ITEM,
        "negatives": CATALOGUE,
        "loss": SOFTMAX,
    }


PRESETS: dict[str, Preset] = {
    "sasrec": Preset(
        "Causal transformer, next item, one uniform negative, BCE [Kang & McAuley 2018].",
        {
            "backbone": CAUSAL,
            "objective": NEXT_ITEM,
            "negatives": {"name": "uniform", "count": 1},
            "loss": {"name": "bce"},
        },
    ),
    "sasrec_softmax": Preset(
        "SASRec with cross-entropy over the whole catalogue [Klenitskiy & Vasilev 2023].",
        _next_item(CAUSAL),
    ),
    "gsasrec": Preset(
        "SASRec with 256 negatives and gBCE, which corrects the overconfidence that they cause"
        " [Petrov & Macdonald 2023].",
        {
            "backbone": CAUSAL,
            "objective": NEXT_ITEM,
            "negatives": {"name": "uniform", "count": 256},
            "loss": {"name": "gbce"},
        },
    ),
    "bert4rec": Preset(
        "Bidirectional transformer, Cloze task, cross-entropy over the whole catalogue"
        " [Sun et al. 2019].",
        {
            "backbone": BIDIRECTIONAL,
            "objective": {"name": "masked"},
            "negatives": CATALOGUE,
            "loss": SOFTMAX,
        },
    ),
    "sasrec_rss": Preset(
        "SASRec whose last state ranks a set of recently seen items, LambdaRank"
        " [Petrov & Macdonald 2022b].",
        {
            "backbone": CAUSAL,
            "objective": {"name": "recency"},
            "negatives": CATALOGUE,
            "loss": {"name": "lambdarank"},
        },
    ),
    "gru4rec": Preset(
        "Recurrent network, next item, cross-entropy over the whole catalogue"
        " [Hidasi et al. 2016].",
        _next_item({"name": "gru"}),
    ),
    "caser": Preset(
        "Convolutions over the last five items of every position, next item, cross-entropy"
        " [Tang & Wang 2018].",
        _next_item({"name": "caser"}),
    ),
    "nextitnet": Preset(
        "Dilated causal convolutions, next item, cross-entropy over the whole catalogue"
        " [Yuan et al. 2019].",
        _next_item({"name": "nextitnet"}),
    ),
    "tisasrec": Preset(
        "SASRec with cross-entropy, whose attention reads the time between events"
        " [Li et al. 2020]; the log needs timestamps.",
        _next_item({"name": "tisasrec"}),
    ),
    "sasrec_counts": Preset(
        "SASRec with cross-entropy and a count-based expert, sequential rules that the network"
        " weighs.",
        {**_next_item(CAUSAL), "expert": {"name": "counts"}},
    ),
}


class NeuralTeacher(NeuralConfig):
    """A neural scorer that starts from the choices of a recipe."""

    recipe: Literal[
        "sasrec",
        "sasrec_softmax",
        "gsasrec",
        "bert4rec",
        "sasrec_rss",
        "gru4rec",
        "caser",
        "nextitnet",
        "tisasrec",
        "sasrec_counts",
    ] = "sasrec_softmax"
    """Name of the recipe or baseline."""


class ExternalTeacher(External):
    """A scorer of the user's own: a class with ``fit``, ``save`` and ``load`` as baselines have."""

    recipe: Target
    """Where the scorer is found."""


def with_preset(content: dict[str, Any]) -> dict[str, Any]:
    """The settings of a teacher with the choices of its recipe where it names no others.

    A component of the same name, or without a name, is changed key by key. One of another name
    takes over those keys that it has as well, for instance the number of negatives.
    """
    preset = PRESETS.get(content["recipe"])
    if preset is None:
        return content
    merged = dict(content)
    for axis, chosen in preset.choices.items():
        merged[axis] = _merge(axis, chosen, content.get(axis, {}))
    return merged


def _merge(axis: str, chosen: Mapping[str, Any], given: Any) -> Any:
    given = {"name": given} if isinstance(given, str) else given
    if not isinstance(given, Mapping):
        return given  # a config, or something that validation refuses
    if given.get("name", chosen["name"]) == chosen["name"]:
        return {**chosen, **given}
    field_info = NeuralTeacher.model_fields[axis]
    choice = choice_of(field_info.annotation, field_info.metadata)
    assert choice is not None
    fields = choice.config_of(str(given["name"])).model_fields
    shared = {key: value for key, value in chosen.items() if key in fields and key != "name"}
    return {**shared, **given}


TeacherConfig = Annotated[
    NeuralTeacher
    | PopularityConfig
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
    | ExternalTeacher,
    Choice(TEACHERS, key="recipe", default="sasrec_softmax", prepare=with_preset),
]
Teacher = (
    NeuralTeacher
    | PopularityConfig
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
    | ExternalTeacher
)
"""Settings of a teacher, whichever its kind."""

_ADAPTER: TypeAdapter[Teacher] = TypeAdapter(TeacherConfig)


def recipe(name: str, **changes: Any) -> Teacher:
    """The settings of a recipe or baseline by name.

    Args:
        name: of a recipe or baseline, or a scorer of the user's own as ``module:attr``.
        changes: settings that differ from the recipe's.

    Raises:
        ConfigError: for an unknown name or setting, or choices that do not fit each other.

    >>> recipe("gsasrec").loss
    GBCEConfig(name='gbce', t=0.75)
    >>> recipe("sasrec", loss="softmax", negatives={"count": 64}).negatives.count
    64
    """
    from genrec.config.validation import validated

    return validated(_ADAPTER, {"recipe": name, **changes}, where="teacher", named=True)
