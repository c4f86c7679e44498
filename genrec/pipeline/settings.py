"""The settings of a run: those of every stage in one tree, from YAML files and overrides.

Nothing here imports torch, so that a mistyped key is answered at once.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BeforeValidator, Field, TypeAdapter

from genrec.agents.config import (
    DistillationConfig,
    GPTRecConfig,
    GRPOConfig,
    MaskablePPOConfig,
    PPOConfig,
)
from genrec.config.choices import Choice, Target, choice_of
from genrec.config.errors import ConfigError
from genrec.config.files import override, read_yaml
from genrec.config.model import (
    Config,
    Count,
    Length,
    Seed,
    Temperature,
    listed,
)
from genrec.config.trust import name_code_in
from genrec.config.validation import bounds, validated
from genrec.data.config import ReadConfig
from genrec.recipes import NeuralTeacher, TeacherConfig


class StudentConfig(GPTRecConfig, DistillationConfig):
    """The GPTRec that learns to write its teacher's lists."""


class AlignmentConfig(Config):
    """What an alignment needs whichever agent trains it."""

    accuracy: Literal["relevance", "ndcg", "mixed", "none"] = "relevance"
    """Accuracy reward that is added with weight 1 unless one is named: expected NDCG under the
    calibrated teacher (relevance), NDCG of the event that came next (ndcg), half of each (mixed),
    or none."""
    weight: Annotated[float, Field(ge=-1_000_000, le=1_000_000)] = 0.3
    """Weight of a reward that is named without one."""
    warmup_lists: Annotated[int, Field(ge=0, le=10_000_000)] = 20_000
    """Lists of the greedy re-ranker on the same rewards, for whole training sequences, that the
    student learns before reinforcement learning (supervised warm-up). For rewards of whole lists
    they are improved by local search. 0 switches the warm-up off."""
    candidates: Count = 200
    """Candidates per list of the supervised warm-up: the teacher's best items."""
    temperature: Temperature = 0.5
    """The student's logits are divided by this before it explores: its greedy lists stay the same,
    and its samples come closer to them."""


class PPOAlignment(AlignmentConfig, PPOConfig):
    """Alignment with genrec's PPO."""

    agent: Literal["ppo"] = "ppo"
    """Which agent trains: genrec's PPO (ppo), MaskablePPO of sb3-contrib (sb3), or GRPO of TRL
    (grpo)."""


class SB3Alignment(AlignmentConfig, MaskablePPOConfig):
    """Alignment with MaskablePPO of sb3-contrib."""

    agent: Literal["sb3"] = "sb3"
    """Which agent trains."""


class GRPOAlignment(AlignmentConfig, GRPOConfig):
    """Alignment with GRPO of TRL."""

    agent: Literal["grpo"] = "grpo"
    """Which agent trains."""


Alignment = Annotated[
    PPOAlignment | SB3Alignment | GRPOAlignment, Choice(key="agent", default="ppo")
]


class CompareConfig(Config):
    """What an aligned policy is compared with."""

    weights: Length = 21
    """Points of each re-ranker's grid of weights."""
    policy_weights: Annotated[int, Field(ge=2, le=10_000)] = 21
    """Points of the grid of a policy that was aligned for a range of weights; as many as the
    re-rankers have by default."""
    candidates: Count = 200
    """Candidates per user of the re-rankers: the teacher's best items."""
    highest: Annotated[float, Field(gt=0, le=1_000_000)] = 16.0
    """Largest weight of the reward for the greedy re-ranker, in units of the aligned policy's
    weight, before the last point of the grid, which is the reward alone."""
    resamples: Annotated[int, Field(ge=1, le=1_000_000)] = 2000
    """Bootstrap resamples of the users, and of several seeds, for intervals and tests."""
    rerankers: Annotated[tuple[Target, ...], BeforeValidator(listed)] = ()
    """Re-rankers of your own that take part, separated by commas: the name of a plugin, module:attr
    or file.py:attr of a function (pool, k, weight)."""


class Settings(Config):
    """Settings of a run."""

    dataset: Annotated[str, Field(min_length=1)] = "demo"
    """Built-in or known name, or a path."""
    read: ReadConfig = ReadConfig()
    """How the log is read and cleaned."""
    split: Literal["leave-one-out", "global-time"] = "leave-one-out"
    """How events are held out."""
    hold_back: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Newest events of each training sequence that teacher and student never see and that alignment
    is rewarded on; at least two events of a sequence stay for training."""
    k: Length = 10
    """Length of a list."""
    seed: Seed = 0
    """Random seed."""
    device: str = "auto"
    """Device of the models: auto, cuda, mps or cpu."""
    trackers: Annotated[tuple[Literal["wandb", "mlflow"], ...], BeforeValidator(listed)] = ()
    """Further trackers of the metrics beside JSON lines and TensorBoard; each needs the extra of
    its name."""
    teacher: TeacherConfig = NeuralTeacher()
    """The scorer that the student learns from and that rewards relevance."""
    student: StudentConfig = StudentConfig()
    """The policy before alignment."""
    align: Alignment = PPOAlignment()
    """Supervised warm-up and reinforcement learning."""
    compare: CompareConfig = CompareConfig()
    """The comparison with re-rankers and baselines."""


MOVED = {
    "teacher.blocks": "teacher.backbone.blocks (teacher.backbone.layers of gru)",
    "teacher.block": "teacher.backbone.block",
    "teacher.heads": "teacher.backbone.heads",
    "teacher.max_interval": "teacher.backbone.max_interval",
    "teacher.splits": "teacher.embedding.splits",
    "teacher.codes": "teacher.embedding.codes",
    "teacher.ranking": "teacher.embedding.ranking",
    "teacher.num_negatives": "teacher.negatives.count",
    "teacher.shared_negatives": "teacher.negatives.shared",
    "teacher.reject_history": "teacher.negatives.reject_history",
    "teacher.popularity_power": "teacher.negatives.power",
    "teacher.logq": "teacher.loss.logq",
    "teacher.t": "teacher.loss.t",
    "teacher.mask_share": "teacher.objective.mask_share",
    "teacher.last_mask_share": "teacher.objective.last_mask_share",
    "teacher.rss_share": "teacher.objective.share",
    "teacher.rss_decay": "teacher.objective.decay",
    "teacher.rss_power": "teacher.objective.power",
    "teacher.contrastive_weight": "teacher.contrastive.weight",
    "teacher.contrastive_temperature": "teacher.contrastive.temperature",
    "student.lessons": "student.demonstrations",
    "align.warm_start": "align.warmup_lists",
}
"""Former keys and what they are called now; the error for an old key names the new one."""

_ADAPTER = TypeAdapter(Settings)


def read_settings(
    file: Path | None = None,
    overrides: Iterable[str] = (),
    start: Settings | None = None,
    **known: str | int | None,
) -> Settings:
    """Settings from a YAML file, changed by ``key=value`` overrides.

    Args:
        file: a path, or the name of a shipped configuration such as ``demo.yaml``.
        overrides: such as ``teacher.epochs=5``; values are read as YAML.
        start: settings to begin with where there is no file, for instance those of a run; the
            defaults otherwise.
        known: top-level values that are not None, for instance ``dataset="demo"``; they win over
            the file.

    Raises:
        ConfigError: naming the unknown key and the valid ones, or the value and what it should be.
    """
    changes = tuple(overrides)
    # Overrides are what the user says; a file is data, and may not choose which code runs.
    name_code_in(override({}, changes, name_key))
    content = read_yaml(file) if file else start.model_dump() if start else {}
    content |= {key: value for key, value in known.items() if value is not None}
    if start and not file:
        content = _for_the_chosen(content, override(content, changes, name_key))
    return settings_of(override(content, changes, name_key))


def _for_the_chosen(content: Mapping[str, Any], changed: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a run without settings of an agent or teacher that an override replaces."""
    kept = dict(content)
    for section, field in Settings.model_fields.items():
        choice = choice_of(field.annotation, field.metadata)
        if choice is None or not isinstance(changed[section], Mapping):
            continue
        name = changed[section].get(choice.key)
        if name != content[section][choice.key] and name in choice.members:
            fields = choice.config_of(name).model_fields
            kept[section] = {key: kept[section][key] for key in kept[section] if key in fields}
    return kept


def settings_of(content: Mapping[str, Any]) -> Settings:
    """Validated settings from nested mappings.

    Raises:
        ConfigError: one line per problem.
    """
    return validated(_ADAPTER, dict(content), moved=MOVED)


def name_key(keys: list[str]) -> str | None:
    """The key that a short form at a place of the settings stands for; None for plain values."""
    field = Settings.model_fields.get(keys[0])
    if field is None:
        return None
    choice = choice_of(field.annotation, field.metadata)
    if choice is None:
        return None
    if len(keys) == 1:
        return choice.key
    return "name" if keys[0] == "teacher" and len(keys) == 2 else None


@dataclass(frozen=True)
class Setting:
    """One setting, as ``genrec settings`` and the documentation show it.

    Attributes:
        key: dotted key.
        type: what its values are.
        default: its default as YAML would show it; None where there is none.
        choices: the values that it can take, empty where there are too many.
        meaning: what it does.
        used_with: the choices that have it, such as ``teacher.loss=gbce``; empty for always.
    """

    key: str
    type: str
    default: Any
    choices: tuple[str, ...]
    meaning: str
    used_with: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The setting as JSON has it."""
        return asdict(self)


def describe(section: str = "") -> list[Setting]:
    """Every setting, or those of a section such as ``teacher`` or ``teacher.loss``.

    Raises:
        ConfigError: for a section that does not exist.
    """
    found: dict[tuple[str, str, str], Setting] = {}
    for setting in _settings_of(Settings, "", ()):
        same = (setting.key, setting.meaning, repr(setting.default))
        before = found.get(same)
        used = before.used_with if before else ()
        found[same] = replace(setting, used_with=(*used, *setting.used_with))
    chosen = [_shortened(each) for each in found.values() if _inside(each.key, section)]
    if not chosen:
        names = ", ".join(Settings.model_fields)
        raise ConfigError(f"there is no section {section!r} of settings; there are {names}")
    return chosen


def _shortened(setting: Setting) -> Setting:
    """The setting without ``used_with`` where every component has it."""
    section = setting.key.partition(".")[0]
    field = Settings.model_fields[section]
    choice = choice_of(field.annotation, field.metadata)
    if choice is None or len(set(choice.members.values())) > len(setting.used_with):
        return setting
    return replace(setting, used_with=())


def _inside(key: str, section: str) -> bool:
    return not section or key == section or key.startswith(f"{section}.")


def _settings_of(model: type[Config], prefix: str, used_with: tuple[str, ...]) -> Iterator[Setting]:
    for name, field in model.model_fields.items():
        key = f"{prefix}{name}"
        choice = choice_of(field.annotation, field.metadata)
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        meaning = " ".join((field.description or "").split())
        if choice is not None:
            yield from _settings_of_choice(choice, key, default, meaning, used_with)
        elif isinstance(field.annotation, type) and issubclass(field.annotation, Config):
            yield from _settings_of(field.annotation, f"{key}.", used_with)
        else:
            kind, choices = _type_of(field.annotation, field.metadata)
            shown = list(default) if isinstance(default, tuple) else default
            yield Setting(key, kind, shown, choices, meaning, used_with)


def _settings_of_choice(
    choice: Choice, key: str, default: Any, meaning: str, used_with: tuple[str, ...]
) -> Iterator[Setting]:
    """The name of a component, then the settings of each component."""
    named = key if choice.key == "name" else f"{key}.{choice.key}"
    shown = getattr(default, choice.key, choice.default)
    own = ("module:attribute",) if choice.takes_external else ()
    yield Setting(named, "name", shown, (*choice.names, *own), meaning, used_with)
    members: dict[type[Config], list[str]] = {}
    for name, config in choice.members.items():
        members.setdefault(config, []).append(name)
    for config, names in members.items():
        label = f"{named}={'|'.join(names)}"
        for setting in _settings_of(config, f"{key}.", (label,)):
            if setting.key != f"{key}.{choice.key}":
                yield setting


def _type_of(annotation: Any, metadata: list[Any]) -> tuple[str, tuple[str, ...]]:
    """What the values of a field are, in words, and the choices where they are few."""
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return _type_of(inner, [*more, *metadata])
    if get_origin(annotation) is Literal:
        return "choice", tuple(_yaml(value) for value in get_args(annotation))
    parts = [part for part in get_args(annotation) if part is not type(None)]
    if get_origin(annotation) is tuple:
        kind, choices = _type_of(parts[0], [])
        return f"list of {kind}s", choices
    if parts:
        kinds = [_type_of(part, metadata) for part in parts]
        return " or ".join([*(kind for kind, _ in kinds), "null"]), ()
    names = {bool: "true or false", int: "integer", float: "number", str: "text"}
    return names.get(annotation, str(annotation)) + _bounds(metadata), ()


def _bounds(metadata: list[Any]) -> str:
    """The range of a number, such as " >= 1"."""
    found = bounds(metadata)
    return f" {', '.join(found)}" if found else ""


def _yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
