"""GPTRec as a causal language model of transformers: item ids are words, a list is a completion.

A row of tokens is a whole history, SEP and a list, padded on either side. A history may be longer
than the policy reads: all of its items are excluded from the list.
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

IGNORED = -100  # label of a token without a loss, as everywhere in transformers
PAD_WORD, SEP_WORD = "<pad>", "<sep>"


def item_tokenizer(item_ids: Sequence[str]) -> PreTrainedTokenizerFast:
    """Make a tokenizer of one word per item: PAD is token 0, the items are 1..V, SEP is V+1.

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
            f"item id {wrong!r} is empty or stands for two tokens: rename the item to make ids"
            " distinct"
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
    """Output for rows of L tokens; column t is about token t+1, as everywhere in transformers.

    Attributes:
        loss: mean negative log-probability of the labelled tokens.
        log_probs: (B, L-1) log-probability of each labelled token, 0 elsewhere.
        entropy: (B, L-1) entropy of the distribution of each labelled token, 0 elsewhere.
        label_mask: (B, L-1) True at labelled tokens.
        logits: (B, L, V+2) masked logits, given only without labels; 0 before SEP, where nothing is
            predicted.
    """

    loss: torch.Tensor | None = None
    log_probs: torch.Tensor | None = None
    entropy: torch.Tensor | None = None
    label_mask: torch.Tensor | None = None
    logits: torch.Tensor | None = None


class ListModel(PreTrainedModel):
    """Policy with the interface of a causal language model, and its own masks and position ids.

    PAD, SEP, every item of the row's history and the items placed earlier in its list have
    probability 0. Dropout stays off, so that the probability of a list is always the same.

    Args:
        policy: shared, not copied.
    """

    _supports_sdpa = True  # the policy sets its attention implementation itself

    def __init__(self, policy: GPTRec) -> None:
        # A copy: the constructor changes the configuration it is given.
        super().__init__(copy.deepcopy(policy.lm.config))
        self.generation_config = policy.lm.generation_config
        self.policy = policy

    def train(self, mode: bool = True) -> "ListModel":
        """Set the mode of the wrapper; the policy stays in evaluation mode."""
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
        """Log-probabilities of the labelled list items; without labels, logits of the next items.

        Args:
            input_ids: (B, L).
            attention_mask: (B, L) 0 at padding; PAD tokens are padding anyway.
            labels: (B, L) the tokens themselves, ``IGNORED`` where no log-probability is wanted,
                such as before the list.
            num_items_in_batch: divisor of the loss; the number of labels by default.
            fused_lm_head: TRL's request for log-probabilities without logits, which labels always
                give.

        Raises:
            GenrecError: for a row without exactly one SEP, or a label that is not the list item at
                its place.
        """
        rows = _TokenRows(self.policy.separator, input_ids, attention_mask)
        if labels is None:
            return ListOutput(logits=self._logits(rows))
        labelled = labels[:, 1:] != IGNORED
        outside = labelled & ~rows.listed[:, 1:]
        other = (labels[:, 1:] != input_ids[:, 1:])[labelled]
        if bool(outside.any() | other.any()):
            raise GenrecError(
                f"labels may name the items of the list only: give {IGNORED} up to SEP and at"
                " padding"
            )
        slates = rows.slates[:, None]
        prefix = self.policy.encode(rows.histories)
        states = self.policy.slate_states(prefix, slates)
        found = self.policy.evaluate_items(
            prefix, states, slates, items=slates[..., None], with_entropy=True
        )
        log_probs = rows.at_columns(found.logp.view(rows.slates.shape)) * labelled
        entropies = rows.at_columns(found.entropy.view(rows.slates.shape)) * labelled
        count = labelled.sum().clamp(min=1) if num_items_in_batch is None else num_items_in_batch
        return ListOutput(
            loss=-log_probs.sum() / count,
            log_probs=log_probs,
            entropy=entropies,
            label_mask=labelled,
        )

    def _logits(self, rows: "_TokenRows") -> torch.Tensor:
        """(B, L, V+2) logits of the next item, at SEP and after every item of the list."""
        # One more position: its filler PAD is predicted after the last item of the longest list.
        slates = torch.nn.functional.pad(rows.slates, (0, 1), value=PAD)[:, None]
        prefix = self.policy.encode(rows.histories)
        states = self.policy.slate_states(prefix, slates)
        logits = self.policy.masked_logits(prefix, states, slates)[:, 0]
        out = logits.new_zeros(*rows.listed.shape, logits.shape[2])
        predicting = rows.listed | (rows.column == rows.separator[:, None])
        position = torch.arange(slates.shape[2], device=out.device)
        out[predicting] = logits[position <= rows.listed.sum(dim=1, keepdim=True)]
        return out


class _TokenRows:
    """Rows of tokens (B, L), taken apart into histories and lists.

    Attributes:
        separator: (B,) column of SEP.
        column: (B, L) column numbers.
        listed: (B, L) True at the items of the list.
        predicting: (B, K) columns that predict each item of the list.
        histories: B whole histories.
        slates: (B, K) lists, padded on the right to the longest one.
    """

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
        self.predicting = self.separator[:, None] + torch.arange(longest, device=tokens.device)
        # Columns past the end of a row read PAD.
        following = torch.nn.functional.pad(tokens * self.listed, (0, longest), value=PAD)
        self.slates = following.gather(1, self.predicting + 1)

    def at_columns(self, values: torch.Tensor) -> torch.Tensor:
        """Values of list positions (B, K) at the columns (B, L-1) that predict them, else 0."""
        width = self.column.shape[1]
        out = values.new_zeros(len(values), width + values.shape[1])
        return out.scatter(1, self.predicting, values)[:, : width - 1]
