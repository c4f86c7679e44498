"""Teachers of every kind: trained from settings into a run directory, and loaded from one."""

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter
from scipy import sparse

from genrec.baselines.als import ALS
from genrec.baselines.association_rules import AssociationRules
from genrec.baselines.bpr import BPR
from genrec.baselines.config import EnsembleConfig
from genrec.baselines.ensemble import Ensemble, fit_factors
from genrec.baselines.fpmc import FPMC
from genrec.baselines.item_knn import ItemKNN
from genrec.baselines.linear import EASE, SLIM
from genrec.baselines.markov import Markov, affordable_order, count_transitions
from genrec.baselines.popularity import Popularity
from genrec.baselines.sequential_rules import SequentialRules, pooled
from genrec.baselines.storage import DESCRIPTION, WEIGHTS
from genrec.baselines.user_knn import UserKNN
from genrec.config.components import load_object
from genrec.config.errors import ConfigError, GenrecError, RunError
from genrec.config.model import Config
from genrec.config.validation import validated
from genrec.data.sequences import Sequences
from genrec.data.splits import Split
from genrec.metrics.calibration import fit_temperature
from genrec.models.build import build, build_scorer
from genrec.models.choices import CountExpertConfig, RecJPQConfig
from genrec.models.codes import factor_codes, feature_codes, svd_codes
from genrec.models.config import NeuralConfig
from genrec.models.contrastive import ContrastiveLoss, make_contrastive_loss
from genrec.models.count_expert import PREFIX
from genrec.models.quantized import JointQuantized
from genrec.models.scorer import NeuralScorer
from genrec.models.trainer import fit, training_sequences
from genrec.pipeline.provenance import DESCRIPTIONS, verified
from genrec.recipes import (
    TEACHERS,
    ExternalTeacher,
    NeuralTeacher,
    Teacher,
    TeacherConfig,
    recipe,
)
from genrec.recommender import Scorer, errors_of, unseen_scores
from genrec.results import RunMetadata
from genrec.training.checkpoint import load_tensors, load_weights, save_tensors
from genrec.training.run_directory import RESTORE, read_json, write_json

NEURAL, EXTERNAL, ENSEMBLE = "neural", "external", "ensemble"
MEMBERS = "members"  # folder of the members of an ensemble
logger = logging.getLogger(__name__)

TEACHER: TypeAdapter[Teacher] = TypeAdapter(TeacherConfig)
PROBE = Sequences.from_lists([[], [1]])
BPR_EPOCHS = 20  # for RecJPQ's codes, as in [Petrov & Macdonald 2024b]
RULE_DISTANCE = 20  # largest distance of a count-based expert's rules, where memory allows it
RANDOM = ("als", "bpr", "fpmc")  # baselines that draw random numbers


class Baseline(Scorer, Protocol):
    """A scorer that is fitted to a split in one call and saves itself."""

    @classmethod
    def fit(cls, split: Split) -> "Baseline":
        """Learn from the training sequences; tune on the validation cases."""
        ...

    def save(self, directory: Path) -> None:
        """Write the scorer into the directory."""
        ...

    @classmethod
    def load(cls, directory: Path) -> "Baseline":
        """The scorer that ``save`` wrote."""
        ...


BASELINES: dict[str, type[Baseline]] = {
    "popularity": Popularity,
    "markov": Markov,
    "sequential_rules": SequentialRules,
    "item_knn": ItemKNN,
    "ease": EASE,
    "slim": SLIM,
    "user_knn": UserKNN,
    "association_rules": AssociationRules,
    "als": ALS,
    "bpr": BPR,
    "fpmc": FPMC,
}


def train_scorer(
    split: Split,
    config: Teacher,
    *,
    seed: int,
    device: torch.device,
    directory: Path,
    quiet: bool = False,
    k: int = 10,
    trackers: tuple[str, ...] = (),
) -> Scorer:
    """Train the teacher that the settings describe and save it; resumes from a checkpoint.

    Args:
        split: data.
        config: settings of a recipe, a baseline or a scorer of the user's own.
        seed: random seed.
        device: of a neural scorer.
        directory: receives ``scorer.json`` and ``scorer.safetensors``.
        quiet: no progress.
        k: length of the lists that are validated.
        trackers: further trackers of the metrics.
    """
    if isinstance(config, EnsembleConfig):
        return _fit_ensemble(split, config, seed=seed, device=device, directory=directory)
    if not isinstance(config, NeuralTeacher):
        return _fit_baseline(split, config, seed, directory)
    num_items = split.catalogue.num_items
    counts = torch.from_numpy(split.catalogue.counts)
    parts = build(config, num_items=num_items, seed=seed, counts=counts)
    scorer = parts.scorer
    prepare(scorer, split, config, seed)
    scorer.to(device)
    fit(
        parts,
        split,
        config,
        contrast=_contrast(split, config, scorer.embedding.mask_id),
        hidden_size=config.hidden_size,
        seed=seed,
        directory=directory,
        quiet=quiet,
        k=k,
        trackers=trackers,
    )
    counts_of_expert = {}
    if scorer.expert is not None:
        counts_of_expert = scorer.expert.stored_counts()
        scorer.expert.held_out = None  # of no use after training
    save_tensors(directory / WEIGHTS, scorer.state_dict() | counts_of_expert)
    content = {
        "kind": NEURAL,
        "num_items": num_items,
        "score_offset": scorer.score_offset,
        "config": config.model_dump(),
    }
    write_json(directory / DESCRIPTION, content)
    return scorer


def prepare(scorer: NeuralScorer, split: Split, config: NeuralConfig, seed: int) -> None:
    """Give an untrained scorer what is computed from the split before its training: codes of RecJPQ
    and counts of the expert.

    Args:
        scorer: built from the settings.
        split: training sequences.
        config: settings of the scorer.
        seed: random seed of the codes.
    """
    if isinstance(scorer.embedding, JointQuantized):
        assert isinstance(config.embedding, RecJPQConfig)
        if config.embedding.codes != "random":
            codes = _codes(split, config.embedding, seed)
            scorer.embedding.assign(torch.from_numpy(codes))
    if scorer.expert is not None:
        assert isinstance(config.expert, CountExpertConfig)
        folds = _rules_of_folds(split, config.expert)
        scorer.expert.assign(sum(folds[1:], start=folds[0]))
        scorer.expert.hold_out(folds)


def _fit_baseline(split: Split, config: Config, seed: int, directory: Path) -> Scorer:
    """Fit a baseline, or a scorer of the user's own, with its settings as keyword arguments."""
    if isinstance(config, ExternalTeacher):
        kind = _external(config.recipe)
        with errors_of(f"teacher {config.recipe!r}: fit"):
            scorer = kind.fit(split, **config.options)
        with errors_of(f"teacher {config.recipe!r}: save"):
            scorer.save(directory)
        unseen_scores(scorer, PROBE)  # before it counts as trained
        write_json(directory / DESCRIPTION, {"kind": EXTERNAL, "recipe": config.recipe})
        return scorer
    options = config.model_dump()
    name = options.pop("recipe")
    if name in RANDOM:
        options["seed"] = seed
    scorer = BASELINES[name].fit(split, **options)
    scorer.save(directory)
    return scorer


def _fit_ensemble(
    split: Split, config: EnsembleConfig, *, seed: int, device: torch.device, directory: Path
) -> Ensemble:
    """Copy or fit the members, and fit their weights on the validation cases."""
    members = []
    for number, name in enumerate(config.members):
        place = directory / MEMBERS / str(number)
        place.mkdir(parents=True, exist_ok=True)
        if (Path(name) / RunMetadata.file_name).exists():
            _copy_model(Path(name), place, split)
        elif name in BASELINES:
            _fit_baseline(split, recipe(name), seed, place)
        else:
            raise ConfigError(
                f"setting teacher.members has {name!r}, which is neither the run directory of a"
                f" finished teacher nor one of {', '.join(BASELINES)}"
            )
        members.append(load_scorer(place, device))
    if config.weights is None:
        factors = fit_factors(members, split.valid)
    else:
        if len(config.weights) != len(members):
            raise ConfigError(
                f"setting teacher.weights has {len(config.weights)} numbers for {len(members)}"
                " members: give one for each"
            )
        calibrated = [fit_temperature(member, split.valid).value for member in members]
        factors = np.array(config.weights) / np.array(calibrated)
    logger.info(
        "ensemble: scores of %s are multiplied by %s",
        *(", ".join(config.members), ", ".join(f"{factor:.4g}" for factor in factors)),
    )
    ensemble = Ensemble(tuple(members), tuple(factors.tolist()))
    content = {"kind": ENSEMBLE, "members": list(config.members), "factors": ensemble.factors}
    write_json(directory / DESCRIPTION, content)
    return ensemble


def _copy_model(run: Path, place: Path, split: Split) -> None:
    """Copy the files that the model of a teacher is loaded from.

    Raises:
        RunError: if the run is no teacher, or was trained on other events.
    """
    found = verified(run)
    if found.kind != "teacher":
        raise RunError(f"{run} is a {found.kind} run; a member of an ensemble is a teacher")
    if found.train_fingerprint != split.train_fingerprint:
        raise RunError(
            f"{run} was trained on other events (train_fingerprint {found.train_fingerprint}) than"
            f" this ensemble ({split.train_fingerprint}): it may have seen what is validated on"
        )
    for name in found.files:
        if name not in DESCRIPTIONS:
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(run / name, place / name)


def _load_ensemble(directory: Path, content: Mapping[str, Any], device: torch.device) -> Ensemble:
    places = [directory / MEMBERS / str(number) for number in range(len(content["members"]))]
    members = tuple(load_scorer(place, device) for place in places)
    return Ensemble(members, tuple(float(factor) for factor in content["factors"]))


def _external(place: str) -> type[Baseline]:
    """The class of a scorer of the user's own."""
    found = load_object(place, "teacher", group=TEACHERS)
    methods = ("fit", "score", "save", "load")
    missing = [name for name in methods if not callable(getattr(found, name, None))]
    if missing:
        raise ConfigError(
            f"teacher {place!r} has no {' and no '.join(missing)}: give a class with"
            " fit(split, **settings), score(histories), save(directory) and load(directory)"
        )
    return cast(type[Baseline], found)


def _contrast(split: Split, config: NeuralTeacher, mask_id: int) -> ContrastiveLoss | None:
    """The contrastive loss of the settings, over the training sequences of at least two items."""
    return make_contrastive_loss(
        config.contrastive,
        training_sequences(split),
        max_length=config.max_length,
        mask_id=mask_id,
    )


def _rules_of_folds(split: Split, config: CountExpertConfig) -> list[sparse.csr_matrix]:
    """Counts of sequential rules, (V+1, V+1), in each fold of the training sequences."""
    sequences, num_items = training_sequences(split), split.catalogue.num_items
    fold = np.arange(len(sequences)) % config.folds
    distance = affordable_order(sequences, RULE_DISTANCE)
    return [
        pooled(
            count_transitions(sequences.take(fold == each), num_items, distance),
            config.distance_decay,
        )
        for each in range(config.folds)
    ]


def _codes(split: Split, config: RecJPQConfig, seed: int) -> NDArray[np.uint8]:
    """(V+1, m) RecJPQ codes of the items, from what the settings name."""
    splits = config.splits
    if config.codes == "features":
        return feature_codes(split.catalogue.features, splits=splits, seed=seed)
    if config.codes == "bpr":
        fitted = BPR.fit(split, factors=splits, epochs=BPR_EPOCHS, seed=seed)
        return factor_codes(fitted.item_vectors[1:], np.random.default_rng(seed))
    return svd_codes(split.train, split.catalogue.num_items, splits=splits, seed=seed)


def load_scorer(directory: Path, device: torch.device) -> Scorer:
    """The scorer in a run directory.

    Raises:
        RunError: if there is none, or one of its files cannot be used.
    """
    description = directory / DESCRIPTION
    content = read_json(description)
    kind = str(content.get("kind"))
    if kind == EXTERNAL:
        place = str(content.get("recipe"))
        external = _external(place)
        with errors_of(f"teacher {place!r}: load"):
            return external.load(directory)
    try:
        if kind == NEURAL:
            return _load_neural(directory, content).to(device).eval()
        if kind == ENSEMBLE:
            return _load_ensemble(directory, content, device)
        baseline = BASELINES[kind].load(directory)
        unseen_scores(baseline, PROBE)  # arrays that do not fit each other fail here
        return baseline
    except GenrecError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        # These files hold data: whatever is wrong with them, the reader is told which file it is.
        raise RunError(
            f"{description} does not describe a scorer that can be loaded"
            f" ({type(error).__name__}: {error}): {RESTORE}"
        ) from error


def _load_neural(directory: Path, content: Mapping[str, Any]) -> NeuralScorer:
    config = validated(TEACHER, content["config"], where="teacher")
    if not isinstance(config, NeuralConfig):
        raise ValueError(f"{config.recipe} is no neural recipe")
    weights = directory / WEIGHTS
    tensors = load_tensors(weights)
    # Before anything is allocated: a wrong number of items could ask for all memory.
    num_items, numbers = content["num_items"], sum(map(torch.Tensor.numel, tensors.values()))
    if not isinstance(num_items, int) or not 0 < num_items <= numbers:
        raise ValueError(f"num_items is {num_items!r}")
    scorer = build_scorer(
        config, num_items=num_items, seed=0, score_offset=float(content["score_offset"])
    )
    if scorer.expert is not None:
        scorer.expert.load_counts(tensors)
    of_module = {name: each for name, each in tensors.items() if not name.startswith(PREFIX)}
    load_weights(scorer, of_module, weights)
    return scorer
