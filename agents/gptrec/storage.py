"""Directories of trained policies: weights and configuration without pickle.

A directory is data: it is read here, and not by ``from_pretrained`` of transformers, whose
configuration can ask for other classes, kernels and adapters.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from transformers import GPT2Config, GPT2LMHeadModel

from genrec.agents.gptrec.conditioning import Conditioning, seeded_conditioning
from genrec.config.errors import GenrecError, RunError
from genrec.config.writing import write_text
from genrec.results.records import first_problem
from genrec.training.checkpoint import load_tensors, load_weights, save_tensors
from genrec.training.early_stopping import Tensors
from genrec.training.run_directory import RESTORE, read_json, write_json

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
VOCABULARY = "vocabulary.json"
CONDITIONING = "conditioning.safetensors"
TIED = "lm_head.weight"  # the item embedding, which is stored once

Size = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(ge=0, lt=1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class PolicyShape(BaseModel):
    """What is read from ``config.json``: the numbers of a GPT-2, and nothing that names code.

    Attributes:
        vocab_size: V+2.
        n_positions: positions of a history, SEP and a list.
        n_embd: D.
        n_layer: blocks.
        n_head: attention heads.
        max_slate: length of the longest list.
        resid_pdrop: dropout of residual branches.
        embd_pdrop: dropout of embeddings.
        attn_pdrop: dropout of attention weights.
        activation_function: of the blocks.
        layer_norm_epsilon: of the layer norms.
        weight_ranges: name of a reward -> low, high; empty for a policy without conditioning.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    vocab_size: Annotated[int, Field(ge=3)]
    n_positions: Annotated[int, Field(ge=3)]
    n_embd: Size
    n_layer: Size
    n_head: Size
    max_slate: Size
    resid_pdrop: Rate = 0.0
    embd_pdrop: Rate = 0.0
    attn_pdrop: Rate = 0.0
    activation_function: Literal["gelu"] = "gelu"
    layer_norm_epsilon: Annotated[float, Field(gt=0, lt=1)] = 1e-5
    weight_ranges: dict[str, tuple[Finite, Finite]] = {}

    def require_fit(self, tensors: Tensors, path: Path) -> None:
        """Raise RunError where the weights have other sizes, before anything is allocated."""
        layers = {name.split(".")[2] for name in tensors if name.startswith("transformer.h.")}
        expected = {
            "transformer.wte.weight": (self.vocab_size, self.n_embd),
            "transformer.wpe.weight": (self.n_positions, self.n_embd),
        }
        for name, shape in expected.items():
            found = tuple(tensors[name].shape) if name in tensors else None
            if found != shape:
                raise RunError(
                    f"{path}: {name} has the shape {found}, but {CONFIG} says {shape}: {RESTORE}"
                )
        if len(layers) != self.n_layer or self.n_embd % self.n_head:
            raise RunError(
                f"{path} has {len(layers)} blocks of width {self.n_embd}, but {CONFIG} says"
                f" {self.n_layer} with {self.n_head} heads: {RESTORE}"
            )


@dataclass(frozen=True, eq=False)
class StoredPolicy:
    """Content of a policy's directory.

    Attributes:
        lm: GPT-2. Its configuration holds the weight ranges of a conditioned policy.
        conditioning: layers of a conditioned policy, else None; in a file of their own, so that the
            directory stays a plain GPT-2 for transformers.
        item_ids: raw ids of items 1..V.
        fingerprint: fingerprint of the dataset that the policy was trained on.
    """

    lm: GPT2LMHeadModel
    conditioning: Conditioning | None
    item_ids: list[str]
    fingerprint: str

    def save(self, directory: Path) -> None:
        """Write all files, creating the directory if it is missing."""
        directory.mkdir(parents=True, exist_ok=True)
        self.lm.config.architectures = [type(self.lm).__name__]
        write_text(directory / CONFIG, self.lm.config.to_json_string())
        generation = self.lm.generation_config
        write_text(directory / "generation_config.json", generation.to_json_string())
        tensors = {name: value for name, value in self.lm.state_dict().items() if name != TIED}
        save_tensors(directory / WEIGHTS, tensors, {"format": "pt"})
        if self.conditioning is not None:
            save_tensors(directory / CONDITIONING, self.conditioning.state_dict())
        write_json(
            directory / VOCABULARY, {"fingerprint": self.fingerprint, "items": self.item_ids}
        )

    @classmethod
    def load(cls, directory: Path) -> "StoredPolicy":
        """Read what ``save`` wrote.

        Raises:
            FileNotFoundError: if there is no policy in the directory.
            GenrecError: if its weights are missing, or one of its files is empty, damaged, or does
                not fit the others.
        """
        for name in (VOCABULARY, CONFIG):
            if not (directory / name).exists():
                raise FileNotFoundError(f"{directory} holds no GPTRec: there is no {name}")
        item_ids, fingerprint = _read_vocabulary(directory / VOCABULARY)
        shape = _read_shape(directory / CONFIG)
        if len(item_ids) != shape.vocab_size - 2:
            raise RunError(
                f"{directory / VOCABULARY} has {len(item_ids)} items, but the policy has"
                f" {shape.vocab_size - 2}: {RESTORE}"
            )
        lm = _load_gpt2(directory / WEIGHTS, shape)
        return cls(lm, _load_conditioning(directory, shape), item_ids, fingerprint)


def _read_shape(path: Path) -> PolicyShape:
    content: dict[str, Any] = read_json(path)
    try:
        return PolicyShape.model_validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        raise RunError(f"{path} cannot be used: {first_problem(error)}; {RESTORE}") from None


def _read_vocabulary(path: Path) -> tuple[list[str], str]:
    content = read_json(path)
    items, fingerprint = content.get("items"), content.get("fingerprint")
    are_texts = isinstance(items, list) and all(isinstance(item, str) for item in items)
    if not are_texts or not isinstance(fingerprint, str):
        raise RunError(f"{path} must hold the texts items and fingerprint: {RESTORE}")
    assert isinstance(items, list)
    return items, fingerprint


def _load_gpt2(path: Path, shape: PolicyShape) -> GPT2LMHeadModel:
    tensors = load_tensors(path)
    shape.require_fit(tensors, path)
    settings = shape.model_dump(exclude={"max_slate", "weight_ranges"})
    config = GPT2Config(**settings, bos_token_id=None, eos_token_id=None, pad_token_id=0)
    config.max_slate = shape.max_slate
    if shape.weight_ranges:
        config.weight_ranges = {name: list(ends) for name, ends in shape.weight_ranges.items()}
    with torch.random.fork_rng():  # random weights, which are replaced
        lm: GPT2LMHeadModel = GPT2LMHeadModel(config)
    load_weights(lm, {TIED: tensors["transformer.wte.weight"], **tensors}, path)
    lm.eval()
    return lm


def _load_conditioning(directory: Path, shape: PolicyShape) -> Conditioning | None:
    if not shape.weight_ranges:
        return None
    try:
        conditioning = seeded_conditioning(shape.weight_ranges, shape.n_embd, seed=0)
    except GenrecError as error:
        raise RunError(f"{directory / CONFIG}: {error}; {RESTORE}") from None
    path = directory / CONDITIONING
    load_weights(conditioning, load_tensors(path), path)
    return conditioning
