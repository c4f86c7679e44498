"""GPTRec as the transformers world knows a language model: item ids are words, a list is a
completion.

A row of tokens is a whole history, SEP and a list, padded on either side. A history may be longer
than the policy
reads: what it holds may not be recommended.
"""

import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils.generic import ModelOutput

from genrec.agents.gptrec.model import GPTRec
from genrec.config.errors import GenrecError
from genrec.data.sequences import PAD, Sequences

IGNORED = -100  # the label of a token that is not to be predicted
PAD_WORD, SEP_WORD = "<pad>", "<sep>"


def item_tokenizer(item_ids: Sequence[str]) -> PreTrainedTokenizerFast:
    """A tokenizer of one word an item: PAD is token 0, the items are 1..V, SEP is V+1.

    Words are split at white space; white space inside an id becomes ␣. A word that is no item is an
    error.

    Args:
        item_ids: raw ids of items 1..V.

    Raises:
        GenrecError: for an id that is empty, or that reads like another item or like PAD or SEP.

    >>> tokenizer = item_tokenizer(["318", "50", "toy story"])
    >>> tokenizer("50 toy␣story <sep>")["input_ids"]
    [2, 3, 4]
    >>> tokenizer.decode([1, 3])
    '318 toy␣story'
    """
    words = [PAD_WORD, *(re.sub(r"\s", "␣", item) for item in item_ids), SEP_WORD]
    vocabulary = {word: token for token, word in enumerate(words)}
    if len(vocabulary) < len(words) or "" in vocabulary:
        wrong = next(
            word for token, word in enumerate(words) if not word or vocabulary[word] != token
        )
        raise GenrecError(
            f"item id {wrong!r} is empty or stands for two tokens: rename the item to tell them"
            " apart"
        )
    model = Tokenizer(WordLevel(vocabulary))
    model.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=model,
        pad_token=PAD_WORD,
        sep_token=SEP_WORD,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


@dataclass
class ListOutput(ModelOutput):
    """What the model says of rows of L tokens; column t speaks of token t+1, as everywhere in
    transformers.

    Attributes:
        loss: mean negative log-probability of the labelled tokens.
        log_probs: (B, L-1) of each labelled token, 0 elsewhere.
        entropy: (B, L-1) of the distribution it was drawn from, 0 elsewhere.
        label_mask: (B, L-1) True at labelled tokens.
        logits: (B, L, V+2) where there are no labels: masked, and 0 before SEP, where nothing is
            predicted.
    """

    loss: torch.Tensor | None = None
    log_probs: torch.Tensor | None = None
    entropy: torch.Tensor | None = None
    label_mask: torch.Tensor | None = None
    logits: torch.Tensor | None = None


class ListModel(PreTrainedModel):
    """A policy behind the interface of a causal language model, with the policy's own masks and
    position ids inside.

    PAD, SEP, every item of the row's history and the items placed earlier in its list have
    probability 0. Dropout stays off, so that a list has the same probability whenever it is asked
    for.

    Args:
        policy: shared, not copied.
    """

    _supports_sdpa = True  # the policy chooses how it attends

    def __init__(self, policy: GPTRec) -> None:
        super().__init__(copy.deepcopy(policy.lm.config))
        self.generation_config = policy.lm.generation_config
        self.policy = policy

    def train(self, mode: bool = True) -> "ListModel":
        """Note the mode; the policy stays in evaluation mode."""
        super().train(mode)
        self.policy.eval()
        return self

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
        fused_lm_head: bool = False,
    ) -> ListOutput:
        """Log-probabilities of the labelled list items; without labels the logits of every next
        item.

        Args:
            input_ids: (B, L).
            attention_mask: (B, L) 0 at padding; PAD tokens are padding anyway.
            labels: (B, L) the tokens themselves, ``IGNORED`` where they are not asked for, such as
                before the list.
            num_items_in_batch: what the loss is divided by; the number of labels by default.
            fused_lm_head: TRL's wish for log-probabilities without logits; labels always get that.

        Raises:
            GenrecError: for a row without exactly one SEP, or a label that is not the list item at
                its place.
        """
        row = _Row(self.policy.separator, input_ids, attention_mask)
        if labels is None:
            return ListOutput(logits=self._logits(row))
        wanted = labels[:, 1:] != IGNORED
        if bool(
            (wanted & ~row.listed[:, 1:]).any() | (labels[:, 1:] != input_ids[:, 1:])[wanted].any()
        ):
            raise GenrecError(
                f"labels may name the items of the list only: give {IGNORED} up to SEP and at"
                " padding"
            )
        slates = row.slates[:, None]
        prefix = self.policy.encode(row.histories)
        states = self.policy.slate_states(prefix, slates)
        logp, entropy = self.policy.choices(prefix, states, slates, slates[..., None], entropy=True)
        log_probs, spread = (
            row.spread(found.view(row.slates.shape)) * wanted for found in (logp, entropy)
        )
        count = wanted.sum().clamp(min=1) if num_items_in_batch is None else num_items_in_batch
        return ListOutput(-log_probs.sum() / count, log_probs, spread, wanted)

    def _logits(self, row: "_Row") -> torch.Tensor:
        """(B, L, V+2) of the next item at SEP and after every item of the list."""
        slates = torch.nn.functional.pad(row.slates, (0, 1), value=PAD)[:, None]
        prefix = self.policy.encode(row.histories)
        logits = self.policy.masked_logits(
            prefix, self.policy.slate_states(prefix, slates), slates
        )[:, 0]
        out = logits.new_zeros(*row.listed.shape, logits.shape[2])
        behind = row.listed | (row.column == row.separator[:, None])
        held = torch.arange(slates.shape[2], device=out.device) <= row.listed.sum(
            dim=1, keepdim=True
        )
        out[behind] = logits[held]
        return out


class _Row:
    """Rows of tokens taken apart into histories and lists."""

    def __init__(
        self, separator: int, tokens: torch.Tensor, attention_mask: torch.Tensor | None
    ) -> None:
        found = tokens == separator
        if not bool((found.sum(dim=1) == 1).all()):
            raise GenrecError(
                f"every row needs one SEP (token {separator}) between history and list"
            )
        self.separator = found.int().argmax(dim=1)
        self.column = torch.arange(tokens.shape[1], device=tokens.device).expand(tokens.shape)
        real = (tokens != PAD) & (attention_mask.bool() if attention_mask is not None else True)
        past = real & (self.column < self.separator[:, None])
        offsets = np.concatenate([[0], np.cumsum(past.sum(dim=1).cpu().numpy())])
        self.histories = Sequences(offsets, tokens[past].cpu().numpy().astype(np.int32))
        self.listed = real & (self.column > self.separator[:, None])
        longest = int(self.listed.sum(dim=1).max())
        self.place = self.separator[:, None] + torch.arange(
            longest, device=tokens.device
        )  # which predict the list
        following = torch.nn.functional.pad(tokens * self.listed, (0, longest), value=PAD)
        self.slates = following.gather(1, self.place + 1)

    def spread(self, values: torch.Tensor) -> torch.Tensor:
        """Values of list positions (B, K) at the columns (B, L-1) that predict them, 0
        elsewhere."""
        width = self.column.shape[1]
        out = values.new_zeros(len(values), width + values.shape[1])
        return out.scatter(1, self.place, values)[:, : width - 1]
