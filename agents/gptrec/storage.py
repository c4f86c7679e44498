"""Directories of trained policies: weights and configuration without pickle."""

import json
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import GPT2LMHeadModel
from transformers.utils import logging as transformers_logging

from genrec.agents.gptrec.conditioning import Conditioning, seeded_conditioning
from genrec.config.errors import GenrecError

VOCABULARY = "vocabulary.json"
CONDITIONING = "conditioning.safetensors"


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
        transformers_logging.disable_progress_bar()
        self.lm.save_pretrained(directory)
        if self.conditioning is not None:
            save_file(self.conditioning.state_dict(), directory / CONDITIONING)
        vocabulary = {"fingerprint": self.fingerprint, "items": self.item_ids}
        (directory / VOCABULARY).write_text(json.dumps(vocabulary))

    @classmethod
    def load(cls, directory: Path) -> "StoredPolicy":
        """Read what ``save`` wrote.

        Raises:
            FileNotFoundError: if there is no policy in the directory.
            GenrecError: if its weights are missing, or one of its files is empty or damaged.
        """
        # Without config.json, transformers would load a GPT-2 of another size, with random weights.
        for name in (VOCABULARY, "config.json"):
            if not (directory / name).exists():
                raise FileNotFoundError(f"{directory} holds no GPTRec: there is no {name}")
        transformers_logging.disable_progress_bar()
        try:
            vocabulary = json.loads((directory / VOCABULARY).read_text())
            item_ids, fingerprint = vocabulary["items"], vocabulary["fingerprint"]
            lm = GPT2LMHeadModel.from_pretrained(directory)
            conditioning = _load_conditioning(directory, lm)
        except (OSError, SafetensorError, json.JSONDecodeError, KeyError) as error:
            raise GenrecError(
                f"{directory} holds no complete GPTRec: {type(error).__name__}: {error}; copy the"
                " directory again or train again"
            ) from error
        return cls(lm, conditioning, item_ids, fingerprint)


def _load_conditioning(directory: Path, lm: GPT2LMHeadModel) -> Conditioning | None:
    ranges = lm.config.to_dict().get("weight_ranges")
    if not ranges:
        return None
    pairs = {name: (low, high) for name, (low, high) in ranges.items()}
    conditioning = seeded_conditioning(pairs, int(lm.config.n_embd), seed=0)
    conditioning.load_state_dict(load_file(directory / CONDITIONING))
    return conditioning
