"""Settings of a run: YAML file and key=value overrides to validated, frozen models."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from genrec.config.errors import ConfigError


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
ObjectiveName = Literal["shifted", "masked", "last", "recency"]
NegativesName = Literal["catalogue", "uniform", "popular", "in_batch"]
LossName = Literal["bce", "gbce", "bpr", "softmax", "lambdarank"]


class ReadSettings(_Model):
    """How to read and clean a log that is not built in."""

    user: str | None = None
    """Column of the user; guessed by default."""
    item: str | None = None
    """Column of the item; guessed by default."""
    time: str | None = None
    """Column of the time; guessed by default, the order of the file counts where there is none."""
    separator: str | None = None
    """Separator of a text table; found in the header by default."""
    items: str | None = None
    """File with titles and features; looked for beside the log by default."""
    min_user_events: Annotated[int, Field(ge=0)] = 0
    """Fewest events a user may have."""
    min_item_events: Annotated[int, Field(ge=0)] = 0
    """Fewest events an item may have."""
    drop_repeats: bool = False
    """Keep only a user's first event with an item."""


class TeacherSettings(_Model):
    """Which scorer, how large, and how it is trained."""

    recipe: str = "sasrec_softmax"
    """Name of a recipe or baseline: sasrec, sasrec_softmax, gsasrec, bert4rec, sasrec_rss, gru4rec,
    caser, nextitnet, tisasrec, popularity, markov, item_knn, user_knn, association_rules, als, bpr,
    fpmc."""
    embedding: Literal["table", "recjpq"] = "table"
    """A vector for every item, or item vectors put together from shared pieces, for large
    catalogues."""
    splits: Count = 8
    """Pieces of an item vector (recjpq); hidden_size is a multiple of it."""
    codes: Literal["svd", "bpr", "features", "random"] = "svd"
    """Which items share pieces (recjpq): those with the same users (svd, bpr), with the same
    features, or any."""
    ranking: Literal["pqtopk", "pruned"] = "pqtopk"
    """How the best items are found (recjpq): all from sub-item scores, or without those that cannot
    be among them. The lists are the same; the second is for few users at a time and a very large
    catalogue."""
    hidden_size: Count = 64
    """Width of item vectors and states."""
    blocks: Count = 2
    """Transformer blocks, GRU layers, or pairs of NextItNet blocks."""
    block: Literal["pre-norm", "sasrec", "ligr"] = "pre-norm"
    """Transformer block: pre-norm, SASRec's own, or LiGR's gated one."""
    heads: Count = 1
    """Attention heads."""
    max_length: Annotated[int, Field(ge=2)] = 200
    """How many of the newest items of a history are read."""
    max_interval: Count = 256
    """Longer times between two events count as this many of the user's shortest (tisasrec)."""
    dropout: Share = 0.1
    """Share of dropped activations while training."""
    objective: ObjectiveName | None = None
    """Which positions answer for which items: each for the next one, masked ones for themselves,
    the last for the next, or the last for a set drawn from the sequence by recency; the recipe's
    own by default."""
    negatives: NegativesName | None = None
    """What targets are compared with: every item, or samples that are uniform, by popularity, or
    other targets of the batch; the recipe's own by default."""
    loss: LossName | None = None
    """How they are compared; the recipe's own by default."""
    num_negatives: Count | None = None
    """Sampled negatives a target; the recipe's own number by default."""
    shared_negatives: Literal[False, "sequence", "batch"] = False
    """Whose targets share a draw of negatives: nobody's (false), a sequence's, or, fastest, a whole
    batch's."""
    reject_history: bool = False
    """Items of the user's own sequence are no negatives."""
    popularity_power: Annotated[float, Field(ge=0)] = 1.0
    """Popular negatives are drawn in proportion to this power of their counts."""
    logq: bool = False
    """Sampled softmax estimates the whole catalogue's: a negative counts once over how often it is
    expected."""
    t: Share = 0.75
    """gBCE's calibration: 0 is plain BCE; 1 with uniform negatives gives calibrated
    probabilities."""
    mask_share: Share = 0.2
    """Share of masked items (masked)."""
    last_mask_share: Share = 0.1
    """Share of sequences in which only the last item is masked, as when scoring (masked)."""
    rss_share: Share = 0.2
    """Targets drawn for each item of a sequence, at least one (recency)."""
    rss_decay: Share = 0.8
    """How often an item is drawn, as a share of how often the one after it is (recency)."""
    rss_power: Annotated[float, Field(ge=0)] | None = None
    """Replaces rss_decay: item i of a sequence is drawn in proportion to this power of i
    (recency)."""
    contrastive: Literal["none", "cl4srec", "duorec"] = "none"
    """A second loss that brings states together: of a sequence cropped, masked or reordered in two
    ways, or read twice under dropout and of sequences before the same item."""
    contrastive_weight: Positive = 0.1
    """Of the second loss (cl4srec, duorec)."""
    contrastive_temperature: Positive = 0.1
    """Smaller looks more at the most similar of the states to be kept apart (cl4srec, duorec)."""
    epochs: Count = 40
    """Passes over the training sequences."""
    learning_rate: Positive = 1e-3
    """Of AdamW at the start; falls linearly to 5 % of it."""
    tokens_per_step: Count = 8192
    """Padded positions in one batch."""
    windows: Share = 0.5
    """Share of the sequences longer than max_length that are read up to a random event in place of
    their end, drawn anew every epoch: so events are learnt that lie too far back to be read."""
    evaluate_every: Count = 2
    """Epochs between validations."""
    patience: Count = 10
    """Validations without a better NDCG@10 before stopping, counted once a teacher is above
    popularity."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Decoupled weight decay."""
    bf16: bool = True
    """Matrix products in bfloat16 on machines where that pays."""


class StudentSettings(_Model):
    """The GPTRec that learns to write a teacher's lists, and its lessons."""

    hidden_size: Count = 64
    """Width; a student as wide as its teacher, with as many heads, inherits the teacher's
    transformer."""
    blocks: Count = 2
    """GPT-2 blocks."""
    heads: Count = 1
    """Attention heads."""
    max_length: Count = 200
    """How many of the newest items of a history are read."""
    dropout: Share = 0.0
    """Of embeddings and residual branches while learning lists."""
    demonstrations: Count = 60_000
    """Histories (random beginnings of training sequences) for which the teacher writes a list."""
    pool: Count = 100
    """Teacher's best items kept for each history, with scores; the first K are its list."""
    hard: Share = 0.8
    """Weight of the teacher's list itself as target; the rest goes to its distribution over the
    pool."""
    temperature: Positive = 1.0
    """Of that distribution."""
    epochs: Count = 2
    """Passes over the lessons."""
    learning_rate: Positive = 2e-3
    """Peak, after 100 steps of warm-up; falls linearly to 0."""
    lists_per_step: Count = 32
    """Lists in one batch for histories of full length; more for shorter ones."""
    bf16: bool = True
    """Matrix products in bfloat16 on machines where that pays."""


class AlignSettings(_Model):
    """Proximal policy optimisation over lists."""

    agent: Literal["ppo", "sb3", "grpo"] = "ppo"
    """Who trains: our PPO, MaskablePPO of stable-baselines3's contrib package, or GRPO of TRL."""
    accuracy: Literal["relevance", "ndcg", "mixed", "none"] = "relevance"
    """The accuracy reward that is added with weight 1 unless one is named: the calibrated teacher's
    expected NDCG, the NDCG of the event that came next, half of each, or none."""
    weight: float = 0.3
    """Of a reward that is named without one."""
    warmup_lists: Annotated[int, Field(ge=0)] = 20_000
    """Lists of the greedy re-ranker on the same rewards, for whole training sequences over and
    over, that the student learns before it explores; where lists are paid as a whole, what local
    search makes of them; 0 for none."""
    candidates: Count = 200
    """Items such a list may be chosen from: the teacher's best."""
    updates: Count = 400
    """Rollouts, each followed by one PPO update."""
    histories: Count = 32
    """Histories in one rollout."""
    group_size: Count = 8
    """Lists written for each history."""
    learning_rate: Positive = 5e-4
    """Of AdamW at the start; falls linearly to 5 % of it."""
    epochs: Count = 2
    """Passes over a rollout."""
    minibatches: Count = 2
    """Gradient steps in a pass."""
    temperature: Positive = 0.5
    """The student is sharpened by this before it explores: its greedy lists stay, its samples come
    nearer to them."""
    clip: Positive = 0.2
    """Probability ratios are clipped to 1 +- this."""
    discount: Share = 1.0
    """gamma: 1 makes the return the list's metric."""
    gae_lambda: Share = 0.95
    """lambda of generalised advantage estimation."""
    baseline: Literal["group", "critic"] = "group"
    """What an action is compared with: the mean return of the history's other lists, or a learnt
    value (GAE)."""
    kl: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the KL divergence from the student, a position."""
    kl_target: Positive | None = None
    """KL divergence from the student, a position, that the penalty steers to; its weight, kl at
    first, is adapted."""
    entropy: Annotated[float, Field(ge=0)] = 0.0
    """Weight of an entropy bonus, a position."""
    evaluate_every: Count = 25
    """Updates between validations of the greedy policy."""
    bf16: bool = True
    """Matrix products in bfloat16 on machines where that pays."""


class CompareSettings(_Model):
    """What the aligned policy is compared with."""

    weights: Count = 21
    """Points of each re-ranker's grid."""
    policy_weights: Annotated[int, Field(ge=2)] = 11
    """Points of the grid of a policy that was aligned for a range of weights."""
    candidates: Count = 200
    """Items a re-ranker may choose from: the teacher's best."""
    highest: Positive = 16.0
    """Largest weight of the reward for the greedy re-ranker, in units of the aligned policy's
    weight, before the last one, which is the reward alone."""
    resamples: Count = 2000
    """Draws of the users for intervals and tests by bootstrap."""


class Settings(_Model):
    """One run."""

    dataset: str = "demo"
    """Built-in or known name, or a path."""
    read: ReadSettings = ReadSettings()
    split: Literal["leave-one-out", "global-time"] = "leave-one-out"
    """How events are held out."""
    hold_back: Annotated[int, Field(ge=0)] = 0
    """Newest events of training sequences (of two more at least) that teacher and student never
    see; alignment is paid on them."""
    k: Count = 10
    """Length of a list."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of everything random."""
    device: str = "auto"
    """auto, cuda, mps or cpu."""
    teacher: TeacherSettings = TeacherSettings()
    student: StudentSettings = StudentSettings()
    align: AlignSettings = AlignSettings()
    compare: CompareSettings = CompareSettings()


def read_settings(
    file: Path | None = None,
    overrides: Iterable[str] = (),
    start: Settings | None = None,
    **known: str | int | None,
) -> Settings:
    """Settings from a YAML file, changed by ``key=value`` overrides.

    Args:
        file: a path, or the name of a shipped configuration such as ``demo.yaml``.
        start: settings to begin with where there is no file, for instance those of a run; the
            defaults otherwise.
        overrides: such as ``teacher.epochs=5``; values are read as YAML.
        known: top-level values that are not None, for instance ``dataset="demo"``; they win over
            the file.

    Raises:
        ConfigError: naming the unknown key and the valid ones, or the value and what it should be.
    """
    content: dict[str, Any] = _read_yaml(file) if file else start.model_dump() if start else {}
    content |= {key: value for key, value in known.items() if value is not None}
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise ConfigError(f"--set {override}: write key=value, for instance teacher.epochs=5")
        try:
            _place(content, key.strip().split("."), yaml.safe_load(value))
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {override}: the value is not valid YAML: {error}") from None
    try:
        return Settings.model_validate(content)
    except ValidationError as error:
        raise ConfigError(_explain(error)) from None


def find_config(name: Path) -> Path:
    """The file itself, or the shipped configuration of that name.

    Raises:
        ConfigError: listing the shipped ones.
    """
    if name.exists():
        return name
    shipped = Path(str(resources.files("genrec.configs")))
    if (shipped / name).exists():
        return shipped / name
    names = sorted(str(path.relative_to(shipped)) for path in shipped.rglob("*.yaml"))
    raise ConfigError(
        f"no configuration {name}; give a path or one of the shipped {', '.join(names)}"
    )


def _read_yaml(file: Path) -> dict[str, Any]:
    path = find_config(file)
    try:
        content = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold keys and values, for instance dataset: demo")
    return content


def _place(content: dict[str, Any], keys: list[str], value: object) -> None:
    for key in keys[:-1]:
        content = content.setdefault(key, {})
        if not isinstance(content, dict):
            raise ConfigError(f"--set {'.'.join(keys)}: {key} is not a group of settings")
    content[keys[-1]] = value


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        keys = [str(key) for key in problem["loc"]]
        if problem["type"] == "extra_forbidden":
            valid = _fields(keys[:-1])
            close = get_close_matches(keys[-1], valid, n=1)
            hint = f"; did you mean {close[0]}?" if close else "."
            lines.append(
                f"unknown setting {'.'.join(keys)}{hint} Valid here: {', '.join(sorted(valid))}"
            )
        else:
            lines.append(
                f"setting {'.'.join(keys)} is {problem['input']!r}: {problem['msg'].lower()}"
            )
    return "\n".join(lines)


def _fields(keys: list[str]) -> Mapping[str, object]:
    model: type[BaseModel] = Settings
    for key in keys:
        found = model.model_fields[key].annotation
        assert isinstance(found, type)
        model = found
    return model.model_fields
