"""The axes of a teacher: what may be combined, and which settings each choice reads."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from genrec.config.errors import GenrecError
from genrec.config.reading import LossName, NegativesName, ObjectiveName, TeacherSettings

BackboneName = Literal["causal", "bidirectional", "gru", "caser", "nextitnet", "tisasrec"]


@dataclass(frozen=True)
class Axes:
    """A teacher in a few words: one choice on each axis of the training step.

    Attributes:
        backbone: a causal or bidirectional transformer, a recurrent or a convolutional network, or
            a causal transformer that reads times.
        objective: which positions answer for which items.
        negatives: what targets are compared with.
        loss: how.
        num_negatives: k of sampled negatives.
    """

    backbone: BackboneName
    objective: ObjectiveName
    negatives: NegativesName
    loss: LossName
    num_negatives: int | None = None


SAMPLED = ("uniform", "popular", "in_batch")
TRANSFORMERS = ("causal", "bidirectional")
# Which choices read a setting. What is not here is read by every recipe.
READERS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "splits": {"embedding": ("recjpq",)},
    "codes": {"embedding": ("recjpq",)},
    "ranking": {"embedding": ("recjpq",)},
    "blocks": {"backbone": (*TRANSFORMERS, "gru", "nextitnet", "tisasrec")},
    "block": {"backbone": TRANSFORMERS},
    "heads": {"backbone": (*TRANSFORMERS, "tisasrec")},
    "max_interval": {"backbone": ("tisasrec",)},
    "num_negatives": {"negatives": SAMPLED},
    "shared_negatives": {"negatives": SAMPLED},
    "reject_history": {"negatives": SAMPLED},
    "popularity_power": {"negatives": ("popular",)},
    "logq": {"negatives": SAMPLED, "loss": ("softmax",)},
    "t": {"loss": ("gbce",)},
    "contrastive_weight": {"contrastive": ("cl4srec", "duorec")},
    "contrastive_temperature": {"contrastive": ("cl4srec", "duorec")},
    "mask_share": {"objective": ("masked",)},
    "last_mask_share": {"objective": ("masked",)},
    "rss_share": {"objective": ("recency",)},
    "rss_decay": {"objective": ("recency",)},
    "rss_power": {"objective": ("recency",)},
}


def choose(settings: TeacherSettings, own: Axes) -> Axes:
    """A recipe's own choices, changed by the settings that name another."""
    return replace(
        own,
        objective=settings.objective or own.objective,
        negatives=settings.negatives or own.negatives,
        loss=settings.loss or own.loss,
        num_negatives=settings.num_negatives or own.num_negatives,
    )


def require_fit(settings: TeacherSettings, axes: Axes) -> None:
    """Check that a teacher's choices fit each other and that they read every setting that was
    changed.

    Raises:
        GenrecError: saying what does not fit and what to choose instead, or which setting would
            count nowhere.
    """
    if problems := _misfits(axes) + _unread(settings, axes):
        raise GenrecError(
            "\n".join(f"teacher {settings.recipe}: {problem}" for problem in problems)
        )


def changed(settings: TeacherSettings) -> dict[str, object]:
    """The settings that differ from their defaults, without the recipe's name."""
    default = TeacherSettings().model_dump()
    return {
        name: value
        for name, value in settings.model_dump().items()
        if name != "recipe" and value != default[name]
    }


def _misfits(axes: Axes) -> list[str]:
    """Why choices do not fit each other, and what to choose instead."""
    sampled = axes.negatives in SAMPLED
    checks = (
        (
            axes.objective == "masked" and axes.backbone != "bidirectional",
            "the masked objective reads both sides of an item, but this backbone sees only what"
            " came before it:"
            " choose teacher.recipe=bert4rec, or teacher.objective=shifted",
        ),
        (
            axes.objective == "shifted" and axes.backbone == "bidirectional",
            "with the shifted objective a bidirectional backbone would see the items that it has to"
            " find:"
            " choose teacher.objective=masked, last or recency, or teacher.recipe=sasrec",
        ),
        (
            axes.objective == "recency" and sampled,
            f"the recency objective asks for a set of items, and {axes.negatives} negatives are"
            " drawn for one item:"
            " choose teacher.negatives=catalogue, or teacher.objective=last",
        ),
        (
            axes.loss == "gbce" and not sampled,
            "gbce undoes what sampling does to probabilities, and the whole catalogue is no sample:"
            " choose teacher.loss=bce, or teacher.negatives=uniform",
        ),
        (
            sampled and axes.num_negatives is None,
            f"how many {axes.negatives} negatives? Set teacher.num_negatives, for instance to 256",
        ),
    )
    return [problem for wrong, problem in checks if wrong]


def _unread(settings: TeacherSettings, axes: Axes) -> list[str]:
    """Which settings were changed for nothing, and where they would count."""
    here: dict[str, str] = {
        "embedding": settings.embedding,
        "contrastive": settings.contrastive,
        "backbone": axes.backbone,
        "objective": axes.objective,
        "negatives": axes.negatives,
        "loss": axes.loss,
    }
    problems = [
        f"teacher.{name}={value} counts only with {axis} {' or '.join(choices)}, and here it is"
        f" {here[axis]}:"
        f" {_way_out(axis, choices)}, or leave teacher.{name} out"
        for name, value in changed(settings).items()
        for axis, choices in READERS.get(name, {}).items()
        if here[axis] not in choices
    ]
    if axes.objective == "recency" and {"rss_decay", "rss_power"} <= changed(settings).keys():
        problems.append("teacher.rss_power replaces teacher.rss_decay: leave one of them out")
    return problems


def _way_out(axis: str, choices: tuple[str, ...]) -> str:
    return (
        "choose another teacher.recipe"
        if axis == "backbone"
        else f"choose teacher.{axis}={choices[0]}"
    )
